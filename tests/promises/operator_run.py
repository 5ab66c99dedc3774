"""A run of the suite as an operator starts it, against a lab, and everything that the run leaves for people to read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
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
        environment: variables beside this process's own, whose proxies are left out.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-m", "pytest", "checks/", "-p", "no:cacheprovider", "--inventory", str(inventory)]
    ended = subprocess.run(
        [*command, "--report-dir", str(folder), *arguments],
        cwd=PROJECT,
        env={**inherited, "COLUMNS": "200", "NO_COLOR": "1", **(environment or {})},
        capture_output=True,
        timeout=240,
        check=False,
    )
    written = {name: (folder / name).read_text("utf-8") for name in REPORTS if (folder / name).exists()}
    printed = (ended.stdout + ended.stderr).decode("utf-8")
    return Run(status=ended.returncode, printed=printed, reports=written)
