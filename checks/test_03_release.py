"""3.4, 3.5, 4.1 The Helm release: the chart can be had, what is installed is what the files say, the managers work."""

import pytest

from preflight.facts import ChartVersion, Drift, ManagerConfig, ManagerLogs, ManagerPods, Release, Rollout


def test_chart_version_is_in_the_repository(chart_version: ChartVersion) -> None:
    """3.4.1 The chart repository has the version that is to be installed.

    Why: `helm install` fails without it, and without `--version` Helm takes the newest instead: another runner.
    Remedy (chart-missing): name a version that `helm search repo gitlab/gitlab-runner --versions` lists under
        `runner.chart`, or bring the mirror up to date.
    Remedy (refused, timeout, unreachable, unresolved, reset, silent): let this machine reach the repository, name a
        mirror under `runner.repository`, or write `none` where charts are installed from files.
    Remedy (tls-untrusted): name the CA under `runner.repository_ca_file`.
    Remedy: let `helm repo add gitlab REPOSITORY` succeed; `REPOSITORY/index.yaml` must be there.
    """
    assert not chart_version.fault


def test_chart_and_image_have_the_same_runner_version(chart_image: ChartVersion) -> None:
    """3.4.2 The image of the values is of the runner version that the chart is made for.

    Why: the chart's scripts, probes and configuration belong to the runner that it names as its appVersion.
    Remedy: set `image.tag` to the chart's appVersion (`helm show chart gitlab/gitlab-runner --version VERSION`), or
        leave it out; keep the flavour: `alpine-v…`, since the chart's user ids are alpine's.
    """
    assert not chart_image.fault


@pytest.mark.stage("install")
def test_nothing_is_installed_yet(release_absence: Release) -> None:
    """3.4.3 No release of this name is installed.

    Why: `helm install` refuses a name that is still in use, also one whose installation failed.
    Remedy: run with `--stage upgrade` and `helm upgrade`, or remove what is there: `helm uninstall RELEASE`.
    """
    assert not release_absence.fault


def test_release_is_deployed(release_record: Release) -> None:
    """3.4.4 The release is deployed, and no operation on it is pending or failed.

    Why: while one is pending, Helm refuses every other: "another operation (install/upgrade/rollback) is in progress".
    Remedy (release-pending): wait for the operation, if somebody is at it; if it was cut off, go back:
        `helm rollback RELEASE REVISION`, or after a first installation `helm uninstall RELEASE`.
    Remedy (release-failed): read `helm status RELEASE` and the events of the namespace, mend that, and upgrade again;
        until then `helm rollback RELEASE` brings back the last good revision.
    Remedy (release-missing): install it; if somebody else does (`kubectl apply`, Argo CD, Flux), say so under
        `runner.managed_by`.
    Remedy: let `helm status RELEASE` say `deployed`.
    """
    assert not release_record.fault


def test_release_has_the_expected_chart(release_chart: Release) -> None:
    """3.4.5 The release was installed from the chart version of the inventory.

    Why: everything that was checked of the values was checked for that version of the chart.
    Remedy: upgrade with `--version`, or correct `runner.chart`; somebody upgraded without `--version`, perhaps.
    """
    assert not release_chart.fault


def test_release_values_match_the_files(release_drift: Drift) -> None:
    """3.4.6 The values that are deployed are those of the values files, key by key.

    Why: what was changed by hand is lost with the next upgrade, and what was changed in the file alone has no effect.
    Remedy: bring the change into the values file, or roll the file out: `helm upgrade --version VERSION -f FILE`;
        `helm get values RELEASE` shows what is deployed.
    """
    assert not release_drift.fault


def test_rollout_is_complete(manager_rollout: Rollout) -> None:
    """3.5.1 The rollout of the managers is complete.

    Why: a rollout that is stuck leaves the old configuration at work beside, or instead of, the new one.
    Remedy (deployment-missing): upgrade or install the release again: its Deployment was deleted.
    Remedy (rollout-stuck): `kubectl describe pod` of the newest manager tells what it waits for: the image
        (`image.registry`, `imagePullSecrets`), a missing Secret key, room on a node.
    Remedy: let `kubectl rollout status deployment/RELEASE` come to its end.
    """
    assert not manager_rollout.fault


def test_managers_are_ready(manager_readiness: ManagerPods) -> None:
    """4.1.1 Every manager is ready, and none was restarted a short while ago.

    Why: a manager that is not there takes its share of `concurrent` with it, and one that restarts loses its jobs.
    Remedy (crash-loop, restarted): `kubectl logs --previous` of the pod tells its last words; after OOMKilled raise
        `resources.limits.memory` of the values; after failed liveness probes look at GitLab and the token.
    Remedy (too-few-managers): read the events of the ReplicaSet: quota, admission, service account.
    Remedy (scaled-down): upgrade, which brings back the values' `replicas`; a smaller number belongs into the values.
    Remedy (manager-not-ready): `kubectl describe pod` tells what it waits for.
    Remedy: let `kubectl get pods -l app=RELEASE` show all of them `1/1 Running`.
    """
    assert not manager_readiness.fault


def test_managers_log_no_failure(manager_logs: ManagerLogs) -> None:
    """4.1.2 The managers' logs tell of no refused token, no unreachable GitLab and no refused configuration.

    Why: `Ready` only means that a process is there; whether GitLab took the runner stands in the log alone, and that it
        did not (`Verifying runner... is not valid`) even without a word of error.
    Remedy (token-rejected): put the token of a runner that exists in GitLab into `runnerToken` (or the Secret of
        `runners.secret`, without a newline at its end) and upgrade.
    Remedy (gitlab-unreachable): let the pods reach `gitlabUrl`: name, route, port, certificate
        (`certsSecretName`), as the line says.
    Remedy (config-refused): correct `runners.config` as the line says; exactly one `[[runners]]`, and nothing that
        only a registration token may set.
    Remedy (wrong-user): take the image's alpine flavour (`alpine-v…`), or set `podSecurityContext` to Ubuntu's 999.
    Remedy: read `kubectl logs -l app=RELEASE --tail=50`.
    """
    assert not manager_logs.fault


def test_managers_run_the_deployed_configuration(manager_config: ManagerConfig) -> None:
    """4.1.3 Every manager's config.toml has the settings of the release, its DNS settings among them.

    Why: a manager reads its template when it starts; one that was not restarted since gives jobs the old resolvers.
    Remedy (not-restarted): `kubectl rollout restart deployment/RELEASE`; the chart does that by itself only where Helm
        changes the ConfigMap, not for what is edited or applied by hand, nor for a Secret of `runners.secret`.
    Remedy: `kubectl rollout restart deployment/RELEASE`; then look again whether `dns_policy` and
        `[runners.kubernetes.dns_config]` stand in the pod's config.toml.
    """
    assert not manager_config.fault
