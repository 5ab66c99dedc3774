"""Read the values as the chart and the runner will, and find what they would ignore, refuse or take for something else.

Neither has a schema: a key that is misspelt, moved or below the wrong header is dropped silently, and the first sign of
it is a job that behaves otherwise. `lint` is pure; the keys are those of `preflight.charts` and
`preflight.runner_config`.
"""

from __future__ import annotations

from preflight import charts
from preflight.evidence import Evidence
from preflight.faults import ValuesFault
from preflight.probes.lint.chart_settings import check_chart_settings
from preflight.probes.lint.findings import Expected, Finding, Lint, position
from preflight.probes.lint.keys import check_chart_keys
from preflight.probes.lint.runner_keys import check_runner_config
from preflight.probes.lint.runner_settings import check_runner_settings
from preflight.probes.lint.templates import check_templates
from preflight.probes.lint.toml_text import TomlText, toml_lines
from preflight.shell_command import program
from preflight.values import Values

__all__ = ["Expected", "Finding", "Lint", "lint"]


def lint(values: Values, expected: Expected) -> Lint:
    """Everything in the values that the chart and the runner of that version would not do as it reads."""
    chart = charts.keys(expected.chart)
    findings = [*check_chart_keys(values, chart), *check_chart_settings(values, expected)]
    if values.problem is not None:
        findings.append(
            Finding(
                fault=ValuesFault.NOT_TOML,
                reader="runner",
                path="runners.config",
                place=str(values.problem.origin),
                message=values.problem.message,
            )
        )
    else:
        text = TomlText(values, toml_lines(values.rendered))
        of_config = tuple(check_runner_config(text))
        refused = {finding.path for finding in of_config if finding.fault is ValuesFault.REFUSED}
        findings += [*of_config, *check_templates(values)]
        # What is refused has no value, and what follows from that is no finding of its own.
        findings += (finding for finding in check_runner_settings(text, expected) if finding.path not in refused)
    files = ", ".join(file.name for file in values.files)
    known = "" if chart.covered else f" (no table of keys for {expected.chart}: the nearest one is taken)"
    return Lint(
        target=files,
        findings=tuple(sorted(findings, key=position)),
        chart=chart.version,
        evidence=Evidence(
            where="here",
            command=program("helm", "show", "values", "gitlab/gitlab-runner", "--version", expected.chart),
            observed=f"{files} beside the keys of chart {chart.version} and runner {values.runner_keys.version}{known}",
        ),
    )
