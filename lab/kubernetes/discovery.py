"""The API server's discovery documents and health checks (as recorded from v1.28.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cluster.resources import METRICS, METRICS_GROUP, METRICS_VERSION, REVIEWS, STORED

if TYPE_CHECKING:
    from lab.cluster.resources import Resource
    from lab.cluster.state import ClusterState, Raw

_GROUPS = (
    ("apiregistration.k8s.io", "v1"),
    ("apps", "v1"),
    ("events.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
    ("autoscaling", "v2", "v1"),
    ("batch", "v1"),
    ("certificates.k8s.io", "v1"),
    ("networking.k8s.io", "v1"),
    ("policy", "v1"),
    ("rbac.authorization.k8s.io", "v1"),
    ("storage.k8s.io", "v1"),
    ("admissionregistration.k8s.io", "v1"),
    ("apiextensions.k8s.io", "v1"),
    ("scheduling.k8s.io", "v1"),
    ("coordination.k8s.io", "v1"),
    ("node.k8s.io", "v1"),
    ("discovery.k8s.io", "v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", "v1beta2"),
)

CHECKS: tuple[str, ...] = (
    "ping",
    "log",
    "etcd",
    "etcd-readiness",
    "informer-sync",
    "poststarthook/start-kube-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-deprecated-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/aggregator-reload-proxy-client-cert",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-available-controller",
    "poststarthook/apiservice-wait-for-first-sync",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
    "poststarthook/apiservice-discovery-controller",
    "shutdown",
)


def document(cluster: ClusterState, parts: list[str]) -> Raw | None:
    """The discovery document at a path, given as its parts; None if there is none."""
    groups = {name: _group(name, *versions) for name, *versions in _GROUPS}
    if cluster.metrics != "absent":
        groups[METRICS_GROUP] = _group(METRICS_GROUP, METRICS_VERSION)
    match parts:
        case ["api"]:
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "192.168.1.100:6443"}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        case ["api", "v1"]:
            return _resources("", "v1")
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(groups.values())}
        case ["apis", name] if name in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **groups[name]}
        case ["apis", name, version] if name in groups:
            return _resources(name, version)
    return None


def _group(name: str, *versions: str) -> Raw:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _resources(group: str, version: str) -> Raw:
    served = [*STORED, *REVIEWS.values(), *METRICS.values()]
    entries: list[Raw] = []
    for resource in served:
        if (resource.group, resource.version) != (group, version):
            continue
        verbs = ["create"] if resource in REVIEWS.values() else ["get", "list"]
        entries.append(_entry(resource, resource.plural, list(resource.verbs) if resource in STORED else verbs))
        entries += [_entry(resource, f"{resource.plural}/{name}", ["get"]) for name in resource.subresources]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def _entry(resource: Resource, name: str, verbs: list[str]) -> Raw:
    entry: Raw = {"name": name, "singularName": "" if "/" in name else resource.kind.lower()}
    entry |= {"namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs}
    return entry | ({"shortNames": list(resource.short)} if resource.short and "/" not in name else {})
