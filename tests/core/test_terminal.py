"""A diagnosis as pytest shows it, in colours and without."""

from __future__ import annotations

import io

import pytest
from _pytest._io import TerminalWriter

from preflight import impact
from preflight.diagnosis import Diagnosis
from preflight.evidence import Evidence
from preflight.layout import columns
from preflight.terminal import DiagnosisRepr

DIAGNOSIS = Diagnosis(
    check="2.3.4 The nodes can be listed",
    fault="forbidden",
    cause='User "ops" cannot list resource "nodes" in API group "" at the cluster scope',
    where="here",
    evidence=Evidence(where="here", command="kubectl get nodes", observed="403 Forbidden: nodes is forbidden"),
    remedy="grant it: `kubectl create clusterrole preflight --verb=list --resource=nodes`",
    section="guide 2.3",
    impact=impact.stops(),
)
SHOWN = DiagnosisRepr(DIAGNOSIS, ("checks/test_a.py", 3, "test_a"))


class Screen(io.TextIOBase):
    """A stream that is no memory of a report."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str, /) -> int:
        self.text += text
        return len(text)


def written(*, colours: bool, width: int = 60) -> str:
    screen = Screen()
    writer = TerminalWriter(screen)  # type: ignore[arg-type]
    writer.hasmarkup, writer.fullwidth = colours, width
    SHOWN.toterminal(writer)
    return screen.text


def test_the_reason_is_where_the_short_summary_takes_it_from() -> None:
    assert SHOWN.reprcrash.message == DIAGNOSIS.headline
    assert str(SHOWN) == DIAGNOSIS.text()


def test_it_wraps_under_its_labels() -> None:
    lines = written(colours=False).splitlines()
    assert all(columns(line) <= 60 for line in lines)
    assert lines[1].startswith("cause     forbidden: User")
    assert lines[2].startswith(" " * 10)


@pytest.mark.parametrize("colours", [True, False])
def test_colours_are_pytests_decision(colours: bool) -> None:
    text = written(colours=colours)
    assert ("\x1b[" in text) is colours
    if colours:
        assert "\x1b[36m`kubectl" in text, "commands are set off"
        assert "\x1b[31m" in text, "and the cause"


def test_in_a_report_lines_are_as_long_as_they_are() -> None:
    memory = io.StringIO()
    SHOWN.toterminal(TerminalWriter(memory))
    assert DIAGNOSIS.headline in memory.getvalue()
