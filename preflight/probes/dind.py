"""Docker-in-Docker: what Docker's client printed in a pod becomes facts.

The client's words were recorded from docker 20.10 and 28.2 in the C locale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import DindFault, PodFault
from preflight.probes import shell
from preflight.probes.pod_messages import classify_daemon, classify_pull
from preflight.probes.pods import DindPod, JobPod
from preflight.probes.shell_readers import read_interface
from preflight.probes.shell_sections import CUT, Section, find, parse, shown
from preflight.probes.transcript import PodTranscript, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerReady(Fact):
    """Whether the Docker daemon answered in time.

    Attributes:
        seconds: until it did, counted from the start of the script; None when it did not.
    """

    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerInfo(Fact):
    """What Docker says about itself.

    Attributes:
        client: the client's version.
        version: the daemon's version.
        storage_driver: ``overlay2``, as it should be; ``vfs`` copies every layer and is slow.
        insecure_registries: registries it speaks plain HTTP to.
    """

    client: str = ""
    version: str = ""
    storage_driver: str = ""
    cgroup_version: str = ""
    insecure_registries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPull(Fact):
    """A pull by the Docker daemon.

    Attributes:
        seconds: how long it took; None when it failed.
        fresh: whether layers were really moved; None when it failed.
    """

    image: str
    seconds: float | None
    fresh: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerRun(Fact):
    """A command in a container of the Docker daemon.

    Attributes:
        exit: its exit status; None when it was cut off.
        output: what it printed.
    """

    exit: int | None
    output: str = field(default="", repr=False)


_DAEMON_FAULTS: tuple[tuple[re.Pattern[str], DindFault], ...] = (
    (re.compile(r"HTTP request to an HTTPS server|HTTP response to HTTPS client|x509:|tls: "), DindFault.TLS_MISMATCH),
    (re.compile(r"Cannot connect to the Docker daemon|error during connect|dial tcp"), DindFault.UNREACHABLE),
)
_DOCKER_WORDS = re.compile(
    r"Cannot connect to the Docker daemon|error during connect|Error response from daemon|^ERROR:|^docker: |^Error",
    re.IGNORECASE,
)
_NO_WORDS = re.compile(r"(?:.*:|Terminated|Killed)?")  # a heading, the shell's own word, or nothing at all
_DOCKER_FAILED = 125  # docker run's own exit status, when no container was run


def read_docker_ready(section: Section, *, where: str) -> DockerReady:
    """How the wait for the daemon ended."""
    ready = section.exit == 0
    fault: DindFault | None = None
    cause = ""
    if not ready:
        words = _docker_words(section)
        if _NO_WORDS.fullmatch(words):
            words = "it gave `docker info` no answer"
        fault = _daemon_fault(words)
        if fault is None or "Is the docker daemon running?" in words:  # nobody listens: not yet, or no more
            fault = DindFault.DAEMON_SLOW
        cause = f"after {section.took:.0f} s the Docker daemon was not ready: {words}"
        if fault is DindFault.TLS_MISMATCH:
            cause = f"Docker's client and daemon do not agree on TLS: {words}"
    return DockerReady(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=shown(section.output), took=section.took),
        seconds=section.took if ready else None,
    )


def read_docker_info(version: Section, info: Section, *, where: str) -> DockerInfo:
    """The versions and what the daemon says about itself; it is judged by whom it concerns."""
    versions, told = _json(version.output), _json(info.output)
    server = versions.get("Server")
    client = versions.get("Client")
    registries = told.get("RegistryConfig")
    fault: DindFault | None = None
    cause = ""
    if not isinstance(server, dict) or not told.get("Driver"):
        words = _docker_words(version) if not isinstance(server, dict) else _docker_words(info)
        fault = _daemon_fault(words) or DindFault.UNREACHABLE
        cause = f"the Docker daemon told nothing about itself: {words}"
    summary = {
        name: told.get(name) for name in ("ServerVersion", "Driver", "CgroupVersion", "OperatingSystem") if name in told
    }
    return DockerInfo(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where=where,
            command=f"{version.command}; {info.command}",
            observed=json.dumps(summary) if not fault else shown(f"{version.output}\n{info.output}"),
            took=version.took + info.took,
        ),
        client=_text(client, "Version"),
        version=_text(server, "Version") or _text(told, "ServerVersion"),
        storage_driver=_text(told, "Driver"),
        cgroup_version=_text(told, "CgroupVersion"),
        insecure_registries=_insecure(registries),
    )


def read_docker_pull(section: Section, *, where: str) -> DockerPull:
    """How a pull by the daemon ended."""
    image = section.args[0]
    ok = section.exit == 0
    cause = ""
    if not ok:
        words = _docker_words(section) or f"no end within {section.took:.0f} s"
        cause = f"the Docker daemon could not pull {image}: {words}"
    return DockerPull(
        target=image,
        fault=None if ok else DindFault.PULL_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=shown(section.output), took=section.took),
        image=image,
        seconds=section.took if ok else None,
        fresh=("Downloaded newer image" in section.output) if ok else None,
    )


def read_docker_run(section: Section, *, where: str) -> DockerRun:
    """How a command in a container inside ended; any exit status but 0 is a fault."""
    ok = section.exit == 0
    cause = ""
    if not ok:
        ended = (
            f"ended with {section.exit}"
            if section.exit not in (*CUT, None)
            else f"had no end within {section.took:.0f} s"
        )
        words = _docker_words(section) if section.exit == _DOCKER_FAILED else section.output.strip()[-300:]
        cause = f"`{section.command}` {ended}: {words or 'it printed nothing'}"
    return DockerRun(
        target=section.args[0],
        fault=None if ok else DindFault.RUN_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=shown(section.output), took=section.took),
        exit=section.exit,
        output=section.output,
    )


def _docker_words(section: Section) -> str:
    """The lines in which Docker's client says what went wrong."""
    lines = [line.strip() for line in section.output.splitlines()]
    told = _json(section.output).get("ServerErrors")  # docker before 26 ends `info --format` with 0 all the same
    if isinstance(told, list):
        lines += [str(one) for one in told]
    telling = [
        line.removeprefix("ERROR: ") for line in lines if _DOCKER_WORDS.search(line) and not line.startswith("{")
    ]
    return "; ".join(dict.fromkeys(telling))[:500] or (lines[-1][:300] if lines else "")


def _daemon_fault(words: str) -> DindFault | None:
    return next((fault for pattern, fault in _DAEMON_FAULTS if pattern.search(words)), None)


def _json(text: str) -> dict[str, object]:
    """The JSON object among the lines of an output that may hold warnings, too."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict):
                return told
    return {}


def _text(value: object, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _insecure(registries: object) -> tuple[str, ...]:
    if not isinstance(registries, dict):
        return ()
    cidrs = registries.get("InsecureRegistryCIDRs")
    names = registries.get("IndexConfigs")
    found = [str(cidr) for cidr in cidrs] if isinstance(cidrs, list) else []
    if isinstance(names, dict):
        found += [
            str(name) for name, entry in names.items() if isinstance(entry, dict) and entry.get("Secure") is False
        ]
    return tuple(found)


# ---- what a pod's transcript says of its daemon ----------------------------------------------------------------------


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


def daemon(node: str, found: PodTranscript) -> Daemon:
    """The daemon as its pod, its log and its client tell of it.

    Raises:
        Unmeasured: the pod ended before the client came to ask.
    """
    pod, where = found.pod, f"dind on {node}"
    sections = parse(pod.log, found.nonce)
    waited = next((one for one in sections if one.kind == "docker_ready"), None)
    # A pod that ran out of time may still have told how the daemon did.
    if pod.fault is not None and (waited is None or pod.fault not in {PodFault.EXITED, PodFault.DEADLINE}):
        return Daemon(target=node, node=node, fault=pod.fault, cause=pod.cause, evidence=pod.evidence)
    if waited is None:
        ended = f"the script beside Docker on {node} ended before it came to `docker info`"
        reason = f"{ended}: {pod.log_problem}" if pod.log_problem else ended
        raise Unmeasured(reason, needs="a larger `deadlines.dind` in the inventory", evidence=pod.evidence)
    ready = read_docker_ready(waited, where=where)
    if ready.fault is not None:
        return _not_ready(node, pod, ready)
    info = read_docker_info(
        find(sections, shell.docker_version(), where=where),
        find(sections, shell.docker_info(), where=where),
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


def _not_ready(node: str, pod: JobPod, ready: DockerReady) -> Daemon:
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
    pulled = read_docker_pull(section or _never(report, "docker pull"), where=report.where)
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
    section = report.section(shell.docker_run(image, words))
    ran = read_docker_run(section, where=report.where)
    return DindRun(
        target=f"{image} on {node}", node=node, image=image, fault=ran.fault, cause=ran.cause, evidence=ran.evidence
    )


MTU = ("cat", "/sys/class/net/eth0/mtu")  # of a container on Docker's bridge


def packet_sizes(report: Report, node: str, image: str) -> PacketSizes:
    """The MTU of the pod's interface, and that of a container's inside.

    Raises:
        Unmeasured: one of them was not told.
    """
    own = read_interface(report.section(shell.interface()))
    section = report.section(shell.docker_run(image, MTU))
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
    section = report.section(shell.docker_pull(image))
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


def _never(report: Report, command: str) -> Section:
    reason = f"the look from {report.where} ended before it came to `{command}`"
    raise Unmeasured(reason, needs="a larger `deadlines.dind` in the inventory")


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
