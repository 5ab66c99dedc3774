"""A run with every output, and a server that keeps what it is sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import processes
from tests.probes.apiserver import Answer, Asked, Reply, Scripted

PATH = "hooks/T00000000/made-up-webhook-token-0123456789"


class Run(NamedTuple):
    """A run, where it wrote to, and what the servers were sent."""

    ended: subprocess.CompletedProcess[str]
    folder: Path
    asked: list[Asked]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "preflight.json").read_text())
        return document


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The lab with a GitLab that is stopped, read only; the metrics go to a Pushgateway, which has had enough."""
    folder = tmp_path_factory.mktemp("outputs")

    def answer(asked: Asked) -> Reply:
        return Reply("", 202) if asked.path.startswith("/metrics") else Reply({"errcode": 310000, "errmsg": "no sign"})

    with Scripted(answer) as server:
        place = f"127.0.0.1:{server.port}"
        ended = processes.run_checks(
            *("--lab", "--lab-fault", "gitlab-refused", "--effect", "read", "--report-dir", folder),
            *("--metrics-file", folder / "preflight.prom", "--markdown", folder / "note.md"),
            *("--code-quality", folder / "quality.json", "--pushgateway", f"http://ops:made-up-word@{place}/"),
            *("--notify", "${MADE_UP_WEBHOOK}", "--notify-format", "dingtalk"),
            env=processes.environment(MADE_UP_WEBHOOK=f"http://{place}/{PATH}"),
        )
        return Run(ended, folder, server.asked)


@pytest.fixture
def document(run: Run) -> dict[str, Any]:
    """The run's report, to be changed at will."""
    return run.document


Serve = Callable[[Answer], Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Begin a server that answers as told."""
    servers: list[Scripted] = []

    def begin(answer: Answer) -> Scripted:
        servers.append(Scripted(answer).__enter__())
        return servers[-1]

    yield begin
    for server in servers:
        server.__exit__()
