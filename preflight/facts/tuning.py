"""7 Tuning: room for more or other jobs, labels that select nodes, the cache; and 2.4 again, GitLab's clone host."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from preflight import values as helm
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.facts.blocking import (
    block_if_no_resolver_knows,
    block_if_same_fault,
    block_if_search_list_misleads,
    gitlab_fact,
)
from preflight.facts.headroom import Unfit, block_if_nodes_are_unavailable, packed
from preflight.facts.probe_plan import cache_of, clone_url_of
from preflight.faults import PodFault, TuningFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import placement, shell, shell_readers, transcript
from preflight.probes.cluster import NamespaceState, Nodes, PodRequests
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom
from preflight.probes.nodes import NodeState
from preflight.probes.placement import Endpoint, Placement
from preflight.probes.shell_readers import Connection
from preflight.probes.transcript import FoundNames, Report
from preflight.sizes import OPTIONS, resized
from preflight.survey import fact


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
    """The room for one of the guide's ways to more jobs at once."""
    managers, jobs = OPTIONS[option]
    found = packed(cluster_nodes, running_pods, namespace_state, job_shape, inventory, wanted=managers * jobs)
    block_if_nodes_are_unavailable(found, unfit_workers)
    return found


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
    found = packed(cluster_nodes, running_pods, namespace_state, shape, inventory, wanted=headroom.wanted)
    block_if_nodes_are_unavailable(found, unfit_workers)
    if found.fault is not None and headroom.fault is not None:
        raise Blocked.by("headroom", headroom)
    return found


@fact()
def manager_placement(cluster_nodes: Nodes, inventory: Inventory) -> Placement:
    """The nodes that the values select for the managers."""
    runner = inventory.runner
    values = helm.load(runner.values, runner.set, release=runner.release, namespace=runner.namespace)
    selector = {str(key): str(value) for key, value in (values.get("nodeSelector") or {}).items()}
    return placement.placement("managers", selector, values.get("affinity"), cluster_nodes)


@fact(optional=("worker_placement",), fan_in={"worker_placement": "worker"})
def job_placement(cluster_nodes: Nodes, worker_placement: tuple[NodeState, ...], job_shape: JobShape) -> Placement:
    """The nodes that the values select for jobs."""
    found = placement.placement("jobs", job_shape.node_selector, job_shape.affinity, cluster_nodes)
    if found.fault is TuningFault.NO_NODE_MATCHES:
        for one in worker_placement:
            if one.fault is PodFault.UNSCHEDULABLE_SELECTOR:
                raise Blocked.by("worker_placement", one, {"worker": one.node})
    return found


@fact()
def preferred_placement(manager_placement: Placement, job_placement: Placement) -> Placement:
    """The nodes that the values prefer."""
    return placement.preferences((manager_placement, job_placement))


@fact(effect="static")
def cache_settings(inventory: Inventory) -> Endpoint:
    """Where the values keep the jobs' cache."""
    try:
        found = cache_of(inventory)
    except ValueError as error:
        raise Unmeasured(
            f"the address of the cache in runners.config can't be read: {error}", needs="host:port as `ServerAddress`"
        ) from None
    if found is None:
        reason = "no [runners.cache] with a Type in runners.config: jobs keep no cache"
        raise NotApplicable(reason)
    return found


@fact(optional=("here_lookups", "pod_names"), fan_in={"here_lookups": "resolver"})
def pod_cache(
    worker: str,
    cache_settings: Endpoint,
    pod_report: Report,
    here_lookups: tuple[Lookups, ...],
    pod_names: FoundNames | None,
) -> Connection:
    """The way from a job's pod on a worker to the cache."""
    step = shell.tcp(cache_settings.host, cache_settings.port)
    where = pod_report.where
    found = shell_readers.read_tcp(pod_report.section(step), where=where)
    block_if_no_resolver_knows(found, cache_settings.host, here_lookups)
    block_if_search_list_misleads(found, pod_names)
    return found


@fact(
    optional=("gitlab_reply", "node_reply", "pod_gitlab", "here_lookups", "pod_names"),
    fan_in={"here_lookups": "resolver"},
)
def pod_clone(
    worker: str,
    pod_report: Report,
    gitlab_reply: GitLabReply | None,
    node_reply: GitLabReply | None,
    pod_gitlab: GitLabReply | None,
    here_lookups: tuple[Lookups, ...],
    pod_names: FoundNames | None,
    inventory: Inventory,
) -> GitLabReply:
    """GitLab's clone host, from a job's pod on a worker."""
    url = clone_url_of(inventory)
    if url is None:
        reason = "jobs clone from gitlabUrl itself: neither external_url nor clone_url names another host"
        raise NotApplicable(reason)
    found = transcript.gitlab_reply(pod_report, url)
    block_if_same_fault(found, gitlab_reply, gitlab_fact(gitlab_reply), {})
    block_if_same_fault(found, node_reply, "node_gitlab", {"worker": worker})
    block_if_same_fault(found, pod_gitlab, "pod_gitlab", {"worker": worker})
    block_if_no_resolver_knows(found, urlsplit(url).netloc, here_lookups)
    block_if_search_list_misleads(found, pod_names)
    return found
