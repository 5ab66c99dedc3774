"""What can be in the way of an upgrade (guide 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.managers import job_pod

if TYPE_CHECKING:
    from lab.world import World

_IMAGE_TAG = "tag: alpine-v18.3.0"


@fault("upgrade-skew", "Chart 0.81.0 and runner 18.4.0 are to be installed next; GitLab is 18.3.")
def _(world: World) -> None:
    world.inventory_edits["runner.chart"] = "0.81.0"
    world.values_edits[_IMAGE_TAG] = "tag: alpine-v18.4.0"
    world.release.unapplied.add(_IMAGE_TAG)


@fault("jobs-running", "Two jobs are running.")
def _(world: World) -> None:
    for job, node in ((4711, "k8s-worker-1"), (4712, "k8s-worker-3")):
        world.cluster.add(job_pod(node, job=job))


@fault(
    "upgrade-repairs",
    "The running release's image can't be pulled; the values files name the right one (`--stage upgrade`).",
)
def _(world: World) -> None:
    world.release.health = "half-rolled-out"
    world.release.changed["image.tag"] = "alpine-v18.3.9"
