"""The matrices of resolver, name and vantage: what each resolver answers to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from preflight.conclusions.observations import Facts, Observation
from preflight.fact import FactSpec
from preflight.facts.dind import dind_inner_lookups, dind_lookups
from preflight.facts.dns import here_lookups, node_lookups, pod_lookups
from preflight.pages.cells import Cell, State, cell_of, duration, value_of
from preflight.pages.matrix import Head, Matrix
from preflight.pages.texts import Text
from preflight.probes.dns import Lookups

_QUERIED: Mapping[str, FactSpec[Lookups]] = {
    Text(""): here_lookups,
    Text("node"): node_lookups,
    Text("pod"): pod_lookups,
}
_RESOLV_CONF: Mapping[str, FactSpec[Lookups]] = {
    Text("in Docker-in-Docker"): dind_lookups,
    Text("in a container inside of it"): dind_inner_lookups,
}

_SPECS: Mapping[str, FactSpec[Lookups]] = {**_QUERIED, **_RESOLV_CONF}


def matrix(facts: Facts) -> Matrix:
    """Resolvers and names as rows, the vantages that queried them as columns."""
    names, resolvers = facts.inventory.dns.names, facts.inventory.dns.resolvers
    columns = [
        column
        for column in _columns(_QUERIED, facts.inventory.workers)
        if any(_observation(facts, column, resolver=resolver) for resolver in resolvers)
    ]
    rows = [(resolver, name) for resolver in resolvers for name in names]
    return Matrix(
        caption=Text("What each resolver answers to each vantage"),
        corner=Text("name"),
        rows=tuple(Head(name, group=Text("resolver {address}", address=resolver)) for resolver, name in rows),
        columns=tuple(columns),
        cells=tuple(
            tuple(of_answer(_observation(facts, column, resolver=resolver), name) for column in columns)
            for resolver, name in rows
        ),
        bands=True,
    )


def inner(facts: Facts) -> Matrix:
    """Names as rows; as columns the vantages that use their own resolv.conf."""
    names = tuple(facts.inventory.dns.names)
    vantages = _columns(_RESOLV_CONF, facts.inventory.workers)
    columns = [column for column in vantages if _observation(facts, column) is not None]
    return Matrix(
        caption=Text("What names resolve to inside Docker-in-Docker, with its own resolv.conf"),
        corner=Text("name"),
        rows=tuple(Head(name) for name in names),
        columns=tuple(columns),
        cells=tuple(tuple(of_answer(_observation(facts, column), name) for column in columns) for name in names),
    )


def _columns(facts: Mapping[str, FactSpec[Lookups]], workers: Sequence[str] | Mapping[str, object]) -> list[Head]:
    here = [Head(Text("here"))] if "" in facts else []
    return here + [Head(worker, group=kind) for kind in facts if kind for worker in workers]


def _observation(facts: Facts, column: Head, **targets: str) -> Observation | None:
    fact = _SPECS[column.group]
    return facts.get(fact, **targets, **({"worker": column.text} if column.group else {}))


def of_answer(observation: Observation | None, name: str) -> Cell:
    """One name's answer in a measurement of several; a name without an answer there is unknown."""
    lookups = value_of(observation, Lookups)
    if lookups is None:
        return cell_of(observation)
    answer = next((answer for answer in lookups.answers if answer.name == name), None)
    if answer is None:
        return Cell(State.UNKNOWN, detail=f"{lookups.evidence.where}: no answer for {name}")
    if answer.fault is None:
        return Cell(State.OK, note=duration(answer.took), detail=answer.message)
    return Cell(State.FAULT, str(answer.fault), Text("TCP answers") if answer.over_tcp else "", answer.message)
