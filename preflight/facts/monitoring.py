"""8 The runner's managers: their own metrics, and the cluster's warnings about them."""

from __future__ import annotations

from dataclasses import replace

from preflight.clients import kube_api as api_client
from preflight.evidence import NotApplicable
from preflight.fact import fact, view
from preflight.inventory import Inventory
from preflight.probes import managers, monitoring
from preflight.probes.managers import Objects, Rollout
from preflight.probes.monitoring import ManagerActivity, ManagerMetrics, Warnings
from preflight.releasenames import names_of
from preflight.values import Values

_LATELY = 3600.0  # seconds: as long as the API server keeps events


@fact(after=("api_answer",), deadline="api")
def manager_metrics(kubernetes: api_client.Api, helm_values: Values) -> ManagerMetrics:
    """The metrics of the runner's managers."""
    names, release = names_of(helm_values), helm_values.release
    if names.metrics_port is None:
        reason = "metrics.enabled is not set in the values, and the chart's default is false"
        raise NotApplicable(reason)
    pods = monitoring.manager_pods(kubernetes, names.namespace, release)
    if not pods:
        reason = f"no manager of release {release} runs in namespace {names.namespace}"
        raise NotApplicable(reason)
    measured = monitoring.metrics(kubernetes, names.namespace, pods, port=names.metrics_port)
    if not measured.pages and measured.fault is None:
        reason = f"no manager of release {release} is ready, and none gives metrics yet"
        raise NotApplicable(reason)
    return measured


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
    helm_values: Values,
    inventory: Inventory,
) -> ManagerActivity:
    """The managers' polls for jobs, counted twice where some have failed."""
    if release_objects is not None and release_objects.pods:
        staying = {pod["metadata"]["name"] for pod in managers.that_stay(release_objects, manager_rollout).pods}
        pages = tuple(page for page in manager_metrics.pages if page.pod in staying)
        manager_metrics = replace(manager_metrics, pages=pages)
    names = names_of(helm_values)
    return monitoring.activity(
        kubernetes,
        names.namespace,
        manager_metrics,
        port=names.metrics_port or monitoring.PORT,
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
def manager_warnings(kubernetes: api_client.Api, helm_values: Values) -> Warnings:
    """The cluster's warnings about the managers."""
    namespace = names_of(helm_values).namespace
    return monitoring.warnings(kubernetes, namespace, helm_values.release, within=_LATELY)
