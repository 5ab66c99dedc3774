"""exec and attach: a WebSocket between whoever asks and a container's process, in the API server's own channels.

Words and statuses are those of Kubernetes v1.28 with containerd, as a real cluster sent them. Commands really run
(`lab.shell`), where the pod is. https://kubernetes.io/docs/reference/using-api/websockets/
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
        said = "you must specify at least 1 command for the container"
        raise refusals.bad_request(said)
    await kubelets.dialed(pod)
    name = kubelets.reached(pod, request.query.get("container", ""))
    if not running(pod, name):
        return _plain(f'container not found ("{name}")')

    async def command(say: Callable[[int, bytes], None], _heard: asyncio.Queue[bytes]) -> Raw:
        try:
            ran = await kubelets.execute(
                pod,
                name,
                argv,
                on_output=lambda data: say(_STDOUT, data),
                on_error=lambda data: say(_STDERR, data),
                limit=_LONGEST,
            )
        except FileNotFoundError:
            return _not_started(pod, argv)
        return _SUCCESS if ran.exit == 0 else _failed(argv, ran.exit)

    return await _talk(request, command)


async def attach(request: web.Request, kubelets: Kubelets, pod: Raw) -> web.StreamResponse:
    """``GET …/pods/NAME/attach``: speak with the process that a container was started with, until it ends."""
    refuse_without_upgrade(request, kubelets)
    await kubelets.dialed(pod)
    name = kubelets.reached(pod, request.query.get("container", ""))
    log = kubelets.log(pod, name)
    if log is None or not running(pod, name):
        metadata = pod["metadata"]
        return _plain(f"container {name} not found in pod {metadata['name']}_{metadata['namespace']}")
    lines = log.follow(tail=0)

    async def process(say: Callable[[int, bytes], None], heard: asyncio.Queue[bytes]) -> Raw:
        async def listen() -> None:
            async for line in lines:
                say(_STDOUT, line)

        listening = asyncio.ensure_future(listen())
        try:
            while not listening.done():
                hearing = asyncio.ensure_future(heard.get())
                await asyncio.wait((listening, hearing), return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    kubelets.type(pod, name, hearing.result())
                else:
                    hearing.cancel()
        finally:
            listening.cancel()
            kubelets.typed(pod, name)
        return _SUCCESS

    return await _talk(request, process)


def running(pod: Raw, container: str) -> bool:
    """Whether a container runs now, as the pod's status has it."""
    statuses = pod["status"].get("containerStatuses", [])
    return any(one["name"] == container and "running" in one["state"] for one in statuses)


def refuse_without_upgrade(request: web.Request, kubelets: Kubelets) -> None:
    """Raise what the API server says where no upgrade is asked for, or a balancer before it has dropped the request."""
    asked = request.headers.get("Upgrade", "").lower() == "websocket"
    if not asked or not kubelets.world.api_upgrades:
        said = "Upgrade request required"
        raise refusals.bad_request(said)


async def _talk(
    request: web.Request, body: Callable[[Callable[[int, bytes], None], asyncio.Queue[bytes]], Coroutine[Any, Any, Raw]]
) -> web.WebSocketResponse:
    """Switch protocols, let `body` speak and hear, and send the Status that it returns."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), timeout=1.0)
    await socket.prepare(request)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    spoken: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def hear() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == bytes([_STDIN]):
                heard.put_nowait(message.data[1:])

    async def speak() -> None:
        while (data := await spoken.get()) is not None:
            await socket.send_bytes(data)

    async def act() -> None:
        for channel in (_STDOUT, _STDERR, _STATUS):  # each stream is opened with an empty message
            spoken.put_nowait(bytes([channel]))
        status = await body(lambda channel, data: spoken.put_nowait(bytes([channel]) + data), heard)
        spoken.put_nowait(bytes([_STATUS]) + json.dumps(status, separators=(",", ":")).encode())
        spoken.put_nowait(None)

    hearing, speaking, acting = (asyncio.ensure_future(one()) for one in (hear, speak, act))
    try:
        await asyncio.wait((hearing, speaking), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (acting, speaking):
            if not (task is acting and task.done()):
                task.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(acting, speaking, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await socket.close()
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
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
    said = (
        f'error executing command in container: failed to exec in container: failed to start exec "{identity}": OCI '
        f'runtime exec failed: exec failed: unable to start container process: exec: "{argv[0]}": {why}: unknown'
    )
    status: Raw = {"metadata": {}, "status": "Failure", "message": f"Internal error occurred: {said}"}
    return status | {"reason": "InternalError", "details": {"causes": [{"message": said}]}, "code": 500}


def _plain(words: str) -> web.Response:
    """What the kubelet itself says, which the API server passes on as it is."""
    return web.Response(text=words, status=500, content_type="text/plain")
