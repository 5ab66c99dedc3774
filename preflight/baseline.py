"""What has changed since an earlier run (`--baseline old.json`): new, fixed and unchanged failures and conclusions.

Pure functions over the earlier run's JSON report and what this run judged. A check is known by its id and target; an id
that has been renamed since is compared under the new one. What this run, or the earlier one, has not judged is never
called fixed, and is reported as not judged where it is called new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight import renamed
from preflight.conclusions import Conclusion, Explanation
from preflight.evidence import clean
from preflight.verdicts import Outcome, Verdict

_WRONG = frozenset({Verdict.FAIL, Verdict.ADVICE, Verdict.WAIVED})
NOT_JUDGED = "not judged"
_SHOWN = 10  # of one kind, on the terminal


@dataclass(frozen=True, slots=True)
class Change:
    """A failure, or a conclusion, of one of the two runs.

    Attributes:
        name: the check's id with its target, or the conclusion's name with what it is about.
        before: what it was: the fault of a failure, a verdict, ``not judged``, or a conclusion's sentence.
        now: what it is, in the same words.
        formerly: the name that the earlier report has for it; "" if it is the same.
    """

    name: str
    before: str
    now: str
    formerly: str = ""

    def as_json(self) -> dict[str, str]:
        """The change as JSON."""
        return {"name": self.name, "before": self.before, "now": self.now, "formerly": self.formerly}

    def sentence(self, kind: str) -> str:
        """What it is now, and what it was where that is something else."""
        same = kind == "unchanged" or self.before == self.now
        words = self.now if same else f"{self.now} (before: {self.before})"
        return f"{words}; that run calls it {self.formerly}" if self.formerly else words


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        new: wrong now; `before` says whether it was right, or not judged.
        fixed: wrong before, right now.
        changed: wrong in both, in another way.
        unchanged: wrong in both in the same way.
        not_judged: wrong before; this run has not judged it.
    """

    new: tuple[Change, ...] = ()
    fixed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    unchanged: tuple[Change, ...] = ()
    not_judged: tuple[Change, ...] = ()

    def rows(self) -> Iterator[tuple[str, tuple[Change, ...]]]:
        """Each kind with its changes."""
        yield "new", self.new
        yield "fixed", self.fixed
        yield "changed", self.changed
        yield "unchanged", self.unchanged
        yield NOT_JUDGED, self.not_judged

    def as_json(self) -> dict[str, list[dict[str, str]]]:
        """The comparison as JSON."""
        return {kind.replace(" ", "_"): [change.as_json() for change in changes] for kind, changes in self.rows()}


@dataclass(frozen=True, slots=True)
class Baseline:
    """This run compared with an earlier one.

    Attributes:
        file: the earlier run's report, as it was named.
        written: when it was written.
        environment: its environment, if that is another one than this run's; otherwise "".
        failures: the checks that failed in one of them.
        conclusions: the conclusions of one of them.
    """

    file: str
    written: str
    environment: str = ""
    failures: Comparison = field(default_factory=Comparison)
    conclusions: Comparison = field(default_factory=Comparison)

    @property
    def title(self) -> str:
        """What is compared with what."""
        return f"since {self.file} ({self.written})" if self.written else f"since {self.file}"

    def _rows(self) -> Iterator[tuple[str, tuple[Change, ...]]]:
        """Each kind of change, of failures and of root causes."""
        yield from self.failures.rows()
        for kind, changes in self.conclusions.rows():
            yield f"root cause {kind}", changes

    def lines(self) -> Iterator[str]:
        """The comparison for a terminal."""
        if self.environment:
            yield f"note: that run was of another environment: {self.environment}"
        for label, changes in self._rows():
            for change in changes[:_SHOWN]:
                yield f"{label:<26}{change.name}: {change.sentence(label.removeprefix('root cause '))}"
            if len(changes) > _SHOWN:
                yield f"{label:<26}and {len(changes) - _SHOWN} more"
        if not any(changes for _, changes in self._rows()):
            yield "no failure in either run"

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        earlier: dict[str, Any] = {
            "file": self.file,
            "written": self.written,
            "other_environment": self.environment,
        }
        return {**earlier, **self.failures.as_json(), "conclusions": self.conclusions.as_json()}


def compare(
    document: Mapping[str, Any],
    judged: Sequence[Outcome],
    explanation: Explanation,
    *,
    file: str,
    environment: str = "",
) -> Baseline:
    """Compare what was judged with an earlier run's report.

    Args:
        document: the earlier report.
        judged: this run's outcomes.
        explanation: this run's conclusions.
        file: the earlier report's name.
        environment: this run's environment, as `environment_of` describes it; "" leaves environments alone.
    """
    earlier_environment = environment_of(document.get("environment", {}))
    before, now = _earlier_checks(document), _present_checks(judged)
    return Baseline(
        file=file,
        written=clean(str(document.get("written", ""))),
        environment=earlier_environment if environment and earlier_environment != environment else "",
        failures=_failures(before, now),
        conclusions=_conclusions(document, before, now, explanation),
    )


def environment_of(inventory: Mapping[str, Any]) -> str:
    """Which environment an inventory, as JSON, describes: its GitLab and its API server."""
    gitlab, cluster = inventory.get("gitlab") or {}, inventory.get("cluster") or {}
    return clean(f"{gitlab.get('url', '?')}, {cluster.get('api_server', '?')}")


@dataclass(frozen=True, slots=True)
class _Judged:
    """A check's verdict and fault in one of the runs, and the name that its report has for the check."""

    verdict: str
    fault: str = ""
    reported_as: str = field(default="", compare=False)

    @property
    def wrong(self) -> bool:
        return self.verdict in _WRONG

    @property
    def right(self) -> bool:
        return self.verdict == Verdict.PASS

    @property
    def words(self) -> str:
        return f"{self.verdict}, {self.fault}" if self.wrong and self.fault else self.verdict


_ABSENT = _Judged(NOT_JUDGED)


def _earlier_checks(document: Mapping[str, Any]) -> dict[str, _Judged]:
    """The checks of the earlier report by their present names."""
    checks = {}
    for entry in document.get("checks", ()):
        target = str(entry.get("target", ""))
        name = clean(f"{entry.get('id', '')}[{target}]" if target else str(entry.get("id", "")))
        checks[renamed.check(name)] = _Judged(
            clean(str(entry.get("verdict", ""))), clean(str(entry.get("fault", ""))), reported_as=name
        )
    return checks


def _present_checks(judged: Sequence[Outcome]) -> dict[str, _Judged]:
    return {
        outcome.name: _Judged(str(outcome.verdict), outcome.diagnosis.fault if outcome.diagnosis is not None else "")
        for outcome in judged
    }


def _failures(before: Mapping[str, _Judged], now: Mapping[str, _Judged]) -> Comparison:
    changes: dict[str, list[Change]] = {}
    for name in dict.fromkeys([*now, *before]):
        earlier, present = before.get(name, _ABSENT), now.get(name, _ABSENT)
        kind = _kind(earlier, present)
        if kind:
            formerly = earlier.reported_as if earlier.reported_as != name else ""
            changes.setdefault(kind, []).append(Change(name, earlier.words, present.words, formerly))
    return _comparison(changes)


def _kind(before: _Judged, now: _Judged) -> str:
    """What became of a failure; "" if it is one in neither run (advice and waived findings count where one is)."""
    if Verdict.FAIL not in {before.verdict, now.verdict}:
        return ""
    if before.wrong and now.wrong:
        return "unchanged" if before == now else "changed"
    if now.wrong:
        return "new"
    return "fixed" if now.right else "not_judged"


def _comparison(changes: Mapping[str, Sequence[Change]]) -> Comparison:
    return Comparison(**{kind: tuple(changes_of_kind) for kind, changes_of_kind in changes.items()})


def _conclusions(
    document: Mapping[str, Any],
    checks_before: Mapping[str, _Judged],
    checks_now: Mapping[str, _Judged],
    explanation: Explanation,
) -> Comparison:
    before = {
        title_of(renamed.cause(str(entry["name"])), entry.get("about", ())): entry
        for entry in document.get("conclusions", ())
    }
    now = {title_of(finding.conclusion.name, finding.conclusion.about): finding for finding in explanation.findings}
    changes: dict[str, list[Change]] = {}
    for name, finding in now.items():
        conclusion: Conclusion = finding.conclusion
        if name in before:
            cause = clean(str(before[name].get("cause", "")))
            change = Change(name, cause, conclusion.sentence, _formerly(name, before[name]))
            changes.setdefault("unchanged", []).append(change)
            continue
        earlier = [checks_before.get(outcome.name, _ABSENT) for outcome in finding.checks]
        was_judged = any(check.right or check.wrong for check in earlier)
        change = Change(name, "absent" if was_judged else NOT_JUDGED, conclusion.sentence)
        changes.setdefault("new", []).append(change)
    for name, entry in before.items():
        if name not in now:
            kind, words = _gone(entry, checks_now)
            change = Change(name, clean(str(entry.get("cause", ""))), words, _formerly(name, entry))
            changes.setdefault(kind, []).append(change)
    return _comparison(changes)


def _formerly(name: str, entry: Mapping[str, Any]) -> str:
    title = title_of(str(entry["name"]), entry.get("about", ()))
    return title if title != name else ""


def _gone(conclusion: Mapping[str, Any], now: Mapping[str, _Judged]) -> tuple[str, str]:
    """What became of a conclusion that this run does not draw, by the checks that it explained."""
    explained = [now.get(renamed.check(clean(str(name))), _ABSENT) for name in conclusion.get("explains", ())]
    if any(check.wrong for check in explained):
        return "changed", "its checks still fail, for another cause"
    if explained and all(check.right or check.verdict == Verdict.NOT_APPLICABLE for check in explained):
        return "fixed", "its checks pass"
    return "not_judged", "not all of its checks were judged in this run"


def title_of(name: str, about: Iterable[str]) -> str:
    """A conclusion's name with what it is about."""
    about = list(about)
    return clean(f"{name} ({', '.join(about)})" if about else name)
