"""exec and attach in the lab, asked by the suite's own client; the words are those that a real cluster sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.lab import Lab
from preflight import inventory as inventories
from preflight.clients.connect import Routes
from preflight.clients.exec import attach_to_pod, exec_in_pod
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Unmeasured
from preflight.faults import ApiFault, PathFault, StreamFault
from preflight.probes.streams import StreamCheck, StreamChecks, check_streams

ALPINE = "registry.example.com/library/alpine:latest"
PODS = "/api/v1/namespaces/gitlab/pods"


def client(lab: Lab) -> Api:
    """The operator's client."""
    inventory = inventories.load(lab.inventory)
    ways = {source: to for source, to in inventory.connect.items() if source != "*"}
    return Api(inventory.cluster.kubeconfig, None, routes=Routes(ways, only_mapped=True), deadline=5)


def start(api: Api, name: str, **container: Any) -> None:
    """Make a pod of one container ``build``, and wait until it runs."""
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": "k8s-worker-1",
            "containers": [{"name": "build", "image": ALPINE, **container}],
        },
    }
    api.create(PODS, body)
    end = time.monotonic() + 10
    while api.get(f"{PODS}/{name}")["status"].get("phase") != "Running":
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as running:
        start(client(running), "waiting", command=["sh", "-c", "sleep 60"])
        yield running
        assert running.world.problems == []


@pytest.fixture
def api(lab: Lab) -> Iterator[Api]:
    opened = client(lab)
    yield opened
    opened.close()


def test_a_command_says_what_it_printed_and_how_it_ended(api: Api) -> None:
    ran = exec_in_pod(api, "gitlab", "waiting", "build", ["sh", "-c", "echo out; echo err >&2; exit 3"], deadline=5)
    assert (ran.exit, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
    assert ran.command == "kubectl -n gitlab exec waiting -c build -- sh -c 'echo out; echo err >&2; exit 3'"
    assert ran.evidence.observed == "out\n\nerr\n\nexit status 3"


def test_a_command_runs_where_the_pod_is(api: Api) -> None:
    ran = exec_in_pod(api, "gitlab", "waiting", "build", ["cat", "/etc/hostname"], deadline=5)
    assert (ran.exit, ran.stdout) == (0, "waiting\n")


def test_a_container_s_files_are_what_the_world_says(lab: Lab, api: Api) -> None:
    path = "/home/gitlab-runner/.gitlab-runner/config.toml"
    lab.change(lambda world: world.cluster.files.update({("gitlab", "waiting", "build"): {path: "concurrent = 10\n"}}))
    assert exec_in_pod(api, "gitlab", "waiting", "build", ["cat", path], deadline=5).stdout == "concurrent = 10\n"
    absent = exec_in_pod(api, "gitlab", "waiting", "build", ["cat", path + "x"], deadline=5)
    assert (absent.exit, absent.stderr) == (1, f"cat: {path}x: No such file or directory\n")


def test_long_output_comes_whole(api: Api) -> None:
    ran = exec_in_pod(api, "gitlab", "waiting", "build", ["seq", "1", "40000"], deadline=10)
    assert ran.stdout.split()[-1] == "40000"


@pytest.mark.parametrize(
    ("pod", "container", "command", "fault", "says"),
    [
        ("waiting", "build", ["nope"], StreamFault.NOT_STARTED, 'exec: "nope": executable file not found in \\$PATH'),
        ("waiting", "other", ["true"], ApiFault.INVALID, "container other is not valid for pod waiting"),
        ("absent", "build", ["true"], ApiFault.NOT_FOUND, 'pods "absent" not found'),
        ("waiting", "build", ["sleep", "5"], StreamFault.SLOW, "no end within 0.5 s"),
    ],
)
def test_what_could_not_be_run_is_distinguished_from_what_failed(
    api: Api, pod: str, container: str, command: list[str], fault: object, says: str
) -> None:
    with pytest.raises(ApiError, match=says) as raised:
        exec_in_pod(api, "gitlab", pod, container, command, deadline=0.5)
    assert raised.value.fault is fault


def test_attaching_speaks_to_the_container_s_own_process(api: Api) -> None:
    start(api, "listening", command=["sh"], stdin=True)
    ran = attach_to_pod(api, "gitlab", "listening", "build", text="echo heard; exit\n", deadline=5)
    assert (ran.exit, ran.stdout) == (0, "heard\n")
    assert api.text(f"{PODS}/listening/log") == "heard\n"
    with pytest.raises(ApiError, match="container not found") as raised:
        exec_in_pod(api, "gitlab", "listening", "build", ["true"], deadline=2)
    assert raised.value.fault is StreamFault.NOT_STARTED


def test_a_missing_right_comes_with_its_rule() -> None:
    with Lab(change=lambda world: world.cluster.revoke("pods/exec")) as lab:
        api = client(lab)
        start(api, "waiting", command=["sh", "-c", "sleep 60"])
        with pytest.raises(ApiError) as raised:
            exec_in_pod(api, "gitlab", "waiting", "build", ["true"], deadline=5)
        assert raised.value.fault is ApiFault.FORBIDDEN
        reason = unmeasured(raised.value)
        assert 'resources: ["pods/exec"]\n  verbs: ["create", "get"]' in reason.needs
        assert "a Role in namespace gitlab" in reason.needs


def test_a_balancer_that_drops_the_upgrade_is_reported_as_such() -> None:
    def change(world: Any) -> None:
        world.api_upgrades = False

    with Lab(change=change) as lab:
        api = client(lab)
        start(api, "waiting", command=["sh", "-c", "sleep 60"])
        with pytest.raises(ApiError, match="Upgrade request required") as raised:
            exec_in_pod(api, "gitlab", "waiting", "build", ["true"], deadline=5)
        assert raised.value.fault is StreamFault.NO_UPGRADE


def test_a_kubelet_out_of_reach_is_reported_as_such() -> None:
    with Lab() as lab:
        api = client(lab)
        start(api, "waiting", command=["sh", "-c", "sleep 60"])
        lab.change(lambda world: world.cluster.stop_kubelet("k8s-worker-1"))
        with pytest.raises(ApiError, match="error dialing backend") as raised:
            exec_in_pod(api, "gitlab", "waiting", "build", ["true"], deadline=5)
        assert raised.value.fault is StreamFault.KUBELET_UNREACHABLE


def test_an_api_server_that_is_not_there_is_a_path_s_fault() -> None:
    with Lab(["api-refused"]) as lab:
        with pytest.raises(ApiError) as raised:
            exec_in_pod(client(lab), "gitlab", "waiting", "build", ["true"], deadline=2)
        assert raised.value.fault is PathFault.REFUSED


# ---- the three ways into a pod, as the suite tries them


def look(api: Api, name: str, script: str = "echo begun; exec sh") -> StreamChecks:
    start(api, name, command=["sh", "-c", script], stdin=True)
    return check_streams(api, "gitlab", name, node="k8s-worker-1", greeting="begun", deadline=3)


def fault_of(outcome: object) -> object:
    assert isinstance(outcome, StreamCheck), outcome
    return outcome.fault


def test_a_healthy_node_lets_all_three_through_and_the_pod_has_ended(api: Api) -> None:
    stream_check = look(api, "asked")
    assert [fault_of(measurement) for measurement in (stream_check.exec, stream_check.attach, stream_check.logs)] == [
        None,
        None,
        None,
    ]
    end = time.monotonic() + 5
    while api.get(f"{PODS}/asked")["status"]["phase"] != "Succeeded":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_log_without_what_was_printed_is_wrong(api: Api) -> None:
    stream_check = look(api, "silent", "exec sh")
    assert fault_of(stream_check.logs) is StreamFault.WRONG_OUTPUT
    assert fault_of(stream_check.exec) is None


def test_a_balancer_without_upgrades_leaves_the_logs_alone() -> None:
    def change(world: Any) -> None:
        world.api_upgrades = False

    with Lab(change=change) as lab:
        stream_check = look(client(lab), "asked")
        assert fault_of(stream_check.exec) is fault_of(stream_check.attach) is StreamFault.NO_UPGRADE
        assert fault_of(stream_check.logs) is None


def test_a_right_that_is_missing_for_one_way_says_nothing_of_the_others() -> None:
    with Lab(change=lambda world: world.cluster.revoke("pods/attach")) as lab:
        stream_check = look(client(lab), "asked")
        assert fault_of(stream_check.exec) is fault_of(stream_check.logs) is None
        assert isinstance(stream_check.attach, Unmeasured)
        assert 'resources: ["pods/attach"]' in stream_check.attach.needs


def test_a_quiet_stream_that_is_cut_before_its_time_is_reported_as_that() -> None:
    with Lab(change=lambda world: setattr(world, "stream_idle_timeout", 0.6)) as lab:
        api = client(lab)
        start(api, "asked", command=["sh", "-c", "echo begun; exec sh"], stdin=True)
        checks = check_streams(api, "gitlab", "asked", node="k8s-worker-1", greeting="begun", deadline=3, quiet=30)
        assert fault_of(checks.exec) is fault_of(checks.attach) is None
        assert isinstance(checks.quiet, StreamCheck)
        assert checks.quiet.fault is StreamFault.IDLE_CUT
        assert "it was to last 30 s" in checks.quiet.cause


def test_a_quiet_stream_that_lasts_is_healthy(api: Api) -> None:
    start(api, "quiet", command=["sh", "-c", "echo begun; exec sh"], stdin=True)
    checks = check_streams(api, "gitlab", "quiet", node="k8s-worker-1", greeting="begun", deadline=3, quiet=0.2)
    assert fault_of(checks.quiet) is None
    assert fault_of(checks.attach) is None


def test_no_quiet_stream_is_tried_unless_asked_for(api: Api) -> None:
    assert look(api, "unasked").quiet is None
