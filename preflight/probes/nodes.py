"""Judge one node's object against what the inventory expects of it; pure, on what `cluster.nodes` measured.

Each function answers one question about one node, so that a node which is missing is one fault and not six.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from preflight.evidence import Evidence, Fact
from preflight.faults import ClusterFault, Fault
from preflight.inventory import OTHER_NODES
from preflight.jobshape import JobShape
from preflight.probes.cluster import Node, Nodes
from preflight.probes.headroom import obstacle
from preflight.shell_command import ShellCommand, program

_ALL_NODES = program("kubectl", "get", "nodes", "-o", "wide")
_MINOR = re.compile(r"v?(\d{1,9})\.(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState(Fact):
    """One property of one node.

    Attributes:
        node: its name.
        observed: the property as the API reports it.
    """

    node: str
    observed: str = ""


def _state(name: str, observed: str, nodes: Nodes, *, fault: Fault | None, cause: str, command: str = "") -> NodeState:
    return NodeState(
        target=name,
        node=name,
        observed=observed,
        fault=fault,
        cause=cause if fault else "",
        evidence=Evidence(
            where=nodes.where,
            command=command or program("kubectl", "get", "node", name, "-o", "wide"),
            observed=observed,
            took=nodes.evidence.took,
        ),
    )


def presence(name: str, address: str, nodes: Nodes) -> NodeState:
    """Whether the node is in the cluster, under its address."""
    node = nodes.named(name)
    if node is None:
        others = _shortened([other.name for other in nodes.nodes])
        cause = f"the cluster has no node {name}; it has {others}"
        return _state(
            name, "", nodes, fault=ClusterFault.NODE_MISSING, cause=cause, command="kubectl get nodes -o wide"
        )
    differs = bool(node.address) and address not in {node.address, *node.addresses}
    return _state(
        name,
        f"{node.name} {node.address} {node.version}",
        nodes,
        fault=ClusterFault.WRONG_ADDRESS if differs else None,
        cause=f"{name} has the address {node.address}, the inventory says {address}",
    )


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(names if len(names) <= _FEW else names[:_EXAMPLES]) or "none"
    return shown if len(names) <= _FEW else f"{shown} and {len(names) - _EXAMPLES} more"


_FEW, _EXAMPLES = 20, 3  # nodes that are all named where others are missing, and of more these


def readiness(node: Node, nodes: Nodes) -> NodeState:
    """Whether the kubelet reports the node as Ready."""
    return _state(
        node.name,
        "Ready" if node.ready else f"NotReady: {node.ready_reason}",
        nodes,
        fault=None if node.ready else ClusterFault.NODE_NOT_READY,
        cause=f"{node.name} is not Ready: {node.ready_reason}",
        command=program("kubectl", "describe", "node", node.name),
    )


def pressure(node: Node, nodes: Nodes) -> NodeState:
    """Whether the node is short of something."""
    short = ", ".join(node.pressures)
    return _state(
        node.name,
        short or "no pressure",
        nodes,
        fault=ClusterFault.NODE_PRESSURE if short else None,
        cause=f"{node.name} reports {short}",
        command=program("kubectl", "describe", "node", node.name),
    )


def role(node: Node, expected: str, nodes: Nodes) -> NodeState:
    """Whether the node is a worker or of the control plane, as expected."""
    control = bool(node.roles & {"control-plane", "master"})
    actual = "control-plane" if control else "worker"
    return _state(
        node.name,
        actual,
        nodes,
        fault=None if actual == expected else ClusterFault.NODE_WRONG_ROLE,
        cause=f"{node.name} is a {actual} node, the inventory says {expected}",
    )


def version_skew(node: Node, server: str, allowed: int, nodes: Nodes) -> NodeState:
    """Whether the kubelet is no newer than the API server and at most `allowed` minor versions behind."""
    kubelet, api = _MINOR.match(node.version), _MINOR.match(server)
    behind = int(api[2]) - int(kubelet[2]) if kubelet and api else 0
    skewed = not 0 <= behind <= allowed
    relation = f"{behind} minor versions behind" if behind > 0 else f"{-behind} minor versions newer than"
    return _state(
        node.name,
        node.version,
        nodes,
        fault=ClusterFault.VERSION_SKEW if skewed else None,
        cause=f"{node.name} runs kubelet {node.version}, {relation} the API server's {server}",
    )


def placement(node: Node, shape: JobShape, nodes: Nodes) -> NodeState:
    """Whether the scheduler may put a job's pod on the node: cordon, taints, selector and required affinity."""
    fault, why_not = obstacle(node, shape)
    taints = ", ".join(f"{taint.get('key')}:{taint.get('effect')}" for taint in node.taints)
    labels = ", ".join(f"{key}={value}" if value else key for key, value in node.labels.items())
    return _state(
        node.name,
        f"Taints: {taints or 'none'}\nUnschedulable: {str(node.cordoned).lower()}\nLabels: {labels or 'none'}",
        nodes,
        fault=fault,
        cause=f"no job may run on {node.name}: {why_not}",
        command=program("kubectl", "describe", "node", node.name),
    )


# ---- pools -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState(Fact):
    """One property of a pool's nodes, over the live list.

    Attributes:
        pool: its name in the inventory.
        nodes: the nodes that have its labels; not saved, as they are among the cluster's nodes.
        failing: those of them for which the property does not hold.
    """

    pool: str
    nodes: tuple[str, ...] = field(default=(), metadata={"live": True})
    failing: tuple[str, ...] = ()


def members(selector: Mapping[str, str], nodes: Nodes) -> tuple[Node, ...]:
    """The nodes that have all labels of a pool."""
    return tuple(node for node in nodes.nodes if selector.items() <= node.labels.items())


def pool_presence(pool: str, selector: Mapping[str, str], at_least: int, nodes: Nodes) -> PoolState:
    """Whether the pool has enough nodes."""
    pool_nodes = members(selector, nodes)
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    short = len(pool_nodes) < at_least
    cause = f"pool {pool} has {len(pool_nodes)} of at least {at_least} nodes with {labels}" if short else ""
    fault = ClusterFault.NODE_MISSING if short else None
    return _pool_state(pool, _listing(selector), pool_nodes, (), nodes, fault=fault, cause=cause)


def pool_property(
    pool: str, selector: Mapping[str, str], nodes: Nodes, judge: Callable[[Node], NodeState], *, named: Collection[str]
) -> PoolState:
    """Whether a property holds for all nodes of a pool but those that the inventory names: they have their own checks.

    Args:
        pool: its name.
        selector: its labels.
        nodes: the live list.
        judge: the property of one node, such as `readiness`.
        named: nodes that are judged by name.
    """
    pool_nodes = members(selector, nodes)
    judged = [judge(node) for node in pool_nodes if node.name not in named]
    return _property_of(f"pool {pool}", judged, pool_nodes, nodes, command=_listing(selector), target=pool)


def others_presence(others: Mapping[str, tuple[str, str]], nodes: Nodes) -> PoolState:
    """Whether nodes that are judged together are in the cluster, under their addresses and in their roles.

    Args:
        others: the address and the role that each must have, by name.
        nodes: the live list.
    """
    present = _present(others, nodes)
    judged = [
        presence(name, address, nodes)
        if name not in present
        else _address_and_role(present[name], address, role, nodes)
        for name, (address, role) in others.items()
    ]
    return _property_of("the named ones", judged, list(present.values()), nodes, expected=len(others))


def others_property(others: Collection[str], nodes: Nodes, judge: Callable[[Node], NodeState]) -> PoolState:
    """Whether a property holds for all nodes that are judged together, of those that are there."""
    present = list(_present(others, nodes).values())
    return _property_of("the named ones", [judge(node) for node in present], present, nodes)


def _present(others: Collection[str], nodes: Nodes) -> dict[str, Node]:
    return {node.name: node for node in nodes.nodes if node.name in others}


def _address_and_role(node: Node, address: str, expected: str, nodes: Nodes) -> NodeState:
    state = presence(node.name, address, Nodes(target=nodes.target, nodes=(node,), evidence=nodes.evidence))
    return state if state.fault is not None else role(node, expected, nodes)


def _listing(selector: Mapping[str, str]) -> ShellCommand:
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    return program("kubectl", "get", "nodes", "-l", labels, "-o", "wide")


def _property_of(
    whose: str,
    judged: Sequence[NodeState],
    present: Sequence[Node],
    nodes: Nodes,
    *,
    command: ShellCommand = _ALL_NODES,
    target: str = OTHER_NODES,
    expected: int = 0,
) -> PoolState:
    failing = [state for state in judged if state.fault is not None]
    causes = "; ".join(state.cause for state in failing[:_SHOWN])
    more = f"; and {len(failing) - _SHOWN} more" if len(failing) > _SHOWN else ""
    cause = f"{len(failing)} of {expected or len(present)} nodes of {whose}: {causes}{more}" if failing else ""
    fault = failing[0].fault if failing else None
    return _pool_state(target, command, present, failing, nodes, fault=fault, cause=cause)


_SHOWN = 5  # nodes in a sentence


def _pool_state(
    pool: str,
    command: ShellCommand,
    pool_nodes: Sequence[Node],
    failing: Sequence[NodeState],
    nodes: Nodes,
    *,
    fault: Fault | None,
    cause: str,
) -> PoolState:
    return PoolState(
        target=pool,
        pool=pool,
        nodes=tuple(node.name for node in pool_nodes),
        failing=tuple(state.node for state in failing),
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where=nodes.where,
            command=command,
            observed="\n".join(f"{state.node}  {state.observed}" for state in failing) or f"{len(pool_nodes)} nodes",
            took=nodes.evidence.took,
        ),
    )
