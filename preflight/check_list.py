"""``preflight list``: every check of the guide, with its section, effect and what it takes."""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from preflight import guide, shipped
from preflight.conclusions.rules import draw
from preflight.fact import CATALOGUE, Effect

NAME = "list"
HELP = "every check, with its section, effect and targets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check as its source declares it.

    Attributes:
        facts: those that it takes; `targets`: the kinds of target that they are measured for.
        effect: the most that measuring them does; also the level of deploy/rbac.yaml with the rights for it.
        stages: the stages of a release that it runs at; empty for every one but ``uninstalled``.
    """

    id: str
    module: str
    paragraph: guide.Paragraph
    facts: tuple[str, ...]
    targets: tuple[str, ...]
    effect: Effect
    advice: bool
    stages: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--effect", choices=[str(effect) for effect in Effect], help="only checks up to this effect")
    parser.add_argument("-m", dest="marker", metavar="MARKER", help="only the section of this marker, such as dns")


def run(chosen: argparse.Namespace) -> int:
    """Print the checks; returns the exit status."""
    listed = [
        check
        for check in checks()
        if (chosen.effect is None or check.effect.rank <= Effect(chosen.effect).rank)
        and (chosen.marker is None or guide.marker(check.module) == chosen.marker)
    ]
    if chosen.json:
        text = json.dumps([_as_json(check) for check in listed], ensure_ascii=False, indent=1)
    else:
        text = "\n".join(_lines(listed))
    sys.stdout.write(f"{text}\n")
    return 0


def checks() -> Iterator[Check]:
    """Every check, in the guide's order."""
    assert draw.__doc__, "the facts are declared by their import"  # noqa: S101
    for module in guide.MODULES:
        for node in ast.parse((shipped.CHECKS / f"{module}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                yield _check(module, node)


def _check(module: str, node: ast.FunctionDef) -> Check:
    facts = tuple(argument.arg for argument in node.args.args if argument.arg in CATALOGUE)
    marks = {
        ast.unparse(mark.func if isinstance(mark, ast.Call) else mark).rpartition(".")[2]: mark
        for mark in node.decorator_list
    }
    stage = marks.get("stage")
    return Check(
        id=node.name,
        module=module,
        paragraph=guide.paragraph(ast.get_docstring(node) or ""),
        facts=facts,
        targets=tuple(dict.fromkeys(kind for name in facts for kind in CATALOGUE[name].targets)),
        effect=max([Effect.STATIC, *(CATALOGUE[name].effect for name in facts)], key=lambda effect: effect.rank),
        advice="advice" in marks,
        stages=tuple(str(ast.literal_eval(argument)) for argument in stage.args) if isinstance(stage, ast.Call) else (),
    )


def _as_json(check: Check) -> dict[str, object]:
    return {
        "id": check.id,
        "number": check.paragraph.number,
        "section": check.paragraph.section,
        "marker": guide.marker(check.module),
        "title": check.paragraph.title,
        "why": check.paragraph.why,
        "effect": str(check.effect),
        "facts": list(check.facts),
        "targets": list(check.targets),
        "advice": check.advice,
        "stages": list(check.stages),
    }


def _lines(listed: list[Check]) -> Iterator[str]:
    module = ""
    for check in listed:
        if check.module != module:
            if module:
                yield ""
            module = check.module
            yield f"{guide.MODULES[module]}  (-m {guide.marker(module)})"
        each = f", for each {', '.join(check.targets)}" if check.targets else ""
        advice = ", advice" if check.advice else ""
        yield f"  {check.paragraph.number:<7} {check.paragraph.title}"
        yield f"          {check.id} ({check.effect}{each}{advice})"
