"""The tool that holds the suite's reading beside Helm's rendering, with the real helm and a small chart of our own."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preflight import charts
from tests import tinychart

SPEC = importlib.util.spec_from_file_location(
    "compare_rendering", Path(__file__).parents[2] / "tools" / "compare_rendering.py"
)
assert SPEC is not None
assert SPEC.loader is not None
compare_rendering = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = compare_rendering  # dataclasses look their module up
SPEC.loader.exec_module(compare_rendering)

GOOD = """\
gitlabUrl: http://gitlab.example.com/
rbac: {create: true}
metrics: {enabled: true}
replicas: 2
concurrent: 4
runners:
  config: |
    [[runners]]
      [runners.kubernetes]
        namespace = "{{ .Release.Namespace }}"
        dns_policy = "cluster-first"
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    values, packages = tmp_path / "values", tmp_path / "packages"
    values.mkdir()
    packages.mkdir()
    (packages / "gitlab-runner-0.80.1.tgz").write_bytes(tinychart.archive())
    (packages / "broken.tgz").write_bytes(b"")
    (values / "good.yaml").write_text(GOOD)
    return values, packages


def compared(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    values, packages = folders
    status = compare_rendering.main([str(values), "--packages", str(packages)])
    return status, capsys.readouterr().out


def test_values_that_are_read_as_helm_renders_them_are_alike(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "wrapped.yaml").write_text("gitlab-runner:\n  gitlabUrl: x\n  replicas: 3\n")
    (folders[0] / "refused.yaml").write_text("gitlabUrl: x\nimage: text\n")
    _, told = compared(folders, capsys)
    assert "3 files, 1 packages" in told
    assert "rendered 2, refused by Helm 1" in told
    assert "read alike 3 of 3 (1 of them refused by both)" in told
    assert "umbrella chart's values at gitlab-runner" in told


def test_what_is_read_otherwise_is_printed(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = compare_rendering.load

    def misread(source: Any, package: Any) -> Any:
        values, problem = load(source, package)
        config = {"runners": [{"kubernetes": {"namespace": "other", "dns_policy": "cluster-first"}}]}
        return replace(values, config=config, tree={**values.tree, "replicas": 5}), problem

    monkeypatch.setattr(compare_rendering, "load", misread)
    status, told = compared(folders, capsys)
    assert status == 1
    place = "runners.config.runners[0].kubernetes.namespace"
    assert f"DIFFERS: {place}: Helm renders 'gitlab', the suite reads 'other'" in told
    assert "DIFFERS: replicas: Helm merges 2, the suite 5" in told
    assert "read alike 0 of 1" in told


def test_a_finding_that_helm_contradicts_is_false(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = {**tinychart.FILES, "templates/more.yaml": "{{ with .Values.ours }}{{ .key }}{{ end }}"}
    (folders[1] / "gitlab-runner-0.80.1.tgz").write_bytes(tinychart.archive(fork))
    (folders[0] / "good.yaml").write_text(f"{GOOD}ours: {{key: '#'}}\nnobodys: 1\n")
    monkeypatch.setattr(compare_rendering, "keys_of", lambda package: charts.keys(package.version))
    status, told = compared(folders, capsys)
    assert status == 1
    assert "FALSE: unknown-key" in told
    assert "[it is read]" in told
    assert "false findings 1: unknown-key 1" in told
    assert "nobodys: the chart 0.80 reads no such key" in told


def test_without_helm_there_is_nothing_to_compare(folders: tuple[Path, Path]) -> None:
    values, packages = folders
    assert compare_rendering.main([str(values), "--packages", str(packages), "--helm", "none"]) == 4
    assert compare_rendering.main([str(values), "--packages", str(values)]) == 4
