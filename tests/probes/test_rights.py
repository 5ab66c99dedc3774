"""The runner's rights, asked verb by verb, and the webhooks that see its pods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.evidence import Evidence, Unmeasured
from preflight.faults import RightsFault
from preflight.jobshape import ENTRYPOINT_FLAG, EVENTS_FLAG, LEGACY_FLAG, REACHABLE_FLAG, JobShape
from preflight.probes import rights
from preflight.probes.rights import Account
from preflight.probes.webhooks import read_webhooks, selects
from preflight.releasenames import names_in
from tests.probes.apiserver import Asked, Reply, Scripted, kubeconfig, scripted_api, status

Json = dict[str, Any]
WHO = Account(
    target="gitlab/gitlab-runner",
    namespace="gitlab",
    name="gitlab-runner",
    source="the values",
    evidence=Evidence(where="here", command="true"),
)


def review(folder: Path, answer: Callable[[Asked], Reply]) -> tuple[rights.Rights, list[Asked]]:
    with scripted_api(folder, answer) as (api, asked):
        told = rights.review(api, WHO, "ci-jobs", rights.HARD, fault=RightsFault.MISSING)
        return told, asked


def allowing(*refused: str) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        wanted = asked.body["spec"]["resourceAttributes"]
        name = "/".join(filter(None, [wanted["resource"], wanted.get("subresource", "")]))
        return Reply({"status": {"allowed": f"{wanted['verb']} {name}" not in refused}}, 201)

    return answer


def test_each_verb_is_asked_in_the_jobs_namespace_as_the_runner_s_account(tmp_path: Path) -> None:
    told, asked = review(tmp_path, allowing())
    assert told.fault is None
    assert len(asked) == sum(map(len, rights.HARD.values()))
    assert {one.path for one in asked} == {
        "/apis/authorization.k8s.io/v1/namespaces/ci-jobs/localsubjectaccessreviews"
    }, "a Role in the namespace is right enough"
    spec = asked[0].body["spec"]
    assert spec["user"] == "system:serviceaccount:gitlab:gitlab-runner"
    assert "system:serviceaccounts:gitlab" in spec["groups"]
    assert spec["resourceAttributes"]["namespace"] == "ci-jobs"


def test_what_is_missing_comes_with_the_rule_that_gives_it(tmp_path: Path) -> None:
    told, _ = review(tmp_path, allowing("create pods/exec", "update secrets", "delete secrets"))
    assert told.fault is RightsFault.MISSING
    assert told.missing == {"pods/exec": ("create",), "secrets": ("update", "delete")}
    assert '# in a Role in namespace ci-jobs\n- apiGroups: [""]\n  resources: ["pods/exec"]' in told.evidence.observed
    assert 'verbs: ["update", "delete"]' in told.evidence.observed
    assert told.evidence.command == (
        "kubectl auth can-i create pods/exec -n ci-jobs --as system:serviceaccount:gitlab:gitlab-runner"
    )


def test_with_a_namespace_for_each_job_the_rights_are_those_of_the_whole_cluster(tmp_path: Path) -> None:
    with Scripted(allowing("create namespaces", "create pods")) as server:
        api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=2)
        table = {"pods": ("create",), **rights.CLUSTER_WIDE}
        found = rights.review(api, WHO, "gitlab", table, fault=RightsFault.MISSING, everywhere=True)
        asked = server.asked
    assert {one.path for one in asked} == {"/apis/authorization.k8s.io/v1/subjectaccessreviews"}
    assert all("namespace" not in one.body["spec"]["resourceAttributes"] for one in asked)
    assert found.missing == {"pods": ("create",), "namespaces": ("create",)}
    assert "in all namespaces, as namespace_per_job needs it" in found.cause
    assert "# in a ClusterRole\n" in found.evidence.observed


@pytest.mark.parametrize(
    ("changes", "without", "besides"),
    [
        ({}, {"serviceaccounts"}, {}),
        ({"service_account": "ci"}, set(), {}),
        ({"flags": frozenset({LEGACY_FLAG, ENTRYPOINT_FLAG})}, {"serviceaccounts", "pods/attach"}, {}),
        (
            {"flags": frozenset({ENTRYPOINT_FLAG})},
            {"serviceaccounts"},
            {"pods": ("create", "get", "delete", "watch"), "pods/log": ("get",)},
        ),
        ({"flags": frozenset({REACHABLE_FLAG})}, {"serviceaccounts"}, {"pods/log": ("get",)}),
        ({"flags": frozenset({EVENTS_FLAG})}, {"serviceaccounts"}, {"events": ("watch",)}),
        ({"namespace_per_job": True}, {"serviceaccounts"}, {"namespaces": ("create", "delete")}),
    ],
)
def test_the_rights_are_those_that_these_values_need(changes: Json, without: set[str], besides: Json) -> None:
    shape = JobShape(namespace="ci", image="a", helper_image="h", **changes)
    expected = {resource: verbs for resource, verbs in rights.HARD.items() if resource not in without} | besides
    assert rights.needed(shape) == expected


def test_that_we_may_not_ask_is_told_as_such(tmp_path: Path) -> None:
    words = (
        'localsubjectaccessreviews.authorization.k8s.io is forbidden: User "ops" cannot create resource '
        '"localsubjectaccessreviews" in API group "authorization.k8s.io" in the namespace "ci-jobs"'
    )
    with pytest.raises(Unmeasured) as raised:
        review(tmp_path, lambda _: Reply(status(403, "Forbidden", words), 403))
    assert 'resources: ["localsubjectaccessreviews"]\n  verbs: ["create"]' in raised.value.needs


@pytest.mark.parametrize(
    ("tree", "release", "expected"),
    [
        ({"rbac": {"create": True}}, "gitlab-runner", "gitlab-runner"),
        ({"rbac": {"create": True}}, "ci", "ci-gitlab-runner"),
        ({"rbac": {"create": True}, "fullnameOverride": "own"}, "ci", "own"),
        ({"rbac": {"create": True, "generatedServiceAccountName": "made"}}, "ci", "made"),
        ({"rbac": {"create": False, "serviceAccountName": "given"}}, "ci", "given"),
        ({"serviceAccount": {"name": "named"}}, "ci", "named"),
        ({"serviceAccount": {"create": True}}, "ci", "ci-gitlab-runner"),
        ({}, "ci", "default"),
    ],
)
def test_the_account_is_the_one_that_the_chart_gives_the_managers(
    tree: Json, release: str, expected: str, tmp_path: Path
) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply({"items": []} if asked.path.endswith(("pods", "deployments")) else {"metadata": {}})

    with scripted_api(tmp_path, answer) as (api, _):
        found = rights.account(api, release, names_in(tree, release=release, namespace="gitlab"))
        assert found is not None
        assert (found.name, found.fault) == (expected, None)


def test_an_account_that_the_chart_is_yet_to_make_is_no_finding(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith(("pods", "deployments")):
            return Reply({"items": []})
        return Reply(status(404, "NotFound", 'serviceaccounts "gitlab-runner" not found'), 404)

    with scripted_api(tmp_path, answer) as (api, _):
        made = names_in({"rbac": {"create": True}}, release="gitlab-runner", namespace="gitlab")
        assert rights.account(api, "gitlab-runner", made) is None
        tree = {"serviceAccount": {"create": False, "name": "ci"}}
        named = names_in(tree, release="gitlab-runner", namespace="gitlab")
        found = rights.account(api, "gitlab-runner", named)
        assert found is not None
        assert found.fault is RightsFault.ACCOUNT_MISSING


@pytest.mark.parametrize(
    ("there", "brings_rights", "tree", "expected"),
    [
        (
            {"gitlab-runner"},
            True,
            {"serviceAccount": {"create": False, "name": "own"}},
            ("own", RightsFault.ACCOUNT_MISSING),
        ),
        ({"gitlab-runner"}, False, {"rbac": {"serviceAccountName": "own"}}, ("own", RightsFault.ACCOUNT_MISSING)),
        ({"gitlab-runner", "own"}, False, {"serviceAccount": {"create": False, "name": "own"}}, ("own", None)),
        ({"gitlab-runner", "own"}, True, {"serviceAccount": {"create": False, "name": "own"}}, ("gitlab-runner", None)),
        ({"gitlab-runner"}, True, {"serviceAccount": {"create": True, "name": "own"}}, ("gitlab-runner", None)),
        ({"gitlab-runner", "default"}, False, {}, ("gitlab-runner", None)),
    ],
)
def test_an_account_that_the_values_change_to_is_judged_before_the_upgrade(
    there: set[str], brings_rights: bool, tree: Json, expected: tuple[str, RightsFault | None], tmp_path: Path
) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("pods"):
            pod = {"metadata": {"name": "gitlab-runner-1"}, "spec": {"serviceAccountName": "gitlab-runner"}}
            return Reply({"items": [pod]})
        name = asked.path.rpartition("/")[2]
        words = f'serviceaccounts "{name}" not found'
        return Reply({"metadata": {}}) if name in there else Reply(status(404, "NotFound", words), 404)

    with scripted_api(tmp_path, answer) as (api, _):
        names = names_in(tree, release="gitlab-runner", namespace="gitlab")
        found = rights.account(api, "gitlab-runner", names, brings_rights=brings_rights)
    assert found is not None
    assert (found.name, found.fault) == expected


# ---- webhooks


def configuration(**hook: Any) -> Json:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    return {"metadata": {"name": "policy"}, "webhooks": [{"name": "pods.example.com", "rules": [rule], **hook}]}


def seen(**hook: Any) -> tuple[str, ...]:
    labels = {"kubernetes.io/metadata.name": "gitlab"}
    told = read_webhooks([configuration(**hook)], namespace="gitlab", namespace_labels=labels, labels={"team": "a"})
    assert (told.fault is RightsFault.WEBHOOK_FAILS_CLOSED) is bool(told.closed)
    return told.closed


def test_a_webhook_fails_closed_unless_it_says_otherwise() -> None:
    assert seen() == ("policy/pods.example.com",)
    assert seen(failurePolicy="Ignore") == ()


@pytest.mark.parametrize(
    "rule",
    [
        {"operations": ["DELETE"]},
        {"apiGroups": ["apps"]},
        {"resources": ["deployments"]},
        {"resources": ["pods/exec"]},
        {"scope": "Cluster"},
    ],
)
def test_a_webhook_for_something_else_does_not_see_a_job_s_pod(rule: Json) -> None:
    usual = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    assert seen(rules=[usual]) != ()
    assert seen(rules=[usual | rule]) == ()


def test_selectors_decide_who_is_seen() -> None:
    apart = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["gitlab"]}
    assert seen(namespaceSelector={"matchExpressions": [apart]}) == ()
    assert seen(objectSelector={"matchLabels": {"team": "b"}}) == ()
    assert seen(objectSelector={"matchLabels": {"team": "a"}}) != ()


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["a"], {"key": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"key": "a"}, False),
        ("Exists", [], {"key": ""}, True),
        ("Exists", [], {}, False),
        ("DoesNotExist", [], {}, True),
        ("DoesNotExist", [], {"key": "a"}, False),
    ],
)
def test_a_label_selector_s_operators(operator: str, values: list[str], labels: dict[str, str], expected: bool) -> None:
    assert selects({"matchExpressions": [{"key": "key", "operator": operator, "values": values}]}, labels) is expected
