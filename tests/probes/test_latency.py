"""Samples of round trips: taken by the real script under the real sh and from here, and what is read out of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import dns.message
import pytest

from preflight.clients.connect import Routes
from preflight.evidence import NotApplicable
from preflight.faults import PacketFault
from preflight.inventory import Inventory
from preflight.probes import latency, shell, shell_sections
from preflight.probes.latency import FEW, MANY, Destination, RoundTrips, _Sample, destinations, read_samples
from preflight.probes.transcript import Report
from tests.probes.servers import closed_port, dns_server, full_backlog, hang, tcp_server

GITLAB = Destination("GitLab", "192.0.2.1", 80, address="192.0.2.1")
REGISTRY = Destination("registry.example", "registry.example", 443, address="192.0.2.2")
RESOLVER = Destination("192.0.2.53", "192.0.2.53", 53, query="registry.example")
LOSS, TRIP = 2.0, 0.2


def series(*kinds: str, begin: float = 100.0, quick: float = 0.01) -> list[_Sample]:
    """Samples one after the other: quick, resent (after a second), answered late, without an answer, refused."""
    took = {"quick": quick, "resent": 1 + quick, "none": 2.0, "unanswered": 1.0, "late": 1.4, "refused": quick}
    samples, moment = [], begin
    for kind in kinds:
        answered = kind in {"quick", "resent", "late"}
        samples.append(_Sample(moment, moment + took[kind], answered))
        moment += took[kind]
    return samples


FOUR = ("quick",) * 4


@pytest.mark.parametrize(
    ("gitlab", "resolver", "resent", "lost", "fault"),
    [
        (FOUR, FOUR, None, 0, None),
        (("resent", *FOUR), FOUR, None, 1, None),  # one
        (("resent", *FOUR), ("unanswered", *FOUR), None, 2, None),  # two at one moment
        (("resent", "quick", "resent", *FOUR), FOUR, None, 2, PacketFault.LOST),
        (("resent", "resent", *FOUR), ("unanswered", *FOUR), None, 3, PacketFault.LOST),
        (("resent", "quick", "none", *FOUR), FOUR, 2, 2, PacketFault.LOST),
        (("resent", "quick", "resent", *FOUR), FOUR, 0, 0, None),  # the machine was busy
        (FOUR, ("unanswered", "quick", "unanswered", *FOUR), 0, 2, PacketFault.LOST),  # queries are not sent again
        (FOUR, ("late", "quick", "late", *FOUR), None, 0, None),  # what is answered was not lost
        (("resent", *FOUR * 15, "resent"), FOUR * 9, None, 2, PacketFault.LOST),
        (("resent", *FOUR * 15, "resent"), FOUR * 10, None, 2, None),  # less than two percent of 102
        (("none", "none"), FOUR, None, 0, None),  # nobody answers there: not a matter of losses
        (("refused", "refused"), FOUR, None, 0, None),
        (FOUR, ("unanswered", "unanswered"), None, 0, None),
    ],
)
def test_packets_are_lost_where_that_shows_more_than_once(
    gitlab: tuple[str, ...], resolver: tuple[str, ...], resent: int | None, lost: int, fault: PacketFault | None
) -> None:
    taken = {GITLAB: series(*gitlab), RESOLVER: series(*resolver)}
    trips = read_samples(taken, where="node w", resent=resent)
    assert sum(samples.lost for samples in trips.samples) == lost
    judged = latency.with_losses(trips, LOSS)
    assert judged.fault is fault
    assert bool(judged.cause) is (fault is not None)


@pytest.mark.parametrize(
    ("quick", "baseline", "fault"),
    [(0.01, 0.0, None), (0.3, 0.0, PacketFault.FAR), (0.3, 0.15, None), (0.5, 0.2, PacketFault.FAR)],
)
def test_a_round_trip_is_what_the_vantage_itself_does_not_take(
    quick: float, baseline: float, fault: PacketFault | None
) -> None:
    taken = {GITLAB: series("resent", *FOUR, quick=quick), REGISTRY: series(*FOUR)}
    judged = latency.with_distance(read_samples(taken, where="here", baseline=[baseline]), TRIP)
    assert judged.fault is fault
    if fault is not None:
        assert judged.cause == "round trips from here are longer than 200 ms: GitLab 300 ms"
        assert "192.0.2.1" in str(judged.evidence.command)


def test_what_was_sent_again_shows_no_round_trip() -> None:
    for resent, fault in ((3, None), (None, None), (0, PacketFault.FAR)):
        trips = read_samples({GITLAB: series("resent", "resent", "resent")}, where="here", resent=resent)
        assert latency.with_distance(trips, TRIP).fault is fault


def test_a_way_on_which_most_is_lost_shows_no_round_trip_by_the_rest() -> None:
    for answered, fault in ((1, None), (2, None), (3, PacketFault.FAR)):
        taken = [*["quick"] * answered, *["unanswered"] * 4]
        trips = read_samples({GITLAB: series(*taken, quick=0.4)}, where="here")
        assert latency.with_losses(trips, LOSS).fault is PacketFault.LOST
        assert latency.with_distance(trips, TRIP).fault is fault


def test_a_busy_machine_makes_no_way_long() -> None:
    slow = series("quick", "quick", "quick", quick=0.8)
    trips = read_samples({GITLAB: [*series("quick"), *slow]}, where="here")
    assert latency.with_distance(trips, TRIP).fault is None


def test_without_any_answer_nothing_is_judged() -> None:
    with pytest.raises(NotApplicable):
        read_samples({GITLAB: series("none", "none"), RESOLVER: []}, where="here")


def test_destinations_are_gitlab_the_registries_and_the_resolvers(inventory: Inventory) -> None:
    found = destinations(inventory)
    assert [place.name for place in found[:1]] == ["GitLab"]
    assert {place.name for place in found if place.query} == set(inventory.dns.resolvers)
    assert {settings.host for settings in inventory.registries.values()} < {place.name for place in found}


# ---- the script ------------------------------------------------------------------------------------------------------

NETSTAT = "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 0 {}\nIpExt: InNoRoutes\nIpExt: 0\n"


def scripted(places: list[Destination], limit: float = 5, path: str = "/usr/bin:/bin") -> Report:
    nonce = shell.new_nonce()
    script = shell.render(latency.steps(places), limit=limit, nonce=nonce)
    ran = subprocess.run(
        ["/bin/sh", "-s"], input=script, capture_output=True, check=True, text=True, env={"PATH": path}, timeout=30
    )
    return Report(where="node w", sections=shell_sections.parse(ran.stdout, nonce))


def test_the_script_connects_a_few_times_and_gives_up_where_nobody_answers() -> None:
    with tcp_server(hang) as port:
        open_, closed = (
            Destination(name, "x.example", number, address="127.0.0.1")
            for name, number in (("a", port), ("b", closed_port()))
        )
        unknown = Destination("c", "no-address.invalid", 80)
        trips = latency.from_report(scripted([open_, closed, unknown]), [open_, closed, unknown])
    assert [(samples.destination, samples.taken) for samples in trips.samples] == [("a", FEW)]
    assert trips.fault is None
    assert trips.may_answer("a")
    assert not trips.may_answer("b")


def tool(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}")
    (folder / name).chmod(0o755)


def test_the_script_samples_on_where_one_failed(tmp_path: Path) -> None:
    """A tool that fails now and then stands in for packets that are lost: no second is waited for."""
    for name in ("tr", "head", "timeout", "sleep", "sh"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    count = tmp_path / "count"
    slow = f'[ "$#" -gt 2 ] || exit 0; echo >>{count}; n=0; while read -r _; do n=$((n + 1)); done <{count}\n'
    tool(tmp_path, "nc", f"case $* in -h) ;; *127.0.0.1*) exit 1 ;; *) {slow}[ $((n % 8)) -ne 0 ] ;; esac\n")
    tool(tmp_path, "cat", "exec /usr/bin/cat\n")
    samples = latency._printed(scripted([GITLAB], path=str(tmp_path)), GITLAB.step)
    assert len(samples) == FEW, "none of the first ones failed"
    count.write_text("x\n" * 6)  # so that the second one fails
    samples = latency._printed(scripted([GITLAB], path=str(tmp_path)), GITLAB.step)
    assert len(samples) == MANY
    assert [number for number, sample in enumerate(samples) if not sample.answered] == [1, 9, 17]


def test_the_kernels_counters_are_read() -> None:
    def report(*counts: str) -> Report:
        sections = tuple(
            shell_sections.Section(kind="resent", args=(when,), exit=0, output=text)
            for when, text in zip(("before", "after"), counts, strict=True)
        )
        return Report(where="w", sections=sections)

    assert latency._resent(report(NETSTAT.format(3), NETSTAT.format(5)), "after") == 5
    for text in ("", "TcpExt: TCPSynRetrans\n", NETSTAT.format("many"), NETSTAT.replace("TCPSynRetrans", "Other")):
        assert latency._resent(report(NETSTAT, text), "after") is None


# ---- from here -------------------------------------------------------------------------------------------------------


def test_from_here_each_destination_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_PATIENCE", 0.1)

    def answer(question: dns.message.Message, _way: str) -> dns.message.Message:
        return dns.message.make_response(question)

    with tcp_server(hang) as port, full_backlog() as full, dns_server(answer) as resolving:
        places = [
            Destination("open", "127.0.0.1", port),
            Destination("dropped", "127.0.0.1", full),
            Destination("closed", "127.0.0.1", closed_port()),
            Destination("resolver", "127.0.0.1", resolving, query="registry.example"),
        ]
        trips = latency.from_here(places, routes=Routes(), deadline=5)
    taken = {samples.destination: (samples.taken, samples.lost) for samples in trips.samples}
    assert taken == {"open": (FEW, 0), "resolver": (FEW, 0)}
    assert all(samples.round_trip < TRIP for samples in trips.samples)


def test_a_query_that_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_QUERY_PATIENCE", 0.05)
    monkeypatch.setattr(latency, "_RESENT_AFTER", 0.04)
    heard = []

    def answer(question: dns.message.Message, _way: str) -> dns.message.Message | None:
        heard.append(question)
        return None if len(heard) % 3 == 0 else dns.message.make_response(question)

    with dns_server(answer, tcp=False) as port:
        trips = latency.from_here([Destination("r", "127.0.0.1", port, query="a.example")], routes=Routes(), deadline=9)
    assert trips.samples[0].taken == MANY
    assert trips.samples[0].lost == len([number for number in range(1, MANY + 1) if number % 3 == 0])
    assert latency.with_losses(trips, LOSS).fault is PacketFault.LOST


Judge = Callable[[RoundTrips, float], RoundTrips]


@pytest.mark.parametrize("judge", [latency.with_losses, latency.with_distance])
def test_healthy_samples_have_no_fault(judge: Judge) -> None:
    assert judge(read_samples({GITLAB: series(*FOUR)}, where="here"), LOSS).fault is None
