"""Where the keys of ``runners.config`` stand: the TOML inside of the values file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight.documents import load_toml
from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding
from preflight.values import Values

TomlPath = tuple[str | int, ...]  # keys, and indexes of lists of tables

_HEADER = re.compile(r"^\s*(?P<array>\[)?\[(?P<name>[^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*(?P<name>(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'""")


def toml_lines(text: str) -> dict[TomlPath, int]:
    """The line of each table and key of a TOML text that parses, from 1."""
    positions: dict[TomlPath, int] = {}
    implied: dict[TomlPath, int] = {}  # tables that no header of their own opens
    counts: dict[TomlPath, int] = {}
    table: TomlPath = ()
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        if header := _HEADER.match(line):
            table = _entered(_split_path(header["name"]), counts, positions, index + 1, array=bool(header["array"]))
            for length in range(1, len(table)):
                implied.setdefault(table[:length], index + 1)
        elif key := _KEY.match(line):
            positions.setdefault((*table, *_split_path(key["name"])), index + 1)
            index = _last_line(lines, index)
        index += 1
    return implied | positions


def _entered(
    names: Sequence[str], counts: dict[TomlPath, int], positions: dict[TomlPath, int], line: int, *, array: bool
) -> TomlPath:
    """The path of a table by the names of its header, which stands for the last entry of every list around it."""
    path: TomlPath = ()
    for number, name in enumerate(names, start=1):
        path = (*path, name)
        is_last = number == len(names)
        if array and is_last:
            positions.setdefault(path, line)
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    positions.setdefault(path, line)
    return path


def _split_path(dotted: str) -> tuple[str, ...]:
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

    def place(self, *path: str | int) -> str:
        """The place of a key, or of the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return str(self.values.config_origin(self.lines[path]) if path else self.values.origin("runners.config"))

    def finding(self, fault: ValuesFault, path: TomlPath, message: str) -> Finding:
        """A finding about a key of the TOML, at its own place."""
        place = self.place(*path)
        return Finding(fault=fault, reader="runner", path=format_toml_path(path), place=place, message=message)


def format_toml_path(path: TomlPath) -> str:
    """A TOML key with its table, as manuals write it: ``[runners.kubernetes] dns_policy``."""
    *table, key = (step for step in path if isinstance(step, str))
    return f"[{'.'.join(table)}] {key}" if table else key
