"""What `tox -e e2e` runs stays apart from the other tests, says what it needs, and holds in the lab."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

from lab.lab import Lab
from preflight import values as helm
from tests import processes

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
    quick = "not interrupted and not killed and not reading"
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


def test_the_pages_values_are_some(tmp_path: Path) -> None:
    text = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "gitlabUrl" in block
    )
    (tmp_path / "values.yaml").write_text(text)
    found = helm.load([tmp_path / "values.yaml"], release="gitlab-runner", namespace="gitlab")
    assert found.problem is None
    assert helm.job_shape(found).privileged
    kind = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "kind.yaml" in block
    )
    assert [node["role"] for node in yaml.safe_load(kind)["nodes"]] == ["control-plane", "worker", "worker"]
