"""3.3 The values file: how the chart and the runner read it, and whether it fits the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact, view
from preflight.facts.blocking import block_if_no_resolver_knows
from preflight.facts.probe_plan import platforms_of_jobs
from preflight.facts.references import Ref
from preflight.facts.target_selectors import probe_image
from preflight.faults import PathFault, ValuesFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import allowed_images, lint, poll_timeout, registry, secret_keys
from preflight.probes.allowed_images import AllowedImages
from preflight.probes.cluster import Nodes
from preflight.probes.credentials import Account
from preflight.probes.dns import Lookups
from preflight.probes.lint import Lint
from preflight.probes.lint.findings import Reader
from preflight.probes.pods import ImagePull
from preflight.probes.poll_timeout import PollTimeout
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.secret_keys import SecretKeys
from preflight.run import Run
from preflight.values import Values


@fact(effect="static")
def helm_values(inventory: Inventory) -> Values:
    """The values, merged."""
    return helm.values_of(inventory.runner)


@fact(effect="static")
def values_lint(helm_values: Values, inventory: Inventory) -> Lint:
    """Everything that the chart or the runner ignores or refuses."""
    expected = lint.Expected(
        chart=inventory.runner.chart,
        gitlab_url=inventory.gitlab.url,
        resolvers=tuple(inventory.dns.resolvers),
        privileged=inventory.dind != "none",
    )
    return lint.lint(helm_values, expected)


def _about(*faults: ValuesFault, reader: Reader | None = None) -> Callable[[Lint], Lint]:
    return lambda found: found.about(*faults, reader=reader)


values_toml = view("values_toml", values_lint, _about(ValuesFault.NOT_TOML), "The TOML of runners.config.")
values_chart_keys = view(
    "values_chart_keys",
    values_lint,
    _about(ValuesFault.UNKNOWN_KEY, ValuesFault.WRONG_FORM, reader="chart"),
    "The keys that the chart reads.",
)
values_moved_keys = view(
    "values_moved_keys",
    values_lint,
    _about(ValuesFault.MOVED_KEY, reader="chart"),
    "The keys that the chart read in an older version.",
)
values_runner_keys = view(
    "values_runner_keys",
    values_lint,
    _about(
        ValuesFault.UNKNOWN_KEY,
        ValuesFault.OTHER_VERSION,
        ValuesFault.WRONG_FORM,
        ValuesFault.WRONG_TABLE,
        ValuesFault.MOVED_KEY,
        reader="runner",
    ),
    "The keys that the runner reads.",
    after=("values_toml",),
)
values_loading = view(
    "values_loading",
    values_lint,
    _about(ValuesFault.REFUSED),
    "What keeps the runner from loading its configuration.",
    after=("values_toml",),
)
values_job_settings = view(
    "values_job_settings",
    values_lint,
    _about(ValuesFault.JOBS_FAIL, ValuesFault.SOME_JOBS_FAIL),
    "Settings with which jobs fail.",
    after=("values_toml",),
)
values_without_effect = view(
    "values_without_effect",
    values_lint,
    _about(ValuesFault.NO_EFFECT),
    "Settings of runners.config that do nothing.",
    after=("values_toml",),
)
values_not_known = view(
    "values_not_known",
    values_lint,
    _about(ValuesFault.NOT_KNOWN),
    "Keys of versions that are newer than the tables.",
    after=("values_toml",),
)
values_consistency = view(
    "values_consistency",
    values_lint,
    _about(ValuesFault.TWICE, ValuesFault.CONTRADICTION, ValuesFault.TOKEN_IN_FILE),
    "Settings that are duplicated or contradict each other.",
)
values_templates = view(
    "values_templates", values_lint, _about(ValuesFault.TEMPLATE), "Template expressions in runners.config."
)
values_gitlab = view("values_gitlab", values_lint, _about(ValuesFault.GITLAB_URL), "The GitLab URL of the values.")
values_rights = view("values_rights", values_lint, _about(ValuesFault.RBAC_OFF), "The managers' rights.")
values_image = view("values_image", values_lint, _about(ValuesFault.IMAGE_FLAVOUR), "The managers' image and user.")
values_dns_policy = view(
    "values_dns_policy",
    values_lint,
    _about(ValuesFault.DNS_POLICY),
    "The spelling of dns_policy.",
    after=("values_toml",),
)
values_resolvers = view(
    "values_resolvers",
    values_lint,
    _about(
        ValuesFault.FLAT_NAMESERVERS,
        ValuesFault.TOO_MANY_NAMESERVERS,
        ValuesFault.NO_NAMESERVERS,
        ValuesFault.OTHER_NAMESERVERS,
    ),
    "The resolvers that the values set for jobs.",
    after=("values_toml",),
)
values_privilege = view(
    "values_privilege",
    values_lint,
    _about(ValuesFault.NOT_PRIVILEGED),
    "Whether the values make jobs privileged.",
    after=("values_toml",),
)
values_concurrency = view(
    "values_concurrency",
    values_lint,
    _about(ValuesFault.CONCURRENT),
    "The number of jobs that a manager runs.",
    after=("values_toml",),
)
values_metrics = view("values_metrics", values_lint, _about(ValuesFault.METRICS_OFF), "The managers' metrics.")
values_placement = view(
    "values_placement",
    values_lint,
    _about(ValuesFault.MANAGERS_ONLY),
    "Settings of the managers' pods that are easily mistaken for the jobs'.",
    after=("values_toml",),
)
values_unregister = view(
    "values_unregister",
    values_lint,
    _about(ValuesFault.UNREGISTER),
    "Whether a manager that stops unregisters from GitLab.",
)


@fact(
    optional=("registry_reply", "registry_account", "manifest", "here_lookups", "cluster_nodes"),
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
    cluster_nodes: Nodes | None,
    inventory: Inventory,
    run: Run,
) -> Manifest:
    """The runner's helper image in its registry."""
    image = job_shape.helper_image
    if "$" in image:
        reason = f"helper_image {image} holds variables that the runner fills in when a job starts"
        raise NotApplicable(reason)
    host = registry.parse_reference(image).host
    name = next((name for name, settings in inventory.registries.items() if settings.host == host), None)
    reply = next((candidate for candidate in registry_reply if candidate.host == host), None)
    if name is not None and (reply is None or reply.fault is not None):
        if reply is not None:
            try:
                block_if_no_resolver_knows(reply, host, here_lookups)
            except Blocked as blocked:
                raise blocked.propagated() from None
        blocker = Ref.REGISTRY_ACCESS if reply and not isinstance(reply.fault, PathFault) else Ref.REGISTRY_CONNECTION
        raise Blocked.by(blocker, reply, {"registry": name}, otherwise=f"{host} could not be asked")
    account = next((candidate for candidate in registry_account if candidate.host == host), None)
    settings = inventory.registry_of(image)
    helper = registry.manifest(
        image,
        platforms=platforms_of_jobs(cluster_nodes, job_shape, inventory),
        scheme=settings.scheme,
        token_realm=settings.token_realm or "",
        credentials=account.credentials if account else None,
        ca_file=settings.ca_file,
        routes=run.routes,
        deadline=inventory.deadlines.http,
    )
    if helper.fault is None:
        return helper
    if manifest is not None and manifest.fault == helper.fault and inventory.registry_of(manifest.image) == settings:
        raise Blocked.by(Ref.MANIFEST, manifest, {"image": manifest.image})
    unset = (
        "" if helm_values.kubernetes.get("helper_image") else "helper_image is not set, and the runner's default is "
    )
    return replace(helper, fault=ValuesFault.HELPER_IMAGE, cause=f"{unset}{image}: {helper.fault}: {helper.cause}")


@fact(effect="static")
def values_allowed_images(job_shape: JobShape, inventory: Inventory) -> AllowedImages:
    """The images that the values allow to jobs."""
    listed = [f"{registry.host}/{image}" for registry in inventory.registries.values() for image in registry.images]
    dind = inventory.dind
    return allowed_images.judge(
        job_shape,
        images=listed,
        jobs=[] if dind == "none" else [dind.client_image],
        services=[] if dind == "none" else [dind.daemon_image],
    )


@fact(effect="probe", deadline="pod", fan_in={"pod_pull": "worker"})
def pull_patience(image: str, pod_pull: tuple[ImagePull, ...], job_shape: JobShape, helm_values: Values) -> PollTimeout:
    """How long the runner waits for a pod that pulls an image."""
    place = "poll_timeout" if "poll_timeout" in helm_values.kubernetes else "the default of poll_timeout"
    return poll_timeout.judge(image, pod_pull, allowed=job_shape.poll_timeout, place=place)


@fact(after=("api_answer",), deadline="api")
def runner_secret(kubernetes: api_client.Api, helm_values: Values, inventory: Inventory) -> SecretKeys:
    """The Secret with the runner's token."""
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


@fact(after=("api_answer",), deadline="api")
def runner_ca(kubernetes: api_client.Api, helm_values: Values, inventory: Inventory) -> SecretKeys:
    """The Secret with the CA of GitLab's certificate."""
    setting, url = "certsSecretName", urlsplit(str(helm_values.get("gitlabUrl") or inventory.gitlab.url))
    name = helm_values.get(setting)
    if not name:
        unnamed = secret_keys.unnamed(setting, f"certsSecretName is not set, and GitLab is reached over {url.scheme}")
        if url.scheme == "https" and inventory.gitlab.ca_file is not None:
            cause = f"certsSecretName is not set: the runner has no CA for {url.hostname}, which the inventory needs"
            return replace(unnamed, fault=ValuesFault.CERTIFICATE_KEY, cause=cause)
        return unnamed
    needed = [f"{url.hostname}.crt"]
    fault = ValuesFault.CERTIFICATE_KEY
    namespace = inventory.runner.namespace
    return secret_keys.read(kubernetes, namespace, str(name), setting=setting, needed=needed, otherwise=fault)
