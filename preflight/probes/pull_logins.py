"""Whether a job's pod brings a login for a registry: the pull secrets of the values, and of the service account.

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
from preflight.inventory import Login, Secret
from preflight.jobshape import JobShape
from preflight.probes.registry import parse_docker_config

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullLogin(Fact):
    """A registry, and the pull secret of a job's pod that is for it.

    Attributes:
        used: the pull secrets that a job's pod has in the end.
        secret: the one with an account for the registry; empty if there is none.
        shadowed: pull secrets of the service account that the pod does not get, because it has others.
        missing: pull secrets that the pod has, and that are not there.
        account: the service account.
    """

    host: str
    used: tuple[str, ...] = ()
    secret: str = ""
    shadowed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    account: str = ""


def look(api: Api, shape: JobShape, host: str, *, known: Login | Secret | None = None) -> PullLogin:
    """Which pull secret of a job's pod holds an account for the registry.

    Args:
        api: the Kubernetes API.
        shape: of a job's pod.
        host: the registry's.
        known: where the inventory has the account from; a Secret of the cluster is named where jobs do not use it.

    Raises:
        Unmeasured: the API could not be asked, or secrets may not be read.
    """
    began = time.monotonic()
    account = shape.service_account or "default"
    own = _own(api, shape.namespace, account)
    given = list(shape.pull_secrets)
    used = given + (own if shape.use_service_account_pull_secrets or not given else [])
    shadowed = [one for one in own if one not in used]
    found = {name: _read(api, shape.namespace, name) for name in dict.fromkeys(used)}
    said = {name: _said(one, host) for name, one in found.items()}
    secret = next((name for name, words in said.items() if words == _HOLDS), "")
    missing = () if secret else tuple(name for name, one in found.items() if one is None)
    fault, cause = None, ""
    if missing:
        fault = ValuesFault.SECRET_MISSING
        cause = (
            f"a job's pod names the pull secret {', '.join(missing)}, which namespace {shape.namespace} does not have"
        )
    elif not secret:
        fault = ValuesFault.PULL_SECRET
        cause = _cause(host, used, shadowed, account, known)
    lines = [f"{name}: {words}" for name, words in said.items()]
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
            command=f"kubectl -n {shape.namespace} get serviceaccount {account} -o yaml; "
            f"kubectl -n {shape.namespace} describe secret {' '.join(used) or 'NAME'}",
            observed="\n".join([*lines, f"service account {account}: {', '.join(own) or 'no pull secret'}"]),
            took=time.monotonic() - began,
        ),
    )


_HOLDS = "holds an account for it"


def _cause(host: str, used: Sequence[str], shadowed: Sequence[str], account: str, known: Login | Secret | None) -> str:
    has = f"the pull secrets of a job's pod ({', '.join(used)}) hold" if used else "a job's pod has no pull secret with"
    words = f"{has} no account for {host}" if used else f"{has} an account for {host}"
    if shadowed:
        kept = "has others of its own" if used else "has none"
        words += f"; the service account {account} names {', '.join(shadowed)}, which a pod that {kept} does not get"
    elif isinstance(known, Secret) and known.cluster_key is not None and known.cluster_key[1] not in used:
        words += (
            f"; Secret {known.cluster_key[1]} of namespace {known.cluster_key[0]} holds one, and jobs do not use it"
        )
    return words


def _own(api: Api, namespace: str, account: str) -> list[str]:
    """The service account's pull secrets; of one that is missing, admission tells."""
    try:
        found = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/serviceaccounts/{path_segment(account)}")
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            return []
        raise unmeasured(error) from error
    return [str(one.get("name", "")) for one in found.get("imagePullSecrets") or ()]


def _read(api: Api, namespace: str, name: str) -> Json | None:
    try:
        return api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}")
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            return None
        raise unmeasured(error) from error


def _said(secret: Json | None, host: str) -> str:
    if secret is None:
        return "there is no such Secret"
    data = secret.get("data") or {}
    text = data.get(".dockerconfigjson") or data.get(".dockercfg")
    if not text:
        return f"is of type {secret.get('type', 'Opaque')}, no registry's account"
    try:
        found = parse_docker_config(base64.b64decode(text, validate=True).decode(), host)
    except (ValueError, binascii.Error) as error:
        return f"cannot be read: {error}"
    return _HOLDS if found else "holds no account for it"
