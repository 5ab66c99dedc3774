"""Whether the inventory's GitLab answers, whether it is GitLab, and of which version; without a secret where possible.

``GET /api/v4/version`` without a token answers 401 in JSON with ``X-Gitlab-Meta``: that proves nginx, Workhorse and
Rails at once, and runners use the same path (docs/sources.md#gitlab-answers). The front page is requested, too, because
that is what an operator opens; where the two differ, the API decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from preflight.clients.certificates import Certificate
from preflight.clients.connect import Routes
from preflight.clients.gitlab_reply import judge_reply, shows_gitlab
from preflight.clients.http import NoReply, Reply, announce_upload, curl, exchange
from preflight.evidence import Evidence, Fact, NotApplicable
from preflight.faults import GitLabFault, PathFault
from preflight.redaction import remember
from preflight.shell_command import sequence, variable

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabReply(Fact):
    """What answers at GitLab's address.

    Attributes:
        status: of the front page; None when nothing in HTTP came back.
        location: where the front page sends a browser, if anywhere.
        is_gitlab: whether a page, a header or the API's JSON shows GitLab.
        clock_offset: seconds by which the server's clock is ahead of the clock at the vantage.
        took: seconds until the front page was read.
        certificate: the server's, or the authority's that ends before it; None without TLS.
    """

    url: str
    status: int | None = None
    location: str = ""
    is_gitlab: bool = False
    clock_offset: float | None = None
    took: float = 0.0
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabVersion(Fact):
    """The version that GitLab's API gives to a token's owner, such as ``18.3.2-jh``."""

    version: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads(Fact):
    """How large an upload GitLab, or a proxy in front of it, takes.

    Attributes:
        taken: megabytes that it takes, of those tried; 0 if none.
    """

    taken: float = 0.0


def api_url(url: str) -> str:
    """The version endpoint of the GitLab at `url`; a relative URL root is kept."""
    return f"{url.rstrip('/')}/api/v4/version"


def request_sign_in_page(url: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> GitLabReply:
    """What answers at GitLab's `url` from here: its front page without following, and its API without a token."""
    command = curl(url, ca_file=ca_file, deadline=deadline)
    try:
        front = exchange(url, routes=routes, ca_file=ca_file, deadline=deadline)
    except NoReply as no:
        evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
        return GitLabReply(target=url, url=url, fault=no.fault, cause=no.cause, evidence=evidence, took=no.took)

    command = sequence(command, curl(api_url(url), ca_file=ca_file, deadline=deadline))
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
        certificate=front.certificate,
    )


def version(url: str, token: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> GitLabVersion:
    """The version of the GitLab at `url`, asked with an API token of scope ``read_api`` or ``read_user``.

    A redirect is never followed, so that the token goes nowhere else.
    """
    endpoint = api_url(url)
    command = curl(endpoint, "--oauth2-bearer", variable("GITLAB_API_TOKEN"), ca_file=ca_file, deadline=deadline)
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


_MEGABYTE = 1024 * 1024
_TOO_LARGE = 413


def uploads(url: str, megabytes: float, *, routes: Routes, ca_file: Path | None, deadline: float) -> Uploads:
    """Whether the GitLab at `url` takes uploads of so many megabytes; else whether it takes a tenth, and so on.

    A job's artifacts are announced, without a token and without the body: a proxy judges the length before either.

    Raises:
        NotApplicable: where the server does not answer before it has the body.
    """
    endpoint = f"{url.rstrip('/')}/api/v4/jobs/1/artifacts"
    refusal: Reply | None = None
    for size in (megabytes, megabytes / 10, megabytes / 100):
        length = max(1, int(size * _MEGABYTE))
        try:
            reply = announce_upload(endpoint, length, routes=routes, ca_file=ca_file, deadline=deadline)
        except NoReply as no:
            reason = f"{endpoint} does not judge an upload before it has the body: {no.cause}"
            raise NotApplicable(reason) from no
        if reply.status != _TOO_LARGE:
            break
        refusal = refusal or reply
    else:
        size = 0.0
    headers = ("-H", f"Content-Length: {int(megabytes * _MEGABYTE)}", "-H", "Expect: 100-continue")
    command = curl(endpoint, "-X", "POST", *headers, ca_file=ca_file, deadline=deadline)
    shown = refusal or reply
    taken = f"it takes {size:g} MB" if size else f"nor does it take {megabytes / 100:g} MB"
    return Uploads(
        target=url,
        fault=GitLabFault.UPLOAD_TOO_LARGE if refusal else None,
        cause=f"{endpoint} refuses an upload of {megabytes:g} MB with 413; {taken}" if refusal else "",
        evidence=Evidence(where="here", command=command, observed=shown.shown, took=shown.took),
        taken=size,
    )
