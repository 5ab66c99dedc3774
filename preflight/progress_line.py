"""While a run waits: one line below pytest's own progress that says what for, and how long already.

Only a terminal sees it. It is written only while a check waits for a measurement, in the thread that pytest prints
from, and it is gone before anything else is printed; the cursor is left where pytest put it.
"""

from __future__ import annotations

import contextlib
import os
import time
import unicodedata
from collections.abc import Callable, Mapping

from preflight.evidence import clean
from preflight.survey import Measurement, Survey

PATIENCE = 0.5  # seconds of waiting after which it appears: what is quick does not flicker
EVERY = 0.25  # seconds between two states of it
_NARROWEST = 20  # columns below which nothing could be said

# IND makes sure that there is a line below, CUU goes back; DECSC and DECRC keep the cursor where pytest has it.
_BELOW = "\x1bD\x1b[A\x1b7\x1b[B\r"
_BACK = "\x1b[K\x1b8"
_GONE = "\x1b7\x1b[B\r\x1b[2K\x1b8"


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether a person may be looking: not in CI, and not where the terminal says that it can't move its cursor."""
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
    """What the oldest measurement waits for, in its own words if it said any: one line, cleaned.

    Args:
        running: what is being measured, the oldest first.
        status: what measurements said of themselves.
        now: seconds of the monotonic clock.
    """
    if not running:
        return "waiting for the first measurement"
    told = [one for one in running if str(one) in status]
    oldest = (told or running)[0]
    where = ", ".join(oldest.targets.values())
    words = status.get(str(oldest)) or (f"{oldest.spec.title}: {where}" if where else oldest.spec.title)
    more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
    line = " ".join(clean(words, longest=300).split())
    return f"{line} … {max(0.0, now - (oldest.started or now)):.0f} s{more}"


def cut(text: str, width: int) -> str:
    """The text in no more than so many columns of a terminal; wide characters take two, and marks none."""
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
        survey: whose measurements it tells of.
        descriptor: the terminal's; closed by `close`.
        clock: seconds, monotonic.
    """

    def __init__(self, survey: Survey, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._survey, self._descriptor, self._clock = survey, descriptor, clock
        self._since: float | None = None
        self._written = 0.0
        self._visible = False

    def show(self) -> None:
        """Bring the line up to date, if that is due."""
        now = self._clock()
        if self._since is None:
            self._since = now
        if now - self._since < PATIENCE or (self._visible and now - self._written < EVERY):
            return
        width = self._width()
        if width >= _NARROWEST:
            told = cut(sentence(self._survey.running(), self._survey.run.status, now), width - 3)
            self._write(f"{_BELOW}  {told}{_BACK}")
            self._written, self._visible = now, True

    def erase(self) -> None:
        """Remove the line; the next wait begins anew."""
        self._since = None
        if self._visible:
            self._visible = False
            self._write(_GONE)

    def close(self) -> None:
        """Remove the line and let go of the terminal."""
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
        # A terminal that went away, or takes no more, costs the line and nothing else.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "replace"))
