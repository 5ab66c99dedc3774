"""Name servers on loopback, over UDP and TCP on one port each, that answer as dnsmasq does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from lab.network import answer

if TYPE_CHECKING:
    from lab.loopback import Loopback, SocketAddress
    from lab.world import Resolver, World

TTL = 60
_PLAIN_UDP = 512  # bytes a client takes that announces no size of its own
_RCODES = {
    "nxdomain": dns.rcode.NXDOMAIN,
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
}
_IDLE_TIMEOUT = 10.0


async def serve(world: World, resolver: Resolver, loopback: Loopback) -> SocketAddress:
    """Serve one resolver; returns where it listens, the same port for UDP and TCP."""
    tcp, udp = loopback.pair()
    address: SocketAddress = tcp.getsockname()[:2]
    if resolver.over_udp:
        await loopback.datagrams(lambda: _Udp(world, resolver), udp)
    if resolver.over_tcp:

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                while True:
                    async with asyncio.timeout(_IDLE_TIMEOUT):
                        (length,) = struct.unpack("!H", await reader.readexactly(2))
                        question = await reader.readexactly(length)
                    answer_wire = reply(world, resolver, question, over="tcp")
                    await world.pause()
                    await asyncio.sleep(resolver.delay)
                    if answer_wire is not None:
                        world.tap(f"dns {resolver.address}", answer_wire)
                        writer.write(struct.pack("!H", len(answer_wire)) + answer_wire)
                        await writer.drain()
            writer.close()

        await loopback.streams(converse, tcp)
    return address


def reply(world: World, resolver: Resolver, wire: bytes, *, over: str) -> bytes | None:
    """The answer to one message, or None if the resolver does not answer."""
    try:
        question = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    if question.flags & dns.flags.QR or resolver.mode == "mute":
        return None
    response = dns.message.make_response(question, recursion_available=True, our_payload=4096)
    query = question.question[0] if question.question else None
    if query is None or question.opcode() != dns.opcode.QUERY or query.rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.NOTIMP if query else dns.rcode.FORMERR)
        return response.to_wire()
    name = query.name.to_text(omit_final_dot=True).lower()
    world.record(f"dns {resolver.address}", over, f"{name} {dns.rdatatype.to_text(query.rdtype)}")
    records = answer(world, resolver, name)
    if resolver.refuses_ipv6 and query.rdtype == dns.rdatatype.AAAA:
        response.set_rcode(dns.rcode.REFUSED)
    elif records.status in _RCODES:
        response.set_rcode(_RCODES[records.status])
    elif records.ok and query.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
        response.answer.append(dns.rrset.from_text(query.name, TTL, "IN", "A", *records.addresses))
    limit = max(_PLAIN_UDP, question.payload) if over == "udp" else 65535
    answer_wire = response.to_wire(max_size=65535)
    if len(answer_wire) > limit:
        response.answer.clear()
        response.flags |= dns.flags.TC
        answer_wire = response.to_wire()
    return answer_wire


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, world: World, resolver: Resolver) -> None:
        self._world, self._resolver = world, resolver
        self._transport: asyncio.DatagramTransport | None = None
        self._late: set[asyncio.TimerHandle] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio gives a DatagramTransport

    def connection_lost(self, _exc: Exception | None) -> None:
        for handle in self._late:
            handle.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer_wire = reply(self._world, self._resolver, data, over="udp")
        if answer_wire is None:
            return
        delay = self._world.latency + self._resolver.delay
        if not delay:
            self._send(answer_wire, addr)
            return
        self._late.add(asyncio.get_running_loop().call_later(delay, self._send, answer_wire, addr))

    def _send(self, answer_wire: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._world.tap(f"dns {self._resolver.address}", answer_wire)
            self._transport.sendto(answer_wire, addr)
