"""The top of the page, in the order in which it is read: verdict, root causes, the rest, charts."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from importlib import resources

from preflight.conclusions import Explanation, Facts
from preflight.decision import Decision
from preflight.evidence import clean
from preflight.pages import cards, dns, headroom, matrix, paths, registry
from preflight.verdicts import Outcome, Verdict

# pytest-html's page has none, and phones then lay it out as wide as a desktop; browsers accept it in the body too.
_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_SIGNS = {"go": "✓", "nogo": "✗", "inconclusive": "?", "degraded": "!", "partial": "◐", "stopped": "■"}

_CHARTS: tuple[tuple[str, Callable[[Facts], str]], ...] = (
    ("Paths", lambda facts: matrix.table(paths.matrix(facts))),
    ("Names", lambda facts: matrix.table(dns.matrix(facts)) + matrix.table(dns.inner(facts))),
    ("Images", lambda facts: matrix.table(registry.matrix(facts))),
    ("Headroom", headroom.section),
)


def top(judged: Sequence[Outcome], explanation: Explanation, facts: Facts | None, decision: Decision) -> list[str]:
    """Everything that the page shows above its table of results, as pieces of HTML."""
    style = resources.files("preflight.pages").joinpath("style.css").read_text(encoding="utf-8")
    parts = [_VIEWPORT + f"<style>{style}</style>", banner(decision)]
    parts += _causes(judged, explanation)
    parts += _not_looked_at(decision)
    if facts is not None:
        parts += charts(facts)
    return [parts[0], f'<div class="preflight">{"".join(parts[1:])}</div>']


def banner(decision: Decision) -> str:
    """The verdict in one line."""
    kind, sign = decision.style, _SIGNS[decision.style]
    head, _, rest = decision.sentence.partition(": ")
    return (
        f'<p class="pf-banner pf-{kind}" role="status"><strong><i aria-hidden="true">{sign}</i> {html.escape(head)}'
        f"</strong> <span>{html.escape(rest)}</span></p>"
    )


def _causes(judged: Sequence[Outcome], explanation: Explanation) -> list[str]:
    parts = []
    if explanation.root_causes:
        parts.append("<h2>Root causes</h2>")
        parts += [cards.card(finding, place) for place, finding in enumerate(explanation.root_causes, start=1)]
    unexplained = explanation.unexplained
    if unexplained:
        caption = "Failed and unknown checks that no root cause explains" if explanation.findings else ""
        parts.append("<h2>Not explained by a root cause</h2>")
        parts.append(cards.findings(unexplained, caption=caption or "Failed and unknown checks"))
    # What blocks no rollout takes one line a check, with the check's own remedy: a card would give it too much weight.
    advice = [outcome for outcome in judged if outcome.verdict in {Verdict.ADVICE, Verdict.WAIVED}]
    if advice:
        parts += ["<h2>Advice and waived</h2>", cards.findings(advice, caption="Faults that block no rollout")]
    return parts


def _not_looked_at(decision: Decision) -> list[str]:
    """What a run of a part has left out, by the guide's sections."""
    if not decision.partial:
        return []
    sections = "".join(
        f"<details><summary>{html.escape(section)}: {sum(part.count for part in parts)}</summary><ul>"
        + "".join(f"<li>{html.escape(part.title)} ({part.count})</li>" for part in parts)
        + "</ul></details>"
        for section, parts in decision.coverage.by_section().items()
    )
    return ["<h2>Not looked at</h2>", f'<div class="pf-left-out">{sections}</div>']


def charts(facts: Facts) -> list[str]:
    """The charts of what was measured; one that can't be drawn says so, and the others are still there."""
    parts = []
    for title, draw in _CHARTS:
        try:
            drawn = draw(facts)
        except Exception as error:  # noqa: BLE001 - an internal error in a chart must not cost the page
            drawn = f"<p>This chart could not be drawn: {html.escape(clean(f'{type(error).__name__}: {error}'))}</p>"
        if drawn:
            parts.append(f'<section class="pf-picture"><h2>{title}</h2>{drawn}</section>')
    return [*parts, matrix.legend()] if parts else []
