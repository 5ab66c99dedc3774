"""2.4 Image pulls: the registry, its certificate, its account, the tag; a node's path or trust; the job's pull secret.

From here, the registry's API and every image's manifest are requested; each node pulls with its own runtime, and a
job's pod on each node pulls every image with the job's own secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import (
    image_for_jobs,
    jobs_that_pull,
    nodes_of,
    not_seen,
    pulls_from,
    registry_for_jobs,
    reserve,
    stops_all,
    stops_there,
    unless_healthy,
)
from preflight.conclusions.model import Cause, Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, proof_of, single, steps_of
from preflight.conclusions.vantages import VantageGroup, faults_of, has_fault, joined, proofs, targets_of
from preflight.evidence import Blocked
from preflight.facts.cluster import cluster_nodes
from preflight.facts.dind import dind_pull
from preflight.facts.registry import (
    helper_pull,
    manifest,
    node_pull,
    pod_pull,
    pull_login,
    registry_access,
    registry_connection,
    registry_encryption,
    registry_rate,
    registry_reply,
    repository_encryption,
    service_pull,
)
from preflight.facts.values import helper_image
from preflight.faults import ApiFault, PathFault, PodFault, RegistryFault, ValuesFault
from preflight.impact import Harm, Impact
from preflight.inventory import Login
from preflight.inventory_forms import Secret
from preflight.probes.cluster import Node, Nodes
from preflight.probes.dind import DindRun
from preflight.probes.layer_rate import LayerRate, describe_rate, describe_seconds
from preflight.probes.node_pulls import Pull
from preflight.probes.pod_states import is_fresh
from preflight.probes.pods import ImagePull
from preflight.probes.pull_logins import PullLogin
from preflight.probes.registry import Manifest
from preflight.shell_command import program

_SOURCE = "path-compare"

UNREACHABLE = cause("registry-unreachable", "2.4", _SOURCE, specialises="pulls-fail")
DOWN = cause("registry-down", "2.4", _SOURCE, specialises="registry-unreachable")
FROM_HERE = cause("registry-unreachable-from-here", "2.4", _SOURCE, specialises="registry-unreachable")
CERTIFICATE = cause("registry-certificate", "2.4", "certificate-names", specialises="pulls-fail")
NAME = cause("registry-name-unresolved", "2.4", "resolvers", specialises="pulls-fail")
PULLS = cause("pulls-fail", "2.4", "registry-protocol")
NODE_CUT_OFF = cause("node-registry-blocked", "2.4", _SOURCE, specialises="pulls-fail")
NODES_CUT_OFF = cause("nodes-registry-blocked", "2.4", _SOURCE, specialises="pulls-fail")
NODE_TRUST = cause("node-distrusts-registry", "2.4", "registry-trust", specialises="pulls-fail")
PULL_SECRET = cause("pull-secret-not-in-job", "2.4", "pull-secrets", specialises="pulls-fail")
PULL_SECRET_MISSING = cause(
    "pull-secret-missing", "2.4", "pull-secrets", specialises=("pulls-fail", "inventory-secret-missing")
)
SLOW = cause("registry-slow", "2.4", "slow-pulls")
PULL_ACCOUNT = cause("node-pull-unauthorized", "2.4", "image-access", specialises="pulls-fail")

_PATH_FAULTS = frozenset(
    {PodFault.PULL_REFUSED, PodFault.PULL_TIMEOUT, PodFault.PULL_UNREACHABLE, PodFault.PULL_UNRESOLVED}
)
_TLS = has_fault(PathFault.TLS_UNTRUSTED, PathFault.TLS_EXPIRED, PathFault.TLS_WRONG_NAME, PathFault.TLS_HANDSHAKE)


@rule
def registries_from_here(facts: Facts) -> Iterator[Conclusion]:
    """A registry that is not reached from here, and whether the cluster reaches it."""
    for registry, settings in facts.inventory.registries.items():
        reply = facts.observation(registry_reply, registry=registry)
        if not isinstance(reply.fault, PathFault) or reply.measured is None:
            continue
        pulls = VantageGroup.of(pulls_from(facts, settings.host), lambda observation: observation.faulty)
        judged = facts.failing(registry_connection, registry=registry)
        names = {**names_of(facts, [reply]), "host": settings.host}
        kind, sentence, likely, steps = _outside(reply, pulls, settings.host)
        inside = pulls.failed if kind in {DOWN, UNREACHABLE, CERTIFICATE, NAME} else ()
        yield Conclusion(
            cause=kind,
            about=(registry,),
            sentence=sentence,
            certain=not likely,
            settled_by=likely,
            impact=jobs_that_pull(facts, [settings.host], fault=reply.fault),
            explains=(*keys(judged), *keys(inside)),
            proofs=proofs(VantageGroup(failed=(reply,)).proof("here"), pulls.proof("pull", "succeed")),
            remedy=steps_of(steps, names),
        )


def _outside(reply: Observation, pulls: VantageGroup, host: str) -> tuple[Cause, str, str, tuple[str, ...]]:
    what = faults_of([reply])
    cause_of = reply.measured.cause if reply.measured is not None else what
    if pulls.reached and not pulls.failed:
        sentence = f"only this machine does not reach {host} ({what}); the nodes pull from it"
        return FROM_HERE, sentence, "", ("allow this machine to {host}, or map it with `connect:` in the inventory",)
    if _TLS(reply):
        command = "`openssl s_client -connect {host} -showcerts </dev/null`"
        steps = (
            "a private CA: `ca_file: ca.pem` under `registries.{registry}` in the inventory, and on every node "
            '`ca = "/etc/containerd/certs.d/{host}/ca.pem"` in `/etc/containerd/certs.d/{host}/hosts.toml`',
            f"otherwise renew the certificate: {command} shows what is served",
        )
        return CERTIFICATE, f"the certificate of {host} is not accepted: {cause_of}", "", steps
    if has_fault(PathFault.UNRESOLVED)(reply):
        return (
            NAME,
            f"{host} has no address here: {cause_of}",
            "the same name at every resolver",
            ("`dig {host}` here; add it to the internal zone",),
        )
    steps = (
        "start the registry on {host}, or open its port to this machine and to the nodes",
        "`curl -v https://{host}/v2/` shows how far it gets",
    )
    if pulls.failed and not pulls.reached:
        return DOWN, f"{host} is down: {cause_of}, and no node can pull from it", "", steps
    return UNREACHABLE, f"{host} is not reached: {cause_of}", "a pull from it by a node or a pod", steps


@rule
def pulls(facts: Facts) -> Iterator[Conclusion]:
    """Pulls that fail on nodes or in pods, while the registry is healthy from here."""
    for registry, settings in facts.inventory.registries.items():
        reply = facts.observation(registry_reply, registry=registry)
        failed = [observation for observation in pulls_from(facts, settings.host) if observation.failing]
        if not failed or reply.faulty:
            continue
        for group, kind in (
            ([observation for observation in failed if observation.fault in _PATH_FAULTS], None),
            ([observation for observation in failed if observation.fault is PodFault.PULL_TLS], NODE_TRUST),
            ([observation for observation in failed if observation.fault is PodFault.PULL_UNAUTHORIZED], PULL_SECRET),
        ):
            if group:
                yield _pull_conclusion(facts, settings.host, registry, group, kind, known=reply.healthy)


def _pull_conclusion(
    facts: Facts, host: str, registry: str, failed: Sequence[Observation], kind: Cause | None, *, known: bool
) -> Conclusion:
    workers = targets_of(failed, "worker")
    all_pulls = VantageGroup.of(pulls_from(facts, host), lambda observation: observation.failing)
    healthy_pulls = [observation for observation in all_pulls.reached if observation.targets["worker"] not in workers]
    evidence = proofs(
        VantageGroup(failed=tuple(failed)).proof("pull"),
        VantageGroup(reached=tuple(healthy_pulls)).proof("other workers' pull", "succeed") if healthy_pulls else None,
        VantageGroup(reached=(facts.observation(registry_reply, registry=registry),)).proof(
            "here", "the registry answers"
        )
        if known
        else None,
    )
    secrets = remedy_names.pull_secret(facts, facts.observations(pull_login, registry=registry) or failed)
    names = {**names_of(facts, failed), **secrets, "host": host}
    kind, sentence, likely, steps = _inside(
        kind, failed, host, others_can=bool(healthy_pulls), size=len(facts.inventory.workers), known=known
    )
    return Conclusion(
        cause=kind,
        about=(registry,) if kind is PULLS else (registry, *workers),
        sentence=sentence,
        certain=not likely,
        settled_by=likely,
        impact=_pulls_of_jobs(facts, host, failed),
        explains=keys(failed),
        proofs=evidence,
        remedy=steps_of(steps, names),
    )


def _pulls_of_jobs(facts: Facts, host: str, failed: Sequence[Observation]) -> Impact:
    """Pulls that fail: only those of jobs' pods count where pods on the same workers were measured."""
    by_pods = [observation for observation in pulls_from(facts, host) if observation.is_of(pod_pull)]
    pulling = {
        worker
        for worker in nodes_of(by_pods)
        if all(pull.healthy for pull in by_pods if pull.targets["worker"] == worker)
    }
    workers = [worker for worker in nodes_of(failed) if worker not in pulling]
    if not workers:
        return impact.none("jobs' pods pull from it with their own account")
    return impact.stops_on(workers, of=nodes_of(pulls_from(facts, host)), jobs=f"jobs that pull from {host}")


def _inside(
    kind: Cause | None, failed: Sequence[Observation], host: str, *, others_can: bool, size: int, known: bool
) -> tuple[Cause, str, str, tuple[str, ...]]:
    """Cause, sentence, what would settle it (empty: certain), and remedy."""
    workers = targets_of(failed, "worker")
    first_cause = failed[0].measured.cause if failed[0].measured is not None else faults_of(failed)
    if kind is NODE_TRUST and known:
        sentence = (
            f"the runtime of {joined(workers)} does not trust the certificate of {host}, this machine does: "
            f"{first_cause}"
        )
        trust = "put the CA into /etc/containerd/certs.d/{host}/ (hosts.toml: `ca = …`) on {nodes}"
        return kind, sentence, "", (trust, "restart containerd there")
    if kind is PULL_SECRET and known:
        by_node_runtime = any(observation.is_of(node_pull) for observation in failed)
        holder = "the nodes' runtime" if by_node_runtime else "a job's pod"
        sentence = (
            f"{host} accepts the account of the inventory, but not that of {holder} on {joined(workers)}: {first_cause}"
        )
        steps = (
            "is there a Secret for {host}? `kubectl get secret -n {job_namespace} "
            "--field-selector type=kubernetes.io/dockerconfigjson`",
            "`image_pull_secrets = [{pull_secrets}]` below `[runners.kubernetes]` in {values}: an account's own "
            "secrets count only if the runner names none",
            "`{upgrade}`",
        )
        return (PULL_ACCOUNT if by_node_runtime else PULL_SECRET), sentence, "", steps
    everyone = len(workers) == size
    chosen = NODE_CUT_OFF if not everyone and others_can else NODES_CUT_OFF if everyone and known else PULLS
    beside = ", other workers can" if chosen is NODE_CUT_OFF else ", this machine reaches it" if known else ""
    sentence = f"{joined(workers)} can't pull from {host} ({faults_of(failed)}){beside}: {first_cause}"
    pull_steps = (
        "open the path from {nodes} to {host}: firewall, route, the runtime's proxy, `hosts.toml`",
        "on {node}: `curl -v https://{host}/v2/`, `crictl pull {image}`",
    )
    return (
        chosen,
        sentence,
        "" if chosen is not PULLS else "the registry's answer from here, and every worker's",
        pull_steps,
    )


@rule
def slow_registries(facts: Facts) -> Iterator[Conclusion]:
    """Registries that deliver layers slowly, as far as the pulls of the cluster do not show that they are quick there.

    What slows several at once is most often one way to all of them: those that harm jobs alike are one cause, and with
    them those of which no pull of the cluster tells.
    """
    judged = [each for registry in facts.inventory.registries if (each := _judged_rate(facts, registry)) is not None]
    harmful = next((each.harm for each in judged if each.harm is not Harm.NONE), Harm.NONE)
    judged = [replace(each, harm=harmful) if each.unmeasured else each for each in judged]
    for harm in dict.fromkeys(each.harm for each in judged):
        alike = sorted((each for each in judged if each.harm is harm), key=lambda each: each.rate.rate or 0.0)
        observations = [each.observation for each in alike]
        hosts = joined(each.rate.host for each in alike)
        jobs = f"jobs that pull from {hosts}"
        workers = tuple(dict.fromkeys(worker for each in alike for worker in each.without))
        slowest = alike[0].rate
        command = program("curl", "-s", "-L", "-o", "/dev/null", "-w", "%{speed_download}", slowest.url)
        names = {
            **names_of(facts, observations[:1]),
            "rate_command": command,
            "nodes": joined(workers) or "the nodes",
        }
        yield Conclusion(
            cause=SLOW,
            about=tuple(each.registry for each in alike),
            sentence="; ".join(each.sentence for each in alike),
            certain=True,
            impact={
                Harm.NONE: impact.none("this machine alone was seen to wait for it"),
                Harm.STOPS: impact.stops_on(workers, of=tuple(facts.inventory.workers), jobs=jobs),
                Harm.SLOWS: impact.slows(jobs),
            }[harm],
            explains=keys(observations),
            proofs=tuple(map(proof_of, observations[:2])),
            remedy=steps_of(_TO_SPEED_UP, names),
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    """The slow rate of one registry, and what it does to jobs.

    Attributes:
        sentence: what was measured, and what follows.
        without: the workers that would have to pull an image for longer than the runner waits.
        unmeasured: whether no pull of the cluster shows how fast it is there.
    """

    registry: str
    observation: Observation
    rate: LayerRate
    harm: Harm
    sentence: str
    without: tuple[str, ...] = ()
    unmeasured: bool = False


def _judged_rate(facts: Facts, registry: str) -> _Judged | None:
    observation = facts.observation(registry_rate, registry=registry)
    rate = observation.measured
    if not isinstance(rate, LayerRate) or not rate.is_slow:
        return None
    sizes = _sizes(facts, rate.host)
    in_cluster = min(_rates_in_cluster(facts, rate.host, sizes), default=None)
    if in_cluster is None:
        sentence = f"{rate.cause}; no pull of the cluster shows whether its own way is faster"
        return _Judged(registry, observation, rate, Harm.NONE, sentence, unmeasured=True)
    if in_cluster >= facts.inventory.limits.registry_rate * 1e6:
        sentence = f"{rate.cause}; the cluster pulls at {describe_rate(in_cluster)}"
        return _Judged(registry, observation, rate, Harm.NONE, sentence)
    if without := _workers_without(facts, rate, sizes):
        image = next(iter(without.values()))
        name, takes = image.rpartition("/")[2], describe_seconds(rate.seconds_for(sizes[image]))
        sentence = (
            f"{rate.cause}; {joined(without)} would have to pull {name} ({takes}), and the runner waits "
            f"{rate.poll_timeout} s for a pod"
        )
        return _Judged(registry, observation, rate, Harm.STOPS, sentence, tuple(without))
    return _Judged(registry, observation, rate, Harm.SLOWS, str(rate.cause))


_TO_SPEED_UP = (
    "look at the way to {host}, a proxy before it, and the load of its storage",
    "on a worker, `{rate_command}` shows bytes per second, with the login that the registry asks for",
    "until it is faster: raise `poll_timeout` below `[runners.kubernetes]` in {values}, `{upgrade}`",
    "pull the jobs' images on {nodes} beforehand",
)


def _sizes(facts: Facts, host: str) -> Mapping[str, int]:
    """The bytes of the images of a registry, as far as they are known."""
    described = [observation.measured for observation in facts.observations(manifest, helper_image)]
    return {
        image.target: image.size
        for image in described
        if isinstance(image, Manifest) and image.size and image.image.startswith(f"{host}/")
    }


def _rates_in_cluster(facts: Facts, host: str, sizes: Mapping[str, int]) -> Iterator[float]:
    """Bits per second of the pulls by nodes, pods and Docker in pods that fetched an image; 0 of one without an end."""
    for observation in (*pulls_from(facts, host), *facts.observations(dind_pull)):
        pull = observation.measured
        if not isinstance(pull, DindRun | Pull | ImagePull) or pull.image not in sizes:
            continue
        if _is_late(observation):
            yield 0.0
        elif pull.seconds and (isinstance(pull, DindRun) or pull.fresh):  # a daemon in a pod begins with no image
            yield sizes[pull.image] * 8 / pull.seconds


def _workers_without(facts: Facts, rate: LayerRate, sizes: Mapping[str, int]) -> dict[str, str]:
    """The workers without an image of the jobs whose pull takes longer than the runner waits for a pod, and which."""
    nodes = facts.observation(cluster_nodes).measured
    if not isinstance(nodes, Nodes) or not rate.poll_timeout:
        return {}
    long = [image for image, size in sizes.items() if rate.seconds_for(size) > rate.poll_timeout]
    workers = [node for worker in facts.inventory.workers if (node := nodes.named(worker)) is not None]
    lacking = {node.name: [image for image in long if _lacks(facts, node, image)] for node in workers}
    return {worker: max(images, key=lambda image: sizes[image]) for worker, images in lacking.items() if images}


def _lacks(facts: Facts, node: Node, image: str) -> bool:
    """Whether a node does not have an image; it has one whose pull succeeded, and may have one that its list omits."""
    pulled = facts.observation(pod_pull, worker=node.name, image=image)
    return _is_late(pulled) or (not pulled.healthy and is_fresh(image, node.images) is True)


def _is_late(observation: Observation) -> bool:
    """Whether a pull came to no end because its registry is slow."""
    return isinstance(observation.error, Blocked) and observation.error.fact == registry_rate.name


@rule
def missing_pull_secrets(facts: Facts) -> Iterator[Conclusion]:
    """A pull secret that jobs name and that does not exist; the inventory often reads its account from the same one."""
    without_secret = [
        observation
        for observation in facts.observations(pull_login)
        if has_fault(ValuesFault.SECRET_MISSING)(observation)
    ]
    named = (
        name
        for observation in without_secret
        if isinstance(observation.measured, PullLogin)
        for name in observation.measured.missing
    )
    for secret in dict.fromkeys(named):
        observations = [
            observation
            for observation in without_secret
            if isinstance(observation.measured, PullLogin) and secret in observation.measured.missing
        ]
        names = {
            **names_of(facts, observations),
            "secret": secret,
            "host": observations[0].measured.target if observations[0].measured else "",
        }
        namespace = names["job_namespace"]
        read = [
            observation
            for observation in facts.failing(registry_connection, where=has_fault(ApiFault.NOT_FOUND))
            if _cluster_key(facts.inventory.registries[observation.targets["registry"]].credentials)
            == (namespace, secret)
        ]
        yield Conclusion(
            cause=PULL_SECRET_MISSING,
            about=(secret, *targets_of(observations, "registry")),
            sentence=f"namespace {namespace} has no Secret {secret}, with which a job's pod is to pull from "
            + joined([observation.measured.target for observation in observations if observation.measured]),
            certain=True,
            impact=_without_login(facts, observations),
            explains=(*keys(observations), *keys(read)),
            proofs=tuple(proof_of(observation) for observation in (*observations[:1], *read[:1])),
            remedy=steps_of(_SECRET, names),
        )


_SECRET = (
    "`kubectl create secret docker-registry {secret} -n {job_namespace} --docker-server={host} "
    "--docker-username=USER --docker-password=PASSWORD`",
    "or is it there under another name? `kubectl get secrets -n {job_namespace}`",
)


def _cluster_key(credentials: Login | Secret | None) -> tuple[str, str] | None:
    """Namespace and name of the Secret that the inventory reads an account from."""
    secret = credentials.password if isinstance(credentials, Login) else credentials
    return secret.cluster_key[:2] if secret is not None and secret.cluster_key else None


def _without_login(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Jobs' pods that have no account of a registry which wants one."""
    hosts = joined(str(observation.measured.target) for observation in observations if observation.measured)
    return impact.stops(f"jobs that pull from {hosts or 'a registry'}")


def _account(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A registry that refuses the inventory's account: jobs' pulls decide; unmeasured, it matters if it is theirs."""
    shown = registry_for_jobs(facts, observations)
    known = facts.inventory.registries
    registries = [known[name] for name in targets_of(observations, "registry") if name in known]
    own = all(_cluster_key(registry.credentials) is None for registry in registries)
    measured = any(pulls_from(facts, registry.host) for registry in registries)
    return impact.unseen("jobs may have another account than the inventory's") if own and not measured else shown


def _rate_limited(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A pull limit that is used up: pulls from that registry fail until it is over."""
    shown = registry_for_jobs if targets_of(observations, "registry") else image_for_jobs
    return shown(facts, observations)


single(
    cause("inventory-secret-missing", "2.4", "suite-inventory"),
    not_seen("the inventory's account is this machine's alone"),
    registry_connection,
    faults=(ApiFault.NOT_FOUND,),
    remedy=("correct the reference under `registries:` in the inventory, or create that Secret with that key",),
)
single(
    cause("registry-credentials-rejected", "2.4", "image-access", specialises="pulls-fail"),
    _account,
    registry_access,
    faults=(RegistryFault.UNAUTHORIZED, RegistryFault.DENIED),
    remedy=(
        "`docker login {host}` with the account of the inventory must succeed",
        "renew the pull secret from that login: `kubectl create secret generic {pull_secret} -n {job_namespace} "
        "--type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=$HOME/.docker/config.json "
        "--dry-run=client -o yaml | kubectl apply -f -`",
    ),
    names=remedy_names.pull_secret,
)
single(
    cause("registry-token-server-unreachable", "2.4", "registry-token", specialises="pulls-fail"),
    registry_for_jobs,
    registry_access,
    faults=(RegistryFault.TOKEN_REALM,),
    remedy=(
        "start the token server that the cause names, or open the path to it from here and from the nodes",
        "`curl -sI https://{host}/v2/ | grep -i www-authenticate` names it as `realm`",
    ),
)
single(
    cause("registry-rate-limited", "2.4", "rate-limited-pulls"),
    _rate_limited,
    registry_access,
    manifest,
    pod_pull,
    node_pull,
    helper_image,
    helper_pull,
    faults=(RegistryFault.RATE_LIMITED, PodFault.PULL_RATE_LIMITED),
    remedy=("wait, log in with an account, or pull through a mirror: name the images there in {values}",),
)
single(
    cause("registry-blob-host-unreachable", "2.4", "registry-protocol", specialises="pulls-fail"),
    image_for_jobs,
    manifest,
    faults=(RegistryFault.BLOB_HOST,),
    remedy=(
        "start the host that the cause names, from which {host} has its layers sent, or open the path to it from here "
        "and from the nodes",
        "with `distribution`, `storage.redirect.disable: true` lets {host} send them itself",
    ),
)
single(
    PULL_SECRET,
    _without_login,
    pull_login,
    remedy=(
        "`image_pull_secrets = [{pull_secrets}]` below `[runners.kubernetes]` in {values}: an account's own secrets "
        "count only if the runner names none",
        "`kubectl get secret {pull_secret} -n {job_namespace}` must show it",
        "`{upgrade}`",
    ),
    names=remedy_names.pull_secret,
)
single(
    cause("helper-image-unreachable", "3.3", "helper-image"),
    stops_there(),
    helper_pull,
    remedy=(
        "mirror the helper image where the nodes reach it, and set `helper_image` below "
        "`[runners.kubernetes]` in {values}",
        "or open the path from {nodes} to its registry; on {node}: `crictl pull {image}`",
        "`{upgrade}`",
    ),
)
single(
    cause("service-image-unusable", "3.3", "job-pod"),
    stops_there(),
    service_pull,
    remedy=(
        "correct `name` below `[[runners.kubernetes.services]]` in {values}, or push or mirror the image: every job "
        "waits for it",
        "on {node}: `crictl pull` of the image above",
        "`{upgrade}`",
    ),
)
single(
    cause("not-a-registry", "2.4", "registry-protocol"),
    registry_for_jobs,
    registry_access,
    remedy=("`curl -sI https://{host}/v2/` must answer 200 or 401; correct host and port in the inventory",),
)
single(
    cause("image-missing", "2.4", "image-references"),
    image_for_jobs,
    manifest,
    pod_pull,
    node_pull,
    faults=(RegistryFault.NOT_FOUND, PodFault.PULL_NOT_FOUND, PodFault.PULL_BAD_NAME),
    remedy=(
        "push or mirror it: `docker pull {source} && docker tag {source} {image} && docker push {image}`",
        "or correct the reference in {values} and in the inventory",
    ),
    names=remedy_names.image_source,
)
single(
    cause("image-denied", "2.4", "image-access"),
    image_for_jobs,
    manifest,
    faults=(RegistryFault.DENIED, RegistryFault.UNAUTHORIZED),
    remedy=("give the account of {host} the right to pull {image}",),
)
single(
    cause("image-of-another-platform", "2.4", "registry-platform"),
    image_for_jobs,
    manifest,
    pod_pull,
    node_pull,
    helper_image,
    faults=(RegistryFault.WRONG_PLATFORM, PodFault.PULL_PLATFORM),
    remedy=(
        "mirror all of its platforms, or the nodes' own: `docker buildx imagetools create -t {image} {source}`",
        "`docker buildx imagetools inspect {image}` shows which there are",
    ),
    names=remedy_names.image_source,
)
single(
    cause("helper-image-unavailable", "3.3", "helper-image"),
    unless_healthy(helper_pull, stops_all, "every node has the helper image"),
    helper_image,
    remedy=(
        "mirror it where the nodes reach it, and set `helper_image` below `[runners.kubernetes]` in {values}",
        "`{upgrade}`",
    ),
)
single(
    cause("image-unusable", "2.4", "registry-protocol"),
    image_for_jobs,
    manifest,
    likely="a pull by hand: `crictl pull` on a node",
    remedy=("`docker manifest inspect {image}` shows the registry's answer",),
)
single(
    PULLS,
    image_for_jobs,
    node_pull,
    pod_pull,
    likely="a pull by hand: `crictl pull` on the node",
    remedy=("on {node}: `crictl pull {image}`", "`journalctl -u containerd -n 50` on {node}"),
)

single(
    cause("registry-password-in-clear", "2.4", "encryption"),
    reserve("anyone on the path can read the registry's password"),
    registry_encryption,
    remedy=(
        "serve {host} by TLS, take `scheme: http` out of the inventory, and set its CA as `ca_file`",
        "renew the account's password then: it may have been read",
    ),
)
single(
    cause("chart-repository-unprotected", "2.4", "encryption"),
    reserve("anyone on the path can change the chart"),
    repository_encryption,
    remedy=(
        "write an https address as `runner.repository`, with `runner.repository_ca_file` for a CA of your own",
        "the same for `helm repo list` of whoever runs `{upgrade}`",
    ),
)
