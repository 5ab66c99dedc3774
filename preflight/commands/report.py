"""``preflight report FILE``: render the page of a run again, from its preflight.json alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from preflight import atomicfile, pages
from preflight.language import translated
from preflight.saved import SavedError

RENDERED, USAGE = 0, 4
"""Exit statuses: the page is written; the file is no report, or the page can't be written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a preflight.json")
    parser.add_argument(
        "-o", "--output", metavar="PAGE", type=Path, help="where the page goes (default: beside FILE, as .html)"
    )


def run(options: argparse.Namespace) -> int:
    """Render the page; returns the exit status."""
    place: Path = options.output or options.file.with_suffix(".html")
    if place.resolve() == options.file.resolve():
        return _refuse(f"-o {place}: is the report itself")
    try:
        page = pages.page(pages.read(options.file))
    except SavedError as error:
        return _refuse(str(error))
    try:
        atomicfile.write(place, [page])
    except OSError as error:
        return _refuse(f"{place} can't be written: {error.strerror or error}")
    return RENDERED


def _refuse(why: str) -> int:
    sys.stderr.write(translated(f"error: {why}") + "\n")
    return USAGE
