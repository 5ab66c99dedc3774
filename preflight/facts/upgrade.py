"""9 The gate before an upgrade: versions, running jobs, the backup."""

from __future__ import annotations

import datetime
import time

from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.references import Ref
from preflight.jobshape import JobShape
from preflight.probes import upgrade
from preflight.probes.chart_repository import ChartVersion
from preflight.probes.cluster import ApiServer
from preflight.probes.gitlab import GitLabVersion
from preflight.probes.release import History, Release
from preflight.probes.upgrade import Backup, RunningJobs, TargetVersion
from preflight.run import Run, Stage


@fact(optional=("chart_version",))
def target_version(
    gitlab_version: GitLabVersion, chart_version: ChartVersion | None, helm_values: helm.Values
) -> TargetVersion:
    """The runner's version, compared with GitLab's."""
    chart, tag = helm_values.chart, str(helm_values.get("image.tag", ""))
    runner = upgrade.runner_version(tag, chart, chart_version.app_version if chart_version else "")
    if not runner:
        raise NotApplicable(f"neither image.tag {tag or '(unset)'} nor chart {chart} names a version of the runner")
    return upgrade.read_target(runner, gitlab_version.version, chart=chart)


@fact()
def upgrade_direction(release_record: Release, helm_values: helm.Values, run: Run) -> Release:
    """The chart to come, compared with the installed one."""
    release = upgrade.with_target(release_record, helm_values.chart)
    if release.fault is not None and run.stage is not Stage.UPGRADE:
        raise Blocked.by(Ref.RELEASE_CHART, release)
    return release


@fact(deadline="api")
def running_jobs(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape, run: Run) -> RunningJobs:
    """The jobs that run now."""
    return upgrade.running_jobs(
        kubernetes, job_shape.namespace, own_job=run.own_job, own_host=run.own_host, now=time.time()
    )


@fact()
def release_backup(release_history: History, run: Run) -> Backup:
    """The backup of the release."""
    if run.backup is None:
        raise NotApplicable("no backup was requested: --backup DIR writes one")
    if not release_history.records:
        raise NotApplicable(f"Helm has no record of {release_history.name} that could be backed up")
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return upgrade.backup(release_history, run.backup, stamp=stamp)
