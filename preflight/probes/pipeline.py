"""A pipeline of the suite's own in a project of its own: whether it may run, how its jobs ended, what their logs show.

A pipeline is started only where GitLab's own reading of the project's configuration on that branch, includes merged
in, holds the suite's jobs alone, with the scripts that the suite ships (`pipeline.gitlab-ci.yml`). Everything that is
made is removed at the end, and what could not be removed is reported (guide 4.3, 11; docs/sources.md#pipelines).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from preflight.clients.gitlab_api import GitLabApi, GitLabError, segment
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import GitLabFault, PipelineFault
from preflight.probes.cleanup import CleanupError
from preflight.shutdown import Shutdown
from preflight.yamltext import load_yaml

SMOKE, BUILD = "preflight-smoke", "preflight-build"
REPOSITORY = "PREFLIGHT_REPOSITORY"  # the build job's variable with the repository that it pushes to
TAG = "preflight-{pipeline}"  # of the image that it pushes

_GLOBAL = frozenset({"default", "include", "spec", "stages", "variables", "workflow", "image", "services"}) | {
    "before_script",
    "after_script",
    "cache",
}
_RUNS = ("before_script", "script", "after_script")  # what a job does
_FORBIDDEN_KEYS = ("trigger", "environment", "release", "pages", "hooks", "run", "inherit")  # what it must not do
_ENDED = frozenset({"success", "failed", "canceled", "skipped"})
_WAITING = frozenset({"created", "waiting_for_resource", "preparing", "pending", "scheduled", "manual"})
_FORBIDDEN, _NOT_FOUND, _BAD_REQUEST, _UNPROCESSABLE = 403, 404, 400, 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Fact):
    """A project of GitLab.

    Attributes:
        id: its number.
        path: with its namespace.
        web: the URL of its page.
    """

    id: int = 0
    path: str = ""
    web: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Fact):
    """What a pipeline of a branch would run, as GitLab itself reads it.

    Attributes:
        jobs: the names of all jobs.
        repository: the repository that the build job names.
    """

    jobs: tuple[str, ...] = ()
    repository: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Fact):
    """A pipeline that was started."""

    id: int = 0
    web: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Fact):
    """A job of a pipeline, at its end or when the suite stopped waiting.

    Attributes:
        id: its number.
        name: its name.
        status: as GitLab names it.
        reason: GitLab's ``failure_reason``.
        queued: seconds until a runner took it; `seconds`: that it ran.
        runner: description of the runner that took it.
        log: what it printed, without colours and section markers.
    """

    id: int
    name: str
    status: str = ""
    reason: str = ""
    queued: float | None = None
    seconds: float | None = None
    runner: str = ""
    log: str = field(default="", repr=False, metadata={"live": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunner(Fact):
    """Who ran a job, by the job's own log.

    Attributes:
        version: of the runner; `manager`: the manager's pod; `namespace`: of the job's pod; `pod`: its name.
    """

    version: str = ""
    manager: str = ""
    namespace: str = ""
    pod: str = ""


# ---- the project and its configuration -------------------------------------------------------------------------------


def project(api: GitLabApi, name: str) -> Project:
    """The project of that path or number, as the token's user sees it.

    Raises:
        Unmeasured: GitLab did not answer.
    """
    path = f"/projects/{segment(name)}"
    command = api.command(path)
    try:
        document = api.ask(path)
    except GitLabError as error:
        faults = {_NOT_FOUND: PipelineFault.PROJECT_MISSING, _FORBIDDEN: PipelineFault.PROJECT_MISSING}
        fault = GitLabFault.TOKEN_REFUSED if error.fault is GitLabFault.TOKEN_REFUSED else faults.get(error.status or 0)
        if fault is None:
            raise error.unmeasured(f"GitLab's answer to `{error.command}`") from error
        cause = f"there is no project {name} that the API token's user may see ({error})"
        cause = f"the API token of the pipelines is not accepted ({error})" if fault in GitLabFault else cause
        return Project(target=name, fault=fault, cause=cause, evidence=error.evidence())
    fields = document if isinstance(document, Mapping) else {}
    full = str(fields.get("path_with_namespace") or name)
    cause = ""
    if fields.get("archived"):
        cause = f"{full} is archived: it runs no pipelines"
    elif fields.get("builds_access_level") == "disabled" or fields.get("jobs_enabled") is False:
        cause = f"CI/CD is switched off in {full}"
    return Project(
        target=name,
        fault=PipelineFault.CI_DISABLED if cause else None,
        cause=cause,
        evidence=Evidence(where="here", command=command, observed=f"{full}, project {fields.get('id')}"),
        id=int(fields.get("id") or 0),
        path=full,
        web=str(fields.get("web_url") or ""),
    )


def configuration(api: GitLabApi, target: Project, ref: str, *, repository: str | None) -> Configuration:
    """What GitLab would run for a branch, and whether that is only the suite's jobs. Nothing is started by this.

    Args:
        api: with an account that may see the project's pipelines.
        target: the project.
        ref: the branch.
        repository: the repository that the build job must push to; None if the suite won't start it.

    Raises:
        Unmeasured: GitLab did not answer.
    """
    path = f"/projects/{target.id}/ci/lint"
    query = {"content_ref": ref, "include_jobs": "true"}
    command = api.command(path, query=query)
    label = f"{ref} of {target.path}"
    try:
        document = api.ask(path, **query)
    except GitLabError as error:
        if error.status == _NOT_FOUND:
            cause = f"{label} has no CI/CD configuration ({error})"
            fault = PipelineFault.CONFIGURATION_INVALID
            return Configuration(target=label, fault=fault, cause=cause, evidence=error.evidence())
        raise error.unmeasured(f"an API token of a Developer of {target.path} or more, as `pipeline.token`") from error
    reply = document if isinstance(document, Mapping) else {}
    judged, cause, names = judge_configuration(reply, repository=repository)
    merged = _merged(reply)
    return Configuration(
        target=label,
        fault=judged,
        cause=f"{label} {cause}" if cause else "",
        evidence=Evidence(where="here", command=command, observed=str(reply.get("merged_yaml") or reply.get("errors"))),
        jobs=names,
        repository=_repository(merged),
    )


@cache
def shipped() -> Mapping[str, Any]:
    """The suite's own configuration, as it is to be committed in the project."""
    text = resources.files("preflight").joinpath("pipeline.gitlab-ci.yml").read_text(encoding="utf-8")
    document: Mapping[str, Any] = load_yaml(text)
    return document


def judge_configuration(
    reply: Mapping[str, Any], *, repository: str | None
) -> tuple[PipelineFault | None, str, tuple[str, ...]]:
    """What the reply of GitLab's linter means for a project: a fault, its cause, and the names of all jobs."""
    merged = _merged(reply)
    listed = [str(job.get("name")) for job in reply.get("jobs") or () if isinstance(job, Mapping)]
    in_text = [name for name, value in merged.items() if _is_job(name, value)]
    names = tuple(dict.fromkeys([*in_text, *listed]))
    if not reply.get("valid"):
        errors = "; ".join(map(str, reply.get("errors") or ())) or "no reason given"
        return PipelineFault.CONFIGURATION_INVALID, f"is not accepted by GitLab: {errors}", names
    if others := [name for name in names if name not in {SMOKE, BUILD}]:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")  # noqa: PLR2004
        return PipelineFault.OTHER_JOBS, f"holds other jobs than the suite's: {shown}; nothing is started there", names
    wanted = [SMOKE] if repository is None else [SMOKE, BUILD]
    if missing := [name for name in wanted if name not in names]:
        return PipelineFault.CONFIGURATION_INVALID, f"lacks the suite's {' and '.join(missing)}", names
    for name in names:
        if different := _difference(name, merged):
            return PipelineFault.OTHER_JOBS, f"has its own {name}: {different}; nothing is started there", names
    if _manual(merged.get(BUILD)) is False:
        return PipelineFault.OTHER_JOBS, f"starts {BUILD} by itself, not `when: manual`", names
    if repository is not None and _repository(merged) != repository:
        pushes_to = _repository(merged) or "nowhere"
        return PipelineFault.OTHER_JOBS, f"pushes to {pushes_to}; the inventory says {repository}", names
    return None, "", names


def _merged(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The merged configuration; some versions of GitLab write its keys as Ruby's symbols."""
    try:
        document = load_yaml(str(reply.get("merged_yaml") or ""))
    except yaml.YAMLError:
        return {}
    merged = _without_symbols(document)
    return merged if isinstance(merged, Mapping) else {}


def _without_symbols(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key).removeprefix(":"): _without_symbols(value) for key, value in node.items()}
    return [_without_symbols(item) for item in node] if isinstance(node, list) else node


def _is_job(name: str, value: Any) -> bool:
    known = isinstance(value, Mapping) and bool({"script", "trigger", "run", "extends"} & set(value))
    return not name.startswith(".") and isinstance(value, Mapping) and (known or name not in _GLOBAL)


def _difference(name: str, merged: Mapping[str, Any]) -> str:
    """How a job of the suite's name differs in what it does from the suite's own."""
    default = merged.get("default") if isinstance(merged.get("default"), Mapping) else {}
    job = {**{key: merged[key] for key in _RUNS if key in merged}, **(default or {}), **merged.get(name, {})}
    own = shipped()[name]
    for key in _RUNS:
        if _lines(job.get(key)) != _lines(own.get(key)):
            return f"another {key}"
    return next((f"it has a {key}" for key in _FORBIDDEN_KEYS if key in job), "")


def _lines(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return [line for item in listed for line in (_lines(item) if isinstance(item, list) else [str(item).strip()])]


def _manual(job: Any) -> bool | None:
    return job.get("when") == "manual" if isinstance(job, Mapping) else None


def _repository(merged: Mapping[str, Any]) -> str:
    job = merged.get(BUILD)
    for table in (job.get("variables") if isinstance(job, Mapping) else None, merged.get("variables")):
        if isinstance(table, Mapping) and REPOSITORY in table:
            value = table[REPOSITORY]
            return str(value.get("value", "") if isinstance(value, Mapping) else value)
    return ""


# ---- a pipeline's life -----------------------------------------------------------------------------------------------


class OwnPipelines:
    """The pipelines that this run starts, and the images that they push: removed at the end, whatever happened.

    Args:
        api: with the account of a Maintainer of the project.
        target: the project.
        deadline: seconds that the removal may take.
        shutdown: of the run; waiting ends with it.
    """

    def __init__(self, api: GitLabApi, target: Project, *, deadline: float, shutdown: Shutdown) -> None:
        self.api, self.project, self._deadline, self._shutdown = api, target, deadline, shutdown
        self._started: list[int] = []
        self._images: dict[str, Callable[[], str]] = {}
        self._lock = threading.Lock()
        self._root = f"/projects/{target.id}"

    def start(self, ref: str) -> Pipeline:
        """Start a pipeline.

        Raises:
            Unmeasured: GitLab did not answer; a pipeline may then run that is not removed.
        """
        path = f"{self._root}/pipeline"
        command = self.api.command(path, "POST", {"ref": ref})
        with self._lock:  # a sweep waits until the pipeline's number is known
            if self._shutdown.is_set():
                raise Unmeasured("the run is over", needs="a run that is not interrupted")
            try:
                started = self.api.ask(path, method="POST", ref=ref)
            except GitLabError as error:
                if error.status not in {_BAD_REQUEST, _FORBIDDEN, _UNPROCESSABLE}:
                    raise error.unmeasured(f"GitLab's answer to `{error.command}`") from error
                cause = f"GitLab starts no pipeline for {ref} of {self.project.path}: {error.message}"
                return Pipeline(
                    target=self.project.path, fault=PipelineFault.REFUSED, cause=cause, evidence=error.evidence()
                )
            number = int(started["id"])
            self._started.append(number)
            self._shutdown.note("pipeline", str(number))
        web = str(started.get("web_url") or f"pipeline {number}")
        others = self._cancel_if_foreign(number)
        return Pipeline(
            target=self.project.path,
            id=number,
            web=web,
            fault=PipelineFault.OTHER_JOBS if others else None,
            cause=f"pipeline {number} holds jobs that no configuration of the project names, as policies add them: "
            f"{', '.join(others)}; it was cancelled"
            if others
            else "",
            evidence=Evidence(where="here", command=command, observed=web),
        )

    def _cancel_if_foreign(self, number: int) -> list[str]:
        """Jobs in a pipeline that are not the suite's; where there are some, it is cancelled at once.

        Raises:
            Unmeasured: GitLab did not list its jobs.
        """
        path = f"{self._root}/pipelines/{number}"
        try:
            listed = [*self.api.items(f"{path}/jobs"), *self.api.items(f"{path}/bridges")]
            others = sorted({str(job.get("name")) for job in listed} - {SMOKE, BUILD})
            if others:
                self.api.ask(f"{path}/cancel", method="POST")
        except GitLabError as error:
            raise error.unmeasured(f"GitLab's answer to `{error.command}`") from error
        return others

    def play(self, pipeline: int, name: str, *, deadline: float, on_event: Callable[[str], None]) -> None:
        """Start a manual job of a pipeline, as soon as GitLab allows it.

        Raises:
            Unmeasured: it could not be started.
        """
        until = time.monotonic() + deadline
        while True:
            job = self._job(pipeline, name)
            if job.get("status") not in {"created", "manual"}:
                return
            if job.get("status") == "manual":
                try:
                    self.api.ask(f"{self._root}/jobs/{job['id']}/play", method="POST")
                except GitLabError as error:
                    raise error.unmeasured(
                        f"the right to play jobs on that branch of {self.project.path}: who may merge or push to it may"
                    ) from error
                return
            on_event(f"{name} cannot be started yet")
            if time.monotonic() >= until or self._shutdown.wait(_pace(deadline)):
                raise Unmeasured(
                    f"{name} of pipeline {pipeline} cannot be started after {deadline:g} s: it is {job.get('status')}",
                    needs="a larger `deadlines.pipeline`, and `needs: []` in that job",
                )

    def follow(self, pipeline: int, name: str, *, deadline: float, on_event: Callable[[str], None]) -> Job:
        """Wait for a job's end, and read its log.

        Raises:
            Unmeasured: GitLab did not answer, or the run ended.
        """
        began = time.monotonic()
        while True:
            job = self._job(pipeline, name)
            passed = time.monotonic() - began
            on_event(f"{name} is {job.get('status')}, {passed:.0f} s")
            if job.get("status") in _ENDED or passed >= deadline:
                break
            if self._shutdown.wait(_pace(deadline)):
                raise Unmeasured(f"the run ended while {name} was {job.get('status')}", needs="a whole run")
        path = f"{self._root}/jobs/{job.get('id')}/trace"
        try:
            log = plain(self.api.text(path))
        except GitLabError as error:
            log = "" if error.status == _NOT_FOUND else f"the log could not be read: {error}"
        return read_job(job, log, waited=passed, command=self.api.command(path))

    def _job(self, pipeline: int, name: str) -> Mapping[str, Any]:
        path = f"{self._root}/pipelines/{pipeline}/jobs"
        try:
            jobs = self.api.items(path)
        except GitLabError as error:
            raise error.unmeasured(f"GitLab's answer to `{error.command}`") from error
        attempts = [job for job in jobs if job.get("name") == name]
        if not attempts:
            raise Unmeasured(
                f"pipeline {pipeline} of {self.project.path} has no {name}",
                needs=f"a configuration whose rules let {name} into pipelines that the API starts",
            )
        return max(attempts, key=lambda job: int(job.get("id", 0)))

    def owe(self, image: str, remove: Callable[[], str]) -> None:
        """Note an image that a job is about to push, to be removed by `sweep`.

        Args:
            image: the full reference.
            remove: removes it; returns why it is still there, or "".
        """
        with self._lock:
            self._images[image] = remove
            self._shutdown.note("image", image)

    def sweep(self) -> None:
        """Cancel and delete every pipeline, and remove every image.

        Raises:
            CleanupError: something is still there.
        """
        with self._lock:
            left = [problem for number in list(self._started) if (problem := self._remove(number))]
            for image, remove in list(self._images.items()):
                reason = remove()
                if reason:
                    left.append(f"image {image} is still there: {reason}")
                else:
                    del self._images[image]
        if left:
            raise CleanupError("; ".join(left))

    def _remove(self, number: int) -> str:
        """Remove a pipeline; returns why it is still there, or ""."""
        path = f"{self._root}/pipelines/{number}"
        until = time.monotonic() + self._deadline
        try:
            pipeline = self.api.ask(path)
            if pipeline.get("status") not in _ENDED:
                self.api.ask(f"{path}/cancel", method="POST")
            # A job that is being cancelled still writes to its pipeline.
            while self._running(path) and time.monotonic() < until:
                if self._shutdown.expedite.wait(_pace(self._deadline)):
                    break
            self.api.ask(path, method="DELETE")
        except GitLabError as error:
            if error.status != _NOT_FOUND:
                who = " (only an Owner may delete one)" if error.status == _FORBIDDEN else ""
                return f"pipeline {number} of {self.project.path} is still there: {error}{who}"
        self._started.remove(number)
        return ""

    def _running(self, path: str) -> bool:
        running = {"running", "canceling", "pending"}
        return any(job.get("status") in running for job in self.api.items(f"{path}/jobs"))


def _pace(deadline: float) -> float:
    """Seconds between two requests: a hundredth of the deadline, within bounds that are polite to GitLab."""
    return min(max(deadline / 100, 0.2), 3.0)


# ---- what a job's log shows ------------------------------------------------------------------------------------------

_MARKERS = re.compile(r"section_(?:start|end):\d+:[\w.-]+(?:\[[^\]]*\])?\r?|\x1b\[[0-9;?]*[A-Za-z]")
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z [0-9a-f]{2}[OE][+ ]?", re.MULTILINE)  # FF_TIMESTAMPS

# Messages of jobs that failed before their script, the most specific first (docs/sources.md#job-failures).
_FAILURES = (
    "image pull failed",
    "is forbidden: User",
    "timed out waiting for pod to start",
    "timed out waiting for pod to become attachable",
    "Timed out while waiting for",
    "no image specified and no default set in config",
    "setting up credentials",
    "setting up build pod",
    "unauthorized: authentication required",
    "denied: requested access to the resource is denied",
    "Cannot connect to the Docker daemon",
    "no such host",
    "ERROR: Job failed",
    "ERROR:",
)


def plain(log: str) -> str:
    """A job's log as a person reads it: no timestamps, section markers or colours, and no overwritten text."""
    text = _MARKERS.sub("", _TIMESTAMP.sub("", log))
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def read_job(document: Mapping[str, Any], log: str, *, waited: float, command: str) -> Job:
    """A job as GitLab describes it: with a fault unless it succeeded.

    Args:
        document: GitLab's own record.
        log: the plain log.
        waited: seconds that were waited for its end.
        command: that shows the log.
    """
    status, name, number = str(document.get("status", "")), str(document.get("name", "")), int(document.get("id") or 0)
    reason = str(document.get("failure_reason") or "")
    label = f"{name} (job {number})"
    fault: PipelineFault | None = None
    cause = ""
    if status in _WAITING:
        tags = ", ".join(map(str, document.get("tag_list") or ())) or "no tags"
        fault = PipelineFault.STUCK
        cause = f"no runner took {label} within {waited:.0f} s; it is {status} and wants {tags}"
    elif status not in _ENDED:
        fault, cause = PipelineFault.SLOW, f"{label} was still {status} after {waited:.0f} s"
    elif status != "success":
        fault = PipelineFault.FAILED
        cause = f"{label} ended as {status}" + (f", {reason}" if reason else "") + _failure_in(log)
    runner = document.get("runner")
    return Job(
        target=name,
        fault=fault,
        cause=cause,
        evidence=Evidence(where=f"job {name}", command=command, observed=log or "no log", took=waited),
        id=number,
        name=name,
        status=status,
        reason=reason,
        queued=document.get("queued_duration"),
        seconds=document.get("duration"),
        runner=str(runner.get("description") or "") if isinstance(runner, Mapping) else "",
        log=log,
    )


def _failure_in(log: str) -> str:
    """The line of a log that says best why the job failed, to end a sentence with; empty without one."""
    lines = [line.strip() for line in log.splitlines()]
    for message in _FAILURES:
        if match := next((line for line in lines if message in line and not line.startswith("$ ")), None):
            return f": {match[:300]}"
    return ""


def job_runner(job: Job, *, namespace: str, managers: str) -> JobRunner:
    """Whether a job ran on the release's managers, in the jobs' namespace, by its own log (docs/sources.md#job-pod).

    Args:
        job: one that ended.
        namespace: of jobs, by the values.
        managers: prefix of the names of the release's manager pods.
    """
    version = re.search(r"^Running with gitlab-runner (\S+)", job.log, re.MULTILINE)
    where = re.search(r"^Using Kubernetes namespace: (\S+)", job.log, re.MULTILINE)
    ran = re.search(r"^Running on (\S+) via (\S+?)(?:\.\.\.)?$", job.log, re.MULTILINE)
    executor = re.search(r'^Preparing the "([^"]+)" executor', job.log, re.MULTILINE)
    runner = JobRunner(
        target=job.name,
        evidence=job.evidence,
        version=version[1] if version else "",
        manager=ran[2] if ran else "",
        namespace=where[1] if where else "",
        pod=ran[1] if ran else "",
    )
    cause = ""
    if executor is not None and executor[1] != "kubernetes":
        cause = f"{job.name} ran on the {executor[1]} executor of {job.runner or runner.manager}"
    elif runner.namespace != namespace:
        cause = f"{job.name} ran in namespace {runner.namespace or 'unknown'}; the values say {namespace}"
    elif not runner.manager.startswith(f"{managers}-"):
        cause = f"{job.name} was run by {runner.manager or 'an unknown manager'}, no pod of {managers}"
    return replace(runner, fault=PipelineFault.OTHER_RUNNER, cause=cause) if cause else runner


def shown_between(log: str, begin: str, end: str) -> str | None:
    """The lines of a log between two that a script printed; None if they are not there."""
    lines = [line.strip() for line in log.splitlines()]
    if begin not in lines or end not in lines[lines.index(begin) :]:
        return None
    first = lines.index(begin) + 1
    return "\n".join(line for line in lines[first : lines.index(end, first)] if not line.startswith("$ "))
