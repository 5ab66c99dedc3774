"""Whether a job's pod has a pull secret for a registry: the values' own, and those of its service account.

Admission adds the service account's ``imagePullSecrets`` only to a pod that has none of its own, so one secret named
in the values shadows all of them. https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ApiFault, ValuesFault
from preflight.inventory import Login
from preflight.inventory_forms import Secret
from preflight.jobshape import JobShape
from preflight.probes.registry import parse_docker_config
from preflight.shell_command import program, sequence

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullLogin(Fact):
    """A registry, and the pull secret of a job's pod that is for it.

    Attributes:
        used: the pull secrets that a job's pod has in the end.
        secret: the one with an account for the registry; empty if there is none.
        shadowed: pull secrets of the service account that the pod does not get, because it has others.
        missing: pull secrets that the pod names and the namespace does not have.
        account: the service account.
    """

    host: str
    used: tuple[str, ...] = ()
    secret: str = ""
    shadowed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    account: str = ""


def read(api: Api, shape: JobShape, host: str, *, known: Login | Secret | None = None) -> PullLogin:
    """Which pull secret of a job's pod holds an account for the registry.

    Args:
        api: the Kubernetes API.
        shape: of a job's pod.
        host: the registry's.
        known: the inventory's account for it; a Secret of the cluster is named in the cause where jobs do not use it.

    Raises:
        Unmeasured: the API did not answer, or secrets may not be read.
    """
    began = time.monotonic()
    account = shape.service_account or "default"
    own = _pull_secrets_of(api, shape.namespace, account)
    configured = list(shape.pull_secrets)
    used = configured + (own if shape.use_service_account_pull_secrets or not configured else [])
    shadowed = [name for name in own if name not in used]
    documents = {name: _read_secret(api, shape.namespace, name) for name in dict.fromkeys(used)}
    contents = {name: _describe(document, host) for name, document in documents.items()}
    secret = next((name for name, content in contents.items() if content == _HOLDS), "")
    missing = () if secret else tuple(name for name, document in documents.items() if document is None)
    fault, cause = None, ""
    if missing:
        fault = ValuesFault.SECRET_MISSING
        cause = (
            f"a job's pod names the pull secret {', '.join(missing)}, which namespace {shape.namespace} does not have"
        )
    elif not secret:
        fault = ValuesFault.PULL_SECRET
        cause = _cause(host, used, shadowed, account, known)
    lines = [f"{name}: {content}" for name, content in contents.items()]
    return PullLogin(
        target=host,
        host=host,
        used=tuple(used),
        secret=secret,
        shadowed=tuple(shadowed),
        missing=missing,
        account=account,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=sequence(
                program("kubectl", "-n", shape.namespace, "get", "serviceaccount", account, "-o", "yaml"),
                program("kubectl", "-n", shape.namespace, "describe", "secret", *(used or ["NAME"])),
            ),
            observed="\n".join([*lines, f"service account {account}: {', '.join(own) or 'no pull secret'}"]),
            took=time.monotonic() - began,
        ),
    )


_HOLDS = "holds an account for it"


def _cause(host: str, used: Sequence[str], shadowed: Sequence[str], account: str, known: Login | Secret | None) -> str:
    cause = f"a job's pod has no pull secret with an account for {host}"
    if used:
        cause = f"the pull secrets of a job's pod ({', '.join(used)}) hold no account for {host}"
    if shadowed:
        kept = "has others of its own" if used else "has none"
        cause += f"; the service account {account} names {', '.join(shadowed)}, which a pod that {kept} does not get"
    elif isinstance(known, Secret) and known.cluster_key is not None and known.cluster_key[1] not in used:
        cause += (
            f"; Secret {known.cluster_key[1]} of namespace {known.cluster_key[0]} holds one, and jobs do not use it"
        )
    return cause


def _pull_secrets_of(api: Api, namespace: str, account: str) -> list[str]:
    """The service account's pull secrets; a missing account is a finding of the admission check."""
    try:
        document = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/serviceaccounts/{path_segment(account)}")
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            return []
        raise unmeasured(error) from error
    return [str(entry.get("name", "")) for entry in document.get("imagePullSecrets") or ()]


def _read_secret(api: Api, namespace: str, name: str) -> Json | None:
    try:
        return api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}")
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            return None
        raise unmeasured(error) from error


def _describe(secret: Json | None, host: str) -> str:
    """What a pull secret holds for the registry, without the account itself."""
    if secret is None:
        return "there is no such Secret"
    data = secret.get("data") or {}
    text = data.get(".dockerconfigjson") or data.get(".dockercfg")
    if not text:
        return f"is of type {secret.get('type', 'Opaque')}, no registry's account"
    try:
        credentials = parse_docker_config(base64.b64decode(text, validate=True).decode(), host)
    except (ValueError, binascii.Error) as error:
        return f"cannot be read: {error}"
    return _HOLDS if credentials else "holds no account for it"
