"""Texts in another language: an English sentence is recognised by its template, and said in that of a catalogue.

Sentences are written in English where they are made, as plain literals and f-strings, and saved as they are. They are
translated where they are shown, so that runs that were saved long ago are read in any language too. A catalogue
(`preflight/locale/`, made by `tools/texts.py`) holds the template of each: its literal parts, and its expressions as
named parameters: ``{worker} does not reach {endpoint}``. ``{does|do}`` is a choice that English makes.

Recognising is a search for literal parts, one after the other, each at the first place where it stands: linear in the
length of a text, whatever comes from outside. What stands between backquotes is a command: it is taken over as it is,
and a template says nothing of what is in it.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import ahocorasick_rs

from preflight.yamltext import load_yaml

_ELEMENT = re.compile(r"(`[^`]*`)|\{(?:([A-Za-z_]\w*)(?::[.\d]*[dfgs])?|([^{}]*\|[^{}]*))\}")
_COMMAND = re.compile(r"`[^`]*`")
_WORD = re.compile(r"(?<![\w./:=@-])[A-Za-z]?[a-z']+(?![\w/=@-])(?!\.\w)")
_IS_NUMBER = re.compile(r"n(?:_\d)?").fullmatch
"""Whether a parameter, ``n`` or ``n_2``, stands for a whole number alone."""
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3}){1,5} |\d{1,3}\. ")
_TOKENS = re.compile(r"\S+(?:, \S+)* and \S+")
_FIRST_COMMAND, _LAST_COMMAND = 0xE000, 0xF8FF
"""Characters of private use, each in the place of a command while a text is recognised."""

_LONGEST = 4_000  # characters of a text that is recognised
_DEEPEST = 6  # texts within texts
_CANDIDATES = 4  # templates that fit, of which the best is taken
_SHORTEST = 3  # characters of a literal part by which a template is found


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a template.

    Attributes:
        text: its literal text; of a command, with the backquotes; of a parameter or choice, its name.
        kind: ``literal``, ``command``, ``parameter`` or ``choice``.
    """

    text: str
    kind: str

    @property
    def choices(self) -> tuple[str, ...]:
        """Between what a choice chooses."""
        return tuple(self.text.split("|"))


def elements(template: str) -> tuple[Element, ...]:
    """The parts of a template, in their order."""
    return tuple(_elements(template))


def _elements(template: str) -> Iterator[Element]:
    place, even = 0, template.count("`") % 2 == 0
    for match in _ELEMENT.finditer(template):
        if match[1] and not even:
            continue
        if match.start() > place:
            yield Element(template[place : match.start()], "literal")
        place = match.end()
        if match[1]:
            yield Element(match[1], "command")
        else:
            yield Element(match[2], "parameter") if match[2] else Element(match[3], "choice")
    if place < len(template):
        yield Element(template[place:], "literal")


def without_parameters(template: str) -> str:
    """The literal parts of a template, with the longest of each choice."""
    return "".join(
        max(part.choices, key=len) if part.kind == "choice" else part.text if part.kind == "literal" else " "
        for part in elements(template)
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What the parts of a template stand for in a text."""

    parameters: Mapping[str, str]
    commands: Mapping[str, Sequence[str]]


class _Template:
    """An English template, ready to be recognised."""

    __slots__ = ("_names", "_runs", "_source", "anchor", "target", "weight")

    def __init__(self, english: str, target: str) -> None:
        self._source, self.target = english, target
        runs: list[list[Element]] = [[]]
        names: list[str] = []
        for part in elements(english):
            if part.kind == "parameter" and not _IS_NUMBER(part.text):
                names.append(part.text)
                runs.append([])
            else:
                runs[-1].append(part)
        self._names = tuple(names)
        self._runs: tuple[list[Element], ...] | tuple[re.Pattern[str], ...] = tuple(runs)
        literals = [part.text for part in elements(english) if part.kind == "literal"]
        self.anchor = max(literals, key=len, default="")
        self.weight = sum(map(len, literals))

    def fitted(self, text: str, depths: Sequence[int]) -> _Fitted | None:
        """What its parts stand for in a text whose commands are single characters; None where it is another text.

        Args:
            text: the text.
            depths: in how many brackets each place of it is: no parameter begins within one and ends without.
        """
        runs = self._expressions()
        first = runs[0].match(text)
        if first is None:
            return None
        values, place, matches = [], first.end(), [first]
        for run in runs[1:]:
            found = (match for match in run.finditer(text, place) if depths[match.start()] == depths[place])
            match = next(found, None)
            if match is None:
                return None
            values.append(text[place : match.start()])
            place = match.end()
            matches.append(match)
        if place != len(text):
            return None
        return self._values(values, matches)

    def _expressions(self) -> tuple[re.Pattern[str], ...]:
        """Each run of literal parts, as an expression of bounded length."""
        if self._runs and isinstance(self._runs[0], list):
            last = len(self._runs) - 1
            self._runs = tuple(
                re.compile("".join(map(_expression, run)) + (r"\Z" if place == last else ""))
                for place, run in enumerate(self._runs)
                if isinstance(run, list)
            )
        return self._runs  # type: ignore[return-value]

    def _values(self, values: Sequence[str], matches: Sequence[re.Match[str]]) -> _Fitted:
        parameters: dict[str, str] = {}
        for name, value in zip(self._names, values, strict=True):
            parameters.setdefault(name, value)
        commands: dict[str, list[str]] = {}
        groups = iter([group for match in matches for group in match.groups()])
        for part in elements(self._source):
            if part.kind == "choice" or (part.kind == "parameter" and _IS_NUMBER(part.text)):
                parameters[part.text] = next(groups) or ""
            elif part.kind == "command":
                commands.setdefault(part.text, []).append(next(groups))
        return _Fitted(parameters, commands)


def _expression(part: Element) -> str:
    match part.kind:
        case "literal":
            return re.escape(part.text)
        case "parameter":
            return r"(\d{1,12})"
        case "choice":
            return "(" + "|".join(map(re.escape, sorted(part.choices, key=len, reverse=True))) + ")"
    return f"([{chr(_FIRST_COMMAND)}-{chr(_LAST_COMMAND)}])"


# ---- a catalogue -----------------------------------------------------------------------------------------------------


class Catalogue:
    """The texts of one language.

    Args:
        pairs: English templates, and what they are in that language.
    """

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._whole: dict[str, str] = {}
        self._pairs = pairs
        by_anchor: dict[str, list[_Template]] = {}
        for english, target in pairs.items():
            if not target:
                continue
            parts = elements(english)
            if all(part.kind == "literal" for part in parts):
                self._whole[english] = target
                continue
            template = _Template(english, target)
            if len(template.anchor) >= _SHORTEST:
                by_anchor.setdefault(template.anchor, []).append(template)
        self._templates = list(by_anchor.values())
        self._anchors = ahocorasick_rs.AhoCorasick(list(by_anchor)) if by_anchor else None
        self._said = functools.lru_cache(maxsize=20_000)(self._recognised)

    def __contains__(self, english: str) -> bool:
        return bool(self._pairs.get(english))

    def text(self, english: str) -> str:
        """A text as it was shown or saved, translated as far as it is known; lines are texts of their own."""
        if "\n" in english and english not in self._whole:
            return "\n".join(self.text(line) for line in english.split("\n"))
        blank = english[: len(english) - len(english.lstrip())]
        body = english[len(blank) :].rstrip()
        if not body or len(body) > _LONGEST:
            return english
        commands = _COMMAND.findall(body) if body.count("`") % 2 == 0 else []
        if len(commands) > _LAST_COMMAND - _FIRST_COMMAND:
            return english
        tokens = iter(range(_FIRST_COMMAND, _LAST_COMMAND))
        plain = _COMMAND.sub(lambda _: chr(next(tokens)), body) if commands else body
        said = self._said(plain, 0)
        return blank + _with_commands(said, commands)

    def filled(self, english: str, values: Mapping[str, str]) -> str:
        """A template of the sources, with these values of its parameters, which are taken over as they are."""
        target = self._pairs.get(english) or english
        return _rendered(target, values, {})

    def _recognised(self, text: str, depth: int) -> str:
        if (whole := self._whole.get(text)) is not None:
            return _rendered(whole, {}, {})
        if depth >= _DEEPEST or not _WORD.search(text):
            return text
        best, left = text, _left(text)
        for said in self._readings(text, depth):
            remaining = _left(said)
            if remaining < left:
                best, left = said, remaining
            if not left:
                break
        return best

    def _readings(self, text: str, depth: int) -> Iterator[str]:
        """The text in that language, in every way in which it is recognised."""
        yield from self._by_templates(text, depth)
        if (number := _NUMBER.match(text)) is not None:
            yield number[0] + self._said(text[number.end() :], depth + 1)
        if text.endswith("]") and (place := text.rfind(" [")) > 0:
            yield self._said(text[:place], depth + 1) + text[place:]
        for signs, sign in (("; ", "；"), (": ", "："), (", ", "，")):
            yield from self._by_sign(text, signs, sign, depth)
        if text.endswith(")") and (place := _opening(text)) > 0:
            outside, inside = text[:place].rstrip(), text[place + 1 : -1]
            yield f"{self._said(outside, depth + 1)}（{self._said(inside, depth + 1)}）"
        if _TOKENS.fullmatch(text):
            yield "、".join(text.replace(" and ", ", ").split(", "))

    def _by_templates(self, text: str, depth: int) -> Iterator[str]:
        if self._anchors is None:
            return
        found = {place for place, _, _ in self._anchors.find_matches_as_indexes(text, overlapping=True)}
        candidates = [template for place in found for template in self._templates[place]]
        candidates.sort(key=lambda template: (-template.weight, template.target))
        fitting, depths = 0, _depths(text)
        for template in candidates:
            fitted = template.fitted(text, depths)
            if fitted is None:
                continue
            yield _rendered(
                template.target,
                {name: self._part(value, depth + 1) for name, value in fitted.parameters.items()},
                fitted.commands,
            )
            fitting += 1
            if fitting == _CANDIDATES:
                return

    def _part(self, value: str, depth: int) -> str:
        """A parameter's value; blanks around it are kept."""
        body = value.strip(" ")
        if not body:
            return value
        if (whole := self._whole.get(value)) is not None:
            return whole
        said = self._said(body, depth)
        return value if said == body else value.replace(body, said, 1)

    def _by_sign(self, text: str, english: str, sign: str, depth: int) -> Iterator[str]:
        """Parts between signs, each a text; of a colon, what is before the first and all that follows."""
        place = _outside_brackets(text, english)
        if place < 0:
            return
        head, rest = text[:place], text[place + len(english) :]
        said = [self._said(head, depth + 1), self._said(rest, depth + 1)]
        if said != [head, rest]:
            yield _joined([said[0], sign, said[1].lstrip()])


def _left(text: str) -> int:
    """How many English words are left in a text."""
    return len(_WORD.findall(text))


def _outside_brackets(text: str, sign: str) -> int:
    """Where the sign stands first outside of brackets and quotation marks; -1 if nowhere."""
    deep, quoted = 0, False
    for place, character in enumerate(text):
        if not deep and not quoted and text.startswith(sign, place):
            return place
        if character in "([{":
            deep += 1
        elif character in ")]}":
            deep = max(deep - 1, 0)
        elif character == '"':
            quoted = not quoted
    return -1


def _depths(text: str) -> list[int]:
    """In how many brackets each place of a text is, its end too."""
    depths = [0]
    for character in text:
        depths.append(depths[-1] + (character in "([{") - (character in ")]}"))
    return depths


def _opening(text: str) -> int:
    """Where the bracket opens that the text's last character closes; -1 if nowhere."""
    deep = 0
    for place in range(len(text) - 1, -1, -1):
        deep += {")": 1, "(": -1}.get(text[place], 0)
        if not deep:
            return place
    return -1


def _with_commands(text: str, commands: Sequence[str]) -> str:
    if not commands:
        return text
    pieces = [
        commands[ord(character) - _FIRST_COMMAND]
        if _FIRST_COMMAND <= ord(character) < _FIRST_COMMAND + len(commands)
        else character
        for character in text
    ]
    return "".join(pieces)


def _rendered(target: str, parameters: Mapping[str, str], commands: Mapping[str, Sequence[str]]) -> str:
    """A template with its parameters and commands put in."""
    left = {command: list(found) for command, found in commands.items()}
    pieces = []
    for part in elements(target):
        match part.kind:
            case "literal":
                pieces.append(part.text)
            case "command":
                found = left.get(part.text)
                pieces.append((found.pop(0) if len(found) > 1 else found[0]) if found else part.text)
            case _:
                pieces.append(parameters.get(part.text, "{" + part.text + "}"))
    return _joined(pieces)


def _joined(pieces: Iterable[str]) -> str:
    """Pieces side by side: a blank between Chinese and anything else, and none between Chinese and Chinese."""
    text = ""
    for piece in pieces:
        if text and piece:
            if (text[-1] == " " and (piece[0] == " " or (len(text) > 1 and _wide(text[-2]) and _wide(piece[0])))) or (
                text[-1] == " " and (_is_sign(piece[0]) or _is_sign(text[-2:-1]))
            ):
                text = text[:-1]
            elif piece[0] == " " and _is_sign(text[-1]):
                piece = piece[1:]  # noqa: PLW2901 - the rest of it
            elif (_ideograph(text[-1]) and _narrow(piece[0])) or (_narrow(text[-1]) and _ideograph(piece[0])):
                text += " "
        text += piece
    return text


def _ideograph(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _is_sign(character: str) -> bool:
    return character != "" and character in "，。；：（）、！？“”…"


def _wide(character: str) -> bool:
    return _ideograph(character) or _is_sign(character)


def _narrow(character: str) -> bool:
    return (character.isascii() and character.isalnum()) or ord(character) in range(_FIRST_COMMAND, _LAST_COMMAND)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with these values of its parameters, and otherwise as it is."""
    return "".join(
        values.get(part.text, "{" + part.text + "}") if part.kind in {"parameter", "choice"} else part.text
        for part in elements(template)
    )


# ---- the catalogues that are there -----------------------------------------------------------------------------------

GRAMMAR = frozenset("is are was were do does has have s es noun verb steps".split())
"""Parameters that only English grammar needs, and that a translation may leave out."""

LANGUAGES = ("en", "zh")
"""The languages that texts are shown in; English is what the sources have."""


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The texts of a language, from the files of `preflight/locale/`."""
    return Catalogue(pairs(language))


def pairs(language: str) -> dict[str, str]:
    """Each English template of a language's files, and what it is in that language."""
    folder = importlib.resources.files("preflight") / "locale" / language
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    texts: dict[str, str] = {}
    for file in files:
        for entry in load_yaml(file.read_text(encoding="utf-8")) or ():
            texts[entry["en"]] = entry[language]
    return texts
