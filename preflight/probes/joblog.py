"""The log of a job, from GitLab: what `--job URL` reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from preflight.clients.gitlab_api import GitLabApi, segment
from preflight.clients.http import origin_of

_JOB = re.compile(r"\A/+(?P<project>[^/?#][^?#]{2,1000}?)/(?:-/)?jobs/(?P<id>\d{1,18})(?:/(?:raw|trace)?)?\Z")


@dataclass(frozen=True, slots=True)
class JobAddress:
    """A job, as its page in GitLab names it.

    Attributes:
        project: full path of the project.
        id: number of the job.
    """

    project: str
    id: int


def job_address(url: str, gitlab: str) -> JobAddress:
    """The job of a page of this GitLab, such as ``https://gitlab.example.com/group/project/-/jobs/42``.

    Raises:
        ValueError: it is no such page, or one of another server: the token is not for that one.
    """
    example = f"{gitlab.rstrip('/')}/GROUP/PROJECT/-/jobs/NUMBER"
    parts, root = urlsplit(url), urlsplit(gitlab).path.rstrip("/")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"expected the address of a job's page, such as {example}, found {url!r}")
    if origin_of(url) != origin_of(gitlab):
        raise ValueError(f"expected a job of {gitlab}, whose token would be sent, found one of {parts.netloc}")
    match = _JOB.match(unquote(parts.path.removeprefix(root)))
    if match is None or "/" not in match["project"]:
        raise ValueError(f"expected the address of a job's page, such as {example}, found {url!r}")
    return JobAddress(match["project"], int(match["id"]))


def job_log(url: str, api: GitLabApi) -> str:
    """The log of the job that a page of GitLab shows, as its runner wrote it.

    Raises:
        ValueError: the address is not a job's on this GitLab.
        GitLabError: GitLab did not give the log: no such job, or no right to read it.
    """
    job = job_address(url, api.url)
    return api.text(f"/projects/{segment(job.project)}/jobs/{job.id}/trace")
