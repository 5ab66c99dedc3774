"""Why the API refuses a job's pod before it is stored (guide 3.2, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.guide import NAMESPACE, limit_range, quota
from lab.kubernetes.managers import job_pod

if TYPE_CHECKING:
    from lab.world import World


@fault("psa-baseline", "The namespace gitlab enforces the baseline Pod Security level: privileged pods are refused.")
def _(world: World) -> None:
    world.cluster.enforce(NAMESPACE, "baseline")


@fault("quota-exhausted", "The namespace gitlab has a quota of three pods, and the three managers use it up.")
def _(world: World) -> None:
    world.cluster.add(quota(NAMESPACE, "compute-resources", {"pods": "3"}))


@fault("quota-pods", "A quota on objects counts the pods of old jobs, which nobody removed, and they use it up.")
def _(world: World) -> None:
    nodes = [node.name for node in world.workers]
    for number in range(20):
        item = job_pod(nodes[number % len(nodes)], job=3200 + number, minutes=60.0 * (number + 2))
        item["status"]["phase"] = "Failed" if number % 3 else "Succeeded"
        world.cluster.add(item)
    world.cluster.add(quota(NAMESPACE, "object-counts", {"count/pods": "23"}))


@fault("limitrange", "A LimitRange allows containers in gitlab at most 1 CPU and 1 GiB; the values ask for twice that.")
def _(world: World) -> None:
    most = {"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}
    most |= {"default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}
    world.cluster.add(limit_range(NAMESPACE, "container-limits", most))


@fault("service-account-missing", "The values give jobs the service account ci-jobs, which does not exist.")
def _(world: World) -> None:
    world.values_edits['dns_policy = "none"'] = 'service_account = "ci-jobs"\n        dns_policy = "none"'
