"""The one place where tests start `python -m …`: the suite as an operator runs it, in a process of its own.

    ended = run_checks("--lab", "--report-dir", folder)             # to its end
    process = start("pytest", "checks/", …, stdout=file)            # and then poll(), send_signal(), wait()

A process is a fork of a server that has imported everything (tests/fork_server.py), one a test worker: it takes two
CPU seconds fewer than an interpreter that starts. Where the start itself is the matter, `interpreter=True` has one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

PROJECT = Path(__file__).resolve().parents[1]
PLUGINS = ("cacheprovider", "xdist", "xdist.looponfail", "hypothesispytest", "timeout")
"""What the tests' own pytest has and an operator's need not have."""
WITHOUT_PLUGINS = tuple(word for name in PLUGINS for word in ("-p", f"no:{name}"))
_FORKS = 60.0  # seconds until the server has imported everything, on a machine that is busy


class Process(Protocol):
    """What tests need of `subprocess.Popen`, and both kinds of processes have."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal, once `poll` or `wait` has seen its end."""

    def poll(self) -> int | None:
        """Its exit status, if it is over."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; a subprocess.TimeoutExpired if it is not over in time."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it is over."""

    def kill(self) -> None:
        """End it at once."""


Stream = int | IO[bytes] | IO[str]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with a wide terminal and buffered, as an operator's is.

    It has no proxies: they are a finding of their own.
    """
    own = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
    kept = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name not in own
    }
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", **changes}


def start(
    module: str,
    *arguments: str | Path,
    cwd: Path = PROJECT,
    env: Mapping[str, str] | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    interpreter: bool = False,
) -> Process:
    """Start `python -m MODULE ARGUMENT…`; it heeds SIGINT and SIGHUP even where this process does not.

    Args:
        module: what to run.
        arguments: of its command line.
        cwd: its working directory.
        env: its whole environment; default: `environment()`.
        stdin: a descriptor, a file or subprocess.DEVNULL.
        stdout: the same.
        stderr: the same, or subprocess.STDOUT.
        interpreter: start an interpreter of its own.
    """
    words = [str(argument) for argument in arguments]
    variables = dict(environment() if env is None else env)
    if interpreter:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=cwd,
            env=variables,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - nothing else can undo an inherited "ignore"
        )
    with contextlib.ExitStack() as stack:
        streams = [_descriptor(stream, stack) for stream in (stdin, stdout)]
        streams.append(streams[1] if stderr == subprocess.STDOUT else _descriptor(stderr, stack))
        return _server().fork(module, words, cwd=cwd, env=variables, streams=streams)


def run(
    module: str,
    *arguments: str | Path,
    cwd: Path = PROJECT,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as subprocess.run has it
    timeout: float = 180,
    interpreter: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENT…` to its end; what it printed is text.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, _fed(input) as given:
        process = start(
            module, *arguments, cwd=cwd, env=env, stdin=given, stdout=output, stderr=errors, interpreter=interpreter
        )
        try:
            status = process.wait(timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        printed = []
        for file in (output, errors):
            file.seek(0)
            printed.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess([module, *map(str, arguments)], status, *printed)


def run_checks(
    *arguments: str | Path,
    target: str = "checks/",
    env: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> subprocess.CompletedProcess[str]:
    """Run the checks as an operator does, to their end."""
    return run("pytest", target, *WITHOUT_PLUGINS, *arguments, env=env, timeout=timeout)


def _heed_interrupts() -> None:
    """Undo what a shell does to a process in the background, and nohup to any: it would never see them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _imports_this_project(cwd: Path, env: Mapping[str, str]) -> bool:
    """Whether `import preflight` is this project's package there, and not one of that folder or an installed one."""
    places = [cwd, *map(Path, filter(None, env.get("PYTHONPATH", "").split(os.pathsep)))]
    first = next((place for place in places if (place / "preflight").is_dir() or (place / "lab").is_dir()), None)
    return first is not None and first.resolve() == PROJECT


def _descriptor(stream: Stream, stack: contextlib.ExitStack) -> int:
    if stream == subprocess.DEVNULL:
        return stack.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
    return stream if isinstance(stream, int) else stream.fileno()


@contextlib.contextmanager
def _fed(text: str | None) -> Iterator[Stream]:
    """The reading end of a pipe that holds the text, or nothing."""
    if text is None:
        yield subprocess.DEVNULL
        return
    ours, theirs = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(theirs, "w", encoding="utf-8") as pipe:
            pipe.write(text)

    feeding = threading.Thread(target=feed, name="feeding standard input", daemon=True)
    feeding.start()
    try:
        yield ours
    finally:
        os.close(ours)
        feeding.join(10)


# ---- forks -----------------------------------------------------------------------------------------------------------


class Fork:
    """A process that the server made; the interface is that of `Process`."""

    def __init__(self, arguments: list[str], pipe: int) -> None:
        self._arguments, self._pipe, self._told = arguments, pipe, b""
        self.returncode: int | None = None
        self._read(until=lambda: b"\n" in self._told, within=_FORKS)
        assert b"\n" in self._told, "the server forks no more"
        self.pid = int(self._told.split()[0])

    def __del__(self) -> None:
        """A pipe is no garbage."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _read(self, *, until: Callable[[], bool], within: float | None) -> None:
        ends = None if within is None else time.monotonic() + within
        while not until():
            left = None if ends is None else max(0.0, ends - time.monotonic())
            if not select.select([self._pipe], [], [], left)[0]:
                return
            content = os.read(self._pipe, 100)
            assert content, "the server is gone"
            self._told += content

    def poll(self) -> int | None:
        """Its exit status, if it is over."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; a subprocess.TimeoutExpired if it is not over in time."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        return status

    def _ended(self, within: float | None) -> int | None:
        if self.returncode is None:
            self._read(until=lambda: self._told.count(b"\n") == 2, within=within)
            if self._told.count(b"\n") == 2:
                self.returncode = int(self._told.split()[1])
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it is over."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """The fork server of this process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(PROJECT / "tests" / "fork_server.py"),
                    str(theirs.fileno()),
                    *WITHOUT_PLUGINS,
                ],
                pass_fds=[theirs.fileno()],
                env={name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))},
                start_new_session=True,
            )

    def fork(self, module: str, arguments: list[str], *, cwd: Path, env: Mapping[str, str], streams: list[int]) -> Fork:
        """Have a process made."""
        request = {
            "module": module,
            "arguments": arguments,
            "cwd": str(cwd.resolve()),
            "env": dict(env),
            "preloaded": _imports_this_project(cwd, env),
        }
        content = json.dumps(request).encode()
        ours, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._socket, [len(content).to_bytes(4, "big")], [*streams, theirs])
                self._socket.sendall(content)
        finally:
            os.close(theirs)
        return Fork([module, *arguments], ours)

    def stop(self) -> None:
        """End it, and with it all that it made."""
        self._socket.close()
        self._process.wait(10)


@functools.cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.stop)
    return server
