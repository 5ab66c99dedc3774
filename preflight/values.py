"""The runner's Helm values: merged as Helm merges them, each with the file and line that it is from.

`load` gives the `Values` of the inventory's files and ``--set`` pairs, with the parsed TOML of ``runners.config``. What
they set for jobs is read by `preflight.jobsettings`.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from preflight import charts, templatetext, valuesource
from preflight.inventory import InventoryError, Runner
from preflight.redaction import remember_within
from preflight.rendering import Rendering
from preflight.runner_config import NotTomlError, RunnerKeys, decode, parse, runner_keys
from preflight.set_options import parse_pairs, set_path
from preflight.templatetext import PLACEHOLDER, Scope
from preflight.valuesource import Settings, ValuesSource, split_pairs
from preflight.yamlfile import KeyPath, YamlFileError, YamlPositions, format_path, read_yaml

CHART_CONCURRENT = 10  # the chart's default (docs/sources.md#chart-defaults)
_CHART = "0.80.0"  # the inventory's default
_NEWEST = "999"  # a runner that is newer than every table

_DEFAULT_CONFIG = """\
[[runners]]
  [runners.kubernetes]
    namespace = "{{ default .Release.Namespace .Values.runners.jobNamespace }}"
    image = "alpine"
"""  # the chart's default (docs/sources.md#chart-defaults)

CHART_DEFAULTS: Mapping[str, Any] = {
    "image": {"registry": "registry.gitlab.com", "image": "gitlab-org/gitlab-runner"},
    "useTini": False,
    "imagePullPolicy": "IfNotPresent",
    "unregisterRunners": True,
    "terminationGracePeriodSeconds": 3600,
    "concurrent": 10,
    "checkInterval": 3,
    "shutdown_timeout": 0,
    "rbac": {"create": False, "clusterWideAccess": False, "podSecurityPolicy": {"enabled": False}},
    "metrics": {
        "enabled": False,
        "portName": "metrics",
        "port": 9252,
        "serviceMonitor": {"enabled": False},
    },
    "service": {"enabled": False, "type": "ClusterIP"},
    "podSecurityContext": {"runAsUser": 100, "fsGroup": 65533},
}
"""What the chart's own values set: the same from 0.77 to 0.86 (docs/sources.md#chart-defaults)."""


INSTALL_HELM = "install helm, or name it in `runner.helm`"
GIVE_PACKAGE = "give the chart's package: `runner.chart: ./gitlab-runner-VERSION.tgz`"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is written: a file's line, or a ``--set`` pair, or nowhere because it is the chart's default.

    Attributes:
        file: the values file; None for a pair and for a default.
        line: in the file, from 1.
        block: whether the value is a text of several lines, which begins on the line below.
    """

    file: Path | None = None
    line: int = 0
    block: bool = False
    pair: bool = False

    def __str__(self) -> str:
        if self.file is not None:
            return f"{self.file.name}:{self.line}"
        return "--set" if self.pair else "the chart's default"

    def inside(self, line: int) -> Origin:
        """The place of a line inside of this value, from 1."""
        return replace(self, line=self.line + line) if self.block else self


@dataclass(frozen=True, slots=True)
class Problem:
    """Why ``runners.config`` can't be used: where, and a sentence."""

    origin: Origin
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadSetting:
    """A setting of ``runners.config`` that only Helm can tell, since it is an expression.

    Attributes:
        path: its names, tables first; empty if any setting may come of the expression.
        expression: as it is written.
        origin: where.
        bare: whether it stands outside of quotes, and may become another type than text.
        reason: why it can't be read; `needs`: what would allow it.
    """

    path: tuple[str, ...]
    expression: str
    origin: Origin
    bare: bool = True
    reason: str = "only Helm can tell what this expression becomes"
    needs: str = INSTALL_HELM

    def __str__(self) -> str:
        return f"{self.origin}: {self.expression}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Merged values of a release.

    Attributes:
        files: where they come from, in merge order.
        tree: the merged values.
        config: the TOML of ``runners.config``, parsed; empty if it can't be.
        text: the same as text, with Helm's template expressions as they are written; `rendered`: with those filled in
            that are known.
        problem: why the TOML can't be used, or None.
        origins: where each key of the tree is written.
        duplicates: keys that stand twice in one file, with the later place; there, the last one counts.
        release: release name; `namespace`: the release's namespace.
        runner: the runner's version, such as ``18.3.1``; `chart`: the chart's; `app_version`: that of its own runner,
            or "" where it is not known.
        lines: for each line of `rendered`, the line of `text` that it comes from, both from 1.
        unread: settings of ``runners.config`` that are expressions which can't be read without Helm.
        elsewhere: what gives values, too, and can't be read from here.
        removed: keys of the chart's own values that null takes away, as far as it matters.
        rendering: what Helm makes of chart and values; None where it was not asked.
        refused: why Helm refuses them, or "".
    """

    files: tuple[Path, ...]
    tree: Mapping[str, Any] = field(repr=False)  # may hold the runner's token
    config: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    rendered: str = field(repr=False)
    problem: Problem | None = None
    origins: Mapping[KeyPath, Origin] = field(repr=False)
    duplicates: tuple[tuple[str, Origin], ...] = ()
    release: str
    namespace: str
    runner: str = "18.3"
    chart: str = ""
    app_version: str = ""
    lines: tuple[int, ...] = ()
    unread: tuple[UnreadSetting, ...] = ()
    elsewhere: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    rendering: Rendering | None = field(default=None, repr=False)
    refused: str = ""

    def config_origin(self, line: int) -> Origin:
        """Where a line of the rendered ``runners.config``, from 1, is written."""
        written = self.lines[line - 1] if 0 < line <= len(self.lines) else line
        return self.origin("runners.config").inside(written)

    def unread_within(self, *paths: str) -> UnreadSetting | None:
        """The first setting that can't be read and is, or is around, or is below one of these (``runners.cache``)."""
        wanted = [tuple(path.lower().split(".")) for path in paths]
        for setting in self.unread:
            path = tuple(name.lower() for name in setting.path)
            if not path or any(path[: len(steps)] == steps[: len(path)] for steps in wanted):
                return setting
        return None

    def origin(self, path: str | KeyPath) -> Origin:
        """Where a key, or the nearest one around it, is written."""
        steps: KeyPath = tuple(path.split(".")) if isinstance(path, str) else path
        while steps and steps not in self.origins:
            steps = steps[:-1]
        return self.origins.get(steps, Origin())

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path, or the default."""
        node: Any = self.tree
        for part in path.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return default
            node = node[part]
        return default if node is None else node

    @property
    def runner_keys(self) -> RunnerKeys:
        """What the runner of this version reads in its TOML."""
        return runner_keys(self.runner)

    @property
    def runner_entry(self) -> Mapping[str, Any]:
        """The one entry of ``[[runners]]`` as the runner decodes it: what it ignores or refuses is not in it."""
        entries = decode(self.config, self.runner_keys).values.get("runners") or [{}]
        entry: Mapping[str, Any] = entries[0]
        return entry

    @property
    def kubernetes(self) -> Mapping[str, Any]:
        """The table ``[runners.kubernetes]`` as the runner decodes it."""
        table: Mapping[str, Any] = self.runner_entry.get("kubernetes", {})
        return table

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the values give to the managers: ``envVars``, and ``extraEnv``, which wins."""
        if self.rendering is not None and self.rendering.workload is not None:
            return {
                variable.name: variable.value
                for variable in self.rendering.environment
                if variable.value is not None and variable.name not in _OF_THE_CHART
            }
        listed, extra = self.get("envVars"), self.get("extraEnv")
        variables = {
            str(entry.get("name")): _environment_text(entry.get("value"))
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, Mapping)
        }
        if isinstance(extra, Mapping):
            variables |= {str(name): _environment_text(value) for name, value in extra.items()}
        return variables


_OF_THE_CHART = frozenset({"CI_SERVER_URL", "RUNNER_EXECUTOR", "REGISTER_LOCKED", "RUNNER_TAG_LIST"})
"""Variables that the chart gives to all managers (its template ``_env_vars.tpl``)."""


def values_of(runner: Runner, *, chart: str = "", app_version: str = "") -> Values:
    """The values that an inventory's runner is to be installed with; raises what `load` does.

    Args:
        runner: of the inventory.
        chart: the chart's version; by default, the one that the inventory names.
        app_version: the runner's version that the chart brings; by default, the one that the tables have for it.
    """
    return read_values(
        sources_of(runner),
        settings_of(runner),
        release=runner.release,
        namespace=runner.namespace,
        chart=chart or runner.chart_version or _CHART,
        app_version=app_version,
    )


def sources_of(runner: Runner) -> list[ValuesSource]:
    """The values of an inventory's files, taken out of what another tool wraps around them."""
    return [valuesource.read(entry.file, entry.at) for entry in runner.values]


def settings_of(runner: Runner) -> Settings:
    """What an inventory sets beside the files."""
    return Settings(
        set=tuple(runner.set),
        set_string=tuple(runner.set_string),
        set_json=tuple(runner.set_json),
        set_file=tuple(runner.set_file),
    )


def _environment_text(value: Any) -> str:
    """A value as the chart's template quotes it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A file's values, with the lines of their keys."""

    file: Path
    document: Any
    positions: YamlPositions


def load(
    files: Sequence[Path],
    pairs: Sequence[str] = (),
    *,
    release: str,
    namespace: str,
    chart: str = _CHART,
    app_version: str = "",
    runner: str = "",
) -> Values:
    """Read and merge plain values files and ``--set`` pairs.

    TOML that can't be used is a `Problem` of the values, since Helm installs it all the same.

    Args:
        files: in merge order.
        pairs: of ``--set``.
        release: the release's name.
        namespace: the release's namespace.
        chart: the chart's version.
        app_version: the runner's version that the chart brings; by default, the one that the tables have for it.
        runner: the runner's version; by default, that of ``image.tag``, or else the one that the chart brings.

    Raises:
        InventoryError: a file or a pair can't be read, which Helm would refuse as well.
    """
    layers: list[_Layer] = []
    for file in files:
        try:
            layers.append(_Layer(file, *read_yaml(file, allow_duplicates=True)))
        except YamlFileError as error:
            raise InventoryError(error.file, error.problems) from None
    settings = Settings(set=tuple(pairs))
    return _merged(
        layers,
        settings,
        blamed=files[-1],
        release=release,
        namespace=namespace,
        chart=chart,
        app_version=app_version,
        runner=runner,
    )


def read_values(
    sources: Sequence[ValuesSource],
    settings: Settings,
    *,
    release: str,
    namespace: str,
    chart: str = _CHART,
    app_version: str = "",
    runner: str = "",
) -> Values:
    """The values of several sources and what is set besides, as `load` reads those of plain files.

    Raises:
        InventoryError: a file or a pair can't be read, which Helm would refuse as well.
    """
    layers = [_Layer(part.file, part.document, part.marks) for source in sources for part in source.parts]
    values = _merged(
        layers,
        with_wrappers(sources, settings),
        blamed=sources[-1].file,
        release=release,
        namespace=namespace,
        chart=chart,
        app_version=app_version,
        runner=runner,
    )
    return replace(values, elsewhere=tuple(name for source in sources for name in source.unresolved))


def with_wrappers(sources: Sequence[ValuesSource], settings: Settings) -> Settings:
    """The settings, with those that the wrappers give, which come first."""
    return replace(
        settings,
        set=(*(pair for source in sources for pair in source.set), *settings.set),
        set_string=(*(pair for source in sources for pair in source.set_string), *settings.set_string),
    )


def _merged(
    layers: Sequence[_Layer],
    settings: Settings,
    *,
    blamed: Path,
    release: str,
    namespace: str,
    chart: str,
    app_version: str,
    runner: str,
) -> Values:
    tree: dict[str, Any] = {}
    origins: dict[KeyPath, Origin] = {}
    duplicates: list[tuple[str, Origin]] = []
    for layer in layers:
        if layer.document is None:
            continue
        if not isinstance(layer.document, Mapping):
            form = type(layer.document).__name__
            raise InventoryError(layer.file, [f"{layer.file}:1: found {form}, expected keys with values"])
        marks = layer.positions
        duplicates += [(format_path(path), Origin(layer.file, line)) for path, line in marks.duplicates]
        origins |= {
            path: Origin(layer.file, marks.line(path), block=path in marks.blocks) for path in _paths(layer.document)
        }
        tree = merge(tree, layer.document)
    tree = _set_all(tree, settings, origins, blamed)
    remember_within(tree)
    given = _dig(tree, "runners.config")
    removed = given is None and _is_removed(layers, settings)
    text = _DEFAULT_CONFIG if given is None and not removed else str(given or "")
    version = runner or runner_version(tree, chart, app_version)
    values = Values(
        files=tuple(layer.file for layer in layers),
        tree=tree,
        config={},
        text=text,
        rendered=text,
        origins={path: origin for path, origin in origins.items() if _survives(tree, path)},
        duplicates=tuple(duplicates),
        release=release,
        namespace=namespace,
        runner=version,
        chart=chart,
        app_version=app_version,
        removed=frozenset({"runners.config"} if removed else ()),
    )
    return _with_reading(values)


def _is_removed(layers: Sequence[_Layer], settings: Settings) -> bool:
    """Whether the chart's own ``runners.config`` is taken away: by null, or an empty text."""
    removed = False
    for layer in layers:
        runners = layer.document.get("runners") if isinstance(layer.document, Mapping) else None
        if isinstance(runners, Mapping) and "config" in runners:
            removed = not runners["config"]
    for pair in (*settings.set, *settings.set_string):
        for part in split_pairs(pair):
            key, _, value = part.partition("=")
            removed = value in {"", "null"} if key.strip() == "runners.config" else removed
    return removed


def _set_all(tree: dict[str, Any], settings: Settings, origins: dict[KeyPath, Origin], blamed: Path) -> dict[str, Any]:
    """The tree with everything that is set besides, in Helm's order."""
    tree = (
        copy.deepcopy(tree) if any((settings.set, settings.set_string, settings.set_json, settings.set_file)) else tree
    )
    for option, pairs in (
        ("set_json", settings.set_json),
        ("set", settings.set),
        ("set_string", settings.set_string),
        ("set_file", settings.set_file),
    ):
        for number, pair in enumerate(pairs):
            try:
                for path, value in parse_pairs(pair, option):
                    set_path(tree, path, value, removing=True)
                    steps = tuple(step for step in path if value is not None)
                    origins |= {steps[: length + 1]: Origin(pair=True) for length in range(len(steps))}
                    origins |= dict.fromkeys(((*steps, *inner) for inner in _paths(value)), Origin(pair=True))
            except (ValueError, OSError) as error:
                # What follows the sign may be a token; without one, all may be.
                key = repr(pair.partition("=")[0]) if "=" in pair else "no ="
                reason = getattr(error, "strerror", None) or str(error)
                raise InventoryError(blamed, [f"runner.{option}[{number}]: found {key}, {reason}"]) from None
    return tree


def _with_reading(values: Values) -> Values:
    """The values with ``runners.config`` as far as it can be read without Helm."""
    keys = charts.keys(values.chart)
    patch = re.match(r"v?\d{1,9}\.\d{1,9}\.(\d{1,9})", values.chart)  # a chart and its runner count patches alike
    known = f"{keys.runner}.{patch[1]}" if patch and keys.covered and not keys.newer_than_tables else ""
    scope = Scope(
        values=merge(CHART_DEFAULTS, values.tree),
        release=values.release,
        namespace=values.namespace,
        chart=values.chart,
        app_version=values.app_version or known,
    )
    reading = templatetext.read(values.text, scope)
    values = replace(values, rendered=reading.text, lines=reading.lines)
    config, message, line = read_config(reading.text, values.runner_keys, template=bool(values.text.strip()))
    origin = values.origin("runners.config")
    unread = tuple(_unread_settings(values, config, reading.unread))
    if reading.error or (message and reading.unread):
        unread = tuple(
            UnreadSetting(path=(), expression=setting.expression, origin=origin.inside(setting.line))
            for setting in reading.unread
        )
        return replace(values, config={}, unread=unread)
    if message:
        return replace(values, problem=Problem(values.config_origin(line), message), unread=unread)
    remember_within(config)
    return replace(values, config=_without_placeholders(config) if unread else config, unread=unread)


def _without_placeholders(table: Mapping[str, Any]) -> dict[str, Any]:
    """A TOML table without the settings that can't be read."""
    kept: dict[str, Any] = {}
    for name, value in table.items():
        held = [*(value if isinstance(value, list) else [value]), name]
        if any(isinstance(entry, str) and PLACEHOLDER.format("") in entry for entry in held):
            continue
        if isinstance(value, Mapping):
            kept[name] = _without_placeholders(value)
        elif isinstance(value, list):
            kept[name] = [_without_placeholders(entry) if isinstance(entry, Mapping) else entry for entry in value]
        else:
            kept[name] = value
    return kept


def _unread_settings(
    values: Values, config: Mapping[str, Any], unread: Sequence[templatetext.Unread]
) -> Iterator[UnreadSetting]:
    origin = values.origin("runners.config")
    holders = list(_texts_of(config))
    for number, expression in enumerate(unread):
        place = origin.inside(expression.line)
        if expression.anything:
            yield UnreadSetting(path=(), expression=expression.expression, origin=place)
        for path, text in () if expression.anything else holders:
            if re.search(rf"{PLACEHOLDER.format(number)}(?!\d)", text):
                yield UnreadSetting(path=path, expression=expression.expression, origin=place, bare=expression.bare)


def _texts_of(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The texts of a TOML document, each with its names; a name that is one counts as its table's."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if PLACEHOLDER.format("") in name:
                yield path, name
            yield from _texts_of(value, (*path, str(name)))
    elif isinstance(node, list):
        for value in node:
            yield from _texts_of(value, path)
    elif isinstance(node, str):
        yield path, node


def with_rendering(values: Values, rendering: Rendering) -> Values:
    """The values with what Helm makes of them; the operator's own keys stay as they are written."""
    text = rendering.template or ""
    lines = tuple(source_lines(values.text, text))
    values = replace(values, rendering=rendering, rendered=text, lines=lines, problem=None, unread=(), config={})
    if not text.strip() and values.get("runners.configPath"):
        place = values.origin("runners.configPath")
        elsewhere = UnreadSetting(
            path=(),
            expression=f"the file {values.get('runners.configPath')}",
            origin=place,
            reason="managers take their template from a file that is not in the values",
            needs="the template in `runners.config`",
        )
        return replace(values, unread=(elsewhere,))
    config, message, line = read_config(text, values.runner_keys, template=bool(text.strip()))
    if message:
        return replace(values, problem=Problem(values.config_origin(line), message))
    remember_within(config)
    return replace(values, config=config)


def source_lines(text: str, rendered: str) -> list[int]:
    """For each line of a rendered text, the line of the template that it comes from, both from 1."""
    before, after = text.splitlines(), rendered.splitlines()
    lines = list(range(1, len(after) + 1))
    if len(before) == len(after) and "{{-" not in text and "-}}" not in text:
        return lines
    matcher = difflib.SequenceMatcher(a=[line.strip() for line in before], b=[line.strip() for line in after])
    for _, first, last, start, stop in matcher.get_opcodes():
        for number in range(start, stop):
            lines[number] = min(first + 1 + (number - start), max(last, 1))
    return lines


_TAG_OF_A_RELEASE = re.compile(r"(?:^|-)v?(?P<version>\d+\.\d+(?:\.\d+)?)(?:$|[-+])")
_TAG_OF_THE_NEWEST = re.compile(r"(?:(?:alpine|ubuntu)[\d.]*-)?(?:latest|bleeding)|alpine|ubuntu")


def runner_version(tree: Mapping[str, Any], chart: str, app_version: str = "") -> str:
    """The version of the runner that a release runs: that of ``image.tag``, or else the one that the chart brings.

    Newer than every table is what a moving tag stands for, and what a chart brings that is newer than every table.
    """
    tag = str(_dig(tree, "image.tag") or "")
    if _TAG_OF_THE_NEWEST.fullmatch(tag):
        return _NEWEST
    if matched := _TAG_OF_A_RELEASE.search(tag):
        return matched["version"]
    if app_version:
        return app_version.removeprefix("v")
    keys = charts.keys(chart)
    if keys.newer_than_tables:
        return _NEWEST
    patch = re.match(r"v?\d{1,9}\.\d{1,9}\.(\d{1,9})", chart)  # a chart and its runner count patches alike
    return f"{keys.runner}.{patch[1]}" if patch and keys.covered else keys.runner


def _paths(node: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """All keys and items of a tree."""
    if path:
        yield path
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from _paths(value, (*path, key if isinstance(node, list) else str(key)))


def _survives(tree: Any, path: KeyPath) -> bool:
    """Whether a key is still there after the merge."""
    for step in path:
        if isinstance(tree, list):
            tree = dict(enumerate(tree))
        if not isinstance(tree, Mapping) or step not in tree:
            return False
        tree = tree[step]
    return True


def config_text(tree: Mapping[str, Any]) -> str:
    """``runners.config`` as merged values have it, or the chart's own."""
    given = _dig(tree, "runners.config")
    return _DEFAULT_CONFIG if given is None else str(given)


def config_of(tree: Mapping[str, Any], like: Values) -> Mapping[str, Any]:
    """The TOML of ``runners.config`` in other values of the same release; empty if it is none."""
    text = config_text(tree)
    return _with_reading(replace(like, tree=tree, text=text, rendering=None, unread=(), problem=None)).config


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two trees as ``helm -f below -f above`` does: maps deeply, lists replaced, null removes a key."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


TEMPLATE = re.compile(
    r"\{\{-?\s{0,20}(?P<body>(?:\"(?:\\.|[^\"\\\n])*+\"|`[^`]*+`|(?!\s{0,20}-?\}\}|\{\{).)*+)\s{0,20}-?\}\}", re.DOTALL
)


def _dig(tree: Mapping[str, Any], path: str) -> Any:
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def read_config(text: str, keys: RunnerKeys, *, template: bool = True) -> tuple[Mapping[str, Any], str, int]:
    """The parsed TOML of ``runners.config``; or why it can't be used, and at which of its lines.

    Args:
        text: the rendered text.
        keys: what the runner reads.
        template: whether managers register with it; without one, they take what their variables say.
    """
    if not template:
        return {}, "", 0
    try:
        config = parse(text, keys)
    except NotTomlError as error:
        line = error.line or text.count("\n") + 1
        return {}, f"not TOML at its line {line}: {error.reason}", line
    entries = decode(config, keys).values.get("runners", ())
    if len(entries) != 1:
        count = f"{len(entries)} of them" if entries else "none"
        return {}, f"found {count}, expected exactly one [[runners]] entry", 1
    return config, "", 0


POD_SETTINGS = tuple(
    f"runners.kubernetes.{key}"
    for key in (
        "namespace service_account use_service_account_image_pull_secrets image_pull_secrets node_selector "
        "node_tolerations affinity dns_policy dns_config host_aliases pod_labels pod_annotations runtime_class_name "
        "scheduler_name privileged build_container_security_context service_container_security_context"
    ).split()
)
"""What the suite's own pods take of a job's: without one of these, none of them would be like a job's."""
HELPER_SETTINGS = ("runners.kubernetes.helper_image", "runners.kubernetes.helper_image_flavor")
RESOURCE_SETTINGS = tuple(
    f"runners.kubernetes.{prefix}{name}_{kind}"
    for prefix in ("", "helper_", "service_")
    for name in ("cpu", "memory", "ephemeral_storage")
    for kind in ("request", "limit")
)
