"""A chart's package, and the keys that it reads."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import yaml

from preflight import chartpackage
from preflight.chartpackage import ChartPackage, NotAChartError, chart_keys, keys_of, own_reads
from tests import tinychart

Files = dict[str, str]


def package(changed: Files | None = None, **more: str) -> ChartPackage:
    return ChartPackage.from_archive(tinychart.archive({**tinychart.FILES, **(changed or {}), **more}), source="test")


def test_a_package_tells_its_name_and_versions() -> None:
    chart = package()
    assert (chart.name, chart.version, chart.app_version) == ("gitlab-runner", "0.80.1", "18.3.1")
    assert chart.defaults["replicas"] == 1


def test_a_folder_is_read_like_an_archive(tmp_path: Path) -> None:
    chart = ChartPackage.open(tinychart.folder(tmp_path / "chart"))
    assert chart_keys(chart) == chart_keys(package())
    (tmp_path / "chart.tgz").write_bytes(tinychart.archive())
    assert chart_keys(ChartPackage.open(tmp_path / "chart.tgz")) == chart_keys(chart)


def test_the_keys_are_those_of_values_yaml_and_of_the_templates() -> None:
    keys = chart_keys(package())
    assert keys.tree == {
        "gitlabUrl": "text",
        "replicas": "number",
        "imagePullPolicy": "text",
        "image": {"registry": "text", "image": "text", "tag": "text"},
        "rbac": {"create": "switch", "rules": "list"},
        "serviceAccount": {"create": "switch", "name": "text"},
        "probes": {"periodSeconds": "number"},
        "strategy": "any",
        "podLabels": "any",
        "extraEnv": "map",
        "tolerations": "list",
        "topologySpreadConstraints": "any",
        "metrics": {"enabled": "switch", "port": "number"},
        "runners": {"config": "text", "cache": {"secretName": "text"}, "secret": "text", "configPath": "text"},
        "fullnameOverride": "text",
        "envVars": "list",
        "concurrent": "number",
        "terminationGracePeriodSeconds": "number",
        "automountServiceAccountToken": "text",
        "runnerToken": "text",
        "global": "map",
    }
    assert keys.templates == ("podLabels", "runners.config", "runners.secret")
    assert not keys.open


def test_what_only_the_notes_read_is_not_read() -> None:
    assert "namespace" not in chart_keys(package()).tree["runners"]


def test_a_forks_keys_are_its_own() -> None:
    fork = package({"templates/more.yaml": "{{ with .Values.ours.deep }}{{ .key }}{{ end }}"})
    assert chart_keys(fork).tree["ours"] == {"deep": {"key": "text"}}


def test_a_chart_that_hands_all_values_on_knows_every_key() -> None:
    keys = keys_of(package({"templates/all.yaml": "{{ toYaml .Values }}"}))
    assert keys.tree.get("whatever") == "any"
    assert keys.tree.get("replicas") == "number"


def test_the_keys_of_charts_that_it_brings_stand_below_their_names() -> None:
    inner = {
        "Chart.yaml": "name: cache\nversion: 1.0.0\n",
        "values.yaml": "size: 1\n",
        "templates/a.yaml": "{{ .Values.kind }}",
    }
    outer = {
        "Chart.yaml": tinychart.CHART
        + "dependencies:\n- {name: cache, alias: minio, condition: minio.enabled, tags: [extras]}\n- {name: absent}\n",
        **{f"charts/cache/{name}": text for name, text in inner.items()},
    }
    tree = chart_keys(package(outer)).tree
    assert tree["minio"] == {"size": "number", "kind": "text", "global": "map", "enabled": "switch"}
    assert tree["tags"] == {"extras": "switch"}
    assert tree["absent"] == "any", "nobody knows what a chart reads that is not there"


def test_a_library_chart_reads_the_values_of_who_includes_it() -> None:
    library = {
        "charts/common/Chart.yaml": "name: common\nversion: 1.0.0\ntype: library\n",
        "charts/common/templates/_all.tpl": '{{ define "common.labels" }}{{ .Values.commonLabels | toYaml }}{{ end }}',
        "templates/more.yaml": '{{ include "common.labels" . }}',
    }
    assert chart_keys(package(library)).tree["commonLabels"] == "any"


def test_a_package_serves_in_the_place_of_a_shipped_table() -> None:
    keys = keys_of(package({"templates/x.yaml": "{{ .Values.runners.image }}"}))
    assert (keys.version, keys.runner, keys.covered) == ("0.80.1", "18.3", True)
    assert "runners.privileged" in keys.moved
    assert "runners.image" not in keys.moved, "this chart reads it"


def test_the_keys_that_the_operators_own_templates_read_are_known() -> None:
    values = {
        "runners": {"config": '[[runners]]\nimage = "{{ .Values.img.repo }}:{{ index .Values "img" "tag" }}"'},
        "podLabels": {"team": "{{ .Values.team }}"},
        "other": "{{ .Values.nothing }}",
    }
    found = own_reads(values, chart_keys(package()).templates)
    assert {".".join(path) for path in found} == {"img", "img.repo", "img.tag", "team"}


def test_a_template_of_the_operators_that_is_none_reads_nothing() -> None:
    assert own_reads({"runners": {"config": "{{ if }"}}, ("runners.config",)) == frozenset()


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"<html>sign in</html>", "not compressed with gzip"),
        (tinychart.archive()[:400], "cut short"),
        (gzip.compress(b"x" * 2000), "no archive"),
        (tinychart.archive({"values.yaml": ""}), "no Chart.yaml"),
        (tinychart.archive({"Chart.yaml": "a: [", "values.yaml": ""}), "no YAML"),
        (tinychart.archive({"Chart.yaml": "version: 1"}), "names no chart"),
        (tinychart.archive(top="../../etc"), "outside of its folder"),
        (tinychart.archive(top="/etc"), "outside of its folder"),
    ],
    ids=["page", "cut", "gzip", "no-chart-yaml", "broken-yaml", "no-name", "parent", "absolute"],
)
def test_what_is_no_chart_is_refused_with_the_reason(archive: bytes, words: str) -> None:
    with pytest.raises(NotAChartError, match=words):
        ChartPackage.from_archive(archive, source="test.tgz")


def test_a_package_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chartpackage, "LARGEST_CONTENT", 5000)
    with pytest.raises(NotAChartError, match="more than 5000 bytes"):
        package()
    with pytest.raises(NotAChartError, match="more than 5000 bytes"):
        ChartPackage.open(tinychart.folder(tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(chartpackage, "MOST_FILES", 3)
    with pytest.raises(NotAChartError, match="more than 3 files"):
        package()


def test_links_in_an_archive_are_passed_over() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        about = tarfile.TarInfo("x/Chart.yaml")
        about.size = len(b"name: x")
        tar.addfile(about, io.BytesIO(b"name: x"))
        link = tarfile.TarInfo("x/values.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert set(ChartPackage.from_archive(packed.getvalue(), source="x").files) == {"Chart.yaml"}


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotAChartError, match="No such file"):
        ChartPackage.open(tmp_path / "none.tgz")


def test_the_defaults_of_values_yaml_fit_the_forms_that_are_read_from_it() -> None:
    keys, defaults = chart_keys(package()).tree, yaml.safe_load(tinychart.VALUES)
    kinds = {"text": str, "number": int, "switch": bool, "list": list, "map": dict, "any": object}
    for name, value in defaults.items():
        word = keys[name]
        assert isinstance(value, dict if isinstance(word, dict) else kinds[word]), name
