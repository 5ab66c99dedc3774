"""`python -m lab` lists the faults and keeps a lab up until it is told to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import faults
from lab.__main__ import main
from preflight.inventory import load

ROOT = Path(__file__).parents[2]


def test_faults_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(faults.known())
    assert all(re.fullmatch(r"[a-z0-9-]+ {2,}[A-Z0-9a-z].*\.", line) for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_lab_is_kept_up_until_it_is_stopped(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "lab", "serve", "--fault", "gitlab-502"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        file = Path(lines[1].removeprefix("inventory:").strip())
        assert lines[0].startswith("gitlab-502: ")
        assert lines[2].split() == ["run:", "pytest", "checks/", "--inventory", str(file)]
        assert load(file).connect["*"] == "refuse"
        process.send_signal(number)
        assert process.wait(5) == 0
    assert not file.parent.exists()


def test_an_unknown_fault_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--fault", "gitlab-503"]) == 4
    assert "did you mean gitlab-502" in capsys.readouterr().err
