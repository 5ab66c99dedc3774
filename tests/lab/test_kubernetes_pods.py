"""What a kubelet of the lab does with a pod: its containers really run, and see what a pod's containers see."""

from __future__ import annotations

import asyncio
import subprocess
import time
from importlib import import_module
from typing import Any

import pytest

from lab import kubernetes
from lab.kubernetes.containers import expand, resolv_conf
from lab.kubernetes.guide import cluster_dns_only, service_account
from lab.lab import Lab
from lab.world import World, guide_world
from tests.lab.cluster_client import ALPINE, JOBS, PODS, Client, Json, job, live, living, over, pod, sh

DAEMON = "registry.example.com/library/docker:dind"
DOCKER = "registry.example.com/library/docker:latest"
RESTRICTED = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
}


SEARCH = "search ci.svc.cluster.local svc.cluster.local cluster.local"
THE_NODES = "nameserver 10.0.0.2\nnameserver 10.1.0.251\nnameserver 10.1.0.252\noptions timeout:2 attempts:3 rotate\n"


async def run(k: Client, name: str, *containers: Json, **spec: Any) -> Json:
    """Create a pod and wait for its end."""
    answer = await k.call("POST", PODS, pod(name, *containers, **spec))
    assert answer.status == 201, answer.body
    result: Json = await k.until(f"{PODS}/{name}", over, 10)
    return result


async def log(k: Client, name: str, container: str = "c") -> str:
    return str(await k.get(f"{PODS}/{name}/log?container={container}"))


# ---- as a whole


@live()
async def test_a_job_s_pod_is_over_in_well_under_a_second(k: Client) -> None:
    began = time.monotonic()
    await k.call("POST", JOBS, job("quick", sh("cat /etc/resolv.conf; nslookup registry.example.com 10.0.0.2")))
    done = await k.until(f"{JOBS}/quick", lambda item: item["status"].get("succeeded"))
    assert time.monotonic() - began < 1.0
    assert done["status"]["conditions"][0]["type"] == "Complete"
    (ran,) = await k.items(f"{PODS}?labelSelector=job-name%3Dquick")
    assert ran["status"]["phase"] == "Succeeded"
    output = await log(k, ran["metadata"]["name"])
    assert output.startswith(
        "search gitlab.svc.cluster.local svc.cluster.local cluster.local\nnameserver 172.21.0.10\n"
    )
    assert "192.168.1.60" in output
    reasons = [item["reason"] for item in await k.events(ran["metadata"]["name"])]
    assert reasons == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]
    assert [item["reason"] for item in await k.events("quick")] == ["SuccessfulCreate", "Completed"]


def test_pods_of_a_whole_lab_are_watched_by_the_real_client(healthy: Lab) -> None:
    client, config, watch = (import_module(f"kubernetes.{name}") for name in ("client", "config", "watch"))
    settings = client.Configuration()
    config.load_kube_config(str(healthy.inventory.parent / "kubeconfig"), client_configuration=settings)
    settings.proxy = None
    assert settings.host.startswith("https://127.0.0.1:"), "nothing leaves loopback"
    with client.ApiClient(settings) as connection:
        core, batch = client.CoreV1Api(connection), client.BatchV1Api(connection)
        assert len(core.list_node(_request_timeout=5).items) == 4
        batch.create_namespaced_job("gitlab", job("typed", sh("echo hi; exit 3")), _request_timeout=5)
        lines = []
        selector = {"label_selector": "job-name=typed", "timeout_seconds": 5, "_request_timeout": 5}
        for event in watch.Watch().stream(core.list_namespaced_pod, "gitlab", **selector):
            lines.append(event["object"].status.phase)
            if lines[-1] in ("Succeeded", "Failed"):
                break
        assert (lines[0], lines[-1]) == ("Pending", "Failed")
        assert "Running" in lines
        batch.delete_namespaced_job("typed", "gitlab", propagation_policy="Background", _request_timeout=5)
        end = time.monotonic() + 5
        while core.list_namespaced_pod("gitlab", label_selector="job-name=typed", _request_timeout=5).items:
            assert time.monotonic() < end
            time.sleep(0.02)


@live()
async def test_ten_pods_at_once_spread_over_the_workers(k: Client) -> None:
    began = time.monotonic()
    await asyncio.gather(*(k.call("POST", JOBS, job(f"many-{number}", sh("echo hi"))) for number in range(10)))
    for number in range(10):
        await k.until(f"{JOBS}/many-{number}", lambda item: item["status"].get("succeeded"))
    assert time.monotonic() - began < 3.0
    ran = await k.items(f"{PODS}?labelSelector=probe%3D1")
    assert {item["spec"]["nodeName"] for item in ran} == {"k8s-worker-1", "k8s-worker-2", "k8s-worker-3"}
    assert len({item["status"]["podIP"] for item in ran}) == 10


def test_a_cluster_that_is_closed_leaves_no_process_and_does_not_wait() -> None:
    async def close() -> None:
        async with living() as k:
            await k.call("POST", PODS, pod("sleeps", sh("sleep 47.11")))
            await k.until(f"{PODS}/sleeps", lambda item: item["status"]["phase"] == "Running")

    began = time.monotonic()
    asyncio.run(close())
    assert time.monotonic() - began < 2.0
    assert subprocess.run(["pgrep", "-f", "sleep 47.11"], check=False, capture_output=True).stdout == b""


# ---- what a container is given


@live()
async def test_environment_variables_come_from_everywhere(k: Client) -> None:
    await k.call(
        "POST", "/api/v1/namespaces/gitlab/configmaps", {"metadata": {"name": "settings"}, "data": {"COLOUR": "red"}}
    )
    secret = {"metadata": {"name": "hidden"}, "stringData": {"word": "made-up-word"}}
    await k.call("POST", "/api/v1/namespaces/gitlab/secrets", secret)
    container = sh("env | sort") | {
        "env": [
            {"name": "PLAIN", "value": "a b"},
            {"name": "NESTED", "value": "$(PLAIN)-$(NOBODY)-$$(PLAIN)"},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "nosuch", "key": "x", "optional": True}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "MY_"}],
    }
    result = await run(k, "env", container)
    lines = (await log(k, "env")).splitlines()
    assert "PLAIN=a b" in lines
    assert "NESTED=a b-$(NOBODY)-$(PLAIN)" in lines
    assert "WORD=made-up-word" in lines
    assert f"NODE={result['spec']['nodeName']}" in lines
    assert f"ADDRESS={result['status']['podIP']}" in lines
    assert "MY_COLOUR=red" in lines
    assert "HOSTNAME=env" in lines
    assert "KUBERNETES_SERVICE_HOST=172.21.0.1" in lines
    assert "KUBERNETES_PORT_443_TCP_ADDR=172.21.0.1" in lines
    assert not [line for line in lines if line.startswith("ABSENT")]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(date +%s)", "$(date +%s)"),
        ("echo $$", "echo $"),
        ("a$", "a$"),
        ("$(A", "$(A"),
        ("${A} $A $1", "${A} $A $1"),
        ("$((1 + 2)) $(A)", "$((1 + 2)) 1"),
    ],
)
def test_words_of_a_command_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"dnsPolicy": "Default"}, THE_NODES),
        (
            {
                "dnsPolicy": "ClusterFirst",
                "dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
            },
            f"{SEARCH}\nnameserver 172.21.0.10\noptions ndots:2 edns0\n",
        ),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.2", "10.0.0.2"]}}, "nameserver 10.0.0.2\n"),
        (
            {"dnsPolicy": "ClusterFirst", "hostNetwork": True},
            THE_NODES,
        ),
        (
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True, "dnsConfig": {"searches": ["example.com"]}},
            f"{SEARCH} example.com\nnameserver 172.21.0.10\noptions ndots:5\n",
        ),
    ],
)
def test_resolv_conf_follows_the_dns_policy(spec: Json, wanted: str) -> None:
    world = guide_world()
    kubernetes.populate(world)
    item = {"metadata": {"namespace": "ci"}, "spec": spec}
    assert resolv_conf(world.cluster, item, world.nodes["k8s-worker-1"].resolv_conf) == wanted


@live(lambda world: world.cluster.mutating.append(cluster_dns_only))
async def test_a_webhook_that_changes_pods_changes_what_they_see(k: Client) -> None:
    dns = {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.2"]}}
    result = await run(k, "hooked", sh("cat /etc/resolv.conf"), **dns)
    assert result["spec"]["dnsPolicy"] == "ClusterFirst"
    assert "nameserver 172.21.0.10\n" in await log(k, "hooked")


@live()
async def test_a_container_gets_its_output_and_its_exit_status_noted(k: Client) -> None:
    container = sh("echo out; echo err >&2; exit 7") | {"terminationMessagePolicy": "FallbackToLogsOnError"}
    result = await run(k, "fails", container, sh("echo fine", "d"))
    assert result["status"]["phase"] == "Failed"
    first, second = result["status"]["containerStatuses"]
    ended = first["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (7, "Error", "out\nerr\n")
    assert second["state"]["terminated"]["reason"] == "Completed"
    assert await log(k, "fails", "d") == "fine\n"
    answer = await k.call("GET", f"{PODS}/fails/log")
    assert answer.body["message"] == "a container name must be specified for pod fails, choose one of: [c d]"


@live()
async def test_init_containers_come_first_and_stop_everything_when_they_fail(k: Client) -> None:
    await run(k, "good", sh("echo second"), initContainers=[sh("echo first", "init")])
    assert await log(k, "good", "init") == "first\n"
    result = await run(k, "bad", sh("echo never"), initContainers=[sh("exit 1", "init")])
    assert result["status"]["phase"] == "Failed"
    assert result["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    answer = await k.call("GET", f"{PODS}/bad/log?container=c")
    assert answer.body["message"] == 'container "c" in pod "bad" is waiting to start: PodInitializing'


# ---- what stands in the way


@live()
async def test_an_image_of_root_does_not_run_where_root_may_not(k: Client) -> None:
    await k.call("POST", PODS, pod("rootless", securityContext={"runAsNonRoot": True}))
    result = await k.until(f"{PODS}/rootless", lambda item: "CreateContainerConfigError" in str(item["status"]))
    waiting = result["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"].startswith(
        'container has runAsNonRoot and image will run as root (pod: "rootless_gitlab('
    )
    assert (await run(k, "nobody", **RESTRICTED))["status"]["phase"] == "Succeeded"


@live()
async def test_a_secret_that_is_not_there_keeps_a_container_waiting_until_it_is(k: Client) -> None:
    variable = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "later", "key": "word"}}}
    await k.call("POST", PODS, pod("waits", sh("echo $WORD") | {"env": [variable]}))
    result = await k.until(f"{PODS}/waits", lambda item: "CreateContainerConfigError" in str(item["status"]))
    assert result["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == 'secret "later" not found'
    body = {"metadata": {"name": "later"}, "stringData": {"word": "now"}}
    await k.call("POST", "/api/v1/namespaces/gitlab/secrets", body)
    await k.until(f"{PODS}/waits", over)
    assert await log(k, "waits") == "now\n"


@live()
async def test_a_volume_that_is_not_there_is_reported_in_an_event(k: Client) -> None:
    await k.call("POST", PODS, pod("mounts", volumes=[{"name": "v", "secret": {"secretName": "nosuch"}}]))
    path = "/api/v1/namespaces/gitlab/events?fieldSelector=involvedObject.name%3Dmounts,reason%3DFailedMount"
    listing = await k.until(path, lambda item: item["items"])
    assert listing["items"][0]["message"] == 'MountVolume.SetUp failed for volume "v" : secret "nosuch" not found'
    assert (await k.get(f"{PODS}/mounts"))["status"]["phase"] == "Pending"


@live()
async def test_a_pull_that_fails_is_tried_again_and_can_succeed(k: Client) -> None:
    k.cluster.pull_backoff = 0.2
    repository = k.world.registries["registry.example.com"].images["library/alpine"]
    image = repository.pop("3.22")
    await k.call(
        "POST", PODS, pod("later", {"name": "c", "image": ALPINE.replace("latest", "3.22"), "command": ["true"]})
    )
    await k.until(f"{PODS}/later", lambda item: "ImagePullBackOff" in str(item["status"]))
    repository["3.22"] = image
    result = await k.until(f"{PODS}/later", over)
    assert result["status"]["phase"] == "Succeeded"
    reasons = [item["reason"] for item in await k.events("later")]
    assert reasons[:6] == ["Scheduled", "Pulling", "Failed", "Failed", "BackOff", "Failed"]
    assert reasons[-3:] == ["Pulled", "Created", "Started"]


@live(World.forget_images)
async def test_an_image_that_is_there_is_not_pulled_unless_it_must_be(k: Client) -> None:
    here = {"nodeSelector": {"kubernetes.io/hostname": "k8s-worker-1"}}
    lazy = {"name": "c", "image": ALPINE, "command": ["true"], "imagePullPolicy": "IfNotPresent"}
    await run(k, "first", lazy, **here)
    await run(k, "second", lazy, **here)
    messages = [item["message"] for item in await k.events("second")]
    assert f'Container image "{ALPINE}" already present on machine' in messages
    await k.call("POST", PODS, pod("never", lazy | {"imagePullPolicy": "Never", "image": DOCKER}, **here))
    await k.until(f"{PODS}/never", lambda item: "ErrImageNeverPull" in str(item["status"]))
    node = await k.get("/api/v1/nodes/k8s-worker-1")
    assert [ALPINE in item["names"] for item in node["status"]["images"]] == [True]


@live(lambda world: world.cluster.add(service_account("gitlab", "default", "private-registry")))
async def test_a_pod_takes_the_pull_secrets_of_its_service_account(k: Client) -> None:
    image = {"name": "c", "image": "private-registry.example.com/my-namespace/alpine:latest", "command": ["true"]}
    result = await run(k, "pulls", image)
    assert result["spec"]["imagePullSecrets"] == [{"name": "private-registry"}]
    assert result["status"]["phase"] == "Succeeded"


@live()
async def test_one_failing_pull_does_not_keep_the_other_containers_from_running(k: Client) -> None:
    missing = {"name": "missing", "image": ALPINE.replace("latest", "nosuch"), "command": ["true"]}
    await k.call("POST", PODS, pod("half", missing, sh("echo there", "d")))
    result = await k.until(f"{PODS}/half", lambda item: "Completed" in str(item["status"]))
    assert result["status"]["phase"] == "Pending"
    assert await log(k, "half", "d") == "there\n"


@live()
async def test_a_container_that_must_go_on_is_started_again(k: Client) -> None:
    await k.call("POST", PODS, pod("restless", sh("exit 1"), restartPolicy="Always"))
    result = await k.until(f"{PODS}/restless", lambda item: "CrashLoopBackOff" in str(item["status"]))
    (status,) = result["status"]["containerStatuses"]
    assert result["status"]["phase"] == "Running"
    assert status["lastState"]["terminated"]["exitCode"] == 1


@live()
async def test_a_job_whose_pod_fails_has_failed_and_makes_no_other(k: Client) -> None:
    await k.call("POST", JOBS, job("fails", sh("exit 1")))
    result = await k.until(f"{JOBS}/fails", lambda item: item["status"].get("conditions"))
    (condition,) = result["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert result["status"]["failed"] == 1
    await asyncio.sleep(0.1)
    assert len(await k.items(f"{PODS}?labelSelector=job-name%3Dfails")) == 1


@live(lambda world: world.cluster.remove("serviceaccounts", "gitlab", "default"))
async def test_a_job_whose_pods_are_refused_goes_on_once_they_are_not(k: Client) -> None:
    await k.call("POST", JOBS, job("patient", sh("true")))
    await k.until("/api/v1/namespaces/gitlab/events?fieldSelector=reason%3DFailedCreate", lambda item: item["items"])
    k.cluster.add(service_account("gitlab", "default"))
    await k.until(f"{JOBS}/patient", lambda item: item["status"].get("succeeded"))


# ---- Docker in Docker


def _dind(script: str, *, env: str = "", args: tuple[str, ...] = ("--tls=false",), privileged: bool = True) -> Json:
    client = sh(script, "build") | {"image": DOCKER, "env": [{"name": "DOCKER_HOST", "value": "tcp://docker:2375"}]}
    service: Json = {
        "name": "docker",
        "image": DAEMON,
        "args": list(args),
        "securityContext": {"privileged": privileged},
    }
    service["env"] = [{"name": "DOCKER_TLS_CERTDIR", "value": env}]
    return pod("dind", client, service, hostAliases=[{"ip": "127.0.0.1", "hostnames": ["docker"]}])


READY = "n=0; until docker info >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 20 ] && exit 9; sleep 0.1; done; "


async def _client_ends(k: Client, manifest: Json) -> tuple[int, str, Json]:
    """Exit status and output of the client in a pod beside its daemon, and the pod."""
    await k.call("POST", PODS, manifest)
    ended = lambda item: "terminated" in (item["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]  # noqa: E731
    result = await k.until(f"{PODS}/dind", ended, 12)
    code = result["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
    return code, await log(k, "dind", "build"), result


@live()
async def test_a_daemon_serves_its_pod_and_lives_on_after_the_client(k: Client) -> None:
    script = READY + f"docker pull {ALPINE} && docker run --rm {ALPINE} cat /etc/resolv.conf"
    code, output, result = await _client_ends(k, _dind(script))
    assert code == 0, output
    assert "nameserver 172.21.0.10" in output
    assert result["status"]["phase"] == "Running"
    assert result["status"]["containerStatuses"][1]["ready"] is True
    await k.call("DELETE", f"{PODS}/dind")
    await k.until(f"{PODS}/dind", lambda item: item.get("code") == 404)


@live()
async def test_a_daemon_without_privilege_leaves_its_client_alone(k: Client) -> None:
    code, _said, result = await _client_ends(k, _dind("sleep 0.3; docker info", privileged=False))
    assert code != 0
    assert result["status"]["containerStatuses"][1]["state"]["terminated"]["exitCode"] == 1
    assert "Permission denied (you must be root)" in await log(k, "dind", "docker")


@live(lambda world: setattr(world.daemon, "last_words", "failed to start daemon: no space left on device"))
async def test_a_daemon_that_dies_says_why(k: Client) -> None:
    _code, _said, result = await _client_ends(k, _dind("sleep 0.3; docker info"))
    assert result["status"]["containerStatuses"][1]["state"]["terminated"]["exitCode"] == 1
    assert (await log(k, "dind", "docker")).endswith("failed to start daemon: no space left on device\n")


@live()
async def test_a_daemon_with_certificates_listens_elsewhere(k: Client) -> None:
    code, output, _found = await _client_ends(k, _dind("sleep 0.5; docker version", env="/certs"))
    assert code != 0
    assert "Cannot connect to the Docker daemon at tcp://docker:2375" in output
    assert "API listen on [::]:2376" in await log(k, "dind", "docker")


@live()
async def test_a_daemon_s_image_may_run_something_else(k: Client) -> None:
    result = await run(k, "other", {"name": "c", "image": DAEMON, "command": ["true"]})
    assert result["status"]["phase"] == "Succeeded"


# ---- nothing gives the lab away


@live()
async def test_no_answer_says_what_serves_it(k: Client) -> None:
    async with k._http.get("/version") as response:
        assert "Server" not in response.headers
        assert response.headers["Audit-Id"]
    everything = str(
        [k.cluster.list(resource) for resource in ("nodes", "pods", "namespaces", "services", "clusterroles")]
    )
    for word in ("lab", "fault", "simulat", "fake", "mock"):
        assert f'"{word}' not in everything
        assert f" {word}" not in everything
