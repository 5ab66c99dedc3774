"""The reports of a run: ``preflight.html`` (pytest-html), ``.xml`` (JUnit) and ``.json`` (facts and verdicts).

pytest and pytest-html write the first two; this module supplies their texts. Every text from outside was cleaned when
its evidence was made; what goes into HTML is escaped here, since pytest-html does not escape table cells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import html
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Generator, Iterator
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
from preflight.terminal import DiagnosisRepr, OutlivingStream
from preflight.verdicts import Outcome, Verdict

TITLE = "Preflight of GitLab Runner on Kubernetes"
"""Of the HTML page."""

STATUSES = frozenset({0, 1, 2})
"""pytest's own exit statuses after which reports are written: it came to its end, or was interrupted."""

_OWN = pytest.StashKey[tuple[str, ...]]()  # the reports that no option names
_PAGE_WRITER = pytest.StashKey[Any]()
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
    if _PAGE_WRITER not in config.stash:
        plugins = config.pluginmanager.get_plugins()
        writer = next((plugin for plugin in plugins if hasattr(plugin, "_report_path")), None)
        if writer is None:
            return None
        config.stash[_PAGE_WRITER] = writer  # `_hide_page` takes it out of the plugins
    return config.stash[_PAGE_WRITER]


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


def outlive_the_reader(config: pytest.Config) -> None:
    """Let the run come to its end where nobody reads what it prints any more."""
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter._tw._file = OutlivingStream(reporter._tw._file)  # noqa: SLF001 - there is no other way to its stream


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
        writers.append((_page_writer(self._config), "_report_path"))
        named = [(writer, name, getattr(writer, name, None)) for writer, name in writers]
        places = [(writer, name, Path(place)) for writer, name, place in named if isinstance(place, str | Path)]
        return [entry for entry in places if entry[2].parent == self._folder]


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
        "checks": [saved.plain(_check(outcome, explanation)) for outcome in results.outcomes],
        "conclusions": [_conclusion(finding) for finding in explanation.findings],
        "unexplained": [outcome.name for outcome in explanation.unexplained],
        "symptom": results.symptom_answer.plain() if results.symptom_answer is not None else None,
        "baseline": results.comparison.plain() if results.comparison is not None else None,
    }
    file = _empty_file(target.parent)
    try:
        with file.open("w", encoding="utf-8") as stream:
            stream.writelines(_lines(document))
        _move(file, target)
    finally:
        file.unlink(missing_ok=True)


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
