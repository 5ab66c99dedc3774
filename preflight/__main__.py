"""Preflight and diagnostics for GitLab Runner on Kubernetes; `preflight COMMAND --help` says more of each command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from preflight import language, shipped
from preflight.commands import run as run_checks
from preflight.language import translated


class Command(Protocol):
    """A command: a module, or an object with the same names."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the command's options."""

    def run(self, options: argparse.Namespace, /) -> int:
        """Do it; returns the exit status."""


COMMANDS = {
    "init": "write an inventory from a live cluster and its runner's release",
    "lint": "judge values files by what Helm, the chart and the runner make of them",
    "symptom": "what an error of a job's log can mean, from the text alone",
    "explain": "what is known of a check, a symptom, a root cause or a fault, by its id",
    "list": "every check, with its section, effect and targets",
    "images": "what to mirror for an air gap: every image that values and suite need",
    "report": "render the HTML page of a run again, from its preflight.json",
    "schema": "print the JSON Schema of the inventory, for editors, or of preflight.json",
    "sweep": "remove what dead runs have left in the cluster: their Jobs and pods, by label and age",
}
"""The help of each command but `run` and `demo`. Modules are imported when a command runs: most take half a second."""
LANG_HELP = "language of what is printed: en or zh (default: PREFLIGHT_LANG, else that of the locale)"
USAGE = 4  # as pytest's exit status for a bad option, and not argparse's 2, which means interrupted here


class _Parser(argparse.ArgumentParser):
    """argparse's own parser, with the suite's exit status for bad usage."""

    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        super().exit(USAGE if status else 0, message)


def command_of(name: str) -> Command:
    """The module of a command."""
    return cast("Command", importlib.import_module(f"preflight.commands.{name}"))


def parser_of_commands(given: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The command line, with the options of the commands that are named in what is given, or of all commands."""
    parser = _Parser(prog="preflight", description=__doc__)
    parser.add_argument("--lang", choices=language.LANGUAGES, help=translated(LANG_HELP))
    parser.add_argument("--version", action="version", version=f"gitlab-runner-preflight {shipped.version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for own in (run_checks.RUN, run_checks.DEMO):
        _add_options(commands.add_parser(own.NAME, help=translated(own.HELP), description=own.__doc__), own)
    for name, help_text in COMMANDS.items():
        inner = commands.add_parser(
            name, help=translated(help_text), formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if given is None or name in given:
            command = command_of(name)
            inner.description = command.__doc__
            _add_options(inner, command)
    commands.add_parser("version", help=translated("print the version")).set_defaults(run=_print_version)
    completion = commands.add_parser(
        "completion", help=translated("print a script by which a shell completes these commands")
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help='such as `eval "$(preflight completion bash)"`')
    completion.set_defaults(run=_print_completion)
    return parser


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    command.add_arguments(parser)
    parser.add_argument("--lang", choices=language.LANGUAGES, default=argparse.SUPPRESS, help=LANG_HELP)
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to say helps in another language
        if action.help and action.help is not argparse.SUPPRESS:
            action.help = translated(action.help)
    parser.set_defaults(run=command.run)


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
