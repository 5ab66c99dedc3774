"""Servers that send without end, or what no API server sends, are left in bounded time and memory, and named."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import random
import re
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from preflight.clients import exec as streams
from preflight.clients import kube_api
from preflight.clients.connect import Routes
from preflight.clients.exec import exec_in_pod
from preflight.clients.http import exchange
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.faults import ApiFault, StreamFault
from tests.probes.apiserver import Asked, Reply, Scripted, kubeconfig
from tests.probes.servers import tcp_server

PODS = "/api/v1/namespaces/gitlab/pods"
NAMED = {"metadata": {"name": "x", "uid": "1"}}


def api(folder: Path, url: str, *, deadline: float = 2.0) -> Api:
    return Api(kubeconfig(folder, url), None, routes=Routes(), deadline=deadline)


# ---- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [[], [NAMED], [NAMED] * 500])
def test_a_list_that_never_ends_is_left(items: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "MOST_ITEMS", 5_000)
    tokens = itertools.count()

    def answer(_: Asked) -> Reply:
        return Reply({"metadata": {"continue": str(next(tokens))}, "items": items})

    with Scripted(answer) as server, pytest.raises(ApiError, match="does not end") as caught:
        list(api(tmp_path, server.url).items(PODS))
    assert caught.value.fault is ApiFault.GARBLED
    assert next(tokens) <= 12


def test_a_list_that_ends_at_last_is_read_whole(tmp_path: Path) -> None:
    pages = iter([{"continue": "a"}, {"continue": "b"}, {}])
    with Scripted(lambda _: Reply({"metadata": next(pages), "items": [NAMED]})) as server:
        assert len(list(api(tmp_path, server.url).items(PODS))) == 3


@pytest.mark.parametrize("page", [{"items": 5}, {"items": "ab"}, {"items": [1]}, {"items": {"a": 1}}])
def test_a_list_of_no_objects_is_garbled(page: object, tmp_path: Path) -> None:
    with Scripted(lambda _: Reply(page)) as server, pytest.raises(ApiError) as caught:
        list(api(tmp_path, server.url).items(PODS))
    assert caught.value.fault is ApiFault.GARBLED


# ---- watches and logs -----------------------------------------------------------------------------------------------

EVENT = json.dumps({"type": "MODIFIED", "object": NAMED}).encode() + b"\n"


def endless(head: bytes, pieces: Iterable[bytes], sent: list[int]) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece)
            sent.append(len(piece))

    return behave


CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


def test_a_watch_that_is_one_endless_line_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "LARGEST_EVENT", 2**20)
    sent: list[int] = []
    with tcp_server(endless(CLOSED, itertools.repeat(b"x" * 2**16, 2_000), sent)) as port:
        assert list(api(tmp_path, f"http://127.0.0.1:{port}").watch(PODS, timeout=20)) == []
    assert sum(sent) < 20 * 2**20


def test_a_watch_of_endless_events_ends_when_its_time_is_over(tmp_path: Path) -> None:
    sent: list[int] = []
    with tcp_server(endless(CLOSED, itertools.repeat(EVENT * 500), sent)) as port:
        assert all(
            event["type"] == "MODIFIED" for event in api(tmp_path, f"http://127.0.0.1:{port}").watch(PODS, timeout=1)
        )
    assert sent


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"5",
        b'"x"',
        b'{"type": "ADDED", "object": []}',
        b'{"object": {"metadata": 1}}',
        b'{"object": {"spec": "x"}}',
        b'{"type": "ERROR"}',
        b'{"type": "ERROR", "object": {"code": "x"}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_ends_a_watch(line: bytes, tmp_path: Path) -> None:
    with tcp_server(endless(CLOSED, [EVENT, line, b"\n", EVENT], [])) as port:
        watched = list(api(tmp_path, f"http://127.0.0.1:{port}").watch(PODS, timeout=5))
    assert watched == [json.loads(EVENT)]


def test_a_log_without_an_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "LARGEST", 2**20)
    sent: list[int] = []
    gigabyte = itertools.repeat(b"a line\n" * 9_000, 16_000)
    with tcp_server(endless(CLOSED, gigabyte, sent)) as port, pytest.raises(ApiError) as caught:
        api(tmp_path, f"http://127.0.0.1:{port}").text(f"{PODS}/x/log")
    assert caught.value.fault is ApiFault.GARBLED
    assert sum(sent) < 100 * 2**20


BOMB = gzip.compress(b"\0" * 50_000_000)
PACKED = CLOSED.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")


def test_what_unpacks_to_too_much_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "LARGEST", 2**20)
    assert len(BOMB) < 2**17
    with tcp_server(endless(PACKED, [BOMB], [])) as port:
        url = f"http://127.0.0.1:{port}"
        client = api(tmp_path, url, deadline=20.0)
        client._open()  # imports are not what is measured
        tracemalloc.start()
        with pytest.raises(ApiError) as caught:
            client.get("/version")
        reply = exchange(url, routes=Routes(), ca_file=None, deadline=5.0, longest=2**16)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert caught.value.fault is ApiFault.GARBLED
    assert len(reply.body) == 2**16
    assert most < 20_000_000


# ---- WebSockets -----------------------------------------------------------------------------------------------------


def upgraded(frames: Callable[[], Iterator[bytes]]) -> Callable[[socket.socket], None]:
    """A server that agrees to the upgrade, and then sends these bytes."""

    def behave(connection: socket.socket) -> None:
        asked = connection.recv(65_536)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", asked, re.IGNORECASE)
        assert key is not None
        accepted = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: " + accepted + b"\r\n\r\n"
        )
        for piece in frames():
            connection.sendall(piece)

    return behave


def frame(payload: bytes, *, code: int = 2, last: bool = True, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return bytes([code | (0x80 if last else 0), 127]) + struct.pack(">Q", size) + payload


def dripping() -> Iterator[bytes]:
    yield frame(b"", length=10_000)
    for _ in range(400):
        yield b"\x01"
        time.sleep(0.05)


HOSTILE: dict[str, Callable[[], Iterator[bytes]]] = {
    "one message of 2^62 bytes": lambda: itertools.chain([frame(b"", length=2**62)], itertools.repeat(b"x" * 2**16)),
    "one message in endless parts": lambda: itertools.repeat(frame(b"\x01" + b"x" * 60_000, code=2, last=False)),
    "endless continuations": lambda: itertools.chain(
        [frame(b"\x01x", last=False)], itertools.repeat(frame(b"x" * 60_000, code=0, last=False))
    ),
    "endless output": lambda: itertools.repeat(frame(b"\x01" + b"x" * 60_000)),
    "endless pings": lambda: itertools.repeat(frame(b"x" * 100, code=9)),
    "a message that drips": dripping,
    "random bytes": lambda: iter([random.Random(16).randbytes(100_000)]),
    "a status that is none": lambda: iter([frame(b"\x03[1, 2]")]),
    "a status that nests": lambda: iter([frame(b"\x03" + b"[" * 100_000)]),
    "causes that are none": lambda: iter(
        [frame(b'\x03{"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [1]}}')]
    ),
    "details that are none": lambda: iter(
        [frame(b'\x03{"status": "Failure", "reason": "NonZeroExitCode", "details": 7}')]
    ),
    "another protocol": lambda: iter([b"HTTP/1.1 200 OK\r\n\r\n" * 100]),
    "a reserved code": lambda: iter([frame(b"x", code=7)]),
    "a close that is cut": lambda: iter([frame(b"\x03", code=8)]),
    "text that is no UTF-8": lambda: iter([frame(b"\x01\xff\xfe", code=1), frame(b"", code=8)]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_frames_are_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST", 2**22)
    with tcp_server(upgraded(HOSTILE[kind])) as port, pytest.raises(ApiError) as caught:
        exec_in_pod(api(tmp_path, f"http://127.0.0.1:{port}"), "gitlab", "x", "build", ["true"], deadline=1.0)
    assert caught.value.fault in {StreamFault.CUT, StreamFault.SLOW, StreamFault.NOT_STARTED}
