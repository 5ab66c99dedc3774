"""What can be wrong with what jobs need to build and push images (guide 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import PRIVATE

if TYPE_CHECKING:
    from lab.world import World


@fault("push-denied", "The account of the jobs may pull from private-registry.example.com, and push nothing.")
def _(world: World) -> None:
    world.registries[PRIVATE].pushers = set()


@fault("variables-missing", "The project has no variable ACR_PASSWORD.")
def _(world: World) -> None:
    project = world.gitlab.projects[0]
    project.variables = [variable for variable in project.variables if variable.key != "ACR_PASSWORD"]


@fault("variables-unmasked", "The variable ACR_PASSWORD is not masked: a job's log may show it.")
def _(world: World) -> None:
    for variable in world.gitlab.projects[0].variables:
        variable.masked = False
