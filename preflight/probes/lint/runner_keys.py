"""What the runner makes of ``runners.config``, as findings: the judgement is that of `preflight.runner_config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Finding
from preflight.probes.lint.toml_text import TomlText
from preflight.runner_config import OF_THE_CHART, ConfigFinding, Outcome, judge

_BY_OUTCOME: Mapping[Outcome, ValuesFault] = {
    Outcome.REFUSED: ValuesFault.REFUSED,
    Outcome.IGNORED: ValuesFault.UNKNOWN_KEY,
    Outcome.OTHER_VERSION: ValuesFault.OTHER_VERSION,
    Outcome.UNKNOWN: ValuesFault.NOT_KNOWN,
    Outcome.CHANCE: ValuesFault.TWICE,
    Outcome.NO_EFFECT: ValuesFault.NO_EFFECT,
    Outcome.ALL_JOBS_FAIL: ValuesFault.JOBS_FAIL,
    Outcome.SOME_JOBS_FAIL: ValuesFault.SOME_JOBS_FAIL,
}
# Rules whose fault says more than their outcome does.
_BY_RULE: Mapping[str, ValuesFault] = {
    "dns-policy": ValuesFault.DNS_POLICY,
    "no-nameservers": ValuesFault.NO_NAMESERVERS,
    "not-of-the-template": ValuesFault.MOVED_KEY,
    "below-a-header": ValuesFault.WRONG_TABLE,
    "overruled": ValuesFault.CONTRADICTION,
}
_IN_DNS_CONFIG = ("nameservers", "searches", "dns_nameservers", "dns_searches")
_NAMESERVERS = ("dns_config", "nameservers")
_SUFFIX: Mapping[ValuesFault, str] = {
    ValuesFault.REFUSED: "the runner does not load the configuration, and no manager registers",
    ValuesFault.JOBS_FAIL: "every job fails",
    ValuesFault.SOME_JOBS_FAIL: "the jobs that it concerns fail",
}


def check_runner_config(text: TomlText) -> Iterator[Finding]:
    """Everything in ``runners.config`` that the runner refuses, ignores, or that fails its jobs."""
    values = text.values
    findings = judge(values.config, values.runner_keys, environment=values.environment).findings
    has_flat_nameservers = any(_is_flat(finding) for finding in findings)
    for finding in findings:
        if finding.rule == "no-nameservers" and has_flat_nameservers:
            continue  # they are there, in the wrong place, which is the finding
        fault, message = _fault(text, finding), _message(text, finding)
        suffix = _SUFFIX.get(fault, "")
        if suffix and suffix not in message and "every job" not in message and "no manager" not in message:
            message = f"{message}; {suffix}"
        yield text.finding(fault, finding.path, message)


def _fault(text: TomlText, finding: ConfigFinding) -> ValuesFault:
    if finding.rule in _BY_RULE:
        return _BY_RULE[finding.rule]
    if finding.rule == "dns-config" and finding.path[-2:] == _NAMESERVERS and "there are" in finding.message:
        return ValuesFault.TOO_MANY_NAMESERVERS
    if finding.rule == "dropped" and finding.path[-1] == "token":
        return ValuesFault.CONTRADICTION
    if finding.outcome is not Outcome.IGNORED:
        return _BY_OUTCOME[finding.outcome]
    if finding.rule == "type":
        return ValuesFault.WRONG_FORM
    if _is_flat(finding):
        return ValuesFault.FLAT_NAMESERVERS
    if _key_of_the_chart(finding):
        return ValuesFault.MOVED_KEY
    if _belongs_further_up(text, finding):
        return ValuesFault.WRONG_TABLE
    return ValuesFault.UNKNOWN_KEY


def _message(text: TomlText, finding: ConfigFinding) -> str:
    if _is_flat(finding):
        return "the runner ignores it here: it reads them below [runners.kubernetes.dns_config]"
    if instead := _key_of_the_chart(finding):
        return f"the runner ignores it here: set {instead} in the chart's values"
    if finding.outcome is Outcome.UNKNOWN:
        newest = text.values.runner_keys.version
        return f"the tables end with runner {newest}, which reads no such key; a later one may"
    return finding.message


def _names(finding: ConfigFinding) -> tuple[str, ...]:
    return tuple(step for step in finding.path if isinstance(step, str))


def _is_flat(finding: ConfigFinding) -> bool:
    *table, key = _names(finding) or ("",)
    return finding.outcome is Outcome.IGNORED and table == ["runners", "kubernetes"] and key in _IN_DNS_CONFIG


def _key_of_the_chart(finding: ConfigFinding) -> str:
    """What sets a key in the chart's values that the runner reads at the top of its file alone; or empty."""
    if finding.rule != "unknown-key" or not finding.nearest or len(finding.nearest[0]) > 1:
        return ""
    return OF_THE_CHART.get(finding.nearest[0][0], "")


def _belongs_further_up(text: TomlText, finding: ConfigFinding) -> bool:
    """Whether the key is one of a table around the one whose header it stands below."""
    if not finding.nearest:
        return False
    *around, key = finding.nearest[0]
    *table, name = _names(finding)
    known = text.values.runner_keys.find((*around, name))
    return known is not None and known.path[-1] == key and len(around) < len(table)
