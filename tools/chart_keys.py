"""Make the tables of the keys that the chart gitlab-runner reads (preflight/charts) from the chart's packages.

    python tools/chart_keys.py FOLDER            write a table for each minor version that has a package in FOLDER
    python tools/chart_keys.py FOLDER --check    write nothing; exit 1 if a table does not agree with its package

Of several packages of one minor version, the newest counts. A table holds what differs from the one before it. What
was moved and what is retired, no package tells: that part of the oldest table is written by hand and kept.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from preflight import charts
from preflight.chartpackage import ChartPackage, NotAChartError, chart_keys

TABLES = Path(charts.__file__).parent
BY_HAND = "\n# Keys that older charts read."
"""The line from which on the oldest table is written by hand."""
HEAD = """\
# Keys that values.yaml and the templates of the chart gitlab-runner read, from this version on.
# Made by tools/chart_keys.py; the later tables hold what differs from the one before.
#
# A leaf says what the chart expects there:
#   text number switch list    one value of that form (a template prints text, number and switch alike)
#   map                        keys of the user's own choice
#   any                        handed on as it is: a piece of Kubernetes' own API, or only asked whether it is set
# templates: the keys whose text Helm evaluates as a template; * stands for any name or item.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of gitlab-runner-*.tgz")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    chosen = parser.parse_args(arguments)
    packages = read_packages(chosen.folder)
    if not packages:
        sys.stderr.write(f"{chosen.folder} holds no package of gitlab-runner\n")
        return 4
    if not chosen.check:
        write(newest_of_each_minor(packages))
        return 0
    differences = 0
    for package in packages:
        lines = disagreements(package)
        differences += len(lines)
        sys.stdout.write(f"{package.version}: {'agrees' if not lines else f'{len(lines)} differences'}\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)
    sys.stdout.write(f"{len(packages)} packages, {differences} differences\n")
    return 1 if differences else 0


def read_packages(folder: Path) -> list[ChartPackage]:
    """The packages of the runner's chart in a folder, the oldest first."""
    found: list[ChartPackage] = []
    for path in folder.glob("*.tgz"):
        try:
            package = ChartPackage.open(path)
        except NotAChartError as error:
            sys.stderr.write(f"{error}\n")
            continue
        if package.name == "gitlab-runner":
            found.append(package)
    return sorted(found, key=lambda package: _numbers(package.version))


def newest_of_each_minor(packages: list[ChartPackage]) -> list[ChartPackage]:
    """One package for each minor version, the oldest version first."""
    return list({_minor(package.version): package for package in packages}.values())


def disagreements(package: ChartPackage) -> list[str]:
    """What the shipped table of a package's version has otherwise than the package."""
    table, keys = charts.keys(package.version), chart_keys(package)
    shipped, read = dict(_flat(table.tree)), dict(_flat(keys.tree))
    lines = [
        f"{name}: the table says {shipped.get(name, 'nothing')}, the package {read.get(name, 'nothing')}"
        for name in sorted({*shipped, *read})
        if shipped.get(name) != read.get(name)
    ]
    if table.templates != keys.templates:
        lines.append(f"templates: the table says {table.templates}, the package {keys.templates}")
    if not package.app_version.startswith(f"{table.runner}."):
        lines.append(f"runner: the table says {table.runner}, the package {package.app_version}")
    return lines


def write(packages: list[ChartPackage]) -> None:
    """Write the tables of these packages, and remove those of other versions."""
    oldest = min(TABLES.glob("gitlab-runner-*.yaml"), key=lambda path: _numbers(path.name))
    _, mark, by_hand = oldest.read_text(encoding="utf-8").partition(BY_HAND)
    for path in TABLES.glob("gitlab-runner-*.yaml"):
        path.unlink()
    below: ChartPackage | None = None
    for package in packages:
        minor = _minor(package.version)
        text = table_of(package, below)
        if below is None:
            text = f"{HEAD}{text}{mark}{by_hand}"
        (TABLES / f"gitlab-runner-{minor}.yaml").write_text(text, encoding="utf-8")
        below = package


def table_of(package: ChartPackage, below: ChartPackage | None) -> str:
    """The text of one table: all keys, or those that differ from the package below."""
    keys = chart_keys(package)
    runner = re.match(r"v?(\d+\.\d+)", package.app_version)
    lines = [f'chart: "{_minor(package.version)}"', f'runner: "{runner[1] if runner else ""}"']
    tree: Mapping[str, Any] = keys.tree
    templates = keys.templates
    if below is not None:
        known = chart_keys(below)
        lines.append(f'extends: "{_minor(below.version)}"')
        tree = _differences(known.tree, keys.tree)
        templates = keys.templates if keys.templates != known.templates else ()
        lines.insert(0, f"# {package.version}, runner {package.app_version}, beside {below.version}.")
    else:
        lines.insert(0, f"#\n# {package.version}, runner {package.app_version}.")
    document = {**({"keys": tree} if tree else {}), **({"templates": list(templates)} if templates else {})}
    written = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=118) if document else ""
    return "\n".join([*lines, written])


def _differences(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be merged into a tree to get another one; null takes a key away."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*above, *below]):
        before, after = below.get(name), above.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            inner = _differences(before, after)
            if inner:
                found[name] = inner
        elif before != after:
            found[name] = after
    return found


def _flat(tree: Mapping[str, Any], around: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{around}{name}.")
        elif value is not None:
            yield f"{around}{name}", str(value)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def _minor(version: str) -> str:
    return ".".join(map(str, _numbers(version)[:2]))


if __name__ == "__main__":
    sys.exit(main())
