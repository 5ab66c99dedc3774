"""The language of the text: which TOML a version reads."""

from __future__ import annotations

import pytest

from preflight.runner_config import NotTomlError, parse, runner_keys

NEWER = ["a = {\n  b = 1,\n}", 'a = "\\e"', "a = 10:00"]


@pytest.mark.parametrize("text", NEWER)
def test_runners_from_18_9_on_read_toml_1_1(text: str) -> None:
    assert parse(text, runner_keys("18.9.0"))
    with pytest.raises(NotTomlError) as refused:
        parse(text, runner_keys("18.8.0"))
    assert refused.value.line == 1
    assert refused.value.certain


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = yes", 2), ("a = 1\na = 2\nb = 3", 2), ('a = "x', None), ("[a]\n[b\nc = 1", 2), ("a = 01", 1)],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int | None) -> None:
    for version in ("18.3", "19.3"):
        with pytest.raises(NotTomlError) as refused:
            parse(text, runner_keys(version))
        assert refused.value.line == line
        assert "(at" not in refused.value.reason


def test_a_table_that_is_added_to_is_not_called_refused() -> None:
    """The runner reads it: a dotted key first, and the table's own header after it."""
    with pytest.raises(NotTomlError) as refused:
        parse("[[runners]]\nkubernetes.privileged = true\n[runners.kubernetes]\nimage = 'x'", runner_keys("18.3"))
    assert not refused.value.certain


def test_a_mark_of_the_byte_order_is_no_error() -> None:
    assert parse("\N{BYTE ORDER MARK}a = 1", runner_keys("18.3")) == {"a": 1}


def test_a_text_that_nests_too_deep_is_told() -> None:
    with pytest.raises(NotTomlError):
        parse("a = " + "[" * 100_000, runner_keys("18.3"))
