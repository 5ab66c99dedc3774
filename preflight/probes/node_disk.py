"""The room on a worker's disk, beside what the images that jobs need take when they are pulled and unpacked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from preflight.clients.ssh import Session
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ClusterFault, SshFault
from preflight.quantities import spell
from preflight.shell_command import program

_IMAGE_PATHS: Mapping[str, tuple[str, ...]] = {
    "containerd": ("/var/lib/containerd", "/var/lib/rancher"),  # the second with k3s and RKE2
    "cri-o": ("/var/lib/containers",),
    "docker": ("/var/lib/docker",),
}
"""Where a runtime keeps its images."""
_POD_PATH = "/var/lib/kubelet"
_ROOT = "/"
_PATHS = (*(path for paths in _IMAGE_PATHS.values() for path in paths), _POD_PATH, _ROOT)
_SCRIPT = f'for path in {" ".join(_PATHS)}; do echo "$path"; df -P -k "$path" 2>/dev/null; done'
_ROW = re.compile(r"^\S.*?\s(?P<size>\d+)\s+\d+\s+(?P<free>\d+)\s+\d+%\s+(?P<mount>/.*)$")

UNPACKED = 3
"""How much an image takes by its compressed size: the layers as they were pulled, and unpacked to about twice that."""
IMAGE_THRESHOLD, NODE_THRESHOLD = 0.15, 0.10
"""Parts of the image filesystem and of the node's own that the kubelet keeps free by default."""
_MARGIN = 0.05  # what is to be left above the threshold for everything else


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """A filesystem of a node.

    Attributes:
        mount: where it is mounted.
        size: bytes; `free`: those that are available.
        keeps: the part that the kubelet keeps free.
        need: bytes that images will take.
    """

    mount: str
    size: int
    free: int
    keeps: float = NODE_THRESHOLD
    need: int = 0

    @property
    def after(self) -> float:
        """The part that is free when the images are there."""
        return (self.free - self.need) / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDisk(Fact):
    """The filesystems of a worker that images and pods fill.

    Attributes:
        node: the worker.
        filesystems: that of images, and that of pods where it is another.
        missing: the images that are not on the node yet.
    """

    node: str
    filesystems: tuple[Filesystem, ...] = ()
    missing: tuple[str, ...] = ()


def node_disk(
    node: str,
    session: Session,
    *,
    sizes: Mapping[str, int],
    inside: Iterable[str],
    present: Collection[str],
    runtime: str,
    deadline: float,
) -> NodeDisk:
    """Read the free room on a worker.

    Args:
        node: the worker.
        session: a login there.
        sizes: bytes of each image that jobs need, compressed.
        inside: those that Docker-in-Docker pulls into the pod.
        present: the images that the node has.
        runtime: such as ``containerd://1.6.20``.
        deadline: seconds.

    Raises:
        Unmeasured: ``df`` shows nothing there.
    """
    ran = session.run(_SCRIPT, deadline=deadline)
    shown = read_df(ran.stdout)
    evidence = Evidence(where=f"node {node}", command=program("df", "-P", "-k", *_PATHS), observed=ran.stdout)
    if not shown and ran.exit is None:
        raise Unmeasured(
            f"`df` on {node} did not finish within {deadline:g} s",
            needs="a worker that answers commands at once, or a larger `deadlines.script`",
            fault=SshFault.SILENT,
            evidence=evidence,
        )
    if not shown:
        raise Unmeasured(
            f"`df` on {node} shows no filesystem: {ran.stderr or ran.stdout or 'no output'}",
            needs="a `df` on the worker that knows -P and -k",
            evidence=evidence,
        )
    missing = {image: size for image, size in sizes.items() if image not in present}
    pulled_inside = sum(sizes.get(image, 0) for image in inside)
    return read_node_disk(node, shown, missing, pulled_inside, evidence, runtime=runtime)


def read_df(text: str) -> dict[str, Filesystem]:
    """The filesystems by the path that they were asked by."""
    shown: dict[str, Filesystem] = {}
    path = ""
    for line in text.splitlines():
        if line in _PATHS:
            path = line
        elif path and (row := _ROW.match(line)) and int(row["size"]):
            size, free = int(row["size"]) * 1024, int(row["free"]) * 1024
            shown[path] = Filesystem(mount=row["mount"], size=size, free=free)
    return shown


def read_node_disk(
    node: str,
    shown: Mapping[str, Filesystem],
    missing: Mapping[str, int],
    inside: int,
    evidence: Evidence,
    *,
    runtime: str = "containerd",
) -> NodeDisk:
    """The fact from the filesystems by path, the images that will be pulled, and bytes of what is pulled in pods."""
    root = shown.get(_ROOT) or next(iter(shown.values()))
    kept = _IMAGE_PATHS.get(runtime.partition(":")[0], ())
    image = next((shown[path] for path in kept if path in shown), root)
    pods = shown.get(_POD_PATH, root)
    own = pods.mount == image.mount
    image = replace(image, keeps=IMAGE_THRESHOLD, need=UNPACKED * (sum(missing.values()) + (inside if own else 0)))
    filesystems = (image,) if own else (image, replace(pods, need=UNPACKED * inside))
    lines = [_described(filesystem) for filesystem in filesystems]
    lines += [f"not there yet: {name} ({_bytes(size)})" for name, size in missing.items()]
    return NodeDisk(
        target=node,
        node=node,
        filesystems=filesystems,
        missing=tuple(missing),
        evidence=replace(evidence, observed="\n".join([*lines, evidence.observed])),
    )


def filling(disk: NodeDisk) -> NodeDisk:
    """The same, faulty where the kubelet will evict pods and remove images once the images are there."""
    return _judged(
        disk,
        [filesystem for filesystem in disk.filesystems if filesystem.after < filesystem.keeps],
        ClusterFault.DISK_TOO_SMALL,
    )


def nearly_full(disk: NodeDisk) -> NodeDisk:
    """The same, faulty where hardly more is left than the kubelet keeps free."""
    near = [
        filesystem
        for filesystem in disk.filesystems
        if filesystem.keeps <= filesystem.after < filesystem.keeps + _MARGIN
    ]
    return _judged(disk, near, ClusterFault.DISK_NEARLY_FULL)


def _judged(disk: NodeDisk, tight: list[Filesystem], fault: ClusterFault) -> NodeDisk:
    cause = "; ".join(f"{disk.node}: {_described(filesystem)}" for filesystem in tight)
    return replace(disk, fault=fault if tight else None, cause=cause)


def _described(filesystem: Filesystem) -> str:
    size, free, keeps = filesystem.size, filesystem.free, filesystem.keeps
    return (
        f"{filesystem.mount} has {_bytes(free)} of {_bytes(size)} free ({free / size:.0%}), images take "
        f"{_bytes(filesystem.need)}, and the kubelet evicts below {_bytes(int(size * keeps))} ({keeps:.0%})"
    )


def _bytes(amount: int) -> str:
    return f"{spell('memory', Decimal(amount))}B"
