"""The suite's own pods: `restricted` but for Docker in Docker, bounded, tolerant as the values, and counted nowhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.kubernetes.guide import NAMESPACE, pod, quota
from lab.kubernetes.managers import job_pod
from lab.kubernetes.podsecurity import violations
from lab.lab import Lab
from lab.world import World
from tests import processes

PROJECT = Path(__file__).parents[2]
DNS = "        [runners.kubernetes.dns_config]\n"
HELPER = '        helper_memory_request = "128Mi"\n'
HELPER_LIMITS = '        helper_cpu_limit = "500m"\n        helper_memory_limit = "256Mi"\n'
OURS = {"app.kubernetes.io/managed-by": "gitlab-runner-preflight", "preflight.gitlab-runner/run": "0badc0de"}
QUOTA = {
    "pods": "60",
    "requests.cpu": "60",
    "requests.memory": "60Gi",
    "limits.cpu": "200",
    "limits.memory": "200Gi",
    "count/jobs.batch": "40",
}


def run(
    folder: Path, change: Callable[[World], None], *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]], list[dict[str, Any]]]:
    """The suite in a lab that was changed: its end, its checks, and the Jobs that it made."""
    with Lab(patience=3, change=change) as lab:
        ended = processes.run_checks(
            "--inventory",
            lab.inventory,
            "--report-dir",
            folder,
            *arguments,
            env=processes.environment(**environment),
        )
        posted = [one for one in lab.requests if one.method == "POST" and one.path.endswith("/jobs")]
    checks = json.loads((folder / "preflight.json").read_text())["checks"]
    return ended, checks, [json.loads(one.body) for one in posted]


def pods_of(jobs: list[dict[str, Any]], *vantages: str) -> list[dict[str, Any]]:
    """The pod templates' specs of the Jobs with these vantages."""
    key = "preflight.gitlab-runner/vantage"
    return [one["spec"]["template"]["spec"] for one in jobs if one["metadata"]["labels"][key] in vantages]


def test_under_restricted_admission_all_but_docker_is_judged(tmp_path: Path) -> None:
    ended, checks, jobs = run(tmp_path, lambda world: world.cluster.enforce(NAMESPACE, "restricted"))
    assert ended.returncode == 1
    failed = {one["id"] for one in checks if one["verdict"] == "fail"}
    assert failed == {"test_the_api_admits_a_job_pod"}, "jobs themselves are not restricted"
    assert {one["section"].split(".")[0] for one in checks if one["verdict"] == "blocked"} == {"5"}
    assert not [one for one in checks if one["verdict"] == "unknown"]
    judged = {one["id"] for one in checks if one["verdict"] == "pass"}
    assert {
        "test_job_pods_on_each_worker_reach_gitlab",
        "test_each_resolver_answers_job_pods_on_each_worker",
        "test_job_pods_on_each_worker_pull_the_image",
        "test_exec_works_on_each_worker",
    } <= judged
    assert len(jobs) == len(pods_of(jobs, "pod", "exec")) == 6, "two pods a worker, and none for Docker"


def test_they_work_under_a_quota_that_demands_requests_and_limits(tmp_path: Path) -> None:
    def demanding(world: World) -> None:
        world.cluster.add(quota(NAMESPACE, "compute", QUOTA))
        world.values_edits[HELPER] = HELPER + HELPER_LIMITS

    ended, checks, jobs = run(tmp_path, demanding)
    assert ended.returncode == 0, ended.stdout
    assert not [one for one in checks if one["verdict"] in {"fail", "unknown", "blocked"}]
    assert len(jobs) == 9
    for spec in pods_of(jobs, "pod", "exec", "dind"):
        for container in spec["containers"]:
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) >= {"cpu", "memory"}, container["name"]
    for spec in pods_of(jobs, "pod", "exec"):
        assert violations(spec, "restricted") == ""
    assert all("privileged" in violations(spec, "baseline") for spec in pods_of(jobs, "dind")), "as the values say"


def test_where_jobs_lack_limits_that_a_quota_demands_ours_run_all_the_same(tmp_path: Path) -> None:
    def demanding(world: World) -> None:
        world.cluster.add(quota(NAMESPACE, "compute", QUOTA))

    ended, checks, jobs = run(tmp_path, demanding, "--effect", "probe")
    assert ended.returncode == 1
    told = {one["id"]: one["cause"] for one in checks if one["verdict"] == "fail"}
    assert list(told) == ["test_the_api_admits_a_job_pod"]
    assert "must specify limits.cpu for: helper" in told["test_the_api_admits_a_job_pod"]
    assert len(jobs) == 6
    assert not [one for one in checks if one["verdict"] in {"unknown", "blocked"}]


def test_they_tolerate_and_select_what_the_values_do(tmp_path: Path) -> None:
    def dedicated(world: World) -> None:
        for node in world.workers:
            world.cluster.taint(node.name, "dedicated", "ci")
            world.cluster.set_labels("nodes", "", node.name, {"node-pool": "ci"})
        tolerations = '        [runners.kubernetes.node_tolerations]\n          "dedicated=ci" = "NoSchedule"\n'
        selector = '        [runners.kubernetes.node_selector]\n          node-pool = "ci"\n'
        world.values_edits[DNS] = tolerations + selector + DNS

    ended, checks, jobs = run(tmp_path, dedicated)
    assert ended.returncode == 0, ended.stdout
    assert not [one for one in checks if one["verdict"] in {"fail", "unknown", "blocked"}]
    for spec in pods_of(jobs, "pod", "exec", "dind"):
        assert spec["nodeSelector"] == {"node-pool": "ci"}
        wanted = {"key": "dedicated", "operator": "Equal", "value": "ci", "effect": "NoSchedule"}
        assert wanted in spec["tolerations"]


def test_neither_other_runs_pods_nor_the_ci_job_around_us_are_counted(tmp_path: Path) -> None:
    """A pod of another run on each worker, and the pod of the very job that this run is a part of."""
    own = job_pod("k8s-worker-1", job=4711)

    def busy(world: World) -> None:
        for node in world.workers:
            requests = {"cpu": "110m", "memory": "160Mi"}
            name = f"preflight-0badc0de-dind-{node.name}"
            other = pod(NAMESPACE, f"{name}-x", node=node.name, requests=requests, limits=requests, labels=OURS)
            other["metadata"]["ownerReferences"] = [{"kind": "Job", "name": name, "controller": True, "uid": name}]
            world.cluster.add(other)
        world.cluster.add(own)

    chosen = ("--require-idle", "--effect", "probe", "-m", "headroom or upgrade or monitoring or release")
    ended, checks, _ = run(tmp_path, busy, *chosen, CI_JOB_ID="4711", HOSTNAME=own["metadata"]["name"])
    assert ended.returncode == 0, ended.stdout
    verdicts = {one["id"]: one["verdict"] for one in checks}
    assert verdicts["test_all_concurrent_jobs_fit"] == "pass"
    assert verdicts["test_no_jobs_are_running"] == "pass"
    ended, checks, _ = run(tmp_path, busy, *chosen, CI_JOB_ID="4712")
    failed = {one["id"] for one in checks if one["verdict"] == "fail"}
    assert failed == {"test_no_jobs_are_running"}, "somebody else's job counts"
