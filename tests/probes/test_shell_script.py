"""The probe script under real shells, with real tools, against real servers on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest

from preflight.evidence import Unmeasured
from preflight.faults import DindFault, DnsFault, GitLabFault, PathFault
from preflight.probes import dind, shell, shell_readers, shell_sections
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section
from tests import programs
from tests.probes import servers
from tests.probes.servers import Asked, Question, Said

HERE = "pod on k8s-worker-1"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "ash": ("busybox", "ash")}
_CORE = "cat date head ip sh sleep tr".split()
TOOLS = {
    "debian": (*_CORE, "timeout", "curl", "nslookup", "bash"),
    "dig and GNU wget": (*_CORE, "timeout", "dig", "wget", "bash"),
    "no timeout": (*_CORE, "curl", "dig", "bash"),
}
_LIMIT = 1
_SIGN_IN = b"<html><head><title>Sign in \xc2\xb7 GitLab</title></head></html>"
_META = {"X-Gitlab-Meta": '{"correlation_id":"01K3","version":"1"}'}


TOOL_SETS = (*TOOLS, "busybox")


@pytest.fixture
def path(tool_set: str, tmp_path: Path) -> str:
    """A PATH with nothing but a named set of tools."""
    if tool_set != "busybox":
        return _links(tmp_path / "tools", TOOLS[tool_set])
    programs.require("busybox")
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return _links(tmp_path / "tools", listed, to="busybox")


def _links(folder: Path, names: Sequence[str], *, to: str | None = None) -> str:
    """A folder with links to these programs, or under these names to one."""
    programs.require(*([to] if to else names))
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(to or name)))
    return str(folder)


@dataclass(frozen=True)
class Places:
    """Ports on loopback, by what they do."""

    names: int  # a name server
    mute: int  # takes questions and connections, answers none
    closed: int
    full: int  # takes no connection
    cutting: int
    other: int  # speaks SSH
    web: int


@pytest.fixture(scope="session")
def places() -> Iterator[Places]:
    with contextlib.ExitStack() as running:
        mute = running.enter_context(servers.dns_server(lambda _question, _way: None))
        yield Places(
            names=running.enter_context(servers.dns_server(_answer)),
            mute=mute,
            closed=servers.closed_port(),
            full=running.enter_context(servers.full_backlog()),
            cutting=running.enter_context(servers.tcp_server(servers.reset)),
            other=running.enter_context(servers.tcp_server(servers.say(b"SSH-2.0-OpenSSH_9.2p1\r\n"))),
            web=running.enter_context(servers.web_server(_page)).port,
        )


def _answer(question: Question, _way: str) -> dns.message.Message:
    reply = dns.message.make_response(question)
    asked = question.question[0]
    label = asked.name.labels[0].decode()
    codes = {"nope": dns.rcode.NXDOMAIN, "broken": dns.rcode.SERVFAIL, "private": dns.rcode.REFUSED}
    if label in codes:
        reply.set_rcode(codes[label])
    elif label == "registry" and asked.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "192.168.1.60"))
    return reply


def _page(asked: Asked) -> Said:
    pages = {
        "/": Said(302, {**_META, "Location": "/users/sign_in"}),
        "/users/sign_in": Said(200, _META, _SIGN_IN),
        "/502": Said(502, {}, b"<h1>502</h1>"),
        "/503": Said(503, {}, b"<h1>503</h1>"),
        "/nginx": Said(200, {"Server": "nginx"}, b"<title>Welcome to nginx!</title>"),
        "/moved": Said(301, {"Location": "https://gitlab.invalid/"}),
        "/long": Said(200, _META, b"x" * 3_000_000),
        "/forged": Said(200, _META, _FORGED.encode()),
    }
    return pages.get(asked.path, Said(404))


_FORGED = """<title>GitLab</title>
0123456789abcdef exit 7
pffffffffffffffff begin 9 lookup
pffffffffffffffff arg registry.example.com
NONCE end 1 2
$nonce end 1 2
"""


def run(
    steps: Sequence[Step],
    *,
    sh: Sequence[str] = ("sh",),
    path: str | None = None,
    limit: float = _LIMIT,
    by_stdin: bool = False,
    env: Mapping[str, str] | None = None,
) -> tuple[Section, ...]:
    """Run the script as a pod's container or an SSH session does, and read what it printed."""
    nonce = shell.new_nonce()
    script = shell.render(steps, limit=limit, nonce=nonce)
    programs.require(sh[0])
    done = subprocess.run(
        [str(shutil.which(sh[0])), *sh[1:], *(["-s"] if by_stdin else ["-c", script])],
        input=script.encode() if by_stdin else b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": path or os.environ["PATH"], **(env or {})},
        timeout=shell.bound(steps, limit=limit),
        check=True,
    )
    return shell_sections.parse(done.stdout.decode(errors="replace"), nonce)


ADDRESS = "127.0.0.1"
NAMES: Mapping[str, tuple[str, DnsFault | None]] = {
    "registry.example.com": ("names", None),
    "nope.example.com": ("names", DnsFault.NXDOMAIN),
    "broken.example.com": ("names", DnsFault.SERVFAIL),
    "private.example.com": ("names", DnsFault.REFUSED),
    "empty.example.com": ("names", DnsFault.NO_ANSWER),
    "a.example.com": ("mute", DnsFault.TIMEOUT),
    "b.example.com": ("closed", DnsFault.UNREACHABLE),
}
PAGES: Mapping[str, tuple[str, str, PathFault | GitLabFault | None]] = {
    "GitLab": ("web", "/", None),
    "a dead application": ("web", "/502", GitLabFault.BAD_GATEWAY),
    "maintenance": ("web", "/503", GitLabFault.UNAVAILABLE),
    "another server": ("web", "/nginx", GitLabFault.NOT_GITLAB),
    "a redirect to another origin": ("web", "/moved", GitLabFault.REDIRECTED),
    "nobody": ("closed", "/", PathFault.REFUSED),
    "a firewall that drops": ("full", "/", PathFault.TIMEOUT),
    "a cut": ("cutting", "/", PathFault.RESET),
    "another protocol": ("other", "/", PathFault.NOT_HTTP),
}


@pytest.mark.parametrize(
    ("sh", "tool_set"),
    [
        ("dash", "debian"),
        ("bash", "dig and GNU wget"),
        ("ash", "no timeout"),
        ("ash", "busybox"),
        ("bash", "no timeout"),
    ],
)
def test_every_shell_and_tool_set_tells_every_fault(sh: str, tool_set: str, path: str, places: Places) -> None:
    names = {name: shell.lookup(name, f"{ADDRESS}:{getattr(places, port)}") for name, (port, _) in NAMES.items()}
    pages = {
        what: shell.fetch(f"http://{ADDRESS}:{getattr(places, port)}{path}") for what, (port, path, _) in PAGES.items()
    }
    ports = {
        shell.tcp(ADDRESS, places.web): None,
        shell.tcp(ADDRESS, places.closed): PathFault.REFUSED,
        shell.tcp(ADDRESS, places.full): PathFault.TIMEOUT,
    }
    steps = [*names.values(), *pages.values(), *ports]
    steps.sort(
        key=lambda step: (
            not {str(places.full), str(places.mute)} & set("/:".join(step.args).replace("/", ":").split(":"))
        )
    )
    sections = run(steps, sh=SHELLS[sh], path=path)

    answers = {
        name: shell_readers.read_lookup(shell_sections.find(sections, step, where=HERE), frozenset())
        for name, step in names.items()
    }
    assert {name: answer.fault for name, answer in answers.items()} == {
        name: fault for name, (_, fault) in NAMES.items()
    }
    assert answers["registry.example.com"].addresses == {"192.168.1.60"}

    replies = {
        what: shell_readers.read_fetch(shell_sections.find(sections, step, where=HERE), step.args[0], where=HERE)
        for what, step in pages.items()
    }
    assert {what: reply.fault for what, reply in replies.items()} == {
        what: fault for what, (*_, fault) in PAGES.items()
    }
    assert replies["GitLab"].is_gitlab
    assert (replies["GitLab"].status, replies["GitLab"].location) == (302, "/users/sign_in")
    assert replies["GitLab"].clock_offset == pytest.approx(0, abs=2)

    assert [
        shell_readers.read_tcp(shell_sections.find(sections, step, where=HERE), where=HERE).fault for step in ports
    ] == [*ports.values()]


@pytest.mark.parametrize("sh", SHELLS)
def test_a_login_shell_gets_the_script_by_its_input_and_no_step_eats_it(sh: str, places: Places) -> None:
    steps = [shell.resolv_conf(), shell.lookup("nope.example.com", f"{ADDRESS}:{places.names}"), shell.clock()]
    sections = run(steps, sh=SHELLS[sh], by_stdin=True)
    assert [section.kind for section in sections] == ["resolv_conf", "lookup", "clock"]
    assert shell_readers.read_clock(sections[-1]) == pytest.approx(time.time(), abs=5)


def test_a_dead_resolver_times_many_names_does_not_add_up(places: Places) -> None:
    programs.require("nslookup")
    steps = [shell.lookup(f"{letter}.example.com", f"{ADDRESS}:{places.mute}") for letter in "abcdef"]
    began = time.monotonic()
    sections = run([*steps, shell.resolv_conf()], limit=1)
    assert time.monotonic() - began < 4  # one after the other, they take 6 s at least
    assert {section.kind for section in sections if section.took > 0.9} == {"lookup"}
    assert sections[-1].exit == 0


def test_time_spent_on_a_resolver_that_does_not_answer_is_not_the_servers(places: Places, tmp_path: Path) -> None:
    """A name that only a slow lookup finds, in more seconds than a step has."""
    folder = Path(_links(tmp_path / "tools", TOOLS["debian"]))
    getent = folder / "getent"
    getent.write_text(f"#!/bin/sh\nsleep 1.1\necho '{ADDRESS} STREAM gitlab.invalid'\n", encoding="utf-8")
    getent.chmod(0o755)
    url = f"http://gitlab.invalid:{places.web}/"
    fetched, connected, refused = run(
        [shell.fetch(url), shell.tcp("gitlab.invalid", places.web), shell.tcp("gitlab.invalid", places.closed)],
        path=str(folder),
    )
    assert shell_readers.read_fetch(fetched, url, where=HERE).is_gitlab
    assert shell_readers.read_tcp(connected, where=HERE).fault is None
    assert shell_readers.read_tcp(refused, where=HERE).fault is PathFault.REFUSED


@pytest.mark.parametrize("sh", SHELLS)
def test_a_resolver_that_answers_nothing_is_waited_for_once_and_not_once_a_name(sh: str, places: Places) -> None:
    programs.require("nslookup")
    steps = {
        port: [shell.lookup(f"{name}.example.com", f"{ADDRESS}:{port}") for name in ("registry", *"bcd")]
        for port in (places.mute, places.names)
    }
    sections = run([*steps[places.mute], *steps[places.names]], sh=SHELLS[sh], limit=2)
    faults = {
        port: [
            shell_readers.read_lookup(shell_sections.find(sections, step, where=HERE), frozenset()).fault
            for step in asked
        ]
        for port, asked in steps.items()
    }
    assert faults == {
        places.mute: [DnsFault.TIMEOUT] * 4,
        places.names: [None, *[DnsFault.NO_ANSWER] * 3],
    }
    assert all(section.took < 1.9 for section in sections if str(places.mute) in section.args), "it is known by then"


def _garbage(kind: str, question: Question) -> bytes:
    asked = question.to_wire()
    return {
        "noise": b"\0" * 40,
        "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "a header cut short": asked[:2] + b"\x81\x80",
        "an answer cut short": asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:] + b"\xc0\x0c\0\1\0\1\0\0",
        "the question": asked,
    }[kind]


@pytest.mark.parametrize("kind", ["noise", "HTTP", "a header cut short", "an answer cut short", "the question"])
@pytest.mark.parametrize("tool_set", TOOL_SETS)
def test_garbage_is_never_taken_for_an_answer(kind: str, tool_set: str, path: str) -> None:
    silent = {DnsFault.GARBLED, DnsFault.TIMEOUT}  # busybox passes over what it can't read, without a word
    with servers.dns_server(lambda question, _: _garbage(kind, question)) as port:
        step = shell.lookup("a.example.com", f"{ADDRESS}:{port}")
        (section,) = run([step], path=path)
    fault = shell_readers.read_lookup(section, frozenset()).fault
    if (tool_set, kind) == ("busybox", "the question"):
        assert fault is DnsFault.NO_ANSWER  # it does not look at the bit that tells them apart
    else:
        assert fault in (silent if tool_set == "busybox" else {DnsFault.GARBLED})


@pytest.mark.parametrize("tool_set", ["debian", "no timeout"])
def test_a_tool_that_hangs_and_ignores_its_end_is_killed(
    tool_set: str, path: str, tmp_path: Path, places: Places
) -> None:
    stubborn = tmp_path / "cat"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 0.1; done\n")
    stubborn.chmod(0o755)
    began = time.monotonic()
    sections = run([Step("resolv_conf", alone=True), shell.clock()], path=f"{tmp_path}:{path}")
    assert time.monotonic() - began < 5
    assert sections[0].exit not in (0, None)
    assert sections[0].output.startswith("begun")
    assert shell_readers.read_clock(sections[1]) > 0


@pytest.mark.parametrize("tool_set", TOOL_SETS)
def test_an_endless_body_is_cut_and_still_read(tool_set: str, path: str, places: Places) -> None:
    step = shell.fetch(f"http://{ADDRESS}:{places.web}/long")
    (section,) = run([step], path=path)
    assert 50_000 < len(section.output) <= 65_536
    assert shell_readers.read_fetch(section, step.args[0], where=HERE).status == 200


@pytest.mark.parametrize("tool_set", TOOL_SETS)
def test_a_page_cannot_forge_a_section(tool_set: str, path: str, places: Places) -> None:
    forged = shell.fetch(f"http://{ADDRESS}:{places.web}/forged")
    sections = run([forged, shell.clock()], path=path)
    assert [section.kind for section in sections] == ["fetch", "clock"]
    assert sections[0].exit == 0
    assert "$nonce end 1 2" in sections[0].output


@pytest.mark.parametrize("tool_set", TOOL_SETS)
def test_the_environments_proxy_is_ignored(tool_set: str, path: str, places: Places) -> None:
    proxy = f"http://{ADDRESS}:{places.closed}"
    step = shell.fetch(f"http://{ADDRESS}:{places.web}/")
    (section,) = run([step], path=path, env={"http_proxy": proxy, "HTTP_PROXY": proxy, "ALL_PROXY": proxy})
    assert shell_readers.read_fetch(section, step.args[0], where=HERE).fault is None


def test_an_argument_is_never_run(tmp_path: Path, places: Places) -> None:
    evil = f"$(touch {tmp_path}/a)`touch {tmp_path}/b`'; touch {tmp_path}/c; '\"\\"
    (section,) = run([shell.lookup(evil, f"{ADDRESS}:{places.names}")])
    assert section.args[0] == evil
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tool_is_named_and_hides_no_other_step(tmp_path: Path) -> None:
    path = _links(tmp_path / "bare", _CORE)
    steps = [
        shell.lookup("a.example.com", ADDRESS),
        shell.fetch("http://127.0.0.1/"),
        shell.tcp(ADDRESS, 1),
        shell.docker_info(),
    ]
    sections = run([*steps, shell.clock()], path=path)
    for step, tool in zip(steps, ("nslookup, dig", "curl, wget", "bash, nc", "docker"), strict=True):
        with pytest.raises(Unmeasured, match="there is no") as missing:
            shell_sections.find(sections, step, where=HERE)
        assert tool in missing.value.needs
    assert shell_readers.read_clock(shell_sections.find(sections, shell.clock(), where=HERE)) > 0


@pytest.mark.parametrize("sh", SHELLS)
def test_without_date_no_clock_is_told_and_no_skew_concluded(sh: str, tmp_path: Path, places: Places) -> None:
    path = _links(tmp_path / "bare", [*(tool for tool in _CORE if tool != "date"), "curl", "timeout"])
    page = shell.fetch(f"http://{ADDRESS}:{places.web}/")
    sections = run([page, shell.clock()], sh=SHELLS[sh], path=path)
    reply = shell_readers.read_fetch(shell_sections.find(sections, page, where=HERE), page.args[0], where=HERE)
    assert (reply.fault, reply.clock_offset) == (None, None)
    with pytest.raises(Unmeasured, match="there is no date"):
        shell_sections.find(sections, shell.clock(), where=HERE)


@pytest.mark.parametrize("sh", SHELLS)
def test_the_default_routes_device_is_told_with_nothing_but_ip(sh: str, tmp_path: Path) -> None:
    path = _links(tmp_path / "bare", [tool for tool in _CORE if tool != "ip"])
    routes = "10.0.0.0/24 dev eth9 scope link\ndefault via 10.0.0.1 dev lo proto dhcp\ndefault via 10.0.1.1 dev eth9"
    ip = tmp_path / "bare" / "ip"
    ip.write_text(f"#!/bin/sh\nprintf '%s\\n' '{routes}'\n")
    ip.chmod(0o755)
    (section,) = run([shell.interface()], sh=SHELLS[sh], path=path)
    assert shell_readers.read_interface(section).name == "lo"


@pytest.mark.parametrize("sh", SHELLS)
@pytest.mark.parametrize("missing", [("cat",), ("head",), ("tr",), ("timeout", "sleep")], ids=" ".join)
def test_without_what_every_step_needs_nothing_is_concluded(missing: tuple[str, ...], sh: str, tmp_path: Path) -> None:
    there = [tool for tool in (*_CORE, "curl", "dig", "timeout") if tool not in missing]
    path = _links(tmp_path / "bare", there)
    steps = [shell.lookup("a.example.com", ADDRESS), shell.fetch("http://127.0.0.1/"), shell.resolv_conf()]
    sections = run([*steps, shell.docker_info(), shell.clock()], sh=SHELLS[sh], path=path)
    for step in (*steps, shell.docker_info(), shell.clock()):
        with pytest.raises(Unmeasured, match="there is no") as unmeasured:
            shell_sections.find(sections, step, where=HERE)
        assert ", ".join(missing) in unmeasured.value.needs


def test_getent_serves_where_only_resolv_conf_is_asked(tmp_path: Path) -> None:
    path = _links(tmp_path / "plain", [*_CORE, "getent"])
    own, other = shell.lookup("localhost"), shell.lookup("localhost", ADDRESS)
    sections = run([own, other], path=path)
    assert shell_readers.read_lookup(shell_sections.find(sections, own, where=HERE), frozenset()).addresses == {
        "127.0.0.1"
    }
    with pytest.raises(Unmeasured, match="none of nslookup, dig"):
        shell_sections.find(sections, other, where=HERE)


def test_without_a_daemon_no_further_docker_step_is_tried(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    words = "Cannot connect to the Docker daemon at tcp://docker:2375. Is the docker daemon running?"
    docker.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    docker.chmod(0o755)
    pull = shell.docker_pull("registry.example.com/library/alpine:latest")
    sections = run([shell.docker_ready(1), pull, shell.resolv_conf()], path=f"{tmp_path}:{os.environ['PATH']}")
    ready = dind.read_docker_ready(sections[0], where="dind on k8s-worker-1")
    assert (ready.fault, ready.seconds) == (DindFault.DAEMON_SLOW, None)
    assert words in ready.cause
    with pytest.raises(Unmeasured, match="daemon was not ready"):
        shell_sections.find(sections, pull, where=HERE)
    assert sections[2].exit == 0


def test_an_image_that_was_not_pulled_is_not_run(tmp_path: Path) -> None:
    docker, calls = tmp_path / "docker", tmp_path / "calls"
    docker.write_text(f'#!/bin/sh\necho "$@" >>{calls}\ncase "$*" in pull*r.example.com/a:*) exit 1 ;; esac\n')
    docker.chmod(0o755)
    absent, other = "r.example.com/a:1", "r.example.com/a"
    skipped = [shell.docker_run(absent, ("echo", "hello")), shell.docker_runs("mark", absent, [("true",)])]
    steps = [shell.docker_pull("r.example.com/b:1"), shell.docker_pull(absent), *skipped]
    steps += [shell.docker_run("r.example.com/b:1", ("true",)), shell.docker_run(other, ("true",))]
    sections = run(steps, path=f"{tmp_path}:{os.environ['PATH']}")
    assert [section.unpulled for section in sections] == [False, False, True, True, False, False]
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["pull", "pull", "run", "run"]
    with pytest.raises(Unmeasured, match="could not pull its image"):
        shell_sections.find(sections, skipped[0], where=HERE)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux to make a read-only root")
def test_nothing_is_written_and_no_user_is_needed(places: Places) -> None:
    programs.require("nslookup", "ip", "unshare", "setpriv")
    nonce = shell.new_nonce()
    steps = [shell.lookup("registry.example.com", f"{ADDRESS}:{places.names}"), shell.resolv_conf(), shell.interface()]
    script = shell.render(steps, limit=_LIMIT, nonce=nonce)
    read_only = (
        "for place in / /tmp /dev/shm /run /var/tmp; do"
        " mount --bind $place $place; mount -o remount,ro,bind $place; done 2>/dev/null"
    )
    alone = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs -- "$@"'
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f"{read_only}; {alone}",
            "sh",
            "sh",
            "-c",
            f"touch /tmp/it-can 2>/dev/null && rm /tmp/it-can && echo can write\n{script}",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if not done.stdout or "can write" in done.stdout:
        pytest.skip(f"no read-only root is to be had here: {done.stderr[:200]}")
    sections = shell_sections.parse(done.stdout, nonce)
    assert [section.kind for section in sections] == ["lookup", "resolv_conf", "interface"]
    assert shell_readers.read_lookup(sections[0], frozenset({"192.168.1.60"})).fault is None


@pytest.mark.parametrize("dialect", ["sh", "dash", "bash"])
def test_shellcheck_finds_nothing(dialect: str, tmp_path: Path) -> None:
    programs.require("shellcheck")
    steps = [shell.resolv_conf(), shell.lookup("a b", "10.0.0.2"), shell.docker_ready(60), shell.docker_pull("a'b")]
    script = tmp_path / "script.sh"
    script.write_text(shell.render(steps, limit=5, nonce=shell.new_nonce()))
    done = subprocess.run(["shellcheck", "-s", dialect, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0
