"""One SSH connection to a node: host key verified, one key, one attempt, everything bounded in time.

Whatever stands in the way of a login is raised as `Unmeasured`: it says nothing about the node's health, only that it
could not be measured. A command's failure is a `CommandResult`, for the caller to read.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from preflight.clients.connect import NotMapped, Routes, dial, fault_of, join_address, split_address
from preflight.clients.known_hosts import SSH_PORT, Trusted, fingerprint, host_name, trusted_keys
from preflight.clients.ssh_login import Login, usable_keys
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import PathFault, SshFault
from preflight.inventory import PER_JUMP
from preflight.shell_command import ShellCommand, program, sequence, syntax

if TYPE_CHECKING:
    import paramiko

_LONGEST = 1_048_576  # bytes of each of a command's outputs that are kept
_KEEPALIVE = 15  # seconds; firewalls forget quiet connections
_GRACE = 1.0  # seconds: after a command's end a child may hold its output open, after a channel's sshd its place
_SOON = 0.05  # seconds: the least that anything is given
_MOST_CHANNELS = 2  # at once; sshd's MaxSessions is ten, hardened ones have fewer
_KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))

_log = logging.getLogger("preflight.wire.ssh")  # paramiko logs tracebacks; our exceptions have what they report
_log.addHandler(logging.NullHandler())
_log.propagate = False

_FAULTS = {
    PathFault.REFUSED: SshFault.REFUSED,
    PathFault.TIMEOUT: SshFault.TIMEOUT,
    PathFault.UNREACHABLE: SshFault.UNREACHABLE,
    PathFault.UNRESOLVED: SshFault.UNRESOLVED,
    PathFault.NOT_MAPPED: SshFault.NOT_MAPPED,
}

_NEEDS = {
    SshFault.REFUSED: "sshd running on the node, or the port that it listens on as access.ssh.port",
    SshFault.TIMEOUT: "a route and a firewall that let SSH through from here, or access.ssh.jump",
    SshFault.UNREACHABLE: "a route from here to the node, or access.ssh.jump",
    SshFault.UNRESOLVED: "the node's address under cluster.nodes in the inventory",
    SshFault.SILENT: "an sshd that answers: check its load, and what else may listen on that port",
    SshFault.PROTOCOL: "an SSH server there that shares an algorithm with this client, with connections to spare",
    SshFault.NO_SHELL: "a login that runs commands (no nologin, no sftp only) as access.ssh.user",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command did; shaped as `subprocess.CompletedProcess`.

    Attributes:
        exit: its status; None when it was cut off by the deadline or killed by a signal.
        took: seconds.
    """

    exit: int | None
    stdout: str
    stderr: str
    took: float


class ChannelExhausted(Exception):
    """No place at the gate was free in time."""


class AuthGate:
    """Keeps a wrong key from locking accounts and many nodes from storming a bastion; shared by all logins of a run.

    Args:
        failures: after so many refused logins no further node is tried; logins wait for each other to keep to it.
        per_jump: sessions at once through one jump host.
    """

    def __init__(self, *, failures: int = 2, per_jump: int = PER_JUMP) -> None:
        self._allowed, self._per_jump = failures, per_jump
        self._refused: list[str] = []
        self._trying = 0
        self._jumps: dict[str, int] = {}
        self._changed = threading.Condition()

    def check(self, node: str) -> None:
        """Raise `Unmeasured` when too many nodes refused the login."""
        if len(self._refused) >= self._allowed:
            raise Unmeasured(
                f"{node} was not tried: {' and '.join(self._refused)} refused the same login",
                needs="a user and key under access.ssh that the nodes accept",
                fault=SshFault.NOT_TRIED,
            )

    @contextlib.contextmanager
    def attempt(self, node: str, *, patience: float) -> Iterator[None]:
        """One login; at most as many at once as may still fail."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: len(self._refused) >= self._allowed or self._trying < self._allowed - len(self._refused),
                timeout=patience,
            )
            self.check(node)
            if not free:
                raise ChannelExhausted
            self._trying += 1
        try:
            yield
        except Unmeasured as error:
            if error.fault is SshFault.AUTHENTICATION:
                self._refused.append(node)
            raise
        finally:
            with self._changed:
                self._trying -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def jump(self, host: str, *, patience: float) -> Iterator[None]:
        """A place among the sessions through one jump host, held as long as the session."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._jumps.get(host, 0) < self._per_jump, timeout=patience):
                raise ChannelExhausted
            self._jumps[host] = self._jumps.get(host, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._jumps[host] -= 1
                self._changed.notify_all()


class Session:
    """An open SSH connection to one node. Threads may share it; at most two commands run on it at once."""

    def __init__(self, node: str, address: str, login: Login, transport: paramiko.Transport) -> None:
        self.node, self.address, self.login = node, address, login
        self.transport = transport
        self.closing = contextlib.ExitStack()  # what else ends with it
        self._changed = threading.Condition()
        self._opening = threading.Lock()
        self._running = 0
        self._most = _MOST_CHANNELS
        self._freed = 0.0  # when a channel was closed last

    @property
    def where(self) -> str:
        """The vantage in an operator's words."""
        return f"node {self.node}"

    def command(self, command: str) -> ShellCommand:
        """`command` as a person runs it on the node from here."""
        return program(*_ssh(self.address, self.login), command)

    def run(self, command: str, *, stdin: str = "", deadline: float) -> CommandResult:
        """Run `command` with `stdin` fed to it, at most `deadline` seconds; send scripts to ``sh -s`` this way.

        Raises:
            Unmeasured: when the connection broke, or the node runs no commands for this login.
        """
        import paramiko

        began = time.monotonic()
        try:
            with self.channel(deadline=deadline) as channel:
                channel.exec_command(command)
                with contextlib.suppress(OSError):  # a command may end without having read all
                    channel.sendall(stdin.encode())
                    channel.shutdown_write()
                status, stdout, stderr = _collect(channel, until=began + deadline)
        except paramiko.ChannelException as error:
            self._fail(SshFault.NO_SHELL, f"{self.node} opens no session: {error.text}", error)
        except TimeoutError:
            status, stdout, stderr = None, b"", b""
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self.transport.is_active():
                self._fail(SshFault.NO_SHELL, f"{self.node} does not run commands for {self.login.user}", error)
            self._fail(SshFault.PROTOCOL, f"the SSH connection to {self.node} was cut", error)
        if status is None and not self.transport.is_active():
            self._fail(SshFault.PROTOCOL, f"the SSH connection to {self.node} was cut", None)
        return CommandResult(
            exit=status,
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
            took=time.monotonic() - began,
        )

    @contextlib.contextmanager
    def channel(self, *, deadline: float) -> Iterator[paramiko.Channel]:
        """A channel of one's own, closed at the end; waits while as many as we allow are open.

        Raises:
            TimeoutError: when none was free in time.
            paramiko.SSHException: when the connection is broken, or sshd allows none.
        """
        until = time.monotonic() + deadline
        first = time.monotonic()
        while True:
            with self._turn(until):
                waited = time.monotonic() - max(first, self._freed)
                channel = self._open_channel(until, insist=self._running == 1 and waited > _GRACE)
                if channel is not None:
                    try:
                        with contextlib.closing(channel):
                            channel.settimeout(max(_SOON, until - time.monotonic()))
                            yield channel
                        return
                    finally:
                        self._freed = time.monotonic()
            time.sleep(_SOON)

    @contextlib.contextmanager
    def _turn(self, until: float) -> Iterator[None]:
        """A place among those who may hold a channel."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._running < self._most, until - time.monotonic()):
                raise TimeoutError(errno.ETIMEDOUT, f"other commands on {self.node} took all the time")
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _open_channel(self, until: float, *, insist: bool) -> paramiko.Channel | None:
        """A new channel; None where sshd has no place for it now, unless we `insist` on the reason."""
        import paramiko

        with self._opening:  # paramiko keeps one reason of refusal for all who ask at once
            try:
                return self.transport.open_session(timeout=max(_SOON, until - time.monotonic()))
            except paramiko.ChannelException:
                if insist or time.monotonic() >= until:
                    raise
                self._most = 1  # MaxSessions may be one: take turns; and sshd frees a closed channel a little late
                return None

    def _fail(self, fault: SshFault, reason: str, error: BaseException | None) -> NoReturn:
        raise Unmeasured(reason, needs=_NEEDS.get(fault, ""), fault=fault) from error

    def close(self) -> None:
        """End the connection, and the one to the jump host."""
        self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _collect(channel: paramiko.Channel, *, until: float) -> tuple[int | None, bytes, bytes]:
    """Exit status and both outputs of the command on a channel; no status when time is up or a signal ended it."""
    outputs = (bytearray(), bytearray())
    ended: float | None = None
    with selectors.DefaultSelector() as waiting:
        waiting.register(channel.fileno(), selectors.EVENT_READ)
        while (now := time.monotonic()) < until:
            # Asked before the draining: what arrives between draining and asking would be lost.
            over = channel.exit_status_ready() and (channel.closed or channel.eof_received)
            received = False
            for output, ready, receive in (
                (outputs[0], channel.recv_ready, channel.recv),
                (outputs[1], channel.recv_stderr_ready, channel.recv_stderr),
            ):
                while ready() and time.monotonic() < until:
                    piece = receive(65_536)
                    received = received or bool(piece)
                    output.extend(piece[: max(0, _LONGEST - len(output))])
                    if not piece:
                        break
            if received:
                continue
            if channel.exit_status_ready():
                ended = ended or now
                if over or now - ended > _GRACE:
                    status = channel.recv_exit_status() if channel.status_event.is_set() else -1
                    return status if status >= 0 else None, bytes(outputs[0]), bytes(outputs[1])
            waiting.select(min(until - now, 0.05 if ended or channel.eof_received else 0.5))
    return None, bytes(outputs[0]), bytes(outputs[1])


def _ssh(address: str, login: Login) -> list[str]:
    """The ``ssh`` command of a person who logs in as we do."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    command += ["-p", str(login.port)] if login.port != SSH_PORT else []
    command += ["-o", f"UserKnownHostsFile={login.known_hosts}"] if login.known_hosts else []
    command += ["-i", str(login.key)] if login.key else []
    command += ["-J", login.jump] if login.jump else []
    return [*command, "--", f"{login.user}@{address}"]  # a name that begins with a hyphen is no option


def open_session(node: str, address: str, login: Login, *, routes: Routes, deadline: float, gate: AuthGate) -> Session:
    """Log in to a node: one connection, the host's key verified, one key, one attempt.

    The session through a jump host holds one of the gate's places there until it is closed.

    Raises:
        Unmeasured: with an `SshFault`, and with what would allow the login.
    """
    attempt = _LoginAttempt(node, address, login, routes=routes, deadline=deadline, gate=gate)
    try:
        return attempt.open()
    except ChannelExhausted:
        raise Unmeasured(
            f"{node} was not tried: other logins took all of {deadline:g} s",
            needs="fewer nodes at once, or a longer deadline",
            fault=SshFault.NOT_TRIED,
        ) from None
    except Unmeasured as error:
        evidence = Evidence(
            where="here",
            command=program(*_ssh(address, login), "true"),
            observed=error.reason,
            took=time.monotonic() - attempt.began,
        )
        raise Unmeasured(error.reason, needs=error.needs, fault=error.fault, evidence=evidence) from error


class _LoginAttempt:
    """One try to log in to one node, through a jump host if there is one."""

    def __init__(
        self, node: str, address: str, login: Login, *, routes: Routes, deadline: float, gate: AuthGate
    ) -> None:
        self.node, self.address, self.login = node, address, login
        self.routes, self.deadline, self.gate = routes, deadline, gate
        self.began = time.monotonic()

    @property
    def left(self) -> float:
        return max(_SOON, self.began + self.deadline - time.monotonic())

    def open(self) -> Session:
        self.gate.check(self.node)
        with usable_keys(self.login) as identities, contextlib.ExitStack() as opened:
            if self.login.jump is None:
                transport = self._log_in(self._dial(self.node, self.address, self.login.port), self.node, identities)
            else:
                opened.enter_context(self.gate.jump(self.login.jump, patience=self.left))
                through = self._jump(opened, identities)
                transport = self._log_in(through, self.node, identities)
            opened.callback(transport.close)
            transport.set_keepalive(_KEEPALIVE)
            session = Session(self.node, self.address, self.login, transport)
            self._greet(session)
            session.closing.push(opened.pop_all())
        return session

    def _jump(self, opened: contextlib.ExitStack, identities: Sequence[paramiko.PKey]) -> socket.socket:
        """A connection to the node through the jump host, logged in there in the same way."""
        import paramiko

        user, _, place = (self.login.jump or "").rpartition("@")
        host, port = split_address(place, SSH_PORT)
        bastion = _LoginAttempt(
            f"the jump host {host}",
            host,
            replace(self.login, user=user or self.login.user, port=port, jump=None),
            routes=self.routes,
            deadline=self.left,
            gate=self.gate,
        )
        transport = bastion._log_in(bastion._dial(bastion.node, host, port), bastion.node, identities)
        opened.callback(transport.close)
        transport.set_keepalive(_KEEPALIVE)
        try:
            target = self.routes.resolve(self.address, self.login.port)
            # A channel is socket enough for paramiko, and its documentation says so.
            return transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=self.left)  # type: ignore[return-value]
        except NotMapped as error:
            raise error.unmeasured() from error
        except paramiko.ChannelException as error:
            place = join_address(self.address, self.login.port)
            self._fail(  # why, the jump host reports in a message that paramiko drops
                SshFault.UNREACHABLE,
                f"{bastion.node} gives no connection to {self.node} ({place}): {error.text}",
                error,
                needs=f"AllowTcpForwarding and a route to {self.address} on {bastion.node}",
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._fail(SshFault.TIMEOUT, f"{bastion.node} got no connection to {self.node} within the deadline", error)

    def _dial(self, name: str, address: str, port: int) -> socket.socket:
        place = join_address(address, port)
        try:
            return dial(address, port, routes=self.routes, deadline=self.left)
        except NotMapped as error:
            refusal = error.unmeasured()
            raise Unmeasured(refusal.reason, needs=refusal.needs, fault=SshFault.NOT_MAPPED) from error
        except OSError as error:
            fault = _FAULTS.get(fault_of(error), SshFault.PROTOCOL)
            reason = {
                SshFault.REFUSED: f"{place} refused the connection",
                SshFault.TIMEOUT: f"{place} did not accept a connection within {self.deadline:g} s",
                SshFault.UNRESOLVED: f"the name {address} has no address here",
            }.get(fault, f"there is no way to {place}: {error.strerror or error}")
            self._fail(fault, f"{name}: {reason}", error)

    def _log_in(self, connection: socket.socket, name: str, identities: Sequence[paramiko.PKey]) -> paramiko.Transport:
        """Exchange greetings, verify the host's key, then present ours."""
        import paramiko

        transport = paramiko.Transport(connection)
        try:
            transport.set_log_channel(_log.name)
            trusted = self._trusted(name)
            _prefer(transport, [kind for kind, _ in trusted.keys])
            self._negotiate(transport, name)
            self._verify(transport, name, trusted)
            with self.gate.attempt(name, patience=self.left):
                self._authenticate(transport, name, identities)
        except BaseException:
            transport.close()
            raise
        return transport

    def _negotiate(self, transport: paramiko.Transport, name: str) -> None:
        import paramiko
        from paramiko.ssh_exception import IncompatiblePeer

        patience = self.left
        transport.banner_timeout = transport.handshake_timeout = patience
        failure: BaseException | None = None
        try:
            transport.start_client(timeout=patience)
        except (paramiko.SSHException, EOFError, OSError) as error:
            failure = error
        if failure is None and transport.initial_kex_done:
            return
        place = f"{name} ({join_address(self.address, self.login.port)})"
        late = self.left <= _SOON
        if late and not transport.remote_version:
            self._fail(
                SshFault.SILENT,
                f"{place} accepted the connection and sent no SSH greeting in {patience:.3g} s",
                failure,
            )
        if late:
            self._fail(SshFault.SILENT, f"{place} greeted and then fell silent for {patience:.3g} s", failure)
        if isinstance(failure, IncompatiblePeer):
            self._fail(SshFault.PROTOCOL, f"{place} shares no algorithm or version with us: {failure}", failure)
        if not transport.remote_version:
            behaviour = "closed the connection or spoke something else before an SSH greeting"
            self._fail(SshFault.PROTOCOL, f"{place} {behaviour} (MaxStartups, hosts.deny, another service?)", failure)
        reason = str(failure or "") or "it cut the connection in the middle of the handshake"
        self._fail(SshFault.PROTOCOL, f"{place} did not agree on a session: {reason}", failure)

    def _trusted(self, name: str) -> Trusted:
        names = {host_name(self.address, self.login.port)}
        if name == self.node:
            names.add(host_name(name, self.login.port))  # as `ssh k8s-worker-1` records it
        files = [self.login.known_hosts] if self.login.known_hosts else [path.expanduser() for path in _KNOWN_HOSTS]
        text = ""
        for path in files:
            try:
                text += path.read_text("utf-8", "replace") + "\n"
            except FileNotFoundError:
                continue
            except OSError as error:
                self._fail(
                    SshFault.HOST_KEY_UNKNOWN,
                    f"the known hosts in {path} can't be read: {error.strerror}",
                    error,
                    needs=f"{path} to be readable",
                )
        return trusted_keys(text, names)

    def _verify(self, transport: paramiko.Transport, name: str, trusted: Trusted) -> None:
        host_key = transport.get_remote_server_key()
        kind, blob = host_key.get_name(), host_key.asbytes()
        host = host_name(self.address, self.login.port)
        known = str(self.login.known_hosts or _KNOWN_HOSTS[0])
        description = f"{kind} {host_key.fingerprint}"
        if blob in trusted.revoked:
            self._fail(
                SshFault.HOST_KEY_CHANGED,
                f"{name} ({host}) shows a host key that {known} revokes: {description}",
                None,
                needs=f"a new host key on {name}",
            )
        if (kind, blob) in trusted.keys:
            return
        port = ["-p", self.login.port] if self.login.port != SSH_PORT else []
        scan = program("ssh-keyscan", *port, "--", self.address, syntax(">>"), known)
        if any(known_kind == kind for known_kind, _ in trusted.keys):
            of_kind = next(key for known_kind, key in trusted.keys if known_kind == kind)
            self._fail(
                SshFault.HOST_KEY_CHANGED,
                f"{name} ({host}) shows the host key {description}, but {known} has {fingerprint(of_kind)}",
                None,
                needs=f"someone who knows why (a new installation, or another machine at that address), "
                f"then: `{sequence(program('ssh-keygen', '-R', host, '-f', known), scan)}`",
            )
        besides = "; a @cert-authority line for it is not used here" if trusted.authority else ""
        self._fail(
            SshFault.HOST_KEY_UNKNOWN,
            f"{name} ({host}) shows the host key {description}, of which {known} has none{besides}",
            None,
            needs=f"the key, once compared with the node's own: `{scan}`",
        )

    def _authenticate(self, transport: paramiko.Transport, name: str, identities: Sequence[paramiko.PKey]) -> None:
        import paramiko

        user = self.login.user
        needs = f"the public key in ~{user}/.ssh/authorized_keys on {name}, or other access.ssh.user and key"
        failure: paramiko.SSHException | None = None
        for identity in identities:
            transport.auth_timeout = self.left
            try:
                further = transport.auth_publickey(user, identity)
            except paramiko.BadAuthenticationType as error:
                allowed = ", ".join(error.allowed_types)
                self._fail(
                    SshFault.AUTHENTICATION, f"{name} takes no keys from {user}, only {allowed}", error, needs=needs
                )
            except paramiko.AuthenticationException as error:
                failure = error
                if self.left <= _SOON:
                    self._fail(SshFault.SILENT, f"{name} did not answer the login of {user} in time", error)
                if not transport.is_active():
                    break
            except (paramiko.SSHException, EOFError, OSError) as error:
                self._fail(SshFault.PROTOCOL, f"{name} cut the connection during the login of {user}: {error}", error)
            else:
                if not further:
                    return
                asks = ", ".join(further)
                self._fail(
                    SshFault.AUTHENTICATION,
                    f"{name} accepts the key of {user} and asks for more: {asks}",
                    None,
                    needs=f"an access.ssh.user for whom a key is enough on {name}",
                )
        kinds = ", ".join(f"{identity.get_name()} {identity.fingerprint}" for identity in identities)
        self._fail(SshFault.AUTHENTICATION, f"{name} refused {user} with the key {kinds}", failure, needs=needs)

    def _greet(self, session: Session) -> None:
        """See whether commands run at all: nologin, sftp-only and menu shells accept keys, too."""
        token = f"preflight-{secrets.token_hex(6)}"
        result = session.run("sh -s", stdin=f"echo {token}\n", deadline=self.left)
        if token not in result.stdout:
            output = (result.stderr or result.stdout).strip()[:200] or "nothing"
            if result.exit is None and self.left <= _SOON:
                self._fail(
                    SshFault.SILENT,
                    f"{self.node} lets {self.login.user} in, and its shell did not answer in time; it said: {output}",
                    None,
                    needs=f"a larger `deadlines.ssh`, or a quicker login on {self.node}: check its load and profile",
                )
            self._fail(
                SshFault.NO_SHELL,
                f"{self.node} lets {self.login.user} in but runs no POSIX shell; `sh -s` said: {output}",
                None,
            )

    def _fail(self, fault: SshFault, reason: str, error: BaseException | None, *, needs: str = "") -> NoReturn:
        raise Unmeasured(reason, needs=needs or _NEEDS.get(fault, ""), fault=fault) from error


def _prefer(transport: paramiko.Transport, kinds: Sequence[str]) -> None:
    """Ask for a host key of a kind that we know, so that a host with several presents one that can be compared."""
    options = transport.get_security_options()
    wanted = [name for kind in kinds for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))]
    known = [name for name in dict.fromkeys(wanted) if name in options.key_types]
    options.key_types = (*known, *(name for name in options.key_types if name not in known))
