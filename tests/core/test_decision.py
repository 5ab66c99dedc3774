"""What a run comes to, by the impact of what is wrong; and what each exit status means."""

from __future__ import annotations

import pytest

from preflight import impact
from preflight.conclusions import Cause, Conclusion, Explanation, Finding, explain
from preflight.coverage import Coverage, Part
from preflight.decision import Answer, Decision, decide
from preflight.diagnosis import Diagnosis
from preflight.impact import Harm, Impact
from preflight.verdicts import EXIT_STATUSES, Outcome, Verdict

WHOLE = Coverage(9, 9)
PART = Coverage(20, 258, (Part("test_x", "2.2 Runner token", "2.2.1 The token is given", 238),), ("effect static",))


def outcome(check: str, verdict: Verdict, *, own: Impact | None = None, blocked_by: tuple[str, ...] = ()) -> Outcome:
    diagnosis = None
    if verdict in {Verdict.FAIL, Verdict.UNKNOWN}:
        harm = own or impact.stops()
        diagnosis = Diagnosis(
            check=check, fault="", cause="so", where="here", evidence=None, remedy="mend it", section="", impact=harm
        )
    return Outcome(
        check=check,
        number="2.1.1",
        title=check,
        target="",
        verdict=verdict,
        diagnosis=diagnosis,
        blocked_by=blocked_by,
        keys=((check, ()),),
    )


def conclusion(harm: Impact, *checks: str, name: str = "made-up") -> Conclusion:
    keys = tuple((check, ()) for check in checks)
    return Conclusion(cause=Cause(name, "2.1", "guide"), sentence="so", certain=True, impact=harm, explains=keys)


def decided(
    *outcomes: Outcome, drawn: tuple[Conclusion, ...] = (), status: int = 1, coverage: Coverage = WHOLE, **options: bool
) -> Decision:
    explanation = explain(drawn, outcomes)
    return decide(outcomes, explanation, coverage, pytests_status=status, effect="privileged", **options)


@pytest.mark.parametrize(
    ("harm", "answer", "status"),
    [
        (impact.stops(), Answer.NO_GO, 1),
        (impact.stops_on(["a"], of=["a", "b"]), Answer.NO_GO, 1),
        (impact.stops("uploads"), Answer.NO_GO, 1),
        (impact.slows(), Answer.DEGRADED, 1),
        (impact.takes_room("2 of 3 workers take jobs"), Answer.DEGRADED, 1),
        (impact.removes_reserve("2 of 3 managers take jobs"), Answer.DEGRADED, 1),
        (impact.none("this machine alone is cut off"), Answer.GO, 0),
        (impact.unseen("nothing shows it"), Answer.INCONCLUSIVE, 6),
    ],
)
def test_the_impact_of_a_root_cause_decides(harm: Impact, answer: Answer, status: int) -> None:
    judged = outcome("test_a", Verdict.FAIL)
    run = decided(judged, outcome("test_b", Verdict.PASS), drawn=(conclusion(harm, "test_a"),))
    assert (run.answer, run.status) == (answer, status)
    assert run.sentence == f"{answer}: 1 root cause, 1 failed, 1 passed (effects up to privileged)"


def test_degraded_can_be_allowed_and_stays_degraded() -> None:
    slow = conclusion(impact.slows(), "test_a")
    run = decided(outcome("test_a", Verdict.FAIL), drawn=(slow,), allow_degraded=True)
    assert (run.answer, run.status) == (Answer.DEGRADED, 0)
    both = decided(
        outcome("test_a", Verdict.FAIL), outcome("test_b", Verdict.UNKNOWN), drawn=(slow,), allow_degraded=True
    )
    assert (both.answer, both.status) == (Answer.INCONCLUSIVE, 6), "what is unknown may stop jobs"
    worse = decided(
        outcome("test_a", Verdict.FAIL),
        outcome("test_b", Verdict.FAIL),
        drawn=(slow, conclusion(impact.stops(), "test_b", name="worse")),
        allow_degraded=True,
    )
    assert (worse.answer, worse.status) == (Answer.NO_GO, 1)


def test_what_no_conclusion_explains_has_the_impact_of_its_check() -> None:
    assert decided(outcome("test_a", Verdict.FAIL)).answer is Answer.NO_GO
    waiver = outcome("test_a", Verdict.FAIL, own=impact.removes_reserve("the waiver would hide the next failure"))
    assert decided(waiver).answer is Answer.DEGRADED


@pytest.mark.parametrize(
    ("harm", "answer"),
    [
        (impact.takes_room("2 of 3 workers take jobs"), Answer.DEGRADED),
        (impact.none("only the monitoring misses it"), Answer.GO),
        (impact.none("this machine alone is cut off", hides=True), Answer.INCONCLUSIVE),
        (impact.unseen("nothing shows it"), Answer.INCONCLUSIVE),
    ],
)
def test_what_is_blocked_by_a_fault_of_known_harm_is_settled_unless_it_hides_more(harm: Impact, answer: Answer) -> None:
    blocked = outcome("test_b", Verdict.BLOCKED, blocked_by=("test_a",))
    behind = outcome("test_c", Verdict.BLOCKED, blocked_by=("test_b",))
    run = decided(outcome("test_a", Verdict.FAIL), blocked, behind, drawn=(conclusion(harm, "test_a"),))
    assert run.answer is answer


def test_what_accepted_findings_block_is_settled_and_what_an_unknown_one_blocks_is_open() -> None:
    blocked = outcome("test_b", Verdict.BLOCKED, blocked_by=("test_a",))
    assert decided(outcome("test_a", Verdict.ADVICE), blocked, status=0).answer is Answer.GO
    assert decided(outcome("test_a", Verdict.WAIVED), blocked, status=0).answer is Answer.GO
    assert decided(outcome("test_a", Verdict.UNKNOWN), blocked).answer is Answer.INCONCLUSIVE
    assert decided(outcome("test_b", Verdict.BLOCKED), status=0).answer is Answer.INCONCLUSIVE


def test_advice_changes_no_verdict() -> None:
    judged = outcome("test_a", Verdict.ADVICE)
    assert decided(judged, drawn=(conclusion(impact.slows(), "test_a"),), status=0).answer is Answer.GO


def test_a_root_cause_that_stops_jobs_counts_where_its_own_check_was_not_selected() -> None:
    blocked = outcome("test_b", Verdict.BLOCKED)
    run = decided(blocked, drawn=(conclusion(impact.stops(), "test_b"),), status=0, coverage=PART)
    assert (run.answer, run.status) == (Answer.NO_GO, 1)


@pytest.mark.parametrize(
    ("outcomes", "status", "sentence", "exit_status"),
    [
        ([Verdict.PASS], 0, "PARTIAL: 20 of 258 checks judged (effect static): 1 passed", 0),
        ([Verdict.FAIL], 1, "PARTIAL: 20 of 258 checks judged (effect static): NO GO: 1 failed", 1),
        ([Verdict.UNKNOWN], 1, "PARTIAL: 20 of 258 checks judged (effect static): INCONCLUSIVE: 1 unknown", 6),
        ([Verdict.PASS], 2, "PARTIAL: 20 of 258 checks judged (effect static): 1 passed", 2),
        ([Verdict.FAIL], 2, "PARTIAL: 20 of 258 checks judged (effect static): NO GO: 1 failed", 2),
        ([], 2, "PARTIAL: 20 of 258 checks judged (effect static): nothing was judged", 2),
    ],
)
def test_a_part_is_never_called_go(outcomes: list[Verdict], status: int, sentence: str, exit_status: int) -> None:
    run = decided(*(outcome(f"test_{verdict}", verdict) for verdict in outcomes), status=status, coverage=PART)
    assert (run.sentence, run.status, run.partial) == (sentence, exit_status, True)
    assert run.as_json()["not_looked_at"] == [
        {"id": "test_x", "section": "2.2 Runner token", "title": "2.2.1 The token is given", "count": 238}
    ]


@pytest.mark.parametrize("status", [3, 4, 5])
def test_where_pytest_came_to_no_end_its_status_is_kept(status: int) -> None:
    run = decided(outcome("test_a", Verdict.PASS), status=status, coverage=PART)
    assert (run.status, run.head, run.partial) == (status, "NO VERDICT", False)


def test_every_status_that_a_run_can_have_is_described_once() -> None:
    numbers = [status for status, _, _ in EXIT_STATUSES]
    assert numbers == sorted(set(numbers))
    reachable = {
        decided(outcome("test_a", verdict), status=status).status
        for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
        for status in range(6)
    }
    assert reachable == set(numbers)


def test_causes_are_ordered_by_what_they_do_to_jobs() -> None:
    harms = [
        impact.none("history"),
        impact.removes_reserve("2 of 3 managers take jobs"),
        impact.stops_on(["a"], of=["a", "b"]),
        impact.slows("all jobs: 2 of 3 resolvers answer"),
        impact.stops("uploads"),
        impact.takes_room("2 of 3 workers take jobs"),
        impact.stops(),
    ]
    names = [f"test_{place}" for place in range(len(harms))]
    outcomes = [outcome(name, Verdict.FAIL) for name in names]
    # The least harmful one explains most.
    drawn = [conclusion(harm, *names[place:], name=f"cause-{place}") for place, harm in enumerate(harms)]
    ordered = [str(finding.conclusion.impact) for finding in explain(drawn, outcomes).root_causes]
    assert ordered == [
        "stops all jobs",
        "stops uploads",
        "stops jobs on a",
        "slows all jobs: 2 of 3 resolvers answer",
        "takes room: 2 of 3 workers take jobs",
        "removes a reserve: 2 of 3 managers take jobs",
        "no harm to jobs: history",
    ]


def test_jobs_on_every_node_are_all_jobs() -> None:
    assert str(impact.stops_on(["b", "a"], of=["a", "b"])) == "stops all jobs"
    assert str(impact.stops_on(["a"], of=["a"], jobs="uploads")) == "stops uploads"
    many = impact.stops_on([f"n{place}" for place in range(9)], of=[f"n{place}" for place in range(10)])
    assert str(many) == "stops jobs on n0, n1, n2, n3 and 5 more"


def test_findings_with_no_failed_check_have_no_say_in_the_counts() -> None:
    explanation = Explanation((Finding(conclusion(impact.slows(), "test_a"), (outcome("test_a", Verdict.ADVICE),)),))
    run = decide([outcome("test_a", Verdict.ADVICE)], explanation, WHOLE, pytests_status=0, effect="read")
    assert run.causes == 0
    assert all(harm.meaning for harm in Harm)
