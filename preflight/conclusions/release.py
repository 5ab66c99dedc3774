"""3.4, 4.1, 4.3, 8 to 11 The Helm release, its managers, pipelines, and what an uninstall leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import (
    always,
    before_the_release,
    managers,
    no_harm,
    not_seen,
    reserve,
    stops_all,
)
from preflight.conclusions.model import Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, single, steps_of
from preflight.conclusions.vantages import joined, proofs, targets_of
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
    edits_at_start,
    manager_config,
    manager_history,
    manager_logs,
    manager_readiness,
    manager_rollout,
    other_edits,
    release_absence,
    release_chart,
    release_drift,
    release_record,
)
from preflight.facts.rendering import chart_package, chart_rendering, chart_version
from preflight.facts.uninstall import leftover_jobs, leftover_objects, leftover_records, leftover_runner
from preflight.facts.upgrade import release_backup, running_jobs, target_version, upgrade_direction
from preflight.faults import ManagerFault, MetricsFault, PathFault, PipelineFault, RegistryFault, ReleaseFault
from preflight.impact import Impact, none, removes_reserve, stops
from preflight.probes.config_toml import ManagerConfig
from preflight.probes.release_edits import ReleaseEdits

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


def _old_settings(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Managers with older global settings: how many jobs they run at once is one of them, and no job needs another."""
    keys = {
        difference.key
        for observation in observations
        if isinstance(observation.measured, ManagerConfig)
        for differences in observation.measured.differences.values()
        for difference in differences
    }
    if "concurrent" in keys:
        return impact.takes_room("managers run as many jobs as their former configuration says")
    return impact.none("only how managers poll and log is older")


def _leftovers(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Helm refuses a name of which it has a record; other objects take room and names."""
    if any(observation.is_of(leftover_records) for observation in observations):
        return impact.stops("all jobs of the next release of that name")
    return impact.takes_room("what is left keeps its names, and its share of quotas")


def _variables(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    return impact.stops(f"jobs that need {joined(targets_of(observations, 'variable'))}")


def _uploads(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    return impact.stops(f"uploads to {joined(targets_of(observations, 'repository')) or 'the registry'}")


single(
    cause("chart-missing", "3.4", "chart-repository"),
    before_the_release(removes_reserve("what is installed runs on, and can't be installed anew")),
    chart_version,
    faults=(ReleaseFault.CHART_MISSING,),
    remedy=(
        "`helm repo update && helm search repo gitlab/gitlab-runner --versions | head`",
        "write a version that is there into `runner.chart`",
    ),
)
single(
    cause("chart-repository-unreachable", "3.4", "chart-repository"),
    before_the_release(none("this machine alone fetches charts; what is installed runs on")),
    chart_version,
    faults=_WAY,
    remedy=(
        "allow this machine to reach the chart repository, or name a mirror in `runner.repository`",
        "or set `repository: none` if charts come from elsewhere",
    ),
)
single(
    cause("chart-repository-unusable", "3.4", "chart-repository"),
    before_the_release(removes_reserve("what is installed runs on, and can't be installed anew")),
    chart_version,
    remedy=("correct `runner.repository`: `curl -sS {charts}/index.yaml | head` must show an index of charts",),
)
single(
    cause("chart-package-unavailable", "3.4", "chart-repository"),
    before_the_release(removes_reserve("what is installed runs on, and can't be installed anew")),
    chart_package,
    remedy=(
        "`helm pull gitlab-runner --repo URL --version VERSION` shows what is in the way",
        "or write the path of a package into `runner.chart`: `./gitlab-runner-VERSION.tgz`",
    ),
)
single(
    cause("chart-not-rendered", "3.4", "helm-template"),
    stops_all,
    chart_rendering,
    remedy=(
        "correct what Helm names in {values}: until then, it refuses every installation and upgrade",
        "`helm template {release} {chart_reference} -n {namespace} -f {values}` shows it again",
    ),
)
single(
    cause("chart-and-image-differ", "3.4", "chart-versions"),
    reserve("the chart is made for another version of the runner"),
    chart_image,
    remedy=("set `image.tag` in {values} to the chart's own version, or choose the chart of that runner",),
)
single(
    cause("release-already-installed", "3.4", "helm-record"),
    always(stops("all jobs of the release to come")),
    release_absence,
    remedy=("use `helm upgrade` and `--stage upgrade`, or `helm uninstall {release} -n {namespace}` first",),
)
single(
    cause("release-pending", "3.4", "helm-pending"),
    before_the_release(removes_reserve("what is installed runs on, and Helm refuses to change it")),
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
    reserve("what is installed runs on, and its last change is not complete"),
    release_record,
    faults=(ReleaseFault.FAILED,),
    remedy=(
        _UPGRADE + " once its cause is fixed; `kubectl get events -n {namespace} --sort-by=.lastTimestamp` shows it",
        "or back to the revision that is deployed: `helm rollback {release} -n {namespace}`",
    ),
)
single(
    cause("release-missing", "3.4", "helm-record"),
    stops_all,
    release_record,
    remedy=(
        "`helm list -A`: under another name or namespace? correct `runner.release` and `runner.namespace`",
        _UPGRADE,
    ),
)
single(
    cause("release-chart-differs", "3.4", "chart-versions"),
    no_harm("jobs run as the installed chart has it"),
    release_chart,
    remedy=(_UPGRADE + ", or write the version that runs into `runner.chart`",),
)
single(
    cause("release-drift", "3.4", "helm-record"),
    no_harm("jobs run as the installed values have it"),
    release_drift,
    remedy=(
        "`helm get values {release} -n {namespace}` against {values}: keep what is intended in the file",
        _UPGRADE,
    ),
)
EDITED = cause("release-edited-by-hand", "3.4", "hand-edits")
_EDITED_STEPS = (
    "`helm get manifest {release} -n {namespace} | kubectl diff -n {namespace} -f -` shows the edit",
    "write what is intended into {values}",
    _UPGRADE + " sets the rest back",
)
_TOKEN_FAULTS = frozenset({ManagerFault.TOKEN_REJECTED, MetricsFault.POLLS_REJECTED})


@rule
def edited_by_hand(facts: Facts) -> Iterator[Conclusion]:
    """What managers read at their start was edited: of those that were restarted since, the edit explains the rest."""
    edited = facts.observation(edits_at_start)
    measured = edited.measured
    if not isinstance(measured, ReleaseEdits) or measured.fault is None:
        return
    kinds = {edit.kind for edit in measured.edits}
    refused = facts.failing(
        manager_logs,
        manager_polls,
        where=lambda each: (
            (each.fault in _TOKEN_FAULTS and "Secret" in kinds)
            or (each.fault is ManagerFault.CONFIG_REFUSED and "ConfigMap" in kinds)
        ),
    )
    running = facts.failing(manager_config, where=lambda each: each.faulty) if "ConfigMap" in kinds else ()
    if refused:
        does = managers(facts, refused)
    elif running:
        does = impact.unseen("jobs run with the edited configuration, and not with the one that was measured with")
    else:
        does = impact.removes_reserve("managers take what was edited at their next restart")
    yield Conclusion(
        cause=EDITED,
        sentence=measured.cause,
        certain=True,
        impact=does,
        explains=keys((edited, *refused, *running)),
        proofs=proofs(*(Proof.of(each.measured) for each in (edited, *refused, *running)[:2] if each.measured)),
        remedy=steps_of(_EDITED_STEPS, names_of(facts, [edited])),
    )


single(
    cause("release-object-edited", "3.4", "hand-edits"),
    no_harm("it is in effect already, and what it does is judged elsewhere"),
    other_edits,
    remedy=_EDITED_STEPS,
)
single(
    cause("managers-not-deployed", "3.5", "release-names"),
    stops_all,
    manager_rollout,
    faults=(ManagerFault.DEPLOYMENT_MISSING,),
    remedy=("`helm get manifest {release} -n {namespace} | grep -A2 'kind: Deployment'`", _UPGRADE),
)
single(
    cause("rollout-under-way", "3.5", "rollouts"),
    no_harm("managers that were there take jobs until the new ones are ready"),
    manager_rollout,
    faults=(ManagerFault.ROLLOUT_UNDER_WAY,),
    remedy=("`kubectl rollout status -n {namespace} deployment/{release}` waits for its end", "then run this again"),
)
single(
    cause("rollout-stuck", "3.5", "rollouts"),
    managers,
    manager_rollout,
    remedy=(
        "fix what the new pods wait for: `kubectl describe pods -n {namespace} -l release={release}` ends with it",
        "if jobs wait: `helm rollback {release} -n {namespace}`",
    ),
)
single(
    cause("manager-crashes", "4.1", "image-flavour"),
    managers,
    manager_readiness,
    faults=(ManagerFault.CRASH_LOOP, ManagerFault.RESTARTED, ManagerFault.OOM_KILLED),
    remedy=("{crash}", _UPGRADE),
    names=remedy_names.crash,
)
single(
    cause("managers-recovered", "4.1", "manager-history"),
    no_harm("it is over"),
    manager_history,
    remedy=(
        "`kubectl logs -n {namespace} deployment/{release} --previous --tail=50` shows the last lines before a restart",
        "nothing is to be done if it coincides with an outage or an upgrade of GitLab",
    ),
)
single(
    cause("managers-scaled-down", "4.1", "guide"),
    managers,
    manager_readiness,
    faults=(ManagerFault.SCALED_DOWN,),
    remedy=(
        _UPGRADE + " restores the number of the values",
        "or write the smaller number into {values}: `replicas`",
    ),
)
single(
    cause("managers-not-ready", "4.1", "runner-liveness"),
    managers,
    manager_readiness,
    remedy=("`kubectl describe pods -n {namespace} -l release={release}`", _LOGS),
)
single(
    cause("manager-token-rejected", "4.1", "token-kinds"),
    managers,
    manager_logs,
    manager_polls,
    faults=(ManagerFault.TOKEN_REJECTED, MetricsFault.POLLS_REJECTED),
    remedy=(
        "see in GitLab whether the runner still exists, and whether its token was reset",
        "its new token (TOKEN): `kubectl create secret generic {release}-token -n {namespace} "
        '--from-literal=runner-token=TOKEN --from-literal=runner-registration-token="" --dry-run=client -o yaml | '
        "kubectl apply -f -`, and `runners.secret: {release}-token` in {values}",
        _UPGRADE + ", then " + _RESTART,
    ),
)
single(
    cause("manager-cut-off-from-gitlab", "4.1", "path-compare"),
    managers,
    manager_logs,
    manager_polls,
    faults=(ManagerFault.GITLAB_UNREACHABLE, MetricsFault.POLLS_FAILED),
    remedy=(_LOGS, "`kubectl exec -n {namespace} deployment/{release} -- curl -sv {gitlab}`"),
)
single(
    cause("manager-config-refused", "4.1", "manager-config"),
    managers,
    manager_logs,
    faults=(ManagerFault.CONFIG_REFUSED,),
    remedy=(_LOGS, "fix `runners.config` in {values} where the log says so", _UPGRADE),
)
single(
    cause("manager-image-user", "4.1", "image-flavour"),
    managers,
    manager_logs,
    remedy=("make image flavour and `podSecurityContext` (alpine 100, ubuntu 999) agree in {values}", _UPGRADE),
)
single(
    cause("config-not-restarted", "4.1", "manager-config", specialises="manager-runs-old-config"),
    _old_settings,
    manager_config,
    faults=(ManagerFault.NOT_RESTARTED,),
    remedy=(_RESTART, "managers read their configuration only when they start"),
)
single(
    cause("manager-runs-old-config", "4.1", "manager-config"),
    not_seen("jobs run with an older configuration than the one that was measured with"),
    manager_config,
    remedy=(_RESTART, "managers read their configuration only when they start"),
)
single(
    cause("manager-warning-events", "8.1", "guide"),
    no_harm("the managers' own state is judged elsewhere"),
    manager_warnings,
    remedy=("`kubectl get events -n {namespace} --field-selector type=Warning`",),
)
single(
    cause("manager-metrics-silent", "8.4", "manager-metrics"),
    no_harm("only the monitoring misses it"),
    manager_metrics,
    remedy=("`metrics.enabled: true` in {values}", _UPGRADE),
)
single(
    cause("manager-version-differs", "8.4", "version-skew"),
    no_harm("jobs run with the version that runs"),
    manager_version,
    remedy=("`kubectl rollout status -n {namespace} deployment/{release}`; set `image.tag` in {values}", _UPGRADE),
)
single(
    cause("upgrade-skew", "9.1", "version-skew"),
    reserve("GitLab does not support a runner that is newer"),
    target_version,
    remedy=("upgrade GitLab first, or choose a chart whose runner is no newer than GitLab {gitlab_version}",),
)
single(
    cause("downgrade", "9.1", "chart-versions"),
    reserve("Helm and the runner are not made to go back a version"),
    upgrade_direction,
    remedy=("if it is intended: `helm rollback {release} -n {namespace}`; otherwise correct `runner.chart`",),
)
single(
    cause("jobs-running", "9.1", "upgrade-jobs"),
    always(stops("the jobs that run while managers are replaced")),
    running_jobs,
    remedy=("pause the runner in GitLab, wait for the jobs that it names, then upgrade",),
)
single(
    cause("backup-not-written", "9.3", "helm-record"),
    reserve("there is no backup to go back to"),
    release_backup,
    remedy=("`helm get values {release} -n {namespace} -o yaml` into a file that only its owner can read",),
)
single(
    cause("uninstall-leftovers", "10.1", "unregister"),
    _leftovers,
    leftover_records,
    leftover_objects,
    leftover_jobs,
    leftover_runner,
    remedy=(
        "`helm uninstall {release} -n {namespace}`, if the release itself is still there",
        "delete what is left then: {deletes}",
    ),
    names=remedy_names.leftovers,
)
single(
    cause("pipeline-project", "4.3", "suite-pipelines"),
    not_seen("no job was run"),
    ci_project,
    ci_configuration,
    remedy=("set {project} up as in docs/pipelines.md, with the suite's own `.gitlab-ci.yml` and no other jobs",),
)
single(
    cause("no-runner-takes-jobs", "4.3", "stuck-jobs"),
    stops_all,
    smoke_job,
    build_job,
    faults=(PipelineFault.STUCK,),
    likely="the runner's tags, whether it is paused (2.2), and the managers' logs (4.1)",
    remedy=("compare the job's tags with the runner's; resume it; " + _LOGS,),
)
single(
    cause("pipeline-job-failed", "4.3", "pipelines"),
    stops_all,
    smoke_job,
    build_job,
    likely="the job's log in GitLab, passed to `--symptom`",
    remedy=("open the job's log, and pass it to `pytest checks/ --inventory … --symptom -`",),
)
single(
    cause("another-runner-took-the-job", "4.3", "stuck-jobs"),
    not_seen("the job says nothing of this runner"),
    smoke_runner,
    remedy=("give this runner a tag of its own, and the smoke job the same one",),
)
single(
    cause("job-resolvers-differ", "4.3", "dns-policy"),
    no_harm("the job ran with the resolvers that it had"),
    smoke_resolv_conf,
    likely="`dns_policy` in the managers' config.toml: `kubectl exec` (4.1.3)",
    remedy=("the managers run an older configuration than the values: " + _RESTART,),
)
single(
    cause("ci-variable-missing", "11.4", "ci-variables"),
    _variables,
    variable_presence,
    remedy=("in GitLab: {project} → Settings → CI/CD → Variables: add {variables}",),
)
single(
    cause("ci-variable-exposed", "11.4", "ci-variables"),
    no_harm("jobs run, and may show a secret"),
    variable_masking,
    variable_protection,
    remedy=("in GitLab: {project} → Settings → CI/CD → Variables: mask and protect {variables}",),
)
single(
    cause("ci-ref-unprotected", "11.4", "ci-variables"),
    always(stops("jobs that need protected variables")),
    ref_protection,
    remedy=("protect the branch: {project} → Settings → Repository → Protected branches",),
)
single(
    cause("push-denied", "11.4", "registry-push"),
    _uploads,
    push_permission,
    push_account,
    faults=(RegistryFault.DENIED, RegistryFault.UNAUTHORIZED),
    remedy=("give the account of {host} the right to push to {repository}",),
)
single(
    cause("push-target-unusable", "11.4", "registry-push"),
    _uploads,
    push_permission,
    push_account,
    remedy=("create the repository {repository} in {host}, and allow its account to push to it",),
)
single(
    cause("pushed-image-wrong", "11.5", "registry-platform"),
    always(stops("jobs that run the pushed image")),
    pushed_image,
    remedy=("see the build job's log: the nodes can't run what it pushed",),
)
