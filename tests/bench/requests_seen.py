"""What a run asks for, seen from within (`-p tests.bench.requests_seen`): a real cluster's servers do not count it.

HTTP requests are seen by Python's own audit events, WebSockets by their client. Names are those of the lab's servers,
so that figures of a cluster and of the lab stand side by side.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.world import Request
from preflight.inputs import INVENTORY
from preflight.inventory import Inventory

FILE = "PREFLIGHT_BENCH_REQUESTS"
"""The environment variable that names the file to write."""

_DNS, _SSH = 53, 22
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")


class Seen:
    """The requests of this process, from when its `audit` is told of events."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self._lock = threading.Lock()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event of Python (docs.python.org/3/library/audit_events.html)."""
        if event == "http.client.send":
            self._http(arguments[0], arguments[1])
        elif event in {"socket.sendto", "socket.connect"} and isinstance(arguments[1], tuple):
            host, port = arguments[1][:2]
            if port == _DNS:
                self.add(host, "dns", "")
            elif port == _SSH and event == "socket.connect":
                self.add(host, "ssh", "")

    def _http(self, connection: Any, data: Any) -> None:
        if isinstance(data, bytes) and data.startswith(_METHODS):
            method, path, *_ = data.split(b"\r\n", 1)[0].decode(errors="replace").split(" ")
            self.add(str(connection.host), method, path)

    def add(self, host: str, method: str, path: str) -> None:
        """Count a request; a lookup and a login have a method, and no path."""
        with self._lock:
            self.sent.append((host, method, path))

    def requests(self, inventory: Inventory) -> Iterator[Request]:
        """The same, each by its server as the lab calls it."""
        servers = {urlsplit(f"//{registry.host}").hostname: "registry" for registry in inventory.registries.values()}
        servers[urlsplit(inventory.gitlab.url).hostname] = "gitlab"
        servers[urlsplit(inventory.cluster.api_server).hostname] = "kubernetes"
        for host, method, path in self.sent:
            if method in {"dns", "ssh"}:
                yield Request(method, method, path)
            else:
                yield Request(servers.get(host, "other"), method, path)


SEEN = pytest.StashKey[Seen]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    import websocket

    seen = config.stash[SEEN] = Seen()
    sys.addaudithook(seen.audit)
    connect = websocket.WebSocket.connect

    def counted(self: Any, url: str, **options: Any) -> Any:
        parts = urlsplit(url)
        seen.add(str(parts.hostname), "GET", parts.path)
        return connect(self, url, **options)  # type: ignore[no-untyped-call]

    websocket.WebSocket.connect = counted  # type: ignore[method-assign]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write what was seen."""
    if SEEN in config.stash and INVENTORY in config.stash:
        requests = config.stash[SEEN].requests(config.stash[INVENTORY])
        lines = [[request.server, request.method, request.path] for request in requests]
        Path(os.environ[FILE]).write_text(json.dumps(lines), encoding="utf-8")
