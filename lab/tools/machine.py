"""date, df, hostname, ip, openssl and cat: what a machine, or a pod on it, says about itself."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.tools.call import Call

_DEFAULT_ROUTE = {"node": "192.168.1.1", "pod": "169.254.1.1"}
_FOREVER = 3600.0


async def date(call: Call) -> int:
    """By the node's clock; busybox's knows no nanoseconds."""
    form = next((arg[1:] for arg in call.args if arg.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    offset = call.world.nodes[call.vantage.node].clock_offset if call.vantage.node in call.world.nodes else 0.0
    now = time.time() + offset
    if call.on_node:
        form = form.replace("%N", f"{int(now % 1 * 1e9):09d}")
    form = form.replace("%N", "%%N").replace("%s", str(int(now)))
    call.out(time.strftime(form, time.gmtime(now)) + "\n")
    return 0


_DISK = 103_079_844  # KiB of a node's disk, as its Kubernetes object has it
_FOLDERS = {"/", "/var/lib/kubelet"}


async def df(call: Call) -> int:
    """Of a node with one disk for everything, in KiB and one line a filesystem (-P -k)."""
    machine = call.world.nodes[call.vantage.node]
    folders = _FOLDERS | {"/var/lib/docker" if machine.runtime.startswith("docker") else "/var/lib/containerd"}
    free = machine.disk_free // 1024
    used = _DISK - free
    status, shown = 0, False
    for path in [arg for arg in call.args if not arg.startswith("-")] or ["/"]:
        if path not in folders:
            call.err(f"df: {path}: No such file or directory\n")
            status = 1
            continue
        if not shown:
            call.out("Filesystem     1024-blocks     Used Available Capacity Mounted on\n")
            shown = True
        call.out(f"/dev/vda1        {_DISK} {used} {free} {-(-used * 100 // _DISK):>7}% /\n")
    return status


_PKI = "/var/lib/kubelet/pki/"


async def openssl(call: Call) -> int:
    """``s_client`` to the node's own kubelet, and ``x509`` of what that or a file in the kubelet's folder shows."""
    machine = call.world.nodes[call.vantage.node]
    if call.args[:1] == ["s_client"]:
        call.out("CONNECTED(00000003)\n-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
        return 0
    path = call.args[call.args.index("-in") + 1] if "-in" in call.args else ""
    ends = {
        f"{_PKI}kubelet-client-current.pem": machine.kubelet_certificate_days,
        f"{_PKI}kubelet.crt": machine.kubelet_serving_days,
        "": machine.kubelet_serving_days,
    }
    if path not in ends:
        call.err(f"Could not open file or uri for loading certificate from {path}\n: No such file or directory\n")
        return 1
    end = datetime.now(UTC) + timedelta(days=ends[path])
    who = (
        f"O = system:nodes, CN = system:node:{machine.name}" if "client" in path else f"CN = {machine.name}@1748700000"
    )
    call.out(f"subject={who}\nnotAfter={end:%b %d %H:%M:%S %Y} GMT\n")
    return 0


async def hostname(call: Call) -> int:
    """The name, or with -i the address."""
    call.out((call.vantage.address if "-i" in call.args else call.vantage.hostname or call.vantage.node) + "\n")
    return 0


async def ip(call: Call) -> int:
    """`ip route` and `ip link`, of a machine with one interface."""
    mtu = _mtu(call)
    words = [arg for arg in call.args if not arg.startswith("-")]
    gateway = _DEFAULT_ROUTE.get(call.vantage.kind, "192.168.1.1")
    if words[:1] in (["route"], ["r"]):
        proto = " proto static" if call.on_node else ""
        end = " \n" if not call.on_node else "\n"
        call.out(f"default via {gateway} dev eth0{proto}{end}")
        return 0
    if words[:1] in (["link"], ["l"]):
        loopback = "mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000"
        call.out(f"1: lo: <LOOPBACK,UP,LOWER_UP> {loopback}\n")
        call.out(
            f"2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu {mtu} qdisc noqueue state UP mode DEFAULT group default\n"
        )
        return 0
    call.err('Object "' + " ".join(words[:1]) + '" is unknown, try "ip help".\n')
    return 1


async def cat(call: Call) -> int:
    """Of the files that describe the machine (`FILES`); the machine's own cat is for all others."""
    status = 0
    for file in call.args:
        text = _read(call, file)
        if text is None:
            call.err(f"cat: {file}: No such file or directory\n")
            status = 1
        else:
            call.out(text)
    if not call.args:
        await asyncio.sleep(_FOREVER)
    return status


def _read(call: Call, file: str) -> str | None:
    vantage = call.vantage
    if file in vantage.files:
        return vantage.files[file]
    if file == "/etc/resolv.conf":
        return vantage.resolv_conf
    if file == "/etc/hostname":
        return (vantage.hostname or vantage.node) + "\n"
    if file == "/etc/hosts":
        lines = ["127.0.0.1\tlocalhost", f"{vantage.address}\t{vantage.hostname}"]
        return "\n".join([*lines, *(f"{address}\t{name}" for name, address in vantage.host_aliases.items())]) + "\n"
    if file == "/proc/net/netstat":
        names = "SyncookiesSent TCPTimeouts TCPSynRetrans TCPOrigDataSent"
        resent = call.world.resent.get(str(vantage), 0)
        return f"TcpExt: {names}\nTcpExt: 0 0 {resent} 4711\nIpExt: InNoRoutes\nIpExt: 0\n"
    if fnmatch.fnmatchcase(file, "/sys/class/net/*/mtu") and re.search(r"/(eth0|lo)/", file):
        return f"{_mtu(call) if '/eth0/' in file else 65536}\n"
    return None


def _mtu(call: Call) -> int:
    """Of a node its own; of a pod what the network between pods carries; of a container what Docker gave it."""
    node = call.world.nodes.get(call.vantage.node)
    own = node.mtu if node else 1500
    return call.vantage.mtu or (own if call.on_node else min(own, call.world.pod_mtu))
