"""A Docker daemon in a pod: its log, when it is ready, and how it exits. The log lines were recorded from a daemon."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab.cluster import timestamps
from lab.world import Dockerd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab.world import World

_PLAIN_PORT, _TLS_PORT = 2375, 2376
_CERTIFICATES = "DOCKER_TLS_CERTDIR"
_EXITS_AFTER = 0.1  # seconds, without the privileges it needs

_INSECURE = """\
warning Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone \
who has access to your network.
warning Binding to an IP address, even on localhost, can also give access to scripts run in a browser. Be safe \
out there!
""".splitlines()
_NOT_PERMITTED = """\
error failed to mount overlay: operation not permitted|storage-driver=overlay2
error exec: "fuse-overlayfs": executable file not found in $PATH|storage-driver=fuse-overlayfs
warning Your kernel does not support cgroup blkio weight
warning Your kernel does not support cgroup blkio weight_device
info Loading containers: start.
info unable to detect if iptables supports xlock: 'iptables --wait -L -n': `iptables v1.8.9 (nf_tables): Could not \
fetch rule set generation id: Permission denied (you must be root)`|error="exit status 4"
info stopping event stream following graceful shutdown|error="<nil>" module=libcontainerd namespace=moby
""".splitlines()
_LAST_WORDS = (
    "failed to start daemon: Error initializing network controller: error obtaining controller instance: failed to "
    "create NAT chain DOCKER: iptables failed: iptables -t nat -N DOCKER: iptables v1.8.9 (nf_tables): Could not fetch "
    "rule set generation id: Permission denied (you must be root)\n (exit status 4)"
)


def prepare(world: World, node: str, resolv_conf: str, arguments: Sequence[str], env: Mapping[str, str]) -> Dockerd:
    """The daemon of a container that has not started yet.

    The image's entry point makes certificates and listens with TLS unless ``DOCKER_TLS_CERTDIR`` is empty;
    ``--tls=false`` alone does not undo that. https://github.com/docker-library/docker/blob/master/dockerd-entrypoint.sh
    """
    secure = bool(env.get(_CERTIFICATES, "/certs"))
    settings = replace(world.daemon, tls=True) if secure else world.daemon
    if arguments and arguments[0] == "dockerd":  # the entry point adds no host then
        hosts = [urlsplit(host).hostname for host in _values(arguments, "--host") if host.startswith("tcp:")]
        settings = replace(settings, listens_on=hosts[0] or "" if hosts else "")
    for mtu in _values(arguments, "--mtu"):
        settings = replace(settings, mtu=int(mtu))
    return Dockerd(
        node=node,
        resolv_conf=resolv_conf,
        settings=settings,
        port=_TLS_PORT if secure else _PLAIN_PORT,
        started=float("inf"),
        insecure_registries=tuple(_values(arguments, "--insecure-registry")),
    )


async def live(daemon: Dockerd, write: Callable[[str], None], *, privileged: bool) -> int:
    """Run until cancelled, or until it exits; returns the exit status."""

    def say(line: str) -> None:
        daemon.log.append(line)
        write(line + "\n")

    settings = daemon.settings
    secure = settings.tls
    daemon.started = time.monotonic()
    _log(say, "info Starting up")
    for line in () if secure else _INSECURE:
        _log(say, f'{line}|host="tcp://{settings.listens_on or "0.0.0.0"}:{daemon.port}"')
    _log(say, "info libcontainerd: started new containerd process|pid=13")
    _log(say, 'info starting containerd|revision="05044ec0a9a75232cad458027ca83437aae3f4da" version="v1.7.27"')
    _log(say, "info containerd successfully booted in 0.043713s")
    try:
        if not privileged or settings.last_words is not None:
            daemon.exited = True
            await asyncio.sleep(min(_EXITS_AFTER, settings.ready_after))
            for line in () if privileged else _NOT_PERMITTED:
                _log(say, line)
            say(settings.last_words or _LAST_WORDS)
            return 1
        _log(say, "info Loading containers: start.")
        await asyncio.sleep(settings.ready_after)
        _log(say, "info Loading containers: done.")
        _log(
            say,
            f"info Docker daemon|commit=bea959c storage-driver={settings.storage_driver} version={settings.version}",
        )
        _log(say, "info Daemon has completed initialization")
        _log(say, "info API listen on /var/run/docker.sock")
        _log(say, f"info API listen on {settings.listens_on or '[::]'}:{daemon.port}")
        await asyncio.Event().wait()
    finally:
        daemon.exited = True
    return 0


def _log(say: Callable[[str], None], line: str) -> None:
    """Write a line in the daemon's format; `line` is the level, the message, and after a bar the fields."""
    level, _, rest = line.partition(" ")
    message, _, fields = rest.partition("|")
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    moment = timestamps.nanoseconds(datetime.now(UTC))
    say(f'time="{moment}" level={level} msg="{quoted}"' + (f" {fields}" if fields else ""))


def _values(arguments: Sequence[str], option: str) -> list[str]:
    values = [word.partition("=")[2] for word in arguments if word.startswith(option + "=")]
    return values + [value for word, value in pairwise(arguments) if word == option]
