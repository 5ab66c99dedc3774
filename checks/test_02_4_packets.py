"""2.4 Packets: those of full size come from GitLab to every worker and to a job's pod there."""

from preflight.facts import GitLabReply


def test_each_worker_gets_whole_pages_from_gitlab(node_page: GitLabReply) -> None:
    """2.4.20 GitLab's sign-in page, which needs packets of full size, comes whole to each worker.

    Why: where the way carries smaller packets than its ends believe, and nobody says so, a connection opens, short
        answers come, and clones, logs and artifacts hang.
    Remedy (silent): find the largest packet that comes through, `ping -M do -s 1472 GITLAB` and less on the worker;
        set the MTU of its interface to that plus 28, or let the tunnel or firewall on the way clamp TCP's MSS.
    Remedy: let `curl -v` of GitLab's `/users/sign_in` come to its end on the worker.
    """
    assert not node_page.fault


def test_job_pods_on_each_worker_get_whole_pages_from_gitlab(pod_page: GitLabReply) -> None:
    """2.4.21 GitLab's sign-in page, which needs packets of full size, comes whole to a job's pod on each worker.

    Why: an overlay network wraps every packet; where its MTU is not made smaller for that, `git clone` hangs in pods
        alone.
    Remedy (silent): set the network plugin's MTU to that of the nodes' network less what its tunnel adds (VXLAN 50,
        IP-in-IP 20, WireGuard 60), and make the pods anew.
    Remedy: let `wget -O- ` of GitLab's `/users/sign_in` come to its end in a pod on this worker.
    """
    assert not pod_page.fault
