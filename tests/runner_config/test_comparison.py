"""What runs beside what should: the same in other words is no difference."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from preflight.runner_config import differences, equal, runner_keys

KEYS = runner_keys("18.3.1")
SAVED = """
concurrent = 1
check_interval = 0
connection_max_age = "15m0s"
shutdown_timeout = 0

[session_server]
  session_timeout = 1800

[[runners]]
  name = ""
  limit = 0
  [runners.cache]
    Type = "s3"
    MaxUploadedArchiveSize = 0
    [runners.cache.s3]
      BucketName = "builds"
    [runners.cache.gcs]
    [runners.cache.azure]
  [runners.kubernetes]
    host = ""
    bearer_token_overwrite_allowed = false
    image = "alpine"
    privileged = false
    pull_policy = ["if-not-present"]
    cleanup_resources_timeout = "5m0s"
    node_selector_overwrite_allowed = ""
    [runners.kubernetes.affinity]
    [runners.kubernetes.pod_security_context]
    [runners.kubernetes.volumes]
    [runners.kubernetes.dns_config]
"""
GIVEN = """
[[runners]]
  [runners.cache]
    type = "s3"
    [runners.cache.s3]
      bucketname = "builds"
  [runners.kubernetes]
    image = "alpine"
    Privileged = false
    pull_policy = "if-not-present"
    cleanup_resources_timeout = "300s"
    no_such_key = "is dropped"
"""


def toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def test_what_is_saved_is_what_was_given() -> None:
    assert equal(toml(SAVED), toml(GIVEN), KEYS)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (GIVEN.replace('"alpine"', '"debian"'), "image"),
        (GIVEN.replace("Privileged = false", ""), "privileged"),  # not set is the cluster's default, false is not
        (GIVEN.replace("300s", "30s"), "cleanup_resources_timeout"),
        (GIVEN.replace('"if-not-present"', '["if-not-present", "always"]'), "pull_policy"),
        (GIVEN.replace("bucketname", "bucket"), "BucketName"),
        (GIVEN + "[runners.kubernetes.node_selector]\npool = 'ci'", "pool"),
        (GIVEN + "[[runners.kubernetes.services]]\nname = 'redis'", "name"),
        (GIVEN + "[[runners]]", 1),
    ],
)
def test_another_meaning_is_a_difference(given: str, path: str | int) -> None:
    (difference,) = differences(toml(SAVED), toml(given), KEYS)
    assert difference.path[-1] == path
    assert difference.first != difference.second


def test_a_user_of_zero_is_not_no_user() -> None:
    zero = toml("[[runners]]\n[runners.kubernetes.build_container_security_context]\nrun_as_user = 0")
    assert not equal(zero, toml("[[runners]]"), KEYS)
