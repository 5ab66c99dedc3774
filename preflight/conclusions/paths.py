"""2.4 The path to GitLab: the server, a firewall in front of it, the path of one node, of all nodes, of the pods.

The same request from here, from every worker and from a pod on every worker: which of them fail shows where the path is
cut. A certain conclusion about all vantages needs a measurement from each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from preflight import impact
from preflight.conclusions.impacts import gitlab_for_jobs, gitlab_from
from preflight.conclusions.model import Cause, Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.vantages import (
    VantageGroup,
    faults_of,
    has_fault,
    joined,
    proofs,
    tally,
    targets_of,
)
from preflight.evidence import Fact
from preflight.fact import FactSpec
from preflight.facts.gitlab import gitlab_connection, gitlab_reply
from preflight.facts.packets import node_page, pod_page
from preflight.facts.paths import node_gitlab, node_reply, pod_gitlab
from preflight.faults import GitLabFault, PathFault
from preflight.inventory import Inventory
from preflight.probes.gitlab import GitLabReply
from preflight.shell_command import ShellCommand, pipe, program, syntax

_SOURCE = "path-compare"

UNREACHABLE = cause("gitlab-unreachable", "2.1", _SOURCE)
PORT_CLOSED = cause("gitlab-port-closed", "2.1", _SOURCE, specialises="gitlab-unreachable")
CUT_OFF = cause("gitlab-cut-off", "2.1", _SOURCE, specialises="gitlab-unreachable")
SILENT = cause("gitlab-silent", "2.1", _SOURCE, specialises="gitlab-unreachable")
CERTIFICATE = cause("gitlab-certificate", "2.1", "certificate-names", specialises="gitlab-unreachable")
FROM_HERE = cause("gitlab-unreachable-from-here", "2.1", _SOURCE, specialises="gitlab-unreachable")
FROM_CLUSTER = cause("gitlab-unreachable-from-cluster", "2.4", _SOURCE, specialises="gitlab-unreachable")
FROM_WORKERS = cause("gitlab-unreachable-from-workers", "2.4", _SOURCE, specialises="gitlab-unreachable-from-cluster")
NODE_BLOCKED = cause("node-path-blocked", "2.4", _SOURCE, specialises="gitlab-unreachable-from-workers")
NODES_BLOCKED = cause("nodes-path-blocked", "2.4", _SOURCE, specialises="gitlab-unreachable-from-workers")
FROM_PODS = cause("gitlab-unreachable-from-pods", "2.4", _SOURCE, specialises="gitlab-unreachable-from-cluster")
ONE_NODES_PODS = cause("pods-of-one-node-blocked", "2.4", _SOURCE, specialises="gitlab-unreachable-from-pods")
PODS_BLOCKED = cause("pods-path-blocked", "2.4", _SOURCE, specialises="gitlab-unreachable-from-pods")
LARGE_PACKETS = cause("large-packets-lost", "2.4", "mtu")
OTHERWISE = cause("gitlab-answers-differ", "2.4", "path-compare")
IN_THE_WAY = cause("proxy-in-the-way", "2.4", "proxy", specialises="gitlab-answers-differ")

_CLOSED = has_fault(PathFault.REFUSED)
_CERTIFICATE = has_fault(
    PathFault.TLS_EXPIRED, PathFault.TLS_UNTRUSTED, PathFault.TLS_WRONG_NAME, PathFault.TLS_HANDSHAKE
)
_QUIET = has_fault(PathFault.SILENT)


def _cut(observation: Observation) -> bool:
    """Whether a request did not get through; a name without an address is not a matter of paths."""
    return isinstance(observation.fault, PathFault) and observation.fault not in {
        PathFault.UNRESOLVED,
        PathFault.NOT_MAPPED,
    }


@rule
def path_to_gitlab(facts: Facts) -> Iterator[Conclusion]:
    """Where the path to GitLab is cut."""
    here = VantageGroup.of(facts.first_observed(gitlab_reply, gitlab_connection), _cut)
    nodes = VantageGroup.of(facts.first_observed(node_reply, node_gitlab), _cut)
    pods = VantageGroup.of(facts.observations(pod_gitlab), _cut)
    from_cluster = [*nodes.reached, *pods.reached]
    if (here.failed and not from_cluster) or (not here.reached and not from_cluster and (nodes.failed or pods.failed)):
        yield _everywhere(facts, here, nodes, pods)
        return
    if here.failed:
        yield _from_here(facts, here, nodes, pods)
    if nodes.failed:
        yield _from_nodes(facts, here, nodes)
    # Pods on a node that does not reach GitLab itself show nothing about the pod network.
    cut_off = set(targets_of(nodes.failed, "worker"))
    behind_reaching_nodes = [
        observation for observation in facts.observations(pod_gitlab) if observation.targets["worker"] not in cut_off
    ]
    if VantageGroup.of(behind_reaching_nodes, _cut).failed:
        yield _from_pods(facts, here, nodes, VantageGroup.of(behind_reaching_nodes, _cut))


def _endpoint(inventory: Inventory) -> str:
    parts = urlsplit(inventory.gitlab.url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _explained(
    facts: Facts, failed: tuple[Observation, ...], *judged: FactSpec[Any]
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """What a conclusion explains: these raw observations, and the judged ones that are faulty in the same layer."""
    return (*keys(failed), *keys(filter(_cut, facts.observations(*judged))))


def _everywhere(facts: Facts, here: VantageGroup, nodes: VantageGroup, pods: VantageGroup) -> Conclusion:
    failed = (*here.failed, *nodes.failed, *pods.failed)
    inside, settled = nodes.size + pods.size, bool(here.failed) and nodes.all_failed
    endpoint = _endpoint(facts.inventory)
    host = endpoint.rpartition(":")[0]
    quiet = {PathFault.TIMEOUT, PathFault.SILENT, PathFault.UNREACHABLE}
    kinds = {PathFault.TIMEOUT if observation.fault in quiet else observation.fault for observation in failed}
    kind, sentence, remedy = _server_side(endpoint, host, failed, namespace=facts.inventory.runner.namespace)
    if not settled or len(kinds) > 1:
        kind = UNREACHABLE
    whole = joined(
        [
            *(["here"] if here.failed else []),
            *([tally(len(nodes.failed), nodes.size, "worker")] if nodes.failed else []),
            *([tally(len(pods.failed), pods.size, "pod")] if pods.failed else []),
        ]
    )
    return Conclusion(
        cause=kind,
        sentence=f"{sentence}: the same from {whole}"
        if kind is not UNREACHABLE
        else f"{endpoint} is not reached from {whole} ({faults_of(failed)})"
        + ("" if inside else "; nothing else was measured"),
        certain=kind is not UNREACHABLE,
        settled_by=""
        if kind is not UNREACHABLE
        else "a measurement from every worker (SSH), which distinguishes a server that is down from a path that is cut",
        impact=gitlab_for_jobs(facts, failed),
        explains=_explained(facts, failed, gitlab_connection, node_gitlab, pod_gitlab),
        proofs=proofs(here.proof("here"), nodes.proof("worker"), pods.proof("pod")),
        remedy=remedy,
    )


def _cordon(workers: Iterable[str]) -> str:
    return "; ".join(f"`{program('kubectl', 'cordon', worker)}`" for worker in workers)


def _ca_secret(namespace: str, host: str) -> ShellCommand:
    return program(
        "kubectl", "create", "secret", "generic", "gitlab-ca", "-n", namespace, f"--from-file={host}.crt=ca.pem"
    )


def _server_side(
    endpoint: str, host: str, failed: tuple[Observation, ...], *, namespace: str
) -> tuple[Cause, str, tuple[str, ...]]:
    start = f"on {host}: `gitlab-ctl status`, then `gitlab-ctl start`"
    if all(_CLOSED(observation) for observation in failed):
        sentence = f"nothing listens on {endpoint}: GitLab's host refuses every connection"
        return PORT_CLOSED, sentence, (start, f"compare the port of `gitlab.url` with `external_url` on {host}")
    if all(_CERTIFICATE(observation) for observation in failed):
        sentence = f"the certificate of {endpoint} is not accepted ({faults_of(failed)})"
        command = pipe(
            program("openssl", "s_client", "-connect", endpoint, "-servername", host, syntax("</dev/null")),
            program("openssl", "x509", "-noout", "-dates", "-text"),
        )
        return (
            CERTIFICATE,
            sentence,
            (
                f"a private CA: `ca_file: ca.pem` under `gitlab` in the inventory, and for the runner the Secret of "
                f"`certsSecretName` with the key {host}.crt: `{_ca_secret(namespace, host)}`",
                f"otherwise renew the certificate: `{command}` shows what is served",
            ),
        )
    if any(map(_QUIET, failed)):
        return SILENT, f"{endpoint} accepts connections and never answers: the server there hangs", (start,)
    sentence = (
        f"nothing comes back from {endpoint} ({faults_of(failed)}): GitLab's host is down, or a firewall in front "
        "of it drops"
    )
    steps = (
        f"see whether {host} is up: its console, `ping`, the hypervisor or cloud",
        f"allow port {endpoint.rpartition(':')[2]} in its security group and its own firewall (`nft list ruleset`)",
        start,
    )
    return CUT_OFF, sentence, steps


def _from_here(facts: Facts, here: VantageGroup, nodes: VantageGroup, pods: VantageGroup) -> Conclusion:
    endpoint = _endpoint(facts.inventory)
    return Conclusion(
        cause=FROM_HERE,
        sentence=f"only this machine does not reach {endpoint} ({faults_of(here.failed)}); the cluster does, so jobs "
        "are not affected",
        certain=True,
        impact=impact.none("the cluster reaches GitLab, this machine alone does not", hides=True),
        explains=_explained(facts, here.failed, gitlab_connection),
        proofs=proofs(here.proof("here"), nodes.proof("worker"), pods.proof("pod")),
        remedy=(
            f"allow this machine to {endpoint}, or run the suite from where GitLab is reached",
            "or map the address to a forwarded port with `connect:` in the inventory",
        ),
    )


def _from_nodes(facts: Facts, here: VantageGroup, nodes: VantageGroup) -> Conclusion:
    endpoint = _endpoint(facts.inventory)
    workers = targets_of(nodes.failed, "worker")
    addresses = joined(
        str(facts.inventory.workers[worker].address) for worker in workers if worker in facts.inventory.workers
    )
    some_pods = VantageGroup.of(
        (observation for observation in facts.observations(pod_gitlab) if observation.targets["worker"] in workers),
        _cut,
    )
    evidence = proofs(here.proof("here"), nodes.proof("worker"), _others(nodes), some_pods.proof("pod"))
    explains = _explained(facts, nodes.failed, node_gitlab) + keys(some_pods.failed)
    path = f"a firewall, security group or route between {addresses} and {endpoint}"
    check = (
        f"on {workers[0]}: `{program('curl', '-v', '-m', 5, facts.inventory.gitlab.url)}`, "
        f"`{program('ip', 'route', 'get', endpoint.rpartition(':')[0])}`"
    )
    if nodes.reached:
        return Conclusion(
            cause=NODE_BLOCKED,
            about=workers,
            sentence=f"{joined(workers)} ({addresses}) {'does' if len(workers) == 1 else 'do'} not reach {endpoint} "
            f"({faults_of(nodes.failed)}), {tally(len(nodes.reached), nodes.size, 'worker')} do: the path of "
            f"{'this node' if len(workers) == 1 else 'these nodes'} is cut",
            certain=True,
            impact=gitlab_from(facts, workers),
            explains=explains,
            proofs=evidence,
            remedy=(
                f"allow {addresses} to {endpoint} in GitLab's security group and firewall",
                f"check the route and the local firewall {check}",
                f"until then keep jobs away: {_cordon(workers)}",
            ),
        )
    certain = bool(here.reached) and not nodes.unmeasured
    return Conclusion(
        cause=NODES_BLOCKED if certain else FROM_WORKERS,
        about=workers,
        sentence=f"{tally(len(nodes.failed), nodes.size, 'worker')} do not reach {endpoint} ({faults_of(nodes.failed)})"
        + (", this machine does: the workers' network is cut off from GitLab" if here.reached else ""),
        certain=certain,
        settled_by="" if certain else "a measurement from the workers that could not be reached, and from here",
        impact=gitlab_from(facts, workers),
        explains=explains,
        proofs=evidence,
        remedy=(
            f"open {path}: allow the workers' network in GitLab's security group and firewall",
            f"then try {check}",
        ),
    )


def _others(group: VantageGroup) -> Proof | None:
    """What the observations that got through show, beside those that did not."""
    if not group.mixed or not isinstance(group.reached[0].measured, Fact):
        return None
    reply = group.reached[0].measured
    took = f" in {reply.took * 1000:.0f} ms" if isinstance(reply, GitLabReply) and reply.took else ""
    return Proof.of(reply, f"{tally(len(group.reached), group.size, 'worker')} answered{took}")


def _from_pods(facts: Facts, here: VantageGroup, nodes: VantageGroup, pods: VantageGroup) -> Conclusion:
    endpoint, workers = _endpoint(facts.inventory), targets_of(pods.failed, "worker")
    own_nodes = [observation for observation in nodes.reached if observation.targets["worker"] in workers]
    namespace, pod_cidr = facts.inventory.runner.namespace, joined(facts.inventory.cluster.pod_networks)
    pods_of = ("kubectl", "get", "pods", "-A", "--field-selector")
    nodes_own = VantageGroup(reached=tuple(own_nodes)).proof("node")
    evidence = proofs(pods.proof("pod"), nodes_own, here.proof("here"))
    remedy = (
        f"allow the pod network {pod_cidr} to {endpoint} in GitLab's security group and firewall, or let the nodes "
        "masquerade pod addresses",
        f"see what forbids it: `{program('kubectl', 'get', 'networkpolicy', '-n', namespace)}`",
    )
    if pods.reached and len(own_nodes) == len(workers):
        return Conclusion(
            cause=ONE_NODES_PODS,
            about=workers,
            sentence=f"pods on {joined(workers)} do not reach {endpoint} ({faults_of(pods.failed)}), "
            f"{'the node itself does' if len(workers) == 1 else 'the nodes themselves do'}, and so do pods on "
            f"{joined(targets_of(pods.reached, 'worker'))}: the pod network of {joined(workers)} is broken",
            certain=True,
            impact=gitlab_from(facts, workers),
            explains=keys(pods.failed),
            proofs=(*evidence, *proofs(_others(pods))),
            remedy=(
                f"restart the network plugin there: `{program(*pods_of, f'spec.nodeName={workers[0]}')}`",
                f"compare masquerading with a node that works: `iptables -t nat -S POSTROUTING` on {workers[0]}",
                f"until then keep jobs away: {_cordon(workers)}",
            ),
        )
    certain = pods.all_failed and len(own_nodes) == len(workers)
    some_nodes_reach = bool(own_nodes) and not nodes.failed
    return Conclusion(
        cause=PODS_BLOCKED if certain else FROM_PODS if some_nodes_reach else FROM_CLUSTER,
        about=workers,
        sentence=f"{tally(len(pods.failed), pods.size, 'pod')} do not reach {endpoint} ({faults_of(pods.failed)})"
        + (", the nodes that they run on do: the path from the pod network is cut" if certain else "")
        + (f", {joined(targets_of(own_nodes, 'worker'))} itself does" if some_nodes_reach and not certain else ""),
        certain=certain,
        settled_by="" if certain else "a measurement from every worker (SSH) and from a pod on each",
        impact=gitlab_from(facts, workers),
        explains=keys(pods.failed),
        proofs=evidence,
        remedy=remedy,
    )


@rule
def large_packets(facts: Facts) -> Iterator[Conclusion]:
    """Short answers arrive and long ones do not: packets of full size are lost (docs/sources.md#mtu)."""
    lost = has_fault(PathFault.SILENT)
    nodes, pods = (
        VantageGroup.of(facts.observations(node_page), lost),
        VantageGroup.of(facts.observations(pod_page), lost),
    )
    failed = nodes.failed or pods.failed
    if not failed:
        return
    workers, endpoint = targets_of(failed, "worker"), _endpoint(facts.inventory)
    who = joined(workers) if nodes.failed else f"pods on {joined(workers)}"
    group, noun = (nodes, "worker") if nodes.failed else (pods, "pod")
    others = f"; to {tally(len(group.reached), group.size, noun)} it does" if group.reached else ""
    beside = "" if nodes.failed or not nodes.reached else "; to the nodes themselves it does"
    host = endpoint.rpartition(":")[0]
    yield Conclusion(
        cause=LARGE_PACKETS,
        about=workers,
        sentence=f"short answers of {endpoint} reach {who}, its sign-in page does not{others}{beside}: packets of "
        "full size are lost on the path (MTU)",
        certain=False,
        impact=impact.stops_on(workers, of=targets_of((*group.reached, *group.failed), "worker")),
        settled_by=f"`{program('ping', '-M', 'do', '-s', 1472, host)}` there, which needs a full packet, "
        f"beside `{program('ping', '-s', 100, host)}`",
        explains=keys([*nodes.failed, *pods.failed]),
        proofs=proofs(nodes.proof("worker"), _others(nodes), pods.proof("pod"), _others(pods)),
        remedy=(
            f"the largest N with which `{program('ping', '-M', 'do', '-s', 'N', host)}` is answered, "
            "plus 28, is the path's MTU",
            f"set the MTU of {'their interfaces' if nodes.failed else 'the network plugin'} to it, "
            "and recreate the pods",
            "or clamp TCP's MSS on the tunnel or firewall in between: `iptables -t mangle -A FORWARD -p tcp "
            "--tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu`",
        ),
    )


@rule
def another_server(facts: Facts) -> Iterator[Conclusion]:
    """A proxy or portal that answers some vantages instead of GitLab."""
    strange = has_fault(GitLabFault.NOT_GITLAB, GitLabFault.REDIRECTED, GitLabFault.HTTP_STATUS)
    inside = facts.observations(node_reply, pod_gitlab)
    healthy, answered_by_others = (
        [observation for observation in facts.observations(gitlab_reply) if observation.healthy],
        [observation for observation in inside if strange(observation)],
    )
    if not healthy or not answered_by_others:
        return
    workers = targets_of(answered_by_others, "worker")
    yield Conclusion(
        cause=IN_THE_WAY,
        about=workers,
        sentence=f"something else answers instead of GitLab on {joined(workers)} ({faults_of(answered_by_others)}), "
        "while GitLab answers this machine: a proxy or portal is on the path",
        certain=True,
        impact=gitlab_from(facts, workers),
        explains=(*keys(answered_by_others), *keys(facts.failing(node_gitlab, where=strange))),
        proofs=proofs(
            *(Proof.of(observation.measured) for observation in answered_by_others[:2] if observation.measured),
            VantageGroup(reached=tuple(healthy)).proof("here"),
        ),
        remedy=(
            f"on {workers[0]}: `env | grep -i proxy` and `{program('curl', '-v', facts.inventory.gitlab.url)}` "
            "show what answers",
            f"exempt {urlsplit(facts.inventory.gitlab.url).hostname} in NO_PROXY, or remove the proxy from the path",
        ),
    )
