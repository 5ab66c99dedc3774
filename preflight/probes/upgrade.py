"""What stands in the way of an upgrade: versions that do not fit, jobs that run; and the backup to be made before.

The runner's major and minor version should be GitLab's; an older runner works with a newer GitLab of its major version,
the other way round nothing is promised (docs/sources.md#version-skew).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ReleaseFault
from preflight.probes.chart_repository import numbers, runner_of
from preflight.probes.cluster import JOB_POD
from preflight.probes.release import History, Release, describe_duration, documents
from preflight.shell_command import program, sequence

Json = dict[str, Any]

_LONGEST_HOST = 63  # characters of a pod's name that the kubelet takes for its host's
_JOB_ID = "job.runner.gitlab.com/id"
_SHOWN = 3
_FIRST_MAPPED = (0, 78)  # from chart 0.78.0 on, chart 0.N installs runner 18.(N-77): docs/sources.md#chart-versions


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetVersion(Fact):
    """The runner that the values and the chart would install, beside GitLab.

    Attributes:
        runner: its version; `gitlab`: GitLab's.
    """

    runner: str = ""
    gitlab: str = ""


def runner_version(tag: str, chart: str, app_version: str = "") -> str:
    """The runner's version: of the image tag, else of the chart as its repository or its number says; else ""."""
    number = numbers(chart)
    mapped = f"18.{number[1] - 77}.0" if number[0] == 0 and number[:2] >= _FIRST_MAPPED else ""
    return runner_of(tag) or runner_of(app_version) or mapped


def read_target(runner: str, gitlab: str, *, chart: str) -> TargetVersion:
    """The fact from the two versions."""
    ours, theirs = numbers(runner)[:2], numbers(gitlab)[:2]
    cause = ""
    if ours > theirs:
        cause = f"chart {chart} and image.tag give runner {runner}, which is newer than GitLab {gitlab}"
    elif ours[0] < theirs[0]:
        cause = f"chart {chart} and image.tag give runner {runner}, of an older major version than GitLab {gitlab}"
    return TargetVersion(
        target=f"runner {runner}",
        runner=runner,
        gitlab=gitlab,
        fault=ReleaseFault.SKEW if cause else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command="grep -A 3 '^image:' VALUES; curl -H \"PRIVATE-TOKEN: $TOKEN\" GITLAB/api/v4/version",
            observed=f"runner {runner}, GitLab {gitlab}",
        ),
    )


def with_target(release: Release, chart: str) -> Release:
    """The release; faulty if the target chart is older than the one that is installed."""
    if numbers(chart) >= numbers(release.chart):
        return release
    cause = f"{release.target} runs chart {release.chart}, the target {chart} is older"
    return replace(release, fault=ReleaseFault.DOWNGRADE, cause=cause)


# ---- jobs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJobs(Fact):
    """Job pods that have not ended.

    Attributes:
        pods: their names, without the pod of the job that this run is a part of.
    """

    pods: tuple[str, ...] = ()


def running_jobs(api: Api, namespace: str, *, own_job: str, own_host: str, now: float) -> RunningJobs:
    """List the job pods of a namespace.

    Raises:
        Unmeasured: the API could not be asked.
    """
    began = time.monotonic()
    path = f"/api/v1/namespaces/{path_segment(namespace)}/pods"
    try:
        items = list(api.items(path, labelSelector=JOB_POD))
    except ApiError as error:
        raise unmeasured(error) from error
    command = kubectl("GET", path, {"labelSelector": JOB_POD})
    return read_jobs(items, own_job=own_job, own_host=own_host, now=now, command=command, took=time.monotonic() - began)


def read_jobs(
    items: Iterable[Json], *, own_job: str, own_host: str, now: float, command: str = "", took: float = 0.0
) -> RunningJobs:
    """The fact from the items of a PodList.

    Args:
        items: the pods that are labelled as jobs.
        own_job: GitLab's id of the CI job that this run is a part of, or "".
        own_host: the name of this machine: in that job's pod it is the pod's, or with the host's network the node's.
        now: seconds since 1970.
        command: how the items were asked for.
        took: how many seconds that took.
    """
    running = sorted(
        (pod for pod in items if _runs(pod) and not _is_around_us(pod, own_job, own_host)),
        key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")),
    )
    lines = [f"{pod['metadata']['name']} since {describe_duration(_age(pod, now))}" for pod in running]
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return RunningJobs(
        target="jobs",
        pods=tuple(pod["metadata"]["name"] for pod in running),
        fault=ReleaseFault.JOBS_RUNNING if running else None,
        cause=f"{len(running)} jobs run: {'; '.join(lines[:_SHOWN])}{more}" if running else "",
        evidence=Evidence(where="here", command=command, observed="\n".join(lines) or "no job pods", took=took),
    )


def _runs(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in {"Pending", "Running", "Unknown"}


def _is_around_us(pod: Json, own_job: str, own_host: str) -> bool:
    """Whether this run is a part of a pod's job; any pod can have the annotation, so that alone hides none."""
    name, spec = str(pod["metadata"]["name"]), pod.get("spec", {})
    host = spec.get("nodeName", "") if spec.get("hostNetwork") else name[:_LONGEST_HOST].rstrip("-.")
    return bool(own_job) and _job_id(pod) == own_job and bool(host) and host == own_host


def _job_id(pod: Json) -> str | None:
    job_id = (pod["metadata"].get("annotations") or {}).get(_JOB_ID)
    return None if job_id is None else str(job_id)


def _age(pod: Json, now: float) -> float:
    try:
        return max(0.0, now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp())
    except (KeyError, ValueError):
        return 0.0


# ---- the backup -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup(Fact):
    """Files that hold the release as it was before the upgrade.

    Attributes:
        files: their paths; they hold secrets and are readable for their owner alone.
    """

    files: tuple[str, ...] = ()


def backup(history: History, folder: Path, *, stamp: str) -> Backup:
    """Write the values and the whole record of the last good revision, each as a new file of mode 0600.

    Args:
        history: the release's records.
        folder: made, for its owner alone, if it is not there.
        stamp: begins the files' names, so that no backup ever overwrites another.

    Raises:
        Unmeasured: the files could not be written; what was written so far is removed again.
    """
    import yaml

    began = time.monotonic()
    written: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, document in documents(history):
            path = folder / f"{stamp}-{name}"
            text = (
                yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
                if path.suffix == ".yaml"
                else json.dumps(document, indent=1, ensure_ascii=False) + "\n"
            )
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        reason = f"the backup could not be written to {folder}: {error.strerror or error}"
        raise Unmeasured(reason, needs="a folder for --backup that can be written to") from error
    release = (history.name, "-n", history.namespace)
    sizes = "\n".join(f"{path}  {path.stat().st_size} bytes" for path in written)
    return Backup(
        target=history.name,
        files=tuple(map(str, written)),
        evidence=Evidence(
            where="here",
            command=sequence(program("helm", "get", "values", *release), program("helm", "get", "all", *release)),
            observed=sizes,
            took=time.monotonic() - began,
        ),
    )
