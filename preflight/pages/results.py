"""The results of all checks by section, and at a glance by section and worker."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from preflight import guide
from preflight.pages.cells import Cell, State
from preflight.pages.document import Check, Report
from preflight.pages.matrix import Head, Matrix
from preflight.pages.texts import Text
from preflight.verdicts import Verdict, severity

_TARGETS = 24  # targets of one check, with one verdict and reason, that have rows of their own
_BLOCKED = 3  # the same of those that could not be judged
_STATES = {
    Verdict.FAIL: State.FAULT,
    Verdict.UNKNOWN: State.UNKNOWN,
    Verdict.BLOCKED: State.BLOCKED,
    Verdict.ADVICE: State.OK,
    Verdict.WAIVED: State.OK,
    Verdict.PASS: State.OK,
    Verdict.NOT_APPLICABLE: State.NOT_APPLICABLE,
}
_OPEN = frozenset({Verdict.FAIL, Verdict.UNKNOWN})
_NOT_JUDGED = frozenset({Verdict.BLOCKED, Verdict.NOT_APPLICABLE})
_SLUG = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Row:
    """A check for one target, or for many that all came to the same.

    Attributes:
        anchor: its id on the page, the same in every report.
        check: what it came to.
        worker: the worker that it is about, if any.
        folded: those for other targets that came to the same.
    """

    anchor: str
    check: Check
    worker: str = ""
    folded: tuple[Check, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether its details are shown at once."""
        return self.check.verdict in _OPEN


@dataclass(frozen=True, slots=True)
class Section:
    """A module of the guide.

    Attributes:
        anchor: its id on the page.
        title: its number and title.
        rows: its results, in the order in which they were judged.
        counts: how many checks have each verdict, the worst first.
    """

    anchor: str
    title: str
    rows: tuple[Row, ...]
    counts: tuple[tuple[Verdict, int], ...]

    @property
    def is_open(self) -> bool:
        """Whether something in it failed, or could not be judged."""
        return any(row.is_open for row in self.rows)


def anchor_of(check: Check) -> str:
    """A check's id on the page."""
    return _SLUG.sub("-", check.name).strip("-")


def anchors(sections: Iterable[Section]) -> dict[str, str]:
    """Where each result stands on the page, by its name: with others, if they came to the same."""
    return {
        check.name: row.anchor for section in sections for row in section.rows for check in (row.check, *row.folded)
    }


def sections(report: Report, workers: Sequence[str]) -> tuple[Section, ...]:
    """All results, by the guide's modules."""
    by_area: dict[str, list[Check]] = {}
    for check in report.checks:
        by_area.setdefault(check.area or check.section.rpartition(".")[0], []).append(check)
    return tuple(
        Section(_anchor(area), area, tuple(_rows(checks, workers)), _counts(checks)) for area, checks in by_area.items()
    )


def _anchor(area: str) -> str:
    return "section-" + _SLUG.sub("-", area.lower()).strip("-")


def _counts(checks: Iterable[Check]) -> tuple[tuple[Verdict, int], ...]:
    count = Counter(check.verdict for check in checks)
    return tuple(sorted(count.items(), key=lambda item: -severity(item[0])))


def _rows(checks: Sequence[Check], workers: Sequence[str]) -> Iterable[Row]:
    """A row for each result; what many targets of a check came to alike is folded into one."""
    for _, of_check in groupby(checks, key=lambda check: check.id):
        results = list(of_check)
        alike: dict[tuple[str, str], list[Check]] = {}
        for check in results:
            alike.setdefault(_alike(check), []).append(check)
        for check in results:
            same = alike[_alike(check)]
            folded = len(same) > (_BLOCKED if check.verdict in _NOT_JUDGED else _TARGETS)
            if not folded or check is same[0]:
                others = tuple(same[1:]) if folded else ()
                yield Row(anchor_of(check), check, "" if folded else worker_of(check, workers), others)


def _alike(check: Check) -> tuple[str, str]:
    """What results of one check are folded by: the fault of those that have one, else the reason."""
    return str(check.verdict), check.fault or check.reason


def worker_of(check: Check, workers: Iterable[str]) -> str:
    """The worker that a check is about; "" if it is about none, or about all."""
    named = check.targets.get("worker") or check.targets.get("node") or ""
    return named if named in workers else ""


def overview(sections: Sequence[Section], workers: Sequence[str], left_out: Collection[str]) -> Matrix:
    """Sections as rows; what concerns the whole environment, and each worker, as columns: every failure shows.

    Args:
        sections: the results.
        workers: the columns.
        left_out: the titles of sections of which something was not looked at.
    """
    columns = [Head(Text("environment")), *(Head(worker, group=Text("workers")) for worker in workers)]
    places = anchors(sections)
    by_title = {section.title: section for section in sections}
    titles = sorted({*by_title, *left_out}, key=_order)
    lines = []
    for title in titles:
        by_worker: dict[str, list[Check]] = {}
        for row in by_title[title].rows if title in by_title else ():
            for check in (row.check, *row.folded):
                by_worker.setdefault(worker_of(check, workers), []).append(check)
        lines.append(
            tuple(_cell(by_worker.get(worker, []), places, partial=title in left_out) for worker in ("", *workers))
        )
    return Matrix(
        caption=Text("The worst verdict of each section, for the environment and for each worker"),
        corner=Text("section"),
        rows=tuple(Head(title) for title in titles),
        columns=tuple(columns),
        cells=tuple(lines),
    )


def _order(title: str) -> int:
    """The place of a section in the guide; what is none of it comes last."""
    titles = list(guide.MODULES.values())
    return titles.index(title) if title in titles else len(titles)


def _cell(checks: Sequence[Check], places: Mapping[str, str], *, partial: bool) -> Cell:
    """The worst that was seen of a section's checks; what passes beside what is not applicable is healthy."""
    if not checks:
        return Cell(State.NOT_MEASURED if partial else State.NOT_APPLICABLE)
    state = max((_STATES[check.verdict] for check in checks), key=lambda seen: seen.rank)
    if state.rank <= State.OK.rank:
        accepted = next((check for check in checks if check.verdict in {Verdict.ADVICE, Verdict.WAIVED}), None)
        return Cell(state, Text(str(accepted.verdict)) if accepted else "", link=places[(accepted or checks[0]).name])
    worst = [check for check in checks if _STATES[check.verdict] is state]
    failed = Text("{count} of {all} failed", count=len(worst), all=len(checks))
    return Cell(state, failed if state is State.FAULT else "", detail=worst[0].title, link=places[worst[0].name])
