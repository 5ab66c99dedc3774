"""A root cause on one screen: never too long, with what proves it side by side, and commands that can be pasted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight import impact
from preflight.conclusions import CAUSES, Conclusion, Finding, Proof, card
from preflight.layout import Style, columns, plain
from preflight.verdicts import Outcome, Verdict

TEXT = st.text("abcdefghij 0123456789.:;`'/", max_size=400)
PROOFS = st.lists(
    st.builds(Proof, statement=TEXT, where=st.just("here"), command=TEXT, observed=TEXT, healthy=st.booleans()),
    max_size=4,
)
SERVFAIL = Proof(
    statement="from here: servfail",
    where="here",
    command="dig +time=2 +tries=1 @10.1.0.252 registry.example.com",
    observed="registry.example.com: SERVFAIL\nprivate.example.com: SERVFAIL",
)
OTHERS = Proof(
    statement="2 of 2 other resolvers: answer the same names",
    where="here",
    command="dig @10.0.0.2 registry.example.com",
    observed="registry.example.com: 192.168.1.60",
    healthy=True,
)
WORKERS = Proof(
    statement="3 of 3 workers: servfail", where="node k8s-worker-1", command="nslookup registry.example.com"
)


def finding(
    sentence: str = "10.1.0.252 could not resolve the names (servfail)",
    proofs: tuple[Proof, ...] = (SERVFAIL, WORKERS, OTHERS),
    remedy: tuple[str, ...] = ("restart it: `systemctl restart named`",),
    *,
    certain: bool = True,
) -> Finding:
    conclusion = Conclusion(
        cause=CAUSES["resolver-broken"],
        sentence=sentence,
        impact=impact.slows(),
        certain=certain,
        settled_by="" if certain else "an answer of the other resolvers",
        explains=(),
        proofs=proofs,
        remedy=remedy,
    )
    verdicts = (Verdict.FAIL, Verdict.BLOCKED, Verdict.BLOCKED)
    checks = tuple(
        Outcome(check="test_a", number="2.4.7", title="a", target=str(number), verdict=verdict)
        for number, verdict in enumerate(verdicts)
    )
    return Finding(conclusion, checks)


def shown(of: Finding, width: int = 100) -> list[str]:
    return [plain(line) for line in card.card(of, 1, width=width)]


def test_the_evidence_is_what_is_broken_and_beside_it_what_is_well() -> None:
    assert shown(finding()) == [
        "1.  cause     resolver-broken (slows all jobs): 10.1.0.252 could not resolve the names (servfail)",
        "    evidence  from here: servfail: registry.example.com: SERVFAIL · private.example.com: SERVFAIL",
        "              `dig +time=2 +tries=1 @10.1.0.252 registry.example.com`",
        "    but       2 of 2 other resolvers: answer the same names: registry.example.com: 192.168.1.60",
        "              `dig @10.0.0.2 registry.example.com`",
        "    remedy    1. restart it: `systemctl restart named`",
        "    explains  1 failed, 2 blocked (guide 2.4)",
    ]


@given(
    TEXT, PROOFS, st.lists(TEXT.filter(str.strip), min_size=1, max_size=4), st.booleans(), st.sampled_from([100, 120])
)
def test_no_root_cause_takes_more_lines_than_it_may(
    sentence: str, proofs: list[Proof], remedy: list[str], certain: bool, width: int
) -> None:
    of = finding(sentence, tuple(proofs), tuple(remedy), certain=certain)
    lines = shown(of, width)
    assert len(lines) <= card.LINES
    assert any("remedy" in line for line in lines)
    assert all(columns(line) <= width for line in lines if "`" not in line)


def test_evidence_that_repeats_the_cause_is_left_out() -> None:
    repeated = Proof(
        statement="10.1.0.252 could not resolve the names (servfail)",
        where="here",
        command="dig @10.1.0.252",
        observed="10.1.0.252: servfail",
    )
    lines = shown(finding(proofs=(repeated,)))
    assert [line for line in lines if "evidence" in line] == ["    evidence  `dig @10.1.0.252`"]


@pytest.mark.parametrize(
    ("where", "vantage"), [("here", "from here"), ("node k8s-worker-1", "node k8s-worker-1"), ("", "")]
)
def test_an_output_that_stands_for_itself_says_from_where_it_is(where: str, vantage: str) -> None:
    repeated = Proof(
        statement="10.1.0.252 could not resolve the names (servfail)",
        where=where,
        command="dig @10.1.0.252",
        observed="status: SERVFAIL, id: 4211",
    )
    (line,) = [line for line in shown(finding(proofs=(repeated,))) if "evidence" in line]
    assert line == f"    evidence  {vantage}{': ' if vantage else ''}status: SERVFAIL, id: 4211"


def test_a_likely_cause_says_what_would_settle_it() -> None:
    assert "    likely    to be certain: an answer of the other resolvers" in shown(finding(certain=False))


def test_steps_that_do_not_fit_are_counted() -> None:
    steps = tuple(f"step {number}: " + "do this and that " * 6 for number in range(4))
    lines = shown(finding(remedy=steps))
    assert "more steps with -v" in lines[-1]
    assert lines[-1].startswith("    explains  1 failed, 2 blocked")


def test_a_manifest_of_a_pod_is_no_evidence() -> None:
    command = 'kubectl create --dry-run=server -f - <<\'EOF\'\n{"kind": "Pod"}\nEOF'
    proof = Proof(statement="refused", where="here", command=command, observed="pods is forbidden: no quota")
    assert not any("Pod" in line for line in shown(finding(proofs=(proof,))))


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_shows_as_much_in_more_lines(width: int) -> None:
    sentence = (
        "10.1.0.252 could not resolve the names (servfail): its own upstream or zone is broken (1 of 3 resolvers)"
    )
    lines = shown(finding(sentence), width)
    assert " ".join(line[14:] for line in lines[:4]).startswith(
        "resolver-broken (slows all jobs): 10.1.0.252 could not resolve"
    )
    assert sentence.rsplit(maxsplit=1)[-1] in " ".join(lines)
    assert all(columns(line) <= width for line in lines)


def test_sentences_that_say_the_same_of_several_targets_are_counted() -> None:
    sentence = "; ".join(
        f"k8s-worker-{number} could not pull registry.example.com/library/alpine:latest" for number in range(5)
    )
    assert shown(finding(sentence))[1].endswith("; and 3 more") or "; and 4 more" in " ".join(
        shown(finding(sentence))[:2]
    )


def test_cause_and_command_are_set_off() -> None:
    styles = {style for line in card.card(finding(), 1, width=100) for _, style in line}
    assert {Style.CAUSE, Style.EVIDENCE, Style.COMMAND, Style.LABEL} <= styles
