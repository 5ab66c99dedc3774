"""Secrets that the inventory refers to by ``secret:namespace/name/key``, read from the cluster."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Unmeasured
from preflight.faults import ApiFault
from preflight.probes.registry import Credentials
from preflight.redaction import remember
from preflight.shell_command import program, syntax


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account for a registry.

    Attributes:
        registry: its name in the inventory.
        host: its host.
        credentials: None for an anonymous one.
    """

    registry: str
    host: str
    credentials: Credentials | None = None


def read_secret(api: Api, namespace: str, name: str, key: str) -> str:
    """The text of one key of a Secret; it is redacted everywhere from then on.

    Raises:
        Unmeasured: the Secret or its key is not there, or may not be read.
    """
    try:
        data = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}").get("data") or {}
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            raise Unmeasured(
                f"there is no Secret {name} in namespace {namespace}, which the inventory refers to",
                needs=f"`{program('kubectl', '-n', namespace, 'create', 'secret', syntax('…'))}`, "
                "or another reference in the inventory",
                fault=ApiFault.NOT_FOUND,
            ) from None
        raise unmeasured(error) from error
    if key not in data:
        raise Unmeasured(
            f"Secret {name} in namespace {namespace} has no key {key}; it has {', '.join(sorted(data)) or 'none'}",
            needs=f"the key {key} in that Secret, or another reference in the inventory",
            fault=ApiFault.NOT_FOUND,
        )
    try:
        return remember(base64.b64decode(data[key], validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise Unmeasured(
            f"the key {key} of Secret {name} in namespace {namespace} is not text", needs="text in that key"
        ) from None
