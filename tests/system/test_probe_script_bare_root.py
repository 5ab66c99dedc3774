"""The probe script in a bare root: a shell, busybox, and nothing beside it, as in the smallest of images.

Each tool is taken away in turn. What the script then says must be right, or unmeasured with the tool's name: never a
fault that the machine does not have.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from preflight.evidence import Unmeasured
from preflight.faults import DnsFault, GitLabFault, PathFault
from preflight.probes import shell, shell_readers, shell_sections
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section
from tests.probes import servers
from tests.probes.servers import Asked, Question, Said

SHELLS = {"ash": ["/bin/busybox", "ash"], "dash": ["/bin/dash"], "bash": ["/bin/bash"]}
WHERE = "pod on k8s-worker-1"
LOOPBACK = "127.0.0.1"
MANY = b"<title>GitLab</title>" + b"x" * 200_000


def _names(question: Question, _way: str) -> dns.message.Message:
    reply = dns.message.make_response(question)
    asked = question.question[0]
    if asked.name.labels[0] != b"registry":
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif asked.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "192.0.2.60"))
    return reply


def _page(asked: Asked) -> Said:
    healthy = {"X-Gitlab-Meta": '{"version":"1"}'}
    return {"/": Said(200, healthy, MANY), "/502": Said(502)}.get(asked.path, Said(404))


Reader = Callable[[Section], object]


@dataclass(frozen=True)
class Expected:
    """A step, how its section is read, what must come out, and the tools of which it needs one."""

    step: Step
    read: Reader
    right: object
    tools: str = ""


def _lookup(section: Section) -> object:
    answer = shell_readers.read_lookup(section, frozenset())
    return answer.fault or answer.addresses


def _fetch(section: Section) -> object:
    return shell_readers.read_fetch(section, section.args[0], where=WHERE).fault


def _tcp(section: Section) -> object:
    return shell_readers.read_tcp(section, where=WHERE).fault


def _clock_is_right(section: Section) -> object:
    return abs(shell_readers.read_clock(section) - time.time()) < 60


@pytest.fixture(scope="module")
def cases() -> Iterator[dict[str, Expected]]:
    with servers.dns_server(_names) as names, servers.web_server(_page) as web:
        closed = servers.closed_port()
        resolver = f"{LOOPBACK}:{names}"
        yield {
            "name": Expected(
                shell.lookup("registry.example.com", resolver), _lookup, frozenset({"192.0.2.60"}), "nslookup, dig"
            ),
            "no name": Expected(
                shell.lookup("absent.example.com", resolver), _lookup, DnsFault.NXDOMAIN, "nslookup, dig"
            ),
            "page": Expected(shell.fetch(web.url), _fetch, None, "curl, wget"),
            "dead": Expected(shell.fetch(f"{web.url}502"), _fetch, GitLabFault.BAD_GATEWAY, "curl, wget"),
            "open": Expected(shell.tcp(LOOPBACK, web.port), _tcp, None, "bash, nc"),
            "closed": Expected(shell.tcp(LOOPBACK, closed), _tcp, PathFault.REFUSED, "bash, nc"),
            "resolv.conf": Expected(
                shell.resolv_conf(),
                lambda section: shell_readers.read_resolv_conf(section).nameservers,
                ("192.0.2.53",),
            ),
            "clock": Expected(shell.clock(), _clock_is_right, True, "date"),
            "docker": Expected(shell.docker_ready(1), lambda section: section, "never", "docker"),
        }


@pytest.fixture(scope="module", params=SHELLS)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with one shell and busybox; its folder is named after the shell."""
    folder = tmp_path_factory.mktemp("root") / str(request.param)
    for place in ("bin", "etc", "proc", "sys", "dev"):
        (folder / place).mkdir(parents=True)
    (folder / "etc" / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    _install("busybox", folder)
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in {*listed} - {"ash", "busybox"}:
        (folder / "bin" / applet).symlink_to("busybox")
    if folder.name != "ash":
        _install(folder.name, folder)
    return folder


def _install(program: str, folder: Path) -> None:
    """Put a program and the libraries that it is linked with into a root."""
    found = shutil.which(program)
    assert found, f"this test needs Debian's {program}"
    shutil.copy(found, folder / "bin" / program)
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    for library in (word for word in linked.split() if word.startswith("/")):
        target = folder / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


def _run(cases: dict[str, Expected], root: Path) -> tuple[Section, ...]:
    nonce = shell.new_nonce()
    steps = [expected.step for expected in cases.values()]
    script = shell.render([*steps, shell.interface()], limit=2, nonce=nonce)
    mounts = f"mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys && mount --rbind /dev {root}/dev"
    within = ["chroot", "--userspec=65534:65534", str(root), *SHELLS[root.name], "-c", script]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *within],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        timeout=shell.bound(steps, limit=2) + 10,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return shell_sections.parse(done.stdout.decode(errors="replace"), nonce)


def _read(expected: Expected, sections: tuple[Section, ...]) -> object:
    try:
        return expected.read(shell_sections.find(sections, expected.step, where=WHERE))
    except Unmeasured as error:
        return error


@contextlib.contextmanager
def _without(tools: str, root: Path) -> Iterator[None]:
    gone = [tool for tool in tools.split() if tool != "nothing"]
    for tool in gone:
        (root / "bin" / tool).unlink()
    try:
        yield
    finally:
        for tool in gone:
            (root / "bin" / tool).symlink_to("busybox")


def _default_device() -> str | None:
    for line in Path("/proc/net/route").read_text().splitlines():
        device, destination, *_ = line.split()
        if destination == "00000000":
            return device
    return None


EVERY_STEP = ("cat", "head", "tr", "timeout sleep")
"""What every step needs."""
NO_STEP = ("nothing", "timeout", "sleep", "ip")
"""What something else stands in for."""
ALL = {"cat", "date", "head", "nc", "nslookup", "sleep", "timeout", "tr", "wget"}
"""All that is needed in a bare root."""


@pytest.mark.parametrize("missing", [*NO_STEP, "wget", "nslookup", "nc", "date", *EVERY_STEP])
def test_each_step_is_right_or_names_what_is_missing(missing: str, cases: dict[str, Expected], root: Path) -> None:
    with _without(missing, root):
        sections = _run(cases, root)
    lacking = {"docker"} if missing in NO_STEP or (missing, root.name) == ("nc", "bash") else {"docker", missing}
    for what, expected in cases.items():
        said = _read(expected, sections)
        if missing in EVERY_STEP:
            assert isinstance(said, Unmeasured), (what, said)
            assert missing.replace(" ", ", ") in said.needs, what
        elif lacking & set(expected.tools.split(", ")):
            assert isinstance(said, Unmeasured), (what, said)
            assert expected.tools in said.needs, what
        else:
            assert said == expected.right, what


def test_no_other_tool_is_needed(cases: dict[str, Expected], root: Path) -> None:
    others = {file.name for file in (root / "bin").iterdir() if file.is_symlink()} - ALL
    with _without(" ".join(others), root):
        sections = _run(cases, root)
    said = {what: _read(expected, sections) for what, expected in cases.items() if expected.tools != "docker"}
    assert said == {what: expected.right for what, expected in cases.items() if expected.tools != "docker"}


@pytest.mark.parametrize("missing", ["nothing", "ip", "sed"])
def test_the_default_routes_device_is_found(missing: str, root: Path) -> None:
    with _without(missing, root):
        sections = _run({}, root)
    device = _default_device()
    section = shell_sections.find(sections, shell.interface(), where=WHERE)
    if device is None:
        with pytest.raises(Unmeasured, match="no default route"):
            shell_readers.read_interface(section)
    else:
        mtu = int(Path(f"/sys/class/net/{device}/mtu").read_text())
        assert shell_readers.read_interface(section) == shell_readers.Interface(name=device, mtu=mtu)
