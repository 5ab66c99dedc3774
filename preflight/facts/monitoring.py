"""8 The runner's managers: their own metrics, and the cluster's warnings about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import NotApplicable
from preflight.fact import fact, view
from preflight.inventory import Inventory
from preflight.probes import managers, monitoring
from preflight.probes.managers import Objects, Rollout
from preflight.probes.monitoring import ManagerActivity, ManagerMetrics, Warnings

_LATELY = 3600.0  # seconds: as long as the API server keeps events


@fact(after=("api_answer",), deadline="api")
def manager_metrics(kubernetes: api_client.Api, inventory: Inventory) -> ManagerMetrics:
    """The metrics of the runner's managers."""
    runner = inventory.runner
    values = helm.values_of(runner)
    settings = values.tree.get("metrics")
    settings = settings if isinstance(settings, Mapping) else {}
    if not settings.get("enabled"):
        reason = "metrics.enabled is not set in the values, and the chart's default is false"
        raise NotApplicable(reason)
    pods = monitoring.manager_pods(kubernetes, runner.namespace, runner.release)
    if not pods:
        reason = f"no manager of release {runner.release} runs in namespace {runner.namespace}"
        raise NotApplicable(reason)
    return monitoring.metrics(kubernetes, runner.namespace, pods, port=_port(inventory))


def _port(inventory: Inventory) -> int:
    settings = helm.values_of(inventory.runner).tree.get("metrics")
    return int((settings.get("port") if isinstance(settings, Mapping) else None) or monitoring.PORT)


@fact()
def manager_version(manager_metrics: ManagerMetrics) -> ManagerMetrics:
    """The version that the managers report."""
    return monitoring.judge_version(manager_metrics)


@fact(
    tolerates=("manager_metrics",),
    optional=("release_objects", "manager_rollout"),
    deadline="polls+api",
    reported_by=("manager_polls",),
)
def manager_activity(
    manager_metrics: ManagerMetrics,
    release_objects: Objects | None,
    manager_rollout: Rollout | None,
    kubernetes: api_client.Api,
    inventory: Inventory,
) -> ManagerActivity:
    """The managers' polls for jobs, counted twice where some have failed."""
    if release_objects is not None and release_objects.pods:
        staying = {pod["metadata"]["name"] for pod in managers.that_stay(release_objects, manager_rollout).pods}
        pages = tuple(page for page in manager_metrics.pages if page.pod in staying)
        manager_metrics = replace(manager_metrics, pages=pages)
    return monitoring.activity(
        kubernetes,
        inventory.runner.namespace,
        manager_metrics,
        port=_port(inventory),
        deadline=inventory.deadlines.polls,
    )


manager_polls = view(
    "manager_polls",
    manager_activity,
    lambda activity: activity,
    "GitLab's answers to the managers' polls for jobs.",
    after=("manager_metrics",),
)


@fact(after=("api_answer",), deadline="api")
def manager_warnings(kubernetes: api_client.Api, inventory: Inventory) -> Warnings:
    """The cluster's warnings about the managers."""
    runner = inventory.runner
    return monitoring.warnings(kubernetes, runner.namespace, runner.release, within=_LATELY)
