"""Image pulls as a node's runtime does them: what it can reach in the world, and the runtime's error if it fails.

The errors are those of containerd 1.6 as a kubelet v1.28 reports them, and of Docker's daemon.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from lab.images import stored
from lab.network import lookup, path
from lab.registry import blob_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.network import Reply, Way
    from lab.world import Certificate, Image, Registry, Vantage, World

Runtime = Literal["containerd", "docker"]

PLATFORM = "linux/amd64"
_FETCH_SECONDS = 0.06  # of a pull that fetches layers
_CACHED_SECONDS = 0.02  # of one that finds everything in the node's content store
_EXPIRED = "2024-12-31T23:59:59Z"
_NOT_FOUND = "rpc error: code = NotFound desc = "
_GIVES_UP_AFTER = 0.3  # a real runtime waits 30 s for a silent host


@dataclass(frozen=True)
class PullResult:
    """How a pull ended. `error` is empty if it succeeded."""

    ok: bool
    seconds: float
    error: str = ""
    digest: str = ""  # of the manifest that the tag points to
    image_id: str = ""  # digest of the configuration for the node's platform
    size: int = 0
    fresh: bool = False  # whether layers were fetched


class _PullFailedError(Exception):
    """A pull failed; holds the runtime's error, without the prefix that names the image."""

    def __init__(self, containerd: str, docker: str, *, waited: bool = False) -> None:
        self.containerd, self.docker, self.waited = containerd, docker, waited
        super().__init__(containerd)


async def pull(
    world: World,
    node: str,
    image: str,
    auths: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    runtime: Runtime = "containerd",
    *,
    vantage: Vantage | None = None,
) -> PullResult:
    """Pull an image as the runtime of `node` does, or from inside a pod, if `vantage` is one (Docker in Docker).

    Args:
        world: the world.
        node: the node's name.
        image: a full reference, ``registry.example.com/library/alpine:latest``.
        auths: logins from pull secrets by registry host, tried in order.
        runtime: whose error messages to give.
        vantage: where the pull's connections start; default: the node itself.
    """
    began = time.monotonic()
    await world.pause()
    start = vantage or world.node_vantage(node)
    host, repository, reference = split(image)
    try:
        found_image = _reach(world, start, host, repository, reference, list((auths or {}).get(host, ())))
        store = start.dockerd.images if start.dockerd is not None else world.nodes[node].pulled
        content = stored(repository, found_image)
        fresh = content.top.digest not in store
        if fresh:
            _fetch(world, start, host, content.configs[PLATFORM])
        rate = (
            world.registries[host].rate
            if host in world.registries and not store & {content.top.digest, image}
            else None
        )
    except _PullFailedError as failure:
        await asyncio.sleep(_GIVES_UP_AFTER if failure.waited else _CACHED_SECONDS)
        error = failure.docker if runtime == "docker" else failure.containerd.replace("IMAGE", image)
        return PullResult(ok=False, seconds=time.monotonic() - began, error=error)
    at_rate = found_image.size * 8 / rate if rate else 0.0
    await asyncio.sleep(at_rate + (_FETCH_SECONDS if fresh else _CACHED_SECONDS))
    store.update((content.top.digest, image))
    return PullResult(
        ok=True,
        seconds=time.monotonic() - began,
        digest=content.top.digest,
        image_id=content.configs[PLATFORM],
        size=found_image.size,
        fresh=fresh,
    )


def split(image: str) -> tuple[str, str, str]:
    """Registry host, repository and tag or digest of a reference, with Docker Hub's defaults."""
    first, slash, rest = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "registry-1.docker.io", image if slash else f"library/{image}"
    if "@" in rest:
        repository, _, reference = rest.partition("@")
        return first, repository.partition(":")[0], reference
    repository, _, tag = rest.partition(":")
    return first, repository, tag or "latest"


def _reach(
    world: World, vantage: Vantage, host: str, repository: str, reference: str, logins: Sequence[tuple[str, str]]
) -> Image:
    name, _, port = host.partition(":")
    url = f"https://{host}/v2/{repository}/manifests/{reference}"
    world.record(f"pull {host}", "HEAD", f"/v2/{repository}/manifests/{reference}", user=str(vantage))
    address = _dial(world, vantage, name, int(port or 443), f'Head "{url}"', f'Get "https://{host}/v2/"')
    registry = next((candidate for candidate in world.registries.values() if candidate.address == address), None)
    if registry is None:
        message = f'Head "{url}": http: server gave HTTP response to HTTPS client'
        raise _PullFailedError(
            _request(message), f'Get "https://{host}/v2/": http: server gave HTTP response to HTTPS client'
        )
    insecure = vantage.dockerd.insecure_registries if vantage.dockerd is not None else ()
    if host not in insecure:  # the daemon then accepts any certificate, and plain HTTP
        _trust(registry, url)
    _authorize(world, vantage, registry, repository, reference, logins)
    status = _status(registry)
    if status:
        daemon = f"received unexpected HTTP status: {status}"
        if registry.rate_limited:
            limit = "You have reached your unauthenticated pull rate limit."
            daemon = f"toomanyrequests: {limit} https://www.docker.com/increase-rate-limit"
        raise _PullFailedError(_resolve(_from_host(registry, reference, status)), daemon)
    tags = registry.images.get(repository, {})
    image = tags.get(reference)
    if image is None:
        matches = [image for image in tags.values() if reference in stored(repository, image).manifests]
        if not matches:
            short = f"{host}/{repository}:{reference}"
            raise _PullFailedError(
                _NOT_FOUND + _resolve(f"{short}: not found"),
                f"manifest for {short} not found: manifest unknown: manifest unknown",
            )
        image = matches[0]
    if PLATFORM not in image.platforms:
        top = stored(repository, image).top.digest
        message = f'failed to pull and unpack image "IMAGE": no match for platform in manifest {top}: not found'
        daemon = f"no matching manifest for {PLATFORM} in the manifest list entries"
        raise _PullFailedError(_NOT_FOUND + message, daemon)
    return image


def _fetch(world: World, vantage: Vantage, host: str, reference: str) -> None:
    """Fetch the blobs, where the registry keeps them elsewhere."""
    registry = world.registries.get(host)
    if registry is None or not registry.blob_host:
        return
    request = f'Get "https://{registry.blob_host}{blob_path(reference)}"'
    try:
        _dial(world, vantage, registry.blob_host, 443, request, request)
    except _PullFailedError as failure:
        reason = failure.docker.removeprefix(f"{request}: ")
        raise _PullFailedError(
            f'failed to pull and unpack image "IMAGE": failed to copy: httpReadSeeker: failed open: failed to do '
            f"request: {request}: {reason}",
            f"error pulling image configuration: download failed after attempts=6: {reason}",
            waited=failure.waited,
        ) from None


def _status(registry: Registry) -> str:
    if registry.mode == "unavailable":
        return "503 Service Unavailable"
    return "429 Too Many Requests" if registry.rate_limited else ""


def _dial(world: World, vantage: Vantage, name: str, port: int, containerd: str, docker: str) -> str:
    """Connect to a host by name; returns its address."""
    reply = lookup(world, vantage, name)
    if not reply.ok:
        reason = f"dial tcp: lookup {name}{_lookup_error(reply, vantage)}"
        raise _PullFailedError(
            _request(f"{containerd}: {reason}"), f"{docker}: {reason}", waited=reply.status == "timeout"
        )
    address = reply.addresses[0]
    outcome = path(world, vantage, address, port)
    troubled = world.misbehaviour.get(f"registry {name}") or world.misbehaviour.get(f"token {name}")
    if outcome == "open" and not troubled:
        return address
    if outcome == "open":
        slow = troubled in {"silent", "drip"}
        reason = "net/http: TLS handshake timeout" if slow else "EOF"
        raise _PullFailedError(_request(f"{containerd}: {reason}"), f"{docker}: {reason}", waited=slow)
    reason = f"dial tcp {address}:{port}: {_DIAL_ERRORS[outcome]}"
    if outcome == "reset":
        local = f"{vantage.address or '172.24.1.23'}:{_local_port()}"
        reason = f"read tcp {local}->{address}:{port}: read: connection reset by peer"
    raise _PullFailedError(_request(f"{containerd}: {reason}"), f"{docker}: {reason}", waited=outcome == "timeout")


_DIAL_ERRORS: dict[Way, str] = {
    "refused": "connect: connection refused",
    "timeout": "i/o timeout",
    "unreachable": "connect: no route to host",
}


def _lookup_error(reply: Reply, vantage: Vantage) -> str:
    """The end of Go's error ``lookup NAME …``."""
    server = f" on {reply.resolver}:53" if reply.resolver else ""
    local = f"{vantage.address or '172.24.1.23'}:{_local_port()}"
    return {
        "nxdomain": f"{server}: no such host",
        "no-answer": f"{server}: no such host",
        "servfail": f"{server}: server misbehaving",
        "refused": f"{server}: server misbehaving",
        "timeout": f"{server}: read udp {local}->{reply.resolver}:53: i/o timeout",
        "closed": f"{server}: read udp {local}->{reply.resolver}:53: read: connection refused",
        "ok": "",
    }[reply.status]


def _local_port() -> int:
    return 32768 + secrets.randbelow(28000)


def _trust(registry: Registry, url: str) -> None:
    error = certificate_error(registry.certificate, registry.host)
    if error:
        raise _PullFailedError(
            _request(f'Head "{url}": {error}'),
            f'Get "https://{urlsplit(url).netloc}/v2/": {error}'.replace(
                ": x509", ": tls: failed to verify certificate: x509"
            ),
        )


def certificate_error(certificate: Certificate, host: str) -> str:
    """Go's TLS error for a certificate; empty for a valid one."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "valid": "",
        "self-signed": "x509: certificate signed by unknown authority",
        "expired": f"x509: certificate has expired or is not yet valid: current time {now} is after {_EXPIRED}",
        "other-name": f"x509: certificate is valid for www.example.com, not {host}",
        "none": "http: server gave HTTP response to HTTPS client",
    }[certificate]


def _authorize(
    world: World,
    vantage: Vantage,
    registry: Registry,
    repository: str,
    reference: str,
    logins: Sequence[tuple[str, str]],
) -> None:
    if registry.auth == "none":
        return
    authorized = any(registry.accounts.get(user) == password for user, password in logins)
    url = f"https://{registry.host}/v2/{repository}/manifests/{reference}"
    if registry.auth == "basic":
        if not authorized:
            reason = "unauthorized: authentication required" if logins else "no basic auth credentials"
            raise _PullFailedError(
                _resolve(_from_host(registry, reference, "401 Unauthorized")),
                f'Head "{url}": {reason}',
            )
        return
    scope = quote(f"repository:{repository}:pull", safe="")
    realm = f"https://{registry.realm_host}/token"
    question = f'Get "{realm}?scope={scope}&service={registry.host}"'
    kind = "failed to fetch oauth token" if logins else "failed to fetch anonymous token"
    request = f'Post "{realm}"' if logins else question
    try:
        _dial(world, vantage, registry.realm_host, 443, request, question)
    except _PullFailedError as failure:
        reason = failure.containerd.split("failed to do request: ", 1)[-1]
        daemon = f'Head "{url}": {failure.docker}'
        raise _PullFailedError(
            _resolve(f"failed to authorize: {kind}: {reason}"), daemon, waited=failure.waited
        ) from None
    if logins and not authorized:
        raise _PullFailedError(
            _resolve(f"failed to authorize: {kind}: unexpected status from POST request to {realm}: 401 Unauthorized"),
            f'Head "{url}": unauthorized: incorrect username or password',
        )
    if not logins and not registry.anonymous:
        raise _PullFailedError(
            _resolve(
                f"failed to authorize: {kind}: unexpected status from GET request to "
                f"{realm}?scope={scope}&service={registry.host}: 401 Unauthorized"
            ),
            f'Head "{url}": unauthorized: authentication required',
        )


def _from_host(registry: Registry, reference: str, status: str) -> str:
    return f"pulling from host {registry.host} failed with status code [manifests {reference}]: {status}"


def _resolve(reason: str) -> str:
    return f'failed to pull and unpack image "IMAGE": failed to resolve reference "IMAGE": {reason}'


def _request(reason: str) -> str:
    return _resolve(f"failed to do request: {reason}")
