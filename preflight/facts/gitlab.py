"""2.1 GitLab, from here."""

from __future__ import annotations

import time
from dataclasses import replace

from preflight.evidence import NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.faults import GitLabFault, PathFault, SshFault
from preflight.inventory import Inventory
from preflight.probes import gitlab, shell_sections, transcript
from preflight.probes.gitlab import GitLabReply, GitLabVersion, Uploads
from preflight.probes.transcript import Clock, NodeLogin
from preflight.run import Run


@fact(reported_by=("gitlab_connection",))
def gitlab_reply(inventory: Inventory, run: Run) -> GitLabReply:
    """GitLab's answer, from here."""
    return gitlab.request_sign_in_page(
        inventory.gitlab.url, routes=run.routes, ca_file=inventory.gitlab.ca_file, deadline=inventory.deadlines.http
    )


_OTHER_SERVER = (GitLabFault.REDIRECTED, GitLabFault.NOT_GITLAB)  # judged by checks of their own
_SERVICE = tuple(fault for fault in GitLabFault if fault not in _OTHER_SERVER)

gitlab_connection = view(
    "gitlab_connection", gitlab_reply, lambda reply: reply.only(PathFault), "GitLab's port, from here."
)
gitlab_service = view(
    "gitlab_service",
    gitlab_reply,
    lambda reply: reply.only(*_SERVICE),
    "GitLab behind its web server.",
    after=("gitlab_connection",),
)
gitlab_location = view(
    "gitlab_location",
    gitlab_reply,
    lambda reply: reply.only(GitLabFault.REDIRECTED),
    "Whether GitLab redirects to another URL.",
    after=("gitlab_service",),
)
gitlab_identity = view(
    "gitlab_identity",
    gitlab_reply,
    lambda reply: reply.only(GitLabFault.NOT_GITLAB),
    "Whether what answers is GitLab.",
    after=("gitlab_location",),
)


@fact(after=("gitlab_identity",))
def gitlab_version(inventory: Inventory, run: Run) -> GitLabVersion:
    """GitLab's version, read with the API token."""
    token = inventory.gitlab.api_token
    if not token or not token.text:
        reason = "no gitlab.api_token in the inventory: GitLab reports its version only to an authenticated user"
        raise NotApplicable(reason)
    reported = gitlab.version(
        inventory.gitlab.url,
        token.text,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )
    if reported.fault is None and not transcript.matches(reported.version, inventory.gitlab.version):
        cause = f"GitLab is {reported.version}, the inventory says {inventory.gitlab.version}"
        return replace(reported, fault=GitLabFault.WRONG_VERSION, cause=cause)
    return reported


@fact(after=("gitlab_identity",))
def gitlab_uploads(inventory: Inventory, run: Run) -> Uploads:
    """How large an upload GitLab takes, from here."""
    return gitlab.uploads(
        inventory.gitlab.url,
        inventory.limits.upload_size,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=min(inventory.deadlines.http, _PROMPTLY),
    )


_PROMPTLY = 3.0  # seconds in which who judges by the length alone has answered


@fact(deadline="script+step")
def node_clock(worker: str, node_login: NodeLogin, gitlab_connection: GitLabReply, inventory: Inventory) -> Clock:
    """A worker's clock, compared with GitLab's."""
    if gitlab_connection.clock_offset is None:
        reason = "GitLab's answer carries no Date"
        raise Unmeasured(reason, needs="a web server in front of GitLab that sends a Date header")
    began = time.time()
    ran = node_login.session.run("date +%s", deadline=inventory.deadlines.step)
    middle = (began + time.time()) / 2
    where = f"node {worker}"
    if ran.exit is None:
        raise Unmeasured(
            f"`date` on {worker} did not finish within {inventory.deadlines.step:g} s",
            needs="a worker that answers commands at once, or a larger `deadlines.step`",
            fault=SshFault.SILENT,
        )
    section = shell_sections.Section(kind="clock", exit=ran.exit, took=ran.took, output=ran.stdout)
    allowed = inventory.limits.clock_skew
    return transcript.clock(worker, section, middle=middle, reply=gitlab_connection, allowed=allowed, where=where)
