"""A run of pytest beside other plugins: each check is judged once, here, and by the suite."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import processes
from tests.core.test_plugin import check, environment, guide, verdicts

__all__ = ["guide"]  # a fixture


def run(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the checks with every plugin that is installed."""
    words = ("pytest", "checks", "--inventory", "inventory.yaml", *arguments)
    return processes.run(*words, cwd=project, env={**environment(project), **variables}, timeout=60)


def plugin(project: Path, code: str) -> None:
    """Give the checks a conftest of somebody else."""
    (project / "checks" / "conftest.py").write_text(f"import pytest\n{code}")


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["-n", "2"], {}),
        (["-d", "--tx", "2*popen"], {}),
        (["--looponfail"], {}),
        ([], {"PYTEST_ADDOPTS": "-n 2 --dist loadfile"}),
    ],
)
def test_checks_run_in_one_process_and_are_measured_once(
    guide: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    check(guide, "well", "ill", "thing")
    ended = run(guide, *arguments, **variables)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "INTERNALERROR" not in ended.stdout
    assert ended.stdout.count("note: pytest-xdist is switched off: the suite measures in parallel by itself") == 1
    assert "NO GO: 1 failed, 2 passed" in ended.stdout
    assert (guide / "cleaned").is_file(), "in the process that measured"


def test_processes_without_an_environment_are_refused_in_one_sentence(guide: Path) -> None:
    check(guide, "well")
    ended = processes.run("pytest", "checks", "-n", "2", cwd=guide, env=environment(guide), timeout=60)
    assert ended.returncode == 4
    assert ended.stderr.startswith("ERROR: Say which environment to check:")
    assert "INTERNALERROR" not in ended.stdout


def test_a_time_limit_of_pytest_ends_no_check(guide: Path) -> None:
    check(guide, "well", "ill")
    ended = run(guide, "--timeout", "0.00001", "--timeout-method", "signal")
    assert "note: pytest-timeout does not apply to checks: the inventory's `deadlines` bound them" in ended.stdout
    assert "NO GO: 1 failed, 1 passed" in ended.stdout, ended.stdout


def test_whoever_shuffles_them_checks_run_in_the_guides_order(guide: Path) -> None:
    check(guide, "thing", module="test_02_4_dns")
    check(guide, "well", "absent", module="test_02_1_gitlab")
    plugin(
        guide,
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_collection_modifyitems(items):\n    items.reverse()\n",
    )
    assert run(guide).returncode == 0
    assert list(verdicts(guide)) == ["test_well_is_right", "test_absent_is_right", "test_thing_is_right"]


def test_what_checks_need_of_pytest_can_not_be_blocked(guide: Path) -> None:
    check(guide, "well")
    ended = run(guide, "-p", "no:skipping")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.strip().startswith("ERROR: -p no:skipping: leave it out")


def test_without_pytests_report_in_xml_the_others_are_written(guide: Path) -> None:
    check(guide, "well")
    assert run(guide, "-p", "no:junitxml").returncode == 0
    assert {file.name for file in (guide / "reports").iterdir()} == {"preflight.html", "preflight.json"}
