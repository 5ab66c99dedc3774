"""A thousand nodes: who stands for whom, and probes that are bounded in number, in the lab's API and without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.clocked import ClockedRuns
from lab.lab import Lab
from preflight import inventory as inventory_file
from preflight import jobsettings
from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Fact, NotApplicable
from preflight.fact import CATALOGUE, fact
from preflight.facts import probe_plan
from preflight.inventory import PER_JUMP, ClusterNode, Inventory
from preflight.probes.cluster import Node, Nodes
from preflight.probes.transcript import PodStart
from preflight.run import Run
from preflight.survey import Survey
from preflight.values import values_of

HERE = Evidence(where="here", command="true", observed="")
ONE = Node(name="worker-1", ready=True, os="linux", arch="amd64", kernel="6.1.0", runtime="containerd://1.7.20")


def of_nodes(inventory: Inventory, nodes: dict[str, Node], wanted: str = "auto") -> Inventory:
    """The environment with these workers, all named."""
    named = {name: ClusterNode(address="10.9.0.1") for name in nodes}
    parts = {name: getattr(inventory, name) for name in Inventory.model_fields}
    parts["cluster"] = inventory.cluster.model_copy(update={"nodes": named})
    parts["probe"] = inventory.probe.model_copy(update={"nodes": wanted})
    return Inventory.model_construct(**parts)


def probed(inventory: Inventory, nodes: dict[str, Node], wanted: str = "auto", most: int | None = None) -> Run:
    """A run that has asked for a pod on each worker that is measured."""
    large = of_nodes(inventory, nodes, wanted)
    shape = jobsettings.job_shape(values_of(inventory.runner))
    listed = Nodes(target="cluster", nodes=tuple(nodes.values()), evidence=HERE)
    run = Run(inventory=large, routes=Routes(), id="r")
    for worker in large.workers:
        try:
            probe_plan.require_probed(worker, listed, shape, large, run, most)
        except NotApplicable as left_out:
            assert "eligible workers get a pod (" in str(left_out)  # noqa: PT017 - what is not raised is a pod
    return run


def like(one: Node, *names: str) -> dict[str, Node]:
    return {name: replace(one, name=name) for name in names}


ALIKE = like(ONE, *(f"worker-{number}" for number in range(1, 13)))
KINDS = {name: replace(node, kernel=f"6.{number}") for number, (name, node) in enumerate(ALIKE.items()) if number < 8}
THOUSAND = like(ONE, *(f"worker-{number}" for number in range(1, 1001)))


@pytest.mark.parametrize(
    ("nodes", "wanted", "most", "pods", "note"),
    [
        (ALIKE, "all", None, 12, ""),
        (dict(list(ALIKE.items())[:10]), "auto", None, 10, ""),
        (ALIKE, "auto", None, 5, "job pods on 5 of 12 eligible workers, one of each kind first: worker-1, worker-2, "),
        (ALIKE | KINDS, "auto", None, 9, "job pods on 9 of 12 eligible workers, one of each kind first: worker-1, "),
        (ALIKE | like(ONE, "gpu-1"), "sample:2", None, 2, "first: worker-1, gpu-1 (--all-nodes)"),
        (ALIKE | KINDS, "sample:8", None, 8, "worker-8; on none like worker-9 (--all-nodes)"),
        (
            ALIKE | like(ONE, "gpu-1"),
            "auto",
            1,
            1,
            "pods with DinD on 1 of 13 eligible workers, one of each kind first: ",
        ),
        (THOUSAND, "auto", None, 5, ""),  # said before the run: five of a thousand stand for all
        (
            *(THOUSAND | {"worker-777": replace(ONE, name="worker-777", kernel="5.10")}, "auto", None, 5),
            "worker-5; on none like worker-777 (--all-nodes)",
        ),
        (
            THOUSAND,
            "auto",
            3,
            3,
            "pods with DinD on 3 of 1000 eligible workers, one of each kind first: worker-1, worker-2, ",
        ),
    ],
)
def test_a_node_of_each_kind_gets_a_pod_and_the_report_says_which(
    inventory: Inventory, nodes: dict[str, Node], wanted: str, most: int | None, pods: int, note: str
) -> None:
    run = probed(inventory, nodes, wanted, most)
    (sample,) = run.probed.values()
    assert len(sample.workers) == pods
    (said,) = probe_plan.sampling_notes(run) or [""]
    assert note in said
    assert bool(note) == bool(said)


@pytest.fixture
def catalogue() -> Iterator[None]:
    """The facts, without those that a test adds."""
    before = CATALOGUE.copy()
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("group", ["pods", "logins"])
@pytest.mark.parametrize("nodes", [250, 1000])
def test_the_time_for_many_nodes_is_theirs_over_the_bound(inventory: Inventory, group: str, nodes: int) -> None:
    """Each probe ends once as many are on as are allowed: one fewer, and it would wait in vain; one more is seen."""
    large = of_nodes(inventory, like(ONE, *(f"worker-{number}" for number in range(nodes)))).with_all_nodes()
    bound = {"pods": large.limits.probe_pods_at_once, "logins": PER_JUMP}[group]
    lock, together = threading.Lock(), threading.Barrier(bound)
    rounds = on = most = 0

    @fact(group=group)
    def clocked(worker: str) -> Fact:
        """One node."""
        nonlocal rounds, on, most
        with lock:
            on, most = on + 1, max(most, on + 1)
        first = together.wait(10) == 0
        with lock:
            rounds, on = rounds + first, on - 1
        return Fact(target=worker, evidence=HERE)

    survey = Survey(Run(inventory=large, routes=Routes(), id="r"), workers=16, at_once={group: bound})
    for worker in large.workers:
        survey.begin("clocked", {"worker": worker})
    survey.start()
    assert [survey.join("clocked", {"worker": worker}).target for worker in large.workers] == list(large.workers)
    assert survey.close(patience=1) == []
    assert (most, rounds) == (bound, nodes / bound)


def test_pods_of_a_large_cluster_are_bounded_and_take_rounds() -> None:
    """In the lab's API with a thousand nodes: scripts end once as many run at the same time as may."""
    bound, workers = 5, 20
    clock = ClockedRuns(together=bound)
    with Lab(workers=1000, pods=clock) as lab:
        large = inventory_file.load(lab.inventory).with_all_nodes()
        run = Run(inventory=large, routes=Routes.of(large.connect), id="clocked")
        survey = Survey(run, workers=16, at_once={"pods": bound})
        asked = list(large.workers)[-workers:]
        for worker in asked:
            survey.begin("pod_start", {"worker": worker})
        survey.start()
        starts: list[PodStart] = [survey.join("pod_start", {"worker": worker}) for worker in asked]
        assert [(start.node, start.fault) for start in starts] == [(worker, None) for worker in asked]
        assert survey.close(patience=5) == []
        listed = [request.path for request in lab.world.recorded("kubernetes", "GET", "/api/v1/nodes*")]
        kept = lab.change(lambda world: [job["metadata"]["name"] for job in world.cluster.each("jobs")])
    assert (clock.most, clock.groups, kept) == (bound, workers / bound, [])
    assert len(listed) == 1, "however many nodes there are"
