"""Values files merge as Helm merges them, and give the shape that the runner gives to a job's pod."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from preflight.inventory import InventoryError
from preflight.jobsettings import job_shape
from preflight.jobshape import JobShape, Resources
from preflight.set_options import parse_set
from preflight.values import load, merge

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


KEYS_AS_THE_RUNNER_READS_THEM: dict[str, tuple[str, dict[str, Any]]] = {
    "in another case": ("Privileged = true", {"privileged": True}),
    "as text, which is refused": ('privileged = "true"', {"privileged": False}),
    "one policy": ('pull_policy = "always"', {"pull_policy": ("Always",)}),
    "several policies": ('pull_policy = ["never", "always"]', {"pull_policy": ("Never", "Always")}),
    "a policy as the API spells it": ('pull_policy = "Always"', {"pull_policy": ()}),
    "one pull secret, which is refused": ('image_pull_secrets = "a"', {"pull_secrets": ()}),
    "numbers as pull secrets": ("image_pull_secrets = [1]", {"pull_secrets": ()}),
    "the service account's pull secrets alone": (
        'use_service_account_image_pull_secrets = true\nimage_pull_secrets = ["a"]',
        {"pull_secrets": (), "use_service_account_pull_secrets": True},
    ),
    "affinity as the API spells it": (
        "[runners.kubernetes.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution]\n"
        'nodeSelectorTerms = [{matchExpressions = [{key = "disk", operator = "Exists"}]}]',
        {"affinity": None},
    ),
    "affinity, half of it as the API spells it": (
        "[runners.kubernetes.affinity.pod_anti_affinity]\n"
        'preferred_during_scheduling_ignored_during_execution = [{weight = 1, podAffinityTerm = {topologyKey = "a"}}]',
        {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}},
    ),
    "a selector as the API spells it": ('[runners.kubernetes.nodeSelector]\ndisk = "ssd"', {"node_selector": {}}),
    "a selector": ('[runners.kubernetes.Node_Selector]\nDisk = "ssd"', {"node_selector": {"Disk": "ssd"}}),
    "a toleration with its effect in the key": (
        '[runners.kubernetes.node_tolerations]\n"k=v:NoSchedule" = ""',
        {"tolerations": ({"key": "k", "operator": "Equal", "value": "v:NoSchedule"},)},
    ),
    "aliases in one bracket": ('[runners.kubernetes.host_aliases]\nip = "192.0.2.1"', {"host_aliases": ()}),
    "resolvers that nobody reads": ('nameservers = ["192.0.2.1"]', {"dns_config": None, "dns_policy": None}),
    "the cluster's resolvers": ('dns_policy = "cluster-first"', {"dns_policy": "ClusterFirst"}),
    "a number as a quantity": ("cpu_limit = 1", {"build": Resources()}),
    "a quantity": ('service_memory_limit = "1Gi"', {"service": Resources(limits={"memory": "1Gi"})}),
    "a timeout as text": ('poll_timeout = "600"', {"poll_timeout": 180}),
    "a timeout of nothing": ("poll_timeout = 0", {"poll_timeout": 180}),
    "a privileged service alone": (
        "[runners.kubernetes.service_container_security_context]\nprivileged = true",
        {"privileged": False, "privileged_services": True, "privileged_anywhere": True},
    ),
    "a service alone that is not": (
        "privileged = true\n[runners.kubernetes.service_container_security_context]\nprivileged = false",
        {"privileged": True, "privileged_services": False, "privileged_anywhere": True},
    ),
}


@pytest.mark.parametrize("name", KEYS_AS_THE_RUNNER_READS_THEM)
def test_the_shape_obeys_what_the_runner_obeys(tmp_path: Path, name: str) -> None:
    config, expected = KEYS_AS_THE_RUNNER_READS_THEM[name]
    found = shape(f"[[runners]]\n[runners.kubernetes]\n{config}", tmp_path)
    assert {key: getattr(found, key) for key in expected} == expected


NAMESPACES = {
    "of nobody": ("[[runners]]", "", "ci"),
    "of the chart's key, which the default template alone reads": ("[[runners]]", "jobNamespace: jobs", "ci"),
    "of the configuration": ('[[runners]]\n[runners.kubernetes]\nnamespace = "jobs"', "", "jobs"),
    "of nobody, but named": ('[[runners]]\n[runners.kubernetes]\nnamespace = ""', "", "default"),
}


@pytest.mark.parametrize("name", NAMESPACES)
def test_the_namespace_of_jobs(tmp_path: Path, name: str) -> None:
    config, more, namespace = NAMESPACES[name]
    file = tmp_path / "values.yaml"
    text = "".join(f"    {line}\n" for line in config.splitlines())
    file.write_text(f"runners:\n  {more or 'name: x'}\n  config: |\n{text}")
    assert job_shape(load([file], release="r", namespace="ci")).namespace == namespace


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ("envVars: [{name: KUBERNETES_NAMESPACE, value: other}]", {"namespace": "other"}),
        ("extraEnv: {KUBERNETES_IMAGE: other}", {"image": "other"}),
        ("extraEnv: {KUBERNETES_PRIVILEGED: true}", {"privileged": True}),
        ("extraEnv: {KUBERNETES_PRIVILEGED: false}", {"privileged": False}),
        ("extraEnv: {KUBERNETES_IMAGE_PULL_SECRETS: 'a,b'}", {"pull_secrets": ("a", "b")}),
        ("extraEnv: {KUBERNETES_POLL_TIMEOUT: '600'}", {"poll_timeout": 600}),
        ("extraEnv: {KUBERNETES_NAMESPACE: ''}", {"namespace": "jobs"}),
        ("extraEnv: {UNKNOWN: x}", {"image": "alpine"}),
    ],
)
def test_a_variable_of_the_managers_wins_over_the_configuration(
    tmp_path: Path, top: str, expected: dict[str, Any]
) -> None:
    config = '[[runners]]\n[runners.kubernetes]\nnamespace = "jobs"\nimage = "alpine"'
    found = shape(config, tmp_path, top=top)
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("top", "chart", "runner"),
    [
        ("", "0.80.1", "18.3.1"),
        ("", "0.86.0", "18.9.0"),
        ("image: {tag: alpine-v18.4.2}", "0.80.1", "18.4.2"),
        ("image: {tag: v17.11.0}", "0.80.1", "17.11.0"),
        ("image: {tag: ubuntu-v18.1.0-internal}", "0.80.1", "18.1.0"),
        ("image: {tag: prod}", "0.80.1", "18.3.1"),
        ("image: {tag: alpine3.19}", "0.80.1", "18.3.1"),
    ],
)
def test_the_version_of_the_runner(tmp_path: Path, top: str, chart: str, runner: str) -> None:
    (tmp_path / "values.yaml").write_text(f"{top}\n")
    values = load([tmp_path / "values.yaml"], release="r", namespace="ci", chart=chart)
    assert values.runner == runner
    assert job_shape(values).helper_image.endswith(f"x86_64-v{runner}")


def test_a_moving_tag_is_newer_than_the_tables(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("image: {tag: alpine-bleeding}\n")
    values = load([tmp_path / "values.yaml"], release="r", namespace="ci")
    assert not values.runner_keys.known
    assert job_shape(values).helper_image.endswith("x86_64-latest")


def test_a_package_says_which_runner_it_brings(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 1\n")
    values = load([tmp_path / "values.yaml"], release="r", namespace="ci", chart="1.90.0", app_version="v18.5.0")
    assert values.runner == "18.5.0"
