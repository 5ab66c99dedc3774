"""4.2 The runner and its managers, as GitLab lists them."""

from __future__ import annotations

import re

from preflight import values as helm
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.references import Ref
from preflight.faults import ManagerFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import runners
from preflight.probes.managers import ManagerPods
from preflight.probes.runners import RegisteredManagers, RunnerRecord

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
def manager_versions(runner_online: RegisteredManagers, inventory: Inventory) -> RegisteredManagers:
    """The versions of the runner's managers."""
    return runners.versions(runner_online, expected_version(inventory))


@fact()
def manager_addresses(runner_online: RegisteredManagers, inventory: Inventory) -> RegisteredManagers:
    """The addresses from which the runner's managers connect."""
    nodes = [node.address for node in inventory.cluster.nodes.values()]
    return runners.addresses(runner_online, nodes, inventory.cluster.pod_networks)


def expected_version(inventory: Inventory) -> str:
    """The version that ``image.tag`` names, or the minor one of the chart (docs/sources.md#chart-versions)."""
    runner = inventory.runner
    values = helm.values_of(runner)
    if tag := re.search(r"v?(\d{1,9}\.\d{1,9}\.\d{1,9})", str(values.get("image.tag", ""))):
        return tag[1]
    if chart := re.match(r"0\.(7[7-9]|8\d)\.", runner.chart):
        return f"18.{int(chart[1]) - 77}"
    reason = f"image.tag names no version, and the runner version of chart {runner.chart} is not known"
    raise NotApplicable(reason)
