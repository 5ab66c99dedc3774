"""Judge a document: what the decoder makes of it, what is left when a manager registers, what comes of it for jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.runner_config import jobs, pods, registering  # their rules
from preflight.runner_config.decoder import ConfigFinding, Decoded, Outcome, decode
from preflight.runner_config.keys import Key, RunnerKeys
from preflight.runner_config.rules import Role, Rule, Runner

RULES: tuple[Rule, ...] = tuple(
    value for module in (registering, jobs, pods) for value in vars(module).values() if isinstance(value, Rule)
)


def judge(
    document: Mapping[str, Any],
    keys: RunnerKeys,
    *,
    role: Role = "template",
    environment: Mapping[str, str] | None = None,
) -> Decoded:
    """What a runner makes of a parsed document, and what comes of it for its jobs.

    Args:
        document: as `parse` gives it.
        keys: of the runner's version.
        role: whether it is the template that a manager registers with (``runners.config``), or its own
            ``config.toml``.
        environment: the variables that a manager registers with: they win over the template.
    """
    decoded = decode(document, keys)
    findings = list(decoded.findings)
    if role == "template":
        findings += registering.of_the_template(document, decoded, keys)
        overruled = registering.overruled(decoded.values, keys, environment or {})
        findings += (_as_written(finding, document, keys) for finding in overruled)
    findings += registering.labels_of_all(decoded.values)
    for number, values in enumerate(decoded.values.get("runners", ())):
        runner = Runner(values, keys, number)
        for rule in RULES:
            if rule.role in {"", role} and not (rule.absence and decoded.refused):
                written = [_as_written(finding, document, keys) for finding in rule.findings(runner)]
                findings += [finding for finding in written if not _within_refused(finding, decoded)]
    return Decoded(values=decoded.values, findings=tuple(dict.fromkeys(findings)))


def _within_refused(finding: ConfigFinding, decoded: Decoded) -> bool:
    """Whether it is of a key, or of a table, that is refused as it is: what is missing there is its consequence."""
    refused = [other.path for other in decoded.findings if other.outcome is Outcome.REFUSED]
    return any(finding.path[: len(path)] == path for path in refused)


def _as_written(finding: ConfigFinding, document: Mapping[str, Any], keys: RunnerKeys) -> ConfigFinding:
    """The finding with its path in the document's spelling."""
    path: list[str | int] = []
    place: Any = document
    known: Key | None = keys.root
    for step in finding.path:
        if isinstance(step, str) and isinstance(place, Mapping):
            inner = known.key(step) if known else None
            if step not in place and inner is not None and known is not None:
                step = next((name for name in place if known.key(name) is inner), step)  # noqa: PLW2901
            known, place = inner, place.get(step)
        elif isinstance(step, int) and isinstance(place, list):
            place = place[step] if step < len(place) else None
        else:
            place = None
        path.append(step)
    return ConfigFinding(
        outcome=finding.outcome,
        rule=finding.rule,
        path=tuple(path),
        message=finding.message,
        nearest=finding.nearest,
    )
