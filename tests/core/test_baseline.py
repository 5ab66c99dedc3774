"""Two runs side by side, from reports written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.baseline import Baseline, Comparison, compare, environment_of
from preflight.conclusions import Cause, Conclusion, Explanation, Finding
from preflight.diagnosis import Diagnosis
from preflight.impact import stops
from preflight.verdicts import Outcome, Verdict


def check(name: str, verdict: str, fault: str = "", target: str = "") -> dict[str, Any]:
    return {"id": name, "target": target, "verdict": verdict, "fault": fault}


def outcome(name: str, verdict: str, fault: str = "", target: str = "") -> Outcome:
    diagnosis = None
    if fault:
        diagnosis = Diagnosis(
            check=name,
            fault=fault,
            cause="so",
            where="here",
            evidence=None,
            remedy="mend it",
            section="",
            impact=stops(),
        )
    return Outcome(check=name, number="1", title="t", target=target, verdict=Verdict(verdict), diagnosis=diagnosis)


def kinds(comparison: Comparison) -> dict[str, list[str]]:
    return {kind: [change.name for change in changes] for kind, changes in comparison.rows() if changes}


def compared(*, then: list[dict[str, Any]], now: list[Outcome], **further: Any) -> Baseline:
    return compare({"checks": then, **further}, now, Explanation(), file="old.json")


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (("fail", "timeout"), ("fail", "timeout"), "unchanged"),
        (("fail", "timeout"), ("fail", "refused"), "changed"),
        (("fail", "timeout"), ("pass", ""), "fixed"),
        (("pass", ""), ("fail", "timeout"), "new"),
        (("unknown", ""), ("fail", "timeout"), "new"),
        (("blocked", ""), ("fail", "timeout"), "new"),
        (("fail", "timeout"), ("unknown", ""), "not judged"),
        (("fail", "timeout"), ("blocked", ""), "not judged"),
        (("fail", "timeout"), ("not applicable", ""), "not judged"),
        (("fail", "timeout"), ("waived", "timeout"), "changed"),
        (("waived", "timeout"), ("fail", "timeout"), "changed"),
        (("advice", "vfs"), ("fail", "vfs"), "changed"),
        (("pass", ""), ("pass", ""), None),
        (("unknown", ""), ("pass", ""), None),
        (("advice", "vfs"), ("pass", ""), None),
        (("pass", ""), ("unknown", "timeout"), None),
    ],
)
def test_what_became_of_a_check(before: tuple[str, str], after: tuple[str, str], kind: str | None) -> None:
    result = compared(then=[check("test_x", *before)], now=[outcome("test_x", *after)])
    assert kinds(result.failures) == ({kind: ["test_x"]} if kind else {})


def test_targets_are_distinguished() -> None:
    result = compared(
        then=[check("test_x", "fail", "timeout", "w1"), check("test_x", "pass", target="w2")],
        now=[outcome("test_x", "pass", target="w1"), outcome("test_x", "fail", "timeout", "w2")],
    )
    assert kinds(result.failures) == {"new": ["test_x[w2]"], "fixed": ["test_x[w1]"]}


def test_what_was_not_selected_is_neither_fixed_nor_new() -> None:
    result = compared(then=[check("test_x", "fail", "timeout"), check("test_y", "pass")], now=[])
    assert kinds(result.failures) == {"not judged": ["test_x"]}


def test_what_the_earlier_run_did_not_select_is_new_and_says_so() -> None:
    result = compared(then=[], now=[outcome("test_x", "fail", "timeout")])
    (new,) = result.failures.new
    assert (new.name, new.before, new.now) == ("test_x", "not judged", "fail, timeout")


def test_a_changed_fault_shows_both() -> None:
    result = compared(then=[check("test_x", "fail", "timeout")], now=[outcome("test_x", "fail", "refused")])
    assert any("test_x: fail, refused (before: fail, timeout)" in line for line in result.lines())


def conclusion(name: str, *checks: Outcome, about: tuple[str, ...] = ()) -> Finding:
    cause = Cause(name, "2.4", "made up")
    return Finding(
        Conclusion(cause=cause, sentence=f"{name}!", certain=True, impact=stops(), explains=(), about=about), checks
    )


def earlier(name: str, *explains: str, about: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "about": list(about), "cause": f"{name}!", "explains": list(explains)}


def drawn(then: dict[str, Any], now: list[Outcome], *findings: Finding) -> dict[str, list[str]]:
    return kinds(compare(then, now, Explanation(findings), file="old.json").conclusions)


def test_a_conclusion_that_is_drawn_again_is_unchanged_and_about_distinguishes_two() -> None:
    red = outcome("test_x", "fail", "timeout", "w1")
    then = {
        "checks": [check("test_x", "fail", "timeout", "w1")],
        "conclusions": [earlier("path", "test_x[w1]", about=("w1",))],
    }
    assert drawn(then, [red], conclusion("path", red, about=("w1",))) == {"unchanged": ["path (w1)"]}
    other = outcome("test_x", "fail", "timeout", "w2")
    assert drawn(then, [outcome("test_x", "pass", target="w1"), other], conclusion("path", other, about=("w2",))) == {
        "new": ["path (w2)"],
        "fixed": ["path (w1)"],
    }


def test_a_conclusion_whose_checks_were_not_judged_is_not_fixed() -> None:
    then = {
        "checks": [check("test_x", "fail", "timeout"), check("test_y", "fail", "timeout")],
        "conclusions": [earlier("path", "test_x", "test_y")],
    }
    assert drawn(then, []) == {"not judged": ["path"]}
    assert drawn(then, [outcome("test_x", "pass")]) == {"not judged": ["path"]}
    assert drawn(then, [outcome("test_x", "pass"), outcome("test_y", "unknown")]) == {"not judged": ["path"]}
    assert drawn(then, [outcome("test_x", "pass"), outcome("test_y", "pass")]) == {"fixed": ["path"]}


def test_a_conclusion_whose_checks_still_fail_is_changed() -> None:
    then = {"checks": [check("test_x", "fail", "timeout")], "conclusions": [earlier("path", "test_x")]}
    assert drawn(then, [outcome("test_x", "fail", "refused")]) == {"changed": ["path"]}


def test_a_check_that_was_renamed_is_compared_under_its_new_id_and_the_line_says_so() -> None:
    old, new = "test_registry_lets_us_in", "test_registry_authenticates"
    result = compared(
        then=[check(old, "fail", "denied", "acr"), check(old, "fail", "denied", "hub")],
        now=[outcome(new, "fail", "denied", "acr"), outcome(new, "pass", target="hub")],
    )
    assert kinds(result.failures) == {"unchanged": [f"{new}[acr]"], "fixed": [f"{new}[hub]"]}
    assert list(result.lines()) == [
        f"fixed                     {new}[hub]: pass (before: fail, denied); that run calls it {old}[hub]",
        f"unchanged                 {new}[acr]: fail, denied; that run calls it {old}[acr]",
    ]
    assert result.as_json()["fixed"][0]["formerly"] == f"{old}[hub]"


def test_a_check_that_has_its_name_still_is_called_by_it_alone() -> None:
    result = compared(then=[check("test_x", "fail", "timeout")], now=[])
    assert list(result.lines()) == ["not judged                test_x: not judged (before: fail, timeout)"]
    assert result.as_json()["not_judged"][0]["formerly"] == ""


def test_a_conclusion_that_was_renamed_is_compared_under_its_new_name_and_so_are_its_checks() -> None:
    old, new = "test_registry_lets_us_in", "test_registry_authenticates"
    then = {
        "checks": [check(old, "fail", "denied", "acr")],
        "conclusions": [
            earlier("other-nameservers", f"{old}[acr]", about=("acr",)),
            earlier("backup-unwritten", f"{old}[acr]"),
        ],
    }
    now = outcome(new, "pass", target="acr")
    failing = outcome("test_y", "fail", "timeout")
    finding = conclusion("nameservers-differ", failing, about=("acr",))
    result = compare(then, [now, failing], Explanation((finding,)), file="old.json")
    assert kinds(result.conclusions) == {"unchanged": ["nameservers-differ (acr)"], "fixed": ["backup-not-written"]}
    assert {change.name: change.formerly for _, changes in result.conclusions.rows() for change in changes} == {
        "nameservers-differ (acr)": "other-nameservers (acr)",
        "backup-not-written": "backup-unwritten",
    }


def test_another_environment_is_reported() -> None:
    there = {"gitlab": {"url": "http://192.168.1.50/"}, "cluster": {"api_server": "https://192.168.1.100:6443"}}
    here = environment_of({**there, "gitlab": {"url": "http://192.168.1.51/"}})
    result = compare({"checks": [], "environment": there}, [], Explanation(), file="old.json", environment=here)
    assert "192.168.1.50" in next(iter(result.lines()))
    same = compare(
        {"checks": [], "environment": there}, [], Explanation(), file="old.json", environment=environment_of(there)
    )
    assert list(same.lines()) == ["no failure in either run"]


def test_json_carries_all_of_it() -> None:
    result = compared(
        then=[check("test_x", "fail", "timeout"), check("test_y", "pass")],
        now=[outcome("test_x", "pass"), outcome("test_y", "fail", "<b>")],
        written="2026-01-01T00:00:00+00:00",
    )
    document = result.as_json()
    assert [change["name"] for change in document["fixed"]] == ["test_x"]
    assert [change["name"] for change in document["new"]] == ["test_y"]
    assert document["unchanged"] == document["changed"] == document["not_judged"] == []
    assert set(document["conclusions"]) == {"new", "fixed", "changed", "unchanged", "not_judged"}
    assert result.title == "since old.json (2026-01-01T00:00:00+00:00)"


def test_a_long_list_is_cut_on_the_terminal_alone() -> None:
    result = compared(then=[], now=[outcome("test_x", "fail", "timeout", str(number)) for number in range(30)])
    assert len(list(result.lines())) == 11
    assert len(result.as_json()["new"]) == 30


def test_secrets_of_an_old_file_are_not_printed() -> None:
    secret = "glpat-made-up-0123456789"
    result = compared(then=[check("test_x", "fail", secret, secret)], now=[], written=secret)
    assert secret not in "\n".join([*result.lines(), result.title, str(result.as_json())])
