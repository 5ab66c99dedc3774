"""10 Uninstall: with `--stage uninstalled`, nothing of the release is left."""

import pytest

from preflight.facts import Leftovers


@pytest.mark.stage("uninstalled")
def test_no_release_record_is_left(leftover_records: Leftovers) -> None:
    """10.1.1 Helm has no record of the release.

    Why: a leftover record keeps the release's name in use, and the runner's token readable.
    Remedy: `helm uninstall RELEASE` without `--keep-history`; if Helm does not find it any more, delete the Secrets
        `sh.helm.release.v1.RELEASE.*`.
    """
    assert not leftover_records.fault


@pytest.mark.stage("uninstalled")
def test_no_object_of_the_release_is_left(leftover_objects: Leftovers) -> None:
    """10.1.2 No object of the release is left in its namespace.

    Why: a forgotten service account, role or volume claim is a right or a cost without an owner.
    Remedy: check who created the named objects, then delete them: `kubectl delete KIND NAME`.
    """
    assert not leftover_objects.fault


@pytest.mark.stage("uninstalled")
def test_no_job_pod_is_left(leftover_jobs: Leftovers) -> None:
    """10.1.3 No pod of a job is left.

    Why: a manager that was removed during a job no longer removes that job's pod, which keeps using its node.
    Remedy: `kubectl delete pods -l job.runner.gitlab.com/pod` in the jobs' namespace.
    """
    assert not leftover_jobs.fault


@pytest.mark.advice
@pytest.mark.stage("uninstalled")
def test_the_runner_is_gone_from_gitlab(leftover_runner: Leftovers) -> None:
    """10.1.4 GitLab has no record of the runner any more.

    Why: `helm uninstall` removes only its managers; the record and its token stay valid until somebody deletes them.
    Remedy: delete the runner in GitLab's Admin area, under CI/CD → Runners, unless it will be installed again.
    """
    assert not leftover_runner.fault
