"""pytest's items as checks: id, target, the facts that a check takes, what it may do, what its docstring says.

Checks are the guide's, below the folder ``checks``, and in a run with an inventory any test that takes a fact.
Other tests are left alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from preflight import guide, options, shipped
from preflight.evidence import Key, key_of
from preflight.fact import CATALOGUE, TARGETS, Effect
from preflight.inputs import INVENTORY

_PARAGRAPH = pytest.StashKey[guide.Paragraph]()


def is_check(item: pytest.Item) -> bool:
    """Whether a test is a check."""
    return belongs(item.path, getattr(item, "fixturenames", ()), item.config)


def belongs(file: Path, names: Iterable[str], config: pytest.Config) -> bool:
    """Whether a test of this file, with these fixtures, is a check."""
    if _in_a_folder_of_checks(file, options.project_folder(config)):
        return True
    return INVENTORY in config.stash and any(name in CATALOGUE for name in names)


@functools.lru_cache(maxsize=1024)
def _in_a_folder_of_checks(file: Path, project: Path) -> bool:
    """Asked for each test, of which a file has many."""
    return shipped.CHECKS in file.parents or project / "checks" in file.parents


def check_id(item: pytest.Item) -> str:
    """The check's id: its function's name."""
    return getattr(item, "originalname", None) or item.name


def target(item: pytest.Item) -> str:
    """What stands in the test's brackets, or ""."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.id) if callspec else ""


def test_name(item: pytest.Item) -> str:
    """The check's id with its target in brackets, as `Outcome.name` has it."""
    return f"{check_id(item)}[{target(item)}]" if target(item) else check_id(item)


def targets(item: pytest.Item) -> dict[str, str]:
    """The targets of a check by kind; a kind of which the inventory names none is left out."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    return {kind: value for kind, value in params.items() if kind in TARGETS and isinstance(value, str) and value}


def fact_names(item: pytest.Item) -> tuple[str, ...]:
    """The facts that a check takes itself."""
    names = getattr(item, "fixturenames", ())
    own = getattr(getattr(item, "_fixtureinfo", None), "argnames", names)
    return tuple(name for name in own if name in CATALOGUE)


def measurements(item: pytest.Item) -> tuple[Key, ...]:
    """The measurements that a check takes, as far as the inventory names targets for them."""
    chosen = targets(item)
    return tuple(
        key_of(name, {kind: chosen[kind] for kind in CATALOGUE[name].targets})
        for name in fact_names(item)
        if all(kind in chosen for kind in CATALOGUE[name].targets)
    )


def effect_above_ceiling(item: pytest.Item) -> Effect | None:
    """The effect of measuring for a check, if that is more than `--effect` allows."""
    ceiling = Effect(item.config.getoption("effect"))
    effects = [Effect.STATIC, *(CATALOGUE[name].effect for name in fact_names(item))]
    strongest = max(effects, key=lambda effect: effect.rank)
    return strongest if strongest.rank > ceiling.rank else None


def is_advice(item: pytest.Item) -> bool:
    """Whether a failure of the check blocks no rollout (marker ``advice``)."""
    mark = item.get_closest_marker("advice")
    return mark is not None and not ("unless" in mark.kwargs and item.config.getoption(mark.kwargs["unless"]))


def read_paragraph(item: pytest.Item) -> None:
    """Read what a check's docstring says; a `pytest.UsageError` names the check and what is missing."""
    docstring = getattr(getattr(item, "function", None), "__doc__", None) or ""
    if not docstring and sys.flags.optimize > 1:
        raise pytest.UsageError(
            "Python strips docstrings, which say what each check is: unset PYTHONOPTIMIZE (python -OO)"
        )
    try:
        item.stash[_PARAGRAPH] = guide.paragraph(docstring)
    except ValueError as error:
        line = (item.location[1] or 0) + 1
        raise pytest.UsageError(f"{item.location[0]}:{line}: {item.name}: {error}") from None


def paragraph(item: pytest.Item) -> guide.Paragraph | None:
    """What a check's docstring says; None for other tests."""
    return item.stash.get(_PARAGRAPH, None)
