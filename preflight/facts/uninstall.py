"""10 What an uninstalled release has left behind."""

from __future__ import annotations

from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import kubernetes as api_client
from preflight.probes import remains
from preflight.probes.cluster import ApiServer
from preflight.probes.releases import History
from preflight.probes.remains import Remains
from preflight.probes.runners import OwnRunner
from preflight.survey import fact


@fact(speaks_for=("release_history",))
def remaining_records(release_history: History) -> Remains:
    """Helm's records of the release that are left."""
    found = [one.kept_in for one in release_history.records]
    return remains.read_remains(
        found,
        f"namespace {release_history.namespace}",
        target=release_history.name,
        command=release_history.command,
        took=release_history.took,
    )


@fact(deadline="script")
def remaining_objects(api_answer: ApiServer, kubernetes: api_client.Api, inventory: Inventory) -> Remains:
    """Objects of the release that are left."""
    return remains.of_release(kubernetes, inventory.runner.release, inventory.runner.namespace)


@fact(deadline="api")
def remaining_jobs(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> Remains:
    """Pods of jobs that are left."""
    return remains.of_jobs(kubernetes, job_shape.namespace)


@fact(tolerates=("own_runner",))
def remaining_runner(own_runner: OwnRunner, inventory: Inventory) -> Remains:
    """The runner's record in GitLab, which an uninstall leaves there."""
    found = [] if own_runner.id is None else [f"runner/{own_runner.id}"]
    return remains.read_remains(
        found,
        f"GitLab at {inventory.gitlab.url}",
        target="the runner's record in GitLab",
        command=own_runner.evidence.command,
        took=own_runner.evidence.took,
    )
