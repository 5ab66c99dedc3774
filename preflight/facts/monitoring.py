"""8 What the runner's managers say of themselves, and what the cluster says of them."""

from __future__ import annotations

from collections.abc import Mapping

from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import NotApplicable
from preflight.fact import fact
from preflight.inventory import Inventory
from preflight.probes import monitoring
from preflight.probes.monitoring import ManagerMetrics, Warnings

_LATELY = 3600.0  # seconds: as long as the API server keeps events


@fact(after=("api_answer",), deadline="api")
def manager_metrics(kubernetes: api_client.Api, inventory: Inventory) -> ManagerMetrics:
    """The metrics of the runner's managers."""
    runner = inventory.runner
    values = helm.load(
        runner.values, runner.set, release=runner.release, namespace=runner.namespace, chart=runner.chart
    )
    settings = values.tree.get("metrics")
    settings = settings if isinstance(settings, Mapping) else {}
    if not settings.get("enabled"):
        reason = "metrics.enabled is not set in the values, and the chart's default is false"
        raise NotApplicable(reason)
    managers = monitoring.manager_pods(kubernetes, runner.namespace, runner.release)
    if not managers:
        reason = f"no manager of release {runner.release} runs in namespace {runner.namespace}"
        raise NotApplicable(reason)
    port = int(settings.get("port") or monitoring.PORT)
    return monitoring.metrics(kubernetes, runner.namespace, managers, port=port)


@fact()
def manager_version(manager_metrics: ManagerMetrics) -> ManagerMetrics:
    """The version that the managers say they are."""
    return monitoring.judge_version(manager_metrics)


@fact()
def manager_polls(manager_metrics: ManagerMetrics) -> ManagerMetrics:
    """GitLab's answers to the managers' polls for jobs."""
    return monitoring.judge_polls(manager_metrics)


@fact(after=("api_answer",), deadline="api")
def manager_warnings(kubernetes: api_client.Api, inventory: Inventory) -> Warnings:
    """The cluster's warnings about the managers."""
    runner = inventory.runner
    return monitoring.warnings(kubernetes, runner.namespace, runner.release, within=_LATELY)
