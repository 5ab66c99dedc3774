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
from preflight.faults import ClusterFault, DnsFault, GitLabFault, PathFault
from preflight.jobshape import JobShape
from preflight.probes import dns, shell, shell_readers
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom
from preflight.probes.pods import JobPod
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section, find

_MOST_NAMESERVERS = 3  # of a pod's resolv.conf, which the kubelet writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a probe script showed at one vantage.

    Attributes:
        where: the vantage.
        sections: a section a step.
    """

    where: str
    sections: tuple[Section, ...] = field(repr=False)

    def section(self, step: Step) -> Section:
        """The section of a step; errors as in `find`."""
        return find(self.sections, step, where=self.where)


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
    sections = [report.section(shell.lookup(name, resolver)) for name in names]
    return _lookups(report.where, resolver, sections, names, deadline)


def own_lookups(report: Report, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What the vantage's own resolv.conf leads to, for each name."""
    sections = [report.section(shell.lookup(name)) for name in names]
    return _lookups(report.where, "its resolv.conf", sections, names, deadline)


def inner_lookups(report: Report, image: str, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What a container inside of Docker-in-Docker finds for each name."""
    sections = [report.section(shell.docker_lookup(image, name)) for name in names]
    return _lookups(report.where, "a container's resolv.conf", sections, names, deadline)


def _lookups(
    where: str, resolver: str, sections: Sequence[Section], names: Mapping[str, frozenset[str]], deadline: float
) -> Lookups:
    answers = [
        shell_readers.read_lookup(section, expected) for section, expected in zip(sections, names.values(), strict=True)
    ]
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
    return shell_readers.read_fetch(report.section(shell.fetch(url)), url, where=report.where)


def whole_page(report: Report, url: str) -> GitLabReply:
    """Whether a page that needs packets of full size came, where a shorter answer of the same server has come."""
    found = gitlab_reply(report, url)
    begun = found.fault is None and shell_readers.was_cut(report.section(shell.fetch(url)))
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
    offset = shell_readers.read_clock(section) - middle - (reply.clock_offset or 0.0)
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
    section = report.section(shell.resolv_conf())
    if section.exit != 0:
        reason = (
            f"The resolv.conf of {report.where} could not be read: {section.output[:200] or 'the look was cut off'}"
        )
        raise Unmeasured(reason, needs=f"an /etc/resolv.conf at {report.where} that its user may read")
    found = shell_readers.read_resolv_conf(section)
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
        # The kubelet puts the cluster's first, and leaves out what goes beyond three.
        appended = expected if len(found.nameservers) < _MOST_NAMESERVERS else ()
        missing = [one for one in (*appended, *searches) if one not in (*found.nameservers, *found.searches)]
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


def found_names(
    report: Report, node: str, given: Mapping[str, Iterable[str]], resolv_conf: shell_readers.ResolvConf
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
        section = report.section(shell.resolve(name))
        addresses, full = shell_readers.read_resolve(section)
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


def matches(found: str, expected: str) -> bool:
    """Whether two versions have the same major and minor number."""
    return found.lstrip("v").split(".")[:2] == expected.lstrip("v").split(".")[:2]
