"""Pools are judged over the live list, whatever the names of their nodes are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from preflight.evidence import Evidence
from preflight.faults import ClusterFault
from preflight.probes import nodes as states
from preflight.probes.cluster import Node, Nodes

CI = {"workload": "ci"}


def live(*ready: bool, labels: dict[str, str] | None = None) -> Nodes:
    """A list of nodes, each Ready or not."""
    listed = tuple(
        Node(name=f"auto-{number}", ready=one, ready_reason="" if one else "Kubelet stopped", labels=labels or CI)
        for number, one in enumerate(ready)
    )
    return Nodes(target="nodes", nodes=listed, evidence=Evidence(where="here", command="kubectl get nodes"))


@pytest.mark.parametrize(("count", "at_least", "short"), [(3, 2, False), (2, 2, False), (1, 2, True), (0, 1, True)])
def test_a_pool_needs_its_number_of_nodes(count: int, at_least: int, short: bool) -> None:
    found = states.pool_presence("ci", CI, at_least, live(*[True] * count))
    assert (found.fault is ClusterFault.NODE_MISSING) is short
    if short:
        assert found.cause == f"pool ci has {count} of at least {at_least} nodes with workload=ci"


def test_nodes_with_other_labels_are_not_of_the_pool() -> None:
    assert states.pool_presence("ci", CI, 1, live(True, True, labels={"workload": "db"})).fault is not None


def test_every_node_of_a_pool_is_judged_but_those_with_a_check_of_their_own() -> None:
    nodes = live(True, False, False)

    def ready(node: Node) -> states.NodeState:
        return states.readiness(node, nodes)

    found = states.pool_property("ci", CI, nodes, ready, named=())
    assert found.fault is ClusterFault.NODE_NOT_READY
    assert found.failing == ("auto-1", "auto-2")
    assert found.cause.startswith("2 of 3 nodes of pool ci: auto-1 is not Ready: Kubelet stopped; auto-2")
    assert states.pool_property("ci", CI, nodes, ready, named={"auto-1", "auto-2"}).fault is None


def named(count: int) -> dict[str, tuple[str, str]]:
    """Addresses and roles of as many nodes as `live` makes, by name."""
    return {f"auto-{number}": (f"192.168.9.{number}", "worker") for number in range(count)}


@pytest.mark.parametrize(
    ("expected", "fault", "cause"),
    [
        (named(1000), None, ""),
        (
            named(1000) | {"gone": ("192.168.9.9", "worker")},
            ClusterFault.NODE_MISSING,
            "1 of 1001 nodes of the named ones: the cluster has no node gone; it has auto-0, auto-1, "
            "auto-2 and 997 more",
        ),
        (
            named(1000) | {"auto-7": ("192.168.9.8", "worker")},
            ClusterFault.WRONG_ADDRESS,
            "1 of 1000 nodes of the named ones: auto-7 has the address 192.168.9.7, the inventory says 192.168.9.8",
        ),
        (
            named(1000) | {"auto-7": ("192.168.9.7", "control-plane")},
            ClusterFault.NODE_WRONG_ROLE,
            "1 of 1000 nodes of the named ones: auto-7 is a worker node, the inventory says control-plane",
        ),
    ],
)
def test_a_thousand_named_nodes_are_judged_together_and_the_odd_ones_named(
    expected: dict[str, tuple[str, str]], fault: ClusterFault | None, cause: str
) -> None:
    nodes = live(*[True] * 1000)
    nodes = replace(nodes, nodes=tuple(replace(node, address=f"192.168.9.{node.name[5:]}") for node in nodes.nodes))
    state = states.others_presence(expected, nodes)
    assert (state.fault, state.cause) == (fault, cause)
    assert len(state.evidence.observed) < 200


def test_a_property_of_nodes_that_are_judged_together_names_five_and_counts_the_others() -> None:
    nodes = live(*[number >= 7 for number in range(1000)], True)
    state = states.others_property(set(named(1000)), nodes, lambda node: states.readiness(node, nodes))
    assert state.cause.startswith("7 of 1000 nodes of the named ones: auto-0 is not Ready: Kubelet stopped; auto-1")
    assert state.cause.endswith("auto-4 is not Ready: Kubelet stopped; and 2 more")
    assert state.failing == tuple(f"auto-{number}" for number in range(7))
