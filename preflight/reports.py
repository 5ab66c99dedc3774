"""The reports of a run: ``preflight.html`` (pytest-html), ``.xml`` (JUnit) and ``.json`` (facts and verdicts).

pytest and pytest-html write the first two; this module supplies their texts. Every text from outside was cleaned when
its evidence was made; what goes into HTML is escaped here, since pytest-html does not escape table cells.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import html
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Sequence
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
    if not getattr(config.option, "xmlpath", None):
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
    failure: Any = report.longrepr
    if outcome.verdict is Verdict.UNKNOWN or not hasattr(failure, "addsection"):
        report.longrepr = outcome.diagnosis.text()
        return
    failure.addsection("diagnosis", outcome.diagnosis.text())
    if getattr(failure, "reprcrash", None) is not None:
        failure.reprcrash.message = outcome.diagnosis.headline


def scrub(report: pytest.TestReport) -> None:
    """Redact what pytest itself reports of a check: source and locals of its traceback, and captured output.

    Evidence was redacted when it was made; this is for the reprs of everything else, and for what libraries log.
    """
    failure: Any = report.longrepr
    for traceback, *_ in getattr(failure, "chain", None) or [(getattr(failure, "reprtraceback", None),)]:
        for entry in getattr(traceback, "reprentries", ()):
            entry.lines = [clean(line) for line in entry.lines]
            if getattr(entry, "reprlocals", None) is not None:
                entry.reprlocals.lines = [clean(line) for line in entry.reprlocals.lines]
    report.sections = [(title, clean(text, longest=_CAPTURED)) for title, text in report.sections]


def as_skipped(report: pytest.TestReport, item: pytest.Item, reason: str) -> None:
    """Turn the report into that of a skipped test, with the reason."""
    report.outcome = "skipped"
    path, line, _ = item.location
    report.longrepr = (path, (line or 0) + 1, clean(reason))


def properties(outcome: Outcome) -> list[tuple[str, object]]:
    """The outcome as JUnit properties."""
    named = [
        ("check", outcome.check),
        ("section", outcome.number),
        ("title", outcome.title),
        ("target", outcome.target),
        ("verdict", str(outcome.verdict)),
        ("reason", outcome.reason),
    ]
    if outcome.diagnosis is not None:
        failure = outcome.diagnosis
        named += [("fault", failure.fault), ("cause", failure.cause), ("where", failure.where)]
        named += [("remedy", failure.remedy)]
    return [(name, value) for name, value in named if value]


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
        accepted = [outcome for outcome in judged if outcome.verdict is verdict]
        if accepted:
            terminal.write_sep("-", str(verdict))
        for outcome in accepted:
            target = f" [{outcome.target}]" if outcome.target else ""
            terminal.write_line(f"{outcome.number} {outcome.title}{target}: {outcome.reason}")
            if outcome.diagnosis is not None and verdict is Verdict.ADVICE:
                terminal.write_line(f"    remedy: {outcome.diagnosis.remedy}")
    for verdict in (Verdict.BLOCKED, Verdict.NOT_APPLICABLE):
        reasons: dict[str, list[Outcome]] = {}
        for outcome in judged:
            if outcome.verdict is verdict:
                reasons.setdefault(outcome.reason, []).append(outcome)
        if reasons:
            terminal.write_sep("-", str(verdict))
        for reason, concerned in reasons.items():
            count = f"{len(concerned)} {'check' if len(concerned) == 1 else 'checks'}"
            witnesses = ", ".join(dict.fromkeys(outcome.witness for outcome in concerned if outcome.witness))
            also = f"; also seen from {witnesses}" if witnesses else ""
            terminal.write_line(f"{count} {reason}{also}" if verdict is Verdict.BLOCKED else f"{count}: {reason}")
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
        for outcome in explanation.unexplained:
            headline = outcome.diagnosis.headline if outcome.diagnosis is not None else outcome.reason
            terminal.write_line(f"{outcome.number} {outcome.name}: {headline}")


def add_test_case(config: pytest.Config, explanation: Explanation) -> None:
    """Append a test case ``conclusions`` to the JUnit report; it counts as neither a pass nor a failure."""
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    # An interrupt may have struck while pytest finalized a test case: one that lost its attributes can't be written.
    complete = [case for case in xml.node_reporters_ordered if {"attrs", "to_xml"} & vars(case).keys()]
    xml.node_reporters_ordered[:] = complete
    reporter = xml.node_reporter("preflight::conclusions")
    reporter.add_attribute("classname", "preflight")
    reporter.add_attribute("name", "conclusions")
    reporter.add_attribute("time", "0")
    for finding in explanation.findings:
        reporter.add_property(finding.conclusion.name, finding.conclusion.sentence)
    lines: list[str] = []
    for place, finding in enumerate(explanation.findings, start=1):
        lines += [*text.lines(finding, place), ""]
    lines += [f"not explained: {outcome.name}" for outcome in explanation.unexplained]
    output = ElementTree.Element("system-out")
    output.text = bin_xml_escape("\n".join(lines))
    reporter.append(output)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def page_top(results: Results, *, status: int, effect: str) -> list[str]:
    """What stands above the table of results: verdict, root causes, pictures, and the answers that were asked for."""
    parts = pages.top(results.outcomes, results.explanation, results.facts, status=status, effect=effect)
    for answer in (results.symptom_answer, results.comparison):
        parts += answer.page() if answer is not None else []
    return parts


def environment(inventory: Inventory, config: pytest.Config) -> dict[str, str]:
    """The environment, as the page and the JUnit file show it."""
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
    """Cells of one result in these columns."""
    where = outcome.diagnosis.where if outcome is not None and outcome.diagnosis is not None else ""
    texts = (outcome.number, str(outcome.verdict), where) if outcome is not None else ("", "", "")
    for position, cell in enumerate(texts, start=1):
        cells.insert(position, f"<td>{html.escape(cell)}</td>")


# ---- files ----------------------------------------------------------------------------------------------------------


def _empty_file(folder: Path) -> Path:
    """A new file of a name that nobody knows, so that nothing is written through what stands in a report's place."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".preflight-")
    os.close(descriptor)
    return Path(name)


def _move(file: Path, place: Path) -> None:
    """Put a report that is written to its end in its place; a symbolic link there is replaced, and not followed."""
    if file == Path(os.devnull):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.chmod(0o644)
    file.replace(place)


def _set_path(writer: object, attribute: str, path: Path) -> None:
    """Say where to write; pytest's path is a text, pytest-html's is none."""
    setattr(writer, attribute, type(getattr(writer, attribute))(path))


class WholeFiles:
    """A plugin that lets pytest and pytest-html write their reports beside their place, and moves those that are whole.

    Args:
        config: of the run.
        folder: of the reports; a report that the command line names elsewhere is left alone.

    Attributes:
        problem: why they could not be written; "" if they were.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self.problem = ""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Around the hooks that write; within the terminal's, which then still prints its summary."""
        reports = self._places()
        beside: list[Path] = []
        try:
            for writer, attribute, _ in reports:
                try:
                    beside.append(_empty_file(self._folder))
                except OSError:
                    beside.append(Path(os.devnull))
                _set_path(writer, attribute, beside[-1])
            yield
            for file, (_, _, place) in zip(beside, reports, strict=True):
                _move(file, place)
        except OSError as error:
            names = " and ".join(place.name for _, _, place in reports)
            self.problem = f"{names} could not be written: {error.strerror or error}"
        finally:
            for file, (writer, attribute, place) in zip(beside, reports, strict=False):
                _set_path(writer, attribute, place)
                if file.parent == self._folder:
                    file.unlink(missing_ok=True)

    def _places(self) -> list[tuple[Any, str, Path]]:
        """Who writes a report of ours, the attribute that says where, and that place."""
        writers: list[tuple[Any, str]] = [(self._config.stash.get(xml_key, None), "logfile")]
        # pytest-html has no public name for it.
        writers += [(plugin, "_report_path") for plugin in self._config.pluginmanager.get_plugins()]
        named = [(writer, name, getattr(writer, name, None)) for writer, name in writers]
        places = [(writer, name, Path(place)) for writer, name, place in named if isinstance(place, str | Path)]
        return [entry for entry in places if entry[2].parent == self._folder]


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
        "facts": [_fact(measurement) for measurement in survey.measurements.values() if measurement.done.is_set()],
        "checks": [_check(outcome) for outcome in results.outcomes],
        "conclusions": [_conclusion(finding) for finding in explanation.findings],
        "unexplained": [outcome.name for outcome in explanation.unexplained],
        "symptom": results.symptom_answer.plain() if results.symptom_answer is not None else None,
        "baseline": results.comparison.plain() if results.comparison is not None else None,
    }
    file = _empty_file(folder)
    try:
        with file.open("w", encoding="utf-8") as stream:
            json.dump(document, stream, ensure_ascii=False, indent=1, allow_nan=False)
        _move(file, folder / "preflight.json")
    finally:
        file.unlink(missing_ok=True)


def _fact(measurement: Measurement) -> dict[str, Any]:
    identity = {
        "name": measurement.spec.name,
        "targets": measurement.targets,
        "took": round(measurement.took, 3),
    }
    return {**identity, **saved.plain_measurement(measurement.value, measurement.error)}


def _conclusion(finding: Finding) -> dict[str, Any]:
    conclusion = finding.conclusion
    return {
        "name": conclusion.name,
        "section": conclusion.cause.section,
        "reference": conclusion.cause.reference,
        "about": list(conclusion.about),
        "cause": conclusion.sentence,
        "confidence": conclusion.confidence,
        "settled_by": conclusion.settled_by,
        "root_cause": finding.is_root_cause,
        "explains": [outcome.name for outcome in finding.checks],
        "proofs": [dataclasses.asdict(proof) for proof in conclusion.proofs],
        "remedy": list(conclusion.remedy),
    }


def _check(outcome: Outcome) -> dict[str, Any]:
    failure = outcome.diagnosis
    return {
        "id": outcome.check,
        "section": outcome.number,
        "title": outcome.title,
        "target": outcome.target,
        "verdict": str(outcome.verdict),
        "reason": outcome.reason,
        "fault": failure.fault if failure else "",
        "cause": failure.cause if failure else "",
        "where": failure.where if failure else "",
        "remedy": failure.remedy if failure else "",
        "blocked_by": list(outcome.blocked_by),
        "witness": outcome.witness,
        "facts": list(outcome.facts),
    }
