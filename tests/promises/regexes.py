"""Texts that take a regular expression long, if anything does: derived from what the expression itself repeats."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from re import _constants, _parser  # type: ignore[attr-defined]  # the form of a pattern; nothing public tells it
from typing import Any, NamedTuple

SINGLE = "a-A0 \n:/=\"'@._\\%$[{(<|&?;~+*e\t\u00ad密"
"""Characters of which a text may consist alone."""

_UNBOUNDED = 40  # repeats from which on a repeat counts as one without an end
_SAMPLES = 16  # texts of one expression


GROWTH = 3.2
"""Times as long for twice the text: two where time is linear, four where it is quadratic."""


class Slow(NamedTuple):
    """Where the time grows faster than the text.

    Attributes:
        unit: what the text repeats, behind its beginning.
        length: of the longer text.
        short: seconds of the processor for a text half as long.
        long: seconds for this one.
    """

    unit: str
    length: int
    short: float
    long: float


def units(expression: str, flags: int = 0) -> Iterator[tuple[str, str]]:
    """Beginnings and units of texts, such that the beginning and many units make the expression work."""
    seen: set[tuple[str, str]] = set()
    parsed = _parser.parse(expression, flags)
    for text in [("", whole) for whole in _samples(parsed)] + list(_repeated(parsed, "")):
        if text[1] and text not in seen and len(seen) < _SAMPLES:
            seen.add(text)
            yield text


def _repeated(parsed: Iterable[tuple[Any, Any]], before: str) -> Iterator[tuple[str, str]]:
    """What each repeat without an end repeats, behind a text that leads to it; and that text itself."""
    for kind, value in parsed:
        if kind in {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}:
            inner = _sample(value[2])
            if value[1] >= _UNBOUNDED:
                yield before, inner
                yield "", inner
                yield "", before + inner
            yield from _repeated(value[2], before)
        elif kind is _constants.SUBPATTERN:
            yield from _repeated(value[-1], before)
        elif kind is _constants.BRANCH:
            for branch in value[1]:
                yield from _repeated(branch, before)
        elif kind is _constants.ATOMIC_GROUP:
            yield from _repeated(value, before)
        before += _sample([(kind, value)])


def _samples(parsed: Any) -> Iterator[str]:
    """The whole, and its beginnings, each as it could stand many times in a text."""
    parts = [_sample([part]) for part in parsed]
    for length in range(1, len(parts) + 1):
        yield "".join(parts[:length])


def _sample(parsed: Iterable[tuple[Any, Any]]) -> str:
    """A short text that a part of an expression matches, or nearly."""
    return "".join(_sample_of(kind, value) for kind, value in parsed)


def _sample_of(kind: Any, value: Any) -> str:
    match kind:
        case _constants.LITERAL:
            return chr(int(value))
        case _constants.NOT_LITERAL:
            return "a" if value != ord("a") else "b"
        case _constants.ANY:
            return "a"
        case _constants.IN:
            return next((c for c in f"a0 -/.{SINGLE}" if _within(c, value)), "a")
        case _constants.BRANCH:
            return _sample(value[1][0])
        case _constants.SUBPATTERN:
            return _sample(value[-1])
        case _constants.ATOMIC_GROUP:
            return _sample(value)
        case _constants.MAX_REPEAT | _constants.MIN_REPEAT | _constants.POSSESSIVE_REPEAT:
            return _sample(value[2]) * int(max(value[0], 1 if value[1] else 0))
    return ""


def _within(character: str, charset: list[tuple[Any, Any]]) -> bool:
    negated = charset[0][0] is _constants.NEGATE
    for kind, value in charset:
        if kind is _constants.LITERAL and chr(value) == character:
            return not negated
        if kind is _constants.RANGE and value[0] <= ord(character) <= value[1]:
            return not negated
        if kind is _constants.CATEGORY and _in_category(character, value):
            return not negated
    return negated


def _in_category(character: str, category: Any) -> bool:
    tests = {
        _constants.CATEGORY_DIGIT: character.isdigit(),
        _constants.CATEGORY_NOT_DIGIT: not character.isdigit(),
        _constants.CATEGORY_SPACE: character.isspace(),
        _constants.CATEGORY_NOT_SPACE: not character.isspace(),
        _constants.CATEGORY_WORD: character.isalnum() or character == "_",
        _constants.CATEGORY_NOT_WORD: not (character.isalnum() or character == "_"),
    }
    return tests.get(category, False)


def seconds(work: Callable[[str], object], text: str) -> float:
    """Seconds of the processor that the work takes."""
    began = time.process_time()
    work(text)
    return time.process_time() - began


def text_of(before: str, unit: str, length: int) -> str:
    """The beginning and as many units as give a text of this length."""
    return (before + unit * (length // len(unit) + 1))[:length]


def slow(
    work: Callable[[str], object], texts: Iterable[tuple[str, str]], *, lengths: Iterable[int], least: float
) -> Iterator[Slow]:
    """The texts for which work takes time that grows faster than the text.

    Args:
        work: what takes the time.
        texts: a beginning and a unit each; the text is the beginning and many units.
        lengths: of the texts that are tried, the shortest first, so that what is cubic ends soon, too.
        least: seconds from which on growth is looked at: what takes less is fast enough.
    """
    for before, unit in texts:
        for length in lengths:
            if seconds(work, text_of(before, unit, length)) < least:
                continue
            # Other processes may have been in the way: the best of three tells.
            short, long = (
                min(seconds(work, text_of(before, unit, size)) for _ in range(3)) for size in (length // 2, length)
            )
            if long >= least and long > GROWTH * short:
                yield Slow(before + unit, length, short, long)
                break


def search_all(expression: re.Pattern[str]) -> Callable[[str], object]:
    """A search for every match of the expression."""
    return lambda text: deque(expression.finditer(text), maxlen=0)


def hostile_texts(expression: re.Pattern[str]) -> list[tuple[str, str]]:
    """Beginnings and units of texts that make the expression work."""
    return [*(("", character) for character in SINGLE), *units(expression.pattern, expression.flags)]
