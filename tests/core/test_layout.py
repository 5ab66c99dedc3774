"""Text in a terminal's columns: no line is too long, nothing is lost, and what is pasted still works."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.layout import Style, columns, first_line, hanging, labelled, plain, shortened, wrapped

UPGRADE = (
    "helm upgrade gitlab-runner gitlab/gitlab-runner -n gitlab --version 0.80.0 -f values.yaml --set 'a=b  c d e f'"
)
WORDS = st.lists(st.text("abcdefgh.:-/'", min_size=1, max_size=12), min_size=1, max_size=40)


@given(WORDS, st.integers(20, 120))
def test_wrapped_text_fits_and_nothing_is_lost(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width)
    assert all(columns(line) <= width for line in lines)
    assert " ".join(lines).split() == words


@given(WORDS, st.integers(20, 120), st.integers(1, 4))
def test_a_shortened_text_fits_and_shows_its_beginning(words: list[str], width: int, lines: int) -> None:
    text = " ".join(words)
    shown = shortened(text, width=width, lines=lines)
    assert len(shown) <= lines
    assert all(columns(line) <= width for line in shown)
    assert shown == wrapped(text, width) or "…" in " ".join(shown)


def test_a_long_sentence_keeps_its_end() -> None:
    text = f"k8s-worker-2 could not pull an image: {'reference ' * 40}: dial tcp 192.168.1.60:443: i/o timeout"
    shown = " ".join(shortened(text, width=86, lines=2))
    assert shown.startswith("k8s-worker-2 could not pull")
    assert shown.endswith("dial tcp 192.168.1.60:443: i/o timeout")


@pytest.mark.parametrize("width", [30, 45, 60, 86])
def test_a_command_that_was_broken_still_works_when_it_is_pasted(width: int) -> None:
    lines = wrapped(f"write it, then `{UPGRADE}`, and wait", width)
    assert len(lines) > 1
    pasted = re.search(r"`([^`]*)`", "\n".join(lines))
    assert pasted is not None
    assert shlex.split(pasted[1].replace("\\\n", "")) == shlex.split(UPGRADE)


def test_a_command_that_fits_into_a_line_is_not_broken() -> None:
    command = "kubectl rollout restart -n gitlab deployment/gitlab-runner"
    assert wrapped(f"managers read their configuration only at their start: `{command}`", 80)[1] == f"`{command}`"


def test_wide_characters_take_two_columns_and_can_be_broken_anywhere() -> None:
    lines = wrapped("节点无法访问镜像仓库" * 6, 30)
    assert all(columns(line) <= 30 for line in lines)
    assert "".join(lines) == "节点无法访问镜像仓库" * 6


def test_lines_hang_under_their_label_and_commands_are_set_off() -> None:
    lines = labelled("remedy", wrapped(f"1. `{UPGRADE}`, then wait", 50), Style.PLAIN, indent=4, label_width=10)
    assert plain(lines[0]).startswith("    remedy    1. `helm")
    assert all(plain(line).startswith(" " * 14) for line in lines[1:])
    commands = "".join(text for line in lines for text, style in line if style is Style.COMMAND)
    assert commands.replace("\\", " ").replace("`", "").split() == UPGRADE.split()
    text, style = lines[-1][-1]
    assert text.endswith("then wait")
    assert style is Style.PLAIN


def test_an_option_stays_with_its_value() -> None:
    lines = wrapped(f"`{UPGRADE}`", 40)
    assert not [line for line in lines if re.search(r" --?\w+ \\$", line)], lines


def test_what_follows_a_label_hangs_under_it() -> None:
    assert hanging("    ruled out  the nodes' own resolvers lack the name", 48) == [
        "    ruled out  the nodes' own resolvers lack the",
        "               name",
    ]
    assert hanging("    as  it   is", 40) == ["    as  it   is"]


def test_one_line_is_cut_at_its_end() -> None:
    assert first_line("a  sentence\nof two lines", 40) == "a sentence of two lines"
    assert first_line("a sentence of many words", 12) == "a sentence…"
