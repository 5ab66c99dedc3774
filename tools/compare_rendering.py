"""Beside each other: what Helm makes of values files, and what the suite reads in them.

    python tools/compare_rendering.py FOLDER --packages FOLDER [--helm PATH] [--quiet]

Each values file of the first folder, wrapped or plain, is rendered by helm with each package of gitlab-runner in the
second, read by the suite without helm, and judged by it with and without. Every difference and every finding is
printed, and the figures at the end. A finding that the rendering contradicts is marked as false. Exit status 1 with a
difference or a false finding.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflight import jobsettings, valuesource
from preflight import values as reader
from preflight.chartpackage import ChartPackage, NotAChartError, chart_keys, keys_of, own_reads
from preflight.clients import helm
from preflight.evidence import Unmeasured, one_line
from preflight.faults import ValuesFault
from preflight.inventory import InventoryError
from preflight.probes.lint import Expected, Finding, lint
from preflight.rendering import Rendering
from preflight.valuesource import Settings, ValuesSource

RELEASE, NAMESPACE = "gitlab-runner", "gitlab"
_RESOLVER = "192.0.2.53"  # of a documentation network: no values file names it
_LONGEST = 160  # characters of a value that are shown
_USAGE = 4


@dataclass(slots=True)
class Figures:
    """What was counted."""

    renderings: int = 0
    refused: int = 0
    alike: int = 0
    both_refuse: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    false_without_helm: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    unread: int = 0
    seconds: float = 0.0
    slowest: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    """Compare; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of values files")
    parser.add_argument("--packages", type=Path, required=True, help="folder of gitlab-runner-*.tgz")
    parser.add_argument("--helm", default="", help="path of helm; default: the one on the PATH")
    parser.add_argument("--quiet", action="store_true", help="print differences and false findings alone")
    chosen = parser.parse_args(arguments)
    try:
        program = helm.find(chosen.helm)
    except Unmeasured as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE
    packages = _packages(chosen.packages)
    files = sorted(path for path in chosen.folder.iterdir() if path.is_file())
    if program is None or not packages or not files:
        sys.stderr.write("needs a helm, a package and a values file\n")
        return _USAGE
    figures = Figures()
    for file in files:
        for package in packages:
            lines = compare(file, package, program, figures, quiet=chosen.quiet)
            if lines:
                sys.stdout.write(f"{file.name}, chart {package.version}\n")
                sys.stdout.writelines(f"  {line}\n" for line in lines)
    sys.stdout.write("\n".join(summary(figures, files, packages, program)) + "\n")
    is_false = figures.false or figures.false_without_helm
    return 1 if figures.alike + figures.both_refuse < figures.renderings or is_false else 0


def _packages(folder: Path) -> list[ChartPackage]:
    found: list[ChartPackage] = []
    for path in sorted(folder.glob("*.tgz")):
        try:
            found.append(ChartPackage.open(path))
        except NotAChartError as error:
            sys.stderr.write(f"{error}\n")
    return [package for package in found if package.name == "gitlab-runner"]


def summary(figures: Figures, files: list[Path], packages: list[ChartPackage], program: helm.Helm) -> list[str]:
    """The figures, a line each."""
    judged = figures.renderings
    average = figures.seconds / max(1, judged - figures.refused)
    return [
        "",
        f"{len(files)} files, {len(packages)} packages, {program}: {judged} renderings, {figures.seconds:.1f} s "
        f"({average:.2f} s each, the slowest {figures.slowest:.2f} s)",
        f"rendered {judged - figures.refused}, refused by Helm {figures.refused}, "
        f"not values at all {figures.unreadable}",
        f"read alike {figures.alike + figures.both_refuse} of {judged} ({figures.both_refuse} of them refused by both)",
        f"findings {figures.findings.total()}: " + _counted(figures.findings),
        f"false findings {figures.false.total()}: " + _counted(figures.false),
        f"without helm and package: {figures.unread} with expressions that can't be read, false findings "
        f"{figures.false_without_helm.total()}: " + _counted(figures.false_without_helm),
    ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


# ---- one file and one package ---------------------------------------------------------------------------------------


def compare(file: Path, package: ChartPackage, program: helm.Helm, figures: Figures, *, quiet: bool) -> list[str]:
    """What differs, and what was found."""
    try:
        source = valuesource.read(file)
    except InventoryError as error:
        figures.unreadable += 1
        return [] if quiet else [f"not read: {one_line(problem)}" for problem in error.problems]
    figures.renderings += 1
    rendered: Rendering | None = None
    refusal: helm.RenderError | None = None
    try:
        rendered = render(source, package, program)
        figures.seconds += rendered.took
        figures.slowest = max(figures.slowest, rendered.took)
    except helm.RenderError as error:
        refusal = error
        figures.refused += 1
    lines = [] if quiet else [f"{source.wrapper} at {source.at or 'the top'}"] if source.at else []
    read, problem = load(source, package)
    if read is None:
        figures.both_refuse += refusal is not None
        words = f"both refuse it: {problem}" if refusal else f"DIFFERS: the suite refuses it ({problem}), Helm does not"
        return [*lines, *([] if quiet and refusal else [words])]
    figures.unread += bool(read.unread)
    judged = read if rendered is None else reader.with_rendering(read, rendered)
    found = findings(judged, package)
    if rendered is None:
        told = read.problem is not None or bool(read.unread) or any(one.fault in _REFUSING for one in found)
        figures.both_refuse += told
        words = f"{'both refuse it' if told else 'DIFFERS: the suite reads it'}; Helm: {refusal}"
        figures.findings.update(str(one.fault) for one in found)
        return [*lines, *([] if quiet and told else [words]), *([] if quiet else map(_finding, found))]
    differences = list(differing(read, rendered))
    figures.alike += not differences
    lines += [f"DIFFERS: {one}" for one in differences]
    for one in found:
        figures.findings[str(one.fault)] += 1
        if reason := contradiction(one, judged, rendered, package):
            figures.false[str(one.fault)] += 1
            lines.append(f"FALSE: {_finding(one)} [{reason}]")
        elif not quiet:
            lines.append(_finding(one))
    for one in findings(read, None):
        if reason := contradiction(one, read, rendered, package):
            figures.false_without_helm[str(one.fault)] += 1
            lines.append(f"FALSE WITHOUT HELM: {_finding(one)} [{reason}]")
    if not quiet:
        lines += [f"Helm warns: {one}" for one in rendered.warnings]
    return lines


def _finding(finding: Finding) -> str:
    return one_line(f"{finding.fault}: {finding}", longest=300)


def render(source: ValuesSource, package: ChartPackage, program: helm.Helm) -> Rendering:
    """The values as Helm renders them."""
    return helm.template(
        program,
        package,
        release=RELEASE,
        namespace=NAMESPACE,
        values=[helm.ValuesFile(part.file.name, part.text) for part in source.parts],
        settings=Settings(set=source.set, set_string=source.set_string),
    )


def load(source: ValuesSource, package: ChartPackage) -> tuple[reader.Values | None, str]:
    """The values as the suite reads them without helm, or why it can't."""
    try:
        values = reader.read_values(
            [source],
            Settings(),
            release=RELEASE,
            namespace=NAMESPACE,
            chart=package.version,
            app_version=package.app_version,
        )
    except InventoryError as error:
        return None, "; ".join(error.problems)
    return values, ""


def findings(read: reader.Values, package: ChartPackage | None) -> tuple[Finding, ...]:
    """What the suite finds in the values, for an environment that is as they say as far as that can be."""
    expected = Expected(
        chart=read.chart,
        gitlab_url=str(read.get("gitlabUrl", "")),
        resolvers=(_RESOLVER,),
        privileged=False,
        keys=keys_of(package) if package is not None else None,
    )
    return lint(read, expected).findings


_REFUSING = frozenset({ValuesFault.TEMPLATE, ValuesFault.WRONG_FORM, ValuesFault.NOT_TOML})


# ---- what differs ---------------------------------------------------------------------------------------------------


def differing(read: reader.Values, rendered: Rendering) -> Iterator[str]:
    """What the suite reads otherwise than Helm renders it."""
    try:
        template = rendered.template_tables()
    except tomllib.TOMLDecodeError as error:
        if read.problem is None:
            yield f"runners.config: Helm renders what is no TOML ({error}), the suite reads it"
    else:
        if read.problem is not None and template:
            yield f"runners.config: the suite says {read.problem.message}, Helm renders TOML"
        elif read.problem is None and not read.unread_within() and (template or read.get("runners.config")):
            yield from (one for one in _tree(template, read.config, "runners.config") if not _unread(one, read))
    if rendered.values is not None:
        yield from _merged(rendered.values, read.tree, "")
    if rendered.workload is not None:
        own = jobsettings.replicas_of(read.tree)
        if rendered.replicas != own:
            yield f"replicas: Helm renders {rendered.replicas}, the suite reads {own}"
    concurrent = tomllib.loads(rendered.config or "").get("concurrent")
    if concurrent != read.get("concurrent", reader.CHART_CONCURRENT) and not isinstance(read.get("concurrent"), str):
        yield f"concurrent: Helm renders {concurrent}, the suite reads {read.get('concurrent')}"


def _unread(difference: str, read: reader.Values) -> bool:
    """Whether a difference is about a setting that the suite says it can't read."""
    names = re.sub(r"\[\d+\]", "", difference.partition(": ")[0]).removeprefix("runners.config.")
    return read.unread_within(names) is not None


def _tree(rendered: Any, read: Any, path: str) -> Iterator[str]:
    if isinstance(rendered, Mapping) and isinstance(read, Mapping):
        for name in dict.fromkeys([*rendered, *read]):
            yield from _tree(rendered.get(name), read.get(name), f"{path}.{name}")
    elif isinstance(rendered, list) and isinstance(read, list) and len(rendered) == len(read):
        for number, (one, other) in enumerate(zip(rendered, read, strict=True)):
            yield from _tree(one, other, f"{path}[{number}]")
    elif rendered != read or isinstance(rendered, bool) != isinstance(read, bool):
        yield f"{path}: Helm renders {_shown(rendered)}, the suite reads {_shown(read)}"


def _merged(merged: Any, read: Any, path: str) -> Iterator[str]:
    """Leaves of the suite's tree that Helm's has otherwise; what only Helm has are the chart's defaults."""
    if isinstance(read, Mapping) and isinstance(merged, Mapping):
        for name, value in read.items():
            yield from _merged(merged.get(str(name)), value, f"{path}.{name}" if path else str(name))
    elif isinstance(read, list) and isinstance(merged, list) and len(read) == len(merged):
        for number, (one, other) in enumerate(zip(merged, read, strict=True)):
            yield from _merged(one, other, f"{path}[{number}]")
    elif not _same(merged, read):
        yield f"{path}: Helm merges {_shown(merged)}, the suite {_shown(read)}"


def _same(merged: Any, read: Any) -> bool:
    if isinstance(merged, bool) or isinstance(read, bool):
        return merged is read
    if isinstance(merged, int | float) and isinstance(read, int | float):
        return float(merged) == float(read)
    return bool(merged == read)


def _shown(value: Any) -> str:
    return one_line(repr(value), longest=_LONGEST)


# ---- which findings are false ---------------------------------------------------------------------------------------


def contradiction(finding: Finding, read: reader.Values, rendered: Rendering, package: ChartPackage) -> str:
    """Why a finding is false, by what Helm made of the values; empty where nothing contradicts it."""
    keys = chart_keys(package)
    if finding.fault is ValuesFault.UNKNOWN_KEY and finding.reader == "chart":
        steps = tuple(finding.path.replace("[", ".").replace("]", "").split("."))
        own = own_reads(read.tree, keys.templates)
        if _knows(keys.tree, steps) or any(path[: len(steps)] == steps for path in own):
            return "it is read"
    if finding.fault is ValuesFault.NOT_TOML:
        try:
            rendered.template_tables()
        except tomllib.TOMLDecodeError:
            return ""
        return "Helm renders TOML"
    if finding.fault is ValuesFault.TEMPLATE and "it fails with" in finding.message:
        return "Helm renders it"
    if finding.fault is ValuesFault.OTHER_NAMESERVERS:
        runners = rendered.template_tables().get("runners", [{}])
        policy = runners[0].get("kubernetes", {}).get("dns_policy", "") if runners else ""
        return "" if policy == "none" else "jobs take the cluster's resolvers"
    return ""


def _knows(tree: Mapping[str, Any], steps: tuple[str, ...]) -> bool:
    node: Any = tree
    for step in steps:
        if not isinstance(node, Mapping):
            return node in {"any", "map", "list"}
        node = node.get(step)
    return node is not None


if __name__ == "__main__":
    sys.exit(main())
