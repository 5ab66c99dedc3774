from __future__ import annotations

import pytest

from preflight import __main__ as command_line


def test_a_command_that_is_named_is_imported_alone_and_the_table_has_all_names() -> None:
    everything = command_line.commands_of([])
    assert [command.NAME for command in everything] == ["run", "demo", *command_line.MODULES]
    for name in command_line.MODULES:
        (command,) = command_line.commands_of([name, "--help"])
        assert name == command.NAME
    assert len(command_line.commands_of(["--help"])) == len(everything)


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert {"run", "demo", *command_line.MODULES, "version", "completion"} <= listed
