"""Vantages side by side: which of them reach a target, which do not, and which were not measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from preflight.conclusions.model import Proof
from preflight.conclusions.observations import Observation
from preflight.faults import Fault

_NAMED = 5  # targets that are named; the rest is counted


@dataclass(frozen=True, slots=True)
class VantageGroup:
    """The observations of one target from one kind of vantage: here, the workers, or the pods.

    Attributes:
        reached: those that got through, whatever then answered.
        failed: those that did not.
        unmeasured: those that could not be made, or were not planned.
    """

    reached: tuple[Observation, ...] = ()
    failed: tuple[Observation, ...] = ()
    unmeasured: tuple[Observation, ...] = ()

    @classmethod
    def of(cls, observations: Iterable[Observation], failing: Callable[[Observation], bool]) -> VantageGroup:
        """Sort observations by whether they failed in the given way."""
        observed = tuple(observations)
        return cls(
            reached=tuple(
                observation for observation in observed if observation.measured is not None and not failing(observation)
            ),
            failed=tuple(
                observation for observation in observed if observation.measured is not None and failing(observation)
            ),
            unmeasured=tuple(observation for observation in observed if observation.measured is None),
        )

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.reached) + len(self.failed) + len(self.unmeasured)

    @property
    def all_failed(self) -> bool:
        """Whether every vantage was measured from, and failed."""
        return bool(self.failed) and not self.reached and not self.unmeasured

    @property
    def mixed(self) -> bool:
        """Whether some got through and some did not."""
        return bool(self.failed) and bool(self.reached)

    def proof(self, noun: str, verb: str = "reached") -> Proof | None:
        """A sentence with the count, and the evidence of the first one."""
        chosen, described = (self.failed, faults_of(self.failed)) if self.failed else (self.reached, verb)
        if not chosen or chosen[0].measured is None:
            return None
        if not self.failed and (other_faults := faults_of(chosen)):  # it got through, to something that is wrong
            described = f"{verb}, {other_faults}"
        counted = f"{'from ' if noun == 'here' else ''}{tally(len(chosen), self.size, noun)}"
        statement = f"{counted}: {described}"
        if self.unmeasured:
            statement += f" ({len(self.unmeasured)} not measured)"
        return Proof.of(chosen[0].measured, statement, healthy=not self.failed and not faults_of(chosen))


def proofs(*candidates: Proof | None) -> tuple[Proof, ...]:
    """The proofs without the missing ones."""
    return tuple(proof for proof in candidates if proof is not None)


def faults_of(observations: Sequence[Observation]) -> str:
    """The faults of these observations, such as ``timeout``."""
    return ", ".join(
        dict.fromkeys(str(observation.fault) for observation in observations if observation.fault is not None)
    )


def tally(number: int, size: int, noun: str) -> str:
    """``3 of 3 workers``; a single one without numbers."""
    if size == 1:
        return noun
    return f"{number} of {size} {noun}s"


def joined(names: Iterable[str], *, longest: int = _NAMED) -> str:
    """``a, b and c``; beyond `longest`, the rest is counted."""
    unique = list(dict.fromkeys(names))
    if len(unique) > longest:
        return f"{', '.join(unique[:longest])} and {len(unique) - longest} more"
    return " and ".join([", ".join(unique[:-1]), unique[-1]] if len(unique) > 1 else unique)


def targets_of(observations: Iterable[Observation], kind: str) -> tuple[str, ...]:
    """The targets of that kind, each once."""
    return tuple(
        dict.fromkeys(observation.targets[kind] for observation in observations if kind in observation.targets)
    )


def has_fault(*faults: Fault) -> Callable[[Observation], bool]:
    """Whether an observation has one of these faults; compared by enum too, since values are shared."""
    wanted = {(type(fault), fault) for fault in faults}
    return lambda observation: observation.fault is not None and (type(observation.fault), observation.fault) in wanted
