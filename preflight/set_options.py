"""``--set`` and its relatives, read as Helm reads them: paths and values, and where in a tree of values they belong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def parse_set(text: str) -> dict[str, Any]:
    """Read ``a.b=1,c[0].d=x,e={f,g}`` as ``helm --set`` does; a ValueError says what was expected."""
    tree: dict[str, Any] = {}
    for path, value in parse_pairs(text, "set"):
        set_path(tree, path, value)
    return tree


def parse_pairs(text: str, option: str) -> Iterator[tuple[list[str | int], Any]]:
    """Paths and values of one of helm's options: ``set``, ``set_string``, ``set_json`` or ``set_file``.

    Raises:
        ValueError: it is none; the message says what was expected.
        OSError: the file of ``set_file`` can't be read.
    """
    if option == "set_json":
        yield from _json_pairs(text)
        return
    for pair in _split(text, ",", keep=True) if option != "set_file" else [text]:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            msg = "expected key=value"
            raise ValueError(msg)
        if option == "set_file":
            yield _steps(key), Path(value).read_text(encoding="utf-8")
        else:
            yield _steps(key), _scalar(value, typed=option == "set")


def _json_pairs(text: str) -> Iterator[tuple[list[str | int], Any]]:
    decoder, text = json.JSONDecoder(), text.strip()
    if text.startswith("{"):
        for key, value in json.loads(text).items():
            yield [key], value
        return
    while text:
        key, separator, rest = text.partition("=")
        if not separator or not key.strip():
            msg = "expected key=JSON"
            raise ValueError(msg)
        value, end = decoder.raw_decode(rest.lstrip())
        yield _steps(key), value
        text = rest.lstrip()[end:].lstrip().removeprefix(",").lstrip()


def _steps(key: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in _split(key.strip(), "."):
        name, *indexes = re.split(r"\[(\d+)\]", part)
        steps += [name, *(int(index) for index in indexes if index.isdigit())]
    return steps


def _split(text: str, separator: str, *, keep: bool = False) -> list[str]:
    """Split outside of braces; a backslash escapes the next character, and is kept for a later split."""
    parts, current, depth, escaped = [""], 0, 0, False
    for character in text:
        if escaped:
            parts[current] += f"\\{character}" if keep else character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == separator and depth == 0:
            parts.append("")
            current += 1
        else:
            depth += {"{": 1, "}": -1}.get(character, 0)
            parts[current] += character
    return parts


def _scalar(text: str, *, typed: bool = True) -> Any:
    if text.startswith("{") and text.endswith("}"):
        return [_scalar(item, typed=typed) for item in _split(text[1:-1], ",")] if text != "{}" else []
    text = re.sub(r"\\(.)", r"\1", text)
    if not typed:
        return text
    if text in {"true", "false"}:
        return text == "true"
    if text == "null":
        return None
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text


_LONGEST_LIST = 65_536  # Helm's own bound on an index


def set_path(tree: dict[str, Any], path: Sequence[str | int], value: Any, *, removing: bool = False) -> None:
    """Set what stands at a path, as Helm does: into the lists and tables that are there; null may remove a key."""
    node: Any = tree
    for step, following in zip(path, [*path[1:], None], strict=True):
        if isinstance(step, int):
            if step > _LONGEST_LIST:
                msg = f"expected an index up to {_LONGEST_LIST}"
                raise ValueError(msg)
            node.extend([None] * (step + 1 - len(node)))
        if following is None:
            if removing and value is None and isinstance(node, dict):
                node.pop(step, None)
            else:
                node[step] = value
            return
        held = node[step] if isinstance(step, int) else node.get(step)
        wanted: type = list if isinstance(following, int) else dict
        if not isinstance(held, wanted):
            held = wanted()
            node[step] = held
        node = held
