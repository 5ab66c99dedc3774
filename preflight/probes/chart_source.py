"""Where the runner's chart comes from, and how its package is had: a repository, an OCI registry, or this machine.

Packages are fetched here and not by helm, so that ``connect:``, CA files, credentials and deadlines hold for them as
for everything else, and no password stands on a command line. Helm then renders the local package.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

from preflight.chartpackage import LARGEST_ARCHIVE, ChartPackage, NotAChartError
from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, Reply, exchange, origin_of
from preflight.evidence import Evidence, Fact
from preflight.faults import Fault, RegistryFault, ReleaseFault
from preflight.probes.chart_repository import CHART, LARGEST_INDEX, ChartVersion, read_index
from preflight.probes.registry import Conversation, Credentials, Refused, error_suffix, parse_reference
from preflight.shell_command import ShellCommand, program

Kind = Literal["repository", "oci", "local"]

OCI = "oci://"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
"""The media type of the layer that is a chart's package (https://helm.sh/docs/topics/registries/)."""
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MOVED = frozenset({301, 302, 303, 307, 308})
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_MOST_REDIRECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a chart comes from.

    Attributes:
        kind: a ``repository`` with an index, an ``oci`` registry, or a ``local`` archive or folder.
        place: the repository's URL, the reference without its tag, or the path.
        version: the chart's version; empty for a local one, and for the newest of a repository.
    """

    kind: Kind
    place: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.place} {self.version}".rstrip()

    @property
    def command(self) -> ShellCommand:
        """What a person types to get the package."""
        version = ["--version", self.version] if self.version else []
        if self.kind == "repository":
            return program("helm", "pull", CHART, "--repo", self.place, *version)
        return (
            program("helm", "pull", self.place, *version)
            if self.kind == "oci"
            else program("helm", "show", "chart", self.place)
        )


def source_of(chart: str, repository: str, *, folder: Path) -> Source | None:
    """The source that an inventory's ``runner.chart`` and ``runner.repository`` name; None where they name none.

    Args:
        chart: a version, a path, or a reference such as ``oci://registry.example.com/charts/gitlab-runner:0.80.1``.
        repository: a URL, ``oci://…``, or ``none``.
        folder: what a path is relative to.
    """
    if chart.startswith(OCI):
        place, _, version = chart.rpartition(":")
        return (
            Source(kind="oci", place=place, version=version) if "/" not in version else Source(kind="oci", place=chart)
        )
    if chart.endswith((".tgz", ".tar.gz")) or chart.startswith((".", "/", "~")):
        return Source(kind="local", place=str(folder / Path(chart).expanduser()))
    if repository.startswith(OCI):
        place = repository.rstrip("/")
        return Source(kind="oci", place=place if place.endswith(f"/{CHART}") else f"{place}/{CHART}", version=chart)
    return None if repository == "none" else Source(kind="repository", place=repository.rstrip("/"), version=chart)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedChart(Fact):
    """A chart's package.

    Attributes:
        version: of the chart that came.
        app_version: the version of what it installs.
        digest: SHA-256 of the archive; empty for a folder.
        package: the chart itself; None with a fault, and when read back from a saved run.
    """

    version: str = ""
    app_version: str = ""
    digest: str = ""
    package: ChartPackage | None = field(default=None, repr=False, metadata={"live": True})


class _Unobtainable(Exception):
    """The package can't be had: a fault and its cause. Never leaves this module."""

    def __init__(self, fault: Fault, cause: str) -> None:
        self.fault, self.cause = fault, cause
        super().__init__(cause)


def fetch(
    source: Source,
    *,
    listed: ChartVersion | None = None,
    credentials: Credentials | None,
    ca_file: Path | None,
    routes: Routes,
    deadline: float,
    scheme: str = "https",
) -> FetchedChart:
    """Get a chart's package, within a deadline and within bounds; what its index or manifest says of it is checked.

    Args:
        source: where it comes from.
        listed: what a repository's index says of it, where that was read already.
        credentials: for a repository or registry that wants some; they never reach another host.
        ca_file: PEM of a further CA to trust.
        routes: where to connect instead.
        deadline: seconds for all of it.
        scheme: ``http`` for an OCI registry without TLS.

    Raises:
        Unmeasured: ``connect:`` refuses an address, or the CA file can't be read.
    """
    asking = _Asking(credentials, ca_file, routes, deadline)
    archive = b""
    try:
        if source.kind == "local":
            path = Path(source.place)
            package = ChartPackage.open(path)
            archive = b"" if path.is_dir() else path.read_bytes()
        else:
            archive = (
                _from_repository(source, asking, listed)
                if source.kind == "repository"
                else _from_oci(source, asking, scheme)
            )
            package = ChartPackage.from_archive(archive, source=str(source))
    except _Unobtainable as error:
        return _failed(source, asking, error.fault, error.cause)
    except NoReply as error:
        return _failed(source, asking, error.fault, error.cause)
    except Refused as error:
        return _failed(source, asking, error.fault, error.cause)
    except NotAChartError as error:
        return _failed(source, asking, ReleaseFault.CHART_MISSING, str(error))
    return FetchedChart(
        target=str(source),
        version=package.version,
        app_version=package.app_version,
        digest=hashlib.sha256(archive).hexdigest() if archive else "",
        package=package,
        evidence=asking.evidence(source.command, f"{package.name} {package.version}, runner {package.app_version}"),
    )


def _failed(source: Source, asking: _Asking, fault: Fault, cause: str) -> FetchedChart:
    return FetchedChart(target=str(source), fault=fault, cause=cause, evidence=asking.evidence(source.command, cause))


class _Asking:
    """Exchanges that share one deadline and one login."""

    def __init__(self, credentials: Credentials | None, ca_file: Path | None, routes: Routes, deadline: float) -> None:
        self.credentials, self.ca_file, self.routes, self.deadline = credentials, ca_file, routes, deadline
        self._began = time.monotonic()
        self.noted: list[str] = []

    @property
    def took(self) -> float:
        return time.monotonic() - self._began

    def evidence(self, command: ShellCommand, last: str) -> Evidence:
        return Evidence(where="here", command=command, observed="\n".join([*self.noted, last]), took=self.took)

    def get(self, url: str, *, home: str, longest: int) -> Reply:
        """Follow a URL to its content; the login goes to the repository's own origin alone."""
        for _ in range(_MOST_REDIRECTS + 1):
            headers = {}
            if self.credentials is not None and origin_of(url) == origin_of(home):
                headers["Authorization"] = f"Basic {self.credentials.basic}"
            left = max(0.05, self.deadline - self.took)
            reply = exchange(
                url, routes=self.routes, ca_file=self.ca_file, deadline=left, headers=headers, longest=longest + 1
            )
            self.noted.append(f"GET {url.partition('?')[0]}: {reply.status} {reply.reason}".rstrip())
            if reply.status in _MOVED and "location" in reply.headers:
                url = urljoin(url, reply.headers["location"])
                continue
            if reply.status != _OK:
                asks = {_UNAUTHORIZED: ", which asks for a login", _FORBIDDEN: ", which refuses the login"}
                login = asks.get(reply.status, "") if origin_of(url) == origin_of(home) else ""
                cause = f"{url.partition('?')[0]} answered {reply.status} {reply.reason}".rstrip() + login
                missing = reply.status == _NOT_FOUND and not url.endswith("/index.yaml")
                raise _Unobtainable(ReleaseFault.CHART_MISSING if missing else ReleaseFault.HTTP_STATUS, cause)
            if len(reply.body) > longest:
                raise _Unobtainable(ReleaseFault.NOT_A_REPOSITORY, f"{url} sends more than {longest} bytes")
            return reply
        raise _Unobtainable(ReleaseFault.HTTP_STATUS, f"{home} redirects more than {_MOST_REDIRECTS} times")


# ---- a repository ---------------------------------------------------------------------------------------------------


def _from_repository(source: Source, asking: _Asking, listed: ChartVersion | None) -> bytes:
    if listed is None:
        index = asking.get(f"{source.place}/index.yaml", home=source.place, longest=LARGEST_INDEX)
        listed = read_index(index.text, source.version, repository=source.place)
    if listed.fault is not None:
        raise _Unobtainable(listed.fault, listed.cause)
    if not listed.url:
        raise _Unobtainable(ReleaseFault.CHART_MISSING, f"{source.place} lists {CHART} {source.version} without a file")
    if listed.url.startswith(OCI):
        raise _Unobtainable(
            ReleaseFault.CHART_MISSING, f"{source.place} keeps the package at {listed.url}: write that reference"
        )
    archive = asking.get(listed.url, home=source.place, longest=LARGEST_ARCHIVE).body
    _require_digest(archive, listed.digest, source)
    return archive


def _require_digest(archive: bytes, digest: str, source: Source) -> None:
    expected = digest.removeprefix("sha256:")
    if expected and hashlib.sha256(archive).hexdigest() != expected:
        cause = f"the package of {source} is not the one that its index describes: its SHA-256 differs"
        raise _Unobtainable(ReleaseFault.CHART_MISSING, cause)


# ---- a registry -----------------------------------------------------------------------------------------------------


def _from_oci(source: Source, asking: _Asking, scheme: str) -> bytes:
    tag = source.version.replace("+", "_")  # a tag takes no plus sign
    try:
        reference = parse_reference(f"{source.place.removeprefix(OCI)}:{tag}")
    except ValueError:
        cause = f"{source} is no reference of a chart: oci://HOST/PATH and a version"
        raise _Unobtainable(RegistryFault.NOT_FOUND, cause) from None
    registry = Conversation(
        reference.host,
        scheme=scheme,
        credentials=asking.credentials,
        ca_file=asking.ca_file,
        routes=asking.routes,
        deadline=asking.deadline,
    )
    scope = f"repository:{reference.repository}:pull"
    try:
        path = f"/v2/{reference.repository}/manifests/{reference.ref}"
        reply, _ = registry.answer(path, scope=scope, accept=_MANIFEST)
        if reply.status == _NOT_FOUND:
            raise Refused(RegistryFault.NOT_FOUND, f"{reference.host} has no {source}{error_suffix(reply)}")
        registry.judge(reply)
        digest = _layer(reply, source)
        reply, _ = registry.answer(f"/v2/{reference.repository}/blobs/{digest}", scope=scope)
        registry.judge(reply)
    finally:
        asking.noted += registry.record
    _require_digest(reply.body, digest, source)
    return reply.body


def _layer(reply: Reply, source: Source) -> str:
    """The digest of the layer that is the chart's package."""
    manifest = reply.json()
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        if (
            isinstance(layer, dict)
            and layer.get("mediaType") == CONTENT
            and str(layer.get("digest")).startswith("sha256:")
        ):
            return str(layer["digest"])
    raise Refused(RegistryFault.NOT_FOUND, f"{source} is there, and is no Helm chart: none of its layers is a package")
