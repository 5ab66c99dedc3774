"""What can be in the way from the workers and pods to GitLab, registries and the clone host (guide 2.4, 6.1, 6.4).

The servers are healthy and answer from the operator's machine. The workers are measured over SSH: where a login fails,
the environment itself may be in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import GITLAB_ADDRESS, MIRROR_ADDRESS, Rule

if TYPE_CHECKING:
    from lab.world import World


@fault("ssh-refused", "Nothing listens on port 22 of k8s-worker-1.")
def _(world: World) -> None:
    world.nodes["k8s-worker-1"].ssh.mode = "down"


@fault("ssh-auth", "No worker accepts the operator's key.")
def _(world: World) -> None:
    for node in world.workers:
        node.ssh.accepts_key = False


@fault("ssh-host-key", "The host key of k8s-worker-1 is not the one in known_hosts.")
def _(world: World) -> None:
    world.nodes["k8s-worker-1"].ssh.key_replaced = True


@fault("ssh-silent", "Port 22 of k8s-worker-1 accepts connections, and sshd sends nothing.")
def _(world: World) -> None:
    world.nodes["k8s-worker-1"].ssh.mode = "mute"


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


@fault("clone-host-unknown", "No resolver knows gitlab.example.com, the host of GitLab's clone URLs.")
def _(world: World) -> None:
    del world.zones["gitlab.example.com"]
