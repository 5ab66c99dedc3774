"""Jobs, the states of their pods, and what is said about them, for a `Cluster` to play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from preflight.clients.kube_api import Api
from preflight.jobshape import JobShape, probe_job
from tests.probes.apiserver import Cluster, Scripted

Json = dict[str, Any]
ALPINE = "registry.example.com/library/alpine:latest"
DOCKER = "registry.example.com/library/docker:latest"
DIND = "registry.example.com/library/docker:dind"
NODE = "k8s-worker-1"


SHAPE = JobShape(namespace="gitlab", image=ALPINE, helper_image=ALPINE)
PENDING: Json = {"phase": "Pending"}
DONE: Json = {"terminated": {"exitCode": 0, "reason": "Completed"}}
RUNS: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CREATING: Json = {"waiting": {"reason": "ContainerCreating"}}

Start = Callable[..., tuple[Api, Cluster, Scripted]]


def job(*others: str, shape: JobShape = SHAPE) -> Json:
    return probe_job(
        shape,
        node=NODE,
        run_id="ab12",
        image=ALPINE,
        other_images=others,
        script="echo hi; cat /etc/resolv.conf",
        deadline=60,
        ttl=30,
    )


def containers(phase: str, *, reason: str = "", **states: Json) -> Json:
    names = {name.replace("_", "-"): state for name, state in states.items()}
    found: Json = {"phase": phase, "containerStatuses": [{"name": n, "state": s} for n, s in names.items()]}
    return {**found, "reason": reason} if reason else found


def pulled(image: str, container: str, took: str = "1.5s") -> list[tuple[str, str, str]]:
    return [
        ("Pulling", f'Pulling image "{image}"', container),
        ("Pulled", f'Successfully pulled image "{image}" in {took} ({took} including waiting)', container),
    ]
