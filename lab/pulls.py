"""Image pulls as a node's runtime does them: what the world lets it reach, and the runtime's own words when it fails.

The words are those of containerd 1.6 as a kubelet v1.28 passes them on, and of Docker's daemon.
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

Words = Literal["containerd", "docker"]

PLATFORM = "linux/amd64"
_TAKES = 0.06  # of a pull that moves bytes
_KNOWN = 0.02  # of one that finds everything in the node's content store
_EXPIRED = "2024-12-31T23:59:59Z"
_NOT_FOUND = "rpc error: code = NotFound desc = "
_GIVES_UP = 0.3  # a runtime waits 30 s for a silent host; nobody wants to wait for that here


@dataclass(frozen=True)
class Pulled:
    """How a pull ended. `error` is empty when it went well."""

    ok: bool
    seconds: float
    error: str = ""
    digest: str = ""  # of the manifest that the tag points to
    image_id: str = ""  # digest of the configuration for the node's platform
    size: int = 0
    fresh: bool = False  # bytes were moved


class _FailedError(Exception):
    """The runtime's words, without the prefix that names the image."""

    def __init__(self, containerd: str, docker: str, *, waited: bool = False) -> None:
        self.containerd, self.docker, self.waited = containerd, docker, waited
        super().__init__(containerd)


async def pull(
    world: World,
    node: str,
    image: str,
    auths: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    words: Words = "containerd",
    *,
    vantage: Vantage | None = None,
) -> Pulled:
    """Pull an image as the runtime of `node` would; from inside a pod where `vantage` says so (Docker in Docker).

    Args:
        world: the world.
        node: the node's name.
        image: a full reference, ``registry.example.com/library/alpine:latest``.
        auths: logins from pull secrets by registry host, tried in order.
        words: whose error messages.
        vantage: where the pull's connections start; default: the node itself.
    """
    began = time.monotonic()
    await world.pause()
    start = vantage or world.node_vantage(node)
    host, repository, reference = split(image)
    try:
        found = _reach(world, start, host, repository, reference, list((auths or {}).get(host, ())))
        store = start.dockerd.images if start.dockerd is not None else world.nodes[node].pulled
        content = stored(repository, found)
        fresh = content.top.digest not in store
        if fresh:
            _fetch(world, start, host, content.configs[PLATFORM])
    except _FailedError as failure:
        await asyncio.sleep(_GIVES_UP if failure.waited else _KNOWN)
        error = failure.docker if words == "docker" else failure.containerd.replace("IMAGE", image)
        return Pulled(ok=False, seconds=time.monotonic() - began, error=error)
    await asyncio.sleep(_TAKES if fresh else _KNOWN)
    store.update((content.top.digest, image))
    return Pulled(
        ok=True,
        seconds=time.monotonic() - began,
        digest=content.top.digest,
        image_id=content.configs[PLATFORM],
        size=found.size,
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
    registry = next((shop for shop in world.registries.values() if shop.address == address), None)
    if registry is None:
        said = f'Head "{url}": http: server gave HTTP response to HTTPS client'
        raise _FailedError(_request(said), f'Get "https://{host}/v2/": http: server gave HTTP response to HTTPS client')
    told = vantage.dockerd.insecure_registries if vantage.dockerd is not None else ()
    if host not in told:  # the daemon then takes any certificate, and plain HTTP as well
        _trust(registry, url)
    _authorize(world, vantage, registry, repository, reference, logins)
    status = _status(registry)
    if status:
        daemon = f"received unexpected HTTP status: {status}"
        if registry.rate_limited:
            limit = "You have reached your unauthenticated pull rate limit."
            daemon = f"toomanyrequests: {limit} https://www.docker.com/increase-rate-limit"
        raise _FailedError(_resolve(_from_host(registry, reference, status)), daemon)
    tags = registry.images.get(repository, {})
    found = tags.get(reference)
    if found is None:
        known = [image for image in tags.values() if reference in stored(repository, image).manifests]
        if not known:
            short = f"{host}/{repository}:{reference}"
            raise _FailedError(
                _NOT_FOUND + _resolve(f"{short}: not found"),
                f"manifest for {short} not found: manifest unknown: manifest unknown",
            )
        found = known[0]
    if PLATFORM not in found.platforms:
        top = stored(repository, found).top.digest
        said = f'failed to pull and unpack image "IMAGE": no match for platform in manifest {top}: not found'
        daemon = f"no matching manifest for {PLATFORM} in the manifest list entries"
        raise _FailedError(_NOT_FOUND + said, daemon)
    return found


def _fetch(world: World, vantage: Vantage, host: str, reference: str) -> None:
    """Fetch the blobs, where the registry keeps them elsewhere."""
    registry = world.registries.get(host)
    if registry is None or not registry.blob_host:
        return
    asked = f'Get "https://{registry.blob_host}{blob_path(reference)}"'
    try:
        _dial(world, vantage, registry.blob_host, 443, asked, asked)
    except _FailedError as failure:
        said = failure.docker.removeprefix(f"{asked}: ")
        raise _FailedError(
            f'failed to pull and unpack image "IMAGE": failed to copy: httpReadSeeker: failed open: failed to do '
            f"request: {asked}: {said}",
            f"error pulling image configuration: download failed after attempts=6: {said}",
            waited=failure.waited,
        ) from None


def _status(registry: Registry) -> str:
    if registry.mode == "unavailable":
        return "503 Service Unavailable"
    return "429 Too Many Requests" if registry.rate_limited else ""


def _dial(world: World, vantage: Vantage, name: str, port: int, containerd: str, docker: str) -> str:
    """The address that was connected to."""
    reply = lookup(world, vantage, name)
    if not reply.ok:
        said = f"dial tcp: lookup {name}{_lookup_words(reply, vantage)}"
        raise _FailedError(_request(f"{containerd}: {said}"), f"{docker}: {said}", waited=reply.status == "timeout")
    address = reply.addresses[0]
    way = path(world, vantage, address, port)
    troubled = world.misbehaviour.get(f"registry {name}") or world.misbehaviour.get(f"token {name}")
    if way == "open" and not troubled:
        return address
    if way == "open":
        slow = troubled in {"silent", "drip"}
        said = "net/http: TLS handshake timeout" if slow else "EOF"
        raise _FailedError(_request(f"{containerd}: {said}"), f"{docker}: {said}", waited=slow)
    said = f"dial tcp {address}:{port}: {_DIAL_WORDS[way]}"
    if way == "reset":
        local = f"{vantage.address or '172.24.1.23'}:{_local_port()}"
        said = f"read tcp {local}->{address}:{port}: read: connection reset by peer"
    raise _FailedError(_request(f"{containerd}: {said}"), f"{docker}: {said}", waited=way == "timeout")


_DIAL_WORDS: dict[Way, str] = {
    "refused": "connect: connection refused",
    "timeout": "i/o timeout",
    "unreachable": "connect: no route to host",
}


def _lookup_words(reply: Reply, vantage: Vantage) -> str:
    """How Go's resolver ends ``lookup NAME …``."""
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
    words = certificate_words(registry.certificate, registry.host)
    if words:
        raise _FailedError(
            _request(f'Head "{url}": {words}'),
            f'Get "https://{urlsplit(url).netloc}/v2/": {words}'.replace(
                ": x509", ": tls: failed to verify certificate: x509"
            ),
        )


def certificate_words(certificate: Certificate, host: str) -> str:
    """What Go's TLS says of a certificate; empty for a good one."""
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
    right = any(registry.accounts.get(user) == password for user, password in logins)
    url = f"https://{registry.host}/v2/{repository}/manifests/{reference}"
    if registry.auth == "basic":
        if not right:
            said = "unauthorized: authentication required" if logins else "no basic auth credentials"
            raise _FailedError(
                _resolve(_from_host(registry, reference, "401 Unauthorized")),
                f'Head "{url}": {said}',
            )
        return
    scope = quote(f"repository:{repository}:pull", safe="")
    realm = f"https://{registry.realm_host}/token"
    question = f'Get "{realm}?scope={scope}&service={registry.host}"'
    kind = "failed to fetch oauth token" if logins else "failed to fetch anonymous token"
    asked = f'Post "{realm}"' if logins else question
    try:
        _dial(world, vantage, registry.realm_host, 443, asked, question)
    except _FailedError as failure:
        said = failure.containerd.split("failed to do request: ", 1)[-1]
        daemon = f'Head "{url}": {failure.docker}'
        raise _FailedError(_resolve(f"failed to authorize: {kind}: {said}"), daemon, waited=failure.waited) from None
    if logins and not right:
        raise _FailedError(
            _resolve(f"failed to authorize: {kind}: unexpected status from POST request to {realm}: 401 Unauthorized"),
            f'Head "{url}": unauthorized: incorrect username or password',
        )
    if not logins and not registry.anonymous:
        raise _FailedError(
            _resolve(
                f"failed to authorize: {kind}: unexpected status from GET request to "
                f"{realm}?scope={scope}&service={registry.host}: 401 Unauthorized"
            ),
            f'Head "{url}": unauthorized: authentication required',
        )


def _from_host(registry: Registry, reference: str, status: str) -> str:
    return f"pulling from host {registry.host} failed with status code [manifests {reference}]: {status}"


def _resolve(words: str) -> str:
    return f'failed to pull and unpack image "IMAGE": failed to resolve reference "IMAGE": {words}'


def _request(words: str) -> str:
    return _resolve(f"failed to do request: {words}")
