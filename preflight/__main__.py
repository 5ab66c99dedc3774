"""Small commands beside pytest; ``python -m preflight COMMAND --help`` says more of each."""

from __future__ import annotations

import argparse
import sys

from preflight import explain, init, lint_values, schema, sweep, symptom

COMMANDS = (init, lint_values, symptom, explain, schema, sweep)
"""One module each, with NAME, HELP, `add_arguments(parser)` and `run(options)`, which returns the exit status."""
USAGE = 4  # as pytest's exit status for a bad option, and not argparse's 2, which means interrupted here


class _Parser(argparse.ArgumentParser):
    """argparse's own parser, with the suite's exit status for bad usage."""

    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        super().exit(USAGE if status else 0, message)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _Parser(prog="python -m preflight", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        inner = commands.add_parser(module.NAME, help=module.HELP, description=module.__doc__)
        module.add_arguments(inner)
        inner.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
