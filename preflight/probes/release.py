"""The release as Helm keeps it: its records are Secrets in the release's namespace, one a revision; no helm is needed.

A record is base64 of gzip of JSON, inside of a Secret's own base64 (or plain in a ConfigMap, with ``HELM_DRIVER=
configmap``): reference §1.6. It holds the values in clear, the runner's token among them, so records never become a
fact; what is told of them is read from them by `read_release` and `preflight.probes.values_drift`.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ReleaseFault
from preflight.probes.values_drift import remember_secrets

Json = dict[str, Any]

_LARGEST = 64 * 2**20  # bytes of one record, unpacked; a Secret holds at most one MiB packed
_NOT_FOUND = 404
_GZIP = b"\x1f\x8b\x08"


class NotARecordError(ValueError):
    """What stands in the Secret is nothing that Helm writes."""


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
        found = self.body.get("config")
        return found if isinstance(found, Mapping) else {}

    @property
    def chart(self) -> Mapping[str, Any]:
        """The chart's metadata."""
        found = (self.body.get("chart") or {}).get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def description(self) -> str:
        """What Helm noted about the operation's end."""
        return str((self.body.get("info") or {}).get("description", ""))

    @property
    def changed(self) -> float | None:
        """When the operation began, seconds since 1970."""
        try:
            return datetime.fromisoformat(str((self.body.get("info") or {}).get("last_deployed"))).timestamp()
        except ValueError:
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
        return next((one for one in reversed(self.records) if one.status in {"deployed", "superseded"}), None)

    @property
    def command(self) -> str:
        """What a person would ask."""
        return f"helm history {self.name} -n {self.namespace}"

    @property
    def shown(self) -> str:
        """As ``helm history`` prints it."""
        return "\n".join(
            f"{one.revision}  {one.status}  {one.chart.get('name', '?')}-{one.chart.get('version', '?')}  "
            f"{one.broken or one.description}"
            for one in self.records
        )


def history(api: Api, name: str, namespace: str) -> History:
    """Read the records of a release, from Secrets or else from ConfigMaps.

    Raises:
        Unmeasured: the API could not be asked, or Secrets may not be listed.
    """
    began = time.monotonic()
    found: list[Record] = []
    for resource in ("secrets", "configmaps"):
        path, selector = f"/api/v1/namespaces/{path_segment(namespace)}/{resource}", f"owner=helm,name={name}"
        try:
            found = read_records(api.items(path, labelSelector=selector), resource)
        except ApiError as error:
            if (resource == "configmaps" and error.rule) or without_namespace(api, namespace, error):
                break  # the second place to look, which hardly anybody uses; or nothing can be there
            raise unmeasured(error) from error
        if found:
            break
    return History(name=name, namespace=namespace, records=tuple(found), took=time.monotonic() - began)


def without_namespace(api: Api, namespace: str, refusal: ApiError) -> bool:
    """Whether a look into a namespace was refused because it is not there: a Role is gone with its namespace."""
    if not refusal.rule:
        return False
    try:
        api.get(f"/api/v1/namespaces/{path_segment(namespace)}")
    except ApiError as error:
        return error.status == _NOT_FOUND
    return False


def read_records(items: Iterable[Json], resource: str = "secrets") -> list[Record]:
    """The records in a list of Secrets (or ConfigMaps), the oldest first; their secrets are remembered."""
    found: list[Record] = []
    for item in items:
        meta = item.get("metadata", {})
        labels = meta.get("labels") or {}
        body: Json = {}
        broken = ""
        try:
            body = decode(str((item.get("data") or {}).get("release", "")), wrapped=resource == "secrets")
        except NotARecordError as error:
            broken = str(error)
        record = Record(
            revision=_whole(body.get("version", labels.get("version"))),
            status=str((body.get("info") or {}).get("status") or labels.get("status", "")),
            body=body,
            broken=broken,
            kept_in=f"{resource.removesuffix('s')}/{meta.get('name', '')}",
        )
        remember_secrets(record.values)
        found.append(record)
    return sorted(found, key=lambda one: one.revision)


def _whole(value: Any) -> int:
    return int(value) if str(value).isdigit() else 0


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
                raise NotARecordError("it is larger than any release")
            if not unpacked.eof:
                raise NotARecordError("it is cut short")
        body = json.loads(data)
    except (binascii.Error, zlib.error, UnicodeError, RecursionError, json.JSONDecodeError) as error:
        raise NotARecordError(f"it is no record of Helm's ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise NotARecordError("it is no record of Helm's (no object)")
    return body


# ---- what the records say -------------------------------------------------------------------------------------------


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


def read_release(found: History, *, now: float) -> Release:
    """The fact from a release's records, of which there is at least one."""
    newest = found.records[-1]
    age = None if newest.changed is None else max(0.0, now - newest.changed)
    fault, cause = _judged(found, newest, age)
    return Release(
        target=found.name,
        revision=newest.revision,
        status=newest.status,
        chart=str(newest.chart.get("version", "")),
        app_version=str(newest.chart.get("appVersion", "")),
        age=age,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=found.command, observed=found.shown, took=found.took),
    )


def _judged(found: History, newest: Record, age: float | None) -> tuple[ReleaseFault | None, str]:
    since = f" since {spoken(age)}" if age is not None else ""
    about = f"revision {newest.revision} of {found.name}"
    before = next((one for one in reversed(found.records[:-1]) if one.status == "deployed"), None)
    standing = f"; revision {before.revision} is the one deployed" if before else ""
    if newest.broken:
        return ReleaseFault.UNREADABLE, f"{newest.kept_in} can't be read: {newest.broken}"
    if newest.status == "deployed":
        return None, ""
    if newest.status.startswith("pending") or newest.status == "uninstalling":
        return ReleaseFault.PENDING, f"{about} is {newest.status}{since}{standing}: Helm refuses any other operation"
    said = f": {newest.description}" if newest.description else ""
    return ReleaseFault.FAILED, f"{about} is {newest.status}{since}{standing}{said}"


def spoken(seconds: float) -> str:
    """A time span in the largest unit that fits: ``42 s``, ``14 min``, ``5 h``, ``3 days``."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def absent(name: str, namespace: str, *, took: float = 0.0) -> Release:
    """A release of which Helm knows nothing, where one is expected."""
    return Release(
        target=name,
        fault=ReleaseFault.MISSING,
        cause=f"Helm has no release {name} in namespace {namespace}",
        evidence=Evidence(
            where="here",
            command=f"helm history {name} -n {namespace}",
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


def documents(found: History) -> Sequence[tuple[str, Any]]:
    """What a backup holds, by file name: the values that were given, and the whole record (``helm get all``)."""
    record = found.deployed or found.records[-1]
    stem = f"{found.name}-r{record.revision}"
    return ((f"{stem}-values.yaml", dict(record.values)), (f"{stem}-release.json", dict(record.body)))
