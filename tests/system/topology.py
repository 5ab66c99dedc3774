"""The guide's environment with its own addresses, in network namespaces; the suite runs inside.

Real: the network and its firewalls, name servers (dnsmasq), SSH (OpenSSH), and every measurement that nodes and job
pods take, with this computer's own tools, in a namespace behind their node's address. GitLab, the registries, the chart
repository and the Kubernetes API are the lab's servers, listening at the guide's addresses; so are image pulls, Docker
daemons and the runner's managers. All pods of a worker share one namespace.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import yaml

from lab import chart_repository, gitlab, inventory, kubernetes, registry, shell
from lab.loopback import Loopback
from lab.world import API_ADDRESS, API_PORT, PRIVATE, RESOLVERS, Vantage, World
from tests.system.namespaces import PATH, Machine, Network, program

PROJECT = Path(__file__).parents[2]
OPERATOR = "192.168.1.10"
_STARTS = 15.0  # seconds that servers may take to answer
_RUNS = 120.0  # seconds that the suite may take
REFUSED = 97
"""The exit status of a command that is not where `guard` wants it."""
_GUARD = f"""\
[ "$(ip netns identify $$)" = "$0" ] && ip -4 -o address show dev eth0 | grep -q ' {OPERATOR}/24 ' && exec "$@"
echo "refused: not on the operator's machine of namespace $0" >&2
exit {REFUSED}
"""
"""What becomes of this shell is in the namespace $0, with the operator's address, or is not run at all."""
_POD = """\
mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 || exit 125
exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"
"""
"""A container's own files and user; `ip netns exec` has made a mount namespace for it."""


@dataclass(frozen=True)
class Ended:
    """A run of the suite: its exit status, what it printed, and its report (preflight.json)."""

    status: int
    printed: str
    report: dict[str, Any]

    @property
    def text(self) -> str:
        """What it printed, and what -v would print of its checks."""
        checks = [
            f"{one['fault']}: {one['cause']} {one['remedy']} {one['reason']} also seen from {one['witness']}"
            for one in self.report["checks"]
        ]
        proofs = [
            f"{proof['where']} {proof['statement']}" for one in self.report["conclusions"] for proof in one["proofs"]
        ]
        return "\n".join([self.printed, *checks, *proofs])

    def named(self, verdict: str) -> set[str]:
        """The checks of a verdict, with their targets in brackets."""
        return {
            f"{one['id']}[{one['target']}]" if one["target"] else one["id"]
            for one in self.report["checks"]
            if one["verdict"] == verdict
        }


class Topology:
    """All machines of the guide, up and answering."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder, self.network, self.machines = folder, network, network.machines
        self.world = inventory.build()
        self.world.registries[PRIVATE].auth = "none"  # the inventory as it is names no account for it
        self._authority = trustme.CA(organization_name="Example Ltd", organization_unit_name="Example Root CA")

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def guarded(self, *argv: str) -> list[str]:
        """The command line that runs `argv` on the operator's machine, and nowhere else."""
        return self["operator"].command(*guard(self["operator"].namespace, *argv))

    def check(self, reports: Path, *arguments: str) -> Ended:
        """Run the suite on the operator's machine, with the repository's inventory as it is."""
        routes = self.network.router.run("ip", "route", "show", "default")
        assert not routes, f"the router leads out of the namespaces: {routes}"
        home = self.folder / "home"
        ended = subprocess.run(
            self.guarded(
                *(sys.executable, "-m", "pytest", "checks/", "-p", "no:cacheprovider"),
                *("--inventory", str(home / "inventory.yaml"), "--report-dir", str(reports), *arguments),
            ),
            cwd=PROJECT,
            env={
                "HOME": str(home),
                "PATH": PATH,
                "PYTHONPATH": str(PROJECT),
                "SSL_CERT_FILE": str(home / "ca.pem"),
                "GITLAB_API_TOKEN": min(self.world.gitlab.tokens),
                "COLUMNS": "200",
                "NO_COLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=_RUNS,
            check=False,
        )
        report = reports / "preflight.json"
        told = json.loads(report.read_text()) if report.exists() else {}
        return Ended(ended.returncode, ended.stdout + ended.stderr, told)

    # ---- how it is built

    def build(self) -> None:
        """Make the machines and the operator's files; nothing is served yet."""
        gateway = {1: "172.24.1", 2: "172.24.2", 3: "172.24.3"}
        self.network.machine("gitlab", "192.168.1.50/24")
        self.network.machine("master", f"{API_ADDRESS}/24")
        self.network.machine("operator", f"{OPERATOR}/24", resolvers=RESOLVERS)
        hosts = sorted({address for name in _SHOPS for address in self.world.zones[name]})
        self.network.machine("registries", *(f"{address}/24" for address in hosts))
        for number, address in enumerate(RESOLVERS, start=1):
            self.network.machine(f"resolver-{number}", f"{address}/16")
        for number, net in gateway.items():
            worker = self.network.machine(f"worker-{number}", f"192.168.1.{100 + number}/24", resolvers=RESOLVERS)
            self.network.behind(worker, f"pods-{number}", f"{net}.1/24", f"{net}.2/24")

    def start(self) -> None:
        """Start name servers and SSH servers, and write what the operator has."""
        home = self.folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        (home / ".kube").mkdir()
        (home / "ca.pem").write_bytes(self._authority.cert_pem.bytes())
        (home / "inventory.yaml").write_bytes((PROJECT / "inventory.yaml").read_bytes())
        values = (PROJECT / "gitlab-runner-values.yaml").read_text()
        assert "YOUR_RUNNER_TOKEN_HERE" in values
        values = values.replace("YOUR_RUNNER_TOKEN_HERE", self.world.configured_token)
        (home / "gitlab-runner-values.yaml").write_text(values)
        kubernetes.deploy_managers(self.world.cluster, self.world, values)
        (home / ".kube" / "config").write_text(yaml.safe_dump(self._kubeconfig()))
        _keygen(home / ".ssh" / "id_ed25519")
        for number in range(1, 4):
            self._start_dnsmasq(self[f"resolver-{number}"])
            self._start_sshd(self[f"worker-{number}"], home / ".ssh")
        for number in range(1, 4):
            _await(self[f"resolver-{number}"], 53)
            _await(self[f"worker-{number}"], 22)

    def _start_dnsmasq(self, machine: Machine) -> None:
        """Real names with IPv4 addresses alone: dnsmasq then says REFUSED to AAAA, which is healthy."""
        zones = [f"--address=/{name}/{address}" for name, (address, *_) in self.world.zones.items()]
        machine.start(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts"),
            *("--bind-interfaces", f"--listen-address={machine.address}", "--except-interface=lo"),
            *("--user=root", "--log-facility=-", "--log-queries", *zones),
        )

    def _start_sshd(self, machine: Machine, operators: Path) -> None:
        folder = self.folder / machine.name
        folder.mkdir()
        host_key = _keygen(folder / "host_key")
        with (operators / "known_hosts").open("a") as known:
            known.write(f"{machine.address} {' '.join(host_key.split()[:2])}\n")
        lines = [f"ListenAddress {machine.address}", "PidFile none", "UsePAM no", "StrictModes no"]
        lines += ["PermitRootLogin prohibit-password", f"AuthorizedKeysFile {operators / 'id_ed25519.pub'}"]
        lines += [f"HostKey {folder / 'host_key'}"]
        lines += [f"SetEnv HOME={folder}"]  # whatever this machine's own shell profile does
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd, as root, separates its privileges there
        machine.start("sshd", "-D", "-e", "-f", str(folder / "sshd_config"))

    def _kubeconfig(self) -> dict[str, Any]:
        ca = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        server = f"https://{API_ADDRESS}:{API_PORT}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "ops@kubernetes",
            "clusters": [{"name": "kubernetes", "cluster": {"certificate-authority-data": ca, "server": server}}],
            "users": [{"name": "ops", "user": {"token": self.world.kubeconfig_token}}],
            "contexts": [{"name": "ops@kubernetes", "context": {"cluster": "kubernetes", "user": "ops"}}],
        }

    # ---- the lab's servers, at the guide's addresses

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serve GitLab, the registries, the charts and the Kubernetes API, from a thread."""
        loop = asyncio.new_event_loop()
        ready, ended = threading.Event(), asyncio.Event()
        failures: list[BaseException] = []

        async def serve() -> None:
            async with self._served():
                ready.set()
                await ended.wait()

        def main() -> None:
            try:
                with asyncio.Runner(loop_factory=lambda: loop) as runner:
                    runner.run(serve())
            except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits
                failures.append(failure)
            finally:
                ready.set()

        thread = threading.Thread(target=main, name="topology", daemon=True)
        thread.start()
        try:
            assert ready.wait(_STARTS), "the servers did not start"
            if failures:
                raise failures[0]
            yield
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)
            thread.join(_STARTS)
        assert not self.world.problems, self.world.problems

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[None]:
        world, tokens = self.world, registry.Tokens()
        async with contextlib.AsyncExitStack() as stack:

            async def serve(machine: str, name: str, address: str, port: int, app: Any, *names: str) -> None:
                place = _Place(world, self[machine], address, port)
                stack.push_async_callback(place.close)
                await place.http(name, app, tls=self._tls(*names) if names else None)

            await serve("gitlab", "gitlab", world.gitlab.address, world.gitlab.port, gitlab.application(world))
            api = await stack.enter_async_context(kubernetes.running(world, run=self._run))
            await serve("master", "kubernetes", API_ADDRESS, API_PORT, api, API_ADDRESS, "kubernetes")
            for settings in world.registries.values():
                app = registry.application(world, settings, tokens)
                await serve(
                    "registries", f"registry {settings.host}", settings.address, settings.port, app, settings.host
                )
                if settings.auth == "bearer":
                    (address,) = world.zones[settings.realm_host]
                    issuer = registry.token_application(world, {settings.host: settings}, tokens)
                    await serve("registries", f"token {settings.realm_host}", address, 443, issuer, settings.realm_host)
            charts = world.charts
            await serve(
                "registries", "charts", charts.address, charts.port, chart_repository.application(world), charts.host
            )
            yield

    def _tls(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    async def _run(
        self,
        world: World,
        vantage: Vantage,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_start: Callable[[asyncio.WriteTransport], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
        on_error: Callable[[bytes], None] | None = None,
        limit: float,
    ) -> shell.Ran:
        """Run a container's command in its node's pod network; managers' and Docker's clients stay the lab's own."""
        if vantage.dockerd is not None or vantage.files:
            return await shell.run(
                world, vantage, argv, env=env, on_start=on_start, on_output=on_output, on_error=on_error, limit=limit
            )
        folder = Path(tempfile.mkdtemp(prefix=f"{vantage.hostname}-", dir=self.folder))
        (folder / "resolv.conf").write_text(vantage.resolv_conf)
        aliases = "".join(f"{address} {name}\n" for name, address in vantage.host_aliases.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{aliases}")
        machine = self[vantage.node.replace("k8s-worker", "pods")]
        files = (str(folder / "resolv.conf"), str(folder / "hosts"))
        return await shell.execute(
            machine.command("sh", "-c", _POD, "pod", *files, *argv),
            program=program("ip"),
            env=env,
            on_start=on_start,
            on_output=on_output,
            on_error=on_error,
            limit=limit,
        )


_SHOPS = ("registry.example.com", "private-registry.example.com", "auth.example.com", "charts.gitlab.io")


class _Place(Loopback):
    """A server's socket at one address of one machine instead of on loopback."""

    def __init__(self, world: World, machine: Machine, address: str, port: int) -> None:
        super().__init__(world)
        self._machine, self._at = machine, (address, port)

    def _bound(self, kind: Any, port: int = 0) -> Any:
        del port
        sock = self._keep(self._machine.socket(kind))
        sock.setblocking(False)
        sock.bind(self._at)
        return sock


def guard(namespace: str, *argv: str) -> list[str]:
    """The command line that becomes `argv` if it is run on the operator's machine in that namespace."""
    return ["sh", "-c", _GUARD, namespace, *argv]


@contextlib.contextmanager
def topology(folder: Path) -> Iterator[Topology]:
    """The guide's environment, up for as long as a `with` lasts."""
    with Network(folder, "192.168.1.1/24", "10.0.0.1/16", "10.1.0.1/16") as network:
        made = Topology(folder, network)
        made.build()
        made.start()
        with made.serving():
            yield made


def _keygen(file: Path) -> str:
    """A new key pair in `file`; returns the public half's line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True, timeout=10)
    return file.with_suffix(".pub").read_text()


def _await(machine: Machine, port: int) -> None:
    ends = time.monotonic() + _STARTS
    while not machine.listens(port):
        assert time.monotonic() < ends, f"nobody listens on port {port} of {machine.name}: {machine.log.read_text()}"
        time.sleep(0.05)
