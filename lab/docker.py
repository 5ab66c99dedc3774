"""The Docker daemon of a node with the Docker runtime, as reached by `docker system dial-stdio` over SSH.

The part of its API that pulls need: https://docs.docker.com/reference/api/engine/version/v1.51/.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from aiohttp import web

from lab.images import stored
from lab.pulls import PLATFORM, pull, split

if TYPE_CHECKING:
    from lab.world import Node, World

DIAL = ("docker", "system", "dial-stdio")
_API = "1.51"
_JSON = "application/json"


def application(world: World, node: Node) -> web.Application:
    """The daemon's API on one node."""
    app = web.Application()

    async def answer(request: web.Request) -> web.StreamResponse:
        world.record(f"docker {node.name}", request.method, request.path_qs)
        await world.pause()
        version, slash, rest = request.path.removeprefix("/").partition("/")
        path = f"/{rest}" if slash and version.startswith("v1.") else request.path
        match request.method, path:
            case "GET" | "HEAD", "/_ping":
                return web.Response(text="OK", headers={"Cache-Control": "no-cache, no-store, must-revalidate"})
            case "GET", "/version":
                return _json(200, _about(node))
            case "POST", "/images/create":
                return await _create(world, node, request)
            case "GET", _ if path.startswith("/images/") and path.endswith("/json"):
                return _inspect(world, node, path.removeprefix("/images/").removesuffix("/json"))
            case _:
                return _json(404, {"message": "page not found"})

    async def headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = f"Docker/{_version(node)} (linux)"
        response.headers["Api-Version"] = _API
        response.headers["Docker-Experimental"] = "false"
        response.headers["Ostype"] = "linux"

    app.router.add_route("*", "/{path:.*}", answer)
    app.on_response_prepare.append(headers)
    return app


def runs_on(node: Node) -> bool:
    """Whether the node's kubelet runs Docker."""
    return node.runtime.startswith("docker://")


async def _create(world: World, node: Node, request: web.Request) -> web.StreamResponse:
    image = request.query.get("fromImage", "")
    tag = request.query.get("tag") or "latest"
    full = f"{image}@{tag}" if tag.startswith("sha256:") else f"{image}:{tag}"
    host = split(full)[0]
    login = _login(request.headers.get("X-Registry-Auth", ""))
    result = await pull(world, node.name, full, {host: [login]} if login else None, "docker")
    if not result.ok:
        status = 404 if "not found" in result.error or "no matching manifest" in result.error else 500
        return _json(status, {"message": result.error})
    layer = result.digest.removeprefix("sha256:")[:12]
    steps: list[dict[str, object]] = [{"status": f"Pulling from {split(full)[1]}", "id": tag}]
    if result.fresh:
        steps += [{"status": word, "progressDetail": {}, "id": layer} for word in ("Pulling fs layer", "Pull complete")]
    outcome = "Downloaded newer image for" if result.fresh else "Image is up to date for"
    steps += [{"status": f"Digest: {result.digest}"}, {"status": f"Status: {outcome} {full}"}]
    response = web.StreamResponse(headers={"Content-Type": _JSON})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for step in steps:
        await response.write(json.dumps(step, separators=(",", ":")).encode() + b"\r\n")
    await response.write_eof()
    return response


def _inspect(world: World, node: Node, name: str) -> web.Response:
    image = world.image(name)
    if image is None or name not in node.pulled:
        return _json(404, {"message": f"No such image: {name}"})
    host, repository, _ = split(name)
    content = stored(repository, image)
    system, architecture = PLATFORM.split("/")
    return _json(
        200,
        {
            "Id": content.configs[PLATFORM],
            "RepoTags": [name],
            "RepoDigests": [f"{host}/{repository}@{content.top.digest}"],
            "Created": image.created,
            "Architecture": architecture,
            "Os": system,
            "Size": image.size,
        },
    )


def _about(node: Node) -> dict[str, object]:
    return {
        "Platform": {"Name": "Docker Engine - Community"},
        "Version": _version(node),
        "ApiVersion": _API,
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": "5.10.134-16.3.al8.x86_64",
    }


def _version(node: Node) -> str:
    return node.runtime.removeprefix("docker://")


def _login(header: str) -> tuple[str, str] | None:
    try:
        login = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
        return str(login["username"]), str(login["password"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


def _json(status: int, value: object) -> web.Response:
    body = json.dumps(value, separators=(",", ":")) + "\n"
    return web.Response(status=status, body=body.encode(), headers={"Content-Type": _JSON})
