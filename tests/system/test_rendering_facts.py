"""The facts of a rendering: package, helm, and the values that come of it, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.clients.connect import Routes
from preflight.evidence import Blocked, Evidence, NotApplicable, Unmeasured
from preflight.facts import cluster, rendering, values
from preflight.facts.rendering import chart_package, chart_rendering, helm_program
from preflight.faults import ReleaseFault
from preflight.inventory import Inventory, load
from preflight.probes.chart_source import FetchedChart
from preflight.probes.credentials import Account
from preflight.probes.rendering import ChartRendering
from preflight.run import Run
from preflight.values import Values
from tests import programs, tinychart

ANONYMOUS = Account(registry="chart repository", host="x")


@pytest.fixture
def local(inventory_file: Path) -> Inventory:
    """An inventory whose chart is a package beside it."""
    (inventory_file.parent / "gitlab-runner-0.80.1.tgz").write_bytes(tinychart.archive())
    text = inventory_file.read_text()
    inventory_file.write_text(text.replace("  chart: 0.80.0", "  chart: ./gitlab-runner-0.80.1.tgz"))
    return load(inventory_file)


def fetched(inventory: Inventory) -> FetchedChart:
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="r")
    found: FetchedChart = chart_package(ANONYMOUS, None, (), inventory, run)
    return found


def rendering_of(package: FetchedChart, inventory: Inventory) -> ChartRendering:
    found: ChartRendering = chart_rendering(package, helm_program(inventory), None, None, inventory)
    return found


def rendered(inventory: Inventory) -> tuple[ChartRendering, Values]:
    package = fetched(inventory)
    found = rendering_of(package, inventory)
    return found, values.helm_values(package, found, inventory)


def write(inventory: Inventory, old: str, new: str) -> None:
    file = inventory.runner.files[0]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_package_of_this_machine_needs_no_repository(local: Inventory) -> None:
    found = fetched(local)
    assert (found.fault, found.version, found.app_version) == (None, "0.80.1", "18.3.1")


def test_without_a_repository_there_is_no_package(local: Inventory) -> None:
    runner = local.runner.model_copy(update={"chart": "0.80.1", "repository": "none"})
    with pytest.raises(NotApplicable, match=r"runner\.chart names no package"):
        fetched(local.model_copy(update={"runner": runner}))


def test_a_repository_that_was_not_asked_blocks_the_package(local: Inventory) -> None:
    runner = local.runner.model_copy(update={"chart": "0.80.1"})
    with pytest.raises(Blocked, match="could not be asked"):
        fetched(local.model_copy(update={"runner": runner}))


def test_without_helm_nothing_is_rendered(local: Inventory) -> None:
    runner = local.runner.model_copy(update={"helm": "none"})
    with pytest.raises(NotApplicable, match=r"runner\.helm is none"):
        rendering_of(fetched(local), local.model_copy(update={"runner": runner}))


def test_helms_rendering_is_what_jobs_get(local: Inventory) -> None:
    programs.require("helm")
    write(local, "privileged = true", 'privileged = {{ printf "%t" true }}')
    found, merged = rendered(local)
    assert (found.fault, found.chart) == (None, "0.80.1")
    assert "ConfigMap/gitlab-runner-gitlab-runner" in found.objects
    assert (merged.chart, merged.app_version, merged.unread) == ("0.80.1", "18.3.1", ())
    assert cluster.job_shape(merged, local).privileged


def test_without_helm_the_checks_that_need_an_expression_are_unmeasured(local: Inventory) -> None:
    write(local, "privileged = true", 'privileged = {{ printf "%t" true }}')
    merged = values.helm_values(fetched(local), None, local)
    with pytest.raises(Unmeasured, match="only Helm can tell") as raised:
        cluster.job_shape(merged, local)
    assert raised.value.needs == "install helm, or name it in `runner.helm`"
    found = values.values_lint(fetched(local), merged, local)
    assert values.values_dns_policy(values_lint=found).fault is None
    for unknown in (values.values_privilege, values.values_job_settings, values.values_loading):
        with pytest.raises(Unmeasured, match="only Helm can tell"):
            unknown(values_lint=found)


def test_without_the_package_it_is_the_package_that_is_asked_for(local: Inventory) -> None:
    write(local, "privileged = true", 'privileged = {{ printf "%t" true }}')
    merged = values.helm_values(None, None, local)
    assert {setting.needs for setting in merged.unread} == {
        "give the chart's package: `runner.chart: ./gitlab-runner-VERSION.tgz`"
    }


def test_what_helm_refuses_is_told_with_the_line_of_the_values_and_blocks_what_needs_it(local: Inventory) -> None:
    programs.require("helm")
    write(local, "privileged = true", "privileged = {{ nosuch }}")
    found, merged = rendered(local)
    line = next(
        number for number, text in enumerate(local.runner.files[0].read_text().splitlines(), 1) if "nosuch" in text
    )
    assert found.fault is ReleaseFault.NOT_RENDERED
    assert f"{local.runner.files[0].name}:{line}: runners.config" in found.cause
    assert 'function "nosuch" not defined' in found.cause
    with pytest.raises(Blocked, match="not-rendered"):
        cluster.job_shape(merged, local)


def test_the_charts_own_keys_are_those_of_the_package(local: Inventory) -> None:
    write(local, "replicas: 3", "replicas: 3\nnobodys: 1")
    found = values.values_lint(fetched(local), values.helm_values(fetched(local), None, local), local)
    assert "nobodys" in {finding.path for finding in found.findings}


def test_a_made_up_helm_is_no_helm(local: Inventory, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    runner = local.runner.model_copy(update={"helm": str(program)})
    with pytest.raises(Unmeasured, match="does not report its version"):
        rendering_of(fetched(local), local.model_copy(update={"runner": runner}))


def test_a_package_that_was_not_kept_is_not_rendered(local: Inventory) -> None:
    programs.require("helm")
    gone = FetchedChart(target="x", evidence=Evidence(where="here", command="true"))
    with pytest.raises(Unmeasured, match="not at hand"):
        rendering_of(gone, local)
    assert rendering.chart_rendering is chart_rendering
