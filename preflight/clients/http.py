"""One HTTP exchange, bounded in time and size, as the web probes need it: no retry, no redirect, no proxy."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from preflight.clients.certificates import Certificate
from preflight.clients.connect import (
    USER_AGENT,
    Cutoff,
    NotMapped,
    Routes,
    detail_of,
    dial,
    fault_of,
    sentence,
    session,
    trust,
)
from preflight.documents import load_json
from preflight.faults import PathFault
from preflight.shell_command import ShellCommand, program

if TYPE_CHECKING:
    import requests

ENOUGH = 65_536  # bytes of a body that are read: what shows who answers stands at its beginning
_PORTS = {"http": 80, "https": 443}
_SHOWN_HEADERS = (
    "location",
    "content-type",
    "server",
    "retry-after",
    "x-request-id",
    "x-gitlab-meta",
    "www-authenticate",
)


class Arrival(NamedTuple):
    """The state of a body when a piece of it had come: seconds since the request began, and bytes so far."""

    at: float
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered.

    Attributes:
        headers: names in lower case; of a repeated one, the values joined by a comma.
        body: at most as many bytes as were asked for.
        at: our clock, seconds since 1970, halfway between the question and the answer's head.
        took: seconds until the body was read.
        arrivals: one for each piece of the body, where the caller decides when it has enough of it.
        certificate: of the server's chain, the one that ends first; None without TLS.
    """

    url: str
    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    at: float = 0.0
    took: float = 0.0
    arrivals: tuple[Arrival, ...] = field(default=(), repr=False)
    certificate: Certificate | None = None

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes are."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body read as JSON; None when it is not."""
        try:
            return load_json(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def shown(self) -> str:
        """As ``curl -i`` prints it, with the headers that show who answers."""
        lines = [f"HTTP {self.status} {self.reason}".rstrip()]
        lines += [f"{name}: {self.headers[name]}" for name in _SHOWN_HEADERS if name in self.headers]
        body = " ".join(self.text[:600].split())
        return "\n".join([*lines, "", body]) if body else "\n".join(lines)

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the server's clock is ahead of ours, good to about one second; None without a Date."""
        try:
            stamp = email.utils.parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
        return round(stamp + 0.5 - self.at, 1)  # Date is cut to whole seconds


class NoReply(Exception):
    """No answer came: the fault, a sentence, and the seconds it took. Caught by the probes, never by their callers."""

    def __init__(self, fault: PathFault, cause: str, took: float) -> None:
        self.fault, self.cause, self.took = fault, cause, took
        super().__init__(cause)


def place_of(url: str) -> tuple[str, int]:
    """Host and port that a URL leads to."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what has to be the same for credentials to be sent along."""
    return (urlsplit(url).scheme.lower(), *place_of(url))


def curl(url: str, *options: object, ca_file: Path | None, deadline: float) -> ShellCommand:
    """The command that sends by hand what `exchange` sends, and trusts whom it trusts.

    Args:
        url: what is asked.
        options: curl's, besides those that every request has.
        ca_file: PEM of a further CA to trust.
        deadline: seconds for the whole exchange.
    """
    trust = ["--cacert", ca_file] if ca_file and url.startswith("https:") else []
    return program("curl", "-sS", "-i", "--max-time", f"{deadline:g}", *trust, *options, url)


def exchange(
    url: str,
    *,
    routes: Routes,
    ca_file: Path | None,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    longest: int = ENOUGH,
    method: str = "GET",
    content: object = None,
    body: bytes | None = None,
    enough: Callable[[Sequence[Arrival]], bool] | None = None,
) -> Reply:
    """Ask `url` and read at most `longest` bytes in at most `deadline` seconds, following nothing.

    Args:
        url: what is asked.
        routes: where to connect instead.
        ca_file: PEM of a further CA to trust.
        deadline: seconds for the whole exchange.
        headers: sent with the request.
        longest: bytes of the body that are read at most.
        method: ``GET`` unless the caller says otherwise.
        content: sent as JSON, if it is not None.
        body: sent as it is, if it is not None and there is no `content`.
        enough: asked after each piece of the body whether to stop reading. With it, what has come of a body counts as
            the reply's when the time is over, or the connection breaks.

    Raises:
        NoReply: for every way in which no HTTP answer came.
        Unmeasured: when ``connect:`` refuses the address, or the CA file can't be read.
    """
    import urllib3

    _require_mapped(url, routes)
    began, clock = time.monotonic(), time.time()
    shown: list[Certificate] = []

    def keep(_host: str, _port: int, certificate: Certificate) -> None:
        shown.append(certificate)

    with Cutoff(deadline) as cutoff, session(routes, ca_file=ca_file, cutoff=cutoff, on_tls=keep) as opened:
        try:
            with opened.request(
                method,
                url,
                headers=dict(headers or {}),
                json=content,
                data=body,
                allow_redirects=False,
                stream=True,
                timeout=urllib3.Timeout(total=deadline),  # type: ignore[arg-type]
            ) as response:
                at = clock + (time.monotonic() - began) / 2
                received, arrivals = bytearray(), list[Arrival]()
                try:
                    while piece := response.raw.read1(longest - len(received), decode_content=True):
                        received += piece
                        arrivals.append(Arrival(time.monotonic() - began, len(received)))
                        if len(received) >= longest or (enough is not None and enough(arrivals)):
                            break
                    if not cutoff.left:
                        raise TimeoutError
                except (OSError, urllib3.exceptions.HTTPError):
                    if enough is None or not received:
                        raise
                if not received and _head_is_cut(response, method):
                    raise ConnectionResetError(errno.ECONNRESET, "the response's header does not end")
                return Reply(
                    url=url,
                    status=response.status_code,
                    reason=response.reason or "",
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=bytes(received),
                    at=at,
                    took=time.monotonic() - began,
                    arrivals=tuple(arrivals) if enough is not None else (),
                    certificate=shown[-1] if shown else None,
                )
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise _no_reply(error, cutoff, url, deadline=deadline, took=time.monotonic() - began) from error


def _require_mapped(url: str, routes: Routes) -> None:
    """Raise `Unmeasured` where ``connect:`` refuses the address of a URL."""
    try:
        routes.resolve(*place_of(url))
    except NotMapped as error:
        raise error.unmeasured() from error


def _no_reply(error: Exception, cutoff: Cutoff, url: str, *, deadline: float, took: float) -> NoReply:
    host, port = place_of(url)
    # Once the cutoff has struck, the exception only shows how: as a reset, a half line, an empty body.
    fault = PathFault.SILENT if cutoff.connected and not cutoff.left else fault_of(error)
    detail = detail_of(error) if fault in _WITH_DETAIL else ""
    return NoReply(fault, sentence(fault, host, port, deadline=deadline, detail=detail), took)


def announce_upload(url: str, length: int, *, routes: Routes, ca_file: Path | None, deadline: float) -> Reply:
    """The first answer to a POST whose body of `length` bytes is announced and never sent.

    Whoever takes bodies of that length answers 100 (RFC 9110 §10.1.1), or refuses the request for a reason of its own;
    whoever does not, answers 413 at once.

    Raises:
        NoReply: for every way in which no HTTP answer came, and where the server waits for the body.
        Unmeasured: when ``connect:`` refuses the address, or the CA file can't be read.
    """
    _require_mapped(url, routes)
    (host, port), parts = place_of(url), urlsplit(url)
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "Content-Type": "application/octet-stream",
        "Content-Length": length,
        "User-Agent": USER_AGENT,
        "Expect": "100-continue",
        "Connection": "close",
    }
    lines = [" ".join(("POST", parts.path or "/", "HTTP/1.1")), *map("{0[0]}: {0[1]}".format, headers.items()), "", ""]
    began = time.monotonic()
    with Cutoff(deadline) as cutoff:
        try:
            with contextlib.ExitStack() as opened:
                connection = opened.enter_context(dial(host, port, routes=routes, deadline=deadline))
                connection.settimeout(max(cutoff.left, _LEAST))
                if parts.scheme.lower() == "https":
                    secured = trust(ca_file).wrap_socket(
                        connection, server_hostname=host, do_handshake_on_connect=False
                    )
                    connection = opened.enter_context(secured)
                cutoff.guard(connection)
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                connection.sendall("\r\n".join(lines).encode("ascii"))
                return _first_answer(connection, url, began)
        except OSError as error:
            raise _no_reply(error, cutoff, url, deadline=deadline, took=time.monotonic() - began) from error


def _first_answer(connection: socket.socket, url: str, began: float) -> Reply:
    received = bytearray()
    while b"\r\n\r\n" not in received and len(received) < ENOUGH and (piece := connection.recv(ENOUGH)):
        received += piece
    first, _, rest = received.partition(b"\r\n")
    version, _, status = first.decode("latin-1").partition(" ")
    code, _, reason = status.partition(" ")
    if b"\r\n\r\n" not in received or not version.startswith("HTTP/") or not code.isdigit():
        raise ConnectionResetError(errno.ECONNRESET, "what came is no HTTP answer")
    try:
        headers = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException as error:
        raise ConnectionResetError(errno.ECONNRESET, "what came is no HTTP answer") from error
    return Reply(
        url=url,
        status=int(code),
        reason=reason,
        headers={name.lower(): value for name, value in headers.items()},
        body=bytes(rest.partition(b"\r\n\r\n")[2]),
        took=time.monotonic() - began,
    )


def _head_is_cut(response: requests.Response, method: str) -> bool:
    """Whether the head of an answer without body may have ended in its middle, which http.client passes over.

    A server that keeps the connection says where the body ends; one that does not, says that it closes (RFC 9112 §6.3).
    """
    framing = {"content-length", "transfer-encoding"} & {name.lower() for name in response.headers}
    closes = response.raw.version < _HTTP_1_1 or response.headers.get("Connection", "").lower() == "close"
    return not (framing or closes or method == "HEAD" or response.status_code in _WITHOUT_BODY)


_LEAST = 0.1  # seconds for what is begun at the end of the time
_HTTP_1_1 = 11  # as http.client numbers versions
_WITHOUT_BODY = {204, 304}
_WITH_DETAIL = frozenset(
    {PathFault.UNRESOLVED, PathFault.TLS_UNTRUSTED, PathFault.TLS_EXPIRED, PathFault.TLS_WRONG_NAME}
    | {PathFault.TLS_HANDSHAKE, PathFault.NOT_HTTP}
)
