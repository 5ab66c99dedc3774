"""``preflight run`` and ``preflight demo``: the guide's checks from any folder, against an inventory or the lab.

Both become pytest, with its options, signals and exit status. Files and folders that are named are checks of your own
and run besides the guide's; a check of the guide that is named runs alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from preflight import shipped

SETTINGS = (
    *("-p", "preflight.temporary_folder", "-p", "lab.suite"),
    *("--import-mode=importlib", "--strict-markers", "-rfE", "-o", "xfail_strict=true"),
)
"""What the project's own pyproject.toml sets for pytest, which another folder lacks."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command whose arguments are all pytest's."""

    NAME: str
    HELP: str
    before: tuple[str, ...] = ()
    __doc__ = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """For the list of commands alone: pytest reads them."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="options of pytest")

    def run(self, options: argparse.Namespace) -> int:
        """Become pytest."""
        self.start(options.arguments)

    def start(self, arguments: Sequence[str]) -> NoReturn:
        """Replace this process by pytest's, so that signals and the exit status are its own."""
        sys.stdout.flush()
        command = [sys.executable, "-m", "pytest", *pytest_arguments([*self.before, *arguments])]
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


RUN = Command("run", "run the guide's checks against an inventory: `preflight run --inventory prod.yaml`")
DEMO = Command("demo", "run them against the guide's environment in miniature, on this machine", ("--lab",))


def pytest_arguments(arguments: Sequence[str], *, folder: Path | None = None) -> list[str]:
    """Pytest's arguments: the guide's checks, and what was given.

    Args:
        arguments: what was given.
        folder: what names of tests are relative to, and where ``reports`` is made; by default the current one.
    """
    settings = [*SETTINGS, f"--rootdir={folder or Path.cwd()}"]
    if "-c" not in arguments:
        settings += ["-c", os.devnull]  # the folder's own configuration is for other tests
    if not _names_checks_of_the_guide(arguments):
        settings.append(str(shipped.CHECKS))
    return [*settings, *arguments]


def _names_checks_of_the_guide(arguments: Sequence[str]) -> bool:
    paths = (Path(argument.partition("::")[0]) for argument in arguments if not argument.startswith("-"))
    return any(path.resolve().is_relative_to(shipped.CHECKS) for path in paths)
