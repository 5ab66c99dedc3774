"""A stand-in under each shell that `sh` may be: what it asks and prints is exact, and it ends when it is to end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab.tools.exchange import FOLDER, Question, Reply, exchange, limiter, stand_in
from tests import programs

PROJECT = Path(__file__).parents[2]
SHELLS = {
    "sh": ("/bin/sh",),
    "dash": ("dash",),
    "bash": ("bash", "--posix"),
    "busybox": ("busybox", "sh"),
}
EVERY_BYTE = bytes(range(256))
ODD_WORDS = ["", " ", "-n", "--", "a\nb\n", "'", '"', "\\", "\\n", "%s", "$HOME", "`id`", "*", "é", "\x7f", "x" * 5000]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    words = SHELLS[request.param]
    programs.require(words[0])
    return words


Answer = Callable[[Question, Reply], Awaitable[int]]


def ask(
    shell: tuple[str, ...], folder: Path, answer: Answer, script: str, *args: str | bytes, **variables: str
) -> tuple[int | None, bytes, bytes]:
    """Run a script in which `$tool` starts the stand-in; its exit status, output and errors."""
    file = folder / "tool"
    file.write_text(stand_in("tool"))
    tool = " ".join((*shell, str(file)))

    async def main() -> tuple[int | None, bytes, bytes]:
        async with exchange(answer) as place:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", script.replace("$tool", tool), "sh", *args),
                env={"PATH": os.environ["PATH"], FOLDER: place, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 20)
            return process.returncode, out, err

    return asyncio.run(main())


def test_a_question_is_what_was_asked(shell: tuple[str, ...], tmp_path: Path) -> None:
    asked: list[Question] = []

    async def answer(question: Question, reply: Reply) -> int:
        asked.append(question)
        return 7

    ended = ask(
        shell, tmp_path, answer, '$tool "$@"', *ODD_WORDS, b"\xff\xfe", DOCKER_HOST="tcp://docker:2375", CRICTL_AUTH=""
    )
    assert ended == (7, b"", b"")
    assert [*ODD_WORDS, "\udcff\udcfe"] == asked[0].args
    assert (asked[0].tool, asked[0].env) == ("tool", {"DOCKER_HOST": "tcp://docker:2375", "CRICTL_AUTH": ""})


def test_every_byte_goes_where_it_belongs(shell: tuple[str, ...], tmp_path: Path) -> None:
    big = EVERY_BYTE * 1000

    async def answer(question: Question, reply: Reply) -> int:
        for content in (EVERY_BYTE, b"-n", b"%d\\n", b"", big):
            reply.out(content)
            reply.err(content[::-1])
        return 0

    parts = (EVERY_BYTE, b"-n", b"%d\\n", b"", big)
    ended = ask(shell, tmp_path, answer, "$tool")
    assert ended == (0, b"".join(parts), b"".join(part[::-1] for part in parts))
    together = ask(shell, tmp_path, answer, "$tool 2>&1")
    assert together == (0, b"".join(part + part[::-1] for part in parts), b"")


def test_it_prints_when_it_is_said(shell: tuple[str, ...], tmp_path: Path) -> None:
    async def answer(question: Question, reply: Reply) -> int:
        reply.out("first\n")
        await asyncio.sleep(0.3)
        reply.out("second\n")
        return 0

    script = "$tool | while read -r line; do echo $line $(date +%s%N); done"
    _, out, _ = ask(shell, tmp_path, answer, script)
    first, second = (int(line.split()[1]) for line in out.splitlines())
    assert second - first > 0.2e9


def test_who_is_killed_is_not_answered_any_more(shell: tuple[str, ...], tmp_path: Path) -> None:
    given_up: list[bool] = []

    async def answer(question: Question, reply: Reply) -> int:
        if question.args:
            return 0
        reply.out("I wait\n")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            given_up.append(True)
            raise
        return 0

    began = time.monotonic()
    ended = ask(shell, tmp_path, answer, "timeout 0.5 $tool; echo $?; timeout -s KILL 0.5 $tool; echo $?; $tool again")
    assert ended[1].split(b"\n")[:2] == [b"I wait", b"124"]
    assert ended[1].split(b"\n")[2:4] == [b"I wait", b"137"]
    assert given_up == [True, True]
    assert time.monotonic() - began < 10


def test_the_lab_ends_a_stand_in_as_timeout_would(shell: tuple[str, ...], tmp_path: Path) -> None:
    """And only that: any other program, and any other form of it, is the machine's own timeout's matter."""
    asked: list[tuple[str, list[str], float | None]] = []

    async def answer(question: Question, reply: Reply) -> int:
        asked.append((question.tool, question.args, question.limit))
        reply.out("I wait\n")
        await asyncio.sleep(30 if question.args == ["long"] else 0)
        return 3

    own = tmp_path / "own"
    own.write_text('#!/bin/sh\necho own "$@"\n')
    own.chmod(0o755)
    file = tmp_path / "timeout"
    file.write_text(limiter({"tool", "other"}, str(own)))
    limited = " ".join((*shell, str(file)))
    lines = ("-k 1 2 tool a 'b c'", "-k 1 0.1 other long", "-k 1 1 cat a", "1 tool a", "-k 1 1s tool a", "")
    script = "; ".join(f"{limited} {line}; echo $?" for line in lines)
    _, out, err = ask(shell, tmp_path, answer, script)
    kept = "own -k 1 1 cat a\n0\nown 1 tool a\n0\nown -k 1 1s tool a\n0\nown\n0\n"
    assert (out.decode(), err) == (f"I wait\n3\nI wait\n124\n{kept}", b"")
    assert asked == [("tool", ["a", "b c"], 2.0), ("other", ["long"], 0.1)]


def test_nobody_reads_it_so_it_ends(shell: tuple[str, ...], tmp_path: Path) -> None:
    said = 0

    async def answer(question: Question, reply: Reply) -> int:
        nonlocal said
        while said < 2000:
            reply.out("y\n" * 1000)
            said += 1
            await asyncio.sleep(0.001)
        return 0

    status, out, _ = ask(shell, tmp_path, answer, "$tool | head -c 2")
    assert (status, out) == (0, b"y\n")
    assert said < 2000


def test_it_becomes_what_it_is_told(shell: tuple[str, ...], tmp_path: Path) -> None:
    async def answer(question: Question, reply: Reply) -> int:
        reply.out("as root: ")
        reply.become(question.args)
        return 0

    become = ask(shell, tmp_path, answer, 'echo given | $tool sh -c \'cat; printf %s "$1"; exit 9\' sh "$1"', "a'b\n c")
    assert become == (9, b"as root: given\na'b\n c", b"")
    assert ask(shell, tmp_path, answer, "$tool no-such-program")[0] == 127


def test_those_who_ask_at_once_each_get_their_own_answer(shell: tuple[str, ...], tmp_path: Path) -> None:
    async def answer(question: Question, reply: Reply) -> int:
        await asyncio.sleep(0.05)
        reply.out(f"{question.args[0]} " * 500 + "\n")
        return int(question.args[0])

    many = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do { $tool $n; echo $n=$?; } & done; wait"
    _, out, err = ask(shell, tmp_path, answer, f"{{ {many}; }}; {many}")
    lines = [*out.decode().splitlines()]
    assert err == b""
    for number in map(str, range(1, 21)):
        assert lines.count(" ".join([number] * 500) + " ") == 2
        assert lines.count(f"{number}={number}") == 2


def test_without_a_lab_it_exits(shell: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text(stand_in("tool"))
    for place in ({}, {FOLDER: str(tmp_path / "gone")}):
        ended = subprocess.run(
            [*shell, file], env={"PATH": os.environ["PATH"], **place}, capture_output=True, timeout=10, check=False
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (127, b"", b"")


def test_it_ends_with_the_run(shell: tuple[str, ...], tmp_path: Path) -> None:
    """Also where it has a process group of its own, as `timeout` gives it."""
    file = tmp_path / "tool"
    file.write_text(stand_in("tool"))
    places: list[Path] = []

    async def main() -> int:
        asked = asyncio.Event()

        async def answer(question: Question, reply: Reply) -> int:
            asked.set()
            await asyncio.sleep(30)
            return 0

        async with exchange(answer) as place:
            process = await asyncio.create_subprocess_exec(
                *shell, file, env={"PATH": os.environ["PATH"], FOLDER: place}, stderr=asyncio.subprocess.DEVNULL
            )
            await asyncio.wait_for(asked.wait(), 10)
        places.append(Path(place))
        return await asyncio.wait_for(process.wait(), 5)

    assert asyncio.run(main()) != 0
    assert not places[0].exists()


def test_it_ends_with_a_run_that_is_over_before_it_is_heard(shell: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text(stand_in("tool"))

    async def answer(question: Question, reply: Reply) -> int:
        raise AssertionError("it was heard")

    async def main() -> subprocess.Popen[bytes]:
        async with exchange(answer) as place:
            env = {"PATH": os.environ["PATH"], FOLDER: place}
            return ask_unheard(place, env)

    def ask_unheard(place: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*shell, file], env=env, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not (Path(place) / "question-0").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.2)  # the loop is held meanwhile, and hears no bell
        return process

    with asyncio.run(main()) as process:
        try:
            assert process.wait(5) != 0
        finally:
            process.kill()


LAB = """
    import asyncio, subprocess, sys
    from lab.tools.exchange import FOLDER, exchange, stand_in
    file, *shell = sys.argv[1:]
    open(file, "w").write(stand_in("tool"))
    async def answer(question, reply):
        print("asked", flush=True)
        await asyncio.sleep(30)
    async def main():
        async with exchange(answer) as place:
            process = await asyncio.create_subprocess_exec(*shell, file, env={FOLDER: place}, stderr=subprocess.DEVNULL)
            print(process.pid, place, flush=True)
            await process.wait()
    asyncio.run(main())
"""


def test_it_ends_with_a_lab_that_is_killed(shell: tuple[str, ...], tmp_path: Path) -> None:
    where = str(shutil.which(shell[0]))
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LAB), str(tmp_path / "tool"), where, *shell[1:]],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as lab:
        assert lab.stdout is not None
        pid, place = lab.stdout.readline().split()
        assert lab.stdout.readline() == "asked\n"
        lab.kill()
        lab.wait(10)
        until = time.monotonic() + 5
        while _lives(int(pid)) and time.monotonic() < until:
            time.sleep(0.02)
        assert not _lives(int(pid))
    shutil.rmtree(place)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_its_signals_are_the_systems_own(shell: tuple[str, ...], tmp_path: Path) -> None:
    """As `timeout` without -k sees it: who is ended, ends by that signal."""
    file = tmp_path / "tool"
    file.write_text(stand_in("tool"))

    async def main() -> int:
        asked = asyncio.Event()

        async def answer(question: Question, reply: Reply) -> int:
            asked.set()
            await asyncio.sleep(30)
            return 0

        async with exchange(answer) as place:
            process = await asyncio.create_subprocess_exec(
                *shell, file, env={"PATH": os.environ["PATH"], FOLDER: place}
            )
            await asyncio.wait_for(asked.wait(), 10)
            process.send_signal(signal.SIGTERM)
            return await asyncio.wait_for(process.wait(), 5)

    assert asyncio.run(main()) == -signal.SIGTERM
