"""Metrics-server's measurements: derived from pods' requests, so that they are plausible and stable."""

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
_SHARE = Decimal("0.4")  # of their requests that pods use


def of_nodes(cluster: ClusterState) -> list[Raw]:
    """One measurement per node whose kubelet runs."""
    measurements: list[Raw] = []
    requests: dict[str, list[dict[str, Quantity]]] = {}
    for pod in cluster.each("pods"):
        requests.setdefault(pod["spec"].get("nodeName", ""), []).append(effective(pod["spec"], "requests"))
    for node in cluster.list("nodes"):
        name = node["metadata"]["name"]
        if not cluster.kubelet_runs(name):
            continue
        used = _used(name, total(requests.get(name, [])), _IDLE_CPU, _IDLE_MEMORY)
        measurements.append(_head(node) | {"usage": used})
    return measurements


def of_pods(cluster: ClusterState, namespace: str) -> list[Raw]:
    """One measurement per running pod, with its containers."""
    measurements: list[Raw] = []
    for pod in cluster.list("pods", namespace or None):
        if pod["status"].get("phase") == "Running":
            used = [
                {
                    "name": container["name"],
                    "usage": _used(
                        container["name"], amounts((container.get("resources") or {}).get("requests")), 1_000_000, 9_000
                    ),
                }
                for container in pod["spec"]["containers"]
            ]
            measurements.append(_head(pod) | {"containers": used})
    return measurements


def _head(item: Raw) -> Raw:
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]}
    metadata |= {"creationTimestamp": timestamps.now(), "labels": item["metadata"].get("labels", {})}
    return {"metadata": metadata, "timestamp": timestamps.ago(seconds=15), "window": "20.051s"}


def _used(seed: str, requests: dict[str, Quantity], idle_cpu: int, idle_memory: int) -> Raw:
    cpu = requests["cpu"].value * 10**9 if "cpu" in requests else Decimal(0)
    memory = requests["memory"].value / 1024 if "memory" in requests else Decimal(0)
    variation = zlib.crc32(seed.encode()) % 1_000_000
    return {
        "cpu": f"{int(cpu * _SHARE) + idle_cpu + variation}n",
        "memory": f"{int(memory * _SHARE) + idle_memory + variation % 997}Ki",
    }
