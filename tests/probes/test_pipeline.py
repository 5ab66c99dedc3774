"""A project's configuration is judged before anything is started, and a job's log is read as the runner wrote it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.clients.connect import Routes
from preflight.clients.gitlab_api import GitLabApi, GitLabError
from preflight.evidence import Unmeasured
from preflight.faults import GitLabFault, PipelineFault
from preflight.probes import pipeline as pipelines
from preflight.probes.cleanup import CleanupError
from preflight.probes.pipeline import OwnPipelines, Project
from preflight.shutdown import Shutdown
from tests.probes.servers import Asked, Said, Web, web_server

REPOSITORY = "private-registry.example.com/my-namespace/preflight"
TOKEN = "glpat-made-up-for-pipelines"


def linted(change: Callable[[dict[str, Any]], None] = lambda _: None, **told: Any) -> dict[str, Any]:
    document = copy.deepcopy(dict(pipelines.shipped()))
    change(document)
    return {"valid": True, "errors": [], "merged_yaml": yaml.safe_dump(document, sort_keys=False), **told}


def judge(told: dict[str, Any]) -> tuple[Any, str]:
    fault, cause, _ = pipelines.judge_configuration(told, repository=REPOSITORY)
    return fault, cause


def test_the_shipped_configuration_is_the_suites_own() -> None:
    fault, cause, names = pipelines.judge_configuration(linted(), repository=REPOSITORY)
    assert (fault, cause, names) == (None, "", ("preflight-smoke", "preflight-build"))


def test_keys_that_gitlab_writes_as_rubys_symbols_are_read_too() -> None:
    text = linted()["merged_yaml"]
    symbols = "\n".join(f":{line}" if line[:1].isalpha() else line for line in text.splitlines())
    assert judge({"valid": True, "merged_yaml": symbols}) == (None, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda one: one.update(deploy={"stage": "preflight", "script": ["make deploy"]}),
            "other jobs than the suite's: deploy",
        ),
        (lambda one: one.update(pages={"script": ["make"]}), "other jobs than the suite's: pages"),
        (lambda one: one.update(child={"trigger": {"include": "child.yml"}}), "other jobs than the suite's: child"),
        (lambda one: one.update({f"job-{n}": {"script": ["true"]} for n in range(8)}), "and 3 more"),
        (
            lambda one: one["preflight-smoke"]["script"].append("make deploy"),
            "has its own preflight-smoke: another script",
        ),
        (lambda one: one["preflight-smoke"].update(after_script=["make deploy"]), "another after_script"),
        (lambda one: one.update(default={"before_script": ["make deploy"]}), "another before_script"),
        (lambda one: one.update(before_script=["make deploy"]), "another before_script"),
        (lambda one: one["preflight-build"].update(environment="production"), "it has a environment"),
        (lambda one: one["preflight-build"].update(when="on_success"), "starts preflight-build by itself"),
        (
            lambda one: one["preflight-build"]["variables"].update(
                PREFLIGHT_REPOSITORY="registry.example.com/shop/web"
            ),
            f"pushes to registry.example.com/shop/web; the inventory says {REPOSITORY}",
        ),
    ],
)
def test_whatever_else_would_run_is_refused(change: Callable[[dict[str, Any]], None], words: str) -> None:
    fault, cause = judge(linted(change))
    assert fault is PipelineFault.OTHER_JOBS
    assert words in cause


def test_a_job_that_only_the_list_names_is_refused_as_well() -> None:
    fault, cause = judge(linted(jobs=[{"name": "preflight-smoke"}, {"name": "scan"}]))
    assert (fault, "scan" in cause) == (PipelineFault.OTHER_JOBS, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["preflight-smoke"].update(tags=["other"], image="busybox", rules=[{"when": "always"}]),
        lambda one: one.update(variables={"GIT_DEPTH": "1"}, include=[]),
        lambda one: one.update({".hidden": {"script": ["make deploy"]}}),
    ],
)
def test_what_does_not_change_the_jobs_work_is_the_operators_business(change: Callable[[dict[str, Any]], None]) -> None:
    assert judge(linted(change)) == (None, "")


def test_a_configuration_that_gitlab_refuses_is_told_in_its_words() -> None:
    fault, cause = judge({"valid": False, "errors": ["jobs config should contain at least one visible job"]})
    assert (fault, "at least one visible job" in cause) == (PipelineFault.CONFIGURATION_INVALID, True)
    fault, cause = judge(linted(lambda one: one.pop("preflight-build")))
    assert (fault, "lacks the suite's preflight-build" in cause) == (PipelineFault.CONFIGURATION_INVALID, True)


# ---- logs

LOG = """\
2025-08-26T02:11:45.962646Z 00O Running with gitlab-runner 18.3.0 (9ba718cd)
2025-08-26T02:11:45.962700Z 00O   on k8s-runner Zq7mUfX2c, system ID: r_8KdWq2XzPm4V
section_start:1756174305:prepare_executor\r\x1b[0K\x1b[0K\x1b[36;1mPreparing the "kubernetes" executor\x1b[0;m
Using Kubernetes namespace: gitlab
section_end:1756174305:prepare_executor\r\x1b[0K
Running on runner-zq7mufx2c-project-31-concurrent-0-abcdefgh via gitlab-runner-7c9f8d6b5d-4xk2p...
\x1b[32;1m$ echo "preflight-resolv-conf-begin"\x1b[0;m
preflight-resolv-conf-begin
\x1b[32;1m$ cat /etc/resolv.conf\x1b[0;m
search svc.cluster.local
nameserver 10.0.0.2
\x1b[32;1m$ echo "preflight-resolv-conf-end"\x1b[0;m
preflight-resolv-conf-end
Downloading 10%\rDownloading 100%
\x1b[32;1mJob succeeded\x1b[0;m
"""


def job(log: str = LOG, **told: Any) -> pipelines.Job:
    facts = {"id": 41, "name": "preflight-smoke", "status": "success", **told}
    return pipelines.read_job(facts, pipelines.plain(log), waited=3, command="curl …")


def test_a_log_is_read_without_stamps_marks_and_colours() -> None:
    text = pipelines.plain(LOG)
    assert text.startswith("Running with gitlab-runner 18.3.0 (9ba718cd)\n  on k8s-runner")
    assert "\x1b" not in text
    assert "\nDownloading 100%\n" in text
    shown = pipelines.shown_between(text, "preflight-resolv-conf-begin", "preflight-resolv-conf-end")
    assert shown == "search svc.cluster.local\nnameserver 10.0.0.2"
    assert pipelines.shown_between(text, "preflight-resolv-conf-begin", "never") is None


def test_a_job_that_succeeded_shows_who_ran_it() -> None:
    found = pipelines.job_runner(job(), namespace="gitlab", managers="gitlab-runner")
    assert (found.fault, found.version, found.manager) == (None, "18.3.0", "gitlab-runner-7c9f8d6b5d-4xk2p")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("namespace: gitlab", "namespace: ci", "ran in namespace ci; the values say gitlab"),
        ('"kubernetes" executor', '"shell" executor', "ran on the shell executor"),
        ("via gitlab-runner-7c", "via team-b-runner-7c", "was run by team-b-runner-7c9f8d6b5d-4xk2p"),
    ],
)
def test_a_job_that_another_runner_took_proves_nothing_about_this_one(old: str, new: str, words: str) -> None:
    found = pipelines.job_runner(job(LOG.replace(old, new)), namespace="gitlab", managers="gitlab-runner")
    assert found.fault is PipelineFault.OTHER_RUNNER
    assert words in found.cause


@pytest.mark.parametrize(
    ("told", "fault", "words"),
    [
        ({"status": "pending", "tag_list": ["arm"]}, PipelineFault.STUCK, "within 3 s; it is pending and wants arm"),
        ({"status": "created"}, PipelineFault.STUCK, "wants no tags"),
        ({"status": "running"}, PipelineFault.SLOW, "still running after 3 s"),
        ({"status": "canceled"}, PipelineFault.FAILED, "ended as canceled"),
        (
            {"status": "failed", "failure_reason": "runner_system_failure"},
            PipelineFault.FAILED,
            "runner_system_failure",
        ),
    ],
)
def test_how_a_job_ends_is_a_fault(told: dict[str, Any], fault: PipelineFault, words: str) -> None:
    found = job(**told)
    assert found.fault is fault
    assert words in found.cause


def test_the_most_telling_line_of_a_log_is_the_cause() -> None:
    log = (
        "ERROR: Job failed (system failure): prepare environment: setting up build pod\n"
        'WARNING: image pull failed: Back-off pulling image "registry.example.com/nothing"\nERROR: Job failed\n'
    )
    assert 'image pull failed: Back-off pulling image "registry.example.com/nothing"' in job(log, status="failed").cause


# ---- GitLab's API


def gitlab(web: Web) -> GitLabApi:
    return GitLabApi(url=web.url, token=TOKEN, routes=Routes(), ca_file=None, deadline=2)


def told(value: object, status: int = 200) -> Said:
    return Said(status, {"Content-Type": "application/json", "X-Gitlab-Meta": "{}"}, json.dumps(value).encode())


def owned(web: Web, tmp: Path) -> OwnPipelines:
    found = Project(target="ops/p", id=31, path="ops/p", evidence=gitlab_evidence())
    return OwnPipelines(gitlab(web), found, deadline=1, shutdown=Shutdown())


def gitlab_evidence() -> Any:
    from preflight.evidence import Evidence

    return Evidence(where="here", command="curl …")


def test_lists_are_read_to_their_last_page() -> None:
    def answer(asked: Asked) -> Said:
        page = int(asked.path.rpartition("page=")[2])
        return told([{"id": page * 1000 + number} for number in range(100 if page < 3 else 7)])

    with web_server(answer) as web:
        assert len(gitlab(web).items("/projects")) == 207
    assert {one.headers["authorization"] for one in web.asked} == {f"Bearer {TOKEN}"}


def test_a_redirect_takes_the_token_nowhere() -> None:
    with web_server(lambda _: told({})) as other, web_server(lambda _: Said(302, {"Location": other.url})) as web:
        with pytest.raises(GitLabError) as caught:
            gitlab(web).ask("/projects/1")
        assert caught.value.fault is GitLabFault.REDIRECTED
    assert other.asked == []


@pytest.mark.parametrize(
    ("said", "fault", "words"),
    [
        (told({"message": "404 Project Not Found"}, 404), PipelineFault.PROJECT_MISSING, "404 Project Not Found"),
        (told({"message": "401 Unauthorized"}, 401), GitLabFault.TOKEN_REFUSED, "is not accepted"),
        (told({"id": 1, "path_with_namespace": "ops/p", "archived": True}), PipelineFault.CI_DISABLED, "is archived"),
        (told({"id": 1, "builds_access_level": "disabled"}), PipelineFault.CI_DISABLED, "CI/CD is switched off"),
        (told({"id": 1, "path_with_namespace": "ops/p"}), None, ""),
    ],
)
def test_a_project_is_judged(said: Said, fault: object, words: str) -> None:
    with web_server(lambda _: said) as web:
        found = pipelines.project(gitlab(web), "ops/p")
    assert found.fault is fault
    assert words in found.cause
    assert web.asked[0].path == "/api/v4/projects/ops%2Fp"
    assert TOKEN not in found.evidence.command + found.evidence.observed


def test_a_refused_pipeline_is_told_in_gitlabs_words(tmp_path: Path) -> None:
    with web_server(lambda _: told({"message": {"base": ["Pipeline filtered out by workflow rules."]}}, 400)) as web:
        found = owned(web, tmp_path).start("main")
    assert found.fault is PipelineFault.REFUSED
    assert "Pipeline filtered out by workflow rules." in found.cause


def test_a_pipeline_with_jobs_of_a_policy_is_cancelled_at_once(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.partition("?")[0].endswith("/jobs"):
            return told([{"name": "preflight-smoke"}, {"name": "secret-detection-0"}])
        return told(
            [] if "bridges" in asked.path else {"id": 9, "status": "created"}, 201 if "?ref=" in asked.path else 200
        )

    with web_server(answer) as web:
        found = owned(web, tmp_path).start("main")
    assert (found.fault, "secret-detection-0" in found.cause) == (PipelineFault.OTHER_JOBS, True)
    assert (web.asked[-1].method, web.asked[-1].path) == ("POST", "/api/v4/projects/31/pipelines/9/cancel")


def test_what_cannot_be_deleted_is_said_with_the_reason(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        if asked.method == "DELETE":
            return told({"message": "403 Forbidden"}, 403)
        if "jobs" in asked.path or "bridges" in asked.path:
            return told([])
        return told({"id": 9, "status": "success"})

    with web_server(answer) as web:
        ours = owned(web, tmp_path)
        ours.start("main")
        ours.owe("registry.example.com/p:preflight-9", lambda: "deletion is switched off")
        with pytest.raises(
            CleanupError, match=r"pipeline 9 of ops/p is still there: .*only an Owner.*; image registry"
        ):
            ours.sweep()


def test_waiting_ends_with_the_run(tmp_path: Path) -> None:
    with web_server(lambda _: told([{"id": 1, "name": "preflight-smoke", "status": "pending"}])) as web:
        ours = owned(web, tmp_path)
        ours._shutdown.set()
        with pytest.raises(Unmeasured, match="the run ended while preflight-smoke was pending"):
            ours.follow(9, "preflight-smoke", deadline=30, on_event=lambda _: None)
