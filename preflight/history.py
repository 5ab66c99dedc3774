"""The last runs against the same environment, in brief: from the earlier reports that lie in the reports' folder.

Each report carries the runs that it knew of, so a report that replaces the former one keeps them. Files are read only
where they are regular ones of a bounded size, and at most a few; whatever else lies in the folder is left alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preflight import baseline, renamed
from preflight.documents import load_json
from preflight.evidence import one_line

KEPT = 10
"""Runs that a report keeps."""

_FILES = 12  # files that are read, the newest
_LARGEST = 64 * 2**20  # bytes of one
_CAUSES = 12  # root causes that are kept of one run
_COUNTS = 8  # verdicts that are counted


def earlier_runs(folder: Path, *, environment: str, run: str) -> list[dict[str, Any]]:
    """The last runs, the oldest first, as JSON.

    Args:
        folder: of the reports.
        environment: this run's environment, as `baseline.environment_of` describes it; runs of another are left out.
        run: this run's id, which is not an earlier one.
    """
    known: dict[str, dict[str, Any]] = {}
    for document in _documents(folder):
        if baseline.environment_of(_mapping(document.get("environment"))) != environment:
            continue
        for entry in [*_carried(document), _brief(document)]:
            if entry and entry["written"] and entry["run"] != run:
                known[f"{entry['run']} {entry['written']}"] = entry
    return sorted(known.values(), key=lambda entry: str(entry["written"]))[-KEPT:]


def _documents(folder: Path) -> Iterator[Mapping[str, Any]]:
    files: list[tuple[float, Path]] = []
    try:
        for file in folder.glob("*.json"):
            status = file.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST:
                files.append((status.st_mtime, file))
    except OSError:
        return
    for _, file in sorted(files, reverse=True)[:_FILES]:
        try:
            document = load_json(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(document, dict) and isinstance(document.get("decision"), dict):
            yield document


def _brief(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run in brief, from its whole report."""
    decision = document["decision"]
    conclusions = [entry for entry in _list(document.get("conclusions")) if isinstance(entry, dict)]
    return _entry(
        {
            **{key: document.get(key) for key in ("run", "written", "effect")},
            **{key: decision.get(key) for key in ("answer", "partial", "counts")},
            "causes": [_cause(entry) for entry in conclusions if entry.get("root_cause")],
        }
    )


def _carried(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs that a report carries."""
    for entry in _list(document.get("history"))[-KEPT:]:
        if isinstance(entry, dict):
            yield _entry(entry)


def _entry(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing but what the form has, cleaned once more: whoever wrote the file."""
    counts = [(key, count) for key, count in _mapping(fields.get("counts")).items() if type(count) is int]
    return {
        **{key: one_line(str(fields.get(key) or ""), longest=200) for key in ("run", "written", "answer", "effect")},
        "partial": fields.get("partial") is True,
        "counts": {one_line(str(key), longest=40): count for key, count in counts[:_COUNTS]},
        "causes": [one_line(str(cause), longest=300) for cause in _list(fields.get("causes"))[:_CAUSES]],
    }


def _cause(entry: Mapping[str, Any]) -> str:
    return baseline.title_of(renamed.cause(str(entry.get("name", ""))), map(str, _list(entry.get("about"))))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
