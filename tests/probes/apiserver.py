"""A Kubernetes API server on loopback that says what a test tells it to, and keeps what it was asked.

`Scripted` answers each request from a table. `Cluster` plays one Job with one pod on top of it, with the words of
recordings/, so that `launch` and `remove` can be tried without the lab.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api

if TYPE_CHECKING:
    import trustme

Json = dict[str, Any]
RECORDINGS = Path(__file__).parents[1] / "recordings"


def recorded(name: str) -> list[Json]:
    """The exchanges of one recording."""
    found: list[Json] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


def pull_words(name: str) -> list[str]:
    """Every sentence of a recording that tells why a pull failed."""
    said: list[str] = []
    for each in recorded(name):
        answer = each["response"]
        states = answer.get("status", {}).get("containerStatuses", []) if answer.get("kind") == "Pod" else []
        said += [container["state"]["waiting"]["message"] for container in states]
        told = [item["message"] for item in answer.get("items", []) if item["reason"] in {"Failed", "InspectFailed"}]
        said += [message for message in told if not message.startswith("Error: ")]
    return said


def daemon_log(recording: str) -> str:
    """The Docker daemon's log, which such a recording ends with."""
    return str(recorded(recording)[-1]["response"])


def quota(hard: Mapping[str, str], used: Mapping[str, str], **spec: object) -> Json:
    """A ResourceQuota named ``small``."""
    return {"metadata": {"name": "small"}, "spec": {"hard": dict(hard), **spec}, "status": {"hard": hard, "used": used}}


def status(code: int, reason: str, message: str) -> Json:
    """A Status object, as the API server refuses."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        stream: lines of a watch, each after a pause in seconds; the answer is then chunked.
        cut: how many bytes of the body are really sent before the connection ends.
        drop: close without a word.
        delay: seconds before the first byte.
    """

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Sequence[tuple[float, object]] | None = None
    cut: int | None = None
    drop: bool = False
    delay: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


Answer = Callable[[Asked], Reply]


def _content(sent: bytes) -> Any:
    """A body's JSON, or its text."""
    try:
        return json.loads(sent) if sent else None
    except ValueError:
        return sent.decode()


class Scripted:
    """The server; `url` is where it listens and `asked` what it was asked."""

    def __init__(self, answer: Answer, certificate: trustme.LeafCert | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                outer._serve(self)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that breaks off is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def count(self, method: str, path: str) -> int:
        """How often this was asked."""
        return sum(each.method == method and each.path == path for each in self.asked)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        sent = handler.rfile.read(length)
        asked = Asked(
            handler.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in handler.headers.items()},
            _content(sent),
        )
        self.asked.append(asked)
        reply = self.answer(asked)
        time.sleep(reply.delay)
        with contextlib.suppress(OSError):
            self._send(handler, reply)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.drop:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        text = isinstance(reply.body, str)
        payload = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        # the standard library adds a Date of its own to the status line
        (handler.send_response_only if "Date" in reply.headers else handler.send_response)(reply.status)
        handler.send_header("Content-Type", "text/plain" if text else "application/json")
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.stream is None:
            handler.send_header("Content-Length", str(len(payload)))
            handler.end_headers()
            handler.wfile.write(payload if reply.cut is None else payload[: reply.cut])
            handler.close_connection = handler.close_connection or reply.cut is not None
            return
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for pause, line in reply.stream:
            time.sleep(pause)
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()
        if reply.cut is None:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True


def kubeconfig(folder: Path, server: str, **cluster: object) -> Path:
    """A kubeconfig with a token for that server."""
    file = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "there",
        "contexts": [{"name": "there", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "made-up-api-token"}}],
    }
    file.write_text(json.dumps(content))
    return file


@contextlib.contextmanager
def scripted_api(folder: Path, answer: Callable[[Asked], Reply], *, deadline: float = 2.0) -> Iterator[ScriptedApi]:
    """A client of a server that answers so; it is closed at the end, and what was asked stays."""
    with Scripted(answer) as server:
        api = Api(kubeconfig(folder, server.url), None, routes=Routes(), deadline=deadline)
        try:
            yield ScriptedApi(api, server.asked)
        finally:
            api.close()


class ScriptedApi(NamedTuple):
    """A client, and what its server was asked by it."""

    api: Api
    asked: list[Asked]


class Cluster:
    """An API with the namespace ``gitlab`` in which one Job gets one pod, whose states and events a test gives.

    Args:
        states: the pod's ``status`` one after another; the last one stays.
        events: (reason, message, container) of the pod, complete from the beginning.
        logs: text by container.
        refuse_pod: the Status that a dry run of the pod meets.
        job_events: messages of FailedCreate events; then the Job gets no pod.
        quotas: the namespace's ResourceQuota objects.
        forbidden: what is answered with 403, as (method, ending of the path).
        nodes: Node objects by name.
        watch: answers a watch of pods, given its number and the events that would be told.
    """

    def __init__(
        self,
        *,
        states: Sequence[Json] = (),
        events: Sequence[tuple[str, str, str]] = (),
        logs: Mapping[str, str] | None = None,
        refuse_pod: Json | None = None,
        job_events: Sequence[str] = (),
        quotas: Sequence[Json] = (),
        forbidden: Sequence[tuple[str, str]] = (),
        nodes: Mapping[str, Json] | None = None,
        watch: Callable[[int, Sequence[Json]], Reply] | None = None,
    ) -> None:
        self.states, self.events, self.logs = list(states), list(events), dict(logs or {})
        self.refuse_pod, self.job_events, self.quotas = refuse_pod, list(job_events), list(quotas)
        self.forbidden, self.nodes, self._watch = list(forbidden), dict(nodes or {}), watch
        self.job: Json | None = None
        self.job_status: Json = {}
        self.pods: dict[str, Json] = {}
        self.linger = 0  # how often a pod is still listed after its Job was deleted
        self.ending = False  # whether it is being deleted
        self.watches = 0

    # -- the table --

    def __call__(self, asked: Asked) -> Reply:
        for method, ending in self.forbidden:
            if asked.method == method and asked.path.endswith(ending):
                what = ending.rpartition("/")[2]
                said = (
                    f'{what} is forbidden: User "ci" cannot do resource "{what}" in API group "" in the namespace "x"'
                )
                return Reply(status(403, "Forbidden", said), 403)
        path = asked.path.removeprefix("/api/v1").removeprefix("/apis/batch/v1").removeprefix("/namespaces/gitlab")
        _, kind, *rest = path.split("/")
        known = getattr(self, f"_{asked.method.lower()}_{kind}", None)
        if known is None:
            return Reply(status(404, "NotFound", f"no {asked.path}"), 404)
        reply: Reply = known(asked, rest)
        return reply

    def _get_resourcequotas(self, _: Asked, __: list[str]) -> Reply:
        return _listed(self.quotas)

    def _post_pods(self, asked: Asked, _: list[str]) -> Reply:
        assert asked.query["dryRun"] == "All", "only the Job controller makes pods"
        if self.refuse_pod:
            return Reply(self.refuse_pod, int(self.refuse_pod["code"]))
        warning = '299 - "would violate PodSecurity \\"restricted:latest\\": privileged"'
        return Reply(asked.body, 201, {"Warning": warning})

    def _post_jobs(self, asked: Asked, _: list[str]) -> Reply:
        self.job = asked.body
        if not self.job_events:
            self._make_pod(self.states[0] if self.states else {"phase": "Pending"})
        return Reply(asked.body, 201)

    def _make_pod(self, state: Json) -> None:
        assert self.job
        template = self.job["spec"]["template"]
        name = f"{self.job['metadata']['name']}-x7k2p"
        labels = {**template["metadata"]["labels"], "job-name": self.job["metadata"]["name"]}
        meta = {"name": name, "namespace": "gitlab", "uid": "1", "labels": labels, "creationTimestamp": "2026-01-01"}
        self.pods[name] = {"metadata": meta, "spec": template["spec"], "status": state}

    def _get_jobs(self, _: Asked, rest: list[str]) -> Reply:
        if rest:
            return (
                Reply({**self.job, "status": self.job_status})
                if self.job
                else Reply(status(404, "NotFound", "no such job"), 404)
            )
        return _listed([self.job] if self.job else [])

    def _delete_jobs(self, asked: Asked, _: list[str]) -> Reply:
        assert asked.body["propagationPolicy"] == "Background", "or the pods would be orphaned"
        self.job, self.ending = None, True
        return Reply({"kind": "Status", "status": "Success"})

    def _delete_pods(self, _: Asked, rest: list[str]) -> Reply:
        self.pods.pop(rest[0], None)
        return Reply({"kind": "Status", "status": "Success"})

    def _get_pods(self, asked: Asked, rest: list[str]) -> Reply:
        if rest[1:] == ["log"]:
            text = self.logs.get(asked.query["container"])
            return Reply(text) if text is not None else Reply(status(400, "BadRequest", "waiting to start"), 400)
        if "watch" in asked.query:
            self.watches += 1
            seen = [] if self.ending else list(self._later())
            if self._watch:
                return self._watch(self.watches, seen)
            return Reply(stream=[(0.02, each) for each in seen] or [(0.1, b"")])  # a server may end a watch at any time
        if self.ending:
            self.linger -= 1
            if self.linger < 0:
                self.pods.clear()
        wanted = dict(part.split("=") for part in asked.query.get("labelSelector", "").split(",") if part)
        return _listed([pod for pod in self.pods.values() if wanted.items() <= pod["metadata"]["labels"].items()])

    def _later(self) -> Iterator[Json]:
        """The pod's next states, as a watch tells them."""
        for pod in self.pods.values():
            for state in self.states[1:]:
                pod["status"] = state
                yield {"type": "MODIFIED", "object": json.loads(json.dumps(pod))}
        self.states = self.states[-1:]

    def _get_events(self, asked: Asked, _: list[str]) -> Reply:
        name = asked.query["fieldSelector"].partition("=")[2]
        found = [_event(number, "Pod", name, *event) for number, event in enumerate(self.events) if name in self.pods]
        if self.job and name == self.job["metadata"]["name"]:
            found = [
                _event(100 + number, "Job", name, "FailedCreate", said, "")
                for number, said in enumerate(self.job_events)
            ]
        return _listed(found)

    def _get_nodes(self, _: Asked, rest: list[str]) -> Reply:
        node = self.nodes.get(rest[0])
        return Reply(node) if node is not None else Reply(status(404, "NotFound", f'nodes "{rest[0]}" not found'), 404)


def _event(number: int, kind: str, name: str, reason: str, message: str, container: str) -> Json:
    about = {"kind": kind, "name": name}
    if container:
        about["fieldPath"] = f"spec.containers{{{container}}}"
    warning = reason in {"Failed", "FailedCreate", "FailedScheduling", "FailedMount", "InspectFailed"}
    return {
        "metadata": {"uid": f"{kind}-{number}"},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "lastTimestamp": f"2026-01-01T00:00:{number:02}Z",
    }


def _listed(items: Sequence[Json]) -> Reply:
    return Reply({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": list(items)})
