"""What a manager's log complains of is over once GitLab has accepted a poll, or heard of the manager, since then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from preflight.evidence import Blocked, Evidence
from preflight.facts.release import manager_logs
from preflight.faults import GitLabFault, ManagerFault
from preflight.probes.gitlab import GitLabReply
from preflight.probes.manager_logs import ManagerLogs
from preflight.probes.managers import Objects, Rollout
from preflight.probes.monitoring import ManagerActivity, PollGrowth
from preflight.probes.runners import Manager, RegisteredManagers
from tests.probes.apiserver import Asked, Reply, scripted_api

EVIDENCE = Evidence(where="here", command="true")
POD = "gitlab-runner-1"
SYSTEM_ID = "r_made0001"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs' times are of when this module was imported, which may be minutes ago."""
    monkeypatch.setattr("preflight.facts.release.time", SimpleNamespace(time=NOW.timestamp))


def stamp(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def logs(
    folder: Path,
    line: str,
    *,
    activity: ManagerActivity | None = None,
    registered: RegisteredManagers | None = None,
    reply: GitLabReply | None = None,
) -> ManagerLogs:
    def answer(_asked: Asked) -> Reply:
        return Reply(f"{stamp(60)} {line}\n")

    found = Objects(
        release="gitlab-runner",
        namespace="gitlab",
        deployment={"metadata": {"name": "gitlab-runner"}, "spec": {"replicas": 1}},
        pods=({"metadata": {"name": POD}},),
    )
    with scripted_api(folder, answer) as (api, _):
        rollout = Rollout(target="gitlab-runner", wanted=1, evidence=EVIDENCE)
        judged: ManagerLogs = manager_logs(rollout, found, api, reply, activity, registered, frozenset())
        return judged


def polling(status: str) -> ManagerActivity:
    growth = (PollGrowth(POD, 3.0, {status: 1}, SYSTEM_ID),)
    return ManagerActivity(target="gitlab", growth=growth, evidence=EVIDENCE)


def contacted(seconds: float, *, system_id: str = SYSTEM_ID) -> RegisteredManagers:
    manager = Manager(system_id=system_id, status="online", contacted=stamp(seconds))
    return RegisteredManagers(target="runner #7", managers=(manager,), listed_at=NOW, evidence=EVIDENCE)


UNREACHABLE = f"WARNING: Checking for jobs... failed status=502 system_id={SYSTEM_ID}"
REFUSED = f"ERROR: Checking for jobs... forbidden system_id={SYSTEM_ID}"
CONFIG = "FATAL: configuration template must contain exactly one [[runners]] entry"


@pytest.mark.parametrize(
    ("line", "activity", "registered", "fault"),
    [
        (UNREACHABLE, None, None, ManagerFault.GITLAB_UNREACHABLE),
        (UNREACHABLE, polling("204"), None, None),
        (UNREACHABLE, polling("-1"), None, ManagerFault.GITLAB_UNREACHABLE),
        (UNREACHABLE, None, contacted(20), None),
        (UNREACHABLE, None, contacted(90), ManagerFault.GITLAB_UNREACHABLE),
        (UNREACHABLE, None, contacted(20, system_id="r_other01"), ManagerFault.GITLAB_UNREACHABLE),
        (REFUSED, polling("204"), None, None),
        (REFUSED, polling("403"), None, ManagerFault.TOKEN_REJECTED),
        (CONFIG, polling("204"), contacted(20), ManagerFault.CONFIG_REFUSED),
    ],
    ids=[
        "nothing else is known",
        "a poll is accepted",
        "a poll is lost",
        "heard of since",
        "heard of before",
        "another manager was heard of",
        "accepted again",
        "refused again",
        "a refused configuration is never over by a poll",
    ],
)
def test_a_complaint_is_over_by_what_came_after_it(
    line: str,
    activity: ManagerActivity | None,
    registered: RegisteredManagers | None,
    fault: ManagerFault | None,
    tmp_path: Path,
) -> None:
    assert logs(tmp_path, line, activity=activity, registered=registered).fault is fault


def test_logs_of_managers_that_a_rollout_replaces_are_left_alone(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(f"{stamp(60)} {REFUSED if '/old/' in asked.path else 'Verifying runner... is valid'}\n")

    ages = {"old": ("6b8d5c7f9d", 900), "new": ("7c5d9f64bb", 30)}
    pods = tuple(
        {"metadata": {"name": name, "labels": {"pod-template-hash": template}, "creationTimestamp": stamp(age)}}
        for name, (template, age) in ages.items()
    )
    deployment = {"metadata": {"name": "gitlab-runner"}, "spec": {"replicas": 1}}
    found = Objects(release="gitlab-runner", namespace="gitlab", deployment=deployment, pods=pods)
    judged = {}
    with scripted_api(tmp_path, answer) as (api, _):
        for fault in (None, ManagerFault.ROLLOUT_UNDER_WAY):
            rollout = Rollout(target="gitlab-runner", wanted=1, fault=fault, evidence=EVIDENCE)
            judged[fault] = manager_logs(rollout, found, api, None, None, None, frozenset()).fault
    assert judged == {None: ManagerFault.TOKEN_REJECTED, ManagerFault.ROLLOUT_UNDER_WAY: None}


def test_a_complaint_of_gitlab_is_gitlabs_while_it_does_not_answer(tmp_path: Path) -> None:
    reply = GitLabReply(
        target="GitLab", url="http://192.168.1.50/", fault=GitLabFault.BAD_GATEWAY, cause="502", evidence=EVIDENCE
    )
    with pytest.raises(Blocked) as raised:
        logs(tmp_path, UNREACHABLE, reply=reply)
    assert raised.value.fact == "gitlab_service", "whose check reports it"
