"""The streams that every job needs on one node: exec, attach and logs of a pod there, each measured for itself.

The runner makes a pod, attaches to its build container to hand over the script, runs commands in its helper, and reads
logs; all three go from the API server to the kubelet of that node, and the first two over a WebSocket (or SPDY).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from preflight.clients.exec import CommandResult, attach_to_pod, exec_in_pod
from preflight.clients.kube_api import Api, classify_kubelet_path, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact, PreflightError, Unmeasured
from preflight.faults import StreamFault
from preflight.jobshape import BUILD

_LOG_WITHIN = 3.0  # seconds in which a kubelet's log shows what a container printed


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCheck(Fact):
    """Whether one of the streams of a pod on a node brings back what was sent in.

    Attributes:
        node: where the pod runs.
        way: ``exec``, ``attach``, ``logs`` or ``quiet exec``.
    """

    node: str
    way: str


Outcome = StreamCheck | PreflightError
"""The measurement of one stream, or why it could not be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChecks:
    """All streams of one pod; `quiet` is None where no quiet stream was tried."""

    exec: Outcome = field(repr=False)
    attach: Outcome = field(repr=False)
    logs: Outcome = field(repr=False)
    quiet: Outcome | None = field(default=None, repr=False)


def check_streams(
    api: Api, namespace: str, pod: str, *, node: str, greeting: str, deadline: float, quiet: float | None = None
) -> StreamChecks:
    """Try all streams of a pod of `preflight.jobshape.waiting_job` that runs; afterwards it has ended.

    Args:
        api: the cluster's API.
        namespace: the pod's.
        pod: its name.
        node: where it runs.
        greeting: what it printed at its start.
        deadline: seconds for each stream.
        quiet: seconds for which one more stream is held open without a byte; None for none.
    """

    def execute() -> CommandResult:
        return exec_in_pod(api, namespace, pod, BUILD, ["echo", f"{greeting}-exec"], deadline=deadline)

    def attach() -> CommandResult:
        # A runtime may drop what a container prints in the moment of its end.
        text = f"echo {greeting}-attach; sleep 1; exit\n"
        return attach_to_pod(api, namespace, pod, BUILD, text=text, deadline=deadline)

    log = _log(api, namespace, pod, node, greeting, deadline)
    if isinstance(log, StreamCheck) and log.fault is StreamFault.KUBELET_UNREACHABLE:
        # The other two would wait as long for the same kubelet.
        return StreamChecks(exec=replace(log, way="exec"), attach=replace(log, way="attach"), logs=log)
    exec_check = _streamed(api, "exec", execute, f"{greeting}-exec", pod, node)
    quiet_check = None
    if quiet is not None and isinstance(exec_check, StreamCheck) and exec_check.fault is None:
        quiet_check = _quiet(api, namespace, pod, node, f"{greeting}-quiet", quiet, deadline)
    attach_check = _streamed(api, "attach", attach, f"{greeting}-attach", pod, node)
    return StreamChecks(exec=exec_check, attach=attach_check, logs=log, quiet=quiet_check)


def _quiet(api: Api, namespace: str, pod: str, node: str, expected: str, seconds: float, deadline: float) -> Outcome:
    """Whether a stream outlasts a time in which nothing is sent over it, as of a job that prints nothing."""

    def wait() -> CommandResult:
        command = ["sh", "-c", f"sleep {seconds:g}; echo {expected}"]
        return exec_in_pod(api, namespace, pod, BUILD, command, deadline=seconds + deadline)

    check = _streamed(api, "quiet exec", wait, expected, pod, node)
    if not isinstance(check, StreamCheck) or check.fault is not StreamFault.CUT:
        return check
    cause = (
        f"a stream to a pod on {node} was cut after {check.evidence.took:.0f} s in which nothing was sent; it was to "
        f"last {seconds:g} s"
    )
    evidence = replace(check.evidence, observed=f"{check.evidence.observed}: cut after {check.evidence.took:.1f} s")
    return replace(check, fault=StreamFault.IDLE_CUT, cause=cause, evidence=evidence)


def _streamed(api: Api, way: str, stream: Callable[[], CommandResult], expected: str, pod: str, node: str) -> Outcome:
    try:
        result = stream()
    except ApiError as error:
        return _refused(way, classify_kubelet_path(api, error), node)
    if expected in result.stdout:
        return StreamCheck(target=node, node=node, way=way, evidence=result.evidence)
    cause = f"{way} into pod {pod} on {node} brought back {result.stdout[:80]!r}, not {expected!r}"
    return StreamCheck(
        target=node, node=node, way=way, fault=StreamFault.WRONG_OUTPUT, cause=cause, evidence=result.evidence
    )


def _refused(way: str, error: ApiError, node: str) -> Outcome:
    if not isinstance(error.fault, StreamFault):
        return unmeasured(error)
    cause = (
        f"{'logs of' if way == 'logs' else f'{way} into'} a pod on {node}: {_SENTENCES[error.fault]}: {error.message}"
    )
    return StreamCheck(target=node, node=node, way=way, fault=error.fault, cause=cause, evidence=error.evidence)


_SENTENCES = {
    StreamFault.NO_UPGRADE: "the path to the API server passes on no WebSocket",
    StreamFault.KUBELET_UNREACHABLE: "the API server has no way to the node's kubelet",
    StreamFault.NOT_STARTED: "the node's runtime could not start the command",
    StreamFault.CUT: "the connection was cut before the end",
    StreamFault.SLOW: "nothing came in time",
    StreamFault.WRONG_OUTPUT: "something else came back",
}


def _log(api: Api, namespace: str, pod: str, node: str, greeting: str, deadline: float) -> Outcome:
    path, query = f"/api/v1/namespaces/{path_segment(namespace)}/pods/{path_segment(pod)}/log", {"container": BUILD}
    began = time.monotonic()
    text = ""
    while True:
        try:
            text = api.text(path, deadline=deadline, **query)
        except ApiError as error:
            return _refused("logs", classify_kubelet_path(api, error), node)
        took = time.monotonic() - began
        if greeting in text or took > _LOG_WITHIN:
            break
        time.sleep(0.2)
    evidence = Evidence(where="here", command=kubectl("GET", path, query), observed=text, took=took)
    if greeting in text:
        return StreamCheck(target=node, node=node, way="logs", evidence=evidence)
    cause = f"the log of pod {pod} on {node} lacks what the pod printed: {text[:80]!r}"
    return StreamCheck(
        target=node, node=node, way="logs", fault=StreamFault.WRONG_OUTPUT, cause=cause, evidence=evidence
    )


def unwrap(outcome: Outcome) -> StreamCheck:
    """The measurement; or the reason why there is none, raised.

    Raises:
        Unmeasured: it could not be made.
    """
    if isinstance(outcome, StreamCheck):
        return outcome
    raise outcome if isinstance(outcome, Unmeasured) else Unmeasured(str(outcome))
