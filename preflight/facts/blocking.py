"""When a look from further inside met the same as one from outside: it is blocked by that one, and not red as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from preflight.evidence import Blocked, Fact
from preflight.facts.references import Ref
from preflight.facts.target_selectors import registry_of
from preflight.faults import DnsFault, Fault, GitLabFault, PathFault, PodFault, RegistryFault
from preflight.inventory import Inventory
from preflight.probes import registry as registries
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.lint import Lint
from preflight.probes.node_pulls import Pull
from preflight.probes.pods import ImagePull, JobPod
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.transcript import FoundNames, ResolvConf


def gitlab_fact(reply: GitLabReply | None) -> Ref:
    """The fact that reports what is the matter with GitLab from here."""
    fault = reply.fault if reply is not None else None
    if isinstance(fault, PathFault):
        return Ref.GITLAB_CONNECTION
    return {GitLabFault.REDIRECTED: Ref.GITLAB_LOCATION, GitLabFault.NOT_GITLAB: Ref.GITLAB_IDENTITY}.get(
        cast("GitLabFault", fault), Ref.GITLAB_SERVICE
    )


PULL_FAULTS: Mapping[str, str] = {
    PathFault.UNRESOLVED: PodFault.PULL_UNRESOLVED,
    PathFault.REFUSED: PodFault.PULL_REFUSED,
    PathFault.TIMEOUT: PodFault.PULL_TIMEOUT,
    PathFault.SILENT: PodFault.PULL_TIMEOUT,
    PathFault.UNREACHABLE: PodFault.PULL_UNREACHABLE,
    PathFault.RESET: PodFault.PULL_FAILED,  # runtimes say EOF, or that the peer reset the connection
    PathFault.TLS_UNTRUSTED: PodFault.PULL_TLS,
    PathFault.TLS_EXPIRED: PodFault.PULL_TLS,
    PathFault.TLS_WRONG_NAME: PodFault.PULL_TLS,
    PathFault.TLS_HANDSHAKE: PodFault.PULL_TLS,
    RegistryFault.UNAUTHORIZED: PodFault.PULL_UNAUTHORIZED,
    RegistryFault.DENIED: PodFault.PULL_UNAUTHORIZED,
    RegistryFault.NOT_FOUND: PodFault.PULL_NOT_FOUND,
    RegistryFault.RATE_LIMITED: PodFault.PULL_RATE_LIMITED,
    RegistryFault.WRONG_PLATFORM: PodFault.PULL_PLATFORM,
    # Where the token server or the data's host is out of reach, a runtime tells how its own request to it ended.
    RegistryFault.TOKEN_REALM: "",
    RegistryFault.BLOB_HOST: "",
}
"""What a runtime meets where a registry shows this fault from here."""


def block_if_failing_from_here(
    pull: Pull | ImagePull,
    inventory: Inventory,
    reply: RegistryReply | None,
    manifest: Manifest | None,
    *,
    like: str = "",
) -> None:
    """Raise `Blocked` if a pull failed in the way that the registry, or the image in it, fails from here too.

    `like` is the image that the manifest is of, where that is another one of the same registry.
    """
    if pull.fault is None:
        return
    registry = registry_of(inventory, {"image": pull.image})
    for outer, name, targets in (
        (reply, Ref.REGISTRY_CONNECTION, {"registry": registry or ""}),
        (manifest, Ref.MANIFEST, {"image": like or pull.image}),
    ):
        if outer is None or outer.fault is None:
            continue
        expected = PULL_FAULTS.get(outer.fault)
        if expected in {pull.fault, ""}:
            blocker = Ref.REGISTRY_ACCESS if outer is reply and isinstance(outer.fault, RegistryFault) else name
            raise Blocked.by(blocker, outer, targets, measured=pull)


_WAYS = frozenset(
    {
        PodFault.PULL_REFUSED,
        PodFault.PULL_TIMEOUT,
        PodFault.PULL_UNREACHABLE,
        PodFault.PULL_UNRESOLVED,
        PodFault.PULL_TLS,
    }
)
"""What is the matter with the way from a node to a registry, whatever is pulled."""


def block_if_first_pull_failed(pull: ImagePull, pod: JobPod, own: Pull | None, inventory: Inventory) -> None:
    """Raise `Blocked` if the node's own pull, or the registry's first image, met the same: one way is told of once."""
    if pull.fault not in _WAYS:
        return
    one = inventory.registry_of(pull.image)
    if own is not None and own.fault is pull.fault and inventory.registry_of(own.image).host == one.host:
        raise Blocked.by(Ref.NODE_PULL, own, {"worker": pull.node}, measured=pull)
    met = {other.image: other for other in pod.pulls if other.fault is pull.fault}
    first = next((met[name] for image in one.images if (name := f"{one.host}/{image}") in met), pull)
    if first.image != pull.image:
        raise Blocked.by(Ref.POD_PULL, first, {"worker": pull.node, "image": first.image}, measured=pull)


def block_if_another_pull_hangs(pod: JobPod, inventory: Inventory) -> None:
    """Raise `Blocked` if another image hung: a kubelet pulls one after the other, and behind that one none begins."""
    for image in inventory.images:
        if hanging := next((one for one in pod.pulls if one.image == image and one.fault in _WAYS), None):
            raise Blocked.by(Ref.POD_PULL, hanging, {"worker": pod.node, "image": image})


def block_if_no_resolver_answers(
    pull: Pull | ImagePull, worker: str, here: tuple[Lookups, ...], node: tuple[Lookups, ...]
) -> None:
    """Raise `Blocked` if a pull failed for want of the registry's address and no resolver gives one."""
    if pull.fault is not PodFault.PULL_UNRESOLVED:
        return
    host = registries.parse_reference(pull.image).host
    for asked, name, targets in ((here, Ref.HERE_LOOKUPS, {}), (node, Ref.NODE_LOOKUPS, {"worker": worker})):
        silent = [one for one in asked if any(answer.name == host for answer in one.failed)]
        if silent and len(silent) == len(asked):
            raise Blocked.by(name, silent[0], {**targets, "resolver": silent[0].resolver}, measured=pull)


def _alike(one: Fault, other: Fault | None) -> bool:
    """Whether two looks met the same; busybox's wget can't tell a silent server from one that is not reached."""
    quiet = {PathFault.SILENT, PathFault.TIMEOUT}
    return one == other or {one, other} == quiet


def block_if_same_fault(inner: Fact, outer: Fact | None, name: Ref, targets: dict[str, str]) -> None:
    """Raise `Blocked` if the outer look met the same fault: what lies behind it cannot be told apart."""
    if inner.fault is not None and outer is not None and _alike(inner.fault, outer.fault):
        raise Blocked.by(name, outer, targets, measured=inner)


def block_if_all_resolvers_fail(inner: Lookups, here: tuple[Lookups, ...]) -> None:
    """Raise `Blocked` if every resolver, asked from here, fails in the same way."""
    if here and all(one.fault == inner.fault for one in here):
        block_if_same_fault(inner, here[0], Ref.HERE_LOOKUPS, {"resolver": here[0].resolver})


def block_if_no_resolver_knows(found: Fact, host: str, here: tuple[Lookups, ...]) -> None:
    """Raise `Blocked` if the name of `host` was not resolved, and no resolver, asked from here, has an address for it.

    Args:
        found: what was met at `host`.
        host: a name, with or without a port.
        here: what the resolvers said here.
    """
    name = urlsplit(f"//{host}").hostname or host
    if found.fault is PathFault.UNRESOLVED and here and not any(_may_know(one, name) for one in here):
        raise Blocked.by(Ref.HERE_LOOKUPS, here[0], {"resolver": here[0].resolver}, measured=found)


_OF_THAT_NAME = {DnsFault.NXDOMAIN, DnsFault.NO_ANSWER, DnsFault.WRONG_ANSWER}
"""What says nothing of other names."""


def _may_know(resolver: Lookups, name: str) -> bool:
    """Whether a resolver may give an address: as it said, or, where it was not asked, unless it answers nothing."""
    asked = [answer.fault for answer in resolver.answers if answer.name == name]
    if asked:
        return bool({None, DnsFault.WRONG_ANSWER} & set(asked))
    said = {answer.fault for answer in resolver.answers}
    return not said or None in said or bool(said & _OF_THAT_NAME)


def block_if_policy_misspelt(conf: ResolvConf, policy: Lint | None) -> None:
    """Raise `Blocked` if a pod has other resolvers than the values ask for and dns_policy is one that nobody knows."""
    if conf.fault is not None and policy is not None and policy.fault is not None:
        raise Blocked.by(Ref.VALUES_DNS_POLICY, policy, measured=conf)


def block_if_search_list_misleads(found: Fact, names: FoundNames | None) -> None:
    """Raise `Blocked` if something failed in a pod whose search list leads names elsewhere."""
    if found.fault is not None and names is not None and names.fault is not None:
        raise Blocked.by(Ref.POD_NAMES, names, {"worker": names.node}, measured=found)
