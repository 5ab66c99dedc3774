"""3.3 The values file: every setting is read by chart or runner, and has the intended effect."""

import pytest

from preflight.facts import AllowedImages, ImagePull, Lint, Manifest, PodPatches, PollTimeout, SecretKeys


def test_runners_config_is_toml(values_toml: Lint) -> None:
    """3.3.1 `runners.config` is TOML with one [[runners]] entry.

    Why: Helm installs any text; the manager then exits at its start, again and again.
    Remedy: correct the line that the cause names; strings are quoted, `true` and `false` are not.
    """
    assert not values_toml.fault


def test_the_chart_reads_every_key(values_chart_keys: Lint) -> None:
    """3.3.2 The chart reads every key of the values, and each value has the expected type.

    Why: the chart has no schema: a misspelt key is silently ignored, and its default applies.
    Remedy (unknown-key): use the spelling that the cause names, or remove the key; `helm show values
        gitlab/gitlab-runner --version VERSION` lists them all.
    Remedy: write the value with the type that the cause names; a boolean is `true` or `false` without quotes.
    """
    assert not values_chart_keys.fault


def test_no_key_has_moved(values_moved_keys: Lint) -> None:
    """3.3.3 No key is one that only older versions of the chart read.

    Why: since chart 0.53, settings for jobs are read from `runners.config` alone; the guide's `runners.cache.s3` (7.4)
        is one of the keys that are no longer read.
    Remedy: set it where the cause says, and remove the old key.
    """
    assert not values_moved_keys.fault


def test_the_runner_reads_every_key(values_runner_keys: Lint) -> None:
    """3.3.4 The runner reads every key of `runners.config`, in the table in which it is.

    Why: the runner ignores unknown keys; and in TOML, a key below a table's header belongs to that table.
    Remedy (wrong-table): move the key above the header of the first inner table.
    Remedy (moved-key): set it with the key of the values that the cause names.
    Remedy (wrong-form): write the value with the type that the cause names: the runner ignores any other.
    Remedy (other-version): remove the key, or run a version of the runner that reads it.
    Remedy: use the spelling that the cause names, or remove the key.
    """
    assert not values_runner_keys.fault


def test_settings_are_consistent(values_consistency: Lint) -> None:
    """3.3.5 No setting is given twice, or overridden by another.

    Why: one of the two is silently dropped, and rarely the one that was meant to be.
    Remedy (twice): keep one of the two lines; below `runners:`, there is one `config: |` for the whole TOML.
    Remedy (token-in-file): remove `runnerToken`: the token is in the Secret that `runners.secret` names.
    Remedy: remove the setting that the cause calls ineffective, or the one that overrides it.
    """
    assert not values_consistency.fault


def test_templates_render_the_whole_config(values_templates: Lint) -> None:
    """3.3.6 Helm evaluates no template expression in `runners.config` that is not meant for it.

    Why: Helm evaluates this text, comments included, before the runner reads it.
    Remedy: write `{{ "{{" }}` for braces that are not meant for Helm, or correct the expression.
    """
    assert not values_templates.fault


def test_gitlab_url_is_the_gitlab_of_the_inventory(values_gitlab: Lint) -> None:
    """3.3.7 `gitlabUrl` is the URL of the inventory's GitLab.

    Why: the managers register there, and every job clones from there unless `clone_url` says otherwise.
    Remedy: correct `gitlabUrl` in the values, or `gitlab.url` in the inventory.
    """
    assert not values_gitlab.fault


def test_rbac_for_the_managers_is_enabled(values_rights: Lint) -> None:
    """3.3.8 The managers may create pods: the chart grants the right, or their service account has it.

    Why: `rbac.create` is false by default, which the guide does not say; every job then fails with "pods is forbidden".
    Remedy: set `rbac.create: true`, or `serviceAccount.name` to an account with a Role for pods and secrets.
    """
    assert not values_rights.fault


def test_manager_image_matches_its_user_id(values_image: Lint) -> None:
    """3.3.9 The managers' image matches the user ID that it runs as.

    Why: the chart runs it with the user ID of the Alpine image. A tag such as `v18.4.0`, as in the guide's upgrade
        (9.1), is the Ubuntu image, and fails with "mkdir /nonexistent: permission denied".
    Remedy: prefix `image.tag` with `alpine-`, or set `podSecurityContext` to runAsUser 999 and fsGroup 999.
    """
    assert not values_image.fault


def test_dns_policy_is_valid_for_the_runner(values_dns_policy: Lint) -> None:
    """3.3.10 `dns_policy` has a value that the runner knows.

    Why: the runner does not know Kubernetes' spelling; it warns in the job's log and uses the cluster's default.
    Remedy: write it in lower case and with hyphens: "none", "default", "cluster-first", "cluster-first-with-host-net".
    """
    assert not values_dns_policy.fault


def test_jobs_use_the_resolvers_of_the_inventory(values_resolvers: Lint) -> None:
    """3.3.11 Jobs use the resolvers of the inventory, set where the runner reads them.

    Why: with `dns_policy = "none"`, a job resolves only the names that these resolvers have.
    Remedy (flat-nameservers): put them below a header [runners.kubernetes.dns_config]; the guide's table (3.3) names a
        flat key that neither chart nor runner reads.
    Remedy (too-many-nameservers): keep three; a pod with more is rejected.
    Remedy (no-nameservers): add [runners.kubernetes.dns_config] with `nameservers = [...]`.
    Remedy: make `nameservers` and the inventory's `dns.resolvers` the same.
    """
    assert not values_resolvers.fault


def test_jobs_are_privileged_where_docker_in_docker_needs_it(values_privilege: Lint) -> None:
    """3.3.12 Jobs are privileged where Docker-in-Docker needs it.

    Why: otherwise the Docker daemon beside a job may not mount anything, and exits.
    Remedy: set `privileged = true` under [runners.kubernetes], or `dind: none` in the inventory if nobody uses it.
    """
    assert not values_privilege.fault


def test_concurrent_is_not_limited_by_other_settings(values_concurrency: Lint) -> None:
    """3.3.13 Each manager runs as many jobs as `concurrent` says.

    Why: a lower `limit` of the runner takes precedence, and with less than one job the manager exits at once.
    Remedy: set `concurrent` to at least 1, and remove `limit` or raise it to `concurrent`.
    """
    assert not values_concurrency.fault


def test_the_helper_image_is_available(helper_image: Manifest) -> None:
    """3.3.14 The runner's helper image is available.

    Why: every job needs it, to clone and to upload; unless the values name another, it comes from registry.gitlab.com.
    Remedy: mirror gitlab-runner-helper to your own registry, and set `helper_image` under [runners.kubernetes].
    """
    assert not helper_image.fault


def test_poll_timeout_exceeds_the_pull_times(pull_patience: PollTimeout) -> None:
    """3.3.15 The runner waits longer for a job's pod than its images take to pull.

    Why: after `poll_timeout` (180 s unless set), the job fails with "timed out waiting for pod to start".
    Remedy: raise `poll_timeout` under [runners.kubernetes] well above the pull time, or use a mirror that is closer.
    """
    assert not pull_patience.fault


def test_the_runner_secret_has_both_keys(runner_secret: SecretKeys) -> None:
    """3.3.16 The Secret that `runners.secret` names has both keys that the chart mounts.

    Why: the volume requires both; without one of them, the managers' pods stay in ContainerCreating.
    Remedy (secret-missing): create it: `kubectl create secret generic NAME --from-literal=runner-registration-token=""
        --from-literal=runner-token=TOKEN`.
    Remedy: add the missing key; `runner-registration-token` may be empty.
    """
    assert not runner_secret.fault


def test_the_gitlab_ca_secret_has_the_expected_key(runner_ca: SecretKeys) -> None:
    """3.3.17 The Secret with GitLab's CA has the key that the runner looks for.

    Why: the runner looks for `HOST.crt`, with the host as in `gitlabUrl`, and trusts no other key of the Secret.
    Remedy (secret-missing): create the Secret that `certsSecretName` names, or correct the name.
    Remedy: `kubectl create secret generic NAME --from-file=HOST.crt=ca.pem`, and set `certsSecretName` to it.
    """
    assert not runner_ca.fault


@pytest.mark.advice
def test_manager_metrics_are_enabled(values_metrics: Lint) -> None:
    """3.3.18 The managers' metrics are enabled.

    Why: the guide's 8.4 says that they are by default, and they are not; rejected requests for jobs show up there
        first.
    Remedy: set `metrics.enabled: true`.
    """
    assert not values_metrics.fault


@pytest.mark.advice
def test_manager_placement_settings_are_not_meant_for_jobs(values_placement: Lint) -> None:
    """3.3.19 No setting that is meant for jobs is set for the managers only.

    Why: top-level `nodeSelector`, `affinity`, `tolerations` and `imagePullSecrets` apply to the managers' pods only;
        the guide's 7.3 does not place any job.
    Remedy: set what is meant for jobs below [runners.kubernetes], as the cause says.
    """
    assert not values_placement.fault


@pytest.mark.advice
def test_managers_unregister_on_shutdown(values_unregister: Lint) -> None:
    """3.3.20 Managers unregister from GitLab when they stop.

    Why: each pod that starts registers a new manager; old ones that stay, offline, obscure which are alive.
    Remedy: leave `unregisterRunners` at its default, true: with a glrt-… token, only the manager is removed.
    """
    assert not values_unregister.fault


def test_the_runner_loads_its_config(values_loading: Lint) -> None:
    """3.3.21 The runner loads `runners.config`: each value has the type that the runner expects.

    Why: one value of another type, or [x] for [[x]], and the runner rejects the whole file: no manager registers.
    Remedy: correct the value as the cause says.
    """
    assert not values_loading.fault


def test_no_setting_makes_jobs_fail(values_job_settings: Lint) -> None:
    """3.3.22 No setting of `runners.config` makes jobs fail.

    Why: the runner loads such a setting without a warning; it then fails each job, or the API rejects the job's pod.
    Remedy (some-jobs-fail): correct the setting as the cause says, before a job needs it.
    Remedy: correct the setting as the cause says: no job runs with it.
    """
    assert not values_job_settings.fault


@pytest.mark.advice
def test_every_runner_setting_has_an_effect(values_without_effect: Lint) -> None:
    """3.3.23 Every setting of the values has an effect.

    Why: some settings are read and then dropped: a cache without a bucket, a patch without its feature flag, tags with
        a token of the kind glrt-….
    Remedy: complete the setting as the cause says, or remove it.
    """
    assert not values_without_effect.fault


@pytest.mark.advice
def test_every_key_is_known(values_not_known: Lint) -> None:
    """3.3.24 Every key of the values is known to this suite.

    Why: the chart or the runner is newer than the suite's tables: such a key may be new, or misspelt.
    Remedy: look it up in the documentation of that version, or update this suite.
    """
    assert not values_not_known.fault


def test_the_patches_of_job_pods_apply(pod_patches: PodPatches) -> None:
    """3.3.25 The patches of `pod_spec` can be applied to a job's pod.

    Why: where one can't, the runner makes no pod, and every job fails in "setting up build pod".
    Remedy (patch-not-applied): correct the patch as the cause says; a JSON patch must name paths that exist, and a
        strategic one the key (`name`) of each entry of a list.
    Remedy: try the patch on a pod of yours: `kubectl patch --local -o yaml`.
    """
    assert not pod_patches.fault


def test_the_values_allow_the_images_of_jobs(values_allowed_images: AllowedImages) -> None:
    """3.3.26 The values allow the images that jobs use.

    Why: the runner fails a job whose image or service matches no pattern of `allowed_images` or `allowed_services`.
    Remedy (not-allowed): add a pattern for the image: `*` stays within one step of its path, `**` does not.
    Remedy: compare `allowed_images` and `allowed_services` with the images of the inventory.
    """
    assert not values_allowed_images.fault


def test_each_worker_pulls_the_services_of_the_values(service_pull: ImagePull) -> None:
    """3.3.27 Each worker pulls the images of the services that the values give to every job.

    Why: a job's pod does not start before all its images are there; one that can't be pulled fails every job.
    Remedy (pull-not-found, pull-bad-name): correct the service's `name` in `[[runners.kubernetes.services]]`, or push
        the image.
    Remedy (pull-unauthorized): give jobs a pull secret for its registry (`image_pull_secrets`).
    Remedy (pull-platform): push or mirror the image for this node's platform.
    Remedy: make `crictl pull` of the image succeed on this worker.
    """
    assert not service_pull.fault


def test_all_values_are_in_the_files(values_completeness: Lint) -> None:
    """3.3.28 All values of the release are in the files of the inventory.

    Why: an Argo CD Application, a Flux HelmRelease or a helmfile may take further values from a ConfigMap, a Secret or
        another repository; what they set is not checked here.
    Remedy: write each of them into a file, and list it under `runner.values`.
    """
    assert not values_completeness.fault
