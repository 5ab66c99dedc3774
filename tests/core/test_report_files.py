"""Reports are written whole or not at all, and in their own place."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preflight import reports
from preflight.verdicts import Outcome, Verdict
from tests import processes
from tests.core.test_plugin import check, environment, guide, run

__all__ = ["guide"]  # a fixture

NAMES = {"preflight.html", "preflight.json", "preflight.xml"}


FULL_DISK = """
import builtins, errno, io, os
opened = io.open
def full(file, *arguments, **named):
    stream = opened(file, *arguments, **named)
    if ".preflight-" in str(file):
        written = stream.write
        def write(text):
            written(text[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        stream.write = write
    return stream
builtins.open = io.open = full
"""


def test_a_symbolic_link_in_a_reports_place_is_replaced_and_not_followed(guide: Path, tmp_path: Path) -> None:
    check(guide, "well")
    (guide / "reports").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in NAMES:
        (guide / "reports" / name).symlink_to(precious)
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert precious.read_text() == "mine"
    assert {file.name for file in (guide / "reports").iterdir() if not file.is_symlink()} == NAMES
    assert {file.stat().st_mode & 0o777 for file in (guide / "reports").iterdir()} == {0o644}
    assert ended.stdout.count(".preflight-") == 0, "they are named by their own names"


def test_where_the_disk_is_full_a_message_says_so_and_what_was_there_stays(guide: Path) -> None:
    check(guide, "ill")
    (guide / "reports").mkdir()
    for name in NAMES:
        (guide / "reports" / name).write_text("earlier")
    (guide / "checks" / "conftest.py").write_text(FULL_DISK)
    ended = run(guide)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    for name in NAMES:
        assert f"preflight: {name} could not be written: No space left on device" in ended.stdout
    assert "NO GO: 1 failed" in ended.stdout
    assert {file.name: file.read_text() for file in (guide / "reports").iterdir()} == dict.fromkeys(NAMES, "earlier")


@pytest.mark.parametrize(("fact", "options"), [("well", ()), ("ill", ("-s",))])
def test_whoever_leaves_the_pipe_changes_neither_reports_nor_status(
    guide: Path, fact: str, options: tuple[str, ...]
) -> None:
    """As with ``| head``, in a locale that knows no letter beyond ASCII."""
    check(guide, fact)
    reading, writing = os.pipe()
    os.close(reading)
    process = processes.start(
        *("pytest", "checks", *processes.WITHOUT_PLUGINS, "--inventory", "inventory.yaml", *options),
        cwd=guide,
        env=environment(guide) | {"LC_ALL": "C"},
        stdout=writing,
        stderr=writing,
        interpreter=not options,  # how it ends is the matter
    )
    os.close(writing)
    assert process.wait(60) == (1 if fact == "ill" else 0)
    assert {file.name for file in (guide / "reports").iterdir()} == NAMES
    assert json.loads((guide / "reports" / "preflight.json").read_text())["exit"] == process.returncode


def test_reports_that_are_named_elsewhere_go_there(guide: Path, tmp_path: Path) -> None:
    check(guide, "well")
    assert run(guide, "--junitxml", str(tmp_path / "own.xml")).returncode == 0
    assert (tmp_path / "own.xml").read_text().startswith("<?xml")
    assert {file.name for file in (guide / "reports").iterdir()} == NAMES - {"preflight.xml"}


@pytest.mark.parametrize(
    ("mode", "folder", "words"),
    [
        (0o777, "kept", "others may write to {kept} (mode 0777), and so replace or remove the backup"),
        (0o770, "kept", "others may write to {kept} (mode 0770)"),
        (0o1777, "kept", "others may write to {kept} (mode 1777)"),
        (0o777, "kept/made", "others may write to {kept} (mode 0777)"),
        (0o1777, "kept/made", ""),
        (0o700, "kept", ""),
    ],
)
def test_a_backup_where_others_may_write_is_reported(
    guide: Path, tmp_path: Path, mode: int, folder: str, words: str
) -> None:
    check(guide, "well")
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(mode)
    ended = run(guide, "--backup", str(tmp_path / folder))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert words.format(kept=kept) in " ".join(ended.stdout.split())
    assert ("others may write" in ended.stdout) == bool(words)


def test_pytest_htmls_table_has_our_columns_and_sorts_by_each_of_them() -> None:
    heads = ['<th class="sortable" data-column-type="result">Result</th>', "<th>Test</th>", "<th>Duration</th>"]
    reports.header(heads)
    outcome = Outcome(
        check="test_a", number="2.4.10", title="<b> is right", target='"w"', verdict=Verdict.NOT_APPLICABLE
    )
    rows = []
    for report in (
        SimpleNamespace(outcome_of_check=outcome),
        SimpleNamespace(failed=True, when="setup", nodeid="test_other.py::t"),
    ):
        cells = [
            '<td class="col-result">Skipped</td>',
            '<td class="col-testId">x</td>',
            '<td class="col-duration">1 ms',
        ]
        judged: Any = report
        reports.row(cells, judged)
        rows.append(cells)
    columns = [re.findall('data-column-type="(.*?)"', head) for head in heads]
    for cells in rows:
        assert [re.findall(r"col-(\w+)", cell)[:1] for cell in cells] == columns, "a column is sorted by its cells"
    shown = [re.sub("<[^>]*>", "", cell) for cell in rows[0]]
    assert shown[:4] == ["not applicable", "2.4.10", "&lt;b&gt; is right", "&quot;w&quot;"]
    assert re.findall(">(.*?)</td>", rows[0][1]) == ["<!-- 002.004.010 -->2.4.10"], "10 comes after 9"
    assert rows[1][:3] == [
        '<td class="col-verdict col-result">error</td>',
        '<td class="col-section"><!-- 000 --></td>',
        '<td class="col-check">test_other.py::t</td>',
    ]
    assert heads[-1].endswith("hidden>Result</th>"), "its own word is there for its filters alone"
