"""All measurements of a run as the rules see them: read-only, and never telling *unknown* for *healthy*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from preflight.evidence import Blocked, Fact, Key, NotApplicable, PreflightError, Unmeasured, key_of
from preflight.faults import Fault
from preflight.inventory import Inventory
from preflight.survey import Measurement, Survey


@dataclass(frozen=True, slots=True)
class Look:
    """One measurement: what came of it, or why nothing did.

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

    @property
    def seen(self) -> Fact | None:
        """What was measured, also where the check is blocked because something else met the same."""
        if self.value is None and isinstance(self.error, Blocked):
            return self.error.seen
        return self.value

    @property
    def fault(self) -> Fault | None:
        """What is wrong with what was seen, or with the way to it; None is no sign of health: see `sound`."""
        if self.seen is not None:
            return self.seen.fault
        return self.error.fault if isinstance(self.error, Unmeasured) else None

    @property
    def sound(self) -> bool:
        """Whether it was seen, and nothing is wrong with it."""
        return self.seen is not None and self.seen.fault is None

    @property
    def faulty(self) -> bool:
        """Whether it was seen, and something is wrong with it."""
        return self.seen is not None and self.seen.fault is not None

    @property
    def unknown(self) -> bool:
        """Whether it should have been seen and was not."""
        return self.seen is None and not isinstance(self.error, NotApplicable)

    @property
    def red(self) -> bool:
        """Whether a check of its own is red by it: judged wrong, or not to be looked at."""
        return (self.value is not None and self.value.fault is not None) or isinstance(self.error, Unmeasured)

    @property
    def target(self) -> str:
        """Its targets in one word, as pytest writes them."""
        return "-".join(self.targets.values())


class Facts:
    """Every look of a run, by name and targets.

    Attributes:
        inventory: the environment.
    """

    def __init__(self, inventory: Inventory, looks: Iterable[Look]) -> None:
        self.inventory = inventory
        self._looks: dict[str, dict[Key, Look]] = {}
        for look in looks:
            self._looks.setdefault(look.name, {})[look.key] = look

    def __iter__(self) -> Iterator[Look]:
        return (look for family in self._looks.values() for look in family.values())

    def looks(self, *names: str, **targets: str) -> tuple[Look, ...]:
        """The looks of these names whose targets include these."""
        return tuple(
            look
            for name in names
            for look in self._looks.get(name, {}).values()
            if targets.items() <= dict(look.targets).items()
        )

    def get(self, name: str, **targets: str) -> Look | None:
        """The look of this name and exactly these targets; None if it was never planned."""
        return self._looks.get(name, {}).get(key_of(name, targets))

    def one(self, name: str, **targets: str) -> Look:
        """The look of this name and exactly these targets; one that saw nothing, if it was never planned."""
        found = self.get(name, **targets)
        return found or Look(name, targets, error=Unmeasured(f"{name} was not looked at in this run"))

    def first_seen(self, *names: str, **targets: str) -> tuple[Look, ...]:
        """For each set of targets, the first of these looks that saw something; the very first, if none did."""
        found: dict[Key, Look] = {}
        for name in names:
            for look in self.looks(name, **targets):
                key = ("", look.key[1])
                if key not in found or (found[key].seen is None and look.seen is not None):
                    found[key] = look
        return tuple(found.values())

    def red(self, *names: str, where: Callable[[Look], bool] = lambda _: True, **targets: str) -> tuple[Look, ...]:
        """Those of the looks that turn a check red."""
        return tuple(look for look in self.looks(*names, **targets) if look.red and where(look))

    def without(self, keys: Iterable[Key]) -> Facts:
        """The same run, as if these looks had not been possible."""
        hidden = set(keys)
        gone = Unmeasured("hidden")
        return Facts(
            self.inventory,
            (Look(one.name, one.targets, error=gone) if one.key in hidden else one for one in self),
        )


def look_of(measured: Measurement) -> Look:
    """What came of a measurement that has come to its end; a value that is no fact can't be judged, and is left out."""
    value = measured.value if isinstance(measured.value, Fact) else None
    return Look(measured.spec.name, measured.targets, value, measured.error)


def facts_of(survey: Survey) -> Facts:
    """What a survey has measured so far; a look that has not come to an end is unknown."""
    looks = []
    for measured in survey.measurements.values():
        if not measured.done.is_set():
            gone = Unmeasured(f"{measured.spec.title}: the run ended before its measurement")
            looks.append(Look(measured.spec.name, measured.targets, error=gone))
        elif measured.error is not None or isinstance(measured.value, Fact):
            looks.append(look_of(measured))
    return Facts(survey.run.inventory, looks)
