"""The benchmark (``tox -e bench``): how long a run takes beside what it can't be faster than, and what it costs.

The lab runs in this process, every answer of it 50 ms late, and the suite in one of its own, so that seconds of CPU
and memory are the suite's alone. With ``$KUBECONFIG`` and ``$PREFLIGHT_INVENTORY`` it is measured against that cluster
instead. Figures are of one run of this script; the file that they are written to is what the next run is compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab import shell
from lab.clocked import ClockedRuns
from lab.lab import Lab
from lab.tools.call import Run
from lab.world import MIRROR, Request, World
from tests import processes
from tests.bench import guide_commands, requests_seen
from tests.bench.lifetimes import WATCH, Lifetimes

LATENCY = 0.05
MOST_TO_COLLECT = 1.0  # seconds beyond those of collecting nothing
MOST_OF_CHAIN = 1.3
MOST_CPU = 3.0  # seconds of a healthy run
NODES, MOST_OF_LARGE, MOST_MEMORY = 1000, 20.0, 300.0  # workers, seconds and MB of `--effect read` there
MOST_OF_COMMANDS = 0.5  # of the time of the guide's commands, one after the other
FEW, MANY, PODS_AT_ONCE, POD = 20, 60, 5, 2.0  # workers that get a pod each, so many at once, and seconds of one
MOST_OF_ROUNDS = 1.5  # times what pods of so many seconds, so many at once, take
STARTS = ("checks/test_02_4_paths.py", "-k", "test_a_job_pod_starts_on_each_worker", "--all-nodes")
FAULTS = ("dns-one-silent", "path-one-node-blocked", "dind-exits")
WORSE = 1.25  # times the figure of the run before, from which it is marked
_LAUNCHER = processes.PROJECT / "tests" / "bench" / "measured.py"
_NAMED = (
    *("pods", "jobs", "secrets", "configmaps", "services", "serviceaccounts", "endpoints", "deployments"),
    *("roles", "rolebindings", "nodes"),
)
"""Resources of which objects are asked for by name."""
_CHAINS = (("job_pod", "dind_pod"), ("dind_head_start",))  # a worker's: what comes one after the other


@dataclass(frozen=True)
class Measured:
    """A run of the suite.

    Attributes:
        seconds: of all of it; `cpu`: seconds of CPU; `memory`: MB.
        requests: by kind.
        facts: each measurement, with its seconds.
        longest_pod: seconds for which the slowest pod was there, from its creation to its removal.
    """

    seconds: float
    cpu: float
    memory: float
    requests: Mapping[str, int] = field(default_factory=dict)
    facts: tuple[Mapping[str, Any], ...] = ()
    longest_pod: float = 0.0

    @property
    def chain(self) -> float:
        """Seconds of the slowest chain of pods on one worker: one after the other, or one until it is removed."""
        chains = Counter[tuple[str, tuple[str, ...]]]()
        for fact in self.facts:
            for chain in _CHAINS:
                if fact["name"] in chain:
                    chains[fact["targets"].get("worker", ""), chain] += fact["took"]
        return max(*chains.values(), self.longest_pod, 0.0)


def started(
    *arguments: str,
    cwd: Path = processes.PROJECT,
    statuses: Iterable[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> Measured:
    """Run pytest in an interpreter of its own, its start included."""
    words = [sys.executable, "-m", "pytest", "-q", *processes.WITHOUT_PLUGINS, *arguments]
    env = processes.environment(**(environment or {}))
    with tempfile.NamedTemporaryFile() as figures, tempfile.TemporaryFile() as output:
        launcher = [sys.executable, str(_LAUNCHER), figures.name]
        subprocess.run([*launcher, *words], cwd=cwd, env=env, stdout=output, stderr=output, check=True)
        took = json.loads(figures.read())
        if took["status"] not in statuses:
            output.seek(0)
            sys.exit(f"the run came to {took['status']}:\n{output.read()[-5000:].decode()}")
    return Measured(took["seconds"], took["cpu"], took["memory"])


def run(
    *arguments: str,
    checks: Iterable[str] = ("checks/",),
    fault: str = "",
    workers: int | None = None,
    pods: Run = shell.run,
    latency: float = LATENCY,
) -> Measured:
    """A run, of all checks or some, against the lab or the cluster of ``$PREFLIGHT_INVENTORY``."""
    with tempfile.TemporaryDirectory() as folder:
        words = (*checks, "--report-dir", folder, *arguments)
        if inventory := own_inventory():
            file = Path(folder) / "requests.json"
            plugins = ("-p", "lab.suite", "-p", requests_seen.__name__)
            given = {requests_seen.FILE: str(file)}
            with Lifetimes(Path(inventory)) as pods_of_run:
                measured = started(*plugins, *words, "--inventory", inventory, statuses=(0, 1, 6), environment=given)
            requests = by_kind(Request(*request) for request in json.loads(file.read_text(encoding="utf-8")))
        else:
            with Lab([fault] if fault else [], latency, workers=workers, pods=pods, change=_as_jobs_leave_it) as lab:
                with Lifetimes(lab.inventory) as pods_of_run:
                    measured = started(*words, "--inventory", str(lab.inventory), statuses=(0, 1) if fault else (0,))
                requests = by_kind(each for each in lab.requests if f"timeoutSeconds={WATCH:.0f}" not in each.path)
        report = json.loads((Path(folder) / "preflight.json").read_text(encoding="utf-8"))
    facts = tuple(report["facts"])
    return replace(measured, requests=requests, facts=facts, longest_pod=pods_of_run.longest)


def _as_jobs_leave_it(world: World) -> None:
    """Let workers hold the jobs' image, as they do wherever jobs have run."""
    world.hold_images(f"{MIRROR}/library/alpine:latest")


def own_inventory() -> str:
    """The inventory of a real cluster, if both it and a kubeconfig are given; else ""."""
    return os.environ.get("PREFLIGHT_INVENTORY", "") if os.environ.get("KUBECONFIG") else ""


def by_kind(requests: Iterable[Request]) -> dict[str, int]:
    """How many requests there are of each kind, the most frequent first."""
    return dict(Counter(map(kind_of, requests)).most_common())


def kind_of(request: Request) -> str:
    """What a request is of, without names: ``GET /api/v1/pods``, ``dns``, ``registry``."""
    if request.server != "kubernetes":
        return request.server.split()[0]
    path = re.sub(r"/namespaces/[^/]+", "/namespaces/…", request.path.partition("?")[0])
    path = re.sub(rf"(/(?:{'|'.join(_NAMED)})/)[^/]+", r"\1…", path)
    return f"{request.method} {path}"


def collecting() -> tuple[float, float]:
    """Seconds that pytest takes to collect the checks, and an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        nothing = started("--collect-only", cwd=Path(empty), statuses=(5,))
    return started("checks/", "--collect-only").seconds, nothing.seconds


def best(rounds: int, measure: Callable[[], Measured]) -> Measured:
    """The fastest of some runs."""
    return min((measure() for _ in range(rounds)), key=lambda measured: measured.seconds)


def rounds_of_pods() -> float:
    """How long the pods of further workers take, to the time of their rounds: 1 if nothing else took time."""
    few, many = (run(checks=STARTS, workers=workers, pods=ClockedRuns(POD), latency=0.0) for workers in (FEW, MANY))
    return (many.seconds - few.seconds) / ((MANY - FEW) / PODS_AT_ONCE * POD)


def by_hand() -> guide_commands.ByHand:
    """The guide's commands one after the other, against the same environment."""
    inventory = own_inventory()
    return guide_commands.run(Path(inventory)) if inventory else guide_commands.on_the_lab(LATENCY)


def figures(rounds: int) -> dict[str, Any]:
    """Everything that is measured, by name."""
    healthy = best(rounds, run)
    commands = by_hand()
    checks, nothing = (min(seconds) for seconds in zip(*(collecting() for _ in range(rounds)), strict=True))
    measured: dict[str, Any] = {
        "run, seconds": healthy.seconds,
        "slowest chain of pods, seconds": healthy.chain,
        "run : slowest chain of pods": healthy.seconds / healthy.chain if healthy.chain else None,
        "run : its measurements one after the other": healthy.seconds / sum(fact["took"] for fact in healthy.facts),
        "the guide's commands one after the other, seconds": commands.seconds,
        "the guide's commands that failed": len(commands.failed),
        "run : the guide's commands": healthy.seconds / commands.seconds,
        "one thread : default": best(1, lambda: run("--workers", "1")).seconds / healthy.seconds,
        "collecting the checks : nothing": checks / nothing,
        "collecting the checks beyond nothing, seconds": checks - nothing,
        "CPU, seconds": healthy.cpu,
        "memory, MB": healthy.memory,
        "requests": sum(healthy.requests.values()) if healthy.requests else None,
    }
    if commands.failed:
        measured["commands that failed"] = commands.failed
    if not own_inventory():
        for fault in FAULTS:
            measured[f"{fault} : healthy"] = run(fault=fault).seconds / healthy.seconds
        large = run("--effect", "read", workers=NODES, latency=0.0)
        few = run("--effect", "read", latency=0.0)
        measured |= {
            f"pods of {MANY - FEW} further workers : their rounds": rounds_of_pods(),
            f"{NODES} nodes, seconds": large.seconds,
            f"{NODES} nodes : three, CPU": large.cpu / few.cpu,
            f"{NODES} nodes, memory, MB": large.memory,
            f"{NODES} nodes, requests": sum(large.requests.values()),
            f"{NODES} nodes, requests by kind": large.requests,
        }
    return measured | {"requests by kind": healthy.requests}


LIMITS = {
    "run : slowest chain of pods": MOST_OF_CHAIN,
    "run : the guide's commands": MOST_OF_COMMANDS,
    "the guide's commands that failed": 0,
    f"pods of {MANY - FEW} further workers : their rounds": MOST_OF_ROUNDS,
    "collecting the checks beyond nothing, seconds": MOST_TO_COLLECT,
    "CPU, seconds": MOST_CPU,
    f"{NODES} nodes, seconds": MOST_OF_LARGE,
    f"{NODES} nodes, memory, MB": MOST_MEMORY,
}


def lines(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """A line for each figure, with that of the run before and with its limit."""
    told = []
    for name, value in now.items():
        if not isinstance(value, int | float):
            continue
        earlier = before.get(name)
        compared = f", was {earlier:.2f}" if isinstance(earlier, int | float) else ""
        worse = "  WORSE" if isinstance(earlier, int | float) and value > WORSE * earlier else ""
        limit = f", at most {LIMITS[name]:g}" if name in LIMITS else ""
        told.append(f"{name:48} {value:8.2f}{compared}{limit}{worse}{'  TOO MUCH' if exceeds(name, value) else ''}")
    return told


def exceeds(name: str, value: Any) -> bool:
    """Whether a figure is beyond its limit."""
    return isinstance(value, int | float) and value > LIMITS.get(name, float("inf"))


def main() -> int:
    """Measure, print and write; returns the exit status: 1 where collecting takes too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of a kind; the fastest counts")
    parser.add_argument(
        "--file",
        type=Path,
        default=processes.PROJECT / "reports" / ("bench-cluster.json" if own_inventory() else "bench.json"),
        help="compared with, and written",
    )
    chosen = parser.parse_args()
    before = json.loads(chosen.file.read_text(encoding="utf-8")) if chosen.file.is_file() else {}
    now = figures(chosen.rounds)
    for line in lines(now, before):
        print(line)  # noqa: T201 - its purpose
    chosen.file.parent.mkdir(exist_ok=True)
    chosen.file.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(
        exceeds("collecting the checks beyond nothing, seconds", now["collecting the checks beyond nothing, seconds"])
    )


if __name__ == "__main__":
    sys.exit(main())
