"""2.4 Name resolution: one resolver of three, one name of many, the nodes or the pods only, UDP but not TCP.

A resolver is queried from here, from every worker and from a pod on every worker. A failing AAAA query beside an A
record is no fault: an answer has one only if its name has no usable address (probes.dns).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from preflight.conclusions.impacts import (
    always,
    ignored_resolvers,
    names_for_jobs,
    no_harm,
    resolvers_for_jobs,
    stops_there,
)
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
    resolver_pace,
)
from preflight.facts.environment import own_names
from preflight.faults import DnsFault
from preflight.impact import none, slows, stops
from preflight.probes.dns import Lookups
from preflight.shell_command import program

_SOURCE = "resolvers"

UNREACHABLE = cause("resolver-unreachable", "2.4", _SOURCE)
DOWN = cause("resolver-down", "2.4", _SOURCE, specialises="resolver-unreachable")
FROM_HERE = cause("resolver-unreachable-from-here", "2.4", _SOURCE, specialises="resolver-unreachable")
FROM_CLUSTER = cause("resolver-unreachable-from-cluster", "2.4", _SOURCE, specialises="resolver-unreachable")
NODE_BLOCKED = cause("node-resolver-blocked", "2.4", _SOURCE, specialises="resolver-unreachable-from-cluster")
NODES_BLOCKED = cause("nodes-resolver-blocked", "2.4", _SOURCE, specialises="resolver-unreachable-from-cluster")
PODS_BLOCKED = cause("pods-resolver-blocked", "2.4", _SOURCE, specialises="resolver-unreachable-from-cluster")
UDP_BLOCKED = cause("dns-udp-blocked", "2.4", _SOURCE, specialises="resolver-unreachable")
REFUSES = cause("resolver-refuses", "2.4", _SOURCE)
BROKEN = cause("resolver-broken", "2.4", _SOURCE)
NAME_GAP = cause("resolver-lacks-name", "2.4", _SOURCE)
NAME_MISSING = cause("name-missing", "2.4", _SOURCE, specialises="resolver-lacks-name")
NAME_WRONG = cause("name-wrong-address", "2.4", _SOURCE)
DISAGREE = cause("resolvers-disagree", "2.4", _SOURCE)

single(
    DISAGREE,
    always(stops("jobs that get the wrong address")),
    resolver_agreement,
    remedy=(
        "make all resolvers serve one zone: compare serials with `dig SOA` at {resolvers}, "
        "and decide which answer is right",
    ),
)

single(
    cause("resolver-late", "2.4", "late-resolver"),
    always(slows()),
    resolver_pace,
    remedy=(
        "check the load of the resolver, and at how long its own forwarders take: `dig +trace`, and `dig @FORWARDER` "
        "on its host",
        "until then move it to the end of `nameservers`, or remove it",
    ),
)

single(
    cause("own-resolvers-slow", "1.2", "own-resolvers"),
    no_harm("this machine alone waits for its own resolver"),
    own_names,
    remedy=("remove the resolver that does not answer from /etc/resolv.conf of this machine, or move it to the end",),
)

_QUIET = has_fault(DnsFault.TIMEOUT, DnsFault.UNREACHABLE)
_VANTAGES = (here_lookups, node_answers, pod_lookups)


@rule
def resolvers(facts: Facts) -> Iterator[Conclusion]:
    """What is wrong with each resolver; resolvers with the same faults share a conclusion."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for resolver in facts.inventory.dns.resolvers:
        for kind, workers in _causes_at(facts, resolver):
            groups.setdefault((kind.name, workers), []).append(resolver)
    for (name, workers), concerned in groups.items():
        yield _resolver_conclusion(facts, name, workers, concerned)


def _observations(
    facts: Facts, resolver: str, failing: Callable[[Observation], bool] = _QUIET
) -> tuple[VantageGroup, VantageGroup, VantageGroup]:
    here, nodes, pods = (VantageGroup.of(facts.observations(name, resolver=resolver), failing) for name in _VANTAGES)
    return here, nodes, pods


def _causes_at(facts: Facts, resolver: str) -> Iterator[tuple[Cause, tuple[str, ...]]]:
    """The causes at one resolver, and which workers they concern."""
    here, nodes, pods = _observations(facts, resolver)
    if any(_udp_only(observation) for observation in (*here.failed, *nodes.failed, *pods.failed)):
        yield UDP_BLOCKED, ()
        return
    inside = [*nodes.reached, *pods.reached]
    if here.failed and not inside:
        settled = nodes.all_failed
        yield (DOWN if settled else UNREACHABLE), ()
    elif here.failed:
        yield FROM_HERE, ()
    if nodes.failed and (inside or not here.failed):
        workers = targets_of(nodes.failed, "worker")
        if nodes.reached:
            yield NODE_BLOCKED, workers
        elif here.reached:
            yield (FROM_CLUSTER if nodes.unmeasured else NODES_BLOCKED), workers
        elif not inside:
            yield UNREACHABLE, ()
            return
    behind_reaching_nodes = [
        observation
        for observation in pods.failed
        if observation.targets["worker"] not in targets_of(nodes.failed, "worker")
    ]
    if behind_reaching_nodes and not (here.failed and not inside):
        workers = targets_of(behind_reaching_nodes, "worker")
        if set(workers) <= set(targets_of(nodes.reached, "worker")):
            yield PODS_BLOCKED, workers
        else:
            yield (FROM_CLUSTER, workers) if here.reached or inside else (UNREACHABLE, ())
    everyone = facts.observations(*_VANTAGES, resolver=resolver)
    if any(_refused_all(observation) for observation in everyone):
        yield REFUSES, ()
    if any(has_fault(DnsFault.SERVFAIL, DnsFault.GARBLED)(observation) for observation in everyone):
        yield BROKEN, ()


def _refused_all(observation: Observation) -> bool:
    """Whether a resolver refuses every query; one that refuses a single name only does not serve that name."""
    lookups = observation.measured
    return (
        isinstance(lookups, Lookups)
        and bool(lookups.answers)
        and all(answer.fault is DnsFault.REFUSED for answer in lookups.answers)
    )


def _answers_some(observation: Observation) -> bool:
    """Whether a resolver answered some queries and others not."""
    lookups = observation.measured
    return isinstance(lookups, Lookups) and 0 < len(lookups.failed) < len(lookups.answers)


def _lacks(observation: Observation, name: str) -> bool:
    """Whether a resolver has no address for a name: by its answer, or because it refuses that name alone."""
    fault = _answer(observation, name)
    return fault in {DnsFault.NXDOMAIN, DnsFault.NO_ANSWER} or (
        fault is DnsFault.REFUSED and not _refused_all(observation)
    )


def _udp_only(observation: Observation) -> bool:
    """Whether TCP answered what UDP did not."""
    lookups = observation.measured
    return isinstance(lookups, Lookups) and bool(lookups.failed) and all(answer.over_tcp for answer in lookups.failed)


def _resolver_conclusion(facts: Facts, name: str, workers: tuple[str, ...], concerned: Sequence[str]) -> Conclusion:
    who, first = joined(concerned), concerned[0]
    here, nodes, pods = _observations(facts, first)
    # One that answers with an error gets no query through to an address either.
    shown = (here, nodes, pods)
    if name in {REFUSES.name, BROKEN.name}:
        shown = _observations(facts, first, lambda observation: observation.faulty)
    size = len(facts.inventory.dns.resolvers)
    others = [resolver for resolver in facts.inventory.dns.resolvers if resolver not in concerned]
    healthy = [
        observation
        for observation in facts.observations(here_lookups)
        if observation.targets["resolver"] in others and observation.healthy
    ]
    failed = [
        observation
        for resolver in concerned
        for observation in facts.observations(here_lookups, node_answers, node_lookups, pod_lookups, resolver=resolver)
        if observation.faulty
    ]
    quiet = [observation for observation in failed if _QUIET(observation)]
    is_ = "is" if len(concerned) == 1 else "are"
    ask = f"`{program('dig', '+time=2', '+tries=1', f'@{first}', next(iter(facts.inventory.dns.names), 'NAME'))}`"
    values = facts.inventory.runner.files[0].name
    likely, sentence, steps = _describe(name, who, is_, workers, ask, quiet or failed, nodes, values=values)
    if not likely and any(map(_answers_some, quiet)):
        likely = "the same queries again: some were answered, and packets may be lost (2.4.36, 2.4.37)"
    if name == UDP_BLOCKED.name or name not in {REFUSES.name, BROKEN.name}:
        failed = quiet or failed
    if name == FROM_HERE.name:
        failed = [observation for observation in failed if observation.is_of(here_lookups)]
    elif workers:
        failed = [observation for observation in failed if observation.targets.get("worker") in workers]
    return Conclusion(
        cause={kind.name: kind for kind in _ALL}[name],
        about=(*concerned, *workers),
        sentence=f"{sentence} ({len(concerned)} of {size} resolvers)" if size > 1 else sentence,
        certain=not likely,
        settled_by=likely,
        impact=none("the cluster gets answers, this machine alone does not")
        if name == FROM_HERE.name
        else resolvers_for_jobs(facts, workers),
        explains=keys(failed),
        proofs=proofs(
            *(group.proof(noun, "answered") for group, noun in zip(shown, ("here", "worker", "pod"), strict=True)),
            VantageGroup(reached=tuple(healthy)).proof("other resolver", "answer the same names") if healthy else None,
        )[:4],
        # Something must be left in `nameservers`.
        remedy=steps if others else tuple(step for step in steps if "`nameservers`" not in step),
    )


def _describe(
    name: str,
    who: str,
    is_: str,
    workers: tuple[str, ...],
    ask: str,
    failed: Sequence[Observation],
    nodes: VantageGroup,
    *,
    values: str,
) -> tuple[str, str, tuple[str, ...]]:
    """What would settle it (empty: certain), the sentence, and the remedy."""
    what, on_first = faults_of(failed), f"on {workers[0]}: " if workers else ""
    open_it = f"open UDP and TCP 53 to {who}"
    meanwhile = f"until then remove {who} from `nameservers` in {values}, so that no job waits for it"
    start = f"start the resolver on {who}: `systemctl status named unbound dnsmasq`"
    table: dict[str, tuple[str, str, tuple[str, ...]]] = {
        UDP_BLOCKED.name: (
            "",
            f"UDP 53 to {who} is dropped on the path, TCP 53 is answered",
            (f"{open_it}: TCP is open, UDP is not", f"{ask} and the same with `+tcp`"),
        ),
        DOWN.name: (
            "",
            f"{who} {is_} down or cut off: no answer from anywhere ({what})",
            (start, f"{open_it} from workers and pods", meanwhile),
        ),
        UNREACHABLE.name: (
            "the same query from every worker (SSH)",
            f"{who} {'does' if is_ == 'is' else 'do'} not answer ({what})",
            (start, f"{open_it}: {ask}", meanwhile),
        ),
        FROM_HERE.name: (
            "",
            f"only this machine gets no answer from {who} ({what}); the cluster does, so jobs are not affected",
            (f"{open_it} from this machine, or map it with `connect:` in the inventory",),
        ),
        NODE_BLOCKED.name: (
            "",
            f"{joined(workers)} {'gets' if len(workers) == 1 else 'get'} no answer from {who} ({what}), "
            f"{tally(len(nodes.reached), nodes.size, 'worker')} do",
            (
                f"{open_it} from {joined(workers)}",
                f"{on_first}{ask}",
                f"`{program('kubectl', 'cordon', workers[0] if workers else 'NODE')}` until then",
            ),
        ),
        NODES_BLOCKED.name: (
            "",
            f"no worker gets an answer from {who} ({what}), this machine does",
            (f"{open_it} from the workers' network", f"{on_first}{ask}"),
        ),
        PODS_BLOCKED.name: (
            "",
            f"pods on {joined(workers)} get no answer from {who} ({what}), the nodes that they run on do",
            (f"{open_it} from the pod network: security group, NetworkPolicy, masquerading", f"in a pod: {ask}"),
        ),
        FROM_CLUSTER.name: (
            "the same query from every worker (SSH) and from a pod on each",
            f"{joined(workers) or 'the cluster'} get no answer from {who} ({what})",
            (f"{open_it} from workers and pods", ask),
        ),
        REFUSES.name: (
            "",
            f"{who} {'answers' if is_ == 'is' else 'answer'} REFUSED: it serves others, not these addresses",
            (
                f"allow workers, pods and this machine in the configuration of {who}: `allow-query` and "
                "`allow-recursion` of named, `access-control` of unbound",
                f"then {ask} must give an address",
            ),
        ),
        BROKEN.name: (
            "",
            f"{who} could not resolve the names ({what}): its own upstream or zone is broken",
            (
                f"on {who}: `journalctl -u named -u unbound -u dnsmasq -n 50` shows why: upstream, DNSSEC or an "
                "expired zone",
                f"{ask.replace('dig ', 'dig +cd ')} answers if DNSSEC is the reason",
                meanwhile,
            ),
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
    """Names that resolvers lack, or that have other addresses than in the inventory; those alike share a conclusion."""
    lookups = [
        observation
        for observation in facts.observations(*_VANTAGES, node_lookups)
        if isinstance(observation.measured, Lookups)
    ]
    here = [
        observation for observation in facts.observations(here_lookups) if isinstance(observation.measured, Lookups)
    ]
    observed = here or lookups
    for names, lacking in _alike(facts, observed, _lacks):
        yield _lacking(facts, names, lacking, lookups)
    for names, mismatched in _alike(facts, observed, _has_wrong):
        causes = "; ".join(
            dict.fromkeys(observation.measured.cause for observation in mismatched[:2] if observation.measured)
        )
        who = joined(names)
        yield Conclusion(
            cause=NAME_WRONG,
            about=(*names, *targets_of(mismatched, "resolver")),
            sentence=f"{who} {'has' if len(names) == 1 else 'have'} another address than the inventory says: {causes}",
            certain=True,
            impact=names_for_jobs(names, facts.inventory),
            explains=keys(
                observation for observation in lookups if any(_has_wrong(observation, name) for name in names)
            ),
            proofs=proofs(VantageGroup(failed=tuple(mismatched)).proof("resolver")),
            remedy=(f"correct {who} in the zone, or under `dns.names` in the inventory: which of both is right?",),
        )


def _alike(
    facts: Facts, observed: Sequence[Observation], fails: Callable[[Observation, str], bool]
) -> Iterator[tuple[tuple[str, ...], list[Observation]]]:
    """The names that fail in the same observations, with these."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name in facts.inventory.dns.names:
        places = tuple(place for place, observation in enumerate(observed) if fails(observation, name))
        if places:
            names.setdefault(places, []).append(name)
    for places, alike in names.items():
        yield tuple(alike), [observed[place] for place in places]


def _has_wrong(observation: Observation, name: str) -> bool:
    """Whether a resolver gives another address of a name than the inventory."""
    return _answer(observation, name) is DnsFault.WRONG_ANSWER


def _answer(observation: Observation, name: str) -> DnsFault | None:
    lookups = observation.measured
    if not isinstance(lookups, Lookups):
        return None
    return next((answer.fault for answer in lookups.answers if answer.name == name), None)


def _lacking(
    facts: Facts, names: tuple[str, ...], lacking: Sequence[Observation], lookups: Sequence[Observation]
) -> Conclusion:
    observed = facts.observations(here_lookups) or lookups
    who, size = targets_of(lacking, "resolver"), len(facts.inventory.dns.resolvers)
    knowing = [
        observation
        for observation in observed
        if isinstance(observation.measured, Lookups)
        and observation.measured.answers
        and not any(_answer(observation, name) for name in names)
    ]
    everywhere = len(who) == size and not knowing
    # A name that only some resolvers know makes their answers differ, too.
    parted = facts.failing(resolver_agreement) if knowing else ()
    name, alone = joined(names), len(names) == 1
    return Conclusion(
        cause=NAME_MISSING if everywhere else NAME_GAP,
        about=(*names, *who) if knowing else names,
        sentence=f"{name} {'is' if alone else 'are'} known to no resolver ({faults_of(lacking)} from {size} of {size})"
        if everywhere
        else f"{name} {'is' if alone else 'are'} not known to {joined(who)} "
        f"({len(who)} of {size} resolvers, {faults_of(lacking)})",
        certain=everywhere or bool(knowing),
        impact=names_for_jobs(names, facts.inventory),
        settled_by="" if everywhere or knowing else "an answer of the other resolvers",
        explains=(
            *keys(observation for observation in lookups if any(_lacks(observation, lacked) for lacked in names)),
            *keys(parted),
        ),
        proofs=proofs(
            VantageGroup(failed=tuple(lacking)).proof("resolver"),
            VantageGroup(reached=tuple(knowing)).proof("other resolver", f"know {name}") if knowing else None,
        ),
        remedy=(
            f"add {name} to the internal zone" + ("" if everywhere else f" that {joined(who)} serves"),
            f"then `{program('dig', '+short', f'@{who[0]}', names[0])}` must give its address",
        ),
    )


single(
    cause("search-list-misleads", "2.4", "name-resolution"),
    stops_there(),
    pod_names,
    faults=(DnsFault.SEARCH_LIST,),
    remedy=(
        "remove the search domain that has a record for every name from `searches` of `dns_config` in {values}, "
        "or its wildcard record from the zone",
        '`options = [{{name = "ndots", value = "1"}}]` of `dns_config` queries the name itself first; `{upgrade}`',
    ),
)
single(
    cause("job-names-unresolved", "2.4", "name-resolution"),
    stops_there(),
    pod_names,
    likely="the same names, queried at each resolver from that pod (2.4.9)",
    remedy=("compare /etc/resolv.conf of a job's pod with `dns_config` in {values}; {resolvers} must answer there",),
)
single(
    cause("job-dns-settings-not-applied", "2.4", "dns-policy"),
    ignored_resolvers,
    pod_resolv_conf,
    dind_resolv_conf,
    likely="the pod as the API server has it (`kubectl get pod -o yaml`): a webhook may rewrite its dnsPolicy",
    remedy=(
        '`dns_policy = "none"` and `nameservers` below `[runners.kubernetes.dns_config]` in {values}: {resolvers}',
        "`{upgrade}`, then `kubectl rollout restart -n {namespace} deployment/{release}`",
        "`kubectl get mutatingwebhookconfigurations`: does one rewrite pods' dnsPolicy?",
    ),
)
