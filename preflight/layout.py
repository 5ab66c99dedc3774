"""Text in a terminal's columns: wrapped under its label, cut with an ellipsis, and split into what is shown alike.

What stands between backticks is a command, which must still work when it is pasted from several lines: it is broken
between words that are outside of quotes, with a backslash at the line's end.
"""

from __future__ import annotations

import enum
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_ELLIPSIS = "…"
_BEHIND_A_LABEL = re.compile(r"(?<=\S) {2,40}(?=\S)")
_OPTION = re.compile(r"^--?[A-Za-z][\w-]*$")
_SPANS = re.compile(r"(`[^`]*(?:`|$))")
_BROKEN = " \\"  # at the end of a line on which a command goes on


class Style(enum.StrEnum):
    """What a piece of text is, so that a terminal can set it off."""

    PLAIN = enum.auto()
    LABEL = enum.auto()
    CAUSE = enum.auto()
    EVIDENCE = enum.auto()
    COMMAND = enum.auto()


Line = tuple[tuple[str, Style], ...]
"""One line of the terminal: pieces of text, each with its style."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A word and the blanks before it.

    Attributes:
        text: the word; blanks that are in a command's quotes are part of it.
        command: whether it goes on with the command of the word before it.
    """

    text: str
    command: bool = False


def columns(text: str) -> int:
    """How many columns a terminal needs for it; wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def plain(line: Line) -> str:
    """The line's text."""
    return "".join(text for text, _ in line)


def wrapped(text: str, width: int) -> list[str]:
    """The text as lines of at most so many columns; a word of a command that is longer is left whole."""
    return [line for paragraph in text.split("\n") for line in _wrapped(paragraph, max(width, 20))]


def hanging(line: str, width: int) -> list[str]:
    """A line in lines of at most so many columns; what follows its label, behind two blanks or more, hangs under it."""
    if columns(line) <= width:
        return [line]
    gap = _BEHIND_A_LABEL.search(line)
    head = line[: gap.end()] if gap is not None and gap.end() <= width // 3 else ""
    first, *others = wrapped(line[len(head) :], width - len(head))
    return [head + first, *(" " * len(head) + other for other in others)]


def _wrapped(paragraph: str, width: int) -> Iterator[str]:
    indent = paragraph[: len(paragraph) - len(paragraph.lstrip())]
    line, empty = indent, True
    words = _with_values(_words(paragraph.strip()))
    for index, word in enumerate(words):
        goes_on = index + 1 < len(words) and words[index + 1].command
        needed = columns(line) + (not empty) + columns(word.text) + (len(_BROKEN) if goes_on else 0)
        whole = 0 if word.command else _length_of_command(words[index:])
        if not empty and (needed > width or columns(line) + 1 + whole > width >= whole):
            yield line + (_BROKEN if word.command else "")
            line, empty = indent + ("  " if word.command else ""), True
        if empty and "`" not in word.text and not word.command:
            *full, rest = _pieces(word.text, width - columns(line))
            for piece in full:
                yield line + piece
                line = indent
            line, empty = line + rest, False
        else:
            line, empty = line + ("" if empty else " ") + word.text, False
    yield line


def _with_values(words: Iterable[_Word]) -> list[_Word]:
    """The words of a command with each option and its value as one, so that no line is broken between them."""
    joined: list[_Word] = []
    for word in words:
        option = joined and word.command and joined[-1].command and _OPTION.search(joined[-1].text)
        if option and not word.text.startswith("-"):
            joined[-1] = _Word(f"{joined[-1].text} {word.text}", command=True)
        else:
            joined.append(word)
    return joined


def _length_of_command(words: Sequence[_Word]) -> int:
    """How many columns the command needs that begins with the first word; that word's own if none does."""
    length = columns(words[0].text)
    for word in words[1:]:
        if not word.command:
            break
        length += 1 + columns(word.text)
    return length


def _words(text: str) -> Iterator[_Word]:
    """The words, and between which of them a line may be broken."""
    word, quote, in_code, command = "", "", False, False
    for character in text:
        if character == " " and not quote:
            if word:
                yield _Word(word, command)
            word, command = "", in_code
            continue
        if character == "`":
            in_code, quote = not in_code, ""
        elif in_code and character in "\"'":
            quote = "" if quote == character else quote or character
        word += character
    if word:
        yield _Word(word, command)


def _pieces(word: str, width: int) -> list[str]:
    """A word that is longer than a line, in pieces; text without blanks, such as Chinese, has only such words."""
    pieces, piece = [], ""
    for character in word:
        if columns(piece) + columns(character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def shortened(text: str, *, width: int, lines: int = 1) -> list[str]:
    """The text in at most so many lines, cut in the middle with an ellipsis: its end says as much as its beginning."""
    whole = wrapped(text, width)
    if len(whole) <= lines:
        return whole
    for room in range(width * lines, width // 2, -4):
        candidate = wrapped(_without_middle(text, room), width)
        if len(candidate) <= lines:
            return candidate
    return [_cut(text, width)]


def _without_middle(text: str, room: int) -> str:
    """Words of the beginning and of the end that fit into so many columns."""
    words = text.split()
    head = _fitting(words, room * 11 // 20)
    tail = _fitting(words[::-1], room - columns(" ".join(head)) - len(_ELLIPSIS) - 2)[::-1]
    shorter = " ".join([*head, _ELLIPSIS, *tail])
    # A command that lost its end is none any more.
    return shorter.replace("`", "") if shorter.count("`") % 2 else shorter


def _fitting(words: Sequence[str], room: int) -> list[str]:
    """The first words that fit into so many columns."""
    lengths = itertools.accumulate(columns(word) + 1 for word in words)
    return [word for word, length in zip(words, lengths, strict=False) if length <= room + 1]


def _cut(text: str, width: int) -> str:
    """The beginning that fits into a line."""
    kept = ""
    for character in text.replace("\n", " "):
        if columns(kept) + columns(character) > width - 1:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def first_line(text: str, width: int) -> str:
    """The text in one line, cut at its end with an ellipsis."""
    text = " ".join(text.split())
    return text if columns(text) <= width else _cut(text, width)


def styled(text: str, style: Style) -> Line:
    """A line whose commands, between backticks, are set off from the rest."""
    return tuple((piece, Style.COMMAND if piece.startswith("`") else style) for piece in _SPANS.split(text) if piece)


def labelled(label: str, lines: Iterable[str], style: Style, *, indent: int, label_width: int) -> list[Line]:
    """Lines that hang under a label."""
    result: list[Line] = []
    in_command = False
    for number, text in enumerate(lines):
        head = " " * indent + (label if number == 0 else "").ljust(label_width)
        begun, end, rest = text.partition("`") if in_command else ("", "", text)  # a command of the line before
        body = (((begun + end, Style.COMMAND),) if begun else ()) + styled(rest, style)
        in_command ^= text.count("`") % 2 == 1
        result.append(((head, Style.LABEL), *body))
    return result
