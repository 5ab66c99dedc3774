"""The cluster's DNS Service is known by what it does, whatever an installer calls it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.kube_api import Api
from preflight.evidence import Unmeasured
from preflight.faults import ClusterFault, Fault
from preflight.probes.cluster import Node, ServiceEndpoints, read_node
from preflight.probes.cluster_dns import cluster_dns
from tests.probes.apiserver import Asked, Reply, scripted_api, status

Json = dict[str, Any]
NODES = (Node(name="away"), Node(name="n1", ready=True))
USUAL = "/api/v1/namespaces/kube-system/services/kube-dns"


def service(namespace: str, name: str, address: str = "10.43.0.10", **labels: str) -> Json:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": ports},
    }


@contextmanager
def cluster_of(
    folder: Path,
    services: Sequence[Json],
    *,
    ready: Sequence[str],
    kubelet: Sequence[str] | None,
    may_list: bool = True,
) -> Iterator[tuple[Api, list[Asked]]]:
    """An API server with these Services, of which some have ready endpoints; None: kubelets may not be asked."""

    def answer(asked: Asked) -> Reply:
        if asked.path == "/api/v1/services" and may_list:
            return Reply({"metadata": {}, "items": list(services)})
        if asked.path.endswith("/proxy/configz") and kubelet is not None:
            return Reply({"kubeletconfig": {"clusterDNS": list(kubelet)}})
        if asked.path.endswith(("/configz", "/api/v1/services")):
            words = 'x is forbidden: User "ops" cannot list resource "services" in API group "" at the cluster scope'
            return Reply(status(403, "Forbidden", words), 403)
        if "endpointslices" in asked.path:
            name = asked.query["labelSelector"].partition("=")[2]
            found = [each["metadata"] for each in services if each["metadata"]["name"] == name]
            endpoints = [{"addresses": ["10.42.0.2"], "conditions": {"ready": name in ready}}]
            items = [{"metadata": {"namespace": each["namespace"]}, "endpoints": endpoints} for each in found]
            return Reply({"metadata": {}, "items": items})
        usual = next((each for each in services if each["metadata"]["name"] == "kube-dns"), None)
        if asked.path == USUAL and usual is not None:
            return Reply(usual)
        return Reply(status(404, "NotFound", "not found"), 404)

    with scripted_api(folder, answer) as (api, asked):
        yield api, asked


def found_in(folder: Path, services: Sequence[Json], **more: Any) -> ServiceEndpoints:
    with cluster_of(folder, services, **more) as (api, _):
        return cluster_dns(api, NODES)


OTHERS: dict[str, Json] = {
    "kubespray": service("kube-system", "coredns", "10.233.0.3", **{"k8s-app": "kube-dns"}),
    "RKE2": service("kube-system", "rke2-coredns-rke2-coredns", **{"k8s-app": "kube-dns"}),
    "OpenShift": service("openshift-dns", "dns-default", **{"dns.operator.openshift.io/owning-dns": "default"}),
    "by its namespace alone": service("kube-system", "resolver"),
    "by its label alone": service("dns", "resolver", **{"app.kubernetes.io/name": "coredns"}),
}
STRANGER = service("home", "pihole", "10.43.9.9")


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kubelet", [None, ("10.43.0.10", "10.233.0.3"), ("169.254.20.10",)])
def test_a_service_of_another_name_is_as_good(tmp_path: Path, name: str, kubelet: Sequence[str] | None) -> None:
    item = OTHERS[name]
    found = found_in(tmp_path, [STRANGER, item], ready=[item["metadata"]["name"]], kubelet=kubelet)
    assert (found.fault, found.ready) == (None, 1)
    assert found.target == f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    assert found.cluster_ip == item["spec"]["clusterIP"]


def test_one_that_works_is_not_asked_about(tmp_path: Path) -> None:
    item = service("kube-system", "kube-dns")
    with cluster_of(tmp_path, [item], ready=["kube-dns"], kubelet=None) as (api, asked):
        assert cluster_dns(api, NODES).fault is None
        assert len(asked) == 2


FAULTY: dict[str, tuple[list[Json], list[str], Sequence[str] | None, Fault, str]] = {
    "none at all": ([STRANGER], [], None, ClusterFault.SERVICE_MISSING, "no other Service answers for its names"),
    "another one is nobody's": (
        [STRANGER],
        ["pihole"],
        ("10.43.0.10",),
        ClusterFault.SERVICE_MISSING,
        "no Service has the address 10.43.0.10, which kubelets give to pods",
    ),
    "of another name, without endpoints": (
        [OTHERS["RKE2"]],
        [],
        None,
        ClusterFault.NO_ENDPOINTS,
        "Service rke2-coredns-rke2-coredns (10.43.0.10) has no ready endpoint",
    ),
    "the usual one, without endpoints": (
        [service("kube-system", "kube-dns")],
        [],
        ("10.43.0.10",),
        ClusterFault.NO_ENDPOINTS,
        "Service kube-dns (10.43.0.10) has no ready endpoint",
    ),
    "the usual one works, and kubelets use another": (
        [service("kube-system", "kube-dns", "10.96.0.10"), OTHERS["kubespray"]],
        [],
        ("10.233.0.3",),
        ClusterFault.NO_ENDPOINTS,
        "Service coredns (10.233.0.3) has no ready endpoint",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_what_pods_lack_is_told(tmp_path: Path, name: str) -> None:
    services, ready, kubelet, fault, cause = FAULTY[name]
    found = found_in(tmp_path, services, ready=ready, kubelet=kubelet)
    assert found.fault is fault
    assert cause in found.cause


def test_one_that_pods_use_may_be_anybodys(tmp_path: Path) -> None:
    found = found_in(tmp_path, [STRANGER], ready=["pihole"], kubelet=("10.43.9.9",))
    assert (found.target, found.fault) == ("home/pihole", None)


def test_a_leftover_of_the_usual_name_does_not_matter(tmp_path: Path) -> None:
    services = [service("kube-system", "kube-dns", "10.96.0.10"), OTHERS["kubespray"]]
    found = found_in(tmp_path, services, ready=["coredns"], kubelet=None)
    assert (found.target, found.fault) == ("kube-system/coredns", None)


def test_services_that_may_not_be_listed_are_unknown_unless_the_usual_one_is_there(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured, match="services"):
        found_in(tmp_path, [], ready=[], kubelet=None, may_list=False)
    usual = [service("kube-system", "kube-dns")]
    assert found_in(tmp_path, usual, ready=[], kubelet=None, may_list=False).fault is ClusterFault.NO_ENDPOINTS


@pytest.mark.parametrize(
    ("version", "metadata", "installer"),
    [
        ("v1.28.15", {"annotations": {"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///x"}}, "kubeadm"),
        ("v1.28.15+rke2r1", {}, "RKE2"),
        ("v1.30.4+k3s1", {}, "k3s"),
        ("v1.29.3-eks-ae9a62a", {}, "EKS"),
        ("v1.29.3-gke.1282000", {}, "GKE"),
        ("v1.27.6+f67aeb3", {"labels": {"node.openshift.io/os_id": "rhcos"}}, "OpenShift"),
        ("v1.28.15", {"annotations": {"rke.cattle.io/external-ip": "x"}}, ""),
    ],
)
def test_what_made_a_node_shows(version: str, metadata: Json, installer: str) -> None:
    item = {"metadata": {"name": "a", **metadata}, "status": {"nodeInfo": {"kubeletVersion": version}}}
    assert read_node(item).installer == installer
