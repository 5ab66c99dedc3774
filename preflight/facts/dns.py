"""2.4 Names, asked from here and from the workers."""

from __future__ import annotations

from preflight.fact import fact
from preflight.facts.blocking import block_if_same_fault
from preflight.facts.probe_plan import expected_names
from preflight.facts.references import Ref
from preflight.inventory import Inventory
from preflight.probes import dns, transcript
from preflight.probes.dns import Lookups
from preflight.probes.transcript import (
    Agreement,
    Report,
)
from preflight.run import Run


@fact(deadline="dns")
def here_lookups(resolver: str, inventory: Inventory, run: Run) -> Lookups:
    """A resolver's answers, asked from here."""
    return dns.lookups(resolver, expected_names(inventory), routes=run.routes, deadline=inventory.deadlines.dns)


@fact(reported_by=("node_lookups",))
def node_answers(resolver: str, node_report: Report, inventory: Inventory) -> Lookups:
    """A resolver's answers to a worker, whatever they are."""
    return transcript.lookups(node_report, resolver, expected_names(inventory), deadline=inventory.deadlines.step)


@fact(tolerates=("node_answers",), optional=("here_lookups",))
def node_lookups(resolver: str, node_answers: Lookups, here_lookups: Lookups | None) -> Lookups:
    """A resolver's answers, asked from a worker."""
    block_if_same_fault(node_answers, here_lookups, Ref.HERE_LOOKUPS, {"resolver": resolver})
    return node_answers


@fact(fan_in={"here_lookups": "resolver"}, tolerates=("here_lookups",))
def resolver_agreement(here_lookups: tuple[Lookups, ...]) -> Agreement:
    """What all resolvers say, side by side."""
    return transcript.agreement(here_lookups)
