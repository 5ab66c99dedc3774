"""The gate before an upgrade: versions, jobs, and a backup that only its owner can read."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.evidence import Unmeasured
from preflight.faults import ReleaseFault
from preflight.probes import upgrade
from preflight.probes.release import History, Record

TOKEN = "made-up-token-of-upgrades"


@pytest.mark.parametrize(
    ("runner", "gitlab", "fault"),
    [
        ("18.3.0", "18.3.2-jh", None),
        ("18.2.1", "18.3.2-jh", None),
        ("18.4.0", "18.3.2-jh", ReleaseFault.SKEW),
        ("19.0.0", "18.11.0", ReleaseFault.SKEW),
        ("17.11.0", "18.3.2", ReleaseFault.SKEW),
    ],
)
def test_the_runner_is_held_beside_gitlab(runner: str, gitlab: str, fault: ReleaseFault | None) -> None:
    assert upgrade.read_target(runner, gitlab, chart="0.80.0").fault is fault


@pytest.mark.parametrize(
    ("tag", "chart", "app", "version"),
    [
        ("alpine-v18.4.0", "0.80.0", "18.3.0", "18.4.0"),
        ("", "0.80.1", "18.3.1", "18.3.1"),
        ("", "0.81.0", "", "18.4.0"),
        ("latest", "0.70.0", "", ""),
    ],
)
def test_the_runner_is_the_images_else_the_charts(tag: str, chart: str, app: str, version: str) -> None:
    assert upgrade.runner_version(tag, chart, app) == version


def job(name: str, phase: str = "Running", number: str = "7") -> dict[str, Any]:
    meta = {"name": name, "creationTimestamp": "2025-09-20T12:00:00Z"}
    return {"metadata": meta | {"annotations": {"job.runner.gitlab.com/id": number}}, "status": {"phase": phase}}


def test_jobs_that_have_not_ended_are_counted_without_our_own() -> None:
    pods = [job("a"), job("b", "Succeeded"), job("c", "Pending"), job("own", number="42")]
    found = upgrade.read_jobs(pods, own_job="42", own_host="own", now=1758370200)
    assert found.pods == ("a", "c")
    assert found.fault is ReleaseFault.JOBS_RUNNING
    assert "2 jobs run: a since 10 min" in found.cause


def test_without_a_job_of_ours_none_is_left_out() -> None:
    bare = job("a")
    del bare["metadata"]["annotations"]
    assert upgrade.read_jobs([bare], own_job="", own_host="a", now=0).pods == ("a",)


def test_an_annotation_alone_hides_no_job() -> None:
    around = job("runner-x-project-1-concurrent-0-" + "a" * 40, number="42")
    on_the_host = job("b", number="42") | {"spec": {"hostNetwork": True, "nodeName": "worker"}}
    claiming = [job("c", number="42"), job("worker", number="7"), around, on_the_host]
    for own_host, left_out in ((around["metadata"]["name"][:63], around), ("worker", on_the_host), ("laptop", None)):
        found = upgrade.read_jobs(claiming, own_job="42", own_host=own_host, now=0)
        assert set(found.pods) == {pod["metadata"]["name"] for pod in claiming if pod is not left_out}


def history() -> History:
    body = {"version": 2, "config": {"runnerToken": TOKEN, "replicas": 3}, "manifest": "---\n"}
    records = (
        Record(revision=2, status="deployed", body=body),
        Record(revision=3, status="pending-upgrade", body={"version": 3}),
    )
    return History(name="gitlab-runner", namespace="gitlab", records=records)


def test_a_backup_holds_the_last_good_revision_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "backup"
    found = upgrade.backup(history(), folder, stamp="20250920T120000Z")
    values, whole = map(Path, found.files)
    assert [values.name, whole.name] == [
        "20250920T120000Z-gitlab-runner-r2-values.yaml",
        "20250920T120000Z-gitlab-runner-r2-release.json",
    ]
    assert yaml.safe_load(values.read_text()) == {"runnerToken": TOKEN, "replicas": 3}
    assert json.loads(whole.read_text())["version"] == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in (values, whole)} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert TOKEN not in f"{found} {found.evidence.observed}"


def test_a_backup_never_overwrites_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "now-gitlab-runner-r2-release.json").write_text("another's")
    with pytest.raises(Unmeasured, match="could not be written"):
        upgrade.backup(history(), tmp_path, stamp="now")
    assert [path.name for path in tmp_path.iterdir()] == ["now-gitlab-runner-r2-release.json"]
    assert next(tmp_path.iterdir()).read_text() == "another's"


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unmeasured) as caught:
        upgrade.backup(history(), tmp_path / "file", stamp="now")
    assert "--backup" in caught.value.needs
