"""Read YAML: with libyaml where it is installed, which is many times as fast, and with one kind of error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

_BRACKETS = 1000
_MOST_COPIES = 50_000  # nodes that aliases may add to a document
_DEEPEST = 100  # levels
_DEEP_IN_ONE_LINE = re.compile(r"(?:[-?:][ \t]+){200}")
_UNFIT = (ValueError, TypeError, AttributeError, LookupError, OverflowError)


def load_yaml(text: str) -> Any:
    """The document in a text.

    Raises:
        yaml.YAMLError: it is not YAML, or more than one document; also for what the library reports by other
            exceptions, such as a date that does not exist, a value that its tag does not fit, or too deep nesting.
    """

    def constructed(loader: Any) -> Any:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(_bounded(node))

    return _read(text, constructed)


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of the document in a text, with their places; None if it is empty. Errors as in `load_yaml`."""
    node: yaml.Node | None = _read(text, lambda loader: loader.get_single_node())
    return None if node is None else _bounded(node)


def compose_documents(text: str) -> list[yaml.Node]:
    """The nodes of every document in a text, but for those that are empty. Errors as in `load_yaml`."""

    def composed(loader: Any) -> list[yaml.Node]:
        nodes: list[yaml.Node] = []
        while loader.check_node():
            nodes.append(_bounded(loader.get_node()))
        return nodes

    nodes: list[yaml.Node] = _read(text, composed)
    return [node for node in nodes if node.tag != "tag:yaml.org,2002:null"]


class TooLargeError(yaml.MarkedYAMLError):
    """A document is deeper, or larger once its aliases are put in, than any configuration."""

    def __init__(self, problem: str, mark: yaml.Mark | None) -> None:
        super().__init__(problem=problem, problem_mark=mark)

    def __str__(self) -> str:
        return str(self.problem)


def _bounded(root: yaml.Node) -> yaml.Node:
    """The same node, unless aliases make far more of it than stands there, or it nests too deep.

    A node that several aliases stand for is counted once for each, but looked at once.

    Raises:
        TooLargeError: with the line of the first node that is too large.
    """
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    opened: set[int] = set()
    waiting = [(root, False)]
    while waiting:
        node, ready = waiting.pop()
        key = id(node)
        if key in sizes:
            continue
        children = _children(node)
        if not ready and children:
            if key in opened:
                raise TooLargeError("an alias stands within what it stands for", node.start_mark)
            opened.add(key)
            waiting.append((node, True))
            waiting += [(child, False) for child in children]
            continue
        sizes[key] = 1 + sum(sizes[id(child)] for child in children)
        depths[key] = 1 + max((depths[id(child)] for child in children), default=0)
        if sizes[key] - len(sizes) > _MOST_COPIES:
            raise TooLargeError(f"aliases make more than {_MOST_COPIES} further nodes of it", node.start_mark)
        if depths[key] > _DEEPEST:
            raise TooLargeError(f"it nests deeper than {_DEEPEST} levels", node.start_mark)
    return root


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def line_and_words(error: yaml.YAMLError) -> tuple[int | None, str]:
    """The line at which a text is not YAML, if known, and why: without an alias or a tag, which may be a secret."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return None, str(error).splitlines()[0]
    mark = error.problem_mark or error.context_mark
    reason = re.sub(r"(alias|anchor|tag|tag handle) '.*'", r"\1", str(error.problem or error.context), flags=re.DOTALL)
    return (mark.line + 1 if mark else None), reason


def _read(text: str, take: Callable[[Any], Any]) -> Any:
    try:
        loader = _loader(text)(text)
        try:
            return take(loader)
        finally:
            loader.dispose()
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise TooLargeError("it nests too deep", None) from None
    except _UNFIT as error:  # its message may quote a secret, such as "invalid literal for int: 'glrt-…'"
        quotes = "'" in str(error) or isinstance(error, LookupError)
        message = "a value does not fit its tag" if quotes else str(error).splitlines()[0]
        raise yaml.YAMLError(message) from None


def _loader(text: str) -> Any:
    """libyaml, but for a text that could nest so deep that libyaml's recursion would end the whole process."""
    deep = text.count("[") + text.count("{") > _BRACKETS or _DEEP_IN_ONE_LINE.search(text)
    return yaml.SafeLoader if deep else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
