"""Causes that one measurement shows by itself: a row each, with its remedy in this environment's names.

A row applies where a fact that a check judges has one of its faults, and no rule over several vantages explains it. The
observations of one row become one conclusion, unless the row is `apart`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from preflight.conclusions.model import Cause, Conclusion, Proof, keys
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.vantages import joined
from preflight.evidence import Unmeasured
from preflight.fact import FactSpec
from preflight.facts.headroom import namespace_state
from preflight.faults import Fault
from preflight.inventory import Inventory, Runner, is_chart_path

_SHOWN = 2  # observations that are shown as evidence
_QUOTED = 3  # observations whose own sentence is quoted


@dataclass(frozen=True, slots=True)
class Row:
    """One cause that one fact shows.

    Attributes:
        cause: the cause.
        facts: the facts that show it.
        faults: the faults that it covers; none means every measured fault that no other row of that fact names.
        remedy: the steps; ``{names}`` in braces are those of `names_of`.
        certain: whether the fact leaves no other cause.
        settled_by: what would settle it.
        apart: whether each target has a conclusion of its own.
    """

    cause: Cause
    facts: tuple[FactSpec[Any], ...]
    faults: tuple[Fault, ...]
    remedy: tuple[str, ...]
    certain: bool = True
    settled_by: str = ""
    apart: bool = False


ROWS: list[Row] = []
"""Every row, in the guide's order."""


def single(
    cause: Cause,
    *facts: FactSpec[Any],
    faults: Iterable[Fault] = (),
    remedy: Iterable[str],
    likely: str = "",
    apart: bool = False,
) -> None:
    """Add a row; `likely` says what would settle it, where the fact alone does not."""
    ROWS.append(Row(cause, facts, tuple(faults), tuple(remedy), not likely, likely, apart))


def conclusions(facts: Facts, explained: frozenset[object]) -> Iterator[Conclusion]:
    """The rows' conclusions about the failing observations that nothing has explained yet."""
    named = {(fact.name, _identity(fault)) for row in ROWS for fact in row.facts for fault in row.faults}
    for row in ROWS:
        failing = [
            observation
            for observation in facts.failing(*row.facts)
            if observation.key not in explained and observation.fault is not None and _applies(observation, row, named)
        ]
        groups = [[observation] for observation in failing] if row.apart else [failing] if failing else []
        for group in groups:
            yield _conclusion(facts, row, group)


def _identity(fault: Fault) -> tuple[str, str]:
    return type(fault).__name__, str(fault)


def _applies(observation: Observation, row: Row, named: set[tuple[str, tuple[str, str]]]) -> bool:
    assert observation.fault is not None  # noqa: S101 - the caller has checked
    identity = _identity(observation.fault)
    if row.faults:
        return any(identity == _identity(fault) for fault in row.faults)
    # What could not be measured has the fault of the attempt, which is not one of the row's own.
    return observation.measured is not None and (observation.name, identity) not in named


def _conclusion(facts: Facts, row: Row, observations: list[Observation]) -> Conclusion:
    names = names_of(facts, observations)
    sentences = dict.fromkeys(_sentence_of(observation) for observation in observations)
    more = f"; and {len(sentences) - _QUOTED} more" if len(sentences) > _QUOTED else ""
    return Conclusion(
        cause=row.cause,
        about=tuple(dict.fromkeys(observation.target for observation in observations if observation.target)),
        sentence="; ".join(list(sentences)[:_QUOTED]) + more,
        certain=row.certain,
        settled_by=row.settled_by,
        explains=keys(observations),
        proofs=tuple(proof_of(observation) for observation in observations[:_SHOWN]),
        remedy=tuple(step.format_map(names) for step in row.remedy),
    )


def _sentence_of(observation: Observation) -> str:
    if observation.measured is not None:
        return observation.measured.cause or f"{observation.measured.target}: {observation.fault}"
    return observation.error.reason if isinstance(observation.error, Unmeasured) else str(observation.error)


def proof_of(observation: Observation) -> Proof:
    """What an observation shows, or what prevented it."""
    if observation.measured is not None:
        return Proof.of(observation.measured)
    evidence = observation.error.evidence if isinstance(observation.error, Unmeasured) else None
    if evidence is None:
        return Proof(statement=_sentence_of(observation))
    return Proof(
        statement=_sentence_of(observation), where=evidence.where, command=evidence.command, observed=evidence.observed
    )


def names_of(facts: Facts, observations: Iterable[Observation] = ()) -> dict[str, str]:
    """The names that a remedy may use, with this environment's values."""
    inventory, observed = facts.inventory, list(observations)
    targets: dict[str, list[str]] = {}
    for observation in observed:
        for kind, target in observation.targets.items():
            targets.setdefault(kind, []).append(target)
    first = {kind: names[0] for kind, names in targets.items()}
    parts = urlsplit(inventory.gitlab.url)
    image = first.get("image") or (observed[0].measured.target if observed and observed[0].measured else "")
    registry = first.get("registry", "")
    host = inventory.registries[registry].host if registry in inventory.registries else image.partition("/")[0]
    node = first.get("worker") or first.get("node") or "NODE"
    job_namespace = next(
        (observation.measured.target for observation in facts.observations(namespace_state) if observation.measured),
        None,
    )
    return {
        "namespace": inventory.runner.namespace,
        "job_namespace": job_namespace or inventory.runner.namespace,
        "release": inventory.runner.release,
        "chart": inventory.runner.chart,
        "chart_reference": shlex.join(_chart(inventory.runner)),
        "values": inventory.runner.files[0].name,
        "upgrade": upgrade_command(inventory),
        "gitlab": inventory.gitlab.url,
        "gitlab_host": parts.hostname or "",
        "gitlab_version": inventory.gitlab.version,
        "api": inventory.cluster.api_server,
        "kubernetes": inventory.cluster.version,
        "pod_cidr": str(inventory.cluster.pod_cidr or "the pod network"),
        "resolvers": joined(inventory.dns.resolvers),
        "node": node,
        "nodes": joined(targets.get("worker", targets.get("node", []))) or "the nodes",
        "node_list": " ".join(dict.fromkeys(targets.get("worker", targets.get("node", [])))) or "NODE",
        "address": str(inventory.workers[node].address) if node in inventory.workers else node,
        "resolver": first.get("resolver", ""),
        "image": image or "IMAGE",
        "host": host or "the registry",
        "repository": first.get("repository", image),
        "variable": first.get("variable", ""),
        "variables": joined(targets.get("variable", [])),
        "pool": first.get("pool", ""),
        "project": "" if inventory.pipeline == "none" else inventory.pipeline.project,
        "ssh": "" if inventory.access.ssh == "none" else inventory.access.ssh.user,
    }


def _chart(runner: Runner) -> list[str]:
    """The chart as helm's commands take it."""
    if is_chart_path(runner.chart):
        return [runner.chart]
    if runner.chart.startswith("oci://"):
        place, _, version = runner.chart.rpartition(":")
        return [place, "--version", version] if "/" not in version else [runner.chart]
    if runner.repository.startswith("oci://"):
        place = runner.repository.rstrip("/")
        return [place if place.endswith("/gitlab-runner") else f"{place}/gitlab-runner", "--version", runner.chart]
    return ["gitlab/gitlab-runner", "--version", runner.chart]


def upgrade_command(inventory: Inventory) -> str:
    """The command that applies the values to the cluster."""
    runner = inventory.runner
    arguments = ["helm", "upgrade", runner.release, *_chart(runner), "-n", runner.namespace]
    arguments += [word for file in runner.files for word in ("-f", file.name)]
    # A value set on the command line may be a token: only its name is shown.
    for option, pairs in (("set-json", runner.set_json), ("set", runner.set), ("set-string", runner.set_string)):
        arguments += [word for pair in pairs for word in (f"--{option}", f"{pair.partition('=')[0]}=…")]
    arguments += [word for pair in runner.set_file for word in ("--set-file", pair)]
    return " ".join(word if word.endswith("=…") else shlex.quote(word) for word in arguments)
