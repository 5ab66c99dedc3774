"""Small commands beside pytest: `schema` prints the inventory's JSON Schema, `init` writes a first inventory."""

from __future__ import annotations

import argparse
import json
import sys
from types import ModuleType

from preflight import init
from preflight.inventory import Inventory

COMMANDS: dict[str, ModuleType] = {"init": init}
"""Each a module with `SUMMARY`, `add_arguments(parser)` and `run(options) -> int`."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m preflight", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("schema", help="print the inventory's JSON Schema, for editors")
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=module.SUMMARY, description=module.__doc__))
    options = parser.parse_args(arguments)
    if options.command in COMMANDS:
        status: int = COMMANDS[options.command].run(options)
        return status
    sys.stdout.write(json.dumps(Inventory.model_json_schema(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
