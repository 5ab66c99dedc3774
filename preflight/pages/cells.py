"""How one measurement appears in a chart; what was not measured never looks healthy."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from preflight.conclusions.observations import Observation
from preflight.evidence import Blocked, Fact, NotApplicable, Unmeasured
from preflight.pages.texts import Text

F = TypeVar("F", bound=Fact)


class State(enum.Enum):
    """The state that a cell shows, from nothing to the worst: its CSS class, its sign, and its word."""

    NOT_APPLICABLE = ("na", "·", Text("not applicable"))
    NOT_MEASURED = ("none", "–", Text("not looked at"))  # noqa: RUF001 - a dash is meant
    OK = ("ok", "✓", Text("ok"))
    BLOCKED = ("blocked", "⊘", Text("blocked"))
    UNKNOWN = ("unknown", "?", Text("unknown"))
    FAULT = ("fault", "✗", Text("fault"))

    @property
    def style(self) -> str:
        """The CSS class."""
        return self.value[0]

    @property
    def sign(self) -> str:
        """The sign in front of the word."""
        return self.value[1]

    @property
    def word(self) -> Text:
        """The word, where nothing more precise is known."""
        return self.value[2]

    @property
    def rank(self) -> int:
        """Place in the order above."""
        return list(State).index(self)

    @property
    def looked_at(self) -> bool:
        """Whether anything was looked at."""
        return self.rank > State.NOT_MEASURED.rank


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a chart.

    Attributes:
        state: the state that it shows.
        word: the fault's name, or another that is more precise than the state's; "" for the state's own.
        note: a number beside it, such as ``12 ms``.
        detail: a sentence, shown as a tooltip.
        counts: of a cell that stands for many: how many have each state, the worst first.
        link: the anchor of what tells more, on the same page.
    """

    state: State = State.NOT_MEASURED
    word: str = ""
    note: str = ""
    detail: str = ""
    counts: tuple[tuple[int, State], ...] = ()
    link: str = ""


NONE = Cell(State.NOT_APPLICABLE)
"""Where the suite measures nothing, by its design or because this environment has nothing there."""


def duration(seconds: float | None) -> str:
    """Seconds as a person writes them: ``12 ms``, ``0.4 s``, ``24 s``; "" for none and for less than half a ms."""
    if seconds is None or seconds < 0.0005:  # noqa: PLR2004 - half a millisecond
        return ""
    if seconds < 0.1:  # noqa: PLR2004 - where milliseconds stop to be read easily
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one digit is enough


def value_of(observation: Observation | None, *kinds: type[F]) -> F | None:
    """What was measured, if it is of one of these kinds."""
    value = observation.measured if observation is not None else None
    return value if isinstance(value, kinds) else None


def cell_of(observation: Observation | None, *, note: str = "") -> Cell:
    """A measurement as a cell; None is one that was not planned.

    Args:
        observation: the measurement.
        note: stands beside the word if something was measured.
    """
    if observation is None:
        return Cell()
    error = observation.error
    if observation.measured is not None:
        return cell_of_fact(observation.measured, note)
    if isinstance(error, NotApplicable):
        return Cell(State.NOT_APPLICABLE, detail=str(error))
    if isinstance(error, Blocked):
        return Cell(State.BLOCKED, detail=error.reason)
    if isinstance(error, Unmeasured):
        return Cell(State.UNKNOWN, note=str(error.fault or ""), detail=error.reason)
    return Cell(State.UNKNOWN, detail=str(error or ""))


def cell_of_fact(fact: Fact, note: str = "") -> Cell:
    """A fact as a cell."""
    if fact.fault is None:
        return Cell(State.OK, note=note)
    return Cell(State.FAULT, str(fact.fault), note, fact.cause)


def worst(cells: Iterable[Cell]) -> Cell:
    """The worst of several cells; `NONE` of none."""
    return max(cells, key=lambda cell: cell.state.rank, default=NONE)


def together(cells: Sequence[Cell]) -> Cell:
    """Many cells as one: how many there are of each state, under the sign of the worst."""
    count = Counter(cell.state for cell in cells)
    if not any(state.looked_at for state in count):
        return Cell(worst(cells).state)
    ordered = sorted(count.items(), key=lambda item: -item[0].rank)
    words = Counter(cell.word for cell in cells if cell.word)
    return Cell(
        worst(cells).state,
        counts=tuple((number, state) for state, number in ordered),
        detail=", ".join(f"{number} {word}" for word, number in words.most_common()),
    )
