"""Headroom bars: what is requested on each node, how many more jobs fit, and which resource runs out first."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from preflight.conclusions.observations import Facts
from preflight.evidence import NotApplicable
from preflight.facts.cluster import cluster_nodes
from preflight.facts.headroom import headroom as headroom_fact
from preflight.pages.cells import Cell, State, cell_of, value_of
from preflight.pages.matrix import MOST, mark
from preflight.probes.cluster import Node, Nodes
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.quantities import amounts, spell

_SINGLE = 40  # job pods that are drawn one by one; more would be hatching
_WIDTH = 1000  # units of a bar


@dataclass(frozen=True, slots=True)
class Bar:
    """One resource of one node.

    Attributes:
        resource: such as ``cpu``.
        whole: the node's allocatable amount.
        used: what the pods there request.
        job: what one job's pod requests.
        fits: how many of those are drawn.
        scarce: whether it runs out first.
    """

    resource: str
    whole: Decimal
    used: Decimal
    job: Decimal
    fits: int
    scarce: bool


def section(facts: Facts) -> str:
    """The bars as HTML; "" where headroom does not apply to this run."""
    observation = facts.get(headroom_fact)
    if observation is None or isinstance(observation.error, NotApplicable):
        return ""
    headroom = value_of(observation, Headroom)
    if headroom is None:
        cell = cell_of(observation)
        return f"<p>{mark(cell)} {html.escape(cell.detail)}</p>"
    return summary(headroom) + _rooms(headroom, value_of(facts.get(cluster_nodes), Nodes))


def summary(headroom: Headroom) -> str:
    """How many of the wanted jobs fit, in a sentence."""
    state = State.FAULT if headroom.fault else State.OK
    size = ", ".join(f"{name} {spell(name, amount)}" for name, amount in _job(headroom).items()) or "nothing"
    text = f"{headroom.fits} of {headroom.wanted} concurrent jobs fit; there is room for {headroom.capacity}."
    if headroom.runs_out:
        text += f" What runs out first: {headroom.runs_out}."
    if headroom.quota_limit is not None:
        text += f" The namespace's quota allows {headroom.quota_limit}."
    if headroom.unsized:
        text += " The job's pod has no requests, so this counts pods only and means little."
    return (
        f"<p>{mark(Cell(state, str(headroom.fault or '')))} {html.escape(text)} One job requests "
        f"{html.escape(size)}.</p>"
    )


def _job(headroom: Headroom) -> Mapping[str, Decimal]:
    requests = sorted(amounts(headroom.requests).items())
    return {name: amount for name, amount in requests if name != "pods" and amount > 0}


def _rooms(headroom: Headroom, nodes: Nodes | None) -> str:
    rooms = sorted(headroom.by_node, key=lambda room: not room.eligible)
    left = ""
    if len(rooms) > MOST + 2:
        rooms.sort(key=lambda room: (not room.eligible, room.fits, room.node))
        rest = rooms[MOST:]
        rooms = rooms[:MOST]
        places = sum(room.fits for room in rest if room.eligible)
        barred = sum(not room.eligible for room in rest)
        left = f"and {len(rest)} more nodes: {places} jobs fit there" + (f"; {barred} take no jobs" if barred else "")
    rows = "".join(_row(room, bars(room, nodes.named(room.node) if nodes else None, headroom)) for room in rooms)
    rest_row = f'<tr><th scope="row" colspan="3">{html.escape(left)}</th></tr>' if left else ""
    return (
        '<div class="pf-scroll" tabindex="0" role="group" aria-label="Headroom">'
        '<table class="pf-rooms"><caption>What is requested on each node, and the jobs that still fit</caption>'
        '<thead><tr><th scope="col">node</th><th scope="col">jobs that fit</th><th scope="col">'
        f"{_key()}</th></tr></thead><tbody>{rows}{rest_row}</tbody></table></div>"
    )


def _key() -> str:
    colours = (("used", "requested now"), ("job", "a job that fits"), ("free", "left over"))
    return " ".join(
        f'<span class="pf-key"><svg class="pf-swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect class="pf-bar-{kind}" width="10" height="10"/></svg>{words}</span>'
        for kind, words in colours
    )


def bars(room: NodeRoom, node: Node | None, headroom: Headroom) -> tuple[Bar, ...]:
    """The bars of one node: one for each resource that a job requests and that the node is known to have."""
    whole, free = amounts(node.allocatable) if node is not None else {}, amounts(room.free)
    return tuple(
        Bar(name, whole[name], whole[name] - free.get(name, Decimal(0)), job, room.fits, name == room.limited_by)
        for name, job in _job(headroom).items()
        if whole.get(name, Decimal(0)) > 0
    )


def _row(room: NodeRoom, drawn: tuple[Bar, ...]) -> str:
    name = f'<th scope="row">{html.escape(room.node)}</th>'
    if not room.eligible:
        return f'<tr>{name}<td class="pf-none">takes no jobs</td><td>{html.escape(room.why_not)}</td></tr>'
    count = f"<b>{room.fits}</b>" if room.fits else mark(Cell(State.FAULT, "0"))
    # What the bars do not show (pods, or a size that is not known) is named beside them.
    shown = {bar.resource for bar in drawn}
    scarce = f"<small>{html.escape(room.limited_by)} runs out first</small>" if room.limited_by not in shown else ""
    return f"<tr>{name}<td>{count}</td><td>{''.join(_drawn(bar) for bar in drawn)}{scarce}</td></tr>"


def _drawn(bar: Bar) -> str:
    def place(amount: Decimal) -> int:
        return max(0, min(_WIDTH, round(amount / bar.whole * _WIDTH)))

    begin = place(bar.used)
    parts = [f'<rect class="pf-bar-free" width="{_WIDTH}" height="10"/>']
    parts.append(f'<rect class="pf-bar-used" width="{begin}" height="10"/>')
    if bar.fits > _SINGLE:
        parts.append(_block(begin, place(bar.used + bar.fits * bar.job)))
    else:
        parts += [
            _block(place(bar.used + number * bar.job), place(bar.used + (number + 1) * bar.job))
            for number in range(bar.fits)
        ]
    words = (
        f"{bar.resource}: {spell(bar.resource, bar.used)} of {spell(bar.resource, bar.whole)} requested, "
        f"{bar.fits} more of {spell(bar.resource, bar.job)} fit"
    )
    scarce = " <b>runs out first</b>" if bar.scarce else ""
    return (
        f'<div class="pf-room"><svg viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg><span>{html.escape(words)}{scarce}</span></div>"
    )


def _block(begin: int, end: int) -> str:
    gap = 3 if end - begin > 6 else 1  # noqa: PLR2004 - neighbouring jobs stay distinguishable
    return f'<rect class="pf-bar-job" x="{begin + gap // 2}" width="{max(1, end - begin - gap)}" height="10"/>'
