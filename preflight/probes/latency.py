"""Lost packets and long round trips to GitLab, the registries and the resolvers: small samples from each vantage.

A sample is a TCP connection, or to a resolver one query. The first packet of a connection that is lost is sent again
after a second (docs/sources.md#packet-loss), so a sample that takes longer has lost one; so has a query without an
answer, where others were answered. Where a sample is lost more are taken, as long as there is time. Losses at one
moment are one event, and one event is no finding; nor is what a busy machine makes slow: where the kernel has sent no
first packet again, none was lost.

A round trip is the median of a destination's connections (to a resolver over TCP, too: a tool that asks one takes long
to start), less what the vantage's own tool takes to be refused by the machine that it runs on. It counts as long where
even the quickest sample took half of what is allowed: a busy machine makes most samples slow, and not all.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import statistics
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Thread
from urllib.parse import SplitResult, urlsplit

from preflight.clients.connect import Routes, dial, is_address, split_address
from preflight.evidence import Evidence, Fact, NotApplicable
from preflight.faults import PacketFault
from preflight.inventory import Inventory
from preflight.probes import shell
from preflight.probes.shell import Step
from preflight.probes.shell_sections import CUT
from preflight.probes.transcript import Report
from preflight.shell_command import ShellCommand, program

FEW, MANY = 6, 18
"""Samples of a destination, and those where one of them was lost."""
LEAST = 3
"""Samples that must come back for a median: where packets are lost, a single one may be late for that reason alone."""
_RESENT_AFTER = 0.9  # seconds; a kernel sends the first packet again after one
_PATIENCE = 2.0  # seconds for a connection
_IN_VAIN = 2  # further samples without an answer, after which nobody answers there
_UNLIKELY = 0.05  # a chance below which silence is no longer put down to losses
_QUERY_PATIENCE = 1.0
_DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Destination:
    """Where samples go to.

    Attributes:
        name: how messages call it.
        host: address or name; `port`: of TCP, or of DNS.
        query: the name that a resolver is asked for; "" for a connection.
        address: the host's; "" where the inventory does not say it.
    """

    name: str
    host: str
    port: int
    query: str = ""
    address: str = ""

    @property
    def step(self) -> Step:
        """The probe script's step."""
        if not self.query:
            return self.connection
        return shell.queries(self.query, self.name, few=FEW, many=MANY)

    @property
    def connection(self) -> Step:
        """The step that shows how long a connection takes; a name is looked up before, where no address is known."""
        return shell.connects(self.address or self.host, self.port, few=FEW, many=MANY if not self.query else FEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of one destination that answered.

    Attributes:
        destination: its name.
        taken: how many; `lost`: of them.
        round_trip: seconds, the median; `quickest`: the least.
    """

    destination: str
    taken: int
    lost: int
    round_trip: float
    quickest: float

    def is_longer(self, seconds: float) -> bool:
        """Whether a round trip takes longer than that, as far as enough came back to say so."""
        enough = self.taken - self.lost >= LEAST
        return enough and self.round_trip > seconds and self.quickest > seconds / 2

    def __str__(self) -> str:
        return f"{self.destination}: {self.lost} of {self.taken} lost, {_milliseconds(self.round_trip)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrips(Fact):
    """The samples from one vantage.

    Attributes:
        samples: of each destination that answered.
        events: moments at which packets were lost.
    """

    samples: tuple[Samples, ...] = ()
    events: int = 0

    @property
    def losing(self) -> tuple[Samples, ...]:
        """Those with losses."""
        return tuple(each for each in self.samples if each.lost)

    @property
    def lost_part(self) -> float:
        """Of the samples to destinations with losses, how many were lost, from 0 to 1."""
        taken = sum(each.taken for each in self.losing)
        return sum(each.lost for each in self.losing) / taken if taken else 0.0

    def may_answer(self, destination: str) -> bool:
        """Whether a destination answered, or so much is lost that samples without an answer show nothing."""
        by_chance = self.lost_part ** (_IN_VAIN + 1) > _UNLIKELY
        return by_chance or any(each.destination == destination for each in self.samples)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One sample: seconds at its begin and end, and whether it was answered."""

    began: float
    ended: float
    answered: bool

    @property
    def took(self) -> float:
        return self.ended - self.began

    @property
    def slow(self) -> bool:
        return self.took >= _RESENT_AFTER


def destinations(inventory: Inventory) -> tuple[Destination, ...]:
    """What samples go to: GitLab, each registry, each resolver."""
    url = urlsplit(inventory.gitlab.url)
    found = _named_destinations(inventory, url)
    return tuple(replace(place, address=_address(inventory, place.host)) for place in found)


def _address(inventory: Inventory, host: str) -> str:
    known = [host, *sorted(inventory.dns.names.get(host, ()))]
    return next((text for text in map(str, known) if is_address(text)), "")


def _named_destinations(inventory: Inventory, url: SplitResult) -> tuple[Destination, ...]:
    name = next(iter(inventory.dns.names), "")
    return (
        Destination(GITLAB, url.hostname or "", url.port or (443 if url.scheme == "https" else 80)),
        *(
            Destination(registry.host, *split_address(registry.host, 80 if registry.scheme == "http" else 443))
            for registry in inventory.registries.values()
        ),
        *(
            Destination(resolver, *split_address(resolver, _DNS_PORT), query=name)
            for resolver in (inventory.dns.resolvers if name else ())
        ),
    )


GITLAB = "GitLab"
"""The name of that destination."""


# ---- from a probe script --------------------------------------------------------------------------------------------


_BASELINE = shell.connects("127.0.0.1", 9, few=FEW, many=FEW)  # where the machine itself refuses


def steps(places: Sequence[Destination]) -> tuple[Step, ...]:
    """The probe script's steps."""
    samples = (
        _BASELINE,
        *dict.fromkeys(step for place in places for step in (place.step, place.connection)),
    )
    return (shell.resent("before"), *samples, shell.resent("after"))


def from_report(report: Report, places: Sequence[Destination]) -> RoundTrips:
    """The samples that a probe script took.

    Raises:
        NotApplicable: nothing answered, or the vantage has no tool.
    """
    taken = {place: _printed(report, place.step) for place in places}
    connections = {place: _printed(report, place.connection) for place in places}
    baseline = [sample.took for sample in _printed(report, _BASELINE)]
    before, after = (_resent(report, when) for when in ("before", "after"))
    resent = None if before is None or after is None else after - before
    return read_samples(taken, where=report.where, connections=connections, baseline=baseline, resent=resent)


_LINE = re.compile(r"^(?P<began>\d{1,12}\.?\d{0,9}) (?P<ended>\d{1,12}\.?\d{0,9}) (?P<status>\d{1,3})$", re.MULTILINE)


def _printed(report: Report, step: Step) -> list[_Sample]:
    section = next(
        (each for each in report.sections if (each.kind, each.args) == (step.kind, step.args) and not each.lacks), None
    )
    found = _LINE.finditer(section.output) if section is not None else ()
    # A tool that did not end by itself in twice its time has not been run: the machine is busy.
    ended = [line for line in found if int(line["status"]) not in CUT or step.kind == "connects"]
    return [_Sample(float(line["began"]), float(line["ended"]), line["status"] == "0") for line in ended]


def _resent(report: Report, when: str) -> int | None:
    """How many first packets of connections were sent again since that network was there."""
    step = shell.resent(when)
    section = next((each for each in report.sections if (each.kind, each.args) == (step.kind, step.args)), None)
    rows = [line.split() for line in section.output.splitlines()] if section is not None else []
    tables = [row for row in rows if row[:1] == ["TcpExt:"]]
    if len(tables) != 2:  # noqa: PLR2004 - the names, and their values
        return None
    count = dict(zip(*tables, strict=False)).get("TCPSynRetrans", "")
    return int(count) if re.fullmatch(r"\d{1,18}", count) else None


# ---- from here ------------------------------------------------------------------------------------------------------


def from_here(places: Sequence[Destination], *, routes: Routes, deadline: float) -> RoundTrips:
    """Samples from here, to all destinations at once.

    Raises:
        NotApplicable: nothing answered.
    """
    taken: dict[Destination, list[_Sample]] = {place: [] for place in places}

    def take(place: Destination) -> None:
        until = time.monotonic() + deadline
        with contextlib.suppress(OSError):  # what `connect:` does not map, or has no address
            routes.addresses(*routes.resolve(place.host, place.port), within=deadline)  # looked up once, and kept
            taken[place] = list(_repeated(place, routes, until))

    threads = [Thread(target=take, args=(place,), name=f"samples {place.name}", daemon=True) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline + _PATIENCE)
    return read_samples({place: list(samples) for place, samples in taken.items()}, where="here")


def _repeated(place: Destination, routes: Routes, until: float) -> Iterator[_Sample]:
    wanted, answered = FEW, False
    for number in range(MANY):
        if number >= wanted or time.monotonic() >= until:
            return
        sample = _query(place, routes) if place.query else _connect(place, routes)
        yield sample
        answered = answered or sample.answered
        if sample.slow or not sample.answered:
            wanted = MANY
        if number == _IN_VAIN and not answered:
            return


def _connect(place: Destination, routes: Routes) -> _Sample:
    began = time.monotonic()
    try:
        with dial(place.host, place.port, routes=routes, deadline=_PATIENCE) as connection:
            ended = time.monotonic()
            measured = _measured_by_kernel(connection)
    except OSError:
        return _Sample(began, time.monotonic(), answered=False)
    return _Sample(began, ended if measured is None else began + measured, answered=True)


_TCP_INFO = struct.Struct("8B24I")
_ROUND_TRIP, _RESENT = 8 + 15, 8 + 23


def _measured_by_kernel(connection: socket.socket) -> float | None:
    """Seconds that the kernel took to connect, a busy process's own waiting left out; None where it does not say."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        fields = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except (OSError, struct.error):
        return None
    seconds: int = fields[_RESENT]
    return seconds + int(fields[_ROUND_TRIP]) / 1e6


def _query(place: Destination, routes: Routes) -> _Sample:
    """A query of which any answer counts."""
    number = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label for label in place.query.rstrip(".").encode("idna").split(b"."))
    packet = number + b"\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00\x01\x00\x01"
    family, _, _, _, address = socket.getaddrinfo(*routes.resolve(place.host, place.port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(_QUERY_PATIENCE)
        began = time.monotonic()
        try:
            udp.connect(address)
            udp.send(packet)
            while udp.recv(65_535)[:2] != number:
                pass
        except OSError:
            return _Sample(began, time.monotonic(), answered=False)
        # What has come is answered, however late a busy process reads it.
        return _Sample(began, min(time.monotonic(), began + _RESENT_AFTER / 2), answered=True)


# ---- judging --------------------------------------------------------------------------------------------------------


def read_samples(
    taken: Mapping[Destination, Sequence[_Sample]],
    *,
    where: str,
    connections: Mapping[Destination, Sequence[_Sample]] | None = None,
    baseline: Sequence[float] = (),
    resent: int | None = None,
) -> RoundTrips:
    """The fact from samples.

    Args:
        taken: by destination.
        where: the vantage.
        connections: those of them, or beside them, that show how long a round trip takes; by default all.
        baseline: seconds that samples take there without any way.
        resent: first packets of connections that the kernel has sent again meanwhile; None if it does not say.

    Raises:
        NotApplicable: nothing answered.
    """
    lost: list[_Sample] = []
    samples = []
    for place, whole in taken.items():
        answered = [sample for sample in whole if sample.answered and (not sample.slow or not place.query)]
        if not answered:
            continue  # that it does not answer is judged elsewhere
        missing = [sample for sample in whole if sample.slow and not (sample.answered and place.query)]
        if not place.query and resent == 0:
            missing = []
        lost += missing
        shown = answered
        if connections is not None:
            shown = [sample for sample in connections.get(place, ()) if sample.answered]
        # One that was slow has lost a packet, and shows no round trip, unless nothing was sent again.
        quick = [sample.took for sample in shown if not sample.slow or resent == 0] or [0.0]
        samples.append(
            Samples(
                destination=place.name,
                taken=len(whole),
                lost=len(missing),
                round_trip=round(max(0.0, statistics.median(quick) - max(baseline, default=0.0)), 3),
                quickest=round(max(0.0, min(quick) - min(baseline, default=0.0)), 3),
            )
        )
    if not samples:
        raise NotApplicable(f"no sample of a round trip from {where} was answered")
    worst = max(samples, key=lambda each: (each.lost / each.taken, each.round_trip))
    return RoundTrips(
        target=where,
        samples=tuple(samples),
        events=_events(lost),
        evidence=Evidence(
            where=where,
            command=_ping(taken, worst.destination),
            observed="\n".join(map(str, samples)),
            took=max((sample.ended for whole in taken.values() for sample in whole), default=0.0)
            - min((sample.began for whole in taken.values() for sample in whole), default=0.0),
        ),
    )


def _ping(places: Iterable[Destination], name: str) -> ShellCommand:
    host = next((place.host for place in places if place.name == name), name)
    return program("ping", "-c", 50, "-i", 0.2, host)


def _events(lost: Iterable[_Sample]) -> int:
    """How many of the losses follow one after the other; what overlaps may have been lost at one moment."""
    count, end = 0, float("-inf")
    for sample in sorted(lost, key=_ended):
        if sample.began >= end:
            count, end = count + 1, sample.ended
    return count


def _ended(sample: _Sample) -> float:
    return sample.ended


def with_losses(round_trips: RoundTrips, percent: float) -> RoundTrips:
    """The same, faulty where packets were lost more than once, and at least so many percent of them."""
    taken = sum(each.taken for each in round_trips.samples)
    lost = sum(each.lost for each in round_trips.samples)
    if round_trips.events < 2 or 100 * lost < percent * taken:  # noqa: PLR2004 - one event is none
        return replace(round_trips, fault=None, cause="")
    places = ", ".join(f"{each.destination} {each.lost} of {each.taken}" for each in round_trips.losing)
    cause = f"from {round_trips.target} {lost} of {taken} packets were lost ({lost / taken:.0%}): {places}"
    return replace(round_trips, fault=PacketFault.LOST, cause=cause)


def with_distance(round_trips: RoundTrips, seconds: float) -> RoundTrips:
    """The same, faulty where a destination is further away than so many seconds."""
    far = [each for each in round_trips.samples if each.is_longer(seconds)]
    if not far:
        return replace(round_trips, fault=None, cause="")
    places = ", ".join(f"{each.destination} {_milliseconds(each.round_trip)}" for each in far)
    cause = f"round trips from {round_trips.target} are longer than {_milliseconds(seconds)}: {places}"
    return replace(round_trips, fault=PacketFault.FAR, cause=cause)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
