"""Fixtures of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.inventory import Inventory, load

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """The shipped inventory, with files of its own instead of the operator's."""
    (tmp_path / "values.yaml").write_text((PROJECT / "gitlab-runner-values.yaml").read_text())
    (tmp_path / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://192.168.1.100:6443'}}]\n"
        "users: [{name: u, user: {token: made-up-token}}]\n"
    )
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / name).write_text("")
    text = (PROJECT / "inventory.yaml").read_text()
    for old, new in {
        "~/.kube/config": "kubeconfig",
        "~/.ssh/id_ed25519": "id_ed25519",
        "~/.ssh/known_hosts": "known_hosts",
        "[gitlab-runner-values.yaml]": "[values.yaml]",
    }.items():
        assert old in text, f"the shipped inventory no longer says {old}"
        text = text.replace(old, new)
    text += "\nconnect: {'*': refuse} # nothing in a test leaves this machine\n"
    file = tmp_path / "inventory.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def inventory(inventory_file: Path) -> Inventory:
    """The shipped inventory, read."""
    return load(inventory_file)
