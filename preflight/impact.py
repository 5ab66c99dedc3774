"""What a root cause does to jobs, and how bad that is."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

_NAMED = 4  # nodes that are named; the rest is counted


class Harm(enum.StrEnum):
    """How jobs suffer, the worst first."""

    STOPS = "stops"
    SLOWS = "slows"
    TAKES_ROOM = "takes room"
    REMOVES_RESERVE = "removes a reserve"
    NONE = "no harm to jobs"

    @property
    def meaning(self) -> str:
        """What happens to jobs, in one sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Harm.STOPS: "jobs do not start, or fail: all of them, those on some nodes, or those that need one thing, such as "
    "Docker-in-Docker or the images of one registry",
    Harm.SLOWS: "jobs succeed and take longer: one resolver of three does not answer, the cache is not reached",
    Harm.TAKES_ROOM: "jobs run as ever, and fewer of them at the same time: a node is out of service",
    Harm.REMOVES_RESERVE: "jobs run as ever until the next fault or change: one manager of three is down, Helm refuses "
    "an upgrade, a setting is ignored",
    Harm.NONE: "no job suffers: this machine alone is cut off, it is over, or the inventory expects something else. "
    "Where the facts don't show what happens to jobs, their impact is *not seen*",
}


class Breadth(enum.IntEnum):
    """How many jobs suffer, the most first."""

    ALL = 0
    KIND = 1  # those that need one thing, such as Docker-in-Docker or images of one registry
    NODES = 2  # those on some nodes


@dataclass(frozen=True, slots=True)
class Impact:
    """What a root cause does to jobs; made by the functions below.

    Attributes:
        harm: how they suffer.
        jobs: which jobs, such as ``jobs on k8s-worker-2``, or what is left, such as ``2 of 3 workers take jobs``.
        breadth: how many suffer.
        unseen: whether the facts do not show what happens to jobs: such a run is inconclusive.
        hides: whether it keeps the suite from judging something that may harm jobs: what it blocks stays open.
    """

    harm: Harm
    jobs: str
    breadth: Breadth = Breadth.ALL
    unseen: bool = False
    hides: bool = False

    def __str__(self) -> str:
        if self.unseen:
            return f"impact on jobs not seen: {self.jobs}"
        between = " " if self.harm in {Harm.STOPS, Harm.SLOWS} else ": "
        return f"{self.harm}{between}{self.jobs}"

    @property
    def rank(self) -> tuple[int, int, int]:
        """What to sort by: the worst first."""
        return list(Harm).index(self.harm), int(self.breadth), int(not self.unseen)

    def as_json(self) -> dict[str, str | bool]:
        """The impact as JSON."""
        return {"harm": str(self.harm), "jobs": self.jobs, "unseen": self.unseen}


ALL_JOBS = "all jobs"


def stops(jobs: str = ALL_JOBS) -> Impact:
    """Jobs of one kind do not start, or fail; by default all of them."""
    return Impact(Harm.STOPS, jobs, Breadth.ALL if jobs == ALL_JOBS else Breadth.KIND)


def stops_on(nodes: Collection[str], *, of: Collection[str], jobs: str = "jobs") -> Impact:
    """Jobs on these nodes fail; where they are all the nodes that run jobs, they fail everywhere."""
    return _on(Harm.STOPS, nodes, of, jobs)


def slows(jobs: str = ALL_JOBS) -> Impact:
    """Jobs take longer; by default all of them."""
    return Impact(Harm.SLOWS, jobs, Breadth.ALL if jobs == ALL_JOBS else Breadth.KIND)


def slows_on(nodes: Collection[str], *, of: Collection[str], jobs: str = "jobs") -> Impact:
    """Jobs on these nodes take longer."""
    return _on(Harm.SLOWS, nodes, of, jobs)


def takes_room(left: str) -> Impact:
    """Fewer jobs run at the same time."""
    return Impact(Harm.TAKES_ROOM, left)


def removes_reserve(what: str) -> Impact:
    """Jobs run as ever, until the next fault or change."""
    return Impact(Harm.REMOVES_RESERVE, what)


def none(why: str, *, hides: bool = False) -> Impact:
    """No job suffers; `hides` says that what it blocks may still harm some."""
    return Impact(Harm.NONE, why, hides=hides)


def unseen(why: str) -> Impact:
    """It can't be seen from here what happens to jobs."""
    return Impact(Harm.NONE, why, unseen=True, hides=True)


def _on(harm: Harm, nodes: Collection[str], workers: Collection[str], jobs: str) -> Impact:
    if not nodes or (workers and set(nodes) >= set(workers)):
        everywhere = ALL_JOBS if jobs == "jobs" else jobs
        return Impact(harm, everywhere, Breadth.ALL if jobs == "jobs" else Breadth.KIND)
    names = list(dict.fromkeys(nodes))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return Impact(harm, f"{jobs} on {', '.join(names[:_NAMED])}{more}", Breadth.NODES)
