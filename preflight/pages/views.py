"""What the page says above its pictures: the run, root causes, what changed, and what was not checked."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from preflight import decision, impact
from preflight.conclusions.observations import Facts
from preflight.evidence import Fact
from preflight.fact import FactSpec
from preflight.facts.cluster import api_answer
from preflight.facts.gitlab import gitlab_version
from preflight.facts.release import release_record
from preflight.pages.cells import duration, value_of
from preflight.pages.document import Change, Changes, Check, Conclusion, Earlier, Impact, LeftOut, Report
from preflight.pages.texts import Text
from preflight.probes.cluster import ApiServer
from preflight.probes.gitlab import GitLabVersion
from preflight.probes.release import Release
from preflight.verdicts import Verdict

F = TypeVar("F", bound=Fact)

_LISTED = 20  # checks that a root cause lists
_TARGETS = 4  # targets of one of them
_REASONS = 40  # reasons of one kind that are listed
_SIGNS = {"go": "✓", "nogo": "✗", "inconclusive": "?", "degraded": "!", "partial": "◐", "stopped": "■"}
_ABOVE = re.compile(r"needs effects up to \S+; this run allows \S+")


# ---- the run


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict.

    Attributes:
        style: the verdict as a word for styles.
        sign: its sign.
        head: its first words, such as ``NO GO``.
        rest: what it is made of.
    """

    style: str
    sign: str
    head: str
    rest: str


def banner(report: Report) -> Banner:
    """The verdict of a run."""
    style = decision.style(report.decision.answer, partial=report.decision.partial)
    head, _, rest = report.verdict.partition(": ")
    return Banner(style, _SIGNS[style], head, rest)


@dataclass(frozen=True, slots=True)
class Detail:
    """One line of the strip: what it is, its value, and where it leads."""

    label: Text
    value: str
    link: str = ""


def strip(report: Report, facts: Facts | None) -> list[Detail]:
    """When, where from, who, which versions, and what was selected; what is not known is left out."""
    by, versions, environment = report.by, report.versions, report.environment
    details = [
        Detail(Text("Time"), moment(report.began or report.written)),
        Detail(Text("Duration"), duration(report.took) if report.took is not None else ""),
        Detail(Text("Run from"), f"{by.user}@{by.host}" if by.user and by.host else by.host or by.user),
        Detail(Text("GitLab"), _measured(_gitlab(facts), environment, "gitlab", "url")),
        Detail(Text("Kubernetes"), _measured(_kubernetes(facts), environment, "cluster", "api_server")),
        Detail(Text("Chart"), _chart(facts, environment)),
        Detail(Text("Selection"), _selection(report)),
        Detail(Text("Suite"), " ".join(filter(None, [versions.suite, _beside(versions.python, versions.pytest)]))),
        Detail(Text("Inventory"), report.inventory),
        Detail(Text("Judged again from"), report.replay),
        Detail(Text("Run"), report.run),
    ]
    if report.job is not None and report.job.url.startswith(("https://", "http://")):
        details.append(Detail(Text("CI job"), report.job.id or report.job.url, report.job.url))
    return [detail for detail in details if detail.value]


def moment(iso: str) -> str:
    """A time as a person reads it, with its zone; as it is written, where it is no time."""
    try:
        time = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = time.strftime("%z")
    return f"{time:%Y-%m-%d %H:%M:%S} " + ("UTC" if zone in {"", "+0000"} else f"{zone[:3]}:{zone[3:]}")


def _beside(python: str, pytest: str) -> str:
    return f"(Python {python}, pytest {pytest})" if python and pytest else ""


def _value(facts: Facts | None, spec: FactSpec[F], kind: type[F]) -> F | None:
    return value_of(facts.get(spec), kind) if facts is not None else None


def _gitlab(facts: Facts | None) -> str:
    measured = _value(facts, gitlab_version, GitLabVersion)
    return measured.version if measured is not None else ""


def _kubernetes(facts: Facts | None) -> str:
    measured = _value(facts, api_answer, ApiServer)
    return measured.version if measured is not None else ""


def _measured(version: str, environment: Mapping[str, object], part: str, address: str) -> str:
    """A version as it was measured, what the inventory expects where that was not, and the address."""
    declared = environment.get(part)
    entry: Mapping[str, object] = declared if isinstance(declared, Mapping) else {}
    shown = version or Text("not measured (expected {version})", version=entry.get("version", "?"))
    return Text("{version} at {address}", version=shown, address=entry.get(address, "?")) if entry else version


def _chart(facts: Facts | None, environment: Mapping[str, object]) -> str:
    declared = environment.get("runner")
    entry: Mapping[str, object] = declared if isinstance(declared, Mapping) else {}
    installed = _value(facts, release_record, Release)
    if installed is None or not installed.chart:
        return Text("{version} (expected; not seen installed)", version=entry["chart"]) if entry.get("chart") else ""
    shown = Text("{version} installed, runner {app}", version=installed.chart, app=installed.app_version or "?")
    if entry.get("chart") in {None, installed.chart}:
        return shown
    return Text("{installed}; {version} expected", installed=shown, version=entry["chart"])


def _selection(report: Report) -> str:
    chosen = ", ".join(report.decision.reasons)
    what = chosen or Text("all checks")
    staged = Text(", stage {stage}", stage=report.stage) if report.stage != "auto" else ""
    return Text("{what}; effects up to {effect}{stage}", what=what, effect=report.effect, stage=staged)


# ---- root causes


@dataclass(frozen=True, slots=True)
class CauseView:
    """A root cause.

    Attributes:
        place: its number, from 1.
        conclusion: what is known of it.
        impact: what it does to jobs.
        counts: how many checks of each verdict it explains.
        explained: the checks that it explains, with targets and an anchor: the failing ones first.
        more: how many further ones there are.
    """

    place: int
    conclusion: Conclusion
    impact: str
    counts: tuple[tuple[Verdict, int], ...]
    explained: tuple[Explained, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Explained:
    """A check that a root cause explains: its verdict, number and title, targets, and its anchor."""

    verdict: Verdict
    number: str
    title: str
    targets: str
    anchor: str


def impact_of(plain: Impact | None) -> str:
    """What a fault does to jobs, in words."""
    if plain is None:
        return ""
    harm = impact.Harm(plain.harm) if plain.harm in set(impact.Harm) else impact.Harm.NONE
    return str(impact.Impact(harm, plain.jobs, unseen=plain.unseen))


def causes(report: Report, anchors: Mapping[str, str]) -> list[CauseView]:
    """The root causes, in the order in which they are to be fixed.

    Args:
        report: the run.
        anchors: where each check stands on the page, by its name.
    """
    by_name = {check.name: check for check in report.checks}
    roots = [conclusion for conclusion in report.conclusions if conclusion.root_cause]
    return [_cause(conclusion, place, by_name, anchors) for place, conclusion in enumerate(roots, start=1)]


def _cause(conclusion: Conclusion, place: int, by_name: Mapping[str, Check], anchors: Mapping[str, str]) -> CauseView:
    checks = [by_name[name] for name in conclusion.explains if name in by_name]
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in sorted(checks, key=lambda check: check.verdict == Verdict.BLOCKED):
        groups.setdefault((check.verdict, check.id), []).append(check)
    listed = tuple(
        Explained(same[0].verdict, same[0].section, same[0].title, _targets(same), anchors[same[0].name])
        for same in list(groups.values())[:_LISTED]
    )
    counts: dict[Verdict, int] = {}
    for check in checks:
        counts[check.verdict] = counts.get(check.verdict, 0) + 1
    return CauseView(
        place, conclusion, impact_of(conclusion.impact), tuple(counts.items()), listed, max(0, len(groups) - _LISTED)
    )


def _targets(checks: Iterable[Check]) -> str:
    named = [check.target for check in checks if check.target]
    more = f" +{len(named) - _TARGETS}" if len(named) > _TARGETS else ""
    return ", ".join(named[:_TARGETS]) + more


def unexplained(report: Report) -> list[Check]:
    """Failing and unknown checks that no root cause explains."""
    names = set(report.unexplained)
    return [check for check in report.checks if check.name in names]


def accepted(report: Report) -> list[Check]:
    """Advice and waived failures: faults that block no rollout."""
    return [check for check in report.checks if check.verdict in {Verdict.ADVICE, Verdict.WAIVED}]


# ---- what changed


@dataclass(frozen=True, slots=True)
class Kind:
    """What became of failures, or root causes, since the baseline."""

    label: Text
    changes: tuple[Change, ...]
    same: bool = False


def changes(part: Changes) -> list[Kind]:
    """Each kind of change of which there are any."""
    kinds = [
        Kind(Text("new"), tuple(part.new)),
        Kind(Text("fixed"), tuple(part.fixed)),
        Kind(Text("changed"), tuple(part.changed)),
        Kind(Text("unchanged"), tuple(part.unchanged), same=True),
        Kind(Text("not judged in this run"), tuple(part.not_judged)),
    ]
    return [kind for kind in kinds if kind.changes]


@dataclass(frozen=True, slots=True)
class Past:
    """One of the last runs.

    Attributes:
        run: the run in brief.
        time: when its report was written.
        style: its verdict as a word for styles.
        sign: the verdict's sign.
        new: its root causes that the run before it did not have; `gone`: those that it had no more.
        current: whether it is this run.
    """

    run: Earlier
    time: str
    style: str
    sign: str
    new: tuple[str, ...]
    gone: tuple[str, ...]
    current: bool = False


def trend(report: Report) -> list[Past]:
    """The last runs and this one, the newest first, each with what became of root causes since the one before."""
    roots = [conclusion for conclusion in report.conclusions if conclusion.root_cause]
    now = Earlier(
        run=report.run,
        written=report.written,
        answer=report.decision.answer,
        partial=report.decision.partial,
        effect=report.effect,
        counts=report.decision.counts,
        causes=[_title(conclusion) for conclusion in roots],
    )
    return list(reversed(list(_past([*report.history, now])))) if report.history else []


def _past(runs: Sequence[Earlier]) -> Iterator[Past]:
    before: Earlier | None = None
    for run in runs:
        style = decision.style(run.answer, partial=run.partial)
        known, present = set(before.causes if before else run.causes), set(run.causes)
        # What a run of a part does not name may only not have been looked at.
        gone = () if before is None or run.partial else tuple(cause for cause in before.causes if cause not in present)
        new = tuple(cause for cause in run.causes if cause not in known)
        yield Past(run, moment(run.written), style, _SIGNS[style], new, gone, current=run is runs[-1])
        before = run if before is None or not run.partial else before


def _title(conclusion: Conclusion) -> str:
    return f"{conclusion.name} ({', '.join(conclusion.about)})" if conclusion.about else conclusion.name


# ---- what was not checked


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some checks were not judged.

    Attributes:
        why: the reason.
        needs: what would allow it; "" where nothing is needed.
        checks: number and title of each, with its targets.
        count: how many results.
    """

    why: str
    needs: str
    checks: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class NotChecked:
    """What was not checked.

    Attributes:
        sections: what was not selected, by the guide's sections.
        why: why, as the command line has it.
        unknown: what could not be measured, `blocked` what another fault hides, `above` what needs more than the run
            allows, and `absent` what this environment has nothing for.
    """

    sections: Mapping[str, Sequence[LeftOut]]
    why: str
    unknown: Sequence[Reason]
    blocked: Sequence[Reason]
    above: Sequence[Reason]
    absent: Sequence[Reason]

    @property
    def count(self) -> int:
        """How many results there would be besides, leaving out what this environment has nothing for."""
        left_out = sum(part.count for parts in self.sections.values() for part in parts)
        return left_out + sum(reason.count for reason in (*self.unknown, *self.blocked, *self.above))


def not_checked(report: Report) -> NotChecked:
    """What was not checked, and why."""
    sections: dict[str, list[LeftOut]] = {}
    for part in report.decision.not_looked_at:
        sections.setdefault(part.section, []).append(part)
    listed = {part.id for part in report.decision.not_looked_at}
    absent = [check for check in report.checks if check.verdict == Verdict.NOT_APPLICABLE]
    above = [check for check in absent if _ABOVE.match(check.reason)]
    return NotChecked(
        sections=sections,
        why=", ".join(report.decision.reasons),
        unknown=_reasons(check for check in report.checks if check.verdict == Verdict.UNKNOWN),
        blocked=_reasons(check for check in report.checks if check.verdict == Verdict.BLOCKED),
        above=_reasons(check for check in above if check.id not in listed),
        absent=_reasons(check for check in absent if not _ABOVE.match(check.reason)),
    )


def _reasons(checks: Iterable[Check]) -> list[Reason]:
    reasons: dict[str, list[Check]] = {}
    for check in checks:
        reasons.setdefault(check.reason or check.cause, []).append(check)
    return [
        Reason(
            why, next((check.remedy for check in same if check.verdict == Verdict.UNKNOWN), ""), _named(same), len(same)
        )
        for why, same in list(reasons.items())[:_REASONS]
    ]


def _named(checks: Sequence[Check]) -> tuple[str, ...]:
    by_id: dict[str, list[Check]] = {}
    for check in checks:
        by_id.setdefault(check.id, []).append(check)
    return tuple(
        f"{same[0].section} {same[0].title}" + (f" [{targets}]" if (targets := _targets(same)) else "")
        for same in by_id.values()
    )
