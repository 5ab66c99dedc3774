"""Pods of our own: made as Jobs, followed to their end, judged by the API's own words, and removed.

`launch` and `launch_dind` return what became of a pod; the fault says how far it got: admission → scheduling → pull →
start → end. What the words mean, `preflight.probes.pod_messages` knows.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from preflight.clients.kube_api import Api, classify_kubelet_path, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ApiFault, Fault, PodFault, StreamFault
from preflight.jobshape import BUILD, VANTAGE
from preflight.probes.pod_messages import (
    PULL_REASONS,
    START_ENDS,
    START_REASONS,
    classify_admission,
    classify_daemon,
    classify_end,
    classify_pull,
    classify_scheduling,
    names_a_reason,
    pull_seconds,
    state_of,
)
from preflight.probes.quota import Needs, needs_of, quota_room
from preflight.shutdown import Shutdown

Json = dict[str, Any]
Line = Callable[[str], None]

LONGEST_LOG = 2**20  # bytes of one container's log
DAEMON_LINES = 200  # lines of the Docker daemon's log: its last words are what counts
UNSCHEDULABLE_FOR = 3.0  # seconds that the scheduler may say no before it is believed
NOT_STARTING_FOR = 10.0  # seconds that a container may fail to be created before that is believed
NODE_ASKED_AFTER = 15.0  # seconds that a pod does not begin before its node is asked for its state
SECRET_SEEN_WITHIN = 30.0  # seconds that a kubelet may take to see a pull secret that is there; it pulls again after 10
SHORT_WATCH = 1.0  # seconds of one watch while there is no pod yet
LONG_WATCH = 2.0  # seconds of one watch after that; between two, events are read


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
    """

    node: str
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


# --- launching ------------------------------------------------------------------------------------------------------


def dry_run(api: Api, pod: Json, *, where: str = "here") -> Admission:
    """Whether the API server would admit this pod, without making it.

    Raises:
        Unmeasured: the API server could not be asked.
    """
    began = time.monotonic()
    name = pod["metadata"].get("name", "")
    target = f"{pod['metadata']['namespace']}/{name}"
    try:
        _, warnings = api.create(_pods(pod["metadata"]["namespace"]), pod, dry_run=True)
    except ApiError as error:
        fault, cause = _refusal(error)
        evidence = Evidence(where=where, command=paste(pod), observed=error.message, took=error.took)
        return Admission(target=target, fault=fault, cause=cause, evidence=evidence)
    observed = "\n".join([f"pod/{name} created (server dry run)", *(f"Warning: {each}" for each in warnings)])
    evidence = Evidence(where=where, command=paste(pod), observed=observed, took=time.monotonic() - began)
    return Admission(target=target, evidence=evidence, warnings=warnings)


def launch(
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: Line = lambda _: None,
    images: Collection[str] | None = None,
    job: Needs | None = None,
    unschedulable_for: float = UNSCHEDULABLE_FOR,
    shutdown: Shutdown | None = None,
) -> JobPod:
    """Make the Job and follow its pod until every container has ended or can't begin. `remove` removes it.

    Args:
        api: the cluster's API.
        manifest: from `preflight.jobshape.probe_job`.
        node: where it is pinned to.
        deadline: seconds for all of it.
        on_event: is told what the pod is at, in the API's words.
        images: what the node held before, as its status lists it, so that a pull can be told to be fresh.
        job: what a real job would count for in a quota.
        unschedulable_for: seconds that the scheduler may say no before it is believed.
        shutdown: set when the run ends early: then no Job is made any more, and one that is followed is left.

    Raises:
        Unmeasured: the API could not be asked, our pod would take a quota's last tenth, or the run is stopping.
    """
    attempt = _Attempt(api, manifest, node, deadline, on_event, images, unschedulable_for, shutdown)
    attempt.run(job, _all_settled)
    return JobPod(**attempt.fields())


def launch_dind(
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: Line = lambda _: None,
    images: Collection[str] | None = None,
    job: Needs | None = None,
    unschedulable_for: float = UNSCHEDULABLE_FOR,
    shutdown: Shutdown | None = None,
) -> DindPod:
    """As `launch`, for `preflight.jobshape.dind_job`: follow until the client has ended, or the daemon has."""
    attempt = _Attempt(api, manifest, node, deadline, on_event, images, unschedulable_for, shutdown)
    attempt.run(job, _client_or_daemon_settled)
    containers = {each["name"]: each for each in attempt.pod_manifest["spec"]["containers"]}
    daemon = next(each for name, each in containers.items() if name != BUILD)
    privileged = bool(daemon.get("securityContext", {}).get("privileged"))
    fields = attempt.fields()
    state = state_of(attempt.pod or {}, daemon["name"])
    began = bool({"running", "terminated"} & set(state)) and fields["log_fault"] is None
    log, unread = attempt.log(daemon["name"]) if began else ("", fields["log_problem"])
    exit_status = int(state["terminated"].get("exitCode", 0)) if "terminated" in state else None
    host = next((each["value"] for each in containers[BUILD]["env"] if each["name"] == "DOCKER_HOST"), "")
    port = int(found[1]) if (found := re.search(r":(\d+)$", host)) else None
    broken = next((pull for pull in fields["pulls"] if pull.fault), None)
    if fields["fault"] in {None, PodFault.EXITED, PodFault.DEADLINE} and broken:
        fields["fault"], fields["cause"] = broken.fault, broken.cause
    elif fields["fault"] in {None, PodFault.EXITED, PodFault.DEADLINE} and exit_status is not None:
        # Whether one that runs is well is the client's to say: its log may be unreadable, or cut.
        fault, cause = classify_daemon(log, exit_status=exit_status, privileged=privileged, port=port)
        if fault:
            unreadable = f" (its log could not be read: {unread})" if unread else ""
            fields["fault"], fields["cause"] = fault, f"on {node}, {cause}{unreadable}"
            command = f"kubectl -n {attempt.namespace} logs {attempt.name} -c {daemon['name']}"
            said = "\n".join(log.splitlines()[-_LAST_LINES:]) or unread
            took = fields["evidence"].took
            fields["evidence"] = Evidence(where=f"dind on {node}", command=command, observed=said, took=took)
    return DindPod(
        **fields,
        privileged=privileged,
        port=port,
        daemon_state=_words(state),
        daemon_log="\n".join(log.splitlines()[-DAEMON_LINES:]),
    )


def hold(
    api: Api,
    manifest: Json,
    *,
    node: str,
    deadline: float,
    on_event: Line = lambda _: None,
    shutdown: Shutdown | None = None,
) -> JobPod:
    """As `launch`, for `preflight.jobshape.waiting_job`: come back as soon as the container ``build`` runs."""
    attempt = _Attempt(api, manifest, node, deadline, on_event, None, UNSCHEDULABLE_FOR, shutdown)
    attempt.run(None, _runs_or_settled)
    return JobPod(**attempt.fields())


_LAST_LINES = 12  # of the daemon's log, as evidence


class _Attempt:
    """One Job, from its dry run to its pod's end."""

    def __init__(
        self,
        api: Api,
        manifest: Json,
        node: str,
        deadline: float,
        on_event: Line,
        images: Collection[str] | None,
        unschedulable_for: float,
        shutdown: Shutdown | None,
    ) -> None:
        self.api, self.manifest, self.node, self.on_event, self.images = api, manifest, node, on_event, images
        self.namespace = manifest["metadata"]["namespace"]
        self.job = manifest["metadata"]["name"]
        template = manifest["spec"]["template"]
        self.pod_manifest: Json = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": self.job, "namespace": self.namespace},
            "spec": template["spec"],
        }
        self.vantage = manifest["metadata"]["labels"].get(VANTAGE, "pod")
        self.began = time.monotonic()
        self.end = self.began + deadline
        self.deadline, self.unschedulable_for = deadline, unschedulable_for
        self.shutdown = shutdown or Shutdown()
        self.made = False
        self.pod: Json | None = None
        self.gone = False
        self.over = False  # the end came by itself, not by our deadline
        self.events: dict[str, Json] = {}
        self.blind: ApiError | None = None  # why events can't be read
        self.verdict: tuple[Fault, str] | None = None
        self.refused: ApiError | None = None
        self.warnings: tuple[str, ...] = ()
        self._since: dict[str, float] = {}
        self._polling = False
        self.log_fault: StreamFault | None = None
        self._secrets: bool | None = None  # whether every pull secret of the pod is there; None if nobody had to ask

    @property
    def name(self) -> str:
        """The pod's name, or the Job's while there is no pod."""
        return str(self.pod["metadata"]["name"]) if self.pod else self.job

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def run(self, job: Needs | None, settled: Callable[[Json], bool]) -> None:
        """All of it; what became of it is then in the attributes."""
        self.on_event("asking whether the pod would be admitted")
        if self._admitted(job) and self._create():
            self._follow(settled)
            self._read_events()
            if self.pod is None and self.verdict is None:
                if self.blind:
                    raise unmeasured(self.blind)
                said = f"the Job {self.job} got no pod within {self.deadline:g} s"
                self.verdict = PodFault.DEADLINE, said

    # -- before there is a pod --

    def _admitted(self, job: Needs | None) -> bool:
        try:
            quotas = list(self.api.items(f"/api/v1/namespaces/{path_segment(self.namespace)}/resourcequotas"))
        except ApiError as error:
            if not error.rule and error.status != _NOT_FOUND:
                raise unmeasured(error) from error
            quotas = []  # then admission itself has the word
        fault, cause = quota_room(quotas, needs_of(self.pod_manifest), job)
        if fault:
            self.verdict = fault, cause
            return False
        try:
            _, self.warnings = self.api.create(_pods(self.namespace), self.pod_manifest, dry_run=True)
        except ApiError as error:
            if error.rule or "does not support dry run" in error.message:
                return True  # a Job is what we ask for; its controller may make pods although we may not
            self.verdict, self.refused = _refusal(error), error
            return False
        return True

    def _create(self) -> bool:
        jobs = f"/apis/batch/v1/namespaces/{path_segment(self.namespace)}/jobs"
        try:
            with self.shutdown.making(f"the Job {self.job}"):
                self.api.create(jobs, self.manifest)
        except ApiError as error:
            self.verdict, self.refused = _refusal(error), error
            return False
        self.made = True
        if self.shutdown.is_set():
            # Whoever sweeps may have given up waiting for it.
            with suppress(ApiError):
                self.api.delete(f"{jobs}/{path_segment(self.job)}")
        return True

    def _require_not_shutting_down(self) -> None:
        if self.shutdown.is_set():
            raise Unmeasured(f"the run was stopped before {self.vantage} on {self.node} had come to its end")

    # -- while it runs --

    def _follow(self, settled: Callable[[Json], bool]) -> None:
        trouble: ApiError | None = None
        while self.left > 0:
            self._require_not_shutting_down()
            try:
                version = self._list()
                self.over = self._over(settled)
                if not self.over and self.left > 0:
                    self._watch(version, settled)
                    self.over = self._over(settled)
                trouble = None
                if self.over:
                    return
            except ApiError as error:
                if error.rule or error.fault is ApiFault.UNAUTHORIZED:
                    raise unmeasured(error) from error
                trouble = error
                time.sleep(max(0.0, min(_PAUSE, self.left)))
                continue
            self._read_events()
            if self.pod is None and self._creation_refused():
                return
            if self._node_is_lost():
                return
        if trouble:
            raise unmeasured(trouble)

    def _list(self) -> str:
        query = {"labelSelector": f"job-name={self.job}"}
        page = self.api.get(_pods(self.namespace), deadline=max(min(self.api.deadline, self.left), _PAUSE), **query)
        pods = page.get("items") or []
        if pods:
            self.pod = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        elif self.pod is not None:
            self.gone = True
        return str(page.get("metadata", {}).get("resourceVersion", ""))

    def _watch(self, version: str, settled: Callable[[Json], bool]) -> None:
        window = min(LONG_WATCH if self.pod else SHORT_WATCH, self.left)
        if self._polling:
            time.sleep(max(0.0, min(_PAUSE, window)))
            return
        query = {"labelSelector": f"job-name={self.job}", "resourceVersion": version or None}
        try:
            for event in self.api.watch(_pods(self.namespace), timeout=window, **query):
                self.pod = event.get("object") or self.pod
                self.gone = event.get("type") == "DELETED"
                if self._over(settled):
                    return
        except ApiError as error:
            if error.status == _GONE:
                return
            if not error.rule:
                raise
            self._polling = True  # list is allowed, watch is not

    def _over(self, settled: Callable[[Json], bool]) -> bool:
        """Whether there is nothing more to wait for."""
        if self.pod is None:
            return False
        if self.gone or self.pod["metadata"].get("deletionTimestamp"):
            return True
        if settled(self.pod):
            return not self._pulls_again_with_its_secret()
        if self._lasts("unscheduled", bool(_unscheduled(self.pod))) > self.unschedulable_for:
            return True
        return self._lasts("stuck", self._a_container_waits(START_REASONS)) > NOT_STARTING_FOR

    def _a_container_waits(self, reasons: Collection[str]) -> bool:
        """Whether a container of the pod waits for one of these reasons."""
        return any(
            (each.get("state") or {}).get("waiting", {}).get("reason") in reasons
            for each in (self.pod or {}).get("status", {}).get("containerStatuses") or ()
        )

    def _node_is_lost(self) -> bool:
        """Whether the pod does not start because its node has stopped reporting: nothing comes of it before our end."""
        begun = bool({"running", "terminated"} & set(state_of(self.pod or {}, BUILD)))
        waits = self._lasts("not begun", self.pod is not None and not begun)
        if waits <= NODE_ASKED_AFTER:
            return False
        self._since.pop("not begun")  # and again after as long
        if trouble := self._node_trouble():
            self.verdict = PodFault.LOST, trouble
        return bool(trouble)

    def _pulls_again_with_its_secret(self) -> bool:
        """Whether a pull failed without a pull secret that is there: the kubelet learns of it late, and pulls again."""
        waits = self._a_container_waits(PULL_REASONS)
        if not waits or self._lasts("without its secret", waits) > SECRET_SEEN_WITHIN:
            return False
        self._read_events()
        if not self._told(self.name, "FailedToRetrieveImagePullSecret"):
            return False
        if self._secrets is None:
            self._secrets = self._has_pull_secrets()
        return self._secrets

    def _has_pull_secrets(self) -> bool:
        names = [str(each.get("name")) for each in (self.pod or {}).get("spec", {}).get("imagePullSecrets") or ()]
        try:
            for name in names:
                self.api.get(f"/api/v1/namespaces/{path_segment(self.namespace)}/secrets/{path_segment(name)}")
        except ApiError:
            return False
        return bool(names)

    def _lasts(self, what: str, holds: bool) -> float:  # noqa: FBT001 - a condition, no switch
        """Seconds for which a condition has held without a break."""
        if not holds:
            self._since.pop(what, None)
            return 0.0
        return time.monotonic() - self._since.setdefault(what, time.monotonic())

    def _read_events(self) -> None:
        """What is said about the Job and its pod; told on as it comes in."""
        for name in filter(None, {self.job, self.pod and self.name}):
            try:
                found = list(
                    self.api.items(
                        f"/api/v1/namespaces/{path_segment(self.namespace)}/events",
                        deadline=max(min(self.api.deadline, self.left), 1.0),
                        fieldSelector=f"involvedObject.name={name}",
                    )
                )
            except ApiError as error:
                self.blind = error
                return
            for event in found:
                uid = str(event["metadata"].get("uid") or event["metadata"].get("name"))
                known = uid in self.events
                self.events[uid] = event
                if not known and event.get("message"):
                    self.on_event(str(event["message"]))

    def _creation_refused(self) -> bool:
        for event in self._told(self.job, "FailedCreate"):
            self.verdict = classify_admission(_FORBIDDEN, str(event.get("message", "")))
            return True
        return False

    # -- afterwards --

    def _told(self, name: str, *reasons: str) -> list[Json]:
        """The events about one object, oldest first, of these reasons or all."""
        found = [
            event
            for event in self.events.values()
            if event.get("involvedObject", {}).get("name") == name and (not reasons or event.get("reason") in reasons)
        ]
        return sorted(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))

    def log(self, container: str) -> tuple[str, str]:
        """What a container printed, and what kept us from reading it."""
        path = f"{_pods(self.namespace)}/{path_segment(self.name)}/log"
        try:
            text = self.api.text(path, container=container, limitBytes=LONGEST_LOG)
        except ApiError as refused:
            error = classify_kubelet_path(self.api, refused)
            self.log_fault = error.fault if isinstance(error.fault, StreamFault) else None
            return "", f"{error.message}\n{error.rule}" if error.rule else error.message
        return ("", text.strip()) if _NO_LOG.match(text) else (text, "")

    def fields(self) -> Json:
        """The fields of a `JobPod`."""
        state = state_of(self.pod or {}, BUILD)
        started = bool({"running", "terminated"} & set(state)) and state.get("terminated", {}).get("reason") not in (
            START_ENDS
        )
        log, problem = self.log(BUILD) if started else ("", "")
        fault, cause = self._judgement(state)
        if fault and self.pod and self.node not in cause:
            cause = f"on {self.node}, {cause}"
        return {
            "target": self.node,
            "fault": fault,
            "cause": cause,
            "evidence": self._evidence(fault),
            "node": self.node,
            "job": self.job if self.made else "",
            "name": self.name if self.pod else "",
            "pulls": tuple(self._pulls()),
            "log": log,
            "log_problem": problem,
            "log_fault": self.log_fault,
            "started": started,
            "exit": state.get("terminated", {}).get("exitCode"),
            "warnings": self.warnings,
        }

    def _judgement(self, state: Json) -> tuple[Fault | None, str]:
        if self.verdict:
            return self.verdict
        pod = self.pod or {}
        fault, cause = classify_end(pod)
        if fault is PodFault.DEADLINE and not {"running", "terminated"} & set(state):
            return self._late(state)  # what it waited for says more than that it waited too long
        if fault or state.get("terminated"):
            return fault, cause
        if unscheduled := _unscheduled(pod):
            fault, cause = classify_scheduling(unscheduled)
            gone = "" if names_a_reason(fault) else self._node_trouble()
            return (PodFault.LOST, gone) if gone else (fault, f"the scheduler can't place the pod: {cause}")
        waiting = state.get("waiting", {})
        if waiting.get("reason") in PULL_REASONS:
            return classify_pull(self._pull_words(BUILD, waiting))
        for status in pod.get("status", {}).get("initContainerStatuses") or ():
            waits = (status.get("state") or {}).get("waiting", {})
            if waits.get("reason") in PULL_REASONS:
                return classify_pull(self._pull_words(status["name"], waits))
        if waiting.get("reason") in START_REASONS:
            return PodFault.START_ERROR, f"{waiting['reason']}: {waiting.get('message', '')}"
        if self.gone or pod.get("metadata", {}).get("deletionTimestamp"):
            return self._lost()
        return (None, "") if self.over else self._late(state)

    def _lost(self) -> tuple[Fault, str]:
        """Who took the pod away."""
        with suppress(ApiError):
            job = self.api.get(
                f"/apis/batch/v1/namespaces/{path_segment(self.namespace)}/jobs/{path_segment(self.job)}"
            )
            for condition in job.get("status", {}).get("conditions") or ():
                if condition.get("reason") == "DeadlineExceeded":
                    return PodFault.DEADLINE, f"the Job's own deadline ended pod {self.name}"
        return PodFault.LOST, self._node_trouble() or f"pod {self.name} was deleted by somebody else while it ran"

    def _late(self, state: Json) -> tuple[Fault, str]:
        """What the pod was at when our time was up."""
        after = f"after {self.deadline:g} s"
        if trouble := self._node_trouble():
            return PodFault.LOST, trouble
        if "running" in state:
            return PodFault.DEADLINE, f"the script of pod {self.name} was still running {after}"
        troubles = [event for event in self._told(self.name) if event.get("type") == "Warning"]
        pulling = self._of_container(BUILD, "Pulling")
        if pulling and not self._of_container(BUILD, "Pulled"):
            return PodFault.PULL_TIMEOUT, f"{_image_in(pulling[-1])} was still being pulled {after}"
        if troubles:
            return PodFault.START_ERROR, f"{troubles[-1].get('reason')}: {troubles[-1].get('message')}"
        return PodFault.DEADLINE, f"pod {self.name} had not started {after}"

    def _node_trouble(self) -> str:
        try:
            node = self.api.get(f"/api/v1/nodes/{path_segment(self.node)}")
        except ApiError as error:
            return f"node {self.node} is gone" if error.status == _NOT_FOUND else ""
        for condition in node.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("status") != "True":
                return f"node {self.node} is not ready: {condition.get('message')}"
        return ""

    # -- images --

    def _of_container(self, container: str, *reasons: str) -> list[Json]:
        return [
            event
            for event in self._told(self.name, *reasons)
            if str(event["involvedObject"].get("fieldPath", "")).endswith(f"ontainers{{{container}}}")
        ]

    def _pull_words(self, container: str, waiting: Json) -> str:
        """Why a pull failed: the kubelet's event has the reason even while the state says no more than «back-off»."""
        failures = [
            str(event.get("message", ""))
            for event in self._of_container(container, "Failed", "InspectFailed")
            if not str(event.get("message", "")).startswith("Error: ")
        ]
        words = failures[-1] if failures else str(waiting.get("message") or waiting.get("reason") or "")
        missing = [str(event["message"]) for event in self._told(self.name, "FailedToRetrieveImagePullSecret")]
        return f"{words} ({missing[-1]})" if missing and waiting else words

    def _pulls(self) -> Iterator[ImagePull]:
        told: set[str] = set()
        for container in self.pod_manifest["spec"]["containers"] if self.pod else ():
            image = str(container["image"])
            if image not in told and (pull := self._pull(container["name"], image)):
                told.add(image)
                yield pull

    def _pull(self, container: str, image: str) -> ImagePull | None:
        fault: PodFault | None = None
        cause, seconds = "", None
        events = self._of_container(container)
        pulled = [event for event in events if event.get("reason") == "Pulled"]
        state = state_of(self.pod or {}, container)
        waiting = state.get("waiting", {})
        fresh = None if self.images is None else _fresh(image, self.images)
        if waiting.get("reason") in PULL_REASONS:
            fault, cause = classify_pull(self._pull_words(container, waiting))
            cause = f"{self.node} could not pull {image}: {cause}"
        elif pulled:
            message = str(pulled[-1].get("message", ""))
            seconds = pull_seconds(message)
            fresh = False if "already present" in message else fresh
        elif any(event.get("reason") == "Pulling" for event in events):
            if not {"running", "terminated"} & set(state):
                fault = PodFault.PULL_TIMEOUT
                cause = f"{self.node} was still pulling {image} after {time.monotonic() - self.began:.0f} s"
        elif not {"running", "terminated"} & set(state):
            return None
        observed = "\n".join(_line(event) for event in events) or _words(state)
        evidence = Evidence(where=self._where, command=self._events_command, observed=observed, took=seconds or 0.0)
        return ImagePull(
            target=image,
            image=image,
            node=self.node,
            fault=fault,
            cause=cause,
            seconds=seconds,
            fresh=fresh,
            evidence=evidence,
        )

    # -- evidence --

    @property
    def _where(self) -> str:
        return f"{self.vantage} on {self.node}"

    @property
    def _events_command(self) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        return kubectl("GET", path, {"fieldSelector": f"involvedObject.name={self.name}"})

    def _evidence(self, fault: Fault | None) -> Evidence:
        took = time.monotonic() - self.began
        if self.refused:
            return Evidence(
                where=self._where, command=paste(self.pod_manifest), observed=self.refused.message, took=took
            )
        if fault is PodFault.QUOTA and not self.made:
            command = kubectl("GET", f"/api/v1/namespaces/{self.namespace}/resourcequotas", {})
            return Evidence(
                where=self._where, command=command, observed=self.verdict[1] if self.verdict else "", took=took
            )
        lines = [_line(event) for event in self._told(self.name)]
        if self.pod:
            lines.append(f"pod {self.name}: {_summary(self.pod)}")
        return Evidence(where=self._where, command=self._events_command, observed="\n".join(lines), took=took)


_NOT_FOUND, _FORBIDDEN, _GONE = 404, 403, 410
_NO_LOG = re.compile(
    r"failed to try resolving symlinks in path |unable to retrieve container logs for "
)  # the kubelet's
_PAUSE = 0.5  # seconds between looks when the API can't be watched


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{path_segment(namespace)}/pods"


_HINDRANCES = {ApiFault.UNAUTHORIZED, ApiFault.TOO_MANY_REQUESTS, ApiFault.CONFLICT, ApiFault.GARBLED, ApiFault.CONTEXT}


def _refusal(error: ApiError) -> tuple[PodFault, str]:
    """What admission said; whatever else went wrong is a reason why we could not look."""
    webhook = "admission webhook" in error.message or "failed calling webhook" in error.message
    server_side = error.status is None or error.status >= _SERVER_ERROR
    if error.rule or error.fault in _HINDRANCES or (server_side and not webhook):
        raise unmeasured(error) from error
    return classify_admission(error.status or 0, error.message)


_SERVER_ERROR = 500


def paste(pod: Json) -> str:
    """A command that asks for the same admission; the script is left out, for admission does not read it."""
    short = json.loads(json.dumps(pod))
    for container in short["spec"]["containers"]:
        if container.get("command", [None])[0] == "sh":
            container["command"] = ["true"]
    name = pod["metadata"]["namespace"]
    return f"kubectl -n {name} create --dry-run=server -f - <<'EOF'\n{json.dumps(short, separators=(',', ':'))}\nEOF"


def _all_settled(pod: Json) -> bool:
    """Whether every container of ours has ended or can't begin; those that others inject run as long as they like."""
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} or _init_fails(pod):
        return True
    ours = [name for name in _names(pod) if name == BUILD or name.startswith("image-")]
    return all(_settled(state_of(pod, name)) for name in ours)


def _runs_or_settled(pod: Json) -> bool:
    return "running" in state_of(pod, BUILD) or _all_settled(pod)


def _client_or_daemon_settled(pod: Json) -> bool:
    """Whether the client has ended, or waits in vain because its daemon has ended or can't begin."""
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} or _init_fails(pod):
        return True
    aliases = {name for each in pod["spec"].get("hostAliases") or () for name in each.get("hostnames") or ()}
    daemons = [name for name in _names(pod) if name in aliases or name.startswith("svc-")]
    return any(_settled(state_of(pod, name)) for name in (BUILD, *daemons))


def _names(pod: Json) -> list[str]:
    return [str(each["name"]) for each in pod.get("spec", {}).get("containers") or ()]


def _settled(state: Json) -> bool:
    return "terminated" in state or state.get("waiting", {}).get("reason") in PULL_REASONS


def _init_fails(pod: Json) -> bool:
    statuses = pod.get("status", {}).get("initContainerStatuses") or ()
    return any((each.get("state") or {}).get("waiting", {}).get("reason") in PULL_REASONS for each in statuses)


def _unscheduled(pod: Json) -> str:
    """The scheduler's words while it finds no node; empty otherwise."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no node was found")
    return ""


def _words(state: Json) -> str:
    """A container's state as a person would say it."""
    if ended := state.get("terminated"):
        return f"exited {ended.get('exitCode')}"
    if waiting := state.get("waiting"):
        return f"waiting: {waiting.get('reason')}"
    return "running" if "running" in state else ""


def _summary(pod: Json) -> str:
    parts = [str(pod.get("status", {}).get("phase", ""))]
    parts += [f"{name} {_words(state_of(pod, name)) or 'not created'}" for name in _names(pod)]
    return ", ".join(filter(None, [*parts, _unscheduled(pod)]))


def _line(event: Json) -> str:
    """An event as ``kubectl get events`` prints it."""
    about = event.get("involvedObject", {})
    kind, name = str(about.get("kind", "")).lower(), about.get("name", "")
    return f"{event.get('type')}  {event.get('reason')}  {kind}/{name}  {event.get('message')}"


def _image_in(event: Json) -> str:
    found = re.search(r'"([^"]*)"', str(event.get("message", "")))
    return found[1] if found else "the image"


_LISTED_AT_MOST = 50  # images that a kubelet lists (nodeStatusMaxImages)


def _fresh(image: str, images: Collection[str]) -> bool | None:
    """Whether the node did not list the image; None if its list may have been cut."""
    full = image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
    host = full.partition("/")[0]
    if "/" not in full:
        full = f"docker.io/library/{full}"
    elif "." not in host and ":" not in host and host != "localhost":
        full = f"docker.io/{full}"
    if {image, full} & set(images):
        return False
    return None if len(images) >= _LISTED_AT_MOST else True
