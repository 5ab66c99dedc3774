"""Where a connection really goes, how long it may take, and what its end means.

`Routes` is the inventory's ``connect:``, as curl's ``--connect-to``: only the destination changes. The name that is
asked for, the Host header, SNI and the check of the certificate stay those of the original address.
Client libraries are imported inside the functions, because collecting tests must not pay for them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from preflight.clients.certificates import OnTls, of_connection
from preflight.evidence import Unmeasured
from preflight.faults import PathFault

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from urllib3 import HTTPConnectionPool

_LAST_PORT = 65_535
_DEEPEST = 12  # nested exceptions looked at: requests wraps urllib3 wraps ssl wraps socket


def is_address(text: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def join_address(host: str, port: int) -> str:
    """``host:port`` as an operator writes it, IPv6 in brackets."""
    host = host.strip("[]").lower()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[::1]:port`` or, where a default port is given, a bare host.

    Raises:
        ValueError: when it is none of these.
    """
    text = address.strip()
    host, _, port = text.rpartition(":")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{address!r} is no [IPv6 address]:port")
        port = rest[1:]
    elif text.count(":") > 1 or ":" not in text:  # a bare IPv6 address or a bare host
        host, port = text, ""
    if not port and default_port is not None:
        port = str(default_port)
    if not host or host.startswith("-") or not (port.isascii() and port.isdigit()) or not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"{address!r} is no host:port")
    return host.lower(), int(port)


class NotMapped(OSError):
    """The inventory's ``connect:`` refuses every address that it does not map, and it does not map this one."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(errno.EACCES, f"connect: has no entry for {join_address(host, port)} and refuses all others")

    def unmeasured(self) -> Unmeasured:
        """The same, as a measurement that could not be made."""
        place = join_address(self.host, self.port)
        return Unmeasured(
            f"the inventory's connect: refuses addresses that it does not map, such as {place}",
            needs=f'an entry for "{place}" under connect: in the inventory',
            fault=PathFault.NOT_MAPPED,
        )


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class _Names:
    """Names that are looked up by the system's resolver: each once, in bounded time (getaddrinfo knows no deadline)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[threading.Event, list[Sequence[_Address] | OSError]]] = {}
        self.seconds: dict[str, float] = {}

    def look_up(self, host: str, *, within: float) -> Sequence[_Address]:
        """The addresses, with port 0; an OSError if there are none, or none in time."""
        with self._lock:
            known = self._asked.get(host)
            if known is None:
                known = self._asked[host] = (threading.Event(), [])
                asking = threading.Thread(target=self._ask, args=(host, *known), name=f"resolve {host}", daemon=True)
                try:
                    asking.start()
                except RuntimeError:  # none can start: better without a bound than not at all, as cleaning needs it
                    self._ask(host, *known)
        answered, outcome = known
        if not answered.wait(within):
            raise socket.gaierror(socket.EAI_AGAIN, f"{host} was not resolved within {within:.3g} s")
        if isinstance(outcome[0], OSError):
            raise socket.gaierror(*outcome[0].args)
        return outcome[0]

    def _ask(self, host: str, answered: threading.Event, outcome: list[Sequence[_Address] | OSError]) -> None:
        began = time.monotonic()
        try:
            outcome.append(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM))
        except OSError as error:
            outcome.append(error)
        except UnicodeError:  # a label that is empty or longer than 63 characters
            outcome.append(socket.gaierror(socket.EAI_NONAME, f"{host!r} is no host name"))
        finally:
            self.seconds[host] = time.monotonic() - began
            answered.set()


@dataclass(frozen=True, slots=True)
class Routes:
    """The inventory's ``connect:``: from the address asked for to the address dialled, both ``host:port``.

    Attributes:
        mapping: only what differs needs an entry.
        only_mapped: refuse whatever has no entry (``"*": refuse``).

    Every name is looked up once, however many requests wait for it: where one of this machine's own resolvers is dead,
    each further look-up would wait for it anew.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    only_mapped: bool = field(default=False, kw_only=True)
    _names: _Names = field(default_factory=_Names, init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        mapped = {join_address(*split_address(a)): join_address(*split_address(b)) for a, b in self.mapping.items()}
        object.__setattr__(self, "mapping", mapped)

    @classmethod
    def of(cls, connect: Mapping[str, str]) -> Routes:
        """The routes of an inventory's ``connect:``, where ``"*": refuse`` refuses whatever has no entry."""
        mapping = {source: target for source, target in connect.items() if source != "*"}
        return cls(mapping, only_mapped="*" in connect)

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """The address to dial for `host` and `port`.

        Raises:
            NotMapped: when it has no entry and only mapped addresses are allowed.
        """
        target = self.mapping.get(join_address(host, port))
        if target is not None:
            return split_address(target)
        if self.only_mapped:
            raise NotMapped(host, port)
        return host.strip("[]"), port

    def addresses(self, host: str, port: int, *, within: float) -> Sequence[_Address]:
        """What the system's resolver answers for a host that is to be dialled, in at most `within` seconds.

        Raises:
            OSError: it has no address, or none in time.
        """
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host.partition("%")[0])
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        answers = self._names.look_up(host, within=within)
        return [
            (family, kind, protocol, name, (place[0], port, *place[2:]))
            for family, kind, protocol, name, place in answers
        ]

    def look_up_seconds(self, host: str, *, within: float) -> float | None:
        """How long the system's resolver takes for the addresses of a name; None for what needs no look-up.

        Raises:
            OSError: it has no address, or none in time.
        """
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return None
        self._names.look_up(host, within=within)
        return self._names.seconds[host]


def dial(host: str, port: int, *, routes: Routes, deadline: float) -> socket.socket:
    """A TCP connection to where `routes` leads, in at most `deadline` seconds, name look-up included.

    Raises:
        OSError: `NotMapped`, `socket.gaierror`, `TimeoutError`, or what connecting to the last address ended with.
    """
    until = time.monotonic() + deadline
    host, port = routes.resolve(host, port)
    places = routes.addresses(host, port, within=deadline)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, f"{host} has no address")
    for number, (family, kind, protocol, _, place) in enumerate(places):
        share = (until - time.monotonic()) / (len(places) - number)
        if share <= 0:
            raise TimeoutError(errno.ETIMEDOUT, f"no time was left for {place[0]}")
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(share)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(place)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class Cutoff:
    """A deadline over a whole exchange: cuts the guarded connections when it passes, however slowly bytes drip in.

    Socket timeouts bound one read each; a server that sends a byte a second would hold a probe for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._guarded: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):  # where no thread can start, each read has its own bound still
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    @property
    def left(self) -> float:
        """Seconds until the cut, never negative."""
        return max(0.0, self._until - time.monotonic())

    @property
    def connected(self) -> bool:
        """Whether any connection was made."""
        return bool(self._guarded)

    def guard(self, connection: socket.socket) -> None:
        """Cut this connection, too, when time is up."""
        with self._lock:
            self._guarded.append(connection)
        if not self.left:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for connection in self._guarded:
                with contextlib.suppress(OSError):
                    # SSLSocket.shutdown would drop its TLS state under the reader's feet.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _UntilDeadline(io.RawIOBase):
    """What comes from a socket, up to a deadline for all reads together, as long as there is one.

    No thread watches over it, so that it also holds where none can be started.
    """

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, seconds: float) -> None:
        self._raw, self._connection, self._each = raw, connection, seconds
        self._until: float | None = time.monotonic() + seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, at the latest when the deadline is over."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def lift(self) -> None:
        """From now on each read has its own time again."""
        self._until = None
        with contextlib.suppress(OSError):  # it may be closed
            self._connection.settimeout(self._each)

    def close(self) -> None:
        """Close what is read from."""
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer whose status line and headers have one deadline, however slowly they drip in."""

    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self._head: _UntilDeadline | None = None
        seconds = sock.gettimeout()
        if seconds:
            self._head = _UntilDeadline(self.fp.detach(), sock, seconds)
            self.fp = io.BufferedReader(self._head)

    def begin(self) -> None:
        """Read status line and headers."""
        try:
            super().begin()
        finally:
            if self._head is not None:
                self._head.lift()


def pool_classes(
    routes: Routes, *, cutoff: Cutoff | None = None, on_tls: OnTls | None = None
) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's connection pools by scheme, dialling where `routes` leads; for ``pool_classes_by_scheme``.

    `on_tls` gets the certificate of each connection that is made.
    """
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    class RoutedConnection(HTTPConnection):
        """Dials the mapped address and keeps the name; urllib3.contrib.socks does it at the same place."""

        response_class = _TimedResponse

        def _new_conn(self) -> socket.socket:
            patience = self.timeout if isinstance(self.timeout, int | float) else _FALLBACK
            if cutoff is not None:
                patience = min(patience, cutoff.left)
            try:
                return dial(self.host, self.port or self.default_port, routes=routes, deadline=patience)
            except socket.gaierror as error:
                raise NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"{self.host} did not answer within {patience:g} s") from error
            except OSError as error:
                raise NewConnectionError(self, f"no connection to {self.host}: {error}") from error

        def connect(self) -> None:
            super().connect()
            if cutoff is not None and self.sock is not None:
                cutoff.guard(self.sock)
            if on_tls is not None and (certificate := of_connection(self.sock)) is not None:
                on_tls(self.host, self.port or self.default_port, certificate)

    class RoutedTlsConnection(RoutedConnection, HTTPSConnection):
        """The same over TLS; SNI and the certificate's check stay urllib3's own."""

    class RoutedPool(HTTPConnectionPool):
        ConnectionCls = RoutedConnection

    class RoutedTlsPool(HTTPSConnectionPool):
        ConnectionCls = RoutedTlsConnection

    return {"http": RoutedPool, "https": RoutedTlsPool}


USER_AGENT = "gitlab-runner-preflight"
"""How the suite calls itself to every server in HTTP."""
_FALLBACK = 10.0  # seconds to connect where a client sets no timeout of its own


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """What certificates are checked against: the system's authorities and those in `ca_file`.

    As curl and Go judge them: Python 3.13 also demands RFC 5280's letter, which many private authorities miss.

    Raises:
        Unmeasured: when `ca_file` can't be read or holds no certificate.
    """
    try:
        status = ca_file.stat() if ca_file else None
        return _trust(ca_file, (status.st_ino, status.st_mtime_ns, status.st_size) if status else None)
    except OSError as error:
        raise Unmeasured(
            f"the certificate authorities in {ca_file} can't be read: {error.strerror or error}",
            needs=f"{ca_file} as a readable file of PEM certificates",
        ) from error


@functools.lru_cache(maxsize=16)
def _trust(ca_file: Path | None, _state: object) -> ssl.SSLContext:
    """The context for a file in that state. One serves all: to read the system's authorities takes 25 ms each time."""
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


@contextlib.contextmanager
def session(
    routes: Routes, *, ca_file: Path | None, cutoff: Cutoff, on_tls: OnTls | None = None
) -> Iterator[requests.Session]:
    """A requests session over `routes` that ignores proxies, netrc and redirects of the environment, never retries."""
    import requests
    from requests.adapters import HTTPAdapter

    context = trust(ca_file)
    pools = pool_classes(routes, cutoff=cutoff, on_tls=on_tls)

    class RoutedAdapter(HTTPAdapter):
        """requests' own adapter over the routed pools."""

        def init_poolmanager(self, *arguments: Any, **pool: Any) -> None:
            super().init_poolmanager(*arguments, ssl_context=context, **pool)
            self.poolmanager.pool_classes_by_scheme = pools

    with requests.Session() as opened:
        opened.trust_env = False
        opened.verify = str(ca_file) if ca_file else True
        opened.headers["User-Agent"] = USER_AGENT
        opened.headers["Accept-Encoding"] = "identity"  # so that bytes read are bytes sent
        for scheme in ("http://", "https://"):
            opened.mount(scheme, RoutedAdapter(max_retries=0))
        yield opened


# OpenSSL's X509_V_ERR_*: what is wrong with a certificate
_CERTIFICATE_FAULTS = {
    9: PathFault.TLS_EXPIRED,  # not yet valid
    10: PathFault.TLS_EXPIRED,
    62: PathFault.TLS_WRONG_NAME,  # host name
    64: PathFault.TLS_WRONG_NAME,  # IP address
}

_ERRNO_FAULTS = {
    errno.ECONNREFUSED: PathFault.REFUSED,
    errno.ETIMEDOUT: PathFault.TIMEOUT,
    errno.EHOSTUNREACH: PathFault.UNREACHABLE,
    errno.ENETUNREACH: PathFault.UNREACHABLE,
    errno.EHOSTDOWN: PathFault.UNREACHABLE,
    errno.ENETDOWN: PathFault.UNREACHABLE,
    errno.EADDRNOTAVAIL: PathFault.UNREACHABLE,
    errno.EAFNOSUPPORT: PathFault.UNREACHABLE,
    errno.EPERM: PathFault.UNREACHABLE,  # a firewall on this machine rejects it
    errno.EACCES: PathFault.UNREACHABLE,
    errno.ECONNRESET: PathFault.RESET,
    errno.ECONNABORTED: PathFault.RESET,
    errno.EPIPE: PathFault.RESET,
    errno.ENOTCONN: PathFault.RESET,
    errno.ESHUTDOWN: PathFault.RESET,
}


@functools.cache
def _type_faults() -> tuple[tuple[type[BaseException], PathFault], ...]:
    """Exception types and their faults, the most specific first; a request's error nests several of them."""
    import http.client

    import requests
    import urllib3.exceptions as urllib3
    from urllib3.util.ssl_match_hostname import CertificateError

    return (
        (NotMapped, PathFault.NOT_MAPPED),
        (CertificateError, PathFault.TLS_WRONG_NAME),
        (socket.gaierror, PathFault.UNRESOLVED),
        (urllib3.NameResolutionError, PathFault.UNRESOLVED),
        (urllib3.LocationParseError, PathFault.UNRESOLVED),
        (requests.exceptions.InvalidURL, PathFault.UNRESOLVED),
        (urllib3.ConnectTimeoutError, PathFault.TIMEOUT),
        (urllib3.ReadTimeoutError, PathFault.SILENT),
        (requests.exceptions.ReadTimeout, PathFault.SILENT),
        (http.client.RemoteDisconnected, PathFault.RESET),
        (http.client.IncompleteRead, PathFault.RESET),
        (http.client.HTTPException, PathFault.NOT_HTTP),
        (urllib3.HTTPError, PathFault.NOT_HTTP),
        (requests.exceptions.InvalidHeader, PathFault.NOT_HTTP),
        (requests.exceptions.ContentDecodingError, PathFault.NOT_HTTP),
        (TimeoutError, PathFault.TIMEOUT),
    )


def _nested(error: BaseException) -> list[BaseException]:
    """The error and all that it wraps, by cause, context, reason or argument."""
    errors: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(errors) < _DEEPEST:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in errors:
            errors.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return errors


def fault_of(error: BaseException) -> PathFault:
    """The fault that an exception of socket, ssl, http.client, urllib3 or requests stands for.

    Raises:
        BaseException: `error` itself, when it is not about the network: then the mistake is ours.
    """
    errors = _nested(error)
    for item in errors:
        if isinstance(item, NotMapped):
            return PathFault.NOT_MAPPED
        if isinstance(item, ssl.SSLCertVerificationError):
            return _CERTIFICATE_FAULTS.get(getattr(item, "verify_code", 0), PathFault.TLS_UNTRUSTED)
    for item in errors:
        if isinstance(item, OSError) and not isinstance(item, ssl.SSLError | socket.gaierror):
            by_number = _ERRNO_FAULTS.get(item.errno or 0)
            if by_number is not None:
                return by_number
    if any(isinstance(item, ssl.SSLError) for item in errors):
        return PathFault.TLS_HANDSHAKE
    for kind, fault in _type_faults():
        if any(isinstance(item, kind) for item in errors):
            return fault
    raise error


_SENTENCES = {
    PathFault.UNRESOLVED: "the name of {place} has no address here",
    PathFault.REFUSED: "{place} refused the connection: nothing listens on that port, or a firewall rejects it",
    PathFault.TIMEOUT: "{place} did not accept a connection within {deadline:g} s",
    PathFault.UNREACHABLE: "there is no way to {place}",
    PathFault.RESET: "{place} cut the connection",
    PathFault.SILENT: "{place} accepted the connection and then sent no complete answer within {deadline:g} s",
    PathFault.NOT_HTTP: "{place} answered, but not in HTTP",
    PathFault.TLS_UNTRUSTED: "the certificate of {place} is signed by no authority that is trusted here",
    PathFault.TLS_EXPIRED: "the certificate of {place} is outside of its period of validity",
    PathFault.TLS_WRONG_NAME: "the certificate of {place} is for another name",
    PathFault.TLS_HANDSHAKE: "no TLS session could be agreed on with {place}",
    PathFault.NOT_MAPPED: "connect: has no entry for {place}",
}


def sentence(fault: PathFault, host: str, port: int, *, deadline: float, detail: str = "") -> str:
    """The cause as a sentence: who did what, within which time; `detail` follows after a colon."""
    within = round(deadline, 1) or deadline  # what is left of a deadline differs from run to run
    cause = _SENTENCES[fault].format(place=join_address(host, port), deadline=within)
    return f"{cause}: {detail}" if detail else cause


def detail_of(error: BaseException) -> str:
    """The innermost message of a certificate's, a resolver's or a socket's error; empty if there is none."""
    for item in reversed(_nested(error)):
        if isinstance(item, ssl.SSLCertVerificationError):
            return str(getattr(item, "verify_message", "") or item.strerror or item)
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror)
    return ""
