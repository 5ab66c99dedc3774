"""``python -m preflight symptom [FILE|-]``: what an error of a job's log can mean, from the text alone.

Neither an inventory nor a cluster is needed. The exit status is 0 where something was recognised, and 6 where
nothing was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preflight import symptoms
from preflight.language import labelled_line, translated
from preflight.symptoms import Candidate, Found, Reading

NAME = "symptom"
HELP = "what an error of a job's log can mean, from the text alone"
RECOGNISED, USAGE, NOTHING = 0, 4, 6
"""Exit statuses: something was recognised; the text can't be read; nothing was recognised."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="a job's or manager's log, or a part (-: standard input)"
    )
    parser.add_argument("--json", action="store_true", help="print the reading as JSON")


def run(chosen: argparse.Namespace) -> int:
    """Read the text, and print what it can mean; returns the exit status."""
    try:
        reading = symptoms.read(_parts(chosen.file))
    except (OSError, ValueError) as error:
        sys.stderr.write(translated(f"error: {error}") + "\n")
        return USAGE
    text = (
        json.dumps(as_json(reading), ensure_ascii=False, indent=1)
        if chosen.json
        else "\n".join(map(labelled_line, lines(reading)))
    )
    sys.stdout.write(f"{text}\n")
    return RECOGNISED if reading.symptoms else NOTHING


def _parts(file: str) -> Iterator[bytes]:
    if file == "-":
        yield from symptoms.pieces(sys.stdin.buffer)
        return
    with Path(file).open("rb") as stream:
        while part := stream.read(1 << 20):
            yield part


def as_json(reading: Reading) -> dict[str, Any]:
    """The reading as JSON: the stage that failed, and each symptom with what it can mean, that which leads first."""
    return {
        "stage": None if reading.stage is None else str(reading.stage),
        "succeeded": reading.succeeded,
        "symptoms": [
            {
                "id": found.symptom.id,
                "line": found.line,
                "number": found.place,
                "count": found.count,
                "kind": str(found.symptom.kind),
                "echo": found.echo,
                "source": found.symptom.url,
                "means": [
                    {
                        "text": candidate.says,
                        "remedy": candidate.remedy,
                        "settled_by": list(candidate.checks),
                        "causes": list(candidate.causes),
                        "look": candidate.look,
                    }
                    for candidate in found.candidates
                ],
            }
            for found in reading.symptoms
        ],
    }


def lines(reading: Reading) -> Iterator[str]:
    """The reading for a terminal."""
    if reading.stage is not None:
        yield f"stage     {reading.stage}"
    if not reading.symptoms:
        yield "nothing that is known stands in the text" + ("; the job succeeded" if reading.succeeded else "")
        return
    leading, *echoes = reading.symptoms
    yield from _told(leading)
    for found in echoes:
        yield f"echo      {found.symptom.id} (line {found.place}): {found.line}"
    yield f"source    {leading.symptom.url}"


def _told(found: Found) -> Iterator[str]:
    times = f", {found.count} times" if found.count > 1 else ""
    yield f"symptom   {found.symptom.id} (line {found.place}{times}): {found.line}"
    for number, candidate in enumerate(found.candidates, start=1):
        yield f"{number:<10}{candidate.says}"
        yield from _settled(candidate)


def _settled(candidate: Candidate) -> Iterator[str]:
    yield f"          fix       {candidate.remedy}"
    if candidate.checks:
        yield f"          told by   {', '.join(candidate.checks)}"
    if candidate.look:
        yield f"          look at   {candidate.look}"
