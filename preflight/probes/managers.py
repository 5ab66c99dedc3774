"""The runner managers: the release's Deployment, its pods, and what they say in their logs.

The chart labels all its objects ``release: NAME`` (reference §1.4), whoever applied them. ``Ready`` does not mean
registered: the readiness probe is a `pgrep` (reference §1.5), so the logs are judged too, by the runner's real strings
(reference §5.2).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact
from preflight.faults import ManagerFault
from preflight.probes.release import spoken, without_namespace

Json = dict[str, Any]

LINES = 2000  # of each log, from its end
_ENOUGH = 2**20  # bytes of one log
_BAD_REQUEST, _NOT_FOUND = 400, 404
_TOLD = 3  # pods that a cause names


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What the cluster has of the release, as raw JSON; no fact, since it is only the ground of several.

    Attributes:
        deployment: the release's Deployment, or None.
        pods: those that its selector chooses, without the ones that have ended or are being deleted.
    """

    release: str
    namespace: str
    deployment: Json | None = field(default=None, repr=False)
    pods: tuple[Json, ...] = field(default=(), repr=False)
    took: float = 0.0

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return str(self.deployment["metadata"]["name"]) if self.deployment else ""

    @property
    def wanted(self) -> int:
        """How many managers there should be."""
        replicas = (self.deployment or {}).get("spec", {}).get("replicas")
        return 1 if replicas is None else int(replicas)

    @property
    def selector(self) -> str:
        """The labels of its pods, as ``kubectl -l`` takes them."""
        labels = ((self.deployment or {}).get("spec", {}).get("selector") or {}).get("matchLabels") or {}
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))

    @property
    def container(self) -> str:
        """The manager's container: the one that the chart names like the Deployment, else the first."""
        template = (self.deployment or {}).get("spec", {}).get("template") or {}
        names = [str(one.get("name", "")) for one in (template.get("spec") or {}).get("containers") or ()]
        return self.name if self.name in names or not names else names[0]


def objects(api: Api, release: str, namespace: str) -> Objects:
    """Find the release's Deployment and its pods.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path = f"/apis/apps/v1/namespaces/{path_segment(namespace)}/deployments"
    try:
        found = list(api.items(path, labelSelector=f"release={release}"))
        deployment = next((one for one in found if release in one["metadata"]["name"]), found[0] if found else None)
        if deployment is None:
            return Objects(release=release, namespace=namespace, took=time.monotonic() - began)
        chosen = Objects(release=release, namespace=namespace, deployment=deployment)
        pods = api.items(f"/api/v1/namespaces/{path_segment(namespace)}/pods", labelSelector=chosen.selector)
        living = tuple(one for one in pods if _living(one))
    except ApiError as error:
        if without_namespace(api, namespace, error):
            return Objects(release=release, namespace=namespace, took=time.monotonic() - began)
        raise unmeasured(error) from error
    return Objects(
        release=release, namespace=namespace, deployment=deployment, pods=living, took=time.monotonic() - began
    )


def _living(pod: Json) -> bool:
    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}  # an evicted pod stays listed for long
    return not ended and "deletionTimestamp" not in pod["metadata"]


# ---- the rollout ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Fact):
    """How far the Deployment's last change has come.

    Attributes:
        wanted: replicas; `updated`: those of the newest template; `total`: all, old ones included.
    """

    wanted: int = 0
    updated: int = 0
    total: int = 0


def read_rollout(found: Objects) -> Rollout:
    """The fact from the Deployment, judged as ``kubectl rollout status`` does; availability is the pods' own matter."""
    deployment = found.deployment
    if deployment is None:
        command = f"kubectl -n {found.namespace} get deployments -l release={found.release}"
        return Rollout(
            target=found.release,
            fault=ManagerFault.DEPLOYMENT_MISSING,
            cause=f"namespace {found.namespace} has no Deployment of release {found.release}",
            evidence=Evidence(where="here", command=command, observed="No resources found", took=found.took),
        )
    meta, status = deployment["metadata"], deployment.get("status", {})
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    said: Json = next((one for one in status.get("conditions") or () if one.get("type") == "Progressing"), {})
    fault, cause = None, ""
    seen = int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0))
    if not seen or updated < found.wanted or total > updated:
        fault = ManagerFault.ROLLOUT_STUCK
        parts = [f"{updated} of {found.wanted} replicas of {found.name} have the newest template"]
        parts += [f"{total - updated} of an older one still run"] if total > updated else []
        parts += ["its controller has not seen the last change yet"] if not seen else []
        parts += [str(said["message"]).rstrip(".")] if said.get("reason") == "ProgressDeadlineExceeded" else []
        parts += [f"{pod['metadata']['name']}: {trouble}" for pod in found.pods if (trouble := _waiting(pod))][:_TOLD]
        cause = "; ".join(parts)
    observed = "\n".join(
        [f"replicas {found.wanted} wanted, {updated} updated, {total} in all, {status.get('availableReplicas', 0)} up"]
        + [f"{one.get('type')}={one.get('status')} {one.get('message', '')}" for one in status.get("conditions") or ()]
    )
    return Rollout(
        target=found.name,
        wanted=found.wanted,
        updated=updated,
        total=total,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=f"kubectl -n {found.namespace} rollout status deployment/{found.name}",
            observed=observed,
            took=found.took,
        ),
    )


# ---- the pods -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPod:
    """One manager pod.

    Attributes:
        restarts: how often its container was started again.
        ended: seconds since it ended the last time; None if it never did.
        end: how it ended then, such as ``OOMKilled, exit 137``.
        trouble: why it is not ready, or "".
    """

    name: str
    node: str = ""
    address: str = ""
    ready: bool = False
    restarts: int = 0
    ended: float | None = None
    end: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPods(Fact):
    """The manager pods."""

    wanted: int = 0
    pods: tuple[ManagerPod, ...] = ()


def read_managers(found: Objects, *, now: float, restart_age: float, released: int | None = None) -> ManagerPods:
    """The fact from the pods of the Deployment.

    Args:
        found: the release's objects.
        now: seconds since 1970.
        restart_age: for how many seconds a restart is a finding.
        released: replicas that the release's values ask for; None if that is not known, or an autoscaler's matter.
    """
    pods = tuple(sorted((_pod(one, now) for one in found.pods), key=lambda one: one.name))
    fault, cause = _judged(pods, found, restart_age)
    if fault is None and released is not None and found.wanted < released:
        fault = ManagerFault.SCALED_DOWN
        cause = f"Deployment {found.name} was scaled to {found.wanted}; the release's values say {released} replicas"
    shown = [
        f"{one.name}  {'ready' if one.ready else one.trouble or 'not ready'}  {one.restarts} restarts"
        + (f" (the last {spoken(one.ended)} ago: {one.end})" if one.ended is not None else "")
        + f"  {one.node}"
        for one in pods
    ]
    return ManagerPods(
        target=found.name,
        wanted=found.wanted,
        pods=pods,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=f"kubectl -n {found.namespace} get pods -l {found.selector} -o wide",
            observed="\n".join(shown) or "No resources found",
            took=found.took,
        ),
    )


def _judged(pods: Sequence[ManagerPod], found: Objects, restart_age: float) -> tuple[ManagerFault | None, str]:
    looping = [one for one in pods if one.trouble.startswith("CrashLoopBackOff")]
    if looping:
        told = _listed(f"{one.name} ended {one.restarts} times, the last with {one.end}" for one in looping)
        return ManagerFault.CRASH_LOOP, f"{len(looping)} of {found.wanted} managers end again and again: {told}"
    if len(pods) < found.wanted:
        return ManagerFault.TOO_FEW, f"{len(pods)} of {found.wanted} managers of {found.name} exist"
    waiting = [one for one in pods if not one.ready]
    if waiting:
        told = _listed(f"{one.name}: {one.trouble or 'not ready'}" for one in waiting)
        return ManagerFault.NOT_READY, f"{len(waiting)} of {found.wanted} managers are not ready: {told}"
    fresh = [one for one in pods if one.ended is not None and one.ended < restart_age]
    if fresh:
        told = _listed(f"{one.name} {spoken(one.ended or 0)} ago: {one.end}" for one in fresh)
        return ManagerFault.RESTARTED, f"{len(fresh)} of {found.wanted} managers were restarted: {told}"
    return None, ""


def _listed(words: Iterator[str] | Any) -> str:
    every = list(words)
    more = f" and {len(every) - _TOLD} more" if len(every) > _TOLD else ""
    return "; ".join(every[:_TOLD]) + more


def _pod(pod: Json, now: float) -> ManagerPod:
    status = pod.get("status", {})
    containers = status.get("containerStatuses") or ()
    ended, end = _last_end(containers, now)
    return ManagerPod(
        name=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ()),
        restarts=sum(int(one.get("restartCount", 0)) for one in containers),
        ended=ended,
        end=end,
        trouble=_waiting(pod),
    )


def _last_end(containers: Sequence[Json], now: float) -> tuple[float | None, str]:
    """How long ago a container ended the last time, and how."""
    ends = [
        end
        for one in containers
        for end in ((one.get("state") or {}).get("terminated"), (one.get("lastState") or {}).get("terminated"))
        if end
    ]
    if not ends:
        return None, ""
    last = max(ends, key=lambda one: str(one.get("finishedAt", "")))
    try:
        at_ = datetime.fromisoformat(str(last.get("finishedAt"))).timestamp()
    except ValueError:
        at_ = now
    return max(0.0, now - at_), f"{last.get('reason') or 'Error'}, exit {last.get('exitCode')}"


def _waiting(pod: Json) -> str:
    """Why a pod's containers do not run, in the API's own words; "" if they do."""
    status = pod.get("status", {})
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if waiting := (one.get("state") or {}).get("waiting"):
            said = str(waiting.get("message", "")).strip()
            return f"{waiting.get('reason', 'waiting')}{f': {said}' if said else ''}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}".rstrip(": ")
    return ""


# ---- the logs -------------------------------------------------------------------------------------------------------

FOR_EVER = float("inf")
_HOUR = 3900.0  # seconds: a runner that was refused is asked for a job again once an hour
_POLLS = 600.0  # seconds: a polling runner repeats what is wrong every few seconds, and does not tell when it is over


@dataclass(frozen=True, slots=True)
class Words:
    """One of the runner's sentences (reference §5.2), as it reads without colours and with single spaces.

    Attributes:
        fault: what is wrong where it is said; None where it says that all is well, whatever came before.
        for_: seconds for which it holds when nothing follows.
    """

    pattern: re.Pattern[str]
    fault: ManagerFault | None
    for_: float = FOR_EVER


WORDS: tuple[Words, ...] = tuple(
    Words(re.compile(pattern), fault, for_)
    for pattern, fault, for_ in (
        (r"Verifying runner\.\.\. is (valid|alive)\b", None, FOR_EVER),
        (r"Runner registered successfully\.", None, FOR_EVER),
        (r"Checking for jobs\.\.\. ?received\b", None, FOR_EVER),
        # At info level, without a word of error in front.
        (r"Verifying runner\.\.\. is (not valid|removed)\b", ManagerFault.TOKEN_REJECTED, FOR_EVER),
        (
            r"Registering runner\.\.\. (forbidden|failed)\b.*check registration token",
            ManagerFault.TOKEN_REJECTED,
            FOR_EVER,
        ),
        (r"Checking for jobs\.\.\. forbidden\b", ManagerFault.TOKEN_REJECTED, _HOUR),
        (r"Runner .* (is unhealthy and will|is not healthy and will) be disabled", ManagerFault.TOKEN_REJECTED, _HOUR),
        (r"invalid header field( value)? for \"Private-Token\"", ManagerFault.TOKEN_REJECTED, FOR_EVER),
        (r"FATAL: Runner configuration other than name and executor", ManagerFault.CONFIG_REFUSED, FOR_EVER),
        (r"configuration template must contain exactly one", ManagerFault.CONFIG_REFUSED, FOR_EVER),
        (
            r"(FATAL|PANIC|ERROR): .*(Failed to load config|loading config|couldn't load configuration template)",
            ManagerFault.CONFIG_REFUSED,
            FOR_EVER,
        ),
        (r"mkdir /nonexistent: permission denied", ManagerFault.WRONG_USER, FOR_EVER),
        (r"(Verifying|Registering) runner\.\.\. (failed|client error)\b", ManagerFault.GITLAB_UNREACHABLE, FOR_EVER),
        (r"Checking for jobs\.\.\. (failed|client error|error)\b", ManagerFault.GITLAB_UNREACHABLE, _POLLS),
        (r"GitLab instance currently unavailable", ManagerFault.GITLAB_UNREACHABLE, _POLLS),
    )
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerdict:
    """What one manager's log comes to.

    Attributes:
        pod: the pod; `fault`: what it says is wrong; `line`: the sentence that says so.
        accepted: whether GitLab accepted the runner, as far as the log goes back.
    """

    pod: str
    fault: ManagerFault | None = None
    line: str = ""
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerLogs(Fact):
    """What the managers say."""

    logs: tuple[LogVerdict, ...] = ()


def logs(api: Api, found: Objects, *, now: float) -> ManagerLogs:
    """Read and judge the log of every manager that has one.

    Raises:
        Unmeasured: logs may not be read, or no pod's kubelet hands one out.
    """
    began = time.monotonic()
    told: list[LogVerdict] = []
    refused: ApiError | None = None
    for pod in found.pods:
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{path_segment(found.namespace)}/pods/{path_segment(name)}/log"
        container = found.container
        try:
            text = api.text(path, container=container, tailLines=LINES, limitBytes=_ENOUGH, timestamps="true")
            told.append(read_log(text, pod=name, now=now))
        except ApiError as error:
            if error.rule:
                raise unmeasured(error) from error
            if error.status not in {_BAD_REQUEST, _NOT_FOUND}:  # it has not started, or is gone by now
                refused = error
    if refused is not None and not told:
        raise unmeasured(refused) from refused
    return read_logs(told, found, took=time.monotonic() - began)


def read_logs(told: Sequence[LogVerdict], found: Objects, *, took: float = 0.0) -> ManagerLogs:
    """The fact from the verdicts of the single logs."""
    order = list(ManagerFault)
    bad = sorted((one for one in told if one.fault), key=lambda one: order.index(one.fault or order[0]))
    cause = ""
    if bad:
        same = [one for one in bad if one.fault is bad[0].fault]
        cause = f"{len(same)} of {found.wanted} managers say so; {same[0].pod}: {same[0].line}"
    path = f"/api/v1/namespaces/{found.namespace}/pods/{(bad[0] if bad else told[0]).pod if told else ''}/log"
    return ManagerLogs(
        target=found.name,
        logs=tuple(told),
        fault=bad[0].fault if bad else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=kubectl("GET", path, {"container": found.container}),
            observed="\n".join(f"{one.pod}: {one.line}" for one in bad or told),
            took=took,
        ),
    )


def read_log(text: str, *, pod: str, now: float) -> LogVerdict:
    """What one log comes to: the last sentence that decides, and of several complaints in a row the first.

    The first is the cause, what follows it (`PANIC: Failed to verify the runner.`) only its consequence.
    """
    fault: ManagerFault | None = None
    line, accepted = "", False
    for raw in text.splitlines():
        sentence, said_at = plain(raw)
        said = next((one for one in WORDS if one.pattern.search(sentence)), None)
        if said is None or (said_at is not None and now - said_at > said.for_):
            continue
        if said.fault is None:
            fault, line, accepted = None, sentence, True
        elif fault is None:
            fault, line, accepted = said.fault, sentence, False
    return LogVerdict(pod=pod, fault=fault, line=line[:300], accepted=accepted)


def plain(line: str) -> tuple[str, float | None]:
    """A line without colours, padding and the API's time stamp, and when it was written (seconds since 1970)."""
    moment: float | None = None
    if stamped := _STAMP.match(line):
        with suppress(ValueError):  # digits, but no moment
            moment = datetime.fromisoformat(f"{stamped[1]}+00:00").timestamp()
        line = line[stamped.end() :]
    return " ".join(_ANSI.sub("", line).split()), moment
