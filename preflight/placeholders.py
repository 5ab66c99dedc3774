"""Placeholders of the checks' remedies, filled with what the inventory knows.

Docstrings name in capitals what differs from one environment to the next (``kubectl describe node NODE``), and
docs/checks.md shows them like that. What a run prints is to be pasted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from preflight.guide import Paragraph
from preflight.inventory import Inventory

_CODE = re.compile(r"`[^`]*`")
_WORD = re.compile(r"(?<![\w$./])[A-Z][A-Z]+(?![\w=])")


def filled(paragraph: Paragraph, inventory: Inventory, targets: Mapping[str, str], *, job_namespace: str) -> Paragraph:
    """The paragraph with the placeholders in the commands of its remedies filled, as far as they are known.

    Args:
        paragraph: of the check.
        inventory: the environment.
        targets: of the check, by kind.
        job_namespace: where the jobs' pods are; NAMESPACE stays, where that is not the release's own.
    """
    runner = inventory.runner
    known = {
        "RELEASE": runner.release,
        "VERSION": runner.chart,
        "FILE": " -f ".join(shlex.quote(file.name) for file in runner.files),
        "REPOSITORY": runner.repository if runner.repository != "none" else "",
        "GITLAB": urlsplit(inventory.gitlab.url).hostname or "",
        "NAMESPACE": runner.namespace if job_namespace == runner.namespace else "",
        "NODE": targets.get("node") or targets.get("worker") or "",
        "RESOLVER": targets.get("resolver", ""),
    }
    if known["RESOLVER"]:
        known["NAME"] = next(iter(inventory.dns.names), "")

    def command(match: re.Match[str]) -> str:
        return _WORD.sub(lambda word: known.get(word[0]) or word[0], match[0])

    remedies = {fault: _CODE.sub(command, remedy) for fault, remedy in paragraph.remedies.items()}
    return replace(paragraph, remedies=remedies)
