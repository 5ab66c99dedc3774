"""The matrix of steps and workers: what a node, a job's pod and Docker-in-Docker have to be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.conclusions.observations import Facts
from preflight.fact import FactSpec
from preflight.facts.cluster import worker_placement
from preflight.facts.dind import dind_daemon, dind_packets, dind_run, dind_service, dind_storage
from preflight.facts.dns import pod_names, pod_resolv_conf
from preflight.facts.gitlab import node_clock
from preflight.facts.namespace import pod_attach, pod_exec, pod_logs
from preflight.facts.nodes import node_login
from preflight.facts.pods import pod_start
from preflight.pages.cells import State, cell_of
from preflight.pages.matrix import Head, Matrix
from preflight.pages.texts import Text

_STEPS: Mapping[Text, Mapping[Text, FactSpec[Any]]] = {
    Text("node"): {
        Text("SSH login"): node_login,
        Text("clock as GitLab's"): node_clock,
        Text("takes jobs"): worker_placement,
    },
    Text("a job's pod"): {
        Text("starts"): pod_start,
        Text("logs"): pod_logs,
        Text("exec"): pod_exec,
        Text("attach"): pod_attach,
        Text("resolv.conf as configured"): pod_resolv_conf,
        Text("names as programs find them"): pod_names,
    },
    Text("Docker-in-Docker"): {
        Text("service container"): dind_service,
        Text("daemon"): dind_daemon,
        Text("storage driver"): dind_storage,
        Text("packets of full size"): dind_packets,
        Text("a container runs"): dind_run,
    },
}


def matrix(facts: Facts) -> Matrix:
    """Steps as rows, workers as columns; what this environment has nothing for is left out."""
    workers = tuple(facts.inventory.workers)
    rows = [
        (Head(step, group=group), tuple(cell_of(facts.get(spec, worker=worker)) for worker in workers))
        for group, steps in _STEPS.items()
        for step, spec in steps.items()
    ]
    kept = [(head, line) for head, line in rows if any(cell.state is not State.NOT_APPLICABLE for cell in line)]
    return Matrix(
        caption=Text("What each worker, and pods there, can do"),
        corner=Text("step"),
        rows=tuple(head for head, _ in kept),
        columns=tuple(Head(worker) for worker in workers),
        cells=tuple(line for _, line in kept),
        bands=True,
    )
