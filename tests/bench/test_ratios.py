from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.world import Request
from preflight.inventory import Inventory
from tests.bench import guide_commands, ratios, requests_seen
from tests.bench.lifetimes import Lives


def test_figures_are_compared_with_those_of_the_run_before_and_with_their_limits() -> None:
    now = {"run, seconds": 4.0, "memory, MB": 100.0, "CPU, seconds": 3.5, "requests": 9, "requests by kind": {"dns": 9}}
    shown = ratios.lines(now, {"run, seconds": 3.0, "memory, MB": 99.0})
    assert [line.split(None, 2)[0] for line in shown] == ["run,", "memory,", "CPU,", "requests"]
    assert shown[0].endswith("4.00, was 3.00  WORSE")
    assert shown[1].endswith("100.00, was 99.00")
    assert shown[2].endswith("3.50, at most 3  TOO MUCH")


def test_requests_are_of_a_kind_without_their_names() -> None:
    path = "/api/v1/namespaces/gitlab/pods/runner-abc/log?container=build"
    assert ratios.kind_of(Request("kubernetes", "GET", path)) == "GET /api/v1/namespaces/…/pods/…/log"
    assert ratios.kind_of(Request("registry registry.example.com", "GET", "/v2/")) == "registry"


def test_requests_of_a_run_against_a_cluster_are_seen_from_within(inventory: Inventory) -> None:
    seen = requests_seen.Seen()
    api, gitlab = (SimpleNamespace(host=host) for host in ("192.168.1.100", "192.168.1.50"))
    for event, arguments in (
        ("http.client.send", (api, b"GET /api/v1/nodes?limit=500 HTTP/1.1\r\nHost: x\r\n\r\n")),
        ("http.client.send", (api, b'{"GET ": "a body"}')),
        ("http.client.send", (gitlab, b"POST /api/v4/runners/verify HTTP/1.1\r\n\r\n")),
        ("socket.sendto", (None, ("10.0.0.2", 53))),
        ("socket.connect", (None, ("192.168.1.101", 22))),
        ("socket.connect", (None, ("192.168.1.101", 10250))),
        ("socket.connect", (None, "/run/a.sock")),
        ("open", ("file", "r", 0)),
    ):
        seen.audit(event, arguments)
    assert ratios.by_kind(seen.requests(inventory)) == {"GET /api/v1/nodes": 1, "gitlab": 1, "dns": 1, "ssh": 1}


@pytest.mark.parametrize(("head_start", "longest"), [(0.5, 5.0), (6.0, 6.0)])
def test_the_slowest_chain_is_a_workers_pods_one_after_the_other(head_start: float, longest: float) -> None:
    facts = [
        {"name": name, "targets": {"worker": worker}, "took": took}
        for name, worker, took in (
            ("job_pod", "a", 2.0),
            ("dind_pod", "a", 3.0),
            ("job_pod", "b", 4.5),
            ("dind_head_start", "a", head_start),
            ("x", "b", 9.0),
        )
    ]
    measured = ratios.Measured(9.0, 1.0, 1.0, facts=tuple(facts))
    assert measured.chain == longest
    assert replace(measured, longest_pod=7.0).chain == 7.0, "its removal takes time, too"
    assert ratios.Measured(9.0, 1.0, 1.0).chain == 0.0


def test_a_pod_is_there_from_the_first_event_to_its_deletion() -> None:
    pods = Lives()
    for event, name, now in (("ADDED", "a", 1.0), ("ADDED", "b", 2.0), ("MODIFIED", "a", 3.0), ("DELETED", "a", 5.5)):
        pods.take(event, name, now)
    assert pods.seconds == {"a": 4.5}
    assert pods.longest == 4.5


def test_the_guides_commands_cover_the_inventory(inventory: Inventory) -> None:
    typed = [words for words, _ in guide_commands.commands(inventory)]
    lines = [" ".join(words) for words in typed]
    asked = {(words[-2], words[-1]) for words in typed if words[0] == "nslookup"}
    assert asked == {(name, resolver) for resolver in inventory.dns.resolvers for name in inventory.dns.names}
    made = [document["spec"]["nodeSelector"] for _, document in guide_commands.commands(inventory) if document]
    assert made == [{"kubernetes.io/hostname": worker} for worker in inventory.workers for _ in ("plain", "dind")]
    logins = [line for line in lines if line.startswith("ssh ")]
    assert len(logins) == len(inventory.workers) * (len(inventory.dns.resolvers) + 2)


def test_commands_that_fail_are_named_and_pods_are_deleted(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[list[str]] = []

    def succeeds(words: list[str], document: object = None) -> bool:
        run.append(words)
        return "top" not in words

    monkeypatch.setattr(guide_commands, "_succeeds", succeeds)
    monkeypatch.setattr("preflight.inventory.load", lambda _: inventory)
    ended = guide_commands.run(Path("inventory.yaml"))
    assert [failed.rpartition(" -n ")[2] for failed in ended.failed] == ["gitlab top nodes"]
    assert ended.count == len(run) - 1
    assert run[-1][-2:] == ["bench-by-hand", "bench-by-hand-dind"]
