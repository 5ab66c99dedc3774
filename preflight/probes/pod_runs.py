"""One Job of ours, from the dry run of its pod until there is nothing more to wait for.

`PodRun` asks whether the pod would be admitted, makes the Job, and follows its pod; it judges only what kept the pod
from existing. What became of a pod that did exist, `preflight.probes.pods` says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from preflight.clients.kube_api import Api, classify_kubelet_path, is_api_object, jobs_path, path_segment, pods_path
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Unmeasured
from preflight.faults import ApiFault, Fault, PodFault, StreamFault
from preflight.jobshape import BUILD, PULLED, VANTAGE
from preflight.probes.pod_messages import (
    PATH_FAULTS,
    PULL_REASONS,
    START_REASONS,
    classify_admission,
    classify_pull,
    container_of,
    is_failed_pull,
    state_of,
)
from preflight.probes.pod_states import has_started, is_settled, unscheduled, waits_for
from preflight.probes.quota import Needs, needs_of, quota_room
from preflight.probes.registry import parse_reference
from preflight.shutdown import Shutdown

Json = dict[str, Any]
OnEvent = Callable[[str], None]

LONGEST_LOG = 2**20  # bytes of one container's log
UNSCHEDULABLE_FOR = 3.0  # seconds that the scheduler may say no before it is believed
NOT_STARTING_FOR = 10.0  # seconds that a container may fail to be created before that is believed
TAKEN_UP_WITHIN = 30.0  # seconds in which a kubelet notes that it has a pod; it takes about one
NODE_ASKED_AFTER = 15.0  # seconds that a pod does not begin before its node is asked for its state
SECRET_SEEN_WITHIN = 30.0  # seconds that a kubelet may take to see a pull secret that is there; it pulls again after 10
SECRET_MISSED = "FailedToRetrieveImagePullSecret"  # noqa: S105 - the reason of a kubelet's event
CUT_OFF_FOR = 40.0  # seconds that a pod may be at a first pull from a registry that is known to be out of reach
HELD_UP_FOR = 10.0  # seconds that another registry's image may wait behind such pulls, of other pods too
SHORT_WATCH = 1.0  # seconds of one watch while there is no pod yet
LONG_WATCH = 2.0  # seconds of one watch after that; between two, events are read
PAUSE = 0.5  # seconds between two lists when the API can't be watched, or has just failed

_NOT_FOUND, _FORBIDDEN, _GONE, _SERVER_ERROR = 404, 403, 410, 500
_KUBELET_HAS_NO_LOG = re.compile(r"failed to try resolving symlinks in path |unable to retrieve container logs for ")


class MootError(Unmeasured):
    """A pod was given up, or not made: something else shows by now that nothing comes of it.

    Args:
        reason: what was given up.
        job: the name of its Job, which may have been made.
    """

    def __init__(self, reason: str, *, job: str) -> None:
        super().__init__(reason)
        self.job = job


class PodRun:
    """One Job and its pod.

    Args:
        api: the cluster's API.
        manifest: the Job's.
        node: where it is pinned to.
        deadline: seconds for all of it.
        on_event: called with what the pod is at, in the API's words.
        images: what the node held before; None if that is not known.
        unschedulable_for: seconds that the scheduler may say no before it is believed.
        cut_off: the hosts of registries that are known by now to be out of the node's reach.
        slow: those of registries that are known by now to deliver slowly.
        slow_for: seconds that a pod may be at pulls from these.
        moot: whether nothing comes of the pod any more, because something else says so.
        shutdown: of the run.

    Attributes:
        namespace: the Job's; `job`: its name; `vantage`: what its pod stands for.
        pod_manifest: the pod that the Job's controller makes of it.
        made: whether the Job was made.
        pod: the pod's newest state; None while there is none.
        gone: whether the pod was deleted.
        over: whether the end came by itself, not by our deadline.
        verdict: what kept the pod from existing or from starting, with its cause.
        refused: the refusal that the verdict comes from.
        warnings: what admission warned of.
        held_up: the containers whose images were not pulled, since the kubelet was at pulls that come to nothing.
        log_fault: why a log could not be read, if that was the node's kubelet, out of reach of the API server.
    """

    def __init__(  # noqa: PLR0913 - what is known beside it, and when to give up
        self,
        api: Api,
        manifest: Json,
        *,
        node: str,
        deadline: float,
        on_event: OnEvent,
        images: Collection[str] | None = None,
        unschedulable_for: float = UNSCHEDULABLE_FOR,
        cut_off: Callable[[], Collection[str]] = tuple,
        slow: Callable[[], Collection[str]] = tuple,
        slow_for: float = 0.0,
        moot: Callable[[], bool] = bool,
        shutdown: Shutdown | None = None,
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
        self.deadline = deadline
        self.made = False
        self.pod: Json | None = None
        self.gone = False
        self.over = False
        self.verdict: tuple[Fault, str] | None = None
        self.refused: ApiError | None = None
        self.warnings: tuple[str, ...] = ()
        self.held_up: frozenset[str] = frozenset()
        self.log_fault: StreamFault | None = None
        self._end = self.began + deadline
        self._unschedulable_for = unschedulable_for
        self._cut_off = cut_off
        self._slow, self._slow_for = slow, slow_for
        self._moot = moot
        self._shutdown = shutdown or Shutdown()
        self._events: dict[str, Json] = {}
        self._events_refused: ApiError | None = None
        self._since: dict[str, float] = {}
        self._polling = False
        self._secrets_exist: bool | None = None  # None if nobody had to ask
        self._may_be_two = False  # whether a second pod can't be one too many for a quota
        self._made_anew = False

    @property
    def name(self) -> str:
        """The pod's name, or the Job's while there is no pod."""
        return str(self.pod["metadata"]["name"]) if self.pod else self.job

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def _left(self) -> float:
        return self._end - time.monotonic()

    def run(self, job: Needs | None, settled: Callable[[Json], bool]) -> None:
        """All of it; what became of it is then in the attributes.

        Args:
            job: what a real job would count for in a quota.
            settled: whether there is nothing more to wait for in a pod.

        Raises:
            Unmeasured: the API could not be asked, our pod would take a quota's last tenth, or the run is stopping.
            MootError: nothing would come of the pod.
        """
        self.on_event("asking whether the pod would be admitted")
        if self._is_admitted(job) and self._create():
            self._follow(settled)
            self._read_events()
            if self.pod is None and self.verdict is None:
                if self._events_refused:
                    raise unmeasured(self._events_refused)
                self.verdict = PodFault.DEADLINE, f"the Job {self.job} got no pod within {self.deadline:g} s"

    # -- before there is a pod --

    def _is_admitted(self, job: Needs | None) -> bool:
        try:
            quotas = list(self.api.items(f"/api/v1/namespaces/{path_segment(self.namespace)}/resourcequotas"))
        except ApiError as error:
            if not error.rule and error.status != _NOT_FOUND:
                raise unmeasured(error) from error
            quotas = []  # then admission itself decides
        else:
            self._may_be_two = not quotas
        fault, cause = quota_room(quotas, needs_of(self.pod_manifest), job)
        if fault:
            self.verdict = fault, cause
            return False
        try:
            _, self.warnings = self.api.create(pods_path(self.namespace), self.pod_manifest, dry_run=True)
        except ApiError as error:
            if error.rule or "does not support dry run" in error.message:
                return True  # a Job is what we ask for; its controller may make pods although we may not
            self.verdict, self.refused = classify_refusal(error), error
            return False
        return True

    def _create(self) -> bool:
        self._require_sense()
        try:
            with self._shutdown.making(f"the Job {self.job}"):
                self.api.create(jobs_path(self.namespace), self.manifest)
        except ApiError as error:
            self.verdict, self.refused = classify_refusal(error), error
            return False
        self.made = True
        self._shutdown.note("Job", self.job)
        if self._shutdown.is_set():
            # Whoever sweeps may have given up waiting for it.
            with suppress(ApiError):
                self.api.delete(jobs_path(self.namespace, self.job))
        return True

    # -- while it runs --

    def _follow(self, settled: Callable[[Json], bool]) -> None:
        failure: ApiError | None = None
        while self._left > 0:
            if self._shutdown.is_set():
                raise Unmeasured(f"the run was stopped before {self.vantage} on {self.node} had ended")
            self._require_sense()
            try:
                version = self._list()
                self.over = self._is_over(settled)
                if not self.over and self._left > 0:
                    self._watch(version, settled)
                    self.over = self._is_over(settled)
                failure = None
                if self.over:
                    return
            except ApiError as error:
                if error.rule or error.fault is ApiFault.UNAUTHORIZED:
                    raise unmeasured(error) from error
                failure = error
                time.sleep(max(0.0, min(PAUSE, self._left)))
                continue
            self._read_events()
            if self.pod is None and self._creation_was_refused():
                return
            if self._misses_its_secret():
                self._make_anew()
                continue
            if self._node_is_lost() or self._is_ignored():
                return
            if self._pulls_in_vain():
                self.over = True
                return
        if failure:
            raise unmeasured(failure)

    def _list(self) -> str:
        """Take the Job's newest pod; returns the list's resourceVersion."""
        query = {"labelSelector": f"job-name={self.job}"}
        page = self.api.get(pods_path(self.namespace), deadline=max(min(self.api.deadline, self._left), PAUSE), **query)
        items = page.get("items")
        pods = [pod for pod in items if is_api_object(pod)] if isinstance(items, list) else []
        for pod in pods:
            self._shutdown.note("pod", str(pod["metadata"]["name"]))
        if pods:
            self.pod = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        elif self.pod is not None:
            self.gone = True
        metadata = page.get("metadata")
        return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""

    def _watch(self, version: str, settled: Callable[[Json], bool]) -> None:
        window = min(LONG_WATCH if self.pod else SHORT_WATCH, self._left)
        if self._polling:
            time.sleep(max(0.0, min(PAUSE, window)))
            return
        query = {"labelSelector": f"job-name={self.job}", "resourceVersion": version or None}
        try:
            for event in self.api.watch(pods_path(self.namespace), timeout=window, **query):
                self.pod = event.get("object") or self.pod
                if self.pod is not None:
                    self._shutdown.note("pod", str(self.pod["metadata"]["name"]))
                self.gone = event.get("type") == "DELETED"
                if self._is_over(settled):
                    return
        except ApiError as error:
            if error.status == _GONE:
                return
            if not error.rule:
                raise
            self._polling = True  # list is allowed, watch is not

    def _is_over(self, settled: Callable[[Json], bool]) -> bool:
        """Whether there is nothing more to wait for."""
        if self.pod is None:
            return False
        if self.gone or self.pod["metadata"].get("deletionTimestamp"):
            return True
        if settled(self.pod):
            return not self._pulls_again_with_its_secret()
        if self._lasts("unscheduled", bool(unscheduled(self.pod))) > self._unschedulable_for:
            return True
        return self._lasts("stuck", waits_for(self.pod, START_REASONS)) > NOT_STARTING_FOR

    def _require_sense(self) -> None:
        if self._moot():
            reason = f"{self.vantage} on {self.node} was given up: what it shows is known to be of no use"
            raise MootError(reason, job=self.job)

    def _node_is_lost(self) -> bool:
        """Whether the pod does not start because its node has stopped reporting: nothing comes of it before our end."""
        pending = self.pod is not None and not has_started(state_of(self.pod, BUILD))
        if self._lasts("not begun", pending) <= NODE_ASKED_AFTER:
            return False
        self._since.pop("not begun")  # and again after as long
        if problem := self.node_problem():
            self.verdict = PodFault.LOST, problem
        return bool(problem)

    def _is_ignored(self) -> bool:
        """Whether the kubelet does nothing about the pod: while its runtime is down, it does not even note a start."""
        status = (self.pod or {}).get("status", {})
        conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
        is_bound = conditions.get("PodScheduled") == "True"
        has_begun = bool(status.get("startTime") or status.get("hostIP") or status.get("containerStatuses"))
        if self._lasts("ignored", is_bound and not has_begun) <= TAKEN_UP_WITHIN:
            return False
        shown = (
            f"the kubelet of {self.node} has not begun with the pod in {TAKEN_UP_WITHIN:g} s: its runtime may be down"
        )
        self.verdict = PodFault.LOST, self.node_problem() or shown
        return True

    def _pulls_in_vain(self) -> bool:
        """Whether whatever is still to be pulled comes from a registry to which this node has no path, or a slow one.

        A kubelet pulls one image after the other, reports how a pull failed in an event at once, and in the pod's state
        only when it has tried all of them. So the first real error of a registry is that of its other images, too, and
        a container that is there for its image alone is done as soon as that is pulled. Where other pods' pulls from
        such a registry come first as well, another registry's image may have to wait for minutes: it is left then.
        """
        if self.pod is None:
            return False
        images = {str(item["name"]): str(item["image"]) for item in self.pod_manifest["spec"]["containers"]}
        failed = {
            name: fault
            for event in self.events_of(self.name)
            if is_failed_pull(event)
            and (name := container_of(event)) in images
            and (fault := classify_pull(str(event["message"]))[0])
        }
        cut_off = {parse_reference(images[name]).host for name, fault in failed.items() if fault in PATH_FAULTS}
        pulled = {container_of(event) for event in self.events_of(self.name, "Pulled")}
        is_held_up = self._lasts("held up", bool(cut_off)) > HELD_UP_FOR
        if self.seconds > CUT_OFF_FOR and not pulled:
            known = {parse_reference(image).host for image in images.values()} & set(self._cut_off())
            is_held_up = is_held_up or bool(known)
            cut_off |= known
        slow = self._pulls_slowly(images, pulled)
        is_held_up = is_held_up or bool(slow)
        cut_off |= slow
        waiting = {
            name
            for name in images
            if not is_settled(state_of(self.pod, name))
            and name not in failed
            and not (name in pulled and name.startswith(PULLED))
        }
        if not cut_off or any(name in pulled or has_started(state_of(self.pod, name)) for name in waiting):
            return False
        held_up = {name for name in waiting if parse_reference(images[name]).host not in cut_off}
        self.held_up = frozenset(held_up)
        return is_held_up or not held_up

    def _pulls_slowly(self, images: Mapping[str, str], pulled: Collection[str]) -> set[str]:
        """The hosts of slow registries, once the pod has been at pulls from them for long enough."""
        slow = set(self._slow())
        begun = {container_of(event) for event in self.events_of(self.name, "Pulling")} & images.keys()
        at_it = any(parse_reference(images[name]).host in slow for name in begun - set(pulled))
        return slow if self._lasts("slow", at_it) > self._slow_for else set()

    def _pulls_again_with_its_secret(self) -> bool:
        """Whether a pull failed without a pull secret that is there: the kubelet learns of it late, and pulls again."""
        waits = waits_for(self.pod or {}, PULL_REASONS)
        if not waits or self._lasts("without its secret", waits) > SECRET_SEEN_WITHIN:
            return False
        self._read_events()
        return self._missed_a_secret()

    def _missed_a_secret(self) -> bool:
        """Whether the kubelet did not see a pull secret of the pod that is there."""
        if not self.events_of(self.name, SECRET_MISSED):
            return False
        if self._secrets_exist is None:
            self._secrets_exist = self._has_pull_secrets()
        return self._secrets_exist

    def _misses_its_secret(self) -> bool:
        if self.pod is None or self._made_anew or not self._may_be_two:
            return False
        # The pod's state shows a failed pull only when its other images have been tried, too.
        failed = waits_for(self.pod, PULL_REASONS) or any(map(is_failed_pull, self.events_of(self.name)))
        return failed and self._missed_a_secret()

    def _make_anew(self) -> None:
        """Make the Job once more, in place of the one whose kubelet had not seen the pull secret yet.

        A kubelet looks a secret up when the first pod that names it comes, and pulls without it after a second. For the
        same pod it pulls again after 10 s and more, for the next one at once, with the secret.
        """
        self._made_anew = True
        before = self.manifest
        name = f"{before['metadata']['name']}-2"
        self.manifest = {**before, "metadata": {**before["metadata"], "name": name}}
        self.job = name
        if not self._create():
            self.manifest, self.job, self.verdict, self.refused = before, before["metadata"]["name"], None, None
            return
        self.pod = None
        with suppress(ApiError):  # else the sweep removes it
            self.api.delete(jobs_path(self.namespace, before["metadata"]["name"]))

    def _has_pull_secrets(self) -> bool:
        secrets = (self.pod or {}).get("spec", {}).get("imagePullSecrets") or ()
        try:
            for secret in secrets:
                name = path_segment(str(secret.get("name")))
                self.api.get(f"/api/v1/namespaces/{path_segment(self.namespace)}/secrets/{name}")
        except ApiError:
            return False
        return bool(secrets)

    def _lasts(self, condition: str, holds: bool) -> float:  # noqa: FBT001 - a condition, no switch
        """Seconds for which a condition has held without a break."""
        if not holds:
            self._since.pop(condition, None)
            return 0.0
        return time.monotonic() - self._since.setdefault(condition, time.monotonic())

    # -- events, logs and the node --

    def _read_events(self) -> None:
        """Read the events of the Job and its pod, and pass new ones on."""
        for name in filter(None, {self.job, self.pod and self.name}):
            try:
                events = list(
                    self.api.items(
                        f"/api/v1/namespaces/{path_segment(self.namespace)}/events",
                        deadline=max(min(self.api.deadline, self._left), 1.0),
                        fieldSelector=f"involvedObject.name={name}",
                    )
                )
            except ApiError as error:
                self._events_refused = error
                return
            for event in events:
                uid = str(event["metadata"].get("uid") or event["metadata"].get("name"))
                known = uid in self._events
                self._events[uid] = event
                if not known and event.get("message"):
                    self.on_event(str(event["message"]))

    def _creation_was_refused(self) -> bool:
        for event in self.events_of(self.job, "FailedCreate"):
            self.verdict = classify_admission(_FORBIDDEN, str(event.get("message", "")))
            return True
        return False

    def events_of(self, name: str, *reasons: str) -> list[Json]:
        """The events about one object, oldest first, of these reasons or all."""
        events = [
            event
            for event in self._events.values()
            if event.get("involvedObject", {}).get("name") == name and (not reasons or event.get("reason") in reasons)
        ]
        return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def log(self, container: str) -> tuple[str, str]:
        """What a container printed, and why that could not be read."""
        path = f"{pods_path(self.namespace, self.name)}/log"
        try:
            text = self.api.text(path, container=container, limitBytes=LONGEST_LOG)
        except ApiError as refused:
            error = classify_kubelet_path(self.api, refused)
            self.log_fault = error.fault if isinstance(error.fault, StreamFault) else None
            return "", f"{error.message}\n{error.rule}" if error.rule else error.message
        return ("", text.strip()) if _KUBELET_HAS_NO_LOG.match(text) else (text, "")

    def node_problem(self) -> str:
        """Why the node can't run the pod; empty if it is ready, or can't be asked for."""
        try:
            node = self.api.get(f"/api/v1/nodes/{path_segment(self.node)}")
        except ApiError as error:
            return f"node {self.node} is gone" if error.status == _NOT_FOUND else ""
        for condition in node.get("status", {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("status") != "True":
                return f"node {self.node} is not ready: {condition.get('message')}"
        return ""


_NO_REFUSAL = {ApiFault.UNAUTHORIZED, ApiFault.TOO_MANY_REQUESTS, ApiFault.CONFLICT, ApiFault.GARBLED, ApiFault.CONTEXT}


def classify_refusal(error: ApiError) -> tuple[PodFault, str]:
    """The fault and the cause in a refusal by admission.

    Raises:
        Unmeasured: it was not admission that refused.
    """
    webhook = "admission webhook" in error.message or "failed calling webhook" in error.message
    server_side = error.status is None or error.status >= _SERVER_ERROR
    if error.rule or error.fault in _NO_REFUSAL or (server_side and not webhook):
        raise unmeasured(error) from error
    return classify_admission(error.status or 0, error.message)
