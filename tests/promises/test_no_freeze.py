"""No text from outside can freeze a run: every regular expression and all redaction take time linear in the text.

A regular expression can't be interrupted, not even by a signal, so one that is quadratic on the right text holds the
process until it is killed. What is judged is how time grows with the text, in seconds of the processor.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import preflight
from preflight import secret_shapes
from preflight.evidence import LONGEST, clean, one_line
from preflight.redaction import redact, remember
from preflight.symptoms import catalogue, reading
from tests.promises.regexes import SINGLE, Slow, hostile_texts, search_all, seconds, slow, text_of, units

LENGTHS = (250, 4_000)
LEAST = 0.006  # seconds from which on growth is looked at
MEGABYTE = 1_000_000
MOST = 4.0  # seconds of the processor for a megabyte: many times of what it takes


def too_slow(expression: re.Pattern[str], *, lengths: tuple[int, ...] = LENGTHS) -> list[Slow]:
    """The first text for which the expression takes time that grows faster than the text, if there is one."""
    found = slow(search_all(expression), hostile_texts(expression), lengths=lengths, least=LEAST)
    return list(itertools.islice(found, 1))


def test_what_is_quadratic_is_seen() -> None:
    """The measure itself: each of the first has been in use, or the like of it."""
    for expression in (r"--[a-z\-]*token\s", r"\s*\n\s*", r"[a-z0-9]+-glrt-"):
        assert too_slow(re.compile(expression), lengths=(1_000, 4_000, 16_000)), expression
    for expression in (r"token[ \t]{0,8}=[^\s]+", r"a\n", r"(?<!-)--[a-z]{1,40}=", r"[a-z]{1,200}/x"):
        assert not too_slow(re.compile(expression)), expression


def patterns_of(value: object, *, depth: int = 0) -> Iterator[re.Pattern[str]]:
    """The regular expressions over text in a value."""
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
        else:
            yield re.compile(value.pattern.decode("latin-1"), value.flags & ~re.LOCALE | re.ASCII)
    elif depth < 4 and isinstance(value, Mapping):
        for item in value.items():
            yield from patterns_of(item, depth=depth + 1)
    elif depth < 4 and isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from patterns_of(item, depth=depth + 1)
    elif depth < 4 and type(value).__module__.startswith("preflight.") and hasattr(value, "__slots__"):
        for name in getattr(type(value), "__slots__", ()):
            yield from patterns_of(getattr(value, name, None), depth=depth + 1)


SEARCHES = {"match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer", "compile"}


def expressions_of(source: str) -> Iterator[str]:
    """The regular expressions that stand in the source where they are used."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in SEARCHES
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            yield node.args[0].value


def expressions() -> dict[str, list[re.Pattern[str]]]:
    """Every regular expression of the suite by module, but for the symptoms' and the shapes of secrets."""
    found: dict[str, list[re.Pattern[str]]] = {}
    for module in pkgutil.walk_packages(preflight.__path__, "preflight."):
        if module.name == "preflight.__main__":
            continue
        imported = importlib.import_module(module.name)
        patterns = {pattern.pattern: pattern for value in vars(imported).values() for pattern in patterns_of(value)}
        if file := getattr(imported, "__file__", None):
            for text in expressions_of(Path(file).read_text(encoding="utf-8")):
                patterns.setdefault(text, re.compile(text))
        if patterns:
            found[module.name] = list(patterns.values())
    return found


ONCE = {
    "preflight.gotemplate": "a comment that has no end is an error: the text is gone through once"  # _COMMENT
}
"""Modules with an expression that is matched at one place of a text only, and why."""


def test_no_regular_expression_grows_faster_than_its_text() -> None:
    every = expressions()
    assert sum(map(len, every.values())) > 150
    failures = {
        (module, pattern.pattern): texts
        for module, patterns in every.items()
        if module not in ONCE
        for pattern in patterns
        if (texts := too_slow(pattern))
    }
    assert failures == {}


def symptom_expressions() -> Iterator[re.Pattern[str]]:
    """Every expression that a line of a job's log is searched for."""
    yield from catalogue.SYSTEMS.values()
    for symptom in catalogue.known():
        yield from (pattern.expression for pattern in symptom.patterns)
        yield from symptom.unless
        yield from (candidate.only for candidate in symptom.candidates if candidate.only is not None)


def few_texts(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """The texts that make a pattern work most: tests/core/test_symptoms.py counts its steps besides."""
    return [("", "a"), ("", " "), *list(units(pattern.pattern, pattern.flags))[-12:]]


def test_no_symptom_s_pattern_grows_faster_than_its_line() -> None:
    patterns = list(symptom_expressions())
    assert len(patterns) > 200
    failures = {
        pattern.pattern: texts
        for pattern in patterns
        if (texts := list(slow(search_all(pattern), few_texts(pattern), lengths=(250, 4_000), least=0.02)))
    }
    assert failures == {}, "gaps are bounded, by 1,500 characters at most"


def shapes() -> list[re.Pattern[str]]:
    """Every expression of the redaction."""
    return [pattern for value in vars(secret_shapes).values() for pattern in patterns_of(value)]


def texts_of_shapes() -> list[tuple[str, str]]:
    """Runs of one character, and repeats of what each shape of a secret begins with or repeats."""
    return list(dict.fromkeys(text for shape in shapes() for text in hostile_texts(shape)))


def test_redaction_grows_as_its_text() -> None:
    remember("a" * 40)
    remember("b" + "a" * 5_000)
    texts = texts_of_shapes()
    assert len(texts) > 200
    assert list(slow(redact, texts[::2], lengths=(3_000,), least=0.03)) == []


def test_a_megabyte_is_cleaned_soon_whatever_it_holds() -> None:
    """Of a long text only what is shown is redacted, so length costs nothing."""
    for before, unit in [("", character) for character in SINGLE] + texts_of_shapes()[::20]:
        assert seconds(one_line, text_of(before, unit, MEGABYTE)) < MOST, (before, unit)
    assert len(clean("-" * MEGABYTE)) <= LONGEST


@pytest.mark.parametrize("unit", ["--", "-password ", "eyJ", "//a@", " ", "\n"])
def test_a_megabyte_without_an_end_of_line_is_read_soon(unit: str) -> None:
    line = "Could not resolve host: " + text_of("", unit, MEGABYTE) + " dial tcp: i/o timeout"
    assert seconds(reading.find, line) < MOST
