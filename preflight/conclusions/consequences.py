"""What is only the consequence of another root cause is shown under it, so that one fault gives one root cause.

Rules draw conclusions from the facts of their own subject. Some of these follow from each other: names, and with them
registries, pulls, charts and the API, fail because resolvers do; managers are restarted, not ready or complain because
GitLab does not answer them (the chart's liveness probe asks it, docs/sources.md#runner-liveness). Whether one explains
another is judged from the observations behind both: what failed, of which host, seen from where, on which nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from preflight.conclusions.latency import may_follow_from_losses
from preflight.conclusions.model import Conclusion, lineage
from preflight.conclusions.observations import Facts, Observation
from preflight.facts.certificates import kubelet_certificate
from preflight.facts.dns import here_lookups, node_answers, resolver_agreement
from preflight.facts.environment import own_names
from preflight.facts.latency import here_distance, here_losses
from preflight.facts.monitoring import manager_warnings
from preflight.facts.release import manager_pods
from preflight.faults import DindFault, DnsFault, Fault, ManagerFault, PathFault, PodFault, RegistryFault
from preflight.probes.certificates import CertificateTerm
from preflight.probes.dns import Lookups
from preflight.probes.environment import OwnNames
from preflight.probes.latency import RoundTrips
from preflight.probes.manager_logs import ManagerLogs
from preflight.probes.managers import ManagerPods, Rollout, is_about_images, may_follow_from_gitlab
from preflight.probes.monitoring import ManagerActivity, Warnings
from preflight.probes.transcript import Agreement

Explains = Callable[[Facts, Conclusion, Conclusion], bool]


def fold(facts: Facts, drawn: Sequence[Conclusion]) -> list[Conclusion]:
    """The conclusions, without those that another one explains; what they explain is that one's as well."""
    origins = {id(effect): origin for effect in drawn if (origin := _origin(facts, effect, drawn)) is not None}
    kept = {id(conclusion): conclusion for conclusion in drawn if id(conclusion) not in origins}
    for effect in drawn:
        root, followed = origins.get(id(effect)), 0
        while root is not None and id(root) in origins and followed < len(drawn):
            root, followed = origins[id(root)], followed + 1
        if root is None:
            continue
        if id(root) not in kept:  # two that explain each other: neither is the other's consequence
            kept[id(effect)] = effect
            continue
        whole = kept[id(root)]
        kept[id(root)] = replace(
            whole,
            explains=tuple(dict.fromkeys((*whole.explains, *effect.explains))),
            consequences=(*whole.consequences, effect),
        )
    return [kept[id(conclusion)] for conclusion in drawn if id(conclusion) in kept]


def _origin(facts: Facts, effect: Conclusion, drawn: Sequence[Conclusion]) -> Conclusion | None:
    candidates = [
        cause
        for cause in drawn
        if cause is not effect and any(explains(facts, cause, effect) for explains in _EXPLAINS)
    ]
    return max(candidates, key=lambda cause: (cause.certain, len(cause.explains)), default=None)


def _failed(facts: Facts, conclusion: Conclusion) -> list[Observation]:
    """The observations behind a conclusion that show a fault."""
    wanted = set(conclusion.explains)
    return [observation for observation in facts if observation.key in wanted and observation.fault is not None]


def _is(observation: Observation, faults: Iterable[Fault]) -> bool:
    return any(observation.fault is fault for fault in faults)


# ---- resolvers and names --------------------------------------------------------------------------------------------

_RESOLVERS = frozenset(
    {
        "resolver-down",
        "resolver-unreachable",
        "resolver-unreachable-from-cluster",
        "resolver-refuses",
        "resolver-broken",
        "node-resolver-blocked",
        "nodes-resolver-blocked",
        "pods-resolver-blocked",
        "dns-udp-blocked",
    }
)
"""Causes that keep a resolver from answering any name."""
_FROM_HERE = "resolver-unreachable-from-here"
_NAMES = frozenset({"resolver-lacks-name", "name-missing", "name-wrong-address", "resolvers-disagree"})
"""Causes at single names."""
_NO_ADDRESS: tuple[Fault, ...] = (
    PathFault.UNRESOLVED,
    PodFault.PULL_UNRESOLVED,
    DnsFault.TIMEOUT,
    DnsFault.UNREACHABLE,
    DnsFault.NXDOMAIN,
    DnsFault.NO_ANSWER,
    DnsFault.SERVFAIL,
    DnsFault.REFUSED,
)
"""Faults of a name without an address."""
_QUIET: tuple[Fault, ...] = (
    PathFault.TIMEOUT,
    PathFault.SILENT,
    PodFault.PULL_TIMEOUT,
    DindFault.PULL_FAILED,
    DindFault.REGISTRY_UNREACHABLE,
)
"""Faults of who still waits for an address when the time is over."""
_OTHER_MACHINE: tuple[Fault, ...] = (
    *(fault for fault in PathFault if fault is not PathFault.NOT_MAPPED),
    PodFault.PULL_REFUSED,
    PodFault.PULL_TIMEOUT,
    PodFault.PULL_UNREACHABLE,
    PodFault.PULL_TLS,
    PodFault.PULL_FAILED,
    DindFault.PULL_FAILED,
    DindFault.REGISTRY_UNREACHABLE,
    DindFault.REGISTRY_UNTRUSTED,
    DindFault.INSECURE_REGISTRY,
    RegistryFault.NOT_A_REGISTRY,
    DnsFault.DISAGREE,
    DnsFault.WRONG_ANSWER,
)
"""Faults of who asks the machine at a wrong address."""


def _resolvers_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether a name has no address because resolvers do not answer."""
    if cause.name not in _RESOLVERS | {_FROM_HERE} or effect.name in _RESOLVERS | {_FROM_HERE}:
        return False
    failed = _failed(facts, effect)
    if effect.name == "own-resolvers-slow":
        own = facts.observation(own_names).measured
        return isinstance(own, OwnNames) and not set(own.nameservers).isdisjoint(cause.about)
    if not failed or not all(
        _is(observation, _NO_ADDRESS) or (_is(observation, _QUIET) and _has_no_address(facts, observation))
        for observation in failed
    ):
        return False
    seen_from = {observation.measured.where for observation in failed if observation.measured is not None}
    if cause.name == _FROM_HERE:
        return seen_from == {"here"}
    workers = {name for name in cause.about if name in facts.inventory.workers}
    return not workers or {observation.targets.get("worker") for observation in failed} <= workers


def _has_no_address(facts: Facts, observation: Observation) -> bool:
    """Whether no resolver, asked from the same place or from here, has an address of the host that is spoken to."""
    worker = observation.targets.get("worker")
    asked = [
        *facts.observations(here_lookups),
        *(facts.observations(node_answers, worker=worker) if worker else ()),
    ]
    answers = [
        answer
        for lookups in asked
        if isinstance(lookups.measured, Lookups)
        for answer in lookups.measured.answers
        if answer.name in _hosts_of(facts, observation)
    ]
    return bool(answers) and all(answer.fault is not None for answer in answers)


def _names_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether a host is not reached because its name has no address, or not the right one."""
    if cause.name not in _NAMES or effect.name in _RESOLVERS | {_FROM_HERE}:
        return False
    if effect.name in _NAMES and not (effect.name == "resolvers-disagree" and cause.name == "name-wrong-address"):
        return False
    names = _names_of(facts, cause)
    wrong = cause.name in {"name-wrong-address", "resolvers-disagree"}
    failed = _failed(facts, effect)
    if effect.name == "resolvers-disagree":
        differing = _names_of(facts, effect)
        return bool(failed) and not differing.isdisjoint(names) and differing <= _wrong_names(facts)
    return bool(failed) and all(
        _hosts_of(facts, observation) & names and _is(observation, _OTHER_MACHINE if wrong else _NO_ADDRESS)
        for observation in failed
    )


def _wrong_names(facts: Facts) -> set[str]:
    """The names of which some resolver gives another address than the inventory."""
    asked = (observation.measured for observation in facts.observations(here_lookups))
    answers = (answer for lookups in asked if isinstance(lookups, Lookups) for answer in lookups.answers)
    return {answer.name for answer in answers if answer.fault is DnsFault.WRONG_ANSWER}


def _names_of(facts: Facts, cause: Conclusion) -> set[str]:
    """The names that a cause concerns."""
    if cause.name != "resolvers-disagree":
        return set(cause.about) & set(facts.inventory.dns.names)
    return {
        name
        for observation in facts.observations(resolver_agreement)
        if isinstance(observation.measured, Agreement)
        for name, answers in observation.measured.addresses.items()
        if len(set(answers.values())) > 1
    }


def _hosts_of(facts: Facts, observation: Observation) -> set[str]:
    """The names of the hosts that a measurement speaks to or asks for, without their ports."""
    inventory, hosts = facts.inventory, set[str]()
    if registry := inventory.registries.get(observation.targets.get("registry", "")):
        hosts.add(registry.host)
    image = observation.targets.get("image") or str(getattr(observation.measured, "image", ""))
    if image:
        hosts.add(inventory.registry_of(image).host)
    if host := str(getattr(observation.measured, "host", "")):
        hosts.add(host)
    if isinstance(observation.measured, Lookups):
        hosts |= {answer.name for answer in observation.measured.failed}
    if url := str(getattr(observation.measured, "url", "")):
        hosts.add(urlsplit(url).netloc)
    if observation.name == "chart_version":
        hosts.add(urlsplit(inventory.runner.repository).netloc)
    if observation.name.startswith("api_"):
        hosts.add(urlsplit(inventory.cluster.api_server).netloc)
    return {urlsplit(f"//{host}").hostname or host for host in hosts}


# ---- GitLab and the managers ----------------------------------------------------------------------------------------

_OF_MANAGERS = frozenset(
    {
        "manager-crashes",
        "managers-not-ready",
        "manager-cut-off-from-gitlab",
        "manager-warning-events",
        "managers-recovered",
        "runner-offline",
        "managers-missing-in-gitlab",
        "rollout-stuck",
    }
)
"""What GitLab's silence does to managers."""
_OF_ENDING = frozenset(
    {
        "manager-crashes",
        "managers-not-ready",
        "manager-warning-events",
        "rollout-stuck",
        "runner-offline",
        "managers-missing-in-gitlab",
    }
)
"""What shows of managers that end as soon as they have read their configuration, or are refused."""
_IN_LOGS = frozenset({"manager-config-refused", "manager-image-user", "manager-token-rejected", "token-revoked"})
"""Causes of which managers end, as their logs say."""
_GITLAB = frozenset({"gitlab-unreachable", "gitlab-answers-differ", "gitlab-name-unresolved"})
"""Causes, and what is more special, that keep GitLab from answering."""
_OF_PROBES = ("Unhealthy", "Killing", "BackOff", "ProbeWarning")
"""Reasons of events about a container whose liveness probe fails."""


def _gitlab_explains(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether managers fare badly because GitLab does not answer them."""
    if effect.name not in _OF_MANAGERS or cause.name == "gitlab-unreachable-from-here":
        return False
    if not _GITLAB & set(lineage(cause.name)):
        return False
    workers = set(facts.inventory.workers)
    nodes = workers & set(cause.about)
    nodes = set() if nodes == workers else nodes
    return all(_may_follow(facts, observation, nodes) for observation in _failed(facts, effect))


def _logs_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether managers fare badly, or don't come up, because of what their own logs say."""
    if cause.name not in _IN_LOGS or effect.name not in _OF_ENDING:
        return False
    return all(_may_follow(facts, observation, set()) for observation in _failed(facts, effect))


def _may_follow(facts: Facts, observation: Observation, nodes: set[str]) -> bool:
    """Whether an observation of managers can come from their being ended on these nodes; on all, if none is named."""
    measured = observation.measured
    homes = {
        pod.name: pod.node
        for listed in facts.observations(manager_pods)
        if isinstance(listed.measured, ManagerPods)
        for pod in listed.measured.pods
    }
    affected: set[str] = set()
    match measured:
        case Rollout():
            return measured.fault is ManagerFault.ROLLOUT_STUCK and not is_about_images(measured.cause)
        case ManagerPods() if measured.fault is not None and not may_follow_from_gitlab(measured):
            return False
        case ManagerPods():
            affected = {pod.name for pod in measured.pods if not pod.ready or not pod.has_recovered}
        case ManagerLogs():
            affected = {log.pod for log in measured.logs if log.fault is not None}
        case ManagerActivity():
            affected = {manager.pod for manager in measured.growth if manager.failed and not manager.accepted}
        case Warnings() if observation.is_of(manager_warnings):
            return all(any(reason in line for reason in _OF_PROBES) for line in measured.lines)
        case _:
            pass
    return not nodes or {homes.get(name, "") for name in affected} <= nodes


# ---- lost packets ---------------------------------------------------------------------------------------------------

_WAYS = frozenset({"packets-lost", "long-round-trip"})
"""What is wrong with the way that packets take, whatever they carry."""


def _losses_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether measurements on the same way failed because packets are lost there."""
    if cause.name != "packets-lost" or effect.name in _WAYS:
        return False
    failed = _failed(facts, effect)
    return bool(failed) and all(may_follow_from_losses(facts, observation) for observation in failed)


# ---- slow registries --------------------------------------------------------------------------------------------


def _way_explains_rate(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether a registry delivers slowly because packets from it are lost, or take long, on the way to here."""
    if effect.name != "registry-slow" or cause.name not in _WAYS:
        return False
    return bool(_hosts_from_here(facts) & {facts.inventory.registries[name].host for name in effect.about})


def _rate_explains_way(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether packets of a registry wait, or are dropped, behind those of pulls that fill the way from it."""
    if cause.name != "registry-slow" or effect.name not in _WAYS:
        return False
    hosts = {facts.inventory.registries[name].host for name in cause.about}
    waited_for = set(effect.about) - set(facts.inventory.workers)
    return bool(waited_for) and waited_for <= hosts and not hosts & _hosts_from_here(facts)


def _hosts_from_here(facts: Facts) -> set[str]:
    """The destinations to which packets from here are lost, or take long."""
    limit = facts.inventory.limits.round_trip
    trips = [each.measured for each in facts.observations(here_losses, here_distance) if each.faulty]
    samples = [each for trip in trips if isinstance(trip, RoundTrips) for each in trip.samples]
    return {each.destination for each in samples if each.lost or each.is_longer(limit)}


# ---- kubelets -------------------------------------------------------------------------------------------------------


def _certificates_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether nodes are not ready because the certificates of their kubelets have ended."""
    if (cause.name, effect.name) != ("kubelet-certificate-ends", "node-not-ready") or not effect.about:
        return False
    terms = {observation.target: observation.measured for observation in facts.observations(kubelet_certificate)}
    ended = {name for name, term in terms.items() if isinstance(term, CertificateTerm) and term.days_left <= 0}
    return set(effect.about) <= ended


_HIDES_KUBELET = frozenset({"kubelet-unreachable-from-api", "node-not-ready", "pod-does-not-start"})
"""Causes with which a node's kubelet, or a pod on the node, does not answer others."""


def _kubelets_explain(facts: Facts, cause: Conclusion, effect: Conclusion) -> bool:
    """Whether the metrics API is silent because it waits for such a kubelet, or its own pod is on that node."""
    del facts
    return cause.name in _HIDES_KUBELET and bool(cause.about) and effect.name == "metrics-unavailable"


_EXPLAINS: tuple[Explains, ...] = (
    _losses_explain,
    _way_explains_rate,
    _rate_explains_way,
    _certificates_explain,
    _kubelets_explain,
    _resolvers_explain,
    _names_explain,
    _gitlab_explains,
    _logs_explain,
)
