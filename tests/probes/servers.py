"""Real servers on loopback that behave as a test wants: they answer, hang, drip, refuse, lie."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import dns.exception
import dns.message

if TYPE_CHECKING:
    import trustme

UNREACHABLE = "127.255.255.255"  # loopback's broadcast address: the kernel itself says "Network is unreachable"


def closed_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue is full: the kernel drops every further SYN, as a firewall does."""
    with socket.socket() as server, contextlib.ExitStack() as queued:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            one = queued.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        time.sleep(0.05)
        yield int(server.getsockname()[1])


def listens(port: int, *, within: float = 6.0) -> bool:
    """Whether a program takes connections on this port of 127.0.0.1, once it has had the time to start."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with socket.socket() as visitor:
            if visitor.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.03)
    return False


@contextlib.contextmanager
def tcp_server(behave: Callable[[socket.socket], None], *, family: int = socket.AF_INET) -> Iterator[int]:
    """A TCP server; each connection is handed to `behave` in a thread and closed after it."""
    ended = threading.Event()

    def serve(one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            one.settimeout(5)
            behave(one)

    def accept(listening: socket.socket) -> None:
        while not ended.is_set():
            try:
                one, _ = listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    with socket.socket(family) as listening:
        listening.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listening.listen(16)
        listening.settimeout(0.05)
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            ended.set()
            thread.join(2)


def hang(one: socket.socket) -> None:
    """Take what is sent and say nothing, until the other side gives up."""
    while one.recv(65_536):
        pass


def reset(one: socket.socket) -> None:
    """Cut the connection with a reset as soon as something was asked."""
    one.recv(1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(words: bytes) -> Callable[[socket.socket], None]:
    """Say the same to everybody who asks."""

    def behave(one: socket.socket) -> None:
        one.recv(65_536)
        one.sendall(words)

    return behave


def drip(words: bytes, *, every: float) -> Callable[[socket.socket], None]:
    """Send a byte at a time, for ever: the last one repeats."""

    def behave(one: socket.socket) -> None:
        one.recv(65_536)
        for number in range(2000):
            one.sendall(words[number : number + 1] or words[-1:])
            time.sleep(every)

    return behave


@dataclass(frozen=True)
class Asked:
    """A request that a web server of ours was sent."""

    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""


@dataclass(frozen=True)
class Said:
    """What to answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Web:
    """A running web server and what it was asked."""

    port: int
    scheme: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}/"


@contextlib.contextmanager
def web_server(answer: Callable[[Asked], Said], *, certificate: trustme.LeafCert | None = None) -> Iterator[Web]:
    """An HTTP server, over TLS if a certificate is given."""
    web = Web(port=0, scheme="https" if certificate else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            web.asked.append(asked)
            said = answer(asked)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(said.body)

        def do_POST(self) -> None:
            self.do_GET()

        do_DELETE = do_GET  # noqa: N815 - a name of the standard library's

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
            with contextlib.suppress(OSError):  # a handshake that the client broke off
                if certificate:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    certificate.configure_cert(context)
                    request.settimeout(5)
                    request = context.wrap_socket(request, server_side=True)
                with contextlib.closing(request):
                    super().finish_request(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join(2)


Question = dns.message.Message
Answerer = Callable[[Question, str], "dns.message.Message | bytes | None"]


@contextlib.contextmanager
def dns_server(answer: Answerer, *, udp: bool = True, tcp: bool = True) -> Iterator[int]:
    """A DNS server, UDP and TCP on one port; `answer` gets the question and ``udp`` or ``tcp``, None is silence."""
    ended = threading.Event()

    def wire(question: bytes, way: str) -> bytes | None:
        try:
            said = answer(dns.message.from_wire(question), way)
        except dns.exception.DNSException:
            return None
        return said.to_wire(max_size=65_535) if isinstance(said, dns.message.Message) else said

    def serve_tcp(one: socket.socket) -> None:
        size = struct.unpack("!H", one.recv(2))[0]
        said = wire(one.recv(size), "tcp")
        if said is None:
            hang(one)
        else:
            one.sendall(struct.pack("!H", len(said)) + said)

    def serve_udp(one: socket.socket) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(one, selectors.EVENT_READ)
            while not ended.is_set():
                if waiting.select(0.05):
                    question, place = one.recvfrom(65_535)
                    said = wire(question, "udp")
                    if said is not None:
                        one.sendto(said, place)

    with contextlib.ExitStack() as running:
        port = running.enter_context(tcp_server(serve_tcp)) if tcp else closed_port()
        if udp:
            listening = running.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            listening.bind(("127.0.0.1", port))
            thread = threading.Thread(target=serve_udp, args=(listening,), daemon=True)
            thread.start()
            running.callback(thread.join, 2)
        running.callback(ended.set)
        yield port
