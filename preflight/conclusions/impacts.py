"""The impact of root causes on jobs, from the facts that show them: rules that the rows of single facts name.

A job's own view decides: what a job's pod reaches is not cut off, whatever fails from here or on the node. Where
nothing was measured from inside, an answer of the server itself (a refusal, a certificate, a status) is the same for
everyone; a request without an answer may be a matter of this machine alone, and its impact is not seen.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from preflight import impact
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.vantages import joined, targets_of
from preflight.fact import TARGETS, FactSpec
from preflight.facts.cluster import (
    node_presence,
    node_pressure,
    node_readiness,
    pool_health,
    pool_placement,
    pool_presence,
    worker_placement,
)
from preflight.facts.dind import dind_admission
from preflight.facts.dns import here_lookups, node_answers, pod_lookups, pod_names
from preflight.facts.gitlab import gitlab_connection, gitlab_reply
from preflight.facts.headroom import headroom
from preflight.facts.paths import node_gitlab, node_reply, pod_gitlab
from preflight.facts.registry import node_pull, pod_pull
from preflight.facts.release import manager_readiness, release_record
from preflight.faults import DnsFault, Fault, ManagerFault, PathFault, ReleaseFault
from preflight.impact import Harm, Impact
from preflight.inventory import Inventory
from preflight.probes.dns import Lookups
from preflight.probes.headroom import Headroom
from preflight.probes.manager_logs import ManagerLogs
from preflight.probes.managers import ManagerPods, Rollout
from preflight.probes.monitoring import ManagerMetrics
from preflight.probes.runners import RegisteredManagers
from preflight.run import Stage

ImpactRule = Callable[[Facts, Sequence[Observation]], Impact]
"""The impact of what these observations show."""

_UNANSWERED = frozenset(
    {PathFault.TIMEOUT, PathFault.UNREACHABLE, PathFault.UNRESOLVED, PathFault.NOT_MAPPED, PathFault.RESET}
)
"""Faults that the way from one vantage explains as well as the server."""


# ---- the same whatever was observed ----------------------------------------------------------------------------------


def always(known: Impact) -> ImpactRule:
    """The same impact, whatever was observed."""
    return lambda _facts, _observations: known


stops_all = always(impact.stops())
stops_docker = always(impact.stops("Docker-in-Docker jobs"))


def no_harm(why: str) -> ImpactRule:
    """No job suffers; `why` is what suffers instead."""
    return always(impact.none(why))


def not_seen(why: str) -> ImpactRule:
    """What happens to jobs can't be seen."""
    return always(impact.unseen(why))


def reserve(what: str) -> ImpactRule:
    """Jobs run as ever until the next fault or change."""
    return always(impact.removes_reserve(what))


def unless_healthy(fact: FactSpec[Any], otherwise: ImpactRule, why: str) -> ImpactRule:
    """No harm where another fact was measured and is healthy for every target."""

    def judge(facts: Facts, observations: Sequence[Observation]) -> Impact:
        others = facts.observations(fact)
        if others and all(observation.healthy for observation in others):
            return impact.none(why)
        return otherwise(facts, observations)

    return judge


# ---- nodes -----------------------------------------------------------------------------------------------------------


def nodes_of(observations: Iterable[Observation]) -> tuple[str, ...]:
    """The workers or nodes that these observations are of."""
    observed = tuple(observations)
    return tuple(dict.fromkeys((*targets_of(observed, "worker"), *targets_of(observed, "node"))))


def stops_there(jobs: str = "jobs") -> ImpactRule:
    """Jobs fail on the nodes where it shows."""
    return lambda facts, observations: impact.stops_on(
        nodes_of(observations), of=measured_workers(facts, observations), jobs=jobs
    )


def slows_there(jobs: str = "jobs") -> ImpactRule:
    """Jobs take longer on the nodes where it shows."""
    return lambda facts, observations: impact.slows_on(
        nodes_of(observations), of=measured_workers(facts, observations), jobs=jobs
    )


def measured_workers(facts: Facts, observations: Sequence[Observation]) -> tuple[str, ...]:
    """The workers for which these facts were measured: on a large cluster a part stands for all."""
    names = {observation.name for observation in observations}
    alike = [observation for observation in facts if observation.name in names and observation.measured is not None]
    return nodes_of(alike) or tuple(facts.inventory.workers)


_UNFIT = (node_presence, node_readiness, node_pressure, worker_placement)
_UNFIT_POOLS = (pool_presence, pool_health, pool_placement)


def room(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Nodes that take no jobs: room is lost, unless nothing is left, or no job fits any more."""
    nodes = nodes_of(observations)
    workers = set(facts.inventory.workers)
    if nodes and not workers & set(nodes):
        return impact.removes_reserve(f"{joined(nodes)} runs no jobs, and is a part of the control plane")
    out = set(nodes_of(facts.failing(*_UNFIT))) & workers | set(nodes) & workers
    pools = set(TARGETS["pool"](facts.inventory))
    pools_out = set(targets_of(facts.failing(*_UNFIT_POOLS), "pool"))
    space = facts.observation(headroom).measured
    fits = space.fits if isinstance(space, Headroom) else None
    others = isinstance(space, Headroom) and any(node.eligible and node.node not in out for node in space.by_node)
    nothing_left = out >= workers if workers else pools_out >= pools
    if fits == 0 or (nothing_left and not others):
        return impact.stops()
    left = f"{len(workers - out)} of {len(workers)} workers take jobs" if workers else ""
    if not nodes and pools_out:
        left = f"{len(pools - pools_out)} of {len(pools)} pools are whole"
    fitting = f"{fits} of {space.wanted} jobs fit" if isinstance(space, Headroom) else ""
    return impact.takes_room(", ".join(filter(None, (left, fitting))))


def jobs_that_fit(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Fewer jobs fit at the same time than the values allow; none at all stops them."""
    rooms = [facts.observation(headroom).measured, *(observation.measured for observation in observations)]
    whole = next((space for space in rooms if isinstance(space, Headroom)), None)
    if whole is None:
        return room(facts, observations)
    return impact.stops() if whole.fits == 0 else impact.takes_room(f"{whole.fits} of {whole.wanted} jobs fit")


def admission(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Pods that the API refuses: every job's, only those with Docker-in-Docker, or those on some nodes."""
    faulty = [observation for observation in observations if observation.faulty]
    if faulty and all(observation.is_of(dind_admission) for observation in faulty):
        return impact.stops("Docker-in-Docker jobs")
    workers = nodes_of(faulty)
    if workers and all(observation.targets for observation in faulty):
        return impact.stops_on(workers, of=measured_workers(facts, faulty))
    return impact.stops()


# ---- GitLab ----------------------------------------------------------------------------------------------------------


def server_answered(fault: Fault | None) -> bool:
    """Whether a fault is an answer of the server itself, and so the same for everyone."""
    return fault is not None and fault not in _UNANSWERED


def is_by_address(inventory: Inventory) -> bool:
    """Whether GitLab is known by an address, so that no name is needed to reach it."""
    try:
        ipaddress.ip_address(urlsplit(inventory.gitlab.url).hostname or "")
    except ValueError:
        return False
    return True


def gitlab_for_jobs(facts: Facts, _observations: Sequence[Observation]) -> Impact:
    """GitLab, as pods see it, else as their nodes do, else as this machine does."""
    views = {
        observation.targets["worker"]: observation
        for observation in (*facts.observations(node_gitlab, node_reply), *facts.observations(pod_gitlab))
        if observation.measured is not None
    }
    if not views:
        here = next(iter(facts.first_observed(gitlab_reply, gitlab_connection)), None)
        if here is not None and server_answered(here.fault):
            return impact.stops()
        return impact.unseen("GitLab was looked at from this machine alone")
    cut_off = [worker for worker, observation in views.items() if observation.faulty]
    if not cut_off:
        return impact.none("the cluster reaches GitLab, this machine alone does not", hides=True)
    return impact.stops_on(cut_off, of=tuple(views))


def gitlab_from(facts: Facts, workers: Collection[str]) -> Impact:
    """Workers that do not reach GitLab: their jobs fail, unless their pods do reach it."""
    reaching = {observation.targets["worker"] for observation in facts.observations(pod_gitlab) if observation.healthy}
    cut_off = [worker for worker in workers if worker not in reaching]
    if not cut_off:
        return impact.none("pods reach GitLab, the nodes themselves do not")
    views = [
        observation
        for observation in facts.observations(node_gitlab, node_reply, pod_gitlab)
        if observation.measured is not None
    ]
    return impact.stops_on(cut_off, of=targets_of(views, "worker"))


# ---- names -----------------------------------------------------------------------------------------------------------

_NO_HELP = frozenset({DnsFault.TIMEOUT, DnsFault.UNREACHABLE, DnsFault.REFUSED, DnsFault.SERVFAIL, DnsFault.GARBLED})
"""Faults of a resolver after which a program asks the next one (docs/sources.md#resolvers)."""


def resolvers_for_jobs(facts: Facts, workers: Collection[str]) -> Impact:
    """Resolvers that do not help: lookups wait for the next one; where none is left, names are not resolved.

    Args:
        facts: of this run.
        workers: those that the cause is about; none means all.
    """
    resolvers, everywhere = facts.inventory.dns.resolvers, tuple(facts.inventory.workers) or ("",)
    concerned = tuple(workers) or everywhere
    left = {worker: [name for name in resolvers if _helps(facts, worker, name)] for worker in concerned}
    without = [worker for worker, helping in left.items() if not helping]
    if without:
        return impact.stops_on([worker for worker in without if worker], of=everywhere)
    fewest = min((len(helping) for helping in left.values()), default=0)
    slowed = impact.slows_on([worker for worker in concerned if worker], of=everywhere)
    return replace(slowed, jobs=f"{slowed.jobs}: {fewest} of {len(resolvers)} resolvers answer")


def _helps(facts: Facts, worker: str, resolver: str) -> bool:
    """Whether a job on that worker gets an answer from that resolver, as far as anything was measured."""
    for observation in (
        facts.observation(pod_lookups, worker=worker, resolver=resolver),
        facts.observation(node_answers, worker=worker, resolver=resolver),
        facts.observation(here_lookups, resolver=resolver),
    ):
        lookups = observation.measured
        if isinstance(lookups, Lookups) and lookups.answers:
            return any(answer.fault not in _NO_HELP for answer in lookups.answers)
    return True


def names_for_jobs(names: Collection[str], inventory: Inventory) -> Impact:
    """Names that jobs get no address for, or a wrong one."""
    if urlsplit(inventory.gitlab.url).hostname in names:
        return impact.stops()
    registries = {urlsplit(f"//{settings.host}").hostname for settings in inventory.registries.values()}
    named = joined(names)
    return impact.stops(f"jobs that pull from {named}" if registries >= set(names) else f"jobs that need {named}")


def names_in_pods(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Other resolver settings than expected: they harm where programs in pods do not find the names."""
    inside = [observation for observation in facts.observations(pod_names) if observation.measured is not None]
    workers = nodes_of(observations)
    judged = [observation for observation in inside if not workers or observation.targets["worker"] in workers]
    if not judged:
        return impact.unseen("nothing shows whether jobs resolve the names with these settings")
    failing = [observation for observation in judged if observation.faulty]
    if not failing:
        return impact.none("jobs resolve every name with the settings that they have")
    return impact.stops_on(nodes_of(failing), of=nodes_of(inside))


def ignored_resolvers(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """As `names_in_pods`, where the settings of jobs are not in effect: found names are no merit of theirs."""
    shown = names_in_pods(facts, observations)
    if shown.harm is Harm.STOPS:
        return shown
    return impact.removes_reserve("jobs ask other resolvers than those that they are to have")


# ---- pulls -----------------------------------------------------------------------------------------------------------


def pulls_from(facts: Facts, host: str) -> tuple[Observation, ...]:
    """The pulls from a registry by nodes and pods."""
    return tuple(
        observation
        for observation in facts.observations(node_pull, pod_pull)
        if observation.measured is not None and str(getattr(observation.measured, "image", "")).startswith(f"{host}/")
    )


def jobs_that_pull(facts: Facts, hosts: Collection[str], *, fault: Fault | None) -> Impact:
    """Registries that refuse or do not answer: pulls by nodes and pods decide, else what was observed from here."""
    made = [observation for host in hosts for observation in pulls_from(facts, host)]
    failed = [observation for observation in made if observation.faulty]
    jobs = f"jobs that pull from {joined(hosts)}"
    if failed:
        return impact.stops_on(nodes_of(failed), of=nodes_of(made), jobs=jobs)
    if made:
        return impact.none("the cluster pulls from it")
    if server_answered(fault):
        return impact.stops(jobs)
    return impact.unseen(f"{joined(hosts)} was looked at from this machine alone")


def registry_for_jobs(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A registry, by the pulls from it."""
    registries = facts.inventory.registries
    hosts = [registries[name].host for name in targets_of(observations, "registry") if name in registries]
    hosts += [str(observation.measured.target) for observation in observations if observation.measured and not hosts]
    return jobs_that_pull(facts, hosts or ["a registry"], fault=observations[0].fault if observations else None)


def image_for_jobs(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Images, by the pulls of them; an image that nobody has pulled is judged by the registry's own answer."""
    images = targets_of(observations, "image")
    made = [
        observation
        for observation in facts.observations(node_pull, pod_pull)
        if observation.measured is not None and getattr(observation.measured, "image", "") in images
    ]
    failed = [observation for observation in made if observation.faulty]
    jobs = f"jobs that use {joined(images, longest=2)}" if images else "jobs that pull images"
    if made and not failed:
        return impact.none("nodes and pods pull it")
    if failed:
        return impact.stops_on(nodes_of(failed), of=nodes_of(made), jobs=jobs)
    if all(server_answered(observation.fault) for observation in observations):
        return impact.stops(jobs)
    return impact.unseen("it was looked at from this machine alone")


# ---- the release and its managers ------------------------------------------------------------------------------------


def is_to_come(facts: Facts) -> bool:
    """Whether jobs depend on a release that is still to be installed or upgraded."""
    if facts.stage in {Stage.INSTALL, Stage.UPGRADE}:
        return True
    record = facts.observation(release_record)
    return record.measured is None or record.fault is ReleaseFault.MISSING


def before_the_release(otherwise: Impact) -> ImpactRule:
    """What keeps Helm from installing the release: it stops all jobs of one that is to come."""
    return lambda facts, _observations: (
        impact.stops("all jobs of the release to come") if is_to_come(facts) else otherwise
    )


def managers(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Managers that take no jobs: the others do, as long as there are any."""
    registered = next((item.measured for item in observations if isinstance(item.measured, RegisteredManagers)), None)
    if registered is not None and registered.online:
        return impact.removes_reserve(
            f"managers that take jobs: {len(registered.online)}, fewer than the values ask for"
        )
    counts = [count for observation in observations if (count := _taking_jobs(facts, observation)) is not None]
    if not counts:
        return impact.stops()
    if any(observation.fault is ManagerFault.SCALED_DOWN for observation in observations) and counts[0][0] > 0:
        return impact.removes_reserve(
            f"managers that take jobs: {counts[0][0]}, fewer than the release's values ask for"
        )
    left, wanted = min(counts)
    if left <= 0:
        return impact.stops()
    if left >= wanted:
        return impact.none("it is over: every manager is ready")
    return impact.removes_reserve(f"{left} of {wanted} managers take jobs")


def _taking_jobs(facts: Facts, observation: Observation) -> tuple[int, int] | None:
    """How many managers take jobs, and how many there should be; None where that is not known."""
    match observation.measured:
        case ManagerPods() as state:
            replicas = max(state.wanted, len(state.pods))
            return sum(pod.ready for pod in state.pods), replicas
        case Rollout() as rollout:
            pods = facts.observation(manager_readiness).measured
            ready = sum(pod.ready for pod in pods.pods) if isinstance(pods, ManagerPods) else rollout.available
            return ready, max(rollout.wanted, 1)
        case ManagerLogs() as written:
            return sum(log.fault is None for log in written.logs), len(written.logs)
        case ManagerMetrics() as metrics:
            return sum(not _polls_in_vain(page.polls) for page in metrics.pages), len(metrics.pages)
        case _:
            return None


def _polls_in_vain(polls: Any) -> bool:
    """Whether GitLab refuses a manager's polls, or most of them are lost."""
    refused, lost = polls.get("403", 0), polls.get("-1", 0)
    return bool(refused) or lost > sum(polls.values()) - lost
