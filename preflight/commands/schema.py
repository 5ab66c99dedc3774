"""``preflight schema``: print the JSON Schema of the inventory, for editors, or of preflight.json, for scripts."""

from __future__ import annotations

import argparse
import json
import sys

from preflight.inventory import Inventory
from preflight.pages import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "of", nargs="?", choices=("inventory", "report"), default="inventory", help="(default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the schema; returns the exit status."""
    model = Report if options.of == "report" else Inventory
    sys.stdout.write(json.dumps(model.model_json_schema(), indent=1) + "\n")
    return 0
