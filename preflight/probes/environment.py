"""Whether the networks and addresses of inventory, values and cluster agree, and no proxy takes internal requests.

Pure: the cluster's own objects are measured by `preflight.probes.cluster`.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Fact
from preflight.faults import DnsFault, NetworkFault
from preflight.inventory import Inventory
from preflight.probes.cluster import Node, Nodes, PodRequests, ServiceEndpoints
from preflight.shell_command import pipe, program, sequence
from preflight.values import Values

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443, "tcp": 2375}
_CONTROL_PLANE = frozenset({"control-plane", "master"})
_EXAMPLES = 3  # addresses that a cause names
_MACHINES = 10  # machines outside of the VPC that it names


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAgreement(Fact):
    """Whether two descriptions of the environment agree; its evidence has what was compared, a line each."""


def _agreement(
    target: str,
    compared: Iterable[str],
    contradictions: Sequence[str],
    fault: NetworkFault,
    *,
    command: str,
    where: str = "here",
) -> NetworkAgreement:
    lines = tuple(compared)
    further = len(contradictions) - _EXAMPLES
    more = f"; and {further} more" if further > 0 else ""
    return NetworkAgreement(
        target=target,
        fault=fault if contradictions else None,
        cause="; ".join(contradictions[:_EXAMPLES]) + more,
        evidence=Evidence(where=where, command=command, observed="\n".join(lines)),
    )


def address_of(url: str) -> Address | None:
    """The address in a URL; None where it has a name."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return None


def networks(inventory: Inventory) -> Mapping[str, Network]:
    """The networks that the inventory names, by what they are for."""
    cluster = inventory.cluster
    named: dict[str, Network] = {}
    for name, cidrs in (("pod network", cluster.pod_networks), ("service network", cluster.service_networks)):
        for number, cidr in enumerate(cidrs):
            named[name if number == 0 else f"second {name}"] = ipaddress.ip_network(cidr)
    return named | ({"VPC": ipaddress.ip_network(cluster.vpc_cidr)} if cluster.vpc_cidr else {})


def disjoint(known: Mapping[str, Network]) -> NetworkAgreement:
    """Whether no two networks share an address."""
    overlaps = [
        f"the {first} {known[first]} and the {second} {known[second]} share addresses"
        for first, second in combinations(known, 2)
        if known[first].overlaps(known[second])
    ]
    lines = [f"{name}: {network}" for name, network in known.items()]
    return _agreement("networks", lines, overlaps, NetworkFault.OVERLAP, command="grep _cidr inventory.yaml")


def machines(inventory: Inventory) -> Mapping[str, Address]:
    """The machines that the inventory names by address: nodes, API server, GitLab."""
    addresses: dict[str, Address] = {
        f"node {name}": ipaddress.ip_address(node.address) for name, node in inventory.cluster.nodes.items()
    }
    for name, url in (("the API server", inventory.cluster.api_server), ("GitLab", inventory.gitlab.url)):
        if (address := address_of(url)) is not None:
            addresses[name] = address
    return addresses


def machines_outside(known: Mapping[str, Network], addresses: Mapping[str, Address]) -> NetworkAgreement:
    """Whether no machine's address lies in a network that exists inside the cluster alone."""
    inner = {name: network for name, network in known.items() if name != "VPC"}
    inside = [
        f"{machine} has {address}, which lies in the {name} {network}"
        for machine, address in addresses.items()
        for name, network in inner.items()
        if address in network
    ]
    lines = [f"{machine}: {address}" for machine, address in addresses.items()]
    return _agreement("machines", lines, inside, NetworkFault.NODE_INSIDE, command="kubectl get nodes -o wide")


def pod_network(expected: Sequence[Network], nodes: Nodes, pods: PodRequests | None) -> NetworkAgreement:
    """Whether pods have addresses of the expected networks.

    The addresses of running pods decide. On a node without one, its ``podCIDRs`` do, which some network plugins do
    not use; and both are judged only in a family of which there is an expected network.
    """
    spans = pods.addresses if pods is not None else {}
    lines, contradictions = [], []
    for node in nodes.nodes:
        if node.name in spans:
            used = [ipaddress.ip_address(address) for address in dict.fromkeys(spans[node.name])]
            outside = [address for address in used if _outside(address, expected)]
            line = f"pods on {node.name} have {' to '.join(map(str, used))}"
        else:
            ranges = [ipaddress.ip_network(cidr) for cidr in node.pod_cidrs]
            outside = [
                network.network_address for network in ranges if any(_elsewhere(network, each) for each in expected)
            ]
            line = f"{node.name} gives its pods {' and '.join(map(str, ranges))}"
            if not ranges:
                continue
        lines.append(line)
        if outside:
            contradictions.append(f"{line}; the inventory says {' and '.join(map(str, expected))}")
    command = "kubectl get pods -A -o wide; kubectl get nodes -o jsonpath='{.items[*].spec.podCIDRs}'"
    return _agreement("pod network", lines, contradictions, NetworkFault.OTHER_POD_NETWORK, command=command)


def _outside(address: Address, expected: Iterable[Network]) -> bool:
    """Whether an address lies in none of the networks of its family, of which there is one."""
    of_family = [network for network in expected if network.version == address.version]
    return bool(of_family) and not any(address in network for network in of_family)


def _elsewhere(network: Network, expected: Network) -> bool:
    """Whether a network of the same family is not a part of the expected one."""
    if isinstance(network, ipaddress.IPv4Network) and isinstance(expected, ipaddress.IPv4Network):
        return not network.subnet_of(expected)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(expected, ipaddress.IPv6Network):
        return not network.subnet_of(expected)
    return False


def service_network(expected: Sequence[Network], services: Sequence[ServiceEndpoints]) -> NetworkAgreement:
    """Whether the cluster's own Services have addresses of the expected networks."""
    lines, outside = [], []
    for service in services:
        try:
            address = ipaddress.ip_address(service.cluster_ip)
        except ValueError:  # there is none, or it is headless
            continue
        lines.append(f"Service {service.target}: {address}")
        if _outside(address, expected):
            wanted = " and ".join(map(str, expected))
            outside.append(f"Service {service.target} has {address}; the inventory says {wanted}")
    places = (service.target.partition("/") for service in services)
    command = sequence(*(program("kubectl", "-n", namespace, "get", "service", name) for namespace, _, name in places))
    return _agreement("service network", lines, outside, NetworkFault.OTHER_SERVICE_NETWORK, command=command)


def control_plane_address(url: str, address: Address, nodes: Nodes) -> NetworkAgreement:
    """Whether the API server's address is a control-plane node's; several of them may be behind a load balancer."""
    leaders = [node for node in nodes.nodes if node.roles & _CONTROL_PLANE]
    holder = next((node for node in nodes.nodes if node.address == str(address)), None)
    contradictions = []
    if holder is not None and holder not in leaders:
        contradictions.append(f"{url} is the address of {holder.name}, which is no control-plane node")
    elif holder is None and len(leaders) == 1:
        contradictions.append(f"{url} is no node's address; the control plane is {_named(leaders[0])}")
    lines = [f"API server: {address}", *(f"control plane: {_named(node)}" for node in leaders)]
    command = "kubectl get nodes -l node-role.kubernetes.io/control-plane -o wide"
    return _agreement("API server", lines, contradictions, NetworkFault.NOT_CONTROL_PLANE, command=command)


def _named(node: Node) -> str:
    return f"{node.name} ({node.address})"


def inside_vpc(vpc: Network, addresses: Mapping[str, Address]) -> NetworkAgreement:
    """Whether the machines lie in the VPC that the inventory names."""
    outside = [f"{machine} has {address}" for machine, address in addresses.items() if address not in vpc]
    lines = [f"VPC: {vpc}", *(f"{machine}: {address}" for machine, address in addresses.items())]
    further = len(outside) - _MACHINES
    more = f"; and {further} more" if further > 0 else ""
    contradictions = [f"outside of the VPC {vpc}: {', '.join(outside[:_MACHINES])}" + more] if outside else []
    return _agreement(
        "VPC", lines, contradictions, NetworkFault.OUTSIDE_VPC, command="grep -n 'address\\|url\\|vpc' inventory.yaml"
    )


# ---- proxies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies(Fact):
    """What the proxy variables of one place do to internal requests.

    Attributes:
        proxied: requests that they would send to a proxy.
    """

    proxied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyTarget:
    """Something internal that a program connects to: a name for the cause, scheme, host and port."""

    name: str
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, name: str, url: str) -> ProxyTarget:
        """The target of a URL."""
        parts = urlsplit(url)
        scheme = "http" if parts.scheme == "tcp" else parts.scheme
        return cls(name, scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 80))


def proxy_for(target: ProxyTarget, variables: Mapping[str, str]) -> str:
    """The variable that sends a request to a proxy, by the rules of Go's net/http and curl; empty if none does.

    ``NO_PROXY`` holds names (with their subdomains), addresses and networks, each with an optional port, or ``*``.
    """
    by_name = {name.lower(): (name, value) for name, value in variables.items() if value}
    name, _ = by_name.get(f"{target.scheme}_proxy") or by_name.get("all_proxy") or ("", "")
    if not name:
        return ""
    exceptions = by_name.get("no_proxy", ("", ""))[1].replace(" ", ",").split(",")
    return "" if any(_excepts(entry.strip().lower(), target) for entry in exceptions if entry.strip()) else name


def _excepts(entry: str, target: ProxyTarget) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ipaddress.ip_address(target.host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    host, separator, port = entry.rpartition(":")
    if separator and port.isdigit() and host.count(":") == 0:
        if int(port) != target.port:
            return False
        entry = host
    bare = entry.removeprefix("*").removeprefix(".")
    return target.host == bare or target.host.endswith(f".{bare}")


def _proxies(place: str, targets: Iterable[ProxyTarget], variables: Mapping[str, str], command: str) -> Proxies:
    proxied = tuple(
        f"{variable} in {place} sends requests for {target.name} ({target.host}:{target.port}) to a proxy"
        for target in targets
        if (variable := proxy_for(target, variables))
    )
    named = sorted(name for name in variables if name.lower().endswith("_proxy"))
    return Proxies(
        target=place,
        proxied=proxied,
        fault=NetworkFault.PROXY if proxied else None,
        cause="; ".join(proxied),
        # A value may hold a password: only the names are shown.
        evidence=Evidence(where="here", command=command, observed=", ".join(named) or "no proxy variable"),
    )


def proxies_here(inventory: Inventory, variables: Mapping[str, str]) -> Proxies:
    """What the proxy variables of this process do to kubectl, helm and curl in the same environment."""
    targets = [
        ProxyTarget.of("the API server", inventory.cluster.api_server),
        ProxyTarget.of("GitLab", inventory.gitlab.url),
    ]
    return _proxies("this environment", targets, variables, "env | grep -i _proxy | cut -d= -f1")


def proxies_of_values(inventory: Inventory, values: Values) -> Proxies:
    """What the proxy variables that the values give to managers and jobs do to GitLab, the API server and Docker."""
    url = str(values.get("gitlabUrl") or inventory.gitlab.url)
    managers = [ProxyTarget.of("GitLab", url)]
    if inventory.cluster.service_networks:
        first = ipaddress.ip_network(inventory.cluster.service_networks[0])[1]  # of the Service default/kubernetes
        managers.append(ProxyTarget("the API server's Service", "https", str(first), 443))
    jobs = [ProxyTarget.of("GitLab", url)]
    if inventory.dind != "none" and inventory.dind.docker_host.startswith("tcp://"):
        jobs.append(ProxyTarget.of("the Docker daemon", inventory.dind.docker_host))
    both = (
        ("the managers' variables", managers, values.environment),
        ("the jobs' variables", jobs, _of_jobs(values)),
    )
    runner = inventory.runner
    command = pipe(
        program("helm", "get", "values", runner.release, "-n", runner.namespace),
        program("grep", "-i", "-o", "[a-z]*_proxy"),
    )
    facts = [_proxies(place, targets, variables, command) for place, targets, variables in both]
    proxied = tuple(request for fact in facts for request in fact.proxied)
    return Proxies(
        target="values",
        proxied=proxied,
        fault=NetworkFault.PROXY if proxied else None,
        cause="; ".join(proxied),
        evidence=Evidence(
            where="here",
            command=command,
            observed="\n".join(f"{fact.target}: {fact.evidence.observed}" for fact in facts),
        ),
    )


def _of_jobs(values: Values) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in values.runner_entry.get("environment", ()))
    return {name: value for name, _, value in pairs}


# ---- this machine's own resolvers -----------------------------------------------------------------------------------

SLOW_NAMES = 3.0  # seconds: libc waits 5 for a resolver that does not answer, and asks the next one then


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNames(Fact):
    """How long this machine itself takes for names, by its own resolvers.

    Attributes:
        seconds: of each name that has an address.
        nameservers: of /etc/resolv.conf, in their order.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    nameservers: tuple[str, ...] = ()


def own_names(hosts: Iterable[str], *, routes: Routes, resolv_conf: Path, deadline: float) -> OwnNames:
    """Look names up as this machine does; one without an address is left out, for who needs it reports that."""
    seconds: dict[str, float] = {}
    for host in dict.fromkeys(hosts):
        with contextlib.suppress(OSError):
            took = routes.look_up_seconds(host, within=deadline)
            if took is not None:
                seconds[host] = took
    text = resolv_conf.read_text(errors="replace") if resolv_conf.is_file() else ""
    words = [line.split() for line in text.splitlines()]
    nameservers = tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")
    slow = {host: took for host, took in seconds.items() if took >= SLOW_NAMES}
    listed = ", ".join(f"{host} took {took:.0f} s" for host, took in slow.items())
    cause = (
        f"{listed} here, where {resolv_conf} lists {', '.join(nameservers) or 'no nameserver'}; jobs do not ask here"
    )
    return OwnNames(
        target="this machine",
        seconds=seconds,
        nameservers=nameservers,
        fault=DnsFault.SLOW if slow else None,
        cause=cause if slow else "",
        evidence=Evidence(
            where="here",
            command=sequence(
                program("cat", resolv_conf), program("time", "getent", "hosts", next(iter(slow or seconds), "NAME"))
            ),
            observed="\n".join([*(f"nameserver {server}" for server in nameservers), listed]),
            took=max(seconds.values(), default=0.0),
        ),
    )
