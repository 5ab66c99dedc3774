"""Asking a real resolver, Debian's dnsmasq."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preflight.connect import Routes
from preflight.faults import DnsFault
from preflight.probes.dns import Lookups, lookups
from tests.probes.servers import closed_port

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin:/usr/bin")
ANY: frozenset[str] = frozenset()
MANY = [f"192.0.2.{number}" for number in range(1, 120)]


@contextmanager
def dnsmasq(folder: Path, *options: str) -> Iterator[int]:
    assert DNSMASQ, "this test needs Debian's dnsmasq-base"
    port = closed_port()
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{address} many.example.com\n" for address in MANY))
    command = [DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts"]
    command += [f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--log-facility=-"]
    command += ["--host-record=registry.example.com,192.0.2.10,2001:db8::10", f"--addn-hosts={hosts}"]
    command += ["--cname=cdn.example.com,registry.example.com", "--host-record=text.example.com,2001:db8::11"]
    command += ["--local=/text.example.com/", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.03)
            else:
                pytest.fail("dnsmasq did not start")
            yield port
        finally:
            process.terminate()


@pytest.fixture
def told(tmp_path: Path) -> Lookups:
    names = ("registry", "cdn", "text", "absent.nx", "refused", "many")
    with dnsmasq(tmp_path, "--address=/nx.example.com/") as port:
        return lookups(f"127.0.0.1:{port}", {f"{name}.example.com": ANY for name in names}, routes=Routes(), deadline=2)


@pytest.mark.parametrize(
    ("name", "fault", "addresses"),
    [
        ("registry", None, {"192.0.2.10"}),
        ("cdn", None, {"192.0.2.10"}),
        ("text", DnsFault.NO_ANSWER, set()),
        ("absent.nx", DnsFault.NXDOMAIN, set()),
        ("refused", DnsFault.REFUSED, set()),
        ("many", None, set(MANY)),
    ],
)
def test_its_answers_are_read(name: str, fault: DnsFault | None, addresses: set[str], told: Lookups) -> None:
    (answer,) = [one for one in told.answers if one.name == f"{name}.example.com"]
    assert answer.fault is fault
    assert answer.addresses == addresses


def test_expected_addresses_of_both_families_are_found(tmp_path: Path) -> None:
    expected = frozenset({"192.0.2.10", "2001:db8::10"})
    with dnsmasq(tmp_path) as port:
        told = lookups(f"127.0.0.1:{port}", {"registry.example.com": expected}, routes=Routes(), deadline=2)
    assert told.fault is None
    assert told.answers[0].addresses == expected


def test_a_resolver_whose_upstream_is_silent_times_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        with dnsmasq(tmp_path, f"--server=127.0.0.1#{upstream.getsockname()[1]}") as port:
            told = lookups(f"127.0.0.1:{port}", {"other.example.org": ANY}, routes=Routes(), deadline=0.6)
    assert told.fault is DnsFault.TIMEOUT


def test_the_evidences_command_finds_the_same(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as port:
        told = lookups(f"127.0.0.1:{port}", {"registry.example.com": ANY}, routes=Routes(), deadline=2)
        said = subprocess.run(["sh", "-c", told.evidence.command], capture_output=True, text=True, check=True)
    assert "192.0.2.10" in said.stdout
