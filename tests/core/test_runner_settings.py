"""The keys of the inventory's runner that say where chart, values and helm are."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.inventory import Inventory, InventoryError, load
from preflight.inventory_forms import chart_version
from preflight.values import values_of
from tests import tinychart


def loaded(inventory_file: Path, runner: str) -> Inventory:
    """The inventory with further keys of its runner."""
    text = inventory_file.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("  chart:")]
    at = next(number for number, line in enumerate(lines) if line.startswith("runner:"))
    lines[at + 1 : at + 1] = [f"  {line}" for line in runner.splitlines()]
    inventory_file.write_text("\n".join(lines) + "\n")
    return load(inventory_file)


@pytest.mark.parametrize(
    ("chart", "version"),
    [
        ("0.80.1", "0.80.1"),
        ("./gitlab-runner-0.80.1.tgz", "0.80.1"),
        ("/a/gitlab-runner-0.81.0-rc1.tgz", "0.81.0-rc1"),
        ("./chart", ""),
        ("oci://registry.example.com/charts/gitlab-runner:0.80.1", "0.80.1"),
        ("oci://registry.example.com:5000/gitlab-runner", ""),
    ],
)
def test_a_chart_names_its_version_where_it_can(chart: str, version: str) -> None:
    assert chart_version(chart) == version


def test_a_package_stands_relative_to_the_inventory(inventory_file: Path) -> None:
    package = inventory_file.parent / "gitlab-runner-0.80.1.tgz"
    package.write_bytes(tinychart.archive())
    runner = loaded(inventory_file, "chart: ./gitlab-runner-0.80.1.tgz").runner
    assert (runner.chart, runner.chart_version) == (str(package), "0.80.1")


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        (
            "chart: ./absent-0.80.1.tgz",
            "runner.chart: found './absent-0.80.1.tgz', expected a package|is no chart: expected",
        ),
        ("chart: ./", "is no chart: expected a package"),
        ("helm: ./absent", "is no program that can be run: expected the path of helm, or none"),
        ("set_file: [no-sign]", "expected key=path"),
        ("set_file: [a=absent]", "absent can't be read: No such file"),
        ("repository_credentials: made-up-literal-secret", "expected a reference"),
    ],
)
def test_what_can_not_be_used_is_named_with_what_is_expected(inventory_file: Path, runner: str, words: str) -> None:
    with pytest.raises(InventoryError) as raised:
        loaded(inventory_file, runner)
    assert any(word in str(raised.value) for word in words.split("|")), str(raised.value)
    assert "made-up-literal-secret" not in str(raised.value)


def test_repositories_are_urls_registries_or_none(inventory_file: Path) -> None:
    default, text = "https://charts.gitlab.io", inventory_file.read_text()
    assert load(inventory_file).runner.repository == default
    for repository in ("oci://registry.example.com/charts", "none"):
        inventory_file.write_text(text.replace(default, repository))
        assert load(inventory_file).runner.repository == repository
    inventory_file.write_text(text.replace(default, "ftp://x"))
    with pytest.raises(InventoryError, match=r"runner\.repository: found 'ftp://x', expected a URL"):
        load(inventory_file)


def test_values_at_a_place_are_read_like_plain_ones(inventory_file: Path) -> None:
    inventory = load(inventory_file)
    plain = values_of(inventory.runner)
    (folder := inventory_file.parent / "umbrella.yaml").write_text(
        "other: {}\ngitlab-runner:\n"
        + "".join(f"  {line}\n" for line in inventory.runner.files[0].read_text().splitlines())
    )
    text = inventory_file.read_text().replace(
        "values: [values.yaml]", "values: [{file: umbrella.yaml, at: gitlab-runner}]"
    )
    inventory_file.write_text(text)
    wrapped = values_of(load(inventory_file).runner)
    assert wrapped.tree == plain.tree
    assert wrapped.config == plain.config
    assert {origin.file for origin in wrapped.origins.values()} == {folder}
