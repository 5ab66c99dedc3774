"""How long a run takes in a broken environment (``tox -e bench``): the slowest ten faults of the lab.

Each fault has a whole run of its own, one after the other. What counts is the time beyond a healthy run: a faulty
environment is diagnosed as fast as a healthy one, and more than a minute beyond it is a failure.
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping

import yaml

from lab import faults
from tests import processes

MOST_BEYOND = 60.0  # seconds
SLOWEST = 10
HEALTHY_RUNS = 3
_EXPECTED = processes.PROJECT / "tests" / "lab_faults.yaml"


def seconds(*arguments: str) -> float:
    """Seconds of one whole run against the lab."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        processes.run_checks("--lab", "--report-dir", folder, *arguments, timeout=600)
        return time.perf_counter() - began


def measure(pattern: str) -> tuple[float, Mapping[str, float]]:
    """Seconds of a healthy run, and of one with each fault whose name matches."""
    options = {name: row.get("options", []) for name, row in yaml.safe_load(_EXPECTED.read_text()).items()}
    healthy = statistics.median(seconds() for _ in range(HEALTHY_RUNS))
    names = [name for name in faults.known() if fnmatch.fnmatch(name, pattern)]
    return healthy, {name: seconds("--lab-fault", name, *options.get(name, ())) for name in names}


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", default="*", help="only faults whose names match this pattern")
    healthy, took = measure(parser.parse_args().faults)
    slowest = sorted(took.items(), key=lambda row: -row[1])[:SLOWEST]
    _print(f"healthy run {healthy:.1f} s; the slowest {len(slowest)} of {len(took)} faults, beyond that:")
    for name, spent in slowest:
        _print(f"{spent - healthy:+7.1f} s  {name}")
    beyond = [name for name, spent in took.items() if spent - healthy > MOST_BEYOND]
    _print(f"{len(beyond)} of at most 0 take more than {MOST_BEYOND:.0f} s beyond it")
    return 1 if beyond else 0


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its purpose


if __name__ == "__main__":
    sys.exit(main())
