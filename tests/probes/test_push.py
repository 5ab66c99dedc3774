"""Whether pushing is allowed is asked without pushing, and only what is ours is removed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from preflight.clients.connect import Routes
from preflight.faults import PathFault, RegistryFault
from preflight.probes.push import PushPermission, push_permission, remove_image
from preflight.probes.registry import Credentials
from tests.probes import servers
from tests.probes.servers import Asked, Said, Web, web_server

HOST = "registry.example.com"
REPOSITORY = f"{HOST}/my-namespace/my-app"
UPLOADS = "/v2/my-namespace/my-app/blobs/uploads/"
ROBOT = Credentials("robot", "made-up-push-password")
DIGEST = "sha256:" + "5f" * 32


def error(status: int, code: str, headers: dict[str, str] | None = None) -> Said:
    body = json.dumps({"errors": [{"code": code, "message": "made up"}]}).encode()
    return Said(status, {"Content-Type": "application/json", **(headers or {})}, body)


def ask(web: Web, credentials: Credentials | None = ROBOT) -> PushPermission:
    routes = Routes({f"{HOST}:80": web.address, "auth.example.com:80": web.address}, only_mapped=True)
    return push_permission(REPOSITORY, scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=2)


def basic(then: Callable[[Asked], Said]) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if "authorization" not in asked.headers:
            return error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="Registry"'})
        return then(asked)

    return answer


def uploading(asked: Asked) -> Said:
    if asked.method == "POST":
        return Said(202, {"Location": f"{UPLOADS}1234?_state=made-up", "Range": "0-0"})
    return Said(204)


def test_an_upload_is_started_and_cancelled_and_nothing_is_sent() -> None:
    with web_server(basic(uploading)) as web:
        found = ask(web)
    assert (found.fault, found.account, found.cancelled) == (None, "robot", True)
    assert [(one.method, one.path) for one in web.asked] == [
        ("POST", UPLOADS),
        ("POST", UPLOADS),
        ("DELETE", f"{UPLOADS}1234?_state=made-up"),
    ]
    assert {one.headers.get("content-length", "0") for one in web.asked} == {"0"}
    assert "made-up-push-password" not in found.evidence.command + found.evidence.observed


def test_a_token_is_asked_for_the_right_to_push() -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/token"):
            return Said(200, {"Content-Type": "application/json"}, b'{"token": "made-up-bearer-token"}')
        if asked.headers.get("authorization") != "Bearer made-up-bearer-token":
            challenge = 'Bearer realm="http://auth.example.com/token",service="r",scope="repository:x:"'
            return error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return uploading(asked)

    with web_server(answer) as web:
        assert ask(web).fault is None
    asked = next(one for one in web.asked if one.path.startswith("/token"))
    assert "scope=repository%3Amy-namespace%2Fmy-app%3Apull%2Cpush" in asked.path


def test_cancelling_asks_a_token_server_for_the_right_to_delete() -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/token"):
            actions = "delete" if "delete" in asked.path else "push"
            return Said(200, {"Content-Type": "application/json"}, json.dumps({"token": f"made-up-{actions}"}).encode())
        needed = "made-up-delete" if asked.method == "DELETE" else "made-up-push"
        if asked.headers.get("authorization") != f"Bearer {needed}":
            challenge = 'Bearer realm="http://auth.example.com/token",service="r"'
            return error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return uploading(asked)

    with web_server(answer) as web:
        found = ask(web)
    assert (found.fault, found.cancelled) == (None, True)


def test_an_upload_that_cannot_be_cancelled_is_no_fault() -> None:
    with web_server(
        basic(lambda asked: uploading(asked) if asked.method == "POST" else error(405, "UNSUPPORTED"))
    ) as web:
        found = ask(web)
    assert (found.fault, found.cancelled) == (None, False)


def test_the_way_of_an_upload_to_another_host_takes_no_password_along() -> None:
    with web_server(lambda _: Said(204)) as other:

        def elsewhere(asked: Asked) -> Said:
            return Said(202, {"Location": f"{other.url}upload/1"}) if asked.method == "POST" else Said(204)

        with web_server(basic(elsewhere)) as web:
            routes = Routes({f"{HOST}:80": web.address, other.address: other.address}, only_mapped=True)
            found = push_permission(
                REPOSITORY, scheme="http", credentials=ROBOT, ca_file=None, routes=routes, deadline=2
            )
    assert found.fault is None
    assert ["authorization" in one.headers for one in other.asked] == [False]


@pytest.mark.parametrize(
    ("said", "fault", "words"),
    [
        (error(403, "DENIED"), RegistryFault.DENIED, f"robot may not push to {REPOSITORY}: DENIED made up"),
        (error(401, "UNAUTHORIZED"), RegistryFault.DENIED, "robot may not push"),
        (error(404, "NAME_UNKNOWN"), RegistryFault.NOT_FOUND, f"there is no {REPOSITORY}"),
        (error(405, "UNSUPPORTED"), RegistryFault.DENIED, "takes no uploads at all"),
        (error(500, "UNKNOWN"), RegistryFault.HTTP_STATUS, "answered with 500"),
    ],
)
def test_a_refusal_is_named(said: Said, fault: RegistryFault, words: str) -> None:
    with web_server(basic(lambda _: said)) as web:
        found = ask(web)
    assert found.fault is fault
    assert words in found.cause


def test_nobody_in_particular_may_not_push() -> None:
    with web_server(basic(uploading)) as web:
        found = ask(web, None)
    assert found.fault is RegistryFault.UNAUTHORIZED
    assert "without an account" in found.cause


def test_a_closed_port_is_a_fault_of_the_path() -> None:
    routes = Routes({f"{HOST}:80": f"127.0.0.1:{servers.closed_port()}"})
    found = push_permission(REPOSITORY, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=1)
    assert found.fault is PathFault.REFUSED


def remove(web: Web) -> str:
    routes = Routes({f"{HOST}:80": web.address}, only_mapped=True)
    return remove_image(
        f"{REPOSITORY}:preflight-7", scheme="http", credentials=ROBOT, ca_file=None, routes=routes, deadline=2
    )


@pytest.mark.parametrize(
    ("deletion", "left"),
    [
        (Said(202), ""),
        (error(404, "MANIFEST_UNKNOWN"), ""),
        (error(405, "UNSUPPORTED"), "registry.example.com has deletion switched off (405)"),
        (error(403, "DENIED"), "its deletion was answered with 403: DENIED made up"),
    ],
)
def test_an_image_is_removed_by_its_digest(deletion: Said, left: str) -> None:
    manifest = Said(200, {"Docker-Content-Digest": DIGEST}, b"{}")
    with web_server(basic(lambda asked: manifest if asked.method == "GET" else deletion)) as web:
        assert remove(web) == left
    assert web.asked[-1].path == f"/v2/my-namespace/my-app/manifests/{DIGEST}"


def test_an_image_that_was_never_pushed_needs_no_removal() -> None:
    with web_server(basic(lambda _: error(404, "MANIFEST_UNKNOWN"))) as web:
        assert remove(web) == ""
    assert {one.method for one in web.asked} == {"GET"}
