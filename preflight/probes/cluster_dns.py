"""The Service that answers for the cluster's names, whatever it is called.

kubeadm calls it ``kube-dns``; other installers have other names and namespaces for it. What decides is the address that
kubelets give to pods (``clusterDNS``), where it may be read, and else how the Service is labelled and what it listens
to: docs/sources.md#kube-dns.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.faults import ApiFault, ClusterFault
from preflight.probes.cluster import Node, ServiceEndpoints, backends, read_service_endpoints, service_endpoints

Json = dict[str, Any]

_PORT = 53
_SYSTEM = ("kube-system", "openshift-dns")
_MARKS = {
    "k8s-app": ("kube-dns", "coredns"),
    "app.kubernetes.io/name": ("coredns", "rke2-coredns", "kube-dns"),
    "dns.operator.openshift.io/owning-dns": ("default",),
}


def cluster_dns(api: Api, nodes: Sequence[Node] = ()) -> ServiceEndpoints:
    """The DNS Service and its endpoints; ``kube-system/kube-dns`` where that is one that works.

    Args:
        api: the cluster's API.
        nodes: the cluster's nodes, of which one is asked what it gives to pods where that is in doubt.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    usual = service_endpoints(api)
    if usual.fault is None:
        return usual
    try:
        services = [item for item in api.items("/api/v1/services", cached=True) if _serves_names(item)]
    except ApiError as error:
        if usual.fault is ClusterFault.SERVICE_MISSING:
            raise unmeasured(error) from error
        return usual
    given = kubelets_dns(api, nodes)
    chosen = _of_addresses(services, given)
    node_local = any(ipaddress.ip_address(address).is_link_local for address in given)
    if not chosen and given and not node_local:
        if usual.fault is not ClusterFault.SERVICE_MISSING and usual.cluster_ip in given:
            return usual
        cause = f"no Service has the address {', '.join(given)}, which kubelets give to pods for names"
        return replace(usual, fault=ClusterFault.SERVICE_MISSING, cause=cause)
    states = [_state(api, item, began) for item in chosen or sorted(filter(_marked, services), key=_rank)]
    if not states:
        cause = f"{usual.cause}, and no other Service answers for its names" if usual.cause else ""
        return replace(usual, cause=cause) if usual.fault is ClusterFault.SERVICE_MISSING else usual
    return next((state for state in states if state.fault is None), states[0])


def kubelets_dns(api: Api, nodes: Iterable[Node]) -> tuple[str, ...]:
    """The addresses that a node's kubelet gives to pods; empty where its configuration may not, or can't, be read."""
    node = next((node for node in nodes if node.ready), None)
    if node is None:
        return ()
    try:
        config = api.get(f"/api/v1/nodes/{path_segment(node.name)}/proxy/configz").get("kubeletconfig") or {}
    except ApiError:
        return ()
    return tuple(filter(_is_address, map(str, config.get("clusterDNS") or ())))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _serves_names(item: Json) -> bool:
    spec = item.get("spec", {})
    ports = spec.get("ports") or ()
    listens = any(port.get("port") == _PORT and port.get("protocol", "TCP") == "UDP" for port in ports)
    return listens and spec.get("clusterIP") not in {None, "", "None"}


def _of_addresses(services: Iterable[Json], given: Sequence[str]) -> list[Json]:
    return [item for item in services if set(_addresses(item)) & set(given)]


def _addresses(item: Json) -> Iterator[str]:
    spec = item.get("spec", {})
    yield from map(str, spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")]))


def _marked(item: Json) -> bool:
    """Whether a Service says that it is the cluster's own DNS; other programs may listen to port 53 as well."""
    metadata = item.get("metadata", {})
    labels = metadata.get("labels") or {}
    return metadata.get("namespace") in _SYSTEM or any(labels.get(key) in values for key, values in _MARKS.items())


def _rank(item: Json) -> tuple[bool, bool, str]:
    metadata = item.get("metadata", {})
    name = str(metadata.get("name", ""))
    return metadata.get("namespace") not in _SYSTEM, name.endswith("-upstream"), name


def _state(api: Api, item: Json, began: float) -> ServiceEndpoints:
    namespace, name = str(item["metadata"].get("namespace", "")), str(item["metadata"]["name"])
    try:
        slices = [
            each
            for each in api.items(
                "/apis/discovery.k8s.io/v1/endpointslices", labelSelector=f"kubernetes.io/service-name={name}"
            )
            if each.get("metadata", {}).get("namespace", namespace) == namespace
        ]
    except ApiError as error:
        if error.fault is not ApiFault.FORBIDDEN:
            raise unmeasured(error) from error
        try:
            slices = backends(api, namespace, name)
        except ApiError as refused:
            raise unmeasured(refused) from refused
    return read_service_endpoints(item, slices, namespace=namespace, name=name, took=time.monotonic() - began)
