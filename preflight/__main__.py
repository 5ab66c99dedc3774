"""Small commands beside pytest: ``python -m preflight schema`` prints the inventory's JSON Schema."""

from __future__ import annotations

import argparse
import json
import sys

from preflight.inventory import Inventory


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m preflight", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("schema", help="print the inventory's JSON Schema, for editors")
    parser.parse_args(arguments)
    sys.stdout.write(json.dumps(Inventory.model_json_schema(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
