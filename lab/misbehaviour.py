"""Servers that accept a connection and then misbehave: any of them on the wire, the API server in its answers.

A relay stands between the server's address in the world and the server. It reads `World.misbehaviour` again for each
chunk, so that a server may start or stop misbehaving within a connection.

- silent   accepts connections and datagrams, and never answers
- drip     sends one byte a second
- cut      closes in the middle of an answer
- brief    cuts every connection after one second

Of the API server alone (`answers`): 429, 500, 503, 410 (on a watch), truncated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

if TYPE_CHECKING:
    from lab.loopback import Loopback, SocketAddress
    from lab.world import World

_PAUSE = 1.0  # seconds between two bytes, and duration of a brief connection
_RETRY_AFTER = 2  # Retry-After of the busy API server, in seconds
_CHUNK = 2**16


async def relayed(
    world: World, loopback: Loopback, server: str, server_address: SocketAddress, *, turn: int, udp: bool = False
) -> SocketAddress:
    """Put a relay in front of a server; returns the relay's address, or the server's own if it does not misbehave.

    Args:
        world: the world.
        loopback: its sockets.
        server: the server's name, as in `World.misbehaviour`.
        server_address: where the server itself listens.
        turn: number of the answer in whose middle `cut` closes, from 1; with TLS and SSH the first is the handshake.
        udp: whether it is reached by datagrams too.
    """
    if server not in world.misbehaviour:
        return server_address
    relay = _Relay(world, server, server_address, turn)
    tcp, datagrams = loopback.pair()
    await loopback.streams(relay.serve, tcp)
    if udp:
        await loopback.datagrams(lambda: _Datagrams(world, server, server_address), datagrams)
    host, port = tcp.getsockname()[:2]
    return host, port


class _Relay:
    """Copies a connection's bytes both ways, with the server's misbehaviour."""

    def __init__(self, world: World, server: str, server_address: SocketAddress, turn: int) -> None:
        self._world, self._server, self._server_address, self._turn = world, server, server_address, turn

    @property
    def _mode(self) -> str:
        return self._world.misbehaviour.get(self._server, "")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self._world.record(f"relay {self._server}", "connect", self._mode)
        with contextlib.suppress(OSError, TimeoutError):
            try:
                if self._mode == "silent":
                    while await reader.read(_CHUNK):
                        pass
                    return
                async with asyncio.timeout(_PAUSE if self._mode == "brief" else None):
                    await self._join(reader, writer)
            finally:
                writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(*self._server_address)
        request_seen = asyncio.Event()
        upstream = asyncio.ensure_future(self._forth(reader, outer, request_seen))
        downstream = asyncio.ensure_future(self._back(inner, writer, request_seen))
        try:
            await asyncio.wait((upstream, downstream), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (upstream, downstream):
                task.cancel()
            await asyncio.gather(upstream, downstream, return_exceptions=True)
            outer.transport.abort()

    async def _forth(
        self, reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter, request_seen: asyncio.Event
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            request_seen.set()
            server_writer.write(chunk)
            await server_writer.drain()

    async def _back(
        self, server_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request_seen: asyncio.Event
    ) -> None:
        answers = 0
        while chunk := await server_reader.read(_CHUNK):
            answers += request_seen.is_set()
            request_seen.clear()
            if self._mode == "silent":
                continue
            if self._mode == "drip":
                for number in range(len(chunk)):
                    writer.write(chunk[number : number + 1])
                    await asyncio.sleep(_PAUSE)
                continue
            if self._mode == "cut" and answers >= self._turn:
                writer.write(chunk[: max(1, len(chunk) // 2)])
                with contextlib.suppress(OSError):
                    await writer.drain()
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """Forwards questions, and answers with the server's misbehaviour: a byte a second, or half of the answer."""

    def __init__(self, world: World, server: str, server_address: SocketAddress) -> None:
        self._world, self._server, self._server_address = world, server, server_address
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio gives a DatagramTransport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for task in self._tasks:
            task.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._world.misbehaviour.get(self._server) == "silent":
            return
        task = asyncio.get_running_loop().create_task(self._ask(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, question: bytes, addr: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _FirstDatagram(answered), remote_addr=self._server_address
        )
        try:
            transport.sendto(question)
            async with asyncio.timeout(_PAUSE):
                answer = await answered
        except (OSError, TimeoutError):
            return
        finally:
            transport.close()
        mode = self._world.misbehaviour.get(self._server, "")
        parts = [answer]
        if mode == "drip":
            parts = [answer[number : number + 1] for number in range(len(answer))]
        elif mode == "cut":
            parts = [answer[: len(answer) // 2]]
        for number, part in enumerate(parts):
            if number:
                await asyncio.sleep(_PAUSE)
            if self._transport is None or self._transport.is_closing():
                return
            self._transport.sendto(part, addr)


class _FirstDatagram(asyncio.DatagramProtocol):
    """Waits for the first datagram."""

    def __init__(self, answered: asyncio.Future[bytes]) -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        if not self._answered.done():
            self._answered.set_result(data)


def answers(world: World, server: str) -> Middleware:
    """An aiohttp middleware: the errors of an API server under load, restarting or without etcd, in its own words."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        mode = world.misbehaviour.get(server, "")
        if mode in _REFUSALS and not (mode == "410" and "watch" not in request.query):
            code, reason, message = _REFUSALS[mode]
            world.record(server, request.method, request.path_qs, body=(await request.read()).decode(errors="replace"))
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
            body = json.dumps({**status, "message": message, "reason": reason, "code": code})
            headers = {"Retry-After": str(_RETRY_AFTER)} if mode == "429" else {}
            return web.Response(status=code, text=body, content_type="application/json", headers=headers)
        answer = await handler(request)
        if mode == "truncated" and isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            answer.body = answer.body[: len(answer.body) // 2]
        return answer

    return middleware


_REFUSALS = {
    "429": (429, "TooManyRequests", "Too many requests, please try again later."),
    "500": (500, "InternalError", "Internal error occurred: etcdserver: request timed out"),
    "503": (503, "ServiceUnavailable", "apiserver is shutting down"),
    "410": (410, "Expired", "too old resource version: 1 (4711)"),
}
