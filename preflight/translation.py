"""Texts in another language: an English sentence is recognised by its template, and translation in that of a catalogue.

Sentences are written in English where they are made, as plain literals and f-strings, and saved as they are. They are
translated where they are shown, so that runs that were saved long ago are read in any language too. A catalogue
(`preflight/locale/`, made by `tools/texts.py`) holds the template of each: its literal parts, and its expressions as
named parameters: ``{worker} does not reach {endpoint}``. ``{does|do}`` is a choice that English makes.

Recognising is a search for literal parts, one after the other, each at the first place where it stands: linear in the
length of a text, whatever comes from outside. What stands between backquotes is a command: it is taken over as it is,
and a template says nothing of what is in it.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.resources
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import ahocorasick_rs

from preflight.yamltext import load_yaml

_ELEMENT = re.compile(r"(`[^`]+`)|\{(?:([A-Za-z_]\w*)(?::[.\d]*[dfgs])?|([^{}]*\|[^{}]*))\}")
_COMMAND = re.compile(r"`[^`]+`")
_WORD = re.compile(r"(?<![\w./:=@-])[A-Za-z]?[a-z']+(?![\w/=@-])(?!\.\w)")
GRAMMAR = frozenset("is do does s es noun verb steps".split())
"""Parameters that only English grammar needs, and that a translation may leave out."""
_IS_NUMBER = re.compile(r"n(?:_\d)?").fullmatch
"""Whether a parameter, ``n`` or ``n_2``, stands for a whole number alone."""
_NUMBER = re.compile(r"\d{1,2}(?:\.\d{1,2}){1,2} |\d{1,2}\. ")  # of a check, or of a step
_FAULT = re.compile(r"(?:[^\s:]{1,300}:\d{1,6}|[a-z][\w.\[\]-]{1,120}): ")  # or a place in a file, or a key there
_BLOCKED = "blocked by "
_FOUND = re.compile(r"found ('[^']{0,400}'|\"[^\"]{0,400}\"|[^\s,]{1,400}), ")
_PLACE = re.compile(r"\[[^\]]*\] ?\S*")  # a key below a table of TOML
_FIRST_COMMAND, _LAST_COMMAND = 0xE000, 0xF8FF
"""Characters of private use, each in the place of a command while a text is recognised."""
_COMMANDS = re.compile(r"[\ue000-\uf8ff](?:; [\ue000-\uf8ff])+")

_LONGEST = 4_000  # characters of a text that is recognised
_DEEPEST = 6  # texts within texts
_CANDIDATES = 4  # templates that fit, of which the best is taken
_STRONG = 2  # literal words by which a template is recognised, whatever its parameters are
_VERBATIM = frozenset({"line", "observed", "output", "reasons", "stdout", "stderr"})  # parameters that are evidence
_UNMISTAKABLE = 4  # the same where a parameter is a text that is not recognised
_TRIES = 400  # texts within one that are looked at
_LONGEST_LIST = 12  # parts between commas
_COLONS = 3  # colons at which a text is divided
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

    __slots__ = ("_names", "_runs", "_source", "anchor", "opening", "spans_parts", "tails", "target", "weight", "words")

    def __init__(self, english: str, target: str) -> None:
        self._source, self.target = english, target
        runs: list[list[Element]] = [[]]
        names: list[str] = []
        for part in elements(english):
            if part.kind == "parameter" and not _is_word(part.text):
                names.append(part.text)
                runs.append([])
            else:
                runs[-1].append(part)
        self._names = tuple(names)
        self._runs: tuple[list[Element], ...] | tuple[re.Pattern[str], ...] = tuple(runs)
        literals = [part.text for part in elements(english) if part.kind == "literal"]
        self.anchor = max(literals, key=len, default="")
        self.weight = sum(map(len, literals))
        self.words = len(_WORD.findall(" ".join(literals)))
        begins = elements(english)[0]
        self.opening = (
            begins.text if begins.kind == "literal" and begins.text.startswith((",", ";", " (", ": ")) else ""
        )
        parts = elements(english)
        self.spans_parts = any(";" in literal for literal in literals)
        self.tails = {
            part.text
            for before, part in itertools.pairwise(parts)
            if part.kind == "parameter" and before.kind == "literal" and before.text.endswith((": ", ", ", "; "))
        }

    def begins(self, text: str) -> bool:
        """Whether it begins with these words, whatever its parameters are."""
        return self._source.startswith(text)

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
            match = _within_brackets(run.finditer(text, place), depths, place)
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
            if part.kind == "choice" or (part.kind == "parameter" and _is_word(part.text)):
                parameters[part.text] = next(groups) or ""
            elif part.kind == "command":
                commands.setdefault(part.text, []).append(next(groups))
        return _Fitted(parameters, commands)


def _is_word(parameter: str) -> bool:
    """Whether a parameter stands for one word or number: it is searched for like a literal part."""
    return bool(_IS_NUMBER(parameter)) or parameter in GRAMMAR


def _within_brackets(matches: Iterable[re.Match[str]], depths: Sequence[int], place: int) -> re.Match[str] | None:
    """The first match up to which every bracket that opens is closed, and no other."""
    reached = place
    for match in matches:
        if any(depth < depths[place] for depth in depths[reached : match.start() + 1]):
            return None
        if depths[match.start()] == depths[place]:
            return match
        reached = match.start()
    return None


def _expression(part: Element) -> str:
    match part.kind:
        case "literal":
            return re.escape(part.text)
        case "parameter":
            return r"(\d{1,12})" if _IS_NUMBER(part.text) else r"(\w{0,12})"
        case "choice":
            return "(" + "|".join(map(re.escape, sorted(part.choices, key=len, reverse=True))) + ")"
    return f"([{chr(_FIRST_COMMAND)}-{chr(_LAST_COMMAND)}])"


@dataclass(frozen=True, slots=True)
class _Translation:
    """A text in another language, and how many English words of it were not recognised."""

    text: str
    left: int


# ---- a catalogue -----------------------------------------------------------------------------------------------------


class Catalogue:
    """The texts of one language.

    Args:
        pairs: English templates, and what they are in that language.
        words: single words among them that are translated within sentences too; any other may be a name.
    """

    def __init__(self, pairs: Mapping[str, str], words: Collection[str] = ()) -> None:
        self.whole: dict[str, str] = {}
        self.words = frozenset(words)
        self._pairs = pairs
        by_anchor: dict[str, list[_Template]] = {}
        for english, target in pairs.items():
            if not target:
                continue
            if all(part.kind == "literal" for part in elements(english)):
                self.whole[english] = target
                if not english.endswith(" "):
                    continue
            if english.endswith(" "):
                english, target = f"{english}{{rest}}", f"{target}{{rest}}"  # noqa: PLW2901 - what follows it
            template = _Template(english, target)
            if len(template.anchor) >= _SHORTEST:
                by_anchor.setdefault(template.anchor, []).append(template)
        self._templates = list(by_anchor.values())
        self._anchors = ahocorasick_rs.AhoCorasick(list(by_anchor)) if by_anchor else None
        self._line = functools.lru_cache(maxsize=20_000)(self._translated)

    def __contains__(self, english: str) -> bool:
        return bool(self._pairs.get(english))

    def text(self, english: str) -> str:
        """A text as it was shown or saved, translated as far as it is known; lines are texts of their own."""
        if english in self.whole:
            return self._line(english)
        return "\n".join(self._line(line) for line in english.split("\n"))

    def template(self, english: str) -> str:
        """A template of the sources, its parameters as they are."""
        return self._pairs.get(english) or english

    def filled(self, english: str, values: Mapping[str, str]) -> str:
        """A template of the sources, with these values of its parameters, which are taken over as they are."""
        return rendered(self.template(english), values, {})

    def left(self, english: str) -> int:
        """How many words of a text are not recognised: of an English sentence, or of what it quotes from outside."""
        return sum(
            _Reader(self).translate(_COMMAND.sub(chr(_FIRST_COMMAND), line), 0).left for line in english.split("\n")
        )

    def candidates(self, text: str) -> list[_Template]:
        """The templates whose longest literal part stands in a text, that with most to recognise first."""
        if self._anchors is None:
            return []
        places = {place for place, _, _ in self._anchors.find_matches_as_indexes(text, overlapping=True)}
        templates = [template for place in places for template in self._templates[place]]
        return sorted(templates, key=lambda template: (-template.weight, template.target))

    def _translated(self, line: str) -> str:
        blank = line[: len(line) - len(line.lstrip())]
        body = line[len(blank) :].rstrip()
        if not body or len(body) > _LONGEST:
            return line
        commands = _COMMAND.findall(body) if body.count("`") % 2 == 0 else []
        if len(commands) > _LAST_COMMAND - _FIRST_COMMAND:
            return line
        tokens = iter(range(_FIRST_COMMAND, _LAST_COMMAND))
        plain = _COMMAND.sub(lambda _: chr(next(tokens)), body) if commands else body
        if (whole := self.whole.get(line)) is not None:
            return _with_commands(rendered(whole, {}, {}), commands)
        return blank + _with_commands(_Reader(self).translate(plain, 0).text, commands)


class _Reader:
    """Recognises one text, and the texts within it, in a bounded number of tries."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[tuple[str, int], _Translation] = {}
        self._tries = _TRIES

    def translate(self, text: str, depth: int) -> _Translation:
        """The text in that language."""
        key = (text, depth)
        if key not in self._known:
            self._known[key] = self._recognised(text, depth)
        return self._known[key]

    def _recognised(self, text: str, depth: int) -> _Translation:
        if (whole := self._catalogue.whole.get(text)) is not None and (
            not depth or " " in text or text in self._catalogue.words
        ):
            return _Translation(whole, 0)
        left = len(_WORD.findall(text)) if " " in text.strip() else 0  # a single word is a name
        if _COMMANDS.fullmatch(text):
            return _Translation(text.replace("; ", "；"), 0)
        if depth >= _DEEPEST or not left or self._tries <= 0:
            return _Translation(text, left)
        self._tries -= 1
        best = _Translation(text, left)
        for sure, translation in self._readings(text, depth):
            if sure or not translation.left:
                return translation
            if translation.left < best.left:
                best = translation
        return best

    def _readings(self, text: str, depth: int) -> Iterator[tuple[bool, _Translation]]:
        """The text in each way in which it is recognised, the surest first; and whether that is how it is meant."""
        if text.startswith(_BLOCKED):
            yield from self._blocked(text, depth)
        if (number := _NUMBER.match(text)) is not None:
            translation = self.translate(text[number.end() :], depth + 1)
            yield True, _Translation(number[0] + translation.text, translation.left)
        if text.endswith("]") and (place := text.rfind(" [")) > 0:
            translation = self.translate(text[:place], depth + 1)
            yield translation.left == 0, _Translation(translation.text + text[place:], translation.left)
        fitting = self._fitting(text)
        parts = _parts(text, "; ")
        strong = [fit for fit in fitting if fit[0].words >= _STRONG and (len(parts) == 1 or _is_one(*fit))]
        if (fault := _FAULT.match(text)) is not None:
            yield from self._by_templates([fit for fit in strong if fit[0].begins(fault[0])], depth)
            translation = self.translate(text[fault.end() :], depth + 1)
            yield translation.text != text[fault.end() :], _between("：", [_Translation(fault[0][:-2], 0), translation])
        if (opening := _FOUND.match(text)) is not None:
            translation = self.translate(text[opening.end() :], depth + 1)
            yield (
                translation.text != text[opening.end() :],
                _Translation(
                    self._catalogue.filled("found {input}, ", {"input": opening[1]}) + translation.text,
                    translation.left,
                ),
            )
        yield from self._by_templates(strong, depth)
        others = [fit for fit in fitting if fit not in strong]
        if len(parts) > 1:
            yield from (reading for reading in self._by_templates(others, depth) if not reading[1].left)
        yield from self._by_sentences(parts, depth)
        yield from self._by_suffix(text, depth)
        yield from self._by_colons(text, depth)
        yield from self._by_templates(others, depth)
        yield from self._by_lists(text, depth)

    def _blocked(self, text: str, depth: int) -> Iterator[tuple[bool, _Translation]]:
        """What blocks a check, by a title that may have colons itself, and why."""
        parts = _parts(text.removeprefix(_BLOCKED), ": ")
        for number in range(1, min(len(parts), _COLONS + 1)):
            blocker = self.translate(": ".join(parts[:number]), depth + 1)
            if not blocker.left:
                reason = self.translate(": ".join(parts[number:]), depth + 1)
                values = {"blocker": blocker.text, "target": "", "reason": reason.text}
                yield (
                    True,
                    _Translation(
                        self._catalogue.filled(f"{_BLOCKED}{{blocker}}{{target}}: {{reason}}", values), reason.left
                    ),
                )

    def _fitting(self, text: str) -> list[tuple[_Template, _Fitted]]:
        """The templates that fit a text, and what their parts stand for."""
        depths = _depths(text)
        fitting = ((template, template.fitted(text, depths)) for template in self._catalogue.candidates(text))
        fits = ((template, fitted) for template, fitted in fitting if fitted is not None)
        return list(itertools.islice(fits, _CANDIDATES))

    def _by_templates(
        self, fitting: Sequence[tuple[_Template, _Fitted]], depth: int
    ) -> Iterator[tuple[bool, _Translation]]:
        for template, fitted in fitting:
            parts = {
                name: _Translation(value, 0) if name in _VERBATIM else self._part(value, depth + 1)
                for name, value in fitted.parameters.items()
            }
            plausible = all(
                name in template.tails or _is_plausible(fitted.parameters[name], part)
                for name, part in parts.items()
                if "|" not in name
            )
            if not plausible and template.words < _UNMISTAKABLE:
                continue
            values = {name: part.text for name, part in parts.items()}
            used = sum(part.left for name, part in parts.items() if "|" not in name)
            yield plausible, _Translation(rendered(template.target, values, fitted.commands), used)

    def _part(self, value: str, depth: int) -> _Translation:
        """A parameter's value; blanks around it are kept."""
        body = value.strip(" ")
        if not body:
            return _Translation(value, 0)
        whole = self.translate(value, depth)
        if whole.text != value or body == value:
            return whole
        sentences = self.translate(body, depth)
        return _Translation(value if sentences.text == body else value.replace(body, sentences.text, 1), sentences.left)

    def _by_sentences(self, parts: Sequence[str], depth: int) -> Iterator[tuple[bool, _Translation]]:
        """Sentences side by side, some of which have a semicolon themselves."""
        if len(parts) == 1:
            return
        sentences: list[_Translation] = []
        place = 0
        while place < len(parts):
            size, sentence = self._sentence(parts, place, depth)
            sentences.append(sentence)
            place += size
        if any(sentence.text not in parts for sentence in sentences):
            yield True, _between("；", sentences)

    def _sentence(self, parts: Sequence[str], place: int, depth: int) -> tuple[int, _Translation]:
        """The sentence that begins with a part, and how many parts it has."""
        first = self.translate(parts[place], depth + 1)
        if not first.left:
            return 1, first
        if place and (further := self.translate(f"; {parts[place]}", depth + 1)).text.startswith("；"):
            return 1, _Translation(further.text.removeprefix("；"), further.left)
        for size in (2, 3):
            if place + size <= len(parts) and size < len(parts):
                whole = self.translate("; ".join(parts[place : place + size]), depth + 1)
                if not whole.left:
                    return size, whole
        return 1, first

    def _by_suffix(self, text: str, depth: int) -> Iterator[tuple[bool, _Translation]]:
        """A sentence, and what was appended to it: ``, at most 5``, `` (2 not measured)``."""
        for template in self._catalogue.candidates(text):
            place = text.rfind(template.opening) if template.opening else -1
            if place <= 0:
                continue
            fitted = template.fitted(text[place:], _depths(text[place:]))
            if fitted is None:
                continue
            for _, translation in self._by_templates([(template, fitted)], depth):
                head = self.translate(text[:place], depth + 1)
                if not translation.left and head.text != text[:place]:
                    yield not head.left, _Translation(_joined([head.text, translation.text]), head.left)

    def _by_colons(self, text: str, depth: int) -> Iterator[tuple[bool, _Translation]]:
        """A name or sentence, and what is translation of it."""
        parts = _parts(text, ": ")
        for number in range(min(len(parts) - 1, _COLONS), 0, -1):
            translations = self.translate(": ".join(parts[:number]), depth + 1)
            if _is_plausible(": ".join(parts[:number]), translations):
                rest = self.translate(": ".join(parts[number:]), depth + 1)
                known = translations.text != ": ".join(parts[:number])
                if known or rest.text != ": ".join(parts[number:]):
                    yield known, _between("：", [translations, rest])

    def _by_lists(self, text: str, depth: int) -> Iterator[tuple[bool, _Translation]]:
        """Names or texts side by side, or in brackets."""
        parts = _parts(text, ", ")
        if 1 < len(parts) <= _LONGEST_LIST:
            translations = [self.translate(part, depth + 1) for part in parts]
            if all(_is_plausible(part, read) for part, read in zip(parts, translations, strict=True)):
                yield False, _between("，", translations)
        if text.endswith(")") and (place := _opening(text)) > 0:
            outside, inside = (
                self.translate(text[:place].rstrip(), depth + 1),
                self.translate(text[place + 1 : -1], depth + 1),
            )
            if not outside.left or not inside.left:
                yield False, _Translation(f"{outside.text}（{inside.text}）", outside.left + inside.left)
        if _is_list_of_names(text):
            tokens = text.replace(" and ", ", ").split(", ")
            yield False, _Translation("、".join(tokens), len(_WORD.findall(" ".join(tokens))))


def _is_one(template: _Template, fitted: _Fitted) -> bool:
    """Whether a text with semicolons is one sentence: they are the template's own."""
    return template.spans_parts and not any("; " in value for value in fitted.parameters.values())


def _is_plausible(value: str, translation: _Translation) -> bool:
    """Whether a part of a sentence of ours may be this: a name, or a text that is recognised as a whole."""
    return not translation.left or bool(_PLACE.fullmatch(value))


def _between(sign: str, translations: Sequence[_Translation]) -> _Translation:
    pieces = [translations[0].text]
    for part in translations[1:]:
        pieces += [sign, part.text]
    return _Translation(_joined(pieces), sum(part.left for part in translations))


def _parts(text: str, sign: str) -> list[str]:
    """The parts of a text between signs that are outside of brackets and quotation marks."""
    parts, begin, deep, quoted = [], 0, 0, False
    for place, character in enumerate(text):
        if not deep and not quoted and place >= begin and text.startswith(sign, place):
            parts.append(text[begin:place])
            begin = place + len(sign)
        deep += (character in "([{") - (character in ")]}" and deep > 0)
        quoted ^= character == '"'
    return [*parts, text[begin:]]


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


def _is_list_of_names(text: str) -> bool:
    """Whether it is ``a, b and c``, each of them one word."""
    names, conjunction, last = text.rpartition(" and ")
    return bool(conjunction) and all(len(name.split()) == 1 for name in (*names.split(", "), last))


def rendered(target: str, parameters: Mapping[str, str], commands: Mapping[str, Sequence[str]] | None = None) -> str:
    """A template with its parameters and commands put in, and blanks as the language has them."""
    left = {command: list(texts) for command, texts in (commands or {}).items()}
    pieces = []
    for part in elements(target):
        match part.kind:
            case "literal":
                pieces.append(part.text)
            case "command":
                texts = left.get(part.text)
                pieces.append((texts.pop(0) if len(texts) > 1 else texts[0]) if texts else part.text)
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
            elif piece[0] == " " and (_is_sign(text[-1]) or (_ideograph(text[-1]) and _wide(piece[1:2]))):
                piece = piece[1:]  # noqa: PLW2901 - the rest of it
            elif (_ideograph(text[-1]) and _narrow(piece[0])) or (_narrow(text[-1]) and _ideograph(piece[0])):
                text += " "
        text += piece
    return text


def _ideograph(character: str) -> bool:
    return character != "" and "\u4e00" <= character <= "\u9fff"


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

LANGUAGES = ("en", "zh")
"""The languages that texts are shown in; English is what the sources have."""


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The texts of a language, from the files of `preflight/locale/`."""
    return Catalogue(pairs(language), pairs(language, "words"))


def pairs(language: str, area: str = "*") -> dict[str, str]:
    """Each English template of a language's files, or of one of them, and what it is in that language."""
    folder = importlib.resources.files("preflight") / "locale" / language
    files = sorted(
        (file for file in folder.iterdir() if fnmatch.fnmatch(file.name, f"{area}.yaml")), key=lambda file: file.name
    )
    texts: dict[str, str] = {}
    for file in files:
        for entry in load_yaml(file.read_text(encoding="utf-8")) or ():
            texts[entry["en"]] = entry[language]
    return texts
