"""Every rule, in the order in which they speak, and what they say together."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from preflight.conclusions import single_fact
from preflight.conclusions.model import RULES, Conclusion, Rule, check_lineages
from preflight.conclusions.observations import Facts
from preflight.evidence import Key, clean

# Their import declares rules and rows; the order is the one in which the rules speak.
for _area in (
    "access",
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
    """Every conclusion that the facts carry, the one that explains most first; and which rules stumbled, and how.

    A rule of several vantages speaks before the rows of single facts; what one has explained, a later one leaves alone.
    """
    drawn: list[Conclusion] = []
    stumbles: list[str] = []
    explained: set[Key] = set()

    def take(rule: Rule) -> None:
        found: Iterable[Conclusion] = ()
        try:
            found = list(rule(facts))
        except Exception as error:  # noqa: BLE001 - a rule of ours must not cost the verdicts
            stumbles.append(f"the rule {rule.__name__} stumbled: {type(error).__name__}: {clean(str(error))}")
        for conclusion in found:
            if set(conclusion.explains) - explained:
                drawn.append(conclusion)
                explained.update(conclusion.explains)

    for one in RULES:
        take(one)
    take(lambda known: single_fact.conclusions(known, frozenset(explained)))
    drawn.sort(key=lambda one: (-len(one.explains), not one.certain))
    return tuple(drawn), tuple(stumbles)
