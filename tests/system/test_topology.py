"""The suite in the guide's environment: the guide's own addresses in network namespaces, with real firewalls."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.namespaces import Network, program
from tests.system.topology import PROJECT, REFUSED, Topology, guard, topology

LAB: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "tests" / "lab_faults.yaml").read_text())
UDP_BLOCKED = {
    "fail": ["test_each_resolver_answers_from_here[10.1.0.251]"],
    "says": ["timeout: 10.1.0.251", "over TCP it answers, so something drops UDP port 53", "open UDP and TCP 53"],
}
FIREWALLS = {
    "path-one-node-blocked": ("gitlab", "-s 192.168.1.102 -p tcp --dport 80 -j DROP"),
    "dns-udp-blocked": ("resolver-2", "-p udp --dport 53 -j DROP"),
    "gitlab-timeout": ("gitlab", "-p tcp --dport 80 -j DROP"),
}
"""What each fault is in truth: a rule of what a machine is sent. Pods leave with their worker's address."""
WITNESSES = {
    "path-one-node-blocked": ["pod on k8s-worker-2 meets the same"],
    "dns-udp-blocked": ["node k8s-worker-1", "pod on k8s-worker-3"],
    "gitlab-timeout": ["node k8s-worker-1", "pod on k8s-worker-3"],
}
WORKERS = ("k8s-worker-1", "k8s-worker-2", "k8s-worker-3")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    """Skip where namespaces can't be made, which CI takes for a failure."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    tried = subprocess.run(
        [program("unshare"), "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"network namespaces can't be made: {tried.stderr}")


@pytest.fixture
def guides(tmp_path: Path) -> Iterator[Topology]:
    with topology(tmp_path) as made:
        yield made


def test_the_guides_environment_is_go_with_the_inventory_as_it_is(guides: Topology, tmp_path: Path) -> None:
    ended = guides.check(tmp_path / "reports")
    assert ended.status == 0, ended.printed
    assert not ended.named("fail") | ended.named("unknown") | ended.named("blocked")
    assert ended.named("advice") == {"test_machines_lie_in_the_vpc"}
    passed = ended.named("pass")
    for worker in WORKERS:
        for check in ("test_each_worker_reaches_gitlab", "test_job_pods_on_each_worker_reach_gitlab"):
            assert f"{check}[{worker}]" in passed
    asked = (tmp_path / "resolver-2.log").read_text()
    for asker in ("192.168.1.10", "192.168.1.101", "192.168.1.102", "192.168.1.103"):
        assert f"query[A] private-registry.example.com from {asker}\n" in asked
    assert "Accepted publickey for root from 192.168.1.10 " in (tmp_path / "worker-3.log").read_text()


@pytest.mark.parametrize("name", FIREWALLS)
def test_a_real_firewall_turns_the_right_checks_red_and_nothing_else(
    name: str, guides: Topology, tmp_path: Path
) -> None:
    expected = UDP_BLOCKED if name == "dns-udp-blocked" else LAB[name]
    machine, rule = FIREWALLS[name]
    with guides[machine].firewall(*rule.split()):
        ended = guides.check(tmp_path / "reports")
    assert ended.named("fail") == set(expected["fail"]), ended.printed
    assert not ended.named("unknown"), ended.printed
    assert ended.status == ended.report["exit"] == 1
    for words in [*expected["says"], *WITNESSES[name]]:
        assert words in ended.printed, words
    blocked = [one for one in ended.report["checks"] if one["verdict"] == "blocked"]
    assert blocked
    assert {name for one in blocked for name in one["blocked_by"]} == set(expected["fail"])


def test_the_suite_is_run_on_the_operators_machine_or_not_at_all(tmp_path: Path) -> None:
    with Network(tmp_path, "192.168.1.1/24") as network:
        operator = network.machine("operator", "192.168.1.10/24")
        other = network.machine("other", "192.168.1.11/24")

        def ended(command: list[str]) -> tuple[int, str]:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            return ran.returncode, ran.stdout

        mine = guard(operator.namespace, "echo", "ran")
        assert ended(operator.command(*mine)) == (0, "ran\n")
        assert ended(mine) == (REFUSED, "")
        assert ended(other.command(*mine)) == (REFUSED, "")
        assert ended(other.command(*guard(other.namespace, "echo", "ran"))) == (REFUSED, "")


def seen(*arguments: str) -> str:
    """What ``ip`` says of the machine's own network, or of all namespaces."""
    return subprocess.run([program("ip"), *arguments], capture_output=True, text=True, timeout=10, check=True).stdout


def test_nothing_of_it_is_in_the_machines_own_network_and_nothing_is_left(tmp_path: Path) -> None:
    before = seen("-4", "-o", "address")
    with topology(tmp_path) as made:
        addresses = [str(one) for machine in made.machines.values() for one in machine.interfaces]
        prefix, started = made.network.prefix, made.network.started
        assert prefix in seen("netns", "list")
        assert prefix not in seen("-d", "-o", "link")
        now = seen("-4", "-o", "address")
        assert [one in now for one in addresses] == [one in before for one in addresses]
        assert not made.network.router.run("ip", "route", "show", "default")
    assert prefix not in seen("netns", "list")
    assert not list(Path("/etc/netns").glob(f"{prefix}-*"))
    assert started
    assert all(process.poll() is not None for process in started)


def test_nothing_is_left_of_a_network_that_could_not_be_finished(tmp_path: Path) -> None:
    network = Network(tmp_path, "192.168.1.1/24")

    def build() -> None:
        with network:
            network.machine("gitlab", "192.168.1.50/24").start("sleep", "60")
            assert network.prefix in seen("netns", "list")
            network.machine("gitlab", "192.168.1.51/24")

    with pytest.raises(FileExistsError):
        build()
    assert network.prefix not in seen("netns", "list")
    assert "sleep" in str(network.started[0].args)
    assert network.started[0].poll() is not None
