"""Preflight and diagnostics for GitLab Runner on Kubernetes; `preflight COMMAND --help` says more of each command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Protocol, cast

from preflight import run_checks


class Command(Protocol):
    """A command: a module, or an object with the same names."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """What it is called."""

    @property
    def HELP(self) -> str:  # noqa: N802 - a module's constant
        """What it does, in a line."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the command's options."""

    def run(self, options: argparse.Namespace, /) -> int:
        """Do it; returns the exit status."""


MODULES = {
    "init": "init",
    "lint": "lint_values",
    "symptom": "symptom",
    "explain": "explain",
    "list": "check_list",
    "images": "image_list",
    "schema": "schema",
    "sweep": "sweep",
}
"""The module of each command but `run` and `demo`, imported only by who needs it: most cost half a second."""
USAGE = 4  # as pytest's exit status for a bad option, and not argparse's 2, which means interrupted here


class _Parser(argparse.ArgumentParser):
    """argparse's own parser, with the suite's exit status for bad usage."""

    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        super().exit(USAGE if status else 0, message)


def version() -> str:
    """This suite's version, or that it runs from a clone that is not installed."""
    try:
        return metadata.version("gitlab-runner-preflight")
    except metadata.PackageNotFoundError:
        return "not installed"


def commands_of(given: Sequence[str]) -> list[Command]:
    """The one command that is named first, or all."""
    names = [name for name in MODULES if given[:1] == [name]] or list(MODULES)
    own = () if len(names) == 1 else (run_checks.RUN, run_checks.DEMO)
    return [*own, *(cast("Command", importlib.import_module(f"preflight.{MODULES[name]}")) for name in names)]


def parser_of_commands(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line; of the one command that is given first, if it is one."""
    parser = _Parser(prog="preflight", description=__doc__)
    parser.add_argument("--version", action="version", version=f"gitlab-runner-preflight {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands_of(given):
        inner = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(inner)
        inner.set_defaults(run=command.run)
    commands.add_parser("version", help="print the version").set_defaults(run=_print_version)
    completion = commands.add_parser("completion", help="print a script by which a shell completes these commands")
    completion.add_argument("shell", choices=("bash", "zsh"), help='such as `eval "$(preflight completion bash)"`')
    completion.set_defaults(run=_print_completion)
    return parser


def _print_version(options: argparse.Namespace) -> int:
    del options
    sys.stdout.write(f"{version()}\n")
    return 0


def _print_completion(options: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415 - by this command alone

    sys.stdout.write(shtab.complete(parser_of_commands(), shell=options.shell) + "\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    for command in (run_checks.RUN, run_checks.DEMO):
        if given[:1] == [command.NAME]:  # argparse would read pytest's options, --help too, as its own
            command.start(given[1:])
    options = parser_of_commands(given).parse_args(given)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
