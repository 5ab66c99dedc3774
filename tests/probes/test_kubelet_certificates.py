"""Until when kubelets' certificates are valid, as workers and their ports show it."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from preflight.clients.connect import Routes
from preflight.clients.ssh import Session
from preflight.evidence import NotApplicable
from preflight.probes import kubelet_certificates
from preflight.probes.kubelet_certificates import CLIENT, FOLDER, read_shown, shown_by_port, shown_by_worker
from tests.probes.servers import tcp_server

END = datetime.datetime(2027, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
# Printed by OpenSSL 3.0 (1.1 writes the same, with blanks), with a file that is missing and one that may not be read.
MISSING = f"""Could not open file or uri for loading certificate from {FOLDER}/kubelet-server-current.pem
4047B6D6B87F0000:error:80000002:system library:file_open:No such file or directory"""
DENIED = f"""Could not open file or uri for loading certificate from {CLIENT}
40A7C0C5C27F0000:error:8000000D:system library:file_open:Permission denied"""


def shown(client: str, port: str) -> str:
    files = [CLIENT, client, f"{FOLDER}/kubelet-server-current.pem", MISSING, f"{FOLDER}/kubelet.crt"]
    return "\n".join([*files, "subject=CN = w@1", "notAfter=Apr  4 05:06:07 2027 GMT", "10250", port, ""])


def test_each_place_has_its_end() -> None:
    whole = read_shown(
        shown("subject=O = system:nodes\nnotAfter=Mar  4 05:06:07 2027 GMT", "notAfter=Mar  5 05:06:07 2027 GMT")
    )
    assert whole.certificates[CLIENT].ends == END.timestamp()
    assert whole.certificates[CLIENT].subject == "O = system:nodes"
    assert whole.serving is not None
    assert whole.serving[0] == "10250"
    assert whole.serving[1].ends == END.timestamp() + 86400


def test_what_may_not_be_read_is_named_and_the_port_shows_the_rest() -> None:
    whole = read_shown(shown(DENIED, ""))
    assert CLIENT not in whole.certificates
    assert whole.reasons[CLIENT] == "Permission denied"
    assert whole.reasons[f"{FOLDER}/kubelet-server-current.pem"] == "No such file or directory"
    assert whole.serving is not None
    assert whole.serving[0] == f"{FOLDER}/kubelet.crt", "without an answer of the port, the file"


@pytest.mark.parametrize("line", ["notAfter=", "notAfter=tomorrow, perhaps", "unable to load certificate", ""])
def test_what_is_no_date_is_no_certificate(line: str) -> None:
    assert read_shown(f"{CLIENT}\n{line}\n").certificates == {}


class Login:
    """A session that runs commands on this machine, with other files and another PATH."""

    node = "w"

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def run(self, _command: str, *, stdin: str, deadline: float) -> Any:
        ran = subprocess.run(
            ["/bin/sh", "-s"],
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            env=self.environment,
            timeout=deadline,
        )
        return type("Ran", (), {"stdout": ran.stdout, "stderr": ran.stderr, "exit": ran.returncode})()


def test_the_script_prints_ends_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("w.example", not_after=END)
    client = tmp_path / "kubelet-client-current.pem"
    client.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    monkeypatch.setattr(kubelet_certificates, "CLIENT", str(client))
    monkeypatch.setattr(kubelet_certificates, "_PLACES", frozenset({str(client), "10250"}))
    session = Login(PATH="/usr/bin:/bin")
    text = session.run("", stdin=kubelet_certificates.script("127.0.0.1"), deadline=10).stdout
    assert "PRIVATE" not in text
    whole = shown_by_worker(cast("Session", session), "127.0.0.1", deadline=10)
    assert whole.certificates[str(client)].ends == END.timestamp()
    with pytest.raises(NotApplicable, match="w has no openssl"):
        shown_by_worker(cast("Session", Login(PATH=str(tmp_path))), "127.0.0.1", deadline=10)


def test_a_port_shows_a_certificate_that_nobody_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = trustme.CA().issue_cert("w.example", not_after=END)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)

    def show(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with tcp_server(show) as port:
        monkeypatch.setattr(kubelet_certificates, "PORT", port)
        whole = shown_by_port("127.0.0.1", routes=Routes(), deadline=5)
    assert whole.serving is not None
    assert whole.serving[1].ends == END.timestamp()
    with pytest.raises(NotApplicable, match="is not reached from here"):
        shown_by_port("127.0.0.1", routes=Routes(), deadline=5)
