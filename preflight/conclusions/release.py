"""3.4, 4.1, 4.3, 8 to 11 The Helm release, its managers, pipelines, and what an uninstall leaves behind."""

from __future__ import annotations

from preflight.conclusions.model import cause
from preflight.conclusions.single_fact import single
from preflight.facts.build import (
    build_job,
    push_account,
    push_permission,
    pushed_image,
    ref_protection,
    variable_masking,
    variable_presence,
    variable_protection,
)
from preflight.facts.monitoring import manager_metrics, manager_polls, manager_version, manager_warnings
from preflight.facts.pipeline import ci_configuration, ci_project, smoke_job, smoke_resolv_conf, smoke_runner
from preflight.facts.release import (
    chart_image,
    manager_config,
    manager_logs,
    manager_readiness,
    manager_rollout,
    release_absence,
    release_chart,
    release_drift,
    release_record,
)
from preflight.facts.rendering import chart_package, chart_rendering, chart_version
from preflight.facts.uninstall import leftover_jobs, leftover_objects, leftover_records, leftover_runner
from preflight.facts.upgrade import release_backup, running_jobs, target_version, upgrade_direction
from preflight.faults import ManagerFault, MetricsFault, PathFault, PipelineFault, RegistryFault, ReleaseFault

_WAY = (
    PathFault.REFUSED,
    PathFault.TIMEOUT,
    PathFault.UNREACHABLE,
    PathFault.UNRESOLVED,
    PathFault.RESET,
    PathFault.SILENT,
)
_LOGS = "`kubectl logs -n {namespace} deployment/{release} --tail=100`"
_RESTART = "`kubectl rollout restart -n {namespace} deployment/{release}`"
_UPGRADE = "`{upgrade}`"

single(
    cause("chart-missing", "3.4", "chart-repository"),
    chart_version,
    faults=(ReleaseFault.CHART_MISSING,),
    remedy=(
        "`helm repo update && helm search repo gitlab/gitlab-runner --versions | head`",
        "write a version that is there into `runner.chart`",
    ),
)
single(
    cause("chart-repository-unreachable", "3.4", "chart-repository"),
    chart_version,
    faults=_WAY,
    remedy=(
        "allow this machine to reach the chart repository, or name a mirror in `runner.repository`",
        "or set `repository: none` if charts come from elsewhere",
    ),
)
single(
    cause("chart-repository-unusable", "3.4", "chart-repository"),
    chart_version,
    remedy=("correct `runner.repository`: `curl -sS URL/index.yaml | head` must show an index of charts",),
)
single(
    cause("chart-package-unavailable", "3.4", "chart-repository"),
    chart_package,
    remedy=(
        "`helm pull gitlab-runner --repo URL --version VERSION` shows what is in the way",
        "or write the path of a package into `runner.chart`: `./gitlab-runner-VERSION.tgz`",
    ),
)
single(
    cause("chart-not-rendered", "3.4", "helm-template"),
    chart_rendering,
    remedy=(
        "correct what Helm names in {values}: until then, it refuses every installation and upgrade",
        "`helm template {release} {chart_reference} -n {namespace} -f {values}` shows it again",
    ),
)
single(
    cause("chart-and-image-differ", "3.4", "chart-versions"),
    chart_image,
    remedy=("set `image.tag` in {values} to the chart's own version, or choose the chart of that runner",),
)
single(
    cause("release-already-installed", "3.4", "helm-record"),
    release_absence,
    remedy=("use `helm upgrade` and `--stage upgrade`, or `helm uninstall {release} -n {namespace}` first",),
)
single(
    cause("release-pending", "3.4", "helm-pending"),
    release_record,
    faults=(ReleaseFault.PENDING,),
    remedy=(
        "make sure that no one is working on it, then `helm history {release} -n {namespace}`",
        "`helm rollback {release} -n {namespace}` to the last revision that was deployed",
        "if there is none: `kubectl delete secret -n {namespace} -l owner=helm,name={release},status=pending-install`",
    ),
)
single(
    cause("release-failed", "3.4", "helm-pending"),
    release_record,
    faults=(ReleaseFault.FAILED,),
    remedy=(
        "`helm history {release} -n {namespace}` shows why",
        _UPGRADE + ", or `helm rollback {release} -n {namespace}`",
    ),
)
single(
    cause("release-missing", "3.4", "helm-record"),
    release_record,
    remedy=(
        "`helm list -A`: under another name or namespace? correct `runner.release` and `runner.namespace`",
        _UPGRADE,
    ),
)
single(
    cause("release-chart-differs", "3.4", "chart-versions"),
    release_chart,
    remedy=(_UPGRADE + ", or write the version that runs into `runner.chart`",),
)
single(
    cause("release-drift", "3.4", "helm-record"),
    release_drift,
    remedy=(
        "`helm get values {release} -n {namespace}` against {values}: keep what is intended in the file",
        _UPGRADE,
    ),
)
single(
    cause("managers-not-deployed", "3.5", "release-names"),
    manager_rollout,
    faults=(ManagerFault.DEPLOYMENT_MISSING,),
    remedy=("`helm get manifest {release} -n {namespace} | grep -A2 'kind: Deployment'`", _UPGRADE),
)
single(
    cause("rollout-stuck", "3.5", "guide"),
    manager_rollout,
    remedy=(
        "`kubectl describe pods -n {namespace} -l release={release}`: the last events show what it waits for",
        "`helm rollback {release} -n {namespace}`, if jobs wait",
    ),
)
single(
    cause("manager-crashes", "4.1", "image-flavour"),
    manager_readiness,
    faults=(ManagerFault.CRASH_LOOP, ManagerFault.RESTARTED),
    remedy=("`kubectl logs -n {namespace} deployment/{release} --previous --tail=50` shows its last lines", _UPGRADE),
)
single(
    cause("managers-scaled-down", "4.1", "guide"),
    manager_readiness,
    faults=(ManagerFault.SCALED_DOWN,),
    remedy=("`{upgrade}` restores the number of the values; or write the smaller one into {values}",),
)
single(
    cause("managers-not-ready", "4.1", "runner-liveness"),
    manager_readiness,
    remedy=("`kubectl describe pods -n {namespace} -l release={release}`", _LOGS),
)
single(
    cause("manager-token-rejected", "4.1", "token-kinds"),
    manager_logs,
    manager_polls,
    faults=(ManagerFault.TOKEN_REJECTED, MetricsFault.POLLS_REJECTED),
    remedy=(
        "see in GitLab whether the runner still exists, and whether its token was reset",
        "write its new token (2.2), `{upgrade}`",
        _RESTART,
    ),
)
single(
    cause("manager-cut-off-from-gitlab", "4.1", "path-compare"),
    manager_logs,
    manager_polls,
    faults=(ManagerFault.GITLAB_UNREACHABLE, MetricsFault.POLLS_FAILED),
    remedy=(_LOGS, "`kubectl exec -n {namespace} deployment/{release} -- curl -sv {gitlab}`"),
)
single(
    cause("manager-config-refused", "4.1", "manager-config"),
    manager_logs,
    faults=(ManagerFault.CONFIG_REFUSED,),
    remedy=(_LOGS, "fix `runners.config` in {values} where the log says so", _UPGRADE),
)
single(
    cause("manager-image-user", "4.1", "image-flavour"),
    manager_logs,
    remedy=("make image flavour and `podSecurityContext` (alpine 100, ubuntu 999) agree in {values}", _UPGRADE),
)
single(
    cause("config-not-restarted", "4.1", "manager-config", specialises="manager-runs-old-config"),
    manager_config,
    faults=(ManagerFault.NOT_RESTARTED,),
    remedy=(_RESTART, "managers read their configuration only when they start"),
)
single(
    cause("manager-runs-old-config", "4.1", "manager-config"),
    manager_config,
    remedy=(_RESTART, "managers read their configuration only when they start"),
)
single(
    cause("manager-warning-events", "8.1", "guide"),
    manager_warnings,
    remedy=("`kubectl get events -n {namespace} --field-selector type=Warning`",),
)
single(
    cause("manager-metrics-silent", "8.4", "manager-metrics"),
    manager_metrics,
    remedy=("`metrics.enabled: true` in {values}, `{upgrade}`",),
)
single(
    cause("manager-version-differs", "8.4", "version-skew"),
    manager_version,
    remedy=("`kubectl rollout status -n {namespace} deployment/{release}`; set `image.tag` in {values}", _UPGRADE),
)
single(
    cause("upgrade-skew", "9.1", "version-skew"),
    target_version,
    remedy=("upgrade GitLab first, or choose a chart whose runner is no newer than GitLab {gitlab_version}",),
)
single(
    cause("downgrade", "9.1", "chart-versions"),
    upgrade_direction,
    remedy=("if it is intended: `helm rollback {release} -n {namespace}`; otherwise correct `runner.chart`",),
)
single(
    cause("jobs-running", "9.1", "upgrade-jobs"),
    running_jobs,
    remedy=("pause the runner in GitLab, wait for the jobs that it names, then upgrade",),
)
single(
    cause("backup-not-written", "9.3", "helm-record"),
    release_backup,
    remedy=("`helm get values {release} -n {namespace} -o yaml` into a file that only its owner can read",),
)
single(
    cause("uninstall-leftovers", "10.1", "unregister"),
    leftover_records,
    leftover_objects,
    leftover_jobs,
    leftover_runner,
    remedy=("delete what it names: the commands are in the evidence",),
)
single(
    cause("pipeline-project", "4.3", "suite-pipelines"),
    ci_project,
    ci_configuration,
    remedy=("set {project} up as in docs/pipelines.md, with the suite's own `.gitlab-ci.yml` and no other jobs",),
)
single(
    cause("no-runner-takes-jobs", "4.3", "stuck-jobs"),
    smoke_job,
    build_job,
    faults=(PipelineFault.STUCK,),
    likely="the runner's tags, whether it is paused (2.2), and the managers' logs (4.1)",
    remedy=("compare the job's tags with the runner's; resume it; " + _LOGS,),
)
single(
    cause("pipeline-job-failed", "4.3", "pipelines"),
    smoke_job,
    build_job,
    likely="the job's log in GitLab, passed to `--symptom`",
    remedy=("open the job's log, and pass it to `pytest checks/ --inventory … --symptom -`",),
)
single(
    cause("another-runner-took-the-job", "4.3", "stuck-jobs"),
    smoke_runner,
    remedy=("give this runner a tag of its own, and the smoke job the same one",),
)
single(
    cause("job-resolvers-differ", "4.3", "dns-policy"),
    smoke_resolv_conf,
    likely="`dns_policy` in the managers' config.toml: `kubectl exec` (4.1.3)",
    remedy=("the managers run an older configuration than the values: " + _RESTART,),
)
single(
    cause("ci-variable-missing", "11.4", "ci-variables"),
    variable_presence,
    remedy=("in GitLab: {project} → Settings → CI/CD → Variables: add {variables}",),
)
single(
    cause("ci-variable-exposed", "11.4", "ci-variables"),
    variable_masking,
    variable_protection,
    remedy=("in GitLab: {project} → Settings → CI/CD → Variables: mask and protect {variables}",),
)
single(
    cause("ci-ref-unprotected", "11.4", "ci-variables"),
    ref_protection,
    remedy=("protect the branch: {project} → Settings → Repository → Protected branches",),
)
single(
    cause("push-denied", "11.4", "registry-push"),
    push_permission,
    push_account,
    faults=(RegistryFault.DENIED, RegistryFault.UNAUTHORIZED),
    remedy=("give the account of {host} the right to push to {repository}",),
)
single(
    cause("push-target-unusable", "11.4", "registry-push"),
    push_permission,
    push_account,
    remedy=("create the repository {repository} in {host}, and allow its account to push to it",),
)
single(
    cause("pushed-image-wrong", "11.5", "registry-platform"),
    pushed_image,
    remedy=("see the build job's log: the nodes can't run what it pushed",),
)
