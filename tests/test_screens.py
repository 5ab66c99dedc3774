"""What holds a run's screen and evidence against each other can itself fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests import screens

CARD = ["1.  cause     resolver-down: 10.1.0.251 is down", *["    evidence  x"] * 5, "    explains  1 failed"]
END = ["NO GO: 1 root cause, 1 failed", "1 failed in 1.00s", "reports: reports"]
TITLE = "=== root causes ==="


def printed(*lines: str) -> str:
    return "\n".join(lines)


def test_a_screen_within_its_limits_has_no_problem() -> None:
    progress = [".F..        [  3%]", "checks/test_02_4_dns.py ..F..s       [ 40%]"] * 30
    assert screens.beyond_one_screen(printed(*progress, TITLE, *CARD, *END), causes=1) == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([TITLE, *CARD, "further", "more", *END], "13 lines from the root causes to the end"),
        ([TITLE, CARD[0], *["    evidence  x"] * 8, *END], "a root cause of 9 lines"),
        (["x"] * 40 + [TITLE, *CARD, *END], "51 lines beside the progress"),
        (["E   AssertionError: assert not <DnsFault.SERVFAIL: 'servfail'>", TITLE, *CARD, *END], "Python"),
        ([TITLE, *CARD[:-1], "    explains  " + "x" * 250, *END], "13 lines"),
        (["GO"], "no root cause is shown"),
    ],
)
def test_what_does_not_fit_one_screen_is_a_problem(lines: list[str], problem: str) -> None:
    assert any(problem in found for found in screens.beyond_one_screen(printed(*lines), causes=1))


def report(
    *, fault: str = "", cause: str = "", observed: str = "", conclusion: str = "x", proof: dict[str, Any] | None = None
) -> dict[str, Any]:
    evidence = {"where": "here", "command": "dig @10.1.0.252 registry.example.com", "observed": observed}
    facts = [{"name": "here_lookups", "value": {"fault": fault, "cause": cause, "evidence": evidence}}] if fault else []
    conclusions = [{"name": conclusion, "cause": cause, "proofs": [proof]}] if proof else []
    return {"facts": facts, "conclusions": conclusions}


@pytest.mark.parametrize(
    ("case", "contradiction"),
    [
        (
            report(fault="servfail", cause="10.1.0.252: SERVFAIL", observed="registry.example.com: 192.168.1.60"),
            "bears out",
        ),
        (report(fault="not-found", cause="it answers 404", observed="HTTP 401 Unauthorized"), "no 404"),
        (report(proof={"statement": "3 of 3 workers: answered", "healthy": False}), "is no evidence"),
        (report(proof={"statement": "3 of 3 workers: servfail", "healthy": True}), "is not well"),
        (
            report(
                conclusion="node-clock-skew",
                cause="the clock of k8s-worker-3 is off (k8s-worker-3 +420 s)",
                proof={"statement": "k8s-worker-3's clock is 420 s behind GitLab's", "healthy": False},
            ),
            "+420",
        ),
    ],
)
def test_evidence_that_contradicts_its_cause_is_found(case: dict[str, Any], contradiction: str) -> None:
    assert any(contradiction in found for found in screens.contradictions(case))


def test_evidence_that_bears_its_cause_out_is_none() -> None:
    assert not list(
        screens.contradictions(
            report(fault="servfail", cause="10.1.0.252: SERVFAIL", observed="registry.example.com: SERVFAIL")
        )
    )
