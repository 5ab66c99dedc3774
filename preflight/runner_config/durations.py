"""Durations as Go reads them (``time.ParseDuration``), and as the runner writes them: ``1h30m`` is ``1h30m0s``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(
    r"(?P<number>[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
    rf"(?P<unit>{'|'.join(sorted(_UNITS, key=len, reverse=True))})"
)
_MOST = 2**63  # nanoseconds


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time.

    Attributes:
        nanoseconds: its length; also what a number without a unit counts.
    """

    nanoseconds: int

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.nanoseconds / 1_000_000_000

    def __str__(self) -> str:
        whole, rest = divmod(abs(self.nanoseconds), 1_000_000_000)
        if not whole and rest:
            return self._below_a_second(rest)
        hours, minutes = divmod(whole // 60, 60)
        seconds = f"{whole % 60}{f'.{rest:09d}'.rstrip('0') if rest else ''}s"
        sign = "-" if self.nanoseconds < 0 else ""
        return sign + (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + seconds

    def _below_a_second(self, rest: int) -> str:
        unit, size = next((unit, size) for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if rest >= size)
        number = Decimal(rest) / size
        return f"{'-' if self.nanoseconds < 0 else ''}{number.normalize():f}{unit}"


def parse_duration(text: str) -> Duration:
    """The duration that a text stands for.

    Raises:
        ValueError: it is none: Go wants a unit behind every number, as in ``5m`` or ``1h30m``.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return Duration(0)
    parts = list(_PART.finditer(rest))
    if not rest or "".join(part[0] for part in parts) != rest:
        msg = f"{text!r} is no duration such as 90s, 5m or 1h30m"
        raise ValueError(msg)
    total = sum(int(Decimal(part["number"]) * _UNITS[part["unit"]]) for part in parts)
    if total > _MOST or (total == _MOST and sign > 0):
        msg = f"{text!r} is longer than 292 years"
        raise ValueError(msg)
    return Duration(sign * total)
