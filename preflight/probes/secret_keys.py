"""Whether the Secrets that the values name exist, with the keys that the chart mounts. Contents are not kept."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ApiFault, ValuesFault
from preflight.shell_command import program

TOKEN_KEYS = (
    "runner-registration-token",
    "runner-token",
)  # the projected volume lists both (docs/sources.md#runner-secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeys(Fact):
    """A Secret by the names of its keys.

    Attributes:
        name: of the Secret; empty if the values name none.
        keys: those that it has.
    """

    name: str = ""
    keys: tuple[str, ...] = ()


def unnamed(setting: str, observed: str) -> SecretKeys:
    """The fact where the values name no Secret."""
    return SecretKeys(target=setting, evidence=Evidence(where="here", command="helm get values", observed=observed))


def read(
    api: Api, namespace: str, name: str, *, setting: str, needed: Iterable[str], otherwise: ValuesFault
) -> SecretKeys:
    """The keys of a Secret beside those that are needed.

    Args:
        api: the Kubernetes API.
        namespace: of the Secret.
        name: of the Secret.
        setting: the values' key that names it.
        needed: keys that it must have.
        otherwise: the fault where one is missing.

    Raises:
        Unmeasured: the API did not answer, or the Secret may not be read.
    """
    began = time.monotonic()
    command = program("kubectl", "-n", namespace, "describe", "secret", name)
    try:
        document = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}")
    except ApiError as error:
        if error.fault is not ApiFault.NOT_FOUND:
            raise unmeasured(error) from error
        return SecretKeys(
            target=setting,
            name=name,
            fault=ValuesFault.SECRET_MISSING,
            cause=f"{setting} names the Secret {name}, which is not in namespace {namespace}",
            evidence=Evidence(where="here", command=command, observed=error.message, took=time.monotonic() - began),
        )
    keys = tuple(sorted(document.get("data") or {}))
    missing = [key for key in needed if key not in keys]
    listed = ", ".join(keys) or "no key"
    return SecretKeys(
        target=setting,
        name=name,
        keys=keys,
        fault=otherwise if missing else None,
        cause=f"the Secret {name} that {setting} names has no key {' and no key '.join(missing)}; it has {listed}"
        if missing
        else "",
        evidence=Evidence(where="here", command=command, observed=f"keys: {listed}", took=time.monotonic() - began),
    )
