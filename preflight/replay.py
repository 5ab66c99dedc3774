"""A survey that contacts nothing: it hands out the facts of a saved run (`--replay`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflight import saved
from preflight.evidence import Unmeasured, key_of
from preflight.fact import CATALOGUE, Targets
from preflight.run import Run
from preflight.survey import Measurement, Survey


class Replay(Survey):
    """Takes the place of a `Survey`; what the saved run did not measure is unknown.

    Args:
        run: as a survey takes it; nothing is measured for it.
        document: the saved run's JSON report.
        file: where it was read from, for messages.

    Raises:
        SavedError: the facts can't be read.
    """

    def __init__(self, run: Run, document: Mapping[str, Any], file: Path) -> None:
        super().__init__(run)
        self._file = file
        for entry in document.get("facts", []):
            name, targets = entry.get("name"), entry.get("targets", {})
            # A target that the fact does not have, or that it lacks, is of another version.
            if name in CATALOGUE and targets.keys() == set(CATALOGUE[name].targets):
                measurement = self._measurement(name, targets)
                measurement.value, measurement.error = saved.measurement_from(entry)
                measurement.took = float(entry.get("took", 0.0))
                measurement.done.set()

    def begin(self, name: str, targets: Targets) -> Measurement:
        """The saved measurement, or one that says that there is none."""
        measurement = self._measurement(name, {kind: targets[kind] for kind in CATALOGUE[name].targets})
        if not measurement.done.is_set():
            measurement.error = Unmeasured(
                f"{measurement} was not measured in the run that {self._file} reports",
                needs="a run that selects this check",
            )
            measurement.done.set()
        return measurement

    def start(self) -> None:
        """Nothing is measured."""

    def _measurement(self, name: str, targets: Targets) -> Measurement:
        return self.measurements.setdefault(key_of(name, targets), Measurement(CATALOGUE[name], targets))
