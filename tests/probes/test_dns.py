"""What a resolver says, and that each of its failures is told from the others."""

from __future__ import annotations

import ipaddress
import itertools
import time
from collections.abc import Mapping

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest

from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import DnsFault, PathFault
from preflight.probes.dns import Answer, Lookups, judge_answer, lookups, pace, summarise
from tests.probes import servers
from tests.probes.servers import Answerer, Question, dns_server

RESOLVER = "10.0.0.2"
ANY: frozenset[str] = frozenset()
REGISTRY = "registry.example.com"
ZONE = {(REGISTRY, "A"): ["192.0.2.10"], ("private-registry.example.com", "A"): ["192.0.2.20", "192.0.2.21"]}


def reply(
    question: Question, records: Mapping[tuple[str, str], list[str]] = ZONE, *, rcode: int = 0
) -> dns.message.Message:
    """An answer as a recursive resolver gives it."""
    answer = dns.message.make_response(question, recursion_available=True)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    asked = question.question[0]
    found = records.get((asked.name.to_text(omit_final_dot=True), asked.rdtype.name))
    if found and not rcode:
        answer.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", asked.rdtype.name, found))
    return answer


def ask(
    answer: Answerer,
    names: Mapping[str, frozenset[str]] | None = None,
    *,
    deadline: float = 1.0,
    udp: bool = True,
    tcp: bool = True,
) -> Lookups:
    with dns_server(answer, udp=udp, tcp=tcp) as port:
        routes = Routes({f"{RESOLVER}:53": f"127.0.0.1:{port}"}, only_mapped=True)
        return lookups(RESOLVER, {REGISTRY: ANY} if names is None else names, routes=routes, deadline=deadline)


def test_addresses_are_read() -> None:
    told = ask(lambda question, _: reply(question), {name: ANY for name, _ in ZONE})
    assert told.fault is None
    assert told.cause == ""
    assert told.failed == ()
    assert [(one.name, one.addresses) for one in told.answers] == [
        (REGISTRY, frozenset({"192.0.2.10"})),
        ("private-registry.example.com", frozenset({"192.0.2.20", "192.0.2.21"})),
    ]
    assert all(one.over_tcp is None for one in told.answers)
    assert told.where == "here"
    assert told.target == told.resolver == RESOLVER


def test_the_evidence_names_the_resolver_of_the_inventory_and_not_the_mapped_one() -> None:
    told = ask(lambda question, _: reply(question), deadline=2)
    assert told.evidence.command == f"dig +time=2 +tries=1 @10.0.0.2 {REGISTRY}"
    assert told.evidence.observed == f"{REGISTRY}: 192.0.2.10"
    assert "127.0.0.1" not in repr(told) + told.evidence.command + told.evidence.observed


def test_another_port_is_asked_and_shown() -> None:
    with dns_server(lambda question, _: reply(question)) as port:
        told = lookups(f"127.0.0.1:{port}", {REGISTRY: ANY}, routes=Routes(), deadline=1)
    assert told.fault is None
    assert f" -p {port} @127.0.0.1 " in told.evidence.command


def test_the_vantage_is_passed_on() -> None:
    with dns_server(lambda question, _: reply(question)) as port:
        told = lookups(f"127.0.0.1:{port}", {REGISTRY: ANY}, routes=Routes(), deadline=1, where="node k8s-worker-1")
    assert told.where == "node k8s-worker-1"


def silence(_question: Question, _way: str) -> None:
    """Say nothing."""


def alias_without_end(question: Question, _way: str) -> dns.message.Message:
    answer = reply(question, {})
    answer.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "CNAME", "gone.example.com."))
    return answer


def another_question(question: Question, _way: str) -> dns.message.Message:
    other = dns.message.make_query("other.example.com.", "A")
    other.id = question.id
    return reply(other, {("other.example.com", "A"): ["192.0.2.66"]})


INJECTIONS: dict[str, tuple[Answerer, DnsFault]] = {
    "nxdomain": (lambda question, _: reply(question, rcode=dns.rcode.NXDOMAIN), DnsFault.NXDOMAIN),
    "servfail": (lambda question, _: reply(question, rcode=dns.rcode.SERVFAIL), DnsFault.SERVFAIL),
    "dns-refused": (lambda question, _: reply(question, rcode=dns.rcode.REFUSED), DnsFault.REFUSED),
    "silence": (silence, DnsFault.TIMEOUT),
    "no records": (lambda question, _: reply(question, {}), DnsFault.NO_ANSWER),
    "alias to nothing": (alias_without_end, DnsFault.NO_ANSWER),
    "junk": (lambda _, __: b"\x00" * 40, DnsFault.GARBLED),
    "short junk": (lambda _, __: b"HTTP", DnsFault.GARBLED),
    "another question's answer": (another_question, DnsFault.GARBLED),
    "not implemented": (lambda question, _: reply(question, rcode=dns.rcode.NOTIMP), DnsFault.GARBLED),
}


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_lookup_names_the_fault_it_met(injection: str) -> None:
    answer, fault = INJECTIONS[injection]
    began = time.monotonic()
    told = ask(answer, deadline=0.5)
    assert told.fault is fault
    assert [one.fault for one in told.answers] == [fault]
    assert told.answers[0].addresses == frozenset()
    assert RESOLVER in told.cause
    assert REGISTRY in told.cause
    assert time.monotonic() - began < 1.2


def test_a_closed_port_is_unreachable_and_says_so_at_once() -> None:
    routes = Routes({f"{RESOLVER}:53": f"127.0.0.1:{servers.closed_port()}"})
    began = time.monotonic()
    told = lookups(RESOLVER, {REGISTRY: ANY}, routes=routes, deadline=3)
    assert told.fault is DnsFault.UNREACHABLE
    assert "nothing listens there" in told.answers[0].message
    assert time.monotonic() - began < 1


def test_a_network_without_a_way_is_unreachable() -> None:
    told = lookups(
        RESOLVER, {REGISTRY: ANY}, routes=Routes({f"{RESOLVER}:53": f"{servers.UNREACHABLE}:53"}), deadline=1
    )
    assert told.fault is DnsFault.UNREACHABLE


def test_an_address_that_connect_refuses_is_not_measured() -> None:
    with pytest.raises(Unmeasured, match=r"10\.0\.0\.2:53") as refused:
        lookups(RESOLVER, {REGISTRY: ANY}, routes=Routes(only_mapped=True), deadline=1)
    assert refused.value.fault is PathFault.NOT_MAPPED


def test_silence_is_told_with_counts_seconds_and_names() -> None:
    names = {REGISTRY: ANY, "private-registry.example.com": ANY, "gitlab.example.com": ANY}
    told = ask(silence, names, deadline=0.5, tcp=False)
    assert told.cause == (
        "10.0.0.2 did not answer 3 of 3 names within 0.5 s (timeout): "
        "registry.example.com, private-registry.example.com, gitlab.example.com"
    )
    assert all(one.over_tcp is False for one in told.answers)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_meanwhile_changes_no_deadline(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count(1_800_000_000.0, jump)
    monkeypatch.setattr(time, "time", lambda: next(moments))
    assert [one.fault for one in ask(silence, deadline=0.5, tcp=False).answers] == [DnsFault.TIMEOUT]
    assert ask(lambda question, _: reply(question)).fault is None


def test_a_huge_answer_is_read_and_shown_in_part() -> None:
    addresses = [f"10.{number >> 8}.{number & 255}.1" for number in range(4_000)]  # 64 KB, over TCP
    zone = {**ZONE, (REGISTRY, "A"): addresses}
    told = ask(lambda question, _: reply(question, zone), deadline=3.0)
    assert told.fault is None
    assert len(told.evidence.observed) < 10_000


def test_many_names_are_asked_at_once() -> None:
    began = time.monotonic()
    told = ask(silence, {f"name-{number}.example.com": ANY for number in range(8)}, deadline=0.5)
    assert len(told.failed) == 8
    assert time.monotonic() - began < 1.2


def test_a_resolver_that_answers_only_over_tcp_is_recognised() -> None:
    told = ask(lambda question, way: reply(question) if way == "tcp" else None, deadline=0.6)
    assert told.fault is DnsFault.TIMEOUT
    assert told.answers[0].over_tcp is True
    assert told.cause.endswith("over TCP it answers, so something drops UDP port 53")


def test_an_answer_too_long_for_udp_is_fetched_over_tcp() -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, 200)]

    def answer(question: Question, way: str) -> dns.message.Message:
        whole = reply(question, {(REGISTRY, "A"): addresses})
        if way == "udp":
            whole.answer.clear()
            whole.flags |= dns.flags.TC
        return whole

    told = ask(answer)
    assert told.fault is None
    assert told.answers[0].addresses == set(addresses)


def test_an_answer_too_long_for_udp_without_tcp_is_no_answer() -> None:
    def answer(question: Question, way: str) -> dns.message.Message | None:
        if way == "tcp":
            return None
        whole = reply(question, {})
        whole.flags |= dns.flags.TC
        return whole

    told = ask(answer, deadline=0.5)
    assert told.fault is DnsFault.TIMEOUT
    assert told.answers[0].over_tcp is False
    assert "too long for UDP" in told.answers[0].message


def test_one_lost_datagram_is_no_fault() -> None:
    heard: list[str] = []

    def answer(question: Question, _way: str) -> dns.message.Message | None:
        kind = question.question[0].rdtype.name
        heard.append(kind)
        return reply(question) if heard.count(kind) > 1 else None

    told = ask(answer, deadline=1)
    assert told.fault is None
    assert told.answers[0].addresses == {"192.0.2.10"}


def test_junk_before_the_answer_is_passed_over() -> None:
    heard: list[str] = []

    def answer(question: Question, _way: str) -> dns.message.Message | bytes:
        kind = question.question[0].rdtype.name
        heard.append(kind)
        return reply(question) if heard.count(kind) > 1 else b"junk"

    assert ask(answer).fault is None


def test_aliases_are_followed() -> None:
    def answer(question: Question, _way: str) -> dns.message.Message:
        told = reply(question, {})
        name = question.question[0].name
        told.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "cdn.example.net."))
        if question.question[0].rdtype.name == "A":
            told.answer.append(dns.rrset.from_text("cdn.example.net.", 60, "IN", "A", "192.0.2.30"))
        return told

    told = ask(answer)
    assert told.answers[0].addresses == {"192.0.2.30"}
    assert told.answers[0].message.startswith("alias of cdn.example.net: 192.0.2.30")


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.NXDOMAIN, None], ids=str)
def test_a_failing_aaaa_beside_a_good_a_is_healthy(rcode: int | None) -> None:
    def answer(question: Question, _way: str) -> dns.message.Message | None:
        if question.question[0].rdtype.name == "A":
            return reply(question)
        return None if rcode is None else reply(question, rcode=rcode)

    told = ask(answer, deadline=0.6)
    assert told.fault is None
    assert told.answers[0].addresses == {"192.0.2.10"}
    assert "AAAA: " in told.answers[0].message


def test_ipv6_addresses_count_where_they_are_expected() -> None:
    zone = {**ZONE, (REGISTRY, "AAAA"): ["2001:db8::10"]}
    told = ask(lambda question, _: reply(question, zone), {REGISTRY: frozenset({"192.0.2.10", "2001:DB8:0::10"})})
    assert told.fault is None
    assert told.answers[0].addresses == {"192.0.2.10", "2001:db8::10"}
    only_v4 = ask(lambda question, _: reply(question, zone), {REGISTRY: frozenset({"192.0.2.10"})})
    assert only_v4.fault is None
    assert only_v4.answers[0].addresses == {"192.0.2.10"}
    only_v6 = ask(
        lambda question, _: reply(question, {(REGISTRY, "AAAA"): ["2001:db8::10"]}),
        {REGISTRY: frozenset({"2001:db8::10"})},
    )
    assert only_v6.fault is None


def test_an_unexpected_address_is_a_wrong_answer() -> None:
    told = ask(lambda question, _: reply(question), {REGISTRY: frozenset({"198.51.100.10"})})
    assert told.fault is DnsFault.WRONG_ANSWER
    assert told.answers[0].addresses == {"192.0.2.10"}
    assert "192.0.2.10; not expected: 192.0.2.10" in told.cause


def test_an_expected_address_is_right() -> None:
    assert ask(lambda question, _: reply(question), {REGISTRY: frozenset({"192.0.2.10"})}).fault is None


def test_the_questions_are_those_of_libc() -> None:
    questions: list[Question] = []

    def answer(question: Question, _way: str) -> dns.message.Message:
        questions.append(question)
        return reply(question)

    ask(answer)
    assert {one.question[0].rdtype.name for one in questions} == {"A", "AAAA"}
    for one in questions:
        assert one.flags & dns.flags.RD
        assert one.edns == -1
        assert one.opcode() is dns.opcode.QUERY


def test_no_names_is_no_fault() -> None:
    assert ask(silence, {}).answers == ()


# -- summing up, which the node's and the pod's readers share


def said(name: str, fault: DnsFault | None, *addresses: str, over_tcp: bool | None = None) -> Answer:
    return Answer(name=name, fault=fault, addresses=frozenset(addresses), over_tcp=over_tcp)


def summed(*answers: Answer, expected: Mapping[str, frozenset[str]] | None = None, deadline: float = 2) -> Lookups:
    return summarise(
        RESOLVER,
        answers,
        expected=expected or {},
        where="pod on k8s-worker-1",
        command=f"nslookup {REGISTRY} {RESOLVER}",
        observed="…",
        took=0.1,
        deadline=deadline,
    )


@pytest.mark.parametrize(
    ("faults", "chosen"),
    [
        ((None, None), None),
        ((None, DnsFault.NXDOMAIN), DnsFault.NXDOMAIN),
        ((DnsFault.NXDOMAIN, DnsFault.TIMEOUT), DnsFault.TIMEOUT),
        ((DnsFault.NXDOMAIN, DnsFault.NXDOMAIN, DnsFault.TIMEOUT), DnsFault.NXDOMAIN),
        ((DnsFault.SERVFAIL, DnsFault.UNREACHABLE), DnsFault.UNREACHABLE),
        ((DnsFault.NO_ANSWER, DnsFault.REFUSED), DnsFault.REFUSED),
    ],
)
def test_the_most_frequent_fault_is_the_resolvers(faults: tuple[DnsFault | None, ...], chosen: DnsFault | None) -> None:
    told = summed(*(said(f"n{number}.example.com", fault) for number, fault in enumerate(faults)))
    assert told.fault is chosen
    assert len(told.failed) == sum(fault is not None for fault in faults)


def test_the_cause_counts_and_names() -> None:
    told = summed(said("a.example.com", DnsFault.TIMEOUT), said("b.example.com", None, "192.0.2.1"))
    assert told.cause == "10.0.0.2 did not answer 1 of 2 names within 2 s (timeout): a.example.com"
    told = summed(
        said("a.example.com", DnsFault.NXDOMAIN),
        said("b.example.com", DnsFault.NXDOMAIN),
        said("c.example.com", DnsFault.SERVFAIL),
    )
    assert told.cause == (
        "10.0.0.2 says that 2 of 3 names do not exist (NXDOMAIN): a.example.com, b.example.com; "
        "besides: c.example.com (servfail)"
    )


def test_the_cause_of_a_single_name_is_in_the_singular() -> None:
    assert summed(said("a.example.com", DnsFault.SERVFAIL)).cause == (
        "10.0.0.2 could not resolve 1 of 1 name (SERVFAIL): a.example.com"
    )


def test_a_long_list_of_names_is_cut() -> None:
    told = summed(*(said(f"n{number}.example.com", DnsFault.REFUSED) for number in range(40)))
    assert "40 of 40" in told.cause
    assert "n4.example.com …" in told.cause
    assert "n5." not in told.cause


@pytest.mark.parametrize("fault", DnsFault, ids=str)
def test_every_fault_has_a_cause_in_words(fault: DnsFault) -> None:
    told = summed(said("a.example.com", fault))
    assert told.fault is fault
    assert "10.0.0.2" in told.cause
    assert "a.example.com" in told.cause
    assert "{" not in told.cause


def test_wrong_addresses_are_found_when_summing_up() -> None:
    told = summed(said(REGISTRY, None, "192.0.2.66"), expected={REGISTRY: frozenset({"192.0.2.10"})})
    assert told.fault is DnsFault.WRONG_ANSWER
    assert "192.0.2.66" in told.cause


@pytest.mark.parametrize(
    ("addresses", "expected", "fault"),
    [
        ({"192.0.2.1"}, set(), None),
        ({"192.0.2.1"}, {"192.0.2.1", "192.0.2.2"}, None),
        ({"192.0.2.1", "192.0.2.9"}, {"192.0.2.1"}, DnsFault.WRONG_ANSWER),
        ({"2001:db8::1"}, {"2001:0db8::0001"}, None),
    ],
)
def test_an_answer_is_held_against_the_expectation(
    addresses: set[str], expected: set[str], fault: DnsFault | None
) -> None:
    one = judge_answer(Answer(name=REGISTRY, addresses=frozenset(addresses)), frozenset(expected))
    assert one.fault is fault
    assert all(ipaddress.ip_address(address) for address in one.addresses)


def test_a_faulty_answer_keeps_its_fault() -> None:
    one = judge_answer(said(REGISTRY, DnsFault.SERVFAIL), frozenset({"192.0.2.1"}))
    assert one.fault is DnsFault.SERVFAIL


@pytest.mark.parametrize(
    ("here", "workers", "fault"),
    [
        ((2.0, 2.1), ((2.4, 2.5),), DnsFault.LATE),
        ((2.0, 0.1), ((2.4, 2.5),), None),  # it was busy once
        ((2.0, 2.1), ((0.02, 2.5),), None),  # only the way from here is slow
        ((None, None), ((2.4, 2.5),), DnsFault.LATE),
        ((None, None), ((None, 0.2),), None),
    ],
)
def test_a_resolver_is_late_if_its_quickest_right_answer_is(
    here: tuple[float | None, ...], workers: tuple[tuple[float | None, ...], ...], fault: DnsFault | None
) -> None:
    judged = pace([timed(*took) for took in (here, *workers)])
    assert judged is not None
    assert judged.fault is fault
    assert ("answers late" in judged.cause) is (fault is not None)
    assert pace([timed(None, None)]) is None, "nothing was answered"


FOUND = frozenset({"192.0.2.1"})


def timed(*took: float | None) -> Lookups:
    answers = [
        Answer(
            name=f"{number}.example.com", took=each or 5.0, fault=None if each else DnsFault.TIMEOUT, addresses=FOUND
        )
        for number, each in enumerate(took)
    ]
    return Lookups(
        target="10.0.0.2",
        resolver="10.0.0.2",
        answers=tuple(answers),
        evidence=Evidence(where="here", command="dig"),
    )
