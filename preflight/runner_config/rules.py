"""What a rule is: a check of the configuration that the runner, or the API, makes after the file is loaded.

Each rule names where the runner makes it (at v18.3, and the same up to 19.3 where nothing else is said), and what
comes of it. What a rule would ask of the cluster, such as whether a claim is there, is not among them: they know the
text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from preflight.quantities import quantity
from preflight.runner_config.decoder import ConfigFinding, Outcome, Steps
from preflight.runner_config.keys import Names, RunnerKeys

Role = Literal["template", "file"]
Broken = tuple[Steps, str] | tuple[Steps, str, Outcome]  # where, why, and what comes of it where that is another thing

EXECUTOR = "kubernetes"
KUBERNETES: Names = ("runners", EXECUTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A check that the runner, or the API on its behalf, makes after the file is loaded.

    Attributes:
        outcome: what comes of it, where the finding says nothing else.
        source: where the runner's sources have it.
        absence: whether it says that something is missing: not said where a value beside it was refused.
        role: of what kind of text it holds; empty: of both.
    """

    name: str
    outcome: Outcome
    source: str
    check: Check
    absence: bool = False
    role: Role | Literal[""] = ""

    @property
    def summary(self) -> str:
        """What it says, in a line."""
        return (self.check.__doc__ or "").splitlines()[0]

    def findings(self, runner: Runner) -> Iterator[ConfigFinding]:
        """What an entry breaks of it, in the runner's spelling."""
        for path, message, *outcome in self.check(runner):
            yield ConfigFinding(
                outcome=outcome[0] if outcome else self.outcome, rule=self.name, path=path, message=message
            )


@dataclass(frozen=True, slots=True)
class Runner:
    """One entry of ``[[runners]]`` as it was decoded."""

    values: Mapping[str, Any]
    keys: RunnerKeys
    number: int = 0

    @property
    def kubernetes(self) -> Mapping[str, Any]:
        """The table of the executor."""
        table: Mapping[str, Any] = self.values.get(EXECUTOR, {})
        return table

    def get(self, *path: str) -> Any:
        """A value of the executor's table; None where it is not set."""
        table: Any = self.kubernetes
        for step in path:
            table = table.get(step) if isinstance(table, Mapping) else None
        return table

    def at(self, *path: str | int) -> Steps:
        """The place of a key of the runner's table."""
        return ("runners", self.number, *path)

    def here(self, *path: str | int) -> Steps:
        """The place of a key of the executor's table."""
        return self.at(EXECUTOR, *path)

    def flag(self, name: str) -> bool:
        """Whether a feature flag is on for every job: by itself, in ``feature_flags``, or in ``environment``."""
        own = self.values.get("feature_flags", {})
        if name in own:
            return bool(own[name])
        for entry in self.values.get("environment", ()):
            variable, _, value = entry.partition("=")
            if variable == name:
                return value.lower() in {"1", "t", "true"}
        return self.keys.flags.get(name, False)


Check = Callable[[Runner], Iterator[Broken]]


def rule(
    name: str, outcome: Outcome, source: str, *, absence: bool = False, role: Role | Literal[""] = ""
) -> Callable[[Check], Rule]:
    """Declare a rule by its check, whose docstring says what it says; the arguments are `Rule`'s."""

    def declare(check: Check) -> Rule:
        return Rule(name=name, outcome=outcome, source=source, check=check, absence=absence, role=role)

    return declare


def no_quantity(text: str | None) -> str:
    """Why a text is no amount of a resource; empty if it is one, or not set."""
    if not text:
        return ""
    try:
        amount = quantity(text)
    except ValueError:
        amount = None
    if amount is None or text != text.strip():
        return f'"{text}" is no quantity such as 500m, 2 or 1.5Gi'
    return "a quantity below zero is refused" if amount < 0 else ""
