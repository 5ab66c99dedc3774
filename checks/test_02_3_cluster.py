"""2.3 Kubernetes cluster: the API answers, the nodes are present and healthy, and its own services work."""

from preflight.facts import (
    ApiClock,
    ApiServer,
    Encryption,
    Metrics,
    Nodes,
    NodeState,
    PoolState,
    ServiceEndpoints,
)


def test_api_server_answers(api_answer: ApiServer) -> None:
    """2.3.1 The API server answers and is healthy.

    Why: the runner creates every job's pod through it.
    Remedy (refused): start kube-apiserver on the control plane (`crictl ps -a --name kube-apiserver` shows whether it
        exited), or correct the server's address in the kubeconfig.
    Remedy (timeout, unreachable): open port 6443 of the control plane to this machine, and check that its host is up.
    Remedy (unauthorized): renew the credentials of this kubeconfig context; the API server does not accept them.
    Remedy (tls-untrusted, tls-wrong-name): use a kubeconfig whose certificate-authority-data and server belong
        together.
    Remedy (tls-expired): renew the API server's certificate with the cluster's own installer.
    Remedy (api-unhealthy): see which check of `kubectl get --raw '/readyz?verbose'` fails; usually it is etcd.
    Remedy: make `kubectl cluster-info` work with the inventory's kubeconfig and context.
    """
    assert not api_answer.fault


def test_api_server_has_the_expected_address(api_address: ApiServer) -> None:
    """2.3.2 The kubeconfig points to the cluster that the inventory describes.

    Why: with another context, every later check would judge the wrong cluster.
    Remedy: choose the right `cluster.context`, or correct `cluster.api_server`.
    """
    assert not api_address.fault


def test_api_server_has_the_expected_version(api_version: ApiServer) -> None:
    """2.3.3 The control plane has the expected version.

    Why: chart, runner and guide were chosen for this version.
    Remedy: correct `cluster.version` in the inventory, or upgrade the control plane.
    """
    assert not api_version.fault


def test_nodes_can_be_listed(cluster_nodes: Nodes) -> None:
    """2.3.4 The nodes can be listed.

    Why: all checks of nodes, and which of them may run jobs, depend on this list.
    Remedy: give this kubeconfig's user the right to list nodes.
    """
    assert cluster_nodes.nodes


def test_node_is_present(node_presence: NodeState) -> None:
    """2.3.5 Each node of the inventory is in the cluster.

    Why: without this worker, its share of the job capacity is missing.
    Remedy: join the node with the cluster's own installer, or remove it from `cluster.nodes`.
    """
    assert not node_presence.fault


def test_node_is_ready(node_readiness: NodeState) -> None:
    """2.3.6 Each node is Ready.

    Why: no pod starts on a node whose kubelet does not report its status.
    Remedy: on the node: `systemctl status kubelet containerd` and `journalctl -u kubelet -n 50`; then the node's
        network and disk.
    """
    assert not node_readiness.fault


def test_node_has_no_pressure(node_pressure: NodeState) -> None:
    """2.3.7 No node is under disk, memory or PID pressure.

    Why: under pressure the kubelet evicts running jobs and accepts no new ones.
    Remedy: free the resource that the condition names: `crictl rmi --prune`, old logs, or the pods that use most
        memory.
    """
    assert not node_pressure.fault


def test_node_has_the_expected_role(node_role: NodeState) -> None:
    """2.3.8 Each node has the role that the inventory gives it.

    Why: a control-plane node that is listed as a worker runs no jobs, and a worker listed as control plane is never
        checked.
    Remedy: correct `role` in the inventory, or the node's label `node-role.kubernetes.io/control-plane`.
    """
    assert not node_role.fault


def test_node_version_is_within_the_skew(node_version: NodeState) -> None:
    """2.3.9 Each node's kubelet is within the supported version skew of the API server.

    Why: outside the supported skew (not newer, and not too far behind), pods fail in ways that no message explains.
    Remedy: upgrade the node's kubelet, after the control plane and never before it.
    """
    assert not node_version.fault


def test_jobs_may_be_scheduled_on_each_worker(worker_placement: NodeState) -> None:
    """2.3.10 Jobs may be scheduled on each worker.

    Why: a cordon, a taint or a selector that does not match keeps all jobs away from a node that looks healthy.
    Remedy (unschedulable-cordoned): run `kubectl uncordon` for the node when its maintenance is over.
    Remedy (unschedulable-taint): remove the taint, or let jobs tolerate it: `[runners.kubernetes.node_tolerations]` in
        `runners.config`.
    Remedy (unschedulable-selector): label the node as `[runners.kubernetes.node_selector]` requires, or correct the
        selector; a selector at the top level of the values places only the managers.
    Remedy: make the node schedulable for a job's pod.
    """
    assert not worker_placement.fault


def test_kube_dns_has_ready_endpoints(kube_dns: ServiceEndpoints) -> None:
    """2.3.11 The cluster's DNS Service exists and has ready endpoints.

    Why: the managers resolve GitLab through it, and so do jobs unless `dns_policy` says otherwise. Many clusters call
        it kube-dns; what counts is the address that kubelets give to pods.
    Remedy (service-missing): restore the Service at the address that kubelets give to pods (`clusterDNS`).
    Remedy (no-endpoints): check the pods behind it (CoreDNS, usually): their logs and events.
    Remedy: make `kubectl get endpointslices -l kubernetes.io/service-name=NAME` of that Service list an address.
    """
    assert not kube_dns.fault


def test_metrics_api_answers(metrics_api: Metrics) -> None:
    """2.3.12 The metrics API answers.

    Why: `kubectl top` shows what uses a node's memory when jobs are killed, and autoscaling needs it.
    Remedy (metrics-missing): install metrics-server.
    Remedy (metrics-unavailable): check metrics-server: `kubectl -n kube-system logs deploy/metrics-server`; with
        self-signed kubelet certificates it needs `--kubelet-insecure-tls` or signed ones.
    Remedy: make `kubectl top nodes` answer.
    """
    assert not metrics_api.fault


def test_each_pool_has_its_nodes(pool_presence: PoolState) -> None:
    """2.3.13 Each pool has as many nodes as the inventory expects.

    Why: where autoscaling changes the nodes' names, only their labels can be relied on.
    Remedy: have the autoscaler add nodes, label the existing ones, or correct `cluster.pools`.
    """
    assert not pool_presence.fault


def test_the_nodes_of_each_pool_are_healthy(pool_health: PoolState) -> None:
    """2.3.14 The nodes of each pool are Ready and under no pressure.

    Why: no pod starts on a node whose kubelet does not report, and one under pressure evicts running jobs.
    Remedy (node-not-ready): on the node: `systemctl status kubelet containerd`; or have the autoscaler replace it.
    Remedy (node-pressure): free the resource that the condition names, or have the autoscaler replace the node.
    Remedy: make `kubectl get nodes` list every node of the pool as Ready.
    """
    assert not pool_health.fault


def test_the_nodes_of_each_pool_are_within_the_skew(pool_versions: PoolState) -> None:
    """2.3.15 The kubelets of each pool are within the supported version skew of the API server.

    Why: with an old machine image, every node that is added has an old kubelet.
    Remedy: use a machine image with the control plane's version for the pool.
    """
    assert not pool_versions.fault


def test_jobs_may_be_scheduled_on_the_nodes_of_each_pool(pool_placement: PoolState) -> None:
    """2.3.16 Jobs may be scheduled on the nodes of each pool.

    Why: a taint in the pool's template, or a label that is missing there, keeps all jobs away from all its nodes.
    Remedy (unschedulable-cordoned): run `kubectl uncordon` for the nodes when their maintenance is over.
    Remedy (unschedulable-taint): remove the taint from the pool's template, or let jobs tolerate it:
        `[runners.kubernetes.node_tolerations]`.
    Remedy (unschedulable-selector): add the label that `[runners.kubernetes.node_selector]` requires to the pool's
        template.
    Remedy: make the nodes schedulable for a job's pod.
    """
    assert not pool_placement.fault


def test_api_server_is_verified(api_encryption: Encryption) -> None:
    """2.3.17 The connection to the API server is encrypted, and its certificate is verified.

    Why: the kubeconfig's token is sent on it; whoever gets it has this account's rights in the cluster.
    Remedy (not-verified): take `insecure-skip-tls-verify` out of the kubeconfig, and put the cluster's CA into its
        `certificate-authority-data` (`/etc/kubernetes/pki/ca.crt` on the control plane).
    Remedy (not-encrypted): write the API server's https address as `server` into the kubeconfig.
    Remedy: make `kubectl config view --minify` show an https server and a certificate authority.
    """
    assert not api_encryption.fault


def test_api_server_clock_agrees(api_clock: ApiClock) -> None:
    """2.3.18 The API server's clock agrees with this machine's or with GitLab's.

    Why: it dates every object and token: managers' leases, service accounts' tokens and certificates that are not valid
        yet fail in random places.
    Remedy (clock-skew): start time synchronisation on the control plane: `timedatectl set-ntp true`,
        `chronyc makestep`.
    Remedy: make `timedatectl` on the control plane say that the clock is synchronised.
    """
    assert not api_clock.fault
