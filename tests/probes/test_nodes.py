"""Pools are judged over the live list, whatever the names of their nodes are."""

from __future__ import annotations

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
