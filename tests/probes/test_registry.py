"""What an image registry answers, along the whole way: address, challenge, token, manifest, platform, blob."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from preflight.clients.connect import Routes
from preflight.evidence import Unmeasured
from preflight.faults import PathFault, RegistryFault
from preflight.probes.registry import (
    Credentials,
    Manifest,
    RegistryReply,
    manifest,
    parse_docker_config,
    parse_reference,
    ping,
)
from tests.probes import servers
from tests.probes.servers import Asked, Said, Web, web_server

HOST = "registry.example.com"
REALM = "auth.example.com"
IMAGE = f"{HOST}/library/alpine:latest"
PASSWORD = "made-up-pull-password"
ROBOT = Credentials("robot", PASSWORD)
V2 = {"Docker-Distribution-Api-Version": "registry/2.0"}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Said:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    return Said(status, {**V2, "Content-Type": "application/json", **(headers or {})}, body)


def stored(document: object) -> tuple[str, bytes]:
    body = json.dumps(document).encode()
    return f"sha256:{hashlib.sha256(body).hexdigest()}", body


def image(system: str, architecture: str) -> dict[str, bytes]:
    """A one-platform image: its blobs and manifests by digest, the manifest last."""
    config, config_body = stored({"os": system, "architecture": architecture, "rootfs": {}})
    digest, body = stored(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"digest": config, "size": len(config_body)},
            "layers": [{"digest": "sha256:" + "0" * 64, "size": 3_000_000}],
        }
    )
    return {config: config_body, digest: body}


def index(*platforms: str) -> dict[str, bytes]:
    """A multi-platform image with an attestation, as buildkit pushes it; the index last."""
    held: dict[str, bytes] = {}
    offers: list[dict[str, object]] = []
    for platform in platforms:
        system, architecture, *variant = platform.split("/")
        one = image(system, architecture)
        held |= one
        offered = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        offers.append({"digest": list(one)[-1], "size": 500, "platform": offered})
    unknown = {"os": "unknown", "architecture": "unknown"}
    offers.append({"digest": "sha256:" + "1" * 64, "size": 500, "platform": unknown})
    digest, body = stored({"schemaVersion": 2, "mediaType": INDEX, "manifests": offers})
    return {**held, digest: body}


@dataclass
class Registry:
    """A registry by the distribution spec (docs/sources.md#registry-protocol), with a token server if `auth` asks."""

    tags: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"library/alpine:latest": index("linux/amd64")})
    auth: str = "none"
    realm: str = f"http://{REALM}/token"
    accounts: dict[str, str] = field(default_factory=lambda: {"robot": PASSWORD})
    granted: set[str] = field(default_factory=lambda: {"library/alpine"})
    anonymous: bool = False
    blobs_at: str = ""

    def __call__(self, asked: Asked) -> Said:
        parts = urlsplit(asked.path)
        if parts.path == "/token":
            return self.token(asked, parse_qs(parts.query))
        refused = self.challenge(asked, parts.path)
        if refused:
            return refused
        if parts.path == "/v2/":
            return Said(200, {**V2, "Content-Type": "application/json"}, b"{}")
        _, _, rest = parts.path.partition("/v2/")
        for kind in ("/manifests/", "/blobs/"):
            repository, found, ref = rest.rpartition(kind)
            if found:
                return self.content(repository, ref, blob=kind == "/blobs/")
        return error(404, "NAME_UNKNOWN", "no such page")

    def content(self, repository: str, ref: str, *, blob: bool) -> Said:
        if blob and self.blobs_at:
            return Said(307, {"Location": f"{self.blobs_at}/{ref}"})
        for name, held in self.tags.items():
            if not name.startswith(f"{repository}:"):
                continue
            if ref in held:
                return Said(200, {**V2, "Docker-Content-Digest": ref}, held[ref])
            if name == f"{repository}:{ref}":
                digest = list(held)[-1]
                return Said(200, {**V2, "Docker-Content-Digest": digest}, held[digest])
        known = any(name.startswith(f"{repository}:") for name in self.tags)
        code, words = (
            ("MANIFEST_UNKNOWN", "manifest unknown") if known else ("NAME_UNKNOWN", "repository name not known")
        )
        return error(404, code, words)

    def challenge(self, asked: Asked, path: str) -> Said | None:
        given = asked.headers.get("authorization", "")
        if self.auth == "basic" and not self.knows(given):
            return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="Registry"'})
        if self.auth == "bearer":
            repository = path.removeprefix("/v2/").partition("/manifests")[0].partition("/blobs")[0]
            allowed = {"Bearer token-for-all", f"Bearer token-for-{repository}"}
            if given not in allowed if repository else not given.startswith("Bearer token-for"):
                asks = f'Bearer realm="{self.realm}",service="{HOST}",scope="repository:{repository}:"'
                return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": asks})
        return None

    def token(self, asked: Asked, query: Mapping[str, list[str]]) -> Said:
        given = asked.headers.get("authorization", "")
        if not self.knows(given) and (given or not self.anonymous):
            return Said(401, {}, json.dumps({"details": "incorrect username or password"}).encode())
        scope = query.get("scope", [""])[0]
        repository = scope.removeprefix("repository:").removesuffix(":pull")
        token = f"token-for-{repository if repository in self.granted else 'nothing'}"
        return Said(200, {"Content-Type": "application/json"}, json.dumps({"access_token": token}).encode())

    def knows(self, authorization: str) -> bool:
        known = {base64.b64encode(f"{user}:{word}".encode()).decode() for user, word in self.accounts.items()}
        return authorization.removeprefix("Basic ") in known


def routes_to(web: Web, **others: str) -> Routes:
    addresses = {f"{HOST}:80": web.address, f"{REALM}:80": web.address, "blobs.example.net:80": web.address}
    addresses |= {f"{name.replace('_', '.')}:80": address for name, address in others.items()}
    return Routes(addresses, only_mapped=True)


def looked(
    registry: Callable[[Asked], Said], credentials: Credentials | None = None, **others: str
) -> tuple[RegistryReply, Web]:
    with web_server(registry) as web:
        routes = routes_to(web, **others)
        return ping(HOST, scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=2), web


def described(
    registry: Callable[[Asked], Said],
    name: str = IMAGE,
    credentials: Credentials | None = None,
    *,
    platform: str = "linux/amd64",
    **others: str,
) -> tuple[Manifest, Web]:
    with web_server(registry) as web:
        routes = routes_to(web, **others)
        told = manifest(
            name,
            platforms=platform.split(),
            scheme="http",
            credentials=credentials,
            ca_file=None,
            routes=routes,
            deadline=2,
        )
        return told, web


# -- look


def test_an_open_registry_is_recognised() -> None:
    reply, _ = looked(Registry())
    assert reply.fault is None
    assert (reply.challenge, reply.realm) == ("none", "")
    assert reply.evidence.command == "curl -sS -i --max-time 2 http://registry.example.com/v2/"


def test_basic_credentials_are_tried() -> None:
    reply, web = looked(Registry(auth="basic"), ROBOT)
    assert reply.fault is None
    assert reply.challenge == "basic"
    assert [("authorization" in one.headers) for one in web.asked] == [False, True]


def test_the_token_flow_is_followed() -> None:
    reply, web = looked(Registry(auth="bearer"), ROBOT)
    assert reply.fault is None
    assert (reply.challenge, reply.realm) == ("bearer", f"http://{REALM}/token")
    assert [urlsplit(one.path).path for one in web.asked] == ["/v2/", "/token", "/v2/"]
    assert parse_qs(urlsplit(web.asked[1].path).query) == {"service": [HOST], "account": ["robot"]}


def test_a_token_for_nobody_is_enough_for_a_look() -> None:
    reply, _ = looked(Registry(auth="bearer", anonymous=True))
    assert reply.fault is None


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_credentials_are_unauthorized(auth: str) -> None:
    reply, _ = looked(Registry(auth=auth), Credentials("robot", "wrong-made-up-password"))
    assert reply.fault is RegistryFault.UNAUTHORIZED
    assert "robot" in reply.cause
    assert "wrong-made-up" not in reply.cause + reply.evidence.observed + reply.evidence.command + repr(reply)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_missing_credentials_are_said_to_be_missing(auth: str) -> None:
    reply, _ = looked(Registry(auth=auth))
    assert reply.fault is RegistryFault.UNAUTHORIZED
    assert "the inventory names none" in reply.cause


def test_no_secret_is_in_a_fact() -> None:
    for auth in ("basic", "bearer"):
        reply, _ = looked(Registry(auth=auth), ROBOT)
        told, _ = described(Registry(auth=auth), credentials=ROBOT)
        text = "".join(f"{fact!r}{fact.evidence.command}{fact.evidence.observed}" for fact in (reply, told))
        assert PASSWORD not in text
        assert ROBOT.basic not in text
        assert "token-for-library" not in text


def dead_realm(kind: str) -> str:
    return {"refused": f"127.0.0.1:{servers.closed_port()}", "unreachable": f"{servers.UNREACHABLE}:80"}[kind]


@pytest.mark.parametrize("kind", ["refused", "unreachable"])
def test_a_dead_token_server_is_named(kind: str) -> None:
    for fact in (
        looked(Registry(auth="bearer"), ROBOT, auth_example_com=dead_realm(kind))[0],
        described(Registry(auth="bearer"), credentials=ROBOT, auth_example_com=dead_realm(kind))[0],
    ):
        assert fact.fault is RegistryFault.TOKEN_REALM
        assert f"{HOST} gives its tokens at {REALM}, and " in fact.cause
        assert f"({kind})" in fact.cause


@pytest.mark.parametrize(
    "said", [Said(500), Said(404, {}, b"<html>"), Said(200, {}, b"<html>"), Said(200, {}, b"{}"), Said(302)], ids=repr
)
def test_a_token_server_without_tokens_is_named(said: Said) -> None:
    registry = Registry(auth="bearer")
    reply, _ = looked(lambda asked: said if asked.path.startswith("/token") else registry(asked), ROBOT)
    assert reply.fault is RegistryFault.TOKEN_REALM
    assert REALM in reply.cause


def test_a_password_is_not_sent_unencrypted_for_a_registry_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with web_server(Registry(auth="bearer"), certificate=authority.issue_cert(HOST)) as web:
        routes = Routes({f"{HOST}:443": web.address, f"{REALM}:80": web.address}, only_mapped=True)
        reply = ping(HOST, credentials=ROBOT, ca_file=tmp_path / "ca.pem", routes=routes, deadline=2)
    assert reply.fault is RegistryFault.TOKEN_REALM
    assert "unencrypted" in reply.cause
    assert all("authorization" not in one.headers for one in web.asked)


NOT_REGISTRIES = {
    "welcome": Said(200, {"Content-Type": "text/html", "Server": "nginx"}, b"<html>Welcome to nginx!</html>"),
    "absent": Said(404, {}, b"404 page not found"),
    "moved": Said(301, {}),
    "login": Said(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"<html><h1>401 Authorization Required</h1></html>"),
    "unknown scheme": Said(401, {"WWW-Authenticate": "Negotiate"}, b""),
}


@pytest.mark.parametrize("kind", NOT_REGISTRIES)
def test_another_server_is_not_a_registry(kind: str) -> None:
    reply, _ = looked(lambda _: NOT_REGISTRIES[kind], ROBOT)
    assert reply.fault is RegistryFault.NOT_A_REGISTRY
    assert f"{HOST} answered {NOT_REGISTRIES[kind].status}" in reply.cause


OTHERS = {
    RegistryFault.HTTP_STATUS: Said(500, {}, b""),
    RegistryFault.RATE_LIMITED: error(429, "TOOMANYREQUESTS", "slow down", {"Retry-After": "120"}),
    RegistryFault.DENIED: error(403, "DENIED", "not from this network"),
}


@pytest.mark.parametrize("fault", OTHERS, ids=str)
def test_a_look_names_the_fault_it_met(fault: RegistryFault) -> None:
    reply, _ = looked(lambda _: OTHERS[fault])
    assert reply.fault is fault
    assert HOST in reply.cause
    if fault is RegistryFault.RATE_LIMITED:
        assert "120 s" in reply.cause


def test_swr_refuses_basic_without_the_token_flow() -> None:
    """SWR answers Basic with DENIED, in a 401 whose challenge carries empty actions (docs/sources.md#registry-swr)."""
    registry = Registry(auth="bearer", tags={"org/app:1": image("linux", "amd64")}, granted={"org/app"})
    told, web = described(registry, f"{HOST}/org/app:1", ROBOT)
    assert told.fault is None
    asked = [parse_qs(urlsplit(one.path).query) for one in web.asked if one.path.startswith("/token")]
    assert asked == [{"service": [HOST], "scope": ["repository:org/app:pull"], "account": ["robot"]}]


def test_path_faults_name_the_registry() -> None:
    routes = Routes({f"{HOST}:443": f"127.0.0.1:{servers.closed_port()}"})
    reply = ping(HOST, credentials=None, ca_file=None, routes=routes, deadline=1)
    told = manifest(IMAGE, credentials=None, ca_file=None, routes=routes, deadline=1)
    for fact in (reply, told):
        assert fact.fault is PathFault.REFUSED
        assert fact.cause.startswith(f"{HOST}:443 refused")


def test_an_untrusted_certificate_is_told(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with web_server(Registry(), certificate=authority.issue_cert(HOST)) as web:
        routes = Routes({f"{HOST}:443": web.address})
        distrusted = ping(HOST, credentials=None, ca_file=None, routes=routes, deadline=2)
        trusted = ping(HOST, credentials=None, ca_file=tmp_path / "ca.pem", routes=routes, deadline=2)
    assert distrusted.fault is PathFault.TLS_UNTRUSTED
    assert trusted.fault is None


def test_addresses_that_connect_refuses_are_not_measured() -> None:
    routes = Routes(only_mapped=True)
    with pytest.raises(Unmeasured, match=HOST):
        ping(HOST, credentials=None, ca_file=None, routes=routes, deadline=1)
    with web_server(Registry(auth="bearer")) as web:
        routes = Routes({f"{HOST}:80": web.address}, only_mapped=True)
        with pytest.raises(Unmeasured, match=REALM):
            ping(HOST, scheme="http", credentials=ROBOT, ca_file=None, routes=routes, deadline=1)


def test_the_whole_conversation_has_one_deadline() -> None:
    registry = Registry(auth="bearer")

    def slow(asked: Asked) -> Said:
        time.sleep(0.3)
        return registry(asked)

    began = time.monotonic()
    with web_server(slow) as web:
        told = manifest(IMAGE, scheme="http", credentials=ROBOT, ca_file=None, routes=routes_to(web), deadline=0.7)
    assert told.fault in {PathFault.SILENT, PathFault.TIMEOUT, RegistryFault.TOKEN_REALM}
    assert time.monotonic() - began < 1.5


# -- manifest


def test_an_index_tells_its_platforms() -> None:
    registry = Registry(tags={"library/alpine:latest": index("linux/amd64", "linux/arm64/v8", "linux/arm/v7")})
    told, web = described(registry)
    assert told.fault is None
    assert told.platforms == ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")
    assert told.digest == list(registry.tags["library/alpine:latest"])[-1]
    assert told.size > 3_000_000
    assert told.image == told.target == IMAGE
    assert told.evidence.command == f"docker manifest inspect --insecure {IMAGE}"
    accepted = web.asked[0].headers["accept"]
    assert all(kind in accepted for kind in (INDEX, MANIFEST, "manifest.list.v2+json", "manifest.v2+json"))


def test_a_single_manifest_tells_its_platform_by_its_configuration() -> None:
    told, web = described(Registry(tags={"library/alpine:latest": image("linux", "arm64")}), platform="linux/arm64")
    assert told.fault is None
    assert told.platforms == ("linux/arm64",)
    assert "/blobs/" in web.asked[-1].path


def test_a_digest_is_asked_for_as_such() -> None:
    held = image("linux", "amd64")
    digest = list(held)[-1]
    told, _ = described(Registry(tags={"library/alpine:latest": held}), f"{HOST}/library/alpine:latest@{digest}")
    assert told.fault is None
    assert told.image == f"{HOST}/library/alpine@{digest}"


@pytest.mark.parametrize(
    ("offered", "wanted", "right"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64/v8", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_the_platform_is_compared(offered: str, wanted: str, right: bool) -> None:
    told, _ = described(Registry(tags={"library/alpine:latest": index(offered)}), platform=wanted)
    assert told.fault is (None if right else RegistryFault.WRONG_PLATFORM)
    if not right:
        assert told.cause == f"{IMAGE} is for {offered}, not for {wanted}"
        assert told.platforms == (offered,)


@pytest.mark.parametrize(
    ("offered", "wanted", "cause"),
    [
        (("linux/amd64", "linux/arm64/v8"), "linux/amd64 linux/arm64", ""),
        (("linux/amd64",), "linux/amd64 linux/arm64", "is for linux/amd64, not for linux/arm64"),
        (("linux/arm64",), "linux/amd64 linux/arm64", "is for linux/arm64, not for linux/amd64"),
        (("linux/s390x",), "linux/amd64 linux/arm64", "is for linux/s390x, not for linux/amd64, linux/arm64"),
    ],
)
def test_every_platform_of_the_nodes_is_wanted(offered: tuple[str, ...], wanted: str, cause: str) -> None:
    told, _ = described(Registry(tags={"library/alpine:latest": index(*offered)}), platform=wanted)
    assert told.fault is (RegistryFault.WRONG_PLATFORM if cause else None)
    assert cause in told.cause


def test_a_single_image_of_another_platform_is_wrong() -> None:
    told, _ = described(Registry(tags={"library/alpine:latest": image("linux", "arm64")}))
    assert told.fault is RegistryFault.WRONG_PLATFORM
    assert "linux/arm64, not for linux/amd64" in told.cause


@pytest.mark.parametrize(("name", "code"), [("library/alpine:nope", "MANIFEST"), ("library/nope:latest", "NAME")])
def test_an_absent_image_is_not_found(name: str, code: str) -> None:
    told, _ = described(Registry(), f"{HOST}/{name}")
    assert told.fault is RegistryFault.NOT_FOUND
    assert f"{HOST} has no {name}" in told.cause
    assert f"{code}_UNKNOWN" in told.cause


def test_a_token_that_grants_nothing_is_denied() -> None:
    """A token server gives a token with fewer rights instead of a refusal (docs/sources.md#registry-token)."""
    registry = Registry(auth="bearer", granted=set())
    told, _ = described(registry, credentials=ROBOT)
    assert told.fault is RegistryFault.DENIED
    assert told.cause.startswith("robot may not pull library/alpine from registry.example.com")
    nobody, _ = described(replace(registry, anonymous=True))
    assert nobody.fault is RegistryFault.UNAUTHORIZED
    assert "names none" in nobody.cause


@pytest.mark.parametrize("auth", ["none", "basic", "bearer"])
def test_credentials_open_the_way_to_a_manifest(auth: str) -> None:
    told, _ = described(Registry(auth=auth), credentials=ROBOT)
    assert told.fault is None


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_credentials_open_no_manifest(auth: str) -> None:
    told, _ = described(Registry(auth=auth), credentials=Credentials("robot", "another-made-up-password"))
    assert told.fault is RegistryFault.UNAUTHORIZED


def test_a_rate_limit_tells_when_to_come_back() -> None:
    limited = error(
        429,
        "TOOMANYREQUESTS",
        "You have reached your pull rate limit.",
        {"Retry-After": "3600", "ratelimit-limit": "100;w=21600"},
    )
    told, _ = described(lambda _: limited)
    assert told.fault is RegistryFault.RATE_LIMITED
    assert "3600 s (Retry-After)" in told.cause
    assert "at most 100;w=21600" in told.cause
    assert "pull rate limit" in told.cause


def test_a_rate_limited_token_server_is_a_rate_limit() -> None:
    registry = Registry(auth="bearer")
    told, _ = described(lambda asked: Said(429) if asked.path.startswith("/token") else registry(asked))
    assert told.fault is RegistryFault.RATE_LIMITED
    assert REALM in told.cause


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (Said(500), RegistryFault.HTTP_STATUS),
        (error(403, "DENIED", "requested access to the resource is denied"), RegistryFault.DENIED),
        (Said(200, {}, b"<html>"), RegistryFault.NOT_A_REGISTRY),
        (Said(200, {}, b'{"manifests": [{"platform": {"os": "linux"}}]}'), RegistryFault.HTTP_STATUS),
        (Said(200, {}, b'{"manifests": 7}'), RegistryFault.HTTP_STATUS),
        (Said(200, {}, b'{"manifests": [7]}'), RegistryFault.HTTP_STATUS),
        (Said(200, {}, b'{"config": {}}'), RegistryFault.HTTP_STATUS),
        (Said(200, {}, b"{}"), RegistryFault.WRONG_PLATFORM),
        (Said(307, {"Location": "/v2/again"}), RegistryFault.HTTP_STATUS),
    ],
    ids=str,
)
def test_a_manifest_that_is_none_is_told(said: Said, fault: RegistryFault) -> None:
    told, _ = described(lambda _: said)
    assert told.fault is fault
    assert told.cause


def test_blobs_kept_elsewhere_are_fetched_there_without_credentials() -> None:
    held = image("linux", "amd64")
    store = Registry(tags={"library/alpine:latest": held}, auth="bearer", blobs_at="http://blobs.example.net/kept")

    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/kept/"):
            return Said(200, {}, held[asked.path.removeprefix("/kept/")])
        return store(asked)

    told, web = described(answer, credentials=ROBOT)
    assert told.fault is None
    assert web.asked[-1].headers["host"] == "blobs.example.net"
    assert "authorization" not in web.asked[-1].headers


def test_a_dead_store_of_blobs_is_named() -> None:
    dead = f"127.0.0.1:{servers.closed_port()}"
    told, _ = described(Registry(blobs_at="http://blobs.example.net/kept"), blobs_example_net=dead)
    assert told.fault is RegistryFault.BLOB_HOST
    assert told.cause.endswith("(refused)")
    assert told.cause.startswith(f"{HOST} keeps this elsewhere, and there blobs.example.net:80 refused")


def test_docker_hub_is_asked_where_it_answers() -> None:
    with web_server(Registry()) as web:
        routes = Routes({"registry-1.docker.io:80": web.address}, only_mapped=True)
        told = manifest("alpine", scheme="http", credentials=None, ca_file=None, routes=routes, deadline=2)
    assert told.fault is None
    assert told.image == "docker.io/library/alpine:latest"
    assert web.asked[0].path == "/v2/library/alpine/manifests/latest"


# -- references and credentials


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example.com/library/alpine:latest", (HOST, "library/alpine", "latest")),
        ("registry.example.com/library/alpine", (HOST, "library/alpine", "latest")),
        ("registry.example.com:5000/a", ("registry.example.com:5000", "a", "latest")),
        ("localhost/a/b/c:1", ("localhost", "a/b/c", "1")),
        ("alpine", ("docker.io", "library/alpine", "latest")),
        ("docker:dind", ("docker.io", "library/docker", "dind")),
        ("gitlab/gitlab-runner:v18.3.0", ("docker.io", "gitlab/gitlab-runner", "v18.3.0")),
        ("index.docker.io/library/alpine", ("docker.io", "library/alpine", "latest")),
        (f"h.example/a:1@sha256:{'a' * 64}", ("h.example", "a", f"sha256:{'a' * 64}")),
        ("[2001:db8::1]:5000/a:1", ("[2001:db8::1]:5000", "a", "1")),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_reference(text) == parts


@pytest.mark.parametrize("text", ["", "UPPER/case", "a b", "h.example/", "h.example/a:", "h.example/a@sha256:x", "-a"])
def test_what_is_no_reference_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no image reference|has a digest"):
        parse_reference(text)


AUTH = {"auth": base64.b64encode(b"robot:pass:word").decode()}
NAMED = {"username": "robot", "password": "pass:word"}


@pytest.mark.parametrize(
    ("key", "host", "found"),
    [
        ("registry.example.com", "registry.example.com", True),
        ("https://registry.example.com", "registry.example.com", True),
        ("https://registry.example.com/v1/", "registry.example.com", True),
        ("registry.example.com/team", "registry.example.com", True),
        ("registry.example.com:5000", "registry.example.com:5000", True),
        ("registry.example.com:5000", "registry.example.com", False),
        ("*.example.com", "registry.example.com", True),
        ("*.example.com", "a.registry.example.com", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io", "registry-1.docker.io", True),
        ("other.example.com", "registry.example.com", False),
    ],
)
@pytest.mark.parametrize("entry", [AUTH, NAMED, {**AUTH, "email": "x@example.com"}], ids=["auth", "named", "both"])
def test_credentials_are_found_as_the_kubelet_finds_them(
    key: str, host: str, found: bool, entry: Mapping[str, str]
) -> None:
    credentials = parse_docker_config(json.dumps({"auths": {key: entry}}), host)
    assert credentials == (Credentials("robot", "pass:word") if found else None)


def test_the_longest_key_wins() -> None:
    text = json.dumps({"auths": {"*.example.com": AUTH, HOST: {"username": "other", "password": "made-up"}}})
    found = parse_docker_config(text, HOST)
    assert found is not None
    assert found.username == "other"


def test_the_old_form_is_read() -> None:
    assert parse_docker_config(json.dumps({HOST: AUTH}), HOST) == Credentials("robot", "pass:word")


def test_an_entry_without_a_password_is_none() -> None:
    for entry in ({}, {"username": "robot"}, {"identitytoken": "made-up"}):
        assert parse_docker_config(json.dumps({"auths": {HOST: entry}}), HOST) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"auths": []}',
        json.dumps({"auths": {HOST: 7}}),
        json.dumps({"auths": {HOST: {"auth": "***"}}}),
        json.dumps({"auths": {HOST: {"auth": "bWFkZXVwc2VjcmV0"}}}),
    ],
)
def test_a_broken_configuration_is_an_error_that_quotes_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="Docker configuration") as broken:
        parse_docker_config(text, HOST)
    assert "bWFkZXVw" not in str(broken.value)
    assert "madeupsecret" not in str(broken.value)


def test_passwords_are_not_shown() -> None:
    assert PASSWORD not in repr(ROBOT)
