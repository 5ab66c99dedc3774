"""The diagnosis of a failed check: cause, where, evidence, remedy, section; the same in terminal, JUnit and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from preflight import excerpts, impact
from preflight.evidence import Evidence, Fact, Unmeasured, clean, one_line
from preflight.guide import Paragraph
from preflight.impact import Impact

_SHOWN = 12  # lines of evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything an operator needs to know of one failing check.

    Attributes:
        check: number and title.
        fault: the fault's name, or "".
        cause: one sentence.
        where: the vantage.
        evidence: the measurement behind it, if there was one.
        remedy: how to fix it.
        section: the guide's section, and the page that explains it.
        impact: what it does to jobs, as far as the check alone shows; a root cause that explains it knows more.
    """

    check: str
    fault: str
    cause: str
    where: str
    evidence: Evidence | None
    remedy: str
    section: str
    impact: Impact

    def __post_init__(self) -> None:
        # A secret may have become known since the evidence was made.
        object.__setattr__(self, "cause", one_line(self.cause, longest=1000))
        if self.evidence is not None:
            object.__setattr__(self, "evidence", replace(self.evidence))

    @property
    def headline(self) -> str:
        """Fault and cause in one line."""
        return f"{self.fault}: {self.cause}" if self.fault and self.cause else self.cause or self.fault

    def rows(self) -> list[tuple[str, str]]:
        """The diagnosis as names and values; a value may have several lines."""
        named = [("check", self.check), ("cause", self.headline), ("where", self.where)]
        if self.evidence is not None and self.evidence.command:
            observed = excerpts.around(
                self.evidence.observed, self.headline, lines=_SHOWN, command=self.evidence.command
            )
            named.append(("evidence", "\n".join([f"$ {excerpts.without_document(self.evidence.command)}", *observed])))
        named += [("remedy", self.remedy), ("section", self.section)]
        return [(name, value) for name, value in named if value]

    def text(self) -> str:
        """The diagnosis as lines of ``name  value``, continuation lines indented."""
        return "\n".join(f"{name:<10}{value}".replace("\n", "\n" + " " * 10).rstrip() for name, value in self.rows())


def of_failure(paragraph: Paragraph, facts: Sequence[Fact], assertion: str, harm: Impact) -> Diagnosis:
    """Diagnose a failed assert by the first faulty fact, else by the assertion's own message.

    Args:
        paragraph: what the check's docstring says.
        facts: the facts that the check took, in its order.
        assertion: the assertion's message; used when no fact is faulty.
        harm: what the failure does to jobs.
    """
    faulty = next((fact for fact in facts if fact.fault is not None), None)
    source = faulty or (facts[0] if facts else None)
    fault = faulty.fault if faulty is not None else None
    return Diagnosis(
        check=f"{paragraph.number} {paragraph.title}",
        fault=str(fault or ""),
        cause=faulty.cause if faulty is not None and faulty.cause else _first_line(assertion),
        where=source.where if source else "here",
        evidence=source.evidence if source else None,
        remedy=paragraph.remedy(fault),
        section=f"guide {paragraph.section} ({paragraph.link})",
        impact=harm,
    )


def of_unknown(paragraph: Paragraph, error: Unmeasured) -> Diagnosis:
    """Diagnose a check whose fact could not be measured: what prevented it, and what would allow it."""
    return Diagnosis(
        check=f"{paragraph.number} {paragraph.title}",
        fault=str(error.fault or ""),
        cause=error.reason,
        where=error.evidence.where if error.evidence else "here",
        evidence=error.evidence,
        remedy=error.needs or paragraph.remedy(error.fault),
        section=f"guide {paragraph.section} ({paragraph.link})",
        impact=impact.unseen("it could not be measured"),
    )


def _first_line(assertion: str) -> str:
    lines = clean(assertion).strip().splitlines()
    return (lines[0] if lines else "").removeprefix("AssertionError: ")
