"""What tuned values ask for, beside what nodes have."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from preflight.evidence import Evidence
from preflight.faults import TuningFault
from preflight.jobshape import JobShape, job_pod_requests
from preflight.probes import placement
from preflight.probes.cluster import Node, Nodes, read_nodes
from preflight.sizes import OPTIONS, SCENARIOS, resized

LONG_WATCH = Evidence(where="here", command="kubectl get nodes")


def nodes(**labels: dict[str, str]) -> Nodes:
    items = [
        {"metadata": {"name": name, "labels": own}, "spec": {}, "status": {"nodeInfo": {}, "conditions": []}}
        for name, own in labels.items()
    ]
    return Nodes(target="nodes", nodes=read_nodes(items), evidence=LONG_WATCH)


def prefers(key: str, *values: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}


def requires(*terms: dict[str, Any]) -> dict[str, Any]:
    listed = [{"matchExpressions": [term]} for term in terms]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": listed}}}


CLUSTER = nodes(a={"workload": "ci"}, b={"disk": "ssd"}, c={})
CI = {"key": "workload", "operator": "In", "values": ["ci"]}
GPU = {"key": "gpu", "operator": "Exists"}


@pytest.mark.parametrize(
    ("selector", "affinity", "fitting"),
    [
        ({}, None, ("a", "b", "c")),
        ({"workload": "ci"}, None, ("a",)),
        ({}, requires(CI), ("a",)),
        ({}, requires(CI, {"key": "disk", "operator": "Exists"}), ("a", "b")),
        ({}, requires({**CI, "operator": "NotIn"}), ("b", "c")),
    ],
)
def test_the_nodes_that_are_asked_for(selector: dict[str, str], affinity: Any, fitting: tuple[str, ...]) -> None:
    found = placement.placement("jobs", selector, affinity, CLUSTER)
    assert (found.fault, found.nodes) == (None, fitting)


@pytest.mark.parametrize(
    ("selector", "affinity", "words"),
    [
        ({"workload": "batch"}, None, "nodes with workload=batch, and no node has that"),
        ({"workload": "ci", "disk": "ssd"}, None, "workload=ci and disk=ssd"),
        ({}, requires(GPU), "nodes with Exists gpu"),
        ({"disk": "ssd"}, requires(CI), "disk=ssd and workload in (ci)"),
    ],
)
def test_labels_that_no_node_has(selector: dict[str, str], affinity: Any, words: str) -> None:
    found = placement.placement("managers", selector, affinity, CLUSTER)
    assert found.fault is TuningFault.NO_NODE_MATCHES
    assert words in found.cause


def test_a_preference_that_no_node_meets_is_told_and_the_pods_still_have_nodes() -> None:
    managers = placement.placement("managers", {}, prefers("workload", "ci"), CLUSTER)
    jobs = placement.placement("jobs", {}, prefers("workload", "batch", "night"), CLUSTER)
    assert (managers.fault, jobs.fault) == (None, None)
    found = placement.preferences((managers, jobs))
    assert found.fault is TuningFault.PREFERENCE_UNMET
    assert found.cause == "jobs prefer workload in (batch, night); no node has that"
    assert placement.preferences((managers,)).fault is None


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("", None),
        ('[runners.cache]\nType = ""', None),
        ('[runners.cache]\nType = "s3"', ("s3.amazonaws.com", 443)),
        ('[runners.cache]\nType = "s3"\n[runners.cache.s3]\nServerAddress = "minio:9000"', ("minio", 9000)),
        ('[runners.cache]\nType = "s3"\n[runners.cache.s3]\nServerAddress = "minio"\nInsecure = true', ("minio", 80)),
        ('[runners.cache]\nType = "gcs"', ("storage.googleapis.com", 443)),
        (
            '[runners.cache]\nType = "azure"\n[runners.cache.azure]\nAccountName = "ci"',
            ("ci.blob.core.windows.net", 443),
        ),
    ],
)
def test_where_the_cache_is(toml: str, place: tuple[str, int] | None) -> None:
    assert placement.cache_endpoint(tomllib.loads(f"[[runners]]\n{toml}")) == place


def test_the_guides_sizes() -> None:
    assert {name: managers * jobs for name, (managers, jobs) in OPTIONS.items()} == {"5x10": 50, "3x15": 45, "4x12": 48}
    shape = JobShape(namespace="gitlab", image="alpine", helper_image="helper")
    asked = {name: job_pod_requests(resized(shape, name), 1) for name in SCENARIOS}
    assert asked["large"]["cpu"] == 2
    assert asked["small"]["memory"] == 2 * 256 * 1024**2
    assert isinstance(CLUSTER.nodes[0], Node)
