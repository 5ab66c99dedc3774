"""`python -m preflight init`: an inventory from a live cluster, which pytest takes as it is."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from lab.kubernetes.guide import NAMESPACE, OPERATOR
from lab.lab import Lab
from lab.world import RUNNER_TOKEN, World
from preflight.__main__ import main
from preflight.commands.init import full, host_of, without_secrets
from preflight.inventory import load
from preflight.probes import discovery
from tests import processes

PROJECT = Path(__file__).parents[1]
API = "192.168.1.100:6443"
DNS = "        [runners.kubernetes.dns_config]\n"


def init(lab: Lab, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command against the lab's API server."""
    place = yaml.safe_load(lab.inventory.read_text())["connect"][API]
    kubeconfig = lab.inventory.parent / "kubeconfig"
    return preflight(
        "init", "--kubeconfig", str(kubeconfig), "--connect", f"{API}={place}", "-o", str(output), *arguments
    )


def preflight(*arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run("preflight", *arguments, timeout=60)


def checks(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run_checks("--inventory", inventory, "--report-dir", inventory.parent / "reports", *arguments)


def fenced(lab: Lab, inventory: Path, **more: Any) -> Path:
    """The same inventory with every connection mapped into the lab, which keeps the guide's addresses inside it."""
    document = yaml.safe_load(inventory.read_text())
    own = yaml.safe_load(lab.inventory.read_text())
    document |= {"connect": own["connect"], "deadlines": own["deadlines"]}
    for registry in document["registries"].values():
        registry.update(more.get("registries", {}))
    document["runner"] |= more.get("runner", {})
    file = inventory.with_name("fenced.yaml")
    file.write_text(yaml.safe_dump(document))
    return file


def test_it_is_taken_as_it_is_and_right(tmp_path: Path) -> None:
    output = tmp_path / "prod.yaml"
    with Lab(patience=3) as lab:
        ended = init(lab, output)
        assert ended.returncode == 0, ended.stderr
        inventory = load(output)
        taken = checks(output, "--collect-only", "-q")
        cluster = checks(fenced(lab, output), "--effect", "read", "-m", "cluster")
        ca = str(lab.inventory.parent / "registry-ca.pem")
        everything = checks(
            fenced(lab, output, registries={"ca_file": ca}, runner={"repository_ca_file": ca}), "--effect", "read"
        )
    assert taken.returncode == 0, taken.stderr
    assert cluster.returncode == 0, cluster.stdout
    assert everything.returncode == 0, everything.stdout
    assert inventory.cluster.api_server == "https://192.168.1.100:6443"
    assert list(inventory.workers) == ["k8s-worker-1", "k8s-worker-2", "k8s-worker-3"]
    assert (inventory.cluster.pod_cidr, inventory.cluster.service_cidr) == ("172.24.0.0/16", "172.21.0.0/16")
    assert inventory.dns.resolvers == ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
    assert (inventory.runner.release, inventory.runner.namespace, inventory.runner.chart) == (
        "gitlab-runner",
        "gitlab",
        "0.80.0",
    )


def test_only_mapped_addresses_are_contacted_and_the_inventory_says_so(tmp_path: Path) -> None:
    output = tmp_path / "prod.yaml"
    with Lab() as lab:
        ended = init(lab, output, "--connect", "*=refuse")
        kubeconfig = yaml.safe_load((lab.inventory.parent / "kubeconfig").read_text())
        alone = processes.run(
            *("preflight", "init", "--kubeconfig", lab.inventory.parent / "kubeconfig"),
            *("--connect", "*=refuse", "-o", tmp_path / "none.yaml"),
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    inventory = yaml.safe_load(output.read_text())
    assert inventory["connect"]["*"] == "refuse"
    assert inventory["cluster"]["api_server"] == f"https://{API}"
    assert urlsplit(kubeconfig["clusters"][0]["cluster"]["server"]).hostname == "127.0.0.1"
    assert alone.returncode == 1
    assert "connect:" in alone.stderr


def test_gaps_are_marked_and_no_secret_is_written(tmp_path: Path) -> None:
    output = tmp_path / "prod.yaml"
    with Lab(change=World.forget_images) as lab:
        ended = init(lab, output)
    text, values = output.read_text(), (tmp_path / "prod-values.yaml").read_text()
    marked = re.findall(r"# could not be found: (.+), fill in$", text, re.MULTILINE)
    printed = re.findall(r"^  could not be found: (.+)$", ended.stdout, re.MULTILINE)
    assert marked == printed
    assert any("network of the VPC" in gap for gap in marked)
    assert any("Docker in Docker" in gap for gap in marked)
    assert "token: secret:gitlab/gitlab-runner/runner-token" in text
    assert "credentials: secret:gitlab/private-registry/.dockerconfigjson" in text
    assert "runnerToken" not in values
    for secret in (RUNNER_TOKEN, "secret-pw", "made-up-token-of-the-operator"):
        assert secret not in text + values + ended.stdout + ended.stderr


def test_docker_in_docker_is_found_in_the_services(tmp_path: Path) -> None:
    def with_service(world: World) -> None:
        world.values_edits[DNS] = (
            '        [[runners.kubernetes.services]]\n          name = "registry.example.com/library/docker:dind"\n'
            f'          command = ["--tls=false", "--mtu=1400"]\n{DNS}'
        )
        world.values_edits["library/alpine:latest"] = "library/docker:latest"

    output = tmp_path / "prod.yaml"
    with Lab(change=with_service) as lab:
        assert init(lab, output).returncode == 0
        dind = load(output).dind
    assert dind != "none"
    assert dind.daemon_image == "registry.example.com/library/docker:dind"
    assert dind.client_image == "registry.example.com/library/docker:latest"
    assert dind.daemon_args == ["--tls=false", "--mtu=1400"]


def test_no_file_is_overwritten_without_force(tmp_path: Path) -> None:
    output = tmp_path / "prod.yaml"
    with Lab() as lab:
        (tmp_path / "prod-values.yaml").write_text("mine: true\n")
        ended = init(lab, output)
        assert (ended.returncode, output.exists()) == (1, False)
        assert "prod-values.yaml: exists already; --force overwrites" in ended.stderr
        assert (tmp_path / "prod-values.yaml").read_text() == "mine: true\n"
        assert init(lab, output, "--force").returncode == 0
    assert "gitlabUrl" in (tmp_path / "prod-values.yaml").read_text()


def test_in_a_pod_its_service_account_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preflight.clients.kubeconfig._SERVICE_ACCOUNT", tmp_path)
    for part, value in zip(("HOST", "PORT"), API.split(":"), strict=True):
        monkeypatch.setenv(f"KUBERNETES_SERVICE_{part}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with Lab(patience=3) as lab:
        kubeconfig = yaml.safe_load((lab.inventory.parent / "kubeconfig").read_text())
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        (tmp_path / "token").write_text(user["token"])
        (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        place = yaml.safe_load(lab.inventory.read_text())["connect"][API]
        assert main(["init", "--connect", f"{API}={place}", "-o", str(tmp_path / "prod.yaml")]) == 0
    inventory = load(tmp_path / "prod.yaml")
    assert (inventory.cluster.kubeconfig, inventory.cluster.context) == (None, None)
    assert inventory.cluster.api_server == f"https://{API}"
    assert "could not be found: the API server's address outside of the cluster" in (tmp_path / "prod.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kubeconfig", "/nonexistent/config"), "/nonexistent/config: can't be read"),
        (("--context", "prdo"), "has no context 'prdo'; it knows ops@kubernetes"),
        (("--namespace", "shop"), "cannot list resource"),
        (("--release", "other"), "has no release of the chart gitlab-runner called other"),
        (("--connect", "here"), "--connect: found 'here', expected HOST:PORT=HOST:PORT"),
        (("--connect", "*=127.0.0.1:1"), "expected HOST:PORT=HOST:PORT, such as 10.0.0.5:6443=127.0.0.1:16443, or '*="),
        (("--connect", "a:1=b:70000"), "--connect: found 'a:1=b:70000', expected HOST:PORT=HOST:PORT"),
    ],
)
def test_an_error_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with Lab() as lab:
        ended = init(lab, tmp_path / "prod.yaml", *arguments)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_rights_it_names_the_rule(tmp_path: Path) -> None:
    def poor(world: World) -> None:
        binding = world.cluster.get("clusterrolebindings", "", "environment-reader")
        assert binding is not None
        assert binding["subjects"][0]["name"] == OPERATOR
        binding["subjects"] = []

    with Lab(change=poor) as lab:
        everywhere = init(lab, tmp_path / "prod.yaml")
        namespaced = init(lab, tmp_path / "prod.yaml", "--namespace", NAMESPACE)
    assert (everywhere.returncode, namespaced.returncode) == (1, 1)
    assert 'resources: ["secrets"]' in everywhere.stderr
    assert "--namespace" in everywhere.stderr
    assert 'resources: ["nodes"]' in namespaced.stderr


def test_without_a_release_there_is_nothing_to_write(tmp_path: Path) -> None:
    with Lab(["release-missing"]) as lab:
        ended = init(lab, tmp_path / "prod.yaml", "--namespace", NAMESPACE)
    assert ended.returncode == 1
    assert "has no release of the chart gitlab-runner that Helm keeps a record of" in ended.stderr


def test_two_releases_are_named() -> None:
    from preflight.probes.discovery import DiscoveryError, Release, choose

    two = [Release(name=name, namespace="ci", chart="0.80.0", app="18.3.0", values={}) for name in ("a", "b")]
    with pytest.raises(DiscoveryError, match="2 releases of the chart gitlab-runner: ci/a, ci/b; choose with"):
        choose(two, None, None)
    assert choose(two, "b", "ci").name == "b"


def test_whatever_looks_like_a_secret_is_removed_from_the_values() -> None:
    config = (
        '[[runners]]\n  environment = ["NPM_TOKEN=made-up-npm-token", "LANG=C.UTF-8"]\n'
        '  [runners.cache.s3]\n    SecretKey = "made-up-s3-key"\n    BucketName = "runner-cache"\n'
    )
    values = {
        "runnerToken": "glrt-made-up-runner-token",
        "gitlabUrl": "http://192.168.1.50/",
        "envVars": [{"name": "PROXY_PASSWORD", "value": "made-up-proxy-pw"}, {"name": "TZ", "value": "Etc/UTC-plain"}],
        "proxy": "http://ops:made-up-url-pw@proxy.example.com:3128",
        "runners": {"config": config, "secret": "gitlab-runner-secret"},
        "deep": {"adminPassword": "made-up-admin-pw"},
    }
    tree, text = without_secrets(values)
    assert "made-up" not in text
    assert "made-up" not in str(tree)
    for kept in ("Etc/UTC-plain", "runner-cache", "gitlab-runner-secret", "http://192.168.1.50/", "LANG=C.UTF-8"):
        assert kept in text
    assert yaml.safe_load(text) == tree


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("gitlab/gitlab-runner:v18", "docker.io/gitlab/gitlab-runner:v18"),
        ("registry.example.com/a", "registry.example.com/a:latest"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("quay.io/a@sha256:00", "quay.io/a@sha256:00"),
    ],
)
def test_images_get_their_host_and_tag(short: str, whole: str) -> None:
    assert full(short) == whole


def test_only_a_web_address_has_a_host() -> None:
    texts = ("http://[", "http://x:99999", "https://", "file:///etc", "-x", "http://-x/", "http://a b/", "http://a\n/")
    assert [host_of(text) for text in texts] == [""] * len(texts)
    assert host_of("https://gitlab.example.com:8443/x") == "gitlab.example.com"


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.244.0.0/16,fd00:1::/48", ("10.244.0.0/16", "fd00:1::/48")),
        ("10.244.0.0/16", ("10.244.0.0/16",)),
        (None, ()),
        ("10.244.0.0/16,nonsense", ()),
    ],
)
def test_both_networks_of_a_dual_stack_cluster_are_found(text: str | None, networks: tuple[str, ...]) -> None:
    assert discovery._several(text) == networks
