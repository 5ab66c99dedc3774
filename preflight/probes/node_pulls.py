"""The guide's ``docker pull`` on a worker's own runtime, over the SSH session that the node's other measurements share.

Where the kubelet runs Docker, the docker SDK talks to the daemon through ``docker system dial-stdio``, as the docker
command does for ``ssh://`` hosts, but on our connection, whose host key was verified. Where it runs containerd or
CRI-O, ``crictl`` pulls through the same interface as the kubelet.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from preflight.clients.ssh import Session
from preflight.documents import load_json
from preflight.evidence import Evidence, Fact, NotApplicable, Unmeasured
from preflight.faults import PodFault
from preflight.probes.pod_messages import classify_pull
from preflight.probes.registry import Credentials, parse_reference
from preflight.shell_command import ShellCommand, program

if TYPE_CHECKING:
    import docker

Runtime = Literal["containerd", "docker", "cri-o"]

_TO_CHOOSE = 20.0  # seconds, at most, for finding out which tool may be used
_KILLED = frozenset({124, 137})  # timeout(1)'s own exit, and a kill's

# Exit statuses: 96 no crictl, 97 no right to use it, 98 too old to be given a password in private.
_CRICTL = """
PATH="$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin:/var/lib/rancher/rke2/bin"
tool=$(command -v crictl) || exit 96
set -- "$tool"
if [ "$(id -u)" != 0 ]; then
  if [ -n "${{CRICTL_AUTH:-}}" ]; then set -- --preserve-env=CRICTL_AUTH "$@"; fi
  set -- sudo -n "$@"
  "$@" --version >/dev/null 2>&1 || exit 97
fi
if [ -n "${{CRICTL_AUTH:-}}" ]; then
  "$tool" pull --help 2>&1 | grep -q CRICTL_AUTH || exit 98
fi
if command -v timeout >/dev/null 2>&1; then set -- timeout {limit} "$@"; fi
if [ ! -e /etc/crictl.yaml ]; then
  for socket in {sockets}; do
    if [ -S "$socket" ]; then set -- "$@" -r "unix://$socket" -i "unix://$socket"; break; fi
  done
fi
if "$@" inspecti -q {image} >/dev/null 2>&1; then echo present; else echo absent; fi
exec "$@" pull {image} 2>&1
"""
_SOCKETS = {
    "containerd": "/run/containerd/containerd.sock /run/k3s/containerd/containerd.sock",
    "cri-o": "/run/crio/crio.sock /var/run/crio/crio.sock",
}
_NO_TOOL = {
    96: "there is no crictl on {node}, and without it nothing pulls as its kubelet does",
    97: "{user} may not use crictl on {node}: it is not root, and `sudo -n` asks for a password or forbids it",
    98: "crictl on {node} is older than 1.24 and would show the pull secret to everybody who runs ps there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull(Fact):
    """An image pulled by a node's own runtime.

    Attributes:
        seconds: how long the pull took; None when it failed.
        fresh: whether data was fetched; None when the runtime does not report it.
    """

    image: str
    runtime: str
    seconds: float | None = None
    fresh: bool | None = None


def pull_on_node(
    session: Session, image: str, *, runtime: Runtime, credentials: Credentials | None, deadline: float
) -> Pull:
    """Pull `image` with the node's own runtime, as the guide does by hand.

    `runtime` is how ``node.status.nodeInfo.containerRuntimeVersion`` begins.
    Credentials are never put on a command line.

    Raises:
        NotApplicable: where this login may use neither Docker nor crictl on the node.
        Unmeasured: when the SSH connection is lost.
    """
    if runtime == "docker":
        return _by_docker(session, image, credentials=credentials, deadline=deadline)
    return _by_crictl(session, image, runtime=runtime, credentials=credentials, deadline=deadline)


def _fact(
    session: Session,
    image: str,
    *,
    runtime: str,
    command: ShellCommand,
    observed: str,
    took: float,
    failure: tuple[PodFault, str] | None = None,
    fresh: bool | None = None,
) -> Pull:
    fault, cause = failure or (None, "")
    return Pull(
        target=f"{image} on {session.node}",
        fault=fault,
        cause=f"{session.node} could not pull {image}: {cause}" if fault else "",
        evidence=Evidence(where=session.where, command=session.command(command), observed=observed, took=took),
        image=image,
        runtime=runtime,
        seconds=None if fault else round(took, 3),
        fresh=None if fault else fresh,
    )


def _too_slow(deadline: float) -> tuple[PodFault, str]:
    return PodFault.PULL_TIMEOUT, f"it was not done after {deadline:g} s"


def crictl_script(image: str, *, runtime: str, limit: int) -> str:
    """What is run on the node: POSIX sh, at most `limit` seconds a step where there is a timeout(1)."""
    return _CRICTL.format(limit=limit, sockets=_SOCKETS.get(runtime, _SOCKETS["containerd"]), image=shlex.quote(image))


def _by_crictl(session: Session, image: str, *, runtime: str, credentials: Credentials | None, deadline: float) -> Pull:
    reference = str(parse_reference(image))
    script = crictl_script(reference, runtime=runtime, limit=max(1, int(deadline)))
    if credentials is not None:
        script = f"export CRICTL_AUTH={shlex.quote(credentials.basic)}\n{script}"
    ran = session.run("sh -s", stdin=script, deadline=deadline)
    if ran.exit in _NO_TOOL:
        raise NotApplicable(_NO_TOOL[ran.exit].format(node=session.node, user=session.login.user))
    before = re.search(r"^(present|absent)$", ran.stdout, re.MULTILINE)  # a noisy shell profile may stand before it
    output = (ran.stdout[before.end() if before else 0 :] + ran.stderr).strip()
    failure: tuple[PodFault, str] | None = None
    if ran.exit is None or ran.exit in _KILLED:
        failure = _too_slow(deadline)
    elif ran.exit != 0:
        failure = classify_pull(_reason(output) or f"crictl ended with {ran.exit}")
    command = program("crictl", "pull", reference)
    return _fact(
        session,
        image,
        runtime=runtime,
        command=command if session.login.user == "root" else command.after("sudo", "-n"),
        observed=output,
        took=ran.took,
        failure=failure,
        fresh=before[1] == "absent" if before else None,
    )


def _reason(output: str) -> str:
    """The runtime's message in crictl's last line: ``level=fatal msg="pulling image: rpc error: …"``."""
    lines = [line for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if "level=fatal" in line or "FATA[" in line), (lines or [""])[-1])
    quoted = re.search(r'msg=("(?:[^"\\]|\\.)*")', last)
    if quoted is None:
        return last
    with contextlib.suppress(ValueError):
        return str(load_json(quoted[1]))
    return quoted[1]


def _by_docker(session: Session, image: str, *, credentials: Credentials | None, deadline: float) -> Pull:
    import docker
    import urllib3

    began = time.monotonic()
    version = _docker_version(session, deadline=min(_TO_CHOOSE, deadline))
    reference = parse_reference(image)
    auth = {"username": credentials.username, "password": credentials.password} if credentials else {}
    lines: list[str] = []
    failure: tuple[PodFault, str] | None = None
    overdue = threading.Event()
    pulling = time.monotonic()
    left = max(1.0, deadline - (pulling - began))
    try:
        with _docker_over(session, version=version, deadline=left, overdue=overdue) as client:
            repository = f"{reference.host}/{reference.repository}"
            for line in client.pull(repository, reference.ref, stream=True, decode=True, auth_config=auth):
                if line.get("error"):
                    failure = classify_pull(str(line["error"]))
                if line.get("error") or "id" not in line:  # progress has an id, and there is much of it
                    lines.append(str(line.get("error") or line.get("status", "")))
    except docker.errors.APIError as error:
        lines.append(str(error.explanation or error))
        failure = classify_pull(lines[-1])
    except (
        docker.errors.DockerException,
        docker.errors.StreamParseError,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        if not overdue.is_set():
            raise Unmeasured(
                f"the connection to the Docker daemon on {session.node} was lost: {error}",
                needs=f"a Docker daemon on {session.node} that stays up",
            ) from error
    if overdue.is_set():
        failure = _too_slow(deadline)
    status = "\n".join(lines)
    return _fact(
        session,
        image,
        runtime="docker",
        command=program("docker", "pull", reference),
        observed=status,
        took=time.monotonic() - pulling,
        failure=failure,
        fresh=True if "Downloaded newer image" in status else False if "Image is up to date" in status else None,
    )


def _docker_version(session: Session, *, deadline: float) -> str:
    """The daemon's API version, if this login may use it; the SDK itself would only see a closed stream."""
    ran = session.run("docker version --format '{{.Server.APIVersion}}'", deadline=deadline)
    version = ran.stdout.strip().rpartition("\n")[2]  # a noisy shell profile may stand before it
    if ran.exit == 0 and re.fullmatch(r"\d{1,9}\.\d{1,9}", version):
        return version
    output = (ran.stderr or ran.stdout).strip().splitlines()
    reason = output[-1] if output else f"`docker version` ended with {ran.exit}"
    raise NotApplicable(f"{session.login.user} can't use Docker on {session.node}: {reason}")


@contextlib.contextmanager
def _docker_over(
    session: Session, *, version: str, deadline: float, overdue: threading.Event
) -> Iterator[docker.APIClient]:
    """A Docker client whose requests go over `session`; cut, and `overdue` set, when the deadline passes."""
    import docker
    from docker.transport.basehttpadapter import BaseHTTPAdapter
    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

    channels: list[Any] = []

    class ChannelConnection(HTTPConnection):
        """One ``docker system dial-stdio``: the daemon's socket at the other end of a channel."""

        def connect(self) -> None:
            channel = opened.enter_context(session.channel(deadline=deadline))
            channels.append(channel)
            channel.exec_command("docker system dial-stdio")
            self.sock = channel  # socket enough, as docker.transport.sshconn knows

    class ChannelPool(HTTPConnectionPool):
        """One connection for the whole client, because a node's SSH server counts channels."""

        ConnectionCls = ChannelConnection

    class ChannelAdapter(BaseHTTPAdapter):
        """Every request through the one pool; docker's base class hands all of them to `get_connection`."""

        pool = ChannelPool("localhost", maxsize=1)

        def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002 - the base class's shape
            return self.pool

    def cut() -> None:
        overdue.set()
        for channel in channels:
            with contextlib.suppress(EOFError, OSError):  # the connection itself may be gone
                channel.close()

    timer = threading.Timer(deadline, cut)
    timer.daemon = True
    with contextlib.ExitStack() as opened:
        client = docker.APIClient(base_url="tcp://localhost:2375", version=version, timeout=max(1, int(deadline)))
        opened.callback(client.close)
        client.trust_env = False
        client.base_url = "http+docker://ssh"
        client.mount("http+docker://", ChannelAdapter())
        timer.start()
        opened.callback(timer.cancel)
        yield client
