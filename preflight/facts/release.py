"""3.1, 3.4, 3.5 and 4.1 The chart, the Helm release, and the runner managers that it makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from preflight import jobsettings
from preflight import values as helm
from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, Fact, NotApplicable, PreflightError, Unmeasured
from preflight.fact import fact, view
from preflight.facts.blocking import gitlab_fact, require_read
from preflight.facts.references import Ref
from preflight.faults import ManagerFault, PodFault, ReleaseFault, StreamFault
from preflight.inventory import Inventory
from preflight.probes import chart_repository, config_toml, managers, release, release_edits, values_drift
from preflight.probes.chart_repository import ChartVersion
from preflight.probes.cluster import ApiServer
from preflight.probes.config_toml import ManagerConfig
from preflight.probes.gitlab import GitLabReply
from preflight.probes.lint import Lint
from preflight.probes.manager_logs import LogVerdict, ManagerHistory, ManagerLogs, logs_of_managers, read_history
from preflight.probes.managers import ManagerPods, Objects, Rollout
from preflight.probes.monitoring import ManagerActivity
from preflight.probes.nodes import NodeState
from preflight.probes.release import History, Release
from preflight.probes.release_edits import ReleaseEdits
from preflight.probes.rights import Rights
from preflight.probes.runners import RegisteredManagers
from preflight.probes.streams import StreamCheck
from preflight.probes.token import RunnerToken
from preflight.probes.transcript import PodStart
from preflight.probes.values_drift import Drift
from preflight.releasenames import names_of
from preflight.rendering import Rendering
from preflight.run import Run, Stage

Replaceable = TypeVar("Replaceable", bound=Fact)


@fact()
def chart_image(chart_version: ChartVersion, helm_values: helm.Values) -> ChartVersion:
    """The chart's own runner version, compared with the image of the values."""
    tag = str(helm_values.get("image.tag", ""))
    if tag and not chart_repository.runner_of(tag):
        raise NotApplicable(f"image.tag is {tag}, which names no version of the runner")
    return chart_repository.with_image(chart_version, tag)


# ---- Helm's records -------------------------------------------------------------------------------------------------


@fact(deadline="api", secret=True, reported_by=("release_record", "leftover_records"))
def release_history(api_answer: ApiServer, kubernetes: api_client.Api, inventory: Inventory) -> History:
    """Helm's records of the release."""
    return release.history(kubernetes, inventory.runner.release, inventory.runner.namespace)


@fact(deadline="api", reported_by=("manager_rollout",))
def release_objects(api_answer: ApiServer, kubernetes: api_client.Api, helm_values: helm.Values) -> Objects:
    """The release's Deployment and its pods."""
    return managers.objects(kubernetes, helm_values.release, names_of(helm_values).namespace)


@fact(optional=("release_objects",))
def release_absence(release_history: History, release_objects: Objects | None) -> Release:
    """Whether nothing is installed under the release's name."""
    absence = release.absent(release_history.name, release_history.namespace, took=release_history.took)
    if release_history.records:
        last = release_history.records[-1]
        cause = f"Helm has {absence.target} already: revision {last.revision} is {last.status}"
        return replace(absence, fault=ReleaseFault.PRESENT, cause=cause)
    if release_objects is not None and release_objects.deployment is not None:
        cause = f"a Deployment {release_objects.name} exists, of which Helm has no record"
        return replace(absence, fault=ReleaseFault.PRESENT, cause=cause)
    return replace(absence, fault=None, cause="")


@fact(optional=("release_objects", "upgrade_changes"))
def release_record(
    release_history: History,
    release_objects: Objects | None,
    upgrade_changes: frozenset[str] | None,
    inventory: Inventory,
    run: Run,
) -> Release:
    """Helm's last record of the release."""
    if run.stage is Stage.INSTALL:
        raise NotApplicable("--stage install: nothing is expected to be installed yet")
    if release_history.newest is not None:
        return as_replaced(release.read_release(release_history, now=time.time()), upgrade_changes or frozenset())
    runner = inventory.runner
    if runner.managed_by != "helm":
        raise NotApplicable(f"runner.managed_by is {runner.managed_by}: Helm has no record of the release")
    missing = release.absent(runner.release, runner.namespace, took=release_history.took)
    if release_objects is not None and release_objects.deployment is not None:
        cause = f"{missing.cause}, but the Deployment {release_objects.name} of this release exists"
        return replace(missing, cause=cause)
    if run.stage is Stage.UPGRADE:
        return missing
    raise NotApplicable(f"nothing is installed yet: {missing.cause} (--stage upgrade expects it)")


@fact()
def release_chart(release_record: Release, helm_values: helm.Values, run: Run) -> Release:
    """The chart that the release was installed from."""
    if run.stage is Stage.UPGRADE:
        raise NotApplicable(f"--stage upgrade: from chart {release_record.chart} to {helm_values.chart}")
    return release.with_chart(release_record, helm_values.chart)


@fact()
def release_drift(
    release_record: Release, release_history: History, helm_values: helm.Values, inventory: Inventory, run: Run
) -> Drift:
    """The release's values, compared with the values files."""
    newest = release_history.records[-1]
    runner = inventory.runner
    wanted = helm_values.tree
    if runner.token and not wanted.get("runnerToken") and "runnerToken" in newest.values:
        wanted = {
            **wanted,
            "runnerToken": newest.values["runnerToken"],
        }  # set at the installation only, as it should be
    if helm.config_text(newest.values) != helm_values.text:
        require_read(helm_values, "runners")
    deployed = release.rendered(newest, runner.release, runner.namespace)
    drift = values_drift.read_drift(
        newest.values,
        wanted,
        helm_values.runner_keys,
        templates=_templates(deployed, helm_values),
        release=runner.release,
        namespace=runner.namespace,
        took=release_history.took,
    )
    if run.stage is Stage.UPGRADE:
        changes = f"will change {len(drift.differences)} values: {drift.cause}" if drift.fault else "changes no value"
        raise NotApplicable(f"--stage upgrade: the upgrade {changes}")
    return drift


@fact(deadline="api+api+api", secret=True, reported_by=("edits_at_start", "other_edits"))
def release_comparison(
    release_record: Release,
    release_history: History,
    helm_values: helm.Values,
    kubernetes: api_client.Api,
    inventory: Inventory,
    run: Run,
) -> ReleaseEdits:
    """The release's objects, compared with its manifest."""
    if run.stage is Stage.UPGRADE:
        raise NotApplicable("--stage upgrade: the upgrade sets the release's objects to its own manifest")
    runner, newest = inventory.runner, release_history.records[-1]
    keys = helm_values.runner_keys
    return release_edits.release_edits(kubernetes, newest, runner.release, runner.namespace, keys, now=time.time())


edits_at_start = view(
    "edits_at_start",
    release_comparison,
    release_edits.at_start,
    "What managers read when they start, compared with the release's manifest.",
)


@fact(optional=("runner_rights",))
def other_edits(release_comparison: ReleaseEdits, runner_rights: Rights | None) -> ReleaseEdits:
    """The release's other objects, compared with its manifest."""
    edits = release_edits.elsewhere(release_comparison)
    access_alone = all(edit.kind in release_edits.ACCESS_KINDS for edit in edits.edits)
    if edits.fault is not None and access_alone and runner_rights is not None and runner_rights.fault is not None:
        raise Blocked.by(Ref.RUNNER_RIGHTS, runner_rights, measured=edits)
    return edits


# ---- what an upgrade replaces ----------------------------------------------------------------------------------------

_IMAGE_KEYS = ("chart", "image", "imagePullPolicy", "imagePullSecrets")
_CONFIG_KEYS = ("chart", "runners")
_USER_KEYS = (*_IMAGE_KEYS, "podSecurityContext", "securityContext")


@fact(reported_by=("release_record",))
def upgrade_changes(
    release_history: History, helm_values: helm.Values, inventory: Inventory, run: Run
) -> frozenset[str]:
    """The keys that the upgrade changes, `chart` among them; none if no upgrade is ahead (`--stage upgrade`).

    Where both renderings are known, they say what changes: an expression that gives the same, or a default that is
    written out, changes nothing, and a chart of another version changes what it renders otherwise.
    """
    newest = release_history.newest
    if run.stage is not Stage.UPGRADE or newest is None:
        return frozenset()
    runner = inventory.runner
    deployed = release.rendered(newest, runner.release, runner.namespace)
    drift = values_drift.read_drift(
        newest.values,
        helm_values.tree,
        helm_values.runner_keys,
        templates=_templates(deployed, helm_values),
        release=runner.release,
        namespace=runner.namespace,
    )
    keys = {difference.key for difference in drift.differences}
    if "runnerToken" not in helm_values.tree:  # set at the installation only, as it should be
        keys.discard("runnerToken")
    chart = newest.chart.get("version") != helm_values.chart
    return changed_keys(keys, deployed, helm_values.rendering, chart=chart)


_RENDERED: Mapping[str, Callable[[Rendering], object]] = {
    "image": lambda rendering: (
        rendering.image,
        rendering.container.get("imagePullPolicy"),
        rendering.pod_spec.get("imagePullSecrets"),
    ),
    "resources": lambda rendering: rendering.container.get("resources"),
    "podSecurityContext": lambda rendering: rendering.pod_spec.get("securityContext"),
    "securityContext": lambda rendering: rendering.container.get("securityContext"),
}
"""Keys of the values, and what of the managers' pod they make."""
_RENDERED_CHART = "version of the chart"


def changed_keys(
    keys: Collection[str], deployed: Rendering | None, wanted: Rendering | None, *, chart: bool
) -> frozenset[str]:
    """The keys of the values that make a difference to the managers' pod, and those that it does not show.

    Args:
        keys: those that differ.
        deployed: the objects of the release.
        wanted: those that the upgrade will make.
        chart: whether the upgrade's chart is of another version.
    """
    if deployed is None or wanted is None or deployed.workload is None or wanted.workload is None:
        return frozenset({*keys, *(("chart",) if chart else ())})
    changed = {key for key, made in _RENDERED.items() if made(deployed) != made(wanted)}
    unseen = {key for key in keys if not key.startswith(tuple(_RENDERED))}
    return frozenset(changed | unseen | ({_RENDERED_CHART} if chart else set()))


def as_replaced(measured: Replaceable, changes: frozenset[str]) -> Replaceable:
    """A fault of the release that runs, as advice if the upgrade changes what is at fault.

    What the new values keep would be at fault again, and stays a failure.
    """
    if measured.fault is None or measured.advice or not _changes_the_fault(measured, changes):
        return measured
    return measured.as_advice("the upgrade replaces it")


def _changes_the_fault(measured: Fact, changes: frozenset[str]) -> bool:
    needed: tuple[str, ...] = ()
    match measured:
        case Rollout(fault=ManagerFault.ROLLOUT_STUCK):
            needed = _IMAGE_KEYS if managers.is_about_images(measured.cause) else ("",)
        case ManagerLogs(fault=ManagerFault.CONFIG_REFUSED):
            needed = _CONFIG_KEYS
        case ManagerLogs(fault=ManagerFault.WRONG_USER):
            needed = _USER_KEYS
        case ManagerPods(fault=ManagerFault.OOM_KILLED):
            needed = ("resources",)
        case ManagerPods(fault=ManagerFault.SCALED_DOWN) | ManagerConfig() | Release(fault=ReleaseFault.FAILED):
            needed = ("",)
        case ManagerPods(fault=ManagerFault.NOT_READY) if managers.is_about_images(measured.cause):
            needed = _IMAGE_KEYS
        case _:
            return False
    return any(key.startswith(needed) for key in changes)


def _templates(deployed: Rendering | None, values: helm.Values) -> tuple[str, str] | None:
    """``runners.config`` as it was rendered for the release, and as it is to be; None unless both are known."""
    if deployed is None or deployed.template is None or values.unread or values.refused:
        return None
    return deployed.template, values.rendered


# ---- the managers ---------------------------------------------------------------------------------------------------


@fact(optional=("release_record", "upgrade_changes"))
def manager_rollout(
    release_objects: Objects, release_record: Release | None, upgrade_changes: frozenset[str] | None, run: Run
) -> Rollout:
    """The rollout of the managers."""
    if run.stage is Stage.INSTALL:
        raise NotApplicable("--stage install: nothing is expected to be installed yet")
    if release_objects.deployment is None:
        if release_record is not None and release_record.fault is not None:
            raise Blocked.by(Ref.RELEASE_RECORD, release_record)
        if release_record is None and run.stage is not Stage.UPGRADE:
            raise NotApplicable(f"nothing is installed yet: {managers.read_rollout(release_objects).cause}")
    return as_replaced(managers.read_rollout(release_objects), upgrade_changes or frozenset())


@fact(
    deadline="script",
    tolerates=("manager_rollout",),
    optional=("gitlab_reply", "manager_activity", "manager_list", "upgrade_changes"),
)
def manager_logs(
    manager_rollout: Rollout,
    release_objects: Objects,
    kubernetes: api_client.Api,
    gitlab_reply: GitLabReply | None,
    manager_activity: ManagerActivity | None,
    manager_list: RegisteredManagers | None,
    upgrade_changes: frozenset[str] | None,
) -> ManagerLogs:
    """The managers' logs."""
    if manager_rollout.fault is ManagerFault.DEPLOYMENT_MISSING:
        raise Blocked.by(Ref.MANAGER_ROLLOUT, manager_rollout)
    if not release_objects.pods:
        raise Blocked.by(Ref.MANAGER_READINESS, None, because=f"{release_objects.name} has no pods")

    def is_over(verdict: LogVerdict) -> bool:
        """Whether GitLab has accepted this manager since its log complained."""
        if manager_activity is not None and verdict.pod in manager_activity.polling:
            return True
        own = manager_activity.system_id(verdict.pod) if manager_activity is not None else ""
        contact = manager_list.last_contact(own or verdict.system_id) if manager_list is not None else None
        return contact is not None and verdict.age is not None and contact < verdict.age

    staying = managers.that_stay(release_objects, manager_rollout)
    logs = logs_of_managers(kubernetes, staying, now=time.time(), is_over=is_over)
    if logs.fault is ManagerFault.GITLAB_UNREACHABLE and gitlab_reply is not None and gitlab_reply.fault is not None:
        raise Blocked.by(gitlab_fact(gitlab_reply), gitlab_reply, measured=logs, witness="the managers' logs")
    return as_replaced(logs, upgrade_changes or frozenset())


@fact(tolerates=("manager_rollout",), optional=("release_history",), reported_by=("manager_readiness",))
def manager_pods(
    manager_rollout: Rollout, release_objects: Objects, release_history: History | None, inventory: Inventory
) -> ManagerPods:
    """The manager pods, faulty or not."""
    under_way = manager_rollout.fault is ManagerFault.ROLLOUT_UNDER_WAY
    if manager_rollout.fault is not None and not under_way:
        raise Blocked.by(Ref.MANAGER_ROLLOUT, manager_rollout)
    newest = release_history.newest if release_history is not None else None
    return managers.read_managers(
        release_objects,
        now=time.time(),
        restart_age=inventory.limits.restart_age,
        released=jobsettings.replicas_of(newest.values) if newest is not None else None,
        under_way=under_way,
    )


@fact(
    tolerates=("manager_pods",),
    optional=("manager_logs", "node_readiness", "gitlab_reply", "upgrade_changes"),
    fan_in={"node_readiness": "node"},
)
def manager_readiness(
    manager_pods: ManagerPods,
    manager_logs: ManagerLogs | None,
    node_readiness: tuple[NodeState, ...],
    gitlab_reply: GitLabReply | None,
    upgrade_changes: frozenset[str] | None,
) -> ManagerPods:
    """The manager pods."""
    if manager_pods.fault is None:
        return manager_pods
    if manager_logs is not None and manager_logs.fault is not None:
        raise Blocked.by(Ref.MANAGER_LOGS, manager_logs)
    down = {state.node: state for state in node_readiness if state.fault is not None}
    unready = [pod for pod in manager_pods.pods if not pod.ready]
    if manager_pods.fault is ManagerFault.NOT_READY and all(pod.node in down for pod in unready):
        node = down[unready[0].node]
        raise Blocked.by(Ref.NODE_READINESS, node, {"node": node.node})
    # The chart's liveness probe asks GitLab: it restarts managers that GitLab does not answer.
    if gitlab_reply is not None and gitlab_reply.fault is not None and managers.may_follow_from_gitlab(manager_pods):
        raise Blocked.by(gitlab_fact(gitlab_reply), gitlab_reply, measured=manager_pods, witness="the managers' pods")
    return as_replaced(manager_pods, upgrade_changes or frozenset())


@fact(tolerates=("manager_pods",), optional=("manager_logs",))
def manager_history(
    manager_pods: ManagerPods, manager_logs: ManagerLogs | None, inventory: Inventory
) -> ManagerHistory:
    """What befell the managers and is over."""
    return read_history(manager_pods, manager_logs, within=inventory.limits.restart_age)


@fact(
    effect="probe",
    after=("manager_rollout",),
    deadline="script",
    optional=("release_record", "values_toml", "token_whitespace", "upgrade_changes"),
    reported_by=("manager_config",),
)
def running_config(
    manager_readiness: ManagerPods,
    release_objects: Objects,
    release_record: Release | None,
    release_history: History,
    values_toml: Lint | None,
    token_whitespace: RunnerToken | None,
    upgrade_changes: frozenset[str] | None,
    helm_values: helm.Values,
    kubernetes: api_client.Api,
    inventory: Inventory,
) -> ManagerConfig | PreflightError:
    """The managers' running configuration, or why it could not be read."""
    for name, written in ((Ref.VALUES_TOML, values_toml), (Ref.TOKEN_WHITESPACE, token_whitespace)):
        if written is not None and written.fault is not None:
            raise Blocked.by(name, written)
    if release_record is not None and release_record.fault is not None:
        raise Blocked.by(Ref.RELEASE_RECORD, release_record)
    # What is installed counts here; differences from the files are the drift's to report.
    template, keys = helm_values.config, helm_values.runner_keys
    if release_record is not None and release_history.newest is not None:
        newest = release_history.newest
        deployed = release.rendered(newest, inventory.runner.release, inventory.runner.namespace)
        if deployed is not None and deployed.template is not None:
            template, _, _ = helm.read_config(deployed.template, keys)
        else:
            template = helm.config_of(newest.values, helm_values)
    try:
        config = config_toml.manager_config(
            kubernetes, release_objects, template, keys, deadline=inventory.deadlines.api
        )
    except PreflightError as error:
        return error
    return as_replaced(config, upgrade_changes or frozenset())


@fact(
    optional=("pod_exec", "pod_logs", "pod_start"),
    fan_in={"pod_exec": "worker", "pod_logs": "worker", "pod_start": "worker"},
    tolerates=("running_config",),
)
def manager_config(
    running_config: ManagerConfig | PreflightError,
    pod_exec: tuple[StreamCheck, ...],
    pod_logs: tuple[StreamCheck, ...],
    pod_start: tuple[PodStart, ...],
) -> ManagerConfig:
    """The managers' running configuration."""
    for stream in pod_exec:
        if stream.fault is not None:
            raise Blocked.by(Ref.POD_EXEC, stream, {"worker": stream.node})
    for stream in pod_logs:
        if stream.fault is StreamFault.KUBELET_UNREACHABLE:
            raise Blocked.by(Ref.POD_LOGS, stream, {"worker": stream.node})
    if isinstance(running_config, PreflightError):
        lost = next((start for start in pod_start if start.fault is PodFault.LOST), None)
        unreachable = isinstance(running_config, Unmeasured) and running_config.fault is StreamFault.KUBELET_UNREACHABLE
        if lost is not None and unreachable:  # its kubelet runs nothing either
            raise Blocked.by(Ref.POD_START, lost, {"worker": lost.node}) from running_config
        raise running_config
    return running_config
