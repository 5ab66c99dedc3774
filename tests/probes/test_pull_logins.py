"""Whether a job's pod brings a login for a registry, asked from a Kubernetes API on loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.kube_api import Api
from preflight.evidence import Unmeasured
from preflight.faults import ValuesFault
from preflight.jobshape import JobShape
from preflight.probes import pull_logins
from tests.probes.apiserver import Asked, Reply, scripted_api, status

HOST = "registry.example.com"
PASSWORD = "made-up-password-of-pulls"
NAMESPACE = "/api/v1/namespaces/gitlab"


@contextmanager
def api_with(folder: Path, secrets: Mapping[str, Any], account: Sequence[str] = ()) -> Iterator[Api]:
    def answer(asked: Asked) -> Reply:
        kind, _, name = asked.path.removeprefix(f"{NAMESPACE}/").partition("/")
        if kind == "serviceaccounts":
            return Reply({"kind": "ServiceAccount", "imagePullSecrets": [{"name": one} for one in account]})
        if name in secrets:
            return Reply({"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": secrets[name]})
        if name == "closed":
            return Reply(status(403, "Forbidden", 'secrets "closed" is forbidden'), 403)
        return Reply(status(404, "NotFound", f'secrets "{name}" not found'), 404)

    with scripted_api(folder, answer) as (api, _):
        yield api


def login(host: str) -> dict[str, str]:
    auth = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
    text = json.dumps({"auths": {host: {"auth": auth}}})
    return {".dockerconfigjson": base64.b64encode(text.encode()).decode()}


def shape(*names: str, both: bool = False) -> JobShape:
    return JobShape(
        namespace="gitlab",
        image="a",
        helper_image="b",
        concurrent=1,
        replicas=1,
        pull_secrets=names,
        use_service_account_pull_secrets=both,
    )


KNOWN = {"mine": login(HOST), "other": login("other.example.com"), "text": {"note": "eA=="}, "torn": {}}


@pytest.mark.parametrize(
    ("names", "account", "both", "secret"),
    [
        (["mine"], [], False, "mine"),
        (["other", "mine"], [], False, "mine"),
        ([], ["mine"], False, "mine"),  # a pod without any gets the account's
        (["other"], ["mine"], True, "mine"),
        (["other"], ["mine"], False, ""),
        (["other"], [], False, ""),
        ([], [], False, ""),
        (["text"], [], False, ""),
        (["torn"], [], False, ""),
        (["gone"], [], False, ""),
    ],
)
def test_admissions_own_rule_decides_which_secrets_a_pod_gets(
    tmp_path: Path, names: list[str], account: list[str], both: bool, secret: str
) -> None:
    with api_with(tmp_path, KNOWN, account) as api:
        found = pull_logins.read(api, shape(*names, both=both), HOST)
    assert found.secret == secret
    missing = ValuesFault.SECRET_MISSING if names == ["gone"] else ValuesFault.PULL_SECRET
    assert found.fault is (None if secret else missing)
    assert found.missing == (("gone",) if names == ["gone"] else ())
    assert PASSWORD not in found.evidence.observed


def test_what_the_pods_own_list_shadows_is_named(tmp_path: Path) -> None:
    with api_with(tmp_path, KNOWN, ["mine"]) as api:
        found = pull_logins.read(api, shape("other"), HOST)
    assert found.shadowed == ("mine",)
    assert found.cause == (
        f"the pull secrets of a job's pod (other) hold no account for {HOST}; the service account default names mine, "
        "which a pod that has others of its own does not get"
    )


def test_a_secret_that_may_not_be_read_is_no_finding(tmp_path: Path) -> None:
    with api_with(tmp_path, KNOWN) as api, pytest.raises(Unmeasured):
        pull_logins.read(api, shape("closed"), HOST)
