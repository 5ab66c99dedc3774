"""The lab's faults: each has a name, a sentence, and one change to the world.

The names are for the operator who switches a fault on; no server ever sends one. A fault breaks what its sentence says
and nothing else, so that several can be combined.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lab.world import World

MODULES = (
    "environment",
    "gitlab",
    "token",
    "cluster",
    "paths",
    "dns",
    "registry",
    "packets",
    "certificates",
    "latency",
    "namespace",
    "values",
    "release",
    "runners",
    "dind",
    "headroom",
    "monitoring",
    "upgrade",
    "uninstall",
    "build",
)
"""The guide's sections that have faults, in its order; each is a module here and a marker of the checks."""
_known: dict[str, Injection] = {}


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault.

    Attributes:
        name: as `--lab-fault` takes it.
        sentence: what is broken, for the operator.
        section: marker of the guide's section it belongs to.
        change: breaks the world.
    """

    name: str
    sentence: str
    section: str
    change: Callable[[World], None]


class UnknownFaultError(ValueError):
    """No fault has this name; the message suggests similar ones and how to list all."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, list(known()), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ";"
        super().__init__(f"there is no fault {name!r}{hint} `python -m lab faults` lists all")


def fault(name: str, sentence: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register the decorated change of the world under a name; the sentence tells the operator what is broken."""

    def register(change: Callable[[World], None]) -> Callable[[World], None]:
        if name in _known:
            message = f"duplicate fault {name}"
            raise ValueError(message)
        _known[name] = Injection(name, sentence, change.__module__.rpartition(".")[2], change)
        return change

    return register


def known() -> dict[str, Injection]:
    """All faults by name, in the order of the guide's sections."""
    for module in MODULES:
        importlib.import_module(f"lab.faults.{module}")
    return dict(_known)


def check(names: Iterable[str]) -> None:
    """Raise `UnknownFaultError` for the first unknown name."""
    faults = known()
    for name in names:
        if name not in faults:
            raise UnknownFaultError(name)


def apply(world: World, names: Iterable[str]) -> None:
    """Apply these faults to the world, in this order, each once."""
    names = tuple(dict.fromkeys(names))
    check(names)
    for name in names:
        _known[name].change(world)
