"""The pytest plugin: runs the guide (checks/) against the environment that the inventory describes.

Hooks only; each delegates to the module of its subject:

- options.py declares the command line, inputs.py reads what it names
- check_items.py, selection.py, waivers.py: which tests are checks, which run, and whose failure is accepted
- other_plugins.py: what other plugins may not do to checks
- asserts.py: whether a false assert fails at all
- measuring.py begins and ends the survey, judging.py gives each check its outcome
- results.py holds what the run comes to, reports.py writes it, outputs/ makes metrics, notes and messages of that

State lives in ``config.stash``, under a key of the module that sets it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from pytest_metadata.plugin import metadata_key

from preflight import (
    asserts,
    baseline,
    check_items,
    guide,
    inputs,
    judging,
    language,
    measuring,
    options,
    other_plugins,
    outputs,
    reports,
    screen,
    selection,
    waivers,
)
from preflight.evidence import clean
from preflight.inputs import INVENTORY
from preflight.inventory import Inventory
from preflight.language import t, translated
from preflight.results import RESULTS, Results
from preflight.survey import SURVEY, fixtures

_ACCEPTED = pytest.StashKey[bool]()
"""Whether the checks were collected and selected without an error."""
_FILES = pytest.StashKey[reports.WholeXml]()

# ---- start ----------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    options.add(parser)
    outputs.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Switch off what other plugins would do to checks, before they begin with it."""
    other_plugins.switch_off(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register markers and fixtures, read the inventory and switch the reports on; nothing is contacted.

    Runs before the report writers look at their options, and after the lab, which is loaded later.
    """
    _speak(config)
    with _usage_errors_translated():
        _configure(config)


def _configure(config: pytest.Config) -> None:
    for line in guide.markers():
        config.addinivalue_line("markers", line)
    config.pluginmanager.register(fixtures(), "preflight-facts")
    config.stash[RESULTS] = Results(notes=[*other_plugins.notes(config)])
    inputs.read(config)
    if INVENTORY in config.stash and not config.option.collectonly:
        outputs.check(config)
        config.stash[RESULTS].notes += filter(None, [options.backup_warning(config), inputs.sampling_note(config)])
        # What pytest-metadata collects by default includes CI's variables, some of which carry tokens.
        config.stash[metadata_key] = reports.environment(config.stash[INVENTORY], config)
        reports.switch_on(config, options.report_folder(config))
        reports.quieten(config)
        config.stash[_FILES] = reports.WholeXml(config, options.report_folder(config))
        config.pluginmanager.register(config.stash[_FILES], "preflight-files")


@contextlib.contextmanager
def _usage_errors_translated() -> Iterator[None]:
    """Say what can't be used in the language of this run."""
    try:
        yield
    except pytest.UsageError as error:
        raise pytest.UsageError(translated(str(error))) from None


def _speak(config: pytest.Config) -> None:
    """Choose the language of this run, until it is over."""
    try:
        chosen = config.getoption("lang") or language.of_environment(os.environ)
    except language.LanguageError as error:
        raise pytest.UsageError(str(error)) from None
    config.add_cleanup(language.speaking(chosen))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep standard output free for the one line of `--summary json`, and outlive whoever reads it."""
    if session.config.getoption("summary") == "json":
        reports.print_to_standard_error(session.config)
    reports.outlive_the_reader(session.config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say, before anything runs, which credentials and symptoms were found, and what each symptom can mean."""
    credentials = config.stash.get(inputs.CREDENTIALS, "")
    lines = [translated(f"preflight: API server by {credentials}")] if credentials else []
    return [*lines, *map(translated, selection.symptom_header(config))]


@pytest.fixture
def inventory(request: pytest.FixtureRequest) -> Inventory:
    """The environment as the inventory describes it."""
    return request.config.stash[INVENTORY]


# ---- collection -----------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each target that the facts of a check are measured for."""
    selection.parametrize(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark each check with its section, waive and select; whoever shuffles them, they run in the guide's order."""
    collected = list(items)
    checks = [item for item in items if check_items.is_check(item)]
    if checks:
        with _usage_errors_translated():
            _prepare(config, items, checks)
    yield
    if checks:
        selection.order(items, collected=collected)
        config.stash[_ACCEPTED] = True


def _prepare(config: pytest.Config, items: list[pytest.Item], checks: list[pytest.Item]) -> None:
    config.stash[RESULTS].collected.update(map(check_items.check_id, checks))
    selection.require_environment(config)
    for check in checks:
        if check.path.stem in guide.MODULES:
            check.add_marker(guide.marker(check.path.stem))
        check_items.read_paragraph(check)
    config.stash[RESULTS].notes += waivers.apply(config, checks)
    config.stash[RESULTS].notes += other_plugins.lift_time_limits(config, checks)
    selection.keep_stage(config, items)
    selection.keep_symptoms(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to measure what the selected checks need, and nothing else."""
    checks = [item for item in session.items if check_items.is_check(item)]
    config = session.config
    # pytest calls this hook also when collecting ended with an error.
    broken = session.testsfailed and not config.option.continue_on_collection_errors
    accepted = _ACCEPTED in config.stash and INVENTORY in config.stash
    if checks and accepted and not config.option.collectonly and not broken:
        with _usage_errors_translated():
            asserts.require(checks)
            for check in checks:
                judging.observe(check)
            judging.show_as_judged(config)
            measuring.begin(config, checks)


# ---- running --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Raise an interrupt again from here: where it struck, there may be no line, which pytest's report can't bear."""
    try:
        return (yield)
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(*interrupt.args) from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check that would do more to the environment than allowed; end here, if an interrupt was lost."""
    if measuring.interrupted(item.config):
        raise KeyboardInterrupt
    judging.begin(item)
    if INVENTORY in item.config.stash and check_items.is_check(item):
        effect = check_items.effect_above_ceiling(item)
        if effect is not None:
            item.config.stash[RESULTS].above_ceiling.add(check_items.test_name(item))
            pytest.skip(f"needs effects up to {effect}; this run allows {item.config.getoption('effect')}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give each check its verdict and its diagnosis, once."""
    if check_items.paragraph(item) is not None:
        reports.spare_traceback(item, call)
    try:
        report = yield
    except SystemError:
        # pytest parses the source of a failure; CPython's parser may trip over another thread that parses meanwhile,
        # as logging a traceback does («AST constructor recursion depth mismatch»). The second time it does not.
        report = pytest.TestReport.from_item_and_call(item, call)
    paragraph = check_items.paragraph(item)
    if paragraph is not None and INVENTORY in item.config.stash:
        reports.scrub(report)
        outcome = judging.judge(item, call, report, paragraph)
        if outcome is not None:
            reports.attach(report, item, outcome)
            judging.complete(report)
            item.config.stash[RESULTS].add(item.nodeid, outcome)
    return report


# ---- the end --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Set the exit status, let everyone write reports, and only then clean up."""
    config = session.config
    if SURVEY not in config.stash:
        reports.switch_off(config)
        yield
        return
    measuring.stop(config)
    results = config.stash[RESULTS]
    results.notes += [*judging.notes(config), *measuring.notes(config)]
    try:
        _decide(session, results, int(exitstatus))
        session.exitstatus = results.decision.status
        if int(exitstatus) in reports.STATUSES:
            _write_reports(config, results)
        else:
            reports.switch_off(config)
        yield
        session.exitstatus = results.decision.status  # not that of another plugin
    finally:
        _clean_up(session, int(exitstatus))
        reports.print_summary(config, results)


def _clean_up(session: pytest.Session, exitstatus: int) -> None:
    """Remove what the run made; an error of ours here must not end Python with 1, which would be read as NO GO."""
    config, began = session.config, time.monotonic()
    try:
        problems = list(measuring.close(config, exitstatus))
        for problem in problems:
            _print(config, f"preflight: {translated(problem)}", yellow=True)
        removed = measuring.removal(config, complete=not problems, seconds=time.monotonic() - began)
    except Exception as error:  # noqa: BLE001 - whatever it is
        removed = ""
        sentence = f"internal error while cleaning up: {type(error).__name__}: {clean(str(error))}"
        _print(config, f"preflight: {translated(sentence)}", yellow=True)
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    if config.get_verbosity() >= 0:
        written = reports.written(config)
        sentences = [t("reports: {written}", written=written) if written else "", translated(removed)]
        _print(config, t("; ").join(filter(None, sentences)))
    if reports.written(config):  # nothing waits for this, and nothing is left in the cluster by now
        for problem in outputs.send(config, reports.report_file(config)):
            _print(config, f"preflight: {translated(problem)}", yellow=True)


def _decide(session: pytest.Session, results: Results, pytests_status: int) -> None:
    config = session.config
    results.conclude(config.stash[SURVEY])
    results.settle(
        pytests_status,
        selection.judged_part(session, results, pytests_status=pytests_status),
        selected=[item.nodeid for item in session.items if check_items.is_check(item)],
        effect=config.getoption("effect"),
        allow_degraded=config.getoption("allow_degraded"),
    )


def _write_reports(config: pytest.Config, results: Results) -> None:
    _answer(config, results)
    reports.name(config, results.decision)
    for problem in reports.write(config, results):
        _print(config, f"preflight: {translated(problem)}", yellow=True)
    for problem in outputs.write(config, reports.report_file(config)):
        _print(config, f"preflight: {translated(problem)}", yellow=True)
    reports.add_to_junit(config, results)


def _answer(config: pytest.Config, results: Results) -> None:
    results.answer_symptom(config.stash.get(inputs.SYMPTOMS, None), config.stash.get(selection.SELECTED, ()))
    results.compare(
        config.stash.get(inputs.EARLIER_RUN, None),
        file=str(config.getoption("baseline")),
        environment=baseline.environment_of(config.stash[INVENTORY].model_dump(mode="json")),
    )


def _print(config: pytest.Config, sentence: str, **markup: bool) -> None:
    with contextlib.suppress(OSError):  # a terminal that is gone, or a pipe that nobody reads
        config.get_terminal_writer().line(sentence, **markup)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None]:
    """Print advice, waivers, root causes and the verdict, behind what pytest prints of checks that none explains."""
    if SURVEY not in config.stash:
        return (yield)
    results, everything = config.stash[RESULTS], screen.wants_everything(config)
    with contextlib.nullcontext() if everything else screen.explained_left_out(terminalreporter, results.explanation):
        yield
    screen.print_results(terminalreporter, results, everything=everything, brief=config.get_verbosity() < 0)
    if config.stash[_FILES].problem:
        _print(config, f"preflight: {translated(config.stash[_FILES].problem)}", yellow=True)
    return None


# ---- pytest-html ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_metadata(metadata: dict[str, Any], config: pytest.Config) -> None:
    """Describe the environment, where pytest-metadata is configured after us."""
    if INVENTORY in config.stash:
        metadata.clear()
        metadata.update(reports.environment(config.stash[INVENTORY], config))


@pytest.hookimpl(optionalhook=True)
def pytest_html_report_title(report: Any) -> None:
    """Name the page."""
    report.title = reports.TITLE


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_header(cells: list[str]) -> None:
    """Name our columns."""
    reports.header(cells)


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_row(report: pytest.TestReport, cells: list[str]) -> None:
    """Fill the columns."""
    reports.row(cells, report)


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_html(report: pytest.TestReport, data: list[str]) -> None:
    """Show a skip's reason as a sentence."""
    outcome = reports.outcome_of(report)
    if outcome is not None and outcome.diagnosis is None and outcome.reason:
        data[:] = [reports.escaped(report.longrepr)]
