"""9 Upgrade: what is to come fits GitLab and what is installed, nothing is in its way, and there is a way back."""

import pytest

from preflight.facts import Backup, Release, RunningJobs, TargetVersion


def test_runner_is_not_newer_than_gitlab(target_version: TargetVersion) -> None:
    """9.1.1 The runner of chart and values is not newer than GitLab, and of its major version.

    Why: a runner may be somewhat older than GitLab; of a newer one nobody promises that GitLab understands it.
    Remedy: upgrade GitLab first, or take the chart and `image.tag` of GitLab's own major and minor version.
    """
    assert not target_version.fault


def test_upgrade_goes_forward(upgrade_direction: Release) -> None:
    """9.1.2 The chart to come is not older than the one that is installed.

    Why: a chart that is older than what it replaces reads the values differently than they were meant.
    Remedy: correct `runner.chart`; to go back on purpose, use `helm rollback RELEASE REVISION`.
    """
    assert not upgrade_direction.fault


@pytest.mark.advice(unless="require_idle")
def test_no_jobs_are_running(running_jobs: RunningJobs) -> None:
    """9.1.3 No jobs are running.

    Why: an upgrade replaces every manager; the jobs of one that does not end in time fail as a runner system failure.
    Remedy: pause the runner in GitLab and wait for its jobs, or set `shutdown_timeout` so that managers wait for them.
    """
    assert not running_jobs.fault


def test_release_is_backed_up(release_backup: Backup) -> None:
    """9.3.1 The release's values and its whole record are written to the folder of `--backup`.

    Why: the way back from an upgrade that went wrong is what was deployed before, token and all.
    Remedy: name a folder of yours with `--backup DIR`, outside of reports/: what is written holds secrets.
    """
    assert release_backup.files
