"""Facts as JSON and back, so that a run can be judged again later (`--replay`).

What is written is plain: fields by name, sets sorted, every text cleaned of secrets once more. Where a field may hold
faults of several enums, a field beside it (``fault_kind``) says of which. Fields marked ``live`` (clients, sessions)
are left out, and None when read back.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight import faults
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, PreflightError, Unmeasured, clean
from preflight.inventory import Inventory

SCHEMA = 2
"""Version of preflight.json's form; docs/reports.md describes it."""

_LONGEST = 20_000  # characters of one text


class SavedError(Exception):
    """A file that is not what `--replay` or `--baseline` takes; says what was found and what is expected."""


def plain(value: Any) -> Any:
    """A fact, or what it is made of, as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            if field.metadata.get("live"):
                continue
            one = getattr(value, field.name)
            found[field.name] = plain(one)
            if isinstance(one, faults.Fault):
                found[f"{field.name}_kind"] = type(one).__name__
        return found
    if isinstance(value, enum.Enum | str):
        return clean(str(value), longest=_LONGEST)
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(one) for key, one in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(one) for one in value), key=str)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(str(value), longest=_LONGEST)


def of_look(value: Any, error: PreflightError | None) -> dict[str, Any]:
    """What came of a measurement, as JSON."""
    if isinstance(error, Blocked):
        told = {"fact": error.fact, "fact_targets": error.targets, "failed": error.failed, "witness": error.witness}
        seen = {"seen": _with_kind(error.measured)} if error.measured is not None else {}
        return {"error": "Blocked", "reason": error.reason, **told, **seen}
    if isinstance(error, Unmeasured):
        told = {"needs": error.needs, "evidence": plain(error.evidence), "fault": plain(error.fault)}
        kind = {"fault_kind": type(error.fault).__name__} if error.fault else {}
        return {"error": "Unmeasured", "reason": error.reason, **told, **kind}
    if error is not None:
        return {"error": type(error).__name__, "reason": clean(str(error))}
    if not isinstance(value, Fact):
        return {}
    # The value stands apart: its fields may have any name.
    return {"vantage": value.where, "fault": plain(value.fault), "value": _with_kind(value)}


def _with_kind(fact: Fact) -> dict[str, Any]:
    return {"kind": type(fact).__name__, "of": type(fact).__module__.rpartition(".")[2], **plain(fact)}


def look_from(found: Mapping[str, Any]) -> tuple[Fact | None, PreflightError | None]:
    """What came of a measurement, from JSON; a SavedError says what can't be read."""
    try:
        match found.get("error"):
            case "Blocked":
                seen = _fact(found["seen"]) if found.get("seen") else None
                told = found["fact"], dict(found["fact_targets"]), found["reason"]
                return None, Blocked(*told, failed=found["failed"], measured=seen, witness=found.get("witness", ""))
            case "Unmeasured":
                fault = _fault(found.get("fault"), found.get("fault_kind"))
                evidence = decoded(Evidence, found["evidence"]) if found.get("evidence") else None
                return None, Unmeasured(found["reason"], needs=found["needs"], fault=fault, evidence=evidence)
            case "NotApplicable":
                return None, NotApplicable(found["reason"])
            case None:
                return (_fact(found["value"]) if "value" in found else None), None
            case other:
                raise SavedError(f"found the error {other!r}, expected Blocked, Unmeasured or NotApplicable")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        name = clean(str(found.get("name", "?")))
        raise SavedError(f"fact {name}: {type(error).__name__}: {clean(str(error))}") from None


def _fact(document: Mapping[str, Any]) -> Fact:
    kind = _kinds().get((document.get("of", ""), document["kind"]))
    if kind is None:
        raise ValueError(f"this version knows no fact of the kind {document['kind']!r}")
    return typing.cast("Fact", decoded(kind, document))


@functools.cache
def _kinds() -> Mapping[tuple[str, str], type[Fact]]:
    """Every kind of fact by module and name."""
    found: dict[tuple[str, str], type[Fact]] = {}
    pending: list[type[Fact]] = [Fact]
    while pending:
        kind = pending.pop()
        # A dataclass with slots leaves a second class of its name behind: the one in the module counts.
        pending.extend(kind.__subclasses__())
        module = sys.modules.get(kind.__module__)
        found[kind.__module__.rpartition(".")[2], kind.__name__] = getattr(module, kind.__name__, kind)
    return found


def _fault(text: str | None, kind: str | None) -> faults.Fault | None:
    if not text:
        return None
    enums = {one.__name__: one for one in faults.Fault.__subclasses__()}
    if kind not in enums:
        raise ValueError(f"found the fault {text!r} of {kind!r}, expected one of {', '.join(sorted(enums))}")
    return enums[kind](text)


def decoded(kind: type[Any], document: Mapping[str, Any]) -> Any:
    """A dataclass from its JSON."""
    hints = _hints(kind.__module__, kind.__qualname__)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.metadata.get("live"):
            arguments[field.name] = None
        elif f"{field.name}_kind" in document:
            arguments[field.name] = _fault(document[field.name], document[f"{field.name}_kind"])
        elif field.name in document:
            arguments[field.name] = _typed(hints[field.name], document[field.name])
    later = {field.name: arguments.pop(field.name) for field in dataclasses.fields(kind) if not field.init}
    found = kind(**arguments)
    for name, value in later.items():
        object.__setattr__(found, name, value)
    return found


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
            return tuple(_typed(one, item) for one, item in zip(arguments, value, strict=True))
        inner = arguments[0] if arguments else Any
        return (tuple if origin not in {list, set, frozenset} else origin)(_typed(inner, item) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {_key(arguments[0], key): _typed(arguments[1], item) for key, item in value.items()}
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return decoded(hint, value)
        if issubclass(hint, enum.Enum | Path):
            return hint(value)
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


def read(file: Path, schema: int = SCHEMA) -> dict[str, Any]:
    """A run's JSON report; a SavedError names the file and what is wrong with it."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SavedError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise SavedError(f"{file}: expected a preflight.json, found no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("checks"), list):
        raise SavedError(f"{file}: expected a preflight.json with `facts` and `checks`")
    if document.get("schema") != schema:
        raise SavedError(f"{file}: found schema {document.get('schema')!r}, expected {schema}: made by another version")
    return document


def inventory_from(document: Mapping[str, Any], file: Path) -> Inventory:
    """The inventory that a saved run had; its secrets are references that nobody resolves any more."""
    from pydantic import ValidationError  # noqa: PLC0415 - start-up stays quick

    try:
        return Inventory.model_validate(document.get("environment"), context={"folder": Path(), "saved": True})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SavedError(f"{file}: environment.{where}: {first['msg']}") from None
