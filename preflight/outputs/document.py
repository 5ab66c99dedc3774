"""What the other outputs take from a JSON report; docs/reports.md describes its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from preflight.decision import Answer
from preflight.impact import Harm, Impact

Document = Mapping[str, Any]


def release(document: Document) -> str:
    """The release that was judged, as ``namespace/name``."""
    runner = document["environment"]["runner"]
    return f"{runner['namespace']}/{runner['release']}"


PARTIAL = "PARTIAL"


def answer(document: Document) -> str:
    """The verdict in a word: what the judged checks come to, and PARTIAL where that would be the GO of a part."""
    decision = document["decision"]
    return PARTIAL if decision["partial"] and decision["answer"] == Answer.GO else str(decision["answer"])


def section(check: Mapping[str, Any]) -> str:
    """The guide's section that a check is of: 2.4 of the check 2.4.12."""
    return ".".join(str(check["section"]).split(".")[:2])


def root_causes(document: Document) -> list[Mapping[str, Any]]:
    """The conclusions that are root causes, worst first."""
    return [conclusion for conclusion in document["conclusions"] if conclusion["root_cause"]]


def impact(conclusion: Mapping[str, Any]) -> str:
    """What a conclusion does to jobs, as the terminal has it: ``stops all jobs``."""
    effect = conclusion["impact"]
    return str(Impact(Harm(effect["harm"]), str(effect["jobs"]), unseen=bool(effect["unseen"])))


def name_of(conclusion: Mapping[str, Any]) -> str:
    """The name of a conclusion, with what it is about."""
    about = ", ".join(map(str, conclusion["about"]))
    return f"{conclusion['name']} ({about})" if about else str(conclusion["name"])


def test_name(check: Mapping[str, Any]) -> str:
    """A check's id with its target, as pytest has it."""
    return f"{check['id']}[{check['target']}]" if check["target"] else str(check["id"])


def unexplained(document: Document) -> list[Mapping[str, Any]]:
    """The failed checks that no root cause explains."""
    named = set(document["unexplained"])
    return [check for check in document["checks"] if test_name(check) in named]


def changes(document: Document) -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    """What is new, fixed and otherwise since the baseline, of root causes and of checks; nothing without a baseline."""
    compared = document.get("baseline")
    if compared is None:
        return
    for kind in ("new", "fixed", "changed", "not_judged"):
        word = kind.replace("_", " ")
        if compared["conclusions"][kind]:
            yield f"root causes {word}", compared["conclusions"][kind]
        if compared[kind]:
            yield f"checks {word}", compared[kind]
