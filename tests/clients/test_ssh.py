"""Logging in to nodes: what may stand in the way, each told from the others, and what a session does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from preflight.clients.connect import Routes
from preflight.clients.known_hosts import host_name, trusted_keys
from preflight.clients.ssh import AuthGate, Session, open_session
from preflight.clients.ssh_login import Login, usable_keys
from preflight.evidence import Unmeasured
from preflight.faults import SshFault
from tests import processes
from tests.probes import servers
from tests.probes.sshd import Process, Sshd, key, says, ssh_server

NODE, ADDRESS = "k8s-worker-1", "192.168.1.101"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def ours(keys: Path) -> asyncssh.SSHKey:
    return key(keys / "id_ed25519")


@pytest.fixture
def login(ours: asyncssh.SSHKey, keys: Path, tmp_path: Path) -> Login:
    return Login(user="root", key=keys / "id_ed25519", known_hosts=tmp_path / "known_hosts")


def routes_to(port: int) -> Routes:
    return Routes({f"{ADDRESS}:22": f"127.0.0.1:{port}"}, only_mapped=True)


def enter(port: int, login: Login, *, gate: AuthGate | None = None, deadline: float = 20, node: str = NODE) -> Session:
    return open_session(node, ADDRESS, login, routes=routes_to(port), deadline=deadline, gate=gate or AuthGate())


def refused(port: int, login: Login, *, gate: AuthGate | None = None, deadline: float = 20) -> Unmeasured:
    with pytest.raises(Unmeasured) as met:
        enter(port, login, gate=gate, deadline=deadline).close()
    return met.value


def known(server: Sshd, login: Login, name: str = ADDRESS) -> Login:
    assert login.known_hosts is not None
    server.known_hosts(login.known_hosts, name)
    return login


@pytest.fixture
def session(ours: asyncssh.SSHKey, login: Login) -> Iterator[Session]:
    with ssh_server(ours) as server, enter(server.port, known(server, login)) as opened:
        yield opened


# -- a session


def test_commands_run(session: Session) -> None:
    ran = session.run("echo out; echo err >&2; exit 3", deadline=5)
    assert (ran.exit, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
    assert 0 < ran.took < 2
    assert session.where == "node k8s-worker-1"


def test_scripts_are_sent_by_standard_input(session: Session) -> None:
    ran = session.run("sh -s", stdin="for word in one two; do echo $word; done\nexit 7\n", deadline=5)
    assert (ran.exit, ran.stdout) == (7, "one\ntwo\n")


def test_a_command_is_cut_off_at_the_deadline(session: Session) -> None:
    began = time.monotonic()
    ran = session.run("echo begun; sleep 30", deadline=0.5)
    assert (ran.exit, ran.stdout) == (None, "begun\n")
    assert 0.4 < time.monotonic() - began < 2
    assert session.run("echo again", deadline=5).stdout == "again\n"


def test_a_command_that_is_killed_has_no_exit_status(session: Session) -> None:
    assert session.run("kill -9 $$", deadline=5).exit is None


def test_output_is_bounded_and_the_rest_is_drained(session: Session) -> None:
    ran = session.run("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2; exit 4", deadline=20)
    assert ran.exit == 4
    assert len(ran.stdout) == 1_048_576
    assert ran.stderr == "end\n"


def test_much_on_standard_error_blocks_nothing(session: Session) -> None:
    ran = session.run("head -c 3000000 /dev/zero | tr '\\0' e >&2; echo done", deadline=20)
    assert ran.stdout == "done\n"
    assert len(ran.stderr) == 1_048_576


def test_bytes_that_are_no_text_are_replaced(session: Session) -> None:
    assert session.run("printf '\\377ok'", deadline=5).stdout == "\ufffdok"


def test_a_child_left_behind_does_not_hold_the_answer_up(session: Session) -> None:
    began = time.monotonic()
    ran = session.run("sleep 5 & echo done", deadline=10)
    assert ran.stdout == "done\n"
    assert time.monotonic() - began < 3


def test_threads_share_a_session_two_at_a_time(ours: asyncssh.SSHKey, login: Login) -> None:
    with (
        ssh_server(ours) as server,
        enter(server.port, known(server, login)) as opened,
        ThreadPoolExecutor(6) as pool,
    ):
        outputs = list(pool.map(lambda number: opened.run(f"sleep 0.1; echo {number}", deadline=10).stdout, range(6)))
    assert outputs == [f"{number}\n" for number in range(6)]
    assert server.most_channels == 2
    assert server.logins == ["root"]


def test_where_one_session_is_allowed_turns_are_taken(ours: asyncssh.SSHKey, login: Login) -> None:
    with (
        ssh_server(ours, most=1) as server,
        enter(server.port, known(server, login)) as opened,
        ThreadPoolExecutor(4) as pool,
    ):
        outputs = list(pool.map(lambda number: opened.run(f"sleep 0.1; echo {number}", deadline=10).stdout, range(4)))
    assert outputs == [f"{number}\n" for number in range(4)]


def test_waiting_for_a_turn_is_bounded(session: Session) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(session.run, "sleep 1", deadline=5)
        time.sleep(0.3)
        began = time.monotonic()
        assert session.run("echo never", deadline=0.2).exit is None
        assert time.monotonic() - began < 0.8


def test_a_connection_that_breaks_is_not_a_result(ours: asyncssh.SSHKey, login: Login) -> None:
    async def hang_up(process: Process) -> None:
        process.channel.get_connection().abort()

    turn = iter([says_token, hang_up])

    async def handler(process: Process) -> None:
        await next(turn)(process)

    with ssh_server(ours, handler=handler) as server, enter(server.port, known(server, login)) as opened:
        with pytest.raises(Unmeasured, match="was cut") as met:
            opened.run("echo never", deadline=3)
        assert met.value.fault is SshFault.PROTOCOL
        with pytest.raises(Unmeasured, match="was cut"):
            opened.run("echo never", deadline=3)


async def says_token(process: Process) -> None:
    """Answer the first look of `open_session` as a shell does."""
    script = await process.stdin.read()
    process.stdout.write(script.removeprefix(b"echo "))
    process.exit(0)


def test_the_command_can_be_pasted(session: Session) -> None:
    assert session.command("crictl pull a b") == (
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes "
        f"-o UserKnownHostsFile={session.login.known_hosts} -i {session.login.key} "
        "-- root@192.168.1.101 'crictl pull a b'"
    )


def test_a_noisy_login_still_has_a_shell(ours: asyncssh.SSHKey, login: Login) -> None:
    async def noisy(process: Process) -> None:
        process.stdout.write(b"*** Welcome! You have mail. ***\n")
        await says_token(process)

    with ssh_server(ours, handler=noisy) as server:
        enter(server.port, known(server, login)).close()


# -- what stands in the way: inject, log in, read the same fault


@pytest.mark.parametrize(
    ("behave", "fault"),
    [
        (servers.hang, SshFault.SILENT),
        (servers.drip(b"SSH-2.0-x", every=0.05), SshFault.SILENT),
        (servers.say(b""), SshFault.PROTOCOL),
        (servers.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), SshFault.PROTOCOL),
        (servers.say(b"SSH-1.5-old\r\n"), SshFault.PROTOCOL),
        (servers.reset, SshFault.PROTOCOL),
    ],
    ids=["hangs", "drips", "closes", "http", "ssh 1", "resets"],
)
def test_what_does_not_speak_ssh_is_told(
    behave: Callable[[socket.socket], None], fault: SshFault, login: Login
) -> None:
    began = time.monotonic()
    with servers.tcp_server(behave) as port:
        met = refused(port, login, deadline=1)
    assert met.fault is fault
    assert NODE in met.reason
    assert time.monotonic() - began < 2.5


def test_a_greeting_and_then_silence_is_silent(login: Login) -> None:
    def behave(one: socket.socket) -> None:
        one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        servers.hang(one)

    with servers.tcp_server(behave) as port:
        met = refused(port, login, deadline=0.6)
    assert met.fault is SshFault.SILENT
    assert "greeted and then fell silent" in met.reason


def test_a_closed_port_refuses(login: Login) -> None:
    met = refused(servers.closed_port(), login)
    assert met.fault is SshFault.REFUSED
    assert met.reason == "k8s-worker-1: 192.168.1.101:22 refused the connection"
    assert "access.ssh.port" in met.needs
    assert met.evidence is not None
    assert met.evidence.command.endswith("root@192.168.1.101 true")


def test_dropped_packets_time_out(login: Login) -> None:
    with servers.full_backlog() as port:
        met = refused(port, login, deadline=0.5)
    assert met.fault is SshFault.TIMEOUT
    assert "within 0.5 s" in met.reason


@pytest.mark.parametrize(
    ("target", "fault"),
    [(f"{servers.UNREACHABLE}:22", SshFault.UNREACHABLE), (f"{'x' * 64}.invalid:22", SshFault.UNRESOLVED)],
    ids=["unreachable", "unresolved"],
)
def test_no_way_is_told(target: str, fault: SshFault, login: Login) -> None:
    routes = Routes({f"{ADDRESS}:22": target})
    with pytest.raises(Unmeasured) as met:
        open_session(NODE, ADDRESS, login, routes=routes, deadline=1, gate=AuthGate())
    assert met.value.fault is fault


def test_an_address_without_a_mapping_is_told(login: Login) -> None:
    with pytest.raises(Unmeasured, match=r"192\.168\.1\.101:22") as met:
        open_session(NODE, ADDRESS, login, routes=Routes(only_mapped=True), deadline=1, gate=AuthGate())
    assert met.value.fault is SshFault.NOT_MAPPED
    assert "connect:" in met.value.needs


def test_a_key_that_is_not_authorized_is_refused(login: Login) -> None:
    with ssh_server() as server:
        met = refused(server.port, known(server, login))
    assert met.fault is SshFault.AUTHENTICATION
    assert "refused root with the key ssh-ed25519 SHA256:" in met.reason
    assert "authorized_keys" in met.needs
    assert server.logins == ["root"]


def test_a_server_that_takes_no_keys_is_told(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server(ours, password_only=True) as server:
        met = refused(server.port, known(server, login))
    assert met.fault is SshFault.AUTHENTICATION
    assert "takes no keys from root, only keyboard-interactive, password" in met.reason


def test_a_login_that_is_not_answered_is_silent_and_no_refusal(ours: asyncssh.SSHKey, login: Login) -> None:
    gate = AuthGate(failures=1)
    with ssh_server(ours, slow_login=3) as server:
        met = refused(server.port, known(server, login), gate=gate, deadline=1)
    assert met.fault is SshFault.SILENT
    gate.check(NODE)


@pytest.mark.parametrize("sessions", [True, False], ids=["nologin", "no sessions"])
def test_a_login_without_a_shell_is_told(sessions: bool, ours: asyncssh.SSHKey, login: Login) -> None:
    nologin = says("This account is currently not available.\n", status=1)
    with ssh_server(ours, handler=nologin, sessions=sessions) as server:
        met = refused(server.port, known(server, login))
    assert met.fault is SshFault.NO_SHELL
    assert ("currently not available" in met.reason) is sessions


def test_an_unknown_host_key_is_refused_before_ours_is_shown(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server(ours) as server:
        met = refused(server.port, login)
    assert met.fault is SshFault.HOST_KEY_UNKNOWN
    assert server.host_key is not None
    assert server.host_key.get_fingerprint() in met.reason
    assert met.needs.endswith(f"`ssh-keyscan -- 192.168.1.101 >> {login.known_hosts}`")
    assert server.logins == []


def test_a_changed_host_key_is_refused_before_ours_is_shown(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server() as other:
        known(other, login)
    with ssh_server(ours) as server:
        met = refused(server.port, login)
    assert met.fault is SshFault.HOST_KEY_CHANGED
    assert other.host_key is not None
    assert server.host_key is not None
    assert other.host_key.get_fingerprint() in met.reason
    assert server.host_key.get_fingerprint() in met.reason
    assert "ssh-keygen -R 192.168.1.101 " in met.needs
    assert server.logins == []


def test_a_revoked_host_key_is_refused(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server(ours) as server:
        known(server, login)
        known(server, login, f"@revoked {ADDRESS}")
        met = refused(server.port, login)
    assert met.fault is SshFault.HOST_KEY_CHANGED
    assert "revokes" in met.reason


def test_a_host_known_by_the_nodes_name_is_known(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server(ours) as server:
        enter(server.port, known(server, login, NODE)).close()


def test_a_host_at_another_port_is_known_by_it(ours: asyncssh.SSHKey, login: Login) -> None:
    with ssh_server(ours) as server:
        at_port = replace(known(server, login, f"[{ADDRESS}]:{server.port}"), port=server.port)
        routes = Routes({f"{ADDRESS}:{server.port}": f"127.0.0.1:{server.port}"})
        open_session(NODE, ADDRESS, at_port, routes=routes, deadline=5, gate=AuthGate()).close()
        known(server, replace(login, known_hosts=Path(f"{login.known_hosts}.22")))
        bare = replace(at_port, known_hosts=Path(f"{login.known_hosts}.22"))
        with pytest.raises(Unmeasured) as met:
            open_session(NODE, ADDRESS, bare, routes=routes, deadline=5, gate=AuthGate())
    assert met.value.fault is SshFault.HOST_KEY_UNKNOWN
    assert f"ssh-keyscan -p {server.port} " in met.value.needs


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"])
def test_a_host_with_several_keys_shows_the_one_that_is_known(kind: str, ours: asyncssh.SSHKey, login: Login) -> None:
    made = {name: asyncssh.generate_private_key(name) for name in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")}
    host_keys = [made[kind], *(one for name, one in made.items() if name != kind)]
    with ssh_server(ours, host_keys=host_keys) as server:
        enter(server.port, known(server, login)).close()


# -- our keys


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp384", "ssh-ed25519"])
def test_every_usual_kind_of_key_logs_in(kind: str, login: Login, tmp_path: Path) -> None:
    made = key(tmp_path / "id", kind=kind)
    with ssh_server(made) as server:
        enter(server.port, replace(known(server, login), key=tmp_path / "id")).close()


def test_ecdsa_keys_without_a_comment_are_read(login: Login, tmp_path: Path) -> None:
    """The client's library alone fails on about half of them."""
    for number in range(12):
        made = key(tmp_path / f"id{number}", kind="ecdsa-sha2-nistp256")
        with usable_keys(replace(login, key=tmp_path / f"id{number}")) as identities:
            assert [one.asbytes() for one in identities] == [made.public_data]


@pytest.mark.filterwarnings("ignore:Warning. bcrypt.kdf:UserWarning")
def test_an_encrypted_key_needs_its_passphrase(login: Login, tmp_path: Path) -> None:
    made = key(tmp_path / "id", passphrase="made-up-passphrase")
    with ssh_server(made) as server:
        known(server, login)
        enter(server.port, replace(login, key=tmp_path / "id", passphrase="made-up-passphrase")).close()
        without = refused(server.port, replace(login, key=tmp_path / "id"))
        wrong = refused(server.port, replace(login, key=tmp_path / "id", passphrase="another-made-up-one"))
    assert without.fault is wrong.fault is SshFault.KEY_UNREADABLE
    assert "encrypted" in without.reason
    assert "another-made-up-one" not in wrong.reason
    assert len(server.logins) == 1


@pytest.mark.parametrize(
    "content", [None, "", "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
)
def test_a_key_that_can_not_be_read_is_told(content: str | None, login: Login, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "id").write_text(content)
    met = refused(servers.closed_port(), replace(login, key=tmp_path / "id"))
    assert met.fault is SshFault.KEY_UNREADABLE
    assert str(tmp_path / "id") in met.reason


def test_no_key_at_all_is_told(login: Login, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead-agent"))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "dead-agent"))
    assert refused(servers.closed_port(), replace(login, key=None)).fault is SshFault.KEY_UNREADABLE
    met = refused(servers.closed_port(), replace(login, key=None, agent=True))
    assert met.fault is SshFault.KEY_UNREADABLE
    assert met.reason == "the SSH agent holds no key"


def test_passphrases_are_not_shown(login: Login) -> None:
    assert "made-up" not in repr(replace(login, passphrase="made-up-passphrase"))


# -- the gate


def test_after_two_refusals_no_further_node_is_tried(login: Login) -> None:
    gate = AuthGate()
    with ssh_server() as server:
        known(server, login)
        faults = [refused(server.port, login, gate=gate).fault for _ in range(4)]
    assert faults == [SshFault.AUTHENTICATION, SshFault.AUTHENTICATION, SshFault.NOT_TRIED, SshFault.NOT_TRIED]
    assert len(server.logins) == 2


def test_nodes_tried_at_once_are_refused_twice_at_most(login: Login) -> None:
    gate = AuthGate()
    with ssh_server(slow_login=0.1) as server, ThreadPoolExecutor(8) as pool:
        known(server, login)
        met = list(pool.map(lambda _: refused(server.port, login, gate=gate), range(8)))
    assert len(server.logins) == 2
    assert sorted(str(one.fault) for one in met) == ["authentication"] * 2 + ["not-tried"] * 6
    assert all("k8s-worker-1 refused the same login" in one.reason for one in met if one.fault is SshFault.NOT_TRIED)


def test_other_failures_close_no_gate(ours: asyncssh.SSHKey, login: Login) -> None:
    gate = AuthGate()
    for _ in range(3):
        assert refused(servers.closed_port(), login, gate=gate).fault is SshFault.REFUSED
    with ssh_server(ours) as server:
        enter(server.port, known(server, login), gate=gate).close()


def test_waiting_at_the_gate_is_bounded(ours: asyncssh.SSHKey, login: Login) -> None:
    gate = AuthGate(failures=1)
    entered, leave = threading.Event(), threading.Event()

    def occupy() -> None:
        with gate.attempt("another node", patience=1):
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=occupy)
    thread.start()
    assert entered.wait(2)
    with ssh_server(ours) as server:
        met = refused(server.port, known(server, login), gate=gate, deadline=0.7)
    leave.set()
    thread.join(2)
    assert met.fault is SshFault.NOT_TRIED
    assert "other logins took all of 0.7 s" in met.reason


# -- the jump host


@pytest.fixture
def bastion(ours: asyncssh.SSHKey) -> AbstractContextManager[Sshd]:
    return ssh_server(ours, forwards=True)


def through(bastion: Sshd, login: Login) -> Login:
    assert login.known_hosts is not None
    bastion.known_hosts(login.known_hosts, "bastion.example.com")
    return replace(login, jump="ops@bastion.example.com")


def routes_through(bastion: Sshd, node: int) -> Routes:
    addresses = {"bastion.example.com:22": f"127.0.0.1:{bastion.port}", f"{ADDRESS}:22": f"127.0.0.1:{node}"}
    return Routes(addresses, only_mapped=True)


def test_a_node_behind_a_jump_host_is_reached(
    bastion: AbstractContextManager[Sshd], ours: asyncssh.SSHKey, login: Login
) -> None:
    with bastion as jump, ssh_server(ours) as server:
        via = through(jump, known(server, login))
        routes = routes_through(jump, server.port)
        with open_session(NODE, ADDRESS, via, routes=routes, deadline=5, gate=AuthGate()) as opened:
            assert opened.run("echo behind", deadline=5).stdout == "behind\n"
            assert " -J ops@bastion.example.com -- root@" in opened.command("true")
    assert (jump.logins, server.logins) == (["ops"], ["root"])
    assert jump.forwarded == [("127.0.0.1", server.port)]


def test_a_jump_hosts_key_is_verified_too(
    bastion: AbstractContextManager[Sshd], ours: asyncssh.SSHKey, login: Login
) -> None:
    with bastion as jump, ssh_server(ours) as server:
        via = replace(known(server, login), jump="ops@bastion.example.com")
        with pytest.raises(Unmeasured, match="jump host bastion") as met:
            open_session(NODE, ADDRESS, via, routes=routes_through(jump, server.port), deadline=5, gate=AuthGate())
    assert met.value.fault is SshFault.HOST_KEY_UNKNOWN
    assert jump.logins == []


def test_the_node_behind_it_is_verified(
    bastion: AbstractContextManager[Sshd], ours: asyncssh.SSHKey, login: Login
) -> None:
    with bastion as jump, ssh_server(ours) as server:
        via = through(jump, login)
        with pytest.raises(Unmeasured, match="k8s-worker-1") as met:
            open_session(NODE, ADDRESS, via, routes=routes_through(jump, server.port), deadline=5, gate=AuthGate())
    assert met.value.fault is SshFault.HOST_KEY_UNKNOWN
    assert server.logins == []


@pytest.mark.parametrize(
    "forwards",
    [False, asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")],
    ids=["connect failed", "forbidden"],
)
def test_a_jump_host_that_gives_no_connection_is_told(
    forwards: bool | Exception, ours: asyncssh.SSHKey, login: Login
) -> None:
    with ssh_server(ours, forwards=forwards) as jump, pytest.raises(Unmeasured, match="gives no connection to") as met:
        open_session(NODE, ADDRESS, through(jump, login), routes=routes_through(jump, 9), deadline=5, gate=AuthGate())
    assert met.value.fault is SshFault.UNREACHABLE
    assert "AllowTcpForwarding" in met.value.needs


def test_a_jump_host_whose_connection_leads_nowhere_is_told(
    bastion: AbstractContextManager[Sshd], login: Login
) -> None:
    with bastion as jump, servers.tcp_server(servers.hang) as port:
        via, routes = through(jump, login), routes_through(jump, port)
        with pytest.raises(Unmeasured, match=NODE) as met:
            open_session(NODE, ADDRESS, via, routes=routes, deadline=1.5, gate=AuthGate())
    assert met.value.fault is SshFault.SILENT
    assert jump.logins == ["ops"]


def test_five_sessions_go_through_a_jump_host_at_most(
    bastion: AbstractContextManager[Sshd], ours: asyncssh.SSHKey, login: Login
) -> None:
    gate = AuthGate()
    with bastion as jump, ssh_server(ours) as server:
        via, routes = through(jump, known(server, login)), routes_through(jump, server.port)
        opened = [open_session(NODE, ADDRESS, via, routes=routes, deadline=5, gate=gate) for _ in range(5)]
        with pytest.raises(Unmeasured) as met:
            open_session(NODE, ADDRESS, via, routes=routes, deadline=0.3, gate=gate)
        assert met.value.fault is SshFault.NOT_TRIED
        opened.pop().close()
        opened.append(open_session(NODE, ADDRESS, via, routes=routes, deadline=5, gate=gate))
        for one in opened:
            one.close()
    assert len(server.logins) == 6


# -- known_hosts, read


BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519made-up").decode()
LINE = f"ssh-ed25519 {BLOB} comment"


def hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("192.168.1.101", True),
        ("192.168.1.102", False),
        ("192.168.1.1011", False),
        ("k8s-worker-1,192.168.1.101", True),
        ("192.168.1.*", True),
        ("192.168.1.10?", True),
        ("192.168.1.*,!192.168.1.101", False),
        ("!192.168.1.101,192.168.1.*", False),
        ("[192.168.1.101]:22", False),
        ("[192.168.1.101]:2222", False),
        ("192x168x1x101", False),
        ("|1|broken", False),
        ("|1|AAAA|BBBB", False),
        pytest.param(hashed("192.168.1.101"), True, id="hashed"),
        pytest.param(hashed("192.168.1.102"), False, id="hashed-other"),
    ],
)
def test_known_hosts_are_read_as_ssh_reads_them(patterns: str, found: bool) -> None:
    trusted = trusted_keys(f"# a comment\n\n{patterns} {LINE}\n", {"192.168.1.101"})
    assert bool(trusted.keys) is found


def test_a_host_at_another_port_has_its_own_lines() -> None:
    assert host_name("192.168.1.101", 22) == "192.168.1.101"
    assert host_name("192.168.1.101", 2222) == "[192.168.1.101]:2222"
    assert host_name("[FE80::1]", 22) == "fe80::1"
    for line in ("[192.168.1.101]:2222", hashed("[192.168.1.101]:2222"), "[192.168.1.*]:2222"):
        assert trusted_keys(f"{line} {LINE}", {"[192.168.1.101]:2222"}).keys
        assert not trusted_keys(f"{line} {LINE}", {"192.168.1.101"}).keys


@pytest.mark.parametrize(
    "line", ["192.168.1.101", "192.168.1.101 ssh-ed25519", "192.168.1.101 ssh-ed25519 ###", "\0\x01"]
)
def test_lines_that_make_no_sense_are_passed_over(line: str) -> None:
    assert len(trusted_keys(f"{line}\n192.168.1.101 {LINE}", {"192.168.1.101"}).keys) == 1


def test_marked_lines_are_no_keys() -> None:
    trusted = trusted_keys(f"@cert-authority * {LINE}\n@revoked * {LINE}\n@new * {LINE}", {"192.168.1.101"})
    assert trusted.keys == ()
    assert trusted.authority
    assert len(trusted.revoked) == 1


def test_no_module_forwards_the_agent() -> None:
    """Paramiko does so where it is asked to, and nowhere else."""
    sources = [file.read_text("utf-8") for file in (processes.PROJECT / "preflight").rglob("*.py")]
    assert len(sources) > 100
    forwarding = ("AgentRequestHandler", "request_forward_agent")
    assert [source for source in sources if any(name in source for name in forwarding)] == []
