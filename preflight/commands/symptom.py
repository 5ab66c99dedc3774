"""``python -m preflight symptom [FILE|-]``: what an error of a job's log can mean, from the text alone.

Neither an inventory nor a cluster is needed. The exit status is 0 where something was recognised, and 6 where
nothing was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from preflight import symptoms
from preflight.evidence import clean
from preflight.language import labelled_line, translated
from preflight.symptoms import Candidate, Found, Reading, Sample, Symptom

RECOGNISED, USAGE, NOTHING = 0, 4, 6
"""Exit statuses: something was recognised; the text can't be read; nothing was recognised."""

_END = 20_000  # bytes of a text that are compared with what is known, where nothing in it is
_LINE = 160  # characters of a real line that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="a job's or manager's log, or a part (-: standard input)"
    )
    parser.add_argument("--json", action="store_true", help="print the reading as JSON")


def run(chosen: argparse.Namespace) -> int:
    """Read the text, and print what it can mean; returns the exit status."""
    end = bytearray()
    try:
        reading = symptoms.read(_remembering(_parts(chosen.file), end))
    except (OSError, ValueError) as error:
        sys.stderr.write(translated(f"error: {error}") + "\n")
        return USAGE
    alike = () if reading.symptoms or reading.succeeded else symptoms.nearest(end.decode("utf-8", "replace"))
    if chosen.json:
        text = json.dumps(as_json(reading, alike), ensure_ascii=False, indent=1)
    else:
        text = "\n".join(map(labelled_line, lines(reading, alike)))
    sys.stdout.write(f"{text}\n")
    return RECOGNISED if reading.symptoms else NOTHING


def _parts(file: str) -> Iterator[bytes]:
    if file == "-":
        yield from symptoms.pieces(sys.stdin.buffer)
        return
    with Path(file).open("rb") as stream:
        while part := stream.read(1 << 20):
            yield part


def _remembering(parts: Iterable[bytes], end: bytearray) -> Iterator[bytes]:
    """The same parts, while the end of the text is kept: what it resembles is looked for there."""
    for part in parts:
        end += part[-_END:]
        del end[:-_END]
        yield part


def as_json(reading: Reading, alike: Sequence[tuple[Symptom, Sample]] = ()) -> dict[str, Any]:
    """The reading as JSON: the stage that failed, and each symptom with what it can mean, that which leads first.

    Args:
        reading: what the text says.
        alike: where it says nothing that is known, what it resembles, each with a real line.
    """
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
        "nearest": [{"id": symptom.id, "line": sample.line, "source": symptom.url} for symptom, sample in alike],
    }


def lines(reading: Reading, alike: Sequence[tuple[Symptom, Sample]] = ()) -> Iterator[str]:
    """The reading for a terminal; where it says nothing that is known, what the text resembles."""
    if reading.stage is not None:
        yield f"stage     {reading.stage}"
    if not reading.symptoms:
        yield "nothing that is known stands in the text" + ("; the job succeeded" if reading.succeeded else "")
        yield from (f"nearest   {symptom.id}: {clean(sample.line, longest=_LINE)}" for symptom, sample in alike)
        if alike:
            yield "          `preflight explain ID` says what each of them can mean"
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
