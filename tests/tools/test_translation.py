"""Texts in Chinese: every text of the sources has one, and what is shown and saved is recognised by its template."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from preflight import language, translation
from preflight.layout import columns, wrapped
from preflight.translation import GRAMMAR, Catalogue, elements
from tools import texts

_BESIDE = re.compile(
    r"[\u4e00-\u9fff][,;:?!()]|[,;:?!(][\u4e00-\u9fff]|[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]"
)
_TEMPLATE_SIGNS = re.compile(r"`[^`]*`|\{[^{}]*\}|“[^”]*”|\"[^\"]*\"")


@pytest.fixture(scope="module")
def pairs() -> dict[str, str]:
    """Every English text with its Chinese one; the files are read by the worker that tests them, and no other."""
    return translation.pairs("zh")


@pytest.fixture(scope="module")
def chinese_texts() -> Catalogue:
    return translation.catalogue("zh")


def _named(template: str, kind: str) -> set[str]:
    return {part.text for part in elements(template) if part.kind == kind}


def test_every_text_has_a_translation_and_every_translation_a_text(pairs: dict[str, str]) -> None:
    known = {text: area for area, found in texts.every_text().by_area.items() for text in found}
    assert not known.keys() - pairs.keys(), "run `python -m tools.texts` and translate what it enters"
    assert not pairs.keys() - known.keys(), "run `python -m tools.texts`: these texts stand nowhere any more"
    assert [english for english, chinese in pairs.items() if not chinese] == []


def test_parameters_and_choices_agree(pairs: dict[str, str]) -> None:
    for english, chinese in pairs.items():
        assert _named(english, "parameter") - GRAMMAR == _named(chinese, "parameter") - GRAMMAR, english
        assert _named(chinese, "choice") <= _named(english, "choice"), english


def test_commands_are_what_they_are_in_english(pairs: dict[str, str]) -> None:
    for english, chinese in pairs.items():
        commands, in_chinese = (
            sorted(part.text for part in elements(text) if part.kind == "command") for text in (english, chinese)
        )
        assert commands == in_chinese, english


def test_signs_are_wide_and_blanks_stand_beside_other_letters(pairs: dict[str, str]) -> None:
    def offending() -> Iterator[str]:
        for chinese in pairs.values():
            for found in _BESIDE.findall(_TEMPLATE_SIGNS.sub("", chinese)):
                yield f"{found} in {chinese}"

    assert list(offending()) == []


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "NO GO: 1 root cause, 2 failed, 81 passed (effects up to probe)",
            "NO GO：1 个根因，2 项失败，81 项通过（允许的影响级别最高为 probe）",
        ),
        (
            "node-path-blocked (stops jobs on k8s-worker-2): k8s-worker-2 (192.168.1.102) does not reach "
            "192.168.1.50:80 (timeout), 2 of 3 workers do: the path of this node is cut",
            "node-path-blocked（k8s-worker-2 上的 job 无法运行）：k8s-worker-2（192.168.1.102）无法访问 "
            "192.168.1.50:80（timeout），3 个 Worker 节点中的 2 个可以：到该节点的路径中断",
        ),
        (
            "blocked by 2.1.1 GitLab's port answers [k8s-worker-1]: refused: 192.168.1.50:80 refused the connection",
            "受阻于 2.1.1 GitLab 的端口有应答 [k8s-worker-1]：refused：192.168.1.50:80 拒绝了连接",
        ),
        (
            "until then keep jobs away: `kubectl cordon 'worker 1'`; `kubectl cordon b`",
            "在此之前不要让 job 调度到那里：`kubectl cordon 'worker 1'`；`kubectl cordon b`",
        ),
        ("10.0.0.2 and 10.0.0.3 do not answer (timeout)", "10.0.0.2 和 10.0.0.3 没有应答（timeout）"),
        (
            "k8s-worker-1 is not Ready: Kubelet stopped posting node status.",
            "k8s-worker-1 不是 Ready：Kubelet stopped posting node status.",
        ),
        ("what nobody here has written", "what nobody here has written"),
        ("", ""),
    ],
)
def test_texts_are_recognised_by_their_templates(english: str, chinese: str, chinese_texts: Catalogue) -> None:
    assert chinese_texts.text(english) == chinese


def test_of_a_text_from_outside_nothing_is_a_template_or_a_format() -> None:
    catalogue = Catalogue(
        {"{host} is down": "{host} 已停机", "found {value}, expected text": "实际为 {value}，应为文本"}
    )
    for found in ("{host}", "`{value}`", "{0.__class__}", "%s", "\\1"):
        assert catalogue.text(f"found {found}, expected text") == f"实际为 {found}，应为文本"
    assert catalogue.text("`nc is down` is down") == "`nc is down` 已停机"


@pytest.mark.parametrize(
    "piece", ["a: ", "a; b: ", "(", "a, b (", "x is y; ", "blocked by ", "` ", "of 3 workers ", "\ue000"]
)
def test_a_hostile_text_is_looked_at_a_bounded_number_of_times(piece: str, chinese_texts: Catalogue) -> None:
    text = (piece * 4000)[:4000]
    reader = translation._Reader(chinese_texts)
    reader.translate(text, 0)
    assert len(reader._known) < 50 * translation._TRIES
    assert chinese_texts.text(text * 2) == text * 2, "a longer one is left alone"


@pytest.mark.parametrize(
    ("variables", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LC_ALL": "zh_TW", "LANG": "C"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "PREFLIGHT_LANG": "en"}, "en"),
        ({"PREFLIGHT_LANG": "zh", "LC_ALL": "C"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_environment(variables: dict[str, str], spoken: str) -> None:
    assert language.of_environment(variables) == spoken
    assert language.of_arguments(["--lang", "zh"], variables) == language.of_arguments(["--lang=zh"], variables) == "zh"


def test_a_language_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(language.LanguageError, match="PREFLIGHT_LANG: found 'fr', expected en or zh"):
        language.of_environment({"PREFLIGHT_LANG": "fr"})


def test_chinese_is_wrapped_between_characters_and_no_line_begins_with_a_sign(chinese_texts: Catalogue) -> None:
    text = chinese_texts.text(
        "only this machine does not reach 192.168.1.50:80 (timeout); the cluster does, so jobs are not affected"
    )
    for width in range(20, 80):
        lines = wrapped(text, width)
        assert all(columns(line) <= width for line in lines)
        assert not any(line[0] in "，。；：）、" for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
