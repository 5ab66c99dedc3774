"""What the probe script printed, cut into one section a step.

Reading is pure, and never trusts what a step printed: only lines that begin with the run's nonce are the script's own.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from preflight.evidence import Unmeasured
from preflight.probes.shell import KINDS, Step, command_line
from preflight.shell_command import ShellCommand

CUT = (124, 137, 143)  # exit statuses of a command that was ended: timeout's own, and 128 + KILL, TERM
_NOT_STARTED = (126, 127)
_MOST_SHOWN = 4000  # characters of an output that go into the evidence, which shows fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one step printed, and how it ended.

    Attributes:
        kind: as in `Step`.
        args: as in `Step`.
        exit: its exit status; None when it was cut off before its end.
        took: seconds.
        output: what it printed, at most 64 KB.
        stderr: what the tool printed beside its output (`fetch` alone; elsewhere it is in the output).
        tool: which tool was used, where there is a choice.
        lacks: the tools of which it needs one; empty when it has one, and everything else that any step needs.
        skipped: whether it was not tried, because Docker's daemon was not ready or could not pull the image before.
        unpulled: whether that image was why.
        clock: the machine's clock at its end, seconds since 1970 (`fetch` alone).
    """

    kind: str
    args: tuple[str, ...] = ()
    exit: int | None = None
    took: float = 0.0
    output: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)
    tool: str = ""
    lacks: str = ""
    skipped: bool = False
    unpulled: bool = False
    clock: float | None = None

    @property
    def command(self) -> ShellCommand:
        """What a person can type to see the same."""
        return command_line(self.kind, self.args, tool=self.tool)


def parse(output: str, nonce: str) -> tuple[Section, ...]:
    """The sections in what the script printed, whatever is around and in them; a cut-off one has no exit status."""
    sections = (_section(chunk) for chunk in _own_chunks(output, nonce))
    return tuple(part for section in sections if _takes(section.kind, section.args) for part in _commands_of(section))


_ARGUMENTS = {
    "connects": (4, 4),
    "queries": (4, 5),
    "docker_pull": (1, 1),
    "docker_run": (1, 1000),
    "docker_runs": (2, 1000),
    "fetch": (1, 1),
    "lookup": (1, 3),
    "tcp": (2, 2),
}
"""How many arguments a kind of step takes, at least and at most; any other takes those that it was given."""


def _takes(kind: str, args: Sequence[str]) -> bool:
    """Whether a step can have been this one: what was lost or garbled on the way is no section."""
    least, most = _ARGUMENTS.get(kind, (0, 1000))
    return kind in KINDS and least <= len(args) <= most and (kind != "tcp" or bool(re.fullmatch("[0-9]{1,9}", args[1])))


def _commands_of(section: Section) -> Iterable[Section]:
    """The section itself, or one for each command that ran in the same container."""
    if section.kind != "docker_runs":
        yield section
        return
    mark, image, *commands = section.args
    blocks = re.split(rf"(?m)^{re.escape(mark)} (\d{{1,3}}) (\d{{1,3}}) (\S*) (\S*)$\n?", section.output)
    before = blocks[0]
    ended: dict[int, tuple[int, float, str]] = {}
    for number, status, began, end, output in zip(*(blocks[place::5] for place in range(1, 6)), strict=True):
        took = max(0.0, _number(end) - _number(began))
        ended.setdefault(int(number), (int(status), took, output.strip("\n")))
    for number, command in enumerate(commands):
        status, took, output = ended.get(number, (section.exit, section.took, before))
        with suppress(ValueError):  # a word of it was garbled on the way
            words = tuple(shlex.split(command))
            yield replace(section, kind="docker_run", args=(image, *words), exit=status, took=took, output=output)


_Line = tuple[str, str]  # ours: the word after the nonce and the rest; else: "" and the line


def _own_chunks(output: str, nonce: str) -> Iterable[list[_Line]]:
    """The lines from the beginning of each step to its end, or to where they were cut off."""
    chunk: list[_Line] | None = None
    for line in output.split("\n"):
        word, _, rest = line.removeprefix(f"{nonce} ").rstrip("\r").partition(" ")
        if not line.startswith(f"{nonce} "):
            if chunk is not None:
                chunk.append(("", line))
        elif word == "begin":
            if chunk is not None:
                yield chunk  # the one before was cut off
            chunk = [(word, rest)]
        elif chunk is not None:
            chunk.append((word, rest))
            if word in ("end", "skipped"):
                yield chunk
                chunk = None
    if chunk is not None:
        yield chunk


def _section(chunk: Sequence[_Line]) -> Section:
    fields: dict[str, str] = {}
    for word, rest in chunk:
        fields.setdefault(word, rest)  # the first one counts
    streams: dict[str, list[str]] = {"output": [], "stderr": []}
    stream: list[str] = []
    for word, rest in chunk:
        if word in streams:
            stream = streams[word]
        elif not word:
            stream.append(rest)
    began, _, ended = fields.get("end", "").partition(" ")
    status = fields.get("exit", "")
    too_long = "end" in fields and not status  # it died of SIGPIPE: its output is longer than is kept
    return Section(
        kind=fields["begin"].partition(" ")[2],
        args=tuple(rest for word, rest in chunk if word == "arg"),
        exit=int(status) if re.fullmatch("[0-9]{1,9}", status) else 141 if too_long else None,
        took=max(0.0, _number(ended) - _number(began)) if "end" in fields else 0.0,
        output="\n".join(streams["output"]).rstrip("\n"),
        stderr="\n".join(streams["stderr"]).strip("\n"),
        tool=fields.get("tool", ""),
        lacks=fields.get("lacks", ""),
        skipped="skipped" in fields,
        unpulled=fields.get("skipped") == "unpulled",
        clock=_number(fields.get("clock", "")) or None,
    )


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def find(sections: Iterable[Section], step: Step, *, where: str) -> Section:
    """The section of a step.

    Raises:
        Unmeasured: the script ended before it, or its tool is missing there, or Docker's daemon was not ready or could
            not pull the image.
    """
    section = next((section for section in sections if (section.kind, section.args) == (step.kind, step.args)), None)
    if section is None:
        reason = f"The probe script at {where} ended before `{step.command}`."
        raise Unmeasured(reason, needs=f"a POSIX shell at {where} that runs the probe script to its end")
    if section.lacks:
        several = "," in section.lacks
        missing = f"none of {section.lacks}" if several else f"no {section.lacks}"
        reason = f"At {where} there is {missing}, so `{step.command}` could not be tried."
        raise Unmeasured(reason, needs=f"{'one of ' if several else ''}{section.lacks} at {where}")
    if section.exit in _NOT_STARTED and section.kind != "docker_run":
        reason = f"At {where} `{section.command}` could not be started: {section.stderr or section.output}"
        raise Unmeasured(reason, needs=f"a working {section.tool or 'command'} at {where}")
    if section.unpulled:
        reason = f"`{step.command}` was not tried at {where}: the Docker daemon could not pull its image."
        raise Unmeasured(reason, needs="an image that the Docker daemon can pull")
    if section.skipped:
        reason = f"`{step.command}` was not tried at {where}: the Docker daemon was not ready."
        raise Unmeasured(reason, needs="a Docker daemon that becomes ready")
    return section


def excerpt(text: str) -> str:
    """The beginning and the end of an output, which may be 64 KB, as evidence."""
    text = text.strip()
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}\n…\n{text[-_MOST_SHOWN // 2 :]}"
