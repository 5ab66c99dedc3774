"""The pod that the runner creates for a job, in its real size and privilege: for a server-side dry run only.

It carries every field that executors/kubernetes sets and the API judges (docs/sources.md#job-pod); what runs in it is
left out. `patched` reads back what the patches of ``pod_spec`` change in the shape of a job's pod.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from preflight.jobshape import (
    BUILD,
    DEADLINE_FLAG,
    DUMB_INIT_FLAG,
    HOST_NAME,
    LEGACY_FLAG,
    UMASK_FLAG,
    JobShape,
    Resources,
    Service,
    as_values_say,
    pod_spec,
    valid_labels,
)
from preflight.podpatch import PatchError, apply

Json = dict[str, Any]

LONGEST_JOB = 3601
"""Seconds: GitLab's default job timeout, and the second that the runner adds."""


def job_pod(shape: JobShape, *, services: Sequence[str] = (), name: str = "preflight-dry-run") -> Json:
    """A job's pod in its real size and privilege, as the runner would create it: for a server-side dry run only.

    Args:
        shape: of a job's pod.
        services: images of the job's own services, beside those of the values.
        name: of the pod.

    Raises:
        PatchError: a patch of the pod's spec can't be applied, so that the runner creates no pod at all.
    """
    shape = shape.before_patches or shape
    labels = valid_labels({key: value for key, value in shape.labels.items() if not _RUNNERS_OWN.match(key)})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": shape.namespace,
            "labels": labels,
            "annotations": dict(shape.annotations),
        },
        "spec": apply(_job_spec(shape, services), shape.patches),
    }


def _job_spec(shape: JobShape, images: Sequence[str]) -> Json:
    """The spec of a job's pod before its patches."""
    build, helper = _job_container(shape, BUILD, shape.image), _job_container(shape, "helper", shape.helper_image)
    services = [_service_container(shape, service) for service in shape.services]
    taken = {service.container for service in shape.services}
    names = (name for number in range(len(images) + len(taken)) if (name := f"svc-{number}") not in taken)
    services += [_job_container(shape, name, image) for name, image in zip(names, images, strict=False)]
    spec = pod_spec(shape, None, [build, helper, *services], LONGEST_JOB)
    del spec["terminationGracePeriodSeconds"], spec["automountServiceAccountToken"]  # the account decides
    if DEADLINE_FLAG not in shape.flags:
        del spec["activeDeadlineSeconds"]
    attaches, dumb_init = LEGACY_FLAG not in shape.flags, DUMB_INIT_FLAG in shape.flags
    own = (["scripts"] if attaches or dumb_init else []) + (["logs"] if attaches else [])
    mounts = [{"name": name, "mountPath": f"/{name}-0-0"} for name in own] + [dict(mount) for mount in shape.mounts]
    if shape.builds_dir not in {mount["mountPath"] for mount in shape.mounts}:
        own.append("repo")
        mounts.append({"name": "repo", "mountPath": shape.builds_dir})
    init = []
    if UMASK_FLAG in shape.flags:
        init.append(_job_container(shape, "init-build-uid-gid-collector", shape.image, hooks=False))
    if attaches or dumb_init:
        init.append(_job_container(shape, "init-permissions", shape.helper_image, hooks=False))
    for container in (*init, *spec["containers"]):
        container["volumeMounts"] = copy.deepcopy(mounts)
    aliases = [host for service in shape.services for host in _host_names(service)]
    optional: Json = {
        "initContainers": init,
        "volumes": [copy.deepcopy(volume) for volume in shape.volumes]
        + [{"name": each, "emptyDir": {}} for each in own],
        "securityContext": copy.deepcopy(shape.pod_security),
        "priorityClassName": shape.priority_class,
        "hostAliases": [
            *([{"ip": "127.0.0.1", "hostnames": aliases}] if aliases else []),
            *spec.get("hostAliases", ()),
        ],
        "resources": _stated(shape.pod),
    }
    unset_differs = {
        "automountServiceAccountToken": shape.automount_token,
        "terminationGracePeriodSeconds": shape.termination_grace,
        "hostUsers": shape.host_users,
    }
    spec |= {key: value for key, value in optional.items() if value}
    return spec | {key: value for key, value in unset_differs.items() if value is not None}


_RUNNERS_OWN = re.compile(r"(?:.{0,253}\.)?runner\.gitlab\.com(?:/|$)", re.IGNORECASE)  # labels that nobody else sets


def _job_container(shape: JobShape, name: str, image: str, *, hooks: bool = True) -> Json:
    """A container of a job's pod, without what runs in it."""
    kind = {BUILD: "build", "helper": "helper", "init-permissions": "init_permissions"}.get(name, "service")
    kind = "build" if name == "init-build-uid-gid-collector" else kind
    resources = {"build": shape.build, "helper": shape.helper, "init_permissions": shape.helper}.get(
        kind, shape.service
    )
    container: Json = {"name": name, "image": image, "securityContext": as_values_say(shape, kind)}
    optional = {
        "imagePullPolicy": next(iter(shape.pull_policy), None),
        "resources": _stated(resources),
        "lifecycle": copy.deepcopy(shape.lifecycle) if hooks else None,
    }
    return container | {key: value for key, value in optional.items() if value}


def _service_container(shape: JobShape, service: Service) -> Json:
    container = _job_container(shape, service.container, service.image)
    optional = {
        "command": list(service.entrypoint),
        "args": list(service.command),
        "env": [{"name": name, "value": value} for name, value in service.environment.items()],
    }
    return container | {key: value for key, value in optional.items() if value}


def _stated(resources: Resources) -> Json:
    stated = {"requests": dict(resources.requests), "limits": dict(resources.limits)}
    return {kind: values for kind, values in stated.items() if values}


def _host_names(service: Service) -> Iterator[str]:
    """The names that the runner gives to a service: of its image without tag or digest, and its aliases."""
    plain = re.sub(r":\d+(?=/|$)", "", re.sub(r"@.*$|:[^/:]*$", "", service.image))
    named = dict.fromkeys((plain.replace("/", "__"), plain.replace("/", "-")))
    yield from (name for name in named if HOST_NAME.fullmatch(name))
    yield from (alias for alias in service.aliases if HOST_NAME.fullmatch(alias))


def patched(shape: JobShape) -> JobShape:
    """The shape with what the patches of the pod's spec change in it.

    That is where the pod may run, its names, account and pull secrets, and what its containers ask for. Patches that
    can't be applied change nothing; the shape then says why.
    """
    if not shape.patches:
        return shape
    before = _job_spec(shape, ())
    try:
        spec = apply(before, shape.patches)
    except PatchError as error:
        return replace(shape, patch_problem=str(error))
    try:
        return replace(shape, before_patches=shape, **_changes(shape, before, spec))
    except (AttributeError, TypeError, ValueError) as error:
        return replace(shape, patch_problem=f"after the patches of pod_spec the pod's spec is none: {error}")


def _changes(shape: JobShape, before: Json, spec: Json) -> Json:
    """The fields of the shape that a patched spec changes."""
    changed: Json = {
        field_name: change(spec.get(key) or empty)
        for key, field_name, empty, change in _PATCHED
        if spec.get(key) != before.get(key)
    }
    containers = {str(container.get("name")): container for container in spec.get("containers") or ()}
    for name, kind in ((BUILD, "build"), ("helper", "helper")):
        container = containers.get(name, {})
        stated = container.get("resources") or {}
        own = Resources(
            requests={resource: str(amount) for resource, amount in (stated.get("requests") or {}).items()},
            limits={resource: str(amount) for resource, amount in (stated.get("limits") or {}).items()},
        )
        changed |= {} if own == getattr(shape, kind) else {kind: own}
        context = container.get("securityContext") or {}
        changed.setdefault("security", dict(shape.security))[kind] = context
    changed["privileged"] = bool(changed["security"]["build"].get("privileged"))
    return changed


_PATCHED: tuple[tuple[str, str, Any, Callable[[Any], Any]], ...] = (
    ("serviceAccountName", "service_account", None, lambda value: value),
    ("nodeSelector", "node_selector", {}, dict),
    ("tolerations", "tolerations", (), tuple),
    ("affinity", "affinity", None, lambda value: value),
    ("dnsPolicy", "dns_policy", None, lambda value: value),
    ("dnsConfig", "dns_config", None, lambda value: value),
    ("hostAliases", "host_aliases", (), tuple),
    ("imagePullSecrets", "pull_secrets", (), lambda value: tuple(str(each.get("name", "")) for each in value)),
    ("runtimeClassName", "runtime_class", None, lambda value: value),
    ("schedulerName", "scheduler", None, lambda value: value),
    ("priorityClassName", "priority_class", None, lambda value: value),
)
"""Keys of a pod's spec that are read back after patches: the shape's field, what stands for nothing, and its form."""
