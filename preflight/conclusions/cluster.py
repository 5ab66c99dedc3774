"""2.3, 3.2 The cluster's objects: nodes, services, the namespace, the runner's rights; exec, attach and logs."""

from __future__ import annotations

from collections.abc import Sequence

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import (
    is_by_address,
    measured_workers,
    no_harm,
    nodes_of,
    not_seen,
    reserve,
    room,
    stops_all,
    stops_there,
)
from preflight.conclusions.model import cause
from preflight.conclusions.observations import Facts, Observation
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
    manager_references,
    namespace_levels,
    namespace_limits,
    namespace_presence,
    pod_attach,
    pod_exec,
    pod_logs,
    pod_quiet_stream,
    runner_optional_rights,
    runner_rights,
)
from preflight.facts.pods import pod_admission
from preflight.facts.values import values_dns_policy, values_resolvers
from preflight.faults import ClusterFault, PodFault, RightsFault, StreamFault
from preflight.impact import Impact


def _placement(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Nodes that a selector excludes take no jobs; where it selects none at all, no pod starts."""
    if any(observation.is_of(job_placement) or observation.is_of(manager_placement) for observation in observations):
        return impact.stops()
    return room(facts, observations)


def _cluster_dns(facts: Facts, _observations: Sequence[Observation]) -> Impact:
    """Without the cluster's DNS, jobs with own resolvers run, as do managers that need no name."""
    settings = (*facts.observations(values_dns_policy), *facts.observations(values_resolvers))
    if len(settings) > 1 and all(setting.healthy for setting in settings) and is_by_address(facts.inventory):
        return impact.removes_reserve("jobs and managers use other resolvers; what runs beside them has none")
    return impact.stops()


def _streams(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Streams that break on some nodes break for managers too; on all nodes, this machine's way may break them."""
    nodes, measured = nodes_of(observations), measured_workers(facts, observations)
    if set(nodes) < set(measured):
        return impact.stops_on(nodes, of=measured)
    return impact.unseen("managers have another route to the API server than this machine")


single(
    cause("api-wrong-address", "2.3", "kubernetes-api"),
    not_seen("another cluster was asked"),
    api_address,
    remedy=("the kubeconfig leads to another server than {api}: choose its context in `cluster.context`",),
)
single(
    cause("kubernetes-wrong-version", "2.3", "version-skew-kubelet"),
    no_harm("the inventory expects another version"),
    api_version,
    remedy=("write the version that runs into `cluster.version`; chart and runner are to fit it",),
)
single(
    cause("nodes-not-listed", "2.3", "guide"),
    not_seen("the nodes are not known"),
    cluster_nodes,
    likely="`kubectl get nodes` with the same kubeconfig",
    remedy=("`kubectl get nodes`",),
)
single(
    cause("node-missing", "2.3", "guide"),
    room,
    node_presence,
    remedy=(
        "`kubectl get nodes`: under another name? correct `cluster.nodes`",
        "otherwise {join}",
    ),
)
NODE_NOT_READY = cause("node-not-ready", "2.3", "node-conditions")
single(
    NODE_NOT_READY,
    room,
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
    room,
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
    no_harm("the inventory expects another role"),
    node_role,
    remedy=("`kubectl label node {node} node-role.kubernetes.io/worker=`, or correct `role` in the inventory",),
)
single(
    cause("node-version-skew", "2.3", "version-skew-kubelet"),
    reserve("Kubernetes does not support kubelets that old"),
    node_version,
    pool_versions,
    remedy=("upgrade the kubelet of {nodes} to {kubernetes}: {node_upgrade}",),
)
_PLACES = (worker_placement, pool_placement)
single(
    cause("node-cordoned", "2.3", "node-conditions"),
    room,
    *_PLACES,
    faults=(PodFault.UNSCHEDULABLE_CORDONED,),
    remedy=("`kubectl uncordon {node_list}` once maintenance there is over",),
)
single(
    cause("node-tainted", "2.3", "scheduling"),
    room,
    *_PLACES,
    faults=(PodFault.UNSCHEDULABLE_TAINT,),
    remedy=(
        "remove the taint: `kubectl taint nodes {node_list} {taints}`",
        "or tolerate it: {tolerations} below `[runners.kubernetes.node_tolerations]` in {values}",
        "`{upgrade}`",
    ),
    names=remedy_names.placement,
)
single(
    cause("node-not-selected", "2.3", "scheduling"),
    _placement,
    *_PLACES,
    job_placement,
    manager_placement,
    remedy=(
        "label the nodes as {values} requires: `kubectl label nodes {node_list} {labels}`",
        "or correct `node_selector` / `affinity` in {values}",
        "`{upgrade}`",
    ),
    names=remedy_names.placement,
)
single(
    cause("preference-unmet", "7.3", "scheduling"),
    no_harm("jobs run on other nodes"),
    preferred_placement,
    remedy=("label the nodes that are preferred, or remove the preference from {values}",),
)
single(
    cause("pool-missing", "2.3", "guide"),
    room,
    pool_presence,
    remedy=("{pool_step}",),
    names=remedy_names.pool_labels,
)
single(
    cause("cluster-dns-missing", "2.3", "kube-dns"),
    _cluster_dns,
    kube_dns,
    faults=(ClusterFault.SERVICE_MISSING,),
    remedy=("{dns_install}",),
)
single(
    cause("cluster-dns-down", "2.3", "kube-dns"),
    _cluster_dns,
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
    no_harm("only `kubectl top` and autoscaling need it"),
    metrics_api,
    faults=(ClusterFault.METRICS_MISSING,),
    remedy=(
        "install metrics-server: `helm upgrade --install metrics-server metrics-server -n kube-system --repo "
        "https://kubernetes-sigs.github.io/metrics-server/`",
        "`kubectl top nodes` must answer",
    ),
)
single(
    cause("metrics-unavailable", "2.3", "metrics-server"),
    no_harm("only `kubectl top` and autoscaling need it"),
    metrics_api,
    remedy=(
        "`kubectl get apiservice v1beta1.metrics.k8s.io` says why; its Service and pods: "
        "`kubectl get deploy,svc,pods -n kube-system | grep metrics-server`",
        "`kubectl rollout restart -n kube-system deployment/metrics-server`, or install it again",
    ),
)
NAMESPACE_MISSING = cause("namespace-missing", "3.2", "guide")
single(
    NAMESPACE_MISSING,
    stops_all,
    namespace_presence,
    pod_admission,
    faults=(PodFault.NAMESPACE_MISSING,),
    remedy=(
        "`kubectl create namespace {job_namespace}`",
        "if another one was meant: correct `namespace` in `runners.config` of {values}",
        "`{upgrade}`",
    ),
)
single(
    cause("namespace-limits-refuse-jobs", "3.2", "limit-range"),
    stops_all,
    namespace_limits,
    remedy=(
        "`kubectl describe limitrange,quota -n {job_namespace}` against requests and limits in {values}",
        "raise the limits, or lower the jobs' requests",
    ),
)
single(
    cause("stricter-pod-security-announced", "3.2", "pod-security"),
    no_harm("it is not enforced"),
    namespace_levels,
    remedy=("decide before the level is enforced: `kubectl get ns {job_namespace} --show-labels`",),
)
single(
    cause("runner-service-account-missing", "3.2", "rbac"),
    stops_all,
    runner_rights,
    faults=(RightsFault.ACCOUNT_MISSING,),
    remedy=("`serviceAccount.create: true` in {values} (or create the one it names), `{upgrade}`",),
)
single(
    cause("manager-references-missing", "3.2", "job-references"),
    stops_all,
    manager_references,
    remedy=(
        "`kubectl get priorityclasses` and `kubectl get pvc,secret,configmap -n {namespace}`: "
        "is it there under another name?",
        "create it, or correct `priorityClassName`, `secrets`, `volumes` or `envVars` in {values}, `{upgrade}`",
    ),
)
single(
    cause("runner-rights-missing", "3.2", "rbac"),
    stops_all,
    runner_rights,
    remedy=(
        "`rbac.create: true` in {values}; in a job namespace of its own add Role and RoleBinding by hand",
        "`{upgrade}`",
        "`kubectl auth can-i --list -n {job_namespace} --as system:serviceaccount:{namespace}:{release}`",
    ),
)
single(
    cause("runner-optional-rights-missing", "3.2", "optional-rights"),
    no_harm("jobs run, the runner reports less of them"),
    runner_optional_rights,
    remedy=("add the verbs that it names under `rbac.rules` in {values}, `{upgrade}`",),
)
single(
    cause("webhook-fails-closed", "3.2", "webhooks"),
    reserve("where the webhook's server fails, no job starts"),
    job_webhooks,
    remedy=(
        "exempt {job_namespace} by the webhook's namespaceSelector, or run more replicas of its server",
        "`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` lists them",
    ),
)
_STREAMS = (pod_exec, pod_attach, pod_logs)
single(
    cause("api-proxy-without-upgrade", "3.2", "exec-attach"),
    not_seen("managers have another route to the API server than this machine"),
    *_STREAMS,
    faults=(StreamFault.NO_UPGRADE,),
    remedy=(
        "let the load balancer in front of {api} pass on WebSocket upgrades (and SPDY for older clients): best as "
        "plain TCP (`stream` of nginx, `mode tcp` of HAProxy)",
    ),
)
single(
    cause("kubelet-unreachable-from-api", "3.2", "exec-attach"),
    stops_there(),
    *_STREAMS,
    faults=(StreamFault.KUBELET_UNREACHABLE,),
    remedy=(
        "allow the control plane to port 10250 of {nodes}",
        "`kubectl get csr` shows pending kubelet certificates, `kubectl certificate approve` approves them",
    ),
)
single(
    cause("idle-stream-cut", "3.2", "exec-attach"),
    not_seen("managers have another route to the API server than this machine"),
    pod_quiet_stream,
    faults=(StreamFault.IDLE_CUT,),
    likely="the same stream from a pod of the cluster, which is the managers' own path",
    remedy=(
        "raise the idle timeout of the proxy or load balancer before {api}: `proxy_timeout` (nginx), `timeout tunnel` "
        "(HAProxy)",
        "it must be longer than the longest time in which a job prints nothing",
    ),
)
single(
    cause("stream-broken", "3.2", "exec-attach"),
    _streams,
    *_STREAMS,
    likely="`kubectl exec` from another network, and the kubelet's log on the node",
    remedy=("raise the idle timeout of what lies between here and {api}", "on {nodes}: `journalctl -u kubelet -n 100`"),
)
