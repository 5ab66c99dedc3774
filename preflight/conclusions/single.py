"""Causes that one measurement shows by itself: a row each, with its remedy in this environment's names.

A row speaks where a fact that a check judges has one of its faults, and no rule of several vantages has explained it.
Looks of one row become one conclusion, told together, unless the row is `apart`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from preflight.conclusions.drawing import Cause, Conclusion, Proof, keys
from preflight.conclusions.facts import Facts, Look
from preflight.conclusions.vantages import listed
from preflight.evidence import Unmeasured
from preflight.faults import Fault
from preflight.inventory import Inventory

_SHOWN = 2  # looks that are shown as evidence
_TOLD = 3  # looks whose own sentence is told


@dataclass(frozen=True, slots=True)
class Row:
    """One cause that one fact shows.

    Attributes:
        cause: the cause.
        facts: the names of the facts that show it.
        faults: the faults that are it; none means every fault that was seen and that no other row of that fact names.
        remedy: the steps; ``{names}`` in braces are those of `names_of`.
        certain: whether the fact leaves no other cause.
        settled_by: what would settle it.
        apart: whether each target has a conclusion of its own.
    """

    cause: Cause
    facts: tuple[str, ...]
    faults: tuple[Fault, ...]
    remedy: tuple[str, ...]
    certain: bool = True
    settled_by: str = ""
    apart: bool = False


ROWS: list[Row] = []
"""Every row, in the guide's order."""


def single(
    cause: Cause,
    *facts: str,
    faults: Iterable[Fault] = (),
    remedy: Iterable[str],
    likely: str = "",
    apart: bool = False,
) -> None:
    """Add a row; `likely` says what would settle it, where the fact alone does not."""
    ROWS.append(Row(cause, facts, tuple(faults), tuple(remedy), not likely, likely, apart))


def conclusions(facts: Facts, explained: frozenset[object]) -> Iterator[Conclusion]:
    """What the rows say of the red looks that nothing has explained yet."""
    named = {(name, _identity(fault)) for row in ROWS for name in row.facts for fault in row.faults}
    for row in ROWS:
        red = [
            look
            for look in facts.red(*row.facts)
            if look.key not in explained and look.fault is not None and _is(look, row, named)
        ]
        groups = [[one] for one in red] if row.apart else [red] if red else []
        for group in groups:
            yield _conclusion(facts, row, group)


def _identity(fault: Fault) -> tuple[str, str]:
    return type(fault).__name__, str(fault)


def _is(look: Look, row: Row, named: set[tuple[str, tuple[str, str]]]) -> bool:
    assert look.fault is not None  # noqa: S101 - the caller has looked
    identity = _identity(look.fault)
    if row.faults:
        return any(identity == _identity(fault) for fault in row.faults)
    # What could not be looked at has the fault of the way to it, and that is none of the row's own.
    return look.seen is not None and (look.name, identity) not in named


def _conclusion(facts: Facts, row: Row, looks: list[Look]) -> Conclusion:
    names = names_of(facts, looks)
    told = dict.fromkeys(_said(look) for look in looks)
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return Conclusion(
        cause=row.cause,
        about=tuple(dict.fromkeys(look.target for look in looks if look.target)),
        sentence="; ".join(list(told)[:_TOLD]) + more,
        certain=row.certain,
        settled_by=row.settled_by,
        explains=keys(looks),
        proofs=tuple(proof_of(look) for look in looks[:_SHOWN]),
        remedy=tuple(step.format_map(names) for step in row.remedy),
    )


def _said(look: Look) -> str:
    if look.seen is not None:
        return look.seen.cause or f"{look.seen.target}: {look.fault}"
    return look.error.reason if isinstance(look.error, Unmeasured) else str(look.error)


def proof_of(look: Look) -> Proof:
    """What a look saw, or what stood in its way."""
    if look.seen is not None:
        return Proof.of(look.seen)
    shown = look.error.evidence if isinstance(look.error, Unmeasured) else None
    if shown is None:
        return Proof(statement=_said(look))
    return Proof(statement=_said(look), where=shown.where, command=shown.command, observed=shown.observed)


def names_of(facts: Facts, looks: Iterable[Look] = ()) -> dict[str, str]:
    """What a remedy may name, in this environment's words."""
    inventory, every = facts.inventory, list(looks)
    targets: dict[str, list[str]] = {}
    for look in every:
        for kind, target in look.targets.items():
            targets.setdefault(kind, []).append(target)
    first = {kind: found[0] for kind, found in targets.items()}
    parts = urlsplit(inventory.gitlab.url)
    image = first.get("image") or (every[0].seen.target if every and every[0].seen else "")
    registry = first.get("registry", "")
    host = inventory.registries[registry].host if registry in inventory.registries else image.partition("/")[0]
    node = first.get("worker") or first.get("node") or "NODE"
    job_namespace = next((look.seen.target for look in facts.looks("namespace_state") if look.seen), None)
    return {
        "namespace": inventory.runner.namespace,
        "job_namespace": job_namespace or inventory.runner.namespace,
        "release": inventory.runner.release,
        "chart": inventory.runner.chart,
        "values": inventory.runner.values[0].name,
        "upgrade": upgrade_command(inventory),
        "gitlab": inventory.gitlab.url,
        "gitlab_host": parts.hostname or "",
        "gitlab_version": inventory.gitlab.version,
        "api": inventory.cluster.api_server,
        "kubernetes": inventory.cluster.version,
        "pod_cidr": str(inventory.cluster.pod_cidr or "the pod network"),
        "resolvers": listed(inventory.dns.resolvers),
        "node": node,
        "nodes": listed(targets.get("worker", targets.get("node", []))) or "the nodes",
        "node_list": " ".join(dict.fromkeys(targets.get("worker", targets.get("node", [])))) or "NODE",
        "address": str(inventory.workers[node].address) if node in inventory.workers else node,
        "resolver": first.get("resolver", ""),
        "image": image or "IMAGE",
        "host": host or "the registry",
        "repository": first.get("repository", image),
        "variable": first.get("variable", ""),
        "variables": listed(targets.get("variable", [])),
        "pool": first.get("pool", ""),
        "project": "" if inventory.pipeline == "none" else inventory.pipeline.project,
        "ssh": "" if inventory.access.ssh == "none" else inventory.access.ssh.user,
    }


def upgrade_command(inventory: Inventory) -> str:
    """The command that brings the values into the cluster."""
    runner = inventory.runner
    words = ["helm", "upgrade", runner.release, "gitlab/gitlab-runner", "-n", runner.namespace]
    words += ["--version", runner.chart, *(word for one in runner.values for word in ("-f", one.name))]
    # What is set on the command line may be a token: its name is enough to know it by.
    words += [word for one in runner.set for word in ("--set", f"{one.partition('=')[0]}=…")]
    return " ".join(word if word.endswith("=…") else shlex.quote(word) for word in words)
