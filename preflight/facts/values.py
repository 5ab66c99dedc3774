"""3.3 The values file, beside what the chart, the runner and the environment make of it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable
from preflight.facts.blocking import block_if_no_resolver_knows
from preflight.facts.target_selectors import probe_image
from preflight.faults import PathFault, ValuesFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import lint, poll_timeout, registry, secret_keys
from preflight.probes.cluster import ApiServer
from preflight.probes.credentials import Account
from preflight.probes.dns import Lookups
from preflight.probes.lint import Lint
from preflight.probes.pods import ImagePull
from preflight.probes.poll_timeout import PollTimeout
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.secret_keys import SecretKeys
from preflight.survey import Run, fact
from preflight.values import Values


@fact(effect="static")
def helm_values(inventory: Inventory) -> Values:
    """The values, merged."""
    runner = inventory.runner
    return helm.load(runner.values, runner.set, release=runner.release, namespace=runner.namespace)


@fact(effect="static")
def values_lint(helm_values: Values, inventory: Inventory) -> Lint:
    """Everything that chart and runner make nothing of."""
    expected = lint.Expected(
        chart=inventory.runner.chart,
        gitlab_url=inventory.gitlab.url,
        resolvers=tuple(inventory.dns.resolvers),
        privileged=inventory.dind != "none",
    )
    return lint.lint(helm_values, expected)


@fact(effect="static")
def values_toml(values_lint: Lint) -> Lint:
    """The TOML of runners.config."""
    return values_lint.about(ValuesFault.NOT_TOML)


@fact(effect="static")
def values_chart_keys(values_lint: Lint) -> Lint:
    """The keys that the chart reads."""
    return values_lint.about(ValuesFault.UNKNOWN_KEY, ValuesFault.WRONG_FORM, reader="chart")


@fact(effect="static")
def values_moved_keys(values_lint: Lint) -> Lint:
    """The keys that the chart read in an older version."""
    return values_lint.about(ValuesFault.MOVED_KEY, reader="chart")


@fact(effect="static")
def values_runner_keys(values_toml: Lint, values_lint: Lint) -> Lint:
    """The keys that the runner reads."""
    del values_toml
    kinds = (ValuesFault.UNKNOWN_KEY, ValuesFault.WRONG_FORM, ValuesFault.WRONG_TABLE, ValuesFault.MOVED_KEY)
    return values_lint.about(*kinds, reader="runner")


@fact(effect="static")
def values_consistency(values_lint: Lint) -> Lint:
    """Settings that stand twice, or against each other."""
    return values_lint.about(ValuesFault.TWICE, ValuesFault.CONTRADICTION, ValuesFault.TOKEN_IN_FILE)


@fact(effect="static")
def values_templates(values_lint: Lint) -> Lint:
    """Template expressions in runners.config."""
    return values_lint.about(ValuesFault.TEMPLATE)


@fact(effect="static")
def values_gitlab(values_lint: Lint) -> Lint:
    """The GitLab of the values."""
    return values_lint.about(ValuesFault.GITLAB_URL)


@fact(effect="static")
def values_rights(values_lint: Lint) -> Lint:
    """The managers' rights."""
    return values_lint.about(ValuesFault.RBAC_OFF)


@fact(effect="static")
def values_image(values_lint: Lint) -> Lint:
    """The managers' image and user."""
    return values_lint.about(ValuesFault.IMAGE_FLAVOUR)


@fact(effect="static")
def values_dns_policy(values_toml: Lint, values_lint: Lint) -> Lint:
    """The spelling of dns_policy."""
    del values_toml
    return values_lint.about(ValuesFault.DNS_POLICY)


@fact(effect="static")
def values_resolvers(values_toml: Lint, values_lint: Lint) -> Lint:
    """The resolvers that the values give to jobs."""
    del values_toml
    return values_lint.about(
        ValuesFault.FLAT_NAMESERVERS,
        ValuesFault.TOO_MANY_NAMESERVERS,
        ValuesFault.NO_NAMESERVERS,
        ValuesFault.OTHER_NAMESERVERS,
    )


@fact(effect="static")
def values_privilege(values_toml: Lint, values_lint: Lint) -> Lint:
    """The privilege that the values give to jobs."""
    del values_toml
    return values_lint.about(ValuesFault.NOT_PRIVILEGED)


@fact(effect="static")
def values_concurrency(values_toml: Lint, values_lint: Lint) -> Lint:
    """The number of jobs that a manager runs."""
    del values_toml
    return values_lint.about(ValuesFault.CONCURRENT)


@fact(effect="static")
def values_metrics(values_lint: Lint) -> Lint:
    """The managers' metrics."""
    return values_lint.about(ValuesFault.METRICS_OFF)


@fact(effect="static")
def values_placement(values_toml: Lint, values_lint: Lint) -> Lint:
    """Settings of the managers' pods that are easily taken for the jobs'."""
    del values_toml
    return values_lint.about(ValuesFault.MANAGERS_ONLY)


@fact(effect="static")
def values_unregister(values_lint: Lint) -> Lint:
    """What a manager that stops leaves in GitLab."""
    return values_lint.about(ValuesFault.UNREGISTER)


@fact(
    optional=("registry_reply", "registry_account", "manifest", "here_lookups"),
    fan_in={"registry_reply": "registry", "registry_account": "registry", "here_lookups": "resolver"},
    for_target={"manifest": ("image", probe_image)},
)
def helper_image(
    job_shape: JobShape,
    helm_values: Values,
    registry_reply: tuple[RegistryReply, ...],
    registry_account: tuple[Account, ...],
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    inventory: Inventory,
    run: Run,
) -> Manifest:
    """The runner's helper image in its registry."""
    image = job_shape.helper_image
    if "$" in image:
        reason = f"helper_image {image} holds variables that the runner fills in when a job starts"
        raise NotApplicable(reason)
    host = registry.parse_reference(image).host
    name = next((name for name, one in inventory.registries.items() if one.host == host), None)
    reply = next((one for one in registry_reply if one.host == host), None)
    if name is not None and (reply is None or reply.fault is not None):
        if reply is not None:
            try:
                block_if_no_resolver_knows(reply, host, here_lookups)
            except Blocked as blocked:
                raise blocked.propagated() from None
        blocker = "registry_access" if reply and not isinstance(reply.fault, PathFault) else "registry_connection"
        raise Blocked.by(blocker, reply, {"registry": name}, otherwise=f"{host} could not be asked")
    account = next((one for one in registry_account if one.host == host), None)
    one = inventory.registry_of(image)
    found = registry.manifest(
        image,
        platform=inventory.cluster.platform,
        scheme=one.scheme,
        credentials=account.credentials if account else None,
        ca_file=one.ca_file,
        routes=run.routes,
        deadline=inventory.deadlines.http,
    )
    if found.fault is None:
        return found
    if manifest is not None and manifest.fault == found.fault and inventory.registry_of(manifest.image) == one:
        raise Blocked.by("manifest", manifest, {"image": manifest.image})
    unset = "" if helm_values.kubernetes.get("helper_image") else "helper_image is not set, and the runner takes "
    return replace(found, fault=ValuesFault.HELPER_IMAGE, cause=f"{unset}{image}: {found.fault}: {found.cause}")


@fact(effect="probe", deadline="pod", fan_in={"pod_pull": "worker"})
def pull_patience(image: str, pod_pull: tuple[ImagePull, ...], job_shape: JobShape, helm_values: Values) -> PollTimeout:
    """How long the runner waits for a pod that pulls an image."""
    place = "poll_timeout" if "poll_timeout" in helm_values.kubernetes else "the default of poll_timeout"
    return poll_timeout.judge(image, pod_pull, allowed=job_shape.poll_timeout, place=place)


@fact(deadline="api")
def runner_secret(
    api_answer: ApiServer, kubernetes: api_client.Api, helm_values: Values, inventory: Inventory
) -> SecretKeys:
    """The Secret with the runner's token."""
    del api_answer
    name = helm_values.get("runners.secret")
    if not name:
        return secret_keys.unnamed(
            "runners.secret", "runners.secret is not set: the chart makes a Secret of runnerToken"
        )
    return secret_keys.read(
        kubernetes,
        inventory.runner.namespace,
        str(name),
        setting="runners.secret",
        needed=secret_keys.TOKEN_KEYS,
        otherwise=ValuesFault.SECRET_KEYS,
    )


@fact(deadline="api")
def runner_ca(
    api_answer: ApiServer, kubernetes: api_client.Api, helm_values: Values, inventory: Inventory
) -> SecretKeys:
    """The Secret with the CA of GitLab's certificate."""
    del api_answer
    setting, url = "certsSecretName", urlsplit(str(helm_values.get("gitlabUrl") or inventory.gitlab.url))
    name = helm_values.get(setting)
    if not name:
        found = secret_keys.unnamed(setting, f"certsSecretName is not set, and GitLab is asked over {url.scheme}")
        if url.scheme == "https" and inventory.gitlab.ca_file is not None:
            cause = f"certsSecretName is not set: the runner has no CA for {url.hostname}, and the inventory needs one"
            return replace(found, fault=ValuesFault.CERTIFICATE_KEY, cause=cause)
        return found
    needed = [f"{url.hostname}.crt"]
    fault = ValuesFault.CERTIFICATE_KEY
    namespace = inventory.runner.namespace
    return secret_keys.read(kubernetes, namespace, str(name), setting=setting, needed=needed, otherwise=fault)
