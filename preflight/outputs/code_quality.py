"""A run as GitLab's Code Quality report (`--code-quality FILE`): Code Climate's issues, as far as GitLab reads them.

GitLab tells what a merge request brings and mends by the fingerprints: they are made of what fails, and not of what was
measured (docs/sources.md#code-quality).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preflight.evidence import one_line
from preflight.outputs.document import Document, impact, root_causes, section, test_name, unexplained
from preflight.verdicts import Verdict

Issue = dict[str, Any]

_SEVERITIES = {
    "stops": "blocker",
    "slows": "critical",
    "takes room": "major",
    "removes a reserve": "major",
    "no harm to jobs": "minor",
}
_OF_VALUES = ("3",)  # sections of the guide that the values decide


def issues(document: Document, *, project: Path) -> list[Issue]:
    """Root causes, failures that none explains, and advice.

    Args:
        document: the JSON report.
        project: the folder of the repository, which paths are relative to.
    """
    return list(_issues(document, project))


def _issues(document: Document, project: Path) -> Iterator[Issue]:
    for cause in root_causes(document):
        about = ",".join(map(str, cause["about"]))
        text = f"{impact(cause)}: {cause['cause']}"
        severity = _SEVERITIES.get(cause["impact"]["harm"], "major")
        yield _issue(cause["name"], about, text, severity, _place(document, str(cause["section"]), project))
    for check in unexplained(document):
        harm = (check["impact"] or {}).get("harm", "")
        yield _of_check(document, check, _SEVERITIES.get(harm, "major"), project)
    for check in document["checks"]:
        if check["verdict"] == Verdict.ADVICE:
            yield _of_check(document, check, "info", project)


def _of_check(document: Document, check: Mapping[str, Any], severity: str, project: Path) -> Issue:
    text = f"{check['section']} {check['title']}: {check['cause'] or check['reason']}"
    place = _place(document, section(check), project)
    return _issue(check["id"], test_name(check), text, severity, place)


def _issue(name: str, about: str, text: str, severity: str, place: str) -> Issue:
    return {
        "description": one_line(text, longest=500),
        "check_name": name,
        "fingerprint": hashlib.sha256(f"{name}\n{about}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": place, "lines": {"begin": 1}},
    }


def _place(document: Document, number: str, project: Path) -> str:
    """The file that is to be changed: of what the values decide, the last values file, else the inventory."""
    file = str(document["inventory"])
    if number.partition(".")[0] in _OF_VALUES:
        file = str(document["environment"]["runner"]["values"][-1]["file"])
    relative = os.path.relpath(file, project)
    return Path(file).name if relative.startswith("..") else Path(relative).as_posix()
