"""How long the pods of a run are there, from the first that the API server says of them to their removal."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from preflight import inventory as inventory_file
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api, pods_path
from preflight.clients.kube_errors import ApiError
from preflight.jobshape import MANAGED_BY, OURS

WATCH = 47.0
"""Seconds of a watch: by these, its requests are known from those of the run."""


class Lives:
    """How long pods are there, by the events of a watch.

    Attributes:
        seconds: of each, by its name; of one that is still there, nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @property
    def longest(self) -> float:
        """Seconds of the pod that was there for the longest."""
        return max(self.seconds.values(), default=0.0)

    def take(self, event: str, pod: str, now: float) -> None:
        """Note an event."""
        began = self._seen.setdefault(pod, now)
        if event == "DELETED":
            self.seconds[pod] = now - began


class Lifetimes:
    """The pods that runs of the suite make while this is entered; entering it gives their `Lives`."""

    def __init__(self, file: Path) -> None:
        inventory = inventory_file.load(file)
        cluster = inventory.cluster
        self._api = Api(cluster.kubeconfig, cluster.context, routes=Routes.of(inventory.connect), deadline=WATCH)
        self._path = pods_path(inventory.runner.namespace)
        self._thread = threading.Thread(target=self._run, name="lifetimes", daemon=True)
        self._over = threading.Event()
        self._lives = Lives()

    def __enter__(self) -> Lives:
        self._thread.start()
        return self._lives

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()  # the thread ends with its watch, and says no more

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(ApiError):
                events = self._api.watch(self._path, timeout=WATCH, labelSelector=f"{MANAGED_BY}={OURS}")
                for event in events:
                    if self._over.is_set():
                        return
                    self._lives.take(str(event["type"]), str(event["object"]["metadata"]["name"]), time.perf_counter())
