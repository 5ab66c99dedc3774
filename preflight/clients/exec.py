"""Commands in a running container, through the API server: exec and attach, the way that every job goes.

Both are one WebSocket with the subprotocol ``v4.channel.k8s.io``, which all API servers from 1.25 to the newest speak:
each binary message begins with a byte that says which stream it belongs to, and the end comes as a Status object on
the stream of errors. v5 adds only the closing of standard input, which nothing here needs.

What goes wrong on the way is an `ApiError`, with a `StreamFault` where the API server itself is not to blame; that a
command ran and failed is no error but its exit status. https://kubernetes.io/docs/reference/using-api/websockets/
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from preflight.clients.connect import Cutoff
from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubectl import kubectl
from preflight.documents import load_json
from preflight.evidence import Evidence
from preflight.faults import PathFault, StreamFault
from preflight.shell_command import pipe, program, syntax

if TYPE_CHECKING:
    import websocket

Json = dict[str, Any]

PROTOCOL = "v4.channel.k8s.io"
LARGEST = 8 * 2**20  # bytes of output that are kept
MOST = 64 * 2**20  # bytes that are received
_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_NONZERO = "NonZeroExitCode"
_EXIT = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command in a container ended.

    Attributes:
        exit: its exit status, as a shell reports it.
        stdout: what it printed; bytes that are no UTF-8 are replaced.
        stderr: its error output.
        where: the vantage, such as ``pod gitlab/gitlab-runner-x``.
        command: the kubectl command that does the same.
        took: seconds, the connection included.
    """

    exit: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False, default="")
    where: str = ""
    command: str = ""
    took: float = 0.0

    @property
    def evidence(self) -> Evidence:
        """The command and what it printed."""
        output = "\n".join(filter(None, (self.stdout, self.stderr, f"exit status {self.exit}" if self.exit else "")))
        return Evidence(where=self.where, command=self.command, observed=output, took=self.took)


def exec_in_pod(
    api: Api, namespace: str, pod: str, container: str, command: Sequence[str], *, deadline: float
) -> CommandResult:
    """Run a command in a container, without standard input and without a terminal.

    Args:
        api: the cluster's API; the command gets a connection of its own.
        namespace: the pod's.
        pod: its name.
        container: one that runs.
        command: program and arguments; no shell is put in between.
        deadline: seconds for all of it. What runs in the container then is not ended: its time limit is the caller's.

    Raises:
        ApiError: it could not be run, or its end was not received. The fault says how far it got.
    """
    path = f"/api/v1/namespaces/{path_segment(namespace)}/pods/{path_segment(pod)}/exec"
    query = {"container": container, "command": list(command), "stdout": "true", "stderr": "true"}
    channel = _Channel(api, path, query, deadline)
    status = channel.exchange()
    if status is None:
        raise channel.broken(StreamFault.CUT, f"the connection to {pod} ended before the command in {container} had")
    return CommandResult(
        exit=channel.exit_status(status),
        stdout=channel.text(_STDOUT),
        stderr=channel.text(_STDERR),
        where=f"pod {namespace}/{pod}",
        command=channel.command,
        took=channel.took,
    )


def attach_to_pod(api: Api, namespace: str, pod: str, container: str, *, text: str, deadline: float) -> CommandResult:
    """Send text to a container's standard input and read what it prints until it ends, as the runner starts a job.

    An attached container's exit status is not sent by this protocol: 0 stands for a proper end.

    Args:
        api: the cluster's API.
        namespace: the pod's.
        pod: its name.
        container: one that runs, with ``stdin: true``.
        text: what is sent; it must bring the container's program to its end.
        deadline: seconds for all of it.

    Raises:
        ApiError: the container could not be attached to, or its end was not received.
    """
    path = f"/api/v1/namespaces/{path_segment(namespace)}/pods/{path_segment(pod)}/attach"
    query = {"container": container, "stdin": "true", "stdout": "true", "stderr": "true"}
    channel = _Channel(api, path, query, deadline)
    status = channel.exchange(text.encode())
    return CommandResult(
        exit=channel.exit_status(status) if status is not None else 0,
        stdout=channel.text(_STDOUT),
        stderr=channel.text(_STDERR),
        where=f"pod {namespace}/{pod}",
        command=pipe(program("printf", "%s", syntax("…")), channel.command),
        took=channel.took,
    )


class _Bounded:
    """A socket from which no more comes than anything needs: a message may say of itself that it is endless."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._left = connection, MOST

    def recv(self, size: int) -> bytes:
        """What is there; an OSError once it is too much."""
        piece: bytes = self._connection.recv(size)
        self._left -= len(piece)
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Channel:
    """One WebSocket, from the upgrade to the end."""

    def __init__(self, api: Api, path: str, query: dict[str, Any], deadline: float) -> None:
        self.api, self.path, self.query, self.deadline = api, path, query, deadline
        self.command = kubectl("GET", path, query)
        self.began = time.monotonic()
        self.took = 0.0
        self.streams: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}

    @property
    def left(self) -> float:
        return self.began + self.deadline - time.monotonic()

    def exchange(self, stdin: bytes = b"") -> Json | None:
        """Send `stdin` and receive everything; the Status at the end, or None if the other side hung up without one."""
        opened = self.api.websocket(self.path, protocols=(PROTOCOL,), deadline=self.deadline, **self.query)
        try:
            if stdin:
                opened.send_binary(bytes([_STDIN]) + stdin)
            self._receive(opened)
        finally:
            self.took = time.monotonic() - self.began
            with suppress(Exception):  # everything has been received
                opened.close(timeout=0)
        content = bytes(self.streams[_STATUS])
        if not content:
            return None
        try:
            status = load_json(content)
        except ValueError:
            status = {"status": "Failure", "message": content.decode(errors="replace").strip()}
        return status if isinstance(status, dict) else {"status": "Failure", "message": str(status)}

    def _receive(self, opened: websocket.WebSocket) -> None:
        """Take in what comes until the end; however it drips, and however long a message says that it is."""
        connection: Any = opened.sock
        with Cutoff(max(self.left, 0.0)) as cutoff:
            cutoff.guard(connection)
            opened.sock = cast("Any", _Bounded(connection))
            self._receive_messages(opened)

    def _receive_messages(self, opened: websocket.WebSocket) -> None:
        import websocket

        while True:
            if self.left <= 0:
                raise self._slow()
            opened.settimeout(self.left)
            try:
                kind, message = opened.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                raise self._slow() from None
            except (websocket.WebSocketException, OSError, ValueError):
                if self.left <= 0:
                    raise self._slow() from None
                return  # hung up; whether that is a proper end, the Status says
            if kind == websocket.ABNF.OPCODE_CLOSE:
                return
            if kind not in {websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT} or not message:
                continue
            stream = self.streams.get(message[0])
            if stream is not None and len(stream) < LARGEST:
                stream += message[1:]
            if message[0] == _STATUS and len(message) > 1:
                return  # the last message; an empty one only opens a stream

    def text(self, stream: int) -> str:
        """What came over a stream."""
        return bytes(self.streams[stream]).decode(errors="replace")

    def exit_status(self, status: Json) -> int:
        """The command's exit status; an error if there was no command that could have one."""
        if status.get("status") == "Success":
            return 0
        message = str(status.get("message", ""))
        details = status.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        if status.get("reason") == _NONZERO and isinstance(causes, list):
            for cause in causes:
                if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
                    number = _EXIT.fullmatch(str(cause.get("message", "")))
                    if number is not None:
                        return int(number[0])
        raise self.broken(StreamFault.NOT_STARTED, message, reason=str(status.get("reason", "")))

    def _slow(self) -> ApiError:
        printed = self.text(_STDOUT)[-200:]
        after = f"; it had printed {printed!r}" if printed else ""
        return self.broken(StreamFault.SLOW, f"no end within {self.deadline:g} s{after}")

    def broken(self, fault: StreamFault | PathFault, message: str, *, reason: str = "") -> ApiError:
        """What went wrong, with the command that shows the same."""
        return ApiError(
            fault, status=None, reason=reason, message=message, command=self.command, took=time.monotonic() - self.began
        )
