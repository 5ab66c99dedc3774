"""What a live cluster shows of itself and its runner's release: the material of a first inventory.

Read with an operator's own kubeconfig, once. Whatever the cluster does not show is None or empty; only without nodes
and without the release there is nothing to write.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from preflight.clients.connect import is_address
from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError
from preflight.documents import load_json
from preflight.evidence import Unmeasured
from preflight.probes.cluster_dns import cluster_dns
from preflight.probes.release import Record, read_records
from preflight.yamltext import load_yaml

Json = dict[str, Any]

CHART = "gitlab-runner"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_FORBIDDEN, _NOT_FOUND = 403, 404


class DiscoveryError(Exception):
    """There is nothing to write an inventory of; the message says what is missing and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The runner's release as Helm has it.

    Attributes:
        chart: the chart's version; `app`: the runner's.
        values: what the user gave; they hold secrets.
    """

    name: str
    namespace: str
    chart: str
    app: str
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The cluster.

    Attributes:
        version: major and minor.
        nodes: address and role by name.
        platform: what most workers are, such as ``linux/amd64``.
        pod_cidr, service_cidr: a network for each family; empty where they are unknown.
        resolvers: where the cluster's DNS forwards to; empty where that is unknown.
        dns_address: of the cluster's DNS Service.
        images: references that the nodes hold.
    """

    version: str
    nodes: Mapping[str, tuple[str, str]]
    platform: str
    pod_cidr: tuple[str, ...]
    service_cidr: tuple[str, ...]
    resolvers: tuple[str, ...]
    dns_address: str
    images: tuple[str, ...]


def release(api: Api, name: str | None, namespace: str | None) -> Release:
    """The one release of the chart gitlab-runner, in a namespace or in all.

    Raises:
        DiscoveryError: there is none, or several, or Helm's records may not be read.
        ApiError: the API could not be asked.
    """
    return choose(_releases(api, namespace), name, namespace)


def choose(releases: Iterable[Release], name: str | None, namespace: str | None) -> Release:
    """The one that is meant.

    Raises:
        DiscoveryError: it is none or several.
    """
    matching = [candidate for candidate in releases if name in {None, candidate.name}]
    where = f"namespace {namespace}" if namespace else "the cluster"
    if not matching:
        called = f" called {name}" if name else ""
        raise DiscoveryError(
            f"{where} has no release of the chart {CHART}{called} that Helm keeps a record of; without one, copy "
            "inventory.yaml and gitlab-runner-values.yaml and fill them in"
        )
    if len(matching) > 1:
        listed = ", ".join(f"{candidate.namespace}/{candidate.name}" for candidate in matching)
        raise DiscoveryError(
            f"{where} has {len(matching)} releases of the chart {CHART}: {listed}; "
            "choose with --namespace and --release"
        )
    return matching[0]


def _releases(api: Api, namespace: str | None) -> list[Release]:
    """Every release of the chart, by its last record that was deployed."""
    try:
        items = _records(api, namespace)
    except ApiError as error:
        if error.status != _FORBIDDEN:
            raise
        # Without the right to all Secrets, the managers' Deployments show which namespaces have releases.
        spaces_with_managers = [] if namespace else _namespaces_with_managers(api)
        if not spaces_with_managers:
            raise _unreadable(error, namespace) from error
        try:
            items = [item for space in spaces_with_managers for item in _records(api, space)]
        except ApiError as refused:
            raise _unreadable(refused, namespace) from refused
    newest: dict[tuple[str, str], Record] = {}
    spaces: dict[str, list[Json]] = {}
    for item in items:
        spaces.setdefault(str(item["metadata"].get("namespace") or namespace), []).append(item)
    for space, secrets in spaces.items():
        for record in read_records(secrets):
            key = (space, str(record.body.get("name", "")))
            ours = record.chart.get("name") == CHART and record.status in {"deployed", "superseded", "failed"}
            if ours and (record.status == "deployed" or key not in newest):
                newest[key] = record
    return [
        Release(
            name=name,
            namespace=space,
            chart=str(record.chart.get("version", "")),
            app=str(record.chart.get("appVersion", "")),
            values=record.values,
        )
        for (space, name), record in sorted(newest.items())
    ]


def _records(api: Api, namespace: str | None) -> list[Json]:
    path = f"/api/v1/namespaces/{path_segment(namespace)}/secrets" if namespace else "/api/v1/secrets"
    return list(api.items(path, labelSelector="owner=helm"))


def _namespaces_with_managers(api: Api) -> list[str]:
    namespaces: dict[str, None] = {}
    with suppress(ApiError):
        for item in api.items("/apis/apps/v1/deployments", metadata_only=True, cached=True):
            labels = item["metadata"].get("labels") or {}
            chart = str(labels.get("chart") or labels.get("helm.sh/chart") or "")
            if re.fullmatch(rf"{CHART}-\d.*", chart):
                namespaces[str(item["metadata"]["namespace"])] = None
    return list(namespaces)


def _unreadable(error: ApiError, namespace: str | None) -> DiscoveryError:
    narrower = "" if namespace else "\nor name one namespace with --namespace, where a Role is enough"
    message = f"Helm's records can't be read: {error.message}"
    return DiscoveryError(f"{message}; needed:\n{error.rule}{narrower}" if error.rule else message)


def cluster(api: Api) -> Cluster:
    """The cluster's version, nodes, networks and resolvers.

    Raises:
        DiscoveryError: the nodes may not be listed, or there are none.
        ApiError: the API could not be asked.
    """
    version = api.get("/version")
    try:
        nodes = list(api.items("/api/v1/nodes", cached=True))
    except ApiError as error:
        if error.status == _FORBIDDEN:
            raise DiscoveryError(f"the nodes can't be listed: {error.message}; needed:\n{error.rule}") from error
        raise
    linux = [item for item in nodes if item.get("status", {}).get("nodeInfo", {}).get("operatingSystem") != "windows"]
    named = {str(item["metadata"]["name"]): entry for item in linux or nodes if (entry := _node(item)) is not None}
    if not named:
        raise DiscoveryError("the cluster has no node with an internal address")
    pods, services = _networks(api)
    return Cluster(
        version=f"{version.get('major', '1')}.{re.sub(r'[^0-9].*', '', str(version.get('minor', '')))}",
        nodes=named,
        platform=_platform(linux or nodes),
        pod_cidr=pods,
        service_cidr=services,
        resolvers=_forwarders(api),
        dns_address=_dns_address(api),
        images=tuple(dict.fromkeys(_images(nodes))),
    )


def _node(item: Json) -> tuple[str, str] | None:
    addresses = item.get("status", {}).get("addresses") or ()
    address = next(
        (str(item_address["address"]) for item_address in addresses if item_address.get("type") == "InternalIP"), None
    )
    labels = item["metadata"].get("labels") or {}
    role = "control-plane" if any(label in labels for label in _CONTROL_PLANE) else "worker"
    return None if address is None else (address, role)


def _platform(nodes: Iterable[Json]) -> str:
    kinds: Counter[str] = Counter()
    for item in nodes:
        info = item.get("status", {}).get("nodeInfo", {})
        labels = item["metadata"].get("labels") or {}
        kinds[f"{info.get('operatingSystem', 'linux')}/{info.get('architecture', 'amd64')}"] += (
            1 if any(label in labels for label in _CONTROL_PLANE) else 1000
        )
    return kinds.most_common(1)[0][0]


def _images(nodes: Iterable[Json]) -> Iterator[str]:
    for item in nodes:
        for image in item.get("status", {}).get("images") or ():
            yield from (str(name) for name in image.get("names") or () if "@" not in str(name))


# ---- networks -------------------------------------------------------------------------------------------------------


def _networks(api: Api) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pod and service networks: from kubeadm's configuration, the control plane's options, or the API."""
    pods: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    with suppress(ApiError, yaml.YAMLError, AttributeError):
        stored = api.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config").get("data") or {}
        networking = (load_yaml(str(stored.get("ClusterConfiguration", ""))) or {}).get("networking") or {}
        pods, services = _several(networking.get("podSubnet")), _several(networking.get("serviceSubnet"))
    pods = pods or _started_with(api, "kube-controller-manager", "--cluster-cidr")
    services = services or _started_with(api, "kube-apiserver", "--service-cluster-ip-range")
    if not services:
        with suppress(ApiError, KeyError):
            stored = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")
            services = _several(",".join(map(str, stored["spec"]["cidrs"])))
    return pods, services


def _started_with(api: Api, component: str, option: str) -> tuple[str, ...]:
    with suppress(ApiError):
        for pod in api.items("/api/v1/namespaces/kube-system/pods", labelSelector=f"component={component}"):
            for container in pod["spec"]["containers"]:
                for argument in (*(container.get("command") or ()), *(container.get("args") or ())):
                    if str(argument).startswith(f"{option}="):
                        return _several(str(argument).partition("=")[2])
    return ()


def _several(text: Any) -> tuple[str, ...]:
    """The networks of a comma-separated list; empty if one of them is none."""
    try:
        return tuple(str(ipaddress.ip_network(each.strip())) for each in str(text or "").split(",") if each.strip())
    except ValueError:
        return ()


# ---- names ----------------------------------------------------------------------------------------------------------


def _forwarders(api: Api) -> tuple[str, ...]:
    """The addresses that CoreDNS forwards to, if its configuration names any."""
    corefile = ""
    with suppress(ApiError):
        stored = api.get("/api/v1/namespaces/kube-system/configmaps/coredns").get("data") or {}
        corefile = str(stored.get("Corefile", ""))
    match = re.search(r"^\s*forward\s+\.\s+(.+?)\s*(?:\{|$)", corefile, re.MULTILINE)
    return tuple(item for item in match[1].split() if is_address(item)) if match else ()


def _dns_address(api: Api) -> str:
    with suppress(ApiError, Unmeasured):
        return cluster_dns(api).cluster_ip
    return ""


def key_of_token(api: Api, namespace: str, name: str) -> str | None:
    """The ``secret:`` reference of the token that the chart keeps for its managers; None if it is unknown."""
    with suppress(ApiError):
        if "runner-token" in (
            api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}").get("data") or {}
        ):
            return f"secret:{namespace}/{name}/runner-token"
    return None


def hosts_of_pull_secret(api: Api, namespace: str, name: str) -> tuple[str, ...]:
    """The registries that a pull secret has an account for; no account itself is returned."""
    with suppress(ApiError, ValueError, AttributeError):
        data = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}").get("data") or {}
        config = load_json(base64.b64decode(str(data.get(".dockerconfigjson", ""))))
        hosts = [re.sub(r"^https?://|/.*$", "", str(host)) for host in config.get("auths") or {}]
        return tuple(host for host in hosts if host)
    return ()
