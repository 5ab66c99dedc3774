"""A run as a note for a merge request (`--markdown FILE`): verdict, root causes, what changed, what was not looked at.

Texts that were measured are escaped, and none begins a line: GitLab would read ``/close`` there, and mention ``@all``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from preflight.evidence import one_line
from preflight.language import t, translated
from preflight.outputs.document import (
    Document,
    answer,
    changes,
    impact,
    name_of,
    release,
    root_causes,
    test_name,
    unexplained,
)

_MOST = 20  # of one list
_LONGEST = 400  # characters of one text
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#!|~@$%^&])")  # what begins emphasis, a link, a reference, a mention or HTML


def note(document: Document) -> str:
    """The note, as GitLab's Markdown."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    decision = document["decision"]
    yield t("## Preflight of {release}: {answer}", release=code(release(document)), answer=answer(document))
    yield ""
    yield prose(document["verdict"])
    causes = root_causes(document)
    if causes:
        yield from ("", t("### Root causes"), "")
    for place, cause in enumerate(causes[:_MOST], start=1):
        yield t(
            "{place}. **{name}** ({impact}): {cause}",
            place=place,
            name=code(name_of(cause)),
            impact=prose(impact(cause)),
            cause=prose(cause["cause"]),
        )
        for proof in cause["proofs"][:2]:
            shown = f": {code(proof['observed'])}" if proof["observed"] else ""
            yield "   - " + t("seen {where}{shown}", where=prose(proof["where"]), shown=shown)
        for step in cause["remedy"]:
            yield "   - " + t("fix: {step}", step=prose(step))
        explained = len(cause["explains"])
        if explained:
            yield "   - " + translated(f"explains {explained} {'check' if explained == 1 else 'checks'}")
    yield from _more(len(causes))
    alone = unexplained(document)
    if alone:
        yield from ("", t("### Failed, and explained by no root cause"), "")
    for check in alone[:_MOST]:
        yield f"- {prose(check['section'])} {prose(check['title'])} ({code(test_name(check))}): {prose(check['cause'])}"
    yield from _more(len(alone))
    yield from _changes(document)
    left_out = decision["not_looked_at"]
    if left_out:
        yield from ("", t("### Not looked at"), "")
        counts: dict[str, int] = {}
        for part in left_out:
            counts[part["section"]] = counts.get(part["section"], 0) + part["count"]
        for section, count in counts.items():
            yield f"- {prose(section)}: {count}"


def _changes(document: Document) -> Iterator[str]:
    compared = document.get("baseline")
    if compared is None:
        return
    yield from (
        "",
        t("### Since {file} ({written})", file=code(compared["file"]), written=prose(compared["written"])),
        "",
    )
    if compared["other_environment"]:
        yield "- " + t(
            "That run was of another environment: {environment}", environment=prose(compared["other_environment"])
        )
    listed = list(changes(document))
    for kind, entries in listed:
        for change in entries[:_MOST]:
            before = "" if kind.endswith("new") else t(" (before: {before})", before=prose(change["before"]))
            yield f"- {translated(kind)}: {code(change['name'])}: {prose(change['now'])}{before}"
        yield from _more(len(entries))
    if not listed:
        yield "- " + t("nothing")


def _more(count: int) -> Iterator[str]:
    if count > _MOST:
        yield "- " + t("and {count} more", count=count - _MOST)


def prose(text: str) -> str:
    """A sentence of one line in which nothing but its own `commands` is markup."""
    parts = one_line(translated(str(text)), longest=_LONGEST).split("`")
    if len(parts) % 2 == 0:  # one of them has no end
        parts = ["`".join(parts)]
    return "".join(code(part) if place % 2 else _escaped(part) for place, part in enumerate(parts))


def code(text: str) -> str:
    """A text of one line as it is, whatever stands in it."""
    line = one_line(str(text), longest=_LONGEST)
    if not line:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{line}{space}{fence}"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
