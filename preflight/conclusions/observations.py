"""All measurements of a run as the rules see them: read-only, and never taking *unknown* for *healthy*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.evidence import Blocked, Fact, Key, NotApplicable, PreflightError, Unmeasured, key_of
from preflight.fact import FactSpec
from preflight.faults import Fault
from preflight.inventory import Inventory
from preflight.run import Stage
from preflight.survey import Measurement, Survey


@dataclass(frozen=True, slots=True)
class Observation:
    """One measurement: its value, or why there is none.

    Attributes:
        name: the fact's name.
        targets: its targets by kind.
        value: the fact, as its check judges it.
        error: why there is none.
    """

    name: str
    targets: Mapping[str, str] = field(default_factory=dict)
    value: Fact | None = None
    error: PreflightError | None = None

    @property
    def key(self) -> Key:
        """What identifies it."""
        return key_of(self.name, self.targets)

    def is_of(self, spec: FactSpec[Any]) -> bool:
        """Whether it is of this fact."""
        return self.name == spec.name

    @property
    def measured(self) -> Fact | None:
        """What was measured, also where the check is blocked because another measurement has the same fault."""
        if self.value is None and isinstance(self.error, Blocked):
            return self.error.measured
        return self.value

    @property
    def fault(self) -> Fault | None:
        """The fault of what was measured, or of the attempt; None does not mean healthy: see `healthy`."""
        if self.measured is not None:
            return self.measured.fault
        return self.error.fault if isinstance(self.error, Unmeasured) else None

    @property
    def healthy(self) -> bool:
        """Whether it was measured, and has no fault."""
        return self.measured is not None and self.measured.fault is None

    @property
    def faulty(self) -> bool:
        """Whether it was measured, and has a fault."""
        return self.measured is not None and self.measured.fault is not None

    @property
    def unknown(self) -> bool:
        """Whether it should have been measured and was not."""
        return self.measured is None and not isinstance(self.error, NotApplicable)

    @property
    def failing(self) -> bool:
        """Whether its own check does not pass: it has a fault, or could not be measured."""
        return (self.value is not None and self.value.fault is not None) or isinstance(self.error, Unmeasured)

    @property
    def target(self) -> str:
        """Its targets in one word, as pytest writes them."""
        return "-".join(self.targets.values())


class Facts:
    """Every observation of a run, by name and targets.

    Attributes:
        inventory: the environment.
        stage: where in the release's life the run stands.
    """

    def __init__(self, inventory: Inventory, observations: Iterable[Observation], *, stage: Stage = Stage.AUTO) -> None:
        self.inventory = inventory
        self.stage = stage
        self._observations: dict[str, dict[Key, Observation]] = {}
        for observation in observations:
            self._observations.setdefault(observation.name, {})[observation.key] = observation

    def __iter__(self) -> Iterator[Observation]:
        return (observation for family in self._observations.values() for observation in family.values())

    def observations(self, *specs: FactSpec[Any], **targets: str) -> tuple[Observation, ...]:
        """The observations of these facts whose targets include these."""
        return tuple(
            observation
            for spec in specs
            for observation in self._observations.get(spec.name, {}).values()
            if targets.items() <= dict(observation.targets).items()
        )

    def get(self, spec: FactSpec[Any], **targets: str) -> Observation | None:
        """The observation of this fact and exactly these targets; None if it was never planned."""
        return self._observations.get(spec.name, {}).get(key_of(spec.name, targets))

    def observation(self, spec: FactSpec[Any], **targets: str) -> Observation:
        """The same as `get`, with an unmeasured observation in the place of None."""
        unplanned = Unmeasured(f"{spec.name} was not measured in this run")
        return self.get(spec, **targets) or Observation(spec.name, targets, error=unplanned)

    def first_observed(self, *specs: FactSpec[Any], **targets: str) -> tuple[Observation, ...]:
        """For each set of targets, the first of these facts that was measured; the very first, if none was."""
        first: dict[Key, Observation] = {}
        for spec in specs:
            for observation in self.observations(spec, **targets):
                key = ("", observation.key[1])
                if key not in first or (first[key].measured is None and observation.measured is not None):
                    first[key] = observation
        return tuple(first.values())

    def failing(
        self, *specs: FactSpec[Any], where: Callable[[Observation], bool] = lambda _: True, **targets: str
    ) -> tuple[Observation, ...]:
        """Those of the observations that make a check of their own fail."""
        return tuple(
            observation
            for observation in self.observations(*specs, **targets)
            if observation.failing and where(observation)
        )

    def without(self, keys: Iterable[Key]) -> Facts:
        """The same run, as if these could not have been measured."""
        hidden = set(keys)
        unmeasured = Unmeasured("hidden")
        return Facts(
            self.inventory,
            (
                Observation(observation.name, observation.targets, error=unmeasured)
                if observation.key in hidden
                else observation
                for observation in self
            ),
            stage=self.stage,
        )


def observation_of(measured: Measurement) -> Observation:
    """The observation of a finished measurement; a value that is no `Fact` can't be judged, and is left out."""
    value = measured.value if isinstance(measured.value, Fact) else None
    return Observation(measured.spec.name, measured.targets, value, measured.error)


def facts_of(survey: Survey) -> Facts:
    """What a survey has measured so far; an unfinished measurement is unknown."""
    observations = []
    for measured in survey.measurements.values():
        if not measured.done.is_set():
            unmeasured = Unmeasured(f"{measured.spec.title}: the run ended before it was measured")
            observations.append(Observation(measured.spec.name, measured.targets, error=unmeasured))
        elif measured.error is not None or isinstance(measured.value, Fact):
            observations.append(observation_of(measured))
    return Facts(survey.run.inventory, observations, stage=survey.run.stage)
