"""Settings of the runner's TOML that do not come to what they seem to say, beside those of the chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from preflight.faults import ValuesFault
from preflight.jobsettings import is_privileged, job_shape
from preflight.probes.lint.chart_settings import server_of
from preflight.probes.lint.findings import Expected, Finding, chart_finding
from preflight.probes.lint.keys import is_whole_number
from preflight.probes.lint.toml_text import TomlText
from preflight.values import CHART_CONCURRENT

MOST_NAMESERVERS = 3  # the API's validation of a pod

_TABLE = ("runners", 0, "kubernetes")
_JOBS_COUNTERPARTS: Mapping[str, str] = {
    "nodeSelector": "node_selector",
    "affinity": "affinity",
    "tolerations": "node_tolerations",
    "imagePullSecrets": "image_pull_secrets",
    "hostAliases": "host_aliases",
}


def check_runner_settings(text: TomlText, expected: Expected) -> Iterator[Finding]:
    """What the TOML's settings come to, and what the values' own come to beside them."""
    values, table = text.values, text.values.kubernetes
    yield from _dns(text, table, expected)
    if expected.privileged and not is_privileged(table, "service"):
        message = "it is not true, and Docker-in-Docker needs it: its daemon ends at its start"
        own = ("service_container_security_context",) if table.get("privileged") else ()
        yield text.finding(ValuesFault.NOT_PRIVILEGED, (*_TABLE, *own, "privileged"), message)
    for name, counterpart in _JOBS_COUNTERPARTS.items():
        if values.get(name) and not table.get(counterpart):
            message = f"it is for the managers' own pods and moves no job: jobs take [runners.kubernetes] {counterpart}"
            yield chart_finding(values, ValuesFault.MANAGERS_ONLY, name, message)
    context = values.get("securityContext")
    if isinstance(context, Mapping) and context.get("privileged") is True and not is_privileged(table, "build"):
        message = "it makes the managers' container privileged, and no job: jobs take [runners.kubernetes] privileged"
        yield chart_finding(values, ValuesFault.MANAGERS_ONLY, "securityContext.privileged", message)
    runner = values.runner_entry
    limit, concurrent = runner.get("limit", 0), values.get("concurrent", CHART_CONCURRENT)
    if is_whole_number(concurrent) and 0 < limit < concurrent:
        message = f"it is {limit} and lower than concurrent, {concurrent}: a manager runs at most {limit} jobs"
        yield text.finding(ValuesFault.CONCURRENT, ("runners", 0, "limit"), message)
    yield from _overruled(text, runner, table)


def _overruled(text: TomlText, runner: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings of the TOML that lose against those of the values."""
    values, fault = text.values, ValuesFault.CONTRADICTION
    url = runner.get("url")
    if url and values.get("gitlabUrl") and server_of(str(url)) != server_of(str(values.get("gitlabUrl"))):
        yield text.finding(fault, ("runners", 0, "url"), "gitlabUrl says otherwise, and wins")
    executor = values.get("runners.executor", "kubernetes")
    if runner.get("executor") not in (None, "", executor):
        yield text.finding(fault, ("runners", 0, "executor"), f"runners.executor says {executor}, and wins")
    spaces = (table.get("namespace"), values.get("runners.jobNamespace"))
    if all(spaces) and spaces[0] != spaces[1]:
        message = f"it is {spaces[0]} and wins over runners.jobNamespace, {spaces[1]}, where the chart gives rights"
        yield text.finding(fault, (*_TABLE, "namespace"), message)
    elif spaces[1]:
        namespace = job_shape(values).namespace
        if namespace != spaces[1]:
            message = f"runners.config does not take it: jobs run in {namespace}"
            yield chart_finding(values, ValuesFault.NO_EFFECT, "runners.jobNamespace", message)


def _dns(text: TomlText, table: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    """Resolvers of jobs that ask no others: without ``dns_policy`` they ask the cluster's, which other checks ask."""
    given = table.get("dns_config", {}).get("nameservers", [])
    if table.get("dns_policy") != "none" or not 0 < len(given) <= MOST_NAMESERVERS:
        return
    if set(given) != set(expected.resolvers):
        message = f"jobs are given {', '.join(given)}; the inventory says {', '.join(expected.resolvers)}"
        yield text.finding(ValuesFault.OTHER_NAMESERVERS, (*_TABLE, "dns_config", "nameservers"), message)
