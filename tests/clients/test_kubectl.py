"""Evidence names a command that a person can paste, and a missing right the exact rule."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.clients.kubectl import kubectl, missing_rule

Json = dict[str, Any]
NODES = "/api/v1/nodes"


@pytest.mark.parametrize(
    ("method", "path", "query", "command"),
    [
        ("GET", NODES, {"limit": 500}, "kubectl get nodes"),
        ("GET", "/api/v1/pods", {"fieldSelector": "a!=b"}, "kubectl get pods -A '--field-selector=a!=b'"),
        ("GET", "/apis/metrics.k8s.io/v1beta1/nodes", {}, "kubectl get nodes.metrics.k8s.io"),
        ("GET", "/api/v1/namespaces/gitlab/pods", {"labelSelector": "a=b"}, "kubectl -n gitlab get pods -l a=b"),
        ("GET", "/api/v1/namespaces/gitlab", {}, "kubectl get namespaces gitlab"),
        ("GET", "/api/v1/namespaces/g/pods/x/log", {"container": "build"}, "kubectl -n g logs x -c build"),
        ("GET", "/readyz", {"verbose": ""}, "kubectl get --raw '/readyz?verbose='"),
        ("DELETE", "/apis/batch/v1/namespaces/g/jobs/x", {}, "kubectl -n g delete jobs.batch x"),
        ("POST", "/api/v1/namespaces/g/pods", {"dryRun": "All"}, "kubectl create --dry-run=server -n g -f -"),
    ],
)
def test_the_evidence_is_a_command_that_a_person_can_paste(method: str, path: str, query: Json, command: str) -> None:
    assert kubectl(method, path, query) == command


@pytest.mark.parametrize(
    ("method", "path", "query", "words"),
    [
        ("GET", "/api/v1/namespaces/gitlab/pods/x/log", {}, ('"pods/log"', '"get"', "Role in namespace gitlab")),
        ("GET", "/api/v1/namespaces/gitlab/pods", {"watch": 1}, ('"pods"', '"watch"')),
        ("POST", "/apis/batch/v1/namespaces/gitlab/jobs", {}, ('"jobs"', '"create"', '["batch"]')),
        ("DELETE", "/apis/batch/v1/namespaces/gitlab/jobs/x", {}, ('"jobs"', '"delete"')),
        ("GET", "/api/v1/namespaces/gitlab", {}, ('"namespaces"', '"get"', "ClusterRole")),
        ("GET", "/readyz", {}, ('nonResourceURLs: ["/readyz"]', "ClusterRole")),
    ],
)
def test_the_rule_is_exact(method: str, path: str, query: Json, words: tuple[str, ...]) -> None:
    rule = missing_rule(method, path, query)
    assert all(word in rule for word in words), rule
