"""3.3 What the values file says, and chart or runner do not do."""

from __future__ import annotations

from preflight.conclusions.model import cause
from preflight.conclusions.single_fact import single
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
from preflight.faults import ValuesFault

_ROLL = "`{upgrade}`"

for _name, _facts, _faults, _reference, _steps in (
    ("values-toml-broken", (values_toml,), (), "failures 50", ("mend the line of `runners.config` that it names",)),
    (
        "values-config-refused",
        (values_loading,),
        (),
        "failures 50",
        ("correct the setting that it names: with it, no manager registers or starts",),
    ),
    (
        "values-jobs-fail",
        (values_job_settings,),
        (),
        "failures 50",
        ("correct the setting of `runners.config` that it names, in {values}",),
    ),
    (
        "values-unknown-key",
        (values_chart_keys, values_runner_keys),
        (ValuesFault.UNKNOWN_KEY,),
        "failures 56",
        ("correct or remove the key that it names: it is ignored without a word",),
    ),
    (
        "values-other-version",
        (values_runner_keys,),
        (ValuesFault.OTHER_VERSION,),
        "failures 56",
        ("remove the key, or run a version of the runner that reads it",),
    ),
    (
        "values-key-not-known",
        (values_not_known,),
        (),
        "failures 56",
        ("compare the key with the documentation of that version: this suite has no table of its keys",),
    ),
    (
        "values-without-effect",
        (values_without_effect,),
        (),
        "failures 56",
        ("complete the setting that it names, or remove it",),
    ),
    (
        "values-moved-key",
        (values_chart_keys, values_moved_keys, values_runner_keys),
        (ValuesFault.MOVED_KEY,),
        "failures 56",
        ("move the key to where this chart reads it",),
    ),
    (
        "values-wrong-table",
        (values_runner_keys,),
        (ValuesFault.WRONG_TABLE,),
        "failures 56",
        ("move the line above the table's header, or below the header of its own table",),
    ),
    (
        "values-wrong-form",
        (values_chart_keys, values_runner_keys, values_moved_keys),
        (ValuesFault.WRONG_FORM,),
        "failures 56",
        ("write the value in the form that it names",),
    ),
    ("values-contradict", (values_consistency,), (), "failures 29", ("keep one of the two settings that it names",)),
    (
        "values-template",
        (values_templates,),
        (),
        "guide 3.3",
        ("Helm evaluates braces in `runners.config`: take them out, or quote them as a string",),
    ),
    (
        "values-gitlab-url",
        (values_gitlab,),
        (),
        "guide 3.3",
        ("`gitlabUrl: {gitlab}` in {values}; or correct `gitlab.url` in the inventory",),
    ),
    ("values-rbac-off", (values_rights,), (), "failures 23", ("`rbac.create: true` in {values}",)),
    (
        "image-flavour-mismatch",
        (values_image,),
        (),
        "failures 47",
        ("let `image.tag`'s flavour and `podSecurityContext` (alpine 100, ubuntu 999) agree in {values}",),
    ),
    (
        "dns-policy-misspelt",
        (values_dns_policy,),
        (),
        "failures 2",
        ('`dns_policy = "none"` (small letters, with a hyphen in the other names) in {values}',),
    ),
    (
        "nameservers-misplaced",
        (values_resolvers,),
        (ValuesFault.FLAT_NAMESERVERS,),
        "failures 2",
        ("put `nameservers` below `[runners.kubernetes.dns_config]` in {values}",),
    ),
    (
        "too-many-nameservers",
        (values_resolvers,),
        (ValuesFault.TOO_MANY_NAMESERVERS,),
        "failures 4",
        ("keep three nameservers at most: {resolvers}",),
    ),
    (
        "nameservers-differ",
        (values_resolvers,),
        (),
        "guide 3.3",
        ("`nameservers = [...]` of `dns_config` in {values} to be {resolvers}, or correct `dns.resolvers`",),
    ),
    (
        "values-not-privileged",
        (values_privilege,),
        (),
        "failures 10",
        ("`privileged = true` below `[runners.kubernetes]` in {values}; or `dind: none` in the inventory",),
    ),
    (
        "values-concurrency",
        (values_concurrency,),
        (),
        "failures 42, 50",
        ("set `concurrent`, `limit` and `request_concurrency` in {values} as it says",),
    ),
    (
        "poll-timeout-short",
        (pull_patience,),
        (),
        "failures 33",
        ("raise `poll_timeout` in {values} above the measured pull time, or pull from a nearer registry",),
    ),
    ("manager-metrics-off", (values_metrics,), (), "guide 8.4", ("`metrics.enabled: true` in {values}",)),
    (
        "manager-placement-misplaced",
        (values_placement,),
        (),
        "guide 7",
        ("what places the managers does not place jobs: set it below `[runners.kubernetes]` too",),
    ),
    (
        "managers-not-unregistered",
        (values_unregister,),
        (),
        "guide 10",
        ("`unregisterRunners` in {values} as it says",),
    ),
):
    single(cause(_name, "3.3", _reference), *_facts, faults=_faults, remedy=(*_steps, _ROLL))

single(
    cause("runner-secret-missing", "3.3", "failures 26"),
    runner_secret,
    remedy=(
        "the Secret needs both keys: `kubectl create secret generic NAME -n {namespace} "
        "--from-literal=runner-token=TOKEN --from-literal=runner-registration-token=`",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
)
single(
    cause("runner-ca-missing", "3.3", "failures 16"),
    runner_ca,
    remedy=(
        "`kubectl create secret generic NAME -n {namespace} --from-file={gitlab_host}.crt=ca.pem` with the name of "
        "`certsSecretName`: the key is GitLab's host name and .crt",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
)
