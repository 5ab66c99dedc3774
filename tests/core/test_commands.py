from __future__ import annotations

import subprocess
import sys

import pytest

from preflight import __main__ as command_line


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_a_command_that_is_named_has_its_own_description_and_options(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit):
        command_line.main([name, "--help"])
    shown = capsys.readouterr().out
    assert (command_line.command_of(name).__doc__ or "").strip() in shown
    assert "--lang" in shown


def test_no_command_is_imported_to_list_them() -> None:
    script = "import sys; from preflight.__main__ import parser_of_commands as p; p(['--help']); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = {module.removeprefix("preflight.") for module in ended.stdout.split() if module.startswith("preflight.")}
    assert imported == {"__main__", "run_checks", "shipped", "language", "layout", "translation", "yamltext"}


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert {"run", "demo", *command_line.COMMANDS, "version", "completion"} <= listed
