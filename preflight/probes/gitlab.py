"""Whether the inventory's GitLab answers, whether it is GitLab, and of which version; without a secret where possible.

``GET /api/v4/version`` without a token answers 401 in JSON with ``X-Gitlab-Meta``: that proves nginx, Workhorse and
Rails at once, and runners use the same path (docs/sources.md#gitlab-health). The front page is requested, too, because
that is what an operator opens; where the two differ, the API decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, Reply, exchange, origin_of
from preflight.evidence import Evidence, Fact
from preflight.faults import GitLabFault, PathFault
from preflight.redaction import remember

_PAGE_MARKS = re.compile(
    rb"""<title>[^<]*GitLab|window\.gon\b|\bgon\.(?:api_version|gitlab_url)|content=["']GitLab["']|gitlab-logo"""
    rb"""|/assets/webpack/|data-page=["']sessions:""",
    re.IGNORECASE,
)
_OWN_PAGES = re.compile(r"/(?:users/sign_in|explore|dashboard|-/)")
_MOVED = range(300, 400)
_BAD_GATEWAY, _UNAVAILABLE, _SERVER_ERROR = 502, 503, 500
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_ANY_SERVERS = frozenset({200, 204, 301, 302, 303, 307, 308, 401, 404})  # statuses that say nothing about GitLab itself


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabReply(Fact):
    """What answers at GitLab's address.

    Attributes:
        status: of the front page; None when nothing in HTTP came back.
        location: where the front page sends a browser, if anywhere.
        is_gitlab: whether a page, a header or the API's JSON shows GitLab.
        clock_offset: seconds by which the server's clock is ahead of the clock at the vantage.
        took: seconds until the front page was read.
    """

    url: str
    status: int | None = None
    location: str = ""
    is_gitlab: bool = False
    clock_offset: float | None = None
    took: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabVersion(Fact):
    """The version that GitLab's API gives to a token's owner, such as ``18.3.2-jh``."""

    version: str = ""
    revision: str = ""


def api_url(url: str) -> str:
    """The version endpoint of the GitLab at `url`; a relative URL root is kept."""
    return f"{url.rstrip('/')}/api/v4/version"


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
            document = json.loads(body)
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict) and ("version" in document or document.get("message") == "401 Unauthorized")
    return bool(_PAGE_MARKS.search(body))


def request_sign_in_page(url: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> GitLabReply:
    """What answers at GitLab's `url` from here: its front page without following, and its API without a token."""
    command = f"curl -sS -i --max-time {deadline:g} {url}"
    try:
        front = exchange(url, routes=routes, ca_file=ca_file, deadline=deadline)
    except NoReply as no:
        evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
        return GitLabReply(target=url, url=url, fault=no.fault, cause=no.cause, evidence=evidence, took=no.took)

    command += f"; curl -sS -i --max-time {deadline:g} {api_url(url)}"
    fault: GitLabFault | PathFault | None
    fault, cause = judge_reply(front.status, front.headers, front.body, url)
    is_gitlab = shows_gitlab(front.status, front.headers, front.body, url)
    observed, took = front.shown, front.took
    try:
        api = exchange(api_url(url), routes=routes, ca_file=ca_file, deadline=max(deadline - front.took, deadline / 4))
    except NoReply as no:
        observed, took = f"{observed}\n\n{no.cause}", took + no.took
        if fault is None:
            fault, cause = no.fault, no.cause
    else:
        observed, took = f"{observed}\n\n{api.shown}", took + api.took
        api_fault, api_cause = judge_reply(api.status, api.headers, api.body, api.url)
        if api_fault is None:
            is_gitlab = True
            if fault in (GitLabFault.REDIRECTED, GitLabFault.NOT_GITLAB):  # a front page of the company's own
                fault, cause = None, ""
        elif fault is None:
            fault, cause = api_fault, api_cause
    return GitLabReply(
        target=url,
        url=url,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=command, observed=observed, took=took),
        status=front.status,
        location=front.headers.get("location", ""),
        is_gitlab=is_gitlab,
        clock_offset=front.clock_offset,
        took=front.took,
    )


def version(url: str, token: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> GitLabVersion:
    """The version of the GitLab at `url`, asked with an API token of scope ``read_api`` or ``read_user``.

    A redirect is never followed, so that the token goes nowhere else.
    """
    endpoint = api_url(url)
    command = f'curl -sS --max-time {deadline:g} --oauth2-bearer "$GITLAB_API_TOKEN" {endpoint}'
    authorization = {"Authorization": f"Bearer {remember(token)}"}
    try:
        reply = exchange(endpoint, routes=routes, ca_file=ca_file, deadline=deadline, headers=authorization)
    except NoReply as no:
        evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
        return GitLabVersion(target=url, fault=no.fault, cause=no.cause, evidence=evidence)
    fault, cause = _judge_version(reply)
    document = reply.json()
    if fault is not None or not isinstance(document, dict):
        document = {}
    return GitLabVersion(
        target=url,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=command, observed=reply.shown, took=reply.took),
        version=str(document.get("version", "")),
        revision=str(document.get("revision", "")),
    )


def _judge_version(reply: Reply) -> tuple[GitLabFault | None, str]:
    document = reply.json()
    fields = document if isinstance(document, dict) else {}
    if reply.status == _OK and fields.get("version"):
        return None, ""
    if reply.status in {_UNAUTHORIZED, _FORBIDDEN} and fields:
        reason = fields.get("error_description") or fields.get("message") or fields.get("error") or "no reason"
        return GitLabFault.TOKEN_REFUSED, f"{reply.url} answered {reply.status} to the API token: {reason}"
    fault, cause = judge_reply(reply.status, reply.headers, reply.body, reply.url)
    return fault or GitLabFault.NOT_GITLAB, cause or f"{reply.url} answered {reply.status} without a version"
