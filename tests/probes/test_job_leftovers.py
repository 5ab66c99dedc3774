"""What jobs leave behind in their namespace, and the quotas that it fills."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from preflight.evidence import Unmeasured
from preflight.faults import ClusterFault
from preflight.probes import job_leftovers
from preflight.probes.job_leftovers import JobLeftovers
from preflight.probes.quota import Needs
from tests.probes.apiserver import Asked, Reply, quota, scripted_api, status

Json = dict[str, Any]
NOW = datetime(2025, 10, 9, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
JOB = Needs({"pods": Decimal(1), "cpu": Decimal("0.5")}, {"cpu": Decimal(2)})


def made(name: str, days: float, **metadata: Any) -> Json:
    stamp = datetime.fromtimestamp(NOW - days * DAY, tz=UTC).isoformat().replace("+00:00", "Z")
    return {"metadata": {"name": name, "creationTimestamp": stamp, **metadata}}


def pod(number: int, days: float, phase: str = "Running", cpu: str = "500m") -> Json:
    item = made(f"runner-zaxruzyo8-project-12-concurrent-{number}-abcdefgh", days)
    container = {"name": "build", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "2"}}}
    return item | {"spec": {"containers": [container]}, "status": {"phase": phase}}


def secret(number: int, days: float, **metadata: Any) -> Json:
    return made(f"runner-zaxruzyo8-project-12-concurrent-{number}-abcdefgh", days, **metadata)


def leftovers(**listed: list[Json]) -> JobLeftovers:
    return job_leftovers.read_job_leftovers(listed, "ci", longest=DAY, now=NOW)


def test_objects_of_running_jobs_are_no_leftovers() -> None:
    whole = leftovers(pods=[pod(0, 0.9)], secrets=[secret(0, 0.95)])
    assert whole.fault is None
    assert whole.counts == {}


def test_a_secret_of_a_living_pod_is_no_leftover_by_a_moment() -> None:
    owner = [{"kind": "Pod", "name": pod(0, 0)["metadata"]["name"]}]
    assert leftovers(pods=[pod(0, 0.999)], secrets=[secret(0, 1.001, ownerReferences=owner)]).fault is None
    assert leftovers(pods=[], secrets=[secret(0, 1.001, ownerReferences=owner)]).fault is not None


def test_leftovers_are_counted_by_kind_with_the_commands_that_list_and_delete_them() -> None:
    whole = leftovers(pods=[pod(0, 3, "Failed"), pod(1, 0.1)], secrets=[secret(0, 3), secret(1, 9)], configmaps=[])
    assert whole.fault is ClusterFault.JOB_LEFTOVERS
    assert whole.counts == {"pods": 1, "secrets": 2}
    assert whole.cause == ("namespace ci has 1 pod, 2 secrets of jobs, which are older than 24 h, the oldest 9 days")
    assert whole.listing == (
        "kubectl -n ci get pods,secrets --sort-by=.metadata.creationTimestamp -o name"
        " | grep '/runner-.*-project-[0-9]' | head -n 3"
    )
    assert whole.deleting == f"{whole.listing} | xargs kubectl -n ci delete"


@pytest.mark.parametrize(
    ("hard", "used", "resource"),
    [
        ({"count/secrets": "9"}, {"count/secrets": "9"}, "count/secrets"),
        ({"secrets": "9"}, {"secrets": "9"}, "count/secrets"),
        ({"count/configmaps": "4"}, {"count/configmaps": "4"}, "count/configmaps"),
        ({"count/pods": "5"}, {"count/pods": "5"}, "count/pods"),
        ({"pods": "5"}, {"pods": "5"}, "pods"),
        ({"requests.cpu": "4"}, {"requests.cpu": "3800m"}, "requests.cpu"),
        ({"cpu": "4"}, {"cpu": "3800m"}, "requests.cpu"),
        ({"limits.cpu": "8"}, {"limits.cpu": "7"}, "limits.cpu"),
    ],
)
def test_a_quota_that_has_room_only_without_them_is_filled(hard: Json, used: Json, resource: str) -> None:
    whole = leftovers(pods=[pod(0, 3), pod(1, 4, "Failed")], secrets=[secret(0, 3)], configmaps=[secret(0, 3)])
    judged = job_leftovers.filling_quotas(whole, [quota(hard, used)], JOB)
    assert judged.fault is ClusterFault.QUOTA_FILLED
    assert judged.resources == (resource,)
    assert "of quota small is used up" in judged.cause


@pytest.mark.parametrize(
    ("hard", "used"),
    [
        ({"count/secrets": "9"}, {"count/secrets": "8"}),  # the next one fits
        ({"pods": "5"}, {"pods": "7"}),  # it would not fit without them either
        ({"services": "1"}, {"services": "1"}),  # none of their kind
        ({"memory": "1Gi"}, {"memory": "1Gi"}),  # of which they take nothing
    ],
)
def test_a_quota_that_they_do_not_fill_is_no_fault(hard: Json, used: Json) -> None:
    whole = leftovers(pods=[pod(0, 3)], secrets=[secret(0, 3)])
    assert job_leftovers.filling_quotas(whole, [quota(hard, used)], JOB).fault is None


def test_a_pod_that_has_ended_takes_nothing_of_requests() -> None:
    whole = leftovers(pods=[pod(0, 3, "Succeeded")])
    assert job_leftovers.filling_quotas(whole, [quota({"pods": "3"}, {"pods": "3"})], JOB).fault is None


def asked_of(folder: Path, *, forbidden: str = "") -> tuple[JobLeftovers, list[Asked]]:
    def answer(asked: Asked) -> Reply:
        resource = asked.path.rsplit("/", 1)[-1]
        if resource == forbidden:
            message = f'{resource} is forbidden: User "ops" cannot list resource "{resource}" in API group ""'
            return Reply(status(403, "Forbidden", message), 403)
        if resource == "ci":
            return Reply({"metadata": {"name": "ci"}})
        return Reply({"items": [pod(0, 3), made("default-token", 90)] if resource == "pods" else [secret(0, 3)]})

    with scripted_api(folder, answer) as (api, asked):
        return job_leftovers.job_leftovers(api, "ci", longest=DAY, now=NOW), asked


def test_only_metadata_is_asked_for_where_values_are_secret(tmp_path: Path) -> None:
    whole, asked = asked_of(tmp_path)
    assert whole.counts == {"pods": 1, "secrets": 1, "configmaps": 1}
    accepted = {each.path.rsplit("/", 1)[-1]: each.headers["accept"] for each in asked}
    assert "PartialObjectMetadataList" in accepted["secrets"]
    assert "PartialObjectMetadataList" in accepted["configmaps"]
    assert "PartialObjectMetadataList" not in accepted["pods"], "what they ask for is in their spec"


def test_what_may_not_be_listed_is_named(tmp_path: Path) -> None:
    whole, _ = asked_of(tmp_path, forbidden="secrets")
    assert whole.unread == ("secrets",)
    assert "may not be listed: secrets" in whole.evidence.observed


def test_without_the_right_to_list_pods_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured):
        asked_of(tmp_path, forbidden="pods")
