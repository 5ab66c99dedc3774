"""``preflight list``: every check of the guide, with its section, effect and what it takes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

from preflight import coverage, guide, shipped
from preflight.conclusions.rules import draw
from preflight.coverage import DeclaredCheck
from preflight.fact import Effect
from preflight.language import labelled_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--effect", choices=[str(effect) for effect in Effect], help="only checks up to this effect")
    parser.add_argument("-m", dest="marker", metavar="MARKER", help="only the section of this marker, such as dns")


def run(chosen: argparse.Namespace) -> int:
    """Print the checks; returns the exit status."""
    listed = [
        check
        for check in checks()
        if (chosen.effect is None or check.effect.rank <= Effect(chosen.effect).rank)
        and (chosen.marker is None or guide.marker(check.module) == chosen.marker)
    ]
    if chosen.json:
        text = json.dumps([_as_json(check) for check in listed], ensure_ascii=False, indent=1)
    else:
        text = "\n".join(map(labelled_line, _lines(listed)))
    sys.stdout.write(f"{text}\n")
    return 0


def checks() -> tuple[DeclaredCheck, ...]:
    """Every check, in the guide's order."""
    assert draw.__doc__, "the facts are declared by their import"  # noqa: S101
    return coverage.declared(shipped.CHECKS)


def _as_json(check: DeclaredCheck) -> dict[str, object]:
    return {
        "id": check.id,
        "number": check.paragraph.number,
        "section": check.paragraph.section,
        "marker": guide.marker(check.module),
        "title": check.paragraph.title,
        "why": check.paragraph.why,
        "effect": str(check.effect),
        "facts": list(check.facts),
        "targets": list(check.kinds),
        "advice": check.advice,
        "stages": list(check.stages),
    }


def _lines(listed: Sequence[DeclaredCheck]) -> Iterator[str]:
    module = ""
    for check in listed:
        if check.module != module:
            if module:
                yield ""
            module = check.module
            yield f"{guide.MODULES[module]}  (-m {guide.marker(module)})"
        each = f", for each {', '.join(check.kinds)}" if check.kinds else ""
        advice = ", advice" if check.advice else ""
        yield f"  {check.paragraph.number:<7} {check.paragraph.title}"
        yield f"          {check.id} ({check.effect}{each}{advice})"
