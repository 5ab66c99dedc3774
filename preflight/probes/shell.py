"""Observations from a node or a pod: a plan of steps becomes one POSIX shell script.

    steps = (lookup("registry.example.com", "10.0.0.2"), fetch("http://192.168.1.50/"), resolv_conf())
    script = render(steps, limit=5, nonce=new_nonce())     # for ``sh -c`` in a pod, or ``sh -s`` on a node
    sections = parse(what_it_printed, nonce)               # shell_sections.py
    answer = read_lookup(find(sections, steps[0], where="pod on k8s-worker-1"), frozenset())  # shell_readers.py

The script is probe.sh with a row of calls. Steps run up to `AT_ONCE` side by side, Docker's one after the other.
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from preflight.shell_command import ShellCommand, program

AT_ONCE = 6  # steps side by side; a small node can bear it, and a dead resolver times many names does not add up
_FEW_NAMES = 3  # queries to one resolver that are run side by side in any case
_SLACK = 2.0  # seconds a step may take beyond its limit until it is killed for good
_STARTUP = 3.0  # seconds for everything around the steps
_LONGEST_ARGUMENT = 2000


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to measure.

    Attributes:
        kind: the name of its function in probe.sh, without ``step_``.
        args: that function's arguments.
        limit: seconds it may take, if not as long as any other step.
        alone: whether it must not run beside others, because it waits for those before it.
    """

    kind: str
    args: tuple[str, ...] = ()
    limit: float | None = None
    alone: bool = False

    def __post_init__(self) -> None:
        """Refuse what no program may get as a word.

        Raises:
            ValueError: an argument is no printable line, begins as an option does, or is no URL where one is needed.
        """
        for place, arg in enumerate(self.args):
            if not arg.isprintable() or len(arg) > _LONGEST_ARGUMENT:
                msg = f"a step's argument must be one printable line: {arg[:80]!r}"
                raise ValueError(msg)
            if arg.startswith("-") and (self.kind != "docker_run" or place == 0):  # the image; behind it, its command
                msg = f"a step's argument must not begin as an option does: {arg[:80]!r}"
                raise ValueError(msg)
        if self.kind == "fetch" and not self.args[0].startswith(("http://", "https://")):
            msg = f"only http and https are fetched: {self.args[0][:80]!r}"
            raise ValueError(msg)

    @property
    def command(self) -> ShellCommand:
        """What a person can type to see the same."""
        return command_line(self.kind, self.args)


def lookup(name: str, resolver: str | None = None) -> Step:
    """The IPv4 addresses of a name, from one resolver (``10.0.0.2``, ``10.0.0.2:5353``) or as resolv.conf has it."""
    return Step("lookup", (name, *_server(resolver)) if resolver else (name,))


def resolve(name: str) -> Step:
    """A name as programs find it: hosts file, search list and all."""
    return Step("resolve", (name,))


def fetch(url: str) -> Step:
    """What a web server answers at a URL: header and beginning of the body, redirects not followed where possible."""
    return Step("fetch", (url,))


def tcp(host: str, port: int) -> Step:
    """Whether a TCP connection can be made."""
    return Step("tcp", (host, str(port)))


def connects(host: str, port: int, *, few: int, many: int) -> Step:
    """How long TCP connections take, one after the other: a few, and many where one was slow."""
    return Step("connects", (str(few), str(many), host, str(port)))


def queries(name: str, resolver: str, *, few: int, many: int) -> Step:
    """How long a resolver takes to answer, again and again: a few times, and many where once it was slow."""
    return Step("queries", (str(few), str(many), name, *_server(resolver)))


def resent(when: str) -> Step:
    """The kernel's counters of TCP, `when` this is; the steps before it have ended."""
    return Step("resent", (when,), alone=True)


def resolv_conf() -> Step:
    """The resolv.conf."""
    return Step("resolv_conf")


def clock() -> Step:
    """The clock. Run it in a script of its own and compare with the middle of that run."""
    return Step("clock")


def interface() -> Step:
    """The device of the default route, and its MTU."""
    return Step("interface")


def docker_ready(seconds: float) -> Step:
    """Wait until the Docker daemon answers; when it does not, no further Docker step is taken."""
    return Step("docker_ready", (str(math.ceil(seconds)),), limit=seconds + 5, alone=True)


def docker_version(limit: float | None = None) -> Step:
    """The versions of Docker's client and daemon."""
    return Step("docker_version", limit=limit, alone=True)


def docker_info(limit: float | None = None) -> Step:
    """The Docker daemon's own settings."""
    return Step("docker_info", limit=limit, alone=True)


def docker_pull(image: str, limit: float = 120.0) -> Step:
    """Pull an image in Docker-in-Docker."""
    return Step("docker_pull", (image,), limit=limit, alone=True)


def docker_run(image: str, command: Sequence[str], limit: float = 30.0) -> Step:
    """Run a command in a container of Docker-in-Docker."""
    return Step("docker_run", (image, *command), limit=limit, alone=True)


def docker_runs(mark: str, image: str, commands: Sequence[Sequence[str]], limit: float = 30.0) -> Step:
    """Run commands in one container of Docker-in-Docker, side by side: each becomes a section as of `docker_run`.

    Args:
        mark: a word that no command prints, drawn anew for each run.
        image: has a POSIX shell.
        commands: each with its arguments.
        limit: seconds for all of them.
    """
    return Step("docker_runs", (mark, image, *map(shlex.join, commands)), limit=limit, alone=True)


def docker_lookup(image: str, name: str, limit: float = 15.0) -> Step:
    """Resolve a name in a container of Docker-in-Docker; the image needs an nslookup."""
    return docker_run(image, ("nslookup", name), limit)


def new_nonce() -> str:
    """The word that begins the script's own lines; drawn anew for each run."""
    return f"p{secrets.token_hex(8)}"


_CHOICES: Mapping[str, frozenset[str]] = {
    "choose_lookup_tool": frozenset({"lookup", "queries"}),
    "choose_port_tool": frozenset({"tcp", "connects"}),
    "choose_web_tool": frozenset({"fetch"}),
}
"""The functions of probe.sh that choose a tool → the kinds of steps that use it."""


def render(steps: Sequence[Step], *, limit: float, nonce: str) -> str:
    """The script that takes the steps, each in at most `limit` seconds (whole ones, rounded up) or its own limit."""
    if not re.fullmatch(r"[A-Za-z0-9]{8,64}", nonce):
        msg = "a nonce is 8 to 64 letters and digits"
        raise ValueError(msg)
    functions = resources.files(__package__).joinpath("probe.sh").read_text(encoding="utf-8")
    shebang, _, functions = functions.partition("\n")
    rows = ["find_lacking", "choose_timer"]
    rows += [choice for choice, kinds in _CHOICES.items() if any(step.kind in kinds for step in steps)]
    rows.append(f"printf '\\n%s hello\\n' {nonce}")
    rows += _row_on_silent_resolvers(steps, limit)
    for row in _rows(steps):
        calls = [
            shlex.join(
                ["behind" if place else "measure", str(number), str(_seconds(step, limit)), step.kind, *step.args]
            )
            for place, (number, step) in enumerate(row)
        ]
        rows.append(calls[0] if len(calls) == 1 else f"{{ {calls[0]} 8>&1 >&7 | {' | '.join(calls[1:])}; }} 7>&1")
    rows.append(f"printf '%s goodbye\\n' {nonce}")
    plan = "\n".join(f"  {row}" for row in rows)
    return f"{shebang}\nnonce={nonce}\n{functions}\nmain() {{\n{plan}\n}}\n\nmain </dev/null\n"


def _row_on_silent_resolvers(steps: Sequence[Step], limit: float) -> list[str]:
    """Where many names are looked up, each resolver is tried with one of them before: it is waited for once."""
    queries = [step.args for step in steps if step.kind == "lookup" and len(step.args) > 1]
    servers = [",".join((*server, "")[:2]) for _, *server in queries]
    if not queries or max(map(servers.count, servers)) <= _FEW_NAMES:
        return []
    return [shlex.join(["find_silent", str(math.ceil(limit)), queries[0][0], *dict.fromkeys(servers)])]


def bound(steps: Sequence[Step], *, limit: float) -> float:
    """Seconds after which the script has ended, whatever happens in it."""
    first = limit + _SLACK if _row_on_silent_resolvers(steps, limit) else 0.0
    return _STARTUP + first + sum(max(_seconds(step, limit) + _SLACK for _, step in row) for row in _rows(steps))


def _seconds(step: Step, limit: float) -> int:
    return max(1, math.ceil(step.limit if step.limit is not None else limit))


def _rows(steps: Sequence[Step]) -> list[list[tuple[int, Step]]]:
    """The steps in order, in groups that run side by side."""
    rows: list[list[tuple[int, Step]]] = []
    for number, step in enumerate(steps):
        last = rows[-1] if rows else []
        if not last or step.alone or last[-1][1].alone or len(last) == AT_ONCE:
            rows.append([])
        rows[-1].append((number, step))
    return rows


def _server(resolver: str) -> tuple[str, ...]:
    """Address, and port where one is given."""
    if resolver.startswith("["):
        address, _, port = resolver[1:].partition("]")
        return (address, port[1:]) if port else (address,)
    address, colon, port = resolver.partition(":")
    return (address, port) if colon and ":" not in port else (resolver,)


_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "clock": ("date", "+%s"),
    "connects": ("nc", "-v", "-w", "2"),
    "docker_info": ("docker", "info"),
    "docker_pull": ("docker", "pull"),
    "docker_ready": ("docker", "info"),
    "docker_run": ("docker", "run", "--rm"),
    "docker_runs": ("docker", "run", "--rm"),
    "docker_version": ("docker", "version"),
    "fetch": ("curl", "-sS", "-i"),
    "interface": ("ip", "route"),
    "resent": ("cat", "/proc/net/netstat"),
    "resolv_conf": ("cat", "/etc/resolv.conf"),
    "resolve": ("getent", "hosts"),
    "tcp": ("nc", "-v", "-w", "5"),
}
_WITH_TOOL: Mapping[str, tuple[str, ...]] = {"curl": ("curl", "-sS", "-i"), "wget": ("wget", "-S", "-O", "-")}
KINDS = frozenset({*_COMMANDS, "lookup", "queries"})


def command_line(kind: str, args: Sequence[str], *, tool: str = "") -> ShellCommand:
    """What a person can type to see the same as a step; with the tool that was used, once that is known."""
    if kind == "lookup":
        return _lookup_command(tool, *args)
    if kind == "queries":
        return _lookup_command(tool, *args[2:])
    if kind == "connects":
        return program(*_COMMANDS[kind], *args[2:])
    if kind == "resent":
        return program(*_COMMANDS[kind])
    return program(*(_WITH_TOOL.get(tool) or _COMMANDS[kind]), *(() if kind == "docker_ready" else args))


def _lookup_command(tool: str, name: str, server: str = "", port: str = "") -> ShellCommand:
    if tool == "dig":
        return program("dig", *(["-p", port] if port else []), *([f"@{server}"] if server else []), name)
    if tool == "getent":
        return program("getent", "ahostsv4", name)
    return program("nslookup", *([f"-port={port}"] if port else []), name, *([server] if server else []))
