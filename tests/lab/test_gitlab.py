"""The GitLab of the lab answers as GitLab does."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from lab.lab import Lab
from lab.world import CiPipeline, World

if TYPE_CHECKING:
    from tests.lab.conftest import Visit

GITLAB = "192.168.1.50:80"


def test_the_front_page_leads_to_its_own_sign_in_page(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    front = visitor.http(GITLAB, "/")
    assert (front.status, front.headers["Location"]) == (302, "http://192.168.1.50/users/sign_in")
    page = visitor.http(GITLAB, "/users/sign_in")
    assert page.status == 200
    assert "<title>Sign in · GitLab</title>" in page.body
    assert page.headers["Server"] == "nginx"


def test_the_api_refuses_who_has_no_token_and_proves_that_it_is_gitlab(healthy: Lab, visit: Visit) -> None:
    answer = visit(healthy).http(GITLAB, "/api/v4/version")
    assert (answer.status, answer.body) == (401, '{"message":"401 Unauthorized"}')
    assert json.loads(answer.headers["X-Gitlab-Meta"])["correlation_id"] == answer.headers["X-Request-Id"]


def test_the_api_reveals_its_version_to_the_operators_token_alone(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    token = (visitor.folder / "gitlab-token").read_text()
    answer = visitor.http(GITLAB, "/api/v4/version", headers={"PRIVATE-TOKEN": token})
    assert (answer.status, json.loads(answer.body)["version"]) == (200, "18.3.2-jh")
    assert visitor.http(GITLAB, "/api/v4/version", headers={"PRIVATE-TOKEN": "another"}).status == 401


def test_health_is_hidden_from_who_is_not_on_the_list(healthy: Lab, visit: Visit) -> None:
    answer = visit(healthy).http(GITLAB, "/-/health")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (404, "", "text/plain")


def test_a_runner_token_that_is_not_known_is_forbidden(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    answer = visitor.http(GITLAB, "/api/v4/runners/verify", method="POST")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("gitlab-502", 502, "Whoops, GitLab is taking too much time to respond."),
        ("gitlab-not-gitlab", 200, "<title>Welcome to nginx!</title>"),
        ("gitlab-redirect", 301, "<center>nginx</center>"),
    ],
)
def test_errors_are_those_of_nginx(fault: str, status: int, says: str, visit: Visit) -> None:
    with Lab([fault]) as lab:
        answer = visit(lab).http(GITLAB, "/")
        assert (answer.status, says in answer.body) == (status, True)
        assert "X-Gitlab-Meta" not in answer.headers
        if fault == "gitlab-redirect":
            assert answer.headers["Location"] == "https://gitlab.example.com/"


def test_a_clock_that_is_behind_shows_in_the_date(visit: Visit) -> None:
    with Lab(["gitlab-clock-skew"]) as lab:
        served = parsedate_to_datetime(visit(lab).http(GITLAB, "/").headers["Date"]).timestamp()
    assert -603 < served - time.time() < -597


def test_a_stopped_nginx_refuses_and_a_machine_that_is_off_is_silent(visit: Visit) -> None:
    with Lab(["gitlab-refused"]) as lab, pytest.raises(ConnectionRefusedError):
        visit(lab).dial(GITLAB)
    with Lab(["gitlab-timeout"]) as lab, pytest.raises(TimeoutError):
        visit(lab).dial(GITLAB, timeout=0.3)


PROJECT = "/api/v4/projects/ops%2Frunner-preflight"


def test_projects_are_there_for_the_operators_token_alone(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    assert visitor.http(GITLAB, PROJECT).status == 401
    mine = {"PRIVATE-TOKEN": (visitor.folder / "gitlab-token").read_text()}
    answer = visitor.http(GITLAB, PROJECT, headers=mine)
    assert (answer.status, json.loads(answer.body)["path_with_namespace"]) == (200, "ops/runner-preflight")
    assert visitor.http(GITLAB, "/api/v4/projects/99", headers=mine).body == '{"message":"404 Project Not Found"}'
    linted = json.loads(visitor.http(GITLAB, f"{PROJECT}/ci/lint?include_jobs=true", headers=mine).body)
    assert linted["valid"]
    assert [entry["name"] for entry in linted["jobs"]] == ["preflight-smoke", "preflight-build"]
    branch = json.loads(visitor.http(GITLAB, f"{PROJECT}/repository/branches/main", headers=mine).body)
    assert branch["protected"] is True
    page = json.loads(visitor.http(GITLAB, f"{PROJECT}/variables?per_page=1&page=2", headers=mine).body)
    assert [(entry["key"], entry["masked"]) for entry in page] == [("ACR_PASSWORD", True)]


def test_a_pipeline_lives_from_its_creation_to_its_deletion(visit: Visit) -> None:
    with Lab() as lab:
        visitor = visit(lab)
        mine = {"PRIVATE-TOKEN": (visitor.folder / "gitlab-token").read_text()}
        made = visitor.http(GITLAB, f"{PROJECT}/pipeline?ref=main", method="POST", headers=mine)
        assert made.status == 201
        path = f"{PROJECT}/pipelines/{json.loads(made.body)['id']}"
        end = time.monotonic() + 10
        while time.monotonic() < end:
            jobs = json.loads(visitor.http(GITLAB, f"{path}/jobs", headers=mine).body)
            if jobs[0]["status"] == "success":
                break
            time.sleep(0.05)
        assert [entry["status"] for entry in jobs] == ["success", "manual"]
        log = visitor.http(GITLAB, f"{PROJECT}/jobs/{jobs[0]['id']}/trace", headers=mine)
        assert log.headers["Content-Type"].startswith("text/plain")
        assert "nameserver 10.0.0.2" in log.body
        again = f"{PROJECT}/jobs/{jobs[0]['id']}/play"
        assert visitor.http(GITLAB, again, method="POST", headers=mine).status == 400
        assert visitor.http(GITLAB, path, method="DELETE", headers=mine).status == 204
        assert visitor.http(GITLAB, path, headers=mine).status == 404
        nowhere = visitor.http(GITLAB, f"{PROJECT}/pipeline?ref=none", method="POST", headers=mine)
        assert (nowhere.status, nowhere.body) == (400, '{"message":{"base":["Reference not found"]}}')


def test_only_an_owner_deletes_a_pipeline(visit: Visit) -> None:
    def maintainer(world: World) -> None:
        world.gitlab.projects[0].role = "maintainer"
        world.gitlab.projects[0].pipelines[5] = CiPipeline(5, "main")

    with Lab(change=maintainer) as lab:
        visitor = visit(lab)
        mine = {"PRIVATE-TOKEN": (visitor.folder / "gitlab-token").read_text()}
        assert visitor.http(GITLAB, f"{PROJECT}/pipelines/5", method="DELETE", headers=mine).status == 403
