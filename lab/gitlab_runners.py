"""The runner API of GitLab: requests of runners with their token, and of operators with theirs.

A manager's record is created when a valid token comes with a system id that is new to its runner, or with none, as
GitLab does in `ensure_manager`. Managers that run poll every few seconds, so that what a stray request changes in
their record does not last and is not kept here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from lab.world import ManagerState, RunnerState

if TYPE_CHECKING:
    from lab.world import World

Answer = tuple[int, object]
_ONLINE, _STALE = 2 * 3600, 7 * 24 * 3600  # seconds since the last contact, as GitLab defines both
_FORBIDDEN: Answer = (403, {"message": "403 Forbidden"})
_NOT_FOUND: Answer = (404, {"message": "404 Runner Not Found"})


def verify(world: World, content_type: str, body: str) -> Answer:
    """``POST /runners/verify``."""
    fields = _fields(content_type, body)
    if not fields.get("token"):
        return 400, {"error": "token is missing"}
    runner = _holder(world, fields["token"])
    if runner is None:
        return _FORBIDDEN
    _manager(runner, fields.get("system_id") or "<legacy>")
    return 200, {"id": runner.id, "token": runner.token, "token_expires_at": _stamp(runner.token_expires)}


def listing(world: World, path: str) -> Answer | None:
    """``GET /runners/ID`` and its managers, with an accepted token; None for any other path."""
    match = re.fullmatch(r"/api/v4/runners/(\d+)(/managers)?", path)
    if path in ("/api/v4/runners/all", "/api/v4/runners"):
        return 200, [_brief(world, runner) for runner in world.gitlab.runners]
    if match is None:
        return None
    runner = next((candidate for candidate in world.gitlab.runners if candidate.id == int(match[1])), None)
    if runner is None:
        return _NOT_FOUND
    if match[2]:
        managers = [_manager_entity(world, number, manager) for number, manager in enumerate(runner.managers, 1)]
        return 200, managers[::-1]
    return 200, _brief(world, runner) | {
        "architecture": "amd64",
        "platform": "linux",
        "projects": [],
        "groups": [],
        "revision": runner.managers[0].revision if runner.managers else None,
        "version": runner.managers[0].version if runner.managers else None,
        "contacted_at": _stamp(_contacted(world, runner)),
        "tag_list": list(runner.tags),
        "run_untagged": runner.run_untagged,
        "locked": False,
        "maximum_timeout": None,
        "access_level": "not_protected",
        "maintenance_note": None,
    }


def graphql(world: World, query: str, *, allowed: bool) -> Answer:
    """``/api/graphql``: all `runners`, or one `runner` by its global id; null without the right to see them."""
    number = re.search(r'runner\(\s*id:\s*"gid://gitlab/Ci::Runner/(\d+)"\s*\)', query)
    if number is not None:
        matches = [candidate for candidate in world.gitlab.runners if candidate.id == int(number[1])]
        return 200, {"data": {"runner": _node(matches[0]) if allowed and matches else None}}
    if not re.search(r"\brunners\b", query):
        return 200, {"errors": [{"message": "Unexpected end of document", "locations": []}]}
    if not allowed:
        return 200, {"data": {"runners": None}}
    first, after = re.search(r"first:\s*(\d+)", query), re.search(r'after:\s*"(\d+)"', query)
    begin = int(after[1]) if after else 0
    end = begin + (min(100, int(first[1])) if first else 100)
    runners = sorted(world.gitlab.runners, key=lambda candidate: -candidate.id)
    page = {"hasNextPage": end < len(runners), "endCursor": str(end) if runners else None}
    return 200, {"data": {"runners": {"pageInfo": page, "nodes": [_node(runner) for runner in runners[begin:end]]}}}


def _holder(world: World, token: str) -> RunnerState | None:
    """The runner with this token; an expired one belongs to none."""
    for runner in world.gitlab.runners:
        if runner.token == token and (runner.token_expires is None or runner.token_expires > _now(world)):
            return runner
    return None


def _manager(runner: RunnerState, system_id: str) -> ManagerState:
    for manager in runner.managers:
        if manager.system_id == system_id:
            return manager
    manager = ManagerState(system_id, version="", revision="", address="", contacted_ago=None)
    runner.managers.append(manager)
    return manager


def _fields(content_type: str, body: str) -> Mapping[str, str]:
    if "json" in content_type:
        try:
            document: Any = json.loads(body)
        except ValueError:
            return {}
        return {key: str(value) for key, value in document.items()} if isinstance(document, dict) else {}
    return {key: values[-1] for key, values in parse_qs(body).items()}


# ---- entities of the answers


def _contacted(world: World, runner: RunnerState) -> float | None:
    timestamps = [moment for manager in runner.managers if (moment := _moment(world, manager)) is not None]
    return max(timestamps, default=None)


def _moment(world: World, manager: ManagerState) -> float | None:
    """When it last polled, by the clock of GitLab's machine."""
    return None if manager.contacted_ago is None else _now(world) - manager.contacted_ago


def _now(world: World) -> float:
    return time.time() + world.gitlab.clock_offset


def _status(world: World, contacted: float | None) -> str:
    if contacted is None:
        return "never_contacted"
    ago = _now(world) - contacted
    return "online" if ago < _ONLINE else "offline" if ago < _STALE else "stale"


def _brief(world: World, runner: RunnerState) -> dict[str, object]:
    status = _status(world, _contacted(world, runner))
    return {
        "id": runner.id,
        "description": runner.description,
        "active": not runner.paused,
        "paused": runner.paused,
        "is_shared": True,
        "runner_type": "instance_type",
        "name": "gitlab-runner" if runner.managers else None,
        "online": status == "online",
        "created_at": "2025-09-01T08:14:37.211Z",
        "status": status,
        "ip_address": "",
    }


def _manager_entity(world: World, number: int, manager: ManagerState) -> dict[str, object]:
    contacted = _moment(world, manager)
    return {
        "id": number,
        "system_id": manager.system_id,
        "version": manager.version or None,
        "revision": manager.revision or None,
        "platform": "linux" if manager.version else None,
        "architecture": "amd64" if manager.version else None,
        "created_at": "2025-09-01T08:20:02.518Z",
        "contacted_at": _stamp(contacted),
        "ip_address": manager.address or None,
        "status": _status(world, contacted),
    }


def _node(runner: RunnerState) -> dict[str, object]:
    return {
        "id": f"gid://gitlab/Ci::Runner/{runner.id}",
        "shortSha": re.sub(r"^glrt-(t[123]_)?", "", runner.token)[:9],
        "tokenExpiresAt": _stamp(runner.token_expires),
    }


def _stamp(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
