"""Placeholders of the checks' remedies: filled where a run knows them, and otherwise left as they are."""

from __future__ import annotations

from preflight import placeholders
from preflight.guide import paragraph
from preflight.inventory import Inventory

TEXT = """2.4.7 Each resolver answers.

Why: NODE and RELEASE are words here.
Remedy (refused): run `helm uninstall RELEASE -n NAMESPACE`, then `kubectl describe node NODE`; HTTP stays.
Remedy: `dig @RESOLVER NAME`, and `$PASSWORD` stays, `helm upgrade --version VERSION -f FILE`.
"""


def filled(inventory: Inventory, *, job_namespace: str = "gitlab", **targets: str) -> tuple[str, str]:
    result = placeholders.filled(paragraph(TEXT), inventory, targets, job_namespace=job_namespace)
    return result.remedy("refused"), result.remedy(None)


def test_what_the_inventory_knows_is_filled(inventory: Inventory) -> None:
    refused, other = filled(inventory, resolver="10.0.0.2", worker="k8s-worker-1")
    assert refused == (
        "run `helm uninstall gitlab-runner -n gitlab`, then `kubectl describe node k8s-worker-1`; HTTP stays."
    )
    assert "`dig @10.0.0.2 registry.example.com`" in other
    assert f"`helm upgrade --version {inventory.runner.chart} -f {inventory.runner.files[0].name}`" in other
    assert "`$PASSWORD`" in other


def test_what_is_not_known_stays(inventory: Inventory) -> None:
    refused, other = filled(inventory, job_namespace="jobs")
    assert "-n NAMESPACE" in refused, "the jobs' namespace is another one than the release's"
    assert "node NODE" in refused
    assert "`dig @RESOLVER NAME`" in other


def test_only_commands_are_filled(inventory: Inventory) -> None:
    result = placeholders.filled(paragraph(TEXT), inventory, {"worker": "k8s-worker-1"}, job_namespace="gitlab")
    assert result.why == "NODE and RELEASE are words here."
