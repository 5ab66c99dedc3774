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
    found = finding.conclusion
    return (
        f'<article class="pf-card" aria-labelledby="pf-cause-{place}">'
        f'<h3 id="pf-cause-{place}"><span class="pf-place">{place}</span> {code(found.sentence)}</h3>'
        f"{_confidence(found)}{_evidence(found.proofs)}{_remedy(found.remedy)}{_explained(finding)}</article>"
    )


def _confidence(found: Conclusion) -> str:
    settled = f": to be certain, {code(found.settled_by)}" if found.settled_by and not found.certain else ""
    return (
        f'<p class="pf-meta"><b class="pf-{found.confidence}">{found.confidence}</b>{settled} · '
        f"<code>{html.escape(found.name)}</code> · guide {html.escape(found.cause.section)}</p>"
    )


def _evidence(proofs: Sequence[Proof]) -> str:
    if not proofs:
        return ""
    return "<h4>Evidence</h4>" + '<div class="pf-proofs">' + "".join(_proof(one) for one in proofs) + "</div>"


def _proof(proof: Proof) -> str:
    where = f'<p class="pf-where">{html.escape(proof.where)}</p>' if proof.where else ""
    shown = []
    if proof.command:
        shown.append(f"<code>$ {html.escape(proof.command)}</code>")
    if proof.observed:
        shown.append(f"<samp>{html.escape(proof.observed)}</samp>")
    printed = '<pre tabindex="0">' + "\n".join(shown) + "</pre>" if shown else ""
    return f'<section class="pf-proof">{where}<p>{code(proof.statement)}</p>{printed}</section>'


def _remedy(steps: Sequence[str]) -> str:
    if not steps:
        return ""
    return "<h4>Remedy</h4><ol>" + "".join(f"<li>{code(step)}</li>" for step in steps) + "</ol>"


def _explained(finding: Finding) -> str:
    """The checks that it explains, a line each: the red ones first, and a check's targets together."""
    counts = text.explained(finding).partition(":")[0]
    lines: dict[tuple[Verdict, str], list[str]] = {}
    for one in sorted(finding.checks, key=lambda one: one.verdict is Verdict.BLOCKED):
        targets = lines.setdefault((one.verdict, f"{one.number} {one.title}"), [])
        targets += [one.target] if one.target else []
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


def _named(one: Outcome) -> str:
    return f"{one.number} {one.title}" + (f" [{one.target}]" if one.target else "")


def findings(outcomes: Sequence[Outcome], *, caption: str) -> str:
    """Checks that are not right as a table: verdict, check, cause, where, remedy; "" if there are none."""
    rows = "".join(
        "<tr>"
        f'<td><span class="pf-v-{str(one.verdict).split()[0]}">{html.escape(str(one.verdict))}</span></td>'
        f'<th scope="row">{html.escape(_named(one))}</th>'
        + "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in zip(_HEADS[2:], _told(one), strict=True))
        + "</tr>"
        for one in outcomes
    )
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        f'<div class="pf-scroll" tabindex="0" role="group" aria-label="{html.escape(caption)}">'
        f'<table class="pf-findings"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _told(one: Outcome) -> tuple[str, str, str]:
    told = one.diagnosis
    if told is None:
        return code(one.reason), "", ""
    reason = f" ({html.escape(one.reason)})" if one.verdict is Verdict.WAIVED and one.reason else ""
    return code(told.headline) + reason, html.escape(told.where), code(told.remedy)
