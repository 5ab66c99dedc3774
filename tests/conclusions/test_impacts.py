"""What root causes do to jobs: derived from the facts, and not from their names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from preflight.conclusions import Facts, Observation, draw
from preflight.conclusions.impacts import managers, room
from preflight.conclusions.single_fact import ROWS, single
from preflight.evidence import Blocked, Unmeasured
from preflight.fact import TARGETS
from preflight.facts.cluster import worker_placement
from preflight.facts.release import manager_readiness
from preflight.faults import ClusterFault, DnsFault, Fault, GitLabFault, ManagerFault, PathFault, PodFault, ReleaseFault
from preflight.impact import Harm
from preflight.inventory import Inventory
from preflight.probes.chart_repository import ChartVersion
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.probes.managers import ManagerPod, ManagerPods
from preflight.probes.nodes import NodeState
from preflight.run import Stage
from tests.conclusions import made
from tests.conclusions.made import RESOLVERS, UNKNOWN, WORKERS, facts, lookups, observation, paths, shown

NAMES = ("registry.example.com",)
TIMEOUT = PathFault.TIMEOUT


def impacts(known: Facts) -> dict[str, str]:
    drawn, errors = draw(known)
    assert not errors
    return {conclusion.name: str(conclusion.impact) for conclusion in drawn}


def test_no_row_and_no_conclusion_can_be_declared_without_an_impact() -> None:
    assert all(callable(row.impact) for row in ROWS)
    with pytest.raises(TypeError):
        single(ROWS[0].cause, remedy=("mend it",))  # type: ignore[call-arg]
    assert len(ROWS) > 100


def target_of(kind: str, inventory: Inventory) -> str:
    return next(iter(TARGETS[kind](inventory)), "made-up")


@pytest.mark.parametrize("known", [False, True])
def test_every_row_says_what_it_does_even_where_nothing_else_is_known(inventory: Inventory, known: bool) -> None:
    for row in ROWS:
        for fault in row.faults or (PathFault.TIMEOUT,):
            measured = made.reply(fault)
            observed = [
                Observation(spec.name, {kind: target_of(kind, inventory) for kind in spec.targets}, value=measured)
                for spec in row.facts
            ]
            harm = row.impact(facts(inventory, *(observed if known else [])), observed)
            assert harm.jobs, row.cause.name
            assert str(harm), row.cause.name


@pytest.mark.parametrize(
    ("dead", "impact"),
    [
        (RESOLVERS[:1], "slows all jobs: 2 of 3 resolvers answer"),
        (RESOLVERS[:2], "slows all jobs: 1 of 3 resolvers answer"),
        (RESOLVERS, "stops all jobs"),
    ],
)
@pytest.mark.parametrize("fault", [DnsFault.TIMEOUT, DnsFault.SERVFAIL, DnsFault.REFUSED])
def test_dead_resolvers_slow_jobs_until_none_is_left(
    inventory: Inventory, dead: tuple[str, ...], impact: str, fault: DnsFault
) -> None:
    observed = [
        observation(name, lookups(each, fault if each in dead else None, "there", NAMES), resolver=each, **targets)
        for each in RESOLVERS
        for name, targets in (
            ("here_lookups", {}),
            *(("node_answers", {"worker": worker}) for worker in WORKERS),
            *(("pod_lookups", {"worker": worker}) for worker in WORKERS),
        )
    ]
    assert set(impacts(facts(inventory, *observed)).values()) == {impact}


def test_a_resolver_that_one_node_does_not_reach_slows_jobs_there(inventory: Inventory) -> None:
    observed = [observation("here_lookups", lookups(each, None, "here", NAMES), resolver=each) for each in RESOLVERS]
    for worker in WORKERS:
        for each in RESOLVERS:
            fault = DnsFault.TIMEOUT if (worker, each) == (WORKERS[1], RESOLVERS[0]) else None
            answers = lookups(each, fault, f"node {worker}", NAMES)
            observed.append(observation("node_answers", answers, worker=worker, resolver=each))
    assert impacts(facts(inventory, *observed)) == {
        "node-resolver-blocked": f"slows jobs on {WORKERS[1]}: 2 of 3 resolvers answer"
    }


@pytest.mark.parametrize(
    ("here", "nodes", "pods", "impact"),
    [
        (TIMEOUT, [TIMEOUT] * 3, [TIMEOUT] * 3, "stops all jobs"),
        (None, [None, TIMEOUT, None], [None, TIMEOUT, None], f"stops jobs on {WORKERS[1]}"),
        (None, [None, TIMEOUT, None], [None] * 3, "no harm to jobs: pods reach GitLab, the nodes themselves do not"),
        (None, [None] * 3, [TIMEOUT] * 3, "stops all jobs"),
        (TIMEOUT, [None] * 3, [None] * 3, "no harm to jobs: the cluster reaches GitLab, this machine alone does not"),
        (
            TIMEOUT,
            [UNKNOWN] * 3,
            [UNKNOWN] * 3,
            "impact on jobs not seen: GitLab was looked at from this machine alone",
        ),
        (PathFault.REFUSED, [UNKNOWN] * 3, [UNKNOWN] * 3, "stops all jobs"),
    ],
)
def test_who_reaches_gitlab_decides(
    inventory: Inventory,
    here: Fault | None,
    nodes: list[Fault | Unmeasured | None],
    pods: list[Fault | Unmeasured | None],
    impact: str,
) -> None:
    assert set(impacts(facts(inventory, *paths(here, nodes, pods))).values()) == {impact}


def test_an_answer_of_the_server_itself_is_the_same_for_everyone(inventory: Inventory) -> None:
    reply = made.reply(GitLabFault.BAD_GATEWAY)
    alone = [observation(name, reply) for name in ("gitlab_reply", "gitlab_service")]
    assert impacts(facts(inventory, *alone)) == {"gitlab-backend-down": "stops all jobs"}


def placement(worker: str, *, cordoned: bool) -> Observation:
    fault = PodFault.UNSCHEDULABLE_CORDONED if cordoned else None
    state = NodeState(target=worker, node=worker, fault=fault, cause="cordoned" * cordoned, evidence=shown())
    return observation("worker_placement", state, worker=worker)


def fitting(number: int) -> Observation:
    nodes = tuple(NodeRoom(node=worker, fits=number, free={}, limited_by="", eligible=True) for worker in WORKERS)
    space = Headroom(
        target="jobs",
        wanted=30,
        fits=number,
        capacity=number,
        by_node=nodes,
        requests={},
        evidence=shown(),
        fault=ClusterFault.NODE_PRESSURE,
        cause="no room",
    )
    blocked = Blocked("worker_placement", {"worker": WORKERS[0]}, "cordoned", failed=True, measured=space)
    return observation("headroom", blocked)


@pytest.mark.parametrize(
    ("cordoned", "fits", "impact"),
    [
        (1, 30, "takes room: 2 of 3 workers take jobs, 30 of 30 jobs fit"),
        (2, 4, "takes room: 1 of 3 workers take jobs, 4 of 30 jobs fit"),
        (2, 0, "stops all jobs"),
    ],
)
def test_a_cordoned_node_takes_room_unless_nothing_fits_any_more(
    inventory: Inventory, cordoned: int, fits: int, impact: str
) -> None:
    placements = [placement(worker, cordoned=place < cordoned) for place, worker in enumerate(WORKERS)]
    known = facts(inventory, *placements, fitting(fits))
    assert str(room(known, known.failing(worker_placement))) == impact


def test_where_every_worker_is_cordoned_no_job_runs(inventory: Inventory) -> None:
    known = facts(inventory, *(placement(worker, cordoned=True) for worker in WORKERS))
    assert str(room(known, known.failing(worker_placement))) == "stops all jobs"


@pytest.mark.parametrize(
    ("ready", "fault", "impact"),
    [
        (0, ManagerFault.CRASH_LOOP, "stops all jobs"),
        (2, ManagerFault.NOT_READY, "removes a reserve: 2 of 3 managers take jobs"),
        (3, ManagerFault.RESTARTED, "no harm to jobs: it is over: every manager is ready"),
    ],
)
def test_managers_stop_jobs_when_none_is_left(
    inventory: Inventory, ready: int, fault: ManagerFault, impact: str
) -> None:
    pods = tuple(ManagerPod(name=f"manager-{place}", ready=place < ready) for place in range(3))
    state = ManagerPods(target="managers", wanted=3, pods=pods, fault=fault, cause="so", evidence=shown())
    known = facts(inventory, observation("manager_readiness", state))
    assert str(managers(known, known.failing(manager_readiness))) == impact


@pytest.mark.parametrize(("stage", "harm"), [(Stage.AUTO, Harm.STOPS), (Stage.UPGRADE, Harm.STOPS)])
def test_a_chart_that_is_missing_stops_what_is_still_to_be_installed(
    inventory: Inventory, stage: Stage, harm: Harm
) -> None:
    chart = ChartVersion(
        target="chart", version="0.80.0", fault=ReleaseFault.CHART_MISSING, cause="so", evidence=shown()
    )
    drawn, _ = draw(Facts(inventory, [observation("chart_version", chart)], stage=stage))
    assert drawn[0].impact.harm is harm, "nothing shows that a release is installed"


def test_hiding_facts_never_makes_harm_of_none(inventory: Inventory) -> None:
    whole = paths(TIMEOUT, [None] * 3, [None] * 3)
    for hidden in range(len(whole)):
        known = facts(inventory, *(replace(each) for place, each in enumerate(whole) if place != hidden))
        assert all("stops" not in words for words in impacts(known).values())
