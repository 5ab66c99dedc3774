"""Sockets on loopback: with a server, or refusing, dropping or resetting connections, as a broken network does.

Every socket is made here, so that `Loopback.close` leaves none. Refusal and silence are the kernel's own: a refused
port has no listener, a dropped connection goes to a listener whose queue is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import struct
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from lab.world import World

ADDRESS = "127.0.0.1"
_BACKLOG = 128
_FILLERS = 8  # a queue of length 0 takes one or two connections, depending on the kernel
_ACCESS_LOG = logging.getLogger("lab.access")
_ACCESS_LOG.setLevel(logging.CRITICAL)  # a record of every request is in the world; a log line for each would be noise
SocketAddress = tuple[str, int]


class Loopback:
    """All sockets of one lab, and the servers on them; used from the loop's thread only."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._runners: list[web.AppRunner] = []
        self._transports: list[asyncio.DatagramTransport] = []
        self._hole: SocketAddress | None = None
        self._cut: SocketAddress | None = None

    # ---- addresses without a server

    def refusing(self) -> SocketAddress:
        """A port, of TCP and UDP, that is bound and refuses connections."""
        tcp, udp = self.pair()
        udp.connect(udp.getsockname())  # a connected socket receives from its peer alone; others get port unreachable
        return _address(tcp)

    def swallowing(self) -> SocketAddress:
        """A port, of TCP and UDP, that never answers: TCP connections time out."""
        if self._hole is None:
            tcp, _udp = self.pair()
            tcp.listen(0)
            for _ in range(_FILLERS):
                filler = self._keep(socket.socket())
                filler.setblocking(False)  # noqa: FBT003 - the standard library's
                filler.connect_ex(_address(tcp))
                if not select.select([], [filler], [], 0.02)[1]:
                    break
            self._hole = _address(tcp)
        return self._hole

    def mute(self) -> SocketAddress:
        """A port that accepts TCP connections and UDP packets, and never sends anything."""
        tcp, _udp = self.pair()
        tcp.listen(_BACKLOG)
        return _address(tcp)

    async def cutting(self) -> SocketAddress:
        """A port that resets every connection at once."""
        if self._cut is None:
            tcp = self.listening()

            async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

            self._servers.append(await asyncio.start_server(cut, sock=tcp))
            self._cut = _address(tcp)
        return self._cut

    # ---- addresses with a server

    def listening(self) -> socket.socket:
        """A TCP socket that listens on a free port."""
        tcp = self._bound(socket.SOCK_STREAM)
        tcp.listen(_BACKLOG)
        return tcp

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A TCP and a UDP socket bound to the same free port; neither listens."""
        for _ in range(50):
            tcp = self._bound(socket.SOCK_STREAM)
            try:
                return tcp, self._bound(socket.SOCK_DGRAM, tcp.getsockname()[1])
            except OSError:
                continue  # another program has that UDP port
        msg = "no port is free for both TCP and UDP on loopback"
        raise OSError(msg)

    async def http(self, server: str, app: web.Application, *, tls: ssl.SSLContext | None = None) -> SocketAddress:
        """Serve an application; every byte it sends goes to the world's tap under the name `server`."""
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        manager = runner.server
        assert manager is not None  # noqa: S101 - after setup
        loop = asyncio.get_running_loop()
        listener = self.listening()

        def protocol() -> asyncio.BaseProtocol:
            handler = _Handler(manager, loop=loop, access_log=_ACCESS_LOG, keepalive_timeout=30, lingering_time=0)
            handler.problems = self._world.problems
            return _Tapped(handler, lambda data: self._world.tap(server, data))

        self._servers.append(await loop.create_server(protocol, sock=listener, ssl=tls))
        return _address(listener)

    async def datagrams(self, factory: Callable[[], asyncio.DatagramProtocol], udp: socket.socket) -> None:
        """Serve a bound UDP socket."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(factory, sock=udp)
        self._transports.append(transport)

    async def streams(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
        tcp: socket.socket,
    ) -> None:
        """Serve a bound TCP socket with a coroutine for each connection."""
        tcp.listen(_BACKLOG)
        self._servers.append(await asyncio.start_server(serve, sock=tcp))

    # ---- shutdown

    async def close(self) -> None:
        """Close every server and socket; connections that are still open are cut."""
        for server in self._servers:
            server.close()
        await asyncio.gather(*(runner.cleanup() for runner in self._runners), return_exceptions=True)
        for transport in self._transports:
            transport.abort()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.close()

    def _bound(self, kind: socket.SocketKind, port: int = 0) -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's
        try:
            sock.bind((ADDRESS, port))
        except OSError:
            sock.close()
            raise
        return self._keep(sock)

    def _keep(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        return sock


def _address(sock: socket.socket) -> SocketAddress:
    host, port = sock.getsockname()[:2]
    return host, port


class _Handler(web.RequestHandler):
    """aiohttp's handler; requests that can't be parsed get a terse answer, as from Go's and nginx's servers."""

    __slots__ = ("problems",)

    problems: list[str]

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A terse answer to a request that can't be read; exceptions of the lab itself are recorded."""
        del message
        own = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if own and exc is not None:
            self.problems.append("".join(traceback.format_exception(exc)))
        if request.writer.output_size > 0:
            error = "the response has begun"
            raise ConnectionError(error)
        text = "Internal Server Error\n" if own else "400 Bad Request"
        headers = {"Server": "", "Content-Type": "text/plain; charset=utf-8"}
        response = web.Response(status=status, text=text, headers=headers)
        response.force_close()
        return response


class _Tapped(asyncio.Protocol):
    """A protocol between the transport and aiohttp's handler that taps what is written."""

    def __init__(self, inner: asyncio.Protocol, tap: Callable[[bytes], None]) -> None:
        self._inner, self._tap = inner, tap

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(_TappedTransport(transport, self._tap))  # type: ignore[arg-type]  # a proxy of one

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class _TappedTransport:
    """A transport that taps what is written to it."""

    def __init__(self, transport: Any, tap: Callable[[bytes], None]) -> None:
        self._transport, self._tap = transport, tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._tap(data)
        self._transport.write(data)

    def writelines(self, parts: Any) -> None:
        parts = list(parts)
        self._tap(b"".join(parts))
        self._transport.writelines(parts)
