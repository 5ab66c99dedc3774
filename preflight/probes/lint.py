"""Read the values as the chart and the runner will, and find what they would ignore, refuse or take for something else.

Neither has a schema (reference §1.1, §2.1): a key that is misspelt, moved or below the wrong header is dropped without
a word, and the first sign of it is a job that behaves otherwise. `lint` is pure; the keys are `preflight.charts`.
What a finding says never holds a value that may be secret.
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from preflight import charts
from preflight.charts import Keys, Tree
from preflight.evidence import Evidence, Fact
from preflight.faults import ValuesFault
from preflight.probes.pods import ImagePull
from preflight.values import CHART_CONCURRENT, DNS_POLICIES, TEMPLATE, Origin, Values
from preflight.yamlfile import format_path

Reader = Literal["chart", "runner"]
Names = tuple[str, ...]

MOST_NAMESERVERS = 3  # the API's validation of a pod (reference §2.3)
_ALPINE, _UBUNTU = (100, 65533), (999, 999)  # user and group of the two images (reference §1.5)
_SEMANTIC = re.compile(r"^(?:(?P<flavour>[a-z]+[a-z0-9.]*)-)?(?:v\d+\.\d+\.\d+|latest|bleeding)$")
_FLAT = ("nameservers", "dns_policy", "dnsPolicy", "dns_config", "dnsConfig", "searches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing in the values that will not work as it reads.

    Attributes:
        fault: its kind.
        reader: who will not read it so: the chart (keys of the YAML), or the runner (keys of the TOML).
        path: the key.
        place: such as ``gitlab-runner-values.yaml:12``.
        said: a sentence.
    """

    fault: ValuesFault
    reader: Reader
    path: str
    place: str
    said: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint(Fact):
    """What a check of the values found.

    Attributes:
        findings: in the order of the file.
        chart: the version whose keys were taken.
    """

    findings: tuple[Finding, ...] = ()
    chart: str = ""

    def about(self, *faults: ValuesFault, reader: Reader | None = None) -> Lint:
        """The same look, with the findings of these kinds alone; the first of them is the fault."""
        chosen = tuple(one for one in self.findings if one.fault in faults and reader in {None, one.reader})
        return Lint(
            target=self.target,
            findings=chosen,
            chart=self.chart,
            fault=chosen[0].fault if chosen else None,
            cause="; ".join(map(str, chosen[:_TOLD])) + (f"; and {len(chosen) - _TOLD} more" if chosen[_TOLD:] else ""),
            evidence=Evidence(
                where=self.evidence.where,
                command=_command(chosen) or self.evidence.command,
                observed="\n".join(map(str, chosen)) or self.evidence.observed,
            ),
        )


_TOLD = 3  # findings that a cause names; the evidence holds all


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the inventory says of the environment that the values are for.

    Attributes:
        chart: the chart's version.
        gitlab_url: GitLab's address.
        resolvers: the resolvers that jobs are given.
        privileged: whether jobs use Docker-in-Docker.
    """

    chart: str
    gitlab_url: str
    resolvers: tuple[str, ...]
    privileged: bool


def lint(values: Values, expected: Expected) -> Lint:
    """Everything in the values that the chart and the runner of that version would not do as it reads."""
    chart = charts.keys("gitlab-runner", expected.chart)
    runner = charts.keys("runner", chart.runner)
    findings = list(_chart_findings(values, chart, expected))
    if values.problem is not None:
        findings.append(
            Finding(
                fault=ValuesFault.NOT_TOML,
                reader="runner",
                path="runners.config",
                place=str(values.problem.origin),
                said=values.problem.said,
            )
        )
    else:
        text = _Text(values, toml_lines(values.rendered))
        findings += [*_runner_findings(text, runner), *_meanings(text, expected)]
    files = ", ".join(file.name for file in values.files)
    known = "" if chart.covered else f" (no table of keys for {expected.chart}: the nearest one is taken)"
    return Lint(
        target=files,
        findings=tuple(sorted(findings, key=_place)),
        chart=chart.version,
        evidence=Evidence(
            where="here",
            command=f"helm show values gitlab/gitlab-runner --version {expected.chart}",
            observed=f"{files} beside the keys of chart {chart.version} and runner {chart.runner}{known}",
        ),
    )


def _place(finding: Finding) -> tuple[str, int]:
    file, _, line = finding.place.rpartition(":")
    return file, int(line) if line.isdigit() else 0


def _command(findings: tuple[Finding, ...]) -> str:
    """A command that shows the lines of the findings; a secret in them stays where it is."""
    lines: dict[str, list[int]] = {}
    for finding in findings:
        file, line = _place(finding)
        if file and line and line not in lines.setdefault(file, []):
            lines[file].append(line)
    return "; ".join(
        f"cat -n {shlex.quote(file)} | sed -n '{';'.join(f'{line}p' for line in found)}'"
        for file, found in lines.items()
    )


# ---- where the TOML's keys stand ------------------------------------------------------------------------------------

_HEADER = re.compile(r"^\s*\[\[?(?P<name>[^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*(?P<name>(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'""")


def toml_lines(text: str) -> dict[Names, int]:
    """The line of each table and key of a TOML text that parses, from 1; of an array's tables, that of the first."""
    found: dict[Names, int] = {}
    table: Names = ()
    lines = text.splitlines()
    path_segment = 0
    while path_segment < len(lines):
        line = lines[path_segment]
        if header := _HEADER.match(line):
            table = _names(header["name"])
            found.setdefault(table, path_segment + 1)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_names(key["name"])), path_segment + 1)
            path_segment = _end(lines, path_segment)
        path_segment += 1
    return found


def _names(dotted: str) -> Names:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _end(lines: list[str], first: int) -> int:
    """The last line of a key's value: of a text or an array over several lines, where it parses."""
    for last in range(first, len(lines)):
        try:
            tomllib.loads("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    return first


@dataclass(frozen=True, slots=True)
class _Text:
    """The TOML of ``runners.config`` and the places of its keys."""

    values: Values
    lines: Mapping[Names, int] = field(repr=False)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.values.config

    def place(self, *path: str) -> str:
        """The place of a key, or of the nearest table around it."""
        origin = self.values.origin("runners.config")
        while path and path not in self.lines:
            path = path[:-1]
        return str(origin.inside(self.lines[path]) if path else origin)

    def finding(self, fault: ValuesFault, path: Names, said: str) -> Finding:
        return Finding(fault=fault, reader="runner", path=_table(path), place=self.place(*path), said=said)


def _table(path: Names) -> str:
    """A TOML key as people speak of it: ``[runners.kubernetes] dns_policy``."""
    *table, key = path
    return f"[{'.'.join(table)}] {key}" if table else key


# ---- keys that are not read -----------------------------------------------------------------------------------------


def _chart_findings(values: Values, chart: Keys, expected: Expected) -> Iterator[Finding]:
    def found(fault: ValuesFault, path: str, said: str, origin: Origin | None = None) -> Finding:
        place = str(origin or values.origin(path))
        return Finding(fault=fault, reader="chart", path=path, place=place, said=said)

    for path in _unread(values.tree, chart.tree, ()):
        name, origin = format_path(path), values.origin(path)
        if moved := chart.moved.get(name):
            where = "" if moved["instead"].startswith("rbac.") else " in runners.config"
            said = f"the chart ignores it since {moved['since']}: write {moved['instead']}{where}"
            yield found(ValuesFault.MOVED_KEY, name, said, origin)
        elif path[-1] in _FLAT:
            said = "the chart ignores it: write dns_policy, and nameservers below [runners.kubernetes.dns_config], "
            yield found(ValuesFault.FLAT_NAMESERVERS, name, said + "in runners.config", origin)
        else:
            yield found(ValuesFault.UNKNOWN_KEY, name, _chart_hint(path, chart), origin)
    for name, retired in chart.retired.items():
        if values.get(name) not in (None, ""):
            said = f"not in the chart's values since {retired['since']}, and void with a token of the kind glrt-…: "
            yield found(ValuesFault.MOVED_KEY, name, f"{said}set it on {retired['instead']}")
    for path, value, word in _misformed(values.tree, chart.tree, (), _FITS_TEMPLATE):
        said = f"the chart reads {_FORMS[word]} here, and finds {_form(value)}"
        yield found(ValuesFault.WRONG_FORM, format_path(path), said, values.origin(path))
    for name, origin in values.twice:
        said = "stands twice in this file; Helm takes the last one without a word"
        yield found(ValuesFault.TWICE, name, said, origin)
    yield from (found(*one) for one in _contradictions(values))
    yield from (found(*one) for one in _settings(values, expected))


def _runner_findings(text: _Text, runner: Keys) -> Iterator[Finding]:
    for steps in _unread(text.config, runner.tree, ()):
        path = tuple(step for step in steps if isinstance(step, str))
        *table, key = path
        home = next((around for around in _around(tuple(table)) if key in _tree(runner.tree, around)), None)
        if table == ["runners", "kubernetes"] and key in _FLAT:
            said = "the runner ignores it here: it reads them below [runners.kubernetes.dns_config]"
            yield text.finding(ValuesFault.FLAT_NAMESERVERS, path, said)
        elif key in runner.moved and len(path) <= len(("runners", "KEY")):
            said = f"ignored in runners.config: it is {runner.moved[key]['instead']}"
            yield text.finding(ValuesFault.MOVED_KEY, path, said)
        elif home is not None:
            said = f"it stands below the header [{'.'.join(table)}] and belongs to it, where the runner ignores it: "
            said += f"move it up to [{'.'.join(home)}], above every other table"
            yield text.finding(ValuesFault.WRONG_TABLE, path, said)
        else:
            yield text.finding(ValuesFault.UNKNOWN_KEY, path, _runner_hint(path, runner))
    for steps, value, word in _misformed(text.config, runner.tree, (), _FITS_TOML):
        path = tuple(step for step in steps if isinstance(step, str))
        if word == "map" and isinstance(value, Mapping):
            yield from _slid(text, path, value, runner)
            continue
        said = f"the runner reads {_FORMS[word]} here, finds {_form(value)}, and does not load the configuration"
        yield text.finding(ValuesFault.WRONG_FORM, path, said)


def _slid(text: _Text, path: Names, table: Mapping[str, Any], runner: Keys) -> Iterator[Finding]:
    """Keys below the header of a table of free names that are not meant to be such names."""
    around = _tree(runner.tree, path[:-1])
    for key, value in table.items():
        if isinstance(value, str) and key not in around:
            continue
        if key in around:
            said = f"it stands below the header [{'.'.join(path)}] and is taken for one of its names: "
            said += f"move it up to [{'.'.join(path[:-1])}], above every other table"
            yield text.finding(ValuesFault.WRONG_TABLE, (*path, key), said)
        else:
            said = f"the runner reads text here, finds {_form(value)}, and does not load the configuration"
            yield text.finding(ValuesFault.WRONG_FORM, (*path, key), said)


Steps = tuple[str | int, ...]


def _unread(node: Mapping[str, Any], tree: Tree, path: Steps) -> Iterator[Steps]:
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


def _misformed(
    node: Mapping[str, Any], tree: Tree, path: Steps, fits: Mapping[str, Callable[[Any], bool]]
) -> Iterator[tuple[Steps, Any, str]]:
    """The known keys whose value is of another form than the one that is read."""
    for key, value in node.items():
        known = tree.get(str(key))
        steps = (*path, str(key))
        if known is None or value is None:
            continue
        if isinstance(known, Mapping):
            inner = value if isinstance(value, list) else [value]
            if not all(isinstance(one, Mapping) for one in inner):
                yield steps, value, "keys"
            for one in inner:
                if isinstance(one, Mapping):
                    yield from _misformed(one, known, steps, fits)
        elif not fits[known](value):
            yield steps, value, known


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numeric(value: Any) -> bool:
    return _whole(value) or (isinstance(value, str) and (value.isdigit() or "{{" in value))


_FITS_TEMPLATE: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str | int | float),
    "number": _numeric,
    # Any text is true to a template, "false" as well.
    "switch": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, Mapping),
    "any": lambda _: True,
}
_FITS_TOML: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": _whole,
    "switch": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "map": lambda _: False,  # looked into by `_slid`
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
    return next((word for kind, word in forms if isinstance(value, kind)), "keys with values")


def _around(table: Names) -> Iterator[Names]:
    """The tables around a table, the nearest first."""
    for length in range(len(table) - 1, 0, -1):
        yield table[:length]


def _tree(tree: Tree, path: Names) -> Tree:
    for step in path:
        inner = tree.get(step)
        if not isinstance(inner, Mapping):
            return {}
        tree = inner
    return tree


def _leaves(tree: Tree, path: Names = ()) -> Iterator[Names]:
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _alike(name: str, known: Tree) -> str | None:
    """The known name that differs in case, hyphens and underscores alone."""
    plain = {re.sub(r"[_\-]", "", one).lower(): one for one in known}
    return plain.get(re.sub(r"[_\-]", "", name).lower())


def _near(name: str, known: Tree) -> str | None:
    """The known name that a misspelt one comes nearest to."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _chart_hint(path: Steps, chart: Keys) -> str:
    said = f"the chart {chart.version} reads no such key"
    names = tuple(step for step in path if isinstance(step, str))
    *around, key = names
    siblings = _tree(chart.tree, tuple(around))
    runner = charts.keys("runner", chart.runner)
    if near := _alike(key, siblings):
        return f"{said}; did you mean {'.'.join([*around, near])}?"
    if len(elsewhere := [one for one in _leaves(chart.tree) if one[-1] == key]) == 1:
        return f"{said} here; it is {'.'.join(elsewhere[0])}"
    if inner := [one for one in _leaves(runner.tree) if one[-1] in {key, _snake(key)}]:
        return f"{said}; the runner reads {_table(inner[0])} in runners.config"
    if near := _near(key, siblings):
        return f"{said}; did you mean {'.'.join([*around, near])}?"
    return said


def _runner_hint(path: Names, runner: Keys) -> str:
    said = "the runner reads no such key here"
    *around, key = path
    siblings = _tree(runner.tree, tuple(around))
    if near := _alike(key, siblings):
        return f"{said}; did you mean {near}?"
    if elsewhere := [one for one in _leaves(runner.tree) if one[-1] in {key, _snake(key)}]:
        return f"{said}; it reads {_table(elsewhere[0])}"
    if near := _near(key, siblings):
        return f"{said}; did you mean {near}?"
    return said


# ---- settings that do not mean what they seem to --------------------------------------------------------------------

_Told = tuple[ValuesFault, str, str]


def _contradictions(values: Values) -> Iterator[_Told]:
    get, fault = values.get, ValuesFault.CONTRADICTION
    replicas = get("replicas", 1)
    if get("runners.secret") and get("runnerToken"):
        said = (
            "runners.secret names a Secret of your own, and the chart would make another of that name with this token"
        )
        yield ValuesFault.TOKEN_IN_FILE, "runnerToken", f"{said}: remove the token from the file"
    if get("runners.configPath") and get("runners.config"):
        yield fault, "runners.configPath", "it is not read, since runners.config is set"
    if get("sessionServer.enabled") is True and replicas != 1:
        said = f"the chart switches it off without a word, since there are {replicas} managers and not one"
        yield fault, "sessionServer.enabled", said
    if get("service.enabled") is True and get("metrics.enabled") is not True:
        yield fault, "service.enabled", "there is no Service, since metrics.enabled is not true"
    if get("metrics.serviceMonitor.enabled") is True and get("service.enabled") is not True:
        yield fault, "metrics.serviceMonitor.enabled", "it has nothing to watch, since service.enabled is not true"
    if get("hpa") and get("replicas") is not None:
        yield fault, "replicas", "it is not read, since hpa is set"


def _settings(values: Values, expected: Expected) -> Iterator[_Told]:
    get = values.get
    url = get("gitlabUrl")
    if url is None:
        yield ValuesFault.GITLAB_URL, "gitlabUrl", f"it is not set; the inventory says {expected.gitlab_url}"
    elif _server(str(url)) != _server(expected.gitlab_url):
        yield ValuesFault.GITLAB_URL, "gitlabUrl", f"it is {url}, the inventory says {expected.gitlab_url}"
    own = get("serviceAccount.name") or get("rbac.serviceAccountName")
    if get("rbac.create") is not True and not own:
        said = "it is not true (the default is false), and no serviceAccount.name names one that has the rights"
        yield ValuesFault.RBAC_OFF, "rbac.create", f"{said}: the managers may not make a job's pod"
    yield from _flavour(values)
    if get("metrics.enabled") is not True:
        said = "it is not true (the default is false): port 9252 answers nobody"
        yield ValuesFault.METRICS_OFF, "metrics.enabled", said
    if get("unregisterRunners", default=True) is False and not get("deploymentLifecycle"):
        said = "every manager that stops leaves its record in GitLab behind, offline"
        yield ValuesFault.UNREGISTER, "unregisterRunners", said
    concurrent = get("concurrent", CHART_CONCURRENT)
    if str(concurrent).lstrip("-").isdigit() and int(concurrent) < 1:
        yield ValuesFault.CONCURRENT, "concurrent", f"it is {concurrent}: the manager ends at once"


def _server(url: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # no URL at all
        return "", url, None, ""
    return parts.scheme, (parts.hostname or "").lower(), port, parts.path.rstrip("/")


def _flavour(values: Values) -> Iterator[_Told]:
    """The manager's image beside the user that it is started as; other images than the runner's own are not judged."""
    tag = str(values.get("image.tag") or "alpine-v0.0.0")
    named = _SEMANTIC.fullmatch(tag)
    if named is None:
        return
    flavour, (user, group) = ("Alpine", _ALPINE) if "alpine" in (named["flavour"] or "") else ("Ubuntu", _UBUNTU)
    context = values.get("podSecurityContext")
    started = context.get("runAsUser", _ALPINE[0]) if isinstance(context, Mapping) else _ALPINE[0]
    if started in (0, user):
        return
    said = f"{tag} is the image with {flavour}, whose user is {user}, and it is started as {started}: "
    said += 'it ends with "mkdir /nonexistent: permission denied"; '
    other = f"alpine-{tag}" if flavour == "Ubuntu" and named["flavour"] is None else ""
    said += f"set podSecurityContext to runAsUser {user} and fsGroup {group}" + (
        f", or tag to {other}" if other else ""
    )
    yield ValuesFault.IMAGE_FLAVOUR, "image.tag", said


_MANAGERS: Mapping[str, str] = {
    "nodeSelector": "node_selector",
    "affinity": "affinity",
    "tolerations": "node_tolerations",
    "imagePullSecrets": "image_pull_secrets",
}


def _meanings(text: _Text, expected: Expected) -> Iterator[Finding]:
    """What the TOML's settings come to, and what the values' own come to beside them."""
    values, table = text.values, text.values.kubernetes
    here = ("runners", "kubernetes")
    yield from _templates(values)
    yield from _dns(text, table, expected)
    if expected.privileged and (table.get("privileged") or False) is False:
        said = "it is not true, and Docker-in-Docker needs it: its daemon ends at its start"
        yield text.finding(ValuesFault.NOT_PRIVILEGED, (*here, "privileged"), said)
    for name, counterpart in _MANAGERS.items():
        if values.get(name) and not table.get(counterpart):
            said = f"it is for the managers' own pods and moves no job: jobs take [runners.kubernetes] {counterpart}"
            yield Finding(
                fault=ValuesFault.MANAGERS_ONLY, reader="chart", path=name, place=str(values.origin(name)), said=said
            )
    runner = values.config["runners"][0]
    limit, concurrent = runner.get("limit"), values.get("concurrent", CHART_CONCURRENT)
    if _whole(limit) and _whole(concurrent) and 0 < limit < concurrent:
        said = f"it is {limit} and lower than concurrent, {concurrent}: a manager runs at most {limit} jobs"
        yield text.finding(ValuesFault.CONCURRENT, ("runners", "limit"), said)
    yield from _overruled(text, runner, table)


def _overruled(text: _Text, runner: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings of the TOML that lose against those of the values (reference §2.1)."""
    values, fault = text.values, ValuesFault.CONTRADICTION
    url = runner.get("url")
    if url and values.get("gitlabUrl") and _server(str(url)) != _server(str(values.get("gitlabUrl"))):
        yield text.finding(fault, ("runners", "url"), "gitlabUrl says otherwise, and wins")
    executor = values.get("runners.executor", "kubernetes")
    if runner.get("executor") not in (None, "", executor):
        yield text.finding(fault, ("runners", "executor"), f"runners.executor says {executor}, and wins")
    if runner.get("token"):
        yield text.finding(fault, ("runners", "token"), "a token in the template is dropped: write runnerToken")
    spaces = (table.get("namespace"), values.get("runners.jobNamespace"))
    if all(spaces) and spaces[0] != spaces[1]:
        said = f"it is {spaces[0]} and wins over runners.jobNamespace, {spaces[1]}, where the chart gives rights"
        yield text.finding(fault, ("runners", "kubernetes", "namespace"), said)


def _dns(text: _Text, table: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    here = ("runners", "kubernetes")
    policy = table.get("dns_policy")
    if policy and str(policy) not in DNS_POLICIES:
        api = {spelling: own for own, spelling in DNS_POLICIES.items()}
        meant = api.get(str(policy)) or next(
            iter(difflib.get_close_matches(_snake(str(policy)), api.values(), n=1)), ""
        )
        said = f'it is "{policy}", which the runner does not know, and jobs get the cluster\'s default'
        said += f'; the runner spells it "{meant}"' if meant else f"; it knows {', '.join(DNS_POLICIES)}"
        yield text.finding(ValuesFault.DNS_POLICY, (*here, "dns_policy"), said)
    config = table.get("dns_config")
    listed = config.get("nameservers", []) if isinstance(config, Mapping) else []
    given = tuple(map(str, listed)) if isinstance(listed, list) else ()
    path_segment = (*here, "dns_config", "nameservers")
    if len(given) > MOST_NAMESERVERS:
        said = f"there are {len(given)}, and the API refuses a pod with more than {MOST_NAMESERVERS}"
        yield text.finding(ValuesFault.TOO_MANY_NAMESERVERS, path_segment, said)
    elif policy == "none" and not given:
        flat = any(name in table for name in ("nameservers", "dns_nameservers"))
        said = 'dns_policy is "none" and dns_config has no nameservers: the API refuses every job\'s pod'
        if not flat:  # else the flat ones are the finding
            yield text.finding(ValuesFault.NO_NAMESERVERS, path_segment, said)
    elif str(policy).lower() == "none" and set(given) != set(expected.resolvers):
        said = f"jobs are given {', '.join(given)}; the inventory says {', '.join(expected.resolvers)}"
        yield text.finding(ValuesFault.OTHER_NAMESERVERS, path_segment, said)


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


def _templates(values: Values) -> Iterator[Finding]:
    """Expressions that Helm would refuse, or render to nothing, where the text means them for somebody else."""
    for number, line in enumerate(values.text.splitlines(), start=1):
        for found in TEMPLATE.finditer(line):
            if wrong := _misread(found["body"], values):
                place = str(values.origin("runners.config").inside(number))
                said = f"Helm evaluates {found[0]} before the runner sees it: {wrong}; "
                said += 'to hand it on as it is, write {{ "{{" }} for its opening braces'
                yield Finding(
                    fault=ValuesFault.TEMPLATE, reader="runner", path="runners.config", place=place, said=said
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


# ---- beside what was measured ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience(Fact):
    """How long a pull took on the slowest node, beside how long the runner waits for a pod.

    Attributes:
        seconds: of the slowest fresh pull; None if no node pulled the image anew.
        allowed: ``poll_timeout``, seconds.
    """

    seconds: float | None = None
    allowed: int


def patience(image: str, pulls: Iterable[ImagePull], *, allowed: int, place: str) -> Patience:
    """Judge ``poll_timeout`` by the fresh pulls of an image; one that was there already took no time that counts."""
    timed = [(pull.seconds, pull.node) for pull in pulls if pull.fresh and pull.seconds is not None]
    seconds, node = max(timed, default=(None, ""))
    late = seconds is not None and seconds >= allowed
    lines = [f"{node}: {taken:.1f} s" for taken, node in timed] or ["no node pulled it anew"]
    return Patience(
        target=image,
        seconds=seconds,
        allowed=allowed,
        fault=ValuesFault.POLL_TIMEOUT if late else None,
        cause=f"the pull on {node} took {seconds:.0f} s, and {place} lets the runner wait {allowed} s" if late else "",
        evidence=Evidence(
            where=f"pod on {node}" if node else "here",
            command="kubectl get events --field-selector reason=Pulled",
            observed="\n".join(lines),
        ),
    )
