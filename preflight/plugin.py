"""The pytest plugin: it plugs the guide (checks/) into the environment that the inventory describes.

Hooks only; each delegates. State lives in ``config.stash``. Checks are the tests under the ``checks`` folder beside the
conftest that loads this plugin: everything here leaves other tests alone.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_metadata.plugin import metadata_key

from preflight import baseline, diagnosis, guide, progress_line, reports, saved, symptoms, verdicts
from preflight.clients.connect import Routes
from preflight.conclusions import Explanation, draw, explain
from preflight.conclusions.observations import Facts, Observation, facts_of, observation_of
from preflight.evidence import Blocked, Fact, NotApplicable, Unmeasured, clean, key_of, one_line
from preflight.fact import CATALOGUE, TARGETS, Effect, reporters_of
from preflight.inventory import Inventory, InventoryError, load
from preflight.redaction import remember_within
from preflight.replay import Replay
from preflight.run import Run, Stage
from preflight.shutdown import SignalHandlers
from preflight.survey import SURVEY, Survey, fixtures
from preflight.verdicts import Outcome, Verdict

INVENTORY = pytest.StashKey[Inventory]()
OUTCOMES = pytest.StashKey[list[Outcome]]()
STATUS = pytest.StashKey[int]()
INTERRUPTS = pytest.StashKey[SignalHandlers]()
CLEANING = pytest.StashKey[list[str]]()
PARAGRAPHS = pytest.StashKey[dict[str, guide.Paragraph]]()
PROJECT = pytest.StashKey[Path]()
FACTS = pytest.StashKey[Facts]()
EXPLANATION = pytest.StashKey[Explanation]()
REPLAYED = pytest.StashKey[Mapping[str, Any]]()
SYMPTOMS = pytest.StashKey[tuple[symptoms.Found, ...]]()
TELLING = pytest.StashKey[Sequence[str]]()
ANSWER = pytest.StashKey[symptoms.Answer]()
EARLIER = pytest.StashKey[Mapping[str, Any]]()
BASELINE = pytest.StashKey[baseline.Baseline]()

_LONG_ENOUGH = 8  # characters of a variable's value that is taken for a secret; fewer may be any word

_HOW = """\
Say which environment to check:
  pytest checks/ --inventory prod.yaml   a real one; inventory.yaml is the example to copy
  pytest checks/ --lab                   the guide's environment in miniature, on this machine"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    group = parser.getgroup("preflight", "preflight of GitLab Runner on Kubernetes")
    group.addoption("--inventory", metavar="FILE", help="the environment to check (see inventory.yaml)")
    group.addoption("--report-dir", metavar="DIR", help="where the reports go (default: reports/ beside conftest.py)")
    group.addoption(
        "--effect",
        choices=[str(effect) for effect in Effect],
        default=str(Effect.PRIVILEGED),
        help="the most that a check may do to the world (default: %(default)s)",
    )
    group.addoption("--all-nodes", action="store_true", help="probe every eligible node, however many there are")
    group.addoption(
        "--stage",
        choices=[str(stage) for stage in Stage],
        default=str(Stage.AUTO),
        help="where in the release's life this run stands: before `install` or `upgrade`, or after it was "
        "`uninstalled` (default: %(default)s, which judges whatever is there)",
    )
    group.addoption(
        "--require-idle", action="store_true", help="running jobs are a failure, and not only told (before an upgrade)"
    )
    group.addoption(
        "--backup",
        metavar="DIR",
        help="write the release's values and its whole record into DIR, for its owner alone: they hold the token",
    )
    group.addoption(
        "--replay",
        metavar="FILE",
        help="judge the facts of an earlier run's preflight.json again; nothing is contacted",
    )
    group.addoption(
        "--symptom",
        metavar="TEXT",
        help="an error of a job's log, or - for a whole log on standard input: only the checks that tell what it means",
    )
    group.addoption(
        "--baseline", metavar="FILE", help="an earlier run's preflight.json: tell what is new, fixed and unchanged"
    )
    group.addoption(
        "--workers", type=int, default=16, metavar="N", help="measurements at the same time (default: %(default)s)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, read the inventory and switch the reports on; nothing is contacted.

    Runs before pytest's own report writers look at their options, since a conftest's plugins are the last to register.
    """
    for module, title in guide.MODULES.items():
        config.addinivalue_line("markers", f"{guide.marker(module)}: guide {title}")
    config.addinivalue_line(
        "markers", "advice(unless=OPTION): a failure is told, but blocks no rollout; with that option, it does"
    )
    config.addinivalue_line("markers", "stage(NAME): only asked with --stage NAME")
    config.stash[OUTCOMES] = []
    config.stash[CLEANING] = []
    config.stash[PARAGRAPHS] = {}
    config.pluginmanager.register(fixtures(), "preflight-facts")
    _read_symptom(config)
    _read_baseline(config)
    read_inventory(config)


def read_inventory(config: pytest.Config) -> None:
    """Load the inventory that the command line names; a `pytest.UsageError` lists every problem."""
    named = config.getoption("inventory")
    if config.getoption("replay"):
        _read_saved_run(config)
        return
    if not named:
        return
    from preflight.clients import kubeconfig  # noqa: PLC0415 - only a run with an inventory needs it
    from preflight.values import load as load_values  # noqa: PLC0415

    # What this process was given may come back in any program's words.
    remember_within({name: value for name, value in os.environ.items() if len(value) >= _LONG_ENOUGH})
    try:
        inventory = load(Path(named))
        load_values(
            inventory.runner.values,
            inventory.runner.set,
            release=inventory.runner.release,
            namespace=inventory.runner.namespace,
        )
        kubeconfig.check_kubeconfig(inventory.cluster.kubeconfig, inventory.cluster.context)
    except (InventoryError, kubeconfig.KubeconfigError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[INVENTORY] = inventory
    backup = _backup_folder(config)
    if backup is not None and _report_folder(config) in {backup, *backup.parents}:
        raise pytest.UsageError(
            f"--backup {backup}: lies in the reports' folder; a backup holds secrets, reports do not"
        )
    _switch_reports_on(config, inventory)


def _read_saved_run(config: pytest.Config) -> None:
    """Take environment, stage and effects from a saved run instead of an inventory."""
    if config.getoption("inventory"):
        raise pytest.UsageError("--replay judges a saved run, which holds its inventory; leave --inventory (--lab) out")
    file = Path(config.getoption("replay"))
    try:
        document = saved.read(file, reports.SCHEMA)
        inventory = saved.inventory_from(document, file)
    except saved.SavedError as error:
        raise pytest.UsageError(f"--replay: {error}") from None
    config.stash[INVENTORY], config.stash[REPLAYED] = inventory, document
    config.option.inventory = document["inventory"]
    config.option.effect, config.option.stage = document["effect"], document["stage"]
    config.option.require_idle = document["require_idle"]
    _switch_reports_on(config, inventory)


def _read_symptom(config: pytest.Config) -> None:
    """Find the known symptoms in the text of `--symptom`; a `pytest.UsageError` if there is no text."""
    text = config.getoption("symptom")
    if text is None:
        return
    if text == "-":
        text = _standard_input(config)
    if not text.strip():
        raise pytest.UsageError("--symptom: expected an error of a job's log, found no text")
    config.stash[SYMPTOMS] = symptoms.find(text[-symptoms.LARGEST :])


def _standard_input(config: pytest.Config) -> str:
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)  # pytest keeps standard input from tests
    try:
        if sys.stdin is None or sys.stdin.closed:
            raise pytest.UsageError("--symptom -: expected a job's log on standard input, found it closed")
        return symptoms.from_stream(sys.stdin.buffer)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--symptom -: {error}") from None
    finally:
        if capture is not None:
            capture.resume_global_capture()
            capture.suspend_global_capture()


def _read_baseline(config: pytest.Config) -> None:
    """Read the report of `--baseline` before this run's takes its place."""
    chosen = config.getoption("baseline")
    if chosen is None:
        return
    try:
        config.stash[EARLIER] = saved.read(Path(chosen), reports.SCHEMA)
    except saved.SavedError as error:
        raise pytest.UsageError(f"--baseline: {error}") from None


def _switch_reports_on(config: pytest.Config, inventory: Inventory) -> None:
    # What pytest-metadata collects by default includes CI's variables, some of which carry tokens.
    config.stash[metadata_key] = reports.environment(inventory, config)
    reports.switch_on(config, _report_folder(config))


def _report_folder(config: pytest.Config) -> Path:
    chosen = config.getoption("report_dir")
    usual = _project(config) / "reports"
    # What is judged again must not take the place of what was measured.
    return Path(chosen).resolve() if chosen else usual / "replay" if config.getoption("replay") else usual


def _backup_folder(config: pytest.Config) -> Path | None:
    chosen = config.getoption("backup")
    return Path(chosen).expanduser().resolve() if chosen else None


def _project(config: pytest.Config) -> Path:
    """The folder of the conftest that loads this plugin: rootdir moves with a pytest.ini beside the inventory."""
    if PROJECT in config.stash:  # each item asks, and there are dozens of plugins
        return config.stash[PROJECT]
    for plugin in config.pluginmanager.get_plugins():
        file = getattr(plugin, "__file__", None)
        if file and Path(file).name == "conftest.py" and "preflight.plugin" in getattr(plugin, "pytest_plugins", ()):
            return config.stash.setdefault(PROJECT, Path(file).resolve().parent)
    return config.rootpath


def _is_check(item: pytest.Item | pytest.Metafunc, config: pytest.Config) -> bool:
    path = Path(str(item.path)) if isinstance(item, pytest.Item) else Path(str(item.definition.path))
    return _project(config) / "checks" in path.parents


# ---- collection -----------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each target that the facts of a check are measured for; without any, one that says so."""
    inventory = metafunc.config.stash.get(INVENTORY, None)
    for kind, targets in TARGETS.items():
        if kind in metafunc.fixturenames and _is_check(metafunc, metafunc.config):
            none = pytest.param("", marks=pytest.mark.skip(f"the inventory names no {kind}"), id=pytest.HIDDEN_PARAM)
            metafunc.parametrize(kind, (targets(inventory) if inventory else []) or [none])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each check with its section, bring them into the guide's order; refuse to run without an environment."""
    checks = [item for item in items if _is_check(item, config)]
    if not checks:
        return
    if INVENTORY not in config.stash and not config.option.collectonly:
        raise pytest.UsageError(_HOW)
    for item in checks:
        item.add_marker(guide.marker(item.path.stem))
        document = getattr(getattr(item, "function", None), "__doc__", None) or ""
        try:
            config.stash[PARAGRAPHS][item.nodeid] = guide.paragraph(document)
        except ValueError as error:
            msg = f"{item.location[0]}:{(item.location[1] or 0) + 1}: {item.name}: {error}"
            raise pytest.UsageError(msg) from None
    order = {module: place for place, module in enumerate(guide.MODULES)}
    places = {id(item): place for place, item in enumerate(items)}
    items.sort(
        key=lambda item: (
            (order.get(item.path.stem, len(order)), places[id(item)]) if item in checks else (-1, places[id(item)])
        )
    )
    _waive(config, checks)
    _keep_stage(config, items, checks)
    _keep_telling(config, items)


def _keep_stage(config: pytest.Config, items: list[pytest.Item], checks: Iterable[pytest.Item]) -> None:
    """Drop the checks of other stages; once a release is uninstalled, all but those that look for what is left."""
    stage = Stage(config.getoption("stage"))

    def asked(item: pytest.Item) -> bool:
        marks = [str(mark.args[0]) for mark in item.iter_markers("stage")]
        return stage in marks if marks else stage is not Stage.UNINSTALLED

    dropped = {id(item) for item in checks if not asked(item)}
    if dropped:
        config.hook.pytest_deselected(items=[item for item in items if id(item) in dropped])
        items[:] = [item for item in items if id(item) not in dropped]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say, before anything runs, which symptoms were found and what each can mean."""
    found = config.stash.get(SYMPTOMS, None)
    return [] if found is None else list(symptoms.before(found))


def _keep_telling(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the checks that tell nothing of the symptoms that were found; if none was, everything is run."""
    names = {name for one in config.stash.get(SYMPTOMS, ()) for name in one.symptom.checks}
    checks = [item for item in items if _is_check(item, config)]
    telling = [item for item in checks if _check_name(item) in names]
    if not telling:
        return
    config.stash[TELLING] = tuple(dict.fromkeys(_check_name(item) for item in telling))
    dropped = {id(item) for item in checks} - {id(item) for item in telling}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in dropped])
    items[:] = [item for item in items if id(item) not in dropped]


def _waive(config: pytest.Config, checks: Iterable[pytest.Item]) -> None:
    inventory = config.stash.get(INVENTORY, None)
    if inventory is None or not inventory.waivers:
        return
    listed = list(checks)
    names = {_check_name(item) for item in listed}
    for waiver in inventory.waivers:
        for item in listed:
            if _check_name(item) == waiver.check and waiver.target in {None, _target(item)}:
                if waiver.until < datetime.datetime.now(tz=datetime.UTC).date():
                    continue  # past its date, the failure counts
                item.add_marker(
                    pytest.mark.xfail(
                        raises=AssertionError, strict=True, reason=f"waived until {waiver.until}: {waiver.reason}"
                    )
                )
    known = {name for item in listed for name in [_check_name(item)]}
    if not config.getoption("keyword") and not config.getoption("markexpr"):
        for waiver in inventory.waivers:
            if waiver.check not in known | names:
                config.stash[CLEANING].append(f"waiver for {waiver.check!r}: no selected check has this id")


def _check_name(item: pytest.Item) -> str:
    return getattr(item, "originalname", None) or item.name


def _target(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.id) if callspec else ""


def _chosen(item: pytest.Item) -> dict[str, str]:
    """The targets of a check by kind; a kind of which the inventory names none is left out."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    return {kind: value for kind, value in params.items() if kind in TARGETS and isinstance(value, str) and value}


def _facts(item: pytest.Item) -> list[str]:
    """The facts that a check takes itself."""
    names = getattr(item, "fixturenames", ())
    own = getattr(getattr(item, "_fixtureinfo", None), "argnames", names)
    return [name for name in own if name in CATALOGUE]


def _too_strong(item: pytest.Item, config: pytest.Config) -> Effect | None:
    ceiling = Effect(config.getoption("effect"))
    strongest = max([Effect.STATIC, *(CATALOGUE[name].effect for name in _facts(item))], key=lambda one: one.rank)
    return strongest if strongest.rank > ceiling.rank else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to measure what the selected checks need, and nothing else."""
    config = session.config
    inventory = config.stash.get(INVENTORY, None)
    checks = [item for item in session.items if _is_check(item, config)]
    if inventory is None or not checks or config.option.collectonly:
        return
    allowed = [item for item in checks if _too_strong(item, config) is None]
    mapping = {source: target for source, target in inventory.connect.items() if source != "*"}
    run = Run(
        inventory=inventory,
        routes=Routes(mapping, only_mapped="*" in inventory.connect),
        id=secrets.token_hex(4),
        all_nodes=config.getoption("all_nodes"),
        stage=Stage(config.getoption("stage")),
        own_job=os.environ.get("CI_JOB_ID", ""),
        backup=_backup_folder(config),
    )
    at_once = {"pods": inventory.limits.probe_pods_at_once}
    survey = _survey(config, run, at_once)
    config.stash[SURVEY] = survey
    for item in allowed:
        for name in _facts(item):
            if all(kind in _chosen(item) for kind in CATALOGUE[name].targets):
                survey.begin(name, _chosen(item))
    interrupts = config.stash[INTERRUPTS] = SignalHandlers(run.shutdown)
    config.add_cleanup(interrupts.restore)
    interrupts.install()
    if REPLAYED in config.stash:
        return
    from preflight.clients import preload  # noqa: PLC0415 - only a run that measures needs them

    preload.load()
    _show_what_is_waited_for(config, survey)
    survey.start()


def _show_what_is_waited_for(config: pytest.Config, survey: Survey) -> None:
    """On a terminal, a live line says what a check waits for; anywhere else nothing is written."""
    if config.get_verbosity() < 0 or not progress_line.wanted(os.environ):
        return
    terminal = progress_line.terminal()  # before pytest captures: later the descriptor is a file of pytest's
    if terminal is not None:
        line = progress_line.ProgressLine(survey, terminal)
        survey.on_wait, survey.on_waited = line.show, line.erase
        config.add_cleanup(line.close)


def _survey(config: pytest.Config, run: Run, at_once: dict[str, int]) -> Survey:
    if REPLAYED not in config.stash:
        return Survey(run, workers=max(1, config.getoption("workers")), at_once=at_once)
    file = Path(config.getoption("replay"))
    try:
        return Replay(run, config.stash[REPLAYED], file)
    except saved.SavedError as error:
        raise pytest.UsageError(f"--replay: {file}: {error}") from None


# ---- running --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Let an interrupt come from here: where it struck, there may be no line, which pytest's report can't bear."""
    try:
        return (yield)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(*interrupt.args) from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check that would do more to the world than allowed; end here, if an interrupt was lost on its way."""
    interrupts = item.config.stash.get(INTERRUPTS, None)
    if interrupts is not None and interrupts.received:
        raise KeyboardInterrupt
    if INVENTORY in item.config.stash and _is_check(item, item.config):
        effect = _too_strong(item, item.config)
        if effect is not None:
            pytest.skip(f"needs effects up to {effect}; this run allows {item.config.getoption('effect')}")


@pytest.fixture
def inventory(request: pytest.FixtureRequest) -> Inventory:
    """The environment as the inventory describes it."""
    return request.config.stash[INVENTORY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give each check its verdict and its diagnosis, once."""
    try:
        report = yield
    except SystemError:
        # pytest parses the source of a failure; CPython's parser may trip over another thread that parses meanwhile,
        # as logging a traceback does («AST constructor recursion depth mismatch»). The second time it does not.
        report = pytest.TestReport.from_item_and_call(item, call)
    paragraph = item.config.stash[PARAGRAPHS].get(item.nodeid)
    if paragraph is None or INVENTORY not in item.config.stash:
        return report
    reports.scrub(report)
    outcome = _judge(item, call, report, paragraph)
    if outcome is None:
        return report
    report.outcome_of_check = outcome  # type: ignore[attr-defined]
    if outcome.diagnosis is not None:
        reports.attach(report, outcome)
    report.user_properties = item.user_properties = [*item.user_properties, *reports.properties(outcome)]
    item.config.stash[OUTCOMES].append(outcome)
    return report


def _judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, paragraph: guide.Paragraph
) -> Outcome | None:
    """The outcome of a check, or None while a later phase decides."""
    if report.when == "teardown" and report.outcome == "passed":
        return None
    if report.when == "setup" and report.outcome == "passed":
        return None
    facts = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Fact)]
    outcome = Outcome(
        check=_check_name(item),
        number=paragraph.number,
        title=paragraph.title,
        target=_target(item),
        verdict=Verdict.PASS,
        facts=tuple(_facts(item)),
        took=max([fact.evidence.took for fact in facts], default=0.0),
        keys=tuple(
            observation.key
            for observation in _observations(item)
            if observation.error is not None or observation.fault is not None
        ),
    )
    error = call.excinfo.value if call.excinfo else None
    if report.outcome == "passed":
        return replace(outcome, verdict=Verdict.PASS)
    if isinstance(error, Blocked):
        return _blocked(item, report, outcome, error)
    if isinstance(error, NotApplicable):
        reports.as_skipped(report, item, f"not applicable: {clean(str(error))}")
        return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=clean(str(error)))
    if isinstance(error, Unmeasured):
        found = diagnosis.of_unknown(paragraph, error)
        return replace(outcome, verdict=Verdict.UNKNOWN, reason=error.reason, diagnosis=found)
    if report.when == "call" and isinstance(error, AssertionError):
        found = diagnosis.of_failure(paragraph, facts, str(error))
        if hasattr(report, "wasxfail"):
            return replace(outcome, verdict=Verdict.WAIVED, reason=report.wasxfail, diagnosis=found)
        if _is_advice(item):
            report.outcome = "skipped"
            report.wasxfail = f"advice: {found.headline}"
            return replace(outcome, verdict=Verdict.ADVICE, reason=found.headline, diagnosis=found)
        return replace(outcome, verdict=Verdict.FAIL, diagnosis=found)
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return replace(outcome, verdict=Verdict.NOT_APPLICABLE, reason=clean(reason.removeprefix("Skipped: ")))
    if report.when == "call" and error is None:  # a strict xfail that passed
        reason = "the waiver is no longer needed: the check passes; remove it from the inventory"
        found = replace(diagnosis.of_failure(paragraph, facts, reason), remedy="remove the waiver from the inventory")
        return replace(outcome, verdict=Verdict.FAIL, diagnosis=found)
    crash = Unmeasured(f"the check itself stumbled: {type(error).__name__}: {error}")
    return replace(
        outcome, verdict=Verdict.UNKNOWN, reason=crash.reason, diagnosis=diagnosis.of_unknown(paragraph, crash)
    )


def _observations(item: pytest.Item) -> list[Observation]:
    """The looks that a check takes itself, as far as they have come to an end."""
    survey, chosen = item.config.stash.get(SURVEY, None), _chosen(item)
    found: list[Observation] = []
    if survey is None:
        return found
    for name in _facts(item):
        targets = {kind: chosen[kind] for kind in CATALOGUE[name].targets if kind in chosen}
        measured = survey.measurements.get(key_of(name, targets))
        if measured is not None and measured.done.is_set():
            found.append(observation_of(measured))
    return found


def _is_advice(item: pytest.Item) -> bool:
    marked = item.get_closest_marker("advice")
    return marked is not None and not ("unless" in marked.kwargs and item.config.getoption(marked.kwargs["unless"]))


def _blocked(item: pytest.Item, report: pytest.TestReport, outcome: Outcome, error: Blocked) -> Outcome:
    """Name the selected checks that report what stands in the way, or the fact itself if none does."""
    speakers = reporters_of(error.fact)
    reporting = [
        other
        for other in item.session.items
        if speakers & set(_facts(other))
        and all(_chosen(other).get(kind) == value for kind, value in error.targets.items())
    ]
    names = tuple(dict.fromkeys(other.name for other in reporting))
    if reporting:
        paragraph = item.config.stash[PARAGRAPHS][reporting[0].nodeid]
        by = f"{paragraph.number} {paragraph.title}"
    else:
        by = f"{CATALOGUE[error.fact].title} (no selected check reports it)"
    target = "".join(f" [{value}]" for value in error.targets.values())
    reason = one_line(f"blocked by {by}{target}: {error.reason}")
    met = f"; {error.witness} meets the same" if error.witness else ""
    reports.as_skipped(report, item, reason + met)
    return replace(
        outcome,
        verdict=Verdict.BLOCKED,
        reason=reason,
        blocked_by=names,
        witness=error.witness,
        blocker=error.key,
    )


# ---- the end --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Set the exit status, let everyone write reports, and only then clean up."""
    config = session.config
    survey = config.stash.get(SURVEY, None)
    if survey is None:
        yield
        return
    config.stash[INTERRUPTS].ending = True
    survey.run.shutdown.set()
    judged = config.stash[OUTCOMES]
    if judged and exitstatus in {0, 1}:
        session.exitstatus = verdicts.exit_status(judged)
    config.stash[STATUS] = int(session.exitstatus)
    try:
        explanation = config.stash[EXPLANATION] = _explain(config, judged)
        asked = _answer(config, judged, explanation)
        try:
            reports.write_json(config, _report_folder(config), judged, explanation, int(session.exitstatus), asked)
        except OSError as error:
            _tell(config, f"preflight.json could not be written: {error}")
        reports.add_test_case(config, explanation)
        yield
    finally:
        patience = 0.0 if int(exitstatus) == 0 else min(_PATIENCE, survey.run.inventory.deadlines.clean)
        for problem in survey.close(patience=patience):
            _tell(config, problem)


_PATIENCE = 10.0  # seconds that a measurement gets to take back what it wrote, when a run did not end well


def _tell(config: pytest.Config, problem: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that is gone, or a pipe that nobody reads
        config.get_terminal_writer().line(f"preflight: {problem}", yellow=True)


def _explain(config: pytest.Config, judged: list[Outcome]) -> Explanation:
    """Draw the conclusions; a rule that stumbles costs its conclusions, and neither a report nor the exit status."""
    facts = config.stash[FACTS] = facts_of(config.stash[SURVEY])
    conclusions, stumbles = draw(facts)
    config.stash[CLEANING].extend(stumbles)
    return explain(conclusions, judged)


def _answer(config: pytest.Config, judged: list[Outcome], explanation: Explanation) -> dict[str, Any]:
    """Answer `--symptom` and `--baseline`; the answers as JSON."""
    found, earlier = config.stash.get(SYMPTOMS, None), config.stash.get(EARLIER, None)
    told: dict[str, Any] = {"symptom": None, "baseline": None}
    if found is not None:
        answer = config.stash[ANSWER] = symptoms.answer(found, judged, explanation, config.stash.get(TELLING, ()))
        told["symptom"] = answer.plain()
    if earlier is not None:
        compared = config.stash[BASELINE] = baseline.compare(
            earlier,
            judged,
            explanation,
            file=str(config.getoption("baseline")),
            environment=baseline.environment_of(config.stash[INVENTORY].model_dump(mode="json")),
        )
        told["baseline"] = compared.plain()
    return told


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print advice, waivers and the verdict in one line."""
    judged = config.stash.get(OUTCOMES, [])
    if SURVEY not in config.stash:
        return
    notes = config.stash[CLEANING]
    reports.summarise(terminalreporter, judged, notes=notes)
    status, explanation = config.stash[STATUS], config.stash.get(EXPLANATION, Explanation())
    reports.conclude(terminalreporter, explanation)
    _print_answers(terminalreporter, config)
    line = verdicts.sentence(
        judged, status=status, effect=config.getoption("effect"), causes=len(explanation.root_causes)
    )
    terminalreporter.write_sep("=", "verdict", bold=True)
    terminalreporter.write_line(line, bold=True, green=status == 0, red=status == 1, yellow=status not in {0, 1})
    terminalreporter.write_line(f"reports: {_report_folder(config)}")


def _print_answers(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what came of `--symptom` and `--baseline`."""
    answer, compared = config.stash.get(ANSWER, None), config.stash.get(BASELINE, None)
    if answer is not None:
        terminalreporter.write_sep("=", "symptom", bold=True)
        for line in answer.lines():
            terminalreporter.write_line(line)
    if compared is not None:
        terminalreporter.write_sep("=", compared.title, bold=True)
        for line in compared.lines():
            terminalreporter.write_line(line)


# ---- pytest-html ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_html_report_title(report: Any) -> None:
    """Name the page."""
    report.title = "Preflight of GitLab Runner on Kubernetes"


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_summary(prefix: list[str], session: pytest.Session) -> None:
    """Put the verdict, the root causes and the pictures at the top of the page."""
    judged = session.config.stash.get(OUTCOMES, [])
    status = session.config.stash.get(STATUS, int(session.exitstatus))
    if INVENTORY in session.config.stash:
        explanation = session.config.stash.get(EXPLANATION, Explanation())
        effect = session.config.getoption("effect")
        facts = session.config.stash.get(FACTS, None)
        prefix.extend(reports.summary(judged, explanation, facts, status=status, effect=effect))
        for asked in (session.config.stash.get(ANSWER, None), session.config.stash.get(BASELINE, None)):
            prefix.extend(asked.page() if asked is not None else [])


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_header(cells: list[str]) -> None:
    """Add columns for section, verdict and where."""
    reports.header(cells)


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_row(report: pytest.TestReport, cells: list[str]) -> None:
    """Fill the columns."""
    reports.row(cells, getattr(report, "outcome_of_check", None))


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_html(report: pytest.TestReport, data: list[str]) -> None:
    """Show a skip's reason as a sentence."""
    outcome = getattr(report, "outcome_of_check", None)
    if outcome is not None and outcome.diagnosis is None and outcome.reason:
        data[:] = [reports.escaped(report.longrepr)]
