"""What a run comes to: GO, DEGRADED, NO GO or INCONCLUSIVE, whole or PARTIAL, and the exit status that follows.

The oracle is a job's fate. What stops jobs that the inventory expects to run is NO GO; what makes them run worse is
DEGRADED; a failed check that harms no job changes nothing. What could not be judged makes a run inconclusive, unless a
root cause whose impact is known explains it. GO is said of a whole run alone.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from preflight import impact
from preflight.conclusions import Explanation
from preflight.coverage import Coverage
from preflight.impact import Harm, Impact
from preflight.verdicts import GO, INCONCLUSIVE, INTERRUPTED, NOT_GO, Outcome, Verdict


class Answer(enum.StrEnum):
    """What the judged checks come to."""

    GO = "GO"
    DEGRADED = "DEGRADED"
    NO_GO = "NO GO"
    INCONCLUSIVE = "INCONCLUSIVE"
    INTERRUPTED = "INTERRUPTED"  # before it was judged whether something stops jobs
    NONE = "NO VERDICT"  # pytest came to no end of its own


WORDS = (
    (Verdict.FAIL, "failed"),
    (Verdict.UNKNOWN, "unknown"),
    (Verdict.BLOCKED, "blocked"),
    (Verdict.ADVICE, "advice"),
    (Verdict.WAIVED, "waived"),
    (Verdict.NOT_APPLICABLE, "not applicable"),
    (Verdict.PASS, "passed"),
)
"""How checks of each verdict are counted, in the order in which they are named."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run comes to.

    Attributes:
        answer: what the judged checks come to.
        status: the exit status.
        coverage: how much was judged.
        counts: how many checks have each verdict, in the order in which they are always named.
        causes: how many root causes there are.
        effect: the most that the run was allowed to do.
    """

    answer: Answer = Answer.NONE
    status: int = GO
    coverage: Coverage = field(default_factory=Coverage)
    counts: Mapping[str, int] = field(default_factory=dict)
    causes: int = 0
    effect: str = ""

    @property
    def partial(self) -> bool:
        """Whether only a part was looked at."""
        return not self.coverage.whole and self.answer is not Answer.NONE

    @property
    def head(self) -> str:
        """The first word: PARTIAL, or the answer of a whole run."""
        return "PARTIAL" if self.partial else str(self.answer)

    @property
    def sentence(self) -> str:
        """The verdict in one line: ``NO GO: 1 root cause, 2 failed, 81 passed (effects up to probe)``."""
        parts = [f"{self.causes} root cause{'s' if self.causes > 1 else ''}"] if self.causes else []
        parts += [f"{count} {word}" for word, count in self.counts.items()]
        counted = ", ".join(parts) or "nothing was judged"
        if not self.partial:
            return f"{self.answer}: {counted} (effects up to {self.effect})"
        answer = "" if self.answer in {Answer.GO, Answer.INTERRUPTED} else f"{self.answer}: "
        return f"PARTIAL: {self.coverage.sentence}: {answer}{counted}"

    @property
    def style(self) -> str:
        """The verdict as a word for styles."""
        return style(str(self.answer), partial=self.partial)

    def without_go(self) -> Decision:
        """The same, but inconclusive where it would be a GO: checks that were to be judged were not."""
        if self.status != GO:
            return self
        return replace(self, status=INCONCLUSIVE, answer=Answer.INCONCLUSIVE)

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON."""
        return {
            "answer": str(self.answer),
            "partial": self.partial,
            "status": self.status,
            "judged": self.coverage.judged,
            "expected": self.coverage.expected,
            "reasons": list(self.coverage.reasons),
            "counts": dict(self.counts),
            "root_causes": self.causes,
            "not_looked_at": [part.as_json() for part in self.coverage.left_out],
        }


def style(answer: str, *, partial: bool) -> str:
    """A verdict as a word for styles: go, partial, degraded, nogo, inconclusive or stopped."""
    if partial and answer == Answer.GO:
        return "partial"
    words = {Answer.NO_GO: "nogo", Answer.GO: "go", Answer.DEGRADED: "degraded", Answer.INCONCLUSIVE: "inconclusive"}
    return {str(known): word for known, word in words.items()}.get(answer, "stopped")


def decide(
    outcomes: Sequence[Outcome],
    explanation: Explanation,
    coverage: Coverage,
    *,
    pytests_status: int,
    effect: str,
    allow_degraded: bool = False,
) -> Decision:
    """What the run comes to.

    Args:
        outcomes: every check's verdict.
        explanation: the root causes.
        coverage: how much was judged.
        pytests_status: pytest's own exit status, which is kept where pytest did not come to its own end.
        effect: the most that the run was allowed to do.
        allow_degraded: whether jobs that run worse are accepted.
    """
    count = Counter(outcome.verdict for outcome in outcomes)
    counts = {word: count[verdict] for verdict, word in WORDS if count[verdict]}
    judged = answer_of(outcomes, explanation)
    match pytests_status:
        case 0 | 1 if outcomes:
            accepted = judged is Answer.DEGRADED and allow_degraded
            status = (
                GO if judged is Answer.GO or accepted else INCONCLUSIVE if judged is Answer.INCONCLUSIVE else NOT_GO
            )
            answer = judged
        case 2:
            # What has failed is known, whatever would have come after it.
            answer = judged if judged in {Answer.NO_GO, Answer.DEGRADED} else Answer.INTERRUPTED
            status = INTERRUPTED
        case _:
            answer, status = Answer.NONE, pytests_status
    return Decision(answer, status, coverage, counts, len(explanation.root_causes), effect)


def answer_of(outcomes: Sequence[Outcome], explanation: Explanation) -> Answer:
    """What these verdicts come to, by the impact of what they show."""
    impacts = [finding.conclusion.impact for finding in explanation.root_causes]
    impacts += [impact_of(outcome, explanation) for outcome in outcomes if outcome.verdict is Verdict.FAIL]
    if any(harm.harm is Harm.STOPS for harm in impacts):
        return Answer.NO_GO
    if any(harm.unseen for harm in impacts) or _unjudged(outcomes, explanation):
        return Answer.INCONCLUSIVE
    return Answer.DEGRADED if any(harm.harm is not Harm.NONE for harm in impacts) else Answer.GO


def impact_of(outcome: Outcome, explanation: Explanation) -> Impact:
    """What a failed check's fault does to jobs: by the root causes that explain it, else by the check itself."""
    explained = [
        finding.conclusion.impact
        for finding in explanation.findings
        if any(check.name == outcome.name for check in finding.checks)
    ]
    if explained:
        return min(explained, key=lambda candidate: candidate.rank)
    return outcome.diagnosis.impact if outcome.diagnosis is not None else impact.stops()


def _unjudged(outcomes: Sequence[Outcome], explanation: Explanation) -> bool:
    """Whether something could not be judged that no fault of known impact, and nothing accepted, explains."""
    by_name = {outcome.name: outcome for outcome in outcomes}
    known = {
        check.name
        for finding in explanation.root_causes
        if not finding.conclusion.impact.hides
        for check in finding.checks
    }

    def settled(outcome: Outcome, seen: frozenset[str] = frozenset()) -> bool:
        if outcome.verdict in {Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.FAIL} and outcome.name in known:
            return True
        if outcome.verdict is not Verdict.BLOCKED:
            return outcome.verdict in {Verdict.ADVICE, Verdict.WAIVED}
        blockers = [by_name[name] for name in outcome.blocked_by if name in by_name and name not in seen]
        return bool(blockers) and all(settled(blocker, seen | {outcome.name}) for blocker in blockers)

    open_verdicts = {Verdict.UNKNOWN, Verdict.BLOCKED}
    return any(outcome.verdict in open_verdicts and not settled(outcome) for outcome in outcomes)
