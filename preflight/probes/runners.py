"""What GitLab knows of the runner: which one has the token, its settings, and its managers; read with an API token.

``replicas: 3`` and one token make one runner with three managers, where the guide expects three runners (reference
§8.1). Which runner has a token is told by the first characters of it that GitLab shows (``shortSha``, GraphQL alone has
it; asked by GET, which GitLab serves as well as POST): nothing is sent that GitLab would keep.
"""

from __future__ import annotations

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
from preflight.clients.http import ENOUGH, NoReply, Reply, exchange
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import Fault, RunnerFault, TokenFault
from preflight.probes.token import ConfiguredToken, short_forms
from preflight.redaction import remember

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
        known: how many runners were looked at.
    """

    id: int | None = None
    expires: datetime | None = None
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRecord(Fact):
    """A runner's settings, as GitLab has them.

    Attributes:
        status: ``online``, ``offline``, ``stale`` or ``never_contacted``; up to two hours behind (reference §4.4).
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
        asked: when GitLab listed them, by its own clock; None where it did not say.
    """

    managers: tuple[Manager, ...] = ()
    asked: datetime | None = None

    @property
    def online(self) -> tuple[Manager, ...]:
        """Those that GitLab has heard of within the hour.

        A manager polls every few seconds, and GitLab writes that down every 40 to 55 minutes at the latest; it calls a
        manager online for two hours (reference §4.4).
        """
        return tuple(one for one in self.managers if one.status == "online" and self._fresh(one))

    def _fresh(self, manager: Manager) -> bool:
        seen = _moment(manager.contacted)
        return self.asked is None or seen is None or self.asked - seen <= _FRESH


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
        self.asked: datetime | None = None  # by GitLab's clock, when `get` was last answered

    def get(self, path: str) -> Any:
        """The JSON behind ``/api/v4`` and this path."""
        reply, told = self._read(f"{self.url}/api/v4{path}", self.command(path))
        offset = reply.clock_offset
        self.asked = None if offset is None else datetime.fromtimestamp(reply.at + offset, tz=UTC)
        return told

    def command(self, path: str) -> str:
        """How a person asks the same."""
        return f'curl -sS --oauth2-bearer "$GITLAB_API_TOKEN" "{self.url}/api/v4{path}"'

    def query(self, text: str) -> dict[str, Any]:
        """The data that a GraphQL query gives."""
        command = self.query_command(text)
        reply, told = self._read(f"{self.url}/api/graphql?{urlencode({'query': text})}", command)
        if told.get("errors"):
            said = "; ".join(str(one.get("message")) for one in told["errors"] if isinstance(one, dict))
            evidence = Evidence(where="here", command=command, observed=reply.shown, took=reply.took)
            raise Unmeasured(f"GitLab does not let the API token list runners: {said}", needs=_NEEDS, evidence=evidence)
        data = told.get("data")
        return data if isinstance(data, dict) else {}

    def query_command(self, text: str) -> str:
        """How a person asks the same of GraphQL."""
        return f"curl -sSG --oauth2-bearer \"$GITLAB_API_TOKEN\" --data-urlencode 'query={text}' {self.url}/api/graphql"

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
                f"GitLab's API could not be asked: {no.cause}",
                needs="a GitLab whose API answers from here within `deadlines.http`",
                fault=no.fault,
                evidence=evidence,
            ) from None
        told = reply.json()
        if reply.status == _OK and isinstance(told, dict | list):
            return reply, told
        evidence = Evidence(where="here", command=command, observed=reply.shown, took=reply.took)
        words = told if isinstance(told, dict) else {}
        said = words.get("error_description") or words.get("message") or words.get("error") or reply.reason
        place = url.partition("?")[0]
        needs = _NEEDS if reply.status in {_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND} else "a GitLab whose API answers"
        raise Unmeasured(f"{place} answered {reply.status}: {said}", needs=needs, evidence=evidence)


# ---- which runner it is ---------------------------------------------------------------------------------------------


def own_runner(reader: Reader, given: ConfiguredToken, number: int | None) -> OwnRunner:
    """The runner that has this token: the one of that number, or the one among all whose short token agrees.

    The short token is made of the token's random part (48 bits and more), so it tells two tokens apart. Of all runners,
    exactly one may agree; where none does, the token is nobody's.

    Raises:
        Unmeasured: the API token may not list the runners, or several agree.
    """
    if number is not None:
        return _numbered(reader, given, number)
    listed, cursor, query = list[dict[str, Any]](), "", ""
    for _ in range(_PAGES):
        after = f', after: "{cursor}"' if cursor else ""
        query = f"{{ runners(first: {_PAGE}{after}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ {_FIELDS} }} }} }}"
        found = reader.query(query).get("runners")
        if not isinstance(found, dict):
            raise Unmeasured(
                "GitLab does not let the API token list all runners, so nothing tells which one has the runner's token",
                needs=_NEEDS,
                evidence=Evidence(where="here", command=reader.query_command(query), observed='{"runners": null}'),
            )
        listed += [node for node in found.get("nodes") or () if isinstance(node, dict)]
        page = found.get("pageInfo") or {}
        cursor = str(page.get("endCursor") or "")
        if not page.get("hasNextPage") or not cursor:
            break
    else:
        raise Unmeasured(f"GitLab has more than {_PAGE * _PAGES} runners", needs="`runner.id` in the inventory")
    matching = [node for node in listed if _agrees(given, node)]
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
        cause = f"none of GitLab's {count} has the token ({given.source}): it was reset, or its runner deleted"
        return OwnRunner(
            target=given.source, fault=TokenFault.REVOKED, cause=cause, evidence=evidence, known=len(listed)
        )
    return _found(given, matching[0], evidence, known=len(listed))


def _numbered(reader: Reader, given: ConfiguredToken, number: int) -> OwnRunner:
    query = f'{{ runner(id: "gid://gitlab/Ci::Runner/{number}") {{ {_FIELDS} }} }}'
    node = reader.query(query).get("runner")
    if not isinstance(node, dict):
        raise Unmeasured(
            f"GitLab shows the API token no runner #{number}",
            needs="the right `runner.id` in the inventory, and a gitlab.api_token that may see that runner",
            evidence=Evidence(where="here", command=reader.query_command(query), observed='{"runner": null}'),
        )
    agrees = _agrees(given, node)
    shown = _agreeing(node) if agrees else f"{node.get('id')}: shortSha is not how the given token begins"
    evidence = Evidence(where="here", command=reader.query_command(query), observed=shown)
    if not agrees:
        cause = f"runner #{number} of the inventory does not have the token ({given.source})"
        return OwnRunner(target=given.source, fault=TokenFault.OTHER_RUNNER, cause=cause, evidence=evidence, known=1)
    return _found(given, node, evidence, known=1)


def _found(given: ConfiguredToken, node: dict[str, Any], evidence: Evidence, *, known: int) -> OwnRunner:
    expires = _moment(node.get("tokenExpiresAt"))
    return OwnRunner(target=given.source, evidence=evidence, id=_number(node), expires=expires, known=known)


def _agrees(given: ConfiguredToken, node: dict[str, Any]) -> bool:
    short = str(node.get("shortSha") or "")
    return len(short) >= _SHORTEST and any(form.startswith(short) for form in short_forms(given))


def _agreeing(node: dict[str, Any]) -> str:
    """A runner that has the token; its short form is a part of a secret, and is not shown."""
    return f"{node.get('id')}: shortSha is how the given token begins, tokenExpiresAt {node.get('tokenExpiresAt')}"


def _number(node: dict[str, Any]) -> int:
    return int(str(node.get("id", "")).rpartition("/")[2] or 0)


def _moment(text: object) -> datetime | None:
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
    told = reader.get(f"/runners/{number}")
    words = told if isinstance(told, dict) else {}
    shown = {key: words.get(key) for key in ("status", "paused", "run_untagged", "tag_list", "description")}
    evidence = Evidence(
        where="here",
        command=reader.command(f"/runners/{number}"),
        observed="\n".join(f"{key}: {value}" for key, value in shown.items()),
    )
    return RunnerRecord(
        target=f"runner #{number}",
        evidence=evidence,
        id=number,
        status=str(words.get("status") or ""),
        paused=bool(words.get("paused")),
        run_untagged=bool(words.get("run_untagged")),
        tags=tuple(map(str, words.get("tag_list") or ())),
        description=str(words.get("description") or ""),
    )


def activity(found: RunnerRecord) -> RunnerRecord:
    """Whether the runner gets jobs at all."""
    return _judged(found, RunnerFault.PAUSED if found.paused else None, f"{found.target} is paused and gets no jobs")


def tags(found: RunnerRecord, expected: Sequence[str]) -> RunnerRecord:
    """Whether the runner has every expected tag; more than these only bring it more jobs."""
    missing = [one for one in expected if one not in found.tags]
    has = ", ".join(found.tags) or "none"
    cause = f"{found.target} has the tags {has}: {', '.join(missing)} missing"
    return _judged(found, RunnerFault.WRONG_TAGS if missing else None, cause)


def untagged(found: RunnerRecord, *, expected: bool) -> RunnerRecord:
    """Whether the runner takes jobs without tags, as expected."""
    takes = "takes" if found.run_untagged else "does not take"
    cause = f"{found.target} {takes} jobs without tags; expected is the contrary"
    return _judged(found, RunnerFault.UNTAGGED if found.run_untagged is not expected else None, cause)


def _judged(found: RunnerRecord, fault: Fault | None, cause: str) -> RunnerRecord:
    return replace(found, fault=fault, cause=cause if fault else "")


# ---- its managers ---------------------------------------------------------------------------------------------------


def managers(reader: Reader, number: int) -> RegisteredManagers:
    """The managers of a runner.

    Raises:
        Unmeasured: GitLab does not show them to this API token.
    """
    path = f"/runners/{number}/managers?per_page={_PAGE}"
    told = reader.get(path)
    found = tuple(
        Manager(
            system_id=str(one.get("system_id") or ""),
            version=str(one.get("version") or ""),
            address=str(one.get("ip_address") or ""),
            status=str(one.get("status") or ""),
            contacted=str(one.get("contacted_at") or ""),
        )
        for one in (told if isinstance(told, list) else ())
        if isinstance(one, dict)
    )
    observed = "\n".join(map(str, found)) or "[]"
    evidence = Evidence(where="here", command=reader.command(path), observed=observed)
    return RegisteredManagers(target=f"runner #{number}", evidence=evidence, managers=found, asked=reader.asked)


def presence(found: RegisteredManagers) -> RegisteredManagers:
    """Whether any manager is online."""
    if found.online:
        return found
    last = max((one.contacted for one in found.managers), default="")
    seen = f"the last was seen at {last}" if last else "none was ever seen"
    cause = f"{found.target} has no manager that is online: {seen}"
    return replace(found, fault=RunnerFault.OFFLINE, cause=cause)


def number_of(found: RegisteredManagers, replicas: int) -> RegisteredManagers:
    """Whether there are as many managers online as the values ask for replicas.

    A manager whose pod is gone counts as online for a while, so more of them are right as well.
    """
    if len(found.online) >= replicas:
        return found
    count = "1 manager" if len(found.online) == 1 else f"{len(found.online)} managers"
    return replace(
        found,
        fault=RunnerFault.TOO_FEW,
        cause=f"{found.target} has {count} online, and the values ask for {replicas} replicas",
    )


def versions(found: RegisteredManagers, expected: str) -> RegisteredManagers:
    """Whether every manager online has the expected version, such as ``18.3.0``, or ``18.3`` for any of it."""
    others = [one for one in found.online if not re.match(rf"v?{re.escape(expected)}(?![0-9])", one.version)]
    if not others:
        return found
    named = ", ".join(f"{one.system_id} is {one.version or 'unknown'}" for one in others)
    return replace(
        found, fault=RunnerFault.MANAGER_VERSION, cause=f"of {found.target}, {named}; the values say {expected}"
    )


def addresses(found: RegisteredManagers, nodes: Iterable[str], pod_network: str | None) -> RegisteredManagers:
    """Whether GitLab sees every manager online at a node's address, or at a pod's own where pods are routed."""
    known = {ip_address(node) for node in nodes}
    others = [one for one in found.online if not _from_the_cluster(one.address, known, pod_network)]
    if not others:
        return found
    named = ", ".join(f"{one.system_id} from {one.address or 'nowhere'}" for one in others)
    cause = f"GitLab sees {found.target}'s {named}: no node of the cluster has that address"
    return replace(found, fault=RunnerFault.MANAGER_ADDRESS, cause=cause)


def _from_the_cluster(address: str, known: set[Any], pod_network: str | None) -> bool:
    try:
        one = ip_address(address)
    except ValueError:
        return False
    return one in known or (pod_network is not None and one in ip_network(pod_network))
