"""5 Docker-in-Docker: a job's pod with the Docker daemon beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.blocking import (
    block_if_all_resolvers_fail,
    block_if_packets_are_lost,
    block_if_policy_misspelt,
    block_if_registry_is_slow,
    block_if_same_fault,
    block_if_search_list_misleads,
)
from preflight.facts.probe_plan import (
    LATER,
    TTL,
    disturbs_no_other,
    expected_names,
    named_node,
    own_services,
    require_probed,
    require_readable_log,
    script_report,
    waited_for,
    with_pull_secrets,
)
from preflight.facts.references import Ref
from preflight.facts.target_selectors import client_image, daemon_image, image_of_dind_pull, registry_of_dind_pull
from preflight.faults import DindFault, DnsFault, PathFault, PodFault
from preflight.inventory import Dind, Inventory
from preflight.jobpod import job_pod as job_pod_manifest
from preflight.jobshape import JobShape, dind_job
from preflight.probes import dind, limit_ranges, pods, shell, transcript
from preflight.probes.cleanup import OwnObjects
from preflight.probes.cluster import NamespaceState, Nodes
from preflight.probes.dind import MTU_COMMAND, Daemon, DindRun, InnerRegistry, PacketSizes
from preflight.probes.dns import Lookups
from preflight.probes.latency import RoundTrips
from preflight.probes.layer_rate import LayerRate
from preflight.probes.lint import Lint
from preflight.probes.pod_runs import MootError
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.registry import Manifest, RegistryReply, parse_reference
from preflight.probes.transcript import FoundNames, PodStart, PodTranscript, Report, ResolvConf, WorkerRoom
from preflight.run import Run


@fact(effect="static")
def dind_settings(inventory: Inventory) -> Dind:
    """How the jobs use Docker-in-Docker."""
    if inventory.dind == "none":
        reason = "dind is none in the inventory"
        raise NotApplicable(reason)
    return inventory.dind


@fact(after=("values_privilege",), effect="privileged", deadline="api", reported_by=("dind_admission",))
def dind_dry_run(
    kubernetes: api_client.Api,
    job_shape: JobShape,
    namespace_state: NamespaceState,
    dind_settings: Dind,
    inventory: Inventory,
) -> PodAdmission:
    """The API server's answer to a dry run of a job's pod with Docker-in-Docker."""
    del dind_settings  # without Docker-in-Docker there is nothing to admit
    manifest = job_pod_manifest(job_shape, services=own_services(job_shape, inventory))
    return limit_ranges.named(pods.dry_run(kubernetes, manifest), namespace_state.limit_ranges)


@fact(after=("pod_admission",), tolerates=("dind_dry_run",))
def dind_admission(dind_dry_run: PodAdmission) -> PodAdmission:
    """The API server's admission of a job's pod with Docker-in-Docker."""
    return dind_dry_run


def _dind_steps(inventory: Inventory, dind: Dind, run: Run) -> tuple[shell.Step, ...]:
    steps = [shell.resolv_conf(), *(shell.lookup(name) for name in inventory.dns.names)]
    steps += [shell.docker_ready(dind.ready_within), shell.docker_version(), shell.docker_info()]
    pull = run.pull_limit(parse_reference(dind.pull).host)
    steps += [shell.docker_pull(dind.pull, limit=pull), shell.docker_run(dind.pull, ("echo", "hello"))]
    inside = [*(("nslookup", name) for name in inventory.dns.names), MTU_COMMAND]
    # One container for all of them: it takes a second and more to start one, and longer where the daemon copies layers.
    steps += [shell.docker_runs(shell.new_nonce(), dind.pull, inside, limit=inventory.deadlines.step + 5)]
    steps.append(shell.interface())
    own_host = inventory.registry_of(dind.pull).host
    others = [registry.host for registry in inventory.registries.values() if registry.host != own_host]
    # A daemon waits for a dead resolver before it tries the next one, and resolves every name several times.
    absent = 4 * inventory.deadlines.step + 5
    steps += [shell.docker_pull(_absent(host), limit=min(absent, run.pull_limit(host))) for host in others]
    return tuple(steps)


def _absent(host: str) -> str:
    """An image that no registry has: pulling it moves no data, and shows whether the daemon can use the registry."""
    return f"{host}/preflight/absent:none"


@fact(for_target={"pod_pull": ("image", client_image)})
def dind_client(pod_pull: ImagePull | None) -> ImagePull | None:
    """The image with Docker's client, pulled for a job's pod on a worker."""
    return pod_pull


@fact(for_target={"pod_pull": ("image", daemon_image)})
def dind_service(pod_pull: ImagePull | None) -> ImagePull | None:
    """The image with Docker's daemon, pulled for a job's pod on a worker."""
    return pod_pull


@fact(
    effect="static",
    optional=("here_lookups",),
    fan_in={"here_lookups": "resolver"},
    reported_by=("dind_admission",),
)
def dind_shape(job_shape: JobShape, here_lookups: tuple[Lookups, ...]) -> JobShape:
    """The shape of a job's pod, without resolvers that answer late or not at all: a daemon would wait for them anew."""
    return _without_resolvers(job_shape, waited_for(here_lookups))


def _without_resolvers(shape: JobShape, silent: Collection[str]) -> JobShape:
    """The shape without these resolvers, as long as one is left."""
    config = shape.dns_config or {}
    answering = [server for server in config.get("nameservers") or () if server not in silent]
    if not answering:
        return shape
    return replace(shape, dns_config={**config, "nameservers": answering})


def _shape_on(worker: str, dind_shape: JobShape, run: Run) -> JobShape:
    """The shape without resolvers that are known by now not to answer this worker, or a pod on it."""
    return _without_resolvers(dind_shape, run.silent_resolvers.get(worker, ()))


@fact(optional=("node_losses", "pod_losses"), reported_by=("dind_daemon",))
def dind_packets_arrive(
    worker: str, node_losses: RoundTrips | None, pod_losses: RoundTrips | None
) -> tuple[RoundTrips, ...]:
    """The ways of a worker and of its pods, on which no packets are lost: else a daemon's pulls would take minutes."""
    for reference, losses in ((Ref.NODE_LOSSES, node_losses), (Ref.POD_LOSSES, pod_losses)):
        if losses is not None and losses.fault:
            raise Blocked.by(reference, losses, {"worker": worker})
    return tuple(losses for losses in (node_losses, pod_losses) if losses is not None)


@fact(
    after=("dind_admission", "worker_placement"),
    effect="privileged",
    optional=("registry_reply", "worker_headroom"),
    for_target={"registry_reply": ("registry", registry_of_dind_pull)},
    deadline="dind+clean",
    group="daemons",
    reported_by=("dind_pod",),
)
def dind_head_start(
    worker: str,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    dind_shape: JobShape,
    dind_settings: Dind,
    registry_reply: RegistryReply | None,
    worker_headroom: WorkerRoom | None,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> PodTranscript | None:
    """A job's pod with Docker-in-Docker on a worker, while a job's pod is still looked at there.

    None where it would disturb that one (images are still to be pulled, or room is short), and where it turns out
    meanwhile that nothing comes of it, or that it waits for a resolver which does not answer there, or for a registry
    that delivers slowly.
    """
    require_probed(worker, cluster_nodes, dind_shape, inventory, run, dind_settings.nodes)
    images = (dind_settings.client_image, dind_settings.daemon_image, *dind_shape.service_images)
    if not disturbs_no_other(images, named_node(worker, cluster_nodes), namespace_state, worker_headroom):
        return None
    if registry_reply is not None and registry_reply.fault is not None:
        return None
    host, shape = parse_reference(dind_settings.pull).host, _shape_on(worker, dind_shape, run)
    limit = run.pull_limit(host)  # as its script has it

    def is_moot() -> bool:
        fewer = _without_resolvers(shape, run.silent_resolvers.get(worker, ()))
        if host in run.cut_off.get(worker, ()) or fewer != shape or run.pull_limit(host) < limit:
            return True
        return run.moot(Ref.DIND_HEAD_START, {"worker": worker})

    try:
        made = _launch(
            worker, cluster_nodes, namespace_state, shape, dind_settings, own_objects, inventory, run, moot=is_moot
        )
    except MootError:
        return None
    return made if made.pod.job and made.pod.fault not in _WITHOUT_ROOM else None


_WITHOUT_ROOM = {PodFault.QUOTA, PodFault.UNSCHEDULABLE, PodFault.UNSCHEDULABLE_RESOURCE}


@fact(
    after=(
        *("dind_client", "dind_service", "service_pull", "dind_admission", "worker_placement"),
        "dind_packets_arrive",
    ),
    optional=("pod_lookups", "delivered_rate"),
    fan_in={"pod_lookups": "resolver"},
    for_target={"delivered_rate": ("registry", registry_of_dind_pull)},
    effect="privileged",
    deadline="dind+clean",
    group="daemons",
    reported_by=("dind_daemon",),
)
def dind_pod(
    worker: str,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    dind_shape: JobShape,
    dind_settings: Dind,
    dind_head_start: PodTranscript | None,
    pod_lookups: tuple[Lookups, ...],
    delivered_rate: LayerRate | None,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> PodTranscript:
    """A job's pod with Docker-in-Docker on a worker whose images are pulled: nothing is pulled twice at once."""
    del pod_lookups, delivered_rate  # what they show is noted in the run
    if dind_head_start is not None:
        return dind_head_start
    require_probed(worker, cluster_nodes, dind_shape, inventory, run, dind_settings.nodes)
    shape = _shape_on(worker, dind_shape, run)
    return _launch(
        worker, cluster_nodes, namespace_state, shape, dind_settings, own_objects, inventory, run, suffix=LATER
    )


def _launch(
    worker: str,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    shape: JobShape,
    dind: Dind,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
    *,
    moot: Callable[[], bool] = bool,
    suffix: str = "",
) -> PodTranscript:
    """Make the pod, follow it to its end and begin to remove it.

    The `suffix` of its name tells it from one that was given up, and may still be there.
    """
    nonce = shell.new_nonce()
    manifest = dind_job(
        with_pull_secrets(shape, inventory),
        node=worker,
        run_id=run.id,
        client_image=dind.client_image,
        daemon_image=dind.daemon_image,
        daemon_args=dind.daemon_args,
        docker_host=dind.docker_host,
        tls_certdir=dind.tls_certdir,
        script=shell.render(_dind_steps(inventory, dind, run), limit=inventory.deadlines.step, nonce=nonce),
        deadline=int(inventory.deadlines.dind),
        ttl=TTL,
        limit_ranges=namespace_state.limit_ranges,
        pod_selectors_to_avoid=namespace_state.selectors,
    )
    manifest["metadata"]["name"] += suffix
    try:
        pod = pods.launch_dind(
            own_objects.api,
            manifest,
            node=worker,
            deadline=inventory.deadlines.dind,
            on_event=lambda text: run.say(f"dind_pod[{worker}]", f"dind on {worker}: {text}"),
            images=named_node(worker, cluster_nodes).images,
            moot=moot,
            shutdown=run.shutdown,
        )
    except MootError as error:
        own_objects.remove(error.job)
        raise
    own_objects.remove(pod.job)
    return PodTranscript(pod=pod, nonce=nonce, shape=shape)


@fact()
def service_start(worker: str, dind_pod: PodTranscript) -> PodStart:
    """The services of the values beside a job's script on a worker."""
    causes = dind_pod.pod.not_started
    return PodStart(
        target=worker,
        node=worker,
        fault=PodFault.START_ERROR if causes else None,
        cause="; ".join(causes),
        evidence=dind_pod.pod.evidence,
    )


@fact()
def dind_daemon(worker: str, dind_pod: PodTranscript) -> Daemon:
    """The Docker daemon in a pod on a worker."""
    require_readable_log(dind_pod)
    return dind.daemon(worker, dind_pod)


@fact(after=("dind_daemon",))
def dind_report(worker: str, dind_pod: PodTranscript) -> Report:
    """The output of the probe script beside Docker on a worker."""
    return script_report(f"dind on {worker}", dind_pod)


@fact()
def dind_storage(dind_daemon: Daemon) -> Daemon:
    """The Docker daemon's storage driver."""
    return dind.storage(dind_daemon)


@fact(
    after=("dind_daemon",),
    optional=("pod_names", "manifest", "registry_rate"),
    for_target={"manifest": ("image", image_of_dind_pull), "registry_rate": ("registry", registry_of_dind_pull)},
)
def dind_pull(
    worker: str,
    dind_report: Report,
    pod_names: FoundNames | None,
    manifest: Manifest | None,
    registry_rate: LayerRate | None,
    dind_settings: Dind,
    inventory: Inventory,
) -> DindRun:
    """An image, pulled by the Docker daemon in a pod on a worker."""
    pull = dind.inner_pull(dind_report, worker, dind_settings.pull)
    block_if_search_list_misleads(pull, pod_names)
    if pull.fault is not None and manifest is not None and manifest.fault is not None:
        raise Blocked.by(Ref.MANIFEST, manifest, {"image": pull.image}, measured=pull)
    block_if_registry_is_slow(pull, registry_rate, inventory)
    return pull


@fact()
def dind_run(worker: str, dind_pull: DindRun, dind_report: Report) -> DindRun:
    """A container, run by the Docker daemon in a pod on a worker."""
    return dind.inner_run(dind_report, worker, dind_pull.image, ("echo", "hello"))


@fact()
def dind_packets(worker: str, dind_run: DindRun, dind_report: Report) -> PacketSizes:
    """The largest packets of containers inside of Docker-in-Docker on a worker, beside their pod's."""
    return dind.packet_sizes(dind_report, worker, dind_run.image)


@fact(
    after=("dind_daemon",),
    tolerates=("dind_answers",),
    optional=(
        *("dind_pull", "registry_reply", "registry_rate"),
        *("pod_names", "here_lookups", "node_answers", "pod_lookups"),
    ),
    fan_in={"here_lookups": "resolver", "node_answers": "resolver", "pod_lookups": "resolver"},
)
def dind_registry(
    worker: str,
    registry: str,
    dind_report: Report,
    dind_answers: Lookups,
    dind_pull: DindRun | None,
    registry_reply: RegistryReply | None,
    registry_rate: LayerRate | None,
    pod_names: FoundNames | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    pod_lookups: tuple[Lookups, ...],
    dind_settings: Dind,
    inventory: Inventory,
) -> InnerRegistry:
    """A registry, as the Docker daemon in a pod on a worker reaches it."""
    host = inventory.registries[registry].host
    is_slow = registry_rate is not None and registry_rate.is_slow
    if host == inventory.registry_of(dind_settings.pull).host:
        if dind_pull is None and is_slow:
            raise Blocked.by(Ref.REGISTRY_RATE, registry_rate, {"registry": registry})
        if dind_pull is None or dind_pull.fault is not None:
            raise Blocked.by(
                Ref.DIND_PULL, dind_pull, {"worker": worker}, otherwise=f"{dind_settings.pull} was not pulled"
            )
        return InnerRegistry(target=f"{host} on {worker}", node=worker, host=host, evidence=dind_pull.evidence)
    reply = dind.inner_registry(dind_report, worker, host, _absent(host))
    block_if_search_list_misleads(reply, pod_names)
    if reply.fault is not None and registry_reply is not None and registry_reply.fault is not None:
        blocker = Ref.REGISTRY_CONNECTION if isinstance(registry_reply.fault, PathFault) else Ref.REGISTRY_ACCESS
        raise Blocked.by(blocker, registry_reply, {"registry": registry}, measured=reply)
    if reply.fault is DindFault.REGISTRY_UNREACHABLE and any(answer.name == host for answer in dind_answers.failed):
        raise Blocked.by(Ref.DIND_LOOKUPS, dind_answers, {"worker": worker}, measured=reply)
    if reply.fault is DindFault.REGISTRY_UNREACHABLE and is_slow:
        raise Blocked.by(Ref.REGISTRY_RATE, registry_rate, {"registry": registry}, measured=reply)
    if reply.fault is DindFault.REGISTRY_UNREACHABLE:  # a daemon waits for a silent resolver with each name
        for asked, name, place in (
            (here_lookups, Ref.HERE_LOOKUPS, {}),
            (node_answers, Ref.NODE_LOOKUPS, {"worker": worker}),
            (pod_lookups, Ref.POD_LOOKUPS, {"worker": worker}),
        ):
            for lookups in asked:
                if lookups.fault in {DnsFault.TIMEOUT, DnsFault.UNREACHABLE}:
                    raise Blocked.by(name, lookups, {**place, "resolver": lookups.resolver}, measured=reply)
    return reply


@fact(optional=("pod_resolv_conf", "values_dns_policy"))
def dind_resolv_conf(
    worker: str,
    dind_report: Report,
    dind_pod: PodTranscript,
    pod_resolv_conf: ResolvConf | None,
    values_dns_policy: Lint | None,
    dind_shape: JobShape,
) -> ResolvConf:
    """The resolv.conf of a pod with Docker-in-Docker on a worker."""
    resolv_conf = transcript.resolv_conf(dind_report, dind_pod.shape or dind_shape, worker)
    block_if_policy_misspelt(resolv_conf, values_dns_policy)
    block_if_same_fault(resolv_conf, pod_resolv_conf, Ref.POD_RESOLV_CONF, {"worker": worker})
    return resolv_conf


@fact(reported_by=("dind_lookups",))
def dind_answers(dind_report: Report, inventory: Inventory) -> Lookups:
    """The names in a pod with Docker-in-Docker on a worker, resolved or not."""
    return transcript.own_lookups(dind_report, expected_names(inventory), deadline=inventory.deadlines.step)


@fact(tolerates=("dind_answers",), optional=("here_lookups", "pod_losses"), fan_in={"here_lookups": "resolver"})
def dind_lookups(
    worker: str, dind_answers: Lookups, here_lookups: tuple[Lookups, ...], pod_losses: RoundTrips | None
) -> Lookups:
    """The names, resolved in a pod with Docker-in-Docker on a worker."""
    block_if_all_resolvers_fail(dind_answers, here_lookups)
    block_if_packets_are_lost(dind_answers, pod_losses, Ref.POD_LOSSES, worker)
    return dind_answers


@fact(optional=("here_lookups", "dind_answers", "pod_losses"), fan_in={"here_lookups": "resolver"})
def dind_inner_lookups(
    worker: str,
    dind_run: DindRun,
    dind_report: Report,
    dind_answers: Lookups | None,
    here_lookups: tuple[Lookups, ...],
    pod_losses: RoundTrips | None,
    inventory: Inventory,
) -> Lookups:
    """The names, resolved in a container inside of Docker-in-Docker on a worker."""
    lookups = transcript.inner_lookups(
        dind_report, dind_run.image, expected_names(inventory), deadline=inventory.deadlines.step
    )
    block_if_all_resolvers_fail(lookups, here_lookups)
    block_if_packets_are_lost(lookups, pod_losses, Ref.POD_LOSSES, worker)
    block_if_same_fault(lookups, dind_answers, Ref.DIND_LOOKUPS, {"worker": worker})
    return lookups
