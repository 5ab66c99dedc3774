"""The stages of a release's life, as an operator runs them: before, between and after."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.test_lab_faults import named, run

GONE = "release-missing"  # in a lab where nothing is installed
MINE = "release or upgrade or uninstall"


def test_an_emptied_lab_has_nothing_left(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--lab-fault", GONE, "--stage", "uninstalled")
    assert ended.returncode == 0, ended.stdout
    assert named(report, "advice") == {"test_the_runner_is_gone_from_gitlab"}, "Helm does not know GitLab's record"
    assert {entry["verdict"] for entry in report["checks"]} == {"pass", "advice"}
    assert {entry["section"].split(".")[0] for entry in report["checks"]} == {"10"}, "nothing else is checked by then"


def test_an_installed_release_is_what_is_left(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--stage", "uninstalled", "-v")
    assert ended.returncode == 1
    failed = named(report, "fail")
    assert {"test_no_release_record_is_left", "test_no_object_of_the_release_is_left"} == failed
    assert "deployment/gitlab-runner" in ended.stdout
    assert "sh.helm.release.v1.gitlab-runner.v2" in ended.stdout


def test_before_an_installation_nothing_is_there(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--lab-fault", GONE, "--stage", "install", "-m", MINE)
    assert ended.returncode == 0, ended.stdout
    assert "test_nothing_is_installed_yet" in named(report, "pass")


def test_before_an_installation_a_release_is_in_the_way(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--stage", "install", "-m", MINE)
    assert ended.returncode == 1
    assert named(report, "fail") == {"test_nothing_is_installed_yet"}
    assert "revision 2 is deployed" in ended.stdout


def test_without_a_stage_an_empty_namespace_is_no_failure(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--lab-fault", GONE, "-m", "release")
    assert ended.returncode == 0, ended.stdout
    assert "test_release_is_deployed" in named(report, "not applicable")


def test_what_an_upgrade_will_change_is_reported(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--lab-fault", "upgrade-skew", "--stage", "upgrade", "-m", MINE)
    assert ended.returncode == 1
    check = next(entry for entry in report["checks"] if entry["id"] == "test_release_values_match_the_files")
    assert check["verdict"] == "not applicable"
    assert "will change 1 values: image.tag is alpine-v18.3.0, the values files say alpine-v18.4.0" in check["reason"]


def test_running_jobs_are_advice_without_require_idle(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--lab-fault", "jobs-running", "-m", "upgrade")
    assert ended.returncode == 0, ended.stdout
    assert named(report, "advice") == {"test_no_jobs_are_running"}


def test_a_backup_is_written_for_its_owner_and_its_secrets_are_in_no_report(tmp_path: Path) -> None:
    token = "YOUR_RUNNER_TOKEN_HERE"
    ended, _ = run(tmp_path / "reports", "--lab", "-m", MINE, "--backup", str(tmp_path / "backup"))
    assert ended.returncode == 0, ended.stdout
    values, whole = sorted((tmp_path / "backup").iterdir(), key=lambda path: path.suffix, reverse=True)
    assert token in values.read_text() or "glrt-" in values.read_text()
    assert json.loads(whole.read_text())["info"]["status"] == "deployed"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (values, whole)} == {0o600}
    written = "".join(path.read_text() for path in (tmp_path / "reports").iterdir())
    assert token not in written + ended.stdout


def test_a_backup_is_not_written_among_the_reports(tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "-m", MINE, "--backup", str(tmp_path / "backup"))
    assert (ended.returncode, report) == (4, {})
    assert "a backup holds secrets" in ended.stderr
    assert not (tmp_path / "backup").exists()
