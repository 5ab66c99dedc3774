"""Where the keys of ``runners.config`` stand: the TOML inside of the values file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.documents import load_toml
from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding
from preflight.values import Values

TomlPath = tuple[str, ...]

_HEADER = re.compile(r"^\s*\[\[?(?P<name>[^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*(?P<name>(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'""")


def toml_lines(text: str) -> dict[TomlPath, int]:
    """The line of each table and key of a TOML text that parses, from 1; of an array's tables, that of the first."""
    positions: dict[TomlPath, int] = {}
    table: TomlPath = ()
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        if header := _HEADER.match(line):
            table = _split_path(header["name"])
            positions.setdefault(table, index + 1)
        elif key := _KEY.match(line):
            positions.setdefault((*table, *_split_path(key["name"])), index + 1)
            index = _last_line(lines, index)
        index += 1
    return positions


def _split_path(dotted: str) -> TomlPath:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _last_line(lines: list[str], first: int) -> int:
    """The last line of a key's value: of a text or an array over several lines, where it parses."""
    for last in range(first, len(lines)):
        try:
            load_toml("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    return first


@dataclass(frozen=True, slots=True)
class TomlText:
    """The TOML of ``runners.config`` and the lines of its keys."""

    values: Values
    lines: Mapping[TomlPath, int] = field(repr=False)

    @property
    def config(self) -> Mapping[str, Any]:
        """The parsed TOML."""
        return self.values.config

    def place(self, *path: str) -> str:
        """The place of a key, or of the nearest table around it."""
        origin = self.values.origin("runners.config")
        while path and path not in self.lines:
            path = path[:-1]
        return str(origin.inside(self.lines[path]) if path else origin)

    def finding(self, fault: ValuesFault, path: TomlPath, message: str) -> Finding:
        """A finding about a key of the TOML, at its own place."""
        place = self.place(*path)
        return Finding(fault=fault, reader="runner", path=format_toml_path(path), place=place, message=message)


def format_toml_path(path: TomlPath) -> str:
    """A TOML key with its table, as manuals write it: ``[runners.kubernetes] dns_policy``."""
    *table, key = path
    return f"[{'.'.join(table)}] {key}" if table else key
