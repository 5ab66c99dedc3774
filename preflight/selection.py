"""Which checks run, for which targets, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from preflight import check_items, guide, symptoms
from preflight.fact import TARGETS
from preflight.inputs import INVENTORY, NEAREST, READING_ONLY, SYMPTOMS
from preflight.run import Stage

SELECTED = pytest.StashKey[Sequence[str]]()
"""Ids of the checks that were selected for `--symptom`."""

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


def symptom_header(config: pytest.Config) -> list[str]:
    """Which symptoms were found and what each can mean, for pytest's header."""
    found = config.stash.get(SYMPTOMS, None)
    if found is None:
        return []
    alike = config.stash.get(NEAREST, ())
    return list(symptoms.before(found, alike, reading_only=READING_ONLY in config.stash))


def _deselect(config: pytest.Config, items: list[pytest.Item], checks: Collection[pytest.Item]) -> None:
    if not checks:
        return
    dropped = set(map(id, checks))
    config.hook.pytest_deselected(items=[item for item in items if id(item) in dropped])
    items[:] = [item for item in items if id(item) not in dropped]
