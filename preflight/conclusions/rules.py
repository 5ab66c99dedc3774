"""Every rule, in the order in which they run, and the conclusions of all of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from preflight.conclusions import consequences, single_fact
from preflight.conclusions.model import RULES, Conclusion, Rule, check_lineages
from preflight.conclusions.observations import Facts
from preflight.evidence import Key, clean

# Their import declares rules and rows; the order is the one in which the rules run.
for _area in (
    "latency",
    "access",
    "certificates",
    "headroom",
    "cluster",
    "dind",
    "dns",
    "paths",
    "pods",
    "registry",
    "release",
    "gitlab",
    "token",
    "values",
):
    importlib.import_module(f"preflight.conclusions.{_area}")
check_lineages()


def draw(facts: Facts) -> tuple[tuple[Conclusion, ...], tuple[str, ...]]:
    """Every conclusion that the facts support, the one that explains most first; and the rules' internal errors.

    Rules over several vantages run before the rows of single facts; what one has explained, a later one leaves alone.
    What follows from another conclusion is shown under that one.
    """
    drawn: list[Conclusion] = []
    errors: list[str] = []
    explained: set[Key] = set()

    def take(rule: Rule) -> None:
        conclusions: Iterable[Conclusion] = ()
        try:
            conclusions = list(rule(facts))
        except Exception as error:  # noqa: BLE001 - an error in a rule must not cost the verdicts
            errors.append(f"internal error in the rule {rule.__name__}: {type(error).__name__}: {clean(str(error))}")
        for conclusion in conclusions:
            if set(conclusion.explains) - explained:
                drawn.append(conclusion)
                explained.update(conclusion.explains)

    for rule in RULES:
        take(rule)
    take(lambda known: single_fact.conclusions(known, frozenset(explained)))
    try:
        drawn = consequences.fold(facts, drawn)
    except Exception as error:  # noqa: BLE001 - as in a rule
        errors.append(f"internal error in the consequences: {type(error).__name__}: {clean(str(error))}")
    drawn.sort(key=lambda conclusion: (-len(conclusion.explains), not conclusion.certain))
    return tuple(drawn), tuple(errors)
