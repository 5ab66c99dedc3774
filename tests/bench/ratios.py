"""The benchmark: what measuring in parallel is worth, as ratios within one run of this script (``tox -e bench``).

Every answer of the lab takes 50 ms longer than it would. Two ratios are printed: the time of a run with one worker
thread to that with the default number, and the time of the latter to that of its slowest single fact.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LATENCY = "0.05"


def run(*arguments: str) -> tuple[float, dict[str, float]]:
    """Seconds of a whole run, and those of each fact."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "checks/", "-q", "-p", "no:cacheprovider", "--lab"),
                *("--lab-latency", LATENCY, "--report-dir", folder, *arguments),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        took = time.perf_counter() - began
        if ended.returncode != 0:
            sys.exit(f"the run came to {ended.returncode}:\n{ended.stdout[-3000:]}")
        report = json.loads((Path(folder) / "preflight.json").read_text(encoding="utf-8"))
    facts = {f"{one['name']} {' '.join(one['targets'].values())}".strip(): one["took"] for one in report["facts"]}
    return took, facts


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; the fastest counts")
    rounds = parser.parse_args().rounds
    one = min(run("--workers", "1")[0] for _ in range(rounds))
    many, facts = min((run() for _ in range(rounds)), key=lambda pair: pair[0])
    slowest = max(facts, key=lambda name: facts[name])
    print(f"one worker thread {one:.1f} s, default {many:.1f} s: ratio {one / many:.1f}")  # noqa: T201 - its purpose
    print(f"whole run {many:.1f} s, slowest fact ({slowest}) {facts[slowest]:.1f} s: ratio {many / facts[slowest]:.1f}")  # noqa: T201
    print(f"all facts one after the other {sum(facts.values()):.1f} s: ratio {sum(facts.values()) / many:.1f}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
