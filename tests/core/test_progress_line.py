"""The live line: a terminal sees what the run waits for, and nothing else ever does."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
import pytest

from preflight import progress_line
from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Fact
from preflight.fact import CATALOGUE, Effect, FactSpec
from preflight.inventory import Inventory
from preflight.progress_line import ProgressLine, cut, sentence, wanted
from preflight.run import Run
from preflight.survey import Measurement, Survey
from tests import processes

PROJECT = Path(__file__).parents[2]
COLUMNS, LINES = 80, 12

FACTS = '''
import threading, time
from preflight.evidence import Evidence, Fact
from preflight.fact import fact


def seen():
    return Fact(target="x", evidence=Evidence(where="here", command="true"))


@fact()
def quick():
    """The quick fact."""
    return seen()


@fact(deadline="run")
def waited_for(run, quick):
    """A thing that takes its time."""
    run.say("waited_for", "pod on \\x1b[31mk8s-worker-2\\x1b[0m: Pulling image\\n" + "x" * 200)
    time.sleep(2.5)
    return seen()
'''

CHECKS = '''
def test_quick(quick):
    """2.1.1 The quick thing is right.

    Why: so.
    Remedy: mend it.
    """
    assert not quick.fault


def test_slow(waited_for):
    """2.1.2 The slow thing is right.

    Why: so.
    Remedy: mend it.
    """
    assert not waited_for.fault
'''


@pytest.fixture
def guide(tmp_path: Path, inventory_file: Path) -> Path:
    """A project with one quick check, and one that waits."""
    project = tmp_path / "project"
    (project / "checks").mkdir(parents=True)
    (project / "myfacts.py").write_text(FACTS)
    (project / "conftest.py").write_text('pytest_plugins = ("preflight.plugin", "lab.plugin", "myfacts")\n')
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (project / "checks" / "test_02_1_gitlab.py").write_text(CHECKS)
    for file in inventory_file.parent.iterdir():
        if file.is_file():
            (project / file.name).write_bytes(file.read_bytes())
    return project


COMMAND = ("pytest", "checks", *processes.WITHOUT_PLUGINS, "--inventory", "inventory.yaml")


def environment(guide: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR", "COLUMNS"}}
    return {**kept, "TERM": "xterm-256color", "PYTHONPATH": f"{processes.PROJECT}{os.pathsep}{guide}"}


def on_a_terminal(
    guide: Path, *arguments: str, errors: Path | None = None, variables: dict[str, str] | None = None
) -> bytes:
    """What a run writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    elsewhere = errors.open("wb") if errors else None
    process = processes.start(
        *(*COMMAND, *arguments),
        cwd=guide,
        env=environment(guide) | (variables or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=elsewhere or theirs,
    )
    os.close(theirs)
    written, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            written += read
    os.close(ours)
    if elsewhere:
        elsewhere.close()
    process.kill()
    assert process.wait(10) == 0, written.decode(errors="replace")
    return written


def screen(written: bytes) -> list[str]:
    """All lines that a terminal has shown, scrolled out or not, after these bytes."""
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=1000)
    pyte.ByteStream(screen).feed(written)
    gone = ["".join(line[place].data for place in range(COLUMNS)) for line in screen.history.top]
    return [line.rstrip() for line in [*gone, *screen.display]]


def test_a_terminal_sees_what_is_waited_for_and_keeps_nothing_of_it(guide: Path) -> None:
    written = on_a_terminal(guide)
    during = screen(written[: written.rindex(b"\x1b8", 0, written.rindex(b"\x1b[2K")) + 2])
    place = next(number for number, line in enumerate(during) if "pod on k8s-worker-2: Pulling image xx" in line)
    assert during[place - 1] == "checks/test_02_1_gitlab.py .", "pytest's own line stays as it is"
    assert during[place].endswith("…"), "cut to the terminal's width"
    after = screen(written)
    assert not [line for line in after if "Pulling image" in line]
    assert any(line.startswith("checks/test_02_1_gitlab.py ..") and line.endswith("[100%]") for line in after)


def test_a_pipe_sees_nothing_of_it(guide: Path) -> None:
    ours, theirs = os.pipe()
    process = processes.start(*COMMAND, cwd=guide, env=environment(guide), stdout=theirs, stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        written = pipe.read()
    assert process.wait(60) == 0, written
    for shown in (b"Pulling", b"\r", b"\x1b"):
        assert shown not in written


@pytest.mark.parametrize(
    ("arguments", "variables"), [(("-q",), {}), ((), {"CI": "true"}), ((), {"TERM": "dumb"})], ids=str
)
def test_nobody_sees_it_where_it_is_not_wanted(
    guide: Path, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    assert b"Pulling" not in on_a_terminal(guide, *arguments, variables=variables)


def test_a_file_of_errors_sees_nothing_of_it(guide: Path, tmp_path: Path) -> None:
    assert b"Pulling" not in on_a_terminal(guide, errors=tmp_path / "errors")
    assert (tmp_path / "errors").read_bytes() == b""


# ---- its words ------------------------------------------------------------------------------------------------------


def measuring(name: str, since: float, **targets: str) -> Measurement:
    nothing: frozenset[str] = frozenset()
    spec: FactSpec[Any] = FactSpec(
        name=name,
        function=lambda: None,
        title=f"The {name} fact",
        parameters=(),
        after=(),
        fan_in={},
        for_target={},
        tolerates=nothing,
        optional=nothing,
        reported_by=nothing,
        own_effect=Effect.READ,
        deadline="http",
        group=None,
    )
    measurement = Measurement(spec, targets)
    measurement.started = since
    return measurement


def test_it_tells_of_the_oldest_that_said_something() -> None:
    running = [measuring("login", 10, worker="w1"), measuring("pod", 12, worker="w2")]
    assert sentence(running, {}, 22.4) == "The login fact: w1 … 12 s (and 1 more)"
    assert sentence(running, {"pod[w2]": "pod on w2: Pulling"}, 22.4) == "pod on w2: Pulling … 10 s (and 1 more)"
    assert sentence(running[:1], {"gone[w9]": "old"}, 10) == "The login fact: w1 … 0 s"
    assert sentence([], {}, 0) == "waiting for the first measurement"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("short", 10, "short"),
        ("0123456789", 10, "012345678…"),
        ("コンテナを起動", 9, "コンテナ…"),
        ("e\u0301" * 4, 5, "e\u0301" * 4),
        ("a\u202eb\tc", 10, "abc"),
    ],
)
def test_it_is_cut_by_columns(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


def test_it_is_wanted_by_people_only() -> None:
    assert wanted({"TERM": "xterm"})
    assert not wanted({"TERM": "dumb"})
    assert not wanted({})
    assert not wanted({"TERM": "xterm", "CI": "1"})


@pytest.fixture
def line(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> tuple[ProgressLine, Callable[[float], bytes]]:
    """A line on a terminal, and what it wrote until a moment."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    now = [100.0]
    made = ProgressLine(Survey(Run(inventory=inventory, routes=Routes(), id="r")), theirs, clock=lambda: now[0])

    def at(moment: float) -> bytes:
        now[0] = moment
        made.show()
        return os.read(ours, 4096) if select.select([ours], [], [], 0.1)[0] else b""

    return made, at


def test_it_appears_only_when_waiting_takes_a_while(line: tuple[ProgressLine, Callable[[float], bytes]]) -> None:
    made, at = line
    assert at(100.0) == b""
    assert at(100.4) == b""
    assert b"waiting for the first measurement" in at(100.0 + progress_line.DELAY)
    assert at(100.6) == b"", "not more often than it is read"
    assert at(101.0) != b""
    made.erase()
    assert b"\x1b[2K" in at(101.1)
    assert at(101.2) == b"", "the next wait begins anew"
    made.close()
    made.show()  # a terminal that is gone costs nothing


def test_a_survey_tells_that_it_waits_and_that_it_waits_no_more(inventory: Inventory) -> None:

    survey = Survey(Run(inventory=inventory, routes=Routes(), id="r"))
    events: list[str] = []
    measured = measuring("slow", time.monotonic())
    survey.measurements[("slow", ())] = measured

    def waits() -> None:
        events.append("waits")
        measured.value = Fact(target="x", evidence=Evidence(where="here", command="true"))
        measured.done.set()

    survey.on_wait, survey.on_waited = waits, lambda: events.append("waited")
    before = CATALOGUE.copy()
    CATALOGUE["slow"] = measured.spec
    try:
        survey.join("slow", {})
    finally:
        CATALOGUE.clear()
        CATALOGUE.update(before)
    assert events == ["waits", "waited"]
