"""Headroom bars: what is asked for on each node, how many more jobs fit beside it, and what runs out."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from preflight.conclusions.observations import Facts
from preflight.evidence import NotApplicable
from preflight.facts.cluster import cluster_nodes
from preflight.facts.headroom import headroom
from preflight.pages.cells import Cell, State, of_look, seen
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
        whole: what the node offers.
        used: what the pods there ask for.
        job: what one job's pod asks for.
        fits: how many of those are drawn.
        scarce: whether it is what runs out first.
    """

    resource: str
    whole: Decimal
    used: Decimal
    job: Decimal
    fits: int
    scarce: bool


def section(facts: Facts) -> str:
    """The bars as HTML; "" where headroom is no matter of this run."""
    observation = facts.get(headroom)
    if observation is None or isinstance(observation.error, NotApplicable):
        return ""
    found = seen(observation, Headroom)
    if found is None:
        cell = of_look(observation)
        return f"<p>{mark(cell)} {html.escape(cell.detail)}</p>"
    return summary(found) + _rooms(found, seen(facts.get(cluster_nodes), Nodes))


def summary(found: Headroom) -> str:
    """How many of the wanted jobs fit, in a sentence."""
    state = State.FAULT if found.fault else State.OK
    size = ", ".join(f"{name} {spell(name, amount)}" for name, amount in _job(found).items()) or "nothing"
    told = f"{found.fits} of {found.wanted} wanted jobs fit at once; there is room for {found.capacity}."
    if found.runs_out:
        told += f" What runs out first: {found.runs_out}."
    if found.quota_limit is not None:
        told += f" The namespace's quota allows {found.quota_limit}."
    if found.unsized:
        told += " The job's pod asks for nothing, so this counts pods only and means little."
    return (
        f"<p>{mark(Cell(state, str(found.fault or '')))} {html.escape(told)} One job asks for {html.escape(size)}.</p>"
    )


def _job(found: Headroom) -> Mapping[str, Decimal]:
    return {name: amount for name, amount in sorted(amounts(found.requests).items()) if name != "pods" and amount > 0}


def _rooms(found: Headroom, nodes: Nodes | None) -> str:
    rooms = sorted(found.by_node, key=lambda room: not room.eligible)
    left = ""
    if len(rooms) > MOST + 2:
        rooms.sort(key=lambda room: (not room.eligible, room.fits, room.node))
        rest = rooms[MOST:]
        rooms = rooms[:MOST]
        places = sum(room.fits for room in rest if room.eligible)
        barred = sum(not room.eligible for room in rest)
        left = f"and {len(rest)} more nodes: {places} jobs fit there" + (f"; {barred} take no jobs" if barred else "")
    rows = "".join(_row(room, bars(room, nodes.named(room.node) if nodes else None, found)) for room in rooms)
    rest_row = f'<tr><th scope="row" colspan="3">{html.escape(left)}</th></tr>' if left else ""
    return (
        '<div class="pf-scroll" tabindex="0" role="group" aria-label="Headroom">'
        '<table class="pf-rooms"><caption>What is asked for on each node, and the jobs that still fit</caption>'
        '<thead><tr><th scope="col">node</th><th scope="col">jobs that fit</th><th scope="col">'
        f"{_key()}</th></tr></thead><tbody>{rows}{rest_row}</tbody></table></div>"
    )


def _key() -> str:
    told = (("used", "asked for now"), ("job", "a job that fits"), ("free", "left over"))
    return " ".join(
        f'<span class="pf-key"><svg class="pf-swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect class="pf-bar-{kind}" width="10" height="10"/></svg>{words}</span>'
        for kind, words in told
    )


def bars(room: NodeRoom, node: Node | None, found: Headroom) -> tuple[Bar, ...]:
    """The bars of one node: one for each resource that a job asks for and the node's size is known of."""
    whole, free = amounts(node.allocatable) if node is not None else {}, amounts(room.free)
    return tuple(
        Bar(name, whole[name], whole[name] - free.get(name, Decimal(0)), job, room.fits, name == room.limited_by)
        for name, job in _job(found).items()
        if whole.get(name, Decimal(0)) > 0
    )


def _row(room: NodeRoom, drawn: tuple[Bar, ...]) -> str:
    name = f'<th scope="row">{html.escape(room.node)}</th>'
    if not room.eligible:
        return f'<tr>{name}<td class="pf-none">takes no jobs</td><td>{html.escape(room.why_not)}</td></tr>'
    count = f"<b>{room.fits}</b>" if room.fits else mark(Cell(State.FAULT, "0"))
    # What the bars do not show (pods, or a size that is not known) is still told.
    shown = {bar.resource for bar in drawn}
    told = f"<small>{html.escape(room.limited_by)} runs out first</small>" if room.limited_by not in shown else ""
    return f"<tr>{name}<td>{count}</td><td>{''.join(_drawn(bar) for bar in drawn)}{told}</td></tr>"


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
            _block(place(bar.used + one * bar.job), place(bar.used + (one + 1) * bar.job)) for one in range(bar.fits)
        ]
    words = (
        f"{bar.resource}: {spell(bar.resource, bar.used)} of {spell(bar.resource, bar.whole)} asked for, "
        f"{bar.fits} more of {spell(bar.resource, bar.job)} fit"
    )
    scarce = " <b>runs out first</b>" if bar.scarce else ""
    return (
        f'<div class="pf-room"><svg viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg><span>{html.escape(words)}{scarce}</span></div>"
    )


def _block(begin: int, end: int) -> str:
    gap = 3 if end - begin > 6 else 1  # noqa: PLR2004 - jobs stay told apart
    return f'<rect class="pf-bar-job" x="{begin + gap // 2}" width="{max(1, end - begin - gap)}" height="10"/>'
