"""Which keys the chart gitlab-runner reads, by version: it has no schema, and ignores the rest.

A file ``gitlab-runner-MAJOR.MINOR.yaml`` holds a chart's keys from that version on; one may extend an older one. To
support another version, put a file beside these. The keys of the runner's own TOML are `preflight.runner_config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from preflight.yamltext import load_yaml

Tree = Mapping[str, Any]  # a name → a leaf's form, or a tree

_FOLDER = Path(__file__).parent
_FILE = re.compile(r"gitlab-runner-(?P<version>\d+\.\d+)\.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one version.

    Attributes:
        version: of the table that was taken: the newest that is not newer than the requested one.
        runner: the version of the runner that belongs to it.
        tree: what is read, by name; a leaf is one of the forms that gitlab-runner-0.77.yaml explains.
        moved: dotted keys that are no longer read, each with the version that dropped it, and what to write instead.
        retired: the same for keys that are read, and should not be written any more.
        templates: dotted keys whose text Helm evaluates as a template itself, such as ``runners.config``; ``*`` stands
            for any name or item.
        covered: whether the version asked for is not older or newer than all tables.
        newer_than_tables: whether it is newer than all of them, so that it may read keys that are in none.
    """

    version: str
    runner: str
    tree: Tree
    moved: Mapping[str, Mapping[str, str]]
    retired: Mapping[str, Mapping[str, str]]
    templates: tuple[str, ...] = ()
    covered: bool = True
    newer_than_tables: bool = False


def versions() -> tuple[str, ...]:
    """Every version that has a table of its own, the oldest first."""
    names = [matched["version"] for path in _FOLDER.iterdir() if (matched := _FILE.fullmatch(path.name))]
    return tuple(sorted(names, key=_order))


@cache
def keys(version: str) -> Keys:
    """The keys of a version such as ``0.80.0``: those of the newest table not newer than it, or else the oldest."""
    wanted = _order(version)
    known = versions()
    chosen = next((candidate for candidate in reversed(known) if _order(candidate) <= wanted), known[0])
    table = _read(chosen)
    return Keys(
        version=chosen,
        runner=str(table.get("runner", "")),
        tree=table["keys"],
        moved=table.get("moved", {}),
        retired=table.get("retired", {}),
        templates=tuple(table.get("templates", ())),
        covered=_order(known[0]) <= wanted <= _order(known[-1]),
        newer_than_tables=_order(known[-1]) < wanted,
    )


def _order(version: str) -> tuple[int, int]:
    match = re.match(r"v?(\d{1,9})\.(\d{1,9})", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _read(version: str) -> dict[str, Any]:
    table: dict[str, Any] = load_yaml((_FOLDER / f"gitlab-runner-{version}.yaml").read_text(encoding="utf-8"))
    if "extends" not in table:
        return table
    return _merged(_read(str(table["extends"])), table)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
