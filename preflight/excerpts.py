"""What of a long output is shown: the lines that decide, and an ellipsis for what is left out.

An output is cut where it is made and where it is shown. What must survive is the line that bears the cause out: the 404
behind the 401 of a registry's login, the innermost error of a chain. It is found by what line and cause have in common.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ELLIPSIS = "…"

_TOKEN = re.compile(r"[\w.:/@+\-]+")
_MARKS = ".:/@+-"  # what may stand at a word's ends without being part of it
_ERROR = re.compile(
    r"(?i)\b(error|fail(ed|s|ure)?|refused|denied|forbidden|unauthorized|timed ?out|timeout|unreachable|reset|no such"
    r"|not ?found|unable|invalid|expired|rejected|nxdomain|servfail|x509|oom\w*|evicted|exceeded|violates|missing"
    r"|cannot|can't|couldn't|could not|lost|unknown|[45]\d\d)\b"
)
_DOCUMENT, _DOCUMENTS_END = "<<'EOF'\n", "\nEOF"
_ANY_ERROR = 0.3  # weight of a line that speaks of an error, whatever of
_OF_ERROR = 3  # weight of the words in it
_OF_BODY = 0.5  # weight of words in the body of an answer, which says less than its status
_REQUEST = re.compile(r"\A\s{0,8}(GET|HEAD|POST|PUT|PATCH|DELETE) https?:")
_BODY = re.compile(r"\A\s{0,80}[{<\[]")
_SHORTEST = 3  # characters of a word that tells lines apart


def reports_error(line: str) -> bool:
    """Whether a line of an output speaks of an error."""
    return _ERROR.search(line) is not None


def without_document(command: str) -> str:
    """A command without the document that it is fed, such as the manifest of a pod; preflight.json has it."""
    begin, end = command.find(_DOCUMENT), command.rfind(_DOCUMENTS_END)
    return f"{command[: begin + len(_DOCUMENT)]}{ELLIPSIS}{command[end:]}" if 0 <= begin < end else command


def tokens(text: str) -> frozenset[str]:
    """The words, numbers, names and addresses in a text, in small letters."""
    stripped = (token.lower().strip(_MARKS) for token in _TOKEN.findall(text))
    return frozenset(token for token in stripped if len(token) >= _SHORTEST or token.isdigit())


def parts(text: str) -> frozenset[str]:
    """The same, and what slashes, colons and signs of equality join: ``linux/arm64`` is ``arm64``, too."""
    whole = tokens(text)
    return whole | {part for token in whole for part in re.split(r"[/:=@]+", token) if len(part) >= _SHORTEST}


def decisive(lines: Sequence[str], cause: str, command: str = "") -> int:
    """The index of the line that bears a cause out; the last one, if none has anything to do with it.

    Args:
        lines: what a command printed.
        cause: the sentence that it bears out.
        command: the command: what it names says nothing of a line.
    """
    wanted = parts(cause) - parts(command)
    common = [wanted & parts(line) for line in lines]
    spread = {token: sum(token in words for words in common) for token in frozenset().union(*common)}
    # What stands in every line, such as the host, tells none of them apart.
    scores = [
        _weight(line) * sum(1 / spread[token] for token in words) + (_ANY_ERROR if reports_error(line) else 0)
        for line, words in zip(lines, common, strict=True)
    ]
    best = max(scores, default=0.0)
    return scores.index(best) if best else max(len(lines) - 1, 0)


def _weight(line: str) -> float:
    """What a word counts for that a line has in common with the cause."""
    if _REQUEST.match(line):
        return 0  # it says what was asked
    return _OF_BODY if _BODY.match(line) else _OF_ERROR if reports_error(line) else 1


def around(text: str, cause: str, *, lines: int, command: str = "") -> list[str]:
    """At most so many lines of a text, with those that decide, and an ellipsis where lines are left out.

    Args:
        text: what a command printed.
        cause: the sentence that it bears out.
        lines: how many lines may stay, the ellipses not counted.
        command: the command that printed it.
    """
    all_lines = text.strip("\n").splitlines()
    if len(all_lines) <= lines:
        return all_lines
    center = decisive(all_lines, cause, command)
    begin = min(1, lines - 1)  # the first line often says what was asked
    window = lines - begin
    start = max(begin, min(center - window // 2, len(all_lines) - window))
    shown = all_lines[:begin] + ([ELLIPSIS] if start > begin else []) + all_lines[start : start + window]
    return shown + ([ELLIPSIS] if start + window < len(all_lines) else [])


def within(line: str, cause: str, *, longest: int) -> str:
    """At most so many characters of a line, around what decides, and an ellipsis where it is cut."""
    line = " ".join(line.split())
    if len(line) <= longest:
        return line
    wanted = tokens(cause)
    matches = [match for match in _TOKEN.finditer(line) if match[0].lower().strip(_MARKS) in wanted]
    errors = list(_ERROR.finditer(line))
    # Chains of errors end with the innermost one.
    end = errors[-1].end() if errors else matches[-1].end() if matches else longest
    stop = min(len(line), max(end + longest // 4, longest))
    start = max(0, stop - longest)
    head, tail = (ELLIPSIS if start else ""), (ELLIPSIS if stop < len(line) else "")
    shown = line[start + len(head) : stop - len(tail)]
    if head and " " in shown[: longest // 3]:  # from a whole word on
        shown = shown[shown.index(" ") + 1 :]
    return head + shown + tail


def cut(text: str, cause: str, *, longest: int, command: str = "") -> str:
    """At most so many characters of a text, in whole lines around the one that decides.

    A line that takes most of that is cut around its own decisive words.

    Args:
        text: what a command printed.
        cause: the sentence that it bears out.
        longest: how many characters may stay.
        command: the command.
    """
    if len(text) <= longest:
        return text
    lines = text.strip("\n").splitlines()
    center = decisive(lines, cause, command)
    room = longest - 2 * len(ELLIPSIS) - 2
    if len(lines[center]) > room // 2:
        lines[center] = within(lines[center], cause, longest=room // 2)
    kept = {center}
    room -= len(lines[center]) + 1
    # From the decisive line outwards, then from the beginning.
    for index in (*_outwards(center, len(lines), steps=10), *range(len(lines))):
        if index not in kept and len(lines[index]) < room:
            kept.add(index)
            room -= len(lines[index]) + 1
        elif index not in kept:
            break
    shown: list[str] = []
    previous = -1
    for index in sorted(kept):
        shown += [ELLIPSIS] if index != previous + 1 else []
        shown.append(lines[index])
        previous = index
    return "\n".join(shown + ([ELLIPSIS] if previous != len(lines) - 1 else []))


def _outwards(center: int, size: int, *, steps: int) -> list[int]:
    pairs = ((center - step, center + step) for step in range(1, steps))
    return [index for pair in pairs for index in pair if 0 <= index < size]
