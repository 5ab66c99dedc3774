"""The seven verdicts, and the exit status that follows from them.

A verdict is set once, on a test's report, and everything that is written later reads it from there.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from preflight.diagnosis import Diagnosis
from preflight.evidence import Key

GO, NO_GO, INCONCLUSIVE = 0, 1, 6
"""Exit statuses of a run whose checks were judged; pytest's own are never overridden."""


_INTERRUPTED = 2  # pytest's own
_HEADS = {GO: "GO", NO_GO: "NO GO", INCONCLUSIVE: "INCONCLUSIVE", _INTERRUPTED: "INTERRUPTED"}


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


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """0 is go; 1 is a failure; 6 is no failure, but something could not be judged and no other check reports why."""
    judged = list(outcomes)
    if any(outcome.verdict is Verdict.FAIL for outcome in judged):
        return NO_GO
    if any(
        outcome.verdict is Verdict.UNKNOWN or (outcome.verdict is Verdict.BLOCKED and not _excused(outcome, judged))
        for outcome in judged
    ):
        return INCONCLUSIVE
    return GO


def _excused(blocked: Outcome, judged: list[Outcome]) -> bool:
    """Whether what blocks a check is an accepted finding (advice, waived) of a check that was selected."""
    blockers = [outcome for outcome in judged if outcome.name in blocked.blocked_by]
    return bool(blockers) and all(blocker.verdict in {Verdict.ADVICE, Verdict.WAIVED} for blocker in blockers)


def sentence(outcomes: Iterable[Outcome], *, status: int, effect: str, causes: int = 0) -> str:
    """The verdict in one line: ``NO GO: 1 root cause, 2 failed, 1 blocked, 81 passed (effects up to probe)``."""
    count = Counter(outcome.verdict for outcome in outcomes)
    words = [
        (Verdict.FAIL, "failed"),
        (Verdict.UNKNOWN, "unknown"),
        (Verdict.BLOCKED, "blocked"),
        (Verdict.ADVICE, "advice"),
        (Verdict.WAIVED, "waived"),
        (Verdict.NOT_APPLICABLE, "not applicable"),
        (Verdict.PASS, "passed"),
    ]
    parts = [f"{causes} root cause{'s' if causes > 1 else ''}"] if causes else []
    parts += [f"{count[verdict]} {word}" for verdict, word in words if count[verdict]]
    counts = ", ".join(parts) or "nothing was judged"
    head = _HEADS.get(status, "NO VERDICT")
    return f"{head}: {counts} (effects up to {effect})"
