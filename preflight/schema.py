"""``python -m preflight schema``: print the inventory's JSON Schema, for editors."""

from __future__ import annotations

import argparse
import json
import sys

from preflight.inventory import Inventory

NAME = "schema"
HELP = "print the inventory's JSON Schema, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""
    del parser


def run(options: argparse.Namespace) -> int:
    """Print the schema; returns the exit status."""
    del options
    sys.stdout.write(json.dumps(Inventory.model_json_schema(), indent=1) + "\n")
    return 0
