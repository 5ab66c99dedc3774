"""One line below pytest's own progress that says what a check waits for, and for how long.

It is written to a terminal only, while a check waits for a measurement, in the thread that pytest prints from; it is
erased before anything else is printed, and the cursor stays where pytest put it.
"""

from __future__ import annotations

import contextlib
import os
import time
import unicodedata
from collections.abc import Callable, Mapping

from preflight.evidence import clean
from preflight.language import translated
from preflight.survey import Measurement, Survey

DELAY = 0.5  # seconds of waiting after which it appears: short waits must not flicker
INTERVAL = 0.25  # seconds between two updates
_NARROWEST = 20  # columns below which it would say nothing

# IND makes sure that there is a line below, CUU goes back; DECSC and DECRC keep the cursor where pytest has it.
_BELOW = "\x1bD\x1b[A\x1b7\x1b[B\r"
_BACK = "\x1b[K\x1b8"
_GONE = "\x1b7\x1b[B\r\x1b[2K\x1b8"


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether a person may be watching: not in CI, and not on a terminal that can't move its cursor."""
    return not environment.get("CI") and environment.get("TERM", "") not in {"", "dumb", "unknown"}


def terminal() -> int | None:
    """A descriptor of the terminal that stdout and stderr both go to; None where either goes elsewhere.

    A copy: pytest turns the originals into files of its own while a test runs.
    """
    try:
        same = os.fstat(1)[:3] == os.fstat(2)[:3]
        return os.dup(2) if same and os.isatty(1) and os.isatty(2) else None
    except OSError:
        return None


def sentence(running: list[Measurement], status: Mapping[str, str], now: float) -> str:
    """What the oldest measurement waits for, by its own status if it has one: one line, cleaned.

    Args:
        running: what is being measured, the oldest first.
        status: what measurements reported of their own progress.
        now: seconds of the monotonic clock.
    """
    if not running:
        return "waiting for the first measurement"
    with_status = [measurement for measurement in running if str(measurement) in status]
    oldest = (with_status or running)[0]
    targets = ", ".join(oldest.targets.values())
    text = status.get(str(oldest)) or (f"{oldest.spec.title}: {targets}" if targets else oldest.spec.title)
    more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
    line = " ".join(clean(translated(text), longest=300).split())
    return f"{line} … {max(0.0, now - (oldest.started or now)):.0f} s{more}"


def cut(text: str, width: int) -> str:
    """The text, cut to so many columns of a terminal; wide characters take two, combining marks none."""
    kept: list[str] = []
    used = 0
    for character in text:
        if unicodedata.category(character).startswith("C"):
            continue
        size = 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used + size > width - 1:
            return "".join(kept) + "…"
        kept.append(character)
        used += size
    return "".join(kept)


class ProgressLine:
    """The line on one terminal.

    Args:
        survey: whose measurements it shows.
        descriptor: the terminal's; closed by `close`.
        clock: seconds, monotonic.
    """

    def __init__(self, survey: Survey, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._survey, self._descriptor, self._clock = survey, descriptor, clock
        self._since: float | None = None
        self._written = 0.0
        self._visible = False

    def show(self) -> None:
        """Update the line, if that is due."""
        now = self._clock()
        if self._since is None:
            self._since = now
        if now - self._since < DELAY or (self._visible and now - self._written < INTERVAL):
            return
        width = self._width()
        if width >= _NARROWEST:
            text = cut(sentence(self._survey.running(), self._survey.run.status, now), width - 3)
            self._write(f"{_BELOW}  {text}{_BACK}")
            self._written, self._visible = now, True

    def erase(self) -> None:
        """Erase the line; the next wait starts the delay again."""
        self._since = None
        if self._visible:
            self._visible = False
            self._write(_GONE)

    def close(self) -> None:
        """Erase the line and close the terminal's descriptor."""
        self.erase()
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._descriptor).columns
        except (OSError, ValueError):
            return 0

    def _write(self, text: str) -> None:
        # A terminal that is gone, or accepts no more, costs the line and nothing else.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "replace"))
