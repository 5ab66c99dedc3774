"""3.3 The values file: how the chart and the runner read it, and whether it fits the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from preflight import values as helm
from preflight.chartpackage import keys_of
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.facts.blocking import block_if_no_resolver_knows, require_read, unread
from preflight.facts.probe_plan import platforms_of_jobs
from preflight.facts.references import Ref
from preflight.facts.registry import access_to
from preflight.facts.target_selectors import probe_image
from preflight.faults import PathFault, ValuesFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import allowed_images, lint, poll_timeout, registry, secret_keys
from preflight.probes.allowed_images import AllowedImages
from preflight.probes.chart_source import FetchedChart
from preflight.probes.cluster import Nodes
from preflight.probes.credentials import Account
from preflight.probes.dns import Lookups
from preflight.probes.lint import Lint
from preflight.probes.lint.findings import Reader
from preflight.probes.pods import ImagePull
from preflight.probes.poll_timeout import PollTimeout
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.rendering import ChartRendering
from preflight.probes.secret_keys import SecretKeys
from preflight.releasenames import names_of
from preflight.run import Run
from preflight.values import Values


@fact(effect="static", optional=("chart_package", "chart_rendering"))
def helm_values(
    chart_package: FetchedChart | None, chart_rendering: ChartRendering | None, inventory: Inventory
) -> Values:
    """The values, merged; with what Helm makes of them, where it was asked."""
    runner = inventory.runner
    package = chart_package.package if chart_package is not None else None
    values = helm.values_of(
        runner,
        chart=package.version if package is not None else "",
        app_version=package.app_version if package is not None else "",
    )
    if chart_rendering is not None and chart_rendering.rendering is not None:
        return helm.with_rendering(values, chart_rendering.rendering)
    if chart_rendering is not None and chart_rendering.fault is not None:
        return replace(values, refused=f"{chart_rendering.fault}: {chart_rendering.cause}", problem=None)
    missing = helm.INSTALL_HELM if package is not None else helm.GIVE_PACKAGE
    return replace(values, unread=tuple(replace(setting, needs=missing) for setting in values.unread))


@fact(effect="static", optional=("chart_package",))
def values_lint(chart_package: FetchedChart | None, helm_values: Values, inventory: Inventory) -> Lint:
    """Everything that the chart or the runner ignores or refuses."""
    package = chart_package.package if chart_package is not None else None
    expected = lint.Expected(
        chart=helm_values.chart,
        keys=keys_of(package) if package is not None else None,
        gitlab_url=inventory.gitlab.url,
        resolvers=tuple(inventory.dns.resolvers),
        privileged=inventory.dind != "none",
    )
    return lint.lint(helm_values, expected)


_JOBS = "runners.kubernetes"


def _about(
    *faults: ValuesFault, reader: Reader | None = None, needs: tuple[str, ...] | None = None, bare: bool = False
) -> Callable[[Lint], Lint]:
    """Findings of these kinds; where there are none, the settings that `needs` names must have been read.

    Without names, all of them must have been, or with `bare` those that may be another type than text. None needs none.
    """

    def judge(linted: Lint) -> Lint:
        chosen = linted.about(*faults, reader=reader)
        gap = linted.gap(*needs, bare=bare) if needs is not None and chosen.fault is None else None
        if gap is not None:
            raise unread(gap.cause, gap.needs, refused=linted.refused)
        return chosen

    return judge


values_toml = view(
    "values_toml", values_lint, _about(ValuesFault.NOT_TOML, needs=("nothing",)), "The TOML of runners.config."
)
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
        needs=("nothing",),
    ),
    "The keys that the runner reads.",
    after=("values_toml",),
)
values_loading = view(
    "values_loading",
    values_lint,
    _about(ValuesFault.REFUSED, needs=(), bare=True),
    "What keeps the runner from loading its configuration.",
    after=("values_toml",),
)
values_job_settings = view(
    "values_job_settings",
    values_lint,
    _about(ValuesFault.JOBS_FAIL, ValuesFault.SOME_JOBS_FAIL, needs=()),
    "Settings with which jobs fail.",
    after=("values_toml",),
)
values_without_effect = view(
    "values_without_effect",
    values_lint,
    _about(ValuesFault.NO_EFFECT, needs=()),
    "Settings of the values that do nothing.",
    after=("values_toml",),
)
values_not_known = view(
    "values_not_known",
    values_lint,
    _about(ValuesFault.NOT_KNOWN, needs=("nothing",)),
    "Keys of versions that are newer than the tables.",
    after=("values_toml",),
)
values_consistency = view(
    "values_consistency",
    values_lint,
    _about(ValuesFault.TWICE, ValuesFault.CONTRADICTION, ValuesFault.TOKEN_IN_FILE, needs=("nothing",)),
    "Settings that are duplicated or contradict each other.",
)
values_templates = view(
    "values_templates", values_lint, _about(ValuesFault.TEMPLATE, needs=()), "Template expressions in runners.config."
)
values_gitlab = view("values_gitlab", values_lint, _about(ValuesFault.GITLAB_URL), "The GitLab URL of the values.")
values_rights = view("values_rights", values_lint, _about(ValuesFault.RBAC_OFF), "The managers' rights.")
values_image = view("values_image", values_lint, _about(ValuesFault.IMAGE_FLAVOUR), "The managers' image and user.")
values_dns_policy = view(
    "values_dns_policy",
    values_lint,
    _about(ValuesFault.DNS_POLICY, needs=(f"{_JOBS}.dns_policy",)),
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
        needs=(f"{_JOBS}.dns_policy", f"{_JOBS}.dns_config"),
    ),
    "The resolvers that the values set for jobs.",
    after=("values_toml",),
)
values_privilege = view(
    "values_privilege",
    values_lint,
    _about(
        ValuesFault.NOT_PRIVILEGED,
        needs=(f"{_JOBS}.privileged", f"{_JOBS}.service_container_security_context"),
    ),
    "Whether the values make jobs privileged.",
    after=("values_toml",),
)
values_concurrency = view(
    "values_concurrency",
    values_lint,
    _about(ValuesFault.CONCURRENT, needs=("runners.limit", "runners.request_concurrency")),
    "The number of jobs that a manager runs.",
    after=("values_toml",),
)
values_metrics = view("values_metrics", values_lint, _about(ValuesFault.METRICS_OFF), "The managers' metrics.")
values_placement = view(
    "values_placement",
    values_lint,
    _about(
        ValuesFault.MANAGERS_ONLY,
        needs=tuple(
            f"{_JOBS}.{key}" for key in ("node_selector", "affinity", "node_tolerations", "image_pull_secrets")
        ),
    ),
    "Settings of the managers' pods that are easily mistaken for the jobs'.",
    after=("values_toml",),
)
values_unregister = view(
    "values_unregister",
    values_lint,
    _about(ValuesFault.UNREGISTER),
    "Whether a manager that stops unregisters from GitLab.",
)


@fact(effect="static", tolerates=("values_lint",))
def values_completeness(values_lint: Lint) -> Lint:
    """Whether all values are in the files of the inventory."""
    if values_lint.elsewhere:
        raise Unmeasured(
            f"values are given elsewhere, too: {'; '.join(values_lint.elsewhere)}",
            needs="each of them as a file of its own under `runner.values`",
        )
    return values_lint.about()


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
    require_read(helm_values, *helm.HELPER_SETTINGS)
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
        **access_to(settings, account.credentials if account else None, inventory, run),
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
    require_read(helm_values, f"{_JOBS}.poll_timeout")
    place = "poll_timeout" if "poll_timeout" in helm_values.kubernetes else "the default of poll_timeout"
    return poll_timeout.judge(image, pod_pull, allowed=job_shape.poll_timeout, place=place)


@fact(after=("api_answer",), deadline="api")
def runner_secret(kubernetes: api_client.Api, helm_values: Values, inventory: Inventory) -> SecretKeys:
    """The Secret with the runner's token."""
    names = names_of(helm_values)
    if names.secret is None:
        raise Unmeasured("runners.secret holds an expression that only Helm can tell", needs=helm.INSTALL_HELM)
    if names.secret_made or not helm_values.get("runners.secret"):
        return secret_keys.unnamed(
            "runners.secret", "the chart makes the Secret: runners.secret names none, or one that it makes of a token"
        )
    return secret_keys.read(
        kubernetes,
        names.namespace,
        names.secret,
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
    namespace = names_of(helm_values).namespace
    return secret_keys.read(kubernetes, namespace, str(name), setting=setting, needed=needed, otherwise=fault)
