"""Whether a namespace's quotas leave room for a job, and for a pod of ours beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from preflight.evidence import Unmeasured
from preflight.faults import PodFault
from preflight.quantities import amounts, spell, total

Json = dict[str, Any]

LAST_TENTH = Decimal("0.9")  # the part of a quota that our own pods may fill


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pod counts for in a quota: the sums of its containers' requests and limits."""

    requests: Mapping[str, Decimal]
    limits: Mapping[str, Decimal]

    def of(self, resource: str) -> Decimal:
        """The amount of one of a quota's resources, such as ``requests.cpu``, ``limits.memory`` or ``pods``."""
        if resource in {"pods", "count/pods"}:
            return Decimal(1)
        kind, _, name = resource.partition(".")
        if kind == "limits":
            return self.limits.get(name, Decimal(0))
        return self.requests.get(name if kind == "requests" else resource, Decimal(0))


def needs_of(pod: Json) -> Needs:
    """What a pod, given as a manifest, counts for."""
    resources = [each.get("resources") or {} for each in pod["spec"]["containers"]]
    return Needs(
        total(amounts(each.get("requests")) for each in resources),
        total(amounts(each.get("limits")) for each in resources),
    )


def quota_room(quotas: Sequence[Json], ours: Needs, job: Needs | None = None) -> tuple[PodFault | None, str]:
    """Whether the namespace's quotas leave room for a job (if not, that is the fault) and for a pod of ours.

    Raises:
        Unmeasured: a job would fit, but our own pod would take from the last tenth of a quota.
    """
    tight = ""
    for quota in quotas:
        name = quota.get("metadata", {}).get("name", "")
        status = quota.get("status", {})
        used = amounts(status.get("used"))
        for resource, hard in amounts(status.get("hard") or quota.get("spec", {}).get("hard")).items():
            taken = used.get(resource, Decimal(0))
            state = f"{resource} {spell(resource, taken)} of {spell(resource, hard)} used"
            if job and counts_pod(quota, job) and 0 < job.of(resource) > hard - taken:
                wanted = f"; a job wants {spell(resource, job.of(resource))}" if resource != "pods" else ""
                return PodFault.QUOTA, f"quota {name} leaves no room for a job: {state}{wanted}"
            if counts_pod(quota, ours) and ours.of(resource) > 0 and taken + ours.of(resource) > hard * LAST_TENTH:
                tight = tight or f"quota {name} is nearly used ({state})"
    if tight:
        reason = f"{tight}, and a probe pod would take from its last tenth, which is left to jobs"
        raise Unmeasured(
            reason,
            needs="a larger quota, or a moment with fewer pods in the namespace",
            fault=PodFault.QUOTA,
        )
    return None, ""


def counts_pod(quota: Json, needs: Needs) -> bool:
    """Whether a quota's scopes take in a pod like this: one with a deadline of its own and without a priority class."""
    spec = quota.get("spec", {})
    scopes = {*(spec.get("scopes") or ())}
    scopes |= {each.get("scopeName") for each in (spec.get("scopeSelector") or {}).get("matchExpressions") or ()}
    best_effort = not (needs.requests or needs.limits)
    excluded = {"NotTerminating", "PriorityClass", "CrossNamespacePodAffinity"}
    excluded.add("NotBestEffort" if best_effort else "BestEffort")
    return not scopes & excluded
