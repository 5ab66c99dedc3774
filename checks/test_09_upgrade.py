"""9 Upgrade: the new version fits GitLab and the installed release, nothing prevents it, and there is a way back."""

import pytest

from preflight.facts import Backup, Release, RunningJobs, TargetVersion


def test_runner_is_not_newer_than_gitlab(target_version: TargetVersion) -> None:
    """9.1.1 The runner version of chart and values is not newer than GitLab's, and has its major version.

    Why: a runner may be somewhat older than GitLab; that a newer one works with it is not supported.
    Remedy: upgrade GitLab first, or use the chart and `image.tag` for GitLab's own major and minor version.
    """
    assert not target_version.fault


def test_upgrade_goes_forward(upgrade_direction: Release) -> None:
    """9.1.2 The chart to be installed is not older than the installed one.

    Why: an older chart may interpret the values in another way than intended.
    Remedy: correct `runner.chart`; to go back on purpose, use `helm rollback RELEASE REVISION`.
    """
    assert not upgrade_direction.fault


@pytest.mark.advice(unless="require_idle")
def test_no_jobs_are_running(running_jobs: RunningJobs) -> None:
    """9.1.3 No jobs are running.

    Why: an upgrade replaces every manager; jobs that are still running after its grace period fail as a runner system
        failure.
    Remedy: pause the runner in GitLab and wait for its jobs, or set `shutdown_timeout` so that managers wait for them.
    """
    assert not running_jobs.fault


def test_release_is_backed_up(release_backup: Backup) -> None:
    """9.3.1 The release's values and its whole record are written to the folder of `--backup`.

    Why: rolling back a failed upgrade needs what was deployed before, including the token.
    Remedy: name a folder with `--backup DIR`, outside reports/: the backup contains secrets.
    """
    assert release_backup.files
