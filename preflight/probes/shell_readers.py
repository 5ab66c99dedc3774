"""What the tools of a probe script printed becomes facts: name lookups, web answers, connections, the machine.

A tool is judged by its exit status where that says why (curl), and by its messages where nothing else does (busybox,
nslookup); the messages were recorded from busybox 1.35, bind 9.18, curl 7.88, GNU wget 1.21 and bash 5.2 in the C
locale. What Docker's client prints is read by `dind`.
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
from preflight.probes.shell_sections import CUT, Section, excerpt

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
# musl's and glibc's messages for getaddrinfo's errors, from nslookup of busybox before 1.30
_UNKNOWN_NAME = re.compile(
    r"can't resolve '(?!\(null\)).{0,400}(?:does not resolve|Name or service not known|NXDOMAIN)", re.IGNORECASE
)
_TRY_AGAIN = re.compile(r"can't resolve '(?!\(null\))", re.IGNORECASE)  # "Try again", or (glibc) no reason at all
# messages of dig, nslookup and busybox for a packet that is no answer; one may have come after it all the same
_GARBLED = re.compile(
    r"malformed message packet|query response not set|bad packet|short \(< header size\)|ID mismatch|: Parse error"
)
_NO_DATA = re.compile(r"can't find \S+: No answer|No address associated with", re.IGNORECASE)


def read_lookup(section: Section, expected: frozenset[str]) -> Answer:
    """What a resolver answered for one name. A failure of AAAA alone is none."""
    name = section.args[-1] if section.kind == "docker_run" else section.args[0]
    addresses = _addresses(section)
    usable = _has_ipv4(addresses) or (expected and addresses & expected)
    fault = None if usable else _lookup_fault(section, addresses)
    message = _lookup_message(section, fault)
    answer = Answer(name=name, fault=fault, addresses=addresses, message=message, took=section.took)
    return judge_answer(answer, expected)


def read_resolve(section: Section) -> tuple[tuple[str, ...], str]:
    """The IPv4 addresses that programs find, and the full name that was found instead of the one that was looked up."""
    rows = [line.split() for line in section.output.splitlines() if line.strip()]
    ipv4 = [row for row in rows if is_address(row[0]) and ":" not in row[0]]
    full = next((row[-1].rstrip(".") for row in ipv4 if len(row) > 1 and row[-1] not in _SOCKETS), "")
    return tuple(dict.fromkeys(row[0] for row in ipv4)), full


_SOCKETS = frozenset({"STREAM", "DGRAM", "RAW"})


def _addresses(section: Section) -> frozenset[str]:
    if section.tool == "getent":
        addresses = [match["address"] for match in _GETENT.finditer(section.output)]
    elif section.tool == "dig":
        addresses = [match["address"] for match in _DIG_RECORD.finditer(section.output)]
    else:
        name = _NAME.search(section.output)  # before it stands the address of the resolver
        addresses = [match["address"] for match in _ADDRESS.finditer(section.output, name.end())] if name else []
    return frozenset(str(ip_address(address)) for address in addresses if is_address(address))


def _has_ipv4(addresses: frozenset[str]) -> bool:
    return any("." in address for address in addresses)


def _lookup_fault(section: Section, addresses: frozenset[str]) -> DnsFault:
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
    for pattern, fault in checks:
        if pattern.search(text):
            return fault
    if _SILENT.search(text) or section.exit in (*CUT, None):
        return DnsFault.TIMEOUT
    if addresses or re.search(r"^Server:", text, re.MULTILINE) or (status and status["status"] == "NOERROR"):
        return DnsFault.NO_ANSWER
    return DnsFault.GARBLED


def _lookup_message(section: Section, fault: DnsFault | None) -> str:
    """The lines in which the tool says what it found, or why it found nothing."""
    if fault is None:
        return ", ".join(sorted(_addresses(section)))
    status = _DIG_STATUS.search(section.output)
    if status:
        return f"status: {status['status']}"
    messages = [
        line.strip() for line in section.output.splitlines() if re.match(r"\*\*|;; |nslookup:|dig:", line.strip())
    ]
    messages = [
        line for line in messages if not re.match(r";; (flags|QUESTION|OPT|global|Got answer|Query|WHEN|MSG)", line)
    ]
    if not messages and section.exit in (*CUT, None):
        return f"no answer within {max(1, round(section.took))} s"
    return "; ".join(dict.fromkeys(messages))[:300] or DnsFault(fault).value


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
_WGET_NETWORK = 4  # GNU wget's exit status of a network failure, timeouts among them
_CERTIFICATE_MESSAGES = (
    (re.compile(r"certificate has expired|not yet valid", re.IGNORECASE), PathFault.TLS_EXPIRED),
    (
        re.compile(r"no alternative certificate subject name|host ?name mismatch|doesn't match", re.IGNORECASE),
        PathFault.TLS_WRONG_NAME,
    ),
)
_SLOWEST_REFUSAL = 0.9  # seconds; what takes longer is a timeout
# Messages of errno (C locale), and of the tools themselves; the first that matches decides.
_PATH_MESSAGES: tuple[tuple[re.Pattern[str], PathFault], ...] = (
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
class _Header:
    """The header of one answer."""

    status: int
    fields: Mapping[str, str]


def read_fetch(section: Section, url: str, *, where: str) -> GitLabReply:
    """What answers at GitLab's URL from a node or a pod, judged by the same rules as from here.

    `clock_offset` is the server's clock minus that of the node.
    """
    headers, body = _answers(section)
    evidence = Evidence(where=where, command=section.command, observed=_fetch_excerpt(section), took=section.took)
    fault: Fault | None
    if not headers:
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
    fault, cause, is_gitlab = None, "", False
    address = url
    for number, header in enumerate(headers):  # busybox's wget follows redirects: each answer on the way must be right
        content = body if number == len(headers) - 1 else ""
        is_gitlab = is_gitlab or shows_gitlab(header.status, header.fields, content.encode(), address)
        if fault is None and not _hides_header(section, header, address):
            fault, cause = judge_reply(header.status, header.fields, content, address)
        address = header.fields.get("location", address)
    return GitLabReply(
        target=url,
        fault=fault,
        cause=cause,
        evidence=evidence,
        url=url,
        status=headers[0].status,
        location=headers[0].fields.get("location", ""),
        is_gitlab=is_gitlab,
        clock_offset=_clock_offset(headers, section.clock),
        took=section.took,
    )


def was_cut(section: Section) -> bool:
    """Whether a fetch was ended before the whole answer had come, though its header may have."""
    timeouts = {*CUT, _CURL_TIMEOUT} if section.tool == "curl" else {*CUT, _WGET_NETWORK}
    return section.exit is None or section.exit in timeouts


def _hides_header(section: Section, header: _Header, url: str) -> bool:
    """Whether busybox's wget hides the header that marks a healthy GitLab: of a 401 it prints the status alone."""
    return section.tool == "wget" and not header.fields and header.status == 401 and "/api/v4/" in url  # noqa: PLR2004


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _answers(section: Section) -> tuple[list[_Header], str]:
    """The headers of the answers, in order, and the last one's body."""
    if section.tool == "curl":
        head, _, body = section.output.replace("\r\n", "\n").partition("\n\n")
        while re.match(r"HTTP/\S{1,20} 1\d\d", head):  # 100 Continue and its like stand before the answer
            head, _, body = body.partition("\n\n")
        header = _header(head.split("\n"))
        return ([header] if header else []), body
    groups: list[list[str]] = []
    for line in section.stderr.replace("\r", "").split("\n"):
        if re.match(r"\s{0,40}HTTP/\S{1,20} \d{3}", line):
            groups.append([line.strip()])
        elif groups and re.match(r"\s{1,40}\S{1,200}:", line):
            groups[-1].append(line.strip())
    return [header for header in map(_header, groups) if header], section.output


def _header(lines: Sequence[str]) -> _Header | None:
    status = re.match(r"HTTP/\S{1,20} (\d{3})", lines[0]) if lines else None
    if status is None:
        return None
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
    return _Header(int(status[1]), fields)


def _fetch_fault(section: Section) -> PathFault:
    """Why there is no answer."""
    if section.tool == "curl" and section.exit is not None:
        return _curl_fault(section.exit, section.stderr or section.output)
    fault = PathFault.TIMEOUT if section.exit in (*CUT, None) else _path_fault(section.stderr)
    if fault is PathFault.TIMEOUT:  # GNU wget prints how far it got, busybox's does not
        return PathFault.SILENT if re.search(r"\.\.\. connected\.", section.stderr) else fault
    if fault is None or section.output.strip() or re.search(r"^ {2}\S", section.stderr, re.MULTILINE):
        return PathFault.NOT_HTTP  # wget shows a first line that is no status
    return fault


def _curl_fault(status: int, stderr: str) -> PathFault:
    if status == _CURL_TIMEOUT or status in CUT:
        if re.search(r"Could not resolve|Resolving timed out", stderr):
            return PathFault.UNRESOLVED
        return PathFault.SILENT if re.search(r"^\* Connected to ", stderr, re.MULTILINE) else PathFault.TIMEOUT
    if status == _CURL_CONNECT:
        return _path_fault(stderr) or PathFault.REFUSED
    fault = _CURL_FAULTS.get(status) or _path_fault(stderr) or PathFault.NOT_HTTP
    if fault in (PathFault.TLS_UNTRUSTED, PathFault.TLS_HANDSHAKE):
        return next((sharper for pattern, sharper in _CERTIFICATE_MESSAGES if pattern.search(stderr)), fault)
    return fault


def _path_fault(output: str) -> PathFault | None:
    return next((fault for pattern, fault in _PATH_MESSAGES if pattern.search(output)), None)


def _path_cause(fault: PathFault | None, host: str, port: int, took: float) -> str:
    return sentence(fault, host, port, deadline=max(1, round(took))) if fault else ""


def _fetch_excerpt(section: Section) -> str:
    """What a person would see: curl's trace of the connection left out, its message kept where there is no answer."""
    stderr = section.stderr.replace("\r", "")
    body = section.output.replace("\r\n", "\n")
    if section.tool == "curl":
        messages = "\n".join(line for line in stderr.split("\n") if not re.match(r"[<>{}] ?|\* ", line))
        return excerpt(body or messages)
    return excerpt("\n".join(part for part in (stderr, body) if part))


def _clock_offset(headers: Sequence[_Header], node_clock: float | None) -> float | None:
    date = headers[-1].fields.get("date") or headers[0].fields.get("date")
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
        ran_out = section.exit in (*CUT, None) or section.took > _SLOWEST_REFUSAL  # some versions of nc print nothing
        fault = _path_fault(section.output) or (PathFault.TIMEOUT if ran_out else PathFault.REFUSED)
    return Connection(
        target=f"{host}:{port}",
        fault=fault,
        cause=_path_cause(fault, host, port, section.took),
        evidence=Evidence(where=where, command=section.command, observed=excerpt(section.output), took=section.took),
        host=host,
        port=port,
    )


# ---- the machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """The settings of a resolv.conf.

    Attributes:
        nameservers: in order; glibc and musl use the first three.
        searches: the search list; the last `search` or `domain` line counts.
        options: such as ``ndots:5``.
    """

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def read_resolv_conf(section: Section) -> ResolvConf:
    """The resolv.conf that a `resolv_conf` step, or a ``docker_run`` with cat, printed."""
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
            case ["options", *added]:
                options += added
            case _:
                pass
    return ResolvConf(nameservers=tuple(nameservers), searches=searches, options=tuple(options))


def read_clock(section: Section) -> float:
    """The clock, seconds since 1970; half a second is added where the machine prints whole seconds only.

    Raises:
        Unmeasured: it printed no time.
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
        Unmeasured: there is no default route, or its interface has no MTU.
    """
    lines = section.output.split("\n")
    if section.exit == 0 and len(lines) > 1 and lines[1].strip().isdigit():
        return Interface(name=lines[0].strip(), mtu=int(lines[1]))
    reason = f"The MTU could not be read: {section.output[:200] or 'nothing was printed'}"
    raise Unmeasured(reason, needs="`ip` and /sys")
