"""A server that sends its answer's head a line at a time holds no request longer than its deadline.

What is asserted is how many lines it got rid of, of those that would take twenty seconds; no clock is read.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, exchange
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.faults import PathFault
from tests.probes.apiserver import kubeconfig
from tests.probes.servers import tcp_server

LINES = 400
PAUSE = 0.05  # seconds
DEADLINE = 0.5  # seconds: about ten lines

HEADS: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-%d: y\r\n"),
    "continues": (b"", b"HTTP/1.1 100 Continue\r\nX-%d: y\r\n\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y%d"),
    "a status line": (b"HTTP/1.1 200 ", b"y%d"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"y%d"),
}


def dripping(begin: bytes, line: bytes, sent: list[int]) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(begin)
        for number in range(LINES):
            connection.sendall(line % number)
            sent.append(number)
            time.sleep(PAUSE)

    return behave


@pytest.mark.parametrize("head", HEADS)
def test_the_api_has_one_deadline_for_a_head(head: str, tmp_path: Path) -> None:
    sent: list[int] = []
    with tcp_server(dripping(*HEADS[head], sent)) as port:
        api = Api(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"), None, routes=Routes(), deadline=DEADLINE)
        with pytest.raises(ApiError) as caught:
            api.get("/version")
        api.close()
    assert caught.value.fault is PathFault.SILENT
    assert len(sent) < LINES // 4


@pytest.mark.parametrize("head", ["headers", "one header"])
def test_an_upgrade_has_one_deadline_for_its_head(head: str, tmp_path: Path) -> None:
    sent: list[int] = []
    begin, line = HEADS[head]
    with tcp_server(dripping(begin.replace(b"200 OK", b"101 Switching Protocols"), line, sent)) as port:
        api = Api(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"), None, routes=Routes(), deadline=DEADLINE)
        with pytest.raises(ApiError) as caught:
            api.websocket("/api/v1/namespaces/n/pods/p/exec", protocols=["v4.channel.k8s.io"], deadline=DEADLINE)
        api.close()
    assert caught.value.fault is PathFault.SILENT
    assert len(sent) < LINES // 4


@pytest.mark.parametrize("head", HEADS)
def test_a_web_probe_has_one_deadline(head: str) -> None:
    sent: list[int] = []
    with tcp_server(dripping(*HEADS[head], sent)) as port, pytest.raises(NoReply) as caught:
        exchange(f"http://127.0.0.1:{port}/", routes=Routes(), ca_file=None, deadline=DEADLINE)
    assert caught.value.fault is PathFault.SILENT
    assert len(sent) < LINES // 4


def test_a_head_that_comes_in_pieces_is_read(tmp_path: Path) -> None:
    body = b'{"gitVersion": "v1.28.15"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)

    def behave(connection: socket.socket) -> None:
        for _ in range(2):  # the connection is kept, and its second answer is read as the first one was
            connection.recv(65_536)
            for piece in itertools.batched(head + body, 7) if hasattr(itertools, "batched") else [head, body]:
                connection.sendall(bytes(piece))

    with tcp_server(behave) as port:
        api = Api(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"), None, routes=Routes(), deadline=5.0)
        assert [api.get("/version"), api.get("/version")] == [{"gitVersion": "v1.28.15"}] * 2
        api.close()
