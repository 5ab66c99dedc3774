"""The lab's API answers as a real Kubernetes v1.28.15 did: the same requests, held against tests/recordings."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from lab.kubernetes.guide import limit_range, quota
from lab.world import World
from tests.lab.cluster_client import ALPINE, JOBS, PODS, Client, Json, job, live, over, pod, recorded

ISSUED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
# The recorded server also projected a second CA into every pod, which upstream's does not.
BESIDE = {"openshift-service-ca.crt"}


def shape(value: Any) -> Any:
    """A value's keys and types; texts that are moments are told apart from others."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        kept_items = [item for item in value if not (isinstance(item, dict) and _name_of(item) in BESIDE)]
        return [shape(item) for item in kept_items]
    if isinstance(value, str):
        return "moment" if ISSUED.match(value) else "text"
    return type(value).__name__


def _name_of(value: Json) -> str:
    return str((value.get("configMap") or {}).get("name", ""))


def shaped(actual: Any, expected: Any) -> None:
    assert shape(actual) == shape(expected)


def answers(name: str) -> list[Json]:
    """The exchanges of a recording whose answers are refusals: these must be the same word for word."""
    return [
        item
        for item in recorded(name)
        if isinstance(item.get("response"), dict) and item["response"]["kind"] == "Status"
    ]


def only_workers(world: World) -> None:
    """The recorded cluster had no control-plane node among its nodes."""
    world.cluster.remove_node("k8s-master")


async def replay(k: Client, exchange: Json) -> Any:
    """Send a recorded request; the answer must have the recorded status and content type."""
    method, _, path = exchange["request"].partition(" ")
    answer = await k.call(method, path, exchange.get("body"))
    assert answer.status == exchange["status"], answer.body
    if "content_type" in exchange:
        assert answer.content_type == exchange["content_type"]
    return answer.body


# ---- the cluster itself


@live()
async def test_versions_and_health_are_reported_as_recorded(k: Client) -> None:
    version, ready, verbose, nodes, absent, groups = recorded("cluster")
    answer = await replay(k, version)
    shaped(answer, version["response"])
    assert answer["gitVersion"] == version["response"]["gitVersion"]
    assert await replay(k, ready) == ready["response"]
    assert await replay(k, verbose) == verbose["response"]
    assert await replay(k, absent) == absent["response"]
    listed = await replay(k, nodes)
    assert [listed["kind"], listed["apiVersion"]] == ["NodeList", "v1"]
    assert "kind" not in listed["items"][1]
    for node, real in zip(listed["items"][1:], nodes["response"]["items"], strict=True):
        node["spec"], node["status"]["images"] = {}, []
        node["metadata"]["annotations"].pop(_KUBEADM)  # no kubeadm made the cluster that was recorded
        real["status"]["images"] = []
        shaped(node, real)
        assert node["status"]["addresses"] == real["status"]["addresses"]
        keys = [[item[key] for key in ("type", "status", "reason", "message")] for item in real["status"]["conditions"]]
        assert [
            [item[key] for key in ("type", "status", "reason", "message")] for item in node["status"]["conditions"]
        ] == keys
    known = {item["name"]: item for item in (await replay(k, groups))["groups"]}
    assert [known[item["name"]] for item in groups["response"]["groups"]] == groups["response"]["groups"]


_KUBEADM = "kubeadm.alpha.kubernetes.io/cri-socket"


@live(lambda world: world.cluster.drop_metrics())
async def test_metrics_that_were_never_installed(k: Client) -> None:
    (exchange,) = recorded("metrics_absent")
    assert await replay(k, exchange) == exchange["response"]


@live(lambda world: world.cluster.lose_metrics())
async def test_metrics_whose_server_is_gone(k: Client) -> None:
    asked, service = recorded("metrics_unavailable")
    assert await replay(k, asked) == asked["response"]
    answer = await replay(k, service)
    shaped(answer, service["response"])
    conditions = answer["status"]["conditions"][0]
    assert conditions | {"lastTransitionTime": ""} == service["response"]["status"]["conditions"][0] | {
        "lastTransitionTime": ""
    }


@live(lambda world: world.cluster.stop_kubelet("k8s-worker-3"))
async def test_a_node_that_is_silent(k: Client) -> None:
    look, events = recorded("node_not_ready")
    answer, wanted = await replay(k, look), look["response"]
    for node in (answer, wanted):
        node["status"]["images"] = []
        for condition in node["status"]["conditions"]:
            condition["lastHeartbeatTime"] = condition["lastTransitionTime"] = ""
    assert answer["status"]["conditions"] == wanted["status"]["conditions"]
    assert {"key", "effect", "timeAdded"} == set(answer["spec"]["taints"][0])
    assert answer["spec"]["taints"][0]["key"] == wanted["spec"]["taints"][0]["key"]
    assert answer["spec"]["taints"][0]["effect"] == wanted["spec"]["taints"][0]["effect"]
    replayed = (await replay(k, events))["items"][-1]
    real = events["response"]["items"][-1]
    assert (replayed["reason"], replayed["message"], replayed["source"]) == (
        real["reason"],
        real["message"],
        real["source"],
    )


@live()
async def test_a_node_that_was_cordoned(k: Client) -> None:
    (look,) = recorded("node_cordoned")
    kind = "application/strategic-merge-patch+json"
    await k.call("PATCH", "/api/v1/nodes/k8s-worker-1", {"spec": {"unschedulable": True}}, content_type=kind)
    answer = await k.until("/api/v1/nodes/k8s-worker-1", lambda node: "taints" in node["spec"])
    shaped({key: answer["spec"][key] for key in ("taints", "unschedulable")}, look["response"]["spec"])
    assert answer["spec"]["taints"][0]["key"] == look["response"]["spec"]["taints"][0]["key"]
    await k.call("PATCH", "/api/v1/nodes/k8s-worker-1", {"spec": {"unschedulable": None}}, content_type=kind)
    await k.until("/api/v1/nodes/k8s-worker-1", lambda node: not node["spec"].get("taints"))


# ---- a pod's life


@live()
async def test_a_pod_s_life_from_creation_to_deletion(k: Client) -> None:
    exchanges = recorded("pod_life")
    create, early, log, nosuch, look, events, delete, gone, watch, _old = exchanges
    create["body"]["spec"]["containers"][0]["command"][2] = create["body"]["spec"]["containers"][0]["command"][
        2
    ].replace("1", "0.1")
    since = (await k.get(PODS))["metadata"]["resourceVersion"]
    watching = asyncio.ensure_future(k.watch(f"{PODS}?resourceVersion={since}", seconds=1))
    created = await replay(k, create)
    wanted = create["response"]
    wanted["spec"]["containers"][0]["command"] = create["body"]["spec"]["containers"][0]["command"]
    shaped(created, wanted)
    assert created["spec"]["tolerations"] == wanted["spec"]["tolerations"]
    early_answer = await k.call("GET", early["request"].split()[1])
    assert early_answer.status in (204, 400)  # in time for "no node yet", or just later
    await k.until(f"{PODS}/life", over)
    assert await replay(k, log) == log["response"]
    assert await replay(k, nosuch) == nosuch["response"]
    answer = await replay(k, look)
    shaped(answer, look["response"])
    assert list(answer["status"]) == list(look["response"]["status"])
    replayed = (await replay(k, events))["items"]
    for event, real in zip(replayed, events["response"]["items"], strict=True):
        shaped(event, real)
        assert event["reason"] == real["reason"]
        assert _without_times(event["message"]) == _without_times(real["message"])
    await replay(k, delete)
    assert await replay(k, gone) == gone["response"]
    changes = await watching
    assert (changes[0]["type"], changes[-1]["type"]) == ("ADDED", "DELETED")
    assert changes[-1]["object"]["metadata"]["deletionGracePeriodSeconds"] == 0
    states = [_progress(item["object"]) for item in changes]
    for real in watch["response_lines"]:
        assert _progress(real["object"]) in states
        shaped(changes[states.index(_progress(real["object"]))]["object"]["status"], real["object"]["status"])


def _progress(pod_object: Json) -> tuple[Any, ...]:
    """How far a pod has come: phase, conditions, and its containers' states with their reasons."""
    status = pod_object["status"]
    conditions = [(item["type"], item["status"], item.get("reason")) for item in status.get("conditions", [])]
    states = [
        (key, item.get("reason")) for each in status.get("containerStatuses", []) for key, item in each["state"].items()
    ]
    return status["phase"], tuple(conditions), tuple(states)


def _without_times(message: str) -> str:
    return re.sub(
        r"\d+(\.\d+)?m?s",
        "T",
        message.replace("k8s-worker-2", "NODE").replace("k8s-worker-1", "NODE").replace("k8s-worker-3", "NODE"),
    )


# ---- pulls that fail

PULLS = {
    "pull_name_unresolvable": "server misbehaving",
    "pull_tag_absent": "not found",
    "pull_unauthorized": "401 Unauthorized",
    "pull_refused": "connection refused",
    "pull_timeout": "no route to host",
    "pull_secret_absent": "401 Unauthorized",
}


def _no_names(world: World) -> None:
    for resolver in world.resolvers.values():
        resolver.mode = "servfail"
    for node in world.nodes.values():
        node.resolv_conf = "nameserver 10.1.0.252\n"


@pytest.mark.parametrize("name", PULLS)
def test_a_pull_that_fails(name: str) -> None:
    unresolvable = name == "pull_name_unresolvable"

    @live(_no_names if unresolvable else None)
    async def fails(k: Client) -> None:
        look, events, *rest = recorded(name)
        real = look["response"]
        (container,) = real["spec"]["containers"]
        plain = {key: container[key] for key in ("name", "image", "imagePullPolicy")}
        secrets = {key: real["spec"][key] for key in ("imagePullSecrets",) if key in real["spec"]}
        await k.call("POST", PODS, pod(real["metadata"]["name"], plain, **secrets))
        path = look["request"].split()[1]
        answer = await k.until(path, lambda item: _waiting(item) == "ErrImagePull")
        shaped(answer["status"], real["status"])
        message = answer["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        assert message == real["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        assert PULLS[name] in message
        for log in rest:
            assert await replay(k, log) == log["response"]
        backing = await k.until(path, lambda item: _waiting(item) == "ImagePullBackOff")
        (status,) = backing["status"]["containerStatuses"]
        assert status["state"]["waiting"]["message"] == f'Back-off pulling image "{container["image"]}"'
        replayed = [_event(item) for item in (await replay(k, events))["items"]]
        assert replayed == [_event(item) for item in events["response"]["items"]]

    fails()


def _waiting(pod_object: Json) -> str:
    statuses = pod_object["status"].get("containerStatuses") or [{}]
    return str((statuses[0].get("state", {}).get("waiting") or {}).get("reason"))


def _event(event: Json) -> tuple[Any, ...]:
    involved = event["involvedObject"]
    return event["reason"], event["type"], involved.get("fieldPath"), _without_times(event["message"]), sorted(event)


@live()
async def test_a_name_of_an_image_that_is_none(k: Client) -> None:
    look, events, log = recorded("pull_bad_name")
    (container,) = look["response"]["spec"]["containers"]
    await k.call("POST", PODS, pod("pull-bad-name", {"name": "c", "image": container["image"]}))
    answer = await k.until(look["request"].split()[1], lambda item: _waiting(item) == "InvalidImageName")
    shaped(answer["status"], look["response"]["status"])
    waiting = [item["status"]["containerStatuses"][0]["state"] for item in (answer, look["response"])]
    assert waiting[0] == waiting[1]
    replayed = [_event(item) for item in (await replay(k, events))["items"]]
    assert replayed == [_event(item) for item in events["response"]["items"]]
    assert await replay(k, log) == log["response"]


@live()
async def test_a_pull_with_the_right_secret(k: Client) -> None:
    look, events = recorded("pull_with_secret")
    (container,) = look["response"]["spec"]["containers"]
    container_spec = {key: container[key] for key in ("name", "image", "command")}
    await k.call("POST", PODS, pod("pull-with-secret", container_spec, imagePullSecrets=[{"name": "private-registry"}]))
    answer = await k.until(look["request"].split()[1], over)
    shaped(answer["status"], look["response"]["status"])
    assert answer["status"]["phase"] == "Succeeded"
    usual = [_event(item) for item in events["response"]["items"] if item["reason"] != "FailedMount"]
    assert [_event(item) for item in (await replay(k, events))["items"]] == usual


# ---- scheduling

SCHEDULES = {
    "sched_insufficient_memory": {},
    "sched_insufficient_cpu": {},
    "sched_node_selector": {},
    "sched_taint": {"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]},
    "sched_cordoned": {"unschedulable": True},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_pod_that_fits_nowhere(name: str) -> None:
    def change(world: World) -> None:
        only_workers(world)
        for node in world.workers:
            world.cluster.node(node.name)["spec"] |= SCHEDULES[name]

    @live(change)
    async def fits_nowhere(k: Client) -> None:
        create, look, events = recorded(name)
        shaped(await replay(k, create), create["response"])
        answer = await k.until(look["request"].split()[1], lambda item: "conditions" in item["status"])
        shaped(answer, look["response"])
        assert _condition_without_time(answer) == _condition_without_time(look["response"])
        (replayed,) = (await replay(k, events))["items"]
        (real,) = events["response"]["items"]
        shaped(replayed, real)
        assert [replayed[key] for key in ("reason", "message", "action", "type")] == [
            real[key] for key in ("reason", "message", "action", "type")
        ]

    fits_nowhere()


def _condition_without_time(answer: Json) -> Json:
    return {**answer["status"]["conditions"][0], "lastTransitionTime": ""}


@pytest.mark.parametrize("name", ["memory", "no_node", "selector", "two_resources"])
def test_a_pod_that_is_pinned_to_a_node_that_cannot_take_it(name: str) -> None:
    @live(only_workers)
    async def pinned(k: Client) -> None:
        look, _events = recorded(f"sched_pinned_{name}")
        (real,) = look["response"]["items"]
        dropped = ("volumes", "tolerations", "priority", "preemptionPolicy", "schedulerName")
        spec = {key: value for key, value in real["spec"].items() if key not in dropped}
        for container in spec["containers"]:
            del container["volumeMounts"]
        manifest = job(real["metadata"]["labels"]["job-name"])
        manifest["spec"]["template"]["spec"] = spec
        assert (await k.call("POST", JOBS, manifest)).status == 201
        items = await k.until(
            look["request"].split()[1], lambda item: item["items"] and "conditions" in item["items"][0]["status"]
        )
        assert _condition_without_time(items["items"][0]) == _condition_without_time(real)
        shaped(items["items"][0]["status"], real["status"])

    pinned()


# ---- admission


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_pod_security_refuses_with_the_recorded_message(level: str) -> None:
    @live(lambda world: world.cluster.enforce("gitlab", level))  # type: ignore[arg-type]
    async def refuses(k: Client) -> None:
        for exchange in recorded(f"admission_psa_{level}"):
            answer = await replay(k, exchange)
            if exchange["status"] == 201:
                shaped(answer, exchange["response"])
            else:
                assert answer == exchange["response"]

    refuses()


@live(
    lambda world: world.cluster.set_labels("namespaces", "", "gitlab", {"pod-security.kubernetes.io/warn": "baseline"})
)
async def test_pod_security_warns_with_the_recorded_message(k: Client) -> None:
    (exchange,) = recorded("admission_psa_warn")
    answer = await k.call("POST", exchange["request"].split()[1], exchange["body"])
    assert answer.status == exchange["status"]
    assert answer.warnings == [exchange["response_headers"]["Warning"]]


@live(
    lambda world: world.cluster.add(
        quota("gitlab", "small", {"pods": "1", "requests.cpu": "1", "requests.memory": "1Gi"})
    )
)
async def test_a_quota_refuses_with_the_recorded_message(k: Client) -> None:
    look, *refused = recorded("admission_quota")
    shaped(await replay(k, look), look["response"])
    for exchange in refused:
        assert await replay(k, exchange) == exchange["response"]


def _limits(world: World) -> None:
    world.cluster.add(
        limit_range(
            "gitlab",
            "lr",
            {
                "type": "Container",
                "max": {"memory": "512Mi"},
                "min": {"memory": "64Mi"},
                "default": {"memory": "256Mi"},
                "defaultRequest": {"memory": "128Mi"},
            },
        )
    )


@live(_limits)
async def test_a_limit_range_refuses_and_fills_in_as_recorded(k: Client) -> None:
    look, refused, filled = recorded("admission_limitrange")
    listed = await replay(k, look)
    shaped(listed, look["response"])
    assert listed["items"][0]["spec"] == look["response"]["items"][0]["spec"]
    assert await replay(k, refused) == refused["response"]
    answer = await replay(k, filled)
    shaped(answer, filled["response"])
    assert answer["metadata"]["annotations"] == filled["response"]["metadata"]["annotations"]
    assert answer["spec"]["containers"][0]["resources"] == filled["response"]["spec"]["containers"][0]["resources"]


@live()
async def test_other_refusals_are_the_recorded_ones(k: Client) -> None:
    for exchange in recorded("admission_refusals"):
        assert await replay(k, exchange) == exchange["response"]


REFUSED_JOBS = {
    "pod_security": lambda world: world.cluster.enforce("gitlab", "baseline"),
    "quota": lambda world: world.cluster.add(quota("gitlab", "small", {"requests.cpu": "5m"})),
    "limitrange": lambda world: world.cluster.add(
        limit_range("gitlab", "lr", {"type": "Container", "max": {"memory": "64Mi"}})
    ),
    "service_account": None,
}


@pytest.mark.parametrize("name", REFUSED_JOBS)
def test_a_job_whose_pods_are_refused(name: str) -> None:
    @live(REFUSED_JOBS[name])
    async def refused(k: Client) -> None:
        create, look, pods, events = recorded(f"job_refused_{name}")
        shaped(await replay(k, create), create["response"])
        path = events["request"].split()[1]
        replayed = (await k.until(path, lambda answer: answer["items"]))["items"]
        real = events["response"]["items"]
        shaped(replayed[0], real[0])
        assert _without_suffix(replayed[0]["message"]) == _without_suffix(real[0]["message"])
        shaped((await replay(k, look))["status"], look["response"]["status"])
        assert (await replay(k, pods))["items"] == []

    refused()


def _without_suffix(message: str) -> str:
    return re.sub(r'pods "([a-z-]+-)[a-z0-9]{5}"', r'pods "\1SUFFIX"', message)


# ---- ends

ENDS = ["exit_3", "start_error"]


@pytest.mark.parametrize("name", ENDS)
def test_a_container_s_end(name: str) -> None:
    @live()
    async def ends(k: Client) -> None:
        look = next(item for item in recorded(f"end_{name}") if item["response"].get("kind") == "PodList")
        (real,) = look["response"]["items"]
        (container,) = real["spec"]["containers"]
        command = {key: container[key] for key in ("name", "image", "command")}
        await k.call("POST", PODS, pod("ends", command))
        answer = await k.until(f"{PODS}/ends", over)
        shaped(answer["status"], real["status"])
        ended, wanted = (item["status"]["containerStatuses"][0]["state"]["terminated"] for item in (answer, real))
        assert [ended.get(key) for key in ("exitCode", "reason", "message")] == [
            wanted.get(key) for key in ("exitCode", "reason", "message")
        ]
        assert [item.get("reason") for item in answer["status"]["conditions"]] == [
            item.get("reason") for item in real["status"]["conditions"]
        ]

    ends()


@live()
async def test_a_pod_past_its_own_deadline(k: Client) -> None:
    look = next(item for item in recorded("end_pod_deadline") if item["response"].get("kind") == "PodList")
    (real,) = look["response"]["items"]
    await k.call(
        "POST", PODS, pod("late", {"name": "c", "image": ALPINE, "command": ["sleep", "30"]}, activeDeadlineSeconds=1)
    )
    answer = await k.until(f"{PODS}/late", over)
    shaped(answer["status"], real["status"])
    assert [answer["status"][key] for key in ("reason", "message")] == [
        real["status"][key] for key in ("reason", "message")
    ]
    assert answer["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


@live()
async def test_a_job_past_its_deadline(k: Client) -> None:
    look, _pods = recorded("job_deadline")
    manifest = job("late", {"name": "c", "image": ALPINE, "command": ["sleep", "60"]}, deadline=1)
    await k.call("POST", JOBS, manifest)
    answer = await k.until(f"{JOBS}/late", lambda item: item["status"].get("conditions"))
    real = look["response"]
    shaped(answer["metadata"], real["metadata"])
    assert answer["status"]["failed"] == 1
    keys = ("type", "status", "reason", "message")
    (condition,), (wanted,) = answer["status"]["conditions"], real["status"]["conditions"]
    assert [condition[key] for key in keys] == [wanted[key] for key in keys]
    shaped(condition, wanted)
    await k.until(f"{PODS}?labelSelector=job-name%3Dlate", lambda item: not item["items"])


@live()
async def test_a_job_that_cleans_itself_up(k: Client) -> None:
    create, _running, _pods, gone, none = recorded("job_ttl")
    create["body"]["spec"]["ttlSecondsAfterFinished"] = 1
    shaped(await replay(k, create), create["response"])
    answer = await k.until(f"{JOBS}/probe-job", lambda item: item.get("status", {}).get("succeeded"))
    assert answer["status"]["conditions"][0]["type"] == "Complete"
    (ran,) = (await k.get(f"{PODS}?labelSelector=job-name%3Dprobe-job"))["items"]
    assert ran["metadata"]["ownerReferences"][0]["uid"] == answer["metadata"]["uid"]
    await k.until(f"{JOBS}/probe-job", lambda item: item.get("code") == 404)
    assert await replay(k, gone) == gone["response"]
    assert (await replay(k, none))["items"] == none["response"]["items"]


# ---- Docker in Docker


@live(World.forget_images)
async def test_a_daemon_without_privilege(k: Client) -> None:
    look, events, log = recorded("dind_unprivileged")
    (container,) = look["response"]["spec"]["containers"]
    container_spec = {"name": "svc-0", "image": container["image"], "args": container["args"]}
    container_spec["env"] = [{"name": "DOCKER_TLS_CERTDIR", "value": ""}]
    await k.call("POST", PODS, pod("dind-unprivileged", container_spec))
    answer = await k.until(look["request"].split()[1], over)
    shaped(answer["status"], look["response"]["status"])
    assert answer["status"]["phase"] == "Failed"
    assert answer["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1
    assert [item["reason"] for item in (await replay(k, events))["items"]] == [
        item["reason"] for item in events["response"]["items"]
    ]
    text, real = (await replay(k, log)), log["response"]
    assert text.splitlines()[-2:] == real.splitlines()[-2:]
    assert 'level=error msg="failed to mount overlay: operation not permitted" storage-driver=overlay2' in text


@live(World.forget_images)
async def test_a_daemon_with_privilege(k: Client) -> None:
    look, events, _client, log = recorded("dind_privileged")
    spec = look["response"]["spec"]
    build, service = spec["containers"]
    container_spec = [
        {key: build[key] for key in ("name", "image", "command", "env")},
        {key: service[key] for key in ("name", "image", "args", "securityContext")},
    ]
    # The recorded daemon's image had no entry point; docker:dind's listens with TLS unless it is told not to.
    container_spec[1]["env"] = [{"name": "DOCKER_TLS_CERTDIR", "value": ""}]
    beside = {key: spec[key] for key in ("hostAliases", "dnsPolicy", "dnsConfig")}
    await k.call("POST", PODS, pod("dind", *container_spec, **beside))
    done = lambda item: "terminated" in item["status"].get("containerStatuses", [{"state": {}}])[0]["state"]  # noqa: E731
    answer = await k.until(look["request"].split()[1], done, 10)
    shaped(answer["status"], look["response"]["status"])
    assert _progress(answer) == _progress(look["response"])
    replayed = [_event(item) for item in (await replay(k, events))["items"]]
    assert replayed == [_event(item) for item in events["response"]["items"]]
    output = await k.get(f"{PODS}/dind/log?container=build")
    assert "hello-from-dind" in output
    assert "Status: Downloaded newer image for registry.example.com/library/alpine:latest" in output
    text = await replay(k, log)
    assert 'msg="Daemon has completed initialization"' in text
    assert 'msg="API listen on [::]:2375"' in text


# ---- rights


async def _weak(k: Client) -> None:
    """The service account of the recording, with the right to look at pods alone."""
    group = "/apis/rbac.authorization.k8s.io/v1/namespaces/gitlab"
    await k.call("POST", "/api/v1/namespaces/gitlab/serviceaccounts", {"metadata": {"name": "weak"}})
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    await k.call("POST", f"{group}/roles", {"metadata": {"name": "weak"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weak"}
    subjects = [{"kind": "ServiceAccount", "name": "weak", "namespace": "gitlab"}]
    body = {"metadata": {"name": "weak"}, "roleRef": role, "subjects": subjects}
    await k.call("POST", f"{group}/rolebindings", body)
    spec = {"spec": {"expirationSeconds": 600}}
    answer = await k.call("POST", "/api/v1/namespaces/gitlab/serviceaccounts/weak/token", spec)
    assert answer.status == 201
    k.token = answer.body["status"]["token"]


@live()
async def test_what_users_without_rights_see(k: Client) -> None:
    await _weak(k)
    weak = k.token
    for exchange in recorded("rbac"):
        k.token = {"an invalid token": "nonsense", "nobody": None}.get(exchange["as"], weak)
        answer = await replay(k, exchange)
        real = exchange["response"]
        if answer.get("kind") == "PodList":
            assert real["kind"] == "PodList"
        elif "selfsubjectrulesreviews" in exchange["request"]:
            assert _rules(answer) == _rules(real)
            assert answer["status"]["incomplete"] is real["status"]["incomplete"]
        elif exchange["request"] == "GET /version":
            shaped(answer, real)
        else:
            assert answer == real


def _rules(review: Json) -> set[str]:
    return {str(item) for kind in ("resourceRules", "nonResourceRules") for item in review["status"][kind]}
