"""6.5, 7 Headroom: the jobs that the values allow at once also fit onto the cluster."""

from preflight.facts import Headroom, WorkerRoom


def test_all_concurrent_jobs_fit(headroom: Headroom) -> None:
    """6.5.1 As many job pods fit as the managers may start at once.

    Why: what does not fit stays Pending until the runner gives up: "timed out waiting for pod to start".
    Remedy: lower `concurrent` or `replicas`, lower the requests in `runners.config`, or add a worker; first free the
        resource that runs out.
    """
    assert not headroom.fault


def test_a_job_fits_on_each_eligible_worker(worker_headroom: WorkerRoom) -> None:
    """6.5.2 At least one job fits on each eligible worker.

    Why: a worker that is full takes no job, and its images and network are never proven by one.
    Remedy: move what fills the node: `kubectl describe node NODE` lists the requests of its pods.
    """
    assert not worker_headroom.fault
