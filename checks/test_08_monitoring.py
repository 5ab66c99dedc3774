"""8 Monitoring: the managers serve metrics, GitLab accepts their polls, and no warning events concern them."""

import pytest

from preflight.facts import ManagerActivity, ManagerMetrics, Warnings


@pytest.mark.advice
def test_no_warning_events_concern_the_managers(manager_warnings: Warnings) -> None:
    """8.1.1 No warning events concerned the runner's managers within the last hour.

    Why: failed probes, pulls and mounts appear in events before they show in GitLab, and events expire after an hour.
    Remedy: read them in order: `kubectl -n NAMESPACE get events --sort-by=.lastTimestamp --field-selector
        type=Warning`.
    """
    assert not manager_warnings.fault


def test_each_manager_serves_metrics(manager_metrics: ManagerMetrics) -> None:
    """8.4.1 Each manager serves its metrics on the port of the values.

    Why: Prometheus scrapes each pod, and only the metrics show how GitLab answers the managers. The guide's
        port-forward shows one manager of several.
    Remedy (metrics-off): the running managers were installed without `metrics.enabled: true` (the default is false):
        upgrade the release with these values, and let the managers restart.
    Remedy (metrics-garbled): find out what listens there instead: check `metrics.port` in the values, a sidecar,
        another image.
    Remedy: make `kubectl get --raw` of the pod's proxy show `gitlab_runner_version_info`.
    """
    assert not manager_metrics.fault


def test_each_manager_runs_the_version_of_its_image(manager_version: ManagerMetrics) -> None:
    """8.4.2 Each manager reports the version of its image's tag.

    Why: a mirror may have another image under that tag, and then every other result is about another version.
    Remedy (wrong-version): copy the image to the mirror again, by digest, and restart the managers.
    Remedy: compare `gitlab_runner_version_info` with `image.tag` in the values.
    """
    assert not manager_version.fault


def test_gitlab_accepts_the_managers_polls(manager_polls: ManagerActivity) -> None:
    """8.4.3 GitLab accepts the managers' polls for jobs.

    Why: a manager whose polls are rejected stays Running and Ready, but gets no jobs (its probe only checks the
        process). Polls that failed earlier are counted a second time: only what is added meanwhile is the present.
    Remedy (polls-rejected): the runner was deleted in GitLab or its token reset: create a runner, put its new token
        into `runnerToken`, and upgrade the release.
    Remedy (polls-failed): see 2.4 for the path from the workers to GitLab, and the managers' logs for the error.
    Remedy: make `gitlab_runner_api_request_statuses_total{endpoint="request_job",status="204"}` increase.
    """
    assert not manager_polls.fault
