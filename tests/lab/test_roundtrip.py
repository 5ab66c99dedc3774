"""Whatever the lab breaks, the probes say that it is that: each fault of a server, asked from here and over SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.lab import Lab
from lab.world import World
from preflight.clients import ssh
from preflight.clients.connect import Routes
from preflight.clients.ssh_login import Login
from preflight.evidence import Unmeasured
from preflight.faults import DnsFault, Fault, GitLabFault, PathFault, PodFault, RegistryFault, SshFault
from preflight.inventory import Inventory, load
from preflight.probes import dns, gitlab, node_pulls, registry
from preflight.probes.registry import Credentials, Manifest

URL, PRIVATE_IMAGE = "http://192.168.1.50/", "private-registry.example.com/my-namespace/alpine:latest"
OPS = Credentials("ops", "secret-pw")


@dataclass
class Site:
    """One lab, as the probes are pointed at it."""

    inventory: Inventory

    @property
    def routes(self) -> Routes:
        mapping = {key: address for key, address in self.inventory.connect.items() if key != "*"}
        return Routes(mapping, only_mapped=True)

    @property
    def ca_file(self) -> Path | None:
        return self.inventory.registries["mirror"].ca_file

    def login(self) -> Login:
        access = self.inventory.access.ssh
        assert access != "none"
        return Login(user=access.user, key=access.key, known_hosts=access.known_hosts)

    def session(self, node: str = "k8s-worker-1") -> ssh.Session:
        address = self.inventory.cluster.nodes[node].address
        return ssh.open_session(node, address, self.login(), routes=self.routes, deadline=1, gate=ssh.AuthGate())

    def look(self) -> gitlab.GitLabReply:
        return gitlab.request_sign_in_page(URL, routes=self.routes, ca_file=None, deadline=1)

    def registry(self, host: str) -> registry.RegistryReply:
        credentials = OPS if host.startswith("private") else None
        return registry.ping(host, credentials=credentials, ca_file=self.ca_file, routes=self.routes, deadline=1)

    def manifest(self, image: str, credentials: Credentials | None = None) -> Manifest:
        return registry.manifest(image, credentials=credentials, ca_file=self.ca_file, routes=self.routes, deadline=1)

    def lookups(self, resolver: str, name: str = "registry.example.com") -> dns.Lookups:
        return dns.lookups(resolver, {name: frozenset()}, routes=self.routes, deadline=0.5)

    def pull(self, image: str, credentials: Credentials | None = None) -> node_pulls.Pull:
        with self.session() as session:
            return node_pulls.pull_on_node(session, image, runtime="containerd", credentials=credentials, deadline=3)


@contextmanager
def site(*faults: str, change: Callable[[World], None] | None = None) -> Iterator[Site]:
    with Lab(faults, change=change) as lab:
        yield Site(load(lab.inventory))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (None, None),
        ("gitlab-refused", PathFault.REFUSED),
        ("gitlab-timeout", PathFault.TIMEOUT),
        ("gitlab-502", GitLabFault.BAD_GATEWAY),
        ("gitlab-not-gitlab", GitLabFault.NOT_GITLAB),
        ("gitlab-redirect", GitLabFault.REDIRECTED),
    ],
)
def test_gitlab(name: str | None, fault: Fault | None) -> None:
    with site(*[name] if name else []) as here:
        assert here.look().fault == fault


def test_gitlab_s_version_and_clock() -> None:
    with site("gitlab-version", "gitlab-clock-skew") as here:
        assert (here.look().clock_offset or 0) < -590
        token = here.inventory.gitlab.api_token
        assert token is not None
        assert token.text is not None
        answer = gitlab.version(URL, token.text, routes=here.routes, ca_file=None, deadline=1)
        assert answer.version == "17.11.4-jh"
        refused = gitlab.version(URL, "glpat-made-up-and-unknown-00", routes=here.routes, ca_file=None, deadline=1)
        assert refused.fault == GitLabFault.TOKEN_REFUSED


@pytest.mark.parametrize(
    ("name", "resolver", "asked", "fault"),
    [
        (None, "10.0.0.2", "registry.example.com", None),
        ("dns-one-silent", "10.1.0.251", "registry.example.com", DnsFault.TIMEOUT),
        ("dns-one-silent", "10.1.0.252", "registry.example.com", None),
        ("dns-all-silent", "10.0.0.2", "registry.example.com", DnsFault.TIMEOUT),
        ("dns-nxdomain", "10.0.0.2", "private-registry.example.com", DnsFault.NXDOMAIN),
        ("dns-servfail", "10.1.0.252", "registry.example.com", DnsFault.SERVFAIL),
        ("dns-refused", "10.1.0.252", "registry.example.com", DnsFault.REFUSED),
    ],
)
def test_resolvers(name: str | None, resolver: str, asked: str, fault: DnsFault | None) -> None:
    with site(*[name] if name else []) as here:
        assert here.lookups(resolver, asked).fault == fault


def test_a_resolver_that_nobody_runs_is_unreachable() -> None:
    def stop(world: World) -> None:
        world.resolvers["10.0.0.2"].mode = "down"

    with site(change=stop) as here:
        assert here.lookups("10.0.0.2").fault == DnsFault.UNREACHABLE


def test_resolvers_that_disagree_give_different_addresses() -> None:
    with site("dns-disagree") as here:
        result = [here.lookups(address).answers[0].addresses for address in here.inventory.dns.resolvers]
        assert result[0] == result[1] != result[2]


@pytest.mark.parametrize(
    ("name", "host", "fault"),
    [
        (None, "registry.example.com", None),
        (None, "private-registry.example.com", None),
        ("registry-down", "registry.example.com", PathFault.REFUSED),
        ("registry-tls", "private-registry.example.com", PathFault.TLS_UNTRUSTED),
        ("registry-auth", "private-registry.example.com", RegistryFault.UNAUTHORIZED),
        ("registry-token-realm-down", "registry.example.com", RegistryFault.TOKEN_REALM),
    ],
)
def test_registries(name: str | None, host: str, fault: Fault | None) -> None:
    with site(*[name] if name else []) as here:
        assert here.registry(host).fault == fault


@pytest.mark.parametrize(
    ("certificate", "fault"),
    [
        ("expired", PathFault.TLS_EXPIRED),
        ("other-name", PathFault.TLS_WRONG_NAME),
        ("none", PathFault.TLS_HANDSHAKE),
    ],
)
def test_certificates(certificate: str, fault: PathFault) -> None:
    def spoil(world: World) -> None:
        world.registries["private-registry.example.com"].certificate = certificate  # type: ignore[assignment]

    with site(change=spoil) as here:
        assert here.registry("private-registry.example.com").fault == fault


@pytest.mark.parametrize(
    ("name", "image", "credentials", "fault"),
    [
        (None, "registry.example.com/library/alpine:latest", None, None),
        (None, PRIVATE_IMAGE, OPS, None),
        (None, PRIVATE_IMAGE, None, RegistryFault.UNAUTHORIZED),
        ("registry-tag-missing", "registry.example.com/library/docker:dind", None, RegistryFault.NOT_FOUND),
        ("registry-rate-limited", "registry.example.com/library/alpine:latest", None, RegistryFault.RATE_LIMITED),
        ("registry-wrong-platform", PRIVATE_IMAGE, OPS, RegistryFault.WRONG_PLATFORM),
    ],
)
def test_manifests(name: str | None, image: str, credentials: Credentials | None, fault: Fault | None) -> None:
    with site(*[name] if name else []) as here:
        assert here.manifest(image, credentials).fault == fault


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ssh-refused", SshFault.REFUSED),
        ("ssh-auth", SshFault.AUTHENTICATION),
        ("ssh-host-key", SshFault.HOST_KEY_CHANGED),
        ("ssh-silent", SshFault.SILENT),
    ],
)
def test_a_node_that_cannot_be_looked_at(name: str, fault: SshFault) -> None:
    with site(name) as here, pytest.raises(Unmeasured) as caught:
        here.session()
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("name", "image", "fault"),
    [
        (None, "registry.example.com/library/alpine:latest", None),
        ("registry-down", "registry.example.com/library/alpine:latest", PodFault.PULL_REFUSED),
        ("registry-tls", PRIVATE_IMAGE, PodFault.PULL_TLS),
        (None, PRIVATE_IMAGE, PodFault.PULL_UNAUTHORIZED),
        ("registry-tag-missing", "registry.example.com/library/docker:dind", PodFault.PULL_NOT_FOUND),
        ("registry-rate-limited", "registry.example.com/library/alpine:latest", PodFault.PULL_RATE_LIMITED),
        ("registry-wrong-platform", PRIVATE_IMAGE, PodFault.PULL_PLATFORM),
        ("dns-nxdomain", PRIVATE_IMAGE, PodFault.PULL_UNRESOLVED),
        ("dns-all-silent", "registry.example.com/library/alpine:latest", PodFault.PULL_UNRESOLVED),
    ],
)
def test_pulls_on_a_node(name: str | None, image: str, fault: PodFault | None) -> None:
    with site(*[name] if name else []) as here:
        credentials = OPS if name == "registry-wrong-platform" else None
        result = here.pull(image, credentials)
        assert result.fault == fault, result.cause


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ("registry.example.com/library/alpine:latest", None),
        ("registry.example.com/library/alpine:nosuch", PodFault.PULL_NOT_FOUND),
        (PRIVATE_IMAGE, PodFault.PULL_UNAUTHORIZED),
    ],
)
def test_pulls_on_a_node_that_runs_docker(image: str, fault: PodFault | None) -> None:
    def docker_on_the_first(world: World) -> None:
        world.nodes["k8s-worker-1"].runtime = "docker://27.5.1"

    with site(change=docker_on_the_first) as here, here.session() as session:
        result = node_pulls.pull_on_node(session, image, runtime="docker", credentials=None, deadline=3)
        assert result.fault == fault, result.cause
