"""Authentication by bearer token, and authorization by the RBAC objects of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.cluster.state import ClusterState, Raw, User
from lab.kubernetes.refusals import unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
_MASTERS = "system:masters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A request to be authorized: on a resource, or (if `path` is set) on a path that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def authenticate(cluster: ClusterState, authorization: str) -> User:
    """The user of an ``Authorization`` header: anonymous without a token; an unknown token is refused."""
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer":
        return ANONYMOUS
    user = cluster.tokens.get(token.strip())
    if user is None:
        raise unauthorized()
    return user


def service_account_user(namespace: str, name: str) -> User:
    """A service account as a user."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


def allows(cluster: ClusterState, user: User, attempt: Attempt) -> str | None:
    """RBAC's reason for allowing a request (empty for the cluster's masters); None if nothing allows it."""
    if _MASTERS in user.groups:
        return ""
    for reason, rules in _granted(cluster, user, attempt.namespace):
        if any(_covers(rule, attempt) for rule in rules):
            return reason
    return None


def rules_of(cluster: ClusterState, user: User, namespace: str) -> tuple[list[Raw], list[Raw]]:
    """All rules that apply to a user in a namespace: those on resources, and those on paths."""
    resources: list[Raw] = []
    paths: list[Raw] = []
    if _MASTERS in user.groups:
        resources.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    for _, rules in _granted(cluster, user, namespace):
        for rule in rules:
            if "nonResourceURLs" in rule:
                paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
            else:
                keys = ("verbs", "apiGroups", "resources", "resourceNames")
                resources.append({key: rule[key] for key in keys if key in rule})
    return resources, paths


def _granted(cluster: ClusterState, user: User, namespace: str) -> Iterator[tuple[str, list[Raw]]]:
    for kind, where in (("clusterrolebindings", None), ("rolebindings", namespace)):
        if where == "":
            continue
        for binding in cluster.list(kind, where):
            subject = next(
                (candidate for candidate in binding.get("subjects") or [] if _is(candidate, user, namespace)), None
            )
            if subject is None:
                continue
            reference = binding["roleRef"]
            clusterwide = reference["kind"] == "ClusterRole"
            role = cluster.get(
                "clusterroles" if clusterwide else "roles", "" if clusterwide else namespace, reference["name"]
            )
            reason = _reason(binding, reference, subject, namespaced=kind == "rolebindings")
            yield reason, (role or {}).get("rules") or []


def _is(subject: dict[str, Any], user: User, namespace: str) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    if subject["kind"] == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}"
    return bool(subject["name"] == user.name)


def _covers(rule: Raw, attempt: Attempt) -> bool:
    if not {"*", attempt.verb} & set(rule.get("verbs", [])):
        return False
    if attempt.path:
        return any(
            url in ("*", attempt.path) or (url.endswith("*") and attempt.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs", [])
        )
    qualified = f"{attempt.resource}/{attempt.subresource}" if attempt.subresource else attempt.resource
    named = {"*", qualified} | ({f"*/{attempt.subresource}"} if attempt.subresource else set())
    names = rule.get("resourceNames") or []
    return (
        bool({"*", attempt.group} & set(rule.get("apiGroups", [])))
        and bool(named & set(rule.get("resources", [])))
        and (not names or attempt.name in names)
    )


def _reason(binding: Raw, role: Raw, subject: Raw, *, namespaced: bool) -> str:
    metadata = binding["metadata"]
    bound = (
        f'RoleBinding "{metadata["name"]}/{metadata["namespace"]}"'
        if namespaced
        else f'ClusterRoleBinding "{metadata["name"]}"'
    )
    if subject["kind"] == "ServiceAccount":
        who = f'ServiceAccount "{subject["name"]}/{subject.get("namespace", metadata.get("namespace", ""))}"'
    else:
        who = f'{subject["kind"]} "{subject["name"]}"'
    return f'RBAC: allowed by {bound} of {role["kind"]} "{role["name"]}" to {who}'
