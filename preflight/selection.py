"""Which checks run, for which targets, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from preflight import check_items, coverage, guide, options
from preflight.coverage import Coverage
from preflight.evidence import one_line
from preflight.fact import TARGETS, Effect
from preflight.inputs import INVENTORY, NEAREST, READING_ONLY, SYMPTOMS
from preflight.results import Results
from preflight.run import Stage
from preflight.symptoms import answering

SELECTED = pytest.StashKey[Sequence[str]]()
"""Ids of the checks that were selected for `--symptom`."""

_NAMED = 2  # tests that are named as selected; more are not
_ENVIRONMENT_MISSING = """\
Say which environment to check:
  pytest checks/ --inventory prod.yaml   a real one; inventory.yaml is the example to copy
  pytest checks/ --lab                   the guide's environment in miniature, on this machine"""


def require_environment(config: pytest.Config) -> None:
    """Refuse to run checks without an inventory."""
    if INVENTORY not in config.stash and not config.option.collectonly:
        raise pytest.UsageError(_ENVIRONMENT_MISSING)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Make one test of each target that the facts of a check are measured for; without any, one that says so."""
    inventory = metafunc.config.stash.get(INVENTORY, None)
    for kind, targets_of in TARGETS.items():
        if kind in metafunc.fixturenames and check_items.belongs(
            metafunc.definition.path, metafunc.fixturenames, metafunc.config
        ):
            none = pytest.param("", marks=pytest.mark.skip(f"the inventory names no {kind}"), id=pytest.HIDDEN_PARAM)
            metafunc.parametrize(kind, (targets_of(inventory) if inventory else []) or [none])


def order(items: list[pytest.Item], *, collected: Sequence[pytest.Item]) -> None:
    """Bring the checks into the guide's order, behind all other tests, which keep theirs.

    Args:
        items: what is left to run, in any order.
        collected: all tests as they were collected: module by module, as each is written.
    """
    modules = {module: place for place, module in enumerate(guide.MODULES)}
    collected_at = {id(item): place for place, item in enumerate(collected)}

    def place_of(check: pytest.Item) -> tuple[int, int]:
        return modules.get(check.path.stem, len(modules)), collected_at.get(id(check), len(collected))

    checks = sorted(filter(check_items.is_check, items), key=place_of)
    items[:] = [*(item for item in items if not check_items.is_check(item)), *checks]


def keep_stage(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks of other stages; after an uninstallation, all but those that search for leftovers."""
    stage = Stage(config.getoption("stage"))

    def belongs(check: pytest.Item) -> bool:
        marks = [str(mark.args[0]) for mark in check.iter_markers("stage")]
        return stage in marks if marks else stage is not Stage.UNINSTALLED

    _deselect(config, items, [item for item in items if check_items.is_check(item) and not belongs(item)])


def keep_symptoms(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks that explain none of the symptoms that were found; if no check does, none is deselected."""
    ids = {name for found in config.stash.get(SYMPTOMS, ()) for name in found.checks}
    checks = [item for item in items if check_items.is_check(item)]
    explaining = [check for check in checks if check_items.check_id(check) in ids]
    if not explaining:
        return
    config.stash[SELECTED] = tuple(dict.fromkeys(check_items.check_id(check) for check in explaining))
    kept = set(map(id, explaining))
    _deselect(config, items, [check for check in checks if id(check) not in kept])


def judged_part(session: pytest.Session, results: Results, *, pytests_status: int) -> Coverage:
    """How much of the guide this run has judged, and what made it a part."""
    config = session.config
    return coverage.measure(
        coverage.declared(options.checks_folder(config)),
        config.stash[INVENTORY],
        stage=Stage(config.getoption("stage")),
        ceiling=Effect(config.getoption("effect")),
        collected=results.collected,
        judged=results.judged,
        reasons=_reasons(session, pytests_status),
    )


def _reasons(session: pytest.Session, pytests_status: int) -> list[str]:
    """What selected a part, or ended the run early, as the command line has it."""
    config = session.config
    option = config.option
    named = [word for word in config.args if "::" in word or word.endswith(".py")]
    reasons = [
        f"{option_name} {word}" for option_name, word in (("-k", option.keyword), ("-m", option.markexpr)) if word
    ]
    reasons += [" ".join(named[:_NAMED]) + (" …" if len(named) > _NAMED else "")] if named else []
    reasons += ["--deselect"] if option.deselect else []
    reasons += [name for name in ("--symptom", "--job") if config.getoption(name.removeprefix("--")) is not None]
    if session.shouldfail:
        reasons.append(f"stopped after {session.testsfailed} failed")
    elif pytests_status == pytest.ExitCode.INTERRUPTED or session.shouldstop:
        reasons.append("interrupted")
    return [one_line(reason, longest=100) for reason in reasons]


def symptom_header(config: pytest.Config) -> list[str]:
    """Which symptoms were found and what each can mean, for pytest's header."""
    found = config.stash.get(SYMPTOMS, None)
    if found is None:
        return []
    alike = config.stash.get(NEAREST, ())
    return list(answering.before(found, alike, reading_only=READING_ONLY in config.stash))


def _deselect(config: pytest.Config, items: list[pytest.Item], checks: Collection[pytest.Item]) -> None:
    if not checks:
        return
    dropped = set(map(id, checks))
    config.hook.pytest_deselected(items=[item for item in items if id(item) in dropped])
    items[:] = [item for item in items if id(item) not in dropped]
