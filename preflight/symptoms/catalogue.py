"""What is known of symptoms: the YAML files of this folder, one an area, as dataclasses."""

from __future__ import annotations

import enum
import functools
import importlib.resources
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from re import _constants, _parser  # type: ignore[attr-defined]  # the form of a pattern; nothing public tells it
from typing import Any

from preflight.symptoms.stages import Stage
from preflight.yamltext import load_yaml

SYSTEMS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(text, re.IGNORECASE)
    for name, text in {
        "gitlab": r"/api/v4/|\.git\b|coordinator|(?:registering|verifying) runner|checking for jobs"
        r"|(?<!docs\.)gitlab\.",  # the runner adds a link to its documentation to what befell the cluster
        "registry": r"/v2/|\bpull|manifest|resolve reference|registry|docker\.io|quay\.io|gcr\.io",
        "kubernetes": r":6443\b|/api/v1/|/apis/|kubectl|kubeconfig|apiserver|authentication\.go|connect to the server"
        r"|kubernetes (?:cluster|api)|kubernetes\.default|\bx509:.{0,40}kube"
        r"|The server uses a certificate|certificate-authority flag",
        "docker": r"daemon|pulling image configuration|docker:237[56]|dockerd|buildkit|buildah|podman|kaniko",
        "store": r"x-amz|\bs3[\w.-]{0,40}\.amazonaws|minio|\bs3\b|blob\.core|storage\.googleapis|cache\.zip"
        r"|context=cache",
        "packages": r"\bnpm\b|\bnode\b|pypi|\bpip\b|maven|nexus|artifactory|gradle|nuget|NU1301|cargo|composer"
        r"|alpinelinux|\bapk\b|\bapt\b|debian|ubuntu|rubygems|proxy\.golang|requests\.exceptions|javax\.net"
        r"|java\.security|satisfies the requirement|matching distribution"
        r"|PKIX|curl: \(|Curl error|urllib|_ssl\.c|ERR_TLS|CERT_HAS_EXPIRED|_SIGNATURE|_ISSUER_CERT|SELF_SIGNED_CERT",
    }.items()
}
"""What a line is about, by what stands in it: the same words of TLS or TCP are said of each of them."""


_MOST_RUNS = 1_500  # of one pattern
_STATUS = (
    r"(?:status|error|returned|code|response|http|http/1\.[01]|http/2|http/2\.0|got|with|attempts|attempt\(s\)|message)"
    r"(?:: |[ :=(\[]| is | code |\":|\": |\":\"|\": \")"
)
"""What stands before the number of an HTTP status: `{status}` in a pattern."""


class Kind(enum.StrEnum):
    """What a symptom says of the job."""

    FAILURE = "failure"  # it names what has failed
    GENERAL = "general"  # it says that something has failed: whatever names it comes first
    GRAMMAR = "grammar"  # it is read by the form of errors: only of lines that no other entry but a fallback knows
    FALLBACK = "fallback"  # it says no more than that the job failed: left out where its line says anything else
    UNCLASSIFIED = "unclassified"  # read in the same way, and no kind of fault: only where nothing else is told
    WARNING = "warning"  # the job goes on: told in logs of jobs that succeeded too
    HARMLESS = "harmless"  # nothing is wrong


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that a symptom can mean.

    Attributes:
        says: the meaning, in a sentence.
        checks: ids of the checks that tell; none, if a person has to look.
        faults: with which of their faults they confirm it; any, if empty.
        causes: names of conclusions that confirm it.
        remedy: how to fix it, in a sentence.
        look: a command that tells, where no check can.
        until: the meaning is ruled out where the log has gone beyond this stage.
        after: it is only meant where the log has gone beyond this stage.
        about: the system that it is about, a key of `SYSTEMS`; empty for any.
        only: what the line has to match.
        likely: what makes it the first to be meant, where the line matches it.
        of: of an entry of kind `Kind.GRAMMAR`, the systems that it is about, as `grammar` names them; any, if empty.
        by: who has to say it, of `grammar.SPEAKERS`; anyone, if empty.
        near: what the line, the command before it or a line next to it has to match; it is then the first to be meant.
    """

    says: str
    checks: tuple[str, ...]
    faults: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    remedy: str = ""
    look: str = ""
    until: Stage | None = None
    after: Stage | None = None
    about: str = ""
    only: re.Pattern[str] | None = None
    likely: re.Pattern[str] | None = None
    of: frozenset[str] = frozenset()
    by: frozenset[str] = frozenset()
    near: re.Pattern[str] | None = None

    def possible(self, line: str, stage: Stage | None) -> bool:
        """Whether it can be meant by this line of this stage of a log."""
        if self.only is not None and not self.only.search(line):
            return False
        if self.after is not None and (stage is None or stage.rank <= self.after.rank):
            return False
        return self.until is None or stage is None or stage.rank <= self.until.rank

    def is_asked_for(self, line: str) -> bool:
        """Whether words of the line ask for it, and it is not only what remains without others."""
        matches = (pattern.search(line) for pattern in (self.only, self.likely) if pattern is not None)
        return any(match[0] for match in matches if match is not None)


@dataclass(frozen=True, slots=True)
class Sample:
    """A real line of a symptom, and where it is known from."""

    line: str
    source: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, and runs of plain characters (lower case) of which each match of it holds one.

    Attributes:
        expression: what a line is searched for.
        plain: the runs.
        marked: whether it counts only in a line that begins as errors do.
    """

    expression: re.Pattern[str]
    plain: frozenset[str]
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Symptom:
    """A symptom that is known by its text.

    Attributes:
        id: its stable name.
        area: what it is about: the name of its file.
        rows: rows of docs/sources.md (Rows of the symptoms) that it covers.
        patterns: what it is known by.
        samples: real lines.
        candidates: what it can mean, the most frequent first.
        kind: what it says of the job.
        stage: the stage that it belongs to; None for any, and for a manager's log.
        unless: lines that are about another system, although a pattern matches.
        inner: whether it is the cause wherever it stands on a line behind the words of an entry that is not decisive.
        decisive: whether its words tell the cause, whatever follows them on the line.
        vague: whether it says only which step failed, and not why: a line that says why leads before it.
        scheduling: whether it is about finding a node: of no matter where a later line shows that the pod had one.
        url: where the text is known from in public.
    """

    id: str
    area: str
    rows: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    samples: tuple[Sample, ...]
    candidates: tuple[Candidate, ...]
    kind: Kind = Kind.FAILURE
    stage: Stage | None = None
    unless: tuple[re.Pattern[str], ...] = ()
    inner: bool = False
    decisive: bool = False
    vague: bool = False
    scheduling: bool = False
    url: str = ""

    @property
    def checks(self) -> frozenset[str]:
        """The checks that tell its candidates apart."""
        return frozenset(name for candidate in self.candidates for name in candidate.checks)

    def told_until(self, line: str, place: int = 0) -> int:
        """Where its words end on a line, from a place on; that place if they do not stand there."""
        matches = [pattern.expression.search(line, place) for pattern in self.patterns]
        return max((match.end() for match in matches if match is not None), default=place)

    def stands_behind(self, line: str, place: int) -> bool:
        """Whether its words stand on a line behind a place."""
        return any(pattern.expression.search(line, place) for pattern in self.patterns) and not any(
            other.search(line) for other in self.unless
        )

    def meant_by(self, line: str, stage: Stage | None) -> tuple[Candidate, ...]:
        """What it can mean on this line of this stage of a log: that which words of the line ask for first."""
        possible = tuple(candidate for candidate in self.candidates if candidate.possible(line, stage))
        possible = tuple(sorted(possible, key=lambda candidate: not candidate.is_asked_for(line)))
        if not any(candidate.about for candidate in possible):
            return possible
        named = {name for name, marks in SYSTEMS.items() if marks.search(line)}
        fitting = tuple(candidate for candidate in possible if not candidate.about or candidate.about in named)
        return fitting if named and fitting else possible


@functools.cache
def known() -> tuple[Symptom, ...]:
    """Every symptom that is known, area by area."""
    return tuple(
        symptom_of(entry, area) for area, document in _documents().items() for entry in document.get("symptoms", ())
    )


@functools.cache
def areas() -> Mapping[str, str]:
    """The areas: the name of each file, and its title."""
    return {name: document["title"] for name, document in _documents().items() if "symptoms" in document}


@functools.cache
def system_names() -> Mapping[str, str]:
    """What each system that the grammar of errors tells is called in a meaning; under "" one that it can't tell."""
    return dict(_documents()["general"]["names"])


def without_text() -> Mapping[str, str]:
    """Rows of docs/sources.md (Rows of the symptoms) that no text shows, and what there is instead."""
    return dict(_documents()["without_text"]["without_text"])


@functools.cache
def _documents() -> Mapping[str, Mapping[str, Any]]:
    """The files of this folder, by name without ending."""
    folder = importlib.resources.files(__package__)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): load_yaml(file.read_text(encoding="utf-8")) for file in files}


class EntryError(ValueError):
    """An entry of a file is not one: it lacks a key, has one that means nothing, or a value that is no such value."""


_KEYS = {
    "symptom": frozenset(
        "id url lines means patterns marked rows kind stage unless inner decisive vague scheduling".split()
    ),
    "meaning": frozenset(
        "says remedy checks faults causes look until after about only likely of by near".split(),
    ),
}
_REQUIRED = {"symptom": ("id", "url", "lines", "means"), "meaning": ("says", "remedy")}


def symptom_of(entry: Mapping[str, Any], area: str) -> Symptom:
    """The symptom that an entry of an area's file stands for.

    Raises:
        EntryError: it is none; with the file, the entry, and what was expected there.
    """
    where = f"preflight/symptoms/{area}.yaml: {entry.get('id', 'an entry without an id')}"
    _check_keys(entry, "symptom", where)
    for meaning in entry["means"]:
        _check_keys(meaning, "meaning", where)
    try:
        return _symptom(entry, area)
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise EntryError(f"{where}: {error}") from error


def _check_keys(entry: Mapping[str, Any], kind: str, where: str) -> None:
    if missing := [key for key in _REQUIRED[kind] if key not in entry]:
        raise EntryError(f"{where}: a {kind} has {', '.join(_REQUIRED[kind])}; missing: {', '.join(missing)}")
    if unknown := sorted(entry.keys() - _KEYS[kind]):
        raise EntryError(
            f"{where}: unknown key {', '.join(unknown)}; a {kind} may have {', '.join(sorted(_KEYS[kind]))}"
        )


def _symptom(entry: Mapping[str, Any], area: str) -> Symptom:
    return Symptom(
        id=entry["id"],
        area=area,
        rows=tuple(entry.get("rows", ())),
        patterns=(
            *(_pattern(text) for text in entry.get("patterns", ())),
            *(replace(_pattern(text), marked=True) for text in entry.get("marked", ())),
        ),
        samples=tuple(Sample(sample["line"], sample["from"]) for sample in entry["lines"]),
        candidates=tuple(_candidate(meaning) for meaning in entry["means"]),
        kind=Kind(entry.get("kind", Kind.FAILURE)),
        stage=Stage(entry["stage"]) if "stage" in entry else None,
        unless=tuple(re.compile(text, re.IGNORECASE) for text in entry.get("unless", ())),
        inner=entry.get("inner", False),
        decisive=entry.get("decisive", False),
        vague=entry.get("vague", False),
        scheduling=entry.get("scheduling", False),
        url=entry["url"],
    )


def _candidate(meaning: Mapping[str, Any]) -> Candidate:
    return Candidate(
        says=meaning["says"],
        checks=tuple(meaning.get("checks", ())),
        faults=tuple(meaning.get("faults", ())),
        causes=tuple(meaning.get("causes", ())),
        remedy=meaning["remedy"],
        look=meaning.get("look", ""),
        until=Stage(meaning["until"]) if "until" in meaning else None,
        after=Stage(meaning["after"]) if "after" in meaning else None,
        about=meaning.get("about", ""),
        only=re.compile(meaning["only"], re.IGNORECASE) if "only" in meaning else None,
        likely=re.compile(meaning["likely"], re.IGNORECASE) if "likely" in meaning else None,
        of=frozenset(meaning.get("of", ())),
        by=frozenset(meaning.get("by", ())),
        near=re.compile(meaning["near"], re.IGNORECASE) if "near" in meaning else None,
    )


def _pattern(text: str) -> Pattern:
    text = text.replace("{status}", _STATUS)
    return Pattern(re.compile(text, re.IGNORECASE), plain_runs(text))


def plain_runs(text: str) -> frozenset[str]:
    """Runs of plain characters, in lower case, of which each match of a pattern holds at least one.

    Of all such sets the one whose shortest run is the longest; {""} if there is none.
    """
    return _best(_parser.parse(text))


def _best(parsed: Iterable[tuple[Any, Any]]) -> frozenset[str]:
    """The best set of a sequence: of runs that stand in it exactly, or of one of its parts."""
    sets: list[frozenset[str]] = []
    run = frozenset({""})
    for kind, value in parsed:
        exact = _exact(kind, value)
        if exact is not None and len(run) * len(exact) <= _MOST_RUNS:
            run = frozenset(left + right for left in run for right in exact)
            continue
        sets += [run, _within(kind, value)]
        run = exact if exact is not None else frozenset({""})
    return max([*sets, run], key=lambda runs: min(map(len, runs)))


def _exact(kind: Any, value: Any) -> frozenset[str] | None:
    """All that a part of a pattern matches, if that is a few runs of plain characters."""
    match kind:
        case _constants.LITERAL:
            return frozenset({chr(value).lower()})
        case _constants.AT:
            return frozenset({""})
        case _constants.IN if all(one is _constants.LITERAL for one, _ in value):
            return frozenset(chr(code).lower() for _, code in value)
        case _constants.SUBPATTERN:
            return _exact_sequence(value[-1])
        case _constants.BRANCH:
            branches = [_exact_sequence(branch) for branch in value[1]]
            known_ones = [branch for branch in branches if branch is not None]
            return frozenset().union(*known_ones) if len(known_ones) == len(branches) else None
        case _constants.MAX_REPEAT if value[1] == 1:
            inner = _exact_sequence(value[2])
            return None if inner is None else inner | ({""} if value[0] == 0 else set())
    return None


def _exact_sequence(parsed: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    runs = frozenset({""})
    for kind, value in parsed:
        exact = _exact(kind, value)
        if exact is None or len(runs) * len(exact) > _MOST_RUNS:
            return None
        runs = frozenset(left + right for left in runs for right in exact)
    return runs


def _within(kind: Any, value: Any) -> frozenset[str]:
    """The best set of what a part of a pattern is made of."""
    match kind:
        case _constants.SUBPATTERN:
            return _best(value[-1])
        case _constants.BRANCH:
            return frozenset().union(*(_best(branch) for branch in value[1]))
        case _constants.MAX_REPEAT if value[0] > 0:
            return _best(value[2])
    return frozenset({""})
