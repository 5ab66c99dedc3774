"""A real job for each fault: its fate, and the suite's verdict, do not contradict each other (docs/e2e.md)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import fate
from tests.e2e.conftest import Environment
from tests.e2e.fate import Fate, Row

HEALTHY = "healthy"
_LONGEST = 600.0  # seconds for a switch
_SMOKE = "test_a_job_runs"
FILE = os.environ.get("PREFLIGHT_E2E_FAULTS", "")
FAULTS: Mapping[str, Mapping[str, Any]] = fate.faults_in(Path(FILE)) if FILE else {}
PATIENCE = float(os.environ.get("PREFLIGHT_E2E_JOB_SECONDS") or 180)


@pytest.fixture(scope="module")
def rows(environment: Environment, request: pytest.FixtureRequest) -> Iterator[dict[str, Row]]:
    """The rows so far; the healthy one first. The table is printed when all are there."""
    made: dict[str, Row] = {}
    yield made
    if made:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            request.config.get_terminal_writer().write(f"\n{fate.table(made.values())}\n", flush=True)


def measured(environment: Environment, name: str) -> Row:
    """A run of the suite, and a job after it."""
    began = time.monotonic()
    inventory = environment.inventory
    by_pipeline = inventory.pipeline != "none"
    effect = "write" if by_pipeline else environment.effect
    ended = environment.end(*environment.begin(f"fate-{name}", "--effect", effect))
    seconds = time.monotonic() - began
    if by_pipeline:  # the suite's own pipeline in that project is the job
        smoke = [check for check in ended.json["checks"] if check["id"] == _SMOKE]
        took = max((fact["took"] for fact in ended.json["facts"] if fact["name"] == "smoke_job"), default=0.0)
        job = Fate(succeeded=any(check["verdict"] == "pass" for check in smoke), seconds=took)
    else:
        job = fate.run_job(inventory.gitlab.url, fate.JOB, patience=PATIENCE)
    return Row.of(name, ended.json, seconds, job)


def switch(command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=_LONGEST)


@pytest.fixture(scope="module")
def usual(environment: Environment, rows: dict[str, Row]) -> Fate:
    """The fate of a job while nothing is broken."""
    url, pipeline = environment.inventory.gitlab.url, environment.inventory.pipeline
    if pipeline == "none" and not fate.is_stand_in(url):
        pytest.skip(f"{url} is no stand-in that gives out jobs, and the inventory names no project (docs/e2e.md)")
    rows[HEALTHY] = measured(environment, HEALTHY)
    return rows[HEALTHY].fate


def test_a_job_runs_where_nothing_is_broken(rows: dict[str, Row], usual: Fate) -> None:
    assert usual.succeeded, fate.table(rows.values())
    assert rows[HEALTHY].contradictions(usual) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_jobs_fate_is_what_the_suite_says(
    environment: Environment, rows: dict[str, Row], usual: Fate, name: str
) -> None:
    fault = FAULTS[name]
    try:
        switch(fault["break"])
        time.sleep(float(fault.get("wait", 0)))
        rows[name] = measured(environment, name)
    finally:
        switch(fault["mend"])
    assert rows[name].contradictions(usual) == [], fate.table(rows.values())
    made = [cause for cause, _ in rows[name].causes if cause not in dict(rows[HEALTHY].causes)]
    assert not fault.get("cause") or made == [fault["cause"]], fate.table(rows.values())
