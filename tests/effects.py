"""How much of a run proves a fault of the lab: as much as the checks that show it do to the world.

A run that goes further says nothing more of such a fault, except how it is told that what comes after it can't be
measured. So a fault has a whole run, unless all further facts that depend on it depend on another one, too, that has a
whole run; it is then proven by a run at its own effect.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import preflight.facts
from preflight.fact import CATALOGUE, Effect

PROJECT = Path(__file__).parents[1]
assert preflight.facts  # its import makes the kinds of facts known
_WITHOUT_PODS = (Effect.STATIC, Effect.READ)


@functools.cache
def facts_of_checks() -> Mapping[str, frozenset[str]]:
    """The facts that each check takes."""
    return {
        node.name: frozenset(arg.arg for arg in node.args.args) & CATALOGUE.keys()
        for path in sorted((PROJECT / "checks").glob("test_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }


def sufficient(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Effect | None]:
    """The effect at which each fault of the list is proven; None where the whole run is to be made."""
    effects = {name: None if row.get("whole") else _most(_facts_that_show(row)) for name, row in rows.items()}
    further = {name: further_facts(row) for name, row in rows.items()}
    lesser = [name for name, effect in effects.items() if effect in _WITHOUT_PODS]
    whole = [further[name] for name in rows if name not in lesser]
    proven: dict[str, Effect | None] = dict.fromkeys(rows)
    for name in sorted(lesser, key=lambda name: len(further[name]), reverse=True):
        if any(further[name] <= shown for shown in whole):
            proven[name] = effects[name]
        else:
            whole.append(further[name])
    return proven


def further_facts(row: Mapping[str, Any]) -> frozenset[str]:
    """The facts that do more to the world than those that show a fault, and need one of those."""
    facts = _facts_that_show(row)
    effect = _most(facts)
    return frozenset(
        fact
        for fact, spec in CATALOGUE.items()
        if effect is not None and spec.effect.rank > effect.rank and not facts.isdisjoint(_needed(fact))
    )


def sufficient_for_both(*rows: Mapping[str, Any]) -> Effect | None:
    """The effect at which faults that come together are proven, each being proven alone too; None for the whole run."""
    effects = [_most(_facts_that_show(row)) for row in rows]
    if any(row.get("whole") for row in rows) or any(effect not in _WITHOUT_PODS for effect in effects):
        return None
    return max((effect for effect in effects if effect), key=lambda effect: effect.rank)


def _facts_that_show(row: Mapping[str, Any]) -> frozenset[str]:
    """The facts whose checks a fault turns red, or makes advise."""
    return _facts([check for key in ("fail", "unknown", "advice") for check in row.get(key, ())])


def _most(facts: Iterable[str]) -> Effect | None:
    """The most that one of these facts does to the world; None if there is none."""
    return max((CATALOGUE[fact].effect for fact in facts), key=lambda effect: effect.rank, default=None)


def _facts(checks: Iterable[str]) -> frozenset[str]:
    """The facts of the checks with these names; * stands for any text, and targets in brackets don't matter."""
    names = [check.partition("[")[0] for check in checks]
    taken = [facts for check, facts in facts_of_checks().items() if any(fnmatchcase(check, name) for name in names)]
    return frozenset().union(*taken)


@functools.cache
def _needed(fact: str) -> frozenset[str]:
    """All that a fact needs, directly or not."""
    needs = CATALOGUE[fact].needs
    return frozenset(needs).union(*map(_needed, needs))
