"""What can be wrong with the jobs' namespace, the runner's rights in it, and the way into its pods (guide 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.guide import NAMESPACE, webhook
from lab.kubernetes.resources import STORED

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
    taken = {"secrets", "pods/exec"}
    rules = [{**rule, "resources": [one for one in rule["resources"] if one not in taken]} for rule in role["rules"]]
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
