"""A run of the suite as an operator starts it, against a lab, and everything that the run leaves for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import processes

REPORTS = ("preflight.html", "preflight.xml", "preflight.json")
PATIENCE = 3.0
"""Many labs run side by side in the tests, on few cores."""


@dataclass(frozen=True)
class Run:
    """What a run printed and wrote.

    Attributes:
        status: its exit status.
        printed: standard output, then standard error.
        reports: each report's text by its name.
    """

    status: int
    printed: str
    reports: Mapping[str, str]


def run(inventory: Path, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run the checks with this inventory; the reports go into the folder.

    Args:
        inventory: the inventory's file.
        folder: where the reports go.
        arguments: further ones of the command line.
        environment: variables beside `processes.environment`.
    """
    ended = processes.run_checks(
        "--inventory",
        inventory,
        "--report-dir",
        folder,
        *arguments,
        env=processes.environment(**(environment or {})),
        timeout=240,
    )
    written = {name: (folder / name).read_text("utf-8") for name in REPORTS if (folder / name).exists()}
    return Run(status=ended.returncode, printed=ended.stdout + ended.stderr, reports=written)
