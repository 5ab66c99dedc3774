"""What the managers report of themselves: their metrics, through the API server's proxy, and events about them.

Each manager pod has metrics of its own, so a port-forward to the Deployment would show one of several. A poll for a job
is counted by GitLab's answer: 204 (none) and 201 (one) are right, 403 means that GitLab refuses the token, -1 that it
was not reached (docs/sources.md#manager-metrics). The counters begin at zero with each pod, and a label appears only
with its first event, so that what is absent is no failure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact
from preflight.faults import MetricsFault
from preflight.shell_command import program

Json = dict[str, Any]

PORT = 9252  # of the chart's metrics.port, unless the values say otherwise
_NOT_FOUND = 404
_ANSWERED = ("204", "201")
_REFUSED, _FAILED = "403", "-1"
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w{1,100})="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPod:
    """One manager pod whose container runs.

    Attributes:
        name: the pod's.
        image: of its container.
    """

    name: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The metrics of one manager.

    Attributes:
        pod: whose.
        image: of its container.
        version: the runner's, such as ``18.3.0``.
        polls: requests for a job, by GitLab's answer: ``204``, ``201``, ``403``, ``-1``, ….
    """

    pod: str
    image: str
    version: str = ""
    polls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerMetrics(Fact):
    """The metrics of all managers; the fault is the first one's that has one."""

    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Warnings(Fact):
    """What the cluster has warned of lately, about the managers.

    Attributes:
        lines: a warning each.
    """

    lines: tuple[str, ...] = ()


def manager_pods(api: Api, namespace: str, release: str) -> tuple[ManagerPod, ...]:
    """The release's manager pods whose container runs.

    Raises:
        Unmeasured: the API could not be asked.
    """
    try:
        return read_manager_pods(
            api.items(f"/api/v1/namespaces/{path_segment(namespace)}/pods", labelSelector=f"release={release}")
        )
    except ApiError as error:
        raise unmeasured(error) from error


def read_manager_pods(items: Iterable[Json]) -> tuple[ManagerPod, ...]:
    """The same from the items of a PodList."""
    running = []
    for item in items:
        statuses = item.get("status", {}).get("containerStatuses") or ()
        if statuses and all("running" in (item_status.get("state") or {}) for item_status in statuses):
            containers: Sequence[Json] = item.get("spec", {}).get("containers") or ({},)
            running.append(ManagerPod(name=str(item["metadata"]["name"]), image=str(containers[0].get("image", ""))))
    return tuple(sorted(running, key=lambda pod: pod.name))


def metrics(api: Api, namespace: str, managers: Sequence[ManagerPod], *, port: int = PORT) -> ManagerMetrics:
    """Ask every manager for its metrics.

    Raises:
        Unmeasured: the right to the pods' proxy is missing, or the API server has no way to the pod network.
    """
    began = time.monotonic()
    pages: list[Page] = []
    silent: list[tuple[str, MetricsFault, str]] = []
    lines: list[str] = []
    for manager in managers:
        path = (
            f"/api/v1/namespaces/{path_segment(namespace)}/pods/http:{path_segment(manager.name)}:{port}/proxy/metrics"
        )
        try:
            text = api.text(path)
        except ApiError as error:
            if error.status == _NOT_FOUND and error.reason:
                continue  # the pod has gone in the meantime
            if error.status is None or not ("connection refused" in error.message or error.status == _NOT_FOUND):
                raise unmeasured(error) from error
            off = error.status != _NOT_FOUND
            fault = MetricsFault.OFF if off else MetricsFault.GARBLED
            silent.append((manager.name, fault, error.message))
            lines.append(f"{manager.name}: {error.message}")
            continue
        page = read_page(text, manager)
        if not page.version:
            silent.append((manager.name, MetricsFault.GARBLED, "no gitlab_runner_version_info"))
        pages.append(page)
        polls = ", ".join(f"{status}: {count}" for status, count in page.polls.items()) or "none yet"
        lines.append(f"{manager.name}: version {page.version or 'unknown'}, polls {polls}")
    first = managers[0].name if managers else "POD"
    worst: MetricsFault | None = None
    cause = ""
    if silent:
        name, worst, message = silent[0]
        others = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        cause = f"manager {name}{others} gives no metrics on port {port}: {message}"
    return ManagerMetrics(
        target=namespace,
        pages=tuple(pages),
        fault=worst,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program(
                "kubectl", "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/http:{first}:{port}/proxy/metrics"
            ),
            observed="\n".join(lines),
            took=time.monotonic() - began,
        ),
    )


def read_page(text: str, manager: ManagerPod) -> Page:
    """One manager's page, in Prometheus' text format."""
    version = ""
    polls: dict[str, int] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None:
            continue
        labels = dict(_LABEL.findall(sample["labels"] or ""))
        if sample["name"] == "gitlab_runner_version_info":
            version = labels.get("version", "")
        if sample["name"] == "gitlab_runner_api_request_statuses_total" and labels.get("endpoint") == "request_job":
            status = labels.get("status", "")
            polls[status] = polls.get(status, 0) + round(float(sample["value"]))
    return Page(pod=manager.name, image=manager.image, version=version, polls=polls)


def judge_version(measured: ManagerMetrics) -> ManagerMetrics:
    """The same, faulty if a manager is of another version than its image's tag says."""
    mismatched = [
        page for page in measured.pages if (tag := _version_in(page.image)) and tag != page.version.lstrip("v")
    ]
    if not mismatched:
        return measured.only()
    cause = f"manager {mismatched[0].pod} runs {mismatched[0].version}, and its image is {mismatched[0].image}"
    return _with(measured, MetricsFault.WRONG_VERSION, cause)


def _version_in(image: str) -> str:
    tag = re.search(r":[a-z0-9-]*?v(\d+\.\d+\.\d+)$", image)
    return tag[1] if tag else ""


def judge_polls(measured: ManagerMetrics) -> ManagerMetrics:
    """The same, faulty if GitLab refuses the managers' polls, or more of them were lost than answered."""
    for page in measured.pages:
        answered = sum(page.polls.get(status, 0) for status in _ANSWERED)
        refused, lost = page.polls.get(_REFUSED, 0), page.polls.get(_FAILED, 0)
        if refused:
            cause = f"GitLab refused {refused} polls of manager {page.pod} (403), and answered {answered}"
            return _with(measured, MetricsFault.POLLS_REJECTED, cause)
        if lost > answered:
            cause = f"{lost} polls of manager {page.pod} did not reach GitLab (-1), and {answered} were answered"
            return _with(measured, MetricsFault.POLLS_FAILED, cause)
    return measured.only()


def _with(measured: ManagerMetrics, fault: MetricsFault, cause: str) -> ManagerMetrics:
    return ManagerMetrics(
        target=measured.target, pages=measured.pages, fault=fault, cause=cause, evidence=measured.evidence
    )


def warnings(api: Api, namespace: str, release: str, *, within: float) -> Warnings:
    """The Warning events of the last `within` seconds about the release's objects and their pods.

    Raises:
        Unmeasured: events or Deployments may not be read.
    """
    began = time.monotonic()
    path, query = f"/api/v1/namespaces/{path_segment(namespace)}/events", "type=Warning"
    try:
        deployments = f"/apis/apps/v1/namespaces/{path_segment(namespace)}/deployments"
        names = [str(item["metadata"]["name"]) for item in api.items(deployments, labelSelector=f"release={release}")]
        events = list(api.items(path, fieldSelector=query)) if names else []
    except ApiError as error:
        raise unmeasured(error) from error
    since = datetime.now(UTC) - timedelta(seconds=within)
    lines = read_warnings(events, names, since=since)
    return Warnings(
        target=namespace,
        lines=lines,
        fault=MetricsFault.WARNINGS if lines else None,
        cause=f"{len(lines)} warnings about {', '.join(names)} lately, the last: {lines[-1]}" if lines else "",
        evidence=Evidence(
            where="here",
            command=kubectl("GET", path, {"fieldSelector": query}),
            observed="\n".join(lines) or "none",
            took=time.monotonic() - began,
        ),
    )


def read_warnings(events: Iterable[Json], names: Sequence[str], *, since: datetime) -> tuple[str, ...]:
    """The warnings about objects of these names and what is derived from them, oldest first, a line each."""
    lines: list[tuple[datetime, str]] = []
    for event in events:
        subject = event.get("involvedObject") or {}
        name = str(subject.get("name", ""))
        when = _moment(event)
        if when < since or not any(name == owner or name.startswith(f"{owner}-") for owner in names):
            continue
        times = f" ({event['count']} times)" if int(event.get("count") or 1) > 1 else ""
        kind = str(subject.get("kind", "")).lower()
        lines.append((when, f"{event.get('reason')}  {kind}/{name}  {event.get('message')}{times}"))
    return tuple(line for _, line in sorted(lines))


def _moment(event: Json) -> datetime:
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        with suppress(ValueError):  # not a time
            moment = datetime.fromisoformat(str(text or ""))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)
