"""The whole lab: all servers of one world on loopback, in one event loop in one thread, within a `with` block.

with Lab(faults=["dns-one-silent"]) as lab:
    run_checks("--inventory", lab.inventory)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import asyncssh
import trustme

from lab import chart_repository, dns, docker, gitlab, kubernetes, misbehaviour, registry, shell, ssh
from lab.inventory import Credentials, build, find, wanted, write
from lab.loopback import Loopback
from lab.world import API_ADDRESS, API_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from lab.loopback import SocketAddress
    from lab.tools.call import Run
    from lab.world import Node, Registry, Request, World

_START_TIMEOUT = 10.0  # seconds that the servers may take to start or to stop
_COMMAND_TIMEOUT = 120.0  # seconds that a command over SSH may run
_LINGER = 0.005  # seconds for closed transports to finish
_AUTHORITIES: dict[str, trustme.CA] = {}

Result = TypeVar("Result")


class Lab:
    """The guide's environment in miniature, with faults.

    Args:
        faults: names of faults (`lab.faults`), applied in this order before the servers start.
        latency: seconds added to every answer of every server.
        patience: factor on the deadlines of its inventory.
        base: the inventory to start from; default: the repository's.
        change: a further change to the world, the last one before the servers start.
        workers: how many workers the cluster has; default: the guide's three.
        pods: runs what pods are told to run; default: real processes.

    Raises:
        lab.faults.UnknownFaultError: there is no such fault.
        ValueError: so many workers are not simulated.

    Attributes:
        world: the state that the servers show. Change it through `change` while they run.
        inventory: the file to run the suite with; exists once the lab has started.
    """

    inventory: Path

    def __init__(
        self,
        faults: Iterable[str] = (),
        latency: float = 0.0,
        *,
        patience: float = 1.0,
        base: Path | None = None,
        change: Callable[[World], None] | None = None,
        workers: int | None = None,
        pods: Run = shell.run,
    ) -> None:
        self._pods = pods
        self._names, self._base, self._change = tuple(faults), base, change
        self.world = build(self._names, workers=workers)
        self.world.latency = latency
        self._patience = patience
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def requests(self) -> list[Request]:
        """The requests that the servers have received so far."""
        return self.world.recorded()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; returns when all servers answer."""
        if self._change is not None:
            self._change(self.world)
        self._folder = tempfile.TemporaryDirectory(prefix="preflight-")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, args=(ready,), name="lab", daemon=True)
        self._thread.start()
        started = ready.wait(_START_TIMEOUT)
        if self._failure is not None or not started:
            failure = self._failure or TimeoutError(f"the lab's servers did not start within {_START_TIMEOUT:g} s")
            self.stop()
            raise failure

    def stop(self) -> None:
        """Stop everything; no thread, process, socket or file of the lab is left."""
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                if self._loop is not None and self._end is not None:
                    self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(_START_TIMEOUT)
            self._thread = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def change(self, alter: Callable[[World], Result]) -> Result:
        """Change or read the running world, in the servers' own thread."""
        assert self._loop is not None, "the lab does not run"  # noqa: S101 - a mistake in a test

        async def altered() -> Result:
            return alter(self.world)

        return asyncio.run_coroutine_threadsafe(altered(), self._loop).result(_START_TIMEOUT)

    # ---- inside the thread

    def _run_thread(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve_until_stopped(ready))
        except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits
            self._failure = failure
        finally:
            ready.set()

    async def _serve_until_stopped(self, ready: threading.Event) -> None:
        assert self._folder is not None  # noqa: S101 - made before the thread
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        loopback = Loopback(self.world)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(loopback.close)
            addresses, credentials = await self._serve(loopback, stack)
            self.inventory = write(
                self.world,
                Path(self._folder.name),
                base=self._base or find(),
                credentials=credentials,
                connect=addresses,
                patience=self._patience,
            )
            ready.set()
            await self._end.wait()
        await asyncio.sleep(_LINGER)

    async def _serve(
        self, loopback: Loopback, stack: contextlib.AsyncExitStack
    ) -> tuple[dict[str, SocketAddress], Credentials]:
        world = self.world
        cluster_ca, company_ca = _authority("kubernetes", "kubernetes-ca"), _authority("Example Ltd", "Example Root CA")
        listeners = world.listeners
        listener = await loopback.http("gitlab", gitlab.application(world))
        listener = await misbehaviour.relayed(world, loopback, "gitlab", listener, turn=1)
        listeners[world.gitlab.address, world.gitlab.port] = listener
        end = _in_days(world.api_certificate_days)
        api = _server_tls(
            cluster_ca.issue_cert(API_ADDRESS, "k8s-master", "kubernetes", common_name="kube-apiserver", not_after=end)
        )
        app = await stack.enter_async_context(kubernetes.running(world, run=self._pods))
        app.middlewares.append(misbehaviour.answers(world, "kubernetes"))
        listener = await loopback.http("kubernetes", app, tls=api)
        listener = await misbehaviour.relayed(world, loopback, "kubernetes", listener, turn=2)
        listeners[API_ADDRESS, API_PORT] = listener
        await self._serve_registries(loopback, company_ca)
        charts = world.charts
        plain = charts.port == 80  # noqa: PLR2004 - HTTP's port
        tls = None if plain else _server_tls(company_ca.issue_cert(charts.host, common_name=charts.host))
        listener = await loopback.http("charts", chart_repository.application(world), tls=tls)
        listeners[charts.address, charts.port] = await misbehaviour.relayed(
            world, loopback, "charts", listener, turn=1 if plain else 2
        )
        for resolver in world.resolvers.values():
            listener = await dns.serve(world, resolver, loopback)
            listener = await misbehaviour.relayed(
                world, loopback, f"dns {resolver.address}", listener, turn=1, udp=True
            )
            listeners[resolver.address, 53] = listener
        key = asyncssh.generate_private_key("ssh-ed25519", comment="ops@workstation")
        known_hosts: list[str] = []
        for node in world.nodes.values():
            if node.sshd_of:
                known_hosts += _known_as(known_hosts, world.nodes[node.sshd_of].address, node.address)
                continue
            host_key = asyncssh.generate_private_key("ssh-ed25519")
            known_key = asyncssh.generate_private_key("ssh-ed25519") if node.ssh.key_replaced else host_key
            known_key_parts = known_key.export_public_key("openssh").decode().split()
            known_hosts.append(f"{node.address} {known_key_parts[0]} {known_key_parts[1]}\n")
            daemon = None
            if docker.runs_on(node):
                daemon = await loopback.http(f"docker {node.name}", docker.application(world, node))
            sshd = ssh.Sshd(world, node, key=key, host_key=host_key, run=self._run, docker=daemon)
            listener = await misbehaviour.relayed(
                world, loopback, f"ssh {node.name}", await sshd.start(loopback), turn=2
            )
            listeners[node.address, 22] = listener
            stack.push_async_callback(sshd.close)
        credentials = Credentials(
            api_ca=cluster_ca.cert_pem.bytes().decode(),
            registry_ca=company_ca.cert_pem.bytes().decode(),
            ssh_key=key.export_private_key("openssh").decode(),
            known_hosts="".join(known_hosts),
        )
        return {
            name: await self._mapped_address(loopback, *target) for name, target in wanted(world).items()
        }, credentials

    async def _serve_registries(self, loopback: Loopback, authority: trustme.CA) -> None:
        world, tokens = self.world, registry.Tokens()
        realms: dict[str, dict[str, Registry]] = {}
        for registry_state in world.registries.values():
            app = registry.application(world, registry_state, tokens)
            tls = _registry_tls(registry_state, authority)
            server = f"registry {registry_state.host}"
            listener = await loopback.http(server, app, tls=tls)
            listener = await misbehaviour.relayed(world, loopback, server, listener, turn=2 if tls else 1)
            world.listeners[registry_state.address, registry_state.port] = listener
            if registry_state.auth == "bearer":
                realms.setdefault(registry_state.realm_host, {})[registry_state.host] = registry_state
        for host, states_by_service in realms.items():
            tls = _server_tls(authority.issue_cert(host, common_name=host))
            listener = await loopback.http(
                f"token {host}", registry.token_application(world, states_by_service, tokens), tls=tls
            )
            listener = await misbehaviour.relayed(world, loopback, f"token {host}", listener, turn=2)
            for address in world.zones.get(host, ()):
                world.listeners[address, 443] = listener

    async def _mapped_address(self, loopback: Loopback, address: str, port: int, outcome: str) -> SocketAddress:
        """The loopback address for `connect:`, where a connection ends as it does in the world."""
        if outcome == "refused":
            return loopback.refusing()
        if outcome in ("timeout", "unreachable"):
            return loopback.swallowing()
        if outcome == "reset":
            return await loopback.cutting()
        node = next((node for node in self.world.nodes.values() if node.address == address), None)
        if port == 22 and node is not None and node.ssh.mode == "mute":  # noqa: PLR2004 - SSH's port
            return loopback.mute()
        return self.world.listeners[address, port]

    async def _run(
        self,
        node: Node,
        command: str,
        stdin: bytes,
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None],
    ) -> int:
        """Run a command over SSH in the user's shell, as sshd does."""
        env = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh", "LANG": "C.UTF-8"}
        result = await shell.run(
            self.world,
            self.world.node_vantage(node.name),
            ["sh", "-c", command],
            env=env,
            stdin=stdin,
            on_output=on_output,
            on_error=on_error,
            limit=_COMMAND_TIMEOUT,
        )
        return result.exit


def _known_as(known_hosts: list[str], address: str, other: str) -> list[str]:
    """The lines of known_hosts for an address whose sshd is that of another one."""
    return [line.replace(address, other, 1) for line in known_hosts if line.startswith(f"{address} ")]


def _authority(organization: str, unit: str) -> trustme.CA:
    """A certificate authority; made once per process, since generating its key is slow."""
    if unit not in _AUTHORITIES:
        _AUTHORITIES[unit] = trustme.CA(organization_name=organization, organization_unit_name=unit)
    return _AUTHORITIES[unit]


def _server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _registry_tls(registry_state: Registry, authority: trustme.CA) -> ssl.SSLContext | None:
    match registry_state.certificate:
        case "none":
            return None
        case "self-signed":
            other = trustme.CA(organization_name=registry_state.host, organization_unit_name=registry_state.host)
            return _server_tls(other.issue_cert(registry_state.host, common_name=registry_state.host))
        case "expired":
            end = _in_days(-3)
            return _server_tls(
                authority.issue_cert(registry_state.host, common_name=registry_state.host, not_after=end)
            )
        case "other-name":
            return _server_tls(authority.issue_cert("www.example.com", common_name="www.example.com"))
        case _:
            end = _in_days(registry_state.certificate_days)
            return _server_tls(
                authority.issue_cert(registry_state.host, common_name=registry_state.host, not_after=end)
            )


def _in_days(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


if sys.platform == "win32":  # pragma: no cover
    message = "the lab needs a POSIX system: its pods run a real sh"
    raise ImportError(message)
