"""The kinds of objects that the lab's API serves, and their names in paths, lists and messages."""

from __future__ import annotations

from dataclasses import dataclass

_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object. `plural` is unique among stored kinds, and their key in `ClusterState`."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def group_version(self) -> str:
        """As in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name in messages: ``pods``, ``jobs.batch``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that it supports."""
        return _ALL_VERBS


_RBAC = "rbac.authorization.k8s.io"
_HOOKS = "admissionregistration.k8s.io"

STORED: tuple[Resource, ...] = (
    Resource("configmaps", "ConfigMap", short=("cm",)),
    Resource("endpoints", "Endpoints", short=("ep",)),
    Resource("events", "Event", short=("ev",)),
    Resource("limitranges", "LimitRange", short=("limits",)),
    Resource("namespaces", "Namespace", namespaced=False, short=("ns",)),
    Resource("nodes", "Node", namespaced=False, short=("no",)),
    Resource("persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",)),
    Resource("pods", "Pod", short=("po",), subresources=("log", "status", "exec", "attach", "proxy")),
    Resource("resourcequotas", "ResourceQuota", short=("quota",)),
    Resource("secrets", "Secret"),
    Resource("serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",)),
    Resource("services", "Service", short=("svc",)),
    Resource("apiservices", "APIService", "apiregistration.k8s.io", namespaced=False),
    Resource("daemonsets", "DaemonSet", "apps", short=("ds",)),
    Resource("deployments", "Deployment", "apps", short=("deploy",)),
    Resource("replicasets", "ReplicaSet", "apps", short=("rs",)),
    Resource("statefulsets", "StatefulSet", "apps", short=("sts",)),
    Resource("jobs", "Job", "batch", subresources=("status",)),
    Resource("endpointslices", "EndpointSlice", "discovery.k8s.io"),
    Resource("networkpolicies", "NetworkPolicy", "networking.k8s.io", short=("netpol",)),
    Resource("poddisruptionbudgets", "PodDisruptionBudget", "policy", short=("pdb",)),
    Resource("clusterroles", "ClusterRole", _RBAC, namespaced=False),
    Resource("clusterrolebindings", "ClusterRoleBinding", _RBAC, namespaced=False),
    Resource("roles", "Role", _RBAC),
    Resource("rolebindings", "RoleBinding", _RBAC),
    Resource("priorityclasses", "PriorityClass", "scheduling.k8s.io", namespaced=False, short=("pc",)),
    Resource("runtimeclasses", "RuntimeClass", "node.k8s.io", namespaced=False),
    Resource("csidrivers", "CSIDriver", "storage.k8s.io", namespaced=False),
    Resource("storageclasses", "StorageClass", "storage.k8s.io", namespaced=False, short=("sc",)),
    Resource("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", _HOOKS, namespaced=False),
    Resource("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", _HOOKS, namespaced=False),
)

BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in STORED}
BY_KIND: dict[str, Resource] = {resource.kind: resource for resource in STORED}
BY_PATH: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.plural): resource for resource in STORED
}

# Answered when created; never stored.
REVIEWS: dict[tuple[str, str, str], Resource] = {
    (review.group, review.version, review.plural): review
    for review in (
        Resource("selfsubjectaccessreviews", "SelfSubjectAccessReview", "authorization.k8s.io", namespaced=False),
        Resource("selfsubjectrulesreviews", "SelfSubjectRulesReview", "authorization.k8s.io", namespaced=False),
        Resource("subjectaccessreviews", "SubjectAccessReview", "authorization.k8s.io", namespaced=False),
        Resource("localsubjectaccessreviews", "LocalSubjectAccessReview", "authorization.k8s.io"),
        Resource("selfsubjectreviews", "SelfSubjectReview", "authentication.k8s.io", namespaced=False),
    )
}

METRICS_GROUP = "metrics.k8s.io"
METRICS_VERSION = "v1beta1"
NODE_METRICS = Resource("nodes", "NodeMetrics", METRICS_GROUP, METRICS_VERSION, namespaced=False)
POD_METRICS = Resource("pods", "PodMetrics", METRICS_GROUP, METRICS_VERSION)
METRICS: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.plural): resource for resource in (NODE_METRICS, POD_METRICS)
}

PODS = BY_PLURAL["pods"]
NODES = BY_PLURAL["nodes"]
NAMESPACES = BY_PLURAL["namespaces"]
SERVICE_ACCOUNTS = BY_PLURAL["serviceaccounts"]
