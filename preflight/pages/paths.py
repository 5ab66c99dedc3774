"""The path matrix: which service is reached from which vantage, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from preflight.conclusions.observations import Facts, Observation
from preflight.evidence import NotApplicable
from preflight.fact import FactSpec
from preflight.facts.cluster import api_answer
from preflight.facts.dind import dind_pull, dind_registry
from preflight.facts.gitlab import gitlab_reply
from preflight.facts.headroom import pod_cache, pod_destination
from preflight.facts.packets import node_page, pod_page
from preflight.facts.paths import node_gitlab, pod_clone, pod_gitlab
from preflight.facts.registry import node_pull, node_registry, pod_pull, registry_reply
from preflight.faults import PodFault
from preflight.pages.cells import NONE, Cell, State, cell_of, duration, value_of, worst
from preflight.pages.matrix import Head, Matrix
from preflight.pages.texts import Text
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

KINDS = {"node": "node {worker}", "pod": "pod on {worker}", "dind": "Docker-in-Docker on {worker}"}
"""The kinds of vantages on a worker, and what one is called."""


def matrix(facts: Facts) -> Matrix:
    """Vantages as rows, services as columns; a service that was not measured from anywhere has no column."""
    columns = list(services(facts))
    vantages = [("here", ""), *((kind, worker) for kind in KINDS for worker in facts.inventory.workers)]
    rows = [Head(Text(KINDS[kind], worker=worker) if worker else Text("here"), group=kind) for kind, worker in vantages]
    cells = [tuple(ask(facts, kind, worker) for _, ask in columns) for kind, worker in vantages]
    used = [any(line[place].state.looked_at for line in cells) for place in range(len(columns))]
    kept = [
        (head, line)
        for head, line in zip(rows, cells, strict=True)
        if any(use and cell.state is not State.NOT_APPLICABLE for cell, use in zip(line, used, strict=True))
    ]
    return Matrix(
        caption=Text("Which service is reached from where"),
        corner=Text("from"),
        rows=tuple(head for head, _ in kept),
        columns=tuple(head for (head, _), use in zip(columns, used, strict=True) if use),
        cells=tuple(tuple(cell for cell, use in zip(line, used, strict=True) if use) for _, line in kept),
    )


def services(facts: Facts) -> Iterable[tuple[Head, Ask]]:
    """Every service that jobs need, and how to tell whether a vantage reaches it."""
    inventory = facts.inventory
    yield Head("GitLab", _address(inventory.gitlab.url)), _gitlab
    if (clone := _elsewhere(facts, pod_clone)) is not None:
        yield Head(Text("clone host"), _address(clone)), _in_pods(pod_clone)
    yield Head(Text("Kubernetes API"), _address(inventory.cluster.api_server)), _api
    for name, registry in inventory.registries.items():
        yield Head(Text("registry {name}", name=name), registry.host), _registry(name)
    for destination in dict.fromkeys(inventory.destinations):
        yield Head(Text("destination"), destination), _in_pods(pod_destination, destination=destination)
    if (cache := _elsewhere(facts, pod_cache)) is not None:
        yield Head(Text("cache"), _address(cache)), _in_pods(pod_cache)


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
    if kind == "here":
        return _timed(facts.get(gitlab_reply))
    answers = {"node": (node_gitlab, node_page), "pod": (pod_gitlab, pod_page)}.get(kind)
    if answers is None:
        return NONE
    # A path that loses packets of full size lets the first answer through, and no whole page.
    answer, page = (_timed(facts.get(spec, worker=worker)) for spec in answers)
    return page if page.state is State.FAULT and answer.state is State.OK else answer


def _api(facts: Facts, kind: str, worker: str) -> Cell:
    del worker
    return _timed(facts.get(api_answer)) if kind == "here" else NONE


def _in_pods(spec: FactSpec[Any], **targets: str) -> Ask:
    def ask(facts: Facts, kind: str, worker: str) -> Cell:
        return _timed(facts.get(spec, worker=worker, **targets)) if kind == "pod" else NONE

    return ask


def _registry(name: str) -> Ask:
    def ask(facts: Facts, kind: str, worker: str) -> Cell:
        inventory, host = facts.inventory, facts.inventory.registries[name].host
        match kind:
            case "here":
                return _timed(facts.get(registry_reply, registry=name))
            case "node":
                answer = cell_of(facts.get(node_registry, worker=worker, registry=name))
                own = inventory.probe.image.split("/", 1)[0] == host
                return _both(answer, _pulled([facts.get(node_pull, worker=worker)]) if own else NONE)
            case "dind":
                answer = cell_of(facts.get(dind_registry, worker=worker, registry=name))
                own = inventory.dind != "none" and inventory.dind.pull.split("/", 1)[0] == host
                return _both(answer, cell_of(facts.get(dind_pull, worker=worker)) if own else NONE)
        images = [image for image in inventory.images if image.split("/", 1)[0] == host]
        return _pulled([facts.get(pod_pull, worker=worker, image=image) for image in images])

    return ask


def _both(answer: Cell, pulled: Cell) -> Cell:
    """A registry's answer and a pull from it: a fault of either shows, and either proves the path."""
    return max(answer, pulled, key=lambda cell: (cell.state is State.FAULT, cell.state is State.OK, cell.state.rank))


def _pulled(observations: Iterable[Observation | None]) -> Cell:
    """The path to a registry, from the pulls that used it."""
    cells = []
    for observation in observations:
        cell, pull = cell_of(observation), value_of(observation, ImagePull, Pull)
        if pull is not None and pull.fault in _ANSWERED:
            cell = Cell(State.OK, Text("answers"), detail=pull.cause)
        cells.append(cell)
    reached = [cell for cell in cells if cell.state is State.OK]
    # One pull proves the path; another that could not be measured does not disprove it, a faulty one does.
    return worst(reached) if reached and worst(cells).state is not State.FAULT else worst(cells)


def _timed(observation: Observation | None) -> Cell:
    fact = observation.measured if observation is not None else None
    took = fact.took if isinstance(fact, GitLabReply) else fact.evidence.took if fact is not None else 0.0
    return cell_of(observation, note=duration(took))
