"""wget, curl and nc: the way there is the world's, the answer is the real one of the server on loopback."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from getopt import GetoptError, gnu_getopt
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict

from lab.network import endpoint, lookup, path

if TYPE_CHECKING:
    from lab.network import Way
    from lab.tools.call import Call

_GIVES_UP = 120.0  # seconds until a kernel stops trying to connect
_SMALL = 1000  # bytes of an answer that comes in one packet, whatever the way carries
_HOPS = 5  # redirects busybox's wget follows
_BAD_REQUEST = 400
_REASONS: dict[Way, str] = {
    "refused": "Connection refused",
    "timeout": "Connection timed out",
    "unreachable": "No route to host",
}
_NO_WGET_OPTION = "BusyBox v1.37.0 (2025-05-26 20:04:45 UTC) multi-call binary.\n\nUsage: wget [-cqS] URL...\n"


@dataclass
class _Answer:
    """What a server said."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def location(self) -> str:
        return next((value for name, value in self.headers if name.lower() == "location"), "")


class _Step(Enum):
    """Where a way ended."""

    NAME = auto()
    CONNECTION = auto()
    TLS = auto()
    CERTIFICATE = auto()
    ANSWER = auto()


class _UnreachedError(Exception):
    """No answer came."""

    def __init__(self, step: _Step, way: Way, address: str = "", message: str = "") -> None:
        self.step, self.way, self.address, self.message = step, way, address, message
        super().__init__(step)


async def wget(call: Call) -> int:
    """Busybox's: follows redirects, shows no header of an error but its status, and waits for ever."""
    try:
        options, words = gnu_getopt(call.args, "cqSO:o:T:U:P:Y:", ["header=", "spider", "no-check-certificate"])
    except GetoptError as error:
        call.err(f"wget: unrecognized option: {error.opt}\n{_NO_WGET_OPTION}")
        return 1
    shown, quiet = (flag in dict(options) for flag in ("-S", "-q"))
    url = words[0] if "://" in words[0] else f"http://{words[0]}"
    for _ in range(_HOPS):
        if not quiet:
            _say_connecting(call, url)
        try:
            answer = await _get(call, url)
        except _UnreachedError as end:
            return await _wget_ends(call, end, urlsplit(url).hostname or "")
        _show_header(call, answer, shown=shown)
        if answer.status >= _BAD_REQUEST:
            return 1
        if not answer.location:
            if dict(options).get("-O") == "-":
                call.out(answer.body)
            return 0
        url = urljoin(url, answer.location)
    call.err("wget: too many redirections\n")
    return 1


def _say_connecting(call: Call, url: str) -> None:
    answer = lookup(call.world, call.vantage, urlsplit(url).hostname or "")
    if answer.ok:
        call.err(f"Connecting to {urlsplit(url).netloc} ({answer.addresses[0]}:{_port(url)})\n")


def _show_header(call: Call, answer: _Answer, *, shown: bool) -> None:
    """Of an error the status alone; of a redirect what stands before its Location."""
    if shown:
        call.err(f"  HTTP/1.1 {answer.status} {answer.reason}\n")
    if answer.status >= _BAD_REQUEST:
        call.err(f"wget: server returned error: HTTP/1.1 {answer.status} {answer.reason}\n")
    elif shown:
        names = [name.lower() for name, _ in answer.headers]
        read = answer.headers[: names.index("location") + 1] if answer.location else answer.headers
        call.err("".join(f"  {name}: {value}\n" for name, value in read) + ("" if answer.location else "  \n"))


async def _wget_ends(call: Call, end: _UnreachedError, host: str) -> int:
    if end.step is _Step.NAME:
        call.err(f"wget: bad address '{host}'\n")
    elif end.step is _Step.CONNECTION:
        if end.way == "timeout":
            await asyncio.sleep(_GIVES_UP)
        call.err(f"wget: can't connect to remote host ({end.address}): {_REASONS[end.way]}\n")
    elif end.way == "reset":
        call.err("wget: error getting response: Connection reset by peer\n")
    elif end.step is _Step.TLS:
        call.err("ssl_client: TLS connect failed\nwget: error getting response: Connection reset by peer\n")
    else:
        call.err("wget: error getting response\n")
    return 1


# ---- curl ------------------------------------------------------------------------------------------------------------


async def curl(call: Call) -> int:
    """With -i, -v and -m, and others that change nothing here."""
    longs = [
        "noproxy=",
        "proto=",
        "max-time=",
        "connect-timeout=",
        "max-redirs=",
        "silent",
        "show-error",
        "include",
        "verbose",
    ]
    try:
        given, words = gnu_getopt(call.args, "qsSvikm:o:w:H:", longs)
    except GetoptError as error:
        call.err(f"curl: option {error.opt}: is unknown\n")
        return 2
    options = dict(given)
    limit = float(options.get("-m") or options.get("--max-time") or options.get("--connect-timeout") or _GIVES_UP)
    url = words[0] if "://" in words[0] else f"http://{words[0]}"
    talk = _Channel(call, urlsplit(url).hostname or "", _port(url), verbose="-v" in options)
    try:
        async with asyncio.timeout(limit):
            answer = await _get(call, url)
    except TimeoutError:
        talk.connected(lookup(call.world, call.vantage, talk.host).addresses[0])
        return talk.fails(28, f"Operation timed out after {_milliseconds(limit)} milliseconds with 0 bytes received")
    except _UnreachedError as end:
        return await _curl_ends(talk, end, limit)
    talk.connected(lookup(call.world, call.vantage, talk.host).addresses[0])
    head = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in answer.headers), ""]
    for line in head:
        talk.shows(f"< {line}\r")
    if "-i" in options:
        call.out("".join(f"{line}\r\n" for line in head))
    if "-o" not in options:
        call.out(answer.body)
    talk.shows(f"* Connection #0 to host {talk.host} left intact")
    return 0


@dataclass
class _Channel:
    """What curl says beside the answer."""

    call: Call
    host: str
    port: int
    verbose: bool

    def shows(self, line: str) -> None:
        if self.verbose:
            self.call.err(f"{line}\n")

    def tries(self, address: str) -> None:
        self.shows(f"*   Trying {address}:{self.port}...")

    def connected(self, address: str) -> None:
        self.tries(address)
        self.shows(f"* Connected to {self.host} ({address}) port {self.port} (#0)")

    def fails(self, status: int, words: str) -> int:
        self.call.err(f"curl: ({status}) {words}\n")
        return status


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


async def _curl_ends(talk: _Channel, end: _UnreachedError, limit: float) -> int:
    if end.step in (_Step.NAME, _Step.CONNECTION):
        return await _curl_without_connection(talk, end, limit)
    talk.connected(end.address)
    if end.step is _Step.CERTIFICATE:
        return talk.fails(60, f"SSL certificate problem: {end.message}")
    if end.step is _Step.TLS:
        return talk.fails(35, "OpenSSL/3.0.2: error:0A00010B:SSL routines::wrong version number")
    if end.way == "reset":
        return talk.fails(56, "Recv failure: Connection reset by peer")
    return talk.fails(52, "Empty reply from server")


async def _curl_without_connection(talk: _Channel, end: _UnreachedError, limit: float) -> int:
    if end.step is _Step.NAME and end.way != "timeout":
        return talk.fails(6, f"Could not resolve host: {talk.host}")
    if end.step is _Step.CONNECTION:
        talk.tries(end.address)
    if end.way == "timeout":
        await asyncio.sleep(limit)
        what = "Resolving" if end.step is _Step.NAME else "Connection"
        return talk.fails(28, f"{what} timed out after {_milliseconds(limit)} milliseconds")
    talk.shows(f"* connect to {end.address} port {talk.port} failed: {_REASONS[end.way]}")
    return talk.fails(7, f"Failed to connect to {talk.host} port {talk.port} after 1 ms: Couldn't connect to server")


async def nc(call: Call) -> int:
    """Busybox's: connect, and say nothing; with -w a limit in seconds."""
    if "-h" in call.args or "--help" in call.args:
        call.err("BusyBox v1.37.0 (2025-05-26 20:04:45 UTC) multi-call binary.\n\nUsage: nc [OPTIONS] HOST PORT\n")
        return 1
    options, words = gnu_getopt(call.args, "vzw:i:p:")
    host, port = words[0], int(words[1])
    try:
        await _connect(call, host, port)
    except _UnreachedError as end:
        if end.step is _Step.NAME:
            call.err(f"nc: bad address '{host}'\n")
        elif end.way == "reset":
            return 0  # it was connected, at first
        elif end.way == "timeout":
            await asyncio.sleep(float(dict(options).get("-w", _GIVES_UP)))
            call.err("nc: timed out\n")
        else:
            call.err(f"nc: can't connect to remote host ({end.address}): {_REASONS[end.way]}\n")
        return 1
    return 0


# ---- the way ---------------------------------------------------------------------------------------------------------


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


async def _connect(call: Call, host: str, port: int) -> tuple[str, str, int]:
    """The address that was reached, and where on loopback its server listens."""
    await call.world.pause()
    reply = lookup(call.world, call.vantage, host)
    if not reply.ok:
        raise _UnreachedError(_Step.NAME, "timeout" if reply.status == "timeout" else "refused")
    address = reply.addresses[0]
    way = path(call.world, call.vantage, address, port)
    if way == "reset":
        raise _UnreachedError(_Step.ANSWER, way, address)
    if way != "open":
        raise _UnreachedError(_Step.CONNECTION, way, address)
    await call.world.cross(call.vantage, address, resends=True)
    place = endpoint(call.world, address, port)
    return (address, *(place or ("", 0)))


def _check_certificate(call: Call, host: str, address: str) -> None:
    """Stop where curl, which trusts what a node trusts, would stop; busybox's wget checks no certificate."""
    registry = next((entry for entry in call.world.registries.values() if entry.address == address), None)
    message = {
        "self-signed": "unable to get local issuer certificate",
        "expired": "certificate has expired",
        "other-name": f"no alternative certificate subject name matches target host name '{host}'",
    }.get(registry.certificate if registry else "valid")
    if message and call.tool == "curl":
        raise _UnreachedError(_Step.CERTIFICATE, "open", address, message)


async def _get(call: Call, url: str) -> _Answer:
    """Ask the server that listens on loopback for this address, as the vantage would."""
    parts = urlsplit(url)
    address, local, local_port = await _connect(call, parts.hostname or "", _port(url))
    if not local:
        raise _UnreachedError(_Step.ANSWER, "open", address)
    secure = parts.scheme == "https"
    if secure:
        _check_certificate(call, parts.hostname or "", address)
    target = f"{parts.scheme}://{local}:{local_port}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    headers = CIMultiDict({"Host": parts.netloc, "User-Agent": "Wget" if call.tool == "wget" else "curl/7.81.0"})
    headers["Accept"] = "*/*"
    try:
        async with (
            aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.get(
                target,
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=("Accept-Encoding",),
                ssl=False,
                server_hostname=parts.hostname if secure else None,
            ) as response,
        ):
            if len(await response.read()) > _SMALL and str(call.vantage) in call.world.narrow:
                await asyncio.sleep(_GIVES_UP)
            raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
            return _Answer(response.status, response.reason or "", raw, await response.read())
    except aiohttp.ClientConnectorSSLError as error:
        raise _UnreachedError(_Step.TLS, "open", address) from error
    except aiohttp.ClientConnectorError as error:
        raise _UnreachedError(_Step.CONNECTION, "refused", address) from error
    except aiohttp.ClientOSError as error:
        raise _UnreachedError(_Step.ANSWER, "reset", address) from error
    except aiohttp.ClientError as error:
        raise _UnreachedError(_Step.ANSWER, "open", address) from error
