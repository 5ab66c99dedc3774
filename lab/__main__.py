"""`python -m lab faults` lists all faults; `python -m lab serve` keeps a lab up for hands-on use."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO

from lab import faults

_USAGE = 4  # pytest's exit status for a bad option


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("faults", help="list every fault with a sentence")
    serve = commands.add_parser("serve", help="keep a lab up and print the inventory to use")
    serve.add_argument(
        "--fault", action="append", default=[], metavar="NAME", help="break the lab in this way (repeatable)"
    )
    serve.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="time added to every answer")
    serve.add_argument("--nodes", type=int, metavar="NUMBER", help="workers of the cluster: 3 (the default) to 1000")
    serve.add_argument("--base", type=Path, metavar="FILE", help="inventory to start from (default: the repository's)")
    chosen = parser.parse_args(arguments)
    if chosen.command == "serve":
        return _serve(chosen.fault, chosen.latency, chosen.base, chosen.nodes)
    _list()
    return 0


def _list() -> None:
    injections = faults.known().values()
    width = max(len(injection.name) for injection in injections)
    for injection in injections:
        _say(f"{injection.name:{width}}  {injection.sentence}")


def _serve(names: list[str], latency: float, base: Path | None, workers: int | None) -> int:
    if not math.isfinite(latency) or latency < 0:
        return _refuse(f"--latency {latency:g}: expected seconds, 0 or more")
    from lab.lab import Lab  # noqa: PLC0415 - imports the servers' libraries

    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    try:
        lab = Lab(names, latency, base=base, workers=workers)
        lab.start()
    except (FileNotFoundError, ValueError) as error:
        return _refuse(str(error))
    try:
        for name in names:
            _say(f"{name}: {faults.known()[name].sentence}")
        _say(f"inventory: {lab.inventory}")
        _say(f"run:       pytest checks/ --inventory {lab.inventory}")
        _say("The lab is up until Ctrl-C.")
        end.wait()
    finally:
        lab.stop()
    return 0


def _refuse(reason: str) -> int:
    _say(f"error: {reason}", to=sys.stderr)
    return _USAGE


def _say(line: str, *, to: TextIO | None = None) -> None:
    print(line, file=to or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
