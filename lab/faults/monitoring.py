"""What the managers' metrics can reveal, and why they can be missing (guide 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("metrics-off", "The managers run without metrics: they were installed before the values asked for them.")
def _(world: World) -> None:
    world.metrics.on = False


@fault("polls-rejected", "GitLab refuses the managers' polls for jobs with 403; their pods stay Ready.")
def _(world: World) -> None:
    world.metrics.rejected = True
