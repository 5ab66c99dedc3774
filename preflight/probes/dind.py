"""Docker-in-Docker: what Docker's client printed in a pod becomes facts.

The client's messages were recorded from docker 20.10 and 28.2 in the C locale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from preflight.documents import load_json
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import DindFault, PodFault
from preflight.probes import shell
from preflight.probes.pod_messages import classify_daemon, classify_pull
from preflight.probes.pods import DindPod, JobPod
from preflight.probes.shell_readers import read_interface
from preflight.probes.shell_sections import CUT, Section, excerpt, find, parse
from preflight.probes.transcript import PodTranscript, Report
from preflight.shell_command import program, sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerReady(Fact):
    """Whether the Docker daemon answered in time.

    Attributes:
        seconds: until it did, counted from the start of the script; None when it did not.
    """

    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerInfo(Fact):
    """What Docker's client and daemon report about themselves.

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
        fresh: whether layers were really transferred; None when it failed.
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
_DOCKER_MESSAGES = re.compile(
    r"Cannot connect to the Docker daemon|error during connect|Error response from daemon|^ERROR:|^docker: |^Error",
    re.IGNORECASE,
)
_NO_MESSAGE = re.compile(r"(?:.{0,400}:|Terminated|Killed)?")  # a heading, the shell's own, or nothing at all
_DOCKER_FAILED = 125  # docker run's own exit status, when no container was run


def read_docker_ready(section: Section, *, where: str) -> DockerReady:
    """How the wait for the daemon ended."""
    ready = section.exit == 0
    fault: DindFault | None = None
    cause = ""
    if not ready:
        message = _docker_message(section)
        if _NO_MESSAGE.fullmatch(message):
            message = "it did not answer `docker info`"
        fault = _daemon_fault(message)
        if fault is None or "Is the docker daemon running?" in message:  # nothing listens: not yet, or no longer
            fault = DindFault.DAEMON_SLOW
        cause = f"after {section.took:.0f} s the Docker daemon was not ready: {message}"
        if fault is DindFault.TLS_MISMATCH:
            cause = f"Docker's client and daemon do not agree on TLS: {message}"
    return DockerReady(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=excerpt(section.output), took=section.took),
        seconds=section.took if ready else None,
    )


_SUMMARY = ("ServerVersion", "Driver", "CgroupVersion", "OperatingSystem")


def read_docker_info(version: Section, info: Section, *, where: str) -> DockerInfo:
    """The versions, and the daemon's own settings, which are judged where they matter."""
    versions, settings = _json(version.output), _json(info.output)
    server = versions.get("Server")
    client = versions.get("Client")
    registries = settings.get("RegistryConfig")
    fault: DindFault | None = None
    cause = ""
    if not isinstance(server, dict) or not settings.get("Driver"):
        message = _docker_message(version) if not isinstance(server, dict) else _docker_message(info)
        fault = _daemon_fault(message) or DindFault.UNREACHABLE
        cause = f"the Docker daemon did not answer `docker info`: {message}"
    summary = {name: settings[name] for name in _SUMMARY if name in settings}
    return DockerInfo(
        target="docker daemon",
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where=where,
            command=sequence(version.command, info.command),
            observed=json.dumps(summary) if not fault else excerpt(f"{version.output}\n{info.output}"),
            took=version.took + info.took,
        ),
        client=_text(client, "Version"),
        version=_text(server, "Version") or _text(settings, "ServerVersion"),
        storage_driver=_text(settings, "Driver"),
        cgroup_version=_text(settings, "CgroupVersion"),
        insecure_registries=_insecure(registries),
    )


def read_docker_pull(section: Section, *, where: str) -> DockerPull:
    """How a pull by the daemon ended."""
    image = section.args[0]
    ok = section.exit == 0
    cause = ""
    if not ok:
        message = _docker_message(section)
        if section.exit in (*CUT, None) or not message:
            message = f"no end within {section.took:.0f} s" + (f", last: {message}" if message else "")
        cause = f"the Docker daemon could not pull {image}: {message}"
    return DockerPull(
        target=image,
        fault=None if ok else DindFault.PULL_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=excerpt(section.output), took=section.took),
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
        message = _docker_message(section) if section.exit == _DOCKER_FAILED else section.output.strip()[-300:]
        cause = f"`{section.command}` {ended}: {message or 'it printed nothing'}"
    return DockerRun(
        target=section.args[0],
        fault=None if ok else DindFault.RUN_FAILED,
        cause=cause,
        evidence=Evidence(where=where, command=section.command, observed=excerpt(section.output), took=section.took),
        exit=section.exit,
        output=section.output,
    )


def _docker_message(section: Section) -> str:
    """The lines in which Docker's client says what went wrong."""
    lines = [line.strip() for line in section.output.splitlines()]
    errors = _json(section.output).get("ServerErrors")  # before version 26, `docker info --format` ends with 0 even so
    if isinstance(errors, list):
        lines += map(str, errors)
    messages = [
        line.removeprefix("ERROR: ") for line in lines if _DOCKER_MESSAGES.search(line) and not line.startswith("{")
    ]
    return "; ".join(dict.fromkeys(messages))[:500] or (lines[-1][:300] if lines else "")


def _daemon_fault(message: str) -> DindFault | None:
    return next((fault for pattern, fault in _DAEMON_FAULTS if pattern.search(message)), None)


def _json(text: str) -> dict[str, object]:
    """The JSON object among the lines of an output that may hold warnings, too."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                document = load_json(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                return document
    return {}


def _text(value: object, key: str) -> str:
    text = value.get(key) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def _insecure(registries: object) -> tuple[str, ...]:
    if not isinstance(registries, dict):
        return ()
    cidrs = registries.get("InsecureRegistryCIDRs")
    names = registries.get("IndexConfigs")
    insecure = [str(cidr) for cidr in cidrs] if isinstance(cidrs, list) else []
    if isinstance(names, dict):
        insecure += [
            str(name) for name, entry in names.items() if isinstance(entry, dict) and entry.get("Secure") is False
        ]
    return tuple(insecure)


# ---- the daemon of a pod, by the pod's transcript --------------------------------------------------------------------


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
    """A pull or a run inside of Docker-in-Docker.

    Attributes:
        node: on which node.
        image: the image.
        unfinished: whether it had no end when its time was over.
        seconds: how long a pull took that was done; None else.
    """

    node: str
    image: str
    unfinished: bool = False
    seconds: float | None = None


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
    """Whether a Docker daemon in a pod can use a registry."""

    node: str
    host: str


def daemon(node: str, transcript: PodTranscript) -> Daemon:
    """The daemon by what its pod, its log and its client show.

    Raises:
        Unmeasured: the pod ended before the client asked the daemon.
    """
    pod, where = transcript.pod, f"dind on {node}"
    sections = parse(pod.log, transcript.nonce)
    waited = next((section for section in sections if section.kind == "docker_ready"), None)
    # A pod that ran out of time may still have shown whether the daemon answered.
    if pod.fault is not None and (waited is None or pod.fault not in {PodFault.EXITED, PodFault.DEADLINE}):
        return Daemon(target=node, node=node, fault=pod.fault, cause=pod.cause, evidence=pod.evidence)
    if waited is None:
        ended = f"the script beside Docker on {node} ended before `docker info`"
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
        log_fault, log_cause = classify_daemon(
            pod.daemon_log,
            exit_status=None,
            privileged=pod.privileged,
            port=pod.port,
            client_log=ready.evidence.observed,
        )
        if log_fault is not None:
            fault, cause = log_fault, log_cause
            command = program("kubectl", "logs", pod.name, "-c", "docker")
            observed = f"{ready.evidence.observed}\n{pod.daemon_log[-1500:]}"
            evidence = Evidence(where=ready.where, command=command, observed=observed, took=ready.evidence.took)
    return Daemon(target=node, node=node, fault=fault, cause=f"on {node}, {cause}", evidence=evidence)


def inner_pull(report: Report, node: str, image: str) -> DindRun:
    """How the pull of an image by the daemon ended."""
    section = next((section for section in report.sections if section.kind == "docker_pull"), None)
    if section is None:
        reason = f"the probe script at {report.where} ended before `docker pull`"
        raise Unmeasured(reason, needs="a larger `deadlines.dind` in the inventory")
    pulled = read_docker_pull(section, where=report.where)
    return DindRun(
        target=f"{image} on {node}",
        node=node,
        image=image,
        fault=pulled.fault,
        cause=pulled.cause,
        evidence=pulled.evidence,
        unfinished=pulled.fault is not None and _is_late(section),
        seconds=pulled.seconds,
    )


def _is_late(section: Section) -> bool:
    """Whether a pull was ended, or gave up a request that took too long."""
    return section.exit in (*CUT, None) or classify_pull(_docker_message(section))[0] is PodFault.PULL_TIMEOUT


def inner_run(report: Report, node: str, image: str, command: Sequence[str]) -> DindRun:
    """How a container of the daemon ended."""
    section = report.section(shell.docker_run(image, command))
    ran = read_docker_run(section, where=report.where)
    return DindRun(
        target=f"{image} on {node}", node=node, image=image, fault=ran.fault, cause=ran.cause, evidence=ran.evidence
    )


MTU_COMMAND = ("cat", "/sys/class/net/eth0/mtu")  # of a container on Docker's bridge


def packet_sizes(report: Report, node: str, image: str) -> PacketSizes:
    """The MTU of the pod's interface, and that of a container's inside.

    Raises:
        Unmeasured: one of them was not printed.
    """
    own = read_interface(report.section(shell.interface()))
    section = report.section(shell.docker_run(image, MTU_COMMAND))
    numbers = [line.strip() for line in section.output.splitlines() if line.strip().isdigit()]
    if section.exit != 0 or not numbers:
        reason = f"`{section.command}` printed no MTU: {section.output[:200] or 'it printed nothing'}"
        raise Unmeasured(reason, needs="an image as `dind.pull` in which `cat` shows /sys")
    inside = int(numbers[-1])
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
            command=sequence(program("cat", f"/sys/class/net/{own.name}/mtu"), section.command),
            observed=f"{own.name} of the pod: {own.mtu}\neth0 of a container inside: {inside}",
            took=section.took,
        ),
    )


def inner_registry(report: Report, node: str, host: str, image: str) -> InnerRegistry:
    """How far the daemon got with a registry when it pulled an image, which need not exist."""
    section = report.section(shell.docker_pull(image))
    (message,) = section.output.strip().splitlines()[-1:] or [f"no end within {section.took:.0f} s"]
    pull_fault, cause = classify_pull(message)
    fault: DindFault | None = None
    if section.exit == 0:
        pass
    elif "server gave HTTP response to HTTPS client" in message:
        fault = DindFault.INSECURE_REGISTRY
        cause = (
            f"{host} speaks plain HTTP, and the daemon is not configured for it (--insecure-registry={host}): {cause}"
        )
    elif pull_fault is PodFault.PULL_TLS:
        fault, cause = DindFault.REGISTRY_UNTRUSTED, f"the daemon does not trust {host}: {cause}"
    elif pull_fault in _OUT_OF_REACH or not section.output.strip():
        fault, cause = DindFault.REGISTRY_UNREACHABLE, f"the daemon cannot reach {host}: {cause}"
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
