"""3.2 Namespace: it exists, the runner has its rights in it, and exec, attach and logs work on every worker."""

import pytest

from preflight.facts import JobLeftovers, JobReferences, NamespaceState, Rights, StreamCheck, Webhooks


def test_the_jobs_namespace_exists(namespace_presence: NamespaceState) -> None:
    """3.2.1 The namespace that jobs run in exists.

    Why: the runner does not create it; without it no job's pod is admitted.
    Remedy (namespace-missing): create the namespace that `namespace` in `runners.config` names (`kubectl create
        namespace`); one that is being deleted must be gone first.
    Remedy: make `kubectl get namespace NAMESPACE` show it as Active.
    """
    assert not namespace_presence.fault


def test_namespace_limits_are_readable(namespace_limits: NamespaceState) -> None:
    """3.2.2 The quotas and limits of the jobs' namespace can be read.

    Why: probe pods are sized by them, and the headroom for jobs is computed with them; without them, both are guesses.
    Remedy: allow the operator to read resourcequotas and limitranges in the namespace.
    """
    assert not namespace_limits.fault


@pytest.mark.advice
def test_no_stricter_security_level_is_announced(namespace_levels: NamespaceState) -> None:
    """3.2.3 The Pod Security levels that the jobs' namespace announces (warn, audit) would admit jobs.

    Why: what causes a warning today is rejected once `enforce` follows; admission itself is checked in 2.4.3 and 5.1.
    Remedy (stricter-announced): agree with whoever labels namespaces that this one stays privileged, and label it
        accordingly: `kubectl label ns NAMESPACE pod-security.kubernetes.io/warn=privileged --overwrite`.
    Remedy: compare the labels `pod-security.kubernetes.io/*` of the namespace with `privileged` in `runners.config`.
    """
    assert not namespace_levels.fault


def test_the_runner_may_create_job_pods(runner_rights: Rights) -> None:
    """3.2.4 The runner's service account has the rights in the jobs' namespace that every job needs.

    Why: without them, jobs fail with "setting up build pod" or "setting up credentials". Chart 0.80 creates its Role in
        the release's namespace only, even if `namespace` in `runners.config` is another one (fixed in 0.84).
    Remedy (account-missing): `helm upgrade` the release, or correct `serviceAccount.name` in the values.
    Remedy (rights-missing): set `rbac.create: true` (the default is false), or give the account a Role in the jobs'
        namespace with the rules at the end of the evidence.
    Remedy: `kubectl auth can-i --list -n NAMESPACE --as system:serviceaccount:NAMESPACE:ACCOUNT` shows its rights.
    """
    assert not runner_rights.fault


@pytest.mark.advice
def test_the_runner_has_its_optional_rights(runner_optional_rights: Rights) -> None:
    """3.2.5 The runner's service account can watch pods and read events and logs in the jobs' namespace.

    Why: without these rights, the runner polls ("won't use informers"), shows no warning events, and starts no services
        with ports.
    Remedy (rights-wanting): add the rules at the end of the evidence to the account's Role (`rbac.rules`).
    Remedy: `kubectl auth can-i --list -n NAMESPACE --as system:serviceaccount:NAMESPACE:ACCOUNT` shows its rights.
    """
    assert not runner_optional_rights.fault


@pytest.mark.advice
def test_no_webhook_can_block_job_pods(job_webhooks: Webhooks) -> None:
    """3.2.6 No admission webhook that fails closed applies to a job's pod.

    Why: while such a webhook's server is down or slow, every job fails at once, and nothing in GitLab says why.
    Remedy (webhook-fails-closed): exempt the jobs' namespace (`namespaceSelector`), or set `failurePolicy: Ignore` if
        the webhook is dispensable; otherwise run its server on more than one node.
    Remedy: `kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations` lists them.
    """
    assert not job_webhooks.fault


def test_exec_works_on_each_worker(pod_exec: StreamCheck) -> None:
    """3.2.7 Commands run by exec in a pod on each worker.

    Why: the runner runs commands in every job's pod by exec, which goes through the API server to that node's port
        10250.
    Remedy (no-upgrade): configure the load balancer or proxy before the API server to pass upgrades (TCP mode, or the
        headers Upgrade and Connection).
    Remedy (kubelet-unreachable): open TCP 10250 from the control plane to this node.
    Remedy (not-started, wrong-output): check this node's runtime: `journalctl -u containerd`.
    Remedy (stream-cut, stream-slow): look for idle timeouts between here, the API server and this node.
    Remedy: make `kubectl exec` into a pod on this worker succeed.
    """
    assert not pod_exec.fault


def test_attach_works_on_each_worker(pod_attach: StreamCheck) -> None:
    """3.2.8 Attach works on each worker: a pod receives its script on standard input.

    Why: by default the runner attaches to the build container to send the job's script.
    Remedy (kubelet-unreachable): open TCP 10250 from the control plane to this node.
    Remedy (stream-cut, stream-slow): look for idle timeouts between here, the API server and this node.
    Remedy: make `kubectl attach -i` to a pod on this worker succeed; with `FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY`
        the runner does not attach.
    """
    assert not pod_attach.fault


def test_logs_are_readable_on_each_worker(pod_logs: StreamCheck) -> None:
    """3.2.9 The log of a pod on each worker can be read.

    Why: failed jobs are examined by their pod's log, and the runner reads its services' logs this way.
    Remedy (kubelet-unreachable): open TCP 10250 from the control plane to this node.
    Remedy (wrong-output): check this node's disk and runtime: `journalctl -u kubelet`.
    Remedy: make `kubectl logs` of a pod on this worker succeed.
    """
    assert not pod_logs.fault


def test_the_volumes_of_job_pods_have_their_sources(job_volumes: JobReferences) -> None:
    """3.2.10 What the volumes and variables of a job's pod are made of exists: claims, Secrets, ConfigMaps, drivers.

    Why: a job's pod that names what is not there stays Pending until the runner gives up.
    Remedy (claim-missing): create the PersistentVolumeClaim in the jobs' namespace, or correct its name below
        [[runners.kubernetes.volumes.pvc]].
    Remedy (claim-unbound): `kubectl describe pvc` shows what the claim waits for: a StorageClass, its provisioner, or a
        PersistentVolume.
    Remedy (source-missing): create the Secret or ConfigMap with the keys that the values name, or install the CSI
        driver.
    Remedy: make every object that `[runners.kubernetes.volumes]` names exist in the jobs' namespace.
    """
    assert not job_volumes.fault


def test_what_job_pods_require_exists(job_prerequisites: JobReferences) -> None:
    """3.2.11 Whatever must exist before a job's pod is made does: service account, pull secrets and classes.

    Why: the API server refuses a pod that names an account or a class that is not there, and the runner looks for
        account and pull secrets itself, and fails the job without them.
    Remedy (service-account-missing): create the service account, or correct `service_account` in `runners.config`.
    Remedy (pull-secret-missing): create the Secret in the jobs' namespace, or remove its name from
        `image_pull_secrets`: the runner waits for each, used or not.
    Remedy (class-missing): correct `priority_class_name` or `runtime_class_name`, or have the class created.
    Remedy: make every name of `[runners.kubernetes]` one that exists.
    """
    assert not job_prerequisites.fault


@pytest.mark.advice
def test_the_claims_of_jobs_suit_several_nodes(job_claims: JobReferences) -> None:
    """3.2.12 Jobs on several nodes can use the claims of the values at the same time.

    Why: a ReadWriteOnce volume is attached to one node; jobs on all others wait for it, and then fail.
    Remedy (one-node): use a ReadWriteMany claim or the distributed cache, or keep jobs on one node (`node_selector`).
    Remedy: compare the claims' access modes with the number of nodes that run jobs.
    """
    assert not job_claims.fault


def test_quiet_streams_stay_open_on_each_worker(pod_quiet_stream: StreamCheck) -> None:
    """3.2.13 A stream to a pod on each worker stays open while nothing is sent over it.

    Why: a job that prints nothing for some minutes, such as a long link step, ends with `unexpected EOF` or `connection
        reset` where a proxy or load balancer before the API server cuts idle connections.
    Remedy (stream-idle-cut): raise the idle timeout of what lies before the API server (`proxy_timeout` of nginx's
        stream, `timeout client`, `timeout server` and `timeout tunnel` of HAProxy, the load balancer's own), or let
        managers reach the API server without it.
    Remedy: make `kubectl exec POD -- sleep 600` on this worker end by itself.
    """
    assert not pod_quiet_stream.fault


def test_what_the_managers_pods_require_exists(manager_references: JobReferences) -> None:
    """3.2.14 Whatever the managers' pods name, and the release does not bring, exists.

    Why: Helm says "deployed", and no manager starts: the API server refuses a pod whose class is not there, and a pod
        waits for ever for a volume whose claim, Secret or ConfigMap is not.
    Remedy (class-missing): correct `priorityClassName` in the values, or have the class created.
    Remedy (claim-missing): create the claim in the release's namespace, or correct `volumes` in the values.
    Remedy (claim-unbound): `kubectl describe pvc` shows what the claim waits for: a StorageClass, its provisioner, or a
        PersistentVolume.
    Remedy (source-missing): create the Secret or ConfigMap with the keys that the values name, before the upgrade.
    Remedy: make every object that `secrets`, `volumes` and `envVars` of the values name exist in the release's
        namespace.
    """
    assert not manager_references.fault


@pytest.mark.advice
def test_jobs_have_left_nothing_behind(old_job_objects: JobLeftovers) -> None:
    """3.2.15 The jobs' namespace has no pod, Secret or ConfigMap of a job that is long over.

    Why: a manager that is killed does not remove what it made for its jobs; it fills quotas and nodes, and Secrets with
        credentials stay readable.
    Remedy: delete them, the oldest first: `kubectl get pods,secrets,configmaps -n NAMESPACE
        --sort-by=.metadata.creationTimestamp`; set `limits.job_age` if jobs may take longer.
    """
    assert not old_job_objects.fault


def test_leftovers_fill_no_quota(filled_quotas: JobLeftovers) -> None:
    """3.2.16 What jobs have left behind fills no quota of their namespace.

    Why: the next job's pod or Secret is refused ("exceeded quota"), although no job is running.
    Remedy: delete what jobs have left, the oldest first: `kubectl get pods,secrets,configmaps -n NAMESPACE
        --sort-by=.metadata.creationTimestamp`.
    """
    assert not filled_quotas.fault
