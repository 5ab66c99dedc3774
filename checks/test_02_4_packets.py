"""2.4 Packets: full-size packets from GitLab reach every worker and a job's pod on it."""

from preflight.facts import GitLabReply


def test_each_worker_gets_whole_pages_from_gitlab(node_page: GitLabReply) -> None:
    """2.4.23 Each worker receives GitLab's whole sign-in page, which takes full-size packets.

    Why: where the path carries smaller packets than its ends assume, and ICMP does not report it, connections open and
        short answers arrive, but clones, logs and artifacts hang.
    Remedy (silent): find the largest packet that gets through, with `ping -M do -s 1472 GITLAB` and smaller sizes on
        the worker; set the MTU of its interface to that plus 28, or have the tunnel or firewall on the path clamp TCP's
        MSS.
    Remedy: make `curl -v` of GitLab's `/users/sign_in` finish on the worker.
    """
    assert not node_page.fault


def test_job_pods_on_each_worker_get_whole_pages_from_gitlab(pod_page: GitLabReply) -> None:
    """2.4.24 A job's pod on each worker receives GitLab's whole sign-in page, which takes full-size packets.

    Why: an overlay network encapsulates every packet; where its MTU is not reduced for that, `git clone` hangs in pods
        only.
    Remedy (silent): set the network plugin's MTU to that of the nodes' network minus what its tunnel adds (VXLAN 50,
        IP-in-IP 20, WireGuard 60), and recreate the pods.
    Remedy: make `wget -O- ` of GitLab's `/users/sign_in` finish in a pod on this worker.
    """
    assert not pod_page.fault
