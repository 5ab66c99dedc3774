"""Helm's template expressions in ``runners.config``: evaluated before the runner reads the TOML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from preflight.evidence import one_line
from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding
from preflight.values import CHART_DEFAULTS, TEMPLATE, Values, merge

_VALUES = re.compile(r"\.Values\.([A-Za-z0-9_.]+)")
_ROOTS = re.compile(r"^\$?\.(?:Values|Release|Chart|Capabilities|Template|Files|Subcharts)\b")
_BLOCKS = frozenset({"if", "with", "range", "define", "block"})
_FUNCTIONS = frozenset(
    "default quote squote printf print include tpl toYaml toJson fromYaml indent nindent trim trimSuffix trimPrefix "
    "lower upper title replace b64enc b64dec join splitList list dict get hasKey required fail lookup coalesce ternary "
    "int int64 float64 add sub mul div max min len index first last empty not and or eq ne lt le gt ge if else end "
    "with range define template block break continue contains hasPrefix hasSuffix regexMatch regexReplaceAll "
    "sha256sum date now randAlphaNum toString merge mergeOverwrite set unset pick omit until trunc substr cat repeat "
    "nospace".split()
)


def check_templates(values: Values) -> Iterator[Finding]:
    """Expressions that Helm would refuse, or render to nothing, where the text means them for somebody else."""
    if values.refused:
        return  # Helm has said so itself
    blocks: list[str] = []
    for expression in TEMPLATE.finditer(values.text):
        word = (expression["body"].split() or [""])[0]
        if word == "end" and blocks:
            blocks.pop()
        problem = _misread(expression["body"], values, moved_dot=not {"with", "range", "define"}.isdisjoint(blocks))
        if word in _BLOCKS:
            blocks.append(word)
        if problem:
            line = values.text.count("\n", 0, expression.start()) + 1
            place = str(values.origin("runners.config").inside(line))
            message = f"Helm evaluates {one_line(expression[0])} before the runner sees it: {problem}; "
            message += 'to hand it on as it is, write {{ "{{" }} for its opening braces'
            yield Finding(
                fault=ValuesFault.TEMPLATE, reader="runner", path="runners.config", place=place, message=message
            )


def _misread(body: str, values: Values, *, moved_dot: bool) -> str:
    """What is wrong with a template expression; empty if Helm makes something of it."""
    if not body or body.startswith(("/*", '"', "`", "$")):
        return ""
    first = body.split(maxsplit=1)[0].strip("()")
    if first.startswith("."):
        if first != "." and not _ROOTS.match(first) and not moved_dot:
            return f"{first} has no value there"
    elif first not in _FUNCTIONS and values.rendering is None:
        return f'it fails with: function "{first}" not defined'
    names = _VALUES.findall(body)
    if names and "default" not in body and len(body.split()) == 1 and _value(values, names[0]) is None:
        return f"{names[0]} is not set in the values, so nothing is left of it"
    return ""


def _value(values: Values, path: str) -> Any:
    """What an expression finds at a key, the chart's defaults included."""
    rendered = values.rendering.values if values.rendering is not None else None
    node: Any = merge(CHART_DEFAULTS, values.tree) if rendered is None else rendered
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
