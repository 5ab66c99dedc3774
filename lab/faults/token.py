"""What can be wrong with the runner's token (guide 2.2, 3.3); the tokens are made up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World

_DAY = 24 * 3600


@fault("token-placeholder", "The values file still holds the example's placeholder instead of a runner's token.")
def _(world: World) -> None:
    world.configured_token = "YOUR_RUNNER_TOKEN_HERE"


@fault("token-whitespace", "The runner's token in the values ends with a line break, as `echo` leaves one.")
def _(world: World) -> None:
    world.configured_token += "\n"


@fault("token-registration", "The values hold the instance's old registration token, not a runner's own.")
def _(world: World) -> None:
    world.configured_token = "GR1348941pXw3Rk7TzHn5Ld9VbQc2"


@fault("token-revoked", "The runner's token was reset in GitLab, and the values hold the former one.")
def _(world: World) -> None:
    runner = world.gitlab.runners[0]
    runner.token = "glrt-t1_nB4vXs9KqTz2LhWd7RyJ"
    _last_contact(world, 3 * 3600)


@fault("token-expired", "GitLab lets runners' tokens expire, and this one's time was over yesterday.")
def _(world: World) -> None:
    world.gitlab.runners[0].token_expires = time.time() - _DAY
    _last_contact(world, _DAY)


def _last_contact(world: World, ago: float) -> None:
    for manager in world.gitlab.runners[0].managers:
        manager.contacted_ago = ago
