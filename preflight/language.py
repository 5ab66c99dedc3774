"""The language that this process speaks to its operator: English, or one that there is a catalogue for.

`--lang` comes first, then ``PREFLIGHT_LANG``, then the locale (``LC_ALL``, ``LC_MESSAGES``, ``LANG``: the first that is
set) where it is of a language that there is. What is for programs stays English whatever is chosen: preflight.json,
`--summary json`, JUnit, ids, commands and evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from preflight import translation
from preflight.layout import padded

ENGLISH = "en"
LANGUAGES = translation.LANGUAGES
VARIABLE = "PREFLIGHT_LANG"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_TAGS = {"en": "en", "zh": "zh-CN"}
_OPTION = "--lang"
_LABELLED = re.compile(r"(?P<indent> {0,30})(?P<label>\S.{0,60}?)(?P<gap> {2,20})(?P<text>\S.*)", re.DOTALL)
_AT_LINE = re.compile(r"\(line \d+(?:, \d+ times)?\)")


class LanguageError(ValueError):
    """A language that there is none of; the message names where it was found, and what there is."""


class _Chosen:
    """The language of this process, as gettext's own is one for a process."""

    language = ENGLISH


def use(language: str) -> str:
    """Speak this language from now on; returns the one before."""
    before, _Chosen.language = _Chosen.language, language
    return before


def speaking(language: str) -> Callable[[], None]:
    """Speak this language until what is returned is called."""
    before = use(language)

    def end() -> None:
        use(before)

    return end


def current() -> str:
    """The language that is spoken."""
    return _Chosen.language


def tag() -> str:
    """The same as a page's ``lang`` says it."""
    return _TAGS[_Chosen.language]


def of_environment(variables: Mapping[str, str]) -> str:
    """The language that the environment asks for.

    Raises:
        LanguageError: ``PREFLIGHT_LANG`` names one that there is none of; a locale of another language is English.
    """
    asked = variables.get(VARIABLE, "")
    if asked:
        if asked not in LANGUAGES:
            raise LanguageError(f"{VARIABLE}: found {asked!r}, expected {' or '.join(LANGUAGES)}")
        return asked
    locale = next((variables[name] for name in _LOCALE if variables.get(name)), "")
    language = locale.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return language if language in LANGUAGES else ENGLISH


def of_arguments(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """The language for what is shown before options are read, such as their help; a bad one is reported later."""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == _OPTION:
            given = value or next(iter(arguments[place + 1 :]), "")
            return given if given in LANGUAGES else ENGLISH
    try:
        return of_environment(variables)
    except LanguageError:
        return ENGLISH


def translated(text: str) -> str:
    """A text of ours, as it was made or saved, in the language that is spoken."""
    return text if _Chosen.language == ENGLISH else translation.catalogue(_Chosen.language).text(text)


def template(english: str) -> str:
    """A template of the sources in the language that is spoken, its parameters as they are."""
    return english if _Chosen.language == ENGLISH else translation.catalogue(_Chosen.language).template(english)


def t(english: str, /, **values: object) -> str:
    """A template of the sources in the language that is spoken, with these values: ``t("{count} more", count=3)``."""
    named = {name: str(value) for name, value in values.items()}
    if _Chosen.language == ENGLISH:
        return translation.filled(english, named)
    return translation.catalogue(_Chosen.language).filled(english, named)


def labelled_line(line: str) -> str:
    """A line of a command, ``label     text``, in the language that is spoken; what it quotes stays as it is."""
    match = None if _Chosen.language == ENGLISH else _LABELLED.fullmatch(line)
    if match is None:
        return translated(line)
    text = match["text"]
    if match["label"] in _OF_LOGS:
        text = _AT_LINE.sub(lambda place: translated(place[0]), text, count=1)
    elif match["label"] not in _QUOTING:
        text = translated(text)
    label = padded(translated(match["label"]), len(match["label"]) + len(match["gap"]))
    return f"{match['indent']}{label}{'' if label.endswith(' ') else ' '}{text}"


_QUOTING = frozenset({"line", "look at", "told by", "source", "symptoms", "general"})
"""Labels of what is quoted: lines of logs, commands, ids."""
_OF_LOGS = frozenset({"symptom", "echo", "nearest"})
"""Labels of a line of a log, and where it stands there."""
