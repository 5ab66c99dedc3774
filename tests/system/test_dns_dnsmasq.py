"""Asking a real resolver, Debian's dnsmasq."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import pytest

from preflight.clients.connect import Routes
from preflight.faults import DnsFault
from preflight.probes import shell, shell_readers, shell_sections
from preflight.probes.dns import Lookups, lookups
from tests.probes.servers import closed_port, dns_server, listens

DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin:/usr/bin")
ANY: frozenset[str] = frozenset()
RUNNING: list[subprocess.Popen[bytes]] = []
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
    command += ["--cname=www.example.com,cdn.example.com", "--cname=cdn.example.com,registry.example.com"]
    command += ["--host-record=text.example.com,2001:db8::11", "--local=/text.example.com/"]
    command += ["--host-record=v4.example.com,192.0.2.20", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        RUNNING.append(process)
        try:
            assert listens(port), "dnsmasq did not start"
            yield port
        finally:
            process.terminate()


@pytest.fixture
def told(tmp_path: Path) -> Lookups:
    names = ("registry", "cdn", "www", "text", "absent.nx", "refused", "many")
    with dnsmasq(tmp_path, "--address=/nx.example.com/") as port:
        return lookups(f"127.0.0.1:{port}", {f"{name}.example.com": ANY for name in names}, routes=Routes(), deadline=2)


@pytest.mark.parametrize(
    ("name", "fault", "addresses"),
    [
        ("registry", None, {"192.0.2.10"}),
        ("cdn", None, {"192.0.2.10"}),
        ("www", None, {"192.0.2.10"}),  # a chain of aliases
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


def test_aaaa_refused_beside_a_good_a_is_healthy(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as port:
        told = lookups(f"127.0.0.1:{port}", {"v4.example.com": ANY}, routes=Routes(), deadline=2)
        asked = subprocess.run(
            ["dig", f"-p{port}", "@127.0.0.1", "v4.example.com", "AAAA"], capture_output=True, text=True, check=True
        )
    assert "status: REFUSED" in asked.stdout
    assert told.fault is None
    assert told.answers[0].addresses == {"192.0.2.20"}
    assert "dns-refused" in told.answers[0].message


def test_an_answer_that_udp_truncates_is_fetched_over_tcp(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as port:
        question = dns.message.make_query("many.example.com", "A", use_edns=False)
        cut = dns.query.udp(question, "127.0.0.1", port=port, timeout=2, raise_on_truncation=False)
        whole = dns.query.tcp(question, "127.0.0.1", port=port, timeout=2)
        told = lookups(f"127.0.0.1:{port}", {"many.example.com": frozenset(MANY)}, routes=Routes(), deadline=2)
    assert (bool(cut.flags & dns.flags.TC), bool(whole.flags & dns.flags.TC)) == (True, False)
    assert (told.fault, told.answers[0].addresses) == (None, frozenset(MANY))


def test_a_resolver_that_hangs_times_out(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as port:
        assert RUNNING
        RUNNING[-1].send_signal(signal.SIGSTOP)
        try:
            told = lookups(f"127.0.0.1:{port}", {"registry.example.com": ANY}, routes=Routes(), deadline=0.6)
        finally:
            RUNNING[-1].send_signal(signal.SIGCONT)
    assert told.fault is DnsFault.TIMEOUT
    assert told.answers[0].over_tcp is False


@pytest.mark.parametrize("garbage", [b"\0" * 40, b"\x81\x80" + b"\xff" * 40, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_resolver_whose_upstream_sends_garbage_gives_no_address(garbage: bytes, tmp_path: Path) -> None:
    with (
        dns_server(lambda question, _: question.to_wire()[:2] + garbage) as upstream,
        dnsmasq(tmp_path, f"--server=127.0.0.1#{upstream}") as port,
    ):
        told = lookups(f"127.0.0.1:{port}", {"other.example.org": ANY}, routes=Routes(), deadline=0.8)
    assert told.fault in {DnsFault.TIMEOUT, DnsFault.SERVFAIL, DnsFault.GARBLED}
    assert told.answers[0].addresses == frozenset()


def test_the_scripts_tools_read_it_as_we_do(tmp_path: Path) -> None:
    names = {name: f"{name}.example.com" for name in ("registry", "www", "v4", "text", "absent.nx", "refused", "many")}
    with dnsmasq(tmp_path, "--address=/nx.example.com/") as port:
        ours = lookups(f"127.0.0.1:{port}", dict.fromkeys(names.values(), ANY), routes=Routes(), deadline=2)
        steps = {name: shell.lookup(name, f"127.0.0.1:{port}") for name in names.values()}
        for tool in ("dig", "nslookup", "busybox"):
            nonce = shell.new_nonce()
            script = shell.render([*steps.values()], limit=2, nonce=nonce)
            tools = _only(tmp_path / tool, tool)
            ran = subprocess.run(["sh", "-c", script], env={"PATH": tools}, capture_output=True, text=True, check=True)
            for answer in ours.answers:
                section = shell_sections.find(shell_sections.parse(ran.stdout, nonce), steps[answer.name], where="pod")
                read = shell_readers.read_lookup(section, ANY)
                assert read.fault is answer.fault, (tool, answer.name)
                some = tool == "busybox" and answer.name == names["many"]  # it does not ask again over TCP
                assert read.addresses == answer.addresses or (some and read.addresses < answer.addresses), tool


def _only(folder: Path, asker: str) -> str:
    """A PATH with what the probe script needs, and one tool that asks resolvers."""
    folder.mkdir()
    for name in ("cat", "date", "head", "sh", "sleep", "timeout", "tr", asker):
        found = shutil.which(name)
        assert found, f"this test needs {name}"
        (folder / ("nslookup" if name == "busybox" else name)).symlink_to(found)
    return str(folder)


def test_the_evidences_command_finds_the_same(tmp_path: Path) -> None:
    with dnsmasq(tmp_path) as port:
        told = lookups(f"127.0.0.1:{port}", {"registry.example.com": ANY}, routes=Routes(), deadline=2)
        said = subprocess.run(["sh", "-c", told.evidence.command], capture_output=True, text=True, check=True)
    assert "192.0.2.10" in said.stdout
