"""A finding as text: the same lines for terminal and JUnit."""

from __future__ import annotations

from collections import Counter

from preflight import excerpts
from preflight.conclusions.attribution import Finding
from preflight.verdicts import Verdict

_COUNTED = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.ADVICE, Verdict.WAIVED)
_NAMED = 6  # explained checks that are named; the rest is counted


def lines(finding: Finding, place: int) -> list[str]:
    """The finding as lines of ``name  value``, continuation lines indented."""
    text = "\n".join(f"{name:<10}{value}".replace("\n", "\n" + " " * 10).rstrip() for name, value in rows(finding))
    return [f"{place}.".ljust(4) + text.splitlines()[0], *(" " * 4 + line for line in text.splitlines()[1:])]


def headline(finding: Finding) -> str:
    """Name, impact on jobs and sentence of its cause."""
    conclusion = finding.conclusion
    return f"{conclusion.name} ({conclusion.impact}): {conclusion.sentence}"


def rows(finding: Finding) -> list[tuple[str, str]]:
    """All of the finding as names and values; a value may have several lines."""
    conclusion = finding.conclusion
    named = [("cause", headline(finding))]
    named += [("likely", f"to be certain: {conclusion.settled_by}")] if not conclusion.certain else []
    for proof in conclusion.proofs:
        repeated = proof.command and proof.statement in conclusion.sentence
        command = excerpts.without_document(proof.command)
        shown = ["" if repeated else proof.statement, f"{proof.where} $ {command}" if command else ""]
        named.append(("evidence", "\n".join(filter(None, shown))))
    named += [("remedy", "\n".join(f"{number}. {step}" for number, step in enumerate(conclusion.remedy, start=1)))]
    named += [("explains", explained(finding)), ("section", f"guide {conclusion.cause.section}")]
    return [(name, value) for name, value in named if value]


def counts(finding: Finding) -> str:
    """How many checks of each verdict it explains, such as ``1 failed, 6 blocked``."""
    count = Counter(outcome.verdict for outcome in finding.checks)
    labels = {Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown", Verdict.BLOCKED: "blocked"}
    return ", ".join(f"{count[verdict]} {labels.get(verdict, str(verdict))}" for verdict in _COUNTED if count[verdict])


def explained(finding: Finding) -> str:
    """Which checks it explains: how many of each verdict, and the failing ones by name."""
    failing = [
        f"{outcome.number} {outcome.name}" for outcome in finding.checks if outcome.verdict is not Verdict.BLOCKED
    ]
    more = f" and {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
    return f"{counts(finding)}: {', '.join(failing[:_NAMED])}{more}" if failing else counts(finding)
