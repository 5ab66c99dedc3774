"""The control loops: scheduler, Job controller, garbage collector.

One task processes the changes of the cluster's objects, in order; timers (a Job's deadline and time to live) only
trigger another sync of a Job.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal

from lab.cluster import timestamps
from lab.cluster.resources import BY_PLURAL, PODS
from lab.cluster.state import UNSCHEDULABLE, copied
from lab.kubernetes.admission import Admission, count_quotas
from lab.kubernetes.defaults import fill_in
from lab.kubernetes.kubelet import record_exception
from lab.kubernetes.refusals import Refusal
from lab.kubernetes.scheduling import SCHEDULER, place

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lab.cluster.state import Change, ClusterState, Raw
    from lab.kubernetes.kubelet import Kubelets

Propagation = Literal["Background", "Foreground", "Orphan"]
TRACKING = "batch.kubernetes.io/job-tracking"
_FOREGROUND = "foregroundDeletion"
_CONTROLLER = "job-controller"
_FINAL = ("Succeeded", "Failed")
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0  # seconds before a pod that was refused is tried again
_HEARTBEAT_INTERVAL = 30.0  # seconds between a node's heartbeats


class ControlPlane:
    """The controllers of one cluster; `start` and `stop` are called in the loop of the servers."""

    def __init__(self, cluster: ClusterState, kubelets: Kubelets) -> None:
        self.cluster, self.kubelets = cluster, kubelets
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._pending: dict[str, Raw] = {}  # pods without a node, by uid
        self._refused: set[str] = set()  # Jobs whose last pod was refused and that wait to try again, by uid
        self._waits: dict[str, float] = {}  # their last delays, in seconds
        self._ending: set[str] = set()  # pods that are being stopped, by uid

    def start(self) -> None:
        """Start, and process the existing objects."""
        loop = asyncio.get_running_loop()
        self._unsubscribe = self.cluster.subscribe(
            lambda change: loop.call_soon_threadsafe(self._changes.put_nowait, change)
        )
        for resource in ("pods", "jobs"):
            for item in self.cluster.list(resource):
                self._handle(resource, item)
        for namespace in self.cluster.list("namespaces"):
            count_quotas(self.cluster, namespace["metadata"]["name"])
        self._spawn(self._work())
        self._spawn(self._send_heartbeats())

    async def stop(self) -> None:
        """End all loops, timers and containers."""
        self._unsubscribe()
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.kubelets.close()

    # ---- the queue of changes

    async def _work(self) -> None:
        while True:
            change = await self._changes.get()
            metadata = change.item["metadata"]
            if change.type == "DELETED":
                await self._handle_deletion(change)
                continue
            item = self.cluster.get(change.resource, metadata.get("namespace", ""), metadata["name"])
            if item is not None and item["metadata"]["uid"] == metadata["uid"]:
                self._handle(change.resource, item)

    def _handle(self, resource: str, item: Raw) -> None:
        if resource == "pods":
            self._handle_pod(item)
        elif resource == "jobs":
            self._sync(item)
        elif resource == "nodes":
            self._sync_cordon_taint(item)
            self._schedule_all()
        elif resource == "resourcequotas":
            count_quotas(self.cluster, item["metadata"]["namespace"])

    def _handle_pod(self, pod: Raw) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            self._terminate(pod)
        elif not pod["spec"].get("nodeName"):
            self._pending[metadata["uid"]] = pod
            self._schedule(pod)
        else:
            self.kubelets.start_pod(pod)
        if pod["status"].get("phase") in _FINAL:
            self._schedule_all()
        count_quotas(self.cluster, metadata["namespace"])
        job = self._job_of(pod)
        if job is not None:
            self._sync(job)

    async def _handle_deletion(self, change: Change) -> None:
        item, metadata = change.item, change.item["metadata"]
        if change.resource == "pods":
            await self.kubelets.stop_pod(item)
            self.kubelets.drop_logs(item)
            self._pending.pop(metadata["uid"], None)
            self._schedule_all()
            count_quotas(self.cluster, metadata["namespace"])
            job = self._job_of(item)
            if job is not None:
                self._sync(job)
        elif change.resource == "namespaces":
            for plural, resource in BY_PLURAL.items():
                for other in self.cluster.list(plural, metadata["name"]) if resource.namespaced else []:
                    self.cluster.remove(plural, metadata["name"], other["metadata"]["name"])
        for kind, dependent in self._dependents(metadata):
            self.delete(kind, dependent, propagation="Background")

    # ---- the scheduler

    def _schedule_all(self) -> None:
        for pod in list(self._pending.values()):
            self._schedule(pod)

    def _schedule(self, pod: Raw) -> None:
        metadata = pod["metadata"]
        if pod["spec"].get("schedulerName") != SCHEDULER or "deletionTimestamp" in metadata:
            return
        placement = place(pod, self.cluster.each("nodes"), self.cluster.each("pods"))
        previous = next(
            (other for other in pod["status"].get("conditions", []) if other["type"] == "PodScheduled"), None
        )
        condition: Raw = {
            "type": "PodScheduled",
            "status": "True" if placement.node else "False",
            "lastProbeTime": None,
        }
        condition["lastTransitionTime"] = timestamps.now()
        if not placement.node:
            condition |= {"reason": "Unschedulable", "message": placement.message}
            if previous is not None and previous.get("message") == placement.message:
                return
        status = pod["status"]
        others = [other for other in status.get("conditions", []) if other["type"] != "PodScheduled"]
        quality = status.pop("qosClass")
        status |= {"conditions": [*others, condition], "qosClass": quality}
        if placement.node:
            self._pending.pop(metadata["uid"], None)
            pod["spec"]["nodeName"] = placement.node
            message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {placement.node}"
            self.cluster.touch("pods", pod)
            self.cluster.event(pod, "Pod", "Scheduled", message, component=SCHEDULER)
            return
        self.cluster.touch("pods", pod)
        self.cluster.event(pod, "Pod", "FailedScheduling", placement.message, warning=True, component=SCHEDULER)

    def _sync_cordon_taint(self, node: Raw) -> None:
        """Keep a node's taint for unschedulable in step with its spec."""
        spec, name = node["spec"], node["metadata"]["name"]
        tainted = any(taint["key"] == UNSCHEDULABLE for taint in spec.get("taints") or [])
        if spec.get("unschedulable") and not tainted:
            self.cluster.taint(name, UNSCHEDULABLE)
        elif tainted and not spec.get("unschedulable"):
            spec["taints"] = [taint for taint in spec["taints"] if taint["key"] != UNSCHEDULABLE]
            self.cluster.touch("nodes", node)

    # ---- Jobs

    def _sync(self, job: Raw) -> None:
        """Reconcile a Job: create missing pods, count ended ones, set its conditions."""
        metadata, spec, status = job["metadata"], job["spec"], job["status"]
        if "deletionTimestamp" in metadata:
            return
        pods = self._pods_of(job)
        self._untrack(pods)
        if _finished(status):
            self._expire(job)
            return
        before = copied(status)
        status.setdefault("startTime", timestamps.now())
        living = [pod for pod in pods if pod["status"].get("phase") not in _FINAL]
        active = [pod for pod in living if "deletionTimestamp" not in pod["metadata"]]
        succeeded = sum(pod["status"].get("phase") == "Succeeded" for pod in pods)
        failed = sum(pod["status"].get("phase") == "Failed" for pod in pods)
        wanted = spec.get("completions") or 1
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and self._elapsed(status["startTime"]) >= deadline:
            message = "Job was active longer than specified deadline"
            self._fail(job, active, "DeadlineExceeded", message, failed + len(active))
        elif failed > spec["backoffLimit"]:
            message = "Job has reached the specified backoff limit"
            self._fail(job, active, "BackoffLimitExceeded", message, failed)
        elif succeeded >= wanted and not active:
            status["conditions"] = [_condition("Complete")]
            status["completionTime"] = timestamps.now()
            _count(status, active=0, succeeded=succeeded, failed=failed, ready=0)
            self.cluster.event(job, "Job", "Completed", "Job completed", component=_CONTROLLER)
        else:
            lacking = min(spec["parallelism"], wanted - succeeded) - len(living)
            waiting = spec.get("suspend") or metadata["uid"] in self._refused
            made = 0 if waiting else sum(self._create_pod(job) for _ in range(lacking))
            ready = sum(_is_ready(pod) for pod in active)
            _count(status, active=len(active) + made, succeeded=succeeded, failed=failed, ready=ready)
            if deadline is not None:
                self._later(job, "deadline", (deadline - self._elapsed(status["startTime"])) / self.cluster.pace)
        if status != before:
            self.cluster.touch("jobs", job)

    def _create_pod(self, job: Raw) -> bool:
        """Create a pod of a Job; returns whether admission accepted it."""
        metadata, template = job["metadata"], job["spec"]["template"]
        labels, annotations = template["metadata"].get("labels"), template["metadata"].get("annotations")
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        item: Raw = {
            "kind": "Pod",
            "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
            "spec": copied(template["spec"]),
        }
        item["metadata"] |= {"labels": dict(labels)} if labels else {}
        item["metadata"] |= {"annotations": dict(annotations)} if annotations else {}
        item["metadata"]["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        item["metadata"]["finalizers"] = [TRACKING]
        fill_in("pods", item)
        try:
            Admission(self.cluster, PODS, item).admit()
        except Refusal as refusal:
            message = f"Error creating: {refusal.message}"
            self.cluster.event(job, "Job", "FailedCreate", message, warning=True, component=_CONTROLLER)
            self._retry(job)
            return False
        pod = self.cluster.add(item)
        message = f"Created pod: {pod['metadata']['name']}"
        self.cluster.event(job, "Job", "SuccessfulCreate", message, component=_CONTROLLER)
        return True

    def _retry(self, job: Raw) -> None:
        """Try again later, with increasing delays."""
        identity = job["metadata"]["uid"]
        wait = self._waits[identity] = min(self._waits.get(identity, _FIRST_RETRY / 2) * 2, _LONGEST_RETRY)
        self._refused.add(identity)
        self._later(job, "retry", wait, before=lambda: self._refused.discard(identity))

    def _fail(self, job: Raw, active: list[Raw], reason: str, message: str, failed: int) -> None:
        for pod in active:
            self.delete("pods", pod)
            event_message = f"Deleted pod: {pod['metadata']['name']}"
            self.cluster.event(job, "Job", "SuccessfulDelete", event_message, component=_CONTROLLER)
        status = job["status"]
        status["conditions"] = [_condition("Failed") | {"reason": reason, "message": message}]
        _count(status, active=0, succeeded=status.get("succeeded", 0), failed=failed, ready=sum(map(_is_ready, active)))
        self.cluster.event(job, "Job", reason, message, warning=True, component=_CONTROLLER)

    def _expire(self, job: Raw) -> None:
        """Delete a finished Job and its pods after its time to live."""
        span = job["spec"].get("ttlSecondsAfterFinished")
        if span is None:
            return
        remaining = span - self._elapsed(job["status"]["conditions"][-1]["lastTransitionTime"])
        if remaining > 0:
            self._later(job, "ttl", remaining / self.cluster.pace)
        else:
            self.delete("jobs", job, propagation="Foreground")

    def _elapsed(self, moment: str) -> float:
        """Seconds since a timestamp by the controller's own clock."""
        return timestamps.since(moment) * self.cluster.pace

    def _later(self, job: Raw, purpose: str, seconds: float, *, before: Callable[[], object] = lambda: None) -> None:
        """Sync a Job again after some seconds; one timer per purpose."""
        key, identity = (job["metadata"]["namespace"], job["metadata"]["name"]), job["metadata"]["uid"]

        def sync() -> None:
            before()
            live = self.cluster.get("jobs", *key)
            if live is not None and live["metadata"]["uid"] == identity:
                self._sync(live)

        timer = self._timers.pop((identity, purpose), None)
        if timer is not None:
            timer.cancel()
        self._timers[identity, purpose] = asyncio.get_running_loop().call_later(max(seconds, 0.01), sync)

    def _untrack(self, pods: list[Raw]) -> None:
        """Remove the tracking finalizer of ended pods, which have been counted."""
        for pod in pods:
            if pod["status"].get("phase") in _FINAL and TRACKING in (pod["metadata"].get("finalizers") or []):
                _remove_finalizer(pod, TRACKING)
                self.cluster.touch("pods", pod)

    def _job_of(self, pod: Raw) -> Raw | None:
        for owner in pod["metadata"].get("ownerReferences") or []:
            if owner["kind"] == "Job":
                job = self.cluster.get("jobs", pod["metadata"]["namespace"], owner["name"])
                return job if job is not None and job["metadata"]["uid"] == owner["uid"] else None
        return None

    def _pods_of(self, job: Raw) -> list[Raw]:
        metadata = job["metadata"]
        return [pod for pod in self.cluster.each("pods", metadata["namespace"]) if _owned(pod, metadata["uid"])]

    # ---- deletion

    def delete(
        self, resource: str, item: Raw, *, propagation: Propagation | None = None, grace: int | None = None
    ) -> bool:
        """Delete an object as the API does; returns whether it is removed at once, or only marked for deletion."""
        metadata = item["metadata"]
        if resource == "pods":
            return self._delete_pod(item, grace)
        if propagation is None and resource == "jobs":
            propagation = "Orphan"  # the default of batch/v1 Jobs, and of nothing else
        if propagation == "Orphan":
            for kind, dependent in self._dependents(metadata):
                owners = [
                    owner for owner in dependent["metadata"]["ownerReferences"] if owner["uid"] != metadata["uid"]
                ]
                dependent["metadata"]["ownerReferences"] = owners
                if not owners:
                    del dependent["metadata"]["ownerReferences"]
                _remove_finalizer(dependent, TRACKING)
                self.cluster.touch(kind, dependent)
            metadata |= {
                "deletionTimestamp": timestamps.now(),
                "deletionGracePeriodSeconds": 0,
                "finalizers": ["orphan"],
            }
        if propagation == "Foreground" and self._dependents(metadata):
            if "deletionTimestamp" not in metadata:
                metadata |= {"deletionTimestamp": timestamps.now(), "deletionGracePeriodSeconds": 0}
                metadata["finalizers"] = [*metadata.get("finalizers", []), _FOREGROUND]
                self.cluster.touch(resource, item)
                self._spawn(self._delete_after_dependents(resource, item))
            return False
        for purpose in ("deadline", "ttl", "retry"):
            timer = self._timers.pop((metadata["uid"], purpose), None)
            if timer is not None:
                timer.cancel()
        self._refused.discard(metadata["uid"])
        self.cluster.remove(resource, metadata.get("namespace", ""), metadata["name"])
        return propagation != "Orphan"

    async def _delete_after_dependents(self, resource: str, item: Raw) -> None:
        while dependents := self._dependents(item["metadata"]):
            for kind, dependent in dependents:
                if "deletionTimestamp" not in dependent["metadata"]:
                    self.delete(kind, dependent, propagation="Background")
            await asyncio.sleep(0.02)
        self.cluster.remove(resource, item["metadata"].get("namespace", ""), item["metadata"]["name"])

    def _delete_pod(self, pod: Raw, grace: int | None) -> bool:
        metadata = pod["metadata"]
        _remove_finalizer(pod, TRACKING)
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        if not pod["spec"].get("nodeName") or pod["status"].get("phase") in _FINAL:
            seconds = 0
        if "deletionTimestamp" not in metadata or seconds < metadata.get("deletionGracePeriodSeconds", 0):
            metadata |= {"deletionTimestamp": timestamps.later(seconds), "deletionGracePeriodSeconds": seconds}
            self.cluster.touch("pods", pod)
        if seconds == 0 and not metadata.get("finalizers"):
            self.cluster.remove("pods", metadata["namespace"], metadata["name"])
            return True
        return False

    def _terminate(self, pod: Raw) -> None:
        """Let the kubelet stop a pod that is marked for deletion, if the kubelet runs."""
        metadata = pod["metadata"]
        if metadata["uid"] in self._ending or not self.cluster.kubelet_runs(pod["spec"].get("nodeName", "")):
            return
        self._ending.add(metadata["uid"])

        async def stop() -> None:
            await self.kubelets.stop_pod(pod)
            self._ending.discard(metadata["uid"])
            if not metadata.get("finalizers"):
                self.cluster.remove("pods", metadata["namespace"], metadata["name"])

        self._spawn(stop())

    def _dependents(self, owner: Raw) -> list[tuple[str, Raw]]:
        """What an object owns, given its metadata: in its own namespace, unless it is in none."""
        return [
            (plural, item)
            for plural in ("pods", "jobs", "secrets")
            for item in self.cluster.each(plural, owner.get("namespace"))
            if _owned(item, owner["uid"])
        ]

    # ---- the nodes' heartbeats

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_INTERVAL)
            for node in self.cluster.list("nodes"):
                if self.cluster.kubelet_runs(node["metadata"]["name"]):
                    for condition in node["status"]["conditions"]:
                        condition["lastHeartbeatTime"] = timestamps.now()
                    self.cluster.touch("nodes", node)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(record_exception, self.kubelets.world))


def _owned(item: Raw, identity: str) -> bool:
    for owner in item["metadata"].get("ownerReferences") or ():  # noqa: SIM110 - a generator for each of 10,000 pods
        if owner["uid"] == identity:
            return True
    return False


def _remove_finalizer(item: Raw, name: str) -> None:
    remaining = [finalizer for finalizer in item["metadata"].get("finalizers") or [] if finalizer != name]
    if remaining:
        item["metadata"]["finalizers"] = remaining
    else:
        item["metadata"].pop("finalizers", None)


def _finished(status: Raw) -> bool:
    return any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )


def _condition(kind: str) -> Raw:
    now = timestamps.now()
    return {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}


def _count(status: Raw, *, active: int, succeeded: int, failed: int, ready: int) -> None:
    for key, number in (("active", active), ("succeeded", succeeded), ("failed", failed)):
        status.pop(key, None)
        if number:
            status[key] = number
    status.pop("uncountedTerminatedPods", None)
    status.pop("ready", None)
    status |= {"uncountedTerminatedPods": {}, "ready": ready}


def _is_ready(pod: Raw) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", [])
    )
