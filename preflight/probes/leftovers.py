"""What an uninstalled release has left in the cluster.

``helm uninstall`` removes what its manifest names; jobs' pods and their secrets, PersistentVolumeClaims, and whatever
was made by hand stay, and block or confuse the next installation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ReleaseFault
from preflight.probes.cluster import JOB_POD
from preflight.probes.release import without_namespace
from preflight.shell_command import program

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS: Mapping[str, str] = {
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "pod": "/api/v1/namespaces/{}/pods",
    "service": "/api/v1/namespaces/{}/services",
    "configmap": "/api/v1/namespaces/{}/configmaps",
    "secret": "/api/v1/namespaces/{}/secrets",
    "serviceaccount": "/api/v1/namespaces/{}/serviceaccounts",
    "role": f"{_RBAC}/namespaces/{{}}/roles",
    "rolebinding": f"{_RBAC}/namespaces/{{}}/rolebindings",
    "persistentvolumeclaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
}
"""What the chart makes (docs/sources.md#release-names), and volumes that were added to it."""

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers(Fact):
    """Objects that are still there.

    Attributes:
        objects: as ``kind/name``.
    """

    objects: tuple[str, ...] = ()


def of_release(api: Api, release: str, namespace: str) -> Leftovers:
    """Everything that carries the release's label, and the claims of its namespace that do.

    Raises:
        Unmeasured: the API could not be asked.
    """
    return _leftovers(api, namespace, KINDS, f"release={release}", target=release)


def of_jobs(api: Api, namespace: str) -> Leftovers:
    """Pods of jobs, whatever their state.

    Raises:
        Unmeasured: the API could not be asked.
    """
    return _leftovers(api, namespace, {"pod": KINDS["pod"]}, JOB_POD, target=f"jobs in {namespace}")


def _leftovers(api: Api, namespace: str, kinds: Mapping[str, str], selector: str, *, target: str) -> Leftovers:
    began = time.monotonic()
    objects: list[str] = []
    try:
        for kind, path in kinds.items():
            listed = path.replace("{}", path_segment(namespace))
            items = api.items(listed, metadata_only=True, labelSelector=selector)
            objects += [f"{kind}/{item['metadata']['name']}" for item in items]
    except ApiError as error:
        if not without_namespace(api, namespace, error):
            raise unmeasured(error) from error
    command = program("kubectl", "-n", namespace, "get", ",".join(kinds), "-l", selector)
    return read_leftovers(
        objects, f"namespace {namespace}", target=target, command=command, took=time.monotonic() - began
    )


def read_leftovers(
    objects: Sequence[str], place: str, *, target: str, command: str = "", took: float = 0.0
) -> Leftovers:
    """The fact from the names of the objects, and where they are: ``namespace gitlab``, ``GitLab``."""
    more = f" and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
    return Leftovers(
        target=target,
        objects=tuple(objects),
        fault=ReleaseFault.LEFTOVERS if objects else None,
        cause=f"{place} still has {', '.join(objects[:_SHOWN])}{more}" if objects else "",
        evidence=Evidence(
            where="here", command=command, observed="\n".join(objects) or "No resources found", took=took
        ),
    )
