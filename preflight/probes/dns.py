"""What one resolver answers to the names that a pipeline needs; asked directly, never through this machine's own."""

from __future__ import annotations

import errno
import ipaddress
import socket
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

if TYPE_CHECKING:
    import dns.message

_PORT = 53
_MOST_AT_ONCE = 16  # questions in flight to one resolver
_MOST_NAMED = 5  # names listed in a cause
_FOR_TCP = 0.3  # of the deadline, kept to ask again over TCP what UDP left unanswered
_AS_INFORMATION = 0.5  # of the deadline, for AAAA, whose answer decides nothing

# The most telling first: where faults are equally many, the first of these is the resolver's.
_TELLING = (
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
    DnsFault.UNREACHABLE: "{resolver} is unreachable: nothing took the question for {names}",
    DnsFault.TIMEOUT: "{resolver} did not answer {names} (timeout)",
    DnsFault.REFUSED: "{resolver} refused to answer {names} (REFUSED)",
    DnsFault.GARBLED: "{resolver} answered {names} with something that is no DNS answer to the question",
    DnsFault.SERVFAIL: "{resolver} could not find out {names} (SERVFAIL)",
    DnsFault.NXDOMAIN: "{resolver} says that {names} do not exist (NXDOMAIN)",
    DnsFault.NO_ANSWER: "{resolver} knows {names} but no address of them",
    DnsFault.WRONG_ANSWER: "{resolver} gives other addresses than expected for {names}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a resolver said to one name.

    Attributes:
        addresses: the A records' (and, where an IPv6 address is expected, the AAAA records').
        said: its words, shortened: the records, or why there are none.
        took: seconds.
        over_tcp: whether TCP was answered after UDP was not; None where UDP was.
    """

    name: str
    fault: DnsFault | None = None
    addresses: frozenset[str] = frozenset()
    said: str = ""
    took: float = 0.0
    over_tcp: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups(Fact):
    """What one resolver said to every name, from one vantage."""

    resolver: str
    answers: tuple[Answer, ...] = field(default=())

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
    said = f"{answer.said}; not expected: {', '.join(sorted(surplus))}" if answer.said else ", ".join(sorted(surplus))
    return replace(answer, fault=DnsFault.WRONG_ANSWER, said=said)


def _normal(addresses: frozenset[str]) -> frozenset[str]:
    return frozenset(str(ipaddress.ip_address(one)) for one in addresses)


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
    fault = max(faults, key=lambda one: (faults[one], -_rank(one)), default=None)
    return Lookups(
        target=resolver,
        fault=fault,
        cause=_cause(resolver, judged, fault, deadline) if fault else "",
        evidence=Evidence(where=where, command=command, observed=observed, took=took),
        resolver=resolver,
        answers=judged,
    )


def _rank(fault: DnsFault) -> int:
    return _TELLING.index(fault) if fault in _TELLING else len(_TELLING)


def _cause(resolver: str, answers: Sequence[Answer], fault: DnsFault, deadline: float) -> str:
    hit = [answer for answer in answers if answer.fault is fault]
    count = f"{len(hit)} of {len(answers)} name{'s' if len(answers) > 1 else ''}"
    if fault is DnsFault.TIMEOUT and deadline:
        count += f" within {deadline:g} s"
    words = _SENTENCES.get(fault, "{resolver}: " + fault + " for {names}").format(resolver=resolver, names=count)
    listed = [f"{one.name} ({one.said})" if fault is DnsFault.WRONG_ANSWER and one.said else one.name for one in hit]
    words += f": {', '.join(listed[:_MOST_NAMED])}{' …' if len(listed) > _MOST_NAMED else ''}"
    if hit and all(one.over_tcp for one in hit):
        words += "; over TCP it answers, so something drops UDP port 53"
    others = [f"{one.name} ({one.fault})" for one in answers if one.fault not in (None, fault)]
    return f"{words}; besides: {', '.join(others[:_MOST_NAMED])}" if others else words


def lookups(
    resolver: str,
    names: Mapping[str, frozenset[str]],
    *,
    routes: Routes,
    deadline: float,
    where: str = "here",
) -> Lookups:
    """Ask `resolver` for the addresses of all `names` at once, each within `deadline` seconds.

    The resolver is an address, with ``:port`` if that is not 53; `names` holds the addresses that each must have, where
    an empty set accepts any. UDP first, sent twice, then TCP. AAAA is asked, too, but its failure alone is none: an
    IPv4 cluster does not need it.

    Raises:
        Unmeasured: when ``connect:`` refuses the resolver's address.
    """
    host, port = split_address(resolver, _PORT)
    try:
        place = routes.resolve(host, port)
    except NotMapped as error:
        raise error.unmeasured() from error
    began = time.monotonic()
    asked = [partial(_ask, place, name, "A", deadline) for name in names]
    asked += [
        partial(_ask, place, name, "AAAA", deadline * (1 if _holds_ipv6(expected) else _AS_INFORMATION), udp_only=True)
        for name, expected in names.items()
    ]
    heard = _at_once(asked, name=f"dns {host}")
    answers = tuple(
        _together(a, aaaa, ipv6=_holds_ipv6(expected))
        for a, aaaa, expected in zip(heard, heard[len(names) :], names.values(), strict=False)
    )
    at_port = f" -p {port}" if port != _PORT else ""
    seconds = max(1, round(deadline))
    return summarise(
        resolver,
        answers,
        expected=names,
        where=where,
        command=f"dig +time={seconds} +tries=1{at_port} @{host} {' '.join(names)}",
        observed="\n".join(f"{answer.name}: {answer.said}" for answer in answers),
        took=time.monotonic() - began,
        deadline=deadline,
    )


def _at_once(questions: Sequence[Callable[[], Answer]], *, name: str) -> list[Answer]:
    """Every answer, in order; asked on daemon threads, since an executor's would hold up the end of the process."""
    answers: dict[int, Answer] = {}
    failures: list[Exception] = []
    waiting = deque(enumerate(questions))

    def ask() -> None:
        while not failures:
            try:
                number, question = waiting.popleft()
            except IndexError:
                return
            try:
                answers[number] = question()
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits
                failures.append(error)

    threads = [Thread(target=ask, name=name, daemon=True) for _ in range(min(_MOST_AT_ONCE, len(questions)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [answers[number] for number in range(len(questions))]


def _holds_ipv6(addresses: frozenset[str]) -> bool:
    return any(":" in address for address in addresses)


def _together(a: Answer, aaaa: Answer, *, ipv6: bool) -> Answer:
    """A's answer, with what AAAA said added in words, and in substance where IPv6 addresses are expected."""
    if ipv6 and aaaa.addresses and a.fault in (None, DnsFault.NO_ANSWER):
        return replace(a, fault=None, addresses=a.addresses | aaaa.addresses, said=f"{a.said}; {aaaa.said}")
    if aaaa.addresses:
        return replace(a, said=f"{a.said}; AAAA {', '.join(sorted(aaaa.addresses))}")
    if a.fault is None and aaaa.fault not in (None, DnsFault.NO_ANSWER):
        return replace(a, said=f"{a.said}; AAAA: {aaaa.fault}")
    return a


_UNHEARD = (DnsFault.TIMEOUT, DnsFault.UNREACHABLE, DnsFault.GARBLED)


def _ask(place: tuple[str, int], name: str, kind: str, deadline: float, *, udp_only: bool = False) -> Answer:
    """One question, over UDP and, where that is truncated or in vain, over TCP."""
    import dns.message

    began, until = time.monotonic(), time.time() + deadline  # dnspython counts in wall-clock time
    question = dns.message.make_query(f"{name.rstrip('.')}.", kind, use_edns=False)  # as libc asks
    for_tcp = 0.0 if udp_only else deadline * _FOR_TCP
    answer, truncated = _over_udp(question, place, name, until - for_tcp)
    if (truncated or answer.fault in _UNHEARD) and not udp_only:
        again = _over_tcp(question, place, name, until)
        heard = again.fault not in _UNHEARD
        if not truncated:
            words = again.said if heard else str(again.fault)
            answer = replace(answer, over_tcp=heard, said=f"{answer.said}; over TCP: {words}")
        elif heard:
            answer = again
        else:
            said = f"the answer is too long for UDP, and over TCP: {again.said}"
            answer = Answer(name=name, fault=again.fault, said=said, over_tcp=False)
    return replace(answer, took=time.monotonic() - began)


def _over_udp(question: dns.message.Message, place: tuple[str, int], name: str, until: float) -> tuple[Answer, bool]:
    """The answer, and whether it was cut to fit; the question is sent twice, because UDP may lose one."""
    import dns.exception
    import dns.flags
    import dns.query

    garbled = ""
    try:
        family, _, _, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect(address)  # only a connected socket is told that nobody listens there
            udp.settimeout(0)
            for expiration in ((time.time() + until) / 2, until):
                dns.query.send_udp(udp, question, None, expiration)
                while time.time() < expiration:
                    try:
                        reply, _, _ = dns.query.receive_udp(udp, None, expiration)
                    except dns.exception.Timeout:
                        break
                    except dns.exception.DNSException as error:
                        garbled = type(error).__name__
                        continue
                    if question.is_response(reply):
                        return _read(name, question, reply), bool(reply.flags & dns.flags.TC)
                    garbled = "an answer to another question"
    except OSError as error:
        return _unreachable(name, error), False
    if garbled:
        return Answer(name=name, fault=DnsFault.GARBLED, said=f"no DNS answer to the question: {garbled}"), False
    return Answer(name=name, fault=DnsFault.TIMEOUT, said="no answer (timeout)"), False


def _over_tcp(question: dns.message.Message, place: tuple[str, int], name: str, until: float) -> Answer:
    import dns.exception
    import dns.query

    try:
        reply = dns.query.tcp(question, place[0], timeout=max(0.01, until - time.time()), port=place[1])
    except dns.exception.Timeout:
        return Answer(name=name, fault=DnsFault.TIMEOUT, said="no answer (timeout)")
    except OSError as error:
        return _unreachable(name, error)
    except (dns.exception.DNSException, EOFError, ValueError) as error:
        return Answer(name=name, fault=DnsFault.GARBLED, said=f"no DNS answer to the question: {type(error).__name__}")
    return _read(name, question, reply)


def _unreachable(name: str, error: OSError) -> Answer:
    words = "nothing listens there" if error.errno == errno.ECONNREFUSED else error.strerror or str(error)
    return Answer(name=name, fault=DnsFault.UNREACHABLE, said=f"unreachable: {words}")


def _read(name: str, question: dns.message.Message, reply: dns.message.Message) -> Answer:
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
        return Answer(name=name, fault=faults.get(code, DnsFault.GARBLED), said=dns.rcode.to_text(code))
    kind = question.question[0].rdtype
    try:
        chain = dns.message.QueryMessage.resolve_chaining(reply)  # type: ignore[arg-type]
    except dns.exception.DNSException as error:  # a loop of aliases, or not our question
        return Answer(name=name, fault=DnsFault.GARBLED, said=f"its aliases lead nowhere: {type(error).__name__}")
    addresses = frozenset(str(ipaddress.ip_address(record.address)) for record in chain.answer or ())
    alias = ""
    if chain.canonical_name != question.question[0].name:
        alias = f"alias of {chain.canonical_name.to_text(omit_final_dot=True)}: "
    if not addresses:
        return Answer(name=name, fault=DnsFault.NO_ANSWER, said=f"{alias}no {kind.name} record")
    return Answer(name=name, addresses=addresses, said=alias + ", ".join(sorted(addresses)))
