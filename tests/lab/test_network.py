"""What the world's network does, asked of the data alone."""

from __future__ import annotations

import pytest

from lab import inventory
from lab.network import candidates, lookup, nameservers, path, resolve
from lab.world import GITLAB_ADDRESS, HERE, KUBE_DNS, MIRROR, MIRROR_ADDRESS, Rule, Vantage, World


@pytest.fixture
def world() -> World:
    return inventory.build()


def pod(node: str = "k8s-worker-1", resolv_conf: str = "nameserver 10.0.0.2\n") -> Vantage:
    return Vantage(
        "pod", node=node, resolv_conf=resolv_conf, host_aliases={"docker": "127.0.0.1"}, address="172.24.1.9"
    )


@pytest.mark.parametrize(
    ("address", "port", "way"),
    [
        (GITLAB_ADDRESS, 80, "open"),
        (GITLAB_ADDRESS, 443, "refused"),  # the machine is there, the port is not
        ("192.168.1.77", 80, "unreachable"),  # nobody answers ARP there
        ("8.8.8.8", 53, "timeout"),  # no way out of this network
        ("192.168.1.101", 22, "open"),
        ("10.1.0.251", 53, "open"),
        (MIRROR_ADDRESS, 443, "open"),
        (KUBE_DNS, 53, "open"),
        ("127.0.0.1", 2375, "refused"),  # no Docker daemon in this pod
    ],
)
def test_a_pod_reaches_what_is_there_and_nothing_else(world: World, address: str, port: int, way: str) -> None:
    assert path(world, pod(), address, port) == way


def test_a_service_address_leads_nowhere_from_outside_of_the_cluster(world: World) -> None:
    assert path(world, HERE, KUBE_DNS, 53) == "timeout"


@pytest.mark.parametrize(
    ("action", "way"), [("drop", "timeout"), ("reject", "refused"), ("reset", "reset"), ("no-route", "unreachable")]
)
def test_a_rule_stops_its_own_vantage_only(world: World, action: str, way: str) -> None:
    world.firewall.append(Rule("node k8s-worker-2", GITLAB_ADDRESS, 80, action))  # type: ignore[arg-type]
    assert path(world, world.node_vantage("k8s-worker-2"), GITLAB_ADDRESS, 80) == way
    assert path(world, world.node_vantage("k8s-worker-1"), GITLAB_ADDRESS, 80) == "open"
    assert path(world, pod("k8s-worker-2"), GITLAB_ADDRESS, 80) == "open"
    assert path(world, HERE, GITLAB_ADDRESS, 80) == "open"


def test_silence_moves_a_lookup_on_to_the_next_server_and_an_answer_does_not(world: World) -> None:
    two = pod(resolv_conf="nameserver 10.1.0.251\nnameserver 10.0.0.2\n")
    world.resolvers["10.1.0.251"].mode = "mute"
    assert lookup(world, two, MIRROR).resolver == "10.0.0.2"
    world.resolvers["10.1.0.251"].mode = "nxdomain"
    assert lookup(world, two, MIRROR).status == "nxdomain"


def test_a_hosts_file_comes_before_any_server(world: World) -> None:
    assert lookup(world, pod(), "docker").addresses == ("127.0.0.1",)


def test_cluster_names_are_known_to_the_cluster_dns_only(world: World) -> None:
    name = "kubernetes.default.svc.cluster.local"
    assert resolve(world, pod(), name, KUBE_DNS).addresses == ("172.21.0.1",)
    assert resolve(world, pod(), name, "10.0.0.2").status == "nxdomain"


def test_the_cluster_dns_forwards_and_fails_when_all_it_asks_are_silent(world: World) -> None:
    assert resolve(world, pod(), MIRROR, KUBE_DNS).addresses == (MIRROR_ADDRESS,)
    for resolver in world.resolvers.values():
        resolver.mode = "mute"
    assert resolve(world, pod(), MIRROR, KUBE_DNS).status == "servfail"


def test_a_service_without_endpoints_refuses(world: World) -> None:
    world.cluster.drop_endpoints("kube-system", "kube-dns")
    assert resolve(world, pod(), MIRROR, KUBE_DNS).status == "closed"
    world.cluster.remove_service("kube-system", "kube-dns")
    assert resolve(world, pod(), MIRROR, KUBE_DNS).status == "timeout"


@pytest.mark.parametrize(
    ("name", "conf", "expected"),
    [
        ("a.b", "search x.y z\noptions ndots:2\n", ("a.b.x.y", "a.b.z", "a.b")),
        ("a.b.c", "search x.y\noptions ndots:2\n", ("a.b.c", "a.b.c.x.y")),
        ("a.b.", "search x.y\n", ("a.b.",)),
        ("a", "nameserver 1.2.3.4\n", ("a",)),
        ("a.b", "# search no\nsearch x\n", ("a.b", "a.b.x")),
    ],
)
def test_the_search_list_is_tried_as_the_c_library_tries_it(name: str, conf: str, expected: tuple[str, ...]) -> None:
    assert candidates(name, conf) == expected


def test_the_c_library_uses_three_name_servers() -> None:
    assert nameservers("".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 6))) == ("10.0.0.1", "10.0.0.2", "10.0.0.3")
