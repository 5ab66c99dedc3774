"""The release as Helm keeps it: its records are Secrets in the release's namespace, one a revision; no helm is needed.

A record is base64 of gzip of JSON, inside of a Secret's own base64, or plain in a ConfigMap with
``HELM_DRIVER=configmap`` (docs/sources.md#helm-record). It holds the values in clear, the runner's token among them,
so records never become a fact; what is reported of them is read by `read_release` and `preflight.probes.values_drift`.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from preflight import rendering
from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.documents import load_json
from preflight.evidence import Evidence, Fact
from preflight.faults import ReleaseFault
from preflight.probes.values_drift import remember_secrets
from preflight.rendering import NotAManifestError, Rendering
from preflight.shell_command import ShellCommand, program

Json = dict[str, Any]

_LARGEST = 8 * 2**20  # bytes of one record, unpacked: the chart of GitLab Runner makes less than one MiB
_DIGITS = 10  # of a revision's number
_NOT_FOUND = 404
_GZIP = b"\x1f\x8b\x08"


class NotARecordError(ValueError):
    """The object holds no record that Helm could have written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One revision of a release.

    Attributes:
        status: ``deployed``, ``superseded``, ``failed``, ``pending-upgrade``, …
        body: the whole record, decoded; it holds secrets.
        broken: why it could not be decoded, or "".
        kept_in: the object that holds it, such as ``secret/sh.helm.release.v1.gitlab-runner.v1``.
    """

    revision: int
    status: str
    body: Mapping[str, Any] = field(repr=False, default_factory=dict)
    broken: str = ""
    kept_in: str = ""

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that the user gave, without the chart's defaults."""
        return _mapping(self.body.get("config"))

    @property
    def chart(self) -> Mapping[str, Any]:
        """The chart's metadata."""
        return _mapping(_mapping(self.body.get("chart")).get("metadata"))

    @property
    def description(self) -> str:
        """What Helm noted about the operation's end."""
        return str(_mapping(self.body.get("info")).get("description", ""))

    @property
    def changed(self) -> float | None:
        """When the operation began, seconds since 1970."""
        try:
            return datetime.fromisoformat(str(_mapping(self.body.get("info")).get("last_deployed"))).timestamp()
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Every record of a release, the newest last; no fact, since records hold secrets."""

    name: str
    namespace: str
    records: tuple[Record, ...]
    took: float = 0.0

    @property
    def newest(self) -> Record | None:
        """The last revision; None without any, or once the release was uninstalled (``--keep-history``)."""
        last = self.records[-1] if self.records else None
        return None if last is None or last.status == "uninstalled" else last

    @property
    def deployed(self) -> Record | None:
        """The last revision that was deployed with success."""
        return _running(self.records)

    @property
    def command(self) -> ShellCommand:
        """The helm command that shows the same."""
        return program("helm", "history", self.name, "-n", self.namespace)

    @property
    def shown(self) -> str:
        """As ``helm history`` prints it."""
        return "\n".join(
            f"{record.revision}  {record.status}  {record.chart.get('name', '?')}-{record.chart.get('version', '?')}  "
            f"{record.broken or record.description}"
            if record.body or record.broken
            else f"{record.revision}  {record.status}"
            for record in self.records
        )


def history(api: Api, name: str, namespace: str) -> History:
    """Read the records of a release, from Secrets or else from ConfigMaps.

    Raises:
        Unmeasured: the API could not be asked, or Secrets may not be listed.
    """
    began = time.monotonic()
    records: list[Record] = []
    for resource in ("secrets", "configmaps"):
        path, selector = f"/api/v1/namespaces/{path_segment(namespace)}/{resource}", f"owner=helm,name={name}"
        try:
            records = read_records(api.items(path, labelSelector=selector), resource)
        except ApiError as error:
            if (resource == "configmaps" and error.rule) or without_namespace(api, namespace, error):
                break  # where hardly anybody keeps records; or the namespace is not there
            raise unmeasured(error) from error
        if records:
            break
    return History(name=name, namespace=namespace, records=tuple(records), took=time.monotonic() - began)


def without_namespace(api: Api, namespace: str, refusal: ApiError) -> bool:
    """Whether a request was refused because its namespace is not there: a Role is gone with its namespace."""
    if not refusal.rule:
        return False
    try:
        api.get(f"/api/v1/namespaces/{path_segment(namespace)}")
    except ApiError as error:
        return error.status == _NOT_FOUND
    return False


def read_records(items: Iterable[Json], resource: str = "secrets") -> list[Record]:
    """The records in a list of Secrets (or ConfigMaps), the oldest first; their secrets are remembered.

    Of each release the newest revision and the one that is deployed are decoded: what is judged, and what runs. Of the
    others the labels say enough, and each may unpack to megabytes.
    """
    listed: dict[str, list[tuple[Record, str]]] = {}
    for item in items:
        meta = item.get("metadata") or {}
        labels = _mapping(meta.get("labels"))
        record = Record(
            revision=_integer(labels.get("version")) or _integer(str(meta.get("name", "")).rpartition(".v")[2]),
            status=str(labels.get("status", "")),
            kept_in=f"{resource.removesuffix('s')}/{meta.get('name', '')}",
        )
        packed = str(_mapping(item.get("data")).get("release", ""))
        listed.setdefault(str(labels.get("name", "")), []).append((record, packed))
    records: list[Record] = []
    for revisions in listed.values():
        revisions.sort(key=lambda revision: revision[0].revision)
        judged = {id(revisions[-1][0]), id(_running([record for record, _ in revisions]))}
        records += [
            _decoded(record, packed, wrapped=resource == "secrets") if id(record) in judged else record
            for record, packed in revisions
        ]
    return sorted(records, key=lambda record: record.revision)


def _running(records: Sequence[Record]) -> Record | None:
    """The last revision that was deployed with success."""
    deployed = [record for record in records if record.status == "deployed"]
    return next(reversed(deployed or [record for record in records if record.status == "superseded"]), None)


def _decoded(record: Record, packed: str, *, wrapped: bool) -> Record:
    try:
        body = decode(packed, wrapped=wrapped)
    except NotARecordError as error:
        return replace(record, broken=str(error))
    decoded = replace(
        record,
        revision=_integer(body.get("version")) or record.revision,
        status=str(_mapping(body.get("info")).get("status") or record.status),
        body=body,
    )
    remember_secrets(decoded.values)
    return decoded


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _integer(value: Any) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0


def decode(text: str, *, wrapped: bool = True) -> Json:
    """A record from ``data.release``; `wrapped` is the Secret's own base64 around it.

    Raises:
        NotARecordError: it is not base64, gzip or JSON, or larger than any release.
    """
    try:
        data = base64.b64decode(text.encode(), validate=True)
        if wrapped:
            data = base64.b64decode(data, validate=True)
        if data.startswith(_GZIP):
            unpacked = zlib.decompressobj(wbits=31)
            data = unpacked.decompress(data, _LARGEST)
            if unpacked.unconsumed_tail:
                raise NotARecordError(f"it unpacks to more than {_LARGEST >> 20} MiB, larger than any release")
            if not unpacked.eof:
                raise NotARecordError("it is cut short")
        if len(data) > _LARGEST:
            raise NotARecordError(f"it is larger than {_LARGEST >> 20} MiB, and so than any release")
        body = load_json(data)
    except (zlib.error, ValueError) as error:  # a ValueError is what base64, Unicode and JSON raise
        if isinstance(error, NotARecordError):
            raise
        raise NotARecordError(f"it is no record of Helm's ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise NotARecordError("it is no record of Helm's (no object)")
    return body


def rendered(record: Record, name: str, namespace: str) -> Rendering | None:
    """The objects of a revision, from the manifest in its record; None if it holds none that can be read."""
    manifest = record.body.get("manifest")
    if not isinstance(manifest, str) or not manifest.strip():
        return None
    try:
        return rendering.read(manifest, release=name, namespace=namespace)
    except NotAManifestError:
        return None


# ---- what the records hold ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Fact):
    """The release's last revision.

    Attributes:
        revision: counts every install, upgrade and rollback.
        status: Helm's word.
        chart: the chart's version, such as ``0.80.0``.
        app_version: the runner's version that this chart installs by default.
        age: seconds since the operation began; None if the record does not say.
    """

    revision: int = 0
    status: str = ""
    chart: str = ""
    app_version: str = ""
    age: float | None = None


def read_release(history: History, *, now: float) -> Release:
    """The fact from a release's records, of which there is at least one."""
    newest = history.records[-1]
    age = None if newest.changed is None else max(0.0, now - newest.changed)
    fault, cause = _judge(history, newest, age)
    return Release(
        target=history.name,
        revision=newest.revision,
        status=newest.status,
        chart=str(newest.chart.get("version", "")),
        app_version=str(newest.chart.get("appVersion", "")),
        age=age,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=history.command, observed=history.shown, took=history.took),
    )


def _judge(history: History, newest: Record, age: float | None) -> tuple[ReleaseFault | None, str]:
    fault, cause = _judge_newest(history, newest, age)
    unreadable = "; ".join(
        f"{record.kept_in} can't be read: {record.broken}" for record in reversed(history.records) if record.broken
    )
    if not unreadable:
        return fault, cause
    if fault is None or newest.broken:
        return ReleaseFault.UNREADABLE, unreadable
    return fault, f"{cause}; {unreadable}"


def _judge_newest(history: History, newest: Record, age: float | None) -> tuple[ReleaseFault | None, str]:
    since = f" since {describe_duration(age)}" if age is not None else ""
    about = f"revision {newest.revision} of {history.name}"
    before = next((record for record in reversed(history.records[:-1]) if record.status == "deployed"), None)
    standing = f"; revision {before.revision} is the one deployed" if before else ""
    if newest.status == "deployed":
        return None, ""
    if newest.status.startswith("pending") or newest.status == "uninstalling":
        return ReleaseFault.PENDING, f"{about} is {newest.status}{since}{standing}: Helm refuses any other operation"
    description = f": {newest.description}" if newest.description else ""
    return ReleaseFault.FAILED, f"{about} is {newest.status}{since}{standing}{description}"


def describe_duration(seconds: float) -> str:
    """A time span in the largest unit that fits: ``42 s``, ``14 min``, ``5 h``, ``3 days``."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def absent(name: str, namespace: str, *, took: float = 0.0) -> Release:
    """A release that Helm has no record of, where one is expected."""
    return Release(
        target=name,
        fault=ReleaseFault.MISSING,
        cause=f"Helm has no release {name} in namespace {namespace}",
        evidence=Evidence(
            where="here",
            command=program("helm", "history", name, "-n", namespace),
            observed="Error: release: not found",
            took=took,
        ),
    )


def with_chart(release: Release, chart: str) -> Release:
    """The release; faulty if its chart is another one than expected."""
    if release.chart == chart:
        return release
    return replace(
        release,
        fault=ReleaseFault.WRONG_CHART,
        cause=f"{release.target} was installed from chart {release.chart}, the inventory says {chart}",
    )


def documents(history: History) -> Sequence[tuple[str, Any]]:
    """What a backup holds, by file name: the values that were given, and the whole record (``helm get all``)."""
    record = history.deployed or history.records[-1]
    stem = f"{history.name}-r{record.revision}"
    return ((f"{stem}-values.yaml", dict(record.values)), (f"{stem}-release.json", dict(record.body)))
