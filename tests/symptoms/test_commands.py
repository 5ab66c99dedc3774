"""`python -m preflight symptom` and `explain`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight.__main__ import main
from preflight.commands import explain, symptom

TEXT = "ERROR: Job failed (system failure): prepare environment: setting up credentials: Unauthorized\n"


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_file_is_read_and_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.log"
    file.write_text(TEXT)
    status, out, _ = run(["symptom", str(file), "--json"], capsys)
    told: dict[str, Any] = json.loads(out)
    assert status == symptom.RECOGNISED
    assert told["stage"] == "prepare"
    leading = told["symptoms"][0]
    assert leading["id"] == "manager-unauthorized"
    assert leading["line"] == TEXT.strip()
    assert leading["number"] == 1
    for meaning in leading["means"]:
        assert meaning["text"]
        assert meaning["remedy"]
        assert meaning["settled_by"] or meaning["look"]
    assert "test_managers_log_no_failure" in leading["means"][0]["settled_by"]


def test_standard_input_is_read_and_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "job.log"
    file.write_text(TEXT)
    with file.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        status, out, _ = run(["symptom"], capsys)
    assert status == symptom.RECOGNISED
    assert "stage     prepare" in out
    assert "symptom   manager-unauthorized (line 1)" in out
    assert "fix       `kubectl rollout restart`" in out
    assert "source    https://" in out


def test_a_text_without_a_known_symptom_ends_with_six(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.log"
    file.write_text("the weather is bad\n")
    status, out, _ = run(["symptom", str(file)], capsys)
    assert status == symptom.NOTHING == 6
    assert "nothing that is known" in out
    status, out, _ = run(["symptom", str(file), "--json"], capsys)
    assert status == symptom.NOTHING
    assert json.loads(out)["symptoms"] == []
    assert json.loads(out)["nearest"] == []


def test_what_an_unknown_text_resembles_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.log"
    file.write_text("padding\n" * 200_000 + "the image was not pulled: the back-off of pulling goes on\n")
    status, out, _ = run(["symptom", str(file)], capsys)
    assert status == symptom.NOTHING
    assert "nearest   image-not-pulled: " in out
    assert "`preflight explain ID`" in out
    _, out, _ = run(["symptom", str(file), "--json"], capsys)
    assert json.loads(out)["symptoms"] == []
    assert "image-not-pulled" in [alike["id"] for alike in json.loads(out)["nearest"]]


def test_a_file_that_is_not_there_is_a_bad_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(["symptom", str(tmp_path / "none")], capsys)
    assert status == symptom.USAGE
    assert "error: " in err


def test_no_secret_of_a_log_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.log"
    file.write_text(
        "fatal: unable to access 'https://u:glpat-made-up-0123456789@h/p.git/': Could not resolve host: h\n"
    )
    for form in ([], ["--json"]):
        status, out, _ = run(["symptom", str(file), *form], capsys)
        assert status == symptom.RECOGNISED
        assert "glpat-made-up" not in out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("test_registry_answers", ["check     2.4.13 test_registry_answers", "fix       refused: ", "symptoms  "]),
        ("image-not-pulled", ["symptom   image-not-pulled (general, Image pulls)", "told by   test_registry_answers"]),
        ("resolver-down", ["cause     resolver-down", "general   resolver-unreachable"]),
        ("timeout", ["fault     timeout (PathFault): nothing came back in time", "fault     timeout (DnsFault)"]),
        ("token-expired", ["cause     token-expired", "fault     token-expired (TokenFault)"]),
    ],
)
def test_an_id_is_explained(asked: str, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(["explain", asked], capsys)
    assert status == explain.EXPLAINED
    for piece in told:
        assert piece in out


def test_an_unknown_id_is_refused_with_those_near_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(["explain", "image-not-puled"], capsys)
    assert status == explain.UNKNOWN_ID
    assert not out
    assert "near to it: image-not-pulled" in err


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal()))
    status, _, err = run(["symptom"], capsys)
    assert status == symptom.USAGE
    assert "found a terminal" in err
