"""An SSH server for each worker that behaves as OpenSSH; commands run for real, under a real sh."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncssh

from lab.docker import DIAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lab.loopback import Loopback, SocketAddress
    from lab.world import Node, World

VERSION = "OpenSSH_9.2p1 Debian-2+deb12u7"
_SHELLS = ("sh", "/bin/sh", "bash", "/bin/bash", "dash", "ash")
_INPUT_TIMEOUT = 0.5  # a command other than a shell may never get the end of its input
_STOP_TIMEOUT = 2.0  # seconds that a command may take to end once it is killed
_INPUT_LIMIT = 1024 * 1024  # bytes of input


class Sshd:
    """The SSH server of one node.

    Args:
        world: the world.
        node: the node it runs on.
        key: the only public key that may log in.
        host_key: the server's own key.
        run: runs a command on the node: (node, command, input, on output, on error) → exit status.
        docker: the listener of the node's Docker daemon, if it has one.
    """

    def __init__(
        self,
        world: World,
        node: Node,
        *,
        key: asyncssh.SSHKey,
        host_key: asyncssh.SSHKey,
        run: Callable[[Node, str, bytes, Callable[[bytes], None], Callable[[bytes], None]], Awaitable[int]],
        docker: SocketAddress | None = None,
    ) -> None:
        self._world, self._node, self._key, self._host_key, self._run = world, node, key, host_key, run
        self._docker = docker
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._open: set[asyncssh.SSHServerConnection] = set()
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self, loopback: Loopback) -> SocketAddress:
        """Start to serve; returns the address."""
        listener = loopback.listening()
        self._acceptor = await asyncssh.listen(
            sock=listener,
            server_factory=lambda: _Login(self._world, self._node, self._key, self._open),
            server_host_keys=[self._host_key],
            process_factory=self._serve,
            server_version=VERSION,
            encoding=None,
            login_timeout=30,
            allow_scp=False,
            sftp_factory=None,
            gss_host=None,
        )
        host, port = listener.getsockname()[:2]
        return host, port

    async def close(self) -> None:
        """Stop listening, cut every connection, and wait for their commands to end."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._open):
            connection.abort()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=_STOP_TIMEOUT)

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are in one
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        await self._session(process)

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command
        server = f"ssh {self._node.name}"

        def to(stream: asyncssh.SSHWriter[bytes]) -> Callable[[bytes], None]:
            def show(data: bytes) -> None:
                self._world.tap(server, data)
                with contextlib.suppress(OSError):
                    stream.write(data)

            return show

        if command is None:
            process.exit(1)
            return
        self._world.record(server, "exec", command)
        await self._world.pause()
        if self._docker is not None and tuple(command.split()) == DIAL:
            await _dial(process, self._docker)
            return
        stdin = await _input(process, command)
        running = asyncio.ensure_future(self._run(self._node, command, stdin, to(process.stdout), to(process.stderr)))
        closed = asyncio.ensure_future(process.channel.wait_closed())
        try:
            await asyncio.wait({running, closed}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                process.exit(running.result())
        finally:
            for task in (running, closed):
                if not task.cancelling():  # a second time would cut short how it cleans up
                    task.cancel()
            await asyncio.wait((running, closed))  # not `gather`, which would pass our own cancellation on


async def _dial(process: asyncssh.SSHServerProcess[bytes], address: SocketAddress) -> None:
    """Connect a session's input and output with the Docker daemon, until either ends."""
    reader, writer = await asyncio.open_connection(*address)

    async def forth() -> None:
        while part := await process.stdin.read(65536):
            writer.write(part)
            await writer.drain()

    async def back() -> None:
        while part := await reader.read(65536):
            process.stdout.write(part)
            await process.stdout.drain()

    answered, closed = asyncio.ensure_future(back()), asyncio.ensure_future(process.channel.wait_closed())
    tasks = [asyncio.ensure_future(forth()), answered, closed]
    try:
        await asyncio.wait((answered, closed), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
    process.exit(0)


async def _input(process: asyncssh.SSHServerProcess[bytes], command: str) -> bytes:
    """What the client sends before the end of its input, up to a megabyte."""
    argv = command.split()
    timeout = None if argv and argv[0] in _SHELLS and "-c" not in argv else _INPUT_TIMEOUT
    data = b""
    while len(data) < _INPUT_LIMIT:
        try:
            async with asyncio.timeout(timeout):
                part = await process.stdin.read(65536)
        except (TimeoutError, OSError, asyncssh.Error):
            break
        if not part:
            break
        data += part
    return data


class _Login(asyncssh.SSHServer):
    """Authentication: one user with one key."""

    def __init__(
        self, world: World, node: Node, key: asyncssh.SSHKey, connections: set[asyncssh.SSHServerConnection]
    ) -> None:
        self._world, self._node, self._key, self._open = world, node, key, connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._open.add(conn)
        self._world.record(f"ssh {self._node.name}", "connect", "")

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._connection is not None:
            self._open.discard(self._connection)

    def begin_auth(self, _username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        ssh = self._node.ssh
        accepted = ssh.accepts_key and username == ssh.user and key.public_data == self._key.public_data
        self._world.record(f"ssh {self._node.name}", "auth", "accepted" if accepted else "refused", user=username)
        return accepted
