"""2.4, 3.2 Pods that do not start: admission, quota, limits, account, webhook; scheduling; start."""

from __future__ import annotations

from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import admission, always, gitlab_for_jobs, room, stops_all, stops_there
from preflight.conclusions.model import cause
from preflight.conclusions.paths import OTHERWISE
from preflight.conclusions.single_fact import single
from preflight.facts.dind import dind_admission
from preflight.facts.paths import node_gitlab, pod_clone, pod_gitlab
from preflight.facts.pods import (
    job_claims,
    job_prerequisites,
    job_volumes,
    pod_admission,
    pod_patches,
    pod_start,
)
from preflight.faults import PathFault, PodFault, ReferenceFault
from preflight.impact import takes_room

_ADMISSION = (pod_admission, dind_admission, pod_start)
_LIMITS = "`kubectl describe quota,limitrange -n {job_namespace}`"

single(
    cause("pod-security-refuses-jobs", "3.2", "pod-security"),
    admission,
    *_ADMISSION,
    faults=(PodFault.POD_SECURITY,),
    remedy=(
        "`kubectl get ns {job_namespace} --show-labels` shows the level",
        "`kubectl label ns {job_namespace} pod-security.kubernetes.io/enforce=privileged --overwrite` "
        "(Docker-in-Docker needs it), or a namespace of its own for jobs",
    ),
)
single(
    cause("security-constraints-refuse-jobs", "3.2", "admission-policy"),
    admission,
    *_ADMISSION,
    faults=(PodFault.SECURITY_CONSTRAINTS,),
    remedy=(
        "the message lists what each SecurityContextConstraints objects to: `oc get scc`",
        "`oc adm policy add-scc-to-user SCC -z ACCOUNT -n {job_namespace}` (privileged jobs need `privileged`)",
        "or leave users, groups and privileges of `[runners.kubernetes]` in {values} to OpenShift, `{upgrade}`",
    ),
)
single(
    cause("limit-range-refuses-jobs", "3.2", "limit-range"),
    admission,
    *_ADMISSION,
    faults=(PodFault.LIMIT_RANGE,),
    remedy=(
        "bring `cpu_limit`, `memory_limit` and the requests below `[runners.kubernetes]` in {values} inside of it",
        _LIMITS + " shows the bounds",
        "`{upgrade}`",
    ),
)
single(
    cause("job-service-account-missing", "3.2", "rbac"),
    admission,
    job_prerequisites,
    *_ADMISSION,
    faults=(PodFault.SERVICE_ACCOUNT_MISSING,),
    remedy=(
        "create the account that `service_account` in {values} names: "
        "`kubectl create serviceaccount {service_account} -n {job_namespace}`",
        "or correct the name: `kubectl get serviceaccounts -n {job_namespace}` lists what there is; `{upgrade}`",
    ),
    names=remedy_names.service_account,
)
single(
    cause("job-class-missing", "3.2", "job-references"),
    stops_all,
    job_prerequisites,
    *_ADMISSION,
    faults=(PodFault.CLASS_MISSING,),
    remedy=(
        "`kubectl get priorityclasses,runtimeclasses`",
        "correct `priority_class_name` or `runtime_class_name` in {values}, `{upgrade}`; or have the class created",
    ),
)
single(
    cause("job-pull-secret-missing", "3.2", "job-references"),
    stops_all,
    job_prerequisites,
    faults=(ReferenceFault.PULL_SECRET_MISSING,),
    remedy=(
        "`kubectl get secrets -n {job_namespace}`: is it there under another name?",
        "create it there, or take its name out of `image_pull_secrets` in {values}, `{upgrade}`",
    ),
)
single(
    cause("job-claim-missing", "3.2", "job-references"),
    stops_all,
    job_volumes,
    faults=(ReferenceFault.CLAIM_MISSING,),
    remedy=(
        "`kubectl get pvc -n {job_namespace}`: is it there under another name, or in another namespace?",
        "create it in {job_namespace}, or correct `[[runners.kubernetes.volumes.pvc]]` in {values}, `{upgrade}`",
    ),
)
single(
    cause("job-claim-unbound", "3.2", "job-references"),
    stops_all,
    job_volumes,
    faults=(ReferenceFault.CLAIM_UNBOUND,),
    remedy=(
        "`kubectl describe pvc -n {job_namespace}`: its events say what it waits for",
        "`kubectl get storageclass,pv`: create the class or the volume, or repair the class's provisioner",
    ),
)
single(
    cause("job-volume-source-missing", "3.2", "job-references"),
    stops_all,
    job_volumes,
    remedy=(
        "`kubectl get secrets,configmaps -n {job_namespace}`; `kubectl get csidrivers`",
        "create what is missing, or correct `[runners.kubernetes.volumes]` in {values}, `{upgrade}`",
    ),
)
single(
    cause("job-claim-on-one-node", "3.2", "job-references"),
    always(takes_room("jobs run on the one node that has the claim")),
    job_claims,
    remedy=(
        "use a ReadWriteMany claim or `[runners.cache]` instead",
        "or keep jobs on one node: `[runners.kubernetes.node_selector]` in {values}, `{upgrade}`",
    ),
)
single(
    cause("pod-patch-fails", "3.3", "pod-spec-patches"),
    stops_all,
    pod_patches,
    remedy=(
        "correct the patch below `[[runners.kubernetes.pod_spec]]` in {values}, `{upgrade}`",
        "a job's pod without it: `kubectl get pod -n {job_namespace} -l job.runner.gitlab.com/pod -o yaml`",
    ),
)
single(
    cause("webhook-refuses-jobs", "3.2", "webhooks"),
    admission,
    *_ADMISSION,
    faults=(PodFault.WEBHOOK,),
    remedy=(
        "{webhook_server}",
        "or exempt {job_namespace} by the namespaceSelector of {webhook}: "
        "`kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` shows where it is configured",
    ),
    names=remedy_names.webhook,
)
single(
    cause("admission-refuses-jobs", "3.2", "admission-policy"),
    admission,
    pod_admission,
    dind_admission,
    remedy=(
        "change what the API server's message names, in {values} or in the policy; `kubectl create --dry-run=server` "
        "with a job's pod (in preflight.json) reproduces it",
    ),
)
single(
    cause("pod-unschedulable", "2.4", "scheduling"),
    room,
    pod_start,
    faults=(
        PodFault.UNSCHEDULABLE,
        PodFault.UNSCHEDULABLE_RESOURCE,
        PodFault.UNSCHEDULABLE_TAINT,
        PodFault.UNSCHEDULABLE_SELECTOR,
        PodFault.UNSCHEDULABLE_CORDONED,
        PodFault.NO_ELIGIBLE_NODE,
    ),
    remedy=("`kubectl describe node {node}`: taints, labels and what is requested there",),
)
single(
    cause("pod-evicted", "2.4", "eviction"),
    stops_there(),
    pod_start,
    faults=(PodFault.EVICTED,),
    remedy=("`kubectl describe node {node}`: which resource ran short; set requests for it in {values}",),
)
single(
    cause("pod-does-not-start", "2.4", "poll-timeout"),
    stops_there(),
    pod_start,
    likely="the events of a job's pod on that node",
    remedy=(
        "`kubectl get events -n {job_namespace} --sort-by=.lastTimestamp | tail`",
        "on {node}: `journalctl -u kubelet -u containerd -n 100`",
    ),
)
single(
    cause("clone-host-unusable", "2.4", "clone-url"),
    stops_there(),
    pod_clone,
    faults=(PathFault.UNRESOLVED,),
    remedy=(
        "add the host of GitLab's `external_url` to {resolvers}",
        'or set `clone_url = "{gitlab}"` in `runners.config` of {values}',
        "`{upgrade}`",
    ),
)
single(
    cause("clone-host-unreachable", "2.4", "clone-url"),
    stops_there(),
    pod_clone,
    remedy=(
        "allow the pod network {pod_cidr} to that host's port",
        'or set `clone_url = "{gitlab}"` in `runners.config` of {values}',
        "`{upgrade}`",
    ),
)
single(
    cause("gitlab-name-unknown-in-pods", "2.4", "name-resolution"),
    gitlab_for_jobs,
    pod_gitlab,
    node_gitlab,
    faults=(PathFault.UNRESOLVED,),
    remedy=("add {gitlab_host} to {resolvers}", "`kubectl exec` into a job's pod: `nslookup {gitlab_host}`"),
)
single(
    OTHERWISE,
    gitlab_for_jobs,
    pod_gitlab,
    node_gitlab,
    likely="the same request from here and from every worker",
    remedy=("on {node}: `curl -v {gitlab}`",),
)
