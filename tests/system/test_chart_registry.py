"""A chart's package from a real OCI registry, Debian's docker-registry (distribution)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import requests

from preflight.clients.connect import Routes
from preflight.faults import RegistryFault
from preflight.probes.chart_source import CONTENT, FetchedChart, fetch, source_of
from preflight.probes.registry import Credentials
from tests import tinychart
from tests.system.test_registry_distribution import HOST, ROBOT, distribution, htpasswd

PACKAGE = tinychart.archive()


def push(port: int, package: bytes, tag: str, *, kind: str = CONTENT, auth: tuple[str, str] | None = None) -> None:
    """Push a chart as ``helm push`` does."""
    at = f"http://127.0.0.1:{port}/v2/charts/gitlab-runner"

    def blob(content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = requests.post(f"{at}/blobs/uploads/", auth=auth, timeout=5)
        ended = requests.put(begun.headers["Location"], params={"digest": digest}, data=content, auth=auth, timeout=5)
        assert ended.status_code == 201
        return digest

    media = "application/vnd.oci.image.manifest.v1+json"
    about = b'{"name": "gitlab-runner", "version": "0.80.1"}'
    config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "size": len(about), "digest": blob(about)}
    layer = {"mediaType": kind, "size": len(package), "digest": blob(package)}
    manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": [layer]}
    said = requests.put(f"{at}/manifests/{tag}", json=manifest, headers={"Content-Type": media}, auth=auth, timeout=5)
    assert said.status_code == 201, said.text


def fetched(port: int, version: str, credentials: Credentials | None = None) -> FetchedChart:
    source = source_of(f"oci://{HOST}/charts/gitlab-runner:{version}", "none", folder=Path())
    assert source is not None
    routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
    return fetch(source, credentials=credentials, ca_file=None, routes=routes, deadline=5, scheme="http")


def test_a_registry_gives_the_package_of_a_version(tmp_path: Path) -> None:
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}") as port:
        push(port, PACKAGE, "0.80.1")
        push(port, PACKAGE, "0.80.1_fork")
        push(port, b"an image's layer", "image", kind="application/vnd.oci.image.layer.v1.tar+gzip")
        found = fetched(port, "0.80.1")
        fork = fetched(port, "0.80.1+fork")
        absent = fetched(port, "0.99.0")
        image = fetched(port, "image")
    assert (found.fault, found.version, found.app_version) == (None, "0.80.1", "18.3.1")
    assert found.digest == hashlib.sha256(PACKAGE).hexdigest()
    assert fork.fault is None, "a tag takes no plus sign: helm writes an underscore"
    assert (absent.fault, image.fault) == (RegistryFault.NOT_FOUND, RegistryFault.NOT_FOUND)
    assert "no Helm chart" in image.cause


def test_a_registry_with_a_login(tmp_path: Path) -> None:
    auth = htpasswd(tmp_path)
    with distribution(tmp_path, "http: {addr: '127.0.0.1:PORT'}", auth) as port:
        push(port, PACKAGE, "0.80.1", auth=(ROBOT.username, ROBOT.password))
        assert fetched(port, "0.80.1", ROBOT).fault is None
        refused = fetched(port, "0.80.1", Credentials("robot", "another-made-up-password"))
        assert refused.fault is RegistryFault.UNAUTHORIZED
        assert "asks for credentials" in fetched(port, "0.80.1").cause
