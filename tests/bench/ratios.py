"""The benchmark (``tox -e bench``): what measuring in parallel is worth, and what it costs to be collected.

Every answer of the lab takes 50 ms longer than it would. Ratios are printed, of figures within one run of this script:
the time of a run with one worker thread to that with the default number, and the time of the latter to that of its
slowest single fact. Then the seconds that collecting the checks takes beyond collecting nothing; more than a second is
a failure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests import processes

LATENCY = "0.05"
MOST_TO_COLLECT = 1.0  # seconds


def run(*arguments: str) -> tuple[float, dict[str, float]]:
    """Seconds of a whole run, and those of each fact."""
    with tempfile.TemporaryDirectory() as folder:
        took = _took("checks/", "--lab", "--lab-latency", LATENCY, "--report-dir", folder, *arguments)
        report = json.loads((Path(folder) / "preflight.json").read_text(encoding="utf-8"))
    facts = {f"{one['name']} {' '.join(one['targets'].values())}".strip(): one["took"] for one in report["facts"]}
    return took, facts


def collecting() -> tuple[float, float]:
    """Seconds that pytest takes to collect the checks, and an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        return _took("checks/", "--collect-only"), _took("--collect-only", cwd=Path(empty), status=5)


def _took(*arguments: str, cwd: Path = processes.PROJECT, status: int = 0) -> float:
    """Seconds of a run of pytest, its interpreter's start included."""
    began = time.perf_counter()
    words = ("-q", *processes.WITHOUT_PLUGINS, *arguments)
    ended = processes.run("pytest", *words, cwd=cwd, timeout=600, interpreter=True)
    if ended.returncode != status:
        sys.exit(f"the run came to {ended.returncode}:\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}")
    return time.perf_counter() - began


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; the fastest counts")
    rounds = parser.parse_args().rounds
    one = min(run("--workers", "1")[0] for _ in range(rounds))
    many, facts = min((run() for _ in range(rounds)), key=lambda pair: pair[0])
    slowest, longest = max(facts.items(), key=lambda fact: fact[1])
    checks, nothing = (min(seconds) for seconds in zip(*(collecting() for _ in range(rounds)), strict=True))
    _print(f"one worker thread {one:.1f} s, default {many:.1f} s: ratio {one / many:.1f}")
    _print(f"whole run {many:.1f} s, slowest fact ({slowest}) {longest:.1f} s: ratio {many / longest:.1f}")
    _print(f"all facts one after the other {sum(facts.values()):.1f} s: ratio {sum(facts.values()) / many:.1f}")
    _print(
        f"collecting the checks {checks:.2f} s, an empty folder {nothing:.2f} s: "
        f"{checks - nothing:.2f} s more, of at most {MOST_TO_COLLECT:.1f} s"
    )
    return 1 if checks - nothing > MOST_TO_COLLECT else 0


def _print(line: str) -> None:
    print(line)  # noqa: T201 - its purpose


if __name__ == "__main__":
    sys.exit(main())
