"""Admission: how the cluster changes an object before it is stored, and why it refuses one.

The plugins run in the API server's order: those that change an object (NamespaceLifecycle, LimitRanger, ServiceAccount,
priorities, tolerations, webhooks), then validation, then those that only validate (LimitRanger, PodSecurity, and
ResourceQuota last).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from lab.cluster.resources import BY_PLURAL, NAMESPACES, PODS
from lab.kubernetes.defaults import containers_of, quality
from lab.kubernetes.podsecurity import level_and_label, violations
from lab.kubernetes.quantities import Quantity, amounts, quantity, total
from lab.kubernetes.refusals import forbidden, no_answer, not_found
from lab.kubernetes.selectors import matches_labels
from lab.kubernetes.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster.resources import Resource
    from lab.cluster.state import ClusterState, Raw

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_PATIENCE = 300  # seconds that a pod stays on a node that is not ready (DefaultTolerationSeconds)
_FINAL = ("Succeeded", "Failed")
Amounts = dict[str, Quantity]
_COUNTED = ("configmaps", "secrets", "services", "resourcequotas", "persistentvolumeclaims")


@dataclass
class Admission:
    """The admission of one object. `name` is its name in messages: ``generateName`` until a name is generated."""

    cluster: ClusterState
    resource: Resource
    item: Raw
    warnings: list[str] = field(default_factory=list)

    def admit(self) -> None:
        """Change and validate the object; raises `Refusal`."""
        namespace = self.item["metadata"].get("namespace", "")
        if self.resource.namespaced and self.cluster.get("namespaces", "", namespace) is None:
            raise not_found(NAMESPACES, namespace)
        if self.resource is PODS:
            self._limit_defaults(namespace)
            self._service_account(namespace)
            self._priority()
            _tolerations(self.item["spec"])
            for mutate in self.cluster.mutating:
                mutate(self.item)
            self.item["status"]["qosClass"] = quality(self.item["spec"])
        metadata = self.item["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self.cluster.unique_name(metadata["generateName"])
        validate(self.resource, self.item)
        if self.resource is PODS:
            self._limits(namespace)
        self._pod_security(namespace)
        if self.resource is PODS:
            self._webhooks(namespace)
        self._quotas(namespace)

    @property
    def name(self) -> str:
        """The object's name, as far as it has one."""
        metadata = self.item["metadata"]
        return str(metadata.get("name") or metadata.get("generateName") or "")

    def _refuse(self, why: str) -> None:
        raise forbidden(self.resource, self.name, why)

    # ---- LimitRanger

    def _limit_items(self, namespace: str) -> Iterator[Raw]:
        for limit_range in self.cluster.list("limitranges", namespace):
            yield from limit_range["spec"].get("limits") or []

    def _limit_defaults(self, namespace: str) -> None:
        notes: list[str] = []
        for limit in self._limit_items(namespace):
            if limit["type"] != "Container":
                continue
            default_limits, default_requests = limit.get("default") or {}, limit.get("defaultRequest") or {}
            for kind, containers in (("init container", "initContainers"), ("container", "containers")):
                for container in self.item["spec"].get(containers) or []:
                    for part, values in (("request", default_requests), ("limit", default_limits)):
                        present = container["resources"].get(part + "s") or {}
                        missing = {key: value for key, value in values.items() if key not in present}
                        if missing:
                            container["resources"][part + "s"] = present | missing
                            notes.append(f"{', '.join(sorted(missing))} {part} for {kind} {container['name']}")
        if notes:
            annotations = self.item["metadata"].setdefault("annotations", {})
            annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + "; ".join(notes)

    def _limits(self, namespace: str) -> None:
        messages: list[str] = []
        spec = self.item["spec"]
        for limit in self._limit_items(namespace):
            if limit["type"] == "Container":
                for container in containers_of(spec):
                    requests = amounts(container["resources"].get("requests"))
                    messages += _violations(limit, requests, amounts(container["resources"].get("limits")))
            elif limit["type"] == "Pod":
                messages += _violations(limit, effective(spec, "requests"), effective(spec, "limits"))
        if messages:
            self._refuse(messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]")

    # ---- ServiceAccount

    def _service_account(self, namespace: str) -> None:
        spec = self.item["spec"]
        name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self.cluster.get("serviceaccounts", namespace, name)
        if account is None:
            self._refuse(f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found')
            return
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        wanted = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken"))
        if wanted is not False:
            _mount_token(spec, self.cluster.unique_name("kube-api-access-"))

    # ---- Priority and RuntimeClass

    def _priority(self) -> None:
        spec = self.item["spec"]
        name = spec.get("priorityClassName")
        priority = self.cluster.get("priorityclasses", "", name) if name else None
        if name and priority is None:
            self._refuse(f"no PriorityClass with name {name} was found")
        spec["priority"] = priority["value"] if priority else 0
        spec["preemptionPolicy"] = (priority or {}).get("preemptionPolicy", "PreemptLowerPriority")
        runtime = spec.get("runtimeClassName")
        if runtime and self.cluster.get("runtimeclasses", "", runtime) is None:
            self._refuse(f'pod rejected: RuntimeClass "{runtime}" not found')

    # ---- PodSecurity

    def _pod_security(self, namespace: str) -> None:
        spec = self.item.get("spec") or {}
        if self.resource.plural == "jobs":
            spec = spec["template"]["spec"]
        elif self.resource is not PODS:
            return
        home = self.cluster.get("namespaces", "", namespace) or {"metadata": {}}
        labels = home["metadata"].get("labels") or {}
        level, label = level_and_label(labels, "enforce")
        reason = violations(spec, level)
        if reason and self.resource is PODS:
            self._refuse(f'violates PodSecurity "{label}": {reason}')
        level, label = level_and_label(labels, "warn")
        reason = violations(spec, level)
        if reason:
            self.warnings.append(f'would violate PodSecurity "{label}": {reason}')

    # ---- validating webhooks

    def _webhooks(self, namespace: str) -> None:
        """Refuse the pod if a webhook for it fails closed and its server does not answer."""
        home = self.cluster.get("namespaces", "", namespace) or {"metadata": {}}
        labels = home["metadata"].get("labels") or {}
        for configuration in self.cluster.list("validatingwebhookconfigurations"):
            for hook in configuration.get("webhooks") or ():
                silent = hook["name"] in self.cluster.silent_hooks and hook["failurePolicy"] == "Fail"
                if silent and matches_labels(labels, hook.get("namespaceSelector")):
                    service = hook["clientConfig"]["service"]
                    host_and_path = f"{service['name']}.{service['namespace']}.svc:{service['port']}{service['path']}"
                    raise no_answer(hook["name"], f"https://{host_and_path}", hook["timeoutSeconds"])

    # ---- ResourceQuota

    def _quotas(self, namespace: str) -> None:
        requested = usage(self.resource, self.item)
        for item in self.cluster.list("resourcequotas", namespace):
            hard = amounts(item["spec"].get("hard"))
            name = item["metadata"]["name"]
            if self.resource is PODS:
                self._require_amounts(name, hard)
            used = used_in(self.cluster, namespace)
            over = [
                kind
                for kind in sorted(hard)
                if kind in requested and used.get(kind, _NOTHING).value + requested[kind].value > hard[kind].value
            ]
            if over:
                requested_text = ",".join(f"{kind}={requested[kind]}" for kind in over)
                used_text = ",".join(f"{kind}={used.get(kind, _NOTHING)}" for kind in over)
                hard_text = ",".join(f"{kind}={hard[kind]}" for kind in over)
                self._refuse(
                    f"exceeded quota: {name}, requested: {requested_text}, used: {used_text}, limited: {hard_text}"
                )

    def _require_amounts(self, quota: str, hard: Amounts) -> None:
        missing: list[str] = []
        for kind in sorted(hard):
            part, _, resource = kind.rpartition(".")
            if resource not in ("cpu", "memory") or part not in ("", "requests", "limits"):
                continue
            containers = [
                container["name"]
                for container in containers_of(self.item["spec"])
                if resource not in (container["resources"].get(part or "requests") or {})
            ]
            if containers:
                missing.append(f"{kind} for: {','.join(sorted(containers))}")
        if missing:
            self._refuse(f"failed quota: {quota}: must specify {'; '.join(missing)}")


_NOTHING = Quantity(Decimal(0))


def effective(spec: Raw, part: str) -> Amounts:
    """A pod's effective resources: those of its containers together, or of its largest init container if higher."""
    amounts_of_pod = total(
        [amounts((container.get("resources") or {}).get(part)) for container in spec.get("containers") or []]
    )
    for container in spec.get("initContainers") or []:
        for kind, amount in amounts((container.get("resources") or {}).get(part)).items():
            if kind not in amounts_of_pod or amount.value > amounts_of_pod[kind].value:
                amounts_of_pod[kind] = amount
    overhead = amounts(spec.get("overhead")) if part == "requests" else {}
    return total([amounts_of_pod, overhead])


def usage(resource: Resource, item: Raw) -> Amounts:
    """What an object counts in quotas, by the quotas' resource names."""
    single = Quantity(Decimal(1))
    counts = {f"count/{resource.qualified}": single}
    if resource.plural in _COUNTED:
        counts[resource.plural] = single
    if resource is not PODS:
        return counts
    counts["pods"] = single
    for part in ("requests", "limits"):
        for kind, amount in effective(item["spec"], part).items():
            counts[f"{part}.{kind}"] = amount
            if part == "requests":
                counts[kind] = amount
    return counts


def used_in(cluster: ClusterState, namespace: str) -> Amounts:
    """What the objects of a namespace count in its quotas; pods that have ended count as objects only."""
    counted_objects: list[Amounts] = []
    for plural, resource in BY_PLURAL.items():
        if not resource.namespaced or plural == "events":
            continue
        for item in cluster.list(plural, namespace):
            counted = usage(resource, item)
            if plural == "pods" and item["status"].get("phase") in _FINAL:
                counted = {kind: amount for kind, amount in counted.items() if kind.startswith("count/")}
            counted_objects.append(counted)
    return total(counted_objects)


def count_quotas(cluster: ClusterState, namespace: str) -> None:
    """Update the used amounts in a namespace's quotas, as the quota controller does."""
    quotas = cluster.list("resourcequotas", namespace)
    used = used_in(cluster, namespace) if quotas else {}
    for item in quotas:
        hard = item["spec"].get("hard") or {}
        status = {
            "hard": {kind: str(quantity(str(amount))) for kind, amount in hard.items()},
            "used": {kind: str(used.get(kind, _NOTHING)) for kind in hard},
        }
        if item.get("status") != status:
            item["status"] = status
            cluster.touch("resourcequotas", item)


def _violations(limit: Raw, requests: Amounts, limits: Amounts) -> Iterator[str]:
    """Violations of a LimitRange's limit by a container or pod, in LimitRanger's words."""
    for kind, least in sorted(amounts(limit.get("min")).items()):
        rule = f"minimum {kind} usage per {limit['type']} is {least}"
        yield from _too_little(rule, requests.get(kind), limits.get(kind), least)
    for kind, greatest in sorted(amounts(limit.get("max")).items()):
        rule = f"maximum {kind} usage per {limit['type']} is {greatest}"
        yield from _too_much(rule, requests.get(kind), limits.get(kind), greatest)
    for kind, ratio in sorted(amounts(limit.get("maxLimitRequestRatio")).items()):
        rule = f"{kind} max limit to request ratio per {limit['type']} is {ratio}"
        request, upper = requests.get(kind, _NOTHING).value, limits.get(kind, _NOTHING).value
        if not request or not upper:
            yield f"{rule}, but no request is specified or request is 0"
        elif upper / request > ratio.value:
            yield f"{rule}, but provided ratio is {upper / request:.6f}"


def _too_little(rule: str, request: Quantity | None, limit: Quantity | None, least: Quantity) -> Iterator[str]:
    if request is None:
        yield f"{rule}. No request is specified"
    elif request.value < least.value:
        yield f"{rule}, but request is {request}"
    elif limit is not None and limit.value < least.value:
        yield f"{rule}, but limit is {limit}"


def _too_much(rule: str, request: Quantity | None, limit: Quantity | None, greatest: Quantity) -> Iterator[str]:
    if limit is None:
        yield f"{rule}. No limit is specified"
    elif limit.value > greatest.value:
        yield f"{rule}, but limit is {limit}"
    elif request is not None and request.value > greatest.value:
        yield f"{rule}, but request is {request}"


def _tolerations(spec: Raw) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")
            for toleration in tolerations
        ):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _PATIENCE}
            )


def _mount_token(spec: Raw, name: str) -> None:
    if any(
        mount.get("mountPath") == _TOKEN_PATH
        for container in containers_of(spec)
        for mount in container.get("volumeMounts") or []
    ):
        return
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    spec["volumes"] = [
        *(spec.get("volumes") or []),
        {"name": name, "projected": {"sources": sources, "defaultMode": 420}},
    ]
    for container in containers_of(spec):
        mount = {"name": name, "readOnly": True, "mountPath": _TOKEN_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
