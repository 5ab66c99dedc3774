"""The suite as an operator runs it, against a lab that outlives the run; and what is then in the lab's cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.lab import Lab
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.inventory import load
from preflight.jobshape import MANAGED_BY, OURS, RUN, JobShape, probe_job
from tests import processes

NAMESPACE = "gitlab"
OTHER_RUN = "feed1234"
ALPINE = "registry.example.com/library/alpine:latest"


@dataclass
class Ended:
    """A run that came to its end.

    Attributes:
        status: its exit status; negative for a signal.
        output: what it printed.
        report: preflight.json, or {}.
        took: seconds, all told.
        folder: of its reports.
    """

    status: int
    output: str
    report: dict[str, Any]
    took: float
    folder: Path


class Suite:
    """One run of the suite as a process of its own.

    Args:
        inventory: what to run it with.
        folder: an empty directory, for its reports, its output and its temporary files.
        arguments: further options of pytest.
        plugins: modules in `folder` that pytest is to load.
        interpreter: start an interpreter of its own, as an operator's shell does.
    """

    def __init__(
        self,
        inventory: Path,
        folder: Path,
        *arguments: str,
        plugins: tuple[str, ...] = (),
        interpreter: bool = False,
    ) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        paths = os.pathsep.join([str(processes.PROJECT), str(folder)])
        self.began = time.monotonic()
        with (folder / "output").open("w") as output:
            self.process = processes.start(
                *("pytest", "checks/", *processes.WITHOUT_PLUGINS),
                *("--inventory", inventory, "--report-dir", folder / "reports"),
                *(word for name in plugins for word in ("-p", name)),
                *arguments,
                env=processes.environment(TMPDIR=str(self.temporary), PYTHONPATH=paths),
                stdout=output,
                stderr=subprocess.STDOUT,
                interpreter=interpreter,
            )

    def until(self, comes: Callable[[], object], *, within: float = 40.0) -> None:
        """Wait for something while the run goes on; an AssertionError if it does not come."""
        end = self.began + within
        while not comes():
            assert self.process.poll() is None, f"the run ended before: {self.output()}"
            assert time.monotonic() < end, f"it did not come within {within:g} s: {self.output()}"
            time.sleep(0.02)

    def output(self) -> str:
        """What it printed so far."""
        return (self.folder / "output").read_text(errors="replace")

    def end(self, *, within: float = 120.0) -> Ended:
        """Wait for its end; a run that does not end is killed, and an error."""
        try:
            status = self.process.wait(max(0.1, self.began + within - time.monotonic()))
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(10)
        took = time.monotonic() - self.began
        written = self.folder / "reports" / "preflight.json"
        report = json.loads(written.read_text()) if written.exists() else {}
        return Ended(status, self.output(), report, took, self.folder / "reports")


def made(lab: Lab, *, resources: tuple[str, ...] = ("jobs", "pods")) -> list[dict[str, str]]:
    """Jobs and pods with the suite's label, but for those of `OTHER_RUN`: kind, name, run and age in seconds."""

    def listed(world: Any) -> list[dict[str, str]]:
        return [
            {"kind": resource, "name": item["metadata"]["name"], "run": item["metadata"]["labels"][RUN]}
            for resource in resources
            for item in world.cluster.each(resource)
            if item["metadata"].get("labels", {}).get(MANAGED_BY) == OURS
            and item["metadata"]["labels"].get(RUN) != OTHER_RUN
        ]

    return lab.change(listed)


def others(lab: Lab) -> dict[str, str]:
    """Everything in the cluster that is not of this run: a fingerprint by kind and name; it must not change."""

    def listed(world: Any) -> dict[str, str]:
        return {
            f"{resource} {item['metadata'].get('namespace')}/{item['metadata']['name']}": item["metadata"]["uid"]
            for resource in ("jobs", "pods", "secrets", "configmaps", "serviceaccounts", "deployments", "namespaces")
            for item in world.cluster.each(resource)
            if item["metadata"].get("labels", {}).get(MANAGED_BY) != OURS
            or item["metadata"]["labels"].get(RUN) == OTHER_RUN
        }

    return lab.change(listed)


def client(lab: Lab) -> Api:
    """The operator's own client of the lab's API."""
    connect = yaml.safe_load(lab.inventory.read_text())["connect"]
    del connect["*"]
    return Api(load(lab.inventory).cluster.kubeconfig, None, routes=Routes(connect, only_mapped=True), deadline=10)


def plant(lab: Lab) -> None:
    """Put into the jobs' namespace what others have there: a run that lives, and things without labels that look ours.

    Returns when their pods run.
    """
    api = client(lab)
    shape = JobShape(namespace=NAMESPACE, image=ALPINE, helper_image=ALPINE)
    job = probe_job(
        shape,
        node="k8s-worker-1",
        run_id=OTHER_RUN,
        image=ALPINE,
        script="sleep 1000",
        deadline=10_000_000,
        ttl=600,
    )
    api.create(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", job)
    spec = job["spec"]["template"]["spec"]
    for labels in ({}, {MANAGED_BY: "Helm"}, {"app": OURS}, {RUN: "0000aaaa"}):
        name = f"preflight-{len(labels)}-{named_after(labels)}"
        pod = {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": spec}
        api.create(f"/api/v1/namespaces/{NAMESPACE}/pods", {"apiVersion": "v1", "kind": "Pod", **pod})
    api.close()

    def running(world: Any) -> int:
        return sum(
            pod["metadata"]["name"].startswith("preflight-") and pod["status"].get("phase") == "Running"
            for pod in world.cluster.each("pods")
        )

    end = time.monotonic() + 10
    while lab.change(running) < 5:
        assert time.monotonic() < end, "the planted pods do not run"
        time.sleep(0.05)


def named_after(labels: dict[str, str]) -> str:
    """A name from labels."""
    return "-".join(value.lower() for value in labels.values()) or "bare"
