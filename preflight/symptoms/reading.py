"""Find known symptoms in a text: a sentence, or a whole job log with colours, timestamps and section marks."""

from __future__ import annotations

import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from preflight.evidence import clean, without_controls
from preflight.symptoms.catalogue import Symptom, known

LARGEST = 5_000_000
"""Bytes of a log that are read: its end, where the failure is told."""

MOST = 1_000_000_000
"""Bytes after which a stream is taken for one without an end."""

PATIENCE = 30.0
"""Seconds without a byte after which a stream is given up."""

_SHOWN = 240  # characters of a line that are shown
_FEW = 30  # lines up to which a text may be one message that a terminal has wrapped
_STAMP = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) ?(?:[0-9a-f]{2}[OE]([+ ]))?")
_SECTION = re.compile(r"\Asection_(?:start|end):\d{1,20}:[\w.-]{1,200}(?:\[[^\]]{0,200}\])?")
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Found:
    """A symptom that a text shows.

    Attributes:
        symptom: which.
        place: the number of the first line that shows it, from 1.
        line: that line, cleaned of control characters and secrets, cut around what was found.
        count: how many lines show it.
    """

    symptom: Symptom
    place: int
    line: str
    count: int


def from_stream(stream: BinaryIO) -> str:
    """The end of what a stream holds; a ValueError says why it can't be read.

    A terminal is refused, and so is a pipe that neither brings anything nor ends: a run must not hang.
    """
    if stream.isatty():
        raise ValueError("expected a job's log on standard input, found a terminal")
    kept, read = b"", 0
    while read < MOST:
        if not select.select([stream], [], [], PATIENCE)[0]:
            raise ValueError(f"standard input brought nothing for {PATIENCE:g} s and did not end")
        piece = os.read(stream.fileno(), 1 << 20)
        if not piece:
            return kept.decode("utf-8", errors="replace")
        read += len(piece)
        kept = (kept + piece)[-LARGEST:]
    raise ValueError(f"standard input holds more than {MOST // 10**6} MB: give the end of the log, with `tail`")


def find(text: str) -> tuple[Found, ...]:
    """The known symptoms in a text, in the order in which they first show. Takes time linear in its length."""
    every = list(lines(text))
    found = _among(every)
    if 1 < len(every) <= _FEW:
        told = {one.symptom.id for one in found}
        whole = [(every[0][0], " ".join(line for _, line in every))]
        found += [one for one in _among(whole) if one.symptom.id not in told]
    return tuple(sorted(found, key=lambda one: one.place))


def _among(every: list[tuple[int, str]]) -> list[Found]:
    lower = "\n".join(line for _, line in every).lower()
    return [one for symptom in known() if (one := _observation(symptom, every, lower)) is not None]


def lines(text: str) -> Iterator[tuple[int, str]]:
    """The text's lines with their numbers, without what a log adds to them; parts of one line are joined."""
    place, parts = 0, [""]
    for number, raw in enumerate(text.split("\n"), start=1):
        for piece in raw.split("\r"):
            line = without_controls(piece)
            stamp = _STAMP.match(line)
            line = _SECTION.sub("", line[stamp.end() :] if stamp else line)
            if stamp and stamp.group(1) == "+":  # a line that GitLab has cut in two
                parts.append(line)
                continue
            if whole := _joined(parts):
                yield place, whole
            place, parts = number, [line]
    if whole := _joined(parts):
        yield place, whole


def _joined(parts: list[str]) -> str:
    return _BLANKS.sub(" ", "".join(parts)).strip()


def _observation(symptom: Symptom, every: list[tuple[int, str]], lower: str) -> Found | None:
    asked = [one for one in symptom.patterns if one.plain in lower]
    shows: dict[str, bool] = {}  # logs say the same many times over
    for _, line in every if asked else ():
        if line not in shows:
            small = line.lower()
            shows[line] = any(one.plain in small and one.expression.search(line) for one in asked)
    seen = [(place, line) for place, line in every if shows.get(line)]
    if not seen:
        return None
    place, line = seen[0]
    return Found(symptom, place, _shown(symptom, line), len(seen))


def _shown(symptom: Symptom, line: str) -> str:
    """The line without secrets, as much of it as shows the symptom."""
    line = clean(line, longest=len(line) + 100)
    matches = (one.expression.search(line) for one in symptom.patterns)
    begin = next((max(0, one.start() - _SHOWN // 3) for one in matches if one is not None), 0)
    shown = line[begin : begin + _SHOWN]
    return f"{'…' if begin else ''}{shown}{'…' if begin + _SHOWN < len(line) else ''}"
