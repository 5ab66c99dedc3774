"""6.5, 7 Headroom: the jobs that the values allow at once also fit onto the cluster."""

import pytest

from preflight.facts import Connection, Headroom, NodeDisk, Placement, WorkerRoom


def test_all_concurrent_jobs_fit(headroom: Headroom) -> None:
    """6.5.1 As many job pods fit as the managers may start at once.

    Why: a pod that does not fit stays Pending until the runner gives up: "timed out waiting for pod to start".
    Remedy: lower `concurrent` or `replicas`, lower the requests in `runners.config`, or add a worker; first free the
        resource that runs out, together with the owners of the largest pods, which the evidence names.
    """
    assert not headroom.fault


def test_a_job_fits_on_each_eligible_worker(worker_headroom: WorkerRoom) -> None:
    """6.5.2 At least one job fits on each eligible worker.

    Why: a full worker runs no jobs, so its images and network are never tested by one.
    Remedy: move pods off the node: `kubectl describe node NODE` lists their requests.
    """
    assert not worker_headroom.fault


def test_the_images_fit_on_each_worker(node_room_for_images: NodeDisk) -> None:
    """6.5.3 The images that jobs need fit on each worker's disk, above what the kubelet keeps free.

    Why: below that, the kubelet removes images, evicts pods and takes no new ones, in the middle of a job.
    Remedy: remove what is not needed on the node (`crictl rmi --prune`, `journalctl --vacuum-size=500M`), or give it a
        larger disk.
    """
    assert not node_room_for_images.fault


@pytest.mark.advice
def test_each_worker_has_disk_to_spare(node_disk_reserve: NodeDisk) -> None:
    """6.5.4 Beside the images, each worker's disk has room to spare.

    Why: jobs write their sources, caches and Docker's layers to the same disk.
    Remedy: remove what is not needed on the node (`crictl rmi --prune`, `journalctl --vacuum-size=500M`), or give it a
        larger disk.
    """
    assert not node_disk_reserve.fault


@pytest.mark.advice
def test_more_jobs_at_once_would_fit(option_headroom: Headroom) -> None:
    """7.1.1 Each of the guide's ways to more jobs at once fits onto the cluster.

    Why: without free resources, more managers or a higher `concurrent` only move the queue from GitLab to Pending pods.
    Remedy: stay below the capacity that the evidence shows, or add workers first.
    """
    assert not option_headroom.fault


@pytest.mark.advice
def test_jobs_of_the_guides_sizes_would_fit(scenario_headroom: Headroom) -> None:
    """7.2.1 As many jobs of the guide's large and small size would fit.

    Why: requests decide how many jobs run at once; the guide's large jobs take four times the resources of its small
        ones.
    Remedy: lower `concurrent` when raising the requests, or add workers first.
    """
    assert not scenario_headroom.fault


def test_a_node_has_the_labels_that_managers_require(manager_placement: Placement) -> None:
    """7.3.1 A node has the labels that `nodeSelector` and `affinity` of the values require.

    Why: at the top level of the values they place the managers, not the jobs; without such a node no manager starts.
    Remedy (no-node-matches): `kubectl label nodes NODE KEY=VALUE`, or remove the selector from the values.
    Remedy: compare the values with `kubectl get nodes --show-labels`.
    """
    assert not manager_placement.fault


def test_a_node_has_the_labels_that_jobs_require(job_placement: Placement) -> None:
    """7.3.2 A node has the labels that `node_selector` and `affinity` in `runners.config` require.

    Why: these place the jobs, which stay Pending until the runner gives up if no node matches.
    Remedy (no-node-matches): `kubectl label nodes NODE KEY=VALUE`, or correct `[runners.kubernetes.node_selector]`.
    Remedy: compare `runners.config` with `kubectl get nodes --show-labels`.
    """
    assert not job_placement.fault


@pytest.mark.advice
def test_a_node_meets_each_preference(preferred_placement: Placement) -> None:
    """7.3.3 For each preference of the values, a node has the labels.

    Why: a preference that no node satisfies has no effect, and nothing reports it.
    Remedy (preference-unmet): `kubectl label nodes NODE KEY=VALUE`, or remove the preference.
    Remedy: compare the affinities of the values with `kubectl get nodes --show-labels`.
    """
    assert not preferred_placement.fault


def test_job_pods_on_each_worker_reach_the_cache(pod_cache: Connection) -> None:
    """7.4.1 A job's pod on each worker reaches the cache server.

    Why: a job without its cache does not fail, but it is slow, and waits for the connection at its start and end.
    Remedy (refused): start the object storage, or correct `ServerAddress` in `[runners.cache.s3]`, port and `Insecure`.
    Remedy (timeout): open the path from the pod network to the object storage.
    Remedy (unresolved): add the storage's name to the resolvers of the jobs' `dns_config`.
    Remedy: make `nc -v` to the storage succeed in a pod on this worker.
    """
    assert not pod_cache.fault


def test_job_pods_on_each_worker_reach_what_jobs_need(pod_destination: Connection) -> None:
    """7.4.2 A job's pod on each worker reaches the hosts that jobs need.

    Why: a script that installs packages, clones by SSH or calls another service needs a way out of the pod network,
        which nodes and managers do not use.
    Remedy (timeout): allow the pod network to that host and port (firewall, NetworkPolicy, security group), or give the
        jobs the proxy that leads there.
    Remedy (refused): start what listens there, or correct the port in `destinations`.
    Remedy (unresolved): add the host to the resolvers of the jobs' `dns_config`, or correct it in `destinations`.
    Remedy (unreachable): add a route from the pod network to that host's network.
    Remedy: make `nc -w 5 HOST PORT` succeed in a pod on this worker.
    """
    assert not pod_destination.fault
