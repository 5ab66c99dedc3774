from __future__ import annotations

import pytest

from lab.world import Request
from tests.bench import ratios


def test_figures_are_compared_with_those_of_the_run_before_and_with_their_limits() -> None:
    now = {"run, seconds": 4.0, "memory, MB": 100.0, "CPU, seconds": 3.5, "requests": 9, "requests by kind": {"dns": 9}}
    shown = ratios.lines(now, {"run, seconds": 3.0, "memory, MB": 99.0})
    assert [line.split(None, 2)[0] for line in shown] == ["run,", "memory,", "CPU,", "requests"]
    assert shown[0].endswith("4.00, was 3.00  WORSE")
    assert shown[1].endswith("100.00, was 99.00")
    assert shown[2].endswith("3.50, at most 3  TOO MUCH")


def test_requests_are_of_a_kind_without_their_names() -> None:
    path = "/api/v1/namespaces/gitlab/pods/runner-abc/log?container=build"
    assert ratios.kind_of(Request("kubernetes", "GET", path)) == "GET /api/v1/namespaces/…/pods/…/log"
    assert ratios.kind_of(Request("registry registry.example.com", "GET", "/v2/")) == "registry"


@pytest.mark.parametrize(("head_start", "longest"), [(0.5, 5.0), (6.0, 6.0)])
def test_the_slowest_chain_is_a_workers_pods_one_after_the_other(head_start: float, longest: float) -> None:
    facts = [
        {"name": name, "targets": {"worker": worker}, "took": took}
        for name, worker, took in (
            ("job_pod", "a", 2.0),
            ("dind_pod", "a", 3.0),
            ("job_pod", "b", 4.5),
            ("dind_head_start", "a", head_start),
            ("x", "b", 9.0),
        )
    ]
    assert ratios.Measured(9.0, 1.0, 1.0, facts=tuple(facts)).chain == longest
