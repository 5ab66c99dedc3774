"""How two configurations differ in meaning: what the runner saves is not what it was given, and says the same.

When it registers, the runner decodes the template, merges it and writes ``config.toml`` anew: one policy becomes a list
of one, ``5m`` becomes ``5m0s``, keys take the runner's spelling, what it does not read is gone, and empty tables and
zeros appear or vanish.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preflight.runner_config.decoder import Steps, decode, spoken
from preflight.runner_config.durations import Duration
from preflight.runner_config.keys import Key, RunnerKeys

# What is so where it is not set (common/config.go, NewConfig and LoadConfig); the file that is saved spells it out.
_DEFAULTS: Mapping[Steps, Any] = {
    ("concurrent",): 1,
    ("session_server", "session_timeout"): 1800,
    ("connection_max_age",): Duration(15 * 60 * 10**9),
}
_NO_TIME = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """A key whose meaning differs.

    Attributes:
        path: in the runner's spelling.
        first: its meaning in the first document, or None if it is not set there; `second` likewise.
    """

    path: Steps
    first: Any
    second: Any

    def __str__(self) -> str:
        return spoken(self.path)


def meaning(document: Mapping[str, Any], keys: RunnerKeys) -> Mapping[Steps, Any]:
    """What a parsed document sets, by path: without what says nothing, such as zeros where unset is zero too."""
    return dict(_settings(decode(document, keys).values, keys.root, ()))


def equal(first: Mapping[str, Any], second: Mapping[str, Any], keys: RunnerKeys) -> bool:
    """Whether two parsed documents say the same to a runner."""
    return not differences(first, second, keys)


def differences(first: Mapping[str, Any], second: Mapping[str, Any], keys: RunnerKeys) -> tuple[ConfigDifference, ...]:
    """Where two parsed documents differ in meaning, in the order of the second, then of the first."""
    before, after = meaning(first, keys), meaning(second, keys)
    return tuple(
        ConfigDifference(path, before.get(path), after.get(path))
        for path in dict.fromkeys([*after, *before])
        if not _same(before.get(path, _DEFAULTS.get(path)), after.get(path, _DEFAULTS.get(path)))
    )


def _same(first: Any, second: Any) -> bool:
    return bool(first == second) or repr(first) == repr(second)  # nan is what equals nothing


def _settings(values: Mapping[str, Any], known: Key, path: Steps) -> Iterator[tuple[Steps, Any]]:
    for name, value in values.items():
        key, here = known.below[name], (*path, name)
        match key.kind.shape:
            case "table":
                yield from _settings(value, key, here)
            case "tables":
                for number, entry in enumerate(value):
                    inner = list(_settings(entry, key, (*here, number)))
                    yield from inner or [((*here, number), {})]
            case "map":
                for free, entry in value.items():
                    yield (*here, free), entry
            case _ if key.kind.optional or value not in (False, 0, "", [], Duration(0), _NO_TIME):
                yield here, value
