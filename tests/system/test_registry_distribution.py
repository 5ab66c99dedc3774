"""Asking a real registry, Debian's docker-registry (distribution), with and without a login."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest
import requests
import trustme

from preflight.connect import Routes
from preflight.faults import PathFault, RegistryFault
from preflight.probes.registry import Credentials, look, manifest
from tests.probes.servers import closed_port

HOST = "registry.example.com"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ROBOT = Credentials("robot", "made-up-registry-password")


@contextmanager
def distribution(folder: Path, *options: str) -> Iterator[int]:
    """The port of a registry with an empty store and these lines of YAML in its configuration."""
    program = shutil.which("docker-registry")
    assert program, "this test needs Debian's docker-registry"
    port = closed_port()
    file = folder / "config.yml"
    lines = ["version: 0.1", "log: {level: error}", f"storage: {{filesystem: {{rootdirectory: {folder}/store}}}}"]
    file.write_text("\n".join([*lines, *options]).replace("PORT", str(port)) + "\n")
    with subprocess.Popen(
        [program, "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(200):
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.03)
            else:
                pytest.fail("docker-registry did not start")
            yield port
        finally:
            process.terminate()


def push(port: int, *platforms: str, auth: tuple[str, str] | None = None) -> None:
    """Push library/alpine:latest as an index of these platforms."""
    at = f"http://127.0.0.1:{port}/v2/library/alpine"

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

    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 4, "digest": blob(b"tar!")}
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
                image, platform=platform, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5
            )
            return told.fault, told.platforms, told.cause

        reply = look(HOST, scheme="http", credentials=None, ca_file=None, routes=routes, deadline=5)
        image = f"{HOST}/library/alpine"
        assert reply.fault is None
        assert described(f"{image}:latest") == (None, ("linux/amd64", "linux/arm64"), "")
        assert described(f"{image}:latest", "linux/arm64")[0] is None
        assert described(f"{image}:latest", "linux/s390x")[0] is RegistryFault.WRONG_PLATFORM
        absent = described(f"{image}:absent")
        assert absent[0] is RegistryFault.NOT_FOUND
        assert "MANIFEST_UNKNOWN" in absent[2]
        assert described(f"{HOST}/library/absent:latest")[0] is RegistryFault.NOT_FOUND


def test_a_registry_with_a_login(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(ROBOT.password.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"{ROBOT.username}:{hashed}\n")
    auth = f"auth: {{htpasswd: {{realm: registry, path: {tmp_path}/htpasswd}}}}"
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", auth) as port:
        push(port, "linux/amd64", auth=(ROBOT.username, ROBOT.password))
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
        faults = []
        for credentials in (ROBOT, Credentials("robot", "another-made-up-password"), None):
            reply = look(HOST, scheme="http", credentials=credentials, ca_file=None, routes=routes, deadline=5)
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
        trusted = look(HOST, credentials=None, ca_file=tmp_path / "ca.pem", routes=routes, deadline=5)
        distrusted = look(HOST, credentials=None, ca_file=None, routes=routes, deadline=5)
        plain = Routes({f"{HOST}:80": f"127.0.0.1:{port}"})
        unencrypted = look(HOST, scheme="http", credentials=None, ca_file=None, routes=plain, deadline=5)
    assert trusted.fault is None
    assert distrusted.fault is PathFault.TLS_UNTRUSTED
    assert unencrypted.fault is RegistryFault.NOT_A_REGISTRY
