"""The operator's files for this world: inventory, values, kubeconfig, SSH key, known hosts, CA.

They are the repository's own inventory and values with the guide's own addresses, and in addition what an operator
adds (credentials, CA files), a `connect:` map of every address to loopback, and short deadlines.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import faults, kubernetes, yamltext
from lab.network import path
from lab.world import API_ADDRESS, API_PORT, CACHE, CACHE_PORT, HERE, PRIVATE, World, enlarge, guide_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lab.loopback import SocketAddress

PULL_SECRET = "private-registry"
PRIVATE_IMAGE = "my-namespace/alpine:latest"
BUILT = "my-namespace/preflight"

DEADLINES = {
    "connect": 2,
    "http": 8,
    "dns": 1.5,
    "api": 15,
    "ssh": 6,
    "step": 5,
    "polls": 4,
    "script": 40,
    "pull": 20,
    "pod": 45,
    "dind": 60,
    "pipeline": 20,
    "clean": 15,
    "run": 150,
}
_READY_WITHIN = 6
_PLACEHOLDER = "YOUR_RUNNER_TOKEN_HERE"
_PRIVILEGED = "privileged = true\n"
_NDOTS = '            name = "ndots"\n            value = "2"\n'  # the last lines: line numbers before them stay
_CACHE = f"""\
      [runners.cache]
        Type = "s3"
        Shared = true
        [runners.cache.s3]
          ServerAddress = "{CACHE}:{CACHE_PORT}"
          BucketName = "gitlab-runner-cache"
          BucketLocation = "us-east-1"
          AuthenticationType = "iam"
          Insecure = true
"""


@dataclass(frozen=True)
class Credentials:
    """Credentials shared by the servers and the operator: contents of files."""

    api_ca: str
    registry_ca: str
    ssh_key: str
    known_hosts: str


def write(
    world: World,
    folder: Path,
    *,
    base: Path,
    credentials: Credentials,
    connect: Mapping[str, SocketAddress],
    patience: float = 1.0,
) -> Path:
    """Write all files into `folder`; returns the inventory's path.

    Args:
        world: the world, with its faults; its edits of inventory and values are applied here.
        folder: an empty directory.
        base: the inventory to start from; its values files are copied.
        credentials: keys and certificates.
        connect: the inventory's `connect:`, from ``host:port`` to the listener on loopback.
        patience: factor on the deadlines.
    """
    document: dict[str, Any] = yamltext.load(base.read_text(encoding="utf-8"))
    _put(folder / "gitlab-token", min(world.gitlab.tokens, default=""))
    _put(folder / "registry-ca.pem", credentials.registry_ca)
    _put(folder / "id_ed25519", credentials.ssh_key)
    _put(folder / "known_hosts", credentials.known_hosts)
    address = connect[f"{API_ADDRESS}:{API_PORT}"]
    kubeconfig = _kubeconfig(credentials.api_ca, world.kubeconfig_token, address, verifies=world.kubeconfig_verifies)
    _put(folder / "kubeconfig", yamltext.dump(kubeconfig))
    names = document["runner"]["values"]
    document["runner"]["values"] = [_values(world, base.parent / name, folder) for name in names]
    kubernetes.deploy_managers(world.cluster, world, _deployed(world, names, folder))
    document["runner"]["repository_ca_file"] = "registry-ca.pem"
    document["gitlab"]["api_token"] = "file:gitlab-token"
    document["gitlab"]["external_url"] = "http://gitlab.example.com/"
    document["cluster"]["kubeconfig"] = "kubeconfig"
    document["cluster"]["pools"] = {"linux": {"selector": {"kubernetes.io/os": "linux"}, "at_least": 2}}
    for registry in document["registries"].values():
        registry["ca_file"] = "registry-ca.pem"
        if registry["host"] == PRIVATE:
            registry["credentials"] = f"secret:gitlab/{PULL_SECRET}/.dockerconfigjson"
            registry["images"] = [PRIVATE_IMAGE]
            registry["push"] = [BUILT]
    document["pipeline"] = {
        "project": "ops/runner-preflight",
        "image": f"{PRIVATE}/{BUILT}",
        "variables": {"ACR_USERNAME": {"masked": False}, "ACR_PASSWORD": {"masked": True}},
    }
    document["access"] = {"ssh": {"user": "root", "key": "id_ed25519", "known_hosts": "known_hosts"}}
    document["dind"]["ready_within"] = _READY_WITHIN * patience
    document["limits"] = {"round_trip": 1.0}  # a stand-in takes longer than a packet, above all on a busy machine
    document["deadlines"] = {key: round(seconds * patience, 3) for key, seconds in DEADLINES.items()}
    document["connect"] = {source: f"{host}:{port}" for source, (host, port) in connect.items()} | {"*": "refuse"}
    for node in world.nodes.values():
        if node.sshd_of:
            document["cluster"]["nodes"][node.name] = {"address": node.address}
            document["cluster"]["pod_cidr"] = kubernetes.pod_network(len(world.nodes))
    for key, value in world.inventory_edits.items():
        _set(document, key, value)
    inventory = folder / "inventory.yaml"
    _put(inventory, yamltext.dump(document))
    return inventory


def build(names: Iterable[str] = (), *, workers: int | None = None) -> World:
    """The guide's world, with so many workers if that is given, and with faults."""
    with _without_collections(keep=workers is not None):
        world = guide_world()
        if workers is not None:
            enlarge(world, workers)
        kubernetes.populate(world)
        faults.apply(world, names)
    return world


@contextlib.contextmanager
def _without_collections(*, keep: bool) -> Iterator[None]:
    """Look for no garbage: a large cluster has a million objects, and each search goes through all of them.

    Args:
        keep: whether later searches pass over all that is there by then, too.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if enabled:
            gc.enable()


def draft(folder: Path, *, base: Path, names: Iterable[str] = (), workers: int | None = None) -> Path:
    """The same files for a world without servers: they can be read, and every address refuses connections."""
    world = build(names, workers=workers)
    unserved: dict[str, SocketAddress] = dict.fromkeys(wanted(world), ("127.0.0.1", 1))
    return write(world, folder, base=base, credentials=Credentials("", "", "", ""), connect=unserved)


def find(start: Path | None = None) -> Path:
    """The repository's inventory: in the given directory, beside this package, in the current one, or in the wheel.

    Raises:
        FileNotFoundError: it is in none of them.
    """
    shipped = Path(__file__).resolve().parent.parent
    folders = [folder for folder in (start, shipped, Path.cwd(), shipped / "preflight") if folder is not None]
    for folder in folders:
        if (folder / "inventory.yaml").is_file():
            return folder / "inventory.yaml"
    searched = ", ".join(str(folder) for folder in folders)
    message = f"the lab is built on the repository's inventory.yaml, which is in none of: {searched}"
    raise FileNotFoundError(message)


def wanted(world: World) -> dict[str, tuple[str, int, str]]:
    """Every ``host:port`` that the operator's programs connect to, with address, port, and how connections end."""
    addresses: dict[str, tuple[str, int]] = {
        f"{world.gitlab.address}:{world.gitlab.port}": (world.gitlab.address, world.gitlab.port),
        f"{API_ADDRESS}:{API_PORT}": (API_ADDRESS, API_PORT),
    }
    for node in world.nodes.values():
        if not node.sshd_of:
            addresses[f"{node.address}:22"] = (node.address, 22)
    for address in world.resolvers:
        addresses[f"{address}:53"] = (address, 53)
    addresses[f"{world.charts.host}:{world.charts.port}"] = (world.charts.address, world.charts.port)
    for registry in world.registries.values():
        addresses[f"{registry.host}:{registry.port}"] = (registry.address, registry.port)
        for address in world.zones.get(registry.realm_host, ()):
            if registry.auth == "bearer":
                addresses[f"{registry.realm_host}:443"] = (address, 443)
        for address in world.zones.get(registry.blob_host, ()):
            addresses[f"{registry.blob_host}:443"] = (address, 443)
    ways: dict[str, tuple[str, int, str]]
    ways = {key: (*address, path(world, HERE, *address)) for key, address in addresses.items()}
    for node in world.nodes.values():
        if node.sshd_of:
            ways[f"{node.address}:22"] = ways[f"{world.nodes[node.sshd_of].address}:22"]
    return ways


def _values(world: World, source: Path, folder: Path) -> str:
    text = source.read_text(encoding="utf-8")
    text = text.replace(
        _PRIVILEGED, f'{_PRIVILEGED}        image_pull_secrets = ["{PULL_SECRET}"]\n', 1
    )  # the private registry's secret, as jobs use it
    text = text.replace(f'"{_PLACEHOLDER}"', json.dumps(world.configured_token), 1)  # YAML reads JSON's escapes
    text = text.replace(_NDOTS, _NDOTS + _CACHE, 1)  # guide 7.4, as the runner reads it
    for old, new in world.values_edits.items():
        if old not in text:
            message = f"{source} has no {old!r} to be changed"
            raise ValueError(message)
        text = text.replace(old, new, 1)
    _put(folder / source.name, text)
    return source.name


def _deployed(world: World, names: list[str], folder: Path) -> str:
    """The values that the release was installed with: the last file, without later edits."""
    text = (folder / Path(names[-1]).name).read_text(encoding="utf-8")
    for old in world.release.unapplied:
        text = text.replace(world.values_edits[old], old, 1)
    return text


def _kubeconfig(ca: str, token: str, address: SocketAddress, *, verifies: bool) -> dict[str, Any]:
    """It names the lab's own listener, so that no other program that is given it leaves this machine."""
    host, port = address
    trust: dict[str, Any] = {"certificate-authority-data": base64.b64encode(ca.encode()).decode()}
    if not verifies:
        trust = {"insecure-skip-tls-verify": True}
    cluster = {**trust, "server": f"https://{host}:{port}", "tls-server-name": API_ADDRESS}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": cluster}],
        "users": [{"name": "ops", "user": {"token": token}}],
        "contexts": [{"name": "ops@kubernetes", "context": {"cluster": "kubernetes", "user": "ops"}}],
        "current-context": "ops@kubernetes",
    }


def _set(document: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for part in parents:
        document = document.setdefault(part, {})
    document[last] = value


def _put(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
