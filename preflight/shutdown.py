"""How a run comes to an early end: signals, and what those who make or remove things in the world heed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from preflight.evidence import Unmeasured

POLL = 0.05  # seconds between two looks at whether to hurry


class Shutdown(threading.Event):
    """Set when a run is over or ends early: from then on nothing is made any more.

    Attributes:
        expedite: set when the end must come at once: what is left to remove is still removed, and nobody waits for
            anything to end gracefully.
        made: whether anything was ever asked to be made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expedite = threading.Event()
        self.made = False
        self._making = 0
        self._changed = threading.Condition()

    @contextmanager
    def making(self, what: str) -> Iterator[None]:
        """Around a request that makes something, so that whoever removes it knows when no more can come.

        Args:
            what: the thing, for the error's sentence.

        Raises:
            Unmeasured: the run stops; the request must not be sent.
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

    def settled(self, *, within: float) -> bool:
        """Wait until nothing is being made, at most for some seconds; whether it is so."""
        end = time.monotonic() + within
        with self._changed:
            while self._making and time.monotonic() < end and not self.expedite.is_set():
                self._changed.wait(POLL)
            return not self._making


class SignalHandlers:
    """SIGINT, SIGTERM and SIGHUP: the first ends the run as Ctrl-C does, every further one only hurries its end.

    So no signal leaves a report half written or an object behind. A signal that is ignored when the run begins, as
    ``nohup`` and a shell's background do it, stays ignored; SIGTERM does not.

    Args:
        shutdown: of the run.
    """

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self._before: dict[int, Any] = {}
        self.ending = False
        """Whether the run is at its end, so that even the first signal only hurries it."""
        self.received = False
        """Whether a signal asked for the end; an exception that strikes in a finalizer is dropped, and this stays."""

    def install(self) -> None:
        """Take the signals over; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number == signal.SIGTERM:
                self._before[number] = before
                signal.signal(number, self._take)

    def restore(self) -> None:
        """Give the signals back."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.ending:
            self._shutdown.expedite.set()
            return
        self.ending = self.received = True
        raise KeyboardInterrupt
