"""The room on a worker's disk beside what images take, read from ``df``."""

from __future__ import annotations

from typing import Any, cast

import pytest

from preflight.clients.ssh import Session
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import ClusterFault
from preflight.probes import node_disk
from preflight.probes.node_disk import NodeDisk

GIB = 2**30
HEAD = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
BUSYBOX = "Filesystem           1024-blocks    Used Available Capacity Mounted on\n"


def row(mount: str, size: float, free: float, device: str = "/dev/vda1") -> str:
    return f"{device} {int(size * 2**20)} {int((size - free) * 2**20)} {int(free * 2**20)} 50% {mount}\n"


def one_disk(size: float, free: float) -> str:
    line = row("/", size, free)
    absent = "/var/lib/rancher\n/var/lib/docker\n"
    return f"/var/lib/containerd\n{HEAD}{line}{absent}/var/lib/kubelet\n{HEAD}{line}/\n{HEAD}{line}"


def disk(
    text: str, *, missing: dict[str, int] | None = None, inside: int = 0, runtime: str = "containerd://1.6.20"
) -> NodeDisk:
    evidence = Evidence(where="node w", command="df", observed=text)
    return node_disk.read_node_disk("w", node_disk.read_df(text), missing or {}, inside, evidence, runtime=runtime)


@pytest.mark.parametrize(
    ("free", "gib", "fault"),
    [
        (60, 1, None),
        (25, 1, None),  # 22 % are left
        (22, 1, ClusterFault.DISK_NEARLY_FULL),  # 19 %
        (18, 0, ClusterFault.DISK_NEARLY_FULL),
        (17, 1, ClusterFault.DISK_TOO_SMALL),  # 14 %
        (14, 0, ClusterFault.DISK_TOO_SMALL),
        (60, 20, ClusterFault.DISK_TOO_SMALL),  # the images alone
    ],
)
def test_what_is_left_beside_the_images_decides(free: float, gib: int, fault: ClusterFault | None) -> None:
    whole = disk(one_disk(100, free), missing={"registry.example.com/a:1": gib * GIB})
    judged = {node_disk.filling(whole).fault, node_disk.nearly_full(whole).fault} - {None}
    assert judged == ({fault} if fault else set())


def test_the_cause_gives_all_figures() -> None:
    cause = node_disk.filling(disk(one_disk(100, 16), missing={"a": GIB})).cause
    assert cause == "w: / has 16GiB of 100GiB free (16%), images take 3GiB, and the kubelet evicts below 15GiB (15%)"


def test_a_disk_of_its_own_for_images_is_judged_beside_the_pods() -> None:
    text = (
        f"/var/lib/containerd\n{HEAD}{row('/var/lib/containerd', 50, 9, '/dev/vdb')}"
        f"/var/lib/kubelet\n{HEAD}{row('/', 100, 12)}/\n{HEAD}{row('/', 100, 12)}"
    )
    whole = disk(text, missing={"a": GIB}, inside=GIB)
    assert [(one.mount, one.need // GIB) for one in whole.filesystems] == [("/var/lib/containerd", 3), ("/", 3)]
    cause = node_disk.filling(whole).cause
    assert "/var/lib/containerd has 9GiB" in cause
    assert "/ has 12GiB of 100GiB free (12%), images take 3GiB, and the kubelet evicts below 10GiB (10%)" in cause


@pytest.mark.parametrize(
    ("runtime", "mount"), [("containerd://1.6.20", "/"), ("docker://24.0.5", "/data/docker"), ("other://1", "/")]
)
def test_the_runtime_says_where_images_are(runtime: str, mount: str) -> None:
    text = (
        f"/var/lib/containerd\n{HEAD}{row('/', 100, 60)}/var/lib/docker\n{HEAD}{row('/data/docker', 20, 1)}"
        f"/\n{HEAD}{row('/', 100, 60)}"
    )
    assert disk(text, runtime=runtime).filesystems[0].mount == mount


@pytest.mark.parametrize(
    "line",
    [
        "/dev/vda1            103079844  1 15728640  85% /\n",
        "overlay 103079844 1 15728640 100% /\n",
        "srv:/export/a path   103079844  1 15728640  85% /\n",
    ],
)
def test_df_is_read_in_every_spelling(line: str) -> None:
    read = node_disk.read_df(f"/\n{BUSYBOX}{line}")["/"]
    assert (read.size, read.free, read.mount) == (103079844 * 1024, 15 * GIB, "/")


class Login:
    """A session that prints one text."""

    def __init__(self, text: str) -> None:
        self.text, self.ran = text, ""

    def run(self, command: str, **_: Any) -> Any:
        self.ran = command
        return type("Ran", (), {"stdout": self.text, "stderr": "", "exit": 0})()


def measured(text: str, **sizes: int) -> NodeDisk:
    session = cast("Session", Login(text))
    return node_disk.node_disk("w", session, sizes=sizes, inside=["inner"], present={"there"}, runtime="", deadline=1)


def test_what_the_node_has_already_takes_nothing_more() -> None:
    whole = measured(one_disk(100, 60), there=GIB, absent=2 * GIB, inner=GIB)
    assert whole.missing == ("absent", "inner")
    assert whole.filesystems[0].need == 3 * (2 + 1 + 1) * GIB, "what Docker pulls lies on the same disk once more"


@pytest.mark.parametrize("text", ["", "sh: df: not found\n", "/\nFilesystem\n"])
def test_without_a_filesystem_nothing_is_known(text: str) -> None:
    with pytest.raises(Unmeasured, match="`df` on w shows no filesystem"):
        measured(text)
