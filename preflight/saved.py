"""Facts as JSON and back, so that a run can be judged again later (`--replay`).

What is written is plain: fields by name, sets sorted, every text cleaned of secrets once more. A fact names its class
(``kind``), an exception the reason why there is no fact. Where a field may hold faults of several enums, a field beside
it (``fault_kind``) says of which. Fields marked ``live`` (clients, sessions) are left out, and have their default, or
None, when read back. Of many objects, such as the nodes of a large cluster, what is usual is written once (`rows`).
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import math
import sys
import types
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight import faults, report_form
from preflight.documents import load_json
from preflight.evidence import KINDS, Blocked, Evidence, Fact, NotApplicable, PreflightError, Unmeasured, clean
from preflight.inventory import Inventory

SCHEMA = 5
"""Version of preflight.json's form; docs/reports.md describes it."""

REPLAYABLE = frozenset({4, SCHEMA})
"""Versions whose facts have a form that is read here."""

COMPARABLE = frozenset({2, 3, *REPLAYABLE})
"""Versions whose checks and conclusions have the same form, whatever became of the facts: fit for `--baseline`."""

_LONGEST = 20_000  # characters of one text
_MANY = 50  # objects from which what they have in common is written once
_ABSENT: Any = object()


class SavedError(Exception):
    """A file that is not what `--replay` or `--baseline` takes; says what was found and what is expected."""


# ---- to JSON --------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A fact, or what it is made of, as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        document: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            if field.metadata.get("live"):
                continue
            content = getattr(value, field.name)
            document[field.name] = plain(content)
            if isinstance(content, faults.Fault):
                document[f"{field.name}_kind"] = type(content).__name__
        return document
    if isinstance(value, enum.Enum | str):
        return clean(str(value), longest=_LONGEST)
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, tuple | list):
        items = [plain(item) for item in value]
        return _table(items) if len(items) > _MANY and all(map(dataclasses.is_dataclass, value)) else items
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(str(value), longest=_LONGEST)


def _table(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Many objects, written as what most of them have and, for each, what it has else (`rows` reads it)."""
    usual: dict[str, Any] = {}
    for key in items[0]:
        values = [item.get(key, _ABSENT) for item in items]
        if all(map(_is_mapping_of_texts, values)):
            counts = Counter(pair for value in values for pair in value.items())
            usual[key] = {name: text for (name, text), count in counts.items() if count > len(items) / 2}
        else:
            shown, count = Counter(map(json.dumps, values)).most_common(1)[0] if _ABSENT not in values else ("{}", 0)
            if count > len(items) / 2 and not shown.startswith("{"):
                usual[key] = json.loads(shown)
    return {"usual": usual, "rows": [_unusual(item, usual) for item in items]}


def _unusual(item: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in item.items():
        if key not in usual:
            row[key] = value
        elif isinstance(usual[key], dict):
            gone = dict.fromkeys(usual[key].keys() - value.keys())
            differing = gone | {name: text for name, text in value.items() if usual[key].get(name) != text}
            row |= {key: differing} if differing else {}
        elif (type(value), value) != (type(usual[key]), usual[key]):
            row[key] = value
    return row


def _is_mapping_of_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, whether each was written in full or what is usual was written once."""
    if isinstance(value, list):
        return value
    usual = value["usual"]
    return [{**usual, **{key: _whole(usual.get(key), part) for key, part in row.items()}} for row in value["rows"]]


def _whole(usual: Any, part: Any) -> Any:
    """What an object has under a key; of a mapping, what differs is written, with null for what it lacks."""
    if not isinstance(usual, dict):
        return part
    return {name: text for name, text in {**usual, **part}.items() if text is not None}


def plain_measurement(value: Any, error: PreflightError | None) -> dict[str, Any]:
    """What came of a measurement, as JSON."""
    if isinstance(error, Blocked):
        return {
            "error": "Blocked",
            "reason": clean(error.reason),  # a secret may have become known since
            "fact": error.fact,
            "fact_targets": error.targets,
            "failed": error.failed,
            "witness": error.witness,
            **({"measured": _with_kind(error.measured)} if error.measured is not None else {}),
        }
    if isinstance(error, Unmeasured):
        return {
            "error": "Unmeasured",
            "reason": clean(error.reason),
            "needs": clean(error.needs),
            "evidence": plain(error.evidence),
            "fault": plain(error.fault),
            **({"fault_kind": type(error.fault).__name__} if error.fault else {}),
        }
    if error is not None:
        return {"error": type(error).__name__, "reason": clean(str(error))}
    if not isinstance(value, Fact):
        return {}
    # The value stands apart: its fields may have any name.
    return {"vantage": value.where, "fault": plain(value.fault), "value": _with_kind(value)}


def _with_kind(fact: Fact) -> dict[str, Any]:
    return {"kind": type(fact).__name__, **plain(fact)}


# ---- from JSON ------------------------------------------------------------------------------------------------------


def measurement_from(document: Mapping[str, Any]) -> tuple[Fact | None, PreflightError | None]:
    """What came of a measurement, from JSON; a SavedError says what can't be read."""
    try:
        match document.get("error"):
            case "Blocked":
                return None, _blocked(document)
            case "Unmeasured":
                return None, _unmeasured(document)
            case "NotApplicable":
                return None, NotApplicable(document["reason"])
            case None:
                return (_fact(document["value"]) if "value" in document else None), None
            case other:
                raise SavedError(f"found the error {other!r}, expected Blocked, Unmeasured or NotApplicable")
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        name = clean(str(document.get("name", "?")))
        raise SavedError(f"fact {name}: {type(error).__name__}: {clean(str(error))}") from None


def _blocked(document: Mapping[str, Any]) -> Blocked:
    return Blocked(
        document["fact"],
        dict(document["fact_targets"]),
        document["reason"],
        failed=document["failed"],
        measured=_fact(document["measured"]) if document.get("measured") else None,
        witness=document.get("witness", ""),
    )


def _unmeasured(document: Mapping[str, Any]) -> Unmeasured:
    return Unmeasured(
        document["reason"],
        needs=document["needs"],
        fault=_fault(document.get("fault"), document.get("fault_kind")),
        evidence=decoded(Evidence, document["evidence"]) if document.get("evidence") else None,
    )


def _fact(document: Mapping[str, Any]) -> Fact:
    kind = KINDS.get(document["kind"])
    if kind is None:
        raise ValueError(f"this version knows no fact of the kind {document['kind']!r}")
    return typing.cast("Fact", decoded(kind, document))


def _fault(text: str | None, kind: str | None) -> faults.Fault | None:
    if not text:
        return None
    enums = {fault_kind.__name__: fault_kind for fault_kind in faults.Fault.__subclasses__()}
    if kind not in enums:
        raise ValueError(f"found the fault {text!r} of {kind!r}, expected one of {', '.join(sorted(enums))}")
    return enums[kind](text)


def decoded(kind: type[Any], document: Mapping[str, Any]) -> Any:
    """A dataclass from its JSON."""
    hints = _hints(kind.__module__, kind.__qualname__)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.metadata.get("live"):
            if field.default is dataclasses.MISSING:
                arguments[field.name] = None
        elif f"{field.name}_kind" in document:
            arguments[field.name] = _fault(document[field.name], document[f"{field.name}_kind"])
        elif field.name in document:
            arguments[field.name] = _typed(hints[field.name], document[field.name])
    computed = {field.name: arguments.pop(field.name) for field in dataclasses.fields(kind) if not field.init}
    value = kind(**arguments)
    for name, content in computed.items():
        object.__setattr__(value, name, content)
    return value


@functools.cache
def _hints(module: str, name: str) -> dict[str, Any]:
    return typing.get_type_hints(getattr(sys.modules[module], name))


def _typed(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or value is None or origin is typing.Literal:
        return value
    if origin in {typing.Union, types.UnionType}:
        return _member(arguments, value)
    if origin in {tuple, list, frozenset, set} or origin is getattr(typing, "Sequence", None):
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return tuple(_typed(inner, item) for inner, item in zip(arguments, value, strict=True))
        inner = arguments[0] if arguments else Any
        value = rows(value) if isinstance(value, dict) else value
        return (tuple if origin not in {list, set, frozenset} else origin)(_typed(inner, item) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {_key(arguments[0], key): _typed(arguments[1], item) for key, item in value.items()}
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return decoded(hint, value)
        if issubclass(hint, enum.Enum | Path):
            return hint(value)
        if issubclass(hint, datetime.datetime):
            return hint.fromisoformat(value)
        if hint is float and isinstance(value, int):
            return float(value)
    return value


def _key(hint: Any, key: str) -> Any:
    return int(key) if hint is int else key


def _member(options: tuple[Any, ...], value: Any) -> Any:
    """The value as the first member of a union whose form it has."""
    for option in options:
        if option is type(None):
            continue
        if dataclasses.is_dataclass(option) != isinstance(value, dict) and typing.get_origin(option) is None:
            continue
        try:
            return _typed(option, value)
        except (ValueError, TypeError, KeyError):
            continue
    return value


# ---- files ----------------------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, Any]:
    """The JSON report of a run that is to be judged again; a SavedError names the file and what is wrong with it."""
    remedy = "run the checks again with this version, or replay the file with the version that wrote it"
    return _read(file, REPLAYABLE, remedy, replayed=True)


def read_comparable(file: Path) -> dict[str, Any]:
    """The JSON report of a run to compare with, also of an older version; a SavedError as for `read`."""
    remedy = "run the checks again with this version and compare with that report"
    return _read(file, COMPARABLE, remedy, replayed=False)


def _read(file: Path, schemas: frozenset[int], remedy: str, *, replayed: bool) -> dict[str, Any]:
    try:
        document = load_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SavedError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise SavedError(f"{file}: expected a preflight.json, found no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("checks"), list):
        raise SavedError(f"{file}: expected a preflight.json with `facts` and `checks`")
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema not in schemas:
        expected = " or ".join(map(str, sorted(schemas)))
        raise SavedError(f"{file}: found schema {clean(repr(schema))}, expected {expected}: {remedy}")
    problem = report_form.problem(document, replayed=replayed)
    if problem:
        raise SavedError(f"{file}: {problem}")
    return document


def inventory_from(document: Mapping[str, Any], file: Path) -> Inventory:
    """The inventory that a saved run had; its secrets are references that nobody resolves any more."""
    from pydantic import ValidationError  # noqa: PLC0415 - start-up stays quick

    try:
        return Inventory.model_validate(document.get("environment"), context={"folder": Path(), "saved": True})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SavedError(f"{file}: environment.{key}: {first['msg']}") from None
