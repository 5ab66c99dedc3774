"""The runner's TOML decoded in meaning, and what the decoder makes of what does not fit.

The runner decodes ``config.toml`` and the chart's template alike (github.com/BurntSushi/toml into the structs of
``common/config.go``): a key is read in any case, one of another name is passed over without a word, and a value of
another type refuses the whole file. It stops at the first such value; here every one is found. What a value means
to the jobs, once it is read, is `preflight.runner_config.rules`.

No message holds a value that may be secret.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from preflight.redaction import names_a_secret
from preflight.runner_config.durations import Duration, parse_duration
from preflight.runner_config.keys import Key, Kind, Names, RunnerKeys, folded

Steps = tuple[str | int, ...]  # a path as the document has it: keys, and indexes of lists

_LEAST, _MOST = -(2**63), 2**63 - 1
_EXACT_FLOAT = 2**53 - 1  # the greatest whole number that the decoder takes for a float
_CLOSE = 0.75  # how alike a name is that may be meant
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)")


class Outcome(StrEnum):
    """What comes of a finding."""

    REFUSED = "refused"  # the file is not loaded: no manager registers, or starts again
    IGNORED = "ignored"  # nobody reads it
    OTHER_VERSION = "other-version"  # another version of the runner reads it
    UNKNOWN = "unknown"  # the version is beyond the tables: perhaps it is read
    CHANCE = "chance"  # two spellings of one key: which of them holds is chance
    NO_EFFECT = "no-effect"  # it is read, and does not do what it says
    ALL_JOBS_FAIL = "all-jobs-fail"
    SOME_JOBS_FAIL = "some-jobs-fail"  # those of one kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFinding:
    """Something in the TOML that is not what it seems.

    Attributes:
        rule: what was found, such as ``type`` or ``pull-policy``: the same for the same kind of mistake.
        path: where, as the document spells it.
        message: why, as a clause.
        nearest: paths of keys that may be meant, the likeliest first.
    """

    outcome: Outcome
    rule: str
    path: Steps
    message: str
    nearest: tuple[Names, ...] = ()

    def __str__(self) -> str:
        return f"{spoken(self.path)}: {self.message}"

    @property
    def certain(self) -> bool:
        """Whether it is known to be wrong, and not only that it is not known here."""
        return self.outcome is not Outcome.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What the runner makes of a document.

    Attributes:
        values: what it holds, in the runner's spelling: one or many as a list, a duration as a `Duration`. What it
            does not read, or refuses, is not among it.
        findings: in the document's order.
    """

    values: Mapping[str, Any]
    findings: tuple[ConfigFinding, ...] = field(default=())

    @property
    def refused(self) -> bool:
        """Whether the runner does not load the document at all."""
        return any(finding.outcome is Outcome.REFUSED for finding in self.findings)


def spoken(path: Steps) -> str:
    """A key as people speak of it: ``[runners.kubernetes] dns_policy``."""
    if not path:
        return "the TOML"
    *table, last = path
    around = ".".join(str(step) for step in table if isinstance(step, str))
    name = f"{last}" if isinstance(last, str) else f"entry {last + 1}"
    if isinstance(last, int) and table:
        around, _, owner = around.rpartition(".")
        name = f"{owner}, {name}"
    return f"[{around}] {name}" if around else name


def decode(document: Mapping[str, Any], keys: RunnerKeys) -> Decoded:
    """What a version of the runner makes of a parsed TOML document (as `tomllib` gives it)."""
    decoder = _Decoder(keys)
    decoder.numbers(document, ())
    values = decoder.table(document, keys.root, ())
    return Decoded(values=values, findings=tuple(decoder.findings))


class _RefusedError(Exception):
    """A value of another type; says why."""


class _Decoder:
    def __init__(self, keys: RunnerKeys) -> None:
        self._keys = keys
        self.findings: list[ConfigFinding] = []

    def numbers(self, value: Any, path: Steps) -> None:
        """Whole numbers that do not fit: the text itself is refused, wherever they stand."""
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for step, entry in inner:
            self.numbers(entry, (*path, step))
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            self._add(Outcome.REFUSED, "number", path, "the number is beyond 64 bits")

    def table(self, table: Mapping[str, Any], known: Key, path: Steps) -> dict[str, Any]:
        decoded: dict[str, Any] = {}
        spellings: dict[str, str] = {}
        for name in sorted(table, key=lambda name: name not in known.below):  # the exact spelling first
            key = known.below.get(name) if known.kind.exact else known.key(name)
            if key is None:
                continue
            if key.path[-1] in spellings:
                first = spellings[key.path[-1]]
                message = f"{first} stands beside it and is the same key: which of them holds is chance"
                self._add(Outcome.CHANCE, "two-spellings", (*path, name), message)
                continue
            spellings[key.path[-1]] = name
        for name, value in table.items():
            key = known.below.get(name) if known.kind.exact else known.key(name)
            if key is None:
                self._unread(name, value, known, path)
            elif spellings[key.path[-1]] == name:
                self._entry(decoded, name, value, key, known, path)
        if known.kind.exact:
            self._complete(decoded, path)
        return decoded

    def _entry(self, decoded: dict[str, Any], name: str, value: Any, key: Key, around: Key, path: Steps) -> None:
        here = (*path, name)
        try:
            taken = self._value(value, key.kind, key, here)
        except _RefusedError as error:
            if around.kind.exact:
                message = f"it is passed over: the runner reads {key.kind} here, and finds {form_of(value)}"
                self._add(Outcome.IGNORED, "type", here, message)
            else:
                self._add(Outcome.REFUSED, "type", here, str(error))
            return
        if taken is not None:
            decoded[key.path[-1]] = taken

    def _value(self, value: Any, kind: Kind, key: Key, path: Steps) -> Any:
        match kind.shape:
            case "table":
                if not isinstance(value, Mapping):
                    raise _RefusedError(_mismatch(kind, value, path))
                return self.table(value, key, path)
            case "tables":
                if not isinstance(value, list):
                    raise _RefusedError(_mismatch(kind, value, path))
                return [self._one_table(entry, key, (*path, number)) for number, entry in enumerate(value)]
            case "list":
                if not isinstance(value, list):
                    raise _RefusedError(_mismatch(kind, value, path))
                return self._several(value, kind, key, path)
            case "map":
                return self._map(value, kind, key, path)
            case "text or list":
                return self._several([value] if isinstance(value, str) else value, kind, key, path)
        return _single(value, kind, path)

    def _one_table(self, value: Any, key: Key, path: Steps) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _RefusedError(f"every entry is a table, and entry {_number(path)} is {form_of(value)}")
        return self.table(value, key, path)

    def _several(self, value: Any, kind: Kind, key: Key, path: Steps) -> list[Any]:
        if not isinstance(value, list):
            raise _RefusedError(_mismatch(kind, value, path))
        inner = kind.of or Kind("anything")
        several = []
        for number, entry in enumerate(value):
            try:
                several.append(self._value(entry, inner, key, (*path, number)))
            except _RefusedError:
                message = f"the runner reads {kind} here, and entry {number + 1} is {form_of(entry)}"
                raise _RefusedError(message) from None
        return several

    def _map(self, value: Any, kind: Kind, key: Key, path: Steps) -> dict[str, Any] | None:
        inner = kind.of or Kind("anything")
        if not isinstance(value, Mapping):  # the decoder passes it over, where it refuses it everywhere else
            message = f"it is passed over: the runner reads a table of names here, and finds {form_of(value)}"
            self._add(Outcome.IGNORED, "type", path, message)
            return None
        decoded = {}
        for name, entry in value.items():
            try:
                decoded[name] = self._value(entry, inner, key, (*path, name))
            except _RefusedError as error:
                home = self._home(name, key.path)
                message = str(error)
                if home:
                    message = f"it stands below [{'.'.join(key.path)}] and is taken for one of its names, which hold "
                    message += f"{inner}: {_move_up(home[:-1])}"
                self._add(Outcome.REFUSED, "type", (*path, name), message, (home,) if home else ())
        return decoded

    # ---- keys that are not read ----

    def _unread(self, name: str, value: Any, known: Key, path: Steps) -> None:
        wanted = (*known.path, name)
        nearest = tuple(self._nearest(name, value, known))
        span = self._keys.other_versions(wanted)
        version = self._keys.version
        if span is not None:
            message = f"runner {version} does not read it: it is read {span}"
            self._add(Outcome.OTHER_VERSION, "other-version", (*path, name), message)
            return
        meant = _meant(nearest, known, name)
        if not self._keys.known and not meant:
            message = f"not known here: the tables end with {version}, and this is {self._keys.asked}"
            self._add(Outcome.UNKNOWN, "unknown-key", (*path, name), message)
            return
        message = f"the runner reads no such key here{f'; {meant}' if meant else ''}"
        self._add(Outcome.IGNORED, "unknown-key", (*path, name), message, nearest)

    def _nearest(self, name: str, value: Any, known: Key) -> Iterator[Names]:
        """The keys that may be meant: another spelling of one beside it, one of a table around, one elsewhere."""
        plain = _plain(name)
        alike = next((key.path for key in known.below.values() if _plain(key.path[-1]) == plain), None)
        if alike:
            yield alike
            return
        if home := self._home(name, known.path):
            yield home
            return
        elsewhere = [key.path for key in self._keys.each() if _plain(key.path[-1]) == plain and _fits(key, value)]
        within = [path for path in elsewhere if path[: len(known.path)] == known.path]
        executor = [path for path in elsewhere if path[:2] == ("runners", "kubernetes")]
        if chosen := [path for path in within if path in executor] or executor or within or elsewhere:
            shortest = min(map(len, chosen))
            yield from [path for path in chosen if len(path) == shortest][:3]
            return
        yield from ((*known.path, close) for close in nearest_names(name, known.below))

    def _home(self, name: str, path: Names) -> Names | None:
        """The key of this name in the nearest table around, where it stands below the wrong header."""
        for length in range(len(path) - 1, 0, -1):
            around = self._keys.find(path[:length])
            key = around.key(name) if around else None
            if key is not None:
                return key.path
        return None

    def _complete(self, decoded: Mapping[str, Any], path: Steps) -> None:
        """A table that decodes itself says what it lacks (common/config.go, KubernetesNFS, since 19.0)."""
        missing = [name for name in ("name", "mount_path", "server", "path") if not decoded.get(name)]
        if missing:
            self._add(Outcome.REFUSED, "missing", path, f"it lacks {', '.join(missing)}")

    def _add(self, outcome: Outcome, rule: str, path: Steps, message: str, nearest: tuple[Names, ...] = ()) -> None:
        self.findings.append(ConfigFinding(outcome=outcome, rule=rule, path=path, message=message, nearest=nearest))


# ---- values ---------------------------------------------------------------------------------------------------------


def form_of(value: Any) -> str:
    """What a value is, as a person says it; never the value."""
    if isinstance(value, list):
        return "a list of tables" if value and all(isinstance(entry, Mapping) for entry in value) else "a list"
    forms = (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number with a fraction"),
        (str, "text"),
        (Mapping, "a table"),
    )
    return next((word for form, word in forms if isinstance(value, form)), "a time")


def _mismatch(kind: Kind, value: Any, path: Steps) -> str:
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    header = ".".join(step for step in path if isinstance(step, str))
    if kind.shape == "tables" and isinstance(value, Mapping):
        return f"the runner reads a list of tables here: write [[{header}]] instead of [{header}]"
    if kind.shape == "table" and form_of(value) == "a list of tables":
        return f"the runner reads one table here: write [{header}] instead of [[{header}]]"
    if kind.shape in {"integer", "number"} and isinstance(value, str) and _numeric(value):
        return f"the runner reads {kind} here, and finds text: write {name} without quotes"
    if kind.shape == "boolean" and isinstance(value, str):
        return f"the runner reads true or false here, and finds text: write {name} without quotes"
    if kind.shape == "text" and not isinstance(value, (list, Mapping)):
        return f"the runner reads text here, and finds {form_of(value)}: write {name} in quotes"
    return f"the runner reads {kind} here, and finds {form_of(value)}"


def _single(value: Any, kind: Kind, path: Steps) -> Any:
    """A value that is one thing.

    Raises:
        _RefusedError: it is of another type.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind.shape:
        case "anything":
            return value
        case "text" if isinstance(value, str):
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "integer" if whole:
            if not -(2 ** (kind.bits - 1)) <= value < 2 ** (kind.bits - 1):
                raise _RefusedError(f"the number is beyond {kind.bits} bits")
            return value
        case "number" if isinstance(value, float):
            return value
        case "number" if whole:
            if abs(value) > _EXACT_FLOAT:
                raise _RefusedError("the number is too great to be read as one with a fraction")
            return float(value)
        case "duration":
            return _duration(value, kind, path)
        case "time":
            return _time(value, kind, path)
    raise _RefusedError(_mismatch(kind, value, path))


def _duration(value: Any, kind: Kind, path: Steps) -> Duration:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            hidden = any(names_a_secret(str(step)) for step in path)
            raise _RefusedError("the text is no duration" if hidden else str(error)) from None
    if isinstance(value, int) and not isinstance(value, bool):
        return Duration(value)  # nanoseconds
    raise _RefusedError(_mismatch(kind, value, path))


def _time(value: Any, kind: Kind, path: Steps) -> datetime.datetime | datetime.time:
    """A point in time; one without a zone is the manager's own, which its image has as UTC."""
    if isinstance(value, datetime.time):
        return value
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
        except ValueError:
            pass
    raise _RefusedError(_mismatch(kind, value, path))


def _fits(key: Key, value: Any) -> bool:
    """Whether a key takes a value of this form, so that it may be the one that is meant."""
    if isinstance(value, Mapping):
        return key.kind.shape in {"table", "map", "anything"}
    if isinstance(value, list):
        return key.kind.shape in {"list", "tables", "text or list"}
    return key.kind.shape not in {"table", "tables", "map"}


# ---- hints ----------------------------------------------------------------------------------------------------------


def _move_up(table: Names) -> str:
    header = ".".join(table)
    return f"move it up to [{header}], above the first header [{header}.NAME]"


def _meant(nearest: tuple[Names, ...], known: Key, name: str) -> str:
    """What to write instead, as a clause."""
    if not nearest:
        return ""
    first = nearest[0]
    if first[:-1] == known.path:
        return f"did you mean {first[-1]}?"
    if len(first) <= len(known.path) and first[-1] == name:
        return _move_up(first[:-1])
    return "it reads " + ", or ".join(spoken(path) for path in nearest)


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a misspelt one may mean: another case or separator, or a few letters."""
    names = list(known)
    alike = [candidate for candidate in names if _plain(candidate) == _plain(name)]
    return alike or difflib.get_close_matches(name, names, n=1, cutoff=_CLOSE)


def _plain(name: str) -> str:
    return re.sub(r"[_\-]", "", folded(name))


def _number(path: Steps) -> int:
    last = path[-1]
    return last + 1 if isinstance(last, int) else 0


def _numeric(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(?:\.\d+)?", text.strip()) is not None
