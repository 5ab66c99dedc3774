"""The Kubernetes of the lab: an API server on loopback, with a scheduler, a Job controller and a kubelet a node.

It answers as Kubernetes v1.28 does; tests compare it with recorded answers. Objects are raw JSON, as on the wire
(`lab.cluster`).

- guide          the guide's cluster in good health
- managers       the runner's release: Helm's records, the chart's objects, the managers and their logs
- server         the HTTP API: get, list, watch, create, patch, delete, logs, reviews
- authorization  authentication by bearer tokens, authorization by RBAC objects
- defaults, validation, admission, podsecurity, quantities, selectors, refusals: the steps of a request
- scheduling     where a pod fits, or why nowhere, in the scheduler's words (pure functions)
- control        the loops: scheduler, Job controller, garbage collector
- exporters      the metrics of the runner's managers
- streaming      exec and attach
- kubelet        pulls, starts, logs and stops a pod's containers; `containers` and `daemon` are what it gives one
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lab import pulls, shell
from lab.kubernetes.control import ControlPlane
from lab.kubernetes.guide import guide_cluster, pod_network
from lab.kubernetes.kubelet import Kubelets
from lab.kubernetes.managers import deploy_managers
from lab.kubernetes.server import ApiServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from lab.kubernetes.kubelet import Pull
    from lab.tools.call import Run
    from lab.world import World

__all__ = ["deploy_managers", "pod_network", "populate", "running"]


def populate(world: World) -> None:
    """Give a world the guide's cluster in good health, on the world's nodes."""
    world.cluster = guide_cluster(world.nodes.values())


@contextlib.asynccontextmanager
async def running(world: World, *, run: Run = shell.run, pull: Pull = pulls.pull) -> AsyncIterator[web.Application]:
    """Run a world's cluster in the current event loop; yields the API's application, to be served with TLS.

    Args:
        world: a world with its cluster (`populate`).
        run: how containers' commands are run.
        pull: how nodes pull images.
    """
    control = ControlPlane(world.cluster, Kubelets(world, run=run, pull=pull))
    server = ApiServer(world, control)
    control.start()
    try:
        yield server.application()
    finally:
        server.close()
        await control.stop()
