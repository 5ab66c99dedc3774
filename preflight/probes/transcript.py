"""What several looks say together: pure, on the sections of a probe script's transcript and on other facts.

A node's SSH connection and a probe pod each give one `Report`; the functions here read single facts out of it, so that
one pod a node, and one connection, carry all measurements of that node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from preflight.clients.ssh import Session
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ClusterFault, DindFault, DnsFault, GitLabFault, PathFault, PodFault
from preflight.jobshape import JobShape
from preflight.probes import dns, shell
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom
from preflight.probes.pod_messages import classify_daemon, classify_pull
from preflight.probes.pods import DindPod, JobPod
from preflight.probes.shell import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a probe script showed at one vantage.

    Attributes:
        where: the vantage.
        sections: a section a step.
    """

    where: str
    sections: tuple[Section, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLogin(Fact):
    """A login to a node over SSH.

    Attributes:
        node: its name.
        session: the open connection; never part of a report.
    """

    node: str
    session: Session = field(metadata={"live": True}, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStart(Fact):
    """How far a job-shaped pod got on a node: its pulls have facts of their own."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTranscript:
    """A pod of ours that came to its end, with the nonce of the script that ran in it.

    Attributes:
        pod: the pod; a `DindPod` where Docker ran beside the script.
        nonce: begins the script's own lines in the pod's log.
    """

    pod: JobPod
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRoom(Fact):
    """The room for jobs on one worker.

    Attributes:
        node: the worker.
        fits: jobs that fit there.
    """

    node: str
    fits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock(Fact):
    """A node's clock beside GitLab's.

    Attributes:
        node: whose clock.
        offset: seconds by which the node's clock is ahead of GitLab's.
    """

    node: str
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Fact):
    """What several resolvers say to the same names.

    Attributes:
        addresses: by name, then by resolver.
    """

    addresses: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf(Fact):
    """The resolv.conf of a pod beside what the values ask for."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon(Fact):
    """The Docker daemon in a pod.

    Attributes:
        node: on which node.
        seconds: until it was ready, or None.
        version: the daemon's version.
        storage_driver: as `docker info` names it.
    """

    node: str
    seconds: float | None = None
    version: str = ""
    storage_driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DindRun(Fact):
    """A pull or a run inside of Docker-in-Docker."""

    node: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketSizes(Fact):
    """The largest packets of a pod and of the containers inside of it.

    Attributes:
        node: on which node.
        device: the pod's own interface.
        pod: its MTU in bytes; `inside`: the one of a container's interface.
    """

    node: str
    device: str = ""
    pod: int = 0
    inside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerRegistry(Fact):
    """How a Docker daemon in a pod gets on with a registry."""

    node: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNames(Fact):
    """What the resolver library of a job's pod makes of names, beside what the resolvers say to them.

    Attributes:
        node: on which node.
        found: addresses by name, as programs find them.
        given: addresses by name, as the resolvers give them.
        through: where a search domain answered, the name that was asked in the place of the one that was meant.
        searches: the pod's search list; `options` of its resolv.conf, such as ``ndots:5``.
    """

    node: str
    found: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    through: Mapping[str, str] = field(default_factory=dict)
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def lookups(report: Report, resolver: str, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What a resolver answered to each name at the report's vantage."""
    sections = [shell.find(report.sections, shell.lookup(name, resolver), where=report.where) for name in names]
    return _lookups(report.where, resolver, sections, names, deadline)


def own_lookups(report: Report, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What the vantage's own resolv.conf leads to, for each name."""
    sections = [shell.find(report.sections, shell.lookup(name), where=report.where) for name in names]
    return _lookups(report.where, "its resolv.conf", sections, names, deadline)


def inner_lookups(report: Report, image: str, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What a container inside of Docker-in-Docker finds for each name."""
    sections = [shell.find(report.sections, shell.docker_lookup(image, name), where=report.where) for name in names]
    return _lookups(report.where, "a container's resolv.conf", sections, names, deadline)


def _lookups(
    where: str, resolver: str, sections: Sequence[Section], names: Mapping[str, frozenset[str]], deadline: float
) -> Lookups:
    answers = [shell.read_lookup(section, expected) for section, expected in zip(sections, names.values(), strict=True)]
    # The evidence is the first answer that is wrong, or the first at all.
    shown = next((place for place, answer in enumerate(answers) if answer.fault), 0)
    return dns.summarise(
        resolver,
        answers,
        expected=names,
        where=where,
        command=sections[shown].command,
        observed=sections[shown].output,
        took=max(section.took for section in sections),
        deadline=deadline,
    )


def gitlab_reply(report: Report, url: str) -> GitLabReply:
    """What answered at GitLab's URL at the report's vantage."""
    return shell.read_fetch(shell.find(report.sections, shell.fetch(url), where=report.where), url, where=report.where)


def whole_page(report: Report, url: str) -> GitLabReply:
    """Whether a page that needs packets of full size came, where a shorter answer of the same server has come."""
    found = gitlab_reply(report, url)
    begun = found.fault is None and shell.was_cut(shell.find(report.sections, shell.fetch(url), where=report.where))
    if not begun and found.fault not in {PathFault.SILENT, PathFault.TIMEOUT}:  # busybox's wget can't tell them apart
        return found.only(PathFault.SILENT)
    cause = f"{urlsplit(url).netloc} gives a short answer, but {url} did not come whole within {found.took:.0f} s"
    return replace(found, fault=PathFault.SILENT, cause=cause)


def clock(node: str, section: Section, *, middle: float, reply: GitLabReply, allowed: float, where: str) -> Clock:
    """A node's clock beside GitLab's, both compared with our own.

    Args:
        node: whose clock.
        section: what it told.
        middle: our own clock at the middle of asking it, seconds since 1970.
        reply: GitLab's answer, with its clock's offset from ours.
        allowed: seconds that they may differ.
        where: the vantage.
    """
    offset = shell.read_clock(section) - middle - (reply.clock_offset or 0.0)
    apart = abs(offset) > allowed
    relation = "ahead of" if offset > 0 else "behind"
    return Clock(
        target=node,
        node=node,
        offset=round(offset, 1),
        fault=GitLabFault.CLOCK_SKEW if apart else None,
        cause=f"{node}'s clock is {abs(offset):.0f} s {relation} GitLab's; {allowed:g} s are allowed" if apart else "",
        evidence=Evidence(
            where=where,
            command=f"date -u; curl -sI {reply.url} | grep -i ^date",
            observed=f"{section.output.strip()} on {node}; GitLab is {reply.clock_offset or 0.0:+.1f} s from here",
            took=section.took,
        ),
    )


def agreement(every: Iterable[Lookups]) -> Agreement:
    """Whether all resolvers that answered a name gave the same addresses."""
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    where, took = "here", 0.0
    for one in every:
        where, took = one.where, max(took, one.evidence.took)
        for answer in one.answers:
            if answer.addresses:
                table.setdefault(answer.name, {})[one.resolver] = tuple(sorted(answer.addresses))
    apart = {name: answers for name, answers in table.items() if len(set(answers.values())) > 1}
    told = [
        f"{name} is "
        + ", but ".join(f"{' '.join(addresses)} for {resolver}" for resolver, addresses in answers.items())
        for name, answers in apart.items()
    ]
    name = next(iter(apart or table), "NAME")
    resolvers = list(table.get(name, {}))
    return Agreement(
        target=", ".join(resolvers),
        addresses=table,
        fault=DnsFault.DISAGREE if apart else None,
        cause="; ".join(told),
        evidence=Evidence(
            where=where,
            command=f"for r in {' '.join(resolvers)}; do dig +short @$r {name}; done",
            observed="\n".join(
                f"{one} {resolver}: {' '.join(addresses)}"
                for one, answers in (apart or table).items()
                for resolver, addresses in answers.items()
            ),
            took=took,
        ),
    )


def resolv_conf(report: Report, shape: JobShape, node: str) -> ResolvConf:
    """The pod's resolv.conf beside the `dns_policy` and `dns_config` of the values.

    Raises:
        Unmeasured: it could not be read, which says nothing of what stands in it.
    """
    section = shell.find(report.sections, shell.resolv_conf(), where=report.where)
    if section.exit != 0:
        reason = (
            f"The resolv.conf of {report.where} could not be read: {section.output[:200] or 'the look was cut off'}"
        )
        raise Unmeasured(reason, needs=f"an /etc/resolv.conf at {report.where} that its user may read")
    found = shell.read_resolv_conf(section)
    config: Mapping[str, Any] = shape.dns_config or {}
    expected = tuple(str(one) for one in config.get("nameservers", ()))
    searches = tuple(str(one) for one in config.get("searches", ()))
    options = tuple(
        f"{option['name']}:{option['value']}" if option.get("value") else str(option["name"])
        for option in config.get("options", ())
    )
    if shape.dns_policy == "None":
        wrong = found.nameservers != expected
        # With the policy None, search and options come from dns_config alone (reference §2.3).
        missing = [one for one in searches if one not in found.searches] + [
            one for one in options if one not in found.options
        ]
    else:
        wrong = False
        missing = [one for one in (*expected, *searches) if one not in (*found.nameservers, *found.searches)]
    cause = ""
    if wrong:
        asked = ", ".join(expected) or "no resolver"
        cause = f"a job's pod on {node} asks {', '.join(found.nameservers) or 'nobody'}; the values say {asked}"
    elif missing:
        cause = f"the resolv.conf of a job's pod on {node} lacks {', '.join(missing)}, which the values ask for"
    return ResolvConf(
        target=f"resolv.conf on {node}",
        nameservers=found.nameservers,
        searches=found.searches,
        options=found.options,
        expected=expected,
        fault=DnsFault.NOT_APPLIED if cause else None,
        cause=cause,
        evidence=Evidence(
            where=report.where, command="cat /etc/resolv.conf", observed=section.output, took=section.took
        ),
    )


def daemon(node: str, found: PodTranscript) -> Daemon:
    """The daemon as its pod, its log and its client tell of it.

    Raises:
        Unmeasured: the pod ended before the client came to ask.
    """
    pod, where = found.pod, f"dind on {node}"
    sections = shell.parse(pod.log, found.nonce)
    waited = next((one for one in sections if one.kind == "docker_ready"), None)
    # A pod that ran out of time may still have told how the daemon did.
    if pod.fault is not None and (waited is None or pod.fault not in {PodFault.EXITED, PodFault.DEADLINE}):
        return Daemon(target=node, node=node, fault=pod.fault, cause=pod.cause, evidence=pod.evidence)
    if waited is None:
        ended = f"the script beside Docker on {node} ended before it came to `docker info`"
        reason = f"{ended}: {pod.log_problem}" if pod.log_problem else ended
        raise Unmeasured(reason, needs="a larger `deadlines.dind` in the inventory", evidence=pod.evidence)
    ready = shell.read_docker_ready(waited, where=where)
    if ready.fault is not None:
        return _not_ready(node, pod, ready)
    info = shell.read_docker_info(
        shell.find(sections, shell.docker_version(), where=where),
        shell.find(sections, shell.docker_info(), where=where),
        where=where,
    )
    return Daemon(
        target=node,
        node=node,
        seconds=ready.seconds,
        version=info.version,
        storage_driver=info.storage_driver,
        fault=info.fault,
        cause=info.cause,
        evidence=info.evidence,
    )


def _not_ready(node: str, pod: JobPod, ready: shell.DockerReady) -> Daemon:
    """A daemon that did not answer its client in time; its own log may say more than the client saw."""
    fault, cause, evidence = ready.fault, ready.cause, ready.evidence
    if isinstance(pod, DindPod) and pod.daemon_log:
        told, words = classify_daemon(
            pod.daemon_log,
            exit_status=None,
            privileged=pod.privileged,
            port=pod.port,
            client_log=ready.evidence.observed,
        )
        if told is not None:
            fault, cause = told, words
            command = f"kubectl logs {pod.name} -c docker"
            observed = f"{ready.evidence.observed}\n{pod.daemon_log[-1500:]}"
            evidence = Evidence(where=ready.where, command=command, observed=observed, took=ready.evidence.took)
    return Daemon(target=node, node=node, fault=fault, cause=f"on {node}, {cause}", evidence=evidence)


def inner_pull(report: Report, node: str, image: str) -> DindRun:
    """How the pull of an image by the daemon ended."""
    section = next((one for one in report.sections if one.kind == "docker_pull"), None)
    pulled = shell.read_docker_pull(section or _never(report, "docker pull"), where=report.where)
    return DindRun(
        target=f"{image} on {node}",
        node=node,
        image=image,
        fault=pulled.fault,
        cause=pulled.cause,
        evidence=pulled.evidence,
    )


def inner_run(report: Report, node: str, image: str, words: Sequence[str]) -> DindRun:
    """How a container of the daemon ended."""
    section = shell.find(report.sections, shell.docker_run(image, words), where=report.where)
    ran = shell.read_docker_run(section, where=report.where)
    return DindRun(
        target=f"{image} on {node}", node=node, image=image, fault=ran.fault, cause=ran.cause, evidence=ran.evidence
    )


MTU = ("cat", "/sys/class/net/eth0/mtu")  # of a container on Docker's bridge


def packet_sizes(report: Report, node: str, image: str) -> PacketSizes:
    """The MTU of the pod's interface, and that of a container's inside.

    Raises:
        Unmeasured: one of them was not told.
    """
    own = shell.read_interface(shell.find(report.sections, shell.interface(), where=report.where))
    section = shell.find(report.sections, shell.docker_run(image, MTU), where=report.where)
    told = [line.strip() for line in section.output.splitlines() if line.strip().isdigit()]
    if section.exit != 0 or not told:
        reason = f"`{section.command}` told no MTU: {section.output[:200] or 'it printed nothing'}"
        raise Unmeasured(reason, needs="an image as `dind.pull` in which `cat` shows /sys")
    inside = int(told[-1])
    larger = inside > own.mtu
    return PacketSizes(
        target=node,
        node=node,
        device=own.name,
        pod=own.mtu,
        inside=inside,
        fault=DindFault.MTU if larger else None,
        cause=f"containers inside of the pod on {node} send packets of up to {inside} bytes, and the pod's {own.name} "
        f"carries {own.mtu}: the daemon needs --mtu={own.mtu}"
        if larger
        else "",
        evidence=Evidence(
            where=report.where,
            command=f"cat /sys/class/net/{own.name}/mtu; {section.command}",
            observed=f"{own.name} of the pod: {own.mtu}\neth0 of a container inside: {inside}",
            took=section.took,
        ),
    )


def inner_registry(report: Report, node: str, host: str, image: str) -> InnerRegistry:
    """How far the daemon got with a registry when it was asked for an image, which need not be there."""
    section = shell.find(report.sections, shell.docker_pull(image), where=report.where)
    words = section.output.strip().splitlines()[-1:] or [f"no end within {section.took:.0f} s"]
    told, cause = classify_pull(words[0])
    fault: DindFault | None = None
    if section.exit == 0:
        pass
    elif "server gave HTTP response to HTTPS client" in words[0]:
        fault = DindFault.INSECURE_REGISTRY
        cause = f"{host} speaks plain HTTP, and the daemon was not told so (--insecure-registry={host}): {cause}"
    elif told is PodFault.PULL_TLS:
        fault, cause = DindFault.REGISTRY_UNTRUSTED, f"the daemon does not trust {host}: {cause}"
    elif told in _OUT_OF_REACH or not section.output.strip():
        fault, cause = DindFault.REGISTRY_UNREACHABLE, f"the daemon cannot speak with {host}: {cause}"
    return InnerRegistry(
        target=f"{host} on {node}",
        node=node,
        host=host,
        fault=fault,
        cause=f"in a pod on {node}, {cause}" if fault else "",
        evidence=Evidence(
            where=report.where, command=section.command, observed=section.output.strip()[-1500:], took=section.took
        ),
    )


_OUT_OF_REACH = frozenset(
    {PodFault.PULL_UNRESOLVED, PodFault.PULL_REFUSED, PodFault.PULL_UNREACHABLE, PodFault.PULL_TIMEOUT}
)


def found_names(
    report: Report, node: str, given: Mapping[str, Iterable[str]], resolv_conf: shell.ResolvConf
) -> FoundNames:
    """What programs in the pod find for each name that the resolvers give addresses of.

    A search domain has answered where the library tells another full name than the one that was asked for, and other
    addresses: a record that merely changes between two questions is none of this.

    Raises:
        Unmeasured: the pod cannot ask its resolver library.
    """
    found: dict[str, tuple[str, ...]] = {}
    through: dict[str, str] = {}
    shown: Section | None = None
    for name in given:
        section = shell.find(report.sections, shell.resolve(name), where=report.where)
        addresses, full = shell.read_resolve(section)
        found[name] = addresses
        searched = next((f"{name}.{one}" for one in resolv_conf.searches if full == f"{name}.{one}"), "")
        if searched and set(addresses) - set(given[name]):
            through[name] = searched
            shown = shown or section
    said = [
        f"{name} at {', '.join(found[name])}, as {full}; the resolvers give {', '.join(sorted(given[name]))}"
        for name, full in through.items()
    ]
    lost = [name for name, addresses in found.items() if not addresses]
    fault = DnsFault.SEARCH_LIST if through else DnsFault.NO_ANSWER if lost else None
    cause = f"finds {'; '.join(said)}" if through else f"finds no address of {', '.join(lost)}, and its resolvers do"
    conf = f"search {' '.join(resolv_conf.searches)}; options {' '.join(resolv_conf.options)}"
    lines = [f"{name}: {', '.join(addresses) or 'none'}" for name, addresses in found.items()]
    return FoundNames(
        target=node,
        node=node,
        found=found,
        given={name: tuple(sorted(addresses)) for name, addresses in given.items()},
        through=through,
        searches=resolv_conf.searches,
        options=resolv_conf.options,
        fault=fault,
        cause=f"a job's pod on {node} {cause} ({conf})" if fault else "",
        evidence=Evidence(
            where=report.where,
            command=shown.command if shown else f"getent ahostsv4 {next(iter(given), 'NAME')}",
            observed="\n".join([*lines, conf]),
            took=shown.took if shown else 0.0,
        ),
    )


def _never(report: Report, command: str) -> Section:
    reason = f"the look from {report.where} ended before it came to `{command}`"
    raise Unmeasured(reason, needs="a larger `deadlines.dind` in the inventory")


def worker_room(node: str, headroom: Headroom) -> WorkerRoom:
    """Whether at least one job fits on a worker."""
    room = next((one for one in headroom.by_node if one.node == node), None)
    fits = room.fits if room else 0
    limited = room.limited_by if room else "everything"
    asked = headroom.requests.get(limited, "")
    free = room.free.get(limited, "0") if room else "0"
    return WorkerRoom(
        target=node,
        node=node,
        fits=fits,
        fault=None if fits else ClusterFault.TOO_FEW_FIT,
        cause="" if fits else f"no job fits on {node}: a job asks for {asked} {limited}, and {free} is free",
        evidence=Evidence(
            where=headroom.where,
            command=f"kubectl describe node {node}",
            observed=f"{limited}: {free} free, {asked} for one job",
            took=headroom.evidence.took,
        ),
    )


def storage(daemon: Daemon) -> Daemon:
    """Whether the daemon copies layers or shares them."""
    slow = daemon.storage_driver == "vfs"
    return Daemon(
        target=daemon.target,
        node=daemon.node,
        seconds=daemon.seconds,
        version=daemon.version,
        storage_driver=daemon.storage_driver,
        fault=DindFault.STORAGE_DRIVER if slow else None,
        cause=f"the Docker daemon in a pod on {daemon.node} uses vfs, which copies every layer whole" if slow else "",
        evidence=daemon.evidence,
    )


def matches(found: str, expected: str) -> bool:
    """Whether two versions have the same major and minor number."""
    return found.lstrip("v").split(".")[:2] == expected.lstrip("v").split(".")[:2]
