"""The cluster that `tox -e e2e` is pointed to: `$KUBECONFIG`, and the inventory `$PREFLIGHT_INVENTORY`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubeconfig import KubeconfigError
from preflight.inventory import Inventory, InventoryError, load
from preflight.jobshape import MANAGED_BY, OURS
from tests import processes

PROJECT = Path(__file__).parents[2]
_NEEDED = ("KUBECONFIG", "PREFLIGHT_INVENTORY")


@dataclass(frozen=True)
class Ended:
    """A run that is over: its exit status, all that it printed, its reports by name, and what was made meanwhile."""

    status: int
    output: str
    reports: dict[str, str]
    seen: frozenset[str] = field(default=frozenset())

    @property
    def json(self) -> dict[str, Any]:
        """The JSON report."""
        found: dict[str, Any] = json.loads(self.reports["preflight.json"])
        return found


@dataclass
class Environment:
    """The cluster, looked at apart from the suite, and the suite, run as an operator runs it."""

    file: Path
    inventory: Inventory
    api: Api
    folder: Path
    effect: str

    def ours(self) -> frozenset[str]:
        """Jobs and pods with the suite's label, in all namespaces."""
        return self._listed(f"{MANAGED_BY}={OURS}")

    def others(self) -> frozenset[str]:
        """All other Jobs; pods come and go in a cluster that is at work."""
        return frozenset(name for name in self._listed(f"{MANAGED_BY}!={OURS}") if name.startswith("job "))

    def _listed(self, selector: str) -> frozenset[str]:
        found: list[str] = []
        for kind, path in (("job", "/apis/batch/v1/jobs"), ("pod", "/api/v1/pods")):
            metas = [item["metadata"] for item in self.api.items(path, labelSelector=selector)]
            found += [f"{kind} {meta['namespace']}/{meta['name']}" for meta in metas]
        return frozenset(found)

    def lifetimes(self) -> list[tuple[int, int]]:
        """Deadline and time to live of each of the suite's Jobs."""
        jobs = self.api.items("/apis/batch/v1/jobs", labelSelector=f"{MANAGED_BY}={OURS}")
        return [(one["spec"]["activeDeadlineSeconds"], one["spec"]["ttlSecondsAfterFinished"]) for one in jobs]

    def begin(self, name: str, *arguments: str) -> tuple[processes.Process, Path]:
        """Start the suite; its output goes to a file, and its reports into a folder of their own."""
        folder = self.folder / name
        folder.mkdir()
        with (folder / "output").open("w") as output:
            process = processes.start(
                *("pytest", "checks/", *processes.WITHOUT_PLUGINS, "-vv", "--showlocals"),
                "--inventory",
                self.file,
                "--report-dir",
                folder / "reports",
                *arguments,
                env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                interpreter=True,
            )
        return process, folder

    def end(self, process: processes.Process, folder: Path, *, watching: bool = False) -> Ended:
        """Wait for the end, within the run's own deadline."""
        seen: set[str] = set()
        until = time.monotonic() + self.inventory.deadlines.run + self.inventory.deadlines.clean + 60
        while process.poll() is None and time.monotonic() < until:
            if watching:
                seen |= self.ours()
            time.sleep(0.3)
        status = process.poll()
        if status is None:
            process.kill()
            pytest.fail(f"the run did not end within its own deadline\n{(folder / 'output').read_text()}")
        written = folder / "reports"
        reports = {file.name: file.read_text() for file in written.iterdir()} if written.is_dir() else {}
        return Ended(status, (folder / "output").read_text(), reports, frozenset(seen))

    def wait_for_pods(self, process: processes.Process, folder: Path) -> None:
        """Until a run has made a pod."""
        until = time.monotonic() + 120
        while not any(name.startswith("pod ") for name in self.ours()):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                pytest.fail(f"the run never made a pod\n{(folder / 'output').read_text()}")
            time.sleep(0.1)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment, proven to be one, with nothing of an earlier run in it."""
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        pytest.exit(f"tox -e e2e needs {' and '.join(missing)} (docs/e2e.md)", returncode=4)
    file = Path(os.environ["PREFLIGHT_INVENTORY"]).resolve()
    try:
        inventory = load(file)
        mapping = {source: target for source, target in inventory.connect.items() if source != "*"}
        routes = Routes(mapping, only_mapped="*" in inventory.connect)
        api = Api(Path(os.environ["KUBECONFIG"]), None, routes=routes, deadline=inventory.deadlines.api)
        suites = Api(inventory.cluster.kubeconfig, inventory.cluster.context, routes=routes, deadline=5)
        found = Environment(
            file, inventory, api, tmp_path_factory.mktemp("e2e"), os.environ.get("PREFLIGHT_E2E_EFFECT") or "privileged"
        )
        left = found.ours()
    except (InventoryError, KubeconfigError, ApiError) as error:
        pytest.exit(f"tox -e e2e can't look at the cluster: {error}", returncode=4)
    if suites.server != api.server:
        pytest.exit(f"KUBECONFIG is of {api.server}, and the inventory's is of {suites.server}", returncode=4)
    if left:
        pytest.exit(f"another run's objects are in the cluster: {', '.join(sorted(left))}", returncode=4)
    yield found
    api.close()


@pytest.fixture(scope="session")
def reasons() -> dict[str, str]:
    """Checks that are known not to pass in this cluster, with reasons: the YAML file `$PREFLIGHT_E2E_REASONS`."""
    file = os.environ.get("PREFLIGHT_E2E_REASONS")
    found: dict[str, str] = (yaml.safe_load(Path(file).read_text()) or {}) if file else {}
    return found
