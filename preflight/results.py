"""What a run comes to: outcomes, exit status, conclusions, and the answers to `--symptom` and `--baseline`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from preflight import baseline, decision, symptoms, verdicts
from preflight.conclusions import Explanation, Facts, draw, explain
from preflight.conclusions.observations import facts_of
from preflight.coverage import Coverage
from preflight.decision import Decision
from preflight.survey import Survey
from preflight.symptoms import answering
from preflight.verdicts import Outcome

RESULTS = pytest.StashKey["Results"]()


@dataclass
class Results:
    """What is known of a run, as far as it has come; complete after `conclude` and `settle`.

    Attributes:
        outcomes: what the checks came to, in the order in which they ran.
        places: where each stands in `outcomes`, by pytest's id of the test.
        notes: what else the operator should know, a sentence each.
        collected: how many tests of each check were collected, before any were deselected.
        above_ceiling: the names of tests that need more than `--effect` allows.
        decision: what the run comes to; its status is the exit status.
        facts: every measurement; None before the conclusions are drawn.
        explanation: the conclusions, and the failing checks that none explains.
        symptom_answer: the answer to `--symptom`.
        comparison: this run against that of `--baseline`.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    collected: Counter[str] = field(default_factory=Counter)
    above_ceiling: set[str] = field(default_factory=set)
    decision: Decision = field(default_factory=Decision)
    facts: Facts | None = None
    explanation: Explanation = field(default_factory=Explanation)
    symptom_answer: answering.Answer | None = None
    comparison: baseline.Baseline | None = None

    @property
    def judged(self) -> Counter[str]:
        """How many tests of each check came to a verdict, without those above the ceiling."""
        names = {outcome.name: outcome.check for outcome in self.outcomes if outcome.name not in self.above_ceiling}
        return Counter(names.values())

    def add(self, test: str, outcome: Outcome) -> None:
        """Keep what a check came to; of one that is judged again, in its teardown or a second run, the worst."""
        place = self.places.setdefault(test, len(self.outcomes))
        if place == len(self.outcomes):
            self.outcomes.append(outcome)
        elif verdicts.severity(outcome.verdict) > verdicts.severity(self.outcomes[place].verdict):
            self.outcomes[place] = outcome

    def settle(
        self,
        pytests_status: int,
        coverage: Coverage,
        *,
        selected: Sequence[str],
        effect: str,
        allow_degraded: bool,
    ) -> int:
        """Decide what the run comes to, after the conclusions were drawn; returns the exit status.

        Args:
            pytests_status: what pytest would end with.
            coverage: how much was judged.
            selected: pytest's ids of the checks that were to be judged. Where some were not, the run is no GO.
            effect: the most that the run was allowed to do.
            allow_degraded: whether jobs that run worse are accepted.
        """
        self.decision = decision.decide(
            self.outcomes,
            self.explanation,
            coverage,
            pytests_status=pytests_status,
            effect=effect,
            allow_degraded=allow_degraded,
        )
        unjudged = [test for test in selected if test not in self.places]
        if pytests_status in {0, 1} and unjudged:
            first = unjudged[0].rpartition("::")[2]
            count = f"{len(unjudged)} selected {'check was' if len(unjudged) == 1 else 'checks were'} not judged"
            self.notes.append(
                f"{count}, such as {first}: pytest, an option or a plugin ended the run or did not run them"
            )
            self.decision = self.decision.without_go()
        return self.decision.status

    def conclude(self, survey: Survey) -> None:
        """Draw the conclusions; a rule that crashes costs its conclusions, and neither a report nor the exit status."""
        self.facts = facts_of(survey)
        conclusions, problems = draw(self.facts)
        self.notes.extend(problems)
        self.explanation = explain(conclusions, self.outcomes)

    def answer_symptom(self, seen: Sequence[symptoms.Found] | None, selected: Sequence[str]) -> None:
        """Say which meanings of the symptoms are confirmed, ruled out or open.

        Args:
            seen: the symptoms; None without `--symptom`.
            selected: ids of the checks that were selected for them.
        """
        if seen is not None:
            self.symptom_answer = answering.answer(tuple(seen), self.outcomes, self.explanation, tuple(selected))

    def compare(self, earlier_run: Mapping[str, Any] | None, *, file: str, environment: str) -> None:
        """Compare with an earlier run.

        Args:
            earlier_run: its JSON report; None without `--baseline`.
            file: that report's name.
            environment: this run's environment, as `baseline.environment_of` describes it.
        """
        if earlier_run is not None:
            self.comparison = baseline.compare(
                earlier_run, self.outcomes, self.explanation, file=file, environment=environment
            )
