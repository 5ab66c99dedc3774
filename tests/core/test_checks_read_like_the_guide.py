"""Every check reads like the guide: a paragraph of it, facts, and plain asserts."""

from __future__ import annotations

import ast
from pathlib import Path

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


def test_there_are_checks() -> None:
    assert len(CHECKS) >= 30


def test_each_check_is_a_paragraph_of_the_guide() -> None:
    for path, check in CHECKS:
        paragraph = guide.paragraph(ast.get_docstring(check) or "")
        keys = {key for key in paragraph.remedies if key is not None}
        assert keys <= guide.known_faults(), f"every remedy of {check.name} is for a fault that exists"
        assert path.stem in guide.MODULES


def test_each_check_only_asserts() -> None:
    for _, check in CHECKS:
        for statement in check.body[1:]:
            assert isinstance(statement, ast.Assert | ast.Assign), f"{check.name}: {ast.unparse(statement)}"


def test_names_and_numbers_are_unique_and_numbers_ascend() -> None:
    names = [check.name for _, check in CHECKS]
    assert len(names) == len(set(names)), "a check's id is its function's name"
    numbers = [guide.paragraph(ast.get_docstring(check) or "").order for _, check in CHECKS]
    assert numbers == sorted(set(numbers))


def test_a_module_of_checks_contains_only_checks() -> None:
    for path in sorted({path for path, _ in CHECKS}):
        for node in ast.parse(path.read_text()).body[1:]:
            assert isinstance(node, ast.Import | ast.ImportFrom) or (
                isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            ), f"{path.name}: {ast.unparse(node)[:80]}"
