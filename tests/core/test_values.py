"""Values files merge as Helm merges them, and give the shape that the runner gives to a job's pod."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from preflight.inventory import InventoryError
from preflight.jobshape import JobShape
from preflight.values import job_shape, load, merge, parse_set

PROJECT = Path(__file__).parents[2]


def shape(config: str, tmp_path: Path, *, top: str = "", pairs: tuple[str, ...] = ()) -> JobShape:
    lines = "\n".join(f"    {line}" for line in config.splitlines())
    file = tmp_path / "v.yaml"
    file.write_text(f"{top}\nrunners:\n  config: |\n{lines}\n")
    return job_shape(load([file], pairs, release="gitlab-runner", namespace="ci"))


def test_the_shipped_values_are_the_guides() -> None:
    values = load([PROJECT / "gitlab-runner-values.yaml"], release="gitlab-runner", namespace="gitlab")
    found = job_shape(values)
    assert values.get("gitlabUrl") == "http://192.168.1.50/"
    assert (found.replicas, found.concurrent, found.privileged) == (3, 10, True)
    assert found.namespace == "gitlab", "the template is filled in"
    assert found.dns_policy == "None"
    assert found.dns_config == {
        "nameservers": ["10.0.0.2", "10.1.0.251", "10.1.0.252"],
        "searches": ["gitlab.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }


def test_every_setting_of_the_shape_is_read(tmp_path: Path) -> None:
    found = shape(
        """
[[runners]]
  limit = 4
  [runners.kubernetes]
    namespace = "{{ .Values.runners.jobNamespace }}"
    image = "a"
    helper_image = "h"
    service_account = "sa"
    image_pull_secrets = ["one", "two"]
    pull_policy = ["always", "if-not-present"]
    runtime_class_name = "rc"
    scheduler_name = "s"
    priority_class_name = "p"
    dns_policy = "ClusterFirst"
    [runners.kubernetes.node_selector]
      disk = "ssd"
    [runners.kubernetes.node_tolerations]
      "dedicated=ci" = "NoSchedule"
      "spot" = ""
    [runners.kubernetes.pod_labels]
      team = "x"
    [[runners.kubernetes.host_aliases]]
      ip = "127.0.0.1"
      hostnames = ["a.example"]
    [runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution]
      [[runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms]]
        [[runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms.match_expressions]]
          key = "kubernetes.io/arch"
          operator = "In"
          values = ["amd64"]
""",
        tmp_path,
        top="concurrent: 7\nreplicas: 2",
        pairs=("runners.jobNamespace=jobs",),
    )
    assert found.namespace == "jobs"
    assert found.concurrent == 4, "the runner's own limit is the lower one"
    assert found.pull_secrets == ("one", "two")
    assert found.pull_policy == ("Always", "IfNotPresent")
    assert found.tolerations == (
        {"key": "dedicated", "operator": "Equal", "value": "ci", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    )
    assert found.dns_policy == "ClusterFirst", "the runner does not know this spelling and falls back"
    assert found.host_aliases == ({"ip": "127.0.0.1", "hostnames": ["a.example"]},)
    assert found.affinity == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}
                ]
            }
        }
    }


def test_silent_values_leave_everything_to_the_cluster(tmp_path: Path) -> None:
    file = tmp_path / "v.yaml"
    file.write_text("gitlabUrl: http://x/\n")
    found = job_shape(load([file], release="r", namespace="ns"))
    assert (found.namespace, found.image, found.dns_policy, found.privileged) == ("ns", "alpine", None, False)
    assert (found.replicas, found.concurrent, found.poll_timeout) == (1, 10, 180)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1", {"a": 1}),
        ("a.b=x,c=true", {"a": {"b": "x"}, "c": True}),
        ("a[1].b=x", {"a": [None, {"b": "x"}]}),
        ("a={x,2}", {"a": ["x", 2]}),
        (r"a\.b=x", {"a.b": "x"}),
        ("a=007", {"a": "007"}),
        ("a=", {"a": ""}),
        ("a=null", {"a": None}),
    ],
)
def test_set_is_read_as_helm_reads_it(text: str, tree: dict[str, Any]) -> None:
    assert parse_set(text) == tree


def test_later_files_win_deeply_lists_are_replaced_and_null_removes() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merge(below, {"a": {"c": [3]}, "d": None}) == {"a": {"b": 1, "c": [3]}}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 4}, "what is merged stays as it was"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("[[runners]]\n  [runners.kubernetes\n", "v.yaml:5: runners.config: not TOML at its line 2"),
        ("[runners]\n", "v.yaml:4: runners.config: found none, expected exactly one [[runners]] entry"),
        ("[[runners]]\n[[runners]]\n", "found 2 of them, expected exactly one"),
    ],
)
def test_broken_toml_names_the_line_in_the_values_file(tmp_path: Path, config: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        shape(config, tmp_path)


def test_a_bad_pair_is_told(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"runner\.set\[0\]: found no =, expected key=value"):
        shape("[[runners]]\n", tmp_path, pairs=("nonsense",))


def test_each_value_knows_the_line_that_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("replicas: 1\nrbac:\n  create: false\n  rules:\n  - verbs: [get]\nreplicas: 2\n")
    (tmp_path / "b.yaml").write_text("rbac:\n  create: true\n  rules: null\n")
    values = load([tmp_path / "a.yaml", tmp_path / "b.yaml"], ["concurrent=3"], release="r", namespace="ns")
    assert str(values.origin("rbac.create")) == "b.yaml:2"
    assert str(values.origin("replicas")) == "a.yaml:6"
    assert str(values.origin("concurrent")) == "--set"
    assert str(values.origin("runners.config")) == "the chart's default"
    assert ("rbac", "rules", 0, "verbs") not in values.origins, "null removed it"
    assert [(path, str(origin)) for path, origin in values.duplicates] == [("replicas", "a.yaml:6")]
    assert values.get("replicas") == 2, "the last one counts"
