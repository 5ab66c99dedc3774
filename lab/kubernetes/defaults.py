"""The API server's defaults for objects, set before admission."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from lab.kubernetes.quantities import Quantity, amounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.state import Raw


_NOT_KEPT_EMPTY = {
    *("add", "annotations", "args", "command", "containers", "drop", "env", "envFrom", "finalizers", "hostAliases"),
    *("imagePullSecrets", "initContainers", "labels", "limits", "nameservers", "nodeSelector", "options"),
    *("ownerReferences", "ports", "requests", "searches", "tolerations", "volumeMounts", "volumes"),
}


def containers_of(spec: Raw) -> list[Raw]:
    """A pod's containers, init containers first, in the order of admission."""
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def fill_in(plural: str, item: Raw) -> None:
    """Set the defaults of a new object."""
    filler = _FILLERS.get(plural)
    if filler is not None:
        filler(item)


def without_empty(value: Any) -> Any:
    """A new object without nulls, and without the empty lists and maps that the server does not store."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_empty(item)
        for key, item in value.items()
        if item is not None and (item or key not in _NOT_KEPT_EMPTY)
    }


def quality(spec: Raw) -> str:
    """A pod's quality of service class, from its containers' requests and limits."""
    kinds = ("cpu", "memory")
    requests: set[tuple[str, str]] = set()
    guaranteed = True
    for container in containers_of(spec):
        resources = container.get("resources") or {}
        requested, limits = amounts(resources.get("requests")), amounts(resources.get("limits"))
        requests |= {
            (container["name"], kind) for kind in kinds for part in (requested, limits) if _positive(part, kind)
        }
        guaranteed &= all(
            _positive(limits, kind) and requested.get(kind, limits[kind]).value == limits[kind].value for kind in kinds
        )
    if not requests:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(part: dict[str, Quantity], kind: str) -> bool:
    return kind in part and part[kind].value > 0


def _pod_template(spec: Raw) -> None:
    """The defaults of both templates and pods."""
    for container in containers_of(spec):
        image = str(container.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        latest = "@" not in image and tag in ("", "latest")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")
    for volume in spec.get("volumes") or []:
        for kind in ("secret", "configMap", "projected"):
            if isinstance(volume.get(kind), dict):
                volume[kind].setdefault("defaultMode", 0o644)
        if len(volume) == 1:
            volume["emptyDir"] = {}
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _pod(item: Raw) -> None:
    spec = item.setdefault("spec", {})
    _pod_template(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in containers_of(spec):
        limits = (container["resources"] or {}).get("limits") or {}
        if limits:
            container["resources"]["requests"] = limits | (container["resources"].get("requests") or {})
    item["status"] = {"phase": "Pending", "qosClass": quality(spec)}


def _job(item: Raw) -> None:
    spec = item.setdefault("spec", {})
    template = spec.setdefault("template", {})
    _pod_template(template.setdefault("spec", {}))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec |= {"completions": 1, "parallelism": 1}
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    # The selector and the labels that tie the pods to the Job, as the Job strategy generates them.
    identity, name = item["metadata"]["uid"], item["metadata"]["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": identity,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": identity,
        "job-name": name,
    }
    template_metadata = template.setdefault("metadata", {})
    template["metadata"] = (
        {"creationTimestamp": None} | template_metadata | {"labels": labels | (template_metadata.get("labels") or {})}
    )
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": identity}}
    if not item["metadata"].get("labels"):
        item["metadata"]["labels"] = dict(template["metadata"]["labels"])
    item["metadata"]["generation"] = 1
    item["status"] = {}


def _limit_range(item: Raw) -> None:
    for limit in item.get("spec", {}).get("limits") or []:
        if limit.get("type") != "Container":
            continue
        minimum, maximum = limit.get("min") or {}, limit.get("max") or {}
        default = maximum | (limit.get("default") or {})
        requested = minimum | default | (limit.get("defaultRequest") or {})
        if default:
            limit["default"] = default
        if requested:
            limit["defaultRequest"] = requested


def _quota(item: Raw) -> None:
    hard = item.get("spec", {}).get("hard") or {}
    item["status"] = {"hard": dict(hard), "used": dict.fromkeys(hard, "0")}


def _secret(item: Raw) -> None:
    item.setdefault("type", "Opaque")
    plain: dict[str, Any] = item.pop("stringData", None) or {}
    coded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    if coded:
        item["data"] = (item.get("data") or {}) | coded


def _namespace(item: Raw) -> None:
    item["spec"] = {"finalizers": ["kubernetes"]}
    item["status"] = {"phase": "Active"}
    labels = item["metadata"].get("labels") or {}
    item["metadata"]["labels"] = {"kubernetes.io/metadata.name": item["metadata"]["name"]} | labels


_FILLERS: dict[str, Callable[[Raw], None]] = {
    "pods": _pod,
    "jobs": _job,
    "limitranges": _limit_range,
    "resourcequotas": _quota,
    "secrets": _secret,
    "namespaces": _namespace,
}
