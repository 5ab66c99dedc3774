"""2.4 Registries, from here and by the workers' own runtimes."""

from __future__ import annotations

from typing import cast

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, Evidence, NotApplicable, Unmeasured
from preflight.facts.blocking import (
    block_if_failing_from_here,
    block_if_no_resolver_answers,
    block_if_no_resolver_knows,
)
from preflight.facts.target_selectors import probe_image, registry_of, registry_of_probe
from preflight.faults import PathFault, RegistryFault
from preflight.inventory import Inventory, Login, Secret
from preflight.jobshape import JobShape
from preflight.probes import node_pulls, pull_logins
from preflight.probes import registry as registries
from preflight.probes.cluster import ApiServer, NamespaceState, Nodes
from preflight.probes.credentials import Account, read_secret
from preflight.probes.dns import Lookups
from preflight.probes.node_pulls import Pull
from preflight.probes.pull_logins import PullLogin
from preflight.probes.registry import Credentials, Manifest, RegistryReply
from preflight.probes.transcript import (
    NodeLogin,
)
from preflight.survey import Run, fact


@fact(deadline="api", optional=("api_answer", "namespace_state"), secret=True)
def registry_account(
    registry: str,
    api_answer: ApiServer | None,
    namespace_state: NamespaceState | None,
    kubernetes: api_client.Api,
    inventory: Inventory,
) -> Account:
    """The account for a registry."""
    given, host = inventory.registries[registry].credentials, inventory.registries[registry].host
    if given is None:
        return Account(registry=registry, host=host)
    secret = given.password if isinstance(given, Login) else given
    if secret.cluster_key and (api_answer is None or api_answer.fault):
        raise Blocked.by("api_answer", api_answer, otherwise="the API server could not be asked")
    gone = namespace_state if namespace_state is not None and namespace_state.fault else None
    if secret.cluster_key and gone is not None and secret.cluster_key[0] == gone.target:
        raise Blocked.by("namespace_state", gone)
    if isinstance(given, Login):
        return Account(
            registry=registry, host=host, credentials=Credentials(given.username, _read(given.password, kubernetes))
        )
    found = registries.parse_docker_config(_read(given, kubernetes), host)
    if found is None:
        raise Unmeasured(
            f"{given.reference} holds no account for {host}",
            needs=f"an entry for {host} under auths in that docker config",
        )
    return Account(registry=registry, host=host, credentials=found)


def _read(secret: Secret, kubernetes: api_client.Api) -> str:
    """A secret's text; one in the cluster is read from there."""
    if secret.text is not None:
        return secret.text
    namespace, name, key = secret.cluster_key or ("", "", "")
    return read_secret(kubernetes, namespace, name, key)


@fact(speaks_for=("registry_account",))
def registry_reply(registry: str, registry_account: Account, inventory: Inventory, run: Run) -> RegistryReply:
    """A registry's answer, from here."""
    one = inventory.registries[registry]
    return registries.ping(
        one.host,
        scheme=one.scheme,
        credentials=registry_account.credentials,
        ca_file=one.ca_file,
        routes=run.routes,
        deadline=inventory.deadlines.http,
    )


@fact(
    tolerates=("registry_reply",),
    optional=("here_lookups",),
    speaks_for=("registry_reply",),
    fan_in={"here_lookups": "resolver"},
)
def registry_connection(
    registry: str, registry_reply: RegistryReply, here_lookups: tuple[Lookups, ...], inventory: Inventory
) -> RegistryReply:
    """A registry's port, from here."""
    found = registry_reply.only(PathFault)
    block_if_no_resolver_knows(found, inventory.registries[registry].host, here_lookups)
    return found


@fact(tolerates=("registry_reply",))
def registry_access(registry_connection: RegistryReply, registry_reply: RegistryReply) -> RegistryReply:
    """A registry's login."""
    del registry_connection
    return registry_reply.only(RegistryFault)


@fact(for_target={"registry_access": ("registry", registry_of), "registry_account": ("registry", registry_of)})
def manifest(
    image: str, registry_access: RegistryReply | None, registry_account: Account | None, inventory: Inventory, run: Run
) -> Manifest:
    """An image's manifest in its registry."""
    del registry_access
    one = inventory.registry_of(image)
    return registries.manifest(
        image,
        platform=inventory.cluster.platform,
        scheme=one.scheme,
        credentials=registry_account.credentials if registry_account else None,
        ca_file=one.ca_file,
        routes=run.routes,
        deadline=inventory.deadlines.http,
    )


@fact(effect="probe", deadline="pull", for_target={"registry_account": ("registry", registry_of_probe)})
def node_image(
    worker: str,
    node_login: NodeLogin,
    cluster_nodes: Nodes,
    registry_account: Account | None,
    inventory: Inventory,
) -> Pull:
    """The pull of the probe's image by a worker's own runtime."""
    node = cluster_nodes.named(worker)
    kind = node.runtime.partition("://")[0] if node else ""
    if kind not in {"containerd", "docker", "cri-o"}:
        reason = f"{worker} runs {kind or 'an unknown runtime'}; the suite knows containerd, docker and cri-o"
        raise NotApplicable(reason)
    return node_pulls.pull_on_node(
        node_login.session,
        inventory.probe.image,
        runtime=cast("node_pulls.Runtime", kind),
        credentials=registry_account.credentials if registry_account else None,
        deadline=inventory.deadlines.pull,
    )


@fact(
    tolerates=("node_image",),
    optional=("registry_reply", "manifest", "here_lookups", "node_answers"),
    speaks_for=("node_image",),
    fan_in={"here_lookups": "resolver", "node_answers": "resolver"},
    for_target={"registry_reply": ("registry", registry_of_probe), "manifest": ("image", probe_image)},
)
def node_pull(
    worker: str,
    node_image: Pull,
    registry_reply: RegistryReply | None,
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> Pull:
    """The probe's image, pulled by a worker's own runtime."""
    block_if_no_resolver_answers(node_image, worker, here_lookups, node_answers)
    block_if_failing_from_here(node_image, inventory, registry_reply, manifest)
    return node_image


@fact(deadline="api+api+api")
def pull_login(
    registry: str,
    api_answer: ApiServer,
    namespace_state: NamespaceState,
    kubernetes: api_client.Api,
    job_shape: JobShape,
    inventory: Inventory,
) -> PullLogin:
    """The account for a registry among the pull secrets of a job's pod."""
    del api_answer, namespace_state
    one = inventory.registries[registry]
    if not one.images or one.credentials is None:
        said = "jobs pull no image of it" if not one.images else "the inventory gives no account for it"
        evidence = Evidence(where="here", command="helm get values", observed=f"{one.host}: {said}")
        return PullLogin(target=one.host, host=one.host, evidence=evidence)
    return pull_logins.read(kubernetes, job_shape, one.host, known=one.credentials)
