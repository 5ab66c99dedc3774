"""4.3 A pipeline of the suite's own: its project, its jobs on this runner, and what their logs show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preflight.clients.gitlab_api import GitLabApi
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.fact import fact
from preflight.facts.references import Ref
from preflight.faults import DnsFault, GitLabFault
from preflight.inventory import Inventory
from preflight.inventory import Pipeline as Settings
from preflight.jobshape import JobShape
from preflight.probes import pipeline as pipelines
from preflight.probes import shell_sections, transcript
from preflight.probes.gitlab import GitLabVersion
from preflight.probes.pipeline import Configuration, Job, JobRunner, OwnPipelines, Pipeline, Project
from preflight.probes.transcript import Report, ResolvConf
from preflight.releasenames import names_of
from preflight.run import Run
from preflight.values import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerNames:
    """How the names of the release's manager pods begin."""

    begin: str


@fact(effect="static")
def pipeline_settings(inventory: Inventory) -> Settings:
    """The project of the suite's own pipelines."""
    if inventory.pipeline == "none":
        reason = "pipeline is none in the inventory: there is no project for the suite's pipelines"
        raise NotApplicable(reason)
    return inventory.pipeline


@fact(after=("gitlab_identity",), optional=("gitlab_version",))
def gitlab_project_api(
    pipeline_settings: Settings,
    gitlab_version: GitLabVersion | None,
    inventory: Inventory,
    run: Run,
) -> GitLabApi:
    """GitLab's API, as the user of the pipelines' token."""
    token = pipeline_settings.token or inventory.gitlab.api_token
    if not token or not token.text:
        reason = "neither pipeline.token nor gitlab.api_token is in the inventory"
        raise NotApplicable(reason)
    if not pipeline_settings.token and gitlab_version and gitlab_version.fault is GitLabFault.TOKEN_REFUSED:
        raise Blocked.by(Ref.GITLAB_VERSION, gitlab_version)
    return GitLabApi(
        url=inventory.gitlab.url,
        token=token.text,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )


@fact()
def ci_project(pipeline_settings: Settings, gitlab_project_api: GitLabApi) -> Project:
    """The project of the suite's own pipelines, in GitLab."""
    return pipelines.project(gitlab_project_api, pipeline_settings.project)


@fact()
def ci_configuration(pipeline_settings: Settings, gitlab_project_api: GitLabApi, ci_project: Project) -> Configuration:
    """What a pipeline of that project would run."""
    settings = pipeline_settings
    return pipelines.configuration(gitlab_project_api, ci_project, settings.ref, repository=settings.image)


@fact(effect="write", deadline="clean", reported_by=("smoke_job",))
def own_pipelines(
    gitlab_project_api: GitLabApi, ci_project: Project, inventory: Inventory, run: Run
) -> Iterator[OwnPipelines]:
    """The pipelines that this run starts: removed at the end of the run in any case."""
    ours = OwnPipelines(gitlab_project_api, ci_project, deadline=inventory.deadlines.clean, shutdown=run.shutdown)
    yield ours
    ours.sweep()


@fact(after=("ci_configuration",), effect="write", deadline="http+http+http+http", reported_by=("smoke_job",))
def ci_pipeline(pipeline_settings: Settings, own_pipelines: OwnPipelines) -> Pipeline:
    """The start of the suite's pipeline."""
    return own_pipelines.start(pipeline_settings.ref)


@fact(effect="write", deadline="pipeline+http+http", tolerates=("ci_pipeline",))
def smoke_job(ci_pipeline: Pipeline, own_pipelines: OwnPipelines, inventory: Inventory, run: Run) -> Pipeline | Job:
    """The smoke job in the suite's pipeline."""
    if ci_pipeline.fault is not None:
        return ci_pipeline
    return own_pipelines.follow(
        ci_pipeline.id,
        pipelines.SMOKE,
        deadline=inventory.deadlines.pipeline,
        on_event=lambda text: run.say("smoke_job", f"pipeline {ci_pipeline.id}: {text}"),
    )


@fact(effect="static")
def manager_names(helm_values: Values) -> ManagerNames:
    """The names of the release's manager pods.

    docs/sources.md#release-names says how the chart names them.
    """
    return ManagerNames(begin=names_of(helm_values).workload)


@fact(effect="write")
def smoke_runner(smoke_job: Job, manager_names: ManagerNames, job_shape: JobShape) -> JobRunner:
    """The runner that took the smoke job."""
    return pipelines.job_runner(smoke_job, namespace=job_shape.namespace, managers=manager_names.begin)


@fact(effect="write", optional=("pod_resolv_conf",), fan_in={"pod_resolv_conf": "worker"})
def smoke_resolv_conf(
    smoke_job: Job, smoke_runner: JobRunner, pod_resolv_conf: tuple[ResolvConf, ...], job_shape: JobShape
) -> ResolvConf:
    """The resolv.conf that the smoke job printed."""
    where = f"job {smoke_job.name}"
    text = pipelines.shown_between(smoke_job.log, "preflight-resolv-conf-begin", "preflight-resolv-conf-end")
    if text is None:
        raise Unmeasured(
            f"the log of job {smoke_job.id} does not show its resolv.conf",
            needs="the whole log of that job: a larger `output_limit` in `runners.config`",
            evidence=smoke_job.evidence,
        )
    section = shell_sections.Section(kind="resolv_conf", exit=0, output=text, took=smoke_job.seconds or 0.0)
    resolv_conf = transcript.resolv_conf(Report(where=where, sections=(section,)), job_shape, smoke_runner.pod or where)
    not_applied = [conf for conf in pod_resolv_conf if conf.fault is DnsFault.NOT_APPLIED]
    if resolv_conf.fault is not None and not_applied and len(not_applied) == len(pod_resolv_conf):
        raise Blocked.by(
            Ref.POD_RESOLV_CONF, not_applied[0], {"worker": not_applied[0].target.rpartition(" ")[2]}, witness=where
        )
    return resolv_conf
