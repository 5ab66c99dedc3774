"""Image registries that answer as Docker's own (distribution 2.8), and the token server that one of them refers to.

The Registry API: https://distribution.github.io/distribution/spec/api/, tokens: …/spec/auth/token/.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from lab.images import Document, Stored, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from lab.world import Registry, World

TOKEN_LIFE = 300
_WORLD: web.AppKey[World] = web.AppKey("world")
_REGISTRY: web.AppKey[Registry] = web.AppKey("registry")
_TOKENS: web.AppKey[Tokens] = web.AppKey("tokens")
_JSON = "application/json; charset=utf-8"
_LIMIT = (
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"  # Docker Hub's
)


class Tokens:
    """The tokens that a token server issued, with the repositories that each may pull."""

    def __init__(self) -> None:
        self._issued: dict[str, tuple[float, frozenset[str]]] = {}

    def issue(self, repositories: frozenset[str]) -> str:
        """A new token in the form of a JSON web token."""
        claims = base64.urlsafe_b64encode(json.dumps({"jti": secrets.token_hex(12)}).encode()).decode().rstrip("=")
        header = base64.urlsafe_b64encode(b'{"alg":"ES256","typ":"JWT"}').decode().rstrip("=")
        token = f"{header}.{claims}.{secrets.token_urlsafe(64)}"
        self._issued[token] = (time.monotonic() + TOKEN_LIFE, repositories)
        return token

    def allows(self, token: str) -> frozenset[str] | None:
        """What a token may pull; None for a token that is unknown or has expired."""
        end, repositories = self._issued.get(token, (0.0, frozenset()))
        return repositories if time.monotonic() < end else None


def application(world: World, registry: Registry, tokens: Tokens) -> web.Application:
    """The registry of one host."""
    app = web.Application()
    app[_WORLD], app[_REGISTRY], app[_TOKENS] = world, registry, tokens
    app.router.add_route("*", "/{path:.*}", _answer)
    app.on_response_prepare.append(_registry_headers)
    return app


def token_application(world: World, registries: Mapping[str, Registry], tokens: Tokens) -> web.Application:
    """The token server of the registries, by their service name."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        world.record(f"token {request.host}", request.method, request.path_qs)
        await world.pause()
        registry = registries.get(request.query.get("service", ""))
        if request.path != "/token" or request.method != "GET":
            return web.Response(status=404, text="404 page not found\n")
        if registry is None:
            return _token_refusal(400, "invalid service")
        header = request.headers.get("Authorization")
        login = _basic(header)
        authenticated = login is not None and registry.accounts.get(login[0]) == login[1]
        if (header and not authenticated) or (not header and not registry.anonymous):
            return _token_refusal(401, "incorrect username or password" if header else "authentication required")
        scopes = [scope.split(":") for value in request.query.getall("scope", []) for scope in value.split(" ")]
        repositories = frozenset(parts[1] for parts in scopes if len(parts) == 3 and parts[0] == "repository")  # noqa: PLR2004
        token = tokens.issue(repositories)
        issued = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = {"token": token, "access_token": token, "expires_in": TOKEN_LIFE, "issued_at": issued}
        return web.Response(body=json.dumps(body, separators=(",", ":")).encode(), headers={"Content-Type": _JSON})

    app.router.add_route("*", "/{path:.*}", answer)
    app.on_response_prepare.append(_plain_headers)
    return app


async def _plain_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)


async def _registry_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)
    if request.path.startswith("/v2"):
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    response.headers["X-Content-Type-Options"] = "nosniff"


async def _answer(request: web.Request) -> web.Response:
    world, registry = request.app[_WORLD], request.app[_REGISTRY]
    login = _basic(request.headers.get("Authorization"))
    world.record(f"registry {registry.host}", request.method, request.raw_path, user=login[0] if login else "")
    await world.pause()
    if registry.mode == "unavailable":
        return web.Response(
            status=503,
            body=b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n"
            b"</body></html>\n",
            headers={"Content-Type": "text/html", "Cache-Control": "no-cache"},
        )
    return _route(request) if request.path != "/" else web.Response()


def _route(request: web.Request) -> web.Response:
    if request.path in ("/v2", "/v2/"):
        return _refusal(request, None) or web.Response(body=b"{}", headers={"Content-Type": _JSON})
    if (match := _UPLOAD.fullmatch(request.path)) is not None:
        return _refusal(request, match["repository"], "push") or _upload(request, match["repository"], match["id"])
    match = _PATH.fullmatch(request.path)
    if match is not None and match["kind"] == "manifests" and request.method == "DELETE":
        return _refusal(request, match["repository"], "delete") or _delete(
            request, match["repository"], match["reference"]
        )
    if match is None:
        return web.Response(status=404, text=_NO_PAGE)
    serve = {"manifests": _manifest, "blobs": _blob, "tags": _tags}[match["kind"]]
    return _refusal(request, match["repository"]) or serve(request, match["repository"], match["reference"])


_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")
_UPLOAD = re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/(?P<id>[^/]*)")
_NO_PAGE = "404 page not found\n"  # Go's


def _manifest(request: web.Request, repository: str, reference: str) -> web.Response:
    registry = request.app[_REGISTRY]
    if registry.rate_limited:
        return _limited(registry)
    if request.method not in ("GET", "HEAD"):
        return _errors(405, "UNSUPPORTED", "The operation is unsupported.", None)
    document = _find(registry, repository, reference)
    if document is None:
        detail = {"Name": repository, "Revision": reference} if reference.startswith("sha256:") else {"Tag": reference}
        message = "manifest unknown"
        return _errors(404, "MANIFEST_UNKNOWN", message, detail)
    return _document(request, document, {"Docker-Content-Digest": document.digest, "Etag": f'"{document.digest}"'})


def _upload(request: web.Request, repository: str, identifier: str) -> web.Response:
    """An upload: started by a POST, cancelled by a DELETE."""
    registry = request.app[_REGISTRY]
    if request.method == "POST" and not identifier:
        identifier = str(uuid.uuid4())
        registry.uploads.add(identifier)
        headers = {
            "Location": f"/v2/{repository}/blobs/uploads/{identifier}?_state={secrets.token_urlsafe(60)}",
            "Docker-Upload-Uuid": identifier,
            "Range": "0-0",
        }
        return web.Response(status=202, headers=headers)
    if identifier not in registry.uploads:
        return _errors(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", None)
    if request.method == "DELETE":
        registry.uploads.discard(identifier)
        return web.Response(status=204, headers={"Docker-Upload-Uuid": identifier})
    return _errors(405, "UNSUPPORTED", "The operation is unsupported.", None)


def _delete(request: web.Request, repository: str, reference: str) -> web.Response:
    """The deletion of a manifest, and with it of every tag that points to it."""
    registry = request.app[_REGISTRY]
    if not registry.deletes or not reference.startswith("sha256:"):
        return _errors(405, "UNSUPPORTED", "The operation is unsupported.", None)
    tags = registry.images.get(repository, {})
    matching = [tag for tag, image in tags.items() if stored(repository, image).top.digest == reference]
    if not matching:
        return _errors(404, "MANIFEST_UNKNOWN", "manifest unknown", {"Name": repository, "Revision": reference})
    for tag in matching:
        del tags[tag]
    return web.Response(status=202)


def _blob(request: web.Request, repository: str, reference: str) -> web.Response:
    for image in request.app[_REGISTRY].images.get(repository, {}).values():
        blob = stored(repository, image).blobs.get(reference)
        if blob is not None and request.app[_REGISTRY].blob_host:
            return _stored_elsewhere(request, reference)
        if blob is not None:
            headers = {"Docker-Content-Digest": blob.digest, "Etag": f'"{blob.digest}"'}
            headers["Cache-Control"] = "max-age=31536000"
            wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
            if wanted is not None and blob.length and request.method == "GET":
                return _part(request, blob, int(wanted["last"]) + 1, headers)
            return _document(request, Document("application/octet-stream", blob.content), headers)
    return _errors(404, "BLOB_UNKNOWN", "blob unknown to registry", reference)


_RANGE = re.compile(r"bytes=0-(?P<last>[0-9]{1,9})")
_PIECES = 10  # of a layer that is delivered slowly, per second


def _part(request: web.Request, layer: Document, most: int, headers: dict[str, str]) -> web.Response:
    """The beginning of a layer, as long as of a real one, at the registry's rate."""
    content = layer.content[:most].ljust(min(most, layer.length), b"\0")
    rate = request.app[_REGISTRY].rate
    headers |= {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(content)),
        "Content-Range": f"bytes 0-{len(content) - 1}/{layer.length}",
    }
    return web.Response(status=206, body=content if rate is None else _slowly(content, rate), headers=headers)


async def _slowly(content: bytes, rate: float) -> AsyncIterator[bytes]:
    size = max(1, int(rate / 8 / _PIECES))
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(1 / _PIECES)


def _stored_elsewhere(request: web.Request, reference: str) -> web.Response:
    """The redirect of a registry whose storage is an object store (distribution's `redirect`), to a signed address."""
    url = f"https://{request.app[_REGISTRY].blob_host}{blob_path(reference)}"
    signature = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1200&X-Amz-SignedHeaders=host"
    headers = {"Location": f"{url}?{signature}", "Content-Type": "text/html; charset=utf-8"}
    link = headers["Location"].replace("&", "&amp;")
    body = f'<a href="{link}">Temporary Redirect</a>.\n\n' if request.method == "GET" else ""
    return web.Response(status=307, body=body.encode(), headers=headers)


def blob_path(reference: str) -> str:
    """The path of a blob in distribution's storage."""
    kind, _, name = reference.partition(":")
    return f"/registry/docker/registry/v2/blobs/{kind}/{name[:2]}/{name}/data"


def _tags(request: web.Request, repository: str, reference: str) -> web.Response:
    registry = request.app[_REGISTRY]
    if reference != "list":
        return web.Response(status=404, text=_NO_PAGE)
    if repository not in registry.images:
        return _errors(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": repository})
    body = json.dumps({"name": repository, "tags": list(registry.images[repository])}, separators=(",", ":"))
    return web.Response(body=f"{body}\n".encode(), headers={"Content-Type": _JSON})


def _find(registry: Registry, repository: str, reference: str) -> Document | None:
    tags = registry.images.get(repository, {})
    if reference in tags:
        return stored(repository, tags[reference]).top
    images: list[Stored] = [stored(repository, image) for image in tags.values()]
    return next((image.manifests[reference] for image in images if reference in image.manifests), None)


def _document(request: web.Request, document: Document, headers: dict[str, str]) -> web.Response:
    headers = {"Content-Type": document.media_type, **headers}
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(document.content))})
    return web.Response(body=document.content, headers=headers)


# ---- authentication and authorization


def _refusal(request: web.Request, repository: str | None, action: str = "pull") -> web.Response | None:
    """The 401 or 403 for this request, or None if it is allowed."""
    registry = request.app[_REGISTRY]
    authorization = request.headers.get("Authorization", "")
    detail = [{"Type": "repository", "Class": "", "Name": repository, "Action": action}] if repository else None
    if registry.auth == "none":
        return None
    if registry.auth == "basic":
        login = _basic(authorization)
        if login is not None and registry.accounts.get(login[0]) == login[1]:
            if action == "pull" or registry.pushers is None or login[0] in registry.pushers:
                return None
            return _errors(403, "DENIED", "requested access to the resource is denied", detail)
        return _errors(
            401, "UNAUTHORIZED", "authentication required", detail, {"Www-Authenticate": 'Basic realm="Registry Realm"'}
        )
    allowed = (
        request.app[_TOKENS].allows(authorization.removeprefix("Bearer "))
        if authorization.startswith("Bearer ")
        else None
    )
    # Its token server grants pull alone.
    if allowed is not None and action == "pull" and (repository is None or repository in allowed):
        return None
    challenge = f'Bearer realm="https://{registry.realm_host}/token",service="{registry.host}"'
    if repository is not None:
        challenge += f',scope="repository:{repository}:{"pull" if action == "pull" else f"pull,{action}"}"'
    if authorization:
        challenge += ',error="insufficient_scope"' if allowed is not None else ',error="invalid_token"'
    code, message = "UNAUTHORIZED", "authentication required"
    if allowed is not None:
        code, message = "DENIED", "requested access to the resource is denied"
    return _errors(401, code, message, detail, {"Www-Authenticate": challenge})


def _basic(header: str | None) -> tuple[str, str] | None:
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def _limited(registry: Registry) -> web.Response:
    body = {"errors": [{"code": "TOOMANYREQUESTS", "message": _LIMIT}]}
    headers = {
        "Content-Type": "application/json",
        "Retry-After": str(registry.retry_after),
        "Ratelimit-Limit": "100;w=21600",
        "Ratelimit-Remaining": "0;w=21600",
    }
    return web.Response(status=429, body=json.dumps(body, separators=(",", ":")).encode(), headers=headers)


def _errors(
    status: int, code: str, message: str, detail: object, headers: dict[str, str] | None = None
) -> web.Response:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}, separators=(",", ":"))
    return web.Response(status=status, body=f"{body}\n".encode(), headers={"Content-Type": _JSON, **(headers or {})})


def _token_refusal(status: int, details: str) -> web.Response:
    body = json.dumps({"details": details}, separators=(",", ":"))
    return web.Response(status=status, body=f"{body}\n".encode(), headers={"Content-Type": _JSON})
