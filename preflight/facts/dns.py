"""2.4 Name resolution from here, from the workers and from jobs' pods."""

from __future__ import annotations

from preflight.evidence import Blocked, NotApplicable
from preflight.fact import fact
from preflight.facts.blocking import (
    block_if_packets_are_lost,
    block_if_policy_misspelt,
    block_if_same_fault,
)
from preflight.facts.probe_plan import expected_names
from preflight.facts.references import Ref
from preflight.faults import DnsFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import dns, shell, shell_readers, transcript
from preflight.probes.dns import Lookups
from preflight.probes.latency import RoundTrips
from preflight.probes.lint import Lint
from preflight.probes.transcript import Agreement, FoundNames, Report, ResolvConf
from preflight.run import Run


@fact(deadline="dns")
def here_lookups(resolver: str, inventory: Inventory, run: Run) -> Lookups:
    """A resolver's answers to queries from here."""
    return dns.lookups(resolver, expected_names(inventory), routes=run.routes, deadline=inventory.deadlines.dns)


@fact(reported_by=("node_lookups",))
def node_answers(worker: str, resolver: str, node_report: Report, inventory: Inventory, run: Run) -> Lookups:
    """A resolver's answers to a worker, faulty or not."""
    lookups = transcript.lookups(node_report, resolver, expected_names(inventory), deadline=inventory.deadlines.step)
    if lookups.silent:
        run.note_silent(worker, resolver)
    return lookups


@fact(tolerates=("here_lookups",), optional=("node_answers",), fan_in={"node_answers": "worker"})
def resolver_pace(resolver: str, here_lookups: Lookups, node_answers: tuple[Lookups, ...]) -> Lookups:
    """How long a resolver takes to answer, at its quickest."""
    pace = dns.pace((here_lookups, *node_answers))
    if pace is None:
        raise Blocked.by(
            Ref.HERE_LOOKUPS, here_lookups, {"resolver": resolver}, otherwise="there is nothing to look up"
        )
    return pace


def _block_if_late(lookups: Lookups, pace: Lookups | None) -> None:
    """Raise `Blocked` if a resolver did not answer in time that never answers soon."""
    if lookups.fault is DnsFault.TIMEOUT and pace is not None and pace.fault is not None:
        raise Blocked.by(Ref.RESOLVER_PACE, pace, {"resolver": lookups.resolver}, measured=lookups)


@fact(tolerates=("node_answers",), optional=("here_lookups", "node_losses", "resolver_pace"))
def node_lookups(
    worker: str,
    resolver: str,
    node_answers: Lookups,
    here_lookups: Lookups | None,
    node_losses: RoundTrips | None,
    resolver_pace: Lookups | None,
) -> Lookups:
    """A resolver's answers to queries from a worker."""
    _block_if_late(node_answers, resolver_pace)
    block_if_same_fault(node_answers, here_lookups, Ref.HERE_LOOKUPS, {"resolver": resolver})
    block_if_packets_are_lost(node_answers, node_losses, Ref.NODE_LOSSES, worker, resolver)
    return node_answers


@fact(fan_in={"here_lookups": "resolver"}, tolerates=("here_lookups",))
def resolver_agreement(here_lookups: tuple[Lookups, ...]) -> Agreement:
    """All resolvers' answers, compared."""
    return transcript.agreement(here_lookups)


@fact(optional=("here_lookups", "node_answers", "pod_losses", "resolver_pace"))
def pod_lookups(
    worker: str,
    resolver: str,
    pod_report: Report,
    here_lookups: Lookups | None,
    node_answers: Lookups | None,
    pod_losses: RoundTrips | None,
    resolver_pace: Lookups | None,
    inventory: Inventory,
    run: Run,
) -> Lookups:
    """A resolver's answers to queries from a job's pod on a worker."""
    lookups = transcript.lookups(pod_report, resolver, expected_names(inventory), deadline=inventory.deadlines.step)
    if lookups.silent:
        run.note_silent(worker, resolver)
    _block_if_late(lookups, resolver_pace)
    block_if_same_fault(lookups, here_lookups, Ref.HERE_LOOKUPS, {"resolver": resolver})
    block_if_packets_are_lost(lookups, pod_losses, Ref.POD_LOSSES, worker, resolver)
    block_if_same_fault(lookups, node_answers, Ref.NODE_LOOKUPS, {"worker": worker, "resolver": resolver})
    return lookups


@fact(optional=("values_dns_policy",))
def pod_resolv_conf(worker: str, pod_report: Report, job_shape: JobShape, values_dns_policy: Lint | None) -> ResolvConf:
    """The resolv.conf of a job's pod on a worker."""
    resolv_conf = transcript.resolv_conf(pod_report, job_shape, worker)
    block_if_policy_misspelt(resolv_conf, values_dns_policy)
    return resolv_conf


@fact(optional=("pod_lookups", "pod_resolv_conf"), fan_in={"pod_lookups": "resolver"})
def pod_names(
    worker: str,
    pod_report: Report,
    pod_lookups: tuple[Lookups, ...],
    pod_resolv_conf: ResolvConf | None,
    inventory: Inventory,
) -> FoundNames:
    """The names, as programs in a job's pod on a worker resolve them."""
    misconfigured = pod_resolv_conf is not None and pod_resolv_conf.fault is not None
    addresses: dict[str, set[str]] = {}
    for lookups in pod_lookups:
        for answer in lookups.answers:
            if answer.addresses:
                addresses.setdefault(answer.name, set()).update(answer.addresses)
    if misconfigured and not addresses:
        raise Blocked.by(Ref.POD_RESOLV_CONF, pod_resolv_conf, {"worker": worker})
    if not addresses and inventory.dns.names:
        resolver = next(iter(inventory.dns.resolvers), "")
        reason = "no resolver has an address for any name"
        raise Blocked.by(Ref.POD_LOOKUPS, None, {"worker": worker, "resolver": resolver}, because=reason)
    if any(section.kind == "resolve" and section.lacks for section in pod_report.sections):
        reason = f"{inventory.probe.image} has no getent, which resolves names as programs do"
        raise NotApplicable(reason)
    section = pod_report.section(shell.resolv_conf())
    names = transcript.found_names(pod_report, worker, addresses, shell_readers.read_resolv_conf(section))
    if misconfigured:
        raise Blocked.by(Ref.POD_RESOLV_CONF, pod_resolv_conf, {"worker": worker}, measured=names)
    answering = {lookups.resolver for lookups in pod_lookups if lookups.fault is None}
    silent = next((resolver for resolver in inventory.dns.resolvers if resolver not in answering), None)
    if names.fault is DnsFault.NO_ANSWER and silent is not None:
        reason = f"{silent} does not answer every name"
        raise Blocked.by(Ref.POD_LOOKUPS, None, {"worker": worker, "resolver": silent}, because=reason, measured=names)
    return names
