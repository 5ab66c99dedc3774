"""Text from outside is put into our sentences as it is: it never becomes a format string itself.

``{values:>400000000}`` in a name of a tenant would be 400 MB of a remedy, and ``{x}`` an internal error.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from preflight.conclusions import draw
from preflight.conclusions.single_fact import ROWS, steps_of
from preflight.faults import ClusterFault
from preflight.inventory import Inventory
from preflight.probes.cluster import Filler
from preflight.probes.headroom import Headroom
from tests.conclusions import made
from tests.conclusions.made import observation

PROJECT = Path(__file__).parents[2]
HOSTILE = (
    "{values:>400000000}",
    "{x}",
    "{",
    "}",
    "{values.__class__}",
    "{values!r:>9999999}",
    "%(x)s %n",
    "{0}",
    "{{}}",
)


def is_ours(template: ast.expr) -> bool:
    """Whether it is a constant, or an element of one: what stands in the source, and nowhere else."""
    match template:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.Subscript(value=value):
            return is_ours(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[_, default]):
            return is_ours(value) and is_ours(default)
    return False


def formatted(tree: ast.AST) -> list[ast.expr]:
    """What ``format`` and ``format_map`` are called on, and what a percent sign formats."""
    calls = [
        node.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"format", "format_map", "vformat"}
    ]
    percent = [
        node.left
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.JoinedStr)
    ]
    return [*calls, *percent]


def test_only_constants_are_formatted() -> None:
    found: list[str] = []
    count = 0
    for folder in ("preflight", "checks"):
        for file in sorted((PROJECT / folder).rglob("*.py")):
            for template in formatted(ast.parse(file.read_text(encoding="utf-8"))):
                count += 1
                if not is_ours(template):
                    found.append(f"{file.relative_to(PROJECT)}:{template.lineno}: {ast.unparse(template)}")
    assert count > 3
    assert found == []


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_put_in_as_they_are(text: str) -> None:
    assert steps_of(("a {values} b", "{{{values}}}"), {"values": text}) == (f"a {text} b", f"{{{text}}}")


@pytest.mark.parametrize("template", ["{values:>9}", "{values!r}", "{values.x}", "{values[0]}", "{other}", "{}"])
def test_a_template_holds_names_alone(template: str) -> None:
    with pytest.raises(ValueError, match="expected a name alone"):
        steps_of((template,), {"values": "x"})


def test_every_remedy_holds_names_that_there_are(inventory: Inventory) -> None:
    from preflight.conclusions.single_fact import names_of

    names = names_of(made.facts(inventory))
    for row in ROWS:
        assert steps_of(row.remedy, names)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_tenant_s_name_is_no_template(text: str, inventory: Inventory) -> None:
    room = Headroom(
        target="jobs",
        wanted=3,
        fits=1,
        capacity=1,
        by_node=(),
        requests={"pods": "1"},
        runs_out=text,
        fillers=(Filler(node="k8s-worker-1", resource="cpu", owner=f"tenant/{text}", amount="1"),),
        fault=ClusterFault.TOO_FEW_FIT,
        cause="fits 1 of 3",
        evidence=made.shown(),
    )
    drawn, errors = draw(made.facts(inventory, observation("headroom", room)))
    assert errors == ()
    (conclusion,) = drawn
    assert text.lower() in "\n".join(conclusion.remedy).lower()
    assert len("\n".join(conclusion.remedy)) < 2_000
