"""Pod Security admission: what in a pod violates its namespace's level, in the plugin's own words.

The order and wording follow k8s.io/pod-security-admission/policy: baseline checks by name, then restricted ones; a
restricted check replaces the baseline check of the same field. Windows is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.kubernetes.defaults import containers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.state import Raw

Messages = list[str]
_DEFAULT_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
_ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
}
_SAFE_PROFILES = ("RuntimeDefault", "Localhost")


def violations(spec: Raw, level: str) -> str:
    """A pod spec's violations of `level`, joined as by the plugin; empty if there is none."""
    if level == "baseline":
        checks = _BASELINE
    elif level == "restricted":
        checks = [check for check in _BASELINE if check not in _REPLACED] + _RESTRICTED
    else:
        return ""
    failures = [(name, messages) for name, check in checks for messages in [check(spec)] if messages]
    return ", ".join(f"{name} ({'; '.join(messages)})" for name, messages in failures)


def level_and_label(labels: dict[str, str], mode: str) -> tuple[str, str]:
    """A namespace's level in a mode (``enforce``, ``warn``), and its label in messages (``baseline:latest``)."""
    level = labels.get(f"pod-security.kubernetes.io/{mode}", "privileged")
    version = labels.get(f"pod-security.kubernetes.io/{mode}-version", "latest")
    return level, f"{level}:{version}"


def _security(container: Raw) -> dict[str, Any]:
    return container.get("securityContext") or {}


def _named(containers: list[Raw]) -> str:
    names = ", ".join(f'"{container["name"]}"' for container in containers)
    return ("container " if len(containers) == 1 else "containers ") + names


def _all(spec: Raw, is_violation: Callable[[dict[str, Any]], bool], message: str) -> Messages:
    violating = [container for container in containers_of(spec) if is_violation(_security(container))]
    return [f"{_named(violating)} {message}"] if violating else []


def _added_capabilities(spec: Raw, allowed: set[str]) -> Messages:
    violating: list[Raw] = []
    added: set[str] = set()
    for container in containers_of(spec):
        disallowed = set((_security(container).get("capabilities") or {}).get("add") or []) - allowed
        if disallowed:
            violating.append(container)
            added |= disallowed
    listed = ", ".join(f'"{capability}"' for capability in sorted(added))
    return [f"{_named(violating)} must not include {listed} in securityContext.capabilities.add"] if violating else []


def _host_namespaces(spec: Raw) -> Messages:
    settings = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return [", ".join(settings)] if settings else []


def _host_path(spec: Raw) -> Messages:
    names = [f'"{volume["name"]}"' for volume in spec.get("volumes") or [] if "hostPath" in volume]
    return [("volume " if len(names) == 1 else "volumes ") + ", ".join(names)] if names else []


def _host_ports(spec: Raw) -> Messages:
    violating = [
        container
        for container in containers_of(spec)
        if any(port.get("hostPort") for port in container.get("ports") or [])
    ]
    ports = sorted(
        {str(port["hostPort"]) for container in violating for port in container["ports"] if port.get("hostPort")}
    )
    if not violating:
        return []
    verb, noun = ("uses" if len(violating) == 1 else "use"), ("hostPort" if len(ports) == 1 else "hostPorts")
    return [f"{_named(violating)} {verb} {noun} {', '.join(ports)}"]


def _proc_mount(spec: Raw) -> Messages:
    message = 'must not set securityContext.procMount to "Unmasked"'
    return _all(spec, lambda security: security.get("procMount") not in (None, "Default"), message)


def _seccomp_unconfined(spec: Raw) -> Messages:
    message = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    pod = [f"pod {message}"] if _profile(spec.get("securityContext") or {}) == "Unconfined" else []
    return pod + _all(spec, lambda security: _profile(security) == "Unconfined", message)


def _profile(security: dict[str, Any]) -> str:
    return str((security.get("seccompProfile") or {}).get("type", ""))


def _sysctls(spec: Raw) -> Messages:
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or []
    disallowed = [sysctl["name"] for sysctl in sysctls if sysctl["name"] not in _SAFE_SYSCTLS]
    return [", ".join(disallowed)] if disallowed else []


def _restricted_capabilities(spec: Raw) -> Messages:
    message = 'must set securityContext.capabilities.drop=["ALL"]'
    drops = _all(spec, lambda security: "ALL" not in ((security.get("capabilities") or {}).get("drop") or []), message)
    return drops + _added_capabilities(spec, {"NET_BIND_SERVICE"})


def _volume_types(spec: Raw) -> Messages:
    violating = [
        (volume["name"], kind)
        for volume in spec.get("volumes") or []
        for kind in volume
        if kind != "name" and kind not in _ALLOWED_VOLUMES
    ]
    if not violating:
        return []
    names = ", ".join(f'"{name}"' for name, _ in violating)
    kinds = ", ".join(f'"{kind}"' for kind in sorted({kind for _, kind in violating}))
    if len(violating) == 1:
        return [f"volume {names} uses restricted volume type {kinds}"]
    return [f"volumes {names} use restricted volume type{'s' if ',' in kinds else ''} {kinds}"]


def _non_root(spec: Raw) -> Messages:
    pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    messages = ["pod must not set securityContext.runAsNonRoot=false"] if pod is False else []
    messages += _all(
        spec, lambda security: security.get("runAsNonRoot") is False, "must not set securityContext.runAsNonRoot=false"
    )
    unset = (
        [container for container in containers_of(spec) if _security(container).get("runAsNonRoot") is None]
        if pod is None
        else []
    )
    return messages or ([f"pod or {_named(unset)} must set securityContext.runAsNonRoot=true"] if unset else [])


def _root_user(spec: Raw) -> Messages:
    messages = ["pod must not set runAsUser=0"] if (spec.get("securityContext") or {}).get("runAsUser") == 0 else []
    return messages + _all(spec, lambda security: security.get("runAsUser") == 0, "must not set runAsUser=0")


def _seccomp(spec: Raw) -> Messages:
    pod = _profile(spec.get("securityContext") or {})
    messages = _seccomp_unconfined(spec)
    unset = (
        [container for container in containers_of(spec) if not _profile(_security(container))]
        if pod not in _SAFE_PROFILES
        else []
    )
    if messages or not unset:
        return messages
    listed = '"RuntimeDefault" or "Localhost"'
    return [f"pod or {_named(unset)} must set securityContext.seccompProfile.type to {listed}"]


_Check = tuple[str, "Callable[[Raw], Messages]"]
_CAPABILITIES: _Check = ("non-default capabilities", lambda spec: _added_capabilities(spec, _DEFAULT_CAPABILITIES))
_HOST_PATH: _Check = ("hostPath volumes", _host_path)
_UNCONFINED: _Check = ("seccompProfile", _seccomp_unconfined)
_BASELINE: list[_Check] = [
    _CAPABILITIES,
    ("host namespaces", _host_namespaces),
    _HOST_PATH,
    ("hostPort", _host_ports),
    (
        "privileged",
        lambda spec: _all(
            spec, lambda security: bool(security.get("privileged")), "must not set securityContext.privileged=true"
        ),
    ),
    ("procMount", _proc_mount),
    _UNCONFINED,
    ("forbidden sysctls", _sysctls),
]
_REPLACED = (_CAPABILITIES, _HOST_PATH, _UNCONFINED)
_RESTRICTED: list[_Check] = [
    (
        "allowPrivilegeEscalation != false",
        lambda spec: _all(
            spec,
            lambda security: security.get("allowPrivilegeEscalation") is not False,
            "must set securityContext.allowPrivilegeEscalation=false",
        ),
    ),
    ("unrestricted capabilities", _restricted_capabilities),
    ("restricted volume types", _volume_types),
    ("runAsNonRoot != true", _non_root),
    ("runAsUser=0", _root_user),
    ("seccompProfile", _seccomp),
]
