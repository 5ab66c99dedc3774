"""From what pytest reports of a check to its outcome: verdict, reason and diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from preflight import check_items, diagnosis, reports
from preflight.conclusions.observations import Observation, observation_of
from preflight.evidence import Blocked, Fact, NotApplicable, Unmeasured, clean, one_line
from preflight.fact import CATALOGUE, reporters_of
from preflight.guide import Paragraph
from preflight.survey import SURVEY
from preflight.verdicts import Outcome, Verdict


def judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, paragraph: Paragraph
) -> Outcome | None:
    """The outcome of a check; None while a later phase decides.

    The report of a check that is blocked, not applicable or advice becomes one of a skipped test.
    """
    if report.when != "call" and report.outcome == "passed":
        return None
    facts = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fact)]
    outcome = Outcome(
        check=check_items.check_id(item),
        number=paragraph.number,
        title=paragraph.title,
        target=check_items.target(item),
        verdict=Verdict.PASS,
        facts=check_items.fact_names(item),
        took=max([fact.evidence.took for fact in facts], default=0.0),
        keys=tuple(
            observation.key
            for observation in _observations(item)
            if observation.error is not None or observation.fault is not None
        ),
    )
    if report.outcome == "passed":
        return outcome
    error = call.excinfo.value if call.excinfo else None
    match error:
        case Blocked():
            return _blocked(item, report, outcome, error)
        case NotApplicable():
            reports.as_skipped(report, item, f"not applicable: {clean(str(error))}")
            return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=clean(str(error)))
        case Unmeasured():
            return _unknown(outcome, paragraph, error)
        case AssertionError() if report.when == "call":
            return _failed(item, report, outcome, diagnosis.of_failure(paragraph, facts, str(error)))
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=clean(reason.removeprefix("Skipped: ")))
    if report.when == "call" and error is None:
        return _waiver_not_needed(outcome, paragraph, facts)
    return _unknown(outcome, paragraph, Unmeasured(f"internal error in the check: {type(error).__name__}: {error}"))


def _observations(item: pytest.Item) -> list[Observation]:
    """The measurements that a check takes itself, as far as they have come to an end."""
    survey = item.config.stash.get(SURVEY, None)
    if survey is None:
        return []
    known = [survey.measurements[key] for key in check_items.measurements(item) if key in survey.measurements]
    return [observation_of(measurement) for measurement in known if measurement.done.is_set()]


def _blocked(item: pytest.Item, report: pytest.TestReport, outcome: Outcome, error: Blocked) -> Outcome:
    """Name the selected checks that report what blocks this one, or the fact itself if none does."""
    reporters = reporters_of(error.fact)
    reporting = [
        other
        for other in item.session.items
        if reporters & set(check_items.fact_names(other))
        and error.targets.items() <= check_items.targets(other).items()
    ]
    first = check_items.paragraph(reporting[0]) if reporting else None
    blocker = (
        f"{first.number} {first.title}"
        if first is not None
        else f"{CATALOGUE[error.fact].title} (no selected check reports it)"
    )
    target = "".join(f" [{value}]" for value in error.targets.values())
    reason = one_line(f"blocked by {blocker}{target}: {error.reason}")
    also = f"; also seen from {error.witness}" if error.witness else ""
    reports.as_skipped(report, item, reason + also)
    return replace(
        outcome,
        verdict=Verdict.BLOCKED,
        reason=reason,
        blocked_by=tuple(dict.fromkeys(other.name for other in reporting)),
        witness=error.witness,
        blocker=error.key,
    )


def _unknown(outcome: Outcome, paragraph: Paragraph, error: Unmeasured) -> Outcome:
    return replace(
        outcome, verdict=Verdict.UNKNOWN, reason=error.reason, diagnosis=diagnosis.of_unknown(paragraph, error)
    )


def _failed(item: pytest.Item, report: pytest.TestReport, outcome: Outcome, failure: diagnosis.Diagnosis) -> Outcome:
    """A failed assert: waived, advice or a failure."""
    if hasattr(report, "wasxfail"):
        return replace(outcome, verdict=Verdict.WAIVED, reason=report.wasxfail, diagnosis=failure)
    if check_items.is_advice(item) or _is_advice(item):
        report.outcome = "skipped"
        report.wasxfail = f"advice: {failure.headline}"
        return replace(outcome, verdict=Verdict.ADVICE, reason=failure.headline, diagnosis=failure)
    return replace(outcome, verdict=Verdict.FAIL, diagnosis=failure)


def _is_advice(item: pytest.Item) -> bool:
    """Whether every fault that the check judges is one that blocks no rollout here (`Fact.advice`)."""
    faulty = [
        value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fact) and value.fault is not None
    ]
    return bool(faulty) and all(fact.advice for fact in faulty)


def _waiver_not_needed(outcome: Outcome, paragraph: Paragraph, facts: Sequence[Fact]) -> Outcome:
    """A strict xfail that passed."""
    reason = "the waiver is no longer needed: the check passes; remove it from the inventory"
    failure = replace(diagnosis.of_failure(paragraph, facts, reason), remedy="remove the waiver from the inventory")
    return replace(outcome, verdict=Verdict.FAIL, diagnosis=failure)
