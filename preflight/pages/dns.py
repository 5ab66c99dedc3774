"""The matrices of resolver, name and vantage: who answers what to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from preflight.conclusions.observations import Facts, Observation
from preflight.pages.cells import Cell, State, duration, of_look, seen
from preflight.pages.matrix import Head, Matrix
from preflight.probes.dns import Lookups

_ASKED = {"": "here_lookups", "node": "node_lookups", "pod": "pod_lookups"}
_OWN = {"in Docker-in-Docker": "dind_lookups", "in a container inside of it": "dind_inner_lookups"}


def matrix(facts: Facts) -> Matrix:
    """Resolvers and names as rows, the vantages that asked them as columns."""
    names, resolvers = facts.inventory.dns.names, facts.inventory.dns.resolvers
    columns = [
        one
        for one in _columns(_ASKED, facts.inventory.workers)
        if any(_observation(facts, one, resolver=resolver) for resolver in resolvers)
    ]
    rows = [(resolver, name) for resolver in resolvers for name in names]
    return Matrix(
        caption="What each resolver answers to each vantage",
        corner="name",
        rows=tuple(Head(name, group=f"resolver {resolver}") for resolver, name in rows),
        columns=tuple(columns),
        cells=tuple(
            tuple(of_answer(_observation(facts, one, resolver=resolver), name) for one in columns)
            for resolver, name in rows
        ),
        bands=True,
    )


def inner(facts: Facts) -> Matrix:
    """Names as rows; as columns the vantages that use their own resolv.conf."""
    names = tuple(facts.inventory.dns.names)
    columns = [one for one in _columns(_OWN, facts.inventory.workers) if _observation(facts, one) is not None]
    return Matrix(
        caption="What the resolv.conf inside of Docker-in-Docker leads to",
        corner="name",
        rows=tuple(Head(name) for name in names),
        columns=tuple(columns),
        cells=tuple(tuple(of_answer(_observation(facts, one), name) for one in columns) for name in names),
    )


def _columns(facts: Mapping[str, str], workers: Sequence[str] | Mapping[str, object]) -> list[Head]:
    here = [Head("here")] if "" in facts else []
    return here + [Head(worker, group=kind) for kind in facts if kind for worker in workers]


def _observation(facts: Facts, column: Head, **targets: str) -> Observation | None:
    fact = {**_ASKED, **_OWN}[column.group]
    return facts.get(fact, **targets, **({"worker": column.text} if column.group else {}))


def of_answer(observation: Observation | None, name: str) -> Cell:
    """One name's answer in a look that asked for several; a name that it holds no answer to is unknown."""
    found = seen(observation, Lookups)
    if found is None:
        return of_look(observation)
    answer = next((one for one in found.answers if one.name == name), None)
    if answer is None:
        return Cell(State.UNKNOWN, detail=f"{found.evidence.where} tells nothing of {name}")
    if answer.fault is None:
        return Cell(State.OK, note=duration(answer.took), detail=answer.message)
    return Cell(State.FAULT, str(answer.fault), "TCP answers" if answer.over_tcp else "", answer.message)
