"""Results on the terminal: one screen, however many root causes there are, and everything for who asks for it."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest._io import TerminalWriter

from preflight import impact, screen
from preflight.conclusions import CAUSES, Conclusion, Explanation, Finding, Proof
from preflight.coverage import Coverage
from preflight.results import Results
from preflight.verdicts import Outcome, Verdict

STEPS = tuple(f"step {number}: `systemctl status unit-{number}`" for number in range(8))
PROOF = Proof(statement="from here: servfail", where="here", command="dig @10.1.0.252", observed="a: SERVFAIL")


class Terminal:
    """pytest's reporter, as far as it is used."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self._tw = TerminalWriter(self.file)
        self._tw.fullwidth = 100
        self.stats: dict[str, list[Any]] = {}

    def write_line(self, line: str, **markup: bool) -> None:
        self._tw.line(line, **markup)

    def write_sep(self, sign: str, title: str, **markup: bool) -> None:
        self._tw.sep(sign, title, **markup)

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def outcome(name: str, verdict: Verdict = Verdict.FAIL) -> Outcome:
    return Outcome(check=name, number="2.4.7", title="It is right", target="", verdict=verdict, reason="blocked by it")


def finding(number: int) -> Finding:
    conclusion = Conclusion(
        cause=CAUSES["resolver-broken"],
        sentence=f"10.1.0.{number} could not resolve the names: " + "its own upstream or zone is broken " * 6,
        impact=impact.stops(),
        certain=True,
        explains=(),
        proofs=(PROOF,),
        remedy=STEPS,
    )
    return Finding(conclusion, (outcome(f"test_{number}"), outcome(f"test_after_{number}", Verdict.BLOCKED)))


def printed(causes: int, *, everything: bool = False) -> list[str]:
    terminal, findings = Terminal(), tuple(map(finding, range(causes)))
    outcomes = [each for found in findings for each in found.checks]
    results = Results(outcomes=outcomes, explanation=Explanation(findings))
    results.settle(1, Coverage(1, 1), selected=(), effect="privileged", allow_degraded=False)
    screen.print_results(terminal, results, everything=everything, brief=False)
    return terminal.lines


@pytest.mark.parametrize(("causes", "most"), [(1, 12), (2, 19), (5, 40), (12, 47)])
def test_root_causes_fit_one_screen(causes: int, most: int) -> None:
    lines = printed(causes)
    assert len(lines) + 2 <= most, "pytest's own last line, and where the reports are"
    assert sum("cause     resolver-broken" in line for line in lines) == causes
    assert lines[-1].startswith("NO GO")


def test_what_a_root_cause_explains_is_told_in_full_only_on_request() -> None:
    assert not [line for line in printed(1) if "blocked by it" in line or "step 7" in line]
    full = printed(1, everything=True)
    assert "1 check blocked by it" in full
    assert [line for line in full if "step 7: `systemctl status unit-7`" in line]


def test_reports_that_a_root_cause_explains_are_left_out_of_pytests_summaries() -> None:
    terminal = Terminal()
    explained, other, foreign = (
        SimpleNamespace(outcome_of_check=each) for each in (outcome("test_0"), outcome("x"), None)
    )
    terminal.stats = {"failed": [explained, other, foreign], "passed": [foreign]}
    with screen.explained_left_out(terminal, Explanation((finding(0),))):
        assert terminal.stats["failed"] == [other, foreign]
    assert terminal.stats == {"failed": [explained, other, foreign], "passed": [foreign]}


def test_reasons_that_differ_in_the_target_alone_share_a_line() -> None:
    terminal = Terminal()
    without = [
        Outcome(
            check="test_x",
            number="2.4.7",
            title="It is right",
            target=worker,
            targets={"worker": worker},
            verdict=Verdict.NOT_APPLICABLE,
            reason=reason.format(worker),
        )
        for worker in ("w1", "w2", "w3")
        for reason in ("the kubelet on {} shows nothing", "it is switched off", "a file on {} can't be read")
    ]
    results = Results(outcomes=without)
    results.settle(0, Coverage(9, 9), selected=(), effect="privileged", allow_degraded=False)
    screen.print_results(terminal, results, everything=False, brief=False)
    assert terminal.lines[1:4] == [
        "3 checks on 3 targets, such as: the kubelet on w1 shows nothing",
        "3 checks: it is switched off",
        "3 checks on 3 targets, such as: a file on w1 can't be read",
    ]
    screen.print_results(terminal, results, everything=True, brief=False)
    assert "1 check: the kubelet on w3 shows nothing" in terminal.lines
