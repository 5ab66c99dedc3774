"""What metrics-server measures: made up from what pods ask for, so that it is plausible and never changes much."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import TYPE_CHECKING

from lab.cluster import timestamps
from lab.kubernetes.admission import effective
from lab.kubernetes.quantities import amounts, total

if TYPE_CHECKING:
    from lab.cluster.state import ClusterState, Raw
    from lab.kubernetes.quantities import Quantity

_IDLE_CPU, _IDLE_MEMORY = 140_000_000, 1_100_000  # of a node by itself: billionths of a CPU, KiB
_SHARE = Decimal("0.4")  # of what pods ask for that they use


def of_nodes(cluster: ClusterState) -> list[Raw]:
    """One measurement a node; a node whose kubelet is silent has none."""
    found: list[Raw] = []
    for node in cluster.list("nodes"):
        name = node["metadata"]["name"]
        if not cluster.kubelet_runs(name):
            continue
        asked = total(
            [effective(pod["spec"], "requests") for pod in cluster.each("pods") if pod["spec"].get("nodeName") == name]
        )
        found.append(_head(node) | {"usage": _used(name, asked, _IDLE_CPU, _IDLE_MEMORY)})
    return found


def of_pods(cluster: ClusterState, namespace: str) -> list[Raw]:
    """One measurement a running pod, with its containers."""
    found: list[Raw] = []
    for pod in cluster.list("pods", namespace or None):
        if pod["status"].get("phase") == "Running":
            used = [
                {
                    "name": one["name"],
                    "usage": _used(
                        one["name"], amounts((one.get("resources") or {}).get("requests")), 1_000_000, 9_000
                    ),
                }
                for one in pod["spec"]["containers"]
            ]
            found.append(_head(pod) | {"containers": used})
    return found


def _head(item: Raw) -> Raw:
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]}
    metadata |= {"creationTimestamp": timestamps.now(), "labels": item["metadata"].get("labels", {})}
    return {"metadata": metadata, "timestamp": timestamps.ago(seconds=15), "window": "20.051s"}


def _used(seed: str, asked: dict[str, Quantity], idle_cpu: int, idle_memory: int) -> Raw:
    cpu = asked["cpu"].value * 10**9 if "cpu" in asked else Decimal(0)
    memory = asked["memory"].value / 1024 if "memory" in asked else Decimal(0)
    wobble = zlib.crc32(seed.encode()) % 1_000_000
    return {
        "cpu": f"{int(cpu * _SHARE) + idle_cpu + wobble}n",
        "memory": f"{int(memory * _SHARE) + idle_memory + wobble % 997}Ki",
    }
