"""The cluster's own objects, read from what a real API server said, and from servers that go wrong."""

from __future__ import annotations

import copy
import email.utils
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api, ClockReading
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import ApiFault, ClusterFault, Fault, PathFault, PodFault
from preflight.probes import cluster
from preflight.probes.cluster import (
    Nodes,
    Owners,
    attributed,
    effective_requests,
    fillers,
    read_node,
    read_nodes,
    read_pod_requests,
)
from preflight.quantities import amounts
from preflight.shell_command import program
from tests.probes.apiserver import Asked, Reply, Scripted, kubeconfig, recorded, status

Json = dict[str, Any]
URL = "https://192.168.1.100:6443"
Serve = Callable[..., tuple[Api, Scripted]]


def answer_to(name: str, request: str) -> Any:
    return next(each["response"] for each in recorded(name) if each["request"] == request)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """An API that answers each path as told, and 404 otherwise."""
    running: list[tuple[Api, Scripted]] = []

    def begin(replies: Mapping[str, Reply], *, deadline: float = 2.0) -> tuple[Api, Scripted]:
        def answer(asked: Asked) -> Reply:
            return replies.get(asked.path, Reply(status(404, "NotFound", f"{asked.path} not found"), 404))

        server = Scripted(answer).__enter__()
        running.append((Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=deadline), server))
        return running[-1]

    yield begin
    for api, server in running:
        api.close()
        server.__exit__()


FORBIDDEN = Reply(
    status(403, "Forbidden", 'x is forbidden: User "ci" cannot list resource "x" in API group "" at the cluster scope'),
    403,
)


# --- API server -----------------------------------------------------------------------------------------------------


def test_a_ready_server_at_the_right_address_is_right(serve: Serve) -> None:
    replies = {
        "/version": Reply(answer_to("cluster", "GET /version")),
        "/readyz": Reply(answer_to("cluster", "GET /readyz?verbose")),
    }
    api, _ = serve(replies)
    found = cluster.api_server(api, expected_url=api.server)
    assert (found.fault, found.version, found.unhealthy) == (None, "v1.28.15", ())
    assert found.evidence.observed == "v1.28.15\nreadyz check passed"


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        (URL, None),
        ("https://192.168.1.100:6443/", None),
        ("192.168.1.100:6443", None),
        ("https://192.168.1.101:6443", ClusterFault.WRONG_ADDRESS),
        ("https://192.168.1.100", ClusterFault.WRONG_ADDRESS),
    ],
)
def test_the_address_is_held_against_the_inventorys(expected: str, fault: Fault | None) -> None:
    found = cluster.read_api_server({}, "ok", server=URL, expected_url=expected)
    assert found.fault == fault
    if fault:
        assert URL in found.cause
        assert expected in found.cause


@pytest.mark.parametrize(
    ("certified", "fault"), [("192.168.1.100", None), ("192.168.1.101", ClusterFault.WRONG_ADDRESS)]
)
def test_behind_a_tunnel_the_certificate_says_whose_server_it_is(certified: str, fault: Fault | None) -> None:
    api_server = cluster.read_api_server(
        {}, "ok", server="https://127.0.0.1:16443", certified=certified, expected_url=URL
    )
    assert api_server.fault == fault


@pytest.mark.parametrize(
    ("expected", "fault"), [("192.168.1.100", None), ("192.168.1.101", ClusterFault.WRONG_ADDRESS)]
)
def test_in_a_pod_the_certificate_says_whose_server_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, fault: Fault | None
) -> None:
    authority = trustme.CA()
    (tmp_path / "ca.crt").write_bytes(authority.cert_pem.bytes())
    (tmp_path / "token").write_text("made-up-token")
    monkeypatch.setattr("preflight.clients.kubeconfig._SERVICE_ACCOUNT", tmp_path)
    certificate = authority.issue_cert("127.0.0.1", "192.168.1.100")
    with Scripted(lambda _: Reply({"gitVersion": "v1.28.15"}), certificate) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nosuch"))
        api = Api(None, None, routes=Routes(), deadline=3)
        answer = cluster.api_server(api, expected_url=f"https://{expected}:6443")
        api.close()
    assert answer.fault == fault
    if fault:
        place = f"https://127.0.0.1:{server.port}"
        assert answer.cause.startswith(f"the pod's service account speaks to {place}, the inventory says ")
        assert answer.cause.endswith(f"which the certificate of {place} does not name")
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer made-up-token"}


def test_a_server_that_is_not_ready_names_its_checks(serve: Serve) -> None:
    said = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n"
    api, _ = serve({"/version": Reply({"gitVersion": "v1.28.15"}), "/readyz": Reply(said, 500)})
    found = cluster.api_server(api, expected_url=api.server)
    assert found.fault is ClusterFault.API_UNHEALTHY
    assert found.unhealthy == ("etcd",)
    assert found.cause.endswith("is not ready: etcd failed")


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(recorded("rbac")[-2]["response"], 401), ApiFault.UNAUTHORIZED),
        (Reply("<html>nginx</html>"), ApiFault.GARBLED),
        (Reply("bad gateway", 502), ApiFault.SERVER_ERROR),
        (Reply(drop=True), PathFault.RESET),
    ],
)
def test_a_server_that_does_not_answer_rightly_is_a_finding(serve: Serve, reply: Reply, fault: Fault) -> None:
    api, _ = serve({"/version": reply})
    found = cluster.api_server(api, expected_url=api.server)
    assert found.fault is fault
    assert found.cause
    assert found.evidence.command == "kubectl get --raw /version"


def test_a_right_that_is_missing_is_no_finding(serve: Serve) -> None:
    said = status(403, "Forbidden", 'forbidden: User "ci" cannot get path "/version"')
    api, _ = serve({"/version": Reply(said, 403)})
    with pytest.raises(Unmeasured) as caught:
        cluster.api_server(api, expected_url=api.server)
    assert 'nonResourceURLs: ["/version"]' in caught.value.needs


# --- nodes ----------------------------------------------------------------------------------------------------------

ITEMS: list[Json] = answer_to("cluster", "GET /api/v1/nodes")["items"]


def all_nodes(*items: Json) -> Nodes:
    evidence = Evidence(where="here", command="kubectl get nodes -o wide", observed="k8s-worker-1  Ready")
    return Nodes(target="cluster", nodes=read_nodes(items), evidence=evidence)


def test_nodes_are_read_from_a_real_list(serve: Serve) -> None:
    api, server = serve({"/api/v1/nodes": Reply({"metadata": {}, "items": ITEMS})})
    found = cluster.nodes(api, with_images=frozenset(each["metadata"]["name"] for each in ITEMS))
    assert [node.name for node in found.nodes] == ["k8s-worker-1", "k8s-worker-2", "k8s-worker-3"]
    node = found.nodes[0]
    assert (node.address, node.ready, node.cordoned, node.pressures, node.taints) == (
        "192.168.1.101",
        True,
        False,
        (),
        (),
    )
    assert (node.version, node.runtime, node.os, node.arch) == ("v1.28.15", "containerd://1.6.20", "linux", "amd64")
    assert node.allocatable["memory"] == "7804480Ki"
    assert len(server.asked) == 1
    assert "k8s-worker-1  Ready" in found.evidence.observed


def test_roles_come_from_the_labels() -> None:
    item = copy.deepcopy(ITEMS[0])
    item["metadata"]["labels"] |= {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "infra"}
    assert read_node(item).roles == {"control-plane", "infra"}


def test_a_node_that_the_api_knows_nothing_of_is_not_ready() -> None:
    node = read_node({"metadata": {"name": "new"}})
    assert (node.ready, node.ready_reason) == (False, "no reason given")


def test_a_cordoned_node_is_ready_and_takes_no_pods() -> None:
    node = read_node(recorded("node_cordoned")[0]["response"])
    assert (node.cordoned, node.ready) == (True, True)
    assert node.taints == ({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},)


def test_a_node_that_stopped_reporting_is_not_ready() -> None:
    node = read_node(recorded("node_not_ready")[0]["response"])
    assert (node.ready, node.ready_reason) == (False, "Kubelet stopped posting node status.")
    assert node.pressures == (), "unknown is not pressure"


def test_a_node_under_pressure_says_which() -> None:
    item = copy.deepcopy(ITEMS[0])
    for condition in item["status"]["conditions"]:
        if condition["type"] == "DiskPressure":
            condition["status"] = "True"
    assert read_node(item).pressures == ("DiskPressure",)


def test_a_node_is_found_by_its_name() -> None:
    found = all_nodes(*ITEMS)
    node = found.named("k8s-worker-2")
    assert node is not None
    assert node.address == "192.168.1.102"
    assert found.named("k8s-worker-9") is None


def test_nodes_that_may_not_be_listed_are_unmeasured(serve: Serve) -> None:
    api, _ = serve({"/api/v1/nodes": FORBIDDEN})
    with pytest.raises(Unmeasured) as caught:
        cluster.nodes(api, with_images=())
    assert caught.value.fault is ApiFault.FORBIDDEN
    assert '"nodes"' in caught.value.needs


# --- kube-dns -------------------------------------------------------------------------------------------------------

SERVICE = {"spec": {"clusterIP": "172.21.0.10"}}
DNS = "/api/v1/namespaces/kube-system/services/kube-dns"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
ENDPOINTS = "/api/v1/namespaces/kube-system/endpoints/kube-dns"


def slice_of(*ready: bool | None) -> Json:
    endpoints = [
        {"addresses": [f"172.24.1.{number}"], "conditions": {} if each is None else {"ready": each}}
        for number, each in enumerate(ready)
    ]
    return {"metadata": {"name": "kube-dns-x"}, "endpoints": endpoints}


@pytest.mark.parametrize(
    ("slices", "ready", "not_ready", "fault"),
    [
        ([slice_of(True, True)], 2, 0, None),
        ([slice_of(True), slice_of(True, None)], 2, 0, None),  # the same address in two slices counts once
        ([slice_of(None, False)], 1, 1, None),
        ([slice_of(False, False)], 0, 2, ClusterFault.NO_ENDPOINTS),
        ([{"metadata": {}, "endpoints": None}], 0, 0, ClusterFault.NO_ENDPOINTS),
        ([], 0, 0, ClusterFault.NO_ENDPOINTS),
    ],
)
def test_endpoints_are_counted(
    serve: Serve, slices: list[Json], ready: int, not_ready: int, fault: Fault | None
) -> None:
    api, server = serve({DNS: Reply(SERVICE), SLICES: Reply({"metadata": {}, "items": slices})})
    found = cluster.service_endpoints(api)
    assert (found.cluster_ip, found.ready, found.not_ready) == ("172.21.0.10", ready, not_ready)
    assert found.fault == fault
    assert server.asked[1].query["labelSelector"] == "kubernetes.io/service-name=kube-dns"


def test_a_service_that_is_missing_is_a_finding(serve: Serve) -> None:
    api, server = serve({})
    found = cluster.service_endpoints(api)
    assert found.fault is ClusterFault.SERVICE_MISSING
    assert found.cause == "namespace kube-system has no Service kube-dns"
    assert len(server.asked) == 1


def test_where_slices_may_not_be_read_endpoints_will_do(serve: Serve) -> None:
    subsets = [{"addresses": [{"ip": "172.24.1.1"}], "notReadyAddresses": [{"ip": "172.24.1.2"}]}]
    api, _ = serve({DNS: Reply(SERVICE), SLICES: FORBIDDEN, ENDPOINTS: Reply({"subsets": subsets})})
    found = cluster.service_endpoints(api)
    assert (found.fault, found.ready, found.not_ready) == (None, 1, 1)


def test_where_neither_may_be_read_it_is_unmeasured(serve: Serve) -> None:
    api, _ = serve({DNS: Reply(SERVICE), SLICES: FORBIDDEN, ENDPOINTS: FORBIDDEN})
    with pytest.raises(Unmeasured) as caught:
        cluster.service_endpoints(api)
    assert "endpointslices" in caught.value.needs


# --- metrics --------------------------------------------------------------------------------------------------------

METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"


def test_a_metrics_api_that_is_absent_is_missing(serve: Serve) -> None:
    api, _ = serve({METRICS: Reply(recorded("metrics_absent")[0]["response"], 404)})
    assert cluster.metrics(api).fault is ClusterFault.METRICS_MISSING


def test_a_metrics_api_without_a_server_is_unavailable_and_says_why(serve: Serve) -> None:
    nodes, service = recorded("metrics_unavailable")
    api, _ = serve(
        {METRICS: Reply(nodes["response"], 503), service["request"].partition(" ")[2]: Reply(service["response"])}
    )
    found = cluster.metrics(api)
    assert found.fault is ClusterFault.METRICS_UNAVAILABLE
    assert 'ServiceNotFound: service/metrics-server in "kube-system" is not present' in found.cause


@pytest.mark.parametrize("alive", [True, False])
def test_a_metrics_api_that_is_silent_is_told_from_an_api_server_that_is(serve: Serve, *, alive: bool) -> None:
    late = Reply({"items": []}, delay=1.5)
    api, _ = serve({METRICS: late, "/version": Reply({"major": "1"}) if alive else late}, deadline=0.3)
    if alive:
        found = cluster.metrics(api)
        assert found.fault is ClusterFault.METRICS_UNAVAILABLE
        assert "the API server answers, and the metrics API behind it did not within" in found.cause
    else:
        with pytest.raises(Unmeasured):
            cluster.metrics(api)


def test_a_metrics_api_that_answers_names_the_nodes(serve: Serve) -> None:
    usage = {"cpu": "100m", "memory": "1Gi"}
    api, _ = serve({METRICS: Reply({"items": [{"metadata": {"name": "k8s-worker-1"}, "usage": usage}]})})
    found = cluster.metrics(api)
    assert (found.fault, found.nodes) == (None, ("k8s-worker-1",))
    assert cluster.read_metrics({"items": []}).fault is ClusterFault.METRICS_UNAVAILABLE


def test_metrics_that_may_not_be_read_are_unmeasured(serve: Serve) -> None:
    api, _ = serve({METRICS: FORBIDDEN})
    with pytest.raises(Unmeasured):
        cluster.metrics(api)


# --- what pods ask for ----------------------------------------------------------------------------------------------


def asking(**requests: str) -> Json:
    return {"resources": {"requests": requests}}


@pytest.mark.parametrize(
    ("spec", "whole"),
    [
        ({"containers": [asking(cpu="1"), asking(cpu="500m", memory="1Gi")]}, {"cpu": "1.5", "memory": "1Gi"}),
        ({"containers": [asking(cpu="1")], "initContainers": [asking(cpu="3"), asking(cpu="2")]}, {"cpu": "3"}),
        (
            {"containers": [asking(cpu="1")], "initContainers": [{**asking(cpu="1"), "restartPolicy": "Always"}]},
            {"cpu": "2"},
        ),
        (
            {
                "containers": [asking(cpu="1")],
                "initContainers": [{**asking(cpu="1"), "restartPolicy": "Always"}, asking(cpu="3")],
            },
            {"cpu": "4"},
        ),
        ({"containers": [asking(cpu="1")], "overhead": {"cpu": "250m"}}, {"cpu": "1250m"}),
        ({"containers": [asking(cpu="1")], "resources": {"requests": {"cpu": "4"}}}, {"cpu": "4"}),
        ({"containers": [{}, {"resources": {}}]}, {}),
    ],
)
def test_a_pods_requests_are_counted_as_the_scheduler_counts_them(spec: Json, whole: dict[str, str]) -> None:
    assert effective_requests(spec) == amounts(whole)


def pod(node: str | None, cpu: str, *, namespace: str = "other", phase: str = "Running", **labels: str) -> Json:
    return {
        "metadata": {"namespace": namespace, "labels": {key.replace("__", "/"): each for key, each in labels.items()}},
        "spec": {"containers": [asking(cpu=cpu)], **({"nodeName": node} if node else {})},
        "status": {"phase": phase},
    }


def test_requests_are_added_up_by_node_without_ours_and_without_jobs() -> None:
    ours = of_a_run(pod("a", "10m", namespace="gitlab"))
    running_job = pod("a", "2", namespace="gitlab")
    running_job["metadata"]["labels"] = {"job.runner.gitlab.com/pod": "runner-x"}
    elsewhere = pod("b", "1", namespace="elsewhere")
    elsewhere["metadata"]["labels"] = {"job.runner.gitlab.com/pod": "another runner's"}
    items = [
        pod("a", "1"),
        pod("a", "250m"),
        pod("b", "4", phase="Succeeded"),
        pod(None, "8", phase="Pending"),
        ours,
        running_job,
        elsewhere,
    ]
    by_node, jobs, aside = read_pod_requests(items, namespace="gitlab")
    assert by_node == {"a": {"cpu": "1250m", "pods": "2"}, "b": {"cpu": "1", "pods": "1"}}
    assert jobs == 1
    assert aside == {"pods": "2", "requests.cpu": "2010m"}


def of_a_run(item: Json, kind: str = "Job", name: str = "preflight-0badc0de-pod-a-1f") -> Json:
    item["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "gitlab-runner-preflight",
        "preflight.gitlab-runner/run": "0badc0de",
    }
    item["metadata"]["ownerReferences"] = [{"kind": kind, "name": name, "controller": True}]
    return item


@pytest.mark.parametrize(
    "tenant",
    [
        pod("a", "1", namespace="gitlab", app__kubernetes__io="x"),
        of_a_run(pod("a", "1", namespace="gitlab")),
        of_a_run(pod("a", "10m", namespace="tenants")),
        of_a_run(pod("a", "10m", namespace="gitlab"), kind="ReplicaSet"),
        of_a_run(pod("a", "10m", namespace="gitlab"), name="web-0badc0de-pod"),
        {**of_a_run(pod("a", "10m", namespace="gitlab")), "spec": {"nodeName": "a", "containers": [asking(gpu="1")]}},
        of_a_run(pod("a", "10m", namespace="gitlab"))
        | {"metadata": {"namespace": "gitlab", "labels": {"preflight.gitlab-runner/run": "0badc0de"}}},
    ],
)
def test_a_tenant_s_labels_hide_no_pod(tenant: Json) -> None:
    by_node, jobs, aside = read_pod_requests([tenant], namespace="gitlab")
    assert by_node["a"]["pods"] == "1"
    assert (jobs, aside) == (0, {})
    labelled = {**tenant["metadata"], "labels": {"job.runner.gitlab.com/pod": "x"}}
    if "ownerReferences" in labelled:
        assert read_pod_requests([{**tenant, "metadata": labelled}], namespace="gitlab")[1] == 0


def test_pods_are_asked_for_once_and_in_pages(serve: Serve) -> None:
    api, server = serve({"/api/v1/pods": Reply({"metadata": {}, "items": [pod("a", "1")]})})
    found = cluster.pod_requests(api, namespace="gitlab")
    assert found.by_node == {"a": {"cpu": "1", "pods": "1"}}
    [asked] = server.asked
    assert asked.query == {"limit": "500", "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}


# --- the namespace --------------------------------------------------------------------------------------------------

GITLAB = "/api/v1/namespaces/gitlab"


def test_what_decides_on_admission_is_read_together(serve: Serve) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}
    api, _ = serve(
        {
            GITLAB: Reply({"metadata": {"name": "gitlab", "labels": labels}}),
            f"{GITLAB}/resourcequotas": Reply(recorded("admission_quota")[0]["response"]),
            f"{GITLAB}/limitranges": Reply(recorded("admission_limitrange")[0]["response"]),
            f"{GITLAB}/services": Reply({"items": [{"spec": {"selector": {"app": "web"}}}, {"spec": {}}]}),
            "/apis/policy/v1/namespaces/gitlab/poddisruptionbudgets": Reply(
                {"items": [{"spec": {"selector": {"matchLabels": {"team": "ci"}}}}]}
            ),
        }
    )
    found = cluster.namespace_state(api, "gitlab")
    assert (found.fault, found.exists, found.unread) == (None, True, ())
    assert found.pod_security == {"enforce": "baseline", "warn": "restricted"}
    assert found.quotas[0]["metadata"]["name"] == "small"
    assert found.limit_ranges[0]["spec"]["limits"][0]["max"] == {"memory": "512Mi"}
    assert found.selectors == ({"app": "web"}, {"team": "ci"})


def test_a_namespace_that_is_missing_or_going_is_a_finding(serve: Serve) -> None:
    api, server = serve({})
    found = cluster.namespace_state(api, "gitlab")
    assert (found.fault, found.exists) == (PodFault.NAMESPACE_MISSING, False)
    assert len(server.asked) == 1
    going = {"metadata": {"name": "gitlab", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert cluster.read_namespace(going, {}, namespace="gitlab").fault is PodFault.NAMESPACE_MISSING


def test_what_may_not_be_read_is_left_out_and_named(serve: Serve) -> None:
    api, _ = serve({GITLAB: Reply({"metadata": {"name": "gitlab"}}), f"{GITLAB}/resourcequotas": FORBIDDEN})
    found = cluster.namespace_state(api, "gitlab")
    assert (found.fault, found.quotas) == (None, ())
    assert len(found.unread) == 1
    assert "resourcequotas" in found.unread[0]


def test_facts_keep_their_evidence_out_of_their_repr() -> None:
    found = replace(all_nodes(*ITEMS), cause="x")
    assert "kubectl" not in repr(found)


def test_what_is_asked_for_is_told_by_owner() -> None:
    def owned(kind: str, name: str, cpu: str, labels: dict[str, str] | None = None) -> Json:
        made = pod("b", cpu, namespace="shop")
        made["metadata"]["ownerReferences"] = [{"kind": kind, "name": name, "controller": True}]
        made["metadata"]["labels"] = labels or {}
        return made

    hashed = {"pod-template-hash": "6c8f"}
    items = [
        owned("ReplicaSet", "web-6c8f", "1", hashed),
        owned("ReplicaSet", "web-6c8f", "1", hashed),
        owned("ReplicaSet", "bare-77aa", "1500m"),
        owned("DaemonSet", "agent", "100m"),
        owned("StatefulSet", "db", "200m"),
    ]
    owners: Owners = {}
    assert list(attributed(items, namespace="gitlab", owners=owners)) == items
    told = [(one.owner, one.amount) for one in fillers(owners) if one.resource == "cpu"]
    assert told == [
        ("shop/Deployment web", "2"),
        ("shop/ReplicaSet bare-77aa", "1500m"),
        ("shop/StatefulSet db", "200m"),
    ]


# --- the API server's clock ----------------------------------------------------------------------------------------


def clocked(offset: float, *, error: float = 0.5) -> cluster.ApiServer:
    evidence = Evidence(where="here", command=program("kubectl", "version"))
    return cluster.ApiServer(target=URL, server=URL, clock=ClockReading(offset, error), evidence=evidence)


@pytest.mark.parametrize(
    ("offset", "gitlab", "error", "words"),
    [
        (0.4, 0.2, 0.5, ""),
        (-90.0, 0.2, 0.5, "90 s behind ours and 90 s behind GitLab's; 5 s are allowed"),
        (90.0, None, 0.5, "90 s ahead of ours; 5 s are allowed"),
        (600.0, 600.5, 0.5, ""),  # ours is the one that is wrong
        (0.0, 600.0, 0.5, ""),  # GitLab's is
        (8.0, 0.0, 6.0, ""),  # its response was slow: that close it is not known
    ],
)
def test_the_api_servers_clock_is_wrong_where_no_other_agrees(
    offset: float, gitlab: float | None, error: float, words: str
) -> None:
    measured = cluster.api_clock(clocked(offset, error=error), gitlab_offset=gitlab, allowed=5)
    assert (measured.fault is ClusterFault.CLOCK_SKEW) is bool(words)
    assert words in measured.cause


def test_a_server_without_a_date_has_no_clock_to_judge() -> None:
    server = replace(clocked(0.0), clock=None)
    with pytest.raises(Unmeasured, match="carry no Date"):
        cluster.api_clock(server, gitlab_offset=0.0, allowed=5)


def test_the_clock_is_read_from_the_answer_that_came_the_most_quickly(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        late = asked.path == "/version"
        date = email.utils.formatdate(time.time() + (500 if late else -600), usegmt=True)
        body: object = {"gitVersion": "v1.28.15"} if late else "[+]ping ok\n"
        return Reply(body, headers={"Date": date}, delay=0.3 if late else 0.0)

    with Scripted(answer) as server:
        api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=5)
        measured = cluster.api_server(api, expected_url=server.url)
    assert measured.clock is not None
    assert measured.clock.offset == pytest.approx(-600, abs=2)
