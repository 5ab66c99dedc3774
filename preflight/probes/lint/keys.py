"""Keys of the values that the chart does not read, or that hold a value of another form than it reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from preflight.charts import Keys, Tree
from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding, chart_finding
from preflight.runner_config import RunnerKeys, spoken
from preflight.values import Values
from preflight.yamlfile import KeyPath, format_path

_FLAT = ("nameservers", "dns_policy", "dnsPolicy", "dns_config", "dnsConfig", "searches")


def check_chart_keys(values: Values, chart: Keys) -> Iterator[Finding]:
    """Keys of the YAML that the chart does not read, reads in another form, or reads twice."""
    for path in _unread(values.tree, chart.tree, ()):
        name, origin = format_path(path), values.origin(path)
        if moved := chart.moved.get(name):
            where = "" if moved["instead"].startswith("rbac.") else " in runners.config"
            message = f"the chart ignores it since {moved['since']}: write {moved['instead']}{where}"
            yield chart_finding(values, ValuesFault.MOVED_KEY, name, message, origin=origin)
        elif path[-1] in _FLAT:
            message = (
                "the chart ignores it: write dns_policy, and nameservers below [runners.kubernetes.dns_config], "
                "in runners.config"
            )
            yield chart_finding(values, ValuesFault.FLAT_NAMESERVERS, name, message, origin=origin)
        else:
            fault = ValuesFault.NOT_KNOWN if chart.newer_than_tables else ValuesFault.UNKNOWN_KEY
            message = _chart_hint(path, chart, values.runner_keys)
            yield chart_finding(values, fault, name, message, origin=origin)
    for name, retired in chart.retired.items():
        if values.get(name) not in (None, ""):
            message = (
                f"not in the chart's values since {retired['since']}, and void with a token of the kind glrt-…: "
                f"set it on {retired['instead']}"
            )
            yield chart_finding(values, ValuesFault.NO_EFFECT, name, message)
    for path, value, form in _misformed(values.tree, chart.tree, ()):
        message = f"the chart reads {_FORMS[form]} here, and finds {_form(value)}"
        yield chart_finding(values, ValuesFault.WRONG_FORM, format_path(path), message, origin=values.origin(path))
    for name, origin in values.duplicates:
        message = "stands twice in this file; Helm silently takes the last one"
        yield chart_finding(values, ValuesFault.TWICE, name, message, origin=origin)


def _names(path: KeyPath) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))


# ---- walking the values beside the tree of known keys ----------------------------------------------------------------


def _unread(node: Mapping[str, Any], tree: Tree, path: KeyPath) -> Iterator[KeyPath]:
    """The outermost keys that the tree does not know."""
    for key, value in node.items():
        steps = (*path, str(key))
        known = tree.get(str(key))
        if known is None:
            yield steps
        elif isinstance(known, Mapping):
            for index, inner in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(inner, Mapping):
                    yield from _unread(inner, known, (*steps, index) if isinstance(value, list) else steps)


def _misformed(node: Mapping[str, Any], tree: Tree, path: KeyPath) -> Iterator[tuple[KeyPath, Any, str]]:
    """The known keys whose value is of another form than the one that is read."""
    for key, value in node.items():
        known = tree.get(str(key))
        steps = (*path, str(key))
        if known is None or value is None:
            continue
        if isinstance(known, Mapping):
            entries = value if isinstance(value, list) else [value]
            if not all(isinstance(entry, Mapping) for entry in entries):
                yield steps, value, "keys"
            for entry in entries:
                if isinstance(entry, Mapping):
                    yield from _misformed(entry, known, steps)
        elif not _FITS[known](value):
            yield steps, value, known


def is_whole_number(value: Any) -> bool:
    """Whether a value is an integer, which a Boolean is to Python and not to TOML."""
    return isinstance(value, int) and not isinstance(value, bool)


def _numeric(value: Any) -> bool:
    return is_whole_number(value) or (isinstance(value, str) and (value.isdigit() or "{{" in value))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str | int | float),
    "number": _numeric,
    # Any text is true to a template, "false" as well.
    "switch": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, Mapping),
    "any": lambda _: True,
}
_FORMS = {
    "text": "text",
    "number": "a whole number",
    "switch": "true or false",
    "list": "a list",
    "map": "names with text",
    "keys": "a table of its own keys",
}


def _form(value: Any) -> str:
    forms = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (list, "a list"))
    return next((name for kind, name in forms if isinstance(value, kind)), "keys with values")


def _subtree(tree: Tree, path: Sequence[str]) -> Tree:
    for step in path:
        inner = tree.get(step)
        if not isinstance(inner, Mapping):
            return {}
        tree = inner
    return tree


def _leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))


def snake_case(name: str) -> str:
    """``dnsPolicy`` as the runner's TOML spells its keys: ``dns_policy``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _alike(name: str, known: Tree) -> str | None:
    """The known name that differs in case, hyphens and underscores alone."""
    plain = {re.sub(r"[_\-]", "", candidate).lower(): candidate for candidate in known}
    return plain.get(re.sub(r"[_\-]", "", name).lower())


def _near(name: str, known: Tree) -> str | None:
    """The known name that a misspelt one comes nearest to."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _chart_hint(path: KeyPath, chart: Keys, runner: RunnerKeys) -> str:
    message = f"the chart {chart.version} reads no such key"
    *around, key = _names(path)
    siblings = _subtree(chart.tree, around)
    if near := _alike(key, siblings):
        return f"{message}; did you mean {'.'.join([*around, near])}?"
    if len(elsewhere := [leaf for leaf in _leaves(chart.tree) if leaf[-1] == key]) == 1:
        return f"{message} here; it is {'.'.join(elsewhere[0])}"
    inner = [known.path for known in runner.each() if known.path[-1] in {key, snake_case(key)} and len(known.path) > 1]
    if inner:
        nearest = min(inner, key=lambda path: (path[:2] != ("runners", "kubernetes"), len(path)))
        return f"{message}; the runner reads {spoken(nearest)} in runners.config"
    if near := _near(key, siblings):
        return f"{message}; did you mean {'.'.join([*around, near])}?"
    return message
