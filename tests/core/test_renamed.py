"""Renamed ids: every new one exists, no old one does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from preflight import renamed
from preflight.conclusions import CAUSES

CHECKS = {
    node.name
    for file in (Path(__file__).parents[2] / "checks").glob("test_*.py")
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize(
    ("table", "present"), [(renamed.CHECKS, CHECKS), (renamed.CAUSES, CAUSES)], ids=["checks", "root causes"]
)
def test_what_was_renamed_is_called_by_its_new_name_and_nothing_by_the_old(
    table: dict[str, str], present: set[str]
) -> None:
    assert set(table.values()) - set(present) == set(), "renamed again: let the old rows lead to the present name"
    assert set(table) & set(present) == set()
    assert len(set(table.values())) == len(table)


def test_a_check_keeps_its_target() -> None:
    assert renamed.check("test_registry_lets_us_in[a[b]") == "test_registry_authenticates[a[b]"
    assert renamed.check("test_registry_lets_us_in") == "test_registry_authenticates"
    assert renamed.check("test_gitlab_is_up[x]") == "test_gitlab_is_up[x]"
