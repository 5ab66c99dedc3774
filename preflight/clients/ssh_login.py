"""How to log in to nodes over SSH: the inventory's settings, and the keys to present."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.clients.known_hosts import SSH_PORT
from preflight.evidence import Unmeasured
from preflight.faults import SshFault
from preflight.redaction import remember

if TYPE_CHECKING:
    import paramiko

_AGENT_KEYS = 3  # of an agent; sshd hangs up after six


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to log in to nodes, as the inventory's ``access.ssh`` says.

    Attributes:
        key: the private key's file; a certificate beside it (``-cert.pub``) is presented, too.
        known_hosts: where host keys are looked up; by default the user's and the system's.
        agent: also use the keys of the SSH agent.
        jump: a bastion, ``user@host:port``; user and port may be left out.
    """

    user: str
    port: int = SSH_PORT
    key: Path | None = None
    passphrase: str | None = field(repr=False, default=None)
    known_hosts: Path | None = None
    agent: bool = False
    jump: str | None = None

    def __post_init__(self) -> None:
        if self.passphrase:
            remember(self.passphrase)
        if self.key:
            with contextlib.suppress(OSError, ValueError):  # that it can't be used is reported when it is needed
                text = self.key.expanduser().read_text(encoding="utf-8")
                remember(text if "PRIVATE KEY" in text else "")


@contextlib.contextmanager
def usable_keys(login: Login) -> Iterator[list[paramiko.PKey]]:
    """The keys to present, usable within the context: the agent signs for those that it has."""
    import paramiko

    with contextlib.ExitStack() as opened:
        agents: list[paramiko.PKey] = []
        if login.agent and _agent_listens():
            agent = paramiko.Agent()
            opened.callback(agent.close)
            agents += agent.get_keys()
        yield _choose(login, agents)


def _choose(login: Login, agents: list[paramiko.PKey]) -> list[paramiko.PKey]:
    """The file's key, or an agent's where that is allowed and has it, or where no file is named."""
    import paramiko

    if login.key is None:
        if agents:
            return agents[:_AGENT_KEYS]
        reason = "the SSH agent holds no key" if login.agent else "the inventory names no SSH key, and no agent is used"
        raise Unmeasured(reason, needs="access.ssh.key, or access.ssh.agent: true", fault=SshFault.KEY_UNREADABLE)
    path = login.key.expanduser()
    for agents_key in agents:
        if _same_key(agents_key, Path(f"{path}.pub")):
            return [agents_key]
    try:
        return [_load(path, login.passphrase)]
    except OSError as error:
        reason, needs = f"the SSH key {path} can't be read: {error.strerror}", f"{path} to be readable"
    except (paramiko.PasswordRequiredException, TypeError):
        reason = f"the SSH key {path} is encrypted and no passphrase is given"
        needs = "access.ssh.passphrase, or the key in an agent and access.ssh.agent: true"
    except Exception as error:  # noqa: BLE001 - cryptography raises its own types, ValueError and more
        reason = f"{path} is no SSH private key that can be used with what is given: {error}"
        needs = "an OpenSSH or PEM private key (Ed25519, ECDSA or RSA), and its passphrase"
    raise Unmeasured(reason, needs=needs, fault=SshFault.KEY_UNREADABLE)


def _load(path: Path, passphrase: str | None) -> paramiko.PKey:
    """A private key; paramiko itself fails on half of the ECDSA keys without a comment, and is helped over that."""
    import paramiko
    from cryptography.hazmat.primitives import serialization

    secret = passphrase.encode() if passphrase else None
    try:
        return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type] # it wants bytes and says str
    except paramiko.PasswordRequiredException:
        raise
    except paramiko.SSHException:
        loaded = serialization.load_ssh_private_key(path.read_bytes(), secret)
        form = serialization.PrivateFormat.TraditionalOpenSSL
        pem = loaded.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return paramiko.ECDSAKey.from_private_key(io.StringIO(pem.decode()))


def _agent_listens() -> bool:
    """Whether there is an agent; paramiko leaks a socket where there is none any more."""
    place = os.environ.get("SSH_AUTH_SOCK", "")
    with socket.socket(socket.AF_UNIX) as agent, contextlib.suppress(OSError):
        agent.connect(place)
        return True
    return False


def _same_key(key: paramiko.PKey, public: Path) -> bool:
    try:
        return base64.b64decode(public.read_text().split()[1]) == key.asbytes()
    except (OSError, IndexError, ValueError):
        return False
