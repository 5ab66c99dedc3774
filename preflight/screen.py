"""The run's results on the terminal: one screen by default, everything with ``-v``, pytest's tracebacks with ``--tb``.

By default, a root cause stands for the checks that it explains: pytest's sections of failures and its short summary
keep what none explains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from preflight import reports
from preflight.conclusions import Explanation, Finding, card, text
from preflight.coverage import Coverage
from preflight.language import labelled_line, t, translated
from preflight.layout import Line, Style, first_line, hanging, labelled, wrapped
from preflight.results import Results
from preflight.terminal import LABEL, STYLES, write
from preflight.verdicts import Outcome, Verdict

_INDENT = 4  # columns of the number of a root cause

# ---- pytest's own sections ------------------------------------------------------------------------------------------


def wants_everything(config: pytest.Config) -> bool:
    """Whether all that is known of each failing check is to be shown, and not only its root cause."""
    return config.get_verbosity() > 0 or config.getoption("tbstyle") not in {"auto", "no"}


@contextlib.contextmanager
def explained_left_out(terminal: Any, explanation: Explanation) -> Iterator[None]:
    """Keep reports of checks that a root cause explains out of pytest's summaries; they still count."""
    explained = explained_names(explanation)
    kept = {key: terminal.stats.get(key, []) for key in ("failed", "error")}
    for key, all_reports in kept.items():
        if all_reports:
            terminal.stats[key] = [
                report
                for report in all_reports
                if (outcome := reports.outcome_of(report)) is None or outcome.name not in explained
            ]
    try:
        yield
    finally:
        terminal.stats.update({key: all_reports for key, all_reports in kept.items() if all_reports})


def explained_names(explanation: Explanation) -> frozenset[str]:
    """The checks that root causes explain."""
    return frozenset(outcome.name for finding in explanation.root_causes for outcome in finding.checks)


# ---- ours -----------------------------------------------------------------------------------------------------------


def print_results(terminal: Any, results: Results, *, everything: bool, brief: bool) -> None:
    """Print what pytest's own summary leaves out: advice, waivers, notes, root causes, answers, and the verdict.

    Args:
        terminal: pytest's terminal reporter.
        results: what the run came to.
        everything: all evidence, remedies and blocked checks, instead of what fits one screen.
        brief: a line for each root cause, each failing check that none explains, and each note (``-q``).
    """
    screen, decision = _Screen(terminal, everything=everything), results.decision
    if brief:
        screen.briefly(results.explanation)
    else:
        screen.accepted(results.outcomes)
        screen.not_judged(results.outcomes, explained=explained_names(results.explanation))
    for note in results.notes:
        screen.paragraph(t("note: {note}", note=translated(note)), yellow=True)
    if decision.partial and not brief:
        screen.not_looked_at(decision.coverage)
    if not brief:
        screen.root_causes(results.explanation.root_causes)
        screen.unexplained(results.explanation.unexplained)
    if results.symptom_answer is not None:
        screen.section(t("symptom"), results.symptom_answer.lines())
    if results.comparison is not None:
        screen.section(translated(results.comparison.title), results.comparison.lines())
    colour = {"go": "green", "nogo": "red"}.get(decision.style, "yellow")
    screen.paragraph(translated(decision.sentence), bold=True, **{colour: True})


class _Screen:
    """What is printed of a run, on one screen or in full."""

    def __init__(self, terminal: Any, *, everything: bool) -> None:
        self._terminal = terminal
        self._writer = terminal._tw  # noqa: SLF001 - pytest's reporter has no other way to colour a part of a line
        self._everything = everything
        self._width = self._writer.fullwidth

    def heading(self, title: str, sign: str = "-") -> None:
        self._terminal.write_sep(sign, title, bold=sign == "=")

    def paragraph(self, sentence: str, **markup: bool) -> None:
        """A sentence, wrapped where the terminal ends."""
        for line in wrapped(sentence, self._width):
            self._terminal.write_line(line, **markup)

    def entry(self, sentence: str) -> None:
        """One line, or in full."""
        if self._everything:
            self.paragraph(sentence)
        else:
            self._terminal.write_line(first_line(sentence, self._width))

    def section(self, title: str, lines: Iterable[str]) -> None:
        self.heading(title, "=")
        for line in lines:
            for row in hanging(labelled_line(line), self._width):
                self._terminal.write_line(row)

    def accepted(self, outcomes: Sequence[Outcome]) -> None:
        """Advice and waived failures, a line each."""
        for verdict in (Verdict.ADVICE, Verdict.WAIVED):
            accepted = [outcome for outcome in outcomes if outcome.verdict is verdict]
            if accepted:
                self.heading(t(verdict))
            for outcome in accepted:
                target = f" [{outcome.target}]" if outcome.target else ""
                title = f"{outcome.number} {translated(outcome.title)}{target}"
                reason = translated(outcome.reason)
                if self._everything or verdict is Verdict.WAIVED:
                    self.entry(t("{title}: {reason}", title=title, reason=reason))
                else:
                    self.entry(f"{outcome.number}{target} {reason}")
                if self._everything and outcome.diagnosis is not None and verdict is Verdict.ADVICE:
                    self.paragraph("    " + t("remedy: {remedy}", remedy=translated(outcome.diagnosis.remedy)))

    def not_judged(self, outcomes: Sequence[Outcome], *, explained: frozenset[str]) -> None:
        """What is blocked or not applicable, a line for each reason; what a root cause explains, only in full.

        On one screen, reasons that differ in the target alone, such as one for each of many workers, share a line.
        """
        for verdict in (Verdict.BLOCKED, Verdict.NOT_APPLICABLE):
            reasons: dict[str, list[Outcome]] = {}
            for outcome in outcomes:
                if outcome.verdict is verdict and (self._everything or outcome.name not in explained):
                    reasons.setdefault(outcome.reason if self._everything else _kind(outcome), []).append(outcome)
            if reasons:
                self.heading(t(verdict))
            for concerned in reasons.values():
                reason = concerned[0].reason
                count = translated(f"{len(concerned)} {'check' if len(concerned) == 1 else 'checks'}")
                places = {outcome.target for outcome in concerned} if _kind(concerned[0]) != reason else {""}
                if len(places) > 1:
                    count = translated(f"{len(concerned)} checks on {len(places)} targets, such as")
                witnesses = ", ".join(dict.fromkeys(outcome.witness for outcome in concerned if outcome.witness))
                also = t("; also seen from {witnesses}", witnesses=witnesses) if witnesses else ""
                shown = translated(reason)
                blocked = verdict is Verdict.BLOCKED
                if blocked:
                    self.entry(t("{count} {reason}{also}", count=count, reason=shown, also=also))
                else:
                    self.entry(t("{count}: {reason}", count=count, reason=shown))

    def root_causes(self, findings: Sequence[Finding]) -> None:
        """The root causes; of many, the further ones in one line each."""
        if findings:
            self.heading(t("root causes"), "=")
        for place, finding in enumerate(findings, start=1):
            if self._everything:
                lines = self._in_full(finding, place)
            elif place <= card.SHOWN:
                lines = card.card(finding, place, width=self._width)
            else:
                lines = [card.one_line(finding, place, width=self._width)]
            for line in lines:
                write(self._writer, line)

    def _in_full(self, finding: Finding, place: int) -> list[Line]:
        lines: list[Line] = [] if place == 1 else [()]
        for number, (label, value) in enumerate(text.rows(finding)):
            head = f"{place}.".ljust(_INDENT) if number == 0 else " " * _INDENT
            body = wrapped(_told(label, value, finding), self._width - _INDENT - LABEL)
            style = STYLES.get(label, Style.PLAIN)
            lines += labelled(head + t(label), body, style, indent=0, label_width=_INDENT + LABEL)
        return lines

    def unexplained(self, outcomes: Sequence[Outcome]) -> None:
        """Failing checks that no root cause explains."""
        if outcomes:
            self.heading(t("not explained by a root cause"))
        for outcome in outcomes:
            self.paragraph(f"{outcome.number} {outcome.name}: {translated(_headline(outcome))}")

    def briefly(self, explanation: Explanation) -> None:
        """A line for each root cause, and for each failing check that none explains."""
        self._terminal.write_line("")
        for place, finding in enumerate(explanation.root_causes, start=1):
            self._terminal.write_line(f"{place}. {translated(text.headline(finding))}")
        for outcome in explanation.unexplained:
            self._terminal.write_line(f"{outcome.number} {outcome.name}: {translated(_headline(outcome))}")

    def not_looked_at(self, coverage: Coverage) -> None:
        """What a run of a part leaves out: a line a section, or how many checks of each."""
        if self._everything:
            self.section(t("not looked at"), coverage.lines())
        elif sections := coverage.sections():
            self.paragraph(t("checks not looked at, by section: {sections}", sections=sections))


def _kind(outcome: Outcome) -> str:
    """Why a check was not judged, without the names of its targets."""
    reason = outcome.reason
    for target in outcome.targets.values():
        reason = reason.replace(target, "…") if target else reason
    return reason


def _told(label: str, value: str, finding: Finding) -> str:
    """What a label says of a root cause, translated but for commands and evidence."""
    if label != "evidence":
        return translated(value)
    statements = {proof.statement for proof in finding.conclusion.proofs}
    return "\n".join(translated(line) if line in statements else line for line in value.split("\n"))


def _headline(outcome: Outcome) -> str:
    """What is wrong with a check that no root cause explains, behind what it does to jobs."""
    if outcome.diagnosis is None:
        return outcome.reason
    return f"{outcome.diagnosis.impact}: {outcome.diagnosis.headline}"
