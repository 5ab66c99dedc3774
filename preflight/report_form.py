"""The form of a preflight.json, as far as judging it again or comparing with it relies on it (docs/reports.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from preflight.evidence import clean
from preflight.fact import Effect
from preflight.run import Stage

_LONGEST = 60  # characters of a value that an error shows


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, defer_build=True)


class _Check(_Part):
    id: str = ""
    target: str = ""
    verdict: str = ""
    fault: str = ""


class _Conclusion(_Part):
    name: str
    about: list[str] = []
    cause: str = ""
    explains: list[str] = []


class _System(_Part):
    url: str = ""
    api_server: str = ""


class _Environment(_Part):
    gitlab: _System | None = None
    cluster: _System | None = None


class _Judged(_Part):
    written: str = ""
    checks: list[_Check]
    conclusions: list[_Conclusion] = []


class _Comparable(_Judged):
    environment: _Environment = _Environment()


class _Fact(_Part):
    name: str
    targets: dict[str, str] = {}
    took: float = 0.0


class _Replayable(_Judged):
    model_config = ConfigDict(strict=False)  # words of an enum are text in JSON
    inventory: str
    environment: dict[str, Any]  # the inventory's own model reads it
    effect: Effect
    stage: Stage
    require_idle: bool
    facts: list[_Fact] = []


def problem(document: Mapping[str, Any], *, replayed: bool) -> str:
    """What is wrong with the form of a report: the key, what was found and what is expected; "" if nothing is.

    Args:
        document: the report.
        replayed: whether its facts are judged again, for which it has to hold more than for a comparison.
    """
    try:
        (_Replayable if replayed else _Comparable).model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        expected = first["msg"][:1].lower() + first["msg"][1:]
        given = "" if first["type"] == "missing" else f"found {_shown(first['input'])}; "
        return f"{clean(key)}: {given}{clean(expected)}"
    return ""


def _shown(value: object) -> str:
    text = clean(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
