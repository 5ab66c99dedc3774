"""What can be wrong with what jobs need to build, push and keep (guide 6.4, 7.4, 11)."""

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
    project.variables = [one for one in project.variables if one.key != "ACR_PASSWORD"]


@fault("variables-unmasked", "The variable ACR_PASSWORD is not masked: a job's log may show it.")
def _(world: World) -> None:
    for one in world.gitlab.projects[0].variables:
        one.masked = False


@fault("cache-down", "Nothing listens on port 9000 of minio.example.com, where the values keep the jobs' cache.")
def _(world: World) -> None:
    world.cache_mode = "down"


@fault("clone-host-unknown", "No resolver knows gitlab.example.com, from where GitLab lets jobs clone.")
def _(world: World) -> None:
    del world.zones["gitlab.example.com"]
