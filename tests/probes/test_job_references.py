"""What a job's pod refers to by name, looked up in a Kubernetes API on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.kube_api import Api
from preflight.evidence import Unmeasured
from preflight.faults import Fault, PodFault, ReferenceFault
from preflight.probes import job_references
from preflight.probes.job_references import (
    ADMISSION_FAULTS,
    VOLUME_FAULTS,
    JobReferences,
    Kind,
    Reference,
    beside_the_release,
    look_up,
    on_one_node,
    references,
)
from preflight.rendering import read
from tests.probes.apiserver import Asked, Reply, scripted_api, status

Json = dict[str, Any]
CORE = "/api/v1/namespaces/ci"
STORAGE = "/apis/storage.k8s.io/v1"


@contextmanager
def api_with(folder: Path, objects: Mapping[str, Json], *, forbidden: tuple[str, ...] = ()) -> Iterator[Api]:
    def answer(asked: Asked) -> Reply:
        if asked.path in forbidden:
            resource = asked.path.split("/")[-2]
            words = (
                f'{resource} "x" is forbidden: User "ops" cannot get resource "{resource}" in API group "" '
                'in the namespace "ci"'
            )
            return Reply(status(403, "Forbidden", words), 403)
        if asked.path in objects:
            return Reply(objects[asked.path])
        return Reply(status(404, "NotFound", f'"{asked.path}" not found'), 404)

    with scripted_api(folder, answer) as (api, _):
        yield api


def test_everything_that_a_pod_names_is_referred_to() -> None:
    spec: Json = {
        "serviceAccountName": "builder",
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "cache"}},
            {"name": "b", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}]}},
            {"name": "c", "configMap": {"name": "c"}},
            {"name": "d", "csi": {"driver": "d.example"}},
            {"name": "e", "secret": {"secretName": "maybe", "optional": True}},
            {"name": "f", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "l", "path": "q"}]}}]}},
            {"name": "g", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}},
            {"name": "h", "emptyDir": {}},
            {"name": "i", "persistentVolumeClaim": {"claimName": "cache-$CI_CONCURRENT_ID"}},
        ],
        "initContainers": [{"name": "x", "envFrom": [{"configMapRef": {"name": "env"}}]}],
        "containers": [
            {
                "name": "build",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "m"}}},
                    {"name": "B", "value": "plain"},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "z", "key": "k", "optional": True}}},
                ],
            }
        ],
    }
    assert set(references(spec, pull_secrets=["regcred"])) == {
        Reference(Kind.SERVICE_ACCOUNT, "builder"),
        Reference(Kind.PRIORITY_CLASS, "high"),
        Reference(Kind.RUNTIME_CLASS, "gvisor"),
        Reference(Kind.PULL_SECRET, "regcred"),
        Reference(Kind.CLAIM, "cache"),
        Reference(Kind.SECRET, "s", frozenset({"k", "l", "m"})),
        Reference(Kind.CONFIG_MAP, "c"),
        Reference(Kind.CONFIG_MAP, "env"),
        Reference(Kind.DRIVER, "d.example"),
        Reference(Kind.STORAGE_CLASS, "fast"),
    }


MISSING: dict[Kind, tuple[Fault, tuple[Fault, ...], str]] = {
    Kind.CLAIM: (ReferenceFault.CLAIM_MISSING, VOLUME_FAULTS, "namespace ci"),
    Kind.SECRET: (ReferenceFault.SOURCE_MISSING, VOLUME_FAULTS, "namespace ci"),
    Kind.CONFIG_MAP: (ReferenceFault.SOURCE_MISSING, VOLUME_FAULTS, "namespace ci"),
    Kind.DRIVER: (ReferenceFault.SOURCE_MISSING, VOLUME_FAULTS, "the cluster"),
    Kind.STORAGE_CLASS: (ReferenceFault.CLAIM_UNBOUND, VOLUME_FAULTS, "the cluster"),
    Kind.PULL_SECRET: (ReferenceFault.PULL_SECRET_MISSING, ADMISSION_FAULTS, "namespace ci"),
    Kind.SERVICE_ACCOUNT: (PodFault.SERVICE_ACCOUNT_MISSING, ADMISSION_FAULTS, "namespace ci"),
    Kind.PRIORITY_CLASS: (PodFault.CLASS_MISSING, ADMISSION_FAULTS, "the cluster"),
    Kind.RUNTIME_CLASS: (PodFault.CLASS_MISSING, ADMISSION_FAULTS, "the cluster"),
}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_missing_is_told_by_the_check_that_it_concerns(tmp_path: Path, kind: Kind) -> None:
    fault, judged, place = MISSING[kind]
    with api_with(tmp_path, {}) as api:
        found = look_up(api, "ci", [Reference(kind, "x")])
    assert found.fault is fault
    assert found.cause == f"a job's pod names the {kind} x, and {place} has none of that name"
    other = ADMISSION_FAULTS if judged is VOLUME_FAULTS else VOLUME_FAULTS
    assert found.among(judged).fault is fault
    assert found.among(other).fault is None


def test_what_is_there_is_no_finding_and_nothing_is_asked_where_nothing_is_named(tmp_path: Path) -> None:
    objects: Json = {
        f"{CORE}/secrets/s": {"data": {"k": "eA=="}},
        f"{CORE}/configmaps/c": {"data": {"a": "b"}, "binaryData": {"k": "eA=="}},
        f"{CORE}/serviceaccounts/builder": {},
        "/apis/scheduling.k8s.io/v1/priorityclasses/high": {},
        "/apis/node.k8s.io/v1/runtimeclasses/gvisor": {},
        f"{STORAGE}/csidrivers/d": {},
    }
    named = [
        Reference(Kind.SECRET, "s", frozenset({"k"})),
        Reference(Kind.CONFIG_MAP, "c", frozenset({"k", "a"})),
        Reference(Kind.SERVICE_ACCOUNT, "builder"),
        Reference(Kind.PRIORITY_CLASS, "high"),
        Reference(Kind.RUNTIME_CLASS, "gvisor"),
        Reference(Kind.DRIVER, "d"),
    ]
    with api_with(tmp_path, objects) as api:
        assert look_up(api, "ci", named).fault is None
        assert "eA==" not in repr(look_up(api, "ci", named).evidence)
        assert look_up(api, "ci", []).evidence.observed == "a job's pod refers to nothing by name"


MANAGERS = """
kind: Deployment
apiVersion: apps/v1
metadata: {name: runner, namespace: ci}
spec:
  template:
    spec:
      serviceAccountName: own
      priorityClassName: urgent
      containers: [{name: runner, envFrom: [{configMapRef: {name: mine}}, {configMapRef: {name: theirs}}]}]
      volumes:
        - {name: a, persistentVolumeClaim: {claimName: mine}}
        - {name: b, persistentVolumeClaim: {claimName: theirs}}
        - name: c
          projected: {sources: [{secret: {name: mine}}, {secret: {name: theirs}}, {secret: {name: x, optional: true}}]}
---
{kind: ConfigMap, apiVersion: v1, metadata: {name: mine}}
---
{kind: Secret, apiVersion: v1, metadata: {name: mine}}
---
{kind: PersistentVolumeClaim, apiVersion: v1, metadata: {name: mine}}
"""


def test_what_the_release_brings_need_not_be_there_before_it() -> None:
    rendering = read(MANAGERS, release="runner", namespace="ci")
    expected = {"PriorityClass urgent", "claim theirs", "Secret theirs", "ConfigMap theirs"}
    assert set(map(str, beside_the_release(rendering))) == expected


def test_whose_pod_it_is_that_names_what_is_missing_is_told(tmp_path: Path) -> None:
    with api_with(tmp_path, {}) as api:
        found = look_up(api, "ci", [Reference(Kind.PRIORITY_CLASS, "x")], pod="the managers' pod")
    assert found.cause == "the managers' pod names the PriorityClass x, and the cluster has none of that name"


def test_a_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with api_with(tmp_path, {f"{CORE}/secrets/s": {"data": {"k": "eA=="}}}) as api:
        found = look_up(api, "ci", [Reference(Kind.SECRET, "s", frozenset({"k", "tls.crt"}))])
    assert found.fault is ReferenceFault.SOURCE_MISSING
    assert found.cause == "the Secret s has no key tls.crt, which a job's pod takes from it"


def claim(phase: str = "Pending", **spec: Any) -> Json:
    return {"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteMany"], **spec}, "status": {"phase": phase}}


def storage_class(mode: str, *, default: bool = False) -> Json:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "metadata": {"name": "fast", "annotations": annotations},
        "provisioner": "disk.example",
        "volumeBindingMode": mode,
    }


CLAIMS: dict[str, tuple[Json, Json | None, list[Json], str]] = {
    "bound": (claim("Bound"), None, [], ""),
    "lost": (claim("Lost"), None, [], "is Lost: its volume is gone"),
    "leaving": (
        {**claim("Bound"), "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        None,
        [],
        "is being deleted",
    ),
    "of a class that there is not": (
        claim(storageClassName="fast"),
        None,
        [],
        "is Pending: the cluster has no StorageClass fast",
    ),
    "of a class that waits for a pod": (
        claim(storageClassName="fast"),
        storage_class("WaitForFirstConsumer"),
        [],
        "",
    ),
    "of a class that made nothing": (
        claim(storageClassName="fast"),
        storage_class("Immediate"),
        [],
        "is Pending: StorageClass fast (disk.example) made no volume",
    ),
    "of no class": (
        claim(storageClassName=""),
        None,
        [],
        "is Pending: it names no StorageClass, and no volume is there for it",
    ),
    "of the default class, which there is not": (
        claim(),
        None,
        [storage_class("Immediate")],
        "is Pending: it names no StorageClass, and the cluster has no default one",
    ),
    "of the default class": (claim(), None, [storage_class("WaitForFirstConsumer", default=True)], ""),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_judged_by_what_it_waits_for(tmp_path: Path, name: str) -> None:
    item, own_class, classes, problem = CLAIMS[name]
    objects = {f"{CORE}/persistentvolumeclaims/x": item, f"{STORAGE}/storageclasses": {"items": classes}}
    if own_class is not None:
        objects[f"{STORAGE}/storageclasses/fast"] = own_class
    with api_with(tmp_path, objects) as api:
        found = look_up(api, "ci", [Reference(Kind.CLAIM, "x")])
    assert found.fault is (ReferenceFault.CLAIM_UNBOUND if problem else None)
    assert found.cause == (f"the claim x, which a job's pod mounts, {problem}" if problem else "")


def test_what_may_not_be_read_is_unknown_unless_something_else_is_missing(tmp_path: Path) -> None:
    path = f"{CORE}/configmaps/c"
    with api_with(tmp_path, {f"{CORE}/persistentvolumeclaims/x": claim("Bound")}, forbidden=(path,)) as api:
        found = look_up(api, "ci", [Reference(Kind.CONFIG_MAP, "c"), Reference(Kind.CLAIM, "x")])
        both = look_up(api, "ci", [Reference(Kind.CONFIG_MAP, "c"), Reference(Kind.CLAIM, "y")])
    with pytest.raises(Unmeasured, match="does not allow reading the ConfigMap c") as raised:
        found.among(VOLUME_FAULTS)
    assert 'resources: ["configmaps"]' in raised.value.needs
    assert both.among(VOLUME_FAULTS).fault is ReferenceFault.CLAIM_MISSING


def test_what_a_new_namespace_will_hold_is_not_known(tmp_path: Path) -> None:
    with api_with(tmp_path, {}) as api:
        found = look_up(
            api, "ci", [Reference(Kind.SECRET, "s"), Reference(Kind.PRIORITY_CLASS, "p")], new_namespaces=True
        )
    assert found.among(ADMISSION_FAULTS).fault is PodFault.CLASS_MISSING
    with pytest.raises(Unmeasured, match="each job has a new namespace; whether it gets the Secret s is not known"):
        found.among(VOLUME_FAULTS)


@pytest.mark.parametrize(
    ("modes", "nodes", "fault"),
    [
        (["ReadWriteOnce"], ["a", "b"], ReferenceFault.ONE_NODE),
        (["ReadWriteOncePod"], ["a", "b"], ReferenceFault.ONE_NODE),
        (["ReadWriteOnce"], ["a"], None),
        (["ReadWriteOnce", "ReadWriteMany"], ["a", "b"], None),
        (["ReadOnlyMany"], ["a", "b"], None),
    ],
)
def test_a_claim_of_one_node_is_told_where_jobs_run_on_several(
    tmp_path: Path, modes: list[str], nodes: list[str], fault: Fault | None
) -> None:
    objects = {f"{CORE}/persistentvolumeclaims/x": claim("Bound", accessModes=modes)}
    with api_with(tmp_path, objects) as api:
        found = on_one_node(look_up(api, "ci", [Reference(Kind.CLAIM, "x")]), nodes)
    assert isinstance(found, JobReferences)
    assert found.fault is fault
    assert fault is None or "jobs run on 2" in found.cause


def test_every_kind_has_a_place_and_a_fault() -> None:
    assert set(job_references._RESOURCES) == set(job_references._MISSING) == set(Kind)
