"""Why not all of the concurrent jobs fit: no node, or no cache; and what else jobs need (guide 6.5, 7)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.guide import fill
from lab.kubernetes.quantities import quantity
from lab.world import GITLAB_ADDRESS

if TYPE_CHECKING:
    from lab.cluster.state import ClusterState
    from lab.world import World

_MEBIBYTE = 1024 * 1024


def _leave(world: World, mebibytes: int) -> None:
    """Let other applications request all but so much of every worker's memory."""
    for node in _workers(world):
        taken = _free_memory(world.cluster, node) - mebibytes * _MEBIBYTE
        fill(world.cluster, node, {"cpu": "100m", "memory": str(taken)})


def _workers(world: World) -> list[str]:
    """The workers that are in the cluster."""
    return [node.name for node in world.workers if world.cluster.get("nodes", "", node.name)]


def _free_memory(cluster: ClusterState, node: str) -> int:
    return int(_free(cluster, node, "memory"))


def _free(cluster: ClusterState, node: str, resource: str) -> Decimal:
    free = quantity(cluster.node(node)["status"]["allocatable"][resource]).value
    for pod in cluster.each("pods"):
        if pod["spec"].get("nodeName") == node:
            for container in pod["spec"]["containers"]:
                free -= quantity(container["resources"].get("requests", {}).get(resource, "0")).value
    return free


@fault("unschedulable-memory", "Other applications request all but 8 MiB of every worker's memory.")
def _(world: World) -> None:
    _leave(world, 8)


@fault("unschedulable-selector", "The values' node_selector asks for node-pool=ci, and no node has that label.")
def _(world: World) -> None:
    table = "        [runners.kubernetes.dns_config]\n"
    world.values_edits[table] = f'        [runners.kubernetes.node_selector]\n          node-pool = "ci"\n{table}'


@fault("unschedulable-taint", "Every worker is tainted dedicated=batch:NoSchedule, and the values tolerate nothing.")
def _(world: World) -> None:
    for node in _workers(world):
        world.cluster.taint(node, "dedicated", "batch")


@fault("headroom-short", "Other applications leave 3 GiB of memory on each worker: probes run, thirty jobs do not fit.")
def _(world: World) -> None:
    _leave(world, 3 * 1024)


@fault("headroom-filler", "The reports of another team request all but three CPUs of every worker.")
def _(world: World) -> None:
    for node in _workers(world):
        share = (_free(world.cluster, node, "cpu") - 3) / 4
        requests = {"cpu": f"{int(share * 1000)}m", "memory": "256Mi"}
        for _ in range(4):
            fill(world.cluster, node, requests, application="order-reports")


@fault(
    "disk-too-small", "The disk of k8s-worker-2 has 15 GiB of 98 free: with the images, less than the kubelet keeps."
)
def _(world: World) -> None:
    world.forget_images("k8s-worker-2")
    world.nodes["k8s-worker-2"].disk_free = 15 * 2**30


@fault("disk-nearly-full", "The disk of k8s-worker-2 has 18 GiB of 98 free: the images fit, and hardly more.")
def _(world: World) -> None:
    world.forget_images("k8s-worker-2")
    world.nodes["k8s-worker-2"].disk_free = 18 * 2**30


@fault("cache-down", "Nothing listens on port 9000 of minio.example.com, the storage of the jobs' cache.")
def _(world: World) -> None:
    world.cache_mode = "down"


@fault("destination-refused", "Jobs clone by SSH, too, and nothing listens on port 22 of GitLab's machine.")
def _(world: World) -> None:
    world.inventory_edits["destinations"] = [f"{GITLAB_ADDRESS}:22"]
