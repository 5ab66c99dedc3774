"""8 The runner's managers: their own metrics, and the cluster's warnings about them."""

from __future__ import annotations

from preflight.clients import kube_api as api_client
from preflight.evidence import NotApplicable
from preflight.fact import fact
from preflight.probes import monitoring
from preflight.probes.monitoring import ManagerMetrics, Warnings
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
    managers = monitoring.manager_pods(kubernetes, names.namespace, release)
    if not managers:
        reason = f"no manager of release {release} runs in namespace {names.namespace}"
        raise NotApplicable(reason)
    return monitoring.metrics(kubernetes, names.namespace, managers, port=names.metrics_port)


@fact()
def manager_version(manager_metrics: ManagerMetrics) -> ManagerMetrics:
    """The version that the managers report."""
    return monitoring.judge_version(manager_metrics)


@fact()
def manager_polls(manager_metrics: ManagerMetrics) -> ManagerMetrics:
    """GitLab's answers to the managers' polls for jobs."""
    return monitoring.judge_polls(manager_metrics)


@fact(after=("api_answer",), deadline="api")
def manager_warnings(kubernetes: api_client.Api, helm_values: Values) -> Warnings:
    """The cluster's warnings about the managers."""
    namespace = names_of(helm_values).namespace
    return monitoring.warnings(kubernetes, namespace, helm_values.release, within=_LATELY)
