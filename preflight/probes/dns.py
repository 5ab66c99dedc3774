"""What one resolver answers for the names that a pipeline needs; queried directly, never through this machine's own."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from preflight.clients.connect import NotMapped, Routes, split_address
from preflight.evidence import Evidence, Fact
from preflight.faults import DnsFault
from preflight.shell_command import program

if TYPE_CHECKING:
    import dns.message

_PORT = 53
_LEAST = 0.01  # seconds that any step of a query gets
_LARGEST = 65_535  # bytes of a message
_MOST_AT_ONCE = 16  # queries in flight to one resolver
_MOST_NAMED = 5  # names listed in a cause
_FOR_TCP = 0.3  # of the deadline, kept to repeat over TCP what UDP left unanswered
_FOR_AAAA = 0.5  # of the deadline, where the answer decides nothing

# Where faults are equally frequent, the first of these is the resolver's.
_PRECEDENCE = (
    DnsFault.UNREACHABLE,
    DnsFault.TIMEOUT,
    DnsFault.REFUSED,
    DnsFault.GARBLED,
    DnsFault.SERVFAIL,
    DnsFault.NXDOMAIN,
    DnsFault.NO_ANSWER,
    DnsFault.WRONG_ANSWER,
)

_SENTENCES = {
    DnsFault.UNREACHABLE: "{resolver} is unreachable: nothing took the query for {names}",
    DnsFault.TIMEOUT: "{resolver} did not answer {names} (timeout)",
    DnsFault.REFUSED: "{resolver} refused to answer {names} (REFUSED)",
    DnsFault.GARBLED: "{resolver} answered {names} with something that is no DNS answer to the query",
    DnsFault.SERVFAIL: "{resolver} could not resolve {names} (SERVFAIL)",
    DnsFault.NXDOMAIN: "{resolver} says that {names} do not exist (NXDOMAIN)",
    DnsFault.NO_ANSWER: "{resolver} knows {names} but no address of them",
    DnsFault.WRONG_ANSWER: "{resolver} gives other addresses than expected for {names}",
}
_OTHERWISE = "{resolver}: {fault} for {names}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a resolver answered for one name.

    Attributes:
        addresses: the A records' (and, where an IPv6 address is expected, the AAAA records').
        message: the records, or why there are none, in short.
        took: seconds.
        over_tcp: whether TCP was answered after UDP was not; None where UDP was.
    """

    name: str
    fault: DnsFault | None = None
    addresses: frozenset[str] = frozenset()
    message: str = ""
    took: float = 0.0
    over_tcp: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups(Fact):
    """What one resolver answered for all names, from one vantage."""

    resolver: str
    answers: tuple[Answer, ...] = field(default=())

    @property
    def silent(self) -> bool:
        """Whether there was no answer to any query."""
        return bool(self.answers) and all(
            answer.fault in {DnsFault.TIMEOUT, DnsFault.UNREACHABLE} for answer in self.answers
        )

    @property
    def failed(self) -> tuple[Answer, ...]:
        """The answers with a fault."""
        return tuple(answer for answer in self.answers if answer.fault is not None)


def judge_answer(answer: Answer, expected: frozenset[str]) -> Answer:
    """The answer, marked as wrong when it holds an address that is not `expected`; an empty set expects any.

    Fewer addresses than expected are right: a resolver may hand out a few of many in turn.
    """
    if answer.fault is not None or not expected:
        return answer
    surplus = answer.addresses - _normal(expected)
    if not surplus:
        return answer
    unexpected = ", ".join(sorted(surplus))
    message = f"{answer.message}; not expected: {unexpected}" if answer.message else unexpected
    return replace(answer, fault=DnsFault.WRONG_ANSWER, message=message)


def _normal(addresses: frozenset[str]) -> frozenset[str]:
    return frozenset(str(ipaddress.ip_address(address)) for address in addresses)


def summarise(
    resolver: str,
    answers: Sequence[Answer],
    *,
    expected: Mapping[str, frozenset[str]],
    where: str,
    command: str,
    observed: str,
    took: float,
    deadline: float = 0.0,
) -> Lookups:
    """One resolver's answers as a fact: its fault is the most frequent one, its cause names who, what and how many.

    `deadline` is the seconds that were waited for each answer, to be named in the cause; 0 leaves it out.
    """
    judged = tuple(judge_answer(answer, expected.get(answer.name, frozenset())) for answer in answers)
    faults = Counter(answer.fault for answer in judged if answer.fault is not None)
    fault = max(faults, key=lambda fault: (faults[fault], -_rank(fault)), default=None)
    return Lookups(
        target=resolver,
        fault=fault,
        cause=_cause(resolver, judged, fault, deadline) if fault else "",
        evidence=Evidence(where=where, command=command, observed=observed, took=took),
        resolver=resolver,
        answers=judged,
    )


def _rank(fault: DnsFault) -> int:
    return _PRECEDENCE.index(fault) if fault in _PRECEDENCE else len(_PRECEDENCE)


def _cause(resolver: str, answers: Sequence[Answer], fault: DnsFault, deadline: float) -> str:
    affected = [answer for answer in answers if answer.fault is fault]
    count = f"{len(affected)} of {len(answers)} name{'s' if len(answers) > 1 else ''}"
    if fault is DnsFault.TIMEOUT and deadline:
        count += f" within {deadline:g} s"
    cause = _SENTENCES.get(fault, _OTHERWISE).format(resolver=resolver, names=count, fault=fault)
    wrong = fault is DnsFault.WRONG_ANSWER
    listed = [f"{answer.name} ({answer.message})" if wrong and answer.message else answer.name for answer in affected]
    cause += f": {', '.join(listed[:_MOST_NAMED])}{' …' if len(listed) > _MOST_NAMED else ''}"
    if affected and all(answer.over_tcp for answer in affected):
        cause += "; over TCP it answers, so something drops UDP port 53"
    others = [f"{answer.name} ({answer.fault})" for answer in answers if answer.fault not in (None, fault)]
    return f"{cause}; besides: {', '.join(others[:_MOST_NAMED])}" if others else cause


LATEST = 1.0
"""Seconds that a resolver may take for its quickest answer (docs/sources.md#late-resolver)."""


def pace(asked: Sequence[Lookups]) -> Lookups | None:
    """The one with the quickest right answer, faulty where even that is late; None without a right one.

    Args:
        asked: of one resolver.
    """
    answers = [
        (lookups, answer)
        for lookups in asked
        for answer in lookups.answers
        if answer.fault is None and answer.addresses
    ]
    if not answers:
        return None
    shown, quickest = min(answers, key=lambda each: each[1].took)
    took = f"{quickest.took:.1f} s"
    evidence = replace(shown.evidence, observed=f"{quickest.name}: {took}", took=quickest.took)
    if quickest.took <= LATEST:
        return replace(shown, fault=None, cause="", evidence=evidence)
    vantages = f"the quickest of {len(answers)} answers" if len(answers) > 1 else "its answer"
    cause = f"{shown.resolver} answers late: {vantages} took {took}"
    return replace(shown, fault=DnsFault.LATE, cause=cause, evidence=evidence)


def lookups(
    resolver: str,
    names: Mapping[str, frozenset[str]],
    *,
    routes: Routes,
    deadline: float,
    where: str = "here",
) -> Lookups:
    """Query `resolver` for the addresses of all `names` at once, each within `deadline` seconds.

    The resolver is an address, with ``:port`` if that is not 53; `names` holds the addresses that each must have, where
    an empty set accepts any. UDP first, sent twice, then TCP. AAAA is queried, too, but its failure alone is no fault:
    an IPv4 cluster does not need it.

    Raises:
        Unmeasured: when ``connect:`` refuses the resolver's address.
    """
    host, port = split_address(resolver, _PORT)
    try:
        place = routes.resolve(host, port)
    except NotMapped as error:
        raise error.unmeasured() from error
    began = time.monotonic()
    queries = [partial(_query, place, name, "A", deadline) for name in names]
    queries += [
        partial(_query, place, name, "AAAA", deadline * (1 if _holds_ipv6(expected) else _FOR_AAAA), udp_only=True)
        for name, expected in names.items()
    ]
    received = _at_once(queries, name=f"dns {host}")
    answers = tuple(
        _combined(a, aaaa, ipv6=_holds_ipv6(expected))
        for a, aaaa, expected in zip(received, received[len(names) :], names.values(), strict=False)
    )
    at_port = ["-p", port] if port != _PORT else []
    seconds = max(1, round(deadline))
    return summarise(
        resolver,
        answers,
        expected=names,
        where=where,
        command=program("dig", f"+time={seconds}", "+tries=1", *at_port, f"@{host}", *names),
        observed="\n".join(f"{answer.name}: {answer.message}" for answer in answers),
        took=time.monotonic() - began,
        deadline=deadline,
    )


def _at_once(queries: Sequence[Callable[[], Answer]], *, name: str) -> list[Answer]:
    """All answers, in order; queried on daemon threads, since an executor's would hold up the end of the process."""
    answers: dict[int, Answer] = {}
    failures: list[Exception] = []
    waiting = deque(enumerate(queries))

    def work() -> None:
        while not failures:
            try:
                number, query = waiting.popleft()
            except IndexError:
                return
            try:
                answers[number] = query()
            except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
                failures.append(error)

    threads = [Thread(target=work, name=name, daemon=True) for _ in range(min(_MOST_AT_ONCE, len(queries)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [answers[number] for number in range(len(queries))]


def _holds_ipv6(addresses: frozenset[str]) -> bool:
    return any(":" in address for address in addresses)


def _combined(a: Answer, aaaa: Answer, *, ipv6: bool) -> Answer:
    """A's answer with AAAA's message, and with AAAA's addresses where IPv6 ones are expected."""
    if ipv6 and aaaa.addresses and a.fault in (None, DnsFault.NO_ANSWER):
        return replace(a, fault=None, addresses=a.addresses | aaaa.addresses, message=f"{a.message}; {aaaa.message}")
    if aaaa.addresses:
        return replace(a, message=f"{a.message}; AAAA {', '.join(sorted(aaaa.addresses))}")
    if a.fault is None and aaaa.fault not in (None, DnsFault.NO_ANSWER):
        return replace(a, message=f"{a.message}; AAAA: {aaaa.fault}")
    return a


_UNANSWERED = (DnsFault.TIMEOUT, DnsFault.UNREACHABLE, DnsFault.GARBLED)


def _query(place: tuple[str, int], name: str, kind: str, deadline: float, *, udp_only: bool = False) -> Answer:
    """One query, over UDP and, where the answer is truncated or missing, over TCP."""
    import dns.message

    began = time.monotonic()
    until = began + deadline
    query = dns.message.make_query(f"{name.rstrip('.')}.", kind, use_edns=False)  # as libc asks
    for_tcp = 0.0 if udp_only else deadline * _FOR_TCP
    answer, truncated = _over_udp(query, place, name, until - for_tcp)
    if (truncated or answer.fault in _UNANSWERED) and not udp_only:
        again = _over_tcp(query, place, name, until)
        answered = again.fault not in _UNANSWERED
        if not truncated:
            by_tcp = again.message if answered else str(again.fault)
            answer = replace(answer, over_tcp=answered, message=f"{answer.message}; over TCP: {by_tcp}")
        elif answered:
            answer = again
        else:
            message = f"the answer is too long for UDP, and over TCP: {again.message}"
            answer = Answer(name=name, fault=again.fault, message=message, over_tcp=False)
    return replace(answer, took=time.monotonic() - began)


def _over_udp(query: dns.message.Message, place: tuple[str, int], name: str, until: float) -> tuple[Answer, bool]:
    """The answer, and whether it was truncated; the query is sent twice, because UDP may lose one."""
    import dns.exception
    import dns.flags
    import dns.message

    garbled = ""
    try:
        family, _, _, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect(address)  # only a connected socket learns that nothing listens there
            for end in ((time.monotonic() + until) / 2, until):
                udp.settimeout(max(_LEAST, end - time.monotonic()))
                udp.send(query.to_wire())
                while (left := end - time.monotonic()) > 0:
                    udp.settimeout(left)
                    try:
                        reply = dns.message.from_wire(udp.recv(_LARGEST))
                    except TimeoutError:
                        break
                    except dns.exception.DNSException as error:
                        garbled = type(error).__name__
                        continue
                    if query.is_response(reply):
                        return _read(name, query, reply), bool(reply.flags & dns.flags.TC)
                    garbled = "an answer to another query"
    except OSError as error:
        return _unreachable(name, error), False
    if garbled:
        return Answer(name=name, fault=DnsFault.GARBLED, message=f"no DNS answer to the query: {garbled}"), False
    return Answer(name=name, fault=DnsFault.TIMEOUT, message="no answer (timeout)"), False


def _over_tcp(query: dns.message.Message, place: tuple[str, int], name: str, until: float) -> Answer:
    import dns.exception
    import dns.message
    import dns.query

    try:
        with socket.create_connection(place, timeout=max(_LEAST, until - time.monotonic())) as tcp:
            sent = query.to_wire()
            tcp.sendall(struct.pack(">H", len(sent)) + sent)
            (length,) = struct.unpack(">H", _received(tcp, 2, until))
            reply = dns.message.from_wire(_received(tcp, length, until))
        if not query.is_response(reply):
            raise dns.query.BadResponse
    except TimeoutError:
        return Answer(name=name, fault=DnsFault.TIMEOUT, message="no answer (timeout)")
    except OSError as error:
        return _unreachable(name, error)
    except (dns.exception.DNSException, EOFError, ValueError) as error:
        return Answer(name=name, fault=DnsFault.GARBLED, message=f"no DNS answer to the query: {type(error).__name__}")
    return _read(name, query, reply)


def _received(tcp: socket.socket, size: int, until: float) -> bytes:
    """So many bytes; an EOFError if the other side ends before. dnspython's own deadline moves with the wall clock."""
    received = b""
    while len(received) < size:
        tcp.settimeout(max(_LEAST, until - time.monotonic()))
        if until < time.monotonic():
            raise TimeoutError
        piece = tcp.recv(size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received


def _unreachable(name: str, error: OSError) -> Answer:
    reason = "nothing listens there" if error.errno == errno.ECONNREFUSED else error.strerror or str(error)
    return Answer(name=name, fault=DnsFault.UNREACHABLE, message=f"unreachable: {reason}")


def _read(name: str, query: dns.message.Message, reply: dns.message.Message) -> Answer:
    """What a well-formed answer says, aliases followed."""
    import dns.exception
    import dns.message
    import dns.rcode

    faults = {
        dns.rcode.NXDOMAIN: DnsFault.NXDOMAIN,
        dns.rcode.SERVFAIL: DnsFault.SERVFAIL,
        dns.rcode.REFUSED: DnsFault.REFUSED,
    }
    code = reply.rcode()
    if code is not dns.rcode.NOERROR:
        return Answer(name=name, fault=faults.get(code, DnsFault.GARBLED), message=dns.rcode.to_text(code))
    kind = query.question[0].rdtype
    try:
        chain = dns.message.QueryMessage.resolve_chaining(reply)  # type: ignore[arg-type]
    except dns.exception.DNSException as error:  # a loop of aliases, or not our query
        return Answer(name=name, fault=DnsFault.GARBLED, message=f"its aliases lead nowhere: {type(error).__name__}")
    addresses = frozenset(str(ipaddress.ip_address(record.address)) for record in chain.answer or ())
    alias = ""
    if chain.canonical_name != query.question[0].name:
        alias = f"alias of {chain.canonical_name.to_text(omit_final_dot=True)}: "
    if not addresses:
        return Answer(name=name, fault=DnsFault.NO_ANSWER, message=f"{alias}no {kind.name} record")
    return Answer(name=name, addresses=addresses, message=alias + ", ".join(sorted(addresses)))
