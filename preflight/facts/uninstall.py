"""10 What an uninstalled release left behind."""

from __future__ import annotations

from preflight.clients import kube_api as api_client
from preflight.fact import fact
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import leftovers
from preflight.probes.cluster import ApiServer
from preflight.probes.leftovers import Leftovers
from preflight.probes.release import History
from preflight.probes.runners import OwnRunner
from preflight.releasenames import names_of
from preflight.values import Values


@fact()
def leftover_records(release_history: History) -> Leftovers:
    """Helm's records of the release that are left."""
    records = [record.kept_in for record in release_history.records]
    return leftovers.read_leftovers(
        records,
        f"namespace {release_history.namespace}",
        target=release_history.name,
        command=release_history.command,
        took=release_history.took,
    )


@fact(deadline="script")
def leftover_objects(api_answer: ApiServer, kubernetes: api_client.Api, helm_values: Values) -> Leftovers:
    """Objects of the release that are left."""
    return leftovers.of_release(kubernetes, helm_values.release, names_of(helm_values).namespace)


@fact(deadline="api")
def leftover_jobs(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> Leftovers:
    """Pods of jobs that are left."""
    return leftovers.of_jobs(kubernetes, job_shape.namespace)


@fact(tolerates=("own_runner",))
def leftover_runner(own_runner: OwnRunner, inventory: Inventory) -> Leftovers:
    """The runner's record in GitLab, which an uninstall leaves there."""
    records = [] if own_runner.id is None else [f"runner/{own_runner.id}"]
    return leftovers.read_leftovers(
        records,
        f"GitLab at {inventory.gitlab.url}",
        target="the runner's record in GitLab",
        command=own_runner.evidence.command,
        took=own_runner.evidence.took,
    )
