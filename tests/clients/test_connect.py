"""Routes, deadlines and the naming of what went wrong, against servers that do go wrong."""

from __future__ import annotations

import datetime
import errno
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
import trustme

from preflight.clients.connect import (
    Cutoff,
    NotMapped,
    Routes,
    dial,
    fault_of,
    join_address,
    pool_classes,
    sentence,
    session,
    split_address,
    trust,
)
from preflight.clients.http import NoReply, Reply, exchange
from preflight.evidence import Unmeasured
from preflight.faults import PathFault
from tests.probes import servers
from tests.probes.servers import Said


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def get(url: str, routes: Routes | None = None, *, ca_file: Path | None = None, deadline: float = 5.0) -> Reply:
    return exchange(url, routes=routes or Routes(), ca_file=ca_file, deadline=deadline)


def fault_met(url: str, routes: Routes | None = None, *, ca_file: Path | None = None, deadline: float = 1.0) -> NoReply:
    with pytest.raises(NoReply) as met:
        get(url, routes, ca_file=ca_file, deadline=deadline)
    return met.value


# -- addresses and routes


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gitlab.example:80", ("gitlab.example", 80)),
        ("GitLab.Example:80", ("gitlab.example", 80)),
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("[::1]:443", ("::1", 443)),
        ("[fe80::1%eth0]:22", ("fe80::1%eth0", 22)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("2001:db8::1", ("2001:db8::1", 53)),
    ],
)
def test_addresses_are_split_as_operators_write_them(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text, 53) == parts
    assert split_address(join_address(*parts)) == parts


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:http", "host:0", "host:65536", "[::1", "[::1]x:80"])
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        split_address(text)


def test_routes_change_only_what_they_map() -> None:
    routes = Routes({"192.168.1.50:80": "127.0.0.1:4123", "[2001:db8::1]:443": "[::1]:4443"})
    assert routes.resolve("192.168.1.50", 80) == ("127.0.0.1", 4123)
    assert routes.resolve("2001:DB8::1", 443) == ("::1", 4443)
    assert routes.resolve("[2001:db8::1]", 443) == ("::1", 4443)
    assert routes.resolve("192.168.1.50", 443) == ("192.168.1.50", 443)


def test_routes_refuse_the_rest_when_told_to() -> None:
    routes = Routes({"192.168.1.50:80": "127.0.0.1:4123"}, only_mapped=True)
    with pytest.raises(NotMapped, match=r"10\.0\.0\.2:53") as refused:
        routes.resolve("10.0.0.2", 53)
    assert (refused.value.host, refused.value.port) == ("10.0.0.2", 53)
    assert refused.value.unmeasured().fault is PathFault.NOT_MAPPED
    assert '"10.0.0.2:53"' in refused.value.unmeasured().needs


def test_a_bad_route_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="is no host:port"):
        Routes({"192.168.1.50:80": "localhost"})


def test_a_mapped_request_keeps_its_name() -> None:
    with servers.web_server(lambda _: Said(body=b"here")) as web:
        reply = get("http://gitlab.example/x", Routes({"gitlab.example:80": web.address}, only_mapped=True))
    assert reply.body == b"here"
    assert web.asked[0].headers["host"] == "gitlab.example"


def test_a_mapped_https_request_is_judged_by_its_own_name(authority: trustme.CA, ca_file: Path) -> None:
    routes = "registry.example:443"
    with servers.web_server(lambda _: Said(), certificate=authority.issue_cert("registry.example")) as web:
        assert get("https://registry.example/", Routes({routes: web.address}), ca_file=ca_file).status == 200
    with servers.web_server(lambda _: Said(), certificate=authority.issue_cert("127.0.0.1")) as web:
        met = fault_met("https://registry.example/", Routes({routes: web.address}), ca_file=ca_file)
    assert met.fault is PathFault.TLS_WRONG_NAME


def test_certificates_for_addresses_are_accepted(authority: trustme.CA, ca_file: Path) -> None:
    with servers.web_server(lambda _: Said(), certificate=authority.issue_cert("192.0.2.50")) as web:
        assert get("https://192.0.2.50/", Routes({"192.0.2.50:443": web.address}), ca_file=ca_file).status == 200
        met = fault_met("https://192.0.2.51/", Routes({"192.0.2.51:443": web.address}), ca_file=ca_file)
    assert met.fault is PathFault.TLS_WRONG_NAME


def test_ipv6_literals_are_dialled() -> None:
    with servers.tcp_server(
        servers.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv6"), family=socket.AF_INET6
    ) as port:
        assert get(f"http://[::1]:{port}/").body == b"v6"
        assert get("http://[2001:db8::50]/", Routes({"[2001:db8::50]:80": f"[::1]:{port}"})).body == b"v6"


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{servers.closed_port()}")
    with servers.web_server(lambda _: Said(body=b"direct")) as web:
        assert get(web.url).body == b"direct"


def test_a_netrc_of_the_user_sends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password made-up-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with servers.web_server(lambda _: Said()) as web:
        get(web.url)
    assert "authorization" not in web.asked[0].headers


# -- faults: inject, ask, read the same fault

NO_NAME = f"{'x' * 64}.invalid"  # a label longer than DNS allows: unresolvable without asking anybody


def _at(server: AbstractContextManager[int], scheme: str = "http") -> Iterator[str]:
    with server as port:
        yield f"{scheme}://127.0.0.1:{port}/"


INJECTIONS: dict[PathFault, Callable[[], Iterator[str]]] = {
    PathFault.UNRESOLVED: lambda: iter([f"http://{NO_NAME}/"]),
    PathFault.REFUSED: lambda: iter([f"http://127.0.0.1:{servers.closed_port()}/"]),
    PathFault.TIMEOUT: lambda: _at(servers.full_backlog()),
    PathFault.UNREACHABLE: lambda: iter([f"http://{servers.UNREACHABLE}/"]),
    PathFault.RESET: lambda: _at(servers.tcp_server(servers.reset)),
    PathFault.SILENT: lambda: _at(servers.tcp_server(servers.hang)),
    PathFault.NOT_HTTP: lambda: _at(servers.tcp_server(servers.say(b"SSH-2.0-OpenSSH_9.2\r\n"))),
    PathFault.TLS_HANDSHAKE: lambda: _at(servers.tcp_server(servers.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "https"),
}


@pytest.mark.parametrize("fault", INJECTIONS, ids=str)
def test_a_request_names_the_fault_it_met(fault: PathFault) -> None:
    for url in INJECTIONS[fault]():
        began = time.monotonic()
        met = fault_met(url, deadline=0.6)
        assert met.fault is fault
        assert time.monotonic() - began < 1.5
        assert met.cause


def test_a_mapping_to_a_name_without_an_address_is_unresolved() -> None:
    met = fault_met("http://gitlab.example/", Routes({"gitlab.example:80": f"{NO_NAME}:80"}))
    assert met.fault is PathFault.UNRESOLVED


def test_a_server_that_hangs_in_the_handshake_is_silent() -> None:
    with servers.tcp_server(servers.hang) as port:
        assert fault_met(f"https://127.0.0.1:{port}/", deadline=0.4).fault is PathFault.SILENT


def test_a_server_that_closes_without_a_word_cut_the_connection() -> None:
    with servers.tcp_server(servers.say(b"")) as port:
        assert fault_met(f"http://127.0.0.1:{port}/").fault is PathFault.RESET


def test_a_body_that_ends_early_is_a_cut_connection() -> None:
    with servers.tcp_server(servers.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort")) as port:
        assert fault_met(f"http://127.0.0.1:{port}/").fault is PathFault.RESET


def test_authorities_are_read_once_and_again_when_their_file_is_another(tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    first = trust(file)
    assert trust(file) is first
    trustme.CA().cert_pem.write_to_path(str(file), append=True)
    second = trust(file)
    assert len(second.get_ca_certs()) == len(first.get_ca_certs()) + 1


def test_an_unknown_authority_is_not_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with servers.web_server(lambda _: Said(), certificate=authority.issue_cert("127.0.0.1")) as web:
        assert fault_met(web.url).fault is PathFault.TLS_UNTRUSTED
        assert fault_met(web.url, ca_file=other).fault is PathFault.TLS_UNTRUSTED


@pytest.mark.parametrize(("begins", "ends"), [(-20, -10), (10, 20)], ids=["over", "not begun"])
def test_a_certificate_out_of_its_time_is_expired(begins: int, ends: int, authority: trustme.CA, ca_file: Path) -> None:
    today = datetime.datetime.now(datetime.UTC)
    certificate = authority.issue_cert(
        "127.0.0.1",
        not_before=today + datetime.timedelta(days=begins),
        not_after=today + datetime.timedelta(days=ends),
    )
    with servers.web_server(lambda _: Said(), certificate=certificate) as web:
        assert fault_met(web.url, ca_file=ca_file).fault is PathFault.TLS_EXPIRED


def test_an_address_without_a_mapping_is_not_measured() -> None:
    with pytest.raises(Unmeasured, match=r"192\.0\.2\.1:80") as refused:
        get("http://192.0.2.1/", Routes(only_mapped=True))
    assert refused.value.fault is PathFault.NOT_MAPPED


def test_an_unreadable_authority_file_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for file in (tmp_path / "absent.pem", tmp_path / "no.pem"):
        with pytest.raises(Unmeasured, match=file.name):
            trust(file)


def test_certificates_are_verified() -> None:
    context = trust(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# -- deadlines and sizes


@pytest.mark.parametrize(
    "words",
    [b"HTTP/1.1 200 OK\r\nX-Slow: aaaa", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\naaaa", b"a"],
    ids=["headers", "body", "garbage"],
)
def test_a_server_that_drips_is_cut_at_the_deadline(words: bytes) -> None:
    began = time.monotonic()
    with servers.tcp_server(servers.drip(words, every=0.02)) as port:
        met = fault_met(f"http://127.0.0.1:{port}/", deadline=0.6)
    assert met.fault is PathFault.SILENT
    assert 0.5 < time.monotonic() - began < 1.5


def test_a_tls_server_that_drips_is_cut_too(authority: trustme.CA, ca_file: Path) -> None:
    def behave(one: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with context.wrap_socket(one, server_side=True) as wrapped:
            servers.drip(b"HTTP/1.1 200 OK\r\nX: y", every=0.02)(wrapped)

    began = time.monotonic()
    with servers.tcp_server(behave) as port:
        met = fault_met(f"https://127.0.0.1:{port}/", ca_file=ca_file, deadline=0.8)
    assert met.fault is PathFault.SILENT
    assert time.monotonic() - began < 2


def test_a_huge_body_is_read_only_in_part() -> None:
    with servers.web_server(lambda _: Said(body=b"x" * 5_000_000)) as web:
        assert len(get(web.url).body) == 65_536


def test_an_endless_chunked_body_is_read_only_in_part() -> None:
    def behave(one: socket.socket) -> None:
        one.recv(65_536)
        one.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5000):
            one.sendall(b"400\r\n" + b"y" * 0x400 + b"\r\n")

    with servers.tcp_server(behave) as port:
        assert len(get(f"http://127.0.0.1:{port}/").body) == 65_536


def test_redirects_are_not_followed() -> None:
    with servers.web_server(lambda _: Said(302, {"Location": "/elsewhere"})) as web:
        assert get(web.url).status == 302
    assert len(web.asked) == 1


def test_a_cutoff_after_the_end_cuts_nothing() -> None:
    with servers.web_server(lambda _: Said(body=b"ok")) as web, Cutoff(0.2) as cutoff, ExitStack() as opened:
        one = opened.enter_context(session(Routes(), ca_file=None, cutoff=cutoff))
        assert one.get(web.url, timeout=1).content == b"ok"
        assert 0 < cutoff.left <= 0.2
    assert len(web.asked) == 1


def test_a_connection_guarded_too_late_is_cut_at_once() -> None:
    left, right = socket.socketpair()
    with left, right, Cutoff(0.01) as cutoff:
        time.sleep(0.05)
        cutoff.guard(left)
        assert right.recv(1) == b""


def test_several_addresses_share_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded from a name with three addresses: the whole try is bounded, not each address."""
    with servers.full_backlog() as port:
        three = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 3
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: three)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            dial("three.example", port, routes=Routes(), deadline=0.6)
    assert time.monotonic() - began < 1


def test_a_name_is_looked_up_once_for_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> object:
        asked.append(host)
        if host == "none.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    routes = Routes()
    places = [routes.addresses("one.example", port, within=5)[0][4] for port in (80, 443)]
    assert places == [("127.0.0.1", 80), ("127.0.0.1", 443)]
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            routes.addresses("none.example", 80, within=5)
    assert asked == ["one.example", "none.example"]


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1))
    began = time.monotonic()
    with pytest.raises(socket.gaierror, match=r"was not resolved within 0\.2 s"):
        dial("slow.example", 80, routes=Routes(), deadline=0.2)
    assert time.monotonic() - began < 0.8


# -- naming


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), PathFault.REFUSED),
        (OSError(errno.EHOSTUNREACH, "No route to host"), PathFault.UNREACHABLE),
        (OSError(errno.ETIMEDOUT, "timed out"), PathFault.TIMEOUT),
        (TimeoutError("timed out"), PathFault.TIMEOUT),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), PathFault.UNRESOLVED),
        (BrokenPipeError(errno.EPIPE, "pipe"), PathFault.RESET),
        (ssl.SSLError(1, "wrong version number"), PathFault.TLS_HANDSHAKE),
        (http.client.BadStatusLine("SSH-2.0"), PathFault.NOT_HTTP),
        (NotMapped("192.0.2.1", 80), PathFault.NOT_MAPPED),
    ],
    ids=lambda value: str(value) if isinstance(value, PathFault) else "",
)
def test_errors_are_named_by_type_and_number(error: Exception, fault: PathFault) -> None:
    assert fault_of(error) is fault
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert fault_of(wrapped) is fault


def test_a_mistake_of_ours_is_no_fault_of_the_network() -> None:
    with pytest.raises(KeyError):
        fault_of(KeyError("ours"))


def test_every_path_fault_has_a_sentence() -> None:
    for fault in PathFault:
        words = sentence(fault, "gitlab.example", 80, deadline=5)
        assert "gitlab.example:80" in words
        assert "{" not in words


def test_pools_are_ready_for_other_clients() -> None:
    """The Kubernetes client sets them on its own pool manager."""
    import urllib3

    with servers.web_server(lambda _: Said(body=b"pooled")) as web, urllib3.PoolManager(retries=False) as manager:
        manager.pool_classes_by_scheme = pool_classes(Routes({"192.0.2.100:6443": web.address}, only_mapped=True))
        assert manager.request("GET", "http://192.0.2.100:6443/version").data == b"pooled"
        assert web.asked[0].headers["host"] == "192.0.2.100:6443"
        with pytest.raises(urllib3.exceptions.NewConnectionError) as refused:
            manager.request("GET", "http://192.0.2.101:6443/version")
    assert fault_of(refused.value) is PathFault.NOT_MAPPED


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nServer: ngi",
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    ],
    ids=["in a header", "after a header", "in the body", "between chunks"],
)
def test_an_answer_that_is_cut_is_no_answer(said: bytes) -> None:
    with servers.tcp_server(servers.say(said)) as port:
        assert fault_met(f"http://127.0.0.1:{port}/").fault is PathFault.RESET


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nServer: nginx\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nServer: nginx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_empty_answer_is_a_whole_one(said: bytes) -> None:
    with servers.tcp_server(servers.say(said)) as port:
        assert get(f"http://127.0.0.1:{port}/").body == b""
