"""The log of a job, from GitLab: its page's address, and what comes back."""

from __future__ import annotations

import pytest

from preflight.clients.connect import Routes
from preflight.clients.gitlab_api import GitLabApi, GitLabError
from preflight.faults import GitLabFault
from preflight.probes.joblog import JobAddress, job_address, job_log
from tests.probes.servers import Asked, Said, web_server

GITLAB = "https://gitlab.example.com"
TOKEN = "glpat-made-up-for-job-logs"


@pytest.mark.parametrize(
    ("url", "gitlab"),
    [
        (f"{GITLAB}/team/apps/shop/-/jobs/42", GITLAB),
        (f"{GITLAB}/team/apps/shop/-/jobs/42/raw", GITLAB),
        (f"{GITLAB}/team/apps/shop/-/jobs/42#L12", GITLAB),
        (f"{GITLAB}:443/team/apps/shop/-/jobs/42?a=b", GITLAB),
        (f"{GITLAB}/team/apps/shop/jobs/42", GITLAB),
        (f"{GITLAB}/git/team/apps/shop/-/jobs/42", f"{GITLAB}/git/"),
    ],
)
def test_a_job_s_page_names_project_and_number(url: str, gitlab: str) -> None:
    assert job_address(url, gitlab) == JobAddress("team/apps/shop", 42)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "42",
        f"{GITLAB}/team/shop",
        f"{GITLAB}/shop/-/jobs/42",
        f"{GITLAB}/team/shop/-/jobs/x",
        "file:///team/shop/-/jobs/1",
    ],
)
def test_what_is_no_job_s_page_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="/GROUP/PROJECT/-/jobs/NUMBER, found"):
        job_address(url, GITLAB)


@pytest.mark.parametrize(
    "url", ["https://evil.example.com/team/shop/-/jobs/1", "http://gitlab.example.com/team/shop/-/jobs/1"]
)
def test_the_token_is_sent_to_no_other_server(url: str) -> None:
    with pytest.raises(ValueError, match="whose token would be sent"):
        job_address(url, GITLAB)


def test_the_log_is_read_as_its_runner_wrote_it() -> None:
    def answer(asked: Asked) -> Said:
        return Said(200, {"Content-Type": "text/plain"}, b"\x1b[0KRunning with gitlab-runner\r\n")

    with web_server(answer) as web:
        api = GitLabApi(url=web.url, token=TOKEN, routes=Routes(), ca_file=None, deadline=2)
        assert job_log(f"{web.url}/team/apps/shop/-/jobs/42", api) == "\x1b[0KRunning with gitlab-runner\r\n"
        (asked,) = web.asked
        assert asked.path == "/api/v4/projects/team%2Fapps%2Fshop/jobs/42/trace"
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(("status", "fault"), [(401, GitLabFault.TOKEN_REFUSED), (502, GitLabFault.BAD_GATEWAY)])
def test_a_log_that_is_not_given_says_why(status: int, fault: GitLabFault) -> None:
    def answer(asked: Asked) -> Said:
        return Said(status, {"Content-Type": "application/json"}, b'{"message": "made up"}')

    with web_server(answer) as web:
        api = GitLabApi(url=web.url, token=TOKEN, routes=Routes(), ca_file=None, deadline=2)
        with pytest.raises(GitLabError, match="made up") as raised:
            job_log(f"{web.url}/team/shop/-/jobs/1", api)
        assert raised.value.fault is fault
