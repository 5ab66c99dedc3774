"""A full quota is a fault, and a nearly full one is left alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from preflight.evidence import Unmeasured
from preflight.faults import PodFault
from preflight.probes.quota import Needs, quota_room
from tests.probes.apiserver import quota

Json = dict[str, Any]

OURS = Needs({"cpu": Decimal("0.01"), "memory": Decimal(2**25)}, {"memory": Decimal(2**27)})
JOB = Needs({"cpu": Decimal(1), "memory": Decimal(2**30)}, {"memory": Decimal(2**31)})


def test_a_quota_with_room_is_no_obstacle() -> None:
    room = quota({"pods": "10", "requests.cpu": "8", "limits.memory": "64Gi"}, {"pods": "3", "requests.cpu": "2"})
    assert quota_room([room], OURS, JOB) == (None, "")


@pytest.mark.parametrize(
    ("hard", "used", "cause"),
    [
        ({"pods": "10"}, {"pods": "10"}, "quota small leaves no room for a job: pods 10 of 10 used"),
        ({"requests.cpu": "4"}, {"requests.cpu": "3500m"}, "requests.cpu 3500m of 4 used; a job wants 1"),
        ({"cpu": "4"}, {"cpu": "3500m"}, "cpu 3500m of 4 used; a job wants 1"),
        ({"limits.memory": "8Gi"}, {"limits.memory": "7Gi"}, "limits.memory 7Gi of 8Gi used; a job wants 2Gi"),
    ],
)
def test_a_quota_without_room_for_a_job_is_a_fault_with_numbers(
    hard: dict[str, str], used: dict[str, str], cause: str
) -> None:
    fault, why = quota_room([quota(hard, used)], OURS, JOB)
    assert fault is PodFault.QUOTA
    assert cause in why


def test_the_last_tenth_of_a_quota_is_left_to_jobs() -> None:
    assert quota_room([quota({"pods": "10"}, {"pods": "8"})], OURS, JOB) == (None, "")
    with pytest.raises(Unmeasured, match=r"quota small is nearly used \(pods 9 of 10 used\)") as caught:
        quota_room([quota({"pods": "10"}, {"pods": "9"})], OURS, JOB)
    assert caught.value.fault is PodFault.QUOTA


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({"scopes": ["NotTerminating"]}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["Terminating", "NotBestEffort"]}, True),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}, False),
    ],
)
def test_a_quota_with_scopes_counts_only_what_they_take_in(spec: Json, counts: bool) -> None:
    fault, _ = quota_room([quota({"pods": "1"}, {"pods": "1"}, **spec)], OURS, JOB)
    assert (fault is PodFault.QUOTA) is counts
