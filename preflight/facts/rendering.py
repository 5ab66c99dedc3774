"""3 The chart, and what Helm makes of it with the values: the objects that are to come."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from preflight.clients import helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.fact import fact
from preflight.facts.blocking import block_if_no_resolver_knows
from preflight.facts.references import Ref
from preflight.facts.target_selectors import repository_of_cluster_account
from preflight.inventory import Inventory, Login
from preflight.inventory_forms import Secret, is_chart_path
from preflight.probes import chart_repository, chart_source, cluster, credentials
from preflight.probes import registry as registries
from preflight.probes import rendering as probe
from preflight.probes.chart_repository import ChartVersion
from preflight.probes.chart_source import FetchedChart
from preflight.probes.cluster import ApiGroups, ApiServer
from preflight.probes.credentials import Account
from preflight.probes.dns import Lookups
from preflight.probes.registry import Credentials
from preflight.probes.rendering import ChartRendering
from preflight.run import Run
from preflight.values import settings_of, sources_of, with_wrappers


@fact(
    optional=("api_answer",),
    for_target={"api_answer": ("registry", repository_of_cluster_account)},
    deadline="api",
    secret=True,
    reported_by=("chart_version", "chart_package"),
)
def repository_account(api_answer: ApiServer | None, kubernetes: api_client.Api, inventory: Inventory) -> Account:
    """The account for the chart repository."""
    configured = inventory.runner.repository_credentials
    host = urlsplit(inventory.runner.repository).netloc or inventory.runner.repository
    if configured is None:
        return Account(registry="chart repository", host=host)
    secret = configured.password if isinstance(configured, Login) else configured
    if secret.cluster_key and (api_answer is None or api_answer.fault):
        raise Blocked.by(Ref.API_ANSWER, api_answer, otherwise="the API server could not be asked")
    text = _read(secret, kubernetes)
    if isinstance(configured, Login):
        return Account(registry="chart repository", host=host, credentials=Credentials(configured.username, text))
    login = registries.parse_docker_config(text, host)
    if login is None:
        raise Unmeasured(
            f"{configured.reference} holds no account for {host}",
            needs=f"an entry for {host} under auths in that docker config",
        )
    return Account(registry="chart repository", host=host, credentials=login)


def _read(secret: Secret, kubernetes: api_client.Api) -> str:
    if secret.text is not None:
        return secret.text
    namespace, name, key = secret.cluster_key or ("", "", "")
    return credentials.read_secret(kubernetes, namespace, name, key)


@fact(optional=("here_lookups",), fan_in={"here_lookups": "resolver"})
def chart_version(
    repository_account: Account, here_lookups: tuple[Lookups, ...], inventory: Inventory, run: Run
) -> ChartVersion:
    """The chart's version in its repository."""
    runner = inventory.runner
    if is_chart_path(runner.chart) or chart_source.OCI in (runner.chart[:6], runner.repository[:6]):
        raise NotApplicable("the chart comes from no repository with an index")
    if runner.repository == "none":
        raise NotApplicable("runner.repository is none: the chart does not come from a repository")
    chart = chart_repository.chart_version(
        runner.repository,
        runner.chart,
        credentials=repository_account.credentials,
        routes=run.routes,
        ca_file=runner.repository_ca_file,
        deadline=inventory.deadlines.http,
    )
    block_if_no_resolver_knows(chart, urlsplit(runner.repository).netloc, here_lookups)
    return chart


@fact(optional=("chart_version", "here_lookups"), fan_in={"here_lookups": "resolver"})
def chart_package(
    repository_account: Account,
    chart_version: ChartVersion | None,
    here_lookups: tuple[Lookups, ...],
    inventory: Inventory,
    run: Run,
) -> FetchedChart:
    """The chart's package."""
    runner = inventory.runner
    source = chart_source.source_of(runner.chart, runner.repository, folder=Path())
    if source is None:
        raise NotApplicable("runner.repository is none, and runner.chart names no package")
    if source.kind == "repository" and (chart_version is None or chart_version.fault is not None):
        raise Blocked.by(Ref.CHART_VERSION, chart_version, otherwise="the chart repository could not be asked")
    is_oci = source.kind == "oci"
    registry = inventory.registry_of(source.place.removeprefix(chart_source.OCI)) if is_oci else None
    chart = chart_source.fetch(
        source,
        listed=chart_version if source.kind == "repository" else None,
        credentials=repository_account.credentials,
        ca_file=runner.repository_ca_file or (registry.ca_file if registry is not None else None),
        routes=run.routes,
        deadline=inventory.deadlines.http,
        scheme=registry.scheme if registry is not None else "https",
    )
    if source.kind != "local":
        block_if_no_resolver_knows(chart, urlsplit(source.place).netloc, here_lookups)
    return chart


@fact(deadline="api", reported_by=("api_answer",))
def api_groups(api_answer: ApiServer, kubernetes: api_client.Api) -> ApiGroups:
    """The groups of resources that the cluster serves."""
    return cluster.api_groups(kubernetes)


@fact(reported_by=("chart_rendering",))
def helm_program(inventory: Inventory) -> helm.Helm | None:
    """Helm, if there is one and it is not switched off."""
    return helm.find(inventory.runner.helm, deadline=inventory.deadlines.http)


@fact(optional=("api_answer", "api_groups"), deadline="http+http")
def chart_rendering(
    chart_package: FetchedChart,
    helm_program: helm.Helm | None,
    api_answer: ApiServer | None,
    api_groups: ApiGroups | None,
    inventory: Inventory,
) -> ChartRendering:
    """What Helm makes of the chart with the values."""
    runner = inventory.runner
    if helm_program is None:
        off = "runner.helm is none" if runner.helm == helm.NONE else "there is no helm on the PATH"
        raise NotApplicable(f"{off}: the values are read as far as they can be without Helm")
    if chart_package.package is None:
        raise Unmeasured("the chart's package is not at hand", needs="a run that fetches it")
    sources = sources_of(runner)
    return probe.render(
        helm_program,
        chart_package.package,
        release=runner.release,
        namespace=runner.namespace,
        parts=[part for source in sources for part in source.parts],
        settings=with_wrappers(sources, settings_of(runner)),
        kubernetes=api_answer.version if api_answer is not None and api_answer.fault is None else "",
        api_versions=api_groups.versions if api_groups is not None else (),
        deadline=inventory.deadlines.http,
    )
