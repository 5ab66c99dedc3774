"""The chart repository: whether it has a version of a chart, and which runner that chart installs.

A repository is an ``index.yaml`` over HTTP that lists every version of every chart; nothing else of it is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, curl, exchange
from preflight.evidence import Evidence, Fact
from preflight.faults import ReleaseFault
from preflight.probes.registry import Credentials
from preflight.shell_command import pipe, program
from preflight.yamltext import load_yaml

CHART = "gitlab-runner"
LARGEST_INDEX = 64 * 2**20  # bytes; charts.gitlab.io, with all of GitLab's charts, has a few million
_OK = 200
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartVersion(Fact):
    """One version of the chart as its repository lists it.

    Attributes:
        version: the chart's.
        app_version: the runner's version that it installs unless the values say otherwise, such as ``18.3.0``.
        newest: the newest version in the repository, which ``helm upgrade`` without ``--version`` takes.
        url: where the repository says that its package is; `digest`: the SHA-256 that it gives, or "".
    """

    version: str
    app_version: str = ""
    newest: str = ""
    url: str = ""
    digest: str = ""


def chart_version(
    repository: str,
    version: str,
    *,
    credentials: Credentials | None = None,
    routes: Routes,
    ca_file: Path | None,
    deadline: float,
) -> ChartVersion:
    """Fetch the repository's index and find `version` of the runner's chart in it.

    Raises:
        Unmeasured: ``connect:`` refuses the address, or the CA file can't be read.
    """
    url = f"{repository.rstrip('/')}/index.yaml"
    command = pipe(curl(url, ca_file=ca_file, deadline=deadline), program("grep", "-A", 3, f"name: {CHART}$"))
    try:
        headers = {} if credentials is None else {"Authorization": f"Basic {credentials.basic}"}
        reply = exchange(url, routes=routes, ca_file=ca_file, deadline=deadline, headers=headers, longest=LARGEST_INDEX)
    except NoReply as error:
        evidence = Evidence(where="here", command=command, observed=error.cause, took=error.took)
        return ChartVersion(target=repository, version=version, fault=error.fault, cause=error.cause, evidence=evidence)
    if reply.status != _OK:
        return ChartVersion(
            target=repository,
            version=version,
            fault=ReleaseFault.HTTP_STATUS,
            cause=f"{url} answered {reply.status} {reply.reason}".rstrip(),
            evidence=Evidence(where="here", command=command, observed=reply.shown, took=reply.took),
        )
    return read_index(reply.text, version, repository=repository, command=command, took=reply.took)


def read_index(text: str, version: str, *, repository: str, command: str = "", took: float = 0.0) -> ChartVersion:
    """The fact from the text of an ``index.yaml``; without a version, that of the newest that is stable."""
    entries = _entries(text)
    if entries is None:
        return ChartVersion(
            target=repository,
            version=version,
            fault=ReleaseFault.NOT_A_REPOSITORY,
            cause=f"{repository} answers, but with no index of charts",
            evidence=Evidence(where="here", command=command, observed=text[:600], took=took),
        )
    versions = sorted(entries, key=numbers, reverse=True)
    stable = next((listed for listed in versions if "-" not in listed), "")
    version = version or stable
    evidence = Evidence(
        where="here",
        command=command,
        observed="\n".join(f"{listed}  runner {_app_version(entries[listed])}" for listed in versions[:10])
        or f"no chart {CHART}",
        took=took,
    )
    chosen = next((listed for listed in entries if listed.lstrip("v") == version.lstrip("v")), None)
    if chosen is None:
        has = (
            f"the newest of its {len(versions)} versions is {versions[0]}"
            if versions
            else f"it has no chart {CHART} at all"
        )
        return ChartVersion(
            target=repository,
            version=version,
            newest=stable,
            fault=ReleaseFault.CHART_MISSING,
            cause=f"{repository} does not have {CHART} {version}: {has}",
            evidence=evidence,
        )
    entry = entries[chosen]
    urls = entry.get("urls")
    return ChartVersion(
        target=repository,
        version=version,
        app_version=_app_version(entry),
        newest=stable,
        # A path in the index is relative to the repository, as helm has it.
        url=urljoin(f"{repository.rstrip('/')}/", str(urls[0])) if isinstance(urls, list) and urls else "",
        digest=str(entry.get("digest") or ""),
        evidence=evidence,
    )


def _app_version(entry: Mapping[str, Any]) -> str:
    return str(entry.get("appVersion", ""))


def _entries(text: str) -> dict[str, Mapping[str, Any]] | None:
    """The entries of the runner's chart by version; None if the text is no index."""
    import yaml

    try:
        document = load_yaml(text)
    except yaml.YAMLError:
        return None
    listed = document.get("entries") if isinstance(document, Mapping) else None
    if not isinstance(listed, Mapping):
        return None
    charts = listed.get(CHART)
    return {
        str(entry["version"]): entry
        for entry in (charts if isinstance(charts, list) else ())
        if isinstance(entry, Mapping) and "version" in entry
    }


def numbers(version: str) -> tuple[int, int, int]:
    """Major, minor and patch of the first version in a text, zeros where there is none, so that versions compare."""
    match = _VERSION.search(version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


def runner_of(tag: str) -> str:
    """The runner's version in an image tag such as ``alpine-v18.3.0``, or "" where it has none."""
    match = re.search(r"(?:^|-|v)(\d{1,9}\.\d{1,9}\.\d{1,9})", tag)
    return match[1] if match else ""


def with_image(chart: ChartVersion, tag: str) -> ChartVersion:
    """The chart beside the image tag of the values; faulty if they are of different runner versions.

    The chart's scripts and probes are written for the runner that it names (docs/sources.md#chart-versions).
    """
    image = runner_of(tag)
    if chart.fault is not None or not image or not chart.app_version or image == runner_of(chart.app_version):
        return chart
    return replace(
        chart,
        fault=ReleaseFault.APP_VERSION,
        cause=f"chart {chart.version} installs runner {chart.app_version}, the values' image.tag is {tag}",
    )
