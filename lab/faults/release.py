"""What can be wrong with the chart, the Helm release and the managers (guide 3.1, 3.4, 3.5, 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("chart-repository-plain", "The charts come from http://charts.gitlab.io, without TLS.")
def _(world: World) -> None:
    world.charts.port = 80
    world.inventory_edits["runner.repository"] = "http://charts.gitlab.io"


@fault("chart-missing", "The chart repository is a mirror that nobody has updated: its newest chart is 0.79.1.")
def _(world: World) -> None:
    world.charts.versions = {name: app for name, app in world.charts.versions.items() if name < "0.80"}


@fault("chart-package-missing", "The chart repository lists the chart's version, and does not have its package.")
def _(world: World) -> None:
    world.charts.without_package = frozenset({"0.80.0"})


@fault("release-missing", "Nothing is installed: no release, no managers (a fault with `--stage upgrade` alone).")
def _(world: World) -> None:
    world.release.installed = False


@fault("release-pending", "A `helm upgrade` was cut off 14 minutes ago: the release is pending-upgrade.")
def _(world: World) -> None:
    world.release.status, world.release.description = "pending-upgrade", "Preparing upgrade"
    world.release.age = 14 * 60


@fault("release-failed", "The last `helm upgrade --wait` ran out of time: the release is failed.")
def _(world: World) -> None:
    world.release.status = "failed"
    message = 'Upgrade "gitlab-runner" failed: timed out waiting for the condition'
    world.release.description, world.release.age = message, 5 * 3600


@fault("release-drift", "Somebody upgraded with `--set concurrent=20`; the values file still says 10.")
def _(world: World) -> None:
    world.release.changed["concurrent"] = 20


@fault("config-edited", "Somebody set `privileged = false` in the release's ConfigMap; no manager was restarted since.")
def _(world: World) -> None:
    world.release.edited["configmaps", "data", "config.template.toml"] = ("privileged = true", "privileged = false")


@fault("token-edited", "Somebody wrote another token into the release's Secret; no manager was restarted since.")
def _(world: World) -> None:
    world.release.edited["secrets", "data", "runner-token"] = "bWFkZS11cC1vdGhlci10b2tlbg=="


@fault("deployment-edited", "Somebody gave the managers 30 seconds to end, instead of an hour, in their Deployment.")
def _(world: World) -> None:
    world.release.edited["deployments", "spec", "template", "spec", "terminationGracePeriodSeconds"] = 30


@fault("rollout-stuck", "One of three managers has the newest template, and its image can't be pulled.")
def _(world: World) -> None:
    world.release.health = "half-rolled-out"


@fault("rollout-under-way", "The last of three managers has begun a moment ago with the newest template: all is well.")
def _(world: World) -> None:
    world.release.health = "rolling-out"


@fault("manager-crashloop", "The managers run out of memory: all of them are in CrashLoopBackOff.")
def _(world: World) -> None:
    world.release.health = "out-of-memory"


@fault(
    "managers-recovered",
    "GitLab was down until 14 minutes ago: managers were restarted and logged it, and poll again since.",
)
def _(world: World) -> None:
    world.release.health, world.metrics.lost = "recovered", 40_000_000


@fault("managers-scaled-down", "Somebody scaled the Deployment of three managers down to one by hand.")
def _(world: World) -> None:
    world.release.scaled = 1
    for manager in world.gitlab.runners[0].managers[1:]:
        manager.contacted_ago = 2 * 24 * 3600


@fault("manager-rejected", "GitLab refused the managers' token when they registered; they end and start again.")
def _(world: World) -> None:
    world.release.health = "refused"


@fault("manager-old-config", "The managers were not restarted when two resolvers were added: they use a single one.")
def _(world: World) -> None:
    world.release.old_config = True


@fault(
    "config-not-restarted", "Somebody raised `concurrent` from 5 to 10 in the ConfigMap; the managers still run with 5."
)
def _(world: World) -> None:
    world.release.before["concurrent"] = 5
