"""What the script printed becomes facts: on recorded outputs (outputs/README.md), on broken ones, and on noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.evidence import Unmeasured
from preflight.faults import DnsFault, Fault, GitLabFault, PathFault
from preflight.probes import shell, shell_readers
from preflight.probes.shell_sections import Section
from tests.probes.recorded_outputs import HERE, MACHINES, of

# ---- names -----------------------------------------------------------------------------------------------------------

NAMES: dict[tuple[str, str], tuple[DnsFault | None, set[str]]] = {
    ("registry.example.com", "127.0.0.61"): (None, {"192.168.1.60"}),
    ("nope.example.com", "127.0.0.61"): (DnsFault.NXDOMAIN, set()),
    ("six.example.com", "127.0.0.61"): (DnsFault.NO_ANSWER, set()),
    ("www.example.org", "127.0.0.61"): (DnsFault.REFUSED, set()),
    ("servfail.example.com", "127.0.0.53"): (DnsFault.SERVFAIL, set()),
    ("alias.example.com", "127.0.0.53"): (None, {"192.168.1.60"}),
    ("registry.example.com", "127.0.0.54"): (DnsFault.TIMEOUT, set()),
    ("registry.example.com", "127.0.0.55"): (DnsFault.UNREACHABLE, set()),
}
# Before 1.30, busybox asked the C library, which keeps the reason to itself, and always for AAAA, too.
OLD = {
    ("nope.example.com", "127.0.0.61"): (DnsFault.SERVFAIL, set()),
    ("six.example.com", "127.0.0.61"): (DnsFault.NO_ANSWER, {"fd00::60"}),
    ("www.example.org", "127.0.0.61"): (DnsFault.SERVFAIL, set()),
    ("registry.example.com", "127.0.0.55"): (DnsFault.SERVFAIL, set()),
}


@pytest.mark.parametrize("question", NAMES, ids=" @".join)
@pytest.mark.parametrize("machine", MACHINES)
def test_names_on_every_machine(machine: str, question: tuple[str, str]) -> None:
    fault, addresses = NAMES[question]
    if machine == "pod-busybox-1.28.4":
        fault, addresses = OLD.get(question, (fault, addresses))
    answer = shell_readers.read_lookup(of(machine, shell.lookup(*question)), frozenset())
    assert (answer.name, answer.fault, set(answer.addresses)) == (question[0], fault, addresses)
    assert answer.message


def test_an_address_that_is_not_expected_is_wrong_and_named() -> None:
    section = of("node-debian12", shell.lookup("registry.example.com", "127.0.0.61"))
    answer = shell_readers.read_lookup(section, frozenset({"192.168.1.61"}))
    assert answer.fault is DnsFault.WRONG_ANSWER
    assert "192.168.1.60" in answer.message
    assert shell_readers.read_lookup(section, frozenset({"192.168.1.60", "192.168.1.61"})).fault is None


def _told(output: str, *, tool: str = "busybox", exit: int | None = 0) -> Section:  # noqa: A002
    return Section(kind="lookup", args=("a.example.com", "10.0.0.2"), tool=tool, exit=exit, output=output)


@pytest.mark.parametrize("failure", ["SERVFAIL", "NXDOMAIN"])
def test_a_failure_of_aaaa_alone_is_none(failure: str) -> None:
    both = (
        "Server:\t\t10.0.0.2\nAddress:\t10.0.0.2:53\n\nNon-authoritative answer:\nName:\ta.example.com\n"
        f"Address: 192.168.1.60\n\n** server can't find a.example.com: {failure}\n"
    )
    assert shell_readers.read_lookup(_told(both, exit=1), frozenset()).fault is None
    silent = both.replace(f"** server can't find a.example.com: {failure}", "*** Can't find a.example.com: No answer")
    assert shell_readers.read_lookup(_told(silent), frozenset()).fault is None


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ("nslookup: can't resolve 'a.example.com': Name does not resolve", DnsFault.NXDOMAIN),  # musl
        ("nslookup: can't resolve 'a.example.com': Try again", DnsFault.SERVFAIL),
        (
            "nslookup: can't resolve '(null)': Name does not resolve\n\n"
            "Name:      a.example.com\nAddress 1: 10.1.2.3 a.example.com",
            None,
        ),
        (
            "Server:    10.0.0.2\nAddress 1: 10.0.0.2 dns.example.com\n\nName:      a.example.com\nAddress 1: 10.1.2.3",
            None,
        ),
        ("", DnsFault.GARBLED),
        ("BusyBox panicked", DnsFault.GARBLED),
    ],
)
def test_the_words_of_old_busybox(output: str, fault: DnsFault | None) -> None:
    answer = shell_readers.read_lookup(_told(output, tool="old", exit=0 if fault is None else 1), frozenset())
    assert answer.fault is fault
    assert answer.addresses == (frozenset() if fault else {"10.1.2.3"})


def test_what_was_cut_off_is_a_timeout() -> None:
    for status in (124, 137, 143, None):
        assert shell_readers.read_lookup(_told("", exit=status), frozenset()).fault is DnsFault.TIMEOUT


def test_the_resolvers_own_address_is_no_answer() -> None:
    section = _told("Server:\t\t10.0.0.2\nAddress:\t10.0.0.2:53\n\nNon-authoritative answer:\n")
    assert shell_readers.read_lookup(section, frozenset()).addresses == frozenset()


# ---- the web ---------------------------------------------------------------------------------------------------------

PAGES: dict[str, tuple[int | None, Fault | None]] = {
    "http://127.0.0.1:8811/": (302, None),
    "http://127.0.0.1:8811/api/v4/version": (401, None),
    "http://127.0.0.1:8812/": (502, GitLabFault.BAD_GATEWAY),
    "http://127.0.0.1:8813/": (200, GitLabFault.NOT_GITLAB),
    "http://127.0.0.1:8814/": (301, GitLabFault.REDIRECTED),
    "http://127.0.0.1:8815/": (503, GitLabFault.UNAVAILABLE),
    "http://127.0.0.1:8899/": (None, PathFault.REFUSED),
    "http://127.0.0.1:8805/": (None, PathFault.TIMEOUT),
    "http://127.0.0.1:8802/": (None, PathFault.RESET),
    "http://127.0.0.1:8803/": (None, PathFault.NOT_HTTP),
    "http://127.0.0.1:8804/": (None, PathFault.RESET),
    "http://127.0.0.1:8801/silent": (None, PathFault.SILENT),
    "http://nope.invalid/": (None, PathFault.UNRESOLVED),
}


@pytest.mark.parametrize("url", PAGES)
@pytest.mark.parametrize("machine", MACHINES)
def test_pages_on_every_machine(machine: str, url: str) -> None:
    status, fault = PAGES[url]
    if fault is PathFault.SILENT and machine.startswith("pod-busybox"):
        fault = PathFault.TIMEOUT  # busybox's wget does not tell how far it got
    reply = shell_readers.read_fetch(of(machine, shell.fetch(url)), url, where=HERE)
    assert (reply.status, reply.fault) == (status, fault)
    assert bool(reply.cause) == (fault is not None)
    if url == "http://127.0.0.1:8811/":
        assert reply.is_gitlab
        assert reply.clock_offset == pytest.approx(0, abs=2)
        assert reply.location.endswith("/users/sign_in")


def test_what_curl_printed_is_shown_without_its_bytes_on_the_wire() -> None:
    step = shell.fetch("http://127.0.0.1:8899/")
    shown = shell_readers.read_fetch(of("node-debian12", step), step.args[0], where=HERE).evidence
    assert shown.command == "curl -sS -i http://127.0.0.1:8899/"
    assert shown.observed.startswith("curl: (7) Failed to connect to 127.0.0.1 port 8899")


@pytest.mark.parametrize(
    ("status", "stderr", "fault"),
    [
        (60, "curl: (60) SSL certificate problem: unable to get local issuer certificate", PathFault.TLS_UNTRUSTED),
        (60, "curl: (60) SSL certificate problem: certificate has expired", PathFault.TLS_EXPIRED),
        (
            60,
            "curl: (60) SSL: no alternative certificate subject name matches target host name 'a'",
            PathFault.TLS_WRONG_NAME,
        ),
        (35, "curl: (35) OpenSSL/3.0.19: error:0A00010B:SSL routines::wrong version number", PathFault.TLS_HANDSHAKE),
        (
            7,
            "* Immediate connect fail for 192.0.2.1: Network is unreachable\ncurl: (7) Failed to connect",
            PathFault.UNREACHABLE,
        ),
        (
            7,
            "* connect to 192.0.2.1 port 80 failed: No route to host\ncurl: (7) Failed to connect",
            PathFault.UNREACHABLE,
        ),
        (28, "curl: (28) Resolving timed out after 2000 milliseconds", PathFault.UNRESOLVED),
        (28, "* Connected to a (192.0.2.1) port 80 (#0)\ncurl: (28) Operation timed out", PathFault.SILENT),
        (None, "", PathFault.TIMEOUT),
    ],
)
def test_the_ways_curl_ends(status: int | None, stderr: str, fault: PathFault) -> None:
    section = Section(kind="fetch", args=("https://a/",), tool="curl", exit=status or None, stderr=stderr)
    reply = shell_readers.read_fetch(section, "https://a/", where=HERE)
    assert reply.fault is fault
    assert "a:443" in reply.cause


def test_a_redirect_that_busybox_followed_is_judged_on_its_whole_way() -> None:
    stderr = (
        "  HTTP/1.1 302 Found\n  Date: Mon, 21 Jul 2025 10:00:00 GMT\n  Location: http://a/users/sign_in\n"
        "  HTTP/1.1 502 Bad Gateway\nwget: server returned error: HTTP/1.1 502 Bad Gateway\n"
    )
    section = Section(kind="fetch", args=("http://a/",), tool="wget", exit=1, stderr=stderr)
    reply = shell_readers.read_fetch(section, "http://a/", where=HERE)
    assert (reply.status, reply.fault) == (302, GitLabFault.BAD_GATEWAY)
    assert "http://a/users/sign_in answered 502" in reply.cause


TCP = {8811: None, 8899: PathFault.REFUSED, 8805: PathFault.TIMEOUT}


@pytest.mark.parametrize("port", TCP)
@pytest.mark.parametrize("machine", MACHINES)
def test_ports_on_every_machine(machine: str, port: int) -> None:
    connection = shell_readers.read_tcp(of(machine, shell.tcp("127.0.0.1", port)), where=HERE)
    assert (connection.fault, connection.port) == (TCP[port], port)


# ---- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_the_machine_tells_itself(machine: str) -> None:
    assert shell_readers.read_resolv_conf(of(machine, shell.resolv_conf())).nameservers == ("10.0.0.2",)
    assert 1_795_000_000 < shell_readers.read_clock(of(machine, shell.clock())) < 1_796_000_000
    assert shell_readers.read_interface(of(machine, shell.interface())).mtu > 1000


def test_resolv_conf_is_read_as_the_resolver_library_does() -> None:
    text = (
        "# made by hand\nsearch old.example.com\nnameserver 10.0.0.2 # first\nnameserver 10.1.0.251\n"
        "; none\noptions ndots:5 timeout:2\noptions rotate\n"
        "search gitlab.svc.cluster.local cluster.local.\nsortlist 10.0.0.0\n"
    )
    assert shell_readers.read_resolv_conf(Section(kind="resolv_conf", exit=0, output=text)) == shell_readers.ResolvConf(
        nameservers=("10.0.0.2", "10.1.0.251"),
        searches=("gitlab.svc.cluster.local", "cluster.local"),
        options=("ndots:5", "timeout:2", "rotate"),
    )


def test_a_clock_without_fractions_is_read_at_the_middle_of_its_second() -> None:
    assert shell_readers.read_clock(Section(kind="clock", output="1795365258.%N\n1795365258")) == 1795365258.5
    assert shell_readers.read_clock(Section(kind="clock", output="1795365258.250000000\n1795365258")) == 1795365258.25
    with pytest.raises(Unmeasured, match="printed no time"):
        shell_readers.read_clock(Section(kind="clock", output="date: not found"))


def test_no_default_route_is_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="no default route"):
        shell_readers.read_interface(Section(kind="interface", exit=1, output="no default route"))


IMAGE = "registry.example.com/library/alpine:latest"


def test_a_lookup_in_a_container_inside_is_read_as_any_other() -> None:
    step = shell.docker_lookup(IMAGE, "a.example.com")
    output = "WARNING: IPv4 forwarding is disabled.\nServer:\t\t10.0.0.2\nAddress:\t10.0.0.2:53\n\n"
    output += "** server can't find a.example.com: NXDOMAIN\n"
    answer = shell_readers.read_lookup(Section(kind=step.kind, args=step.args, exit=1, output=output), frozenset())
    assert (answer.name, answer.fault) == ("a.example.com", DnsFault.NXDOMAIN)


# ---- all of them -----------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.sampled_from(["curl", "wget", "busybox", "bind", "dig", "getent", ""]))
def test_no_message_of_a_tool_breaks_a_reader(output: str, stderr: str, tool: str) -> None:
    section = Section(kind="lookup", args=("a", "1"), exit=1, output=output, stderr=stderr, tool=tool)
    shell_readers.read_lookup(section, frozenset())
    shell_readers.read_fetch(section, "http://a/", where=HERE)
    shell_readers.read_tcp(section, where=HERE)
    shell_readers.read_resolv_conf(section)
