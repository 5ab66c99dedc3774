"""The seven verdicts, and the exit status that follows from them (DESIGN §4).

A verdict is set once, on a test's report, and everything that is written later reads it from there.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from preflight.diagnosis import Diagnosis
from preflight.evidence import Key

GO, NO_GO, UNKNOWN = 0, 1, 6
"""Exit statuses of a run whose checks were judged; pytest's own are never overridden."""


class Verdict(enum.StrEnum):
    """What a check came to."""

    PASS = "pass"  # noqa: S105 - a word, no secret
    FAIL = "fail"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    ADVICE = "advice"
    WAIVED = "waived"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One check's verdict and what stands behind it.

    Attributes:
        check: the check's id, its function's name.
        number: the guide's section and ordinal.
        title: what is true when it passes.
        target: what stands in the test's brackets, or "".
        verdict: the verdict.
        reason: for everything but a pass or a failure: why.
        diagnosis: for a failure, advice or an unknown: cause, where, evidence, remedy.
        blocked_by: ids of the checks that report what blocks this one.
        witness: the vantage that met the same as what blocks it, if it was looked at.
        took: seconds of the slowest measurement behind it.
        facts: the names of the facts that it takes.
        keys: those of them, with their targets, that are not as they should be.
        blocker: the fact that stands in its way, and that one's targets.
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
    """Zero is go; 1 a failure; 6 none, but something could not be judged and nobody else reports it."""
    judged = list(outcomes)
    if any(one.verdict is Verdict.FAIL for one in judged):
        return NO_GO
    if any(
        one.verdict is Verdict.UNKNOWN or (one.verdict is Verdict.BLOCKED and not _excused(one, judged))
        for one in judged
    ):
        return UNKNOWN
    return GO


def _excused(blocked: Outcome, judged: list[Outcome]) -> bool:
    """Whether what blocks a check is an accepted finding (advice, waived) of a check that was selected."""
    blockers = [one for one in judged if one.name in blocked.blocked_by]
    return bool(blockers) and all(one.verdict in {Verdict.ADVICE, Verdict.WAIVED} for one in blockers)


def sentence(outcomes: Iterable[Outcome], *, status: int, effect: str, causes: int = 0) -> str:
    """The verdict in one line: ``NO GO: 1 root cause, 2 failed, 1 blocked, 81 passed (effects up to probe)``."""
    count = Counter(one.verdict for one in outcomes)
    words = [
        (Verdict.FAIL, "failed"),
        (Verdict.UNKNOWN, "unknown"),
        (Verdict.BLOCKED, "blocked"),
        (Verdict.ADVICE, "advice"),
        (Verdict.WAIVED, "waived"),
        (Verdict.NOT_APPLICABLE, "not applicable"),
        (Verdict.PASS, "passed"),
    ]
    told = [f"{causes} root cause{'s' if causes > 1 else ''}"] if causes else []
    told += [f"{count[verdict]} {word}" for verdict, word in words if count[verdict]]
    counts = ", ".join(told) or "nothing was judged"
    head = {GO: "GO", NO_GO: "NO GO", UNKNOWN: "NOT KNOWN"}.get(status, "INTERRUPTED" if status == 2 else "NO VERDICT")  # noqa: PLR2004 - pytest's own
    return f"{head}: {counts} (effects up to {effect})"
