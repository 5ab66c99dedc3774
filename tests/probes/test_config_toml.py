"""What a manager runs with, beside the template of the release."""

from __future__ import annotations

import tomllib

import pytest

from preflight.evidence import Unmeasured
from preflight.faults import ManagerFault
from preflight.probes import config_toml
from preflight.probes.managers import Objects
from preflight.runner_config import runner_keys

KEYS = runner_keys("18.3")

TEMPLATE = tomllib.loads("""\
[[runners]]
  environment = ["A=made-up"]
  [runners.kubernetes]
    namespace = "gitlab"
    privileged = false
    poll_timeout = 600
    misspelt = 1
    dns_policy = "none"
    [runners.kubernetes.dns_config]
      nameservers = ["10.0.0.2", "10.1.0.251"]
""")
AT_WORK = """\
concurrent = 10
[[runners]]
  name = "gitlab-runner-1"
  token = "made-up-token-of-configs"
  executor = "kubernetes"
  [runners.kubernetes]
    host = ""
    bearer_token_overwrite_allowed = false
    namespace = "gitlab"
    poll_timeout = 600
    dns_policy = "none"
    [runners.kubernetes.dns_config]
      nameservers = ["10.0.0.2", "10.1.0.251"]
"""
FOUND = Objects(
    release="gitlab-runner",
    namespace="gitlab",
    deployment={
        "metadata": {"name": "gitlab-runner"},
        "spec": {"template": {"spec": {"containers": [{"name": "gitlab-runner"}]}}},
    },
)


def read(**texts: str) -> config_toml.ManagerConfig:
    return config_toml.read_config(texts, TEMPLATE, KEYS, FOUND)


def test_what_the_runner_adds_and_leaves_out_by_itself_is_no_difference() -> None:
    found = read(a=AT_WORK, b=AT_WORK)
    assert (found.fault, found.pods) == (None, ("a", "b"))
    assert 'dns_policy = "none"' in found.evidence.observed


def test_other_resolvers_are_named_with_the_manager() -> None:
    found = read(a=AT_WORK, b=AT_WORK.replace(', "10.1.0.251"', ""))
    assert found.fault is ManagerFault.OLD_CONFIG
    assert found.cause.startswith("1 of 2 managers run with another configuration; b: ")
    assert '[runners.kubernetes.dns_config] nameservers is ["10.0.0.2"]' in found.cause


@pytest.mark.parametrize("line", ['    dns_policy = "none"\n', '      nameservers = ["10.0.0.2", "10.1.0.251"]\n'])
def test_settings_of_dns_that_are_lost_are_a_difference(line: str) -> None:
    found = read(a=AT_WORK.replace(line, ""))
    assert found.fault is ManagerFault.OLD_CONFIG
    assert "is nothing, the release's values say" in found.cause


def test_an_older_setting_of_another_kind_is_named() -> None:
    assert "poll_timeout is 180" in read(a=AT_WORK.replace("600", "180")).cause


def test_the_token_is_in_nothing_that_is_told() -> None:
    found = read(a=AT_WORK.replace("600", "180"))
    assert "made-up-token-of-configs" not in f"{found} {found.cause} {found.differences} {found.evidence}"


@pytest.mark.parametrize("text", ["[[runners", "\x00"])
def test_a_file_that_cannot_be_read_is_no_finding(text: str) -> None:
    with pytest.raises(Unmeasured, match="is not TOML"):
        read(a=text)


def test_a_manager_that_has_not_registered_has_lost_its_resolvers() -> None:
    assert read(a="concurrent = 10\n").fault is ManagerFault.OLD_CONFIG


@pytest.mark.parametrize(
    ("mounted", "fault"),
    [
        ("concurrent = 20\n", ManagerFault.NOT_RESTARTED),
        ("concurrent = 10\n", None),
        ("concurrent = 10\nnew_setting = 1\n", None),  # not among those that are compared
        ("not TOML", None),
        ("", None),
    ],
)
def test_a_configmap_that_was_changed_after_the_start_is_told(mounted: str, fault: ManagerFault | None) -> None:
    template = tomllib.loads(AT_WORK)
    found = config_toml.read_config({"one": AT_WORK}, template, KEYS, FOUND, mounted={"one": mounted})
    assert found.fault is fault
    assert ("concurrent is 10, the ConfigMap says 20" in found.cause) is (fault is not None)


def test_an_old_template_is_told_before_an_old_configmap() -> None:
    old = AT_WORK.replace('"10.0.0.2", "10.1.0.251"', '"10.0.0.2"')
    found = config_toml.read_config({"one": old}, TEMPLATE, KEYS, FOUND, mounted={"one": "concurrent = 20\n"})
    assert found.fault is ManagerFault.OLD_CONFIG


@pytest.mark.parametrize(
    ("template", "saved"),
    [
        ('pull_policy = "if-not-present"', 'pull_policy = ["if-not-present"]'),
        ('cleanup_resources_timeout = "5m"', 'cleanup_resources_timeout = "5m0s"'),
        ("Privileged = true", "privileged = true"),
        ("[runners.kubernetes.affinity.nodeAffinity]\nx = 1", ""),
        ('host_aliases = [{ip = "192.0.2.1"}]', '[[runners.kubernetes.host_aliases]]\nip = "192.0.2.1"'),
        ("[runners.kubernetes.dns_config]\nsearches = []", "[runners.kubernetes.dns_config]"),
        ('image_pull_secrets = ["a"]', 'image_pull_secrets = ["a"]\nhelper_image = "of a variable"'),
    ],
)
def test_the_same_meaning_in_the_runners_own_words_is_no_difference(template: str, saved: str) -> None:
    head = "[[runners]]\n[runners.kubernetes]\n"
    found = config_toml.read_config({"a": head + saved}, tomllib.loads(head + template), KEYS, FOUND)
    assert found.fault is None, found.cause


@pytest.mark.parametrize(
    ("template", "saved", "cause"),
    [
        ('pull_policy = "never"', 'pull_policy = ["always"]', 'pull_policy is ["always"]'),
        ('cleanup_resources_timeout = "5m"', 'cleanup_resources_timeout = "5s"', "cleanup_resources_timeout is 5s"),
        ("Privileged = true", "privileged = false", "privileged is false, the release's values say true"),
        ("poll_timeout = 600", "", "poll_timeout is nothing, the release's values say 600"),
        (
            "host_aliases = [{ip = '192.0.2.1'}, {ip = '192.0.2.2'}]",
            "host_aliases = [{ip = '192.0.2.1'}, {ip = '192.0.2.3'}]",
            "host_aliases[1]] ip is 192.0.2.3",
        ),
    ],
)
def test_another_meaning_is_a_difference(template: str, saved: str, cause: str) -> None:
    head = "[[runners]]\n[runners.kubernetes]\n"
    found = config_toml.read_config({"a": head + saved}, tomllib.loads(head + template), KEYS, FOUND)
    assert found.fault is ManagerFault.OLD_CONFIG
    assert cause in found.cause
