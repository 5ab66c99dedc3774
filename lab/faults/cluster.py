"""What can be wrong with the Kubernetes API and the cluster's own objects (guide 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("api-refused", "Nothing listens on the API server's port 6443.")
def _(world: World) -> None:
    world.api_mode = "down"


@fault("api-unauthorized", "The API server no longer accepts the token of the operator's kubeconfig.")
def _(world: World) -> None:
    del world.cluster.tokens[world.kubeconfig_token]


@fault("api-not-verified", "The operator's kubeconfig accepts any certificate of the API server.")
def _(world: World) -> None:
    world.kubeconfig_verifies = False


@fault("api-clock-skew", "The API server's clock is a minute and a half behind.")
def _(world: World) -> None:
    world.api_clock_offset = -90.0


@fault("api-forbidden", "The operator may neither read nodes nor create Jobs.")
def _(world: World) -> None:
    world.cluster.revoke("nodes")
    world.cluster.revoke("jobs", "create", group="batch")


@fault("node-not-ready", "The kubelet of k8s-worker-2 has stopped reporting: the node is NotReady.")
def _(world: World) -> None:
    world.cluster.stop_kubelet("k8s-worker-2")


@fault("node-missing", "k8s-worker-3 has been removed from the cluster; its machine still runs.")
def _(world: World) -> None:
    world.cluster.remove_node("k8s-worker-3")


@fault("node-cordoned", "k8s-worker-2 is cordoned.")
def _(world: World) -> None:
    world.cluster.cordon("k8s-worker-2")


@fault("nodes-cordoned", "Two of three workers are cordoned, and the third has no room for all jobs.")
def _(world: World) -> None:
    world.cluster.cordon("k8s-worker-1")
    world.cluster.cordon("k8s-worker-2")


@fault("node-disk-pressure", "k8s-worker-1 runs out of disk: its kubelet reports DiskPressure.")
def _(world: World) -> None:
    world.cluster.press("k8s-worker-1", "DiskPressure")


@fault("node-version-skew", "The kubelet of k8s-worker-1 is v1.24.17, four minor versions behind the API server.")
def _(world: World) -> None:
    node = world.cluster.node("k8s-worker-1")
    node["status"]["nodeInfo"] |= {"kubeletVersion": "v1.24.17", "kubeProxyVersion": "v1.24.17"}
    world.cluster.touch("nodes", node)


@fault("kube-dns-missing", "The Service kube-dns does not exist.")
def _(world: World) -> None:
    world.cluster.remove_service("kube-system", "kube-dns")


@fault("kube-dns-no-endpoints", "No CoreDNS pod is ready: the Service kube-dns has no endpoints.")
def _(world: World) -> None:
    if world.cluster.get("endpoints", "kube-system", "kube-dns"):  # else the Service is missing altogether
        world.cluster.drop_endpoints("kube-system", "kube-dns")


@fault("metrics-missing", "The metrics API is not installed.")
def _(world: World) -> None:
    world.cluster.drop_metrics()


@fault("metrics-unavailable", "The metrics API is registered, and its server is gone: it answers 503.")
def _(world: World) -> None:
    world.cluster.lose_metrics()
