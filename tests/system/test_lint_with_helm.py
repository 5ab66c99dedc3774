"""``python -m preflight lint`` with the real helm, on a small chart of our own."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from preflight.__main__ import main
from tests import tinychart

HEAD = "gitlabUrl: x\nrbac: {create: true}\n"


def linted(folder: Path, capsys: pytest.CaptureFixture[str], text: str, *options: str) -> tuple[int, dict[str, Any]]:
    (folder / "chart.tgz").write_bytes(tinychart.archive())
    (folder / "values.yaml").write_text(textwrap.dedent(text))
    status = main(["lint", str(folder / "values.yaml"), "--chart", str(folder / "chart.tgz"), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def config(toml: str, top: str = "") -> str:
    return f"{HEAD}{top}\nrunners:\n  config: |\n{textwrap.indent(textwrap.dedent(toml), '    ')}"


def test_helm_renders_what_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = config(
        "[[runners]]\n{{- range .Values.jobs }}\n[runners.kubernetes]\nimage = {{ . | quote }}\n{{- end }}\n",
        "jobs: [a]",
    )
    status, found = linted(tmp_path, capsys, text)
    assert (status, found["findings"]) == (0, [])
    assert found["rendered_by"].startswith("helm ")
    assert found["config"] == {"runners": [{"kubernetes": {"image": "a"}}]}


def test_a_finding_has_the_line_of_the_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = config("[[runners]]\n{{- if true }}\n{{- end }}\n[runners.kubernetes]\nimagee = 'x'\n")
    status, found = linted(tmp_path, capsys, text)
    assert status == 1
    assert [(one["fault"], one["line"]) for one in found["findings"]] == [("unknown-key", 10)]


def test_what_helm_refuses_is_an_error_at_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = linted(tmp_path, capsys, config("[[runners]]\nname = '{{ frob }}'\n"))
    assert status == 1
    refused = next(one for one in found["findings"] if one["fault"] == "not-rendered")
    assert (refused["file"], refused["line"], refused["path"]) == ("values.yaml", 7, "runners.config")
    assert 'function "frob" not defined' in refused["message"]


def test_what_renders_to_no_toml_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = linted(tmp_path, capsys, config("[[runners]]\nname = {{ .Release.Name }}\n"))
    assert (status, found["config"]) == (1, None)
    assert [(one["fault"], one["line"]) for one in found["findings"]] == [("not-toml", 7)]


def test_the_wrappers_release_and_namespace_are_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
    apiVersion: argoproj.io/v1alpha1
    kind: Application
    metadata: {name: runner}
    spec:
      destination: {namespace: ci}
      source:
        chart: gitlab-runner
        helm:
          parameters: [{name: tag, value: "7"}]
          values: |
            gitlabUrl: x
            rbac: {create: true}
            runners:
              config: |
                [[runners]]
                  name = "{{ .Release.Name }}-{{ .Release.Namespace }}-{{ .Values.tag }}"
    """
    status, found = linted(tmp_path, capsys, text)
    assert (status, found["findings"]) == (0, [])
    assert found["config"]["runners"][0]["name"] == "runner-ci-7"
