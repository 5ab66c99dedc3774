"""6.5, 7 The room for jobs, their placement, their cache and what else they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preflight.clients import kube_api as api_client
from preflight.clients.connect import split_address
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.facts.blocking import (
    block_if_no_resolver_knows,
    block_if_packets_are_lost,
    block_if_search_list_misleads,
    require_read,
)
from preflight.facts.probe_plan import cache_of, own_services
from preflight.facts.references import Ref
from preflight.facts.target_selectors import as_node
from preflight.faults import PodFault, TuningFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, job_pod_limits, job_pod_requests
from preflight.probes import cluster, node_disk, placement, shell, shell_readers, transcript
from preflight.probes import headroom as packing
from preflight.probes.cluster import NamespaceState, Nodes, PodRequests
from preflight.probes.dns import Lookups
from preflight.probes.headroom import Headroom
from preflight.probes.latency import RoundTrips
from preflight.probes.nodes import NodeState
from preflight.probes.placement import Endpoint, Placement
from preflight.probes.registry import Manifest
from preflight.probes.shell_readers import Connection
from preflight.probes.transcript import FoundNames, NodeLogin, Report, WorkerRoom
from preflight.run import Run
from preflight.sizes import OPTIONS, resized
from preflight.values import RESOURCE_SETTINGS, Values


@fact(after=("api_answer",), deadline="api+api+api", reported_by=("namespace_presence",))
def namespace_state(kubernetes: api_client.Api, job_shape: JobShape) -> NamespaceState:
    """The jobs' namespace: whether it is there, its quotas and limits."""
    return cluster.namespace_state(kubernetes, job_shape.namespace)


@fact(after=("api_answer",), deadline="api+api+api", reported_by=("headroom",))
def running_pods(kubernetes: api_client.Api, job_shape: JobShape, run: Run) -> PodRequests:
    """The requests of the pods on each node."""
    return cluster.pod_requests(kubernetes, namespace=job_shape.namespace, own_host=run.own_host)


NODES = {
    Ref.NODE_PRESENCE: "node",
    Ref.NODE_READINESS: "node",
    Ref.NODE_PRESSURE: "node",
    Ref.WORKER_PLACEMENT: "worker",
}
"""Facts that can make a node unfit for jobs, with their kind of target; a check of each reports it."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A worker that takes no jobs: its state, and the fact whose check reports it."""

    fact: Ref
    kind: str
    state: NodeState


@fact(optional=tuple(NODES), fan_in={str(name): kind for name, kind in NODES.items()})
def unfit_workers(
    node_presence: tuple[NodeState, ...],
    node_readiness: tuple[NodeState, ...],
    node_pressure: tuple[NodeState, ...],
    worker_placement: tuple[NodeState, ...],
    inventory: Inventory,
) -> Mapping[str, Unfit]:
    """The workers that other checks report as unfit for jobs, by name."""
    families = zip(NODES.items(), (node_presence, node_readiness, node_pressure, worker_placement), strict=True)
    return {
        state.node: Unfit(name, kind, state)
        for (name, kind), family in reversed(list(families))
        for state in family
        if state.fault is not None and state.node in inventory.workers
    }


@fact(optional=("worker_placement",), fan_in={"worker_placement": "worker"})
def headroom(
    worker_placement: tuple[NodeState, ...],
    unfit_workers: Mapping[str, Unfit],
    cluster_nodes: Nodes,
    running_pods: PodRequests,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    helm_values: Values,
    inventory: Inventory,
) -> Headroom:
    """The room for jobs on the cluster."""
    require_read(helm_values, *RESOURCE_SETTINGS)
    refusing = [state for state in worker_placement if state.fault is not None]
    if refusing and len(refusing) == len(worker_placement):
        raise Blocked.by(Ref.WORKER_PLACEMENT, refusing[0], {"worker": refusing[0].node})
    room = packed(cluster_nodes, running_pods, namespace_state, job_shape, inventory)
    block_if_nodes_are_unavailable(room, unfit_workers)
    return room


def packed(
    nodes: Nodes,
    running: PodRequests,
    namespace: NamespaceState,
    shape: JobShape,
    inventory: Inventory,
    *,
    wanted: int | None = None,
) -> Headroom:
    """Jobs of that shape, packed onto the nodes; as many as the values allow, if no number is given."""
    services = len(own_services(shape, inventory))
    return packing.pack(
        nodes,
        running,
        job=job_pod_requests(shape, services, limit_ranges=namespace.limit_ranges),
        job_limits=job_pod_limits(shape, services, limit_ranges=namespace.limit_ranges),
        shape=shape,
        quotas=namespace.quotas,
        wanted=wanted,
    )


def block_if_nodes_are_unavailable(room: Headroom, unfit: Mapping[str, Unfit]) -> None:
    """Raise `Blocked` if jobs lack only the room of workers that other checks report as unfit."""
    if room.fault is not None and unfit and packing.would_suffice(room, unfit):
        first = next(iter(unfit.values()))
        raise Blocked.by(first.fact, first.state, {first.kind: first.state.node}, measured=room)


@fact(after=("worker_placement",), tolerates=("headroom",))
def worker_headroom(worker: str, headroom: Headroom) -> WorkerRoom:
    """The room for jobs on a worker."""
    if headroom.fits == 0:
        raise Blocked.by(Ref.HEADROOM, headroom)
    return transcript.worker_room(worker, headroom)


@fact()
def option_headroom(
    option: str,
    headroom: Headroom,
    unfit_workers: Mapping[str, Unfit],
    cluster_nodes: Nodes,
    running_pods: PodRequests,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    inventory: Inventory,
) -> Headroom:
    """The room for one of the guide's options for more concurrent jobs."""
    managers, jobs = OPTIONS[option]
    room = packed(cluster_nodes, running_pods, namespace_state, job_shape, inventory, wanted=managers * jobs)
    block_if_nodes_are_unavailable(room, unfit_workers)
    return packing.in_all(room)


@fact(tolerates=("headroom",))
def scenario_headroom(
    scenario: str,
    headroom: Headroom,
    unfit_workers: Mapping[str, Unfit],
    cluster_nodes: Nodes,
    running_pods: PodRequests,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    inventory: Inventory,
) -> Headroom:
    """The room for as many jobs of another size."""
    shape = resized(job_shape, scenario)
    room = packed(cluster_nodes, running_pods, namespace_state, shape, inventory, wanted=headroom.wanted)
    block_if_nodes_are_unavailable(room, unfit_workers)
    if room.fault is not None and headroom.fault is not None:
        raise Blocked.by(Ref.HEADROOM, headroom)
    return packing.in_all(room)


@fact()
def manager_placement(cluster_nodes: Nodes, helm_values: Values) -> Placement:
    """The nodes that the values select for the managers."""
    rendered = helm_values.rendering.pod_spec if helm_values.rendering is not None else helm_values.tree
    selector = {str(key): str(value) for key, value in (rendered.get("nodeSelector") or {}).items()}
    return placement.placement("managers", selector, rendered.get("affinity"), cluster_nodes)


@fact(optional=("worker_placement",), fan_in={"worker_placement": "worker"})
def job_placement(cluster_nodes: Nodes, worker_placement: tuple[NodeState, ...], job_shape: JobShape) -> Placement:
    """The nodes that the values select for jobs."""
    selected = placement.placement("jobs", job_shape.node_selector, job_shape.affinity, cluster_nodes)
    if selected.fault is TuningFault.NO_NODE_MATCHES:
        for state in worker_placement:
            if state.fault is PodFault.UNSCHEDULABLE_SELECTOR:
                raise Blocked.by(Ref.WORKER_PLACEMENT, state, {"worker": state.node})
    return selected


@fact()
def preferred_placement(manager_placement: Placement, job_placement: Placement) -> Placement:
    """The nodes that the values prefer."""
    return placement.preferences((manager_placement, job_placement))


@fact(effect="static")
def cache_settings(helm_values: Values) -> Endpoint:
    """Where the values keep the jobs' cache."""
    require_read(helm_values, "runners.cache")
    try:
        endpoint = cache_of(helm_values)
    except ValueError as error:
        raise Unmeasured(
            f"the address of the cache in runners.config can't be read: {error}", needs="host:port as `ServerAddress`"
        ) from None
    if endpoint is None:
        reason = "no [runners.cache] with a Type in runners.config: jobs keep no cache"
        raise NotApplicable(reason)
    return endpoint


@fact(optional=("here_lookups", "pod_names"), fan_in={"here_lookups": "resolver"})
def pod_cache(
    worker: str,
    cache_settings: Endpoint,
    pod_report: Report,
    here_lookups: tuple[Lookups, ...],
    pod_names: FoundNames | None,
) -> Connection:
    """The connection from a job's pod on a worker to the cache."""
    step = shell.tcp(cache_settings.host, cache_settings.port)
    where = pod_report.where
    connection = shell_readers.read_tcp(pod_report.section(step), where=where)
    block_if_no_resolver_knows(connection, cache_settings.host, here_lookups)
    block_if_search_list_misleads(connection, pod_names)
    return connection


@fact(optional=("here_lookups", "pod_names", "pod_losses"), fan_in={"here_lookups": "resolver"})
def pod_destination(
    worker: str,
    destination: str,
    pod_report: Report,
    here_lookups: tuple[Lookups, ...],
    pod_names: FoundNames | None,
    pod_losses: RoundTrips | None,
) -> Connection:
    """The connection from a job's pod on a worker to a host that jobs need."""
    step = shell.tcp(*split_address(destination))
    connection = shell_readers.read_tcp(pod_report.section(step), where=pod_report.where)
    block_if_no_resolver_knows(connection, destination, here_lookups)
    block_if_search_list_misleads(connection, pod_names)
    block_if_packets_are_lost(connection, pod_losses, Ref.POD_LOSSES, worker)
    return connection


@fact(
    after=("node_pressure",),
    for_target={"node_pressure": ("node", as_node)},
    deadline="script",
    optional=("manifest",),
    fan_in={"manifest": "image"},
    reported_by=("node_room_for_images",),
)
def node_filesystems(
    worker: str,
    node_login: NodeLogin,
    cluster_nodes: Nodes,
    manifest: tuple[Manifest, ...],
    inventory: Inventory,
) -> node_disk.NodeDisk:
    """The filesystems of a worker that images fill."""
    node = cluster_nodes.named(worker)
    return node_disk.node_disk(
        worker,
        node_login.session,
        sizes={image.image: image.size for image in manifest if image.size},
        inside=[] if inventory.dind == "none" else [inventory.dind.pull],
        present=node.images if node is not None else frozenset(),
        runtime=node.runtime if node is not None else "",
        deadline=inventory.deadlines.script,
    )


node_room_for_images = view(
    "node_room_for_images",
    node_filesystems,
    node_disk.filling,
    "The room for images on a worker's disk.",
)
node_disk_reserve = view(
    "node_disk_reserve",
    node_filesystems,
    node_disk.nearly_full,
    "What is left on a worker's disk beside the images.",
    after=("node_room_for_images",),
)
