"""6.4, 11 What jobs need to build and push: variables, the right to push, and a build that does both."""

from __future__ import annotations

from dataclasses import dataclass

from preflight.clients.gitlab_api import GitLabApi
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.references import Ref
from preflight.facts.registry import access_to
from preflight.facts.target_selectors import build_repository, registry_of_repository
from preflight.inventory import Inventory
from preflight.inventory import Pipeline as Settings
from preflight.probes import ci_variables as ci
from preflight.probes import pipeline as pipelines
from preflight.probes import push
from preflight.probes import registry as registries
from preflight.probes.ci_variables import RefProtection, Variables, VariableState
from preflight.probes.credentials import Account
from preflight.probes.pipeline import Configuration, Job, OwnPipelines, Pipeline, Project
from preflight.probes.push import PushPermission
from preflight.probes.registry import Credentials, Manifest, RegistryReply
from preflight.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAccount:
    """The account that pushes.

    Attributes:
        credentials: None for anonymous access.
        origin: where they come from.
    """

    credentials: Credentials | None
    origin: str


@fact(deadline="http+http+http", secret=True, reported_by=("variable_presence",))
def ci_variables(pipeline_settings: Settings, gitlab_project_api: GitLabApi, ci_project: Project) -> Variables:
    """The project's CI/CD variables."""
    secrets = {key for key, variable in pipeline_settings.variables.items() if variable.masked} | {
        pipeline_settings.password
    }
    return ci.read(gitlab_project_api, ci_project.path, secret=secrets)


@fact()
def variable_presence(variable: str, ci_variables: Variables) -> VariableState:
    """A CI/CD variable of the project."""
    return ci.presence(ci_variables, variable)


@fact()
def variable_masking(
    variable: str, variable_presence: VariableState, ci_variables: Variables, pipeline_settings: Settings
) -> VariableState:
    """Whether job logs hide a CI/CD variable."""
    return ci.masking(ci_variables, variable, required=pipeline_settings.variables[variable].masked)


@fact()
def variable_protection(
    variable: str, variable_presence: VariableState, ci_variables: Variables, pipeline_settings: Settings
) -> VariableState:
    """Whether a CI/CD variable is kept to protected branches."""
    return ci.protection(ci_variables, variable, required=pipeline_settings.variables[variable].protected)


@fact()
def ref_protection(
    pipeline_settings: Settings, gitlab_project_api: GitLabApi, ci_project: Project, ci_variables: Variables
) -> RefProtection:
    """Whether the pipelines' branch gets protected variables."""
    return ci.ref_protection(gitlab_project_api, ci_project.path, pipeline_settings.ref, ci_variables)


@fact(
    effect="write",
    optional=("ci_variables",),
    for_target={
        "registry_access": ("registry", registry_of_repository),
        "registry_account": ("registry", registry_of_repository),
    },
)
def push_account(
    repository: str,
    registry_access: RegistryReply | None,
    registry_account: Account | None,
    ci_variables: Variables | None,
    inventory: Inventory,
) -> PushAccount:
    """The account that pushes to a repository: the build job's own where its variables can be read."""
    settings = inventory.pipeline
    if settings != "none" and repository == settings.image and ci_variables is not None:
        user, password = ci_variables.named(settings.username), ci_variables.named(settings.password)
        if user and password and user.value and password.value:
            return PushAccount(
                credentials=Credentials(user.value, password.value), origin=f"{user.key} and {password.key}"
            )
    configured = registry_account.credentials if registry_account else None
    return PushAccount(credentials=configured, origin="the inventory's credentials" if configured else "nobody")


@fact(effect="write", deadline="http")
def push_permission(repository: str, push_account: PushAccount, inventory: Inventory, run: Run) -> PushPermission:
    """The right to push to a repository."""
    registry = inventory.registry_of(repository)
    return push.push_permission(
        repository,
        **access_to(registry, push_account.credentials, inventory, run),
    )


@fact(
    effect="write",
    deadline="pipeline+http+http+http",
    fan_in={"variable_presence": "variable"},
    for_target={
        "push_permission": ("repository", build_repository),
        "push_account": ("repository", build_repository),
    },
    optional=("variable_presence",),
)
def build_job(
    pipeline_settings: Settings,
    ci_configuration: Configuration,
    ref_protection: RefProtection,
    variable_presence: tuple[VariableState, ...],
    push_permission: PushPermission | None,
    push_account: PushAccount | None,
    ci_pipeline: Pipeline,
    own_pipelines: OwnPipelines,
    inventory: Inventory,
    run: Run,
) -> Job:
    """The build job in the suite's pipeline."""
    repository = pipeline_settings.image
    if repository is None or push_account is None:
        reason = "no pipeline.image in the inventory: there is nowhere to push to"
        raise NotApplicable(reason)
    for absent in variable_presence:
        if absent.fault is not None:
            raise Blocked.by(Ref.VARIABLE_PRESENCE, absent, {"variable": absent.key})
    registry, account = inventory.registry_of(repository), push_account.credentials
    image = f"{repository}:{pipelines.TAG.format(pipeline=ci_pipeline.id)}"
    own_pipelines.owe(
        image,
        lambda: push.remove_image(
            image,
            **access_to(registry, account, inventory, run),
        ),
    )

    def say(text: str) -> None:
        run.say("build_job", f"pipeline {ci_pipeline.id}: {text}")

    within = inventory.deadlines.pipeline
    own_pipelines.play(ci_pipeline.id, pipelines.BUILD, deadline=within / 4, on_event=say)
    return own_pipelines.follow(ci_pipeline.id, pipelines.BUILD, deadline=within * 3 / 4, on_event=say)


@fact(effect="write", for_target={"push_account": ("repository", build_repository)})
def pushed_image(
    pipeline_settings: Settings,
    build_job: Job,
    ci_pipeline: Pipeline,
    push_account: PushAccount | None,
    inventory: Inventory,
    run: Run,
) -> Manifest:
    """The image that the build job pushed."""
    repository = pipeline_settings.image or ""
    registry = inventory.registry_of(repository)
    return registries.manifest(
        f"{repository}:{pipelines.TAG.format(pipeline=ci_pipeline.id)}",
        platforms=(inventory.cluster.platform,),
        **access_to(registry, push_account.credentials if push_account else None, inventory, run),
    )
