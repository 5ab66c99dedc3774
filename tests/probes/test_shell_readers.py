"""What the script printed becomes facts: on recorded outputs (outputs/README.md), on broken ones, and on noise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.evidence import Unmeasured
from preflight.faults import DindFault, DnsFault, Fault, GitLabFault, PathFault
from preflight.probes import dind, shell, shell_readers, shell_sections
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section

NONCE = "p0123456789abcdef"
OUTPUTS = Path(__file__).parent / "outputs"
HERE = "node k8s-worker-1"
MACHINES = sorted(file.stem for file in OUTPUTS.glob("[np]o*.txt"))
DOCKERS = ("20.10.24", "28.2.2")
IMAGE = "127.0.0.1:5000/library/alpine:latest"


def recorded(name: str) -> tuple[Section, ...]:
    return shell_sections.parse((OUTPUTS / f"{name}.txt").read_text(), NONCE)


def of(name: str, step: Step) -> Section:
    return shell_sections.find(recorded(name), step, where=HERE)


def test_every_recording_is_read_whole() -> None:
    assert len(MACHINES) >= 5
    for name in MACHINES:
        sections = recorded(name)
        assert len(sections) == 28, name
        assert all(section.exit is not None for section in sections), name


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


# ---- Docker in Docker ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", DOCKERS)
def test_docker_in_health(version: str) -> None:
    name = f"dind-docker-{version}-ready"
    ready = dind.read_docker_ready(of(name, shell.docker_ready(3)), where="dind on k8s-worker-1")
    assert ready.fault is None
    assert ready.seconds == pytest.approx(0.08)
    info = dind.read_docker_info(of(name, shell.docker_version()), of(name, shell.docker_info()), where=HERE)
    assert (info.fault, info.version, info.storage_driver) == (None, "20.10.24+dfsg1", "vfs")
    assert info.client.startswith(version)
    assert info.insecure_registries == ("127.0.0.0/8", "private.test")
    pull = dind.read_docker_pull(of(name, shell.docker_pull(IMAGE)), where=HERE)
    assert (pull.fault, pull.image) == (None, IMAGE)
    assert pull.seconds is not None
    greeting = dind.read_docker_run(of(name, shell.docker_run(IMAGE, ("echo", "hello-from-dind"))), where=HERE)
    assert greeting.fault is None
    assert greeting.output.endswith("hello-from-dind")
    inner = of(name, shell.docker_run(IMAGE, ("cat", "/etc/resolv.conf")))
    assert shell_readers.read_resolv_conf(inner).nameservers == ("10.0.0.2",)


def test_a_pull_is_fresh_when_layers_came() -> None:
    fresh = dind.read_docker_pull(of("dind-docker-20.10.24-ready", shell.docker_pull(IMAGE)), where=HERE)
    known = dind.read_docker_pull(of("dind-docker-28.2.2-ready", shell.docker_pull(IMAGE)), where=HERE)
    assert (fresh.fresh, known.fresh) == (True, False)


@pytest.mark.parametrize("version", DOCKERS)
def test_docker_says_why_it_failed(version: str) -> None:
    name = f"dind-docker-{version}-ready"
    absent = dind.read_docker_pull(of(name, shell.docker_pull("127.0.0.1:5000/library/alpine:absent")), where=HERE)
    assert absent.fault is DindFault.PULL_FAILED
    assert "manifest unknown" in absent.cause
    refused = dind.read_docker_pull(of(name, shell.docker_pull("127.0.0.1:5001/library/alpine:latest")), where=HERE)
    assert refused.fault is DindFault.PULL_FAILED
    assert "connection refused" in refused.cause
    nosuch = dind.read_docker_run(of(name, shell.docker_run(IMAGE, ("nosuch",))), where=HERE)
    assert (nosuch.fault, nosuch.exit) == (DindFault.RUN_FAILED, 127)
    assert "executable file not found" in nosuch.cause
    unpulled = dind.read_docker_run(of(name, shell.docker_run("127.0.0.1:5001/a:b", ("true",))), where=HERE)
    assert (unpulled.fault, unpulled.exit) == (DindFault.RUN_FAILED, 125)
    assert "connection refused" in unpulled.cause


@pytest.mark.parametrize(
    "words",
    [
        'Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority',
        'Get "https://registry.example.com/v2/": http: server gave HTTP response to HTTPS client',
        'Get "https://registry.example.com/v2/": remote error: tls: handshake failure',
    ],
)
def test_a_registrys_tls_is_not_the_daemons(words: str) -> None:
    section = Section(kind="docker_pull", args=(IMAGE,), exit=1, output=f"Error response from daemon: {words}")
    pull = dind.read_docker_pull(section, where=HERE)
    assert pull.fault is DindFault.PULL_FAILED
    assert words in pull.cause


@pytest.mark.parametrize("version", DOCKERS)
@pytest.mark.parametrize(("how", "fault"), [("unreachable", DindFault.DAEMON_SLOW), ("tls", DindFault.TLS_MISMATCH)])
def test_a_daemon_that_is_not_ready(version: str, how: str, fault: DindFault) -> None:
    name = f"dind-docker-{version}-{how}"
    ready = dind.read_docker_ready(of(name, shell.docker_ready(3)), where="dind on k8s-worker-1")
    assert (ready.fault, ready.seconds) == (fault, None)
    with pytest.raises(Unmeasured, match="was not ready"):
        of(name, shell.docker_pull(IMAGE))
    assert of(name, shell.resolv_conf()).exit == 0  # one failure hides no other step


@pytest.mark.parametrize("output", ["", "Terminated", "Client: Docker Engine - Community\n Version: 28.2.2\n\nServer:"])
def test_a_daemon_that_hangs_is_told_to_be_silent(output: str) -> None:
    ready = dind.read_docker_ready(Section(kind="docker_ready", exit=1, took=60, output=output), where=HERE)
    assert ready.fault is DindFault.DAEMON_SLOW
    assert ready.cause == "after 60 s the Docker daemon was not ready: it did not answer `docker info`"


def test_a_lookup_in_a_container_inside_is_read_as_any_other() -> None:
    step = shell.docker_lookup(IMAGE, "a.example.com")
    output = "WARNING: IPv4 forwarding is disabled.\nServer:\t\t10.0.0.2\nAddress:\t10.0.0.2:53\n\n"
    output += "** server can't find a.example.com: NXDOMAIN\n"
    answer = shell_readers.read_lookup(Section(kind=step.kind, args=step.args, exit=1, output=output), frozenset())
    assert (answer.name, answer.fault) == ("a.example.com", DnsFault.NXDOMAIN)


def test_docker_before_26_tells_its_errors_in_json_and_exits_0() -> None:
    told = (
        '{"ServerErrors":["Cannot connect to the Docker daemon at tcp://docker:2375. Is the docker daemon running?"]}'
    )
    version = Section(kind="docker_version", exit=1, output='{"Client":{"Version":"20.10.24"},"Server":null}')
    info = dind.read_docker_info(version, Section(kind="docker_info", exit=0, output=told), where=HERE)
    assert info.fault is DindFault.UNREACHABLE
    assert info.client == "20.10.24"


# ---- the frame -------------------------------------------------------------------------------------------------------


def test_noise_around_and_between_changes_nothing() -> None:
    whole = (OUTPUTS / "node-debian12.txt").read_text()
    noisy = "Welcome!\nLast login: today\n" + whole.replace("\n", "\r\n") + "logout\n"
    assert [(one.kind, one.args, one.exit) for one in shell_sections.parse(noisy, NONCE)] == [
        (one.kind, one.args, one.exit) for one in recorded("node-debian12")
    ]


def test_a_look_that_was_cut_off_keeps_what_it_has() -> None:
    whole = (OUTPUTS / "pod-busybox-1.36.1.txt").read_text()
    cut = whole[: whole.index("Name:\t")]
    *first, last = shell_sections.parse(cut, NONCE)
    assert [one.kind for one in first] == ["resolv_conf"]
    assert (last.kind, last.exit) == ("lookup", None)
    missing = shell.lookup("nope.example.com", "127.0.0.61")
    with pytest.raises(Unmeasured, match=r"ended before `nslookup nope\.example\.com"):
        shell_sections.find((*first, last), missing, where=HERE)


def test_the_wrong_nonce_opens_nothing() -> None:
    assert shell_sections.parse((OUTPUTS / "node-debian12.txt").read_text(), "pfedcba9876543210") == ()


@given(
    st.lists(
        st.sampled_from([*"begin end exit arg output stderr clock tool lacks skipped".split(), "x", "7", "\n", NONCE])
    )
)
def test_no_output_breaks_the_reader(words: list[str]) -> None:
    for section in shell_sections.parse(" ".join(words).replace("\n ", "\n"), NONCE):
        assert isinstance(section.exit, int | None)


@given(st.text(), st.text(), st.sampled_from(["curl", "wget", "busybox", "bind", "dig", "getent", ""]))
def test_no_words_of_a_tool_break_a_reader(output: str, stderr: str, tool: str) -> None:
    one = Section(kind="lookup", args=("a", "1"), exit=1, output=output, stderr=stderr, tool=tool)
    shell_readers.read_lookup(one, frozenset())
    shell_readers.read_fetch(one, "http://a/", where=HERE)
    shell_readers.read_tcp(one, where=HERE)
    shell_readers.read_resolv_conf(one)
    dind.read_docker_ready(one, where=HERE)
    dind.read_docker_info(one, one, where=HERE)
    dind.read_docker_pull(one, where=HERE)
    dind.read_docker_run(one, where=HERE)


# ---- the plan --------------------------------------------------------------------------------------------------------


def test_a_step_takes_one_printable_line() -> None:
    for bad in ("a\nb", "a\0b", "a\x1b[31m", "x" * 5000):
        with pytest.raises(ValueError, match="one printable line"):
            shell.fetch(bad)
    with pytest.raises(ValueError, match="letters and digits"):
        shell.render([], limit=1, nonce="a'; rm -rf /")


@pytest.mark.parametrize(
    ("resolver", "args"),
    [
        ("10.0.0.2", ("10.0.0.2",)),
        ("10.0.0.2:5353", ("10.0.0.2", "5353")),
        ("fd00::2", ("fd00::2",)),
        ("[fd00::2]:5353", ("fd00::2", "5353")),
        ("[fd00::2]", ("fd00::2",)),
    ],
)
def test_a_resolver_may_have_a_port(resolver: str, args: tuple[str, ...]) -> None:
    assert shell.lookup("a", resolver).args == ("a", *args)


def test_steps_run_six_at_a_time_and_dockers_one_by_one() -> None:
    steps = [
        *(shell.lookup(f"n{number}", "10.0.0.2") for number in range(8)),
        shell.docker_ready(60),
        shell.docker_info(),
    ]
    plan = shell.render(steps, limit=5, nonce=shell.new_nonce()).partition("main() {")[2]
    assert [line.count("|") for line in plan.splitlines() if "measure" in line] == [5, 1, 0, 0]
    assert shell.bound(steps, limit=5) == pytest.approx(3 + 7 + 7 + 67 + 7)


def test_commands_can_be_pasted() -> None:
    assert shell.lookup("a", "10.0.0.2:5353").command == "nslookup -port=5353 a 10.0.0.2"
    assert shell.docker_run("r/a:b", ("echo", "hello world")).command == "docker run --rm r/a:b echo 'hello world'"
    assert (
        of("node-dig-gnuwget", shell.lookup("alias.example.com", "127.0.0.53")).command
        == "dig @127.0.0.53 alias.example.com"
    )
    assert of("pod-busybox-1.35", shell.fetch("http://nope.invalid/")).command == "wget -S -O - http://nope.invalid/"
