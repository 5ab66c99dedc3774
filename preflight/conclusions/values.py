"""3.3 The values file: what the chart or the runner ignores, refuses or reads differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import (
    ignored_resolvers,
    names_in_pods,
    no_harm,
    reserve,
    stops_all,
    stops_docker,
)
from preflight.conclusions.model import Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import proof_of, single
from preflight.conclusions.vantages import joined, targets_of
from preflight.evidence import Unmeasured
from preflight.facts.namespace import runner_rights
from preflight.facts.release import release_drift
from preflight.facts.values import (
    pull_patience,
    runner_ca,
    runner_secret,
    values_allowed_images,
    values_chart_keys,
    values_concurrency,
    values_consistency,
    values_dns_policy,
    values_gitlab,
    values_image,
    values_job_settings,
    values_loading,
    values_metrics,
    values_moved_keys,
    values_not_known,
    values_placement,
    values_privilege,
    values_resolvers,
    values_rights,
    values_runner_keys,
    values_templates,
    values_toml,
    values_unregister,
    values_without_effect,
)
from preflight.faults import ReleaseFault, ValuesFault
from preflight.impact import Impact
from preflight.probes.lint import Lint

_ROLL = "`{upgrade}`"
_IGNORED = reserve("jobs run without what an ignored setting asks for")


def _concurrency(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """No job runs at all, or fewer at the same time than the values seem to say."""
    findings = [
        finding
        for observation in observations
        if isinstance(observation.measured, Lint)
        for finding in observation.measured.findings
    ]
    if any(finding.path == "concurrent" for finding in findings):
        return impact.stops()
    return impact.takes_room("managers run fewer jobs at once than `concurrent` says")


def _failing_jobs(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A setting with which every job fails, or only those that it concerns."""
    if any(observation.fault is ValuesFault.JOBS_FAIL for observation in observations):
        return impact.stops()
    return impact.stops("the jobs that the setting concerns")


def _rights(facts: Facts, _observations: Sequence[Observation]) -> Impact:
    """Managers whose rights come from elsewhere have them: as it is, and with the values that are installed."""
    rights, drift = facts.observations(runner_rights), facts.observation(release_drift)
    if rights and all(observation.healthy for observation in rights) and drift.healthy:
        return impact.none("managers have their rights from elsewhere")
    return impact.stops()


def _slow_pulls(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """The runner gives up while a node pulls an image for the first time."""
    images = joined(targets_of(observations, "image"), longest=2)
    return impact.stops(f"jobs on nodes that have yet to pull {images or 'an image'}")


for _name, _impact, _facts, _faults, _source, _steps in (
    (
        "values-toml-broken",
        stops_all,
        (values_toml,),
        (),
        "runner-keys",
        ("fix the line of `runners.config` that it names",),
    ),
    (
        "values-config-refused",
        stops_all,
        (values_loading,),
        (),
        "runner-keys",
        ("correct the setting that it names: with it, no manager registers or starts",),
    ),
    (
        "values-jobs-fail",
        _failing_jobs,
        (values_job_settings,),
        (),
        "runner-keys",
        ("correct the setting of `runners.config` that it names, in {values}",),
    ),
    (
        "values-image-not-allowed",
        stops_all,
        (values_allowed_images,),
        (),
        "runner-keys",
        ("add a pattern for the image to `allowed_images` or `allowed_services` in {values}",),
    ),
    (
        "values-unknown-key",
        _IGNORED,
        (values_chart_keys, values_runner_keys),
        (ValuesFault.UNKNOWN_KEY,),
        "chart-keys",
        ("correct or remove the key that it names: it is silently ignored",),
    ),
    (
        "values-other-version",
        _IGNORED,
        (values_runner_keys,),
        (ValuesFault.OTHER_VERSION,),
        "runner-keys",
        ("remove the key, or run a version of the runner that reads it",),
    ),
    (
        "values-key-not-known",
        no_harm("this suite has no table of that version's keys"),
        (values_not_known,),
        (),
        "runner-keys",
        ("compare the key with the documentation of that version: this suite has no table of its keys",),
    ),
    (
        "values-without-effect",
        no_harm("jobs run without it"),
        (values_without_effect,),
        (),
        "runner-keys",
        ("complete the setting that it names, or remove it",),
    ),
    (
        "values-moved-key",
        _IGNORED,
        (values_chart_keys, values_moved_keys, values_runner_keys),
        (ValuesFault.MOVED_KEY,),
        "chart-moved-keys",
        ("move the key to where this chart reads it",),
    ),
    (
        "values-wrong-table",
        _IGNORED,
        (values_runner_keys,),
        (ValuesFault.WRONG_TABLE,),
        "runner-keys",
        ("move the line above the table's header, or below the header of its own table",),
    ),
    (
        "values-wrong-form",
        stops_all,
        (values_chart_keys, values_runner_keys, values_moved_keys),
        (ValuesFault.WRONG_FORM,),
        "runner-keys",
        ("write the value in the form that it names",),
    ),
    (
        "values-contradict",
        reserve("one of two settings is not what it says"),
        (values_consistency,),
        (),
        "registration-options",
        ("keep one of the two settings that it names",),
    ),
    (
        "values-template",
        stops_all,
        (values_templates,),
        (),
        "chart-keys",
        ("Helm evaluates braces in `runners.config`: remove them, or quote them as a string",),
    ),
    (
        "values-gitlab-url",
        stops_all,
        (values_gitlab,),
        (),
        "gitlab-redirect",
        ("`gitlabUrl: {gitlab}` in {values}; or correct `gitlab.url` in the inventory",),
    ),
    (
        "values-rbac-off",
        _rights,
        (values_rights,),
        (),
        "rbac",
        ("`rbac.create: true` in {values}",),
    ),
    (
        "image-flavour-mismatch",
        stops_all,
        (values_image,),
        (),
        "image-flavour",
        ("make `image.tag`'s flavour and `podSecurityContext` (alpine 100, ubuntu 999) agree in {values}",),
    ),
    (
        "dns-policy-misspelt",
        ignored_resolvers,
        (values_dns_policy,),
        (),
        "dns-policy",
        ('`dns_policy = "none"` (small letters, with a hyphen in the other names) in {values}',),
    ),
    (
        "nameservers-misplaced",
        ignored_resolvers,
        (values_resolvers,),
        (ValuesFault.FLAT_NAMESERVERS,),
        "dns-policy",
        ("put `nameservers` below `[runners.kubernetes.dns_config]` in {values}",),
    ),
    (
        "too-many-nameservers",
        stops_all,
        (values_resolvers,),
        (ValuesFault.TOO_MANY_NAMESERVERS,),
        "nameserver-limit",
        ("keep three nameservers at most: {resolvers}",),
    ),
    (
        "nameservers-differ",
        names_in_pods,
        (values_resolvers,),
        (),
        "dns-policy",
        ("`nameservers = [...]` of `dns_config` in {values} to be {resolvers}, or correct `dns.resolvers`",),
    ),
    (
        "values-not-privileged",
        stops_docker,
        (values_privilege,),
        (),
        "privileged",
        ("`privileged = true` below `[runners.kubernetes]` in {values}; or `dind: none` in the inventory",),
    ),
    (
        "values-concurrency",
        _concurrency,
        (values_concurrency,),
        (),
        "concurrency",
        ("set `concurrent`, `limit` and `request_concurrency` in {values} as it says",),
    ),
    (
        "poll-timeout-short",
        _slow_pulls,
        (pull_patience,),
        (),
        "poll-timeout",
        ("raise `poll_timeout` in {values} above the measured pull time, or pull from a nearer registry",),
    ),
    (
        "manager-metrics-off",
        no_harm("only the monitoring misses it"),
        (values_metrics,),
        (),
        "manager-metrics",
        ("`metrics.enabled: true` in {values}",),
    ),
    (
        "manager-placement-misplaced",
        no_harm("jobs run on other nodes"),
        (values_placement,),
        (),
        "scheduling",
        ("placing the managers does not place jobs: set it below `[runners.kubernetes]` too",),
    ),
    (
        "managers-not-unregistered",
        no_harm("GitLab keeps records of managers that are gone"),
        (values_unregister,),
        (),
        "unregister",
        ("`unregisterRunners` in {values} as it says",),
    ),
):
    single(cause(_name, "3.3", _source), _impact, *_facts, faults=_faults, remedy=(*_steps, _ROLL))

single(
    cause("runner-secret-missing", "3.3", "runner-secret"),
    stops_all,
    runner_secret,
    remedy=(
        "the Secret needs both keys: `kubectl create secret generic {secret} -n {namespace} "
        '--from-literal=runner-token=TOKEN --from-literal=runner-registration-token=""`',
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
    names=remedy_names.secret,
)
single(
    cause("runner-ca-missing", "3.3", "runner-ca"),
    stops_all,
    runner_ca,
    remedy=(
        "`kubectl create secret generic {secret} -n {namespace} --from-file={gitlab_host}.crt=ca.pem`, and "
        "`certsSecretName: {secret}` in {values}: the key is GitLab's host name and .crt",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
    names=remedy_names.secret,
)


NEEDS_HELM = cause("values-need-helm", "3.3", "helm-template")


@rule
def expressions_that_only_helm_can_tell(facts: Facts) -> Iterator[Conclusion]:
    """Settings that could not be read without Helm: one conclusion for all checks that need them."""
    unread = [
        observation
        for observation in facts
        if isinstance(observation.error, Unmeasured) and observation.error.fault is ReleaseFault.ONLY_HELM
    ]
    if unread:
        errors = [observation.error for observation in unread if isinstance(observation.error, Unmeasured)]
        yield Conclusion(
            cause=NEEDS_HELM,
            about=(),
            sentence="; ".join(dict.fromkeys(error.reason for error in errors)),
            certain=True,
            impact=impact.unseen("these settings could not be judged"),
            explains=keys(unread),
            proofs=tuple(proof_of(observation) for observation in unread[:1]),
            remedy=tuple(dict.fromkeys(error.needs for error in errors if error.needs)),
        )
