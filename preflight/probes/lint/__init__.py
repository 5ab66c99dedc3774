"""Read the values as the chart and the runner will, and find what they would ignore, refuse or take for something else.

Neither has a schema: a key that is misspelt, moved or below the wrong header is dropped silently, and the first sign of
it is a job that behaves otherwise. `lint` is pure; the keys are those of `preflight.charts` and
`preflight.runner_config`.
"""

from __future__ import annotations

import re

from preflight import charts
from preflight.chartpackage import own_reads
from preflight.evidence import Evidence
from preflight.faults import ValuesFault
from preflight.probes.lint.chart_settings import check_chart_settings
from preflight.probes.lint.findings import Expected, Finding, Lint, UnreadFinding, position
from preflight.probes.lint.keys import check_chart_keys
from preflight.probes.lint.runner_keys import check_runner_config
from preflight.probes.lint.runner_settings import check_runner_settings
from preflight.probes.lint.templates import check_templates
from preflight.probes.lint.toml_text import TomlText, toml_lines
from preflight.shell_command import program
from preflight.values import Values
from preflight.yamlfile import KeyPath

__all__ = ["Expected", "Finding", "Lint", "UnreadFinding", "lint"]


_NAMES = re.compile(r"[^.\[\]]+")
_UNREAD_KINDS = frozenset({ValuesFault.UNKNOWN_KEY, ValuesFault.NOT_KNOWN})


def _is_own(finding: Finding, own: frozenset[KeyPath]) -> bool:
    """Whether a key that the chart does not read is read by the operator's own templates."""
    steps = tuple(_NAMES.findall(finding.path))
    return finding.fault in _UNREAD_KINDS and any(
        path[: len(steps)] == steps or steps[: len(path)] == path for path in own
    )


def _is_unread(finding: Finding, values: Values) -> bool:
    """Whether a finding is about a setting that can't be read here."""
    if finding.fault is ValuesFault.NO_NAMESERVERS and values.unread_within("runners.kubernetes.dns_config"):
        return True
    names = [name for part in re.findall(r"[^\s\[\]]+", finding.path) for name in part.split(".")]
    return finding.reader == "runner" and values.unread_within(".".join(names)) is not None


def lint(values: Values, expected: Expected) -> Lint:
    """Everything in the values that the chart and the runner of that version would not do as it reads."""
    chart = expected.keys or charts.keys(expected.chart)
    own = own_reads(values.tree, chart.templates)
    findings = [finding for finding in check_chart_keys(values, chart) if not _is_own(finding, own)]
    if values.refused:  # Helm has said itself which value it can't use
        findings = [finding for finding in findings if finding.fault is not ValuesFault.WRONG_FORM]
    findings += check_chart_settings(values, expected)
    if values.problem is not None and not values.refused:
        findings.append(
            Finding(
                fault=ValuesFault.NOT_TOML,
                reader="runner",
                path="runners.config",
                place=str(values.problem.origin),
                message=values.problem.message,
            )
        )
    elif values.problem is None:
        text = TomlText(values, toml_lines(values.rendered))
        has_template = bool(values.rendered.strip())  # without one, managers take what their variables say
        of_config_text = check_runner_config(text) if has_template else ()
        of_config = tuple(finding for finding in of_config_text if not _is_unread(finding, values))
        refused = {finding.path for finding in of_config if finding.fault is ValuesFault.REFUSED}
        findings += [*of_config, *check_templates(values)]
        # What is refused has no value, and what follows from that is no finding of its own.
        findings += (
            finding
            for finding in check_runner_settings(text, expected)
            if finding.path not in refused and not _is_unread(finding, values)
        )
    files = ", ".join(file.name for file in values.files)
    known = "" if chart.covered else f" (no table of keys for {expected.chart}: the nearest one is taken)"
    return Lint(
        target=files,
        findings=tuple(sorted(findings, key=position)),
        chart=chart.version,
        unread=tuple(
            UnreadFinding(path=".".join(unread.path), cause=str(unread), needs=unread.needs, bare=unread.bare)
            for unread in values.unread
        ),
        refused=values.refused,
        elsewhere=values.elsewhere,
        evidence=Evidence(
            where="here",
            command=program("helm", "show", "values", "gitlab/gitlab-runner", "--version", expected.chart),
            observed=f"{files} beside the keys of chart {chart.version} and runner {values.runner_keys.version}{known}",
        ),
    )
