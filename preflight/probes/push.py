"""Whether jobs may push to a repository, and the removal of what the suite's own job pushed.

Both write to the registry, though hardly: an upload is started and cancelled before a byte of it is sent, so that
nothing can be pulled or listed that was not there before; some registries create the repository at that point, and
distribution keeps some hundred bytes, the cancelled upload's empty checksum, in its own folder of uploads. An image is
removed by its digest, which the suite's own jobs make unique (docs/sources.md#registry-protocol).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack
from urllib.parse import urljoin

from preflight.clients.http import NoReply, Reply, origin_of
from preflight.evidence import Fact
from preflight.faults import PathFault, RegistryFault
from preflight.probes.registry import (
    ACCEPT_MANIFESTS,
    Access,
    Conversation,
    Refused,
    error_suffix,
    parse_reference,
)

_ACCEPTED, _OK, _NO_CONTENT = 202, 200, 204
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 401, 403, 404, 405


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPermission(Fact):
    """Whether an account may push to a repository.

    Attributes:
        repository: with its host.
        account: the user name; empty without credentials.
        cancelled: whether the registry confirmed that the upload is cancelled; where it did not, it expires there.
    """

    repository: str
    account: str = ""
    cancelled: bool = False


def push_permission(repository: str, **access: Unpack[Access]) -> PushPermission:
    """Start an upload to ``host/name`` and cancel it: a token alone would prove nothing.

    Raises:
        ValueError: when `repository` is no reference.
        Unmeasured: when ``connect:`` refuses an address.
    """
    reference = parse_reference(repository)
    registry = Conversation(reference.host, **access)
    account = registry.credentials.username if registry.credentials else ""
    fault: RegistryFault | PathFault | None = None
    cause, cancelled = "", False
    path = f"/v2/{reference.repository}/blobs/uploads/"
    try:
        reply, _ = registry.answer(path, scope=f"repository:{reference.repository}:pull,push", method="POST")
        fault, cause = judge_upload(reply, f"{reference.host}/{reference.repository}", account)
        if fault is None:
            scope = f"repository:{reference.repository}:pull,push,delete"
            cancelled = _cancel(registry, urljoin(path, reply.headers.get("location", "")), scope)
    except NoReply as no:
        fault, cause = no.fault, no.cause
    except Refused as refused:
        fault, cause = refused.fault, refused.cause
    return PushPermission(
        target=repository,
        fault=fault,
        cause=cause,
        evidence=registry.evidence(registry.curl(path, "-X", "POST")),
        repository=repository,
        account=account,
        cancelled=cancelled,
    )


def judge_upload(reply: Reply, repository: str, account: str) -> tuple[RegistryFault | None, str]:
    """What the answer to the start of an upload means: a fault and its cause, or nothing where it was accepted."""
    user, error = account or "an anonymous client", error_suffix(reply)
    if reply.status == _ACCEPTED:
        return None, ""
    if reply.status in {_UNAUTHORIZED, _FORBIDDEN}:
        if not account:
            return RegistryFault.UNAUTHORIZED, f"{repository} takes no upload without an account{error}"
        return RegistryFault.DENIED, f"{account} may not push to {repository}{error}"
    if reply.status == _NOT_FOUND:
        return RegistryFault.NOT_FOUND, f"there is no {repository} to push to, or {user} may not create it{error}"
    if reply.status == _NOT_ALLOWED:
        return RegistryFault.DENIED, f"{repository} takes no uploads at all: a read-only registry or a cache{error}"
    return RegistryFault.HTTP_STATUS, f"the upload to {repository} was answered with {reply.status}{error}"


def _cancel(registry: Conversation, location: str, scope: str) -> bool:
    """Cancel an upload; some registries do not support it, or forbid it, and there it expires by itself.

    For a registry with a token server it is a deletion, for which the token to push is not enough. Another host
    to which the upload may have been redirected is sent no login.
    """
    if not location:
        return False
    try:
        if origin_of(urljoin(registry.root, location)) == origin_of(registry.root):
            reply, _ = registry.answer(location, scope=scope, method="DELETE")
        else:
            reply = registry.ask(location, method="DELETE")
    except (NoReply, Refused):
        return False
    return reply.status in {_OK, _ACCEPTED, _NO_CONTENT}


def remove_image(image: str, **access: Unpack[Access]) -> str:
    """Remove an image that the suite's own job pushed; returns why it is still there, or "" if it is gone.

    Deleting goes by digest, and takes every tag of that digest along: only for images that nobody
    else can have.
    """
    reference = parse_reference(image)
    registry = Conversation(reference.host, **access)
    manifests = f"/v2/{reference.repository}/manifests/"
    try:
        reply, _ = registry.answer(
            f"{manifests}{reference.ref}",
            scope=f"repository:{reference.repository}:pull,delete",
            accept=ACCEPT_MANIFESTS,
        )
        if reply.status == _NOT_FOUND:
            return ""
        digest = reply.headers.get("docker-content-digest", "")
        if reply.status != _OK or not digest:
            return f"its manifest was answered with {reply.status}{error_suffix(reply)}"
        deletion = registry.ask(f"{manifests}{digest}", method="DELETE")
    except (NoReply, Refused) as problem:
        return problem.cause
    if deletion.status in {_OK, _ACCEPTED, _NO_CONTENT, _NOT_FOUND}:
        return ""
    if deletion.status == _NOT_ALLOWED:
        return f"{reference.host} has deletion switched off (405)"
    return f"its deletion was answered with {deletion.status}{error_suffix(deletion)}"
