"""Programs that print a kubeconfig's credentials (``exec``), ended when their time is over, or this process is.

The official client starts such a program and waits for it without a deadline: one that hangs would outlive the run.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

_running: dict[threading.Thread, _Program] = {}


class _Program(subprocess.Popen[Any]):
    """A credential program with a process group of its own, unless it may ask at this process's terminal.

    Whoever leaves the session of a terminal can't read from it any more, and some programs ask for a one-time code.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._grouped = not _has_terminal()
        super().__init__(*arguments, start_new_session=self._grouped, **options)
        _running[threading.current_thread()] = self

    def communicate(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """Wait for its end, and that of whatever prints for it; from then on, its process id may be another's."""
        try:
            return super().communicate(*arguments, **options)
        finally:
            _running.pop(threading.current_thread(), None)

    def end(self) -> None:
        """End it, and what it has started."""
        if self._grouped:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            return
        for process in (*_descendants(self.pid), self.pid) if self.poll() is None else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def _descendants(process: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have, where the kernel tells (Linux)."""
    with suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split():
            yield from _descendants(int(child))
            yield int(child)


def watch(*modules: ModuleType) -> None:
    """Know the programs that these modules of the client start: they look up ``Popen`` in their own ``subprocess``."""
    for module in modules:
        module.subprocess = SimpleNamespace(Popen=_Program, PIPE=subprocess.PIPE)  # type: ignore[attr-defined]


def end(waiting: threading.Thread) -> None:
    """End the program that a thread waits for, if there is one."""
    if program := _running.get(waiting):
        program.end()


@atexit.register
def _end_all() -> None:
    for program in list(_running.values()):
        program.end()
