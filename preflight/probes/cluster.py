"""What the Kubernetes API reports about the cluster: one request for each kind of object, however many checks read it.

Each fact has a pure ``read_…`` from the API's raw JSON and a thin function that sends the request. Only `api_server`
takes the API's failure for a finding; for all others it is a reason why they could not measure (`Unmeasured`).
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from preflight.clients.certificates import Certificate
from preflight.clients.kube_api import Api, ClockReading, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ApiFault, ClusterFault, PathFault, PodFault
from preflight.jobshape import MANAGED_BY, OURS, RUN, may_be_own
from preflight.quantities import Amounts, amounts, exactly, largest, total
from preflight.shell_command import pipe, program, sequence

Json = dict[str, Any]

_NOT_FOUND, _UNAVAILABLE = 404, 503
_ROLE = "node-role.kubernetes.io/"
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
JOB_POD = "job.runner.gitlab.com/pod"  # the label that the runner gives to every job's pod: docs/sources.md#job-pod


# --- the API server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer(Fact):
    """Whether the API server answers, at the address that the inventory names, and calls itself ready.

    Attributes:
        server: its URL in the kubeconfig.
        version: such as ``v1.28.15``.
        unhealthy: the readiness checks that fail.
        certificate: the server's, or the authority's that ends before it; None without TLS.
        own_certificate: what the kubeconfig logs in with; None if that is something else.
        clock: its clock beside ours; None if it sends no Date.
    """

    server: str
    version: str = ""
    unhealthy: tuple[str, ...] = ()
    certificate: Certificate | None = None
    own_certificate: Certificate | None = None
    clock: ClockReading | None = None


def api_server(api: Api, *, expected_url: str) -> ApiServer:
    """Ask for the version and the readiness.

    Raises:
        Unmeasured: a right is missing, or the kubeconfig can't be used.
    """
    began = time.monotonic()
    try:
        version = api.get("/version")
        ready = _readiness(api)
    except ApiError as error:
        if error.fault in {ApiFault.FORBIDDEN, ApiFault.CONTEXT}:
            raise unmeasured(error) from error
        return ApiServer(
            target=api.server, server=api.server, fault=error.fault, cause=error.message, evidence=error.evidence
        )
    took, certified = time.monotonic() - began, api.config.tls_server_name
    if api.config.in_cluster and api.certificate is not None:
        # A pod reaches the API server by its Service: which server that is, its certificate says.
        expected = _address(expected_url)[1]
        certified = next((name for name in api.certificate.names if name.lower() == expected), "")
    answer = read_api_server(
        version,
        ready,
        server=api.server,
        certified=certified,
        expected_url=expected_url,
        in_cluster=api.config.in_cluster,
        took=took,
    )
    return replace(answer, certificate=api.certificate, own_certificate=api.own_certificate, clock=api.clock_reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiGroups(Fact):
    """The groups of resources that the cluster serves, by which charts decide what they make.

    Attributes:
        versions: such as ``monitoring.coreos.com/v1``.
    """

    versions: tuple[str, ...] = ()


def api_groups(api: Api) -> ApiGroups:
    """Ask for the groups.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    try:
        listed = api.get("/apis").get("groups") or ()
    except ApiError as error:
        raise unmeasured(error) from error
    versions = tuple(str(version["groupVersion"]) for group in listed for version in group.get("versions") or ())
    return ApiGroups(
        target=api.server,
        versions=versions,
        evidence=Evidence(
            where="here", command="kubectl api-versions", observed="\n".join(versions), took=time.monotonic() - began
        ),
    )


def _readiness(api: Api) -> str:
    try:
        return api.text("/readyz", verbose="")
    except ApiError as error:
        # A server that is not ready says so with status 500, and which of its checks fail.
        if error.status and "[-]" in error.message:
            return error.message
        raise


def read_api_server(
    version: Json,
    ready: str,
    *,
    server: str,
    expected_url: str,
    certified: str = "",
    in_cluster: bool = False,
    took: float = 0.0,
) -> ApiServer:
    """The fact from ``/version`` and ``/readyz?verbose``.

    Args:
        version: the answer of ``/version``.
        ready: the text of ``/readyz?verbose``.
        server: the API server's URL in the kubeconfig.
        expected_url: the same in the inventory.
        certified: the kubeconfig's ``tls-server-name``: through a tunnel, the certificate says whose server it is.
        in_cluster: whether a pod's service account is used, and no kubeconfig.
        took: seconds.
    """
    unhealthy = tuple(re.findall(r"^\[-\](\S+)", ready, re.MULTILINE))
    fault: ClusterFault | None = None
    cause = ""
    by = "the pod's service account" if in_cluster else "the kubeconfig"
    unlike = f", which the certificate of {server} does not name" if in_cluster else ""
    if _address(server) != _address(expected_url) and certified.lower() != _address(expected_url)[1]:
        fault, cause = (
            ClusterFault.WRONG_ADDRESS,
            f"{by} speaks to {server}, the inventory says {expected_url}{unlike}",
        )
    if unhealthy:
        fault, cause = ClusterFault.API_UNHEALTHY, f"{server} is not ready: {', '.join(unhealthy)} failed"
    number = str(version.get("gitVersion", ""))
    observed = f"{number}\n" + "\n".join(line for line in ready.splitlines() if not line.startswith("[+]"))
    return ApiServer(
        target=server,
        server=server,
        version=number,
        unhealthy=unhealthy,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command="kubectl get --raw '/readyz?verbose'", observed=observed, took=took),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClock(Fact):
    """The API server's clock beside ours and GitLab's.

    Attributes:
        offset: seconds by which it is ahead of ours.
        from_gitlab: seconds by which it is ahead of GitLab's; None if that is not known.
    """

    offset: float
    from_gitlab: float | None = None


def api_clock(server: ApiServer, *, gitlab_offset: float | None, allowed: float) -> ApiClock:
    """Judge the API server's clock: it is wrong where it agrees neither with ours nor with GitLab's.

    Args:
        server: the API server's answer, with a clock.
        gitlab_offset: seconds by which GitLab's clock is ahead of ours; None if that is not known.
        allowed: seconds that two clocks may differ.

    Raises:
        Unmeasured: its responses carry no Date.
    """
    if server.clock is None:
        raise Unmeasured("the API server's responses carry no Date", needs="a proxy before it that passes Date on")
    offset = server.clock.offset
    from_gitlab = None if gitlab_offset is None else round(offset - gitlab_offset, 1)
    tolerated = allowed + server.clock.error
    others = [(offset, "ours"), *([] if from_gitlab is None else [(from_gitlab, "GitLab's")])]
    wrong = all(abs(difference) > tolerated for difference, _ in others)
    apart = " and ".join(f"{abs(by):.0f} s {'ahead of' if by > 0 else 'behind'} {whose}" for by, whose in others)
    cause = f"the API server's clock is {apart}; {allowed:g} s are allowed" if wrong else ""
    return ApiClock(
        target=server.server,
        offset=offset,
        from_gitlab=from_gitlab,
        fault=ClusterFault.CLOCK_SKEW if wrong else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=sequence(
                program("date", "-u"),
                pipe(program("curl", "-skI", f"{server.server}/version"), program("grep", "-i", "^date")),
            ),
            observed=f"the API server's clock is {apart}",
        ),
    )


def _address(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url if "//" in url else f"https://{url}")
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (80 if parts.scheme == "http" else 443)


# --- nodes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node as the API lists it.

    Attributes:
        address: its first InternalIP; `addresses`: all of them, one for each family.
        ready_reason: the kubelet's (or the node controller's) message if it is not ready.
        pressures: such as ``DiskPressure``.
        taints: in the API's form.
        version: the kubelet's.
        runtime: such as ``containerd://1.6.20``.
        allocatable: Kubernetes quantities by resource name.
        images: names that the kubelet lists; at most 50 images by default, and brought up to date with delay. Only of
            nodes that are measured one by one.
        pod_cidrs: ranges that the controller manager gave it for pods; not every network plugin uses them.
        installer: what made it a node of the cluster, as far as it shows: ``kubeadm``, ``RKE2``, ``k3s``,
            ``OpenShift``, ``EKS``, ``GKE``, ``AKS``; else empty.
    """

    name: str
    address: str = ""
    addresses: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()
    ready: bool = False
    ready_reason: str = ""
    pressures: tuple[str, ...] = ()
    cordoned: bool = False
    taints: tuple[Json, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    version: str = ""
    runtime: str = ""
    os: str = ""
    arch: str = ""
    kernel: str = ""
    os_image: str = ""
    allocatable: dict[str, str] = field(default_factory=dict)
    images: frozenset[str] = field(default_factory=frozenset, repr=False)
    pod_cidrs: tuple[str, ...] = ()
    installer: str = ""

    @property
    def platform(self) -> str:
        """The platform of its images, such as ``linux/amd64``; empty if the node does not say."""
        return f"{self.os}/{self.arch}" if self.os and self.arch else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes(Fact):
    """All nodes of the cluster."""

    nodes: tuple[Node, ...] = ()

    @property
    def installer(self) -> str:
        """What made the cluster, as far as its nodes show it."""
        return next((node.installer for node in self.nodes if node.installer), "")

    def named(self, name: str) -> Node | None:
        """The node of that name."""
        return next((node for node in self.nodes if node.name == name), None)


def nodes(api: Api, *, with_images: Collection[str]) -> Nodes:
    """List the nodes.

    Args:
        api: the cluster.
        with_images: the nodes whose images are kept: names of 50 images on each of a thousand nodes are 10 MB.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path = "/api/v1/nodes"
    try:
        node_list = read_nodes(_without_images(api.items(path, cached=True), unless=with_images))
    except ApiError as error:
        raise unmeasured(error) from error
    return _nodes_fact(node_list, time.monotonic() - began)


def _without_images(items: Iterable[Json], *, unless: Collection[str]) -> Iterator[Json]:
    for item in items:
        if item["metadata"]["name"] not in unless:
            item.get("status", {}).pop("images", None)
        yield item


def _nodes_fact(node_list: tuple[Node, ...], took: float) -> Nodes:
    lines = (f"{node.name}  {_condition(node)}  {','.join(sorted(node.roles))}  {node.version}" for node in node_list)
    evidence = Evidence(
        where="here", command=program("kubectl", "get", "nodes", "-o", "wide"), observed="\n".join(lines), took=took
    )
    return Nodes(target="cluster", nodes=node_list, evidence=evidence)


def _condition(node: Node) -> str:
    return ("Ready" if node.ready else "NotReady") + (",SchedulingDisabled" if node.cordoned else "")


def read_nodes(items: Iterable[Json]) -> tuple[Node, ...]:
    """The nodes, by name, from the items of a NodeList."""
    return tuple(sorted((read_node(item) for item in items), key=lambda node: node.name))


def read_node(item: Json) -> Node:
    """One node from its object."""
    meta, spec, status = item.get("metadata", {}), item.get("spec", {}), item.get("status", {})
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    labels = meta.get("labels") or {}
    info = status.get("nodeInfo", {})
    internal = tuple(str(each["address"]) for each in status.get("addresses") or () if each.get("type") == "InternalIP")
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)} | {
        labels[key] for key in ("kubernetes.io/role",) if key in labels
    }
    return Node(
        name=str(meta.get("name", "")),
        address=next(iter(internal), ""),
        addresses=internal,
        roles=frozenset(filter(None, roles)),
        ready=ready.get("status") == "True",
        ready_reason=""
        if ready.get("status") == "True"
        else str(ready.get("message") or ready.get("reason") or "no reason given"),
        pressures=tuple(name for name in _PRESSURES if conditions.get(name, {}).get("status") == "True"),
        cordoned=bool(spec.get("unschedulable")),
        taints=tuple(
            {key: each[key] for key in ("key", "value", "effect") if key in each} for each in spec.get("taints") or ()
        ),
        labels=dict(labels),
        version=str(info.get("kubeletVersion", "")),
        runtime=str(info.get("containerRuntimeVersion", "")),
        os=str(info.get("operatingSystem", "")),
        arch=str(info.get("architecture", "")),
        kernel=str(info.get("kernelVersion", "")),
        os_image=str(info.get("osImage", "")),
        allocatable=dict(status.get("allocatable") or {}),
        images=frozenset(name for image in status.get("images") or () for name in image.get("names") or ()),
        pod_cidrs=tuple(map(str, spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")]))),
        installer=_installer(str(info.get("kubeletVersion", "")), labels, meta.get("annotations") or {}),
    )


_BY_VERSION = {"+rke2": "RKE2", "+k3s": "k3s", "-eks-": "EKS", "-gke.": "GKE"}  # in the kubelet's version
_BY_LABEL = {"node.openshift.io/os_id": "OpenShift", "kubernetes.azure.com/cluster": "AKS"}


def _installer(version: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    for mark, name in _BY_VERSION.items():
        if mark in version:
            return name
    for label, name in _BY_LABEL.items():
        if label in labels:
            return name
    return "kubeadm" if any(key.startswith("kubeadm.alpha.kubernetes.io/") for key in annotations) else ""


# --- a service and what is behind it --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEndpoints(Fact):
    """A Service and how many of its endpoints are ready."""

    cluster_ip: str = ""
    ready: int = 0
    not_ready: int = 0


def service_endpoints(api: Api, *, namespace: str = "kube-system", name: str = "kube-dns") -> ServiceEndpoints:
    """Ask for a Service and its EndpointSlices, or its Endpoints where slices may not be read.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    service: Json | None
    try:
        try:
            service = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/services/{path_segment(name)}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            service = None
        behind = backends(api, namespace, name) if service else []
    except ApiError as error:
        raise unmeasured(error) from error
    return read_service_endpoints(service, behind, namespace=namespace, name=name, took=time.monotonic() - began)


def backends(api: Api, namespace: str, name: str) -> list[Json]:
    """A Service's EndpointSlices, or its Endpoints where slices may not be read; raises what the API answers."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{path_segment(namespace)}/endpointslices"
    try:
        return list(api.items(path, labelSelector=f"kubernetes.io/service-name={name}"))
    except ApiError as refused:
        with suppress(ApiError):
            return [api.get(f"/api/v1/namespaces/{path_segment(namespace)}/endpoints/{path_segment(name)}")]
        raise refused from None


def read_service_endpoints(
    service: Json | None, backends: Sequence[Json], *, namespace: str, name: str, took: float = 0.0
) -> ServiceEndpoints:
    """The fact from a Service (None if there is none) and its EndpointSlices or Endpoints."""
    ready, not_ready = _addresses(backends)
    not_ready -= ready
    ip = str((service or {}).get("spec", {}).get("clusterIP", ""))
    fault: ClusterFault | None = None
    cause = ""
    if service is None:
        fault, cause = ClusterFault.SERVICE_MISSING, f"namespace {namespace} has no Service {name}"
    elif not ready:
        fault = ClusterFault.NO_ENDPOINTS
        cause = f"Service {name} ({ip}) has no ready endpoint; {len(not_ready)} are not ready"
    command = program("kubectl", "-n", namespace, "get", "endpointslices", "-l", f"kubernetes.io/service-name={name}")
    observed = (
        f"{name} {ip}: ready {', '.join(sorted(ready)) or 'none'}; not ready {', '.join(sorted(not_ready)) or 'none'}"
    )
    if service is None:
        command = program("kubectl", "-n", namespace, "get", "service", name)
        observed = f'Error from server (NotFound): services "{name}" not found'
    return ServiceEndpoints(
        target=f"{namespace}/{name}",
        cluster_ip=ip,
        ready=len(ready),
        not_ready=len(not_ready),
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=command, observed=observed, took=took),
    )


def _addresses(backends: Sequence[Json]) -> tuple[set[str], set[str]]:
    """Ready and other addresses of EndpointSlices (``endpoints``) or Endpoints (``subsets``)."""
    ready: set[str] = set()
    other: set[str] = set()
    for each in backends:
        for endpoint in each.get("endpoints") or ():
            # Readiness that is not given means ready (EndpointConditions).
            is_ready = (endpoint.get("conditions") or {}).get("ready") is not False
            (ready if is_ready else other).update(endpoint.get("addresses") or ())
        for subset in each.get("subsets") or ():
            ready.update(str(address["ip"]) for address in subset.get("addresses") or () if "ip" in address)
            other.update(str(address["ip"]) for address in subset.get("notReadyAddresses") or () if "ip" in address)
    return ready, other


# --- metrics --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Fact):
    """Whether the metrics API answers, and for which nodes."""

    nodes: tuple[str, ...] = ()


def metrics(api: Api) -> Metrics:
    """Ask the metrics API for the nodes' usage.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    try:
        listed = api.get(path)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            fault, cause = ClusterFault.METRICS_MISSING, "the cluster has no metrics API (metrics.k8s.io)"
        elif error.status == _UNAVAILABLE:
            fault = ClusterFault.METRICS_UNAVAILABLE
            cause = f"the metrics API is registered, but nothing answers for it{_why_unavailable(api)}"
        elif error.fault is PathFault.SILENT and _answers(api):
            fault = ClusterFault.METRICS_UNAVAILABLE
            cause = f"the API server answers, and the metrics API behind it did not within {error.took:.0f} s"
        else:
            raise unmeasured(error) from error
        evidence = Evidence(where="here", command="kubectl top nodes", observed=str(error), took=error.took)
        return Metrics(target="metrics.k8s.io", fault=fault, cause=cause, evidence=evidence)
    return read_metrics(listed, took=time.monotonic() - began)


def _answers(api: Api) -> bool:
    """Whether the API server itself answers, now."""
    try:
        api.get("/version")
    except ApiError:
        return False
    return True


def _why_unavailable(api: Api) -> str:
    with suppress(ApiError):
        service = api.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")
        for condition in service.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Available" and condition.get("status") != "True":
                return f" ({condition.get('reason')}: {condition.get('message')})"
    return ""


def read_metrics(listed: Json, *, took: float = 0.0) -> Metrics:
    """The fact from a NodeMetricsList."""
    named = ((item.get("metadata", {}).get("name"), item.get("usage", {})) for item in listed.get("items") or ())
    usage_by_node = {str(name): usage for name, usage in named if name}
    lines = (f"{name}  {usage.get('cpu')}  {usage.get('memory')}" for name, usage in sorted(usage_by_node.items()))
    missing = not usage_by_node
    return Metrics(
        target="metrics.k8s.io",
        nodes=tuple(sorted(usage_by_node)),
        fault=ClusterFault.METRICS_UNAVAILABLE if missing else None,
        cause="the metrics API answers, but has figures for no node" if missing else "",
        evidence=Evidence(where="here", command="kubectl top nodes", observed="\n".join(lines), took=took),
    )


# --- what pods ask for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filler:
    """Whose pods ask for much of one resource of a node.

    Attributes:
        owner: such as ``shop/Deployment checkout``.
        amount: what they ask for together, a Kubernetes quantity.
    """

    node: str
    resource: str
    owner: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRequests(Fact):
    """What the pods that run on each node ask for, as the scheduler counts it.

    Pods of ours and job pods in the runner's namespace are counted apart: the packing puts job pods of its own there.

    Attributes:
        by_node: quantities by resource name, ``pods`` among them, by node.
        jobs: how many job pods run now.
        set_aside: what ours and the job pods count for in a quota, as ``requests.cpu``, ``limits.memory``, ``pods``.
        addresses: the lowest and the highest address of the pods on each node, those in the node's network left out: a
            network that holds both holds all.
        fillers: who asks for the most of each resource on each node, the greatest first. They are not saved: those that
            matter are a `Headroom`'s own, and of a thousand nodes they are a megabyte.
    """

    by_node: dict[str, dict[str, str]] = field(default_factory=dict)
    jobs: int = 0
    set_aside: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, tuple[str, str]] = field(default_factory=dict)
    fillers: tuple[Filler, ...] = field(default=(), metadata={"live": True})


def pod_requests(api: Api, *, namespace: str, own_host: str = "") -> PodRequests:
    """List all pods that have not ended, and add up what they ask for.

    Args:
        api: the cluster.
        namespace: the one of jobs.
        own_host: the name of this machine, which in a pod is the pod's: it is over before a job begins.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path, selector = "/api/v1/pods", "status.phase!=Succeeded,status.phase!=Failed"
    spans: dict[str, tuple[Address, Address]] = {}
    owners: Owners = {}
    items = _spanned(api.items(path, fieldSelector=selector), spans=spans)
    try:
        by_node, jobs, aside = read_pod_requests(
            attributed(items, namespace=namespace, owners=owners), namespace=namespace, own_host=own_host
        )
    except ApiError as error:
        raise unmeasured(error) from error
    addresses = {name: (str(lowest), str(highest)) for name, (lowest, highest) in sorted(spans.items())}
    evidence = Evidence(
        where="here",
        command=kubectl("GET", path, {"fieldSelector": selector}),
        observed="\n".join(f"{name}  {_listed(sums)}" for name, sums in sorted(by_node.items())),
        took=time.monotonic() - began,
    )
    return PodRequests(
        target="cluster",
        by_node=by_node,
        jobs=jobs,
        set_aside=aside,
        addresses=addresses,
        fillers=tuple(fillers(owners)),
        evidence=evidence,
    )


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _spanned(items: Iterable[Json], *, spans: dict[str, tuple[Address, Address]]) -> Iterator[Json]:
    """Pass on the items of a PodList, and note the lowest and the highest pod address of each node on the way."""
    for item in items:
        spec, status = item.get("spec", {}), item.get("status", {})
        node = spec.get("nodeName")
        if node and status.get("podIP") and not spec.get("hostNetwork"):
            with suppress(ValueError):
                own = ipaddress.ip_address(str(status["podIP"]))
                lowest, highest = spans.get(node, (own, own))
                if own.version == lowest.version:
                    spans[node] = (min(own, lowest, key=int), max(own, highest, key=int))
        yield item


Owners = dict[str, dict[str, Amounts]]
"""What is asked for, by node and by owner."""


def attributed(items: Iterable[Json], *, namespace: str, owners: Owners) -> Iterator[Json]:
    """Pass on the items of a PodList, and add up on the way whose pods ask for what on which node."""
    for item in items:
        meta, spec = item.get("metadata", {}), item.get("spec", {})
        if (node := spec.get("nodeName")) and not any(_set_apart(item, namespace)):
            by_owner = owners.setdefault(node, {})
            owner = owner_of(meta)
            by_owner[owner] = total([by_owner.get(owner, {}), effective_requests(spec)])
        yield item


def owner_of(meta: Json) -> str:
    """Whose pod it is: its controller, and of a ReplicaSet that a Deployment made, the Deployment."""
    namespace = meta.get("namespace", "")
    owner = next((each for each in meta.get("ownerReferences") or () if each.get("controller")), None)
    if owner is None:
        return f"{namespace}/Pod {meta.get('name', '')}"
    kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
    suffix = f"-{(meta.get('labels') or {}).get('pod-template-hash', '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return f"{namespace}/{kind} {name}"


def fillers(owners: Owners) -> Iterator[Filler]:
    """The greatest askers of each resource on each node."""
    for node, by_owner in sorted(owners.items()):
        for resource in sorted({name for sums in by_owner.values() for name in sums}):
            asking = [(sums[resource], owner) for owner, sums in by_owner.items() if sums.get(resource)]
            for amount, owner in sorted(asking, key=lambda pair: (-pair[0], pair[1]))[:_FILLERS]:
                yield Filler(node=node, resource=resource, owner=owner, amount=exactly(amount))


_FILLERS = 3  # that are reported for each resource of a node


def _set_apart(item: Json, namespace: str) -> tuple[bool, bool]:
    """Whether a pod is a job of this runner, and whether it is one of ours, of this run or of another.

    Labels alone hide no pod: a job's has no controller, and one of ours has a Job and asks for as little as ours do.
    """
    meta = item.get("metadata", {})
    labels = meta.get("labels") or {}
    if meta.get("namespace") != namespace:
        return False, False
    controllers = {
        (owner.get("kind"), str(owner.get("name", "")).rpartition(f"-{labels.get(RUN)}-")[0])
        for owner in meta.get("ownerReferences") or ()
        if owner.get("controller")
    }
    claimed = labels.get(MANAGED_BY) == OURS and controllers == {("Job", "preflight")}
    return JOB_POD in labels and not controllers, claimed and may_be_own(effective_requests(item.get("spec", {})))


def _is_around_us(item: Json, own_host: str) -> bool:
    """Whether it is the pod that this run is in, as deploy/job.yaml makes it."""
    meta = item.get("metadata", {})
    return bool(own_host) and meta.get("name") == own_host and (meta.get("labels") or {}).get(MANAGED_BY) == OURS


def _listed(sums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in sorted(sums.items()))


def read_pod_requests(
    items: Iterable[Json], *, namespace: str, own_host: str = ""
) -> tuple[dict[str, dict[str, str]], int, dict[str, str]]:
    """Requests by node, the number of job pods, and what was set aside, from the items of a PodList."""
    by_node: dict[str, Amounts] = {}
    aside: Amounts = {}
    jobs = 0
    for item in items:
        spec = item.get("spec", {})
        if item.get("status", {}).get("phase") in {"Succeeded", "Failed"} or _is_around_us(item, own_host):
            continue
        job, ours = _set_apart(item, namespace)
        if job or ours:
            jobs += job
            aside = total([aside, dict(_quota_terms(spec))])
            continue
        if node := spec.get("nodeName"):
            by_node[node] = total([by_node.get(node, {}), effective_requests(spec), {"pods": Decimal(1)}])
    exact = {node: {name: exactly(each) for name, each in sums.items()} for node, sums in by_node.items()}
    return exact, jobs, {name: exactly(each) for name, each in aside.items()}


def effective_requests(spec: Json, kind: str = "requests") -> Amounts:
    """What a pod asks for as a whole: its containers together, or its most demanding init container, and the overhead.

    As kube-scheduler counts (resource.PodRequests): an init container that restarts always is a sidecar and stays.
    """
    sidecars: Amounts = {}
    peaks: list[Amounts] = []
    for container in spec.get("initContainers") or ():
        requested = amounts((container.get("resources") or {}).get(kind))
        if container.get("restartPolicy") == "Always":
            sidecars = total([sidecars, requested])
            peaks.append(sidecars)
        else:
            peaks.append(total([sidecars, requested]))
    own = [amounts((each.get("resources") or {}).get(kind)) for each in spec.get("containers") or ()]
    running = total([sidecars, *own])
    whole = largest([running, *peaks]) | amounts((spec.get("resources") or {}).get(kind))
    return total([whole, amounts(spec.get("overhead"))])


def _quota_terms(spec: Json) -> Iterator[tuple[str, Decimal]]:
    yield "pods", Decimal(1)
    for kind in ("requests", "limits"):
        for name, amount in effective_requests(spec, kind).items():
            yield f"{kind}.{name}", amount


# --- the namespace --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceState(Fact):
    """The namespace that jobs run in, with what decides on their admission.

    Attributes:
        labels: its own.
        pod_security: levels by mode, such as ``{"enforce": "baseline"}``.
        quotas: its ResourceQuota objects; `limit_ranges`: its LimitRange objects.
        selectors: labels that its Services and PodDisruptionBudgets select pods by.
        unread: the rules that are missing to read some of this, as YAML.
        assigns_users: whether pods get their user from a range of the namespace, as OpenShift has it.
    """

    exists: bool = True
    assigns_users: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    pod_security: dict[str, str] = field(default_factory=dict)
    quotas: tuple[Json, ...] = ()
    limit_ranges: tuple[Json, ...] = ()
    selectors: tuple[dict[str, str], ...] = ()
    unread: tuple[str, ...] = ()


_PARTS = {
    "quotas": "/api/v1/namespaces/{}/resourcequotas",
    "limit_ranges": "/api/v1/namespaces/{}/limitranges",
    "services": "/api/v1/namespaces/{}/services",
    "budgets": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
}


def namespace_state(api: Api, namespace: str) -> NamespaceState:
    """Read the namespace; what may not be read is left out and named in `unread`.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    unread: list[str] = []
    item: Json | None = {}
    try:
        item = api.get(f"/api/v1/namespaces/{path_segment(namespace)}")
    except ApiError as error:
        if error.status == _NOT_FOUND:
            item = None
        elif error.rule:
            unread.append(error.rule)
        else:
            raise unmeasured(error) from error
    parts: dict[str, list[Json]] = {name: [] for name in _PARTS}
    if item is not None:
        paths = [path.replace("{}", path_segment(namespace)) for path in _PARTS.values()]
        for name, listed in zip(_PARTS, api.lists(paths), strict=True):  # at once: the first pods wait for them
            if not isinstance(listed, ApiError):
                parts[name] = listed
            elif listed.rule or listed.status == _NOT_FOUND:
                unread.extend(filter(None, [listed.rule]))
            else:
                raise unmeasured(listed) from listed
    return read_namespace(item, parts, namespace=namespace, unread=tuple(unread), took=time.monotonic() - began)


def read_namespace(
    item: Json | None,
    parts: Mapping[str, Sequence[Json]],
    *,
    namespace: str,
    unread: tuple[str, ...] = (),
    took: float = 0.0,
) -> NamespaceState:
    """The fact from a Namespace (None if there is none) and the lists ``quotas``, ``limit_ranges``, ``services``, …."""
    prefix = "pod-security.kubernetes.io/"
    meta = (item or {}).get("metadata", {})
    labels = meta.get("labels") or {}
    levels = {key.removeprefix(prefix): str(value) for key, value in labels.items() if key.startswith(prefix)}
    fault: PodFault | None = None
    cause = ""
    if item is None:
        fault, cause = PodFault.NAMESPACE_MISSING, f"the cluster has no namespace {namespace}"
    elif meta.get("deletionTimestamp"):
        fault, cause = (
            PodFault.NAMESPACE_MISSING,
            f"namespace {namespace} is being deleted since {meta['deletionTimestamp']}",
        )
    selectors = [dict((each.get("spec", {}).get("selector")) or {}) for each in parts.get("services", ())]
    selectors += [
        dict((each.get("spec", {}).get("selector") or {}).get("matchLabels") or {}) for each in parts.get("budgets", ())
    ]
    return NamespaceState(
        target=namespace,
        exists=item is not None,
        assigns_users="openshift.io/sa.scc.uid-range" in (meta.get("annotations") or {}),
        labels=dict(labels),
        pod_security=levels,
        quotas=tuple(parts.get("quotas", ())),
        limit_ranges=tuple(parts.get("limit_ranges", ())),
        selectors=tuple(selector for selector in selectors if selector),
        unread=unread,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program("kubectl", "describe", "namespace", namespace),
            observed=f"labels {labels}" if item is not None else f'namespaces "{namespace}" not found',
            took=took,
        ),
    )
