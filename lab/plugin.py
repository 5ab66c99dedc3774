"""The lab's pytest plugin: `--lab` starts the lab, and its inventory becomes the run's inventory.

The suite itself is unaware of it: this plugin only sets `--inventory` before the suite's own plugin reads it.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.lab import Lab

LAB: pytest.StashKey[Lab] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the lab's options."""
    group = parser.getgroup("lab", "lab: the guide's environment in miniature, on this machine")
    group.addoption("--lab", action="store_true", help="run against the lab instead of a real environment")
    group.addoption(
        "--lab-fault",
        action="append",
        default=[],
        metavar="NAME",
        help="break the lab in this way (repeatable); `python -m lab faults` lists all",
    )
    group.addoption(
        "--lab-latency", type=float, default=0.0, metavar="SECONDS", help="time added to every answer of the lab"
    )
    group.addoption(
        "--lab-nodes",
        type=int,
        metavar="NUMBER",
        help="workers of the lab, of which those beyond three are alike and have ten pods each; at most 1000",
    )
    group.addoption(
        "--lab-patience",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="make the lab's deadlines longer, for a busy machine",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the lab and point `--inventory` to it."""
    names: list[str] = config.getoption("lab_fault")
    latency: float = config.getoption("lab_latency")
    if not config.getoption("lab"):
        if names or latency or config.getoption("lab_nodes"):
            message = "--lab-fault, --lab-latency and --lab-nodes break, slow or enlarge the lab: add --lab"
            raise pytest.UsageError(message)
        return
    if config.getoption("inventory", default=None):
        message = (
            "--lab and --inventory are mutually exclusive: give --lab alone to try the suite out, "
            "or --inventory FILE alone to check the environment that FILE describes"
        )
        raise pytest.UsageError(message)
    if not math.isfinite(config.getoption("lab_patience")) or config.getoption("lab_patience") <= 0:
        message = f"--lab-patience {config.getoption('lab_patience'):g}: expected a factor above 0"
        raise pytest.UsageError(message)
    if not math.isfinite(latency) or latency < 0:
        message = f"--lab-latency {latency:g}: expected seconds, 0 or more"
        raise pytest.UsageError(message)
    try:
        config.option.inventory = str(_inventory(config, names, latency))
    except (FileNotFoundError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None


def _inventory(config: pytest.Config, names: list[str], latency: float) -> Path:
    """The inventory of a lab that runs until the session ends; with ``--collect-only``, without any servers."""
    from lab import faults, inventory  # noqa: PLC0415 - only with --lab

    faults.check(names)
    base = inventory.find(config.rootpath)
    if config.getoption("collectonly", default=False):
        folder = tempfile.TemporaryDirectory(prefix="preflight-")
        config.add_cleanup(folder.cleanup)
        return inventory.draft(Path(folder.name), base=base, names=names, workers=config.getoption("lab_nodes"))
    from lab.lab import Lab  # noqa: PLC0415 - imports the servers' libraries

    lab = Lab(
        names, latency, base=base, patience=config.getoption("lab_patience"), workers=config.getoption("lab_nodes")
    )
    config.add_cleanup(lab.stop)
    lab.start()
    config.stash[LAB] = lab
    return lab.inventory
