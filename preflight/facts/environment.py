"""1 The environment: inventory, values and cluster compared."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from preflight.clients import kube_api as api_client
from preflight.clients.connect import split_address
from preflight.evidence import NotApplicable
from preflight.fact import fact
from preflight.inventory import Inventory
from preflight.probes import cluster, environment
from preflight.probes.cluster import Nodes, PodRequests, ServiceEndpoints
from preflight.probes.environment import NetworkAgreement, OwnNames, Proxies
from preflight.run import Run
from preflight.values import Values


@fact(effect="static")
def networks(inventory: Inventory) -> NetworkAgreement:
    """The networks of the inventory."""
    return environment.disjoint(environment.networks(inventory))


@fact(after=("networks",), effect="static")
def machine_addresses(inventory: Inventory) -> NetworkAgreement:
    """The machines' addresses, compared with the cluster's own networks."""
    return environment.machines_outside(environment.networks(inventory), environment.machines(inventory))


@fact(after=("machine_addresses",), optional=("running_pods",))
def pod_network(cluster_nodes: Nodes, running_pods: PodRequests | None, inventory: Inventory) -> NetworkAgreement:
    """The network that pods have their addresses from."""
    if not inventory.cluster.pod_networks:
        reason = "no cluster.pod_cidr in the inventory"
        raise NotApplicable(reason)
    expected = [ipaddress.ip_network(network) for network in inventory.cluster.pod_networks]
    return environment.pod_network(expected, cluster_nodes, running_pods)


@fact(after=("api_answer",), deadline="api", reported_by=("service_network",))
def kubernetes_service(kubernetes: api_client.Api) -> ServiceEndpoints:
    """The API server's own Service."""
    return cluster.service_endpoints(kubernetes, namespace="default", name="kubernetes")


@fact(after=("machine_addresses",), tolerates=("kubernetes_service",), optional=("kube_dns",))
def service_network(
    kubernetes_service: ServiceEndpoints,
    kube_dns: ServiceEndpoints | None,
    inventory: Inventory,
) -> NetworkAgreement:
    """The network that Services have their addresses from."""
    if not inventory.cluster.service_networks:
        reason = "no cluster.service_cidr in the inventory"
        raise NotApplicable(reason)
    services = [kubernetes_service, *([kube_dns] if kube_dns is not None else [])]
    expected = [ipaddress.ip_network(network) for network in inventory.cluster.service_networks]
    return environment.service_network(expected, services)


@fact(after=("api_address",))
def control_plane_address(cluster_nodes: Nodes, inventory: Inventory) -> NetworkAgreement:
    """The API server's address, compared with the control plane's nodes."""
    url = inventory.cluster.api_server
    address = environment.address_of(url)
    if address is None:
        reason = f"cluster.api_server is {url}: a name, behind which any machine may be"
        raise NotApplicable(reason)
    return environment.control_plane_address(url, address, cluster_nodes)


@fact(after=("networks",), effect="static")
def vpc(inventory: Inventory) -> NetworkAgreement:
    """The VPC that nodes and GitLab should be in."""
    known = environment.networks(inventory)
    if "VPC" not in known:
        reason = "no cluster.vpc_cidr in the inventory"
        raise NotApplicable(reason)
    return environment.inside_vpc(known["VPC"], environment.machines(inventory))


@fact(after=("values_toml",), effect="static")
def values_proxies(helm_values: Values, inventory: Inventory) -> Proxies:
    """The proxies that the values set for managers and jobs."""
    return environment.proxies_of_values(inventory, helm_values)


@fact(effect="static")
def here_proxies(inventory: Inventory) -> Proxies:
    """The proxies of this process's environment."""
    # A copy of the whole environment would fail if another thread set a variable meanwhile.
    variables = {name: os.environ[name] for name in list(os.environ) if name.lower().endswith("_proxy")}
    return environment.proxies_here(inventory, variables)


@fact(deadline="http+http+http+http")
def own_names(inventory: Inventory, run: Run) -> OwnNames:
    """The names, as this machine itself resolves them."""
    urls = (inventory.gitlab.url, inventory.cluster.api_server)
    hosts = [urlsplit(url).hostname or "" for url in urls]
    hosts += [urlsplit(f"//{settings.host}").hostname or "" for settings in inventory.registries.values()]
    mapped = {split_address(source)[0] for source in run.routes.mapping}
    needed = [] if run.routes.only_mapped else [host for host in hosts if host and host not in mapped]
    return environment.own_names(
        needed, routes=run.routes, resolv_conf=Path("/etc/resolv.conf"), deadline=inventory.deadlines.http
    )
