"""A survey that touches nothing: it hands out the facts of a saved run (`--replay`)."""

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
        run: as a survey takes it; nothing of it is used to look anywhere.
        document: the saved run's JSON report.
        file: where it was read from, for messages.

    Raises:
        SavedError: the facts can't be read.
    """

    def __init__(self, run: Run, document: Mapping[str, Any], file: Path) -> None:
        super().__init__(run)
        self._file = file
        for found in document.get("facts", []):
            name, targets = found.get("name"), found.get("targets", {})
            if name in CATALOGUE:
                planned = self._planned(name, targets)
                planned.value, planned.error = saved.look_from(found)
                planned.took = float(found.get("took", 0.0))
                planned.done.set()

    def begin(self, name: str, targets: Targets) -> Measurement:
        """The saved measurement, or one that says that there is none."""
        planned = self._planned(name, {kind: targets[kind] for kind in CATALOGUE[name].targets})
        if not planned.done.is_set():
            planned.error = Unmeasured(
                f"{planned} was not measured in the run that {self._file} tells of",
                needs="a run that selects this check",
            )
            planned.done.set()
        return planned

    def start(self) -> None:
        """Nothing is measured."""

    def _planned(self, name: str, targets: Targets) -> Measurement:
        return self.measurements.setdefault(key_of(name, targets), Measurement(CATALOGUE[name], targets))
