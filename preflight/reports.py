"""What a run leaves behind: ``preflight.html`` (pytest-html), ``.xml`` (JUnit) and ``.json`` (facts and verdicts).

pytest and pytest-html write the first two; this module gives them their texts. Every text from outside was cleaned
when its evidence was made; what goes into HTML is escaped here, since pytest-html does not escape table cells.
"""

from __future__ import annotations

import dataclasses
import datetime
import html
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from _pytest.junitxml import bin_xml_escape, xml_key

from preflight import pages, saved
from preflight.conclusions import Explanation, Finding, text
from preflight.evidence import clean
from preflight.inventory import Inventory
from preflight.results import Results
from preflight.saved import SCHEMA
from preflight.survey import SURVEY, Measurement
from preflight.verdicts import Outcome, Verdict

TITLE = "Preflight of GitLab Runner on Kubernetes"
"""Of the HTML page."""

_CAPTURED = 20_000  # characters of what was printed or logged beside one check


def switch_on(config: pytest.Config, folder: Path) -> None:
    """Ask pytest and pytest-html for their reports in the folder, unless the command line named others."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"--report-dir: {folder} can't be written: {error.strerror}"
        raise pytest.UsageError(msg) from None
    if not config.option.xmlpath:
        config.option.xmlpath = str(folder / "preflight.xml")
    if not getattr(config.option, "htmlpath", None):
        config.option.htmlpath = str(folder / "preflight.html")
        config.option.self_contained_html = True


# ---- one test's report ----------------------------------------------------------------------------------------------


_OUTCOME = "outcome_of_check"


def outcome_of(report: pytest.TestReport) -> Outcome | None:
    """The outcome that was attached to a report."""
    return getattr(report, _OUTCOME, None)


def attach(report: pytest.TestReport, item: pytest.Item, outcome: Outcome) -> None:
    """Put outcome and diagnosis where terminal, JUnit and HTML show them."""
    setattr(report, _OUTCOME, outcome)
    report.user_properties = item.user_properties = [*item.user_properties, *properties(outcome)]
    if outcome.diagnosis is None:
        return
    found: Any = report.longrepr
    if outcome.verdict is Verdict.UNKNOWN or not hasattr(found, "addsection"):
        report.longrepr = outcome.diagnosis.text()
        return
    found.addsection("diagnosis", outcome.diagnosis.text())
    if getattr(found, "reprcrash", None) is not None:
        found.reprcrash.message = outcome.diagnosis.headline


def scrub(report: pytest.TestReport) -> None:
    """Clean what pytest itself tells of a check: source and locals of its traceback, and what was captured meanwhile.

    Evidence is clean since it was made; this is for the reprs of everything else, and for what libraries log.
    """
    found: Any = report.longrepr
    for traceback, *_ in getattr(found, "chain", None) or [(getattr(found, "reprtraceback", None),)]:
        for entry in getattr(traceback, "reprentries", ()):
            entry.lines = [clean(one) for one in entry.lines]
            if getattr(entry, "reprlocals", None) is not None:
                entry.reprlocals.lines = [clean(one) for one in entry.reprlocals.lines]
    report.sections = [(title, clean(text, longest=_CAPTURED)) for title, text in report.sections]


def as_skipped(report: pytest.TestReport, item: pytest.Item, reason: str) -> None:
    """Turn the report into a skip that tells the reason."""
    report.outcome = "skipped"
    path, line, _ = item.location
    report.longrepr = (path, (line or 0) + 1, clean(reason))


def properties(outcome: Outcome) -> list[tuple[str, object]]:
    """The outcome as JUnit properties."""
    found = [
        ("check", outcome.check),
        ("section", outcome.number),
        ("title", outcome.title),
        ("target", outcome.target),
        ("verdict", str(outcome.verdict)),
        ("reason", outcome.reason),
    ]
    if outcome.diagnosis is not None:
        told = outcome.diagnosis
        found += [("fault", told.fault), ("cause", told.cause), ("where", told.where), ("remedy", told.remedy)]
    return [(name, value) for name, value in found if value]


# ---- the terminal ---------------------------------------------------------------------------------------------------


def print_results(terminal: Any, results: Results, *, effect: str) -> None:
    """Print what pytest's own summary leaves out: advice, waivers, notes, root causes, answers, and the verdict."""
    _print_outcomes(terminal, results.outcomes, notes=results.notes)
    _print_conclusions(terminal, results.explanation)
    if results.symptom_answer is not None:
        _print_section(terminal, "symptom", results.symptom_answer.lines())
    if results.comparison is not None:
        _print_section(terminal, results.comparison.title, results.comparison.lines())
    status = results.status
    terminal.write_sep("=", "verdict", bold=True)
    terminal.write_line(
        results.sentence(effect=effect), bold=True, green=status == 0, red=status == 1, yellow=status not in {0, 1}
    )


def _print_section(terminal: Any, title: str, lines: Iterable[str]) -> None:
    terminal.write_sep("=", title, bold=True)
    for line in lines:
        terminal.write_line(line)


def _print_outcomes(terminal: Any, judged: Sequence[Outcome], *, notes: Sequence[str]) -> None:
    for verdict in (Verdict.ADVICE, Verdict.WAIVED):
        told = [one for one in judged if one.verdict is verdict]
        if told:
            terminal.write_sep("-", str(verdict))
        for one in told:
            target = f" [{one.target}]" if one.target else ""
            terminal.write_line(f"{one.number} {one.title}{target}: {one.reason}")
            if one.diagnosis is not None and verdict is Verdict.ADVICE:
                terminal.write_line(f"    remedy: {one.diagnosis.remedy}")
    for verdict in (Verdict.BLOCKED, Verdict.NOT_APPLICABLE):
        reasons: dict[str, list[Outcome]] = {}
        for one in judged:
            if one.verdict is verdict:
                reasons.setdefault(one.reason, []).append(one)
        if reasons:
            terminal.write_sep("-", str(verdict))
        for reason, concerned in reasons.items():
            count = f"{len(concerned)} {'check' if len(concerned) == 1 else 'checks'}"
            witnesses = ", ".join(dict.fromkeys(one.witness for one in concerned if one.witness))
            met = f"; {witnesses} {'meet' if ',' in witnesses else 'meets'} the same" if witnesses else ""
            terminal.write_line(f"{count} {reason}{met}" if verdict is Verdict.BLOCKED else f"{count}: {reason}")
    for note in notes:
        terminal.write_line(f"note: {note}", yellow=True)


def _print_conclusions(terminal: Any, explanation: Explanation) -> None:
    if explanation.root_causes:
        terminal.write_sep("=", "root causes", bold=True)
    for place, finding in enumerate(explanation.root_causes, start=1):
        if place > 1:
            terminal.write_line("")
        for line in text.lines(finding, place):
            terminal.write_line(line)
    if explanation.unexplained:
        terminal.write_sep("-", "not explained by a root cause")
        for one in explanation.unexplained:
            headline = one.diagnosis.headline if one.diagnosis is not None else one.reason
            terminal.write_line(f"{one.number} {one.name}: {headline}")


def add_test_case(config: pytest.Config, explanation: Explanation) -> None:
    """Append a test case ``conclusions`` to the JUnit report; it counts as neither a pass nor a failure."""
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    # An interrupt may have struck while pytest put one away: what is half gone can't be written.
    whole = [one for one in xml.node_reporters_ordered if {"attrs", "to_xml"} & vars(one).keys()]
    xml.node_reporters_ordered[:] = whole
    reporter = xml.node_reporter("preflight::conclusions")
    reporter.add_attribute("classname", "preflight")
    reporter.add_attribute("name", "conclusions")
    reporter.add_attribute("time", "0")
    for finding in explanation.findings:
        reporter.add_property(finding.conclusion.name, finding.conclusion.sentence)
    told: list[str] = []
    for place, finding in enumerate(explanation.findings, start=1):
        told += [*text.lines(finding, place), ""]
    told += [f"not explained: {one.name}" for one in explanation.unexplained]
    output = ElementTree.Element("system-out")
    output.text = bin_xml_escape("\n".join(told))
    reporter.append(output)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def page_top(results: Results, *, status: int, effect: str) -> list[str]:
    """What stands above the table of results: verdict, root causes, pictures, and the answers that were asked for."""
    parts = pages.top(results.outcomes, results.explanation, results.facts, status=status, effect=effect)
    for answer in (results.symptom_answer, results.comparison):
        parts += answer.page() if answer is not None else []
    return parts


def environment(inventory: Inventory, config: pytest.Config) -> dict[str, str]:
    """What the page and the JUnit file say of the environment."""
    return {
        "Inventory": str(config.getoption("inventory")),
        "GitLab": f"{inventory.gitlab.url} (expected {inventory.gitlab.version})",
        "Kubernetes": f"{inventory.cluster.api_server} (expected {inventory.cluster.version})",
        "Workers": ", ".join(inventory.workers),
        "Resolvers": ", ".join(inventory.dns.resolvers),
        "Release": f"{inventory.runner.release} in {inventory.runner.namespace}, chart {inventory.runner.chart}",
        "Effects up to": str(config.getoption("effect")),
    }


def escaped(longrepr: Any) -> str:
    """A skip's reason, fit for HTML."""
    return html.escape(str(longrepr[2] if isinstance(longrepr, tuple) else longrepr))


def header(cells: list[str]) -> None:
    """Columns of the results table."""
    cells.insert(1, '<th class="sortable" data-column-type="section">Section</th>')
    cells.insert(2, "<th>Verdict</th>")
    cells.insert(3, "<th>Where</th>")


def row(cells: list[str], outcome: Outcome | None) -> None:
    """Cells of one result."""
    where = outcome.diagnosis.where if outcome is not None and outcome.diagnosis is not None else ""
    texts = (outcome.number, str(outcome.verdict), where) if outcome is not None else ("", "", "")
    for position, cell in enumerate(texts, start=1):
        cells.insert(position, f"<td>{html.escape(cell)}</td>")


# ---- JSON -----------------------------------------------------------------------------------------------------------


def write_json(config: pytest.Config, folder: Path, results: Results) -> None:
    """Write facts, verdicts and the exit status, as one file that appears whole or not at all."""
    survey = config.stash[SURVEY]
    explanation = results.explanation
    document = {
        "schema": SCHEMA,
        "run": survey.run.id,
        "written": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "inventory": str(config.getoption("inventory")),
        "environment": saved.plain(survey.run.inventory.model_dump(mode="json")),
        "effect": config.getoption("effect"),
        "stage": config.getoption("stage"),
        "require_idle": config.getoption("require_idle"),
        "exit": results.status,
        "verdict": results.sentence(effect=config.getoption("effect")),
        "facts": [_fact(one) for one in survey.measurements.values() if one.done.is_set()],
        "checks": [_check(one) for one in results.outcomes],
        "conclusions": [_conclusion(one) for one in explanation.findings],
        "unexplained": [one.name for one in explanation.unexplained],
        "symptom": results.symptom_answer.plain() if results.symptom_answer is not None else None,
        "baseline": results.comparison.plain() if results.comparison is not None else None,
    }
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".preflight-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=1, allow_nan=False)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(folder / "preflight.json")


def _fact(measured: Measurement) -> dict[str, Any]:
    told = {"name": measured.spec.name, "targets": measured.targets, "took": round(measured.took, 3)}
    return {**told, **saved.plain_measurement(measured.value, measured.error)}


def _conclusion(finding: Finding) -> dict[str, Any]:
    found = finding.conclusion
    return {
        "name": found.name,
        "section": found.cause.section,
        "reference": found.cause.reference,
        "about": list(found.about),
        "cause": found.sentence,
        "confidence": found.confidence,
        "settled_by": found.settled_by,
        "root_cause": finding.is_root_cause,
        "explains": [one.name for one in finding.checks],
        "proofs": [dataclasses.asdict(one) for one in found.proofs],
        "remedy": list(found.remedy),
    }


def _check(outcome: Outcome) -> dict[str, Any]:
    told = outcome.diagnosis
    return {
        "id": outcome.check,
        "section": outcome.number,
        "title": outcome.title,
        "target": outcome.target,
        "verdict": str(outcome.verdict),
        "reason": outcome.reason,
        "fault": told.fault if told else "",
        "cause": told.cause if told else "",
        "where": told.where if told else "",
        "remedy": told.remedy if told else "",
        "blocked_by": list(outcome.blocked_by),
        "witness": outcome.witness,
        "facts": list(outcome.facts),
    }
