"""What `tox -e e2e` runs stays apart from the other tests, says what it needs, and holds in the lab."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.lab import Lab
from preflight import jobsettings
from preflight import values as helm
from tests import processes
from tests.e2e import fate as fates
from tests.e2e.fate import Fate, Row
from tests.probes.servers import Asked, Said, web_server

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "e2e.md"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PREFLIGHT", "KUBECONFIG"))}
    return processes.run("pytest", "-q", *processes.WITHOUT_PLUGINS, *arguments, env=clean | environment, timeout=240)


def test_it_is_not_collected_unless_asked_for() -> None:
    skipped = [f"--ignore=tests/{name}" for name in ("lab", "probes", "core", "system")]
    default = run("tests", "--collect-only", *skipped).stdout
    assert "tests/test_docs.py" in default
    assert "tests/e2e" not in default
    assert "tests/e2e" in run("tests", "--collect-only", *skipped, PREFLIGHT_E2E="1").stdout


def test_it_says_what_it_needs() -> None:
    ended = run("tests/e2e", PREFLIGHT_E2E="1")
    assert ended.returncode == 4
    assert "needs KUBECONFIG and PREFLIGHT_INVENTORY" in ended.stdout + ended.stderr


def test_a_kubeconfig_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with Lab() as lab:
        other = yaml.safe_load((lab.inventory.parent / "kubeconfig").read_text())
        other["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        (tmp_path / "other").write_text(yaml.safe_dump(other))
        environment = {"KUBECONFIG": str(tmp_path / "other"), "PREFLIGHT_INVENTORY": str(lab.inventory)}
        ended = run("tests/e2e", PREFLIGHT_E2E="1", **environment)
    assert ended.returncode == 4
    assert "can't look at the cluster" in ended.stdout + ended.stderr


def test_it_holds_in_the_lab(tmp_path: Path) -> None:
    """All but what needs a run of its own: tests/test_lab_run.py has that."""
    quick = "not interrupted and not killed and not reading and not fate"
    with Lab(patience=3) as lab:
        environment = {
            "KUBECONFIG": str(lab.inventory.parent / "kubeconfig"),
            "PREFLIGHT_INVENTORY": str(lab.inventory),
        }
        ended = run("tests/e2e", "-k", quick, PREFLIGHT_E2E="1", **environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 passed" in ended.stdout


def test_what_is_red_needs_a_reason_and_a_reason_needs_red(tmp_path: Path) -> None:
    listed = {"test_metrics_api_answers": "this cluster has none", "test_node_is_ready": "no longer true"}
    (tmp_path / "reasons.yaml").write_text(yaml.safe_dump(listed))
    with Lab(["metrics-missing"], patience=3) as lab:
        environment = {
            "KUBECONFIG": str(lab.inventory.parent / "kubeconfig"),
            "PREFLIGHT_INVENTORY": str(lab.inventory),
        }
        environment |= {"PREFLIGHT_E2E_EFFECT": "read", "PREFLIGHT_E2E_REASONS": str(tmp_path / "reasons.yaml")}
        ended = run("tests/e2e", "-k", "listed", PREFLIGHT_E2E="1", **environment)
    assert ended.returncode == 1
    assert "these pass: take them out of $PREFLIGHT_E2E_REASONS: ['test_node_is_ready']" in ended.stdout


USUAL = Fate(succeeded=True, seconds=6)
STOPS, SLOWS = ("gitlab-unreachable", "stops all jobs"), ("packets-lost", "slows jobs on w")
PARTLY = ("node-path-blocked", "stops jobs on w")


@pytest.mark.parametrize(
    ("verdict", "causes", "fate", "contradictions"),
    [
        ("GO", (), USUAL, 0),
        ("GO", (), Fate(succeeded=False, seconds=180), 1),
        ("DEGRADED", (SLOWS,), Fate(succeeded=True, seconds=60), 0),
        ("DEGRADED", (SLOWS,), Fate(succeeded=False, seconds=180), 1),
        ("NO GO", (STOPS,), Fate(succeeded=False, seconds=180), 0),
        ("NO GO", (STOPS,), USUAL, 1),
        ("NO GO", (STOPS,), Fate(succeeded=True, seconds=120), 0),  # it came through, and not as usual
        ("NO GO", (PARTLY,), USUAL, 0),  # it ran elsewhere
        ("NO GO", (PARTLY,), Fate(succeeded=False, seconds=180), 0),
        ("NO GO", (SLOWS,), USUAL, 1),
        ("INCONCLUSIVE", (), Fate(succeeded=False, seconds=180), 1),
    ],
)
def test_verdict_and_fate_contradict_each_other(
    verdict: str, causes: tuple[tuple[str, str], ...], fate: Fate, contradictions: int
) -> None:
    assert len(Row("f", verdict, causes, 40, fate).contradictions(USUAL)) == contradictions


def test_the_table_has_a_line_for_each_fault() -> None:
    rows = [Row("healthy", "GO", (), 31, USUAL), Row("resolver-dropped", "NO GO", (STOPS, SLOWS), 104.4, USUAL)]
    assert fates.table(rows).splitlines() == [
        "fault             verdict  run    job           root causes",
        "healthy           GO       31 s   success, 6 s",
        "resolver-dropped  NO GO    104 s  success, 6 s  "
        "gitlab-unreachable (stops all jobs); packets-lost (slows jobs on w)",
    ]


@pytest.mark.parametrize(("end", "succeeded"), [("success", True), ("failed", False)])
def test_a_stand_in_gives_out_a_job(end: str, succeeded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fates, "sleep", lambda _: None)
    states = iter(["pending", "running", end])

    def answer(asked: Asked) -> Said:
        if asked.path == "/_enqueue":
            return Said(body=b'{"id": 7}')
        jobs = {} if asked.path != "/_jobs" else {"7": {"state": next(states, end)}}
        return Said(body=json.dumps(jobs).encode())

    with web_server(answer) as web:
        url = f"http://127.0.0.1:{web.port}/"
        assert fates.run_job(url, fates.JOB, patience=30).succeeded is succeeded
        assert fates.is_stand_in(url)
    assert not fates.is_stand_in(url)
    assert not fates.run_job(url, fates.JOB, patience=30).succeeded, "nobody gives out jobs any more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {break: x}", "a: expected break and mend, and wait or cause besides, found break"),
        ("a: {on: x, off: y}", "found False, True"),  # what YAML makes of these words
        ("a: x", "a: expected break and mend, and wait or cause besides, found nothing"),
        ("[a]", "expected names of faults, found list"),
    ],
)
def test_a_file_of_faults_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text(text)
    with pytest.raises(ValueError, match="faults.yaml: " + re.escape(message) if "found F" not in message else message):
        fates.faults_in(tmp_path / "faults.yaml")


def test_the_pages_faults_are_some(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "faults.yaml").write_text(next(block for block in blocks if "faults.yaml" in block))
    assert set(fates.faults_in(tmp_path / "faults.yaml")) == {"resolver-dropped", "gitlab-stopped"}


def test_a_row_is_made_of_root_causes_alone() -> None:
    drawn = [
        {"name": STOPS[0], "root_cause": True, "impact": {"harm": "stops", "jobs": "all jobs"}},
        {"name": "outside-vpc", "root_cause": False, "impact": {"harm": "no harm to jobs", "jobs": "it is so"}},
    ]
    report = {"decision": {"answer": "NO GO"}, "conclusions": drawn}
    assert Row.of("f", report, 3, USUAL) == Row("f", "NO GO", (STOPS,), 3, USUAL)


def test_the_pages_values_are_some(tmp_path: Path) -> None:
    text = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "gitlabUrl" in block
    )
    (tmp_path / "values.yaml").write_text(text)
    found = helm.load([tmp_path / "values.yaml"], release="gitlab-runner", namespace="gitlab")
    assert found.problem is None
    assert jobsettings.job_shape(found).privileged
    kind = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "kind.yaml" in block
    )
    assert [node["role"] for node in yaml.safe_load(kind)["nodes"]] == ["control-plane", "worker", "worker"]
