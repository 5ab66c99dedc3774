"""Which workers get a probe pod, and what runs in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from preflight.clients.connect import split_address
from preflight.clients.http import origin_of
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.facts.references import Ref
from preflight.faults import DnsFault
from preflight.inventory import SAMPLE, Inventory, kind_of_name
from preflight.jobshape import WINDOWS, JobShape
from preflight.probes import cluster, dns, placement, shell, shell_sections
from preflight.probes import headroom as packing
from preflight.probes.cluster import Nodes
from preflight.probes.dns import Lookups
from preflight.probes.pod_states import is_fresh
from preflight.probes.registry import parse_reference
from preflight.probes.transcript import PodTranscript, Report, WorkerRoom
from preflight.run import Probed, Run
from preflight.runner_config.names import is_web_url
from preflight.values import Values

TTL = 60
"""Seconds after its end at which the cluster itself removes a Job of ours (docs/cleaning.md)."""

LATER = "-late"
"""Ends the name of a Job that takes the place of one that was given up, and may still be there."""

FEW_NODES = 10  # `probe.nodes: auto`: so many eligible nodes are all probed, of more a sample; names in a sentence


def require_probed(
    worker: str, cluster_nodes: Nodes, job_shape: JobShape, inventory: Inventory, run: Run, most: int | None
) -> None:
    """Raise `NotApplicable` for a worker that this run leaves out: large clusters are sampled."""
    own = cluster_nodes.named(worker)
    if own is not None and own.os == WINDOWS:
        raise NotApplicable(f"{worker} runs Windows, and what the suite runs in pods is for Linux")
    key = (most, id(job_shape))
    if key not in run.probed:
        run.probed[key] = _probed_workers(cluster_nodes, job_shape, inventory, run, most)
    probed = run.probed[key]
    if worker not in probed.workers:
        named = f" ({_some(probed.workers)})" if probed.workers else ""
        count = len(probed.workers)
        reason = f"{count} of {probed.eligible} eligible workers get a pod{named}, and {worker} is not among them"
        raise NotApplicable(f"{reason} (--all-nodes)")


def _some(names: Sequence[str]) -> str:
    """The first of these names, and how many there are more."""
    more = f" and {len(names) - FEW_NODES} more" if len(names) > FEW_NODES else ""
    return f"{', '.join(names[:FEW_NODES])}{more}"


def _probed_workers(
    cluster_nodes: Nodes, job_shape: JobShape, inventory: Inventory, run: Run, most: int | None
) -> Probed:
    """The workers that get a pod, and how many could."""
    by_name = {node.name: node for node in cluster_nodes.nodes}
    named = [name for name, node in inventory.cluster.nodes.items() if node.role == "worker" and name in by_name]
    eligible = [by_name[name] for name in named if not packing.why_not(by_name[name], job_shape)]
    measured = [node for node in eligible if node.name in inventory.workers]
    sample = _one_of_each_kind_first(measured)
    wanted = inventory.probe.nodes
    if run.all_nodes or wanted == "all":
        count = len(measured)
    elif wanted.startswith("sample"):
        count = int(wanted.partition(":")[2])
    else:
        count = len(measured) if len(measured) <= FEW_NODES else max(SAMPLE, len(set(map(kind_of, measured))))
    sample = sample[: count if most is None else min(count, most)]
    kinds = {kind_of(node) for node in sample}
    unlike = {kind_of(node): node.name for node in reversed(eligible) if kind_of(node) not in kinds}
    return Probed(tuple(node.name for node in sample), len(measured), len(eligible), tuple(sorted(unlike.values())))


def kind_of(node: cluster.Node) -> tuple[str, ...]:
    """What makes machines of one kind: OS, kernel, runtime, architecture, and how they are named."""
    return node.os, node.kernel, node.runtime, node.arch, kind_of_name(node.name)


def _one_of_each_kind_first(nodes: list[cluster.Node]) -> list[cluster.Node]:
    """One node of each kind, then the others in order."""
    kinds: dict[tuple[str, ...], cluster.Node] = {}
    for node in nodes:
        kinds.setdefault(kind_of(node), node)
    chosen = {node.name for node in kinds.values()}
    return [*kinds.values(), *(node for node in nodes if node.name not in chosen)]


def sampling_notes(run: Run) -> list[str]:
    """Which workers got pods where not all did that could, a sentence for each kind of pods."""
    notes = []
    for (most, _), probed in run.probed.items():
        if len(probed.workers) == probed.measured and not probed.unlike:
            continue
        sample, none = _some(probed.workers), f"; on none like {_some(probed.unlike)}" if probed.unlike else ""
        notes.append(
            f"{'job pods' if most is None else 'pods with DinD'} on {len(probed.workers)} of {probed.eligible} "
            f"eligible workers, one of each kind first: {sample}{none} (--all-nodes)"
        )
    return notes


def platforms_of_jobs(nodes: Nodes | None, shape: JobShape | None, inventory: Inventory) -> tuple[str, ...]:
    """The platforms of the nodes that may run jobs, which their images must offer; else that of the inventory."""
    if nodes is None or shape is None:
        return (inventory.cluster.platform,)
    platforms = {node.platform for node in nodes.nodes if node.platform and packing.suits(node, shape)}
    return tuple(sorted(platforms)) or (inventory.cluster.platform,)


def own_services(shape: JobShape, inventory: Inventory) -> tuple[str, ...]:
    """The images of services that jobs name themselves: Docker's daemon, unless the values give it to every job."""
    daemons = () if inventory.dind == "none" else (inventory.dind.daemon_image,)
    return tuple(image for image in daemons if image not in shape.service_images)


def with_pull_secrets(shape: JobShape, inventory: Inventory) -> JobShape:
    """The shape with the pull secrets that the inventory chooses for probe pods, if it does."""
    chosen = inventory.probe.pull_secrets
    return shape if chosen is None else replace(shape, pull_secrets=tuple(chosen))


def page_of(inventory: Inventory) -> str:
    """GitLab's sign-in page: public, and longer than a packet."""
    return f"{inventory.gitlab.url.rstrip('/')}/users/sign_in"


def script_steps(
    inventory: Inventory,
    run: Run,
    *,
    reply: Ref,
    page: Ref,
    lookups: Ref,
    conf: Ref | None = None,
    values: Values | None = None,
) -> tuple[shell.Step, ...]:
    """The probe script's steps on a worker or in a probe pod: only those that the planned facts need."""
    steps = [shell.fetch(inventory.gitlab.url)] if run.plans(reply) else []
    steps += [shell.fetch(page_of(inventory))] if run.plans(page) else []
    steps += [shell.resolv_conf()] if conf is not None and run.plans(conf) else []
    resolvers = [resolver for resolver in inventory.dns.resolvers if run.plans(lookups, resolver=resolver)]
    steps += [shell.lookup(name, resolver) for resolver in resolvers for name in inventory.dns.names]
    if run.plans(Ref.POD_NAMES) and conf:
        steps += [shell.resolve(name) for name in inventory.dns.names]
    if values is not None and run.plans(Ref.POD_CACHE):
        with contextlib.suppress(ValueError):  # what can't be read is reported by the fact itself
            cache = cache_of(values)
            steps += [shell.tcp(cache.host, cache.port)] if cache else []
    if conf is not None:
        planned = (each for each in inventory.destinations if run.plans(Ref.POD_DESTINATION, destination=each))
        steps += [shell.tcp(*split_address(each)) for each in dict.fromkeys(planned)]
    if values is not None and run.plans(Ref.POD_CLONE) and (clone := clone_url_of(values, inventory)) is not None:
        steps.append(shell.fetch(clone))
    return tuple(steps)


def registry_step(inventory: Inventory, registry: str) -> shell.Step:
    """The connection to a registry's port."""
    settings = inventory.registries[registry]
    parts = urlsplit(f"//{settings.host}")
    return shell.tcp(parts.hostname or settings.host, parts.port or (80 if settings.scheme == "http" else 443))


def cache_of(values: Values) -> placement.Endpoint | None:
    """Where the values keep the jobs' cache; None without one."""
    return placement.cache_endpoint({"runners": [values.runner_entry]})


def clone_url_of(values: Values, inventory: Inventory) -> str | None:
    """Where jobs clone from, if that is another server than `gitlabUrl`.

    The runner's ``clone_url`` overrides GitLab's own URL (docs/sources.md#clone-url).
    """
    setting = str(values.runner_entry.get("clone_url") or "")
    if setting.startswith("http") and not is_web_url(setting):
        return None  # no job clones with it (3.3)
    clone_url = setting if setting.startswith("http") else ""  # the runner passes over any other
    url = clone_url or inventory.gitlab.external_url or inventory.gitlab.url
    return None if origin_of(url) == origin_of(inventory.gitlab.url) else url


def expected_names(inventory: Inventory) -> Mapping[str, frozenset[str]]:
    """The names to resolve, each with the addresses it must have."""
    return {name: frozenset(addresses) for name, addresses in inventory.dns.names.items()}


def hosts_without_address(inventory: Inventory, here_lookups: Iterable[Lookups]) -> frozenset[str]:
    """The hosts of registries of which no resolver, asked from here, has an address."""
    answers = [answer for lookups in here_lookups for answer in lookups.answers]
    hosts = {parse_reference(f"{settings.host}/any").host for settings in inventory.registries.values()}
    asked = {name: [answer.fault for answer in answers if answer.name == name] for name in hosts}
    return frozenset(name for name, faults in asked.items() if faults and None not in faults)


def waited_for(here_lookups: Iterable[Lookups]) -> frozenset[str]:
    """The resolvers for which, as far as is known from here, each lookup waits: they answer late, or not at all."""
    slow = set()
    for lookups in here_lookups:
        pace = dns.pace([lookups])
        if lookups.fault in {DnsFault.TIMEOUT, DnsFault.UNREACHABLE} or (pace is not None and pace.fault is not None):
            slow.add(lookups.resolver)
    return frozenset(slow)


def one_of_each_registry_first(inventory: Inventory, images: Sequence[str]) -> list[str]:
    """The images, the first one of each registry before the others: a kubelet pulls one after the other."""
    firsts: dict[str, str] = {}
    for image in images:
        firsts.setdefault(inventory.registry_of(image).host, image)
    return [*firsts.values(), *(image for image in images if image not in firsts.values())]


def beyond_the_first(inventory: Inventory, images: Sequence[str]) -> tuple[str, ...]:
    """The images that are not the first one of their registry."""
    hosts = [inventory.registry_of(image).host for image in images]
    return tuple(image for number, image in enumerate(images) if hosts[number] in hosts[:number] and image != images[0])


def named_node(name: str, nodes: Nodes) -> cluster.Node:
    """A node whose presence another fact has checked."""
    node = nodes.named(name)
    if node is None:
        raise Blocked.by(Ref.NODE_PRESENCE, None, {"node": name}, because=f"the cluster has no node {name}")
    return node


def disturbs_no_other(
    images: Iterable[str],
    node: cluster.Node,
    namespace_state: cluster.NamespaceState,
    worker_headroom: WorkerRoom | None,
) -> bool:
    """Whether a pod can be made beside a job's pod on a node: it pulls nothing there, and room is free for both."""
    is_roomy = worker_headroom is not None and worker_headroom.fits > 0
    is_limited = namespace_state.quotas or namespace_state.unread
    return is_roomy and not is_limited and all(is_fresh(image, node.images) is False for image in images)


def require_readable_log(pod_transcript: PodTranscript) -> None:
    """Raise `Blocked` if a pod's log could not be read because the API server does not reach the node's kubelet."""
    if pod_transcript.pod.log_fault is not None:
        reason = f"{pod_transcript.pod.log_fault}: {pod_transcript.pod.log_problem}"
        raise Blocked.by(Ref.POD_LOGS, None, {"worker": pod_transcript.pod.node}, because=reason)


def script_report(where: str, pod_transcript: PodTranscript) -> Report:
    """The output of the probe script in a pod of ours."""
    sections = shell_sections.parse(pod_transcript.pod.log, pod_transcript.nonce)
    if not sections:
        require_readable_log(pod_transcript)
        raise Unmeasured(
            pod_transcript.pod.log_problem or f"the script in the {where} printed none of its output",
            needs="the right to read pods/log, and an image with a POSIX shell as `probe.image`",
            evidence=pod_transcript.pod.evidence,
        )
    return Report(where=where, sections=sections)
