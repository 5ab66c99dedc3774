"""Vantages side by side: which of them reach a thing, which do not, and which were not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from preflight.conclusions.model import Proof
from preflight.conclusions.observations import Observation
from preflight.faults import Fault

_NAMED = 5  # targets that are named; the rest is counted


@dataclass(frozen=True, slots=True)
class VantageGroup:
    """The looks of one kind of vantage (here, the workers, the pods) at one thing.

    Attributes:
        reached: those that came through, whatever then answered.
        failed: those that did not.
        unseen: those that were to look and could not, or were not asked.
    """

    reached: tuple[Observation, ...] = ()
    failed: tuple[Observation, ...] = ()
    unmeasured: tuple[Observation, ...] = ()

    @classmethod
    def of(cls, observations: Iterable[Observation], failing: Callable[[Observation], bool]) -> VantageGroup:
        """Sort looks by whether they failed in the way that is asked for."""
        every = tuple(observations)
        return cls(
            reached=tuple(one for one in every if one.measured is not None and not failing(one)),
            failed=tuple(one for one in every if one.measured is not None and failing(one)),
            unmeasured=tuple(one for one in every if one.measured is None),
        )

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.reached) + len(self.failed) + len(self.unmeasured)

    @property
    def all_failed(self) -> bool:
        """Whether every one was looked from, and failed."""
        return bool(self.failed) and not self.reached and not self.unmeasured

    @property
    def mixed(self) -> bool:
        """Whether some came through and some did not."""
        return bool(self.failed) and bool(self.reached)

    def proof(self, noun: str, verb: str = "reached") -> Proof | None:
        """One sentence that counts, with the look of the first one."""
        chosen, words = (self.failed, None) if self.failed else (self.reached, verb)
        if not chosen or chosen[0].measured is None:
            return None
        said = f"{'from ' if noun == 'here' else ''}{tally(len(chosen), self.size, noun)}: {words or faults_of(chosen)}"
        if self.unmeasured:
            said += f" ({len(self.unmeasured)} not looked at)"
        return Proof.of(chosen[0].measured, said)


def proofs(*found: Proof | None) -> tuple[Proof, ...]:
    """Those that there are."""
    return tuple(one for one in found if one is not None)


def faults_of(observations: Sequence[Observation]) -> str:
    """What these looks met, such as ``timeout``."""
    return ", ".join(dict.fromkeys(str(one.fault) for one in observations if one.fault is not None))


def tally(number: int, size: int, noun: str) -> str:
    """``3 of 3 workers``; a single one is named without numbers."""
    if size == 1:
        return noun
    return f"{number} of {size} {noun}s"


def joined(names: Iterable[str], *, longest: int = _NAMED) -> str:
    """``a, b and c``; where there are too many, the rest is counted."""
    every = list(dict.fromkeys(names))
    if len(every) > longest:
        return f"{', '.join(every[:longest])} and {len(every) - longest} more"
    return " and ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)


def targets_of(observations: Iterable[Observation], kind: str) -> tuple[str, ...]:
    """The targets of that kind, each once."""
    return tuple(dict.fromkeys(one.targets[kind] for one in observations if kind in one.targets))


def has_fault(*faults: Fault) -> Callable[[Observation], bool]:
    """Whether a look met one of these faults; compared by enum too, since words are shared."""
    wanted = {(type(one), one) for one in faults}
    return lambda observation: observation.fault is not None and (type(observation.fault), observation.fault) in wanted
