"""`--lab` gives a run the lab's inventory; what cannot be meant is a usage error."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
PROJECT = Path(__file__).parents[2]

CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--inventory")

def pytest_configure(config):
    print("INVENTORY", config.option.inventory)

pytest_plugins = ["lab.plugin"]
"""
TEST = """
import pathlib, threading

def test_here(pytestconfig):
    assert pathlib.Path(pytestconfig.option.inventory).is_file()
    assert any(thread.name == "lab" for thread in threading.enumerate())
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    for name in ("inventory.yaml", "gitlab-runner-values.yaml"):
        (pytester.path / name).write_text((PROJECT / name).read_text())
    pytester.makepyfile(TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # Where the package is installed, its plugin brings the options itself that the stand-in above has.
    return project.runpytest_subprocess("-p", "no:lab.suite", "-p", "no:cacheprovider", "-s", *arguments)


def test_the_lab_s_inventory_is_the_run_s(project: pytest.Pytester) -> None:
    result = run(project, "--lab", "--lab-fault", "dns-one-silent", "--lab-latency", "0.01")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["INVENTORY */inventory.yaml"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lab", "--inventory", "x.yaml"], "*--lab and --inventory are mutually exclusive*"),
        (["--lab", "--lab-fault", "dns-on-silent"], "*did you mean dns-one-silent*python -m lab faults*"),
        (["--lab-fault", "dns-one-silent"], "*add --lab*"),
        (["--lab", "--lab-latency=-1"], "*expected seconds, 0 or more*"),
        (["--lab", "--lab-latency=nan"], "*expected seconds, 0 or more*"),
        (["--lab", "--lab-latency=soon"], "*invalid float value*"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(project: pytest.Pytester, arguments: list[str], says: str) -> None:
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


def test_collecting_starts_nothing(project: pytest.Pytester) -> None:
    result = run(project, "--lab", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["INVENTORY */inventory.yaml"])
