"""Whether an HTTP reply is GitLab's own, and the fault where it is not. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from preflight.clients.http import origin_of
from preflight.documents import load_json
from preflight.faults import GitLabFault

_PAGE_MARKS = re.compile(
    rb"""<title>[^<]*GitLab|window\.gon\b|\bgon\.(?:api_version|gitlab_url)|content=["']GitLab["']|gitlab-logo"""
    rb"""|/assets/webpack/|data-page=["']sessions:""",
    re.IGNORECASE,
)
_OWN_PAGES = re.compile(r"/(?:users/sign_in|explore|dashboard|-/)")
_MOVED = range(300, 400)
_BAD_GATEWAY, _UNAVAILABLE = 502, 503
_OK, _UNAUTHORIZED = 200, 401
_ANY_SERVERS = frozenset({200, 204, 301, 302, 303, 307, 308, 401, 404})  # statuses that say nothing about GitLab itself


def judge_reply(status: int, headers: Mapping[str, str], body: bytes | str, url: str) -> tuple[GitLabFault | None, str]:
    """What one reply to ``GET url``, the front page or the API, says about GitLab: a fault and its cause, or nothing.

    Redirects must not have been followed; where a tool did (busybox wget does), the last page is judged.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    body = body.encode() if isinstance(body, str) else body
    if status == _BAD_GATEWAY:
        return GitLabFault.BAD_GATEWAY, f"{url} answered 502: the web server is up, the application behind it is not"
    if status == _UNAVAILABLE:
        after = f", and to come back after {fields['retry-after']} s" if fields.get("retry-after") else ""
        return GitLabFault.UNAVAILABLE, f"{url} answered 503: GitLab is overloaded, starting or in maintenance{after}"
    if status in _MOVED and fields.get("location"):
        target = urljoin(url, fields["location"])
        if origin_of(target) != origin_of(url):
            return GitLabFault.REDIRECTED, f"{url} redirects to {target}: another {_difference(url, target)}"
    is_gitlab = shows_gitlab(status, fields, body, url)
    if is_gitlab and (status in {_OK, _UNAUTHORIZED} or ("/api/v4/" not in url and status < _UNAUTHORIZED)):
        return None, ""
    if not is_gitlab and status in _ANY_SERVERS:
        server = f" by {fields['server']}" if fields.get("server") else ""
        return GitLabFault.NOT_GITLAB, f"{url} answered {status}{server}, and nothing in it is GitLab's{_title(body)}"
    after = f" (Retry-After: {fields['retry-after']})" if fields.get("retry-after") else ""
    return GitLabFault.HTTP_STATUS, f"{url} answered {status}{after}, where GitLab has another answer"


def _title(body: bytes) -> str:
    title = re.search(rb"<title>\s*([^<]{1,100})", body, re.IGNORECASE)
    return f'; its title is "{title[1].decode("utf-8", "replace").strip()}"' if title else ""


def _difference(url: str, target: str) -> str:
    ours, theirs = origin_of(url), origin_of(target)
    names = [name for name, our, their in zip(("scheme", "host", "port"), ours, theirs, strict=True) if our != their]
    if names[0] == "scheme" and names[-1] == "port":
        names.pop()  # follows from the scheme
    return " and another ".join(names)


def shows_gitlab(status: int, headers: Mapping[str, str], body: bytes, url: str) -> bool:
    """Whether a reply bears a mark that GitLab sets and other web servers do not; `headers` in lower case."""
    if "x-gitlab-meta" in headers or "_gitlab_session=" in headers.get("set-cookie", ""):
        return True
    location = headers.get("location", "")
    if status in _MOVED and location:
        return origin_of(urljoin(url, location)) == origin_of(url) and bool(_OWN_PAGES.search(urlsplit(location).path))
    if "/api/v4/" in url:
        try:
            document = load_json(body)
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict) and ("version" in document or document.get("message") == "401 Unauthorized")
    return bool(_PAGE_MARKS.search(body))
