"""Which probe is pointed at which target, under which name: the facts that checks take, in the guide's order.

A fact is defined below what it needs. Its docstring's first sentence names it where it blocks others. Facts that only
look at a part of another one (`Fact.only`) let each check judge one thing, and the earlier one block the later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from preflight import values as helm
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, Unmeasured
from preflight.faults import ClusterFault, GitLabFault, PathFault, PodFault, RegistryFault, SshFault
from preflight.inventory import Dind, Inventory, Login, Secret
from preflight.jobshape import JobShape, dind_job, job_pod_limits, job_pod_requests, probe_job
from preflight.jobshape import job_pod as job_pod_manifest
from preflight.probes import cluster, dns, gitlab, pods, runtime, shell, ssh, transcript
from preflight.probes import headroom as packing
from preflight.probes import kubernetes as api_client
from preflight.probes import nodes as node_states
from preflight.probes import registry as registries
from preflight.probes.cluster import ApiServer, Metrics, NamespaceState, Nodes, PodRequests, ServiceEndpoints
from preflight.probes.credentials import Account, read_secret
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply, GitLabVersion
from preflight.probes.headroom import Headroom
from preflight.probes.leavings import OwnObjects
from preflight.probes.nodes import NodeState
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.registry import Credentials, Manifest, RegistryReply
from preflight.probes.runtime import Pull
from preflight.probes.transcript import (
    Agreement,
    Clock,
    Daemon,
    DindRun,
    NodeLogin,
    PodStart,
    PodTranscript,
    Report,
    ResolvConf,
    WorkerRoom,
)
from preflight.survey import Run, Targets, fact

__all__ = [
    "Agreement",
    "ApiServer",
    "Clock",
    "Daemon",
    "DindRun",
    "GitLabReply",
    "GitLabVersion",
    "Headroom",
    "ImagePull",
    "Lookups",
    "Manifest",
    "Metrics",
    "NodeLogin",
    "NodeState",
    "Nodes",
    "PodAdmission",
    "PodStart",
    "Pull",
    "RegistryReply",
    "ResolvConf",
    "ServiceEndpoints",
    "WorkerRoom",
]  # the facts' types, for checks

TTL = 120
"""Seconds after its end at which the cluster itself removes a Job of ours (DESIGN §9.1)."""

FEW_NODES, SAMPLE = 10, 5  # `probe.nodes: auto` (DESIGN §3)


# ---- 2.1 GitLab, from here ------------------------------------------------------------------------------------------


@fact()
def gitlab_reply(inventory: Inventory, run: Run) -> GitLabReply:
    """GitLab's answer, from here."""
    return gitlab.look(
        inventory.gitlab.url, routes=run.routes, ca_file=inventory.gitlab.ca_file, deadline=inventory.deadlines.http
    )


@fact(tolerates=("gitlab_reply",), speaks_for=("gitlab_reply",))
def gitlab_connection(gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab's port, from here."""
    return gitlab_reply.only(PathFault)


@fact(tolerates=("gitlab_reply",))
def gitlab_service(gitlab_connection: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab behind its web server."""
    del gitlab_connection
    return gitlab_reply.only(GitLabFault.BAD_GATEWAY, GitLabFault.UNAVAILABLE, GitLabFault.HTTP_STATUS)


@fact(tolerates=("gitlab_reply",))
def gitlab_location(gitlab_service: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """GitLab's own idea of its URL."""
    del gitlab_service
    return gitlab_reply.only(GitLabFault.REDIRECTED)


@fact(tolerates=("gitlab_reply",))
def gitlab_identity(gitlab_location: GitLabReply, gitlab_reply: GitLabReply) -> GitLabReply:
    """Whether what answers is GitLab."""
    del gitlab_location
    return gitlab_reply.only(GitLabFault.NOT_GITLAB)


@fact()
def gitlab_version(gitlab_identity: GitLabReply, inventory: Inventory, run: Run) -> GitLabVersion:
    """GitLab's version, asked with the API token."""
    del gitlab_identity
    token = inventory.gitlab.api_token
    if not token or not token.text:
        reason = "no gitlab.api_token in the inventory: GitLab tells its version to nobody without one"
        raise NotApplicable(reason)
    found = gitlab.version(
        inventory.gitlab.url,
        token.text,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )
    if found.fault is None and not transcript.matches(found.version, inventory.gitlab.version):
        cause = f"GitLab is {found.version}, the inventory says {inventory.gitlab.version}"
        return replace(found, fault=GitLabFault.WRONG_VERSION, cause=cause)
    return found


# ---- 2.3 the cluster, through its API -------------------------------------------------------------------------------


@fact(deadline="api")
def kubernetes(inventory: Inventory, run: Run) -> Iterator[api_client.Api]:
    """The client of the Kubernetes API."""
    api = api_client.Api(
        inventory.cluster.kubeconfig, inventory.cluster.context, routes=run.routes, deadline=inventory.deadlines.api
    )
    yield api
    api.close()


@fact(deadline="api")
def api_server(kubernetes: api_client.Api, inventory: Inventory) -> ApiServer:
    """The API server's answer."""
    return cluster.api_server(kubernetes, expected_url=inventory.cluster.api_server)


@fact(tolerates=("api_server",), speaks_for=("kubernetes", "api_server"))
def api_answer(api_server: ApiServer) -> ApiServer:
    """Whether the API server answers and is healthy."""
    return replace(api_server, fault=None, cause="") if api_server.fault is ClusterFault.WRONG_ADDRESS else api_server


@fact(tolerates=("api_server",))
def api_address(api_answer: ApiServer, api_server: ApiServer) -> ApiServer:
    """The API server's address in the kubeconfig."""
    del api_answer
    return api_server.only(ClusterFault.WRONG_ADDRESS)


@fact(tolerates=("api_server",))
def api_version(api_answer: ApiServer, inventory: Inventory) -> ApiServer:
    """The control plane's version."""
    if transcript.matches(api_answer.version, inventory.cluster.version):
        return api_answer
    cause = f"the API server is {api_answer.version}, the inventory says {inventory.cluster.version}"
    return replace(api_answer, fault=ClusterFault.WRONG_VERSION, cause=cause)


@fact(deadline="api")
def cluster_nodes(api_answer: ApiServer, kubernetes: api_client.Api) -> Nodes:
    """The cluster's nodes, as its API lists them."""
    del api_answer
    return cluster.nodes(kubernetes)


@fact()
def node_presence(node: str, cluster_nodes: Nodes, inventory: Inventory) -> NodeState:
    """Whether a node of the inventory is in the cluster."""
    return node_states.presence(node, inventory.cluster.nodes[node].address, cluster_nodes)


def _node(name: str, nodes: Nodes) -> cluster.Node:
    """A node whose presence another fact has made sure of."""
    found = nodes.named(name)
    if found is None:
        raise Blocked("node_presence", {"node": name}, f"the cluster has no node {name}", failed=True)
    return found


@fact()
def node_readiness(node: str, node_presence: NodeState, cluster_nodes: Nodes) -> NodeState:
    """Whether a node is Ready."""
    del node_presence
    return node_states.readiness(_node(node, cluster_nodes), cluster_nodes)


@fact()
def node_pressure(node: str, node_readiness: NodeState, cluster_nodes: Nodes) -> NodeState:
    """Whether a node is short of something."""
    del node_readiness
    return node_states.pressure(_node(node, cluster_nodes), cluster_nodes)


@fact()
def node_role(node: str, node_presence: NodeState, cluster_nodes: Nodes, inventory: Inventory) -> NodeState:
    """A node's role."""
    del node_presence
    return node_states.role(_node(node, cluster_nodes), inventory.cluster.nodes[node].role, cluster_nodes)


@fact()
def node_version(
    node: str, node_presence: NodeState, api_answer: ApiServer, cluster_nodes: Nodes, inventory: Inventory
) -> NodeState:
    """A node's kubelet beside the API server."""
    del node_presence
    allowed = inventory.limits.version_skew
    return node_states.version_skew(_node(node, cluster_nodes), api_answer.version, allowed, cluster_nodes)


@fact(effect="static")
def job_shape(inventory: Inventory) -> JobShape:
    """The shape of a job's pod, from the values file."""
    runner = inventory.runner
    return helm.job_shape(helm.load(runner.values, runner.set, release=runner.release, namespace=runner.namespace))


def _as_node(inventory: Inventory, targets: Targets) -> str:
    """The node that a worker is."""
    del inventory
    return targets["worker"]


@fact(at={"node_pressure": ("node", _as_node)})
def worker_placement(worker: str, node_pressure: NodeState, cluster_nodes: Nodes, job_shape: JobShape) -> NodeState:
    """Whether jobs may be scheduled on a worker."""
    del node_pressure
    return node_states.placement(_node(worker, cluster_nodes), job_shape, cluster_nodes)


@fact(deadline="api")
def kube_dns(api_answer: ApiServer, kubernetes: api_client.Api) -> ServiceEndpoints:
    """The cluster's DNS service."""
    del api_answer
    return cluster.service_endpoints(kubernetes)


@fact(deadline="api")
def metrics_api(api_answer: ApiServer, kubernetes: api_client.Api) -> Metrics:
    """The cluster's metrics API."""
    del api_answer
    return cluster.metrics(kubernetes)


# ---- the workers, over SSH ------------------------------------------------------------------------------------------


@fact(effect="static")
def ssh_gate(inventory: Inventory) -> ssh.AuthGate:
    """What keeps a wrong key from being tried on every node."""
    del inventory
    return ssh.AuthGate()


@fact(deadline="ssh")
def node_login(worker: str, ssh_gate: ssh.AuthGate, inventory: Inventory, run: Run) -> Iterator[NodeLogin]:
    """The login to a worker over SSH."""
    access = inventory.access.ssh
    if access == "none":
        reason = "access.ssh is none in the inventory"
        raise NotApplicable(reason)
    login = ssh.Login(
        user=access.user,
        port=access.port,
        key=access.key,
        passphrase=access.passphrase.text if access.passphrase else None,
        known_hosts=access.known_hosts,
        agent=access.agent,
        jump=access.jump,
    )
    address = inventory.workers[worker].address
    session = ssh.open_session(
        worker, address, login, routes=run.routes, deadline=inventory.deadlines.ssh, gate=ssh_gate
    )
    evidence = Evidence(where="here", command=session.command("true"))
    yield NodeLogin(target=worker, node=worker, session=session, evidence=evidence)
    session.close()


def _script_steps(
    inventory: Inventory, run: Run, *, reply: str, lookups: str, conf: str = ""
) -> tuple[shell.Step, ...]:
    """What is looked at on each worker and in each probe pod: only what the named facts of this run need."""
    steps = [shell.fetch(inventory.gitlab.url)] if run.plans(reply) else []
    steps += [shell.resolv_conf()] if run.plans(conf) else []
    asked = [resolver for resolver in inventory.dns.resolvers if run.plans(lookups, resolver=resolver)]
    steps += [shell.lookup(name, resolver) for resolver in asked for name in inventory.dns.names]
    return tuple(steps)


def _names(inventory: Inventory) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(addresses) for name, addresses in inventory.dns.names.items()}


@fact(deadline="script")
def node_report(worker: str, node_login: NodeLogin, inventory: Inventory, run: Run) -> Report:
    """What the probe script showed on a worker."""
    nonce = shell.new_nonce()
    steps = _script_steps(inventory, run, reply="node_reply", lookups="node_answers")
    script = shell.render(steps, limit=inventory.deadlines.step, nonce=nonce)
    session = node_login.session
    ran = session.run("sh -s", stdin=script, deadline=inventory.deadlines.script)
    sections = shell.parse(ran.stdout, nonce)
    if not sections:
        raise Unmeasured(
            f"{worker} gives {session.login.user} no POSIX shell: the probe script printed nothing of its own",
            needs=f"a login on {worker} for which `ssh {worker} sh -s` runs a script",
            fault=SshFault.NO_SHELL,
            evidence=Evidence(
                where=f"node {worker}", command=session.command("sh -s"), observed=ran.stdout + ran.stderr
            ),
        )
    return Report(where=f"node {worker}", sections=sections)


@fact(speaks_for=("node_report",))
def node_reply(node_report: Report, inventory: Inventory) -> GitLabReply:
    """GitLab's answer to a worker, whatever it is."""
    return transcript.gitlab_reply(node_report, inventory.gitlab.url)


@fact(tolerates=("node_reply",), optional=("gitlab_reply",), speaks_for=("node_reply",))
def node_gitlab(node_reply: GitLabReply, gitlab_reply: GitLabReply | None) -> GitLabReply:
    """GitLab's answer to a worker."""
    _unless_same(node_reply, gitlab_reply, _gitlab_fact(gitlab_reply), {})
    return node_reply


def _gitlab_fact(reply: GitLabReply | None) -> str:
    """The fact that reports what is the matter with GitLab from here."""
    fault = reply.fault if reply is not None else None
    if isinstance(fault, PathFault):
        return "gitlab_connection"
    return {GitLabFault.REDIRECTED: "gitlab_location", GitLabFault.NOT_GITLAB: "gitlab_identity"}.get(
        cast("GitLabFault", fault), "gitlab_service"
    )


@fact(deadline="ssh")
def node_clock(worker: str, node_login: NodeLogin, gitlab_connection: GitLabReply, inventory: Inventory) -> Clock:
    """A worker's clock beside GitLab's."""
    if gitlab_connection.clock_offset is None:
        reason = "GitLab's answer carries no Date"
        raise Unmeasured(reason, needs="a web server in front of GitLab that sends a Date header")
    began = time.time()
    ran = node_login.session.run("date +%s", deadline=inventory.deadlines.step)
    middle = (began + time.time()) / 2
    where = f"node {worker}"
    if ran.exit is None:
        raise Unmeasured(
            f"`date` on {worker} came to no end within {inventory.deadlines.step:g} s",
            needs="a worker that answers commands at once, or a larger `deadlines.step`",
            fault=SshFault.SILENT,
        )
    section = shell.Section(kind="clock", exit=ran.exit, took=ran.took, output=ran.stdout)
    allowed = inventory.limits.clock_skew
    return transcript.clock(worker, section, middle=middle, reply=gitlab_connection, allowed=allowed, where=where)


# ---- 2.4 names ------------------------------------------------------------------------------------------------------


@fact(deadline="dns")
def here_lookups(resolver: str, inventory: Inventory, run: Run) -> Lookups:
    """A resolver's answers, asked from here."""
    return dns.lookups(resolver, _names(inventory), routes=run.routes, deadline=inventory.deadlines.dns)


@fact()
def node_answers(resolver: str, node_report: Report, inventory: Inventory) -> Lookups:
    """A resolver's answers to a worker, whatever they are."""
    return transcript.lookups(node_report, resolver, _names(inventory), deadline=inventory.deadlines.step)


@fact(tolerates=("node_answers",), optional=("here_lookups",), speaks_for=("node_answers",))
def node_lookups(resolver: str, node_answers: Lookups, here_lookups: Lookups | None) -> Lookups:
    """A resolver's answers, asked from a worker."""
    _unless_same(node_answers, here_lookups, "here_lookups", {"resolver": resolver})
    return node_answers


@fact(across={"here_lookups": "resolver"}, tolerates=("here_lookups",))
def resolver_agreement(here_lookups: tuple[Lookups, ...]) -> Agreement:
    """What all resolvers say, side by side."""
    return transcript.agreement(here_lookups)


# ---- 2.4 registries -------------------------------------------------------------------------------------------------


@fact(deadline="api", optional=("api_answer",))
def registry_account(
    registry: str, api_answer: ApiServer | None, kubernetes: api_client.Api, inventory: Inventory
) -> Account:
    """The account for a registry."""
    given, host = inventory.registries[registry].credentials, inventory.registries[registry].host
    if given is None:
        return Account(registry=registry, host=host)
    secret = given.password if isinstance(given, Login) else given
    if secret.cluster_key and (api_answer is None or api_answer.fault):
        said = f"{api_answer.fault}: {api_answer.cause}" if api_answer else "the API server could not be asked"
        raise Blocked("api_answer", {}, said, failed=api_answer is not None)
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


@fact()
def registry_reply(registry: str, registry_account: Account, inventory: Inventory, run: Run) -> RegistryReply:
    """A registry's answer, from here."""
    one = inventory.registries[registry]
    return registries.look(
        one.host,
        scheme=one.scheme,
        credentials=registry_account.credentials,
        ca_file=one.ca_file,
        routes=run.routes,
        deadline=inventory.deadlines.http,
    )


@fact(tolerates=("registry_reply",), speaks_for=("registry_account", "registry_reply"))
def registry_connection(registry_reply: RegistryReply) -> RegistryReply:
    """A registry's port, from here."""
    return registry_reply.only(PathFault)


@fact(tolerates=("registry_reply",))
def registry_access(registry_connection: RegistryReply, registry_reply: RegistryReply) -> RegistryReply:
    """A registry's login."""
    del registry_connection
    return registry_reply.only(RegistryFault)


def _registry_of(inventory: Inventory, targets: Targets) -> str | None:
    """The listed registry that an image comes from."""
    host = inventory.registry_of(targets["image"]).host
    return next((name for name, one in inventory.registries.items() if one.host == host), None)


def _registry_of_probe(inventory: Inventory, targets: Targets) -> str | None:
    return _registry_of(inventory, {**targets, "image": inventory.probe.image})


@fact(at={"registry_access": ("registry", _registry_of), "registry_account": ("registry", _registry_of)})
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


@fact(effect="probe", deadline="pull", at={"registry_account": ("registry", _registry_of_probe)})
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
    return runtime.pull_on_node(
        node_login.session,
        inventory.probe.image,
        runtime=cast("runtime.Runtime", kind),
        credentials=registry_account.credentials if registry_account else None,
        deadline=inventory.deadlines.pull,
    )


def _probe_image(inventory: Inventory, targets: Targets) -> str:
    del targets
    return inventory.probe.image


@fact(
    tolerates=("node_image",),
    optional=("registry_reply", "manifest", "here_lookups", "node_answers"),
    speaks_for=("node_image",),
    across={"here_lookups": "resolver", "node_answers": "resolver"},
    at={"registry_reply": ("registry", _registry_of_probe), "manifest": ("image", _probe_image)},
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
    _unless_seen_from_here(node_image, inventory, registry_reply, manifest)
    _unless_unresolved(node_image, worker, here_lookups, node_answers)
    return node_image


_PULL_FAULTS: Mapping[str, str] = {
    PathFault.UNRESOLVED: PodFault.PULL_UNRESOLVED,
    PathFault.REFUSED: PodFault.PULL_REFUSED,
    PathFault.TIMEOUT: PodFault.PULL_TIMEOUT,
    PathFault.SILENT: PodFault.PULL_TIMEOUT,
    PathFault.UNREACHABLE: PodFault.PULL_UNREACHABLE,
    PathFault.TLS_UNTRUSTED: PodFault.PULL_TLS,
    PathFault.TLS_EXPIRED: PodFault.PULL_TLS,
    PathFault.TLS_WRONG_NAME: PodFault.PULL_TLS,
    PathFault.TLS_HANDSHAKE: PodFault.PULL_TLS,
    RegistryFault.UNAUTHORIZED: PodFault.PULL_UNAUTHORIZED,
    RegistryFault.DENIED: PodFault.PULL_UNAUTHORIZED,
    RegistryFault.NOT_FOUND: PodFault.PULL_NOT_FOUND,
    RegistryFault.RATE_LIMITED: PodFault.PULL_RATE_LIMITED,
    RegistryFault.WRONG_PLATFORM: PodFault.PULL_PLATFORM,
    # Where the token server is out of reach, a runtime tells how its own request to it ended.
    RegistryFault.TOKEN_REALM: "",
}
"""What a runtime meets where a registry shows this fault from here."""


def _unless_seen_from_here(
    pull: Pull | ImagePull, inventory: Inventory, reply: RegistryReply | None, manifest: Manifest | None
) -> None:
    """Raise `Blocked` if a pull failed in the way that the registry, or the image in it, fails from here too."""
    if pull.fault is None:
        return
    registry = _registry_of(inventory, {"image": pull.image})
    for outer, name, targets in (
        (reply, "registry_connection", {"registry": registry or ""}),
        (manifest, "manifest", {"image": pull.image}),
    ):
        if outer is None or outer.fault is None:
            continue
        expected = _PULL_FAULTS.get(outer.fault)
        if expected in {pull.fault, ""}:
            blocker = "registry_access" if outer is reply and isinstance(outer.fault, RegistryFault) else name
            raise Blocked(blocker, targets, f"{outer.fault}: {outer.cause}", failed=True, witness=pull.where)


def _unless_unresolved(
    pull: Pull | ImagePull, worker: str, here: tuple[Lookups, ...], node: tuple[Lookups, ...]
) -> None:
    """Raise `Blocked` if a pull failed for want of the registry's address and no resolver gives one."""
    if pull.fault is not PodFault.PULL_UNRESOLVED:
        return
    host = registries.parse_reference(pull.image).host
    for asked, name, targets in ((here, "here_lookups", {}), (node, "node_lookups", {"worker": worker})):
        silent = [one for one in asked if any(answer.name == host for answer in one.failed)]
        if silent and len(silent) == len(asked):
            said = f"{silent[0].fault}: {silent[0].cause}"
            raise Blocked(name, {**targets, "resolver": silent[0].resolver}, said, failed=True, witness=pull.where)


def _unless_same(inner: Fact, outer: Fact | None, name: str, targets: dict[str, str]) -> None:
    """Raise `Blocked` if the outer look met the same fault: what lies behind it cannot be told apart."""
    if inner.fault is not None and outer is not None and inner.fault == outer.fault:
        raise Blocked(name, targets, f"{outer.fault}: {outer.cause}", failed=True, witness=inner.where)


# ---- 6.5, 7 headroom: before the pods, whose start it explains ------------------------------------------------------


@fact(deadline="api")
def namespace_state(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> NamespaceState:
    """The jobs' namespace: its quotas and limits."""
    del api_answer
    # That it is missing is told by admission, which every pod needs.
    return cluster.namespace_state(kubernetes, job_shape.namespace).only()


@fact(deadline="api")
def running_pods(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> PodRequests:
    """What the pods on each node ask for."""
    del api_answer
    return cluster.pod_requests(kubernetes, namespace=job_shape.namespace)


@fact(optional=("worker_placement",), across={"worker_placement": "worker"})
def headroom(
    worker_placement: tuple[NodeState, ...],
    cluster_nodes: Nodes,
    running_pods: PodRequests,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    inventory: Inventory,
) -> Headroom:
    """The room for jobs on the cluster."""
    services = 0 if inventory.dind == "none" else 1
    limits = namespace_state.limit_ranges
    refusing = [one for one in worker_placement if one.fault is not None]
    if refusing and len(refusing) == len(worker_placement):
        said = f"{refusing[0].fault}: {refusing[0].cause}"
        raise Blocked("worker_placement", {"worker": refusing[0].node}, said, failed=True)
    return packing.pack(
        cluster_nodes,
        running_pods,
        job=job_pod_requests(job_shape, services, limit_ranges=limits),
        job_limits=job_pod_limits(job_shape, services, limit_ranges=limits),
        shape=job_shape,
        quotas=namespace_state.quotas,
    )


@fact(tolerates=("headroom",))
def worker_headroom(worker: str, worker_placement: NodeState, headroom: Headroom) -> WorkerRoom:
    """The room for jobs on a worker."""
    del worker_placement
    if headroom.fits == 0:
        raise Blocked("headroom", {}, f"{headroom.fault}: {headroom.cause}", failed=True)
    return transcript.worker_room(worker, headroom)


# ---- a job's pod on each worker -------------------------------------------------------------------------------------


@fact(effect="probe", deadline="api")
def pod_admission(api_answer: ApiServer, kubernetes: api_client.Api, job_shape: JobShape) -> PodAdmission:
    """The API server's admission of a job's pod."""
    del api_answer
    restricted = replace(job_shape, privileged=False)
    return pods.dry_run(kubernetes, job_pod_manifest(restricted, services=(), name="preflight-dry-run"))


@fact(effect="probe", deadline="clean")
def own_objects(
    kubernetes: api_client.Api, job_shape: JobShape, inventory: Inventory, run: Run
) -> Iterator[OwnObjects]:
    """Everything that this run makes in the cluster: removed at the end, whatever happened."""
    ours = OwnObjects(kubernetes, job_shape.namespace, run.id, inventory.deadlines.clean)
    yield ours
    ours.sweep()


def _probed(
    worker: str, cluster_nodes: Nodes, job_shape: JobShape, inventory: Inventory, run: Run, most: int | None
) -> None:
    """Raise `NotApplicable` for a worker that this run leaves out: large clusters are sampled (DESIGN §3)."""
    eligible = [
        node
        for name in inventory.workers
        if (node := cluster_nodes.named(name)) is not None and not packing.why_not(node, job_shape)
    ]
    wanted = inventory.probe.nodes
    if run.all_nodes or wanted == "all":
        count = len(eligible)
    elif wanted.startswith("sample"):
        count = int(wanted.partition(":")[2])
    else:
        count = len(eligible) if len(eligible) <= FEW_NODES else SAMPLE
    count = count if most is None else min(count, most)
    if worker not in {node.name for node in _sample(eligible, count)}:
        reason = f"{count} of {len(eligible)} eligible workers get a pod, and {worker} is not among them (--all-nodes)"
        raise NotApplicable(reason)


def _sample(eligible: list[cluster.Node], count: int) -> list[cluster.Node]:
    """One node of each kind first (OS, kernel, runtime, architecture), then the others in order."""
    kinds: dict[tuple[str, ...], cluster.Node] = {}
    for node in eligible:
        kinds.setdefault((node.os, node.kernel, node.runtime, node.arch), node)
    first = list(kinds.values())
    return [*first, *(node for node in eligible if node not in first)][:count]


@fact(effect="probe", deadline="pod", group="pods")
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
    del pod_admission, worker_placement
    _probed(worker, cluster_nodes, job_shape, inventory, run, None)
    nonce = shell.new_nonce()
    steps = _script_steps(inventory, run, reply="pod_gitlab", lookups="pod_lookups", conf="pod_resolv_conf")
    others = [one for one in inventory.images if run.plans("pod_image", worker=worker, image=one)]
    manifest = probe_job(
        _with_pull_secrets(job_shape, inventory),
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
        images=_node(worker, cluster_nodes).images,
    )
    pods.remove(own_objects.api, job_shape.namespace, pod.job, deadline=inventory.deadlines.clean)
    return PodTranscript(pod=pod, nonce=nonce)


def _with_pull_secrets(shape: JobShape, inventory: Inventory) -> JobShape:
    chosen = inventory.probe.pull_secrets
    return shape if chosen is None else replace(shape, pull_secrets=tuple(chosen))


@fact(speaks_for=("job_pod",), optional=("headroom", "worker_headroom"))
def pod_start(
    worker: str, job_pod: PodTranscript, headroom: Headroom | None, worker_headroom: WorkerRoom | None
) -> PodStart:
    """The start of a job's pod on a worker."""
    pod = job_pod.pod
    if pod.fault is PodFault.UNSCHEDULABLE_RESOURCE and headroom is not None and headroom.fits == 0:
        raise Blocked("headroom", {}, f"{headroom.fault}: {headroom.cause}", failed=True, witness=pod.where)
    if pod.fault is PodFault.UNSCHEDULABLE_RESOURCE and worker_headroom is not None and worker_headroom.fault:
        said = f"{worker_headroom.fault}: {worker_headroom.cause}"
        raise Blocked("worker_headroom", {"worker": worker}, said, failed=True, witness=pod.where)
    # A pull has a fact of its own, and so has whatever the script then met.
    judged = pod.fault if isinstance(pod.fault, PodFault) and not pod.fault.value.startswith("pull-") else None
    cause = pod.cause if judged else ""
    return PodStart(target=worker, node=worker, fault=judged, cause=cause, evidence=pod.evidence)


@fact(tolerates=("pod_start",))
def pod_image(worker: str, image: str, job_pod: PodTranscript, pod_start: PodStart) -> ImagePull:
    """The pull of an image for a job's pod on a worker, whatever came of it."""
    found = next((pull for pull in job_pod.pod.pulls if pull.image == image), None)
    if found is not None:
        return found
    if pod_start.fault is not None:
        raise Blocked("pod_start", {"worker": worker}, f"{pod_start.fault}: {pod_start.cause}", failed=True)
    raise Unmeasured(
        f"the pull of {image} on {worker} had not begun when the pod came to its end",
        needs="a larger `deadlines.pod` in the inventory",
        evidence=job_pod.pod.evidence,
    )


@fact(
    tolerates=("pod_image",),
    optional=("registry_reply", "manifest", "here_lookups", "node_answers"),
    speaks_for=("pod_image",),
    across={"here_lookups": "resolver", "node_answers": "resolver"},
    at={"registry_reply": ("registry", _registry_of)},
)
def pod_pull(
    worker: str,
    pod_image: ImagePull,
    registry_reply: RegistryReply | None,
    manifest: Manifest | None,
    here_lookups: tuple[Lookups, ...],
    node_answers: tuple[Lookups, ...],
    inventory: Inventory,
) -> ImagePull:
    """An image, pulled for a job's pod on a worker."""
    _unless_seen_from_here(pod_image, inventory, registry_reply, manifest)
    _unless_unresolved(pod_image, worker, here_lookups, node_answers)
    return pod_image


@fact(at={"pod_pull": ("image", _probe_image)})
def pod_report(worker: str, pod_start: PodStart, job_pod: PodTranscript, pod_pull: ImagePull) -> Report:
    """What the probe script showed in a job's pod on a worker."""
    del pod_start, pod_pull
    return _report(f"pod on {worker}", job_pod)


def _report(where: str, found: PodTranscript) -> Report:
    sections = shell.parse(found.pod.log, found.nonce)
    if not sections:
        raise Unmeasured(
            found.pod.log_problem or f"the script in the {where} printed nothing of its own",
            needs="the right to read pods/log, and an image with a POSIX shell as `probe.image`",
            evidence=found.pod.evidence,
        )
    return Report(where=where, sections=sections)


@fact(optional=("gitlab_reply", "node_reply"))
def pod_gitlab(
    worker: str,
    pod_report: Report,
    gitlab_reply: GitLabReply | None,
    node_reply: GitLabReply | None,
    inventory: Inventory,
) -> GitLabReply:
    """GitLab's answer to a job's pod on a worker."""
    found = transcript.gitlab_reply(pod_report, inventory.gitlab.url)
    _unless_same(found, gitlab_reply, _gitlab_fact(gitlab_reply), {})
    _unless_same(found, node_reply, "node_gitlab", {"worker": worker})
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
    found = transcript.lookups(pod_report, resolver, _names(inventory), deadline=inventory.deadlines.step)
    _unless_same(found, here_lookups, "here_lookups", {"resolver": resolver})
    _unless_same(found, node_answers, "node_lookups", {"worker": worker, "resolver": resolver})
    return found


@fact()
def pod_resolv_conf(worker: str, pod_report: Report, job_shape: JobShape) -> ResolvConf:
    """The resolv.conf of a job's pod on a worker."""
    return transcript.resolv_conf(pod_report, job_shape, worker)


# ---- 5 Docker-in-Docker ---------------------------------------------------------------------------------------------


@fact(effect="static")
def dind_settings(inventory: Inventory) -> Dind:
    """How the jobs use Docker-in-Docker."""
    if inventory.dind == "none":
        reason = "dind is none in the inventory"
        raise NotApplicable(reason)
    return inventory.dind


@fact(effect="privileged", deadline="api")
def dind_admission(
    pod_admission: PodAdmission, kubernetes: api_client.Api, job_shape: JobShape, dind_settings: Dind
) -> PodAdmission:
    """The API server's admission of a job's pod with Docker-in-Docker."""
    del pod_admission
    return pods.dry_run(
        kubernetes, job_pod_manifest(job_shape, services=(dind_settings.daemon_image,), name="preflight-dry-run")
    )


def _dind_steps(inventory: Inventory, dind: Dind) -> tuple[shell.Step, ...]:
    steps = [shell.resolv_conf(), *(shell.lookup(name) for name in inventory.dns.names)]
    steps += [shell.docker_ready(dind.ready_within), shell.docker_version(), shell.docker_info()]
    pull = inventory.deadlines.pull
    steps += [shell.docker_pull(dind.pull, limit=pull), shell.docker_run(dind.pull, ("echo", "hello"))]
    steps += [shell.docker_lookup(dind.pull, name) for name in inventory.dns.names]
    return tuple(steps)


def _client_image(inventory: Inventory, targets: Targets) -> str | None:
    del targets
    return None if inventory.dind == "none" else inventory.dind.client_image


def _daemon_image(inventory: Inventory, targets: Targets) -> str | None:
    del targets
    return None if inventory.dind == "none" else inventory.dind.daemon_image


@fact(at={"pod_pull": ("image", _client_image)})
def dind_client(pod_pull: ImagePull | None) -> ImagePull | None:
    """The image with Docker's client, pulled for a job's pod on a worker."""
    return pod_pull


@fact(at={"pod_pull": ("image", _daemon_image)})
def dind_service(pod_pull: ImagePull | None) -> ImagePull | None:
    """The image with Docker's daemon, pulled for a job's pod on a worker."""
    return pod_pull


@fact(effect="privileged", deadline="dind", group="pods")
def dind_pod(
    worker: str,
    dind_client: ImagePull | None,
    dind_service: ImagePull | None,
    dind_admission: PodAdmission,
    worker_placement: NodeState,
    cluster_nodes: Nodes,
    namespace_state: NamespaceState,
    job_shape: JobShape,
    dind_settings: Dind,
    own_objects: OwnObjects,
    inventory: Inventory,
    run: Run,
) -> PodTranscript:
    """A job's pod with Docker-in-Docker on a worker, after its images are there: nothing is pulled twice at once."""
    del dind_admission, worker_placement, dind_client, dind_service
    dind = dind_settings
    _probed(worker, cluster_nodes, job_shape, inventory, run, dind.nodes)
    nonce = shell.new_nonce()
    manifest = dind_job(
        _with_pull_secrets(job_shape, inventory),
        node=worker,
        run_id=run.id,
        client_image=dind.client_image,
        daemon_image=dind.daemon_image,
        daemon_args=dind.daemon_args,
        docker_host=dind.docker_host,
        script=shell.render(_dind_steps(inventory, dind), limit=inventory.deadlines.step, nonce=nonce),
        deadline=int(inventory.deadlines.dind),
        ttl=TTL,
        limit_ranges=namespace_state.limit_ranges,
        pod_selectors_to_avoid=namespace_state.selectors,
    )
    pod = pods.launch_dind(
        own_objects.api,
        manifest,
        node=worker,
        deadline=inventory.deadlines.dind,
        on_event=lambda text: run.say(f"dind_pod[{worker}]", f"dind on {worker}: {text}"),
        images=_node(worker, cluster_nodes).images,
    )
    pods.remove(own_objects.api, job_shape.namespace, pod.job, deadline=inventory.deadlines.clean)
    return PodTranscript(pod=pod, nonce=nonce)


@fact(speaks_for=("dind_pod",))
def dind_daemon(worker: str, dind_pod: PodTranscript) -> Daemon:
    """The Docker daemon in a pod on a worker."""
    return transcript.daemon(worker, dind_pod)


@fact()
def dind_report(worker: str, dind_daemon: Daemon, dind_pod: PodTranscript) -> Report:
    """What the probe script showed beside Docker on a worker."""
    del dind_daemon
    return _report(f"dind on {worker}", dind_pod)


@fact()
def dind_storage(dind_daemon: Daemon) -> Daemon:
    """The Docker daemon's storage driver."""
    return transcript.storage(dind_daemon)


@fact()
def dind_pull(worker: str, dind_daemon: Daemon, dind_report: Report, dind_settings: Dind) -> DindRun:
    """An image, pulled by the Docker daemon in a pod on a worker."""
    del dind_daemon
    return transcript.inner_pull(dind_report, worker, dind_settings.pull)


@fact()
def dind_run(worker: str, dind_pull: DindRun, dind_report: Report) -> DindRun:
    """A container, run by the Docker daemon in a pod on a worker."""
    return transcript.inner_run(dind_report, worker, dind_pull.image, ("echo", "hello"))


@fact(optional=("pod_resolv_conf",))
def dind_resolv_conf(
    worker: str, dind_report: Report, pod_resolv_conf: ResolvConf | None, job_shape: JobShape
) -> ResolvConf:
    """The resolv.conf of a pod with Docker-in-Docker on a worker."""
    found = transcript.resolv_conf(dind_report, job_shape, worker)
    _unless_same(found, pod_resolv_conf, "pod_resolv_conf", {"worker": worker})
    return found


@fact()
def dind_answers(dind_report: Report, inventory: Inventory) -> Lookups:
    """The names in a pod with Docker-in-Docker on a worker, whatever comes of them."""
    return transcript.own_lookups(dind_report, _names(inventory), deadline=inventory.deadlines.step)


@fact(
    tolerates=("dind_answers",),
    optional=("here_lookups",),
    speaks_for=("dind_answers",),
    across={"here_lookups": "resolver"},
)
def dind_lookups(dind_answers: Lookups, here_lookups: tuple[Lookups, ...]) -> Lookups:
    """The names, resolved in a pod with Docker-in-Docker on a worker."""
    _unless_all_resolvers(dind_answers, here_lookups)
    return dind_answers


def _unless_all_resolvers(inner: Lookups, here: tuple[Lookups, ...]) -> None:
    """Raise `Blocked` if every resolver, asked from here, fails in the same way."""
    if here and all(one.fault == inner.fault for one in here):
        _unless_same(inner, here[0], "here_lookups", {"resolver": here[0].resolver})


@fact(optional=("here_lookups", "dind_answers"), across={"here_lookups": "resolver"})
def dind_inner_lookups(
    worker: str,
    dind_run: DindRun,
    dind_report: Report,
    dind_answers: Lookups | None,
    here_lookups: tuple[Lookups, ...],
    inventory: Inventory,
) -> Lookups:
    """The names, resolved in a container inside of Docker-in-Docker on a worker."""
    found = transcript.inner_lookups(dind_report, dind_run.image, _names(inventory), deadline=inventory.deadlines.step)
    _unless_all_resolvers(found, here_lookups)
    _unless_same(found, dind_answers, "dind_lookups", {"worker": worker})
    return found
