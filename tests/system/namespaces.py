"""Machines in network namespaces, joined by a router that leads nowhere else.

Every interface, address, route and firewall rule lives in a namespace made here; the machine's own network gets none of
them. What runs in a namespace dies with this process, however that ends, and `Network.close` removes everything.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Self

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Where programs are, those of an administrator among them."""
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_ENDS = 3.0  # seconds that a process may take to end
_NUMBERS = itertools.count()


def program(name: str) -> str:
    """Where a program is, in the places of an administrator."""
    found = shutil.which(name, path=PATH)
    assert found, f"this test needs {name}"
    return found


class Machine:
    """One namespace: a machine as the network sees it.

    Attributes:
        name: what it is called here.
        namespace: what the kernel calls it; no other namespace of this computer is called so.
        address: its first address.
        log: what its servers print.
    """

    def __init__(self, network: Network, name: str, addresses: Sequence[str]) -> None:
        self.network, self.name = network, name
        self.namespace = f"{network.prefix}-{name}"
        self.interfaces = tuple(IPv4Interface(address) for address in addresses)
        self.address = str(self.interfaces[0].ip)
        self.log = network.folder / f"{name}.log"
        self.files = Path("/etc/netns") / self.namespace  # `ip netns exec` shows these in /etc

    def command(self, *argv: str) -> list[str]:
        """A command line that runs `argv` on this machine."""
        return [program("ip"), "netns", "exec", self.namespace, *argv]

    def run(self, *argv: str, timeout: float = 10) -> str:
        """Run a command to its end; returns what it printed."""
        ended = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=timeout, check=False)
        assert ended.returncode == 0, f"{self.name}: {' '.join(argv)}: {ended.stderr or ended.stdout}"
        return ended.stdout

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a server; it ends with the network, or when this process dies."""
        command = [program("setpriv"), "--pdeathsig", "KILL", *self.command(program(argv[0]), *argv[1:])]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.network.started.append(process)
        return process

    def end(self) -> None:
        """End what still runs here: what servers had started for somebody."""
        listed = subprocess.run(
            [program("ip"), "netns", "pids", self.namespace], capture_output=True, text=True, timeout=10, check=False
        )
        for process in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)

    def socket(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket on this machine, for this process: one thread steps into the namespace, makes it, and ends."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", self.namespace).open() as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), f"setns {self.namespace}"))
                    return
            made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        (one,) = made
        if isinstance(one, OSError):
            raise one
        return one

    def listens(self, port: int) -> bool:
        """Whether somebody on this machine takes TCP connections on a port."""
        with self.socket() as one:
            one.settimeout(1)
            return one.connect_ex((self.address, port)) == 0

    def rule(self, *rule: str) -> None:
        """A firewall rule for good: the words behind ``iptables``."""
        self.run("iptables", "-w", "5", *rule)

    @contextmanager
    def firewall(self, *rule: str) -> Iterator[None]:
        """A rule on top of the chain of what this machine is sent (INPUT), for as long as a `with` lasts."""
        self.rule("-I", "INPUT", *rule)
        try:
            yield
        finally:
            self.rule("-D", "INPUT", *rule)


class Network:
    """A router, and the machines behind it.

    Args:
        folder: where its machines' logs go.
        *gateways: the router's addresses, like ``192.168.1.1/24``; each network has one.
    """

    def __init__(self, folder: Path, *gateways: str) -> None:
        self.folder = folder
        self.prefix = f"preflight-{os.getpid()}-{next(_NUMBERS)}"
        self.started: list[subprocess.Popen[bytes]] = []
        self.machines: dict[str, Machine] = {}
        self._gateways = gateways

    def __enter__(self) -> Self:
        try:
            self.router = self._made("router", self._gateways)
            self._ip("-n", self.router.namespace, "link", "add", "lan", "type", "bridge")
            self._address(self.router, "lan")
            self._forward(self.router)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def machine(self, name: str, *addresses: str, resolvers: Sequence[str] = ()) -> Machine:
        """A machine on the router's networks, with these addresses (``192.168.1.50/24``) and resolv.conf."""
        made = self._made(name, addresses, resolvers)
        self._cable(made, self.router, f"to-{name}"[:15])
        self._ip("-n", self.router.namespace, "link", "set", f"to-{name}"[:15], "master", "lan", "up")
        gateway = next(one.ip for one in self.router.interfaces if made.interfaces[0].ip in one.network)
        self._ip("-n", made.namespace, "route", "add", "default", "via", str(gateway))
        return made

    def behind(self, host: Machine, name: str, gateway: str, address: str) -> Machine:
        """A machine in a network of `host`'s own, which gives it its address to the outside, as a node to its pods."""
        made = self._made(name, [address])
        self._cable(made, host, "cni0")
        self._ip("-n", host.namespace, "address", "add", gateway, "dev", "cni0")
        self._ip("-n", host.namespace, "link", "set", "cni0", "up")
        self._ip("-n", made.namespace, "route", "add", "default", "via", str(IPv4Interface(gateway).ip))
        self._forward(host)
        inside = str(IPv4Interface(gateway).network)
        host.rule("-t", "nat", "-A", "POSTROUTING", "-s", inside, "-o", "eth0", "-j", "MASQUERADE")
        return made

    def close(self) -> None:
        """End what runs in the namespaces, and remove them; nothing is left, whatever failed before."""
        for process in self.started:
            process.terminate()
        for process in self.started:
            try:
                process.wait(_ENDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_ENDS)
        for machine in self.machines.values():
            machine.end()
            subprocess.run([program("ip"), "netns", "delete", machine.namespace], capture_output=True, check=False)
            shutil.rmtree(machine.files, ignore_errors=True)
        self.machines.clear()

    def _made(self, name: str, addresses: Sequence[str], resolvers: Sequence[str] = ()) -> Machine:
        machine = self.machines[name] = Machine(self, name, addresses)
        machine.files.mkdir(parents=True)
        (machine.files / "resolv.conf").write_text("".join(f"nameserver {address}\n" for address in resolvers))
        (machine.files / "hosts").write_text("127.0.0.1 localhost\n")
        self._ip("netns", "add", machine.namespace)
        self._ip("-n", machine.namespace, "link", "set", "lo", "up")
        return machine

    def _cable(self, machine: Machine, other: Machine, far_end: str) -> None:
        """Join two namespaces; neither end is ever anywhere else."""
        near, far = machine.namespace, other.namespace
        self._ip("-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", far_end, "netns", far)
        self._address(machine, "eth0")

    def _address(self, machine: Machine, device: str) -> None:
        for interface in machine.interfaces:
            self._ip("-n", machine.namespace, "address", "add", str(interface), "dev", device)
        self._ip("-n", machine.namespace, "link", "set", device, "up")

    @staticmethod
    def _forward(machine: Machine) -> None:
        machine.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    @staticmethod
    def _ip(*arguments: str) -> None:
        ended = subprocess.run([program("ip"), *arguments], capture_output=True, text=True, timeout=10, check=False)
        assert ended.returncode == 0, f"ip {' '.join(arguments)}: {ended.stderr}"
