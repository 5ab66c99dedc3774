"""Logging in to a real sshd, Debian's openssh-server, in the ways in which administrators configure it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from preflight.clients.connect import Routes
from preflight.clients.ssh import AuthGate, Session, open_session
from preflight.clients.ssh_login import Login
from preflight.evidence import Unmeasured
from preflight.faults import PathFault, SshFault
from preflight.probes import shell, shell_readers, shell_sections
from preflight.probes.node_pulls import pull_on_node
from tests.probes import servers
from tests.probes.servers import closed_port, listens

SSHD = "/usr/sbin/sshd"
NODE = "k8s-worker-1"


def keygen(file: Path, kind: str = "ed25519", *options: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file), *options], check=True)
    return file


@dataclass
class Openssh:
    """An sshd of ours: where it keeps its things, and how to log in."""

    folder: Path
    login: Login
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @contextmanager
    def running(
        self, *options: str, host_keys: tuple[str, ...] = ("ed25519",), prefix: tuple[str, ...] = ()
    ) -> Iterator[int]:
        """The port of an sshd with these further lines of configuration, started by the command `prefix`, if any."""
        port = closed_port()
        # Whatever this machine's own shell profile does: whoever logs in has another home, unless the prefix gives one.
        home = [] if prefix else [f"SetEnv HOME={self.folder}"]
        lines = [
            f"ListenAddress 127.0.0.1:{port}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            *(f"HostKey {self.host_key(kind)}" for kind in host_keys),
            *home,
            *options,
        ]
        file = self.folder / f"sshd_config_{port}"
        file.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen([*prefix, SSHD, "-D", "-e", "-f", str(file)], stderr=log)
        self.started.append(process)
        try:
            assert listens(port), f"sshd did not start: {(self.folder / 'log').read_text()}"
            yield port
        finally:
            process.terminate()
            process.wait(5)

    def shell(self, program: str) -> tuple[str, ...]:
        """The command that starts an sshd for which this is our login shell, and `home` our home directory.

        The sshd sees a passwd file of its own, in a mount namespace: the machine's stays as it is.
        """
        if os.getuid() != 0:
            pytest.skip("needs root, to make a mount namespace")
        found = shutil.which(program)
        assert found, f"this test needs Debian's {program}"
        self.home.mkdir(exist_ok=True)
        lines = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        ours = [line for line in lines if line[0] != self.login.user]
        ours.append([self.login.user, "x", str(os.getuid()), str(os.getgid()), "", str(self.home), found])
        file = self.folder / "passwd"
        file.write_text("".join(":".join(line) + "\n" for line in ours))
        return ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/passwd && exec "$@"', "sh")

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def host_key(self, kind: str) -> Path:
        file = self.folder / f"host_{kind}"
        return file if file.exists() else keygen(file, kind)

    def scan(self, port: int, *options: str) -> None:
        """Record the host's keys as the remedy says."""
        scanned = subprocess.run(
            ["ssh-keyscan", *options, "-p", str(port), "127.0.0.1"], check=True, capture_output=True, text=True
        )
        assert self.login.known_hosts is not None
        with self.login.known_hosts.open("a") as out:
            out.write(scanned.stdout)

    def enter(self, port: int, login: Login | None = None, *, deadline: float = 10) -> Session:
        login = replace(login or self.login, port=port)
        return open_session(NODE, "127.0.0.1", login, routes=Routes(), deadline=deadline, gate=AuthGate())

    def refused(self, port: int, login: Login | None = None, *, deadline: float = 10) -> Unmeasured:
        with pytest.raises(Unmeasured) as met:
            self.enter(port, login, deadline=deadline).close()
        return met.value


@pytest.fixture
def openssh(tmp_path: Path) -> Openssh:
    assert Path(SSHD).exists(), "this test needs Debian's openssh-server"
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd, as root, separates its privileges there
    key = keygen(tmp_path / "id_ed25519")
    (tmp_path / "authorized_keys").write_text((tmp_path / "id_ed25519.pub").read_text())
    return Openssh(tmp_path, Login(user=getpass.getuser(), key=key, known_hosts=tmp_path / "known_hosts"))


@pytest.mark.parametrize("options", [(), ("-H",)], ids=["plain", "hashed"])
def test_a_scanned_host_is_known(options: tuple[str, ...], openssh: Openssh) -> None:
    with openssh.running() as port:
        openssh.scan(port, *options)
        with openssh.enter(port) as session:
            ran = session.run("sh -s", stdin="echo out; echo err >&2; exit 3\n", deadline=5)
    assert (ran.exit, ran.stdout, ran.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_of_several_host_keys_the_known_one_is_asked_for(kind: str, openssh: Openssh) -> None:
    with openssh.running(host_keys=("rsa", "ecdsa", "ed25519")) as port:
        openssh.scan(port, "-t", kind)
        openssh.enter(port).close()


def test_an_unknown_host_is_refused(openssh: Openssh) -> None:
    with openssh.running() as port:
        met = openssh.refused(port)
        assert met.fault is SshFault.HOST_KEY_UNKNOWN
        scan = met.needs.partition("then")[0].partition("own: ")[2]
        subprocess.run(["sh", "-c", scan], check=True, capture_output=True)
        openssh.enter(port).close()


def test_a_changed_host_is_refused_until_the_remedy_is_applied(openssh: Openssh) -> None:
    with openssh.running() as port:
        openssh.scan(port)
        known = openssh.login.known_hosts
        assert known is not None
        stale = keygen(openssh.folder / "stale").with_suffix(".pub").read_text()
        known.write_text(f"[127.0.0.1]:{port} {stale}")
        met = openssh.refused(port)
        assert met.fault is SshFault.HOST_KEY_CHANGED
        subprocess.run(["sh", "-c", met.needs.partition("then: ")[2].strip("`")], check=True, capture_output=True)
        openssh.enter(port).close()


def test_a_key_that_is_not_authorized_is_refused(openssh: Openssh) -> None:
    for options in ((), ("MaxAuthTries 1",)):
        with openssh.running(*options) as port:
            openssh.scan(port)
            met = openssh.refused(port, replace(openssh.login, key=keygen(openssh.folder / f"other{port}")))
        assert met.fault is SshFault.AUTHENTICATION


def test_a_user_who_is_denied_is_refused(openssh: Openssh) -> None:
    with openssh.running(f"DenyUsers {openssh.login.user}") as port:
        openssh.scan(port)
        assert openssh.refused(port).fault is SshFault.AUTHENTICATION


def test_a_second_factor_is_asked_for_and_named(openssh: Openssh) -> None:
    factors = "publickey,password"
    with openssh.running(f"AuthenticationMethods {factors}", "PermitRootLogin yes") as port:
        openssh.scan(port)
        met = openssh.refused(port)
    assert met.fault is SshFault.AUTHENTICATION
    assert "asks for more: password" in met.reason or "refused" in met.reason


@pytest.mark.parametrize(
    "option",
    ["ForceCommand internal-sftp", "ForceCommand /usr/sbin/nologin", "ForceCommand /bin/false", "MaxSessions 0"],
)
def test_a_login_without_a_shell_is_told(option: str, openssh: Openssh) -> None:
    with openssh.running(option, "Subsystem sftp internal-sftp") as port:
        openssh.scan(port)
        began = time.monotonic()
        met = openssh.refused(port, deadline=5)
    assert met.fault is SshFault.NO_SHELL
    assert time.monotonic() - began < 6


def test_where_one_session_is_allowed_turns_are_taken(openssh: Openssh) -> None:
    with openssh.running("MaxSessions 1") as port:
        openssh.scan(port)
        with openssh.enter(port) as session, ThreadPoolExecutor(4) as pool:
            told = list(pool.map(lambda number: session.run(f"sleep 0.1; echo {number}", deadline=15).stdout, range(4)))
    assert told == [f"{number}\n" for number in range(4)]


def test_no_shared_algorithm_is_told(openssh: Openssh) -> None:
    with openssh.running("Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com", "MACs hmac-md5") as port:
        openssh.scan(port)
        with openssh.running("KexAlgorithms sntrup761x25519-sha512@openssh.com") as modern:
            met = openssh.refused(modern)
    assert met.fault is SshFault.PROTOCOL
    assert "shares no algorithm" in met.reason


def test_a_server_that_drops_new_connections_is_told(openssh: Openssh) -> None:
    with openssh.running("MaxStartups 1:100:1") as port, contextlib.ExitStack() as connections:
        for _ in range(100):  # until the connection by which the start was seen no longer counts
            one = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            if one.recv(100).startswith(b"SSH-"):
                break
            time.sleep(0.05)
        met = openssh.refused(port, deadline=3)
    assert met.fault is SshFault.PROTOCOL
    assert "MaxStartups" in met.reason


def test_an_agents_key_logs_in_where_that_is_allowed(openssh: Openssh, monkeypatch: pytest.MonkeyPatch) -> None:
    place = openssh.folder / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL) as agent:
        try:
            for _ in range(100):
                if place.exists():
                    break
                time.sleep(0.02)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
            subprocess.run(
                ["ssh-add", "-q", str(keygen(openssh.folder / "first"))], check=True, stderr=subprocess.DEVNULL
            )
            subprocess.run(["ssh-add", "-q", str(openssh.login.key)], check=True, stderr=subprocess.DEVNULL)
            with openssh.running() as port:
                openssh.scan(port)
                openssh.enter(port, replace(openssh.login, key=None, agent=True)).close()
                locked = openssh.folder / "locked"
                locked.with_suffix(".pub").write_text((openssh.folder / "id_ed25519.pub").read_text())
                locked.write_text("only its public half can be read")
                openssh.enter(port, replace(openssh.login, key=locked, agent=True)).close()
                met = openssh.refused(port, replace(openssh.login, key=None, agent=False))
        finally:
            agent.terminate()
    assert met.fault is SshFault.KEY_UNREADABLE


def test_a_certificate_beside_the_key_logs_in(openssh: Openssh) -> None:
    authority = keygen(openssh.folder / "ca")
    user = openssh.login.user
    key = keygen(openssh.folder / "signed")
    subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-I", "x", "-n", user, f"{key}.pub"], check=True)
    with openssh.running(f"TrustedUserCAKeys {authority}.pub") as port:
        openssh.scan(port)
        openssh.enter(port, replace(openssh.login, key=key)).close()


def test_a_jump_host_forwards_or_says_that_it_does_not(openssh: Openssh) -> None:
    with openssh.running() as node, openssh.running() as jump, openssh.running("AllowTcpForwarding no") as strict:
        for port in (node, jump, strict):
            openssh.scan(port)
        via = replace(openssh.login, jump=f"{openssh.login.user}@127.0.0.1:{jump}")
        with openssh.enter(node, via) as session:
            assert session.run("echo behind", deadline=5).stdout == "behind\n"
        met = openssh.refused(node, replace(via, jump=f"127.0.0.1:{strict}"))
        nowhere = openssh.refused(closed_port(), via)
    assert met.fault is nowhere.fault is SshFault.UNREACHABLE
    assert "AllowTcpForwarding" in met.needs


def test_the_evidences_command_does_the_same(openssh: Openssh) -> None:
    with openssh.running() as port:
        met = openssh.refused(port)
        assert met.evidence is not None
        said = subprocess.run(["sh", "-c", met.evidence.command], capture_output=True, text=True, check=False)
        assert "Host key verification failed" in said.stderr
        openssh.scan(port)
        with openssh.enter(port) as session:
            pasted = session.command("echo $((40 + 2))")
        said = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=False)
    assert said.stdout == "42\n"
    assert shlex.split(pasted)[0] == "ssh"


def test_a_node_that_dies_in_the_middle_is_not_measured(openssh: Openssh) -> None:
    with openssh.running() as port:
        openssh.scan(port)
        session = openssh.enter(port)
        # The server's process for this connection is the command's grandparent.
        with session, pytest.raises(Unmeasured, match="was cut") as met:
            session.run("kill -9 $PPID; sleep 5", deadline=5)
    assert met.value.fault is SshFault.PROTOCOL


def test_a_server_that_accepts_and_says_nothing_is_silent(openssh: Openssh) -> None:
    with openssh.running() as port:
        openssh.scan(port)
        openssh.started[-1].send_signal(signal.SIGSTOP)  # the kernel takes connections for it all the same
        try:
            met = openssh.refused(port, deadline=1.5)
        finally:
            openssh.started[-1].send_signal(signal.SIGCONT)
    assert met.fault is SshFault.SILENT


def _forced(openssh: Openssh, seconds: float) -> tuple[str, ...]:
    """A banner of many lines before the login, and a forced command that takes its time to do what is asked."""
    (openssh.folder / "banner").write_text("AUTHORISED USE ONLY. All that you do here is recorded.\n" * 300)
    forced = openssh.folder / "forced"
    forced.write_text(f'#!/bin/sh\necho "*** please wait ***"\nsleep {seconds}\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    forced.chmod(0o755)
    return f"Banner {openssh.folder}/banner", f"ForceCommand {forced}"


def test_a_slow_login_with_a_forced_banner_is_waited_for(openssh: Openssh) -> None:
    with openssh.running(*_forced(openssh, 0.7)) as port:
        openssh.scan(port)
        with openssh.enter(port) as session:
            ran = session.run("sh -s", stdin="echo out\n", deadline=10)
    assert (ran.exit, ran.stdout) == (0, "*** please wait ***\nout\n")


def test_a_login_slower_than_the_deadline_is_silent_and_has_a_shell_for_all_we_know(openssh: Openssh) -> None:
    with openssh.running(*_forced(openssh, 20)) as port:
        openssh.scan(port)
        met = openssh.refused(port, deadline=2)
    assert met.fault is SshFault.SILENT
    assert "please wait" in met.reason


NOISE = "Welcome to k8s-worker-1, 3 updates can be applied"
SHELLS = {
    "dash": ("unused", ""),
    "bash": (".bashrc", f"echo '{NOISE}'\necho '{NOISE}' >&2\n"),
    "fish": (".config/fish/config.fish", f"echo '{NOISE}'\necho '{NOISE}' >&2\n"),
}
"""Login shells, with a file that they read at the start, and noise in it."""


@pytest.mark.parametrize("program", SHELLS)
def test_the_probe_script_runs_under_every_login_shell_whatever_its_profile_prints(
    program: str, openssh: Openssh
) -> None:
    prefix = openssh.shell(program)
    profile, lines = SHELLS[program]
    (openssh.home / profile).parent.mkdir(parents=True, exist_ok=True)
    (openssh.home / profile).write_text(lines)
    with openssh.running(prefix=prefix) as port, servers.web_server(_page) as web, servers.dns_server(_names) as names:
        openssh.scan(port)
        page, name = shell.fetch(web.url), shell.lookup("registry.example.com", f"127.0.0.1:{names}")
        steps = [page, name, shell.tcp("127.0.0.1", closed_port()), shell.resolv_conf(), shell.clock()]
        nonce = shell.new_nonce()
        with openssh.enter(port) as session:
            ran = session.run("sh -s", stdin=shell.render(steps, limit=2, nonce=nonce), deadline=20)
            asked = session.run("date +%s", deadline=5)
    assert (NOISE in ran.stdout) is bool(lines)
    sections = [shell_sections.find(shell_sections.parse(ran.stdout, nonce), step, where="node") for step in steps]
    assert shell_readers.read_fetch(sections[0], web.url, where="node").fault is None
    assert shell_readers.read_lookup(sections[1], frozenset()).addresses == {"192.0.2.10"}
    assert shell_readers.read_tcp(sections[2], where="node").fault is PathFault.REFUSED
    assert sections[3].output == Path("/etc/resolv.conf").read_text().rstrip("\n")
    assert abs(shell_readers.read_clock(sections[4]) - time.time()) < 60
    assert (
        abs(
            shell_readers.read_clock(shell_sections.Section(kind="clock", exit=asked.exit, output=asked.stdout))
            - time.time()
        )
        < 60
    )


def _page(_: servers.Asked) -> servers.Said:
    return servers.Said(302, {"X-Gitlab-Meta": '{"version":"1"}', "Location": "/users/sign_in"})


def _names(question: servers.Question, _way: str) -> dns.message.Message:
    reply = dns.message.make_response(question)
    reply.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "A", "192.0.2.10"))
    return reply


def test_a_pull_by_crictl_is_read_through_a_noisy_profile(openssh: Openssh) -> None:
    prefix = openssh.shell("bash")
    (openssh.home / ".bashrc").write_text(f"echo '{NOISE}'\nPATH={openssh.home}:$PATH\n")
    crictl = openssh.home / "crictl"
    crictl.write_text('#!/bin/sh\ncase "$*" in *inspecti*) exit 1 ;; esac\necho Image is up to date\n')
    crictl.chmod(0o755)
    with openssh.running(prefix=prefix) as port:
        openssh.scan(port)
        with openssh.enter(port) as session:
            image = "registry.example.com/library/alpine:latest"
            pull = pull_on_node(session, image, runtime="containerd", credentials=None, deadline=10)
    assert (pull.fault, pull.fresh) == (None, True)
    assert pull.evidence.observed == "Image is up to date"
