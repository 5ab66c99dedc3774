"""Access reviews: the API server's answers about what a user may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cluster.state import User
from lab.kubernetes.authorization import Attempt, allows, rules_of

if TYPE_CHECKING:
    from lab.cluster.resources import Resource
    from lab.cluster.state import ClusterState, Raw


def review(cluster: ClusterState, user: User, resource: Resource, body: Raw) -> Raw:
    """The answer to a review that was created."""
    spec = body.get("spec") or {}
    head: Raw = {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": {"creationTimestamp": None}}
    if resource.kind == "SelfSubjectReview":
        return head | {"status": {"userInfo": {"username": user.name, "groups": list(user.groups)}}}
    if resource.kind == "SelfSubjectRulesReview":
        resources, paths = rules_of(cluster, user, spec.get("namespace", ""))
        status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
        return head | {"spec": {}, "status": status}
    if resource.kind in {"SubjectAccessReview", "LocalSubjectAccessReview"}:
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        head["metadata"] |= {
            key: body["metadata"][key] for key in ("namespace",) if key in (body.get("metadata") or {})
        }
    return head | {"spec": spec, "status": _access(cluster, user, spec)}


def _access(cluster: ClusterState, user: User, spec: Raw) -> Raw:
    attributes, path = spec.get("resourceAttributes") or {}, spec.get("nonResourceAttributes") or {}
    attempt = Attempt(
        verb=attributes.get("verb", path.get("verb", "")),
        group=attributes.get("group", ""),
        resource=attributes.get("resource", ""),
        subresource=attributes.get("subresource", ""),
        namespace=attributes.get("namespace", ""),
        name=attributes.get("name", ""),
        path=path.get("path", ""),
    )
    reason = allows(cluster, user, attempt)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True} | ({"reason": reason} if reason else {})
