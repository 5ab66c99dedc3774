"""A root cause in a few lines of the terminal: cause, two facts side by side, what to type, and what it explains."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence

from preflight import excerpts
from preflight.conclusions.attribution import Finding
from preflight.conclusions.model import Proof
from preflight.conclusions.text import counts, headline
from preflight.language import t, translated
from preflight.layout import Line, Style, columns, first_line, labelled, padded, shortened, wrapped

LINES = 7
"""Lines of a root cause where a terminal has `WIDTH` columns or more."""

WIDTH = 100
SHOWN = 5
"""Root causes that are shown whole; of further ones, the first line is."""

_INDENT = 4  # columns of the number
_LABEL = 10  # columns of a label
_CAUSE = 2  # lines of the sentence
_ALIKE = 0.6  # share of words in common from which on two sentences say the same of different targets
_KNOWN = 0.85  # share of a text's words that another one has, from which on it adds nothing
_WORTHWHILE = 30  # columns of an output that say something


def card(finding: Finding, place: int, *, width: int) -> list[Line]:
    """The lines of a root cause.

    Args:
        finding: the root cause.
        place: its number.
        width: columns of the terminal.
    """
    conclusion = finding.conclusion
    text_width = max(width - _INDENT - _LABEL, 20)
    most = _scaled(_CAUSE, text_width)
    cause = _sentence(headline(finding), width=text_width, lines=most)
    settled_by = translated(conclusion.settled_by)
    likely = (
        [] if conclusion.certain else [first_line(t("to be certain: {settled_by}", settled_by=settled_by), text_width)]
    )
    evidence = _evidence(conclusion.proofs, conclusion.sentence, width=text_width)
    told_steps = [translated(step) for step in conclusion.remedy]
    steps = [wrapped(f"{number}. {step}", text_width) for number, step in enumerate(told_steps, start=1)]
    room = _scaled(LINES, text_width) - len(cause) - len(likely) - len(evidence) - 1
    first = len(steps[0]) if steps else 0
    while evidence and first > room:  # what to type comes before a further proof
        evidence.pop()
        room += 1
    shown = _fitting(steps, room)
    left = len(steps) - len(shown)
    room -= sum(map(len, shown))
    lines = labelled(t("cause"), cause, Style.CAUSE, indent=_INDENT, label_width=_LABEL)
    lines[0] = ((f"{place}.".ljust(_INDENT) + padded(t("cause"), _LABEL), Style.LABEL), *lines[0][1:])
    lines += labelled(t("likely"), likely, Style.PLAIN, indent=_INDENT, label_width=_LABEL)
    for label, text, command in evidence:
        texts = [text] if text else []
        if command and (not texts or (room > 0 and columns(command) <= text_width)):
            room -= len(texts)
            texts.append(f"`{command}`")
        lines += labelled(t(label), texts, Style.EVIDENCE, indent=_INDENT, label_width=_LABEL)
    remedy = [line for step in shown for line in step]
    lines += labelled(t("remedy"), remedy, Style.PLAIN, indent=_INDENT, label_width=_LABEL)
    more = t("; {left} more {steps} with -v", left=left, steps="step" if left == 1 else "steps") if left else ""
    section = conclusion.cause.section
    whole = t("{counts} (guide {section}{more})", counts=translated(counts(finding)), section=section, more=more)
    explains = first_line(whole, text_width)
    return [*lines, *labelled(t("explains"), [explains], Style.PLAIN, indent=_INDENT, label_width=_LABEL)]


def _fitting(steps: Sequence[list[str]], room: int) -> list[list[str]]:
    """The first steps that fit; of a first one that is too long, its beginning."""
    shown: list[list[str]] = []
    for step in steps:
        if len(step) > room:
            break
        shown.append(step)
        room -= len(step)
    if steps and not shown:
        shown = [[*steps[0][: max(room, 1) - 1], f"{steps[0][max(room, 1) - 1]} {excerpts.ELLIPSIS}"]]
    return shown


def one_line(finding: Finding, place: int, *, width: int) -> Line:
    """The root cause in one line."""
    text = first_line(translated(headline(finding)), width - _INDENT - _LABEL)
    return (f"{place}.".ljust(_INDENT) + padded(t("cause"), _LABEL), Style.LABEL), (text, Style.CAUSE)


def _scaled(lines: int, text_width: int) -> int:
    """As many lines as hold the same text where the terminal is narrower than `WIDTH`."""
    return max(lines, math.ceil(lines * (WIDTH - _INDENT - _LABEL) / text_width))


def _sentence(text: str, *, width: int, lines: int) -> list[str]:
    """A sentence that fits: of several parts whole ones and how many more there are, of one part beginning and end."""
    whole = wrapped(translated(text), width)
    if len(whole) <= lines:
        return whole
    parts = text.split("; ")
    if len(parts) > 1 and _same_kind(parts[0].partition(": ")[2], parts[1]):
        for kept in range(len(parts) - 1, 0, -1):
            shorter = wrapped(translated(f"{'; '.join(parts[:kept])}; and {len(parts) - kept} more"), width)
            if len(shorter) <= lines:
                return shorter
        text = f"{parts[0]}; and {len(parts) - 1} more"
    return shortened(translated(text), width=width, lines=lines)


def _same_kind(sentence: str, other: str) -> bool:
    """Whether two sentences say the same of different targets."""
    return difflib.SequenceMatcher(None, sentence.split(), other.split(), autojunk=False).ratio() > _ALIKE


def contradicting(proofs: Sequence[Proof], sentence: str) -> tuple[Proof, ...]:
    """The two proofs that say most side by side: what is broken, and beside it what is well.

    Where nothing well was measured, the second is what adds something to the first.
    """
    broken = [proof for proof in proofs if not proof.healthy]
    well = [proof for proof in proofs if proof.healthy]
    if broken and well:
        inside = [proof for proof in well if not proof.statement.startswith("from here")]
        return broken[0], (*inside, *well)[0]
    first, *others = broken or well or [Proof(statement="")]
    further = [
        proof
        for proof in others
        if not alike(proof.statement, sentence) and not _same_kind(proof.statement, first.statement)
    ]
    return tuple(proof for proof in (first, *further[:1]) if proof.statement)


def _evidence(proofs: Sequence[Proof], sentence: str, *, width: int) -> list[tuple[str, str, str]]:
    """Label, fact and command of each piece of evidence; what repeats the cause is left out."""
    entries: list[tuple[str, str, str]] = []
    known = [sentence]
    for proof in contradicting(proofs, sentence):
        command = "" if "\n" in proof.command else proof.command
        text = fact_of(proof, known, width=width)
        if not text and columns(command) + 2 > width:
            continue
        entries.append(("evidence" if not entries else "but" if proof.healthy else "and", text, command))
        known.append(text if translated(proof.statement) == proof.statement else f"{proof.statement}: {text}")
    return entries


def fact_of(proof: Proof, known: Sequence[str], *, width: int) -> str:
    """What a proof adds to what is known, in one line: its statement, and the line of its output that decides."""
    statement = "" if any(alike(proof.statement, text) for text in known) else proof.statement
    shown = translated(statement)
    lines = [line for line in proof.observed.splitlines() if line.strip()]
    if proof.healthy and statement:  # what it says is enough; the first line shows how it looks
        status = next((line for line in lines if line.startswith("HTTP")), "".join(lines[:1]))
        whole = t("{statement}: {observed}", statement=shown, observed=status.strip())
        return whole if status and columns(whole) <= width else first_line(shown, width)
    sentence = " ".join([known[0], proof.statement])
    center = excerpts.decisive(lines, sentence, proof.command)
    printed = _printed(lines, center, sentence, [*known, statement], longest=width - columns(f"{shown}: ") - 1)
    vantage = "from here" if proof.where == "here" else proof.where
    where = t("{statement}: {observed}", statement=translated(vantage), observed="") if vantage else ""
    if not printed:
        return first_line(shown, width)
    if not statement:
        printed = _printed(lines, center, sentence, known, longest=width - columns(where))
        return first_line(f"{where}{printed}", width) if printed else ""
    return first_line(t("{statement}: {observed}", statement=shown, observed=printed), width)


def _printed(lines: Sequence[str], center: int, sentence: str, known: Iterable[str], *, longest: int) -> str:
    """The decisive line of an output, with those after and before it that fit."""
    if not lines or longest < _WORTHWHILE:
        return ""
    text = excerpts.within(lines[center], sentence, longest=longest)
    if any(alike(text, other) for other in known):
        return ""
    end, start = center + 1, center
    while end < len(lines) and columns(f"{text} · {lines[end].strip()}") <= longest:
        text = f"{text} · {lines[end].strip()}"
        end += 1
    while start > 0 and columns(f"{lines[start - 1].strip()} · {text}") <= longest:
        text = f"{lines[start - 1].strip()} · {text}"
        start -= 1
    return text


def alike(text: str, other: str) -> bool:
    """Whether a text says nothing that another one does not say as well."""
    words = excerpts.tokens(text)
    return not words or len(words & excerpts.tokens(other)) >= _KNOWN * len(words)
