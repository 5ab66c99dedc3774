"""A reference to a fact that does not exist ends where it is declared, and names the nearest one that does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.evidence import Evidence, Fact
from preflight.fact import CATALOGUE, FactError, check_references, fact, reporters_of, view
from preflight.facts.gitlab import gitlab_connection, gitlab_identity, gitlab_location, gitlab_service
from preflight.facts.references import Ref
from preflight.faults import Fault, GitLabFault, PathFault
from preflight.probes.gitlab import GitLabReply


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Take back what a test declares."""
    before = CATALOGUE.copy()
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)


def measured(fault: object = None) -> Fact:
    del fault
    return Fact(target="x", evidence=Evidence(where="here", command="true"))


def test_a_rule_that_misspells_a_fact_does_not_import() -> None:
    with pytest.raises(ImportError, match="metrics_apii"):
        exec("from preflight.facts.cluster import metrics_apii")


@pytest.mark.parametrize("knob", ["tolerates", "optional"])
def test_a_need_that_a_fact_does_not_take_is_refused(knob: str) -> None:
    with pytest.raises(FactError, match=rf"{knob} names node_answer, .* did you mean node_answers\?"):

        @fact(**{knob: ("node_answer",)})  # type: ignore[arg-type]
        def typo(node_answers: Fact) -> Fact:
            return node_answers


@pytest.mark.parametrize("knob", [{"fan_in": {"node_answer": "resolver"}}, {"fan_in": {"node_answers": "resolvr"}}])
def test_a_fan_in_over_nothing_is_refused(knob: dict[str, dict[str, str]]) -> None:
    with pytest.raises(FactError, match="did you mean"):

        @fact(**knob)  # type: ignore[arg-type]
        def typo(node_answers: tuple[Fact, ...]) -> Fact:
            return node_answers[0]


def test_a_blocker_that_is_misspelt_is_an_attribute_that_nothing_has() -> None:
    with pytest.raises(AttributeError, match="NODE_PUL"):
        _ = Ref.NODE_PUL  # type: ignore[attr-defined]


def test_a_blocker_that_is_no_fact_is_refused_once_all_facts_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CATALOGUE, "node_pull")
    with pytest.raises(FactError, match=r"node_pull is neither a fact nor a kind of target; did you mean"):
        check_references()


def test_a_reporter_that_is_no_fact_is_refused_once_all_facts_are_declared() -> None:
    @fact(reported_by=("node_logn",))
    def raw(worker: str) -> Fact:
        """Raw."""
        return measured(worker)

    with pytest.raises(FactError, match=r"fact raw: reported_by: node_logn is .* did you mean node_login\?"):
        check_references()


def test_a_fact_that_is_taken_and_named_in_after_is_refused() -> None:
    with pytest.raises(FactError, match="takes node_login and names it in after as well"):

        @fact(after=("node_login",))
        def twice(node_login: Fact) -> Fact:
            return node_login


def test_what_comes_first_is_needed_and_its_targets_are_inherited() -> None:
    @fact(after=("node_login",))
    def second() -> Fact:
        """Second."""
        return measured()

    assert second.needs == ("node_login",)
    assert second.targets == ("worker",)


def test_reporters_of_reporters_report_too() -> None:
    @fact(reported_by=("middle",))
    def raw() -> Fact:
        """Raw."""
        return measured()

    @fact(reported_by=("judged",))
    def middle(raw: Fact) -> Fact:
        """Middle."""
        return raw

    @fact()
    def judged(middle: Fact) -> Fact:
        """Judged."""
        return middle

    assert reporters_of(raw.name) == {"raw", "middle", judged.name}
    assert middle.name in reporters_of("raw")


PREFLIGHT = Path(__file__).parents[2] / "preflight"


def test_every_finding_of_the_values_is_judged_by_a_view() -> None:
    named = re.compile(r"ValuesFault\.([A-Z_]+)")
    sources = [*(PREFLIGHT / "probes").glob("lint.py"), *(PREFLIGHT / "probes").glob("lint/*.py")]
    found = {name for source in sources for name in named.findall(source.read_text(encoding="utf-8"))}
    views = re.findall(r"_about\((.*?)\)", (PREFLIGHT / "facts" / "values.py").read_text(encoding="utf-8"), re.DOTALL)
    judged = {name for view in views for name in named.findall(view)}
    assert found
    assert found - judged - {"POLL_TIMEOUT"} == set(), "the time-out is a fact of its own"


@pytest.mark.parametrize("fault", [*PathFault, *GitLabFault], ids=lambda fault: f"{type(fault).__name__}.{fault.name}")
def test_every_fault_of_gitlabs_answer_is_judged_by_one_view(fault: Fault) -> None:
    reply = GitLabReply(target="GitLab", url="http://gitlab.example.com/", fault=fault, evidence=measured().evidence)
    views = (gitlab_connection, gitlab_service, gitlab_location, gitlab_identity)
    judged = [view.name for view in views if view(gitlab_reply=reply).fault is fault]
    assert len(judged) == 1, "a fault that no check judges passes unseen; one that two judge fails twice"


def test_a_view_judges_a_part_of_a_faulty_fact() -> None:
    @fact()
    def whole() -> Fact:
        """The whole."""
        return measured()

    part = view("part", whole, lambda value: value.target.upper(), "A part.")
    assert (part.title, part.needs, part.tolerates) == ("A part", ("whole",), frozenset({"whole"}))
    assert part(whole=measured()) == "X"
