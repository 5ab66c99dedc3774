"""exec and attach: a WebSocket between a client and a container's process, in the API server's channels.

Messages and statuses were recorded from Kubernetes v1.28 with containerd. Commands run for real (`lab.shell`), at the
pod's vantage point. https://kubernetes.io/docs/reference/using-api/websockets/
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from lab.kubernetes import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from lab.cluster.state import Raw
    from lab.kubernetes.kubelet import Kubelets

PROTOCOL = "v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_SUCCESS: Raw = {"metadata": {}, "status": "Success"}
_LONGEST = 600.0  # seconds that a command may take


async def execute(request: web.Request, kubelets: Kubelets, pod: Raw) -> web.StreamResponse:
    """``GET …/pods/NAME/exec``: run a command in a container."""
    refuse_without_upgrade(request, kubelets)
    argv = request.query.getall("command", [])
    if not argv:
        message = "you must specify at least 1 command for the container"
        raise refusals.bad_request(message)
    await kubelets.wait_for_connection(pod)
    name = kubelets.resolve_container(pod, request.query.get("container", ""))
    if not is_running(pod, name):
        return _plain_error(f'container not found ("{name}")')

    async def run_command(send: Callable[[int, bytes], None], _received: asyncio.Queue[bytes]) -> Raw:
        try:
            result = await kubelets.execute(
                pod,
                name,
                argv,
                on_output=lambda data: send(_STDOUT, data),
                on_error=lambda data: send(_STDERR, data),
                limit=_LONGEST,
            )
        except FileNotFoundError:
            return _not_started(pod, argv)
        return _SUCCESS if result.exit == 0 else _failed(argv, result.exit)

    return await _exchange(request, run_command, idle=kubelets.world.stream_idle_timeout)


async def attach(request: web.Request, kubelets: Kubelets, pod: Raw) -> web.StreamResponse:
    """``GET …/pods/NAME/attach``: connect to a container's main process, until it ends."""
    refuse_without_upgrade(request, kubelets)
    await kubelets.wait_for_connection(pod)
    name = kubelets.resolve_container(pod, request.query.get("container", ""))
    log = kubelets.log(pod, name)
    if log is None or not is_running(pod, name):
        metadata = pod["metadata"]
        return _plain_error(f"container {name} not found in pod {metadata['name']}_{metadata['namespace']}")
    lines = log.follow(tail=0)

    async def pass_through(send: Callable[[int, bytes], None], received: asyncio.Queue[bytes]) -> Raw:
        async def forward_output() -> None:
            async for line in lines:
                send(_STDOUT, line)

        forwarding = asyncio.ensure_future(forward_output())
        try:
            while not forwarding.done():
                receiving = asyncio.ensure_future(received.get())
                await asyncio.wait((forwarding, receiving), return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    kubelets.write_stdin(pod, name, receiving.result())
                else:
                    receiving.cancel()
        finally:
            forwarding.cancel()
            kubelets.detach_stdin(pod, name)
        return _SUCCESS

    return await _exchange(request, pass_through, idle=kubelets.world.stream_idle_timeout)


def is_running(pod: Raw, container: str) -> bool:
    """Whether a container is running, by the pod's status."""
    statuses = pod["status"].get("containerStatuses", [])
    return any(status["name"] == container and "running" in status["state"] for status in statuses)


def refuse_without_upgrade(request: web.Request, kubelets: Kubelets) -> None:
    """Refuse a request without an upgrade, or whose upgrade a proxy in front of the API server dropped."""
    requested = request.headers.get("Upgrade", "").lower() == "websocket"
    if not requested or not kubelets.world.api_upgrades:
        message = "Upgrade request required"
        raise refusals.bad_request(message)


async def _exchange(
    request: web.Request,
    body: Callable[[Callable[[int, bytes], None], asyncio.Queue[bytes]], Coroutine[Any, Any, Raw]],
    *,
    idle: float | None,
) -> web.WebSocketResponse:
    """Switch protocols, run `body`, and send the Status that it returns; cut after `idle` seconds without output."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), timeout=1.0)
    await socket.prepare(request)
    received: asyncio.Queue[bytes] = asyncio.Queue()
    outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == bytes([_STDIN]):
                received.put_nowait(message.data[1:])

    async def transmit() -> None:
        with contextlib.suppress(TimeoutError):
            while (data := await asyncio.wait_for(outgoing.get(), idle)) is not None:
                await socket.send_bytes(data)
            return
        if request.transport is not None:
            request.transport.abort()

    async def run_body() -> None:
        for channel in (_STDOUT, _STDERR, _STATUS):  # each stream is opened with an empty message
            outgoing.put_nowait(bytes([channel]))
        status = await body(lambda channel, data: outgoing.put_nowait(bytes([channel]) + data), received)
        outgoing.put_nowait(bytes([_STATUS]) + json.dumps(status, separators=(",", ":")).encode())
        outgoing.put_nowait(None)

    receiving, transmitting, running = (asyncio.ensure_future(start()) for start in (receive, transmit, run_body))
    try:
        await asyncio.wait((receiving, transmitting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, transmitting):
            if not (task is running and task.done()):
                task.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(running, transmitting, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await socket.close()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return socket


def _failed(argv: Sequence[str], code: int) -> Raw:
    message = (
        f"command terminated with non-zero exit code: error executing command [{' '.join(argv)}], exit code {code}"
    )
    details = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode", "details": details}


def _not_started(pod: Raw, argv: Sequence[str]) -> Raw:
    identity = hashlib.sha256(f"{pod['metadata']['uid']}{argv}".encode()).hexdigest()
    why = "executable file not found in $PATH" if "/" not in argv[0] else f"stat {argv[0]}: no such file or directory"
    error = (
        f'error executing command in container: failed to exec in container: failed to start exec "{identity}": OCI '
        f'runtime exec failed: exec failed: unable to start container process: exec: "{argv[0]}": {why}: unknown'
    )
    status: Raw = {"metadata": {}, "status": "Failure", "message": f"Internal error occurred: {error}"}
    return status | {"reason": "InternalError", "details": {"causes": [{"message": error}]}, "code": 500}


def _plain_error(message: str) -> web.Response:
    """The kubelet's own error, which the API server passes on unchanged."""
    return web.Response(text=message, status=500, content_type="text/plain")
