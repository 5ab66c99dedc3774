"""Promise 3: whoever falls silent, drips, cuts or refuses: the run ends, names it, and judges the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from tests.promises.suite import Ended, Suite, made

OVERHEAD = 90.0  # seconds for start, collection and reports, on a machine that is busy with other things
PATIENCE = 2.0  # factor on the deadlines of the lab, for the same reason
CUT = r"was cut before the end|ended before the command in \S+ had"


@dataclass(frozen=True)
class Server:
    """A server that misbehaves.

    Attributes:
        name: as the lab calls it.
        told_by: the check that names it, and no other is red or unknown.
        words: how it is named.
        untouched: checks of other sections, which are judged as ever.
        also: further checks that may be red, where a vantage of its own meets it in another way.
        statuses: the exit statuses that fit: a chart repository that hangs stops no job of what is installed, and
            whether an API server answers nobody, or not this machine alone, depends on how it misbehaves.
    """

    name: str
    told_by: str
    words: str
    untouched: tuple[str, ...]
    also: str = "$"
    statuses: tuple[int, ...] = (1,)


GITLAB, CLUSTER, PODS = "test_gitlab_is_gitlab", "test_node_is_ready", "test_a_job_pod_starts_on_each_worker"
NODES, HERE = "test_ssh_login_works_on_each_worker", "test_each_resolver_answers_from_here"
REGISTRY, DOCKER = "test_registry_answers", "test_docker_daemon_becomes_ready"
PULLS, RELEASE = "test_job_pods_on_each_worker_pull_the_image", "test_rollout_is_complete"
SERVERS = [
    Server("gitlab", "test_gitlab_port_answers", "192.168.1.50:80", (CLUSTER, NODES, HERE, PULLS, RELEASE, DOCKER)),
    Server("kubernetes", "test_api_server_answers", "192.168.1.100:6443", (GITLAB, NODES, HERE), statuses=(1, 6)),
    *(
        Server(f"registry {host}", "test_registry_answers", f"{host}:443", (GITLAB, CLUSTER, NODES, HERE, RELEASE))
        for host in ("registry.example.com", "private-registry.example.com")
    ),
    Server(
        "token auth.example.com", "test_registry_authenticates", "auth.example.com:443", (GITLAB, CLUSTER, NODES, HERE)
    ),
    Server(
        "charts",
        "test_chart_version_is_in_the_repository",
        "charts.gitlab.io:443",
        (GITLAB, CLUSTER, NODES, HERE, PODS, PULLS, RELEASE, DOCKER),
        statuses=(0, 1),
    ),
    *(
        Server(
            f"dns {address}",
            "test_each_resolver_answers_from_here",
            address,
            (GITLAB, CLUSTER, NODES, REGISTRY, PODS, PULLS, RELEASE, DOCKER),
            also="test_each_resolver_answers_each_worker",
        )
        for address in ("10.0.0.2", "10.1.0.251", "10.1.0.252")
    ),
    *(
        Server(
            f"ssh k8s-worker-{number}",
            "test_ssh_login_works_on_each_worker",
            f"k8s-worker-{number} (192.168.1.10{number}:22)",
            (GITLAB, CLUSTER, HERE, REGISTRY, PODS, PULLS, RELEASE, DOCKER),
            statuses=(6,),
        )
        for number in (1, 2, 3)
    ),
]
BY_NAME = {server.name: server for server in SERVERS}
SIBLINGS = (
    "registry private-registry.example.com",
    "dns 10.1.0.251",
    "dns 10.1.0.252",
    *map("ssh k8s-worker-{}".format, (2, 3)),
)
"""Servers whose kind stands in the list before them: they fall silent all at once, and need neither drip nor cut."""
APART = (
    ("gitlab", "token auth.example.com", "dns 10.0.0.2", "ssh k8s-worker-1"),
    ("registry registry.example.com", "charts"),
    ("kubernetes",),
)
"""Servers that hide nothing of each other, so that one run shows how each of them is named."""
SILENT = (
    ("gitlab",),
    ("kubernetes",),
    ("registry registry.example.com",),
    ("token auth.example.com", "charts"),
    ("dns 10.0.0.2", "ssh k8s-worker-1"),
)
"""A server of each kind, in runs with pods; those that share one hide nothing of each other."""
CASES = [
    *(("silent", names) for names in SILENT),
    ("silent", SIBLINGS),
    *((mode, names) for mode in ("drip", "cut") for names in APART),
]
OF_PODS = {PODS, PULLS, DOCKER}
"""Checks that need pods: that they are judged as ever is proven with a server of each kind silent."""


def run(tmp_path: Path, servers: Sequence[str], mode: str, *arguments: str) -> tuple[Ended, Lab]:
    """A run while servers misbehave, within the seconds that it may take by its own inventory."""

    def change(world: Any) -> None:
        world.misbehaviour.update(dict.fromkeys(servers, mode))

    with Lab(change=change, patience=PATIENCE) as lab:
        deadlines = lab_deadlines(lab)
        limit = deadlines["run"] + deadlines["clean"] + OVERHEAD
        ended = Suite(lab.inventory, tmp_path, *arguments).end(within=limit)
        assert lab.world.problems == []
        return ended, lab


def lab_deadlines(lab: Lab) -> dict[str, float]:
    import yaml

    found: dict[str, float] = yaml.safe_load(lab.inventory.read_text())["deadlines"]
    return found


def told(ended: Ended) -> dict[str, str]:
    """Check and cause of whatever is red or unknown."""
    return {
        f"{one['id']}[{one['target']}]": f"{one['cause']} {one.get('reason', '')}"
        for one in ended.report["checks"]
        if one["verdict"] in {"fail", "unknown"}
    }


def is_whole(ended: Ended) -> None:
    assert ended.report, ended.output
    assert ended.report["exit"] == ended.status
    assert (ended.folder / "preflight.html").stat().st_size
    assert (ended.folder / "preflight.xml").stat().st_size
    assert not re.search("stumbled|internal error", ended.output), ended.output
    assert "Traceback" not in ended.output


def judged(ended: Ended, *checks: str) -> None:
    """These checks are judged, for each of their targets, and right."""
    for check in checks:
        found = [one["verdict"] for one in ended.report["checks"] if one["id"] == check]
        assert found, f"no check is called {check}"
        assert set(found) == {"pass"}, (check, found)


def test_every_server_falls_silent_once() -> None:
    assert sorted(name for mode, names in CASES if mode == "silent" for name in names) == sorted(BY_NAME)


@pytest.mark.parametrize(("mode", "names"), CASES, ids=[f"{' '.join(names)}-{mode}" for mode, names in CASES])
def test_servers_that_misbehave_are_named_and_the_rest_is_judged(
    mode: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    servers = [BY_NAME[name] for name in names]
    reading = () if mode == "silent" and names != SIBLINGS else ("--effect", "read")
    ended, _ = run(tmp_path, names, mode, *reading)
    is_whole(ended)
    found = told(ended)
    red = {name for name in found if not any(re.match(server.also, name) for server in servers)}
    assert {name.split("[")[0] for name in red} == {server.told_by for server in servers}, found
    for server in servers:
        assert any(server.words in found[name] for name in red if name.startswith(server.told_by)), (
            server.words,
            found,
        )
    statuses = set().union(*(server.statuses for server in servers))
    assert ended.status in {*statuses, *((6,) if reading else ())}  # whether it stops jobs, their pods tell
    untouched = set.intersection(*(set(server.untouched) for server in servers)) - {
        server.told_by for server in servers
    }
    assert untouched
    judged(ended, *(check for check in untouched if not reading or check not in OF_PODS))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("429", "Too many requests"),
        ("500", "etcdserver: request timed out"),
        ("503", "apiserver is shutting down"),
        ("truncated", "bytes that are not a JSON object"),
    ],
)
def test_an_api_server_that_refuses_is_named_with_its_words(mode: str, words: str, tmp_path: Path) -> None:
    ended, _ = run(tmp_path, ("kubernetes",), mode, "--effect", "read")
    is_whole(ended)
    (cause,) = told(ended).values()
    assert set(told(ended)) == {"test_api_server_answers[]"}
    assert words in cause
    judged(ended, GITLAB, NODES, HERE)


@pytest.mark.parametrize("mode", ["410", "brief"])
def test_watches_that_expire_and_connections_that_are_cut_are_outlived(mode: str, tmp_path: Path) -> None:
    """A watch that is too old, and a connection that lasts a second: the API is asked again, and all is judged."""
    ended, lab = run(tmp_path, ("kubernetes",), mode)
    is_whole(ended)
    # What is run in a pod has one connection alone; on a busy machine it takes longer than that second.
    cut = {name for name, cause in told(ended).items() if mode == "brief" and re.search(CUT, cause)}
    assert set(told(ended)) == cut, told(ended)
    assert ended.status == (1 if cut else 0)
    assert any("watch=1" in one.path for one in lab.requests)


def test_a_run_deadline_stops_everything_with_reports_written(tmp_path: Path) -> None:
    """A daemon that takes an hour to get ready would hold the run; nothing of it is left."""

    def change(world: Any) -> None:
        world.inventory_edits["deadlines.run"] = 8
        world.inventory_edits["dind.ready_within"] = 3600
        world.inventory_edits["deadlines.dind"] = 3600

    with Lab(faults=["dind-slow"], change=change) as lab:
        ended = Suite(lab.inventory, tmp_path).end(within=8 + 15 + OVERHEAD)
        assert made(lab) == []
        assert any(one.method == "POST" and one.path.endswith("/jobs") for one in lab.requests)
    is_whole(ended)
    assert ended.status == 6, told(ended)
    assert any("the run's deadline of 8 s is over" in cause for cause in told(ended).values())
    assert any("deadlines.run" in one["remedy"] for one in ended.report["checks"] if one["verdict"] == "unknown")
    judged(ended, GITLAB)


def test_an_api_server_that_falls_silent_in_the_middle_ends_nothing_but_what_needs_it(tmp_path: Path) -> None:
    """With pods under way: the run ends, says what it could not remove, and that the cluster does it."""

    def change(world: Any) -> None:
        world.misbehaviour["kubernetes"] = ""
        world.inventory_edits["deadlines.run"] = 40
        world.inventory_edits["deadlines.clean"] = 5

    with Lab(faults=["dind-slow"], change=change) as lab:
        suite = Suite(lab.inventory, tmp_path)
        suite.until(lambda: any("-dind-" in one["name"] for one in made(lab, resources=("pods",))))
        lab.change(lambda world: world.misbehaviour.update(kubernetes="silent"))
        ended = suite.end(within=40 + 5 + OVERHEAD)
        left = {one["name"] for one in made(lab, resources=("jobs",))}
    is_whole(ended)
    assert ended.status in {1, 6}
    assert left
    assert "preflight: cleaning up" in ended.output
    judged(ended, GITLAB)
