"""What jobs that ended badly have left in their namespace: pods, Secrets and ConfigMaps, and the quotas that they fill.

A manager that is killed, or cut off from the API server, does not remove what it made for its jobs
(docs/sources.md#job-leftovers). Of Secrets and ConfigMaps only the metadata is asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ClusterFault
from preflight.probes.cluster import JOB_POD
from preflight.probes.quota import Needs, counts_pod, needs_of
from preflight.probes.release import describe_duration, without_namespace
from preflight.quantities import amounts, exactly, spell, total
from preflight.shell_command import ShellCommand, pipe, program

Json = dict[str, Any]

KINDS = ("pods", "secrets", "configmaps")
_NAME = re.compile(r"runner-[a-z0-9-]{1,48}?-project-\d")
_SHELL_NAME = "/runner-.*-project-[0-9]"  # the same for grep
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLeftovers(Fact):
    """Objects of jobs that are older than any job may be.

    Attributes:
        namespace: the jobs' own.
        counts: how many, by resource.
        oldest: seconds since the oldest was made.
        occupied: what they take of quotas, in the quotas' words: ``count/secrets``, ``pods``, ``requests.cpu``, …
        unread: resources that may not be listed.
        filled: what of a quota they take from the next job, a sentence each.
        resources: the resources of quotas that they fill.
    """

    namespace: str
    counts: dict[str, int] = field(default_factory=dict)
    oldest: float = 0.0
    occupied: dict[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    @property
    def listing(self) -> ShellCommand:
        """The command that lists them: the oldest objects that are named as a job's."""
        kinds = ",".join(self.counts) or ",".join(KINDS)
        names = program(
            *("kubectl", "-n", self.namespace, "get", kinds, "--sort-by=.metadata.creationTimestamp", "-o", "name")
        )
        return pipe(names, program("grep", _SHELL_NAME), program("head", "-n", sum(self.counts.values())))

    @property
    def deleting(self) -> ShellCommand:
        """The command that deletes them."""
        return pipe(self.listing, program("xargs", "kubectl", "-n", self.namespace, "delete"))


def job_leftovers(api: Api, namespace: str, *, longest: float, now: float) -> JobLeftovers:
    """List what is named as a job's and older than `longest` seconds.

    Raises:
        Unmeasured: the API could not be asked, or pods may not be listed.
    """
    began = time.monotonic()
    listed: dict[str, list[Json]] = {}
    unread: list[str] = []
    for resource in KINDS:
        path = f"/api/v1/namespaces/{path_segment(namespace)}/{resource}"
        try:
            items = list(api.items(path, metadata_only=resource != "pods"))
        except ApiError as error:
            if without_namespace(api, namespace, error):
                break
            if resource == "pods" or not error.rule:
                raise unmeasured(error) from error
            unread.append(resource)
            continue
        listed[resource] = [item for item in items if _is_of_job(item)]
    return read_job_leftovers(listed, namespace, longest=longest, now=now, unread=unread, took=time.monotonic() - began)


def _is_of_job(item: Json) -> bool:
    metadata = item.get("metadata") or {}
    return JOB_POD in (metadata.get("labels") or {}) or bool(_NAME.match(str(metadata.get("name", ""))))


def read_job_leftovers(
    listed: Mapping[str, Sequence[Json]],
    namespace: str,
    *,
    longest: float,
    now: float,
    unread: Sequence[str] = (),
    took: float = 0.0,
) -> JobLeftovers:
    """The fact from the objects of jobs, by resource."""
    old = {resource: [item for item in items if _age(item, now) > longest] for resource, items in listed.items()}
    living = {item["metadata"]["name"] for item in listed.get("pods", ()) if _age(item, now) <= longest}
    for resource in ("secrets", "configmaps"):
        old[resource] = [item for item in old.get(resource, ()) if not _owners(item) & living]
    counts = {resource: len(items) for resource, items in old.items() if items}
    oldest = max((_age(item, now) for items in old.values() for item in items), default=0.0)
    aged = sorted(((_age(item, now), resource, item) for resource in old for item in old[resource]), key=_first)
    names = [
        f"{resource.removesuffix('s')}/{item['metadata']['name']}  {describe_duration(age)}"
        for age, resource, item in reversed(aged)
    ]
    fact = JobLeftovers(
        target=f"jobs in {namespace}",
        namespace=namespace,
        counts=counts,
        oldest=oldest,
        occupied=_occupied(old),
        unread=tuple(unread),
        evidence=Evidence(where="here", command="", observed=""),
    )
    lines = [*names, *(f"not counted, since they may not be listed: {resource}" for resource in unread)]
    evidence = Evidence(
        where="here", command=fact.listing, observed="\n".join(lines) or "No resources found", took=took
    )
    if not counts:
        return replace(fact, evidence=evidence)
    listing = ", ".join(f"{count} {resource if count > 1 else resource[:-1]}" for resource, count in counts.items())
    cause = (
        f"namespace {namespace} has {listing} of jobs, which are older than {describe_duration(longest)}, "
        f"the oldest {describe_duration(oldest)}"
    )
    return replace(fact, fault=ClusterFault.JOB_LEFTOVERS, cause=cause, evidence=evidence)


def filling_quotas(leftovers: JobLeftovers, quotas: Sequence[Json], job: Needs) -> JobLeftovers:
    """The same, faulty only where a quota would have room for the next job without them, and has none with them."""
    filled: list[str] = []
    resources: list[str] = []
    taken = amounts(leftovers.occupied)
    for quota in quotas:
        status = quota.get("status", {})
        used = amounts(status.get("used"))
        for resource, hard in amounts(status.get("hard") or quota.get("spec", {}).get("hard")).items():
            full = _full_name(resource)
            share = taken.get(full, Decimal(0))
            # That jobs need a Secret or a ConfigMap each is shown by those that they left.
            need = Decimal(1) if full in _COUNTED else job.of(resource) if counts_pod(quota, job) else Decimal(0)
            room = hard - used.get(resource, Decimal(0))
            if share and 0 < need > room and room + share >= need:
                name = quota.get("metadata", {}).get("name", "")
                state = f"{spell(resource, used.get(resource, Decimal(0)))} of {spell(resource, hard)}"
                filled.append(
                    f"{resource} of quota {name} is used up ({state}), {spell(resource, share)} of it by what jobs left"
                )
                resources.append(full)
    if not filled:
        return replace(leftovers, fault=None, cause="")
    evidence = Evidence(
        where="here",
        command=program("kubectl", "describe", "quota", "-n", leftovers.namespace),
        observed="\n".join([*filled, "", leftovers.evidence.observed]),
        took=leftovers.evidence.took,
    )
    return replace(
        leftovers,
        evidence=evidence,
        filled=tuple(filled),
        resources=tuple(resources),
        fault=ClusterFault.QUOTA_FILLED,
        cause=f"{'; '.join(filled)}: {leftovers.cause}",
    )


_COUNTED = frozenset({"count/secrets", "count/configmaps"})


def _full_name(resource: str) -> str:
    """A quota's resource in full: ``cpu`` is ``requests.cpu``, ``secrets`` is ``count/secrets``."""
    if resource in {"secrets", "configmaps"}:
        return f"count/{resource}"
    counts = resource == "pods" or resource.startswith(("count/", "requests.", "limits."))
    return resource if counts else f"requests.{resource}"


def _occupied(old: Mapping[str, Sequence[Json]]) -> dict[str, str]:
    """What objects take of quotas; a pod that has ended counts as an object alone."""
    running = [item for item in old.get("pods", ()) if item.get("status", {}).get("phase") not in _ENDED]
    sums = [needs_of(item) for item in running]
    requests = total(needs.requests for needs in sums)
    limits = total(needs.limits for needs in sums)
    occupied = {
        **{f"count/{resource}": Decimal(len(items)) for resource, items in old.items()},
        "pods": Decimal(len(running)),
        **{f"requests.{name}": amount for name, amount in requests.items()},
        **{f"limits.{name}": amount for name, amount in limits.items()},
    }
    return {name: exactly(amount) for name, amount in occupied.items() if amount}


def _first(aged: tuple[float, str, Json]) -> float:
    return aged[0]


def _owners(item: Json) -> set[str]:
    references: Iterable[Json] = (item.get("metadata") or {}).get("ownerReferences") or ()
    return set(_names(references))


def _names(references: Iterable[Json]) -> Iterator[str]:
    return (str(reference.get("name", "")) for reference in references if reference.get("kind") == "Pod")


def _age(item: Json, now: float) -> float:
    try:
        return now - datetime.fromisoformat(str(item["metadata"].get("creationTimestamp"))).timestamp()
    except ValueError:
        return 0.0
