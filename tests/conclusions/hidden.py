"""Conclusions from a part of the facts, held against those from the whole."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.conclusions import Conclusion, Facts, draw
from preflight.conclusions.model import lineage


def unfounded(whole: Facts, part: Facts) -> list[str]:
    """The conclusions from a part that the whole does not confirm."""
    full, _ = draw(whole)
    drawn, errors = draw(part)
    assert not errors, errors
    return [
        f"{conclusion.confidence} {conclusion.name} {conclusion.about}"
        for conclusion in drawn
        if not any(_confirms(other, conclusion) for whole_cause in full for other in _with_consequences(whole_cause))
    ]


def _with_consequences(conclusion: Conclusion) -> Iterator[Conclusion]:
    """A conclusion and what follows from it, which stands alone where the cause is hidden."""
    yield conclusion
    for consequence in conclusion.consequences:
        yield from _with_consequences(consequence)


def _confirms(full: Conclusion, part: Conclusion) -> bool:
    """Whether the one says at least as much as the other, of at least the same targets."""
    return part.name in lineage(full.name) and (not full.about or set(part.about) <= set(full.about))
