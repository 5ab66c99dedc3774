"""A LimitRange that refuses a job's pod is named, with its bounds; the API server's messages do not name it."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.evidence import Evidence
from preflight.faults import PodFault
from preflight.probes.limit_ranges import named
from preflight.probes.pods import Admission

INVALID = (
    'Pod "preflight-dry-run" is invalid: [spec.containers[1].resources.requests: Invalid value: "64Mi": must be less '
    "than or equal to memory limit of 32Mi, spec.initContainers[0].resources.requests: Invalid value: "
    '"64Mi": must be less than or equal to memory limit of 32Mi]'
)


def limit_range(name: str = "small", kind: str = "Container", **limits: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"limits": [{"type": kind, **limits}]}}


def refused(cause: str, fault: PodFault = PodFault.REFUSED_BY_API) -> Admission:
    evidence = Evidence(where="here", command="kubectl create --dry-run=server")
    return Admission(target="gitlab/preflight-dry-run", fault=fault, cause=cause, evidence=evidence)


@pytest.mark.parametrize(
    ("cause", "limits", "sentence"),
    [
        (
            INVALID,
            limit_range(default={"memory": "32Mi"}),
            "LimitRange small gives containers without a memory limit one of 32Mi, which is less than they request",
        ),
        (
            INVALID,
            limit_range(default={"memory": "33554432"}, max={"memory": "64Mi"}),
            "LimitRange small gives containers without a memory limit one of 32Mi (its max is 64Mi), which is less",
        ),
        (
            "maximum memory usage per Container is 512Mi, but limit is 1Gi",
            limit_range(max={"memory": "512Mi"}),
            "LimitRange small has a max of 512Mi memory a Container: maximum memory usage",
        ),
        (
            "minimum cpu usage per Pod is 500m, but request is 100m",
            limit_range(kind="Pod", min={"cpu": "0.5"}),
            "LimitRange small has a min of 500m cpu a Pod: minimum cpu usage",
        ),
    ],
    ids=["default", "default and max", "max", "min of a pod"],
)
def test_the_limit_range_is_named_with_its_bounds(cause: str, limits: dict[str, Any], sentence: str) -> None:
    other = limit_range("other", default={"memory": "1Gi"}, max={"memory": "4Gi"})
    admission = named(refused(cause), [other, limits])
    assert admission.fault is PodFault.LIMIT_RANGE
    assert admission.cause.startswith(sentence)
    assert "other" not in admission.cause


def test_what_no_limit_range_explains_stays_as_it_is() -> None:
    invalid = refused(INVALID)
    assert named(invalid, [limit_range(default={"memory": "1Gi"})]) is invalid, "a limit of the values themselves"
    webhook = refused("admission webhook said memory limit of 32Mi", PodFault.WEBHOOK)
    assert named(webhook, [limit_range(default={"memory": "32Mi"})]) is webhook


def test_a_bound_that_is_no_quantity_is_no_bound() -> None:
    invalid = refused(INVALID)
    assert named(invalid, [limit_range(default={"memory": "much"}), {"metadata": {"name": "empty"}}]) is invalid
