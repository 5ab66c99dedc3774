"""What of a long output is kept: the line that bears its cause out, wherever it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight import excerpts
from preflight.evidence import LONGEST, Evidence, Fact, Unmeasured
from preflight.faults import RegistryFault

DANCE = """GET https://registry.example.com/v2/library/docker/manifests/dind
HTTP 401 Unauthorized
www-authenticate: Bearer realm="https://auth.example.com/token"

{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}

GET https://registry.example.com/v2/library/docker/manifests/dind
HTTP 404 Not Found
content-type: application/json"""
MISSING = "registry.example.com answers 404: library/docker has no tag dind"
CHAIN = (
    'E1128 08:53:29 "PullImage from image service failed" err="rpc error: code = Unknown desc = failed to pull and '
    'unpack image: failed to resolve reference \\"registry.example.com/library/alpine:latest\\": failed to do request: '
    'Head \\"https://registry.example.com/v2/library/alpine/manifests/latest\\": dial tcp: lookup registry.example.com '
    'on 10.0.0.2:53: no such host"'
)
NOISE = "time=12:00:01 level=info msg=loading"


def test_the_404_behind_the_401_of_a_login_decides() -> None:
    lines = DANCE.splitlines()
    assert lines[excerpts.decisive(lines, MISSING)] == "HTTP 404 Not Found"


@pytest.mark.parametrize("lines", [2, 3, 6])
def test_the_decisive_line_is_shown_and_what_is_left_out_is_marked(lines: int) -> None:
    shown = excerpts.around(DANCE, MISSING, lines=lines)
    assert "HTTP 404 Not Found" in shown
    assert len([line for line in shown if line != "…"]) == lines
    assert "…" in shown


def test_a_long_line_is_shown_with_its_innermost_error() -> None:
    shown = excerpts.within(CHAIN, "k8s-worker-2 could not pull registry.example.com/library/alpine", longest=80)
    assert len(shown) <= 80
    assert shown.startswith("…")
    assert 'no such host"' in shown


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_fact_keeps_the_line_that_bears_it_out_however_much_is_around_it(before: int, behind: int) -> None:
    output = "\n".join([*[NOISE] * before, "HTTP 404 Not Found", *[NOISE] * behind])
    evidence = Evidence(where="here", command="curl", observed=output)
    if "HTTP 404 Not Found" not in evidence.observed:  # beyond what is kept of any output
        return
    fact = Fact(target="image", fault=RegistryFault.NOT_FOUND, cause=MISSING, evidence=evidence)
    assert len(fact.evidence.observed) <= LONGEST
    assert "HTTP 404 Not Found" in fact.evidence.observed
    assert len(output) <= LONGEST or "…" in fact.evidence.observed
    error = Unmeasured(MISSING, evidence=evidence)
    assert error.evidence is not None
    assert "HTTP 404 Not Found" in error.evidence.observed


def test_the_body_of_an_answer_decides_less_than_its_status() -> None:
    lines = ['{"message": "502 Bad Gateway, 502"}', "HTTP 502 Bad Gateway"]
    assert excerpts.decisive(lines, "GitLab answered 502: Bad Gateway") == 1


def test_a_command_is_shown_without_the_manifest_that_it_is_fed() -> None:
    command = 'kubectl create --dry-run=server -f - <<\'EOF\'\n{"kind": "Pod"}\nEOF'
    assert excerpts.without_document(command) == "kubectl create --dry-run=server -f - <<'EOF'\n…\nEOF"
    assert excerpts.without_document("kubectl get nodes") == "kubectl get nodes"
