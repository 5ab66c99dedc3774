"""What the runner's Kubernetes executor makes of its settings: the parts of a job's pod, in the API's spelling.

Each function takes the table ``[runners.kubernetes]`` as the runner decodes it, and gives what the executor writes into
the pod: docs/sources.md#job-pod. A setting that the runner's version does not read is not in the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preflight.jobshape import Service
from preflight.podpatch import Patch
from preflight.quantities import quantity

Json = dict[str, Any]
Table = Mapping[str, Any]

KINDS = ("build", "helper", "init_permissions", "service")
"""Kinds of containers with a security context of their own."""

_VOLUMES = ("host_path", "secret", "pvc", "config_map", "empty_dir", "csi", "nfs")  # in the executor's order
_PROPAGATED = ("host_path", "pvc")
_PROC_MOUNTS = ("Default", "Unmasked")
_DROPPED = "NET_RAW"  # of every container on Linux


# ---- volumes --------------------------------------------------------------------------------------------------------


def volumes(table: Table) -> tuple[Json, ...]:
    """The configured volumes. One whose name only a job's variables complete is left out, as are its mounts."""
    made: dict[str, Json] = {}
    for kind, volume in _configured(table):
        name = str(volume.get("name", ""))
        if kind == "pvc" and name in made:
            continue  # one claim that is mounted twice
        made[name if kind == "pvc" else f"{kind} {len(made)}"] = {"name": name, **_source(kind, volume)}
    return tuple(made.values())


def mounts(table: Table) -> tuple[Json, ...]:
    """Where every container of the pod has the configured volumes."""
    return tuple(_mount(kind, volume) for kind, volume in _configured(table))


def _configured(table: Table) -> Iterator[tuple[str, Table]]:
    for kind in _VOLUMES:
        for volume in table.get("volumes", {}).get(kind, ()):
            if kind != "pvc" or "$" not in str(volume.get("name", "")):
                yield kind, volume


def _source(kind: str, volume: Table) -> Json:
    name = volume.get("name", "")
    match kind:
        case "host_path":
            return {"hostPath": {"path": volume.get("host_path") or volume.get("mount_path", "")}}
        case "secret":
            return {"secret": {"secretName": name, **_items(volume)}}
        case "pvc":
            return {"persistentVolumeClaim": {"claimName": name}}
        case "config_map":
            return {"configMap": {"name": name, **_items(volume)}}
        case "empty_dir":
            limit = {"sizeLimit": volume["size_limit"]} if _is_quantity(volume.get("size_limit", "")) else {}
            medium = {"medium": volume["medium"]} if volume.get("medium") else {}
            return {"emptyDir": {**medium, **limit}}
        case "csi":
            source = {
                "driver": volume.get("driver", ""),
                "fsType": volume.get("fs_type", ""),
                "readOnly": volume.get("read_only", False),
            }
            attributes = volume.get("volume_attributes")
            return {"csi": source | ({"volumeAttributes": dict(attributes)} if attributes else {})}
        case _:
            path, server = volume.get("path", ""), volume.get("server", "")
            return {"nfs": {"path": path, "server": server, "readOnly": volume.get("read_only", False)}}


def _items(volume: Table) -> Json:
    items = [{"key": key, "path": path} for key, path in volume.get("items", {}).items()]
    return {"items": items} if items else {}


def _is_quantity(text: str) -> bool:
    """Whether the runner gives the volume this limit: it passes over one that it can't read."""
    try:
        quantity(text)
    except ValueError:
        return False
    return text == text.strip()


def _mount(kind: str, volume: Table) -> Json:
    mount = {"name": volume.get("name", ""), "mountPath": volume.get("mount_path", "")}
    optional = {
        "subPath": volume.get("sub_path"),
        "readOnly": kind != "empty_dir" and volume.get("read_only"),
        "mountPropagation": kind in _PROPAGATED and volume.get("mount_propagation"),
    }
    return mount | {key: value for key, value in optional.items() if value}


# ---- security contexts ----------------------------------------------------------------------------------------------


def container_security(table: Table, kind: str) -> Json:
    """The security context of one of the `KINDS` of containers: its own settings win over those of all containers.

    Capabilities are those of all containers (NET_RAW is dropped unless it is added), of which the container's own
    ``add`` and ``drop`` each replace the whole list.
    """
    own: Table = table.get(f"{kind}_container_security_context", {})
    granted = {_DROPPED: False}
    granted |= dict.fromkeys(table.get("cap_add", ()), True) | dict.fromkeys(table.get("cap_drop", ()), False)
    capabilities = {
        "add": [name for name, added in granted.items() if added],
        "drop": [name for name, added in granted.items() if not added],
    }
    capabilities |= {name: list(names) for name, names in own.get("capabilities", {}).items()}
    context: Json = {"capabilities": {name: names for name, names in capabilities.items() if names}}
    for key, name in (("privileged", "privileged"), ("allow_privilege_escalation", "allowPrivilegeEscalation")):
        value = own.get(key, table.get(key))
        if value is not None:
            context[name] = value
    proc_mount = str(own.get("proc_mount", "")).strip().title()
    context |= {
        name: own[key]
        for key, name in (
            ("run_as_group", "runAsGroup"),
            ("run_as_non_root", "runAsNonRoot"),
            ("run_as_user", "runAsUser"),
            ("read_only_root_filesystem", "readOnlyRootFilesystem"),
        )
        if key in own
    }
    return context | ({"procMount": proc_mount} if proc_mount in _PROC_MOUNTS else {}) | _profiles(own)


def pod_security(table: Table) -> Json | None:
    """The pod's own security context; None where the values set nothing of it."""
    own: Table = table.get("pod_security_context", {})
    context = {
        name: own[key]
        for key, name in (
            ("fs_group", "fsGroup"),
            ("run_as_group", "runAsGroup"),
            ("run_as_non_root", "runAsNonRoot"),
            ("run_as_user", "runAsUser"),
        )
        if key in own
    }
    groups = {"supplementalGroups": list(own["supplemental_groups"])} if own.get("supplemental_groups") else {}
    return {**context, **groups, **_profiles(own)} or None


_PROFILES = {"seccomp_profile": "seccompProfile", "app_armor_profile": "appArmorProfile"}  # since 18.11
_PROFILE_TYPES = ("RuntimeDefault", "Localhost", "Unconfined")


def _profiles(own: Table) -> Json:
    made: Json = {"seLinuxOptions": {"type": own["selinux_type"]}} if own.get("selinux_type") else {}
    for key, name in _PROFILES.items():
        profile = own.get(key) or {}
        kind, file = profile.get("type"), profile.get("localhost_profile")
        if kind in _PROFILE_TYPES and (kind != "Localhost" or file):
            made[name] = {"type": kind, **({"localhostProfile": file} if kind == "Localhost" else {})}
    return made


# ---- lifecycle ------------------------------------------------------------------------------------------------------


def lifecycle(table: Table) -> Json | None:
    """The hooks of the build, helper and service containers; None without any."""
    hooks = {
        name: _handler(handler)
        for key, name in (("post_start", "postStart"), ("pre_stop", "preStop"))
        if (handler := table.get("container_lifecycle", {}).get(key)) is not None
    }
    return hooks or None


def _handler(handler: Table) -> Json:
    made: Json = {}
    if "exec" in handler:
        made["exec"] = {"command": list(handler["exec"].get("command", ()))}
    if "http_get" in handler:
        get = handler["http_get"]
        made["httpGet"] = {"port": get.get("port", 0)}
        made["httpGet"] |= {key: get[key] for key in ("host", "path", "scheme") if get.get(key)}
        if get.get("http_headers"):
            made["httpGet"]["httpHeaders"] = [
                {"name": header.get("name", ""), "value": header.get("value", "")} for header in get["http_headers"]
            ]
    if "tcp_socket" in handler:
        socket = handler["tcp_socket"]
        made["tcpSocket"] = {"port": socket.get("port", 0)}
        made["tcpSocket"] |= {"host": socket["host"]} if socket.get("host") else {}
    return made


# ---- services -------------------------------------------------------------------------------------------------------

_ALIAS = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def services(table: Table) -> tuple[Service, ...]:
    """The services that every job gets from the values, by the names of their containers; one without image is none."""
    used: set[str] = set()
    made: list[Service] = []
    unnamed = 0
    for service in table.get("services", ()):
        if not service.get("name"):
            continue
        aliases = str(service.get("alias", "")).replace(",", " ").split()
        container = next((alias for alias in aliases if alias not in used and _ALIAS.fullmatch(alias)), "")
        used |= set(aliases[: aliases.index(container) + 1] if container else aliases)
        if not container:
            container, unnamed = f"svc-{unnamed}", unnamed + 1
        variables = (entry.partition("=") for entry in service.get("environment", ()))
        made.append(
            Service(
                container=container,
                image=service["name"],
                aliases=tuple(aliases),
                entrypoint=tuple(service.get("entrypoint", ())),
                command=tuple(service.get("command", ())),
                environment={name: value for name, equals, value in variables if equals},
            )
        )
    return tuple(made)


def patches(table: Table) -> tuple[Patch, ...]:
    """The patches of the pod's spec, in their order; the caller knows whether their feature flag is on."""
    return tuple(
        Patch(
            number=number,
            name=str(patch.get("name", "")),
            kind=patch.get("patch_type") or "strategic",
            text=None if patch.get("patch_path") else str(patch.get("patch", "")),
        )
        for number, patch in enumerate(table.get("pod_spec", ()), start=1)
    )


# ---- images ---------------------------------------------------------------------------------------------------------

HELPER_REGISTRY = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
_ARCHITECTURES = {"armv6l": "arm", "armv7l": "arm", "aarch64": "arm64", "amd64": "x86_64"}
_WINDOWS_BUILD = "node.kubernetes.io/windows-build"
_WINDOWS = {"10.0.17763": "servercore1809", "10.0.20348": "servercore21H2", "10.0.26100": "servercore21H2"}


def helper_image(table: Table, *, runner: str, shell: str, platform: str = "linux/amd64") -> str:
    """The helper image that a job's pod gets: the configured one, or the runner's default for where the job may run.

    Args:
        table: of the executor.
        runner: the runner's version.
        shell: the runner's ``shell``.
        platform: of the managers, which decides with ``helper_image_autoset_arch_and_os``.
    """
    if configured := str(table.get("helper_image") or ""):
        return expanded(configured, runner=runner)
    selector: Table = table.get("node_selector", {})
    system, architecture = "linux", "amd64"
    if table.get("helper_image_autoset_arch_and_os"):
        architecture = platform.partition("/")[2].partition("/")[0] or architecture
    system = selector.get("kubernetes.io/os") or system
    architecture = selector.get("kubernetes.io/arch") or architecture
    version = f"v{runner}" if re.fullmatch(r"\d{1,9}\.\d{1,9}\.\d{1,9}", runner) else "latest"
    if system == "windows":
        base = _WINDOWS.get(str(selector.get(_WINDOWS_BUILD, "")), "servercore1809")
        return f"{HELPER_REGISTRY}:x86_64-{version}-{base}"
    flavour = expanded(str(table.get("helper_image_flavor") or ""), runner=runner) or "alpine"
    prefix = "" if flavour == "alpine" else f"{flavour}-"
    suffix = "-pwsh" if shell == "pwsh" else ""
    return f"{HELPER_REGISTRY}:{prefix}{_ARCHITECTURES.get(architecture, architecture)}-{version}{suffix}"


_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")


def expanded(text: str, *, runner: str) -> str:
    """A text with the variables filled in that every job of this runner has with the same value."""
    known = {"CI_RUNNER_VERSION": runner} if re.fullmatch(r"\d{1,9}\.\d{1,9}\.\d{1,9}", runner) else {}

    def value(match: re.Match[str]) -> str:
        return known.get(match["braced"] or match["bare"], match[0])

    return _VARIABLE.sub(value, text)


def pull_policies(table: Table, names: Mapping[str, str]) -> tuple[str, ...]:
    """The policies that the runner tries for a job that names none: those configured, as far as they are allowed.

    Args:
        table: of the executor.
        names: the API's names by the runner's.
    """
    wanted: Sequence[str] = [policy for policy in table.get("pull_policy", ()) if policy]
    allowed: Sequence[str] = [policy for policy in table.get("allowed_pull_policies", ()) if policy]
    effective = [policy for policy in wanted if not allowed or policy in allowed] or ([] if wanted else allowed)
    return tuple(names[policy] for policy in effective if policy in names)
