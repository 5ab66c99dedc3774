"""The suite as an installed package: from a folder without a clone, and with checks of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from preflight import __main__ as command_line
from preflight import shipped
from preflight.commands import images as images_command
from preflight.commands import list as list_command
from preflight.commands import run as run_command
from preflight.fact import Effect
from preflight.inventory import load
from tests import processes

PYPROJECT = tomllib.loads((processes.PROJECT / "pyproject.toml").read_text())

OWN = '''
from preflight.evidence import Evidence, Fact
from preflight.fact import fact
from preflight.faults import PathFault


@fact(effect="static")
def badge_reader(inventory):
    """The badge reader at the door."""
    return Fact(
        target="door", fault=PathFault.REFUSED, cause="the badge reader refused " + inventory.runner.release,
        evidence=Evidence(where="here", command="ls /door", observed="refused"),
    )
'''
OWN_CHECK = '''
def test_the_values_are_toml(values_toml):
    """20.1.1 The values can be read.

    Why: one that uses a shipped fact.
    Remedy: mend it.
    """
    assert not values_toml.fault


def test_the_badge_reader_lets_us_in(badge_reader):
    """20.1.2 The badge reader lets us in.

    Why: one with a probe of its own.
    Remedy (refused): ring the bell.
    Remedy: mend it.
    """
    assert not badge_reader.fault
'''


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel has, as pip lays it out: no clone is beside it."""
    folder = tmp_path_factory.mktemp("site-packages")
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in wheel["packages"]:
        shutil.copytree(processes.PROJECT / name, folder / name)
    for source, place in wheel["force-include"].items():
        copy = shutil.copytree if (processes.PROJECT / source).is_dir() else shutil.copy2
        copy(processes.PROJECT / source, folder / place)
    project = PYPROJECT["project"]
    about = folder / f"gitlab_runner_preflight-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    plugins = (f"{name} = {module}\n" for name, module in project["entry-points"]["pytest11"].items())
    (about / "entry_points.txt").write_text("".join(("[pytest11]\n", *plugins)))
    return folder


def preflight(packages: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`preflight ARGUMENT…` in a folder, with an interpreter that sees the installed packages alone."""
    environment = processes.environment(PYTHONPATH=str(packages), PYTEST_ADDOPTS="-p no:cacheprovider")
    return processes.run("preflight", *arguments, cwd=folder, env=environment, interpreter=True, timeout=120)


def verdicts(folder: Path) -> dict[str, str]:
    reports = sorted(folder.glob("reports/*.json"))
    return {check["id"]: check["verdict"] for check in json.loads(reports[0].read_text())["checks"]}


def test_the_demo_runs_in_an_empty_folder_and_reports_there(packages: Path, tmp_path: Path) -> None:
    ended = preflight(packages, tmp_path, "demo", "--effect", "static")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    judged = verdicts(tmp_path)
    assert judged["test_the_runner_reads_every_key"] == "pass"
    assert set(judged) >= {check.id for check in list_command.checks() if not check.stages}
    (page,) = tmp_path.glob("reports/*.html")
    assert "</html>" in page.read_text(), "templates come with the package"
    assert "PARTIAL: " in ended.stdout, "what needs more effects was not looked at"


def test_checks_of_ones_own_run_beside_the_guide_s(packages: Path, tmp_path: Path) -> None:
    own = tmp_path / "my_checks"
    own.mkdir()
    (own / "conftest.py").write_text(OWN)
    (own / "test_20_door.py").write_text(OWN_CHECK)
    ended = preflight(packages, tmp_path, "demo", "my_checks", "--effect", "static")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "ring the bell" in ended.stdout
    assert "the badge reader refused gitlab-runner" in ended.stdout
    judged = verdicts(tmp_path)
    assert judged["test_the_badge_reader_lets_us_in"] == "fail"
    assert judged["test_the_values_are_toml"] == "pass"
    assert judged["test_the_runner_reads_every_key"] == "pass"


def test_the_plugin_is_silent_in_other_projects(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text("def test_theirs(): pass\n")
    environment = processes.environment(PYTHONPATH=str(packages), PYTEST_ADDOPTS="-p no:cacheprovider")
    ended = processes.run("pytest", *processes.WITHOUT_PLUGINS, cwd=tmp_path, env=environment, interpreter=True)
    assert ended.returncode == 0
    printed = [line for line in ended.stdout.splitlines() if not line.startswith("plugins: ")]  # which pytest lists
    assert "preflight" not in "".join(printed)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".pyc") in (
        ["test_theirs.py"],
        ["__pycache__", "test_theirs.py"],
    )


# -- the arguments of `preflight run`


@pytest.mark.parametrize("given", [["--inventory", "prod.yaml"], ["-m", "dns"], ["my_checks/"]])
def test_the_guide_s_checks_are_added(given: list[str], tmp_path: Path) -> None:
    assert str(shipped.CHECKS) in run_command.pytest_arguments(given, folder=tmp_path)


def test_a_check_of_the_guide_that_is_named_runs_alone(tmp_path: Path) -> None:
    check = f"{shipped.CHECKS}/test_03_values.py::test_the_runner_reads_every_key"
    assert str(shipped.CHECKS) not in run_command.pytest_arguments([check], folder=tmp_path)


def test_a_configuration_that_is_named_is_kept(tmp_path: Path) -> None:
    given = run_command.pytest_arguments(["-c", "mine.ini"], folder=tmp_path)
    assert given.count("-c") == 1


# -- commands that list


def test_every_check_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["list", "--json"]) == 0
    listed = {entry["id"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert len(listed) > 140
    assert listed["test_each_resolver_answers_from_here"]["targets"] == ["resolver"]
    assert listed["test_each_resolver_answers_from_here"]["marker"] == "dns"
    assert {entry["effect"] for entry in listed.values()} == {str(effect) for effect in Effect}


def test_the_list_can_be_narrowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["list", "--effect", "static", "-m", "values"]) == 0
    printed = capsys.readouterr().out
    assert "test_the_runner_reads_every_key (static)" in printed
    assert "test_each_resolver_answers_from_here" not in printed


def test_every_image_is_listed_once_with_what_pulls_it(inventory_file: Path) -> None:
    listed = dict(images_command.images(load(inventory_file)))
    assert listed["registry.example.com/library/alpine:latest"]
    assert any("managers" in users for users in listed.values())
    assert any("helper container of every job" in users for users in listed.values())
    assert any("Docker-in-Docker service" in users for users in listed.values())


def test_an_inventory_that_can_t_be_read_ends_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["images", "--inventory", str(tmp_path / "none.yaml")]) == images_command.USAGE
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_complete_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "symptom" in script
    assert "--inventory" in script


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["version"]) == 0
    assert capsys.readouterr().out.strip() == shipped.version()
