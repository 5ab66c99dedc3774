"""Managers of the lab run with what the runner makes of runners.config."""

from __future__ import annotations

import tomllib

import pytest

from lab.kubernetes import configuration

NAMES = {"release": "ci", "namespace": "runners", "version": "0.80.0", "app_version": "18.3.0"}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ('namespace = "{{.Release.Namespace}}"', 'namespace = "runners"'),
        ("namespace = {{ .Release.Name | quote }}", 'namespace = "ci"'),
        ('image = "{{ .Values.own.image }}:{{ .Chart.AppVersion }}"', 'image = "r/a:18.3.0"'),
        ("image = 'x'", "image = 'x'"),
    ],
)
def test_the_small_reader_renders_what_values_files_use(text: str, rendered: str) -> None:
    tree = {"runners": {"config": text}, "own": {"image": "r/a"}}
    assert configuration.rendered(tree, **NAMES) == rendered


def test_a_manager_saves_what_the_runner_makes_of_the_template() -> None:
    template = """
    [[runners]]
      [runners.kubernetes]
        pull_policy = "always" # a comment
        cleanup_resources_timeout = "90s"
        privileged = true
        [runners.kubernetes.node_selector]
          "a/b" = "c"
        [[runners.kubernetes.host_aliases]]
          ip = "10.0.0.1"
          hostnames = ["a"]
    """
    text = configuration.saved(template, {"name": "ci-0", "executor": "kubernetes"})
    (runner,) = tomllib.loads(text)["runners"]
    assert (runner["name"], runner["executor"]) == ("ci-0", "kubernetes")
    kubernetes = runner["kubernetes"]
    assert (kubernetes["pull_policy"], kubernetes["cleanup_resources_timeout"]) == (["always"], "1m30s")
    assert (kubernetes["node_selector"], kubernetes["host_aliases"][0]["hostnames"]) == ({"a/b": "c"}, ["a"])
    assert "comment" not in text
