"""Write the generated pages of docs/: ``python docs/generate.py``; a test compares them with what they are made of."""

from __future__ import annotations

import ast
import json
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lab import faults
from preflight import facts, guide, renamed, symptoms, translation
from preflight.conclusions.model import CAUSES, RULES
from preflight.conclusions.rules import draw
from preflight.fact import CATALOGUE, Effect
from preflight.impact import Harm
from preflight.inventory import Inventory
from preflight.inventory_forms import Secret
from preflight.verdicts import EXIT_STATUSES

DOCS = Path(__file__).parent
CHECKS = DOCS.parent / "checks"


_INVENTORY = (
    "# The inventory",
    "",
    "Generated from `preflight/inventory.py` by `python docs/generate.py`. The example is `inventory.yaml`; its",
    "first line names the JSON Schema for editors. Relative paths are relative to the inventory. Secrets are given",
    "by reference: `${NAME}` (environment), `${NAME:-}` (optional), `file:path`, or `secret:namespace/name/key`",
    "(read from the cluster).",
    "",
)
_INVENTORY_IN_CHINESE = (
    "# 清单",
    "",
    "由 `python docs/generate.py` 根据 `preflight/inventory.py` 生成。示例为 `inventory.yaml`，其第一行指明供编辑器使用的",
    "JSON Schema。相对路径以清单所在位置为准。机密只以引用给出：`${NAME}`（环境变量）、`${NAME:-}`（可以没有）、",
    "`file:path` 或 `secret:namespace/name/key`（从集群读取）。",
    "",
)
_FORMS_IN_CHINESE = {
    "Top level": "顶层",
    "| key | form | default | meaning |": "| 键 | 形式 | 默认值 | 含义 |",
    "required": "必填",
    "`its defaults`": "其自身的默认值",
    "keys": "键值对",
    "text": "文本",
    "whole number": "整数",
    "number": "数字",
    "true or false": "true 或 false",
    "path": "路径",
    "reference to a secret": "机密的引用",
}


def _in_chinese(text: str) -> str:
    """A description, or the form of a value, in Chinese."""
    if text in _FORMS_IN_CHINESE:
        return _FORMS_IN_CHINESE[text]
    for english, chinese in (("list of ", "{}的列表"), ("names with ", "名称及其{}")):
        if text.startswith(english) and " or " not in text:
            return chinese.format(_in_chinese(text.removeprefix(english)))
    if " or " in text and all(form.startswith("`") or _is_form(form) for form in text.split(" or ")):
        return "或".join(
            f" {form} " if form.startswith("`") else _in_chinese(form) for form in text.split(" or ")
        ).strip()
    return translation.catalogue("zh").text(text)


def _is_form(text: str) -> bool:
    return text.removeprefix("list of ").removeprefix("names with ") in _FORMS_IN_CHINESE


def inventory_page(head: tuple[str, ...] = _INVENTORY, say: Callable[[str], str] = str) -> str:
    """The inventory's reference, from its model; `say` gives its words in another language."""
    lines = [*head]
    done: list[type[BaseModel]] = []
    pending: list[tuple[str, type[BaseModel]]] = [("", Inventory)]
    while pending:
        path, section = pending.pop(0)
        if section in done:
            continue
        done.append(section)
        lines += [f"## {path or say('Top level')}", "", say(" ".join((section.__doc__ or "").split())), ""]
        lines += [say("| key | form | default | meaning |"), "|---|---|---|---|"]
        for name, field in section.model_fields.items():
            inner = f"{path}.{name}".lstrip(".")
            required = field.default is PydanticUndefined and field.default_factory is None
            default = say("required" if required else f"`{_default(field.default)}`")
            meaning = say(field.description or "")
            lines.append(f"| `{name}` | {say(_form(field.annotation))} | {default} | {meaning} |")
            for kind, suffix in _sections(field.annotation):
                pending.append((inner + suffix, kind))
        lines.append("")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    return str(value) if not isinstance(value, float) else f"{value:g}"


def _sections(annotation: Any, suffix: str = "") -> list[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__") and issubclass(annotation, BaseModel):
        return [(annotation, suffix)]
    origin = typing.get_origin(annotation)
    inner = {dict: ".NAME", list: "[]"}.get(origin, "") if origin else ""
    return [section for argument in typing.get_args(annotation) for section in _sections(argument, suffix + inner)]


def _form(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _form(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_form(argument) for argument in arguments if argument is not type(None))
    if origin is list:
        return f"list of {_form(arguments[0])}"
    if origin is dict:
        return f"names with {_form(arguments[1])}"
    if annotation is Secret:
        return "reference to a secret"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}
    return names.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def checks_page() -> str:
    """All checks by section, with why, effect and remedies."""
    lines = [
        "# The checks",
        "",
        "Generated from `checks/` by `python docs/generate.py`. A check's id is its function's name. Its effect is the",
        f"most that it does to the world: {' < '.join(Effect)} (`--effect` is the ceiling).",
        "",
    ]
    section = ""
    for module in guide.MODULES:
        path = CHECKS / f"{module}.py"
        if not path.exists():
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            paragraph = guide.paragraph(ast.get_docstring(node) or "")
            if paragraph.section != section:
                section = paragraph.section
                lines += [f'<a id="section-{section.replace(".", "-")}"></a>', f"## Section {section} of the guide", ""]
            used = [argument.arg for argument in node.args.args if argument.arg in CATALOGUE]
            effect = max([Effect.STATIC, *(CATALOGUE[name].effect for name in used)], key=lambda effect: effect.rank)
            advice = any("advice" in ast.unparse(decorator) for decorator in node.decorator_list)
            lines += [f"### {paragraph.number} {paragraph.title}", ""]
            lines += [
                f"`{node.name}` · `-m {guide.marker(module)}` · effect `{effect}`" + (" · advice" if advice else "")
            ]
            lines += ["", paragraph.why, ""]
            lines += [f"- {f'`{key}`: ' if key else ''}{remedy}" for key, remedy in paragraph.remedies.items()]
            lines.append("")
    return "\n".join(lines)


def faults_page() -> str:
    """The lab's faults."""
    lines = [
        "# Faults of the lab",
        "",
        "Generated from `lab/faults/` by `python docs/generate.py`. Switch one on with",
        "`pytest checks/ --lab --lab-fault NAME` (repeatable).",
        "",
        "| name | what is broken |",
        "|---|---|",
        *(f"| `{name}` | {fault.sentence} |" for name, fault in faults.known().items()),
        "",
    ]
    return "\n".join(lines)


def check_numbers() -> dict[str, str]:
    """The number of each check, by its id."""
    return {node.name: guide.paragraph(ast.get_docstring(node) or "").number for _, node in _check_functions()}


def _check_functions() -> list[tuple[str, ast.FunctionDef]]:
    """Every check, with its module."""
    return [
        (module, node)
        for module in guide.MODULES
        if (path := CHECKS / f"{module}.py").exists()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]


KINDS = ("run", "expect", "set", "do")
"""What a row of the guide is: a command, its output, a setting, a step by hand."""


def coverage() -> dict[str, Any]:
    """The guide's commands and expectations with the checks that cover them."""
    table: dict[str, Any] = yaml.safe_load((DOCS / "coverage.yaml").read_text(encoding="utf-8"))
    return table


def coverage_page() -> str:
    """Every command and expectation of the guide, and the checks that cover it."""
    numbers = check_numbers()
    rows = [row for section in coverage()["sections"].values() for row in section]
    uncovered = sum(1 for row in rows if not row.get("checks"))
    lines = [
        "# What of the guide is checked",
        "",
        "Generated from `docs/coverage.yaml` by `python docs/generate.py`: every command, expected output, setting and",
        f"step of the deployment guide in its order. Of {len(rows)}, {len(rows) - uncovered} are covered by checks;",
        "of the others it is said why none can.",
        "",
    ]
    for section, listed in coverage()["sections"].items():
        lines += [f"## {section}", "", "| | the guide says | covered by |", "|---|---|---|"]
        for row in listed:
            kind = next(kind for kind in KINDS if kind in row)
            text = str(row[kind]).replace("|", "\\|")
            text = f"`{text}`" if kind in {"run", "set"} else text
            checks = [f"{numbers.get(name, '')} `{name}`".strip() for name in row.get("checks", ())]
            covered_by = [*checks, *([row["why"]] if row.get("why") else [])]
            lines.append(f"| {kind} | {text} | {'<br>'.join(covered_by)} |")
        lines.append("")
    return "\n".join(lines)


def conclusions_page() -> str:
    """Every kind of root cause, from the rules."""
    lines = [
        "# Conclusions",
        "",
        "Generated from `preflight/conclusions/` by `python docs/generate.py`.",
        "",
        "After the checks, rules look at all facts together and name root causes. A rule is a pure function of what",
        "was measured; it claims no more than the facts support. A conclusion is *certain* where the facts leave no",
        "other cause, and *likely* otherwise; then it names what would settle it. Where vantages are missing, a rule",
        "falls back on a more general cause (the last column). What one rule has explained, no later one explains",
        "again.",
        "",
        "Rules over several vantages:",
        "",
    ]
    lines += [f"- {(rule.__doc__ or rule.__name__).strip().splitlines()[0]}" for rule in RULES]
    lines += ["", "| root cause | section | source | more general |", "|---|---|---|---|"]
    ordered = sorted(CAUSES.values(), key=lambda cause: ([int(part) for part in cause.section.split(".")], cause.name))
    for cause in ordered:
        general = ", ".join(f"`{name}`" for name in cause.specialises)
        lines.append(f"| `{cause.name}` | {cause.section} | [{cause.source}](sources.md#{cause.source}) | {general} |")
    lines += [
        "",
        "## A rule of your own",
        "",
        "A cause that one fact shows by itself is a row. Its source is an anchor of [sources.md](sources.md), and",
        "names in braces in its remedy are replaced by the environment's own (`names_of` in `single_fact.py`). Its",
        "second argument says what it does to jobs, from the facts (`impacts.py`; [verdicts.md](verdicts.md)):",
        "",
        "```python",
        "single(",
        '    cause("node-pressure", "2.3", "node-conditions"),',
        "    room,",
        "    node_pressure,",
        "    faults=(ClusterFault.NODE_PRESSURE,),",
        '    remedy=("on {nodes}: `df -h`, `crictl rmi --prune`",),',
        ")",
        "```",
        "",
        "A cause that only several vantages show is a function, decorated with `rule`, from `Facts` to conclusions,",
        "each with its `impact`;",
        "`preflight/conclusions/paths.py` is the one to read. `Facts` never takes *unknown* for *healthy*: use",
        "`healthy`, `faulty` or `unknown` of an observation. `tests/conclusions/` hides facts at random and fails a",
        "rule whose conclusion the whole does not confirm.",
    ]
    return "\n".join(lines)


def inventory_page_in_chinese() -> str:
    """The same in Chinese."""
    return inventory_page(_INVENTORY_IN_CHINESE, _in_chinese)


def verdicts_page_in_chinese() -> str:
    """Verdicts, impacts and exit statuses in Chinese."""
    say = translation.catalogue("zh").text
    verdict = {Harm.STOPS: "NO GO", Harm.NONE: "GO；影响未知时为 INCONCLUSIVE"}
    names = {Harm.STOPS: "无法运行", Harm.SLOWS: "变慢"}
    return "\n".join(
        [
            "# 结论与退出状态",
            "",
            "由 `python docs/generate.py` 根据 `preflight/verdicts.py` 和 `preflight/impact.py` 生成。",
            "",
            "GO 的含义是：用这些 values，在这些节点上，这个 Runner 的 job 能够运行。因此结论取决于问题对 job 的影响，而不是失败检查的",
            "数量。每个根因都根据测量到的事实说明其影响，并按影响从大到小列出：",
            "",
            "| 影响 | job 会怎样 | 结论 |",
            "|---|---|---|",
            *(
                f"| {names.get(harm) or say(str(harm))} | {say(harm.meaning)} | {verdict.get(harm, 'DEGRADED')} |"
                for harm in Harm
            ),
            "",
            "- 没有根因能解释的失败检查，按“job 无法运行”计（如果它针对某个节点，则为该节点上的 job）：未知的影响不能当作没有影响。",
            "  不再需要的豁免按“失去余量”计。",
            "- 对 job 没有影响的失败检查仍算失败（`F`，在 JUnit 中为 failure），但仅有它时结论仍为 GO。",
            "- INCONCLUSIVE 优先于 DEGRADED：无法判定的部分可能会让 job 无法运行。",
            "- 建议和已豁免的问题也有影响说明，但不改变结论。",
            "",
            "## 部分检查",
            "",
            "`-k`、`-m`、单个检查名、`--deselect`、`--symptom`、低于清单所需的 `--effect`（`privileged`；`dind: none` 时为 `probe`）、",
            "`-x`、`--maxfail` 以及中断，都会使运行成为部分检查。所有输出都会写明 `PARTIAL`、已判定的数量和未检查的部分，报告名为",
            "`preflight-partial.*`（除非给出 `--report-dir`），因此不会覆盖完整运行的报告。只有完整运行才会得出 GO。`--effect write`",
            "需要主动启用：完整运行不要求它。",
            "",
            '没有问题的部分检查以 0 退出。不允许以部分检查通过的流水线，可检查 `--summary json` 中的 `"partial": true`。',
            "",
            "## 退出状态",
            "",
            "| 状态 | 结论 | 含义 |",
            "|---|---|---|",
            *(
                f"| {status} | {'无' if name == 'none' else name} | {say(meaning)} |"
                for status, name, meaning in EXIT_STATUSES
            ),
            "",
            "`--allow-degraded` 让 DEGRADED 以 0 退出，供允许 job 运行变差的流水线使用；结论本身不变。",
        ]
    )


def verdicts_page() -> str:
    """What a run comes to, the impact on jobs that decides it, and every exit status."""
    lines = [
        "# Verdicts and exit statuses",
        "",
        "Generated from `preflight/verdicts.py` and `preflight/impact.py` by `python docs/generate.py`.",
        "",
        "GO means: a job of this runner, with these values, on these nodes, would run. So the verdict follows the",
        "impact on jobs of what is wrong, and not the number of failed checks. Every root cause states its impact,",
        "from the facts that show it, and root causes are listed in its order:",
        "",
        "| impact | what happens to jobs | verdict |",
        "|---|---|---|",
    ]
    verdict = {Harm.STOPS: "NO GO", Harm.NONE: "GO; INCONCLUSIVE where it is not seen"}
    lines += [f"| {harm} | {harm.meaning} | {verdict.get(harm, 'DEGRADED')} |" for harm in Harm]
    lines += [
        "",
        "- A failed check that no root cause explains counts as stopping jobs (those on its node, if it is of one):",
        "  harm that is not known must not read as none. A waiver that is no longer needed removes a reserve.",
        "- A failed check of no harm stays failed (`F`, and a failure in JUnit), and alone leaves the verdict GO.",
        "- INCONCLUSIVE outranks DEGRADED: what could not be judged may stop jobs. What can't be judged because of",
        "  a fault whose impact is known (checks on a node that is cordoned) is explained by it, and is not open; what",
        "  this machine can't see of GitLab, which the cluster reaches, is.",
        "- Advice and waived findings have an impact too, and change no verdict.",
        "",
        "## A run of a part",
        "",
        "`-k`, `-m`, a check's name, `--deselect`, `--symptom`, `--effect` below what the inventory needs",
        "(`privileged`, or `probe` with `dind: none`), `-x`, `--maxfail` and an interrupt make a run of a part. It",
        "says `PARTIAL: 20 of 258 checks judged (effect static)` in every output, lists what was not looked at, and",
        "names its reports `preflight-partial.*`, unless `--report-dir` is given, so that it never replaces the",
        "report of a whole run. GO is said of a whole run alone. `--effect write` is opt-in: no whole run needs it.",
        "",
        "A part in which nothing is wrong ends with 0. Whoever gates a pipeline with `--effect read` has chosen what",
        "is looked at, and needs to know whether that is in order; whoever uses pytest's `-k` expects the same. A",
        'gate that must not pass on a part asks for it: `--summary json` says `"partial": true`. Nothing but a',
        "deliberate selection leads to a clean part: a run that `-x` stops has failed, an interrupted one ends with 2.",
        "",
        "## Exit statuses",
        "",
        "| status | verdict | means |",
        "|---|---|---|",
        *(f"| {status} | {name} | {meaning} |" for status, name, meaning in EXIT_STATUSES),
        "",
        "`--allow-degraded` makes DEGRADED end with 0, for a gate that lets jobs run worse; the verdict stays so.",
    ]
    return "\n".join(lines)


def symptoms_page() -> str:
    """Every symptom that `--symptom` knows, area by area, with what it can mean and the checks that tell."""
    numbers = check_numbers()
    every = symptoms.known()
    lines = [
        "# The symptoms",
        "",
        "Generated from `preflight/symptoms/*.yaml` by `python docs/generate.py`.",
        "`python -m preflight symptom LOG` (or `-` for standard input; `--json`) finds these in a log of a",
        "job or manager, and says what they can mean; of a text that holds none of them, which it",
        "resembles. `pytest checks/ --inventory prod.yaml --symptom 'TEXT'` (or",
        "`--symptom -` with a whole log on standard input) then runs the checks named here and no other, and says",
        "which meaning is confirmed, ruled out or open.",
        "",
        "Of a whole log the first symptom leads that names what has failed, in the stage that failed; later ones are",
        "its echo. A stage that the log has gone beyond rules out what would have stopped it; of a script, so does its",
        "next command (`$ …`), since the first that fails is the last. *General* ones only tell",
        "that something failed, *fallback* ones say least; *warnings* are told of jobs that succeed too; *harmless*",
        "ones are no fault.",
        "",
        "A line that none of these entries knows is read by its form: whether it is an error, who says it, of which",
        "system and host it speaks, and what happened, of a list of kinds that nearly all errors are made of",
        "([What any program says](#what-any-program-says), *grammar*). Where the system can't be told, none is named.",
        "*Unclassified* is an error of the script's own programs that is of none of these kinds.",
        "",
    ]
    lines += [f"- [{title}](#{_anchor(title)})" for title in symptoms.areas().values()]
    for area, title in symptoms.areas().items():
        lines += ["", f"## {title}"]
        for symptom in (entry for entry in every if entry.area == area):
            lines += ["", f"### {symptom.id}", ""]
            notes = [
                str(symptom.kind),
                *([f"stage {symptom.stage}"] if symptom.stage else []),
                f"[source]({symptom.url})",
            ]
            notes += [f"[row {', '.join(symptom.rows)}](sources.md)"] if symptom.rows else []
            lines += [" · ".join(notes), ""]
            lines += [f"- `` {sample.line} `` ({sample.source})" for sample in symptom.samples]
            lines += ["", "| it can mean that | how to fix it | told by |", "|---|---|---|"]
            for candidate in symptom.candidates:
                settling = [f"{numbers[name]} `{name}`" for name in candidate.checks]
                settling += [f"`{candidate.look}`"] if candidate.look else []
                cells = (candidate.says, candidate.remedy, "<br>".join(settling) or "the root causes of a run")
                cells = tuple(symptoms.grammar.of_any_host(cell).replace("|", chr(92) + "|") for cell in cells)
                lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## What no text shows", ""]
    lines += [f"- [{row}] {sentence}" for row, sentence in symptoms.without_text().items()]
    return "\n".join(lines)


def renamed_page() -> str:
    """Ids that were renamed, from old to new."""
    lines = [
        "# Renamed ids",
        "",
        "Generated from `preflight/renamed.py` by `python docs/generate.py`.",
        "",
        "A waiver of an inventory that names a check by its old id applies to the check under its new id, and a note",
        "at the end of the run says what to change. A report of an older run is compared (`--baseline`) under the new",
        "ids, and each line gives the old one. Old ids are accepted nowhere else: `pytest -k` does not know them.",
    ]
    for title, table in (("Checks", renamed.CHECKS), ("Root causes", renamed.CAUSES)):
        lines += ["", f"## {title}", "", "| before | now |", "|---|---|"]
        lines += [f"| `{before}` | `{now}` |" for before, now in sorted(table.items())]
    return "\n".join(lines)


def _anchor(title: str) -> str:
    """The anchor that a page of Markdown gives a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


PAGES = {
    "conclusions.md": conclusions_page,
    "verdicts.md": verdicts_page,
    "inventory.md": inventory_page,
    "zh/inventory.md": inventory_page_in_chinese,
    "zh/verdicts.md": verdicts_page_in_chinese,
    "checks.md": checks_page,
    "faults.md": faults_page,
    "coverage.md": coverage_page,
    "symptoms.md": symptoms_page,
    "renamed.md": renamed_page,
}
SCHEMA = DOCS.parent / "preflight" / "inventory.schema.json"


def main() -> int:
    """Write every page, and the JSON Schema; returns the exit status."""
    assert draw.__doc__, "the rules are registered when they are imported"  # noqa: S101
    assert facts.__doc__, "the facts are registered when they are imported"  # noqa: S101 - says why it is imported
    for name, page in PAGES.items():
        (DOCS / name).write_text(page().rstrip() + "\n", encoding="utf-8")
    SCHEMA.write_text(json.dumps(Inventory.model_json_schema(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
