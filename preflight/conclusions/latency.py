"""2.4 Packets that are lost on the way of a worker, of all of them, or of one destination; and ways that are long.

Losses make other measurements on the same way fail now and then: a query without an answer, a pull that is not done in
time (`may_follow_from_losses`), as long as the samples show that the destination answers at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from preflight import impact
from preflight.conclusions.impacts import measured_workers
from preflight.conclusions.model import Cause, Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.vantages import joined, targets_of
from preflight.fact import FactSpec
from preflight.facts.blocking import BY_LOSS
from preflight.facts.dns import node_answers, pod_lookups
from preflight.facts.latency import (
    here_distance,
    here_losses,
    node_distance,
    node_losses,
    node_round_trips,
    pod_distance,
    pod_losses,
    pod_round_trips,
)
from preflight.facts.registry import pod_image
from preflight.faults import ClusterFault, DindFault, Fault, PodFault, StreamFault
from preflight.impact import Impact
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.latency import GITLAB, RoundTrips, Samples
from preflight.shell_command import program

LOST = cause("packets-lost", "2.4", "packet-loss")
FAR = cause("long-round-trip", "2.4", "packet-loss")

_BY_LOSS: tuple[Fault, ...] = (
    *BY_LOSS,
    PodFault.PULL_TIMEOUT,
    PodFault.PULL_UNRESOLVED,
    PodFault.PULL_FAILED,
    PodFault.LOST,  # heartbeats of the kubelet are lost too
    ClusterFault.NODE_NOT_READY,
    DindFault.PULL_FAILED,
    DindFault.REGISTRY_UNREACHABLE,
    StreamFault.KUBELET_UNREACHABLE,
)
"""Faults that a lost packet can make where the other side is healthy, pulls and streams among them."""


@rule
def packets_lost(facts: Facts) -> Iterator[Conclusion]:
    """Packets are lost more than once."""
    ways = _ways(facts, here_losses, node_losses, pod_losses)
    if ways is None:
        return
    on_some = set(ways.workers) < set(ways.measured)
    everywhere = not on_some and set(ways.measured) >= set(facts.inventory.workers)
    on_workers = ways.workers if ways.workers and not everywhere else ()
    yield _conclusion(
        facts,
        LOST,
        ways,
        on_jobs=_of_losses(facts, ways),
        about=on_workers or _hosts(facts, (*ways.inside, *ways.here), lambda trips: trips.losing),
        certain=bool(ways.inside) and (on_some or everywhere),
        question="which hop loses them",
    )


@rule
def far_away(facts: Facts) -> Iterator[Conclusion]:
    """Round trips are long: to one destination, or from some workers to all."""
    ways = _ways(facts, here_distance, node_distance, pod_distance)
    if ways is None:
        return
    limit = facts.inventory.limits.round_trip
    some = ways.workers if set(ways.workers) < set(ways.measured) else ()
    far = _hosts(facts, ways.shown, lambda trips: [each for each in trips.samples if each.is_longer(limit)])
    yield _conclusion(
        facts,
        FAR,
        ways,
        on_jobs=impact.slows_on(ways.workers, of=ways.measured),
        about=(*far, *some),
        certain=bool(ways.inside),
        question="which hop adds the time",
    )


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways on which something is wrong.

    Attributes:
        inside: those of workers and of jobs' pods.
        here: those of this machine.
        workers: whose ways they are.
        measured: the workers from which anything was measured.
    """

    inside: tuple[Observation, ...]
    here: tuple[Observation, ...]
    workers: tuple[str, ...]
    measured: tuple[str, ...]

    @property
    def shown(self) -> tuple[Observation, ...]:
        """Those that matter to jobs, else this machine's own."""
        return self.inside or self.here


def _ways(facts: Facts, here: FactSpec[Any], *inside: FactSpec[Any]) -> _Ways | None:
    """The ways of which these facts are faulty, if any is."""
    failing = _faulty(facts, *inside)
    ways = _Ways(
        inside=failing,
        here=_faulty(facts, here),
        workers=tuple(targets_of(failing, "worker")),
        measured=tuple(measured_workers(facts, facts.observations(*inside))),
    )
    return ways if ways.shown else None


def _conclusion(
    facts: Facts,
    named: Cause,
    ways: _Ways,
    *,
    on_jobs: Impact,
    about: tuple[str, ...],
    certain: bool,
    question: str,
) -> Conclusion:
    return Conclusion(
        cause=named,
        about=about,
        sentence=_sentences(ways.shown),
        certain=certain,
        settled_by="" if certain else "a measurement from every worker (SSH) and from a pod on each",
        impact=on_jobs if ways.inside else _HERE_ALONE,
        explains=keys((*ways.inside, *ways.here)),
        proofs=_proofs(ways.shown),
        remedy=_remedy(facts, ways.workers, ways.shown, question),
    )


def _faulty(facts: Facts, *specs: FactSpec[Any]) -> tuple[Observation, ...]:
    return tuple(observation for observation in facts.observations(*specs) if observation.faulty)


_HERE_ALONE = impact.none("jobs take other ways than this machine")
_TRANSFERS = "jobs that transfer much (docker pull, clones, artifacts)"
_QUOTED = 2  # vantages whose own sentence is quoted


def _of_losses(facts: Facts, ways: _Ways) -> Impact:
    """Losses slow jobs; heavy ones keep transfers from ending (docs/sources.md#packet-loss), of an image too."""
    limit = facts.inventory.limits.packet_loss_that_stops_jobs / 100
    heavy = [each for each in ways.inside if isinstance(each.measured, RoundTrips) and each.measured.lost_part >= limit]
    unfinished = [
        each
        for each in facts.observations(pod_image)
        if each.fault is PodFault.PULL_TIMEOUT and may_follow_from_losses(facts, each)
    ]
    if heavy or unfinished:
        return impact.stops_on(targets_of((*heavy, *unfinished), "worker"), of=ways.measured, jobs=_TRANSFERS)
    return impact.slows_on(ways.workers, of=ways.measured)


def _sentences(shown: Sequence[Observation]) -> str:
    causes = [observation.measured.cause for observation in shown if observation.measured is not None]
    more = f"; and {len(causes) - _QUOTED} more" if len(causes) > _QUOTED else ""
    return "; ".join(causes[:_QUOTED]) + more


def _proofs(shown: Sequence[Observation]) -> tuple[Proof, ...]:
    return tuple(Proof.of(observation.measured) for observation in shown[:_QUOTED] if observation.measured is not None)


def _hosts(
    facts: Facts, failing: Sequence[Observation], chosen: Callable[[RoundTrips], Iterable[Samples]]
) -> tuple[str, ...]:
    """The destinations of the chosen samples; none, if they are all that were measured."""
    all_trips = [each.measured for each in failing if isinstance(each.measured, RoundTrips)]
    every = {samples.destination for trips in all_trips for samples in trips.samples}
    named = {samples.destination for trips in all_trips for samples in chosen(trips)}
    return tuple(_host(facts, name) for name in sorted(named)) if named < every else ()


def _host(facts: Facts, destination: str) -> str:
    return urlsplit(facts.inventory.gitlab.url).hostname or GITLAB if destination == GITLAB else destination


def may_follow_from_losses(facts: Facts, observation: Observation) -> bool:
    """Whether an observation of a worker that loses packets can come from that."""
    workers = targets_of(_faulty(facts, node_losses, pod_losses), "worker")
    worker = observation.targets.get("worker") or observation.targets.get("node", "")
    fault = observation.fault
    if worker not in workers or not any(fault is each for each in _BY_LOSS):
        return False
    destination = ""
    if isinstance(observation.measured, Lookups):
        resolver = observation.measured.resolver
        destination = resolver if resolver in facts.inventory.dns.resolvers else ""  # else its own resolv.conf
    elif isinstance(observation.measured, GitLabReply):
        destination = GITLAB
    trips = [each.measured for each in facts.observations(node_round_trips, pod_round_trips, worker=worker)]
    known = [trip for trip in trips if isinstance(trip, RoundTrips)]
    if not destination or any(trip.may_answer(destination) for trip in known):
        return True
    asked = [
        each.measured for each in facts.observations(node_answers, pod_lookups, worker=worker, resolver=destination)
    ]
    answers = [answer for lookups in asked if isinstance(lookups, Lookups) for answer in lookups.answers]
    return any(answer.fault is None for answer in answers)


def _remedy(facts: Facts, workers: Sequence[str], shown: Sequence[Observation], what: str) -> tuple[str, ...]:
    trips = [each.measured for each in shown if isinstance(each.measured, RoundTrips)]
    samples = [samples for trip in trips for samples in trip.samples]
    worst = max(samples, key=lambda each: (each.lost / each.taken, each.round_trip), default=None)
    host = _host(facts, worst.destination) if worst is not None else "HOST"
    where = f"on {joined(workers[:1])}: " if workers else ""
    return (
        f"{where}`{program('mtr', '-rwzc', 100, host)}` shows {what}",
        f"{where}`{program('ip', '-s', 'link')}` and `{program('dmesg')}`: errors and drops of an interface, a full "
        "table of connections (nf_conntrack)",
        "ask who runs that hop: a full line, a VPN, a faulty cable or port; `limits.packet_loss` and "
        "`limits.round_trip` say what is accepted",
    )
