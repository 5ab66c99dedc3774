"""Whether asserts fail where they are false; without that, whatever is wrong would pass.

Python leaves asserts out with ``-O`` and PYTHONOPTIMIZE, unless pytest rewrites them, which ``--assert=plain``,
``-p no:assertion`` or a conftest's import hook may prevent. So this is tried and not deduced: in each module of checks
one whose body is asserts alone, and begins with ``assert not FACT.fault``, is given a fact with a fault.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

_FAULTY = SimpleNamespace(fault="a fault to try the assert")


def require(checks: Iterable[pytest.Item]) -> None:
    """Refuse to judge where a false assert does not fail.

    Args:
        checks: those that are to run.

    Raises:
        pytest.UsageError: names the modules, and what may have stripped their asserts.
    """
    modules = {check.path: check.getparent(pytest.Module) for check in checks}
    stripped = [file for file, module in modules.items() if module is not None and not _asserts_fail(file, module.obj)]
    if stripped:
        names = ", ".join(sorted(file.name for file in stripped)[:3]) + (", …" if len(stripped) > 3 else "")  # noqa: PLR2004
        raise pytest.UsageError(
            f"a false assert does not fail in {names}, so every check would pass: "
            f"unset PYTHONOPTIMIZE (python -O), or leave out --assert=plain and -p no:assertion"
        )


def _asserts_fail(file: Path, module: ModuleType) -> bool:
    """Whether they do in a module; where none can be tried, whether Python itself keeps them."""
    for name in to_be_tried(file):
        check: Callable[..., object] | None = getattr(module, name, None)
        if callable(check):
            return _raises(check)
    return not sys.flags.optimize


def _raises(check: Callable[..., Any]) -> bool:
    try:
        check(**dict.fromkeys(inspect.signature(check).parameters, _FAULTY))
    except AssertionError:
        return True
    return False


def to_be_tried(file: Path) -> Iterator[str]:
    """The checks of a module that do nothing but assert, first that a fact has no fault."""
    with suppress(SyntaxError, ValueError, OSError):  # a module that comes from no file, or is no Python
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test") and _only_marked(node):
                statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
                only_asserts = all(isinstance(statement, ast.Assert) for statement in statements)
                if statements and only_asserts and _asserts_no_fault(statements[0]):
                    yield node.name


def _only_marked(function: ast.FunctionDef) -> bool:
    return all(ast.unparse(decorator).startswith("pytest.mark.") for decorator in function.decorator_list)


def _asserts_no_fault(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=ast.Attribute(value=ast.Name(), attr="fault"))):
            return True
    return False
