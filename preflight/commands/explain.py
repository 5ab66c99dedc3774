"""``python -m preflight explain ID``: what is known of a check, a symptom, a root cause or a fault, by its id."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from preflight import coverage, faults, guide, shipped, symptoms
from preflight.conclusions import CAUSES, Cause
from preflight.conclusions.rules import draw
from preflight.language import labelled_line, translated
from preflight.symptoms import Symptom, grammar

EXPLAINED, UNKNOWN_ID = 0, 4
"""Exit statuses: it is explained; there is none of that id."""

_MEMBER = re.compile(r'^    [A-Z_]+ = "(?P<value>[a-z-]+)"(?:  # (?P<comment>.*))?$')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "id", metavar="ID", help="such as test_registry_answers, image-not-pulled, resolver-down, timeout"
    )


def run(chosen: argparse.Namespace) -> int:
    """Print what is known; returns the exit status."""
    asked = chosen.id
    lines = list(explained(asked))
    if lines:
        sys.stdout.write("\n".join(map(labelled_line, lines)) + "\n")
        return EXPLAINED
    near = difflib.get_close_matches(
        asked, [*checks(), *(symptom.id for symptom in symptoms.known()), *CAUSES, *_faults()], n=3
    )
    hint = f"; near to it: {', '.join(near)}" if near else ""
    sys.stderr.write(translated(f"error: {asked!r} is no check, symptom, root cause or fault{hint}") + "\n")
    return UNKNOWN_ID


def explained(asked: str) -> Iterator[str]:
    """What is known of an id, in lines; nothing, if it is unknown. One word may be a cause and a fault."""
    assert draw.__doc__, "the rules are registered by their import"  # noqa: S101
    if asked in checks():
        yield from _check(asked, checks()[asked])
    for symptom in symptoms.known():
        if symptom.id == asked:
            yield from _symptom(symptom)
    if asked in CAUSES:
        yield from _cause(CAUSES[asked])
    if asked in _faults():
        yield from _fault(asked)


@cache
def checks() -> Mapping[str, guide.Paragraph]:
    """Every check of the guide, by id."""
    return {check.id: check.paragraph for check in coverage.declared(shipped.CHECKS)}


def _check(name: str, paragraph: guide.Paragraph) -> Iterator[str]:
    yield f"check     {paragraph.number} {name}"
    yield f"healthy   {paragraph.title}"
    yield f"why       {paragraph.why}"
    for fault, remedy in paragraph.remedies.items():
        yield f"fix       {f'{fault}: ' if fault else ''}{remedy}"
    shown = [symptom.id for symptom in symptoms.known() if name in symptom.checks]
    if shown:
        yield f"symptoms  {', '.join(shown)}"


def _symptom(symptom: Symptom) -> Iterator[str]:
    yield f"symptom   {symptom.id} ({symptom.kind}, {symptoms.areas()[symptom.area]})"
    yield from (f"line      {sample.line}" for sample in symptom.samples)
    for number, candidate in enumerate(symptom.candidates, start=1):
        yield f"{number:<10}{grammar.of_any_host(candidate.says)}"
        yield f"          fix       {grammar.of_any_host(candidate.remedy)}"
        if candidate.checks:
            yield f"          told by   {', '.join(candidate.checks)}"
        if candidate.look:
            yield f"          look at   {grammar.of_any_host(candidate.look)}"
    yield f"source    {symptom.url}"


def _cause(cause: Cause) -> Iterator[str]:
    yield f"cause     {cause.name} (guide {cause.section}; known from {cause.reference})"
    if cause.specialises:
        yield f"general   {', '.join(cause.specialises)}"
    shown = [
        symptom.id
        for symptom in symptoms.known()
        if any(cause.name in candidate.causes for candidate in symptom.candidates)
    ]
    if shown:
        yield f"symptoms  {', '.join(shown)}"


def _fault(value: str) -> Iterator[str]:
    for kind, comment in _faults()[value]:
        yield f"fault     {value} ({kind}){f': {comment}' if comment else ''}"
    for name, paragraph in checks().items():
        if value in paragraph.remedies:
            yield f"fix       {name}: {paragraph.remedies[value]}"


@cache
def _faults() -> Mapping[str, list[tuple[str, str]]]:
    """Every fault: the kinds that have it, and what the source says of each."""
    members: dict[str, list[tuple[str, str]]] = {}
    kind = ""
    for line in Path(faults.__file__).read_text(encoding="utf-8").splitlines():
        if begun := re.match(r"class (\w+)\(", line):
            kind = begun[1]
        elif member := _MEMBER.match(line):
            comment = (member["comment"] or "").removeprefix("noqa: S105 - a word, no secret: ")
            members.setdefault(member["value"], []).append((kind, comment))
    return members
