"""The tool that lists error strings of the runner's sources: on a repository of our own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("runner_strings", PROJECT / "tools" / "runner_strings.py")
assert SPEC is not None
assert SPEC.loader is not None
tool = importlib.util.module_from_spec(SPEC)
sys.modules["runner_strings"] = tool  # a dataclass looks its module up
SPEC.loader.exec_module(tool)

SOURCE = """package made

func up() error {
	log.Warningln("made up in this test: %v", err)
	return fmt.Errorf("timed out waiting for pod to start (last phase: %s)", phase)
}

func wrap() error { return fmt.Errorf("made up step: %w", err) }
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    file = tmp_path / "executors" / "kubernetes" / "made.go"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)
    (file.parent / "made_test.go").write_text('package made\nvar x = errors.New("of a test")\n')
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=e@e", "commit", "-qm", "m"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_strings_are_read_with_what_they_may_look_like_in_a_log() -> None:
    strings = list(tool.strings_of(SOURCE, "made.go"))
    assert [one.sample for one in strings] == [
        "made up in this test: x",
        "timed out waiting for pod to start (last phase: x)",
        "made up step: x",
    ]


def test_each_string_is_known_or_has_its_reason_or_is_unknown(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tool.main([str(checkout), "--all"]) == 0
    out = capsys.readouterr().out
    assert "\tpod-not-started-in-time\n" in out
    assert "'made up step: %w'\tnone: it stands before another error" in out
    assert "of a test" not in out
    assert "3 strings: 1 known, 2 with a reason, 0 unknown" in out
    none = tmp_path / "none.yaml"
    none.write_text("[]")
    monkeypatch.setattr(tool, "REASONS", none)
    assert tool.main([str(checkout)]) == 1
    assert "'made up step: %w'\tUNKNOWN" in capsys.readouterr().out


def test_every_reason_says_what_it_is_about() -> None:
    for reason in tool.reasons():
        assert reason.why
        assert reason.files or reason.texts
