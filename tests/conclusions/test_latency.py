"""What losses and long ways are about, and what they explain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from preflight.conclusions import Conclusion, Facts, Observation, draw
from preflight.faults import DnsFault, PacketFault, PodFault, RegistryFault
from preflight.inventory import Inventory
from preflight.probes.latency import RoundTrips, Samples
from preflight.probes.layer_rate import LayerRate
from tests.conclusions import made
from tests.conclusions.made import RESOLVERS, WORKERS, observation

PLACES = ("GitLab", "registry.example.com", *RESOLVERS)


def trips(where: str, lost: Mapping[str, int], fault: PacketFault | None, *, far: float = 0.0) -> RoundTrips:
    samples = tuple(
        Samples(
            destination=place,
            taken=16,
            lost=lost.get(place, 0),
            round_trip=far if place == "GitLab" else 0.01,
            quickest=far if place == "GitLab" else 0.01,
        )
        for place in PLACES
        if lost.get(place, 0) < 16
    )
    cause = f"from {where}: {fault}" if fault else ""
    return RoundTrips(target=where, samples=samples, fault=fault, cause=cause, evidence=made.shown(where))


def losses(here: Mapping[str, int], *nodes: Mapping[str, int]) -> list[Observation]:
    def judged(where: str, lost: Mapping[str, int]) -> RoundTrips:
        return trips(where, lost, PacketFault.LOST if sum(lost.values()) > 1 else None)

    observations = [observation("here_losses", judged("here", here))]
    for worker, lost in zip(WORKERS, nodes, strict=True):
        names = ("node_losses", "node_round_trips")
        observations += [observation(name, judged(f"node {worker}", lost), worker=worker) for name in names]
    return observations


def concluded(inventory: Inventory, observations: list[Observation]) -> list[Conclusion]:
    drawn, errors = draw(Facts(inventory, observations))
    assert not errors
    return list(drawn)


def slow() -> Observation:
    """A registry that delivers slowly."""
    rate = LayerRate(
        target=PLACES[1],
        host=PLACES[1],
        rate=98_000,
        fault=RegistryFault.SLOW,
        cause="it delivers 98 kbit/s",
        evidence=made.shown(),
    )
    return observation("registry_rate", rate, registry="mirror")


def test_a_slow_registry_and_its_way_are_one_cause(inventory: Inventory) -> None:
    registry = {PLACES[1]: 4}

    def drawn(here: Mapping[str, int], node: Mapping[str, int]) -> list[tuple[str, list[str]]]:
        conclusions = concluded(inventory, [slow(), *losses(here, node, {}, {})])
        return [(each.name, [effect.name for effect in each.consequences]) for each in conclusions]

    assert drawn({}, {}) == [("registry-slow", [])]
    assert drawn(registry, {}) == [("packets-lost", ["registry-slow"])], "layers take the way on which packets are lost"
    assert sorted(drawn({}, {"GitLab": 4})) == [("packets-lost", []), ("registry-slow", [])]


SOME = {"GitLab": 2, "10.0.0.2": 3}


@pytest.mark.parametrize(
    ("here", "nodes", "about", "impact"),
    [
        ({}, ({}, {}, {}), None, ""),
        ({}, ({}, SOME, {}), ("k8s-worker-2",), "slows jobs on k8s-worker-2"),
        ({}, ({}, dict.fromkeys(PLACES, 2), {}), ("k8s-worker-2",), "slows jobs on k8s-worker-2"),
        ({}, ({}, {"GitLab": 8, "10.0.0.2": 5}, {}), ("k8s-worker-2",), "stops jobs that transfer much (docker pull,"),
        ({}, ({}, {"GitLab": 6, "10.0.0.2": 6}, {}), ("k8s-worker-2",), "slows jobs on k8s-worker-2"),
        ({"GitLab": 4}, ({"GitLab": 2}, {"GitLab": 3}, {"GitLab": 2}), ("192.168.1.50",), "slows all jobs"),
        ({}, (dict.fromkeys(PLACES, 2),) * 3, (), "slows all jobs"),
        ({"GitLab": 4}, ({}, {}, {}), ("192.168.1.50",), "no harm to jobs"),
    ],
)
def test_what_loses_packets(
    inventory: Inventory,
    here: Mapping[str, int],
    nodes: tuple[Mapping[str, int], ...],
    about: tuple[str, ...] | None,
    impact: str,
) -> None:
    drawn = concluded(inventory, losses(here, *nodes))
    assert [conclusion.about for conclusion in drawn] == ([] if about is None else [about])
    assert all(str(conclusion.impact).startswith(impact) for conclusion in drawn)


@pytest.mark.parametrize(
    ("lost", "elsewhere", "in_pods", "others"),
    [
        (5, 3, False, []),
        (16, 3, False, ["node-resolver-blocked"]),
        (16, 3, True, []),
        (16, 8, False, []),  # half of all packets are lost: that three queries were in vain shows nothing
    ],
)
def test_losses_explain_what_a_resolver_did_not_answer_as_long_as_it_answers(
    inventory: Inventory, lost: int, elsewhere: int, others: list[str], *, in_pods: bool
) -> None:
    observations = losses({}, {}, {"GitLab": elsewhere, "10.0.0.2": lost}, {})
    for worker in WORKERS:
        fault = DnsFault.TIMEOUT if worker == "k8s-worker-2" else None
        answers = made.lookups("10.0.0.2", fault, f"node {worker}", inventory.dns.names)
        targets = {"worker": worker, "resolver": "10.0.0.2"}
        observations += [observation(name, answers, **targets) for name in ("node_answers", "node_lookups")]
        if in_pods:
            reply = made.lookups("10.0.0.2", None, f"pod on {worker}", inventory.dns.names)
            observations.append(observation("pod_lookups", reply, **targets))
    drawn = concluded(inventory, observations)
    assert sorted(conclusion.name for conclusion in drawn) == sorted(["packets-lost", *others])


@pytest.mark.parametrize(
    ("far", "about", "impact"),
    [
        ((0.3, 0.3, 0.3), ("192.168.1.50",), "slows all jobs"),
        ((0.01, 0.3, 0.01), ("192.168.1.50", "k8s-worker-2"), "slows jobs on k8s-worker-2"),
    ],
)
def test_what_is_far_away(inventory: Inventory, far: tuple[float, ...], about: tuple[str, ...], impact: str) -> None:
    observations = [
        observation(
            "node_distance", trips(worker, {}, PacketFault.FAR if each > 0.2 else None, far=each), worker=worker
        )
        for worker, each in zip(WORKERS, far, strict=True)
    ]
    conclusion = concluded(inventory, observations)[0]
    assert conclusion.about == about
    assert str(conclusion.impact) == impact
    assert "mtr -rwzc 100 192.168.1.50" in conclusion.remedy[0]


def test_a_pull_that_losses_keep_from_ending_stops_jobs(inventory: Inventory) -> None:
    image = f"{inventory.registries['mirror'].host}/library/alpine:latest"
    worker = WORKERS[1]
    pull = made.pull(image, worker, PodFault.PULL_TIMEOUT)
    observations = losses({}, {}, SOME, {})
    observations += [observation(name, pull, worker=worker, image=image) for name in ("pod_image", "pod_pull")]
    (conclusion,) = concluded(inventory, observations)
    assert str(conclusion.impact).startswith("stops jobs that transfer much")
