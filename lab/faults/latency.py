"""What can be wrong with the ways that packets take (guide 2.4): some are lost, or all take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import Link

if TYPE_CHECKING:
    from lab.world import World


@fault("packets-lost-10", "One packet of ten is lost on the way of k8s-worker-2 and its pods, whereto ever.")
def _(world: World) -> None:
    world.links += [Link("node k8s-worker-2", loss=0.1), Link("pod on k8s-worker-2", loss=0.1)]


@fault(
    "packets-lost-30",
    "Three packets of ten are lost on the way of k8s-worker-2, in each direction on that of its pods, whereto ever.",
)
def _(world: World) -> None:
    both_ways = 1 - 0.7 * 0.7  # what a node forwards is dropped in both directions, what it receives in one
    world.links += [Link("node k8s-worker-2", loss=0.3), Link("pod on k8s-worker-2", loss=both_ways)]


@fault("gitlab-far", "A round trip between the workers or their pods and GitLab takes 1.5 seconds.")
def _(world: World) -> None:
    world.links += [Link(source, world.gitlab.address, delay=1.5) for source in ("node *", "pod *")]
