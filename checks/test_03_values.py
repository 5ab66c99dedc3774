"""3.3 The values file: what stands in it is read, and means what it seems to mean."""

import pytest

from preflight.facts import Lint, Manifest, PollTimeout, SecretKeys


def test_runners_config_is_toml(values_toml: Lint) -> None:
    """3.3.1 `runners.config` is TOML with one [[runners]] entry.

    Why: Helm installs any text; the manager then ends at its start, again and again.
    Remedy: correct the line that the cause names; texts stand in quotes, `true` and `false` do not.
    """
    assert not values_toml.fault


def test_the_chart_reads_every_key(values_chart_keys: Lint) -> None:
    """3.3.2 The chart reads every key of the values, in the form in which it stands there.

    Why: the chart has no schema: a misspelt key is ignored without a word, and its default holds.
    Remedy (unknown-key): take the spelling that the cause names, or remove the key;
        `helm show values gitlab/gitlab-runner --version VERSION` lists them all.
    Remedy: write the value in the form that the cause names; a switch is `true` or `false` without quotes.
    """
    assert not values_chart_keys.fault


def test_no_key_has_moved(values_moved_keys: Lint) -> None:
    """3.3.3 No key is one that the chart only read in an older version.

    Why: since chart 0.53, all that concerns jobs is read from `runners.config` alone; the guide's `runners.cache.s3`
        (7.4) is one of the keys that nobody reads any more.
    Remedy: write it where the cause says, and remove the old key.
    """
    assert not values_moved_keys.fault


def test_the_runner_reads_every_key(values_runner_keys: Lint) -> None:
    """3.3.4 The runner reads every key of `runners.config`, below the header where it stands.

    Why: the runner ignores what it does not know; and in TOML, a key below a table's header belongs to that table.
    Remedy (wrong-table): move the key above the header of the first inner table.
    Remedy (moved-key): set it by the key of the values that the cause names.
    Remedy (wrong-form): write the value in the form that the cause names: with another, no manager starts.
    Remedy: take the spelling that the cause names, or remove the key.
    """
    assert not values_runner_keys.fault


def test_settings_are_consistent(values_consistency: Lint) -> None:
    """3.3.5 Each setting stands once, and none makes another void.

    Why: of two, one is silently dropped, and rarely the one that was meant.
    Remedy (twice): keep one of the two lines; below `runners:`, there is one `config: |` for all of the TOML.
    Remedy (token-in-file): remove `runnerToken`: the token is in the Secret that `runners.secret` names.
    Remedy: remove the setting that the cause calls void, or the one that makes it so.
    """
    assert not values_consistency.fault


def test_templates_render_the_whole_config(values_templates: Lint) -> None:
    """3.3.6 No template expression in `runners.config` is one that Helm would misread.

    Why: the chart has Helm evaluate this text before the runner sees it, comments included.
    Remedy: write `{{ "{{" }}` for braces that are meant for somebody else, or correct the expression.
    """
    assert not values_templates.fault


def test_gitlab_url_is_the_gitlab_of_the_inventory(values_gitlab: Lint) -> None:
    """3.3.7 `gitlabUrl` is the GitLab that the inventory describes.

    Why: the managers register there, and every job clones from there unless `clone_url` says otherwise.
    Remedy: correct `gitlabUrl` in the values, or `gitlab.url` in the inventory.
    """
    assert not values_gitlab.fault


def test_rbac_for_the_managers_is_enabled(values_rights: Lint) -> None:
    """3.3.8 The chart gives the managers the right to make pods, or they have an account that has it.

    Why: `rbac.create` is false by default, which the guide does not say; every job then ends with "pods is forbidden".
    Remedy: set `rbac.create: true`, or `serviceAccount.name` to an account with a Role for pods and secrets.
    """
    assert not values_rights.fault


def test_manager_image_matches_its_user_id(values_image: Lint) -> None:
    """3.3.9 The managers' image belongs to the user that it is started as.

    Why: the chart starts it as the user of Alpine's image. A tag such as `v18.4.0`, which the guide's upgrade writes
        (9.1), is Ubuntu's image, and ends with "mkdir /nonexistent: permission denied".
    Remedy: prefix `image.tag` with `alpine-`, or set `podSecurityContext` to runAsUser 999 and fsGroup 999.
    """
    assert not values_image.fault


def test_dns_policy_is_valid_for_the_runner(values_dns_policy: Lint) -> None:
    """3.3.10 `dns_policy` is spelled as the runner spells it.

    Why: the runner does not know Kubernetes' spelling; it warns in the job's log and lets the cluster's default hold.
    Remedy: write it in lower case and with hyphens: "none", "default", "cluster-first", "cluster-first-with-host-net".
    """
    assert not values_dns_policy.fault


def test_jobs_use_the_resolvers_of_the_inventory(values_resolvers: Lint) -> None:
    """3.3.11 Jobs are given the resolvers of the inventory, where the runner reads them.

    Why: with `dns_policy = "none"`, a job knows no other names than these resolvers do.
    Remedy (flat-nameservers): put them below a header [runners.kubernetes.dns_config]; the guide's table (3.3) names
        the flat key, which neither chart nor runner reads.
    Remedy (too-many-nameservers): keep three; a pod with more is refused.
    Remedy (no-nameservers): add [runners.kubernetes.dns_config] with `nameservers = [...]`.
    Remedy: let `nameservers` and the inventory's `dns.resolvers` say the same.
    """
    assert not values_resolvers.fault


def test_jobs_are_privileged_where_docker_in_docker_needs_it(values_privilege: Lint) -> None:
    """3.3.12 Jobs are privileged where Docker-in-Docker needs it.

    Why: without, the Docker daemon beside a job may not mount anything, and ends.
    Remedy: set `privileged = true` under [runners.kubernetes], or `dind: none` in the inventory where nobody uses it.
    """
    assert not values_privilege.fault


def test_concurrent_is_not_limited_by_other_settings(values_concurrency: Lint) -> None:
    """3.3.13 Each manager runs as many jobs as `concurrent` says.

    Why: a `limit` of the runner below it wins, and with less than one job the manager ends at once.
    Remedy: set `concurrent` to at least 1, and remove `limit` or raise it to `concurrent`.
    """
    assert not values_concurrency.fault


def test_the_helper_image_is_available(helper_image: Manifest) -> None:
    """3.3.14 The runner's helper image can be had.

    Why: every job needs it, to clone and to upload; unless the values name another, it comes from registry.gitlab.com.
    Remedy: mirror gitlab-runner-helper into a registry of yours, and set `helper_image` under [runners.kubernetes].
    """
    assert not helper_image.fault


def test_poll_timeout_exceeds_the_pull_times(pull_patience: PollTimeout) -> None:
    """3.3.15 The runner waits longer for a job's pod than its images take to be pulled.

    Why: after `poll_timeout` (180 s unless set), the job ends with "timed out waiting for pod to start".
    Remedy: raise `poll_timeout` under [runners.kubernetes] well above the pull's time, or bring the image nearer.
    """
    assert not pull_patience.fault


def test_the_runner_secret_has_both_keys(runner_secret: SecretKeys) -> None:
    """3.3.16 A Secret of one's own for the token has both keys that the chart mounts.

    Why: the volume names both; without one, the managers' pods stay in ContainerCreating.
    Remedy (secret-missing): create it: `kubectl create secret generic NAME --from-literal=runner-registration-token=""
        --from-literal=runner-token=…`.
    Remedy: add the missing key; `runner-registration-token` may be empty.
    """
    assert not runner_secret.fault


def test_the_gitlab_ca_secret_has_the_expected_key(runner_ca: SecretKeys) -> None:
    """3.3.17 The Secret with GitLab's CA has a key of GitLab's name.

    Why: the runner looks for `HOST.crt`, with the host as `gitlabUrl` spells it, and trusts nothing else in there.
    Remedy (secret-missing): create the Secret that `certsSecretName` names, or correct the name.
    Remedy: `kubectl create secret generic NAME --from-file=HOST.crt=ca.pem`, and set `certsSecretName` to it.
    """
    assert not runner_ca.fault


@pytest.mark.advice
def test_manager_metrics_are_enabled(values_metrics: Lint) -> None:
    """3.3.18 The managers offer metrics.

    Why: the guide's 8.4 says that they do by default, and they do not; jobs that are refused show up there first.
    Remedy: set `metrics.enabled: true`.
    """
    assert not values_metrics.fault


@pytest.mark.advice
def test_manager_placement_settings_are_not_meant_for_jobs(values_placement: Lint) -> None:
    """3.3.19 Nothing that is meant for jobs is set for the managers alone.

    Why: top-level `nodeSelector`, `affinity`, `tolerations` and `imagePullSecrets` concern the managers' pods; the
        guide's 7.3 moves no job.
    Remedy: write what is meant for jobs below [runners.kubernetes], as the cause says.
    """
    assert not values_placement.fault


@pytest.mark.advice
def test_managers_unregister_on_shutdown(values_unregister: Lint) -> None:
    """3.3.20 Managers that stop leave no record in GitLab.

    Why: each start of a pod registers a new manager; the old ones stay, offline, and hide which are alive.
    Remedy: leave `unregisterRunners` at its default, true: with a token of the kind glrt-… only the manager goes.
    """
    assert not values_unregister.fault
