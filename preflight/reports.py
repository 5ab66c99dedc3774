"""The reports of a run: ``preflight.html`` (pytest-html), ``.xml`` (JUnit) and ``.json`` (facts and verdicts).

pytest and pytest-html write the first two; this module supplies their texts. Every text from outside was cleaned when
its evidence was made; what goes into HTML is escaped here, since pytest-html does not escape table cells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import html
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from _pytest.config import create_terminal_writer
from _pytest.junitxml import bin_xml_escape, xml_key

from preflight import options, pages, saved
from preflight.conclusions import Explanation, Finding, text
from preflight.decision import Decision, impact_of
from preflight.evidence import clean
from preflight.inventory import Inventory
from preflight.results import Results
from preflight.saved import SCHEMA
from preflight.survey import SURVEY, Measurement
from preflight.terminal import DiagnosisRepr
from preflight.verdicts import Outcome, Verdict

TITLE = "Preflight of GitLab Runner on Kubernetes"
"""Of the HTML page."""

STATUSES = frozenset({0, 1, 2})
"""pytest's own exit statuses after which reports are written: it came to its end, or was interrupted."""

_OWN = pytest.StashKey[tuple[str, ...]]()  # the reports that no option names
_STEM = pytest.StashKey[str]()
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
    # What they are called is known at the end; until then nothing is written.
    own: list[str] = []
    if not getattr(config.option, "xmlpath", None):
        config.option.xmlpath = str(folder / "preflight.xml")
        own.append("xml")
    if not getattr(config.option, "htmlpath", None):
        config.option.htmlpath = str(folder / "preflight.html")
        config.option.self_contained_html = True
        own.append("html")
    config.stash[_OWN] = tuple(own)


def name(config: pytest.Config, decision: Decision) -> None:
    """Name the reports: those of a part stand beside those of a whole run, unless a folder was chosen for them."""
    partial = decision.partial and not config.getoption("report_dir")
    stem = config.stash[_STEM] = "preflight-partial" if partial else "preflight"
    folder = options.report_folder(config)
    _redirect(config, folder / f"{stem}.xml", folder / f"{stem}.html")
    _hide_page(config)


def switch_off(config: pytest.Config) -> None:
    """Write no report, where nothing was judged, or pytest itself has failed."""
    _redirect(config, Path(os.devnull), Path(os.devnull))
    _hide_page(config)
    xml = config.stash.get(xml_key, None)
    if xml is not None and "xml" in config.stash.get(_OWN, ()):
        config.pluginmanager.unregister(xml)
        del config.stash[xml_key]


def _redirect(config: pytest.Config, xml_file: Path, page_file: Path) -> None:
    """Let pytest and pytest-html write the reports that no option names to these files."""
    own = config.stash.get(_OWN, ())
    xml = config.stash.get(xml_key, None)
    if xml is not None and "xml" in own:
        xml.logfile = str(xml_file)
    page = _page_writer(config)
    if page is not None and "html" in own:
        page._report_path = page_file  # noqa: SLF001 - there is no other way to name it when the run is over


def _page_writer(config: pytest.Config) -> Any:
    """pytest-html's plugin object that writes the page."""
    return next((plugin for plugin in config.pluginmanager.get_plugins() if hasattr(plugin, "_report_path")), None)


def _hide_page(config: pytest.Config) -> None:
    """Let pytest-html print nothing of a page that no option names: the last line says where the reports are.

    A hook that is being called goes on with the plugins that it began with, so the page is still written.
    """
    page = _page_writer(config)
    if page is not None and "html" in config.stash.get(_OWN, ()):
        config.pluginmanager.unregister(page)


def quieten(config: pytest.Config) -> None:
    """With `-q`, a run prints a line a root cause and the verdict: no traceback, unless one is asked for."""
    if config.get_verbosity() >= 0:
        return
    given = [*config.invocation_params.args, *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    if not any(str(word).startswith("--tb") for word in given):
        config.option.tbstyle = "no"
    if not any(re.match(r"-[a-zA-Z]*r", str(word)) for word in given):
        config.option.reportchars = ""


def print_to_standard_error(config: pytest.Config) -> None:
    """Let pytest write its progress and summaries to standard error."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter._tw = create_terminal_writer(config, sys.stderr)  # noqa: SLF001 - there is no option for it


def print_summary(config: pytest.Config, results: Results) -> None:
    """With `--summary json`, print what the run comes to as one line of JSON."""
    if config.getoption("summary") != "json":
        return
    with contextlib.suppress(OSError):  # a pipe that nobody reads
        sys.stdout.write(json.dumps(_summary(config, results), ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _summary(config: pytest.Config, results: Results) -> dict[str, Any]:
    written = _STEM in config.stash
    return {
        "verdict": results.decision.sentence,
        **results.decision.plain(),
        "not_looked_at": list(results.decision.coverage.lines()),
        "causes": [
            {
                "name": finding.conclusion.name,
                "about": list(finding.conclusion.about),
                "impact": finding.conclusion.impact.plain(),
                "cause": finding.conclusion.sentence,
            }
            for finding in results.explanation.root_causes
        ],
        "unexplained": [outcome.name for outcome in results.explanation.unexplained],
        "report": str(report_file(config)) if written else "",
    }


def written(config: pytest.Config) -> str:
    """The reports' names, as the last line says them; empty where none was written."""
    return f"{report_file(config).with_suffix('')}.html, .xml, .json" if _STEM in config.stash else ""


def report_file(config: pytest.Config) -> Path:
    """The JSON report of this run."""
    return options.report_folder(config) / f"{config.stash[_STEM]}.json"


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
    if not (
        _wants_tracebacks(item.config) and outcome.verdict is not Verdict.UNKNOWN and hasattr(failure, "addsection")
    ):
        report.longrepr = DiagnosisRepr(outcome.diagnosis, item.location)
        return
    failure.addsection("diagnosis", outcome.diagnosis.text())
    if getattr(failure, "reprcrash", None) is not None:
        failure.reprcrash.message = outcome.diagnosis.headline


def _wants_tracebacks(config: pytest.Config) -> bool:
    """Whether pytest's tracebacks were asked for, with ``--tb`` or ``-vv``."""
    return config.getoption("tbstyle") != "auto" or config.get_verbosity() > 1


def spare_traceback(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Keep pytest from rendering a judged check's traceback that nobody asked for: it parses the module each time."""
    if (
        call.excinfo is not None
        and isinstance(call.excinfo.value, AssertionError)
        and not _wants_tracebacks(item.config)
    ):
        item.repr_failure = lambda excinfo, style=None: str(excinfo.value)  # type: ignore[method-assign] # noqa: ARG005


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


# ---- JUnit -----------------------------------------------------------------------------------------------------------


def add_to_junit(config: pytest.Config, results: Results) -> None:
    """Add the verdict as properties, and a test case ``conclusions``, which counts as neither a pass nor a failure."""
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    decision, explanation = results.decision, results.explanation
    xml.add_global_property("verdict", decision.sentence)
    xml.add_global_property("answer", str(decision.answer))
    xml.add_global_property("partial", str(decision.partial).lower())
    for line in decision.coverage.lines():
        xml.add_global_property("not looked at", line)
    # An interrupt may have struck while pytest finalized a test case: one that lost its attributes can't be written.
    complete = [case for case in xml.node_reporters_ordered if {"attrs", "to_xml"} & vars(case).keys()]
    xml.node_reporters_ordered[:] = complete
    reporter = xml.node_reporter("preflight::conclusions")
    reporter.add_attribute("classname", "preflight")
    reporter.add_attribute("name", "conclusions")
    reporter.add_attribute("time", "0")
    for finding in explanation.findings:
        reporter.add_property(finding.conclusion.name, f"{finding.conclusion.impact}: {finding.conclusion.sentence}")
    lines: list[str] = []
    for place, finding in enumerate(explanation.findings, start=1):
        lines += [*text.lines(finding, place), ""]
    lines += [f"not explained: {outcome.name}" for outcome in explanation.unexplained]
    output = ElementTree.Element("system-out")
    output.text = bin_xml_escape("\n".join(lines))
    reporter.append(output)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def page_top(results: Results) -> list[str]:
    """What stands above the table of results: verdict, root causes, pictures, and the answers that were asked for."""
    parts = pages.top(results.outcomes, results.explanation, results.facts, results.decision)
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


# ---- JSON -----------------------------------------------------------------------------------------------------------


def write_json(config: pytest.Config, results: Results) -> None:
    """Write facts, verdicts and the exit status, as one file that appears whole or not at all."""
    target = report_file(config)
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
        "exit": results.decision.status,
        "verdict": results.decision.sentence,
        "decision": results.decision.plain(),
        "facts": [_fact(measurement) for measurement in survey.measurements.values() if measurement.done.is_set()],
        "checks": [_check(outcome, explanation) for outcome in results.outcomes],
        "conclusions": [_conclusion(finding) for finding in explanation.findings],
        "unexplained": [outcome.name for outcome in explanation.unexplained],
        "symptom": results.symptom_answer.plain() if results.symptom_answer is not None else None,
        "baseline": results.comparison.plain() if results.comparison is not None else None,
    }
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".preflight-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(_lines(document))
    Path(temporary).chmod(0o644)
    Path(temporary).replace(target)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """The document as JSON, each item of a list on a line of its own: short, and two runs can be compared by diff."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    for number, (key, value) in enumerate(document.items()):
        yield f"{',' if number else '{'}\n{text(key)}: "
        if isinstance(value, list) and value:
            yield "[\n " + ",\n ".join(map(text, value)) + "\n]"
        else:
            yield text(value)
    yield "\n}\n"


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
        "impact": conclusion.impact.plain(),
        "confidence": conclusion.confidence,
        "settled_by": conclusion.settled_by,
        "root_cause": finding.is_root_cause,
        "explains": [outcome.name for outcome in finding.checks],
        "proofs": [dataclasses.asdict(proof) for proof in conclusion.proofs],
        "remedy": list(conclusion.remedy),
    }


def _check(outcome: Outcome, explanation: Explanation) -> dict[str, Any]:
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
        "impact": impact_of(outcome, explanation).plain() if outcome.verdict is Verdict.FAIL else None,
        "blocked_by": list(outcome.blocked_by),
        "witness": outcome.witness,
        "facts": list(outcome.facts),
    }
