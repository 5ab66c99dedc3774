"""2.4 Paths: every worker, and a job's pod on every worker, reaches GitLab."""

from preflight.facts import GitLabReply, NodeLogin, PodAdmission, PodStart


def test_ssh_login_works_on_each_worker(node_login: NodeLogin) -> None:
    """2.4.1 Each worker can be logged in to over SSH.

    Why: what a node itself sees (its network, its DNS, its runtime) can be told only from there.
    Remedy: make `ssh` to the worker work with the user, key and known_hosts of `access.ssh`, or write `ssh: none`.
    """
    assert not node_login.fault


def test_each_worker_reaches_gitlab(node_gitlab: GitLabReply) -> None:
    """2.4.2 Each worker reaches GitLab.

    Why: managers and jobs leave through their node; a node that does not reach GitLab fails every job it gets.
    Remedy (timeout): allow this worker's address to GitLab's port in GitLab's security group and firewall, and check
        the worker's own firewall and route.
    Remedy (refused): where GitLab answers others, look for a firewall that rejects this worker's address; else start
        GitLab, or correct the port in `gitlabUrl`.
    Remedy (unreachable): give the worker a route to GitLab's network.
    Remedy (reset): look for a firewall between worker and GitLab that cuts connections.
    Remedy (not-gitlab): look for a proxy or portal between this worker and GitLab, and at `gitlabUrl`.
    Remedy (bad-gateway, unavailable): bring GitLab up behind its web server: `gitlab-ctl status`.
    Remedy: let `curl -v` of GitLab's URL succeed on the worker.
    """
    assert not node_gitlab.fault


def test_the_api_admits_a_job_pod(pod_admission: PodAdmission) -> None:
    """2.4.3 The API server admits a pod shaped like a job's.

    Why: what admission refuses to the suite's restricted pod it refuses to every job.
    Remedy (namespace-missing): `kubectl create namespace` the one that `namespace` in `runners.config` names.
    Remedy (pod-security): label the namespace with a level that lets jobs in:
        `kubectl label ns NAMESPACE pod-security.kubernetes.io/enforce=privileged --overwrite`.
    Remedy (quota): raise the ResourceQuota, or remove what fills it: `kubectl describe quota -n NAMESPACE`.
    Remedy (limit-range): bring requests and limits in `runners.config` inside the namespace's LimitRange.
    Remedy (service-account-missing): create the service account, or correct `service_account` in `runners.config`.
    Remedy (webhook): mend or exempt the namespace from the admission webhook that the message names.
    Remedy: let the job's pod pass: `kubectl apply --dry-run=server` shows the API server's words.
    """
    assert not pod_admission.fault


def test_a_job_pod_starts_on_each_worker(pod_start: PodStart) -> None:
    """2.4.4 A pod shaped like a job's starts on each worker.

    Why: it proves scheduling, the runtime, the pod network and the job's own settings on that node.
    Remedy (quota): raise the ResourceQuota, or remove what fills it: `kubectl describe quota -n NAMESPACE`.
    Remedy (unschedulable-resource): free the resource that the message names on this node, or add a node.
    Remedy (unschedulable-taint, unschedulable-selector, unschedulable-cordoned): see 2.3.10.
    Remedy (start-error): read the message: the image's entry point, the runtime class or the node's runtime is at
        fault.
    Remedy (evicted): the node ran short while the pod ran: see 2.3.7.
    Remedy (deadline): something holds the pod up longer than `deadlines.pod`: its last event says what.
    Remedy: `kubectl describe pod` of a job on this node shows the same events.
    """
    assert not pod_start.fault


def test_job_pods_on_each_worker_reach_gitlab(pod_gitlab: GitLabReply) -> None:
    """2.4.5 A job's pod on each worker reaches GitLab.

    Why: jobs clone from GitLab and upload to it from the pod network, which has rules of its own.
    Remedy (timeout): allow the pod network to GitLab's port (security group, GitLab's firewall), let the node
        masquerade pod addresses, and look for a NetworkPolicy in the jobs' namespace.
    Remedy (refused): where GitLab answers others, look for a firewall or NetworkPolicy that rejects the pod network;
        else start GitLab, or correct the port in `gitlabUrl`.
    Remedy (unresolved): let the resolvers of the jobs' `dns_config` know GitLab's name.
    Remedy (unreachable): give the pod network a route to GitLab's network.
    Remedy (not-gitlab): look for a proxy or portal between the pod network and GitLab.
    Remedy (bad-gateway, unavailable): bring GitLab up behind its web server: `gitlab-ctl status`.
    Remedy: let `wget -O- ` of GitLab's URL succeed in a pod on this worker.
    """
    assert not pod_gitlab.fault


def test_job_pods_on_each_worker_reach_the_clone_host(pod_clone: GitLabReply) -> None:
    """2.4.6 A job's pod on each worker resolves and reaches the host that it clones from.

    Why: jobs clone from what GitLab calls itself, not from `gitlabUrl`; managers never need it, so only jobs fail.
    Remedy (unresolved): let the resolvers of the jobs' `dns_config` know the host of GitLab's `external_url`, or set
        `clone_url` in `runners.config` to an address that pods reach.
    Remedy (timeout): allow the pod network to that host's port, or set `clone_url` in `runners.config`.
    Remedy (refused): correct the port in GitLab's `external_url`, or set `clone_url` in `runners.config`.
    Remedy: let `wget -O- ` of GitLab's `external_url` succeed in a pod on this worker.
    """
    assert not pod_clone.fault
