"""The chart repository: ``index.yaml`` and packages on a static web server, as ``helm repo index`` writes it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aiohttp import web

from lab import chart, yamltext

if TYPE_CHECKING:
    from lab.world import World

_CHART = "gitlab-runner"
_HTTP_PORT = 80


def application(world: World) -> web.Application:
    """The web server of the chart repository."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        world.record("charts", request.method, request.raw_path)
        await world.pause()
        if request.path == "/index.yaml":
            return web.Response(text=index(world), headers={"Content-Type": "text/yaml", "Server": "nginx"})
        for version, app in world.charts.versions.items():
            if request.path == f"/{_CHART}-{version}.tgz" and version not in world.charts.without_package:
                archive = chart.package(version, app)
                return web.Response(body=archive, headers={"Content-Type": "application/gzip", "Server": "nginx"})
        page = "<html>\r\n<head><title>404 Not Found</title></head>\r\n</html>\r\n"
        return web.Response(status=404, text=page, headers={"Content-Type": "text/html", "Server": "nginx"})

    app.router.add_route("*", "/{path:.*}", answer)
    return app


def index(world: World) -> str:
    """The repository's index: the runner's charts, the newest first, and another chart beside them."""
    charts = world.charts
    origin = f"{'http' if charts.port == _HTTP_PORT else 'https'}://{charts.host}"
    entries = [_entry(origin, _CHART, version, runner) for version, runner in charts.versions.items()]
    other = [_entry(origin, "gitlab-agent", "2.17.0", "v18.3.0")]
    document = {
        "apiVersion": "v1",
        "entries": {"gitlab-agent": other, _CHART: entries},
        "generated": "2025-09-18T12:04:11.302915473Z",
    }
    return yamltext.dump(document)


def _entry(origin: str, name: str, version: str, app: str) -> dict[str, object]:
    archive = f"{name}-{version}.tgz"
    return {
        "apiVersion": "v1",
        "appVersion": app,
        "created": "2025-09-18T12:04:11.100742818Z",
        "description": "GitLab Runner" if name == _CHART else "GitLab agent for Kubernetes",
        "digest": hashlib.sha256(chart.package(version, app) if name == _CHART else archive.encode()).hexdigest(),
        "icon": "https://gitlab.com/uploads/-/system/project/avatar/250833/runner_logo.png",
        "name": name,
        "urls": [f"{origin}/{archive}"],
        "version": version,
    }
