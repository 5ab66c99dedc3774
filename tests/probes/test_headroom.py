"""How many jobs fit is counted as the scheduler would place them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from preflight.evidence import Evidence
from preflight.facts.probe_plan import own_services, platforms_of_jobs
from preflight.faults import ClusterFault, PodFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, Resources, Service, job_pod_limits, job_pod_requests
from preflight.probes.cluster import Filler, Node, Nodes, PodRequests
from preflight.probes.headroom import obstacle, pack, suits, why_not

Json = dict[str, Any]
EVIDENCE = Evidence(where="here", command="kubectl get nodes")
SHAPE = JobShape(
    namespace="gitlab",
    image="a",
    helper_image="b",
    build=Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "2Gi"}),
    concurrent=10,
    replicas=3,
)
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def node(name: str, cpu: str = "8", memory: str = "16Gi", pods: str = "110", **more: Any) -> Node:
    return Node(
        name=name,
        ready=more.pop("ready", True),
        allocatable={"cpu": cpu, "memory": memory, "pods": pods},
        labels={"kubernetes.io/os": "linux", **more.pop("labels", {})},
        **more,
    )


def nodes(*given: Node) -> Nodes:
    return Nodes(target="cluster", nodes=given, evidence=EVIDENCE)


def used(**by_node: dict[str, str]) -> PodRequests:
    return PodRequests(
        target="cluster", by_node={k.replace("_", "-"): v for k, v in by_node.items()}, evidence=EVIDENCE
    )


NOTHING = used()
GUIDE = nodes(
    node("k8s-master", roles=frozenset({"control-plane"}), taints=(CONTROL_PLANE,)),
    node("k8s-worker-1"),
    node("k8s-worker-2"),
    node("k8s-worker-3"),
)


def pack_(
    given: Nodes = GUIDE,
    requests: PodRequests = NOTHING,
    *,
    shape: JobShape = SHAPE,
    services: int = 0,
    **more: Any,
) -> Any:
    return pack(given, requests, job=job_pod_requests(shape, services), shape=shape, **more)


# --- packing --------------------------------------------------------------------------------------------------------


def test_an_empty_cluster_has_room_for_all() -> None:
    found = pack_()
    # 8 cores hold 16 jobs of 500m, 16Gi hold 16 of 1Gi: 48 on three workers, none on the control plane
    assert (found.fault, found.wanted, found.fits, found.capacity) == (None, 30, 30, 48)
    assert [(room.node, room.fits, room.eligible) for room in found.by_node] == [
        ("k8s-master", 0, False),
        ("k8s-worker-1", 16, True),
        ("k8s-worker-2", 16, True),
        ("k8s-worker-3", 16, True),
    ]
    assert "control-plane" in found.by_node[0].why_not


def test_what_runs_out_first_is_named_with_its_node() -> None:
    found = pack_(
        requests=used(
            k8s_worker_1={"cpu": "2", "memory": "4Gi", "pods": "10"},
            k8s_worker_2={"cpu": "1", "memory": "13Gi", "pods": "10"},
            k8s_worker_3={"cpu": "4", "memory": "6Gi", "pods": "10"},
        )
    )
    assert [room.fits for room in found.by_node] == [0, 12, 3, 8]
    assert found.fault is ClusterFault.TOO_FEW_FIT
    assert found.cause == "fits 23 of 30; memory on k8s-worker-2 runs out first"
    assert found.runs_out == "memory on k8s-worker-2"
    assert found.by_node[2].free["memory"] == str(3 * 2**30)
    assert "k8s-worker-2  fits 3 (free: cpu 7, memory 3Gi, pods 100; memory runs out first)" in found.evidence.observed


def test_a_node_that_asks_for_more_than_it_has_fits_none() -> None:
    found = pack_(nodes(node("a")), used(a={"cpu": "9", "memory": "20Gi", "pods": "3"}))
    assert (found.fits, found.by_node[0].free["cpu"]) == (0, "0")


def test_the_number_of_pods_limits_too() -> None:
    found = pack_(nodes(node("a", cpu="64", memory="256Gi", pods="20")), used(a={"pods": "8"}))
    assert (found.fits, found.runs_out) == (12, "pods on a")


def test_jobs_that_ask_for_nothing_are_counted_as_pods_and_marked() -> None:
    bare = JobShape(namespace="gitlab", image="a", helper_image="b", concurrent=10, replicas=30)
    found = pack_(shape=bare)
    assert (found.unsized, found.fits, found.capacity) == (True, 300, 330)
    assert not pack_().unsized


def test_services_count() -> None:
    shape = replace(SHAPE, service=Resources(requests={"cpu": "1500m"}))
    assert pack_(shape=shape, services=1).capacity == 12


def test_a_resource_that_no_node_has_fits_nowhere() -> None:
    shape = replace(SHAPE, build=Resources(requests={"nvidia.com/gpu": "1"}))
    found = pack_(shape=shape)
    assert (found.fits, found.runs_out) == (0, "nvidia.com/gpu on k8s-worker-1")


def test_no_eligible_node_at_all() -> None:
    found = pack_(shape=replace(SHAPE, node_selector={"workload": "ci"}))
    assert (found.cause, found.runs_out) == ("fits 0 of 30; no node may run a job", "")


@pytest.mark.parametrize(
    ("hard", "in_use", "aside", "limit", "reason"),
    [
        ({"pods": "20"}, {"pods": "5"}, {}, 15, "pods of quota small"),
        ({"pods": "20"}, {"pods": "15"}, {"pods": "12"}, 17, "pods of quota small"),  # 12 of them are jobs or ours
        ({"requests.cpu": "6"}, {"requests.cpu": "1"}, {}, 10, "requests.cpu of quota small"),
        ({"cpu": "6"}, {"cpu": "3"}, {"requests.cpu": "2"}, 10, "cpu of quota small"),
        ({"limits.memory": "10Gi"}, {"limits.memory": "0"}, {}, 5, "limits.memory of quota small"),
        ({"requests.cpu": "6", "pods": "3"}, {}, {}, 3, "pods of quota small"),
    ],
)
def test_a_quota_limits_too(
    hard: Mapping[str, str], in_use: Mapping[str, str], aside: dict[str, str], limit: int, reason: str
) -> None:
    quota = {"metadata": {"name": "small"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": in_use}}
    found = pack_(requests=replace(NOTHING, set_aside=aside), quotas=[quota], job_limits=job_pod_limits(SHAPE, 0))
    assert (found.fits, found.quota_limit, found.runs_out) == (limit, limit, reason)
    assert found.cause == f"fits {limit} of 30; {reason} runs out first"


@pytest.mark.parametrize(
    "quota",
    [
        {"spec": {"hard": {"secrets": "3"}}},
        {"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}},
        {"spec": {"hard": {"requests.nvidia.com/gpu": "1"}}},
        {"spec": {"hard": {"pods": "nonsense"}}},
    ],
)
def test_a_quota_on_something_else_does_not_limit(quota: Json) -> None:
    assert pack_(quotas=[quota]).quota_limit is None


# --- eligibility ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shape", "reason"),
    [
        (node("a"), SHAPE, ""),
        (node("a", labels={"workload": "ci"}), replace(SHAPE, node_selector={"workload": "ci"}), ""),
        (
            node("a"),
            replace(SHAPE, node_selector={"workload": "ci"}),
            "wants workload=ci, the node has no label workload",
        ),
        (
            node("a", labels={"workload": "db"}),
            replace(SHAPE, node_selector={"workload": "ci"}),
            "wants workload=ci, the node has workload=db",
        ),
        (node("a", cordoned=True), SHAPE, "the node is cordoned"),
        (node("a", ready=False, ready_reason="Kubelet stopped"), SHAPE, "not ready: Kubelet stopped"),
        (
            node("a", taints=({"key": "dedicated", "value": "db", "effect": "NoSchedule"},)),
            SHAPE,
            "dedicated=db:NoSchedule",
        ),
        (node("a", taints=({"key": "dedicated", "effect": "PreferNoSchedule"},)), SHAPE, ""),
    ],
)
def test_why_a_node_takes_no_jobs(given: Node, shape: JobShape, reason: str) -> None:
    found = why_not(given, shape)
    assert reason in found
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("given", "shape", "fault"),
    [
        (node("a"), replace(SHAPE, node_selector={"workload": "ci"}), PodFault.UNSCHEDULABLE_SELECTOR),
        (node("a", taints=(CONTROL_PLANE,)), SHAPE, PodFault.UNSCHEDULABLE_TAINT),
        (node("a", cordoned=True, taints=(CONTROL_PLANE,)), SHAPE, PodFault.UNSCHEDULABLE_CORDONED),
        (node("a", ready=False, cordoned=True), SHAPE, PodFault.NO_ELIGIBLE_NODE),
        (node("a"), SHAPE, None),
    ],
)
def test_what_keeps_jobs_off_a_node_is_a_fault(given: Node, shape: JobShape, fault: PodFault | None) -> None:
    assert obstacle(given, shape)[0] is fault


TAINT = {"key": "dedicated", "value": "ci", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": "dedicated", "operator": "Equal", "value": "ci", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "value": "ci"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "value": "db"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({}, False),
    ],
)
def test_tolerations_cover_taints_as_in_kubernetes(toleration: Json, covers: bool) -> None:
    found = why_not(node("a", taints=(TAINT,)), replace(SHAPE, tolerations=(toleration,)))
    assert (found == "") is covers


def required(*terms: Json) -> JobShape:
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}
    return replace(SHAPE, affinity=affinity)


@pytest.mark.parametrize(
    ("terms", "matches"),
    [
        ([{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}], True),
        ([{"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}], False),
        ([{"matchExpressions": [{"key": "gpu", "operator": "NotIn", "values": ["a100"]}]}], True),
        ([{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}], True),
        ([{"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}], False),
        ([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}], True),
        ([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["4"]}]}], False),
        ([{"matchExpressions": [{"key": "disk", "operator": "Gt", "values": ["4"]}]}], False),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}], True),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}], False),
        ([{}], False),
        ([{}, {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}], True),
        (
            [{"matchExpressions": [{"key": "disk", "operator": "Exists"}, {"key": "gpu", "operator": "Exists"}]}],
            False,
        ),
        ([{"matchExpressions": [{"key": "disk", "operator": "Unheard"}]}], False),
    ],
)
def test_affinity_matches_as_in_kubernetes(terms: list[Json], matches: bool) -> None:
    given = node("a", labels={"disk": "ssd", "cores": "8"})
    assert (why_not(given, required(*terms)) == "") is matches


def test_packing_a_large_cluster_takes_no_time_worth_mentioning() -> None:
    """1,000 nodes: the arithmetic must not be what a reader waits for."""
    many = nodes(*(node(f"n{number}") for number in range(1000)))
    busy = PodRequests(
        target="cluster", by_node={f"n{number}": {"cpu": "7", "pods": "9"} for number in range(1000)}, evidence=EVIDENCE
    )
    found = pack(many, busy, job={"cpu": Decimal("0.5")}, shape=SHAPE, wanted=5000)
    assert found.fits == 2000


def test_who_fills_the_node_that_is_full_first_is_named() -> None:
    fillers = (
        Filler(node="a", resource="cpu", owner="shop/Deployment reports", amount="5500m"),
        Filler(node="a", resource="cpu", owner="shop/DaemonSet agent", amount="1"),
        Filler(node="a", resource="memory", owner="shop/StatefulSet db", amount="8Gi"),
    )
    busy = replace(used(a={"cpu": "6500m"}), fillers=fillers)
    found = pack(nodes(node("a")), busy, job={"cpu": Decimal("0.5"), "pods": Decimal(1)}, shape=SHAPE)
    assert found.cause == "fits 3 of 30; cpu on a runs out first: shop/Deployment reports asks for cpu 5500m"
    assert [one.owner for one in found.fillers] == ["shop/Deployment reports", "shop/DaemonSet agent"]
    enough = pack(nodes(node("a")), busy, job={"cpu": Decimal("0.5")}, shape=SHAPE, wanted=3)
    assert (enough.fault, enough.fillers) == (None, ())


ARM = Node(name="arm", ready=True, os="linux", arch="arm64", labels={"kubernetes.io/arch": "arm64"})
AMD = Node(name="amd", ready=True, os="linux", arch="amd64", labels={"kubernetes.io/arch": "amd64"})
WINDOWS_NODE = Node(name="win", ready=True, os="windows", arch="amd64", labels={"kubernetes.io/os": "windows"})
AWAY = Node(name="away", os="linux", arch="s390x", cordoned=True)
TAINTED = Node(name="m", ready=True, os="linux", arch="ppc64le", taints=({"key": "x", "effect": "NoSchedule"},))
OF_WINDOWS = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}]}
            ]
        }
    }
}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["arm", "amd", "away"]),
        ({"node_selector": {"kubernetes.io/arch": "arm64"}}, ["arm"]),
        ({"node_selector": {"kubernetes.io/os": "windows"}}, ["win"]),
        ({"affinity": OF_WINDOWS}, ["win"]),
        ({"tolerations": ({"operator": "Exists"},)}, ["arm", "amd", "away", "m"]),
    ],
)
def test_nodes_of_windows_are_left_out_unless_they_are_asked_for(changes: dict[str, Any], names: list[str]) -> None:
    shape = JobShape(namespace="gitlab", image="a", helper_image="b", **changes)
    every = (ARM, AMD, WINDOWS_NODE, AWAY, TAINTED)
    assert [node.name for node in every if suits(node, shape)] == names


def test_images_are_judged_for_the_nodes_that_may_run_jobs(inventory: Inventory) -> None:
    shape = JobShape(namespace="gitlab", image="a", helper_image="b")
    every = Nodes(target="cluster", nodes=(ARM, AMD, WINDOWS_NODE, TAINTED), evidence=EVIDENCE)
    assert platforms_of_jobs(every, shape, inventory) == ("linux/amd64", "linux/arm64")
    chosen = replace(shape, node_selector={"kubernetes.io/arch": "arm64"})
    assert platforms_of_jobs(every, chosen, inventory) == ("linux/arm64",)
    assert platforms_of_jobs(None, chosen, inventory) == (inventory.cluster.platform,)
    nowhere = replace(shape, node_selector={"disk": "ssd"})
    assert platforms_of_jobs(every, nowhere, inventory) == (inventory.cluster.platform,)


def test_a_daemon_that_the_values_give_to_every_job_counts_once(inventory: Inventory) -> None:
    assert inventory.dind != "none"
    daemon = inventory.dind.daemon_image
    shape = JobShape(namespace="gitlab", image="a", helper_image="b")
    assert own_services(shape, inventory) == (daemon,)
    given = replace(shape, services=(Service(container="docker", image=daemon),))
    assert own_services(given, inventory) == ()
    assert own_services(shape, inventory.model_copy(update={"dind": "none"})) == ()
