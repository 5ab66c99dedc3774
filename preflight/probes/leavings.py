"""What a run makes in the cluster, and its removal: always by the labels that runs give, and no other objects."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preflight.evidence import PreflightError
from preflight.jobshape import MANAGED_BY, OURS, RUN
from preflight.probes import pods
from preflight.probes.kubernetes import Api, ApiError, at
from preflight.stopping import Stopping


class LeftBehind(PreflightError):
    """Something of ours could not be removed in time; the cluster does it when its time to live is over."""


@dataclass(frozen=True)
class OwnObjects:
    """Jobs and pods of one run.

    Attributes:
        api: the client.
        namespace: where they are.
        run_id: their label `preflight.gitlab-runner/run`.
        deadline: seconds that their removal may take.
        stopping: of the run; its end comes before the removal, so that nothing is made after it.
    """

    api: Api
    namespace: str
    run_id: str
    deadline: float
    stopping: Stopping

    def sweep(self) -> None:
        """Remove all of them.

        Raises:
            LeftBehind: some are still there.
        """
        if not self.stopping.made:
            return
        settled = self.stopping.settled(within=self.deadline / 2)
        hurry = self.stopping.hurry
        left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, hurry=hurry)
        if not settled and self.stopping.settled(within=0.0):  # what was being made came in between
            left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, hurry=hurry)
        if left:
            message = (
                f"still in namespace {self.namespace}: {', '.join(left)}; kubectl -n {self.namespace} get jobs,pods"
            )
            raise LeftBehind(message)


# ---- what dead runs have left ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
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
        return f"{root}/namespaces/{at(self.namespace)}/{self.kind.lower()}s/{at(self.name)}"


def leavings(api: Api, namespace: str) -> tuple[Leaving, ...]:
    """Everything in a namespace that runs of the suite have made, of living runs too, oldest first.

    Raises:
        ApiError: the API could not be asked.
    """
    ours = f"{MANAGED_BY}={OURS}"
    jobs = list(api.items(f"/apis/batch/v1/namespaces/{at(namespace)}/jobs", labelSelector=ours))
    pods_ = list(api.items(f"/api/v1/namespaces/{at(namespace)}/pods", labelSelector=ours))
    known = {job["metadata"]["uid"] for job in jobs}
    orphans = [pod for pod in pods_ if not known & {one["uid"] for one in pod["metadata"].get("ownerReferences") or ()}]
    found = [*(_leaving("Job", job) for job in jobs), *(_leaving("Pod", pod) for pod in orphans)]
    return tuple(sorted(found, key=lambda one: (one.made, one.name)))


def _leaving(kind: str, item: Mapping[str, Any]) -> Leaving:
    metadata, spec = item["metadata"], item.get("spec") or {}
    made = datetime.fromisoformat(str(metadata["creationTimestamp"])).timestamp()
    deadline, stays = spec.get("activeDeadlineSeconds"), spec.get("ttlSecondsAfterFinished", _STAYS)
    return Leaving(
        kind=kind,
        name=str(metadata["name"]),
        namespace=str(metadata.get("namespace", "")),
        run=str((metadata.get("labels") or {}).get(RUN, "")),
        made=made,
        needed_until=made + (_UNBOUNDED if deadline is None else int(deadline) + int(stays)),
    )


_STAYS = 300  # seconds for a pod, which has no time to live of its own: more than its Job's
_UNBOUNDED = 86400.0  # seconds for what has no deadline, as nothing has that this version makes


def dead(found: Sequence[Leaving], *, now: float, older_than: float = 0.0) -> tuple[Leaving, ...]:
    """Those of runs that can't be alive any more.

    A run counts as alive until the last of its objects has outlived its deadline and its time to live. Whatever has no
    run's label was not made by the suite, and is left alone.

    Args:
        found: of `leavings`.
        now: the API server's time, in seconds since 1970.
        older_than: seconds that a run's last object must be old, beside that.
    """
    ends: dict[str, float] = {}
    for one in found:
        ends[one.run] = max(ends.get(one.run, 0.0), one.needed_until, one.made + older_than)
    return tuple(one for one in found if one.run and now > ends[one.run])


def remove(api: Api, gone: Sequence[Leaving], *, deadline: float) -> dict[Leaving, str]:
    """Delete them, with their pods, and wait until they are gone; returns what is still there, each with the reason."""
    end = time.monotonic() + deadline
    left: dict[Leaving, str] = {}
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


def _is_there(api: Api, one: Leaving) -> bool:
    pods_ = f"/api/v1/namespaces/{at(one.namespace)}/pods"
    try:
        if one.kind == "Job" and api.get(pods_, labelSelector=f"job-name={one.name}").get("items"):
            return True
        api.get(one.path)
    except ApiError as error:
        return error.status != _NOT_FOUND
    return True


_NOT_FOUND = 404
