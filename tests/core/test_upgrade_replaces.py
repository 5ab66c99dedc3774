"""At `--stage upgrade`, faults of what is about to be replaced are advice, and what the new values keep is not."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.evidence import Evidence, Fact
from preflight.facts.release import as_replaced
from preflight.faults import ManagerFault, ReleaseFault
from preflight.probes.config_toml import ManagerConfig
from preflight.probes.managers import ManagerLogs, ManagerPods, Rollout
from preflight.probes.release import Release

EVIDENCE = Evidence(where="here", command="true")
CONFIG = "runners.config: [runners.kubernetes] image"
NO_IMAGE = "m-3: ImagePullBackOff: Back-off pulling image"


def faulty(kind: type[Fact], fault: ManagerFault | ReleaseFault, cause: str = "m-3: it waits") -> Fact:
    more: dict[str, Any] = {"differences": ()} if kind is ManagerConfig else {}
    return kind(target="gitlab-runner", fault=fault, cause=cause, evidence=EVIDENCE, **more)


@pytest.mark.parametrize(
    ("measured", "changes", "replaced"),
    [
        (faulty(ManagerLogs, ManagerFault.CONFIG_REFUSED), {CONFIG}, True),
        (faulty(ManagerLogs, ManagerFault.CONFIG_REFUSED), {"concurrent", "image.tag"}, False),
        (faulty(ManagerLogs, ManagerFault.CONFIG_REFUSED), set(), False),
        (faulty(ManagerLogs, ManagerFault.WRONG_USER), {"podSecurityContext.runAsUser"}, True),
        (faulty(ManagerLogs, ManagerFault.TOKEN_REJECTED), {CONFIG, "image.tag"}, False),
        (faulty(ManagerLogs, ManagerFault.GITLAB_UNREACHABLE), {CONFIG, "image.tag"}, False),
        (faulty(Rollout, ManagerFault.ROLLOUT_STUCK), {"concurrent"}, True),
        (faulty(Rollout, ManagerFault.ROLLOUT_STUCK), set(), False),
        (faulty(Rollout, ManagerFault.ROLLOUT_STUCK, NO_IMAGE), {"concurrent"}, False),
        (faulty(Rollout, ManagerFault.ROLLOUT_STUCK, NO_IMAGE), {"image.tag"}, True),
        (faulty(Rollout, ManagerFault.ROLLOUT_STUCK, NO_IMAGE), {"chart"}, True),
        (faulty(Rollout, ManagerFault.DEPLOYMENT_MISSING), {"image.tag"}, False),
        (faulty(ManagerPods, ManagerFault.NOT_READY, NO_IMAGE), {"image.tag"}, True),
        (faulty(ManagerPods, ManagerFault.NOT_READY), {"image.tag"}, False),
        (faulty(ManagerPods, ManagerFault.OOM_KILLED), {"resources.limits.memory"}, True),
        (faulty(ManagerPods, ManagerFault.OOM_KILLED), {CONFIG}, False),
        (faulty(ManagerPods, ManagerFault.CRASH_LOOP), {CONFIG}, False),
        (faulty(ManagerConfig, ManagerFault.OLD_CONFIG), {CONFIG}, True),
        (faulty(Release, ReleaseFault.FAILED), {CONFIG}, True),
        (faulty(Release, ReleaseFault.PENDING), {CONFIG}, False),
    ],
)
def test_only_what_the_upgrade_changes_is_advice(measured: Fact, changes: set[str], *, replaced: bool) -> None:
    after = as_replaced(measured, frozenset(changes))
    assert after.fault is measured.fault
    assert after.advice == ("the upgrade replaces it" if replaced else "")
    assert after.cause.endswith("the upgrade replaces it") is replaced


def test_what_is_healthy_stays_so() -> None:
    healthy = Rollout(target="gitlab-runner", wanted=3, evidence=EVIDENCE)
    assert as_replaced(healthy, frozenset({"image.tag"})) is healthy
