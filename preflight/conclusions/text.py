"""A finding in words: the same lines for terminal and JUnit."""

from __future__ import annotations

from collections import Counter

from preflight.conclusions.attribution import Finding
from preflight.verdicts import Verdict

_NAMED = 6  # explained checks that are named; the rest is counted


def lines(finding: Finding, place: int) -> list[str]:
    """The finding as lines of ``name  value``, continuation lines indented."""
    found = finding.conclusion
    rows = [("cause", f"{found.name}: {found.sentence}")]
    rows += [("likely", f"to be certain: {found.settled_by}")] if not found.certain else []
    for proof in found.proofs:
        rows.append(
            ("evidence", "\n".join([proof.statement, *([f"{proof.where} $ {proof.command}"] * bool(proof.command))]))
        )
    rows += [("remedy", "\n".join(f"{number}. {step}" for number, step in enumerate(found.remedy, start=1)))]
    rows += [("explains", explained(finding)), ("section", f"guide {found.cause.section}")]
    text = "\n".join(f"{name:<10}{value}".replace("\n", "\n" + " " * 10).rstrip() for name, value in rows if value)
    return [f"{place}.".ljust(4) + text.splitlines()[0], *(" " * 4 + line for line in text.splitlines()[1:])]


def explained(finding: Finding) -> str:
    """Which checks it explains: how many of each verdict, and the red ones by name."""
    count = Counter(one.verdict for one in finding.checks)
    words = {Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown", Verdict.BLOCKED: "blocked"}
    counts = ", ".join(f"{number} {words.get(verdict, str(verdict))}" for verdict, number in count.items())
    red = [f"{one.number} {one.name}" for one in finding.checks if one.verdict is not Verdict.BLOCKED]
    more = f" and {len(red) - _NAMED} more" if len(red) > _NAMED else ""
    return f"{counts}: {', '.join(red[:_NAMED])}{more}" if red else counts
