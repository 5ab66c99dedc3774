"""What the runner's own service account may do in the jobs' namespace, asked from the API server's authorizer.

The table is the runner's own, generated from its code (docs/sources.md#rbac): without the first part no job
can run, without the second the runner warns and goes on. Where a Role may be asked about, a LocalSubjectAccessReview
suffices: it needs a right in the namespace only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact
from preflight.faults import RightsFault
from preflight.jobshape import ENTRYPOINT_FLAG, EVENTS_FLAG, LEGACY_FLAG, REACHABLE_FLAG, JobShape
from preflight.releasenames import ReleaseNames
from preflight.shell_command import program

Json = dict[str, Any]

HARD: Mapping[str, tuple[str, ...]] = {
    "pods": ("create", "get", "delete"),
    "pods/attach": ("create",),
    "pods/exec": ("create",),
    "secrets": ("create", "get", "update", "delete"),
    "serviceaccounts": ("get",),
}
"""Verbs by resource without which no job runs, whatever the values say but for `needed`."""

SOFT: Mapping[str, tuple[str, ...]] = {
    "pods": ("list", "watch"),  # else "won't use informers"
    "pods/log": ("get", "list"),
    "events": ("list",),  # print_pod_warning_events
    "services": ("create", "get"),  # of services with ports
}
"""Verbs by resource without which the runner sees or logs less."""


CLUSTER_WIDE: Mapping[str, tuple[str, ...]] = {"namespaces": ("create", "delete")}
"""Verbs by resource that a runner with ``namespace_per_job`` needs besides, in the whole cluster."""


def needed(shape: JobShape) -> dict[str, tuple[str, ...]]:
    """Verbs by resource without which no job of this shape runs; with ``namespace_per_job``, `CLUSTER_WIDE` among them.

    The service account is looked for only where the values name one; nothing is attached to with the legacy strategy.
    """
    rights = dict(HARD)
    if not shape.service_account:
        del rights["serviceaccounts"]
    if LEGACY_FLAG in shape.flags:
        del rights["pods/attach"]
    elif ENTRYPOINT_FLAG in shape.flags:
        rights["pods"] = (*rights["pods"], "watch")
        rights["pods/log"] = ("get",)
    if REACHABLE_FLAG in shape.flags:
        rights["pods/log"] = ("get",)
    if EVENTS_FLAG in shape.flags:
        rights["events"] = ("watch",)
    return {**rights, **CLUSTER_WIDE} if shape.namespace_per_job else rights


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Fact):
    """The service account that the managers run as.

    Attributes:
        namespace: its namespace, which is the release's.
        name: its name.
        source: what names it: the values, a pod or the Deployment.
    """

    namespace: str
    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights(Fact):
    """What an account may not do of what the runner needs.

    Attributes:
        account: ``namespace/name``.
        missing: verbs by resource.
    """

    account: str
    missing: Mapping[str, tuple[str, ...]]


def account(api: Api, release: str, names: ReleaseNames, *, brings_rights: bool = True) -> Account | None:
    """The account of the deployed managers, else the one that the values lead to; None if the chart is yet to make it.

    One that the values lead to and that the chart does not make is the one to judge: with the next upgrade managers
    run as it, and no pod of theirs is made where it is not there.

    Args:
        api: the cluster's API.
        release: its name, which is the label ``release`` of all that the chart makes.
        names: what the values lead to.
        brings_rights: whether the release gives the account of the values its rights. Until it has, those of the
            deployed managers' account are judged, and of the other only whether it is there.

    Raises:
        Unmeasured: the API could not be asked.
    """
    namespace = names.namespace
    deployments = f"/apis/apps/v1/namespaces/{path_segment(namespace)}/deployments"
    pods = f"/api/v1/namespaces/{path_segment(namespace)}/pods"
    try:
        chosen, made_by_chart = names.service_account, names.account_made
        source = "the values"
        # Admission has written the account into each pod; a Deployment may leave it out and mean the default one.
        if running := next(iter(api.items(pods, labelSelector=f"release={release}")), None):
            chosen, made_by_chart = str(running["spec"].get("serviceAccountName") or "default"), False
            source = f"pod {running['metadata']['name']}"
        elif existing := list(api.items(deployments, labelSelector=f"release={release}")):
            spec = existing[0].get("spec", {}).get("template", {}).get("spec", {})
            chosen, made_by_chart = str(spec.get("serviceAccountName") or "default"), False
            source = f"Deployment {existing[0]['metadata']['name']}"
        began = time.monotonic()
        # That values without RBAC name no account, and so lead to the default one, is a finding of its own.
        if not names.account_made and names.service_account not in {chosen, _UNNAMED}:
            absent = _absence(api, namespace, names.service_account)
            if absent or not brings_rights:
                chosen, source = names.service_account, "the values"
        absent = _absence(api, namespace, chosen)
    except ApiError as error:
        raise unmeasured(error) from error
    if absent and made_by_chart:
        return None
    evidence = Evidence(
        where="here",
        command=kubectl("GET", _account_path(namespace, chosen), {}),
        observed=absent or f"{chosen} (named by {source})",
        took=time.monotonic() - began,
    )
    return Account(
        target=f"{namespace}/{chosen}",
        namespace=namespace,
        name=chosen,
        source=source,
        fault=RightsFault.ACCOUNT_MISSING if absent else None,
        cause=f"the managers' service account {chosen} (named by {source}) is not in {namespace}" if absent else "",
        evidence=evidence,
    )


_NOT_FOUND = 404
_UNNAMED = "default"


def _account_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{path_segment(namespace)}/serviceaccounts/{path_segment(name)}"


def _absence(api: Api, namespace: str, name: str) -> str:
    """The API server's message that there is no such account; empty where there is."""
    try:
        api.get(_account_path(namespace, name))
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return error.message
    return ""


def review(
    api: Api,
    account: Account,
    namespace: str,
    table: Mapping[str, Sequence[str]],
    *,
    fault: RightsFault,
    everywhere: bool = False,
) -> Rights:
    """Ask the authorizer for every verb of a table.

    Args:
        api: the cluster's API.
        account: whose rights are asked for.
        namespace: of the jobs.
        table: verbs by resource.
        fault: of what is missing.
        everywhere: ask for the whole cluster: jobs have namespaces of their own that are not there yet.

    Raises:
        Unmeasured: reviews may not be made, or the API could not be asked.
    """
    began = time.monotonic()
    place = "" if everywhere else namespace
    missing: dict[str, tuple[str, ...]] = {}
    lines: list[str] = []
    try:
        for resource, verbs in table.items():
            refused = [verb for verb in verbs if not _allowed(api, account, place, verb, resource)]
            lines += [f"{verb} {resource}: {'no' if verb in refused else 'yes'}" for verb in verbs]
            if refused:
                missing[resource] = tuple(refused)
    except ApiError as error:
        raise unmeasured(error) from error
    user = f"system:serviceaccount:{account.namespace}:{account.name}"
    first = next(((resource, verbs[0]) for resource, verbs in missing.items()), ("pods", "create"))
    cause = ""
    if missing:
        wanted = "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in missing.items())
        where = f"in namespace {namespace}" if place else "in all namespaces, as namespace_per_job needs it"
        cause = f"{account.target} may not do {where}: {wanted}"
        lines += ["", rule(missing, place)]
    return Rights(
        target=account.target,
        account=account.target,
        missing=missing,
        fault=fault if missing else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program(
                "kubectl", "auth", "can-i", first[1], first[0], *(("-n", place) if place else ("-A",)), "--as", user
            ),
            observed="\n".join(lines),
            took=time.monotonic() - began,
        ),
    )


def _allowed(api: Api, account: Account, namespace: str, verb: str, resource: str) -> bool:
    """Whether the account may do it in the namespace; where none is given, in the whole cluster."""
    name, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": "", "resource": name}
    kind, path = "SubjectAccessReview", "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    metadata = {}
    if namespace:
        kind = "LocalSubjectAccessReview"
        path = f"/apis/authorization.k8s.io/v1/namespaces/{path_segment(namespace)}/localsubjectaccessreviews"
        attributes["namespace"] = metadata["namespace"] = namespace
    if subresource:
        attributes["subresource"] = subresource
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {
            "user": f"system:serviceaccount:{account.namespace}:{account.name}",
            "groups": [
                "system:serviceaccounts",
                f"system:serviceaccounts:{account.namespace}",
                "system:authenticated",
            ],
            "resourceAttributes": attributes,
        },
    }
    answer, _ = api.create(path, body)
    return bool(answer.get("status", {}).get("allowed"))


def rule(missing: Mapping[str, Iterable[str]], namespace: str) -> str:
    """The rules that give what is missing, as YAML; without a namespace, they belong in a ClusterRole."""
    rules = (
        f'- apiGroups: [""]\n  resources: ["{resource}"]\n  verbs: [{", ".join(map(_quoted, verbs))}]'
        for resource, verbs in missing.items()
    )
    return "\n".join([f"# in a Role in namespace {namespace}" if namespace else "# in a ClusterRole", *rules])


def _quoted(word: str) -> str:
    return f'"{word}"'
