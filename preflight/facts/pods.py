"""2.4 A job's pod on each worker: admission, start, and the output of its script."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked
from preflight.fact import fact, view
from preflight.facts.probe_plan import (
    LATER,
    TTL,
    beyond_the_first,
    hosts_without_address,
    named_node,
    one_of_each_registry_first,
    require_probed,
    script_report,
    script_steps,
    waited_for,
    with_pull_secrets,
)
from preflight.facts.references import Ref
from preflight.facts.target_selectors import probe_image
from preflight.faults import PodFault
from preflight.inventory import Inventory
from preflight.jobpod import job_pod as job_pod_manifest
from preflight.jobshape import JobShape, probe_job, pulled_unless_present
from preflight.probes import headroom as packing
from preflight.probes import job_references as references
from preflight.probes import latency, limit_ranges, pods, shell
from preflight.probes.cleanup import OwnObjects
from preflight.probes.cluster import NamespaceState, Nodes
from preflight.probes.dns import Lookups
from preflight.probes.headroom import Headroom
from preflight.probes.job_references import JobReferences
from preflight.probes.lint import Lint
from preflight.probes.pod_runs import MootError
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import JobPod, PodPatches
from preflight.probes.pull_logins import PullLogin
from preflight.probes.transcript import PodStart, PodTranscript, Report, WorkerRoom
from preflight.run import Run
from preflight.values import HELPER_SETTINGS, Values


@fact(effect="static")
def pod_patches(job_shape: JobShape) -> PodPatches:
    """The patches of a job's pod in the values."""
    return pods.judge_patches(job_shape)


@fact(
    after=("api_answer", "namespace_state", "pod_patches"),
    optional=("pull_login",),
    fan_in={"pull_login": "registry"},
    deadline="api+api+api",
    reported_by=("job_volumes", "job_prerequisites"),
)
def job_references(kubernetes: api_client.Api, job_shape: JobShape, pull_login: tuple[PullLogin, ...]) -> JobReferences:
    """What a job's pod refers to by name."""
    reported = {name for login in pull_login for name in login.missing}
    waited_for = [name for name in job_shape.configured_pull_secrets if name not in reported]
    named = references.references(job_pod_manifest(job_shape)["spec"], pull_secrets=waited_for)
    return references.look_up(kubernetes, job_shape.namespace, named, new_namespaces=job_shape.namespace_per_job)


job_volumes = view(
    "job_volumes",
    job_references,
    lambda looked_up: looked_up.among(references.VOLUME_FAULTS),
    "What the volumes of a job's pod are made of.",
)
job_prerequisites = view(
    "job_prerequisites",
    job_references,
    lambda looked_up: looked_up.among(references.ADMISSION_FAULTS),
    "What must be there before a job's pod is made.",
)


@fact(after=("job_volumes",))
def job_claims(job_references: JobReferences, cluster_nodes: Nodes, job_shape: JobShape) -> JobReferences:
    """Whether jobs on several nodes can have the claims of the values."""
    eligible = [node.name for node in cluster_nodes.nodes if not packing.why_not(node, job_shape)]
    return references.on_one_node(job_references, eligible)


@fact(after=("api_answer", "pod_patches"), effect="probe", deadline="api", reported_by=("pod_admission",))
def pod_dry_run(kubernetes: api_client.Api, job_shape: JobShape, namespace_state: NamespaceState) -> PodAdmission:
    """The API server's answer to a dry run of a job's pod."""
    return limit_ranges.named(pods.dry_run(kubernetes, job_pod_manifest(job_shape)), namespace_state.limit_ranges)


@fact(tolerates=("pod_dry_run",), optional=("values_resolvers", "headroom", "job_prerequisites"))
def pod_admission(
    pod_dry_run: PodAdmission,
    values_resolvers: Lint | None,
    headroom: Headroom | None,
    job_prerequisites: JobReferences | None,
) -> PodAdmission:
    """The API server's admission of a job's pod."""
    admission = pod_dry_run
    if admission.fault is PodFault.REFUSED_BY_API and values_resolvers is not None and values_resolvers.fault:
        raise Blocked.by(Ref.VALUES_RESOLVERS, values_resolvers)
    # A quota that admits no pod is known from reading it: there is room for no job.
    if admission.fault is PodFault.QUOTA and headroom is not None and headroom.quota_limit == 0:
        raise Blocked.by(Ref.HEADROOM, headroom, measured=admission)
    if admission.fault in _OF_PREREQUISITES and job_prerequisites is not None and job_prerequisites.fault:
        raise Blocked.by(Ref.JOB_PREREQUISITES, job_prerequisites, measured=admission)
    return admission


_OF_PREREQUISITES = {PodFault.SERVICE_ACCOUNT_MISSING, PodFault.CLASS_MISSING}


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
    optional=("here_lookups",),
    fan_in={"here_lookups": "resolver"},
    deadline="pod+clean",
    group="pods",
    reported_by=("pod_start",),
)
def job_pod(
    worker: str,
    pod_admission: PodAdmission,
    here_lookups: tuple[Lookups, ...],
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
    nonce, nameless = shell.new_nonce(), hosts_without_address(inventory, here_lookups)
    steps = script_steps(
        inventory,
        run,
        reply=Ref.POD_GITLAB,
        page=Ref.POD_PAGE,
        lookups=Ref.POD_LOOKUPS,
        conf=Ref.POD_RESOLV_CONF,
        values=helm_values,
    )
    if run.plans(Ref.POD_ROUND_TRIPS, worker=worker):
        steps += latency.steps(latency.destinations(inventory))
    planned = [image for image in inventory.images if run.plans(Ref.POD_IMAGE, worker=worker, image=image)]
    others = one_of_each_registry_first(inventory, planned)
    is_known = "$" not in job_shape.helper_image and helm_values.unread_within(*HELPER_SETTINGS) is None
    if run.plans(Ref.HELPER_PULL, worker=worker) and is_known:
        others.append(job_shape.helper_image)
    if run.plans(Ref.SERVICE_PULL, worker=worker):
        others += job_shape.service_images
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
        user_assigned=namespace_state.assigns_users,
    )
    # A node waits for a silent resolver with each pull: one from each registry shows how long.
    spared = beyond_the_first(inventory, [inventory.probe.image, *others])

    def node_waits() -> bool:
        return bool(waited_for(here_lookups) or run.silent_resolvers.get(worker))

    def launch(*, moot: Callable[[], bool] = bool) -> JobPod:
        return pods.launch(
            own_objects.api,
            pulled_unless_present(manifest, spared) if node_waits() else manifest,
            node=worker,
            deadline=inventory.deadlines.pod,
            on_event=lambda text: run.say(f"job_pod[{worker}]", f"pod on {worker}: {text}"),
            images=named_node(worker, cluster_nodes).images,
            cut_off=lambda: nameless | run.cut_off.get(worker, frozenset()),
            slow=lambda: run.slow_registries,
            slow_for=run.slow_pull,
            moot=moot,
            shutdown=run.shutdown,
        )

    try:
        pod = launch() if node_waits() or not spared else launch(moot=node_waits)
    except MootError as error:
        own_objects.remove(error.job)
        manifest["metadata"]["name"] += LATER
        pod = launch()
    own_objects.remove(pod.job)
    return PodTranscript(pod=pod, nonce=nonce)


def _require_admission_of_ours(admission: PodAdmission) -> None:
    """Raise `Blocked` unless the refusal is for a job's privilege or size: our own pods are `restricted` and small."""
    of_a_job = {PodFault.POD_SECURITY, PodFault.SECURITY_CONSTRAINTS, PodFault.LIMIT_RANGE}
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
