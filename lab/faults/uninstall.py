"""What can be left after an uninstallation (guide 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("leftovers", "The release was removed by hand: access, a volume claim and a job's pod are left.")
def _(world: World) -> None:
    world.release.installed, world.release.leftovers = False, True
