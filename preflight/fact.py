"""What a fact is: one measurement, declared by the function that makes it, and the catalogue of all of them.

A fact is a function decorated with `fact` (preflight/facts/). Its parameters say what it needs: other facts, targets
of the inventory (`TARGETS`), the `inventory` or the `run`. `view` declares one that judges a part of another fact.
Whatever a declaration names is checked: what it says of its own parameters at once, names of other facts by
`check_references`, as soon as all facts are declared. The engine that measures is in preflight/survey.py.
"""

from __future__ import annotations

import difflib
import enum
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, overload

from preflight.evidence import FactName
from preflight.inventory import OTHER_NODES, Inventory
from preflight.sizes import OPTIONS, SCENARIOS


class Effect(enum.StrEnum):
    """What measuring does to the world, from least to most."""

    STATIC = "static"  # reads files
    READ = "read"  # reads APIs, names, pages
    PROBE = "probe"  # makes pods, pulls images on nodes
    PRIVILEGED = "privileged"  # makes privileged pods
    WRITE = "write"  # starts a pipeline, pushes an image

    @property
    def rank(self) -> int:
        """Place in the order above."""
        return list(Effect).index(self)


TARGETS: dict[str, Callable[[Inventory], list[str]]] = {
    "node": lambda inventory: list(inventory.individual_nodes),
    "pool": lambda inventory: [*inventory.cluster.pools, *([OTHER_NODES] if inventory.other_nodes else [])],
    "worker": lambda inventory: list(inventory.workers),
    "resolver": lambda inventory: list(inventory.dns.resolvers),
    "registry": lambda inventory: list(inventory.registries),
    "image": lambda inventory: list(inventory.images),
    "repository": lambda inventory: list(inventory.repositories),
    "destination": lambda inventory: list(dict.fromkeys(inventory.destinations)),
    "option": lambda _: list(OPTIONS),
    "scenario": lambda _: list(SCENARIOS),
    "variable": lambda inventory: [] if inventory.pipeline == "none" else list(inventory.pipeline.variables),
}
"""Kinds of targets by parameter name, and which targets of that kind an inventory has."""

_CONTEXT = frozenset({"inventory", "run"})  # parameters that are neither facts nor targets

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
S = TypeVar("S")
Targets = Mapping[str, str]
TargetSelector = Callable[[Inventory, Targets], str | None]
"""From a fact's own targets, the one target for which it needs another fact; None if it needs none."""


class FactError(TypeError):
    """A fact is declared with a reference to something that does not exist; the message names the nearest that does."""


@dataclass(frozen=True)
class FactSpec(Generic[V_co]):
    """How a fact is measured; made by `fact` and `view`. Rules and pages refer to a fact by this value.

    Attributes:
        name: the fact's name, which checks and other facts take it by.
        title: what is measured, one sentence without its full stop; messages begin with it.
        parameters: what the function takes, by name.
        after: facts that must be measured and free of faults first, although the function does not take them.
        fan_in: needed facts that are taken for every target of a kind, as a tuple.
        for_target: needed facts that are taken for one target, which follows from the fact's own targets.
        tolerates: needed facts that may be faulty.
        optional: needed facts that may be faulty or missing.
        reported_by: facts whose checks report it when this one can't be measured, because no check takes it itself.
        own_effect: what measuring it does to the world, without what it needs.
        deadline: the key of `deadlines:` that bounds it; several, joined by a plus, where steps follow each other.
        group: measurements of one group are bounded in number; one that yields counts until all that takes it is
            measured, and is cleaned up then, not at the end of the run.
        secret: whether it reads secrets, which must be known before any result is shown.
    """

    name: str
    function: Callable[..., Any]
    title: str
    parameters: tuple[str, ...]
    after: tuple[str, ...]
    fan_in: Mapping[str, str]
    for_target: Mapping[str, tuple[str, TargetSelector]]
    tolerates: frozenset[str]
    optional: frozenset[str]
    reported_by: frozenset[str]
    own_effect: Effect
    deadline: str
    group: str | None
    secret: bool = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Measure with these arguments, as tests do."""
        return self.function(*arguments, **named)

    def __str__(self) -> str:
        return self.name

    def limit(self, inventory: Inventory) -> float:
        """Seconds that measuring it may take."""
        return sum(float(getattr(inventory.deadlines, key)) for key in self.deadline.split("+"))

    @functools.cached_property
    def needs(self) -> tuple[str, ...]:
        """The facts that it needs, in the order in which they block it; a FactError names what is no fact."""
        taken = tuple(name for name in self.parameters if name not in TARGETS and name not in _CONTEXT)
        for name in (*self.after, *taken):
            _require_fact(name, f"fact {self.name}")
        return tuple(dict.fromkeys((*self.after, *taken)))

    @functools.cached_property
    def targets(self) -> tuple[str, ...]:
        """Kinds of its targets, its own and those of what it needs."""
        chosen = {**self.fan_in, **{need: kind for need, (kind, _) in self.for_target.items()}}
        direct = [name for name in self.parameters if name in TARGETS]
        inherited = [kind for need in self.needs for kind in CATALOGUE[need].targets if kind != chosen.get(need)]
        return tuple(dict.fromkeys([*direct, *inherited]))

    @functools.cached_property
    def effect(self) -> Effect:
        """The most that it and what it needs do to the world, without the needs that are optional."""
        effects = [self.own_effect, *(CATALOGUE[need].effect for need in self.needs if need not in self.optional)]
        return max(effects, key=lambda effect: effect.rank)


CATALOGUE: dict[str, FactSpec[Any]] = {}
"""Every fact by name."""


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[..., Iterator[V]]) -> FactSpec[V]: ...
    @overload
    def __call__(self, function: Callable[..., V]) -> FactSpec[V]: ...


def fact(
    *,
    effect: str = Effect.READ,
    deadline: str = "http",
    after: tuple[str, ...] = (),
    tolerates: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    reported_by: tuple[str, ...] = (),
    fan_in: Mapping[str, str] | None = None,
    for_target: Mapping[str, tuple[str, TargetSelector]] | None = None,
    group: str | None = None,
    secret: bool = False,
) -> _Decorator:
    """Make a function a fact; a check that has an argument of its name takes its result.

    Args:
        effect: what measuring it does to the world.
        deadline: the key under `deadlines:` that bounds it; several, with a plus, where steps follow each other.
        after: facts that come first, and block this one where they are faulty, although it does not take them.
        tolerates: needed facts that it can use although they are faulty.
        optional: needed facts without which it can be measured: it takes None where there is nothing, and the fact,
            faulty or not, where there is. One whose effect is above the run's ceiling is not measured for it.
        reported_by: facts whose checks report it, where no check takes it: if it could not be measured, they could
            not either, and what needs it is blocked by their checks.
        fan_in: needed facts of which it takes all, as a tuple: name of the fact → kind of target.
        for_target: needed facts of one target that follows from its own: name of the fact → kind of target, and which
            one. Where there is none, it takes None.
        group: measurements of one group are bounded in number (`Survey`'s `at_once`); one that yields counts until all
            that takes it is measured, and is resumed then, not at the end of the run.
        secret: whether it reads secrets: no result is handed to a check before they are known, to be redacted there.

    Raises:
        FactError: a declaration names something that the function does not take, or a kind of target that is none.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        code = function.__code__
        return _declare(
            FactSpec(
                name=function.__name__,
                function=function,
                title=_title(function.__doc__ or function.__name__),
                parameters=code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
                after=after,
                fan_in=dict(fan_in or {}),
                for_target=dict(for_target or {}),
                tolerates=frozenset(tolerates),
                optional=frozenset(optional),
                reported_by=frozenset(reported_by),
                own_effect=Effect(effect),
                deadline=deadline,
                group=group,
                secret=secret,
            )
        )

    return decorate


def view(
    name: str,
    source: FactSpec[S],
    judge: Callable[[S], V],
    summary: str,
    *,
    after: tuple[str, ...] = (),
    reported_by: tuple[str, ...] = (),
) -> FactSpec[V]:
    """Declare a fact that judges a part of another one, faulty or not, in one row.

    Args:
        name: the new fact's name.
        source: the fact of which it judges a part.
        judge: makes the new fact of the source's value; it measures nothing.
        summary: one sentence: what is judged.
        after: facts that come first, as in `fact`.
        reported_by: facts whose checks report it, as in `fact`.
    """

    def function(**taken: S) -> V:
        return judge(taken[source.name])

    function.__name__, function.__doc__ = name, summary
    return _declare(
        FactSpec(
            name=name,
            function=function,
            title=_title(summary),
            parameters=(source.name,),
            after=after,
            fan_in={},
            for_target={},
            tolerates=frozenset({source.name}),
            optional=frozenset(),
            reported_by=frozenset(reported_by),
            own_effect=Effect.STATIC,
            deadline="http",
            group=None,
        )
    )


def _title(text: str) -> str:
    return text.strip().split("\n", 1)[0].rstrip(".")


def _declare(spec: FactSpec[V]) -> FactSpec[V]:
    """Enter a fact into the catalogue, once its references to its own parameters are checked."""
    declared = {*spec.parameters, *spec.after}
    for knob in ("tolerates", "optional", "fan_in", "for_target"):
        for name in getattr(spec, knob):
            if name not in declared:
                raise FactError(
                    f"fact {spec.name}: {knob} names {name}, which it does not take{_nearest(name, declared)}"
                )
    for kind in (*spec.fan_in.values(), *(kind for kind, _ in spec.for_target.values())):
        if kind not in TARGETS:
            raise FactError(f"fact {spec.name}: {kind} is no kind of target{_nearest(kind, TARGETS)}")
    if redundant := set(spec.parameters) & set(spec.after):
        raise FactError(f"fact {spec.name}: takes {', '.join(sorted(redundant))} and names it in after as well")
    CATALOGUE[spec.name] = spec
    return spec


def check_references() -> None:
    """Check every name by which a fact refers to another one; to be called when all of them are declared.

    Raises:
        FactError: a name that is no fact: of a parameter, in `after` or `reported_by`, or a member of a `FactName`.
    """
    for spec in CATALOGUE.values():
        _ = spec.needs
        for name in spec.reported_by:
            _require_fact(name, f"fact {spec.name}: reported_by")
    for names in FactName.__subclasses__():
        for member in names:
            _require_fact(member, f"{names.__name__}.{member.name}")


def _require_fact(name: str, where: str) -> None:
    if name not in CATALOGUE:
        raise FactError(f"{where}: {name} is neither a fact nor a kind of target{_nearest(name, CATALOGUE)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def reporters_of(name: str) -> frozenset[str]:
    """The fact itself, and every fact whose check reports it where it could not be measured."""
    reporters, pending = {name}, [name]
    while pending:
        spec = CATALOGUE.get(pending.pop())
        further = (spec.reported_by if spec is not None else frozenset()) - reporters
        reporters |= further
        pending.extend(further)
    return frozenset(reporters)
