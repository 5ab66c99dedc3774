"""What can be wrong with Docker in Docker (guide 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import Registry, Resolver

if TYPE_CHECKING:
    from lab.world import World

_BUILDS = "builds.example.com"
_PUBLIC = "8.8.8.8"  # what Docker falls back to where a resolv.conf is of no use to containers
_NO_NAT = (
    "failed to start daemon: Error initializing network controller: error obtaining controller instance: failed to "
    'register "bridge" driver: failed to create NAT chain DOCKER: iptables failed: iptables -t nat -N DOCKER: iptables '
    "v1.8.11 (nf_tables): Could not fetch rule set generation id: Invalid argument\n (exit status 4)"
)


@fault("dind-unprivileged", "The values do not make jobs privileged: the Docker daemon may not do its work, and ends.")
def _(world: World) -> None:
    world.values_edits["privileged = true"] = "privileged = false"


@fault("dind-exits", "The nodes' kernel lacks what Docker's NAT needs: the daemon ends, although it is privileged.")
def _(world: World) -> None:
    world.daemon.last_words = _NO_NAT


@fault("dind-slow", "The Docker daemon takes an hour to get ready.")
def _(world: World) -> None:
    world.daemon.ready_after = 3600.0


@fault("dind-tls-mismatch", "The Docker daemon speaks TLS on port 2375, where jobs speak plain HTTP.")
def _(world: World) -> None:
    world.daemon.tls = True


@fault("dind-inner-dns", "Containers inside Docker in Docker ask 8.8.8.8, which does not know the internal names.")
def _(world: World) -> None:
    world.resolvers[_PUBLIC] = Resolver(_PUBLIC, mode="nxdomain")
    world.daemon.inner_nameservers = (_PUBLIC,)


@fault("dind-storage-vfs", "The Docker daemon finds no file system for overlay2, and takes vfs.")
def _(world: World) -> None:
    world.daemon.storage_driver = "vfs"


@fault("dind-mtu", "The network between pods carries packets of 1450 bytes; Docker's containers send 1500.")
def _(world: World) -> None:
    world.pod_mtu = 1450


@fault("dind-insecure-missing", "builds.example.com:5000 speaks plain HTTP, which the Docker daemon was not told.")
def _(world: World) -> None:
    address = "192.168.1.66"
    world.registries[_BUILDS] = Registry(_BUILDS, address, port=5000, certificate="none")
    world.zones[_BUILDS] = (address,)
    world.inventory_edits["registries.builds"] = {"host": f"{_BUILDS}:5000", "scheme": "http", "images": []}
