"""How two trees of Helm values differ, key by key, without a secret in what is reported.

``runners.config`` is compared as the TOML that the runner reads, so that comments and blank lines are no difference.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preflight.evidence import Evidence, Fact, clean
from preflight.faults import ReleaseFault
from preflight.redaction import names_a_secret, remember_within
from preflight.shell_command import program

_CONFIG = "runners.config"
_OPAQUE = ("envVars", "extraEnv", "environment", "secrets", "extraObjects")  # may carry secrets under any name
_ABSENT = "nothing"
_LONGEST = 60  # characters of a value that are shown
_SHOWN_AT_MOST = 8  # differences that the cause names


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key that differs; secrets are shown as ``(hidden)``.

    Attributes:
        key: dotted; inside of the TOML, ``runners.config: [runners.kubernetes] privileged``.
        deployed: what the release has; `wanted`: what the values files say.
    """

    key: str
    deployed: str
    wanted: str

    def __str__(self) -> str:
        if self.deployed == self.wanted:
            return f"{self.key} differs"
        return f"{self.key} is {self.deployed}, the values files say {self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(Fact):
    """The values that are deployed, beside those of the values files."""

    differences: tuple[Difference, ...] = ()


def read_drift(
    deployed: Mapping[str, Any], wanted: Mapping[str, Any], *, release: str, namespace: str, took: float = 0.0
) -> Drift:
    """The fact from the values of a release and the merged values files."""
    changes = differences(deployed, wanted)
    more = f" and {len(changes) - _SHOWN_AT_MOST} more" if len(changes) > _SHOWN_AT_MOST else ""
    cause = "; ".join(map(str, changes[:_SHOWN_AT_MOST])) + more
    return Drift(
        target=release,
        differences=changes,
        fault=ReleaseFault.DRIFT if changes else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program("helm", "get", "values", release, "-n", namespace),
            observed="\n".join(f"{change.key}: {change.deployed} → {change.wanted}" for change in changes),
            took=took,
        ),
    )


def differences(deployed: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Every key whose values differ, in the order of the files, then what only the release has."""
    before, after = dict(_leaves(deployed)), dict(_leaves(wanted))
    keys = list(dict.fromkeys([*after, *before]))
    return tuple(
        Difference(key=key, deployed=_shown(key, before.get(key)), wanted=_shown(key, after.get(key)))
        for key in keys
        if not _same(before.get(key), after.get(key))
    )


def toml_differences(running: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Difference, ...]:
    """How a running configuration differs from its template, without what the runner adds or leaves out by itself.

    It drops keys that it does not know and values that are nothing (``false``, ``0``, ``""``), and adds defaults: so a
    key is judged where both have it; settings of DNS also where it is lost, since the cluster's own take their place.
    """
    before, after = dict(_tables(running, ())), dict(_tables(wanted, ()))
    return tuple(
        Difference(
            key=key.removeprefix(f"{_CONFIG}: "), deployed=_shown(key, before.get(key)), wanted=_shown(key, value)
        )
        for key, value in after.items()
        if not _same(before.get(key), value) and (key in before or ("dns_" in key and value))
    )


def remember_secrets(values: Mapping[str, Any]) -> None:
    """Register every secret in a tree of values, so that no output can show it."""
    remember_within(values)
    remember_within(dict(_leaves(values)))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; empty tables and nulls say nothing, as for Helm."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key == _CONFIG and isinstance(value, str):
            yield from _config_leaves(value)
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        elif value is not None:
            yield key, value


def _config_leaves(text: str) -> Iterator[tuple[str, Any]]:
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        yield _CONFIG, text.strip()
        return
    yield from _tables(config, ())


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        inner = (*path, str(name))
        if isinstance(value, Mapping):
            yield from _tables(value, inner)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                yield from _tables(item, inner if len(value) == 1 else (*path, f"{name}[{number}]"))
        else:
            section = f"[{'.'.join(path)}] " if path else ""
            yield f"{_CONFIG}: {section}{name}", value


def _same(left: Any, right: Any) -> bool:
    return (type(left) is type(right) and left == right) or (_number(left) and _number(right) and left == right)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hidden(key: str) -> bool:
    return names_a_secret(_words(key)[-1]) or any(word in _OPAQUE for word in _words(key))


def _words(key: str) -> list[str]:
    return re.split(r"[.\s\[\]:]+", key)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return _ABSENT
    if _hidden(key):
        return "(hidden)"
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False, default=str)
    text = clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
