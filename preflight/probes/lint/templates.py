"""Helm's template expressions in ``runners.config``: evaluated before the runner reads the TOML."""

from __future__ import annotations

import re
from collections.abc import Iterator

from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding
from preflight.values import TEMPLATE, Values

_VALUES = re.compile(r"\.Values\.([A-Za-z0-9_.]+)")
_ROOTS = re.compile(r"^\$?\.(?:Values|Release|Chart|Capabilities|Template|Files|Subcharts)\b")
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
    for number, line in enumerate(values.text.splitlines(), start=1):
        for expression in TEMPLATE.finditer(line):
            if problem := _misread(expression["body"], values):
                place = str(values.origin("runners.config").inside(number))
                message = f"Helm evaluates {expression[0]} before the runner sees it: {problem}; "
                message += 'to hand it on as it is, write {{ "{{" }} for its opening braces'
                yield Finding(
                    fault=ValuesFault.TEMPLATE, reader="runner", path="runners.config", place=place, message=message
                )


def _misread(body: str, values: Values) -> str:
    """What is wrong with a template expression; empty if Helm makes something of it."""
    if not body or body.startswith(("/*", '"', "`", "$")):
        return ""
    first = body.split(maxsplit=1)[0].strip("()")
    if first.startswith("."):
        if first != "." and not _ROOTS.match(first):
            return f"{first} has no value there"
    elif first not in _FUNCTIONS:
        return f'it fails with: function "{first}" not defined'
    names = _VALUES.findall(body)
    if names and "default" not in body and len(body.split()) == 1 and values.get(names[0]) is None:
        return f"{names[0]} is not set in the values, so nothing is left of it"
    return ""
