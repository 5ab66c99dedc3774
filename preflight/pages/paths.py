"""The path matrix: which service is reached from which vantage, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from preflight.conclusions.observations import Facts, Observation
from preflight.evidence import NotApplicable
from preflight.fact import FactSpec
from preflight.facts.cluster import api_answer
from preflight.facts.dind import dind_pull
from preflight.facts.gitlab import gitlab_reply
from preflight.facts.headroom import pod_cache
from preflight.facts.paths import node_gitlab, pod_clone, pod_gitlab
from preflight.facts.registry import node_pull, pod_pull, registry_reply
from preflight.faults import PodFault
from preflight.pages.cells import Cell, State, cell_of, duration, value_of, worst
from preflight.pages.matrix import Head, Matrix
from preflight.probes.gitlab import GitLabReply
from preflight.probes.node_pulls import Pull
from preflight.probes.pods import ImagePull
from preflight.probes.shell_readers import Connection

_ANSWERED = {
    PodFault.PULL_NOT_FOUND,
    PodFault.PULL_UNAUTHORIZED,
    PodFault.PULL_RATE_LIMITED,
    PodFault.PULL_PLATFORM,
}
"""Faults of a pull that the registry itself reported: the path to it is open."""

Ask = Callable[[Facts, str, str], Cell]
"""A cell from the kind of vantage and the worker's name."""

_KINDS = ("node", "pod on", "dind on")


def matrix(facts: Facts) -> Matrix:
    """Vantages as rows, services as columns; a service that was not measured has no column."""
    columns = list(_columns(facts))
    vantages = [("here", ""), *((kind, worker) for kind in _KINDS for worker in facts.inventory.workers)]
    rows = [Head(f"{kind} {worker}".strip(), group=kind) for kind, worker in vantages]
    cells = [tuple(ask(facts, kind, worker) for _, ask in columns) for kind, worker in vantages]
    used = [any(_is_shown(line[place]) for line in cells) for place in range(len(columns))]
    kept = [(head, line) for head, line in zip(rows, cells, strict=True) if any(_is_shown(cell) for cell in line)]
    return Matrix(
        caption="Which service is reached from where",
        corner="from",
        rows=tuple(head for head, _ in kept),
        columns=tuple(head for (head, _), use in zip(columns, used, strict=True) if use),
        cells=tuple(tuple(cell for cell, use in zip(line, used, strict=True) if use) for _, line in kept),
    )


def _is_shown(cell: Cell) -> bool:
    return cell != Cell()


def _columns(facts: Facts) -> Iterable[tuple[Head, Ask]]:
    inventory = facts.inventory
    yield Head("GitLab", _address(inventory.gitlab.url)), _gitlab
    if (clone := _elsewhere(facts, pod_clone)) is not None:
        yield Head("clone host", _address(clone)), _in_pods(pod_clone)
    yield Head("Kubernetes API", _address(inventory.cluster.api_server)), _api
    for name, registry in inventory.registries.items():
        yield Head(f"registry {name}", registry.host), _registry(name)
    if (cache := _elsewhere(facts, pod_cache)) is not None:
        yield Head("cache", _address(cache)), _in_pods(pod_cache)


def _address(url: str) -> str:
    return url.partition("://")[2].rstrip("/") or url


def _elsewhere(facts: Facts, spec: FactSpec[Any]) -> str | None:
    """The target of a fact that concerns only some environments; None where it does not concern this one."""
    observations = [
        observation for observation in facts.observations(spec) if not isinstance(observation.error, NotApplicable)
    ]
    if not observations:
        return None
    return next(
        (
            measured.target
            for observation in observations
            if (measured := value_of(observation, GitLabReply, Connection)) is not None
        ),
        "",
    )


def _gitlab(facts: Facts, kind: str, worker: str) -> Cell:
    names = {"here": gitlab_reply, "node": node_gitlab, "pod on": pod_gitlab}
    if kind not in names:
        return Cell()
    return _timed(facts.get(names[kind], **({"worker": worker} if worker else {})))


def _api(facts: Facts, kind: str, worker: str) -> Cell:
    del worker
    return _timed(facts.get(api_answer)) if kind == "here" else Cell()


def _in_pods(spec: FactSpec[Any]) -> Ask:
    def ask(facts: Facts, kind: str, worker: str) -> Cell:
        return _timed(facts.get(spec, worker=worker)) if kind == "pod on" else Cell()

    return ask


def _registry(name: str) -> Ask:
    def ask(facts: Facts, kind: str, worker: str) -> Cell:
        if kind == "here":
            return _timed(facts.get(registry_reply, registry=name))
        host = facts.inventory.registries[name].host
        if kind == "dind on":
            inner = facts.inventory.dind
            mine = inner != "none" and inner.pull.split("/", 1)[0] == host
            return cell_of(facts.get(dind_pull, worker=worker)) if mine else Cell()
        if kind == "node":
            mine = facts.inventory.probe.image.split("/", 1)[0] == host
            return _pulled([facts.get(node_pull, worker=worker)] if mine else [])
        images = [image for image in facts.inventory.images if image.split("/", 1)[0] == host]
        return _pulled([facts.get(pod_pull, worker=worker, image=image) for image in images])

    return ask


def _pulled(observations: Iterable[Observation | None]) -> Cell:
    """The path to a registry, from the pulls that used it."""
    cells = []
    for observation in observations:
        cell, pull = cell_of(observation), value_of(observation, ImagePull, Pull)
        if pull is not None and pull.fault in _ANSWERED:
            cell = Cell(State.OK, "answers", detail=pull.cause)
        cells.append(cell)
    reached = [cell for cell in cells if cell.state is State.OK]
    # One pull proves the path; another that could not be measured does not disprove it, a faulty one does.
    return worst(reached) if reached and worst(cells).state is not State.FAULT else worst(cells)


def _timed(observation: Observation | None) -> Cell:
    fact = observation.measured if observation is not None else None
    took = fact.took if isinstance(fact, GitLabReply) else fact.evidence.took if fact is not None else 0.0
    return cell_of(observation, note=duration(took))
