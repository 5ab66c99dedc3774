"""Stand-ins for the tools that look at a network or a machine: they print what the real ones would, and exit so, too.

A stand-in is a coroutine that takes a `Call` and returns the exit status. It writes as the real tool does, to the same
stream in the same order, and takes the same time to give up, so that whoever runs it (`timeout`, a deadline) treats it
alike. What they print was recorded from busybox 1.35, bind 9.18, curl 7.88, wget 1.21 and docker 20.10 and 28.2.

- lookups     nslookup (busybox's in pods, bind's on nodes), dig, getent
- transfers   wget (busybox's), curl, nc
- machine     date, df, hostname, ip, openssl, cat of the files that describe the machine
- containers  docker, crictl, sudo
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lab.tools import containers, lookups, machine, transfers
from lab.tools.call import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.world import Vantage, World

__all__ = ["BECOMING", "FILES", "Call", "answer", "names"]

FILES = (  # which a stand-in for cat answers; the last three are a runner manager's
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/hostname",
    "/sys/class/net/*/mtu",
    "/proc/net/netstat",
    "/home/gitlab-runner/*",
    "/configmaps/*",
    "/secrets/*",
)

BECOMING = frozenset({"cat", "sudo"})
"""Those that may become another program, which only the machine's own timeout can end."""

_EVERYWHERE = frozenset({"cat", "date", "getent", "hostname", "ip", "nc", "nslookup", "wget"})
_ON_NODES = frozenset({"curl", "df", "dig", "openssl", "sudo"})


def names(world: World, vantage: Vantage, env: Mapping[str, str]) -> frozenset[str]:
    """The stand-ins that are installed where a vantage is; any other network tool is missing there."""
    if vantage.kind == "node":
        runtime = world.nodes[vantage.node].runtime
        return _EVERYWHERE | _ON_NODES | {"docker" if runtime.startswith("docker") else "crictl"}
    if vantage.dockerd is not None or "DOCKER_HOST" in env:
        return _EVERYWHERE | {"docker"}
    return _EVERYWHERE


async def answer(call: Call) -> int:
    """Do what the tool does; its exit status."""
    return await _TOOLS[call.tool](call)


_TOOLS: dict[str, Callable[[Call], Awaitable[int]]] = {
    "cat": machine.cat,
    "crictl": containers.crictl,
    "curl": transfers.curl,
    "date": machine.date,
    "df": machine.df,
    "dig": lookups.dig,
    "docker": containers.docker,
    "getent": lookups.getent,
    "hostname": machine.hostname,
    "ip": machine.ip,
    "nc": transfers.nc,
    "nslookup": lookups.nslookup,
    "openssl": machine.openssl,
    "sudo": containers.sudo,
    "wget": transfers.wget,
}
