"""3.3 The values file: what the chart or the runner ignores, refuses or reads differently."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.conclusions.model import Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts
from preflight.conclusions.single_fact import proof_of, single
from preflight.evidence import Unmeasured
from preflight.facts.values import (
    pull_patience,
    runner_ca,
    runner_secret,
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

_ROLL = "`{upgrade}`"

for _name, _facts, _faults, _source, _steps in (
    ("values-toml-broken", (values_toml,), (), "runner-keys", ("fix the line of `runners.config` that it names",)),
    (
        "values-config-refused",
        (values_loading,),
        (),
        "runner-keys",
        ("correct the setting that it names: with it, no manager registers or starts",),
    ),
    (
        "values-jobs-fail",
        (values_job_settings,),
        (),
        "runner-keys",
        ("correct the setting of `runners.config` that it names, in {values}",),
    ),
    (
        "values-unknown-key",
        (values_chart_keys, values_runner_keys),
        (ValuesFault.UNKNOWN_KEY,),
        "chart-keys",
        ("correct or remove the key that it names: it is silently ignored",),
    ),
    (
        "values-other-version",
        (values_runner_keys,),
        (ValuesFault.OTHER_VERSION,),
        "runner-keys",
        ("remove the key, or run a version of the runner that reads it",),
    ),
    (
        "values-key-not-known",
        (values_not_known,),
        (),
        "runner-keys",
        ("compare the key with the documentation of that version: this suite has no table of its keys",),
    ),
    (
        "values-without-effect",
        (values_without_effect,),
        (),
        "runner-keys",
        ("complete the setting that it names, or remove it",),
    ),
    (
        "values-moved-key",
        (values_chart_keys, values_moved_keys, values_runner_keys),
        (ValuesFault.MOVED_KEY,),
        "chart-moved-keys",
        ("move the key to where this chart reads it",),
    ),
    (
        "values-wrong-table",
        (values_runner_keys,),
        (ValuesFault.WRONG_TABLE,),
        "runner-keys",
        ("move the line above the table's header, or below the header of its own table",),
    ),
    (
        "values-wrong-form",
        (values_chart_keys, values_runner_keys, values_moved_keys),
        (ValuesFault.WRONG_FORM,),
        "runner-keys",
        ("write the value in the form that it names",),
    ),
    (
        "values-contradict",
        (values_consistency,),
        (),
        "registration-options",
        ("keep one of the two settings that it names",),
    ),
    (
        "values-template",
        (values_templates,),
        (),
        "chart-keys",
        ("Helm evaluates braces in `runners.config`: remove them, or quote them as a string",),
    ),
    (
        "values-gitlab-url",
        (values_gitlab,),
        (),
        "gitlab-redirect",
        ("`gitlabUrl: {gitlab}` in {values}; or correct `gitlab.url` in the inventory",),
    ),
    ("values-rbac-off", (values_rights,), (), "rbac", ("`rbac.create: true` in {values}",)),
    (
        "image-flavour-mismatch",
        (values_image,),
        (),
        "image-flavour",
        ("make `image.tag`'s flavour and `podSecurityContext` (alpine 100, ubuntu 999) agree in {values}",),
    ),
    (
        "dns-policy-misspelt",
        (values_dns_policy,),
        (),
        "dns-policy",
        ('`dns_policy = "none"` (small letters, with a hyphen in the other names) in {values}',),
    ),
    (
        "nameservers-misplaced",
        (values_resolvers,),
        (ValuesFault.FLAT_NAMESERVERS,),
        "dns-policy",
        ("put `nameservers` below `[runners.kubernetes.dns_config]` in {values}",),
    ),
    (
        "too-many-nameservers",
        (values_resolvers,),
        (ValuesFault.TOO_MANY_NAMESERVERS,),
        "nameserver-limit",
        ("keep three nameservers at most: {resolvers}",),
    ),
    (
        "nameservers-differ",
        (values_resolvers,),
        (),
        "dns-policy",
        ("`nameservers = [...]` of `dns_config` in {values} to be {resolvers}, or correct `dns.resolvers`",),
    ),
    (
        "values-not-privileged",
        (values_privilege,),
        (),
        "privileged",
        ("`privileged = true` below `[runners.kubernetes]` in {values}; or `dind: none` in the inventory",),
    ),
    (
        "values-concurrency",
        (values_concurrency,),
        (),
        "concurrency",
        ("set `concurrent`, `limit` and `request_concurrency` in {values} as it says",),
    ),
    (
        "poll-timeout-short",
        (pull_patience,),
        (),
        "poll-timeout",
        ("raise `poll_timeout` in {values} above the measured pull time, or pull from a nearer registry",),
    ),
    ("manager-metrics-off", (values_metrics,), (), "manager-metrics", ("`metrics.enabled: true` in {values}",)),
    (
        "manager-placement-misplaced",
        (values_placement,),
        (),
        "scheduling",
        ("placing the managers does not place jobs: set it below `[runners.kubernetes]` too",),
    ),
    (
        "managers-not-unregistered",
        (values_unregister,),
        (),
        "unregister",
        ("`unregisterRunners` in {values} as it says",),
    ),
):
    single(cause(_name, "3.3", _source), *_facts, faults=_faults, remedy=(*_steps, _ROLL))

single(
    cause("runner-secret-missing", "3.3", "runner-secret"),
    runner_secret,
    remedy=(
        "the Secret needs both keys: `kubectl create secret generic NAME -n {namespace} "
        "--from-literal=runner-token=TOKEN --from-literal=runner-registration-token=`",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
)
single(
    cause("runner-ca-missing", "3.3", "runner-ca"),
    runner_ca,
    remedy=(
        "`kubectl create secret generic NAME -n {namespace} --from-file={gitlab_host}.crt=ca.pem` with the name of "
        "`certsSecretName`: the key is GitLab's host name and .crt",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
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
            explains=keys(unread),
            proofs=tuple(proof_of(observation) for observation in unread[:1]),
            remedy=tuple(dict.fromkeys(error.needs for error in errors if error.needs)),
        )
