"""A matrix of cells as an accessible HTML table, cut to a size that a person can read."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from preflight.pages.cells import Cell, State, together

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
            shown = [line for line in kept[:most] if _badness(line[1])[0]]  # what was not measured need not be listed
            kept = [*shown, _summary(group, kept[len(shown) :])]
        heads += [head for head, _ in kept]
        cells += [line for _, line in kept]
    return replace(matrix, rows=tuple(heads), cells=tuple(cells))


def _badness(line: Sequence[Cell]) -> tuple[int, int]:
    worst = max((cell.state.rank for cell in line), default=0)
    return worst, sum(cell.state.rank == worst for cell in line)


def _summary(group: str, lines: Sequence[tuple[Head, tuple[Cell, ...]]]) -> tuple[Head, tuple[Cell, ...]]:
    right = all(
        {cell.state for cell in line} <= {State.OK, State.NOT_MEASURED} and any(cell.state is State.OK for cell in line)
        for _, line in lines
    )
    unmeasured = all(cell.state is State.NOT_MEASURED for _, line in lines for cell in line)
    more = "all right" if right else "not measured" if unmeasured else ""
    head = Head(f"and {len(lines)} more", more, group)
    return head, tuple(together(column) for column in zip(*(line for _, line in lines), strict=True))


# ---- HTML -----------------------------------------------------------------------------------------------------------


def table(matrix: Matrix, *, most: int = MOST) -> str:
    """The matrix as HTML, in a box of its own that scrolls where the page is narrow; "" if nothing is in it."""
    if not matrix.rows or not matrix.columns:
        return ""
    cut = turned(folded(turned(folded(matrix, most)), most))
    return (
        '<div class="pf-scroll" tabindex="0" role="group" aria-label="' + html.escape(matrix.caption) + '">'
        f'<table class="pf-matrix"><caption>{html.escape(matrix.caption)}</caption>'
        f"<thead>{_column_heads(cut)}</thead>{_bodies(cut)}</table></div>"
    )


def _column_heads(matrix: Matrix) -> str:
    groups = [(group, len(list(members))) for group, members in groupby(matrix.columns, key=lambda head: head.group)]
    named = any(group for group, _ in groups)
    corner = f'<th scope="col"{" rowspan=2" if named else ""}>{html.escape(matrix.corner)}</th>'
    lower = "".join(
        f'<th scope="col"{_first(matrix.columns, place)}>{_head(head)}</th>'
        for place, head in enumerate(matrix.columns)
    )
    if not named:
        return f"<tr>{corner}{lower}</tr>"
    upper = "".join(
        f'<th scope="colgroup" class="pf-first" colspan="{size}">{html.escape(group)}</th>' for group, size in groups
    )
    return f"<tr>{corner}{upper}</tr><tr>{lower}</tr>"


def _bodies(matrix: Matrix) -> str:
    bodies = []
    lines = list(zip(matrix.rows, matrix.cells, strict=True))
    for group, members in groupby(lines, key=lambda line: line[0].group):
        band = ""
        if matrix.bands and group:
            width = len(matrix.columns) + 1
            band = (
                f'<tr class="pf-band"><th scope="rowgroup" colspan="{width}">'
                f"<span>{html.escape(group)}</span></th></tr>"
            )
        rows = "".join(
            f'<tr><th scope="row">{_head(head)}</th>'
            + "".join(_cell(cell, _first(matrix.columns, place)) for place, cell in enumerate(cells))
            + "</tr>"
            for head, cells in members
        )
        bodies.append(f"<tbody>{band}{rows}</tbody>")
    return "".join(bodies)


def _first(columns: Sequence[Head], place: int) -> str:
    """A class for the first column of a group."""
    return ' class="pf-first"' if place == 0 or columns[place - 1].group != columns[place].group else ""


def _head(head: Head) -> str:
    beside = f"<small>{html.escape(head.beside)}</small>" if head.beside else ""
    return f'<span class="pf-head">{html.escape(head.text)}{beside}</span>'


def _cell(cell: Cell, first: str) -> str:
    title = f' title="{html.escape(cell.detail)}"' if cell.detail else ""
    return f"<td{first}{title}>{mark(cell)}</td>"


def mark(cell: Cell) -> str:
    """A cell's sign, word and note."""
    state = cell.state
    word = html.escape(cell.word or state.word)
    if state is State.NOT_MEASURED and not cell.word:
        return (
            f'<span class="pf-none"><i aria-hidden="true">{state.sign}</i><span class="pf-heard">{word}</span></span>'
        )
    note = f" <small>{html.escape(cell.note)}</small>" if cell.note else ""
    return f'<span class="pf-{state.style}"><i aria-hidden="true">{state.sign}</i> {word}</span>{note}'


def legend() -> str:
    """What the signs mean."""
    meanings = {
        State.OK: "measured, and healthy",
        State.FAULT: "measured, and faulty: the word names the fault",
        State.UNKNOWN: "could not be measured",
        State.BLOCKED: "can't be judged because of an earlier fault",
        State.NOT_MEASURED: "not measured in this run, or not applicable",
    }
    shown = "".join(
        f'<span><span class="pf-{state.style}"><i aria-hidden="true">{state.sign}</i> '
        f"{'' if state is State.NOT_MEASURED else state.word}</span> {meaning}</span>"
        for state, meaning in meanings.items()
    )
    return f'<p class="pf-legend">{shown}</p>'
