"""Pods of our own: made as Jobs, followed to their end, and judged by the API's own messages.

`launch` and `launch_dind` return what became of a pod; the fault says how far it got: admission → scheduling → pull →
start → end. `preflight.probes.pod_runs` makes and follows it, `preflight.probes.pod_messages` knows what the messages
mean, and `preflight.probes.cleanup` removes it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from preflight.clients.kube_api import Api, jobs_path, pods_path
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact
from preflight.faults import Fault, PodFault, StreamFault
from preflight.jobshape import BUILD, JobShape
from preflight.probes.pod_messages import (
    PULL_REASONS,
    START_ENDS,
    START_REASONS,
    classify_daemon,
    classify_end,
    classify_pull,
    classify_scheduling,
    container_of,
    is_failed_pull,
    names_a_reason,
    pull_seconds,
    state_of,
)
from preflight.probes.pod_runs import SECRET_MISSED, UNSCHEDULABLE_FOR, OnEvent, PodRun, classify_refusal
from preflight.probes.pod_states import (
    all_settled,
    client_or_daemon_settled,
    describe_state,
    event_line,
    has_started,
    image_in,
    is_fresh,
    not_started,
    runs_or_settled,
    summarize,
    unscheduled,
)
from preflight.probes.quota import Needs
from preflight.shell_command import ShellCommand, pipe, program
from preflight.shutdown import Shutdown

Json = dict[str, Any]

DAEMON_LINES = 200  # lines of the Docker daemon's log that are kept: its end says why it ended
EVIDENCE_LINES = 12  # lines of it that are evidence


# --- what became of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePull(Fact):
    """One image, pulled by a node for a pod of ours; the fault is a `PodFault` of the ``PULL_`` family.

    Attributes:
        seconds: as the kubelet reports it, waiting for other pulls left out; None if it did not say.
        fresh: whether the node did not have the image before; None if that is not known. Only a fresh pull's time means
            anything. It is judged by name from the node's own list, which the kubelet brings up to date with delay.
    """

    image: str
    node: str
    seconds: float | None = None
    fresh: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPod(Fact):
    """One job-shaped pod on one node. The fault is about the container ``build``; other images have theirs in `pulls`.

    Attributes:
        node: where it was to run.
        job: the name of its Job; empty if none was made.
        name: the pod's name; empty if there never was one.
        pulls: one for each distinct image; an image is missing if its pull had not begun when the pod came to its end.
        log: what the script printed.
        log_problem: why the log could not be read although the script ran; empty if it was.
        log_fault: whether that was the node's kubelet, out of reach of the API server.
        started: whether the script ran at all.
        exit: its exit status, or None.
        warnings: what admission would have refused at a stricter level.
        not_started: why services of the values did not start beside the script, a sentence each.
    """

    node: str
    not_started: tuple[str, ...] = ()
    job: str = ""
    name: str = ""
    pulls: tuple[ImagePull, ...] = ()
    log: str = ""
    log_problem: str = ""
    log_fault: StreamFault | None = None
    started: bool = False
    exit: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DindPod(JobPod):
    """A job-shaped pod with a Docker daemon as its service; the fault is a `PodFault` or a `DindFault`.

    Attributes:
        privileged: whether the pod asked for privilege, as the values say.
        daemon_state: ``running``, ``exited 1``, ``waiting: …``; empty if unknown.
        daemon_log: the end of its log.
        port: that the client was told to use.
    """

    privileged: bool = False
    port: int | None = None
    daemon_state: str = ""
    daemon_log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission(Fact):
    """Whether the API server would accept a pod, by a server-side dry run.

    Attributes:
        warnings: what admission says beside, such as a stricter level that is only announced.
    """

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPatches(Fact):
    """The patches of a job's pod in the values (``pod_spec``).

    Attributes:
        applied: how many there are that are used.
    """

    applied: int = 0


def judge_patches(shape: JobShape) -> PodPatches:
    """Whether the runner can apply the values' patches to a job's pod."""
    lines = [f"{patch}: {patch.kind}{'' if patch.text is not None else ', in a file'}" for patch in shape.patches]
    return PodPatches(
        target="pod_spec",
        applied=len(shape.patches),
        fault=PodFault.PATCH if shape.patch_problem else None,
        cause=shape.patch_problem,
        evidence=Evidence(where="here", command="helm get values", observed="\n".join(lines) or "no patch is used"),
    )


# --- launching ------------------------------------------------------------------------------------------------------


def dry_run(api: Api, pod: Json, *, where: str = "here") -> Admission:
    """Whether the API server would admit this pod, without making it.

    Raises:
        Unmeasured: the API server could not be asked.
    """
    began = time.monotonic()
    namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name", "")
    target = f"{namespace}/{name}"
    try:
        _, warnings = api.create(pods_path(namespace), pod, dry_run=True)
    except ApiError as error:
        fault, cause = classify_refusal(error)
        evidence = Evidence(where=where, command=dry_run_command(pod), observed=error.message, took=error.took)
        return Admission(target=target, fault=fault, cause=cause, evidence=evidence)
    lines = [f"pod/{name} created (server dry run)", *(f"Warning: {warning}" for warning in warnings)]
    took = time.monotonic() - began
    evidence = Evidence(where=where, command=dry_run_command(pod), observed="\n".join(lines), took=took)
    return Admission(target=target, evidence=evidence, warnings=warnings)


def _no_progress(_: str) -> None:
    """For callers that do not follow what a pod is at."""


def launch(  # noqa: PLR0913 - as many as `PodRun` takes
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: OnEvent = _no_progress,
    images: Collection[str] | None = None,
    job: Needs | None = None,
    unschedulable_for: float = UNSCHEDULABLE_FOR,
    cut_off: Callable[[], Collection[str]] = tuple,
    slow: Callable[[], Collection[str]] = tuple,
    slow_for: float = 0.0,
    moot: Callable[[], bool] = bool,
    shutdown: Shutdown | None = None,
) -> JobPod:
    """Make the Job and follow its pod until every container has ended or can't begin.

    `preflight.probes.cleanup` removes it.

    Args:
        api: the cluster's API.
        manifest: from `preflight.jobshape.probe_job`.
        node: where it is pinned to.
        deadline: seconds for all of it.
        on_event: called with what the pod is at, in the API's words.
        images: what the node held before, as its status lists it, so that a pull can be known to be fresh.
        job: what a real job would count for in a quota.
        unschedulable_for: seconds that the scheduler may say no before it is believed.
        cut_off: the hosts of registries that are known by now to be out of the node's reach: pulls from them are
            hardly waited for.
        slow: those of registries that are known by now to deliver slowly: all pulls from them are waited for
            `slow_for` seconds.
        slow_for: seconds.
        moot: whether nothing comes of the pod any more.
        shutdown: set when the run ends early: then no Job is made any more, and one that is followed is left.

    Raises:
        Unmeasured: the API could not be asked, our pod would take a quota's last tenth, or the run is stopping.
        MootError: by `moot`, nothing would come of it.
    """
    run = PodRun(
        api,
        manifest,
        node=node,
        deadline=deadline,
        on_event=on_event,
        images=images,
        unschedulable_for=unschedulable_for,
        cut_off=cut_off,
        slow=slow,
        slow_for=slow_for,
        moot=moot,
        shutdown=shutdown,
    )
    run.run(job, all_settled)
    return JobPod(**_Judgement(run).fields())


def launch_dind(
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: OnEvent = _no_progress,
    images: Collection[str] | None = None,
    job: Needs | None = None,
    cut_off: Callable[[], Collection[str]] = tuple,
    moot: Callable[[], bool] = bool,
    shutdown: Shutdown | None = None,
) -> DindPod:
    """As `launch`, for `preflight.jobshape.dind_job`: follow until the client has ended, or the daemon has.

    Raises:
        MootError: by `moot`, nothing would come of it.
    """
    run = PodRun(
        api,
        manifest,
        node=node,
        deadline=deadline,
        on_event=on_event,
        images=images,
        cut_off=cut_off,
        moot=moot,
        shutdown=shutdown,
    )
    run.run(job, client_or_daemon_settled)
    return _judge_dind(run)


def hold(
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: OnEvent = _no_progress,
    moot: Callable[[], bool] = bool,
    shutdown: Shutdown | None = None,
) -> JobPod:
    """As `launch`, for `preflight.jobshape.waiting_job`: come back as soon as the container ``build`` runs.

    Raises:
        MootError: by `moot`, nothing would come of it.
    """
    run = PodRun(api, manifest, node=node, deadline=deadline, on_event=on_event, moot=moot, shutdown=shutdown)
    run.run(None, runs_or_settled)
    return JobPod(**_Judgement(run).fields())


# --- judging --------------------------------------------------------------------------------------------------------


class _Judgement:
    """What became of a pod that was followed, as the fields of a `JobPod`."""

    def __init__(self, run: PodRun) -> None:
        self.run = run
        self.pod: Json = run.pod or {}

    def fields(self) -> Json:
        """The fields of a `JobPod`."""
        run = self.run
        state = state_of(self.pod, BUILD)
        started = has_started(state) and state.get("terminated", {}).get("reason") not in START_ENDS
        log, log_problem = run.log(BUILD) if started else ("", "")
        fault, cause = self._fault(state)
        if fault and run.pod and run.node not in cause:
            cause = f"on {run.node}, {cause}"
        return {
            "target": run.node,
            "fault": fault,
            "cause": cause,
            "evidence": self._evidence(fault),
            "node": run.node,
            "job": run.job if run.made else "",
            "name": run.name if run.pod else "",
            "pulls": tuple(self._pulls()),
            "log": log,
            "log_problem": log_problem,
            "log_fault": run.log_fault,
            "started": started,
            "exit": state.get("terminated", {}).get("exitCode"),
            "warnings": run.warnings,
            "not_started": tuple(not_started(self.pod)),
        }

    def _fault(self, state: Json) -> tuple[Fault | None, str]:
        run, pod = self.run, self.pod
        if run.verdict:
            return run.verdict
        fault, cause = classify_end(pod)
        if fault is PodFault.DEADLINE and not has_started(state):
            return self._late(state)  # what it waited for says more than that it waited too long
        if fault or state.get("terminated"):
            return fault, cause
        if message := unscheduled(pod):
            fault, cause = classify_scheduling(message)
            problem = "" if names_a_reason(fault) else run.node_problem()
            return (PodFault.LOST, problem) if problem else (fault, f"the scheduler can't place the pod: {cause}")
        waiting = state.get("waiting", {})
        failed = any(is_failed_pull(event) for event in self._container_events(BUILD))
        if waiting.get("reason") in PULL_REASONS or (failed and not self._container_events(BUILD, "Pulled")):
            return classify_pull(self._pull_message(BUILD, waiting))
        for status in pod.get("status", {}).get("initContainerStatuses") or ():
            init_waiting = (status.get("state") or {}).get("waiting", {})
            if init_waiting.get("reason") in PULL_REASONS:
                return classify_pull(self._pull_message(status["name"], init_waiting))
        if waiting.get("reason") in START_REASONS:
            return PodFault.START_ERROR, f"{waiting['reason']}: {waiting.get('message', '')}"
        if run.gone or pod.get("metadata", {}).get("deletionTimestamp"):
            return self._deleted()
        return (None, "") if run.over else self._late(state)

    def _deleted(self) -> tuple[Fault, str]:
        """Who took the pod away."""
        run = self.run
        with suppress(ApiError):
            job = run.api.get(jobs_path(run.namespace, run.job))
            for condition in job.get("status", {}).get("conditions") or ():
                if condition.get("reason") == "DeadlineExceeded":
                    return PodFault.DEADLINE, f"the Job's own deadline ended pod {run.name}"
        return PodFault.LOST, run.node_problem() or f"pod {run.name} was deleted by somebody else while it ran"

    def _late(self, state: Json) -> tuple[Fault, str]:
        """What the pod was at when our time was up."""
        run = self.run
        after = f"after {run.deadline:g} s"
        if problem := run.node_problem():
            return PodFault.LOST, problem
        if "running" in state:
            return PodFault.DEADLINE, f"the script of pod {run.name} was still running {after}"
        warnings = [event for event in run.events_of(run.name) if event.get("type") == "Warning"]
        pulling = self._container_events(BUILD, "Pulling")
        if pulling and not self._container_events(BUILD, "Pulled"):
            return PodFault.PULL_TIMEOUT, f"{image_in(pulling[-1])} was still being pulled {after}"
        if warnings:
            return PodFault.START_ERROR, f"{warnings[-1].get('reason')}: {warnings[-1].get('message')}"
        return PodFault.DEADLINE, f"pod {run.name} had not started {after}"

    # -- images --

    def _container_events(self, container: str, *reasons: str) -> list[Json]:
        return [event for event in self.run.events_of(self.run.name, *reasons) if container_of(event) == container]

    def _pull_message(self, container: str, waiting: Json) -> str:
        """Why a pull failed: the kubelet's event has the reason even while the state says no more than «back-off»."""
        failures = [
            str(event.get("message", ""))
            for event in self._container_events(container, "Failed", "InspectFailed")
            if not str(event.get("message", "")).startswith("Error: ")
        ]
        message = failures[-1] if failures else str(waiting.get("message") or waiting.get("reason") or "")
        secret_events = self.run.events_of(self.run.name, SECRET_MISSED)
        return f"{message} ({secret_events[-1]['message']})" if secret_events and waiting else message

    def _pulls(self) -> Iterator[ImagePull]:
        images: set[str] = set()
        for container in self.run.pod_manifest["spec"]["containers"] if self.run.pod else ():
            image = str(container["image"])
            if image not in images and (pull := self._pull(container["name"], image)):
                images.add(image)
                yield pull

    def _pull(self, container: str, image: str) -> ImagePull | None:
        run = self.run
        fault: PodFault | None = None
        cause, seconds = "", None
        events = self._container_events(container)
        pulled = [event for event in events if event.get("reason") == "Pulled"]
        state = state_of(self.pod, container)
        waiting = state.get("waiting", {})
        fresh = None if run.images is None else is_fresh(image, run.images)
        # A kubelet shows in the state that a pull failed only when it has tried the pod's other images, too.
        failed = not pulled and any(is_failed_pull(event) for event in events)
        if waiting.get("reason") in PULL_REASONS or (failed and not has_started(state)):
            fault, cause = classify_pull(self._pull_message(container, waiting))
            cause = f"{run.node} could not pull {image}: {cause}"
        elif pulled:
            message = str(pulled[-1].get("message", ""))
            seconds = pull_seconds(message)
            fresh = False if "already present" in message else fresh
        elif container in run.held_up:
            return None
        elif any(event.get("reason") == "Pulling" for event in events):
            if not has_started(state):
                fault = PodFault.PULL_TIMEOUT
                cause = f"{run.node} was still pulling {image} after {run.seconds:.0f} s"
        elif not has_started(state):
            return None
        observed = "\n".join(event_line(event) for event in events) or describe_state(state)
        evidence = Evidence(where=self._where, command=self._events_command, observed=observed, took=seconds or 0.0)
        return ImagePull(
            target=image,
            image=image,
            node=run.node,
            fault=fault,
            cause=cause,
            seconds=seconds,
            fresh=fresh,
            evidence=evidence,
        )

    # -- evidence --

    @property
    def _where(self) -> str:
        return f"{self.run.vantage} on {self.run.node}"

    @property
    def _events_command(self) -> ShellCommand:
        path = f"/api/v1/namespaces/{self.run.namespace}/events"
        return kubectl("GET", path, {"fieldSelector": f"involvedObject.name={self.run.name}"})

    def _evidence(self, fault: Fault | None) -> Evidence:
        run = self.run
        if run.refused:
            command, observed = dry_run_command(run.pod_manifest), run.refused.message
        elif fault is PodFault.QUOTA and not run.made:
            command = kubectl("GET", f"/api/v1/namespaces/{run.namespace}/resourcequotas", {})
            observed = run.verdict[1] if run.verdict else ""
        else:
            lines = [event_line(event) for event in run.events_of(run.name)]
            if run.pod:
                lines.append(f"pod {run.name}: {summarize(run.pod)}")
            command, observed = self._events_command, "\n".join(lines)
        return Evidence(where=self._where, command=command, observed=observed, took=run.seconds)


def _judge_dind(run: PodRun) -> DindPod:
    """As a `JobPod`, and by the daemon's pull, state and log."""
    containers = {container["name"]: container for container in run.pod_manifest["spec"]["containers"]}
    daemon = next(container for name, container in containers.items() if name != BUILD)
    privileged = bool(daemon.get("securityContext", {}).get("privileged"))
    fields = _Judgement(run).fields()
    state = state_of(run.pod or {}, daemon["name"])
    readable = has_started(state) and fields["log_fault"] is None
    log, log_problem = run.log(daemon["name"]) if readable else ("", fields["log_problem"])
    exit_status = int(state["terminated"].get("exitCode", 0)) if "terminated" in state else None
    host = next((variable["value"] for variable in containers[BUILD]["env"] if variable["name"] == "DOCKER_HOST"), "")
    port = int(match[1]) if (match := re.search(r":(\d+)$", host)) else None
    failed_pull = next((pull for pull in fields["pulls"] if pull.fault), None)
    if fields["fault"] in {None, PodFault.EXITED, PodFault.DEADLINE} and failed_pull:
        fields["fault"], fields["cause"] = failed_pull.fault, failed_pull.cause
    elif fields["fault"] in {None, PodFault.EXITED, PodFault.DEADLINE} and exit_status is not None:
        # Whether a daemon that runs is healthy is the client's to say: its log may be unreadable, or cut.
        fault, cause = classify_daemon(log, exit_status=exit_status, privileged=privileged, port=port)
        if fault:
            unreadable = f" (its log could not be read: {log_problem})" if log_problem else ""
            fields["fault"], fields["cause"] = fault, f"on {run.node}, {cause}{unreadable}"
            command = program("kubectl", "-n", run.namespace, "logs", run.name, "-c", daemon["name"])
            observed = "\n".join(log.splitlines()[-EVIDENCE_LINES:]) or log_problem
            took = fields["evidence"].took
            fields["evidence"] = Evidence(where=f"dind on {run.node}", command=command, observed=observed, took=took)
    return DindPod(
        **fields,
        privileged=privileged,
        port=port,
        daemon_state=describe_state(state),
        daemon_log="\n".join(log.splitlines()[-DAEMON_LINES:]),
    )


def dry_run_command(pod: Json) -> ShellCommand:
    """A command that asks for the same admission; the script is left out, for admission does not read it."""
    short = json.loads(json.dumps(pod))
    for container in short["spec"]["containers"]:
        if container.get("command", [None])[0] == "sh":
            container["command"] = ["true"]
    namespace, manifest = pod["metadata"]["namespace"], json.dumps(short, separators=(",", ":"))
    return pipe(
        program("printf", "%s", manifest), program("kubectl", "-n", namespace, "create", "--dry-run=server", "-f", "-")
    )
