"""2.3, 3.2 The cluster's objects: nodes, services, the namespace, the runner's rights; exec, attach and logs."""

from __future__ import annotations

from preflight.conclusions.model import cause
from preflight.conclusions.single_fact import single
from preflight.facts.cluster import (
    api_address,
    api_version,
    cluster_nodes,
    kube_dns,
    metrics_api,
    node_presence,
    node_pressure,
    node_readiness,
    node_role,
    node_version,
    pool_health,
    pool_placement,
    pool_presence,
    pool_versions,
    worker_placement,
)
from preflight.facts.headroom import job_placement, manager_placement, preferred_placement
from preflight.facts.namespace import (
    job_webhooks,
    namespace_levels,
    namespace_limits,
    namespace_presence,
    pod_attach,
    pod_exec,
    pod_logs,
    runner_optional_rights,
    runner_rights,
)
from preflight.facts.pods import pod_admission
from preflight.faults import ClusterFault, PodFault, RightsFault, StreamFault

single(
    cause("api-wrong-address", "2.3", "kubernetes-api"),
    api_address,
    remedy=("the kubeconfig leads to another server than {api}: choose its context in `cluster.context`",),
)
single(
    cause("kubernetes-wrong-version", "2.3", "version-skew-kubelet"),
    api_version,
    remedy=("write the version that runs into `cluster.version`; chart and runner are to fit it",),
)
single(
    cause("nodes-not-listed", "2.3", "guide"),
    cluster_nodes,
    likely="`kubectl get nodes` with the same kubeconfig",
    remedy=("`kubectl get nodes`",),
)
single(
    cause("node-missing", "2.3", "guide"),
    node_presence,
    remedy=(
        "`kubectl get nodes`: under another name? correct `cluster.nodes`",
        "otherwise {join}",
    ),
)
NODE_NOT_READY = cause("node-not-ready", "2.3", "node-conditions")
single(
    NODE_NOT_READY,
    node_readiness,
    pool_health,
    faults=(ClusterFault.NODE_NOT_READY,),
    remedy=(
        "on {nodes}: `systemctl status kubelet containerd`, `journalctl -u kubelet -n 100`",
        "`kubectl describe node {node}`: its conditions show what is missing (runtime, network plugin, heartbeats)",
    ),
)
single(
    cause("node-pressure", "2.3", "node-conditions"),
    node_pressure,
    pool_health,
    faults=(ClusterFault.NODE_PRESSURE,),
    remedy=(
        "on {nodes}: `df -h / /var/lib/containerd`, `crictl rmi --prune`, `free -h`",
        "`kubectl get pods -A -o wide --field-selector spec.nodeName={node}`: move what fills it",
    ),
)
single(
    cause("node-wrong-role", "2.3", "guide"),
    node_role,
    remedy=("`kubectl label node {node} node-role.kubernetes.io/worker=`, or correct `role` in the inventory",),
)
single(
    cause("node-version-skew", "2.3", "version-skew-kubelet"),
    node_version,
    pool_versions,
    remedy=("upgrade the kubelet of {nodes} to {kubernetes}: {node_upgrade}",),
)
_PLACES = (worker_placement, pool_placement)
single(
    cause("node-cordoned", "2.3", "node-conditions"),
    *_PLACES,
    faults=(PodFault.UNSCHEDULABLE_CORDONED,),
    remedy=("`kubectl uncordon {node_list}` once maintenance there is over",),
)
single(
    cause("node-tainted", "2.3", "scheduling"),
    *_PLACES,
    faults=(PodFault.UNSCHEDULABLE_TAINT,),
    remedy=(
        "remove the taint: `kubectl taint nodes {node_list} KEY-`",
        "or tolerate it: `[runners.kubernetes.node_tolerations]` in {values}, `{upgrade}`",
    ),
)
single(
    cause("node-not-selected", "2.3", "scheduling"),
    *_PLACES,
    job_placement,
    manager_placement,
    remedy=(
        "label the nodes: `kubectl label nodes {node_list} KEY=VALUE` as the selector or affinity of {values} requires",
        "or correct `node_selector` / `affinity` in {values}, `{upgrade}`",
    ),
)
single(
    cause("preference-unmet", "7.3", "scheduling"),
    preferred_placement,
    remedy=("label the nodes that are preferred, or remove the preference from {values}",),
)
single(
    cause("pool-missing", "2.3", "guide"),
    pool_presence,
    remedy=("`kubectl get nodes -l SELECTOR` with the labels of `cluster.pools.{pool}`; scale the pool up",),
)
single(
    cause("cluster-dns-missing", "2.3", "kube-dns"),
    kube_dns,
    faults=(ClusterFault.SERVICE_MISSING,),
    remedy=("{dns_install}",),
)
single(
    cause("cluster-dns-down", "2.3", "kube-dns"),
    kube_dns,
    faults=(ClusterFault.NO_ENDPOINTS,),
    remedy=(
        "`kubectl -n {dns_namespace} get service {dns_service} -o wide`: its selector finds the pods; then "
        "`kubectl -n {dns_namespace} get pods -l SELECTOR -o wide`, and `kubectl logs` of one",
        "`kubectl -n {dns_namespace} get deployments,daemonsets`, then `kubectl rollout restart` of the pods' own",
    ),
)
single(
    cause("metrics-missing", "2.3", "metrics-server"),
    metrics_api,
    faults=(ClusterFault.METRICS_MISSING,),
    remedy=("install metrics-server; `kubectl top nodes` must answer",),
)
single(
    cause("metrics-unavailable", "2.3", "metrics-server"),
    metrics_api,
    remedy=(
        "`kubectl get apiservice v1beta1.metrics.k8s.io`, then `kubectl logs -n kube-system deploy/metrics-server`",
    ),
)
NAMESPACE_MISSING = cause("namespace-missing", "3.2", "guide")
single(
    NAMESPACE_MISSING,
    namespace_presence,
    pod_admission,
    faults=(PodFault.NAMESPACE_MISSING,),
    remedy=(
        "`kubectl create namespace {job_namespace}`",
        "if another one was meant: correct `namespace` in `runners.config` of {values}, `{upgrade}`",
    ),
)
single(
    cause("namespace-limits-refuse-jobs", "3.2", "limit-range"),
    namespace_limits,
    remedy=(
        "`kubectl describe limitrange,quota -n {job_namespace}` against requests and limits in {values}",
        "raise the limits, or lower the jobs' requests",
    ),
)
single(
    cause("stricter-pod-security-announced", "3.2", "pod-security"),
    namespace_levels,
    remedy=("decide before the level is enforced: `kubectl get ns {job_namespace} --show-labels`",),
)
single(
    cause("runner-service-account-missing", "3.2", "rbac"),
    runner_rights,
    faults=(RightsFault.ACCOUNT_MISSING,),
    remedy=("`serviceAccount.create: true` in {values} (or create the one it names), `{upgrade}`",),
)
single(
    cause("runner-rights-missing", "3.2", "rbac"),
    runner_rights,
    remedy=(
        "`rbac.create: true` in {values}, `{upgrade}`; in a job namespace of its own add Role and RoleBinding by hand",
        "`kubectl auth can-i --list -n {job_namespace} --as system:serviceaccount:{namespace}:{release}`",
    ),
)
single(
    cause("runner-optional-rights-missing", "3.2", "optional-rights"),
    runner_optional_rights,
    remedy=("add the verbs that it names under `rbac.rules` in {values}, `{upgrade}`",),
)
single(
    cause("webhook-fails-closed", "3.2", "webhooks"),
    job_webhooks,
    remedy=("exempt {job_namespace} by the webhook's namespaceSelector, or run more replicas of its server",),
)
_STREAMS = (pod_exec, pod_attach, pod_logs)
single(
    cause("api-proxy-without-upgrade", "3.2", "exec-attach"),
    *_STREAMS,
    faults=(StreamFault.NO_UPGRADE,),
    remedy=("let the load balancer in front of {api} pass on WebSocket upgrades (and SPDY for older clients)",),
)
single(
    cause("kubelet-unreachable-from-api", "3.2", "exec-attach"),
    *_STREAMS,
    faults=(StreamFault.KUBELET_UNREACHABLE,),
    remedy=(
        "allow the control plane to port 10250 of {nodes}",
        "`kubectl get csr`: approve pending kubelet certificates",
    ),
)
single(
    cause("stream-broken", "3.2", "exec-attach"),
    *_STREAMS,
    likely="`kubectl exec` from another network, and the kubelet's log on the node",
    remedy=("raise the idle timeout of what lies between here and {api}", "on {nodes}: `journalctl -u kubelet -n 100`"),
)
