"""Symptoms: every pattern on real lines, logs with all that GitLab adds to them, and the answer from verdicts."""

from __future__ import annotations

import ast
import functools
import os
import pty
import re
from dataclasses import replace
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from preflight import faults
from preflight.conclusions import CAUSES, Cause, Conclusion, Explanation, Finding, explain
from preflight.diagnosis import Diagnosis
from preflight.impact import stops
from preflight.symptoms import Symptom, areas, find, from_stream, known, reading, without_text
from preflight.symptoms.answering import State, answer, before
from preflight.symptoms.catalogue import EntryError, Kind, Pattern, symptom_of
from preflight.verdicts import Outcome, Verdict

CHECKS = Path(__file__).parents[2] / "checks"
ROWS = {str(number) for number in range(1, 57) if number != 40} | {"40a", "40b", "40c"}
"""Rows of the failures' reference."""

ALSO = {"job-pod-lost": {"evicted"}}
"""Which others a line of a symptom may show as well: they ask for further checks, and none of them is wrong."""


@functools.cache
def by_form() -> frozenset[str]:
    """What is read by the form of errors."""
    return frozenset(symptom.id for symptom in known() if symptom.kind in {Kind.GRAMMAR, Kind.UNCLASSIFIED})


@functools.cache
def causes_behind() -> frozenset[str]:
    """What leads wherever it stands on a line behind the words of an entry that is not decisive."""
    return frozenset(symptom.id for symptom in known() if symptom.inner)


def ids(text: str) -> list[str]:
    return [one.symptom.id for one in find(text)]


# ---- the data


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"url": None}, r"dns\.yaml: made-up: a symptom has id, url, lines, means; missing: url"),
        ({"mean": []}, r"dns\.yaml: made-up: unknown key mean; a symptom may have decisive, "),
        ({"means": [{"says": "a"}]}, r"dns\.yaml: made-up: a meaning has says, remedy; missing: remedy"),
        ({"kind": "odd"}, r"dns\.yaml: made-up: 'odd' is not a valid Kind"),
        ({"patterns": ["(a"]}, r"dns\.yaml: made-up: missing \), unterminated subpattern"),
    ],
)
def test_an_entry_that_is_none_is_told_with_its_file_and_what_is_expected(change: dict[str, Any], error: str) -> None:
    entry = {"id": "made-up", "url": "https://example.com/", "lines": [], "means": [], **change}
    with pytest.raises(EntryError, match=error):
        symptom_of({key: value for key, value in entry.items() if value is not None}, "dns")


@pytest.mark.parametrize("area", areas())
def test_each_real_line_shows_its_symptom_and_no_other_than_those_listed(area: str) -> None:
    samples = [(symptom, sample) for symptom in known() if symptom.area == area for sample in symptom.samples]
    assert samples
    wrong = []
    for symptom, sample in samples:
        shown = set(ids(sample.line))
        if symptom.kind is Kind.FALLBACK and shown and shown <= by_form():  # it says less than the kind of the fault
            continue
        if (
            not symptom.decisive and shown and shown <= causes_behind()
        ):  # the cause stands behind its words, and is told
            continue
        if symptom.id not in shown or shown - {symptom.id} - ALSO.get(symptom.id, set()):
            wrong.append(f"{symptom.id}: {sample.line!r} shows {sorted(shown)}")
        assert sample.source, sample.line
    assert not wrong, "\n".join(wrong)


def test_each_pattern_is_known_from_a_real_line_of_its_symptom() -> None:
    for symptom in known():
        if symptom.id in by_form():  # made of words that errors are made of, not of lines that were seen
            assert symptom.samples
            continue
        for pattern in symptom.patterns:
            assert any(pattern.expression.search(sample.line) for sample in symptom.samples), pattern.expression.pattern


def test_ids_are_unique_and_every_row_of_the_reference_is_accounted_for() -> None:
    names = [one.id for one in known()]
    assert len(names) == len(set(names))
    covered = {row for one in known() for row in one.rows}
    assert covered <= ROWS
    assert covered | set(without_text()) == ROWS
    assert not covered & set(without_text())


def test_every_check_fault_and_cause_that_is_named_exists() -> None:
    checks = {
        node.name
        for file in CHECKS.glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    known_faults = {str(one) for kind in faults.Fault.__subclasses__() for one in kind}
    for symptom in known():
        assert symptom.candidates, symptom.id
        assert symptom.url.startswith("https://"), symptom.id
        for candidate in symptom.candidates:
            assert candidate.remedy, symptom.id
            assert candidate.checks or candidate.causes or candidate.look, symptom.id
            assert set(candidate.checks) <= checks, symptom.id
            assert set(candidate.faults) <= known_faults, symptom.id
            assert set(candidate.causes) <= set(CAUSES), symptom.id


def test_what_no_text_shows_names_only_checks_that_exist() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in CHECKS.glob("test_*.py"))
    for sentence in without_text().values():
        for name in re.findall(r"test_\w+", sentence):
            assert f"def {name}(" in text


# ---- no pattern takes more than linear time


def repeats(parsed: Any) -> list[int]:
    """How often each repeat of a pattern may repeat."""
    found: list[int] = []
    for kind, value in parsed:
        if kind in {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}:
            found += [int(value[1]), *repeats(value[2])]
        elif kind is _constants.SUBPATTERN:
            found += repeats(value[-1])
        elif kind is _constants.BRANCH:
            found += [one for branch in value[1] for one in repeats(branch)]
    return found


def work(pattern: Pattern) -> int:
    """The most steps that a search takes from one place of a line, as far as repeats make it."""
    product = 1
    for most in repeats(_parser.parse(pattern.expression.pattern)):
        product *= most + 1
    return product


def test_each_pattern_has_bounded_gaps_and_a_run_of_plain_characters() -> None:
    for symptom in known():
        bounded_and_plain(symptom)


def bounded_and_plain(symptom: Symptom) -> None:
    for pattern in symptom.patterns:
        assert work(pattern) <= 50_000, pattern
        assert min(len(run.encode()) for run in pattern.plain) >= 6, pattern
    for expression in symptom.unless:
        assert work(Pattern(expression, frozenset())) <= 50_000, expression
    for candidate in symptom.candidates:
        assert candidate.only is None or work(Pattern(candidate.only, frozenset())) <= 50_000, candidate.only


def test_the_measure_of_work_sees_what_is_not_linear() -> None:
    assert work(Pattern(re.compile("(a+)+b"), frozenset())) > 50_000
    assert work(Pattern(re.compile(".*x.*y"), frozenset())) > 50_000


def test_a_megabyte_of_one_letter_shows_nothing() -> None:
    assert find("a" * 1_000_000) == ()
    assert find("\n".join(["a" * 79] * 12_500)) == ()
    assert find("\x1b[0" * 300_000) == ()


# ---- reading


def test_a_job_log_s_colours_stamps_and_sections_are_ignored() -> None:
    log = (
        "2026-01-01T00:00:00.000000Z 00O section_start:1700000000:get_sources[collapsed=true]\r\x1b[0K\x1b[0K"
        "\x1b[36;1mGetting source from Git repository\x1b[0;m\x1b[0;m\n"
        "2026-01-01T00:00:01.100000Z 01E \x1b[31;1mCould not \x1b[0;mresolve   host: gitlab.example.com\r\n"
        "2026-01-01T00:00:01.200000Z 01E Could not resolve host: gitlab.example.com\n"
        "2026-01-01T00:00:02.000000Z 00O section_end:1700000001:get_sources\r\x1b[0K\n"
    )
    (found,) = find(log)
    assert found.symptom.id == "name-not-resolved"
    assert (found.place, found.count) == (2, 2)
    assert found.line == "Could not resolve host: gitlab.example.com"


def test_a_line_that_gitlab_has_cut_in_two_is_one() -> None:
    assert ids("2026-01-01T00:00:00.1Z 00O ping: permis\n2026-01-01T00:00:00.2Z 00O+sion denied (are you root?)") == [
        "ping-not-permitted"
    ]


def test_a_message_that_a_terminal_has_wrapped_is_found() -> None:
    assert ids("ERROR: Job failed (system failure): timed out waiting\n  for pod to start") == [
        "pod-not-started-in-time"
    ]


def test_the_guide_s_own_example_of_two_lines_is_found() -> None:
    assert ids("ERROR: Job failed: image pull failed:\ndial tcp: lookup registry.example.com: i/o timeout") == [
        "lookup-failed",
        "image-not-pulled",
    ]


def test_a_manager_s_padded_and_coloured_line_is_found() -> None:
    assert ids("\x1b[0;33mWARNING: Checking for jobs... failed  \x1b[0;m  \x1b[0;33mrunner\x1b[0;m=made-up") == [
        "gitlab-request-failed"
    ]


def test_what_is_shown_holds_neither_secrets_nor_control_characters_and_is_short() -> None:
    token = "glpat-made-up-0123456789"
    (found,) = find("\x07" + "x" * 5000 + f" https://user:{token}@h/ Could not resolve host: h " + "y" * 5000)
    assert "Could not resolve host: h" in found.line
    assert token not in found.line
    assert "\x07" not in found.line
    assert len(found.line) < 300


def test_of_a_long_stream_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 3_000_000)
    file = tmp_path / "log"
    file.write_bytes(b"ping: permission denied\n" + b"\xff" * 3_000_000 + b"\nCould not resolve host: h\n")
    with file.open("rb") as stream:
        text = from_stream(stream)
    assert len(text) == 3_000_000
    assert ids(text) == ["name-not-resolved"]


def test_a_terminal_is_refused() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "rb") as stream, pytest.raises(ValueError, match="found a terminal"):
        from_stream(stream)
    os.close(ours)


def test_a_stream_that_brings_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.05)
    theirs, ours = os.pipe()
    with os.fdopen(theirs, "rb") as stream, pytest.raises(ValueError, match="brought nothing for"):
        from_stream(stream)
    os.close(ours)


def test_a_stream_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST", 3_000_000)
    with Path("/dev/zero").open("rb") as stream, pytest.raises(ValueError, match="tail"):
        from_stream(stream)


# ---- answering


def outcome(check: str, verdict: Verdict, fault: str = "", reason: str = "", by: tuple[str, ...] = ()) -> Outcome:
    told = None
    if fault:
        told = Diagnosis(
            check=f"2.4 {check}",
            fault=fault,
            cause="it is so",
            where="here",
            evidence=None,
            remedy="mend it",
            section="",
            impact=stops(),
        )
    return Outcome(
        check=check,
        number="2.4",
        title="is right",
        target="",
        verdict=verdict,
        reason=reason,
        diagnosis=told,
        blocked_by=by,
    )


def meanings(judged: list[Outcome], explanation: Explanation | None = None) -> dict[str, State]:
    found = find("dial tcp 192.168.1.50:80: i/o timeout")
    told = answer(found, judged, explanation or Explanation())
    return {one.candidate.says: one.state for _, every in told.symptoms for one in every}


PODS = "the workers reach GitLab, and pods do not"
NODES = "the workers have no way to GitLab"


def test_a_red_check_confirms_and_a_green_one_rules_out() -> None:
    states = meanings(
        [
            outcome("test_job_pods_on_each_worker_reach_gitlab", Verdict.FAIL, "timeout"),
            outcome("test_each_worker_reaches_gitlab", Verdict.PASS),
        ]
    )
    assert states[PODS] is State.CONFIRMED
    assert states[NODES] is State.RULED_OUT


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.BLOCKED])
def test_what_could_not_be_judged_stays_open(verdict: Verdict) -> None:
    judged = [
        outcome("test_each_worker_reaches_gitlab", Verdict.PASS),
        outcome("test_each_worker_reaches_gitlab", verdict, reason="blocked by something"),
    ]
    states = meanings(judged)
    assert states[NODES] is State.OPEN
    assert states[PODS] is State.OPEN, "none of its checks was judged"
    lines = "\n".join(answer(find("dial tcp 192.168.1.50:80: i/o timeout"), judged, Explanation()).lines())
    assert "blocked by something" in lines
    assert "none of its checks was judged in this run" in lines


def test_what_is_above_the_ceiling_of_effects_stays_open_and_what_is_not_applicable_does_not() -> None:
    above = outcome("test_each_worker_reaches_gitlab", Verdict.NOT_APPLICABLE, reason="needs effects up to probe; no")
    absent = outcome("test_each_worker_reaches_gitlab", Verdict.NOT_APPLICABLE, reason="ssh is none")
    sound = outcome("test_each_worker_reaches_gitlab", Verdict.PASS)
    assert meanings([sound, above])[NODES] is State.OPEN
    assert meanings([sound, absent])[NODES] is State.RULED_OUT
    assert meanings([absent])[NODES] is State.OPEN


def test_another_fault_of_the_same_check_does_not_confirm() -> None:
    found = find("Could not resolve host: h")
    judged = [outcome("test_each_resolver_answers_from_here", Verdict.FAIL, "timeout")]
    told = answer(found, judged, Explanation())
    states = {one.candidate.faults: one.state for _, every in told.symptoms for one in every if one.candidate.faults}
    assert states["timeout", "unreachable"] is State.CONFIRMED
    assert states["nxdomain", "no-answer", "servfail", "dns-refused", "wrong-answer", "garbled"] is State.RULED_OUT


def test_the_conclusion_that_explains_a_confirming_check_is_told_and_others_beside_it() -> None:
    red = outcome("test_job_pods_on_each_worker_reach_gitlab", Verdict.FAIL, "timeout")
    other = outcome("test_rbac_for_the_managers_is_enabled", Verdict.FAIL, "rbac-off")
    causes = [
        Conclusion(
            cause=Cause(name, "2.4", "made up"), sentence=f"{name} it is", certain=True, impact=stops(), explains=()
        )
        for name in ("made-up-path", "made-up-rights")
    ]
    explanation = Explanation((Finding(causes[0], (red,)), Finding(causes[1], (other,))))
    told = answer(find("dial tcp 192.168.1.50:80: i/o timeout"), [red, other], explanation)
    lines = "\n".join(told.lines())
    assert "made-up-path: made-up-path it is" in lines
    assert "beside it: made-up-rights: made-up-rights it is" in lines
    plain = told.as_json()
    assert plain["others"] == ["made-up-rights"]
    confirmed = [one for one in plain["found"][0]["means"] if one["state"] == "confirmed"]
    assert [one["conclusions"] for one in confirmed] == [["made-up-path"]]
    assert [one["reasons"][0] for one in confirmed] == ["made-up-path: made-up-path it is"]


def test_a_conclusion_is_told_where_all_that_it_explains_is_blocked_by_what_was_not_selected() -> None:
    key = ("made_up", ())
    cause = Conclusion(
        cause=Cause("made-up", "2.4", "made up"), sentence="it is", certain=True, impact=stops(), explains=(key,)
    )
    blocked = replace(outcome("test_each_worker_reaches_gitlab", Verdict.BLOCKED, reason="blocked"), keys=(key,))
    (finding,) = explain([cause], [blocked]).findings
    assert finding.is_root_cause
    assert answer(find("dial tcp 192.168.1.50:80: i/o timeout"), [blocked], explain([cause], [blocked])).others
    reported = replace(blocked, blocked_by=("test_gitlab_port_answers",))
    assert explain([cause], [reported]).findings == (), "its blocker tells"


def test_a_meaning_without_checks_is_for_a_person() -> None:
    told = answer(find("ping: permission denied"), [], Explanation())
    assert [one.state for _, every in told.symptoms for one in every] == [State.BY_HAND]
    assert any("every check is run" in line for line in before(find("ping: permission denied")))


def test_text_without_a_known_symptom_says_so() -> None:
    assert any("every check is run" in line for line in before(()))
    assert any("no known symptom" in line for line in answer((), [], Explanation()).lines())
