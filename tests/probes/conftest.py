"""A cluster that plays one Job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from tests.probes.apiserver import Cluster, Scripted, kubeconfig
from tests.probes.job_pods import Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A cluster that plays as told."""
    running: list[tuple[Api, Scripted]] = []

    def begin(deadline: float = 2.0, **play: Any) -> tuple[Api, Cluster, Scripted]:
        cluster = Cluster(**play)
        server = Scripted(cluster).__enter__()
        api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=deadline)
        running.append((api, server))
        return api, cluster, server

    yield begin
    for api, server in running:
        api.close()
        server.__exit__()
