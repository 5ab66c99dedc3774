"""The guide's commands one after the other, as an operator types them: what the suite is to be faster than.

They are run from here against the environment of an inventory: names and GitLab from here and from each worker (guide
2.1 to 2.4), the cluster, the release and its managers (2.3, 4.2, 10), and on each worker a pod, and a pod with Docker
inside in which an image is pulled and run (5). Each takes what it takes, its client's start included.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab.lab import Lab
from preflight import inventory as inventory_file
from preflight.inventory import Inventory

_LIMIT = 120.0  # seconds of one command
_PODS = ("bench-by-hand", "bench-by-hand-dind")


@dataclass(frozen=True)
class ByHand:
    """What the commands took.

    Attributes:
        seconds: all of them, one after the other.
        count: how many there were.
        failed: those that failed, or whose program is not installed.
    """

    seconds: float
    count: int
    failed: list[str] = field(default_factory=list)


def run(file: Path) -> ByHand:
    """Run them all against the environment of an inventory; no pod of theirs is left."""
    inventory = inventory_file.load(file)
    failed: list[str] = []
    count, began = 0, time.perf_counter()
    try:
        for words, document in commands(inventory):
            count += 1
            if not _succeeds(words, document):
                failed.append(" ".join(words))
    finally:
        seconds = time.perf_counter() - began
        _succeeds([*_kubectl(inventory), "delete", "pod", "--ignore-not-found", "--grace-period=1", *_PODS])
    return ByHand(seconds, count, failed)


def _succeeds(words: Sequence[str], document: Any = None) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        written = json.dumps(document) if document else ""
        ended = subprocess.run(words, input=written, capture_output=True, text=True, timeout=_LIMIT, check=False)
        return ended.returncode == 0
    return False


Command = tuple[list[str], Any]
"""The words, and what is written to standard input as JSON."""


def commands(inventory: Inventory) -> Iterator[Command]:
    """The guide's commands, in its order."""
    yield [*_curl(inventory), f"{inventory.gitlab.url.rstrip('/')}/users/sign_in"], None
    for resolver in inventory.dns.resolvers:
        host, port = _place(inventory, resolver, 53)
        for name in inventory.dns.names:
            yield ["nslookup", f"-port={port}", "-timeout=2", "-retry=1", name, host], None
    yield from _on_workers(inventory)
    kubectl, release = _kubectl(inventory), inventory.runner.release
    for words in (
        ["cluster-info"],
        ["get", "nodes", "-o", "wide"],
        ["get", "svc", "-n", "kube-system", "kube-dns"],
        ["top", "nodes"],
        ["describe", "nodes"],
        ["get", "namespace", inventory.runner.namespace],
        ["get", "deployment", release],
        ["get", "pods", "-l", f"release={release}"],
        ["describe", "pod", "-l", f"release={release}"],
        ["logs", "-l", f"release={release}", "--tail=50"],
        ["get", "events", "--sort-by=.lastTimestamp"],
    ):
        yield [*kubectl, *words], None
    helm = [_helm(inventory), *_of_cluster(inventory, "kube-context"), "-n", inventory.runner.namespace]
    yield [*helm, "list"], None
    yield [*helm, "get", "values", release], None
    for worker in inventory.workers:
        yield from _in_pods(inventory, worker)


def _helm(inventory: Inventory) -> str:
    return inventory.runner.helm if inventory.runner.helm not in {"", "none"} else "helm"


def _on_workers(inventory: Inventory) -> Iterator[Command]:
    access = inventory.access.ssh
    if access == "none":
        return
    for node in inventory.workers.values():
        host, port = _place(inventory, node.address, access.port)
        login = ["ssh", "-p", str(port), "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={access.known_hosts}"]
        login += ["-o", f"HostKeyAlias={node.address}", *(["-i", str(access.key)] if access.key else [])]
        login += ["-J", access.jump] if access.jump else []
        login.append(f"{access.user}@{host}")
        yield [*login, f"curl -sS -o /dev/null {inventory.gitlab.url}"], None
        for resolver in inventory.dns.resolvers:
            yield [*login, f"nslookup {next(iter(inventory.dns.names))} {resolver}"], None
        image = inventory.probe.image
        yield [*login, f"if command -v docker; then docker pull {image}; else crictl pull {image}; fi"], None


def _in_pods(inventory: Inventory, worker: str) -> Iterator[Command]:
    """A job's steps, as its script; they are printed once it has ended."""
    kubectl, (plain, dind) = _kubectl(inventory), _PODS
    create = [*kubectl, "create", "--validate=false", "-f", "-"]
    first, page = next(iter(inventory.dns.names)), f"{inventory.gitlab.url.rstrip('/')}/users/sign_in"
    lookups = [f"nslookup {first} {resolver}" for resolver in inventory.dns.resolvers]
    script = "; ".join(["cat /etc/resolv.conf", *lookups, f"wget -q -O /dev/null {page}"])
    job = {"image": inventory.probe.image, "command": ["sh", "-c", script], "securityContext": _RESTRICTED}
    yield create, _pod(plain, worker, {"build": job})
    yield [*kubectl, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{plain}", "--timeout=90s"], None
    yield [*kubectl, "logs", plain], None
    yield [*kubectl, "delete", "pod", plain, "--grace-period=1"], None
    if inventory.dind == "none":
        return
    settings = inventory.dind
    daemon = {
        "image": settings.daemon_image,
        "args": settings.daemon_args,
        "env": [{"name": "DOCKER_TLS_CERTDIR", "value": ""}],
        "securityContext": {"privileged": True},
    }
    script = f"until docker info; do sleep 1; done; docker pull {settings.pull}; docker run --rm {settings.pull} true"
    client = {
        "image": settings.client_image,
        "command": ["sh", "-c", script],
        "env": [{"name": "DOCKER_HOST", "value": "tcp://127.0.0.1:2375"}],
    }
    yield create, _pod(dind, worker, {"build": client, "docker": daemon})
    yield [*kubectl, "wait", "--for=jsonpath={.status.phase}=Running", f"pod/{dind}", "--timeout=90s"], None
    yield [*kubectl, "logs", "-f", dind, "-c", "build"], None
    yield [*kubectl, "logs", dind, "-c", "docker"], None
    yield [*kubectl, "delete", "pod", dind, "--grace-period=1"], None


_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _pod(name: str, worker: str, containers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    size = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": worker},
            "restartPolicy": "Never",
            "containers": [{"name": each, **container, "resources": size} for each, container in containers.items()],
        },
    }


def _kubectl(inventory: Inventory) -> list[str]:
    return ["kubectl", *_of_cluster(inventory, "context"), "-n", inventory.runner.namespace]


def _of_cluster(inventory: Inventory, context: str) -> list[str]:
    cluster = inventory.cluster
    named = [f"--{context}={cluster.context}"] if cluster.context else []
    return [*([f"--kubeconfig={cluster.kubeconfig}"] if cluster.kubeconfig else []), *named]


def _curl(inventory: Inventory) -> list[str]:
    parts = urlsplit(inventory.gitlab.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host, other = _place(inventory, parts.hostname or "", port)
    return ["curl", "-sS", "-o", os.devnull, "-m", "10", "--connect-to", f"{parts.hostname}:{port}:{host}:{other}"]


def _place(inventory: Inventory, host: str, port: int) -> tuple[str, int]:
    """Where the inventory leads connections to an address instead, as it does in the lab."""
    there, _, number = inventory.connect.get(f"{host}:{port}", f"{host}:{port}").rpartition(":")
    return there, int(number)


def on_the_lab(latency: float) -> ByHand:
    """Against the lab, every answer of it so many seconds late."""
    with Lab([], latency) as lab:
        return run(lab.inventory)
