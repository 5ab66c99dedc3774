"""A matrix of cells, cut to a size that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from preflight.pages.cells import Cell, State, together
from preflight.pages.texts import Text

MOST = 12
"""Lines of one group that are shown one by one; where there are more, the worst are."""
_SLACK = 2  # a summary of so few lines would save nothing


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a row or column.

    Attributes:
        text: its name.
        beside: a second, smaller line.
        group: what it stands under; lines of a group follow each other.
    """

    text: str
    beside: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Rows, columns and a cell for each pair.

    Attributes:
        caption: what it shows, a sentence.
        corner: what the rows are.
        rows: heads of the rows.
        columns: heads of the columns.
        cells: a sequence of cells for each row.
        bands: whether each group of rows stands under a line with its name.
    """

    caption: str
    corner: str
    rows: tuple[Head, ...]
    columns: tuple[Head, ...]
    cells: tuple[tuple[Cell, ...], ...]
    bands: bool = False

    @property
    def looked_at(self) -> bool:
        """Whether anything in it was looked at."""
        return any(cell.state.looked_at for line in self.cells for cell in line)

    @property
    def calm(self) -> bool:
        """Whether nothing in it is faulty, or could not be judged."""
        return all(cell.state.rank <= State.OK.rank for line in self.cells for cell in line)

    @property
    def column_groups(self) -> tuple[tuple[str, int], ...]:
        """The groups of columns, and how many columns each has."""
        return tuple((group, len(list(heads))) for group, heads in groupby(self.columns, key=lambda head: head.group))

    @property
    def firsts(self) -> tuple[bool, ...]:
        """Of each column, whether a group begins with it."""
        groups = [head.group for head in self.columns]
        return tuple(group != before for group, before in zip(groups, [None, *groups], strict=False))

    @property
    def row_groups(self) -> tuple[tuple[str, tuple[tuple[Head, tuple[Cell, ...]], ...]], ...]:
        """The groups of rows, each with its heads and cells."""
        lines = zip(self.rows, self.cells, strict=True)
        return tuple((group, tuple(members)) for group, members in groupby(lines, key=lambda line: line[0].group))


def turned(matrix: Matrix) -> Matrix:
    """Rows as columns, and columns as rows."""
    return replace(matrix, rows=matrix.columns, columns=matrix.rows, cells=tuple(zip(*matrix.cells, strict=True)))


def folded(matrix: Matrix, most: int = MOST) -> Matrix:
    """The matrix with no more than `most` rows of a group: the worst ones, and one line for all others."""
    heads: list[Head] = []
    cells: list[tuple[Cell, ...]] = []
    lines = list(zip(matrix.rows, matrix.cells, strict=True))
    for group, members in groupby(lines, key=lambda line: line[0].group):
        kept = list(members)
        if len(kept) > most + _SLACK:
            kept.sort(key=lambda line: _badness(line[1]), reverse=True)
            shown = [
                line for line in kept[:most] if any(cell.state.looked_at for cell in line[1])
            ]  # what was not measured need not be listed
            kept = [*shown, _summary(group, kept[len(shown) :])]
        heads += [head for head, _ in kept]
        cells += [line for _, line in kept]
    return replace(matrix, rows=tuple(heads), cells=tuple(cells))


def _badness(line: Sequence[Cell]) -> tuple[int, int]:
    worst = max((cell.state.rank for cell in line), default=0)
    return worst, sum(cell.state.rank == worst for cell in line)


def _summary(group: str, lines: Sequence[tuple[Head, tuple[Cell, ...]]]) -> tuple[Head, tuple[Cell, ...]]:
    right = all(
        all(cell.state is State.OK or not cell.state.looked_at for cell in line)
        and any(cell.state is State.OK for cell in line)
        for _, line in lines
    )
    unmeasured = not any(cell.state.looked_at for _, line in lines for cell in line)
    more = Text("all healthy") if right else Text("not looked at") if unmeasured else ""
    head = Head(Text("and {count} more", count=len(lines)), more, group)
    return head, tuple(together(column) for column in zip(*(line for _, line in lines), strict=True))


def cut(matrix: Matrix, most: int = MOST) -> Matrix:
    """The matrix with no more than `most` rows and columns of a group."""
    return cut_across(folded(matrix, most), most)


def cut_across(matrix: Matrix, most: int = MOST) -> Matrix:
    """The matrix with no more than `most` columns of a group."""
    return turned(folded(turned(matrix), most))
