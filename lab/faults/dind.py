"""What can be wrong with Docker in Docker (guide 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import Registry, Resolver

if TYPE_CHECKING:
    from lab.world import World

_BUILDS = "builds.example.com"
_PUBLIC = "8.8.8.8"  # Docker's fallback if a resolv.conf has no servers that containers can reach
_NO_NAT = (
    "failed to start daemon: Error initializing network controller: error obtaining controller instance: failed to "
    'register "bridge" driver: failed to create NAT chain DOCKER: iptables failed: iptables -t nat -N DOCKER: iptables '
    "v1.8.11 (nf_tables): Could not fetch rule set generation id: Invalid argument\n (exit status 4)"
)


@fault("dind-unprivileged", "The values do not make jobs privileged: the Docker daemon lacks privileges, and exits.")
def _(world: World) -> None:
    world.values_edits["privileged = true"] = "privileged = false"


@fault("dind-exits", "The nodes' kernel lacks what Docker's NAT needs: the daemon exits, although it is privileged.")
def _(world: World) -> None:
    world.daemon.last_words = _NO_NAT


@fault("dind-slow", "The Docker daemon takes an hour to get ready.")
def _(world: World) -> None:
    world.daemon.ready_after = 3600.0


@fault("dind-tls-mismatch", "The Docker daemon speaks TLS on port 2375, where jobs speak plain HTTP.")
def _(world: World) -> None:
    world.daemon.tls = True


@fault("dind-inner-dns", "Containers inside Docker in Docker query 8.8.8.8, which does not know the internal names.")
def _(world: World) -> None:
    world.resolvers[_PUBLIC] = Resolver(_PUBLIC, mode="nxdomain")
    world.daemon.inner_nameservers = (_PUBLIC,)


@fault("dind-storage-vfs", "The Docker daemon finds no file system for overlay2, and falls back to vfs.")
def _(world: World) -> None:
    world.daemon.storage_driver = "vfs"


@fault("dind-mtu", "The pod network's MTU is 1450; containers inside Docker in Docker have 1500.")
def _(world: World) -> None:
    world.pod_mtu = 1450


@fault(
    "dind-insecure-missing",
    "builds.example.com:5000 speaks plain HTTP, and is not among the daemon's insecure registries.",
)
def _(world: World) -> None:
    address = "192.168.1.66"
    world.registries[_BUILDS] = Registry(_BUILDS, address, port=5000, certificate="none")
    world.zones[_BUILDS] = (address,)
    world.inventory_edits["registries.builds"] = {"host": f"{_BUILDS}:5000", "scheme": "http", "images": []}
