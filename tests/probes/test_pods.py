"""What became of a pod is said in the API's own words, and nothing of ours stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preflight.evidence import Unmeasured
from preflight.faults import DindFault, PodFault
from preflight.jobpod import job_pod
from preflight.jobshape import dind_job
from preflight.probes import pod_runs, pods
from preflight.probes.pod_runs import MootError
from preflight.probes.quota import needs_of
from preflight.shutdown import Shutdown
from tests.probes.apiserver import (
    RECORDINGS,
    Asked,
    Reply,
    daemon_log,
    pull_words,
    quota,
    recorded,
    status,
)
from tests.probes.job_pods import (
    ALPINE,
    CREATING,
    DIND,
    DOCKER,
    DONE,
    NODE,
    PENDING,
    RUNS,
    SHAPE,
    Start,
    containers,
    job,
    pulled,
)

Json = dict[str, Any]
# --- a Job and its pod ----------------------------------------------------------------------------------------------


def test_a_pod_that_runs_to_its_end_is_right(start: Start) -> None:
    api, cluster, server = start(
        states=[PENDING, containers("Running", build=RUNS), containers("Succeeded", build=DONE)],
        events=[("Scheduled", "Successfully assigned", ""), *pulled(ALPINE, "build")],
        logs={"build": "hi\nnameserver 10.0.0.2\n"},
    )
    told: list[str] = []
    pod = pods.launch(api, job(), node=NODE, deadline=10, on_event=told.append, images=frozenset())
    assert (pod.fault, pod.cause, pod.started, pod.exit) == (None, "", True, 0)
    assert pod.log == "hi\nnameserver 10.0.0.2\n"
    assert pod.where == f"pod on {NODE}"
    [pull] = pod.pulls
    assert (pull.image, pull.node, pull.fault, pull.seconds, pull.fresh) == (ALPINE, NODE, None, 1.5, True)
    assert pod.warnings == ('would violate PodSecurity "restricted:latest": privileged',)
    assert f'Pulling image "{ALPINE}"' in told
    assert cluster.job, "removing is for `remove` to do"
    made = next(each for each in server.asked if each.path.endswith("/jobs"))
    assert made.body["spec"]["backoffLimit"] == 0


def test_a_pull_of_an_image_that_the_node_lists_is_not_fresh(start: Start) -> None:
    api, *_ = start(states=[containers("Succeeded", build=DONE)], events=pulled(ALPINE, "build"), logs={"build": ""})
    assert pods.launch(api, job(), node=NODE, deadline=5, images={ALPINE}).pulls[0].fresh is False
    full = frozenset(f"r.example/{number}:1" for number in range(60))
    api, *_ = start(states=[containers("Succeeded", build=DONE)], events=pulled(ALPINE, "build"), logs={"build": ""})
    assert pods.launch(api, job(), node=NODE, deadline=5, images=full).pulls[0].fresh is None


def test_one_image_that_can_not_be_pulled_does_not_hide_the_others(start: Start) -> None:
    """The pod stays Pending for ever: one container waits for its image, the others have ended."""
    absent = "registry.example.com/library/alpine:nosuch"
    words = pull_words("pull_tag_absent")[0]
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{absent}"'}}
    api, *_ = start(
        states=[PENDING, containers("Pending", build=DONE, image_1=DONE, image_2=waiting)],
        events=[
            *pulled(ALPINE, "build"),
            *pulled(DOCKER, "image-1", "40ms"),
            ("Pulling", f'Pulling image "{absent}"', "image-2"),
            ("Failed", f'Failed to pull image "{absent}": {words}', "image-2"),
            ("Failed", "Error: ErrImagePull", "image-2"),
        ],
        logs={"build": "hi\n"},
    )
    began = time.monotonic()
    pod = pods.launch(api, job(DOCKER, absent), node=NODE, deadline=20)
    assert time.monotonic() - began < 5
    assert pod.fault is None
    assert pod.log == "hi\n"
    assert [(pull.image, pull.fault) for pull in pod.pulls] == [
        (ALPINE, None),
        (DOCKER, None),
        (absent, PodFault.PULL_NOT_FOUND),
    ]
    assert pod.pulls[2].cause == f"{NODE} could not pull {absent}: {absent}: not found"
    assert "Failed to pull image" in pod.pulls[2].evidence.observed


REFUSED = 'failed to do request: Head "https://registry.example.com/v2/": dial tcp 192.168.1.60:443: i/o timeout'
PRIVATE = "private-registry.example.com/my-namespace/alpine:latest"


def failing(image: str, container: str) -> list[tuple[str, str, str]]:
    return [
        ("Pulling", f'Pulling image "{image}"', container),
        ("Failed", f'Failed to pull image "{image}": {REFUSED}', container),
        ("Failed", "Error: ErrImagePull", container),
    ]


def test_a_registry_without_a_path_is_not_waited_for_once_for_each_of_its_images(start: Start) -> None:
    """The state shows no more than ContainerCreating until the kubelet has tried all images, one after the other."""
    api, *_ = start(
        states=[PENDING, containers("Pending", build=CREATING, image_1=CREATING, image_2=CREATING)],
        events=[*failing(ALPINE, "build"), *pulled(PRIVATE, "image-1"), ("Pulling", f'Pulling "{DOCKER}"', "image-2")],
    )
    began = time.monotonic()
    pod = pods.launch(api, job(PRIVATE, DOCKER), node=NODE, deadline=60)
    assert time.monotonic() - began < 30, "not until its deadline"
    assert [(pull.image, pull.fault) for pull in pod.pulls] == [
        (ALPINE, PodFault.PULL_TIMEOUT),
        (PRIVATE, None),
        (DOCKER, PodFault.PULL_TIMEOUT),
    ]
    assert "i/o timeout" in pod.pulls[0].cause, "the first real error"


def test_another_registry_is_waited_for_although_one_has_no_path(start: Start) -> None:
    waiting = containers("Pending", build=CREATING, image_1=CREATING)
    api, *_ = start(states=[PENDING, waiting], events=failing(ALPINE, "build"), nodes={NODE: {}})
    began = time.monotonic()
    pods.launch(api, job(PRIVATE), node=NODE, deadline=1.5)
    assert time.monotonic() - began >= 1.5


def test_a_registry_that_is_known_to_be_out_of_reach_is_hardly_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_runs, "CUT_OFF_FOR", 0.1)
    events = [("Pulling", f'Pulling image "{ALPINE}"', "build")]
    api, *_ = start(states=[PENDING, containers("Pending", build=CREATING)], events=events, nodes={NODE: {}})
    began = time.monotonic()
    pod = pods.launch(api, job(), node=NODE, deadline=60, cut_off=lambda: {"registry.example.com"})
    assert time.monotonic() - began < 30, "not until its deadline"
    assert pod.pulls[0].fault is PodFault.PULL_TIMEOUT


def test_pulls_from_a_registry_that_is_known_to_be_slow_are_left_together(start: Start) -> None:
    waiting = containers("Pending", build=CREATING, image_1=CREATING, image_2=CREATING)
    events = [("Pulling", f'Pulling image "{ALPINE}"', "build")]
    api, *_ = start(states=[PENDING, waiting], events=events, nodes={NODE: {}})
    known = {"slow": lambda: {"registry.example.com"}, "slow_for": 0.1}
    pod = pods.launch(api, job(DOCKER, PRIVATE), node=NODE, deadline=60, **known)  # type: ignore[arg-type]
    assert pod.evidence.took < 30, "not until its deadline"
    assert [(pull.image, pull.fault) for pull in pod.pulls] == [(ALPINE, PodFault.PULL_TIMEOUT)]


def test_another_registrys_image_does_not_wait_long_behind_pulls_that_come_to_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_runs, "HELD_UP_FOR", 0.1)
    waiting = containers("Pending", build=CREATING, image_1=CREATING)
    events = [*failing(ALPINE, "build"), ("Pulling", f'Pulling image "{PRIVATE}"', "image-1")]
    api, *_ = start(states=[PENDING, waiting], events=events, nodes={NODE: {}})
    pod = pods.launch(api, job(PRIVATE), node=NODE, deadline=60)
    assert pod.evidence.took < 30, "not until its deadline"
    assert [(pull.image, pull.fault) for pull in pod.pulls] == [(ALPINE, PodFault.PULL_TIMEOUT)], "no word of the other"


@pytest.mark.parametrize(
    ("recording", "fault"),
    [
        ("pull_unauthorized", PodFault.PULL_UNAUTHORIZED),
        ("pull_name_unresolvable", PodFault.PULL_UNRESOLVED),
        ("pull_refused", PodFault.PULL_REFUSED),
        ("pull_bad_name", PodFault.PULL_BAD_NAME),
    ],
)
def test_an_image_of_the_script_that_can_not_be_pulled_is_the_pods_fault(
    start: Start, recording: str, fault: PodFault
) -> None:
    said = recorded(recording)
    state = said[0]["response"]["status"]["containerStatuses"][0]["state"]
    events = [
        (each["reason"], each["message"], "build" if "fieldPath" in each["involvedObject"] else "")
        for each in said[1]["response"]["items"]
    ]
    api, *_ = start(states=[PENDING, containers("Pending", build=state)], events=events)
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert pod.fault is fault
    assert pod.cause.startswith(f"on {NODE}, ")
    assert not pod.started
    assert pod.pulls[0].fault is fault


def test_a_node_that_stops_reporting_ends_the_wait_for_its_pod(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_runs, "NODE_ASKED_AFTER", 0.2)
    condition = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}
    nodes = {NODE: {"status": {"conditions": [condition]}}}
    api, *_ = start(states=[containers("Pending", build=CREATING)], nodes=nodes)
    began = time.monotonic()
    pod = pods.launch(api, job(), node=NODE, deadline=60)
    assert time.monotonic() - began < 60, "not before its own deadline"
    assert (pod.fault, pod.cause) == (
        PodFault.LOST,
        f"node {NODE} is not ready: Kubelet stopped posting node status.",
    )


def test_a_kubelet_that_does_nothing_about_a_pod_is_not_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_runs, "TAKEN_UP_WITHIN", 0.2)
    bound = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    api, *_ = start(states=[bound], nodes={NODE: {}})
    pod = pods.launch(api, job(), node=NODE, deadline=60)
    assert pod.fault is PodFault.LOST
    assert pod.cause == f"the kubelet of {NODE} has not begun with the pod in 0.2 s: its runtime may be down"


def test_a_pull_secret_that_is_absent_is_named(start: Start) -> None:
    said = recorded("pull_secret_absent")
    state = said[0]["response"]["status"]["containerStatuses"][0]["state"]
    events = [(each["reason"], each["message"], "build") for each in said[1]["response"]["items"]]
    api, *_ = start(states=[containers("Pending", build=state)], events=events)
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert pod.fault is PodFault.PULL_UNAUTHORIZED
    assert "Unable to retrieve some image pull secrets (nosuch)" in pod.cause


MISSED = ("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (private-registry)", "")


@pytest.mark.parametrize(
    ("is_there", "quotas", "jobs"),
    [(True, [], 2), (False, [], 1), (True, [quota({"pods": "100"}, {"pods": "1"})], 1)],
    ids=["there", "not there", "two pods may be one too many"],
)
def test_a_pod_whose_kubelet_missed_a_pull_secret_that_is_there_is_made_anew(
    is_there: bool, quotas: list[Json], jobs: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_runs, "SECRET_SEEN_WITHIN", 0.3)
    refused = {"waiting": {"reason": "ErrImagePull", "message": "401 Unauthorized"}}
    failed = ("Failed", f'Failed to pull image "{ALPINE}": 401 Unauthorized', "build")
    shape = replace(SHAPE, pull_secrets=("private-registry",))
    api, cluster, server = start(
        states=[containers("Pending", build=refused)], events=[MISSED, failed], logs={"build": "hi"}, quotas=quotas
    )
    make = cluster._post_jobs

    def make_again(asked: Asked, rest: list[str]) -> Reply:
        if cluster.job is not None:
            cluster.pods.clear()
            cluster.states, cluster.events = [containers("Succeeded", build=DONE)], pulled(ALPINE, "build")
        return make(asked, rest)

    def keep_the_second(_: Asked, rest: list[str]) -> Reply:
        assert not rest[0].endswith("-2"), "the caller removes that one"
        return Reply({"kind": "Status", "status": "Success"})

    def secret(_: Asked, __: list[str]) -> Reply:
        return Reply({"metadata": {"name": "private-registry"}}, 200 if is_there else 404)

    for name, answer in (("_post_jobs", make_again), ("_delete_jobs", keep_the_second), ("_get_secrets", secret)):
        monkeypatch.setattr(cluster, name, answer, raising=False)
    pod = pods.launch(api, job(shape=shape), node=NODE, deadline=20)
    jobs_made = [asked for asked in server.asked if (asked.method, asked.path.rpartition("/")[2]) == ("POST", "jobs")]
    removed = [asked.path.rpartition("/")[2] for asked in server.asked if asked.method == "DELETE"]
    assert len(jobs_made) == jobs
    assert (pod.job.endswith("-2"), pod.fault) == ((True, None) if jobs > 1 else (False, PodFault.PULL_UNAUTHORIZED))
    assert removed == ([pod.job.removesuffix("-2")] if jobs > 1 else [])


@pytest.mark.parametrize(
    ("recording", "fault"),
    [
        ("admission_psa_baseline", PodFault.POD_SECURITY),
        ("admission_quota", PodFault.QUOTA),
        ("admission_limitrange", PodFault.LIMIT_RANGE),
        ("admission_refusals", PodFault.SERVICE_ACCOUNT_MISSING),
    ],
)
def test_a_pod_that_would_be_refused_is_not_made_at_all(start: Start, recording: str, fault: PodFault) -> None:
    refused = next(each["response"] for each in recorded(recording) if each["status"] == 403)
    api, cluster, _ = start(refuse_pod=refused)
    pod = pods.launch(api, job(), node=NODE, deadline=10)
    assert pod.fault is fault
    assert (pod.job, pod.name, cluster.job) == ("", "", None)
    assert pod.evidence.command.startswith("printf %s '{")
    assert pod.evidence.command.endswith("}' | kubectl -n gitlab create --dry-run=server -f -")
    assert "resolv.conf" not in pod.evidence.command, "the script is not what admission reads"


@pytest.mark.parametrize(
    ("recording", "fault"),
    [
        ("job_refused_pod_security", PodFault.POD_SECURITY),
        ("job_refused_quota", PodFault.QUOTA),
        ("job_refused_limitrange", PodFault.LIMIT_RANGE),
        ("job_refused_service_account", PodFault.SERVICE_ACCOUNT_MISSING),
    ],
)
def test_a_pod_that_the_job_controller_may_not_make_is_explained_by_its_events(
    start: Start, recording: str, fault: PodFault
) -> None:
    """The Job is admitted; its pod is not. Who may not create pods himself learns it only from the events."""
    messages = [item["message"] for item in recorded(recording)[-1]["response"]["items"]]
    api, *_ = start(job_events=messages, forbidden=[("POST", "/pods")])
    began = time.monotonic()
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert time.monotonic() - began < 5
    assert pod.fault is fault
    assert pod.job
    assert pod.name == ""
    assert "FailedCreate" in pod.evidence.observed


def test_a_namespace_that_is_absent_is_the_pods_fault(start: Start) -> None:
    absent = recorded("admission_refusals")[1]["response"]
    api, *_ = start(refuse_pod=absent)
    assert pods.launch(api, job(), node=NODE, deadline=5).fault is PodFault.NAMESPACE_MISSING


def unscheduled(recording: str) -> Json:
    found: Json = recorded(recording)[0]["response"]["items"][0]["status"]
    return found


@pytest.mark.parametrize(
    ("recording", "fault", "nodes"),
    [
        ("sched_pinned_memory", PodFault.UNSCHEDULABLE_RESOURCE, {}),
        ("sched_pinned_selector", PodFault.UNSCHEDULABLE_SELECTOR, {NODE: {"status": {}}}),
        ("sched_pinned_no_node", PodFault.LOST, {}),
    ],
)
def test_a_pod_without_a_node_is_believed_after_a_while(
    start: Start, recording: str, fault: PodFault, nodes: Mapping[str, Json]
) -> None:
    api, *_ = start(states=[PENDING, unscheduled(recording)], nodes=nodes)
    began = time.monotonic()
    pod = pods.launch(api, job(), node=NODE, deadline=20, unschedulable_for=0.5)
    assert pod.fault is fault
    assert 0.5 <= time.monotonic() - began < 6
    assert pod.pulls == ()
    assert NODE in pod.cause


def test_a_pod_that_finds_a_node_after_all_is_right(start: Start) -> None:
    scheduled = {**containers("Succeeded", build=DONE), "conditions": [{"type": "PodScheduled", "status": "True"}]}
    api, *_ = start(states=[PENDING, unscheduled("sched_pinned_memory"), scheduled], logs={"build": "hi"})
    assert pods.launch(api, job(), node=NODE, deadline=10, unschedulable_for=0.5).fault is None


@pytest.mark.parametrize(
    ("state", "events", "nodes", "fault", "cause"),
    [
        (containers("Running", build=RUNS), [], {}, PodFault.LOST, f"node {NODE} is gone"),
        (
            containers("Running", build=RUNS),
            [],
            {NODE: {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}},
            PodFault.DEADLINE,
            "was still running after 1.5 s",
        ),
        (
            containers("Running", build=RUNS),
            [],
            {NODE: recorded("node_not_ready")[0]["response"]},
            PodFault.LOST,
            "is not ready: Kubelet stopped posting node status.",
        ),
        (
            containers("Pending", build=CREATING),
            [("Pulling", f'Pulling image "{ALPINE}"', "build")],
            {NODE: {}},
            PodFault.PULL_TIMEOUT,
            f"{ALPINE} was still being pulled after 1.5 s",
        ),
        (
            containers("Pending", build=CREATING),
            [("FailedMount", 'MountVolume.SetUp failed for volume "ca": configmap "ca" not found', "")],
            {NODE: {}},
            PodFault.START_ERROR,
            'FailedMount: MountVolume.SetUp failed for volume "ca"',
        ),
        (containers("Pending", build=CREATING), [], {NODE: {}}, PodFault.DEADLINE, "had not started after 1.5 s"),
    ],
)
def test_a_pod_that_comes_to_no_end_says_what_it_was_at(
    start: Start,
    state: Json,
    events: Sequence[tuple[str, str, str]],
    nodes: Mapping[str, Json],
    fault: PodFault,
    cause: str,
) -> None:
    api, *_ = start(states=[state], events=events, nodes=nodes, logs={"build": "half"})
    began = time.monotonic()
    pod = pods.launch(api, job(), node=NODE, deadline=1.5)
    assert time.monotonic() - began < 5
    assert pod.fault is fault
    assert cause in pod.cause


def test_what_a_script_printed_before_the_deadline_is_kept(start: Start) -> None:
    api, *_ = start(states=[containers("Running", build=RUNS)], logs={"build": "half of it"}, nodes={NODE: {}})
    assert pods.launch(api, job(), node=NODE, deadline=1).log == "half of it"


def test_a_container_that_can_not_be_created_is_believed_after_a_while(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_runs, "NOT_STARTING_FOR", 0.3)
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}
    api, *_ = start(states=[containers("Pending", build=waiting)], events=pulled(ALPINE, "build"))
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert pod.fault is PodFault.START_ERROR
    assert 'CreateContainerConfigError: secret "x" not found' in pod.cause


def test_a_pod_that_somebody_deletes_is_lost(start: Start) -> None:
    def vanish(_: int, __: Sequence[Json]) -> Reply:
        pod = next(iter(cluster.pods.values()))
        cluster.pods.clear()
        return Reply(stream=[(0.05, {"type": "DELETED", "object": pod})])

    api, cluster, _ = start(states=[containers("Running", build=RUNS)], watch=vanish, nodes={NODE: {}})
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert pod.fault is PodFault.LOST
    assert "was deleted by somebody else" in pod.cause


def test_a_pod_that_its_jobs_deadline_ends_says_so(start: Start) -> None:
    job_status, listed = (each["response"] for each in recorded("job_deadline"))
    [ended] = listed["items"]

    def end(_: int, __: Sequence[Json]) -> Reply:
        cluster.job_status = job_status["status"]
        pod = next(iter(cluster.pods.values()))
        pod["metadata"]["deletionTimestamp"] = ended["metadata"]["deletionTimestamp"]
        return Reply(stream=[(0.05, {"type": "MODIFIED", "object": pod})])

    api, cluster, _ = start(states=[containers("Running", build=RUNS)], watch=end, nodes={NODE: {}})
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert pod.fault is PodFault.DEADLINE
    assert "the Job's own deadline ended pod" in pod.cause


def test_pods_carry_the_label_by_which_they_are_found() -> None:
    pods_of_job = next(each["response"]["items"] for each in recorded("job_ttl") if "labelSelector" in each["request"])
    name = recorded("job_ttl")[0]["body"]["metadata"]["name"]
    assert [pod["metadata"]["labels"]["job-name"] for pod in pods_of_job] == [name]


def test_a_pull_with_the_jobs_own_secret_is_timed(start: Start) -> None:
    said = recorded("pull_with_secret")
    image = said[0]["response"]["spec"]["containers"][0]["image"]
    events = [
        (each["reason"], each["message"], "image-1" if "fieldPath" in each["involvedObject"] else "")
        for each in said[1]["response"]["items"]
    ]
    api, *_ = start(states=[containers("Succeeded", build=DONE, image_1=DONE)], events=events, logs={"build": ""})
    pod = pods.launch(api, job(image), node=NODE, deadline=5)
    pull = next(pull for pull in pod.pulls if pull.image == image)
    assert (pull.fault, pull.seconds) == (None, 0.195)


def test_a_watch_that_is_cut_or_too_old_or_forbidden_does_not_stop_us(start: Start) -> None:
    def stumble(number: int, _: Sequence[Json]) -> Reply:
        if number == 1:
            return Reply(stream=[(0, b'{"type": "MODIF')], cut=0)
        if number == 2:
            return Reply(stream=[(0, {"type": "ERROR", "object": status(410, "Expired", "too old")})])
        said = 'pods is forbidden: User "ci" cannot watch resource "pods" in API group "" in the namespace "gitlab"'
        finished = containers("Succeeded", build=DONE)
        for pod in cluster.pods.values():
            pod["status"] = finished
        return Reply(status(403, "Forbidden", said), 403)

    api, cluster, _ = start(states=[PENDING], watch=stumble, logs={"build": "hi"})
    pod = pods.launch(api, job(), node=NODE, deadline=20)
    assert (pod.fault, pod.log) == (None, "hi")


def test_an_api_that_fails_for_a_while_does_not_stop_us(start: Start) -> None:
    api, _, server = start(states=[PENDING, containers("Succeeded", build=DONE)], logs={"build": "hi"})
    real, troubles = server.answer, [Reply("oops", 500)] * 4 + [Reply(drop=True)] * 4

    def answer(asked: Any) -> Reply:
        if asked.method == "GET" and asked.path.endswith("/pods") and troubles:
            return troubles.pop()
        return real(asked)

    server.answer = answer
    assert pods.launch(api, job(), node=NODE, deadline=20).log == "hi"
    assert not troubles


def test_an_api_that_fails_until_the_end_is_no_finding(start: Start) -> None:
    api, _, server = start(states=[PENDING])
    real = server.answer

    def answer(asked: Any) -> Reply:
        return Reply("oops", 500) if (asked.method, asked.path[-5:]) == ("GET", "/pods") else real(asked)

    server.answer = answer
    with pytest.raises(Unmeasured, match="could not be asked: oops"):
        pods.launch(api, job(), node=NODE, deadline=2)


@pytest.mark.parametrize(
    ("forbidden", "rule"),
    [(("POST", "/jobs"), '"jobs"'), (("GET", "/pods"), '"pods"')],
)
def test_a_missing_right_is_no_finding_and_names_its_rule(start: Start, forbidden: tuple[str, str], rule: str) -> None:
    api, *_ = start(states=[PENDING], forbidden=[forbidden])
    with pytest.raises(Unmeasured) as caught:
        pods.launch(api, job(), node=NODE, deadline=5)
    assert rule in caught.value.needs


def test_a_log_that_may_not_be_read_is_said_and_the_pulls_are_kept(start: Start) -> None:
    api, *_ = start(
        states=[containers("Succeeded", build=DONE)], events=pulled(ALPINE, "build"), forbidden=[("GET", "/log")]
    )
    pod = pods.launch(api, job(), node=NODE, deadline=5)
    assert pod.log == ""
    assert '"pods/log"' in pod.log_problem
    assert pod.pulls[0].seconds == 1.5


def test_a_kubelets_excuse_is_not_taken_for_the_log(start: Start) -> None:
    excuse = 'failed to try resolving symlinks in path "/var/log/pods/x/build/0.log": lstat: no such file or directory'
    api, *_ = start(states=[containers("Succeeded", build=DONE)], logs={"build": excuse})
    pod = pods.launch(api, job(), node=NODE, deadline=5)
    assert (pod.log, pod.log_problem) == ("", excuse)


def test_a_full_quota_is_a_finding_and_a_nearly_full_one_is_none(start: Start) -> None:
    needs = needs_of(job_pod(SHAPE))
    api, cluster, _ = start(quotas=[quota({"pods": "10"}, {"pods": "10"})])
    pod = pods.launch(api, job(), node=NODE, deadline=5, job=needs)
    assert pod.fault is PodFault.QUOTA
    assert "pods 10 of 10 used" in pod.cause
    assert pod.evidence.command == "kubectl -n gitlab get resourcequotas"
    assert cluster.job is None
    api, cluster, _ = start(quotas=[quota({"pods": "10"}, {"pods": "9"})])
    with pytest.raises(Unmeasured, match="last tenth"):
        pods.launch(api, job(), node=NODE, deadline=5, job=needs)
    assert cluster.job is None


def test_containers_that_others_inject_are_not_waited_for(start: Start) -> None:
    api, *_ = start(states=[containers("Running", build=DONE, istio_proxy=RUNS)], logs={"build": "hi"})
    assert pods.launch(api, job(), node=NODE, deadline=5).log == "hi"


def test_an_injected_init_container_that_can_not_be_pulled_is_named(start: Start) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "x: not found"}}
    state = {**containers("Pending", build=CREATING), "initContainerStatuses": [{"name": "mesh", "state": waiting}]}
    api, *_ = start(states=[state])
    assert pods.launch(api, job(), node=NODE, deadline=5).fault is PodFault.PULL_NOT_FOUND


def test_a_run_that_stops_makes_nothing_more(start: Start) -> None:
    shutdown = Shutdown()
    shutdown.set()
    api, cluster, _ = start(states=[PENDING])
    with pytest.raises(Unmeasured, match="the run was stopped"):
        pods.launch(api, job(), node=NODE, deadline=20, shutdown=shutdown)
    assert cluster.job is None


def test_a_job_that_was_made_while_the_run_stopped_is_taken_back(start: Start) -> None:
    """The sweep may have looked for Jobs just before this one was there."""
    shutdown = Shutdown()
    api, cluster, server = start(states=[PENDING])
    real = server.answer

    def answer(asked: Any) -> Reply:
        if asked.path.endswith("/jobs"):
            shutdown.set()
        return real(asked)

    server.answer = answer
    with pytest.raises(Unmeasured, match="the run was stopped"):
        pods.launch(api, job(), node=NODE, deadline=20, shutdown=shutdown)
    assert cluster.job is None


def test_a_pod_that_is_followed_is_left_when_the_run_stops(start: Start) -> None:
    shutdown = Shutdown()
    api, cluster, _ = start(states=[containers("Running", build=RUNS)])
    threading.Timer(0.5, shutdown.set).start()
    began = time.monotonic()
    with pytest.raises(Unmeasured, match="the run was stopped"):
        pods.launch(api, job(), node=NODE, deadline=20, shutdown=shutdown)
    assert time.monotonic() - began < 5
    assert cluster.job, "the sweep removes it"


# --- DinD -----------------------------------------------------------------------------------------------------------


def dind(*, privileged: bool = True) -> Json:
    return dind_job(
        replace(SHAPE, privileged=privileged),
        node=NODE,
        run_id="ab12",
        client_image=DOCKER,
        daemon_image=DIND,
        daemon_args=["--tls=false"],
        docker_host="tcp://docker:2375",
        script="docker info",
        deadline=60,
        ttl=30,
    )


def test_a_daemon_that_works_is_left_when_its_client_has_ended(start: Start) -> None:
    client = next(each["response"] for each in recorded("dind_privileged") if "container=build" in each["request"])
    api, *_ = start(
        states=[PENDING, containers("Running", docker=RUNS, build=DONE)],
        events=[*pulled(DIND, "docker"), *pulled(DOCKER, "build")],
        logs={"build": client, "docker": daemon_log("dind_privileged")},
    )
    pod = pods.launch_dind(api, dind(), node=NODE, deadline=20)
    assert (pod.fault, pod.cause, pod.exit, pod.daemon_state, pod.privileged) == (None, "", 0, "running", True)
    assert "hello-from-dind" in pod.log
    assert "API listen on [::]:2375" in pod.daemon_log
    assert {pull.image for pull in pod.pulls} == {DIND, DOCKER}
    assert pod.where == f"dind on {NODE}"


@pytest.mark.parametrize("after", [0, 2], ids=["before it is made", "later"])
def test_a_daemon_of_which_nothing_comes_any_more_is_given_up(after: int, start: Start) -> None:
    api, _, server = start(states=[containers("Running", docker=RUNS, build=RUNS)])
    asked = iter(range(100))
    with pytest.raises(MootError, match="given up"):
        pods.launch_dind(api, dind(), node=NODE, deadline=20, moot=lambda: next(asked) >= after)
    assert server.count("POST", "/apis/batch/v1/namespaces/gitlab/jobs") == (after > 0)


def test_a_daemon_that_dies_is_not_waited_for(start: Start) -> None:
    died = {"terminated": {"exitCode": 1, "reason": "Error"}}
    api, *_ = start(
        states=[PENDING, containers("Running", docker=died, build=RUNS)],
        logs={"build": "", "docker": daemon_log("dind_unprivileged")},
    )
    began = time.monotonic()
    pod = pods.launch_dind(api, dind(privileged=False), node=NODE, deadline=20)
    assert time.monotonic() - began < 5
    assert pod.fault is DindFault.NOT_PRIVILEGED
    assert pod.cause.startswith(f"on {NODE}, the daemon ended with status 1: failed to start daemon")
    assert pod.daemon_state == "exited 1"
    assert "you must be root" in pod.evidence.observed
    assert pod.evidence.command.endswith("-c docker")


def test_a_daemon_whose_log_can_not_be_read_is_not_guessed_at(start: Start) -> None:
    died = {"terminated": {"exitCode": 1, "reason": "Error"}}
    api, *_ = start(states=[containers("Running", docker=died, build=RUNS)], logs={"build": ""})
    pod = pods.launch_dind(api, dind(privileged=False), node=NODE, deadline=20)
    assert pod.fault is DindFault.DAEMON_EXITED
    assert "its log could not be read: waiting to start" in pod.cause


def test_a_daemon_image_that_can_not_be_pulled_is_the_pods_fault(start: Start) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": f"{DIND}: not found"}}
    api, *_ = start(states=[containers("Pending", docker=waiting, build=RUNS)], logs={"build": "waiting"})
    pod = pods.launch_dind(api, dind(), node=NODE, deadline=20)
    assert pod.fault is PodFault.PULL_NOT_FOUND
    assert DIND in pod.cause


def test_a_daemon_that_runs_is_judged_by_its_client(start: Start) -> None:
    api, *_ = start(
        states=[containers("Running", docker=RUNS, build={"terminated": {"exitCode": 1, "reason": "Error"}})],
        logs={"build": "Cannot connect", "docker": 'level=info msg="API listen on [::]:2376"'},
    )
    pod = pods.launch_dind(api, dind(), node=NODE, deadline=20)
    assert pod.fault is PodFault.EXITED, "not the daemon's: its log may be cut, or unreadable"
    assert (pod.port, "2376" in pod.daemon_log) == (2375, True)


def test_a_privileged_pod_that_admission_refuses_is_no_daemons_fault(start: Start) -> None:
    api, *_ = start(refuse_pod=recorded("admission_psa_baseline")[0]["response"])
    pod = pods.launch_dind(api, dind(), node=NODE, deadline=5)
    assert pod.fault is PodFault.POD_SECURITY
    assert (pod.daemon_log, pod.daemon_state) == ("", "")


# --- a dry run of a job's own pod -----------------------------------------------------------------------------------


def test_a_dry_run_tells_whether_a_jobs_pod_would_be_admitted(start: Start) -> None:
    api, *_ = start()
    admitted = pods.dry_run(api, job_pod(SHAPE))
    assert (admitted.fault, len(admitted.warnings)) == (None, 1)
    api, *_ = start(refuse_pod=recorded("admission_limitrange")[1]["response"])
    refused = pods.dry_run(api, job_pod(SHAPE))
    assert refused.fault is PodFault.LIMIT_RANGE
    assert refused.cause == "maximum memory usage per Container is 512Mi, but limit is 1Gi"
    api, *_ = start(forbidden=[("POST", "/pods")])
    with pytest.raises(Unmeasured):
        pods.dry_run(api, job_pod(SHAPE))


def test_every_recording_is_used_here_or_next_door() -> None:
    """A recording that no test reads is a situation that nobody judges."""
    text = "".join(file.read_text() for file in Path(__file__).parent.parent.glob("*/test_*.py"))
    unused = [file.stem for file in RECORDINGS.glob("*.json") if f'"{file.stem}"' not in text]
    assert unused == []
