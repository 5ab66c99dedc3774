"""Causes that one measurement shows by itself: a row each, with its remedy in this environment's names.

A row applies where a fact that a check judges has one of its faults, and no rule over several vantages explains it. The
observations of one row become one conclusion, unless the row is `apart`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from preflight.conclusions.impacts import ImpactRule
from preflight.conclusions.model import Cause, Conclusion, Proof, keys
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.vantages import joined
from preflight.evidence import Unmeasured
from preflight.fact import FactSpec
from preflight.facts.cluster import cluster_nodes, kube_dns
from preflight.facts.headroom import namespace_state
from preflight.faults import Fault
from preflight.inventory import Inventory, Runner
from preflight.inventory_forms import is_chart_path
from preflight.probes.cluster import Nodes
from preflight.shell_command import ShellCommand, fill, program, words

_SSH = 22  # the port
_SHOWN = 2  # observations that are shown as evidence
_QUOTED = 3  # observations whose own sentence is quoted


Names = Callable[[Facts, Sequence[Observation]], Mapping[str, str]]
"""From the observations of a row, names that its remedy uses."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cause that one fact shows.

    Attributes:
        cause: the cause.
        impact: what the observations do to jobs.
        facts: the facts that show it.
        faults: the faults that it covers; none means every measured fault that no other row of that fact names.
        remedy: the steps; ``{names}`` in braces are those of `names_of`.
        certain: whether the fact leaves no other cause.
        settled_by: what would settle it.
        apart: whether each target has a conclusion of its own.
        names: further names for the remedy, from what was measured (preflight/conclusions/remedy_names.py).
    """

    cause: Cause
    impact: ImpactRule
    facts: tuple[FactSpec[Any], ...]
    faults: tuple[Fault, ...]
    remedy: tuple[str, ...]
    certain: bool = True
    settled_by: str = ""
    apart: bool = False
    names: Names | None = None


ROWS: list[Row] = []
"""Every row, in the guide's order."""


def single(
    cause: Cause,
    impact: ImpactRule,
    *facts: FactSpec[Any],
    faults: Iterable[Fault] = (),
    remedy: Iterable[str],
    likely: str = "",
    apart: bool = False,
    names: Names | None = None,
) -> None:
    """Add a row.

    `impact` says what the observations do to jobs (impacts.py), `likely` what would settle it,
    where the fact alone does not.
    """
    if isinstance(impact, FactSpec):
        raise TypeError(f"{cause.name}: say what it does to jobs before the facts, found {impact.name}")
    ROWS.append(Row(cause, impact, facts, tuple(faults), tuple(remedy), not likely, likely, apart, names))


def conclusions(facts: Facts, explained: frozenset[object]) -> Iterator[Conclusion]:
    """The rows' conclusions about the failing observations that nothing has explained yet."""
    named = _named(len(ROWS))
    for row in ROWS:
        failing = [
            observation
            for observation in facts.failing(*row.facts)
            if observation.key not in explained and observation.fault is not None and _applies(observation, row, named)
        ]
        groups = [[observation] for observation in failing] if row.apart else [failing] if failing else []
        for group in groups:
            yield _conclusion(facts, row, group)


@cache
def _named(rows: int) -> frozenset[tuple[str, tuple[str, str]]]:
    """The faults that the first rows name, with the facts that they name them for."""
    return frozenset((fact.name, _identity(fault)) for row in ROWS[:rows] for fact in row.facts for fault in row.faults)


def _identity(fault: Fault) -> tuple[str, str]:
    return type(fault).__name__, str(fault)


def _applies(observation: Observation, row: Row, named: Collection[tuple[str, tuple[str, str]]]) -> bool:
    assert observation.fault is not None  # noqa: S101 - the caller has checked
    identity = _identity(observation.fault)
    if row.faults:
        return any(identity == _identity(fault) for fault in row.faults)
    # What could not be measured has the fault of the attempt, which is not one of the row's own.
    return observation.measured is not None and (observation.name, identity) not in named


def _conclusion(facts: Facts, row: Row, observations: list[Observation]) -> Conclusion:
    sentences = dict.fromkeys(_sentence_of(observation) for observation in observations)
    more = f"; and {len(sentences) - _QUOTED} more" if len(sentences) > _QUOTED else ""
    return Conclusion(
        cause=row.cause,
        about=tuple(dict.fromkeys(observation.target for observation in observations if observation.target)),
        sentence="; ".join(list(sentences)[:_QUOTED]) + more,
        certain=row.certain,
        impact=row.impact(facts, observations),
        settled_by=row.settled_by,
        explains=keys(observations),
        proofs=tuple(proof_of(observation) for observation in observations[:_SHOWN]),
        remedy=remedy_of(row, facts, observations),
    )


def remedy_of(row: Row, facts: Facts, observations: Sequence[Observation]) -> tuple[str, ...]:
    """The steps of a row's remedy, with this environment's names and those that only the observations know."""
    measured = row.names(facts, observations) if row.names is not None else {}
    return steps_of(row.remedy, {**names_of(facts, observations), **measured})


def _sentence_of(observation: Observation) -> str:
    if observation.measured is not None:
        return observation.measured.cause or f"{observation.measured.target}: {observation.fault}"
    return observation.error.reason if isinstance(observation.error, Unmeasured) else str(observation.error)


def proof_of(observation: Observation) -> Proof:
    """What an observation shows, or what prevented it."""
    if observation.measured is not None:
        return Proof.of(observation.measured)
    evidence = observation.error.evidence if isinstance(observation.error, Unmeasured) else None
    if evidence is None:
        return Proof(statement=_sentence_of(observation))
    return Proof(
        statement=_sentence_of(observation), where=evidence.where, command=evidence.command, observed=evidence.observed
    )


def steps_of(templates: Iterable[str], names: Mapping[str, object]) -> tuple[str, ...]:
    """The steps of a remedy with this environment's names in them; a ValueError as `shell_command.fill` raises it."""
    return tuple(fill(template, names) for template in templates)


def names_of(facts: Facts, observations: Iterable[Observation] = ()) -> dict[str, str]:
    """The names that a remedy may use, with this environment's values."""
    inventory, observed = facts.inventory, list(observations)
    targets: dict[str, list[str]] = {}
    for observation in observed:
        for kind, target in observation.targets.items():
            targets.setdefault(kind, []).append(target)
    first = {kind: names[0] for kind, names in targets.items()}
    parts = urlsplit(inventory.gitlab.url)
    measured = next((observation.measured for observation in observed if observation.measured is not None), None)
    image = first.get("image") or getattr(measured, "image", "") or (measured.target if measured is not None else "")
    registry = first.get("registry", "")
    host = inventory.registries[registry].host if registry in inventory.registries else image.partition("/")[0]
    node = first.get("worker") or first.get("node") or "NODE"
    job_namespace = next(
        (observation.measured.target for observation in facts.observations(namespace_state) if observation.measured),
        None,
    )
    node_names = joined(targets.get("worker", targets.get("node", []))) or "the nodes"
    return {
        **_installer_steps(facts, node_names),
        "namespace": inventory.runner.namespace,
        "job_namespace": job_namespace or inventory.runner.namespace,
        "release": inventory.runner.release,
        "chart": inventory.runner.chart,
        "chart_reference": words(_chart(inventory.runner)),
        "values": inventory.runner.files[0].name,
        "upgrade": upgrade_command(inventory),
        "gitlab": inventory.gitlab.url,
        "gitlab_host": parts.hostname or "",
        "gitlab_version": inventory.gitlab.version,
        "api": inventory.cluster.api_server,
        "kubernetes": inventory.cluster.version,
        "pod_cidr": joined(inventory.cluster.pod_networks) or "the pod network",
        "resolvers": joined(inventory.dns.resolvers),
        "node": node,
        "nodes": node_names,
        "node_list": words(dict.fromkeys(targets.get("worker", targets.get("node", []))) or ["NODE"]),
        "address": str(inventory.workers[node].address) if node in inventory.workers else node,
        "resolver": first.get("resolver", ""),
        "dns_arguments": words(f"--dns={resolver}" for resolver in inventory.dns.resolvers),
        "image": image or "IMAGE",
        "host": host or "the registry",
        "repository": first.get("repository", image),
        "variable": first.get("variable", ""),
        "variables": joined(targets.get("variable", [])),
        "pool": first.get("pool", ""),
        "project": "" if inventory.pipeline == "none" else inventory.pipeline.project,
        "ssh": "" if inventory.access.ssh == "none" else inventory.access.ssh.user,
        "ssh_command": _ssh_command(inventory),
        "known_hosts": "" if inventory.access.ssh == "none" else str(inventory.access.ssh.known_hosts),
        "charts": inventory.runner.repository,
        "registry": registry or "NAME",
        "dind_image": "IMAGE" if inventory.dind == "none" else inventory.dind.pull,
    }


def _ssh_command(inventory: Inventory) -> ShellCommand:
    """The login that the suite uses, as a command to be completed with the address."""
    ssh = inventory.access.ssh
    if ssh == "none":
        return program("ssh")
    key = ("-i", ssh.key) if ssh.key else ()
    port = ("-p", ssh.port) if ssh.port != _SSH else ()
    return program("ssh", *key, *port, "--", f"{ssh.user}@")


def _installer_steps(facts: Facts, nodes: str) -> dict[str, str]:
    """Steps that depend on what made the cluster, and where its DNS Service is."""
    measured = facts.observation(cluster_nodes).measured
    installer = measured.installer if isinstance(measured, Nodes) else ""
    service = facts.observation(kube_dns).measured
    namespace, _, name = (service.target if service is not None else "kube-system/kube-dns").partition("/")
    own = f"as {installer} does it" if installer else "as the cluster's installer does it"
    steps = {
        "join": "join it {own}, and look at the kubelet's log on {nodes}",
        "node_upgrade": "upgrade the nodes {own}",
        "dns_install": "bring the cluster's DNS back {own}, at the address that kubelets give to pods",
    }
    if installer == "kubeadm":
        steps |= {
            "join": "join it: `kubeadm token create --print-join-command` on the control plane, run on {nodes}",
            "node_upgrade": "`kubeadm upgrade node`, then kubelet and kubectl",
            "dns_install": "install CoreDNS with its Service kube-dns: `kubeadm init phase addon coredns`",
        }
    elif installer == "OpenShift":
        steps["dns_install"] = "`oc get clusteroperator dns`, `oc -n openshift-dns-operator logs deploy/dns-operator`"
    names = {"own": own, "nodes": nodes}
    sentences = {step: fill(template, names) for step, template in steps.items()}
    return {**sentences, "dns_namespace": namespace, "dns_service": name}


def _chart(runner: Runner) -> list[str]:
    """The chart as helm's commands take it."""
    if is_chart_path(runner.chart):
        return [runner.chart]
    if runner.chart.startswith("oci://"):
        place, _, version = runner.chart.rpartition(":")
        return [place, "--version", version] if "/" not in version else [runner.chart]
    if runner.repository.startswith("oci://"):
        place = runner.repository.rstrip("/")
        return [place if place.endswith("/gitlab-runner") else f"{place}/gitlab-runner", "--version", runner.chart]
    return ["gitlab/gitlab-runner", "--version", runner.chart]


def upgrade_command(inventory: Inventory) -> ShellCommand:
    """The command that applies the values to the cluster."""
    runner = inventory.runner
    arguments = ["helm", "upgrade", runner.release, *_chart(runner), "-n", runner.namespace]
    arguments += [word for file in runner.files for word in ("-f", file.name)]
    # A value set on the command line may be a token: only its name is shown.
    for option, pairs in (("set-json", runner.set_json), ("set", runner.set), ("set-string", runner.set_string)):
        arguments += [word for pair in pairs for word in (f"--{option}", f"{pair.partition('=')[0]}=…")]
    arguments += [word for pair in runner.set_file for word in ("--set-file", pair)]
    return program(*arguments)
