"""`python -m preflight sweep`: what dead runs have left goes, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import timestamps
from lab.lab import Lab
from preflight.jobshape import JobShape, probe_job
from preflight.probes import cleanup
from tests import processes
from tests.promises.suite import ALPINE, NAMESPACE, client, made, others, plant

DEAD, BOUND = "dead0001", 60 + 15 + 120  # seconds: the Job's deadline, its slack and its time to live


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(patience=3) as running:
        plant(running)
        yield running


def sweep(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run("preflight", "sweep", "--inventory", inventory, *arguments, timeout=60)


def leave(lab: Lab, run: str = DEAD, *, aged: float, node: str = "k8s-worker-2") -> None:
    """A Job that a run has left, made so many seconds ago; its pod runs on, as where no controller looks after it."""
    shape = JobShape(namespace=NAMESPACE, image=ALPINE, helper_image=ALPINE)
    job = probe_job(shape, node=node, run_id=run, image=ALPINE, script="sleep 100", deadline=60, ttl=120)
    api = client(lab)
    api.create(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", job)
    api.close()

    def age(world: Any) -> None:
        for resource in ("jobs", "pods"):
            for item in world.cluster.each(resource):
                if item["metadata"].get("labels", {}).get("preflight.gitlab-runner/run") == run:
                    item["metadata"]["creationTimestamp"] = timestamps.ago(seconds=aged)

    lab.change(age)


def test_leavings_of_a_dead_run_go_and_nothing_else(lab: Lab) -> None:
    before = others(lab)
    leave(lab, aged=BOUND + 5)
    ended = sweep(lab.inventory)
    assert ended.returncode == 0, ended.stderr
    assert f"removed Job gitlab/preflight-{DEAD}-pod-k8s-worker-2" in ended.stdout
    assert "keeping Job gitlab/preflight-feed1234-" in ended.stdout
    assert made(lab) == []
    assert others(lab) == before


def test_a_dry_run_says_the_same_and_does_nothing(lab: Lab) -> None:
    leave(lab, aged=BOUND + 5)
    before = made(lab)
    ended = sweep(lab.inventory, "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert f"would remove Job gitlab/preflight-{DEAD}-pod-k8s-worker-2" in ended.stdout
    assert made(lab) == before


def test_what_is_within_its_bound_stays_whatever_is_asked_for(lab: Lab) -> None:
    leave(lab, aged=BOUND - 60)
    ended = sweep(lab.inventory, "--older-than", "0")
    assert ended.returncode == 0, ended.stderr
    assert f"keeping Job gitlab/preflight-{DEAD}-pod-k8s-worker-2" in ended.stdout
    assert "its run may be alive" in ended.stdout
    assert len(made(lab, resources=("jobs",))) == 1


def test_one_young_object_keeps_its_whole_run(lab: Lab) -> None:
    leave(lab, aged=BOUND + 600)

    def young(world: Any) -> None:
        (job,) = [one for one in world.cluster.each("jobs") if DEAD in one["metadata"]["name"]]
        twin = {**job, "metadata": {**job["metadata"], "name": "preflight-younger", "uid": "made-up"}, "kind": "Job"}
        twin["metadata"]["creationTimestamp"] = timestamps.now()
        twin["spec"] = {**twin["spec"], "suspend": True}
        world.cluster.add(twin)

    lab.change(young)
    assert "removed" not in sweep(lab.inventory).stdout
    assert len(made(lab, resources=("jobs",))) == 2


def test_a_claim_on_time_is_no_longer_than_a_day(lab: Lab) -> None:
    leave(lab, aged=86_400 + 5)

    def claim(world: Any) -> None:
        for job in world.cluster.each("jobs"):
            if DEAD in job["metadata"]["name"]:
                job["spec"]["activeDeadlineSeconds"] = 2**31 - 1

    lab.change(claim)
    assert f"removed Job gitlab/preflight-{DEAD}-pod-k8s-worker-2" in sweep(lab.inventory).stdout
    assert made(lab) == []


def test_an_object_that_has_replaced_the_one_that_was_seen_stays(lab: Lab) -> None:
    leave(lab, aged=BOUND + 5)
    api = client(lab)
    try:
        (seen,) = [item for item in cleanup.owned_objects(api, NAMESPACE) if item.run == DEAD]
        assert cleanup.remove_objects(api, [replace(seen, uid="of-another-life")], deadline=5) == {}
        assert [job["name"] for job in made(lab, resources=("jobs",))] == [seen.name]
        assert cleanup.remove_objects(api, [seen], deadline=5) == {}
    finally:
        api.close()
    assert made(lab) == []


def test_older_than_asks_for_more(lab: Lab) -> None:
    leave(lab, aged=BOUND + 300)
    assert "keeping" in sweep(lab.inventory, "--older-than", "30").stdout
    assert len(made(lab, resources=("jobs",))) == 1
    assert sweep(lab.inventory, "--older-than", "5").returncode == 0
    assert made(lab) == []


def test_a_pod_whose_job_is_gone_goes_too(lab: Lab) -> None:
    leave(lab, aged=60 + 300 + 5)
    api = client(lab)
    (job,) = made(lab, resources=("jobs",))
    api.delete(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{job['name']}", propagation="Orphan")
    api.close()
    assert [one["kind"] for one in made(lab)] == ["pods"]
    assert "removed Pod gitlab/preflight-" in sweep(lab.inventory).stdout
    assert made(lab) == []


def test_what_may_not_be_deleted_is_told_with_the_right_it_takes(lab: Lab) -> None:
    leave(lab, aged=BOUND + 5)
    lab.change(lambda world: world.cluster.revoke("jobs", "delete", group="batch"))
    ended = sweep(lab.inventory)
    assert ended.returncode == 1
    assert "NOT removed Job" in ended.stdout
    assert 'verbs: ["delete"]' in ended.stderr
    lab.change(lambda world: world.cluster.revoke("jobs", "list", group="batch"))
    ended = sweep(lab.inventory)
    assert ended.returncode == 6
    assert 'verbs: ["list"]' in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--older-than", "-1"], "found '-1', expected minutes, 0 or more"),
        (["--older-than", "soon"], "found 'soon', expected minutes, 0 or more"),
    ],
)
def test_bad_options_are_usage_errors(inventory_file: Path, arguments: list[str], told: str) -> None:
    ended = sweep(inventory_file, *arguments)
    assert ended.returncode == 4
    assert told in ended.stderr


def test_an_inventory_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    ended = sweep(tmp_path / "absent.yaml")
    assert ended.returncode == 4
    assert "absent.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_api_that_does_not_answer_is_told(inventory_file: Path) -> None:
    """`connect:` of this inventory refuses everything."""
    ended = sweep(inventory_file)
    assert ended.returncode == 6
    assert "the API server could not be asked" in ended.stderr
