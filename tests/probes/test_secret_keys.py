"""The Secrets that the values name, asked from a Kubernetes API on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from preflight.clients.kube_api import Api
from preflight.evidence import Unmeasured
from preflight.faults import ValuesFault
from preflight.probes import secret_keys
from preflight.probes.secret_keys import SecretKeys
from tests.probes.apiserver import Asked, Reply, scripted_api, status

PATH = "/api/v1/namespaces/gitlab/secrets/runner-token"


@contextmanager
def api_with(folder: Path, replies: Mapping[str, Reply]) -> Iterator[Api]:
    def answer(asked: Asked) -> Reply:
        return replies.get(asked.path, Reply(status(404, "NotFound", 'secrets "runner-token" not found'), 404))

    with scripted_api(folder, answer) as (api, _):
        yield api


def read_keys(api: Api) -> SecretKeys:
    needed = secret_keys.TOKEN_KEYS
    return secret_keys.read(
        api, "gitlab", "runner-token", setting="runners.secret", needed=needed, otherwise=ValuesFault.SECRET_KEYS
    )


def test_a_secret_with_both_keys_is_right_and_its_contents_are_not_kept(tmp_path: Path) -> None:
    data = {"runner-token": "Z2xydC1tYWRlLXVw", "runner-registration-token": ""}
    with api_with(tmp_path, {PATH: Reply({"kind": "Secret", "data": data})}) as api:
        found = read_keys(api)
    assert (found.fault, found.keys) == (None, secret_keys.TOKEN_KEYS)
    assert "Z2xydC1tYWRlLXVw" not in found.evidence.observed


@pytest.mark.parametrize("data", [{"runner-token": "eA=="}, {}, None])
def test_a_missing_key_is_named(tmp_path: Path, data: dict[str, str] | None) -> None:
    with api_with(tmp_path, {PATH: Reply({"kind": "Secret", "data": data})}) as api:
        found = read_keys(api)
    assert found.fault is ValuesFault.SECRET_KEYS
    assert "has no key runner-registration-token" in found.cause


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    with api_with(tmp_path, {}) as api:
        found = read_keys(api)
    assert found.fault is ValuesFault.SECRET_MISSING
    assert found.cause == "runners.secret names the Secret runner-token, which is not in namespace gitlab"


def test_a_secret_that_we_may_not_read_is_unknown_with_the_rule(tmp_path: Path) -> None:
    said = 'secrets "runner-token" is forbidden: User "ci" cannot get resource "secrets"'
    said += ' in API group "" in the namespace "gitlab"'
    with (
        api_with(tmp_path, {PATH: Reply(status(403, "Forbidden", said), 403)}) as api,
        pytest.raises(Unmeasured) as got,
    ):
        read_keys(api)
    assert "secrets" in got.value.needs
