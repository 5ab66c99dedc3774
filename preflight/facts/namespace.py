"""3.2 The jobs' namespace: admission, the runner's rights, and exec, attach and logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, Evidence, NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.facts.probe_plan import LATER, TTL, disturbs_no_other, named_node, require_probed, with_pull_secrets
from preflight.facts.references import Ref
from preflight.facts.target_selectors import probe_image
from preflight.faults import RightsFault, StreamFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, job_pod_limits, job_pod_requests, waiting_job
from preflight.probes import job_leftovers, pods, rights, shell, streams, webhooks
from preflight.probes import job_references as references
from preflight.probes.cleanup import OwnObjects
from preflight.probes.cluster import NamespaceState, Nodes
from preflight.probes.job_leftovers import JobLeftovers
from preflight.probes.job_references import JobReferences, Kind
from preflight.probes.pod_runs import MootError
from preflight.probes.quota import Needs
from preflight.probes.rights import Account, Rights
from preflight.probes.streams import StreamCheck, StreamChecks
from preflight.probes.transcript import WorkerRoom
from preflight.probes.webhooks import Webhooks
from preflight.releasenames import names_of
from preflight.run import Run
from preflight.shell_command import program
from preflight.values import Values

_ANNOUNCING = ("warn", "audit")  # modes of Pod Security that refuse nothing


@fact(tolerates=("namespace_state",))
def namespace_presence(namespace_state: NamespaceState) -> NamespaceState:
    """The jobs' namespace."""
    _require_readable(namespace_state, '"namespaces"', f"whether the namespace {namespace_state.target} exists")
    return namespace_state


@fact()
def namespace_limits(namespace_state: NamespaceState) -> NamespaceState:
    """The quotas and limits of the jobs' namespace."""
    for resource in ("resourcequotas", "limitranges"):
        _require_readable(namespace_state, f'"{resource}"', f"the {resource} of {namespace_state.target}")
    quotas = [f"quota {quota['metadata']['name']}: {quota.get('status', {})}" for quota in namespace_state.quotas]
    limits = [
        f"limits {limit_range['metadata']['name']}: {limit_range.get('spec', {})}"
        for limit_range in namespace_state.limit_ranges
    ]
    evidence = Evidence(
        where="here",
        command=program("kubectl", "-n", namespace_state.target, "get", "resourcequota,limitrange", "-o", "yaml"),
        observed="\n".join(quotas + limits) or "neither quota nor limits",
        took=namespace_state.evidence.took,
    )
    return replace(namespace_state, evidence=evidence)


def _require_readable(state: NamespaceState, resource: str, what: str) -> None:
    rule = next((right for right in state.unread if resource in right), "")
    if rule:
        raise Unmeasured(f"the API server does not allow reading {what}", needs=rule, evidence=state.evidence)


@fact()
def namespace_levels(namespace_state: NamespaceState, job_shape: JobShape) -> NamespaceState:
    """The levels of Pod Security that the jobs' namespace only announces."""
    levels = {mode: namespace_state.pod_security.get(mode, "privileged") for mode in _ANNOUNCING}
    stricter = {mode: level for mode, level in levels.items() if level != "privileged"}
    if not job_shape.privileged_anywhere or not stricter:
        return namespace_state
    announced = ", ".join(f"{mode}={level}" for mode, level in stricter.items())
    return replace(
        namespace_state,
        fault=RightsFault.STRICTER_ANNOUNCED,
        cause=f"namespace {namespace_state.target} announces {announced}, and jobs are privileged",
    )


@fact(after=("api_answer",), deadline="api", reported_by=("runner_rights",))
def manager_account(kubernetes: api_client.Api, helm_values: Values) -> Account:
    """The service account of the runner's managers."""
    rendering = helm_values.rendering
    account = rights.account(
        kubernetes,
        helm_values.release,
        names_of(helm_values),
        brings_rights=bool(rendering.rules if rendering is not None else helm_values.get("rbac.create")),
    )
    if account is None:
        reason = (
            f"release {helm_values.release} is not installed yet, and its chart makes the service account and its role"
        )
        raise NotApplicable(reason)
    return account


@fact(after=("api_answer", "namespace_state"), deadline="api+api+api")
def manager_references(kubernetes: api_client.Api, helm_values: Values) -> JobReferences:
    """What the managers' pods name and the release does not bring, without the account and the Secrets of 3.3."""
    rendering, names = helm_values.rendering, names_of(helm_values)
    elsewhere = {names.secret, str(helm_values.get("certsSecretName"))}
    if rendering is not None and rendering.workload is not None:
        named = references.beside_the_release(rendering)
    else:  # without Helm, what the values say by themselves
        settings = ("priorityClassName", "runtimeClassName")
        named = list(references.references({key: helm_values.get(key) for key in settings}))
    named = [reference for reference in named if reference.kind != Kind.SECRET or reference.name not in elsewhere]
    return references.look_up(kubernetes, names.namespace, named, pod="the managers' pod")


@fact(after=("namespace_state",), tolerates=("manager_account",), deadline="api")
def runner_rights(manager_account: Account, kubernetes: api_client.Api, job_shape: JobShape) -> Rights:
    """What the runner may do in the jobs' namespace, of what no job can run without."""
    if manager_account.fault is not None:
        return Rights(
            target=manager_account.target,
            account=manager_account.target,
            missing={},
            fault=manager_account.fault,
            cause=manager_account.cause,
            evidence=manager_account.evidence,
        )
    return rights.review(
        kubernetes,
        manager_account,
        job_shape.namespace,
        rights.needed(job_shape),
        fault=RightsFault.MISSING,
        everywhere=job_shape.namespace_per_job,
    )


@fact(after=("namespace_state", "runner_rights"), deadline="api")
def runner_optional_rights(
    manager_account: Account,
    kubernetes: api_client.Api,
    job_shape: JobShape,
) -> Rights:
    """What the runner may do in the jobs' namespace, of what it can do without."""
    return rights.review(
        kubernetes,
        manager_account,
        job_shape.namespace,
        rights.SOFT,
        fault=RightsFault.WANTING,
        everywhere=job_shape.namespace_per_job,
    )


@fact(after=("api_answer",), deadline="api")
def job_webhooks(namespace_state: NamespaceState, kubernetes: api_client.Api, job_shape: JobShape) -> Webhooks:
    """The admission webhooks that review a job's pod."""
    return webhooks.webhooks(
        kubernetes, namespace=job_shape.namespace, namespace_labels=namespace_state.labels, labels=job_shape.labels
    )


@fact(after=("namespace_presence",), deadline="api+api+api")
def old_job_objects(kubernetes: api_client.Api, job_shape: JobShape, inventory: Inventory) -> JobLeftovers:
    """What jobs that ended badly have left in their namespace."""
    return job_leftovers.job_leftovers(
        kubernetes, job_shape.namespace, longest=inventory.limits.job_age, now=time.time()
    )


@fact(tolerates=("old_job_objects",))
def filled_quotas(
    old_job_objects: JobLeftovers, namespace_state: NamespaceState, job_shape: JobShape, inventory: Inventory
) -> JobLeftovers:
    """The quotas that old objects of jobs fill."""
    services = 0 if inventory.dind == "none" else 1
    job = Needs(
        job_pod_requests(job_shape, services, limit_ranges=namespace_state.limit_ranges),
        job_pod_limits(job_shape, services, limit_ranges=namespace_state.limit_ranges),
    )
    return job_leftovers.filling_quotas(old_job_objects, namespace_state.quotas, job)


@fact(
    after=("worker_placement", "pod_admission"),
    effect="probe",
    optional=("worker_headroom",),
    deadline="pod",
    group="streams",
    reported_by=("pod_exec",),
)
def streams_head_start(
    worker: str,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    worker_headroom: WorkerRoom | None,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> StreamChecks | None:
    """A pod on a worker that waits for commands, while a job's pod is still looked at there.

    None where it would disturb that one (the image is still to be pulled, or room is short), and where it did not start
    or that one shows that nothing comes of it.
    """
    require_probed(worker, cluster_nodes, job_shape, inventory, run, None)
    images = (inventory.probe.image,)
    if not disturbs_no_other(images, named_node(worker, cluster_nodes), namespace_state, worker_headroom):
        return None

    def is_moot() -> bool:
        return run.moot(Ref.STREAMS_HEAD_START, {"worker": worker})

    try:
        return _streams(worker, namespace_state, job_shape, own_objects, inventory, run, moot=is_moot)
    except Unmeasured:
        return None


@fact(
    after=("pod_start", "pod_pull"),
    effect="probe",
    deadline="pod",
    group="pods",
    optional=("streams_head_start",),
    for_target={"pod_pull": ("image", probe_image)},
    reported_by=("pod_exec",),
)
def pod_streams(
    worker: str,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    streams_head_start: StreamChecks | None,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> StreamChecks:
    """A pod on a worker that waits for commands, as a job's does."""
    if streams_head_start is not None:
        return streams_head_start
    return _streams(worker, namespace_state, job_shape, own_objects, inventory, run, suffix=LATER)


def _streams(
    worker: str,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
    *,
    suffix: str = "",
    moot: Callable[[], bool] = bool,
) -> StreamChecks:
    """Make the pod, try its streams and begin to remove it; the suffix tells its Job from one that is being removed."""
    greeting = shell.new_nonce()
    manifest = waiting_job(
        with_pull_secrets(job_shape, inventory),
        node=worker,
        run_id=run.id,
        image=inventory.probe.image,
        greeting=greeting,
        deadline=int(inventory.deadlines.pod),
        ttl=TTL,
        limit_ranges=namespace_state.limit_ranges,
        pod_selectors_to_avoid=namespace_state.selectors,
        user_assigned=namespace_state.assigns_users,
    )
    manifest["metadata"]["name"] += suffix
    try:
        pod = pods.hold(
            own_objects.api,
            manifest,
            node=worker,
            deadline=inventory.deadlines.pod,
            on_event=lambda text: run.say(f"pod_streams[{worker}]", f"pod on {worker}: {text}"),
            moot=moot,
            shutdown=run.shutdown,
        )
    except MootError as error:
        own_objects.remove(error.job)
        raise
    if pod.fault is not None:
        own_objects.remove(pod.job)
        raise Unmeasured(
            f"the pod on {worker} that waits for commands did not start: {pod.fault}: {pod.cause}",
            needs="a second run: an earlier pod on that node did start",
            evidence=pod.evidence,
        )
    checks = streams.check_streams(
        own_objects.api,
        job_shape.namespace,
        pod.name,
        node=worker,
        greeting=greeting,
        deadline=inventory.deadlines.api,
        quiet=inventory.limits.quiet_stream if run.plans(Ref.POD_QUIET_STREAM, worker=worker) else None,
    )
    own_objects.remove(pod.job)
    return checks


@fact(optional=("pod_logs",))
def pod_exec(worker: str, pod_streams: StreamChecks, pod_logs: StreamCheck | None) -> StreamCheck:
    """Commands in a pod on a worker, by exec."""
    check = streams.unwrap(pod_streams.exec)
    if check.fault is StreamFault.KUBELET_UNREACHABLE and pod_logs is not None and pod_logs.fault is check.fault:
        raise Blocked.by(Ref.POD_LOGS, pod_logs, {"worker": worker}, measured=check)
    return check


@fact(after=("pod_exec",))
def pod_quiet_stream(pod_streams: StreamChecks, inventory: Inventory) -> StreamCheck:
    """A quiet stream to a pod on a worker."""
    if inventory.limits.quiet_stream is None:
        reason = "no limits.quiet_stream in the inventory: no stream was held open to see whether it is cut"
        raise NotApplicable(reason)
    if pod_streams.quiet is None:
        raise Unmeasured("no quiet stream was held open", needs="a run in which exec works in that pod")
    return streams.unwrap(pod_streams.quiet)


pod_attach = view(
    "pod_attach",
    pod_streams,
    lambda checks: streams.unwrap(checks.attach),
    "Standard input of a pod on a worker, by attach.",
    after=("pod_exec",),
)
pod_logs = view("pod_logs", pod_streams, lambda checks: streams.unwrap(checks.logs), "The log of a pod on a worker.")
