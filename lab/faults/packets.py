"""What can be wrong with packets of full size (guide 2.4): short answers arrive, long ones do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("path-mtu-node", "Packets of full size from GitLab reach neither k8s-worker-1 nor the pods there.")
def _(world: World) -> None:
    world.narrow |= {"node k8s-worker-1", "pod on k8s-worker-1"}


@fault("path-mtu-pods", "The pod network's tunnel carries smaller packets than its pods' MTU.")
def _(world: World) -> None:
    world.narrow |= {f"pod on {name}" for name in world.nodes}
