"""The lab's GitLab keeps runners and their managers as GitLab does, also where that is a nuisance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from lab.lab import Lab
from lab.world import RUNNER_TOKEN, World

if TYPE_CHECKING:
    from tests.lab.conftest import Answer, Visit, Visitor

GITLAB = "192.168.1.50:80"
KNOWN = "r_8KdWq2XzPm4V"


def verify(visitor: Visitor, *, form: bool = False, **fields: str) -> Answer:
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    body = urlencode(fields) if form else json.dumps(fields)
    headers = {"Content-Type": kind}
    return visitor.http(GITLAB, "/api/v4/runners/verify", method="POST", headers=headers, body=body)


def read(visitor: Visitor, path: str) -> Any:
    token = (visitor.folder / "gitlab-token").read_text()
    answer = visitor.http(GITLAB, path, headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def query(visitor: Visitor, text: str) -> Any:
    return read(visitor, f"/api/graphql?{urlencode({'query': text})}")


def system_ids(world: World) -> list[str]:
    return [manager.system_id for manager in world.gitlab.runners[0].managers]


def test_a_token_of_nobody_s_is_forbidden_and_leaves_nothing(visit: Visit) -> None:
    with Lab() as lab:
        before = lab.change(system_ids)
        answer = verify(visit(lab), token="glrt-0123456789abcdefghij", system_id="r_new000000000")
        assert (answer.status, json.loads(answer.body)) == (403, {"message": "403 Forbidden"})
        assert lab.change(system_ids) == before


@pytest.mark.parametrize("form", [True, False])
def test_a_valid_token_makes_a_manager_of_every_name_that_is_new(visit: Visit, form: bool) -> None:
    with Lab() as lab:
        before, visitor = lab.change(system_ids), visit(lab)
        answer = verify(visitor, form=form, token=RUNNER_TOKEN, system_id=KNOWN)
        assert json.loads(answer.body) == {"id": 7, "token": RUNNER_TOKEN, "token_expires_at": None}
        assert lab.change(system_ids) == before
        assert verify(visitor, form=form, token=RUNNER_TOKEN, system_id="r_new000000000").status == 200
        assert verify(visitor, form=form, token=RUNNER_TOKEN).status == 200
        assert lab.change(system_ids) == [*before, "r_new000000000", "<legacy>"]
        made = read(visitor, "/api/v4/runners/7/managers")[0]
        assert (made["system_id"], made["status"], made["contacted_at"]) == ("<legacy>", "never_contacted", None)


def test_an_expired_token_is_nobody_s(visit: Visit) -> None:
    with Lab(["token-expired"]) as lab:
        assert verify(visit(lab), token=RUNNER_TOKEN, system_id=KNOWN).status == 403


def test_a_runner_is_shown_with_its_settings(healthy: Lab, visit: Visit) -> None:
    runner = read(visit(healthy), "/api/v4/runners/7")
    assert (runner["status"], runner["paused"], runner["run_untagged"]) == ("online", False, True)
    assert runner["tag_list"] == ["kubernetes", "docker", "x86_64"]
    assert runner["ip_address"] == "", "since 17.0 only managers have one"
    assert "token" not in runner
    assert [runner["id"] for runner in read(visit(healthy), "/api/v4/runners/all")] == [7, 3]


def test_its_managers_come_from_the_workers(healthy: Lab, visit: Visit) -> None:
    managers = read(visit(healthy), "/api/v4/runners/7/managers")
    assert sorted(manager["ip_address"] for manager in managers) == ["192.168.1.101", "192.168.1.102", "192.168.1.103"]
    assert {(manager["status"], manager["version"]) for manager in managers} == {("online", "18.3.0")}


def test_who_has_no_token_sees_no_runner(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    assert visitor.http(GITLAB, "/api/v4/runners/7").status == 401
    path = f"/api/graphql?{urlencode({'query': '{ runners(first: 100) { nodes { id } } }'})}"
    assert json.loads(visitor.http(GITLAB, path).body) == {"data": {"runners": None}}
    refused = visitor.http(GITLAB, path, headers={"Authorization": "Bearer another"})
    assert (refused.status, json.loads(refused.body)["errors"][0]["message"]) == (401, "Invalid token")
    token = (visitor.folder / "gitlab-token").read_text()
    assert visitor.http(GITLAB, "/api/v4/runners/99", headers={"PRIVATE-TOKEN": token}).status == 404


def test_graphql_lists_runners_by_pages_with_the_beginning_of_their_tokens(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    first = query(visitor, "{ runners(first: 1) { pageInfo { hasNextPage endCursor } nodes { id shortSha } } }")
    page = first["data"]["runners"]
    assert (page["nodes"][0]["shortSha"], page["pageInfo"]["hasNextPage"]) == ("Zq7mUfX2c", True)
    cursor = page["pageInfo"]["endCursor"]
    second = query(visitor, f'{{ runners(first: 1, after: "{cursor}") {{ nodes {{ id }} }} }}')["data"]["runners"]
    assert (second["nodes"][0]["id"], second["pageInfo"]["hasNextPage"]) == ("gid://gitlab/Ci::Runner/3", False)
    single = query(visitor, '{ runner(id: "gid://gitlab/Ci::Runner/7") { shortSha } }')
    assert single["data"]["runner"]["id"] == "gid://gitlab/Ci::Runner/7"
    assert query(visitor, '{ runner(id: "gid://gitlab/Ci::Runner/99") { shortSha } }')["data"]["runner"] is None
