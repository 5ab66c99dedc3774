"""What is compared between inventory, values and cluster, and what a proxy variable does to an address."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.clients.connect import Routes
from preflight.evidence import Evidence
from preflight.faults import DnsFault, NetworkFault
from preflight.inventory import Inventory
from preflight.probes import cluster, environment
from preflight.probes.cluster import Node, Nodes, PodRequests, ServiceEndpoints, read_node
from preflight.probes.environment import ProxyTarget, proxy_for
from preflight.values import load

PROJECT = Path(__file__).parents[2]
SEEN = Evidence(where="here", command="kubectl get nodes")
POD_CIDR = ipaddress.ip_network("172.24.0.0/16")


def inventory(folder: Path, **cluster: Any) -> Inventory:
    document = yaml.safe_load((PROJECT / "inventory.yaml").read_text())
    for name in ("kubeconfig", "known_hosts", "id_ed25519"):
        (folder / name).write_text("")
    document["cluster"] |= {"kubeconfig": str(folder / "kubeconfig"), **cluster}
    document["access"]["ssh"] |= {"key": str(folder / "id_ed25519"), "known_hosts": str(folder / "known_hosts")}
    return Inventory.model_validate(document, context={"folder": PROJECT})


def nodes(*found: Node) -> Nodes:
    return Nodes(target="cluster", nodes=found, evidence=SEEN)


def test_the_guides_networks_are_disjoint_and_its_gitlab_is_outside_of_its_vpc(tmp_path: Path) -> None:
    ours = inventory(tmp_path)
    known = environment.networks(ours)
    assert environment.disjoint(known).fault is None
    assert environment.machines_outside(known, environment.machines(ours)).fault is None
    vpc = environment.inside_vpc(known["VPC"], environment.machines(ours))
    assert vpc.fault is NetworkFault.OUTSIDE_VPC
    assert "GitLab has 192.168.1.50" in vpc.cause


def test_a_network_inside_another_is_named(tmp_path: Path) -> None:
    found = environment.disjoint(environment.networks(inventory(tmp_path, vpc_cidr="172.21.0.0/20")))
    assert found.fault is NetworkFault.OVERLAP
    assert found.cause == "the service network 172.21.0.0/16 and the VPC 172.21.0.0/20 share addresses"


def test_a_name_for_gitlab_or_the_api_server_is_no_address(tmp_path: Path) -> None:
    ours = inventory(tmp_path, api_server="https://k8s.example.com:6443")
    assert "the API server" not in environment.machines(ours)
    assert environment.address_of("https://k8s.example.com:6443") is None


@pytest.mark.parametrize(
    ("node", "span", "fault"),
    [
        (Node(name="a", pod_cidrs=("172.24.1.0/24",)), None, None),
        (Node(name="a", pod_cidrs=("10.244.1.0/24",)), None, NetworkFault.OTHER_POD_NETWORK),
        # Calico gives addresses of pools of its own; what the controller manager gave to the node is void there.
        (Node(name="a", pod_cidrs=("10.244.1.0/24",)), ("172.24.1.2", "172.24.9.9"), None),
        (Node(name="a"), ("172.24.1.2", "172.25.0.1"), NetworkFault.OTHER_POD_NETWORK),
        (Node(name="a", pod_cidrs=("fd00:1::/64",)), None, None),
        (Node(name="a"), None, None),
    ],
)
def test_running_pods_decide_on_the_pod_network(
    node: Node, span: tuple[str, str] | None, fault: NetworkFault | None
) -> None:
    pods = PodRequests(target="cluster", addresses={"a": span} if span else {}, evidence=SEEN)
    assert environment.pod_network([POD_CIDR], nodes(node), pods).fault is fault
    if span is None:
        assert environment.pod_network([POD_CIDR], nodes(node), None).fault is fault


def test_a_nodes_pod_ranges_are_read_in_the_old_form_and_in_the_new() -> None:
    assert read_node({"spec": {"podCIDR": "172.24.1.0/24"}}).pod_cidrs == ("172.24.1.0/24",)
    both = {"spec": {"podCIDR": "172.24.1.0/24", "podCIDRs": ["172.24.1.0/24", "fd00::/64"]}}
    assert read_node(both).pod_cidrs == ("172.24.1.0/24", "fd00::/64")
    assert read_node({"spec": {}}).pod_cidrs == ()


def test_the_span_of_a_nodes_pods_leaves_out_those_in_its_own_network() -> None:
    def pod(address: str, **spec: Any) -> dict[str, Any]:
        return {"spec": {"nodeName": "a", **spec}, "status": {"podIP": address} if address else {}}

    items = [pod("172.24.1.9"), pod("172.24.1.10"), pod("172.24.1.2"), pod("192.168.1.101", hostNetwork=True), pod("")]
    spans: dict[str, Any] = {}
    assert list(cluster._spanned(items, spans=spans)) == items, "everything is handed on"
    assert {name: tuple(map(str, span)) for name, span in spans.items()} == {"a": ("172.24.1.2", "172.24.1.10")}


def test_with_dual_stack_each_family_has_its_network(tmp_path: Path) -> None:
    ours = inventory(
        tmp_path, pod_cidr=["172.24.0.0/16", "fd00:1::/48"], service_cidr=["172.21.0.0/16", "fd00:2::/108"]
    )
    known = environment.networks(ours)
    assert [str(network) for network in known.values()] == [
        *("172.24.0.0/16", "fd00:1::/48"),
        *("172.21.0.0/16", "fd00:2::/108"),
        "10.0.0.0/16",
    ]
    assert environment.disjoint(known).fault is None
    inside = environment.machines_outside(known, {"node a": ipaddress.ip_address("fd00:2::7")})
    assert inside.cause == "node a has fd00:2::7, which lies in the second service network fd00:2::/108"
    expected = [ipaddress.ip_network(network) for network in ours.cluster.pod_networks]
    node = Node(name="a", pod_cidrs=("172.24.1.0/24", "fd00:9::/64"))
    assert environment.pod_network(expected, nodes(node), None).cause == (
        "a gives its pods 172.24.1.0/24 and fd00:9::/64; the inventory says 172.24.0.0/16 and fd00:1::/48"
    )
    right = Node(name="a", pod_cidrs=("172.24.1.0/24", "fd00:1::/64"))
    assert environment.pod_network(expected, nodes(right), None).fault is None
    services = [
        ServiceEndpoints(target=f"default/{address}", cluster_ip=address, evidence=SEEN)
        for address in ("172.21.0.1", "fd00:2::a", "fd00:3::a")
    ]
    wrong = environment.service_network(
        [ipaddress.ip_network(each) for each in ours.cluster.service_networks], services
    )
    assert wrong.cause.startswith("Service default/fd00:3::a has fd00:3::a; the inventory says 172.21.0.0/16 and")


def test_headless_and_missing_services_say_nothing_of_the_service_network() -> None:
    services = [
        ServiceEndpoints(target="default/kubernetes", cluster_ip="172.21.0.1", evidence=SEEN),
        ServiceEndpoints(target="kube-system/kube-dns", cluster_ip="None", evidence=SEEN),
        ServiceEndpoints(target="kube-system/other", cluster_ip="", evidence=SEEN),
    ]
    assert environment.service_network([ipaddress.ip_network("172.21.0.0/16")], services).fault is None
    wrong = environment.service_network([ipaddress.ip_network("10.96.0.0/12")], services)
    assert wrong.cause == "Service default/kubernetes has 172.21.0.1; the inventory says 10.96.0.0/12"


LEADER = Node(name="m1", address="192.168.1.100", roles=frozenset({"control-plane"}))
SECOND = Node(name="m2", address="192.168.1.99", roles=frozenset({"master"}))
WORKER = Node(name="w1", address="192.168.1.101")


@pytest.mark.parametrize(
    ("address", "found", "words"),
    [
        ("192.168.1.100", (LEADER, WORKER), ""),
        ("192.168.1.101", (LEADER, WORKER), "the address of w1, which is no control-plane node"),
        ("192.168.1.200", (LEADER, WORKER), "no node's address; the control plane is m1 (192.168.1.100)"),
        ("192.168.1.200", (LEADER, SECOND, WORKER), ""),  # a balancer before two
        ("192.168.1.200", (WORKER,), ""),  # a control plane that somebody else runs
    ],
)
def test_the_api_server_is_looked_for_on_the_control_plane(address: str, found: tuple[Node, ...], words: str) -> None:
    url = f"https://{address}:6443"
    judged = environment.control_plane_address(url, ipaddress.ip_address(address), nodes(*found))
    assert words in judged.cause
    assert (judged.fault is NetworkFault.NOT_CONTROL_PLANE) is bool(words)


GITLAB = ProxyTarget.of("GitLab", "http://192.168.1.50/")
API = ProxyTarget.of("the API server", "https://192.168.1.100:6443")
DOCKER = ProxyTarget.of("Docker", "tcp://docker:2375")
NAMED = ProxyTarget.of("GitLab", "https://gitlab.example.com/")


@pytest.mark.parametrize(
    ("aim", "variables", "expected"),
    [
        (GITLAB, {}, ""),
        (GITLAB, {"http_proxy": "http://p:3128"}, "http_proxy"),
        (GITLAB, {"https_proxy": "http://p:3128"}, ""),
        (GITLAB, {"http_proxy": ""}, ""),
        (GITLAB, {"ALL_PROXY": "socks5://p:1080"}, "ALL_PROXY"),
        (API, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "192.168.1.100"}, ""),
        (API, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "192.168.0.0/16,localhost"}, ""),
        (API, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "192.168.1.100:6443"}, ""),
        (API, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "192.168.1.100:443"}, "HTTPS_PROXY"),
        (API, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, ""),
        (DOCKER, {"HTTP_PROXY": "http://p:3128", "no_proxy": "localhost"}, "HTTP_PROXY"),
        (DOCKER, {"HTTP_PROXY": "http://p:3128", "no_proxy": "localhost, docker"}, ""),
        (NAMED, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": ".example.com"}, ""),
        (NAMED, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*.example.com"}, ""),
        (NAMED, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "ample.com"}, "HTTPS_PROXY"),
    ],
)
def test_a_proxy_is_taken_as_gos_client_takes_it(aim: ProxyTarget, variables: dict[str, str], expected: str) -> None:
    assert proxy_for(aim, variables) == expected


def test_the_proxies_of_the_values_are_judged_for_managers_and_jobs(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        """\
gitlabUrl: http://192.168.1.50/
envVars:
- {name: HTTPS_PROXY, value: "http://user:made-up-password@proxy.example.com:3128"}
- {name: NO_PROXY, value: "192.168.1.50"}
runners:
  config: |
    [[runners]]
      environment = ["HTTP_PROXY=http://proxy.example.com:3128", "NO_PROXY=192.168.1.50"]
"""
    )
    values = load([file], release="gitlab-runner", namespace="gitlab")
    found = environment.proxies_of_values(inventory(tmp_path), values)
    assert found.proxied == (
        "HTTPS_PROXY in the managers' variables sends requests for the API server's Service (172.21.0.1:443) "
        "to a proxy",
        "HTTP_PROXY in the jobs' variables sends requests for the Docker daemon (docker:2375) to a proxy",
    )
    assert "made-up-password" not in found.cause + found.evidence.observed


def test_here_only_the_environment_given_counts(tmp_path: Path) -> None:
    ours = inventory(tmp_path)
    assert environment.proxies_here(ours, {"PATH": "/bin"}).fault is None
    found = environment.proxies_here(ours, {"https_proxy": "http://proxy.example.com:3128"})
    assert found.fault is NetworkFault.PROXY
    assert "the API server (192.168.1.100:6443)" in found.cause


# ---- this machine's own resolvers


@pytest.mark.parametrize(("seconds", "fault"), [(0.002, None), (5.01, DnsFault.SLOW)])
def test_a_name_that_takes_as_long_as_a_dead_resolver_is_slow(
    seconds: float, fault: DnsFault | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(_routes: Routes, host: str, *, within: float) -> float | None:
        if host == "none.example.com":
            raise OSError(f"not within {within}")
        return None if host == "192.168.1.50" else seconds

    monkeypatch.setattr(Routes, "look_up_seconds", look_up)
    conf = tmp_path / "resolv.conf"
    conf.write_text("# made by hand\nnameserver 10.0.0.2\nnameserver 10.1.0.251\noptions ndots:2\nnameserver\n")
    hosts = ["192.168.1.50", "registry.example.com", "none.example.com"]
    names = environment.own_names(hosts, routes=Routes(), resolv_conf=conf, deadline=1)
    assert names.fault is fault
    assert names.nameservers == ("10.0.0.2", "10.1.0.251")
    assert set(names.seconds) == {"registry.example.com"}, "an address needs no look-up; what fails is another's"
    assert not fault or "registry.example.com took 5 s here" in names.cause
