"""From failing checks to their root cause: rules over the facts of all vantages.

A `rule` is a pure function from `Facts` to conclusions; it reads what was measured, never a rendered text, and claims
no more than its facts support: a conclusion from a part of them is *likely*, and names what would settle it. Each
conclusion has a declared `Cause`. A cause may specialise a more general one: where facts are missing, a rule falls back
on that.

`draw` runs every rule. What no rule explains is a single fault at one place; the rows of `single` name its cause.
"""

from __future__ import annotations

from preflight.conclusions.attribution import Explanation, Finding, explain
from preflight.conclusions.model import CAUSES, Cause, Conclusion, Proof, cause, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.rules import draw

__all__ = [
    "CAUSES",
    "Cause",
    "Conclusion",
    "Explanation",
    "Facts",
    "Finding",
    "Observation",
    "Proof",
    "cause",
    "draw",
    "explain",
    "rule",
]
