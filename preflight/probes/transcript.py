"""Facts from the transcript of a probe script: pure, on its sections and on other facts.

A node's SSH connection and a probe pod each give one `Report`; the functions here read single facts out of it, so that
one pod and one connection per node carry all its measurements.
"""

from __future__ import annotations

import datetime
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
from preflight.shell_command import pipe, program, sequence

_MOST_NAMESERVERS = 3  # of a pod's resolv.conf, which the kubelet writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a probe script printed at one vantage.

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
    """One of the suite's pods at its end, with the nonce of the script that ran in it.

    Attributes:
        pod: the pod; a `DindPod` where Docker ran beside the script.
        nonce: begins the script's own lines in the pod's log.
        shape: what the pod was made of; None where that is the job's.
    """

    pod: JobPod
    nonce: str
    shape: JobShape | None = None


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
    """What several resolvers answer for the same names.

    Attributes:
        addresses: by name, then by resolver.
    """

    addresses: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf(Fact):
    """The resolv.conf of a pod beside the one that the values configure."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNames(Fact):
    """What the resolver library of a job's pod finds for names, beside what the resolvers answer.

    Attributes:
        node: on which node.
        resolved: addresses by name, as programs find them.
        answered: addresses by name, as the resolvers answer.
        via_search: where a search domain answered, the name that was looked up instead of the one that was meant.
        searches: the pod's search list; `options` of its resolv.conf, such as ``ndots:5``.
    """

    node: str
    resolved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    via_search: Mapping[str, str] = field(default_factory=dict)
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def lookups(report: Report, resolver: str, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What a resolver answered to each name at the report's vantage."""
    sections = [report.section(shell.lookup(name, resolver)) for name in names]
    return _lookups(report.where, resolver, sections, names, deadline)


def own_lookups(report: Report, names: Mapping[str, frozenset[str]], *, deadline: float) -> Lookups:
    """What the vantage's own resolv.conf finds for each name."""
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
    # The evidence is the first faulty answer, or the first of all.
    shown = next((section for section, answer in zip(sections, answers, strict=True) if answer.fault), sections[0])
    return dns.summarise(
        resolver,
        answers,
        expected=names,
        where=where,
        command=shown.command,
        observed=shown.output,
        took=max(section.took for section in sections),
        deadline=deadline,
    )


def gitlab_reply(report: Report, url: str) -> GitLabReply:
    """What answered at GitLab's URL at the report's vantage."""
    return shell_readers.read_fetch(report.section(shell.fetch(url)), url, where=report.where)


def whole_page(report: Report, url: str) -> GitLabReply:
    """Whether a page that needs packets of full size arrived, where a shorter answer of the same server has."""
    reply = gitlab_reply(report, url)
    begun = reply.fault is None and shell_readers.was_cut(report.section(shell.fetch(url)))
    if not begun and reply.fault not in {PathFault.SILENT, PathFault.TIMEOUT}:  # busybox's wget can't tell them apart
        return reply.only(PathFault.SILENT)
    cause = f"{urlsplit(url).netloc} gives a short answer, but {url} did not arrive complete within {reply.took:.0f} s"
    return replace(reply, fault=PathFault.SILENT, cause=cause)


def clock(node: str, section: Section, *, middle: float, reply: GitLabReply, allowed: float, where: str) -> Clock:
    """A node's clock beside GitLab's, both compared with our own.

    Args:
        node: whose clock.
        section: the output of `shell.clock` there.
        middle: our own clock at the middle of that measurement, seconds since 1970.
        reply: GitLab's answer, with its clock's offset from ours.
        allowed: seconds that they may differ.
        where: the vantage.
    """
    gitlab_time = middle + (reply.clock_offset or 0.0)
    offset = shell_readers.read_clock(section) - gitlab_time
    skewed = abs(offset) > allowed
    relation = "ahead of" if offset > 0 else "behind"
    return Clock(
        target=node,
        node=node,
        offset=round(offset, 1),
        fault=GitLabFault.CLOCK_SKEW if skewed else None,
        cause=f"{node}'s clock is {abs(offset):.0f} s {relation} GitLab's; {allowed:g} s are allowed" if skewed else "",
        evidence=Evidence(
            where=where,
            command=sequence(
                program("date", "-u"), pipe(program("curl", "-sI", reply.url), program("grep", "-i", "^date"))
            ),
            observed=f"{_utc(gitlab_time + offset)} on {node}, {_utc(gitlab_time)} on GitLab at the same moment",
            took=section.took,
        ),
    )


def _utc(seconds: float) -> str:
    """A time in seconds since 1970 as ``date -u`` shows it, or the number, where it is none of a calendar."""
    try:
        return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).isoformat(sep=" ", timespec="seconds")[:19]
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"


def _by_answer(answers: Mapping[str, tuple[str, ...]]) -> str:
    """Each answer with those who give it: ``1.1.1.1 for a and b, but 3.3.3.3 for c``."""
    resolvers: dict[tuple[str, ...], list[str]] = {}
    for resolver, addresses in answers.items():
        resolvers.setdefault(addresses, []).append(resolver)
    return ", but ".join(f"{' '.join(addresses)} for {' and '.join(names)}" for addresses, names in resolvers.items())


def agreement(by_resolver: Iterable[Lookups]) -> Agreement:
    """Whether all resolvers that answered a name gave the same addresses."""
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    where, took = "here", 0.0
    for lookup in by_resolver:
        where, took = lookup.where, max(took, lookup.evidence.took)
        for answer in lookup.answers:
            if answer.addresses:
                table.setdefault(answer.name, {})[lookup.resolver] = tuple(sorted(answer.addresses))
    differing = {name: answers for name, answers in table.items() if len(set(answers.values())) > 1}
    differences = [f"{name} is {_by_answer(answers)}" for name, answers in differing.items()]
    name = next(iter(differing or table), "NAME")
    resolvers = list(table.get(name, {}))
    return Agreement(
        target=", ".join(resolvers),
        addresses=table,
        fault=DnsFault.DISAGREE if differing else None,
        cause="; ".join(differences),
        evidence=Evidence(
            where=where,
            command=sequence(*(program("dig", "+short", f"@{resolver}", name) for resolver in resolvers)),
            observed="\n".join(
                f"{name} {resolver}: {' '.join(addresses)}"
                for name, answers in (differing or table).items()
                for resolver, addresses in answers.items()
            ),
            took=took,
        ),
    )


def resolv_conf(report: Report, shape: JobShape, node: str) -> ResolvConf:
    """The pod's resolv.conf beside the `dns_policy` and `dns_config` of the values.

    Raises:
        Unmeasured: it could not be read, which says nothing about its content.
    """
    section = report.section(shell.resolv_conf())
    if section.exit != 0:
        problem = section.output[:200] or "the measurement was cut off"
        reason = f"The resolv.conf of {report.where} could not be read: {problem}"
        raise Unmeasured(reason, needs=f"an /etc/resolv.conf at {report.where} that its user may read")
    actual = shell_readers.read_resolv_conf(section)
    config: Mapping[str, Any] = shape.dns_config or {}
    expected = tuple(map(str, config.get("nameservers", ())))
    searches = tuple(map(str, config.get("searches", ())))
    options = tuple(
        f"{option['name']}:{option['value']}" if option.get("value") else str(option["name"])
        for option in config.get("options", ())
    )
    if shape.dns_policy == "None":
        differ = actual.nameservers != expected
        # With the policy None, search and options come from dns_config alone (docs/sources.md#dns-policy).
        missing = [domain for domain in searches if domain not in actual.searches]
        missing += [option for option in options if option not in actual.options]
    else:
        differ = False
        # The kubelet puts the cluster's first, and leaves out what goes beyond three.
        appended = expected if len(actual.nameservers) < _MOST_NAMESERVERS else ()
        wanted = (*appended, *searches)
        missing = [entry for entry in wanted if entry not in (*actual.nameservers, *actual.searches)]
    cause = ""
    if differ:
        configured = ", ".join(expected) or "no resolver"
        cause = (
            f"a job's pod on {node} asks {', '.join(actual.nameservers) or 'no resolver'}; the values say {configured}"
        )
    elif missing:
        cause = f"the resolv.conf of a job's pod on {node} lacks {', '.join(missing)}, which the values ask for"
    return ResolvConf(
        target=f"resolv.conf on {node}",
        nameservers=actual.nameservers,
        searches=actual.searches,
        options=actual.options,
        expected=expected,
        fault=DnsFault.NOT_APPLIED if cause else None,
        cause=cause,
        evidence=Evidence(
            where=report.where, command="cat /etc/resolv.conf", observed=section.output, took=section.took
        ),
    )


def found_names(
    report: Report, node: str, answered: Mapping[str, Iterable[str]], resolv_conf: shell_readers.ResolvConf
) -> FoundNames:
    """What programs in the pod find for each name for which the resolvers answer addresses.

    A search domain has answered where the library returns another full name than the one that was looked up, and other
    addresses: a record that merely changes between two queries does not count.

    Raises:
        Unmeasured: the pod cannot ask its resolver library.
    """
    resolved: dict[str, tuple[str, ...]] = {}
    via_search: dict[str, str] = {}
    shown: Section | None = None
    for name in answered:
        section = report.section(shell.resolve(name))
        addresses, full = shell_readers.read_resolve(section)
        resolved[name] = addresses
        candidates = {f"{name}.{domain}" for domain in resolv_conf.searches}
        if full in candidates and set(addresses) - set(answered[name]):
            via_search[name] = full
            shown = shown or section
    differences = [
        f"{name} at {', '.join(resolved[name])}, as {full}; the resolvers give {', '.join(sorted(answered[name]))}"
        for name, full in via_search.items()
    ]
    unresolved = [name for name, addresses in resolved.items() if not addresses]
    fault = DnsFault.SEARCH_LIST if via_search else DnsFault.NO_ANSWER if unresolved else None
    cause = f"finds no address of {', '.join(unresolved)}, and its resolvers do"
    if via_search:
        cause = f"finds {'; '.join(differences)}"
    conf = f"search {' '.join(resolv_conf.searches)}; options {' '.join(resolv_conf.options)}"
    lines = [f"{name}: {', '.join(addresses) or 'none'}" for name, addresses in resolved.items()]
    return FoundNames(
        target=node,
        node=node,
        resolved=resolved,
        answered={name: tuple(sorted(addresses)) for name, addresses in answered.items()},
        via_search=via_search,
        searches=resolv_conf.searches,
        options=resolv_conf.options,
        fault=fault,
        cause=f"a job's pod on {node} {cause} ({conf})" if fault else "",
        evidence=Evidence(
            where=report.where,
            command=shown.command if shown else program("getent", "ahostsv4", next(iter(answered), "NAME")),
            observed="\n".join([*lines, conf]),
            took=shown.took if shown else 0.0,
        ),
    )


def worker_room(node: str, headroom: Headroom) -> WorkerRoom:
    """Whether at least one job fits on a worker."""
    room = next((room for room in headroom.by_node if room.node == node), None)
    fits = room.fits if room else 0
    limited = room.limited_by if room else "everything"
    request = headroom.requests.get(limited, "")
    free = room.free.get(limited, "0") if room else "0"
    return WorkerRoom(
        target=node,
        node=node,
        fits=fits,
        fault=None if fits else ClusterFault.TOO_FEW_FIT,
        cause="" if fits else f"no job fits on {node}: a job requests {request} {limited}, and {free} is free",
        evidence=Evidence(
            where=headroom.where,
            command=program("kubectl", "describe", "node", node),
            observed=f"{limited}: {free} free, {request} for one job",
            took=headroom.evidence.took,
        ),
    )


def matches(version: str, expected: str) -> bool:
    """Whether two versions have the same major and minor number."""
    return version.lstrip("v").split(".")[:2] == expected.lstrip("v").split(".")[:2]
