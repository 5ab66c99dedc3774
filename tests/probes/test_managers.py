"""The managers: rollout, pods and logs, judged from the API's JSON and from the runner's own sentences."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from preflight.faults import ManagerFault
from preflight.probes import manager_logs, managers

NOW = datetime.datetime(2025, 9, 20, 12, 0, tzinfo=datetime.UTC).timestamp()


def stamp(seconds: float) -> str:
    """So many seconds before now, as the API writes it."""
    moment = datetime.datetime.fromtimestamp(NOW - seconds, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(wanted: int | None = 3, **status: Any) -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": {"app": "gitlab-runner"}},
        "template": {"spec": {"containers": [{"name": "proxy"}, {"name": "gitlab-runner"}]}},
    }
    whole = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, **status}
    return {
        "metadata": {"name": "gitlab-runner", "generation": 2},
        "spec": spec | ({} if wanted is None else {"replicas": wanted}),
        "status": whole,
    }


def pod(name: str, *, ready: bool = True, node: str = "k8s-worker-1", **status: Any) -> dict[str, Any]:
    whole = {
        "phase": "Running",
        "podIP": "172.24.1.9",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "gitlab-runner", "restartCount": 0, "state": {"running": {}}} | status],
    }
    return {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": whole}


def objects(*pods: dict[str, Any], found: dict[str, Any] | None = None) -> managers.Objects:
    return managers.Objects(
        release="gitlab-runner", namespace="gitlab", deployment=found or deployment(), pods=tuple(pods)
    )


# ---- the rollout


def test_a_rollout_that_is_over_is_right() -> None:
    found = managers.read_rollout(objects())
    assert (found.fault, found.wanted, found.updated, found.total) == (None, 3, 3, 3)


def test_without_a_number_of_replicas_there_is_one() -> None:
    assert objects(found=deployment(None)).wanted == 1


def test_a_missing_deployment_is_told() -> None:
    found = managers.read_rollout(managers.Objects(release="r", namespace="n"))
    assert found.fault is ManagerFault.DEPLOYMENT_MISSING


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"updatedReplicas": 1}, "1 of 3 replicas of gitlab-runner have the newest template"),
        ({"replicas": 4}, "1 of an older one still run"),
        ({"observedGeneration": 1}, "has not seen the last change"),
    ],
    ids=["few", "old", "unseen"],
)
def test_a_rollout_that_is_not_over_says_why(status: dict[str, int], words: str) -> None:
    found = managers.read_rollout(objects(found=deployment(**status)))
    assert found.fault is ManagerFault.ROLLOUT_UNDER_WAY
    assert words in found.cause
    assert found.advice == "it has 600 s for each step"


def test_a_rollout_is_stuck_by_the_deployments_own_condition() -> None:
    message = 'ReplicaSet "gitlab-runner-7c5d9f64bb" has timed out progressing.'
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
    rollout = managers.read_rollout(objects(found=deployment(updatedReplicas=1, conditions=[condition])))
    assert (rollout.fault, rollout.advice) == (ManagerFault.ROLLOUT_STUCK, "")
    assert "has timed out progressing" in rollout.cause


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"waiting": {"reason": "ContainerCreating"}}, ManagerFault.ROLLOUT_UNDER_WAY),
        ({"running": {}}, ManagerFault.ROLLOUT_UNDER_WAY),
        ({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}, ManagerFault.ROLLOUT_STUCK),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, ManagerFault.ROLLOUT_STUCK),
    ],
    ids=["creating", "not ready yet", "no image", "crash loop"],
)
def test_a_rollout_is_stuck_when_a_new_pod_fails(state: dict[str, Any], fault: ManagerFault) -> None:
    new = pod("c", ready=False, state=state)
    rollout = managers.read_rollout(objects(pod("a"), pod("b"), new, found=deployment(updatedReplicas=1)))
    assert rollout.fault is fault
    assert "c: " in rollout.cause, "what it waits for"


def test_pods_that_a_rollout_is_about_to_replace_may_fail() -> None:
    looping = {"waiting": {"reason": "CrashLoopBackOff"}}
    old = pod("a", ready=False, state=looping, lastState=ended(9))
    new = pod("b", ready=False, state={"waiting": {"reason": "ContainerCreating"}})
    for item, age, template in ((old, 600, "6b8d5c7f9d"), (new, 5, "7c5d9f64bb")):
        item["metadata"] |= {"creationTimestamp": stamp(age), "labels": {"pod-template-hash": template}}
    whole = objects(old, new, found=deployment(updatedReplicas=1))
    rollout = managers.read_rollout(whole)
    assert rollout.fault is ManagerFault.ROLLOUT_UNDER_WAY
    assert [item["metadata"]["name"] for item in managers.that_stay(whole, rollout).pods] == ["b"]
    assert managers.that_stay(whole, None) is whole
    assert managers.read_managers(whole, now=NOW, restart_age=3600, under_way=True).fault is None


def test_new_pods_of_a_rollout_that_is_under_way_are_not_missed() -> None:
    new = pod("c", ready=False, state={"waiting": {"reason": "ContainerCreating"}})
    whole = objects(pod("a"), new)
    assert managers.read_managers(whole, now=NOW, restart_age=3600, under_way=True).fault is None
    assert managers.read_managers(whole, now=NOW, restart_age=3600).fault is ManagerFault.TOO_FEW
    failing = pod("c", ready=False, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(9))
    looping = managers.read_managers(objects(pod("a"), failing), now=NOW, restart_age=3600, under_way=True)
    assert looping.fault is ManagerFault.CRASH_LOOP


def test_the_manager_is_the_container_of_the_deployments_name() -> None:
    assert objects().container == "gitlab-runner", "not the sidecar in front of it"


# ---- the pods


def judged(*pods: dict[str, Any]) -> managers.ManagerPods:
    return managers.read_managers(objects(*pods), now=NOW, restart_age=3600)


def ended(seconds: float, *, reason: str = "Error", code: int = 1) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": stamp(seconds)}}


def test_three_that_are_ready_are_right() -> None:
    assert judged(pod("a"), pod("b"), pod("c")).fault is None


def test_one_that_is_missing_is_counted() -> None:
    found = judged(pod("a"), pod("b"))
    assert found.fault is ManagerFault.TOO_FEW
    assert "2 of 3 managers" in found.cause


def test_a_crash_loop_tells_the_last_end() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    last = ended(60, reason="OOMKilled", code=137)
    looping = pod("c", ready=False, state=waiting, lastState=last, restartCount=9)
    found = judged(pod("a"), pod("b"), looping)
    assert found.fault is ManagerFault.CRASH_LOOP
    assert "1 of 3" in found.cause
    assert "OOMKilled, exit 137" in found.cause


def test_a_pod_that_waits_says_what_for() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "ci" not found'}}
    found = judged(pod("a"), pod("b"), pod("c", ready=False, state=waiting))
    assert found.fault is ManagerFault.NOT_READY
    assert 'c: CreateContainerConfigError: secret "ci" not found' in found.cause


def test_a_pod_without_a_node_tells_the_schedulers_words() -> None:
    pending = pod("c", ready=False)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes"}
    pending["status"] |= {"conditions": [condition], "containerStatuses": []}
    assert "Unschedulable: 0/4 nodes" in judged(pod("a"), pod("b"), pending).cause


OOM: dict[str, Any] = {"reason": "OOMKilled", "code": 137}


def new(since: float, *, running: bool = True, restarts: int = 0, **probe: int) -> dict[str, Any]:
    """A pod that is not ready yet, begun so many seconds ago."""
    state = {"running": {"startedAt": stamp(since)}} if running else {"waiting": {"reason": "ContainerCreating"}}
    made = pod("new", ready=False, state=state, restartCount=restarts)
    made["metadata"]["creationTimestamp"] = stamp(since)
    made["spec"]["containers"] = [{"readinessProbe": probe}]
    return made


@pytest.mark.parametrize(
    ("young", "fault"),
    [
        (new(70, initialDelaySeconds=60, periodSeconds=60), None),
        (new(130, initialDelaySeconds=60, periodSeconds=60), ManagerFault.NOT_READY),
        (new(5), None),
        (new(15), ManagerFault.NOT_READY),
        (new(70, initialDelaySeconds=60, periodSeconds=60, restarts=1), ManagerFault.NOT_READY),
        (new(20, running=False, initialDelaySeconds=60), None),
    ],
)
def test_a_manager_that_has_just_been_replaced_is_starting(young: dict[str, Any], fault: ManagerFault | None) -> None:
    found = managers.read_managers(objects(pod("a"), pod("b"), young), now=NOW, restart_age=3600)
    assert found.fault is fault
    assert ("not ready" in found.evidence.observed) == (fault is not None)


@pytest.mark.parametrize(
    ("how", "other_ready", "fault"),
    [
        (OOM, True, ManagerFault.OOM_KILLED),
        (OOM, False, ManagerFault.NOT_READY),  # the other one has another reason
        ({}, True, ManagerFault.NOT_READY),
    ],
)
def test_one_that_ran_out_of_memory_is_not_ready_for_that(
    how: dict[str, Any], fault: ManagerFault, *, other_ready: bool
) -> None:
    killed = pod("c", ready=False, lastState=ended(9, **how), restartCount=1)
    found = judged(pod("a"), pod("b", ready=other_ready), killed)
    assert found.fault is fault
    assert ("OOMKilled, exit 137" in found.cause) is (fault is ManagerFault.OOM_KILLED)


@pytest.mark.parametrize(
    ("seconds", "restarts", "lasted", "how", "fault"),
    [
        (600, 1, 86_400, {}, None),
        (5, 1, 86_400, {}, ManagerFault.RESTARTED),
        (60, 2, 90, {}, ManagerFault.RESTARTED),
        (120, 2, 90, {}, None),
        (120, 6, 30, {}, ManagerFault.RESTARTED),
        (310, 9, 30, {}, None),
        (60, 3, 7200, {}, None),
        (600, 1, 86_400, OOM, ManagerFault.OOM_KILLED),
        (7200, 1, 86_400, OOM, None),
    ],
    ids=[
        "once, over",
        "a moment ago",
        "shorter than the run before",
        "longer than the run before",
        "within the backoff",
        "beyond the longest backoff",
        "after hours of running",
        "out of memory",
        "out of memory, long ago",
    ],
)
def test_a_restart_that_is_over_is_no_fault(
    seconds: float, restarts: int, lasted: float, how: dict[str, Any], fault: ManagerFault | None
) -> None:
    last = ended(seconds, **how)
    last["terminated"]["startedAt"] = stamp(seconds + lasted)
    assert judged(pod("a"), pod("b"), pod("c", lastState=last, restartCount=restarts)).fault is fault


def test_a_manager_that_is_not_ready_since_its_restart_has_not_recovered() -> None:
    restarted = pod("c", ready=False, lastState=ended(600), restartCount=1)
    assert judged(pod("a"), pod("b"), restarted).fault is ManagerFault.NOT_READY
    assert not judged(restarted).pods[0].has_recovered


@pytest.mark.parametrize(
    ("status", "follows"),
    [
        ({"ready": False}, True),
        ({"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(9)}, True),
        ({"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(9, **OOM)}, False),
        ({"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}, False),
        ({"lastState": ended(5)}, True),
    ],
    ids=["not ready", "crash loop", "out of memory", "no image", "restarted"],
)
def test_gitlab_explains_what_its_silence_can_do_to_a_pod(status: dict[str, Any], follows: bool) -> None:
    assert managers.may_follow_from_gitlab(judged(pod("a"), pod("b"), pod("c", **status))) is follows


# ---- what is over


def history(*pods: dict[str, Any], log: str = "") -> manager_logs.ManagerHistory:
    verdicts = [manager_logs.read_log(log, pod="a", now=NOW)] if log else []
    return manager_logs.read_history(judged(*pods), manager_logs.read_logs(verdicts, objects()), within=3600)


def test_restarts_that_have_ended_are_history_with_their_time_and_reason() -> None:
    past = history(pod("a"), pod("b"), pod("c", lastState=ended(720, code=143), restartCount=1))
    assert past.fault is ManagerFault.RECOVERED
    assert "c was restarted 12 min ago: Error, exit 143; it is ready since" in past.cause


def test_what_was_long_ago_is_no_history() -> None:
    restarted = pod("c", lastState=ended(7200), restartCount=1)
    line = f"{stamp(7200)} WARNING: Checking for jobs... failed\n"
    assert history(pod("a"), pod("b"), restarted, log=line).fault is None


def test_a_complaint_that_is_over_is_history_with_its_time() -> None:
    line = f"{stamp(900)} WARNING: Checking for jobs... failed  status=502\n"
    past = history(pod("a"), pod("b"), pod("c"), log=line)
    assert past.fault is ManagerFault.RECOVERED
    assert "a logged 15 min ago: WARNING: Checking for jobs... failed status=502" in past.cause


def test_what_is_wrong_now_is_no_history() -> None:
    line = f"{stamp(20)} WARNING: Checking for jobs... failed  status=502\n"
    looping = pod("c", lastState=ended(600, **OOM), restartCount=1)
    assert history(pod("a"), pod("b"), looping, log=line).fault is None


# ---- the logs

HEALTHY = """\
Registration attempt 1 of 30
Runtime platform                                    \x1b[0;m  arch\x1b[0;m=amd64 version\x1b[0;m=18.3.0
Verifying runner... is valid                        \x1b[0;m  runner\x1b[0;m=made-up00
\x1b[0;33mWARNING: Running in user-mode.                   \x1b[0;m
Configuration loaded                                \x1b[0;m  builds\x1b[0;m=0 max_builds\x1b[0;m=10
"""


def verdict(text: str) -> manager_logs.LogVerdict:
    return manager_logs.read_log(text, pod="a", now=NOW)


def test_a_healthy_log_says_that_gitlab_accepted_the_runner() -> None:
    found = verdict(HEALTHY)
    assert (found.fault, found.accepted) == (None, True)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Verifying runner... is not valid      \x1b[0;m runner\x1b[0;m=made-up00", ManagerFault.TOKEN_REJECTED),
        ("\x1b[31;1mERROR: Verifying runner... is removed\x1b[0;m", ManagerFault.TOKEN_REJECTED),
        ("ERROR: Registering runner... forbidden (check registration token)", ManagerFault.TOKEN_REJECTED),
        ("ERROR: Checking for jobs... forbidden   runner=made-up00", ManagerFault.TOKEN_REJECTED),
        ('ERROR: Runner "http://g/made" is unhealthy and will be disabled for 1h0m0s seconds!',
         ManagerFault.TOKEN_REJECTED),
        ("ERROR: Verifying runner... failed  status=couldn't execute POST", ManagerFault.GITLAB_UNREACHABLE),
        ("ERROR: Verifying runner... client error  status=x509", ManagerFault.GITLAB_UNREACHABLE),
        ("WARNING: Checking for jobs... failed    status=502", ManagerFault.GITLAB_UNREACHABLE),
        ("FATAL: Runner configuration other than name and executor configuration is reserved",
         ManagerFault.CONFIG_REFUSED),
        ("FATAL: configuration template must contain exactly one [[runners]] entry", ManagerFault.CONFIG_REFUSED),
        ("PANIC: creating directory: mkdir /nonexistent: permission denied", ManagerFault.WRONG_USER),
        ("ERROR: Job failed: exit code 1   job=12", None),
        ("WARNING: Job failed: prepare environment: setting up build pod", None),
        ("Checking for jobs... received   job=12", None),
    ],
)  # fmt: skip
def test_each_of_the_runners_sentences_is_known(line: str, fault: ManagerFault | None) -> None:
    assert verdict(HEALTHY + line).fault is fault


def test_a_success_that_follows_makes_good_what_came_before() -> None:
    assert verdict(f"ERROR: Verifying runner... failed\n{HEALTHY}").fault is None


def test_the_first_complaint_is_the_cause_and_the_others_follow_from_it() -> None:
    found = verdict("Verifying runner... is not valid\nPANIC: Failed to verify the runner.\nFATAL: loading config\n")
    assert (found.fault, found.line) == (ManagerFault.TOKEN_REJECTED, "Verifying runner... is not valid")


@pytest.mark.parametrize(("seconds", "fault"), [(60, ManagerFault.GITLAB_UNREACHABLE), (7200, None)])
def test_a_poll_that_failed_long_ago_is_over(seconds: float, fault: ManagerFault | None) -> None:
    moment = stamp(seconds).replace("Z", ".123456789Z")
    assert verdict(f"{moment} WARNING: Checking for jobs... failed  status=502\n").fault is fault


def test_how_old_a_complaint_is_goes_by_its_last_line() -> None:
    lines = "".join(f"{stamp(age)} WARNING: Checking for jobs... failed  status=502\n" for age in (100, 50, 20))
    assert verdict(lines).age == 20


def test_a_complaint_may_be_over_by_what_else_is_known() -> None:
    refused = verdict(f"{stamp(300)} ERROR: Checking for jobs... forbidden\n")
    over = refused.as_over()
    assert (refused.fault, over.fault) == (ManagerFault.TOKEN_REJECTED, None)
    assert (over.past, over.past_age) == ("ERROR: Checking for jobs... forbidden", 300)


def test_a_log_tells_the_name_by_which_gitlab_knows_the_manager() -> None:
    assert verdict("Created missing unique system ID   system_id=r_made0001").system_id == "r_made0001"


def test_a_registration_that_failed_long_ago_is_not() -> None:
    assert verdict(f"{stamp(7200)} Verifying runner... is not valid\n").fault is ManagerFault.TOKEN_REJECTED


def test_of_several_managers_those_that_complain_are_counted() -> None:
    told = [manager_logs.read_log(text, pod=name, now=NOW)
            for name, text in {"a": HEALTHY, "b": "Verifying runner... is not valid"}.items()]  # fmt: skip
    found = manager_logs.read_logs(told, objects())
    assert found.fault is ManagerFault.TOKEN_REJECTED
    assert found.cause.startswith("1 of 3 managers say so; b: ")
    assert "logs b -c gitlab-runner" in found.evidence.command


def test_no_log_at_all_is_no_complaint() -> None:
    assert manager_logs.read_logs([], objects()).fault is None
