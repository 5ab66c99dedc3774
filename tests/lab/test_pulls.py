"""A node's runtime says of a failed pull what containerd and Docker say; recordings hold containerd's words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from lab import inventory
from lab.network import resolve
from lab.pulls import PullResult, Runtime, pull, split
from lab.world import MIRROR, MIRROR_ADDRESS, PRIVATE, Dockerd, Rule, Vantage, World

RECORDINGS = Path(__file__).parents[1] / "recordings"
ALPINE, OWN = f"{MIRROR}/library/alpine:latest", f"{PRIVATE}/my-namespace/alpine:latest"
LOGIN = {PRIVATE: [("ops", "secret-pw")]}


def pulled(
    image: str,
    change: Callable[[World], object] = lambda _: None,
    *,
    auths: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    runtime: Runtime = "containerd",
) -> PullResult:
    world = inventory.build()
    change(world)
    return asyncio.run(pull(world, "k8s-worker-1", image, auths, runtime))


def recorded(name: str) -> str:
    """The kubelet's message of a recorded failed pull."""
    text = json.dumps(json.loads((RECORDINGS / f"{name}.json").read_text()))
    match = re.search(r'"message": "Failed to pull image \\"(?:[^"\\]|\\.)*?\\": ((?:[^"\\]|\\.)*)"', text)
    assert match is not None
    return str(json.loads(f'"{match[1]}"'))


def test_a_pull_works_and_the_second_moves_nothing() -> None:
    world = inventory.build()
    first, second = (asyncio.run(pull(world, "k8s-worker-1", ALPINE)) for _ in range(2))
    assert (first.ok, first.fresh, second.ok, second.fresh) == (True, True, True, False)
    assert first.digest == second.digest
    assert first.digest.startswith("sha256:")
    assert asyncio.run(pull(world, "k8s-worker-2", ALPINE)).fresh


def test_a_private_image_needs_a_right_password() -> None:
    assert pulled(OWN, auths=LOGIN).ok
    assert pulled(OWN, auths={PRIVATE: [("ops", "old"), ("ops", "secret-pw")]}).ok
    assert not pulled(OWN, auths={PRIVATE: [("ops", "old")]}).ok
    assert not pulled(OWN, auths={MIRROR: [("ops", "secret-pw")]}).ok


@pytest.mark.parametrize(
    ("recording", "image"),
    [
        ("pull_tag_absent", f"{MIRROR}/library/alpine:nosuch"),
        ("pull_unauthorized", OWN),
        ("pull_secret_absent", OWN),
        ("pull_refused", "192.168.1.50:5000/library/alpine:latest"),
        ("pull_timeout", "192.168.1.77/library/alpine:latest"),
    ],
)
def test_containerd_errors_are_the_recorded_ones(recording: str, image: str) -> None:
    assert pulled(image).error == recorded(recording)


def test_a_resolver_that_cannot_find_out_gives_the_recorded_error() -> None:
    def fail(world: World) -> None:
        for resolver in world.resolvers.values():
            resolver.mode = "servfail"

    assert pulled("no-such-registry.example.org/library/alpine:latest", fail).error == recorded(
        "pull_name_unresolvable"
    )


def unreachable(world: World) -> None:
    world.firewall.append(Rule("node *", MIRROR_ADDRESS))


def mute(world: World) -> None:
    for resolver in world.resolvers.values():
        resolver.mode = "mute"


def limited(world: World) -> None:
    world.registries[MIRROR].rate_limited = True


def no_realm(world: World) -> None:
    world.registries[MIRROR].realm = "down"


def other_platform(world: World) -> None:
    for image in world.registries[MIRROR].images["library/alpine"].values():
        image.platforms = ("linux/arm64/v8",)


def untrusted(world: World) -> None:
    world.registries[MIRROR].certificate = "self-signed"


@pytest.mark.parametrize(
    ("change", "containerd", "docker"),
    [
        (
            unreachable,
            r'failed to do request: Head ".*": dial tcp 192\.168\.1\.60:443: i/o timeout$',
            r'^Get "https://registry\.example\.com/v2/": dial tcp 192\.168\.1\.60:443: i/o timeout$',
        ),
        (
            mute,
            r"lookup registry\.example\.com on 10\.\S+:53: read udp 192\.168\.1\.101:\d+->10\.\S+:53: i/o timeout$",
            r"^Get \"https://registry\.example\.com/v2/\": dial tcp: lookup registry\.example\.com on .*: i/o timeout$",
        ),
        (
            limited,
            r"failed with status code \[manifests latest\]: 429 Too Many Requests$",
            r"^toomanyrequests: You have reached your unauthenticated pull rate limit",
        ),
        (
            no_realm,
            (
                r"failed to authorize: failed to fetch anonymous token: Get \"https://auth\.example\.com/token\?scope=\S+\""
                r": dial tcp 192\.168\.1\.62:443: connect: connection refused$"
            ),
            r"^Head \"https://registry.*\": Get \"https://auth.*\": dial tcp .*: connect: connection refused$",
        ),
        (
            other_platform,
            (
                r"^rpc error: code = NotFound desc = failed to pull and unpack image \"\S+\": no match for platform in "
                r"manifest sha256:[0-9a-f]{64}: not found$"
            ),
            r"^no matching manifest for linux/amd64 in the manifest list entries$",
        ),
        (
            untrusted,
            r'failed to do request: Head "\S+": x509: certificate signed by unknown authority$',
            r"tls: failed to verify certificate: x509: certificate signed by unknown authority$",
        ),
    ],
)
def test_each_problem_has_the_runtimes_own_error(
    change: Callable[[World], object], containerd: str, docker: str
) -> None:
    assert re.search(containerd, pulled(ALPINE, change).error)
    assert re.search(docker, pulled(ALPINE, change, runtime="docker").error)


def test_a_pull_inside_of_docker_in_docker_starts_in_the_pod() -> None:
    world = inventory.build()
    world.firewall.append(Rule("pod on *", MIRROR_ADDRESS))
    daemon = Dockerd("k8s-worker-1", "nameserver 10.0.0.2\n", world.daemon)
    inside = Vantage("pod", node="k8s-worker-1", resolv_conf="nameserver 10.0.0.2\n", dockerd=daemon)
    assert not asyncio.run(pull(world, "k8s-worker-1", ALPINE, runtime="docker", vantage=inside)).ok
    world.firewall.clear()
    assert asyncio.run(pull(world, "k8s-worker-1", ALPINE, runtime="docker", vantage=inside)).fresh
    assert ALPINE not in world.nodes["k8s-worker-1"].pulled


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("registry.example.com/a/b:c", ("registry.example.com", "a/b", "c")),
        ("localhost:5000/a", ("localhost:5000", "a", "latest")),
        ("alpine", ("registry-1.docker.io", "library/alpine", "latest")),
        ("gitlab/runner:1", ("registry-1.docker.io", "gitlab/runner", "1")),
        ("r.example.com/a:t@sha256:ab", ("r.example.com", "a", "sha256:ab")),
    ],
)
def test_references_are_split_as_docker_splits_them(image: str, parts: tuple[str, str, str]) -> None:
    assert split(image) == parts


def test_docker_hub_is_not_reached_from_here() -> None:
    world = inventory.build()
    assert resolve(world, world.node_vantage("k8s-worker-1"), "registry-1.docker.io").status == "nxdomain"
    assert "no such host" in pulled("alpine").error
