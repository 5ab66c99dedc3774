"""Which keys a version of the runner reads in its TOML, and of which type: ``keys.yaml`` as objects.

The table is written by ``tools/runner_keys.py`` from the runner's sources and holds every key of each minor version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from preflight.yamltext import load_yaml

Names = tuple[str, ...]  # a path of keys, as the runner spells them
Shape = Literal[
    "text",
    "boolean",
    "integer",
    "number",
    "duration",
    "time",
    "anything",
    "text or list",  # one text, or several
    "list",
    "map",  # keys of the user's own choice
    "table",
    "tables",  # [[…]]
]

_TABLE = Path(__file__).with_name("keys.yaml")
_FOLDED = str.maketrans(
    {"\N{LATIN SMALL LETTER LONG S}": "s", "\N{KELVIN SIGN}": "k"}
)  # what Unicode's simple folding makes equal to ASCII


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a key, as the runner's decoder takes it.

    Attributes:
        of: of what a list or a map is.
        optional: whether not being set differs from zero, false and empty.
        bits: of an integer.
        exact: of tables: whether their keys are read in exactly this spelling, and wrong types are passed over.
    """

    shape: Shape
    of: Kind | None = None
    optional: bool = False
    bits: int = 64
    exact: bool = False

    def __str__(self) -> str:
        if self.shape in {"list", "map"}:
            return f"a {self.shape} of {_PLURALS[self.of.shape]}" if self.of else f"a {self.shape}"
        return _SINGULARS[self.shape]


_SINGULARS: Mapping[Shape, str] = {
    "text": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "duration": 'a duration such as "5m"',
    "time": "a time",
    "anything": "anything",
    "text or list": "text, or a list of texts",
    "table": "a table, [x]",
    "tables": "a list of tables, [[x]]",
}
_PLURALS: Mapping[Shape, str] = {
    "text": "texts",
    "boolean": "true or false",
    "integer": "whole numbers",
    "number": "numbers",
    "anything": "anything",
    "list": "lists",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that a version reads.

    Attributes:
        words: the words that it allows; empty where any is.
        unit: of a number: seconds, milliseconds, bytes or kilobytes.
        env: the variable that wins over the key when a manager registers.
        below: the keys of a table, in the runner's spelling.
    """

    path: Names
    kind: Kind
    words: tuple[str, ...] = ()
    unit: str = ""
    env: str = ""
    below: Mapping[str, Key] = field(default_factory=dict)

    def key(self, name: str) -> Key | None:
        """The key that the decoder takes a name for: the one spelt so, or else in another case."""
        return self.below.get(name) or next(
            (key for known, key in self.below.items() if folded(known) == folded(name)), None
        )


@dataclass(frozen=True, slots=True)
class Span:
    """The versions that read a key: from ``since`` on, up to the one before ``until``; empty: as far as is known."""

    since: str = ""
    until: str = ""

    def __str__(self) -> str:
        if self.since and self.until:
            return f"from {self.since} on, and no more since {self.until}"
        return f"since {self.since}" if self.since else f"no more since {self.until}"


@dataclass(frozen=True)
class RunnerKeys:
    """What one version of the runner reads.

    Attributes:
        asked: the version asked for.
        version: the minor version whose table was taken: the newest that is not newer, or else the oldest.
        known: whether the table is that version's own. Otherwise a key that it lacks may be real.
        root: the keys of the file's top.
        flags: the feature flags, and what each is where it is not set.
    """

    asked: str
    version: str
    known: bool
    root: Key
    flags: Mapping[str, bool]

    def find(self, path: Names) -> Key | None:
        """The key at a path, in any case."""
        key: Key | None = self.root
        for name in path:
            key = key.key(name) if key else None
        return key

    def each(self, below: Key | None = None) -> Iterator[Key]:
        """Every key."""
        for key in (below or self.root).below.values():
            yield key
            yield from self.each(key)

    def newer_than(self, version: str) -> bool:
        """Whether the version asked for is this one, or a later one."""
        return _order(self.asked) >= _order(version)

    @cached_property
    def environment(self) -> Mapping[str, Names]:
        """By variable, the key that it sets when a manager registers (the chart's ``envVars``)."""
        return {key.env: key.path for key in self.each() if key.env}

    def other_versions(self, path: Names) -> Span | None:
        """The versions that read a key which this one doesn't; None where this one does, or none does."""
        return None if self.find(path) else _spans("keys").get(_folded_path(path))

    def other_versions_of_flag(self, name: str) -> Span | None:
        """The versions with a feature flag which this one doesn't have."""
        return _spans("feature_flags").get((folded(name),))


def folded(name: str) -> str:
    """A name as the decoder compares it where no key is spelt exactly so."""
    return name.translate(_FOLDED).lower()


def versions() -> tuple[str, ...]:
    """The minor versions with a table, the oldest first."""
    return tuple(_content()["versions"])


def runner_keys(version: str) -> RunnerKeys:
    """What a version such as ``18.3.1`` or ``v18.3`` reads."""
    minor = ".".join(map(str, _order(version)))
    return _keys(version, minor)


@cache
def _keys(asked: str, minor: str) -> RunnerKeys:
    listed = versions()
    taken = next((version for version in reversed(listed) if _order(version) <= _order(minor)), listed[0])
    entries = dict(_entries("keys", taken))
    return RunnerKeys(
        asked=asked,
        version=taken,
        known=minor in listed,
        root=_tree(entries),
        flags={name: span["default"] for name, span in _entries("feature_flags", taken)},
    )


@cache
def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = load_yaml(_TABLE.read_text(encoding="utf-8"))
    return content


def _described(entry: Any) -> list[dict[str, Any]]:
    """The descriptions of a key over time: a bare word is its type."""
    if isinstance(entry, list):
        return entry
    return [entry if isinstance(entry, dict) else {"type": entry}]


def _entries(part: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a version has: names, each with its description."""
    at = _order(version)
    for name, entry in _content()[part].items():
        for span in _described(entry):
            if _order(span.get("since", "0.0")) <= at < _order(span.get("until", "9999.0")):
                yield name, span


@cache
def _spans(part: str) -> Mapping[Names, Span]:
    """The versions of everything that not every version has."""
    return {
        _folded_path(tuple(name.split("."))): Span(spans[0].get("since", ""), spans[-1].get("until", ""))
        for name, spans in ((name, _described(entry)) for name, entry in _content()[part].items())
        if "since" in spans[0] or "until" in spans[-1]
    }


def _tree(entries: Mapping[str, dict[str, Any]]) -> Key:
    below: dict[Names, dict[str, Key]] = {(): {}}
    for name in sorted(entries, key=lambda name: name.count("."), reverse=True):
        path, span = tuple(name.split(".")), entries[name]
        below.setdefault(path[:-1], {})[path[-1]] = Key(
            path=path,
            kind=_kind(span["type"]),
            words=tuple(span.get("words", ())),
            unit=span.get("unit", ""),
            env=span.get("env", ""),
            below=below.get(path, {}),
        )
    return Key(path=(), kind=Kind("table"), below=below[()])


_KINDS: Mapping[str, Kind] = {
    "integer32": Kind("integer", bits=32),
    "own tables": Kind("tables", exact=True),
    "text or list of text": Kind("text or list", of=Kind("text")),
}


def _kind(word: str) -> Kind:
    if word in _KINDS:
        return _KINDS[word]
    optional, inner = word.startswith("optional "), word.removeprefix("optional ")
    for shape in ("list", "map"):
        if inner.startswith(f"{shape} of "):
            return Kind(shape, of=_kind(inner.removeprefix(f"{shape} of ")), optional=optional)
    return Kind(inner, optional=optional)  # type: ignore[arg-type]


def _folded_path(path: Names) -> Names:
    return tuple(map(folded, path))


def _order(version: str) -> tuple[int, int]:
    matched = re.match(r"v?(\d+)(?:\.(\d+))?", version)
    return (int(matched[1]), int(matched[2] or 0)) if matched else (0, 0)
