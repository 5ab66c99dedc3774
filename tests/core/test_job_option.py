"""`--job URL` takes the log of a job from GitLab, and what it can't take ends the run with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

from preflight import inputs
from preflight.inventory import Inventory
from preflight.inventory_forms import Secret

LOG = b"Running with gitlab-runner 18.3.1\nERROR: Job failed (system failure): prepare environment: "
LOG += b'pods "runner-x" is forbidden: exceeded quota: build, requested: pods=1, used: pods=4, limited: pods=4\n'
TOKEN = "glpat-made-up-0000000042"


@pytest.fixture
def gitlab() -> Iterator[str]:
    """A GitLab that has the log of job 42, for whoever brings the token."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/v4/projects/ops%2Fapp/jobs/42/trace" and TOKEN in str(self.headers)
            body = LOG if known else b'{"message": "404 Not found"}'
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def read(inventory: Inventory | None, job: str, symptom: str | None = None) -> Any:
    options = {"job": job, "symptom": symptom}
    config = SimpleNamespace(getoption=options.get, stash=pytest.Stash(), option=SimpleNamespace(collectonly=False))
    if inventory is not None:
        config.stash[inputs.INVENTORY] = inventory
    inputs._read_job_log(cast("pytest.Config", config))
    return config.stash.get(inputs.SYMPTOMS, ())


def at(inventory: Inventory, url: str, token: str | None) -> Inventory:
    secret = Secret("${TOKEN}", token) if token else None
    gitlab = inventory.gitlab.model_copy(update={"url": url, "api_token": secret})
    return inventory.model_copy(update={"gitlab": gitlab, "connect": {}})


def test_the_log_of_a_job_is_read_as_a_symptom(inventory: Inventory, gitlab: str) -> None:
    found = read(at(inventory, gitlab, TOKEN), f"{gitlab}ops/app/-/jobs/42")
    assert [entry.symptom.id for entry in found][:1] == ["quota-exceeded"]


@pytest.mark.parametrize(
    ("path", "token", "message"),
    [
        ("ops/app/-/jobs/41", TOKEN, "--job: GitLab answered 404"),
        ("ops/app/-/pipelines/42", TOKEN, "--job: expected the address of a job's page"),
        ("ops/app/-/jobs/42", None, "--job: needs gitlab.api_token in the inventory"),
    ],
)
def test_a_log_that_can_t_be_had_ends_the_run(
    path: str, token: str | None, message: str, inventory: Inventory, gitlab: str
) -> None:
    with pytest.raises(pytest.UsageError, match=message):
        read(at(inventory, gitlab, token), f"{gitlab}{path}")


def test_the_token_goes_to_no_other_server(inventory: Inventory, gitlab: str) -> None:
    with pytest.raises(pytest.UsageError, match="--job: "):
        read(at(inventory, gitlab, TOKEN), "http://127.0.0.1:9/ops/app/-/jobs/42")


def test_it_needs_an_inventory_and_no_second_text(inventory: Inventory, gitlab: str) -> None:
    with pytest.raises(pytest.UsageError, match="needs an --inventory"):
        read(None, f"{gitlab}ops/app/-/jobs/42")
    with pytest.raises(pytest.UsageError, match="give one of the two"):
        read(at(inventory, gitlab, TOKEN), f"{gitlab}ops/app/-/jobs/42", symptom="x")
