"""Block a measurement by one closer to the outside that has the same fault, so that one fault fails one check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from preflight.evidence import Blocked, Fact, Unmeasured
from preflight.facts.references import Ref
from preflight.facts.target_selectors import registry_of
from preflight.faults import DnsFault, Fault, GitLabFault, PathFault, PodFault, RegistryFault, ReleaseFault
from preflight.inventory import Inventory
from preflight.probes import registry as registries
from preflight.probes.dind import DindRun
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.latency import RoundTrips
from preflight.probes.layer_rate import LayerRate
from preflight.probes.lint import Lint
from preflight.probes.node_pulls import Pull
from preflight.probes.pod_messages import PATH_FAULTS, is_of_connecting
from preflight.probes.pods import ImagePull, JobPod
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.transcript import FoundNames, ResolvConf
from preflight.values import Values


def require_read(values: Values, *paths: str) -> None:
    """Go on only where these settings of ``runners.config`` (``runners.cache``) could be read.

    Raises:
        Blocked: Helm refuses the values.
        Unmeasured: one is an expression that only Helm can tell.
    """
    setting = values.unread_within(*paths)
    if setting is not None:
        raise unread(str(setting), setting.needs, refused=values.refused)


def unread(cause: str, needs: str, *, refused: str) -> Blocked | Unmeasured:
    """Why what can't be read can't be judged."""
    if refused:
        return Blocked(str(Ref.CHART_RENDERING), {}, refused, failed=True)
    return Unmeasured(cause, needs=needs, fault=ReleaseFault.ONLY_HELM)


def gitlab_fact(reply: GitLabReply | None) -> Ref:
    """The fact whose check reports GitLab's fault from here."""
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
    # Where the token server or the data's host is out of reach, a runtime reports how its own request to it ended.
    RegistryFault.TOKEN_REALM: "",
    RegistryFault.BLOB_HOST: "",
}
"""The fault of a runtime's pull where a registry has this fault from here."""


def block_if_failing_from_here(
    pull: Pull | ImagePull,
    inventory: Inventory,
    reply: RegistryReply | None,
    manifest: Manifest | None,
    *,
    like: str = "",
) -> None:
    """Raise `Blocked` if a pull failed as the registry, or the image in it, fails from here too.

    `like` names the manifest's image where it is another one of the same registry.
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


def block_if_first_pull_failed(pull: ImagePull, pod: JobPod, node_pull: Pull | None, inventory: Inventory) -> None:
    """Raise `Blocked` if the node's own pull, or that of the registry's first image, has the same fault of the path."""
    if pull.fault not in PATH_FAULTS:
        return
    registry = inventory.registry_of(pull.image)
    if (
        node_pull is not None
        and node_pull.fault is pull.fault
        and inventory.registry_of(node_pull.image).host == registry.host
    ):
        raise Blocked.by(Ref.NODE_PULL, node_pull, {"worker": pull.node}, measured=pull)
    same_fault = {other.image: other for other in pod.pulls if other.fault is pull.fault}
    first = next(
        (same_fault[name] for image in registry.images if (name := f"{registry.host}/{image}") in same_fault), pull
    )
    if first.image != pull.image:
        raise Blocked.by(Ref.POD_PULL, first, {"worker": pull.node, "image": first.image}, measured=pull)


def block_if_another_pull_hangs(pod: JobPod, inventory: Inventory) -> None:
    """Raise `Blocked` if the pull of another image hangs: a kubelet pulls one after the other."""
    for image in inventory.images:
        if hanging := next((pull for pull in pod.pulls if pull.image == image and pull.fault in PATH_FAULTS), None):
            raise Blocked.by(Ref.POD_PULL, hanging, {"worker": pod.node, "image": image})


def block_if_registry_is_slow(pull: Pull | ImagePull | DindRun, rate: LayerRate | None, inventory: Inventory) -> None:
    """Raise `Blocked` if a pull did not come to an end, and its registry delivers slowly."""
    if (
        _is_late(pull)
        and rate is not None
        and rate.is_slow
        and registries.parse_reference(pull.image).host == rate.host
    ):
        raise _by_rate(rate, inventory, measured=pull)


def _is_late(pull: Pull | ImagePull | DindRun) -> bool:
    """Whether a pull that was begun came to no end in time."""
    late = pull.unfinished if isinstance(pull, DindRun) else pull.fault is PodFault.PULL_TIMEOUT
    return late and not is_of_connecting(pull.cause)


def block_if_pulls_are_slow(pod: JobPod, rates: tuple[LayerRate, ...], inventory: Inventory) -> None:
    """Raise `Blocked` if a pod was left at a pull from a slow registry: a kubelet pulls one image after the other."""
    late = {registries.parse_reference(pull.image).host for pull in pod.pulls if _is_late(pull)}
    for rate in rates:
        if rate.is_slow and rate.host in late:
            raise _by_rate(rate, inventory)


def _by_rate(rate: LayerRate, inventory: Inventory, measured: Fact | None = None) -> Blocked:
    return Blocked.by(
        Ref.REGISTRY_RATE, rate, {"registry": registry_of(inventory, {"image": rate.image}) or ""}, measured=measured
    )


def block_if_no_resolver_answers(
    pull: Pull | ImagePull, worker: str, here: tuple[Lookups, ...], node: tuple[Lookups, ...]
) -> None:
    """Raise `Blocked` if a pull failed, or hangs, because no resolver has the registry's address."""
    if pull.fault not in {PodFault.PULL_UNRESOLVED, PodFault.PULL_TIMEOUT}:
        return
    host = registries.parse_reference(pull.image).host
    for resolvers, name, targets in ((here, Ref.HERE_LOOKUPS, {}), (node, Ref.NODE_LOOKUPS, {"worker": worker})):
        silent = [resolver for resolver in resolvers if any(answer.name == host for answer in resolver.failed)]
        if silent and len(silent) == len(resolvers):
            raise Blocked.by(name, silent[0], {**targets, "resolver": silent[0].resolver}, measured=pull)


def _same(inner: Fault, outer: Fault | None) -> bool:
    """Whether two faults are the same; busybox's wget does not distinguish a silent server from an unreachable one."""
    quiet = {PathFault.SILENT, PathFault.TIMEOUT}
    return inner == outer or {inner, outer} == quiet


def block_if_same_fault(inner: Fact, outer: Fact | None, name: Ref, targets: dict[str, str]) -> None:
    """Raise `Blocked` if the outer measurement has the same fault, which hides any fault behind it."""
    if inner.fault is not None and outer is not None and _same(inner.fault, outer.fault):
        raise Blocked.by(name, outer, targets, measured=inner)


BY_LOSS: tuple[Fault, ...] = (
    PathFault.TIMEOUT,
    PathFault.RESET,
    PathFault.SILENT,
    PathFault.UNRESOLVED,
    DnsFault.TIMEOUT,
    DnsFault.NO_ANSWER,
)
"""Faults that lost packets make where the other side is healthy."""


def block_if_packets_are_lost(
    measured: Fact, losses: RoundTrips | None, name: Ref, worker: str, destination: str = ""
) -> None:
    """Raise `Blocked` if nothing came back from a destination that answers, on a way on which packets are lost.

    Args:
        measured: the request.
        losses: what is lost on the same way.
        name: that fact's.
        worker: where.
        destination: as the samples name it; "" where they have none of it.
    """
    if losses is None or losses.fault is None or not any(measured.fault is fault for fault in BY_LOSS):
        return
    if not destination or losses.may_answer(destination):
        raise Blocked.by(name, losses, {"worker": worker}, measured=measured)


def block_if_all_resolvers_fail(inner: Lookups, here: tuple[Lookups, ...]) -> None:
    """Raise `Blocked` if every resolver, queried from here, has the same fault."""
    if here and all(resolver.fault == inner.fault for resolver in here):
        block_if_same_fault(inner, here[0], Ref.HERE_LOOKUPS, {"resolver": here[0].resolver})


def block_if_no_resolver_knows(measured: Fact, host: str, here: tuple[Lookups, ...]) -> None:
    """Raise `Blocked` if the name of `host` was not resolved, and no resolver has an address for it from here.

    Args:
        measured: the request to `host`.
        host: a name, with or without a port.
        here: the resolvers' answers from here.
    """
    name = urlsplit(f"//{host}").hostname or host
    if measured.fault is PathFault.UNRESOLVED and here and not any(_may_know(resolver, name) for resolver in here):
        raise Blocked.by(Ref.HERE_LOOKUPS, here[0], {"resolver": here[0].resolver}, measured=measured)


_OF_THAT_NAME = {DnsFault.NXDOMAIN, DnsFault.NO_ANSWER, DnsFault.WRONG_ANSWER}
"""Faults of a single name."""


def _may_know(resolver: Lookups, name: str) -> bool:
    """Whether a resolver may have an address: by its answer for that name, else unless it answers no query at all."""
    faults_of_name = [answer.fault for answer in resolver.answers if answer.name == name]
    if faults_of_name:
        return bool({None, DnsFault.WRONG_ANSWER} & set(faults_of_name))
    faults = {answer.fault for answer in resolver.answers}
    return not faults or None in faults or bool(faults & _OF_THAT_NAME)


def block_if_policy_misspelt(conf: ResolvConf, policy: Lint | None) -> None:
    """Raise `Blocked` if a pod does not have the resolvers of the values and their dns_policy is not a valid one."""
    if conf.fault is not None and policy is not None and policy.fault is not None:
        raise Blocked.by(Ref.VALUES_DNS_POLICY, policy, measured=conf)


def block_if_search_list_misleads(measured: Fact, names: FoundNames | None) -> None:
    """Raise `Blocked` if something failed in a pod whose search list resolves names to other hosts."""
    if measured.fault is not None and names is not None and names.fault is not None:
        raise Blocked.by(Ref.POD_NAMES, names, {"worker": names.node}, measured=measured)
