"""6.5, 7 Headroom: the jobs that the values allow at once also fit onto the cluster."""

import pytest

from preflight.facts import Connection, Headroom, Placement, WorkerRoom


def test_all_concurrent_jobs_fit(headroom: Headroom) -> None:
    """6.5.1 As many job pods fit as the managers may start at once.

    Why: what does not fit stays Pending until the runner gives up: "timed out waiting for pod to start".
    Remedy: lower `concurrent` or `replicas`, lower the requests in `runners.config`, or add a worker; first free the
        resource that runs out, with those who own what fills the node: the evidence names the greatest.
    """
    assert not headroom.fault


def test_a_job_fits_on_each_eligible_worker(worker_headroom: WorkerRoom) -> None:
    """6.5.2 At least one job fits on each eligible worker.

    Why: a worker that is full takes no job, and its images and network are never proven by one.
    Remedy: move what fills the node: `kubectl describe node NODE` lists the requests of its pods.
    """
    assert not worker_headroom.fault


@pytest.mark.advice
def test_more_jobs_at_once_would_fit(option_headroom: Headroom) -> None:
    """7.1.1 Each of the guide's ways to more jobs at once fits onto the cluster.

    Why: more managers or a higher `concurrent` only move the queue from GitLab to Pending pods where no room is left.
    Remedy: stay below the capacity that the evidence shows, or add workers first.
    """
    assert not option_headroom.fault


@pytest.mark.advice
def test_jobs_of_the_guides_sizes_would_fit(scenario_headroom: Headroom) -> None:
    """7.2.1 As many jobs of the guide's large and small size would fit.

    Why: requests decide how many jobs run at once; the guide's large ones take four times the room of its small ones.
    Remedy: lower `concurrent` together with raising the requests, or add workers first.
    """
    assert not scenario_headroom.fault


def test_a_node_has_the_labels_that_managers_require(manager_placement: Placement) -> None:
    """7.3.1 A node has the labels that `nodeSelector` and `affinity` of the values ask for.

    Why: at the top of the values they place the managers, not the jobs; without such a node no manager starts.
    Remedy (no-node-matches): `kubectl label nodes NODE KEY=VALUE`, or remove the selector from the values.
    Remedy: compare the values with `kubectl get nodes --show-labels`.
    """
    assert not manager_placement.fault


def test_a_node_has_the_labels_that_jobs_require(job_placement: Placement) -> None:
    """7.3.2 A node has the labels that `node_selector` and `affinity` in `runners.config` ask for.

    Why: only there do they place jobs, which otherwise stay Pending until the runner gives up.
    Remedy (no-node-matches): `kubectl label nodes NODE KEY=VALUE`, or correct `[runners.kubernetes.node_selector]`.
    Remedy: compare `runners.config` with `kubectl get nodes --show-labels`.
    """
    assert not job_placement.fault


@pytest.mark.advice
def test_a_node_meets_each_preference(preferred_placement: Placement) -> None:
    """7.3.3 A node has the labels that the values prefer.

    Why: a preference that no node meets does nothing, and nothing says so.
    Remedy (preference-unmet): `kubectl label nodes NODE KEY=VALUE`, or remove the preference.
    Remedy: compare the affinities of the values with `kubectl get nodes --show-labels`.
    """
    assert not preferred_placement.fault


def test_job_pods_on_each_worker_reach_the_cache(pod_cache: Connection) -> None:
    """7.4.1 A job's pod on each worker reaches the server of the cache.

    Why: a job without its cache does not fail, it is only slow; and it waits for the connection at every start and end.
    Remedy (refused): start the object storage, or correct `ServerAddress` in `[runners.cache.s3]`, port and `Insecure`.
    Remedy (timeout): open the way from the pod network to the object storage.
    Remedy (unresolved): let the resolvers of the jobs' `dns_config` know the storage's name.
    Remedy: let `nc -v` to the storage succeed in a pod on this worker.
    """
    assert not pod_cache.fault
