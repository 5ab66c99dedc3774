"""YAML is read with one kind of error, however hostile the text is."""

from __future__ import annotations

import threading

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from preflight.yamltext import compose_yaml, line_and_words, load_yaml

DEEP = 200_000
SECRET = "made-up-secret-in-a-value"


@pytest.mark.parametrize("text", ["[" * DEEP, "{a: " * DEEP, "- " * DEEP, "? " * DEEP, "a:\n- " + "- " * DEEP])
def test_a_text_that_nests_without_end_is_an_error_and_ends_nothing(text: str) -> None:
    """With libyaml alone it would be the process that ends; in a thread, whose stack is smaller, still sooner."""
    found: list[str] = []

    def read() -> None:
        try:
            load_yaml(text)
        except yaml.YAMLError as error:
            found.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(60)
    assert found == ["it nests too deep"]


@pytest.mark.parametrize("tag", ["int", "float", "bool", "timestamp", "binary"])
def test_a_value_that_does_not_fit_its_tag_is_an_error_that_does_not_quote_it(tag: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml(f"a: !!{tag} {SECRET}ü")
    assert SECRET not in str(caught.value)


def test_a_date_that_does_not_exist_is_told() -> None:
    with pytest.raises(yaml.YAMLError, match="month must be in"):
        load_yaml("a: 2026-99-01")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: c: d", 2, "mapping values are not allowed in this context"),
        (f"a: 1\nb: *{SECRET}", 2, "found undefined alias"),
        (f"a: !{SECRET} 1", 1, "could not determine a constructor for the tag"),
        ("a: 2026-99-01", None, "month must be in 1..12"),
    ],
)
def test_an_error_has_a_line_and_words_without_secrets(text: str, line: int | None, words: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml(text)
    assert line_and_words(caught.value) == (line, words)


@given(st.text(alphabet="[]{}-?:,&*!|>'\"%#ab01.\n\t ~<=", max_size=60))
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    words = "none needed"
    for read in (load_yaml, compose_yaml):
        try:
            read(text)
        except yaml.YAMLError as error:
            words = line_and_words(error)[1]
        assert words
