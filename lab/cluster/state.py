"""The cluster's objects, as raw JSON by resource, namespace and name, and the history that watches replay.

Call `touch` after changing an object in place; before the servers run that is not needed. The few settings that no
object can express are plain fields here: who may log in, which health checks fail, whether metrics are served, what
webhooks do to pods.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from lab.cluster import timestamps
from lab.cluster.podlogs import Log
from lab.cluster.resources import BY_KIND, BY_PLURAL

Raw = dict[str, Any]
Key = tuple[str, str]  # namespace (empty where there is none), name
Mutation = Callable[[Raw], None]

UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "memory-pressure"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure", "disk-pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available", "pid-pressure"),
}
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generated names


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user."""

    name: str
    groups: tuple[str, ...] = ()


class Change(NamedTuple):
    """One change of the history: what happened to which object; `before` is None if unknown."""

    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: str
    item: Raw
    before: Raw | None


@dataclass
class ClusterState:
    """The whole state of the Kubernetes API."""

    version: Raw = field(default_factory=dict)
    tokens: dict[str, User] = field(default_factory=dict)  # bearer token → its user; others get 401
    failing_checks: set[str] = field(default_factory=set)  # of /readyz and /livez, such as "etcd"
    metrics: Literal["available", "absent", "unavailable"] = "available"
    mutating: list[Mutation] = field(default_factory=list)  # webhooks: each may change a pod before it is stored
    silent_hooks: set[str] = field(default_factory=set)  # webhooks whose server never answers, by their names
    files: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)
    """Contents of containers' files, for `cat`: namespace, pod and container → path → content."""
    cluster_domain: str = "cluster.local"
    written: dict[tuple[str, str], Log] = field(default_factory=dict)  # uid, container → log of an old pod
    dropped_kubelets: set[str] = field(default_factory=set)  # nodes whose port 10250 a firewall drops
    dial_timeout: float = 30.0  # seconds until the API server gives up on such a kubelet
    secrets_seen_late: bool = False  # whether a kubelet's first pod first pulls without the pull secrets
    pull_backoff: float = 10.0  # seconds before a failed pull is tried again; doubles
    keep: int = 20_000  # changes that watches can go back to

    def __post_init__(self) -> None:
        self._objects: dict[str, dict[Key, Raw]] = {plural: {} for plural in BY_PLURAL}
        self._history: deque[Change] = deque(maxlen=self.keep)
        self._latest: dict[tuple[str, Key], Raw] = {}
        self.pace = 1.0  # how many times as fast the Job controller's clock runs
        self._listeners: list[Callable[[Change], object]] = []
        self._revision = 0
        self._event_stamp = 0

    # ---- objects

    @property
    def revision(self) -> int:
        """The newest resource version."""
        return self._revision

    def get(self, resource: str, namespace: str, name: str) -> Raw | None:
        """One object (the live one), or None."""
        return self._objects[resource].get((namespace, name))

    def list(self, resource: str, namespace: str | None = None) -> Sequence[Raw]:
        """All objects of a resource, of one namespace or all, ordered as etcd orders them."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(key for key in objects if namespace is None or key[0] == namespace)]

    def each(self, resource: str, namespace: str | None = None) -> Iterator[Raw]:
        """All objects of a resource, of one namespace or all, in no particular order."""
        objects = self._objects[resource]
        if namespace is None:
            return iter(list(objects.values()))
        return iter([item for key, item in objects.items() if key[0] == namespace])

    def add(self, item: Raw) -> Raw:
        """Store an object, given with its ``kind``, replacing one of the same name; metadata is completed."""
        resource = BY_KIND[item["kind"]]
        stored = {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
        given_metadata = stored.get("metadata", {})
        metadata = {"name": given_metadata["name"]}
        if "generateName" in given_metadata:
            metadata["generateName"] = given_metadata["generateName"]
        if resource.namespaced:
            metadata["namespace"] = given_metadata.get("namespace", "default")
        metadata |= {"uid": str(uuid.uuid4()), "resourceVersion": "", "creationTimestamp": timestamps.now()}
        stored = {"metadata": metadata | given_metadata} | {
            key: value for key, value in stored.items() if key != "metadata"
        }
        key = _key(stored)
        existed = key in self._objects[resource.plural]
        self._objects[resource.plural][key] = stored
        self._changed("MODIFIED" if existed else "ADDED", resource.plural, stored)
        return stored

    def touch(self, resource: str, item: Raw) -> None:
        """Give an object that was changed in place a new version, and notify the watches."""
        if self._objects[resource].get(_key(item)) is item:
            self._changed("MODIFIED", resource, item)

    def replace(self, resource: str, item: Raw) -> None:
        """Replace the object of the same name."""
        self._objects[resource][_key(item)] = item
        self._changed("MODIFIED", resource, item)

    def remove(self, resource: str, namespace: str, name: str) -> Raw | None:
        """Remove an object at once; None if there is none."""
        item = self._objects[resource].pop((namespace, name), None)
        if item is not None:
            self._changed("DELETED", resource, item)
        return item

    def hasten(self, pace: float) -> None:
        """Speed up the Job controller's clock, so that Jobs reach their deadlines and times to live."""
        self.pace = pace
        for job in self.each("jobs"):
            self.touch("jobs", job)

    def unique_name(self, prefix: str) -> str:
        """A name as ``generateName`` makes it."""
        return prefix + "".join(random.choices(_LETTERS, k=5))  # noqa: S311 - a name, no secret

    # ---- history

    def subscribe(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Call `listener` at every change, in the thread that makes it; the result unsubscribes."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def compacted(self) -> int:
        """The oldest version in the history."""
        return self._history[0].version - 1 if self._history else self._revision

    def since(self, version: int) -> Sequence[Change] | None:
        """The changes after a version, or None if the history does not go back that far."""
        if version < self.compacted:
            return None
        changes: list[Change] = []
        for change in reversed(self._history):
            if change.version <= version:
                break
            changes.append(change)
        return changes[::-1]

    def forget(self) -> None:
        """Drop the history, as etcd's compaction does: older watches get 410."""
        self._history.clear()

    def _changed(self, what: Literal["ADDED", "MODIFIED", "DELETED"], resource: str, item: Raw) -> None:
        self._revision += 1
        item["metadata"]["resourceVersion"] = str(self._revision)
        snapshot = copied(item)
        key = (resource, _key(item))
        change = Change(self._revision, what, resource, snapshot, self._latest.get(key))
        if what == "DELETED":
            self._latest.pop(key, None)
        else:
            self._latest[key] = snapshot
        self._history.append(change)
        for listener in list(self._listeners):
            listener(change)

    # ---- events

    def event(
        self,
        involved: Raw,
        kind: str,
        reason: str,
        message: str,
        *,
        warning: bool = False,
        component: str,
        host: str = "",
        container: str = "",
    ) -> None:
        """Record an event about an object as a component reports it; a repeated one only increases the count."""
        metadata = involved["metadata"]
        about: Raw = {"kind": kind} | {key: metadata[key] for key in ("namespace", "name", "uid") if key in metadata}
        about |= {"apiVersion": BY_KIND[kind].group_version, "resourceVersion": metadata["resourceVersion"]}
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        namespace = metadata.get("namespace", "default")
        level = "Warning" if warning else "Normal"
        for event in self._objects["events"].values():
            if (
                event["reason"] == reason
                and event["message"] == message
                and event["involvedObject"]["uid"] == about["uid"]
                and event["involvedObject"].get("fieldPath", "") == about.get("fieldPath", "")
            ):
                event["count"] = event.get("count", 1) + 1
                event["lastTimestamp"] = timestamps.now()
                self.touch("events", event)
                return
        self._event_stamp = max(self._event_stamp + 1, time.time_ns())
        item: Raw = {
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{self._event_stamp:x}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
        }
        if component == "default-scheduler":  # writes events of the newer form
            item |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "type": level}
            item |= {
                "eventTime": timestamps.now_exactly(),
                "action": "Binding" if reason == "Scheduled" else "Scheduling",
            }
            item |= {"reportingComponent": component, "reportingInstance": f"{component}-k8s-master"}
        else:
            source = {"component": component} | ({"host": host} if host else {})
            item |= {
                "source": source,
                "firstTimestamp": timestamps.now(),
                "lastTimestamp": timestamps.now(),
                "count": 1,
            }
            item |= {"type": level, "eventTime": None, "reportingComponent": component, "reportingInstance": host}
        self.add(item)

    # ---- changes for faults

    def node(self, name: str) -> Raw:
        """A node's object, to be changed in place."""
        return self._objects["nodes"]["", name]

    def namespace(self, name: str) -> Raw:
        """A namespace's object, to be changed in place."""
        return self._objects["namespaces"]["", name]

    def set_labels(self, resource: str, namespace: str, name: str, labels: dict[str, str | None]) -> None:
        """Set labels of an object; None removes one."""
        item = self._objects[resource][namespace, name]
        merged = {**item["metadata"].get("labels", {}), **labels}
        item["metadata"]["labels"] = {key: value for key, value in merged.items() if value is not None}
        self.touch(resource, item)

    def enforce(self, namespace: str, level: Literal["privileged", "baseline", "restricted"]) -> None:
        """Pod Security admission refuses pods of this namespace that are not within `level`."""
        self.set_labels("namespaces", "", namespace, {"pod-security.kubernetes.io/enforce": level})

    def taint(self, name: str, key: str, value: str = "", effect: str = "NoSchedule") -> None:
        """Taint a node, as ``kubectl taint nodes NAME KEY=VALUE:EFFECT`` does."""
        item = self.node(name)
        taint = {"key": key} | ({"value": value} if value else {}) | {"effect": effect}
        if key.startswith("node.kubernetes.io/"):
            taint["timeAdded"] = timestamps.now()
        taints = item["spec"].setdefault("taints", [])
        taints[:] = [other for other in taints if (other["key"], other["effect"]) != (key, effect)] + [taint]
        self.touch("nodes", item)

    def cordon(self, name: str) -> None:
        """Mark a node unschedulable, as ``kubectl cordon`` does."""
        self.node(name)["spec"]["unschedulable"] = True
        self.taint(name, UNSCHEDULABLE)

    def press(self, name: str, kind: Literal["MemoryPressure", "DiskPressure", "PIDPressure"]) -> None:
        """A node's kubelet reports pressure; the node gets the corresponding taint."""
        reason, message, taint = _PRESSURES[kind]
        _condition(self.node(name), kind, "True", reason, message)
        self.taint(name, f"node.kubernetes.io/{taint}")

    def stop_kubelet(self, name: str) -> None:
        """A node's kubelet stops reporting: unknown conditions, taints, an event, and no pod starts there."""
        item = self.node(name)
        for condition in item["status"]["conditions"]:
            if condition["type"] != "NetworkUnavailable":
                reason = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
                _condition(item, condition["type"], "Unknown", *reason)
        for effect in ("NoSchedule", "NoExecute"):
            self.taint(name, UNREACHABLE, effect=effect)
        message = f"Node {name} status is now: NodeNotReady"
        self.event(item, "Node", "NodeNotReady", message, component="node-controller")

    def kubelet_runs(self, name: str) -> bool:
        """Whether a node's kubelet runs (its Ready condition is not unknown)."""
        item = self.get("nodes", "", name)
        return item is not None and any(
            condition["type"] == "Ready" and condition["status"] != "Unknown"
            for condition in item["status"]["conditions"]
        )

    def remove_node(self, name: str) -> None:
        """Take a node out of the cluster, with the pods that were on it."""
        self.remove("nodes", "", name)
        for pod in self.each("pods"):
            if pod["spec"].get("nodeName") == name:
                self.remove("pods", *_key(pod))

    def drop_endpoints(self, namespace: str, service: str) -> None:
        """None of the pods behind a service is ready."""
        endpoints = self._objects["endpoints"][namespace, service]
        for subset in endpoints.get("subsets", []):
            subset["notReadyAddresses"] = subset.pop("addresses", []) + subset.get("notReadyAddresses", [])
        self.touch("endpoints", endpoints)
        for endpoint_slice in self.list("endpointslices", namespace):
            if endpoint_slice["metadata"].get("labels", {}).get("kubernetes.io/service-name") == service:
                for endpoint in endpoint_slice["endpoints"]:
                    endpoint["conditions"] = {"ready": False, "serving": False, "terminating": False}
                self.touch("endpointslices", endpoint_slice)
        selector = (self.get("services", namespace, service) or {}).get("spec", {}).get("selector") or {}
        for pod in self.list("pods", namespace):
            if selector and selector.items() <= pod["metadata"].get("labels", {}).items():
                _unready(pod)
                self.touch("pods", pod)

    def remove_service(self, namespace: str, name: str) -> None:
        """Delete a service, and with it its endpoints."""
        self.remove("services", namespace, name)
        self.remove("endpoints", namespace, name)
        for endpoint_slice in self.list("endpointslices", namespace):
            if endpoint_slice["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name:
                self.remove("endpointslices", *_key(endpoint_slice))

    def lose_metrics(self) -> None:
        """Keep the metrics API registered without its server: 503."""
        self.metrics = "unavailable"
        self.remove_service("kube-system", "metrics-server")
        service = self.get("apiservices", "", "v1beta1.metrics.k8s.io")
        if service is not None:
            condition = {"type": "Available", "status": "False", "lastTransitionTime": timestamps.now()}
            condition |= {"reason": "ServiceNotFound"}
            condition |= {"message": 'service/metrics-server in "kube-system" is not present'}
            service["status"]["conditions"] = [condition]
            self.touch("apiservices", service)

    def drop_metrics(self) -> None:
        """Remove the metrics API: 404."""
        self.metrics = "absent"
        self.remove("apiservices", "", "v1beta1.metrics.k8s.io")
        self.remove_service("kube-system", "metrics-server")

    def revoke(self, resource: str, *verbs: str, group: str = "") -> None:
        """Remove these verbs (all, if none is given) on a resource from every role but the cluster's admins."""
        for kind in ("clusterroles", "roles"):
            for role in self.each(kind):
                rules: list[Raw] = []
                for rule in role.get("rules") or []:
                    if resource not in rule.get("resources", []) or group not in rule.get("apiGroups", []):
                        rules.append(rule)
                        continue
                    others = [name for name in rule["resources"] if name != resource]
                    remaining = [verb for verb in rule["verbs"] if verbs and verb not in verbs]
                    rules += [{**rule, "resources": others}] if others else []
                    rules += [{**rule, "resources": [resource], "verbs": remaining}] if remaining else []
                role["rules"] = rules
                self.touch(kind, role)

    # ---- queries of the rest of the lab

    def service_address(self, name: str) -> str:
        """The address of a cluster DNS name (``kube-dns.kube-system.svc.cluster.local``), or empty."""
        labels = name.rstrip(".").removesuffix("." + self.cluster_domain).split(".")
        if len(labels) != 3 or labels[2] != "svc":  # noqa: PLR2004 - service, namespace, "svc"
            return ""
        item = self.get("services", labels[1], labels[0])
        address = str(item["spec"].get("clusterIP", "")) if item else ""
        return "" if address == "None" else address

    def ready_endpoints(self, namespace: str, service: str) -> tuple[str, ...]:
        """The addresses of the ready pods behind a service."""
        item = self.get("endpoints", namespace, service)
        subsets = (item or {}).get("subsets") or []
        return tuple(address["ip"] for subset in subsets for address in subset.get("addresses") or [])


def copied(value: Any) -> Any:
    """A deep copy of JSON; several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def _key(item: Raw) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _condition(node: Raw, kind: str, status: str, reason: str, message: str) -> None:
    for condition in node["status"]["conditions"]:
        if condition["type"] == kind:
            condition |= {
                "status": status,
                "lastTransitionTime": timestamps.now(),
                "reason": reason,
                "message": message,
            }


def _unready(pod: Raw) -> None:
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    for condition in pod["status"]["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition |= {"status": "False", "lastTransitionTime": timestamps.now(), "reason": "ContainersNotReady"}
            condition["message"] = f"containers with unready status: [{names}]"
    for status in pod["status"]["containerStatuses"]:
        status["ready"] = False
