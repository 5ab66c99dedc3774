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


def imported_by(script: str) -> set[str]:
    """The modules of the suite that an interpreter has imported behind a script."""
    words = [sys.executable, "-c", f"{script}\nimport sys; print(*sys.modules)"]
    modules = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return {module.removeprefix("preflight.") for module in modules if module.startswith("preflight.")}


def test_no_command_is_imported_to_list_them() -> None:
    listing = imported_by("from preflight.__main__ import parser_of_commands\nparser_of_commands(['--help'])")
    assert listing == {
        "__main__",
        "commands",
        "commands.run",
        "shipped",
        "language",
        "layout",
        "translation",
        "yamltext",
    }


def test_a_log_is_read_without_facts_and_root_causes() -> None:
    assert not {"inventory", "facts", "probes", "conclusions"} & imported_by("import preflight.commands.symptom")


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert {"run", "demo", *command_line.COMMANDS, "version", "completion"} <= listed
