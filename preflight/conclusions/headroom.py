"""6.5, 7 Room for jobs: which resource runs out where, what uses it, how many jobs fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from preflight import impact
from preflight.conclusions.impacts import (
    jobs_that_fit,
    measured_workers,
    no_harm,
    nodes_of,
    reserve,
    room,
    slows_there,
)
from preflight.conclusions.model import Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, single, steps_of
from preflight.conclusions.vantages import has_fault, joined, proofs, targets_of
from preflight.facts.dind import dind_admission, dind_daemon
from preflight.facts.headroom import (
    headroom,
    node_disk_reserve,
    node_room_for_images,
    option_headroom,
    pod_cache,
    pod_destination,
    scenario_headroom,
    worker_headroom,
)
from preflight.facts.namespace import filled_quotas, old_job_objects
from preflight.facts.pods import pod_admission, pod_start
from preflight.faults import PodFault
from preflight.impact import Impact
from preflight.probes.headroom import Headroom
from preflight.probes.job_leftovers import JobLeftovers
from preflight.shell_command import pipe, program

TOO_FEW_FIT = cause("too-few-jobs-fit", "6.5", "room-for-jobs")
QUOTA_EXHAUSTED = cause("quota-exhausted", "3.2", "quota", specialises="quota-too-small-for-jobs")
QUOTA_FILLED = cause("leftovers-fill-quota", "3.2", "job-leftovers", specialises="quota-exhausted")
QUOTA_SHORT = cause("quota-too-small-for-jobs", "6.5", "quota")

single(
    cause("scenario-does-not-fit", "7.2", "room-for-jobs"),
    no_harm("jobs of that size are not configured"),
    scenario_headroom,
    option_headroom,
    remedy=("lower `concurrent`, `replicas` or the requests of that scenario in {values}, or add nodes",),
)
_DISK = (
    "on {node} (`{ssh_command}{address}`): `df -h`, `crictl images`, `du -xsh /var/lib/*` show what fills it",
    "`crictl rmi --prune` there removes images that no container uses",
    "or give {nodes} a larger disk, or a disk of their own for images",
)
single(
    cause("node-disk-too-small", "6.5", "eviction"),
    room,
    node_room_for_images,
    remedy=_DISK,
)
single(
    cause("node-disk-nearly-full", "6.5", "eviction"),
    reserve("images and jobs fit, and hardly more"),
    node_disk_reserve,
    remedy=_DISK,
)
single(
    cause("cache-unreachable", "7.4", "cache"),
    slows_there("jobs with a cache"),
    pod_cache,
    remedy=(
        "`[runners.cache.s3] ServerAddress` in {values}: correct it, or start that server",
        "allow the pod network {pod_cidr} to it",
    ),
)


def _jobs_that_need_it(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Jobs that need a host which pods do not reach, on the nodes where they do not."""
    jobs = f"jobs that need {joined(targets_of(observations, 'destination'), longest=2)}"
    return impact.stops_on(nodes_of(observations), of=measured_workers(facts, observations), jobs=jobs)


single(
    cause("destination-unreachable", "7.4", "path-compare"),
    _jobs_that_need_it,
    pod_destination,
    remedy=(
        "allow the pod network {pod_cidr} to it (firewall, NetworkPolicy, security group), or give the jobs the proxy "
        "that leads there: `environment` in {values}",
        "refused: start what listens there; unresolved: add its name to {resolvers}",
        "if jobs do without it: take it out of `destinations` in the inventory",
    ),
)


def _leftover_commands(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The commands that list and delete what jobs have left."""
    measured = next((each.measured for each in observations if isinstance(each.measured, JobLeftovers)), None)
    if measured is None:
        listing = program("kubectl", "get", "pods,secrets,configmaps")
        return {"list": listing, "delete": listing}
    return {"list": measured.listing, "delete": measured.deleting}


_CLEAN = (
    "`{list}` lists what jobs have left",
    "`{delete}`",
)

single(
    cause("jobs-left-objects", "3.2", "job-leftovers"),
    no_harm("what is left takes no quota that the next job needs"),
    old_job_objects,
    remedy=_CLEAN,
    names=_leftover_commands,
)


def _stopped_by_quota(facts: Facts, *, measured: bool) -> tuple[Observation, ...]:
    """Pods that the quota refused, or (not `measured`) those not created because little of it is left."""
    by_quota = has_fault(PodFault.QUOTA)
    return tuple(
        observation
        for observation in facts.observations(pod_admission, dind_admission, pod_start, dind_daemon)
        if by_quota(observation) and observation.faulty is measured
    )


@rule
def filled_by_leftovers(facts: Facts) -> Iterator[Conclusion]:
    """A quota that is used up by what jobs have left: it explains what the quota refuses."""
    filled = facts.observation(filled_quotas)
    measured = filled.measured
    if not isinstance(measured, JobLeftovers) or measured.fault is None:
        return
    of_pods = [name for name in measured.resources if name != "count/secrets"]
    whole = facts.observation(headroom)
    bounded = isinstance(whole.measured, Headroom) and whole.measured.quota_limit is not None
    short = facts.failing(headroom, worker_headroom, where=lambda each: each.faulty) if bounded else ()
    refused = (*_stopped_by_quota(facts, measured=True), *_stopped_by_quota(facts, measured=False), *short)
    yield Conclusion(
        cause=QUOTA_FILLED,
        sentence=measured.cause,
        certain=True,
        impact=impact.stops() if of_pods else impact.stops("jobs that log in to a registry"),
        explains=keys((filled, *(refused if of_pods else ()))),
        proofs=proofs(*(Proof.of(each.measured) for each in (filled, *refused)[:2] if each.measured)),
        remedy=steps_of(_CLEAN, _leftover_commands(facts, [filled])),
    )


@rule
def quota(facts: Facts) -> Iterator[Conclusion]:
    """A used-up quota: admission refuses every job's pod, so there is room for none."""
    refused = _stopped_by_quota(facts, measured=True)
    if not refused:
        return
    names, whole = names_of(facts, refused), facts.observation(headroom)
    bounded = isinstance(whole.measured, Headroom) and whole.measured.quota_limit is not None
    short = facts.failing(headroom, worker_headroom, where=lambda observation: observation.faulty) if bounded else ()
    sentence = next(observation.measured.cause for observation in refused if observation.measured is not None)
    yield Conclusion(
        cause=QUOTA_EXHAUSTED,
        about=targets_of(refused, "worker"),
        sentence=sentence,
        certain=True,
        impact=impact.stops(),
        explains=keys((*refused, *short)),
        proofs=proofs(
            *(Proof.of(observation.measured) for observation in (*refused[:1], *short[:1]) if observation.measured)
        ),
        remedy=(
            f"`{program('kubectl', 'describe', 'quota', '-n', names['job_namespace'])}`",
            f"remove what uses it (`{program('kubectl', 'get', 'pods', '-n', names['job_namespace'])}`: old job pods?)"
            ", or raise the quota",
        ),
    )


@rule
def room_for_jobs(facts: Facts) -> Iterator[Conclusion]:
    """Why the jobs that replicas and concurrency allow do not fit at the same time."""
    failing = facts.failing(headroom, worker_headroom, where=lambda observation: observation.faulty)
    if not failing:
        return
    whole = facts.observation(headroom).measured
    space = whole if isinstance(whole, Headroom) else None
    by_quota = space is not None and space.quota_limit is not None and space.quota_limit <= space.fits
    if by_quota and _stopped_by_quota(facts, measured=True):
        return  # the quota is used up, which explains both
    # A probe leaves the last tenth of a quota alone, so the quota also keeps the suite from measuring.
    unmeasured = _stopped_by_quota(facts, measured=False) if by_quota else ()
    names = names_of(facts, failing)
    about = targets_of(failing, "worker")
    sentence = (
        space.cause
        if space is not None and space.fault
        else "; ".join(
            dict.fromkeys(observation.measured.cause for observation in failing if observation.measured is not None)
        )
    )
    names["lack"] = lack = space.runs_out if space is not None else ""
    steps = (
        ("`kubectl describe quota -n {job_namespace}`: raise it, or lower `concurrent` or requests in {values}",)
        if by_quota
        else (
            "free {lack}: `kubectl describe nodes | grep -A8 'Allocated resources'` shows what is requested"
            if lack
            else "`kubectl describe nodes | grep -A8 'Allocated resources'` shows what is requested",
            "lower `concurrent`, `replicas` or the jobs' requests in {values} (`{upgrade}`), or add a node",
        )
    )
    if space is not None and not by_quota and space.fillers:
        largest = space.fillers[0]
        namespace, _, owner = largest.owner.partition("/")
        names["owner"] = largest.owner
        names["shown_by"] = pipe(
            program("kubectl", "get", owner.lower(), "-n", namespace, "-o", "yaml"),
            program("grep", "-A", 6, "resources"),
        )
        steps = ("does {owner} need that much? `{shown_by}`", *steps)
    yield Conclusion(
        cause=QUOTA_SHORT if by_quota else TOO_FEW_FIT,
        about=about,
        sentence=sentence or f"no room for a job on {joined(about)}",
        certain=True,
        impact=jobs_that_fit(facts, failing),
        explains=keys((*failing, *unmeasured)),
        proofs=proofs(*(Proof.of(observation.measured) for observation in failing[:2] if observation.measured)),
        remedy=steps_of(steps, names),
    )
