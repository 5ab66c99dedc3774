"""A preflight.json as the page reads it: typed, and refused with a clear error where it has another form.

What an older version of the suite did not write is empty, and the page then says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from preflight import saved
from preflight.conclusions import Facts
from preflight.conclusions.observations import Observation
from preflight.evidence import Fact, Key, PreflightError, clean
from preflight.fact import CATALOGUE
from preflight.inventory import Inventory
from preflight.run import Stage
from preflight.saved import SavedError
from preflight.verdicts import Verdict

_LONGEST = 60  # characters of a value that an error shows


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)


class Impact(_Part):
    """What a fault does to jobs."""

    harm: str
    jobs: str
    unseen: bool = False


class Observed(_Part):
    """One measurement: where, how, what it printed, and the seconds that it took."""

    where: str = ""
    command: str = ""
    observed: str = ""
    took: float = 0.0


class Check(_Part):
    """What one check came to."""

    id: str
    section: str = Field(description="The check's number, such as ``2.4.3``.")
    area: str = Field(default="", description="The title of the guide's module.")
    title: str
    target: str = ""
    targets: dict[str, str] = {}
    verdict: Annotated[Verdict, Field(strict=False)]
    reason: str = ""
    fault: str = ""
    cause: str = ""
    where: str = ""
    remedy: str = ""
    why: str = Field(default="", description="Why the guide wants it; of a check that did not pass.")
    took: float = 0.0
    impact: Impact | None = None
    blocked_by: list[str] = []
    evidence: Observed | None = None

    @property
    def name(self) -> str:
        """The id with its target, as pytest writes it."""
        return f"{self.id}[{self.target}]" if self.target else self.id


class Proof(_Part):
    """A decisive observation behind a root cause."""

    statement: str
    where: str = ""
    command: str = ""
    observed: str = ""
    healthy: bool = False


class Conclusion(_Part):
    """One root cause, or what follows from one."""

    name: str
    section: str = ""
    about: list[str] = []
    cause: str
    impact: Impact | None = None
    confidence: str = ""
    settled_by: str = ""
    root_cause: bool = True
    explains: list[str] = []
    proofs: list[Proof] = []
    remedy: list[str] = []


class LeftOut(_Part):
    """Tests of one check that were not looked at."""

    id: str
    section: str
    title: str
    count: int


class Decision(_Part):
    """What the run came to, and how much of the guide it judged."""

    answer: str
    partial: bool = False
    status: int = 0
    judged: int = 0
    expected: int = 0
    reasons: list[str] = []
    counts: dict[str, int] = {}
    root_causes: int = 0
    not_looked_at: list[LeftOut] = []


class Author(_Part):
    """The machine and the user that ran the suite."""

    host: str = ""
    user: str = ""


class Versions(_Part):
    """What ran."""

    suite: str = ""
    python: str = ""
    pytest: str = ""


class Job(_Part):
    """The CI job that the run was a part of."""

    id: str = ""
    url: str = ""


class Earlier(_Part):
    """A run before this one, in brief."""

    run: str = ""
    written: str
    answer: str
    partial: bool = False
    effect: str = ""
    counts: dict[str, int] = {}
    causes: list[str] = Field(default=[], description="Its root causes by name, with what each is about.")


class Change(_Part):
    """A failure, or a root cause, of one of two runs."""

    name: str
    before: str = ""
    now: str = ""
    formerly: str = ""


class Changes(_Part):
    """What became of failures, or root causes, since an earlier run."""

    new: list[Change] = []
    fixed: list[Change] = []
    changed: list[Change] = []
    unchanged: list[Change] = []
    not_judged: list[Change] = []


class Baseline(Changes):
    """The comparison with the run of `--baseline`."""

    file: str = ""
    written: str = ""
    other_environment: str = ""
    conclusions: Changes = Changes()


class Meaning(_Part):
    """One thing that a symptom can mean."""

    says: str
    state: str
    reasons: list[str] = []


class Symptom(_Part):
    """A symptom in the text of `--symptom`."""

    id: str
    line: str = ""
    means: list[Meaning] = []


class Symptoms(_Part):
    """The answer to `--symptom`."""

    found: list[Symptom] = []
    others: list[str] = []


class Report(_Part):
    """A preflight.json."""

    form: int = Field(alias="schema", description="Version of this form.")
    run: str = Field(default="", description="The run's id.")
    written: str = Field(description="When it was written, in UTC.")
    began: str = Field(default="", description="When the run began, with the offset of its time zone.")
    took: float | None = Field(default=None, description="Seconds until it was written.")
    by: Author = Author()
    versions: Versions = Versions()
    job: Job | None = None
    replay: str = Field(
        default="", description="The report whose facts were judged again; empty for a run that measured."
    )
    inventory: str = Field(default="", description="The inventory's file.")
    environment: dict[str, Any] = Field(default={}, description="The inventory as it was read.")
    effect: str = ""
    stage: str = "auto"
    verdict: str = Field(description="The verdict in one line.")
    decision: Decision
    facts: list[dict[str, Any]] = []
    checks: list[Check]
    conclusions: list[Conclusion] = []
    unexplained: list[str] = Field(default=[], description="Failing and unknown checks that no root cause explains.")
    symptom: Symptoms | None = None
    baseline: Baseline | None = None
    history: list[Earlier] = Field(
        default=[], description="The last runs against the same environment, the oldest first."
    )
    notes: list[str] = Field(default=[], description="What else the operator should know.")

    def measured(self) -> Facts:
        """The facts of the run, each read when it is asked for, which raises a SavedError if it has another form.

        Raises:
            SavedError: the facts are those of another version, or the inventory has another form.
        """
        if self.form not in saved.REPLAYABLE:
            drawn = ", ".join(map(str, sorted(saved.REPLAYABLE)))
            raise SavedError(f"facts of schema {self.form}, this version draws those of {drawn}")
        inventory = saved.inventory_from({"environment": self.environment}, Path("preflight.json"))
        stage = Stage(self.stage) if self.stage in set(Stage) else Stage.AUTO
        return _SavedFacts(inventory, self.facts, stage=stage)


class _Families(dict[str, dict[Key, Observation]]):
    """Observations by name and key, read from JSON when they are asked for: a page draws few of all facts."""

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self._unread: dict[str, list[dict[str, Any]]] = {}
        for entry in filter(_is_known, entries):
            self._unread.setdefault(entry["name"], []).append(entry)

    def get(self, name: str, default: Any = None) -> Any:
        """The observations of a fact, by key."""
        if name in self._unread:
            observations = [_observation(entry) for entry in self._unread[name]]
            self[name] = {observation.key: observation for observation in observations}
            del self._unread[name]
        return super().get(name, default)

    def values(self) -> Any:
        """The observations of all facts."""
        for name in list(self._unread):
            self.get(name)
        return super().values()


class _SavedFacts(Facts):
    """The facts of a report."""

    def __init__(self, inventory: Inventory, entries: Iterable[dict[str, Any]], *, stage: Stage) -> None:
        super().__init__(inventory, (), stage=stage)
        self._observations = _Families(entries)


def _is_known(entry: dict[str, Any]) -> bool:
    name, targets = entry.get("name"), entry.get("targets", {})
    known = name in CATALOGUE and isinstance(targets, dict) and targets.keys() == set(CATALOGUE[name].targets)
    return known and bool({"value", "error"} & entry.keys())


def _observation(entry: dict[str, Any]) -> Observation:
    value: Fact | None
    error: PreflightError | None
    value, error = saved.measurement_from(entry)
    return Observation(entry["name"], entry["targets"], value, error)


def read(file: Path) -> Report:
    """The report in a file.

    Raises:
        SavedError: it can't be read, or is no report of this version or one before; names the file and the key.
    """
    return parse(saved.read_comparable(file), name=str(file))


def parse(document: dict[str, Any], *, name: str = "preflight.json") -> Report:
    """A report from its JSON; a SavedError says what is wrong with it."""
    try:
        return Report.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = clean(".".join(map(str, first["loc"])))
        expected = first["msg"][:1].lower() + first["msg"][1:]
        given = "" if first["type"] == "missing" else f"found {_shown(first['input'])}; "
        raise SavedError(f"{name}: {key}: {given}{clean(expected)}") from None


def _shown(value: object) -> str:
    text = clean(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
