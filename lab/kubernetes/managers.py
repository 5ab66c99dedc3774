"""The runner's managers in the cluster: a Deployment and its pods, which have been running for days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.kubernetes import moments
from lab.kubernetes.guide import NAMESPACE, pod

if TYPE_CHECKING:
    from lab.kubernetes.state import ClusterState, Raw
    from lab.world import World

RELEASE = "gitlab-runner"
IMAGE = "registry.example.com/gitlab-org/gitlab-runner:alpine-v18.3.0"
_LABELS = {"app": RELEASE, "chart": "gitlab-runner-0.80.0", "heritage": "Helm", "release": RELEASE}


def deploy_managers(cluster: ClusterState, world: World) -> None:
    """Let one manager run on each worker that is there, unless the namespace is not."""
    if cluster.get("namespaces", "", NAMESPACE) is None:
        return
    template = {"labels": dict(_LABELS)}
    container = {"name": RELEASE, "image": IMAGE, "ports": [{"name": "metrics", "containerPort": 9252}]}
    spec: Raw = {"replicas": len(world.workers), "selector": {"matchLabels": {"app": RELEASE}}}
    spec["template"] = {"metadata": template, "spec": {"containers": [container], "serviceAccountName": RELEASE}}
    metadata = {"name": RELEASE, "namespace": NAMESPACE, "labels": dict(_LABELS)}
    metadata["creationTimestamp"] = moments.ago(days=6)
    cluster.add({"kind": "Deployment", "metadata": metadata, "spec": spec})
    for number, machine in enumerate(world.workers, start=1):
        if cluster.get("nodes", "", machine.name) is None:
            continue
        name = f"{RELEASE}-6b8d5c7f9d-h4x{number}z"
        item = pod(NAMESPACE, name, node=machine.name, image=IMAGE, labels=_LABELS, owner="ReplicaSet")
        item["spec"]["containers"][0] |= {"name": RELEASE, "ports": [{"containerPort": 9252, "protocol": "TCP"}]}
        item["spec"] |= {"serviceAccountName": RELEASE, "serviceAccount": RELEASE}
        item["status"]["containerStatuses"][0]["name"] = RELEASE
        address = f"172.24.{number}.10{number}"
        item["status"] |= {"hostIP": machine.address, "podIP": address, "podIPs": [{"ip": address}]}
        cluster.add(item)
