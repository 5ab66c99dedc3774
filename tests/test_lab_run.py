"""The whole suite against a lab that outlives the run, so that its records and what is left in it can be looked at."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from tests import processes

PROJECT = Path(__file__).parents[1]
OURS = "app.kubernetes.io/managed-by=gitlab-runner-preflight"


def run(lab: Lab, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run_checks("--inventory", lab.inventory, "--report-dir", folder, *arguments)


def interpreter(lab: Lab, folder: Path, output: Path) -> processes.Process:
    """A run that an interpreter of its own has started, as an operator's shell does, while it goes on."""
    with output.open("w") as file:
        return processes.start(
            *("pytest", "checks/", "--inventory", lab.inventory, "--report-dir", folder, "-p", "no:cacheprovider"),
            stdout=file,
            stderr=subprocess.STDOUT,
            interpreter=True,
        )


def ours(lab: Lab) -> list[str]:
    """What is in the lab's API with our label."""

    def listed(world: Any) -> list[str]:
        return [
            f"{resource} {item['metadata']['name']}"
            for resource in ("jobs", "pods")
            for item in world.cluster.each(resource)
            if item["metadata"].get("labels", {}).get(OURS.split("=", maxsplit=1)[0]) == OURS.split("=")[1]
        ]

    return lab.change(listed)


def others(lab: Lab) -> set[str]:
    """Every other pod and Job."""

    def listed(world: Any) -> set[str]:
        return {
            f"{resource} {item['metadata']['namespace']}/{item['metadata']['name']}"
            for resource in ("jobs", "pods")
            for item in world.cluster.each(resource)
            if item["metadata"].get("labels", {}).get(OURS.split("=", maxsplit=1)[0]) != OURS.split("=")[1]
        }

    return lab.change(listed)


def test_looking_at_dns_alone_makes_no_privileged_pod(tmp_path: Path) -> None:
    with Lab(patience=3) as lab:
        ended = run(lab, tmp_path, "-m", "dns")
        made = [json.loads(one.body) for one in lab.requests if one.method == "POST" and one.path.endswith("/jobs")]
        asked = {one.server for one in lab.requests}
        fetched = [one for one in lab.requests if one.server == "gitlab"]
    assert ended.returncode == 0, ended.stdout
    assert len(made) == 3, "one pod a worker"
    for job in made:
        text = json.dumps(job)
        assert '"privileged": true' not in text
        assert "dockerd" not in text
        assert job["metadata"]["labels"]["preflight.gitlab-runner/vantage"] == "pod"
    assert not any("dind" in one["metadata"]["name"] for one in made)
    assert {f"dns {address}" for address in ("10.0.0.2", "10.1.0.251", "10.1.0.252")} <= asked
    assert not fetched, "GitLab is none of DNS's business"


READING = {
    "kubernetes": re.compile(r"POST /apis/authorization\.k8s\.io/v1/\S*accessreviews$"),
    "gitlab": re.compile(r"POST /api/v4/runners/verify$"),
}
"""What is no GET and yet changes nothing: questions of rights, and a token that is nobody's."""


def changing(lab: Lab, *, servers: str) -> list[str]:
    """What the servers were asked that is more than reading; the names of servers are a pattern."""
    asked = [one for one in lab.requests if re.match(servers, one.server) and one.method not in {"GET", "HEAD"}]
    written = [(one.server, f"{one.method} {one.path}") for one in asked]
    return [words for server, words in written if not READING.get(server, re.compile("(?!)")).match(words)]


def test_reading_alone_makes_nothing(tmp_path: Path) -> None:
    with Lab(patience=3) as lab:
        ended = run(lab, tmp_path, "--effect", "read")
        changed = changing(lab, servers="kubernetes|gitlab|registry")
        verified = [one.body for one in lab.requests if one.path.endswith("/runners/verify")]
        token = lab.change(lambda world: world.configured_token)
    assert ended.returncode == 0, ended.stdout
    assert changed == []
    assert verified
    assert token.strip() not in "".join(verified), "the real token makes a manager: only a bogus one is shown"
    assert "(effect read)" in ended.stdout


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A healthy lab after a run of every effect but writing."""
    with Lab(patience=3) as lab:
        before = others(lab)
        ended = run(lab, tmp_path_factory.mktemp("reports"))
        assert ended.returncode == 0, ended.stdout
        yield lab
        assert others(lab) == before


def test_only_what_writes_leaves_the_read_only_world_of_gitlab_and_the_registries(healthy: Lab) -> None:
    assert changing(healthy, servers="kubernetes")
    assert changing(healthy, servers="gitlab|registry") == []


def test_nothing_of_a_run_is_left(healthy: Lab) -> None:
    assert ours(healthy) == []


def test_job_pods_are_bounded_labelled_and_restricted(healthy: Lab) -> None:
    made = [json.loads(one.body) for one in healthy.requests if one.method == "POST" and one.path.endswith("/jobs")]
    assert len(made) == 9, "a job's pod, one to run commands in, and one with Docker, on each of three workers"
    for job in made:
        assert job["spec"]["backoffLimit"] == 0
        assert job["spec"]["activeDeadlineSeconds"] > 0
        assert job["spec"]["ttlSecondsAfterFinished"] > 0
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert labels["preflight.gitlab-runner/run"]
        spec = job["spec"]["template"]["spec"]
        for container in spec["containers"]:
            assert set(container["resources"]) == {"requests", "limits"}
            if labels["preflight.gitlab-runner/vantage"] == "pod":
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    with Lab(faults=["dind-slow"], patience=3) as lab:
        before = others(lab)
        process = interpreter(lab, tmp_path / "reports", tmp_path / "output")
        end = time.monotonic() + 40
        while not any("dind" in name for name in ours(lab)) and time.monotonic() < end:
            time.sleep(0.05)
        assert any("dind" in name for name in ours(lab)), "the run never came to make a pod"
        process.send_signal(how)
        assert process.wait(60) == 2, (tmp_path / "output").read_text()
        assert ours(lab) == []
        assert others(lab) == before
    report = json.loads((tmp_path / "reports" / "preflight.json").read_text())
    assert report["exit"] == 2
    assert (tmp_path / "reports" / "preflight.html").exists()
    assert (tmp_path / "reports" / "preflight.xml").exists()


def test_the_cluster_cleans_itself_after_a_kill(tmp_path: Path) -> None:
    with Lab(faults=["dind-slow"], patience=3) as lab:
        process = interpreter(lab, tmp_path / "reports", tmp_path / "output")
        end = time.monotonic() + 40
        while not any("dind" in name for name in ours(lab)) and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
        process.wait(10)
        left = ours(lab)
        assert left

        def deadlines(world: Any) -> list[tuple[int, int]]:
            return [
                (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"])
                for job in world.cluster.each("jobs")
            ]

        for deadline, ttl in lab.change(deadlines):
            assert 0 < deadline <= 240, "the inventory's deadline for a pod, and a little more"
            assert 0 < ttl <= 300


def test_an_unknown_fault_is_a_usage_error(tmp_path: Path) -> None:
    ended = processes.run_checks("--lab", "--lab-fault", "dns-one-silnt", "--report-dir", tmp_path, timeout=60)
    assert ended.returncode == 4
    assert "dns-one-silent" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_worker_thread_comes_to_the_same_end(tmp_path: Path) -> None:
    with Lab(patience=3) as lab:
        ended = run(lab, tmp_path, "--workers", "1", "-m", "dns or gitlab or cluster")
    assert ended.returncode == 0, ended.stdout


def test_no_report_holds_a_secret_of_the_lab(tmp_path: Path) -> None:
    """The tokens, the API token, the registry's password and the SSH key stand nowhere."""
    with Lab(faults=["registry-auth", "gitlab-502"], patience=3) as lab:
        folder = lab.inventory.parent
        secrets = [re.findall(r"token: (\S+)", (folder / "kubeconfig").read_text())[0]]
        secrets.append((folder / "gitlab-token").read_text().strip())
        secrets += [line for line in (folder / "id_ed25519").read_text().splitlines() if len(line) > 40][:1]

        def passwords(world: Any) -> list[str]:
            return [password for one in world.registries.values() for password in one.accounts.values()]

        secrets += lab.change(passwords)
        secrets += lab.change(lambda world: [runner.token for runner in world.gitlab.runners])
        ended = run(lab, tmp_path, "-vv", "--showlocals")
    everything = ended.stdout + ended.stderr + "".join(file.read_text() for file in tmp_path.iterdir())
    assert len(secrets) >= 6
    for secret in secrets:
        assert secret not in everything
