"""The runner's Helm values: merged as Helm merges them, and read as far as the shape of a job's pod needs.

`load` gives the `Values` of the inventory's files and ``--set`` pairs, with the parsed TOML of ``runners.config``.
`job_shape` reads the pod's shape from what the runner of that version decodes of it (docs/sources.md#runner-keys). What
it ignores or refuses is not judged here, and has no part in the shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from preflight import charts
from preflight.inventory import InventoryError, Runner
from preflight.jobshape import JobShape, Resources
from preflight.redaction import remember_within
from preflight.runner_config import NotTomlError, RunnerKeys, decode, parse, runner_keys
from preflight.yamlfile import KeyPath, YamlFileError, format_path, read_yaml

CHART_CONCURRENT = 10  # the chart's default (docs/sources.md#chart-defaults)
POLL_TIMEOUT = 180  # seconds, the runner's default (docs/sources.md#runner-keys)
_CHART = "0.80.0"  # the inventory's default
_NEWEST = "999"  # a runner that is newer than every table
_NO_NAMESPACE = "default"  # where the runner puts a job whose namespace is not set

_DEFAULT_CONFIG = """\
[[runners]]
  [runners.kubernetes]
    namespace = "{{ default .Release.Namespace .Values.runners.jobNamespace }}"
    image = "alpine"
"""  # the chart's default (docs/sources.md#chart-defaults)

DNS_POLICIES = {  # the runner's spelling → the API's (docs/sources.md#dns-policy)
    "none": "None",
    "default": "Default",
    "cluster-first": "ClusterFirst",
    "cluster-first-with-host-net": "ClusterFirstWithHostNet",
}
_PULL_POLICIES = {"always": "Always", "never": "Never", "if-not-present": "IfNotPresent"}


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
        runner: the runner's version, such as ``18.3.1``.
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
        listed, extra = self.get("envVars"), self.get("extraEnv")
        variables = {
            str(entry.get("name")): _environment_text(entry.get("value"))
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, Mapping)
        }
        if isinstance(extra, Mapping):
            variables |= {str(name): _environment_text(value) for name, value in extra.items()}
        return variables


def values_of(runner: Runner) -> Values:
    """The values that an inventory's runner is to be installed with; raises what `load` does."""
    return load(runner.values, runner.set, release=runner.release, namespace=runner.namespace, chart=runner.chart)


def _environment_text(value: Any) -> str:
    """A value as the chart's template quotes it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


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
    """Read and merge values files and ``--set`` pairs.

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
    tree: dict[str, Any] = {}
    origins: dict[KeyPath, Origin] = {}
    duplicates: list[tuple[str, Origin]] = []
    for file in files:
        try:
            document, positions = read_yaml(file, allow_duplicates=True)
        except YamlFileError as error:
            raise InventoryError(error.file, error.problems) from None
        if document is None:
            continue
        if not isinstance(document, Mapping):
            raise InventoryError(file, [f"{file}:1: found {type(document).__name__}, expected keys with values"])
        duplicates += [(format_path(path), Origin(file, line)) for path, line in positions.duplicates]
        origins |= {
            path: Origin(file, positions.line(path), block=path in positions.blocks) for path in _paths(document)
        }
        tree = merge(tree, document)
    for number, pair in enumerate(pairs):
        try:
            override = parse_set(pair)
        except ValueError as error:
            # What follows the sign may be a token; without one, all may be.
            key = repr(pair.partition("=")[0]) if "=" in pair else "no ="
            raise InventoryError(files[-1], [f"runner.set[{number}]: found {key}, {error}"]) from None
        origins |= dict.fromkeys(_paths(override), Origin(pair=True))
        tree = merge(tree, override)
    remember_within(tree)
    text = str(_dig(tree, "runners.config") or _DEFAULT_CONFIG)
    rendered = render(text, tree, release=release, namespace=namespace)
    values = Values(
        files=tuple(files),
        tree=tree,
        config={},
        text=text,
        rendered=rendered,
        origins={path: origin for path, origin in origins.items() if _survives(tree, path)},
        duplicates=tuple(duplicates),
        release=release,
        namespace=namespace,
        runner=runner or runner_version(tree, chart, app_version),
    )
    config, message, line = read_config(rendered, values.runner_keys)
    if message:
        return replace(values, problem=Problem(values.origin("runners.config").inside(line), message))
    remember_within(config)
    return replace(values, config=config)


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


def config_of(tree: Mapping[str, Any], like: Values) -> Mapping[str, Any]:
    """The TOML of ``runners.config`` in other values of the same release; empty if it is none."""
    text = _dig(tree, "runners.config") or _DEFAULT_CONFIG
    try:
        return parse(render(str(text), tree, release=like.release, namespace=like.namespace), like.runner_keys)
    except NotTomlError:
        return {}


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


def parse_set(text: str) -> dict[str, Any]:
    """Read ``a.b=1,c[0].d=x,e={f,g}`` as ``helm --set`` does; a ValueError says what was expected."""
    tree: dict[str, Any] = {}
    for pair in _split(text, ",", keep=True):
        path, separator, value = pair.partition("=")
        if not separator or not path.strip():
            msg = "expected key=value"
            raise ValueError(msg)
        _set_path(tree, _split(path.strip(), "."), _scalar(value))
    return tree


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


def _scalar(text: str) -> Any:
    if text.startswith("{") and text.endswith("}"):
        return [_scalar(item) for item in _split(text[1:-1], ",")] if text != "{}" else []
    if text in {"true", "false"}:
        return text == "true"
    if text == "null":
        return None
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text


def _set_path(tree: dict[str, Any], path: list[str], value: Any) -> None:
    node: Any = tree
    steps: list[str | int] = []
    for part in path:
        name, *indexes = re.split(r"\[(\d+)\]", part)
        steps.append(name)
        steps.extend(int(index) for index in indexes if index.isdigit())
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int):
            node.extend([None] * (step + 1 - len(node)))
        if following is None:
            node[step] = value
            return
        held = node[step] if isinstance(step, int) else node.get(step)
        if held is None:
            held = [] if isinstance(following, int) else {}
            node[step] = held
        node = held


TEMPLATE = re.compile(r"\{\{-?\s{0,20}(?P<body>(?:(?!\s{0,20}-?\}\}|\{\{).)*+)\s{0,20}-?\}\}")


def render(text: str, tree: Mapping[str, Any], *, release: str, namespace: str) -> str:
    """Replace the template expressions that values files use in ``runners.config``; any other one stays as it is."""

    def known(expression: str) -> str | None:
        if expression == ".Release.Namespace":
            return namespace
        if expression == ".Release.Name":
            return release
        if expression.startswith(".Values."):
            value = _dig(tree, expression.removeprefix(".Values."))
            return "" if value is None else str(value)
        return None

    def replaced(match: re.Match[str]) -> str:
        words = [word for word in match["body"].split() if word not in {"|", "quote"}]
        if words[:1] == ["default"] and len(words) == 3:  # noqa: PLR2004 - default FALLBACK VALUE
            result = known(words[2]) or known(words[1]) or words[1].strip('"')
        elif len(words) == 1:
            result = known(words[0])
        else:
            result = None
        return match[0] if result is None else result

    return TEMPLATE.sub(replaced, text)


def _dig(tree: Mapping[str, Any], path: str) -> Any:
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def read_config(text: str, keys: RunnerKeys) -> tuple[Mapping[str, Any], str, int]:
    """The parsed TOML of ``runners.config``; or why it can't be used, and at which of its lines."""
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


# ---- the job's pod --------------------------------------------------------------------------------------------------


def job_shape(values: Values) -> JobShape:
    """The shape that the runner gives to a job's pod with these values.

    Raises:
        ValueError: the TOML of ``runners.config`` can't be used.
    """
    if values.problem is not None:
        msg = f"{values.problem.origin}: runners.config: {values.problem.message}"
        raise ValueError(msg)
    runner = values.runner_entry
    table = _registered(values, runner.get("kubernetes", {}))
    dns_policy = table.get("dns_policy")
    of_account = table.get("use_service_account_image_pull_secrets", False)
    return JobShape(
        namespace=table.get("namespace") or _NO_NAMESPACE,
        image=table.get("image", ""),
        helper_image=table.get("helper_image") or _default_helper(values, table),
        service_account=table.get("service_account") or None,
        pull_secrets=() if of_account else tuple(table.get("image_pull_secrets", ())),
        use_service_account_pull_secrets=of_account,
        node_selector=dict(table.get("node_selector", {})),
        tolerations=tuple(_toleration(key, effect) for key, effect in table.get("node_tolerations", {}).items()),
        affinity=_camel(table.get("affinity")) or None,
        # A spelling that the runner does not know falls back to the cluster's own (docs/sources.md#dns-policy).
        dns_policy=DNS_POLICIES.get(dns_policy, "ClusterFirst") if dns_policy else None,
        dns_config=_dns_config(table.get("dns_config")),
        host_aliases=tuple(
            {"ip": alias.get("ip", ""), "hostnames": list(alias.get("hostnames", ()))}
            for alias in table.get("host_aliases", ())
        ),
        labels=dict(table.get("pod_labels", {})),
        annotations=dict(table.get("pod_annotations", {})),
        runtime_class=table.get("runtime_class_name") or None,
        scheduler=table.get("scheduler_name") or None,
        priority_class=table.get("priority_class_name") or None,
        privileged=is_privileged(table, "build"),
        service_privileged=is_privileged(table, "service"),
        build=_resources(table, ""),
        helper=_resources(table, "helper_"),
        service=_resources(table, "service_"),
        pull_policy=tuple(
            _PULL_POLICIES[policy] for policy in table.get("pull_policy", ()) if policy in _PULL_POLICIES
        ),
        poll_timeout=table.get("poll_timeout") or POLL_TIMEOUT,
        concurrent=_concurrent(values, runner),
        replicas=_whole(values.get("replicas"), 1),
    )


def is_privileged(table: Mapping[str, Any], kind: str) -> bool:
    """Whether a kind of container (build, helper, service) is privileged: its own setting wins over that of all."""
    own = table.get(f"{kind}_container_security_context", {}).get("privileged")
    return bool(table.get("privileged", False) if own is None else own)


_NAMESPACE_SET = re.compile(r"namespace\s*=")  # as the chart's own test of runners.config (_env_vars.tpl)


def _registered(values: Values, table: Mapping[str, Any]) -> dict[str, Any]:
    """The executor's table as a manager registers it: what its variables set is there before the template is merged."""
    variables = dict(values.environment)
    if not _NAMESPACE_SET.search(values.text):
        variables = {"KUBERNETES_NAMESPACE": values.namespace, **variables}
    registered = dict(table)
    for variable, text in variables.items():
        path = values.runner_keys.environment.get(variable, ())
        if len(path) != len(("runners", "kubernetes", "KEY")) or path[1] != "kubernetes" or not text:
            continue
        key = values.runner_keys.find(path)
        shape = key.kind.shape if key else "anything"
        if shape == "text":
            registered[path[-1]] = text
        elif shape == "boolean" and text.lower() in {"1", "t", "true"}:
            registered[path[-1]] = True
        elif shape == "integer" and text.isdigit() and int(text):
            registered[path[-1]] = int(text)
        elif shape in {"list", "text or list"}:
            registered[path[-1]] = text.split(",")
    return registered


def replicas_of(values: Mapping[str, Any]) -> int | None:
    """The number of managers that a release's values configure; None where they leave it to an autoscaler (``hpa``)."""
    return None if values.get("hpa") else _whole(values.get("replicas"), 1)


def _default_helper(values: Values, table: Mapping[str, Any]) -> str:
    """The helper image that the runner takes when none is set (docs/sources.md#runner-keys)."""
    flavour = table.get("helper_image_flavor") or "alpine"
    arch = "arm64" if table.get("node_selector", {}).get("kubernetes.io/arch") == "arm64" else "x86_64"
    prefix = "" if flavour == "alpine" else f"{flavour}-"
    patched = re.fullmatch(r"\d{1,9}\.\d{1,9}\.\d{1,9}", values.runner)
    version = f"v{values.runner}" if patched else "latest"
    return f"registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:{prefix}{arch}-{version}"


def _toleration(key: str, effect: str) -> dict[str, str]:
    name, separator, value = key.partition("=")
    operator = {"operator": "Equal", "value": value} if separator else {"operator": "Exists"}
    return {"key": name, **operator, **({"effect": effect} if effect else {})}


def _camel(node: Any) -> Any:
    """The runner's snake_case tables in the API's camelCase, without empty ones; labels keep their spelling."""
    if isinstance(node, Mapping):
        return {
            re.sub(r"_([a-z])", lambda letter: letter[1].upper(), key): (
                dict(value) if key == "match_labels" else _camel(value)
            )
            for key, value in node.items()
            if value != {}
        }
    return [_camel(item) for item in node] if isinstance(node, list) else node


def _dns_config(table: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if table is None:
        return None
    config = {
        "nameservers": list(table.get("nameservers", ())),
        "searches": list(table.get("searches", ())),
        "options": [dict(option) for option in table.get("options", ())],
    }
    return {key: value for key, value in config.items() if value}


def _resources(table: Mapping[str, Any], prefix: str) -> Resources:
    def amounts(kind: str) -> dict[str, str]:
        names = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage"}
        configured = {name: table.get(f"{prefix}{key}_{kind}") for key, name in names.items()}
        return {name: amount for name, amount in configured.items() if amount}

    return Resources(requests=amounts("request"), limits=amounts("limit"))


def _whole(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _concurrent(values: Values, runner: Mapping[str, Any]) -> int:
    """Jobs that one manager runs at most: ``concurrent``, or the runner's own lower ``limit``."""
    concurrent = _whole(values.get("concurrent"), CHART_CONCURRENT)
    limit = _whole(runner.get("limit"), 0)
    return min(concurrent, limit) if limit > 0 else concurrent
