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
_CLOSING = frozenset("，。；：、！？）」』》”’…%,.;:!?)]}")
"""What no line begins with, after a wide character."""
_OPENING = frozenset("（「『《“‘([{")
"""What no line ends with, before a wide character."""
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
        glued: whether no blank is before it, as within Chinese text, where a line may end behind any character.
    """

    text: str
    command: bool = False
    glued: bool = False


def columns(text: str) -> int:
    """How many columns a terminal needs for it; wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(character) else 2 if _is_wide(character) else 1 for character in text)


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def padded(text: str, width: int) -> str:
    """The text with blanks up to so many columns."""
    return text + " " * (width - columns(text))


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
        blank = "" if empty or word.glued else " "
        needed = columns(line) + len(blank) + columns(word.text) + (len(_BROKEN) if goes_on else 0)
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
            line, empty = line + ("" if empty or word.glued else " ") + word.text, False
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
    word, quote, in_code, command, glued = "", "", False, False, False
    for character in text:
        if character == " " and not quote:
            if word:
                yield _Word(word, command, glued)
            word, command, glued = "", in_code, False
            continue
        if word and not in_code and _may_break(word[-1], character):
            yield _Word(word, command, glued)
            word, command, glued = "", False, True
        if character == "`":
            in_code, quote = not in_code, ""
        elif in_code and character in "\"'":
            quote = "" if quote == character else quote or character
        word += character
    if word:
        yield _Word(word, command, glued)


def _may_break(before: str, character: str) -> bool:
    """Whether a line may end between two characters that no blank is between: beside a wide one that is no bracket."""
    if not (_is_wide(before) or _is_wide(character)):
        return False
    return before not in _OPENING and character not in _CLOSING


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
    words = list(_words(" ".join(text.split())))
    head = _together(_fitting(words, room * 11 // 20))
    tail = _together(_fitting(words[::-1], room - columns(head) - len(_ELLIPSIS) - 2)[::-1])
    shorter = " ".join(filter(None, [head, _ELLIPSIS, tail]))
    # A command that lost its end is none any more.
    return shorter.replace("`", "") if shorter.count("`") % 2 else shorter


def _together(words: Sequence[_Word]) -> str:
    """The words as a text again."""
    return "".join(word.text if word.glued else f" {word.text}" for word in words).strip()


def _fitting(words: Sequence[_Word], room: int) -> list[_Word]:
    """The first words that fit into so many columns."""
    lengths = itertools.accumulate(columns(word.text) + (not word.glued) for word in words)
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
        head = " " * indent + padded(label if number == 0 else "", label_width)
        begun, end, rest = text.partition("`") if in_command else ("", "", text)  # a command of the line before
        body = (((begun + end, Style.COMMAND),) if begun else ()) + styled(rest, style)
        in_command ^= text.count("`") % 2 == 1
        result.append(((head, Style.LABEL), *body))
    return result
