"""What answers at GitLab's address: GitLab, a broken one, or something else."""

from __future__ import annotations

import email.utils
import json
import math
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme

from preflight.clients.connect import Routes
from preflight.clients.gitlab_reply import judge_reply
from preflight.evidence import NotApplicable, Unmeasured
from preflight.faults import GitLabFault, PathFault
from preflight.probes.gitlab import GitLabReply, GitLabVersion, api_url, request_sign_in_page, uploads, version
from tests.probes import servers
from tests.probes.servers import Asked, Said, Web, web_server

TOKEN = "glpat-made-up-for-a-test"
META = {"X-Gitlab-Meta": '{"correlation_id":"01JZ","version":"1"}', "X-Request-Id": "01JZ"}
SIGN_IN = b"""<!DOCTYPE html><html class="html-devise-layout"><head><meta content="GitLab" property="og:site_name">
<title>Sign in \xc2\xb7 GitLab</title><script>window.gon={};gon.api_version="v4";</script></head><body></body></html>"""
NGINX = b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n</body>\r\n</html>\r\n"
WELCOME = b"<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body>"
UNAUTHORIZED = Said(401, {**META, "Content-Type": "application/json"}, b'{"message":"401 Unauthorized"}')


def gitlab(asked: Asked, *, root: str = "") -> Said:
    """What GitLab says to those who have no session (docs/sources.md#gitlab-answers)."""
    path = asked.path.removeprefix(root)
    if path in {"", "/"}:
        return Said(302, {**META, "Location": f"http://{asked.headers['host']}{root}/users/sign_in"})
    if path == "/api/v4/version":
        if TOKEN not in asked.headers.get("authorization", ""):
            return UNAUTHORIZED
        body = {"version": "18.3.2-jh", "revision": "abcdef01234", "enterprise": True}
        return Said(200, {**META, "Content-Type": "application/json"}, json.dumps(body).encode())
    return Said(404, META, b"")


def seen(
    answer: Callable[[Asked], Said], *, url: str = "http://gitlab.example/", port: int = 80, deadline: float = 2.0
) -> tuple[GitLabReply, Web]:
    with web_server(answer) as web:
        routes = Routes({f"gitlab.example:{port}": web.address}, only_mapped=True)
        return request_sign_in_page(url, routes=routes, ca_file=None, deadline=deadline), web


def asked_version(answer: Callable[[Asked], Said], token: str = TOKEN) -> tuple[GitLabVersion, Web]:
    with web_server(answer) as web:
        routes = Routes({"gitlab.example:80": web.address}, only_mapped=True)
        return version("http://gitlab.example/", token, routes=routes, ca_file=None, deadline=2), web


def test_gitlab_is_recognised() -> None:
    reply, web = seen(gitlab)
    assert reply.fault is None
    assert reply.cause == ""
    assert reply.is_gitlab
    assert (reply.status, reply.location) == (302, "http://gitlab.example/users/sign_in")
    assert [one.path for one in web.asked] == ["/", "/api/v4/version"]
    assert all("authorization" not in one.headers for one in web.asked)
    assert reply.where == "here"
    assert reply.evidence.command == (
        "curl -sS -i --max-time 2 http://gitlab.example/; curl -sS -i --max-time 2 http://gitlab.example/api/v4/version"
    )
    assert "HTTP 302" in reply.evidence.observed
    assert '{"message":"401 Unauthorized"}' in reply.evidence.observed


@pytest.mark.parametrize("slash", ["", "/"])
def test_gitlab_below_a_path_is_recognised(slash: str) -> None:
    reply, web = seen(lambda asked: gitlab(asked, root="/gitlab"), url=f"http://gitlab.example/gitlab{slash}")
    assert reply.fault is None
    assert reply.is_gitlab
    assert web.asked[1].path == "/gitlab/api/v4/version"


def test_gitlab_at_another_port_is_recognised() -> None:
    reply, _ = seen(gitlab, url="http://gitlab.example:8080/", port=8080)
    assert reply.fault is None


def test_gitlab_over_tls_is_recognised(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def answer(asked: Asked) -> Said:
        said = gitlab(asked)
        return Said(302, {**META, "Location": "/users/sign_in"}) if said.status == 302 else said

    with web_server(answer, certificate=authority.issue_cert("192.0.2.50")) as web:
        routes = Routes({"192.0.2.50:443": web.address})
        trusted = request_sign_in_page("https://192.0.2.50/", routes=routes, ca_file=tmp_path / "ca.pem", deadline=2)
        distrusted = request_sign_in_page("https://192.0.2.50/", routes=routes, ca_file=None, deadline=2)
    assert trusted.fault is None
    assert distrusted.fault is PathFault.TLS_UNTRUSTED
    assert "192.0.2.50:443" in distrusted.cause


def _nginx(status: int, words: bytes) -> Callable[[Asked], Said]:
    body = NGINX % (words, words)
    return lambda _: Said(status, {"Content-Type": "text/html"}, body)


def _moved(location: str) -> Callable[[Asked], Said]:
    return lambda asked: Said(301, {"Location": location + asked.path})


INJECTIONS: dict[GitLabFault, Callable[[Asked], Said]] = {
    GitLabFault.BAD_GATEWAY: _nginx(502, b"502 Bad Gateway"),
    GitLabFault.UNAVAILABLE: _nginx(503, b"503 Service Temporarily Unavailable"),
    GitLabFault.HTTP_STATUS: _nginx(500, b"500 Internal Server Error"),
    GitLabFault.NOT_GITLAB: lambda asked: Said(200, {}, WELCOME) if asked.path == "/" else Said(404, {}, WELCOME),
    GitLabFault.REDIRECTED: _moved("https://gitlab.example"),
}


@pytest.mark.parametrize("fault", INJECTIONS, ids=str)
def test_a_look_names_the_fault_it_met(fault: GitLabFault) -> None:
    reply, _ = seen(INJECTIONS[fault])
    assert reply.fault is fault
    assert not reply.is_gitlab
    assert "gitlab.example" in reply.cause


def test_a_refused_connection_names_the_address_of_the_inventory() -> None:
    routes = Routes({"192.0.2.50:80": f"127.0.0.1:{servers.closed_port()}"})
    reply = request_sign_in_page("http://192.0.2.50/", routes=routes, ca_file=None, deadline=1)
    assert reply.fault is PathFault.REFUSED
    assert reply.cause == "192.0.2.50:80 refused the connection: nothing listens on that port, or a firewall rejects it"
    assert "127.0.0.1" not in repr(reply) + reply.evidence.command + reply.evidence.observed


def test_a_silent_server_is_given_up_in_time() -> None:
    with servers.tcp_server(servers.hang) as port:
        began = time.monotonic()
        reply = request_sign_in_page(f"http://127.0.0.1:{port}/", routes=Routes(), ca_file=None, deadline=0.4)
    assert reply.fault is PathFault.SILENT
    assert time.monotonic() - began < 1
    assert reply.took >= 0.4


def test_a_timeout_is_not_a_refusal() -> None:
    with servers.full_backlog() as port:
        reply = request_sign_in_page(f"http://127.0.0.1:{port}/", routes=Routes(), ca_file=None, deadline=0.4)
    assert reply.fault is PathFault.TIMEOUT
    assert "within 0.4 s" in reply.cause


def test_a_redirect_to_another_host_names_both() -> None:
    reply, _ = seen(_moved("http://code.example"))
    assert reply.fault is GitLabFault.REDIRECTED
    assert reply.cause == "http://gitlab.example/ redirects to http://code.example/: another host"


def test_a_redirect_to_tls_names_the_scheme() -> None:
    reply, _ = seen(_moved("https://gitlab.example"))
    assert reply.cause == "http://gitlab.example/ redirects to https://gitlab.example/: another scheme"


def test_a_front_page_of_its_own_is_no_fault_where_the_api_answers() -> None:
    def answer(asked: Asked) -> Said:
        return Said(302, {"Location": "https://intranet.example/"}) if asked.path == "/" else gitlab(asked)

    reply, _ = seen(answer)
    assert reply.fault is None
    assert reply.is_gitlab
    assert reply.location == "https://intranet.example/"


def test_an_api_that_is_down_behind_a_front_page_that_is_up_is_a_fault() -> None:
    def answer(asked: Asked) -> Said:
        return Said(200, {}, SIGN_IN) if asked.path == "/" else INJECTIONS[GitLabFault.BAD_GATEWAY](asked)

    reply, _ = seen(answer)
    assert reply.fault is GitLabFault.BAD_GATEWAY
    assert "/api/v4/version answered 502" in reply.cause


def test_a_clock_ahead_is_measured() -> None:
    def behave(stamp: float) -> bytes:
        date = email.utils.formatdate(stamp, usegmt=True)
        return f"HTTP/1.1 302 Found\r\nDate: {date}\r\nLocation: /users/sign_in\r\nContent-Length: 0\r\n\r\n".encode()

    for ahead in (0, 90, -3600):
        with servers.tcp_server(servers.say(behave(time.time() + ahead))) as port:
            reply = request_sign_in_page(f"http://127.0.0.1:{port}/", routes=Routes(), ca_file=None, deadline=2)
        assert reply.clock_offset == pytest.approx(ahead, abs=1.2)


def test_an_address_that_connect_refuses_is_not_measured() -> None:
    with pytest.raises(Unmeasured) as refused:
        request_sign_in_page("http://192.0.2.50/", routes=Routes(only_mapped=True), ca_file=None, deadline=1)
    assert refused.value.fault is PathFault.NOT_MAPPED
    with pytest.raises(Unmeasured):
        version("http://192.0.2.50/", TOKEN, routes=Routes(only_mapped=True), ca_file=None, deadline=1)


# -- the version


def test_the_version_is_told_to_those_with_a_token() -> None:
    told, web = asked_version(gitlab)
    assert told.fault is None
    assert (told.version, told.revision) == ("18.3.2-jh", "abcdef01234")
    assert web.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(told) + told.evidence.command + told.evidence.observed
    assert "$GITLAB_API_TOKEN" in told.evidence.command


def test_a_refused_token_is_named_and_not_shown() -> None:
    for said in (
        Said(401, META, b'{"message":"401 Unauthorized"}'),
        Said(403, META, b'{"error":"insufficient_scope","error_description":"The request needs read_api."}'),
        Said(401, META, b'{"error":"invalid_token","error_description":"Token was revoked."}'),
    ):
        told, _ = asked_version(lambda _, said=said: said, token="glpat-refused-made-up-token")  # type: ignore[misc]
        assert told.fault is GitLabFault.TOKEN_REFUSED
        assert f"answered {said.status}" in told.cause
        assert "refused-made-up" not in told.cause + told.evidence.observed + told.evidence.command
        assert told.version == ""


def test_a_token_is_not_sent_where_a_redirect_leads() -> None:
    with web_server(gitlab) as other:
        told, web = asked_version(lambda asked: Said(302, {"Location": f"{other.url}{asked.path[1:]}"}))
    assert told.fault is GitLabFault.REDIRECTED
    assert len(web.asked) == 1
    assert other.asked == []


@pytest.mark.parametrize("fault", [GitLabFault.BAD_GATEWAY, GitLabFault.UNAVAILABLE, GitLabFault.HTTP_STATUS], ids=str)
def test_a_broken_gitlab_tells_no_version(fault: GitLabFault) -> None:
    told, _ = asked_version(INJECTIONS[fault])
    assert told.fault is fault


def test_an_answer_without_a_version_is_not_gitlabs() -> None:
    told, _ = asked_version(lambda _: Said(200, {}, b"[1]"))
    assert told.fault is GitLabFault.NOT_GITLAB
    told, _ = asked_version(lambda _: Said(200, {}, b"<html>" * 100))
    assert told.fault is GitLabFault.NOT_GITLAB


def test_a_path_fault_tells_no_version() -> None:
    routes = Routes({"gitlab.example:80": f"127.0.0.1:{servers.closed_port()}"})
    told = version("http://gitlab.example/", TOKEN, routes=routes, ca_file=None, deadline=1)
    assert told.fault is PathFault.REFUSED


# -- one reply, judged


@pytest.mark.parametrize(
    ("status", "headers", "body", "url", "fault"),
    [
        (302, {"location": "http://h/users/sign_in"}, b"", "http://h/", None),
        (302, {"Location": "/users/sign_in"}, b"", "http://h/", None),
        (302, {"Location": "/gitlab/users/sign_in"}, b"", "http://h/gitlab/", None),
        (302, {"Location": "http://h:80/users/sign_in"}, b"", "http://h/", None),
        (302, {"Location": "http://[::1]/users/sign_in"}, b"", "http://[::1]/", None),
        (200, {}, SIGN_IN, "http://h/", None),
        (200, {}, SIGN_IN.decode(), "http://h/", None),
        (401, {}, b'{"message":"401 Unauthorized"}', "http://h/api/v4/version", None),
        (401, META, b"", "http://h/api/v4/version", None),
        (200, {}, b'{"version":"18.3.2-jh","revision":"a"}', "http://h/api/v4/version", None),
        (301, {"Location": "https://h/"}, b"", "http://h/", GitLabFault.REDIRECTED),
        (302, {"Location": "http://other/users/sign_in"}, b"", "http://h/", GitLabFault.REDIRECTED),
        (302, {"Location": "http://h:8080/users/sign_in"}, b"", "http://h/", GitLabFault.REDIRECTED),
        (302, {"Location": "/user/login"}, b"", "http://h/", GitLabFault.NOT_GITLAB),
        (200, {"Server": "nginx"}, WELCOME, "http://h/", GitLabFault.NOT_GITLAB),
        (404, {}, b"404 page not found", "http://h/api/v4/version", GitLabFault.NOT_GITLAB),
        (401, {}, b'{"message":"No API key found in request"}', "http://h/api/v4/version", GitLabFault.NOT_GITLAB),
        (401, {}, b"[" * 100_000, "http://h/api/v4/version", GitLabFault.NOT_GITLAB),
        (404, META, b"", "http://h/api/v4/version", GitLabFault.HTTP_STATUS),
        (429, {"Retry-After": "60"}, b"Retry later\n", "http://h/", GitLabFault.HTTP_STATUS),
        (403, {}, b"Forbidden\n", "http://h/", GitLabFault.HTTP_STATUS),
        (504, {}, b"", "http://h/", GitLabFault.HTTP_STATUS),
        (502, META, b"GitLab is not responding", "http://h/", GitLabFault.BAD_GATEWAY),
        (503, {"retry-after": "30"}, b"Deploy in progress", "http://h/", GitLabFault.UNAVAILABLE),
    ],
)
def test_a_reply_is_judged_by_what_it_shows(
    status: int, headers: Mapping[str, str], body: bytes | str, url: str, fault: GitLabFault | None
) -> None:
    met, cause = judge_reply(status, headers, body, url)
    assert met is fault
    assert bool(cause) is (fault is not None)
    assert "http://" in cause or fault is None


def test_a_reply_names_who_answered_instead() -> None:
    _, cause = judge_reply(200, {"Server": "nginx/1.24.0"}, WELCOME, "http://192.168.1.50/")
    assert cause == (
        "http://192.168.1.50/ answered 200 by nginx/1.24.0, and nothing in it is GitLab's; "
        'its title is "Welcome to nginx!"'
    )


def test_how_long_to_wait_is_passed_on() -> None:
    assert "60" in judge_reply(429, {"retry-after": "60"}, b"", "http://h/")[1]
    assert "30 s" in judge_reply(503, {"retry-after": "30"}, b"", "http://h/")[1]


def test_the_api_is_below_the_url() -> None:
    assert api_url("http://h") == api_url("http://h/") == "http://h/api/v4/version"
    assert api_url("http://h/gitlab/") == "http://h/gitlab/api/v4/version"


def nginx(limit: float, length: list[int]) -> Callable[[socket.socket], None]:
    """What nginx answers to an announced body: it is told its length, and asked for it or refused."""

    def behave(one: socket.socket) -> None:
        head = one.recv(65_536)
        assert head.startswith(b"POST /api/v4/jobs/1/artifacts HTTP/1.1\r\n")
        assert b"\r\nExpect: 100-continue\r\n" in head
        length.append(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
        refusal = b"HTTP/1.1 413 Request Entity Too Large\r\nServer: nginx/1.25.1\r\nContent-Length: 0\r\n\r\n"
        one.sendall(refusal if length[-1] > limit else b"HTTP/1.1 100 Continue\r\n\r\n")
        assert one.recv(1) == b"", "no body is sent"

    return behave


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("limit", "tried", "taken"), [(math.inf, [10], 10), (10 * MB, [10], 10), (MB, [10, 1], 1), (9, [10, 1, 0.1], 0)]
)
def test_how_large_an_upload_is_taken_is_asked_without_one(limit: float, tried: list[float], taken: float) -> None:
    length: list[int] = []
    with servers.tcp_server(nginx(limit, length)) as port:
        routes = Routes({"gitlab.example:80": f"127.0.0.1:{port}"}, only_mapped=True)
        answer = uploads("http://gitlab.example/", 10, routes=routes, ca_file=None, deadline=3)
    assert length == [int(size * MB) for size in tried]
    assert answer.taken == taken
    assert (answer.fault is GitLabFault.UPLOAD_TOO_LARGE) == (len(tried) > 1)
    assert ("nginx/1.25.1" in answer.evidence.observed) == (len(tried) > 1)


def test_the_size_of_uploads_is_asked_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with web_server(gitlab, certificate=authority.issue_cert("gitlab.example")) as web:
        routes = Routes({"gitlab.example:443": web.address}, only_mapped=True)
        answer = uploads("https://gitlab.example/", 10, routes=routes, ca_file=tmp_path / "ca.pem", deadline=3)
    assert answer.fault is None, "http.server asks for the body"


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        pytest.param(servers.hang, "no complete answer", id="waits for the body"),
        pytest.param(servers.reset, "cut the connection", id="reset"),
        pytest.param(servers.drip(b"HTTP/1.1 413 Too", every=0.02), "no complete answer", id="drips"),
        pytest.param(servers.say(b"220 mail.example ESMTP\r\n\r\n"), "cut the connection", id="another protocol"),
        pytest.param(servers.say(b"HTTP/1.1 413"), "cut the connection", id="cut"),
    ],
)
def test_whoever_does_not_judge_an_upload_by_its_length_is_no_matter_of_it(
    behave: Callable[[socket.socket], None], reason: str
) -> None:
    with servers.tcp_server(behave) as port:
        routes = Routes({"gitlab.example:80": f"127.0.0.1:{port}"}, only_mapped=True)
        with pytest.raises(NotApplicable, match=reason):
            uploads("http://gitlab.example/", 10, routes=routes, ca_file=None, deadline=0.4)
