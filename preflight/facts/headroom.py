"""6.5, 7 The room for jobs; before the pods, whose start it explains."""

from __future__ import annotations

from preflight.evidence import Blocked
from preflight.faults import PodFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, job_pod_limits, job_pod_requests
from preflight.probes import cluster, transcript
from preflight.probes import headroom as packing
from preflight.probes import kubernetes as api_client
from preflight.probes.cluster import ApiServer, NamespaceState, Nodes, PodRequests
from preflight.probes.headroom import Headroom
from preflight.probes.nodes import NodeState
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.transcript import (
    WorkerRoom,
)
from preflight.survey import fact


@fact(deadline="api+api+api")
def namespace_state(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> NamespaceState:
    """The jobs' namespace: whether it is there, its quotas and limits."""
    del api_answer
    return cluster.namespace_state(kubernetes, job_shape.namespace)


@fact(deadline="api+api+api")
def running_pods(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> PodRequests:
    """What the pods on each node ask for."""
    del api_answer
    return cluster.pod_requests(kubernetes, namespace=job_shape.namespace)


NODES = {
    "node_presence": "node",
    "node_readiness": "node",
    "node_pressure": "node",
    "worker_placement": "worker",
}
"""What keeps jobs off a node, by fact and kind of target; a check of each reports it."""


@fact(optional=(*NODES, "pod_admission"), speaks_for=("running_pods",), across=NODES)
def headroom(
    worker_placement: tuple[NodeState, ...],
    node_presence: tuple[NodeState, ...],
    node_readiness: tuple[NodeState, ...],
    node_pressure: tuple[NodeState, ...],
    pod_admission: PodAdmission | None,
    cluster_nodes: Nodes,
    running_pods: PodRequests,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    inventory: Inventory,
) -> Headroom:
    """The room for jobs on the cluster."""
    services = 0 if inventory.dind == "none" else 1
    limits = namespace_state.limit_ranges
    refusing = [one for one in worker_placement if one.fault is not None]
    if refusing and len(refusing) == len(worker_placement):
        said = f"{refusing[0].fault}: {refusing[0].cause}"
        raise Blocked("worker_placement", {"worker": refusing[0].node}, said, failed=True)
    found = packing.pack(
        cluster_nodes,
        running_pods,
        job=job_pod_requests(job_shape, services, limit_ranges=limits),
        job_limits=job_pod_limits(job_shape, services, limit_ranges=limits),
        shape=job_shape,
        quotas=namespace_state.quotas,
    )
    full = pod_admission is not None and pod_admission.fault is PodFault.QUOTA
    if full and pod_admission is not None and found.quota_limit == 0:  # a quota that lets no pod in: told there
        said = f"{pod_admission.fault}: {pod_admission.cause}"
        raise Blocked("pod_admission", {}, said, failed=True, seen=found)
    unless_nodes_are_out(found, inventory, node_presence, node_readiness, node_pressure, worker_placement)
    return found


def unless_nodes_are_out(found: Headroom, inventory: Inventory, *states: tuple[NodeState, ...]) -> None:
    """Raise `Blocked` if jobs lack only the room of workers that a check of their own finds unfit.

    Args:
        found: the room that there is.
        inventory: names the workers.
        states: of all nodes, in the order of `NODES`.
    """
    if found.fault is None:
        return
    unfit = {
        one.node: (name, kind, one)
        for (name, kind), family in reversed(list(zip(NODES.items(), states, strict=True)))
        for one in family
        if one.fault is not None and one.node in inventory.workers
    }
    if unfit and packing.would_suffice(found, unfit):
        name, kind, state = next(iter(unfit.values()))
        raise Blocked(name, {kind: state.node}, f"{state.fault}: {state.cause}", failed=True, seen=found)


@fact(tolerates=("headroom",))
def worker_headroom(worker: str, worker_placement: NodeState, headroom: Headroom) -> WorkerRoom:
    """The room for jobs on a worker."""
    del worker_placement
    if headroom.fits == 0:
        raise Blocked("headroom", {}, f"{headroom.fault}: {headroom.cause}", failed=True)
    return transcript.worker_room(worker, headroom)
