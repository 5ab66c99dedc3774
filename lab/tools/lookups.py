"""nslookup, dig and getent: one question to one resolver, and what the tool makes of the answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lab.network import lookup, nameservers, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.network import Rcode, Reply
    from lab.tools.call import Call

_DNS_PORT = 53
_BUSYBOX_WAITS = 5.0  # seconds, its default
_DIG_GAVE_UP = 9
_RCODES: dict[Rcode, str] = {
    "ok": "NOERROR",
    "no-answer": "NOERROR",
    "nxdomain": "NXDOMAIN",
    "servfail": "SERVFAIL",
    "refused": "REFUSED",
}
_USAGE_BUSYBOX = """BusyBox v1.37.0 (2025-05-26 20:04:45 UTC) multi-call binary.

Usage: nslookup [-type=QUERY_TYPE] [-debug] HOST [DNS_SERVER]

Query DNS about HOST

QUERY_TYPE: soa,ns,a,aaaa,cname,mx,txt,ptr,srv,any
"""


@dataclass
class _Question:
    """What the command line asks for."""

    name: str = ""
    server: str | None = None
    waits: float = _BUSYBOX_WAITS
    tries: int = 1
    kind: str = ""  # A and AAAA, if not given


async def nslookup(call: Call) -> int:
    """Busybox's in pods, bind's on nodes."""
    if "--help" in call.args or not call.args:
        if call.on_node:
            call.out("*** Invalid option: -help\n> \n" if call.args else "> \n")
        else:
            call.err(_USAGE_BUSYBOX)
        return 1 if call.on_node else 0
    asked = _read_nslookup(call.args)
    reply = await _ask(call, asked)
    return _as_bind(call, asked, reply) if call.on_node else await _as_busybox(call, asked, reply)


async def _ask(call: Call, asked: _Question) -> Reply:
    await call.world.pause()
    reply = resolve(call.world, call.vantage, asked.name, asked.server)
    call.world.record(f"dns {reply.resolver}", "A", asked.name, user=str(call.vantage))
    if not await call.world.cross(call.vantage, reply.resolver, resends=False):
        reply = replace(reply, status="timeout", addresses=())
    server = call.world.resolvers.get(reply.resolver)
    delay = server.delay if server is not None else 0.0
    if delay > asked.waits * asked.tries:
        reply = replace(reply, status="timeout", addresses=())
    elif reply.status != "timeout":
        await asyncio.sleep(delay)
    if reply.status == "timeout":
        silent = 1 if asked.server else max(1, len(nameservers(call.vantage.resolv_conf)))
        await asyncio.sleep(asked.waits * asked.tries * silent)
    return reply


def _read_nslookup(args: Iterable[str]) -> _Question:
    asked = _Question()
    words = []
    for arg in args:
        option, _, value = arg.lstrip("-").partition("=")
        if not arg.startswith("-"):
            words.append(arg)
        elif option == "timeout":
            asked.waits = float(value)
        elif option == "retry":
            asked.tries = max(1, int(value))
        elif option in ("type", "querytype", "q"):
            asked.kind = value.upper()
    asked.name = words[0] if words else ""
    asked.server = words[1] if len(words) > 1 else None
    return asked


async def _as_busybox(call: Call, asked: _Question, reply: Reply) -> int:
    if reply.status == "closed":
        call.err(f"nslookup: write to '{reply.resolver}': Connection refused\n")
        await asyncio.sleep(asked.waits)
    if reply.status in ("timeout", "closed"):
        call.out(";; connection timed out; no servers could be reached\n\n")
        return 1
    call.out(f"Server:\t\t{reply.resolver}\nAddress:\t{reply.resolver}:{_DNS_PORT}\n\n")
    status = 0 if reply.ok or reply.status == "no-answer" else 1
    for kind in (asked.kind,) if asked.kind else ("A", "AAAA"):
        if not reply.ok and reply.status != "no-answer":
            call.out(f"** server can't find {asked.name}: {_RCODES[reply.status]}\n\n")
            continue
        if kind == "AAAA" and _refuses_ipv6(call, reply):
            call.out(f"** server can't find {asked.name}: REFUSED\n\n")
            status = 1
            continue
        addresses = reply.addresses if kind == "A" else ()
        call.out("Non-authoritative answer:\n")
        call.out("".join(f"Name:\t{asked.name}\nAddress: {address}\n" for address in addresses) + "\n")
    return status


def _refuses_ipv6(call: Call, reply: Reply) -> bool:
    server = call.world.resolvers.get(reply.resolver)
    return server is not None and server.refuses_ipv6


def _as_bind(call: Call, asked: _Question, reply: Reply) -> int:
    if reply.status in ("timeout", "closed"):
        _complain(call, asked, reply)
        call.out(";; no servers could be reached\n\n")
        return 1
    if reply.status == "servfail":
        call.out(f";; Got SERVFAIL reply from {reply.resolver}\n")
    call.out(f"Server:\t\t{reply.resolver}\nAddress:\t{reply.resolver}#{_DNS_PORT}\n\n")
    if reply.ok:
        call.out("Non-authoritative answer:\n")
        call.out("".join(f"Name:\t{asked.name}\nAddress: {address}\n" for address in reply.addresses) + "\n")
        return 0
    if reply.status == "no-answer":
        call.out(f"Non-authoritative answer:\n*** Can't find {asked.name}: No answer\n\n")
        return 0
    call.out(f"** server can't find {asked.name}: {_RCODES[reply.status]}\n\n")
    return 1


def _complain(call: Call, asked: _Question, reply: Reply) -> None:
    problem = "timed out" if reply.status == "timeout" else "connection refused"
    servers = [asked.server] if asked.server else nameservers(call.vantage.resolv_conf)
    for server in servers:
        for _ in range(asked.tries):
            call.out(f";; communications error to {server}#{_DNS_PORT}: {problem}\n")


async def dig(call: Call) -> int:
    """Of bind."""
    asked = _Question(kind="A")
    for arg in call.args:
        if arg.startswith("@"):
            asked.server = arg[1:]
        elif arg.startswith("+time="):
            asked.waits = float(arg[6:])
        elif arg.startswith("+tries="):
            asked.tries = int(arg[7:])
        elif not arg.startswith(("+", "-")) and arg.upper() not in ("A", "IN"):
            asked.name = arg
    reply = await _ask(call, asked)
    heading = f"\n; <<>> DiG 9.18.30-0ubuntu0.22.04.2-Ubuntu <<>> {' '.join(call.args)}\n"
    heading += "; (1 server found)\n" if asked.server else ""
    heading += ";; global options: +cmd\n"
    if reply.status in ("timeout", "closed"):
        _complain(call, asked, reply)
        call.out(heading + ";; no servers could be reached\n")
        return _DIG_GAVE_UP
    number = secrets.randbelow(65536)
    call.out(
        f"{heading};; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: {_RCODES[reply.status]}, id: {number}\n"
        f";; flags: qr rd ra; QUERY: 1, ANSWER: {len(reply.addresses)}, AUTHORITY: 0, ADDITIONAL: 1\n\n"
        ";; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n"
        f";; QUESTION SECTION:\n;{asked.name}.\t\tIN\tA\n\n"
    )
    if reply.addresses:
        rows = "".join(f"{asked.name}.\t60\tIN\tA\t{address}\n" for address in reply.addresses)
        call.out(f";; ANSWER SECTION:\n{rows}\n")
    when = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
    call.out(
        f";; Query time: 1 msec\n;; SERVER: {reply.resolver}#{_DNS_PORT}({reply.resolver}) (UDP)\n;; WHEN: {when}\n"
        f";; MSG SIZE  rcvd: {28 + len(asked.name) + 16 * len(reply.addresses)}\n\n"
    )
    return 0


async def getent(call: Call) -> int:
    """As glibc has it on nodes and musl in pods, for hosts alone; both tell the full name that was found."""
    known = ("hosts", "ahosts", "ahostsv4") if call.on_node else ("hosts",)
    if len(call.args) < 2 or call.args[0] not in known:  # noqa: PLR2004 - database and key
        call.err("Unknown database: " + " ".join(call.args[:1]) + "\n")
        return 1
    database, name = call.args[:2]
    await call.world.pause()
    reply = lookup(call.world, call.vantage, name)
    if reply.resolver:
        call.world.record(f"dns {reply.resolver}", "A", name, user=str(call.vantage))
    if reply.status == "timeout":
        await asyncio.sleep(_BUSYBOX_WAITS * 2)
    if not reply.ok:
        return 2
    for address in reply.addresses:
        if database == "hosts":
            call.out(f"{address:<15} {reply.name}\n")
        else:
            call.out(f"{address:<15} STREAM {reply.name}\n{address:<15} DGRAM  \n{address:<15} RAW    \n")
    return 0
