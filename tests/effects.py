"""How much of a run proves a fault of the lab: as much as the checks that turn red do to the world.

A run that goes further says nothing more of such a fault, except how it is told that what comes after it can't be
measured. So of those faults on which the same further facts depend, the first is proven by a whole run, and the others
by a run at their own effect.
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
    proven: dict[str, Effect | None] = {}
    seen: set[frozenset[str]] = set()
    for name, row in rows.items():
        facts = _red_facts(row)
        effect = _most(facts)
        if effect not in _WITHOUT_PODS or row.get("whole"):
            proven[name] = None
            continue
        depending = frozenset(
            fact
            for fact, spec in CATALOGUE.items()
            if spec.effect.rank > effect.rank and not facts.isdisjoint(_needed(fact))
        )
        proven[name] = effect if depending in seen else None
        seen.add(depending)
    return proven


def sufficient_for_both(*rows: Mapping[str, Any]) -> Effect | None:
    """The effect at which faults that come together are proven, each being proven alone too; None for the whole run."""
    effects = [_most(_red_facts(row)) for row in rows]
    if any(row.get("whole") for row in rows) or any(effect not in _WITHOUT_PODS for effect in effects):
        return None
    return max((effect for effect in effects if effect), key=lambda effect: effect.rank)


def _red_facts(row: Mapping[str, Any]) -> frozenset[str]:
    """The facts whose checks a fault turns red."""
    return _facts([*row.get("fail", ()), *row.get("unknown", ())])


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
