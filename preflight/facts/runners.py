"""4.2 The runner and its managers, as GitLab lists them."""

from __future__ import annotations

import re

from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.references import Ref
from preflight.faults import ManagerFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import runners
from preflight.probes.managers import ManagerPods
from preflight.probes.runners import RegisteredManagers, RunnerRecord
from preflight.values import Values

_THEY_RUN = {None, ManagerFault.OOM_KILLED, ManagerFault.RESTARTED}
"""What may be wrong with managers that run nevertheless."""


@fact(optional=("manager_readiness",))
def runner_online(
    runner_record: RunnerRecord, manager_list: RegisteredManagers, manager_readiness: ManagerPods | None
) -> RegisteredManagers:
    """The runner's managers that are online."""
    if runner_record.status == "never_contacted" and not manager_list.managers:
        reason = f"{runner_record.target} was never contacted: nothing has been installed with this token yet"
        raise NotApplicable(reason)
    return _unless_pods_are_down(runners.presence(manager_list), manager_readiness)


@fact(optional=("manager_readiness",))
def manager_count(
    runner_online: RegisteredManagers, manager_readiness: ManagerPods | None, job_shape: JobShape
) -> RegisteredManagers:
    """How many managers the runner has."""
    return _unless_pods_are_down(runners.number_of(runner_online, job_shape.replicas), manager_readiness)


def _unless_pods_are_down(registered: RegisteredManagers, pods: ManagerPods | None) -> RegisteredManagers:
    """What GitLab lists; `Blocked` if it lacks managers that the cluster does not run either."""
    if registered.fault is not None and pods is not None and pods.fault not in _THEY_RUN:
        raise Blocked.by(Ref.MANAGER_READINESS, pods, measured=registered)
    return registered


@fact()
def manager_versions(runner_online: RegisteredManagers, helm_values: Values) -> RegisteredManagers:
    """The versions of the runner's managers."""
    return runners.versions(runner_online, expected_version(helm_values))


@fact()
def manager_addresses(runner_online: RegisteredManagers, inventory: Inventory) -> RegisteredManagers:
    """The addresses from which the runner's managers connect."""
    nodes = [node.address for node in inventory.cluster.nodes.values()]
    return runners.addresses(runner_online, nodes, inventory.cluster.pod_networks)


def expected_version(values: Values) -> str:
    """The version that ``image.tag`` names, or that of the chart's own runner (docs/sources.md#chart-versions)."""
    image = values.rendering.image if values.rendering is not None else ""
    tag = image.rpartition(":")[2] or str(values.get("image.tag", ""))
    if version := re.search(r"v?(\d{1,9}\.\d{1,9}\.\d{1,9})", tag):
        return version[1]
    if not tag and values.app_version:
        return values.app_version.removeprefix("v")
    if not tag and (chart := re.match(r"0\.(7[7-9]|8\d)\.", values.chart)):
        return f"18.{int(chart[1]) - 77}"
    reason = f"image.tag names no version, and the runner version of chart {values.chart} is not known"
    raise NotApplicable(reason)
