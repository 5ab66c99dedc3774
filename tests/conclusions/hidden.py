"""Conclusions from a part of the facts, held against those from the whole."""

from __future__ import annotations

from preflight.conclusions import Conclusion, Facts, draw
from preflight.conclusions.model import lineage


def unfounded(whole: Facts, part: Facts) -> list[str]:
    """The conclusions from a part that the whole does not bear out."""
    full, _ = draw(whole)
    found, stumbles = draw(part)
    assert not stumbles, stumbles
    return [
        f"{one.confidence} {one.name} {one.about}" for one in found if not any(_bears_out(other, one) for other in full)
    ]


def _bears_out(full: Conclusion, part: Conclusion) -> bool:
    """Whether the one says at least as much as the other, of at least the same targets."""
    return part.name in lineage(full.name) and (not full.about or set(part.about) <= set(full.about))
