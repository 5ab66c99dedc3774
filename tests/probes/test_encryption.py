"""How ways are protected, as kubeconfig and inventory have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.clients.kubeconfig import check_kubeconfig
from preflight.faults import EncryptionFault
from preflight.inventory import Registry
from preflight.inventory_forms import Secret
from preflight.probes import encryption
from tests.probes.apiserver import kubeconfig

HOST = "registry.example.com"
LOGIN = Secret("file:password", "made-up-password")


@pytest.mark.parametrize(
    ("server", "options", "fault"),
    [
        ("https://192.168.1.100:6443", {}, None),
        ("https://192.168.1.100:6443", {"insecure-skip-tls-verify": False}, None),
        ("https://192.168.1.100:6443", {"insecure-skip-tls-verify": True}, EncryptionFault.NOT_VERIFIED),
        ("http://192.168.1.100:8080", {}, EncryptionFault.NOT_ENCRYPTED),
        ("HTTP://192.168.1.100:8080", {"insecure-skip-tls-verify": True}, EncryptionFault.NOT_ENCRYPTED),
    ],
)
def test_the_way_to_the_api_server(
    server: str, options: dict[str, object], fault: EncryptionFault | None, tmp_path: Path
) -> None:
    measured = encryption.of_api_server(check_kubeconfig(kubeconfig(tmp_path, server, **options), None))
    assert measured.fault is fault
    assert (server in measured.cause) is (fault is not None)


@pytest.mark.parametrize(
    ("scheme", "credentials", "fault"),
    [
        ("https", LOGIN, None),
        ("http", None, None),
        ("http", LOGIN, EncryptionFault.NOT_ENCRYPTED),
        ("http", Secret("secret:gitlab/x/.dockerconfigjson", None), EncryptionFault.NOT_ENCRYPTED),
    ],
)
def test_the_way_of_a_registrys_account(scheme: str, credentials: Secret | None, fault: EncryptionFault | None) -> None:
    registry = Registry(host=HOST).model_copy(update={"scheme": scheme, "credentials": credentials})
    measured = encryption.of_registry(registry)
    assert measured.fault is fault
    assert (HOST in measured.cause) is (fault is not None)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://charts.gitlab.io", None),
        ("oci://registry.example.com/charts", None),
        ("http://charts.gitlab.io", EncryptionFault.NOT_ENCRYPTED),
    ],
)
def test_the_way_on_which_charts_come(url: str, fault: EncryptionFault | None) -> None:
    assert encryption.of_chart_repository(url).fault is fault
