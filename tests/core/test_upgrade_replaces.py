"""At `--stage upgrade`, faults of what is about to be replaced are advice, and what the new values keep is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.connect import Routes
from preflight.evidence import Evidence, Fact
from preflight.facts.release import as_replaced, changed_keys, upgrade_changes
from preflight.faults import ManagerFault, ReleaseFault
from preflight.inventory import Inventory
from preflight.probes.config_toml import ManagerConfig
from preflight.probes.manager_logs import ManagerLogs
from preflight.probes.managers import ManagerPods, Rollout
from preflight.probes.release import History, Record, Release
from preflight.rendering import Rendering, read
from preflight.run import Run, Stage
from preflight.values import with_rendering
from tests.core import test_release_values as release_values
from tests.core.test_release_values import KUBERNETES

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


def rendering(image: str, *, memory: str = "64Mi", policy: str = "IfNotPresent") -> Rendering:
    container = {"image": image, "imagePullPolicy": policy, "resources": {"limits": {"memory": memory}}}
    template = {"spec": {"containers": [container], "imagePullSecrets": []}}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "r"},
        "spec": {"template": template},
    }
    return read(json.dumps(workload), release="r", namespace="ci")


OLD = rendering("mirror.example/runner:v1")


@pytest.mark.parametrize(
    ("keys", "deployed", "wanted", "chart", "changed"),
    [
        ({"image.tag"}, OLD, OLD, False, set()),  # a default that is written out
        ({"image.tag"}, OLD, rendering("mirror.example/runner:v2"), False, {"image"}),
        (set(), OLD, rendering("mirror.example/runner:v2"), True, {"image", "version of the chart"}),
        ({"image.tag"}, OLD, OLD, True, {"version of the chart"}),  # a pinned image stays what it was
        ({"resources.limits.memory"}, OLD, rendering("mirror.example/runner:v1", memory="1Gi"), False, {"resources"}),
        ({CONFIG, "concurrent", "resources.requests.cpu"}, OLD, OLD, False, {CONFIG, "concurrent"}),
        ({"image.tag"}, None, OLD, True, {"image.tag", "chart"}),  # without Helm, what is written counts
        ({"image.tag"}, OLD, None, False, {"image.tag"}),
    ],
)
def test_what_changes_is_what_rendering_gives(
    keys: set[str], deployed: Rendering | None, wanted: Rendering | None, changed: set[str], *, chart: bool
) -> None:
    assert changed_keys(keys, deployed, wanted, chart=chart) == changed


def test_a_pinned_image_that_another_chart_keeps_is_not_replaced() -> None:
    stuck = faulty(Rollout, ManagerFault.ROLLOUT_STUCK, NO_IMAGE)
    assert as_replaced(stuck, changed_keys(set(), OLD, OLD, chart=True)).advice == ""
    assert as_replaced(stuck, changed_keys(set(), None, None, chart=True)).advice


def test_what_is_healthy_stays_so() -> None:
    healthy = Rollout(target="gitlab-runner", wanted=3, evidence=EVIDENCE)
    assert as_replaced(healthy, frozenset({"image.tag"})) is healthy


@pytest.mark.parametrize(("rendered", "changes"), [("a", set()), ("b", {"runners.config: [runners.kubernetes] image"})])
def test_an_expression_that_gives_the_same_changes_nothing(
    inventory: Inventory, tmp_path: Path, rendered: str, changes: set[str]
) -> None:
    before, after = (release_values.rendered(f'{KUBERNETES}image = "{image}"\n') for image in ("a", rendered))
    written = release_values.values(tmp_path, "image = {{ .Values.jobs.image | quote }}\n")
    body = {
        "config": {"runners": {"config": f'{KUBERNETES}image = "a"\n'}},
        "manifest": "\n---\n".join(json.dumps(item) for item in before.objects),
        "chart": {"metadata": {"version": written.chart}},
    }
    records = (Record(revision=3, status="deployed", body=body),)
    history = History(name="gitlab-runner", namespace="ci", records=records)
    run = Run(inventory, Routes(), id="t", stage=Stage.UPGRADE)
    assert upgrade_changes(history, with_rendering(written, after), inventory, run) == changes
