"""What is known of symptoms: symptoms.yaml as dataclasses."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import dataclass
from re import _constants, _parser  # type: ignore[attr-defined]  # the form of a pattern; nothing public tells it
from typing import Any

from preflight.yamltext import load_yaml


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that a symptom can mean.

    Attributes:
        says: the meaning, in a sentence.
        checks: ids of the checks that tell; none, if a person has to look.
        faults: with which of their faults they confirm it; any, if empty.
        causes: names of conclusions that confirm it.
    """

    says: str
    checks: tuple[str, ...]
    faults: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A real line of a symptom, and where it is known from."""

    line: str
    source: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, and the longest run of plain characters (lower case) that each match of it holds."""

    expression: re.Pattern[str]
    plain: str


@dataclass(frozen=True, slots=True)
class Symptom:
    """A symptom that is known by its text.

    Attributes:
        id: its stable name.
        rows: rows of the failures' reference that it covers.
        patterns: what it is known by.
        samples: real lines.
        candidates: what it can mean.
    """

    id: str
    rows: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    samples: tuple[Sample, ...]
    candidates: tuple[Candidate, ...]

    @property
    def checks(self) -> frozenset[str]:
        """The checks that tell its candidates apart."""
        return frozenset(name for one in self.candidates for name in one.checks)


@functools.cache
def known() -> tuple[Symptom, ...]:
    """Every symptom that is known."""
    return tuple(_symptom(one) for one in _document()["symptoms"])


def without_text() -> Mapping[str, str]:
    """Rows of the failures' reference that no text shows, and what there is instead."""
    return dict(_document()["without_text"])


@functools.cache
def _document() -> dict[str, Any]:
    text = importlib.resources.files(__package__).joinpath("symptoms.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = load_yaml(text)
    return found


def _symptom(told: Mapping[str, Any]) -> Symptom:
    return Symptom(
        id=told["id"],
        rows=tuple(told["rows"]),
        patterns=tuple(_pattern(one) for one in told["patterns"]),
        samples=tuple(Sample(one["line"], one["from"]) for one in told["lines"]),
        candidates=tuple(
            Candidate(
                says=one["says"],
                checks=tuple(one["checks"]),
                faults=tuple(one.get("faults", ())),
                causes=tuple(one.get("causes", ())),
            )
            for one in told["means"]
        ),
    )


def _pattern(text: str) -> Pattern:
    return Pattern(re.compile(text, re.IGNORECASE), plain_run(text))


def plain_run(text: str) -> str:
    """The longest run of plain characters outside of groups and repeats, in lower case; "" if there is none."""
    longest = run = ""
    for kind, value in _parser.parse(text):
        run = run + chr(value) if kind is _constants.LITERAL else ""
        longest = max(longest, run, key=len)
    return longest.lower()
