"""Firewalls between the cluster and GitLab (guide 2.4, 6.1); GitLab is up and answers the operator's own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import GITLAB_ADDRESS, MIRROR_ADDRESS, Rule

if TYPE_CHECKING:
    from lab.world import World


@fault("path-one-node-blocked", "Nothing from k8s-worker-2 reaches GitLab, nor from its pods, which use its address.")
def _(world: World) -> None:
    world.firewall += [Rule("node k8s-worker-2", GITLAB_ADDRESS), Rule("pod on k8s-worker-2", GITLAB_ADDRESS)]


@fault("path-nodes-blocked", "A security group drops everything from the nodes, and so from their pods, to GitLab.")
def _(world: World) -> None:
    world.firewall += [Rule("node *", GITLAB_ADDRESS), Rule("pod on *", GITLAB_ADDRESS)]


@fault(
    "path-pods-blocked", "Nothing from any pod reaches GitLab, while the nodes do: the pod network is not let through."
)
def _(world: World) -> None:
    world.firewall.append(Rule("pod on *", GITLAB_ADDRESS))


@fault(
    "path-pods-of-one-node-blocked",
    "Nothing from the pods on k8s-worker-2 reaches GitLab; the node itself does, and so do all other pods.",
)
def _(world: World) -> None:
    world.firewall.append(Rule("pod on k8s-worker-2", GITLAB_ADDRESS))


@fault("path-node-to-registry", "A firewall drops what k8s-worker-2 and its pods send to registry.example.com.")
def _(world: World) -> None:
    world.firewall += [Rule(source, MIRROR_ADDRESS) for source in ("node k8s-worker-2", "pod on k8s-worker-2")]


@fault("path-mtu-node", "Packets of full size do not come from GitLab to k8s-worker-1, nor to the pods there.")
def _(world: World) -> None:
    world.narrow |= {"node k8s-worker-1", "pod on k8s-worker-1"}


@fault("path-mtu-pods", "The pod network's tunnel carries smaller packets than its pods believe.")
def _(world: World) -> None:
    world.narrow |= {f"pod on {name}" for name in world.nodes}
