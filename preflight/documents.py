"""Read JSON and TOML with a bound on how deep they nest, so that whoever goes through a document comes to its end."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

DEEPEST = 100
"""Levels of a document; no configuration and no answer of an API nests deeper."""


def load_json(text: str | bytes) -> Any:
    """The document in a text.

    Raises:
        json.JSONDecodeError: it is not JSON, or nests deeper than `DEEPEST` levels.
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        document = None
    else:
        if not nests_too_deep(document):
            return document
    whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = first_deep_line(whole)
    place = sum(len(before) + 1 for before in whole.split("\n")[: line - 1])
    raise json.JSONDecodeError(f"it nests deeper than {DEEPEST} levels", whole, place) from None


def load_toml(text: str, *, loads: Callable[[str], dict[str, Any]] = tomllib.loads) -> dict[str, Any]:
    """The tables in a text.

    Args:
        text: the TOML.
        loads: what reads it.

    Raises:
        tomllib.TOMLDecodeError: it is not TOML, or nests deeper than `DEEPEST` levels; or what `loads` raises.
    """
    try:
        document = loads(text)
    except RecursionError:
        document = {}
    else:
        if not nests_too_deep(document):
            return document
    raise tomllib.TOMLDecodeError(
        f"it nests deeper than {DEEPEST} levels (at line {first_deep_line(text)}, column 1)"
    ) from None


def nests_too_deep(document: Any) -> bool:
    """Whether lists and mappings stand within each other on more levels than `DEEPEST`."""
    level: list[Any] = [document] if isinstance(document, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
    return bool(level)


def first_deep_line(text: str) -> int:
    """The line, from 1, at which a text that nests too deep does so, as far as its brackets and dots show it."""
    depth = 0
    for number, line in enumerate(text.split("\n"), start=1):
        dots = line.count(".")
        for character in line:
            depth += 1 if character in "[{" else -1 if character in "]}" else 0
            if depth + dots > DEEPEST:
                return number
    return 1
