"""2.3 The cluster, through its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from preflight import jobsettings
from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact, view
from preflight.facts.blocking import require_read
from preflight.facts.headroom import packed
from preflight.facts.probe_plan import named_node
from preflight.facts.references import Ref
from preflight.facts.target_selectors import as_node
from preflight.faults import ClusterFault, PodFault
from preflight.inventory import OTHER_NODES, Inventory
from preflight.jobshape import WINDOWS, JobShape
from preflight.probes import cluster, encryption, transcript
from preflight.probes import cluster_dns as dns_service
from preflight.probes import nodes as node_states
from preflight.probes.cluster import ApiClock, ApiServer, Metrics, NamespaceState, Nodes, PodRequests, ServiceEndpoints
from preflight.probes.encryption import Encryption
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom
from preflight.probes.nodes import NodeState, PoolState
from preflight.run import Run
from preflight.values import Values


@fact(deadline="api", reported_by=("api_answer",))
def kubernetes(inventory: Inventory, run: Run) -> Iterator[api_client.Api]:
    """The client of the Kubernetes API."""
    api = api_client.Api(
        inventory.cluster.kubeconfig, inventory.cluster.context, routes=run.routes, deadline=inventory.deadlines.api
    )
    yield api
    api.close()


@fact(deadline="api", reported_by=("api_answer",))
def api_server(kubernetes: api_client.Api, inventory: Inventory) -> ApiServer:
    """The API server's answer."""
    return cluster.api_server(kubernetes, expected_url=inventory.cluster.api_server)


@fact(tolerates=("api_server",))
def api_answer(api_server: ApiServer) -> ApiServer:
    """Whether the API server answers and is healthy."""
    return replace(api_server, fault=None, cause="") if api_server.fault is ClusterFault.WRONG_ADDRESS else api_server


api_address = view(
    "api_address",
    api_server,
    lambda server: server.only(ClusterFault.WRONG_ADDRESS),
    "The API server's address in the kubeconfig.",
    after=("api_answer",),
)


@fact(reported_by=("api_answer",))
def api_encryption(kubernetes: api_client.Api) -> Encryption:
    """How the way to the API server is protected."""
    return encryption.of_api_server(kubernetes.config)


@fact(optional=("gitlab_reply",))
def api_clock(api_answer: ApiServer, gitlab_reply: GitLabReply | None, inventory: Inventory) -> ApiClock:
    """The API server's clock."""
    gitlab_offset = gitlab_reply.clock_offset if gitlab_reply is not None else None
    return cluster.api_clock(api_answer, gitlab_offset=gitlab_offset, allowed=inventory.limits.clock_skew)


@fact()
def api_version(api_answer: ApiServer, inventory: Inventory) -> ApiServer:
    """The control plane's version."""
    if transcript.matches(api_answer.version, inventory.cluster.version):
        return api_answer
    cause = f"the API server is {api_answer.version}, the inventory says {inventory.cluster.version}"
    return replace(api_answer, fault=ClusterFault.WRONG_VERSION, cause=cause)


@fact(after=("api_answer",), deadline="api+api+api")
def cluster_nodes(kubernetes: api_client.Api, inventory: Inventory) -> Nodes:
    """The cluster's nodes, as its API lists them."""
    return cluster.nodes(kubernetes, with_images=inventory.workers)


@fact()
def node_presence(node: str, cluster_nodes: Nodes, inventory: Inventory) -> NodeState:
    """Whether a node of the inventory is in the cluster."""
    return node_states.presence(node, inventory.cluster.nodes[node].address, cluster_nodes)


@fact(after=("node_presence",))
def node_readiness(node: str, cluster_nodes: Nodes) -> NodeState:
    """Whether a node is Ready."""
    return node_states.readiness(named_node(node, cluster_nodes), cluster_nodes)


@fact(after=("node_readiness",))
def node_pressure(node: str, cluster_nodes: Nodes) -> NodeState:
    """Whether a node is short of something."""
    return node_states.pressure(named_node(node, cluster_nodes), cluster_nodes)


@fact(after=("node_presence",))
def node_role(node: str, cluster_nodes: Nodes, inventory: Inventory) -> NodeState:
    """A node's role."""
    return node_states.role(named_node(node, cluster_nodes), inventory.cluster.nodes[node].role, cluster_nodes)


@fact(after=("node_presence",))
def node_version(node: str, api_answer: ApiServer, cluster_nodes: Nodes, inventory: Inventory) -> NodeState:
    """A node's kubelet beside the API server."""
    allowed = inventory.limits.version_skew
    return node_states.version_skew(named_node(node, cluster_nodes), api_answer.version, allowed, cluster_nodes)


@fact(after=("values_toml",), effect="static")
def job_shape(helm_values: Values, inventory: Inventory) -> JobShape:
    """The shape of a job's pod, from the values file."""
    require_read(helm_values, *helm.POD_SETTINGS)
    return jobsettings.job_shape(helm_values, inventory.cluster.platform)


@fact(
    after=("node_pressure",),
    for_target={"node_pressure": ("node", as_node)},
    optional=("running_pods", "namespace_state"),
)
def worker_placement(
    worker: str,
    cluster_nodes: Nodes,
    job_shape: JobShape,
    running_pods: PodRequests | None,
    namespace_state: NamespaceState | None,
    inventory: Inventory,
) -> NodeState:
    """Whether jobs may be scheduled on a worker."""
    node = named_node(worker, cluster_nodes)
    if node.os == WINDOWS and job_shape.system != WINDOWS:
        raise NotApplicable(f"{worker} runs Windows, and the values ask for no Windows node")
    state = node_states.placement(node, job_shape, cluster_nodes)
    if state.fault is not PodFault.UNSCHEDULABLE_CORDONED or running_pods is None or namespace_state is None:
        return state
    return _with_room(state, packed(cluster_nodes, running_pods, namespace_state, job_shape, inventory))


Cordoned = TypeVar("Cordoned", NodeState, PoolState)


def _with_room(cordoned: Cordoned, room: Headroom) -> Cordoned:
    """Cordoned nodes are advice as long as all jobs fit on the others."""
    if room.fits >= room.wanted:
        return cordoned.as_advice(f"all {room.wanted} jobs fit on the other workers")
    return replace(cordoned, cause=f"{cordoned.cause}; {room.fits} of {room.wanted} jobs fit on the other workers")


@fact(after=("api_answer",), optional=("cluster_nodes",), deadline="api+api")
def kube_dns(kubernetes: api_client.Api, cluster_nodes: Nodes | None) -> ServiceEndpoints:
    """The cluster's DNS service."""
    return dns_service.cluster_dns(kubernetes, cluster_nodes.nodes if cluster_nodes is not None else ())


@fact(after=("api_answer",), deadline="api")
def metrics_api(kubernetes: api_client.Api) -> Metrics:
    """The cluster's metrics API."""
    return cluster.metrics(kubernetes)


def _property_of_pool(
    pool: str,
    judge: Callable[[cluster.Node], NodeState],
    nodes: Nodes,
    inventory: Inventory,
    *,
    leave_out: frozenset[str] = frozenset(),
) -> PoolState:
    """A property of a pool's nodes, or of all but some that are named and judged together."""
    if pool == OTHER_NODES:
        return node_states.others_property(inventory.other_nodes.keys() - leave_out, nodes, judge)
    selector = inventory.cluster.pools[pool].selector
    return node_states.pool_property(pool, selector, nodes, judge, named=inventory.cluster.nodes)


@fact()
def pool_presence(pool: str, cluster_nodes: Nodes, inventory: Inventory) -> PoolState:
    """Whether a pool has its nodes."""
    if pool == OTHER_NODES:
        others = {name: (node.address, node.role) for name, node in inventory.other_nodes.items()}
        return node_states.others_presence(others, cluster_nodes)
    pool_spec = inventory.cluster.pools[pool]
    return node_states.pool_presence(pool, pool_spec.selector, pool_spec.at_least, cluster_nodes)


def _block_pool(pool: str, state: PoolState, reporter: Ref) -> None:
    """Raise `Blocked` if something is wrong with a pool; of nodes that are named, each is judged all the same."""
    if state.fault is not None and pool != OTHER_NODES:
        raise Blocked.by(reporter, state, {"pool": pool})


@fact(tolerates=("pool_presence",))
def pool_health(pool: str, pool_presence: PoolState, cluster_nodes: Nodes, inventory: Inventory) -> PoolState:
    """Whether the nodes of a pool are Ready and short of nothing."""
    _block_pool(pool, pool_presence, Ref.POOL_PRESENCE)

    def judge(node: cluster.Node) -> NodeState:
        ready = node_states.readiness(node, cluster_nodes)
        return ready if ready.fault else node_states.pressure(node, cluster_nodes)

    return _property_of_pool(pool, judge, cluster_nodes, inventory)


@fact(tolerates=("pool_presence",))
def pool_versions(
    pool: str, pool_presence: PoolState, api_answer: ApiServer, cluster_nodes: Nodes, inventory: Inventory
) -> PoolState:
    """The kubelets of a pool beside the API server."""
    _block_pool(pool, pool_presence, Ref.POOL_PRESENCE)
    allowed = inventory.limits.version_skew

    def judge(node: cluster.Node) -> NodeState:
        return node_states.version_skew(node, api_answer.version, allowed, cluster_nodes)

    return _property_of_pool(pool, judge, cluster_nodes, inventory)


@fact(tolerates=("pool_health",), optional=("running_pods", "namespace_state"))
def pool_placement(
    pool: str,
    pool_health: PoolState,
    cluster_nodes: Nodes,
    job_shape: JobShape,
    running_pods: PodRequests | None,
    namespace_state: NamespaceState | None,
    inventory: Inventory,
) -> PoolState:
    """Whether jobs may be scheduled on the nodes of a pool."""
    _block_pool(pool, pool_health, Ref.POOL_HEALTH)

    def judge(node: cluster.Node) -> NodeState:
        return node_states.placement(node, job_shape, cluster_nodes)

    control_plane = [name for name, node in inventory.cluster.nodes.items() if node.role != "worker"]
    no_jobs = frozenset((*control_plane, *pool_health.failing))  # which another check reports
    state = _property_of_pool(pool, judge, cluster_nodes, inventory, leave_out=no_jobs)
    if state.fault is not PodFault.UNSCHEDULABLE_CORDONED or running_pods is None or namespace_state is None:
        return state
    return _with_room(state, packed(cluster_nodes, running_pods, namespace_state, job_shape, inventory))
