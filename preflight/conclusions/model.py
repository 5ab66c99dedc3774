"""Causes, conclusions and rules: what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from preflight.conclusions.observations import Facts, Observation
from preflight.evidence import Fact, Key, clean
from preflight.impact import Impact


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of root cause.

    Attributes:
        name: its stable id, such as ``node-path-blocked``.
        section: the guide's section that it belongs to.
        source: the anchor in docs/sources.md of what it is known from.
        specialises: the names of more general causes.
    """

    name: str
    section: str
    source: str
    specialises: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Where its source is described, relative to the project."""
        return f"docs/sources.md#{self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A decisive observation: what it shows, and the command that reproduces it.

    Attributes:
        statement: one sentence with names and numbers.
        where: the vantage.
        command: a command that a person can paste.
        observed: what it printed.
        healthy: whether it shows what is well beside what is broken: a vantage that gets through, a resolver that
            answers.
    """

    statement: str
    where: str = ""
    command: str = ""
    observed: str = ""
    healthy: bool = False

    def __post_init__(self) -> None:
        # A secret may have become known since the evidence was made.
        for name in ("statement", "command", "observed"):
            object.__setattr__(self, name, clean(getattr(self, name)))

    @classmethod
    def of(cls, fact: Fact, statement: str = "", *, healthy: bool | None = None) -> Proof:
        """What a fact's evidence shows: the statement, or the fact's own cause.

        Args:
            fact: what was measured.
            statement: what it shows; without it, the fact's own cause.
            healthy: whether it shows what is well; by default, whether the fact has no fault.
        """
        evidence = fact.evidence
        text = statement or fact.cause or f"{fact.target}: nothing is wrong"
        return cls(
            statement=text,
            where=evidence.where,
            command=evidence.command,
            observed=evidence.observed,
            healthy=fact.fault is None if healthy is None else healthy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """One root cause in this environment.

    Attributes:
        cause: its kind.
        about: the targets concerned, by their names in the inventory: workers, resolvers, images, …; may be empty.
        sentence: what is broken and where, in one sentence with names and numbers.
        certain: whether the facts leave no other cause; otherwise it is likely.
        settled_by: what would settle it; empty where it is certain.
        impact: what it does to jobs.
        explains: the observations that it explains.
        proofs: the decisive observations, side by side.
        remedy: what to do, a step each, with this environment's own names.
        consequences: conclusions that follow from this one, and that it explains as well.
    """

    cause: Cause
    sentence: str
    certain: bool
    impact: Impact
    explains: tuple[Key, ...]
    about: tuple[str, ...] = ()
    settled_by: str = ""
    proofs: tuple[Proof, ...] = ()
    remedy: tuple[str, ...] = ()
    consequences: tuple[Conclusion, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "impact", replace(self.impact, jobs=clean(self.impact.jobs)))
        object.__setattr__(self, "sentence", clean(self.sentence, longest=1200))
        object.__setattr__(self, "remedy", tuple(clean(step) for step in self.remedy))

    @property
    def name(self) -> str:
        """Its cause's id."""
        return self.cause.name

    @property
    def confidence(self) -> str:
        """``certain`` or ``likely``."""
        return "certain" if self.certain else "likely"


CAUSES: dict[str, Cause] = {}
"""Every kind of root cause by name."""

Rule = Callable[[Facts], Iterable[Conclusion]]
RULES: list[Rule] = []
"""Every rule, in the order in which they run: what one has explained, a later one leaves alone."""


def cause(name: str, section: str, source: str, *, specialises: str | tuple[str, ...] = ()) -> Cause:
    """Declare a kind of root cause; see `Cause`. A ValueError says that the name is taken."""
    general = (specialises,) if isinstance(specialises, str) else specialises
    if name in CAUSES:
        raise ValueError(f"two causes are called {name}")
    declared = CAUSES[name] = Cause(name, section, source, general)
    return declared


def rule(function: Rule) -> Rule:
    """Make a function a rule."""
    RULES.append(function)
    return function


def check_lineages() -> None:
    """Check that every cause that another one specialises is declared; to be called when all of them are.

    Raises:
        ValueError: a name that is no cause.
    """
    for declared in CAUSES.values():
        for general in declared.specialises:
            if general not in CAUSES:
                raise ValueError(f"cause {declared.name} specialises {general}, which is no cause")


def lineage(name: str) -> Iterator[str]:
    """A cause's name, and those of the more general causes."""
    yield name
    for general in CAUSES[name].specialises if name in CAUSES else ():
        yield from lineage(general)


def keys(observations: Iterable[Observation]) -> tuple[Key, ...]:
    """The keys of these observations."""
    return tuple(observation.key for observation in observations)
