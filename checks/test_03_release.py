"""3.4, 3.5, 4.1 The Helm release: the chart is available, the installed release matches the files, managers work."""

import pytest

from preflight.facts import (
    ChartRendering,
    ChartVersion,
    Drift,
    FetchedChart,
    ManagerConfig,
    ManagerHistory,
    ManagerLogs,
    ManagerPods,
    Release,
    ReleaseEdits,
    Rollout,
)


def test_chart_version_is_in_the_repository(chart_version: ChartVersion) -> None:
    """3.4.1 The chart repository has the version to be installed.

    Why: `helm install` fails without it, and without `--version` Helm installs the newest chart, with another runner
        version.
    Remedy (chart-missing): set `runner.chart` to a version that `helm search repo gitlab/gitlab-runner --versions`
        lists, or update the mirror.
    Remedy (refused, timeout, unreachable, unresolved, reset, silent): open the path from this machine to the
        repository, set `runner.repository` to a mirror, or to `none` if charts are installed from files.
    Remedy (tls-untrusted): set `runner.repository_ca_file` to the CA.
    Remedy: make `helm repo add gitlab REPOSITORY` succeed; `REPOSITORY/index.yaml` must be there.
    """
    assert not chart_version.fault


@pytest.mark.advice
def test_chart_and_image_have_the_same_runner_version(chart_image: ChartVersion) -> None:
    """3.4.2 The image in the values has the runner version that the chart is made for.

    Why: the chart's scripts, probes and configuration are written for the runner version in its appVersion; another one
        runs jobs, too, as long as no setting needs the newer of the two.
    Remedy: set `image.tag` to the chart's appVersion (`helm show chart gitlab/gitlab-runner --version VERSION`), or
        omit it; keep the flavour `alpine-v…`, since the chart uses Alpine's user IDs.
    """
    assert not chart_image.fault


@pytest.mark.stage("install")
def test_nothing_is_installed_yet(release_absence: Release) -> None:
    """3.4.3 No release of this name is installed.

    Why: `helm install` refuses a name that is in use, even if that installation failed.
    Remedy: run with `--stage upgrade` and use `helm upgrade`, or remove the release: `helm uninstall RELEASE`.
    """
    assert not release_absence.fault


def test_release_is_deployed(release_record: Release) -> None:
    """3.4.4 The release is deployed, and no operation on it is pending or failed.

    Why: while an operation is pending, Helm refuses every other: "another operation (install/upgrade/rollback) is in
        progress".
    Remedy (release-pending): wait for the operation, if it is still running; if it was interrupted, roll back: `helm
        rollback RELEASE REVISION`, or after a first installation `helm uninstall RELEASE`.
    Remedy (release-failed): read `helm status RELEASE` and the events of the namespace, fix the cause, and upgrade
        again; until then `helm rollback RELEASE` restores the last good revision.
    Remedy (release-missing): install it; if something else manages it (`kubectl apply`, Argo CD, Flux), set
        `runner.managed_by`.
    Remedy: make `helm status RELEASE` show `deployed`.
    """
    assert not release_record.fault


def test_release_has_the_expected_chart(release_chart: Release) -> None:
    """3.4.5 The release was installed from the chart version of the inventory.

    Why: the checks of the values apply to that version of the chart.
    Remedy: upgrade with `--version`, or correct `runner.chart`; perhaps somebody upgraded without `--version`.
    """
    assert not release_chart.fault


def test_release_values_match_the_files(release_drift: Drift) -> None:
    """3.4.6 The deployed values match the values files, key by key.

    Why: a change by hand is lost with the next upgrade, and a change in the file alone has no effect.
    Remedy: add the change to the values file, or roll the file out: `helm upgrade --version VERSION -f FILE`; `helm get
        values RELEASE` shows what is deployed.
    """
    assert not release_drift.fault


def test_chart_package_is_available(chart_package: FetchedChart) -> None:
    """3.4.7 The chart's package can be fetched.

    Why: Helm installs and upgrades from it; its keys and templates decide what is read of the values.
    Remedy (refused, timeout, unreachable, unresolved, reset, silent): open the path from this machine to the host that
        the cause names, or write the path of a package into `runner.chart`.
    Remedy (http-status, unauthorized, denied): set `runner.repository_credentials`.
    Remedy: make `helm pull gitlab-runner --repo REPOSITORY --version VERSION` succeed.
    """
    assert not chart_package.fault


def test_chart_renders_with_the_values(chart_rendering: ChartRendering) -> None:
    """3.4.8 Helm renders the chart with the values.

    Why: a value that a template cannot use, or an expression that Helm cannot evaluate, ends every installation and
        upgrade before it begins.
    Remedy: correct what the cause names in the values; `helm template RELEASE CHART -f VALUES` shows it again.
    """
    assert not chart_rendering.fault


def test_managers_find_the_release_at_their_next_start(edits_at_start: ReleaseEdits) -> None:
    """3.4.9 The ConfigMap and the Secret that managers start from are as the release has them.

    Why: managers read them only when they start, so an edit by hand takes effect at a restart that nobody expects, and
        the next upgrade undoes it.
    Remedy: `helm get manifest RELEASE -n NAMESPACE | kubectl diff -n NAMESPACE -f -` shows the edit; write what is
        intended into the values file, and upgrade, which sets the rest back.
    """
    assert not edits_at_start.fault


@pytest.mark.advice
def test_other_objects_are_as_the_release_has_them(other_edits: ReleaseEdits) -> None:
    """3.4.10 The Deployment, the Role and the other objects are as the release has them.

    Why: what was edited by hand is in effect until the next upgrade undoes it, and no file says so.
    Remedy: `helm get manifest RELEASE -n NAMESPACE | kubectl diff -n NAMESPACE -f -` shows the edit; write what is
        intended into the values file, and upgrade.
    """
    assert not other_edits.fault


def test_rollout_is_complete(manager_rollout: Rollout) -> None:
    """3.5.1 The rollout of the managers is complete.

    Why: while a rollout is stuck, the old configuration stays in use beside, or instead of, the new one.
    Remedy (rollout-under-way): wait for `kubectl rollout status deployment/RELEASE`, and run this again.
    Remedy (deployment-missing): upgrade or install the release again: its Deployment was deleted.
    Remedy (rollout-stuck): `kubectl describe pod` of the newest manager shows what it waits for: the image
        (`image.registry`, `imagePullSecrets`), a missing Secret key, free resources on a node.
    Remedy: make `kubectl rollout status deployment/RELEASE` finish.
    """
    assert not manager_rollout.fault


def test_managers_are_ready(manager_readiness: ManagerPods) -> None:
    """4.1.1 Every manager is ready, none is restarted again and again, and none ran out of memory recently.

    Why: without a manager, its share of `concurrent` is missing, and one that restarts loses its jobs.
    Remedy (crash-loop, restarted): `kubectl logs --previous` shows why the pod ended; after failed liveness probes
        check GitLab and the token.
    Remedy (oom-killed): raise `resources.limits.memory` of the values, and upgrade.
    Remedy (too-few-managers): read the events of the ReplicaSet: quota, admission, service account.
    Remedy (scaled-down): upgrade, which restores `replicas` of the values; set a smaller number in the values.
    Remedy (manager-not-ready): `kubectl describe pod` shows what it waits for.
    Remedy: make `kubectl get pods -l app=RELEASE` show all of them `1/1 Running`.
    """
    assert not manager_readiness.fault


def test_managers_log_no_failure(manager_logs: ManagerLogs) -> None:
    """4.1.2 The managers' logs show no rejected token, no unreachable GitLab and no rejected configuration.

    Why: `Ready` only means that the process runs; whether GitLab accepted the runner is shown by the log alone, and a
        rejection (`Verifying runner... is not valid`) is not even logged as an error.
    Remedy (token-rejected): put the token of a runner that exists in GitLab into `runnerToken` (or the Secret of
        `runners.secret`, without a newline at its end) and upgrade.
    Remedy (gitlab-unreachable): make `gitlabUrl` reachable from the pods: name, route, port or certificate
        (`certsSecretName`), as the line says.
    Remedy (config-refused): correct `runners.config` as the line says; exactly one `[[runners]]`, and nothing that only
        a registration token may set.
    Remedy (wrong-user): use the image's alpine flavour (`alpine-v…`), or set `podSecurityContext` to Ubuntu's 999.
    Remedy: read `kubectl logs -l app=RELEASE --tail=50`.
    """
    assert not manager_logs.fault


def test_managers_run_the_deployed_configuration(manager_config: ManagerConfig) -> None:
    """4.1.3 Every manager's config.toml has the settings of the release, including its DNS settings.

    Why: a manager reads its template when it starts; one that was not restarted since configures jobs with the old
        resolvers.
    Remedy (not-restarted): `kubectl rollout restart deployment/RELEASE`; the chart does this by itself only when Helm
        changes the ConfigMap, not after an edit by hand, nor for the Secret of `runners.secret`.
    Remedy: `kubectl rollout restart deployment/RELEASE`; then check that the pod's config.toml contains `dns_policy`
        and `[runners.kubernetes.dns_config]`.
    """
    assert not manager_config.fault


@pytest.mark.advice
def test_nothing_befell_the_managers_lately(manager_history: ManagerHistory) -> None:
    """4.1.4 No manager was restarted, or complained of GitLab, within the last hour (`limits.restart_age`).

    Why: what is over stops no job any more, and may come again; a runner logs no line for a poll that succeeds, so its
        last line can be an old failure.
    Remedy: read `kubectl logs --previous` and GitLab's own logs of that time; if it coincides with an outage or an
        upgrade of GitLab, nothing is to be done.
    """
    assert not manager_history.fault
