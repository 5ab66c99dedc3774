"""GitLab as its nginx serves it: the sign-in redirect, the API's errors, and the pages of a server that is down.

The answer of each path follows GitLab's sources (Omnibus: nginx in front of Workhorse and Puma); an unknown token
gets the same 401 as none.
"""

from __future__ import annotations

import json
import secrets
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web

from lab import gitlab_ci, gitlab_runners

if TYPE_CHECKING:
    from lab.world import World

_WORLD: web.AppKey[World] = web.AppKey("world")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def application(world: World) -> web.Application:
    """The web server on GitLab's machine."""
    app = web.Application(client_max_size=1024 * 1024)
    app[_WORLD] = world
    app.router.add_route("*", "/{path:.*}", _answer, expect_handler=_judge_length)
    app.on_response_prepare.append(_headers)
    return app


async def _judge_length(request: web.Request) -> web.StreamResponse | None:
    """What nginx does with `Expect: 100-continue`: it judges the length before anybody behind it sees the request."""
    limit = request.app[_WORLD].gitlab.body_limit
    if limit is not None and (request.content_length or 0) > limit:
        request.app[_WORLD].record("gitlab", request.method, request.raw_path)
        page = _nginx_page("413 Request Entity Too Large")
        return web.Response(status=413, body=page, headers={"Content-Type": "text/html", "Connection": "close"})
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    world = request.app[_WORLD]
    response.headers["Server"] = "nginx/1.22.1" if world.gitlab.mode == "nginx" else "nginx"
    response.headers["Date"] = formatdate(time.time() + world.gitlab.clock_offset, usegmt=True)
    response.headers["Connection"] = "keep-alive" if request.keep_alive else "close"


async def _answer(request: web.Request) -> web.StreamResponse:
    world = request.app[_WORLD]
    try:
        body = (await request.read()).decode(errors="replace")
    except ConnectionError:  # an upload that was announced, and not sent
        return web.Response(status=499)
    world.record("gitlab", request.method, request.raw_path, body=body)
    await world.pause()
    match world.gitlab.mode:
        case "bad-gateway":
            return _whoops(502, "GitLab is not responding", "Whoops, GitLab is taking too much time to respond.")
        case "unavailable":
            return _whoops(503, "GitLab is not responding", "Whoops, GitLab is currently unavailable.")
        case "nginx":
            return _welcome(request)
        case "redirect":
            target = world.gitlab.redirect_to.rstrip("/") + request.raw_path
            return web.Response(
                status=301,
                body=_nginx_page("301 Moved Permanently"),
                headers={"Location": target, "Content-Type": "text/html"},
            )
        case _:
            return _gitlab(request, body)


# ---- a healthy GitLab


def _gitlab(request: web.Request, body: str) -> web.Response:
    path = request.path
    if path.startswith("/api/"):
        return _api(request, body)
    if path == "/-/health":  # before Rails' router: the client is not in GitLab's monitoring allowlist
        return web.Response(status=404, headers={"Content-Type": "text/plain"})
    if path == "/users/sign_in":
        return _html(200, _sign_in(request), cookie=True)
    if path == "/robots.txt":
        return web.Response(text=_ROBOTS, headers={"Content-Type": "text/plain"})
    if path.startswith(("/-/", "/assets/")):
        return _html(404, _NOT_FOUND)
    return _redirect(f"{request.scheme}://{request.host}/users/sign_in")  # as for any page that a guest may not see


def _api(request: web.Request, body: str) -> web.Response:
    world = request.app[_WORLD]
    token = request.headers.get("PRIVATE-TOKEN") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token in world.gitlab.tokens:
        answer = gitlab_ci.answer(world, request.method, request.rel_url.raw_path, request.query)
        if answer is not None:
            return _ci(*answer)
    match request.method, request.path:
        case "POST", "/api/v4/runners/verify":
            return _json(*gitlab_runners.verify(world, request.content_type, body))
        case "GET", "/api/graphql":
            if token and token not in world.gitlab.tokens:
                return _json(401, {"errors": [{"message": "Invalid token"}]})
            query = request.query.get("query", "")
            return _json(*gitlab_runners.graphql(world, query, allowed=bool(token)))
        case "GET", path if token in world.gitlab.tokens and (answer := gitlab_runners.listing(world, path)):
            return _json(*answer)
        case "GET", "/api/v4/version" | "/api/v4/metadata" if token in world.gitlab.tokens:
            return _json(200, _metadata(world))
        case "GET", "/api/v4/user" if token in world.gitlab.tokens:
            return _json(200, {"id": 4, "username": "ops", "name": "Operations", "state": "active"})
        case "GET", path if path.startswith("/api/v4/"):
            return _json(401, {"message": "401 Unauthorized"})
        case _:
            return _json(404, {"error": "404 Not Found"})


def _ci(status: int, value: object) -> web.Response:
    if value is None:
        return web.Response(status=status, headers=_rails("application/json"))
    if isinstance(value, str):  # a job's log
        return web.Response(status=status, body=value.encode(), headers=_rails("text/plain"))
    return _json(status, value)


def _metadata(world: World) -> dict[str, object]:
    kas = {"enabled": True, "externalUrl": "ws://192.168.1.50/-/kubernetes-agent/", "version": "18.3.2"}
    kas["externalK8sProxyUrl"] = "http://192.168.1.50/-/kubernetes-agent/k8s-proxy/"
    return {"version": world.gitlab.version, "revision": world.gitlab.revision, "kas": kas, "enterprise": True}


def _request_id() -> str:
    """A ULID, as Workhorse gives each request one: 48 bits of milliseconds, 80 random bits."""
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def _rails(content_type: str) -> dict[str, str]:
    identifier = _request_id()
    return {
        "Content-Type": content_type,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Gitlab-Meta": json.dumps({"correlation_id": identifier, "version": "1"}, separators=(",", ":")),
        "X-Request-Id": identifier,
        "X-Runtime": f"0.0{secrets.randbelow(90000) + 10000}",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }


def _json(status: int, value: object) -> web.Response:
    body = json.dumps(value, separators=(",", ":"))
    return web.Response(status=status, body=body.encode(), headers=_rails("application/json"))


def _html(status: int, body: str, *, cookie: bool = False) -> web.Response:
    headers = _rails("text/html; charset=utf-8")
    headers["Permissions-Policy"] = "interest-cohort=()"
    headers["X-Download-Options"] = "noopen"
    headers["X-Permitted-Cross-Domain-Policies"] = "none"
    headers["X-Ua-Compatible"] = "IE=edge"
    headers["X-Xss-Protection"] = "1; mode=block"
    if cookie:
        headers["Set-Cookie"] = f"_gitlab_session={secrets.token_hex(16)}; path=/; expires=; HttpOnly; SameSite=None"
    return web.Response(status=status, body=body.encode(), headers=headers)


def _redirect(target: str) -> web.Response:
    response = _html(302, f'<html><body>You are being <a href="{target}">redirected</a>.</body></html>')
    response.headers["Location"] = target
    return response


def _sign_in(request: web.Request) -> str:
    origin = f"{request.scheme}://{request.host}"
    return _SIGN_IN.replace("ORIGIN", origin).replace("CSRF", secrets.token_urlsafe(48))


# ---- GitLab's error pages, and another server


def _whoops(status: int, title: str, sentence: str) -> web.Response:
    page = _WHOOPS.replace("STATUS", str(status)).replace("TITLE", title).replace("SENTENCE", sentence)
    return web.Response(status=status, body=page.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def _welcome(request: web.Request) -> web.Response:
    if request.path not in ("/", "/index.html"):
        return web.Response(
            status=404, body=_nginx_page("404 Not Found", "nginx/1.22.1"), headers={"Content-Type": "text/html"}
        )
    headers = {
        "Content-Type": "text/html",
        "Last-Modified": "Wed, 19 Oct 2022 08:02:20 GMT",
        "ETag": '"634fada5-267"',
        "Accept-Ranges": "bytes",
    }
    return web.Response(body=_WELCOME.encode(), headers=headers)


def _nginx_page(title: str, server: str = "nginx") -> bytes:
    lines = [
        "<html>",
        f"<head><title>{title}</title></head>",
        "<body>",
        f"<center><h1>{title}</h1></center>",
        f"<hr><center>{server}</center>",
        "</body>",
        "</html>",
    ]
    return "".join(line + "\r\n" for line in lines).encode()


_ROBOTS = "# See http://www.robotstxt.org/robotstxt.html for documentation on how to use the robots.txt file\nUser-Agent: *\nDisallow: /api\nDisallow: /admin\nDisallow: /profile\nDisallow: /dashboard\n"  # noqa: E501

_SIGN_IN = """<!DOCTYPE html>
<html class="html-devise-layout ui-light-gray" lang="en">
<head prefix="og: http://ogp.me/ns#">
<meta charset="utf-8">
<meta content="IE=edge" http-equiv="X-UA-Compatible">
<meta content="width=device-width, initial-scale=1" name="viewport">
<title>Sign in · GitLab</title>
<meta content="object" property="og:type">
<meta content="GitLab" property="og:site_name">
<meta content="Sign in · GitLab" property="og:title">
<meta content="ORIGIN/users/sign_in" property="og:url">
<meta content="GitLab Enterprise Edition" name="description">
<meta name="csrf-param" content="authenticity_token" />
<meta name="csrf-token" content="CSRF" />
</head>
<body class="login-page navless" data-page="sessions:new">
<div class="borderless gl-mt-5 container limit-container-width">
<h1 class="mb-3 gl-text-size-h2">GitLab Enterprise Edition</h1>
<form class="gl-show-field-errors js-sign-in-form" action="/users/sign_in" accept-charset="UTF-8" method="post">
<input type="hidden" name="authenticity_token" value="CSRF" autocomplete="off" />
<label for="user_login">Username or primary email</label>
<input class="form-control gl-form-input js-username-field" name="user[login]" id="user_login" type="text">
<label for="user_password">Password</label>
<input class="form-control gl-form-input js-password" name="user[password]" id="user_password" type="password">
<button type="submit" class="gl-button btn btn-block btn-md btn-confirm">Sign in</button>
</form>
</div>
</body>
</html>
"""

_NOT_FOUND = """<!DOCTYPE html>
<html>
<head>
  <meta content="width=device-width, initial-scale=1" name="viewport" />
  <title>Not Found</title>
</head>
<body>
  <h1>404: Page not found</h1>
  <p>Make sure the address is correct and the page has not moved.</p>
  <p>Please contact your GitLab administrator if you think this is a mistake.</p>
</body>
</html>
"""

_WHOOPS = """<!DOCTYPE html>
<html>
<head>
  <meta content="width=device-width, initial-scale=1, maximum-scale=1" name="viewport">
  <title>TITLE (STATUS)</title>
</head>
<body>
  <div class="container">
    <h1>STATUS</h1>
    <h3>SENTENCE</h3>
    <hr />
    <p>Try refreshing the page, or going back and attempting the action again.</p>
    <p>Please contact your GitLab administrator if this problem persists.</p>
    <a href="javascript:history.back()" class="js-go-back go-back">Go back</a>
  </div>
</body>
</html>
"""

_WELCOME = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p>For online documentation and support please refer to
<a href="http://nginx.org/">nginx.org</a>.<br/>
Commercial support is available at
<a href="http://nginx.com/">nginx.com</a>.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"""
