"""Vantages side by side: which of them reach a thing, which do not, and which were not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from preflight.conclusions.drawing import Proof
from preflight.conclusions.facts import Look
from preflight.faults import Fault

_NAMED = 5  # targets that are named; the rest is counted


@dataclass(frozen=True, slots=True)
class Ring:
    """The looks of one kind of vantage (here, the workers, the pods) at one thing.

    Attributes:
        reached: those that came through, whatever then answered.
        failed: those that did not.
        unseen: those that were to look and could not, or were not asked.
    """

    reached: tuple[Look, ...] = ()
    failed: tuple[Look, ...] = ()
    unseen: tuple[Look, ...] = ()

    @classmethod
    def of(cls, looks: Iterable[Look], failing: Callable[[Look], bool]) -> Ring:
        """Sort looks by whether they failed in the way that is asked for."""
        every = tuple(looks)
        return cls(
            reached=tuple(one for one in every if one.seen is not None and not failing(one)),
            failed=tuple(one for one in every if one.seen is not None and failing(one)),
            unseen=tuple(one for one in every if one.seen is None),
        )

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.reached) + len(self.failed) + len(self.unseen)

    @property
    def all_failed(self) -> bool:
        """Whether every one was looked from, and failed."""
        return bool(self.failed) and not self.reached and not self.unseen

    @property
    def mixed(self) -> bool:
        """Whether some came through and some did not."""
        return bool(self.failed) and bool(self.reached)

    def proof(self, noun: str, verb: str = "reached") -> Proof | None:
        """One sentence that counts, with the look of the first one."""
        chosen, words = (self.failed, None) if self.failed else (self.reached, verb)
        if not chosen or chosen[0].seen is None:
            return None
        said = f"{'from ' if noun == 'here' else ''}{counted(len(chosen), self.size, noun)}: {words or met(chosen)}"
        if self.unseen:
            said += f" ({len(self.unseen)} not looked at)"
        return Proof.of(chosen[0].seen, said)


def proofs(*found: Proof | None) -> tuple[Proof, ...]:
    """Those that there are."""
    return tuple(one for one in found if one is not None)


def met(looks: Sequence[Look]) -> str:
    """What these looks met, such as ``timeout``."""
    return ", ".join(dict.fromkeys(str(one.fault) for one in looks if one.fault is not None))


def counted(number: int, size: int, noun: str) -> str:
    """``3 of 3 workers``; a single one is named without numbers."""
    if size == 1:
        return noun
    return f"{number} of {size} {noun}s"


def listed(names: Iterable[str], *, longest: int = _NAMED) -> str:
    """``a, b and c``; where there are too many, the rest is counted."""
    every = list(dict.fromkeys(names))
    if len(every) > longest:
        return f"{', '.join(every[:longest])} and {len(every) - longest} more"
    return " and ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)


def targets_of(looks: Iterable[Look], kind: str) -> tuple[str, ...]:
    """The targets of that kind, each once."""
    return tuple(dict.fromkeys(one.targets[kind] for one in looks if kind in one.targets))


def has(*faults: Fault) -> Callable[[Look], bool]:
    """Whether a look met one of these faults; compared by enum too, since words are shared."""
    wanted = {(type(one), one) for one in faults}
    return lambda look: look.fault is not None and (type(look.fault), look.fault) in wanted
