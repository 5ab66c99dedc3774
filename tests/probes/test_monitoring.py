"""What managers say of themselves: their pages, the polls, and the events about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from preflight.evidence import Evidence, Unmeasured
from preflight.faults import MetricsFault
from preflight.probes import monitoring
from preflight.probes.monitoring import (
    ManagerActivity,
    ManagerMetrics,
    ManagerPod,
    Page,
    judge_version,
    read_page,
)
from tests.probes.apiserver import Asked, Reply, scripted_api, status

IMAGE = "registry.example.com/gitlab-org/gitlab-runner:alpine-v18.3.0"
ONE = ManagerPod(name="gitlab-runner-1", image=IMAGE)
PAGE = """\
# HELP gitlab_runner_version_info A metric with a constant '1' value labeled by different build stats fields.
# TYPE gitlab_runner_version_info gauge
gitlab_runner_version_info{architecture="amd64",branch="18-3-stable",name="gitlab-runner",version="18.3.0"} 1
gitlab_runner_api_request_statuses_total{endpoint="request_job",method="post",runner="a",status="204"} 1.2e+03
gitlab_runner_api_request_statuses_total{endpoint="request_job",method="post",runner="b",status="204"} 3
gitlab_runner_api_request_statuses_total{endpoint="update_job",method="put",runner="a",status="403"} 9
process_open_fds 11
"""
PROXY = "/api/v1/namespaces/gitlab/pods/http:gitlab-runner-1:9252/proxy/metrics"


def found(polls: Mapping[str, int], *, version: str = "18.3.0", image: str = IMAGE) -> ManagerMetrics:
    page = Page(pod="gitlab-runner-1", image=image, version=version, polls=polls)
    return ManagerMetrics(target="gitlab", pages=(page,), evidence=Evidence(where="here", command="true"))


def ask(folder: Path, reply: Reply, *, manager: ManagerPod = ONE) -> ManagerMetrics:
    def answer(_asked: Asked) -> Reply:
        return reply

    with scripted_api(folder, answer) as (api, asked):
        told = monitoring.metrics(api, "gitlab", [manager])
        assert asked[0].path in {PROXY, PROXY.replace(":", "%3A")}
        return told


def test_a_page_says_the_version_and_the_polls_of_all_runners() -> None:
    page = read_page(PAGE, ONE)
    assert page.version == "18.3.0"
    assert page.polls == {"204": 1203}, "other endpoints are no polls"


def polls_page(polls: Mapping[str, int]) -> str:
    """A page of metrics with these counts of polls."""
    counter = 'gitlab_runner_api_request_statuses_total{endpoint="request_job",system_id="r_made0001",status='
    return "".join(f'{counter}"{status}"}} {count}\n' for status, count in polls.items())


def watch(folder: Path, first: Mapping[str, int], *later: Mapping[str, int], deadline: float = 0.05) -> ManagerActivity:
    """Watch a manager whose page shows these polls, one after the other, and then the last ones for good."""
    remaining = [polls_page(polls) for polls in later]

    def answer(_asked: Asked) -> Reply:
        return Reply(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    page = read_page(polls_page(first), ONE)
    measured = ManagerMetrics(target="gitlab", pages=(page,), evidence=Evidence(where="here", command="true"))
    with scripted_api(folder, answer) as (api, asked):
        activity = monitoring.activity(api, "gitlab", measured, deadline=deadline)
        assert bool(asked) == bool(later), "a manager is watched only if one of its polls has failed"
        return activity


@pytest.mark.parametrize(
    ("first", "later", "fault", "polling"),
    [
        ({}, (), None, False),
        ({"204": 10, "201": 1}, (), None, True),
        ({"204": 10, "-1": 300}, ({"204": 11, "-1": 300},), None, True),
        ({"204": 1, "403": 3}, ({"204": 9, "403": 3},), None, True),
        ({"204": 1, "403": 3}, ({"204": 1, "403": 3},), None, False),
        ({"204": 100, "403": 1}, ({"204": 100, "403": 2},), MetricsFault.POLLS_REJECTED, False),
        ({"204": 900, "-1": 3}, ({"204": 900, "-1": 5},), MetricsFault.POLLS_FAILED, False),
        ({"204": 900, "502": 3}, ({"204": 900, "502": 5},), MetricsFault.POLLS_FAILED, False),
        ({"204": 900, "-1": 3}, ({"204": 901, "-1": 5},), None, True),
        ({"204": 900, "-1": 3}, ({"204": 2},), None, True),
    ],
    ids=[
        "no-poll-yet",
        "none-has-failed",
        "outage-is-over",
        "refusals-are-over",
        "refusals-stand-still",
        "refused-now",
        "lost-now",
        "bad-gateway-now",
        "lossy",
        "restarted-meanwhile",
    ],
)
def test_polls_are_judged_by_what_is_added(
    first: dict[str, int], later: tuple[dict[str, int], ...], fault: MetricsFault | None, polling: bool, tmp_path: Path
) -> None:
    activity = watch(tmp_path, first, *later)
    assert activity.fault is fault
    assert bool(activity.polling) is polling
    assert activity.system_id(ONE.name) == ("r_made0001" if first else "")


def test_watching_ends_with_the_first_poll_that_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "_BETWEEN_PAGES", 0.01)
    failed = {"204": 1, "-1": 3}
    activity = watch(tmp_path, failed, failed, {"204": 1, "-1": 4}, {"204": 9, "-1": 4}, deadline=60)
    assert activity.growth[0].added == {"-1": 1}


@pytest.mark.parametrize(
    ("version", "image", "fault"),
    [
        ("18.3.0", IMAGE, None),
        ("18.4.0", IMAGE, MetricsFault.WRONG_VERSION),
        ("18.4.0", "registry.example.com/gitlab-org/gitlab-runner:v18.4.0", None),
        ("18.4.0", "registry.example.com/gitlab-org/gitlab-runner:latest", None),
        ("18.4.0", "registry.example.com/runner@sha256:0000", None),
    ],
)
def test_a_version_is_held_against_the_image_s_tag(version: str, image: str, fault: MetricsFault | None) -> None:
    assert judge_version(found({}, version=version, image=image)).fault is fault


def test_a_manager_that_answers_is_right(tmp_path: Path) -> None:
    told = ask(tmp_path, Reply(PAGE))
    assert told.fault is None


def test_a_port_that_nobody_listens_on_is_metrics_off(tmp_path: Path) -> None:
    words = "error trying to reach service: dial tcp 172.24.1.102:9252: connect: connection refused"
    told = ask(tmp_path, Reply(status(503, "ServiceUnavailable", words), 503))
    assert told.fault is MetricsFault.OFF
    assert "172.24.1.102:9252" in told.cause


def test_an_api_server_without_a_way_to_pods_is_no_finding_about_managers(tmp_path: Path) -> None:
    words = "error trying to reach service: dial tcp 172.24.1.102:9252: connect: no route to host"
    with pytest.raises(Unmeasured, match="no route to host"):
        ask(tmp_path, Reply(status(503, "ServiceUnavailable", words), 503))


def test_a_missing_right_to_the_proxy_comes_with_its_rule(tmp_path: Path) -> None:
    words = 'pods "http:gitlab-runner-1:9252" is forbidden: User "ops" cannot get resource "pods/proxy" in API group ""'
    with pytest.raises(Unmeasured) as raised:
        ask(tmp_path, Reply(status(403, "Forbidden", f'{words} in the namespace "gitlab"'), 403))
    assert 'resources: ["pods/proxy"]\n  verbs: ["get"]' in raised.value.needs
    assert "a Role in namespace gitlab" in raised.value.needs


def events(now: datetime, *told: tuple[str, float, str]) -> Iterator[dict[str, Any]]:
    for name, age, message in told:
        when = (now - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"kind": "Pod", "name": name}
        yield {"involvedObject": about, "reason": "Unhealthy", "message": message, "lastTimestamp": when, "count": 2}


def test_only_young_warnings_about_the_release_count() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    every = events(
        now,
        ("gitlab-runner-7d-abc", 5, "second"),
        ("gitlab-runner-7d-abc", 60, "first"),
        ("gitlab-runner-7d-abc", 7200, "long ago"),
        ("gitlab-runnerother-1", 5, "another release"),
        ("runner-zaxruzyo8-project-12-concurrent-0-abcdefgh", 5, "a job's"),
    )
    told = monitoring.read_warnings(every, ["gitlab-runner"], since=now - timedelta(hours=1), now=now)
    assert told == (
        "60 s ago: Unhealthy  pod/gitlab-runner-7d-abc  first (2 times)",
        "5 s ago: Unhealthy  pod/gitlab-runner-7d-abc  second (2 times)",
    )


def test_events_of_the_newer_form_have_their_moment() -> None:
    now = datetime.now(UTC)
    event = next(events(now, ("gitlab-runner", 0, "x"))) | {"lastTimestamp": None}
    young = now - timedelta(hours=1)
    assert monitoring.read_warnings([event], ["gitlab-runner"], since=young, now=now) == ()
    event["eventTime"] = now.isoformat()
    assert len(monitoring.read_warnings([event], ["gitlab-runner"], since=young, now=now)) == 1


def test_a_manager_that_is_not_ready_has_no_metrics_yet(tmp_path: Path) -> None:
    words = "error trying to reach service: dial tcp 172.24.1.102:9252: connect: connection refused"
    refused = Reply(status(503, "ServiceUnavailable", words), 503)
    assert ask(tmp_path, refused).fault is MetricsFault.OFF
    starting = ask(tmp_path, refused, manager=replace(ONE, ready=False))
    assert (starting.fault, starting.pages) == (None, ())
    assert "not ready, and no metrics yet" in starting.evidence.observed


def test_only_pods_whose_container_runs_are_asked() -> None:
    def pod(name: str, state: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "spec": {"containers": [{"image": IMAGE}]},
            "status": {"containerStatuses": [{"state": {state: {}}}]},
        }

    listed = [pod("b", "running"), pod("a", "running"), pod("c", "waiting"), pod("d", "running") | {"status": {}}]
    assert [one.name for one in monitoring.read_manager_pods(listed)] == ["a", "b"]
