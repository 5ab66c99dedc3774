"""8 Monitoring: the managers give metrics, GitLab answers their polls, and the cluster has nothing to warn of."""

import pytest

from preflight.facts import ManagerMetrics, Warnings


@pytest.mark.advice
def test_no_warning_events_concern_the_managers(manager_warnings: Warnings) -> None:
    """8.1.1 The cluster has not warned of the runner's managers within the last hour.

    Why: failed probes, pulls and mounts show in events before they show in GitLab, and events are gone after an hour.
    Remedy: read them in order:
        `kubectl -n NAMESPACE get events --sort-by=.lastTimestamp --field-selector type=Warning`.
    """
    assert not manager_warnings.fault


def test_each_manager_serves_metrics(manager_metrics: ManagerMetrics) -> None:
    """8.4.1 Each manager gives its metrics on the port that the values open.

    Why: Prometheus scrapes each pod, and the managers say only there how GitLab answers them. A port-forward as the
        guide has it shows one manager of several.
    Remedy (metrics-off): the running managers were installed without `metrics.enabled: true` (the default is false):
        upgrade the release with these values, and let the managers restart.
    Remedy (metrics-garbled): look what listens there instead: `metrics.port` in the values, a sidecar, another image.
    Remedy: let `kubectl get --raw` of the pod's proxy show `gitlab_runner_version_info`.
    """
    assert not manager_metrics.fault


def test_each_manager_runs_the_version_of_its_image(manager_version: ManagerMetrics) -> None:
    """8.4.2 Each manager says that it is of the version that its image is named after.

    Why: a mirror may hold another image under that tag, and then nothing else on these pages is about version 18.3.
    Remedy (wrong-version): copy the image into the mirror once more, by digest, and restart the managers.
    Remedy: compare `gitlab_runner_version_info` with `image.tag` in the values.
    """
    assert not manager_version.fault


def test_gitlab_accepts_the_managers_polls(manager_polls: ManagerMetrics) -> None:
    """8.4.3 GitLab answers the managers' polls for jobs.

    Why: a manager whose polls are refused stays Running and Ready, and gets no job (its probe asks for a process only).
    Remedy (polls-rejected): the runner was deleted in GitLab or its token reset: create a runner, put its new token
        into `runnerToken`, and upgrade the release.
    Remedy (polls-failed): see 2.4 for the way from the workers to GitLab, and the managers' logs for the error.
    Remedy: let `gitlab_runner_api_request_statuses_total{endpoint="request_job",status="204"}` rise.
    """
    assert not manager_polls.fault
