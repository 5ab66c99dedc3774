"""An image pulled by a node's own runtime, over a real SSH connection, through stand-ins for its tools."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import asyncssh
import pytest

from preflight.clients.connect import Routes
from preflight.clients.ssh import AuthGate, Session, open_session
from preflight.clients.ssh_login import Login
from preflight.evidence import NotApplicable, Unmeasured
from preflight.faults import PodFault
from preflight.probes.node_pulls import Pull, Runtime, pull_on_node
from preflight.probes.registry import Credentials
from tests.probes.sshd import Handler, Process, Sshd, key, shell, ssh_server

NODE, ADDRESS = "k8s-worker-1", "192.168.1.101"
IMAGE = "registry.example.com/library/alpine:latest"
ROBOT = Credentials("robot", "made-up-pull-password")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[asyncssh.SSHKey, Path]:
    file = tmp_path_factory.mktemp("keys") / "id_ed25519"
    return key(file), file


@dataclass
class Node:
    """A node that can be logged in to, with tools of ours before its own on PATH."""

    tools: Path
    login: Login
    authorized: asyncssh.SSHKey
    served: list[Sshd] = field(default_factory=list)

    def tool(self, name: str, script: str) -> None:
        file = self.tools / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    @contextmanager
    def session(self, handler: Handler | None = None) -> Iterator[Session]:
        async def with_tools(process: Process) -> None:
            command = f'PATH="{self.tools}:/usr/bin:/bin"; export PATH; {process.command}'
            await shell(process, command)

        with ssh_server(self.authorized, handler=handler or with_tools) as server:
            self.served.append(server)
            assert self.login.known_hosts is not None
            server.known_hosts(self.login.known_hosts, ADDRESS)
            routes = Routes({f"{ADDRESS}:22": f"127.0.0.1:{server.port}"})
            with open_session(NODE, ADDRESS, self.login, routes=routes, deadline=5, gate=AuthGate()) as opened:
                yield opened

    def pull(
        self, *, runtime: Runtime = "containerd", credentials: Credentials | None = None, deadline: float = 5
    ) -> Pull:
        with self.session() as opened:
            return pull_on_node(opened, IMAGE, runtime=runtime, credentials=credentials, deadline=deadline)


@pytest.fixture
def node(ours: tuple[asyncssh.SSHKey, Path], tmp_path: Path) -> Node:
    (tmp_path / "tools").mkdir()
    made = Node(
        tools=tmp_path / "tools",
        login=Login(user="root", key=ours[1], known_hosts=tmp_path / "known_hosts"),
        authorized=ours[0],
    )
    made.tool("id", "echo 0")
    return made


# -- crictl

PULLED = (
    'case "$*" in *inspecti*) exit {present} ;; *--help*) echo "[$CRICTL_AUTH]"; echo CRICTL_AUTH ;; *) {pull} ;; esac'
)
UP_TO_DATE = "echo 'Image is up to date for sha256:1d34ffeaf190'"


def fatal(words: str) -> str:
    """What crictl prints on standard error when a pull fails, and how it ends."""
    line = f'time="2026-01-01T00:00:00Z" level=fatal msg={json.dumps(f"pulling image: {words}")}'
    return f"cat >&2 <<'END'\n{line}\nEND\nexit 1"


@pytest.mark.parametrize("runtime", ["containerd", "cri-o"])
def test_crictl_pulls_as_the_kubelet_does(runtime: Runtime, node: Node) -> None:
    node.tool("crictl", PULLED.format(present=1, pull=f'echo "$*" > {node.tools}/asked; sleep 0.2; {UP_TO_DATE}'))
    pull = node.pull(runtime=runtime)
    assert pull.fault is None
    assert (pull.image, pull.runtime, pull.fresh) == (IMAGE, runtime, True)
    assert pull.seconds is not None
    assert 0.2 < pull.seconds < 3
    assert (node.tools / "asked").read_text().endswith(f"pull {IMAGE}\n")
    assert pull.where == "node k8s-worker-1"
    assert pull.evidence.command.endswith(f"root@{ADDRESS} 'crictl pull {IMAGE}'")
    assert pull.evidence.observed == "Image is up to date for sha256:1d34ffeaf190"


def test_an_image_that_was_there_is_not_fresh(node: Node) -> None:
    node.tool("crictl", PULLED.format(present=0, pull=UP_TO_DATE))
    assert node.pull().fresh is False


FAILED = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
HEAD = 'failed to do request: Head "https://registry.example.com/v2/library/alpine/manifests/latest": dial tcp'
FAILURES = {
    PodFault.PULL_NOT_FOUND: f"rpc error: code = NotFound desc = {FAILED}{IMAGE}: not found",
    PodFault.PULL_UNRESOLVED: f"{FAILED}{HEAD}: lookup registry.example.com: no such host",
    PodFault.PULL_REFUSED: f"{FAILED}{HEAD} 192.0.2.10:443: connect: connection refused",
}


@pytest.mark.parametrize("fault", FAILURES, ids=str)
def test_the_runtimes_own_words_are_classified(fault: PodFault, node: Node) -> None:
    node.tool("crictl", PULLED.format(present=1, pull=fatal(FAILURES[fault])))
    pull = node.pull()
    assert pull.fault is fault
    assert pull.cause.startswith(f"k8s-worker-1 could not pull {IMAGE}: ")
    assert "level=fatal" not in pull.cause
    assert (pull.seconds, pull.fresh) == (None, None)


def test_a_pull_that_takes_too_long_is_a_timeout(node: Node) -> None:
    node.tool("crictl", PULLED.format(present=1, pull="exec sleep 20"))
    began = time.monotonic()
    pull = node.pull(deadline=1.5)
    assert pull.fault is PodFault.PULL_TIMEOUT
    assert "1.5 s" in pull.cause
    assert time.monotonic() - began < 4


def test_a_pull_secret_is_on_no_command_line(node: Node) -> None:
    node.tool(
        "crictl",
        PULLED.format(
            present=1, pull=f'echo "$*" > {node.tools}/asked; echo "$CRICTL_AUTH" > {node.tools}/auth; {UP_TO_DATE}'
        ),
    )
    pull = node.pull(credentials=ROBOT)
    assert pull.fault is None
    assert base64.b64decode((node.tools / "auth").read_text()) == b"robot:made-up-pull-password"
    for text in (
        (node.tools / "asked").read_text(),
        *node.served[0].commands,
        pull.evidence.command,
        pull.evidence.observed,
    ):
        assert ROBOT.basic not in text
        assert ROBOT.password not in text


def test_a_crictl_that_would_show_the_secret_is_not_used(node: Node) -> None:
    node.tool("crictl", f'case "$*" in *--help*) echo "--auth value" ;; *) touch {node.tools}/pulled ;; esac')
    with pytest.raises(NotApplicable, match=r"older than 1\.24"):
        node.pull(credentials=ROBOT)
    assert not (node.tools / "pulled").exists()
    assert node.pull().fault is None


def test_a_node_without_crictl_is_not_applicable(node: Node) -> None:
    with pytest.raises(NotApplicable, match="there is no crictl on k8s-worker-1"):
        node.pull()


def test_a_user_without_sudo_is_not_applicable(node: Node) -> None:
    node.tool("id", "echo 1000")
    node.tool("crictl", PULLED.format(present=1, pull=UP_TO_DATE))
    node.tool("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    with pytest.raises(NotApplicable, match="root may not use crictl on k8s-worker-1: it is not root"):
        node.pull()


@pytest.mark.parametrize("credentials", [None, ROBOT], ids=["open", "secret"])
def test_a_user_with_sudo_pulls(credentials: Credentials | None, node: Node) -> None:
    node.tool("id", "echo 1000")
    node.tool("crictl", PULLED.format(present=1, pull=f'echo "$CRICTL_AUTH" > {node.tools}/auth; {UP_TO_DATE}'))
    node.tool(
        "sudo",
        f'echo "$*" >> {node.tools}/sudo.log; [ "$1" = -n ] || exit 1; shift\n'
        'case "$1" in --preserve-env=CRICTL_AUTH) shift ;; *) unset CRICTL_AUTH ;; esac; exec "$@"',
    )
    assert node.pull(credentials=credentials).fault is None
    assert (node.tools / "auth").read_text().strip() == (credentials.basic if credentials else "")
    assert ROBOT.basic not in (node.tools / "sudo.log").read_text()


def test_an_image_name_is_no_shell_command(node: Node) -> None:
    with node.session() as opened, pytest.raises(ValueError, match="no image reference"):
        pull_on_node(opened, "registry.example.com/a;touch x", runtime="containerd", credentials=None, deadline=5)


# -- Docker


@dataclass
class Dockerd:
    """The daemon's HTTP API as far as a pull needs it (docker API 1.43, /version and /images/create)."""

    lines: Sequence[dict[str, object]] = ()
    status: int = 200
    every: float = 0
    port: int = 0
    asked: list[tuple[str, dict[str, list[str]], str]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Dockerd]:
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                daemon.asked.append((parts.path, parse_qs(parts.query), self.headers.get("X-Registry-Auth", "")))
                self.send_response(daemon.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for line in [*(json.dumps(one).encode() + b"\r\n" for one in daemon.lines), b""]:
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    time.sleep(daemon.every)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_port
            thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join(2)


def dial_stdio(daemon: Dockerd) -> Handler:
    """A login where ``docker`` talks to `daemon`; all else is a real shell."""

    async def handler(process: Process) -> None:
        command = process.command or ""
        if command == "docker system dial-stdio":
            await _join(process, daemon.port)
        elif command.startswith("docker version"):
            process.stdout.write(b"You have mail.\n1.43\n")
            process.exit(0)
        else:
            await shell(process)

    return handler


async def _join(process: Process, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def there() -> None:
        while piece := await process.stdin.read(65_536):
            writer.write(piece)
            await writer.drain()

    async def back() -> None:
        while piece := await reader.read(65_536):
            process.stdout.write(piece)
            await process.stdout.drain()

    sending = asyncio.create_task(there())
    try:
        await back()
        process.exit(0)
    except (OSError, asyncssh.Error):
        pass
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


def pull_with_docker(
    node: Node, daemon: Dockerd, *, credentials: Credentials | None = None, deadline: float = 5, image: str = IMAGE
) -> Pull:
    with daemon.running(), node.session(dial_stdio(daemon)) as opened:
        return pull_on_node(opened, image, runtime="docker", credentials=credentials, deadline=deadline)


PROGRESS: list[dict[str, object]] = [
    {"status": "Pulling from library/alpine", "id": "latest"},
    {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "1d34ffeaf190"},
    {"status": "Pull complete", "progressDetail": {}, "id": "1d34ffeaf190"},
    {"status": "Digest: sha256:" + "a" * 64},
]


@pytest.mark.parametrize(
    ("last", "fresh"),
    [(f"Status: Downloaded newer image for {IMAGE}", True), (f"Status: Image is up to date for {IMAGE}", False)],
)
def test_docker_pulls_over_the_same_connection(last: str, fresh: bool, node: Node) -> None:
    daemon = Dockerd(lines=[*PROGRESS, {"status": last}])
    pull = pull_with_docker(node, daemon)
    assert pull.fault is None
    assert (pull.runtime, pull.fresh) == ("docker", fresh)
    assert pull.seconds is not None
    path, query, auth = daemon.asked[0]
    assert path == "/v1.43/images/create"
    assert query == {"fromImage": ["registry.example.com/library/alpine"], "tag": ["latest"]}
    assert json.loads(base64.urlsafe_b64decode(auth)) == {}
    assert pull.evidence.command.endswith(f"'docker pull {IMAGE}'")
    assert pull.evidence.observed.endswith(last)
    assert node.served[0].logins == ["root"]
    assert node.served[0].commands[1:] == [
        "docker version --format '{{.Server.APIVersion}}'",
        "docker system dial-stdio",
    ]


def test_docker_is_given_the_pull_secret_and_shows_it_nowhere(node: Node) -> None:
    daemon = Dockerd(lines=[{"status": "Status: Downloaded newer image for it"}])
    pull = pull_with_docker(node, daemon, credentials=ROBOT)
    assert json.loads(base64.urlsafe_b64decode(daemon.asked[0][2])) == {"username": "robot", "password": ROBOT.password}
    assert ROBOT.password not in repr(pull) + pull.evidence.command + pull.evidence.observed


def test_a_digest_is_pulled_as_such(node: Node) -> None:
    daemon = Dockerd(lines=[{"status": "Status: Downloaded newer image for it"}])
    pull_with_docker(node, daemon, image=f"registry.example.com/library/alpine@sha256:{'a' * 64}")
    assert daemon.asked[0][1]["tag"] == [f"sha256:{'a' * 64}"]


@pytest.mark.parametrize(
    ("status", "line", "fault"),
    [
        (200, {"error": "manifest for it not found: manifest unknown: manifest unknown"}, PodFault.PULL_NOT_FOUND),
        (404, {"message": "manifest for it not found: manifest unknown: manifest unknown"}, PodFault.PULL_NOT_FOUND),
        (
            500,
            {"message": 'Get "https://registry.example.com/v2/": dial tcp 192.0.2.10:443: connect: connection refused'},
            PodFault.PULL_REFUSED,
        ),
    ],
)
def test_dockers_own_words_are_classified(status: int, line: dict[str, object], fault: PodFault, node: Node) -> None:
    pull = pull_with_docker(node, Dockerd(status=status, lines=[line]))
    assert pull.fault is fault
    assert pull.cause.startswith(f"k8s-worker-1 could not pull {IMAGE}: ")
    assert pull.seconds is None


def test_a_docker_pull_that_drips_is_cut_at_the_deadline(node: Node) -> None:
    began = time.monotonic()
    pull = pull_with_docker(node, Dockerd(lines=PROGRESS[1:2] * 200, every=0.05), deadline=1.5)
    assert pull.fault is PodFault.PULL_TIMEOUT
    assert time.monotonic() - began < 4


def test_a_daemon_that_goes_away_is_not_measured(node: Node) -> None:
    daemon = Dockerd()
    with daemon.running(), node.session(dial_stdio(daemon)) as opened:
        daemon.port = 1
        with pytest.raises(Unmeasured, match="Docker daemon on k8s-worker-1 was lost"):
            pull_on_node(opened, IMAGE, runtime="docker", credentials=None, deadline=5)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1",
            "permission denied",
        ),
        ("echo 'sh: docker: not found' >&2; exit 127", "docker: not found"),
        ("exit 3", "ended with 3"),
    ],
)
def test_a_user_who_may_not_use_docker_is_not_applicable(script: str, words: str, node: Node) -> None:
    node.tool("docker", script)
    with pytest.raises(NotApplicable, match=f"root can't use Docker on k8s-worker-1: .*{words}"):
        node.pull(runtime="docker")
