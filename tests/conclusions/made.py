"""Facts written by hand, for the rules."""

from __future__ import annotations

from collections.abc import Iterable

from preflight.conclusions import Facts, Observation
from preflight.evidence import Blocked, Evidence, Fact, PreflightError, Unmeasured
from preflight.faults import Fault
from preflight.inventory import Inventory
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.pods import ImagePull
from preflight.probes.registry import RegistryReply
from preflight.probes.transcript import Clock

WORKERS = ("k8s-worker-1", "k8s-worker-2", "k8s-worker-3")
RESOLVERS = ("10.0.0.2", "10.1.0.251", "10.1.0.252")
UNKNOWN = Unmeasured("it could not be measured", needs="access")


def shown(where: str = "here") -> Evidence:
    return Evidence(where=where, command="curl -v http://192.168.1.50/", observed="", took=0.002)


def observation(name: str, value: Fact | PreflightError, **targets: str) -> Observation:
    if isinstance(value, Fact):
        return Observation(name, targets, value=value)
    return Observation(name, targets, error=value)


def reply(fault: Fault | None = None, where: str = "here") -> GitLabReply:
    cause = f"192.168.1.50:80: {fault}" if fault else ""
    return GitLabReply(
        target="GitLab", url="http://192.168.1.50/", fault=fault, cause=cause, evidence=shown(where), took=0.002
    )


def paths(
    here: Fault | PreflightError | None,
    nodes: Iterable[Fault | PreflightError | None],
    pods: Iterable[Fault | PreflightError | None],
) -> list[Observation]:
    """The observations of GitLab: a node or pod with the same fault as a vantage closer to the outside is blocked."""
    observations = [
        observation(name, here if isinstance(here, PreflightError) else reply(here))
        for name in ("gitlab_reply", "gitlab_connection")
    ]
    for worker, outcome in zip(WORKERS, nodes, strict=True):
        seen_from_node = outcome if isinstance(outcome, PreflightError) else reply(outcome, f"node {worker}")
        observations.append(observation("node_reply", seen_from_node, worker=worker))
        judged: Fact | PreflightError = seen_from_node
        if isinstance(seen_from_node, GitLabReply) and outcome is not None and outcome == here:
            judged = Blocked("gitlab_connection", {}, f"{outcome}", failed=True, measured=seen_from_node)
        observations.append(observation("node_gitlab", judged, worker=worker))
    for worker, outcome, node in zip(WORKERS, pods, nodes, strict=True):
        seen_from_pod: Fact | PreflightError = (
            outcome if isinstance(outcome, PreflightError) else reply(outcome, f"pod on {worker}")
        )
        if isinstance(seen_from_pod, GitLabReply) and outcome is not None and outcome in {here, node}:
            seen_from_pod = Blocked(
                "node_gitlab", {"worker": worker}, f"{outcome}", failed=True, measured=seen_from_pod
            )
        observations.append(observation("pod_gitlab", seen_from_pod, worker=worker))
    return observations


def lookups(resolver: str, fault: Fault | None, where: str, names: Iterable[str], *, over_tcp: bool = False) -> Lookups:
    answers = tuple(
        Answer(name=name, fault=fault, addresses=frozenset() if fault else frozenset({"192.0.2.7"}), over_tcp=over_tcp)  # type: ignore[arg-type]
        for name in names
    )
    cause = f"{resolver}: {fault}" if fault else ""
    return Lookups(target=resolver, resolver=resolver, answers=answers, fault=fault, cause=cause, evidence=shown(where))


def clock(worker: str, offset: float, fault: Fault | None) -> Clock:
    cause = f"{worker} is {offset} s ahead" if fault else ""
    return Clock(target=worker, node=worker, offset=offset, fault=fault, cause=cause, evidence=shown(f"node {worker}"))


def registry(host: str, fault: Fault | None = None) -> RegistryReply:
    return RegistryReply(
        target=host, host=host, fault=fault, cause=f"{host}: {fault}" if fault else "", evidence=shown()
    )


def pull(image: str, worker: str, fault: Fault | None = None) -> ImagePull:
    cause = f"{image}: {fault}" if fault else ""
    where = f"pod on {worker}"
    return ImagePull(target=image, image=image, node=worker, fault=fault, cause=cause, evidence=shown(where))


def facts(inventory: Inventory, *observations: Observation) -> Facts:
    return Facts(inventory, observations)
