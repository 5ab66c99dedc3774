"""What a job's pod refers to by name, and whether the cluster has it: claims, Secrets, ConfigMaps, classes, accounts.

Without one of them the API refuses the pod, the runner gives up before it makes one, or the pod waits for good
(docs/sources.md#job-references). Contents are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ApiFault, Fault, PodFault, ReferenceFault
from preflight.rendering import Rendering
from preflight.shell_command import ShellCommand, program, sequence

Json = dict[str, Any]


class Kind(StrEnum):
    """What is referred to, as people call it."""

    CLAIM = "claim"
    SECRET = "Secret"  # noqa: S105 - a kind of object
    CONFIG_MAP = "ConfigMap"
    DRIVER = "CSI driver"
    STORAGE_CLASS = "StorageClass"
    PULL_SECRET = "pull secret"  # noqa: S105 - a kind of object
    SERVICE_ACCOUNT = "service account"
    PRIORITY_CLASS = "PriorityClass"
    RUNTIME_CLASS = "RuntimeClass"


_RESOURCES: Mapping[Kind, tuple[str, str]] = {  # the API's path of the group, and the resource in it
    Kind.CLAIM: ("/api/v1", "persistentvolumeclaims"),
    Kind.SECRET: ("/api/v1", "secrets"),
    Kind.CONFIG_MAP: ("/api/v1", "configmaps"),
    Kind.DRIVER: ("/apis/storage.k8s.io/v1", "csidrivers"),
    Kind.STORAGE_CLASS: ("/apis/storage.k8s.io/v1", "storageclasses"),
    Kind.PULL_SECRET: ("/api/v1", "secrets"),
    Kind.SERVICE_ACCOUNT: ("/api/v1", "serviceaccounts"),
    Kind.PRIORITY_CLASS: ("/apis/scheduling.k8s.io/v1", "priorityclasses"),
    Kind.RUNTIME_CLASS: ("/apis/node.k8s.io/v1", "runtimeclasses"),
}
_NAMESPACED = {Kind.CLAIM, Kind.SECRET, Kind.CONFIG_MAP, Kind.PULL_SECRET, Kind.SERVICE_ACCOUNT}
_MISSING: Mapping[Kind, Fault] = {
    Kind.CLAIM: ReferenceFault.CLAIM_MISSING,
    Kind.SECRET: ReferenceFault.SOURCE_MISSING,
    Kind.CONFIG_MAP: ReferenceFault.SOURCE_MISSING,
    Kind.DRIVER: ReferenceFault.SOURCE_MISSING,
    Kind.STORAGE_CLASS: ReferenceFault.CLAIM_UNBOUND,
    Kind.PULL_SECRET: ReferenceFault.PULL_SECRET_MISSING,
    Kind.SERVICE_ACCOUNT: PodFault.SERVICE_ACCOUNT_MISSING,
    Kind.PRIORITY_CLASS: PodFault.CLASS_MISSING,
    Kind.RUNTIME_CLASS: PodFault.CLASS_MISSING,
}

VOLUME_FAULTS = (ReferenceFault.CLAIM_MISSING, ReferenceFault.CLAIM_UNBOUND, ReferenceFault.SOURCE_MISSING)
"""Faults with which a job's pod is made and waits for its volumes."""
ADMISSION_FAULTS = (
    ReferenceFault.PULL_SECRET_MISSING,
    PodFault.CLASS_MISSING,
    PodFault.SERVICE_ACCOUNT_MISSING,
)
"""Faults with which there is no pod at all."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that a job's pod names.

    Attributes:
        keys: of a Secret or ConfigMap, which it must have.
    """

    kind: Kind
    name: str
    keys: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceState:
    """A reference, and what the cluster has under that name.

    Attributes:
        fault: what is wrong with it, or None.
        cause: a clause; empty without a fault.
        observed: a line for the evidence.
        access_modes: of a claim.
    """

    reference: Reference
    fault: Fault | None = None
    cause: str = ""
    observed: str
    access_modes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReferences(Fact):
    """Everything that a job's pod refers to.

    Attributes:
        states: one each.
        unread: why some could not be looked up, and the rule that would allow it, as YAML.
    """

    states: tuple[ReferenceState, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    def among(self, faults: Collection[Fault]) -> JobReferences:
        """The same, faulty only by one of these.

        Raises:
            Unmeasured: nothing faulty is known, and something could not be looked up.
        """
        faulty = [state for state in self.states if state.fault in faults]
        if not faulty and self.unread:
            reasons, rules = zip(*self.unread, strict=True)
            needs = "\n".join(dict.fromkeys(filter(None, rules))) or "a look at it with another account"
            raise Unmeasured("; ".join(dict.fromkeys(reasons)), needs=needs, evidence=self.evidence)
        if not faulty:
            return replace(self, fault=None, cause="")
        first = faulty[0].fault
        causes = [state.cause for state in faulty if state.fault == first]
        others = [state.cause for state in faulty if state.fault != first]
        return replace(self, fault=first, cause="; ".join([*causes, *others]))


# ---- what is referred to --------------------------------------------------------------------------------------------


def references(spec: Json, *, pull_secrets: Iterable[str] = ()) -> tuple[Reference, ...]:
    """What a pod's spec refers to, each once; what it calls optional, and names that a job completes, are left out.

    Args:
        spec: of a job's pod, after its patches.
        pull_secrets: that the runner waits for, whether or not the pod names them.
    """
    keys: dict[tuple[Kind, str], set[str]] = {}
    for kind, name, needed in _named(spec, pull_secrets):
        if name and "$" not in name and "{{" not in name:
            keys.setdefault((kind, name), set()).update(needed)
    return tuple(Reference(kind, name, frozenset(needed)) for (kind, name), needed in keys.items())


_MANIFEST_KINDS: Mapping[Kind, str] = {Kind.CLAIM: "PersistentVolumeClaim", Kind.DRIVER: "CSIDriver"}


def beside_the_release(rendering: Rendering) -> list[Reference]:
    """What the managers' pods name and the release does not bring; their service account is left to its own check."""
    return [
        reference
        for reference in references({**rendering.pod_spec, "serviceAccountName": ""})
        if rendering.named(_MANIFEST_KINDS.get(reference.kind, str(reference.kind)), reference.name) is None
    ]


def _named(spec: Json, pull_secrets: Iterable[str]) -> Iterator[tuple[Kind, str, Iterable[str]]]:
    yield Kind.SERVICE_ACCOUNT, str(spec.get("serviceAccountName") or ""), ()
    yield Kind.PRIORITY_CLASS, str(spec.get("priorityClassName") or ""), ()
    yield Kind.RUNTIME_CLASS, str(spec.get("runtimeClassName") or ""), ()
    for name in pull_secrets:
        yield Kind.PULL_SECRET, str(name), ()
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _of_volume(source)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        for source in container.get("envFrom") or ():
            yield from _of_environment(source, "secretRef", "configMapRef")
        for variable in container.get("env") or ():
            yield from _of_environment(variable.get("valueFrom") or {}, "secretKeyRef", "configMapKeyRef")


def _of_volume(volume: Json) -> Iterator[tuple[Kind, str, Iterable[str]]]:
    yield Kind.CLAIM, str((volume.get("persistentVolumeClaim") or {}).get("claimName") or ""), ()
    yield Kind.DRIVER, str((volume.get("csi") or {}).get("driver") or ""), ()
    template = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec") or {}
    yield Kind.STORAGE_CLASS, str(template.get("storageClassName") or ""), ()
    for key, kind in (("secret", Kind.SECRET), ("configMap", Kind.CONFIG_MAP)):
        source = volume.get(key) or {}
        if not source.get("optional"):
            name = str(source.get("secretName") or source.get("name") or "")
            yield kind, name, [str(item.get("key", "")) for item in source.get("items") or ()]


def _of_environment(source: Json, secret: str, config_map: str) -> Iterator[tuple[Kind, str, Iterable[str]]]:
    for key, kind in ((secret, Kind.SECRET), (config_map, Kind.CONFIG_MAP)):
        reference = source.get(key) or {}
        if not reference.get("optional"):
            yield kind, str(reference.get("name") or ""), [str(reference["key"])] if reference.get("key") else ()


# ---- looking it up --------------------------------------------------------------------------------------------------


def look_up(
    api: Api, namespace: str, named: Sequence[Reference], *, new_namespaces: bool = False, pod: str = "a job's pod"
) -> JobReferences:
    """Whether the cluster has each of these.

    Args:
        api: the cluster's API.
        namespace: of the pod.
        named: what the pod refers to.
        new_namespaces: whether each job has a new namespace: what it holds then can't be seen before the job.
        pod: what it is called in causes.

    Raises:
        Unmeasured: the API did not answer.
    """
    began = time.monotonic()
    states: list[ReferenceState] = []
    unread: list[tuple[str, str]] = []
    for reference in named:
        if new_namespaces and reference.kind in _NAMESPACED:
            reason = (
                f"with namespace_per_job each job has a new namespace; whether it gets the {reference} is not known"
            )
            unread.append((reason, ""))
            continue
        try:
            states.append(_state(api, namespace, reference, pod))
        except ApiError as error:
            if error.fault is not ApiFault.FORBIDDEN:
                raise unmeasured(error) from error
            unread.append((f"the API server does not allow reading the {reference}", error.rule or ""))
    faulty = [state for state in states if state.fault is not None]
    lines = [state.observed for state in states] + [reason for reason, _ in unread]
    return JobReferences(
        target=namespace,
        states=tuple(states),
        unread=tuple(unread),
        fault=faulty[0].fault if faulty else None,
        cause="; ".join(state.cause for state in faulty),
        evidence=Evidence(
            where="here",
            command=sequence(*dict.fromkeys(_command(namespace, each) for each in named))
            or program("helm", "get", "values"),
            observed="\n".join(lines) or f"{pod} refers to nothing by name",
            took=time.monotonic() - began,
        ),
    )


def _command(namespace: str, reference: Reference) -> ShellCommand:
    place = ("-n", namespace) if reference.kind in _NAMESPACED else ()
    return program("kubectl", *place, "get", _RESOURCES[reference.kind][1].removesuffix("s"), reference.name)


def _state(api: Api, namespace: str, reference: Reference, pod: str) -> ReferenceState:
    item = _get(api, namespace, reference.kind, reference.name)
    if item is None:
        place = f"namespace {namespace}" if reference.kind in _NAMESPACED else "the cluster"
        return ReferenceState(
            reference=reference,
            fault=_MISSING[reference.kind],
            cause=f"{pod} names the {reference}, and {place} has none of that name",
            observed=f"{reference}: not found",
        )
    if reference.kind is Kind.CLAIM:
        return _claim_state(api, namespace, reference, item, pod)
    held = {*(item.get("data") or {}), *(item.get("binaryData") or {})}
    if missing := sorted(reference.keys - held):
        return ReferenceState(
            reference=reference,
            fault=ReferenceFault.SOURCE_MISSING,
            cause=f"the {reference} has no key {', '.join(missing)}, which {pod} takes from it",
            observed=f"{reference}: keys {', '.join(sorted(held)) or 'none'}",
        )
    return ReferenceState(reference=reference, observed=f"{reference}: there")


def _get(api: Api, namespace: str, kind: Kind, name: str) -> Json | None:
    group, resource = _RESOURCES[kind]
    place = f"/namespaces/{path_segment(namespace)}" if kind in _NAMESPACED else ""
    try:
        return api.get(f"{group}{place}/{resource}/{path_segment(name)}")
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            return None
        raise


_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _claim_state(api: Api, namespace: str, reference: Reference, claim: Json, pod: str) -> ReferenceState:
    spec, phase = claim.get("spec", {}), str(claim.get("status", {}).get("phase") or "Pending")
    modes = tuple(map(str, spec.get("accessModes") or ()))
    problem = ""
    if claim.get("metadata", {}).get("deletionTimestamp"):
        problem = "is being deleted"
    elif phase == "Lost":
        problem = "is Lost: its volume is gone"
    elif phase == "Pending":
        problem = _why_pending(api, namespace, spec)
    storage_class = spec.get("storageClassName")
    observed = f"{reference}: {phase}, {', '.join(modes)}, StorageClass {storage_class or 'none'}"
    return ReferenceState(
        reference=reference,
        fault=ReferenceFault.CLAIM_UNBOUND if problem else None,
        cause=f"the {reference}, which {pod} mounts, {problem}" if problem else "",
        observed=observed,
        access_modes=modes,
    )


def _why_pending(api: Api, namespace: str, spec: Json) -> str:
    """What keeps a claim from being bound; empty where it waits for its first pod only."""
    name = spec.get("storageClassName")
    if name == "":
        return "is Pending: it names no StorageClass, and no volume is there for it"
    if name is None:
        classes = api.items("/apis/storage.k8s.io/v1/storageclasses")
        default = [
            each
            for each in classes
            if (each.get("metadata", {}).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
        ]
        if not default:
            return "is Pending: it names no StorageClass, and the cluster has no default one"
        storage_class: Json | None = default[0]
    else:
        storage_class = _get(api, namespace, Kind.STORAGE_CLASS, str(name))
    if storage_class is None:
        return f"is Pending: the cluster has no StorageClass {name}"
    if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
        return ""
    provisioner = storage_class.get("provisioner", "")
    return (
        f"is Pending: StorageClass {storage_class.get('metadata', {}).get('name', '')} ({provisioner}) made no volume"
    )


# ---- claims and nodes -----------------------------------------------------------------------------------------------

_ONE_NODE = {"ReadWriteOnce", "ReadWriteOncePod"}


def on_one_node(looked_up: JobReferences, nodes: Sequence[str]) -> JobReferences:
    """The same, judged by whether jobs on several nodes can have the claims at the same time."""
    bound = [
        state.reference
        for state in looked_up.states
        if state.reference.kind is Kind.CLAIM and state.access_modes and set(state.access_modes) <= _ONE_NODE
    ]
    if not bound or len(nodes) < 2:  # noqa: PLR2004 - one node is no trouble
        return replace(looked_up, fault=None, cause="")
    listed = ", ".join(reference.name for reference in bound)
    return replace(
        looked_up,
        fault=ReferenceFault.ONE_NODE,
        cause=f"the volume of {listed} can be used on one node at a time (ReadWriteOnce), and jobs run on {len(nodes)}",
    )
