"""A real job's fate beside the suite's verdict: what contradicts what, and the table of both."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

USUAL, SLACK = 1.5, 10.0
"""A job is as quick as usual up to so many times its healthy seconds, and these seconds more."""
_STATES = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class Fate:
    """How a real job ended.

    Attributes:
        succeeded: whether it did.
        seconds: from its creation to its end, or to where nobody waited any longer.
    """

    succeeded: bool
    seconds: float

    def __str__(self) -> str:
        return f"{'success' if self.succeeded else 'failed'}, {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, or a healthy environment: what the suite said, and what became of a job.

    Attributes:
        name: the fault's.
        verdict: ``GO``, ``DEGRADED``, ``NO GO`` or ``INCONCLUSIVE``.
        causes: root causes in their order, each with its impact.
        seconds: of the run.
        fate: the job's.
    """

    name: str
    verdict: str
    causes: tuple[tuple[str, str], ...]
    seconds: float
    fate: Fate

    @classmethod
    def of(cls, name: str, report: Mapping[str, Any], seconds: float, fate: Fate) -> Row:
        """The row of a JSON report."""
        causes = tuple(
            (cause["name"], _spoken(**cause["impact"])) for cause in report["conclusions"] if cause["root_cause"]
        )
        return cls(name, report["decision"]["answer"], causes, seconds, fate)

    def contradictions(self, usual: Fate) -> list[str]:
        """Where verdict and fate contradict each other.

        Args:
            usual: the fate of a job in the healthy environment.
        """
        stopped = [name for name, impact in self.causes if impact.startswith("stops")]
        everything = [name for name, impact in self.causes if impact == "stops all jobs"]
        quick = self.fate.succeeded and self.fate.seconds <= USUAL * usual.seconds + SLACK
        found = []
        if quick and everything:
            found.append(f"{self.name}: a job succeeded in its usual time, and {everything[0]} stops all jobs")
        if not self.fate.succeeded and not stopped:
            found.append(f"{self.name}: a job failed, and nothing stops jobs ({self.verdict})")
        if self.fate.succeeded and self.verdict == "NO GO" and not stopped:
            found.append(f"{self.name}: NO GO, and no root cause stops jobs")
        return found


def _spoken(*, harm: str, jobs: str, **_: object) -> str:
    return f"{harm} {jobs}" if harm in {"stops", "slows"} else f"{harm}: {jobs}"


def faults_in(file: Path) -> dict[str, dict[str, Any]]:
    """The faults of a file: by name, the commands that `break` and `mend`.

    Raises:
        ValueError: a fault lacks one of these, or has another key.
    """
    read = yaml.safe_load(file.read_text()) or {}
    if not isinstance(read, dict):
        raise ValueError(f"{file}: expected names of faults, found {type(read).__name__}")  # noqa: TRY004
    for name, fault in read.items():
        found = set(fault) if isinstance(fault, dict) else set()
        if not {"break", "mend"} <= found <= {"break", "mend", "wait", "cause"}:
            words = ", ".join(sorted(map(str, found))) or "nothing"
            raise ValueError(f"{file}: {name}: expected break and mend, and wait or cause besides, found {words}")
    return read


def table(rows: Iterable[Row]) -> str:
    """The rows as text, a line each."""
    cells = [
        (row.name, row.verdict, f"{row.seconds:.0f} s", str(row.fate), "; ".join(f"{a} ({b})" for a, b in row.causes))
        for row in rows
    ]
    cells = [("fault", "verdict", "run", "job", "root causes"), *cells]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = ["  ".join([*(cell.ljust(widths[at]) for at, cell in enumerate(row[:4])), row[4]]) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


# ---- jobs of a stand-in GitLab ---------------------------------------------------------------------------------------

JOB = {"script": ["echo it runs"]}


def is_stand_in(url: str) -> bool:
    """Whether a stand-in for GitLab answers there, which gives jobs out itself."""
    try:
        return isinstance(_call(url, "/_jobs"), dict)
    except (OSError, ValueError):
        return False


def run_job(url: str, job: Mapping[str, Any], *, patience: float) -> Fate:
    """Have the stand-in give out a job, and wait for its end; a GitLab that does not answer runs none."""
    began = monotonic()
    try:
        number = str(_call(url, "/_enqueue", job)["id"])
        while monotonic() - began < patience:
            state = _call(url, "/_jobs")[number]["state"]
            if state in _STATES:
                return Fate(state == "success", monotonic() - began)
            sleep(1)
    except (OSError, ValueError, KeyError):
        pass
    return Fate(succeeded=False, seconds=monotonic() - began)


def _call(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.rstrip("/") + path, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
