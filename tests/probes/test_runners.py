"""What GitLab knows of the runner, read from servers that answer as GitLab's API does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import PathFault, RunnerFault, TokenFault
from preflight.probes import runners
from preflight.probes.runners import Manager, OwnRunner, Reader, RegisteredManagers, RunnerRecord
from preflight.probes.token import ConfiguredToken
from preflight.shell_command import program
from tests.probes import servers
from tests.probes.servers import Asked, Said, Web, web_server

API_TOKEN = "glpat-made-up-for-a-test"
GIVEN = ConfiguredToken(
    source="runnerToken in values.yaml:13", command=program("grep"), text="glrt-t1_Ab3dE6gH9jK2mN5pQ8sT"
)
NOBODYS = ConfiguredToken(
    source="runnerToken in values.yaml:13", command=program("grep"), text="glrt-t1_Zz3dE6gH9jK2mN5pQ8sT"
)


def node(number: int, short: str, expires: str | None = None) -> dict[str, Any]:
    return {"id": f"gid://gitlab/Ci::Runner/{number}", "shortSha": short, "tokenExpiresAt": expires}


def said(value: object, status: int = 200) -> Said:
    return Said(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def page(nodes: list[dict[str, Any]], following: str | None = None) -> Said:
    info = {"hasNextPage": following is not None, "endCursor": following}
    return said({"data": {"runners": {"pageInfo": info, "nodes": nodes}}})


def read(
    answer: Callable[[Asked], Said], look: Callable[[Reader], Any], *, url: str = "http://gitlab.example/"
) -> tuple[Any, Web]:
    with web_server(answer) as web:
        routes = Routes({"gitlab.example:80": web.address}, only_mapped=True)
        return look(Reader(url, API_TOKEN, routes=routes, ca_file=None, deadline=2)), web


def found(answer: Callable[[Asked], Said], given: ConfiguredToken = GIVEN, number: int | None = None) -> OwnRunner:
    runner: OwnRunner = read(answer, lambda reader: runners.own_runner(reader, given, number))[0]
    return runner


# ---- which runner ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", ["Ab3dE6gH", "Ab3dE6gH9", "t1_Ab3dE6"])
def test_the_runner_is_found_by_how_its_token_begins(short: str) -> None:
    own = found(lambda _: page([node(3, "hC5wJd8Ns"), node(7, short, "2026-05-01T00:00:00Z")]))
    assert (own.fault, own.id, own.known) == (None, 7, 2)
    assert own.expires == datetime(2026, 5, 1, tzinfo=UTC)
    assert short not in own.evidence.observed, "the short form is a part of a secret"


def test_every_page_is_read_and_nothing_of_the_token_is_sent() -> None:
    def answer(asked: Asked) -> Said:
        query = parse_qs(urlsplit(asked.path).query)["query"][0]
        return page([node(7, "Ab3dE6gH9")]) if 'after: "100"' in query else page([node(3, "hC5wJd8Ns")], "100")

    own, web = read(answer, lambda reader: runners.own_runner(reader, GIVEN, None), url="http://gitlab.example/git/")
    assert (own.id, own.known) == (7, 2)
    assert [one.method for one in web.asked] == ["GET", "GET"]
    assert all(one.path.startswith("/git/api/graphql?query=") for one in web.asked)
    assert all(one.headers["authorization"] == f"Bearer {API_TOKEN}" for one in web.asked)
    assert not any("Ab3dE6gH" in one.path for one in web.asked)


@pytest.mark.parametrize("nodes", [[], [node(3, "hC5wJd8Ns")], [node(3, "")], [node(3, "Ab")]])
def test_a_token_that_no_runner_has_is_revoked(nodes: list[dict[str, Any]]) -> None:
    own = found(lambda _: page(nodes))
    assert (own.fault, own.id) == (TokenFault.REVOKED, None)
    assert own.cause.startswith("none of GitLab's ")


def test_two_runners_whose_tokens_begin_alike_are_told_apart_by_the_operator() -> None:
    with pytest.raises(Unmeasured, match="#3, #7") as caught:
        found(lambda _: page([node(3, "Ab3dE6gH9"), node(7, "Ab3dE6gH9")]))
    assert "runner.id" in caught.value.needs


@pytest.mark.parametrize(
    "answer",
    [
        said({"data": {"runners": None}}),
        said({"errors": [{"message": "The resource that you are attempting to access does not exist"}]}),
        said({"error": "insufficient_scope", "error_description": "The request requires higher privileges"}, 403),
        said({"message": "401 Unauthorized"}, 401),
    ],
)
def test_an_api_token_that_may_not_list_runners_makes_it_unknown(answer: Said) -> None:
    with pytest.raises(Unmeasured) as caught:
        found(lambda _: answer)
    assert "read_api" in caught.value.needs
    assert caught.value.evidence is not None
    assert API_TOKEN not in str(caught.value) + caught.value.evidence.command


def test_a_runner_of_the_operator_s_choice_is_looked_at_alone() -> None:
    own = found(lambda _: said({"data": {"runner": node(7, "Ab3dE6gH9")}}), number=7)
    assert (own.fault, own.id) == (None, 7)
    other = found(lambda _: said({"data": {"runner": node(7, "Ab3dE6gH9")}}), NOBODYS, number=7)
    assert other.fault is TokenFault.OTHER_RUNNER
    with pytest.raises(Unmeasured, match="no runner #7"):
        found(lambda _: said({"data": {"runner": None}}), number=7)


def test_an_api_that_does_not_answer_makes_it_unknown() -> None:
    routes = Routes({"gitlab.example:80": f"127.0.0.1:{servers.closed_port()}"}, only_mapped=True)
    reader = Reader("http://gitlab.example/", API_TOKEN, routes=routes, ca_file=None, deadline=1)
    with pytest.raises(Unmeasured) as caught:
        runners.managers(reader, 7)
    assert caught.value.fault is PathFault.REFUSED


def test_a_page_instead_of_json_makes_it_unknown() -> None:
    with pytest.raises(Unmeasured, match="answered 200"):
        found(lambda _: Said(200, {}, b"<html></html>"))


# ---- its settings ---------------------------------------------------------------------------------------------------


def record(**told: object) -> RunnerRecord:
    details = {"id": 7, "status": "online", "paused": False, "run_untagged": True, "tag_list": ["kubernetes"], **told}
    answer: RunnerRecord = read(lambda _: said(details), lambda reader: runners.record(reader, 7))[0]
    return answer


def test_a_runner_s_settings() -> None:
    one = record(description="k8s")
    assert (one.id, one.status, one.paused, one.run_untagged, one.tags, one.description) == (
        *(7, "online", False, True),
        *(("kubernetes",), "k8s"),
    )
    assert runners.activity(one).fault is None
    assert runners.tags(one, ["kubernetes"]).fault is None
    assert runners.untagged(one, expected=True).fault is None


def test_a_runner_that_is_paused_or_takes_other_jobs() -> None:
    one = record(paused=True)
    assert runners.activity(one).fault is RunnerFault.PAUSED
    wrong = runners.tags(one, ["kubernetes", "docker"])
    assert (wrong.fault, wrong.cause) == (
        RunnerFault.WRONG_TAGS,
        "runner #7 has the tags kubernetes: docker missing",
    )
    assert runners.untagged(one, expected=False).fault is RunnerFault.UNTAGGED
    assert runners.tags(record(tag_list=["kubernetes", "more"]), ["kubernetes"]).fault is None


# ---- its managers ---------------------------------------------------------------------------------------------------


def managed(*managers: Manager) -> RegisteredManagers:
    return RegisteredManagers(target="runner #7", evidence=Evidence(where="here", command="curl"), managers=managers)


def online(number: int, version: str = "18.3.0", address: str = "192.168.1.101") -> Manager:
    return Manager(f"r_{number:012}", version, address, "online", "2026-03-01T12:00:00Z")


GONE = Manager("r_gone00000000", "18.2.0", "10.9.9.9", "stale", "2026-02-01T12:00:00Z")


def test_managers_as_gitlab_lists_them() -> None:
    listed = [
        {"id": 2, "system_id": "r_8KdWq2XzPm4V", "version": "18.3.0", "ip_address": "192.168.1.101"}
        | {"status": "online", "contacted_at": datetime.now(tz=UTC).isoformat()},
        {"id": 1, "system_id": "<legacy>", "version": None, "ip_address": None, "status": "never_contacted"},
    ]
    answer, web = read(lambda _: said(listed), lambda reader: runners.managers(reader, 7))
    assert [one.system_id for one in answer.managers] == ["r_8KdWq2XzPm4V", "<legacy>"]
    assert [one.address for one in answer.online] == ["192.168.1.101"]
    assert web.asked[0].path == "/api/v4/runners/7/managers?per_page=100"
    assert answer.listed_at is not None


def test_managers_of_pods_that_are_gone_count_for_nothing() -> None:
    assert runners.presence(managed(online(1), GONE)).fault is None
    offline = runners.presence(managed(GONE))
    assert offline.fault is RunnerFault.OFFLINE
    assert "2026-02-01" in offline.cause
    assert "none was ever seen" in runners.presence(managed()).cause


def test_a_manager_that_gitlab_still_calls_online_must_have_been_seen_within_the_hour() -> None:
    asked = datetime(2026, 3, 1, 13, 30, tzinfo=UTC)
    late = replace(managed(online(1)), listed_at=asked)  # seen at 12:00
    assert late.online == ()
    assert runners.presence(late).fault is RunnerFault.OFFLINE
    assert len(replace(late, listed_at=datetime(2026, 3, 1, 12, 55, tzinfo=UTC)).online) == 1
    assert len(replace(late, listed_at=datetime(2026, 3, 1, 11, 50, tzinfo=UTC)).online) == 1, "clocks differ"


def test_how_long_ago_gitlab_heard_of_a_manager_is_known_by_gitlabs_clock() -> None:
    asked = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
    listed = replace(managed(online(1)), listed_at=asked)  # seen at 12:00
    name = listed.managers[0].system_id
    assert listed.last_contact(name) == 30
    assert listed.last_contact("r_other") is None
    assert listed.last_contact("") is None, "a runner too old to have a name"
    assert replace(listed, listed_at=None).last_contact(name) is None


@pytest.mark.parametrize(("count", "fault"), [(2, RunnerFault.TOO_FEW), (3, None), (5, None)])
def test_as_many_managers_as_replicas(count: int, fault: RunnerFault | None) -> None:
    assert runners.number_of(managed(GONE, *map(online, range(count))), 3).fault is fault


@pytest.mark.parametrize(
    ("version", "expected", "fault"),
    [
        ("18.3.0", "18.3.0", None),
        ("v18.3.0", "18.3.0", None),
        ("18.3.1", "18.3", None),
        ("18.3.1~pre.12.gabc", "18.3.1", None),
        ("18.3.10", "18.3.1", RunnerFault.MANAGER_VERSION),
        ("18.2.0", "18.3", RunnerFault.MANAGER_VERSION),
        ("", "18.3", RunnerFault.MANAGER_VERSION),
    ],
)
def test_versions_of_managers(version: str, expected: str, fault: RunnerFault | None) -> None:
    assert runners.versions(managed(online(1, version), GONE), expected).fault is fault


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("192.168.1.101", None),
        ("172.24.3.9", None),
        ("203.0.113.9", RunnerFault.MANAGER_ADDRESS),
        ("", RunnerFault.MANAGER_ADDRESS),
    ],
)
def test_addresses_of_managers(address: str, fault: RunnerFault | None) -> None:
    judged = runners.addresses(
        managed(online(1, address=address), GONE), ["192.168.1.101"], ["fd00::/64", "172.24.0.0/16"]
    )
    assert judged.fault is fault
