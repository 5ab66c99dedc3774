"""The end of a run, also an early one: signals, and the flags that whoever makes or removes something checks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from preflight.evidence import Unmeasured

POLL = 0.05  # seconds between two checks of whether to expedite


class Shutdown(threading.Event):
    """Set when a run is over or ends early: from then on nothing new is made.

    Attributes:
        expedite: set when the run must end at once: what is left to remove is still removed, but nothing waits for a
            graceful end.
        made: whether a request to make something was ever sent.
        objects: the names of what was made outside of this process, by kind: ``Job``, ``pod``, ``pipeline``, ``image``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expedite = threading.Event()
        self.made = False
        self.objects: dict[str, set[str]] = {}
        self._making = 0
        self._changed = threading.Condition()

    @contextmanager
    def making(self, what: str) -> Iterator[None]:
        """Around a request that makes something, so that whoever removes it knows when no more requests can follow.

        Args:
            what: what is made, for the error's message.

        Raises:
            Unmeasured: the run is ending; the request must not be sent.
        """
        with self._changed:
            if self.is_set():
                raise Unmeasured(f"the run was stopped before {what} was made", needs="a run that is not interrupted")
            self._making += 1
            self.made = True
        try:
            yield
        finally:
            with self._changed:
                self._making -= 1
                self._changed.notify_all()

    def note(self, kind: str, name: str) -> None:
        """Remember something that was made, so that its removal can be reported."""
        with self._changed:
            self.objects.setdefault(kind, set()).add(name)

    def counted(self) -> str:
        """What was made, such as ``3 Jobs and 3 pods``; empty if nothing was."""
        with self._changed:
            numbers = [(kind, len(names)) for kind, names in self.objects.items()]
        counts = [f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in numbers]
        return " and ".join(filter(None, [", ".join(counts[:-1]), *counts[-1:]]))

    def settled(self, *, within: float) -> bool:
        """Wait at most so many seconds until nothing is being made; returns whether that is so."""
        end = time.monotonic() + within
        with self._changed:
            while self._making and time.monotonic() < end and not self.expedite.is_set():
                self._changed.wait(POLL)
            return not self._making


class SignalHandlers:
    """SIGINT, SIGTERM and SIGHUP: the first ends the run as Ctrl-C does, each further one only makes it end sooner.

    So no signal leaves a report half written or an object behind. A signal that is ignored when the run begins, as with
    ``nohup`` or for a shell's background job, stays ignored; SIGTERM does not.

    Args:
        shutdown: of the run.
    """

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self._before: dict[int, Any] = {}
        self.ending = False
        """Whether the run is ending already, so that even the first signal only makes it end sooner."""
        self.received = False
        """Whether a signal requested the end; an exception raised in a finalizer is dropped, this flag stays."""

    def install(self) -> None:
        """Install the handlers; a no-op outside of the main thread, which alone may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number == signal.SIGTERM:
                self._before[number] = before
                signal.signal(number, self._handle)

    def restore(self) -> None:
        """Restore the previous handlers."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.ending:
            self._shutdown.expedite.set()
            return
        self.ending = self.received = True
        raise KeyboardInterrupt
