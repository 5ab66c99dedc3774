"""2.4 Registries, from here and by the workers' own runtimes."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, Evidence, NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.facts.blocking import (
    block_if_another_pull_hangs,
    block_if_failing_from_here,
    block_if_first_pull_failed,
    block_if_no_resolver_answers,
    block_if_no_resolver_knows,
    block_if_pulls_are_slow,
    block_if_registry_is_slow,
    block_if_same_fault,
    require_read,
)
from preflight.facts.probe_plan import platforms_of_jobs, registry_step
from preflight.facts.references import Ref
from preflight.facts.target_selectors import image_to_measure, probe_image, registry_of, registry_of_probe
from preflight.faults import PathFault, PodFault, RegistryFault
from preflight.inventory import Inventory, Login, Registry
from preflight.inventory_forms import Secret
from preflight.jobshape import JobShape
from preflight.probes import encryption, layer_rate, node_pulls, pull_logins, shell_readers
from preflight.probes import registry as registries
from preflight.probes.cluster import ApiServer, NamespaceState, Nodes
from preflight.probes.credentials import Account, read_secret
from preflight.probes.dns import Lookups
from preflight.probes.encryption import Encryption
from preflight.probes.layer_rate import LayerRate
from preflight.probes.node_pulls import Pull
from preflight.probes.pods import ImagePull
from preflight.probes.pull_logins import PullLogin
from preflight.probes.registry import Credentials, Manifest, RegistryReply, parse_reference
from preflight.probes.shell_readers import Connection
from preflight.probes.transcript import NodeLogin, PodStart, PodTranscript, Report
from preflight.run import Run
from preflight.values import HELPER_SETTINGS, Values


@fact(deadline="api", optional=("api_answer", "namespace_state"), secret=True, reported_by=("registry_reply",))
def registry_account(
    registry: str,
    api_answer: ApiServer | None,
    namespace_state: NamespaceState | None,
    kubernetes: api_client.Api,
    inventory: Inventory,
) -> Account:
    """The account for a registry."""
    configured, host = inventory.registries[registry].credentials, inventory.registries[registry].host
    if configured is None:
        return Account(registry=registry, host=host)
    secret = configured.password if isinstance(configured, Login) else configured
    if secret.cluster_key and (api_answer is None or api_answer.fault):
        raise Blocked.by(Ref.API_ANSWER, api_answer, otherwise="the API server could not be asked")
    missing = namespace_state if namespace_state is not None and namespace_state.fault else None
    if secret.cluster_key and missing is not None and secret.cluster_key[0] == missing.target:
        raise Blocked.by(Ref.NAMESPACE_STATE, missing)
    if isinstance(configured, Login):
        return Account(
            registry=registry,
            host=host,
            credentials=Credentials(configured.username, _read(configured.password, kubernetes)),
        )
    credentials = registries.parse_docker_config(_read(configured, kubernetes), host)
    if credentials is None:
        raise Unmeasured(
            f"{configured.reference} holds no account for {host}",
            needs=f"an entry for {host} under auths in that docker config",
        )
    return Account(registry=registry, host=host, credentials=credentials)


def _read(secret: Secret, kubernetes: api_client.Api) -> str:
    """A secret's text, read from the cluster if it is kept there."""
    if secret.text is not None:
        return secret.text
    namespace, name, key = secret.cluster_key or ("", "", "")
    return read_secret(kubernetes, namespace, name, key)


def access_to(registry: Registry, credentials: Credentials | None, inventory: Inventory, run: Run) -> registries.Access:
    """How a registry of the inventory is reached from here with these credentials."""
    return {
        "scheme": registry.scheme,
        "token_realm": registry.token_realm or "",
        "credentials": credentials,
        "ca_file": registry.ca_file,
        "routes": run.routes,
        "deadline": inventory.deadlines.http,
    }


@fact(reported_by=("registry_connection",))
def registry_reply(registry: str, registry_account: Account, inventory: Inventory, run: Run) -> RegistryReply:
    """A registry's answer, from here."""
    settings = inventory.registries[registry]
    return registries.ping(
        settings.host,
        **access_to(settings, registry_account.credentials, inventory, run),
    )


@fact(effect="static")
def registry_encryption(registry: str, inventory: Inventory) -> Encryption:
    """How the way of a registry's account is protected."""
    return encryption.of_registry(inventory.registries[registry])


@fact(effect="static")
def repository_encryption(inventory: Inventory) -> Encryption:
    """How the way on which charts come is protected."""
    if inventory.runner.repository == "none":
        raise NotApplicable("runner.repository is none: the chart does not come from a repository")
    return encryption.of_chart_repository(inventory.runner.repository)


@fact(tolerates=("registry_reply",), optional=("here_lookups",), fan_in={"here_lookups": "resolver"})
def registry_connection(
    registry: str, registry_reply: RegistryReply, here_lookups: tuple[Lookups, ...], inventory: Inventory
) -> RegistryReply:
    """A registry's port, from here."""
    reply = registry_reply.only(PathFault)
    block_if_no_resolver_knows(reply, inventory.registries[registry].host, here_lookups)
    return reply


registry_access = view(
    "registry_access",
    registry_reply,
    lambda reply: reply.only(RegistryFault),
    "A registry's login.",
    after=("registry_connection",),
)


@fact(
    after=("registry_access",),
    optional=("cluster_nodes", "job_shape"),
    for_target={"registry_access": ("registry", registry_of), "registry_account": ("registry", registry_of)},
)
def manifest(
    image: str,
    registry_account: Account | None,
    cluster_nodes: Nodes | None,
    job_shape: JobShape | None,
    inventory: Inventory,
    run: Run,
) -> Manifest:
    """An image's manifest in its registry."""
    registry = inventory.registry_of(image)
    return registries.manifest(
        image,
        platforms=platforms_of_jobs(cluster_nodes, job_shape, inventory),
        **access_to(registry, registry_account.credentials if registry_account else None, inventory, run),
    )


@fact(for_target={"manifest": ("image", image_to_measure)}, reported_by=("registry_rate",))
def delivered_rate(
    registry: str, registry_account: Account, manifest: Manifest | None, inventory: Inventory, run: Run
) -> LayerRate:
    """The rate at which a registry delivers a layer, from here."""
    settings = inventory.registries[registry]
    if manifest is None:
        raise NotApplicable(f"the inventory lists no image of {settings.host}")
    if not manifest.layer:
        raise NotApplicable(f"{manifest.image} has no layer at {settings.host}")
    access = access_to(settings, registry_account.credentials, inventory, run)
    rate = layer_rate.measure(manifest, limit=inventory.limits.registry_rate * 1e6, **access)
    if rate.is_slow:
        run.slow_registries.add(rate.host)
    return rate


@fact(tolerates=("delivered_rate",), optional=("manifest", "job_shape"), fan_in={"manifest": "image"}, deadline="http")
def registry_rate(delivered_rate: LayerRate, manifest: tuple[Manifest, ...], job_shape: JobShape | None) -> LayerRate:
    """The rate at which a registry delivers, and what that means for its largest image."""
    return layer_rate.with_largest(
        delivered_rate, manifest, poll_timeout=job_shape.poll_timeout if job_shape is not None else 0
    )


@fact(
    effect="probe",
    deadline="pull",
    optional=("delivered_rate",),
    for_target={
        "registry_account": ("registry", registry_of_probe),
        "delivered_rate": ("registry", registry_of_probe),
    },
    reported_by=("node_pull",),
)
def node_image(
    worker: str,
    node_login: NodeLogin,
    cluster_nodes: Nodes,
    registry_account: Account | None,
    delivered_rate: LayerRate | None,
    inventory: Inventory,
    run: Run,
) -> Pull:
    """The pull of the probe's image by a worker's own runtime."""
    del delivered_rate  # what it shows is noted in the run
    node = cluster_nodes.named(worker)
    kind = node.runtime.partition("://")[0] if node else ""
    if kind not in {"containerd", "docker", "cri-o"}:
        reason = f"{worker} runs {kind or 'an unknown runtime'}; the suite supports containerd, docker and cri-o"
        raise NotApplicable(reason)
    return node_pulls.pull_on_node(
        node_login.session,
        inventory.probe.image,
        runtime=cast("node_pulls.Runtime", kind),
        credentials=registry_account.credentials if registry_account else None,
        deadline=run.pull_limit(parse_reference(inventory.probe.image).host),
    )


@fact(
    tolerates=("node_image",),
    optional=("registry_reply", "registry_rate", "manifest", "here_lookups", "node_answers"),
    fan_in={"here_lookups": "resolver", "node_answers": "resolver"},
    for_target={
        "registry_reply": ("registry", registry_of_probe),
        "registry_rate": ("registry", registry_of_probe),
        "manifest": ("image", probe_image),
    },
)
def node_pull(
    worker: str,
    node_image: Pull,
    registry_reply: RegistryReply | None,
    registry_rate: LayerRate | None,
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> Pull:
    """The probe's image, pulled by a worker's own runtime."""
    block_if_no_resolver_answers(node_image, worker, here_lookups, node_answers)
    block_if_failing_from_here(node_image, inventory, registry_reply, manifest)
    block_if_registry_is_slow(node_image, registry_rate, inventory)
    return node_image


@fact(reported_by=("node_pull", "pod_pull"))
def node_registry(worker: str, registry: str, node_report: Report, inventory: Inventory, run: Run) -> Connection:
    """The connection from a worker to a registry's port; its runtime may use another way, such as a proxy."""
    step = registry_step(inventory, registry)
    connection = shell_readers.read_tcp(node_report.section(step), where=node_report.where)
    if connection.fault is not None:
        run.note_cut_off(worker, parse_reference(f"{inventory.registries[registry].host}/any").host)
    return connection


@fact(after=("api_answer", "namespace_state"), deadline="api+api+api")
def pull_login(
    registry: str,
    kubernetes: api_client.Api,
    job_shape: JobShape,
    inventory: Inventory,
) -> PullLogin:
    """The account for a registry among the pull secrets of a job's pod."""
    settings = inventory.registries[registry]
    if not settings.images or settings.credentials is None:
        reason = "jobs pull no image from it" if not settings.images else "the inventory has no account for it"
        evidence = Evidence(where="here", command="helm get values", observed=f"{settings.host}: {reason}")
        return PullLogin(target=settings.host, host=settings.host, evidence=evidence)
    return pull_logins.read(kubernetes, job_shape, settings.host, known=settings.credentials)


@fact(
    tolerates=("pod_start",),
    optional=("registry_reply", "registry_rate"),
    fan_in={"registry_rate": "registry"},
    for_target={"registry_reply": ("registry", registry_of)},
    reported_by=("pod_pull",),
)
def pod_image(
    worker: str,
    image: str,
    job_pod: PodTranscript,
    pod_start: PodStart,
    registry_reply: RegistryReply | None,
    registry_rate: tuple[LayerRate, ...],
    inventory: Inventory,
) -> ImagePull:
    """The pull of an image for a job's pod on a worker, faulty or not."""
    pull = next((pull for pull in job_pod.pod.pulls if pull.image == image), None)
    if pull is not None:
        return pull
    if pod_start.fault is not None:
        raise Blocked.by(Ref.POD_START, pod_start, {"worker": worker})
    if registry_reply is not None and isinstance(registry_reply.fault, PathFault):
        # A kubelet pulls one image after the other: none begins while one hangs.
        registry = next(name for name, settings in inventory.registries.items() if settings.host == registry_reply.host)
        raise Blocked.by(Ref.REGISTRY_CONNECTION, registry_reply, {"registry": registry})
    block_if_pulls_are_slow(job_pod.pod, registry_rate, inventory)
    block_if_another_pull_hangs(job_pod.pod, inventory)
    raise Unmeasured(
        f"the pull of {image} on {worker} had not begun when the pod ended",
        needs="a larger `deadlines.pod` in the inventory",
        evidence=job_pod.pod.evidence,
    )


@fact(
    tolerates=("pod_image",),
    optional=(
        "registry_reply",
        "registry_rate",
        "manifest",
        "here_lookups",
        "node_answers",
        "node_pull",
        "node_registry",
        "pull_login",
    ),
    fan_in={"here_lookups": "resolver", "node_answers": "resolver"},
    for_target={
        "registry_reply": ("registry", registry_of),
        "registry_rate": ("registry", registry_of),
        "node_registry": ("registry", registry_of),
        "pull_login": ("registry", registry_of),
    },
)
def pod_pull(
    worker: str,
    pod_image: ImagePull,
    job_pod: PodTranscript,
    node_pull: Pull | None,
    node_registry: Connection | None,
    pull_login: PullLogin | None,
    registry_reply: RegistryReply | None,
    registry_rate: LayerRate | None,
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> ImagePull:
    """An image, pulled for a job's pod on a worker."""
    if pod_image.fault is PodFault.PULL_TIMEOUT and node_registry is not None and node_registry.fault is not None:
        pod_image = replace(pod_image, cause=f"{pod_image.cause}; the node itself: {node_registry.cause}")
    block_if_no_resolver_answers(pod_image, worker, here_lookups, node_answers)
    block_if_failing_from_here(pod_image, inventory, registry_reply, manifest)
    block_if_registry_is_slow(pod_image, registry_rate, inventory)
    block_if_first_pull_failed(pod_image, job_pod.pod, node_pull, inventory)
    login_missing = pull_login is not None and pull_login.fault is not None and inventory.probe.pull_secrets is None
    if pod_image.fault is PodFault.PULL_UNAUTHORIZED and login_missing:
        registry = registry_of(inventory, {"image": pod_image.image})
        raise Blocked.by(Ref.PULL_LOGIN, pull_login, {"registry": registry or ""}, measured=pod_image)
    return pod_image


@fact(
    after=("pod_start",),
    optional=(
        *("helper_image", "registry_reply", "registry_rate", "manifest"),
        *("node_pull", "pod_pull", "here_lookups", "node_answers"),
    ),
    fan_in={
        "registry_reply": "registry",
        "registry_rate": "registry",
        "here_lookups": "resolver",
        "node_answers": "resolver",
    },
    for_target={"manifest": ("image", probe_image), "pod_pull": ("image", probe_image)},
)
def helper_pull(
    worker: str,
    job_pod: PodTranscript,
    helper_image: Manifest | None,
    registry_reply: tuple[RegistryReply, ...],
    registry_rate: tuple[LayerRate, ...],
    manifest: Manifest | None,
    node_pull: Pull | None,
    pod_pull: ImagePull | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    job_shape: JobShape,
    helm_values: Values,
    inventory: Inventory,
) -> ImagePull:
    """The runner's helper image, pulled for a job's pod on a worker."""
    require_read(helm_values, *HELPER_SETTINGS)
    image = job_shape.helper_image
    if "$" in image:
        reason = f"helper_image {image} holds variables that the runner fills in when a job starts"
        raise NotApplicable(reason)
    pull = _further_pull(worker, image, job_pod, registry_rate, inventory)
    if pull.fault is not None and helper_image is not None and helper_image.fault is not None:
        raise Blocked.by(Ref.HELPER_IMAGE, helper_image, measured=pull)
    _block_if_explained(
        pull,
        job_pod,
        registry_reply,
        registry_rate,
        manifest,
        node_pull,
        pod_pull,
        here_lookups,
        node_answers,
        inventory,
    )
    return pull


@fact(
    after=("pod_start",),
    optional=("registry_reply", "registry_rate", "manifest", "node_pull", "pod_pull", "here_lookups", "node_answers"),
    fan_in={
        "registry_reply": "registry",
        "registry_rate": "registry",
        "here_lookups": "resolver",
        "node_answers": "resolver",
    },
    for_target={"manifest": ("image", probe_image), "pod_pull": ("image", probe_image)},
)
def service_pull(
    worker: str,
    job_pod: PodTranscript,
    registry_reply: tuple[RegistryReply, ...],
    registry_rate: tuple[LayerRate, ...],
    manifest: Manifest | None,
    node_pull: Pull | None,
    pod_pull: ImagePull | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    job_shape: JobShape,
    inventory: Inventory,
) -> ImagePull:
    """The images of the values' services, pulled for a job's pod on a worker."""
    images = [image for image in job_shape.service_images if image not in inventory.images]
    pulls = [_further_pull(worker, image, job_pod, registry_rate, inventory) for image in images]
    for pull in pulls:
        if pull.fault is not None:
            _block_if_explained(
                pull,
                job_pod,
                registry_reply,
                registry_rate,
                manifest,
                node_pull,
                pod_pull,
                here_lookups,
                node_answers,
                inventory,
            )
            return replace(pull, cause=f"every job gets the service {pull.image} from the values: {pull.cause}")
    if pulls:
        return pulls[0]
    kept = "are pulled with the inventory's images" if job_shape.service_images else "are none"
    evidence = Evidence(where="here", command="helm get values", observed=f"services of the values {kept}")
    return ImagePull(target=worker, image="", node=worker, evidence=evidence)


def _further_pull(
    worker: str, image: str, job_pod: PodTranscript, registry_rate: tuple[LayerRate, ...], inventory: Inventory
) -> ImagePull:
    """The pull of an image that the inventory does not list."""
    pull = next((pull for pull in job_pod.pod.pulls if pull.image == image), None)
    if pull is not None:
        return pull
    block_if_pulls_are_slow(job_pod.pod, registry_rate, inventory)
    block_if_another_pull_hangs(job_pod.pod, inventory)
    raise Unmeasured(
        f"the pull of {image} on {worker} had not begun when the pod ended",
        needs="a larger `deadlines.pod` in the inventory",
        evidence=job_pod.pod.evidence,
    )


def _block_if_explained(
    pull: ImagePull,
    job_pod: PodTranscript,
    registry_reply: tuple[RegistryReply, ...],
    registry_rate: tuple[LayerRate, ...],
    manifest: Manifest | None,
    node_pull: Pull | None,
    pod_pull: ImagePull | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> None:
    """Raise `Blocked` if a further image fails as the probe's own, or its registry, does."""
    host = inventory.registry_of(pull.image).host
    same_registry = manifest is not None and inventory.registry_of(manifest.image).host == host
    reply = next((candidate for candidate in registry_reply if candidate.host == host), None)
    block_if_failing_from_here(pull, inventory, reply, manifest if same_registry else None, like=inventory.probe.image)
    for rate in registry_rate:
        block_if_registry_is_slow(pull, rate, inventory)
    block_if_no_resolver_answers(pull, pull.node, here_lookups, node_answers)
    block_if_first_pull_failed(pull, job_pod.pod, node_pull, inventory)
    if pod_pull is not None and inventory.registry_of(pod_pull.image).host == host:
        block_if_same_fault(pull, pod_pull, Ref.POD_PULL, {"worker": pull.node, "image": pod_pull.image})
