"""``python -m preflight schema``: print the inventory's JSON Schema, for editors."""

from __future__ import annotations

import argparse
import json
import sys

from preflight.inventory import Inventory

NAME = "schema"
HELP = "print the inventory's JSON Schema, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""
    del parser


def run(chosen: argparse.Namespace) -> int:
    """Print it; returns the exit status."""
    del chosen
    sys.stdout.write(json.dumps(Inventory.model_json_schema(), indent=1) + "\n")
    return 0
