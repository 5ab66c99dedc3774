"""How a stand-in asks the lab, and how the lab answers: files and FIFOs, which a POSIX shell needs no program for.

A run has a folder with a FIFO `bell` and a number of slots. A stand-in (ask.sh) takes a slot by writing its question
there, where no file was, and rings the bell with the slot's number. Its answer comes as shell text, a file for each
part, whose names it reads from the slot's own FIFO; the last part makes it exit, or become another program. So output
keeps its bytes, its stream and its order, and comes when it is said. Who is killed closes the FIFO, and the lab gives
its answer up; a lab that is gone closes it, too, and the stand-in exits.

The question is, each followed by NUL, the tool, the number of arguments, the arguments and the variables that tools
look at. What stands in for timeout asks in its tool's place, with the seconds: the lab then ends the answer, and two
processes fewer are started, of which a run has hundreds. For the same reason paths are plain text here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import temporary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

FOLDER = "ASK_FOLDER"
"""The environment variable that tells a stand-in where to ask."""
_VARIABLES = ("CRICTL_AUTH", "DOCKER_HOST", "DOCKER_TLS_VERIFY")
_LIMIT = "ASK_LIMIT"
_TIMED_OUT = 124
_SCRIPT = Path(__file__).with_name("ask.sh")
_LONGEST_QUESTION = 4 * 1024 * 1024  # bytes
_SPARE = 6  # free slots; a script of the suite starts as many stand-ins at once, and further ones try again


@dataclass(frozen=True)
class Question:
    """How a stand-in was started.

    Attributes:
        tool: its name.
        args: its arguments.
        env: those variables of its environment that a tool looks at, if they are set.
        limit: seconds after which `timeout` ends it.
    """

    tool: str
    args: list[str]
    env: Mapping[str, str]
    limit: float | None = None


class Reply:
    """What a stand-in is to do, in order."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._said: list[str] = []
        self._loop = asyncio.get_running_loop()

    def out(self, text: str | bytes) -> None:
        """Write to standard output."""
        self._say(_printed(text))

    def err(self, text: str | bytes) -> None:
        """Write to standard error."""
        self._say(f"{_printed(text)} >&2")

    def become(self, argv: Sequence[str]) -> None:
        """Become another program; nothing may follow."""
        self._say(f"""exec 9<&-; exec /bin/sh -c 'exec "$0" "$@"' {shlex.join(argv)}""")

    def exit(self, status: int) -> None:
        """Exit."""
        self._say(f"exit {status}")
        self._flush()

    def _say(self, command: str) -> None:
        if not self._said:
            self._loop.call_soon(self._flush)  # with whatever else is said before anybody waits
        self._said.append(command)

    def _flush(self) -> None:
        if self._said:
            self._show("\n".join([*self._said, ""]).encode(errors="surrogateescape"))
            self._said = []


def _printed(text: str | bytes) -> str:
    """The command that prints these bytes; each that may mean something to a shell or to printf is written in octal."""
    content = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    plain = re.sub(rb"[^\w ./:;,=+*()\[\]{}<>|&!?#@~^$\"-]|^-", lambda match: b"\\%03o" % match[0][0], content)
    return f"printf '{plain.decode('ascii')}'"


def stand_in(tool: str, *, unless: Collection[str] = (), program: str = "") -> str:
    """The executable of a stand-in.

    Args:
        tool: its name.
        unless: patterns of arguments; without one that matches any of them, it becomes `program`.
        program: the machine's own tool.
    """
    lines = ["#!/bin/sh", f"ask_tool={tool}"]
    if unless:
        patterns = "|".join(unless)
        lines.append(
            f"ask_asked() {{ for ask_word; do case $ask_word in {patterns}) return ;; esac; done; return 1; }}"
        )
        lines.append(f'ask_asked "$@" || exec {shlex.quote(program)} "$@"')
    return _asking(lines)


def limiter(tools: Collection[str], program: str) -> str:
    """The executable that stands in for ``timeout -k SECONDS SECONDS TOOL …``.

    Args:
        tools: stand-ins, which the lab can end itself; they never become another program.
        program: the machine's own timeout, for anything else.
    """
    words = " | ".join(f'"-k {tool}"' for tool in sorted(tools))
    lines = [
        "#!/bin/sh",
        f'ask_own() {{ exec {shlex.quote(program)} "$@"; }}',
        f'case "${{1-}} ${{4-}}" in {words}) ;; *) ask_own "$@" ;; esac',
        'case ${3-} in "" | . | *[!0-9.]*) ask_own "$@" ;; esac',
        f"{_LIMIT}=$3 ask_tool=$4",
        "shift 4",
    ]
    return _asking(lines)


def _asking(lines: Sequence[str]) -> str:
    """A script that asks, after these lines."""
    variables = " ".join(f'${{{name}+"{name}=${name}"}}' for name in (*_VARIABLES, _LIMIT))
    return "\n".join([*lines, f"ask_lab={os.getpid()}", _SCRIPT.read_text().replace("$ask_variables", variables)])


@contextlib.asynccontextmanager
async def exchange(answer: Callable[[Question, Reply], Awaitable[int]]) -> AsyncIterator[str]:
    """A folder where the stand-ins of one run ask; when it is left, those that still wait for an answer exit.

    Args:
        answer: does what the tool does and returns the exit status; it is cancelled when the stand-in is killed.
    """
    folder = temporary.folder("ask-")
    os.mkfifo(f"{folder}/bell")
    bell = os.open(f"{folder}/bell", os.O_RDONLY | os.O_NONBLOCK)
    held = _open_to_write(f"{folder}/bell")  # so that it has no end when nobody rings
    loop = asyncio.get_running_loop()
    serving: set[asyncio.Task[None]] = set()
    slots = 0

    def provide(wanted: int) -> None:
        nonlocal slots
        for slot in range(slots, wanted):
            os.mkfifo(f"{folder}/answer-{slot}")
        slots = max(slots, wanted)

    def rung() -> None:
        for slot in map(int, os.read(bell, 4096).split()):
            provide(slot + _SPARE)
            task = loop.create_task(_serve(folder, slot, answer))
            serving.add(task)
            task.add_done_callback(serving.discard)

    provide(_SPARE)
    loop.add_reader(bell, rung)
    try:
        yield folder
    finally:
        loop.remove_reader(bell)
        _close(folder, slots)
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        os.close(held)
        os.close(bell)


def _close(folder: str, slots: int) -> None:
    """Take the folder away, and let those who have opened it and will not be answered go on, to find nothing."""
    over = f"{folder}-over"
    os.rename(folder, over)  # who did not open it before this moment, does not find it any more
    for slot in range(slots):
        if os.path.exists(f"{over}/question-{slot}"):
            with contextlib.suppress(OSError):  # nobody has it open
                line = _open_to_write(f"{over}/answer-{slot}")
                os.write(line, b"\n\n")
                os.close(line)
    shutil.rmtree(over, ignore_errors=True)


def _open_to_write(fifo: str) -> int:
    """Open a FIFO; an OSError if nobody reads it."""
    return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


class _Line(asyncio.BaseProtocol):
    """The FIFO to a stand-in; `gone` once nobody reads it."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.gone.done():
            self.gone.set_result(None)


async def _serve(folder: str, slot: int, answer: Callable[[Question, Reply], Awaitable[int]]) -> None:
    """Answer one question, and make its slot free again. When the stand-in is killed, the answer is given up."""
    question, parts = f"{folder}/question-{slot}", 0
    try:
        asked = _read(question)
        line = os.fdopen(_open_to_write(f"{folder}/answer-{slot}"), "wb", buffering=0)
    except OSError:  # it is dead already
        _remove(question)
        return
    protocol = _Line()
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: protocol, line)
    transport.write(b"\n")

    def show(text: bytes) -> None:
        nonlocal parts
        if transport.is_closing():
            return
        name = f"part-{slot}-{parts}"  # of a folder that is gone when the run is over
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/{name}", "wb", buffering=0) as file:
            file.write(text)
        parts += 1
        transport.write(f"{name}\n".encode())

    reply = Reply(show)
    answering = asyncio.ensure_future(answer(asked, reply)) if asked else None
    gone = protocol.gone
    try:
        if answering is not None and asked is not None:
            await asyncio.wait((answering, gone), timeout=asked.limit, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                reply.exit(answering.result())
            elif not gone.done():
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                reply.exit(_TIMED_OUT)
            await gone
    finally:
        gone.cancel()
        if answering is not None:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        transport.close()
        for part in range(parts):
            _remove(f"{folder}/part-{slot}-{part}")
        _remove(question)  # last: now another may take the slot


def _remove(file: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)


def _read(file: str) -> Question | None:
    """What was asked; nothing if that is too long."""
    with open(file, "rb", buffering=0) as asked:
        if os.fstat(asked.fileno()).st_size > _LONGEST_QUESTION:
            return None
        content = asked.read()
    tool, count, *words = content.decode(errors="surrogateescape").split("\0")[:-1]
    variables = dict(variable.split("=", 1) for variable in words[int(count) :])
    limit = variables.pop(_LIMIT, None)
    return Question(tool, words[: int(count)], variables, None if limit is None else float(limit))
