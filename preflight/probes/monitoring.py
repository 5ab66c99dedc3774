"""What the managers report of themselves: their metrics, through the API server's proxy, and events about them.

Each manager pod has metrics of its own, so a port-forward to the Deployment would show one of several. A poll for a job
is counted by GitLab's answer: 204 (none) and 201 (one) are right, 403 means that GitLab refuses the token, -1 that it
was not reached (docs/sources.md#manager-metrics). The counters begin at zero with each pod, and a label appears only
with its first event, so that what is absent is no failure. A counter tells what has been, and its growth what is: polls
that were refused or lost are counted a second time, and only what is added meanwhile is the present.
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
from preflight.probes.release import describe_duration
from preflight.shell_command import program

Json = dict[str, Any]

PORT = 9252  # of the chart's metrics.port, unless the values say otherwise
_NOT_FOUND = 404
_ANSWERED = ("204", "201")
_REFUSED = "403"
_BETWEEN_PAGES = 1.0  # seconds between two readings of a manager's metrics
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w{1,100})="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPod:
    """One manager pod whose container runs.

    Attributes:
        name: the pod's.
        image: of its container.
        ready: whether its kubelet says so; one that only starts has nobody on its port yet.
    """

    name: str
    image: str
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The metrics of one manager.

    Attributes:
        pod: whose.
        image: of its container.
        version: the runner's, such as ``18.3.0``.
        polls: requests for a job, by GitLab's answer: ``204``, ``201``, ``403``, ``-1``, ….
        system_id: the name by which GitLab knows the manager; empty if the runner does not tell.
    """

    pod: str
    image: str
    version: str = ""
    polls: Mapping[str, int] = field(default_factory=dict)
    system_id: str = ""

    @property
    def failed(self) -> int:
        """How many of the polls GitLab did not answer with a job, or with none."""
        return sum(count for status, count in self.polls.items() if status not in _ANSWERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerMetrics(Fact):
    """The metrics of all managers; the fault is the first one's that has one."""

    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class PollGrowth:
    """The polls of one manager that were added while it was watched.

    Attributes:
        pod: whose.
        seconds: how long it was watched; 0 if none of its polls has ever failed, which makes watching needless.
        added: the polls added, by GitLab's answer; all of them where it was not watched.
        system_id: the name by which GitLab knows the manager.
    """

    pod: str
    seconds: float = 0.0
    added: Mapping[str, int] = field(default_factory=dict)
    system_id: str = ""

    @property
    def accepted(self) -> int:
        """Polls that GitLab answered with a job, or with none."""
        return sum(self.added.get(status, 0) for status in _ANSWERED)

    @property
    def refused(self) -> int:
        """Polls whose token GitLab refused."""
        return self.added.get(_REFUSED, 0)

    @property
    def failed(self) -> int:
        """Polls that failed in any other way."""
        return sum(self.added.values()) - self.accepted - self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerActivity(Fact):
    """What the managers' polls come to now; a manager without metrics is missing."""

    growth: tuple[PollGrowth, ...] = ()

    @property
    def polling(self) -> frozenset[str]:
        """The pods whose polls GitLab accepts now."""
        return frozenset(manager.pod for manager in self.growth if manager.accepted)

    def system_id(self, pod: str) -> str:
        """The name by which GitLab knows a pod's manager, or ""."""
        return next((manager.system_id for manager in self.growth if manager.pod == pod), "")


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
            running.append(
                ManagerPod(
                    name=str(item["metadata"]["name"]),
                    image=str(containers[0].get("image", "")),
                    ready=all(item_status.get("ready", True) for item_status in statuses),
                )
            )
    return tuple(sorted(running, key=lambda pod: pod.name))


def metrics(api: Api, namespace: str, managers: Sequence[ManagerPod], *, port: int = PORT) -> ManagerMetrics:
    """Ask every manager for its metrics.

    One that refuses the connection and is not ready has no fault here: whether it gets ready is judged elsewhere.

    Raises:
        Unmeasured: the right to the pods' proxy is missing, or the API server has no way to the pod network.
    """
    began = time.monotonic()
    pages: list[Page] = []
    silent: list[tuple[str, MetricsFault, str]] = []
    lines: list[str] = []
    for manager in managers:
        try:
            text = api.text(_page_path(namespace, manager.name, port))
        except ApiError as error:
            if error.status == _NOT_FOUND and error.reason:
                continue  # the pod has gone in the meantime
            if error.status is None or not ("connection refused" in error.message or error.status == _NOT_FOUND):
                raise unmeasured(error) from error
            off = error.status != _NOT_FOUND
            if off and not manager.ready:
                lines.append(f"{manager.name}: not ready, and no metrics yet: {error.message}")
                continue
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
    version = system_id = ""
    polls: dict[str, int] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None:
            continue
        labels = dict(_LABEL.findall(sample["labels"] or ""))
        system_id = system_id or labels.get("system_id", "")
        if sample["name"] == "gitlab_runner_version_info":
            version = labels.get("version", "")
        if sample["name"] == "gitlab_runner_api_request_statuses_total" and labels.get("endpoint") == "request_job":
            status = labels.get("status", "")
            polls[status] = polls.get(status, 0) + round(float(sample["value"]))
    return Page(pod=manager.name, image=manager.image, version=version, polls=polls, system_id=system_id)


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


def activity(
    api: Api, namespace: str, measured: ManagerMetrics, *, port: int = PORT, deadline: float
) -> ManagerActivity:
    """Watch the managers of which some polls have failed, until each has polled again.

    Args:
        api: the cluster's API.
        namespace: the managers'.
        measured: their first pages.
        port: of their metrics.
        deadline: seconds to wait for the next poll; GitLab may hold one for 50 s if it has no job.
    """
    began = time.monotonic()
    growth = {page.pod: PollGrowth(page.pod, 0.0, page.polls, page.system_id) for page in measured.pages}
    watched = {page.pod: page for page in measured.pages if page.failed}
    growth.update({name: PollGrowth(name, system_id=page.system_id) for name, page in watched.items()})
    waiting = dict(watched)
    while waiting and time.monotonic() - began < deadline:
        time.sleep(min(_BETWEEN_PAGES, deadline))
        for name, before in list(waiting.items()):
            try:
                now = read_page(
                    api.text(_page_path(namespace, name, port)), ManagerPod(name=name, image=before.image)
                ).polls
            except ApiError:  # it has gone, or ends just now: its pod tells that
                del waiting[name]
                continue
            added = {status: count - before.polls.get(status, 0) for status, count in now.items()}
            if min(added.values(), default=0) < 0:  # a restart has begun the counters anew
                added = dict(now)
            growth[name] = PollGrowth(name, time.monotonic() - began, _positive(added), before.system_id)
            if growth[name].added:
                del waiting[name]
    return _judge_growth(measured, tuple(growth.values()))


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {status: count for status, count in counts.items() if count > 0}


def _page_path(namespace: str, pod: str, port: int) -> str:
    return f"/api/v1/namespaces/{path_segment(namespace)}/pods/http:{path_segment(pod)}:{port}/proxy/metrics"


def _judge_growth(measured: ManagerMetrics, growth: tuple[PollGrowth, ...]) -> ManagerActivity:
    """Faulty if GitLab refuses the polls of a manager now, or none of them gets through."""
    fault: MetricsFault | None = None
    cause = ""
    for manager in growth:
        within = f"within {manager.seconds:.0f} s"
        if manager.refused and not manager.accepted:
            fault = MetricsFault.POLLS_REJECTED
            cause = f"GitLab refused {manager.refused} polls of manager {manager.pod} (403) {within}, and accepted none"
            break
        if manager.failed and not manager.accepted and fault is None:
            fault = MetricsFault.POLLS_FAILED
            statuses = ", ".join(manager.added)
            cause = f"{manager.failed} polls of manager {manager.pod} failed ({statuses}) {within}, and none succeeded"
    lines = [
        f"{manager.pod}: polls added "
        + (f"within {manager.seconds:.0f} s: " if manager.seconds else "since its start: ")
        + (", ".join(f"{status}: {count}" for status, count in manager.added.items()) or "none")
        for manager in growth
    ]
    evidence = measured.evidence
    return ManagerActivity(
        target=measured.target,
        growth=growth,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where=evidence.where,
            command=evidence.command,
            observed="\n".join([evidence.observed, *lines]),
            took=max([evidence.took, *(manager.seconds for manager in growth)]),
        ),
    )


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
        items = api.items(deployments, metadata_only=True, labelSelector=f"release={release}")
        names = [str(item["metadata"]["name"]) for item in items]
        events = list(api.items(path, fieldSelector=query)) if names else []
    except ApiError as error:
        raise unmeasured(error) from error
    since = datetime.now(UTC) - timedelta(seconds=within)
    lines = read_warnings(events, names, since=since, now=datetime.now(UTC))
    return Warnings(
        target=namespace,
        lines=lines,
        fault=MetricsFault.WARNINGS if lines else None,
        cause=f"{len(lines)} warnings about {', '.join(names)} lately, the last {lines[-1]}" if lines else "",
        evidence=Evidence(
            where="here",
            command=kubectl("GET", path, {"fieldSelector": query}),
            observed="\n".join(lines) or "none",
            took=time.monotonic() - began,
        ),
    )


def read_warnings(events: Iterable[Json], names: Sequence[str], *, since: datetime, now: datetime) -> tuple[str, ...]:
    """The warnings about objects of these names and what is derived from them, oldest first, each with its age."""
    lines: list[tuple[datetime, str]] = []
    for event in events:
        subject = event.get("involvedObject") or {}
        name = str(subject.get("name", ""))
        when = _moment(event)
        if when < since or not any(name == owner or name.startswith(f"{owner}-") for owner in names):
            continue
        times = f" ({event['count']} times)" if int(event.get("count") or 1) > 1 else ""
        kind = str(subject.get("kind", "")).lower()
        age = describe_duration((now - when).total_seconds())
        lines.append((when, f"{age} ago: {event.get('reason')}  {kind}/{name}  {event.get('message')}{times}"))
    return tuple(line for _, line in sorted(lines))


def _moment(event: Json) -> datetime:
    series = event.get("series") or {}
    for text in (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime")):
        with suppress(ValueError):  # not a time
            moment = datetime.fromisoformat(str(text or ""))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)
