"""A live cluster of the lab on loopback, and a client that asks it as curl would, for tests of its answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from lab import kubernetes
from lab.kubernetes.guide import ADMIN_USER
from lab.world import World, guide_world

Json = dict[str, Any]
RECORDINGS = Path(__file__).parents[1] / "recordings"
PODS = "/api/v1/namespaces/gitlab/pods"
JOBS = "/apis/batch/v1/namespaces/gitlab/jobs"
ALPINE = "registry.example.com/library/alpine:latest"
ADMIN_TOKEN = "made-up-token-of-an-admin"


@dataclass
class Answer:
    """What the API answered; `body` is an object, or text where it is none."""

    status: int
    body: Any
    content_type: str | None
    warnings: list[str] = field(default_factory=list)


class Client:
    """Asks the API of one cluster, as its administrator unless another token is given."""

    def __init__(self, world: World, http: TestClient[Any, Any]) -> None:
        self.world, self.cluster, self._http = world, world.cluster, http
        self.token: str | None = ADMIN_TOKEN

    async def call(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Answer:
        headers = {"Content-Type": content_type}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body)
        async with self._http.request(method, path, data=data, headers=headers) as response:
            text, kind = await response.text(), response.headers.get("Content-Type")
            parsed = json.loads(text) if kind == "application/json" and "\n" not in text.strip() else text
            return Answer(response.status, parsed, kind, response.headers.getall("Warning", []))

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).body

    async def items(self, path: str) -> list[Json]:
        objects: list[Json] = (await self.get(path))["items"]
        return objects

    async def events(self, name: str, namespace: str = "gitlab") -> list[Json]:
        return await self.items(f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}")

    async def until(self, path: str, test: Callable[[Any], bool], seconds: float = 30.0) -> Any:
        """Ask until the answer passes a test; the last answer."""
        end = time.monotonic() + seconds
        while True:
            answer = await self.get(path)
            if test(answer) or time.monotonic() > end:
                assert test(answer), f"still after {seconds:g} s: {json.dumps(answer)[:3000]}"
                return answer
            await asyncio.sleep(0.01)

    async def watch(self, path: str, *, seconds: int = 1) -> list[Json]:
        """All that a watch tells within some seconds."""
        answer = await self.call("GET", f"{path}{'&' if '?' in path else '?'}watch=1&timeoutSeconds={seconds}")
        assert answer.status == 200
        lines = answer.body.splitlines() if isinstance(answer.body, str) else [json.dumps(answer.body)]
        return [json.loads(line) for line in lines]

    async def follow(self, path: str) -> AsyncIterator[bytes]:
        """A response, line by line as it comes."""
        async with self._http.get(path, headers={"Authorization": f"Bearer {self.token}"}) as response:
            async for line in response.content:
                yield line


@contextlib.asynccontextmanager
async def living(change: Callable[[World], object] | None = None) -> AsyncIterator[Client]:
    """The guide's cluster, changed before it starts, and alive."""
    world = guide_world()
    kubernetes.populate(world)
    world.cluster.tokens[ADMIN_TOKEN] = ADMIN_USER
    if change is not None:
        change(world)
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(str(context)))
    async with kubernetes.running(world) as app, TestClient(TestServer(app)) as http:
        yield Client(world, http)
    assert not errors, errors


def live(
    change: Callable[[World], object] | None = None,
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Give an async test a living cluster as its first argument, `k`; other arguments are pytest's."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def with_cluster(*args: Any, **kwargs: Any) -> None:
            async with asyncio.timeout(20), living(change) as client:
                await test(client, *args, **kwargs)

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            asyncio.run(with_cluster(*args, **kwargs))

        import inspect

        signature = inspect.signature(test)
        run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
        return run

    return decorate


def pod(name: str, *containers: Json, **spec: Any) -> Json:
    """A pod's manifest; one container that does nothing, if none is given."""
    specs = list(containers) or [{"name": "c", "image": ALPINE, "command": ["true"]}]
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "gitlab"}}
    return head | {"spec": {"restartPolicy": "Never", "containers": specs} | spec}


def job(name: str, *containers: Json, deadline: int = 30, ttl: int = 60, backoff: int = 0, **spec: Any) -> Json:
    """A Job's manifest around such a pod."""
    template = {"metadata": {"labels": {"probe": "1"}}, "spec": pod(name, *containers, **spec)["spec"]}
    limits = {"ttlSecondsAfterFinished": ttl, "activeDeadlineSeconds": deadline, "backoffLimit": backoff}
    head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "gitlab"}}
    return head | {"spec": limits | {"template": template}}


def sh(script: str, name: str = "c") -> Json:
    """A container that runs a script."""
    return {"name": name, "image": ALPINE, "command": ["sh", "-c", script]}


def over(pod_object: Any) -> bool:
    """Whether a pod has ended."""
    return pod_object.get("status", {}).get("phase") in ("Succeeded", "Failed")


def recorded(name: str) -> list[Json]:
    """The exchanges of a recording."""
    exchanges: list[Json] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return exchanges
