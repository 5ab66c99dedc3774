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
    from lab.loopback import Loopback, Place
    from lab.world import Resolver, World

TTL = 60
_PLAIN_UDP = 512  # bytes a client takes that announces no size of its own
_RCODES = {
    "nxdomain": dns.rcode.NXDOMAIN,
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
}
_IDLE = 10.0


async def serve(world: World, resolver: Resolver, loopback: Loopback) -> Place:
    """Serve one resolver; returns where it listens, the same port for UDP and TCP."""
    tcp, udp = loopback.pair()
    place: Place = tcp.getsockname()[:2]
    if resolver.over_udp:
        await loopback.datagrams(lambda: _Udp(world, resolver), udp)
    if resolver.over_tcp:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                while True:
                    async with asyncio.timeout(_IDLE):
                        (length,) = struct.unpack("!H", await reader.readexactly(2))
                        question = await reader.readexactly(length)
                    said = reply(world, resolver, question, over="tcp")
                    await world.pause()
                    if said is not None:
                        world.tap(f"dns {resolver.address}", said)
                        writer.write(struct.pack("!H", len(said)) + said)
                        await writer.drain()
            writer.close()

        await loopback.streams(talk, tcp)
    return place


def reply(world: World, resolver: Resolver, wire: bytes, *, over: str) -> bytes | None:
    """The answer to one message, or None where the resolver says nothing."""
    try:
        question = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    if question.flags & dns.flags.QR or resolver.mode == "mute":
        return None
    response = dns.message.make_response(question, recursion_available=True, our_payload=4096)
    asked = question.question[0] if question.question else None
    if asked is None or question.opcode() != dns.opcode.QUERY or asked.rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.NOTIMP if asked else dns.rcode.FORMERR)
        return response.to_wire()
    name = asked.name.to_text(omit_final_dot=True).lower()
    world.record(f"dns {resolver.address}", over, f"{name} {dns.rdatatype.to_text(asked.rdtype)}")
    found = answer(world, resolver, name)
    if resolver.refuses_ipv6 and asked.rdtype == dns.rdatatype.AAAA:
        response.set_rcode(dns.rcode.REFUSED)
    elif found.status in _RCODES:
        response.set_rcode(_RCODES[found.status])
    elif found.ok and asked.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
        response.answer.append(dns.rrset.from_text(asked.name, TTL, "IN", "A", *found.addresses))
    limit = max(_PLAIN_UDP, question.payload) if over == "udp" else 65535
    said = response.to_wire(max_size=65535)
    if len(said) > limit:
        response.answer.clear()
        response.flags |= dns.flags.TC
        said = response.to_wire()
    return said


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
        said = reply(self._world, self._resolver, data, over="udp")
        if said is None:
            return
        if not self._world.latency:
            self._send(said, addr)
            return
        self._late.add(asyncio.get_running_loop().call_later(self._world.latency, self._send, said, addr))

    def _send(self, said: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._world.tap(f"dns {self._resolver.address}", said)
            self._transport.sendto(said, addr)
