"""What the managers' logs show, by the runner's own messages (docs/sources.md#manager-logs), and what is over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.clients.kubectl import kubectl
from preflight.evidence import Evidence, Fact
from preflight.faults import ManagerFault
from preflight.probes.managers import ManagerPods, Objects, last_end_of, listed
from preflight.probes.release import describe_duration

LINES = 2000  # of each log, from its end
_LONGEST_LOG = 2**20  # bytes of one log
_BAD_REQUEST, _NOT_FOUND = 400, 404

FOR_EVER = float("inf")
_HOUR = 3900.0  # seconds: a runner that was refused is asked for a job again once an hour
_POLLS = 120.0  # seconds: a runner whose polls fail says so at least once a minute, and not when it is over


@dataclass(frozen=True, slots=True)
class LogPattern:
    """One of the runner's log messages, as it reads without colours and with single spaces.

    Attributes:
        pattern: what the message contains (docs/sources.md#manager-logs).
        fault: what it stands for; None where it shows that all is well, whatever came before.
        valid_for: seconds for which it holds when nothing follows.
    """

    pattern: re.Pattern[str]
    fault: ManagerFault | None
    valid_for: float = FOR_EVER


LOG_PATTERNS: tuple[LogPattern, ...] = tuple(
    LogPattern(re.compile(pattern), fault, valid_for)
    for pattern, fault, valid_for in (
        (r"Verifying runner\.\.\. is (valid|alive)\b", None, FOR_EVER),
        (r"Runner registered successfully\.", None, FOR_EVER),
        (r"Checking for jobs\.\.\. ?received\b", None, FOR_EVER),
        # At info level, without a word of error in front.
        (r"Verifying runner\.\.\. is (not valid|removed)\b", ManagerFault.TOKEN_REJECTED, FOR_EVER),
        (
            r"Registering runner\.\.\. (forbidden|failed)\b.*check registration token",
            ManagerFault.TOKEN_REJECTED,
            FOR_EVER,
        ),
        (r"Checking for jobs\.\.\. forbidden\b", ManagerFault.TOKEN_REJECTED, _HOUR),
        (
            r"Runner .{0,200} (is unhealthy and will|is not healthy and will) be disabled",
            ManagerFault.TOKEN_REJECTED,
            _HOUR,
        ),
        (r"invalid header field( value)? for \"Private-Token\"", ManagerFault.TOKEN_REJECTED, FOR_EVER),
        (r"FATAL: Runner configuration other than name and executor", ManagerFault.CONFIG_REFUSED, FOR_EVER),
        (r"configuration template must contain exactly one", ManagerFault.CONFIG_REFUSED, FOR_EVER),
        (
            r"(FATAL|PANIC|ERROR): .{0,400}(Failed to load config|loading config|couldn't load configuration template)",
            ManagerFault.CONFIG_REFUSED,
            FOR_EVER,
        ),
        (r"mkdir /nonexistent: permission denied", ManagerFault.WRONG_USER, FOR_EVER),
        (r"(Verifying|Registering) runner\.\.\. (failed|client error)\b", ManagerFault.GITLAB_UNREACHABLE, FOR_EVER),
        (r"Checking for jobs\.\.\. (failed|client error|error)\b", ManagerFault.GITLAB_UNREACHABLE, _POLLS),
        (r"GitLab instance currently unavailable", ManagerFault.GITLAB_UNREACHABLE, _POLLS),
    )
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SYSTEM_ID = re.compile(r"\bsystem_id=([rs]_\w+)")
_LONGEST_MESSAGE = 300  # characters
OF_GITLAB = frozenset({ManagerFault.TOKEN_REJECTED, ManagerFault.GITLAB_UNREACHABLE})
"""What a log says of GitLab's answers, which are over as soon as GitLab accepts a poll."""
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerdict:
    """What one manager's log comes to.

    Attributes:
        pod: the pod; `fault`: what its log shows to be wrong; `line`: the message that shows it.
        age: seconds since that message; None if it has no time.
        accepted: whether GitLab accepted the runner, as far as the log goes back.
        past: the last message that something was wrong, where that is over; `past_age`: seconds since it.
        system_id: the name by which GitLab knows the manager, if the log tells it.
    """

    pod: str
    fault: ManagerFault | None = None
    line: str = ""
    age: float | None = None
    accepted: bool = False
    past: str = ""
    past_age: float | None = None
    system_id: str = ""

    def as_over(self) -> LogVerdict:
        """The same where something else shows that what the log complains of is over."""
        return replace(self, fault=None, past=self.line, past_age=self.age)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerLogs(Fact):
    """What the managers' logs come to."""

    logs: tuple[LogVerdict, ...] = ()


def logs_of_managers(
    api: Api, objects: Objects, *, now: float, is_over: Callable[[LogVerdict], bool] = lambda _: False
) -> ManagerLogs:
    """Read and judge the log of every manager that has one.

    Args:
        api: the cluster's API.
        objects: the release's objects.
        now: seconds since 1970.
        is_over: whether something else shows that GitLab has accepted a manager since its log complained of GitLab.

    Raises:
        Unmeasured: logs may not be read, or no pod's kubelet hands one out.
    """
    began = time.monotonic()
    verdicts: list[LogVerdict] = []
    refused: ApiError | None = None
    for pod in objects.pods:
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{path_segment(objects.namespace)}/pods/{path_segment(name)}/log"
        container = objects.container
        try:
            text = api.text(path, container=container, tailLines=LINES, limitBytes=_LONGEST_LOG, timestamps="true")
            verdict = read_log(text, pod=name, now=now)
            verdicts.append(verdict.as_over() if verdict.fault in OF_GITLAB and is_over(verdict) else verdict)
        except ApiError as error:
            if error.rule:
                raise unmeasured(error) from error
            if error.status not in {_BAD_REQUEST, _NOT_FOUND}:  # it has not started, or is gone by now
                refused = error
    if refused is not None and not verdicts:
        raise unmeasured(refused) from refused
    return read_logs(verdicts, objects, took=time.monotonic() - began)


def read_logs(verdicts: Sequence[LogVerdict], objects: Objects, *, took: float = 0.0) -> ManagerLogs:
    """The fact from the verdicts of the single logs."""
    order = list(ManagerFault)
    failing = sorted(
        (verdict for verdict in verdicts if verdict.fault), key=lambda verdict: order.index(verdict.fault or order[0])
    )
    cause = ""
    if failing:
        alike = [verdict for verdict in failing if verdict.fault is failing[0].fault]
        age = "" if alike[0].age is None else f", {describe_duration(alike[0].age)} ago"
        cause = f"{len(alike)} of {objects.wanted} managers say so{age}; {alike[0].pod}: {alike[0].line}"
    pod = (failing or list(verdicts))[0].pod if verdicts else ""
    path = f"/api/v1/namespaces/{objects.namespace}/pods/{pod}/log"
    return ManagerLogs(
        target=objects.name,
        logs=tuple(verdicts),
        fault=failing[0].fault if failing else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=kubectl("GET", path, {"container": objects.container}),
            observed="\n".join(f"{verdict.pod}: {verdict.line}" for verdict in failing or verdicts),
            took=took,
        ),
    )


def read_log(text: str, *, pod: str, now: float) -> LogVerdict:
    """What one log comes to: the last message that decides, and of several errors in a row the first.

    The first is the cause, what follows it (`PANIC: Failed to verify the runner.`) only its consequence. How old an
    error is goes by its last message.
    """
    verdict = LogVerdict(pod=pod)
    for raw in text.splitlines():
        sentence, written_at = plain(raw)
        if identity := _SYSTEM_ID.search(sentence):
            verdict = replace(verdict, system_id=identity[1])
        known = next((candidate for candidate in LOG_PATTERNS if candidate.pattern.search(sentence)), None)
        if known is None:
            continue
        age = None if written_at is None else max(0.0, now - written_at)
        message = sentence[:_LONGEST_MESSAGE]
        if known.fault is None:
            verdict = verdict.as_over() if verdict.fault is not None else verdict
            verdict = replace(verdict, line=message, age=age, accepted=True)
        elif age is not None and age > known.valid_for:
            verdict = replace(verdict, past=message, past_age=age)
        elif verdict.fault is None:
            verdict = replace(verdict, fault=known.fault, line=message, age=age, accepted=False)
        else:
            verdict = replace(verdict, age=age)
    return verdict


def plain(line: str) -> tuple[str, float | None]:
    """A line without colours, padding and the API's time stamp, and when it was written (seconds since 1970)."""
    moment: float | None = None
    if stamped := _STAMP.match(line):
        with suppress(ValueError):  # digits, but no moment
            moment = datetime.fromisoformat(f"{stamped[1]}+00:00").timestamp()
        line = line[stamped.end() :]
    return " ".join(_ANSI.sub("", line).split()), moment


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerHistory(Fact):
    """What befell the managers lately, and is over."""


def read_history(pods: ManagerPods, logs: ManagerLogs | None, *, within: float) -> ManagerHistory:
    """The fact from the managers' pods and logs; what is faulty now is theirs to report.

    Args:
        pods: the managers' pods.
        logs: their logs, if they could be read.
        within: seconds for which it is reported.
    """
    events: list[tuple[float, str]] = [
        (pod.ended, f"{pod.name} was restarted {last_end_of(pod)}; it is ready since")
        for pod in pods.pods
        if pod.ended is not None and pod.ended < within and pod.has_recovered and not pod.was_oom_killed
    ]
    events += [
        (verdict.past_age, f"{verdict.pod} logged {describe_duration(verdict.past_age)} ago: {verdict.past}")
        for verdict in (logs.logs if logs is not None else ())
        if verdict.past and verdict.fault is None and verdict.past_age is not None and verdict.past_age < within
    ]
    lines = [line for _, line in sorted(events)]
    return ManagerHistory(
        target=pods.target,
        fault=ManagerFault.RECOVERED if lines else None,
        cause=f"over by now: {listed(lines)}" if lines else "",
        evidence=Evidence(
            where="here",
            command=pods.evidence.command,
            observed="\n".join([pods.evidence.observed, *lines]),
            took=pods.evidence.took,
        ),
    )
