"""The runner managers: the release's Deployment, its rollout, and its pods.

The chart labels all its objects ``release: NAME``, whoever applied them (docs/sources.md#release-names). ``Ready`` does
not mean registered: the readiness probe is a `pgrep` (docs/sources.md#runner-liveness), so the logs are judged too, by
`preflight.probes.manager_logs`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ManagerFault
from preflight.probes.release import describe_duration, without_namespace
from preflight.shell_command import program

Json = dict[str, Any]

_NOT_FOUND = 404
_SHOWN = 3  # pods that a cause names
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 300.0  # seconds that the kubelet waits before it restarts a container
_PROBE_PERIOD = 10  # seconds between a probe's attempts, unless it says otherwise
_PROGRESS_DEADLINE = 600  # seconds that a Deployment has for each step of a rollout, unless it says otherwise
_BACKOFF_FORGOTTEN = 600.0  # seconds of running after which the kubelet forgets earlier ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What the cluster has of the release, as raw JSON; no fact, since several facts are made of it.

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
        names = [str(item.get("name", "")) for item in (template.get("spec") or {}).get("containers") or ()]
        return self.name if self.name in names or not names else names[0]


def objects(api: Api, release: str, namespace: str) -> Objects:
    """Find the release's Deployment and its pods.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path = f"/apis/apps/v1/namespaces/{path_segment(namespace)}/deployments"
    try:
        deployments = list(api.items(path, labelSelector=f"release={release}"))
        deployment = next(
            (item for item in deployments if release in item["metadata"]["name"]),
            deployments[0] if deployments else None,
        )
        if deployment is None:
            return Objects(release=release, namespace=namespace, took=time.monotonic() - began)
        chosen = Objects(release=release, namespace=namespace, deployment=deployment)
        pods = api.items(f"/api/v1/namespaces/{path_segment(namespace)}/pods", labelSelector=chosen.selector)
        live_pods = tuple(item for item in pods if _is_live(item))
    except ApiError as error:
        if without_namespace(api, namespace, error):
            return Objects(release=release, namespace=namespace, took=time.monotonic() - began)
        raise unmeasured(error) from error
    return Objects(
        release=release, namespace=namespace, deployment=deployment, pods=live_pods, took=time.monotonic() - began
    )


def _is_live(pod: Json) -> bool:
    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}  # an evicted pod stays listed for long
    return not ended and "deletionTimestamp" not in pod["metadata"]


# ---- the rollout ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Fact):
    """How far the Deployment's last change has come.

    Attributes:
        wanted: replicas; `updated`: those of the newest template; `total`: all, old ones included.
        available: those that are ready, of either template.
    """

    wanted: int = 0
    updated: int = 0
    total: int = 0
    available: int = 0


def read_rollout(objects: Objects) -> Rollout:
    """The fact from the Deployment; availability is the pods' own matter.

    A rollout that is not complete is under way, which is advice, until the Deployment's own condition says that it took
    too long (ProgressDeadlineExceeded), or a new pod fails (docs/sources.md#rollouts).
    """
    deployment = objects.deployment
    if deployment is None:
        command = program("kubectl", "-n", objects.namespace, "get", "deployments", "-l", f"release={objects.release}")
        return Rollout(
            target=objects.release,
            fault=ManagerFault.DEPLOYMENT_MISSING,
            cause=f"namespace {objects.namespace} has no Deployment of release {objects.release}",
            evidence=Evidence(where="here", command=command, observed="No resources found", took=objects.took),
        )
    meta, status = deployment["metadata"], deployment.get("status", {})
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    progressing: Json = next(
        (condition for condition in status.get("conditions") or () if condition.get("type") == "Progressing"), {}
    )
    fault, cause, advice = None, "", ""
    is_observed = int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0))
    if not is_observed or updated < objects.wanted or total > updated:
        parts = [f"{updated} of {objects.wanted} replicas of {objects.name} have the newest template"]
        parts += [f"{total - updated} of an older one still run"] if total > updated else []
        parts += ["its controller has not seen the last change yet"] if not is_observed else []
        exceeded = progressing.get("reason") == "ProgressDeadlineExceeded"
        parts += [str(progressing["message"]).rstrip(".")] if exceeded else []
        new = _newest(objects.pods)
        failing = [f"{pod['metadata']['name']}: {reason}" for pod in new if (reason := _failing(pod))]
        fault = ManagerFault.ROLLOUT_STUCK if exceeded or failing else ManagerFault.ROLLOUT_UNDER_WAY
        if fault is ManagerFault.ROLLOUT_UNDER_WAY:
            failing = [f"{pod['metadata']['name']}: {_waiting_for(pod)}" for pod in new if not _is_ready(pod)]
            deadline = (deployment.get("spec") or {}).get("progressDeadlineSeconds", _PROGRESS_DEADLINE)
            advice = f"it has {deadline} s for each step"
        cause = "; ".join([*parts, *failing[:_SHOWN]])
    observed = "\n".join(
        [
            f"replicas {objects.wanted} wanted, {updated} updated, {total} in all, "
            f"{status.get('availableReplicas', 0)} up"
        ]
        + [
            f"{condition.get('type')}={condition.get('status')} {condition.get('message', '')}"
            for condition in status.get("conditions") or ()
        ]
    )
    rollout = Rollout(
        target=objects.name,
        wanted=objects.wanted,
        updated=updated,
        total=total,
        available=int(status.get("availableReplicas", 0)),
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program("kubectl", "-n", objects.namespace, "rollout", "status", f"deployment/{objects.name}"),
            observed=observed,
            took=objects.took,
        ),
    )
    return rollout.as_advice(advice) if advice else rollout


# ---- the pods -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPod:
    """One manager pod.

    Attributes:
        restarts: how often its container was started again.
        ended: seconds since it ended the last time; None if it never did.
        end: how it ended then, such as ``OOMKilled, exit 137``.
        lasted: seconds of the run that ended then; None if the API does not say.
        trouble: why it is not ready, or "".
        starting: whether it is new, and its readiness probe has not had its time yet.
    """

    name: str
    node: str = ""
    address: str = ""
    ready: bool = False
    starting: bool = False
    restarts: int = 0
    ended: float | None = None
    end: str = ""
    lasted: float | None = None
    trouble: str = ""

    @property
    def has_recovered(self) -> bool:
        """Whether its restarts have ended: it is ready, and has run for longer than it would take to end again.

        The kubelet waits 10 s before the second restart, twice as long before each further one, 5 min at most, and
        forgets about them once a container has run for 10 min (docs/sources.md#crash-backoff). A container that was
        restarted repeatedly also has to outlive its previous run, or its end may be as near as that one was.
        """
        if self.ended is None or not self.ready:
            return self.ended is None
        backoff = min(_FIRST_BACKOFF * 2.0 ** min(self.restarts - 1, 9), _LONGEST_BACKOFF)
        if self.restarts > 1 and self.lasted is not None and self.lasted < _BACKOFF_FORGOTTEN:
            backoff = max(backoff, self.lasted)
        return self.ended > backoff

    @property
    def was_oom_killed(self) -> bool:
        """Whether it ended for its memory the last time."""
        return self.end.startswith("OOMKilled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerPods(Fact):
    """The manager pods."""

    wanted: int = 0
    pods: tuple[ManagerPod, ...] = ()


def read_managers(
    objects: Objects, *, now: float, restart_age: float, released: int | None = None, under_way: bool = False
) -> ManagerPods:
    """The fact from the pods of the Deployment.

    Args:
        objects: the release's objects.
        now: seconds since 1970.
        restart_age: for how many seconds a restart is a finding.
        released: replicas that the release's values ask for; None if that is not known, or an autoscaler's matter.
        under_way: whether a rollout is under way, whose new pods may still be on their way.
    """
    pods = tuple(sorted((_manager_pod(pod, now) for pod in objects.pods), key=lambda pod: pod.name))
    judged = pods
    if under_way:  # older ones are about to go, whatever their state
        arrived = {pod["metadata"]["name"] for pod in _newest(objects.pods) if _is_ready(pod) or _failing(pod)}
        judged = tuple(pod for pod in pods if pod.name in arrived)
    fault, cause = _judge(judged, objects, restart_age, expected=0 if under_way else objects.wanted)
    if fault is None and released is not None and objects.wanted < released:
        fault = ManagerFault.SCALED_DOWN
        cause = (
            f"Deployment {objects.name} was scaled to {objects.wanted}; the release's values say {released} replicas"
        )
    scaled = [f"Deployment {objects.name}: scaled to {objects.wanted} replicas"]
    lines = scaled * (fault is ManagerFault.SCALED_DOWN) + [
        f"{pod.name}  {'ready' if pod.ready else pod.trouble or ('starting' if pod.starting else 'not ready')}  "
        f"{pod.restarts} restarts"
        + (f" (the last {describe_duration(pod.ended)} ago: {pod.end})" if pod.ended is not None else "")
        + f"  {pod.node}"
        for pod in pods
    ]
    return ManagerPods(
        target=objects.name,
        wanted=objects.wanted,
        pods=pods,
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program("kubectl", "-n", objects.namespace, "get", "pods", "-l", objects.selector, "-o", "wide"),
            observed="\n".join(lines) or "No resources found",
            took=objects.took,
        ),
    )


def _judge(
    pods: Sequence[ManagerPod], objects: Objects, restart_age: float, *, expected: int
) -> tuple[ManagerFault | None, str]:
    looping = [pod for pod in pods if pod.trouble.startswith("CrashLoopBackOff")]
    if looping:
        details = listed(f"{pod.name} ended {pod.restarts} times, the last with {pod.end}" for pod in looping)
        return ManagerFault.CRASH_LOOP, f"{len(looping)} of {objects.wanted} managers end again and again: {details}"
    if len(pods) < expected:
        return ManagerFault.TOO_FEW, f"{len(pods)} of {objects.wanted} managers of {objects.name} exist"
    waiting = [pod for pod in pods if not pod.ready and not pod.starting]
    restarted = [pod for pod in pods if pod.ended is not None and pod.ended < restart_age]
    out_of_memory = [pod for pod in restarted if pod.was_oom_killed]
    # One that ran out of memory is not ready until its probes have begun: that follows.
    if any(pod.trouble or pod not in out_of_memory for pod in waiting):
        details = listed(f"{pod.name}: {pod.trouble or 'not ready'}" for pod in waiting)
        return ManagerFault.NOT_READY, f"{len(waiting)} of {objects.wanted} managers are not ready: {details}"
    for fault, concerned, what in (
        (ManagerFault.OOM_KILLED, out_of_memory, "ran out of memory"),
        (ManagerFault.RESTARTED, [pod for pod in restarted if not pod.has_recovered], "are restarted repeatedly"),
    ):
        if concerned:
            details = listed(f"{pod.name} {last_end_of(pod)}" for pod in concerned)
            return fault, f"{len(concerned)} of {objects.wanted} managers {what}: {details}"
    return None, ""


def last_end_of(pod: ManagerPod) -> str:
    """When and how a manager last ended, and how often it has: a clause."""
    times = f", {pod.restarts} times in all" if pod.restarts > 1 else ""
    return f"{describe_duration(pod.ended or 0)} ago: {pod.end}{times}"


def may_follow_from_gitlab(pods: ManagerPods) -> bool:
    """Whether what is wrong with the pods can be that GitLab does not answer them: their liveness probe asks it.

    A pod that ran out of memory or waits for anything but its restart (an image, a Secret, a node) has another reason.
    """
    if pods.fault not in {ManagerFault.CRASH_LOOP, ManagerFault.NOT_READY, ManagerFault.RESTARTED}:
        return False
    return not any(
        pod.was_oom_killed or (pod.trouble and not pod.trouble.startswith("CrashLoopBackOff"))
        for pod in pods.pods
        if not pod.ready or not pod.has_recovered
    )


def listed(items: Iterable[str]) -> str:
    """The first few, separated by semicolons, and how many more there are."""
    lines = list(items)
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more


def _manager_pod(pod: Json, now: float) -> ManagerPod:
    status = pod.get("status", {})
    containers = status.get("containerStatuses") or ()
    ended, end, lasted = _last_end(containers, now)
    return ManagerPod(
        name=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        ready=_is_ready(pod),
        starting=_is_starting(pod, now),
        restarts=sum(int(item.get("restartCount", 0)) for item in containers),
        ended=ended,
        end=end,
        lasted=lasted,
        trouble=_waiting(pod),
    )


def _last_end(containers: Sequence[Json], now: float) -> tuple[float | None, str, float | None]:
    """How long ago a container ended the last time, how, and how long it had run."""
    ends = [
        end
        for item in containers
        for end in ((item.get("state") or {}).get("terminated"), (item.get("lastState") or {}).get("terminated"))
        if end
    ]
    if not ends:
        return None, "", None
    last = max(ends, key=lambda item: str(item.get("finishedAt", "")))
    finished, started = _seconds(last.get("finishedAt")), _seconds(last.get("startedAt"))
    lasted = finished - started if finished is not None and started is not None else None
    ended = max(0.0, now - (now if finished is None else finished))
    return ended, f"{last.get('reason') or 'Error'}, exit {last.get('exitCode')}", lasted


def _seconds(moment: Any) -> float | None:
    """A moment that the API writes, in seconds since 1970."""
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return None


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _is_starting(pod: Json, now: float) -> bool:
    """Whether a pod that never ended is not ready because it is new: one that was evicted or drained is replaced so."""
    if _is_ready(pod) or _failing(pod):
        return False
    containers = pod.get("status", {}).get("containerStatuses") or ()
    if any(item.get("restartCount") for item in containers):
        return False
    begins = [((item.get("state") or {}).get("running") or {}).get("startedAt") for item in containers]
    begun = _seconds(max(filter(None, begins), default=pod["metadata"].get("creationTimestamp")))
    probes = [item.get("readinessProbe") or {} for item in pod.get("spec", {}).get("containers") or ()]
    return begun is not None and now - begun < max(map(_first_attempt, probes), default=0.0)


def _first_attempt(probe: Json) -> float:
    """Seconds until a probe has been tried for the first time, at the latest."""
    return float(probe.get("initialDelaySeconds", 0)) + float(probe.get("periodSeconds", _PROBE_PERIOD))


def that_stay(objects: Objects, rollout: Rollout | None) -> Objects:
    """The objects without the pods that a rollout under way is about to replace, whatever is wrong with them."""
    if rollout is None or rollout.fault is not ManagerFault.ROLLOUT_UNDER_WAY:
        return objects
    return replace(objects, pods=tuple(_newest(objects.pods)))


def _newest(pods: Sequence[Json]) -> Sequence[Json]:
    """The pods of the template of which the youngest one is."""
    youngest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)
    template = _template_of(youngest) if youngest is not None else ""
    return [pod for pod in pods if _template_of(pod) == template]


def _template_of(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get("pod-template-hash", ""))


def _waiting_for(pod: Json) -> str:
    """What a new pod that is not ready yet waits for."""
    return _waiting(pod) or "it runs, and its readiness probe has not succeeded yet"


def is_about_images(cause: str) -> bool:
    """Whether what is wrong with pods is their image, by the reasons that the API gives."""
    return re.search(r": (ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull)\b", cause) is not None


_ON_THE_WAY = ("ContainerCreating", "PodInitializing")
"""Why containers of a pod wait that fares well."""


def _failing(pod: Json) -> str:
    """Why a pod can't start, as the API reports it; "" if it runs, or is about to."""
    reason = _waiting(pod)
    return "" if reason.startswith(_ON_THE_WAY) else reason


def _waiting(pod: Json) -> str:
    """Why a pod's containers do not run, as the API reports it; "" if they do."""
    status = pod.get("status", {})
    for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if waiting := (item.get("state") or {}).get("waiting"):
            message = str(waiting.get("message", "")).strip()
            return f"{waiting.get('reason', 'waiting')}{f': {message}' if message else ''}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}".rstrip(": ")
    return ""
