"""Root causes as cards, and what no root cause explains as a table."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from preflight.conclusions import Conclusion, Finding, Proof, text
from preflight.verdicts import Outcome, Verdict

_CODE = re.compile(r"`([^`]+)`")
_HEADS = ("verdict", "check", "cause", "where", "remedy")
_LISTED = 20  # checks that a card lists by name
_TARGETS = 4  # targets of one of them


def code(text: str) -> str:
    """A sentence as HTML, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def card(finding: Finding, place: int) -> str:
    """One root cause: sentence, confidence, evidence side by side, remedy, and what it explains."""
    conclusion = finding.conclusion
    return (
        f'<article class="pf-card" aria-labelledby="pf-cause-{place}">'
        f'<h3 id="pf-cause-{place}"><span class="pf-place">{place}</span> {code(conclusion.sentence)}</h3>'
        f"{_confidence(conclusion)}{_evidence(conclusion.proofs)}{_remedy(conclusion.remedy)}{_explained(finding)}"
        "</article>"
    )


def _confidence(conclusion: Conclusion) -> str:
    to_be_certain = code(conclusion.settled_by) if conclusion.settled_by and not conclusion.certain else ""
    settled = f": to be certain, {to_be_certain}" if to_be_certain else ""
    return (
        f'<p class="pf-meta"><b class="pf-impact">{html.escape(str(conclusion.impact))}</b> · '
        f'<b class="pf-{conclusion.confidence}">{conclusion.confidence}</b>{settled} · '
        f"<code>{html.escape(conclusion.name)}</code> · guide {html.escape(conclusion.cause.section)}</p>"
    )


def _evidence(proofs: Sequence[Proof]) -> str:
    if not proofs:
        return ""
    return "<h4>Evidence</h4>" + '<div class="pf-proofs">' + "".join(_proof(proof) for proof in proofs) + "</div>"


def _proof(proof: Proof) -> str:
    where = f'<p class="pf-where">{html.escape(proof.where)}</p>' if proof.where else ""
    printed = []
    if proof.command:
        printed.append(f"<code>$ {html.escape(proof.command)}</code>")
    if proof.observed:
        printed.append(f"<samp>{html.escape(proof.observed)}</samp>")
    output = '<pre tabindex="0">' + "\n".join(printed) + "</pre>" if printed else ""
    return f'<section class="pf-proof">{where}<p>{code(proof.statement)}</p>{output}</section>'


def _remedy(steps: Sequence[str]) -> str:
    if not steps:
        return ""
    return "<h4>Remedy</h4><ol>" + "".join(f"<li>{code(step)}</li>" for step in steps) + "</ol>"


def _explained(finding: Finding) -> str:
    """The checks that it explains, a line each: the failing ones first, and a check's targets together."""
    counts = text.explained(finding).partition(":")[0]
    lines: dict[tuple[Verdict, str], list[str]] = {}
    for outcome in sorted(finding.checks, key=lambda outcome: outcome.verdict is Verdict.BLOCKED):
        targets = lines.setdefault((outcome.verdict, f"{outcome.number} {outcome.title}"), [])
        targets += [outcome.target] if outcome.target else []
    listed = "".join(
        f"<li><b>{html.escape(str(verdict))}</b> {html.escape(check + _targets(targets))}</li>"
        for (verdict, check), targets in list(lines.items())[:_LISTED]
    )
    more = f"<li>and {len(lines) - _LISTED} more</li>" if len(lines) > _LISTED else ""
    return f"<h4>Explains {html.escape(counts)}</h4>" + f'<ul class="pf-explains">{listed}{more}</ul>'


def _targets(targets: Sequence[str]) -> str:
    if not targets:
        return ""
    more = f" and {len(targets) - _TARGETS} more" if len(targets) > _TARGETS else ""
    return f" [{', '.join(targets[:_TARGETS])}{more}]"


def _title(outcome: Outcome) -> str:
    return f"{outcome.number} {outcome.title}" + (f" [{outcome.target}]" if outcome.target else "")


def findings(outcomes: Sequence[Outcome], *, caption: str) -> str:
    """Checks that did not pass as a table: verdict, check, cause, where, remedy; "" if there are none."""
    rows = "".join(
        "<tr>"
        f'<td><span class="pf-v-{str(outcome.verdict).split()[0]}">{html.escape(str(outcome.verdict))}</span></td>'
        f'<th scope="row">{html.escape(_title(outcome))}</th>'
        + "".join(
            f'<td data-head="{head}">{cell}</td>' for head, cell in zip(_HEADS[2:], _details(outcome), strict=True)
        )
        + "</tr>"
        for outcome in outcomes
    )
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        f'<div class="pf-scroll" tabindex="0" role="group" aria-label="{html.escape(caption)}">'
        f'<table class="pf-findings"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _details(outcome: Outcome) -> tuple[str, str, str]:
    """Cause, where and remedy."""
    failure = outcome.diagnosis
    if failure is None:
        return code(outcome.reason), "", ""
    reason = f" ({html.escape(outcome.reason)})" if outcome.verdict is Verdict.WAIVED and outcome.reason else ""
    return code(failure.headline) + reason, html.escape(failure.where), code(failure.remedy)
