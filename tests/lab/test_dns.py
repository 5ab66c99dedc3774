"""The resolvers of the lab answer as dnsmasq does, over UDP and TCP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from lab.lab import Lab
from lab.world import MIRROR, MIRROR_ADDRESS, RESOLVERS

if TYPE_CHECKING:
    from tests.lab.conftest import Visit


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("resolver", RESOLVERS)
def test_every_resolver_knows_the_names_that_jobs_need(healthy: Lab, resolver: str, tcp: bool, visit: Visit) -> None:
    reply = visit(healthy).lookup(resolver, MIRROR, tcp=tcp)
    assert [item.to_text() for item in reply.answer[0]] == [MIRROR_ADDRESS]
    assert reply.flags & dns.flags.RA


def test_a_name_without_ipv6_exists_and_one_that_is_not_there_does_not(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    other = visitor.lookup("10.0.0.2", MIRROR, "AAAA")
    assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])
    assert visitor.lookup("10.0.0.2", "no-such-host.example.com").rcode() == dns.rcode.NXDOMAIN
    assert visitor.lookup("10.0.0.2", "REGISTRY.example.COM").answer != []


def test_an_answer_too_long_for_udp_is_cut_and_whole_over_tcp(visit: Visit) -> None:
    many = tuple(f"10.9.{n // 250}.{n % 250 + 1}" for n in range(300))
    with Lab(change=lambda world: world.zones.update({"many.example.com": many})) as lab:
        visitor = visit(lab)
        assert visitor.lookup("10.0.0.2", "many.example.com").flags & dns.flags.TC
        assert len(visitor.lookup("10.0.0.2", "many.example.com", tcp=True).answer[0]) == 300


@pytest.mark.parametrize(("mode", "rcode"), [("dns-servfail", dns.rcode.SERVFAIL), ("dns-refused", dns.rcode.REFUSED)])
def test_a_resolver_in_trouble_says_so_and_the_others_answer(mode: str, rcode: dns.rcode.Rcode, visit: Visit) -> None:
    with Lab([mode]) as lab:
        visitor = visit(lab)
        assert visitor.lookup("10.1.0.252", MIRROR).rcode() == rcode
        assert visitor.lookup("10.0.0.2", MIRROR).rcode() == dns.rcode.NOERROR


def test_a_silent_resolver_says_nothing_over_udp_and_takes_no_tcp(visit: Visit) -> None:
    with Lab(["dns-one-silent"]) as lab:
        visitor = visit(lab)
        for tcp in (False, True):
            with pytest.raises((dns.exception.Timeout, TimeoutError)):
                visitor.lookup("10.1.0.251", MIRROR, tcp=tcp)
        assert visitor.lookup("10.1.0.252", MIRROR).answer


def test_one_resolver_may_know_another_address(visit: Visit) -> None:
    with Lab(["dns-disagree"]) as lab:
        visitor = visit(lab)
        answers = {address: visitor.lookup(address, MIRROR).answer[0][0].to_text() for address in RESOLVERS}
    assert answers["10.0.0.2"] == answers["10.1.0.251"] == MIRROR_ADDRESS != answers["10.1.0.252"]


def test_garbage_is_not_answered(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        udp.connect(visitor.place("10.0.0.2:53"))
        udp.send(b"\0\1garbage")
        with pytest.raises(TimeoutError):
            udp.recv(100)
    assert visitor.lookup("10.0.0.2", MIRROR).answer
