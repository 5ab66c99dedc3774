"""Asking a real registry, Debian's docker-registry (distribution), with and without a login."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import bcrypt
import pytest
import requests
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from preflight.clients.connect import Routes
from preflight.faults import PathFault, RegistryFault
from preflight.probes import layer_rate
from preflight.probes.layer_rate import LayerRate
from preflight.probes.push import PushPermission, push_permission, remove_image
from preflight.probes.registry import Access, Credentials, manifest, ping
from tests.probes.servers import Asked, Said, closed_port, listens, tcp_server, web_server

HOST = "registry.example.com"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ROBOT = Credentials("robot", "made-up-registry-password")


@contextmanager
def distribution(folder: Path, *options: str, storage: str = "") -> Iterator[int]:
    """The port of a registry with a store in the folder, and with these lines of YAML in its configuration."""
    program = shutil.which("docker-registry")
    assert program, "this test needs Debian's docker-registry"
    port = closed_port()
    file = folder / "config.yml"
    lines = ["version: 0.1", "log: {level: error}"]
    lines += [f"storage: {{filesystem: {{rootdirectory: {folder}/store}}{storage}}}", *options]
    file.write_text("\n".join(lines).replace("PORT", str(port)) + "\n")
    with subprocess.Popen(
        [program, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert listens(port), "docker-registry did not start"
            yield port
        finally:
            process.terminate()


def push(
    port: int,
    *platforms: str,
    auth: tuple[str, str] | None = None,
    repository: str = "library/alpine",
    tar: bytes = b"tar!",
) -> None:
    """Push the repository's tag latest as an index of these platforms."""
    at = f"http://127.0.0.1:{port}/v2/{repository}"

    def blob(content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = requests.post(f"{at}/blobs/uploads/", auth=auth, timeout=5)
        ended = requests.put(begun.headers["Location"], params={"digest": digest}, data=content, auth=auth, timeout=5)
        assert ended.status_code == 201
        return digest

    def put(document: dict[str, object], ref: str) -> str:
        kind = {"Content-Type": str(document["mediaType"])}
        body = json.dumps(document).encode()
        ref = ref or f"sha256:{hashlib.sha256(body).hexdigest()}"
        said = requests.put(f"{at}/manifests/{ref}", data=body, headers=kind, auth=auth, timeout=5)
        assert said.status_code == 201, said.text
        return said.headers["Docker-Content-Digest"]

    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(tar), "digest": blob(tar)}
    offers = []
    for platform in platforms:
        system, architecture = platform.split("/")
        config = json.dumps({"os": system, "architecture": architecture, "rootfs": {}}).encode()
        about = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config)}
        one = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**about, "digest": blob(config)},
            "layers": [layer],
        }
        digest = put(one, "")
        where = {"os": system, "architecture": architecture}
        offers.append({"mediaType": MANIFEST, "size": len(json.dumps(one)), "digest": digest, "platform": where})
    put({"schemaVersion": 2, "mediaType": INDEX, "manifests": offers}, "latest")


def test_an_open_registry_and_its_images(tmp_path: Path) -> None:
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}") as port:
        push(port, "linux/amd64", "linux/arm64")
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)

        def described(image: str, platform: str = "linux/amd64") -> tuple[object, tuple[str, ...], str]:
            told = manifest(
                image, platforms=(platform,), scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5
            )
            return told.fault, told.platforms, told.cause

        reply = ping(HOST, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
        image = f"{HOST}/library/alpine"
        assert reply.fault is None
        assert described(f"{image}:latest") == (None, ("linux/amd64", "linux/arm64"), "")
        assert described(f"{image}:latest", "linux/arm64")[0] is None
        assert described(f"{image}:latest", "linux/s390x")[0] is RegistryFault.WRONG_PLATFORM
        absent = described(f"{image}:absent")
        assert absent[0] is RegistryFault.NOT_FOUND
        assert "MANIFEST_UNKNOWN" in absent[2]
        assert described(f"{HOST}/library/absent:latest")[0] is RegistryFault.NOT_FOUND


def test_the_rate_of_a_registry_behind_a_slow_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_rate, "_CLEAR", 1.0)
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}") as port, slow_line(port, rate=12_000) as slow:
        push(port, "linux/amd64", tar=b"x" * 300_000)

        def measured(through: int) -> LayerRate:
            routes = Routes({f"{HOST}:80": f"127.0.0.1:{through}"}, only_mapped=True)
            access = Access(scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
            described = manifest(f"{HOST}/library/alpine:latest", **access)
            return layer_rate.measure(described, limit=1e6, **access)

        quick, late = measured(port), measured(slow)
        assert quick.fault is None
        assert late.fault is RegistryFault.SLOW
        assert late.rate is not None
        assert late.rate < 150_000
        assert late.cause.startswith(f"{HOST} delivers ")
        assert "HTTP 206" in late.evidence.observed


@contextmanager
def slow_line(port: int, *, rate: int) -> Iterator[int]:
    """A port that leads to another one, and passes answers on at so many bytes a second."""

    def forward(visitor: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            server.sendall(visitor.recv(65_536))
            while piece := server.recv(rate // 10):
                visitor.sendall(piece)
                time.sleep(len(piece) / rate)

    with tcp_server(forward) as own:
        yield own


def htpasswd(folder: Path) -> str:
    """The line of configuration that lets the robot in, and nobody else."""
    hashed = bcrypt.hashpw(ROBOT.password.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"{ROBOT.username}:{hashed}\n")
    return f"auth: {{htpasswd: {{realm: registry, path: {folder}/htpasswd}}}}"


def test_a_registry_with_a_login(tmp_path: Path) -> None:
    auth = htpasswd(tmp_path)
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", auth) as port:
        push(port, "linux/amd64", auth=(ROBOT.username, ROBOT.password))
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
        faults = []
        for credentials in (ROBOT, Credentials("robot", "another-made-up-password"), None):
            reply = ping(HOST, scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=5)
            told = manifest(
                f"{HOST}/library/alpine:latest",
                scheme="http",
                credentials=credentials,
                ca_file=None,
                routes=routes,
                deadline=5,
            )
            assert reply.challenge == "basic"
            faults += [reply.fault, told.fault]
    assert faults == [None, None] + [RegistryFault.UNAUTHORIZED] * 4


def test_a_registry_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    tls = f"tls: {{certificate: {tmp_path}/server.pem, key: {tmp_path}/server.pem}}"
    with distribution(tmp_path, f"http: {{addr: '127.0.0.1:PORT', {tls}}}") as port:
        routes = Routes({f"{HOST}:443": f"127.0.0.1:{port}"})
        trusted = ping(HOST, credentials=None, ca_file=tmp_path / "ca.pem", routes=routes, deadline=5)
        distrusted = ping(HOST, credentials=None, ca_file=None, routes=routes, deadline=5)
        plain = Routes({f"{HOST}:80": f"127.0.0.1:{port}"})
        unencrypted = ping(HOST, scheme="http", credentials=None, ca_file=None, routes=plain, deadline=5)
    assert trusted.fault is None
    assert distrusted.fault is PathFault.TLS_UNTRUSTED
    assert unencrypted.fault is RegistryFault.NOT_A_REGISTRY


# ---- a token server --------------------------------------------------------------------------------------------------

APP = "my-namespace/my-app"
READER = Credentials("reader", "made-up-reader-password")
PUSHER = Credentials("pusher", "made-up-pusher-password")
GRANTS = {  # of whom, on which repository, what
    ("robot", APP): {"pull", "push", "delete"},
    ("pusher", APP): {"pull", "push"},
    ("reader", APP): {"pull"},
    ("", "library/alpine"): {"pull"},
}


class TokenServer:
    """A token server as distribution's specification has it: a signed JWT that holds what is granted of the scope."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("auth.example.com", key_type=trustme.KeyType.RSA)
        authority.cert_pem.write_to_path(str(folder / "tokens.pem"))
        chain = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        self.certificate = base64.b64encode(chain.public_bytes(Encoding.DER)).decode()
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, RSAPrivateKey)
        self.key = key
        self.options = (
            "auth: {token: {realm: 'http://auth.example.com/token', service: registry.example.com,"
            f" issuer: auth.example.com, rootcertbundle: {folder}/tokens.pem}}}}"
        )

    def __call__(self, asked: Asked) -> Said:
        user = ""
        if given := asked.headers.get("authorization", ""):
            user, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
            if Credentials(user, password) not in {ROBOT, READER, PUSHER}:
                return Said(401, {"WWW-Authenticate": 'Basic realm="tokens"'})
        access: list[dict[str, object]] = []
        for scope in parse_qs(urlsplit(asked.path).query).get("scope", []):
            kind, name, actions = scope.split(":")
            granted = (GRANTS.get((user, name), set()) | GRANTS.get(("", name), set())) & set(actions.split(","))
            access.append({"type": kind, "name": name, "actions": sorted(granted)})
        return Said(200, {"Content-Type": "application/json"}, json.dumps({"token": self.token(user, access)}).encode())

    def token(self, user: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}
        claims: dict[str, object] = {"iss": "auth.example.com", "sub": user, "aud": HOST, "access": access}
        claims |= {"jti": "made-up", "iat": now, "nbf": now - 60, "exp": now + 300}
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self.key.sign(signed, PKCS1v15(), SHA256())
        return b".".join((signed, _base64url(signature))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@contextmanager
def token_registry(folder: Path) -> Iterator[Routes]:
    """The way to a registry that believes a token server, and holds an open and a private repository."""
    with distribution(folder, "http: {addr: '127.0.0.1:PORT'}") as port:
        push(port, "linux/amd64")
        push(port, "linux/amd64", repository=APP)
    server = TokenServer(folder)
    with web_server(server) as web, distribution(folder, "http: {addr: '127.0.0.1:PORT'}", server.options) as port:
        yield Routes({f"{HOST}:80": f"127.0.0.1:{port}", "auth.example.com:80": web.address}, only_mapped=True)


def test_a_registry_with_a_token_server(tmp_path: Path) -> None:
    def image(name: str, credentials: Credentials | None) -> object:
        return manifest(
            f"{HOST}/{name}", scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=5
        ).fault

    wrong = Credentials("robot", "another-made-up-password")
    with token_registry(tmp_path) as routes:
        replies = [
            ping(HOST, scheme="http", credentials=one, ca_file=None, routes=routes, deadline=5)
            for one in (ROBOT, READER, None, wrong)
        ]
        assert {reply.challenge for reply in replies} == {"bearer"}
        assert [reply.fault for reply in replies] == [None, None, None, RegistryFault.UNAUTHORIZED]
        assert [image("library/alpine:latest", one) for one in (ROBOT, None)] == [None, None]
        assert [image(f"{APP}:latest", one) for one in (ROBOT, READER)] == [None, None]
        assert image(f"{APP}:absent", ROBOT) is RegistryFault.NOT_FOUND
        assert image(f"{APP}:latest", None) is RegistryFault.UNAUTHORIZED
        assert image(f"{APP}:latest", wrong) is RegistryFault.UNAUTHORIZED
        assert image("another/app:latest", READER) is RegistryFault.DENIED


# ---- pushing ---------------------------------------------------------------------------------------------------------


def stored(folder: Path) -> dict[str, bytes]:
    """Every file in a registry's store."""
    store = folder / "store"
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def require_unchanged(folder: Path, before: dict[str, bytes], *, cancelled: bool = True) -> None:
    """Nothing that can be pulled has come or gone; of a cancelled upload its empty checksum alone is left."""
    after = stored(folder)
    assert before
    assert {name: after.get(name) for name in before} == before
    for name in {*after} - {*before}:
        assert f"/{APP}/_uploads/" in name
        assert "/hashstates/" in name or not cancelled
        assert not name.endswith("/data") or after[name] == b""


def ask(routes: Routes, credentials: Credentials | None, repository: str = APP) -> PushPermission:
    return push_permission(
        f"{HOST}/{repository}", scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=5
    )


def test_the_right_to_push_is_asked_with_a_login_and_nothing_stays(tmp_path: Path) -> None:
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", htpasswd(tmp_path)) as port:
        push(port, "linux/amd64", auth=(ROBOT.username, ROBOT.password))
        before = stored(tmp_path)
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
        found = ask(routes, ROBOT)
        nobody, stranger = ask(routes, None), ask(routes, Credentials("robot", "another-made-up-password"))
        at = f"http://127.0.0.1:{port}/v2/"
        auth = (ROBOT.username, ROBOT.password)
        catalogue = requests.get(f"{at}_catalog", auth=auth, timeout=5).json()
        tags = requests.get(f"{at}{APP}/tags/list", auth=auth, timeout=5)
    assert (found.fault, found.cancelled) == (None, True)
    assert nobody.fault is RegistryFault.UNAUTHORIZED
    assert stranger.fault in {RegistryFault.UNAUTHORIZED, RegistryFault.DENIED}
    assert catalogue == {"repositories": ["library/alpine"]}
    assert tags.status_code == 404
    require_unchanged(tmp_path, before)


def test_the_right_to_push_is_asked_of_a_token_server_and_nothing_stays(tmp_path: Path) -> None:
    with token_registry(tmp_path) as routes:
        before = stored(tmp_path)
        found = [ask(routes, one) for one in (ROBOT, READER, None)]
        elsewhere = ask(routes, ROBOT, "another/app")
    assert [one.fault for one in found] == [None, RegistryFault.DENIED, RegistryFault.UNAUTHORIZED]
    assert elsewhere.fault is RegistryFault.DENIED
    assert found[0].cancelled
    require_unchanged(tmp_path, before)


def test_who_may_push_and_not_delete_leaves_an_empty_upload_to_expire(tmp_path: Path) -> None:
    with token_registry(tmp_path) as routes:
        before = stored(tmp_path)
        found = ask(routes, PUSHER)
    assert (found.fault, found.cancelled) == (None, False)
    require_unchanged(tmp_path, before, cancelled=False)


def test_a_registry_that_takes_no_uploads_says_so(tmp_path: Path) -> None:
    read_only = ", maintenance: {readonly: {enabled: true}}"
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", storage=read_only) as port:
        found = ask(Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True), None)
    assert found.fault is RegistryFault.DENIED
    assert "takes no uploads at all" in found.cause
    assert stored(tmp_path) == {}


@pytest.mark.parametrize(("deletion", "left"), [("true", ""), ("false", f"{HOST} has deletion switched off (405)")])
def test_what_a_job_pushed_is_removed_where_that_is_allowed(deletion: str, left: str, tmp_path: Path) -> None:
    storage = f", delete: {{enabled: {deletion}}}"
    image = f"{HOST}/{APP}:latest"
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", storage=storage) as port:
        push(port, "linux/amd64", repository=APP)
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
        said = [
            remove_image(image, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
            for _ in range(2)
        ]
        found = manifest(image, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
    assert said == [left, left]  # what is gone needs no removal
    assert found.fault is (None if left else RegistryFault.NOT_FOUND)
