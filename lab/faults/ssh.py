"""Why a worker cannot be logged in to (guide 2.4); the environment itself is in health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

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


@fault("ssh-silent", "Port 22 of k8s-worker-1 takes connections, and sshd never says a word.")
def _(world: World) -> None:
    world.nodes["k8s-worker-1"].ssh.mode = "mute"
