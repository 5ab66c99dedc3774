"""Docker-in-Docker with a real daemon, Debian's docker.io: what the script beside it finds, and what is made of that.

A pod is a network and a set of mounts of its own: its containers' commands run there with what the manifest gives them,
beside a registry and a resolver with the guide's own addresses. Nothing in it reaches the machine's network.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from preflight.clients.connect import Routes
from preflight.evidence import Evidence
from preflight.facts.dind import _dind_steps
from preflight.facts.probe_plan import script_report
from preflight.faults import DindFault, DnsFault
from preflight.inventory import Dind, Inventory
from preflight.jobshape import BUILD, JobShape, dind_job
from preflight.probes import dind, shell, shell_readers, shell_sections, transcript
from preflight.probes.pod_messages import classify_daemon
from preflight.probes.pods import DindPod
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section
from preflight.probes.transcript import PodTranscript
from preflight.run import Run
from tests.conftest import PROJECT

NODE = "k8s-worker-1"
RESOLVER, MIRROR = "10.0.0.2", "192.168.1.60"  # of the pod's own network, and nowhere else
PLAIN = 8080  # the port at which the registry speaks plain HTTP
NAMES = ("registry.example.com", "private-registry.example.com", "unknown-authority.example.com")
SHAPE = JobShape(
    namespace="gitlab",
    image="registry.example.com/library/alpine:latest",
    helper_image="registry.example.com/gitlab-org/gitlab-runner-helper:x86_64-latest",
    dns_policy="None",
    dns_config={"nameservers": [RESOLVER]},
    privileged=True,
)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UNPRIVILEGED = "chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,sys_chroot,kill"
"""What the runtime leaves to a container that is not privileged."""

_SETUP = """
set -e
ip link set lo up
for address in $ADDRESSES; do ip address add $address/32 dev lo; done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs graph
mount --bind resolv.conf /etc/resolv.conf
mount --bind hosts /etc/hosts
echo up
exec sleep 600
"""


@dataclass
class Pod:
    """A pod's network and mounts, and what runs in it."""

    folder: Path
    init: int
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, words: Sequence[str]) -> list[str]:
        nsenter = shutil.which("nsenter") or ""  # and not the one of the PATH that the command gets
        return [nsenter, f"--target={self.init}", "--net", "--mount", "--pid", f"--wd={self.folder}", *words]

    def run(self, *words: str, env: Mapping[str, str] | None = None, timeout: float = 60) -> bytes:
        """Run a command to its end; what it printed, also as complaint."""
        done = subprocess.run(
            self.command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "HOME": str(self.folder), **(env or {})},
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{words[:3]}: {done.stdout.decode(errors='replace')}"
        return done.stdout

    def start(self, *words: str, env: Mapping[str, str] | None = None, log: str = "log") -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as out:
            environment = {"PATH": PATH, "HOME": str(self.folder), **(env or {})}
            process = subprocess.Popen(
                self.command(words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )
        self.servers.append(process)
        return process

    def docker(self, *words: str) -> str:
        return self.run(_docker(), *words, env={"DOCKER_HOST": "tcp://docker:2375"}).decode()


def _docker() -> str:
    found = shutil.which("docker")
    assert found, "this test needs Debian's docker.io"
    return found


def _await(wanted: str, log: Path) -> None:
    for _ in range(300):
        if wanted in log.read_text(errors="replace"):
            return
        time.sleep(0.05)
    pytest.fail(f"{log.name} never said {wanted!r}: {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def a_pod(folder: Path) -> Iterator[Pod]:
    """A pod that goes with everything in it at the end, and when this process dies."""
    (folder / "graph").mkdir()
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    (folder / "hosts").write_text("127.0.0.1 localhost docker\n" + "".join(f"{MIRROR} {name}\n" for name in NAMES))
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *apart, "sh", "-c", _SETUP],
        cwd=folder,
        env={"PATH": PATH, "ADDRESSES": f"{RESOLVER} {MIRROR}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as outer:
        assert outer.stdout
        assert outer.stderr
        try:
            if outer.stdout.readline() != b"up\n":
                pytest.skip(f"no namespaces are to be had here: {outer.stderr.read().decode()}")
            init = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
            pod = Pod(folder, init)
            yield pod
        finally:
            outer.kill()
    for server in pod.servers:
        server.send_signal(signal.SIGCONT)  # nsenter stops itself with what it runs
        server.wait(10)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    with a_pod(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def settings() -> Dind:
    return Dind.model_validate(yaml.safe_load((PROJECT / "inventory.yaml").read_text())["dind"])


def containers(settings: Dind, script: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The daemon's container and the client's, as they are asked of the API server."""
    job = dind_job(
        SHAPE,
        node=NODE,
        run_id="made-up",
        client_image=settings.client_image,
        daemon_image=settings.daemon_image,
        daemon_args=settings.daemon_args,
        docker_host=settings.docker_host,
        tls_certdir=settings.tls_certdir,
        script=script,
        deadline=60,
        ttl=60,
    )
    daemon, client = job["spec"]["template"]["spec"]["containers"]
    assert client["name"] == BUILD
    return daemon, client


def environment(container: Mapping[str, Any], pod: Pod) -> dict[str, str]:
    return {one["name"]: one["value"].replace("/certs", f"{pod.folder}/certs") for one in container["env"]}


def start_daemon(pod: Pod, settings: Dind, *args: str, caps: str = "") -> subprocess.Popen[bytes]:
    """Start the daemon as the image ``docker:dind`` does by its entrypoint, dockerd-entrypoint.sh."""
    daemon, _ = containers(settings)
    env = environment(daemon, pod)
    certificates = env["DOCKER_TLS_CERTDIR"]
    listen = ["--host=tcp://0.0.0.0:2375"]
    if certificates:
        listen = ["--host=tcp://0.0.0.0:2376", "--tlsverify", f"--tlscacert={certificates}/server/ca.pem"]
        listen += [f"--tlscert={certificates}/server/cert.pem", f"--tlskey={certificates}/server/key.pem"]
    own = [f"--data-root={pod.folder}/graph", "--exec-root=/run/docker", "--pidfile=/run/docker.pid"]
    drop = ["setpriv", "--inh-caps=-all", f"--bounding-set=-all,{','.join(f'+{cap}' for cap in caps.split(','))}"]
    trusted = {"SSL_CERT_FILE": str(pod.folder / "ca.pem")}
    dockerd = shutil.which("dockerd", path=PATH)
    assert dockerd, "this test needs Debian's docker.io"
    given = daemon["args"]
    if given[:1] == ["dockerd"]:  # the entrypoint then adds no address of its own
        listen, given = [], given[1:]
    command = [*(drop if caps else []), dockerd, *own, *listen, *given, *args]
    return pod.start(*command, env={**env, **trusted}, log="dockerd.log")


def look(pod: Pod, settings: Dind, steps: Sequence[Step], **env: str) -> PodTranscript:
    """Run the client's container with what the manifest gives it, and busybox and docker as its image has them."""
    nonce = shell.new_nonce()
    script = shell.render(steps, limit=10, nonce=nonce)
    _, client = containers(settings, script)
    tools = pod.folder / "tools"
    if not tools.exists():
        tools.mkdir()
        for applet in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
            (tools / applet).symlink_to(shutil.which("busybox") or "")
        (tools / "docker").symlink_to(_docker())
    bound = shell.bound(steps, limit=10) + 10
    said = pod.run(*client["command"], env={**environment(client, pod), "PATH": str(tools), **env}, timeout=bound)
    log = pod.folder / "dockerd.log"
    return PodTranscript(
        nonce=nonce,
        pod=DindPod(
            target=NODE,
            evidence=Evidence(where=f"dind on {NODE}", command="true"),
            node=NODE,
            name="preflight-made-up",
            log=said.decode(errors="replace"),
            privileged=True,
            port=int(environment(client, pod)["DOCKER_HOST"].rpartition(":")[2]),
            daemon_log=log.read_text(errors="replace") if log.exists() else "",
        ),
    )


def section(found: PodTranscript, step: Step) -> Section:
    return shell_sections.find(shell_sections.parse(found.pod.log, found.nonce), step, where="dind")


# ---- a healthy pod ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(settings: Dind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod with a daemon, a resolver, and the registry that holds the guide's image, made here from busybox."""
    folder = tmp_path_factory.mktemp("dind")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert(NAMES[0]).private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    tls = f", tls: {{certificate: {folder}/server.pem, key: {folder}/server.pem}}"
    with a_pod(folder) as pod:
        for port, security in ((443, tls), (PLAIN, "")):
            lines = ["version: 0.1", f"storage: {{filesystem: {{rootdirectory: {folder}/store}}}}"]
            (folder / f"{port}.yml").write_text("\n".join([*lines, f"http: {{addr: '{MIRROR}:{port}'{security}}}\n"]))
            pod.start(shutil.which("docker-registry") or "", "serve", f"{folder}/{port}.yml", log=f"registry-{port}")
        told = [f"--address=/{name}/{MIRROR}" for name in NAMES]
        dnsmasq = shutil.which("dnsmasq", path=PATH) or ""
        pod.start(dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--user=root", *told)
        start_daemon(pod, settings)
        _await("API listen on", folder / "dockerd.log")
        for port in (443, PLAIN):
            _await("listening on", folder / f"registry-{port}")
        _push_busybox(pod, settings.pull)
        yield pod


def _push_busybox(pod: Pod, image: str) -> None:
    """Make an image of busybox and its libraries, push it, and forget it."""
    root = pod.folder / "image"
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox") or ""
    linked = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    for library in (word for word in linked.split() if word.startswith("/")):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in ("cat", "echo", "nslookup", "sh"):
        (root / "bin" / applet).symlink_to("busybox")
    subprocess.run(["tar", "-C", str(root), "-cf", str(pod.folder / "image.tar"), "."], check=True)
    pod.docker("import", f"{pod.folder}/image.tar", image)
    pod.docker("push", "-q", image)
    pod.docker("rmi", image)


def test_a_job_finds_docker_beside_it(healthy: Pod, settings: Dind, inventory: Inventory) -> None:
    steps = _dind_steps(inventory, settings, Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made"))
    found = look(healthy, settings, [*steps, shell.docker_pull(settings.pull.replace(NAMES[0], NAMES[1]))])
    daemon = dind.daemon(NODE, found)
    assert (daemon.fault, daemon.storage_driver) == (None, "overlay2")
    assert daemon.seconds is not None
    assert daemon.version == healthy.docker("version", "--format={{.Server.Version}}").strip()
    assert dind.storage(daemon).fault is None
    report = script_report(f"dind on {NODE}", found)
    assert transcript.resolv_conf(report, SHAPE, NODE).fault is None
    pulled = dind.read_docker_pull(section(found, shell.docker_pull(settings.pull)), where="dind")
    assert (pulled.fault, pulled.fresh) == (None, True)
    assert dind.inner_pull(report, NODE, settings.pull).fault is None
    insecure = settings.pull.replace(NAMES[0], NAMES[1])  # its certificate is another's; the daemon was told to bear it
    assert dind.read_docker_pull(section(found, shell.docker_pull(insecure)), where="dind").fault is None
    assert dind.inner_run(report, NODE, settings.pull, ("echo", "hello")).fault is None
    addresses = dict.fromkeys(inventory.dns.names, frozenset({MIRROR}))
    for lookups in (
        transcript.own_lookups(report, addresses, deadline=5),
        transcript.inner_lookups(report, settings.pull, addresses, deadline=5),
    ):
        assert lookups.fault is None
        assert [answer.addresses for answer in lookups.answers] == [{MIRROR}] * len(addresses)
    assert healthy.docker("ps", "--all", "--quiet") == ""


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("registry.example.com/library/alpine:absent", "manifest unknown"),
        ("unknown-authority.example.com/library/alpine:latest", "x509: "),
        (f"registry.example.com:{PLAIN}/library/alpine:latest", "HTTP response to HTTPS client"),
        ("registry.example.com:5000/library/alpine:latest", "connection refused"),
    ],
)
def test_a_pull_that_fails_is_the_registrys_and_not_the_daemons(
    image: str, words: str, healthy: Pod, settings: Dind
) -> None:
    found = look(healthy, settings, [shell.docker_pull(image)])
    pulled = dind.inner_pull(script_report("dind", found), NODE, image)
    assert pulled.fault is DindFault.PULL_FAILED
    assert words in pulled.cause


def test_a_container_that_fails_is_told(healthy: Pod, settings: Dind) -> None:
    absent = shell.docker_lookup(settings.pull, "absent.example.com")
    failing = [
        shell.docker_run(settings.pull, ("sh", "-c", "echo made-up reason; exit 3")),
        shell.docker_run(settings.pull, ("no-such-program",)),
        shell.docker_run(settings.pull, ("sh", "-c", "while :; do :; done"), limit=2),
    ]
    found = look(healthy, settings, [shell.docker_pull(settings.pull), *failing, absent])
    ran = [dind.read_docker_run(section(found, step), where="dind") for step in failing]
    assert [one.fault for one in ran] == [DindFault.RUN_FAILED] * 3
    assert [one.exit for one in ran[:2]] == [3, 127]
    assert "made-up reason" in ran[0].cause
    assert "no-such-program" in ran[1].cause
    assert "no end within" in ran[2].cause
    answer = shell_readers.read_lookup(section(found, absent), frozenset())
    assert answer.fault in {DnsFault.REFUSED, DnsFault.NXDOMAIN}


# ---- TLS -------------------------------------------------------------------------------------------------------------


def certificates(pod: Pod, authority: trustme.CA, *owners: str) -> None:
    for owner in owners:
        folder = pod.folder / "certs" / owner
        folder.mkdir(parents=True, exist_ok=True)
        issued = authority.issue_cert("docker")
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))


READY = (shell.docker_ready(2), shell.docker_version(), shell.docker_info())


def test_tls_is_right_on_both_sides_or_told(pod: Pod, settings: Dind) -> None:
    secure = settings.model_copy(update={"docker_host": "tcp://docker:2376", "daemon_args": []})
    certificates(pod, trustme.CA(), "server", "client")
    start_daemon(pod, secure)
    _await("API listen on", pod.folder / "dockerd.log")
    assert dind.daemon(NODE, look(pod, secure, READY)).fault is None

    plain_port = dind.daemon(NODE, look(pod, settings, READY))
    assert plain_port.fault is DindFault.TLS_MISMATCH
    assert "the daemon listens on 2376, the client asks 2375" in plain_port.cause

    no_tls = dind.daemon(NODE, look(pod, secure, READY, DOCKER_TLS_VERIFY=""))
    assert no_tls.fault is DindFault.TLS_MISMATCH
    assert "HTTP request to an HTTPS server" in no_tls.evidence.observed

    certificates(pod, trustme.CA(), "client")
    stranger = dind.daemon(NODE, look(pod, secure, READY))
    assert stranger.fault is DindFault.TLS_MISMATCH
    assert "x509: " in stranger.evidence.observed


def test_a_client_with_tls_at_a_daemon_without_is_told_at_once(pod: Pod, settings: Dind) -> None:
    certificates(pod, trustme.CA(), "client")
    start_daemon(pod, settings)
    _await("API listen on", pod.folder / "dockerd.log")
    tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": f"{pod.folder}/certs/client"}
    found = dind.daemon(NODE, look(pod, settings, [shell.docker_ready(60), *READY[1:]], **tls))
    assert found.fault is DindFault.TLS_MISMATCH
    assert "HTTP response to HTTPS client" in found.evidence.observed
    assert found.evidence.took < 30


# ---- a daemon that is not there --------------------------------------------------------------------------------------


def test_nobody_there_is_told(pod: Pod, settings: Dind) -> None:
    found = look(pod, settings, [*READY, shell.docker_pull(settings.pull)])
    daemon = dind.daemon(NODE, found)
    assert daemon.fault is DindFault.DAEMON_SLOW
    assert "Cannot connect to the Docker daemon at tcp://docker:2375" in daemon.cause
    # A daemon that dies after it was ready:
    later = look(pod, settings, [*READY[1:], shell.docker_pull(settings.pull)])
    info = dind.read_docker_info(section(later, READY[1]), section(later, READY[2]), where="dind")
    assert info.fault is DindFault.UNREACHABLE
    pulled = dind.inner_pull(script_report("dind", later), NODE, settings.pull)
    assert pulled.fault is DindFault.PULL_FAILED
    assert "Cannot connect" in pulled.cause


def test_a_daemon_that_comes_late_is_waited_for(pod: Pod, settings: Dind) -> None:
    start_daemon(pod, settings)
    daemon = dind.daemon(NODE, look(pod, settings, [shell.docker_ready(30), *READY[1:]]))
    assert daemon.fault is None
    assert daemon.seconds is not None


def test_a_daemon_that_hangs_is_told(pod: Pod, settings: Dind) -> None:
    start_daemon(pod, settings)
    _await("API listen on 127.0.0.1", pod.folder / "dockerd.log")
    pod.run("sh", "-c", "kill -STOP $(cat /run/docker.pid)")
    daemon = dind.daemon(NODE, look(pod, settings, READY))
    assert daemon.fault is DindFault.DAEMON_SLOW
    assert daemon.cause.endswith("it did not answer `docker info`")


def test_a_daemon_without_privilege_tells_why_it_ended(pod: Pod, settings: Dind) -> None:
    ended = start_daemon(pod, settings, caps=UNPRIVILEGED)
    status = ended.wait(30)
    log = (pod.folder / "dockerd.log").read_text()
    fault, cause = classify_daemon(log, exit_status=status, privileged=False, port=2375)
    assert fault is DindFault.NOT_PRIVILEGED
    assert "ermi" in cause  # Permission denied, or not permitted
    assert classify_daemon(log, exit_status=status, privileged=True, port=2375)[0] is DindFault.DAEMON_EXITED


def test_a_slow_storage_driver_is_told(pod: Pod, settings: Dind) -> None:
    start_daemon(pod, settings, "--storage-driver=vfs")
    daemon = dind.daemon(NODE, look(pod, settings, [shell.docker_ready(30), *READY[1:]]))
    assert (daemon.fault, daemon.storage_driver) == (None, "vfs")
    assert dind.storage(daemon).fault is DindFault.STORAGE_DRIVER
