"""The runner's token: what it is, without asking anybody; and what GitLab says to it."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import Fault, GitLabFault, PathFault, TokenFault
from preflight.probes import token
from preflight.probes.token import ConfiguredToken, TokenReply
from tests.probes import servers
from tests.probes.apiserver import Reply, Scripted, kubeconfig, status
from tests.probes.servers import Said, Web, web_server

CLASSIC, TYPED = "glrt-Ab3dE6gH9jK2mN5pQ8sT", "glrt-t1_Ab3dE6gH9jK2mN5pQ8sT"
URL = "http://gitlab.example/"
JSON = {"Content-Type": "application/json", "X-Gitlab-Meta": '{"correlation_id":"01JZ","version":"1"}'}


def routable(prefix: str = "glrt-t1_") -> str:
    """A token as `Authn::TokenField::Generator::RoutableToken` makes one: payload, version, length, CRC-32."""

    def base36(number: int, width: int) -> str:
        digits = ""
        while number:
            number, rest = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
        return digits.rjust(width, "0")

    routing = b"c:1\no:1\nt:1"
    payload = base64.urlsafe_b64encode(bytes(range(16)) + routing + bytes([len(routing)])).decode().rstrip("=")
    head = f"{prefix}{payload}.01.{base36(len(payload), 2)}"
    return head + base36(zlib.crc32(head.encode()), 7)


def given(text: str, **more: object) -> ConfiguredToken:
    return ConfiguredToken(source="runnerToken in values.yaml:13", command="grep", text=text, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [CLASSIC, TYPED, routable(), routable("glrt-")])
def test_a_token_of_gitlab_s_is_right_in_every_way(text: str) -> None:
    for judge in (token.presence, token.whitespace, token.kind, token.form):
        found = judge(given(text))
        assert (found.fault, found.cause) == (None, "")
        assert found.source == "runnerToken in values.yaml:13"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", TokenFault.MISSING),
        (" \n", TokenFault.MISSING),
        ("YOUR_RUNNER_TOKEN_HERE", TokenFault.PLACEHOLDER),
        ("glrt-xxxxxxxxxxxxxxxxxxxx", TokenFault.PLACEHOLDER),
        ("glrt-xxx...", TokenFault.PLACEHOLDER),
        ("<token>", TokenFault.PLACEHOLDER),
        ("${RUNNER_TOKEN}", TokenFault.PLACEHOLDER),
        ("$(RUNNER_TOKEN)", TokenFault.PLACEHOLDER),
        ("{{ .Values.token }}", TokenFault.PLACEHOLDER),
        ("changeme", TokenFault.PLACEHOLDER),
        ("todo", TokenFault.PLACEHOLDER),
        ("glrt-" + "zaXRuZy_O8ffdzpqT1B5", TokenFault.PLACEHOLDER),
        ("glrt-TodoE6gH9jK2mN5pQ8sT", None),
    ],
)
def test_what_stands_where_a_token_should(text: str, fault: TokenFault | None) -> None:
    assert token.presence(given(text)).fault is fault


def test_a_token_that_is_not_there_says_where_it_was_looked_for() -> None:
    found = token.presence(given("", absent="runners.secret names the Secret runner, and there is none"))
    assert found.cause == "runners.secret names the Secret runner, and there is none"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{CLASSIC}\n", "an end of line behind"),
        (f" {CLASSIC}", "a blank before"),
        (f"{CLASSIC}\r\n", "a carriage return behind"),
        ("glrt-Ab3dE6gH9j\tK2mN5pQ8sT", "a tab inside"),
        (f"{CLASSIC}\N{NO-BREAK SPACE}", "a blank behind"),
    ],
)
def test_whitespace_is_named_with_its_place(text: str, says: str) -> None:
    found = token.whitespace(given(text))
    assert found.fault is TokenFault.WHITESPACE
    assert says in found.cause


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("GR1348941Ab3dE6gH9jK2mN5pQ8sT", TokenFault.REGISTRATION),
        ("glpat-Ab3dE6gH9jK2mN5pQ8sT", TokenFault.PERSONAL),
        ("glcbt-64_Ab3dE6gH9jK2mN5pQ8sT", TokenFault.JOB),
        ("gldt-Ab3dE6gH9jK2mN5pQ8sT", TokenFault.OTHER_KIND),
        ("glagent-Ab3dE6gH9jK2mN5pQ8sT", TokenFault.OTHER_KIND),
        ("glrtr-Ab3dE6gH9jK2mN5pQ8sT", TokenFault.UNRECOGNISED),
        ("acme-glrt-Ab3dE6gH9jK2mN5pQ8sT", TokenFault.UNRECOGNISED),
        ("Ab3dE6gH9jK2mN5pQ8sT", TokenFault.UNRECOGNISED),
        (f"{CLASSIC}\n", None),
    ],
)
def test_the_kind_is_told_by_the_prefix(text: str, fault: TokenFault | None) -> None:
    found = token.kind(given(text))
    assert found.fault is fault
    assert text.strip()[-10:] not in found.cause + found.evidence.observed


@pytest.mark.parametrize(
    ("text", "kind", "place"), [(CLASSIC, None, TokenFault.MISPLACED), ("Ab3d", TokenFault.REGISTRATION, None)]
)
def test_a_runners_own_token_works_in_the_key_of_registration_tokens_and_belongs_elsewhere(
    text: str, kind: TokenFault | None, place: TokenFault | None
) -> None:
    configured = given(text, registration=True)
    assert (token.kind(configured).fault, token.place(configured).fault) == (kind, place)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("glrt-short", TokenFault.FORM),
        ("glrt-Ab3dE6gH9jK2mN5pQ8s!", TokenFault.FORM),
        (routable()[:-1] + ("0" if routable()[-1] != "0" else "1"), TokenFault.CHECKSUM),
        (routable().replace("glrt-t1_A", "glrt-t1_B"), TokenFault.CHECKSUM),
        (routable()[:12] + routable()[13:], TokenFault.CHECKSUM),
    ],
)
def test_a_token_that_is_not_whole(text: str, fault: TokenFault) -> None:
    found = token.form(given(text))
    assert found.fault is fault
    assert text not in found.cause


def test_no_repr_shows_the_token() -> None:
    assert CLASSIC not in repr(given(CLASSIC)) + repr(token.kind(given(CLASSIC)))


def test_the_short_forms_of_a_token() -> None:
    assert token.short_forms(given(TYPED)) == ("Ab3dE6gH9jK2mN5pQ8sT", "t1_Ab3dE6gH9jK2mN5pQ8sT")
    assert token.short_forms(given(CLASSIC)) == ("Ab3dE6gH9jK2mN5pQ8sT",)


# ---- expiry ---------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ends", "fault"),
    [
        (None, None),
        (NOW + timedelta(days=8), None),
        (NOW + timedelta(days=6), TokenFault.EXPIRING),
        (NOW, TokenFault.EXPIRED),
        (NOW - timedelta(days=1), TokenFault.EXPIRED),
    ],
)
def test_how_long_a_token_is_valid(ends: datetime | None, fault: TokenFault | None) -> None:
    evidence = Evidence(where="here", command="curl")
    found = token.expiry(token.presence(given(CLASSIC)), ends, days_left=7, evidence=evidence, now=NOW)
    assert found.fault is fault


# ---- the Secret -----------------------------------------------------------------------------------------------------


def secret(data: Mapping[str, str]) -> Reply:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return Reply({"kind": "Secret", "metadata": {"name": "runner"}, "data": encoded})


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Callable[[Reply], ConfiguredToken]]:
    """Reads the Secret ``runner`` of a server that gives one answer."""
    with contextlib.ExitStack() as stack:

        def reading(reply: Reply) -> ConfiguredToken:
            server = stack.enter_context(Scripted(lambda _: reply))
            api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes({}), deadline=2)
            stack.callback(api.close)
            found = token.from_secret(api, "gitlab", "runner")
            assert {one.path for one in server.asked} == {"/api/v1/namespaces/gitlab/secrets/runner"}
            return found

        yield reading


@pytest.mark.parametrize(
    ("data", "text", "registration", "fault"),
    [
        ({"runner-token": CLASSIC, "runner-registration-token": ""}, CLASSIC, False, None),
        ({"runner-token": f"{CLASSIC}\n", "runner-registration-token": ""}, f"{CLASSIC}\n", False, None),
        ({"runner-token": "", "runner-registration-token": "GR1348941abc"}, "GR1348941abc", True, None),
        ({"runner-token": ""}, "", False, TokenFault.MISSING),
        ({}, "", False, TokenFault.MISSING),
    ],
)
def test_a_token_in_a_secret(
    data: dict[str, str],
    text: str,
    registration: bool,
    fault: TokenFault | None,
    read: Callable[[Reply], ConfiguredToken],
) -> None:
    found = read(secret(data))
    assert (found.text, found.registration) == (text, registration)
    assert token.presence(found).fault is fault


def test_a_secret_that_is_not_there_is_a_token_that_is_missing(read: Callable[[Reply], ConfiguredToken]) -> None:
    refusal = Reply(status(404, "NotFound", 'secrets "runner" not found'), status=404)
    found = token.presence(read(refusal))
    assert found.fault is TokenFault.MISSING
    assert "there is none" in found.cause


def test_a_secret_that_may_not_be_read_is_unknown(read: Callable[[Reply], ConfiguredToken]) -> None:
    message = 'secrets "runner" is forbidden: User "ops" cannot get resource "secrets" in API group "" in the namespace'
    with pytest.raises(Unmeasured) as caught:
        read(Reply(status(403, "Forbidden", f'{message} "gitlab"'), status=403))
    assert "secrets" in caught.value.needs
    assert "get" in caught.value.needs


# ---- GitLab's answers -----------------------------------------------------------------------------------------------


def said(status: int, value: object, **headers: str) -> Said:
    return Said(status, {**JSON, **headers}, json.dumps(value).encode())


def nobody(answer: Said, *, path: str = "") -> tuple[TokenReply, Web]:
    with web_server(lambda _: answer) as web:
        routes = Routes({"gitlab.example:80": web.address}, only_mapped=True)
        return token.runner_api(URL + path, routes=routes, ca_file=None, deadline=2), web


def accepted(answer: Said) -> tuple[TokenReply, Web]:
    with web_server(lambda _: answer) as web:
        routes = Routes({"gitlab.example:80": web.address}, only_mapped=True)
        found = token.acceptance(URL, given(CLASSIC), "r_8KdWq2XzPm4V", routes=routes, ca_file=None, deadline=2)
        return found, web


def test_the_runner_api_refuses_nobody_s_token() -> None:
    found, web = nobody(said(403, {"message": "403 Forbidden"}), path="gitlab/")
    assert (found.fault, found.status) == (None, 403)
    assert [(one.method, one.path) for one in web.asked] == [("POST", "/gitlab/api/v4/runners/verify")]
    assert found.evidence.command.startswith("curl -sS -i --max-time 2 --data-urlencode")


@pytest.mark.parametrize(
    ("answer", "fault", "says"),
    [
        (said(429, {"message": "Too many"}, **{"Retry-After": "60"}), TokenFault.RATE_LIMITED, "retry after 60 s"),
        (Said(403, {"Server": "WAF"}, b"<h1>Request blocked</h1>"), GitLabFault.HTTP_STATUS, "in between"),
        (said(404, {"error": "404 Not Found"}), GitLabFault.HTTP_STATUS, "404"),
        (Said(502, {}, b"<h1>502</h1>"), GitLabFault.BAD_GATEWAY, "502"),
        (said(503, {}), GitLabFault.UNAVAILABLE, "503"),
        (Said(301, {"Location": "https://gitlab.example/"}), GitLabFault.REDIRECTED, "another scheme"),
        (said(200, {"id": 1}), GitLabFault.HTTP_STATUS, "200"),
    ],
)
def test_other_answers_to_nobody_s_token(answer: Said, fault: Fault, says: str) -> None:
    found, _ = nobody(answer)
    assert found.fault is fault
    assert says in found.cause


def test_a_runner_api_that_does_not_answer() -> None:
    routes = Routes({"gitlab.example:80": f"127.0.0.1:{servers.closed_port()}"}, only_mapped=True)
    assert token.runner_api(URL, routes=routes, ca_file=None, deadline=1).fault is PathFault.REFUSED


def test_a_valid_token_is_accepted_and_shown_nowhere() -> None:
    found, web = accepted(said(200, {"id": 7, "token": CLASSIC, "token_expires_at": None}))
    assert (found.fault, found.runner) == (None, 7)
    assert [one.path for one in web.asked] == ["/api/v4/runners/verify"]
    assert CLASSIC not in found.evidence.observed + found.evidence.command + found.cause
    assert "$RUNNER_TOKEN" in found.evidence.command


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (said(403, {"message": "403 Forbidden"}), TokenFault.REVOKED),
        (said(422, {"message": "422 Unprocessable Entity - Runner is orphaned"}), TokenFault.REVOKED),
        (said(429, {}), TokenFault.RATE_LIMITED),
        (said(500, {}), GitLabFault.HTTP_STATUS),
    ],
)
def test_a_token_that_is_not_accepted(answer: Said, fault: Fault) -> None:
    assert accepted(answer)[0].fault is fault


def test_what_is_sent_is_a_token_of_nobody_s_and_a_system_id() -> None:
    sent = [json.loads(nobody(said(403, {"message": "403 Forbidden"}))[1].asked[0].body) for _ in range(2)]
    assert all(set(one) == {"token", "system_id"} for one in sent)
    assert sent[0]["token"] != sent[1]["token"], "made up anew each time"
    assert all(token.form(given(one["token"])).fault is None for one in sent)
