"""GitLab's REST API with a token: one exchange a call, no redirect followed, so that the token goes nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from preflight.clients.connect import Routes
from preflight.clients.gitlab_reply import judge_reply
from preflight.clients.http import NoReply, curl, exchange
from preflight.documents import load_json
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import GitLabFault, PathFault
from preflight.redaction import remember
from preflight.shell_command import ShellCommand, variable

PAGE = 100  # items of a list a request; GitLab's own maximum
_LONGEST = 4 * 1024 * 1024  # bytes of a job's log that are read; GitLab's own limit for logs is of that size
_MOST_PAGES = 20
_OK, _UNAUTHORIZED, _FORBIDDEN = range(200, 300), 401, 403


class GitLabError(Exception):
    """The API did not do what it was asked; caught by the probes, never by their callers.

    Attributes:
        fault: what it means.
        status: of HTTP; None when no answer came.
        message: GitLab's own.
        command: what a person can paste to see the same.
    """

    def __init__(self, fault: GitLabFault | PathFault, *, status: int | None, message: str, command: str) -> None:
        self.fault, self.status, self.message, self.command = fault, status, message, command
        text = f"GitLab answered {status}: {message}" if status is not None else message
        super().__init__(text)

    def evidence(self) -> Evidence:
        """What was asked, and what came back."""
        return Evidence(where="here", command=self.command, observed=str(self))

    def unmeasured(self, needs: str) -> Unmeasured:
        """The same, as a measurement that could not be made."""
        return Unmeasured(str(self), needs=needs, fault=self.fault, evidence=self.evidence())


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabApi:
    """The API of one GitLab, as one user sees it.

    Attributes:
        url: GitLab's address.
        token: of the user; in no repr.
        deadline: seconds that one request may take.
    """

    url: str
    token: str = field(repr=False)
    routes: Routes
    ca_file: Path | None
    deadline: float

    def __post_init__(self) -> None:
        remember(self.token)

    def ask(self, path: str, *, method: str = "GET", **query: str) -> Any:
        """The JSON of the answer; None where there is none.

        Raises:
            GitLabError: no answer came, or one that is not a success.
        """
        text = self.text(path, method=method, **query)
        try:
            return load_json(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise GitLabError(
                GitLabFault.NOT_GITLAB,
                status=200,
                message="something else than JSON",
                command=self.command(path, method),
            ) from None

    def text(self, path: str, *, method: str = "GET", **query: str) -> str:
        """The answer as text, such as a job's log.

        Raises:
            GitLabError: no answer came, or one that is not a success.
        """
        url = f"{self.url.rstrip('/')}/api/v4{path}" + (f"?{urlencode(query)}" if query else "")
        command = self.command(path, method, query)
        try:
            reply = exchange(
                url,
                routes=self.routes,
                ca_file=self.ca_file,
                deadline=self.deadline,
                headers={"Authorization": f"Bearer {self.token}"},
                longest=_LONGEST,
                method=method,
            )
        except NoReply as no:
            raise GitLabError(no.fault, status=None, message=no.cause, command=command) from no
        if reply.status in _OK:
            return reply.text
        content = reply.json()
        message = _message(content) if isinstance(content, Mapping) else reply.reason
        if reply.status == _UNAUTHORIZED:
            fault = GitLabFault.TOKEN_REFUSED
        else:
            judged, _ = judge_reply(reply.status, reply.headers, reply.body, reply.url)
            fault = judged or GitLabFault.HTTP_STATUS
        raise GitLabError(fault, status=reply.status, message=message, command=command)

    def items(self, path: str, **query: str) -> list[Mapping[str, Any]]:
        """Every item of a list, page by page.

        Raises:
            GitLabError: as `ask`.
        """
        collected: list[Mapping[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            answer = self.ask(path, **query, per_page=str(PAGE), page=str(page))
            listed = [item for item in answer if isinstance(item, Mapping)] if isinstance(answer, list) else []
            collected += listed
            if len(listed) < PAGE:
                break
        return collected

    def command(self, path: str, method: str = "GET", query: Mapping[str, str] | None = None) -> ShellCommand:
        """What a person can paste to ask the same; the token stays in the environment."""
        verb = [] if method == "GET" else ["-X", method]
        address = f"{self.url.rstrip('/')}/api/v4{path}" + (f"?{urlencode(query)}" if query else "")
        token = variable("GITLAB_API_TOKEN")
        return curl(address, *verb, "--oauth2-bearer", token, ca_file=self.ca_file, deadline=self.deadline)


def segment(name: str) -> str:
    """A name as one segment of a path: a project's slashes are escaped."""
    return quote(name, safe="", errors="replace")


def _message(content: Mapping[str, Any]) -> str:
    """GitLab's own message for a refusal: a text, or texts by attribute."""
    message = content.get("message") or content.get("error_description") or content.get("error") or ""
    if isinstance(message, Mapping):
        pieces = (item for value in message.values() for item in (value if isinstance(value, list) else [value]))
        return "; ".join(str(item) for item in pieces)
    return "; ".join(map(str, message)) if isinstance(message, list) else str(message)
