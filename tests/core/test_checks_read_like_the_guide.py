"""Every check reads like the guide: a paragraph of it, facts, and plain asserts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from preflight import guide

PROJECT = Path(__file__).parents[2]

CHECKS = sorted(
    (
        (path, node)
        for path in (PROJECT / "checks").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ),
    key=lambda pair: (list(guide.MODULES).index(pair[0].stem), pair[1].lineno),
)


def _id(value: object) -> str | None:
    return value.name if isinstance(value, ast.FunctionDef) else getattr(value, "stem", None)


def test_there_are_checks() -> None:
    assert len(CHECKS) >= 30


@pytest.mark.parametrize(("path", "check"), CHECKS, ids=_id)
def test_a_check_is_a_paragraph_of_the_guide(path: Path, check: ast.FunctionDef) -> None:
    paragraph = guide.paragraph(ast.get_docstring(check) or "")
    keys = {key for key in paragraph.remedies if key is not None}
    assert keys <= guide.known_faults(), "every remedy is for a fault that exists"
    assert path.stem in guide.MODULES


@pytest.mark.parametrize(("path", "check"), CHECKS, ids=_id)
def test_a_check_only_asserts(path: Path, check: ast.FunctionDef) -> None:
    for statement in check.body[1:]:
        assert isinstance(statement, ast.Assert | ast.Assign), ast.unparse(statement)


def test_names_and_numbers_are_unique_and_numbers_ascend() -> None:
    names = [check.name for _, check in CHECKS]
    assert len(names) == len(set(names)), "a check's id is its function's name"
    numbers = [guide.paragraph(ast.get_docstring(check) or "").order for _, check in CHECKS]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("path", sorted({path for path, _ in CHECKS}), ids=_id)
def test_a_module_of_checks_contains_only_checks(path: Path) -> None:
    for node in ast.parse(path.read_text()).body[1:]:
        assert isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ), ast.unparse(node)[:80]
