"""2.4 Paths: every worker, and a job's pod on every worker, reaches GitLab."""

from preflight.facts import GitLabReply, NodeLogin, PodAdmission, PodStart


def test_ssh_login_works_on_each_worker(node_login: NodeLogin) -> None:
    """2.4.1 SSH login works on each worker.

    Why: a node's own view (its network, its DNS, its runtime) can be measured only from the node.
    Remedy: make `ssh` to the worker work with the user, key and known_hosts of `access.ssh`, or write `ssh: none`.
    """
    assert not node_login.fault


def test_each_worker_reaches_gitlab(node_gitlab: GitLabReply) -> None:
    """2.4.2 Each worker reaches GitLab.

    Why: managers and jobs connect through their node; every job fails on a node that does not reach GitLab.
    Remedy (timeout): allow this worker's address to connect to GitLab's port in GitLab's security group and firewall,
        and check the worker's own firewall and route.
    Remedy (refused): if GitLab answers others, look for a firewall that rejects this worker's address; otherwise start
        GitLab, or correct the port in `gitlabUrl`.
    Remedy (unreachable): add a route from the worker to GitLab's network.
    Remedy (reset): look for a firewall between worker and GitLab that resets connections.
    Remedy (not-gitlab): look for a proxy or portal between this worker and GitLab, and check `gitlabUrl`.
    Remedy (bad-gateway, unavailable): bring GitLab up behind its web server: `gitlab-ctl status`.
    Remedy: make `curl -v` of GitLab's URL succeed on the worker.
    """
    assert not node_gitlab.fault


def test_the_api_admits_a_job_pod(pod_admission: PodAdmission) -> None:
    """2.4.3 The API server admits a pod shaped like a job's.

    Why: if admission rejects a pod with a job's containers, volumes and privileges, it rejects every job's.
    Remedy (namespace-missing): create the namespace that `namespace` in `runners.config` names (`kubectl create
        namespace`).
    Remedy (pod-security): label the namespace with a level that admits jobs: `kubectl label ns NAMESPACE
        pod-security.kubernetes.io/enforce=privileged --overwrite`.
    Remedy (security-constraints): let the jobs' service account use a SecurityContextConstraints that admits them: `oc
        adm policy add-scc-to-user SCC -z ACCOUNT -n NAMESPACE`.
    Remedy (quota): raise the ResourceQuota, or remove what uses it up: `kubectl describe quota -n NAMESPACE`.
    Remedy (limit-range): keep requests and limits in `runners.config` within the namespace's LimitRange.
    Remedy (service-account-missing): create the service account, or correct `service_account` in `runners.config`.
    Remedy (class-missing): correct `priority_class_name` or `runtime_class_name`, or have the class created.
    Remedy (webhook): fix the admission webhook that the message names, or exempt the namespace from it.
    Remedy: make admission accept the pod: `kubectl apply --dry-run=server` shows the API server's message.
    """
    assert not pod_admission.fault


def test_a_job_pod_starts_on_each_worker(pod_start: PodStart) -> None:
    """2.4.4 A pod shaped like a job's starts on each worker.

    Why: it proves scheduling, runtime, pod network and the job's own settings on that node.
    Remedy (quota): raise the ResourceQuota, or remove what uses it up: `kubectl describe quota -n NAMESPACE`.
    Remedy (unschedulable-resource): free the resource that the message names on this node, or add a node.
    Remedy (unschedulable-taint, unschedulable-selector, unschedulable-cordoned): see 2.3.10.
    Remedy (start-error): read the message: the cause is the image's entry point, the runtime class or the node's
        runtime.
    Remedy (evicted): the node came under pressure while the pod ran: see 2.3.7.
    Remedy (deadline): something delays the pod beyond `deadlines.pod`: its last event says what.
    Remedy: `kubectl describe pod` of a job on this node shows the same events.
    """
    assert not pod_start.fault


def test_job_pods_on_each_worker_reach_gitlab(pod_gitlab: GitLabReply) -> None:
    """2.4.5 A job's pod on each worker reaches GitLab.

    Why: jobs clone from GitLab and upload to it from the pod network, which has its own rules.
    Remedy (timeout): allow the pod network to connect to GitLab's port (security group, GitLab's firewall), have the
        node masquerade pod addresses, and look for a NetworkPolicy in the jobs' namespace.
    Remedy (refused): if GitLab answers others, look for a firewall or NetworkPolicy that rejects the pod network;
        otherwise start GitLab, or correct the port in `gitlabUrl`.
    Remedy (unresolved): add GitLab's name to the resolvers of the jobs' `dns_config`.
    Remedy (unreachable): add a route from the pod network to GitLab's network.
    Remedy (not-gitlab): look for a proxy or portal between the pod network and GitLab.
    Remedy (bad-gateway, unavailable): bring GitLab up behind its web server: `gitlab-ctl status`.
    Remedy: make `wget -O- ` of GitLab's URL succeed in a pod on this worker.
    """
    assert not pod_gitlab.fault


def test_job_pods_on_each_worker_reach_the_clone_host(pod_clone: GitLabReply) -> None:
    """2.4.6 A job's pod on each worker resolves and reaches the host that it clones from.

    Why: jobs clone from GitLab's `external_url`, not from `gitlabUrl`; managers never use it, so only jobs fail.
    Remedy (unresolved): add the host of GitLab's `external_url` to the resolvers of the jobs' `dns_config`, or set
        `clone_url` in `runners.config` to an address that pods reach.
    Remedy (timeout): allow the pod network to connect to that host's port, or set `clone_url` in `runners.config`.
    Remedy (refused): correct the port in GitLab's `external_url`, or set `clone_url` in `runners.config`.
    Remedy: make `wget -O- ` of GitLab's `external_url` succeed in a pod on this worker.
    """
    assert not pod_clone.fault
