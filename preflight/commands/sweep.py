"""``python -m preflight sweep``: remove what runs that are dead have left in the cluster (docs/cleaning.md)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from preflight import jobsettings
from preflight import values as helm
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubeconfig import KubeconfigError
from preflight.evidence import clean
from preflight.inventory import Inventory, InventoryError, load
from preflight.language import translated
from preflight.probes import cleanup
from preflight.probes.cleanup import OwnedObject

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
    parser.add_argument("--dry-run", action="store_true", help="only report what would be done")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        message = f"found {text!r}, expected minutes, 0 or more"
        raise argparse.ArgumentTypeError(message)
    return minutes


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    try:
        inventory = load(arguments.inventory)
        namespace = _namespace(inventory)
        api = _client(inventory)
    except (InventoryError, KubeconfigError, ValueError) as error:
        return _fail(str(error), USAGE)
    try:
        return _sweep(api, namespace, arguments, deadline=inventory.deadlines.clean)
    except ApiError as error:
        needs = f"\nit takes this right:\n{error.rule}" if error.rule else ""
        return _fail(f"the API server could not be asked: {error.message}{needs}", UNKNOWN)
    finally:
        api.close()


def _sweep(api: Api, namespace: str, arguments: argparse.Namespace, *, deadline: float) -> int:
    owned, now = cleanup.owned_objects(api, namespace), api.clock()
    of_dead = cleanup.of_dead_runs(owned, now=now, older_than=arguments.older_than * 60)
    if not owned:
        _print(f"namespace {namespace} holds nothing of any run")
    for item in owned:
        if item not in of_dead:
            reason = "its run may be alive" if item.run else "it has no run's label"
            _print(f"keeping {_describe(item, now)}: {reason}")
    if arguments.dry_run:
        for item in of_dead:
            _print(f"would remove {_describe(item, now)}")
        return DONE
    left = cleanup.remove_objects(api, of_dead, deadline=deadline)
    for item in of_dead:
        _print(f"{'NOT removed' if item in left else 'removed'} {_describe(item, now)}")
    for item, reason in left.items():
        _fail(f"{item.kind} {item.name}: {reason}", LEFT)
    return LEFT if left else DONE


def _namespace(inventory: Inventory) -> str:
    """Where jobs' pods are, by the values file: all that runs make is there."""
    values = helm.values_of(inventory.runner)
    unread = values.unread_within("runners.kubernetes.namespace")
    if unread is not None:
        msg = f"the jobs' namespace can't be read: {unread}"
        raise ValueError(msg)
    return jobsettings.job_shape(values).namespace


def _client(inventory: Inventory) -> Api:
    routes = Routes.of(inventory.connect)
    return Api(inventory.cluster.kubeconfig, inventory.cluster.context, routes=routes, deadline=inventory.deadlines.api)


def _describe(item: OwnedObject, now: float) -> str:
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.needed_until))
    age = f"made {max(now - item.made, 0.0) / 60:.0f} min ago, bounded until {end}"
    return f"{item.kind} {item.namespace}/{item.name} of run {item.run or 'unknown'} ({age})"


def _fail(reason: str, status: int) -> int:
    sys.stderr.write(translated(f"error: {clean(reason)}") + "\n")
    return status


def _print(line: str) -> None:
    sys.stdout.write(f"{translated(clean(line))}\n")
