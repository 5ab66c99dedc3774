"""What can be wrong with the runner and its managers in GitLab (guide 2.2, 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("runner-paused", "Somebody has paused the runner in GitLab's Admin area.")
def _(world: World) -> None:
    world.gitlab.runners[0].paused = True


@fault("runner-wrong-tags", "The runner has the tags kubernetes and arm64 in GitLab; docker and x86_64 are missing.")
def _(world: World) -> None:
    world.gitlab.runners[0].tags = ("kubernetes", "arm64")


@fault("runner-offline", "None of the runner's managers has contacted GitLab for eighty minutes.")
def _(world: World) -> None:
    for manager in world.gitlab.runners[0].managers:
        manager.contacted_ago = 80 * 60


@fault("runner-too-few", "Two of the three managers have registered; the third one's record is two days old.")
def _(world: World) -> None:
    world.gitlab.runners[0].managers[2].contacted_ago = 2 * 24 * 3600
