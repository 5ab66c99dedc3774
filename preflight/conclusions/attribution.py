"""Which checks a conclusion explains, and which failing ones none does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflight.conclusions.model import Conclusion
from preflight.evidence import Key
from preflight.fact import reporters_of
from preflight.verdicts import Outcome, Verdict

_FAILING = frozenset({Verdict.FAIL, Verdict.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Finding:
    """A conclusion, and the checks of this run that it explains.

    Attributes:
        conclusion: the root cause.
        checks: the checks that did not pass because of it, in the guide's order.
    """

    conclusion: Conclusion
    checks: tuple[Outcome, ...]

    @property
    def is_root_cause(self) -> bool:
        """Whether it makes a check fail, or blocks some whose blocker was not selected; otherwise it is advice."""
        return any(_counts(outcome) and outcome.verdict in _FAILING | {Verdict.BLOCKED} for outcome in self.checks)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The conclusions of a run, with the checks that they explain.

    Attributes:
        findings: root causes first, and among them the one that harms jobs most.
        unexplained: failing checks that no conclusion explains.
    """

    findings: tuple[Finding, ...] = ()
    unexplained: tuple[Outcome, ...] = ()

    @property
    def root_causes(self) -> tuple[Finding, ...]:
        """The findings that make checks fail."""
        return tuple(finding for finding in self.findings if finding.is_root_cause)

    @property
    def advice(self) -> tuple[Finding, ...]:
        """The findings that do not block a rollout."""
        return tuple(finding for finding in self.findings if not finding.is_root_cause)


def explain(conclusions: Iterable[Conclusion], judged: Sequence[Outcome]) -> Explanation:
    """Join conclusions and verdicts; a conclusion that explains no selected check is left out."""
    not_passed = [outcome for outcome in judged if outcome.verdict not in {Verdict.PASS, Verdict.NOT_APPLICABLE}]
    blockers = {
        outcome.blocker: reporters_of(outcome.blocker[0]) for outcome in not_passed if outcome.blocker is not None
    }
    findings = []
    for conclusion in conclusions:
        explained = frozenset(conclusion.explains)
        explained_blockers = {
            blocker for blocker, reporters in blockers.items() if _explains(explained, blocker, reporters)
        }
        checks = tuple(
            outcome
            for outcome in not_passed
            if outcome.blocker in explained_blockers or not explained.isdisjoint(outcome.keys)
        )
        if any(_counts(outcome) for outcome in checks):
            findings.append(Finding(conclusion, _with_blocked(checks, not_passed)))
    findings.sort(key=_order)
    explained_names = {outcome.name for finding in findings for outcome in finding.checks}
    unexplained = tuple(
        outcome for outcome in not_passed if outcome.verdict in _FAILING and outcome.name not in explained_names
    )
    return Explanation(tuple(findings), unexplained)


def _with_blocked(checks: Sequence[Outcome], not_passed: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The checks, and those that they block in turn, in the guide's order."""
    names = {outcome.name for outcome in checks}
    while True:
        followers = {
            outcome.name
            for outcome in not_passed
            if outcome.verdict is Verdict.BLOCKED and outcome.blocked_by and names.issuperset(outcome.blocked_by)
        }
        if followers <= names:
            return tuple(outcome for outcome in not_passed if outcome.name in names)
        names |= followers


def _order(finding: Finding) -> tuple[object, ...]:
    """What to mend first: root causes by their impact on jobs, then by how much they explain."""
    conclusion = finding.conclusion
    return not finding.is_root_cause, conclusion.impact.rank, -len(finding.checks), not conclusion.certain


def _counts(outcome: Outcome) -> bool:
    """Whether it counts by itself: a blocked check does where no selected check reports what blocks it."""
    return outcome.verdict is not Verdict.BLOCKED or not outcome.blocked_by


def _explains(explained: Iterable[Key], blocker: Key, reporters: frozenset[str]) -> bool:
    """Whether a blocker is explained: by an observation of that fact, or of one that reports it, for its targets."""
    wanted = dict(blocker[1])
    return any(
        fact in reporters and all(wanted.get(kind, value) == value for kind, value in chosen)
        for fact, chosen in explained
    )
