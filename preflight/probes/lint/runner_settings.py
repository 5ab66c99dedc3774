"""Settings of the runner's TOML that do not come to what they seem to say, beside those of the chart."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from preflight.faults import ValuesFault
from preflight.probes.lint.chart_settings import server_of
from preflight.probes.lint.findings import Expected, Finding, chart_finding
from preflight.probes.lint.keys import is_whole_number, snake_case
from preflight.probes.lint.toml_text import TomlText
from preflight.values import CHART_CONCURRENT, DNS_POLICIES

MOST_NAMESERVERS = 3  # the API's validation of a pod

_JOBS_COUNTERPARTS: Mapping[str, str] = {
    "nodeSelector": "node_selector",
    "affinity": "affinity",
    "tolerations": "node_tolerations",
    "imagePullSecrets": "image_pull_secrets",
}


def check_runner_settings(text: TomlText, expected: Expected) -> Iterator[Finding]:
    """What the TOML's settings come to, and what the values' own come to beside them."""
    values, table = text.values, text.values.kubernetes
    here = ("runners", "kubernetes")
    yield from _dns(text, table, expected)
    if expected.privileged and (table.get("privileged") or False) is False:
        message = "it is not true, and Docker-in-Docker needs it: its daemon ends at its start"
        yield text.finding(ValuesFault.NOT_PRIVILEGED, (*here, "privileged"), message)
    for name, counterpart in _JOBS_COUNTERPARTS.items():
        if values.get(name) and not table.get(counterpart):
            message = f"it is for the managers' own pods and moves no job: jobs take [runners.kubernetes] {counterpart}"
            yield chart_finding(values, ValuesFault.MANAGERS_ONLY, name, message)
    runner = values.config["runners"][0]
    limit, concurrent = runner.get("limit"), values.get("concurrent", CHART_CONCURRENT)
    if is_whole_number(limit) and is_whole_number(concurrent) and 0 < limit < concurrent:
        message = f"it is {limit} and lower than concurrent, {concurrent}: a manager runs at most {limit} jobs"
        yield text.finding(ValuesFault.CONCURRENT, ("runners", "limit"), message)
    yield from _overruled(text, runner, table)


def _overruled(text: TomlText, runner: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings of the TOML that lose against those of the values."""
    values, fault = text.values, ValuesFault.CONTRADICTION
    url = runner.get("url")
    if url and values.get("gitlabUrl") and server_of(str(url)) != server_of(str(values.get("gitlabUrl"))):
        yield text.finding(fault, ("runners", "url"), "gitlabUrl says otherwise, and wins")
    executor = values.get("runners.executor", "kubernetes")
    if runner.get("executor") not in (None, "", executor):
        yield text.finding(fault, ("runners", "executor"), f"runners.executor says {executor}, and wins")
    if runner.get("token"):
        yield text.finding(fault, ("runners", "token"), "a token in the template is dropped: write runnerToken")
    spaces = (table.get("namespace"), values.get("runners.jobNamespace"))
    if all(spaces) and spaces[0] != spaces[1]:
        message = f"it is {spaces[0]} and wins over runners.jobNamespace, {spaces[1]}, where the chart gives rights"
        yield text.finding(fault, ("runners", "kubernetes", "namespace"), message)


def _dns(text: TomlText, table: Mapping[str, Any], expected: Expected) -> Iterator[Finding]:
    here = ("runners", "kubernetes")
    policy = table.get("dns_policy")
    if policy and str(policy) not in DNS_POLICIES:
        api = {spelling: own for own, spelling in DNS_POLICIES.items()}
        meant = api.get(str(policy)) or next(
            iter(difflib.get_close_matches(snake_case(str(policy)), api.values(), n=1)), ""
        )
        message = f'it is "{policy}", which the runner does not know, and jobs get the cluster\'s default'
        message += f'; the runner spells it "{meant}"' if meant else f"; it knows {', '.join(DNS_POLICIES)}"
        yield text.finding(ValuesFault.DNS_POLICY, (*here, "dns_policy"), message)
    config = table.get("dns_config")
    listed = config.get("nameservers", []) if isinstance(config, Mapping) else []
    given = tuple(map(str, listed)) if isinstance(listed, list) else ()
    path = (*here, "dns_config", "nameservers")
    if len(given) > MOST_NAMESERVERS:
        message = f"there are {len(given)}, and the API refuses a pod with more than {MOST_NAMESERVERS}"
        yield text.finding(ValuesFault.TOO_MANY_NAMESERVERS, path, message)
    elif policy == "none" and not given:
        flat = any(name in table for name in ("nameservers", "dns_nameservers"))
        message = 'dns_policy is "none" and dns_config has no nameservers: the API refuses every job\'s pod'
        if not flat:  # else the flat ones are the finding
            yield text.finding(ValuesFault.NO_NAMESERVERS, path, message)
    elif str(policy).lower() == "none" and set(given) != set(expected.resolvers):
        message = f"jobs are given {', '.join(given)}; the inventory says {', '.join(expected.resolvers)}"
        yield text.finding(ValuesFault.OTHER_NAMESERVERS, path, message)
