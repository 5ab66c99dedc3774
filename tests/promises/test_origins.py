"""A secret goes to its own origin alone: servers on loopback try to get what is not theirs (docs/secrets.md)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.connect import Routes
from preflight.clients.gitlab_api import GitLabApi, GitLabError
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.faults import RegistryFault
from preflight.probes import gitlab, push, registry, token
from preflight.probes.chart_source import Source, fetch
from preflight.probes.registry import Credentials
from preflight.probes.token import ConfiguredToken
from preflight.shell_command import program
from tests.probes.apiserver import Reply, Scripted, kubeconfig
from tests.probes.servers import Asked, Said, Web, web_server
from tests.processes import PROJECT

SECRET = "made-up-secret-of-origin-a"
TOKEN = "made-up-token-of-origin-a"
ACCOUNT = Credentials("robot", SECRET)
V2 = {"Docker-Distribution-Api-Version": "registry/2.0"}
DEADLINE = 5.0
GREEDY: dict[str, Callable[[Asked], Said]] = {
    "basic": lambda _: Said(401, {**V2, "Www-Authenticate": 'Basic realm="B"'}),
    "bearer": lambda asked: Said(
        401, {**V2, "Www-Authenticate": f'Bearer realm="http://{asked.headers["host"]}/token"'}
    ),
    "anything": lambda _: Said(200, V2, b'{"token": "t", "access_token": "t"}'),
    "forbidden": lambda _: Said(403, V2, b"{}"),
    "proxy": lambda _: Said(407, {"Proxy-Authenticate": "Basic"}),
}


def leaked(web: Web) -> list[str]:
    """Requests of a server that carry a secret, plain or in base64."""
    forms = {SECRET, TOKEN, ACCOUNT.basic, base64.b64encode(SECRET.encode()).decode()}
    return [
        f"{asked.method} {asked.path}"
        for asked in web.asked
        if any(form in f"{asked.path} {asked.headers} {asked.body!r}" for form in forms)
    ]


def elsewhere(web: Web, status: int = 307) -> Callable[[Asked], Said]:
    """A server that redirects everything to another one."""
    return lambda asked: Said(status, {"Location": f"http://other.example.com:{web.port}{asked.path}"})


def routes(**webs: Web) -> Routes:
    """``a`` is the origin that a secret belongs to, all others are other.example.com with their own ports."""
    mapped = {f"a.example.com:{webs['a'].port}": webs["a"].address}
    mapped |= {f"other.example.com:{web.port}": web.address for name, web in webs.items() if name != "a"}
    return Routes(mapped, only_mapped=True)


def host(web: Web) -> str:
    return f"a.example.com:{web.port}"


# ---- one function a row of the table --------------------------------------------------------------------------------


def gitlab_api(a: Web, b: Web, _: Path) -> None:
    url = f"http://{host(a)}/"
    gitlab.version(url, SECRET, routes=routes(a=a, b=b), ca_file=None, deadline=DEADLINE)
    api = GitLabApi(url=url, token=SECRET, routes=routes(a=a, b=b), ca_file=None, deadline=DEADLINE)
    for method in ("GET", "POST", "DELETE"):
        with pytest.raises(GitLabError):
            api.ask("/projects", method=method)


def runner_token(a: Web, b: Web, _: Path) -> None:
    configured = ConfiguredToken(source="values", command=program("grep"), text=SECRET)
    token.acceptance(f"http://{host(a)}/", configured, "r_1", routes=routes(a=a, b=b), ca_file=None, deadline=DEADLINE)


def pull(a: Web, b: Web, *, realm: str = "") -> registry.Manifest:
    return registry.manifest(
        f"{host(a)}/library/alpine:latest",
        platforms=("linux/amd64",),
        scheme="http",
        credentials=ACCOUNT,
        ca_file=None,
        routes=routes(a=a, b=b),
        deadline=DEADLINE,
        token_realm=realm,
    )


def registry_redirect(a: Web, b: Web, _: Path) -> None:
    assert pull(a, b).fault is not None
    registry.ping(host(a), scheme="http", credentials=ACCOUNT, ca_file=None, routes=routes(a=a, b=b), deadline=DEADLINE)


def registry_upload(a: Web, b: Web, _: Path) -> None:
    repository = f"{host(a)}/team/app"
    place = routes(a=a, b=b)
    push.push_permission(repository, scheme="http", credentials=ACCOUNT, ca_file=None, routes=place, deadline=DEADLINE)
    push.remove_image(
        f"{repository}:1", scheme="http", credentials=ACCOUNT, ca_file=None, routes=place, deadline=DEADLINE
    )


def chart_repository(a: Web, b: Web, _: Path) -> None:
    source = Source(kind="repository", place=f"http://{host(a)}/charts", version="0.80.0")
    fetch(source, credentials=ACCOUNT, ca_file=None, routes=routes(a=a, b=b), deadline=DEADLINE)


def chart_registry(a: Web, b: Web, _: Path) -> None:
    source = Source(kind="oci", place=f"oci://{host(a)}/charts/gitlab-runner", version="0.80.0")
    fetch(source, credentials=ACCOUNT, ca_file=None, routes=routes(a=a, b=b), deadline=DEADLINE, scheme="http")


REDIRECTED = {
    "gitlab-api": gitlab_api,
    "runner-token": runner_token,
    "registry-redirect": registry_redirect,
    "registry-upload": registry_upload,
    "chart-repository": chart_repository,
    "chart-registry": chart_registry,
}


@pytest.mark.parametrize("greedy", GREEDY)
@pytest.mark.parametrize("row", REDIRECTED)
def test_a_redirect_takes_no_secret_along(row: str, greedy: str, tmp_path: Path) -> None:
    for status in (302, 307, 308):
        with web_server(GREEDY[greedy]) as b, web_server(elsewhere(b, status)) as a:
            REDIRECTED[row](a, b, tmp_path)
            assert leaked(b) == []
            assert a.asked


def named(web: Web) -> str:
    """The token server at a web server."""
    return f"http://other.example.com:{web.port}/token"


def challenged(realm: str) -> Callable[[Asked], Said]:
    """A registry that names a token server."""
    return lambda _: Said(401, {**V2, "Www-Authenticate": f'Bearer realm="{realm}",service="a"'})


def test_only_the_token_server_of_the_inventory_gets_the_password() -> None:
    with web_server(GREEDY["anything"]) as b, web_server(challenged(named(b))) as a:
        refused = pull(a, b, realm="http://auth.example.com/token")
        assert refused.fault is RegistryFault.TOKEN_REALM
        assert "auth.example.com" in refused.cause
        assert leaked(b) == []
        assert pull(a, b, realm=named(b)).fault is not RegistryFault.TOKEN_REALM
        assert leaked(b), "the one that the inventory names gets it"


def test_a_token_server_of_another_origin_is_reported() -> None:
    with web_server(GREEDY["anything"]) as b:
        realm = named(b)
        with web_server(challenged(realm)) as a:
            assert f"come from another origin: {realm}" in pull(a, b, realm=realm).evidence.observed


def test_a_registrys_token_does_not_follow_a_redirect() -> None:
    with web_server(GREEDY["basic"]) as b:

        def answer(asked: Asked) -> Said:
            if asked.path.startswith("/token"):
                return Said(200, {}, f'{{"token": "{TOKEN}"}}'.encode())
            if "authorization" not in asked.headers:
                return challenged("/token")(asked)
            return elsewhere(b)(asked)

        with web_server(answer) as a:
            assert pull(a, b).fault is RegistryFault.BLOB_HOST
            assert any(TOKEN in asked.headers.get("authorization", "") for asked in a.asked)
            assert b.asked
            assert leaked(b) == []


def test_packages_elsewhere_are_asked_without_the_account() -> None:
    with web_server(GREEDY["basic"]) as b:
        link = f"http://other.example.com:{b.port}/gitlab-runner-0.80.0.tgz"
        index = f"entries: {{gitlab-runner: [{{version: 0.80.0, urls: ['{link}']}}]}}".encode()
        with web_server(lambda _: Said(200, {}, index)) as a:
            chart_repository(a, b, Path())
            assert leaked(a), "the repository itself gets it"
            assert b.asked
            assert leaked(b) == []


def test_an_upload_elsewhere_is_cancelled_without_the_account() -> None:
    with web_server(GREEDY["basic"]) as b:

        def answer(asked: Asked) -> Said:
            if "authorization" not in asked.headers:
                return GREEDY["basic"](asked)
            return Said(202, {"Location": f"http://other.example.com:{b.port}/upload/1"})

        with web_server(answer) as a:
            registry_upload(a, b, Path())
            assert b.asked
            assert leaked(b) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_kubernetes_client_follows_no_redirect(status: int, tmp_path: Path) -> None:
    calls: list[Callable[[Api], Any]] = [
        lambda api: api.get("/version"),
        lambda api: api.create("/api/v1/namespaces/x/pods", {}),
        lambda api: list(api.watch("/api/v1/pods", timeout=1)),
        lambda api: api.websocket(
            "/api/v1/namespaces/x/pods/p/exec", protocols=["v4.channel.k8s.io"], deadline=DEADLINE
        ),
    ]
    with Scripted(lambda _: Reply({"ok": 1})) as other:
        location = {"Location": f"{other.url}/version"}
        with Scripted(lambda _: Reply("moved", status, location)) as server:
            api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=DEADLINE)
            for call in calls:
                with pytest.raises(ApiError):
                    call(api)
            api.close()
            assert server.asked
        assert other.asked == []


def test_no_proxy_or_netrc_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine a.example.com login robot password {SECRET}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with web_server(GREEDY["anything"]) as proxy, web_server(GREEDY["anything"]) as a:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        registry.ping(
            host(a), scheme="http", credentials=None, ca_file=None, routes=routes(a=a, b=proxy), deadline=DEADLINE
        )
        gitlab.version(f"http://{host(a)}/", TOKEN, routes=routes(a=a, b=proxy), ca_file=None, deadline=DEADLINE)
        with Scripted(lambda _: Reply({"ok": 1})) as server:
            api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=DEADLINE)
            api.get("/version")
            api.close()
        assert a.asked
        assert proxy.asked == []
        assert not any(SECRET in str(asked.headers) or ACCOUNT.basic in str(asked.headers) for asked in a.asked)


HELD_ELSEWHERE = {
    "pushgateway": "tests/outputs/test_metrics.py",
    "webhook": "tests/outputs/test_notify.py",
    "kubernetes-proxy": "tests/clients/test_kube_api.py",
    "node-login": "tests/clients/test_ssh.py",
    "node-pull": "tests/probes/test_node_pulls.py",
}


def test_each_row_of_the_table_is_held() -> None:
    text = (PROJECT / "docs" / "secrets.md").read_text("utf-8")
    rows = set(re.findall(r"^\| ([a-z-]+) \|", text, re.MULTILINE)) - {"id"}
    here = {*REDIRECTED, "registry-realm", "registry-token", "kubernetes", "netrc"}
    assert rows == here | HELD_ELSEWHERE.keys()
    assert all((PROJECT / file).exists() for file in HELD_ELSEWHERE.values())
