"""What a run makes in the cluster, and its removal: always by the labels that runs give, and no other objects."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError
from preflight.evidence import PreflightError
from preflight.jobshape import MANAGED_BY, OURS, RUN
from preflight.probes import pods
from preflight.shutdown import Shutdown


class CleanupError(PreflightError):
    """Something of ours could not be removed in time; the cluster does it when its time to live is over."""


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

    def sweep(self) -> None:
        """Remove all of them.

        Raises:
            LeftBehind: some are still there.
        """
        if not self.shutdown.made:
            return
        settled = self.shutdown.settled(within=self.deadline / 2)
        expedite = self.shutdown.expedite
        left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, expedite=expedite)
        if not settled and self.shutdown.settled(within=0.0):  # what was being made came in between
            left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, expedite=expedite)
        if left:
            message = (
                f"still in namespace {self.namespace}: {', '.join(left)}; kubectl -n {self.namespace} get jobs,pods"
            )
            raise CleanupError(message)


# ---- what dead runs have left ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedObject:
    """A Job of some run of the suite, with its pods, or a pod whose Job is gone.

    Attributes:
        kind: ``Job`` or ``Pod``.
        name: its name; `namespace`: where it is; `run`: its label `preflight.gitlab-runner/run`.
        made: when, in seconds since 1970, by the API server's clock.
        needed_until: from then on no living run can need it: its deadline and its time to live are over.
    """

    kind: str
    name: str
    namespace: str
    run: str
    made: float
    needed_until: float

    @property
    def path(self) -> str:
        """Where the API has it."""
        root = "/apis/batch/v1" if self.kind == "Job" else "/api/v1"
        return f"{root}/namespaces/{path_segment(self.namespace)}/{self.kind.lower()}s/{path_segment(self.name)}"


def owned_objects(api: Api, namespace: str) -> tuple[OwnedObject, ...]:
    """Everything in a namespace that runs of the suite have made, of living runs too, oldest first.

    Raises:
        ApiError: the API could not be asked.
    """
    ours = f"{MANAGED_BY}={OURS}"
    jobs = list(api.items(f"/apis/batch/v1/namespaces/{path_segment(namespace)}/jobs", labelSelector=ours))
    pods_ = list(api.items(f"/api/v1/namespaces/{path_segment(namespace)}/pods", labelSelector=ours))
    known = {job["metadata"]["uid"] for job in jobs}
    orphans = [pod for pod in pods_ if not known & {one["uid"] for one in pod["metadata"].get("ownerReferences") or ()}]
    found = [*(_owned_object("Job", job) for job in jobs), *(_owned_object("Pod", pod) for pod in orphans)]
    return tuple(sorted(found, key=lambda one: (one.made, one.name)))


def _owned_object(kind: str, item: Mapping[str, Any]) -> OwnedObject:
    metadata, spec = item["metadata"], item.get("spec") or {}
    made = datetime.fromisoformat(str(metadata["creationTimestamp"])).timestamp()
    deadline, stays = spec.get("activeDeadlineSeconds"), spec.get("ttlSecondsAfterFinished", _STAYS)
    return OwnedObject(
        kind=kind,
        name=str(metadata["name"]),
        namespace=str(metadata.get("namespace", "")),
        run=str((metadata.get("labels") or {}).get(RUN, "")),
        made=made,
        needed_until=made + (_UNBOUNDED if deadline is None else int(deadline) + int(stays)),
    )


_STAYS = 300  # seconds for a pod, which has no time to live of its own: more than its Job's
_UNBOUNDED = 86400.0  # seconds for what has no deadline, as nothing has that this version makes


def dead(found: Sequence[OwnedObject], *, now: float, older_than: float = 0.0) -> tuple[OwnedObject, ...]:
    """Those of runs that can't be alive any more.

    A run counts as alive until the last of its objects has outlived its deadline and its time to live. Whatever has no
    run's label was not made by the suite, and is left alone.

    Args:
        found: of `owned_objects`.
        now: the API server's time, in seconds since 1970.
        older_than: seconds that a run's last object must be old, beside that.
    """
    ends: dict[str, float] = {}
    for one in found:
        ends[one.run] = max(ends.get(one.run, 0.0), one.needed_until, one.made + older_than)
    return tuple(one for one in found if one.run and now > ends[one.run])


def remove(api: Api, gone: Sequence[OwnedObject], *, deadline: float) -> dict[OwnedObject, str]:
    """Delete them, with their pods, and wait until they are gone; returns what is still there, each with the reason."""
    end = time.monotonic() + deadline
    left: dict[OwnedObject, str] = {}
    for one in gone:
        try:
            api.delete(one.path, grace=0 if one.kind == "Pod" else None)
        except ApiError as error:
            left[one] = f"{error.message}\n{error.rule}" if error.rule else error.message
    waiting = [one for one in gone if one not in left]
    while waiting:
        waiting = [one for one in waiting if _is_there(api, one)]
        if waiting and time.monotonic() > end:
            return left | dict.fromkeys(waiting, f"it was deleted, and is still there after {deadline:g} s")
        time.sleep(_LOOK if waiting else 0)
    return left


_LOOK = 0.3  # seconds between two looks


def _is_there(api: Api, one: OwnedObject) -> bool:
    pods_ = f"/api/v1/namespaces/{path_segment(one.namespace)}/pods"
    try:
        if one.kind == "Job" and api.get(pods_, labelSelector=f"job-name={one.name}").get("items"):
            return True
        api.get(one.path)
    except ApiError as error:
        return error.status != _NOT_FOUND
    return True


_NOT_FOUND = 404
