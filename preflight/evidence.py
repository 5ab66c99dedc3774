"""What was measured, where, how, and with which result: the basis of a verdict.

`Evidence` is redacted and shortened when it is made, so nothing downstream needs to think of secrets or megabytes.
`Fact` is the base of all measurements. The exceptions never describe the environment's health:

- PreflightError
    - Unmeasured    it could not be measured (right, tool, vantage): the check is *unknown*
    - Blocked       something that this fact needs is faulty or unmeasured: the check is *blocked* by it
    - NotApplicable the inventory, or the environment by design, has nothing to measure here
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from preflight import excerpts, redaction
from preflight.faults import Fault
from preflight.secret_shapes import INVISIBLE

LONGEST = 2000  # characters of what a command printed
_UNJUDGED = 4 * LONGEST  # characters of it, until the cause is known that says which of them matter
_MARK = 40  # characters at most of the note that says what was left out
_CONTEXT = 8_192  # characters beside what is shown that are searched for secrets that reach into it
_AS_PICTURE = 0xFE0F  # the variation selector that makes a symbol a coloured picture
_CONTROL = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,16}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-_])"  # ANSI
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"  # of no width: direction, joining
    r"|[\ufdd0-\ufdef\ufffe\uffff]"
)
_SURROGATES = re.compile(r"[\ud800-\udfff]")  # half a character, which no report can be written with

Key = tuple[str, tuple[tuple[str, str], ...]]
"""What identifies a measurement: its fact's name, and its targets by kind, in order."""


def key_of(fact: str, targets: Mapping[str, str]) -> Key:
    """The key of the measurement of this fact for these targets, in whatever order they are given."""
    return fact, tuple(sorted(targets.items()))


def without_controls(text: str) -> str:
    """The text without ANSI sequences and control characters; line ends stay."""
    return _CONTROL.sub("", text)


def clean(text: str, *, longest: int = LONGEST) -> str:
    """A text from outside made safe to print, and cut to `longest` characters, of which the end matters most.

    Without ANSI sequences, control characters and secrets; other characters that nobody sees are shown as escapes. Of a
    long text only what is shown is redacted, with regard to what stands beside it.
    """
    kept = longest - _MARK  # so that a shortened text is short enough to stay as it is
    head, tail = kept * 2 // 3, kept // 3
    if len(text) > 2 * (longest + _CONTEXT):
        first, last = clean_part(text, 0, head), clean_part(text, len(text) - tail, len(text))
        return f"{first[:head]}\n… {len(text) - head - tail} characters cut …\n{last[-tail:]}"
    text = (_safe_repeated if len(text) <= redaction.REPEATED else _safe_long)(text, redaction.generation())
    if len(text) <= longest:
        return text
    return f"{text[:head]}\n… {len(text) - head - tail} characters cut …\n{text[-tail:]}"


def _safe(text: str, _generation: int) -> str:
    return _visible(redaction.redact(_printable(text)))


# Each text is cleaned when it is measured, and again when it is written; both are the same text most of the time.
_safe_repeated = functools.lru_cache(maxsize=4096)(_safe)
_safe_long = functools.lru_cache(maxsize=256)(_safe)


def clean_part(text: str, start: int, stop: int) -> str:
    """A part of a text made safe to print, as `clean` does it, with regard to secrets that reach into it."""
    before = _printable(text[max(0, start - _CONTEXT) : start])
    part = _printable(text[start:stop])
    after = _printable(text[stop : stop + _CONTEXT])
    return _visible(redaction.redact_part(before + part + after, len(before), len(before) + len(part)))


def _printable(text: str) -> str:
    return _SURROGATES.sub("\ufffd", without_controls(text.replace("\r\n", "\n")))


def _visible(text: str) -> str:
    """The text with escapes instead of characters that nobody sees; what makes a symbol a picture stays."""
    if text.isascii():
        return text
    return INVISIBLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code, place = ord(match[0]), match.start()
    if code == _AS_PICTURE and place and unicodedata.category(match.string[place - 1]) == "So":
        return match[0]
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"  # noqa: PLR2004 - what four digits can say


def one_line(text: str, *, longest: int = LONGEST) -> str:
    """The same as one line, so that no text from outside can begin a line of a report."""
    return " ".join(filter(None, (line.strip() for line in clean(text, longest=longest).split("\n"))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An observation: from where, by which command (a person can paste it), what it printed, and how long it took.

    Attributes:
        where: the vantage, in an operator's words: ``here``, ``node k8s-worker-1``, ``pod on k8s-worker-1``.
        command: a shell command that reproduces the observation.
        observed: what it printed, redacted and shortened.
        took: seconds.
    """

    where: str
    command: str
    observed: str = field(repr=False, default="")
    took: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", one_line(self.where, longest=200))
        object.__setattr__(self, "command", clean(self.command))
        object.__setattr__(self, "observed", clean(self.observed, longest=_UNJUDGED))

    def around(self, cause: str) -> Self:
        """The same, at most `LONGEST` long: cut around what bears the cause out, such as the last error of a chain."""
        if len(self.observed) <= LONGEST:
            return self
        return replace(self, observed=excerpts.cut(self.observed, cause, longest=LONGEST, command=self.command))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One measurement. Subclasses add what was measured as typed fields.

    Attributes:
        target: what was measured, in the inventory's words.
        fault: what is wrong with it, or None.
        cause: one sentence with names and numbers; empty without a fault.
        advice: why the fault blocks no rollout here, such as ``the upgrade replaces it``; its check is advice then.
        evidence: kept out of the repr, because pytest prints reprs in assertion messages.
    """

    target: str
    fault: Fault | None = None
    cause: str = ""
    advice: str = ""
    evidence: Evidence = field(repr=False)

    def __init_subclass__(cls) -> None:
        _register(cls)
        # pytest prints reprs of facts in assertion messages: kept short, and without what the diagnosis tells better.
        cls.__repr__ = Fact.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r}, fault={str(self.fault) if self.fault else None})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", one_line(self.target, longest=300))
        object.__setattr__(self, "cause", one_line(self.cause, longest=600))
        object.__setattr__(self, "evidence", self.evidence.around(f"{self.fault or ''} {self.cause}"))
        object.__setattr__(self, "advice", one_line(self.advice, longest=300))

    @property
    def where(self) -> str:
        """The vantage of the evidence."""
        return self.evidence.where

    def only(self, *kinds: type[Fault] | Fault) -> Self:
        """The same measurement, faulty only if its fault is one of these, so that each check judges one thing."""
        if self.fault is None or any(
            self.fault is kind if isinstance(kind, Fault) else isinstance(self.fault, kind) for kind in kinds
        ):
            return self
        return replace(self, fault=None, cause="", advice="")

    def as_advice(self, why: str) -> Self:
        """The same, so that its fault is reported and blocks no rollout."""
        return replace(self, advice=why, cause=f"{self.cause}; {why}" if self.cause else why)


KINDS: dict[str, type[Fact]] = {"Fact": Fact}
"""Every class of facts by its name; a saved run names the class of a fact by that alone."""


def _register(kind: type[Fact]) -> None:
    """Keep a class of facts; a TypeError refuses a second one of the same name."""
    known = KINDS.get(kind.__name__)
    # A dataclass with slots makes its class anew, in the same module: the last one counts.
    if known is not None and known.__module__ != kind.__module__:
        raise TypeError(
            f"two classes of facts are called {kind.__name__}, in {known.__module__} and {kind.__module__}: "
            "a saved run tells them apart by their names alone"
        )
    KINDS[kind.__name__] = kind


class PreflightError(Exception):
    """Base of the suite's exceptions; none of them describes the health of the environment."""


class Unmeasured(PreflightError):
    """It could not be measured.

    Args:
        reason: one sentence: what prevented it, with names.
        needs: what would allow it: a Role rule, a tool, an inventory key.
        fault: the fault on the way to the vantage (`SshFault`, `ApiFault`), if any.
        evidence: the observation that failed, if there was one.
    """

    def __init__(
        self, reason: str, *, needs: str = "", fault: Fault | None = None, evidence: Evidence | None = None
    ) -> None:
        self.reason = clean(reason, longest=1000)
        self.needs = clean(needs)
        self.fault = fault
        self.evidence = evidence.around(self.reason) if evidence is not None else None
        super().__init__(self.reason)


class FactName(StrEnum):
    """Base of enums whose members are names of facts: what an exception or a plan refers to.

    ``NODE_PULL = auto()`` is the name ``node_pull``. `preflight.fact.check_references` refuses a member that names no
    fact, as soon as all facts are declared.
    """


class Blocked(PreflightError):
    """Something that this fact needs is faulty or unmeasured. Facts raise it through `Blocked.by`.

    Args:
        fact: the name of the fact that stands in the way.
        targets: that fact's targets by kind, such as ``{"node": "k8s-worker-1"}``.
        reason: what is the matter with it.
        failed: whether it was measured and found faulty (then its own check is red), or not measured at all.
        measured: what was measured nevertheless: from a further vantage, the same.
        witness: that vantage, where no fact tells it.
    """

    def __init__(
        self,
        fact: str,
        targets: dict[str, str],
        reason: str,
        *,
        failed: bool,
        measured: Fact | None = None,
        witness: str = "",
    ) -> None:
        self.fact, self.targets, self.reason, self.failed = fact, dict(targets), clean(reason, longest=600), failed
        self.measured, self.witness = measured, witness or (measured.where if measured is not None else "")
        super().__init__(self.reason)

    @classmethod
    def by(
        cls,
        fact: FactName,
        value: Fact | None,
        targets: dict[str, str] | None = None,
        *,
        because: str = "",
        measured: Fact | None = None,
        witness: str = "",
        otherwise: str = "",
    ) -> Self:
        """By a fact that was measured and found faulty, or that could not be measured.

        Args:
            fact: its name.
            value: what was measured; None where it could not be.
            targets: its targets by kind.
            because: the reason in words of one's own, where what stands in the way was found, though not in its fault.
            measured: what was measured nevertheless.
            witness: that vantage, where no fact tells it.
            otherwise: the reason where it could not be measured.
        """
        reason = because or (otherwise if value is None else f"{value.fault}: {value.cause}")
        failed = bool(because) or value is not None
        return cls(str(fact), targets or {}, reason, failed=failed, measured=measured, witness=witness)

    @property
    def key(self) -> Key:
        """What identifies the measurement that stands in the way."""
        return key_of(self.fact, self.targets)

    def propagated(self) -> Blocked:
        """The same for what needs this fact in turn: what was seen is not that one's own."""
        return Blocked(self.fact, self.targets, self.reason, failed=self.failed, witness=self.witness)


class NotApplicable(PreflightError):
    """The inventory, or the environment by its design, has nothing to measure here; the reason says which."""
