"""Read a YAML file with the line of each of its keys, so that every error names file, line and key path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from preflight.yamltext import compose_yaml, line_and_words, load_yaml

KeyPath = tuple[str | int, ...]


class YamlFileError(Exception):
    """A file can't be read as YAML.

    Attributes:
        file: the file.
        problems: what is wrong with it, each with the file's name and line.
    """

    def __init__(self, file: Path, problems: list[str]) -> None:
        self.file, self.problems = file, problems
        super().__init__("\n".join(problems))


_DEEPEST = 50  # levels; no configuration nests deeper, but an alias may contain itself


class YamlPositions:
    """Where the keys and items of a YAML document stand.

    Attributes:
        lines: the line of each, from 1, by key path.
        duplicates: keys that stand twice in their mapping, each with the later line.
        blocks: texts of several lines, which begin on the line below their key.
    """

    def __init__(self, root: yaml.Node | None) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.duplicates: list[tuple[KeyPath, int]] = []
        self.blocks: set[KeyPath] = set()
        if root is not None:
            self._walk(root, (), 0)

    def _walk(self, node: yaml.Node, path: KeyPath, depth: int) -> None:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if depth > _DEEPEST:
            return
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                inner = (*path, str(key.value))
                if str(key.value) in seen:
                    self.duplicates.append((inner, key.start_mark.line + 1))
                seen.add(str(key.value))
                self.lines[inner] = key.start_mark.line + 1
                self._walk(value, inner, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*path, index), depth + 1)
        elif isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
            self.blocks.add(path)

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def format_path(path: KeyPath) -> str:
    """A key path as people write it: ``a.b[0].c``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".") or "the file"


def read_yaml(file: Path, *, allow_duplicates: bool = False) -> tuple[Any, YamlPositions]:
    """The YAML document of a file, and the positions of its keys.

    Args:
        file: the file.
        allow_duplicates: accept a key that stands twice, of which the last one counts; `YamlPositions.duplicates` lists
            them.

    Raises:
        YamlFileError: the file can't be read, is not YAML, or holds a key twice.
    """
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise YamlFileError(file, [f"{file}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise YamlFileError(file, [f"{file}:{line}: found a byte that is not UTF-8, expected UTF-8 text"]) from None
    try:
        positions = YamlPositions(compose_yaml(text))
        document = load_yaml(text)
    except yaml.YAMLError as error:
        error_line, reason = line_and_words(error)
        raise YamlFileError(file, [f"{file}:{error_line or 1}: not YAML: {reason}"]) from None
    if positions.duplicates and not allow_duplicates:
        problems = [
            f"{file}:{line}: {format_path(path)}: found twice, expected once" for path, line in positions.duplicates
        ]
        raise YamlFileError(file, problems)
    return document, positions
