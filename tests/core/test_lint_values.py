"""``python -m preflight lint`` without helm; with it, see tests/system/test_lint_with_helm.py."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from preflight.__main__ import main
from preflight.values import source_lines
from tests import tinychart

GOOD = """\
gitlabUrl: http://gitlab.example.com/
rbac: {create: true}
runners:
  secret: runner-token
  config: |
    [[runners]]
      [runners.kubernetes]
        image = "alpine"
"""


def linted(
    folder: Path, capsys: pytest.CaptureFixture[str], *texts: str, options: tuple[str, ...] = ()
) -> tuple[int, dict[str, Any]]:
    files = []
    for number, text in enumerate(texts):
        files.append(folder / f"values-{number}.yaml")
        files[-1].write_text(textwrap.dedent(text))
    status = main(["lint", *map(str, files), "--helm", "none", "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_good_values_have_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = linted(tmp_path, capsys, GOOD)
    assert (status, found["findings"], found["rendered_by"]) == (0, [], "reader")
    assert found["config"] == {"runners": [{"kubernetes": {"image": "alpine"}}]}


def test_a_finding_names_file_line_key_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = linted(tmp_path, capsys, GOOD, "replicas: 2\nrunner: {}\n")
    assert status == 1
    assert found["findings"] == [
        {
            "file": "values-1.yaml",
            "line": 2,
            "path": "runner",
            "level": "error",
            "fault": "unknown-key",
            "message": "the chart 0.80 reads no such key; did you mean runners?",
            "remedy": "take the spelling that is named, or remove the key",
        }
    ]


def test_wrapped_values_are_judged_with_the_lines_of_the_file_around_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = "other: {}\ngitlab-runner:\n" + textwrap.indent(GOOD.replace('image = "alpine"', "image = alpine"), "  ")
    status, found = linted(tmp_path, capsys, wrapped)
    assert (status, [(one["fault"], one["line"]) for one in found["findings"]]) == (1, [("not-toml", 10)])
    assert found["config"] is None


def test_a_key_that_stands_twice_is_found_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = linted(tmp_path, capsys, f"{GOOD}rbac: {{create: true}}\n")
    assert (status, [(one["fault"], one["line"]) for one in found["findings"]]) == (1, [("twice", 9)])


def test_advice_and_what_an_inventory_would_have_to_say_change_no_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = linted(tmp_path, capsys, f"{GOOD}nodeSelector: {{a: b}}\n")
    assert (status, [(one["level"], one["fault"]) for one in found["findings"]]) == (0, [("advice", "managers-only")])


def test_an_expression_that_only_helm_can_tell_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace('image = "alpine"', 'image = "{{ .Values.a | sha256sum }}"') + "a: x\n"
    status, found = linted(tmp_path, capsys, text)
    assert (status, [(one["level"], one["line"]) for one in found["findings"]]) == (6, [("unknown", 8)])
    assert found["findings"][0]["remedy"].startswith("install helm")


def test_values_that_stand_elsewhere_are_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = """\
    apiVersion: helm.toolkit.fluxcd.io/v2
    kind: HelmRelease
    metadata: {name: runner, namespace: ci}
    spec:
      chart: {spec: {chart: gitlab-runner}}
      valuesFrom: [{kind: Secret, name: token}]
      values: {gitlabUrl: x, rbac: {create: true}}
    """
    status, found = linted(tmp_path, capsys, release)
    assert (status, [one["fault"] for one in found["findings"]]) == (6, ["values-elsewhere"])
    assert "Secret token, key values.yaml" in found["findings"][0]["message"]


def test_a_package_says_which_keys_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fork = {**tinychart.FILES, "templates/more.yaml": "{{ .Values.ours.key }}"}
    (tmp_path / "fork.tgz").write_bytes(tinychart.archive(fork))
    text = f"{GOOD}ours: {{key: 1}}\n"
    assert [one["path"] for one in linted(tmp_path, capsys, text)[1]["findings"]] == ["ours"]
    assert linted(tmp_path, capsys, text, options=("--chart", str(tmp_path / "fork.tgz")))[1]["findings"] == []


def test_keys_that_the_operators_own_template_reads_are_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace('"alpine"', '"{{ .Values.img.repo }}"') + "img: {repo: alpine, tag: 1}\n"
    status, found = linted(tmp_path, capsys, text)
    assert [one["path"] for one in found["findings"]] == []
    assert status == 0
    assert found["config"]["runners"][0]["kubernetes"]["image"] == "alpine"


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a: [", (), "not YAML"),
        ("x: {gitlabUrl: a}\ny: {gitlabUrl: b}\n", (), "in 2 places, expected at: x, y"),
        (GOOD, ("--chart", "./nowhere.tgz"), "can't be read"),
        (GOOD, ("--set", "a"), "expected key=value"),
        (GOOD, ("--at", "a.b"), "found nothing"),
    ],
)
def test_what_can_not_be_read_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "values.yaml").write_text(text)
    assert main(["lint", str(tmp_path / "values.yaml"), "--helm", "none", *options]) == 4
    assert words in capsys.readouterr().err


def test_people_read_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "values.yaml").write_text(f"{GOOD}runner: {{}}\n")
    assert main(["lint", str(tmp_path / "values.yaml"), "--helm", "none", "--rendered"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("[[runners]]\n")
    assert "values.yaml:9: error: runner: the chart 0.80 reads no such key" in out
    assert "    fix: take the spelling" in out
    assert out.endswith("1 finding, rendered by reader\n")


@pytest.mark.parametrize(
    ("text", "rendered", "lines"),
    [
        ("a\n{{ b }}\nc", "a\nB\nc", [1, 2, 3]),
        ("a\n{{- if x }}\nb\n{{- end }}\nc", "a\nb\nc", [1, 3, 5]),
        ("{{ range }}\nx\n{{ end }}\nlast", "x\nx\nlast", [2, 2, 4]),
        ("", "", []),
    ],
)
def test_a_rendered_line_is_told_by_the_line_it_comes_from(text: str, rendered: str, lines: list[int]) -> None:
    found = source_lines(text, rendered)
    assert found[0:1] + found[-1:] == lines[0:1] + lines[-1:]
    assert len(found) == len(lines)


def test_the_runners_version_says_which_keys_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace('image = "alpine"', 'allowed_users = ["1000"]')
    status, found = linted(tmp_path, capsys, text)
    assert (status, [(one["level"], one["fault"]) for one in found["findings"]]) == (1, [("error", "other-version")])
    assert linted(tmp_path, capsys, text, options=("--runner", "18.4.0"))[0] == 0
    assert linted(tmp_path, capsys, text, options=("--chart", "0.86.0"))[0] == 0


@pytest.mark.parametrize(
    ("line", "level", "fault"),
    [
        ("poll_timeout = '600'", "error", "config-refused"),
        ('pull_policy = "Always"', "error", "jobs-fail"),
        ("poll_timeot = 600", "error", "unknown-key"),
        ("cert_file = 'x'", "advice", "no-effect"),
    ],
)
def test_what_the_runner_makes_of_a_setting_has_a_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, level: str, fault: str
) -> None:
    status, found = linted(tmp_path, capsys, GOOD.replace('image = "alpine"', line))
    assert [(one["level"], one["fault"]) for one in found["findings"]] == [(level, fault)]
    assert status == (1 if level == "error" else 0)
    assert found["findings"][0]["remedy"]
