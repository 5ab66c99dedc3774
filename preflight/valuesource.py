"""Where in a file the runner's values stand: all of it, or a place inside of what another tool wraps around them.

An umbrella chart's values, an Argo CD Application, a Flux HelmRelease, a helmfile and their like hold the same values
some levels deeper. `read` recognises them, takes the values out with their lines, and tells what else gives values and
can't be read from here. Where a file holds several, ``at`` names the place: a question is better than a wrong guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from preflight.inventory import InventoryError
from preflight.yamlfile import YamlPositions
from preflight.yamltext import compose_documents, compose_yaml, line_and_words, load_yaml

CHART = "gitlab-runner"
_OWN = frozenset(
    "gitlabUrl runnerToken runnerRegistrationToken certsSecretName unregisterRunners checkInterval".split()
)
"""Keys of the runner's chart that hardly any other chart has."""
_OF_RUNNERS = frozenset(
    "config secret tags executor privileged image cache name locked runUntagged namespace jobNamespace".split()
)
_SWITCHES = frozenset({"enabled", "install"})
"""By which an umbrella chart switches the runner's chart, which does not read them itself."""
_SOPS = "sops"  # the table in which SOPS keeps what it needs to decrypt the file
_DEEPEST = 5  # levels that an umbrella may put around the values
_OTHERS_TEMPLATE = re.compile(r"\{\{")


class Wrapper(StrEnum):
    """What holds the values."""

    PLAIN = "values file"
    UMBRELLA = "umbrella chart's values"
    ARGO = "Argo CD Application"
    ARGO_SET = "Argo CD ApplicationSet"
    FLUX = "Flux HelmRelease"
    HELMFILE = "helmfile"
    HELM_CHART = "HelmChart of k3s"
    FLEET = "Fleet bundle"
    KUSTOMIZE = "kustomization"
    CONFIG_MAP = "ConfigMap"
    PLACE = "place that at: names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Values that are merged like one values file.

    Attributes:
        file: where they stand.
        text: the values as YAML of their own, as Helm is given them.
        document: the same, read.
        marks: the lines of their keys in the file.
    """

    file: Path
    text: str = field(repr=False)
    document: Any = field(repr=False)
    marks: YamlPositions = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesSource:
    """The runner's values in a file.

    Attributes:
        file: the file.
        wrapper: what holds them.
        at: the place inside of it; empty for a plain values file.
        parts: in the order in which they are merged.
        set: what is set besides, as ``helm --set`` takes it; `set_string`: the same for ``--set-string``.
        unresolved: what gives values, too, and can't be read from here: each a name that a person can look for.
        dropped: keys beside the values that are not for the chart: an umbrella's switch, or SOPS' table.
        release: the release's name that the wrapper gives, or ""; so are `namespace`, `chart`, `version`, `repository`.
    """

    file: Path
    wrapper: Wrapper = Wrapper.PLAIN
    at: str = ""
    parts: tuple[Part, ...]
    set: tuple[str, ...] = field(default=(), repr=False)
    set_string: tuple[str, ...] = field(default=(), repr=False)
    unresolved: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    release: str = ""
    namespace: str = ""
    chart: str = ""
    version: str = ""
    repository: str = ""

    def __str__(self) -> str:
        return f"{self.file.name}, {self.wrapper}{f', at {self.at}' if self.at else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is set beside the values files, each as helm's option of that name takes it."""

    set: tuple[str, ...] = field(default=(), repr=False)
    set_string: tuple[str, ...] = field(default=(), repr=False)
    set_json: tuple[str, ...] = field(default=(), repr=False)
    set_file: tuple[str, ...] = field(default=(), repr=False)


def split_pairs(text: str) -> list[str]:
    """The pairs of one ``--set``: what is parted by commas outside of braces that no backslash guards."""
    pairs, depth, escaped = [""], 0, False
    for character in text:
        if character == "," and not depth and not escaped:
            pairs.append("")
            continue
        depth += 0 if escaped else {"{": 1, "}": -1}.get(character, 0)
        escaped = character == "\\" and not escaped
        pairs[-1] += character
    return [pair for pair in pairs if pair]


def read(file: Path, at: str = "") -> ValuesSource:
    """The runner's values in a file.

    Args:
        file: a values file, or one of the files that wrap some.
        at: the place inside of it, such as ``gitlab-runner``; found by itself where there is just one.

    Raises:
        InventoryError: the file can't be read, is no YAML, or holds several places or not the one that is named.
    """
    text = _text(file)
    try:
        nodes = compose_documents(text)
    except yaml.YAMLError as error:
        line, words = line_and_words(error)
        hint = "; a file with template expressions must be rendered first" if _OTHERS_TEMPLATE.search(text) else ""
        raise InventoryError(file, [f"{file}:{line or 1}: not YAML: {words}{hint}"]) from None
    places = list(_places(nodes, file))
    if at:
        return _taken(_named(places, nodes, at, file), text)
    if len(places) > 1:
        listed = ", ".join(place.name for place in places)
        raise InventoryError(
            file, [f"{file}:1: found the runner's values in {len(places)} places, expected at: {listed}"]
        )
    if places:
        return _taken(places[0], text)
    if len(nodes) > 1:
        raise InventoryError(file, [f"{file}:1: found {len(nodes)} documents, none of which holds the runner's values"])
    return _taken(_Place(file, Wrapper.PLAIN, "", nodes[0] if nodes else None), text)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise InventoryError(file, [f"{file}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise InventoryError(file, [f"{file}:{line}: found a byte that is not UTF-8, expected UTF-8 text"]) from None


# ---- nodes ----------------------------------------------------------------------------------------------------------


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(str(key.value), value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _get(node: yaml.Node | None, *steps: str) -> yaml.Node | None:
    """What stands below these keys, the last of several alike; None where something is missing or null."""
    for step in steps:
        node = dict(_pairs(node)).get(step)
    return None if node is not None and node.tag.endswith(":null") else node


def _word(node: yaml.Node | None, *steps: str) -> str:
    inner = _get(node, *steps)
    return str(inner.value) if isinstance(inner, yaml.ScalarNode) else ""


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _are_values(node: yaml.Node | None) -> bool:
    """Whether a table is the runner's values, by the keys that it has."""
    names = {name for name, _ in _pairs(node)}
    runners = {name for name, _ in _pairs(_get(node, "runners"))}
    return bool(names & _OWN or runners & _OF_RUNNERS)


def _inner(node: yaml.Node | None) -> yaml.Node | None:
    """The table in a text that is YAML itself; a table as it is."""
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str"):
        try:
            return compose_yaml(str(node.value))
        except yaml.YAMLError:
            return None
    return node


# ---- places ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where values were found: the node of a table, or of a text that holds one."""

    file: Path
    wrapper: Wrapper
    name: str
    node: yaml.Node | None
    outer: yaml.Node | None = None  # the umbrella's table, for its globals
    above: tuple[tuple[str, yaml.Node], ...] = ()  # further values, merged before
    files: tuple[str, ...] = ()
    parameters: yaml.Node | None = None
    unresolved: tuple[str, ...] = ()
    release: str = ""
    namespace: str = ""
    chart: str = ""
    version: str = ""
    repository: str = ""
    foreign: bool = False  # template expressions in it are the wrapper's own


def _places(nodes: list[yaml.Node], file: Path) -> Iterator[_Place]:
    """Every place where a file holds the runner's values."""
    places: list[_Place] = []
    spare: list[_Place] = []
    for node in nodes:
        of_kind = _BY_KIND.get(_word(node, "kind")) if _get(node, "apiVersion") is not None else None
        listed = list(of_kind(node, file, nodes) if of_kind is not None else _untyped(node, file))
        label = f"{_word(node, 'kind')}/{_word(node, 'metadata', 'name')}:" if len(nodes) > 1 and of_kind else ""
        named = [replace(place, name=f"{label}{place.name}") for place in listed]
        (spare if of_kind is _config_map else places).extend(named)
    yield from _preferred(places) or _preferred(spare)


def _preferred(places: list[_Place]) -> list[_Place]:
    """Of several places those that bear the chart's name: a table deeper down may have a key of the same name."""
    named = [place for place in places if place.name.rpartition(".")[2] == CHART]
    return named if named and all(place.wrapper is Wrapper.UMBRELLA for place in places) else places


def _untyped(node: yaml.Node, file: Path) -> Iterator[_Place]:
    """Places in a document that is no object of Kubernetes'."""
    if isinstance(_get(node, "releases"), yaml.SequenceNode):
        yield from _helmfile(node, file)
    elif isinstance(_get(node, "helmCharts"), yaml.SequenceNode):
        yield from _kustomization(node, file)
    elif _word(node, "helm", "chart") or _word(node, "helm", "repo"):
        yield from _fleet(node, file)
    elif _are_values(node):
        yield _Place(file, Wrapper.PLAIN, "", node)
    else:
        yield from _nested(node, file, Wrapper.UMBRELLA, "")


def _nested(node: yaml.Node | None, file: Path, wrapper: Wrapper, around: str, depth: int = 0) -> Iterator[_Place]:
    """Tables of the runner's values below keys, the outermost ones."""
    for name, inner in _pairs(node) if depth < _DEEPEST else ():
        at = f"{around}.{name}" if around else name
        if isinstance(inner, yaml.MappingNode) and (_are_values(inner) or (name == CHART and not _get(inner, CHART))):
            yield _Place(file, wrapper, at, inner, outer=node)
        elif name != "global":
            yield from _nested(inner, file, wrapper, at, depth + 1)


def _within(place: _Place, *, sure: bool) -> Iterator[_Place]:
    """The values in what a wrapper holds: the table itself, or one below it if it is for an umbrella chart.

    Args:
        place: the table, or the text that is one.
        sure: whether the wrapper says that this is the runner's chart.
    """
    table = _inner(place.node)
    if sure or _are_values(table):
        yield place
        return
    for deeper in _nested(table, place.file, place.wrapper, ""):
        # A text has lines of its own, so that what lies in it is taken out when the text is.
        inside = place.node if table is not place.node else deeper.node
        yield replace(place, name=f"{place.name}.{deeper.name}", node=inside, outer=deeper.outer)


def _argo(node: yaml.Node, file: Path, _: list[yaml.Node], *, around: str = "spec") -> Iterator[_Place]:
    spec = _descend(node, around)
    single = _get(spec, "source")
    sources = [(f"{around}.source", single)] if single is not None else []
    sources += [(f"{around}.sources[{number}]", source) for number, source in enumerate(_items(_get(spec, "sources")))]
    for at, source in sources:
        helm = _get(source, "helm")
        key = "valuesObject" if _get(helm, "valuesObject") is not None else "values"
        chart = _word(source, "chart")
        of_chart = chart.rpartition("/")[2] == CHART
        if helm is None or (_get(helm, key) is None and not of_chart):
            continue
        unresolved = [f"value file {entry.value}" for entry in _items(_get(helm, "valueFiles"))]
        unresolved += [f"file parameter {_word(entry, 'name')}" for entry in _items(_get(helm, "fileParameters"))]
        place = _Place(
            file,
            Wrapper.ARGO if around == "spec" else Wrapper.ARGO_SET,
            f"{at}.helm.{key}",
            _get(helm, key),
            parameters=_get(helm, "parameters"),
            unresolved=tuple(unresolved),
            release=_word(helm, "releaseName") or _word(node, "metadata", "name"),
            namespace=_word(spec, "destination", "namespace"),
            chart=chart,
            version=_word(source, "targetRevision"),
            repository=_word(source, "repoURL"),
            foreign=around != "spec",
        )
        yield from _within(place, sure=of_chart)


def _argo_set(node: yaml.Node, file: Path, nodes: list[yaml.Node]) -> Iterator[_Place]:
    yield from _argo(node, file, nodes, around="spec.template.spec")


def _flux(node: yaml.Node, file: Path, nodes: list[yaml.Node]) -> Iterator[_Place]:
    spec = _get(node, "spec")
    chart = _word(spec, "chart", "spec", "chart") or _word(spec, "chart", "name") or _word(spec, "chartRef", "name")
    above: list[tuple[str, yaml.Node]] = []
    unresolved: list[str] = []
    for source in _items(_get(spec, "valuesFrom")):
        kind, name, key = _word(source, "kind"), _word(source, "name"), _word(source, "valuesKey") or "values.yaml"
        text = None if _word(source, "targetPath") else _data(nodes, kind, name, key)
        if text is None:
            unresolved.append(f"{kind} {name}, key {key}")
        else:
            above.append((f"{kind}/{name}:data.{key}", text))
    values = _get(spec, "values")
    if values is None and not above and chart.rpartition("/")[2] != CHART:
        return
    place = _Place(
        file,
        Wrapper.FLUX,
        "spec.values",
        values,
        above=tuple(above),
        unresolved=tuple(unresolved),
        release=_word(spec, "releaseName") or _word(node, "metadata", "name"),
        namespace=_word(spec, "targetNamespace") or _word(node, "metadata", "namespace"),
        chart=chart,
        version=_word(spec, "chart", "spec", "version") or _word(spec, "chart", "version"),
        repository=_word(spec, "chart", "repository"),
    )
    yield from _within(
        place, sure=chart.rpartition("/")[2] == CHART or any(_are_values(_inner(document)) for _, document in above)
    )


def _data(nodes: list[yaml.Node], kind: str, name: str, key: str) -> yaml.Node | None:
    """The text in a ConfigMap or Secret of the same file."""
    for node in nodes:
        if _word(node, "kind") == kind and _word(node, "metadata", "name") == name:
            return _get(node, "stringData" if kind == "Secret" else "data", key)
    return None


def _config_map(node: yaml.Node, file: Path, _: list[yaml.Node]) -> Iterator[_Place]:
    for field_name in ("data", "stringData"):
        for key, text in _pairs(_get(node, field_name)):
            place = _Place(file, Wrapper.CONFIG_MAP, f"{field_name}.{key}", text)
            if key.endswith((".yaml", ".yml")) or key == "values":
                yield from _within(place, sure=False)


def _helm_chart(node: yaml.Node, file: Path, _: list[yaml.Node]) -> Iterator[_Place]:
    spec, chart = _get(node, "spec"), _word(node, "spec", "chart")
    key = "valuesContent"
    place = _Place(
        file,
        Wrapper.HELM_CHART,
        f"spec.{key}",
        _get(spec, key),
        parameters=_get(spec, "set"),
        release=_word(node, "metadata", "name"),
        namespace=_word(spec, "targetNamespace") or _word(node, "metadata", "namespace"),
        chart=chart,
        version=_word(spec, "version"),
        repository=_word(spec, "repo"),
    )
    of_chart = CHART in {chart.rpartition("/")[2], _word(node, "metadata", "name")}
    if of_chart or place.node is not None:
        yield from _within(place, sure=of_chart)


def _helmfile(node: yaml.Node, file: Path) -> Iterator[_Place]:
    repositories = {
        _word(repository, "name"): _word(repository, "url") for repository in _items(_get(node, "repositories"))
    }
    for number, release in enumerate(_items(_get(node, "releases"))):
        chart = _word(release, "chart")
        repository, _, chart_name = chart.rpartition("/")
        listed = _items(_get(release, "values"))
        tables = [entry for entry in listed if isinstance(entry, yaml.MappingNode)]
        if chart_name != CHART and not any(_are_values(entry) for entry in tables):
            continue
        names = [str(entry.value) for entry in listed if isinstance(entry, yaml.ScalarNode)]
        secrets = [f"secrets file {entry.value}" for entry in _items(_get(release, "secrets"))]
        yield _Place(
            file,
            Wrapper.HELMFILE,
            f"releases[{number}].values",
            tables[-1] if tables else None,
            above=tuple((f"releases[{number}].values", table) for table in tables[:-1]),
            files=tuple(names),
            parameters=_get(release, "set"),
            unresolved=tuple(secrets),
            release=_word(release, "name"),
            namespace=_word(release, "namespace"),
            chart=chart_name,
            version=_word(release, "version"),
            repository=repositories.get(repository, ""),
            foreign=False,
        )


def _fleet(node: yaml.Node, file: Path) -> Iterator[_Place]:
    helm = _get(node, "helm")
    chart = _word(helm, "chart")
    place = _Place(
        file,
        Wrapper.FLEET,
        "helm.values",
        _get(helm, "values"),
        files=tuple(str(entry.value) for entry in _items(_get(helm, "valuesFiles"))),
        unresolved=tuple(
            f"{kind} {_word(entry, key, 'name')}"
            for entry in _items(_get(helm, "valuesFrom"))
            for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef"))
            if _get(entry, key) is not None
        ),
        release=_word(helm, "releaseName"),
        namespace=_word(node, "namespace") or _word(node, "defaultNamespace"),
        chart=chart,
        version=_word(helm, "version"),
        repository=_word(helm, "repo"),
    )
    yield from _within(place, sure=chart.rpartition("/")[2] == CHART)


def _kustomization(node: yaml.Node, file: Path) -> Iterator[_Place]:
    for number, chart in enumerate(_items(_get(node, "helmCharts"))):
        files = [
            _word(chart, "valuesFile"),
            *(str(entry.value) for entry in _items(_get(chart, "additionalValuesFiles"))),
        ]
        place = _Place(
            file,
            Wrapper.KUSTOMIZE,
            f"helmCharts[{number}].valuesInline",
            _get(chart, "valuesInline"),
            files=tuple(name for name in files if name),
            release=_word(chart, "releaseName") or _word(chart, "name"),
            namespace=_word(chart, "namespace") or _word(node, "namespace"),
            chart=_word(chart, "name"),
            version=_word(chart, "version"),
            repository=_word(chart, "repo"),
        )
        if place.chart == CHART or place.node is not None:
            yield from _within(place, sure=place.chart == CHART)


_BY_KIND: dict[str, Callable[[yaml.Node, Path, list[yaml.Node]], Iterable[_Place]]] = {
    "Application": _argo,
    "ApplicationSet": _argo_set,
    "HelmRelease": _flux,
    "HelmChart": _helm_chart,
    "HelmChartConfig": _helm_chart,
    "ConfigMap": _config_map,
    "Secret": _config_map,
    "Kustomization": lambda node, file, _: _kustomization(node, file),
}


def _named(places: list[_Place], nodes: list[yaml.Node], at: str, file: Path) -> _Place:
    """The place that is meant by a name: one that was found, or any other that is there."""
    meant = [place for place in places if at in {place.name, place.name.partition(":")[2]}]
    if not meant:
        document, _, path = at.rpartition(":")
        for node in nodes:
            if document and document != f"{_word(node, 'kind')}/{_word(node, 'metadata', 'name')}":
                continue
            inner = _descend(node, path)
            if isinstance(_inner(inner), yaml.MappingNode):
                meant.append(_Place(file, Wrapper.PLACE, at, inner, outer=_descend(node, path.rpartition(".")[0])))
    if len(meant) == 1:
        return meant[0]
    others = f"; there are {', '.join(place.name or 'the whole file' for place in places)}" if places else ""
    count = "nothing" if not meant else f"{len(meant)} places"
    raise InventoryError(file, [f"{file}:1: at: {at}: found {count}, expected one table of values{others}"])


def _descend(node: yaml.Node | None, path: str) -> yaml.Node | None:
    """What stands at a dotted path; a key may hold dots itself."""
    if not path:
        return node
    if index := re.match(r"\[(\d+)\]\.?", path):
        items = _items(node)
        number = int(index[1])
        return _descend(items[number], path[index.end() :]) if number < len(items) else None
    for name, inner in sorted(_pairs(node), key=lambda pair: -len(pair[0])):
        if path == name:
            return inner
        if path.startswith((f"{name}.", f"{name}[")):
            deeper = _descend(inner, path[len(name) :].removeprefix("."))
            if deeper is not None:
                return deeper
    return None


# ---- taking the values out ------------------------------------------------------------------------------------------


def _taken(place: _Place, whole: str) -> ValuesSource:
    """The values at a place, with all that is merged into them."""
    parts: list[Part] = []
    unresolved = list(place.unresolved)
    for name in place.files:
        path = place.file.parent / name
        if "{{" in name or "://" in name or name.endswith(".gotmpl") or not path.is_file():
            unresolved.append(f"value file {name}")
        else:
            text = _text(path)
            parts.append(_part(path, text, compose_yaml(text) if _is_yaml(path, text) else None))
    parts += [_table(place, node, node, name)[0] for name, node in place.above]
    dropped: tuple[str, ...] = ()
    if place.wrapper is Wrapper.PLAIN and _get(place.node, _SOPS, "mac") is not None:
        node, dropped = _without(place.node, {_SOPS})
        parts.append(_part(place.file, _written(node), node))
        unresolved.append(f"values that SOPS keeps encrypted: decrypt them with sops -d {place.file.name}")
    elif place.wrapper is Wrapper.PLAIN:
        parts.append(_part(place.file, whole, place.node))
    elif place.node is not None:
        part, dropped = _table(place, place.node, _inner(place.node), place.name)
        parts.append(part)
    if place.foreign and any(_OTHERS_TEMPLATE.search(part.text) for part in parts):
        line = place.node.start_mark.line + 1 if place.node is not None else 1
        problem = f"{place.file}:{line}: {place.name} holds expressions that the {place.wrapper} fills in by itself"
        raise InventoryError(place.file, [f"{problem}: name the values of one Application"])
    pairs, strings = _parameters(place.parameters)
    return ValuesSource(
        file=place.file,
        wrapper=place.wrapper,
        at=place.name,
        parts=tuple(parts),
        set=pairs,
        set_string=strings,
        unresolved=tuple(unresolved),
        dropped=dropped,
        release=place.release,
        namespace=place.namespace,
        chart=place.chart,
        version=place.version,
        repository=place.repository,
    )


def _is_yaml(path: Path, text: str) -> bool:
    try:
        compose_yaml(text)
    except yaml.YAMLError as error:
        line, words = line_and_words(error)
        raise InventoryError(path, [f"{path}:{line or 1}: not YAML: {words}"]) from None
    return True


def _part(file: Path, text: str, node: yaml.Node | None, *, marks: YamlPositions | None = None) -> Part:
    try:
        document = load_yaml(text)
    except yaml.YAMLError as error:
        line, words = line_and_words(error)
        raise InventoryError(file, [f"{file}:{line or 1}: not YAML: {words}"]) from None
    return Part(file=file, text=text, document=document, marks=marks or YamlPositions(node))


def _table(place: _Place, written: yaml.Node, table: yaml.Node | None, name: str) -> tuple[Part, tuple[str, ...]]:
    """The values of a table, or of a text that is one, and what was left out of them."""
    if isinstance(written, yaml.ScalarNode):
        text, first = str(written.value), written.start_mark.line
        try:
            table = compose_yaml(text)
        except yaml.YAMLError as error:
            line, words = line_and_words(error)
            at = first + 1 + (line or 1)
            raise InventoryError(place.file, [f"{place.file}:{at}: {name}: not YAML: {words}"]) from None
        block = written.style in {"|", ">"}
        deeper = _deeper(place, table)
        node, dropped = _without_switches(deeper) if deeper is not table else (table, ())
        marks = _shifted(YamlPositions(node), first, block=block)
        return _part(place.file, text if node is table else _written(node), node, marks=marks), dropped
    umbrella = place.outer is not None
    node, dropped = _without_switches(table) if umbrella else (table, ())
    node = _with_globals(node, place.outer) if umbrella else node
    return _part(place.file, _written(node), node, marks=YamlPositions(node)), dropped


def _written(node: yaml.Node | None) -> str:
    """A table as YAML of its own, each scalar as it is written: what Helm reads in it is not ours to say."""
    if node is None:
        return ""
    _unfold(node, set())
    text: str = yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=2**20)
    return text


def _unfold(node: yaml.Node, seen: set[int]) -> None:
    """Write tables and lists over several lines: within braces, a plain scalar such as 12:30 would need quotes."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.CollectionNode):
        node.flow_style = False
        for inner in node.value:
            for part in inner if isinstance(inner, tuple) else (inner,):
                _unfold(part, seen)


def _deeper(place: _Place, table: yaml.Node | None) -> yaml.Node | None:
    """The table of the runner's values in a text's own table, where that is for an umbrella chart."""
    if place.outer is None:
        return table
    inside = list(_nested(table, place.file, place.wrapper, ""))
    chosen = next((nested for nested in inside if place.name.endswith(f".{nested.name}")), None)
    return _with_globals(chosen.node, chosen.outer) if chosen is not None else table


def _shifted(marks: YamlPositions, first: int, *, block: bool) -> YamlPositions:
    """The lines of a text's keys as lines of the file around it; of a text in quotes, its own line."""
    marks.lines = {path: first + 1 + line if block else first + 1 for path, line in marks.lines.items()}
    marks.duplicates = [(path, first + 1 + line if block else first + 1) for path, line in marks.duplicates]
    if not block:
        marks.blocks = set()
    return marks


def _without_switches(node: yaml.Node | None) -> tuple[yaml.Node | None, tuple[str, ...]]:
    """A table without the switches of the chart around it."""
    return _without(node, {name for name, value in _pairs(node) if name in _SWITCHES and value.tag.endswith(":bool")})


def _without(node: yaml.Node | None, names: set[str]) -> tuple[yaml.Node | None, tuple[str, ...]]:
    """A table without some of its keys, and those of them that it had."""
    dropped = tuple(name for name, _ in _pairs(node) if name in names)
    if not dropped or not isinstance(node, yaml.MappingNode):
        return node, ()
    kept = [(key, value) for key, value in node.value if str(key.value) not in dropped]
    return yaml.MappingNode(node.tag, kept, node.start_mark, node.end_mark, flow_style=node.flow_style), dropped


def _with_globals(node: yaml.Node | None, outer: yaml.Node | None) -> yaml.Node | None:
    """A table with the globals of the umbrella around it, which Helm hands down and which win."""
    pair = next((entry for entry in getattr(outer, "value", ()) if str(entry[0].value) == "global"), None)
    if pair is None or not isinstance(node, yaml.MappingNode) or not isinstance(pair[1], yaml.MappingNode):
        return node
    own = _get(node, "global")
    kept = [(key, value) for key, value in node.value if str(key.value) != "global"]
    joined = _joined(own, pair[1]) if isinstance(own, yaml.MappingNode) else pair[1]
    return yaml.MappingNode(node.tag, [*kept, (pair[0], joined)], node.start_mark, node.end_mark, flow_style=False)


def _joined(below: yaml.MappingNode, above: yaml.MappingNode) -> yaml.MappingNode:
    pairs = {str(key.value): (key, value) for key, value in below.value}
    for key, value in above.value:
        held = pairs.get(str(key.value), (key, None))[1]
        both = isinstance(held, yaml.MappingNode) and isinstance(value, yaml.MappingNode)
        pairs[str(key.value)] = (key, _joined(held, value) if both else value)
    return yaml.MappingNode(above.tag, list(pairs.values()), above.start_mark, above.end_mark, flow_style=False)


def _parameters(node: yaml.Node | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a wrapper sets beside the values, as the options of helm that it stands for."""
    pairs: list[str] = []
    strings: list[str] = []
    pairs += [f"{name}={_guarded(str(value.value))}" for name, value in _pairs(node)]  # a table, as k3s has it
    for parameter in _items(node):
        name, single = _word(parameter, "name"), _get(parameter, "value")
        listed = _items(_get(parameter, "values"))
        if listed:
            pairs.append(f"{name}={{{','.join(_guarded(str(item.value)) for item in listed)}}}")
        elif isinstance(single, yaml.ScalarNode):
            forced = _word(parameter, "forceString") == "true"
            (strings if forced else pairs).append(f"{name}={_guarded(str(single.value))}")
    return tuple(pairs), tuple(strings)


def _guarded(value: str) -> str:
    """A value whose commas are its own, as Argo CD and helmfile hand it on."""
    return value if value.startswith("{") else re.sub(r"(?<!\\),", r"\\,", value)
