"""The reports of a run: ``preflight.json`` (facts and verdicts), ``.html`` (rendered from it) and ``.xml`` (JUnit).

pytest writes JUnit, and with ``--html`` pytest-html a page of its own; this module supplies their texts. Every text
from outside was cleaned when its evidence was made; what goes into pytest-html's table is escaped here, since that
does not escape cells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import getpass
import html
import json
import os
import platform
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from _pytest.config import create_terminal_writer
from _pytest.junitxml import bin_xml_escape, xml_key

from preflight import atomicfile, baseline, history, options, saved, shipped
from preflight.conclusions import Explanation, Finding, text
from preflight.decision import Decision, impact_of
from preflight.evidence import clean, one_line
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

_OWN_XML = pytest.StashKey[bool]()
"""Whether no option names the JUnit report."""
_BEGAN = pytest.StashKey[tuple[datetime.datetime, float]]()
"""When the run began: the time, and the monotonic clock."""
_STEM = pytest.StashKey[str]()
_CAPTURED = 20_000  # characters of what was printed or logged beside one check


def switch_on(config: pytest.Config, folder: Path) -> None:
    """Ask pytest for its report in the folder, unless the command line named another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"--report-dir: {folder} can't be written: {error.strerror}"
        raise pytest.UsageError(msg) from None
    config.stash[_BEGAN] = (datetime.datetime.now().astimezone(), time.monotonic())
    # What it is called is known at the end; until then nothing is written.
    config.stash[_OWN_XML] = not getattr(config.option, "xmlpath", None)
    if config.stash[_OWN_XML]:
        config.option.xmlpath = str(folder / "preflight.xml")


def name(config: pytest.Config, decision: Decision) -> None:
    """Name the reports: those of a part stand beside those of a whole run, unless a folder was chosen for them."""
    partial = decision.partial and not config.getoption("report_dir")
    stem = config.stash[_STEM] = "preflight-partial" if partial else "preflight"
    _redirect(config, options.report_folder(config) / f"{stem}.xml")


def switch_off(config: pytest.Config) -> None:
    """Write no report, where nothing was judged, or pytest itself has failed."""
    _redirect(config, Path(os.devnull))
    xml = config.stash.get(xml_key, None)
    if xml is not None and config.stash.get(_OWN_XML, False):
        config.pluginmanager.unregister(xml)
        del config.stash[xml_key]


def _redirect(config: pytest.Config, xml_file: Path) -> None:
    """Let pytest write the JUnit report that no option names to this file."""
    xml = config.stash.get(xml_key, None)
    if xml is not None and config.stash.get(_OWN_XML, False):
        xml.logfile = str(xml_file)


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
        **results.decision.as_json(),
        "not_looked_at": list(results.decision.coverage.lines()),
        "causes": [
            {
                "name": finding.conclusion.name,
                "about": list(finding.conclusion.about),
                "impact": finding.conclusion.impact.as_json(),
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
    _name_in_junit(report, item.config, outcome)
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


def _name_in_junit(report: pytest.TestReport, config: pytest.Config, outcome: Outcome) -> None:
    """Call the test case by the guide's sentence; the property `check` has its id."""
    xml = config.stash.get(xml_key, None)
    if xml is not None:
        target = f" [{outcome.target}]" if outcome.target else ""
        xml.node_reporter(report).add_attribute("name", f"{outcome.number} {outcome.title}{target}")


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
    """Add the verdict and each conclusion as properties of the suite, and the conclusions in full as its output.

    They are no test case: GitLab would count one, and find it passed.
    """
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
    complete = [case for case in xml.node_reporters_ordered if _is_complete(case)]
    xml.node_reporters_ordered[:] = complete
    for finding in explanation.findings:
        xml.add_global_property(finding.conclusion.name, f"{finding.conclusion.impact}: {finding.conclusion.sentence}")
    lines: list[str] = []
    for place, finding in enumerate(explanation.findings, start=1):
        lines += [*text.lines(finding, place), ""]
    lines += [f"not explained: {outcome.name}" for outcome in explanation.unexplained]
    # The list is written to the end of the suite, and each entry asked for its XML alone.
    xml.node_reporters_ordered.append(_SuiteOutput("\n".join(lines)))  # type: ignore[arg-type]


def _is_complete(case: Any) -> bool:
    """Whether pytest has finished a test case, or has it with its own attributes, and not with our title alone."""
    return "to_xml" in vars(case) or "classname" in vars(case).get("attrs", ())


@dataclasses.dataclass(frozen=True, slots=True)
class _SuiteOutput:
    """The suite's own output, which pytest appends behind its test cases, where JUnit's form has it."""

    text: str

    def to_xml(self) -> ElementTree.Element:
        """The element."""
        output = ElementTree.Element("system-out")
        output.text = bin_xml_escape(self.text)
        return output


# ---- pytest-html -----------------------------------------------------------------------------------------------------


def environment(inventory: Inventory, config: pytest.Config) -> dict[str, str]:
    """The environment, as pytest-html shows it, which takes it for HTML."""
    shown = {
        "Inventory": str(config.getoption("inventory")),
        "GitLab": f"{inventory.gitlab.url} (expected {inventory.gitlab.version})",
        "Kubernetes": f"{inventory.cluster.api_server} (expected {inventory.cluster.version})",
        "Workers": ", ".join(inventory.workers),
        "Resolvers": ", ".join(inventory.dns.resolvers),
        "Release": f"{inventory.runner.release} in {inventory.runner.namespace}, chart {inventory.runner.chart}",
        "Effects up to": str(config.getoption("effect")),
    }
    return {name: html.escape(clean(value)) for name, value in shown.items()}


def escaped(longrepr: Any) -> str:
    """A skip's reason, fit for HTML."""
    return html.escape(str(longrepr[2] if isinstance(longrepr, tuple) else longrepr))


_COLUMNS = ("verdict", "section", "check", "target", "where", "duration")
"""Of pytest-html's table; it sorts by the texts of a column's cells, which it knows by their class."""


def header(cells: list[str]) -> None:
    """The columns of pytest-html's table, which can all be sorted by; that of its own words for verdicts is hidden."""
    cells[:] = [f'<th class="sortable" data-column-type="{column}">{column.title()}</th>' for column in _COLUMNS]
    cells.append('<th class="sortable" data-column-type="result" hidden>Result</th>')


def row(cells: list[str], report: pytest.TestReport) -> None:
    """The cells of one result in these columns; of what is no check, pytest's own words for it."""
    outcome = outcome_of(report)
    result, _, took, *_ = cells  # pytest-html filters, colours and folds rows by the result
    texts: tuple[str, ...]
    if outcome is None:
        texts = ("error" if report.failed and report.when != "call" else report.outcome, "", report.nodeid, "", "")
    else:
        where = outcome.diagnosis.where if outcome.diagnosis is not None else ""
        texts = (str(outcome.verdict), outcome.number, outcome.title, outcome.target, where)
    named = zip(_COLUMNS, texts, strict=False)
    shown = [f'<td class="col-{column}">{html.escape(text)}</td>' for column, text in named]
    order = ".".join(part.zfill(3) for part in texts[1].split("."))  # what pytest-html sorts by: the cell's HTML
    shown[1] = shown[1].replace(">", f"><!-- {order} -->", 1)
    shown[0] = shown[0].replace('"col-verdict"', '"col-verdict col-result"')
    cells[:] = [*shown, took, result.replace("<td", "<td hidden", 1)]


# ---- files ----------------------------------------------------------------------------------------------------------


class WholeXml:
    """A plugin that lets pytest write its JUnit report beside its place, and moves it there when it is whole.

    Args:
        config: of the run.
        folder: of the reports; a report that the command line names elsewhere is left alone.

    Attributes:
        problem: why it could not be written; "" if it was.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self.problem = ""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Around the hook that writes; within the terminal's, which then still prints its summary."""
        writer: Any = self._config.stash.get(xml_key, None)
        place = Path(writer.logfile) if writer is not None else Path(os.devnull)
        if place.parent != self._folder:
            return (yield)
        file = Path(os.devnull)
        try:
            with contextlib.suppress(OSError):
                file = atomicfile.empty_in(self._folder)
            writer.logfile = str(file)
            yield
            atomicfile.move(file, place)
        except OSError as error:
            self.problem = f"{place.name} could not be written: {error.strerror or error}"
        finally:
            writer.logfile = str(place)
            if file.parent == self._folder:
                file.unlink(missing_ok=True)


# ---- JSON -----------------------------------------------------------------------------------------------------------


def write(config: pytest.Config, results: Results) -> Iterator[str]:
    """Write facts and verdicts as JSON, and the page that is rendered from it; yields what went wrong, a sentence each.

    Each file appears whole or not at all.
    """
    from preflight import pages  # noqa: PLC0415 - only by who writes one

    target = report_file(config)
    document = "".join(_lines(_document(config, results)))
    files: list[tuple[Path, Callable[[], str]]] = [(target, lambda: document)]
    page = target.with_suffix(".html")
    if page != _named_page(config):
        files.append((page, lambda: pages.render(json.loads(document))))
    for file, content in files:
        try:
            atomicfile.write(file, [content()])
        except OSError as error:
            yield f"{file.name} could not be written: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - an internal error in the page must not cost the run
            yield f"{file.name}: internal error: {type(error).__name__}: {clean(str(error))}"


def _named_page(config: pytest.Config) -> Path | None:
    """Where pytest-html writes its page, if it was asked to."""
    named = getattr(config.option, "htmlpath", None)
    return Path(named).resolve() if named else None


def _document(config: pytest.Config, results: Results) -> dict[str, Any]:
    survey = config.stash[SURVEY]
    explanation = results.explanation
    environment = saved.plain(survey.run.inventory.model_dump(mode="json"))
    began, clock = config.stash[_BEGAN]
    return {
        "schema": SCHEMA,
        "run": survey.run.id,
        "written": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "began": began.isoformat(timespec="seconds"),
        "took": round(time.monotonic() - clock, 1),
        "by": {"host": one_line(platform.node()), "user": one_line(_user())},
        "versions": {
            "suite": shipped.version(),
            "python": platform.python_version(),
            "pytest": pytest.__version__,
        },
        "job": _ci_job(),
        "replay": clean(config.getoption("replay") or ""),
        "inventory": str(config.getoption("inventory")),
        "environment": environment,
        "effect": config.getoption("effect"),
        "stage": config.getoption("stage"),
        "require_idle": config.getoption("require_idle"),
        "exit": results.decision.status,
        "verdict": results.decision.sentence,
        "decision": results.decision.as_json(),
        "notes": [clean(note) for note in results.notes],
        "facts": [_fact(measurement) for measurement in survey.measurements.values() if measurement.done.is_set()],
        "checks": [saved.plain(_check(outcome, explanation)) for outcome in results.outcomes],
        "conclusions": [_conclusion(finding) for finding in explanation.findings],
        "unexplained": [outcome.name for outcome in explanation.unexplained],
        "symptom": results.symptom_answer.as_json() if results.symptom_answer is not None else None,
        "baseline": results.comparison.as_json() if results.comparison is not None else None,
        "history": history.earlier_runs(
            report_file(config).parent, environment=baseline.environment_of(environment), run=survey.run.id
        ),
    }


def _user() -> str:
    """Who runs the suite: a name, or a number where nobody has given that one a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _ci_job() -> dict[str, str] | None:
    """The CI job that this run is a part of, as GitLab's runner describes it."""
    url = one_line(os.environ.get("CI_JOB_URL", ""))
    if not url.startswith(("https://", "http://")):
        return None
    return {"id": one_line(os.environ.get("CI_JOB_ID", "")), "url": url}


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """The document as JSON, each item of a list on a line of its own: short, and two runs can be compared by diff."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

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
        "impact": conclusion.impact.as_json(),
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
        "area": outcome.area,
        "target": outcome.target,
        "targets": outcome.targets,
        "verdict": str(outcome.verdict),
        "reason": outcome.reason,
        "why": "" if outcome.verdict is Verdict.PASS else outcome.why,
        "took": round(outcome.took, 3),
        "fault": failure.fault if failure else "",
        "cause": failure.cause if failure else "",
        "where": failure.where if failure else "",
        "remedy": failure.remedy if failure else "",
        "impact": impact_of(outcome, explanation).as_json() if outcome.verdict is Verdict.FAIL else None,
        "blocked_by": list(outcome.blocked_by),
        "witness": outcome.witness,
        "facts": list(outcome.facts),
        "evidence": failure.evidence if failure else None,
    }
