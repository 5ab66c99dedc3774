"""The rate of a registry, from the times at which the pieces of a layer came."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest

from preflight.clients.connect import Routes
from preflight.clients.http import Arrival
from preflight.evidence import NotApplicable
from preflight.faults import RegistryFault
from preflight.probes.layer_rate import (
    PART,
    LayerRate,
    Pace,
    _Reading,
    describe_rate,
    describe_seconds,
    describe_size,
    measure,
    pace_of,
    with_largest,
)
from preflight.probes.registry import Access, Credentials, Manifest
from tests.conclusions import made
from tests.probes.servers import Asked, Said, web_server

HOST = "registry.example.com"
KIB = 1024


def arrivals(*pieces: tuple[float, int]) -> list[Arrival]:
    """What has come, by the seconds before each piece and its bytes."""
    at, received = (accumulate(column) for column in zip(*pieces, strict=True))
    return [Arrival(*pair) for pair in zip(at, received, strict=True)]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(0.1, 256 * KIB)], None),
        ([(0.1, 8 * KIB)] * 32, 8 * KIB * 8 / 0.1),
        ([(0.01, 8 * KIB)] * 32, None),  # in less than a second
        ([(2.0, 9 * KIB), (2.0, 3 * KIB)], None),  # a blob of a few KiB
        ([(1.0, 16 * KIB)] * 4, 16 * KIB * 8 / 1.0),  # a TLS record each
        ([(0.1, 8 * KIB)] * 20 + [(2.0, 8 * KIB)] + [(0.1, 8 * KIB)] * 11, 8 * KIB * 8 / 0.1),  # a lost packet
    ],
)
def test_the_pace_of_a_body(pieces: list[tuple[float, int]], expected: float | None) -> None:
    came = arrivals(*pieces)
    pace = pace_of(came, took=came[-1].at, stopped=False)
    assert pace.rate == (None if expected is None else pytest.approx(expected, rel=0.05))


def test_the_pace_of_what_came_in_time() -> None:
    slow = arrivals(*[(0.4, 1250)] * 9)
    assert pace_of(slow, took=3.6, stopped=True).rate == pytest.approx(25_000, rel=0.15), "however little it was"
    record = arrivals((1.0, 16 * KIB))
    assert pace_of(record, took=9.0, stopped=False) == Pace(16 * KIB, at_most=True), "no other one in eight seconds"
    assert pace_of([], took=9.0, stopped=False) == Pace(None)


def test_reading_goes_on_as_long_as_a_rate_is_not_clear() -> None:
    def stops(*pieces: tuple[float, int]) -> list[bool]:
        came, reading = arrivals(*pieces), _Reading(1e6)
        return [reading.is_enough(came[: count + 1]) for count in range(len(came))]

    assert stops(*[(0.4, 5_000)] * 10)[-3:] == [False, True, True], "far below the limit for three seconds"
    assert stops(*[(0.4, 40_000)] * 10) == [False] * 10
    assert stops(*[(0.4, 40_000)] * 14)[-1], "five seconds are enough"
    assert stops((0.1, 14_000), (3.5, 60_000)) == [False, False], "one pause alone is not slow"


def test_quantities_are_written_as_a_person_would() -> None:
    assert [describe_rate(rate) for rate in (97_600, 2_400_000)] == ["98 kbit/s", "2.4 Mbit/s"]
    assert [describe_size(size) for size in (3_797_000, 185_000_000)] == ["3.8 MB", "185 MB"]
    spans = [describe_seconds(seconds) for seconds in (42, 130, 15_110, 93_600, 288_000)]
    assert spans == ["42 s", "2 min", "4 h 12 min", "26 h", "3 days 8 h"]


def test_the_sentence_says_how_long_the_largest_image_of_that_registry_takes() -> None:
    rate = made_rate(98_000)
    manifests = [
        image(f"{HOST}/library/docker:dind", 185_000_000),
        image(f"{HOST}/a:1", 4_000_000),
        image("b/c:1", 10**9),
    ]
    judged = with_largest(rate, manifests, poll_timeout=180)
    assert judged.cause == f"{HOST} delivers 98 kbit/s: docker:dind (185 MB) takes 4 h 12 min"
    assert (judged.fault, judged.poll_timeout) == (RegistryFault.SLOW, 180)
    assert with_largest(made_rate(None), manifests, poll_timeout=180).cause == ""


def made_rate(rate: float | None) -> LayerRate:
    fault, cause = (None, "") if rate is None else (RegistryFault.SLOW, f"{HOST} delivers {describe_rate(rate)}")
    return LayerRate(target=HOST, host=HOST, rate=rate, fault=fault, cause=cause, evidence=made.shown())


def image(name: str, size: int) -> Manifest:
    return Manifest(target=name, image=name, size=size, layer="sha256:" + "a" * 64, evidence=made.shown())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda _: Said(206, {}, b"x" * PART), ""),
        (lambda _: Said(200, {}, b"x" * 1_000_000), ""),  # it knows no Range
        (lambda _: Said(206, {}, b"x" * 100), ""),
        (lambda _: Said(404), "has no library/alpine"),
        (lambda _: Said(416), "answered 416"),
        (lambda _: Said(206), ""),
    ],
)
def test_what_tells_no_rate_is_never_slow(answer: Callable[[Asked], Said], problem: str) -> None:
    with web_server(answer) as web:
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{web.port}"}, only_mapped=True)
        access = Access(scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
        described = image(f"{HOST}/library/alpine:latest", 4_000_000)
        if problem:
            with pytest.raises(NotApplicable, match=problem):
                measure(described, limit=1e6, **access)
        else:
            rate = measure(described, limit=1e6, **access)
            assert (rate.fault, rate.rate) == (None, None)
        assert web.asked[0].headers["range"] == "bytes=0-262143"


def test_a_redirect_to_an_object_store_is_followed_without_the_login() -> None:
    def answer(asked: Asked) -> Said:
        if asked.headers["host"] == "store.example.com":
            return Said(206, {}, b"x" * PART)
        if "authorization" not in asked.headers:
            return Said(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return Said(307, {"Location": "http://store.example.com/signed?key=1"})

    with web_server(answer) as web:
        target = f"127.0.0.1:{web.port}"
        routes = Routes({f"{HOST}:80": target, "store.example.com:80": target}, only_mapped=True)
        login = Credentials("robot", "made-up-registry-password")
        access = Access(scheme="http", credentials=login, ca_file=None, routes=routes, deadline=5)
        assert measure(image(f"{HOST}/library/alpine:latest", 4_000_000), limit=1e6, **access).fault is None
        assert ["authorization" in asked.headers for asked in web.asked] == [False, True, False]
        assert all(asked.headers["range"] == "bytes=0-262143" for asked in web.asked)
