"""2.1 GitLab, from here."""

from __future__ import annotations

from dataclasses import replace

from preflight.evidence import NotApplicable
from preflight.faults import GitLabFault, PathFault
from preflight.inventory import Inventory
from preflight.probes import gitlab, transcript
from preflight.probes.gitlab import GitLabReply, GitLabVersion
from preflight.survey import Run, fact


@fact()
def gitlab_reply(inventory: Inventory, run: Run) -> GitLabReply:
    """GitLab's answer, from here."""
    return gitlab.request_sign_in_page(
        inventory.gitlab.url, routes=run.routes, ca_file=inventory.gitlab.ca_file, deadline=inventory.deadlines.http
    )


@fact(tolerates=("gitlab_reply",), speaks_for=("gitlab_reply",))
def gitlab_connection(gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab's port, from here."""
    return gitlab_reply.only(PathFault)


@fact(tolerates=("gitlab_reply",))
def gitlab_service(gitlab_connection: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab behind its web server."""
    del gitlab_connection
    return gitlab_reply.only(GitLabFault.BAD_GATEWAY, GitLabFault.UNAVAILABLE, GitLabFault.HTTP_STATUS)


@fact(tolerates=("gitlab_reply",))
def gitlab_location(gitlab_service: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab's own idea of its URL."""
    del gitlab_service
    return gitlab_reply.only(GitLabFault.REDIRECTED)


@fact(tolerates=("gitlab_reply",))
def gitlab_identity(gitlab_location: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """Whether what answers is GitLab."""
    del gitlab_location
    return gitlab_reply.only(GitLabFault.NOT_GITLAB)


@fact()
def gitlab_version(gitlab_identity: GitLabReply, inventory: Inventory, run: Run) -> GitLabVersion:
    """GitLab's version, asked with the API token."""
    del gitlab_identity
    token = inventory.gitlab.api_token
    if not token or not token.text:
        reason = "no gitlab.api_token in the inventory: GitLab tells its version to nobody without one"
        raise NotApplicable(reason)
    found = gitlab.version(
        inventory.gitlab.url,
        token.text,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )
    if found.fault is None and not transcript.matches(found.version, inventory.gitlab.version):
        cause = f"GitLab is {found.version}, the inventory says {inventory.gitlab.version}"
        return replace(found, fault=GitLabFault.WRONG_VERSION, cause=cause)
    return found
