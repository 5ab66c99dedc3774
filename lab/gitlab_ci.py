"""GitLab's API for projects: variables, branches, the linter, pipelines, and jobs that a runner takes.

Answers follow GitLab's API documentation (projects, project_level_variables, branches, lint, pipelines, jobs). A job
runs by itself once its pipeline is created or it is played; its log is that of runner 18.3.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import yaml

from lab.kubernetes.containers import resolv_conf
from lab.world import RESOLVERS, CiJob, CiPipeline, Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.world import CiProject, World

Answer = tuple[int, object]

_OWN_ROLE = {"guest": 10, "reporter": 20, "developer": 30, "maintainer": 40, "owner": 50}
_DEVELOPER, _MAINTAINER, _OWNER = 30, 40, 50
_PENDING, _RUNS = 0.1, 0.15  # seconds
_ENDED = frozenset({"success", "failed", "canceled", "skipped"})
_GLOBAL = frozenset({"default", "include", "stages", "variables", "workflow", "image", "services", "before_script"})
_MANAGER = "gitlab-runner-7c9f8d6b5d-4xk2p"
_SHORT = "Zq7mUfX2c"  # of the runner's token, as the runner shows it
_COMMIT = "3f2a9c41d7e85b60c1f4a2986d0b7e53c9a81f24"
_tasks: set[asyncio.Task[None]] = set()


def answer(world: World, method: str, path: str, query: Mapping[str, str]) -> Answer | None:
    """The API's answer about projects and groups to a valid token; None for any other path.

    A job's log comes as text, everything else as JSON; a status of 204 has no body.
    """
    parts = [unquote(part) for part in path.removeprefix("/api/v4/").split("/")]
    if parts[0] == "groups" and parts[2:] == ["variables"] and method == "GET":
        variables = world.gitlab.groups.get(parts[1])
        return (
            (404, {"message": "404 Group Not Found"})
            if variables is None
            else _paged([_variable(variable) for variable in variables], query)
        )
    if parts[0] != "projects" or len(parts) < 2:  # noqa: PLR2004 - a path has a project
        return None
    project = next(
        (candidate for candidate in world.gitlab.projects if parts[1] in {candidate.path, str(candidate.id)}), None
    )
    if project is None:
        return 404, {"message": "404 Project Not Found"}
    for pattern, verb, role, serve in _ROUTES:
        match = re.fullmatch(pattern, "/".join(parts[2:]))
        if match and verb == method:
            if _OWN_ROLE[project.role] < role:
                return 403, {"message": "403 Forbidden"}
            return serve(world, project, [*match.groups()], query)
    return 404, {"error": "404 Not Found"}


# ---- projects, variables, branches, lint


def _project(world: World, project: CiProject, _names: list[str], _query: Mapping[str, str]) -> Answer:
    name = project.path.rpartition("/")[2]
    return 200, {
        "id": project.id,
        "description": None,
        "name": name,
        "name_with_namespace": project.path.replace("/", " / "),
        "path": name,
        "path_with_namespace": project.path,
        "created_at": "2025-08-26T02:11:45.120Z",
        "default_branch": "main",
        "web_url": _web(world, project),
        "namespace": {"id": 12, "path": project.path.rpartition("/")[0], "kind": "group"},
        "visibility": "private",
        "archived": project.archived,
        "jobs_enabled": True,
        "builds_access_level": "private",
        "shared_runners_enabled": True,
        "ci_config_path": "",
    }


def _variables(_world: World, project: CiProject, _names: list[str], query: Mapping[str, str]) -> Answer:
    return _paged([_variable(variable) for variable in project.variables], query)


def _variable(variable: Any) -> dict[str, object]:
    return {
        "variable_type": "env_var",
        "key": variable.key,
        "value": None if variable.hidden else variable.value,
        "hidden": variable.hidden,
        "protected": variable.protected,
        "masked": variable.masked,
        "raw": False,
        "environment_scope": "*",
        "description": None,
    }


def _branch(_world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    if names[0] not in project.branches:
        return 404, {"message": "404 Branch Not Found"}
    protected = project.branches[names[0]]
    return 200, {
        "name": names[0],
        "merged": False,
        "protected": protected,
        "default": names[0] == "main",
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": True,
        "commit": {"id": _COMMIT, "short_id": _COMMIT[:8], "title": "Add the pipeline"},
    }


def _lint(_world: World, project: CiProject, _names: list[str], query: Mapping[str, str]) -> Answer:
    if query.get("content_ref", "main") not in project.branches:
        return 404, {"message": "404 Commit Not Found"}
    if project.configuration is None:
        errors = ["Please provide content of .gitlab-ci.yml"]
        return 200, {"valid": False, "merged_yaml": None, "errors": errors, "warnings": [], "includes": []}
    document = yaml.safe_load(project.configuration)
    result: dict[str, object] = {
        "valid": True,
        "merged_yaml": "---\n" + yaml.safe_dump(document, sort_keys=False, width=1000),
        "errors": [],
        "warnings": [],
        "includes": [],
    }
    if query.get("include_jobs") == "true":
        result["jobs"] = [
            {
                "name": name,
                "stage": job.get("stage", "test"),
                "before_script": [],
                "script": job.get("script", []),
                "after_script": [],
                "tag_list": job.get("tags", []),
                "environment": None,
                "when": job.get("when", "on_success"),
                "allow_failure": bool(job.get("allow_failure")),
                "needs": None,
            }
            for name, job in _jobs_of(document).items()
        ]
    return 200, result


def _jobs_of(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: job for name, job in document.items() if name not in _GLOBAL and not name.startswith(".")}


# ---- pipelines


def _create(world: World, project: CiProject, _names: list[str], query: Mapping[str, str]) -> Answer:
    if query.get("ref") not in project.branches:
        return 400, {"message": {"base": ["Reference not found"]}}
    if project.configuration is None:
        return 400, {"message": {"base": ["Missing CI config file"]}}
    number = project.next_pipeline
    project.next_pipeline += 1
    pipeline = CiPipeline(id=number, ref=query["ref"])
    for index, (name, definition) in enumerate(_jobs_of(yaml.safe_load(project.configuration)).items()):
        manual = definition.get("when") == "manual"
        job = CiJob(id=number * 10 + index, name=name, stage=definition.get("stage", "test"), definition=definition)
        job.status = "manual" if manual else "pending"
        pipeline.jobs.append(job)
    project.pipelines[number] = pipeline
    for job in pipeline.jobs:
        if job.status == "pending":
            _take(world, project, pipeline, job)
    return 201, _pipeline(world, project, pipeline)


def _take(world: World, project: CiProject, pipeline: CiPipeline, job: CiJob) -> None:
    """Let the runner take a job, if it takes any."""
    job.started = None
    if project.runner_takes:
        task = asyncio.get_running_loop().create_task(_live(world, project, pipeline, job))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _live(world: World, project: CiProject, pipeline: CiPipeline, job: CiJob) -> None:
    await asyncio.sleep(_PENDING)
    if job.status != "pending":
        return
    job.status, job.started = "running", time.time()
    await asyncio.sleep(_RUNS)
    if job.status != "running":
        return
    pod = f"runner-{_SHORT.lower()}-project-{project.id}-concurrent-0-{secrets.token_hex(4)}"
    fault, lines = _BODIES.get(job.name, _plain)(world, project, pipeline, job, pod)
    job.log = _log(world, project, pod, lines, fault)
    job.status, job.ended = ("failed" if fault else "success"), time.time()
    job.reason = "script_failure" if fault else ""


def _show(world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    pipeline = project.pipelines.get(int(names[0]))
    return (404, {"message": "404 Not found"}) if pipeline is None else (200, _pipeline(world, project, pipeline))


def _pipeline(world: World, project: CiProject, pipeline: CiPipeline) -> dict[str, object]:
    return {
        "id": pipeline.id,
        "iid": pipeline.id - 900,
        "project_id": project.id,
        "sha": _COMMIT,
        "ref": pipeline.ref,
        "status": pipeline.status,
        "source": "api",
        "created_at": _time(pipeline.created),
        "updated_at": _time(time.time()),
        "web_url": f"{_web(world, project)}/-/pipelines/{pipeline.id}",
        "before_sha": "0" * 40,
        "tag": False,
        "yaml_errors": None,
        "user": {"id": 4, "username": "ops", "name": "Operations", "state": "active"},
        "coverage": None,
    }


def _list_jobs(world: World, project: CiProject, names: list[str], query: Mapping[str, str]) -> Answer:
    pipeline = project.pipelines.get(int(names[0]))
    if pipeline is None:
        return 404, {"message": "404 Not found"}
    return _paged([_job(world, project, pipeline, job) for job in pipeline.jobs], query)


def _list_bridges(_world: World, project: CiProject, names: list[str], query: Mapping[str, str]) -> Answer:
    return _paged([], query) if int(names[0]) in project.pipelines else (404, {"message": "404 Not found"})


def _job(world: World, project: CiProject, pipeline: CiPipeline, job: CiJob) -> dict[str, object]:
    taken = job.started is not None
    entity: dict[str, object] = {
        "id": job.id,
        "status": job.status,
        "stage": job.stage,
        "name": job.name,
        "ref": pipeline.ref,
        "tag": False,
        "coverage": None,
        "allow_failure": bool(job.definition.get("allow_failure")),
        "created_at": _time(pipeline.created),
        "started_at": _time(job.started),
        "finished_at": _time(job.ended),
        "erased_at": None,
        "duration": round((job.ended or time.time()) - job.started, 3) if job.started else None,
        "queued_duration": round((job.started or time.time()) - pipeline.created, 3),
        "user": {"id": 4, "username": "ops", "name": "Operations"},
        "pipeline": {"id": pipeline.id, "ref": pipeline.ref, "sha": _COMMIT, "status": pipeline.status},
        "web_url": f"{_web(world, project)}/-/jobs/{job.id}",
        "artifacts": [],
        "runner": {"id": 7, "description": "k8s-runner", "active": True, "is_shared": True} if taken else None,
        "runner_manager": {"id": 21, "system_id": "r_8KdWq2XzPm4V", "version": "18.3.0"} if taken else None,
        "tag_list": list(job.definition.get("tags", [])),
    }
    return entity | ({"failure_reason": job.reason} if job.reason else {})


def _trace(_world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    for pipeline in project.pipelines.values():
        for job in pipeline.jobs:
            if job.id == int(names[0]):
                return 200, job.log
    return 404, {"message": "404 Not found"}


def _play(world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    for pipeline in project.pipelines.values():
        for job in pipeline.jobs:
            if job.id == int(names[0]):
                if job.status != "manual":
                    return 400, {"message": "400 Bad request - Unplayable Job"}
                job.status = "pending"
                _take(world, project, pipeline, job)
                return 200, _job(world, project, pipeline, job)
    return 404, {"message": "404 Not found"}


def _cancel(world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    pipeline = project.pipelines.get(int(names[0]))
    if pipeline is None:
        return 404, {"message": "404 Not found"}
    for job in pipeline.jobs:
        if job.status not in _ENDED:
            job.status, job.ended = "canceled", time.time()
    return 200, _pipeline(world, project, pipeline)


def _delete(_world: World, project: CiProject, names: list[str], _query: Mapping[str, str]) -> Answer:
    if project.pipelines.pop(int(names[0]), None) is None:
        return 404, {"message": "404 Not found"}
    return 204, None


_ROUTES: tuple[tuple[str, str, int, Callable[..., Answer]], ...] = (
    (r"", "GET", 10, _project),
    (r"variables", "GET", _MAINTAINER, _variables),
    (r"repository/branches/(.+)", "GET", 10, _branch),
    (r"ci/lint", "GET", _DEVELOPER, _lint),
    (r"pipeline", "POST", _DEVELOPER, _create),
    (r"pipelines/(\d+)", "GET", 10, _show),
    (r"pipelines/(\d+)", "DELETE", _OWNER, _delete),
    (r"pipelines/(\d+)/jobs", "GET", 10, _list_jobs),
    (r"pipelines/(\d+)/bridges", "GET", 10, _list_bridges),
    (r"pipelines/(\d+)/cancel", "POST", _DEVELOPER, _cancel),
    (r"jobs/(\d+)/trace", "GET", 10, _trace),
    (r"jobs/(\d+)/play", "POST", _DEVELOPER, _play),
)


def _paged(listed: list[dict[str, object]], query: Mapping[str, str]) -> Answer:
    size, page = int(query.get("per_page", "20")), int(query.get("page", "1"))
    return 200, listed[(page - 1) * size : page * size]


def _web(world: World, project: CiProject) -> str:
    return f"http://{world.gitlab.address}/{project.path}"


def _time(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# ---- what jobs do, and their logs

_Done = tuple[str, list[str]]


def _plain(_world: World, _project: CiProject, _pipeline: CiPipeline, job: CiJob, _pod: str) -> _Done:
    return "", [f"$ {line}" for line in job.definition.get("script", [])]


def _smoke(world: World, project: CiProject, _pipeline: CiPipeline, job: CiJob, pod: str) -> _Done:
    lines: list[str] = []
    for command in job.definition["script"]:
        lines.append(f"\x1b[32;1m$ {command}\x1b[0;m")
        if command.startswith("cat /etc/resolv.conf"):
            lines += _resolv_conf(world).splitlines()
        elif command.startswith('echo "user'):
            lines.append(f"user root on {pod} in /builds/{project.path}")
        elif match := re.fullmatch(r'echo "([^"$]*)"', command):
            lines.append(match[1])
    return "", lines


def _resolv_conf(world: World) -> str:
    """The resolv.conf of a job's pod: as the values set it, after mutating admission."""
    config = {
        "nameservers": list(RESOLVERS),
        "searches": ["gitlab.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    pod: dict[str, Any] = {"metadata": {"namespace": "gitlab"}, "spec": {"dnsPolicy": "None", "dnsConfig": config}}
    for mutate in world.cluster.mutating:
        mutate(pod)
    return resolv_conf(world.cluster, pod, world.workers[0].resolv_conf)


def _build(world: World, project: CiProject, pipeline: CiPipeline, job: CiJob, _pod: str) -> _Done:
    repository = str(job.definition["variables"]["PREFLIGHT_REPOSITORY"])
    host, _, name = repository.partition("/")
    tag = f"preflight-{pipeline.id}"
    lines = [f"\x1b[32;1m$ {command}\x1b[0;m" for command in job.definition["script"]]
    variables = {
        variable.key: variable.value
        for variable in project.variables
        if project.branches.get(pipeline.ref) or not variable.protected
    }
    user = variables.get("ACR_USERNAME", "")
    registry = world.registries.get(host)
    if registry is None or registry.accounts.get(user, "") != variables.get("ACR_PASSWORD") or not user:
        error = f'Error response from daemon: Get "https://{host}/v2/": unauthorized: authentication required'
        return error, [*lines, error]
    pushed = [*lines, "Login Succeeded", f"The push refers to repository [{repository}]"]
    if registry.pushers is not None and user not in registry.pushers:
        error = "denied: requested access to the resource is denied"
        return error, [*pushed, error]
    registry.images.setdefault(name, {})[tag] = Image(
        platforms=("linux/amd64",), index=False, created=_time(time.time()) or "", size=214
    )
    identifier = hashlib.sha256(tag.encode()).hexdigest()
    return "", [*pushed, f"{identifier[:12]}: Pushed", f"{tag}: digest: sha256:{identifier} size: 525"]


_BODIES: dict[str, Callable[[World, CiProject, CiPipeline, CiJob, str], _Done]] = {
    "preflight-smoke": _smoke,
    "preflight-build": _build,
}


def _log(world: World, project: CiProject, pod: str, lines: list[str], fault: str) -> str:
    """A job's log as runner 18.3 writes it, with section markers and colours."""
    stamp = int(time.time())
    manager = next(
        (
            pod["metadata"]["name"]
            for pod in world.cluster.each("pods")
            if pod["metadata"].get("labels", {}).get("app") == "gitlab-runner"
        ),
        _MANAGER,
    )
    clear, blue, end = "\x1b[0K", "\x1b[36;1m", "\x1b[0;m"
    image = "registry.example.com/library/alpine:latest"

    def section(name: str, title: str, body: list[str]) -> list[str]:
        head = f"section_start:{stamp}:{name}\r{clear}{clear}{blue}{title}{end}{clear}{end}"
        return [head, *body, f"section_end:{stamp}:{name}\r{clear}"]

    log_lines = [
        f"{clear}Running with gitlab-runner 18.3.0 (9ba718cd){end}",
        f"{clear}  on k8s-runner {_SHORT}, system ID: r_8KdWq2XzPm4V{end}",
        *section(
            "prepare_executor",
            'Preparing the "kubernetes" executor',
            [
                f"{clear}Using Kubernetes namespace: {project.runs_in}{end}",
                f"{clear}Using Kubernetes executor with image {image} ...{end}",
                f"{clear}Using attach strategy to execute scripts...{end}",
            ],
        ),
        *section(
            "prepare_script",
            "Preparing environment",
            [
                f"Waiting for pod {project.runs_in}/{pod} to be running, status is Pending",
                f"Running on {pod} via {manager}...",
            ],
        ),
        *section("get_sources", "Getting source from Git repository", ["Skipping Git repository setup"]),
        *section("step_script", 'Executing "step_script" stage of the job script', lines),
        *section("cleanup_file_variables", "Cleaning up project directory and file based variables", []),
    ]
    log_lines.append(
        f"\x1b[31;1mERROR: Job failed: command terminated with exit code 1{end}"
        if fault
        else f"\x1b[32;1mJob succeeded{end}"
    )
    return "\n".join(log_lines) + "\n"
