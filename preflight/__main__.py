"""Preflight and diagnostics for GitLab Runner on Kubernetes; `preflight COMMAND --help` says more of each command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from preflight import language, run_checks, shipped
from preflight.language import translated


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
    "report": "report",
    "schema": "schema",
    "sweep": "sweep",
}
"""The module of each command but `run` and `demo`, imported only by who needs it: most cost half a second."""
LANG_HELP = "language of what is printed: en or zh (default: PREFLIGHT_LANG, else that of the locale)"
USAGE = 4  # as pytest's exit status for a bad option, and not argparse's 2, which means interrupted here


class _Parser(argparse.ArgumentParser):
    """argparse's own parser, with the suite's exit status for bad usage."""

    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        super().exit(USAGE if status else 0, message)


def commands_of(given: Sequence[str]) -> list[Command]:
    """The one command that is named first, or all."""
    names = [name for name in MODULES if given[:1] == [name]] or list(MODULES)
    own = () if len(names) == 1 else (run_checks.RUN, run_checks.DEMO)
    return [*own, *(cast("Command", importlib.import_module(f"preflight.{MODULES[name]}")) for name in names)]


def parser_of_commands(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line; of the one command that is given first, if it is one."""
    parser = _Parser(prog="preflight", description=__doc__)
    parser.add_argument("--lang", choices=language.LANGUAGES, help=translated(LANG_HELP))
    parser.add_argument("--version", action="version", version=f"gitlab-runner-preflight {shipped.version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands_of(given):
        inner = commands.add_parser(
            command.NAME,
            help=translated(command.HELP),
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(inner)
        inner.add_argument("--lang", choices=language.LANGUAGES, default=argparse.SUPPRESS, help=LANG_HELP)
        for action in inner._actions:  # noqa: SLF001 - argparse has no other way to say helps in another language
            if action.help and action.help is not argparse.SUPPRESS:
                action.help = translated(action.help)
        inner.set_defaults(run=command.run)
    commands.add_parser("version", help=translated("print the version")).set_defaults(run=_print_version)
    completion = commands.add_parser(
        "completion", help=translated("print a script by which a shell completes these commands")
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help='such as `eval "$(preflight completion bash)"`')
    completion.set_defaults(run=_print_completion)
    return parser


def _print_version(options: argparse.Namespace) -> int:
    del options
    sys.stdout.write(f"{shipped.version()}\n")
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
    language.use(language.of_arguments(given, os.environ))
    options = parser_of_commands(given).parse_args(given)
    try:
        language.use(options.lang or language.of_environment(os.environ))
    except language.LanguageError as error:
        sys.stderr.write(f"error: {error}\n")
        return USAGE
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
