"""Headroom: what is requested on each node, how many more jobs fit, and which resource runs out first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from preflight.conclusions.observations import Facts
from preflight.evidence import NotApplicable
from preflight.facts.cluster import cluster_nodes
from preflight.facts.headroom import headroom as headroom_fact
from preflight.pages.cells import Cell, State, cell_of, value_of
from preflight.pages.matrix import MOST
from preflight.probes.cluster import Node, Nodes
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.quantities import amounts, spell

WIDTH = 1000
"""Units of a bar."""
_SINGLE = 40  # job pods that are drawn one by one; more would be hatching


@dataclass(frozen=True, slots=True)
class Bar:
    """One resource of one node, in quantities as Kubernetes writes them, and in units of a bar.

    Attributes:
        resource: such as ``cpu``.
        used: what the pods there request.
        whole: the node's allocatable amount.
        job: what one job's pod requests.
        fits: how many of those fit.
        scarce: whether it runs out first.
        requested: where the part that is requested ends.
        blocks: begin and width of each job that fits, or of all of them.
    """

    resource: str
    used: str
    whole: str
    job: str
    fits: int
    scarce: bool
    requested: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Room:
    """One node: how many jobs fit there, or why it takes none, and its bars.

    Attributes:
        node: its name.
        fits: how many jobs fit.
        why_not: why it takes no jobs; "" if it does.
        bars: one for each resource that a job requests and that the node is known to have.
        beside: what runs out first, where no bar shows it.
    """

    node: str
    fits: int
    why_not: str
    bars: tuple[Bar, ...]
    beside: str


@dataclass(frozen=True, slots=True)
class Rooms:
    """Headroom as the page shows it.

    Attributes:
        cell: its state; with a sentence where nothing is known.
        headroom: the fact; None where it is not known.
        job: what one job requests, such as ``cpu 1, memory 1Gi``.
        rooms: the nodes that are shown.
        more: how many nodes are not; how many jobs fit there, and how many of them take no jobs.
    """

    cell: Cell
    headroom: Headroom | None = None
    job: str = ""
    rooms: tuple[Room, ...] = ()
    more: tuple[int, int, int] = (0, 0, 0)


def rooms(facts: Facts) -> Rooms | None:
    """The headroom; None where it does not apply to this run, or was not looked at."""
    observation = facts.get(headroom_fact)
    if observation is None or isinstance(observation.error, NotApplicable):
        return None
    headroom = value_of(observation, Headroom)
    if headroom is None:
        return Rooms(cell_of(observation))
    nodes = value_of(facts.get(cluster_nodes), Nodes)
    by_node = sorted(headroom.by_node, key=lambda room: not room.eligible)
    rest: list[NodeRoom] = []
    if len(by_node) > MOST + 2:
        by_node.sort(key=lambda room: (not room.eligible, room.fits, room.node))
        by_node, rest = by_node[:MOST], by_node[MOST:]
    return Rooms(
        Cell(State.FAULT if headroom.fault else State.OK, str(headroom.fault or "")),
        headroom,
        ", ".join(f"{name} {spell(name, amount)}" for name, amount in _job(headroom).items()),
        tuple(_room(room, nodes.named(room.node) if nodes else None, headroom) for room in by_node),
        (len(rest), sum(room.fits for room in rest if room.eligible), sum(not room.eligible for room in rest)),
    )


def _job(headroom: Headroom) -> Mapping[str, Decimal]:
    requests = sorted(amounts(headroom.requests).items())
    return {name: amount for name, amount in requests if name != "pods" and amount > 0}


def _room(room: NodeRoom, node: Node | None, headroom: Headroom) -> Room:
    if not room.eligible:
        return Room(room.node, 0, room.why_not or "?", (), "")
    whole, free = amounts(node.allocatable) if node is not None else {}, amounts(room.free)
    bars = tuple(
        _bar(name, job, whole[name], free.get(name, Decimal(0)), room)
        for name, job in _job(headroom).items()
        if whole.get(name, Decimal(0)) > 0
    )
    # What the bars do not show (pods, or a size that is not known) is named beside them.
    return Room(room.node, room.fits, "", bars, "" if any(bar.scarce for bar in bars) else room.limited_by)


def _bar(name: str, job: Decimal, whole: Decimal, free: Decimal, room: NodeRoom) -> Bar:
    used = whole - free

    def place(amount: Decimal) -> int:
        return max(0, min(WIDTH, round(amount / whole * WIDTH)))

    ends = [place(used + number * job) for number in range(room.fits + 1)]
    if room.fits > _SINGLE:
        ends = [ends[0], ends[-1]]
    blocks = tuple(_block(begin, end) for begin, end in pairwise(ends))
    return Bar(
        resource=name,
        used=spell(name, used),
        whole=spell(name, whole),
        job=spell(name, job),
        fits=room.fits,
        scarce=name == room.limited_by,
        requested=place(used),
        blocks=blocks,
    )


def _block(begin: int, end: int) -> tuple[int, int]:
    gap = 3 if end - begin > 6 else 1  # noqa: PLR2004 - neighbouring jobs stay distinguishable
    return begin + gap // 2, max(1, end - begin - gap)
