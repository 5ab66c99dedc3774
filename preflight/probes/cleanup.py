"""Removal of what runs make in the cluster: of a run's own Jobs and pods, and of what dead runs have left.

Always by the labels that runs give, and no other objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preflight.clients.kube_api import Api, jobs_path, pods_path
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import PreflightError
from preflight.jobshape import MANAGED_BY, OURS, RUN
from preflight.shell_command import program
from preflight.shutdown import Shutdown

Json = dict[str, Any]

COLLECTED_WITHIN = 10.0  # seconds in which the garbage collector follows a Job's deletion, with room for the pods' end
POD_MADE_WITHIN = 1.0  # seconds after which a Job that was deleted gets no pod any more
FORCED_WITHIN = 2.0  # seconds in which a pod that is given no time to end is gone
FIRST_PAUSE = 0.1  # seconds before the first further list; each pause is longer, up to the longest
LONGEST_PAUSE = 0.3  # a run ends on average half of it later than its pods; a list is one of names
POLL = 0.3  # seconds between two requests for the same object
_NOT_FOUND = 404


class CleanupError(PreflightError):
    """Something of ours could not be removed in time; the cluster does it when its time to live is over."""


# --- of one run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnObjects:
    """Jobs and pods of one run.

    Attributes:
        api: the client.
        namespace: where they are.
        run_id: their label `preflight.gitlab-runner/run`.
        deadline: seconds that their removal may take.
        shutdown: of the run; its end comes before the removal, so that nothing is made after it.
    """

    api: Api
    namespace: str
    run_id: str
    deadline: float
    shutdown: Shutdown

    def remove(self, job: str) -> None:
        """Begin to remove one Job with its pods; the sweep waits for what is still there then.

        Nothing that is to be measured waits for a daemon that stops, or for a kubelet that still pulls.

        Raises:
            Unmeasured: the API could not be asked.
        """
        if not job:
            return
        try:
            self.api.delete(jobs_path(self.namespace, job))
        except ApiError as error:
            raise unmeasured(error) from error

    def sweep(self) -> None:
        """Remove all of them.

        Raises:
            CleanupError: some are still there.
            Unmeasured: the API could not be asked.
        """
        if not self.shutdown.made:
            return
        settled = self.shutdown.settled(within=self.deadline / 2)
        left = self._remove_all()
        if not settled and self.shutdown.settled(within=0.0):  # what was being made came in between
            left = self._remove_all()
        if left:
            message = (
                f"still in namespace {self.namespace}: {', '.join(left)}: "
                f"`{program('kubectl', '-n', self.namespace, 'get', 'jobs,pods')}`"
            )
            raise CleanupError(message)

    def _remove_all(self) -> tuple[str, ...]:
        expedite = self.shutdown.expedite
        return remove_run(
            *(self.api, self.namespace, self.run_id),
            deadline=self.deadline,
            expedite=expedite,
            on_object=self.shutdown.note,
        )


def remove_run(
    api: Api,
    namespace: str,
    run_id: str,
    *,
    deadline: float = 30.0,
    expedite: threading.Event | None = None,
    on_object: Callable[[str, str], None] = lambda _kind, _name: None,
) -> tuple[str, ...]:
    """Remove every Job and pod of one run, and nothing else; pods left after `deadline` seconds are returned.

    Args:
        api: the cluster's API.
        namespace: where they are.
        run_id: their label.
        deadline: seconds for all of it.
        expedite: once it is set, pods are not given the time to end gracefully, and are hardly waited for.
        on_object: takes kind and name of each object that was there to be removed.

    Raises:
        Unmeasured: the API could not be asked.
    """
    expedite = expedite or threading.Event()
    end = time.monotonic() + deadline
    selector = f"{MANAGED_BY}={OURS},{RUN}={run_id}"
    try:
        jobs = list(api.items(jobs_path(namespace), deadline=_time_left(end, expedite), labelSelector=selector))
        for job in jobs:
            metadata, left_for_it = job["metadata"], _time_left(end, expedite)
            on_object("Job", str(metadata["name"]))
            api.delete(jobs_path(namespace, metadata["name"]), uid=metadata.get("uid", ""), deadline=left_for_it)
        if any(_has_no_pod_yet(job) for job in jobs):
            expedite.wait(POD_MADE_WITHIN)  # the Job controller may just be about to make it
        patience = min(deadline / 2, COLLECTED_WITHIN)
        left = _wait_until_gone(api, namespace, selector, patience, expedite=expedite, on_object=on_object)
        # A Job that somebody deleted without its pods leaves them behind, and so does a node whose kubelet is gone.
        for pod in left:
            with suppress(ApiError):
                api.delete(pods_path(namespace, pod), grace=0, deadline=_time_left(end, expedite))
        if not left:
            return ()
        rest = min(FORCED_WITHIN, deadline) if expedite.is_set() else max(end - time.monotonic(), 0.0)
        return _wait_until_gone(api, namespace, selector, rest)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return ()
        raise unmeasured(error) from error


def _time_left(end: float, expedite: threading.Event) -> float:
    """Seconds that one request of a removal may take."""
    left = max(end - time.monotonic(), FIRST_PAUSE)
    return min(left, FORCED_WITHIN) if expedite.is_set() else left


def _has_no_pod_yet(job: Json) -> bool:
    status = job.get("status") or {}
    return not any(status.get(key) for key in ("active", "succeeded", "failed", "conditions"))


def _wait_until_gone(
    api: Api,
    namespace: str,
    selector: str,
    deadline: float,
    *,
    expedite: threading.Event | None = None,
    on_object: Callable[[str, str], None] = lambda _kind, _name: None,
) -> tuple[str, ...]:
    """Wait until no pod has these labels; pods left after `deadline` seconds, or once expedited, are returned."""
    expedite = expedite or threading.Event()
    end = time.monotonic() + deadline
    pause = FIRST_PAUSE
    while True:
        within = _time_left(end, expedite)
        pods = api.items(pods_path(namespace), metadata_only=True, deadline=within, labelSelector=selector)
        left = tuple(str(pod["metadata"]["name"]) for pod in pods)
        for name in left:
            on_object("pod", name)
        if not left or time.monotonic() + pause > end or expedite.wait(pause):
            return left
        pause = min(pause * 1.5, LONGEST_PAUSE)


# --- of dead runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObject:
    """A Job of some run of the suite, with its pods, or a pod whose Job is gone.

    Attributes:
        kind: ``Job`` or ``Pod``.
        uid: which object of this name it is.
        name: its name; `namespace`: where it is; `run`: its label `preflight.gitlab-runner/run`.
        made: when, in seconds since 1970, by the API server's clock.
        needed_until: from then on no living run can need it: its deadline and its time to live are over.
    """

    kind: str
    uid: str
    name: str
    namespace: str
    run: str
    made: float
    needed_until: float

    @property
    def path(self) -> str:
        """Where the API has it."""
        return (jobs_path if self.kind == "Job" else pods_path)(self.namespace, self.name)


def owned_objects(api: Api, namespace: str) -> tuple[OwnedObject, ...]:
    """Everything in a namespace that runs of the suite have made, of living runs too, oldest first.

    Raises:
        ApiError: the API could not be asked.
    """
    selector = f"{MANAGED_BY}={OURS}"
    jobs = list(api.items(jobs_path(namespace), labelSelector=selector))
    pods = list(api.items(pods_path(namespace), labelSelector=selector))
    job_uids = {job["metadata"]["uid"] for job in jobs}
    orphans = [pod for pod in pods if not job_uids & _owner_uids(pod)]
    owned = [*(_owned_object("Job", job) for job in jobs), *(_owned_object("Pod", pod) for pod in orphans)]
    return tuple(sorted(owned, key=lambda item: (item.made, item.name)))


def _owner_uids(pod: Json) -> set[str]:
    return {owner["uid"] for owner in pod["metadata"].get("ownerReferences") or ()}


def _owned_object(kind: str, item: Mapping[str, Any]) -> OwnedObject:
    metadata, spec = item["metadata"], item.get("spec") or {}
    made = datetime.fromisoformat(str(metadata["creationTimestamp"])).timestamp()
    deadline, time_to_live = spec.get("activeDeadlineSeconds"), spec.get("ttlSecondsAfterFinished", _POD_TTL)
    # Who else may make objects here can give them our labels: no claim on time is longer than any of ours.
    needed = _LONGEST if deadline is None else min(int(deadline) + int(time_to_live), _LONGEST)
    return OwnedObject(
        kind=kind,
        uid=str(metadata["uid"]),
        name=str(metadata["name"]),
        namespace=str(metadata.get("namespace", "")),
        run=str((metadata.get("labels") or {}).get(RUN, "")),
        made=made,
        needed_until=made + needed,
    )


_POD_TTL = 300  # seconds for a pod, which has no time to live of its own: more than its Job's
_LONGEST = 86400.0  # seconds for what has no deadline, or a longer one, as nothing has that this version makes


def of_dead_runs(owned: Sequence[OwnedObject], *, now: float, older_than: float = 0.0) -> tuple[OwnedObject, ...]:
    """Those of runs that can't be alive any more.

    A run counts as alive until the last of its objects has outlived its deadline and its time to live. Whatever has no
    run's label was not made by the suite, and is left alone.

    Args:
        owned: of `owned_objects`.
        now: the API server's time, in seconds since 1970.
        older_than: seconds that a run's last object must be old, beside that.
    """
    ends: dict[str, float] = {}
    for item in owned:
        ends[item.run] = max(ends.get(item.run, 0.0), item.needed_until, item.made + older_than)
    return tuple(item for item in owned if item.run and now > ends[item.run])


def remove_objects(api: Api, owned: Sequence[OwnedObject], *, deadline: float) -> dict[OwnedObject, str]:
    """Delete them, with their pods, and wait until they are gone; returns what is still there, each with the reason."""
    end = time.monotonic() + deadline
    left: dict[OwnedObject, str] = {}
    for item in owned:
        try:
            api.delete(item.path, uid=item.uid, grace=0 if item.kind == "Pod" else None)
        except ApiError as error:
            left[item] = f"{error.message}\n{error.rule}" if error.rule else error.message
    waiting = [item for item in owned if item not in left]
    while waiting:
        waiting = [item for item in waiting if _exists(api, item)]
        if waiting and time.monotonic() > end:
            return left | dict.fromkeys(waiting, f"it was deleted, and is still there after {deadline:g} s")
        time.sleep(POLL if waiting else 0)
    return left


def _exists(api: Api, item: OwnedObject) -> bool:
    """Whether it, or a pod of it, is there; another object that has its name by now is none of it."""
    try:
        if item.kind == "Job":
            pods = api.get(pods_path(item.namespace), labelSelector=f"job-name={item.name}").get("items") or ()
            if any(item.uid in _owner_uids(pod) for pod in pods):
                return True
        return bool(api.get(item.path)["metadata"]["uid"] == item.uid)
    except ApiError as error:
        return error.status != _NOT_FOUND
