"""Which checks a conclusion explains, and which red ones none does."""

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
        checks: the checks that are not right because of it, in the guide's order.
    """

    conclusion: Conclusion
    checks: tuple[Outcome, ...]

    @property
    def is_root_cause(self) -> bool:
        """Whether it makes a check red, or blocks some whose blocker was not selected; otherwise it is advice."""
        return any(_counts(one) and one.verdict in _FAILING | {Verdict.BLOCKED} for one in self.checks)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the conclusions make of a run.

    Attributes:
        findings: root causes first, and among them the one that explains most.
        unexplained: red checks that no conclusion explains.
    """

    findings: tuple[Finding, ...] = ()
    unexplained: tuple[Outcome, ...] = ()

    @property
    def root_causes(self) -> tuple[Finding, ...]:
        """The findings that make checks red."""
        return tuple(one for one in self.findings if one.is_root_cause)

    @property
    def advice(self) -> tuple[Finding, ...]:
        """The findings that block no rollout."""
        return tuple(one for one in self.findings if not one.is_root_cause)


def explain(conclusions: Iterable[Conclusion], judged: Sequence[Outcome]) -> Explanation:
    """Join conclusions and verdicts; a conclusion that explains no selected check is left out."""
    wrong = [one for one in judged if one.verdict not in {Verdict.PASS, Verdict.NOT_APPLICABLE}]
    blockers = {one.blocker: reporters_of(one.blocker[0]) for one in wrong if one.blocker is not None}
    findings = []
    for conclusion in conclusions:
        explained = frozenset(conclusion.explains)
        behind = {blocker for blocker, speakers in blockers.items() if _explains(explained, blocker, speakers)}
        checks = tuple(one for one in wrong if one.blocker in behind or not explained.isdisjoint(one.keys))
        if any(_counts(one) for one in checks):
            findings.append(Finding(conclusion, checks))
    findings.sort(key=lambda one: (not one.is_root_cause, -len(one.checks), not one.conclusion.certain))
    told = {one.name for finding in findings for one in finding.checks}
    unexplained = tuple(one for one in wrong if one.verdict in _FAILING and one.name not in told)
    return Explanation(tuple(findings), unexplained)


def _counts(outcome: Outcome) -> bool:
    """Whether it tells something itself: a blocked check does where no selected one reports what blocks it."""
    return outcome.verdict is not Verdict.BLOCKED or not outcome.blocked_by


def _explains(explained: Iterable[Key], blocker: Key, speakers: frozenset[str]) -> bool:
    """Whether what blocks a check is explained: by a look of that fact, or of one that speaks for it, there."""
    wanted = dict(blocker[1])
    return any(
        fact in speakers and all(wanted.get(kind, value) == value for kind, value in chosen)
        for fact, chosen in explained
    )
