"""The suite in the guide's environment: the guide's own addresses in network namespaces, with real firewalls."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import expectations
from tests.system.namespaces import Network, program
from tests.system.topology import REFUSED, Topology, guard, topology

LAB: dict[str, dict[str, Any]] = expectations.read("lab_faults.yaml")
RESOLVERS = ("10.0.0.2", "10.1.0.251", "10.1.0.252")


@dataclass(frozen=True)
class Case:
    """A fault as it is in truth, rules of what machines are sent, and what an operator expects of it.

    Attributes:
        rules: a machine's name, and the rule. Pods leave with their worker's address.
        fail: the checks that turn red, with their targets.
        says: words of the output.
        cause: the one root cause.
        about: what that is about.
    """

    rules: tuple[tuple[str, str], ...]
    fail: tuple[str, ...]
    says: tuple[str, ...]
    cause: str
    about: tuple[str, ...] = ()


CASES = {
    "path-one-node-blocked": Case(
        rules=(("gitlab", "-s 192.168.1.102 -p tcp --dport 80 -j DROP"),),
        fail=("test_each_worker_reaches_gitlab[k8s-worker-2]",),
        says=("timeout: 192.168.1.50:80", "also seen from pod on k8s-worker-2", "firewall"),
        cause="node-path-blocked",
        about=("k8s-worker-2",),
    ),
    "path-one-node-rejected": Case(
        rules=(("gitlab", "-s 192.168.1.102 -p tcp --dport 80 -j REJECT"),),
        fail=("test_each_worker_reaches_gitlab[k8s-worker-2]",),
        says=("refused: 192.168.1.50:80", "or a firewall rejects it", "a firewall that rejects this worker's address"),
        cause="node-path-blocked",
        about=("k8s-worker-2",),
    ),
    "dns-udp-blocked": Case(
        rules=(("resolver-2", "-p udp --dport 53 -j DROP"), ("resolver-3", "-p udp --dport 53 -j DROP")),
        fail=tuple(f"test_each_resolver_answers_from_here[{address}]" for address in RESOLVERS[1:]),
        says=("timeout: 10.1.0.251", "over TCP it answers, so something drops UDP port 53", "pod on k8s-worker-3"),
        cause="dns-udp-blocked",
        about=RESOLVERS[1:],
    ),
    "dns-all-silent": Case(
        rules=tuple((f"resolver-{number}", "-p all -j DROP") for number in (1, 2, 3)),
        fail=tuple(f"test_each_resolver_answers_from_here[{address}]" for address in RESOLVERS),
        says=("timeout: 10.0.0.2", "timeout: 10.1.0.252"),
        cause="resolver-down",
        about=RESOLVERS,
    ),
    "gitlab-timeout": Case(
        rules=(("gitlab", "-p tcp --dport 80 -j DROP"),),
        fail=("test_gitlab_port_answers",),
        says=("timeout: 192.168.1.50:80", "security group", "node k8s-worker-1", "pod on k8s-worker-3"),
        cause="gitlab-cut-off",
    ),
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


@pytest.mark.parametrize("name", CASES)
def test_a_real_firewall_turns_the_right_checks_red_and_nothing_else(
    name: str, guides: Topology, tmp_path: Path
) -> None:
    case = CASES[name]
    with contextlib.ExitStack() as firewalls:
        for machine, rule in case.rules:
            firewalls.enter_context(guides[machine].firewall(*rule.split()))
        ended = guides.check(tmp_path / "reports")
    assert ended.named("fail") == set(case.fail), ended.printed
    assert not ended.named("unknown"), ended.printed
    assert ended.status == ended.report["exit"] == 1
    for words in case.says:
        assert words in ended.text, words
    causes = [one for one in ended.report["conclusions"] if one["root_cause"]]
    assert [(one["name"], set(one["about"])) for one in causes] == [(case.cause, set(case.about))]
    assert ended.named("fail") | ended.named("blocked") == set(causes[0]["explains"])


@pytest.mark.parametrize("name", sorted(CASES.keys() & LAB.keys()))
def test_the_lab_expects_the_same(name: str) -> None:
    fail = [one for pattern in LAB[name]["fail"] for one in _spelt_out(pattern)]
    assert set(fail) == set(CASES[name].fail)
    about = f"[{', '.join(CASES[name].about)}]" if CASES[name].about else ""
    assert LAB[name].get("concludes") in (None, [f"{CASES[name].cause}{about}"])


def _spelt_out(pattern: str) -> list[str]:
    return [pattern.replace("[*]", f"[{address}]") for address in RESOLVERS] if "[*]" in pattern else [pattern]


def test_the_suite_is_run_on_the_operators_machine_or_not_at_all(tmp_path: Path) -> None:
    with Network(tmp_path, "192.168.1.1/24") as network, Network(tmp_path, "192.168.1.1/24") as elsewhere:
        operator = network.machine("operator", "192.168.1.10/24")
        other = network.machine("other", "192.168.1.11/24")
        namesake = elsewhere.machine("operator", "192.168.1.10/24")

        def ended(command: list[str]) -> tuple[int, str]:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            return ran.returncode, ran.stdout

        mine = guard(operator.namespace, "echo", "ran")
        assert ended(operator.command(*mine)) == (0, "ran\n")
        assert ended(mine) == (REFUSED, "")
        assert ended(other.command(*mine)) == (REFUSED, "")
        assert ended(namesake.command(*mine)) == (REFUSED, "")
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
