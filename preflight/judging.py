"""From how a check ended to its outcome: verdict, reason and diagnosis.

What counts is what the check's own function did (`observe`), and not what pytest reports of it: marks, plugins and a
conftest's hooks may turn a failure into a pass. Where they do, the report is set right again, and a note says so.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from preflight import check_items, diagnosis, guide, impact, placeholders, reports, waivers
from preflight.conclusions.observations import Observation, observation_of
from preflight.evidence import Blocked, Fact, NotApplicable, Unmeasured, clean, key_of, one_line
from preflight.fact import CATALOGUE, reporters_of
from preflight.facts.headroom import namespace_state
from preflight.guide import Paragraph
from preflight.impact import Impact
from preflight.inputs import INVENTORY
from preflight.survey import SURVEY
from preflight.verdicts import Outcome, Verdict

_ENDED = pytest.StashKey[BaseException | None]()
"""How the function of a check ended: with what exception, or none; absent while it has not run."""
_TAKERS = pytest.StashKey[dict[str, dict[int, pytest.Item]]]()
"""The selected tests by the facts that they take, each with its place."""
_OVERRULED = pytest.StashKey[dict[str, str]]()
_STATE = "state_of_check"

_SHOWN = 3  # checks that a note names


def observe(check: pytest.Item) -> None:
    """Keep how a check's function ends, at the place where nothing can change it."""
    if not isinstance(check, pytest.Function):
        return
    function = check.obj

    @functools.wraps(function)
    def observed(*arguments: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        try:
            result = function(*arguments, **named)
        except BaseException as error:
            check.stash[_ENDED] = error
            raise
        check.stash[_ENDED] = None
        return result

    check.obj = observed


def begin(check: pytest.Item) -> None:
    """Forget how a check's function ended when it was run before."""
    if _ENDED in check.stash:
        del check.stash[_ENDED]


def judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, paragraph: Paragraph
) -> Outcome | None:
    """The outcome of a check; None while a later phase decides.

    The report of a check that is blocked, not applicable or advice becomes one of a skipped test.
    """
    error = call.excinfo.value if call.excinfo else None
    if report.when == "call" and _ENDED in item.stash:
        error = item.stash[_ENDED] or error
    _set_right(item, report, error)
    if report.when != "call" and error is None:
        return None
    return _judge(item, report, paragraph, error)


def complete(report: pytest.TestReport) -> None:
    """Keep what is to be shown of a check that was judged; whatever changes it later is undone."""
    setattr(report, _STATE, (report.outcome, report.longrepr, getattr(report, "wasxfail", None)))


def _set_right(item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> None:
    """Undo what was made of the report of a phase that ended with this error, or with none."""
    ended: Literal["passed", "failed", "skipped"] = "passed" if error is None else "failed"
    if isinstance(error, pytest.skip.Exception):
        ended = "skipped"
    marked = hasattr(report, "wasxfail")
    if report.outcome == ended and not marked:
        return
    _overrule(item, "xfailed" if marked and report.outcome == "skipped" else report.outcome, ended)
    if marked:
        del report.wasxfail
    report.outcome = ended
    if error is None:
        report.longrepr = None
    elif ended == "failed":
        report.longrepr = item.repr_failure(pytest.ExceptionInfo.from_exception(error))


class _Restorer:
    """A plugin that sets a check's report right again, before the other plugins that come after it show it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _restore(self._config, report)


class _LastRestorer(_Restorer):
    """The same behind all others, so that a change by any of them is noticed."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)


def show_as_judged(config: pytest.Config) -> None:
    """Have checks shown as they were judged, whatever is made of their reports since.

    To be called when all other plugins are registered: of hooks of one rank, pytest calls the latest first.
    """
    config.pluginmanager.register(_LastRestorer(config))
    config.pluginmanager.register(_Restorer(config))


def _restore(config: pytest.Config, report: pytest.TestReport) -> None:
    state = getattr(report, _STATE, None)
    if state is None or state == (report.outcome, report.longrepr, getattr(report, "wasxfail", None)):
        return
    outcome, longrepr, wasxfail = state
    if report.outcome != outcome:
        config.stash.setdefault(_OVERRULED, {})[report.nodeid] = f"{outcome}, shown as {report.outcome}"
    report.outcome, report.longrepr = outcome, longrepr
    if wasxfail is not None:
        report.wasxfail = wasxfail
    elif hasattr(report, "wasxfail"):
        del report.wasxfail


def _overrule(item: pytest.Item, shown: str, ended: str) -> None:
    item.config.stash.setdefault(_OVERRULED, {})[item.nodeid] = f"{ended}, shown as {shown}"


def notes(config: pytest.Config) -> list[str]:
    """That something else than the suite changed outcomes, a sentence."""
    overruled = config.stash.get(_OVERRULED, {})
    if not overruled:
        return []
    named = [f"{test.rpartition('::')[2]} ({change})" for test, change in overruled.items()]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return [
        f"a mark, plugin or conftest changed the outcome of {', '.join(named[:_SHOWN])}{more}; "
        "the verdict is from what the checks themselves came to"
    ]


def _judge(item: pytest.Item, report: pytest.TestReport, paragraph: Paragraph, error: BaseException | None) -> Outcome:
    facts = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fact)]
    outcome = Outcome(
        check=check_items.check_id(item),
        number=paragraph.number,
        title=paragraph.title,
        target=check_items.target(item),
        verdict=Verdict.PASS,
        area=guide.MODULES.get(item.path.stem, item.path.stem),
        why=paragraph.why,
        targets=check_items.targets(item),
        facts=check_items.fact_names(item),
        took=max([fact.evidence.took for fact in facts], default=0.0),
        keys=tuple(
            observation.key
            for observation in _observations(item)
            if observation.error is not None or observation.fault is not None
        ),
    )
    if error is None:
        if _ENDED not in item.stash:
            report.outcome = "failed"
            return _unknown(outcome, paragraph, Unmeasured("a plugin or conftest kept the check from being run"))
        if waivers.waiver_of(item) is not None:
            return _waiver_not_needed(report, outcome, paragraph, facts)
        return outcome
    paragraph = _filled(item, paragraph)
    match error:
        case Blocked():
            return _blocked(item, report, outcome, error)
        case NotApplicable():
            reports.as_skipped(report, item, f"not applicable: {clean(str(error))}")
            return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=clean(str(error)))
        case Unmeasured():
            return _unknown(outcome, paragraph, error)
        case AssertionError() if report.when == "call":
            return _failed(item, report, outcome, diagnosis.of_failure(paragraph, facts, str(error), _harm(item)))
    if isinstance(error, pytest.skip.Exception):
        reason = clean(str(error.msg or "no reason given"))
        if check_items.effect_above_ceiling(item) is None and not _skips_itself(item):
            report.outcome = "failed"
            return _unknown(outcome, paragraph, Unmeasured(f"a plugin or conftest skipped the check: {reason}"))
        return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=reason)
    return _unknown(outcome, paragraph, Unmeasured(f"internal error in the check: {type(error).__name__}: {error}"))


def _skips_itself(item: pytest.Item) -> bool:
    """Whether a check's skip is its own: raised by its function, or by a mark that stands in its module."""
    if isinstance(item.stash.get(_ENDED, None), pytest.skip.Exception):
        return True
    callspec = getattr(item, "callspec", None)
    nodes = [item.getparent(pytest.Module), item.getparent(pytest.Class), item]
    marks: list[Any] = list(callspec.marks) if callspec else []
    for node in nodes:
        written = getattr(getattr(node, "obj", None), "pytestmark", [])
        marks += written if isinstance(written, list) else [written]
    return any(mark.name in {"skip", "skipif"} for mark in marks)


def _filled(item: pytest.Item, paragraph: Paragraph) -> Paragraph:
    """The paragraph with this environment's names in its remedies."""
    survey = item.config.stash.get(SURVEY, None)
    if survey is None:
        return paragraph
    inventory = survey.run.inventory
    state = survey.measurements.get(key_of(namespace_state.name, {}))
    job_namespace = state.value.target if state is not None and isinstance(state.value, Fact) else ""
    return placeholders.filled(
        paragraph, inventory, check_items.targets(item), job_namespace=job_namespace or inventory.runner.namespace
    )


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
        for other in _takers(item.session, reporters)
        if error.targets.items() <= check_items.targets(other).items()
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


def _takers(session: pytest.Session, facts: Collection[str]) -> list[pytest.Item]:
    """The selected tests that take one of these facts, in their order; indexed once, since there may be thousands."""
    takers = session.config.stash.setdefault(_TAKERS, {})
    if not takers:
        for place, item in enumerate(session.items):
            for name in check_items.fact_names(item):
                takers.setdefault(name, {})[place] = item
    chosen = {place: item for name in facts for place, item in takers.get(name, {}).items()}
    return [chosen[place] for place in sorted(chosen)]


def _unknown(outcome: Outcome, paragraph: Paragraph, error: Unmeasured) -> Outcome:
    return replace(
        outcome, verdict=Verdict.UNKNOWN, reason=clean(error.reason), diagnosis=diagnosis.of_unknown(paragraph, error)
    )


def _failed(item: pytest.Item, report: pytest.TestReport, outcome: Outcome, failure: diagnosis.Diagnosis) -> Outcome:
    """A failed assert: waived, advice or a failure."""
    waiver = waivers.waiver_of(item)
    if waiver is not None:
        reason = f"waived until {waiver.until}: {clean(waiver.reason)}; it hides {failure.headline}"
        report.outcome, report.wasxfail = "skipped", reason
        return replace(outcome, verdict=Verdict.WAIVED, reason=reason, diagnosis=failure)
    if check_items.is_advice(item) or _is_advice(item):
        report.outcome = "skipped"
        report.wasxfail = f"advice: {failure.headline}"
        return replace(outcome, verdict=Verdict.ADVICE, reason=failure.headline, diagnosis=failure)
    return replace(outcome, verdict=Verdict.FAIL, diagnosis=failure, reason=clean(waivers.expired_waiver_of(item)))


def _harm(item: pytest.Item) -> Impact:
    """What a failure does to jobs where no root cause says it: harm that is not known must not read as none."""
    inventory, targets = item.config.stash[INVENTORY], check_items.targets(item)
    node = targets.get("worker") or targets.get("node")
    return impact.stops_on([node], of=tuple(inventory.workers)) if node else impact.stops()


def _is_advice(item: pytest.Item) -> bool:
    """Whether every fault that the check judges is one that blocks no rollout here (`Fact.advice`)."""
    faulty = [
        value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fact) and value.fault is not None
    ]
    return bool(faulty) and all(fact.advice for fact in faulty)


def _waiver_not_needed(
    report: pytest.TestReport, outcome: Outcome, paragraph: Paragraph, facts: Sequence[Fact]
) -> Outcome:
    """A check that passes although its failure is waived."""
    reason = "the waiver is no longer needed: the check passes; remove it from the inventory"
    report.outcome = "failed"
    harm = impact.removes_reserve("the waiver would hide the next failure")
    failure = replace(
        diagnosis.of_failure(paragraph, facts, reason, harm), remedy="remove the waiver from the inventory"
    )
    return replace(outcome, verdict=Verdict.FAIL, diagnosis=failure)
