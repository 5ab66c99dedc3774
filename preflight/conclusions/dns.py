"""2.4 Locate a name: one resolver of three, one name of many, the nodes or the pods only, UDP but not TCP.

A resolver is looked at from here, from every worker and from a pod on every worker. AAAA that fails while A answers is
healthy and never gets here: an answer has a fault only if its name has no usable address (probes.dns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight.conclusions.model import Cause, Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import single
from preflight.conclusions.vantages import (
    VantageGroup,
    faults_of,
    has_fault,
    joined,
    proofs,
    tally,
    targets_of,
)
from preflight.facts.dind import dind_resolv_conf
from preflight.facts.dns import (
    here_lookups,
    node_answers,
    node_lookups,
    pod_lookups,
    pod_names,
    pod_resolv_conf,
    resolver_agreement,
)
from preflight.faults import DnsFault
from preflight.probes.dns import Lookups

_ROW = "failures 1, 3"

UNREACHABLE = cause("resolver-unreachable", "2.4", _ROW)
DOWN = cause("resolver-down", "2.4", _ROW, specialises="resolver-unreachable")
FROM_HERE = cause("resolver-unreachable-from-here", "2.4", _ROW, specialises="resolver-unreachable")
FROM_CLUSTER = cause("resolver-unreachable-from-cluster", "2.4", _ROW, specialises="resolver-unreachable")
NODE_BLOCKED = cause("node-resolver-blocked", "2.4", _ROW, specialises="resolver-unreachable-from-cluster")
NODES_BLOCKED = cause("nodes-resolver-blocked", "2.4", _ROW, specialises="resolver-unreachable-from-cluster")
PODS_BLOCKED = cause("pods-resolver-blocked", "2.4", _ROW, specialises="resolver-unreachable-from-cluster")
UDP_BLOCKED = cause("dns-udp-blocked", "2.4", _ROW, specialises="resolver-unreachable")
REFUSES = cause("resolver-refuses", "2.4", _ROW)
BROKEN = cause("resolver-broken", "2.4", _ROW)
NAME_GAP = cause("resolver-lacks-name", "2.4", _ROW)
NAME_MISSING = cause("name-missing", "2.4", _ROW, specialises="resolver-lacks-name")
NAME_WRONG = cause("name-wrong-address", "2.4", _ROW)
DISAGREE = cause("resolvers-disagree", "2.4", _ROW)

single(
    DISAGREE,
    resolver_agreement,
    remedy=("make one zone of it: compare serials with `dig SOA` at {resolvers}; which answer is right?",),
)

_QUIET = has_fault(DnsFault.TIMEOUT, DnsFault.UNREACHABLE)
_RINGS = (here_lookups, node_answers, pod_lookups)


@rule
def resolvers(facts: Facts) -> Iterator[Conclusion]:
    """What is the matter with each resolver; resolvers with the same trouble are told together."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for resolver in facts.inventory.dns.resolvers:
        for kind, bad in _troubles(facts, resolver):
            groups.setdefault((kind.name, bad), []).append(resolver)
    for (name, bad), concerned in groups.items():
        yield _resolver_conclusion(facts, name, bad, concerned)


def _observations(facts: Facts, resolver: str) -> tuple[VantageGroup, VantageGroup, VantageGroup]:
    here, nodes, pods = (VantageGroup.of(facts.observations(name, resolver=resolver), _QUIET) for name in _RINGS)
    return here, nodes, pods


def _troubles(facts: Facts, resolver: str) -> Iterator[tuple[Cause, tuple[str, ...]]]:
    """The causes at one resolver, and which workers they concern."""
    here, nodes, pods = _observations(facts, resolver)
    if any(_udp_only(one) for one in (*here.failed, *nodes.failed, *pods.failed)):
        yield UDP_BLOCKED, ()
        return
    inside = [*nodes.reached, *pods.reached]
    if here.failed and not inside:
        settled = nodes.all_failed
        yield (DOWN if settled else UNREACHABLE), ()
    elif here.failed:
        yield FROM_HERE, ()
    if nodes.failed and (inside or not here.failed):
        bad = targets_of(nodes.failed, "worker")
        if nodes.reached:
            yield NODE_BLOCKED, bad
        elif here.reached:
            yield (FROM_CLUSTER if nodes.unmeasured else NODES_BLOCKED), bad
        elif not inside:
            yield UNREACHABLE, ()
            return
    behind = [one for one in pods.failed if one.targets["worker"] not in targets_of(nodes.failed, "worker")]
    if behind and not (here.failed and not inside):
        bad = targets_of(behind, "worker")
        if set(bad) <= set(targets_of(nodes.reached, "worker")):
            yield PODS_BLOCKED, bad
        else:
            yield (FROM_CLUSTER, bad) if here.reached or inside else (UNREACHABLE, ())
    everyone = facts.observations(*_RINGS, resolver=resolver)
    if any(_refused_all(one) for one in everyone):
        yield REFUSES, ()
    if any(has_fault(DnsFault.SERVFAIL, DnsFault.GARBLED)(one) for one in everyone):
        yield BROKEN, ()


def _refused_all(observation: Observation) -> bool:
    """Whether a resolver refuses us; one that refuses a name and answers others only does not serve that name."""
    seen = observation.measured
    return (
        isinstance(seen, Lookups) and bool(seen.answers) and all(one.fault is DnsFault.REFUSED for one in seen.answers)
    )


def _lacks(observation: Observation, name: str) -> bool:
    """Whether a resolver knows no address of a name: it says so, or refuses that one and answers others."""
    found = _answer(observation, name)
    return found in {DnsFault.NXDOMAIN, DnsFault.NO_ANSWER} or (
        found is DnsFault.REFUSED and not _refused_all(observation)
    )


def _udp_only(observation: Observation) -> bool:
    """Whether TCP answered what UDP did not."""
    seen = observation.measured
    return isinstance(seen, Lookups) and bool(seen.failed) and all(one.over_tcp for one in seen.failed)


def _resolver_conclusion(facts: Facts, name: str, bad: tuple[str, ...], concerned: Sequence[str]) -> Conclusion:
    who, first = joined(concerned), concerned[0]
    here, nodes, pods = _observations(facts, first)
    size = len(facts.inventory.dns.resolvers)
    others = [one for one in facts.inventory.dns.resolvers if one not in concerned]
    healthy = [one for one in facts.observations(here_lookups) if one.targets["resolver"] in others and one.healthy]
    failed = [
        observation
        for one in concerned
        for observation in facts.observations(here_lookups, node_answers, node_lookups, pod_lookups, resolver=one)
        if observation.faulty
    ]
    quiet = [one for one in failed if _QUIET(one)]
    is_ = "is" if len(concerned) == 1 else "are"
    ask = f"`dig +time=2 +tries=1 @{first} {next(iter(facts.inventory.dns.names), 'NAME')}`"
    likely, sentence, steps = _describe(name, who, is_, bad, ask, quiet or failed, nodes)
    if name == UDP_BLOCKED.name or name not in {REFUSES.name, BROKEN.name}:
        failed = quiet or failed
    if name == FROM_HERE.name:
        failed = [one for one in failed if one.is_of(here_lookups)]
    elif bad:
        failed = [one for one in failed if one.targets.get("worker") in bad]
    return Conclusion(
        cause={one.name: one for one in _ALL}[name],
        about=(*concerned, *bad),
        sentence=f"{sentence} ({len(concerned)} of {size} resolvers)" if size > 1 else sentence,
        certain=not likely,
        settled_by=likely,
        explains=keys(failed),
        proofs=proofs(
            here.proof("here", "answered"),
            nodes.proof("worker", "answered"),
            pods.proof("pod", "answered"),
            VantageGroup(reached=tuple(healthy)).proof("other resolver", "answer the same names") if healthy else None,
        )[:4],
        # Something must be left in `nameservers`.
        remedy=steps if others else tuple(step for step in steps if "out of `nameservers`" not in step),
    )


def _describe(
    name: str,
    who: str,
    is_: str,
    bad: tuple[str, ...],
    ask: str,
    failed: Sequence[Observation],
    nodes: VantageGroup,
) -> tuple[str, str, tuple[str, ...]]:
    """What would settle it (empty: certain), the sentence, and the remedy."""
    what, near = faults_of(failed), f"on {bad[0]}: " if bad else ""
    open_it = f"open UDP and TCP 53 to {who}"
    meanwhile = f"until then take {who} out of `nameservers` in the values, so that no job waits for it"
    start = f"start the resolver on {who}: `systemctl status named unbound dnsmasq`"
    table: dict[str, tuple[str, str, tuple[str, ...]]] = {
        UDP_BLOCKED.name: (
            "",
            f"UDP 53 to {who} is dropped on the way, TCP 53 is answered",
            (f"{open_it}: TCP is open, UDP is not", f"{ask} and the same with `+tcp`"),
        ),
        DOWN.name: (
            "",
            f"{who} {is_} down or cut off: no answer from anywhere ({what})",
            (start, f"{open_it} from workers and pods", meanwhile),
        ),
        UNREACHABLE.name: (
            "the same question from every worker (SSH)",
            f"{who} {'does' if is_ == 'is' else 'do'} not answer ({what})",
            (start, f"{open_it}: {ask}", meanwhile),
        ),
        FROM_HERE.name: (
            "",
            f"only this machine gets no answer from {who} ({what}); the cluster does, so jobs are not concerned",
            (f"{open_it} from this machine, or map it with `connect:` in the inventory",),
        ),
        NODE_BLOCKED.name: (
            "",
            f"{joined(bad)} {'gets' if len(bad) == 1 else 'get'} no answer from {who} ({what}), "
            f"{tally(len(nodes.reached), nodes.size, 'worker')} do",
            (
                f"{open_it} from {joined(bad)}",
                f"{near}{ask}",
                f"`kubectl cordon {bad[0] if bad else ''}` until then",
            ),
        ),
        NODES_BLOCKED.name: (
            "",
            f"no worker gets an answer from {who} ({what}), this machine does",
            (f"{open_it} from the workers' network", f"{near}{ask}"),
        ),
        PODS_BLOCKED.name: (
            "",
            f"pods on {joined(bad)} get no answer from {who} ({what}), the nodes that they run on do",
            (f"{open_it} from the pod network: security group, NetworkPolicy, masquerading", f"in a pod: {ask}"),
        ),
        FROM_CLUSTER.name: (
            "the same question from every worker (SSH) and from a pod on each",
            f"{joined(bad) or 'the cluster'} get no answer from {who} ({what})",
            (f"{open_it} from workers and pods", ask),
        ),
        REFUSES.name: (
            "",
            f"{who} {'answers' if is_ == 'is' else 'answer'} REFUSED: it serves others, not these addresses",
            (f"allow recursion for workers, pods and this machine in the configuration of {who} (`allow-query`)", ask),
        ),
        BROKEN.name: (
            "",
            f"{who} could not find out what it was asked ({what}): its own upstream or zone is broken",
            (f"the log of {who} says why: upstream, DNSSEC or an expired zone", ask, meanwhile),
        ),
    }
    return table[name]


_ALL = (
    UDP_BLOCKED,
    DOWN,
    UNREACHABLE,
    FROM_HERE,
    NODE_BLOCKED,
    NODES_BLOCKED,
    PODS_BLOCKED,
    FROM_CLUSTER,
    REFUSES,
    BROKEN,
)


@rule
def missing_names(facts: Facts) -> Iterator[Conclusion]:
    """Names that resolvers do not know, or know otherwise than the inventory says."""
    lookups = [one for one in facts.observations(*_RINGS, node_lookups) if isinstance(one.measured, Lookups)]
    here = [one for one in facts.observations(here_lookups) if isinstance(one.measured, Lookups)]
    asked = here or lookups
    for name in facts.inventory.dns.names:
        lacking = [one for one in asked if _lacks(one, name)]
        if lacking:
            yield _lacking(facts, name, lacking, lookups)
        wrong = [one for one in asked if _answer(one, name) is DnsFault.WRONG_ANSWER]
        if wrong:
            said = "; ".join(dict.fromkeys(one.measured.cause for one in wrong[:2] if one.measured))
            yield Conclusion(
                cause=NAME_WRONG,
                about=(name, *targets_of(wrong, "resolver")),
                sentence=f"{name} has another address than the inventory says: {said}",
                certain=True,
                explains=keys(one for one in lookups if _answer(one, name) is DnsFault.WRONG_ANSWER),
                proofs=proofs(VantageGroup(failed=tuple(wrong)).proof("resolver")),
                remedy=(f"correct {name} in the zone, or under `dns.names` in the inventory: which of both is right?",),
            )


def _answer(observation: Observation, name: str) -> DnsFault | None:
    seen = observation.measured
    if not isinstance(seen, Lookups):
        return None
    return next((one.fault for one in seen.answers if one.name == name), None)


def _lacking(facts: Facts, name: str, lacking: Sequence[Observation], lookups: Sequence[Observation]) -> Conclusion:
    every = facts.observations(here_lookups) or lookups
    who, size = targets_of(lacking, "resolver"), len(facts.inventory.dns.resolvers)
    knowing = [
        one
        for one in every
        if isinstance(one.measured, Lookups) and one.measured.answers and _answer(one, name) is None
    ]
    everywhere = len(who) == size and not knowing
    # A name that some know and some do not makes two answers of one question.
    parted = facts.failing(resolver_agreement) if knowing else ()
    return Conclusion(
        cause=NAME_MISSING if everywhere else NAME_GAP,
        about=(name, *who) if knowing else (name,),
        sentence=f"{name} is known to no resolver ({faults_of(lacking)} from {size} of {size})"
        if everywhere
        else f"{name} is not known to {joined(who)} ({len(who)} of {size} resolvers, {faults_of(lacking)})",
        certain=everywhere or bool(knowing),
        settled_by="" if everywhere or knowing else "an answer of the other resolvers",
        explains=(
            *keys(one for one in lookups if _lacks(one, name)),
            *keys(parted),
        ),
        proofs=proofs(
            VantageGroup(failed=tuple(lacking)).proof("resolver"),
            VantageGroup(reached=tuple(knowing)).proof("other resolver", f"know {name}") if knowing else None,
        ),
        remedy=(
            f"add {name} to the internal zone" + ("" if everywhere else f" that {joined(who)} serves"),
            f"then `dig +short @{who[0]} {name}` must give its address",
        ),
    )


single(
    cause("search-list-misleads", "2.4", "failures 1"),
    pod_names,
    faults=(DnsFault.SEARCH_LIST,),
    remedy=(
        "take the search domain that answers for everything out of `searches` of `dns_config` in {values}, or its "
        "wildcard record out of the zone",
        '`options = [{{name = "ndots", value = "1"}}]` of `dns_config` asks for the name as it '
        "stands first; `{upgrade}`",
    ),
)
single(
    cause("job-names-unresolved", "2.4", "failures 1"),
    pod_names,
    likely="the same names, asked at each resolver from that pod (2.4.9)",
    remedy=("compare /etc/resolv.conf of a job's pod with `dns_config` in {values}; {resolvers} must answer there",),
)
single(
    cause("job-dns-settings-not-applied", "2.4", "failures 2, 3"),
    pod_resolv_conf,
    dind_resolv_conf,
    likely="the pod as the API server has it (`kubectl get pod -o yaml`): a webhook may rewrite its dnsPolicy",
    remedy=(
        '`dns_policy = "none"` and `nameservers` below `[runners.kubernetes.dns_config]` in {values}: {resolvers}',
        "`{upgrade}`, then `kubectl rollout restart -n {namespace} deployment/{release}`",
        "`kubectl get mutatingwebhookconfigurations`: does one rewrite pods' dnsPolicy?",
    ),
)
