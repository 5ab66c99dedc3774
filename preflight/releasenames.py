"""The names of a release's objects: as Helm renders them, or else as the chart's templates make them of the values.

docs/sources.md#release-names has the templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preflight import charts, templatetext
from preflight.rendering import Rendering, name_of
from preflight.templatetext import Scope
from preflight.values import Values

_CHART = "gitlab-runner"
_LONGEST = 63  # characters of a name that is a DNS label
METRICS_PORT = 9252  # the chart's metrics.port, unless the values say otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNames:
    """What the release's objects are called.

    Attributes:
        workload: the managers' Deployment, by which their pods' names begin.
        namespace: where the objects stand.
        service_account: the managers'.
        account_made: whether the release brings the service account.
        secret: the Secret with the runner's token; None if its name is an expression that only Helm can tell.
        secret_made: whether the release brings it.
        metrics_port: of the managers' metrics; None where they have none.
    """

    workload: str
    namespace: str
    service_account: str
    account_made: bool
    secret: str | None
    secret_made: bool
    metrics_port: int | None


def names_of(values: Values) -> ReleaseNames:
    """The names in the rendered objects, or else those that the values lead to."""
    rendering = values.rendering
    tree = values.tree if "namespace" in charts.keys(values.chart).tree else {**values.tree, "namespace": None}
    by_hand = names_in(tree, release=values.release, namespace=values.namespace)
    if rendering is None or rendering.workload is None:
        return by_hand
    secret = _token_secret(rendering)
    return ReleaseNames(
        workload=name_of(rendering.workload),
        namespace=rendering.namespace_of(rendering.workload),
        service_account=rendering.service_account,
        account_made=rendering.named("ServiceAccount", rendering.service_account) is not None,
        secret=secret or by_hand.secret,
        secret_made=rendering.named("Secret", secret) is not None if secret else by_hand.secret_made,
        metrics_port=_metrics_port(values, rendering),
    )


def _token_secret(rendering: Rendering) -> str:
    """The Secret that is mounted for the key with the runner's token."""
    return next(
        (
            reference.name
            for reference in rendering.references
            if reference.kind == "Secret" and "runner-token" in reference.keys
        ),
        "",
    )


def _metrics_port(values: Values, rendering: Rendering) -> int | None:
    settings = (rendering.values or values.tree).get("metrics")
    if not isinstance(settings, Mapping) or not settings.get("enabled"):
        return None
    ports = rendering.ports
    port = ports.get(str(settings.get("portName") or "metrics"))
    return port if port is not None else _port(settings)


def names_in(tree: Mapping[str, Any], *, release: str, namespace: str) -> ReleaseNames:
    """The names that merged values lead to, by the chart's templates."""
    chart = str(tree.get("nameOverride") or _CHART)
    default = release if release.startswith(chart) else f"{release}-{chart}"
    full = str(tree.get("fullnameOverride") or default)[:_LONGEST].removesuffix("-")
    account, made = _account(tree, full)
    runners = tree.get("runners")
    named = str(runners.get("secret") or "") if isinstance(runners, Mapping) else ""
    reading = templatetext.read(named, Scope(tree, release=release, namespace=namespace))
    metrics = tree.get("metrics")
    return ReleaseNames(
        workload=full,
        namespace=str(tree.get("namespace") or namespace),
        service_account=account,
        account_made=made,
        secret=None if reading.unread or reading.error else reading.text or full,
        secret_made=not named or bool(tree.get("runnerToken") or tree.get("runnerRegistrationToken")),
        metrics_port=_port(metrics) if isinstance(metrics, Mapping) and metrics.get("enabled") else None,
    )


def _port(settings: Mapping[str, Any]) -> int:
    port = settings.get("port")
    return port if isinstance(port, int) and port else METRICS_PORT


def _account(tree: Mapping[str, Any], full: str) -> tuple[str, bool]:
    """The account that the chart gives the managers, and whether the chart makes it (docs/sources.md#rbac)."""
    own, rbac = (table if isinstance(table := tree.get(key), Mapping) else {} for key in ("serviceAccount", "rbac"))
    creates = own.get("create")
    made = bool(creates) or (bool(rbac.get("create")) and creates is None)
    if creates or own.get("name"):
        return str(own.get("name") or full), made
    if rbac.get("create"):
        return str(rbac.get("generatedServiceAccountName") or full), made
    return str(rbac.get("serviceAccountName") or "default"), False
