"""The scheduler's decision: where a pod fits, or why nowhere, in the scheduler's own words. Pure functions.

The filters run in the default profile's order, and the first that rejects a node gives the reason: NodeUnschedulable,
NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit. For a pod that is pinned by ``metadata.name`` in
every node selector term only those nodes are considered, as NodeAffinity's PreFilter does it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from lab.kubernetes.admission import effective
from lab.kubernetes.quantities import Quantity, amounts
from lab.kubernetes.selectors import holds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.cluster.state import Raw

SCHEDULER = "default-scheduler"
_FINAL = ("Succeeded", "Failed")
_BLOCKING = ("NoSchedule", "NoExecute")
_NOT_HELPFUL = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"
Amounts = dict[str, Quantity]


@dataclass(frozen=True, slots=True)
class Placement:
    """The node that a pod is scheduled to, or the message why there is none."""

    node: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Objection:
    """Why one node cannot take a pod; `final` if evicting other pods would not help."""

    reasons: tuple[str, ...]
    final: bool = True


def place(pod: Raw, nodes: Iterable[Raw], pods: Iterable[Raw]) -> Placement:
    """Choose the node with the most room left among those that can take the pod."""
    by_name = {node["metadata"]["name"]: node for node in nodes}
    if not by_name:
        return Placement(message="no nodes available to schedule pods")
    pinned = _pinned(pod["spec"])
    candidates = by_name if pinned is None else {name: node for name, node in by_name.items() if name in pinned}
    running: dict[str, list[Raw]] = {name: [] for name in candidates}
    for other in pods:
        node_name = other["spec"].get("nodeName")
        if node_name in running and other["status"].get("phase") not in _FINAL:
            running[node_name].append(other)
    objections: dict[str, _Objection] = {}
    fitting: list[tuple[Decimal, int, str]] = []
    for name, node in candidates.items():
        objection = _objection(pod, node, running[name])
        if objection is not None:
            objections[name] = objection
            continue
        room = _free(node, running[name]).get("cpu", _ZERO).value
        fitting.append((-room, len(running[name]), name))
    if fitting:
        return Placement(node=min(fitting)[2])
    return Placement(message=_message(len(by_name), objections))


def _message(count: int, objections: dict[str, _Objection]) -> str:
    reasons = Counter(reason for objection in objections.values() for reason in objection.reasons)
    summary = ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
    summary = f" {summary}." if summary else ""
    preemptible = sum(not objection.final for objection in objections.values())
    preemption_counts = {_NO_VICTIMS: preemptible, _NOT_HELPFUL: count - preemptible}
    preemption = ", ".join(sorted(f"{number} {reason}" for reason, number in preemption_counts.items() if number))
    return f"0/{count} nodes are available:{summary} preemption: 0/{count} nodes are available: {preemption}.."


def _objection(pod: Raw, node: Raw, running: list[Raw]) -> _Objection | None:
    spec = pod["spec"]
    tolerations = spec.get("tolerations") or []
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node["spec"].get("unschedulable") and not tolerates(tolerations, cordon):
        return _Objection(("node(s) were unschedulable",))
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] in _BLOCKING and not tolerates(tolerations, taint):
            taint_text = f"{{{taint['key']}: {taint.get('value', '')}}}"
            return _Objection((f"node(s) had untolerated taint {taint_text}",))
    if not attracted(spec, node):
        return _Objection(("node(s) didn't match Pod's node affinity/selector",))
    ports = _host_ports(spec)
    if ports and any(ports & _host_ports(other["spec"]) for other in running):
        return _Objection(("node(s) didn't have free ports for the requested pod ports",), final=False)
    return _insufficient_resources(spec, node, running)


def _insufficient_resources(spec: Raw, node: Raw, running: list[Raw]) -> _Objection | None:
    reasons: list[str] = []
    allocatable = amounts(node["status"].get("allocatable"))
    if len(running) + 1 > allocatable.get("pods", _ZERO).value:
        reasons.append("Too many pods")
    free = _free(node, running)
    for kind, amount in sorted(effective(spec, "requests").items()):
        if amount.value > 0 and amount.value > free.get(kind, _ZERO).value:
            reasons.append(f"Insufficient {kind}")
    return _Objection(tuple(reasons), final=False) if reasons else None


def _free(node: Raw, running: list[Raw]) -> Amounts:
    free = amounts(node["status"].get("allocatable"))
    for other in running:
        for kind, amount in effective(other["spec"], "requests").items():
            if kind in free:
                free[kind] = Quantity(free[kind].value - amount.value, free[kind].binary)
    return free


def tolerates(tolerations: Iterable[Raw], taint: Raw) -> bool:
    """Whether one of the tolerations covers a taint."""
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and (toleration.get("key") or "") in ("", taint["key"])
        and (
            toleration.get("operator") == "Exists"
            or (bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", ""))
        )
        for toleration in tolerations
    )


def attracted(spec: Raw, node: Raw) -> bool:
    """Whether a node satisfies a pod's node selector and its required node affinity; terms are alternatives."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = _required(spec)
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(holds(labels, requirement) for requirement in term.get("matchExpressions") or [])
        and all(holds(fields, requirement) for requirement in term.get("matchFields") or [])
        for term in required
    )


def _required(spec: Raw) -> list[Raw] | None:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else list(required.get("nodeSelectorTerms") or [])


def _pinned(spec: Raw) -> set[str] | None:
    """The only nodes that can be meant, if every term names nodes; else None."""
    names: set[str] = set()
    for term in _required(spec) or []:
        named = [
            set(requirement["values"])
            for requirement in term.get("matchFields") or []
            if requirement["key"] == "metadata.name" and requirement["operator"] == "In"
        ]
        if not named:
            return None
        names |= set.intersection(*named)
    return names or None


def _host_ports(spec: Raw) -> set[tuple[int, str]]:
    return {
        (port["hostPort"], port.get("protocol", "TCP"))
        for container in spec.get("containers") or []
        for port in container.get("ports") or []
        if port.get("hostPort")
    }


_ZERO = Quantity(Decimal(0))
