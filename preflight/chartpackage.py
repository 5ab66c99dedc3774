"""A Helm chart's package, and the keys that it reads: those of its values.yaml, and those that its templates ask for.

A chart has no schema of its own, so that its templates are the one place which tells what is read. `ChartPackage`
holds the files of an archive or a folder, within bounds; `keys_of` gives the same `Keys` as the shipped tables, for
whatever version or fork is at hand.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from preflight import charts
from preflight.charts import Keys, Tree
from preflight.gotemplate import ELEMENT, KeyPath, Node, NotATemplateError, Reader, Template, parse, values_read
from preflight.yamltext import load_yaml

LARGEST_ARCHIVE = 20 * 2**20  # bytes; the runner's chart has 30 thousand
LARGEST_CONTENT = 100 * 2**20  # bytes, unpacked
MOST_FILES = 5_000
_DEEPEST = 5  # charts inside of charts


class NotAChartError(ValueError):
    """An archive or a folder is no Helm chart; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A chart that a chart brings with it.

    Attributes:
        name: the chart's name.
        key: the key of the values that are its own: its alias, or else its name.
        conditions: dotted keys of the parent's values that switch it.
        tags: names below ``tags`` that switch it.
    """

    name: str
    key: str
    conditions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChartPackage:
    """A chart's files.

    Attributes:
        name: the chart's name.
        version: its version; `app_version`: that of what it installs, which for the runner's chart names the image.
        source: where it comes from, in an operator's words.
        files: contents by path inside of the chart.
        from_folder: whether it was a folder, where Helm heeds ``.helmignore``.
    """

    name: str
    version: str
    app_version: str
    source: str
    files: Mapping[str, bytes] = field(repr=False)
    from_folder: bool = False

    @classmethod
    def open(cls, path: Path) -> ChartPackage:
        """The chart of an archive or a folder on this machine.

        Raises:
            NotAChartError: it is none, it can't be read, or it is beyond the bounds.
        """
        try:
            if path.is_dir():
                return _chart(_folder_files(path), source=str(path), from_folder=True)
            if path.stat().st_size > LARGEST_ARCHIVE:
                raise NotAChartError(f"{path} is larger than {LARGEST_ARCHIVE} bytes")
            return cls.from_archive(path.read_bytes(), source=str(path))
        except OSError as error:
            raise NotAChartError(f"{path} can't be read: {error.strerror or error}") from None

    @classmethod
    def from_archive(cls, archive: bytes, *, source: str) -> ChartPackage:
        """The chart of a ``.tgz``.

        Raises:
            NotAChartError: it is none, or it is beyond the bounds.
        """
        return _chart(_archive_files(archive, source), source=source, from_folder=False)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What values.yaml says."""
        document = self._yaml("values.yaml")
        return document if isinstance(document, Mapping) else {}

    @cached_property
    def templates(self) -> Mapping[str, Template]:
        """The templates by path; one that Helm can't parse is left out, since Helm will say so."""
        templates: dict[str, Template] = {}
        for path, content in self.files.items():
            if path.startswith("templates/"):
                try:
                    templates[path] = parse(content.decode("utf-8", "replace"))
                except (NotATemplateError, RecursionError):
                    continue
        return templates

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """What Chart.yaml (or requirements.yaml, of old) lists, and what lies in charts/ besides."""
        listed = [*_listed(self._yaml("Chart.yaml")), *_listed(self._yaml("requirements.yaml"))]
        known = {dependency.name for dependency in listed}
        return (*listed, *(Dependency(name=name, key=name) for name in self.subcharts if name not in known))

    @cached_property
    def subcharts(self) -> Mapping[str, ChartPackage]:
        """The charts in its folder charts/, by name."""
        return _subcharts(self)

    @cached_property
    def libraries(self) -> Mapping[str, tuple[Node, ...]]:
        """The templates that it and its dependencies define, which all share their names."""
        defined: dict[str, tuple[Node, ...]] = {}
        for chart in self.subcharts.values():
            defined |= chart.libraries
        for template in self.templates.values():
            defined |= template.defined
        return defined

    def _yaml(self, path: str) -> Any:
        try:
            return load_yaml(self.files.get(path, b"").decode("utf-8", "replace"))
        except yaml.YAMLError:
            return None


def _chart(files: Mapping[str, bytes], *, source: str, from_folder: bool) -> ChartPackage:
    try:
        about = load_yaml(files["Chart.yaml"].decode("utf-8", "replace"))
    except KeyError:
        raise NotAChartError(f"{source} holds no Chart.yaml") from None
    except yaml.YAMLError:
        raise NotAChartError(f"the Chart.yaml in {source} is no YAML") from None
    if not isinstance(about, Mapping) or not about.get("name"):
        raise NotAChartError(f"the Chart.yaml in {source} names no chart")
    return ChartPackage(
        name=str(about["name"]),
        version=str(about.get("version", "")),
        app_version=str(about.get("appVersion", "")),
        source=source,
        files=files,
        from_folder=from_folder,
    )


def _archive_files(archive: bytes, source: str) -> dict[str, bytes]:
    """The files of an archive by path, without the first step, which is the chart's name."""
    files: dict[str, bytes] = {}
    left = LARGEST_CONTENT
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(archive, source)), mode="r:") as tar:
            for number, member in enumerate(tar):
                if number >= MOST_FILES:
                    raise NotAChartError(f"{source} holds more than {MOST_FILES} files")
                path = PurePosixPath(member.name)
                steps = [step for step in path.parts if step != "."]
                if path.is_absolute() or ".." in steps or "\\" in member.name:
                    raise NotAChartError(f"{source} holds a file outside of its folder")
                if not member.isfile() or len(steps) < 2:  # noqa: PLR2004 - the chart's folder, and a file in it
                    continue
                content = tar.extractfile(member)
                files["/".join(steps[1:])] = content.read(left) if content is not None else b""
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, NotAChartError):
            raise
        raise NotAChartError(f"{source} is no archive of a chart") from None
    return files


def _unpacked(archive: bytes, source: str) -> bytes:
    unzipping = zlib.decompressobj(wbits=31)
    try:
        content = unzipping.decompress(archive, LARGEST_CONTENT)
    except zlib.error:
        raise NotAChartError(f"{source} is no archive of a chart: it is not compressed with gzip") from None
    if unzipping.unconsumed_tail:
        raise NotAChartError(f"{source} holds more than {LARGEST_CONTENT} bytes")
    if not unzipping.eof:
        raise NotAChartError(f"{source} is cut short")
    return content


def _folder_files(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = LARGEST_CONTENT
    for path in sorted(folder.rglob("*")):
        if ".git" in path.relative_to(folder).parts or not path.is_file():
            continue
        content = path.read_bytes() if path.stat().st_size <= left else b""
        left -= path.stat().st_size
        if left < 0 or len(files) >= MOST_FILES:
            raise NotAChartError(f"{folder} holds more than {LARGEST_CONTENT} bytes or {MOST_FILES} files")
        files[path.relative_to(folder).as_posix()] = content
    return files


def _listed(document: Any) -> list[Dependency]:
    listed = document.get("dependencies") if isinstance(document, Mapping) else None
    dependencies: list[Dependency] = []
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping) and entry.get("name"):
            conditions = [text.strip() for text in str(entry.get("condition") or "").split(",") if text.strip()]
            tags = entry.get("tags")
            dependencies.append(
                Dependency(
                    name=str(entry["name"]),
                    key=str(entry.get("alias") or entry["name"]),
                    conditions=tuple(conditions),
                    tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
                )
            )
    return dependencies


def _subcharts(chart: ChartPackage, depth: int = 0) -> Mapping[str, ChartPackage]:
    folders: dict[str, dict[str, bytes]] = {}
    packages: dict[str, ChartPackage] = {}
    if depth >= _DEEPEST:
        return packages
    for path, content in chart.files.items():
        steps = path.split("/")
        if steps[0] != "charts" or len(steps) < 2 or steps[1].startswith(("_", ".")):  # noqa: PLR2004 - charts/NAME
            continue
        try:
            if len(steps) > 2:  # noqa: PLR2004 - a chart's folder, not its archive
                folders.setdefault(steps[1], {})["/".join(steps[2:])] = content
            elif path.endswith(".tgz"):
                inner = ChartPackage.from_archive(content, source=f"{chart.source}: {path}")
                packages[inner.name] = inner
        except NotAChartError:
            continue
    for name, files in folders.items():
        if "Chart.yaml" in files:
            try:
                inner = _chart(files, source=f"{chart.source}: charts/{name}", from_folder=chart.from_folder)
            except NotAChartError:
                continue
            packages[inner.name] = inner
    return packages


# ---- the keys -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartKeys:
    """What a chart reads of its values.

    Attributes:
        tree: by name, as in the shipped tables: a leaf is ``text``, ``number``, ``switch``, ``list``, ``map`` (names of
            the user's own choice) or ``any`` (handed on as it is).
        templates: dotted keys whose text is a template itself, such as ``runners.config``; below ``*``, any of them.
        open: whether the chart hands all of its values on, so that no key can be said not to be read.
    """

    tree: Tree
    templates: tuple[str, ...]
    open: bool = False


class OpenTree(dict[str, Any]):
    """Keys of a chart that hands all of its values on: whatever is asked for is known."""

    def get(self, key: str, default: Any = None) -> Any:
        """The key's own word or tree, or else ``any``."""
        del default
        return super().get(key, "any")


def chart_keys(package: ChartPackage) -> ChartKeys:
    """Every key that a chart reads: of its values.yaml, of its templates, and of the charts that it brings."""
    reader = Reader(package.libraries)
    for path, template in package.templates.items():
        if not path.startswith("templates/tests/") and path != "templates/NOTES.txt":  # which say much, and do nothing
            reader.read(template)
    marks = {path: frozenset(how) for path, how in reader.marks.items()}
    tree = dict(_tree(package.defaults, marks))
    for dependency in package.dependencies:
        inner = package.subcharts.get(dependency.name)
        keys = chart_keys(inner) if inner is not None else None
        own = "any" if keys is None or keys.open else keys.tree
        tree[dependency.key] = _joined(tree.get(dependency.key), own)
        for condition in dependency.conditions:
            _plant(tree, condition.split("."), "switch")
        for tag in dependency.tags:
            _plant(tree, ["tags", tag], "switch")
    if not isinstance(tree.get("global"), Mapping):
        tree["global"] = "map"
    whole = "whole" in marks.get((), ())
    return ChartKeys(
        tree=OpenTree(tree) if whole else tree,
        templates=tuple(sorted(".".join(path) for path, how in marks.items() if "template" in how)),
        open=whole,
    )


def _tree(defaults: Mapping[str, Any], marks: Mapping[KeyPath, frozenset[str]], path: KeyPath = ()) -> Iterator[Any]:
    """Pairs of name and leaf or tree, those of values.yaml first."""
    asked = [steps[len(path)] for steps in marks if len(steps) > len(path) and steps[: len(path)] == path]
    for name in dict.fromkeys([*map(str, defaults), *asked]):
        yield name, _node(defaults.get(name), marks, (*path, name))


_BY_TYPE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "switch"),
    ((int, float), "number"),
    (list, "list"),
    (str, "text"),
)


def _node(default: Any, marks: Mapping[KeyPath, frozenset[str]], path: KeyPath) -> Any:
    how = marks.get(path, frozenset())
    if default is not None and not isinstance(default, Mapping):
        word = next((word for kind, word in _BY_TYPE if isinstance(default, kind)), "any")
        # A text such as "" may stand for a table that is handed on: a runtimeClassName never is, extraEnv might be.
        return "any" if word == "text" and not default and "whole" in how else word
    below = [steps for steps in marks if len(steps) > len(path) and steps[: len(path)] == path]
    if "whole" in how:
        return "any"
    if "keys" in how or any(steps[len(path)] == ELEMENT for steps in below):
        walked = "list" if "keys" not in how and default is None else "map"
        return "any" if "list" in how and "keys" in how else walked
    inner = dict(_tree(default or {}, marks, path))
    if inner:
        return inner
    if isinstance(default, Mapping):
        return "any"
    return next((word for word in ("number", "switch", "list", "text") if word in how), "any")


def _joined(below: Any, above: Any) -> Any:
    """Two trees of one key: what either of them knows; a leaf that takes anything wins."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {
            name: _joined(below.get(name), above.get(name))
            if name in below and name in above
            else {**below, **above}[name]
            for name in dict.fromkeys([*below, *above])
        }
    return above if below is None else "any" if "any" in {str(below), str(above)} else above


def _plant(tree: dict[str, Any], steps: list[str], word: str) -> None:
    """Put a leaf into a tree, where nothing stands in its way."""
    for step in steps[:-1]:
        inner = tree.get(step)
        if inner is not None and not isinstance(inner, Mapping):
            return
        tree[step] = dict(inner or {})
        tree = tree[step]
    tree.setdefault(steps[-1], word)


def keys_of(package: ChartPackage) -> Keys:
    """The keys of a package in the form of the shipped tables.

    What was moved and what is retired, no package tells: that is taken from the table of the nearest version, as far
    as the package does not read it after all.
    """
    known = chart_keys(package)
    table = charts.keys(package.version)
    runner = re.match(r"v?(\d{1,9}\.\d{1,9})", package.app_version)
    return replace(
        table,
        version=package.version,
        runner=runner[1] if runner else table.runner,
        tree=known.tree,
        templates=known.templates,
        moved={name: words for name, words in table.moved.items() if not _reads(known.tree, name.split("."))},
        covered=True,
    )


def _reads(tree: Tree, steps: list[str]) -> bool:
    node: Any = tree
    for step in steps:
        if not isinstance(node, Mapping):
            return node in {"any", "map"}
        node = node.get(step)
    return node is not None


def own_reads(values: Mapping[str, Any], templates: tuple[str, ...]) -> frozenset[KeyPath]:
    """The keys that the operator's own templates read: those texts in the values that the chart evaluates.

    Args:
        values: the merged values.
        templates: the dotted keys of the texts, as `ChartKeys.templates` has them.
    """
    keys: set[KeyPath] = set()
    for dotted in templates:
        for text in _texts(values, dotted.split(".")):
            try:
                keys |= values_read(text)
            except (NotATemplateError, RecursionError):
                continue  # Helm says so, with its line
    return frozenset(keys)


def _texts(node: Any, steps: list[str]) -> Iterator[str]:
    """Every text at a path and below it."""
    if steps and isinstance(node, Mapping):
        inner = node.values() if steps[0] == ELEMENT else [node[steps[0]]] if steps[0] in node else []
        for value in inner:
            yield from _texts(value, steps[1:])
    elif steps and isinstance(node, list) and steps[0] == ELEMENT:
        for value in node:
            yield from _texts(value, steps[1:])
    elif not steps and isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value, [])
    elif not steps and isinstance(node, str) and "{{" in node:
        yield node
