"""Every fault of the list is there, says what it is, changes the world, and is named in nothing that is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import ssl
import time
from typing import TYPE_CHECKING

import dns.exception
import paramiko
import pytest

from lab import faults, inventory
from lab.cluster.resources import BY_PLURAL
from lab.lab import Lab
from lab.world import RESOLVERS, World

if TYPE_CHECKING:
    from tests.lab.conftest import Visit, Visitor

FAULTS = tuple(faults.known())
GIVEAWAYS = re.compile(
    rb"\b(lab|fault|faults|stand-?ins?|simulat\w*|mock\w*|fake\w*|aiohttp|asyncssh|trustme)\b", re.IGNORECASE
)
PARTS = (b"lab", b"fault", b"standin", b"stand-in", b"simulat", b"mock", b"fake", b"aiohttp", b"asyncssh", b"trustme")
"""One of which each of them has: it is found much faster."""


def test_each_is_told_in_one_sentence() -> None:
    for name, injection in faults.known().items():
        assert injection.sentence.endswith("."), name
        assert len(injection.sentence) <= 110, name
        assert name not in injection.sentence


@pytest.fixture(scope="module")
def healthy() -> str:
    return shown(())


def shown(names: tuple[str, ...]) -> str:
    """All that a world is: its own settings, its cluster's, and every object there."""
    world = inventory.build(names)
    cluster = world.cluster
    settings = {field.name: getattr(cluster, field.name) for field in dataclasses.fields(cluster)}
    objects = {resource: list(cluster.list(resource)) for resource in BY_PLURAL}
    return stable(repr((world, world.release, settings, objects)))


def stable(text: str) -> str:
    """Without what differs between two worlds anyway."""
    return re.sub(r"'(uid|resourceVersion|\w*Time|\w*Timestamp|startedAt)': '[^']*'", "", text)


def test_two_worlds_without_a_fault_are_alike(healthy: str) -> None:
    assert shown(()) == healthy


@pytest.mark.parametrize("name", FAULTS)
def test_each_changes_the_world(name: str, healthy: str) -> None:
    assert shown((name,)) != healthy


def test_all_together_still_make_a_world() -> None:
    inventory.build(FAULTS)


def test_an_unknown_name_brings_the_near_ones_and_the_way_to_the_list() -> None:
    with pytest.raises(
        faults.UnknownFaultError, match=r"'dns-one-silence'; did you mean dns-one-silent.*python -m lab faults"
    ):
        faults.check(["gitlab-502", "dns-one-silence"])


@pytest.mark.parametrize("name", [None, *FAULTS])
def test_no_byte_that_is_sent_gives_the_lab_away(name: str | None, visit: Visit) -> None:
    def tap(world: World) -> None:
        world.sent = []

    with Lab([name] if name else [], change=tap) as lab:
        look_at_everything(visit(lab))
        sent = lab.change(lambda world: list(world.sent or ()))
        assert lab.world.problems == []
    assert len(sent) > 10
    for server, data in sent:
        assert not (given := giveaway(data)), f"{server} sent {given!r}"


NAMES = tuple(known.encode() for known in faults.known() if known != "limitrange")


def giveaway(data: bytes) -> bytes:
    """What is sent around a word that only a lab would say, or b""."""
    lower = data.lower().replace(b"gitlab", b"").replace(b"label", b"").replace(b"default", b"")
    places = [data.find(name) for name in NAMES if name in data]
    if any(part in lower for part in PARTS) and (word := GIVEAWAYS.search(data)):
        places.append(word.start())
    return data[max(0, min(places) - 60) : min(places) + 90] if places else b""


def test_what_gives_the_lab_away_is_seen() -> None:
    for word in (b"a lab", b"Fault 3", b"a stand-in", b"simulated", b"mocked", b"fakes", b"aiohttp/3", *NAMES):
        assert word in giveaway(b"gitlab " * 100 + word + b" label" * 100), word
    assert not giveaway(b"the label of gitlab, default, stand")


def pod(name: str, image: str, **container: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "build", "image": image, **container}],
            "nodeName": "k8s-worker-2",
        },
    }


SCRIPT = "nslookup registry.example.com; wget -q -O - -T 1 http://192.168.1.50/; cat /etc/resolv.conf; no-such-tool"
PODS = (
    pod("one", "registry.example.com/library/alpine:latest", command=["sh", "-c", SCRIPT]),
    pod("two", "registry.example.com/library/docker:dind", securityContext={"privileged": True}),
    pod("three", "private-registry.example.com/my-namespace/alpine:latest", command=["true"]),
)
COMMANDS = (
    "nslookup registry.example.com; nslookup private-registry.example.com 10.1.0.252; cat /etc/resolv.conf; hostname;"
    " curl -sSi -m 0.3 http://192.168.1.50/; sudo -n crictl pull registry.example.com/library/alpine:latest;"
    " curl -sS -m 0.3 https://registry.example.com/v2/; no-such-tool; date +%s; ip route"
)


def look_at_everything(visitor: Visitor) -> None:
    """Look at everything once, whatever comes of it."""
    trouble = (OSError, ssl.SSLError, dns.exception.DNSException, paramiko.SSHException, EOFError)
    for path in ("/", "/users/sign_in", "/api/v4/version", "/-/health", "/nowhere/at/all"):
        with contextlib.suppress(*trouble):
            visitor.http("192.168.1.50:80", path)
    api = {"PRIVATE-TOKEN": (visitor.folder / "gitlab-token").read_text()}
    for path in (
        "/api/v4/runners/all",
        "/api/v4/runners/7",
        "/api/v4/runners/7/managers",
        "/api/graphql?query=runners",
    ):
        with contextlib.suppress(*trouble):
            visitor.http("192.168.1.50:80", path, headers=api)
    with contextlib.suppress(*trouble):
        visitor.http("192.168.1.50:80", "/api/v4/runners/verify", method="POST", body="token=glrt-0123456789abcdefghij")
    token = (visitor.folder / "gitlab-token").read_text()
    for path in PROJECT_PATHS:
        with contextlib.suppress(*trouble):
            visitor.http("192.168.1.50:80", path, headers={"PRIVATE-TOKEN": token})
    with contextlib.suppress(*trouble):
        visitor.http("private-registry.example.com:443", "/v2/my-namespace/preflight/blobs/uploads/", method="POST")
    for host in ("registry", "private-registry"):
        for path in ("/v2/", "/", "/v2/library/alpine/manifests/latest", "/v2/library/docker/tags/list"):
            with contextlib.suppress(*trouble):
                visitor.http(f"{host}.example.com:443", path)
    with contextlib.suppress(*trouble):
        visitor.http("auth.example.com:443", "/token?service=registry.example.com&scope=repository:library/alpine:pull")
    for resolver in RESOLVERS:
        with contextlib.suppress(*trouble):
            visitor.lookup(resolver, "registry.example.com")
    with contextlib.suppress(*trouble):
        for pod in PODS:
            visitor.api("/api/v1/namespaces/gitlab/pods", "POST", json.dumps(pod))
    with contextlib.suppress(*trouble):
        visitor.ssh("192.168.1.102", "sh -s", COMMANDS)
    with contextlib.suppress(*trouble):
        end = time.monotonic() + 3
        while '"phase":"Running"' in visitor.api(ONE).body and time.monotonic() < end:
            time.sleep(0.05)
        for path in API_PATHS:
            visitor.api(path)


PROJECT = "/api/v4/projects/ops%2Frunner-preflight"
PROJECT_PATHS = [
    PROJECT,
    "/api/v4/projects/none",
    "/api/v4/groups/ops/variables",
    *(f"{PROJECT}/{path}" for path in ("variables", "repository/branches/main", "ci/lint?include_jobs=true")),
    *(f"{PROJECT}/{path}" for path in ("pipelines/1", "pipelines/1/jobs", "jobs/1/trace", "no-such-path")),
]
ONE = "/api/v1/namespaces/gitlab/pods/one"
API_PATHS = [
    "/version",
    "/readyz?verbose",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/api/v1/namespaces",
    "/api/v1/events",
    "/api/v1/services",
    "/api/v1/namespaces/gitlab/resourcequotas",
    "/api/v1/namespaces/gitlab/limitranges",
    "/api/v1/namespaces/gitlab/secrets",
    "/apis/batch/v1/namespaces/gitlab/jobs",
    "/apis/metrics.k8s.io/v1beta1/nodes",
    "/apis",
    "/api/v1/nodes/k8s-worker-9",
    *(f"/api/v1/namespaces/gitlab/pods/{name}/log" for name in ("one", "two", "three")),
    "/api/v1/namespaces/gitlab/pods",
    "/api/v1/namespaces/gitlab/events",
]
