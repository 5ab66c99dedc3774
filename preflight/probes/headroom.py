"""How many jobs fit: packing job pods onto eligible nodes, as the scheduler would. Pure: no request is made here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from preflight.evidence import Evidence, Fact
from preflight.faults import ClusterFault, PodFault
from preflight.jobshape import WINDOWS, JobShape
from preflight.probes.cluster import Filler, Node, Nodes, PodRequests
from preflight.quantities import Amounts, amounts, exactly, quantity, spell

Json = dict[str, Any]

_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_REPELLING = {"NoSchedule", "NoExecute"}


# --- which nodes may run a job --------------------------------------------------------------------------------------


def why_not(node: Node, shape: JobShape) -> str:
    """Why a job's pod may not be placed on this node; empty if it may."""
    return obstacle(node, shape)[1]


def obstacle(node: Node, shape: JobShape) -> tuple[PodFault | None, str]:
    """The first thing that keeps a job's pod off this node, and what that is in words."""
    for key, value in shape.node_selector.items():
        if node.labels.get(key) != value:
            has = f"has {key}={node.labels[key]}" if key in node.labels else f"has no label {key}"
            return PodFault.UNSCHEDULABLE_SELECTOR, f"the node selector wants {key}={value}, the node {has}"
    required = ((shape.affinity or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(matches_term(term, node) for term in required.get("nodeSelectorTerms") or ()):
        return PodFault.UNSCHEDULABLE_SELECTOR, "no term of the required node affinity matches the node"
    if node.os == WINDOWS and shape.system != WINDOWS:
        return PodFault.UNSCHEDULABLE_SELECTOR, "the node runs Windows, and the values ask for no Windows node"
    if not node.ready:
        return PodFault.NO_ELIGIBLE_NODE, f"the node is not ready: {node.ready_reason}"
    if node.cordoned and not _tolerated(_CORDON, shape.tolerations):
        return PodFault.UNSCHEDULABLE_CORDONED, "the node is cordoned"
    for taint in node.taints:
        if taint.get("effect") in _REPELLING and not _tolerated(taint, shape.tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            return PodFault.UNSCHEDULABLE_TAINT, f"taint {taint.get('key')}{value}:{taint['effect']} is not tolerated"
    return None, ""


_PASSING = {PodFault.NO_ELIGIBLE_NODE, PodFault.UNSCHEDULABLE_CORDONED}


def suits(node: Node, shape: JobShape) -> bool:
    """Whether a node is one for jobs, be it ready or not."""
    fault, _ = obstacle(node, shape)
    return fault is None or fault in _PASSING


def _tolerated(taint: Json, tolerations: Sequence[Json]) -> bool:
    """Whether a toleration covers a taint (core/v1 Toleration): no key with Exists covers all, no effect covers all."""
    for each in tolerations:
        if each.get("effect") and each["effect"] != taint.get("effect"):
            continue
        exists = each.get("operator") == "Exists"
        if not each.get("key"):
            if exists:
                return True
        elif each["key"] == taint.get("key") and (exists or each.get("value", "") == taint.get("value", "")):
            return True
    return False


def matches_term(term: Json, node: Node) -> bool:
    """Whether one node selector term takes in a node; an empty one takes in none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(each, node.labels) for each in expressions) and all(
        _holds(each, {"metadata.name": node.name}) for each in fields
    )


def _holds(requirement: Json, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.get("key", "")), requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                difference = int(value or "") - int(values[0])
            except (ValueError, IndexError):
                return False
            return difference > 0 if operator == "Gt" else difference < 0
        case _:
            return False


# --- how many jobs fit ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoom:
    """What is free on one node.

    Attributes:
        fits: job pods that fit.
        free: allocatable less what the pods there ask for, in Kubernetes quantities: CPU, memory, pods, and what else a
            job asks for.
        limited_by: the resource that runs out first; empty if the node is not eligible.
        why_not: why jobs may not run there, if they may not.
        could_fit: job pods that would fit, if they might run there.
    """

    node: str
    fits: int
    free: dict[str, str]
    limited_by: str
    eligible: bool
    why_not: str = ""
    could_fit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom(Fact):
    """How many of the wanted job pods fit at once.

    Attributes:
        wanted: replicas times concurrent; `fits`: how many find room, never more than wanted.
        capacity: how many would find room if more were wanted.
        requests: what one job's pod asks for.
        runs_out: what runs out first and where, such as ``memory on k8s-worker-2``.
        quota_limit: how many the namespace's quotas allow, or None if they do not limit.
        unsized: the job's pod asks for nothing, so only the number of pods is counted and the answer means little.
        running: job pods that run now; they are among those that fit.
        fillers: where too few fit for want of room on a node: who asks for the most of what runs out there.
    """

    wanted: int
    fits: int
    capacity: int
    by_node: tuple[NodeRoom, ...]
    requests: dict[str, str]
    runs_out: str = ""
    quota_limit: int | None = None
    unsized: bool = False
    running: int = 0
    fillers: tuple[Filler, ...] = ()


def pack(
    nodes: Nodes,
    requests_by_node: PodRequests,
    *,
    job: Mapping[str, Decimal],
    shape: JobShape,
    quotas: Sequence[Json] = (),
    job_limits: Mapping[str, Decimal] | None = None,
    wanted: int | None = None,
) -> Headroom:
    """Pack job pods onto the nodes until all that are wanted have a place, or nothing more fits.

    All job pods are of one size, so first-fit-decreasing fills each node with as many as its scarcest resource allows.
    What runs out first is what does so when pods are spread evenly, as the scheduler does: on the smallest node.

    Args:
        nodes: all nodes.
        requests_by_node: what runs there already.
        job: what one job's pod asks for, from `preflight.jobshape.job_pod_requests`.
        shape: the values' say on where jobs may run.
        quotas: the namespace's ResourceQuota objects.
        job_limits: what one job's pod is limited to, for quotas on limits.
        wanted: default: the values' replicas times concurrent.
    """
    wanted = shape.replicas * shape.concurrent if wanted is None else wanted
    rooms = tuple(_room(node, requests_by_node.by_node.get(node.name, {}), job, shape) for node in nodes.nodes)
    places = sum(room.fits for room in rooms if room.eligible)
    quota_limit, quota_reason = _quota_limit(quotas, requests_by_node.set_aside, job, job_limits or {})
    capacity = places if quota_limit is None else min(places, quota_limit)
    smallest = min((room for room in rooms if room.eligible), key=lambda room: (room.fits, room.node), default=None)
    runs_out = f"{smallest.limited_by} on {smallest.node}" if smallest else ""
    fillers = _fillers(requests_by_node, smallest)
    if quota_limit is not None and quota_limit < places:
        runs_out, fillers = quota_reason, ()
    fits = min(wanted, capacity)
    unsized = not any(amount for name, amount in job.items() if name != "pods")
    fault: ClusterFault | None = None
    cause = ""
    if fits < wanted:
        fault = ClusterFault.TOO_FEW_FIT
        cause = f"fits {fits} of {wanted}; {f'{runs_out} runs out first' if runs_out else 'no node may run a job'}"
        if fillers:
            cause += f": {_describe_filler(fillers[0])}"
    lines = [_describe_room(room) for room in rooms]
    lines += [f"{filler.node}  {_describe_filler(filler)}" for filler in fillers if fault]
    if quota_limit is not None:
        lines.append(f"quota: {quota_limit} job pods ({quota_reason})")
    size = ", ".join(f"{name} {spell(name, amount)}" for name, amount in sorted(job.items()) if name != "pods")
    evidence = Evidence(
        where="here",
        command="kubectl describe nodes | grep -A 12 'Allocated resources'",
        observed="\n".join([f"one job asks for {size or 'nothing'}", *lines]),
        took=nodes.evidence.took + requests_by_node.evidence.took,
    )
    return Headroom(
        target="jobs",
        wanted=wanted,
        fits=fits,
        capacity=capacity,
        by_node=rooms,
        requests={name: exactly(amount) for name, amount in job.items()},
        runs_out=runs_out,
        quota_limit=quota_limit,
        unsized=unsized,
        running=requests_by_node.jobs,
        fillers=fillers if fault else (),
        fault=fault,
        cause=cause,
        evidence=evidence,
    )


def in_all(headroom: Headroom) -> Headroom:
    """The same without the room on each node, which the headroom of the values' own jobs shows, too."""
    return replace(headroom, by_node=())


def would_suffice(headroom: Headroom, nodes: Collection[str]) -> bool:
    """Whether all wanted jobs would find room, if these nodes took jobs; one that is gone is taken for a usual one."""
    rooms = {room.node: room for room in headroom.by_node}
    usual = max((room.fits for room in headroom.by_node), default=0)
    more = sum(rooms[node].could_fit if node in rooms else usual for node in nodes)
    return headroom.quota_limit is None and headroom.fits + more >= headroom.wanted


def _fillers(requests: PodRequests, room: NodeRoom | None) -> tuple[Filler, ...]:
    """Who asks for the most of what runs out first on a node."""
    if room is None:
        return ()
    return tuple(
        filler for filler in requests.fillers if (filler.node, filler.resource) == (room.node, room.limited_by)
    )


def _describe_filler(filler: Filler) -> str:
    return f"{filler.owner} asks for {filler.resource} {spell(filler.resource, quantity(filler.amount))}"


_SHOWN = ("cpu", "memory", "pods")


def _room(node: Node, used: Mapping[str, str], job: Mapping[str, Decimal], shape: JobShape) -> NodeRoom:
    taken = amounts(used)
    free: Amounts = {
        name: max(amount - taken.get(name, Decimal(0)), Decimal(0))
        for name, amount in amounts(node.allocatable).items()
    }
    reason = why_not(node, shape)
    counts = {name: _times(free.get(name, Decimal(0)), amount) for name, amount in job.items() if amount > 0}
    limited_by = min(counts, key=lambda name: (counts[name], name), default="")
    return NodeRoom(
        node=node.name,
        fits=0 if reason else counts.get(limited_by, 0),
        free={name: exactly(amount) for name, amount in free.items() if name in _SHOWN or name in job},
        limited_by="" if reason else limited_by,
        eligible=not reason,
        why_not=reason,
        could_fit=counts.get(limited_by, 0),
    )


def _times(free: Decimal, amount: Decimal) -> int:
    return int((free / amount).to_integral_value(ROUND_FLOOR))


def _quota_limit(
    quotas: Sequence[Json],
    set_aside: Mapping[str, str],
    requests: Mapping[str, Decimal],
    limits: Mapping[str, Decimal],
) -> tuple[int | None, str]:
    """How many job pods the tightest quota allows, those that run now included, and which resource of it decides."""
    tightest: int | None = None
    reason = ""
    for quota in quotas:
        spec, status = quota.get("spec", {}), quota.get("status", {})
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # it may not be about jobs at all; admission has the last word
        used = amounts(status.get("used"))
        for resource, hard in amounts(status.get("hard") or spec.get("hard")).items():
            name = _full_name(resource)
            kind, _, of = name.partition(".")
            amount = requests.get("pods") if name == "pods" else (limits if kind == "limits" else requests).get(of)
            if not amount:
                continue
            taken = max(used.get(resource, Decimal(0)) - quantity(set_aside.get(name, "0")), Decimal(0))
            count = max(_times(hard - taken, amount), 0)
            if tightest is None or count < tightest:
                tightest = count
                reason = f"{resource} of quota {quota.get('metadata', {}).get('name', '')}"
    return tightest, reason


def _full_name(resource: str) -> str:
    """A quota's resource in full: ``cpu`` is ``requests.cpu``, ``count/pods`` is ``pods``."""
    if resource in {"pods", "count/pods"}:
        return "pods"
    return resource if resource.startswith(("requests.", "limits.")) else f"requests.{resource}"


def _describe_room(room: NodeRoom) -> str:
    if not room.eligible:
        return f"{room.node}  not eligible: {room.why_not}"
    free = ", ".join(f"{name} {spell(name, quantity(room.free[name]))}" for name in _SHOWN if name in room.free)
    return f"{room.node}  fits {room.fits} (free: {free}; {room.limited_by} runs out first)"
