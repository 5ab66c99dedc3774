"""What `python -m MODULE` does, without an interpreter's start: everything is imported once, and each run is a fork.

Started by tests/processes.py, as a script, with a socket on a descriptor that its first argument names. A request is a
length (4 bytes) and JSON, with four descriptors: standard input, output and errors, and a pipe. Into that pipe go the
process's id and, at its end, its exit status as subprocess has it, a line each. When the socket is closed, all that
still run are killed.

This process has one thread and runs nothing itself. A fork has its own session, the request's environment and working
directory, the signal handlers, the standard streams and the module path of a fresh interpreter, and ends as one does.
Why not multiprocessing's: its children end without the interpreter's own end, import the parent's main module, and have
their standard streams from it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import locale
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
OURS = ("preflight", "lab")
THEIRS = (
    *("aiohttp", "asyncssh", "docker", "kubernetes.client", "kubernetes.config", "paramiko", "pytest_html.plugin"),
    *("requests", "trustme", "urllib3.connection", "websocket", "dns.query", "dns.resolver", "yaml"),
)
"""What is imported when something is measured, beside what our own modules import at their beginning."""
_LENGTH = 4


def preload(plugins: list[str]) -> None:
    """Import what a run of the checks imports, as it imports it, and forget the project's own tests and conftest."""
    import pytest

    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["checks/", "--collect-only", "-q", *plugins])
    assert status == 0, output.getvalue()
    for name in THEIRS:
        importlib.import_module(name)
    for package in OURS:
        for part in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not part.name.endswith("__main__"):
                importlib.import_module(part.name)
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if name.split(".")[0] not in {"__main__", *OURS} and any(_is_in_project(place) for place in places if place):
            del sys.modules[name]
    _read_tables()


def _read_tables() -> None:
    """Compile, build and read what a run makes of the package alone, whatever its inventory and its options are."""
    from preflight.inventory import Inventory
    from preflight.pages.document import Report
    from preflight.pages.page import _templates
    from preflight.runner_config import keys

    for template in _templates().list_templates(extensions=["j2"]):
        _templates().get_template(template)
    for model in (Inventory, Report):
        model.model_rebuild()
    keys.runner_keys(keys.versions()[-1])
    keys._spans("keys")
    keys._spans("feature_flags")


def _is_in_project(place: str) -> bool:
    return any(Path(place).is_relative_to(PROJECT / name) for name in ("checks", "conftest.py", "tests"))


class Server:
    """Forks when it is asked to, and tells how the forks end."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._pipes: dict[int, int] = {}  # of the running: process id → pipe
        self._woken, waking = socket.socketpair()
        for end in (self._woken, waking):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking.fileno())
        self._waking = waking

    def serve(self) -> dict[str, Any] | None:
        """Serve until the socket is closed; in a fork, returns the request that it is for."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    self._woken.recv(4096)
                    self._reap()
                if self._requests in ready:
                    head, descriptors, _, _ = socket.recv_fds(self._requests, _LENGTH, 4)
                    if not head:
                        break
                    body = self._receive(int.from_bytes(head, "big"))
                    if self._fork(descriptors):
                        return dict(json.loads(body))
        for pid in self._pipes:
            os.kill(pid, signal.SIGKILL)
        return None

    def _receive(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            content += self._requests.recv(size - len(content))
        return content

    def _fork(self, descriptors: list[int]) -> bool:
        """Whether this is the fork."""
        *streams, pipe = descriptors
        pid = os.fork()
        if pid == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            self._leave()
        else:
            self._pipes[pid] = pipe
            os.write(pipe, f"{pid}\n".encode())
        for descriptor in descriptors if pid == 0 else streams:
            os.close(descriptor)
        return pid == 0

    def _leave(self) -> None:
        """Have nothing of the server any more."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for own in (self._requests, self._woken, self._waking):
            own.close()
        for pipe in self._pipes.values():
            os.close(pipe)
        os.setsid()

    def _reap(self) -> None:
        while self._pipes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pipe = self._pipes.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                os.write(pipe, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(pipe)


def become(request: dict[str, Any], base: list[str]) -> None:
    """Be what `python -m` has made of a fresh interpreter."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()
    if locale.setlocale(locale.LC_CTYPE, "") in {"C", "POSIX"} and "LC_ALL" not in os.environ:
        os.environ["LC_CTYPE"] = "C.UTF-8"  # PEP 538
        locale.setlocale(locale.LC_CTYPE, "")
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _open_streams()
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [request["cwd"], *paths, *base]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    if not request["preloaded"]:
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]


def _open_streams() -> None:
    """The standard streams as Python opens them: by lines on a terminal, errors always."""
    spoken = locale.setlocale(locale.LC_CTYPE)
    plain = spoken in {"C", "POSIX"}  # PEP 540
    encoding = "utf-8" if plain else locale.getpreferredencoding(do_setlocale=False).lower()
    errors = "surrogateescape" if plain or spoken == "C.UTF-8" else "strict"
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, errors=errors, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for name, number, strictness in (("stdout", 1, errors), ("stderr", 2, "backslashreplace")):
        by_lines = os.isatty(number) or number == 2
        stream = open(number, "w", encoding=encoding, errors=strictness, closefd=False)  # noqa: SIM115
        stream.reconfigure(line_buffering=by_lines)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    """Preload, serve; in a fork, run the module."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    base = list(sys.path)
    os.chdir(PROJECT)
    sys.path.insert(0, str(PROJECT))
    preload(sys.argv[2:])
    gc.collect()
    gc.freeze()  # what is here already is nobody's garbage, and looking for some would copy its pages
    request = Server(requests).serve()
    if request is None:
        return
    become(request, base)
    sys.argv = [f"-m {request['module']}", *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
