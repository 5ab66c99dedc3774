"""A chart's package from a repository, and from this machine; for registries, see tests/system."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
import yaml

from preflight.clients.connect import Routes
from preflight.evidence import Unmeasured
from preflight.faults import PathFault, ReleaseFault
from preflight.probes import chart_source
from preflight.probes.chart_source import FetchedChart, Source, fetch, source_of
from preflight.probes.registry import Credentials
from tests import tinychart
from tests.probes.servers import Asked, Said, closed_port, hang, tcp_server, web_server

HOST = "charts.example.com"
PACKAGE = tinychart.archive()
LOGIN = Credentials("robot", "made-up-charts-password")


def index(
    *versions: str, url: str = "gitlab-runner-{}.tgz", digest: str = hashlib.sha256(PACKAGE).hexdigest()
) -> bytes:
    entries = [{"version": version, "urls": [url.format(version)], "digest": digest} for version in versions]
    return yaml.safe_dump({"apiVersion": "v1", "entries": {"gitlab-runner": entries}}).encode()


def repository(files: dict[str, bytes], *, login: bool = False) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if login and asked.headers.get("authorization") != f"Basic {LOGIN.basic}":
            return Said(401, {"WWW-Authenticate": "Basic"})
        body = files.get(asked.path)
        return Said(404) if body is None else Said(body=body)

    return answer


def fetched(port: int, *, version: str = "0.80.1", credentials: Credentials | None = None) -> FetchedChart:
    routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"}, only_mapped=True)
    source = Source(kind="repository", place=f"http://{HOST}/stable", version=version)
    return fetch(source, credentials=credentials, ca_file=None, routes=routes, deadline=5)


FILES = {"/stable/index.yaml": index("0.80.1", "0.79.1", "0.81.0-rc1"), "/stable/gitlab-runner-0.80.1.tgz": PACKAGE}


def test_a_repository_gives_the_package_of_a_version() -> None:
    with web_server(repository(FILES)) as web:
        found = fetched(web.port)
    assert found.fault is None
    assert (found.version, found.app_version, found.digest) == ("0.80.1", "18.3.1", hashlib.sha256(PACKAGE).hexdigest())
    assert found.package is not None
    assert found.package.defaults["replicas"] == 1
    assert found.evidence.command == f"helm pull gitlab-runner --repo http://{HOST}/stable --version 0.80.1"


@pytest.mark.parametrize("version", ["v0.80.1", ""])
def test_a_v_is_no_difference_and_no_version_is_the_newest_that_is_stable(version: str) -> None:
    with web_server(repository(FILES)) as web:
        assert fetched(web.port, version=version).version == "0.80.1"


def test_a_login_goes_to_the_repository_and_to_no_other_host() -> None:
    with web_server(repository({"/gitlab-runner.tgz": PACKAGE})) as elsewhere:
        moved = index("0.80.1", url="http://files.example.com/gitlab-runner.tgz")
        with web_server(repository({"/stable/index.yaml": moved}, login=True)) as web:
            routes = Routes({f"{HOST}:80": web.address, "files.example.com:80": elsewhere.address}, only_mapped=True)
            source = Source(kind="repository", place=f"http://{HOST}/stable", version="0.80.1")
            found = fetch(source, credentials=LOGIN, ca_file=None, routes=routes, deadline=5)
            assert fetched(web.port).cause.endswith("which asks for a login")
    assert found.fault is None
    assert [asked.headers.get("authorization") for asked in elsewhere.asked] == [None]


def test_a_redirect_is_followed_without_the_login() -> None:
    with web_server(repository({"/object?signature=made-up": PACKAGE})) as elsewhere:

        def answer(asked: Asked) -> Said:
            if asked.path.endswith(".tgz"):
                return Said(302, {"Location": "http://files.example.com/object?signature=made-up"})
            return Said(body=FILES[asked.path])

        with web_server(answer) as web:
            routes = Routes({f"{HOST}:80": web.address, "files.example.com:80": elsewhere.address}, only_mapped=True)
            source = Source(kind="repository", place=f"http://{HOST}/stable", version="0.80.1")
            found = fetch(source, credentials=LOGIN, ca_file=None, routes=routes, deadline=5)
    assert found.fault is None
    assert elsewhere.asked[0].headers.get("authorization") is None
    assert "signature" not in found.evidence.observed


def test_redirects_without_an_end_are_given_up() -> None:
    with web_server(lambda _: Said(302, {"Location": "/stable/index.yaml"})) as web:
        assert fetched(web.port).fault is ReleaseFault.HTTP_STATUS


@pytest.mark.parametrize(
    ("files", "fault", "words"),
    [
        ({}, ReleaseFault.HTTP_STATUS, "404"),
        ({"/stable/index.yaml": b"<html>"}, ReleaseFault.NOT_A_REPOSITORY, "no index of charts"),
        ({"/stable/index.yaml": index()}, ReleaseFault.CHART_MISSING, "no chart gitlab-runner at all"),
        (
            {"/stable/index.yaml": index("0.9.0", "0.81.0")},
            ReleaseFault.CHART_MISSING,
            "newest of its 2 versions is 0.81.0",
        ),
        ({"/stable/index.yaml": index("0.80.1")}, ReleaseFault.CHART_MISSING, "404"),
        (
            {**FILES, "/stable/index.yaml": index("0.80.1", digest="0" * 64)},
            ReleaseFault.CHART_MISSING,
            "SHA-256 differs",
        ),
        (
            {"/stable/index.yaml": index("0.80.1", digest=""), "/stable/gitlab-runner-0.80.1.tgz": b"<html>"},
            ReleaseFault.CHART_MISSING,
            "no archive of a chart",
        ),
        (
            {"/stable/index.yaml": index("0.80.1", url="oci://r.example.com/x:{}")},
            ReleaseFault.CHART_MISSING,
            "write that",
        ),
    ],
)
def test_what_gives_no_package_says_why(files: dict[str, bytes], fault: ReleaseFault, words: str) -> None:
    with web_server(repository(files)) as web:
        found = fetched(web.port)
    assert found.fault is fault
    assert words in found.cause
    assert found.package is None


def test_a_package_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_source, "LARGEST_ARCHIVE", 100)
    with web_server(repository(FILES)) as web:
        assert "more than 100 bytes" in fetched(web.port).cause


def test_a_repository_that_can_not_be_reached() -> None:
    assert fetched(closed_port()).fault is PathFault.REFUSED
    with tcp_server(hang) as port:
        routes = Routes({f"{HOST}:80": f"127.0.0.1:{port}"})
        source = Source(kind="repository", place=f"http://{HOST}", version="0.80.1")
        found = fetch(source, credentials=None, ca_file=None, routes=routes, deadline=0.3)
    assert found.fault is PathFault.SILENT


def test_connect_refuses_the_host_of_the_package_as_well() -> None:
    files = {"/stable/index.yaml": index("0.80.1", url="http://files.example.com/x.tgz")}
    with web_server(repository(files)) as web, pytest.raises(Unmeasured, match=r"files\.example\.com"):
        fetched(web.port)


def test_a_private_authority_is_trusted_by_its_file(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    source = Source(kind="repository", place=f"https://{HOST}/stable", version="0.80.1")
    with web_server(repository(FILES), certificate=authority.issue_cert(HOST)) as web:
        routes = Routes({f"{HOST}:443": web.address})
        trusted = fetch(source, credentials=None, ca_file=tmp_path / "ca.pem", routes=routes, deadline=5)
        distrusted = fetch(source, credentials=None, ca_file=None, routes=routes, deadline=5)
    assert trusted.fault is None
    assert distrusted.fault is PathFault.TLS_UNTRUSTED


def test_a_local_package_or_folder_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "gitlab-runner-0.80.1.tgz").write_bytes(PACKAGE)
    tinychart.folder(tmp_path / "chart")
    for chart in ("./gitlab-runner-0.80.1.tgz", "gitlab-runner-0.80.1.tgz", "./chart"):
        source = source_of(chart, "https://charts.example.com", folder=tmp_path)
        assert source is not None
        found = fetch(source, credentials=None, ca_file=None, routes=Routes(only_mapped=True), deadline=5)
        assert (found.fault, found.version) == (None, "0.80.1")
    gone = Source(kind="local", place=str(tmp_path / "none.tgz"))
    found = fetch(gone, credentials=None, ca_file=None, routes=Routes(only_mapped=True), deadline=5)
    assert (found.fault, found.package) == (ReleaseFault.CHART_MISSING, None)


@pytest.mark.parametrize(
    ("chart", "repository_", "source"),
    [
        ("0.80.1", "https://charts.gitlab.io/", ("repository", "https://charts.gitlab.io", "0.80.1")),
        ("0.80.1", "none", None),
        ("oci://r.example:50/c/gitlab-runner:0.80.1", "none", ("oci", "oci://r.example:50/c/gitlab-runner", "0.80.1")),
        ("oci://r.example:50/c/gitlab-runner", "none", ("oci", "oci://r.example:50/c/gitlab-runner", "")),
        ("0.80.1", "oci://r.example/c", ("oci", "oci://r.example/c/gitlab-runner", "0.80.1")),
        ("0.80.1", "oci://r.example/c/gitlab-runner", ("oci", "oci://r.example/c/gitlab-runner", "0.80.1")),
        ("./charts/runner", "https://charts.gitlab.io", ("local", "/inventory/charts/runner", "")),
        ("/srv/runner.tgz", "https://charts.gitlab.io", ("local", "/srv/runner.tgz", "")),
    ],
)  # fmt: skip
def test_where_a_chart_comes_from(chart: str, repository_: str, source: tuple[str, str, str] | None) -> None:
    found = source_of(chart, repository_, folder=Path("/inventory"))
    assert (None if found is None else (found.kind, found.place, found.version)) == source


def test_no_password_is_in_a_fact() -> None:
    with web_server(repository(FILES, login=True)) as web:
        found = fetched(web.port, credentials=LOGIN)
    assert found.fault is None
    everything = repr(found) + repr(found.evidence) + found.evidence.observed
    assert LOGIN.password not in everything
    assert base64.b64encode(LOGIN.password.encode()).decode() not in everything
