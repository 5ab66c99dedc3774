"""``preflight images``: every image that the runner, its jobs and the suite's pods pull, to mirror for an air gap."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from preflight import charts, jobsettings, values
from preflight.inventory import Inventory, InventoryError, load
from preflight.language import translated
from preflight.values import Values

LISTED, USAGE = 0, 4
"""Exit statuses: they are listed; the inventory or its values can't be read."""
_REGISTRY, _IMAGE = (
    "registry.gitlab.com",
    "gitlab-org/gitlab-runner",
)  # the chart's own (docs/sources.md#chart-defaults)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--inventory", required=True, metavar="FILE", help="the environment (see inventory.yaml)")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(chosen: argparse.Namespace) -> int:
    """Print the images; returns the exit status."""
    try:
        listed = dict(images(load(Path(chosen.inventory))))
    except (InventoryError, ValueError, OSError) as error:
        sys.stderr.write(translated(f"error: {error}") + "\n")
        return USAGE
    if chosen.json:
        rows = [{"image": image, "used_by": users} for image, users in listed.items()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return LISTED
    width = max(map(len, listed), default=0)
    for image, users in listed.items():
        sys.stdout.write(f"{image:<{width}}  # {', '.join(users)}\n")
    return LISTED


def images(inventory: Inventory) -> Iterator[tuple[str, list[str]]]:
    """Each image as a full reference, and what pulls it.

    Raises:
        ValueError: the values' ``runners.config`` can't be read.
    """
    settings = values.values_of(inventory.runner)
    shape = jobsettings.job_shape(settings)
    users: dict[str, list[str]] = {}

    def add(image: str, user: str) -> None:
        if image and user not in users.setdefault(image, []):
            users[image].append(user)

    add(manager_image(settings, inventory.runner.chart), "managers")
    add(shape.helper_image, "helper container of every job")
    add(shape.image, "jobs without an image of their own")
    for service in settings.kubernetes.get("services") or ():
        add(str(service.get("name", "")), "service of every job")
    add(inventory.probe.image, "probe pods of this suite")
    for registry in inventory.registries.values():
        for image in registry.images:
            add(f"{registry.host}/{image}", "jobs, by the inventory")
    if inventory.dind != "none":
        add(inventory.dind.client_image, "Docker-in-Docker jobs")
        add(inventory.dind.daemon_image, "Docker-in-Docker service")
    yield from users.items()


def manager_image(settings: Values, chart: str) -> str:
    """The image of the managers' container, as the chart puts it together."""
    tag = str(settings.get("image.tag") or "")
    if not tag:
        keys = charts.keys(chart)
        tag = f"alpine-v{settings.runner}" if settings.runner.count(".") > 1 else f"alpine-v{keys.runner}.0"
    registry = settings.get("image.registry") or _REGISTRY
    return f"{registry}/{settings.get('image.image') or _IMAGE}:{tag}"
