"""One fault gives one root cause: what follows from another conclusion is shown under that one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from preflight.conclusions import Conclusion, Observation, draw
from preflight.evidence import Evidence
from preflight.faults import (
    ClusterFault,
    DnsFault,
    Fault,
    ManagerFault,
    MetricsFault,
    PathFault,
    PodFault,
    RunnerFault,
    StreamFault,
)
from preflight.inventory import Inventory
from preflight.probes.cluster import Metrics
from preflight.probes.dns import Answer, Lookups
from preflight.probes.environment import OwnNames
from preflight.probes.manager_logs import LogVerdict, ManagerLogs
from preflight.probes.managers import ManagerPod, ManagerPods, Rollout
from preflight.probes.monitoring import Warnings
from preflight.probes.registry import RegistryReply
from preflight.probes.runners import RegisteredManagers
from preflight.probes.streams import StreamCheck
from preflight.probes.transcript import agreement
from tests.conclusions import made
from tests.conclusions.made import RESOLVERS, WORKERS, observation, paths

MIRROR, PRIVATE = "registry.example.com", "private-registry.example.com"
T = PathFault.TIMEOUT


def causes(inventory: Inventory, *observations: Observation) -> dict[str, Conclusion]:
    drawn, errors = draw(made.facts(inventory, *observations))
    assert not errors
    return {conclusion.name: conclusion for conclusion in drawn}


def evidence(where: str = "here") -> Evidence:
    return Evidence(where=where, command="true")


# ---- resolvers ------------------------------------------------------------------------------------------------------


def resolvers(faulty: Mapping[str, Fault], *, nodes: bool = True) -> list[Observation]:
    """The resolvers' answers from here and, with the same faults, from the workers."""
    names = (MIRROR, PRIVATE)
    observations = []
    for resolver in RESOLVERS:
        fault = faulty.get(resolver)
        observations.append(
            observation("here_lookups", made.lookups(resolver, fault, "here", names), resolver=resolver)
        )
        for worker in WORKERS:
            seen = made.lookups(resolver, fault if nodes else None, f"node {worker}", names)
            observations.append(observation("node_answers", seen, resolver=resolver, worker=worker))
    return observations


def registry(name: str, host: str, fault: Fault | None) -> list[Observation]:
    reply = RegistryReply(target=host, host=host, fault=fault, cause=f"{host}: {fault}", evidence=evidence())
    return [observation(fact, reply, registry=name) for fact in ("registry_reply", "registry_connection")]


def pulls(host: str, fault: Fault | None, workers: Iterable[str] = WORKERS) -> list[Observation]:
    image = f"{host}/library/alpine:latest"
    return [observation("pod_pull", made.pull(image, name, fault), worker=name, image=image) for name in workers]


def test_names_that_fail_because_resolvers_do_are_no_root_causes(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *resolvers(dict.fromkeys(RESOLVERS, DnsFault.TIMEOUT)),
        *registry("mirror", MIRROR, PathFault.UNRESOLVED),
        *registry("private", PRIVATE, PathFault.UNRESOLVED),
        *pulls(MIRROR, PodFault.PULL_UNRESOLVED),
        *pulls(PRIVATE, PodFault.PULL_TIMEOUT),
    )
    assert set(drawn) == {"resolver-down"}
    assert {effect.name for effect in drawn["resolver-down"].consequences} == {"registry-name-unresolved"}
    explained = {name for name, _ in drawn["resolver-down"].explains}
    assert {"here_lookups", "registry_connection", "pod_pull"} <= explained


def test_a_registry_that_hangs_while_its_name_has_an_address_is_its_own_cause(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *resolvers({RESOLVERS[0]: DnsFault.TIMEOUT}),
        *registry("mirror", MIRROR, None),
        *pulls(MIRROR, PodFault.PULL_TIMEOUT),
    )
    assert set(drawn) == {"resolver-down", "nodes-registry-blocked"}


def test_a_resolver_that_only_this_machine_misses_explains_nothing_on_the_nodes(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *resolvers({RESOLVERS[0]: DnsFault.TIMEOUT}, nodes=False),
        *registry("mirror", MIRROR, None),
        *pulls(MIRROR, PodFault.PULL_UNRESOLVED),
    )
    assert set(drawn) == {"resolver-unreachable-from-here", "nodes-registry-blocked"}


def test_what_this_machines_own_resolvers_make_slow_is_told_under_the_dead_one(inventory: Inventory) -> None:
    silent = resolvers({RESOLVERS[0]: DnsFault.TIMEOUT})

    def slow(*nameservers: str) -> Observation:
        names = OwnNames(
            target="this machine", nameservers=nameservers, fault=DnsFault.SLOW, cause="5 s", evidence=evidence()
        )
        return observation("own_names", names)

    assert set(causes(inventory, *silent, slow(*RESOLVERS))) == {"resolver-down"}
    assert set(causes(inventory, *silent, slow("10.9.9.9"))) == {"resolver-down", "own-resolvers-slow"}


def answers(wrong: Iterable[str]) -> list[Observation]:
    """The private registry's address as each resolver gives it: some give another one."""
    by_resolver = []
    for resolver in RESOLVERS:
        address = "192.168.1.161" if resolver in wrong else "192.168.1.61"
        given = (Answer(name=PRIVATE, addresses=frozenset({address})),)
        by_resolver.append(Lookups(target=resolver, resolver=resolver, answers=given, evidence=evidence()))
    observations = [observation("here_lookups", lookups, resolver=lookups.resolver) for lookups in by_resolver]
    return [*observations, observation("resolver_agreement", agreement(by_resolver))]


def test_a_registry_at_an_address_that_resolvers_disagree_on_is_explained_by_them(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *answers(RESOLVERS[:2]),
        *registry("private", PRIVATE, None),
        *pulls(PRIVATE, PodFault.PULL_TIMEOUT),
    )
    assert set(drawn) == {"resolvers-disagree"}
    assert [effect.name for effect in drawn["resolvers-disagree"].consequences] == ["nodes-registry-blocked"]


def test_another_registry_is_not_explained_by_a_name_that_it_does_not_have(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *answers(RESOLVERS[:2]),
        *registry("mirror", MIRROR, None),
        *pulls(MIRROR, PodFault.PULL_TIMEOUT),
    )
    assert set(drawn) == {"resolvers-disagree", "nodes-registry-blocked"}


@pytest.mark.parametrize(
    "lies", [{RESOLVERS[0]: (MIRROR, PRIVATE)}, {RESOLVERS[0]: (MIRROR,), RESOLVERS[1]: (PRIVATE,)}]
)
def test_resolvers_that_give_other_addresses_than_the_inventory_do_not_just_disagree(
    inventory: Inventory, lies: Mapping[str, tuple[str, ...]]
) -> None:
    by_resolver = []
    for resolver in RESOLVERS:
        given = tuple(
            Answer(name=name, fault=DnsFault.WRONG_ANSWER, addresses=frozenset({"192.168.1.99"}))
            if name in lies.get(resolver, ())
            else Answer(name=name, addresses=frozenset({"192.168.1.60"}))
            for name in (MIRROR, PRIVATE)
        )
        fault = DnsFault.WRONG_ANSWER if resolver in lies else None
        by_resolver.append(Lookups(target=resolver, resolver=resolver, answers=given, fault=fault, evidence=evidence()))
    drawn, _ = draw(
        made.facts(
            inventory,
            *(observation("here_lookups", lookups, resolver=lookups.resolver) for lookups in by_resolver),
            observation("resolver_agreement", agreement(by_resolver)),
            *registry("mirror", MIRROR, PathFault.UNREACHABLE),
            *registry("private", PRIVATE, PathFault.UNREACHABLE),
        )
    )
    wrong = {(conclusion.name, conclusion.about) for conclusion in drawn}
    assert wrong == {("name-wrong-address", (*names, resolver)) for resolver, names in lies.items()}


def test_names_inside_a_daemon_are_wrong_where_resolvers_disagree(inventory: Inventory) -> None:
    wrong = made.lookups("dind on k8s-worker-1", DnsFault.WRONG_ANSWER, "dind on k8s-worker-1", (PRIVATE,))
    other = made.lookups("dind on k8s-worker-1", DnsFault.WRONG_ANSWER, "dind on k8s-worker-1", (MIRROR,))
    lying = answers(RESOLVERS[:2])
    assert set(causes(inventory, *lying, observation("dind_lookups", wrong, worker=WORKERS[0]))) == {
        "resolvers-disagree"
    }
    assert set(causes(inventory, *lying, observation("dind_lookups", other, worker=WORKERS[0]))) == {
        "resolvers-disagree",
        "dind-names",
    }


# ---- managers -------------------------------------------------------------------------------------------------------


def managers(*pods: ManagerPod, fault: ManagerFault) -> list[Observation]:
    """The managers' pods: their readiness is judged from them."""
    listed = ManagerPods(target="r", wanted=3, pods=pods, fault=fault, cause=f"{fault}", evidence=evidence())
    return [observation(name, listed) for name in ("manager_pods", "manager_readiness")]


def logs(*pods: str) -> Observation:
    verdicts = tuple(LogVerdict(pod=pod, fault=ManagerFault.GITLAB_UNREACHABLE) for pod in pods)
    fault = ManagerFault.GITLAB_UNREACHABLE
    return observation("manager_logs", ManagerLogs(target="r", logs=verdicts, fault=fault, evidence=evidence()))


def home(number: int, *, ready: bool = False, end: str = "Error, exit 143") -> ManagerPod:
    return ManagerPod(name=f"m-{number}", node=WORKERS[number - 1], ready=ready, restarts=2, ended=20.0, end=end)


def test_managers_that_gitlab_does_not_answer_are_explained_by_that(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *paths(None, (None,) * 3, (T,) * 3),
        *managers(home(1), home(2), home(3), fault=ManagerFault.NOT_READY),
        logs("m-1", "m-3"),
    )
    assert set(drawn) == {"pods-path-blocked"}


def test_only_managers_on_the_blocked_node_are_explained_by_its_path(inventory: Inventory) -> None:
    blocked = paths(None, (None, T, None), (None, T, None))
    running = ManagerPod(name="m-1", node=WORKERS[0], ready=True)
    there = managers(running, home(2), fault=ManagerFault.NOT_READY)
    assert set(causes(inventory, *blocked, *there)) == {"node-path-blocked"}
    elsewhere = managers(home(1), home(2), fault=ManagerFault.NOT_READY)
    assert set(causes(inventory, *blocked, *elsewhere)) == {"node-path-blocked", "managers-not-ready"}


def test_a_manager_without_memory_is_no_consequence_of_gitlab(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *paths(PathFault.REFUSED, (PathFault.REFUSED,) * 3, (PathFault.REFUSED,) * 3),
        *managers(home(1, end="OOMKilled, exit 137"), fault=ManagerFault.CRASH_LOOP),
    )
    assert set(drawn) == {"gitlab-port-closed", "manager-crashes"}


def test_this_machine_alone_being_cut_off_explains_no_manager(inventory: Inventory) -> None:
    drawn = causes(
        inventory,
        *paths(T, (None,) * 3, (None,) * 3),
        *managers(home(1), home(2), home(3), fault=ManagerFault.NOT_READY),
    )
    assert set(drawn) == {"gitlab-unreachable-from-here", "managers-not-ready"}


def warnings(*lines: str) -> Observation:
    return observation(
        "manager_warnings", Warnings(target="r", lines=lines, fault=MetricsFault.WARNINGS, evidence=evidence())
    )


def test_only_warnings_of_probes_follow_from_gitlab(inventory: Inventory) -> None:
    down = paths(PathFault.REFUSED, (PathFault.REFUSED,) * 3, (PathFault.REFUSED,) * 3)
    probe = "20 s ago: Unhealthy  pod/m-1  Liveness probe failed: Verifying runner... failed"
    assert set(causes(inventory, *down, warnings(probe))) == {"gitlab-port-closed"}
    mount = "20 s ago: FailedMount  pod/m-1  secret not found"
    assert set(causes(inventory, *down, warnings(probe, mount))) == {"gitlab-port-closed", "manager-warning-events"}


def rollout(waits_for: str) -> Observation:
    stuck = ManagerFault.ROLLOUT_STUCK
    return observation("manager_rollout", Rollout(target="r", fault=stuck, cause=waits_for, evidence=evidence()))


@pytest.mark.parametrize(
    ("waits_for", "expected"),
    [
        ("m-3: CrashLoopBackOff: back-off 40s", {"manager-config-refused"}),
        ("m-3: ImagePullBackOff: Back-off pulling image", {"manager-config-refused", "rollout-stuck"}),
    ],
    ids=["it ends", "it has no image"],
)
def test_a_rollout_whose_new_managers_end_is_explained_by_their_logs(
    waits_for: str, expected: set[str], inventory: Inventory
) -> None:
    refused = ManagerFault.CONFIG_REFUSED
    verdicts = (LogVerdict(pod="m-3", fault=refused),)
    said = observation("manager_logs", ManagerLogs(target="r", logs=verdicts, fault=refused, evidence=evidence()))
    assert set(causes(inventory, said, rollout(waits_for))) == expected


def test_a_runner_whose_managers_are_refused_is_offline_for_that_reason(inventory: Inventory) -> None:
    rejected = ManagerFault.TOKEN_REJECTED
    verdicts = (LogVerdict(pod="m-1", fault=rejected),)
    said = observation("manager_logs", ManagerLogs(target="r", logs=verdicts, fault=rejected, evidence=evidence()))
    registered = RegisteredManagers(target="runner #7", fault=RunnerFault.OFFLINE, cause="none", evidence=evidence())
    assert set(causes(inventory, said, observation("runner_online", registered))) == {"manager-token-rejected"}
    assert set(causes(inventory, observation("runner_online", registered))) == {"runner-offline"}


# ---- kubelets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unreachable", [True, False])
def test_a_kubelet_that_is_not_reached_explains_a_metrics_api_that_is_silent(
    inventory: Inventory, *, unreachable: bool
) -> None:
    silent = Metrics(
        target="metrics.k8s.io", fault=ClusterFault.METRICS_UNAVAILABLE, cause="silent", evidence=evidence()
    )
    fault = StreamFault.KUBELET_UNREACHABLE if unreachable else None
    logs = StreamCheck(target=WORKERS[0], node=WORKERS[0], way="logs", fault=fault, cause="", evidence=evidence())
    drawn = causes(inventory, observation("metrics_api", silent), observation("pod_logs", logs, worker=WORKERS[0]))
    assert set(drawn) == {"kubelet-unreachable-from-api" if unreachable else "metrics-unavailable"}
