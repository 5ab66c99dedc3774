"""What is in deploy/ fits the code: options, paths, variables, users."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import processes

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "deploy"
PAGE = PROJECT / "docs" / "deploy.md"
TO_COME: set[str] = set()
"""Options that the template names ahead of the suite: it passes them only where somebody asks for them."""


@cache
def options() -> set[str]:
    """Every option that pytest has in this project."""
    help_text = processes.run_checks("--help")
    assert help_text.returncode == 0
    return set(re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z-]+)", help_text.stdout, re.MULTILINE))


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "preflight.gitlab-ci.yml").read_text())
    return loaded


def lines() -> list[str]:
    """The Dockerfile's instructions, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_gate_names_options_that_there_are() -> None:
    jobs = [job for name, job in template().items() if name != "variables"]
    script = "\n".join(line for job in jobs for line in job.get("script", ()) if "pytest" in line)
    given = script + " ".join(job.get("variables", {}).get("PREFLIGHT_OPTIONS", "") for job in jobs)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", given))
    assert {"--inventory", "--effect", "--report-dir", "--stage", "--require-idle"} <= named
    assert named - options() <= TO_COME
    for option in TO_COME - options():
        assert re.search(rf"if \[ -n .*\]; then\n.*{option}", script), f"{option} is passed although it is not known"


def test_the_gate_is_one() -> None:
    jobs = template()
    gate, upgrade = jobs["preflight"], jobs["upgrade"]
    assert gate["allow_failure"] is False
    assert upgrade["needs"] == ["preflight"]
    assert upgrade["when"] == "on_success"
    assert any("helm upgrade" in line for line in upgrade["script"])
    assert "|| true" not in str(jobs)
    kept = jobs[".preflight"]["artifacts"]
    assert kept["when"] == "always", "also when it fails"
    assert kept["reports"]["junit"] in kept["paths"]
    assert "reports/preflight.html" in kept["paths"]
    for name in ("preflight", "verify"):
        assert jobs[name]["extends"] == ".preflight"
    for variable in re.findall(r"\$(PREFLIGHT_\w+|HELM_\w+)", (DEPLOY / "preflight.gitlab-ci.yml").read_text()):
        assert variable in jobs["variables"]


@pytest.mark.parametrize(("fault", "status"), [("", 0), ("kube-dns-missing", 1)])
def test_the_gates_script_runs(tmp_path: Path, fault: str, status: int) -> None:
    """The script as GitLab's runner gives it to `sh`, with the project in the image's place."""
    from lab.lab import Lab

    script = template()[".preflight"]["script"][0].replace("cd /opt/preflight", f"cd '{PROJECT}'")
    script = script.replace("exec pytest", f"exec '{sys.executable}' -m pytest -p no:cacheprovider")
    with Lab([fault] if fault else [], patience=3) as lab:
        environment = {
            "CI_PROJECT_DIR": str(tmp_path),
            "HOME": str(tmp_path / "home"),
            "PREFLIGHT_INVENTORY": "prod/inventory.yaml",
            "PREFLIGHT_KUBECONFIG": str(lab.inventory.parent / "kubeconfig"),
            "PREFLIGHT_EFFECT": "read",
            "PREFLIGHT_BASELINE": "",
            "PREFLIGHT_OPTIONS": "-m cluster",
        }
        shutil.copytree(lab.inventory.parent, tmp_path / "prod")
        mine = tmp_path / "prod" / "inventory.yaml"
        mine.write_text(mine.read_text().replace("kubeconfig: kubeconfig", "kubeconfig: ~/.kube/config"))
        (tmp_path / "prod" / "kubeconfig").unlink()
        ended = subprocess.run(
            ["sh", "-eu", "-c", script],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert (tmp_path / "home" / ".kube" / "config").stat().st_mode & 0o077 == 0, "credentials are for their owner alone"
    for file in template()[".preflight"]["artifacts"]["paths"]:
        assert (tmp_path / file).stat().st_size > 0


def test_the_image_holds_what_it_needs_and_runs_as_nobody() -> None:
    dockerfile = lines()
    assert re.fullmatch(r"ARG BASE=\S+/python:3\.\d+\.\d+-\S+", dockerfile[0]), "pinned"
    assert re.fullmatch(r"ARG HELM=\S+:3\.\d+\.\d+", dockerfile[1]), "pinned"
    assert dockerfile[2:4] == ["FROM ${HELM} AS helm", "FROM ${BASE}"]
    assert "COPY --from=helm ${HELM_PATH} /usr/local/bin/helm" in dockerfile
    lowest = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    minor = re.search(r"python:3\.(\d+)", dockerfile[0])
    assert minor is not None
    assert int(minor[1]) >= int(lowest.rpartition(".")[2])
    sources = [
        word for line in dockerfile if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert {"preflight", "lab", "checks", "conftest.py", "pyproject.toml", "inventory.yaml"} <= set(sources)
    for source in sources:
        assert (PROJECT / source).exists(), source
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {f"!{source}" for source in sources} == {line for line in allowed if line.startswith("!")}
    users = [line.split()[1] for line in dockerfile if line.startswith("USER")]
    assert users
    assert users[-1].partition(":")[0] not in {"0", "root"}
    assert not any(line.startswith("ENTRYPOINT") for line in dockerfile), "GitLab CI brings a shell script"


def test_the_page_explains_each_file_and_names_commands_that_there_are() -> None:
    page = PAGE.read_text()
    for file in DEPLOY.iterdir():
        assert file.name == "Dockerfile.dockerignore" or f"deploy/{file.name}" in page
    for job in ("preflight", "upgrade", "verify"):
        assert f"`{job}`" in page
        assert job in template()
    help_text = processes.run("preflight", "init", "--help")
    assert help_text.returncode == 0
    for option in ("--kubeconfig", "--namespace", "--release", "--connect", "--force"):
        assert option in help_text.stdout
    for variable in re.findall(r"`(PREFLIGHT_[A-Z]+)`", page):
        assert variable in template()["variables"]
