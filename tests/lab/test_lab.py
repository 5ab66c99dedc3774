"""The lab starts fast, gives what an operator has, and leaves nothing."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from lab.inventory import draft, find
from lab.lab import Lab
from preflight.inventory import load

if TYPE_CHECKING:
    from tests.lab.conftest import Visit


def test_it_starts_and_stops_in_a_moment_and_leaves_nothing() -> None:
    Lab().stop()  # never started
    threads, began = set(threading.enumerate()), time.monotonic()
    descriptors = len(list(Path("/dev/fd").iterdir()))
    lab = Lab()
    lab.start()
    started = time.monotonic() - began
    folder = lab.inventory.parent
    assert folder.is_dir()
    began = time.monotonic()
    lab.stop()
    assert started < 1.0
    assert time.monotonic() - began < 1.0
    assert not folder.exists()
    assert set(threading.enumerate()) == threads
    assert len(list(Path("/dev/fd").iterdir())) <= descriptors + 1
    lab.stop()  # again: nothing


def test_its_inventory_is_one_that_the_suite_reads(healthy: Lab) -> None:
    inventory = load(healthy.inventory)
    assert inventory.connect["*"] == "refuse"
    assert inventory.gitlab.url == "http://192.168.1.50/"
    assert inventory.gitlab.api_token
    assert set(inventory.connect) >= {"192.168.1.50:80", "192.168.1.100:6443", "10.0.0.2:53", "192.168.1.103:22"}
    assert all(address.startswith("127.0.0.1:") for key, address in inventory.connect.items() if key != "*")
    assert inventory.registries["private"].images == ["my-namespace/alpine:latest"]


def test_what_is_secret_is_readable_by_its_owner_alone(healthy: Lab) -> None:
    for name in ("id_ed25519", "kubeconfig", "gitlab-token"):
        assert stat.S_IMODE((healthy.inventory.parent / name).stat().st_mode) == 0o600


def test_a_fault_of_the_values_is_in_the_lab_s_copy_of_them() -> None:
    with Lab(["dind-unprivileged", "unschedulable-selector", "service-account-missing"]) as lab:
        values = yaml.safe_load((lab.inventory.parent / "gitlab-runner-values.yaml").read_text())
    import tomllib

    kubernetes = tomllib.loads(values["runners"]["config"])["runners"][0]["kubernetes"]
    assert kubernetes["privileged"] is False
    assert kubernetes["node_selector"] == {"node-pool": "ci"}
    assert kubernetes["service_account"] == "ci-jobs"
    assert kubernetes["dns_config"]["nameservers"] == ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
    assert kubernetes["image_pull_secrets"] == ["private-registry"]


def test_latency_is_added_to_every_answer(visit: Visit) -> None:
    with Lab(latency=0.2) as lab:
        visitor = visit(lab)
        for ask in (
            lambda: visitor.http("192.168.1.50:80", "/"),
            lambda: visitor.http("registry.example.com:443", "/v2/"),
            lambda: visitor.lookup("10.0.0.2", "registry.example.com"),
            lambda: visitor.lookup("10.0.0.2", "registry.example.com", tcp=True),
            lambda: visitor.ssh("192.168.1.101", "true"),
            lambda: visitor.api("/version"),
        ):
            began = time.monotonic()
            ask()
            assert time.monotonic() - began >= 0.2


def test_every_request_is_on_record(visit: Visit) -> None:
    with Lab() as lab:
        visitor = visit(lab)
        visitor.http("192.168.1.50:80", "/api/v4/version")
        visitor.lookup("10.0.0.2", "registry.example.com")
        visitor.ssh("192.168.1.101", "true")
        visitor.api("/version")
        requests = {(request.server, request.method, request.path) for request in lab.requests}
        assert {
            ("gitlab", "GET", "/api/v4/version"),
            ("dns 10.0.0.2", "udp", "registry.example.com A"),
            ("ssh k8s-worker-1", "exec", "true"),
            ("kubernetes", "GET", "/version"),
        } <= requests
        assert len(lab.world.recorded(server="ssh *", method="exec")) == 1


def test_a_lab_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(FileNotFoundError):
        Lab(base=tmp_path / "inventory.yaml").start()
    assert set(threading.enumerate()) == threads


def test_a_draft_can_be_read_without_anybody_serving(tmp_path: Path) -> None:
    inventory = load(draft(tmp_path, base=find(), names=["dns-one-silent"]))
    assert inventory.dns.resolvers == ["10.0.0.2", "10.1.0.251", "10.1.0.252"]


def test_several_labs_live_side_by_side(visit: Visit) -> None:
    with Lab() as healthy_lab, Lab(["gitlab-502"]) as other:
        assert visit(healthy_lab).http("192.168.1.50:80", "/").status == 302
        assert visit(other).http("192.168.1.50:80", "/").status == 502
