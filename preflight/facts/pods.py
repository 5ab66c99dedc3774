"""2.4 A job's pod on each worker: admission, start, pulls, and what its script saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.facts.blocking import (
    block_if_another_pull_hangs,
    block_if_failing_from_here,
    block_if_first_pull_failed,
    block_if_no_resolver_answers,
    block_if_policy_misspelt,
    block_if_same_fault,
    gitlab_fact,
)
from preflight.facts.probe_plan import (
    TTL,
    expected_names,
    named_node,
    page_of,
    require_probed,
    script_report,
    script_steps,
    with_pull_secrets,
)
from preflight.facts.target_selectors import probe_image, registry_of
from preflight.faults import DnsFault, PathFault, PodFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape, probe_job
from preflight.jobshape import job_pod as job_pod_manifest
from preflight.probes import pods, shell, shell_readers, transcript
from preflight.probes.cleanup import OwnObjects
from preflight.probes.cluster import ApiServer, NamespaceState, Nodes
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom
from preflight.probes.lint import Lint
from preflight.probes.node_pulls import Pull
from preflight.probes.nodes import NodeState
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.pull_logins import PullLogin
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.transcript import FoundNames, PodStart, PodTranscript, Report, ResolvConf, WorkerRoom
from preflight.survey import Run, fact


@fact(effect="probe", deadline="api", optional=("values_resolvers", "headroom"))
def pod_admission(
    api_answer: ApiServer,
    namespace_state: NamespaceState,
    kubernetes: api_client.Api,
    job_shape: JobShape,
    values_resolvers: Lint | None,
    headroom: Headroom | None,
) -> PodAdmission:
    """The API server's admission of a job's pod."""
    del api_answer, namespace_state
    restricted = replace(job_shape, privileged=False)
    found = pods.dry_run(kubernetes, job_pod_manifest(restricted, services=(), name="preflight-dry-run"))
    if found.fault is PodFault.REFUSED_BY_API and values_resolvers is not None and values_resolvers.fault:
        raise Blocked.by("values_resolvers", values_resolvers)
    # A quota that lets no pod in is seen in reads alone: room for no job.
    if found.fault is PodFault.QUOTA and headroom is not None and headroom.quota_limit == 0:
        raise Blocked.by("headroom", headroom, measured=found)
    return found


@fact(effect="probe", deadline="clean")
def own_objects(
    kubernetes: api_client.Api, job_shape: JobShape, inventory: Inventory, run: Run
) -> Iterator[OwnObjects]:
    """Everything that this run makes in the cluster: removed at the end, whatever happened."""
    ours = OwnObjects(kubernetes, job_shape.namespace, run.id, inventory.deadlines.clean, run.shutdown)
    yield ours
    ours.sweep()


@fact(effect="probe", tolerates=("pod_admission",), deadline="pod+clean", group="pods")
def job_pod(
    worker: str,
    pod_admission: PodAdmission,
    worker_placement: NodeState,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> PodTranscript:
    """A job's pod on a worker."""
    del worker_placement
    _unless_ours_is_refused_too(pod_admission)
    require_probed(worker, cluster_nodes, job_shape, inventory, run, None)
    nonce = shell.new_nonce()
    steps = script_steps(
        inventory, run, reply="pod_gitlab", page="pod_page", lookups="pod_lookups", conf="pod_resolv_conf"
    )
    others = [one for one in inventory.images if run.plans("pod_image", worker=worker, image=one)]
    if run.plans("helper_pull", worker=worker) and "$" not in job_shape.helper_image:
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
    pods.remove(own_objects.api, job_shape.namespace, pod.job, deadline=inventory.deadlines.clean)
    return PodTranscript(pod=pod, nonce=nonce)


def _unless_ours_is_refused_too(admission: PodAdmission) -> None:
    """Our pods are `restricted` and small: what is said about a job's privilege or size does not hold for them."""
    of_a_job = {PodFault.POD_SECURITY, PodFault.LIMIT_RANGE}
    if admission.fault is PodFault.QUOTA and "must specify" in admission.cause:
        of_a_job.add(PodFault.QUOTA)
    if admission.fault is not None and admission.fault not in of_a_job:
        raise Blocked.by("pod_admission", admission)


@fact(speaks_for=("job_pod",), optional=("headroom", "worker_headroom"))
def pod_start(
    worker: str, job_pod: PodTranscript, headroom: Headroom | None, worker_headroom: WorkerRoom | None
) -> PodStart:
    """The start of a job's pod on a worker."""
    pod = job_pod.pod
    # A pull has a fact of its own, and so has whatever the script then met.
    judged = pod.fault if isinstance(pod.fault, PodFault) and not pod.fault.value.startswith("pull-") else None
    cause = pod.cause if judged else ""
    found = PodStart(target=worker, node=worker, fault=judged, cause=cause, evidence=pod.evidence)
    if found.fault is PodFault.UNSCHEDULABLE_RESOURCE and headroom is not None and headroom.fits == 0:
        raise Blocked.by("headroom", headroom, measured=found)
    if found.fault is PodFault.UNSCHEDULABLE_RESOURCE and worker_headroom is not None and worker_headroom.fault:
        raise Blocked.by("worker_headroom", worker_headroom, {"worker": worker}, measured=found)
    return found


@fact(tolerates=("pod_start",), optional=("registry_reply",), for_target={"registry_reply": ("registry", registry_of)})
def pod_image(
    worker: str,
    image: str,
    job_pod: PodTranscript,
    pod_start: PodStart,
    registry_reply: RegistryReply | None,
    inventory: Inventory,
) -> ImagePull:
    """The pull of an image for a job's pod on a worker, whatever came of it."""
    found = next((pull for pull in job_pod.pod.pulls if pull.image == image), None)
    if found is not None:
        return found
    if pod_start.fault is not None:
        raise Blocked.by("pod_start", pod_start, {"worker": worker})
    if registry_reply is not None and isinstance(registry_reply.fault, PathFault):
        # A kubelet pulls one image after the other: behind one that hangs, none begins.
        registry = next(name for name, one in inventory.registries.items() if one.host == registry_reply.host)
        raise Blocked.by("registry_connection", registry_reply, {"registry": registry})
    block_if_another_pull_hangs(job_pod.pod, inventory)
    raise Unmeasured(
        f"the pull of {image} on {worker} had not begun when the pod came to its end",
        needs="a larger `deadlines.pod` in the inventory",
        evidence=job_pod.pod.evidence,
    )


@fact(
    tolerates=("pod_image",),
    optional=("registry_reply", "manifest", "here_lookups", "node_answers", "node_pull", "pull_login"),
    speaks_for=("pod_image",),
    fan_in={"here_lookups": "resolver", "node_answers": "resolver"},
    for_target={"registry_reply": ("registry", registry_of), "pull_login": ("registry", registry_of)},
)
def pod_pull(
    worker: str,
    pod_image: ImagePull,
    job_pod: PodTranscript,
    node_pull: Pull | None,
    pull_login: PullLogin | None,
    registry_reply: RegistryReply | None,
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> ImagePull:
    """An image, pulled for a job's pod on a worker."""
    block_if_no_resolver_answers(pod_image, worker, here_lookups, node_answers)
    block_if_failing_from_here(pod_image, inventory, registry_reply, manifest)
    block_if_first_pull_failed(pod_image, job_pod.pod, node_pull, inventory)
    lacking = pull_login is not None and pull_login.fault is not None and inventory.probe.pull_secrets is None
    if pod_image.fault is PodFault.PULL_UNAUTHORIZED and lacking:
        registry = registry_of(inventory, {"image": pod_image.image})
        raise Blocked.by("pull_login", pull_login, {"registry": registry or ""}, measured=pod_image)
    return pod_image


@fact(
    optional=("helper_image", "registry_reply", "manifest", "node_pull", "pod_pull", "here_lookups", "node_answers"),
    fan_in={"registry_reply": "registry", "here_lookups": "resolver", "node_answers": "resolver"},
    for_target={"manifest": ("image", probe_image), "pod_pull": ("image", probe_image)},
)
def helper_pull(
    worker: str,
    pod_start: PodStart,
    job_pod: PodTranscript,
    helper_image: Manifest | None,
    registry_reply: tuple[RegistryReply, ...],
    manifest: Manifest | None,
    node_pull: Pull | None,
    pod_pull: ImagePull | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    job_shape: JobShape,
    inventory: Inventory,
) -> ImagePull:
    """The runner's helper image, pulled for a job's pod on a worker."""
    del pod_start
    image = job_shape.helper_image
    if "$" in image:
        reason = f"helper_image {image} holds variables that the runner fills in when a job starts"
        raise NotApplicable(reason)
    found = next((pull for pull in job_pod.pod.pulls if pull.image == image), None)
    if found is None:
        block_if_another_pull_hangs(job_pod.pod, inventory)
        raise Unmeasured(
            f"the pull of {image} on {worker} had not begun when the pod came to its end",
            needs="a larger `deadlines.pod` in the inventory",
            evidence=job_pod.pod.evidence,
        )
    if found.fault is not None and helper_image is not None and helper_image.fault is not None:
        raise Blocked.by("helper_image", helper_image, measured=found)
    host = inventory.registry_of(image).host
    same = manifest is not None and inventory.registry_of(manifest.image).host == host
    reply = next((one for one in registry_reply if one.host == host), None)
    block_if_failing_from_here(found, inventory, reply, manifest if same else None, like=inventory.probe.image)
    block_if_no_resolver_answers(found, worker, here_lookups, node_answers)
    block_if_first_pull_failed(found, job_pod.pod, node_pull, inventory)
    if pod_pull is not None and inventory.registry_of(pod_pull.image).host == host:
        block_if_same_fault(found, pod_pull, "pod_pull", {"worker": worker, "image": pod_pull.image})
    return found


@fact(for_target={"pod_pull": ("image", probe_image)})
def pod_report(worker: str, pod_start: PodStart, job_pod: PodTranscript, pod_pull: ImagePull) -> Report:
    """What the probe script showed in a job's pod on a worker."""
    del pod_start, pod_pull
    return script_report(f"pod on {worker}", job_pod)


@fact(optional=("gitlab_reply", "node_reply"), speaks_for=("pod_report",))
def pod_gitlab(
    worker: str,
    pod_report: Report,
    gitlab_reply: GitLabReply | None,
    node_reply: GitLabReply | None,
    inventory: Inventory,
) -> GitLabReply:
    """GitLab's answer to a job's pod on a worker."""
    found = transcript.gitlab_reply(pod_report, inventory.gitlab.url)
    block_if_same_fault(found, gitlab_reply, gitlab_fact(gitlab_reply), {})
    block_if_same_fault(found, node_reply, "node_gitlab", {"worker": worker})
    return found


@fact(optional=("node_page",))
def pod_page(
    worker: str, pod_report: Report, pod_gitlab: GitLabReply, node_page: GitLabReply | None, inventory: Inventory
) -> GitLabReply:
    """A whole page of GitLab's, as it comes to a job's pod on a worker."""
    del pod_gitlab
    found = transcript.whole_page(pod_report, page_of(inventory))
    block_if_same_fault(found, node_page, "node_page", {"worker": worker})
    return found


@fact(optional=("here_lookups", "node_answers"))
def pod_lookups(
    worker: str,
    resolver: str,
    pod_report: Report,
    here_lookups: Lookups | None,
    node_answers: Lookups | None,
    inventory: Inventory,
) -> Lookups:
    """A resolver's answers, asked from a job's pod on a worker."""
    found = transcript.lookups(pod_report, resolver, expected_names(inventory), deadline=inventory.deadlines.step)
    block_if_same_fault(found, here_lookups, "here_lookups", {"resolver": resolver})
    block_if_same_fault(found, node_answers, "node_lookups", {"worker": worker, "resolver": resolver})
    return found


@fact(optional=("values_dns_policy",))
def pod_resolv_conf(worker: str, pod_report: Report, job_shape: JobShape, values_dns_policy: Lint | None) -> ResolvConf:
    """The resolv.conf of a job's pod on a worker."""
    found = transcript.resolv_conf(pod_report, job_shape, worker)
    block_if_policy_misspelt(found, values_dns_policy)
    return found


@fact(optional=("pod_lookups", "pod_resolv_conf"), fan_in={"pod_lookups": "resolver"})
def pod_names(
    worker: str,
    pod_report: Report,
    pod_lookups: tuple[Lookups, ...],
    pod_resolv_conf: ResolvConf | None,
    inventory: Inventory,
) -> FoundNames:
    """The names, as programs in a job's pod on a worker find them."""
    if pod_resolv_conf is not None and pod_resolv_conf.fault is not None:
        raise Blocked.by("pod_resolv_conf", pod_resolv_conf, {"worker": worker})
    given: dict[str, set[str]] = {}
    for one in pod_lookups:
        for answer in one.answers:
            if answer.addresses:
                given.setdefault(answer.name, set()).update(answer.addresses)
    if not given and inventory.dns.names:
        resolver = next(iter(inventory.dns.resolvers), "")
        said = "no resolver gave an address of any name"
        raise Blocked("pod_lookups", {"worker": worker, "resolver": resolver}, said, failed=True)
    if any(one.kind == "resolve" and one.lacks for one in pod_report.sections):
        reason = f"{inventory.probe.image} has no getent, by which a program's way to an address is told"
        raise NotApplicable(reason)
    section = pod_report.section(shell.resolv_conf())
    found = transcript.found_names(pod_report, worker, given, shell_readers.read_resolv_conf(section))
    well = {one.resolver for one in pod_lookups if one.fault is None}
    unwell = next((one for one in inventory.dns.resolvers if one not in well), None)
    if found.fault is DnsFault.NO_ANSWER and unwell is not None:
        said = f"{unwell} does not answer every name"
        raise Blocked("pod_lookups", {"worker": worker, "resolver": unwell}, said, failed=True, measured=found)
    return found
