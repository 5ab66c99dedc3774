"""2.4 A job's pod on each worker: admission, start, and the output of its script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked
from preflight.fact import fact
from preflight.facts.probe_plan import (
    TTL,
    named_node,
    require_probed,
    script_report,
    script_steps,
    with_pull_secrets,
)
from preflight.facts.references import Ref
from preflight.facts.target_selectors import probe_image
from preflight.faults import PodFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, probe_job
from preflight.jobshape import job_pod as job_pod_manifest
from preflight.probes import pods, shell
from preflight.probes.cleanup import OwnObjects
from preflight.probes.cluster import NamespaceState, Nodes
from preflight.probes.headroom import Headroom
from preflight.probes.lint import Lint
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.transcript import PodStart, PodTranscript, Report, WorkerRoom
from preflight.run import Run
from preflight.values import HELPER_SETTINGS, Values


@fact(
    after=("api_answer", "namespace_state"), effect="probe", deadline="api", optional=("values_resolvers", "headroom")
)
def pod_admission(
    kubernetes: api_client.Api,
    job_shape: JobShape,
    values_resolvers: Lint | None,
    headroom: Headroom | None,
) -> PodAdmission:
    """The API server's admission of a job's pod."""
    restricted = replace(job_shape, privileged=False)
    admission = pods.dry_run(kubernetes, job_pod_manifest(restricted, services=(), name="preflight-dry-run"))
    if admission.fault is PodFault.REFUSED_BY_API and values_resolvers is not None and values_resolvers.fault:
        raise Blocked.by(Ref.VALUES_RESOLVERS, values_resolvers)
    # A quota that admits no pod is known from reading it: there is room for no job.
    if admission.fault is PodFault.QUOTA and headroom is not None and headroom.quota_limit == 0:
        raise Blocked.by(Ref.HEADROOM, headroom, measured=admission)
    return admission


@fact(effect="probe", deadline="clean")
def own_objects(
    kubernetes: api_client.Api, job_shape: JobShape, inventory: Inventory, run: Run
) -> Iterator[OwnObjects]:
    """Everything that this run makes in the cluster: removed at the end of the run in any case."""
    ours = OwnObjects(kubernetes, job_shape.namespace, run.id, inventory.deadlines.clean, run.shutdown)
    yield ours
    ours.sweep()


@fact(
    after=("worker_placement",),
    effect="probe",
    tolerates=("pod_admission",),
    deadline="pod+clean",
    group="pods",
    reported_by=("pod_start",),
)
def job_pod(
    worker: str,
    pod_admission: PodAdmission,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    helm_values: Values,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> PodTranscript:
    """A job's pod on a worker."""
    _require_admission_of_ours(pod_admission)
    require_probed(worker, cluster_nodes, job_shape, inventory, run, None)
    nonce = shell.new_nonce()
    steps = script_steps(
        inventory,
        run,
        reply=Ref.POD_GITLAB,
        page=Ref.POD_PAGE,
        lookups=Ref.POD_LOOKUPS,
        conf=Ref.POD_RESOLV_CONF,
        values=helm_values,
    )
    others = [image for image in inventory.images if run.plans(Ref.POD_IMAGE, worker=worker, image=image)]
    is_known = "$" not in job_shape.helper_image and helm_values.unread_within(*HELPER_SETTINGS) is None
    if run.plans(Ref.HELPER_PULL, worker=worker) and is_known:
        others.append(job_shape.helper_image)
    manifest = probe_job(
        with_pull_secrets(job_shape, inventory),
        node=worker,
        run_id=run.id,
        image=inventory.probe.image,
        other_images=others,
        script=shell.render(steps, limit=inventory.deadlines.step, nonce=nonce),
        deadline=int(inventory.deadlines.pod),
        ttl=TTL,
        limit_ranges=namespace_state.limit_ranges,
        pod_selectors_to_avoid=namespace_state.selectors,
    )
    pod = pods.launch(
        own_objects.api,
        manifest,
        node=worker,
        deadline=inventory.deadlines.pod,
        on_event=lambda text: run.say(f"job_pod[{worker}]", f"pod on {worker}: {text}"),
        images=named_node(worker, cluster_nodes).images,
        shutdown=run.shutdown,
    )
    own_objects.remove(pod.job)
    return PodTranscript(pod=pod, nonce=nonce)


def _require_admission_of_ours(admission: PodAdmission) -> None:
    """Raise `Blocked` unless the refusal is for a job's privilege or size: our own pods are `restricted` and small."""
    of_a_job = {PodFault.POD_SECURITY, PodFault.LIMIT_RANGE}
    if admission.fault is PodFault.QUOTA and "must specify" in admission.cause:
        of_a_job.add(PodFault.QUOTA)
    if admission.fault is not None and admission.fault not in of_a_job:
        raise Blocked.by(Ref.POD_ADMISSION, admission)


@fact(optional=("headroom", "worker_headroom"))
def pod_start(
    worker: str, job_pod: PodTranscript, headroom: Headroom | None, worker_headroom: WorkerRoom | None
) -> PodStart:
    """The start of a job's pod on a worker."""
    pod = job_pod.pod
    # Pulls have facts of their own, and so have the steps of the script.
    judged = pod.fault if isinstance(pod.fault, PodFault) and not pod.fault.value.startswith("pull-") else None
    cause = pod.cause if judged else ""
    start = PodStart(target=worker, node=worker, fault=judged, cause=cause, evidence=pod.evidence)
    if start.fault is PodFault.UNSCHEDULABLE_RESOURCE and headroom is not None and headroom.fits == 0:
        raise Blocked.by(Ref.HEADROOM, headroom, measured=start)
    if start.fault is PodFault.UNSCHEDULABLE_RESOURCE and worker_headroom is not None and worker_headroom.fault:
        raise Blocked.by(Ref.WORKER_HEADROOM, worker_headroom, {"worker": worker}, measured=start)
    return start


@fact(after=("pod_start", "pod_pull"), for_target={"pod_pull": ("image", probe_image)}, reported_by=("pod_gitlab",))
def pod_report(worker: str, job_pod: PodTranscript) -> Report:
    """The output of the probe script in a job's pod on a worker."""
    return script_report(f"pod on {worker}", job_pod)
