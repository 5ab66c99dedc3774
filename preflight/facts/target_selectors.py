"""From a fact's own targets, the one target for which it needs another fact."""

from __future__ import annotations

from preflight.fact import Targets
from preflight.inventory import Inventory, Login


def as_node(inventory: Inventory, targets: Targets) -> str:
    """The worker, as a node."""
    del inventory
    return targets["worker"]


def registry_of(inventory: Inventory, targets: Targets) -> str | None:
    """The listed registry that an image comes from."""
    host = inventory.registry_of(targets["image"]).host
    return next((name for name, registry in inventory.registries.items() if registry.host == host), None)


def registry_of_probe(inventory: Inventory, targets: Targets) -> str | None:
    """The listed registry that the probe's image comes from."""
    return registry_of(inventory, {**targets, "image": inventory.probe.image})


def probe_image(inventory: Inventory, targets: Targets) -> str:
    """The probe's image."""
    del targets
    return inventory.probe.image


def image_to_measure(inventory: Inventory, targets: Targets) -> str | None:
    """The listed image of a registry whose layers show its rate: the largest that jobs are known to use, else any."""
    registry = inventory.registries[targets["registry"]]
    images = [f"{registry.host}/{image}" for image in registry.images]
    dind = [] if inventory.dind == "none" else [inventory.dind.daemon_image, inventory.dind.client_image]
    return next((image for image in (*dind, *images) if image in images), None)


def client_image(inventory: Inventory, targets: Targets) -> str | None:
    """The image with Docker's client."""
    del targets
    return None if inventory.dind == "none" else inventory.dind.client_image


def daemon_image(inventory: Inventory, targets: Targets) -> str | None:
    """The image with Docker's daemon."""
    del targets
    return None if inventory.dind == "none" else inventory.dind.daemon_image


def registry_of_dind_pull(inventory: Inventory, targets: Targets) -> str | None:
    """The listed registry that Docker's daemon pulls from."""
    return None if inventory.dind == "none" else registry_of(inventory, {**targets, "image": inventory.dind.pull})


def image_of_dind_pull(inventory: Inventory, targets: Targets) -> str | None:
    """The listed image that Docker's daemon pulls."""
    del targets
    return inventory.dind.pull if inventory.dind != "none" and inventory.dind.pull in inventory.images else None


def registry_of_repository(inventory: Inventory, targets: Targets) -> str | None:
    """The listed registry that a repository is in."""
    return registry_of(inventory, {**targets, "image": targets["repository"]})


def build_repository(inventory: Inventory, targets: Targets) -> str | None:
    """The repository that the suite's build job pushes to."""
    del targets
    return None if inventory.pipeline == "none" else inventory.pipeline.image


def repository_of_cluster_account(inventory: Inventory, targets: Targets) -> str | None:
    """The chart repository, if its account is a Secret of the cluster: only then the API server is waited for."""
    del targets
    configured = inventory.runner.repository_credentials
    secret = configured.password if isinstance(configured, Login) else configured
    return inventory.runner.repository if secret is not None and secret.cluster_key else None
