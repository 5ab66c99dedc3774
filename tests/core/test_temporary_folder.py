"""Without a folder for temporary files, exit status 4 and a sentence, and not pytest's own traceback with status 1."""

from __future__ import annotations

import importlib
import tempfile
import tomllib
from pathlib import Path

import pytest

from preflight import temporary_folder
from preflight.commands import run

PROJECT = Path(__file__).parents[2]
FIRST = ["-p", temporary_folder.__name__]


def test_where_nothing_can_be_written_the_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(pytest.UsageError, match="set TMPDIR to one that can be written to"):
        importlib.reload(temporary_folder)


def test_it_is_tried_before_anything_else_is_loaded() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["addopts"][:2] == FIRST
    assert list(run.SETTINGS[:2]) == FIRST
