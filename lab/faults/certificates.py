"""What can be wrong with certificates that are still valid: they end soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import MIRROR, PRIVATE

if TYPE_CHECKING:
    from lab.world import World


@fault("api-certificate-ends", "The API server's certificate ends in three days: kubeadm's, a year old.")
def _(world: World) -> None:
    world.api_certificate_days = 3.5


@fault("api-certificate-due", "The API server's certificate ends in twenty days.")
def _(world: World) -> None:
    world.api_certificate_days = 20.5


@fault("registry-certificate-ends", "The certificate of private-registry.example.com ends in five days.")
def _(world: World) -> None:
    world.registries[PRIVATE].certificate_days = 5.5


@fault("registry-certificate-due", "The certificate of registry.example.com ends in twenty days, and is not renewed.")
def _(world: World) -> None:
    world.registries[MIRROR].certificate_days = 20.5


@fault("kubelet-certificate-ends", "The certificate with which the kubelet of k8s-worker-2 logs in ends in three days.")
def _(world: World) -> None:
    world.nodes["k8s-worker-2"].kubelet_certificate_days = 3.5


@fault(
    "kubelet-certificate-ended",
    "The certificate with which the kubelet of k8s-worker-2 logs in ended two days ago: the node is NotReady.",
)
def _(world: World) -> None:
    world.nodes["k8s-worker-2"].kubelet_certificate_days = -2.5
    world.cluster.stop_kubelet("k8s-worker-2")


@fault("kubelet-serving-certificate-due", "What the kubelet of k8s-worker-2 shows on port 10250 ends in twenty days.")
def _(world: World) -> None:
    world.nodes["k8s-worker-2"].kubelet_serving_days = 20.5
