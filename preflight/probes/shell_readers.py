"""What the tools of a probe script printed becomes facts: name lookups, web answers, connections, the machine.

What tools say is judged by their exit status where that tells (curl), and by their words where nothing else does
(busybox, nslookup); the words were recorded from busybox 1.35, bind 9.18, curl 7.88, GNU wget 1.21 and bash 5.2 in the
C locale. What Docker's client prints is read by `dind`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from preflight.clients.connect import is_address, sentence
from preflight.clients.gitlab_reply import judge_reply, shows_gitlab
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import DnsFault, Fault, PathFault
from preflight.probes.dns import Answer, judge_answer
from preflight.probes.gitlab import GitLabReply
from preflight.probes.shell_sections import CUT, Section, shown

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
        return DnsFault.TIMEOUT if section.exit in (*CUT, None) else DnsFault.NXDOMAIN
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
    if _SILENT.search(text) or section.exit in (*CUT, None):
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
    if not telling and section.exit in (*CUT, None):
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
    ends = {*CUT, 28} if section.tool == "curl" else {*CUT, 4}  # their own words for time that is over
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
    fault = PathFault.TIMEOUT if section.exit in (*CUT, None) else _path_words(section.said)
    if fault is PathFault.TIMEOUT:  # GNU wget tells how far it got, busybox's does not
        return PathFault.SILENT if re.search(r"\.\.\. connected\.", section.said) else fault
    if fault is None or section.output.strip() or re.search(r"^ {2}\S", section.said, re.MULTILINE):
        return PathFault.NOT_HTTP  # wget shows a first line that is no status
    return fault


def _curl_fault(status: int, words: str) -> PathFault:
    if status == _CURL_TIMEOUT or status in CUT:
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
        return shown(body or words)
    return shown("\n".join(part for part in (said, body) if part))


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
        ran_out = section.exit in (*CUT, None) or section.took > _AT_ONCE_REFUSED  # some nc say nothing
        fault = _path_words(section.output) or (PathFault.TIMEOUT if ran_out else PathFault.REFUSED)
    return Connection(
        target=f"{host}:{port}",
        fault=fault,
        cause=_path_cause(fault, host, port, section.took),
        evidence=Evidence(where=where, command=section.command, observed=shown(section.output), took=section.took),
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
