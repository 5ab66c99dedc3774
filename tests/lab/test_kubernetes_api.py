"""The lab's API behaves as Kubernetes' does where no recording says it: lists, watches, deletion, rights, health."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lab.kubernetes.guide import OPERATOR_TOKEN, fill, quota
from lab.kubernetes.guide import pod as filler
from lab.world import World
from tests.lab.cluster_client import ALPINE, JOBS, PODS, Client, job, live, over, pod, sh

SLEEPS = {"name": "c", "image": ALPINE, "command": ["sleep", "60"]}


# ---- lists


def _many(world: World) -> None:
    for number in range(25):
        name = f"filler-{number:02}"
        item = filler("shop", name, node="k8s-worker-1", labels={"tier": "gold" if number % 2 else "tin"})
        world.cluster.add(item)


@live(_many)
async def test_a_list_comes_in_pages_that_join_without_gaps(k: Client) -> None:
    path, names, pages, token = "/api/v1/namespaces/shop/pods", [], 0, ""
    while True:
        page = await k.get(f"{path}?limit=7&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        pages += 1
        token = page["metadata"].get("continue", "")
        if not token:
            break
        assert page["metadata"]["remainingItemCount"] == 31 - len(names)
    whole = [item["metadata"]["name"] for item in await k.items(path)]
    assert (names, pages) == (whole, 5)
    assert names == sorted(names)


@live(_many)
async def test_a_page_token_from_before_the_compaction_is_refused_with_a_new_one(k: Client) -> None:
    path = "/api/v1/namespaces/shop/pods?limit=7"
    token = (await k.get(path))["metadata"]["continue"]
    await k.call("POST", PODS, pod("another"))
    k.cluster.forget()
    answer = await k.call("GET", f"{path}&continue={token}")
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    assert "too old" in answer.body["message"]
    rest = await k.get(f"{path}&continue={answer.body['metadata']['continue']}")
    assert len(rest["items"]) == 7


@live(_many)
async def test_selectors_choose(k: Client) -> None:
    path = "/api/v1/pods"
    for query, count in {
        "labelSelector=tier%3Dgold": 12,
        "labelSelector=tier%20in%20(gold,tin)": 25,
        "labelSelector=tier,tier%20notin%20(gold,control-plane)": 13,
        "labelSelector=k8s-app%3Dkube-dns": 2,
        "fieldSelector=metadata.name%3Dfiller-03": 1,
        "fieldSelector=spec.nodeName%3Dk8s-master": 5,
        "fieldSelector=spec.nodeName%3Dk8s-master,metadata.name%3Dnone": 0,
        "fieldSelector=status.phase!%3DRunning": 0,
        "fieldSelector=metadata.namespace%3Dshop&labelSelector=tier%3Dtin": 13,
    }.items():
        assert len(await k.items(f"{path}?{query}")) == count, query


@live()
async def test_a_field_that_is_not_supported_is_named(k: Client) -> None:
    answer = await k.call("GET", "/api/v1/pods?fieldSelector=spec.colour%3Dred")
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert "field label not supported: spec.colour" in answer.body["message"]


@live()
async def test_objects_in_a_list_have_no_kind_and_alone_they_have(k: Client) -> None:
    listed = await k.items("/api/v1/services")
    assert {item["metadata"]["name"] for item in listed} == {"kubernetes", "kube-dns", "metrics-server"}
    assert all("kind" not in item for item in listed)
    alone = await k.get("/api/v1/namespaces/kube-system/services/kube-dns")
    assert (alone["kind"], alone["apiVersion"], alone["spec"]["clusterIP"]) == ("Service", "v1", "172.21.0.10")
    endpoints = await k.get("/api/v1/namespaces/kube-system/endpoints/kube-dns")
    slices = await k.items(
        "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkube-dns"
    )
    ready = {address["ip"] for subset in endpoints["subsets"] for address in subset["addresses"]}
    assert ready == {item["addresses"][0] for item in slices[0]["endpoints"]}
    assert len(ready) == 2


@live()
async def test_a_number_that_is_none_is_a_bad_request(k: Client) -> None:
    for path in (f"{PODS}?limit=many", f"{PODS}?watch=1&timeoutSeconds=1.5"):
        answer = await k.call("GET", path)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


# ---- watches


@live()
async def test_a_watch_without_a_version_begins_with_what_is_there(k: Client) -> None:
    changes = await k.watch("/api/v1/namespaces?labelSelector=kubernetes.io%2Fmetadata.name%3Dgitlab")
    assert [(item["type"], item["object"]["metadata"]["name"]) for item in changes] == [("ADDED", "gitlab")]


@live()
async def test_a_watch_reports_what_comes_into_its_selection_and_what_leaves_it(k: Client) -> None:
    since = (await k.get("/api/v1/namespaces"))["metadata"]["resourceVersion"]
    path = f"/api/v1/namespaces?labelSelector=team%3Dci&resourceVersion={since}"
    watching = asyncio.ensure_future(k.watch(path))
    await asyncio.sleep(0.05)
    kind = "application/merge-patch+json"
    for labels in ({"team": "ci"}, {"team": "ci", "more": "x"}, {"team": None}):
        await k.call("PATCH", "/api/v1/namespaces/gitlab", {"metadata": {"labels": labels}}, content_type=kind)
    assert [item["type"] for item in await watching] == ["ADDED", "MODIFIED", "DELETED"]


@live()
async def test_a_watch_that_looks_too_far_back_gets_an_error_in_its_stream(k: Client) -> None:
    await k.call("POST", PODS, pod("one"))
    k.cluster.forget()
    (change,) = await k.watch(f"{PODS}?resourceVersion=1")
    assert change["type"] == "ERROR"
    assert (change["object"]["code"], change["object"]["reason"]) == (410, "Expired")


@live()
async def test_a_watch_ends_when_its_time_is_over_and_says_how_far_it_came(k: Client) -> None:
    since = (await k.get(PODS))["metadata"]["resourceVersion"]
    began = asyncio.get_running_loop().time()
    (change,) = await k.watch(f"{PODS}?resourceVersion={since}&allowWatchBookmarks=true")
    assert 0.9 < asyncio.get_running_loop().time() - began < 2
    assert (change["type"], change["object"]["kind"]) == ("BOOKMARK", "Pod")
    assert int(change["object"]["metadata"]["resourceVersion"]) >= int(since)


# ---- creation and change


@live()
async def test_a_dry_run_leaves_nothing(k: Client) -> None:
    before = k.cluster.revision
    answer = await k.call("POST", f"{PODS}?dryRun=All", pod("dry"))
    assert answer.status == 201
    assert "resourceVersion" not in answer.body["metadata"]
    assert (await k.call("POST", f"{JOBS}?dryRun=All", job("dry"))).status == 201
    assert (await k.call("GET", f"{PODS}/dry")).status == 404
    assert k.cluster.revision == before


@live()
async def test_a_name_that_is_taken_is_a_conflict(k: Client) -> None:
    assert (await k.call("POST", JOBS, job("twice"))).status == 201
    answer = await k.call("POST", JOBS, job("twice"))
    assert answer.status == 409
    assert answer.body["message"] == 'jobs.batch "twice" already exists'
    assert answer.body["details"] == {"name": "twice", "group": "batch", "kind": "jobs"}


@live()
async def test_a_generated_name_is_made_from_its_beginning(k: Client) -> None:
    manifest = pod("")
    manifest["metadata"] = {"generateName": "probe-"}
    names = {(await k.call("POST", PODS, manifest)).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("probe-") and len(name) == 11 for name in names)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"restartPolicy": "Always"}, 'spec.template.spec.restartPolicy: Unsupported value: "Always"'),
        ({"dnsPolicy": "none"}, 'spec.template.spec.dnsPolicy: Unsupported value: "none"'),
        (
            {"dnsPolicy": "None"},
            "spec.template.spec.dnsConfig.nameservers: Required value: must provide at least one DNS",
        ),
        ({"hostAliases": [{"ip": "docker"}]}, 'hostAliases[0].ip: Invalid value: "docker": must be a valid IP address'),
    ],
)
def test_a_job_that_makes_no_sense_is_invalid(spec: dict[str, Any], message: str) -> None:
    @live()
    async def invalid(k: Client) -> None:
        manifest = job("wrong")
        manifest["spec"]["template"]["spec"] |= spec
        answer = await k.call("POST", JOBS, manifest)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        assert answer.body["message"].startswith('Job.batch "wrong" is invalid: ')
        assert message in answer.body["message"]
        assert answer.body["details"]["kind"] == "Job"

    invalid()


@live()
async def test_an_amount_that_is_none_cannot_be_decoded(k: Client) -> None:
    container = SLEEPS | {"resources": {"requests": {"memory": "1 Gi"}}}
    answer = await k.call("POST", PODS, pod("amount", container))
    assert answer.status == 400
    assert "quantities must match the regular expression" in answer.body["message"]


@live()
async def test_a_request_beyond_its_limit_is_invalid(k: Client) -> None:
    container = SLEEPS | {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}}
    answer = await k.call("POST", PODS, pod("beyond", container))
    assert answer.status == 422
    message = 'requests: Invalid value: "1Gi": must be less than or equal to memory limit of 512Mi'
    assert f"spec.containers[0].resources.{message}" in answer.body["message"]


@live()
async def test_an_update_with_an_old_version_is_a_conflict(k: Client) -> None:
    path = "/api/v1/namespaces/gitlab"
    old = await k.get(path)
    await k.call("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content_type="application/merge-patch+json")
    answer = await k.call("PUT", path, old)
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    fresh = await k.get(path)
    fresh["metadata"]["labels"]["c"] = "d"
    assert (await k.call("PUT", path, fresh)).body["metadata"]["labels"]["c"] == "d"
    patch = [
        {"op": "remove", "path": "/metadata/labels/c"},
        {"op": "add", "path": "/metadata/labels/e~1f", "value": "g"},
    ]
    answer = await k.call("PATCH", path, patch, content_type="application/json-patch+json")
    assert answer.body["metadata"]["labels"]["e/f"] == "g"
    assert "c" not in answer.body["metadata"]["labels"]


# ---- deletion


async def _running_job(k: Client, name: str) -> str:
    """A Job whose pod runs; the pod's name."""
    await k.call("POST", JOBS, job(name, SLEEPS))
    path = f"{PODS}?labelSelector=job-name%3D{name}&fieldSelector=status.phase%3DRunning"
    listing = await k.until(path, lambda item: item["items"])
    return str(listing["items"][0]["metadata"]["name"])


@live()
async def test_deleting_a_job_without_a_policy_orphans_its_pods(k: Client) -> None:
    name = await _running_job(k, "orphan")
    answer = await k.call("DELETE", f"{JOBS}/orphan")
    assert answer.status == 200
    assert "child pods are preserved by default when jobs are deleted" in answer.warnings[0]
    assert answer.body["metadata"]["finalizers"] == ["orphan"]
    assert (await k.call("GET", f"{JOBS}/orphan")).status == 404
    await asyncio.sleep(0.1)
    remaining = await k.get(f"{PODS}/{name}")
    assert remaining["status"]["phase"] == "Running"
    assert not {"ownerReferences", "finalizers", "deletionTimestamp"} & set(remaining["metadata"])


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_deleting_a_job_with_a_policy_deletes_its_pods(policy: str) -> None:
    @live()
    async def deletes(k: Client) -> None:
        name = await _running_job(k, "gone")
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        answer = await k.call("DELETE", f"{JOBS}/gone", options)
        assert not answer.warnings
        assert answer.body["kind"] == ("Status" if policy == "Background" else "Job")
        await k.until(f"{PODS}/{name}", lambda item: item.get("code") == 404)
        await k.until(f"{JOBS}/gone", lambda item: item.get("code") == 404)
        assert [item["message"] for item in await k.events(name) if item["reason"] == "Killing"] == [
            "Stopping container c"
        ]

    deletes()


@live()
async def test_a_running_pod_lingers_marked_until_its_kubelet_has_stopped_it(k: Client) -> None:
    await k.call("POST", PODS, pod("lingers", SLEEPS))
    await k.until(f"{PODS}/lingers", lambda item: item["status"]["phase"] == "Running")
    since = (await k.get(PODS))["metadata"]["resourceVersion"]
    watching = asyncio.ensure_future(k.watch(f"{PODS}?resourceVersion={since}"))
    answer = await k.call("DELETE", f"{PODS}/lingers")
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    changes = await watching
    assert [item["type"] for item in changes][-1] == "DELETED"
    assert changes[0]["object"]["metadata"]["deletionTimestamp"]
    ended = changes[-1]["object"]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 137


@live(lambda world: world.cluster.taint("k8s-worker-1", "x", effect="NoSchedule"))
async def test_a_pod_on_a_node_that_went_silent_stays_terminating(k: Client) -> None:
    await k.call("POST", PODS, pod("stuck", SLEEPS, nodeSelector={"kubernetes.io/hostname": "k8s-worker-2"}))
    await k.until(f"{PODS}/stuck", lambda item: item["status"]["phase"] == "Running")
    k.cluster.stop_kubelet("k8s-worker-2")
    await k.call("DELETE", f"{PODS}/stuck")
    await asyncio.sleep(0.1)
    assert "deletionTimestamp" in (await k.get(f"{PODS}/stuck"))["metadata"]
    answer = await k.call("GET", f"{PODS}/stuck/log")
    assert answer.status == 500
    assert answer.body["message"].endswith("dial tcp 192.168.1.102:10250: i/o timeout")
    await k.call("DELETE", f"{PODS}/stuck?gracePeriodSeconds=0")
    assert (await k.call("GET", f"{PODS}/stuck")).status == 404


@live()
async def test_a_collection_is_deleted_by_label_and_nothing_else(k: Client) -> None:
    for name, run in (("a", "1"), ("b", "1"), ("c", "2")):
        manifest = job(name, SLEEPS)
        manifest["metadata"]["labels"] = {"run": run}
        await k.call("POST", JOBS, manifest)
    answer = await k.call("DELETE", f"{JOBS}?labelSelector=run%3D1&propagationPolicy=Background")
    assert (answer.status, answer.body["kind"], len(answer.body["items"])) == (200, "JobList", 2)
    assert [item["metadata"]["name"] for item in await k.items(JOBS)] == ["c"]
    pods = "?labelSelector=job-name%20in%20(a,b)"
    await k.until(PODS + pods, lambda item: not item["items"])


@live()
async def test_a_deletion_that_means_another_object_is_a_conflict(k: Client) -> None:
    await k.call("POST", JOBS, job("mine", SLEEPS))
    answer = await k.call("DELETE", f"{JOBS}/mine", {"preconditions": {"uid": "00000000-made-up"}})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert (await k.call("GET", f"{JOBS}/mine")).status == 200


# ---- who asks, and what they may


@live()
async def test_a_token_that_is_not_known_is_refused_everywhere(k: Client) -> None:
    k.token = "made-up-and-unknown"
    for path in ("/version", "/readyz", "/api/v1/nodes", "/apis", PODS):
        answer = await k.call("GET", path)
        assert (answer.status, answer.body["reason"]) == (401, "Unauthorized"), path


@live()
async def test_nobody_may_see_the_version_and_the_health_alone(k: Client) -> None:
    k.token = None
    for path in ("/version", "/readyz", "/livez"):
        assert (await k.call("GET", path)).status == 200
    answer = await k.call("GET", "/apis")
    assert answer.status == 403
    assert answer.body["message"] == 'forbidden: User "system:anonymous" cannot get path "/apis"'


@live()
async def test_the_operator_may_do_what_the_guide_needs_and_no_more(k: Client) -> None:
    k.token = OPERATOR_TOKEN
    for path in (
        "/api/v1/nodes",
        "/api/v1/pods",
        PODS,
        JOBS,
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/api/v1/namespaces/gitlab",
    ):
        assert (await k.call("GET", path)).status == 200, path
    assert (await k.call("POST", JOBS, job("mine"))).status == 201
    assert (await k.call("POST", "/api/v1/namespaces/default/pods", pod("x"))).status == 403
    assert (await k.call("GET", "/api/v1/secrets")).status == 403
    assert (await k.call("DELETE", "/api/v1/nodes/k8s-worker-1")).status == 403


@live(lambda world: world.cluster.revoke("nodes", "list"))
async def test_a_right_that_was_revoked_is_missed_by_name(k: Client) -> None:
    k.token = OPERATOR_TOKEN
    answer = await k.call("GET", "/api/v1/nodes")
    assert answer.status == 403
    message = 'nodes is forbidden: User "ops" cannot list resource "nodes" in API group "" at the cluster scope'
    assert answer.body["message"] == message
    assert (await k.call("GET", "/api/v1/nodes/k8s-worker-1")).status == 200
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await k.call("POST", path, review)).body["status"] == {"allowed": False}
    review["spec"]["resourceAttributes"]["verb"] = "get"
    assert (await k.call("POST", path, review)).body["status"]["allowed"] is True


@live()
async def test_a_message_names_the_object_the_group_and_the_subresource(k: Client) -> None:
    k.token = None
    for method, path, expected in (
        (
            "GET",
            f"{PODS}/x/log",
            'pods "x" is forbidden: User "system:anonymous" cannot get resource "pods/log" in API group ""',
        ),
        (
            "POST",
            JOBS,
            'jobs.batch is forbidden: User "system:anonymous" cannot create resource "jobs" in API group "batch"',
        ),
        (
            "GET",
            "/apis/metrics.k8s.io/v1beta1/nodes",
            'cannot list resource "nodes" in API group "metrics.k8s.io" at the cluster scope',
        ),
        ("DELETE", JOBS, "cannot deletecollection resource"),
    ):
        answer = await k.call(method, path, {} if method == "POST" else None)
        assert answer.status == 403
        assert expected in answer.body["message"]


# ---- the rest


@live(lambda world: world.cluster.failing_checks.add("etcd"))
async def test_a_health_check_that_fails_is_named(k: Client) -> None:
    answer = await k.call("GET", "/readyz?verbose")
    assert answer.status == 500
    assert "[-]etcd failed: reason withheld\n" in answer.body
    assert "[+]ping ok\n" in answer.body
    assert answer.body.endswith("readyz check failed\n")
    assert (await k.call("GET", "/readyz/ping")).body == "ok"


@live(lambda world: world.cluster.stop_kubelet("k8s-worker-2"))
async def test_metrics_are_those_of_the_nodes_that_answer(k: Client) -> None:
    listing = await k.get("/apis/metrics.k8s.io/v1beta1/nodes")
    assert (listing["kind"], listing["apiVersion"]) == ("NodeMetricsList", "metrics.k8s.io/v1beta1")
    assert [item["metadata"]["name"] for item in listing["items"]] == ["k8s-master", "k8s-worker-1", "k8s-worker-3"]
    usage = listing["items"][1]["usage"]
    assert usage["cpu"].endswith("n")
    assert usage["memory"].endswith("Ki")
    metrics = await k.get("/apis/metrics.k8s.io/v1beta1/nodes/k8s-worker-3")
    assert metrics["kind"] == "NodeMetrics"


@live()
async def test_paths_that_lead_nowhere(k: Client) -> None:
    for path in (
        "/nothing",
        "/apis/example.com/v1/widgets",
        "/api/v1/widgets",
        "/apis/batch/v1/namespaces/gitlab/widgets",
    ):
        answer = await k.call("GET", path)
        assert (answer.status, answer.body) == (404, "404 page not found\n"), path
    assert (await k.call("GET", "/api/v1")).body["resources"]
    assert (await k.call("GET", "/apis/batch/v1")).body["resources"][0]["name"] == "jobs"
    assert (await k.call("POST", f"{PODS}/x/exec")).status == 404
    await k.call("POST", PODS, pod("x"))
    answer = await k.call("POST", f"{PODS}/x/exec?command=true")
    assert (answer.status, answer.body["message"]) == (400, "Upgrade request required")


@live()
async def test_every_request_is_recorded_with_who_asked(k: Client) -> None:
    k.token = OPERATOR_TOKEN
    await k.call("GET", f"{PODS}?limit=5")
    k.token = "made-up-and-unknown"
    await k.call("POST", JOBS, job("x"))
    (listed,), (created,) = k.world.recorded("kubernetes", path="*limit=5"), k.world.recorded("kubernetes", "POST")
    assert (listed.method, listed.path, listed.user) == ("GET", f"{PODS}?limit=5", "ops")
    assert created.user == ""
    assert json.loads(created.body)["metadata"]["name"] == "x"


@live(lambda world: world.cluster.add(quota("gitlab", "compute", {"pods": "2", "requests.memory": "1Gi"})))
async def test_a_quota_counts_what_is_used(k: Client) -> None:
    container = SLEEPS | {"resources": {"requests": {"memory": "512Mi"}}}
    await k.call("POST", PODS, pod("one", container))
    path = "/api/v1/namespaces/gitlab/resourcequotas/compute"
    quota_object = await k.until(path, lambda item: item["status"]["used"]["pods"] == "1")
    assert quota_object["status"]["used"] == {"pods": "1", "requests.memory": "512Mi"}
    answer = await k.call("POST", PODS, pod("two", SLEEPS | {"resources": {"requests": {"memory": "1Gi"}}}))
    assert answer.body["message"] == (
        'pods "two" is forbidden: exceeded quota: compute, requested: requests.memory=1Gi, '
        "used: requests.memory=512Mi, limited: requests.memory=1Gi"
    )
    await k.call("DELETE", f"{PODS}/one?gracePeriodSeconds=0")
    await k.until(path, lambda item: item["status"]["used"]["pods"] == "0")


@live(lambda world: fill(world.cluster, "k8s-worker-1", {"cpu": "22500m", "memory": "45Gi"}))
async def test_what_others_ask_for_counts_when_a_pod_is_placed(k: Client) -> None:
    container = SLEEPS | {"resources": {"requests": {"cpu": "2", "memory": "4Gi"}}}
    await k.call("POST", PODS, pod("placed", container))
    pod_object = await k.until(f"{PODS}/placed", lambda item: item["spec"].get("nodeName"))
    assert pod_object["spec"]["nodeName"] in ("k8s-worker-2", "k8s-worker-3")
    here = {"kubernetes.io/hostname": "k8s-worker-1"}
    await k.call("POST", PODS, pod("nowhere", container, nodeSelector=here))
    pod_object = await k.until(f"{PODS}/nowhere", lambda item: item["status"].get("conditions"))
    message = pod_object["status"]["conditions"][0]["message"]
    assert "1 Insufficient cpu, 1 Insufficient memory" in message
    assert "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }" in message
    assert "2 node(s) didn't match Pod's node affinity/selector" in message
    for filling in [item for item in k.cluster.list("pods", "shop") if "checkout" in item["metadata"]["name"]]:
        k.cluster.remove("pods", "shop", filling["metadata"]["name"])
    pod_object = await k.until(f"{PODS}/nowhere", lambda item: item["spec"].get("nodeName"))
    assert pod_object["spec"]["nodeName"] == "k8s-worker-1"


@live()
async def test_a_namespace_comes_with_its_account_and_goes_with_all_that_is_in_it(k: Client) -> None:
    await k.call("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    path = "/api/v1/namespaces/other"
    assert (await k.call("GET", f"{path}/serviceaccounts/default")).status == 200
    assert (await k.call("POST", f"{path}/pods", pod("x") | {"metadata": {"name": "x"}})).status == 201
    await k.call("DELETE", path)
    await k.until("/api/v1/pods?fieldSelector=metadata.namespace%3Dother", lambda item: not item["items"])
    assert (await k.call("GET", path)).status == 404


@live()
async def test_a_log_can_be_followed_cut_and_dated(k: Client) -> None:
    await k.call("POST", PODS, pod("talks", sh("for i in 1 2 3 4 5; do echo line $i; sleep 0.05; done")))
    await k.until(f"{PODS}/talks", lambda item: item["status"]["phase"] == "Running")
    lines = [line async for line in k.follow(f"{PODS}/talks/log?follow=true")]
    assert lines == [f"line {number}\n".encode() for number in range(1, 6)]
    await k.until(f"{PODS}/talks", over)
    assert await k.get(f"{PODS}/talks/log?tailLines=2") == "line 4\nline 5\n"
    assert await k.get(f"{PODS}/talks/log?limitBytes=9") == "line 1\nli"
    moment, _, rest = (await k.get(f"{PODS}/talks/log?timestamps=true&tailLines=1")).partition(" ")
    assert rest == "line 5\n"
    assert len(moment) == len("2026-11-22T13:33:49.683260329Z")
    answer = await k.call("GET", f"{PODS}/talks/log?previous=true")
    assert answer.body["message"] == 'previous terminated container "c" in pod "talks" not found'
