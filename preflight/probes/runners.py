"""What GitLab knows of the runner: which one has the token, its settings, and its managers; read with an API token.

``replicas: 3`` and one token make one runner with three managers, where the guide expects three runners.
GitLab shows the first characters of a runner's token (``shortSha``, in GraphQL only; queried by GET, which GitLab
serves as well as POST), so which runner has the token is found without sending anything that GitLab would keep.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from preflight.clients.connect import Routes
from preflight.clients.http import ENOUGH, NoReply, Reply, curl, exchange
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import Fault, RunnerFault, TokenFault
from preflight.probes.token import ConfiguredToken, short_forms
from preflight.redaction import remember
from preflight.shell_command import ShellCommand, variable

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_PAGE, _PAGES = 100, 100
_FRESH = timedelta(hours=1)
_SHORTEST = 8  # characters of a token that GitLab shows
_FIELDS = "id shortSha tokenExpiresAt"
_NEEDS = "a gitlab.api_token of the scope read_api, of an administrator or auditor; or `runner.id` in the inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRunner(Fact):
    """The runner that has the token.

    Attributes:
        id: its number in GitLab; None when no runner has the token.
        expires: when its token ends; None for never.
        known: how many runners were compared.
    """

    id: int | None = None
    expires: datetime | None = None
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRecord(Fact):
    """A runner's settings, as GitLab has them.

    Attributes:
        status: ``online``, ``offline``, ``stale`` or ``never_contacted``; up to two hours behind
            (docs/sources.md#runner-list).
        paused: whether it gets no jobs.
        run_untagged: whether it gets jobs without tags.
        tags: its tags.
        description: its description.
    """

    id: int
    status: str = ""
    paused: bool = False
    run_untagged: bool = False
    tags: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Manager:
    """One runner process that uses the runner's token: with the chart, one pod."""

    system_id: str
    version: str = ""
    address: str = ""
    status: str = ""
    contacted: str = ""

    def __str__(self) -> str:
        return f"{self.system_id}  {self.version}  {self.address or '-'}  {self.status}  {self.contacted or 'never'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredManagers(Fact):
    """A runner's managers, the newest first; those of pods that are gone stay among them for days.

    Attributes:
        managers: all of them.
        listed_at: when GitLab listed them, by its own clock; None where its answer had no date.
    """

    managers: tuple[Manager, ...] = ()
    listed_at: datetime | None = None

    @property
    def online(self) -> tuple[Manager, ...]:
        """Those that GitLab has heard of within the hour.

        A manager polls every few seconds, and GitLab writes that down every 40 to 55 minutes at the latest; it calls a
        manager online for two hours (docs/sources.md#runner-list).
        """
        return tuple(manager for manager in self.managers if manager.status == "online" and self._fresh(manager))

    def last_contact(self, system_id: str) -> float | None:
        """Seconds since GitLab heard of the manager of this name; None if that is not known."""
        contacts = [
            contacted
            for manager in self.managers
            if system_id and manager.system_id == system_id and (contacted := _timestamp(manager.contacted))
        ]
        if self.listed_at is None or not contacts:
            return None
        return (self.listed_at - max(contacts)).total_seconds()

    def _fresh(self, manager: Manager) -> bool:
        contacted = _timestamp(manager.contacted)
        return self.listed_at is None or contacted is None or self.listed_at - contacted <= _FRESH


class Reader:
    """Reads one GitLab's API with an API token; every way in which it can't is `Unmeasured`.

    Args:
        url: of the GitLab.
        token: an API token of scope ``read_api``.
        routes: where to connect instead.
        ca_file: PEM of a further CA to trust.
        deadline: seconds for everything that is read.
    """

    def __init__(self, url: str, token: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> None:
        self.url, self._token = url.rstrip("/"), remember(token)
        self._routes, self._ca_file, self.deadline = routes, ca_file, deadline
        self._end = time.monotonic() + deadline
        self.answered_at: datetime | None = None  # the time of the last answer to `get`, by GitLab's clock

    def get(self, path: str) -> Any:
        """The JSON behind ``/api/v4`` and this path."""
        reply, document = self._read(f"{self.url}/api/v4{path}", self.command(path))
        offset = reply.clock_offset
        self.answered_at = None if offset is None else datetime.fromtimestamp(reply.at + offset, tz=UTC)
        return document

    def command(self, path: str) -> ShellCommand:
        """A command that reads the same."""
        return self._curl(f"/api/v4{path}")

    def query(self, text: str) -> dict[str, Any]:
        """The data that a GraphQL query gives."""
        command = self.query_command(text)
        reply, document = self._read(f"{self.url}/api/graphql?{urlencode({'query': text})}", command)
        if document.get("errors"):
            errors = "; ".join(str(error.get("message")) for error in document["errors"] if isinstance(error, dict))
            evidence = Evidence(where="here", command=command, observed=reply.shown, took=reply.took)
            raise Unmeasured(
                f"GitLab does not let the API token list runners: {errors}", needs=_NEEDS, evidence=evidence
            )
        data = document.get("data")
        return data if isinstance(data, dict) else {}

    def query_command(self, text: str) -> ShellCommand:
        """A command that sends the same query."""
        return self._curl("/api/graphql", "-G", "--data-urlencode", f"query={text}")

    def _curl(self, path: str, *options: str) -> ShellCommand:
        login = ("--oauth2-bearer", variable("GITLAB_API_TOKEN"))
        return curl(f"{self.url}{path}", *login, *options, ca_file=self._ca_file, deadline=self.deadline)

    def _read(self, url: str, command: str) -> tuple[Reply, Any]:
        left = self._end - time.monotonic()
        if left <= 0:
            raise Unmeasured(
                f"GitLab's API took longer than {self.deadline:g} s", needs="a larger `deadlines.http` in the inventory"
            )
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            reply = exchange(
                url,
                routes=self._routes,
                ca_file=self._ca_file,
                deadline=left,
                headers=headers,
                longest=8 * ENOUGH,
            )
        except NoReply as no:
            evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
            raise Unmeasured(
                f"GitLab's API did not answer: {no.cause}",
                needs="a GitLab whose API answers from here within `deadlines.http`",
                fault=no.fault,
                evidence=evidence,
            ) from None
        document = reply.json()
        if reply.status == _OK and isinstance(document, dict | list):
            return reply, document
        evidence = Evidence(where="here", command=command, observed=reply.shown, took=reply.took)
        fields = document if isinstance(document, dict) else {}
        reason = fields.get("error_description") or fields.get("message") or fields.get("error") or reply.reason
        place = url.partition("?")[0]
        needs = _NEEDS if reply.status in {_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND} else "a GitLab whose API answers"
        raise Unmeasured(f"{place} answered {reply.status}: {reason}", needs=needs, evidence=evidence)


# ---- which runner it is ---------------------------------------------------------------------------------------------


def own_runner(reader: Reader, configured: ConfiguredToken, number: int | None) -> OwnRunner:
    """The runner that has this token: the one of that number, or the one among all whose short token agrees.

    The short token is made of the token's random part (48 bits and more), so it identifies a token. Of all runners,
    exactly one may agree; where none does, no runner has the token.

    Raises:
        Unmeasured: the API token may not list the runners, or several agree.
    """
    if number is not None:
        return _numbered(reader, configured, number)
    listed, cursor, query = list[dict[str, Any]](), "", ""
    for _ in range(_PAGES):
        after = f', after: "{cursor}"' if cursor else ""
        query = f"{{ runners(first: {_PAGE}{after}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ {_FIELDS} }} }} }}"
        connection = reader.query(query).get("runners")
        if not isinstance(connection, dict):
            raise Unmeasured(
                "GitLab does not let the API token list all runners, so it is unknown which one has the runner's token",
                needs=_NEEDS,
                evidence=Evidence(where="here", command=reader.query_command(query), observed='{"runners": null}'),
            )
        listed += [node for node in connection.get("nodes") or () if isinstance(node, dict)]
        page = connection.get("pageInfo") or {}
        cursor = str(page.get("endCursor") or "")
        if not page.get("hasNextPage") or not cursor:
            break
    else:
        raise Unmeasured(f"GitLab has more than {_PAGE * _PAGES} runners", needs="`runner.id` in the inventory")
    matching = [node for node in listed if _agrees(configured, node)]
    evidence = Evidence(
        where="here",
        command=reader.query_command(query),
        observed="\n".join([f"{len(listed)} runners", *map(_agreeing, matching)]),
    )
    if len(matching) > 1:
        numbers = ", ".join(f"#{_number(node)}" for node in matching)
        raise Unmeasured(
            f"runners {numbers} have tokens that begin alike", needs="`runner.id` in the inventory", evidence=evidence
        )
    if not matching:
        count = "1 runner" if len(listed) == 1 else f"{len(listed)} runners"
        cause = f"none of GitLab's {count} has the token ({configured.source}): it was reset, or its runner deleted"
        return OwnRunner(
            target=configured.source, fault=TokenFault.REVOKED, cause=cause, evidence=evidence, known=len(listed)
        )
    return _own(configured, matching[0], evidence, known=len(listed))


def _numbered(reader: Reader, configured: ConfiguredToken, number: int) -> OwnRunner:
    query = f'{{ runner(id: "gid://gitlab/Ci::Runner/{number}") {{ {_FIELDS} }} }}'
    node = reader.query(query).get("runner")
    if not isinstance(node, dict):
        raise Unmeasured(
            f"GitLab shows the API token no runner #{number}",
            needs="the right `runner.id` in the inventory, and a gitlab.api_token that may see that runner",
            evidence=Evidence(where="here", command=reader.query_command(query), observed='{"runner": null}'),
        )
    agrees = _agrees(configured, node)
    observed = _agreeing(node) if agrees else f"{node.get('id')}: shortSha is not how the given token begins"
    evidence = Evidence(where="here", command=reader.query_command(query), observed=observed)
    if not agrees:
        cause = f"runner #{number} of the inventory does not have the token ({configured.source})"
        return OwnRunner(
            target=configured.source, fault=TokenFault.OTHER_RUNNER, cause=cause, evidence=evidence, known=1
        )
    return _own(configured, node, evidence, known=1)


def _own(configured: ConfiguredToken, node: dict[str, Any], evidence: Evidence, *, known: int) -> OwnRunner:
    expires = _timestamp(node.get("tokenExpiresAt"))
    return OwnRunner(target=configured.source, evidence=evidence, id=_number(node), expires=expires, known=known)


def _agrees(configured: ConfiguredToken, node: dict[str, Any]) -> bool:
    short = str(node.get("shortSha") or "")
    return len(short) >= _SHORTEST and any(form.startswith(short) for form in short_forms(configured))


def _agreeing(node: dict[str, Any]) -> str:
    """A runner that has the token; its short form is a part of a secret, and is not shown."""
    return f"{node.get('id')}: shortSha is how the given token begins, tokenExpiresAt {node.get('tokenExpiresAt')}"


def _number(node: dict[str, Any]) -> int:
    return int(str(node.get("id", "")).rpartition("/")[2] or 0)


def _timestamp(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


# ---- its settings ---------------------------------------------------------------------------------------------------


def record(reader: Reader, number: int) -> RunnerRecord:
    """The settings of a runner.

    Raises:
        Unmeasured: GitLab does not show them to this API token.
    """
    document = reader.get(f"/runners/{number}")
    fields = document if isinstance(document, dict) else {}
    shown = {key: fields.get(key) for key in ("status", "paused", "run_untagged", "tag_list", "description")}
    evidence = Evidence(
        where="here",
        command=reader.command(f"/runners/{number}"),
        observed="\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in shown.items()),
    )
    return RunnerRecord(
        target=f"runner #{number}",
        evidence=evidence,
        id=number,
        status=str(fields.get("status") or ""),
        paused=bool(fields.get("paused")),
        run_untagged=bool(fields.get("run_untagged")),
        tags=tuple(map(str, fields.get("tag_list") or ())),
        description=str(fields.get("description") or ""),
    )


def activity(runner: RunnerRecord) -> RunnerRecord:
    """Whether the runner gets jobs at all."""
    return _judged(runner, RunnerFault.PAUSED if runner.paused else None, f"{runner.target} is paused and gets no jobs")


def tags(runner: RunnerRecord, expected: Sequence[str]) -> RunnerRecord:
    """Whether the runner has every expected tag; further tags only bring it more jobs."""
    missing = [tag for tag in expected if tag not in runner.tags]
    has = ", ".join(runner.tags) or "none"
    cause = f"{runner.target} has the tags {has}: {', '.join(missing)} missing"
    return _judged(runner, RunnerFault.WRONG_TAGS if missing else None, cause)


def untagged(runner: RunnerRecord, *, expected: bool) -> RunnerRecord:
    """Whether the runner takes jobs without tags, as expected."""
    takes = "takes" if runner.run_untagged else "does not take"
    cause = f"{runner.target} {takes} jobs without tags; the inventory expects the opposite"
    return _judged(runner, RunnerFault.UNTAGGED if runner.run_untagged is not expected else None, cause)


def _judged(runner: RunnerRecord, fault: Fault | None, cause: str) -> RunnerRecord:
    return replace(runner, fault=fault, cause=cause if fault else "")


# ---- its managers ---------------------------------------------------------------------------------------------------


def managers(reader: Reader, number: int) -> RegisteredManagers:
    """The managers of a runner.

    Raises:
        Unmeasured: GitLab does not show them to this API token.
    """
    path = f"/runners/{number}/managers?per_page={_PAGE}"
    document = reader.get(path)
    listed = tuple(
        Manager(
            system_id=str(entry.get("system_id") or ""),
            version=str(entry.get("version") or ""),
            address=str(entry.get("ip_address") or ""),
            status=str(entry.get("status") or ""),
            contacted=str(entry.get("contacted_at") or ""),
        )
        for entry in (document if isinstance(document, list) else ())
        if isinstance(entry, dict)
    )
    observed = "\n".join(map(str, listed)) or "[]"
    evidence = Evidence(where="here", command=reader.command(path), observed=observed)
    return RegisteredManagers(
        target=f"runner #{number}", evidence=evidence, managers=listed, listed_at=reader.answered_at
    )


def presence(registered: RegisteredManagers) -> RegisteredManagers:
    """Whether any manager is online."""
    if registered.online:
        return registered
    last = max((manager.contacted for manager in registered.managers), default="")
    seen = f"the last was seen at {last}" if last else "none was ever seen"
    cause = f"{registered.target} has no manager that is online: {seen}"
    return replace(registered, fault=RunnerFault.OFFLINE, cause=cause)


def number_of(registered: RegisteredManagers, replicas: int) -> RegisteredManagers:
    """Whether there are as many managers online as the values ask for replicas.

    A manager whose pod is gone counts as online for a while, so more of them are right as well.
    """
    if len(registered.online) >= replicas:
        return registered
    count = "1 manager" if len(registered.online) == 1 else f"{len(registered.online)} managers"
    return replace(
        registered,
        fault=RunnerFault.TOO_FEW,
        cause=f"{registered.target} has {count} online, and the values ask for {replicas} replicas",
    )


def versions(registered: RegisteredManagers, expected: str) -> RegisteredManagers:
    """Whether every manager online has the expected version, such as ``18.3.0``, or ``18.3`` for any of it."""
    others = [
        manager for manager in registered.online if not re.match(rf"v?{re.escape(expected)}(?![0-9])", manager.version)
    ]
    if not others:
        return registered
    named = ", ".join(f"{manager.system_id} is {manager.version or 'unknown'}" for manager in others)
    return replace(
        registered,
        fault=RunnerFault.MANAGER_VERSION,
        cause=f"of {registered.target}, {named}; the values say {expected}",
    )


def addresses(registered: RegisteredManagers, nodes: Iterable[str], pod_networks: Sequence[str]) -> RegisteredManagers:
    """Whether GitLab sees every manager online at a node's address, or at a pod's own where pods are routed."""
    known = {ip_address(node) for node in nodes}
    others = [manager for manager in registered.online if not _from_the_cluster(manager.address, known, pod_networks)]
    if not others:
        return registered
    named = ", ".join(f"{manager.system_id} from {manager.address or 'an unknown address'}" for manager in others)
    cause = f"GitLab sees {registered.target}'s {named}: no node of the cluster has that address"
    return replace(registered, fault=RunnerFault.MANAGER_ADDRESS, cause=cause)


def _from_the_cluster(address: str, known: set[Any], pod_networks: Sequence[str]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return parsed in known or any(parsed in ip_network(network) for network in pod_networks)
