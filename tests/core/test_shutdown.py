"""Signals, and what those who make things ask before they make them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from preflight.evidence import Unmeasured
from preflight.shutdown import Shutdown, SignalHandlers


@pytest.fixture
def heeded() -> Iterator[tuple[Shutdown, SignalHandlers]]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    shutdown = Shutdown()
    interrupts = SignalHandlers(shutdown)
    interrupts.install()
    yield shutdown, interrupts
    interrupts.restore()
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_next_only_hurries(
    heeded: tuple[Shutdown, SignalHandlers], how: signal.Signals
) -> None:
    shutdown, _ = heeded
    if signal.getsignal(how) is signal.SIG_IGN:
        pytest.fail("this signal is ignored here, as nohup does it; run the tests without")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(how)
    assert not shutdown.expedite.is_set()
    signal.raise_signal(how)
    assert shutdown.expedite.is_set()


def test_at_the_end_even_the_first_signal_only_hurries(heeded: tuple[Shutdown, SignalHandlers]) -> None:
    shutdown, interrupts = heeded
    interrupts.ending = True
    signal.raise_signal(signal.SIGTERM)
    assert shutdown.expedite.is_set()


def test_nothing_is_made_once_the_run_stops() -> None:
    shutdown = Shutdown()
    shutdown.set()
    with pytest.raises(Unmeasured, match="the run was stopped before the Job x was made"), shutdown.making("the Job x"):
        pytest.fail("it was made")
    assert not shutdown.made


def test_who_removes_waits_for_what_is_being_made() -> None:
    shutdown, begun = Shutdown(), threading.Event()
    events: list[str] = []

    def make() -> None:
        with shutdown.making("the Job x"):
            begun.set()
            time.sleep(0.3)
            events.append("made")

    threading.Thread(target=make, daemon=True).start()
    begun.wait(10)
    shutdown.set()
    assert shutdown.settled(within=20)
    assert events == ["made"]


def test_who_hurries_does_not_wait_for_it() -> None:
    shutdown = Shutdown()
    shutdown.expedite.set()
    with shutdown.making("the Job x"):
        began = time.monotonic()
        assert not shutdown.settled(within=20)
    assert time.monotonic() - began < 10
