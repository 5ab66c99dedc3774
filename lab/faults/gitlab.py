"""What can be wrong with GitLab's server, and with clocks that should agree with its own (guide 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("gitlab-refused", "Nothing listens on GitLab's port 80: nginx is stopped.")
def _(world: World) -> None:
    world.gitlab.mode = "down"


@fault("gitlab-timeout", "GitLab's machine does not answer at all: it is off, or a firewall drops everything to it.")
def _(world: World) -> None:
    world.gitlab.mode = "vanished"


@fault("gitlab-502", "nginx is up on GitLab's machine and Puma behind it is not: every page is a 502.")
def _(world: World) -> None:
    world.gitlab.mode = "bad-gateway"


@fault("gitlab-not-gitlab", "Another web server answers at GitLab's address, with the page of a fresh nginx.")
def _(world: World) -> None:
    world.gitlab.mode = "nginx"


@fault("gitlab-redirect", "GitLab redirects every request to https://gitlab.example.com/.")
def _(world: World) -> None:
    world.gitlab.mode = "redirect"


@fault("gitlab-version", "GitLab is 17.11.4-jh, older than the inventory expects.")
def _(world: World) -> None:
    world.gitlab.version, world.gitlab.revision = "17.11.4-jh", "0a3d44b8f1c"


@fault("gitlab-upload-limit", "The nginx in front of GitLab takes bodies of 1 MB, as an ingress does by default.")
def _(world: World) -> None:
    world.gitlab.body_limit = 1024 * 1024


@fault("gitlab-clock-skew", "The clock of GitLab's machine is ten minutes behind.")
def _(world: World) -> None:
    world.gitlab.clock_offset = -600.0


@fault("clock-skew-node", "The clock of k8s-worker-3 is seven minutes behind: nothing there keeps it in time.")
def _(world: World) -> None:
    world.nodes["k8s-worker-3"].clock_offset = -420.0
