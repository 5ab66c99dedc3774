"""Validation of objects: every invalid field with its path, in the API server's words (422)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from lab.kubernetes.defaults import containers_of
from lab.kubernetes.quantities import amounts
from lab.kubernetes.refusals import Cause, bad_request, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cluster.resources import Resource
    from lab.cluster.state import Raw

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_LENGTH, _LABEL_LENGTH = 253, 63
_MAX_NAMESERVERS = 3
_REQUIRED, _UNSUPPORTED, _DUPLICATE = "FieldValueRequired", "FieldValueNotSupported", "FieldValueDuplicate"
_FREE_NAMES = {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}  # path segments are enough for these


def validate(resource: Resource, item: Raw) -> None:
    """Refuse an object with invalid fields, naming all of them."""
    causes = list(_metadata(resource, item["metadata"]))
    if resource.plural == "pods":
        causes += _pod_spec(item.get("spec") or {}, "spec")
    elif resource.plural == "jobs":
        causes += _job(item)
    if causes:
        raise invalid(resource, item["metadata"].get("name", ""), causes)


def quantities(resource: Resource, item: Raw) -> None:
    """Refuse quantities that cannot be parsed: the whole object cannot be decoded then (400)."""
    spec = item.get("spec") or {}
    if resource.plural == "jobs":
        spec = (spec.get("template") or {}).get("spec") or {}
    if resource.plural not in ("jobs", "pods") or not isinstance(spec, dict):
        return
    for container in containers_of(spec):
        for part in ("requests", "limits"):
            try:
                amounts((container.get("resources") or {}).get(part))
            except ValueError as error:
                message = (
                    f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {error}'
                )
                raise bad_request(message) from error


def _metadata(resource: Resource, metadata: Raw) -> Iterator[Cause]:
    name = metadata.get("name") or ""
    if not name:
        yield Cause("metadata.name", "Required value: name or generateName is required", _REQUIRED)
    elif resource.plural not in _FREE_NAMES and not re.fullmatch(_SUBDOMAIN, name):
        yield Cause("metadata.name", f'Invalid value: "{name}": {_SUBDOMAIN_RULE}')
    elif len(name) > _NAME_LENGTH:
        yield Cause("metadata.name", f'Invalid value: "{name}": must be no more than {_NAME_LENGTH} characters')
    yield from _labels(metadata.get("labels") or {}, "metadata.labels")


def _labels(labels: dict[str, str], path: str) -> Iterator[Cause]:
    for value in labels.values():
        if len(value) > _LABEL_LENGTH:
            yield Cause(path, f'Invalid value: "{value}": must be no more than {_LABEL_LENGTH} characters')
        elif not re.fullmatch(_LABEL_VALUE, value):
            yield Cause(path, f'Invalid value: "{value}": {_VALUE_RULE}')


def _job(item: Raw) -> Iterator[Cause]:
    name = item["metadata"].get("name") or ""
    if len(name) > _LABEL_LENGTH:  # it becomes a label of the pods
        yield Cause("spec.template.labels", f'Invalid value: "{name}": must be no more than {_LABEL_LENGTH} characters')
    spec = item["spec"]
    template = spec["template"]
    yield from _labels(template["metadata"].get("labels") or {}, "spec.template.labels")
    for key in ("activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        if isinstance(spec.get(key), int) and spec[key] < 0:
            yield Cause(f"spec.{key}", f"Invalid value: {spec[key]}: must be greater than or equal to 0")
    if template["spec"].get("restartPolicy") == "Always":
        message = 'Unsupported value: "Always": supported values: "OnFailure", "Never"'
        yield Cause("spec.template.spec.restartPolicy", message, _UNSUPPORTED)
    yield from _pod_spec(template["spec"], "spec.template.spec")


def _pod_spec(spec: Raw, path: str) -> Iterator[Cause]:
    names: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for part in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(part) or []):
            where = f"{path}.{part}[{index}]"
            yield from _container(container, where)
            yield from _mounts(container, where, volumes)
            name = container.get("name")
            if name in names:
                yield Cause(f"{where}.name", f'Duplicate value: "{name}"', _DUPLICATE)
            names.add(name)
    if not spec.get("containers"):
        yield Cause(f"{path}.containers", "Required value", _REQUIRED)
    yield from _dns(spec, path)
    for index, alias in enumerate(spec.get("hostAliases") or []):
        if not _is_address(alias.get("ip", "")):
            message = f'Invalid value: "{alias.get("ip", "")}": must be a valid IP address'
            yield Cause(f"{path}.hostAliases[{index}].ip", message)


def _mounts(container: Raw, where: str, volumes: set[str | None]) -> Iterator[Cause]:
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield Cause(
                f"{where}.volumeMounts[{index}].name", f'Not found: "{mount.get("name")}"', "FieldValueNotFound"
            )


def _container(container: Raw, where: str) -> Iterator[Cause]:
    name = container.get("name") or ""
    if not name:
        yield Cause(f"{where}.name", "Required value", _REQUIRED)
    elif not re.fullmatch(_LABEL, name) or len(name) > _LABEL_LENGTH:
        yield Cause(f"{where}.name", f'Invalid value: "{name}": {_LABEL_RULE}')
    if not container.get("image"):
        yield Cause(f"{where}.image", "Required value", _REQUIRED)
    resources = container.get("resources") or {}
    limits = amounts(resources.get("limits"))
    for kind, request in amounts(resources.get("requests")).items():
        if kind in limits and request.value > limits[kind].value:
            message = f'Invalid value: "{request}": must be less than or equal to {kind} limit of {limits[kind]}'
            yield Cause(f"{where}.resources.requests", message)
    security = container.get("securityContext") or {}
    if security.get("privileged") and security.get("allowPrivilegeEscalation") is False:
        message = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        message = f"Invalid value: core.SecurityContext{{}}: {message}"
        yield Cause(f"{where}.securityContext", message)


def _dns(spec: Raw, path: str) -> Iterator[Cause]:
    policies = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    if spec.get("dnsPolicy") not in policies:
        listed = ", ".join(f'"{policy}"' for policy in policies)
        message = f'Unsupported value: "{spec.get("dnsPolicy")}": supported values: {listed}'
        yield Cause(f"{path}.dnsPolicy", message, _UNSUPPORTED)
    servers = (spec.get("dnsConfig") or {}).get("nameservers") or []
    if spec.get("dnsPolicy") == "None" and not servers:
        message = "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield Cause(f"{path}.dnsConfig.nameservers", message, _REQUIRED)
    if len(servers) > _MAX_NAMESERVERS:
        listed = ", ".join(f'"{server}"' for server in servers)
        message = f"Invalid value: []string{{{listed}}}: must not have more than {_MAX_NAMESERVERS} nameservers"
        yield Cause(f"{path}.dnsConfig.nameservers", message)
    for index, server in enumerate(servers):
        if not _is_address(server):
            yield Cause(
                f"{path}.dnsConfig.nameservers[{index}]", f'Invalid value: "{server}": must be a valid IP address'
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
