"""What holds of every key of every version: the decoder's rules, tried on all of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.runner_config import Duration, Key, Outcome, RunnerKeys, decode, equal, runner_keys, versions
from preflight.runner_config.durations import parse_duration
from preflight.runner_config.keys import Kind, folded

VERSIONS = ("17.0", "18.3", versions()[-1])
GOOD: dict[str, Any] = {
    "text": "some",
    "boolean": True,
    "integer": 7,
    "number": 1.5,
    "duration": "1m30s",
    "time": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    "anything": "some",
}
WRONG: dict[str, tuple[Any, ...]] = {
    "text": (1, True, 1.5, ["x"], {"x": "y"}),
    "boolean": (1, "true", [True], {}),
    "integer": ("1", True, 1.5, [1], {}),
    "number": ("1.5", True, [1.5], {}),
    "duration": ("5", "", "m", 1.5, True, ["5m"], {}),
    "time": ("tomorrow", 1, True, ["x"], {}),
    "list": ("x", 1, {}, [[]], [{}]),
    "text or list": (1, {}, [1], [["x"]]),
    "table": ("x", 1, [], [{}]),
    "tables": ("x", 1, {}, ["x"]),
}


def with_long_s(name: str) -> str:
    """The one letter beside the Kelvin sign that Unicode's simple folding makes equal to an ASCII one."""
    return name.replace("s", "\N{LATIN SMALL LETTER LONG S}")


CASES: list[Callable[[str], str]] = [str.upper, str.title, str.swapcase, with_long_s]


def good(key: Key) -> Any:
    return _good(key.kind, key)


def _good(kind: Kind, key: Key) -> Any:
    match kind.shape:
        case "table":
            return {inner.path[-1]: good(inner) for inner in key.below.values()}
        case "tables":
            return [{inner.path[-1]: good(inner) for inner in key.below.values()}]
        case "list" | "text or list":
            return [_good(kind.of or kind, key)]
        case "map":
            return {"name": _good(kind.of or kind, key)}
    return GOOD[kind.shape]


def around(key: Key, keys: RunnerKeys, value: Any, name: str | None = None) -> dict[str, Any]:
    """A document with this key alone."""
    document: Any = {name or key.path[-1]: value}
    for length in range(len(key.path) - 1, 0, -1):
        table = keys.find(key.path[:length])
        assert table is not None
        if table.kind.exact:  # what such a table needs besides
            document = {other.path[-1]: good(other) for other in table.below.values()} | document
        document = {key.path[length - 1]: [document] if table.kind.shape == "tables" else document}
    return dict(document)


def every(version: str) -> Iterator[tuple[RunnerKeys, Key]]:
    keys = runner_keys(version)
    return ((keys, key) for key in keys.each())


@pytest.mark.parametrize("version", versions())
def test_a_file_with_every_key_is_read_whole(version: str) -> None:
    keys = runner_keys(version)
    document = good(keys.root)
    decoded = decode(document, keys)
    assert decoded.findings == ()
    assert equal(document, document, keys)
    assert len(list(keys.each())) > 580
    assert not any(key.kind.shape == "anything" for key in keys.each())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_key_is_read_in_every_case(version: str) -> None:
    for keys, key in every(version):
        table = keys.find(key.path[:-1])
        if table is not None and table.kind.exact:
            continue
        for case in CASES:
            name = case(key.path[-1])
            assert folded(name) == folded(key.path[-1])
            document = around(key, keys, good(key), name)
            assert decode(document, keys).findings == (), name
            assert equal(document, around(key, keys, good(key)), keys)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_of_another_type_refuses_the_file(version: str) -> None:
    for keys, key in every(version):
        table = keys.find(key.path[:-1])
        for value in WRONG.get(key.kind.shape, ()):
            if key.kind.shape == "list" and key.kind.of == Kind("anything"):
                continue
            decoded = decode(around(key, keys, value), keys)
            exact = table is not None and table.kind.exact
            needed = exact and key.path[-1] in {"name", "mount_path", "server", "path"}
            assert decoded.refused == (needed or not exact), (key.path, value)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_no_table_where_free_names_belong_is_passed_over(version: str) -> None:
    for keys, key in every(version):
        if key.kind.shape == "map":
            for value in ("x", 1, [], [{"a": "b"}]):
                (finding,) = decode(around(key, keys, value), keys).findings
                assert finding.outcome is Outcome.IGNORED


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_that_is_none_is_told_wherever_it_stands(version: str) -> None:
    for keys, key in every(version):
        if key.kind.shape in {"table", "tables"}:
            inner = {other.path[-1]: good(other) for other in key.below.values()} | {"zzzz": 1}
            (finding,) = decode(around(key, keys, [inner] if key.kind.shape == "tables" else inner), keys).findings
            assert (finding.outcome, finding.path[-1]) == (Outcome.IGNORED, "zzzz")


def as_saved(values: Mapping[str, Any], known: Key) -> dict[str, Any]:
    """What the runner writes of what it decoded, in a spelling of its own."""
    saved: dict[str, Any] = {}
    for name, value in values.items():
        key = known.below[name]
        match key.kind.shape:
            case "table":
                saved[name] = as_saved(value, key)
            case "tables":
                saved[name] = [as_saved(one, key) for one in value]
            case "duration":
                saved[name] = str(value)
            case _:
                saved[name] = value
    for name, key in known.below.items():  # what it writes of a key that is not set
        if name not in saved and not key.kind.optional and key.kind.shape in {"text", "boolean", "table"}:
            saved[name] = {"text": "", "boolean": False, "table": {}}[key.kind.shape]
    return saved


WORDS = st.text("ab1-._", min_size=1, max_size=6)


def documents(key: Key, depth: int = 0) -> st.SearchStrategy[Any]:
    return _documents(key.kind, key, depth)


def _documents(kind: Kind, key: Key, depth: int) -> st.SearchStrategy[Any]:
    match kind.shape:
        case "table" | "tables":
            names = list(key.below.values()) if depth < 4 else []
            table = (
                st.lists(st.sampled_from(names), max_size=5, unique_by=lambda inner: inner.path).flatmap(
                    lambda chosen: st.fixed_dictionaries(
                        {inner.path[-1]: documents(inner, depth + 1) for inner in chosen}
                    )
                )
                if names
                else st.just({})
            )
            return st.lists(table, max_size=2) if kind.shape == "tables" else table
        case "list":
            return st.lists(_documents(kind.of or kind, key, depth), max_size=2)
        case "text or list":
            return WORDS | st.lists(WORDS, max_size=2)
        case "map":
            return st.dictionaries(WORDS, _documents(kind.of or kind, key, depth), max_size=2)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(-(2 ** (kind.bits - 1)), 2 ** (kind.bits - 1) - 1)
        case "number":
            return st.floats(allow_nan=False) | st.integers(-(2**53) + 1, 2**53 - 1)
        case "duration":
            return st.integers(-(2**63), 2**63 - 1) | st.sampled_from(["5m", "1h30m", "90s", "0", "1.5h", "-2s", "3ms"])
        case "time":
            return st.datetimes(timezones=st.just(datetime.UTC)) | st.dates()
    return WORDS


@given(document=documents(runner_keys("18.3").root))
def test_what_the_runner_saves_says_the_same(document: dict[str, Any]) -> None:
    keys = runner_keys("18.3")
    decoded = decode(document, keys)
    assert not decoded.findings
    assert equal(document, as_saved(decoded.values, keys.root), keys)


@given(document=documents(runner_keys("18.3").root), value=st.sampled_from(["other", 12345, True]))
def test_a_change_of_a_setting_is_a_difference(document: dict[str, Any], value: Any) -> None:
    keys = runner_keys("18.3")
    kind = {str: "text", int: "integer", bool: "boolean"}[type(value)]
    key = next(key for key in keys.find(("runners", "kubernetes")).below.values() if key.kind.shape == kind)  # type: ignore[union-attr]
    changed = {"runners": [{"kubernetes": {key.path[-1]: value}}]}
    assert equal(document, changed, keys) == equal(changed, document, keys)
    assert not equal({}, changed, keys)


@given(nanoseconds=st.integers(-(2**63), 2**63 - 1))
def test_a_duration_is_read_as_it_is_written(nanoseconds: int) -> None:
    assert parse_duration(str(Duration(nanoseconds))) == Duration(nanoseconds)


@pytest.mark.parametrize(
    ("text", "written"),
    [("5m", "5m0s"), ("1h30m", "1h30m0s"), ("90s", "1m30s"), ("1.5h", "1h30m0s"), ("0", "0s"), (".5s", "500ms"),
     ("5.s", "5s"), ("-2s", "-2s"), ("+5s", "5s"), ("1µs", "1µs"), ("1500us", "1.5ms"), ("1h1ms", "1h0m0.001s")],
)  # fmt: skip
def test_a_duration_is_written_as_the_runner_writes_it(text: str, written: str) -> None:
    assert str(parse_duration(text)) == written


@pytest.mark.parametrize("text", ["", "5", "m", "1d", "5 m", "1h 5m", "five", "--5s", "9999999h", "."])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|years"):
        parse_duration(text)
