"""``python -m preflight sweep``: remove what runs that are dead have left in the cluster (docs/cleaning.md)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from preflight import values as helm
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubeconfig import KubeconfigError
from preflight.evidence import clean
from preflight.inventory import Inventory, InventoryError, load
from preflight.probes import cleanup
from preflight.probes.cleanup import OwnedObject

NAME = "sweep"
HELP = "remove what dead runs have left in the cluster: their Jobs and pods, by label and age"
DONE, LEFT, USAGE, UNKNOWN = 0, 1, 4, 6
"""Exit statuses: nothing of dead runs is left (or would be); something is still there; a bad inventory or option; the
API could not be asked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--inventory", type=Path, required=True, metavar="FILE", help="whose cluster and namespace")
    parser.add_argument(
        "--older-than",
        type=_minutes,
        default=0.0,
        metavar="MINUTES",
        help="only runs that have made nothing for so long; what a living run may need is never touched",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        message = f"found {text!r}, expected minutes, 0 or more"
        raise argparse.ArgumentTypeError(message)
    return minutes


def run(chosen: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    try:
        inventory = load(chosen.inventory)
        namespace = _namespace(inventory)
        api = _client(inventory)
    except (InventoryError, KubeconfigError, ValueError) as error:
        return _fail(str(error), USAGE)
    try:
        return _sweep(api, namespace, chosen, deadline=inventory.deadlines.clean)
    except ApiError as error:
        needs = f"\nit takes this right:\n{error.rule}" if error.rule else ""
        return _fail(f"the API server could not be asked: {error.message}{needs}", UNKNOWN)
    finally:
        api.close()


def _sweep(api: Api, namespace: str, chosen: argparse.Namespace, *, deadline: float) -> int:
    owned, now = cleanup.owned_objects(api, namespace), api.clock()
    gone = cleanup.of_dead_runs(owned, now=now, older_than=chosen.older_than * 60)
    if not owned:
        _say(f"namespace {namespace} holds nothing of any run")
    for one in owned:
        if one not in gone:
            why = "its run may be alive" if one.run else "it has no run's label"
            _say(f"keeping {_spelled(one, now)}: {why}")
    if chosen.dry_run:
        for one in gone:
            _say(f"would remove {_spelled(one, now)}")
        return DONE
    left = cleanup.remove_objects(api, gone, deadline=deadline)
    for one in gone:
        _say(f"{'NOT removed' if one in left else 'removed'} {_spelled(one, now)}")
    for one, why in left.items():
        _fail(f"{one.kind} {one.name}: {why}", LEFT)
    return LEFT if left else DONE


def _namespace(inventory: Inventory) -> str:
    """Where jobs' pods are, by the values file: all that runs make is there."""
    runner = inventory.runner
    values = helm.load(
        runner.values, runner.set, release=runner.release, namespace=runner.namespace, chart=runner.chart
    )
    return helm.job_shape(values).namespace


def _client(inventory: Inventory) -> Api:
    mapping = {source: target for source, target in inventory.connect.items() if source != "*"}
    routes = Routes(mapping, only_mapped="*" in inventory.connect)
    return Api(inventory.cluster.kubeconfig, inventory.cluster.context, routes=routes, deadline=inventory.deadlines.api)


def _spelled(one: OwnedObject, now: float) -> str:
    at_last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.needed_until))
    age = f"made {max(now - one.made, 0.0) / 60:.0f} min ago, bounded until {at_last}"
    return f"{one.kind} {one.namespace}/{one.name} of run {one.run or 'unknown'} ({age})"


def _fail(reason: str, status: int) -> int:
    sys.stderr.write(f"error: {clean(reason)}\n")
    return status


def _say(line: str) -> None:
    sys.stdout.write(f"{clean(line)}\n")
