"""What the checks say to the meanings of the symptoms that were found: confirmed, ruled out, or open."""

from __future__ import annotations

import enum
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.conclusions import Explanation, Finding
from preflight.conclusions.model import lineage
from preflight.evidence import clean
from preflight.symptoms.catalogue import Candidate, Sample, Symptom
from preflight.symptoms.reading import Found
from preflight.verdicts import Outcome, Verdict

_WRONG = frozenset({Verdict.FAIL, Verdict.ADVICE, Verdict.WAIVED})
_TARGET = re.compile(r" \[[^\]]{0,400}\]")  # of what blocks: the same for every target
_EVERY = "every check is run"
_LINE = 160  # characters of a real line that are shown
_SHOWN = 3  # checks of one kind that are named


class State(enum.StrEnum):
    """What became of a meaning."""

    CONFIRMED = "confirmed"  # a check, or a conclusion, says that it is so
    RULED_OUT = "ruled out"  # each of its checks was judged, and none says so
    OPEN = "open"  # some of its checks could not be judged
    BY_HAND = "by hand"  # no check tells


@dataclass(frozen=True, slots=True)
class Meaning:
    """A meaning, and what became of it.

    Attributes:
        candidate: which.
        state: what became of it.
        by: the outcomes that confirm it, or that keep it open.
        findings: the conclusions that confirm it.
        judged: how many of its checks were judged.
    """

    candidate: Candidate
    state: State
    by: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to all symptoms of a text.

    Attributes:
        symptoms: each symptom that was found, with its meanings, confirmed ones first.
        others: root causes of this run that confirm none of them.
        selected: ids of the checks that were selected to tell; none, if everything was run.
    """

    symptoms: tuple[tuple[Found, tuple[Meaning, ...]], ...]
    others: tuple[Finding, ...]
    selected: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The answer for a terminal."""
        if not self.symptoms:
            yield "no known symptom was found in the text: see all results"
        for match, meanings in self.symptoms:
            yield f"{match.symptom.id}{' (an echo of the first)' if match.echo else ''}: {match.line}"
            for meaning, following in itertools.zip_longest(meanings, meanings[1:]):
                reasons = _reasons(meaning)
                inline = f" ({reasons[0]})" if meaning.state is State.RULED_OUT else ""
                yield f"    {meaning.state:<11}{meaning.candidate.says}{inline}"
                # What keeps several open is told once, below the last of them.
                if not inline and (following is None or reasons != _reasons(following)):
                    yield from (f"{'':15}{reason}" for reason in reasons)
        if any(_needs_more(meaning) for _, meanings in self.symptoms for meaning in meanings):
            yield "what is open is blocked by what was not selected: run without --symptom"
        for finding in self.others:
            yield f"beside it: {finding.conclusion.name}: {finding.conclusion.sentence}"

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            "found": [
                {
                    "id": match.symptom.id,
                    "rows": list(match.symptom.rows),
                    "place": match.place,
                    "line": match.line,
                    "count": match.count,
                    "stage": None if match.stage is None else str(match.stage),
                    "echo": match.echo,
                    "means": [_plain(meaning) for meaning in meanings],
                }
                for match, meanings in self.symptoms
            ],
            "selected": list(self.selected),
            "others": [finding.conclusion.name for finding in self.others],
        }


def before(
    matches: Sequence[Found], alike: Sequence[tuple[Symptom, Sample]] = (), *, reading_only: bool = False
) -> Iterator[str]:
    """What is known before the run: each symptom, and what it can mean.

    Args:
        matches: the symptoms that the text shows.
        alike: where it shows none, those that it resembles, each with a real line.
        reading_only: whether the run makes nothing, since no check tells what the text means.
    """
    which = "every check that only reads is run (--effect privileged: every check)" if reading_only else _EVERY
    if not matches:
        yield f"symptom: nothing that is known stands in the text; {which}"
        yield from (f"    nearest: {symptom.id}: {clean(sample.line, longest=_LINE)}" for symptom, sample in alike)
    for match in matches:
        times = f", {match.count} times" if match.count > 1 else ""
        yield f"symptom: {match.symptom.id} (line {match.place}{times}): {match.line}"
        yield from (f"    it can mean: {candidate.says}" for candidate in match.candidates)
    if matches and not any(match.checks for match in matches):
        yield f"    no check can tell; {which}"


def answer(
    matches: Sequence[Found], judged: Sequence[Outcome], explanation: Explanation, selected: Sequence[str] = ()
) -> Answer:
    """Hold every meaning of the symptoms against what was judged."""
    order = list(State)
    symptoms = tuple(
        (
            match,
            tuple(
                sorted(
                    (_meaning(candidate, judged, explanation) for candidate in match.candidates),
                    key=lambda meaning: order.index(meaning.state),
                )
            ),
        )
        for match in matches
    )
    explained = {
        id(finding)
        for _, meanings in symptoms
        for meaning in meanings
        if meaning.state is State.CONFIRMED
        for finding in meaning.findings
    }
    others = tuple(finding for finding in explanation.root_causes if id(finding) not in explained)
    return Answer(symptoms, others, tuple(selected))


def _meaning(candidate: Candidate, judged: Sequence[Outcome], explanation: Explanation) -> Meaning:
    outcomes = [outcome for outcome in judged if outcome.check in candidate.checks]
    decided = sum(1 for outcome in outcomes if outcome.verdict in _WRONG | {Verdict.PASS})
    confirming = tuple(outcome for outcome in outcomes if outcome.verdict in _WRONG and _speaks(outcome, candidate))
    names = {outcome.name for outcome in confirming}
    findings = tuple(
        finding
        for finding in explanation.findings
        if names & {check.name for check in finding.checks}
        or set(lineage(finding.conclusion.name)) & set(candidate.causes)
    )
    if confirming or findings:
        return Meaning(candidate, State.CONFIRMED, confirming, findings, decided)
    if not candidate.checks and not candidate.causes:
        return Meaning(candidate, State.BY_HAND)
    unsettled = tuple(outcome for outcome in outcomes if _unsettled(outcome))
    if unsettled or not decided:
        return Meaning(candidate, State.OPEN, unsettled or tuple(outcomes), judged=decided)
    return Meaning(candidate, State.RULED_OUT, judged=decided)


def _speaks(outcome: Outcome, candidate: Candidate) -> bool:
    fault = outcome.diagnosis.fault if outcome.diagnosis is not None else ""
    return not candidate.faults or fault in candidate.faults


def _needs_more(meaning: Meaning) -> bool:
    """Whether a run with more checks would tell more of it."""
    return meaning.state is State.OPEN and any(
        outcome.verdict is Verdict.BLOCKED and not outcome.blocked_by for outcome in meaning.by
    )


def _unsettled(outcome: Outcome) -> bool:
    """Whether it might have spoken, had it been judged."""
    above = outcome.verdict is Verdict.NOT_APPLICABLE and outcome.reason.startswith("needs effects")
    return above or outcome.verdict in {Verdict.UNKNOWN, Verdict.BLOCKED}


def _reasons(meaning: Meaning) -> list[str]:
    match meaning.state:
        case State.RULED_OUT:
            return [f"{meaning.judged} {'check says' if meaning.judged == 1 else 'checks say'} otherwise"]
        case State.BY_HAND:
            return [f"look at: {meaning.candidate.look}"] if meaning.candidate.look else []
        case State.CONFIRMED:
            causes = [f"{finding.conclusion.name}: {finding.conclusion.sentence}" for finding in meaning.findings]
            verdicts = [f"{outcome.number} {outcome.name}: {_headline(outcome)}" for outcome in meaning.by]
            return [*causes, *verdicts[:_SHOWN], *_more(verdicts)]
    reasons = Counter(_TARGET.sub("", _headline(outcome), count=1) for outcome in meaning.by)
    counted = [f"{count} {'check' if count == 1 else 'checks'}: {reason}" for reason, count in reasons.items()]
    return [*counted[:_SHOWN], *_more(counted)] or ["none of its checks was judged in this run"]


def _more(sentences: Sequence[str]) -> list[str]:
    return [f"and {len(sentences) - _SHOWN} more"] if len(sentences) > _SHOWN else []


def _headline(outcome: Outcome) -> str:
    if outcome.diagnosis is not None and outcome.verdict is not Verdict.BLOCKED:
        return outcome.diagnosis.headline
    return outcome.reason or str(outcome.verdict)


def _plain(meaning: Meaning) -> Mapping[str, Any]:
    return {
        "says": meaning.candidate.says,
        "remedy": meaning.candidate.remedy,
        "look": meaning.candidate.look,
        "state": str(meaning.state),
        "reasons": _reasons(meaning),
        "checks": list(meaning.candidate.checks),
        "faults": list(meaning.candidate.faults),
        "causes": list(meaning.candidate.causes),
        "by": [outcome.name for outcome in meaning.by],
        "conclusions": [finding.conclusion.name for finding in meaning.findings],
    }
