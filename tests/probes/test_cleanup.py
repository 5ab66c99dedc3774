"""Nothing of ours stays, and nothing of others goes."""

from __future__ import annotations

import threading
import time

import pytest

from preflight.probes import cleanup, pods
from preflight.probes.cleanup import remove_run
from preflight.shutdown import Shutdown
from tests.probes.job_pods import DONE, NODE, RUNS, Start, containers, job


def test_a_job_is_removed_at_once_and_the_sweep_waits_for_its_pod(start: Start) -> None:
    api, cluster, server = start(states=[containers("Succeeded", build=DONE)], logs={"build": ""})
    shutdown = Shutdown()
    pod = pods.launch(api, job(), node=NODE, deadline=5, shutdown=shutdown)
    cluster.linger = 2
    owned = cleanup.OwnObjects(api, "gitlab", "ab12", deadline=60, shutdown=shutdown)
    asked_before = len(server.asked)
    owned.remove(pod.job)
    assert len(server.asked) == asked_before + 1
    assert list(cluster.pods) == [pod.name]
    owned.sweep()
    assert (cluster.job, cluster.pods) == (None, {})


def test_nothing_is_removed_where_nothing_was_made(start: Start) -> None:
    api, _, server = start()
    cleanup.OwnObjects(api, "gitlab", "ab12", deadline=60, shutdown=Shutdown()).remove("")
    assert server.asked == []


def test_a_sweep_takes_this_run_and_nothing_else(start: Start) -> None:
    api, cluster, server = start(states=[containers("Succeeded", build=DONE)], logs={"build": ""})
    pods.launch(api, job(), node=NODE, deadline=5)
    assert remove_run(api, "gitlab", "ab12", deadline=5) == ()
    assert cluster.job is None
    asked = {
        each.query["labelSelector"] for each in server.asked if "managed-by" in each.query.get("labelSelector", "")
    }
    assert asked == {"app.kubernetes.io/managed-by=gitlab-runner-preflight,preflight.gitlab-runner/run=ab12"}


def test_a_sweep_takes_pods_whose_job_is_gone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "COLLECTED_WITHIN", 0.3)
    api, cluster, server = start(states=[containers("Succeeded", build=DONE)], logs={"build": ""})
    pod = pods.launch(api, job(), node=NODE, deadline=5)
    cluster.job = None
    other = {"metadata": {"name": "other", "labels": {"app": "other"}}, "spec": {}, "status": {}}
    cluster.pods["other"] = other
    assert remove_run(api, "gitlab", "ab12", deadline=5) == ()
    assert list(cluster.pods) == ["other"]
    assert server.count("DELETE", f"/api/v1/namespaces/gitlab/pods/{pod.name}") == 1


def test_a_hurried_sweep_gives_pods_no_time_and_hardly_waits(start: Start) -> None:
    api, cluster, server = start(states=[containers("Running", build=RUNS)])
    assert pods.launch(api, job(), node=NODE, deadline=1).job, "it is left, for the sweep"
    cluster.linger = 1000
    expedite = threading.Event()
    expedite.set()
    began = time.monotonic()
    remove_run(api, "gitlab", "ab12", deadline=60, expedite=expedite)
    assert time.monotonic() - began < 10
    assert cluster.job is None
    (forced,) = [each for each in server.asked if each.method == "DELETE" and "/pods/" in each.path]
    assert forced.body["gracePeriodSeconds"] == 0
