"""The seven verdicts of a check, and the exit statuses of a run.

A verdict is set once, on a test's report, and everything that is written later reads it from there. What all of them
come to is decided in decision.py.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from preflight.diagnosis import Diagnosis
from preflight.evidence import Key

GO, NOT_GO, INTERRUPTED, INCONCLUSIVE = 0, 1, 2, 6
"""Exit statuses of a run whose checks were judged; 3, 4 and 5 are pytest's own."""

NO_VERDICT = "none"
"""Stands for the verdict in the table below where there is none."""

EXIT_STATUSES: tuple[tuple[int, str, str], ...] = (
    (
        GO,
        "GO or PARTIAL",
        "a job would run, or nothing in the part is wrong; with `--allow-degraded` DEGRADED too",
    ),
    (NOT_GO, "NO GO or DEGRADED", "jobs are stopped, or run worse: in a whole run or in a part of one"),
    (INTERRUPTED, "PARTIAL (interrupted)", "by Ctrl-C, SIGTERM or SIGHUP: reports are written, and nothing is left"),
    (3, NO_VERDICT, "an internal error of pytest or of a plugin; no report is written"),
    (4, NO_VERDICT, "a bad inventory, option or check; nothing was contacted, and no report is written"),
    (5, NO_VERDICT, "no check was selected; no report is written"),
    (INCONCLUSIVE, "INCONCLUSIVE", "nothing that was judged stops jobs, but something could not be judged"),
)
"""Every exit status of a run: number, verdict, meaning."""


class Verdict(enum.StrEnum):
    """What became of a check."""

    PASS = "pass"  # noqa: S105 - a word, no secret
    FAIL = "fail"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    ADVICE = "advice"
    WAIVED = "waived"
    NOT_APPLICABLE = "not applicable"


_MILDEST_FIRST = (
    *(Verdict.PASS, Verdict.NOT_APPLICABLE, Verdict.WAIVED, Verdict.ADVICE, Verdict.BLOCKED, Verdict.UNKNOWN),
    Verdict.FAIL,
)


def severity(verdict: Verdict) -> int:
    """How much a verdict stands against a GO; the higher, the more."""
    return _MILDEST_FIRST.index(verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check's verdict and the reasons for it.

    Attributes:
        check: the check's id, its function's name.
        number: the guide's section and ordinal.
        title: what is true when it passes.
        target: what stands in the test's brackets, or "".
        area: the title of the guide's module that it stands in, such as ``2.4 Name resolution``.
        why: why the guide wants it.
        targets: what it is judged for, by kind, such as ``{"worker": "k8s-worker-1"}``.
        verdict: the verdict.
        reason: for everything but a pass or a failure: why.
        diagnosis: for a failure, advice or an unknown: cause, where, evidence, remedy.
        blocked_by: ids of the checks that report what blocks this one.
        witness: the vantage from which the fault that blocks it was also seen, if it was measured from there.
        took: seconds of the slowest measurement behind it.
        facts: the names of the facts that it takes.
        keys: the measurements among them that are faulty or missing.
        blocker: the measurement that blocks it.
    """

    check: str
    number: str
    title: str
    target: str
    verdict: Verdict
    area: str = ""
    why: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    diagnosis: Diagnosis | None = None
    blocked_by: tuple[str, ...] = ()
    witness: str = ""
    took: float = 0.0
    facts: tuple[str, ...] = field(default=())
    keys: tuple[Key, ...] = ()
    blocker: Key | None = None

    @property
    def name(self) -> str:
        """The id with its target, as pytest writes it."""
        return f"{self.check}[{self.target}]" if self.target else self.check
