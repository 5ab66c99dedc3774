"""What has changed since an earlier run (`--baseline old.json`): new, fixed and unchanged failures and conclusions.

Pure functions over the earlier run's JSON report and what this run judged. A check is known by its id and target. What
this run, or the earlier one, has not judged is never called fixed, and says so where it is called new.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight.conclusions import Explanation
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
    """

    name: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        new: wrong now; `before` says whether it was right, or not judged.
        fixed: wrong before, right now.
        changed: wrong in both, in another way.
        unchanged: wrong in both in the same way.
        not_looked_at: wrong before; this run has not judged it.
    """

    new: tuple[Change, ...] = ()
    fixed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    unchanged: tuple[Change, ...] = ()
    not_looked_at: tuple[Change, ...] = ()

    def rows(self) -> Iterator[tuple[str, tuple[Change, ...]]]:
        """Each kind with its changes."""
        kinds = ("new", "fixed", "changed", "unchanged", "not looked at")
        every = (self.new, self.fixed, self.changed, self.unchanged, self.not_looked_at)
        yield from zip(kinds, every, strict=True)

    def plain(self) -> dict[str, list[dict[str, str]]]:
        """The comparison as JSON."""
        return {
            kind.replace(" ", "_"): [{"name": one.name, "before": one.before, "now": one.now} for one in changes]
            for kind, changes in self.rows()
        }


@dataclass(frozen=True, slots=True)
class Baseline:
    """This run held against an earlier one.

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

    def lines(self) -> Iterator[str]:
        """The comparison for a terminal."""
        if self.environment:
            yield f"note: that run was of another environment: {self.environment}"
        for subject, comparison in (("", self.failures), ("root cause ", self.conclusions)):
            for kind, changes in comparison.rows():
                for one in changes[:_SHOWN]:
                    yield f"{subject + kind:<26}{one.name}: {_told(kind, one)}"
                if len(changes) > _SHOWN:
                    yield f"{subject + kind:<26}and {len(changes) - _SHOWN} more"
        if not any(changes for one in (self.failures, self.conclusions) for _, changes in one.rows()):
            yield "no failure in either run"

    def plain(self) -> dict[str, Any]:
        """The comparison as JSON."""
        told: dict[str, Any] = {"file": self.file, "written": self.written, "other_environment": self.environment}
        return {**told, **self.failures.plain(), "conclusions": self.conclusions.plain()}

    def page(self) -> list[str]:
        """The comparison as HTML, in parts."""
        rows = "".join(
            f"<tr><td>{html.escape(subject + kind)}</td><td>{html.escape(one.name)}</td>"
            f"<td>{html.escape(_told(kind, one))}</td></tr>"
            for subject, comparison in (("", self.failures), ("root cause ", self.conclusions))
            for kind, changes in comparison.rows()
            for one in changes
        )
        title = f"<h2>Changed {html.escape(self.title)}</h2>"
        if self.environment:
            title += f"<p>That run was of another environment: {html.escape(self.environment)}</p>"
        return [
            f'{title}<table class="baseline">{rows}</table>' if rows else f"{title}<p>No failure in either run.</p>"
        ]


def _told(kind: str, change: Change) -> str:
    if kind == "unchanged" or change.before == change.now:
        return change.now
    return f"{change.now} (before: {change.before})"


def compare(
    document: Mapping[str, Any],
    judged: Sequence[Outcome],
    explanation: Explanation,
    *,
    file: str,
    environment: str = "",
) -> Baseline:
    """Hold what was judged against an earlier run's report.

    Args:
        document: the earlier report.
        judged: this run's outcomes.
        explanation: this run's conclusions.
        file: the earlier report's name.
        environment: this run's environment in words, as `environment_of` says them.
    """
    other = environment_of(document.get("environment", {}))
    return Baseline(
        file=file,
        written=clean(str(document.get("written", ""))),
        environment=other if environment and other != environment else "",
        failures=_failures(document, judged),
        conclusions=_conclusions(document, judged, explanation),
    )


def environment_of(inventory: Mapping[str, Any]) -> str:
    """Which environment an inventory, as JSON, describes: its GitLab and its API server."""
    gitlab, cluster = inventory.get("gitlab") or {}, inventory.get("cluster") or {}
    return clean(f"{gitlab.get('url', '?')}, {cluster.get('api_server', '?')}")


@dataclass(frozen=True, slots=True)
class _Judged:
    """A check's verdict and fault, in either run."""

    verdict: str
    fault: str

    @property
    def wrong(self) -> bool:
        return self.verdict in _WRONG

    @property
    def right(self) -> bool:
        return self.verdict == Verdict.PASS

    @property
    def words(self) -> str:
        return f"{self.verdict}, {self.fault}" if self.wrong and self.fault else self.verdict


_ABSENT = _Judged(NOT_JUDGED, "")


def _then(document: Mapping[str, Any]) -> dict[str, _Judged]:
    found = {}
    for one in document.get("checks", ()):
        target = str(one.get("target", ""))
        name = f"{one.get('id', '')}[{target}]" if target else str(one.get("id", ""))
        found[clean(name)] = _Judged(clean(str(one.get("verdict", ""))), clean(str(one.get("fault", ""))))
    return found


def _now(judged: Sequence[Outcome]) -> dict[str, _Judged]:
    return {
        one.name: _Judged(str(one.verdict), one.diagnosis.fault if one.diagnosis is not None else "") for one in judged
    }


def _failures(document: Mapping[str, Any], judged: Sequence[Outcome]) -> Comparison:
    then, now = _then(document), _now(judged)
    kinds: dict[str, list[Change]] = {}
    for name in dict.fromkeys([*now, *then]):
        before, after = then.get(name, _ABSENT), now.get(name, _ABSENT)
        kind = _kind(before, after)
        if kind:
            kinds.setdefault(kind, []).append(Change(name, before.words, after.words))
    return _comparison(kinds)


def _kind(before: _Judged, after: _Judged) -> str:
    """What became of a failure; "" if it is one in neither run (advice and waived findings count where one is)."""
    if Verdict.FAIL not in {before.verdict, after.verdict}:
        return ""
    if before.wrong and after.wrong:
        return "unchanged" if before == after else "changed"
    if after.wrong:
        return "new"
    return "fixed" if after.right else "not_looked_at"


def _comparison(kinds: Mapping[str, Sequence[Change]]) -> Comparison:
    return Comparison(**{kind: tuple(changes) for kind, changes in kinds.items()})


def _conclusions(document: Mapping[str, Any], judged: Sequence[Outcome], explanation: Explanation) -> Comparison:
    then = {_title(one["name"], one.get("about", ())): one for one in document.get("conclusions", ())}
    now = {_title(one.conclusion.name, one.conclusion.about): one.conclusion for one in explanation.findings}
    earlier, verdicts = _then(document), _now(judged)
    kinds: dict[str, list[Change]] = {}
    for name, conclusion in now.items():
        if name in then:
            kinds.setdefault("unchanged", []).append(
                Change(name, clean(str(then[name].get("cause", ""))), conclusion.sentence)
            )
            continue
        explained = next(one.checks for one in explanation.findings if one.conclusion is conclusion)
        looked = any(earlier.get(one.name, _ABSENT).right or earlier.get(one.name, _ABSENT).wrong for one in explained)
        kinds.setdefault("new", []).append(Change(name, "absent" if looked else NOT_JUDGED, conclusion.sentence))
    for name, one in then.items():
        if name not in now:
            kind, words = _gone(one, verdicts)
            kinds.setdefault(kind, []).append(Change(name, clean(str(one.get("cause", ""))), words))
    return _comparison(kinds)


def _gone(conclusion: Mapping[str, Any], now: Mapping[str, _Judged]) -> tuple[str, str]:
    """What became of a conclusion that this run does not draw: its checks tell."""
    explained = [now.get(clean(str(name)), _ABSENT) for name in conclusion.get("explains", ())]
    if any(one.wrong for one in explained):
        return "changed", "its checks still fail, for another cause"
    if explained and all(one.right or one.verdict == Verdict.NOT_APPLICABLE for one in explained):
        return "fixed", "its checks pass"
    return "not_looked_at", "not all of its checks were judged in this run"


def _title(name: str, about: Sequence[str]) -> str:
    return clean(f"{name} ({', '.join(about)})" if about else name)
