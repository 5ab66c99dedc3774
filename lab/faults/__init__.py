"""Everything that can be broken in the lab: each fault is a name, a sentence, and one change to the world.

The names are for the operator who switches a fault on; no server ever sends one. A fault breaks what its sentence says
and nothing else, so several can be switched on together.
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
    """One fault: what `--lab-fault` calls it, what is then the matter, and the change that makes it so."""

    name: str
    sentence: str
    section: str
    change: Callable[[World], None]


class UnknownFaultError(ValueError):
    """No fault has this name; the message says which ones come near and how to list all."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, list(known()), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ";"
        super().__init__(f"no fault is called {name!r}{hint} `python -m lab faults` lists all")


def fault(name: str, sentence: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register the decorated change of the world under a name; the sentence says what an operator would find."""

    def register(change: Callable[[World], None]) -> Callable[[World], None]:
        if name in _known:
            message = f"two faults are called {name}"
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
    """Raise `UnknownFaultError` for the first name that none has."""
    faults = known()
    for name in names:
        if name not in faults:
            raise UnknownFaultError(name)


def apply(world: World, names: Iterable[str]) -> None:
    """Break the world in these ways, in this order, each once."""
    names = tuple(dict.fromkeys(names))
    check(names)
    for name in names:
        _known[name].change(world)
