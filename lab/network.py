"""How connections from a vantage point end, and what resolvers answer there: computed from the world alone.

The servers on loopback, the stand-ins for network tools and the kubelets' pulls all use these functions, so that one
change to the world has the same effect everywhere.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab.world import API_ADDRESS, API_PORT, CACHE_ADDRESS, CACHE_PORT, KUBE_DNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.world import Action, Resolver, Vantage, World

Way = Literal["open", "refused", "timeout", "unreachable", "reset"]
Rcode = Literal["ok", "nxdomain", "servfail", "refused", "timeout", "no-answer", "closed"]

_BLOCKED: dict[Action, Way] = {"drop": "timeout", "reject": "refused", "reset": "reset", "no-route": "unreachable"}
_MODES: dict[str, Way] = {"down": "refused", "vanished": "timeout"}
_LOCAL_SUBNET = ipaddress.ip_network("192.168.1.0/24")
_DNS_PORT = 53
_SSH_PORT = 22


@dataclass(frozen=True)
class Reply:
    """What one resolver answered to one question. `resolver` is the address that was queried."""

    resolver: str
    name: str
    status: Rcode
    addresses: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it has an address."""
        return self.status == "ok"


def path(world: World, vantage: Vantage, host: str, port: int) -> Way:
    """How a TCP connection from a vantage point to an address ends. `host` is an address; resolve names first."""
    if host.startswith("127.") or (vantage.address and host == vantage.address and vantage.kind == "pod"):
        return "open" if vantage.dockerd and vantage.dockerd.ready and port == vantage.dockerd.port else "refused"
    for rule in world.firewall:
        if rule.matches(str(vantage), host, port):
            return _BLOCKED[rule.action]
    if vantage.kind == "here" and ipaddress.ip_address(host) in _SERVICES:
        return "timeout"  # a ClusterIP has no meaning outside of the cluster
    return dict(_listening(world)).get((host, port)) or _nobody(world, host)


def resolve(world: World, vantage: Vantage, name: str, resolver: str | None = None) -> Reply:
    """Query a name's IPv4 addresses from `resolver`, or from those of resolv.conf: the next one only without answer."""
    if resolver is not None:
        return _ask(world, vantage, name.rstrip(".").lower(), resolver)
    reply = Reply("", name, "timeout")
    for server in nameservers(vantage.resolv_conf):
        reply = _ask(world, vantage, name.rstrip(".").lower(), server)
        if reply.status not in ("timeout", "closed", "servfail", "refused"):
            break
    return reply


def lookup(world: World, vantage: Vantage, name: str) -> Reply:
    """Look a name up as a resolver library does: an address itself, the hosts file, the search list, then the name."""
    try:
        return Reply("", name, "ok", (str(ipaddress.ip_address(name)),))
    except ValueError:
        pass
    if name in vantage.host_aliases:
        return Reply("", name, "ok", (vantage.host_aliases[name],))
    if name == "localhost":
        return Reply("", name, "ok", ("127.0.0.1",))
    reply = Reply("", name, "nxdomain")
    for candidate in candidates(name, vantage.resolv_conf):
        reply = resolve(world, vantage, candidate)
        if reply.ok or reply.status not in ("nxdomain", "no-answer"):
            break
    return reply


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf, of which the C library uses the first three."""
    addresses = [words[1] for words in _lines(resolv_conf) if words[0] == "nameserver" and len(words) > 1]
    return tuple(addresses[:3])


def candidates(name: str, resolv_conf: str) -> tuple[str, ...]:
    """The full names a resolver library queries, in order: the search list first if the name has too few dots."""
    if name.endswith("."):
        return (name,)
    searches: list[str] = []
    dots = 1
    for words in _lines(resolv_conf):
        if words[0] in ("search", "domain"):
            searches = words[1:]
        if words[0] == "options":
            dots = next((int(word[6:]) for word in words[1:] if word.startswith("ndots:")), dots)
    searched = [f"{name}.{domain.rstrip('.')}" for domain in searches]
    return tuple([name, *searched] if name.count(".") >= dots else [*searched, name])


def endpoint(world: World, host: str, port: int) -> tuple[str, int] | None:
    """Where on loopback the server of an address listens; None if it has no server of its own."""
    return world.listeners.get((host, port))


def answer(world: World, server: Resolver, name: str) -> Reply:
    """The answer of a resolver that was reached: by its mode, then its own records, then the shared zones."""
    if server.mode == "mute":
        return Reply(server.address, name, "timeout")
    if server.mode in ("nxdomain", "servfail", "refused"):
        return Reply(server.address, name, server.mode)
    if name in server.overrides:
        addresses = server.overrides[name]
        return Reply(server.address, name, "ok" if addresses else "nxdomain", addresses)
    if name in world.zones:
        addresses = world.zones[name]
        return Reply(server.address, name, "ok" if addresses else "no-answer", addresses)
    wildcard = next((zone for zone in world.zones if zone.startswith("*.") and name.endswith(zone[1:])), "")
    if wildcard:
        return Reply(server.address, name, "ok", world.zones[wildcard])
    parents = any(zone.endswith("." + name) for zone in world.zones)
    return Reply(server.address, name, "no-answer" if parents else "nxdomain")


def _ask(world: World, vantage: Vantage, name: str, server: str) -> Reply:
    if server == KUBE_DNS:
        return _ask_kube_dns(world, vantage, name)
    outcome = path(world, vantage, server, _DNS_PORT)
    server_state = world.resolvers.get(server)
    if world.misbehaviour.get(f"dns {server}"):
        return Reply(server, name, "timeout")  # what it sends is no valid answer
    if outcome == "open" and server_state is not None and server_state.over_udp:
        return answer(world, server_state, name)
    return Reply(server, name, "closed" if outcome in ("refused", "reset", "unreachable") else "timeout")


def _ask_kube_dns(world: World, vantage: Vantage, name: str) -> Reply:
    outcome = path(world, vantage, KUBE_DNS, _DNS_PORT)
    if outcome != "open":
        return Reply(KUBE_DNS, name, "closed" if outcome == "refused" else "timeout")
    if name.endswith(".cluster.local") or name == "cluster.local":
        address = world.cluster.service_address(name)
        return Reply(KUBE_DNS, name, "ok" if address else "nxdomain", (address,) if address else ())
    upstream = world.node_vantage("k8s-master")  # CoreDNS forwards to its own node's resolv.conf
    reply = resolve(world, upstream, name)
    status: Rcode = "servfail" if reply.status in ("timeout", "closed") else reply.status
    return Reply(KUBE_DNS, name, status, reply.addresses)


def _listening(world: World) -> Iterator[tuple[tuple[str, int], Way]]:
    gitlab = world.gitlab
    yield (gitlab.address, gitlab.port), _MODES.get(gitlab.mode, "open")
    yield (API_ADDRESS, API_PORT), _MODES.get(world.api_mode, "open")
    yield (CACHE_ADDRESS, CACHE_PORT), _MODES.get(world.cache_mode, "open")
    for node in world.nodes.values():
        yield (node.address, _SSH_PORT), _MODES.get(node.ssh.mode, "open")
        yield (node.address, 10250), "open"
    for registry in world.registries.values():
        yield (registry.address, registry.port), _MODES.get(registry.mode, "open")
        if registry.auth == "bearer":
            for address in world.zones.get(registry.realm_host, ()):
                yield (address, 443), _MODES.get(registry.realm, "open")
        for address in world.zones.get(registry.blob_host, ()):
            yield (address, 443), _MODES[registry.blob_mode]
    yield (world.charts.address, world.charts.port), _MODES.get(world.charts.mode, "open")
    for resolver in world.resolvers.values():
        yield (resolver.address, _DNS_PORT), "timeout" if resolver.mode == "mute" else _MODES.get(resolver.mode, "open")
    if hasattr(world, "cluster"):
        yield ("172.21.0.1", 443), _MODES.get(world.api_mode, "open")
        if world.cluster.service_address("kube-dns.kube-system.svc.cluster.local"):
            ready = world.cluster.ready_endpoints("kube-system", "kube-dns")
            yield (
                (KUBE_DNS, _DNS_PORT),
                "open" if ready else "refused",
            )  # kube-proxy rejects connections to a service without endpoints


def _nobody(world: World, host: str) -> Way:
    """Where nothing listens: an existing host refuses, a free address of the subnet is unreachable, others time out."""
    machines = {world.gitlab.address, *(node.address for node in world.nodes.values()), *world.resolvers}
    machines |= {registry.address for registry in world.registries.values()}
    machines |= {address for addresses in world.zones.values() for address in addresses}
    if host in machines:
        return "refused"
    return "unreachable" if ipaddress.ip_address(host) in _LOCAL_SUBNET else "timeout"


_SERVICES = ipaddress.ip_network("172.21.0.0/16")


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith(("#", ";")):
            yield words
