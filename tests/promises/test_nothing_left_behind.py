"""Promise 1: however a run ends, its reports are there, and none of its Jobs and pods.

Whatever else is in the cluster stays as it is: what another run that lives has made, and what only looks like ours.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from lab.lab import Lab
from tests.promises.suite import NAMESPACE, Ended, Suite, made, others, plant

SEED = 20_250_701
KILLS, SIDE_BY_SIDE = 10, 2
HASTE = 200.0  # times as fast as the Job controller's clock runs after the kills
MOMENTS: dict[str, Callable[[Lab], bool]] = {
    "while it reads": lambda lab: any(one.server == "gitlab" for one in lab.requests),
    "with its first Job": lambda lab: bool(made(lab)),
    "with a privileged pod": lambda lab: any("-dind-" in one["name"] for one in made(lab, resources=("pods",))),
}


@pytest.fixture
def slow() -> Iterator[Lab]:
    """A lab whose Docker daemons take long, so that a run is easily met while its pods run; with others' things."""
    with Lab(faults=["dind-slow"], patience=3) as lab:
        plant(lab)
        yield lab


def reports_are_written(ended: Ended) -> None:
    assert ended.report, ended.output
    assert ended.report["exit"] == ended.status
    for name in ("preflight.html", "preflight.xml"):
        assert (ended.folder / name).stat().st_size > 0


@dataclass(frozen=True)
class Normal:
    """A run in a healthy lab, with others' things, that came to its end; the lab is still up.

    Attributes:
        lab: the lab.
        others: what others had there before the run.
        suite: the run.
        ended: how it ended.
        left: Jobs and pods of it, at its end.
        others_then: what others have there, at its end.
    """

    lab: Lab
    others: dict[str, str]
    suite: Suite
    ended: Ended
    left: list[dict[str, str]]
    others_then: dict[str, str]


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Normal]:
    with Lab(patience=3) as lab:
        plant(lab)
        before = others(lab)
        suite = Suite(lab.inventory, tmp_path_factory.mktemp("normal"))
        ended = suite.end()
        yield Normal(lab, before, suite, ended, made(lab), others(lab))


def test_a_normal_end_leaves_nothing(normal: Normal) -> None:
    assert normal.ended.status == 0, normal.ended.output
    assert normal.left == []
    assert normal.others_then == normal.others
    reports_are_written(normal.ended)
    assert list(normal.suite.temporary.iterdir()) == [], "nor any file of this machine"


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("while it reads", signal.SIGINT),
        ("with its first Job", signal.SIGTERM),
        ("with a privileged pod", signal.SIGINT),
        ("with a privileged pod", signal.SIGHUP),
    ],
)
def test_a_signal_leaves_nothing(slow: Lab, moment: str, how: signal.Signals, tmp_path: Path) -> None:
    before = others(slow)
    suite = Suite(slow.inventory, tmp_path)
    suite.until(lambda: MOMENTS[moment](slow))
    suite.process.send_signal(how)
    ended = suite.end()
    assert made(slow) == []
    assert others(slow) == before
    assert ended.status == 2, ended.output
    reports_are_written(ended)
    assert "checks judged (interrupted" in ended.output
    if moment == "while it reads":
        assert "nothing was made in the cluster" in ended.output.splitlines()[-1]
    else:
        assert re.search(r"; \d+ Jobs? .*removed, nothing is left \(\d+\.\d s\)$", ended.output.rstrip())


@pytest.mark.parametrize("moment", ["at once", "soon", "while the pods' end is waited for"])
def test_a_second_signal_shortens_the_cleaning_and_leaves_nothing(slow: Lab, moment: str, tmp_path: Path) -> None:
    """Wherever the second one comes: before the reports, in them, or while the pods' end is waited for."""
    before = others(slow)
    suite = Suite(slow.inventory, tmp_path)
    suite.until(lambda: MOMENTS["with a privileged pod"](slow))
    suite.process.send_signal(signal.SIGINT)
    if moment == "soon":
        time.sleep(0.1)
    elif moment != "at once":
        suite.until(lambda: deleted_a_job(slow))
    suite.process.send_signal(signal.SIGINT)
    ended = suite.end()
    assert made(slow) == []
    assert others(slow) == before
    assert ended.status == 2, ended.output
    reports_are_written(ended)
    assert "Traceback" not in ended.output


def deleted_a_job(lab: Lab) -> bool:
    return any(one.method == "DELETE" and "/jobs/" in one.path for one in lab.requests)


@pytest.mark.parametrize("signals", [1, 2])
def test_pods_of_a_node_that_died_meanwhile_are_not_left(slow: Lab, signals: int, tmp_path: Path) -> None:
    """Its kubelet never says that they have ended. The second signal makes an end of waiting for it."""
    suite = Suite(slow.inventory, tmp_path)
    suite.until(lambda: slow.change(died_with_a_privileged_pod))
    suite.process.send_signal(signal.SIGINT)
    suite.until(lambda: deleted_a_job(slow))
    looked = asked_for_pods(slow)
    if signals == 2:
        suite.until(lambda: asked_for_pods(slow) > looked)
        suite.process.send_signal(signal.SIGINT)
    ended = suite.end()
    forced = [one for one in slow.requests if one.method == "DELETE" and '"gracePeriodSeconds": 0' in one.body]
    assert forced
    assert all(one.path.startswith(f"/api/v1/namespaces/{NAMESPACE}/pods/preflight-") for one in forced)
    assert made(slow) == []
    assert ended.status == 2
    # A look twice as late as the one before, and so on, until the patience of several seconds is over.
    assert (asked_for_pods(slow) - looked > 6) == (signals == 1)


def died_with_a_privileged_pod(world: Any) -> bool:
    """Stop the kubelet of worker 2 as soon as a daemon of the run is up there, and so will never be said to be gone."""
    runs = any(
        "-dind-" in pod["metadata"]["name"]
        and pod["spec"].get("nodeName") == "k8s-worker-2"
        and pod["status"].get("phase") == "Running"
        for pod in world.cluster.each("pods")
    )
    if runs:
        world.cluster.stop_kubelet("k8s-worker-2")
    return runs


def asked_for_pods(lab: Lab) -> int:
    """How often the run looked whether its pods are gone."""
    return sum(
        one.method == "GET" and "/pods?" in one.path and "preflight.gitlab-runner/run" in unquote(one.path)
        for one in lab.requests
    )


def test_a_failing_set_up_leaves_nothing_and_is_told(slow: Lab, tmp_path: Path) -> None:
    (tmp_path / "clumsy.py").write_text(
        "import pytest, time\n"
        "@pytest.fixture(autouse=True)\n"
        "def clumsy(request):\n"
        "    if 'dns' in request.node.nodeid:\n"
        "        raise RuntimeError('made up: the set-up failed')\n"
    )
    before = others(slow)
    suite = Suite(slow.inventory, tmp_path, "-x", plugins=("clumsy",))
    ended = suite.end()
    assert made(slow) == []
    assert others(slow) == before
    assert ended.status == 6, ended.output
    assert "made up: the set-up failed" in ended.output
    reports_are_written(ended)


def test_the_first_failure_and_the_exit_status_outlive_a_failed_cleaning(tmp_path: Path) -> None:
    """Deleting is forbidden: that is told, and nothing of what came before is lost."""

    def change(world: Any) -> None:
        world.cluster.revoke("jobs", "delete", group="batch")
        world.cluster.revoke("pods", "delete")

    with Lab(faults=["gitlab-502"], patience=3, change=change) as lab:
        ended = Suite(lab.inventory, tmp_path).end()
    assert ended.status == 1, ended.output
    assert "gitlab-backend-down" in ended.output
    assert "preflight: cleaning up after own_objects: " in ended.output
    reports_are_written(ended)


def test_the_cluster_cleans_itself_after_kills_at_any_moment(normal: Normal, tmp_path: Path) -> None:
    """`kill -9` at random moments over a run's whole duration; the Job controller's clock is then run faster."""
    random_, touched, lab = random.Random(SEED), set[str](), normal.lab
    assert normal.ended.status == 0, normal.ended.output
    moments = [(number + random_.random()) / KILLS * normal.ended.took for number in range(KILLS)]
    random_.shuffle(moments)
    for first in range(0, KILLS, SIDE_BY_SIDE):
        pair = [
            (Suite(lab.inventory, tmp_path / str(number)), moments[number])
            for number in range(first, min(first + SIDE_BY_SIDE, KILLS))
        ]
        for suite, moment in sorted(pair, key=lambda one: one[1]):
            time.sleep(max(0.0, suite.began + moment - time.monotonic()))
            suite.process.kill()
            suite.process.wait(10)
        touched |= {one["run"] for one in made(lab)}
        assert_bounded(lab)
    assert touched, "the kills met no run that had made anything"
    lab.change(lambda world: world.cluster.hasten(HASTE))
    end = time.monotonic() + 20
    while (leaks := made(lab)) and time.monotonic() < end:
        time.sleep(0.1)
    assert leaks == []
    assert others(lab) == normal.others, "what another run has made lives on: its deadlines are longer"


def assert_bounded(lab: Lab) -> None:
    """Every Job says itself when it is to end and to go, and the last of it is gone within minutes."""

    def bounds(world: Any) -> list[int]:
        return [
            job["spec"]["activeDeadlineSeconds"] + job["spec"]["ttlSecondsAfterFinished"]
            for job in world.cluster.each("jobs")
            if job["metadata"]["name"] in names
        ]

    names = {one["name"] for one in made(lab, resources=("jobs",))}
    found = lab.change(bounds)
    assert len(found) == len(names)
    assert all(0 < bound <= 600 for bound in found)
