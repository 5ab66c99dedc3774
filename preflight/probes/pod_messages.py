"""The messages of Kubernetes, container runtimes and dockerd when something goes wrong, as faults and causes.

Pure. The patterns match the messages of tests/recordings (v1.28, containerd 1.6) and those of CRI-O and dockerd. A
message decides only where the API has nothing better: admission, the scheduler and the runtimes give their reasons in
sentences alone.
"""

from __future__ import annotations

import re
from typing import Any

from preflight.faults import DindFault, PodFault
from preflight.jobshape import BUILD

Json = dict[str, Any]


# --- admission ------------------------------------------------------------------------------------------------------

_ADMISSION: tuple[tuple[str, PodFault], ...] = (
    (r'namespaces "[^"]*" not found|because it is being terminated', PodFault.NAMESPACE_MISSING),
    (r"security context constraint", PodFault.SECURITY_CONSTRAINTS),  # OpenShift's
    (r'violates PodSecurity "|pod security policy', PodFault.POD_SECURITY),
    (r"exceeded quota: |failed quota: |status unknown for quota: |insufficient quota to match", PodFault.QUOTA),
    (
        r"(?:maximum|minimum) \S+ usage per (?:Container|Pod) is|max limit to request ratio per (?:Container|Pod)",
        PodFault.LIMIT_RANGE,
    ),
    (r"no PriorityClass with name|RuntimeClass \"[^\"]*\" not found", PodFault.CLASS_MISSING),
    (r"error looking up service account|service account \S+ was not found", PodFault.SERVICE_ACCOUNT_MISSING),
    (r'admission webhook "[^"]*" denied the request|failed calling webhook "', PodFault.WEBHOOK),
)


def classify_admission(status: int, message: str) -> tuple[PodFault, str]:
    """The fault and the cause in an API server's refusal of a pod, or in the Job controller's account of one."""
    text = re.sub(r"^Error creating: ", "", message.strip())
    # The reader knows the pod; «pods "x" is forbidden: [a, b]» only hides the rest.
    cause = re.sub(r'^pods "[^"]*" is forbidden: ', "", text).strip("[]") or f"HTTP {status} without a message"
    for pattern, fault in _ADMISSION:
        if re.search(pattern, text):
            return fault, cause
    return PodFault.REFUSED_BY_API, cause


# --- scheduling -----------------------------------------------------------------------------------------------------

_SCHEDULING: tuple[tuple[str, PodFault], ...] = (  # the most specific first
    (r"^Insufficient |^Too many pods|didn't have free ports", PodFault.UNSCHEDULABLE_RESOURCE),
    (r"were unschedulable|taint \{node\.kubernetes\.io/unschedulable", PodFault.UNSCHEDULABLE_CORDONED),
    (r"\btaints? \{", PodFault.UNSCHEDULABLE_TAINT),
    (r"didn't match (?:Pod's )?(?:node |pod |existing )", PodFault.UNSCHEDULABLE_SELECTOR),
    (r"", PodFault.UNSCHEDULABLE),
)
_PINNED_AWAY = re.compile(r"didn't satisfy plugin(?:\(s\))? \[NodeAffinity\]|were filtered out by .*NodeAffinity")


def classify_scheduling(message: str) -> tuple[PodFault, str]:
    """The fault and the cause in the scheduler's message about a pod that is pinned to one node.

    The nodes that the pin itself rules out are left out, as is what preemption could not do.
    """
    text = re.split(r"\.? preemption: ", message.strip())[0]
    counted = re.sub(r"^\d+/\d+ nodes are available: ", "", text).rstrip(". ")
    reasons = [re.sub(r"^\d+ (?:node\(s\) )?", "", each) for each in re.split(r", (?=\d+ )", counted)]
    relevant = [reason for reason in reasons if reason and not _PINNED_AWAY.search(reason)]
    for pattern, fault in _SCHEDULING:
        if matching := [reason for reason in relevant if re.search(pattern, reason)]:
            return fault, ", ".join(matching)
    if reasons[0]:
        return PodFault.UNSCHEDULABLE_SELECTOR, "the values' node selector or affinity does not match the node"
    return PodFault.UNSCHEDULABLE, f"the scheduler gives no reason ({text})"


def names_a_reason(fault: PodFault) -> bool:
    """Whether the scheduler's message is about the node that the pod is pinned to, so that there is such a node."""
    return fault not in {PodFault.UNSCHEDULABLE, PodFault.UNSCHEDULABLE_SELECTOR}


# --- pull -----------------------------------------------------------------------------------------------------------

_PULL: tuple[tuple[str, PodFault], ...] = (
    (r"couldn't parse image|invalid reference format|InvalidImageName|must be lowercase", PodFault.PULL_BAD_NAME),
    (r"toomanyrequests|429 Too Many Requests|pull rate limit|[Rr]ate exceeded|rate limit", PodFault.PULL_RATE_LIMITED),
    (r"no match for platform|no matching manifest for|does not match the specified platform", PodFault.PULL_PLATFORM),
    (r"no image found in (?:manifest list|image index)|cannot be used on this platform", PodFault.PULL_PLATFORM),
    (r"lookup \S+|no such host|[Nn]ame resolution|server misbehaving", PodFault.PULL_UNRESOLVED),
    (r"connection refused", PodFault.PULL_REFUSED),
    (r"no route to host|network is unreachable|host is (?:down|unreachable)", PodFault.PULL_UNREACHABLE),
    (r"TLS handshake timeout|i/o timeout|deadline exceeded|Client\.Timeout|timed out", PodFault.PULL_TIMEOUT),
    (r"x509: |tls: |certificate|server gave HTTP response to HTTPS client", PodFault.PULL_TLS),
    (r"does not look like a TLS handshake|HTTP request to an HTTPS server", PodFault.PULL_TLS),
    (r"\b401\b|\b403\b|[Uu]nauthorized|Forbidden|authentication required", PodFault.PULL_UNAUTHORIZED),
    (r"authorization failed|insufficient_scope|no basic auth credentials", PodFault.PULL_UNAUTHORIZED),
    (r"(?:access|^|: )denied\b|invalid username/password|failed to fetch \w+ token", PodFault.PULL_UNAUTHORIZED),
    (r": not found\b|manifest unknown|name unknown|404 Not Found|code = NotFound", PodFault.PULL_NOT_FOUND),
)
_WRAPPINGS = re.compile(
    r'^(?:Error: |(?:rpc error: )?code = \w+ desc = |(?:Error response from daemon|Failed to pull image "[^"]*"): |'
    r'failed to (?:pull and unpack image|resolve reference|resolve image|copy|do request) "[^"]*": |'
    r'failed to (?:do request|copy|authorize|fetch \w+ token): |(?:Error )?pulling image "?[^" ]*"?: |'
    r'ErrImagePull: |Back-off pulling image "[^"]*":? ?)+'
)


def classify_pull(message: str) -> tuple[PodFault, str]:
    """The fault and the cause in a runtime's message about a failed pull: containerd's, CRI-O's or dockerd's.

    What stands in quotation marks is a name or an address and decides nothing: an image may well be called ``denied``.
    """
    text = " ".join(message.split())
    cause = _WRAPPINGS.sub("", text) or text or "the runtime gave no reason"
    unquoted = re.sub(r'"[^"]*"', '""', text)
    for pattern, fault in _PULL:
        if re.search(pattern, unquoted):
            return fault, cause
    return PodFault.PULL_FAILED, cause


def is_of_connecting(message: str) -> bool:
    """Whether a runtime's message about a pull, all of them written in Go, says that no connection was made."""
    return "dial tcp" in message


PATH_FAULTS = frozenset(
    {
        PodFault.PULL_REFUSED,
        PodFault.PULL_TIMEOUT,
        PodFault.PULL_UNREACHABLE,
        PodFault.PULL_UNRESOLVED,
        PodFault.PULL_TLS,
    }
)
"""Faults of the path from a node to a registry, whatever image is pulled."""


def container_of(event: Json) -> str:
    """The container that a kubelet's event is about, or ""."""
    match = re.search(r"ontainers\{([^}]*)\}$", str(event.get("involvedObject", {}).get("fieldPath", "")))
    return match[1] if match else ""


def is_failed_pull(event: Json) -> bool:
    """Whether a kubelet's event reports how a pull failed."""
    return event.get("reason") == "Failed" and str(event.get("message", "")).startswith("Failed to pull image")


# --- the end --------------------------------------------------------------------------------------------------------

_ENDS: dict[str, PodFault] = {  # a failed pod's own reason
    "DeadlineExceeded": PodFault.DEADLINE,
    "Evicted": PodFault.EVICTED,
    "Preempting": PodFault.EVICTED,
    "Terminated": PodFault.EVICTED,  # the node is being shut down
    "NodeShutdown": PodFault.EVICTED,
    "NodeLost": PodFault.LOST,
    "NodeAffinity": PodFault.UNSCHEDULABLE_SELECTOR,  # the kubelet's own admission, after the scheduler's
    "OutOfcpu": PodFault.UNSCHEDULABLE_RESOURCE,
    "OutOfmemory": PodFault.UNSCHEDULABLE_RESOURCE,
    "OutOfpods": PodFault.UNSCHEDULABLE_RESOURCE,
    "OutOfephemeral-storage": PodFault.UNSCHEDULABLE_RESOURCE,
    "UnexpectedAdmissionError": PodFault.REFUSED_BY_API,
}
PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
PULL_REASONS |= {"ImageInspectError", "SignatureValidationFailed"}
START_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
START_ENDS = {"StartError", "ContainerCannotRun"}


def classify_end(pod: Json, *, container: str = BUILD) -> tuple[PodFault | None, str]:
    """How a pod, or the one container of it that matters, ended; no fault if the container ended with status 0."""
    status = pod.get("status", {})
    reason = str(status.get("reason") or "")
    ended = state_of(pod, container).get("terminated")
    if ended and ended.get("reason") == "Completed":
        return None, ""
    if status.get("phase") == "Failed" and reason in _ENDS:
        return _ENDS[reason], f"{reason}: {status.get('message') or 'no message'}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return PodFault.EVICTED, f"{condition.get('reason')}: {condition.get('message')}"
    if not ended:
        return None, ""
    if ended.get("reason") in START_ENDS:
        return PodFault.START_ERROR, str(ended.get("message") or ended["reason"])
    if ended.get("reason") == "OOMKilled":
        limit = _limit(pod, container)
        return (
            PodFault.EXITED,
            f"container {container} was killed for lack of memory{f' (limit {limit})' if limit else ''}",
        )
    if code := int(ended.get("exitCode") or 0):
        return PodFault.EXITED, f"container {container} ended with exit status {code}"
    return None, ""


def state_of(pod: Json, container: str) -> Json:
    """A container's state: ``waiting``, ``running`` or ``terminated``; empty while the kubelet has not begun."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == container:
            return dict(status.get("state") or {})
    return {}


def _limit(pod: Json, container: str) -> str:
    for each in pod.get("spec", {}).get("containers") or ():
        if each.get("name") == container:
            return str(each.get("resources", {}).get("limits", {}).get("memory", ""))
    return ""


# --- the Docker daemon ----------------------------------------------------------------------------------------------

_NOT_PRIVILEGED = re.compile(
    r"are you root\?|must be root|[Oo]peration not permitted|[Pp]ermission denied|--privileged mode"
)
_TLS_SEEN_BY_CLIENT = re.compile(
    r"Client sent an HTTP request to an HTTPS server|ca\.pem: no such file|"
    r"error during connect: .{0,400}(?:HTTP response to HTTPS client|TLS handshake|x509: |tls: |remote error)"
)
_LISTENING = re.compile(r"API listen on \S*?:(?P<port>\d+)")
_LAST_WORDS = re.compile(r"failed to start daemon|level=fatal|^error|unable to|cannot|refus", re.IGNORECASE)


def classify_daemon(
    daemon_log: str, *, exit_status: int | None, privileged: bool, port: int | None, client_log: str = ""
) -> tuple[DindFault | None, str]:
    """The fault of a Docker daemon whose client has ended or waits in vain, by the daemon's log, or its silence.

    Args:
        daemon_log: what it printed, from the beginning.
        exit_status: the daemon's, or None while it runs.
        privileged: whether its pod was.
        port: that the client was told to use.
        client_log: what the client printed.
    """
    lines = [line.strip() for line in daemon_log.splitlines() if line.strip()]
    if exit_status is not None:
        candidates = [line for line in lines if _LAST_WORDS.search(line)] or lines
        reason = _message(candidates[-1]) if candidates else "it logged nothing"
        cause = f"the daemon ended with status {exit_status}: {reason}"
        refused = not privileged and any(_NOT_PRIVILEGED.search(line) for line in lines)
        return DindFault.NOT_PRIVILEGED if refused else DindFault.DAEMON_EXITED, cause
    ports = [int(match) for match in _LISTENING.findall(daemon_log)]
    if ports and port and port not in ports:
        listens = " and ".join(map(str, ports))
        cause = f"the daemon listens on {listens}, the client asks {port}: one of them uses TLS, the other does not"
        return DindFault.TLS_MISMATCH, cause
    if _TLS_SEEN_BY_CLIENT.search(client_log):
        return DindFault.TLS_MISMATCH, f"the daemon and its client on port {port} do not agree on TLS"
    if not ports:
        last = f"; its last line: {_message(lines[-1])}" if lines else ", and it has logged nothing"
        return DindFault.DAEMON_SLOW, f"the daemon runs, but does not listen yet{last}"
    return None, ""


def _message(line: str) -> str:
    """A line of dockerd's log without time and level, cut to what a sentence can hold."""
    if match := re.search(r'\bmsg="((?:[^"\\]|\\.)*)"(?:.* error="((?:[^"\\]|\\.)*)")?', line):
        line = re.sub(r"\\(.)", r"\1", ": ".join(filter(None, match.groups())))
    return line if len(line) <= _SENTENCE else f"{line[:_SENTENCE]}…"


_SENTENCE = 300  # characters


# --- pull times ------------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(h|ms|m|s|µs|us|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


def pull_seconds(message: str) -> float | None:
    """Seconds in ``Successfully pulled image "…" in 1m2.5s (… including waiting)``; None if there is no duration."""
    match = re.search(r"\bin ((?:\d{1,20}(?:\.\d{1,20})?(?:h|ms|m|s|µs|us|ns))+)", message)
    if not match:
        return None
    return round(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(match[1])), 3)
