"""What can be wrong with the jobs' namespace, the rights in it, and what it admits or streams (guide 3.2, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cluster import timestamps
from lab.cluster.resources import STORED
from lab.faults import fault
from lab.kubernetes.guide import NAMESPACE, limit_range, pull_secret, quota, webhook
from lab.kubernetes.managers import job_pod

if TYPE_CHECKING:
    from lab.world import World


@fault("namespace-missing", "The namespace gitlab does not exist, and so neither does anything in it.")
def _(world: World) -> None:
    for resource in STORED:
        for item in world.cluster.each(resource.plural):
            metadata = item["metadata"]
            if metadata.get("namespace") == NAMESPACE:
                world.cluster.remove(resource.plural, NAMESPACE, metadata["name"])
    world.cluster.remove("namespaces", "", NAMESPACE)


@fault("runner-rights-missing", "The Role of the runner's service account allows neither exec nor Secrets.")
def _(world: World) -> None:
    role = world.cluster.get("roles", NAMESPACE, "gitlab-runner")
    if role is None:  # its namespace is gone
        return
    missing = {"secrets", "pods/exec"}
    rules = [
        {**rule, "resources": [name for name in rule["resources"] if name not in missing]} for rule in role["rules"]
    ]
    role["rules"] = [rule for rule in rules if rule["resources"]]
    world.cluster.touch("roles", role)


@fault("webhook-fails-closed", "A validating webhook of a policy engine sees every pod, with failurePolicy Fail.")
def _(world: World) -> None:
    world.cluster.add(webhook("kyverno-resource-validating-webhook-cfg", "validate.kyverno.svc-fail"))


@fault("webhook-timeout", "The server of a policy engine's webhook, which fails closed, does not answer.")
def _(world: World) -> None:
    world.cluster.add(webhook("kyverno-resource-validating-webhook-cfg", "validate.kyverno.svc-fail", seconds=2))
    world.cluster.silent_hooks.add("validate.kyverno.svc-fail")


@fault("exec-no-upgrade", "The balancer in front of the API server does not pass WebSocket upgrades on.")
def _(world: World) -> None:
    world.api_upgrades = False


@fault("psa-baseline", "The namespace gitlab enforces the baseline Pod Security level: privileged pods are refused.")
def _(world: World) -> None:
    if world.cluster.get("namespaces", "", NAMESPACE):  # else there is nothing to enforce it in
        world.cluster.enforce(NAMESPACE, "baseline")


@fault("quota-exhausted", "The namespace gitlab has a quota of three pods, and the three managers use it up.")
def _(world: World) -> None:
    world.cluster.add(quota(NAMESPACE, "compute-resources", {"pods": "3"}))


@fault("quota-pods", "A quota on objects counts the pods of old jobs, which nobody removed, and they use it up.")
def _(world: World) -> None:
    nodes = [node.name for node in world.workers]
    for number in range(20):
        pod = job_pod(nodes[number % len(nodes)], job=3200 + number, minutes=60.0 * (number + 2))
        pod["status"]["phase"] = "Failed" if number % 3 else "Succeeded"
        world.cluster.add(pod)
    world.cluster.add(quota(NAMESPACE, "object-counts", {"count/pods": "23"}))


def _leave_secrets(world: World) -> None:
    """Add the pull credentials of jobs whose manager was killed."""
    for number in range(6):
        name = f"runner-zaxruzyo8-project-12-concurrent-{number}-{number}abcdefg"
        item = pull_secret(NAMESPACE, name, "registry.example.com", "gitlab-ci-token", "made-up-token-of-a-job")
        item["metadata"]["creationTimestamp"] = timestamps.ago(days=number + 2)
        world.cluster.add(item)


@fault("job-leftovers", "Six Secrets and a pod of jobs are left, whose manager was killed days ago.")
def _(world: World) -> None:
    _leave_secrets(world)
    pod = job_pod(world.workers[0].name, job=3100, minutes=3 * 24 * 60)
    pod["status"]["phase"] = "Failed"
    world.cluster.add(pod)


@fault("leftover-secrets-fill-quota", "A quota on Secrets is used up, by six that jobs left days ago.")
def _(world: World) -> None:
    _leave_secrets(world)
    # Those of the world itself, of the release and its two records, and those of jobs.
    count = sum(item["metadata"]["namespace"] == NAMESPACE for item in world.cluster.each("secrets")) + 3
    world.cluster.add(quota(NAMESPACE, "object-counts", {"count/secrets": str(count)}))


@fault("leftover-pods-fill-quota", "A quota of pods is used up, by pods of jobs that have hung for days.")
def _(world: World) -> None:
    for number, node in enumerate(world.workers):
        world.cluster.add(job_pod(node.name, job=3100 + number, minutes=(number + 2) * 24 * 60))
    world.cluster.add(quota(NAMESPACE, "compute-resources", {"pods": str(3 + len(world.workers))}))


@fault("limitrange", "A LimitRange allows containers in gitlab at most 1 CPU and 1 GiB; the values ask for twice that.")
def _(world: World) -> None:
    limit = {"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}
    limit |= {"default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}
    world.cluster.add(limit_range(NAMESPACE, "container-limits", limit))


@fault("service-account-missing", "The values give jobs the service account ci-jobs, which does not exist.")
def _(world: World) -> None:
    world.values_edits['dns_policy = "none"'] = 'service_account = "ci-jobs"\n        dns_policy = "none"'


@fault("job-claim-missing", "The values mount the claim build-cache in every job, and there is none of that name.")
def _(world: World) -> None:
    volume = '[[runners.kubernetes.volumes.pvc]]\n          name = "build-cache"\n          mount_path = "/cache"'
    table = "        [runners.kubernetes.dns_config]\n"
    world.values_edits[table] = f"        {volume}\n{table}"


@fault("job-priority-class-missing", "The values give jobs the priority class ci-high, which does not exist.")
def _(world: World) -> None:
    world.values_edits['dns_policy = "none"'] = 'priority_class_name = "ci-high"\n        dns_policy = "none"'


@fault(
    "managers-priority-class-missing",
    "The values give the managers the priority class ci-managers, which is not there.",
)
def _(world: World) -> None:
    world.values_edits["replicas: 3\n"] = "priorityClassName: ci-managers\nreplicas: 3\n"


@fault("managers-account-missing", "The values let the managers run as the account ci-managers, which is not there.")
def _(world: World) -> None:
    world.values_edits["replicas: 3\n"] = "serviceAccount: {create: false, name: ci-managers}\nreplicas: 3\n"


@fault("kubelet-port-dropped", "A firewall drops what the API server sends to port 10250 of k8s-worker-2.")
def _(world: World) -> None:
    world.cluster.dropped_kubelets.add("k8s-worker-2")
    world.inventory_edits["deadlines.api"] = 6  # each request to that node takes as long


@fault("stream-idle-cut", "The load balancer before the API server cuts streams that are quiet for a second.")
def _(world: World) -> None:
    world.stream_idle_timeout = 1.5
    world.inventory_edits["limits.quiet_stream"] = 2.5
