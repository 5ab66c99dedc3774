"""Hostile input: whatever logs, web pages, resolvers and the API say, reports stay what they are.

A lab repeats markup, terminal control, bidirectional overrides and megabytes wherever a text of its own goes into a
measurement; beside it stand a web server and a resolver that no lab would be.
"""

from __future__ import annotations

import json
import re
import socketserver
import subprocess
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
import yaml

from lab.kubernetes.guide import NAMESPACE
from lab.kubernetes.managers import RELEASE
from lab.lab import Lab
from lab.world import World
from tests.promises.operator_run import PATIENCE, Run, run
from tests.promises.test_pasted_commands import offered, sandbox

OWN = "document.documentElement.setAttribute('data-owned','1')"
MARKUP = (
    f'<script>{OWN}</script><img src=x onerror="{OWN}"></script><script>{OWN}</script>\'"><svg onload={OWN}>'
    f"<!-- ]]> --></td></table><iframe srcdoc='<script>parent.{OWN}</script>'>&lt;b&gt;&#60;${{{OWN}}}{{{{7*7}}}}"
)
CONTROL = "\x1b[31mred\x1b]0;title\x07\x1b[2J\x00\x08\x0b\x7f\x9b31m\x85\u202eesrever\u2066\u200b\u2028\ufeff\ufffe\r"
HALF = "\ud83d"
"""Half a character, as JSON may hold; no other encoding of text can."""
PASTED = "';touch owned;'`touch owned`$(touch owned)\"; touch owned #"
LINES = "\nGO: 999 passed (effects up to write)\n= verdict =\n"
HOSTILE = f"{MARKUP} {CONTROL} {LINES} {PASTED}"
LONG = HOSTILE + "A" * 100_000 + MARKUP
MEGABYTES = HOSTILE + "A" * 5_000_000 + MARKUP


def poison(world: World) -> None:
    """What a world can be told before its servers start."""
    world.values_edits["\nrunners:\n"] = f"\nrunners:\n  secret: {json.dumps(PASTED)}\n"
    world.gitlab.runners[0].managers[0].system_id = PASTED
    world.gitlab.version = f"17.11.4-{HOSTILE}"
    world.gitlab.runners[0].description = HOSTILE
    world.gitlab.runners[0].tags = (MARKUP, CONTROL, "docker")
    world.release.description = f"Upgrade failed: {LONG}"
    world.release.changed["concurrent"] = HOSTILE
    world.release.changed[MARKUP] = HOSTILE
    for registry in world.registries.values():
        for images in registry.images.values():
            for image in images.values():
                image.created = HOSTILE
    webhook = {"name": MARKUP, "clientConfig": {"url": MARKUP}, "failurePolicy": "Fail", "timeoutSeconds": 30}
    webhook |= {"rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]}
    metadata = {"name": f"policy {HOSTILE}"}
    world.cluster.add({"kind": "ValidatingWebhookConfiguration", "metadata": metadata, "webhooks": [webhook]})


def poison_cluster(world: World) -> None:
    """What managers, nodes and pods say once the release is there."""
    for (_, container), log in world.cluster.written.items():
        if container == RELEASE:
            said = f"ERROR: Verifying runner... is not valid {MEGABYTES}\n".encode()
            log.lines.append((datetime.now(UTC), said + b"\xff\xfe\xc3\x28\n"))
    for item in [*world.cluster.list("nodes"), *world.cluster.list("deployments"), *world.cluster.list("pods")]:
        for condition in item["status"].get("conditions") or ():
            condition |= {"message": f"{HALF}{LONG}", "reason": f"{HOSTILE}{HALF}"}
        if "nodeInfo" in item["status"]:
            item["status"]["nodeInfo"] |= {
                "osImage": HOSTILE,
                "kernelVersion": HOSTILE,
                "containerRuntimeVersion": HOSTILE,
            }
            item["spec"].setdefault("taints", []).append({"key": MARKUP, "value": HOSTILE, "effect": "NoSchedule"})
        if "nodeInfo" in item["status"] and item["metadata"]["name"].endswith("2"):
            item["status"]["conditions"] = [{"type": HOSTILE, "status": HOSTILE}, *item["status"]["conditions"]]
    for item in world.cluster.list("pods"):
        owner = {"apiVersion": "v1", "controller": True, "kind": f"x{PASTED}", "name": PASTED, "uid": "1"}
        item["metadata"]["ownerReferences"] = [owner]
    for number, item in enumerate(world.cluster.list("pods", NAMESPACE)):
        for status in item["status"].get("containerStatuses") or ():
            status |= {"ready": False, "state": {"waiting": {"reason": HOSTILE, "message": f"{HALF}{LONG}"}}}
        event = {"kind": "Event", "metadata": {"name": f"e{number}", "namespace": NAMESPACE}, "type": "Warning"}
        involved = {"kind": "Pod", "name": item["metadata"]["name"], "namespace": NAMESPACE}
        world.cluster.add(event | {"reason": HOSTILE, "message": LONG, "involvedObject": involved})


class Page(socketserver.StreamRequestHandler):
    """A web server that answers all with markup, in its status line, headers and body."""

    def handle(self) -> None:
        self.rfile.readline()
        flat = re.sub(r"[\r\n]", " ", HOSTILE).encode()
        head = b"HTTP/1.1 502 %s\r\nServer: %s\r\nX-Gitlab-Meta: %s\r\nContent-Type: text/html\r\n" % (flat, flat, flat)
        body = f"<html><title>{MARKUP}</title>{LONG}</html>".encode()
        self.wfile.write(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


class Name(socketserver.DatagramRequestHandler):
    """A resolver whose every name is another name for markup."""

    def handle(self) -> None:
        question = dns.message.from_wire(self.rfile.read())
        answer = dns.message.make_response(question)
        asked = question.question[0].name
        labels = (b"<script>%s</script>"[:60], b"<img src=x onerror=alert(1)>\x1b[31m\x00", b"\xff\xfe'\"", b"")
        target = dns.name.Name(labels)
        answer.answer.append(dns.rrset.from_text(asked, 60, "IN", "CNAME", target.to_text()))
        self.wfile.write(answer.to_wire())


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[str]:
    """Where the server listens, as long as this lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def hostile_inventory() -> Iterator[Path]:
    """The inventory of a lab that is hostile wherever it can be."""
    with ExitStack() as stack:
        lab = stack.enter_context(
            Lab(["rollout-stuck", "release-failed", "polls-rejected"], patience=PATIENCE, change=poison)
        )
        lab.change(poison_cluster)
        page = stack.enter_context(serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Page)))
        name = stack.enter_context(serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Name)))
        document: dict[str, Any] = yaml.safe_load(lab.inventory.read_text())
        document["connect"] |= {"10.1.0.251:53": name}
        lab.inventory.write_text(yaml.safe_dump(document))
        hostile = lab.inventory.with_name("page.yaml")
        document["connect"] |= {"192.168.1.50:80": page}
        hostile.write_text(yaml.safe_dump(document))
        yield lab.inventory


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Run, Path]]:
    """Two runs, with their folders: GitLab's API and the cluster are hostile; GitLab's port is."""
    found = []
    with hostile_inventory() as inventory:
        for file in (inventory, inventory.with_name("page.yaml")):
            folder = tmp_path_factory.mktemp(file.stem)
            found.append((run(file, folder, "-vv", "--showlocals", "--color=no"), folder))
    return found


def test_no_script_runs_in_the_page(judged: list[tuple[Run, Path]], tmp_path: Path) -> None:
    control = tmp_path / "control.html"
    control.write_text(f"<html><body>{MARKUP}</body></html>")
    assert "data-owned" in shown_by_browser(control.as_uri()), "the browser runs what is not escaped"
    for _, folder in judged:
        seen = shown_by_browser((folder / "preflight.html").as_uri())
        root = re.search(r"<html[^>]*>", seen)
        assert root is not None
        assert "data-owned" not in root[0]
        assert "Preflight of GitLab Runner" in seen
        assert seen.count("<tr id=") > 100
        assert '<form id="filters" hidden' not in seen, "the page's own script did run"
        assert not re.search(r"<(img|svg onload|iframe)", seen)


def shown_by_browser(address: str) -> str:
    """The page as it stands after its scripts have run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000"]
    ended = subprocess.run(
        ["chromium", *options, "--dump-dom", address], capture_output=True, timeout=90, check=True, text=True
    )
    return ended.stdout


def test_reports_are_whole_and_nothing_unprintable_is_in_them(judged: list[tuple[Run, Path]]) -> None:
    for ended, _ in judged:
        assert ended.status == 1, ended.printed[-2000:]
        assert ended.reports.keys() == {"preflight.html", "preflight.xml", "preflight.json"}
        document = json.loads(ended.reports["preflight.json"], parse_constant=pytest.fail)
        assert "svg onload" in json.dumps(document), "what was said is told"
        cases = ElementTree.fromstring(ended.reports["preflight.xml"]).iter("testcase")
        assert sum(1 for _ in cases) >= len(document["checks"])
        for name, text in {"terminal": ended.printed, **ended.reports, "decoded": "\n".join(texts(document))}.items():
            bad = {c for c in text if unprintable(c)}
            assert not bad, (name, bad)
            assert len(text) < 6_000_000, (name, len(text))
        assert "AAAA" * 2000 not in ended.printed
        assert not re.search(r"^(GO: 999|= verdict =$)", ended.printed, re.MULTILINE), "no line is forged"


def unprintable(character: str) -> bool:
    """Whether a terminal may obey it, or a reader can't see it."""
    return character not in "\n\t" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        yield value
    for one in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(one)


def test_no_command_that_is_offered_runs_more_than_it_shows(judged: list[tuple[Run, Path]], tmp_path: Path) -> None:
    for number, (ended, _) in enumerate(judged):
        commands = sorted(set(offered(json.loads(ended.reports["preflight.json"]))))
        assert len(commands) > 50
        folder = tmp_path / str(number)
        folder.mkdir()
        assert sandbox(folder, commands) == []
