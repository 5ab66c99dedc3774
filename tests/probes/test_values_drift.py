"""Values compared key by key: what differs is named, and no secret is told."""

from __future__ import annotations

import pytest

from preflight.faults import ReleaseFault
from preflight.probes.values_drift import differences, read_drift, remember_secrets
from preflight.redaction import redact
from preflight.runner_config import runner_keys

KEYS = runner_keys("18.3")

CONFIG = """\
[[runners]]
  [runners.kubernetes]
    privileged = true
    cpu_limit = "2"
    [runners.kubernetes.dns_config]
      nameservers = ["10.0.0.2", "10.1.0.251"]
"""


def told(deployed: dict[str, object], wanted: dict[str, object]) -> list[str]:
    return [str(one) for one in differences(deployed, wanted, KEYS)]


def test_the_same_values_have_no_drift() -> None:
    tree = {"replicas": 3, "runners": {"config": CONFIG}, "tolerations": []}
    assert read_drift(tree, tree, KEYS, release="r", namespace="n").fault is None


def test_a_changed_an_added_and_a_lost_key_are_each_named() -> None:
    deployed = {"concurrent": 20, "image": {"tag": "a"}, "rbac": {"create": True}}
    wanted = {"concurrent": 10, "rbac": {"create": True}, "metrics": {"enabled": True}}
    found = told(deployed, wanted)
    assert found == [
        "concurrent is 20, the values files say 10",
        "metrics.enabled is nothing, the values files say true",
        "image.tag is a, the values files say nothing",
    ]
    fact = read_drift(deployed, wanted, KEYS, release="r", namespace="n")
    assert fact.fault is ReleaseFault.DRIFT
    assert "concurrent is 20" in fact.cause


def test_the_toml_is_compared_as_the_runner_reads_it() -> None:
    changed = CONFIG.replace('"2"', '"4"').replace("[[runners]]", "# a comment\n\n[[runners]]")
    assert told({"runners": {"config": CONFIG}}, {"runners": {"config": changed}}) == [
        "runners.config: [runners.kubernetes] cpu_limit is 2, the values files say 4"
    ]


def test_comments_in_the_toml_are_no_drift() -> None:
    assert told({"runners": {"config": CONFIG}}, {"runners": {"config": f"# for the guide\n{CONFIG}\n"}}) == []


def test_toml_that_cannot_be_read_is_compared_as_text() -> None:
    assert len(told({"runners": {"config": "a = ["}}, {"runners": {"config": CONFIG}})) >= 1


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_null_and_an_empty_table_say_nothing(nothing: object) -> None:
    assert told({"nodeSelector": nothing}, {}) == []


@pytest.mark.parametrize(("one", "other"), [(1, True), ("10", 10), (0, False)])
def test_kinds_of_values_are_told_apart(one: object, other: object) -> None:
    assert len(told({"key": one}, {"key": other})) == 1


def test_numbers_are_compared_by_value() -> None:
    assert told({"key": 3.0}, {"key": 3}) == []


@pytest.mark.parametrize(
    "key", ["runnerToken", "runnerRegistrationToken", "sentryDsn", "adminPassword", "secretKey", "AccessKey"]
)
def test_a_secret_that_differs_is_named_and_hidden(key: str) -> None:
    found = told({key: "old-made-up-secret"}, {key: "new-made-up-secret"})
    assert found == [f"{key} differs"]


def test_environment_variables_are_hidden_under_any_name() -> None:
    found = told({"envVars": [{"name": "A", "value": "made-up-one"}]}, {"envVars": [{"name": "A", "value": "two"}]})
    assert found == ["envVars differs"]
    text = '[[runners]]\nenvironment = ["KEY=made-up-three"]\n'
    found = told({"runners": {"config": text}}, {"runners": {"config": text.replace("three", "four")}})
    assert found == ["runners.config: [runners] environment differs"]


def test_a_secret_of_the_toml_is_hidden_and_remembered() -> None:
    text = '[[runners]]\n[runners.kubernetes]\nbearer_token = "made-up-bearer-of-drift"\n'
    assert told({"runners": {"config": text}}, {"runners": {"config": ""}})[0].endswith("the values files say nothing")
    remember_secrets({"runners": {"config": text}})
    assert "made-up-bearer-of-drift" not in redact("it is made-up-bearer-of-drift")


@pytest.mark.parametrize(
    ("deployed", "wanted"),
    [
        ('pull_policy = "always"', 'pull_policy = ["always"]'),
        ('cleanup_resources_timeout = "90s"', 'cleanup_resources_timeout = "1m30s"'),
        ("Privileged = true", "privileged = true"),
        ("use_service_account_image_pull_secrets = false", ""),
        ("no_such_key = 1", ""),
    ],
)
def test_the_same_meaning_is_no_drift(deployed: str, wanted: str) -> None:
    head = "[[runners]]\n[runners.kubernetes]\n"
    assert told({"runners": {"config": head + deployed}}, {"runners": {"config": head + wanted}}) == []
