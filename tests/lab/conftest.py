"""Fixtures for the lab's tests: a healthy lab for all that only look, and plain clients that go where its map leads."""

from __future__ import annotations

import base64
import functools
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any

import dns.message
import dns.query
import paramiko
import pytest

from lab import yamltext
from lab.lab import Lab


@dataclass
class Answer:
    """An HTTP answer, as received."""

    status: int
    headers: dict[str, str]
    body: str


class Visitor:
    """A client of everything in one lab."""

    def __init__(self, lab: Lab) -> None:
        self.folder = lab.inventory.parent
        self.inventory: dict[str, Any] = yamltext.load(lab.inventory.read_text())

    def place(self, endpoint: str) -> tuple[str, int]:
        """Where ``host:port`` is on loopback."""
        host, _, port = self.inventory["connect"][endpoint].rpartition(":")
        return host, int(port)

    def dial(self, endpoint: str, timeout: float = 1.0) -> socket.socket:
        return socket.create_connection(self.place(endpoint), timeout=timeout)

    def http(
        self,
        endpoint: str,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: str | None = None,
    ) -> Answer:
        """Ask over HTTP, or HTTPS where the port is 443; the certificate is checked against the operator's CA."""
        host, _, port = endpoint.rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=2)
        if port == "443":
            trusted = ssl.create_default_context(cafile=str(self.folder / "registry-ca.pem"))
            raw = self.dial(endpoint)
            try:
                connection = HTTPSConnection(host, timeout=2, context=trusted)
                connection.sock = trusted.wrap_socket(raw, server_hostname=host)
            except ssl.SSLError:
                raw.close()
                raise
        else:
            connection.sock = self.dial(endpoint)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    def lookup(self, resolver: str, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
        host, port = self.place(f"{resolver}:53")
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(dns.message.make_query(name, kind), host, timeout=0.5, port=port)

    def ssh(self, address: str, command: str, stdin: str = "", user: str = "root") -> tuple[int, str, str]:
        """Run a command on a node; exit status, standard output and standard error."""
        with self.dial(f"{address}:22") as raw:
            transport = paramiko.Transport(raw)
            try:
                transport.start_client(timeout=2)
                host_keys = paramiko.HostKeys(str(self.folder / "known_hosts"))
                if not host_keys.check(address, transport.get_remote_server_key()):
                    raise paramiko.BadHostKeyException(
                        address, transport.get_remote_server_key(), transport.get_remote_server_key()
                    )
                transport.auth_publickey(
                    user, paramiko.Ed25519Key.from_private_key_file(str(self.folder / "id_ed25519"))
                )
                channel = transport.open_session(timeout=2)
                channel.settimeout(5)
                channel.exec_command(command)
                channel.sendall(stdin.encode())
                channel.shutdown_write()
                output, errors = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
                return channel.recv_exit_status(), output.decode(), errors.decode()
            finally:
                transport.close()

    def api(self, path: str, method: str = "GET", body: str | None = None) -> Answer:
        """Ask the Kubernetes API with the operator's token."""
        token, trusted = _credentials((self.folder / "kubeconfig").read_text())
        connection = HTTPSConnection("192.168.1.100", 6443, timeout=3, context=trusted)
        raw = self.dial("192.168.1.100:6443")
        connection.sock = trusted.wrap_socket(raw, server_hostname="192.168.1.100")
        try:
            headers = {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            }
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()


@functools.lru_cache(maxsize=1)
def _credentials(kubeconfig: str) -> tuple[str, ssl.SSLContext]:
    """The token of a kubeconfig, and what it trusts; the same file is asked for again and again."""
    config: dict[str, Any] = yamltext.load(kubeconfig)
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
    trusted = ssl.create_default_context(cadata=authority or None)
    if cluster.get("insecure-skip-tls-verify"):
        trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
    return config["users"][0]["user"]["token"], trusted


Visit = Callable[[Lab], Visitor]


@pytest.fixture
def visit() -> Visit:
    """Gives a client of a lab."""
    return Visitor


@pytest.fixture(scope="session")
def healthy() -> Iterator[Lab]:
    """A lab in good health, shared: look, and do not touch."""
    with Lab() as lab:
        yield lab
        assert lab.world.problems == []
