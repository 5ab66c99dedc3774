"""Find known symptoms in a text: a sentence, or a whole job log with colours, timestamps and section marks.

A log is read in blocks of a megabyte. Each is stripped of what the runner, GitLab and terminals add, with operations on
the whole block; one automaton then finds every run of plain characters of every pattern at once, and only lines that
hold one are looked at. So 50 MB take about a second, whatever they say.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import os
import re
import select
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import ahocorasick_rs

from preflight.evidence import clean_part, without_controls
from preflight.symptoms import grammar
from preflight.symptoms.catalogue import Candidate, Kind, Pattern, Symptom, known
from preflight.symptoms.grammar import Around
from preflight.symptoms.stages import MARKS, Progress, Stage

LARGEST = 100_000_000
"""Bytes of a log that are kept where it has to be at hand as a whole: its end, where the failure is told."""

MOST = 1_000_000_000
"""Bytes after which a stream is taken for one without an end."""

PATIENCE = 30.0
"""Seconds without a byte after which a stream is given up."""

_BLOCK = 1 << 20  # bytes that are looked at together
_LONGEST = 1 << 22  # bytes without a line's end that are waited for
_SHOWN = 240  # characters of a line that are shown
_LONGEST_LINE = 1 << 12  # bytes of a line that are looked at together, around what was found in it
_BEGINS = re.compile(
    r"(?i:error|warn|warning|fatal|panic|failed|hint|note|info|debug|npm)\b"
    r"|[$#>+\[(*!\u2716\u25cf]|\d{4}-|\w{1,24}ing [a-z]|Running with |Created fresh|Checking out|Skipping |Job "
)
"""What a line begins with that is a message of its own, and not the rest of the one before it."""
_FEW = 30  # lines up to which a text may be one message that a terminal has wrapped
_ENOUGH = 5_000  # lines of one stage with the same run of characters, after which further ones are not looked at
_LONG = 1 << 12  # bytes of a line that are more than errors have: data, as a rule
_ENOUGH_LONG = 200  # of such lines, likewise: each takes as long as a hundred others
_MANY_SPENT = 20_000  # places in a block that are passed over so, after which those runs are searched for no more
_ENOUGH_BY_FORM = 400  # lines of one stage and command that are read by the form of errors: the first ones lead
_LONGEST_STAMP = 48  # bytes
_AROUND = 2_000  # bytes before and behind a line whose lines are looked at for what it speaks of
_NEAR = 4  # lines of these on either side
_COMMAND_WITHIN = 20_000  # bytes before a line in which the command is looked for that printed it
_COMMAND = re.compile(rb"\n\$ ")  # the runner shows each command of a script so, before it is run
_STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_CUT = re.compile(rb"\n" + _STAMP + rb" ?[0-9a-f]{2}[OE]\+")  # the second part of a line that GitLab has cut in two
_STAMPED = re.compile(rb"\n" + _STAMP + rb" ?(?:[0-9a-f]{2}[OE] ?)?")
_PREFIXES = (
    (
        b"]: ",
        re.compile(rb"\n[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [^\s:]{1,80} [\w.@-]{1,60}\[\d{1,8}\]: "),
    ),  # journald
    (b" | ", re.compile(rb"\n[\w.-]{1,80} {1,40}\| ")),  # docker compose logs
    (b"[pod/", re.compile(rb"\n\[pod/[^\]\s]{1,300}\] ")),  # kubectl logs --prefix
)
"""What programs that show logs put before each line, and runs of characters without which a text has none of it."""
_ESCAPES = ((b'\\"', b'"'), (b"\\u003c", b"<"), (b"\\u003e", b">"), (b"\\u0026", b"&"))
"""Characters as JSON and logfmt write them within a string: a manager's log may be in either."""
_ANSI = re.compile(rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,16}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-_])")
_CONTROLS = bytes(set(range(32)) - {9, 10, 13} | {127})
_BY_FORM = frozenset({Kind.GRAMMAR, Kind.UNCLASSIFIED})
_ESCAPED_END = re.compile(r"(?<!\\)\\n")  # a line's end as JSON has it


@dataclass(frozen=True, slots=True)
class Found:
    """A symptom that a text shows.

    Attributes:
        symptom: which.
        place: the number of the first line that shows it, from 1.
        line: that line, cleaned of control characters and secrets, cut around what was found.
        count: how many lines show it.
        stage: the stage of the log that this line stands in; None where the text has no stages.
        echo: whether another one leads, and this follows from it or says less.
        candidates: what it can mean here, without what line and log rule out: a stage that was passed has worked.
    """

    symptom: Symptom
    place: int
    line: str
    count: int
    stage: Stage | None = None
    echo: bool = False
    candidates: tuple[Candidate, ...] = ()

    @property
    def checks(self) -> frozenset[str]:
        """The checks that tell these meanings apart."""
        return frozenset(name for candidate in self.candidates for name in candidate.checks)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says.

    Attributes:
        stage: the stage that the job failed in; None where the text does not show it.
        succeeded: whether the job has; None where the text does not show it.
        symptoms: what was found, that which leads first.
    """

    stage: Stage | None
    succeeded: bool | None
    symptoms: tuple[Found, ...]


def from_stream(stream: BinaryIO) -> str:
    """The end of what a stream holds; a ValueError says why it can't be read."""
    kept, size = [], 0
    for piece in pieces(stream):
        kept.append(piece)
        size += len(piece)
        while size - len(kept[0]) >= LARGEST:
            size -= len(kept.pop(0))
    return b"".join(kept)[-LARGEST:].decode("utf-8", errors="replace")


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """What a stream holds, in pieces; a ValueError says why it can't be read.

    A terminal is refused, and so is a pipe that neither brings anything nor ends: a run must not hang.
    """
    if stream.isatty():
        raise ValueError("expected a job's log on standard input, found a terminal")
    size = 0
    while size < MOST:
        if not select.select([stream], [], [], PATIENCE)[0]:
            raise ValueError(f"standard input brought nothing for {PATIENCE:g} s and did not end")
        piece = os.read(stream.fileno(), _BLOCK)
        if not piece:
            return
        size += len(piece)
        yield piece
    raise ValueError(f"standard input holds more than {MOST // 10**6} MB: give the end of the log, with `tail`")


def find(text: str) -> tuple[Found, ...]:
    """The known symptoms in a text, that which leads first. Takes time linear in its length."""
    return read(text[at : at + _BLOCK].encode("utf-8", "replace") for at in range(0, len(text), _BLOCK)).symptoms


def read(parts: Iterable[bytes]) -> Reading:
    """Read a text that comes in parts."""
    reader = _Reader()
    for part in parts:
        reader.feed(part)
    return reader.close()


@dataclass(slots=True)
class _Seen:
    """The lines of one stage that show a symptom."""

    symptom: Symptom
    place: int
    line: str
    stage: Stage | None
    candidates: tuple[Candidate, ...]
    command: int  # how many commands of the script had begun; of a service's own log, 0 for none
    weight: int = 0  # of what the grammar reads: how its line says that something failed
    count: int = 1
    yields: bool = False  # as its line names the cause behind the words that the symptom is known by

    @property
    def kind(self) -> Kind:
        """The symptom's kind; of a line that only repeats that what a program ran has failed, a fallback's."""
        echo = self.symptom.kind in {Kind.FAILURE, Kind.GENERAL} and (self.yields or grammar.repeats(self.line))
        return Kind.FALLBACK if echo else self.symptom.kind

    @property
    def says_why(self) -> bool:
        """Whether it names a failure, and more than that something was waited for in vain."""
        named = self.kind in {Kind.FAILURE, Kind.GENERAL} or self.weight >= grammar.MARKED
        return named and bool(self.candidates) and not self.is_vague

    @property
    def is_vague(self) -> bool:
        """Whether it says only which step failed, what was waited for in vain, or that the script's program goes on."""
        warns = self.stage in {None, Stage.STEP_SCRIPT} and grammar.only_warns(self.line)
        return self.symptom.vague or warns or grammar.waited_in_vain(self.line)


class _Reader:
    """Reads a text block by block."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._seen: dict[tuple[str, Stage | None, int], _Seen] = {}
        self._command = 0  # of the script: how many have begun
        self._rest = b""
        self._before = b""  # the end of the block before: what stands around the first lines of the next
        self._number = 1  # of the first line of what is not yet looked at
        self._few: list[str] | None = []  # the whole text, as long as it is short
        self._left = [_ENOUGH] * len(_meant())
        self._left_long = [_ENOUGH_LONG] * len(_meant())
        self._spent = 0  # places that were passed over in the block before
        self._still: tuple[list[int], ahocorasick_rs.BytesAhoCorasick] | None = None  # runs that are not spent
        self._read_by_form_in: Counter[tuple[Stage | None, int]] = Counter()

    def feed(self, part: bytes) -> None:
        """Take the next part of the text."""
        block = self._rest + part if self._rest else part
        end = _whole_lines(block)
        if not end and len(block) < _LONGEST:
            self._rest = block
            return
        end = end or len(block)
        self._rest = block[end:]
        self._read_block(block[:end])

    def close(self) -> Reading:
        """The text is over: what it says."""
        if self._rest:
            self._read_block(self._rest)
        if self._few:
            self._look_at_the_whole(self._few)
        progress = self._progress
        found = _in_order(list(self._seen.values()), progress, self._command)
        stage = progress.failed_in
        if stage is None and found and progress.stage is None:
            stage = found[0].symptom.stage
        return Reading(stage, progress.succeeded, found)

    def _read_block(self, block: bytes) -> None:
        text, joins = _stripped(block)
        if self._few is not None:
            self._few = [*self._few, *text.decode("utf-8", "replace").replace("\r", "\n").split("\n")]
            self._few = None if len(self._few) > 2 * _FEW else self._few
        lines, at, shown = 0, 0, -1
        hits: list[int] = []
        bounds = (0, 0)
        of_line = left = self._left
        commands = [at.start() + 1 for at in _COMMAND.finditer(b"\n" + text)]
        lower = text.lower()
        runs, automaton = self._searched_for(lower)
        spent = 0
        for run, start, _ in automaton.find_matches_as_indexes(lower, overlapping=True):
            hit = runs[run]
            if not left[hit]:
                spent += 1
                continue
            if start >= shown:  # on another line than the one before
                if hits:
                    commands = self._pass_commands(commands, bounds[0])
                    self._look_at_line(text, bounds, self._number + _original(lines, joins), hits)
                bounds = _line_around(text, start)
                bounds = max(bounds[0], start - _LONGEST_LINE), min(bounds[1], start + _LONGEST_LINE)
                shown, hits = bounds[1], []
                of_line = self._left_long if bounds[1] - bounds[0] > _LONG else left
                lines += text.count(b"\n", at, bounds[0])
                at = bounds[0]
            if of_line[hit]:
                of_line[hit] -= 1
                hits.append(hit)
        if hits:
            commands = self._pass_commands(commands, bounds[0])
            self._look_at_line(text, bounds, self._number + _original(lines, joins), hits)
        self._spent = spent
        self._pass_commands(commands, len(text))
        self._before = (
            (self._before + text)[-_COMMAND_WITHIN:] if len(text) < _COMMAND_WITHIN else text[-_COMMAND_WITHIN:]
        )
        self._number += block.count(b"\n")

    def _searched_for(self, lower: bytes) -> tuple[Sequence[int], ahocorasick_rs.BytesAhoCorasick]:
        """What a block is searched for, and the number of each run: all, but not what is spent many times over.

        A run is spent for as long as the stage lasts, so that a block in which a stage may change is searched for all.
        """
        if self._spent > _MANY_SPENT:
            runs = [run for run, left in enumerate(self._left) if left]
            plain = list(_plain())
            self._still = runs, ahocorasick_rs.BytesAhoCorasick([plain[run].encode() for run in runs])
        if self._still is None or _marks().find_matches_as_indexes(lower):
            self._still = None
            return range(len(self._left)), _automaton()
        return self._still

    def _pass_commands(self, commands: list[int], until: int) -> list[int]:
        """Count the script's commands that begin before a place of the block; returns those after it."""
        passed = bisect.bisect_left(commands, until)
        if self._progress.stage is Stage.STEP_SCRIPT:
            self._command += passed
        return commands[passed:]

    def _look_at_line(self, text: bytes, bounds: tuple[int, int], place: int, hits: list[int]) -> None:
        line = without_controls(text[bounds[0] : bounds[1]].decode("utf-8", "replace")).strip()
        marks, asked = False, []
        for hit in set(hits):
            marks |= not _meant()[hit]
            asked += _meant()[hit]
        if marks:
            before = self._progress.stage
            if self._progress.see(line):
                self._seen.clear()
                self._command = 0
            if self._progress.stage is not before:
                self._left[:] = [_ENOUGH] * len(self._left)
                self._left_long[:] = [_ENOUGH_LONG] * len(self._left)
        self._ask(asked, place, line, lambda: _around(text, bounds, self._progress.stage, self._before))

    def _ask(self, asked: list[tuple[Symptom, Pattern]], place: int, line: str, around: Callable[[], Around]) -> None:
        """Note what a line shows: what is read by the form of errors only where no other symptom knows the line."""
        if not self._note_known(asked, place, line, around):
            self._read_by_form(asked, place, line, around)

    def _note_known(
        self,
        asked: list[tuple[Symptom, Pattern]],
        place: int,
        line: str,
        around: Callable[[], Around],
        told: Collection[str] = (),
    ) -> bool:
        """Note which symptoms of the catalogue a line shows; returns whether one says more than a fallback."""
        shown, names_it = set(told), False
        before_script = grammar.is_of_preparing(line)
        causes = [symptom for symptom, _ in asked if symptom.inner]
        for symptom, pattern in asked:
            if symptom.kind in _BY_FORM or (before_script and symptom.stage is Stage.STEP_SCRIPT):
                continue
            if symptom.id not in shown and _shows(symptom, pattern, line):
                shown.add(symptom.id)
                yields = _yields(symptom, causes, line, self._progress.stage)
                self._note(symptom, place, line, around, yields=yields)
                names_it |= (symptom.decisive or symptom.kind is not Kind.FALLBACK) and not yields
        return names_it

    def _read_by_form(
        self, asked: list[tuple[Symptom, Pattern]], place: int, line: str, around: Callable[[], Around]
    ) -> None:
        """Note the first kind of fault that a line speaks of, if it is an error by its form."""
        entries = [(symptom, pattern) for symptom, pattern in asked if symptom.kind in _BY_FORM]
        line = line[: grammar.LONGEST]
        part = self._progress.stage, self._command
        if not entries or self._read_by_form_in[part] >= _ENOUGH_BY_FORM:
            return
        self._read_by_form_in[part] += 1
        weight = grammar.weight(line)
        if weight == grammar.NONE:
            return
        fitting = [
            symptom
            for symptom, pattern in entries
            if (weight >= grammar.MARKED or not pattern.marked) and _shows(symptom, pattern, line)
        ]
        if not fitting:
            return
        symptom = min(fitting, key=lambda entry: _rank()[entry.id])
        until = 0
        while not symptom.decisive:
            until = symptom.told_until(line, until)
            behind = [
                other
                for other in fitting
                if other.inner and (other.decisive or not symptom.inner) and other.stands_behind(line, until)
            ]
            if not behind:
                break
            symptom = min(behind, key=lambda entry: _rank()[entry.id])
        command = 0 if line.startswith("[service:") else self._command
        key = f"{symptom.id} {min(weight, grammar.MARKED)}", self._progress.stage, command
        if key in self._seen:
            self._seen[key].count += 1
            return
        beside = around()
        said = grammar.statement(line, beside)
        meant = grammar.meant(symptom, line, said, self._progress.stage, beside)
        self._seen[key] = _Seen(
            symptom, place, _shown(symptom, line), self._progress.stage, meant, command, min(weight, grammar.MARKED)
        )

    def _note(
        self, symptom: Symptom, place: int, line: str, around: Callable[[], Around], *, yields: bool = False
    ) -> None:
        stage = self._progress.stage
        command = 0 if line.startswith("[service:") else self._command
        key = symptom.id, stage, -1 - command if yields else command
        if key in self._seen:
            self._seen[key].count += 1
        else:
            meant = symptom.meant_by(line, stage)
            if any(_asks_around(candidate) for candidate in meant):
                meant = grammar.spoken(symptom, meant, line, around())
            self._seen[key] = _Seen(symptom, place, _shown(symptom, line), stage, meant, command, yields=yields)

    def _look_at_the_whole(self, lines: list[str]) -> None:
        """A short text may be one message that a terminal has wrapped, or one that JSON has put on one line."""
        lines = [line.strip() for line in lines if line.strip()]
        texts = _wrapped(lines) if 1 < len(lines) <= _FEW else []
        if len(lines) == 1:
            texts = [part for part in _ESCAPED_END.split(lines[0]) if part.strip()]
            if len(texts) == 1:
                return
            self._seen.clear()
        told = {seen.symptom.id for seen in self._seen.values()}
        for text in texts:
            hits = {hit for hit, _, _ in _automaton().find_matches_as_indexes(text.lower().encode(), overlapping=True)}
            pairs = [pair for hit in sorted(hits) for pair in _meant()[hit]]
            if self._note_known(
                pairs, 1, text.strip(), Around, told
            ):  # what its lines say is part of a message that is known
                self._seen = {key: seen for key, seen in self._seen.items() if seen.symptom.kind not in _BY_FORM}
            elif all(seen.symptom.kind is Kind.FALLBACK for seen in self._seen.values() if seen.candidates):
                self._read_by_form(pairs, 1, text.strip(), Around)
            told |= {seen.symptom.id for seen in self._seen.values()}


def _wrapped(lines: list[str]) -> list[str]:
    """The messages of a text that go over several of its lines: up to the next line that begins one."""
    messages: list[list[str]] = []
    for line in lines:
        if messages and not _BEGINS.match(line):
            messages[-1].append(line)
        else:
            messages.append([line])
    return [" ".join(message) for message in messages if len(message) > 1]


def _in_order(every: list[_Seen], progress: Progress, commands: int) -> tuple[Found, ...]:
    """That which leads first: the first that names what has failed, in the stage that the job failed in.

    Args:
        every: what was seen.
        progress: where the log came to.
        commands: how many commands of the script were begun: the first that fails is the last.
    """
    overcome = {id(seen) for seen in every if _passed(seen, progress, commands)}
    on_a_node = max((seen.place for seen in every if grammar.is_of_a_pod_on_a_node(seen.line)), default=0)
    overcome |= {id(seen) for seen in every if seen.symptom.scheduling and seen.place < on_a_node}
    left = [seen for seen in every if id(seen) not in overcome]
    explained = any(seen.says_why and seen.kind in {Kind.FAILURE, Kind.GENERAL} for seen in left)
    told = [seen for seen in every if seen.candidates and _counts(seen, every, progress, overcome, explained=explained)]
    kinds, catalogue = list(Kind), [symptom.id for symptom in known()]

    explained = explained or any(seen.says_why and id(seen) not in overcome for seen in told)

    def order(seen: _Seen) -> tuple[bool, bool, int, int, int, int]:
        return (
            id(seen) in overcome,
            explained and seen.is_vague,
            kinds.index(seen.kind),
            -seen.weight,
            seen.place,
            catalogue.index(seen.symptom.id),
        )

    found: dict[str, Found] = {}
    for seen in sorted(told, key=order):
        if seen.symptom.id in found:
            earlier = found[seen.symptom.id]
            found[seen.symptom.id] = replace(earlier, count=earlier.count + seen.count)
        else:
            found[seen.symptom.id] = Found(
                seen.symptom,
                seen.place,
                seen.line,
                seen.count,
                seen.stage,
                echo=bool(found),
                candidates=seen.candidates,
            )
    return tuple(found.values())


def _counts(seen: _Seen, every: list[_Seen], progress: Progress, overcome: set[int], *, explained: bool) -> bool:
    """Whether what was seen says anything, beside all else that was, of which the catalogue may have `explained` it."""
    kind = seen.kind
    if progress.succeeded:
        return kind is Kind.WARNING
    if kind in {Kind.FAILURE, Kind.WARNING}:
        return True
    if id(seen) in overcome:  # the job went on in spite of it
        return False
    others = {
        other.kind
        for other in every
        if other.candidates
        and id(other) not in overcome
        and not (other.kind is Kind.FALLBACK and other.place == seen.place)
    }
    if kind is Kind.GRAMMAR:
        return not others & {Kind.FAILURE, Kind.GENERAL} or (seen.says_why and not explained)
    if kind is Kind.UNCLASSIFIED:
        beside = {Kind.UNCLASSIFIED, Kind.WARNING, Kind.HARMLESS}
        return all(other.kind in beside for other in every if other.candidates)
    if kind is Kind.GENERAL:  # what names the failure on its line leaves it nothing to say
        return not any(other.place == seen.place and other.kind is Kind.FAILURE for other in every)
    if kind is Kind.FALLBACK:
        beside = {other.kind for other in every if other.place == seen.place} - {
            Kind.FALLBACK,
            Kind.UNCLASSIFIED,
        }
        beside_wrapper = any(other.kind is not other.symptom.kind and other.place == seen.place for other in every)
        if kind is seen.symptom.kind and beside_wrapper:
            return False
        return not beside and not others & {Kind.FAILURE, Kind.GENERAL, Kind.GRAMMAR}
    return others <= {Kind.HARMLESS}


def _passed(seen: _Seen, progress: Progress, commands: int) -> bool:
    """Whether the job has gone beyond the stage, or the command of its script, that this was seen in."""
    ended_in = progress.failed_in or progress.stage
    if ended_in is None or seen.stage is None:
        return False
    in_script = seen.stage is Stage.STEP_SCRIPT and progress.succeeded is False
    return seen.stage.rank < ended_in.rank or (in_script and 0 < seen.command < commands)


def _whole_lines(block: bytes) -> int:
    """Where the lines end of which nothing can follow: GitLab may have cut the last one in two."""
    end = block.rfind(b"\n") + 1
    while end and (len(block) - end < _LONGEST_STAMP or _CUT.match(block, end - 1)):
        end = block.rfind(b"\n", 0, end - 1) + 1
    return end


def _stripped(block: bytes) -> tuple[bytes, list[int]]:
    """A block without what a log adds to its lines; and, for each line's end that was taken out, the line's index."""
    text = b"\n" + block
    if b"\x1b" in text:
        text = _ANSI.sub(b"", text)
    text = text.translate(None, _CONTROLS).replace(b"\r\n", b"\n")
    joins: list[int] = []
    if b"O+" in text or b"E+" in text:
        at = line = 0
        for cut in _CUT.finditer(text):
            line += text.count(b"\n", at, cut.start())
            at = cut.end()
            joins.append(line - 1)
        text = _CUT.sub(b"", text)
    for mark, prefix in _PREFIXES:
        if mark in text:
            text = prefix.sub(b"\n", text)
    text = _STAMPED.sub(b"\n", text)[1:].replace(b"\t", b" ")
    if b"\\" in text:
        for escape, character in _ESCAPES:
            text = text.replace(escape, character)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text, joins


def _original(line: int, joins: list[int]) -> int:
    """The index in the block of a line whose index is counted without the line's ends that were taken out."""
    return line + bisect.bisect_left(joins, line)


def _line_around(text: bytes, at: int) -> tuple[int, int]:
    """Where the line around a place begins and ends."""
    start = text.rfind(b"\n", 0, at) + 1
    start = max(start, text.rfind(b"\r", start, at) + 1)
    end = text.find(b"\n", at)
    end = len(text) if end < 0 else end
    inner = text.find(b"\r", at, end)
    return start, end if inner < 0 else inner


def _asks_around(candidate: Candidate) -> bool:
    """Whether it depends on what stands around a line, or names a host."""
    return bool(candidate.by or candidate.of or candidate.near) or grammar.HOST in candidate.says


def _shows(symptom: Symptom, pattern: Pattern, line: str) -> bool:
    return bool(pattern.expression.search(line)) and not any(other.search(line) for other in symptom.unless)


def _yields(symptom: Symptom, causes: Iterable[Symptom], line: str, stage: Stage | None) -> bool:
    """Whether a line names the cause behind the words that a symptom is known by: one of those that are causes."""
    if symptom.decisive or symptom.inner or symptom.kind is Kind.FALLBACK:
        return False
    general = symptom.kind is Kind.GENERAL
    until = symptom.told_until(line)
    if not any(cause.stands_behind(line, until) for cause in causes if general or _is_told_at_once(cause)):
        return False
    narrower = (candidate.only.search(line) for candidate in symptom.meant_by(line, stage) if candidate.only)
    return not any(match.end() > until for match in narrower if match is not None)


def _is_told_at_once(cause: Symptom) -> bool:
    """Whether a cause is one that no other can follow on a line: what befell a connection, a name, a disk."""
    return cause.decisive or cause.kind not in _BY_FORM


def _around(text: bytes, bounds: tuple[int, int], stage: Stage | None, before: bytes) -> Around:
    """What stands around a line of a block: the lines next to it, and the command of the script before it."""
    if bounds[0] < _COMMAND_WITHIN:
        text = before + text[: bounds[1] + _AROUND]
        bounds = bounds[0] + len(before), bounds[1] + len(before)
    above = text[max(0, bounds[0] - _AROUND) : bounds[0]].decode("utf-8", "replace").splitlines()
    below = text[bounds[1] : bounds[1] + _AROUND].decode("utf-8", "replace").splitlines()
    command = text.rfind(b"\n$ ", max(0, bounds[0] - _COMMAND_WITHIN), bounds[0])
    run = text[command + 3 : command + 3 + _SHOWN].split(b"\n", 1)[0].decode("utf-8", "replace") if command >= 0 else ""
    near = [line.strip() for line in (*reversed(above[-_NEAR:]), *below[1 : 1 + _NEAR])]
    begun = list(
        itertools.takewhile(
            lambda line: line.endswith(":") and not line.startswith("$ "), near[: min(len(above), _NEAR)]
        )
    )
    return Around([line for line in near if line], run, stage, " ".join(reversed(begun)))


@functools.cache
def _rank() -> dict[str, int]:
    """The place of each symptom in the catalogue."""
    return {symptom.id: rank for rank, symptom in enumerate(known())}


@functools.cache
def _plain() -> dict[str, list[tuple[Symptom, Pattern]]]:
    """What each run of plain characters may belong to: marks of stages to nothing."""
    runs: dict[str, list[tuple[Symptom, Pattern]]] = {mark: [] for mark in MARKS}
    for symptom in known():
        for pattern in symptom.patterns:
            for run in pattern.plain:
                runs.setdefault(run, []).append((symptom, pattern))
    return runs


@functools.cache
def _meant() -> list[list[tuple[Symptom, Pattern]]]:
    return list(_plain().values())


@functools.cache
def _marks() -> ahocorasick_rs.BytesAhoCorasick:
    return ahocorasick_rs.BytesAhoCorasick([mark.encode() for mark in MARKS])


@functools.cache
def _automaton() -> ahocorasick_rs.BytesAhoCorasick:
    return ahocorasick_rs.BytesAhoCorasick([run.encode() for run in _plain()])


def _shown(symptom: Symptom, line: str) -> str:
    """As much of the line as shows the symptom, without secrets."""
    matches = (pattern.expression.search(line) for pattern in symptom.patterns)
    begin = next((max(0, match.start() - _SHOWN // 3) for match in matches if match is not None), 0)
    shown = clean_part(line, begin, begin + _SHOWN)
    return f"{'…' if begin else ''}{shown}{'…' if begin + _SHOWN < len(line) else ''}"
