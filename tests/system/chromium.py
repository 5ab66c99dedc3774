"""Debian's Chromium without a screen, driven over its own protocol (CDP), to see a page as a browser shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_COMPLAINTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


class Page:
    """One tab.

    Attributes:
        complaints: exceptions, console messages and log entries.
        requested: every address that was asked for.
    """

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60)
        self._calls = 0
        self.complaints: list[dict[str, Any]] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._calls:
                assert "error" not in told, told["error"]
                found: dict[str, Any] = told["result"]
                return found
            if told["method"] in _COMPLAINTS:
                self.complaints.append(told["params"])
            if told["method"] == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])

    def show(self, file: Path, *, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Open a file at a width, in a colour scheme, and wait until its scripts have run."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self._open("about:blank")
        self.complaints.clear()
        self.requested.clear()
        self._open(file.as_uri())

    def _open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        end = time.monotonic() + 30
        arrived = f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'"
        while not self.evaluate(arrived):
            assert time.monotonic() < end, f"{address} does not come to an end"
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a profile of its own and one tab."""
    assert CHROMIUM, "this test needs Debian's chromium"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--disable-background-networking", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    command += [f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            port = _port(folder / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as reply:
                tabs = json.load(reply)
            yield Page(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("chromium did not start")
