"""How two trees of Helm values differ, key by key, without a secret in what is reported.

``runners.config`` is compared by what the runner makes of it, so that neither comments nor another spelling of the same
(one policy or a list of one, ``5m`` or ``5m0s``, a key in another case) are a difference.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preflight.documents import load_toml
from preflight.evidence import Evidence, Fact, clean
from preflight.faults import ReleaseFault
from preflight.redaction import names_a_secret, remember_within
from preflight.runner_config import Duration, NotTomlError, RunnerKeys, meaning, parse
from preflight.runner_config import differences as config_differences
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
    deployed: Mapping[str, Any],
    wanted: Mapping[str, Any],
    keys: RunnerKeys,
    *,
    templates: tuple[str, str] | None = None,
    release: str,
    namespace: str,
    took: float = 0.0,
) -> Drift:
    """The fact from the values of a release and the merged values files.

    Args:
        deployed: the release's values.
        wanted: those of the files.
        keys: what the runner reads.
        templates: ``runners.config`` of both as Helm renders them, which then takes the place of what is written.
        release: the release's name.
        namespace: its namespace.
        took: seconds.
    """
    if templates is not None:
        deployed, wanted = (
            _with_template(tree, text) for tree, text in zip((deployed, wanted), templates, strict=True)
        )
    changes = differences(deployed, wanted, keys)
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


def _with_template(tree: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    runners = tree.get("runners")
    return {**tree, "runners": {**(runners if isinstance(runners, Mapping) else {}), "config": text}}


def differences(deployed: Mapping[str, Any], wanted: Mapping[str, Any], keys: RunnerKeys) -> tuple[Difference, ...]:
    """Every key whose values differ, in the order of the files, then what only the release has."""
    before, after = _by_meaning(_leaves(deployed), keys), _by_meaning(_leaves(wanted), keys)
    return tuple(
        Difference(key=key, deployed=_shown(key, before.get(key)), wanted=_shown(key, after.get(key)))
        for key in dict.fromkeys([*after, *before])
        if not _same(before.get(key), after.get(key))
    )


def toml_differences(
    running: Mapping[str, Any], wanted: Mapping[str, Any], keys: RunnerKeys, *, within: tuple[str | int, ...] = ()
) -> tuple[Difference, ...]:
    """How a running configuration differs in meaning from its template, in what the template sets.

    What the manager has besides may come from its variables. What the runner does not read, or what is nothing to it,
    is in neither.

    Args:
        running: a parsed ``config.toml``.
        wanted: the parsed template.
        keys: what this version of the runner reads.
        within: the table that is compared.
    """
    return tuple(
        Difference(key=key, deployed=_shown(key, difference.first), wanted=_shown(key, difference.second))
        for difference in config_differences(running, wanted, keys)
        if difference.second is not None and difference.path[: len(within)] == within
        # What is false or zero in the template is not taken over, and is what unset is.
        if difference.first is not None or difference.second not in _NOTHING
        for key in (_spell(difference.path),)
    )


_NOTHING: tuple[Any, ...] = (False, 0, "", [], {}, Duration(0))


def _spell(path: tuple[str | int, ...]) -> str:
    """A key with its table; of a list of tables, later ones than the first have their index."""
    steps: list[str] = []
    for step in path:
        if isinstance(step, str):
            steps.append(step)
        elif step:
            steps[-1] += f"[{step}]"
    *table, key = steps
    return f"[{'.'.join(table)}] {key}" if table else key


def remember_secrets(values: Mapping[str, Any]) -> None:
    """Register every secret in a tree of values, so that no output can show it."""
    remember_within(values)
    for key, value in _leaves(values):
        if key == _CONFIG and isinstance(value, str):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                remember_within(load_toml(value))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; empty tables and nulls say nothing, as for Helm."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        elif value is not None:
            yield key, value


def _by_meaning(leaves: Iterable[tuple[str, Any]], keys: RunnerKeys) -> dict[str, Any]:
    """The leaves, with the settings that the runner reads in ``runners.config`` for its text, where that is TOML."""
    settings: dict[str, Any] = {}
    for key, value in leaves:
        if key == _CONFIG and isinstance(value, str):
            try:
                document = parse(value, keys)
            except NotTomlError:
                settings[key] = value.strip()
                continue
            settings |= {f"{key}: {_spell(path)}": setting for path, setting in meaning(document, keys).items()}
        else:
            settings[key] = value
    return settings


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
    if isinstance(value, Duration):
        return str(value)
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False, default=str)
    text = clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
