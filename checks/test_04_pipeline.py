"""4.3 Smoke pipeline: a job of a project's pipeline runs on this runner, as every job would."""

from preflight.facts import Configuration, Job, JobRunner, Project, ResolvConf


def test_the_pipeline_project_is_usable(ci_project: Project) -> None:
    """4.3.1 The project for the suite's pipelines exists, and the API token can use it.

    Why: only a real pipeline proves a job from end to end, and it needs a project that contains nothing else.
    Remedy (project-missing): create the project, correct `pipeline.project`, or make the token's user a Maintainer.
    Remedy (ci-disabled): unarchive the project, and enable CI/CD in its Settings → General → Visibility.
    Remedy (token-refused): renew the API token in `pipeline.token`.
    Remedy: make the project's API accept that token.
    """
    assert not ci_project.fault


def test_the_pipeline_project_contains_only_the_suites_jobs(ci_configuration: Configuration) -> None:
    """4.3.2 A pipeline of that project would run the suite's own jobs, and nothing else.

    Why: starting a pipeline runs everything in it; the suite refuses if that could be a deployment.
    Remedy (configuration-invalid): commit `preflight/pipeline.gitlab-ci.yml` there as `.gitlab-ci.yml`.
    Remedy (other-jobs): set `pipeline.project` to a separate project, and commit the suite's configuration there
        unchanged, except for images, tags and `PREFLIGHT_REPOSITORY`.
    Remedy: Build → Pipeline editor → Full configuration must show only the suite's jobs.
    """
    assert not ci_configuration.fault


def test_a_job_runs(smoke_job: Job) -> None:
    """4.3.3 A job of the project's pipeline is taken by a runner and succeeds.

    Why: it is the guide's own proof that runner, cluster, network and registry work together.
    Remedy (job-stuck): give the runner the job's tags, or let it take untagged jobs; check that it is online, not
        paused, and available to this project.
    Remedy (job-failed): the job's log says why; its last lines name the pull, the pod or the script.
    Remedy (job-slow): see what delays the job's pod: `kubectl get pods -n NAMESPACE -w`.
    Remedy (pipeline-refused): GitLab's message names the right or the setting that is missing.
    Remedy (other-jobs): exempt the project from the policies that add jobs to its pipelines.
    Remedy: run the pipeline by hand: Build → Pipelines → New pipeline.
    """
    assert not smoke_job.fault


def test_the_job_ran_on_this_runner(smoke_runner: JobRunner) -> None:
    """4.3.4 The job ran on this release's managers, in the namespace of the values.

    Why: if another runner has the same tags, a successful pipeline proves that runner instead.
    Remedy (other-runner): give this runner a tag that no other has, and use that tag for the jobs of the suite's
        project.
    Remedy: the job's log names runner, namespace and pod in its first lines.
    """
    assert not smoke_runner.fault


def test_the_jobs_resolvers_are_those_of_the_values(smoke_resolv_conf: ResolvConf) -> None:
    """4.3.5 The job's log shows the resolvers of the values.

    Why: it shows the settings in effect: managers keep the configuration with which they started.
    Remedy (not-applied): run `helm upgrade` with the values file, and restart the managers: `kubectl rollout restart
        deployment/gitlab-runner`.
    Remedy: compare the job's resolv.conf with `dns_config` in `runners.config`.
    """
    assert not smoke_resolv_conf.fault
