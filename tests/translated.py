"""What a report says in English that stays English in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from preflight import translation

_WORDS = re.compile(r"(?<!\S)[a-z][a-z']+(?=[\s,;:.]|$)")
_OUTSIDE = (
    *("Internal error occurred: ", "error looking up ", "exceeded quota: ", "failed quota: ", "violates PodSecurity "),
)
"""How the API server's own words begin, which stay as they are."""
_GAPS = re.compile(r"\S+ is \S+ for .* but |\S+: \{\{.*\}\}: only Helm can tell")
"""Sentences of ours that are not recognised yet: answers by resolver, and expressions of templates before a reason."""
_FEW = 3  # words of names, or of what another program said


def untranslated(report: dict[str, Any]) -> list[str]:
    """The sentences of ours that are shown as they were saved: titles, reasons, causes, remedies, impacts."""
    catalogue = translation.catalogue("zh")
    return [
        text
        for text in dict.fromkeys(_texts(report))
        if _is_sentence(text)
        and not text.startswith(_OUTSIDE)
        and not _GAPS.match(text)
        and catalogue.text(text) == text
    ]


def _texts(report: dict[str, Any]) -> Iterator[str]:
    yield report["verdict"]
    for check in report["checks"]:
        yield from (check["title"], check["reason"], check["cause"])
        if not check["remedy"].startswith("# in a "):  # a role, to be applied
            yield check["remedy"]
    for conclusion in report["conclusions"]:
        yield from (conclusion["cause"], conclusion["settled_by"], conclusion["impact"]["jobs"])
        yield from conclusion["remedy"]
        yield from (proof["statement"] for proof in conclusion["proofs"])


def _is_sentence(text: str) -> bool:
    return len(_WORDS.findall(re.sub(r"`[^`]*`", "", text))) >= _FEW
