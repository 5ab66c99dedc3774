"""How much of the guide a run has judged: a run of a part is PARTIAL, and says what was not looked at.

What there is to judge is read from the checks' own source, so that a run of one module, or of one check by its name,
knows of the others too.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preflight import guide
from preflight.fact import CATALOGUE, TARGETS, Effect
from preflight.inventory import Inventory
from preflight.run import Stage


@dataclass(frozen=True, slots=True)
class DeclaredCheck:
    """A check as its source declares it.

    Attributes:
        id: its function's name.
        module: the stem of its file.
        paragraph: what its docstring says.
        facts: the facts that it takes.
        kinds: the kinds of targets that it is made for.
        stages: the stages that it is for; none means all but ``uninstalled``.
        advice: whether its failure is advice, at least without the option that makes it more.
    """

    id: str
    module: str
    paragraph: guide.Paragraph
    facts: tuple[str, ...]
    kinds: tuple[str, ...]
    stages: tuple[str, ...]
    advice: bool

    @property
    def effect(self) -> Effect:
        """The most that measuring for it does to the environment."""
        effects = [Effect.STATIC, *(CATALOGUE[name].effect for name in self.facts)]
        return max(effects, key=lambda effect: effect.rank)

    def belongs_to(self, stage: Stage) -> bool:
        """Whether it is judged at this stage."""
        return str(stage) in self.stages if self.stages else stage is not Stage.UNINSTALLED

    def count(self, inventory: Inventory) -> int:
        """How many tests it becomes: one for each of its targets, or one that says that there are none."""
        return math.prod(max(1, len(TARGETS[kind](inventory))) for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Part:
    """Tests of one check that were not looked at.

    Attributes:
        check: the check's id.
        section: the title of the guide's section.
        title: number and title of the check.
        count: how many of its tests.
    """

    check: str
    section: str
    title: str
    count: int

    def as_json(self) -> dict[str, str | int]:
        """The part as JSON."""
        return {"id": self.check, "section": self.section, "title": self.title, "count": self.count}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what there is to judge was judged.

    Attributes:
        judged: tests that came to a verdict, within the effects that the run allows.
        expected: tests that a whole run judges.
        left_out: what was not looked at, in the guide's order.
        reasons: why, such as ``-k dns`` or ``effect static``.
    """

    judged: int = 0
    expected: int = 0
    left_out: tuple[Part, ...] = ()
    reasons: tuple[str, ...] = field(default=())

    @property
    def whole(self) -> bool:
        """Whether everything was looked at that a whole run looks at."""
        return not self.left_out

    @property
    def sentence(self) -> str:
        """``20 of 258 checks judged (effect static)``."""
        why = f" ({', '.join(self.reasons)})" if self.reasons else ""
        return f"{self.judged} of {self.expected} checks judged{why}"

    def by_section(self) -> Mapping[str, tuple[Part, ...]]:
        """What was not looked at, by the titles of the guide's sections."""
        sections: dict[str, tuple[Part, ...]] = {}
        for part in self.left_out:
            sections[part.section] = (*sections.get(part.section, ()), part)
        return sections

    def sections(self) -> str:
        """What was not looked at, as ``2.2 (1), 2.4 (46)`` by the guide's sections."""
        counts: Counter[str] = Counter()
        for title, parts in self.by_section().items():
            numbers = re.match(r"\d[\d., ]*", title)
            counts[numbers[0].rstrip(", ") if numbers else title] += sum(part.count for part in parts)
        return ", ".join(f"{section} ({count})" for section, count in counts.items())

    def lines(self) -> Iterator[str]:
        """What was not looked at, a line for each section of the guide."""
        for section, parts in self.by_section().items():
            count = sum(part.count for part in parts)
            yield f"{section}: {count} {'check' if count == 1 else 'checks'}"


def needed_effect(inventory: Inventory) -> Effect:
    """The effect of a whole run: writing is opt-in, and privileged pods are for Docker-in-Docker alone."""
    return Effect.PROBE if inventory.dind == "none" else Effect.PRIVILEGED


def declared(folder: Path) -> tuple[DeclaredCheck, ...]:
    """The checks below a folder, in the guide's order; what is no check of the guide's form is left out."""
    order = list(guide.MODULES)
    files = sorted(folder.rglob("test_*.py"), key=lambda file: (_place(file.stem, order), file.name))
    return tuple(check for file in files for check in _declared_in(file))


def _place(stem: str, order: list[str]) -> int:
    return order.index(stem) if stem in order else len(order)


def _declared_in(file: Path) -> Iterable[DeclaredCheck]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return  # collecting it fails, and says why
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test"):
            continue
        try:
            paragraph = guide.paragraph(ast.get_docstring(node) or "")
        except ValueError:
            continue
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        facts = tuple(name for name in names if name in CATALOGUE)
        kinds = {kind for name in facts for kind in CATALOGUE[name].targets} | (set(names) & TARGETS.keys())
        yield DeclaredCheck(
            id=node.name,
            module=file.stem,
            paragraph=paragraph,
            facts=facts,
            kinds=tuple(sorted(kinds)),
            stages=tuple(_stages(node)),
            advice=any("mark.advice" in ast.unparse(decorator) for decorator in node.decorator_list),
        )


def _stages(node: ast.FunctionDef) -> Iterable[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("mark.stage"):
            yield from (str(word.value) for word in decorator.args if isinstance(word, ast.Constant))


def measure(
    checks: Iterable[DeclaredCheck],
    inventory: Inventory,
    *,
    stage: Stage,
    ceiling: Effect,
    collected: Mapping[str, int],
    judged: Mapping[str, int],
    reasons: Iterable[str] = (),
) -> Coverage:
    """Compare what was judged with what there is.

    Args:
        checks: those of the guide.
        inventory: whose targets they are judged for.
        stage: where in the release's life the run stands.
        ceiling: the effect that the run allows.
        collected: how many tests of each check pytest collected, before any were deselected.
        judged: how many tests of each check came to a verdict, without those above the ceiling.
        reasons: what the command line selected, or what ended the run early.
    """
    whole_up_to = max(needed_effect(inventory), ceiling, key=lambda effect: effect.rank)
    expected, left_out, above = 0, [], False
    for check in checks:
        if not check.belongs_to(stage) or check.effect.rank > whole_up_to.rank:
            continue
        count = max(check.count(inventory), collected.get(check.id, 0))
        expected += count
        missing = count - judged.get(check.id, 0)
        if missing > 0:
            above = above or check.effect.rank > ceiling.rank
            title = guide.MODULES.get(check.module, check.module)
            left_out.append(Part(check.id, title, f"{check.paragraph.number} {check.paragraph.title}", missing))
    why = [*reasons, *([f"effect {ceiling}"] if above else [])]
    missed = sum(part.count for part in left_out)
    return Coverage(expected - missed, expected, tuple(left_out), tuple(why) if left_out else ())
