"""Whichever facts are hidden: what is certain still holds, what is likely is the same or a more general cause."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preflight.conclusions import Facts
from preflight.faults import DnsFault, GitLabFault, PathFault, PodFault
from preflight.inventory import Inventory
from tests.conclusions import made
from tests.conclusions.hidden import unfounded
from tests.conclusions.made import RESOLVERS, WORKERS, observation, paths


def worlds(inventory: Inventory) -> Iterator[Facts]:
    """Environments: healthy, broken in one place, and in two."""
    t, r = PathFault.TIMEOUT, PathFault.REFUSED
    all_paths = [
        paths(None, (None,) * 3, (None,) * 3),
        paths(r, (r,) * 3, (r,) * 3),
        paths(t, (t,) * 3, (t,) * 3),
        paths(t, (None,) * 3, (None,) * 3),
        paths(None, (None, t, None), (None, t, None)),
        paths(None, (t,) * 3, (t,) * 3),
        paths(None, (None,) * 3, (t,) * 3),
        paths(None, (None,) * 3, (None, t, None)),
        paths(None, (None, GitLabFault.NOT_GITLAB, None), (None,) * 3),
    ]
    quiet, unknown = DnsFault.TIMEOUT, DnsFault.NXDOMAIN
    all_names = [
        {},
        {RESOLVERS[1]: quiet},
        dict.fromkeys(RESOLVERS, quiet),
        dict.fromkeys(RESOLVERS, unknown),
        {RESOLVERS[0]: unknown},
    ]
    all_pulls = [
        (None, (None,) * 3),
        (r, (PodFault.PULL_REFUSED,) * 3),
        (t, (None,) * 3),
        (None, (None, PodFault.PULL_TIMEOUT, None)),
        (None, (PodFault.PULL_UNAUTHORIZED,) * 3),
    ]
    all_clocks = [(0, 0, 0), (600, 600, 600), (0, 600, 0)]
    choices = itertools.product(all_paths, all_names, all_pulls, all_clocks)
    for path, faulty, (here, pods), offsets in itertools.islice(choices, 0, None, 7):
        observations = list(path)
        for resolver in RESOLVERS:
            fault_of_resolver = faulty.get(resolver)
            names = list(inventory.dns.names)
            observations.append(
                observation("here_lookups", made.lookups(resolver, fault_of_resolver, "here", names), resolver=resolver)
            )
            for worker in WORKERS:
                answers = made.lookups(resolver, fault_of_resolver, f"node {worker}", names)
                observations.append(observation("node_answers", answers, resolver=resolver, worker=worker))
        host = "registry.example.com"
        answer = made.registry(host, here)
        observations += [
            observation(name, answer, registry="mirror") for name in ("registry_reply", "registry_connection")
        ]
        for worker, fault, offset in zip(WORKERS, pods, offsets, strict=True):
            image = f"{host}/library/alpine:latest"
            observations.append(observation("pod_pull", made.pull(image, worker, fault), worker=worker, image=image))
            skew = GitLabFault.CLOCK_SKEW if offset else None
            observations.append(observation("node_clock", made.clock(worker, offset, skew), worker=worker))
        yield made.facts(inventory, *observations)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hiding_facts_never_makes_a_conclusion_that_the_whole_does_not_confirm(
    inventory: Inventory, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from(_worlds(inventory)))
    keys = [observation.key for observation in whole]
    share = data.draw(st.sampled_from((0.1, 0.3, 0.5, 0.8)))
    chances = data.draw(st.randoms(use_true_random=False))
    hidden = [key for key in keys if chances.random() < share]
    assert not unfounded(whole, whole.without(hidden))


_CACHE: list[list[Facts]] = []


def _worlds(inventory: Inventory) -> list[Facts]:
    if not _CACHE:
        _CACHE.append(list(worlds(inventory)))
    return _CACHE[0]


@pytest.mark.parametrize("vantage", ["node", "pod", "here"])
def test_a_whole_vantage_may_be_missing(inventory: Inventory, vantage: str) -> None:
    kinds = {"node": ("node_",), "pod": ("pod_",), "here": ("here_", "gitlab_", "registry_")}[vantage]
    for whole in _worlds(inventory)[::5]:
        hidden = [observation.key for observation in whole if observation.name.startswith(kinds)]
        assert not unfounded(whole, whole.without(hidden))
