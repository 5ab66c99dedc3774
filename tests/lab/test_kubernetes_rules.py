"""The pure parts of the lab's Kubernetes: quantities, placement, Pod Security, LimitRange and quota arithmetic."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies

from lab import kubernetes
from lab.cluster.resources import PODS
from lab.cluster.state import ClusterState
from lab.kubernetes.admission import Admission, effective
from lab.kubernetes.authorization import Attempt, allows
from lab.kubernetes.defaults import fill_in, quality
from lab.kubernetes.guide import ADMIN_USER, OPERATOR_USER, guide_cluster, limit_range
from lab.kubernetes.guide import pod as running
from lab.kubernetes.podsecurity import violations
from lab.kubernetes.quantities import Quantity, quantity, total
from lab.kubernetes.refusals import Refusal
from lab.kubernetes.scheduling import place, tolerates
from lab.world import Node, guide_world
from tests.lab.cluster_client import ALPINE, Json, pod


@pytest.fixture
def cluster() -> ClusterState:
    world = guide_world()
    kubernetes.populate(world)
    return world.cluster


# ---- quantities


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("500m", "0.5", "500m"),
        ("1.5", "1.5", "1500m"),
        ("2000m", "2", "2"),
        ("1.5Gi", "1610612736", "1536Mi"),
        ("2048Mi", "2147483648", "2Gi"),
        ("0Mi", "0", "0"),
        ("512", "512", "512"),
        ("128974848", "128974848", "128974848"),
        ("129e6", "129000000", "129M"),
        ("1000", "1000", "1k"),
        ("1E", "1000000000000000000", "1E"),
        ("1Ki", "1024", "1Ki"),
        ("100n", "1E-7", "100n"),
        (".5", "0.5", "500m"),
    ],
)
def test_quantities_are_read_and_written_as_kubernetes_does(text: str, value: str, written: str) -> None:
    assert quantity(text).value == Decimal(value)
    assert str(quantity(text)) == written


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "1GiB", "1gi", "--1", "1e", "one", "1.2.3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        quantity(text)


@given(strategies.integers(0, 10**15), strategies.booleans())
def test_a_quantity_that_was_written_reads_the_same(number: int, binary: bool) -> None:
    written = str(Quantity(Decimal(number), binary=binary))
    assert quantity(written).value == number


def test_a_sum_keeps_the_form_of_its_first_part() -> None:
    assert str(quantity("0") + quantity("1Gi")) == "1Gi"
    assert {
        key: str(value)
        for key, value in total([{"a": quantity("100m")}, {"a": quantity("1"), "b": quantity("1Mi")}]).items()
    } == {
        "a": "1100m",
        "b": "1Mi",
    }


# ---- placement


def _pod(**spec: Any) -> Json:
    item = pod("p", **spec)
    fill_in("pods", item)
    return item


def _asking(**requests: str) -> Json:
    return _pod() | {
        "spec": _pod()["spec"] | {"containers": [{"name": "c", "image": ALPINE, "resources": {"requests": requests}}]}
    }


def _place(cluster: ClusterState, item: Json) -> tuple[str, str]:
    placement = place(item, cluster.each("nodes"), cluster.each("pods"))
    return placement.node, placement.message


def test_a_pod_goes_to_a_worker_with_room(cluster: ClusterState) -> None:
    node, message = _place(cluster, _pod())
    assert node.startswith("k8s-worker-")
    assert message == ""


def test_every_kind_of_reason_is_counted_and_sorted(cluster: ClusterState) -> None:
    cluster.cordon("k8s-worker-1")
    cluster.taint("k8s-worker-2", "dedicated", "db")
    _, message = _place(cluster, _asking(cpu="500"))
    assert message == (
        "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) had "
        "untolerated taint {node-role.kubernetes.io/control-plane: }, 1 node(s) were unschedulable. preemption: 0/4 "
        "nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for "
        "scheduling.."
    )


def test_a_node_that_is_full_of_pods_is_full(cluster: ClusterState) -> None:
    for name in ("k8s-worker-1", "k8s-worker-2", "k8s-worker-3"):
        cluster.node(name)["status"]["allocatable"]["pods"] = "3"
    assert "3 Too many pods" in _place(cluster, _pod())[1]


def test_pods_that_are_over_take_no_room(cluster: ClusterState) -> None:
    item = running("shop", "big", node="k8s-worker-1", requests={"cpu": "23"})
    cluster.add(item)
    asking = _asking(cpu="2")
    asking["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "k8s-worker-1"}
    assert "1 Insufficient cpu" in _place(cluster, asking)[1]
    stored = cluster.get("pods", "shop", "big")
    assert stored is not None
    stored["status"]["phase"] = "Succeeded"
    assert _place(cluster, asking)[0] == "k8s-worker-1"


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "value": "db"}, True),
        ({"key": "dedicated", "value": "db", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "value": "ci"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: Json, holds: bool) -> None:
    assert tolerates([toleration], {"key": "dedicated", "value": "db", "effect": "NoSchedule"}) is holds


def test_terms_of_a_node_affinity_are_alternatives(cluster: ClusterState) -> None:
    def term(name: str, **labels: str) -> Json:
        fields = [{"key": "metadata.name", "operator": "In", "values": [name]}]
        return {"matchFields": fields} | (
            {"matchExpressions": [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]}
            if labels
            else {}
        )

    def pinned(*terms: Json) -> Json:
        required = {"nodeSelectorTerms": list(terms)}
        return _pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}})

    assert _place(cluster, pinned(term("k8s-worker-2")))[0] == "k8s-worker-2"
    assert _place(cluster, pinned(term("k8s-worker-2", zone="z"), term("k8s-worker-3")))[0] == "k8s-worker-3"
    assert (
        "1 node(s) didn't match Pod's node affinity/selector"
        in _place(cluster, pinned(term("k8s-worker-2", zone="z")))[1]
    )
    assert "0/4 nodes are available: preemption:" in _place(cluster, pinned(term("k8s-worker-9")))[1]


# ---- Pod Security

COMPLIANT = {
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
}


@pytest.mark.parametrize(
    ("level", "change", "message"),
    [
        ("restricted", {}, ""),
        ("privileged", {"hostNetwork": True}, ""),
        ("baseline", {"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
        ("baseline", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        (
            "restricted",
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
        ),
        ("restricted", {"volumes": [{"name": "v", "emptyDir": {}}]}, ""),
        (
            "baseline",
            {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
            'hostPort (container "a" uses hostPort 80)',
        ),
        (
            "baseline",
            {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}}]},
            'non-default capabilities (container "a" must not include "SYS_ADMIN" in securityContext.capabilities.add)',
        ),
        (
            "baseline",
            {"containers": [{"name": entry, "securityContext": {"privileged": True}} for entry in ("a", "b")]},
            'privileged (containers "a", "b" must not set securityContext.privileged=true)',
        ),
        (
            "restricted",
            {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True, "runAsUser": 0}},
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            "restricted",
            {"securityContext": {"seccompProfile": {"type": "Unconfined"}, "runAsNonRoot": False}},
            (
                "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), seccompProfile (pod must "
                'not set securityContext.seccompProfile.type to "Unconfined")'
            ),
        ),
    ],
)
def test_pod_security_names_what_is_beyond_a_level(level: str, change: Json, message: str) -> None:
    assert violations(COMPLIANT | change, level) == message


# ---- LimitRange and quality of service


def _admit(cluster: ClusterState, **resources: Json) -> Json:
    item = pod("p", {"name": "c", "image": ALPINE, "resources": resources})
    fill_in("pods", item)
    Admission(cluster, PODS, item).admit()
    admitted: Json = item["spec"]["containers"][0]["resources"]
    return admitted


def test_a_limit_range_gives_its_maximum_where_nothing_is_asked_for(cluster: ClusterState) -> None:
    cluster.add(limit_range("gitlab", "lr", {"type": "Container", "max": {"memory": "64Mi", "cpu": "1"}}))
    assert _admit(cluster) == {"limits": {"memory": "64Mi", "cpu": "1"}, "requests": {"memory": "64Mi", "cpu": "1"}}
    with pytest.raises(Refusal) as refused:
        _admit(cluster, limits={"memory": "128Mi", "cpu": "2"})
    assert refused.value.message == (
        'pods "p" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, '
        "maximum memory usage per Container is 64Mi, but limit is 128Mi]"
    )


def test_a_limit_range_can_ask_for_more(cluster: ClusterState) -> None:
    cluster.add(limit_range("gitlab", "lr", {"type": "Container", "min": {"memory": "64Mi"}}))
    with pytest.raises(Refusal, match="minimum memory usage per Container is 64Mi, but request is 32Mi"):
        _admit(cluster, requests={"memory": "32Mi"})


def test_a_limit_range_can_limit_a_whole_pod(cluster: ClusterState) -> None:
    cluster.add(limit_range("gitlab", "lr", {"type": "Pod", "max": {"memory": "1Gi"}}))
    with pytest.raises(Refusal, match=r"maximum memory usage per Pod is 1Gi\. No limit is specified"):
        _admit(cluster)


def test_what_a_pod_asks_for_is_its_containers_or_its_largest_init_container() -> None:
    def asks(memory: str) -> Json:
        return {"name": "c", "resources": {"requests": {"memory": memory}}}

    spec = {"containers": [asks("100Mi"), asks("100Mi")], "initContainers": [asks("150Mi")]}
    assert str(effective(spec, "requests")["memory"]) == "200Mi"
    spec["initContainers"] = [asks("1Gi"), asks("2Gi")]
    assert str(effective(spec, "requests")["memory"]) == "2Gi"


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: Json, wanted: str) -> None:
    assert quality({"containers": [{"name": "c", "resources": resources}]}) == wanted


# ---- what faults change


def test_what_is_revoked_is_gone_from_every_role_and_admins_keep_it(cluster: ClusterState) -> None:
    listing = Attempt(verb="list", resource="nodes")
    assert allows(cluster, OPERATOR_USER, listing)
    cluster.revoke("nodes", "list")
    assert allows(cluster, OPERATOR_USER, listing) is None
    assert allows(cluster, OPERATOR_USER, Attempt(verb="watch", resource="nodes"))
    assert allows(cluster, OPERATOR_USER, Attempt(verb="list", resource="pods"))
    cluster.revoke("nodes")
    assert allows(cluster, OPERATOR_USER, Attempt(verb="watch", resource="nodes")) is None
    assert allows(cluster, ADMIN_USER, listing) == ""


def test_a_node_under_pressure_says_so_and_repels_pods(cluster: ClusterState) -> None:
    cluster.press("k8s-worker-1", "DiskPressure")
    node = cluster.node("k8s-worker-1")
    (condition,) = [entry for entry in node["status"]["conditions"] if entry["type"] == "DiskPressure"]
    assert (condition["status"], condition["reason"]) == ("True", "KubeletHasDiskPressure")
    assert [entry["key"] for entry in node["spec"]["taints"]] == ["node.kubernetes.io/disk-pressure"]
    assert _place(cluster, _pod())[0] != "k8s-worker-1"


def test_a_service_that_lost_its_endpoints_has_none_ready(cluster: ClusterState) -> None:
    assert len(cluster.ready_endpoints("kube-system", "kube-dns")) == 2
    cluster.drop_endpoints("kube-system", "kube-dns")
    assert cluster.ready_endpoints("kube-system", "kube-dns") == ()
    endpoints = cluster.get("endpoints", "kube-system", "kube-dns")
    assert endpoints is not None
    assert len(endpoints["subsets"][0]["notReadyAddresses"]) == 2
    cluster.remove_service("kube-system", "kube-dns")
    assert cluster.service_address("kube-dns.kube-system.svc.cluster.local") == ""
    assert cluster.get("endpoints", "kube-system", "kube-dns") is None


def test_a_node_that_is_removed_takes_its_pods_along(cluster: ClusterState) -> None:
    cluster.remove_node("k8s-worker-3")
    assert cluster.get("nodes", "", "k8s-worker-3") is None
    assert not [entry for entry in cluster.each("pods") if entry["spec"]["nodeName"] == "k8s-worker-3"]


def test_making_nodes_and_placing_a_pod_grows_with_their_number_alone() -> None:
    def cpu_seconds(count: int) -> float:
        began = time.process_time()
        machines = [Node(f"node-{number:04}", f"10.20.{number // 250}.{number % 250 + 1}") for number in range(count)]
        assert _place(guide_cluster(machines), _asking(cpu="1"))[0]
        return time.process_time() - began

    cpu_seconds(10)
    assert cpu_seconds(1000) < 30 * cpu_seconds(100)  # ten times as many; in the square it would be a hundred times
