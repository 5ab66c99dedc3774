"""An SSH server on loopback that behaves as a test wants; its library is not the client's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

Process = asyncssh.SSHServerProcess[bytes]
Handler = Callable[[Process], Awaitable[None]]


@dataclass
class Sshd:
    """A running server: where, with which key, and what was done there."""

    port: int = 0
    host_key: asyncssh.SSHKey | None = None
    logins: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    most_channels: int = 0
    forwarded: list[tuple[str, int]] = field(default_factory=list)

    def known_hosts(self, file: Path, name: str = "") -> Path:
        """Write a known_hosts line for this server under `name`; by default as it would be reached on loopback."""
        assert self.host_key is not None
        line = f"{name or f'[127.0.0.1]:{self.port}'} {self.host_key.export_public_key().decode().strip()}\n"
        with file.open("a") as out:
            out.write(line)
        return file


def key(file: Path, *, kind: str = "ssh-ed25519", passphrase: str | None = None) -> asyncssh.SSHKey:
    """A new key pair, the private half in `file`, the public one beside it."""
    made = asyncssh.generate_private_key(kind)
    if passphrase:
        made.write_private_key(str(file), passphrase=passphrase, rounds=1)  # the least work: it guards nothing
    else:
        made.write_private_key(str(file))
    made.write_public_key(f"{file}.pub")
    return made


async def shell(process: Process, command: str = "") -> None:
    """Run the command that was asked for, or another, in a real ``sh``, as a login shell would."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "sh", "-c", command or process.command or "sh", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )

    async def feed() -> None:
        assert child.stdin is not None
        while piece := await process.stdin.read(65_536):
            child.stdin.write(piece)
            await child.stdin.drain()
        child.stdin.close()

    async def drain(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
        assert source is not None
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()

    feeding = asyncio.create_task(feed())
    draining = [
        asyncio.create_task(drain(child.stdout, process.stdout)),
        asyncio.create_task(drain(child.stderr, process.stderr)),
    ]
    try:
        status = await _reaped(child)
        await asyncio.wait(draining, timeout=0.5)  # sshd does not wait for children left behind, either
        if status < 0:
            process.exit_with_signal("KILL")
        else:
            process.exit(status)
    finally:
        for task in (feeding, *draining):
            task.cancel()
        await asyncio.gather(feeding, *draining, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_reaped(child), 1)
        child._transport.close()  # type: ignore[attr-defined] # else its pipes stay open
        await asyncio.sleep(0)


async def _reaped(child: asyncio.subprocess.Process) -> int:
    """The exit status, once there is one; wait() would wait for the pipes of children left behind, too."""
    while (status := child.returncode) is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    return status


def says(words: str, *, status: int, errors: str = "") -> Handler:
    """Print the same for every command, and end with `status`."""

    async def handler(process: Process) -> None:
        process.stdout.write(words.encode())
        process.stderr.write(errors.encode())
        process.exit(status)

    return handler


@contextlib.contextmanager
def ssh_server(  # noqa: C901 - one switch a misbehaviour
    *authorized: asyncssh.SSHKey,
    handler: Handler = shell,
    host_keys: Sequence[asyncssh.SSHKey] = (),
    sessions: bool = True,
    most: int = 99,
    slow_login: float = 0,
    forwards: bool | Exception = False,
    password_only: bool = False,
) -> Iterator[Sshd]:
    """Serve SSH: who may log in, what commands do, how many channels may be open, whether connections are forwarded."""
    keys = list(host_keys) or [asyncssh.generate_private_key("ssh-ed25519")]
    running = Sshd(host_key=keys[0])
    allowed = {one.export_public_key() for one in authorized}
    open_channels = 0
    connections: list[asyncssh.SSHServerConnection] = []

    class CountedProcess(asyncssh.SSHServerProcess[bytes]):
        """A command whose channel no longer counts once its exit is sent: a client can't see the end any earlier."""

        ended = False

        def end(self) -> None:
            nonlocal open_channels
            if not self.ended:
                self.ended = True
                open_channels -= 1

        def exit(self, status: int) -> None:
            self.end()
            super().exit(status)

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

        async def begin_auth(self, username: str) -> bool:
            running.logins.append(username)
            await asyncio.sleep(slow_login)
            return True

        def public_key_auth_supported(self) -> bool:
            return not password_only

        def password_auth_supported(self) -> bool:
            return password_only

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
            return key.export_public_key() in allowed

        def session_requested(self) -> Process | bool:
            nonlocal open_channels
            if not sessions or open_channels >= most:
                return False
            open_channels += 1
            running.most_channels = max(running.most_channels, open_channels)
            return CountedProcess(process, None, 3, allow_scp=False)

        def connection_requested(
            self,
            dest_host: str,
            dest_port: int,
            orig_host: str,  # noqa: ARG002 - the library's shape
            orig_port: int,  # noqa: ARG002
        ) -> bool:
            running.forwarded.append((dest_host, dest_port))
            if isinstance(forwards, Exception):
                raise forwards
            return forwards

    async def process(command: Process) -> None:
        assert isinstance(command, CountedProcess)
        running.commands.append(command.command or "")
        try:
            await handler(command)
        finally:
            command.end()

    started = threading.Event()
    ending: list[Callable[[], object]] = []

    async def serve() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(ended.set))
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=keys, login_timeout=5, encoding=None
        )
        running.port = server.get_port()
        started.set()
        await ended.wait()
        server.close()
        for one in connections:
            one.abort()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(server.wait_closed(), *(one.wait_closed() for one in connections)), 1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(5), "the SSH server did not start"
    try:
        yield running
    finally:
        ending[0]()
        thread.join(3)
