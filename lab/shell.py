"""Run what a pod's container or an SSH login was told to run, for real, under the machine's own `sh`.

A command finds on its PATH the machine's own plain tools (`sh`, `head`, `sed`, `sleep`, `timeout` where the machine has
one, …) and, in place of every tool that looks at a network or a machine, a stand-in (`lab.tools`) that asks the world
what the real one would have met there. Nothing else is on the PATH, so that no command reaches the real network.

Each run has a folder of its own where its stand-ins ask (`lab.tools.exchange`), and a process group of its own, which
is killed when the run ends, however it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import temporary, tools
from lab.tools import exchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.tools.exchange import Question, Reply
    from lab.world import Vantage, World

_STDOUT, _STDERR = 1, 2
_Listener = Callable[[bytes], None]
_LAST_WORDS = 2.0  # seconds for what is still in the pipes
_KILLED = 128 + signal.SIGKILL

# The machine's own tools that a plain Linux userland has and that touch neither network nor machine state.
_PLAIN_TOOLS = frozenset(
    """
    [ awk base64 basename chmod cp cut dirname echo env expr false find fold grep head id kill ls mkdir mktemp mv nl od
    printenv printf pwd readlink rm rmdir sed seq sh sha256sum sleep sort stat tail tee test timeout touch tr true tty
    uname uniq wc which whoami xargs yes
    """.split()
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended.

    Attributes:
        exit: its exit status as a shell reports it: 128 + N for signal N, so 137 when it was killed at its limit.
        output: standard output, and standard error in between unless `on_error` took that.
        errors: standard error, where `on_error` was given.
    """

    exit: int
    output: bytes
    errors: bytes = b""


async def run(
    world: World,
    vantage: Vantage,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: bytes = b"",
    on_start: Callable[[asyncio.WriteTransport], None] | None = None,
    on_output: _Listener | None = None,
    on_error: _Listener | None = None,
    limit: float,
) -> Ran:
    """Run a command as `vantage` would, for at most `limit` seconds; cancelling it kills all that it started.

    Output is passed on as it comes. Where `on_start` is given, it takes the pipe to standard input, which stays open
    after `stdin`; otherwise `stdin` is all there is. Without `on_error`, standard error is part of the output, as in
    a pod's log.

    Raises:
        FileNotFoundError: there is no such program where the vantage is.
    """
    path = toolbox(tools.names(world, vantage, env))
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise FileNotFoundError(argv[0])

    async def answer(question: Question, reply: Reply) -> int:
        return await tools.answer(tools.Call(world, vantage, question, reply, run))

    async with exchange.exchange(answer) as folder:
        return await execute(
            argv,
            program=program,
            env=_environment(vantage, env) | {"PATH": path, exchange.FOLDER: folder},
            stdin=stdin,
            on_start=on_start,
            on_output=on_output,
            on_error=on_error,
            limit=limit,
        )


async def execute(
    argv: Sequence[str],
    *,
    program: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    on_start: Callable[[asyncio.WriteTransport], None] | None = None,
    on_output: _Listener | None = None,
    on_error: _Listener | None = None,
    limit: float,
) -> Ran:
    """Run a program of this machine with nothing but `env`; the rest is as with `run`."""
    watch = _Watch(on_output, on_error)
    transport, _ = await asyncio.get_running_loop().subprocess_exec(
        lambda: watch,
        *argv,
        executable=program,
        env=env,
        cwd="/",
        stderr=asyncio.subprocess.PIPE if on_error else asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    timely = True
    try:
        pipe = _feed(transport, stdin)
        if on_start is None:
            pipe.close()  # when all is written
        else:
            on_start(pipe)
        async with asyncio.timeout(limit):
            await watch.ended.wait()
    except TimeoutError:
        timely = False
    finally:
        _kill_group(transport.get_pid())  # what it left running ends with it, as in a container
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watch.drained.wait(), _LAST_WORDS)
        transport.close()
    status = transport.get_returncode() if timely else None
    exit_status = _KILLED if status is None else status if status >= 0 else 128 - status
    return Ran(exit_status, b"".join(watch.parts[_STDOUT]), b"".join(watch.parts[_STDERR]))


class _Watch(asyncio.SubprocessProtocol):
    """Hears a process: its output as it comes, and its end apart from that of its pipes, which children may hold."""

    def __init__(self, on_output: _Listener | None, on_error: _Listener | None) -> None:
        self.parts: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: []}
        self.ended, self.drained = asyncio.Event(), asyncio.Event()
        self._listeners = {_STDOUT: on_output, _STDERR: on_error}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.parts[fd].append(data)
        listener = self._listeners[fd]
        if listener is not None:
            listener(data)

    def process_exited(self) -> None:
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.drained.set()


def _feed(transport: asyncio.SubprocessTransport, data: bytes) -> asyncio.WriteTransport:
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)  # noqa: S101 - standard input is one
    pipe.write(data)
    return pipe


def _environment(vantage: Vantage, env: Mapping[str, str]) -> dict[str, str]:
    return {"HOME": "/", "HOSTNAME": vantage.hostname or vantage.node, **env}


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(group, signal.SIGKILL)


# ---- the PATH --------------------------------------------------------------------------------------------------------


@functools.cache
def toolbox(stand_ins: frozenset[str]) -> str:
    """A directory with these stand-ins and links to the machine's plain tools; made once a process, gone at its end."""
    directory = _toolboxes() / f"{len(list(_toolboxes().iterdir()))}"
    directory.mkdir()
    for name in _PLAIN_TOOLS:
        own = shutil.which(name, path=_machine_path())
        if own is not None and name == "timeout":
            _install(directory / name, exchange.limiter(stand_ins - tools.BECOMING, own))
        elif own is not None and name not in stand_ins:
            (directory / name).symlink_to(own)
    for name in stand_ins:
        _install(directory / name, _stand_in(name))
    return str(directory)


def _install(file: Path, script: str) -> None:
    file.write_text(script)
    file.chmod(0o755)


@functools.cache
def _toolboxes() -> Path:
    directory = temporary.folder("bin-", programs=True)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _machine_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), os.defpath, "/usr/bin", "/bin", "/usr/sbin", "/sbin"))


def _stand_in(name: str) -> str:
    """The executable of a stand-in; cat's asks for the files that describe the machine alone."""
    if name != "cat":
        return exchange.stand_in(name)
    return exchange.stand_in(name, unless=tools.FILES, program=shutil.which("cat", path=_machine_path()) or "/bin/cat")
