"""Looks from a node or a pod: a plan of steps becomes a POSIX shell script, and what it prints becomes facts.

    steps = (lookup("registry.example.com", "10.0.0.2"), fetch("http://192.168.1.50/"), resolv_conf())
    script = render(steps, limit=5, nonce=new_nonce())     # for ``sh -c`` in a pod, or ``sh -s`` on a node
    sections = parse(what_it_printed, nonce)
    answer = read_lookup(find(sections, steps[0], where="pod on k8s-worker-1"), frozenset())

The script is probe.sh with a row of calls. Steps run up to `AT_ONCE` side by side, Docker's one after the other.
Reading is pure, and never trusts what a step printed: only lines that begin with the run's nonce are the script's own.

What tools say is judged by their exit status where that tells (curl), and by their words where nothing else does
(busybox, nslookup); the words were recorded from busybox 1.35, bind 9.18, curl 7.88, GNU wget 1.21, bash 5.2 and
docker 20.10 and 28.2 in the C locale.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import resources
from ipaddress import ip_address
from urllib.parse import urlsplit

from preflight.clients.connect import is_address, sentence
from preflight.clients.gitlab_reply import judge_reply, shows_gitlab
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import DindFault, DnsFault, Fault, PathFault
from preflight.probes.dns import Answer, judge_answer
from preflight.probes.gitlab import GitLabReply

AT_ONCE = 6  # steps side by side; a small node can bear it, and a dead resolver times many names does not add up
_SLACK = 2.0  # seconds a step may take beyond its limit until it is killed for good
_STARTUP = 3.0  # seconds for everything around the steps
_LONGEST_ARGUMENT = 2000
_MOST_SHOWN = 4000  # characters of an output that go into the evidence, which shows fewer
_NOT_STARTED = (126, 127)
_CUT = (124, 137, 143)  # exit statuses of a command that was ended: timeout's own, and 128 + KILL, TERM


# ---- the plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to look at.

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
        for arg in self.args:
            if not arg.isprintable() or len(arg) > _LONGEST_ARGUMENT:
                msg = f"a step's argument must be one printable line: {arg[:80]!r}"
                raise ValueError(msg)


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
    """What the Docker daemon says about itself."""
    return Step("docker_info", limit=limit, alone=True)


def docker_pull(image: str, limit: float = 120.0) -> Step:
    """Pull an image inside."""
    return Step("docker_pull", (image,), limit=limit, alone=True)


def docker_run(image: str, words: Sequence[str], limit: float = 30.0) -> Step:
    """Run a command in a container inside."""
    return Step("docker_run", (image, *words), limit=limit, alone=True)


def docker_lookup(image: str, name: str, limit: float = 15.0) -> Step:
    """Resolve a name in a container inside; the image needs an nslookup."""
    return docker_run(image, ("nslookup", name), limit)


def new_nonce() -> str:
    """The word that begins the script's own lines; drawn anew for each run."""
    return f"p{secrets.token_hex(8)}"


def render(steps: Sequence[Step], *, limit: float, nonce: str) -> str:
    """The script that takes the steps, each in at most `limit` seconds (whole ones, rounded up) or its own limit."""
    if not re.fullmatch(r"[A-Za-z0-9]{8,64}", nonce):
        msg = "a nonce is 8 to 64 letters and digits"
        raise ValueError(msg)
    functions = resources.files(__package__).joinpath("probe.sh").read_text(encoding="utf-8")
    shebang, _, functions = functions.partition("\n")
    asks = any(step.kind == "lookup" for step in steps)
    rows = ["find_lacking", "choose_timer", *(["choose_asker"] if asks else []), f"printf '\\n%s hello\\n' {nonce}"]
    for row in _rows(steps):
        calls = [
            shlex.join(
                ["behind" if place else "measure", str(number), str(_seconds(step, limit)), step.kind, *step.args]
            )
            for place, (number, step) in enumerate(row)
        ]
        rows.append(" | ".join(calls))
    rows.append(f"printf '%s goodbye\\n' {nonce}")
    plan = "\n".join(f"  {row}" for row in rows)
    return f"{shebang}\nnonce={nonce}\n{functions}\nmain() {{\n{plan}\n}}\n\nmain </dev/null\n"


def bound(steps: Sequence[Step], *, limit: float) -> float:
    """Seconds after which the script has ended, whatever it met."""
    return _STARTUP + sum(max(_seconds(step, limit) + _SLACK for _, step in row) for row in _rows(steps))


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


# ---- what came back --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one step showed.

    Attributes:
        kind: as in `Step`.
        args: as in `Step`.
        exit: its exit status; None when it was cut off before its end.
        took: seconds.
        output: what it printed, at most 64 KB.
        said: what the tool said beside its output (`fetch` alone).
        tool: which tool was used, where there is a choice.
        lacks: the tools of which it needs one; empty when it has one, and everything else that any step needs.
        skipped: whether it was not tried, because Docker's daemon was not ready.
        clock: the machine's clock at its end, seconds since 1970 (`fetch` alone).
    """

    kind: str
    args: tuple[str, ...] = ()
    exit: int | None = None
    took: float = 0.0
    output: str = field(default="", repr=False)
    said: str = field(default="", repr=False)
    tool: str = ""
    lacks: str = ""
    skipped: bool = False
    clock: float | None = None

    @property
    def command(self) -> str:
        """What a person can type to see the same."""
        return command_of(self)


def parse(output: str, nonce: str) -> tuple[Section, ...]:
    """The sections in what the script printed, whatever is around and in them; a cut-off one has no exit status."""
    sections = (_section(chunk) for chunk in _own_chunks(output, nonce))
    return tuple(one for one in sections if _takes(one.kind, one.args))


_ARGUMENTS = {"docker_pull": (1, 1), "docker_run": (1, 1000), "fetch": (1, 1), "lookup": (1, 3), "tcp": (2, 2)}
"""How many arguments a kind of step takes, at least and at most; any other takes those that it was given."""


def _takes(kind: str, args: Sequence[str]) -> bool:
    """Whether a step can have been this one: what was lost or bent on the way is no section."""
    least, most = _ARGUMENTS.get(kind, (0, 1000))
    return (
        kind in {*_COMMANDS, "lookup"}
        and least <= len(args) <= most
        and (kind != "tcp" or bool(re.fullmatch("[0-9]{1,9}", args[1])))
    )


_Line = tuple[str, str]  # ours: the word after the nonce and the rest; else: "" and the line


def _own_chunks(output: str, nonce: str) -> Iterable[list[_Line]]:
    chunk: list[_Line] | None = None
    for line in output.split("\n"):
        word, _, rest = line.removeprefix(f"{nonce} ").rstrip("\r").partition(" ")
        if not line.startswith(f"{nonce} "):
            if chunk is not None:
                chunk.append(("", line))
        elif word == "begin":
            if chunk is not None:
                yield chunk  # the one before was cut off
            chunk = [(word, rest)]
        elif chunk is not None:
            chunk.append((word, rest))
            if word in ("end", "skipped"):
                yield chunk
                chunk = None
    if chunk is not None:
        yield chunk


def _section(chunk: Sequence[_Line]) -> Section:
    told: dict[str, str] = {}
    for word, rest in chunk:
        told.setdefault(word, rest)
    streams: dict[str, list[str]] = {"output": [], "said": []}
    into: list[str] = []
    for word, rest in chunk:
        if word in streams:
            into = streams[word]
        elif not word:
            into.append(rest)
    began, _, ended = told.get("end", "").partition(" ")
    status = told.get("exit", "")
    cut_at_most = "end" in told and not status  # its output was longer than is taken, of which it died
    return Section(
        kind=told["begin"].partition(" ")[2],
        args=tuple(rest for word, rest in chunk if word == "arg"),
        exit=int(status) if re.fullmatch("[0-9]{1,9}", status) else 141 if cut_at_most else None,
        took=max(0.0, _number(ended) - _number(began)) if "end" in told else 0.0,
        output="\n".join(streams["output"]).rstrip("\n"),
        said="\n".join(streams["said"]).strip("\n"),
        tool=told.get("tool", ""),
        lacks=told.get("lacks", ""),
        skipped="skipped" in told,
        clock=_number(told.get("clock", "")) or None,
    )


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def find(sections: Iterable[Section], step: Step, *, where: str) -> Section:
    """The section of a step.

    Raises:
        Unmeasured: the script ended before it, or its tool is missing there, or Docker's daemon was not ready.
    """
    found = next((one for one in sections if (one.kind, one.args) == (step.kind, step.args)), None)
    if found is None:
        reason = f"The look from {where} ended before it came to `{command_of(step)}`."
        raise Unmeasured(reason, needs=f"a POSIX shell at {where} that runs the probe script to its end")
    if found.lacks:
        several = "," in found.lacks
        missing = f"none of {found.lacks}" if several else f"no {found.lacks}"
        reason = f"At {where} there is {missing}, so `{command_of(step)}` could not be tried."
        raise Unmeasured(reason, needs=f"{'one of ' if several else ''}{found.lacks} at {where}")
    if found.exit in _NOT_STARTED and found.kind != "docker_run":
        reason = f"At {where} `{command_of(found)}` could not be started: {found.said or found.output}"
        raise Unmeasured(reason, needs=f"a working {found.tool or 'command'} at {where}")
    if found.skipped:
        reason = f"`{command_of(step)}` was not tried at {where}: the Docker daemon was not ready."
        raise Unmeasured(reason, needs="a Docker daemon that becomes ready")
    return found


_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "clock": ("date", "+%s"),
    "curl": ("curl", "-sS", "-i"),
    "docker_info": ("docker", "info"),
    "docker_pull": ("docker", "pull"),
    "docker_ready": ("docker", "info"),
    "docker_run": ("docker", "run", "--rm"),
    "docker_version": ("docker", "version"),
    "fetch": ("curl", "-sS", "-i"),
    "interface": ("ip", "route"),
    "resolv_conf": ("cat", "/etc/resolv.conf"),
    "resolve": ("getent", "hosts"),
    "tcp": ("nc", "-v", "-w", "5"),
    "wget": ("wget", "-S", "-O", "-"),
}


def command_of(step: Step | Section) -> str:
    """What a person can type to see the same as a step; with the tool that was used, once that is known."""
    tool = step.tool if isinstance(step, Section) else ""
    if step.kind == "lookup":
        return _lookup_command(tool, *step.args)
    args = () if step.kind == "docker_ready" else step.args
    return shlex.join([*(_COMMANDS.get(tool) or _COMMANDS[step.kind]), *args])


def _lookup_command(tool: str, name: str, server: str = "", port: str = "") -> str:
    if tool == "dig":
        return shlex.join(["dig", *(["-p", port] if port else []), *([f"@{server}"] if server else []), name])
    if tool == "getent":
        return shlex.join(["getent", "ahostsv4", name])
    return shlex.join(["nslookup", *([f"-port={port}"] if port else []), name, *([server] if server else [])])


# ---- names -----------------------------------------------------------------------------------------------------------

_STATUS_FAULTS = {"NXDOMAIN": DnsFault.NXDOMAIN, "SERVFAIL": DnsFault.SERVFAIL, "REFUSED": DnsFault.REFUSED}
_CANT_FIND = re.compile(r"^\*\* server can't find \S+: (?P<status>[A-Z]+)", re.MULTILINE)
_DIG_STATUS = re.compile(r"^;; ->>HEADER<<- .*\bstatus: (?P<status>[A-Z]+)", re.MULTILINE)
_DIG_RECORD = re.compile(r"^\S+\s+\d+\s+IN\s+(?:A|AAAA)\s+(?P<address>\S+)\s*$", re.MULTILINE)
_ADDRESS = re.compile(r"^Address(?: \d+)?:\s*(?P<address>[0-9A-Fa-f:.]+)(?:\s+\S+)?\s*$", re.MULTILINE)
_NAME = re.compile(r"^Name:\s", re.MULTILINE)
_GETENT = re.compile(r"^(?P<address>[0-9A-Fa-f:.]+)\s+(?:STREAM\b|\S)", re.MULTILINE)
_UNREACHABLE = re.compile(
    r"connection refused|network (?:is )?unreachable|no route to host|host (?:is )?unreachable", re.IGNORECASE
)
_SILENT = re.compile(r"timed out|no servers could be reached", re.IGNORECASE)
# musl's and glibc's words for getaddrinfo's errors, from nslookup of busybox before 1.30
_UNKNOWN_NAME = re.compile(
    r"can't resolve '(?!\(null\)).*(?:does not resolve|Name or service not known|NXDOMAIN)", re.IGNORECASE
)
_TRY_AGAIN = re.compile(r"can't resolve '(?!\(null\))", re.IGNORECASE)  # "Try again", or (glibc) no reason at all
# words of dig, nslookup and busybox for a packet that is no answer; one may have come after it all the same
_GARBLED = re.compile(
    r"malformed message packet|query response not set|bad packet|short \(< header size\)|ID mismatch|: Parse error"
)
_NO_DATA = re.compile(r"can't find \S+: No answer|No address associated with", re.IGNORECASE)


def read_lookup(section: Section, expected: frozenset[str]) -> Answer:
    """What a resolver said to one name. A failure of AAAA alone is none."""
    name = section.args[-1] if section.kind == "docker_run" else section.args[0]
    found = _addresses(section)
    fault = None if _has_ipv4(found) or (found and expected and found & expected) else _lookup_fault(section, found)
    answer = Answer(name=name, fault=fault, addresses=found, said=_lookup_words(section, fault), took=section.took)
    return judge_answer(answer, expected)


def read_resolve(section: Section) -> tuple[tuple[str, ...], str]:
    """The IPv4 addresses that programs find, and the full name that was found in the place of the one asked for."""
    rows = [line.split() for line in section.output.splitlines() if line.strip()]
    told = [row for row in rows if is_address(row[0]) and ":" not in row[0]]
    full = next((row[-1].rstrip(".") for row in told if len(row) > 1 and row[-1] not in _SOCKETS), "")
    return tuple(dict.fromkeys(row[0] for row in told)), full


_SOCKETS = frozenset({"STREAM", "DGRAM", "RAW"})


def _addresses(section: Section) -> frozenset[str]:
    if section.tool == "getent":
        found = [match["address"] for match in _GETENT.finditer(section.output)]
    elif section.tool == "dig":
        found = [match["address"] for match in _DIG_RECORD.finditer(section.output)]
    else:
        name = _NAME.search(section.output)  # before it stands the address of the resolver
        found = [match["address"] for match in _ADDRESS.finditer(section.output, name.end())] if name else []
    return frozenset(str(ip_address(address)) for address in found if is_address(address))


def _has_ipv4(addresses: frozenset[str]) -> bool:
    return any("." in address for address in addresses)


def _lookup_fault(section: Section, found: frozenset[str]) -> DnsFault:
    """Why there is no IPv4 address."""
    text = section.output
    status = (_DIG_STATUS if section.tool == "dig" else _CANT_FIND).search(text)
    if status and status["status"] in _STATUS_FAULTS:
        return _STATUS_FAULTS[status["status"]]
    if section.tool == "getent":
        return DnsFault.TIMEOUT if section.exit in (*_CUT, None) else DnsFault.NXDOMAIN
    checks = (
        (_GARBLED, DnsFault.GARBLED),
        (_UNREACHABLE, DnsFault.UNREACHABLE),
        (_NO_DATA, DnsFault.NO_ANSWER),
        (_UNKNOWN_NAME, DnsFault.NXDOMAIN),
        (_TRY_AGAIN, DnsFault.SERVFAIL),
    )
    for words, fault in checks:
        if words.search(text):
            return fault
    if _SILENT.search(text) or section.exit in (*_CUT, None):
        return DnsFault.TIMEOUT
    if found or re.search(r"^Server:", text, re.MULTILINE) or (status and status["status"] == "NOERROR"):
        return DnsFault.NO_ANSWER
    return DnsFault.GARBLED


def _lookup_words(section: Section, fault: DnsFault | None) -> str:
    """The tool's words that tell, without its chatter."""
    if fault is None:
        return ", ".join(sorted(_addresses(section)))
    status = _DIG_STATUS.search(section.output)
    if status:
        return f"status: {status['status']}"
    telling = [
        line.strip() for line in section.output.splitlines() if re.match(r"\*\*|;; |nslookup:|dig:", line.strip())
    ]
    telling = [
        line for line in telling if not re.match(r";; (flags|QUESTION|OPT|global|Got answer|Query|WHEN|MSG)", line)
    ]
    if not telling and section.exit in (*_CUT, None):
        return f"no answer within {max(1, round(section.took))} s"
    return "; ".join(dict.fromkeys(telling))[:300] or DnsFault(fault).value


# ---- the web ---------------------------------------------------------------------------------------------------------

_CURL_FAULTS = {
    6: PathFault.UNRESOLVED,
    1: PathFault.NOT_HTTP,  # "Received HTTP/0.9 when not allowed"
    8: PathFault.NOT_HTTP,
    35: PathFault.TLS_HANDSHAKE,
    51: PathFault.TLS_WRONG_NAME,
    52: PathFault.RESET,
    55: PathFault.RESET,
    56: PathFault.RESET,
    58: PathFault.TLS_HANDSHAKE,
    59: PathFault.TLS_HANDSHAKE,
    60: PathFault.TLS_UNTRUSTED,
    77: PathFault.TLS_UNTRUSTED,
}
_CURL_CONNECT, _CURL_TIMEOUT = 7, 28
_CERTIFICATE_WORDS = (
    (re.compile(r"certificate has expired|not yet valid", re.IGNORECASE), PathFault.TLS_EXPIRED),
    (
        re.compile(r"no alternative certificate subject name|host ?name mismatch|doesn't match", re.IGNORECASE),
        PathFault.TLS_WRONG_NAME,
    ),
)
# Words of errno (C locale), and of the tools themselves. The first that is found decides.
_AT_ONCE_REFUSED = 0.9  # seconds; a refusal does not take as long
_PATH_WORDS: tuple[tuple[re.Pattern[str], PathFault], ...] = (
    (
        re.compile(
            r"bad address|unable to resolve|could ?n(?:o|')t resolve|Name or service not known|Name does not resolve",
            re.IGNORECASE,
        ),
        PathFault.UNRESOLVED,
    ),
    (re.compile(r"Connection refused"), PathFault.REFUSED),
    (re.compile(r"No route to host|(?:Network|Host) is unreachable"), PathFault.UNREACHABLE),
    (
        re.compile(r"certificate verif|self.signed certificate|unable to get (?:local )?issuer", re.IGNORECASE),
        PathFault.TLS_UNTRUSTED,
    ),
    (re.compile(r"TLS|SSL|ssl_client|handshake", re.IGNORECASE), PathFault.TLS_HANDSHAKE),
    (re.compile(r"Connection reset|Broken pipe|error getting response|No data received"), PathFault.RESET),
    (re.compile(r"timed out|TIMEOUT"), PathFault.TIMEOUT),
)


@dataclass(frozen=True, slots=True)
class _Block:
    """The header of one answer."""

    status: int
    headers: Mapping[str, str]


def read_fetch(section: Section, url: str, *, where: str) -> GitLabReply:
    """What answers at GitLab's URL from a node or a pod, judged as `gitlab.look` judges it from here.

    `clock_offset` is the server's clock minus that of the node.
    """
    blocks, body = _answers(section)
    evidence = Evidence(where=where, command=section.command, observed=_fetch_shown(section), took=section.took)
    fault: Fault | None
    if not blocks:
        fault = _fetch_fault(section)
        return GitLabReply(
            target=url,
            fault=fault,
            cause=_path_cause(fault, *_place(url), section.took),
            evidence=evidence,
            url=url,
            status=None,
            location="",
            is_gitlab=False,
            clock_offset=None,
            took=section.took,
        )
    fault, cause, known = None, "", False
    asked = url
    for number, block in enumerate(blocks):  # busybox's wget follows redirects: every answer on the way must be right
        content = body if number == len(blocks) - 1 else ""
        known = known or shows_gitlab(block.status, block.headers, content.encode(), asked)
        if fault is None and not _told_too_little(section, block, asked):
            fault, cause = judge_reply(block.status, block.headers, content, asked)
        asked = block.headers.get("location", asked)
    return GitLabReply(
        target=url,
        fault=fault,
        cause=cause,
        evidence=evidence,
        url=url,
        status=blocks[0].status,
        location=blocks[0].headers.get("location", ""),
        is_gitlab=known,
        clock_offset=_clock_offset(blocks, section.clock),
        took=section.took,
    )


def was_cut(section: Section) -> bool:
    """Whether a fetch was ended before all had come, though a header may have."""
    ends = {*_CUT, 28} if section.tool == "curl" else {*_CUT, 4}  # their own words for time that is over
    return section.exit is None or section.exit in ends


def _told_too_little(section: Section, block: _Block, url: str) -> bool:
    """Whether busybox's wget kept the mark of a healthy GitLab to itself: of a 401 it shows the status alone."""
    return section.tool == "wget" and not block.headers and block.status == 401 and "/api/v4/" in url  # noqa: PLR2004


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _answers(section: Section) -> tuple[list[_Block], str]:
    """The headers of the answers, in order, and the last one's body."""
    if section.tool == "curl":
        head, _, body = section.output.replace("\r\n", "\n").partition("\n\n")
        while re.match(r"HTTP/\S+ 1\d\d", head):  # 100 Continue and its like stand before the answer
            head, _, body = body.partition("\n\n")
        block = _block(head.split("\n"))
        return ([block] if block else []), body
    groups: list[list[str]] = []
    for line in section.said.replace("\r", "").split("\n"):
        if re.match(r"\s*HTTP/\S+ \d{3}", line):
            groups.append([line.strip()])
        elif groups and re.match(r"\s+\S+:", line):
            groups[-1].append(line.strip())
    return [block for block in map(_block, groups) if block], section.output


def _block(lines: Sequence[str]) -> _Block | None:
    status = re.match(r"HTTP/\S+ (\d{3})", lines[0]) if lines else None
    if status is None:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return _Block(int(status[1]), headers)


def _fetch_fault(section: Section) -> PathFault:
    """Why no answer came."""
    if section.tool == "curl" and section.exit is not None:
        return _curl_fault(section.exit, section.said or section.output)
    fault = PathFault.TIMEOUT if section.exit in (*_CUT, None) else _path_words(section.said)
    if fault is PathFault.TIMEOUT:  # GNU wget tells how far it got, busybox's does not
        return PathFault.SILENT if re.search(r"\.\.\. connected\.", section.said) else fault
    if fault is None or section.output.strip() or re.search(r"^ {2}\S", section.said, re.MULTILINE):
        return PathFault.NOT_HTTP  # wget shows a first line that is no status
    return fault


def _curl_fault(status: int, words: str) -> PathFault:
    if status == _CURL_TIMEOUT or status in _CUT:
        if re.search(r"Could not resolve|Resolving timed out", words):
            return PathFault.UNRESOLVED
        return PathFault.SILENT if re.search(r"^\* Connected to ", words, re.MULTILINE) else PathFault.TIMEOUT
    if status == _CURL_CONNECT:
        return _path_words(words) or PathFault.REFUSED
    fault = _CURL_FAULTS.get(status) or _path_words(words) or PathFault.NOT_HTTP
    if fault in (PathFault.TLS_UNTRUSTED, PathFault.TLS_HANDSHAKE):
        return next((sharper for pattern, sharper in _CERTIFICATE_WORDS if pattern.search(words)), fault)
    return fault


def _path_words(words: str) -> PathFault | None:
    return next((fault for pattern, fault in _PATH_WORDS if pattern.search(words)), None)


def _path_cause(fault: PathFault | None, host: str, port: int, took: float) -> str:
    return sentence(fault, host, port, deadline=max(1, round(took))) if fault else ""


def _fetch_shown(section: Section) -> str:
    """What a person would see: curl's bytes on the wire left out, its words kept when nothing was answered."""
    said = section.said.replace("\r", "")
    body = section.output.replace("\r\n", "\n")
    if section.tool == "curl":
        words = "\n".join(line for line in said.split("\n") if not re.match(r"[<>{}] ?|\* ", line))
        return _shown(body or words)
    return _shown("\n".join(part for part in (said, body) if part))


def _shown(text: str) -> str:
    """What is kept of an output as evidence: its beginning and its end, for it may be 64 KB."""
    text = text.strip()
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}\n…\n{text[-_MOST_SHOWN // 2 :]}"


def _clock_offset(blocks: Sequence[_Block], node_clock: float | None) -> float | None:
    date = blocks[-1].headers.get("date") or blocks[0].headers.get("date")
    if not date or node_clock is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - node_clock
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Fact):
    """Whether a TCP connection can be made."""

    host: str
    port: int


def read_tcp(section: Section, *, where: str) -> Connection:
    """How a connection ended."""
    host, port = section.args[0], int(section.args[1])
    fault: PathFault | None = None
    if section.exit != 0:
        ran_out = section.exit in (*_CUT, None) or section.took > _AT_ONCE_REFUSED  # some nc say nothing
        fault = _path_words(section.output) or (PathFault.TIMEOUT if ran_out else PathFault.REFUSED)
    return Connection(
        target=f"{host}:{port}",
        fault=fault,
        cause=_path_cause(fault, host, port, section.took),
        evidence=Evidence(where=where, command=section.command, observed=_shown(section.output), took=section.took),
        host=host,
        port=port,
    )


# ---- the machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """What a resolv.conf asks of the resolver library.

    Attributes:
        nameservers: in order; glibc and musl use the first three.
        searches: the search list; the last `search` or `domain` line counts.
        options: such as ``ndots:5``.
    """

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def read_resolv_conf(section: Section) -> ResolvConf:
    """The resolv.conf, whoever printed it (`resolv_conf`, or ``docker_run`` with cat)."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in section.output.splitlines():
        words = re.split(r"[#;]", line, maxsplit=1)[0].split()
        match words:
            case ["nameserver", address, *_]:
                nameservers.append(address)
            case ["search" | "domain", *domains]:
                searches = tuple(domain.rstrip(".") or "." for domain in domains)
            case ["options", *some]:
                options += some
            case _:
                pass
    return ResolvConf(nameservers=tuple(nameservers), searches=searches, options=tuple(options))


def read_clock(section: Section) -> float:
    """The clock, seconds since 1970; half a second is added where the machine tells whole seconds only.

    Raises:
        Unmeasured: it told no time.
    """
    lines = section.output.split()
    for line in lines:
        if re.fullmatch(r"\d{9,11}\.\d{3,9}", line):
            return float(line)
    for line in lines:
        if re.fullmatch(r"\d{9,11}", line):
            return int(line) + 0.5
    reason = f"`date +%s` printed no time: {section.output[:100]!r}"
    raise Unmeasured(reason, needs="a `date` that knows +%s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface."""

    name: str
    mtu: int


def read_interface(section: Section) -> Interface:
    """The interface of the default route.

    Raises:
        Unmeasured: there is no default route, or its interface tells no MTU.
    """
    lines = section.output.split("\n")
    if section.exit == 0 and len(lines) > 1 and lines[1].strip().isdigit():
        return Interface(name=lines[0].strip(), mtu=int(lines[1]))
    reason = f"The MTU could not be read: {section.output[:200] or 'nothing was printed'}"
    raise Unmeasured(reason, needs="`ip` and /sys")


# ---- Docker in Docker ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerReady(Fact):
    """Whether the Docker daemon answered in time.

    Attributes:
        seconds: until it did, counted from the start of the script; None when it did not.
    """

    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerInfo(Fact):
    """What Docker says about itself.

    Attributes:
        client: the client's version.
        version: the daemon's version.
        storage_driver: ``overlay2``, as it should be; ``vfs`` copies every layer and is slow.
        insecure_registries: registries it speaks plain HTTP to.
    """

    client: str = ""
    version: str = ""
    storage_driver: str = ""
    cgroup_version: str = ""
    insecure_registries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPull(Fact):
    """A pull by the Docker daemon.

    Attributes:
        seconds: how long it took; None when it failed.
        fresh: whether layers were really moved; None when it failed.
    """

    image: str
    seconds: float | None
    fresh: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerRun(Fact):
    """A command in a container of the Docker daemon.

    Attributes:
        exit: its exit status; None when it was cut off.
        output: what it printed.
    """

    exit: int | None
    output: str = field(default="", repr=False)


_DAEMON_FAULTS: tuple[tuple[re.Pattern[str], DindFault], ...] = (
    (re.compile(r"HTTP request to an HTTPS server|HTTP response to HTTPS client|x509:|tls: "), DindFault.TLS_MISMATCH),
    (re.compile(r"Cannot connect to the Docker daemon|error during connect|dial tcp"), DindFault.UNREACHABLE),
)
_DOCKER_WORDS = re.compile(
    r"Cannot connect to the Docker daemon|error during connect|Error response from daemon|^ERROR:|^docker: |^Error",
    re.IGNORECASE,
)
_NO_WORDS = re.compile(r"(?:.*:|Terminated|Killed)?")  # a heading, the shell's own word, or nothing at all
_DOCKER_FAILED = 125  # docker run's own exit status, when no container was run


def read_docker_ready(section: Section, *, where: str) -> DockerReady:
    """How the wait for the daemon ended."""
    ready = section.exit == 0
    fault: DindFault | None = None
    cause = ""
    if not ready:
        words = _docker_words(section)
        if _NO_WORDS.fullmatch(words):
            words = "it gave `docker info` no answer"
        fault = _daemon_fault(words)
        if fault is None or "Is the docker daemon running?" in words:  # nobody listens: not yet, or no more
            fault = DindFault.DAEMON_SLOW
        cause = f"after {section.took:.0f} s the Docker daemon was not ready: {words}"
        if fault is DindFault.TLS_MISMATCH:
            cause = f"Docker's client and daemon do not agree on TLS: {words}"
    return DockerReady(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=_shown(section.output), took=section.took),
        seconds=section.took if ready else None,
    )


def read_docker_info(version: Section, info: Section, *, where: str) -> DockerInfo:
    """The versions and what the daemon says about itself; it is judged by whom it concerns."""
    versions, told = _json(version.output), _json(info.output)
    server = versions.get("Server")
    client = versions.get("Client")
    registries = told.get("RegistryConfig")
    fault: DindFault | None = None
    cause = ""
    if not isinstance(server, dict) or not told.get("Driver"):
        words = _docker_words(version) if not isinstance(server, dict) else _docker_words(info)
        fault = _daemon_fault(words) or DindFault.UNREACHABLE
        cause = f"the Docker daemon told nothing about itself: {words}"
    shown = {
        name: told.get(name) for name in ("ServerVersion", "Driver", "CgroupVersion", "OperatingSystem") if name in told
    }
    return DockerInfo(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where=where,
            command=f"{version.command}; {info.command}",
            observed=json.dumps(shown) if not fault else _shown(f"{version.output}\n{info.output}"),
            took=version.took + info.took,
        ),
        client=_text(client, "Version"),
        version=_text(server, "Version") or _text(told, "ServerVersion"),
        storage_driver=_text(told, "Driver"),
        cgroup_version=_text(told, "CgroupVersion"),
        insecure_registries=_insecure(registries),
    )


def read_docker_pull(section: Section, *, where: str) -> DockerPull:
    """How a pull by the daemon ended."""
    image = section.args[0]
    ok = section.exit == 0
    cause = ""
    if not ok:
        words = _docker_words(section) or f"no end within {section.took:.0f} s"
        cause = f"the Docker daemon could not pull {image}: {words}"
    return DockerPull(
        target=image,
        fault=None if ok else DindFault.PULL_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=_shown(section.output), took=section.took),
        image=image,
        seconds=section.took if ok else None,
        fresh=("Downloaded newer image" in section.output) if ok else None,
    )


def read_docker_run(section: Section, *, where: str) -> DockerRun:
    """How a command in a container inside ended; any exit status but 0 is a fault."""
    ok = section.exit == 0
    cause = ""
    if not ok:
        ended = (
            f"ended with {section.exit}"
            if section.exit not in (*_CUT, None)
            else f"had no end within {section.took:.0f} s"
        )
        words = _docker_words(section) if section.exit == _DOCKER_FAILED else section.output.strip()[-300:]
        cause = f"`{section.command}` {ended}: {words or 'it printed nothing'}"
    return DockerRun(
        target=section.args[0],
        fault=None if ok else DindFault.RUN_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=_shown(section.output), took=section.took),
        exit=section.exit,
        output=section.output,
    )


def _docker_words(section: Section) -> str:
    """The lines in which Docker's client says what went wrong."""
    lines = [line.strip() for line in section.output.splitlines()]
    told = _json(section.output).get("ServerErrors")  # docker before 26 ends `info --format` with 0 all the same
    if isinstance(told, list):
        lines += [str(one) for one in told]
    telling = [
        line.removeprefix("ERROR: ") for line in lines if _DOCKER_WORDS.search(line) and not line.startswith("{")
    ]
    return "; ".join(dict.fromkeys(telling))[:500] or (lines[-1][:300] if lines else "")


def _daemon_fault(words: str) -> DindFault | None:
    return next((fault for pattern, fault in _DAEMON_FAULTS if pattern.search(words)), None)


def _json(text: str) -> dict[str, object]:
    """The JSON object among the lines of an output that may hold warnings, too."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict):
                return told
    return {}


def _text(value: object, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _insecure(registries: object) -> tuple[str, ...]:
    if not isinstance(registries, dict):
        return ()
    cidrs = registries.get("InsecureRegistryCIDRs")
    names = registries.get("IndexConfigs")
    found = [str(cidr) for cidr in cidrs] if isinstance(cidrs, list) else []
    if isinstance(names, dict):
        found += [
            str(name) for name, entry in names.items() if isinstance(entry, dict) and entry.get("Secure") is False
        ]
    return tuple(found)
