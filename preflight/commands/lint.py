"""``python -m preflight lint VALUES…``: read values files as chart and runner will, without an inventory or a cluster.

For a pre-commit hook, and for a merge request of a repository of values. With helm and the chart's package, Helm
renders and the result is judged; without them, what can be read without them is. Exit status: 0, 1 with errors, 6 with
unknowns alone, 4 for what can't be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from preflight import values as reader
from preflight import valuesource
from preflight.chartpackage import ChartPackage, NotAChartError, keys_of
from preflight.clients import helm
from preflight.evidence import Unmeasured, one_line
from preflight.faults import ValuesFault
from preflight.inventory import InventoryError
from preflight.inventory_forms import is_chart_path
from preflight.language import translated
from preflight.probes import lint
from preflight.probes.lint import Expected, Finding
from preflight.rendering import Rendering
from preflight.values import Origin, Values
from preflight.valuesource import Settings, ValuesSource

Level = Literal["error", "advice", "unknown"]

OK, ERRORS, BAD_INPUT, UNKNOWN = 0, 1, 4, 6
CHART = "0.80.0"  # the inventory's default
_ENVIRONMENTS = frozenset(
    {ValuesFault.GITLAB_URL, ValuesFault.OTHER_NAMESERVERS, ValuesFault.NOT_PRIVILEGED, ValuesFault.METRICS_OFF}
)
"""What can only be judged beside an inventory, which there is none of here."""
_ADVICE = frozenset(
    {
        ValuesFault.MANAGERS_ONLY,
        ValuesFault.UNREGISTER,
        ValuesFault.IMAGE_FLAVOUR,
        ValuesFault.NO_EFFECT,
        ValuesFault.NOT_KNOWN,
    }
)
_REMEDIES: Mapping[ValuesFault, str] = {
    ValuesFault.NOT_TOML: "correct the line of runners.config",
    ValuesFault.UNKNOWN_KEY: "take the spelling that is named, or remove the key",
    ValuesFault.REFUSED: "correct the value as it says: with it, no manager registers",
    ValuesFault.OTHER_VERSION: "remove the key, or run a version of the runner that reads it",
    ValuesFault.NOT_KNOWN: "look it up in the documentation of that version",
    ValuesFault.NO_EFFECT: "complete the setting as it says, or remove it",
    ValuesFault.JOBS_FAIL: "correct the setting as it says: no job runs with it",
    ValuesFault.SOME_JOBS_FAIL: "correct the setting as it says, before a job needs it",
    ValuesFault.MOVED_KEY: "write it where it is read now, and remove the old key",
    ValuesFault.WRONG_FORM: "write the value in the form that is named",
    ValuesFault.WRONG_TABLE: "move the key below the header of its own table",
    ValuesFault.TWICE: "keep one of the two lines",
    ValuesFault.CONTRADICTION: "remove the setting that is void, or the one that makes it so",
    ValuesFault.TOKEN_IN_FILE: "remove runnerToken: the token is in the Secret that runners.secret names",
    ValuesFault.DNS_POLICY: "take the runner's own spelling",
    ValuesFault.FLAT_NAMESERVERS: "write nameservers below [runners.kubernetes.dns_config]",
    ValuesFault.TOO_MANY_NAMESERVERS: "keep three of them",
    ValuesFault.NO_NAMESERVERS: "write nameservers below [runners.kubernetes.dns_config], or take another dns_policy",
    ValuesFault.TEMPLATE: 'correct the expression, or write {{ "{{" }} for braces that are meant for somebody else',
    ValuesFault.RBAC_OFF: "rbac.create: true",
    ValuesFault.IMAGE_FLAVOUR: "let image.tag and podSecurityContext agree: alpine 100, ubuntu 999",
    ValuesFault.MANAGERS_ONLY: "set it in runners.config, if it is meant for jobs",
    ValuesFault.CONCURRENT: "raise limit, or lower concurrent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One thing that was found, as it is printed.

    Attributes:
        file: the values file; empty where it is no file's.
        line: in it; 0 where it has none.
        path: the key.
        level: ``error``; ``advice``, which changes no exit status; ``unknown``, which could not be judged.
        fault: its kind.
        message: a sentence.
        remedy: how to fix it.
    """

    file: str
    line: int
    path: str
    level: Level
    fault: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file or "values"
        return f"{place}: {self.level}: {self.path}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """What came of it.

    Attributes:
        rendered_by: ``helm 3.x``, or ``reader``.
        config: the rendered ``runners.config``; None where it can't be had.
        text: the same as text.
        judgements: in the order of the files.
    """

    rendered_by: str
    config: Mapping[str, Any] | None
    text: str
    judgements: tuple[Judgement, ...]

    @property
    def status(self) -> int:
        """The exit status."""
        levels = {judgement.level for judgement in self.judgements}
        return ERRORS if "error" in levels else UNKNOWN if "unknown" in levels else OK


# ---- the command ----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("values", nargs="+", type=Path, metavar="VALUES", help="values files, merged in this order")
    for option in ("set", "set-string", "set-json", "set-file"):
        parser.add_argument(f"--{option}", action="append", default=[], metavar="KEY=VALUE", help="as helm's option")
    parser.add_argument("--chart", default=CHART, metavar="VERSION|PACKAGE", help=f"default: {CHART}")
    parser.add_argument("--runner", default="", metavar="VERSION", help="default: the one that the chart is made for")
    parser.add_argument("--release", default="", metavar="NAME", help="default: the wrapper's, else gitlab-runner")
    parser.add_argument("--namespace", default="", metavar="NAME", help="default: the wrapper's, else gitlab")
    parser.add_argument("--at", default="", metavar="PLACE", help="where in the file the values stand")
    parser.add_argument("--helm", default="", metavar="PATH|none", help="default: the helm on the PATH")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rendered", action="store_true", help="print the rendered runners.config as well")


def run(chosen: argparse.Namespace) -> int:
    """Judge the files; returns the exit status."""
    settings = Settings(
        set=tuple(chosen.set),
        set_string=tuple(chosen.set_string),
        set_json=tuple(chosen.set_json),
        set_file=tuple(chosen.set_file),
    )
    try:
        linted = judge(
            [valuesource.read(file, chosen.at) for file in chosen.values],
            settings,
            chart=chosen.chart,
            runner=chosen.runner,
            release=chosen.release,
            namespace=chosen.namespace,
            program=chosen.helm,
        )
    except InventoryError as error:
        sys.stderr.write("\n".join(map(translated, error.problems)) + "\n")
        return BAD_INPUT
    except (NotAChartError, Unmeasured) as error:
        sys.stderr.write(translated(f"{error}") + "\n")
        return BAD_INPUT
    sys.stdout.write(as_json(linted) if chosen.json else as_text(linted, rendered=chosen.rendered))
    return linted.status


def as_json(linted: Linted) -> str:
    """What was found, for programs."""
    document = {
        "rendered_by": linted.rendered_by,
        "config": linted.config,
        "findings": [
            {name: getattr(judgement, name) for name in ("file", "line", "path", "level", "fault", "message", "remedy")}
            for judgement in linted.judgements
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n"


def as_text(linted: Linted, *, rendered: bool) -> str:
    """What was found, for people."""
    lines = [linted.text.rstrip("\n"), ""] if rendered and linted.text else []
    for judgement in linted.judgements:
        lines += [
            translated(str(judgement)),
            *(["    " + translated(f"fix: {judgement.remedy}")] if judgement.remedy else []),
        ]
    count = len(linted.judgements)
    lines.append(translated(f"{count} finding{'' if count == 1 else 's'}, rendered by {linted.rendered_by}"))
    return "\n".join(lines) + "\n"


# ---- judging --------------------------------------------------------------------------------------------------------


def judge(
    sources: Sequence[ValuesSource],
    settings: Settings,
    *,
    chart: str = CHART,
    runner: str = "",
    release: str = "",
    namespace: str = "",
    program: str = "",
) -> Linted:
    """Everything in the values that Helm, chart and runner would not do as it reads.

    Raises:
        InventoryError: a file or a pair can't be read.
        NotAChartError: the chart's package is none.
        Unmeasured: the program that is given is no helm, or did not end.
    """
    package = ChartPackage.open(Path(chart)) if is_chart_path(chart) else None
    release = release or next((source.release for source in sources if source.release), "gitlab-runner")
    namespace = namespace or next((source.namespace for source in sources if source.namespace), "gitlab")
    version = package.version if package is not None else chart
    values = reader.read_values(
        sources,
        settings,
        release=release,
        namespace=namespace,
        chart=version,
        app_version=package.app_version if package is not None else "",
        runner=runner,
    )
    judgements = [_unresolved(source, name) for source in sources for name in source.unresolved]
    rendered: Rendering | None = None
    executable = helm.find(program) if package is not None else None
    if executable is not None and package is not None:
        try:
            rendered = _rendered(executable, package, sources, settings, values)
            values = reader.with_rendering(values, rendered)
        except helm.RenderError as error:
            judgements.append(_refused(error, values))
            values = replace(values, refused=str(error))
    expected = Expected(
        chart=version,
        gitlab_url=str(values.get("gitlabUrl", "")),
        resolvers=(),
        privileged=False,
        keys=keys_of(package) if package is not None else None,
    )
    linted = lint.lint(values, expected)
    judgements += [_judgement(finding) for finding in linted.findings if finding.fault not in _ENVIRONMENTS]
    if not values.refused:
        judgements += _unread(values)
    return Linted(
        rendered_by=rendered.rendered_by if rendered is not None else "reader",
        config=values.config if values.problem is None and values.config and not values.unread else None,
        text=values.rendered,
        judgements=tuple(sorted(judgements, key=lambda judgement: (judgement.file, judgement.line))),
    )


def _rendered(
    executable: helm.Helm,
    package: ChartPackage,
    sources: Sequence[ValuesSource],
    settings: Settings,
    values: Values,
) -> Rendering:
    files = [helm.ValuesFile(part.file.name, part.text) for source in sources for part in source.parts]
    return helm.template(
        executable,
        package,
        release=values.release,
        namespace=values.namespace,
        values=files,
        settings=reader.with_wrappers(sources, settings),
    )


def _judgement(finding: Finding) -> Judgement:
    file, _, line = finding.place.rpartition(":")
    number = int(line) if line.isdigit() else 0
    return Judgement(
        file=file if number else "",
        line=number,
        path=finding.path,
        level="advice" if finding.fault in _ADVICE else "error",
        fault=str(finding.fault),
        message=one_line(finding.message),
        remedy=_REMEDIES.get(finding.fault, ""),
    )


def _unresolved(source: ValuesSource, name: str) -> Judgement:
    return Judgement(
        file=source.file.name,
        line=1,
        path=source.at or "values",
        level="unknown",
        fault="values-elsewhere",
        message=f"{name} gives values, too, and was not read",
        remedy="give it as a values file of its own",
    )


def _refused(error: helm.RenderError, values: Values) -> Judgement:
    origin = values.origin(error.values_path) if error.values_path else Origin()
    if error.text_line:
        origin = origin.inside(error.text_line)
    return Judgement(
        file=error.values_file or (origin.file.name if origin.file else ""),
        line=error.line if error.values_file else origin.line,
        path=error.values_path or error.template,
        level="error",
        fault="not-rendered",
        message=f"Helm refuses it: {error}",
        remedy="correct what Helm names: no upgrade begins before",
    )


def _unread(values: Values) -> Iterator[Judgement]:
    """The settings of ``runners.config`` that can't be read here; each line once."""
    for setting in {setting.origin: setting for setting in reversed(values.unread)}.values():
        yield Judgement(
            file=setting.origin.file.name if setting.origin.file else "",
            line=setting.origin.line,
            path=".".join(setting.path) or "runners.config",
            level="unknown",
            fault="not-rendered",
            message=f"{one_line(setting.expression)}: {setting.reason}",
            remedy="install helm, and give the chart's package with --chart"
            if setting.needs == reader.INSTALL_HELM
            else setting.needs,
        )
