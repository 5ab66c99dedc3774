"""The tool that makes the shipped tables of keys from packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight import charts
from tests import tinychart

SPEC = importlib.util.spec_from_file_location("chart_keys", Path(__file__).parents[2] / "tools" / "chart_keys.py")
assert SPEC is not None
assert SPEC.loader is not None
chart_keys = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chart_keys)


def packages(folder: Path, *versions: tuple[str, str, dict[str, str]]) -> Path:
    folder.mkdir()
    for version, runner, changed in versions:
        about = f"name: gitlab-runner\nversion: {version}\nappVersion: {runner}\n"
        files = {**tinychart.FILES, "Chart.yaml": about, **changed}
        (folder / f"gitlab-runner-{version}.tgz").write_bytes(tinychart.archive(files))
    (folder / "other.tgz").write_bytes(b"no chart")
    return folder


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "tables"
    folder.mkdir()
    by_hand = '# Keys that older charts read. By hand.\nmoved:\n  a.b: {since: 0.1.0, instead: "c"}\n'
    kept = f'chart: "0.70"\nkeys: {{}}\n\n{by_hand}'
    (folder / "gitlab-runner-0.70.yaml").write_text(kept)
    monkeypatch.setattr(chart_keys, "TABLES", folder)
    monkeypatch.setattr(charts, "_FOLDER", folder)
    charts.keys.cache_clear()
    yield folder
    charts.keys.cache_clear()


def test_the_tables_are_made_from_packages_and_agree_with_them(
    tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    less = {"templates/secrets.yaml": ""}
    more = {"templates/more.yaml": "{{ .Values.newer.key }}{{ tpl .Values.newer.text . }}"}
    folder = packages(
        tmp_path / "packages",
        ("0.80.0", "18.3.0", less),
        ("0.80.10", "18.3.1", {}),
        ("0.80.9", "18.3.1", less),
        ("0.81.0", "18.4.0", {**less, **more}),
    )
    assert chart_keys.main([str(folder)]) == 0
    assert sorted(path.name for path in tables.iterdir()) == ["gitlab-runner-0.80.yaml", "gitlab-runner-0.81.yaml"]
    older, newer = charts.keys("0.80.1"), charts.keys("0.81.0")
    assert older.tree["runnerToken"] == "text", "the newest package of a minor version counts: 0.80.10"
    assert newer.tree["newer"] == {"key": "text", "text": "text"}
    assert "newer" not in older.tree
    assert newer.tree.get("runnerToken") is None, "a key that is gone is not known any more"
    assert (older.runner, newer.runner) == ("18.3", "18.4")
    assert set(newer.templates) - set(older.templates) == {"newer.text"}
    assert newer.moved == {"a.b": {"since": "0.1.0", "instead": "c"}}
    assert chart_keys.main([str(folder), "--check"]) == 1, "0.80.0 and 0.80.9 read less than the table says"
    told = capsys.readouterr().out
    assert "0.80.10: agrees" in told
    assert "runnerToken: the table says text, the package nothing" in told


def test_a_table_that_does_not_agree_is_found(tmp_path: Path, tables: Path) -> None:
    folder = packages(tmp_path / "packages", ("0.80.1", "18.3.1", {}))
    chart_keys.main([str(folder)])
    assert chart_keys.main([str(folder), "--check"]) == 0
    table = tables / "gitlab-runner-0.80.yaml"
    table.write_text(table.read_text().replace("  fullnameOverride: text\n", "  podMonitor: any\n"))
    charts.keys.cache_clear()
    assert chart_keys.main([str(folder), "--check"]) == 1


def test_a_folder_without_packages_is_a_mistake(tmp_path: Path) -> None:
    assert chart_keys.main([str(tmp_path)]) == 4


def test_the_shipped_tables_know_what_was_wrong_in_them() -> None:
    newest, older = charts.keys("0.86.0"), charts.keys("0.84.1")
    assert newest.tree["metrics"]["podMonitor"]["enabled"] == "switch"
    assert "podMonitor" not in newest.tree
    assert "podMonitor" not in older.tree["metrics"]
    assert older.tree["topologySpreadConstraints"] == "any", "the chart's own default is {}"
    assert charts.keys("0.83.3").tree["runners"].get("jobNamespace") is None
    assert older.tree["runners"]["jobNamespace"] == "text"
    assert "runners.config" in older.templates
