"""The API server's errors: a ``Status`` object each, in Kubernetes' own words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.cluster.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One invalid field of an object."""

    path: str
    message: str
    reason: str = "FieldValueInvalid"


@dataclass(slots=True)
class Refusal(Exception):
    """A request that is answered with an error; `status()` is the body."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    waited: float = 0.0  # seconds that the API server waits for another server before it answers

    def status(self) -> dict[str, Any]:
        """The ``Status`` object, with its keys in the order of the real one."""
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": dict(self.extra)}
        body |= {"status": "Failure", "message": self.message} | ({"reason": self.reason} if self.reason else {})
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def _details(resource: Resource, name: str = "", **more: object) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return details | {"kind": resource.plural} | more


def unauthorized() -> Refusal:
    """401: the token is unknown."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def denied(
    user: str, verb: str, resource: Resource, *, namespace: str, name: str = "", subresource: str = ""
) -> Refusal:
    """403: no RBAC rule allows it."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    qualified = f"{resource.plural}/{subresource}" if subresource else resource.plural
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user}" cannot {verb} resource "{qualified}" '
        f'in API group "{resource.group}" {scope}'
    )
    return Refusal(403, "Forbidden", message, _details(resource, name))


def denied_path(user: str, verb: str, path: str) -> Refusal:
    """403: no RBAC rule allows this path, which is no resource."""
    return Refusal(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"', {})


def forbidden(resource: Resource, name: str, why: str) -> Refusal:
    """403: an admission plugin refuses it."""
    return Refusal(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {why}', _details(resource, name))


def not_found(resource: Resource, name: str) -> Refusal:
    """404: there is no such object."""
    return Refusal(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> Refusal:
    """409: the name is taken."""
    return Refusal(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> Refusal:
    """409: the object has changed since the request's version."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refusal(409, "Conflict", message, _details(resource, name))


def invalid(resource: Resource, name: str, causes: list[Cause]) -> Refusal:
    """422: invalid fields, each named."""
    messages = [f"{cause.path}: {cause.message}" for cause in causes]
    joined = messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
    details: dict[str, Any] = {"name": name}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.path} for cause in causes]
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return Refusal(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)


def bad_request(message: str) -> Refusal:
    """400: the request is malformed."""
    return Refusal(400, "BadRequest", message)


def method_not_allowed() -> Refusal:
    """405: the resource does not support the method."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def expired(message: str, *, continue_token: str = "") -> Refusal:
    """410: the history that the request needs has been compacted."""
    return Refusal(410, "Expired", message, None, {"continue": continue_token} if continue_token else {})


def internal(message: str) -> Refusal:
    """500: an error inside the cluster, such as a kubelet out of reach."""
    return Refusal(500, "InternalError", message)


def no_answer(hook: str, url: str, seconds: int) -> Refusal:
    """500: a webhook that fails closed did not answer in time."""
    message = f'failed calling webhook "{hook}": failed to call webhook: Post "{url}?timeout={seconds}s"'
    message = f"{message}: context deadline exceeded"
    details = {"causes": [{"message": message}]}
    return Refusal(500, "InternalError", f"Internal error occurred: {message}", details, waited=seconds)
