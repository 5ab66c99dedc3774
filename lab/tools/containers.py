"""docker, crictl and sudo: a daemon as a job meets it beside itself in its pod, and a node's own runtime."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab.network import lookup, path
from lab.pulls import pull, split
from lab.world import DaemonSettings, Dockerd, Vantage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.tools.call import Call

_RUN_LIMIT = 120.0  # seconds a container inside may run
_DAEMON_FAILED = 125  # docker run's own exit status, as opposed to the container's
_NOT_FOUND = 127
_API = "1.51"
_BUILT = "Fri Jul 25 11:32:31 2025"
_UNENCRYPTED = """WARNING: API is accessible on http://0.0.0.0:2375 without encryption.
         Access to the remote API is equivalent to root access on the host. Refer
         to the 'Docker daemon attack surface' section in the documentation for
         more information: https://docs.docker.com/go/attack-surface/"""


async def sudo(call: Call) -> int:
    """Everyone who may log in to a node may become root there."""
    words = list(call.args)
    while words and words[0].startswith("-"):
        words.pop(0)
    call.become(words)
    return 0


# ---- docker ----------------------------------------------------------------------------------------------------------


async def docker(call: Call) -> int:
    """info, version, pull and run."""
    await call.world.pause()
    command, rest = (call.args[0], call.args[1:]) if call.args else ("help", [])
    form = _option(rest, "--format", "-f")
    trouble = "" if call.on_node else _trouble(call, command)
    daemon = _of_the_node(call) if call.on_node else call.vantage.dockerd
    match command:
        case "info":
            return _info(call, daemon, trouble, form)
        case "version":
            return _version(call, daemon, trouble, form)
        case "pull":
            return await _pull(call, daemon, trouble, [word for word in rest if not word.startswith("-")][-1])
        case "run":
            return await _run(call, daemon, trouble, rest)
        case "system" if trouble:
            call.err(trouble + "\n")
            return 1
    call.err(f"docker: unknown command: docker {command}\n\nRun 'docker --help' for more information\n")
    return 1


def _of_the_node(call: Call) -> Dockerd:
    """The daemon that the node's kubelet uses; docker is there only where it does (`tools.names`)."""
    node = call.world.nodes[call.vantage.node]
    settings = DaemonSettings(version=node.runtime.removeprefix("docker://"))
    return Dockerd(node.name, node.resolv_conf, settings, images=node.pulled)


def _option(words: list[str], *names: str) -> str:
    for index, word in enumerate(words):
        if word in names and index + 1 < len(words):
            return words[index + 1]
        if word.split("=", 1)[0] in names and "=" in word:
            return word.split("=", 1)[1]
    return ""


def _trouble(call: Call, command: str) -> str:
    """Why the daemon cannot be asked, in the client's words; empty if it can."""
    address = call.env.get("DOCKER_HOST", "") or "unix:///var/run/docker.sock"
    nobody = f"Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
    if not address.startswith("tcp://"):
        return nobody
    parts = urlsplit(address)
    secure = bool(call.env.get("DOCKER_TLS_VERIFY"))
    port = parts.port or (2376 if secure else 2375)
    scheme = "https" if secure else "http"
    verb, what = ("Get", command) if command in ("info", "version") else ("Post", "images/create")
    during = f'error during connect: {verb} "{scheme}://{parts.netloc}/v{_API}/{what}": '
    reply = lookup(call.world, call.vantage, parts.hostname or "")
    if not reply.ok:
        server = f" on {reply.resolver}:53" if reply.resolver else ""
        return f"{during}dial tcp: lookup {parts.hostname}{server}: no such host"
    daemon = call.vantage.dockerd
    way = path(call.world, call.vantage, reply.addresses[0], port)
    if daemon is None or way != "open":
        return nobody if way in ("refused", "open") else f"{during}dial tcp {reply.addresses[0]}:{port}: i/o timeout"
    if daemon.settings.tls and not secure:
        return "Error response from daemon: Client sent an HTTP request to an HTTPS server."
    if secure and not daemon.settings.tls:
        return f"{during}http: server gave HTTP response to HTTPS client"
    return ""


def _info(call: Call, daemon: Dockerd | None, trouble: str, form: str) -> int:
    if form:
        call.out(json.dumps(_info_json(daemon if not trouble else None), separators=(",", ":")) + "\n")
        if trouble:
            call.err(trouble + "\n")
        return 1 if trouble else 0
    version = daemon.settings.version if daemon else "28.3.3"
    call.out(f"Client:\n Version:    {version}\n Context:    default\n Debug Mode: false\n\nServer:\n")
    if trouble or daemon is None:
        call.err(trouble + "\n")
        return 1
    call.out(
        f" Containers: 0\n  Running: 0\n  Paused: 0\n  Stopped: 0\n Images: {len(daemon.images) // 2}\n"
        f" Server Version: {version}\n Storage Driver: {daemon.settings.storage_driver}\n"
        " Logging Driver: json-file\n Cgroup Driver: cgroupfs\n Cgroup Version: 2\n"
        f" Name: {call.vantage.hostname}\n Docker Root Dir: /var/lib/docker\n Debug Mode: false\n"
    )
    call.err(_UNENCRYPTED + "\n")
    return 0


def _info_json(daemon: Dockerd | None) -> dict[str, object]:
    """Docker 28 prints every field, empty, of a daemon that it cannot ask."""
    settings = daemon.settings if daemon else None
    status = None
    if settings and settings.storage_driver == "overlay2":
        status = [["Backing Filesystem", "extfs"], ["Supports d_type", "true"], ["Using metacopy", "false"]]
    insecure = [*(daemon.insecure_registries if daemon else ()), "127.0.0.0/8"]
    return {
        "ID": "6f0c1d5e-52a8-4c57-b3c5-6c8b4f0a2c11" if daemon else "",
        "Containers": 0,
        "ContainersRunning": 0,
        "Images": len(daemon.images) // 2 if daemon else 0,
        "Driver": settings.storage_driver if settings else "",
        "DriverStatus": status,
        "MemoryLimit": bool(daemon),
        "SwapLimit": bool(daemon),
        "IPv4Forwarding": bool(daemon),
        "Debug": False,
        "SystemTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime()) if daemon else "",
        "LoggingDriver": "json-file" if daemon else "",
        "CgroupDriver": "cgroupfs" if daemon else "",
        "CgroupVersion": "2" if daemon else "",
        "KernelVersion": "5.15.0-112-generic" if daemon else "",
        "OperatingSystem": "Alpine Linux v3.22 (containerized)" if daemon else "",
        "OSType": "linux" if daemon else "",
        "Architecture": "x86_64" if daemon else "",
        "RegistryConfig": {"InsecureRegistryCIDRs": insecure, "Mirrors": []} if daemon else None,
        "NCPU": 8 if daemon else 0,
        "DockerRootDir": "/var/lib/docker" if daemon else "",
        "ServerVersion": settings.version if settings else "",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"] if daemon else None,
        "Warnings": [_UNENCRYPTED] if daemon else None,
        "ClientInfo": {"Debug": False, "Version": "28.3.3", "Context": "default", "Plugins": [], "Warnings": None},
    }


def _version(call: Call, daemon: Dockerd | None, trouble: str, form: str) -> int:
    version = daemon.settings.version if daemon else "28.3.3"
    field = {"{{.Server.APIVersion}}": _API, "{{.Server.Version}}": version}.get(form)
    if field is not None:
        call.out("\n" if trouble else f"{field}\n")
    elif form:
        client = {"Version": version, "ApiVersion": _API, "Os": "linux", "Arch": "amd64", "Context": "default"}
        engine = {"Name": "Engine", "Version": version, "Details": {"ApiVersion": _API, "BuildTime": _BUILT}}
        server = None if trouble else {"Components": [engine], "Version": version, "ApiVersion": _API, "Os": "linux"}
        call.out(json.dumps({"Client": client, "Server": server}, separators=(",", ":")) + "\n")
    else:
        call.out(
            f"Client:\n Version:           {version}\n API version:       {_API}\n Go version:        go1.24.5\n"
            f" Git commit:        980b856\n Built:             {_BUILT}\n OS/Arch:           linux/amd64\n"
            " Context:           default\n"
        )
        if not trouble:
            call.out(
                f"\nServer: Docker Engine - Community\n Engine:\n  Version:          {version}\n"
                f"  API version:      {_API} (minimum version 1.24)\n  Go version:       go1.24.5\n"
                f"  Git commit:       bea959c\n  Built:            {_BUILT}\n  OS/Arch:          linux/amd64\n"
                "  Experimental:     false\n containerd:\n  Version:          v1.7.27\n"
                "  GitCommit:        05044ec0a9a75232cad458027ca83437aae3f4da\n runc:\n  Version:          1.2.6\n"
                "  GitCommit:        v1.2.6-0-ge89a299\n docker-init:\n  Version:          0.19.0\n"
                "  GitCommit:        de40ad0\n"
            )
    if trouble:
        call.err(trouble + "\n")
    return 1 if trouble else 0


async def _pull(call: Call, daemon: Dockerd | None, trouble: str, image: str) -> int:
    if "/" not in image or ":" not in image.rpartition("/")[2]:
        call.out("Using default tag: latest\n")
    if trouble or daemon is None:
        call.err(trouble + "\n")
        return 1
    pulled = await pull(call.world, daemon.node, image, {}, "docker", vantage=call.vantage)
    if not pulled.ok:
        call.err(f"Error response from daemon: {pulled.error}\n")
        return 1
    call.out(_progress(image, pulled.digest, pulled.image_id, fresh=pulled.fresh) + f"{image}\n")
    return 0


def _progress(image: str, digest: str, layer: str, *, fresh: bool) -> str:
    _, repository, tag = split(image)
    short = layer.removeprefix("sha256:")[:12]
    steps = ("Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete") if fresh else ()
    status = "Downloaded newer image for" if fresh else "Image is up to date for"
    rows = [f"{tag}: Pulling from {repository}", *(f"{short}: {step}" for step in steps)]
    return "\n".join([*rows, f"Digest: {digest}", f"Status: {status} {image}"]) + "\n"


async def _run(call: Call, daemon: Dockerd | None, trouble: str, rest: list[str]) -> int:
    with_value = {"--network", "--name", "-e", "--env", "-v", "--entrypoint", "--dns", "--pull"}
    words = list(rest)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in with_value and words:
            words.pop(0)
    help_line = "\n\nRun 'docker run --help' for more information\n"
    if trouble or daemon is None:
        call.err(f"docker: {trouble}{help_line}")
        return _DAEMON_FAILED
    image, argv = words[0], words[1:]
    if image not in daemon.images:
        call.err(f"Unable to find image '{image}' locally\n")
        pulled = await pull(call.world, daemon.node, image, {}, "docker", vantage=call.vantage)
        if not pulled.ok:
            call.err(f"docker: Error response from daemon: {pulled.error}{help_line}")
            return _DAEMON_FAILED
        call.err(_progress(image, pulled.digest, pulled.image_id, fresh=pulled.fresh))
    return await _contain(call, daemon, argv, help_line)


async def _contain(call: Call, daemon: Dockerd, argv: list[str], help_line: str) -> int:
    """Run a command as a container of the daemon would: its own hosts file, its own resolv.conf, the pod's way out."""
    inside = Vantage(
        "pod",
        node=daemon.node,
        resolv_conf=daemon.inner_resolv_conf,
        hostname="5b1c0f3a9e7d",
        address="172.17.0.2",
        mtu=daemon.settings.mtu,
    )
    env: Mapping[str, str] = {}
    try:
        ran = await call.run(
            call.world, inside, argv or ["sh"], env=env, on_output=call.out, on_error=call.err, limit=_RUN_LIMIT
        )
    except FileNotFoundError:
        reason = f'unable to start container process: exec: "{argv[0]}": executable file not found in $PATH'
        call.err(
            "docker: Error response from daemon: failed to create task for container: failed to create shim task: "
            f"OCI runtime create failed: runc create failed: {reason}: unknown{help_line}"
        )
        return _NOT_FOUND
    return ran.exit


# ---- crictl ----------------------------------------------------------------------------------------------------------


async def crictl(call: Call) -> int:
    """pull, inspecti and version, by a node's containerd."""
    words = _without_options(
        call.args, "-r", "-i", "-t", "--runtime-endpoint", "--image-endpoint", "--timeout", "--creds", "--auth"
    )
    node = call.world.nodes[call.vantage.node]
    runtime = node.runtime.partition("://")
    if "--version" in call.args or "-v" in call.args:
        call.out("crictl version v1.28.0\n")
        return 0
    if words[:1] == ["pull"] and ("--help" in call.args or "-h" in call.args):
        call.out(_CRICTL_PULL_HELP)
        return 0
    if words[:1] == ["inspecti"] and words[1:]:
        if words[-1] in node.pulled:
            call.out("{}\n")
            return 0
        message = f'no such image "{words[-1]}" present'
        call.err(f'time="{_go_time()}" level=fatal msg={json.dumps(message)}\n')
        return 1
    if words[:1] == ["version"]:
        call.out(
            f"Version:  0.1.0\nRuntimeName:  {runtime[0]}\nRuntimeVersion:  v{runtime[2]}\nRuntimeApiVersion:  v1\n"
        )
        return 0
    if words[:1] != ["pull"] or len(words) < 2:  # noqa: PLR2004 - the command and its image
        call.err(f"NAME:\n   crictl - client for CRI\n\nNo help topic for '{' '.join(words)}'\n")
        return 3
    image = words[-1]
    given = _option(call.args, "--creds") or _decoded(_option(call.args, "--auth") or call.env.get("CRICTL_AUTH", ""))
    user, _, password = given.partition(":")
    auths = {split(image)[0]: [(user, password)]} if user else {}
    pulled = await pull(call.world, call.vantage.node, image, auths)
    if pulled.ok:
        call.out(f"Image is up to date for {pulled.image_id}\n")
        return 0
    error = pulled.error if pulled.error.startswith("rpc error") else f"rpc error: code = Unknown desc = {pulled.error}"
    now = time.gmtime()
    call.err(
        f"E{time.strftime('%m%d %H:%M:%S', now)}.000000   21734 remote_image.go:180] "
        f'"PullImage from image service failed" err={json.dumps(error)} image="{image}"\n'
        f'time="{_go_time()}" level=fatal msg={json.dumps(f"pulling image: {error}")}\n'
    )
    return 1


def _without_options(args: list[str], *with_value: str) -> list[str]:
    words, left = [], list(args)
    while left:
        word = left.pop(0)
        if word in with_value and left:
            left.pop(0)
        elif not word.startswith("-"):
            words.append(word)
    return words


def _decoded(auth: str) -> str:
    try:
        return base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _go_time() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


_CRICTL_PULL_HELP = """NAME:
   crictl pull - Pull an image from a registry

USAGE:
   crictl pull [command options] NAME[:TAG|@DIGEST]

OPTIONS:
   --annotation value, -a value  Annotation to be set on the pulled image
   --auth AUTH_STRING            Use AUTH_STRING for accessing the registry. AUTH_STRING is a base64 encoded \
'USERNAME[:PASSWORD]' [$CRICTL_AUTH]
   --creds USERNAME[:PASSWORD]   Use USERNAME[:PASSWORD] for accessing the registry [$CRICTL_CREDS]
   --pod-config value            Use pod-config.[json|yaml] to override the pull context
   --help, -h                    show help
"""
