"""What a run prints held against its limits, and the evidence of a report held against its causes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from preflight import excerpts

WIDTH = 100
"""Columns of the terminal for which the limits hold."""

CARD, WHOLE = 8, 45
"""Lines of one root cause, and of a whole run with one, beside pytest's progress."""

_PROGRESS = re.compile(r"^\S* ?[.FEsxX]+ +\[ *\d+%\]$|^checks/\S+ ")
_PYTHON = re.compile(r"^E  |^>  |assert not |AssertionError|<\w+Fault\.|Traceback")
_VERDICT = re.compile(r"(NO )?GO:|(DEGRADED|INCONCLUSIVE|PARTIAL|INTERRUPTED):")
_WELL = re.compile(r": (answered|reached|succeed|answer the same names|the registry answers|nothing is wrong)$")


def beyond_one_screen(output: str, *, causes: int) -> list[str]:
    """What of a run's output breaks a limit, a phrase each.

    Args:
        output: printed with `WIDTH` columns, without ``-v`` and ``--tb``.
        causes: how many root causes it has.
    """
    lines = [row for line in output.rstrip().splitlines() for row in _rows(line)]
    problems = [f"Python: {line}" for line in lines if _PYTHON.search(line)]
    if not causes:
        return problems
    start = next((place for place, line in enumerate(lines) if "= root causes =" in line), len(lines))
    rest = len(lines) - start
    if rest > 5 + 7 * causes:
        problems.append(f"{rest} lines from the root causes to the end")
    beside = [line for line in lines if not _PROGRESS.match(line)]
    if causes == 1 and len(beside) > WHOLE:
        problems.append(f"{len(beside)} lines beside the progress")
    heads = [place for place in range(start + 1, len(lines)) if re.match(r"\d+\. +cause", lines[place])]
    ends = [*heads[1:], *(place for place in range(start, len(lines)) if _VERDICT.match(lines[place]))]
    problems += [
        f"a root cause of {end - head} lines" for head, end in zip(heads, ends, strict=False) if end - head > CARD
    ]
    return problems if heads else [*problems, "no root cause is shown"]


def _rows(line: str) -> list[str]:
    """A line as a terminal of that width shows it."""
    return [line[place : place + WIDTH] for place in range(0, len(line), WIDTH)] or [""]


def contradictions(report: Mapping[str, Any]) -> Iterator[str]:
    """Where evidence and cause of a report contradict each other, a sentence each."""
    for fact in report["facts"]:
        value = fact.get("value") or {}
        if value.get("fault") and isinstance(value.get("evidence"), Mapping):
            yield from _of_fact(fact["name"], value)
    for conclusion in report["conclusions"]:
        for proof in conclusion["proofs"]:
            yield from _of_proof(conclusion, proof)


def _of_fact(name: str, value: Mapping[str, Any]) -> Iterator[str]:
    evidence, cause = value["evidence"], f"{value['fault']} {value['cause']}"
    observed = evidence.get("observed", "")
    own = excerpts.parts(cause) - excerpts.parts(evidence["command"])
    bears_out = own & excerpts.parts(observed) or excerpts.reports_error(observed)
    if observed.strip() and not bears_out and name not in _OF_AN_ABSENCE:
        yield f"{name}: nothing in {observed!r} bears out {cause!r}"
    for status in re.findall(r"\b[45]\d\d\b", value["cause"]):
        if re.search(r"\bHTTP \d\d\d\b", observed) and status not in observed:
            yield f"{name}: {cause!r}, and no {status} in {observed!r}"
    if value.get("kind") == "Clock" and ("ahead" if value["offset"] > 0 else "behind") not in cause:
        yield f"{name}: {cause!r}, and the offset is {value['offset']}"


_OF_AN_ABSENCE = frozenset({"manager_readiness", "worker_placement", "token_presence", "token_kind", "release_chart"})
"""Facts whose evidence shows that something is not there: a replica, a label, a prefix, a version."""


def _of_proof(conclusion: Mapping[str, Any], proof: Mapping[str, Any]) -> Iterator[str]:
    statement, name = proof["statement"], conclusion["name"]
    if not proof["healthy"] and _WELL.search(statement):
        yield f"{name}: {statement!r} is no evidence of what is broken"
    words = {"servfail", "refused", "nxdomain", "timeout", "silent"}
    if proof["healthy"] and words & excerpts.tokens(statement):
        yield f"{name}: {statement!r} is not well"
    clocks = re.findall(r"(\S+)'s clock is \d+ s (ahead|behind)", statement)
    for node, direction in clocks:
        if name == "node-clock-skew" and not re.search(rf"{re.escape(node)} is \d+ s {direction}", conclusion["cause"]):
            yield f"{name}: {conclusion['cause']!r} and {statement!r}"
